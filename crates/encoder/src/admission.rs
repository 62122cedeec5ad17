//! How many bytes of text wait or are under way, by tenant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The room of a lane. A tenant alone has the whole limit. Of twice the limit, which is the bound for all, each may
/// take as much as it leaves free: so whoever comes finds room, however much others have.
///
/// This is the dynamic threshold of shared-memory switches (Choudhury and Hahne, 1998), with a factor of one.
pub(crate) struct Admission {
    limit: usize,
    admitted: Mutex<Admitted>,
}

#[derive(Default)]
struct Admitted {
    of_tenants: HashMap<Arc<str>, usize>,
    all: usize,
}

impl Admission {
    pub fn new(limit: usize) -> Self {
        Self { limit, admitted: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Admitted> {
        // Two numbers that are changed together, by nothing that panics between.
        self.admitted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes room, or says how many bytes of the tenant are before it. The first request of a tenant with nothing
    /// under way may have any size, as long as others leave it some room: it could not be served at all otherwise.
    pub fn admit(&self, tenant: &Arc<str>, bytes: usize) -> Result<(), usize> {
        let mut admitted = self.lock();
        let own = admitted.of_tenants.get(tenant).copied().unwrap_or_default();
        let fits = own + bytes + admitted.all + bytes <= 2 * self.limit;
        let is_first = own == 0 && admitted.all < self.limit + self.limit / 2;
        if !fits && !is_first {
            return Err(own.max(admitted.all / admitted.of_tenants.len().max(1)));
        }
        *admitted.of_tenants.entry(tenant.clone()).or_default() += bytes;
        admitted.all += bytes;
        Ok(())
    }

    /// Gives room back.
    pub fn give_back(&self, tenant: &Arc<str>, bytes: usize) {
        let mut admitted = self.lock();
        admitted.all -= bytes;
        if let Some(own) = admitted.of_tenants.get_mut(tenant) {
            *own -= bytes;
            if *own == 0 {
                admitted.of_tenants.remove(tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> Arc<str> {
        name.into()
    }

    #[test]
    fn one_tenant_has_the_limit_and_more_in_one_request_alone() {
        let (room, a) = (Admission::new(100), tenant("a"));
        assert_eq!(room.admit(&a, 300), Ok(()));
        assert_eq!(room.admit(&a, 1), Err(300));
        room.give_back(&a, 300);
        assert_eq!([room.admit(&a, 60), room.admit(&a, 40), room.admit(&a, 1)], [Ok(()), Ok(()), Err(100)]);
    }

    #[test]
    fn whoever_comes_finds_room_however_much_others_have() {
        let room = Admission::new(1000);
        let mut taken = Vec::new();
        for n in 0..5 {
            let name = tenant(&n.to_string());
            taken.push((0..).take_while(|_| room.admit(&name, 10).is_ok()).count() * 10);
        }
        assert_eq!(taken, [1000, 500, 250, 120, 60]);
        let first = tenant("0");
        assert_eq!(room.admit(&first, 10), Err(1000));
        room.give_back(&first, 1000);
        assert_eq!(room.admit(&first, 10), Ok(()));
    }
}
