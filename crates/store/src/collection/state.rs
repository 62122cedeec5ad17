//! What is committed of a collection, as recall sees it.

use super::compacted::CompactedFiles;
use super::derived::{Derived, document};
use super::windows::{Allowed, WindowRows};
use super::{ChangeLog, SessionLinks};
use crate::StoreError;
use lru::LruCache;
use membox_index::{AllowedRows, VectorIndex};
use membox_records::{FieldIndex, Filter, LiveRow, NamedRows, Reader, Record, Renamed, Slots};
use membox_text::{Tail, TextIndex, Texts};
use membox_vectors::{RowPin, TokenFile, TokenView, VectorView};
use roaring::RoaringBitmap;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Filters whose rows are remembered between two changes of a collection.
const REMEMBERED_FILTERS: NonZeroUsize = NonZeroUsize::new(32).unwrap();

/// What is committed, as recall sees it. Changed by the writer's thread after each commit, and when a new index is
/// swapped in.
pub(crate) struct CollectionState {
    pub view: VectorView,
    /// Vectors of tokens, where there are any.
    pub tokens: Option<TokenView>,
    /// Which record each row is of, now and for whoever has looked at it.
    pub slots: Arc<Slots>,
    /// Rows of current versions.
    pub rows: Arc<AllowedRows>,
    /// Rows of their further windows, and these with `rows`, where there are any.
    pub windows: Arc<WindowRows>,
    with_windows: Option<Arc<AllowedRows>>,
    pub index: Option<Arc<VectorIndex>>,
    /// Held by whoever looks at these rows; another one once some of them are dead.
    pin: RowPin,
    pub texts: Texts,
    /// Whether texts are found by their words.
    pub keeps_texts: bool,
    pub links: SessionLinks,
    pub changes: ChangeLog,
    expiry: BTreeSet<(i64, u32)>,
    /// Built by the first filter, kept in step from then on, also over a compaction.
    pub fields: Option<FieldIndex>,
    /// What recent filters allow, until the next change.
    filtered: Mutex<LruCache<String, Allowed>>,
    /// Another one after each change that may change an answer.
    version: u64,
}

/// Versions of states, which no two of any collections share.
static NEXT_VERSION: AtomicU64 = AtomicU64::new(1);

fn next_version() -> u64 {
    NEXT_VERSION.fetch_add(1, Ordering::Relaxed)
}

impl CollectionState {
    pub fn new(view: VectorView, slots: Slots, index: Option<Arc<VectorIndex>>) -> Self {
        Self {
            view,
            tokens: None,
            slots: Arc::new(slots),
            rows: Arc::default(),
            windows: Arc::default(),
            with_windows: None,
            pin: RowPin::default(),
            index,
            texts: Texts::default(),
            keeps_texts: true,
            links: SessionLinks::default(),
            changes: ChangeLog::new(),
            expiry: BTreeSet::new(),
            fields: None,
            filtered: Mutex::new(LruCache::new(REMEMBERED_FILTERS)),
            version: next_version(),
        }
    }

    /// The file and its current rows, those of windows among them.
    pub fn current(&self) -> (VectorView, Arc<AllowedRows>) {
        (self.view.clone(), self.vectors().clone())
    }

    /// Rows of all current vectors.
    pub fn vectors(&self) -> &Arc<AllowedRows> {
        self.with_windows.as_ref().unwrap_or(&self.rows)
    }

    /// Which state this is: another one after each change that may change an answer.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Answers of before are not given out any more.
    pub fn set_changed(&mut self) {
        self.version = next_version();
    }

    /// What readers of these rows hold.
    pub fn pin_mut(&mut self) -> &mut RowPin {
        &mut self.pin
    }

    /// Searches by another index from now on.
    pub fn set_index(&mut self, index: Option<Arc<VectorIndex>>) {
        (self.index, self.version) = (index, next_version());
    }

    /// Adds a current row and those of its further windows, without its text.
    fn add(&mut self, live: &LiveRow, further: u32) {
        self.set(live.row, true);
        if further > 0 {
            Arc::make_mut(&mut self.windows).insert(live.row, further);
            let rows = self.with_windows.get_or_insert_with(|| Arc::new(AllowedRows::clone(&self.rows)));
            let rows = Arc::make_mut(rows);
            self.windows.of(live.row).for_each(|row| rows.set(row, true));
        }
        if let Some(session) = &live.session {
            self.links.push(live.row, session);
        }
        if let Some(expires_at) = live.expires_at {
            self.expiry.insert((expires_at, live.row));
        }
    }

    fn set(&mut self, row: u32, current: bool) {
        self.filtered.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        self.version = next_version();
        Arc::make_mut(&mut self.rows).set(row, current);
        if let Some(rows) = &mut self.with_windows {
            Arc::make_mut(rows).set(row, current);
        }
    }

    /// Publishes a committed version of a record, which has `further` rows behind its own, and takes the one that it
    /// replaced away.
    pub fn insert(&mut self, (row, further): (u32, u32), record: &Record, replaced: Option<&LiveRow>) {
        let new = LiveRow { row, session: record.session.clone(), expires_at: record.expires_at };
        match replaced {
            Some(old) if old.session == new.session => {
                if let Some(session) = &new.session {
                    self.links.replace(old.row, row, session);
                }
                self.forget(old);
                self.add(&LiveRow { session: None, ..new }, further);
            }
            Some(old) => {
                self.remove(old);
                self.add(&new, further);
            }
            None => self.add(&new, further),
        }
        if self.keeps_texts {
            self.texts.insert(row, document(record));
        }
        if let Some(fields) = &mut self.fields {
            fields.insert(row, record);
        }
    }

    /// Publishes that a message has another id among records than `from`.
    pub fn rename(&mut self, renamed: &Renamed, from: &str) {
        let Some(row) = self.slots.row(renamed.slot) else { return };
        self.version = next_version();
        match &mut self.fields {
            Some(fields) => fields.rename(row, from, &renamed.id),
            // Who is reading records for filters reads them again: see `prepare_filters`.
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
        let further = self.windows.of(old.row);
        if let Some(rows) = self.with_windows.as_mut().filter(|_| !further.is_empty()) {
            let rows = Arc::make_mut(rows);
            further.for_each(|row| rows.set(row, false));
            Arc::make_mut(&mut self.windows).remove(old.row);
            // Without any, nothing more is to be done for them.
            self.with_windows.take_if(|_| self.windows.is_empty());
        }
        if let Some(expires_at) = old.expires_at {
            self.expiry.remove(&(expires_at, old.row));
        }
        self.texts.remove(old.row);
    }

    /// Slots of records whose time has come, at most `most` of them.
    pub fn expired(&self, now: i64, most: usize) -> Vec<u64> {
        self.expiry.range(..=(now, u32::MAX)).take(most).map(|e| self.slots.slot(e.1)).collect()
    }

    /// The rows of `all` that a filter allows; remembered where `all` is what it is until the next change.
    fn filter(&self, filter: &Filter, all: &RoaringBitmap, remember: bool) -> Allowed {
        let remembered = || self.filtered.lock().unwrap_or_else(PoisonError::into_inner);
        let key = remember.then(|| format!("{filter:?}"));
        if let Some(known) = key.as_ref().and_then(|key| remembered().get(key).cloned()) {
            return known;
        }
        let allowed = self.fields.as_ref().map(|f| f.allowed(filter, all)).unwrap_or_default();
        let allowed = Allowed::new(Arc::new(allowed.into()), &self.windows, None);
        if let Some(key) = key {
            remembered().put(key, allowed.clone());
        }
        allowed
    }

    /// The records that may be found at `now`, of those that a filter allows, and until when they are these. With a
    /// filter, [`prepare_filters`](crate::Collection::prepare_filters) has been called.
    pub fn allowed(&self, now: i64, filter: Option<&Filter>) -> (Allowed, i64) {
        let mut allowed = Allowed::new(self.rows.clone(), &self.windows, self.with_windows.clone());
        let expired: RoaringBitmap = self.expiry.range(..=(now, u32::MAX)).map(|e| e.1).collect();
        if !expired.is_empty() {
            let without = |rows: &AllowedRows, gone: &RoaringBitmap| Arc::new((rows.rows() - gone).into());
            let all = self.with_windows.as_ref().map(|all| without(all, &(self.windows.of_all(&expired) | &expired)));
            allowed = Allowed::new(without(&self.rows, &expired), &self.windows, all);
        }
        if let Some(filter) = filter {
            allowed = self.filter(filter, allowed.records.rows(), expired.is_empty());
        }
        let next = self.expiry.range((now, u32::MAX)..).next();
        (allowed, next.map_or(i64::MAX, |expiry| expiry.0))
    }

    /// What a reader holds so that the rows in view stay as they are.
    pub fn pin(&self) -> RowPin {
        self.pin.clone()
    }
}

impl CollectionState {
    /// Reads what recall needs of a collection's records, whose rows are `live`; of their texts those that the text
    /// index does not have.
    pub fn read(
        reader: &Reader,
        slots: Slots,
        view: VectorView,
        derived: Derived,
        (keeps_texts, live): (bool, &[NamedRows]),
    ) -> Result<Self, StoreError> {
        let mut state = Self { keeps_texts, ..Self::new(view, slots, derived.index) };
        live.iter().for_each(|named| state.add(&named.live, named.further));
        let mut tail = Tail::default();
        let end = if keeps_texts { state.view.rows() } else { 0 };
        let rows = derived.text.as_ref().map_or(0, TextIndex::rows)..end;
        reader.each_record(&state.slots, rows, |row, stored| {
            if state.rows.contains(row) {
                tail.insert(row, document(&stored.record));
            }
            true
        })?;
        state.texts = Texts::new(derived.text, tail, |row| state.rows.contains(row));
        Ok(state)
    }

    /// What is known of the same records by their rows in the file of a compaction, which has caught up with all of
    /// them.
    pub fn compacted(&self, files: &mut CompactedFiles) -> Self {
        let CompactedFiles { file, tokens, copied, index, text, texts_until, .. } = files;
        let slots = self.slots.compacted(file.header().uuid, copied, self.view.rows());
        let mut state = Self::new(file.view(u32::MAX), slots, index.take().map(Arc::new));
        state.keeps_texts = self.keeps_texts;
        let mut new_rows = vec![u32::MAX; self.view.rows() as usize];
        for (new, old) in (0..).zip(copied.iter()) {
            new_rows[old as usize] = new;
        }
        let row = |old: u32| new_rows[old as usize];
        state.tokens = tokens.as_ref().map(TokenFile::view);
        state.rows = renumbered(&self.rows, row);
        state.windows = Arc::new(self.windows.renumbered(row));
        state.with_windows = self.with_windows.as_ref().map(|rows| renumbered(rows, row));
        state.links = self.links.renumbered(row);
        state.changes = self.changes.clone();
        state.expiry = self.expiry.iter().map(|(at, old)| (*at, row(*old))).collect();
        // A filter that is about to be asked for relies on them, and reading every record again would take seconds.
        let current = |old: u32| self.rows.contains(old).then(|| row(old));
        state.fields = self.fields.as_ref().map(|fields| fields.renumbered(current));
        let is_in_tail = |old: u32| old >= *texts_until && self.rows.contains(old);
        let tail = self.texts.tail().renumbered(|old| is_in_tail(old).then(|| row(old)));
        state.texts = Texts::new(text.take(), tail, |row| state.rows.contains(row));
        state
    }
}

/// The same rows by other numbers.
fn renumbered(rows: &AllowedRows, row: impl Fn(u32) -> u32) -> Arc<AllowedRows> {
    Arc::new(rows.rows().iter().map(row).collect::<RoaringBitmap>().into())
}
