//! Reading what is committed.

use crate::reader_pool::PooledReader;
use crate::registry::Registry;
use crate::row_checks::has_its_vectors;
use crate::search::{Matches, Neighbours, Question, Wanted, neighbours, search};
use crate::snapshot::{Fetched, RecordRef, Snapshot};
use crate::{Collection, RecordReads, StoreError, VersionId, now};
use membox_records::filter::Scalar;
use membox_records::{
    AuditEntry, Blob, Checkpoint, CheckpointOrder, CheckpointPlace, CheckpointQuery, DayUsage, Filter, Footprint,
    JobState, Namespace, Order, Position, QueueItem, Quota, Range, RecallCount, Record, RecordsError, StoredJob,
    StoredRecord, StoredSession, Thread,
};
use membox_threads::budget;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The values of a field, and how many records have them.
#[derive(Clone, Debug)]
pub struct ValueCounts {
    /// Most first.
    pub values: Vec<(Scalar, u64)>,
    /// Records that have any.
    pub having: u64,
    /// All records that were looked at.
    pub records: u64,
}

/// One caller's reads of the local store. Others wait while too many are held: drop it before you wait for anything.
pub struct Reads<'a> {
    reader: PooledReader<'a>,
}

impl<'a> Reads<'a> {
    pub(crate) fn of(registry: &'a Registry) -> Result<Self, StoreError> {
        Ok(Self { reader: registry.reader()? })
    }

    pub(crate) fn reader(&self) -> &membox_records::Reader {
        &self.reader
    }

    /// The records of a collection as they are now, those that a filter allows.
    pub fn snapshot(&self, collection: &Arc<Collection>, filter: Option<&Filter>) -> Result<Snapshot, StoreError> {
        self.prepare(collection, filter)?;
        Ok(Snapshot::take(collection, now(), filter))
    }

    /// Looks for vectors and words of questions, all in one snapshot.
    pub fn search(
        &self,
        collection: &Arc<Collection>,
        filter: Option<&Filter>,
        questions: &[&Question],
        wanted: Wanted<'_>,
    ) -> Result<(Snapshot, Vec<Matches>), StoreError> {
        self.prepare(collection, filter.or(wanted.marked))?;
        search(collection, now(), filter, questions, wanted)
    }

    /// Up to `before` and `after` records around others in their sessions; `None` where one of these has changed
    /// since the snapshot.
    pub fn neighbours(
        &self,
        of: &Snapshot,
        records: &[RecordRef],
        (before, after): (usize, usize),
        filter: Option<&Filter>,
    ) -> Result<Option<Neighbours>, StoreError> {
        self.prepare(&of.collection, filter)?;
        Ok(neighbours(of, records, (before, after), now(), filter))
    }

    fn prepare(&self, collection: &Collection, filter: Option<&Filter>) -> Result<(), StoreError> {
        filter.map_or(Ok(()), |_| collection.prepare_filters(&self.reader))
    }

    /// The next records after a position that have not expired and that a filter allows, at most `limit`.
    pub fn page(
        &self,
        collection: &Arc<Collection>,
        order: Order,
        after: Option<Position>,
        limit: usize,
        filter: Option<&Filter>,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        let now = now();
        let is_alive = |record: &Record| record.is_alive(now);
        let Some(filter) = filter else {
            return Ok(self.reader.page(collection.id, order, after, limit, |_| None, is_alive)?);
        };
        self.prepare(collection, Some(filter))?;
        // Both of one state: what is written between two is in none of them.
        let (snapshot, current) = {
            let state = collection.state();
            (Snapshot::of(collection, &state, now, Some(filter)), state.rows.clone())
        };
        // What is committed and not yet published has a row that is not in the snapshot.
        let in_view = |slot| snapshot.slots.row(slot).filter(|&row| current.contains(row));
        let known = |slot| in_view(slot).map(|row| snapshot.allowed.contains(row));
        let wanted = |record: &Record| is_alive(record) && filter.allows(record);
        Ok(self.reader.page(collection.id, order, after, limit, known, wanted)?)
    }

    /// The values of a field, of the records that a filter allows.
    pub fn counts(
        &self,
        collection: &Arc<Collection>,
        filter: Option<&Filter>,
        field: &str,
    ) -> Result<ValueCounts, StoreError> {
        collection.prepare_filters(&self.reader)?;
        let state = collection.state();
        let (allowed, _) = state.allowed(now(), filter);
        let rows = allowed.records.rows();
        let fields = state.fields.as_ref();
        let counts = fields.map(|fields| (fields.counts(field, rows), fields.having(field, rows)));
        let (values, having) = counts.unwrap_or_default();
        Ok(ValueCounts { values, having, records: rows.len() })
    }

    /// The records that a filter allows, in the order of the values of a field, as a [`FieldIndex`] has it.
    ///
    /// [`FieldIndex`]: membox_records::FieldIndex
    pub fn ordered(
        &self,
        collection: &Arc<Collection>,
        filter: Option<&Filter>,
        field: &str,
        is_descending: bool,
    ) -> Result<(Snapshot, Vec<RecordRef>), StoreError> {
        collection.prepare_filters(&self.reader)?;
        let state = collection.state();
        let snapshot = Snapshot::of(collection, &state, now(), filter);
        let rows = state.fields.as_ref().map(|fields| fields.ordered(field, is_descending, snapshot.allowed.rows()));
        drop(state);
        Ok((snapshot, rows.unwrap_or_default().into_iter().map(RecordRef).collect()))
    }

    /// Reads a record of a snapshot.
    pub fn fetch(&self, snapshot: &Snapshot, record: RecordRef) -> Result<Fetched, StoreError> {
        let stored = match self.reader.record_of_row(&snapshot.slots, record.0) {
            Ok(Some(stored)) => stored,
            Ok(None) => return Ok(Fetched::Changed),
            Err(error @ RecordsError::Damaged(_)) => {
                metrics::counter!("membox_damaged_records_total").increment(1);
                let collection = &snapshot.collection.name;
                tracing::error!(collection, %error, "a damaged record is no answer: run `membox verify`");
                return Ok(Fetched::Damaged);
            }
            Err(error) => return Err(error.into()),
        };
        budget::take(stored.memory_bytes()).map_err(RecordsError::from)?;
        if !has_its_vectors(&stored, record.0, &snapshot.view) {
            metrics::counter!("membox_damaged_rows_total").increment(1);
            tracing::error!(
                collection = snapshot.collection.name,
                row = record.0,
                id = stored.record.id,
                "a vector does not have its checksum and is no answer: run `membox rebuild`"
            );
            return Ok(Fetched::Damaged);
        }
        Ok(Fetched::Found(Box::new(stored)))
    }

    /// Reads the records that may be found, in the order of writing, until `each` says that it has enough.
    pub fn each_record(
        &self,
        snapshot: &Snapshot,
        mut each: impl FnMut(StoredRecord) -> bool,
    ) -> Result<(), StoreError> {
        self.each_record_from(snapshot, None, |_, stored| each(stored))
    }

    /// As [`Reads::each_record`], from a record on.
    pub fn each_record_from(
        &self,
        snapshot: &Snapshot,
        from: Option<RecordRef>,
        mut each: impl FnMut(RecordRef, StoredRecord) -> bool,
    ) -> Result<(), StoreError> {
        // Rows past the view are newer than the snapshot.
        let rows = from.map_or(0, |record| record.0)..snapshot.view.rows();
        Ok(self.reader.each_record(&snapshot.slots, rows, |row, stored| {
            !snapshot.allowed.contains(row) || each(RecordRef(row), stored)
        })?)
    }

    /// Reads of one moment until the guard is dropped; it also saves each read the locks of its own.
    pub fn at_one_moment(&self) -> Result<OneMoment<'_>, StoreError> {
        Ok(OneMoment { _snapshot: self.reader.snapshot()? })
    }
}

/// Ends with the reads of one moment.
pub struct OneMoment<'a> {
    _snapshot: membox_records::Snapshot<'a>,
}

impl RecordReads for Reads<'_> {
    fn tenants(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.reader.tenants()?)
    }

    fn record(&self, collection: i64, id: &str) -> Result<Option<StoredRecord>, StoreError> {
        Ok(self.reader.record(collection, id)?)
    }

    fn version(&self, collection: i64, version: VersionId) -> Result<Option<StoredRecord>, StoreError> {
        Ok(self.reader.record_of_slot(collection, version.0)?)
    }

    fn count(&self, collection: i64) -> Result<u64, StoreError> {
        Ok(self.reader.count(collection)?)
    }

    fn records_of_user(
        &self,
        collection: i64,
        user: &str,
        each: &mut dyn FnMut(StoredRecord) -> bool,
    ) -> Result<(), StoreError> {
        Ok(self.reader.records_of_user(collection, user, each)?)
    }

    fn numbers_of_user(&self, collection: i64, user: &str) -> Result<Vec<i64>, StoreError> {
        Ok(self.reader.numbers_of_user(collection, user)?)
    }

    fn record_of_number(&self, collection: i64, number: i64) -> Result<Option<StoredRecord>, StoreError> {
        Ok(self.reader.record_of_number(collection, number)?)
    }

    fn recall_counts(&self, collection: i64) -> Result<HashMap<i64, RecallCount>, StoreError> {
        Ok(self.reader.recall_counts(collection)?)
    }

    fn session(&self, tenant: &str, id: &str) -> Result<Option<StoredSession>, StoreError> {
        Ok(self.reader.session(tenant, id)?)
    }

    fn sessions(
        &self,
        tenant: &str,
        user: Option<&str>,
        before: i64,
        limit: usize,
    ) -> Result<Vec<StoredSession>, StoreError> {
        Ok(self.reader.sessions(tenant, user, before, limit)?)
    }

    fn footprint(&self, tenant: &str) -> Result<Footprint, StoreError> {
        Ok(self.reader.footprint(tenant)?)
    }

    fn count_sessions(&self, tenant: &str, user: &str) -> Result<u64, StoreError> {
        Ok(self.reader.count_sessions(tenant, user)?)
    }

    fn message(&self, collection: i64, session: &str, id: &str) -> Result<Option<StoredRecord>, StoreError> {
        Ok(self.reader.message(collection, session, id)?)
    }

    fn messages(
        &self,
        collection: i64,
        session: &str,
        range: Range,
        each: &mut dyn FnMut(StoredRecord) -> bool,
    ) -> Result<(), StoreError> {
        Ok(self.reader.messages(collection, session, range, each)?)
    }

    fn messages_from(
        &self,
        collection: i64,
        session: &str,
        place: i64,
        each: &mut dyn FnMut(StoredRecord) -> bool,
    ) -> Result<(), StoreError> {
        Ok(self.reader.messages_from(collection, session, place, each)?)
    }

    fn messages_between(
        &self,
        collection: i64,
        session: &str,
        first: i64,
        end: i64,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        Ok(self.reader.messages_between(collection, session, first, end)?)
    }

    fn count_messages(&self, collection: i64, session: &str, from: i64) -> Result<u64, StoreError> {
        Ok(self.reader.count_messages(collection, session, from)?)
    }

    fn recorded_milliseconds(&self, collection: i64, session: &str) -> Result<u64, StoreError> {
        Ok(self.reader.recorded_milliseconds(collection, session)?)
    }

    fn threads(&self, tenant: &str, after: &str, limit: usize, now: i64) -> Result<Vec<Thread>, StoreError> {
        Ok(self.reader.threads(tenant, after, limit, now)?)
    }

    fn namespaces(
        &self,
        tenant: &str,
        thread: &str,
        after: Option<&str>,
        limit: usize,
        now: i64,
    ) -> Result<Vec<Namespace>, StoreError> {
        Ok(self.reader.namespaces(tenant, thread, after, limit, now)?)
    }

    fn checkpoints(
        &self,
        query: CheckpointQuery,
        now: i64,
    ) -> Result<(Vec<Checkpoint>, Option<CheckpointOrder>), StoreError> {
        Ok(self.reader.checkpoints(query, now)?)
    }

    fn blob(&self, place: CheckpointPlace, channel: &str, version: &str) -> Result<Option<Blob>, StoreError> {
        Ok(self.reader.blob(place, channel, version)?)
    }

    fn blobs(&self, place: CheckpointPlace) -> Result<Vec<(String, String)>, StoreError> {
        Ok(self.reader.blobs(place)?)
    }

    fn channels(&self, checkpoint: i64) -> Result<BTreeMap<String, String>, StoreError> {
        Ok(self.reader.channels(checkpoint)?)
    }

    fn awaited_checkpoints(&self, place: CheckpointPlace) -> Result<Vec<Checkpoint>, StoreError> {
        Ok(self.reader.awaited_checkpoints(place)?)
    }

    fn checkpoint(&self, place: CheckpointPlace, id: &str, now: i64) -> Result<Option<Checkpoint>, StoreError> {
        Ok(self.reader.checkpoint(place, id, now)?)
    }

    fn checkpoint_ids(&self, place: CheckpointPlace, now: i64) -> Result<Vec<String>, StoreError> {
        Ok(self.reader.checkpoint_ids(place, now)?)
    }

    fn checkpoint_namespaces(&self, tenant: &str, thread: &str) -> Result<Vec<String>, StoreError> {
        Ok(self.reader.checkpoint_namespaces(tenant, thread)?)
    }

    fn queue(&self, tenant: &str, session: &str, after: i64, limit: usize) -> Result<Vec<QueueItem>, StoreError> {
        Ok(self.reader.queue(tenant, session, after, limit)?)
    }

    fn usage(
        &self,
        tenant: &str,
        user: Option<&str>,
        days: (&str, &str),
        limit: usize,
    ) -> Result<Vec<DayUsage>, StoreError> {
        Ok(self.reader.usage(tenant, user, days, limit)?)
    }

    fn quota(&self, tenant: &str, user: &str) -> Result<Option<Quota>, StoreError> {
        Ok(self.reader.quota(tenant, user)?)
    }

    fn job(&self, tenant: &str, id: &str) -> Result<Option<StoredJob>, StoreError> {
        Ok(self.reader.job(tenant, id)?)
    }

    fn jobs(
        &self,
        tenant: &str,
        state: Option<JobState>,
        kind: Option<&str>,
        before: i64,
        limit: usize,
    ) -> Result<Vec<StoredJob>, StoreError> {
        Ok(self.reader.jobs(tenant, state, kind, before, limit)?)
    }

    fn jobs_under_way(&self) -> Result<Vec<StoredJob>, StoreError> {
        Ok(self.reader.jobs_under_way()?)
    }

    fn audit(&self, tenant: &str, after: i64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        Ok(self.reader.audit(tenant, after, limit)?)
    }
}
