//! A job that has not ended: how far it is, and how it is told to stop.

use super::work::Work;
use crate::{MemoryError, now};
use membox_store::{JobBody, JobState, Store, StoredJob};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A job's result, or why it failed.
pub(crate) type Outcome = Result<Option<Value>, String>;

/// What somebody asks for.
#[derive(Clone, Debug)]
pub(crate) struct NewJob {
    pub tenant: String,
    pub user: Option<String>,
    pub collection: Option<String>,
    pub work: Work,
}

/// Long work that waits or is under way.
pub(crate) struct Job {
    pub id: String,
    pub tenant: String,
    pub user: Option<String>,
    pub collection: Option<String>,
    pub work: Work,
    pub done: AtomicU64,
    total: AtomicU64,
    is_cancelled: AtomicBool,
    /// Set when the box stops.
    box_stops: Arc<AtomicBool>,
    /// Whether the work has heard that the box stops.
    heard_stop: AtomicBool,
    has_ended: AtomicBool,
    /// As it is in the store. Locked while it is written there, so of two who change it one comes first.
    stored: Mutex<StoredJob>,
}

impl Job {
    /// A job that is not stored yet.
    pub fn new(new: NewJob, box_stops: Arc<AtomicBool>) -> Self {
        let NewJob { tenant, user, collection, work } = new;
        let said = serde_json::to_value(&work).unwrap_or_default();
        let stored = StoredJob {
            id: uuid::Uuid::now_v7().to_string(),
            tenant,
            kind: work.kind().to_owned(),
            user,
            collection,
            erases: work.erases(),
            body: JobBody { work: said, created_at: now(), ..JobBody::default() },
            ..StoredJob::default()
        };
        Self::of(stored, work, box_stops)
    }

    /// A stored job that has not ended; an error where its work is not known here.
    pub fn resumed(stored: &StoredJob, box_stops: Arc<AtomicBool>) -> Result<Self, serde_json::Error> {
        Ok(Self::of(stored.clone(), Work::deserialize(&stored.body.work)?, box_stops))
    }

    fn of(mut stored: StoredJob, work: Work, box_stops: Arc<AtomicBool>) -> Self {
        // A tenant's keys go with the tenant, and the receipt stays.
        stored.is_open = matches!(work, Work::EraseTenant { .. });
        Self {
            id: stored.id.clone(),
            tenant: stored.tenant.clone(),
            user: stored.user.clone(),
            collection: stored.collection.clone(),
            work,
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            is_cancelled: AtomicBool::new(stored.body.is_cancelled),
            box_stops,
            heard_stop: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            stored: Mutex::new(stored),
        }
    }

    fn lock(&self) -> MutexGuard<'_, StoredJob> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As it is now.
    pub fn stored(&self) -> StoredJob {
        let mut stored = self.lock().clone();
        self.count(&mut stored);
        stored
    }

    fn count(&self, stored: &mut StoredJob) {
        (stored.body.done, stored.body.total) = (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed));
    }

    /// Changes it, first in the store.
    fn change(&self, store: &Store, change: impl FnOnce(&mut StoredJob)) -> Result<(), MemoryError> {
        let mut stored = self.lock();
        let mut next = stored.clone();
        self.count(&mut next);
        change(&mut next);
        store.put_job(&next)?;
        *stored = next;
        Ok(())
    }

    pub fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    pub fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }

    /// Whether its work is to stop at the next place where that is safe: it is cancelled, or the box stops.
    pub fn should_stop(&self) -> bool {
        if self.is_cancelled() {
            return true;
        }
        let stops = self.box_stops.load(Ordering::Relaxed);
        if stops {
            self.heard_stop.store(true, Ordering::Relaxed);
        }
        stops
    }

    pub fn set_total(&self, records: u64) {
        self.total.store(records, Ordering::Relaxed);
    }

    pub fn add_done(&self, records: u64) {
        self.done.fetch_add(records, Ordering::Relaxed);
    }

    /// Begins it; `false` where it was cancelled while it waited.
    pub fn start(&self, store: &Store) -> Result<bool, MemoryError> {
        let mut stored = self.lock();
        if stored.state.has_ended() {
            return Ok(false);
        }
        let mut next = stored.clone();
        (next.state, next.body.started_at) = (JobState::Running, Some(now()));
        store.put_job(&next)?;
        *stored = next;
        Ok(true)
    }

    /// Writes down what has come of it so far, to go on from there after a stop.
    pub fn note(&self, store: &Store, so_far: &impl Serialize) -> Result<(), MemoryError> {
        let so_far = serde_json::to_value(so_far).ok();
        self.change(store, |stored| stored.body.result = so_far)
    }

    /// What was written down of it before a stop.
    pub fn noted<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_value(self.lock().body.result.clone()?).ok()
    }

    /// Writes down what has come of an erasure, without naming who was erased. Writes are taken again from then on.
    pub fn forget_whom(&self, store: &Store, receipt: &impl Serialize) -> Result<(), MemoryError> {
        let receipt = serde_json::to_value(receipt).ok();
        self.change(store, |stored| {
            (stored.user, stored.collection, stored.erases) = (None, None, None);
            stored.body.result = receipt;
        })
    }

    /// Ends a job that waits, and asks one that is under way to stop, unless it has ended: an error where it has
    /// done so by itself. It stays cancelled over a stop of the box.
    pub fn cancel(&self, store: &Store) -> Result<(), MemoryError> {
        let mut stored = self.lock();
        let mut next = stored.clone();
        match stored.state {
            JobState::Cancelled => return Ok(()),
            JobState::Done | JobState::Failed => {
                return Err(MemoryError::JobEnded { id: self.id.clone(), state: stored.state.name() });
            }
            JobState::Running => {}
            JobState::Queued => {
                (next.state, next.ended_at, next.erases) = (JobState::Cancelled, Some(now()), None);
            }
        }
        next.body.is_cancelled = true;
        store.put_job(&next)?;
        self.is_cancelled.store(true, Ordering::Relaxed);
        self.has_ended.store(next.state.has_ended(), Ordering::Release);
        *stored = next;
        Ok(())
    }

    /// Whether the box has stopped it before it had ended.
    pub fn was_stopped(&self, outcome: &Outcome) -> bool {
        let stops = self.box_stops.load(Ordering::Relaxed);
        !self.is_cancelled() && (self.heard_stop.load(Ordering::Relaxed) || stops && outcome.is_err())
    }

    /// Lets it wait anew, for the next start of the box.
    pub fn put_back(&self, store: &Store) -> Result<(), MemoryError> {
        self.change(store, |stored| stored.state = JobState::Queued)
    }

    /// Ends it. Where that cannot be stored, the job has failed as far as this start of the box goes, and the next
    /// one goes on with it; `false` then.
    pub fn finish(&self, store: &Store, outcome: Outcome) -> bool {
        let mut stored = self.lock();
        let mut next = stored.clone();
        self.count(&mut next);
        next.state = match &outcome {
            _ if self.is_cancelled() => JobState::Cancelled,
            Ok(_) => JobState::Done,
            Err(_) => JobState::Failed,
        };
        let is_erasure = self.work.erases().is_some();
        (next.ended_at, next.erases) = (Some(now()), None);
        match outcome {
            Ok(result) => next.body.result = result,
            Err(error) => next.body.error = Some(error),
        }
        next.quotes = !is_erasure && (next.body.result.is_some() || next.body.error.is_some());
        let written = store.put_job(&next);
        if let Err(error) = &written {
            tracing::error!(job = self.id, kind = next.kind, %error, "the end of a job could not be written down");
            next.state = JobState::Failed;
            next.body.error.get_or_insert_with(|| error.to_string());
        }
        *stored = next;
        self.has_ended.store(true, Ordering::Release);
        written.is_ok()
    }

    /// Whether it works on the same as another one, so that the two exclude each other.
    pub fn excludes(&self, other: &Self) -> bool {
        let is_same = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
        let both = |holds: fn(&Work) -> bool| holds(&self.work) && holds(&other.work);
        self.tenant == other.tenant
            && (matches!(self.work, Work::EraseTenant { .. })
                || matches!(other.work, Work::EraseTenant { .. })
                || both(Work::is_tenant_wide)
                || both(Work::is_of_collection) && is_same(&self.collection, &other.collection)
                || both(|work| matches!(work, Work::EraseUser { .. })) && is_same(&self.user, &other.user))
    }

    /// Whether another job has nothing left to do once this one is done.
    pub fn supersedes(&self, other: &Self) -> bool {
        if self.id == other.id || self.tenant != other.tenant {
            return false;
        }
        match self.work {
            Work::EraseTenant { .. } => true,
            Work::EraseUser { .. } => {
                let is_of_user = self.user.is_some() && self.user == other.user;
                let is_in_own = self.collection.is_some() && self.collection == other.collection;
                other.work.erases().is_none() && (is_of_user || is_in_own)
            }
            _ => false,
        }
    }
}
