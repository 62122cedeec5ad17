//! The store: one data folder, and the threads that write and maintain it.

use crate::box_key::BoxKey;
use crate::collection::{Collection, CollectionFolder, JobGuard};
use crate::command::event_of_box;
use crate::compaction::compact;
use crate::folder::{backup_lock, lock};
use crate::maintenance::Maintenance;
use crate::moving::Move;
use crate::registry::Registry;
use crate::reserve::Reserve;
use crate::snapshot::Snapshot;
use crate::writer::{Work, Writer, WriterQueue};
use crate::{
    Changes, Command, Durability, Freshness, Lease, Outcome, Reads, RecordReads, RecordStore, SealingConfig, Sequence,
    StoreError,
};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use membox_api::CollectionSettings;
use membox_index::RowDevice;
use membox_records::{AuditEvent, Footprint, Reader, Sealing, Store as Records, StoredCollection, StoredRecord};
use membox_text::TextIndex;
use membox_threads::spawn;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Requests that may wait for the writer.
const WRITER_QUEUE: usize = 1024;
/// Collections that are kept open where nothing else is said.
pub const DEFAULT_OPEN_COLLECTIONS: usize = 512;

/// How a store is set up.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The data folder; created if it is not there.
    pub data_dir: PathBuf,
    /// Connections that read records at the same time; one tenant has at most half of them.
    pub readers: usize,
    /// Threads of an index build.
    pub build_threads: usize,
    /// Collections that are kept open while nobody uses them; an open one holds a file, a map, and what recall
    /// needs in memory.
    pub open_collections: usize,
    /// With what texts and metadata are sealed.
    pub sealing: SealingConfig,
    /// Where vectors of large collections may be searched, such as a GPU.
    pub row_device: Option<Arc<dyn RowDevice>>,
}

impl StoreConfig {
    /// The defaults for a data folder.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            data_dir: data_dir.into(),
            readers: (cores * 8).clamp(16, 64),
            build_threads: cores,
            open_collections: DEFAULT_OPEN_COLLECTIONS,
            sealing: SealingConfig::default(),
            row_device: None,
        }
    }
}

/// A data folder that is open. Shared by reference between threads; dropping it does what was accepted and stops
/// its threads.
pub struct Store {
    registry: Arc<Registry>,
    sealing: Sealing,
    box_key: BoxKey,
    build_threads: usize,
    writer: WriterQueue,
    /// Dropped to stop the background work.
    stop: Option<Sender<()>>,
    writer_thread: Option<JoinHandle<()>>,
    maintenance_thread: Option<JoinHandle<()>>,
    /// Holds the data folder's lock for as long as the store lives.
    _lock: File,
}

impl Store {
    /// Opens a data folder, alone: another process that tries finds it locked.
    ///
    /// # Errors
    /// [`StoreError::Locked`], and what disk, database and keys say.
    pub fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        let root = config.data_dir.clone();
        let collections = root.join("collections");
        std::fs::create_dir_all(&collections).map_err(StoreError::io("create", &collections))?;
        let lock = lock(&root)?;
        let sealing = config.sealing.open(&root)?;
        let reserve = Reserve::open(&root);
        let box_key = BoxKey::new(&root);
        let open = || -> Result<Records, StoreError> {
            let records = Records::open(&root.join("membox.db"), sealing.clone())?;
            Ok(records.with_audit_key(box_key.audit_key()?))
        };
        // The log and its shared memory are files too, which a full disk has no room for.
        let records = match open() {
            Err(StoreError::DiskFull) => {
                reserve.release();
                open()?
            }
            opened => opened?,
        };
        let reader = records.reader()?;
        let (dropped, stored): (Vec<_>, Vec<_>) =
            reader.collections()?.into_iter().partition(|stored| stored.is_dropped());
        for damage in reader.damaged_collections()? {
            tracing::error!(damage, "a collection cannot be read, and is left out: run `membox verify`");
        }
        remove_unknown_folders(&collections, &reader)?;
        drop(reader);
        let readers = (0..config.readers.max(2)).map(|_| records.reader()).collect::<Result<_, _>>()?;

        let (maintenance, due) = unbounded();
        let registry = Arc::new(Registry::new(
            root.clone(),
            (config.open_collections.max(1), config.row_device.clone()),
            stored,
            readers,
            maintenance,
            backup_lock(&root)?,
            reserve,
        ));
        let (writer, work): (Sender<Work>, Receiver<Work>) = bounded(WRITER_QUEUE);
        let writer = WriterQueue(writer);
        let (stop, stopped) = bounded(0);
        let mut running = Writer::new(records, registry.clone());
        running.finish_drops(dropped.into_iter().map(|stored| stored.id));
        let writer_thread =
            spawn("writer", move || running.run(&work)).map_err(StoreError::io("start a thread for", &root))?;
        let maintenance = Maintenance {
            registry: registry.clone(),
            writer: writer.clone(),
            stop: stopped,
            threads: config.build_threads,
        };
        let maintenance_thread =
            spawn("maintenance", move || maintenance.run(&due)).map_err(StoreError::io("start a thread for", &root))?;
        for tenant in registry.reader()?.audit_logs_without_key()? {
            // It holds what older versions wrote.
            let event = event_of_box(&tenant, "audit log keyed");
            writer.commit(Command::Audit(event))?;
        }
        Ok(Self {
            registry,
            sealing,
            box_key,
            build_threads: config.build_threads,
            writer,
            stop: Some(stop),
            writer_thread: Some(writer_thread),
            maintenance_thread: Some(maintenance_thread),
            _lock: lock,
        })
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    #[cfg(test)]
    pub(crate) fn writer(&self) -> &WriterQueue {
        &self.writer
    }

    #[cfg(test)]
    pub(crate) fn registry_arc(&self) -> Arc<Registry> {
        self.registry.clone()
    }

    /// Whose texts are sealed, and the keys.
    pub fn sealing(&self) -> &Sealing {
        &self.sealing
    }

    /// The data folder's own key.
    pub fn box_key(&self) -> &BoxKey {
        &self.box_key
    }

    /// The data folder.
    pub fn data_dir(&self) -> &Path {
        &self.registry.root
    }

    /// Reads what is committed; waits while too many do.
    pub fn read(&self) -> Result<Reads<'_>, StoreError> {
        Reads::of(&self.registry)
    }

    /// Why the store takes no writes any more, if so.
    pub fn read_only(&self) -> Option<String> {
        self.registry.read_only()
    }

    /// Why the store cannot do its work for now, if so.
    pub fn check_ready(&self) -> Result<(), StoreError> {
        if let Some(reason) = self.read_only() {
            return Err(StoreError::ReadOnly(reason));
        }
        if let Some(reason) = self.registry.broken() {
            return Err(StoreError::Broken(reason));
        }
        self.registry.check_files()
    }

    /// What fails again and again in the background, and is tried further, and collections whose vectors cannot be
    /// read. All else is answered all the same.
    pub fn troubles(&self) -> Vec<String> {
        let mut troubles = self.registry.troubles();
        if self.registry.reserve.is_spent() {
            troubles.push("the disk is full: deletions are taken, and new data is refused until there is room".into());
        }
        for collection in self.registry.opened() {
            if let Err(error) = collection.check_vectors() {
                // By its number: whoever asks whether a box is ready may be anybody. The log has its name.
                troubles.push(format!("collection number {}: {error}", collection.id));
            }
        }
        troubles
    }

    /// A collection by name, opened if it is not yet.
    pub fn collection(&self, tenant: &str, name: &str) -> Result<Arc<Collection>, StoreError> {
        self.registry.collection(tenant, name)
    }

    /// As [`Store::collection`]; `None` where there is none.
    pub fn existing(&self, tenant: &str, name: &str) -> Result<Option<Arc<Collection>>, StoreError> {
        self.registry.existing(tenant, name)
    }

    /// A collection by its number, opened if it is not yet.
    pub fn collection_by_id(&self, id: i64) -> Result<Option<Arc<Collection>>, StoreError> {
        self.registry.by_id(id)
    }

    /// The name of a collection by its number. It need not be opened.
    pub fn collection_name(&self, id: i64) -> Option<String> {
        self.registry.key(id).map(|(_, name)| name)
    }

    /// Every collection of a tenant, by name; of all tenants for `None`.
    pub fn collection_names(&self, tenant: Option<&str>) -> Vec<(String, String)> {
        self.registry.names(tenant)
    }

    /// How much a tenant has stored. It reads all of it, and looks at the files of its collections.
    pub fn footprint(&self, tenant: &str) -> Result<Footprint, StoreError> {
        let mut all = self.read()?.footprint(tenant)?;
        for id in self.registry.numbers(tenant) {
            all.bytes += CollectionFolder::of(self.data_dir(), id).disk_bytes();
        }
        Ok(all)
    }

    /// The collections that are open.
    pub fn open_collections(&self) -> Vec<Arc<Collection>> {
        self.registry.opened()
    }

    /// Creates a collection, unless somebody else does at the same time; says whether it was created here.
    pub fn create_collection(
        &self,
        tenant: &str,
        name: &str,
        settings: CollectionSettings,
    ) -> Result<(Arc<Collection>, bool), StoreError> {
        let stored = StoredCollection {
            id: 0,
            tenant: tenant.to_owned(),
            name: name.to_owned(),
            settings: String::new(),
            vector_file: uuid::Uuid::nil(),
            rows: 0,
            created_at: crate::now(),
        };
        self.writer.ask(|reply| Work::Create { stored, settings, reply })
    }

    /// Sets the settings of a collection, if they still are `from`; says whether they were.
    pub fn set_settings(
        &self,
        collection: &Arc<Collection>,
        from: CollectionSettings,
        settings: CollectionSettings,
    ) -> Result<bool, StoreError> {
        let (collection, from, settings) = (collection.clone(), Box::new(from), Box::new(settings));
        self.writer.ask(|reply| Work::SetSettings { collection, from, settings, reply })
    }

    /// Drops a collection with everything in it, one with records only if `only_empty` is not set; says whether it
    /// was dropped. The caller holds its [`JobGuard`].
    pub fn drop_collection(
        &self,
        collection: &Arc<Collection>,
        only_empty: bool,
        audit: Option<AuditEvent>,
    ) -> Result<bool, StoreError> {
        let collection = collection.clone();
        self.writer.ask(|reply| Work::Drop { collection, only_empty, audit, reply })
    }

    /// Whether the text index on disk, or vectors of tokens, are under another key of the tenant than the one of this
    /// number, or under none.
    pub fn is_sealed_otherwise(&self, collection: &Collection, key: u32) -> bool {
        let is_other = |disk: &TextIndex| disk.key().map(|key| key.number()) != Some(key);
        collection.state().texts.disk().is_some_and(is_other) || collection.has_tokens_under_another_key(key)
    }

    /// Records of a collection whose vector is not in its file as it was written.
    pub fn damaged_vectors(&self, collection: &Arc<Collection>) -> Result<Vec<StoredRecord>, StoreError> {
        let snapshot = Snapshot::take(collection, crate::now(), None);
        let mut damaged = Vec::new();
        self.registry.reader()?.check_records(collection.id, |record| {
            damaged.extend(record.ok().filter(|record| snapshot.locate(record).is_none()));
        })?;
        Ok(damaged)
    }

    /// Asks for background work on a collection.
    pub fn maintain(&self, collection: &Arc<Collection>) {
        self.registry.maintain(collection);
    }

    /// Writes a collection's files anew, without what is no longer current, while it is read and written.
    /// `progress` hears of the rows done, of which there are about twice as many as are copied, and says whether to
    /// go on.
    pub fn compact(
        &self,
        _job: &JobGuard,
        collection: &Arc<Collection>,
        progress: &mut dyn FnMut(u32) -> bool,
    ) -> Result<(), StoreError> {
        let _derived_files = collection.derived_files.lock().unwrap_or_else(PoisonError::into_inner);
        self.registry.with_reserve(|| compact(&self.registry, &self.writer, collection, self.build_threads, progress))
    }

    /// Begins to move a collection to another model, whose vectors have so many numbers, while it is read and written.
    /// No other job may run on it meanwhile.
    pub fn begin_move<'a>(
        &'a self,
        _job: &JobGuard,
        collection: &'a Arc<Collection>,
        model: &str,
        dimension: usize,
    ) -> Result<Move<'a>, StoreError> {
        Move::begin(&self.registry, &self.writer, collection, model.to_owned(), dimension)
    }

    /// Does what frees room on the disk, beside the records: when the disk has none for that, it is tried again in the
    /// reserve's.
    pub fn with_reserve<T, E>(&self, mut work: impl FnMut() -> Result<T, E>) -> Result<T, StoreError>
    where
        StoreError: From<E>,
    {
        self.registry.with_reserve(|| Ok(work()?))
    }

    /// Empties the write-ahead log, which holds older states of the pages; `false` where somebody reads them.
    pub fn empty_log(&self) -> Result<bool, StoreError> {
        self.writer.ask(|reply| Work::EmptyLog { reply })
    }

    /// Counts recalls of records. They are written down together, within some seconds.
    pub fn count_recalls<'a>(&self, collection: &Collection, ids: impl Iterator<Item = &'a String>) {
        self.registry.recall_counts.add(collection.id, ids);
    }

    /// Writes down the recalls that were counted.
    pub fn write_recall_counts(&self) -> Result<(), StoreError> {
        self.registry.recall_counts.write(&self.writer)
    }
}

/// One machine keeps the records, so a commit is as durable as it can be once it is on that machine's disk, and
/// reads show all that was committed before they began.
impl RecordStore for Store {
    fn commit(&self, command: Command, _durability: Durability) -> Result<Outcome, StoreError> {
        self.writer.commit(command)
    }

    fn reads(&self, _freshness: Freshness) -> Result<Box<dyn RecordReads + '_>, StoreError> {
        Ok(Box::new(self.read()?))
    }

    fn changes(&self, collection: &Arc<Collection>, after: Option<Sequence>) -> Result<Changes, StoreError> {
        let changes = collection.state().changes.after(after);
        changes.ok_or_else(|| StoreError::ChangesGone(collection.name.clone()))
    }

    fn lease(&self, name: &str, holder: &str, lasts: Duration) -> Result<Option<Lease>, StoreError> {
        Ok(self.registry.leases.take(name, holder, lasts, Instant::now()))
    }

    fn release(&self, lease: Lease) -> Result<(), StoreError> {
        self.registry.leases.release(&lease);
        Ok(())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A store that takes no writes any more has said so already.
        let _ = self.write_recall_counts();
        // Who asks ends before who answers: what the writer finds in its queue after its last work is never answered.
        if let Some(thread) = self.maintenance_thread.take() {
            let _ = thread.join();
        }
        let _ = self.writer.0.send(Work::Stop);
        if let Some(thread) = self.writer_thread.take() {
            let _ = thread.join();
        }
    }
}

/// Removes folders that no collection has: what a crash within a creation or a drop left.
fn remove_unknown_folders(collections: &Path, reader: &Reader) -> Result<(), StoreError> {
    for entry in std::fs::read_dir(collections).into_iter().flatten().flatten() {
        let id = entry.file_name().to_string_lossy().parse::<i64>();
        // That of a damaged collection stays.
        if let Ok(id) = id
            && !reader.knows_collection(id)?
        {
            tracing::info!(folder = %entry.path().display(), "removing what an interrupted create or drop left");
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}
