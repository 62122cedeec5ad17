//! Long work: how far it is, how it ended, and how it is cancelled.
//!
//! ```text
//! asked for ─▶ admitted ─▶ stored ─▶ 202 ─▶ waits ─▶ runs ─▶ its end is stored
//!                             ▲                 │
//!                             └── a stop of the box, then the next start
//! ```

mod job;
mod queue;
mod work;

pub(crate) use job::{Job, NewJob};
pub(crate) use queue::JobQueue;
pub(crate) use work::Work;

use crate::{MemoryError, now, time_text};
use membox_api::{JobState as State, JobView, JobsQuery};
use membox_store::{JobState, RecordReads, Store, StoredJob};

/// Jobs of a box: those that wait, those under way, and those that have ended.
#[derive(Clone, Copy)]
pub struct Jobs<'a> {
    pub(crate) store: &'a Store,
    pub(crate) queue: &'a JobQueue,
}

impl Jobs<'_> {
    /// How far a tenant's job is.
    pub fn view(&self, tenant: &str, id: &str) -> Result<JobView, MemoryError> {
        Ok(job_view(match self.queue.find(tenant, id) {
            Some(job) => job.stored(),
            None => self.ended(tenant, id)?,
        }))
    }

    fn ended(&self, tenant: &str, id: &str) -> Result<StoredJob, MemoryError> {
        self.store.read()?.job(tenant, id)?.ok_or_else(|| MemoryError::NoJob(id.to_owned()))
    }

    /// A page of a tenant's jobs, newest first, and where the next one begins.
    pub fn list(
        &self,
        tenant: &str,
        query: &JobsQuery,
        before: Option<i64>,
        limit: usize,
    ) -> Result<(Vec<JobView>, Option<i64>), MemoryError> {
        let state = query.state.map(|state| match state {
            State::Queued => JobState::Queued,
            State::Running => JobState::Running,
            State::Done => JobState::Done,
            State::Failed => JobState::Failed,
            State::Cancelled => JobState::Cancelled,
        });
        let before = before.unwrap_or(i64::MAX);
        let mut found = self.store.read()?.jobs(tenant, state, query.kind.as_deref(), before, limit + 1)?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|last| last.number);
        let live = |stored: StoredJob| self.queue.find(tenant, &stored.id).map_or(stored, |job| job.stored());
        Ok((found.into_iter().map(|stored| job_view(live(stored))).collect(), next))
    }

    /// Asks a tenant's job to stop; it does after the records under way. One that is cancelled already is left as
    /// it is, and one that is done or has failed is an error: it cannot be cancelled any more.
    pub fn cancel(&self, tenant: &str, id: &str) -> Result<JobView, MemoryError> {
        let Some(job) = self.queue.find(tenant, id) else {
            let ended = self.ended(tenant, id)?;
            return match ended.state {
                JobState::Cancelled => Ok(job_view(ended)),
                state => Err(MemoryError::JobEnded { id: id.to_owned(), state: state.name() }),
            };
        };
        self.cancel_job(&job)?;
        Ok(job_view(job.stored()))
    }

    pub(crate) fn cancel_job(&self, job: &Job) -> Result<(), MemoryError> {
        job.cancel(self.store)?;
        if job.has_ended() {
            self.queue.forget(job);
        }
        Ok(())
    }
}

/// A job as it is given out.
pub(crate) fn job_view(job: StoredJob) -> JobView {
    let body = job.body;
    let begun = body.started_at.filter(|_| job.state != JobState::Queued);
    let milliseconds = begun.map_or(0, |begun| job.ended_at.unwrap_or_else(now) - begun);
    let per_second = body.done as f64 / (milliseconds.max(1) as f64 / 1e3);
    let is_running = job.state == JobState::Running;
    JobView {
        id: job.id,
        kind: job.kind,
        collection: job.collection,
        user: job.user,
        state: job.state.name().to_owned(),
        done: body.done,
        total: body.total,
        per_second,
        seconds_left: (is_running && body.done > 0)
            .then(|| body.total.saturating_sub(body.done) as f64 / per_second.max(1e-9)),
        error: body.error,
        // Until its end it is what the job goes on from.
        result: body.result.filter(|_| job.state.has_ended()),
        created_at: time_text(body.created_at),
        started_at: begun.map(time_text),
        ended_at: job.ended_at.map(time_text),
    }
}
