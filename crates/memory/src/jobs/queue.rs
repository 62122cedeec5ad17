//! Jobs that wait, and who does them: a few threads, which take the tenants in turn.

use super::job::{Job, NewJob};
use crate::MemoryError;
use membox_store::StoredJob;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Jobs that are under way at the same time.
pub(crate) const WORKERS: usize = 2;
/// Jobs of a tenant that may wait.
pub(crate) const MAX_WAITING_JOBS: usize = 64;
/// When there may be room for another one, in seconds.
const RETRY_AFTER_S: u64 = 5;

#[derive(Default)]
struct State {
    /// Jobs that have not ended, and those whose end could not be stored.
    live: HashMap<String, Arc<Job>>,
    /// Jobs that wait, by tenant; whose turn is next comes first.
    waiting: VecDeque<(String, VecDeque<Arc<Job>>)>,
    running: Vec<Arc<Job>>,
    workers: usize,
}

impl State {
    /// The next job that excludes none of those under way. Its tenant has its next turn after all others.
    fn take(&mut self) -> Option<Arc<Job>> {
        for at in 0..self.waiting.len() {
            let (_, jobs) = &mut self.waiting[at];
            let is_free = |job: &Arc<Job>| !self.running.iter().any(|running| running.excludes(job));
            let Some(job) = jobs.iter().position(is_free).and_then(|job| jobs.remove(job)) else { continue };
            if let Some((tenant, left)) = self.waiting.remove(at)
                && !left.is_empty()
            {
                self.waiting.push_back((tenant, left));
            }
            self.running.push(job.clone());
            return Some(job);
        }
        None
    }

    fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

/// Jobs that wait and jobs under way.
#[derive(Default)]
pub(crate) struct JobQueue {
    state: Mutex<State>,
    /// Told when the last thread ends.
    is_idle: Condvar,
    stops: Arc<AtomicBool>,
}

impl JobQueue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job that somebody asks for, unless that cannot be, or its tenant has as many as it may. It holds its place
    /// from now on, and is done once it is [ready](Self::ready).
    pub fn admit(&self, new: NewJob, max_jobs: Option<u64>) -> Result<Arc<Job>, MemoryError> {
        let job = Arc::new(Job::new(new, self.stops.clone()));
        let mut state = self.state();
        let own = state.live.values().filter(|other| other.tenant == job.tenant && !other.has_ended());
        let own: Vec<&Arc<Job>> = own.collect();
        if job.work.is_tenant_wide() && own.iter().any(|other| other.work.is_tenant_wide()) {
            return Err(MemoryError::TenantBusy(job.tenant.clone()));
        }
        let is_busy = |other: &&Arc<Job>| other.work.is_of_collection() && other.collection == job.collection;
        if let Some(name) = job.collection.as_ref().filter(|_| job.work.is_of_collection())
            && own.iter().any(is_busy)
        {
            return Err(MemoryError::Busy(name.clone()));
        }
        if let Some(most) = max_jobs.filter(|&most| own.len() as u64 >= most && !job.work.is_tenant_wide()) {
            return Err(MemoryError::LimitReached { limit: "max_jobs", most, retry_after_s: RETRY_AFTER_S });
        }
        let is_waiting = |other: &&&Arc<Job>| !state.running.iter().any(|running| running.id == other.id);
        let waiting = own.iter().filter(is_waiting).count();
        if waiting >= MAX_WAITING_JOBS && !job.work.is_tenant_wide() {
            return Err(MemoryError::TooManyJobs { waiting, retry_after_s: RETRY_AFTER_S });
        }
        state.live.insert(job.id.clone(), job.clone());
        Ok(job)
    }

    /// A job that was promised before the box stopped; an error where its work is not known here.
    pub fn resume(&self, stored: &StoredJob) -> Result<Arc<Job>, serde_json::Error> {
        let job = Arc::new(Job::resumed(stored, self.stops.clone())?);
        self.state().live.insert(job.id.clone(), job.clone());
        Ok(job)
    }

    /// Lets a job wait for its turn.
    pub fn ready(&self, job: Arc<Job>) {
        let mut state = self.state();
        match state.waiting.iter_mut().find(|(tenant, _)| *tenant == job.tenant) {
            Some((_, jobs)) => jobs.push_back(job),
            None => state.waiting.push_back((job.tenant.clone(), VecDeque::from([job]))),
        }
    }

    /// Forgets a job that has ended, or that could not be stored.
    pub fn forget(&self, job: &Job) {
        let mut state = self.state();
        state.live.remove(&job.id);
        for (_, jobs) in &mut state.waiting {
            jobs.retain(|other| other.id != job.id);
        }
        state.waiting.retain(|(_, jobs)| !jobs.is_empty());
    }

    /// A tenant's job that has not ended.
    pub fn find(&self, tenant: &str, id: &str) -> Option<Arc<Job>> {
        self.state().live.get(id).filter(|job| job.tenant == tenant).cloned()
    }

    /// Jobs that have nothing to do once another one is done.
    pub fn superseded_by(&self, job: &Job) -> Vec<Arc<Job>> {
        self.state().live.values().filter(|other| job.supersedes(other)).cloned().collect()
    }

    /// Whether one more thread has something to do: whoever is told so starts it.
    pub fn wants_worker(&self) -> bool {
        let mut state = self.state();
        let wants = state.workers < WORKERS && state.has_waiting() && !self.stops.load(Ordering::Relaxed);
        state.workers += usize::from(wants);
        wants
    }

    /// A thread could not be started, or ends.
    pub fn worker_ended(&self) {
        self.state().workers -= 1;
        self.is_idle.notify_all();
    }

    /// The next job; `None` where nothing can be done now, and then the thread that asks ends.
    pub fn next(&self) -> Option<Arc<Job>> {
        let mut state = self.state();
        let next = if self.stops.load(Ordering::Relaxed) { None } else { state.take() };
        if next.is_none() {
            state.workers -= 1;
            self.is_idle.notify_all();
        }
        next
    }

    /// A job is not under way any more.
    pub fn ended(&self, job: &Job) {
        self.state().running.retain(|running| running.id != job.id);
    }

    /// Has jobs stop where that is safe. None begins any more.
    pub fn stop(&self) {
        self.stops.store(true, Ordering::Relaxed);
    }

    /// Waits until no job is under way; `false` where that takes longer than `patience`.
    pub fn wait(&self, patience: Duration) -> bool {
        let waited = self.is_idle.wait_timeout_while(self.state(), patience, |state| state.workers > 0);
        waited.is_ok_and(|(_, timeout)| !timeout.timed_out())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::Work;

    fn new(tenant: &str, collection: &str) -> NewJob {
        NewJob { tenant: tenant.into(), user: None, collection: Some(collection.into()), work: Work::Rebuild }
    }

    fn erase(tenant: &str, user: Option<&str>) -> NewJob {
        let actor = String::new();
        let work = if user.is_some() { Work::EraseUser { actor } } else { Work::EraseTenant { actor } };
        let collection = user.map(crate::user_collection);
        NewJob { tenant: tenant.into(), user: user.map(str::to_owned), collection, work }
    }

    fn queued(queue: &JobQueue, new: NewJob) -> Arc<Job> {
        let job = queue.admit(new, None).expect("there is room");
        queue.ready(job.clone());
        job
    }

    /// As the threads take them, one at a time.
    fn order(queue: &JobQueue) -> Vec<String> {
        let mut order = Vec::new();
        while queue.wants_worker() {
            let job = queue.next().expect("a job");
            order.push(format!("{}/{}", job.tenant, job.collection.clone().unwrap_or_default()));
            queue.ended(&job);
            queue.forget(&job);
            queue.worker_ended();
        }
        order
    }

    #[test]
    fn tenants_take_turns_however_much_one_of_them_asks_for() {
        let queue = JobQueue::default();
        for number in 0..4 {
            queued(&queue, new("busy", &format!("c{number}")));
        }
        queued(&queue, new("other", "c"));
        queued(&queue, new("third", "c"));
        assert_eq!(order(&queue), ["busy/c0", "other/c", "third/c", "busy/c1", "busy/c2", "busy/c3"]);
    }

    #[test]
    fn a_few_threads_do_any_number_of_jobs() {
        let queue = JobQueue::default();
        for number in 0..MAX_WAITING_JOBS {
            queued(&queue, new("t", &format!("c{number}")));
        }
        assert_eq!((0..10).filter(|_| queue.wants_worker()).count(), WORKERS);
    }

    #[test]
    fn a_tenant_has_only_so_many_jobs_waiting_and_others_have_theirs() {
        let queue = JobQueue::default();
        for number in 0..MAX_WAITING_JOBS {
            queued(&queue, new("t", &format!("c{number}")));
        }
        let refused = queue.admit(new("t", "more"), None).map(drop);
        assert!(matches!(refused, Err(MemoryError::TooManyJobs { waiting: MAX_WAITING_JOBS, .. })), "{refused:?}");
        queued(&queue, new("other", "c"));
        assert!(queue.wants_worker());
        queue.next().expect("a job");
        queued(&queue, new("t", "more"));
    }

    #[test]
    fn jobs_of_the_same_exclude_each_other() {
        let queue = JobQueue::default();
        queued(&queue, new("t", "c"));
        assert!(matches!(queue.admit(new("t", "c"), None), Err(MemoryError::Busy(_))), "it is documented so");
        queued(&queue, new("other", "c"));
        // Two erasures of a user wait for each other, and one of the tenant for all others.
        let first = queued(&queue, erase("t", Some("lena")));
        queued(&queue, erase("t", Some("lena")));
        queued(&queue, erase("t", None));
        assert!(matches!(queue.admit(erase("t", None), None), Err(MemoryError::TenantBusy(_))));
        let mut running = Vec::new();
        while let Some(job) = queue.state().take() {
            running.push(job);
        }
        assert_eq!(running.len(), 3, "of c, of the other tenant's c, and the first erasure");
        queue.ended(&first);
        let second = queue.state().take().expect("the second erasure");
        assert!(queue.state().take().is_none());
        for job in running.iter().chain([&second]) {
            queue.ended(job);
        }
        assert!(queue.state().take().is_some_and(|job| matches!(job.work, Work::EraseTenant { .. })));
    }

    #[test]
    fn an_erasure_leaves_nothing_to_do_for_jobs_on_what_it_erases() {
        let queue = JobQueue::default();
        queued(&queue, new("t", "shared"));
        let own = queued(&queue, new("t", "user-lena"));
        let again = erase("t", Some("lena"));
        let erasure = queued(&queue, again.clone());
        queued(&queue, again);
        let superseded: Vec<String> = queue.superseded_by(&erasure).into_iter().map(|job| job.id.clone()).collect();
        assert_eq!(superseded, std::slice::from_ref(&own.id));
        let tenants = queued(&queue, erase("t", None));
        assert_eq!(queue.superseded_by(&tenants).len(), 4);
    }

    #[test]
    fn nothing_begins_once_the_box_stops() {
        let queue = JobQueue::default();
        let job = queued(&queue, new("t", "c"));
        assert!(!job.should_stop());
        assert!(queue.wants_worker());
        queue.stop();
        assert!(!queue.wants_worker() && job.should_stop());
        assert!(!queue.wait(Duration::ZERO), "a thread has not heard of it");
        assert!(queue.next().is_none());
        assert!(queue.wait(Duration::ZERO));
        assert!(job.was_stopped(&Ok(None)), "it has heard of the stop: nobody knows what it has left out");
    }
}
