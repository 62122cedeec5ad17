//! An open collection: its vector file, and in memory what recall needs of its records.

use crate::MemoryError;
use crate::answers::StateOf;
use crate::compaction::{Generation, settle_next};
use crate::convert::index_policy;
use crate::links::Links;
use crate::synonyms::Synonyms;
use lru::LruCache;
use membox_api::{CollectionSettings, KindDefaults, Metric};
use membox_index::{AllowedRows, Effort, RowDevice, Scanner, Search, VectorIndex};
use membox_records::text::{DiskText, Tail, TextOf};
use membox_records::{FieldIndex, Filter, LiveRow, Reader, Record, Renamed, Slots, StoredCollection};
use membox_vectors::{Retired, Seen, VectorFile, VectorView};
use roaring::RoaringBitmap;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use uuid::Uuid;

/// Filters whose rows are remembered between two changes of a collection.
const REMEMBERED_FILTERS: NonZeroUsize = NonZeroUsize::new(32).unwrap();

/// A collection that has been used since the start.
pub struct Collection {
    /// Its number in the record store.
    pub id: i64,
    /// Whose it is.
    pub tenant: String,
    /// Its name.
    pub name: String,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// What it was made with, all settled.
    settings: RwLock<CollectionSettings>,
    synonyms: RwLock<Arc<Synonyms>>,
    folder: PathBuf,
    file: Mutex<VectorFile>,
    live: RwLock<Live>,
    /// Set while background work is queued or under way.
    pub(crate) maintained: AtomicBool,
    /// Set by the first job that excludes others.
    pub(crate) job: AtomicBool,
    /// Set once it is dropped, by the writer's thread, which writes nothing to it from then on. Whoever held it holds what is left of it.
    dropped: AtomicBool,
    /// How often background work on it is to panic.
    #[cfg(test)]
    pub(crate) breaks: AtomicU32,
    /// Rows that the background index build under way has done.
    pub(crate) building: AtomicU32,
    /// Dead rows that are overwritten when nobody looks at them any more.
    pub(crate) retired: Retired,
    /// Held by whoever writes derived files: the background work or a rebuild.
    pub(crate) tending: Mutex<()>,
    /// Held while the first filter reads every record.
    preparing_fields: Mutex<()>,
    /// What its searches share.
    pub(crate) scanner: Scanner,
}

/// What is committed, as recall sees it. Changed by the writer's thread after each commit, and when a new index is swapped in.
pub(crate) struct Live {
    pub view: VectorView,
    /// Which record each row is of, now and for whoever has looked at it.
    pub slots: Arc<Slots>,
    /// Rows of current versions.
    pub rows: Arc<AllowedRows>,
    pub index: Option<Arc<VectorIndex>>,
    /// Held by whoever looks at these rows; another one once some of them are dead.
    seen: Seen,
    pub tail: Tail,
    pub disk: Option<DiskText>,
    /// Rows that tantivy covers and that are no longer current: to be removed by its next commit.
    pub dead_on_disk: Vec<u32>,
    pub links: Links,
    expiry: BTreeSet<(i64, u32)>,
    /// Built by the first filter, kept in step from then on, also over a compaction.
    fields: Option<FieldIndex>,
    /// What recent filters allow, until the next change.
    filtered: Mutex<LruCache<String, Arc<AllowedRows>>>,
    /// Another one after each change that may change an answer.
    generation: u64,
}

/// What one recall looks at: it stays as it is, whatever is written meanwhile.
pub(crate) struct Sight {
    pub view: VectorView,
    pub slots: Arc<Slots>,
    pub index: Option<Arc<VectorIndex>>,
    /// The rows that may be found.
    pub allowed: Arc<AllowedRows>,
    /// Which state of the collection this is.
    pub state: StateOf,
    _seen: Seen,
}

impl Sight {
    /// A search among the rows that may be found, of the collection that this is of.
    pub fn search<'a>(&'a self, collection: &'a Collection, effort: Effort) -> Search<'a> {
        let (view, index, allowed) = (&self.view, self.index.as_deref(), &*self.allowed);
        Search {
            view,
            index,
            allowed,
            policy: index_policy(collection.settings().index),
            effort,
            scanner: &collection.scanner,
        }
    }
}

/// Numbers of states, which no two of any collections share.
static GENERATIONS: AtomicU64 = AtomicU64::new(1);

fn next_generation() -> u64 {
    GENERATIONS.fetch_add(1, Ordering::Relaxed)
}

/// Where the parts of a collection lie.
pub(crate) struct Folder(pub PathBuf);

impl Folder {
    pub fn of(root: &Path, collection: i64) -> Self {
        Self(root.join("collections").join(collection.to_string()))
    }

    pub fn vectors(&self, file: Uuid) -> PathBuf {
        self.0.join(format!("{file}.mbv"))
    }

    pub fn index(&self) -> PathBuf {
        self.0.join("index")
    }

    pub fn text(&self) -> PathBuf {
        self.0.join("text")
    }

    /// The vector file that a compaction writes.
    pub fn compacting(&self) -> PathBuf {
        self.0.join("compacting.mbv")
    }

    /// Where a compaction builds what will lie here.
    pub fn next(&self) -> Self {
        Self(self.0.join("next"))
    }
}

impl Collection {
    /// Opens a stored collection: cuts off what was never acknowledged, loads the derived state that is intact, and leaves the rest
    /// to be built in the background.
    pub(crate) fn open(root: &Path, stored: &StoredCollection, reader: &Reader) -> Result<Self, MemoryError> {
        let settings = read_settings(stored)?;
        let folder = Folder::of(root, stored.id);
        settle_next(&folder, stored.vector_file);
        let file = VectorFile::open(&folder.vectors(stored.vector_file), stored.rows)?;
        remove_other_vector_files(&folder, stored.vector_file);
        let view = file.view(stored.rows);
        let derived = Derived::load(&folder, stored, &view, reader)?;
        let live = Live::read(reader, reader.slots(stored)?, view, derived)?;
        Ok(Self::new(stored, settings, folder.0, file, live))
    }

    /// Switches to another vector file and to what is known of its rows, and gives the file that was used until now.
    pub(crate) fn switch(&self, file: VectorFile, live: Live) -> VectorFile {
        let mut current = self.live_mut();
        *current = live;
        let mut current_file = self.file();
        self.retired.clear();
        std::mem::replace(&mut *current_file, file)
    }

    /// A collection that was just created.
    pub(crate) fn empty(
        root: &Path,
        stored: &StoredCollection,
        settings: CollectionSettings,
        file: VectorFile,
    ) -> Self {
        let live = Live::new(file.view(0), Slots::new(stored.id, stored.vector_file), None, None);
        Self::new(stored, settings, Folder::of(root, stored.id).0, file, live)
    }

    /// The same, whose vectors may be taken to a device.
    pub(crate) fn searched_on(self, device: Option<Arc<dyn RowDevice>>) -> Self {
        Self { scanner: Scanner::on(device), ..self }
    }

    fn new(
        stored: &StoredCollection,
        settings: CollectionSettings,
        folder: PathBuf,
        file: VectorFile,
        live: Live,
    ) -> Self {
        Self {
            id: stored.id,
            tenant: stored.tenant.clone(),
            name: stored.name.clone(),
            created_at: stored.created_at,
            synonyms: RwLock::new(Arc::new(Synonyms::new(settings.synonyms.as_deref().unwrap_or_default()))),
            settings: RwLock::new(settings),
            folder,
            file: Mutex::new(file),
            live: RwLock::new(live),
            maintained: AtomicBool::new(false),
            job: AtomicBool::new(false),
            dropped: AtomicBool::new(false),
            #[cfg(test)]
            breaks: AtomicU32::new(0),
            building: AtomicU32::new(0),
            retired: Retired::default(),
            tending: Mutex::new(()),
            preparing_fields: Mutex::new(()),
            scanner: Scanner::default(),
        }
    }

    /// What it was made with, all settled.
    pub fn settings(&self) -> CollectionSettings {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[cfg(test)]
    pub(crate) fn break_if_told(&self) {
        let more = self.breaks.try_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        assert!(more.is_err(), "background work breaks off, as it should");
    }

    pub(crate) fn set_dropped(&self) {
        self.dropped.store(true, Ordering::Release);
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::Acquire)
    }

    /// An error once it is dropped, for who is about to write to it.
    pub(crate) fn check_writable(&self) -> Result<(), MemoryError> {
        if self.is_dropped() { Err(MemoryError::Dropped(self.name.clone())) } else { Ok(()) }
    }

    /// An error once it is dropped, for who has read from it: what was found missing went with it.
    pub(crate) fn check_there(&self) -> Result<(), MemoryError> {
        if self.is_dropped() { Err(MemoryError::NoCollection(self.name.clone())) } else { Ok(()) }
    }

    /// What a record of a kind gets that says nothing of it itself.
    pub(crate) fn defaults_of(&self, kind: &str) -> KindDefaults {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        settings.kinds.as_ref().and_then(|kinds| kinds.get(kind)).copied().unwrap_or_default()
    }

    /// The terms of a question, and those that mean the same.
    pub(crate) fn terms_of(&self, question: &str) -> Vec<String> {
        let synonyms = self.synonyms.read().unwrap_or_else(PoisonError::into_inner).clone();
        synonyms.expand(question)
    }

    pub(crate) fn set_settings(&self, settings: CollectionSettings) {
        let synonyms = Arc::new(Synonyms::new(settings.synonyms.as_deref().unwrap_or_default()));
        *self.synonyms.write().unwrap_or_else(PoisonError::into_inner) = synonyms;
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
        self.live_mut().generation = next_generation();
    }

    pub(crate) fn folder(&self) -> Folder {
        Folder(self.folder.clone())
    }

    /// The vector file; only the writer's thread takes it.
    pub(crate) fn file(&self) -> MutexGuard<'_, VectorFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn live(&self) -> RwLockReadGuard<'_, Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn live_mut(&self) -> RwLockWriteGuard<'_, Live> {
        self.live.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Overwrites dead rows that nobody looks at any more: the bytes of what is gone do not stay in the file. They become durable zeros with the next
    /// fsync. No backup may run meanwhile.
    pub(crate) fn erase_unseen(&self) {
        // The file first: a compaction that switches to another forgets what was retired under the same lock.
        let mut file = self.file();
        let rows = self.retired.take_unseen();
        if !rows.is_empty()
            && let Err(error) = file.erase_lazily(rows)
        {
            tracing::warn!(collection = self.name, %error, "rows of deleted records could not be overwritten");
        }
    }

    /// Has dead rows overwritten when nobody looks at them any more; nothing names them from now on.
    pub(crate) fn retire(&self, rows: Vec<u32>, live: &mut Live) {
        self.retired.retire(rows, &mut live.seen);
    }

    /// Brings a vector to the form in which the collection compares: unit length for cosine.
    pub(crate) fn normalize(&self, vector: &mut [f32]) {
        if self.settings().metric == Metric::Cosine {
            let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
            if length > 0.0 && length.is_finite() {
                vector.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
            }
        }
    }

    /// Makes sure that filters can be answered, from now on: the first one reads every record once, while others write and recall.
    pub(crate) fn prepare_fields(&self, reader: &Reader) -> Result<(), MemoryError> {
        if self.live().fields.is_some() {
            return Ok(());
        }
        let _preparing = self.preparing_fields.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let (slots, end) = {
                let live = self.live();
                if live.fields.is_some() {
                    return Ok(());
                }
                (live.slots.clone(), live.view.rows())
            };
            let mut fields = FieldIndex::default();
            // What is no longer current when it is read stays out of the answers: they are cut down to the current rows.
            reader.each_record(&slots, 0, |row, stored| {
                if row < end {
                    fields.insert(row, &stored.record);
                }
                true
            })?;
            let mut live = self.live_mut();
            if !Arc::ptr_eq(&live.slots, &slots) {
                // A compaction has given the rows other numbers, or a message has another id.
                continue;
            }
            // Under the write lock nothing is published, and what is committed but not published is not in `rows`: its insertion follows.
            reader.each_record(&slots, end, |row, stored| {
                if live.rows.contains(row) {
                    fields.insert(row, &stored.record);
                }
                true
            })?;
            live.fields = Some(fields);
            return Ok(());
        }
    }
}

impl Live {
    fn new(view: VectorView, slots: Slots, index: Option<Arc<VectorIndex>>, disk: Option<DiskText>) -> Self {
        Self {
            view,
            slots: Arc::new(slots),
            rows: Arc::default(),
            seen: Seen::default(),
            index,
            tail: Tail::default(),
            disk,
            dead_on_disk: Vec::new(),
            links: Links::default(),
            expiry: BTreeSet::new(),
            fields: None,
            filtered: Mutex::new(LruCache::new(REMEMBERED_FILTERS)),
            generation: next_generation(),
        }
    }

    /// The file and its current rows.
    pub fn current(&self) -> (VectorView, Arc<AllowedRows>) {
        (self.view.clone(), self.rows.clone())
    }

    /// Which state this is: another one after each change that may change an answer.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Searches by another index from now on.
    pub fn set_index(&mut self, index: Option<Arc<VectorIndex>>) {
        (self.index, self.generation) = (index, next_generation());
    }

    /// Notes a current row, without its text.
    fn note(&mut self, live: &LiveRow) {
        self.set(live.row, true);
        if let Some(session) = &live.session {
            self.links.push(live.row, session);
        }
        if let Some(expires_at) = live.expires_at {
            self.expiry.insert((expires_at, live.row));
        }
    }

    fn set(&mut self, row: u32, current: bool) {
        self.filtered.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        self.generation = next_generation();
        Arc::make_mut(&mut self.rows).set(row, current);
    }

    /// Publishes a committed version of a record, and takes the one that it replaced away.
    pub fn insert(&mut self, row: u32, record: &Record, replaced: Option<&LiveRow>) {
        let new = LiveRow { row, session: record.session.clone(), expires_at: record.expires_at };
        match replaced {
            Some(old) if old.session == new.session => {
                if let Some(session) = &new.session {
                    self.links.replace(old.row, row, session);
                }
                self.forget(old);
                self.note(&LiveRow { session: None, ..new });
            }
            Some(old) => {
                self.remove(old);
                self.note(&new);
            }
            None => self.note(&new),
        }
        self.tail.insert(row, &record.text);
        if let Some(fields) = &mut self.fields {
            fields.insert(row, record);
        }
    }

    /// Publishes that a message has another id among records than `from`.
    pub fn rename(&mut self, renamed: &Renamed, from: &str) {
        let Some(row) = self.slots.row(renamed.slot) else { return };
        self.generation = next_generation();
        match &mut self.fields {
            Some(fields) => fields.rename(row, from, &renamed.id),
            // Who is reading records for filters reads them again: see `prepare_fields`.
            None => self.slots = Arc::new((*self.slots).clone()),
        }
    }

    /// Publishes that a row's record is deleted.
    pub fn remove(&mut self, old: &LiveRow) {
        if let Some(session) = &old.session {
            self.links.remove(old.row, session);
        }
        self.forget(old);
    }

    fn forget(&mut self, old: &LiveRow) {
        self.set(old.row, false);
        if let Some(expires_at) = old.expires_at {
            self.expiry.remove(&(expires_at, old.row));
        }
        if self.disk.as_ref().is_some_and(|disk| old.row < disk.rows()) {
            self.dead_on_disk.push(old.row);
        }
    }

    /// Slots of records whose time has come, at most `most` of them.
    pub fn expired(&self, now: i64, most: usize) -> Vec<u64> {
        self.expiry.range(..=(now, u32::MAX)).take(most).map(|e| self.slots.slot(e.1)).collect()
    }

    /// The rows of `all` that a filter allows; remembered where `all` is what it is until the next change.
    fn filter(&self, filter: &Filter, all: &RoaringBitmap, remember: bool) -> Arc<AllowedRows> {
        let remembered = || self.filtered.lock().unwrap_or_else(PoisonError::into_inner);
        let key = remember.then(|| format!("{filter:?}"));
        if let Some(known) = key.as_ref().and_then(|key| remembered().get(key).cloned()) {
            return known;
        }
        let allowed = self.fields.as_ref().map(|f| f.allowed(filter, all)).unwrap_or_default();
        let allowed = Arc::new(AllowedRows::from(allowed));
        if let Some(key) = key {
            remembered().put(key, allowed.clone());
        }
        allowed
    }

    /// What a recall at `now` may see. With a filter, [`Collection::prepare_fields`] has been called.
    pub fn sight(&self, now: i64, filter: Option<&Filter>) -> Sight {
        let mut allowed = self.rows.clone();
        let expired: RoaringBitmap = self.expiry.range(..=(now, u32::MAX)).map(|e| e.1).collect();
        if !expired.is_empty() {
            allowed = Arc::new((allowed.rows() - &expired).into());
        }
        if let Some(filter) = filter {
            allowed = self.filter(filter, allowed.rows(), expired.is_empty());
        }
        let next = self.expiry.range((now, u32::MAX)..).next();
        let state = StateOf { generation: self.generation, until: next.map_or(i64::MAX, |expiry| expiry.0) };
        let (view, slots, index) = (self.view.clone(), self.slots.clone(), self.index.clone());
        Sight { view, slots, index, allowed, state, _seen: self.seen.clone() }
    }
}

pub(crate) fn read_settings(stored: &StoredCollection) -> Result<CollectionSettings, MemoryError> {
    let damaged = |e| membox_records::RecordsError::Damaged(format!("settings of {}: {e}", stored.name));
    Ok(serde_json::from_str(&stored.settings).map_err(damaged)?)
}

/// What is derived from the rows of a vector file.
pub(crate) struct Derived {
    pub index: Option<Arc<VectorIndex>>,
    pub text: Option<DiskText>,
}

impl Derived {
    /// What is intact on disk.
    fn load(
        folder: &Folder,
        stored: &StoredCollection,
        view: &VectorView,
        reader: &Reader,
    ) -> Result<Self, MemoryError> {
        let index = match VectorIndex::load(&folder.index(), view) {
            Ok(index) => Some(Arc::new(index)),
            Err(error) => {
                if folder.index().join("index.json").exists() {
                    tracing::warn!(collection = stored.name, %error, "the index is built anew");
                }
                None
            }
        };
        let of = text_of(reader, &stored.tenant, stored.vector_file, stored.rows)?;
        if DiskText::is_under_another_key(&folder.text(), &of) {
            tracing::info!(collection = stored.name, "the text index is of another key, or of none, and is built anew");
            std::fs::remove_dir_all(folder.text()).map_err(MemoryError::io("remove", &folder.text()))?;
        }
        let text = DiskText::open(&folder.text(), &of).unwrap_or_else(|error| {
            tracing::warn!(collection = stored.name, %error, "the text index is built anew");
            None
        });
        Ok(Self { index, text })
    }
}

/// The text index that is wanted over the rows of a tenant's vector file.
pub(crate) fn text_of(reader: &Reader, tenant: &str, vector_file: Uuid, rows: u32) -> Result<TextOf, MemoryError> {
    Ok(TextOf { vector_file, rows, key: reader.sealing().term_key(tenant)? })
}

impl Live {
    /// Reads what recall needs of a collection's records; of their texts those that the text index does not have.
    fn read(reader: &Reader, slots: Slots, view: VectorView, derived: Derived) -> Result<Self, MemoryError> {
        let mut live = Self::new(view, slots, derived.index, derived.text);
        for row in reader.live_rows(&live.slots)? {
            live.note(&row);
        }
        let texts_from = live.disk.as_ref().map_or(0, DiskText::rows);
        reader.each_record(&live.slots, texts_from, |row, stored| {
            live.tail.insert(row, &stored.record.text);
            true
        })?;
        Ok(live)
    }

    /// What is known of the same records by their rows in the file of a compaction, which has caught up with all of them.
    pub fn compacted(&self, generation: &mut Generation) -> Self {
        let Generation { file, copied, index, text, texts_until, .. } = generation;
        let slots = self.slots.compacted(file.header().uuid, copied, self.view.rows());
        let mut live = Self::new(file.view(u32::MAX), slots, index.take().map(Arc::new), text.take());
        let mut new_rows = vec![u32::MAX; self.view.rows() as usize];
        for (new, old) in (0..).zip(copied.iter()) {
            new_rows[old as usize] = new;
        }
        let row = |old: u32| new_rows[old as usize];
        live.rows = Arc::new(self.rows.rows().iter().map(row).collect::<RoaringBitmap>().into());
        live.links = self.links.renumbered(row);
        live.expiry = self.expiry.iter().map(|(at, old)| (*at, row(*old))).collect();
        // A filter that is about to be asked for relies on them, and reading every record again would take seconds.
        let current = |old: u32| self.rows.contains(old).then(|| row(old));
        live.fields = self.fields.as_ref().map(|fields| fields.renumbered(current));
        let is_in_tail = |old: u32| old >= *texts_until && self.rows.contains(old);
        live.tail = self.tail.renumbered(|old| is_in_tail(old).then(|| row(old)));
        let covered = live.disk.as_ref().map_or(0, DiskText::rows);
        let dead = &*copied - self.rows.rows();
        live.dead_on_disk = dead.iter().map(row).filter(|&dead| dead < covered).collect();
        live
    }
}

/// Removes vector files that no commit names: what an interrupted compaction left.
fn remove_other_vector_files(folder: &Folder, keep: Uuid) {
    let keep = folder.vectors(keep);
    for entry in std::fs::read_dir(&folder.0).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|e| e == "mbv") && path != keep {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// How long is waited before it is looked again whether a job has ended.
const JOB_PAUSE: Duration = Duration::from_millis(20);

/// Marks a job as running on a collection until dropped.
pub(crate) struct JobGuard(Arc<Collection>);

impl JobGuard {
    pub fn take(collection: &Arc<Collection>) -> Result<Self, MemoryError> {
        if collection.job.swap(true, Ordering::AcqRel) {
            return Err(MemoryError::Busy(collection.name.clone()));
        }
        let guard = Self(collection.clone());
        // Whoever drops it holds this until it is dropped.
        collection.check_there().map(|()| guard)
    }

    /// As [`JobGuard::take`]; waits for another job for as long as `waits` says so.
    pub fn wait(collection: &Arc<Collection>, waits: impl Fn() -> bool) -> Result<Self, MemoryError> {
        loop {
            match Self::take(collection) {
                Err(MemoryError::Busy(_)) if waits() => std::thread::sleep(JOB_PAUSE),
                taken => return taken,
            }
        }
    }
}

impl Drop for JobGuard {
    fn drop(&mut self) {
        self.0.job.store(false, Ordering::Release);
    }
}
