//! What the threads of a box share: the open collections, readers of the record store, and whether writing has stopped.

use crate::MemoryError;
use crate::collection::Collection;
use crossbeam_channel::{Receiver, Sender, bounded};
use membox_records::{Reader, StoredCollection};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

type Key = (String, String);

/// A collection that may not have been opened yet: an idle one costs this and nothing more.
struct Slot {
    stored: StoredCollection,
    opened: Mutex<Option<Arc<Collection>>>,
}

pub(crate) struct Shared {
    pub root: PathBuf,
    slots: RwLock<HashMap<Key, Arc<Slot>>>,
    readers: (Sender<Reader>, Receiver<Reader>),
    read_only: OnceLock<String>,
    maintenance: Sender<Arc<Collection>>,
}

/// A reader that goes back to the pool when dropped.
pub(crate) struct PooledReader<'a> {
    reader: Option<Reader>,
    pool: &'a Sender<Reader>,
}

impl std::ops::Deref for PooledReader<'_> {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        self.reader.as_ref().expect("the reader is taken only by drop")
    }
}

impl Drop for PooledReader<'_> {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            let _ = self.pool.try_send(reader);
        }
    }
}

impl Shared {
    pub fn new(
        root: PathBuf,
        stored: Vec<StoredCollection>,
        readers: Vec<Reader>,
        maintenance: Sender<Arc<Collection>>,
    ) -> Self {
        let pool = bounded(readers.len().max(1));
        for reader in readers {
            let _ = pool.0.try_send(reader);
        }
        let slot = |stored: StoredCollection| {
            let key = (stored.tenant.clone(), stored.name.clone());
            (key, Arc::new(Slot { stored, opened: Mutex::new(None) }))
        };
        let slots = RwLock::new(stored.into_iter().map(slot).collect());
        Self { root, slots, readers: pool, read_only: OnceLock::new(), maintenance }
    }

    /// A reader of the record store; waits while all are in use.
    pub fn reader(&self) -> Result<PooledReader<'_>, MemoryError> {
        let reader = self.readers.1.recv().map_err(|_| MemoryError::Stopped)?;
        Ok(PooledReader { reader: Some(reader), pool: &self.readers.0 })
    }

    /// A collection by name, opened if it is not yet.
    pub fn collection(&self, tenant: &str, name: &str) -> Result<Arc<Collection>, MemoryError> {
        self.existing(tenant, name)?.ok_or_else(|| MemoryError::NoCollection(name.to_owned()))
    }

    /// As [`Shared::collection`]; `None` where there is none.
    pub fn existing(&self, tenant: &str, name: &str) -> Result<Option<Arc<Collection>>, MemoryError> {
        let key = (tenant.to_owned(), name.to_owned());
        let slot = self.slots.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let Some(slot) = slot else { return Ok(None) };
        let mut opened = slot.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.is_none() {
            let collection = Arc::new(Collection::open(&self.root, &slot.stored, &*self.reader()?)?);
            *opened = Some(collection.clone());
            self.maintain(&collection);
        }
        Ok(opened.clone())
    }

    /// Every collection of a tenant, by name; of all tenants for `None`.
    pub fn names(&self, tenant: Option<&str>) -> Vec<Key> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<Key> = slots.keys().filter(|k| tenant.is_none_or(|t| k.0 == t)).cloned().collect();
        names.sort();
        names
    }

    /// The collections that are open.
    pub fn opened(&self) -> Vec<Arc<Collection>> {
        let slots: Vec<Arc<Slot>> =
            self.slots.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        slots.iter().filter_map(|s| s.opened.try_lock().ok().and_then(|o| o.clone())).collect()
    }

    pub fn add(&self, stored: StoredCollection, collection: Arc<Collection>) {
        let key = (stored.tenant.clone(), stored.name.clone());
        let slot = Slot { stored, opened: Mutex::new(Some(collection)) };
        self.slots.write().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::new(slot));
    }

    pub fn forget(&self, collection: &Collection) {
        let key = (collection.tenant.clone(), collection.name.clone());
        self.slots.write().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }

    /// Why nothing is written any more, if so.
    pub fn read_only(&self) -> Option<String> {
        self.read_only.get().cloned()
    }

    pub fn set_read_only(&self, reason: String) {
        tracing::error!(reason, "a write to disk failed: the box is read-only from here on");
        let _ = self.read_only.set(reason);
    }

    /// Asks for background work on a collection, unless that is asked for already.
    pub fn maintain(&self, collection: &Arc<Collection>) {
        if !collection.maintained.swap(true, Ordering::AcqRel) {
            let _ = self.maintenance.send(collection.clone());
        }
    }
}
