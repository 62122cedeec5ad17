//! What is derived from the rows of a vector file, as it lies on disk.

use super::CollectionFolder;
use crate::StoreError;
use membox_api::CollectionSettings;
use membox_index::VectorIndex;
use membox_records::{Reader, Record, RecordsError, StoredCollection};
use membox_text::{Document, TextIndex, TextSource};
use membox_vectors::VectorView;
use serde_json::Value;
use std::sync::Arc;
use uuid::Uuid;

pub(crate) fn read_settings(stored: &StoredCollection) -> Result<CollectionSettings, StoreError> {
    let damaged = |e| RecordsError::Damaged(format!("settings of {}: {e}", stored.name));
    Ok(serde_json::from_str(&stored.settings).map_err(damaged)?)
}

/// The indexes over a vector file.
pub(crate) struct Derived {
    pub index: Option<Arc<VectorIndex>>,
    pub text: Option<TextIndex>,
}

impl Derived {
    /// What is intact on disk.
    pub fn load(
        folder: &CollectionFolder,
        stored: &StoredCollection,
        view: &VectorView,
        reader: &Reader,
    ) -> Result<Self, StoreError> {
        let index = match VectorIndex::load(&folder.index(), view) {
            Ok(index) => Some(Arc::new(index)),
            Err(error) => {
                if folder.index().join("index.json").exists() {
                    tracing::warn!(collection = stored.name, %error, "the index is built anew");
                }
                None
            }
        };
        let of = text_of(reader, &stored.tenant, stored.vector_file, stored.rows)?;
        if TextIndex::is_under_another_key(&folder.text(), &of) {
            tracing::info!(collection = stored.name, "the text index is of another key, or of none, and is built anew");
            std::fs::remove_dir_all(folder.text()).map_err(StoreError::io("remove", &folder.text()))?;
        }
        let text = TextIndex::open(&folder.text(), &of).unwrap_or_else(|error| {
            tracing::warn!(collection = stored.name, %error, "the text index is built anew");
            None
        });
        Ok(Self { index, text })
    }
}

/// The text index that is wanted over the rows of a tenant's vector file.
pub(crate) fn text_of(reader: &Reader, tenant: &str, vector_file: Uuid, rows: u32) -> Result<TextSource, StoreError> {
    Ok(TextSource { vector_file, rows, key: reader.sealing().term_key(tenant)? })
}

/// Keys of metadata that say who said a record's text, the first that there is.
const SPEAKER_KEYS: [&str; 3] = ["speaker", "author", "name"];

/// The key of metadata that says what a record is tagged with: a string, or a list of them.
const TAGS_KEY: &str = "tags";

/// What a record is tagged with.
pub fn tags(record: &Record) -> Vec<&str> {
    match record.metadata.get(TAGS_KEY) {
        Some(Value::String(tag)) => vec![tag],
        Some(Value::Array(tags)) => tags.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// What of a record is searched by words: its text and its tags. Who said it is the name of a message, or its role;
/// of another record what its metadata says.
pub(crate) fn document(record: &Record) -> Document<'_> {
    let said = || SPEAKER_KEYS.iter().find_map(|key| record.metadata.get(*key)?.as_str());
    let speaker = match &record.message {
        Some(message) => message.name.as_deref().or_else(said).or(Some(&message.role)),
        None => said(),
    };
    Document { text: &record.text, speaker, user: record.user.as_deref(), tags: tags(record) }
}
