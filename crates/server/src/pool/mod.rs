//! Threads for what blocks or computes, so that tokio's never do, shared fairly by tenants.

mod keeper;

use crate::problem::Problem;
use crate::request::current;
use axum::http::StatusCode;
use keeper::{Worker, keep, own_processor_time};
use membox_threads::budget::RequestBudget;
use membox_threads::{guard, spawn};
use rustix::process::Pid;
use rustix::thread::gettid;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

type Task = Box<dyn FnOnce() + Send>;
type Tenant = Arc<str>;

/// How many tasks a pool takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSize {
    /// Tasks that run at the same time.
    pub threads: usize,
    /// Tasks of one tenant that do.
    pub threads_of_tenant: usize,
    /// Tasks that wait.
    pub waiting: usize,
    /// Tasks of one tenant that do.
    pub waiting_of_tenant: usize,
}

/// How many tenants' slow requests are served beside each other, on threads of their own.
const TENANTS_AT_ONCE: usize = 4;

impl PoolSize {
    /// Where there are several tenants, each has as many threads as one alone would have, and the system shares the
    /// processor among them.
    pub fn new(has_tenants: bool, threads: usize, waiting: usize) -> Self {
        let shares = if has_tenants { TENANTS_AT_ONCE } else { 1 };
        let waiting_of_tenant = if has_tenants { waiting - waiting / 4 } else { waiting };
        Self { threads: threads * shares, threads_of_tenant: threads, waiting, waiting_of_tenant }
    }
}

/// A fixed number of threads behind a bounded queue for each tenant. Tenants take turns, and none has all threads.
/// Dropping it finishes what was accepted.
pub struct Pool {
    name: &'static str,
    shared: Arc<Shared>,
}

struct Shared {
    size: PoolSize,
    queues: Mutex<Queues>,
    changed: Condvar,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Told when the keeper has something to do.
    kept: Condvar,
}

/// Who waits, and who is served.
#[derive(Default)]
struct Queues {
    of_tenants: HashMap<Tenant, TenantQueue>,
    /// Tenants of whom a task waits; the next one is served first.
    turns: VecDeque<Tenant>,
    waiting: usize,
    is_closed: bool,
    /// What the threads do.
    workers: Vec<Worker>,
    /// Threads that have ended, to be replaced.
    ended: usize,
}

#[derive(Default)]
struct TenantQueue {
    tasks: VecDeque<Task>,
    running: usize,
}

impl Queues {
    /// The task of the tenant whose turn it is, of those who do not have all the threads that they may have.
    fn next(&mut self, size: PoolSize) -> Option<(Tenant, Task)> {
        let has_room = |tenant: &Tenant| self.of_tenants[tenant].running < size.threads_of_tenant;
        let turn = self.turns.iter().position(has_room)?;
        let tenant = self.turns.remove(turn)?;
        let queue = self.of_tenants.get_mut(&tenant)?;
        let task = queue.tasks.pop_front()?;
        queue.running += 1;
        if !queue.tasks.is_empty() {
            self.turns.push_back(tenant.clone());
        }
        self.waiting -= 1;
        Some((tenant, task))
    }

    fn worker(&mut self, thread: Pid) -> Option<&mut Worker> {
        self.workers.iter_mut().find(|worker| worker.thread == thread)
    }

    fn done(&mut self, tenant: &Tenant) {
        if let Some(queue) = self.of_tenants.get_mut(tenant) {
            queue.running -= 1;
            if queue.running == 0 && queue.tasks.is_empty() {
                self.of_tenants.remove(tenant);
            }
        }
    }

    /// Appends a task, unless too many wait.
    fn push(&mut self, tenant: Tenant, task: Task, size: PoolSize) -> Result<(), Refused> {
        if self.is_closed {
            return Err(Refused::Stopped);
        }
        let of_tenant = self.of_tenants.get(&tenant).map_or(0, |queue| queue.tasks.len());
        if self.waiting >= size.waiting || of_tenant >= size.waiting_of_tenant {
            return Err(Refused::Full);
        }
        let queue = self.of_tenants.entry(tenant.clone()).or_default();
        queue.tasks.push_back(task);
        if queue.tasks.len() == 1 {
            self.turns.push_back(tenant);
        }
        self.waiting += 1;
        Ok(())
    }
}

enum Refused {
    Full,
    Stopped,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        // No task runs under the lock, so nothing that panics leaves it half changed.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let thread = gettid();
        let mut queues = self.lock();
        queues.workers.push(Worker { thread, begun_at: None, steps_back: false });
        loop {
            if let Some((tenant, task)) = queues.next(self.size) {
                if let Some(own) = queues.worker(thread) {
                    own.begun_at = Some(own_processor_time());
                }
                drop(queues);
                // A panic ends its request, whose caller sees the closed channel, and not the thread.
                let _ = guard(task);
                queues = self.lock();
                queues.done(&tenant);
                // Another thread may have passed over what this tenant has waiting.
                self.changed.notify_one();
                let steps_back = queues.worker(thread).is_some_and(|own| {
                    own.begun_at = None;
                    own.steps_back
                });
                // Nobody replaces it once the pool is closed.
                if steps_back && !queues.is_closed {
                    queues.workers.retain(|worker| worker.thread != thread);
                    queues.ended += 1;
                    self.kept.notify_one();
                    return;
                }
            } else if queues.is_closed && queues.waiting == 0 {
                // Who waits for this tenant's room sees that there is nothing left.
                self.changed.notify_all();
                return;
            } else {
                queues = self.changed.wait(queues).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl Pool {
    /// Starts the threads.
    pub fn new(name: &'static str, size: PoolSize) -> std::io::Result<Self> {
        let size = PoolSize { threads: size.threads.max(1), ..size };
        let (queues, threads) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { size, queues, threads, changed: Condvar::new(), kept: Condvar::new() });
        // Dropped, it ends the threads that were started.
        let pool = Self { name, shared: shared.clone() };
        let mut threads = Vec::new();
        for i in 0..size.threads {
            let shared = shared.clone();
            threads.push(spawn(format!("{name}-{i}"), move || shared.work())?);
        }
        if size.threads > size.threads_of_tenant {
            let shared = shared.clone();
            threads.push(spawn(format!("{name}-keeper"), move || keep(&shared, name))?);
        }
        shared.threads.lock().unwrap_or_else(PoisonError::into_inner).extend(threads);
        Ok(pool)
    }

    /// Runs `work` on one of the threads, for the request of this task. A full queue answers 429. Work whose caller
    /// has gone away by its turn is skipped; where it has begun, it ends at its next
    /// [check](membox_threads::budget::check).
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let (sender, receiver) = oneshot::channel();
        let budget = current().unwrap_or_default();
        let waits = CancelOnDrop(Some(budget.clone()));
        let tenant = budget.tenant();
        let span = tracing::Span::current();
        let task: Task = Box::new(move || {
            let _entered = (budget.enter(), span.enter());
            if !sender.is_closed() {
                let _ = sender.send(work());
            }
        });
        let pushed = self.shared.lock().push(tenant, task, self.shared.size);
        match pushed {
            Ok(()) => {
                self.shared.changed.notify_one();
                let answer = receiver.await;
                waits.disarm();
                answer.unwrap_or_else(|_| {
                    Err(Problem::new(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "the request failed inside the box; its log says more",
                    ))
                })
            }
            Err(Refused::Full) => {
                waits.disarm();
                metrics::counter!("membox_refused_total", "pool" => self.name).increment(1);
                Err(membox_memory::MemoryError::Overloaded { retry_after_s: 1 }.into())
            }
            Err(Refused::Stopped) => Err(membox_memory::MemoryError::Stopped.into()),
        }
    }

    /// Tasks waiting.
    pub fn depth(&self) -> usize {
        self.shared.lock().waiting
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_all();
        self.shared.kept.notify_all();
        loop {
            let thread = self.shared.threads.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(thread) = thread else { return };
            let _ = thread.join();
        }
    }
}

/// Cancels a request unless it has been answered.
struct CancelOnDrop(Option<Arc<RequestBudget>>);

impl CancelOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(budget) = &self.0 {
            budget.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::with_budget;
    use membox_threads::budget;
    use std::sync::mpsc;
    use std::time::Duration;

    fn size(threads: usize, threads_of_tenant: usize) -> PoolSize {
        PoolSize { threads, threads_of_tenant, waiting: 8, waiting_of_tenant: 6 }
    }

    async fn run_for<T: Send + 'static>(
        pool: &Pool,
        tenant: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        with_budget(Arc::new(RequestBudget::of(tenant)), pool.run(move || Ok(work()))).await
    }

    /// Returns when so many tasks run and so many wait.
    async fn until(pool: &Pool, running: usize, waiting: usize) {
        let counts = || {
            let queues = pool.shared.lock();
            (queues.of_tenants.values().map(|queue| queue.running).sum::<usize>(), queues.waiting)
        };
        while counts() != (running, waiting) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_request_that_panics_is_a_500_and_its_thread_goes_on() {
        let pool = Pool::new("read", size(1, 1)).expect("threads");
        for _ in 0..3 {
            let broken = pool.run(|| -> Result<(), Problem> { panic!("as it should") }).await;
            assert_eq!(broken.map_err(|problem| problem.status), Err(500));
            let name = pool.run(|| Ok(std::thread::current().name().map(str::to_owned))).await;
            assert_eq!(name.expect("an answer").as_deref(), Some("read-0"));
        }
    }

    #[tokio::test]
    async fn one_tenant_leaves_threads_to_others_and_room_to_wait() {
        let pool = Arc::new(Pool::new("read", size(3, 2)).expect("threads"));
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let mut slow = Vec::new();
        for n in 0..8usize {
            let (shared, held) = (pool.clone(), held.clone());
            slow.push(tokio::spawn(async move {
                run_for(&shared, "a", move || held.lock().expect("a lock").recv().ok()).await.map_err(|p| p.status)
            }));
            until(&pool, (n + 1).min(2), n.saturating_sub(1)).await;
        }
        let refused = run_for(&pool, "a", || ()).await;
        assert_eq!(refused.map_err(|problem| problem.status), Err(429), "two run and six wait");
        assert_eq!(run_for(&pool, "b", || 7).await.ok(), Some(7), "there is a thread that tenant a cannot have");
        (0..8).for_each(|_| release.send(()).expect("it is heard"));
        for task in slow {
            assert_eq!(task.await.expect("it ends"), Ok(Some(())));
        }
    }

    #[tokio::test]
    async fn tenants_take_turns_however_much_one_has_waiting() {
        let pool = Arc::new(Pool::new("read", size(1, 1)).expect("threads"));
        let (order, served) = mpsc::channel();
        let (release, held) = mpsc::channel::<()>();
        let first = tokio::spawn({
            let pool = pool.clone();
            async move { run_for(&pool, "a", move || held.recv().ok()).await.is_ok() }
        });
        until(&pool, 1, 0).await;
        let mut waiting = vec![first];
        for (n, tenant) in ["a", "a", "a", "b", "a", "b"].into_iter().enumerate() {
            let (shared, order) = (pool.clone(), order.clone());
            waiting.push(tokio::spawn(async move {
                run_for(&shared, tenant, move || order.send((tenant, n)).ok()).await.is_ok()
            }));
            until(&pool, 1, n + 1).await;
        }
        release.send(()).expect("it is heard");
        for task in waiting {
            assert!(task.await.expect("it ends"));
        }
        drop(order);
        let served: Vec<_> = served.iter().collect();
        assert_eq!(served, [("a", 0), ("b", 3), ("a", 1), ("b", 5), ("a", 2), ("a", 4)]);
    }

    #[tokio::test]
    async fn work_ends_when_nobody_waits_for_it() {
        let pool = Pool::new("read", size(1, 1)).expect("threads");
        let (ended, heard) = mpsc::channel();
        let endless = run_for(&pool, "a", move || {
            while budget::check().is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
            let _ = ended.send(());
        });
        assert!(tokio::time::timeout(Duration::from_millis(20), endless).await.is_err());
        heard.recv_timeout(Duration::from_secs(20)).expect("it has ended");
        assert!(run_for(&pool, "a", || ()).await.is_ok());
    }

    #[tokio::test]
    async fn a_thread_that_worked_long_is_replaced_and_the_pool_keeps_its_size() {
        let pool = Pool::new("read", size(2, 1)).expect("threads");
        let busy = || {
            let begun = own_processor_time();
            while own_processor_time() - begun < Duration::from_millis(200) {}
            rustix::process::getpriority_process(Some(gettid())).expect("a priority")
        };
        let short = || (rustix::process::getpriority_process(Some(gettid())).expect("a priority"), gettid());
        assert_eq!(run_for(&pool, "a", busy).await.ok(), Some(10), "it has stepped back");
        let (mut seen, begun) = (std::collections::HashSet::new(), std::time::Instant::now());
        // On a busy machine one thread may be quicker than the other for long.
        while seen.len() < 2 && begun.elapsed() < Duration::from_secs(20) {
            let (nice, thread) = run_for(&pool, "a", short).await.expect("an answer");
            assert_eq!(nice, 0);
            seen.insert(thread);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(seen.len() >= 2, "there is another one in its place: {seen:?}");
    }
}
