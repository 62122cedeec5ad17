//! Tenants and their users: what holds for them, what they have used, what is remembered of a user, and their keys.

mod encryption;
mod erasing;
mod export;
mod limits;
pub(crate) mod llm_usage;
mod policy;
mod tenant_limits;
mod usage;

pub use export::Export;
pub(crate) use limits::{Limits, StoredCounts};
pub use policy::{DEFAULT_MAX_MESSAGES, Policies, Policy};
pub use tenant_limits::TenantLimits;
pub use usage::Usage;

use crate::MemoryError;
use crate::audit::Audit;
use crate::jobs::Job;
use crate::media::MediaFiles;
use crate::memories::Pipeline;
use crate::models::Models;
use crate::recall::AnswerCache;
use crate::sessions::Sessions;
use membox_store::{Collection, JobGuard, Store};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long an erasure waits for other work on a collection, and for readers of the log that is to be emptied.
const PATIENCE: Duration = Duration::from_secs(600);

/// Tenants of a box, and their users.
#[derive(Clone, Copy)]
pub struct Tenants<'a> {
    pub(crate) store: &'a Store,
    pub(crate) models: &'a Models,
    pub(crate) sessions: Sessions<'a>,
    pub(crate) media: MediaFiles<'a>,
    pub(crate) usage: Usage<'a>,
    pub(crate) audit: Audit<'a>,
    pub(crate) answers: &'a AnswerCache,
    pub(crate) pipeline: &'a Pipeline,
}

impl Tenants<'_> {
    /// Forgets what a tenant has asked, what it was answered, and what it has said of late.
    fn forget_questions(&self, tenant: &str) {
        self.answers.forget(tenant);
        self.models.loaded().iter().for_each(|encoder| encoder.forget_queries(tenant));
        self.pipeline.forget(tenant);
    }

    /// Writes a collection's files anew, without what is no longer current.
    fn rewrite(&self, collection: &Arc<Collection>, job: &Job) -> Result<(), MemoryError> {
        let begun = Instant::now();
        let guard = JobGuard::wait(collection, || begun.elapsed() < PATIENCE && !job.should_stop())?;
        Ok(self.store.compact(&guard, collection, &mut |_| !job.should_stop())?)
    }

    /// Empties the write-ahead log, which holds older states of the pages.
    fn empty_log(&self, job: &Job) -> Result<(), MemoryError> {
        let begun = Instant::now();
        while !self.store.empty_log()? {
            if job.should_stop() && !job.is_cancelled() {
                return Err(MemoryError::Stopped);
            }
            if begun.elapsed() > PATIENCE {
                return Err(MemoryError::Overloaded { retry_after_s: 60 });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}
