//! Background work of one thread: text commits, index builds, expiry, compaction. Readers never wait for it: each
//! result is swapped in.

mod index;
mod retries;
mod sweep;

use crate::StoreError;
use crate::collection::{Collection, JobGuard};
use crate::compaction::compact;
use crate::derived::commit_texts;
use crate::registry::Registry;
use crate::writer::WriterQueue;
use crossbeam_channel::{Receiver, TryRecvError, select, tick};
use membox_threads::guard;
use retries::Retries;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Rows of a vector file over which one of which a third is dead is compacted: a graph among whose nodes many are
/// dead is searched more slowly and finds less.
const COMPACT_ROWS: u32 = 10_000;
/// How often expired records are swept.
const SWEEP: Duration = Duration::from_secs(10);

pub(crate) struct Maintenance {
    pub registry: Arc<Registry>,
    pub writer: WriterQueue,
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
            self.registry.set_broken("the background work has ended".to_owned());
        }
    }

    fn run_until_stopped(&self, due: &Receiver<Weak<Collection>>) {
        // Builds must not take the processor from queries. Nice is a thread's own on Linux, and FAISS's threads
        // inherit it.
        let _ = rustix::process::nice(10);
        let sweeps = tick(SWEEP);
        let mut retries = Retries::default();
        loop {
            select! {
                recv(self.stop) -> _ => return,
                recv(due) -> collection => {
                    let Ok(collection) = collection else { return };
                    self.try_to_maintain(collection, &mut retries);
                }
                recv(sweeps) -> _ => {
                    self.attempt("the sweep of what has expired", &Weak::new(), &mut retries, || self.sweep());
                    for collection in retries.due(Instant::now()) {
                        self.try_to_maintain(collection, &mut retries);
                    }
                }
            }
        }
    }

    fn try_to_maintain(&self, weak: Weak<Collection>, retries: &mut Retries) {
        let Some(collection) = weak.upgrade() else { return };
        collection.is_maintained.store(false, Ordering::Release);
        let what = format!("background work on {}/{}", collection.tenant, collection.name);
        if retries.is_paused(&what, Instant::now()) {
            return;
        }
        self.attempt(&what, &weak, retries, || self.registry.with_files(|| self.maintain(&collection)));
        if collection.is_dropped() {
            // What it has written since then belongs to nothing. A file that is being written was begun before the
            // drop, and is finished first.
            let _changing = self.registry.change_media();
            let _ = std::fs::remove_dir_all(collection.folder().0);
        }
    }

    /// Does some work. What fails, or panics, is tried again after a pause.
    fn attempt(
        &self,
        what: &str,
        collection: &Weak<Collection>,
        retries: &mut Retries,
        work: impl FnOnce() -> Result<(), StoreError>,
    ) {
        let reason = match guard(work) {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(panicked) => Some(panicked.to_string()),
        };
        let is_gone = || collection.upgrade().is_some_and(|collection| collection.is_gone());
        match reason {
            Some(reason) if !self.stopping() && !is_gone() => {
                metrics::counter!("membox_background_failures_total").increment(1);
                tracing::error!(reason, "{what} failed; it is tried again later");
                retries.failed(what, collection.clone(), reason, Instant::now());
            }
            _ => retries.done(what),
        }
        self.registry.set_troubles(retries.troubles());
    }

    fn stopping(&self) -> bool {
        self.stop.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Whether nobody needs what is done for a collection any more.
    fn is_over(&self, collection: &Collection) -> bool {
        self.stopping() || collection.is_gone()
    }

    fn maintain(&self, collection: &Arc<Collection>) -> Result<(), StoreError> {
        collection.break_if_told();
        if collection.is_dropped() {
            return Ok(());
        }
        // A rebuild asks for this again when it ends.
        self.registry.erase_unseen(collection);
        let Ok(_derived_files) = collection.derived_files.try_lock() else { return Ok(()) };
        // From here on it is moved to no other model.
        if collection.is_gone() {
            return Ok(());
        }
        // What is left of the disk is for what frees room.
        self.registry.reserve.check()?;
        commit_texts(&self.registry, collection, || self.is_over(collection))?;
        self.compact(collection)?;
        self.keep_index(collection)
    }

    /// Compacts a collection that has many dead rows.
    fn compact(&self, collection: &Arc<Collection>) -> Result<(), StoreError> {
        let is_due = {
            let state = collection.state();
            let rows = state.view.rows();
            rows >= COMPACT_ROWS && state.vectors().rows().len() * 3 < u64::from(rows) * 2
        };
        if !is_due {
            return Ok(());
        }
        let Ok(_guard) = JobGuard::take(collection) else { return Ok(()) };
        let mut progress = |rows| {
            collection.building.store(rows, Ordering::Relaxed);
            !self.is_over(collection)
        };
        let compacted = compact(&self.registry, &self.writer, collection, self.threads, &mut progress);
        collection.building.store(0, Ordering::Relaxed);
        compacted
    }
}
