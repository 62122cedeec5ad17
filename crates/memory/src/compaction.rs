//! Compaction: a new generation of a collection's files, without the rows of replaced and deleted records.
//!
//! ```text
//! copy the current rows ─▶ build the index and the text index over the copies ─▶ on the writer's thread: add what was written meanwhile,
//!                                                                                 give the records their new rows in one commit, switch
//! ```
//!
//! All but the last step happens while the collection is read and written. What a crash leaves of it is removed when the collection is
//! opened next, or put to use if the commit had happened.

use crate::MemoryError;
use crate::collection::{Collection, Folder};
use crate::maintenance::built_index;
use crate::memory::ask;
use crate::shared::Shared;
use crate::writer::Work;
use crossbeam_channel::Sender;
use membox_index::VectorIndex;
use membox_records::text::{DiskText, DiskWriter};
use membox_vectors::VectorFile;
use roaring::RoaringBitmap;
use std::path::PathBuf;
use std::sync::Arc;
use uuid::Uuid;

/// Files of a collection that hold its current rows alone, until the writer switches to them.
pub(crate) struct Generation {
    /// The rows, in the order in which they were.
    pub file: VectorFile,
    /// The vector file that the rows are of.
    pub of: Uuid,
    /// The rows that were copied.
    pub copied: RoaringBitmap,
    pub index: Option<VectorIndex>,
    pub text: DiskText,
}

/// Compacts a collection whose job guard the caller holds. `progress` is called with the rows done, of which there are about twice as many as
/// are copied; a `false` stops it.
pub(crate) fn compact(
    shared: &Shared,
    writer: &Sender<Work>,
    collection: &Arc<Collection>,
    threads: usize,
    progress: &mut dyn FnMut(u32) -> bool,
) -> Result<(), MemoryError> {
    let Some(generation) = build(shared, collection, threads, progress)? else { return Ok(()) };
    let generation = Box::new(generation);
    ask(writer, |reply| Work::Switch { collection: collection.clone(), generation, reply })
}

fn build(
    shared: &Shared,
    collection: &Collection,
    threads: usize,
    progress: &mut dyn FnMut(u32) -> bool,
) -> Result<Option<Generation>, MemoryError> {
    let (view, rows) = {
        let live = collection.live();
        (live.view.clone(), live.rows.clone())
    };
    let copied = rows.rows().clone();
    let (folder, next) = (collection.folder(), collection.folder().next());
    let path = folder.0.join("compacting.mbv");
    let _ = std::fs::remove_file(&path);
    let _ = std::fs::remove_dir_all(&next.0);
    std::fs::create_dir_all(next.index()).map_err(MemoryError::io("create", &next.0))?;
    let mut file = VectorFile::create(&path, view.header().dimension, view.header().row_type)?;
    file.append_rows(&view, copied.iter())?;
    file.sync()?;

    let new_view = file.view(file.rows());
    let policy = collection.settings().index;
    let mut index = None;
    if let Some(spec) = policy.wanted(new_view.rows()) {
        let all: RoaringBitmap = (0..new_view.rows()).collect();
        let Some(built) = built_index(&new_view, spec, policy, &all, threads, progress)? else { return Ok(None) };
        built.save(&next.index())?;
        index = Some(built);
    }
    let done = index.as_ref().map_or(0, VectorIndex::rows);
    let mut text = DiskWriter::open(&next.text(), new_view.header().uuid, new_view.rows())?;
    let (mut row, mut goes_on, mut result) = (0, true, Ok(()));
    let mut numbers = copied.iter().peekable();
    shared.reader()?.each_record(collection.id, 0, |r| {
        // Both come in rising order; a row that has no record any more is passed over.
        while numbers.next_if(|&number| number < r.row).is_some() {
            row += 1;
        }
        if numbers.next_if_eq(&r.row).is_some() {
            result = text.insert(row, &r.record.text);
            row += 1;
            goes_on = progress(done + row);
        }
        result.is_ok() && goes_on
    })?;
    result?;
    if !goes_on {
        return Ok(None);
    }
    let text = text.commit(new_view.rows())?;
    Ok(Some(Generation { file, of: view.header().uuid, copied, index, text }))
}

/// Where the index and the text index of a vector file are: in the place of a compaction that was broken off after its commit, or in theirs.
pub(crate) fn derived_folders(folder: &Folder, vector_file: Uuid) -> (PathBuf, PathBuf) {
    let next = folder.next();
    let has_index = VectorIndex::manifest(&next.index()).is_ok_and(|manifest| manifest.vector_file == vector_file);
    let has_text = DiskText::covered(&next.text(), vector_file).is_some();
    let of = |is_next: bool| if is_next { &next } else { folder };
    (of(has_index || has_text).index(), of(has_text).text())
}

/// Puts the derived files of a generation in their place if it is that of the vector file that the records name, and removes what is left of it.
pub(crate) fn settle_next(folder: &Folder, vector_file: Uuid) {
    let next = folder.next();
    if !next.0.exists() {
        return;
    }
    let replace = |from: PathBuf, to: PathBuf| {
        let _ = std::fs::remove_dir_all(&to);
        if let Err(error) = std::fs::rename(&from, &to) {
            tracing::warn!(folder = %to.display(), %error, "an index of a compaction could not be kept; it is built anew");
        }
    };
    if VectorIndex::manifest(&next.index()).is_ok_and(|manifest| manifest.vector_file == vector_file) {
        replace(next.index(), folder.index());
    }
    if DiskText::covered(&next.text(), vector_file).is_some() {
        if VectorIndex::manifest(&folder.index()).is_ok_and(|manifest| manifest.vector_file != vector_file) {
            VectorIndex::remove(&folder.index());
        }
        replace(next.text(), folder.text());
    }
    let _ = std::fs::remove_dir_all(&next.0);
}
