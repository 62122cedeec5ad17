//! Mending files of a data folder that no box has open. What their rows lack is mended by the box: their texts are
//! embedded anew.

use super::lock::lock;
use crate::collection::{CollectionFolder, read_settings, text_of};
use crate::convert::row_type;
use crate::media;
use crate::{StoreConfig, StoreError};
use membox_index::VectorIndex;
use membox_records::{Reader, RecordsError, Store as Records, StoredCollection};
use membox_text::TextIndex;
use membox_vectors::{Header, TokenFile, VectorFile, VectorView, remove_token_files};
use std::path::Path;

/// Removes derived state that is damaged or stale: it is built anew. With `vectors`, gives damaged vector files
/// their header and their length again; what their rows lack is then damage of records. Notes say what was kept
/// aside.
pub fn mend_files(config: &StoreConfig, vectors: bool, notes: &mut Vec<String>) -> Result<(), StoreError> {
    let root = &config.data_dir;
    let _lock = lock(root)?;
    let sealing = config.sealing.open(root)?;
    let database = root.join("membox.db");
    // Brings the schema up to date, and takes in what an unclean stop has left.
    drop(Records::open(&database, sealing.clone())?);
    let reader = Reader::open(&database, sealing)?;
    remove_damaged(root, &reader)?;
    if vectors { mend_vector_files(root, &reader, notes) } else { Ok(()) }
}

/// Removes derived state that is damaged or stale.
fn remove_damaged(root: &Path, reader: &Reader) -> Result<(), StoreError> {
    for stored in reader.collections()? {
        let folder = CollectionFolder::of(root, stored.id);
        if VectorIndex::check(&folder.index(), stored.vector_file, stored.rows).is_err() {
            VectorIndex::remove(&folder.index());
        }
        let of = text_of(reader, &stored.tenant, stored.vector_file, stored.rows)?;
        if TextIndex::check(&folder.text(), &of).is_err() {
            let _ = std::fs::remove_dir_all(folder.text());
        }
        remove_damaged_tokens(&folder, &stored)?;
        for (thumbnail, _) in media::damaged_thumbnails(root, stored.id, &reader.media_files(stored.id)?) {
            let _ = std::fs::remove_file(thumbnail);
        }
    }
    Ok(())
}

/// Removes vectors of tokens that are damaged, or that are not wanted: they are made anew from the texts.
fn remove_damaged_tokens(folder: &CollectionFolder, stored: &StoredCollection) -> Result<(), StoreError> {
    let Ok(settings) = read_settings(stored) else { return Ok(()) };
    let (path, wanted) = (folder.tokens(stored.vector_file), settings.token_dimension());
    let vectors = VectorView::open(&folder.vectors(stored.vector_file), stored.rows);
    match (TokenFile::open(&path, stored.vector_file, stored.rows), vectors) {
        (Ok(mut tokens), Ok(vectors)) if wanted == Some(tokens.space().dimension) => {
            let view = tokens.view();
            let is_damaged = |row: &u32| view.get(*row, vectors.crc(*row)).is_none();
            let damaged: Vec<u32> = tokens.filled().iter().filter(is_damaged).collect();
            tokens.erase(damaged)?;
            Ok(tokens.sync()?)
        }
        _ => Ok(remove_token_files(&path)?),
    }
}

/// Gives vector files that cannot be opened their header and their length again. What their rows lack is then
/// mended like other damage.
fn mend_vector_files(root: &Path, reader: &Reader, notes: &mut Vec<String>) -> Result<(), StoreError> {
    for stored in reader.collections()? {
        let settings = read_settings(&stored)?;
        if !settings.has_vectors() {
            continue;
        }
        let path = CollectionFolder::of(root, stored.id).vectors(stored.vector_file);
        let fits = VectorFile::header_of(&path).is_ok_and(|h| h.uuid == stored.vector_file);
        if fits && VectorFile::open(&path, stored.rows).is_ok() {
            continue;
        }
        let Some(dimension) = settings.dimension else {
            return Err(RecordsError::Damaged(format!("settings of {}: no dimension", stored.name)).into());
        };
        let aside = path.with_extension("damaged");
        if path.exists() {
            std::fs::copy(&path, &aside).map_err(StoreError::io("copy to", &aside))?;
            notes.push(format!("the vector file as it was found is kept as {}", aside.display()));
        }
        let header = Header {
            uuid: stored.vector_file,
            dimension,
            row_type: row_type(settings.vector_type.unwrap_or_default()),
        };
        VectorFile::mend(&path, header, stored.rows)?;
    }
    Ok(())
}
