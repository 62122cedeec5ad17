//! A queue with two lanes: what is interactive is taken before what is bulk, and in each lane tenants take turns.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

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

/// What belongs to a tenant.
pub(crate) trait OfTenant {
    fn tenant(&self) -> &Arc<str>;
}

/// Items of tenants, who take turns. Those of one tenant come out as they went in.
pub(crate) struct Turns<T> {
    /// Tenants that have something here; whose turn is next comes first.
    of_tenants: VecDeque<(Arc<str>, VecDeque<T>)>,
    len: usize,
}

impl<T: OfTenant> Turns<T> {
    fn new() -> Self {
        Self { of_tenants: VecDeque::new(), len: 0 }
    }

    fn push(&mut self, item: T) {
        self.len += 1;
        let tenant = item.tenant();
        let is_own = |(other, _): &&mut (Arc<str>, _)| Arc::ptr_eq(other, tenant) || other == tenant;
        match self.of_tenants.iter_mut().find(is_own) {
            Some((_, queue)) => queue.push_back(item),
            None => self.of_tenants.push_back((tenant.clone(), VecDeque::from([item]))),
        }
    }

    /// The next item of the first tenant whose next one is `wanted`; that tenant has its next turn after all others.
    pub fn pop(&mut self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        let is_wanted = |(_, queue): &(_, VecDeque<T>)| queue.front().is_some_and(&wanted);
        let at = self.of_tenants.iter().position(is_wanted)?;
        let item = self.of_tenants[at].1.pop_front()?;
        self.len -= 1;
        let (is_empty, is_last) = (self.of_tenants[at].1.is_empty(), at + 1 == self.of_tenants.len());
        if (is_empty || !is_last)
            && let Some(turn) = self.of_tenants.remove(at).filter(|_| !is_empty)
        {
            self.of_tenants.push_back(turn);
        }
        Some(item)
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.len
    }
}

/// Two queues behind one lock. [`Lanes::close`] lets takers drain what is left and then stop.
pub(crate) struct Lanes<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
    /// Length of the interactive queue, readable without the lock: a worker looks at it many times a batch.
    urgent: AtomicUsize,
}

struct State<T> {
    queues: [Turns<T>; 2],
    closed: bool,
    /// How often takers were woken without work.
    wakes: u64,
}

impl<T: OfTenant> Lanes<T> {
    pub fn new() -> Self {
        let state = State { queues: [Turns::new(), Turns::new()], closed: false, wakes: 0 };
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
        items.into_iter().for_each(|item| state.queues[lane as usize].push(item));
        self.urgent.store(state.queues[0].len(), Ordering::Release);
        drop(state);
        self.arrived.notify_all();
        Ok(())
    }

    /// Waits for work in some lanes and hands the first of them that has any to `take`; `None` once closed and empty. A
    /// taker who is [woken](Self::wake), and keeps in `seen` how often, may get an empty lane.
    pub fn wait<R>(&self, lanes: &[Lane], seen: &mut u64, mut take: impl FnMut(Lane, &mut Turns<T>) -> R) -> Option<R> {
        let mut state = self.lock();
        loop {
            if state.wakes != *seen
                && let Some(&lane) = lanes.first()
            {
                *seen = state.wakes;
                return Some(take(lane, &mut state.queues[lane as usize]));
            }
            for &lane in lanes {
                if state.queues[lane as usize].len() > 0 {
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

    /// Lets every taker come back once, with work or without.
    pub fn wake(&self) {
        self.lock().wakes += 1;
        self.arrived.notify_all();
    }

    /// Takes from the interactive lane if something waits there.
    pub fn take_urgent<R>(&self, take: impl FnOnce(&mut Turns<T>) -> R) -> Option<R> {
        if self.urgent.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut state = self.lock();
        if state.queues[0].len() == 0 {
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
    use proptest::prelude::*;

    /// A number of a tenant.
    #[derive(Clone, Debug, PartialEq)]
    struct Item(Arc<str>, u32);

    impl OfTenant for Item {
        fn tenant(&self) -> &Arc<str> {
            &self.0
        }
    }

    fn of(tenant: &str, numbers: impl IntoIterator<Item = u32>) -> Vec<Item> {
        numbers.into_iter().map(|n| Item(tenant.into(), n)).collect()
    }

    fn first(queue: &mut Turns<Item>) -> u32 {
        queue.pop(|_| true).expect("take is called with something to take").1
    }

    #[test]
    fn interactive_goes_first_and_closing_drains() {
        let lanes = Lanes::new();
        lanes.push(Lane::Bulk, of("a", [1, 2])).expect("open");
        lanes.push(Lane::Interactive, of("a", [3])).expect("open");
        lanes.close();
        assert_eq!(lanes.push(Lane::Bulk, of("a", [4])), Err(of("a", [4])));
        let order: Vec<u32> = std::iter::from_fn(|| lanes.wait(&Lane::ALL, &mut 0, |_, q| first(q))).collect();
        assert_eq!(order, [3, 1, 2]);
    }

    #[test]
    fn urgent_work_is_seen_without_waiting() {
        let lanes = Lanes::new();
        lanes.push(Lane::Bulk, of("a", [1])).expect("open");
        assert_eq!(lanes.take_urgent(first), None);
        lanes.push(Lane::Interactive, of("a", [2])).expect("open");
        assert_eq!(lanes.take_urgent(first), Some(2));
    }

    #[test]
    fn tenants_take_turns_however_much_one_has_waiting() {
        let lanes = Lanes::new();
        lanes.push(Lane::Bulk, of("a", [1, 2, 3, 4])).expect("open");
        lanes.push(Lane::Bulk, of("b", [11])).expect("open");
        lanes.push(Lane::Bulk, of("c", [21, 22])).expect("open");
        lanes.close();
        let order: Vec<u32> = std::iter::from_fn(|| lanes.wait(&Lane::ALL, &mut 0, |_, q| first(q))).collect();
        assert_eq!(order, [1, 11, 21, 2, 22, 3, 4]);
    }

    #[test]
    fn who_has_nothing_that_is_wanted_is_passed_over() {
        let mut turns = Turns::new();
        of("a", [1, 2]).into_iter().chain(of("b", [12, 13])).for_each(|item| turns.push(item));
        let is_even = |item: &Item| item.1.is_multiple_of(2);
        assert_eq!(turns.pop(is_even).map(|item| item.1), Some(12));
        assert_eq!(turns.pop(is_even), None, "what comes first of a tenant is not overtaken");
        assert_eq!((first(&mut turns), first(&mut turns), turns.len()), (1, 13, 1));
    }

    proptest! {
        /// Nothing is lost, what a tenant gave stays in its order, and nobody waits for more than one item of each
        /// other tenant.
        #[test]
        fn every_tenant_is_served(pushes in prop::collection::vec((0u32..4, 1u32..20), 1..20)) {
            let (mut turns, mut given) = (Turns::new(), vec![Vec::new(); 4]);
            for (n, (tenant, count)) in pushes.into_iter().enumerate() {
                let items = of(&tenant.to_string(), (0..count).map(|i| n as u32 * 100 + i));
                items.iter().for_each(|item| turns.push(item.clone()));
                given[tenant as usize].extend(items);
            }
            let (mut taken, mut waits) = (vec![Vec::new(); 4], [0usize; 4]);
            while let Some(item) = turns.pop(|_| true) {
                let tenant: usize = item.0.parse().expect("a number");
                taken[tenant].push(item);
                for other in 0..4 {
                    let is_waiting = other != tenant && taken[other].len() < given[other].len();
                    waits[other] = if is_waiting { waits[other] + 1 } else { 0 };
                    prop_assert!(waits[other] <= 3);
                }
            }
            prop_assert_eq!(taken, given);
            prop_assert_eq!(turns.len(), 0);
        }
    }
}
