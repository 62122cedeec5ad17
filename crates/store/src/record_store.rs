//! What a store of records promises: the contract that a second one, such as one over PostgreSQL, implements.
//!
//! [`Store`](crate::Store) is the first implementation, over one data folder. Whatever is no vector and no index
//! goes through these traits. They are object-safe and block; no method names a row, a file or a connection.
//!
//! - [`RecordStore::commit`] executes a [`Command`], whole or not at all.
//! - [`RecordStore::reads`] shows what is committed.
//! - [`RecordStore::changes`] tells in commit order what became of a collection's records. Whoever derives
//!   something from them (vectors, an index, a replica) follows it.
//! - [`RecordStore::lease`] lets one of several processes do what only one may.
//!
//! The changes are etcd's watch in small: a follower that is too far behind is told so, and reads everything anew.

use crate::command::{Command, Outcome, VersionId};
use crate::{Collection, StoreError};
use membox_records::{
    AuditEntry, Blob, Checkpoint, CheckpointOrder, CheckpointPlace, CheckpointQuery, DayUsage, Footprint, JobState,
    Namespace, QueueItem, Quota, Range, RecallCount, StoredJob, StoredRecord, StoredSession, Thread,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// When a commit returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Once it is on the disk of one machine.
    #[default]
    Disk,
    /// Once it is on the disks of most machines that keep the records. Where one machine keeps them, the same.
    Majority,
}

/// What reads show at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// All that was committed before they began.
    #[default]
    Latest,
    /// What was committed by some moment before: a replica may answer.
    Any,
}

/// A store of records.
pub trait RecordStore: Send + Sync {
    /// Executes a command, whole or not at all. When it returns, what was written is as durable as was asked, and
    /// reads that begin then show it.
    ///
    /// # Errors
    /// Nothing of the command was kept, unless the store [is read-only](StoreError::ReadOnly) from then on.
    fn commit(&self, command: Command, durability: Durability) -> Result<Outcome, StoreError>;

    /// Reads; waits while too many do.
    fn reads(&self, freshness: Freshness) -> Result<Box<dyn RecordReads + '_>, StoreError>;

    /// The changes of a collection that were committed after a moment, in the order of their commits, and the moment
    /// up to which these are all. `None` for the moment of now.
    ///
    /// # Errors
    /// [`StoreError::ChangesGone`] where the store does not know them any more. Ask for the moment of now, read every
    /// record, and go on from there: a change that both show names the same version.
    fn changes(&self, collection: &Arc<Collection>, after: Option<Sequence>) -> Result<Changes, StoreError>;

    /// Takes a lease, or prolongs the holder's own. `None` while another holder has it.
    fn lease(&self, name: &str, holder: &str, lasts: Duration) -> Result<Option<Lease>, StoreError>;

    /// Gives a lease back before its time. One that has ended meanwhile is nobody's business any more.
    fn release(&self, lease: Lease) -> Result<(), StoreError>;
}

/// A moment in a collection's history. Only the store that gave it knows what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Another one whenever the numbers begin anew.
    pub(crate) epoch: Uuid,
    /// Changes before it.
    pub(crate) number: u64,
}

/// What became of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has a version, the first or another one.
    Written {
        /// The version.
        version: VersionId,
        /// The one that it replaced.
        replaced: Option<VersionId>,
    },
    /// It is gone.
    Deleted(VersionId),
}

/// Changes up to a moment.
#[derive(Clone, Debug)]
pub struct Changes {
    /// In the order of their commits.
    pub changes: Vec<Change>,
    /// From where to ask on.
    pub until: Sequence,
}

/// The right to do something alone, for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What for.
    pub name: String,
    /// A greater one whenever the lease changes hands: what is written under an older one can be refused.
    pub token: u64,
}

/// What a store reads of records, sessions and all else that is no vector.
pub trait RecordReads {
    /// Everybody of whom anything is stored.
    fn tenants(&self) -> Result<Vec<String>, StoreError>;
    /// A record by its id.
    fn record(&self, collection: i64, id: &str) -> Result<Option<StoredRecord>, StoreError>;
    /// A version of a record; `None` once it is replaced or deleted.
    fn version(&self, collection: i64, version: VersionId) -> Result<Option<StoredRecord>, StoreError>;
    /// Records of a collection.
    fn count(&self, collection: i64) -> Result<u64, StoreError>;
    /// Every record of a collection that is about a user, until `each` has enough.
    fn records_of_user(
        &self,
        collection: i64,
        user: &str,
        each: &mut dyn FnMut(StoredRecord) -> bool,
    ) -> Result<(), StoreError>;
    /// The numbers (`seq`) of a collection's records that are about a user, in the order of writing.
    fn numbers_of_user(&self, collection: i64, user: &str) -> Result<Vec<i64>, StoreError>;
    /// A record by its number.
    fn record_of_number(&self, collection: i64, number: i64) -> Result<Option<StoredRecord>, StoreError>;
    /// How often records were recalled, by their `seq`.
    fn recall_counts(&self, collection: i64) -> Result<HashMap<i64, RecallCount>, StoreError>;
    /// A session by its id.
    fn session(&self, tenant: &str, id: &str) -> Result<Option<StoredSession>, StoreError>;
    /// Sessions of a tenant, of one user or of all, that were made before one, newest first.
    fn sessions(
        &self,
        tenant: &str,
        user: Option<&str>,
        before: i64,
        limit: usize,
    ) -> Result<Vec<StoredSession>, StoreError>;
    /// How much a tenant has stored, vectors and files aside. It reads all of it.
    fn footprint(&self, tenant: &str) -> Result<Footprint, StoreError>;
    /// Sessions of a user.
    fn count_sessions(&self, tenant: &str, user: &str) -> Result<u64, StoreError>;
    /// A message by its id in a session.
    fn message(&self, collection: i64, session: &str, id: &str) -> Result<Option<StoredRecord>, StoreError>;
    /// Messages of a session, until `each` has enough.
    fn messages(
        &self,
        collection: i64,
        session: &str,
        range: Range,
        each: &mut dyn FnMut(StoredRecord) -> bool,
    ) -> Result<(), StoreError>;
    /// Messages of a session from a place on, archived ones too, in their order, until `each` has enough.
    fn messages_from(
        &self,
        collection: i64,
        session: &str,
        place: i64,
        each: &mut dyn FnMut(StoredRecord) -> bool,
    ) -> Result<(), StoreError>;
    /// Messages of a session whose place is at least `first` and less than `end`, archived ones too.
    fn messages_between(
        &self,
        collection: i64,
        session: &str,
        first: i64,
        end: i64,
    ) -> Result<Vec<StoredRecord>, StoreError>;
    /// Messages in a session's list from a place on.
    fn count_messages(&self, collection: i64, session: &str, from: i64) -> Result<u64, StoreError>;
    /// Milliseconds of a session's recordings.
    fn recorded_milliseconds(&self, collection: i64, session: &str) -> Result<u64, StoreError>;
    /// Threads of a tenant that have checkpoints, those after one.
    fn threads(&self, tenant: &str, after: &str, limit: usize, now: i64) -> Result<Vec<Thread>, StoreError>;
    /// Namespaces of a thread that have checkpoints, those after one.
    fn namespaces(
        &self,
        tenant: &str,
        thread: &str,
        after: Option<&str>,
        limit: usize,
        now: i64,
    ) -> Result<Vec<Namespace>, StoreError>;
    /// Checkpoints of a thread, the latest first, and where the next page begins.
    fn checkpoints(
        &self,
        query: CheckpointQuery,
        now: i64,
    ) -> Result<(Vec<Checkpoint>, Option<CheckpointOrder>), StoreError>;
    /// The value of a channel of a thread at a version.
    fn blob(&self, place: CheckpointPlace, channel: &str, version: &str) -> Result<Option<Blob>, StoreError>;
    /// The values that a thread has in a namespace, by channel and version.
    fn blobs(&self, place: CheckpointPlace) -> Result<Vec<(String, String)>, StoreError>;
    /// The channels of a checkpoint, by its number, that have values, with their versions.
    fn channels(&self, checkpoint: i64) -> Result<BTreeMap<String, String>, StoreError>;
    /// Checkpoints that have writes and have not come yet.
    fn awaited_checkpoints(&self, place: CheckpointPlace) -> Result<Vec<Checkpoint>, StoreError>;
    /// A checkpoint by its id.
    fn checkpoint(&self, place: CheckpointPlace, id: &str, now: i64) -> Result<Option<Checkpoint>, StoreError>;
    /// The ids of a thread's checkpoints that had not expired, the latest first.
    fn checkpoint_ids(&self, place: CheckpointPlace, now: i64) -> Result<Vec<String>, StoreError>;
    /// The namespaces in which a thread has checkpoints.
    fn checkpoint_namespaces(&self, tenant: &str, thread: &str) -> Result<Vec<String>, StoreError>;
    /// What waits in a session's queue after a number, oldest first.
    fn queue(&self, tenant: &str, session: &str, after: i64, limit: usize) -> Result<Vec<QueueItem>, StoreError>;
    /// What users have used, by day.
    fn usage(
        &self,
        tenant: &str,
        user: Option<&str>,
        days: (&str, &str),
        limit: usize,
    ) -> Result<Vec<DayUsage>, StoreError>;
    /// The quota of a user.
    fn quota(&self, tenant: &str, user: &str) -> Result<Option<Quota>, StoreError>;
    /// A tenant's job by its id.
    fn job(&self, tenant: &str, id: &str) -> Result<Option<StoredJob>, StoreError>;
    /// Jobs of a tenant that were made before one, newest first: of all states and kinds, or of one.
    fn jobs(
        &self,
        tenant: &str,
        state: Option<JobState>,
        kind: Option<&str>,
        before: i64,
        limit: usize,
    ) -> Result<Vec<StoredJob>, StoreError>;
    /// Jobs of all tenants that have not ended, oldest first.
    fn jobs_under_way(&self) -> Result<Vec<StoredJob>, StoreError>;
    /// Entries of a tenant's audit log after a number, oldest first.
    fn audit(&self, tenant: &str, after: i64, limit: usize) -> Result<Vec<AuditEntry>, StoreError>;
}
