//! Long work steps back behind short work.
//!
//! A request that has had a processor for [`LONG`] goes on at a lower priority (nice 10), so that the kernel gives
//! threads of short requests a processor as soon as they want one. Where nothing else runs, long work is as fast as
//! before. A thread cannot raise its own priority again: at the end of its long request it ends, and another one takes
//! its place. It is the feedback queue of time-sharing systems (Corbató, 1962), with two levels.

use super::Shared;
use membox_threads::spawn;
use rustix::process::{Pid, setpriority_process};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Time of a processor after which a request is long.
const LONG: Duration = Duration::from_millis(20);
/// How often the keeper looks.
const LOOKS: Duration = Duration::from_millis(10);
/// The priority of long work. The kernel gives it a ninth of what it gives other threads.
const NICE: i32 = 10;

/// What a thread of the pool does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Worker {
    pub thread: Pid,
    /// Time of a processor that it had had when it began its task; `None` where it idles.
    pub begun_at: Option<Duration>,
    /// Whether its priority is lowered.
    pub steps_back: bool,
}

/// Looks after the threads of a pool until it is closed: lowers the priority of those that work long, and replaces
/// those that have ended. `name` begins the names of threads.
pub(super) fn keep(shared: &Arc<Shared>, name: &str) {
    let mut made = shared.size.threads;
    loop {
        let mut queues = shared.lock();
        if queues.is_closed {
            return;
        }
        for worker in queues.workers.iter_mut().filter(|worker| !worker.steps_back) {
            let Some(begun_at) = worker.begun_at else { continue };
            let is_long = processor_time(worker.thread).is_some_and(|now| now.saturating_sub(begun_at) >= LONG);
            if is_long {
                worker.steps_back = setpriority_process(Some(worker.thread), NICE).is_ok();
            }
        }
        while queues.ended > 0 {
            let replacement = {
                let shared = shared.clone();
                spawn(format!("{name}-{made}"), move || shared.work())
            };
            match replacement {
                Ok(thread) => shared.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread),
                // It is tried again at the next look.
                Err(error) => {
                    tracing::error!(%error, name, "a thread could not be started");
                    break;
                }
            }
            made += 1;
            queues.ended -= 1;
        }
        let wait = if queues.workers.iter().any(|worker| worker.begun_at.is_some()) { LOOKS } else { LOOKS * 10 };
        drop(shared.kept.wait_timeout(queues, wait).unwrap_or_else(PoisonError::into_inner));
    }
}

/// Time of a processor that a thread has had, as the kernel's scheduler counts it; `None` where it does not say.
fn processor_time(thread: Pid) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/self/task/{}/schedstat", thread.as_raw_nonzero())).ok()?;
    text.split_ascii_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// Time of a processor that this thread has had.
pub(super) fn own_processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
