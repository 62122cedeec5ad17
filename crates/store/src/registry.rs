//! What the threads of a store share: the open collections, readers of the records, and whether writing has stopped.

use crate::StoreError;
use crate::collection::Collection;
use crate::leases::Leases;
use crate::reader_pool::{PooledReader, ReaderPool};
use crate::recall_counts::RecallCounts;
use crate::reserve::Reserve;
use crossbeam_channel::Sender;
use membox_index::RowDevice;
use membox_records::{Reader, StoredCollection};
use rustix::fs::{FlockOperation, flock};
use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};

type Key = (String, String);

/// A collection that may not be open: an idle one costs this and nothing more, no file, no map, no thread.
struct Entry {
    id: i64,
    opened: Mutex<Option<Arc<Collection>>>,
    /// When it was last asked for, by [`Registry::clock`].
    used: AtomicU64,
}

/// Every collection of a data folder, open or not, and what its threads have in common.
pub(crate) struct Registry {
    pub root: PathBuf,
    entries: RwLock<HashMap<Key, Arc<Entry>>>,
    /// The keys by the collections' numbers.
    keys: RwLock<HashMap<i64, Key>>,
    /// Counts what is asked for.
    clock: AtomicU64,
    open: AtomicUsize,
    /// Collections that are kept open while nobody uses them.
    most_open: usize,
    /// Where vectors of large collections may be searched.
    pub row_device: Option<Arc<dyn RowDevice>>,
    readers: ReaderPool,
    read_only: OnceLock<String>,
    /// Which thread that the box cannot do without has ended.
    broken: OnceLock<String>,
    /// Background work that fails again and again.
    troubles: Mutex<Vec<String>>,
    /// What waits there keeps no collection open: one that is opened again is asked for again.
    maintenance: Sender<Weak<Collection>>,
    /// Locked exclusively while dead rows are overwritten, and shared by whoever makes a backup: what it has seen
    /// named stays as it is.
    backups: Mutex<File>,
    /// What was recalled and is not written down yet.
    pub recall_counts: RecallCounts,
    pub leases: Leases,
    /// Room on the disk for what frees room.
    pub reserve: Reserve,
    media: Mutex<()>,
}

impl Registry {
    pub fn new(
        root: PathBuf,
        (most_open, row_device): (usize, Option<Arc<dyn RowDevice>>),
        stored: Vec<StoredCollection>,
        readers: Vec<Reader>,
        maintenance: Sender<Weak<Collection>>,
        backups: File,
        reserve: Reserve,
    ) -> Self {
        let keys = stored.iter().map(|stored| (stored.id, (stored.tenant.clone(), stored.name.clone())));
        let keys = RwLock::new(keys.collect());
        let entry = |stored: StoredCollection| {
            let key = (stored.tenant, stored.name);
            (key, Arc::new(Entry { id: stored.id, opened: Mutex::new(None), used: AtomicU64::new(0) }))
        };
        let entries = RwLock::new(stored.into_iter().map(entry).collect());
        let (clock, open) = (AtomicU64::new(1), AtomicUsize::new(0));
        let backups = Mutex::new(backups);
        let (readers, read_only) = (ReaderPool::new(readers), OnceLock::new());
        Self {
            root,
            entries,
            keys,
            clock,
            open,
            most_open,
            row_device,
            readers,
            read_only,
            broken: OnceLock::new(),
            troubles: Mutex::default(),
            maintenance,
            backups,
            recall_counts: RecallCounts::default(),
            leases: Leases::default(),
            reserve,
            media: Mutex::default(),
        }
    }

    /// Held while files of messages are written or removed: two that are given at once may be the same.
    pub fn change_media(&self) -> MutexGuard<'_, ()> {
        self.media.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reader of the record store; waits while others have what there is.
    pub fn reader(&self) -> Result<PooledReader<'_>, StoreError> {
        self.readers.take()
    }

    /// A collection by name, opened if it is not yet.
    pub fn collection(&self, tenant: &str, name: &str) -> Result<Arc<Collection>, StoreError> {
        self.existing(tenant, name)?.ok_or_else(|| StoreError::NoCollection(name.to_owned()))
    }

    /// As [`Registry::collection`]; `None` where there is none.
    pub fn existing(&self, tenant: &str, name: &str) -> Result<Option<Arc<Collection>>, StoreError> {
        let key = (tenant.to_owned(), name.to_owned());
        let entry = self.entries.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let Some(entry) = entry else { return Ok(None) };
        entry.used.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        let collection = {
            let mut opened = entry.opened.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(collection) = &*opened {
                return Ok(Some(collection.clone()));
            }
            let reader = self.reader()?;
            let Some(stored) = reader.collection(entry.id)? else { return Ok(None) };
            let collection = self.with_files(|| Collection::open(&self.root, &stored, &reader))?;
            let collection = Arc::new(collection.searched_on(self.row_device.clone()));
            *opened = Some(collection.clone());
            collection
        };
        self.open.fetch_add(1, Ordering::Relaxed);
        self.maintain(&collection);
        self.close_idle();
        Ok(Some(collection))
    }

    /// A collection by its number, opened if it is not yet.
    pub fn by_id(&self, id: i64) -> Result<Option<Arc<Collection>>, StoreError> {
        let Some((tenant, name)) = self.key(id) else { return Ok(None) };
        // It may have been dropped meanwhile, and another one have its name.
        Ok(self.existing(&tenant, &name)?.filter(|found| found.id == id))
    }

    /// Tenant and name of a collection by its number, which need not be open.
    pub fn key(&self, id: i64) -> Option<Key> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// With too many collections open, closes those that have not been asked for longest and that nobody uses.
    fn close_idle(&self) {
        if self.open.load(Ordering::Relaxed) > self.most_open {
            // Some more than need be, so that not every opening sorts all.
            self.close_down_to(self.most_open - self.most_open / 8);
        }
    }

    /// Does what opens files. Where the process may open no more, idle collections are closed and it is done once more.
    pub fn with_files<T>(&self, mut work: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
        match work() {
            Err(error @ StoreError::NoFiles(_)) => {
                let before = self.open.load(Ordering::Relaxed);
                self.close_down_to(0);
                let left = self.open.load(Ordering::Relaxed);
                tracing::warn!(%error, closed = before.saturating_sub(left), left, "idle collections were closed");
                work()
            }
            done => done,
        }
    }

    /// Does what frees room on the disk. When the disk has none for that, it is tried again in the reserve's.
    pub fn with_reserve<T>(&self, mut work: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
        match work() {
            Err(StoreError::DiskFull) => {
                self.reserve.release();
                let done = work();
                self.reserve.fill();
                done
            }
            done => done,
        }
    }

    /// Whether a file can be opened.
    pub fn check_files(&self) -> Result<(), StoreError> {
        let open = || File::open(&self.root).map_err(StoreError::io("open", &self.root));
        self.with_files(open).map(drop)
    }

    /// Closes collections that nobody uses until so many are open, those first that have not been asked for longest.
    fn close_down_to(&self, wanted: usize) {
        let mut entries: Vec<Arc<Entry>> =
            self.entries.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        // Cached: the keys change meanwhile, and a sort that sees that panics.
        entries.sort_by_cached_key(|entry| entry.used.load(Ordering::Relaxed));
        for entry in entries {
            if self.open.load(Ordering::Relaxed) <= wanted {
                return;
            }
            let Ok(mut opened) = entry.opened.try_lock() else { continue };
            // Whoever uses it, the writer and the background work too, holds it; and it is given out under this
            // lock alone. Dead rows that wait for the end of a backup are still to be overwritten.
            if opened.as_ref().is_some_and(|open| Arc::strong_count(open) == 1 && open.retired.is_empty()) {
                *opened = None;
                self.open.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// The collection if it is open.
    pub fn if_open(&self, tenant: &str, name: &str) -> Option<Arc<Collection>> {
        let key = (tenant.to_owned(), name.to_owned());
        let entry = self.entries.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()?;
        let opened = entry.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.clone()
    }

    /// Every collection of a tenant, by name; of all tenants for `None`.
    pub fn names(&self, tenant: Option<&str>) -> Vec<Key> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<Key> = entries.keys().filter(|k| tenant.is_none_or(|t| k.0 == t)).cloned().collect();
        names.sort();
        names
    }

    /// The numbers of a tenant's collections.
    pub fn numbers(&self, tenant: &str) -> Vec<i64> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.iter().filter(|(key, _)| key.0 == tenant).map(|(_, entry)| entry.id).collect()
    }

    /// The collections that are open.
    pub fn opened(&self) -> Vec<Arc<Collection>> {
        let entries: Vec<Arc<Entry>> =
            self.entries.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        entries.iter().filter_map(|s| s.opened.try_lock().ok().and_then(|o| o.clone())).collect()
    }

    pub fn add(&self, stored: StoredCollection, collection: Arc<Collection>) {
        let used = AtomicU64::new(self.clock.fetch_add(1, Ordering::Relaxed));
        let entry = Entry { id: stored.id, opened: Mutex::new(Some(collection)), used };
        let key = (stored.tenant, stored.name);
        self.keys.write().unwrap_or_else(PoisonError::into_inner).insert(stored.id, key.clone());
        self.entries.write().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::new(entry));
        self.open.fetch_add(1, Ordering::Relaxed);
        self.close_idle();
    }

    pub fn forget(&self, collection: &Collection) {
        let key = (collection.tenant.clone(), collection.name.clone());
        self.keys.write().unwrap_or_else(PoisonError::into_inner).remove(&collection.id);
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let is_own = entries.get(&key).is_some_and(|entry| entry.id == collection.id);
        let entry = if is_own { entries.remove(&key) } else { None };
        drop(entries);
        if entry.is_some_and(|entry| entry.opened.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()) {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Closes a collection whoever has it: the next one who asks for it opens it anew.
    pub fn close(&self, collection: &Arc<Collection>) {
        let key = (collection.tenant.clone(), collection.name.clone());
        let entry = self.entries.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let Some(entry) = entry else { return };
        let mut opened = entry.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.take_if(|open| Arc::ptr_eq(open, collection)).is_some() {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Overwrites the dead rows of a collection that nobody looks at any more, unless a backup is being made.
    pub fn erase_unseen(&self, collection: &Collection) {
        if collection.retired.is_empty() {
            return;
        }
        let lock = self.backups.lock().unwrap_or_else(PoisonError::into_inner);
        if flock(&*lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            collection.erase_unseen();
            let _ = flock(&*lock, FlockOperation::Unlock);
        }
    }

    /// Why nothing is written any more, if so.
    pub fn read_only(&self) -> Option<String> {
        self.read_only.get().cloned()
    }

    pub fn set_read_only(&self, reason: String) {
        tracing::error!(reason, "the box is read-only from here on");
        let _ = self.read_only.set(reason);
    }

    /// What the box cannot do without and has ended, if so.
    pub fn broken(&self) -> Option<String> {
        self.broken.get().cloned()
    }

    pub fn set_broken(&self, reason: String) {
        tracing::error!(reason, "the box is broken from here on");
        let _ = self.broken.set(reason);
    }

    /// Background work that fails again and again.
    pub fn troubles(&self) -> Vec<String> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_troubles(&self, troubles: Vec<String>) {
        *self.troubles.lock().unwrap_or_else(PoisonError::into_inner) = troubles;
    }

    /// Asks for background work on a collection, unless that is asked for already.
    pub fn maintain(&self, collection: &Arc<Collection>) {
        if !collection.is_maintained.swap(true, Ordering::AcqRel) {
            let _ = self.maintenance.send(Arc::downgrade(collection));
        }
    }
}
