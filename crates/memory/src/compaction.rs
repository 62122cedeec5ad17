//! Compaction: a new generation of a collection's files, without the rows of replaced and deleted records.
//!
//! ```text
//! copy the current rows ─▶ build the index and the text index over the copies ─▶ copy what was written meanwhile, again until it is little
//!                                                                              ─▶ on the writer's thread: copy the rest, commit the slots, switch
//! ```
//!
//! All but the last step happens while the collection is read and written, and that one writes no record: their slots stay
//! ([`membox_records::Slots`]). What a crash leaves of it is removed when the collection is
//! opened next, or put to use if the commit had happened.

use crate::MemoryError;
use crate::collection::{Collection, Folder, text_of};
use crate::maintenance::built_index;
use crate::shared::Shared;
use crate::work::Work;
use crate::work::ask;
use crossbeam_channel::Sender;
use membox_index::{AllowedRows, VectorIndex};
use membox_records::text::{DiskText, DiskWriter};
use membox_vectors::{VectorFile, VectorView};
use roaring::RoaringBitmap;
use std::path::PathBuf;
use std::sync::Arc;
use uuid::Uuid;

/// How often what was written meanwhile is copied before the switch, unless few rows are left sooner.
const CATCH_UP_ROUNDS: usize = 8;
/// Rows that the writer's thread may be left to copy.
const CATCH_UP_ROWS: u64 = 1000;

/// Files of a collection that hold its current rows alone, until the writer switches to them.
pub(crate) struct Generation {
    /// The rows, in the order in which they were.
    pub file: VectorFile,
    /// The vector file that the rows are of.
    pub of: Uuid,
    /// The rows that were copied.
    pub copied: RoaringBitmap,
    /// Those of them that died since, and whose copies are overwritten.
    pub erased: RoaringBitmap,
    pub index: Option<VectorIndex>,
    pub text: Option<DiskText>,
    /// The row of the other file from which on no text is in the text index.
    pub texts_until: u32,
}

impl Generation {
    /// Copies what has become current since, durably, and overwrites the copies of what no longer is. Rows are current once, from when they come into
    /// view: what is copied now comes after all that was.
    pub fn catch_up(&mut self, view: &VectorView, rows: &RoaringBitmap) -> Result<(), MemoryError> {
        let since = rows - &self.copied;
        self.file.append_rows(view, since.iter())?;
        self.copied |= since;
        let dead = &self.copied - rows - &self.erased;
        self.file.erase(dead.iter().map(|row| self.copied.rank(row) as u32 - 1))?;
        self.erased |= dead;
        Ok(())
    }
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
    let generation = match build(shared, collection, threads, progress) {
        Ok(Some(generation)) => generation,
        stopped => {
            discard(&collection.folder());
            return stopped.map(|_| ());
        }
    };
    let had_fields = collection.live().has_fields();
    let generation = Box::new(generation);
    ask(writer, |reply| Work::Switch { collection: collection.clone(), generation, reply })?;
    // The next filter need not wait for all of it.
    if had_fields { collection.prepare_fields(&*shared.reader()?) } else { Ok(()) }
}

/// Removes what a compaction that came to nothing has written: it may be a full disk that stopped it.
pub(crate) fn discard(folder: &Folder) {
    let _ = std::fs::remove_file(folder.compacting());
    let _ = std::fs::remove_dir_all(folder.next().0);
}

fn build(
    shared: &Shared,
    collection: &Collection,
    threads: usize,
    progress: &mut dyn FnMut(u32) -> bool,
) -> Result<Option<Generation>, MemoryError> {
    let Some(mut generation) = build_derived(shared, collection, threads, progress)? else { return Ok(None) };
    for _ in 0..CATCH_UP_ROUNDS {
        let (view, rows) = collection.live().current();
        if (rows.rows() - &generation.copied).len() <= CATCH_UP_ROWS {
            break;
        }
        generation.catch_up(&view, rows.rows())?;
    }
    Ok(Some(generation))
}

/// The copies of the current rows, with the index and the text index over them.
fn build_derived(
    shared: &Shared,
    collection: &Collection,
    threads: usize,
    progress: &mut dyn FnMut(u32) -> bool,
) -> Result<Option<Generation>, MemoryError> {
    let (view, rows) = collection.live().current();
    let slots = collection.live().slots.clone();
    let copied = rows.rows().clone();
    let (folder, next) = (collection.folder(), collection.folder().next());
    discard(&folder);
    std::fs::create_dir_all(next.index()).map_err(MemoryError::io("create", &next.0))?;
    let mut file = VectorFile::create(&folder.compacting(), view.header().dimension, view.header().row_type)?;
    file.append_rows(&view, copied.iter())?;
    file.sync()?;

    let new_view = file.view(file.rows());
    let policy = collection.settings().index;
    let mut index = None;
    if let Some(spec) = policy.wanted(new_view.rows()) {
        let all = AllowedRows::from((0..new_view.rows()).collect::<RoaringBitmap>());
        let Some(built) = built_index(&new_view, spec, policy, &all, threads, progress)? else { return Ok(None) };
        built.save(&next.index())?;
        index = Some(built);
    }
    let done = index.as_ref().map_or(0, VectorIndex::rows);
    let reader = shared.reader()?;
    let of = text_of(&reader, &collection.tenant, new_view.header().uuid, new_view.rows())?;
    let mut text = DiskWriter::open(&next.text(), of)?;
    let (mut row, mut goes_on, mut result) = (0, true, Ok(()));
    let mut numbers = copied.iter().peekable();
    reader.each_record(&slots, 0, |old, stored| {
        // Both come in rising order; a row that has no record any more is passed over.
        while numbers.next_if(|&number| number < old).is_some() {
            row += 1;
        }
        if numbers.next_if_eq(&old).is_some() {
            result = text.insert(row, &stored.record.text);
            row += 1;
            goes_on = progress(done + row);
        }
        result.is_ok() && goes_on
    })?;
    result?;
    if !goes_on {
        return Ok(None);
    }
    let text = Some(text.commit(new_view.rows())?);
    let (of, texts_until) = (view.header().uuid, view.rows());
    Ok(Some(Generation { file, of, copied, erased: RoaringBitmap::new(), index, text, texts_until }))
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
