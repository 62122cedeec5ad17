//! What a collection is like, open or not.

use crate::collection::{Collection, CollectionFolder, read_settings};
use crate::convert::index_policy;
use crate::snapshot::Snapshot;
use crate::{Store, StoreError, now};
use membox_api::{CollectionSettings, TokenVectorsView};
use membox_index::{Effort, IndexPolicy, IndexSpec, VectorIndex};
use membox_records::{Reader, StoredCollection};
use membox_text::TextIndex;
use membox_vectors::VectorFile;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A collection as it is described.
#[derive(Clone, Debug)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// What it was made with.
    pub settings: CollectionSettings,
    /// Records that are current and not expired.
    pub records: u64,
    /// Vectors that they have; `None` where it is not open.
    pub vectors: Option<u64>,
    /// Rows of the vector file, those of older versions among them.
    pub rows: u32,
    /// Bytes of the vector file.
    pub vector_bytes: u64,
    /// Its indexes.
    pub index: IndexDescription,
    /// Its vectors of tokens; `None` where none are kept, or it is not open.
    pub token_vectors: Option<TokenVectorsView>,
}

/// The state of a collection's indexes.
#[derive(Clone, Debug)]
pub struct IndexDescription {
    /// `none`, `hnsw` or `ivf`.
    pub kind: &'static str,
    /// HNSW's beam for a recall that names none.
    pub ef_search: Option<u32>,
    /// IVF's lists for a recall that names none.
    pub nprobe: Option<u32>,
    /// Rows that the vector index covers.
    pub covered_rows: u32,
    /// Rows that a build under way has done.
    pub building_rows: u32,
    /// Rows that the text index on disk covers.
    pub text_covered_rows: u32,
}

impl Store {
    /// Describes a collection.
    pub fn describe(&self, collection: &Arc<Collection>) -> Description {
        let token_vectors = collection.count_tokens();
        let state = collection.state();
        let rows = state.view.rows();
        let snapshot = Snapshot::of(collection, &state, now(), None);
        Description {
            name: collection.name.clone(),
            created_at: collection.created_at,
            settings: collection.settings(),
            records: snapshot.len(),
            vectors: Some(snapshot.vectors()),
            rows,
            vector_bytes: state.view.header().file_bytes(rows),
            index: IndexDescription {
                covered_rows: state.index.as_ref().map_or(0, |index| index.rows()),
                building_rows: collection.building.load(Ordering::Relaxed),
                text_covered_rows: state.texts.disk().map_or(0, TextIndex::rows),
                ..describe_index(state.index.as_ref().map(|index| index.spec()), collection.index_policy())
            },
            token_vectors,
        }
    }

    /// Describes every collection of a tenant, by name; those that are not open from what is stored, without
    /// opening them.
    pub fn describe_all(&self, tenant: &str) -> Result<Vec<Description>, StoreError> {
        let stored = self.registry().reader()?.collections()?;
        let mut all = Vec::new();
        for stored in stored.into_iter().filter(|c| c.tenant == tenant) {
            match self.registry().if_open(tenant, &stored.name) {
                Some(collection) => all.push(self.describe(&collection)),
                None => all.extend(self.describe_closed(&stored)?),
            }
        }
        Ok(all)
    }

    /// Describes a collection that was not open a moment ago; `None` for one that has been dropped since.
    fn describe_closed(&self, stored: &StoredCollection) -> Result<Option<Description>, StoreError> {
        let described = describe_stored(self.data_dir(), stored, &*self.registry().reader()?);
        match described {
            // Its files are gone with it, or others since it was compacted.
            Err(error) if error.is_missing_file() => {
                let found = self.existing(&stored.tenant, &stored.name)?;
                Ok(found.filter(|found| found.id == stored.id).map(|found| self.describe(&found)))
            }
            described => described.map(Some),
        }
    }
}

/// Describes a collection that is not open.
fn describe_stored(root: &Path, stored: &StoredCollection, reader: &Reader) -> Result<Description, StoreError> {
    let settings = read_settings(stored)?;
    let policy = index_policy(settings.index);
    let folder = CollectionFolder::of(root, stored.id);
    let vector_bytes = match settings.has_vectors() {
        true => VectorFile::header_of(&folder.vectors(stored.vector_file))?.file_bytes(stored.rows),
        false => 0,
    };
    let index = VectorIndex::manifest(&folder.index()).ok().filter(|index| index.vector_file == stored.vector_file);
    Ok(Description {
        name: stored.name.clone(),
        created_at: stored.created_at,
        settings,
        records: reader.count(stored.id)? - reader.count_expired(stored.id, now())?,
        vectors: None,
        rows: stored.rows,
        vector_bytes,
        index: IndexDescription {
            covered_rows: index.as_ref().map_or(0, |index| index.rows),
            text_covered_rows: TextIndex::covered(&folder.text(), stored.vector_file).unwrap_or(0),
            ..describe_index(index.map(|index| index.spec), policy)
        },
        token_vectors: None,
    })
}

/// What an index is, and how it is searched by a recall that does not say.
fn describe_index(spec: Option<IndexSpec>, policy: IndexPolicy) -> IndexDescription {
    let searched = spec.map(|spec| spec.searched(policy, Effort::default()));
    let (ef_search, nprobe) = match searched {
        Some(IndexSpec::Hnsw { ef_search, .. }) => (Some(ef_search), None),
        Some(IndexSpec::Ivf { nprobe, .. }) => (None, Some(nprobe)),
        None => (None, None),
    };
    let kind = searched.map_or("none", IndexSpec::name);
    IndexDescription { kind, ef_search, nprobe, covered_rows: 0, building_rows: 0, text_covered_rows: 0 }
}
