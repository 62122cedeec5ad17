//! One job on a collection at a time.

use crate::{Collection, StoreError};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long is waited before it is looked again whether a job has ended.
const JOB_PAUSE: Duration = Duration::from_millis(20);

/// Marks a job as running on a collection until dropped.
#[derive(Debug)]
pub struct JobGuard(Arc<Collection>);

impl JobGuard {
    /// Begins a job.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while another one runs, [`StoreError::NoCollection`] once it is dropped.
    pub fn take(collection: &Arc<Collection>) -> Result<Self, StoreError> {
        if collection.job.swap(true, Ordering::AcqRel) {
            return Err(StoreError::Busy(collection.name.clone()));
        }
        let guard = Self(collection.clone());
        // Whoever drops it holds this until it is dropped.
        collection.check_there().map(|()| guard)
    }

    /// As [`JobGuard::take`]; waits for another job for as long as `waits` says so.
    pub fn wait(collection: &Arc<Collection>, waits: impl Fn() -> bool) -> Result<Self, StoreError> {
        loop {
            match Self::take(collection) {
                Err(StoreError::Busy(_)) if waits() => std::thread::sleep(JOB_PAUSE),
                taken => return taken,
            }
        }
    }
}

impl Drop for JobGuard {
    fn drop(&mut self) {
        self.0.job.store(false, Ordering::Release);
    }
}
