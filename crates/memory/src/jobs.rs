//! Long work with progress: rebuild and re-embedding.

use crate::{MemoryBox, MemoryError, now, time_text};
use membox_api::JobView;
use membox_encoder::Lane;
use membox_store::{Collection, JobGuard};
use membox_threads::{guard, spawn};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Records re-embedded at a time.
const REEMBED_RECORDS: usize = 256;
/// Ended jobs that are remembered.
const MAX_ENDED: usize = 1000;

/// A job's result, or why it failed.
type Outcome = Result<Option<Value>, String>;

/// How a job ended; it stays as it was then.
struct End {
    seconds: f64,
    outcome: Outcome,
    /// Whether it was cancelled before it ended.
    cancelled: bool,
}

impl End {
    fn state(&self) -> &'static str {
        match self.outcome {
            Err(_) => "failed",
            Ok(_) if self.cancelled => "cancelled",
            Ok(_) => "done",
        }
    }
}

/// Long work under way or ended.
pub(crate) struct Job {
    id: String,
    kind: &'static str,
    tenant: String,
    collection: Option<String>,
    started_at: i64,
    begun: Instant,
    done: AtomicU64,
    total: AtomicU64,
    cancelled: AtomicBool,
    /// Locked while it is cancelled or ends: one of the two comes first.
    end: Mutex<Option<End>>,
}

impl Job {
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    pub fn set_total(&self, records: u64) {
        self.total.store(records, Ordering::Relaxed);
    }

    pub fn add_done(&self, records: u64) {
        self.done.fetch_add(records, Ordering::Relaxed);
    }

    fn end(&self) -> MutexGuard<'_, Option<End>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks it to stop, unless it has ended: an error where it has done so by itself.
    fn cancel(&self) -> Result<(), MemoryError> {
        match self.end().as_ref().map(End::state) {
            None => self.cancelled.store(true, Ordering::Relaxed),
            Some("cancelled") => {}
            Some(state) => return Err(MemoryError::JobEnded { id: self.id.clone(), state }),
        }
        Ok(())
    }

    /// Ends it.
    fn finish(&self, outcome: Outcome) {
        let mut end = self.end();
        let (seconds, cancelled) = (self.begun.elapsed().as_secs_f64(), self.is_cancelled());
        *end = Some(End { seconds, outcome, cancelled });
    }

    fn view(&self) -> JobView {
        let end = self.end();
        let seconds = end.as_ref().map_or_else(|| self.begun.elapsed().as_secs_f64(), |e| e.seconds);
        let (done, total) = (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed));
        let per_second = done as f64 / seconds.max(1e-3);
        JobView {
            id: self.id.clone(),
            kind: self.kind.to_owned(),
            collection: self.collection.clone(),
            state: end.as_ref().map_or("running", End::state).to_owned(),
            done,
            total,
            per_second,
            seconds_left: (end.is_none() && done > 0).then(|| total.saturating_sub(done) as f64 / per_second.max(1e-9)),
            error: end.as_ref().and_then(|e| e.outcome.clone().err()),
            result: end.as_ref().and_then(|e| e.outcome.clone().ok().flatten()),
            started_at: time_text(self.started_at),
        }
    }
}

/// Jobs, running and ended.
#[derive(Default)]
pub struct Jobs {
    jobs: Mutex<HashMap<String, Arc<Job>>>,
}

impl Jobs {
    fn find(&self, tenant: &str, id: &str) -> Result<Arc<Job>, MemoryError> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.get(id).filter(|j| j.tenant == tenant).cloned().ok_or_else(|| MemoryError::NoJob(id.to_owned()))
    }

    /// How far a tenant's job is.
    pub fn view(&self, tenant: &str, id: &str) -> Result<JobView, MemoryError> {
        Ok(self.find(tenant, id)?.view())
    }

    /// Asks a tenant's job to stop; it does after the records under way. One that is cancelled already is left as it is, and one that is done or has
    /// failed is an error: it cannot be cancelled any more.
    pub fn cancel(&self, tenant: &str, id: &str) -> Result<JobView, MemoryError> {
        let job = self.find(tenant, id)?;
        job.cancel()?;
        Ok(job.view())
    }

    pub(crate) fn cancel_all(&self) {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.values().for_each(|job| job.cancelled.store(true, Ordering::Relaxed));
    }

    pub(crate) fn begin(&self, kind: &'static str, tenant: &str, collection: Option<&str>) -> Arc<Job> {
        let job = Arc::new(Job {
            id: uuid::Uuid::now_v7().to_string(),
            kind,
            tenant: tenant.to_owned(),
            collection: collection.map(str::to_owned),
            started_at: now(),
            begun: Instant::now(),
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
            end: Mutex::new(None),
        });
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.len() >= MAX_ENDED {
            jobs.retain(|_, job| job.end().is_none());
        }
        jobs.insert(job.id.clone(), job.clone());
        job
    }
}

impl MemoryBox {
    /// Embeds every text of a collection anew with the model that is loaded, while it is read and written.
    pub fn reembed(self: &Arc<Self>, tenant: &str, name: &str) -> Result<JobView, MemoryError> {
        let collection = self.collection(tenant, name)?;
        self.models().encoder_of(&collection)?;
        self.start_job("reembed", collection, Self::run_reembed)
    }

    /// Rewrites a collection's vector file without dead rows and builds its indexes anew, while it is read.
    pub fn rebuild(self: &Arc<Self>, tenant: &str, name: &str) -> Result<JobView, MemoryError> {
        let collection = self.collection(tenant, name)?;
        self.start_job("rebuild", collection, Self::run_rebuild)
    }

    fn start_job(
        self: &Arc<Self>,
        kind: &'static str,
        collection: Arc<Collection>,
        run: fn(&Self, &Arc<Collection>, &JobGuard, &Job) -> Result<(), MemoryError>,
    ) -> Result<JobView, MemoryError> {
        let guard = JobGuard::take(&collection)?;
        let job = self.jobs().begin(kind, &collection.tenant, Some(&collection.name));
        self.run_job(job, move |memory, job| run(memory, &collection, &guard, job).map(|()| None))
    }

    /// Has a thread of its own do a job, which gives its result.
    pub(crate) fn run_job(
        self: &Arc<Self>,
        job: Arc<Job>,
        run: impl FnOnce(&Self, &Job) -> Result<Option<Value>, MemoryError> + Send + 'static,
    ) -> Result<JobView, MemoryError> {
        let (running, memory) = (job.clone(), Arc::downgrade(self));
        let spawned = spawn(format!("job-{}", job.kind), move || {
            // A job that breaks off gives back what it holds, and has failed.
            let outcome = guard(|| match memory.upgrade() {
                Some(memory) => run(&memory, &running).map_err(|e| e.to_string()),
                None => Err(MemoryError::Stopped.to_string()),
            });
            let outcome = outcome.unwrap_or_else(|panicked| Err(format!("{panicked}; the log of the box says more")));
            if let Err(error) = &outcome {
                tracing::error!(job = running.id, kind = running.kind, error, "a job failed");
            }
            running.finish(outcome);
        });
        match spawned {
            Ok(_) => Ok(job.view()),
            Err(error) => {
                let error = MemoryError::io("start a thread for", self.data_dir())(error);
                job.finish(Err(error.to_string()));
                Err(error)
            }
        }
    }

    fn run_reembed(&self, collection: &Arc<Collection>, _guard: &JobGuard, job: &Job) -> Result<(), MemoryError> {
        // Records that are written from now on have the new model's vectors.
        let snapshot = self.read()?.snapshot(collection, None)?;
        job.set_total(snapshot.len());
        let mut from = None;
        while !job.is_cancelled() {
            let (mut batch, mut next) = (Vec::new(), None);
            snapshot.each_record_from(&self.read()?, from, |record, stored| {
                if batch.len() == REEMBED_RECORDS {
                    next = Some(record);
                    return false;
                }
                batch.push(stored);
                true
            })?;
            if batch.is_empty() {
                break;
            }
            let count = batch.len() as u64;
            batch.retain(|stored| !stored.record.given_vector);
            let texts = batch.iter().map(|s| s.record.text.clone()).collect();
            let embedded = self.models().encoder_of(collection)?.embed(texts, Lane::Bulk)?;
            let vectors = batch.into_iter().zip(embedded.rows().map(<[f32]>::to_vec)).collect();
            self.store().replace_vectors(collection, vectors)?;
            job.add_done(count);
            if next.is_none() {
                break;
            }
            from = next;
        }
        Ok(())
    }

    fn run_rebuild(&self, collection: &Arc<Collection>, guard: &JobGuard, job: &Job) -> Result<(), MemoryError> {
        let records = collection.records();
        job.set_total(if collection.wants_index() { records * 2 } else { records });
        let compacted = self.store().compact(guard, collection, &mut |done| {
            job.done.store(u64::from(done), Ordering::Relaxed);
            !job.is_cancelled()
        });
        self.store().maintain(collection);
        Ok(compacted?)
    }
}
