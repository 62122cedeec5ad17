//! Background work of one thread: text commits, index builds, expiry, compaction. Readers never wait for it: each result is swapped in.

use crate::collection::{Collection, text_of};
use crate::compaction::compact;
use crate::convert::index_policy;
use crate::media;
use crate::retries::Retries;
use crate::shared::Shared;
use crate::work::{Doomed, Work, Write, transact};
use crate::{MemoryError, now};
use crossbeam_channel::{Receiver, Sender, TryRecvError, select, tick};
use membox_index::{AllowedRows, IndexError, IndexPolicy, IndexSpec, Progress, VectorIndex};
use membox_records::text::DiskWriter;
use membox_threads::guard;
use membox_vectors::VectorView;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Texts that stay in memory before tantivy gets them. A tail of this size costs a query some 0.1 ms and a start some 0.2 s.
const TAIL_TEXTS: usize = 10_000;
/// Rows past the watermark that an index is extended by at least: below, scanning them costs less than 0.5 ms a query. In a large collection it is one
/// in so many: each time the whole index is read and written.
const FRESH_ROWS: u32 = 10_000;
const FRESH_SHARE: u32 = 25;
/// Rows that the beam of an automatic index is measured with.
const CALIBRATED_ROWS: usize = 192;
/// Rows of a vector file over which one of which a third is dead is compacted: a graph among whose nodes many are dead is searched more slowly and
/// finds less.
const COMPACT_ROWS: u32 = 10_000;
/// How often expired records are swept.
const SWEEP: Duration = Duration::from_secs(10);
/// Expired records deleted in one go.
const SWEEP_ROWS: usize = 4096;

pub(crate) struct Maintenance {
    pub shared: Arc<Shared>,
    pub writer: Sender<Work>,
    /// Disconnected when the box stops.
    pub stop: Receiver<()>,
    /// Threads of an index build.
    pub threads: usize,
}

impl Maintenance {
    /// Runs until the box stops; ends otherwise, it is said.
    pub fn run(self, due: &Receiver<Weak<Collection>>) {
        let ended = guard(|| self.run_until_stopped(due));
        if ended.is_err() || !self.stopping() {
            self.shared.set_broken("the background work has ended".to_owned());
        }
    }

    fn run_until_stopped(&self, due: &Receiver<Weak<Collection>>) {
        // Builds must not take the processor from queries. Nice is a thread's own on Linux, and FAISS's threads inherit it.
        let _ = rustix::process::nice(10);
        let sweeps = tick(SWEEP);
        let mut retries = Retries::default();
        loop {
            select! {
                recv(self.stop) -> _ => return,
                recv(due) -> collection => {
                    let Ok(collection) = collection else { return };
                    self.try_to_tend(collection, &mut retries);
                }
                recv(sweeps) -> _ => {
                    self.attempt("the sweep of what has expired", &Weak::new(), &mut retries, || self.sweep());
                    for collection in retries.due(Instant::now()) {
                        self.try_to_tend(collection, &mut retries);
                    }
                }
            }
        }
    }

    fn try_to_tend(&self, weak: Weak<Collection>, retries: &mut Retries) {
        let Some(collection) = weak.upgrade() else { return };
        collection.maintained.store(false, Ordering::Release);
        let what = format!("background work on {}/{}", collection.tenant, collection.name);
        if retries.is_paused(&what, Instant::now()) {
            return;
        }
        self.attempt(&what, &weak, retries, || self.shared.with_files(|| self.tend(&collection)));
        if collection.is_dropped() {
            // What it has written since then belongs to nothing.
            let _ = std::fs::remove_dir_all(collection.folder().0);
        }
    }

    /// Does some work. What fails, or panics, is tried again after a pause.
    fn attempt(
        &self,
        what: &str,
        collection: &Weak<Collection>,
        retries: &mut Retries,
        work: impl FnOnce() -> Result<(), MemoryError>,
    ) {
        let reason = match guard(work) {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(panicked) => Some(panicked.to_string()),
        };
        let is_dropped = || collection.upgrade().is_some_and(|collection| collection.is_dropped());
        match reason {
            Some(reason) if !self.stopping() && !is_dropped() => {
                metrics::counter!("membox_background_failures_total").increment(1);
                tracing::error!(reason, "{what} failed; it is tried again later");
                retries.failed(what, collection.clone(), reason, Instant::now());
            }
            _ => retries.done(what),
        }
        self.shared.set_troubles(retries.troubles());
    }

    fn stopping(&self) -> bool {
        self.stop.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Whether nobody needs what is done for a collection any more.
    fn is_over(&self, collection: &Collection) -> bool {
        self.stopping() || collection.is_dropped()
    }

    fn tend(&self, collection: &Arc<Collection>) -> Result<(), MemoryError> {
        #[cfg(test)]
        collection.break_if_told();
        if collection.is_dropped() {
            return Ok(());
        }
        // A rebuild asks for this again when it ends.
        self.shared.erase_unseen(collection);
        let Ok(_tending) = collection.tending.try_lock() else { return Ok(()) };
        commit_text(&self.shared, collection, || self.is_over(collection))?;
        self.compact(collection)?;
        self.build_index(collection)
    }

    /// Compacts a collection that has many dead rows.
    fn compact(&self, collection: &Arc<Collection>) -> Result<(), MemoryError> {
        let is_due = {
            let live = collection.live();
            live.view.rows() >= COMPACT_ROWS && live.rows.rows().len() * 3 < u64::from(live.view.rows()) * 2
        };
        if !is_due {
            return Ok(());
        }
        let Ok(_guard) = crate::collection::JobGuard::take(collection) else { return Ok(()) };
        let mut progress = |rows| {
            collection.building.store(rows, Ordering::Relaxed);
            !self.is_over(collection)
        };
        let compacted = compact(&self.shared, &self.writer, collection, self.threads, &mut progress);
        collection.building.store(0, Ordering::Relaxed);
        compacted
    }

    /// Builds or extends the index when enough rows are not covered, saves it and swaps it in.
    fn build_index(&self, collection: &Collection) -> Result<(), MemoryError> {
        let (view, current) = {
            let live = collection.live();
            (live.view.clone(), live.index.clone())
        };
        let folder = collection.folder().index();
        let Some(wanted) = index_policy(collection.settings().index).wanted(view.rows()) else {
            if current.is_some() {
                collection.live_mut().set_index(None);
                VectorIndex::remove(&folder);
            }
            return Ok(());
        };
        let fits = current.as_ref().is_some_and(|index| same_kind(index.spec(), wanted));
        let covered = current.as_ref().filter(|_| fits).map_or(0, |index| index.rows());
        let fresh = view.rows() - covered;
        if fits && fresh < FRESH_ROWS.max(view.rows() / FRESH_SHARE) {
            return Ok(());
        }
        // The published index is searched meanwhile, so its saved file is what is extended. One that has doubled is built anew:
        // its codes were learnt from the first half.
        let saved = (fits && covered >= view.rows() / 2).then(|| VectorIndex::load(&folder, &view).ok()).flatten();
        let mut texts = Ok(());
        let mut progress = |rows| {
            collection.building.store(rows, Ordering::Relaxed);
            // What is written meanwhile, hundreds of thousands of texts, neither stays in memory nor is cut into terms at a start.
            texts = commit_text(&self.shared, collection, || self.is_over(collection));
            // What doubles while it is built would be built anew at once: the write that doubled it asks for that.
            texts.is_ok() && !self.is_over(collection) && collection.live().view.rows() < view.rows().saturating_mul(2)
        };
        let (policy, rows) = (index_policy(collection.settings().index), collection.live().rows.clone());
        let built = match saved {
            Some(mut index) => match index.extend(&view, self.threads, &mut progress) {
                Err(IndexError::Stopped) => Ok(None),
                extended => {
                    extended.and_then(|()| calibrated(index, &view, policy, &rows).map(Some)).map_err(MemoryError::from)
                }
            },
            None => built_index(&view, wanted, policy, &rows, self.threads, &mut progress),
        };
        collection.building.store(0, Ordering::Relaxed);
        texts?;
        let Some(index) = built? else { return Ok(()) };
        std::fs::create_dir_all(&folder).map_err(MemoryError::io("create", &folder))?;
        index.save(&folder)?;
        let mut live = collection.live_mut();
        if live.view.header().uuid == view.header().uuid {
            live.set_index(Some(Arc::new(index)));
        }
        Ok(())
    }

    /// Overwrites what somebody still looked at when it died, and deletes records whose time has come.
    fn sweep(&self) -> Result<(), MemoryError> {
        self.shared.opened().iter().for_each(|collection| self.shared.erase_unseen(collection));
        let mut swept = self.sweep_tables();
        if let Err(error) = &swept {
            tracing::warn!(%error, "what was recalled is not counted, and expired checkpoints and old usage are not removed yet; none of them is given out");
        }
        let ids = self.shared.reader()?.collections_with_expired(now())?;
        for id in ids {
            let collection = match self.shared.by_id(id) {
                Ok(Some(collection)) => collection,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(collection = id, %error, "expired records are not removed yet; no recall returns them");
                    swept = Err(error);
                    continue;
                }
            };
            let expired = collection.live().expired(now(), SWEEP_ROWS);
            if expired.is_empty() {
                continue;
            }
            let doomed = Doomed::Slots(expired);
            let name = collection.name.clone();
            let ask = |reply| Work::Write(Write::Delete { collection, doomed, touches: false, audit: None, reply });
            match crate::work::ask(&self.writer, ask) {
                Ok(_) | Err(MemoryError::Dropped(_)) => {}
                Err(error) => {
                    tracing::warn!(collection = name, %error, "expired records are not removed yet; no recall returns them");
                    swept = Err(error);
                }
            }
        }
        swept
    }
}

impl Maintenance {
    fn sweep_tables(&self) -> Result<(), MemoryError> {
        self.shared.uses.write(&self.writer)?;
        let now = now();
        if self.shared.reader()?.has_unused_media(now)? {
            let shared = self.shared.clone();
            transact(&self.writer, move |group| media::remove_unused(group, &shared))?;
        }
        if self.shared.reader()?.has_expired_checkpoints(now)? {
            transact(&self.writer, move |group| Ok(group.drop_expired_checkpoints(now)?))?;
        }
        let oldest = crate::usage::day(now - crate::usage::KEPT_DAYS * 24 * 3600 * 1000);
        if self.shared.reader()?.has_usage_before(&oldest)? {
            transact(&self.writer, move |group| Ok(group.drop_usage_before(&oldest)?))?;
        }
        Ok(())
    }
}

/// Hands the tail of the text index to tantivy when it has grown, unless `is_stopping`. The caller holds the collection's `tending`.
pub(crate) fn commit_text(
    shared: &Shared,
    collection: &Collection,
    is_stopping: impl Fn() -> bool,
) -> Result<(), MemoryError> {
    if collection.live().tail.len() < TAIL_TEXTS {
        return Ok(());
    }
    let ((view, rows), slots, dead, key) = {
        let mut live = collection.live_mut();
        let key = live.disk.as_ref().map(|disk| disk.key().cloned());
        (live.current(), live.slots.clone(), std::mem::take(&mut live.dead_on_disk), key)
    };
    let reader = shared.reader()?;
    let mut of = text_of(&reader, &collection.tenant, view.header().uuid, view.rows())?;
    // What is there goes on with its key until it is built anew.
    of.key = key.unwrap_or(of.key);
    let mut writer = DiskWriter::open(&collection.folder().text(), of)?;
    let from = writer.rows()?;
    let mut result = Ok(());
    reader.each_record(&slots, from, |row, stored| {
        if rows.contains(row) && row < view.rows() {
            result = writer.insert(row, &stored.record.text);
        }
        result.is_ok() && !is_stopping()
    })?;
    result?;
    if is_stopping() {
        return Ok(());
    }
    dead.into_iter().for_each(|row| writer.remove(row));
    let disk = writer.commit(view.rows())?;
    let mut live = collection.live_mut();
    if live.view.header().uuid == view.header().uuid {
        // What died while it was committed is in the new state and must leave with the next.
        let late: Vec<u32> = (rows.rows() - live.rows.rows()).iter().filter(|&row| row >= from).collect();
        live.dead_on_disk.extend(late);
        live.tail.drop_below(disk.rows());
        live.disk = Some(disk);
    }
    Ok(())
}

/// Builds an index over the rows in view, of which `rows` are current; `None` if `progress` stopped it.
pub(crate) fn built_index(
    view: &VectorView,
    spec: IndexSpec,
    policy: IndexPolicy,
    rows: &AllowedRows,
    threads: usize,
    progress: Progress,
) -> Result<Option<VectorIndex>, MemoryError> {
    match VectorIndex::build(view, spec, threads, progress) {
        Err(IndexError::Stopped) => Ok(None),
        built => Ok(Some(calibrated(built?, view, policy, rows)?)),
    }
}

/// An automatic index measures its beam among the current rows.
fn calibrated(
    mut index: VectorIndex,
    view: &VectorView,
    policy: IndexPolicy,
    rows: &AllowedRows,
) -> Result<VectorIndex, IndexError> {
    if policy == IndexPolicy::Auto {
        index.calibrate(view, rows, CALIBRATED_ROWS)?;
    }
    Ok(index)
}

fn same_kind(a: IndexSpec, b: IndexSpec) -> bool {
    use IndexSpec::{Hnsw, Ivf};
    match (a, b) {
        (Hnsw { m, ef_construction, .. }, Hnsw { m: m2, ef_construction: e2, .. }) => m == m2 && ef_construction == e2,
        (Ivf { .. }, Ivf { .. }) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Sample;
    use crate::{MemoryBox, MemoryConfig, Models};
    use crossbeam_channel::bounded;
    use membox_api::CollectionSettings;

    #[test]
    fn collections_that_wait_for_background_work_are_closed_all_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = MemoryConfig { open_collections: 2, ..MemoryConfig::new(folder.path()) };
        let memory = MemoryBox::open(&config, Models::default()).expect("a box");
        let settings = CollectionSettings { dimension: Some(2), ..CollectionSettings::default() };
        let names: Vec<String> = (0..10).map(|c| c.to_string()).collect();
        for name in &names {
            memory.create_collection("t", name, &settings).expect("a collection");
        }
        // Background work on the first waits for this, and the others wait behind it.
        let first = memory.collection("t", "0").expect("a collection");
        let live = first.live_mut();
        memory.shared().maintain(&first);
        names.iter().for_each(|name| drop(memory.collection("t", name).expect("a collection")));
        let open = memory.open_collections().len();
        drop(live);
        assert!(open <= 3, "{open} collections are open");
    }

    #[test]
    fn texts_do_not_wait_in_memory_for_an_index() {
        let sample = Sample::new(membox_api::IndexPolicy::Hnsw { m: 8, ef_construction: 16, ef_search: 16 });
        let (memory, collection) = (&sample.memory, &sample.collection);
        // The box's own thread leaves it alone.
        let _tending = collection.tending.lock().expect("a lock");
        sample.write(0..11_000);
        assert!(collection.live().tail.len() > TAIL_TEXTS);
        let (shared, writer) = (memory.shared().clone(), memory.writer().clone());
        let (_keep_on, stop) = bounded(0);
        let maintenance = Maintenance { shared, writer, stop, threads: 1 };
        maintenance.build_index(collection).expect("an index");
        let live = collection.live();
        assert!(live.index.is_some());
        assert_eq!((live.tail.len(), live.disk.as_ref().map(|disk| disk.rows())), (0, Some(11_000)));
    }
}
