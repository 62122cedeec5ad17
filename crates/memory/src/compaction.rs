//! Compaction: a new generation of a collection's files, without the rows of replaced and deleted records.
//!
//! ```text
//! copy the current rows ─▶ build the index and the text index over the copies ─▶ copy and index what was written meanwhile, again until it is little
//!                                                                              ─▶ on the writer's thread: copy the rest, commit the slots, switch
//! ```
//!
//! All but the last step happens while the collection is read and written, and that one writes no record: their slots stay
//! ([`membox_records::Slots`]). What a crash leaves of it is removed when the collection is
//! opened next, or put to use if the commit had happened.

use crate::MemoryError;
use crate::collection::{Collection, Folder, text_of};
use crate::maintenance::{built_index, commit_text};
use crate::shared::Shared;
use crate::work::Work;
use crate::work::ask;
use crossbeam_channel::Sender;
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
    pub text: Option<TextIndex>,
    /// The row of the other file from which on no text is in the text index: all of them are in the collection's tail.
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

    /// Puts the texts of the copied rows that are in view, and not there yet, into the text index. `progress` is called with the rows that are; whether it
    /// said that it goes on.
    fn index_texts(
        &mut self,
        shared: &Shared,
        collection: &Collection,
        view: &VectorView,
        progress: &mut dyn FnMut(u32) -> bool,
    ) -> Result<bool, MemoryError> {
        let (reader, rows) = (shared.reader()?, self.file.rows());
        let of = text_of(&reader, &collection.tenant, self.file.header().uuid, rows)?;
        let mut text = TextIndexWriter::open(&collection.folder().next().text(), of)?;
        let (mut goes_on, mut result) = (true, Ok(()));
        if let Some(first) = self.copied.select(text.rows()?) {
            let slots = collection.live().slots.clone();
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
    let generation = Box::new(generation);
    ask(writer, |reply| Work::Switch { collection: collection.clone(), generation, reply })
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
    // Texts that are written meanwhile do not wait in memory for the end of it.
    let mut texts = Ok(());
    let mut progress = |rows| {
        texts = commit_text(shared, collection, || false);
        texts.is_ok() && progress(rows)
    };
    let built = build_derived(shared, collection, threads, &mut progress)?;
    texts?;
    let Some(mut generation) = built else { return Ok(None) };
    for _ in 0..CATCH_UP_ROUNDS {
        let (view, rows) = collection.live().current();
        let since = (rows.rows() - &generation.copied).len();
        if since == 0 {
            break;
        }
        generation.catch_up(&view, rows.rows())?;
        generation.index_texts(shared, collection, &view, &mut |_| true)?;
        if since <= CATCH_UP_ROWS {
            break;
        }
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
    let of = view.header().uuid;
    let mut generation =
        Generation { file, of, copied, erased: RoaringBitmap::new(), index, text: None, texts_until: 0 };
    let goes_on = generation.index_texts(shared, collection, &view, &mut |row| progress(done + row))?;
    Ok(goes_on.then_some(generation))
}

/// Where the index and the text index of a vector file are: in the place of a compaction that was broken off after its commit, or in theirs.
pub(crate) fn derived_folders(folder: &Folder, vector_file: Uuid) -> (PathBuf, PathBuf) {
    let next = folder.next();
    let has_index = VectorIndex::manifest(&next.index()).is_ok_and(|manifest| manifest.vector_file == vector_file);
    let has_text = TextIndex::covered(&next.text(), vector_file).is_some();
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
        #[expect(clippy::disallowed_methods, reason = "an index whose name is lost is built anew")]
        if let Err(error) = std::fs::rename(&from, &to) {
            tracing::warn!(folder = %to.display(), %error, "an index of a compaction could not be kept; it is built anew");
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

#[cfg(test)]
mod tests {
    use crate::collection::JobGuard;
    use crate::sample::Sample;
    use crate::{RecallMode, RecallRequest, now};
    use membox_index::IndexPolicy;
    use membox_records::Filter;
    use serde_json::json;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn texts_that_are_written_during_a_compaction_neither_wait_in_memory_for_its_end_nor_are_lost_by_it() {
        let sample = Sample::new(IndexPolicy::Flat);
        let (memory, collection) = (&sample.memory, &sample.collection);
        let _job = JobGuard::take(collection).expect("no other job");
        sample.write(0..9_900);
        let (mut steps, mut most_in_tail) = (0, 0);
        let compacted = memory.compact_now(collection, &mut |_| {
            steps += 1;
            match steps {
                // With these there are enough to be handed on, most of them copied already.
                1 => sample.write(9_900..10_400),
                _ => most_in_tail = most_in_tail.max(collection.live().tail.len()),
            }
            true
        });
        compacted.expect("a compaction");
        assert!(most_in_tail < 10_000, "{most_in_tail} texts waited");
        let covered = collection.live().disk.as_ref().map(|disk| disk.rows());
        assert_eq!((collection.live().tail.len(), covered), (0, Some(10_400)));
        for number in [0, 9_899, 9_900, 10_399] {
            let query = Some(format!("number{number}"));
            let request = RecallRequest { query, mode: RecallMode::Text, k: 3, ..RecallRequest::default() };
            let found = memory.recall("t", "c", &request).expect("an answer").hits;
            let ids: Vec<&str> = found.iter().map(|hit| hit.id.as_str()).collect();
            assert_eq!(ids, [number.to_string()]);
        }
    }

    #[test]
    fn a_filter_allows_the_same_records_at_every_moment_of_a_compaction() {
        let sample = Sample::new(IndexPolicy::Flat);
        let (memory, collection) = (&sample.memory, &sample.collection);
        let _job = JobGuard::take(collection).expect("no other job");
        sample.write(0..10_000);
        // The rows of half of them are dead.
        sample.write(0..5_000);
        collection.prepare_fields(&memory.shared().reader().expect("a reader")).expect("fields");
        let filter = Filter::parse(&json!({"field": "id", "in": ["17", "4999", "5000"]}), "/filter").expect("a filter");
        let allowed = || {
            let sight = collection.live().sight(now(), Some(&filter));
            let mut vectors: Vec<_> = sight.allowed.rows().iter().map(|row| sight.view.vector(row)).collect();
            vectors.sort_by(|a, b| a[0].total_cmp(&b[0]));
            vectors
        };
        let before = allowed();
        assert_eq!(before.len(), 3);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    assert_eq!(allowed(), before);
                }
            });
            let compacted = memory.compact_now(collection, &mut |_| true);
            is_over.store(true, Ordering::Relaxed);
            asking.join().expect("the same records");
            compacted.expect("a compaction");
        });
        assert_eq!(collection.live().view.rows(), 10_000);
    }
}
