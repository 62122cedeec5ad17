//! Readers of the records, shared fairly by tenants: one that holds many of them for long leaves others theirs.

use crate::StoreError;
use membox_records::Reader;
use membox_threads::budget;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

type Tenant = Arc<str>;

thread_local! {
    /// Readers that this thread holds.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// Readers that are open, lent one at a time.
pub(crate) struct ReaderPool {
    state: Mutex<State>,
    changed: Condvar,
    /// Readers that one tenant has at the same time.
    max_of_tenant: usize,
}

#[derive(Default)]
struct State {
    idle: Vec<Reader>,
    held: HashMap<Tenant, usize>,
}

/// A reader that goes back to the pool when dropped.
pub(crate) struct PooledReader<'a> {
    reader: Option<Reader>,
    tenant: Tenant,
    pool: &'a ReaderPool,
}

impl ReaderPool {
    pub fn new(readers: Vec<Reader>) -> Self {
        let max_of_tenant = readers.len().div_ceil(2).max(1);
        let state = Mutex::new(State { idle: readers, held: HashMap::new() });
        Self { state, changed: Condvar::new(), max_of_tenant }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reader for the request of this thread. Waits while all are in use, or as many by its tenant as one may have.
    /// Who holds one already waits for no share: others of its tenant may wait for that one.
    pub fn take(&self) -> Result<PooledReader<'_>, StoreError> {
        let tenant = budget::current().map(|budget| budget.tenant()).unwrap_or_default();
        // The box's own work, and what has no tenant yet, has no share.
        let has_share = !tenant.is_empty() && HELD.get() == 0;
        let mut state = self.lock();
        loop {
            let own = state.held.get(&tenant).copied().unwrap_or(0);
            if !(has_share && own >= self.max_of_tenant)
                && let Some(reader) = state.idle.pop()
            {
                *state.held.entry(tenant.clone()).or_insert(0) += 1;
                HELD.set(HELD.get() + 1);
                return Ok(PooledReader { reader: Some(reader), tenant, pool: self });
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl std::ops::Deref for PooledReader<'_> {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        self.reader.as_ref().expect("the reader is taken only by drop")
    }
}

impl Drop for PooledReader<'_> {
    fn drop(&mut self) {
        let Some(reader) = self.reader.take() else { return };
        HELD.set(HELD.get().saturating_sub(1));
        let mut state = self.pool.lock();
        state.idle.push(reader);
        if let Some(held) = state.held.get_mut(&self.tenant) {
            *held -= 1;
            if *held == 0 {
                state.held.remove(&self.tenant);
            }
        }
        drop(state);
        // Whoever is woken may be of a tenant that has its share.
        self.pool.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use membox_records::{Sealing, Store};
    use membox_threads::budget::RequestBudget;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn one_tenant_leaves_readers_to_others_and_who_holds_one_gets_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("membox.db"), Sealing::default()).expect("a store");
        let readers = (0..4).map(|_| store.reader().expect("a reader")).collect();
        let pool = ReaderPool::new(readers);
        std::thread::scope(|scope| {
            let _greedy = Arc::new(RequestBudget::of("a")).enter();
            let held =
                [pool.take().expect("one"), pool.take().expect("two"), pool.take().expect("it holds some already")];
            let (taken, heard) = mpsc::channel();
            for tenant in ["a", "b"] {
                let (pool, taken) = (&pool, taken.clone());
                scope.spawn(move || {
                    let _entered = Arc::new(RequestBudget::of(tenant)).enter();
                    let reader = pool.take().expect("a reader");
                    taken.send(tenant).expect("it is heard");
                    drop(reader);
                });
            }
            assert_eq!(heard.recv_timeout(Duration::from_secs(20)), Ok("b"), "another tenant has its share");
            assert!(heard.recv_timeout(Duration::from_millis(100)).is_err(), "and this one has had its own");
            drop(held);
            assert_eq!(heard.recv_timeout(Duration::from_secs(20)), Ok("a"));
        });
    }
}
