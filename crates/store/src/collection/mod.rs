//! An open collection: its vector file, and in memory what recall needs of its records.

mod change_log;
mod compacted;
mod derived;
mod filters;
mod folder;
mod job;
mod kept_tokens;
mod live_rows;
mod moved;
mod session_links;
mod state;
mod tokens;
mod windows;

pub(crate) use change_log::ChangeLog;
#[cfg(test)]
pub(crate) use change_log::MAX_CHANGES;
pub(crate) use compacted::CompactedFiles;
pub use derived::tags;
pub(crate) use derived::{document, read_settings, text_of};
pub(crate) use folder::CollectionFolder;
pub use job::JobGuard;
pub(crate) use kept_tokens::open_sealed;
pub(crate) use moved::{MovedFiles, MovedRecord};
pub(crate) use session_links::{BLOCK_ROWS, Links, SessionLinks};
pub(crate) use state::CollectionState;
pub(crate) use windows::{Allowed, WindowRows};

use crate::StoreError;
use crate::convert::{index_policy, metric};
use derived::Derived;
use kept_tokens::KeptTokens;
use live_rows::LiveRows;
use membox_api::{CollectionSettings, KindDefaults};
use membox_index::{IndexPolicy, RowDevice, Scanner};
use membox_records::{Reader, Sealing, Slots, StoredCollection};
use membox_text::Synonyms;
use membox_vectors::{Metric, Retired, TokenFile, VectorFile, VectorView, VectorsError};
use std::fmt;
use std::path::{Path, PathBuf};
#[cfg(test)]
use std::sync::atomic::AtomicU32 as Breaks;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The length of a vector that is kept as it is, at most: products and distances of two are numbers of 32 bits.
const MAX_LENGTH: f64 = 1e18;

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
    tokens: Mutex<KeptTokens>,
    /// With what its vectors of tokens are sealed.
    pub(crate) sealing: Sealing,
    state: RwLock<CollectionState>,
    /// Set while background work is queued or under way.
    pub(crate) is_maintained: AtomicBool,
    /// Set by the first job that excludes others.
    job: AtomicBool,
    /// Set once it is dropped, by the writer's thread, which writes nothing to it from then on. Whoever held it
    /// holds what is left of it.
    dropped: AtomicBool,
    /// Set once it is moved to another model, by the writer's thread: who asks for it anew gets what it is now.
    moved: AtomicBool,
    /// Set once it was said that its vector file cannot be read.
    is_damage_said: AtomicBool,
    /// How often background work on it is to panic.
    #[cfg(test)]
    pub(crate) breaks: Breaks,
    /// Rows that the background index build under way has done.
    pub(crate) building: AtomicU32,
    /// Dead rows that are overwritten when nobody looks at them any more.
    pub(crate) retired: Retired,
    /// Held by whoever writes derived files: the background work or a rebuild.
    pub(crate) derived_files: Mutex<()>,
    /// Held while the first filter reads every record.
    preparing_filters: Mutex<()>,
    /// What its searches share.
    pub(crate) scanner: Scanner,
}

fn length(vector: &[f32]) -> f64 {
    vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt()
}

impl fmt::Debug for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Collection({}, {}/{})", self.id, self.tenant, self.name)
    }
}

impl Collection {
    /// Opens a stored collection: cuts off what was never acknowledged, loads the derived state that is intact, and
    /// leaves the rest to be built in the background.
    pub(crate) fn open(root: &Path, stored: &StoredCollection, reader: &Reader) -> Result<Self, StoreError> {
        let settings = read_settings(stored)?;
        let folder = CollectionFolder::of(root, stored.id);
        folder.settle_next(stored.vector_file);
        let slots = reader.slots(stored)?;
        let mut live = LiveRows::read(reader, &slots)?;
        let path = folder.vectors(stored.vector_file);
        let whole = if settings.has_vectors() { VectorFile::whole_rows(&path)? } else { u32::MAX };
        let rows = live.rows_of_file(stored, whole);
        let stored = &StoredCollection { rows, ..stored.clone() };
        let file = match settings.has_vectors() {
            true => VectorFile::open(&path, rows)?.compared_by(metric(&settings)),
            false => VectorFile::without_vectors(stored.vector_file, rows),
        };
        folder.remove_other_vector_files(stored.vector_file);
        let view = file.view(rows);
        live.keep_those_in(&view, stored);
        let derived = Derived::load(&folder, stored, &view, reader)?;
        let tokens = KeptTokens::open(&folder, stored, &settings)?;
        let live = (settings.has_text_index(), &live.rows()[..]);
        let mut state = CollectionState::read(reader, slots, view, derived, live)?;
        state.tokens = tokens.view();
        Ok(Self::new(stored, settings, (folder.0, reader.sealing().clone()), (file, tokens), state))
    }

    /// Switches to another vector file and to what is known of its rows, and gives the file that was used until now.
    pub(crate) fn switch(
        &self,
        file: VectorFile,
        tokens: Option<TokenFile>,
        state: CollectionState,
    ) -> (VectorFile, Option<TokenFile>) {
        let mut current = self.state_mut();
        *current = state;
        let mut current_file = self.file();
        self.retired.clear();
        let old = std::mem::replace(&mut *self.tokens(), tokens.into());
        (std::mem::replace(&mut *current_file, file), old.into_file())
    }

    /// A collection that was just created.
    pub(crate) fn empty(
        root: &Path,
        stored: &StoredCollection,
        settings: CollectionSettings,
        (file, sealing): (VectorFile, Sealing),
    ) -> Self {
        let slots = Slots::new(stored.id, stored.vector_file);
        let mut state = CollectionState::new(file.view(0), slots, None);
        state.keeps_texts = settings.has_text_index();
        let folder = CollectionFolder::of(root, stored.id).0;
        Self::new(stored, settings, (folder, sealing), (file, KeptTokens::default()), state)
    }

    /// The same, whose vectors may be taken to a device.
    pub(crate) fn searched_on(self, device: Option<Arc<dyn RowDevice>>) -> Self {
        Self { scanner: Scanner::on(device), ..self }
    }

    fn new(
        stored: &StoredCollection,
        settings: CollectionSettings,
        (folder, sealing): (PathBuf, Sealing),
        (file, tokens): (VectorFile, KeptTokens),
        state: CollectionState,
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
            tokens: Mutex::new(tokens),
            sealing,
            state: RwLock::new(state),
            is_maintained: AtomicBool::new(false),
            job: AtomicBool::new(false),
            dropped: AtomicBool::new(false),
            moved: AtomicBool::new(false),
            is_damage_said: AtomicBool::new(false),
            #[cfg(test)]
            breaks: Breaks::new(0),
            building: AtomicU32::new(0),
            retired: Retired::default(),
            derived_files: Mutex::new(()),
            preparing_filters: Mutex::new(()),
            scanner: Scanner::default(),
        }
    }

    /// What it was made with, all settled.
    pub fn settings(&self) -> CollectionSettings {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it keeps an index of as many vectors as it has.
    pub fn wants_index(&self) -> bool {
        self.index_policy().wanted(self.vectors() as u32).is_some()
    }

    /// Which index it keeps.
    pub(crate) fn index_policy(&self) -> IndexPolicy {
        index_policy(self.settings.read().unwrap_or_else(PoisonError::into_inner).index)
    }

    pub(crate) fn set_settings(&self, settings: CollectionSettings) {
        let synonyms = Arc::new(Synonyms::new(settings.synonyms.as_deref().unwrap_or_default()));
        *self.synonyms.write().unwrap_or_else(PoisonError::into_inner) = synonyms;
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
        self.remove_unwanted_tokens();
        self.state_mut().set_changed();
    }

    /// What a record of a kind gets that says nothing of it itself.
    pub fn defaults_of(&self, kind: &str) -> KindDefaults {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        settings.kinds.as_ref().and_then(|kinds| kinds.get(kind)).copied().unwrap_or_default()
    }

    /// The terms of a question, and those of the collection's synonyms.
    pub fn query_terms(&self, question: &str) -> Vec<String> {
        let synonyms = self.synonyms.read().unwrap_or_else(PoisonError::into_inner).clone();
        synonyms.expand(question)
    }

    /// Which state it is in: another number after each change that may change an answer.
    pub fn version(&self) -> u64 {
        self.state().version()
    }

    /// Numbers in a vector; 0 where records have none.
    pub fn dimension(&self) -> usize {
        self.state().view.header().dimension
    }

    /// Refuses a vector of another dimension, with numbers that are not finite, or so long that products with others
    /// may not be.
    pub fn check_vector(&self, vector: &[f32]) -> Result<(), StoreError> {
        let view = self.state().view.clone();
        view.header().check(vector)?;
        if view.metric() != Metric::Cosine && length(vector) > MAX_LENGTH {
            return Err(VectorsError::TooLong { most: MAX_LENGTH }.into());
        }
        Ok(())
    }

    /// How its vectors are compared.
    pub fn metric(&self) -> Metric {
        self.state().view.metric()
    }

    /// Windows of a text that have a vector at most.
    pub fn max_windows(&self) -> usize {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).max_windows()
    }

    /// Brings a vector to the form in which the collection compares: unit length for cosine.
    pub fn normalize(&self, vector: &mut [f32]) {
        if self.metric() == Metric::Cosine {
            let length = length(vector);
            if length > 0.0 && length.is_finite() {
                vector.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
            }
        }
    }

    /// Current records, expired ones that are not swept yet among them.
    pub fn records(&self) -> u64 {
        self.state().rows.rows().len()
    }

    /// Rows of current vectors: one a record, and those of the further windows of long texts.
    pub fn vectors(&self) -> u64 {
        self.state().vectors().rows().len()
    }

    pub(crate) fn set_dropped(&self) {
        self.dropped.store(true, Ordering::Release);
    }

    /// Whether it is dropped.
    pub fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::Acquire)
    }

    pub(crate) fn set_moved(&self) {
        self.moved.store(true, Ordering::Release);
    }

    /// Whether nothing is done for it any more: it is dropped, or it is another one now.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_dropped() || self.moved.load(Ordering::Acquire)
    }

    fn check_moved(&self) -> Result<(), StoreError> {
        if self.moved.load(Ordering::Acquire) { Err(StoreError::Moved(self.name.clone())) } else { Ok(()) }
    }

    /// An error once it is dropped or moved, for who is about to write to it.
    pub fn check_writable(&self) -> Result<(), StoreError> {
        if self.is_dropped() { Err(StoreError::Dropped(self.name.clone())) } else { self.check_moved() }
    }

    /// An error once it is dropped or moved, for who has read from it: what was found missing went with it.
    pub fn check_there(&self) -> Result<(), StoreError> {
        if self.is_dropped() { Err(StoreError::NoCollection(self.name.clone())) } else { self.check_moved() }
    }

    /// An error once a page of its vector file could not be read, since it was opened.
    pub fn check_vectors(&self) -> Result<(), StoreError> {
        Ok(self.state().view.check_readable()?)
    }

    /// An error once a page of one of its views could not be read. The first one is said.
    pub(crate) fn check_readable(&self, view: &VectorView) -> Result<(), StoreError> {
        view.check_readable().map_err(|error| {
            if !self.is_damage_said.swap(true, Ordering::Relaxed) {
                tracing::error!(tenant = self.tenant, collection = self.name, %error, "a vector file cannot be read");
            }
            error.into()
        })
    }

    /// Panics if a test wants background work to.
    pub(crate) fn break_if_told(&self) {
        #[cfg(test)]
        {
            let more = self.breaks.try_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
            assert!(more.is_err(), "background work breaks off, as it should");
        }
    }

    pub(crate) fn folder(&self) -> CollectionFolder {
        CollectionFolder(self.folder.clone())
    }

    /// The vector file; only the writer's thread takes it.
    pub(crate) fn file(&self) -> MutexGuard<'_, VectorFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self) -> RwLockReadGuard<'_, CollectionState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state_mut(&self) -> RwLockWriteGuard<'_, CollectionState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Overwrites dead rows that nobody looks at any more: the bytes of what is gone do not stay in the files. They
    /// become durable zeros with the next fsync. No backup may run meanwhile.
    pub(crate) fn erase_unseen(&self) {
        // The file first: a compaction that switches to another forgets what was retired under the same lock.
        let mut file = self.file();
        let rows = self.retired.take_unseen();
        if rows.is_empty() {
            return;
        }
        if let Err(error) = file.erase_lazily(rows.iter().copied()) {
            tracing::warn!(collection = self.name, %error, "rows of deleted records could not be overwritten");
        }
        self.erase_tokens(rows);
    }

    /// Has dead rows overwritten when nobody looks at them any more; nothing names them from now on.
    pub(crate) fn retire(&self, rows: Vec<u32>, state: &mut CollectionState) {
        self.retired.retire(rows, state.pin_mut());
    }
}
