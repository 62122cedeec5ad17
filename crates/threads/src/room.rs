//! Room that tenants share: bytes of texts that wait for the encoder, bytes that requests hold.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So many bytes, of which each tenant may take as much as it leaves free: half of them when it is alone, less the
/// more others have. So whoever comes finds room.
///
/// This is the dynamic threshold of shared-memory switches (Choudhury and Hahne, 1998), with a factor of one.
#[derive(Debug)]
pub struct Room {
    bytes: usize,
    taken: Mutex<Taken>,
}

/// There is no room now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// Bytes of the tenant that are to be given back before.
    pub before: usize,
}

#[derive(Debug, Default)]
struct Taken {
    of_tenants: HashMap<Arc<str>, usize>,
    all: usize,
}

impl Room {
    /// Of so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self { bytes, taken: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Two numbers that are changed together, by nothing that panics between.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes there are.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many bytes a tenant has at most.
    pub fn bytes_of_tenant(&self) -> usize {
        self.bytes / 2
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.lock().all
    }

    /// Takes room for a tenant.
    ///
    /// # Errors
    /// Others, or the tenant itself, have too much of it.
    pub fn take(&self, tenant: &Arc<str>, bytes: usize) -> Result<(), NoRoom> {
        self.take_if(tenant, bytes, |own, all| own + bytes + all + bytes <= self.bytes)
    }

    /// As [`take`](Self::take), but what a tenant takes while it has nothing may have any size, as long as others
    /// leave it some room: it could not be served at all otherwise.
    pub fn take_first(&self, tenant: &Arc<str>, bytes: usize) -> Result<(), NoRoom> {
        let is_first = |own, all| own == 0 && all < self.bytes - self.bytes / 4;
        self.take_if(tenant, bytes, |own, all| is_first(own, all) || own + bytes + all + bytes <= self.bytes)
    }

    fn take_if(&self, tenant: &Arc<str>, bytes: usize, fits: impl FnOnce(usize, usize) -> bool) -> Result<(), NoRoom> {
        let mut taken = self.lock();
        let own = taken.of_tenants.get(tenant).copied().unwrap_or_default();
        if !fits(own, taken.all) {
            return Err(NoRoom { before: own.max(taken.all / taken.of_tenants.len().max(1)) });
        }
        *taken.of_tenants.entry(tenant.clone()).or_default() += bytes;
        taken.all += bytes;
        Ok(())
    }

    /// Gives room back.
    pub fn give_back(&self, tenant: &Arc<str>, bytes: usize) {
        let mut taken = self.lock();
        taken.all -= bytes;
        if let Some(own) = taken.of_tenants.get_mut(tenant) {
            *own -= bytes;
            if *own == 0 {
                taken.of_tenants.remove(tenant);
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
    fn one_tenant_has_half_and_more_in_its_first_take_alone() {
        let (room, a) = (Room::new(200), tenant("a"));
        assert_eq!(room.take(&a, 101), Err(NoRoom { before: 0 }));
        assert_eq!(room.take_first(&a, 300), Ok(()));
        assert_eq!(room.take_first(&a, 1), Err(NoRoom { before: 300 }));
        room.give_back(&a, 300);
        assert_eq!([60, 40].map(|bytes| room.take(&a, bytes)), [Ok(()); 2]);
        assert_eq!((room.take_first(&a, 1), room.taken()), (Err(NoRoom { before: 100 }), 100));
    }

    #[test]
    fn whoever_comes_finds_room_however_much_others_have() {
        let room = Room::new(2000);
        let mut taken = Vec::new();
        for n in 0..5 {
            let name = tenant(&n.to_string());
            taken.push((0..).take_while(|_| room.take(&name, 10).is_ok()).count() * 10);
        }
        assert_eq!(taken, [1000, 500, 250, 120, 60]);
        let first = tenant("0");
        assert_eq!(room.take(&first, 10), Err(NoRoom { before: 1000 }));
        room.give_back(&first, 1000);
        assert_eq!(room.take(&first, 10), Ok(()));
    }
}
