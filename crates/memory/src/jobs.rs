//! Long work: how far it is, how it ended, and how it is cancelled.

use crate::{MemoryError, now, time_text};
use membox_api::JobView;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Ended jobs that are remembered.
const MAX_ENDED: usize = 1000;

/// A job's result, or why it failed.
pub(crate) type Outcome = Result<Option<Value>, String>;

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
    pub id: String,
    pub kind: &'static str,
    tenant: String,
    collection: Option<String>,
    started_at: i64,
    begun: Instant,
    pub done: AtomicU64,
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
    pub fn finish(&self, outcome: Outcome) {
        let mut end = self.end();
        let (seconds, cancelled) = (self.begun.elapsed().as_secs_f64(), self.is_cancelled());
        *end = Some(End { seconds, outcome, cancelled });
    }

    pub fn view(&self) -> JobView {
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
