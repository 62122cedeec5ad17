//! Leases within one process: it alone has the data folder.

use crate::record_store::Lease;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug)]
struct Held {
    holder: String,
    token: u64,
    until: Instant,
}

/// Who holds which lease.
#[derive(Debug, Default)]
pub(crate) struct Leases(Mutex<(HashMap<String, Held>, u64)>);

impl Leases {
    /// Takes a lease, or prolongs the holder's own.
    pub fn take(&self, name: &str, holder: &str, lasts: Duration, now: Instant) -> Option<Lease> {
        let mut leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (held, last_token) = &mut *leases;
        held.retain(|_, lease| lease.until > now);
        let until = now.checked_add(lasts)?;
        let lease = match held.get_mut(name) {
            Some(lease) if lease.holder != holder => return None,
            Some(lease) => {
                lease.until = until;
                lease
            }
            None => {
                *last_token += 1;
                let lease = Held { holder: holder.to_owned(), token: *last_token, until };
                held.entry(name.to_owned()).or_insert(lease)
            }
        };
        Some(Lease { name: name.to_owned(), token: lease.token })
    }

    /// Gives a lease back, if it still is that one.
    pub fn release(&self, lease: &Lease) {
        let held = &mut self.0.lock().unwrap_or_else(PoisonError::into_inner).0;
        if held.get(&lease.name).is_some_and(|held| held.token == lease.token) {
            held.remove(&lease.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_has_one_holder_until_it_ends_or_is_given_back() {
        let (leases, start, minute) = (Leases::default(), Instant::now(), Duration::from_secs(60));
        let a = leases.take("compaction", "a", minute, start).expect("it is free");
        assert_eq!(leases.take("compaction", "b", minute, start), None);
        assert_eq!(leases.take("compaction", "a", minute, start + minute / 2), Some(a.clone()), "it is prolonged");
        assert_eq!(leases.take("compaction", "b", minute, start + minute), None);
        let b = leases.take("compaction", "b", minute, start + 2 * minute).expect("it has ended");
        assert!(b.token > a.token);
        leases.release(&a);
        assert_eq!(leases.take("compaction", "c", minute, start + 2 * minute), None, "an old one frees nothing");
        leases.release(&b);
        assert!(leases.take("compaction", "c", minute, start + 2 * minute).is_some());
    }
}
