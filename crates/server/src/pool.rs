//! Threads for what blocks or computes, so that tokio's never do.

use crate::problem::Problem;
use axum::http::StatusCode;
use crossbeam_channel::{Sender, TrySendError, bounded};
use membox_threads::{guard, spawn};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

type Task = Box<dyn FnOnce() + Send>;

/// A fixed number of threads behind a bounded queue. Dropping it finishes what was accepted.
pub struct Pool {
    name: &'static str,
    tasks: Option<Sender<Task>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts `threads` threads, with room for `queue` tasks waiting.
    pub fn new(name: &'static str, threads: usize, queue: usize) -> std::io::Result<Self> {
        let (tasks, receiver) = bounded::<Task>(queue);
        let start = |i| {
            let receiver = receiver.clone();
            spawn(format!("{name}-{i}"), move || {
                for task in receiver {
                    // A panic ends its request, whose caller sees the closed channel, and not the thread.
                    let _ = guard(task);
                }
            })
        };
        let threads = (0..threads.max(1)).map(start).collect::<Result<_, _>>()?;
        Ok(Self { name, tasks: Some(tasks), threads })
    }

    /// Runs `work` on one of the threads. A full queue answers 429; work whose caller has gone away by its turn is
    /// skipped.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let (sender, receiver) = oneshot::channel();
        let task = move || {
            if !sender.is_closed() {
                let _ = sender.send(work());
            }
        };
        let sent = self.tasks.as_ref().map(|tasks| tasks.try_send(Box::new(task)));
        match sent {
            Some(Ok(())) => receiver.await.unwrap_or_else(|_| {
                Err(Problem::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the request failed inside the box; its log says more",
                ))
            }),
            Some(Err(TrySendError::Full(_))) => {
                metrics::counter!("membox_refused_total", "pool" => self.name).increment(1);
                Err(membox_memory::MemoryError::Overloaded { retry_after_s: 1 }.into())
            }
            _ => Err(membox_memory::MemoryError::Stopped.into()),
        }
    }

    /// Tasks waiting.
    pub fn depth(&self) -> usize {
        self.tasks.as_ref().map_or(0, Sender::len)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.tasks = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_that_panics_is_a_500_and_its_thread_goes_on() {
        let pool = Pool::new("read", 1, 8).expect("threads");
        for _ in 0..3 {
            let broken = pool.run(|| -> Result<(), Problem> { panic!("as it should") }).await;
            assert_eq!(broken.map_err(|problem| problem.status), Err(500));
            let name = pool.run(|| Ok(std::thread::current().name().map(str::to_owned))).await;
            assert_eq!(name.expect("an answer").as_deref(), Some("read-0"));
        }
    }
}
