//! Compaction: a collection's files anew, without the rows of replaced and deleted records.
//!
//! ```text
//! copy the current rows ─▶ build the index and the text index over the copies ─▶ copy and index what was written meanwhile, again until it is little
//!                                                                              ─▶ on the writer's thread: copy the rest, commit the slots, switch
//! ```
//!
//! All but the last step happens while the collection is read and written, and that one writes no record: their
//! slots stay ([`membox_records::Slots`]). What a crash leaves of it is removed when the collection is opened next,
//! or put to use if the commit had happened.

use crate::StoreError;
use crate::collection::{Collection, CollectionFolder, text_of};
use crate::maintenance::{build_index, commit_texts};
use crate::registry::Registry;
use crate::writer::{Work, WriterQueue};
use membox_index::{AllowedRows, VectorIndex};
use membox_text::{TextIndex, TextIndexWriter};
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
pub(crate) struct CompactedFiles {
    /// The rows, in the order in which they were.
    pub file: VectorFile,
    /// The vector file that the rows are of.
    pub of: Uuid,
    /// The rows that were copied.
    pub copied: RoaringBitmap,
    /// Those of them that died since, and whose copies are overwritten.
    pub erased: RoaringBitmap,
    pub index: Option<VectorIndex>,
    pub text: Option<TextIndex>,
    /// The row of the other file from which on no text is in the text index: all of them are in the collection's tail.
    pub texts_until: u32,
}

impl CompactedFiles {
    /// Copies what has become current since, durably, and overwrites the copies of what no longer is. Rows are
    /// current once, from when they come into view: what is copied now comes after all that was.
    pub fn catch_up(&mut self, view: &VectorView, rows: &RoaringBitmap) -> Result<(), StoreError> {
        let since = rows - &self.copied;
        self.file.append_rows(view, since.iter())?;
        self.copied |= since;
        let dead = &self.copied - rows - &self.erased;
        self.file.erase(dead.iter().map(|row| self.copied.rank(row) as u32 - 1))?;
        self.erased |= dead;
        Ok(())
    }

    /// Puts the texts of the copied rows that are in view, and not there yet, into the text index. `progress` is
    /// called with the rows that are; whether it said that it goes on.
    fn index_texts(
        &mut self,
        registry: &Registry,
        collection: &Collection,
        view: &VectorView,
        progress: &mut dyn FnMut(u32) -> bool,
    ) -> Result<bool, StoreError> {
        let (reader, rows) = (registry.reader()?, self.file.rows());
        let of = text_of(&reader, &collection.tenant, self.file.header().uuid, rows)?;
        let mut text = TextIndexWriter::open(&collection.folder().next().text(), of)?;
        let (mut goes_on, mut result) = (true, Ok(()));
        if let Some(first) = self.copied.select(text.rows()?) {
            let slots = collection.state().slots.clone();
            reader.each_record(&slots, first, |old, stored| {
                if self.copied.contains(old) {
                    let row = self.copied.rank(old) as u32 - 1;
                    result = text.insert(row, &stored.record.text);
                    goes_on = progress(row + 1);
                }
                result.is_ok() && goes_on
            })?;
        }
        result?;
        if goes_on {
            self.text = Some(text.commit(rows)?);
            self.texts_until = view.rows();
        }
        Ok(goes_on)
    }
}

/// Compacts a collection whose job guard the caller holds. `progress` is called with the rows done, of which there
/// are about twice as many as are copied; a `false` stops it.
pub(crate) fn compact(
    registry: &Registry,
    writer: &WriterQueue,
    collection: &Arc<Collection>,
    threads: usize,
    progress: &mut dyn FnMut(u32) -> bool,
) -> Result<(), StoreError> {
    let files = match build(registry, collection, threads, progress) {
        Ok(Some(files)) => files,
        stopped => {
            discard(&collection.folder());
            return stopped.map(|_| ());
        }
    };
    let files = Box::new(files);
    writer.ask(|reply| Work::Switch { collection: collection.clone(), files, reply })
}

/// Removes what a compaction that came to nothing has written: it may be a full disk that stopped it.
pub(crate) fn discard(folder: &CollectionFolder) {
    let _ = std::fs::remove_file(folder.compacting());
    let _ = std::fs::remove_dir_all(folder.next().0);
}

fn build(
    registry: &Registry,
    collection: &Collection,
    threads: usize,
    progress: &mut dyn FnMut(u32) -> bool,
) -> Result<Option<CompactedFiles>, StoreError> {
    // Texts that are written meanwhile do not wait in memory for the end of it.
    let mut texts = Ok(());
    let mut progress = |rows| {
        texts = commit_texts(registry, collection, || false);
        texts.is_ok() && progress(rows)
    };
    let built = build_derived(registry, collection, threads, &mut progress)?;
    texts?;
    let Some(mut files) = built else { return Ok(None) };
    for _ in 0..CATCH_UP_ROUNDS {
        let (view, rows) = collection.state().current();
        let since = (rows.rows() - &files.copied).len();
        if since == 0 {
            break;
        }
        files.catch_up(&view, rows.rows())?;
        files.index_texts(registry, collection, &view, &mut |_| true)?;
        if since <= CATCH_UP_ROWS {
            break;
        }
    }
    Ok(Some(files))
}

/// The copies of the current rows, with the index and the text index over them.
fn build_derived(
    registry: &Registry,
    collection: &Collection,
    threads: usize,
    progress: &mut dyn FnMut(u32) -> bool,
) -> Result<Option<CompactedFiles>, StoreError> {
    let (view, rows) = collection.state().current();
    let copied = rows.rows().clone();
    let (folder, next) = (collection.folder(), collection.folder().next());
    discard(&folder);
    std::fs::create_dir_all(next.index()).map_err(StoreError::io("create", &next.0))?;
    let mut file = VectorFile::create(&folder.compacting(), view.header().dimension, view.header().row_type)?;
    file.append_rows(&view, copied.iter())?;
    file.sync()?;

    let new_view = file.view(file.rows());
    let policy = collection.index_policy();
    let mut index = None;
    if let Some(spec) = policy.wanted(new_view.rows()) {
        let all = AllowedRows::from((0..new_view.rows()).collect::<RoaringBitmap>());
        let Some(built) = build_index(&new_view, spec, policy, &all, threads, progress)? else { return Ok(None) };
        built.save(&next.index())?;
        index = Some(built);
    }
    let done = index.as_ref().map_or(0, VectorIndex::rows);
    let of = view.header().uuid;
    let mut files =
        CompactedFiles { file, of, copied, erased: RoaringBitmap::new(), index, text: None, texts_until: 0 };
    let goes_on = files.index_texts(registry, collection, &view, &mut |row| progress(done + row))?;
    Ok(goes_on.then_some(files))
}

/// Where the index and the text index of a vector file are: in the place of a compaction that was broken off after
/// its commit, or in theirs.
pub(crate) fn derived_folders(folder: &CollectionFolder, vector_file: Uuid) -> (PathBuf, PathBuf) {
    let next = folder.next();
    let has_index = VectorIndex::manifest(&next.index()).is_ok_and(|manifest| manifest.vector_file == vector_file);
    let has_text = TextIndex::covered(&next.text(), vector_file).is_some();
    let of = |is_next: bool| if is_next { &next } else { folder };
    (of(has_index || has_text).index(), of(has_text).text())
}

/// Puts the derived files of a compaction in their place if it is that of the vector file that the records name,
/// and removes what is left of it.
pub(crate) fn settle_next(folder: &CollectionFolder, vector_file: Uuid) {
    let next = folder.next();
    if !next.0.exists() {
        return;
    }
    let replace = |from: PathBuf, to: PathBuf| {
        let _ = std::fs::remove_dir_all(&to);
        #[expect(clippy::disallowed_methods, reason = "an index whose name is lost is built anew")]
        #[expect(clippy::disallowed_methods, reason = "an index whose name is lost is built anew")]
        if let Err(error) = std::fs::rename(&from, &to) {
            tracing::warn!(folder = %to.display(), %error, "an index of a compaction could not be kept; it is built \
                anew");
        }
    };
    if VectorIndex::manifest(&next.index()).is_ok_and(|manifest| manifest.vector_file == vector_file) {
        replace(next.index(), folder.index());
    }
    if TextIndex::covered(&next.text(), vector_file).is_some() {
        if VectorIndex::manifest(&folder.index()).is_ok_and(|manifest| manifest.vector_file != vector_file) {
            VectorIndex::remove(&folder.index());
        }
        replace(next.text(), folder.text());
    }
    let _ = std::fs::remove_dir_all(&next.0);
}
