//! A queue with two lanes: what is interactive is taken before what is bulk.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How urgent a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Somebody waits for the answer: a query.
    Interactive,
    /// Imports and re-embedding.
    Bulk,
}

impl Lane {
    /// Both lanes, the more urgent first.
    pub const ALL: [Lane; 2] = [Lane::Interactive, Lane::Bulk];

    /// The label of the lane in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Bulk => "bulk",
        }
    }
}

/// Two first-in-first-out queues behind one lock. [`Lanes::close`] lets takers drain what is left and then stop.
pub(crate) struct Lanes<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
    /// Length of the interactive queue, readable without the lock: a worker looks at it many times a batch.
    urgent: AtomicUsize,
}

struct State<T> {
    queues: [VecDeque<T>; 2],
    closed: bool,
}

impl<T> Lanes<T> {
    pub fn new() -> Self {
        let state = State { queues: [VecDeque::new(), VecDeque::new()], closed: false };
        Self { state: Mutex::new(state), arrived: Condvar::new(), urgent: AtomicUsize::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // A queue is consistent between any two of its operations, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends to a lane; gives the items back when the queue is closed.
    pub fn push(&self, lane: Lane, items: impl IntoIterator<Item = T>) -> Result<(), Vec<T>> {
        let mut state = self.lock();
        if state.closed {
            return Err(items.into_iter().collect());
        }
        state.queues[lane as usize].extend(items);
        self.urgent.store(state.queues[0].len(), Ordering::Release);
        drop(state);
        self.arrived.notify_all();
        Ok(())
    }

    /// Waits for work and hands the fuller view of the most urgent lane to `take`; `None` once closed and empty.
    pub fn wait<R>(&self, mut take: impl FnMut(Lane, &mut VecDeque<T>) -> R) -> Option<R> {
        let mut state = self.lock();
        loop {
            for lane in Lane::ALL {
                if !state.queues[lane as usize].is_empty() {
                    let taken = take(lane, &mut state.queues[lane as usize]);
                    self.urgent.store(state.queues[0].len(), Ordering::Release);
                    return Some(taken);
                }
            }
            if state.closed {
                return None;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes from the interactive lane if something waits there.
    pub fn take_urgent<R>(&self, take: impl FnOnce(&mut VecDeque<T>) -> R) -> Option<R> {
        if self.urgent.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut state = self.lock();
        if state.queues[0].is_empty() {
            return None;
        }
        let taken = take(&mut state.queues[0]);
        self.urgent.store(state.queues[0].len(), Ordering::Release);
        Some(taken)
    }

    /// Items waiting in a lane.
    pub fn depth(&self, lane: Lane) -> usize {
        self.lock().queues[lane as usize].len()
    }

    /// Refuses what comes from now on; what is queued is still handed out.
    pub fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(queue: &mut VecDeque<u32>) -> u32 {
        queue.pop_front().expect("take is called with something to take")
    }

    #[test]
    fn interactive_goes_first_and_closing_drains() {
        let lanes = Lanes::new();
        lanes.push(Lane::Bulk, [1, 2]).expect("open");
        lanes.push(Lane::Interactive, [3]).expect("open");
        lanes.close();
        assert_eq!(lanes.push(Lane::Bulk, [4]), Err(vec![4]));
        let order: Vec<u32> = std::iter::from_fn(|| lanes.wait(|_, q| first(q))).collect();
        assert_eq!(order, [3, 1, 2]);
    }

    #[test]
    fn urgent_work_is_seen_without_waiting() {
        let lanes = Lanes::new();
        lanes.push(Lane::Bulk, [1]).expect("open");
        assert_eq!(lanes.take_urgent(first), None);
        lanes.push(Lane::Interactive, [2]).expect("open");
        assert_eq!(lanes.take_urgent(first), Some(2));
    }
}
