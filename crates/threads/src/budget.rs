//! Whose request a thread works on, whether anybody still waits for it, and how much memory it may have.
//!
//! A [`RequestBudget`] is made where a request comes in. The thread that works on it [enters](RequestBudget::enter)
//! it. Loops that may run long call [`check`]: work that nobody waits for ends there, and does not keep others waiting.
//! What grows with what a caller sends or asks for is [taken](take) before it is made, from the [`Room`] that all
//! requests share, and is given back when the request has been answered.

use crate::room::Room;
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How often who waits for room looks again.
const LOOK_EVERY: Duration = Duration::from_millis(5);

thread_local! {
    static CURRENT: RefCell<Option<Arc<RequestBudget>>> = const { RefCell::new(None) };
}

/// What is known of a request while it is worked on.
#[derive(Debug, Default)]
pub struct RequestBudget {
    tenant: OnceLock<Arc<str>>,
    cancelled: AtomicBool,
    room: Option<Arc<Room>>,
    /// Whose room it has taken: that of nobody, where that was before its key was known.
    holder: OnceLock<Arc<str>>,
    held: AtomicUsize,
}

/// Nobody waits for the request any more: its client has gone, its time is over, or the box stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody waits for this request any more")]
pub struct Cancelled;

/// Why a request gets no more memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverBudget {
    /// It would never get as much.
    #[error(
        "the request needs {wanted} bytes of memory, and the requests of a tenant have {most} together \
         (request_memory_mib): ask for less at a time"
    )]
    TooMuch {
        /// What it needs, with what it has.
        wanted: usize,
        /// What there is for a tenant.
        most: usize,
    },
    /// Other requests have it.
    #[error("other requests have the memory that this one needs (request_memory_mib); try again in a second")]
    Taken,
    /// Nobody waits for it any more.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl RequestBudget {
    /// Of a tenant, without a bound for its memory.
    pub fn of(tenant: &str) -> Self {
        let budget = Self::default();
        budget.set_tenant(tenant);
        budget
    }

    /// With memory from this room.
    pub fn within(room: Arc<Room>) -> Self {
        let mut budget = Self::default();
        budget.room = Some(room);
        budget
    }

    /// Says whose request it is, once that is known.
    pub fn set_tenant(&self, tenant: &str) {
        let _ = self.tenant.set(tenant.into());
    }

    /// Whose request it is; empty while that is not known.
    pub fn tenant(&self) -> Arc<str> {
        self.tenant.get().cloned().unwrap_or_default()
    }

    /// Has work on it end at its next [`check`].
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether nobody waits for it any more.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Bytes that it has taken.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Takes memory until [`RequestBudget::give_back`], or until it is dropped.
    ///
    /// # Errors
    /// There is not as much, now or ever.
    pub fn take(&self, bytes: usize) -> Result<(), OverBudget> {
        let Some(room) = &self.room else { return Ok(()) };
        let wanted = self.held().saturating_add(bytes);
        if wanted > room.bytes_of_tenant() {
            return Err(OverBudget::TooMuch { wanted, most: room.bytes_of_tenant() });
        }
        room.take(self.holder.get_or_init(|| self.tenant()), bytes).map_err(|_| OverBudget::Taken)?;
        self.held.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Gives memory back, at most what it has.
    pub fn give_back(&self, bytes: usize) {
        let (Some(room), Some(holder)) = (&self.room, self.holder.get()) else { return };
        let held = self.held.update(Ordering::Relaxed, Ordering::Relaxed, |held| held.saturating_sub(bytes));
        room.give_back(holder, held.min(bytes));
    }

    /// Makes it the request of this thread until the guard is dropped.
    #[must_use = "dropping the guard leaves the request"]
    pub fn enter(self: Arc<Self>) -> Entered {
        Entered(CURRENT.replace(Some(self)))
    }
}

impl Drop for RequestBudget {
    fn drop(&mut self) {
        self.give_back(usize::MAX);
    }
}

/// Leaves a request when dropped, for the one before it.
#[derive(Debug)]
pub struct Entered(Option<Arc<RequestBudget>>);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.replace(self.0.take());
    }
}

/// The request that this thread works on.
pub fn current() -> Option<Arc<RequestBudget>> {
    CURRENT.with_borrow(Clone::clone)
}

/// Whether somebody still waits for what this thread does; always, where it works on no request.
///
/// # Errors
/// [`Cancelled`], to be handed up to where the request began.
pub fn check() -> Result<(), Cancelled> {
    CURRENT.with_borrow(|current| match current {
        Some(budget) if budget.is_cancelled() => Err(Cancelled),
        _ => Ok(()),
    })
}

/// Takes memory for the request that this thread works on; any, where it works on none.
///
/// # Errors
/// There is not as much, now or ever.
pub fn take(bytes: usize) -> Result<(), OverBudget> {
    CURRENT.with_borrow(|current| current.as_ref().map_or(Ok(()), |budget| budget.take(bytes)))
}

/// Memory that a part of a request's work has; given back when dropped.
#[derive(Debug, Default)]
pub struct Lent(Option<(Arc<RequestBudget>, usize)>);

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some((budget, bytes)) = self.0.take() {
            budget.give_back(bytes);
        }
    }
}

/// Memory for a part of the work of this thread's request. Waits for it, at most so long, and as long as somebody waits
/// for the request.
///
/// # Errors
/// There is not as much, now or ever.
pub fn lend(bytes: usize, patience: Duration) -> Result<Lent, OverBudget> {
    let Some(budget) = current() else { return Ok(Lent::default()) };
    let until = Instant::now() + patience;
    loop {
        match budget.take(bytes) {
            Err(OverBudget::Taken) if Instant::now() < until => {
                check()?;
                std::thread::sleep(LOOK_EVERY);
            }
            taken => return taken.map(|()| Lent(Some((budget, bytes)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_works_on_one_request_at_a_time_and_hears_that_it_is_cancelled() {
        assert_eq!((check(), current().is_none()), (Ok(()), true));
        let (outer, inner) = (Arc::new(RequestBudget::of("a")), Arc::new(RequestBudget::of("b")));
        let entered = outer.clone().enter();
        {
            let _inner = inner.clone().enter();
            inner.cancel();
            assert_eq!((check(), &*current().expect("a request").tenant()), (Err(Cancelled), "b"));
        }
        assert_eq!((check(), &*current().expect("a request").tenant()), (Ok(()), "a"));
        outer.cancel();
        assert_eq!(check(), Err(Cancelled));
        drop(entered);
        assert_eq!((check(), current().is_none()), (Ok(()), true));
    }

    #[test]
    fn memory_of_a_request_is_bounded_and_given_back() {
        let room = Arc::new(Room::new(1000));
        let new = |tenant| {
            let budget = RequestBudget::within(room.clone());
            budget.set_tenant(tenant);
            Arc::new(budget)
        };
        let (a, b) = (new("a"), new("b"));
        assert_eq!(a.take(501), Err(OverBudget::TooMuch { wanted: 501, most: 500 }));
        assert_eq!((a.take(400), b.take(400), b.take(200)), (Ok(()), Err(OverBudget::Taken), Ok(())));
        a.give_back(300);
        assert_eq!((a.held(), room.taken(), b.take(100)), (100, 300, Ok(())));
        drop(a);
        assert_eq!(room.taken(), 300);
        let _entered = b.clone().enter();
        assert_eq!((take(50), take(500).is_err(), room.taken()), (Ok(()), true, 350));
        let lent = lend(100, Duration::ZERO).expect("there is room");
        assert_eq!(room.taken(), 450);
        drop(lent);
        assert_eq!((room.taken(), b.held()), (350, 350));
    }

    #[test]
    fn who_waits_for_memory_gets_it_when_it_is_given_back_or_hears_that_it_is_not() {
        let room = Arc::new(Room::new(1000));
        let (first, second) = (RequestBudget::within(room.clone()), Arc::new(RequestBudget::within(room.clone())));
        assert_eq!(first.take(400), Ok(()));
        let _entered = second.clone().enter();
        assert_eq!(lend(400, Duration::from_millis(20)).map(drop), Err(OverBudget::Taken));
        let giver = crate::spawn("giver", move || {
            std::thread::sleep(Duration::from_millis(30));
            drop(first);
        });
        assert!(lend(400, Duration::from_secs(60)).is_ok());
        assert!(giver.is_ok_and(|giver| giver.join().is_ok()));
        let third = RequestBudget::within(room);
        assert_eq!(third.take(400), Ok(()));
        second.cancel();
        assert_eq!(lend(400, Duration::from_secs(60)).map(drop), Err(Cancelled.into()));
    }

    #[test]
    fn who_works_on_no_request_has_no_bound() {
        assert_eq!((take(usize::MAX), lend(usize::MAX, Duration::ZERO).is_ok()), (Ok(()), true));
    }
}
