//! Work of the same kind, wanted by several callers at the same time, done in one go.

use crate::sync::{Mutex, MutexGuard, Sender, channel};
use std::collections::VecDeque;
use std::sync::PoisonError;

/// While one caller works the others wait, and then the work of all that goes together is done by one of them.
pub(crate) struct Batcher<T, R> {
    state: Mutex<State<T, R>>,
}

struct State<T, R> {
    is_running: bool,
    /// In the order in which they came; empty while nobody works.
    waiting: VecDeque<Waiting<T, R>>,
}

/// A caller that waits for its turn, or for another to do its work.
struct Waiting<T, R> {
    work: T,
    turn: Sender<Turn<T, R>>,
}

enum Turn<T, R> {
    /// Another has done it.
    Done(R),
    /// It is to do its own, which is given back, and that of these.
    Work(T, Vec<Waiting<T, R>>),
}

impl<T, R> Default for Batcher<T, R> {
    fn default() -> Self {
        Self { state: Mutex::new(State { is_running: false, waiting: VecDeque::new() }) }
    }
}

impl<T: Clone, R> Batcher<T, R> {
    /// Does `work`, alone or together with what goes with it. `run` gives a result for each piece of work that it is
    /// given, in their order. It runs on the calling thread, or on that of another caller.
    pub fn run(&self, work: T, goes_with: impl Fn(&T, &T) -> bool, run: impl Fn(&[&T]) -> Vec<R>) -> R {
        let alone = |work: &T| run(&[work]).pop().expect("a result for each piece of work");
        let (turn, turns) = channel();
        {
            let mut state = self.state();
            if !state.is_running {
                state.is_running = true;
                drop(state);
                let _running = Running { batcher: self, goes_with: &goes_with };
                return alone(&work);
            }
            state.waiting.push_back(Waiting { work: work.clone(), turn });
        }
        match turns.recv() {
            Ok(Turn::Done(result)) => result,
            Ok(Turn::Work(own, others)) => {
                let _running = Running { batcher: self, goes_with: &goes_with };
                let all: Vec<&T> = std::iter::once(&own).chain(others.iter().map(|w| &w.work)).collect();
                let mut results = run(&all).into_iter();
                let result = results.next().expect("a result for each piece of work");
                for (other, result) in others.iter().zip(results) {
                    let _ = other.turn.send(Turn::Done(result));
                }
                result
            }
            // Whoever did it with its own did not come to an end.
            Err(_) => alone(&work),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T, R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody works; at the end the one that has waited longest follows, with all that goes with it.
struct Running<'a, T: Clone, R, G: Fn(&T, &T) -> bool> {
    batcher: &'a Batcher<T, R>,
    goes_with: &'a G,
}

impl<T: Clone, R, G: Fn(&T, &T) -> bool> Drop for Running<'_, T, R, G> {
    fn drop(&mut self) {
        let mut state = self.batcher.state();
        while let Some(next) = state.waiting.pop_front() {
            let (batch, others): (VecDeque<_>, VecDeque<_>) =
                std::mem::take(&mut state.waiting).into_iter().partition(|w| (self.goes_with)(&w.work, &next.work));
            state.waiting = others;
            if next.turn.send(Turn::Work(next.work, batch.into())).is_ok() {
                return;
            }
        }
        state.is_running = false;
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests hear a panic when they join the thread")]
mod tests {
    use super::*;
    use crate::sync::{Arc, model, spawn};

    /// Work is a number; even ones go together, and so do odd ones.
    fn doubled(batcher: &Batcher<u32, u32>, number: u32) -> u32 {
        let run = |numbers: &[&u32]| {
            assert!(numbers.iter().all(|n| **n % 2 == *numbers[0] % 2), "only what goes together is done together");
            numbers.iter().map(|n| **n * 2).collect()
        };
        batcher.run(number, |a, b| a % 2 == b % 2, run)
    }

    #[test]
    fn everybody_gets_the_result_of_their_own_work_in_every_order_of_events() {
        model(|| {
            let batcher = Arc::new(Batcher::default());
            let others: Vec<_> = [2, 3]
                .into_iter()
                .map(|number| {
                    let batcher = batcher.clone();
                    spawn(move || assert_eq!(doubled(&batcher, number), number * 2))
                })
                .collect();
            assert_eq!(doubled(&batcher, 4), 8);
            others.into_iter().for_each(|other| other.join().expect("a thread"));
            let state = batcher.state();
            assert!(!state.is_running && state.waiting.is_empty());
        });
    }

    #[cfg(not(membox_loom))]
    #[test]
    fn whoever_waits_for_work_that_broke_off_does_it_alone() {
        let batcher = Batcher::default();
        let goes = |_: &u32, _: &u32| true;
        let wait_for = |count: usize| {
            while batcher.state().waiting.len() < count {
                std::thread::yield_now();
            }
        };
        std::thread::scope(|scope| {
            let first = scope.spawn(|| {
                batcher.run(1, goes, |_| {
                    wait_for(2);
                    vec![0]
                })
            });
            while !batcher.state().is_running {
                std::thread::yield_now();
            }
            let breaks_off = scope.spawn(|| batcher.run(2, goes, |_| panic!("as it should")));
            wait_for(1);
            let taken_along = scope.spawn(|| batcher.run(3, goes, |numbers| numbers.iter().map(|n| **n * 2).collect()));
            assert_eq!(first.join().expect("a result"), 0);
            assert!(breaks_off.join().is_err());
            assert_eq!(taken_along.join().expect("a result"), 6);
        });
        assert!(!batcher.state().is_running);
    }
}
