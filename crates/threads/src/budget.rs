//! Whose request a thread works on, and whether anybody still waits for it.
//!
//! A [`RequestBudget`] is made where a request comes in. The thread that works on it [enters](RequestBudget::enter)
//! it, and loops that may run long call [`check`]: work that nobody waits for ends there, and does not keep others
//! waiting.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

thread_local! {
    static CURRENT: RefCell<Option<Arc<RequestBudget>>> = const { RefCell::new(None) };
}

/// What is known of a request while it is worked on.
#[derive(Debug, Default)]
pub struct RequestBudget {
    tenant: OnceLock<Arc<str>>,
    cancelled: AtomicBool,
}

/// Nobody waits for the request any more: its client has gone, its time is over, or the box stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody waits for this request any more")]
pub struct Cancelled;

impl RequestBudget {
    /// Of a tenant.
    pub fn of(tenant: &str) -> Self {
        let budget = Self::default();
        budget.set_tenant(tenant);
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

    /// Makes it the request of this thread until the guard is dropped.
    #[must_use = "dropping the guard leaves the request"]
    pub fn enter(self: Arc<Self>) -> Entered {
        Entered(CURRENT.replace(Some(self)))
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
}
