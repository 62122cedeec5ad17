//! What a store is asked to write: plain data, executed whole or not at all.
//!
//! A new kind of write is one variant of [`Command`], one arm of `writer::apply`, and one method of
//! [`Store`](crate::Store) that gives its outcome a type.

use crate::{Collection, StoreError, now};
use membox_api::OnConflict;
use membox_records::{
    AuditEntry, AuditEvent, Blob, CheckpointBody, DayUsage, FileName, OpaqueJson, QueueItem, Quota, Record, Resealed,
    StoredJob, StoredRecord, StoredSession, Summary,
};
use membox_vectors::TokenVectors;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

/// Where a record's metadata says how it was redacted.
pub const REDACTION_FIELD: &str = "redaction";

/// What the audit log says of what the box does of its own accord.
pub(crate) fn event_of_box(tenant: &str, action: &str) -> AuditEvent {
    let [tenant, actor, action] = [tenant, "box", action].map(str::to_owned);
    AuditEvent { at: now(), tenant, actor, action, subject: String::new(), count: 0 }
}

/// One write.
#[derive(Clone, Debug)]
pub enum Command {
    /// Writes versions of records. Gives their versions.
    WriteRecords(WriteRecords),
    /// Gives records other vectors; those that have another version by then are passed over. Gives how many were
    /// replaced.
    ReplaceVectors {
        /// Whose records they are.
        collection: Arc<Collection>,
        /// Each with its new vector.
        vectors: Vec<NewVector>,
    },
    /// Gives records vectors of their tokens; those that are gone by then, and those that have whole ones, are passed
    /// over. It changes no record. Gives how many got them.
    PutTokenVectors {
        /// Whose records they are.
        collection: Arc<Collection>,
        /// Those of each record's text.
        tokens: Vec<(VersionId, TokenVectors)>,
    },
    /// Appends messages to a session.
    AppendMessages(Box<AppendMessages>),
    /// Deletes records. Gives how many there were.
    DeleteRecords(DeleteRecords),
    /// Makes a session or changes one. Gives whether it was made.
    ChangeSession(Box<ChangeSession>),
    /// Sets the summary of a session, if it still has the one that the new one extends. Gives the one that it has then.
    PutSummary {
        /// The session as it was read.
        session: Box<StoredSession>,
        /// What extends its summary.
        summary: Summary,
    },
    /// Moves a session's pipeline on.
    AdvancePipeline(Advance),
    /// Appends inputs to a session's queue. Gives their numbers.
    PushInputs {
        /// Whose session.
        tenant: String,
        /// Its id.
        session: String,
        /// In this order.
        payloads: Vec<Value>,
        /// Milliseconds since 1970.
        now: i64,
    },
    /// Leases the oldest inputs of a queue that nobody has.
    TakeInputs {
        /// Whose session.
        tenant: String,
        /// Its id.
        session: String,
        /// Inputs wanted at most.
        limit: usize,
        /// Milliseconds since 1970.
        now: i64,
        /// When the lease ends.
        until: i64,
    },
    /// Removes an input. Gives whether it was there.
    RemoveInput {
        /// Whose session.
        tenant: String,
        /// Its id.
        session: String,
        /// The input's number.
        number: i64,
        /// What the audit log says of it.
        audit: Option<AuditEvent>,
    },
    /// Writes a checkpoint. Gives it as it is then.
    PutCheckpoint {
        /// Where.
        key: CheckpointKey,
        /// When it goes.
        expires_at: Option<i64>,
        /// What it holds.
        body: CheckpointBody,
        /// Blobs that are kept first.
        blobs: Vec<Blob>,
        /// Which blobs it has: the versions of its channels.
        channels: BTreeMap<String, String>,
    },
    /// Keeps the value of a channel of a thread.
    PutBlob {
        /// Whose thread.
        tenant: String,
        /// Its id.
        thread: String,
        /// Empty for the thread's own.
        namespace: String,
        /// The value.
        blob: Blob,
    },
    /// Copies the value of a channel to another thread.
    CopyBlob {
        /// Whose thread.
        tenant: String,
        /// From where.
        thread: String,
        /// Its namespace, there and here.
        namespace: String,
        /// The channel.
        channel: String,
        /// The version of its value.
        version: String,
        /// To which thread.
        to: String,
    },
    /// Adds what a task has written towards the checkpoint after this one.
    PutCheckpointWrites {
        /// Where.
        key: CheckpointKey,
        /// Which task.
        task: String,
        /// What it wrote.
        writes: Value,
        /// Bytes as JSON that all tasks' writes to it may have together.
        max_bytes: usize,
        /// Milliseconds since 1970.
        now: i64,
    },
    /// Deletes a checkpoint. Gives whether it was there.
    DropCheckpoint {
        /// Where.
        key: CheckpointKey,
        /// What the audit log says of it.
        audit: Option<AuditEvent>,
        /// Milliseconds since 1970.
        now: i64,
    },
    /// Deletes the checkpoints of a thread. Gives how many there were.
    DropCheckpoints {
        /// Whose thread.
        tenant: String,
        /// Its id.
        thread: String,
        /// Of this namespace; of all for `None`.
        namespace: Option<String>,
        /// What the audit log says of it; the count is filled in.
        audit: Option<AuditEvent>,
    },
    /// Deletes all but the latest checkpoints of each namespace of a thread. Gives how many went.
    PruneCheckpoints {
        /// Whose thread.
        tenant: String,
        /// Its id.
        thread: String,
        /// Of this namespace; of all for `None`.
        namespace: Option<String>,
        /// How many stay of each.
        keep: usize,
        /// Milliseconds since 1970.
        now: i64,
        /// What the audit log says of it; the count is filled in.
        audit: Option<AuditEvent>,
    },
    /// Copies checkpoints to another thread, in the place of those that it has by their ids. Gives how many there
    /// were.
    CopyCheckpoints {
        /// Whose thread.
        tenant: String,
        /// From where.
        thread: String,
        /// Their namespace, there and here.
        namespace: String,
        /// Which.
        ids: Vec<String>,
        /// To which thread.
        to: String,
        /// Milliseconds since 1970.
        now: i64,
    },
    /// Adds to what users have used, each with its tenant.
    AddUsage(Vec<(String, DayUsage)>),
    /// Notes tokens of a user, unless they are over the quota.
    Spend(Spend),
    /// Sets a user's quota, or takes it away.
    SetQuota {
        /// Whose user.
        tenant: String,
        /// Empty for all who have none of their own.
        user: String,
        /// The quota.
        quota: Option<Quota>,
        /// What the audit log says of it.
        audit: AuditEvent,
    },
    /// Deletes what is known of a user's usage.
    DropUsage {
        /// Whose user.
        tenant: String,
        /// Who.
        user: String,
    },
    /// Writes an entry of the audit log.
    Audit(AuditEvent),
    /// Seals rows of a tenant with its newest key. Gives how many, and where to go on.
    Reseal {
        /// Whose rows.
        tenant: String,
        /// Where to begin.
        from: Resealed,
        /// Rows at most.
        limit: usize,
    },
    /// Deletes all rows of a tenant.
    DropTenant {
        /// Whose rows.
        tenant: String,
        /// The job that stays, since it does this.
        job: String,
    },
    /// Inserts jobs. From then on nothing is written to what they erase.
    InsertJobs {
        /// The jobs.
        jobs: Vec<StoredJob>,
        /// What the audit log says of them.
        audit: Option<AuditEvent>,
    },
    /// Writes down how far a job is, or how it ended. Gives whether it was there.
    PutJob(Box<StoredJob>),
    /// Deletes ended jobs of a tenant that worked on a user, and those that may quote records. Gives how many.
    ForgetJobs {
        /// Whose jobs.
        tenant: String,
        /// The user.
        user: String,
        /// The user's own collection.
        collection: String,
    },
    /// Removes jobs that ended before a time.
    DropJobsEndedBefore(i64),
    /// Names a media file that is about to be written.
    ExpectMedia {
        /// The collection's number.
        collection: i64,
        /// The file's name.
        file: FileName,
        /// Until when it is not removed without a message, in milliseconds since 1970.
        until: i64,
    },
    /// Removes media files that no message has. Gives how many.
    RemoveUnusedMedia,
    /// Counts recalls of records: collection, id and how often.
    CountRecalls(Vec<(i64, String, u64)>),
    /// Removes checkpoints whose time has come.
    DropExpiredCheckpoints {
        /// Milliseconds since 1970.
        now: i64,
    },
    /// Removes usage of days before one.
    DropUsageBefore(String),
    /// Panics within its transaction, after a write.
    #[cfg(test)]
    Panic(AuditEvent),
}

/// Versions of records to be written.
#[derive(Clone, Debug)]
pub struct WriteRecords {
    /// Whose records they are.
    pub collection: Arc<Collection>,
    /// Each with its vector.
    pub records: Vec<NewVersion>,
    /// Sessions whose messages they are: they have another version with it.
    pub bump_sessions: BTreeSet<String>,
    /// A record that is deleted with it, at this version.
    pub delete: Option<(String, u64)>,
    /// How far a session's pipeline has come with these records.
    pub advance: Option<Advance>,
}

impl WriteRecords {
    /// Records, and nothing beside them.
    pub fn new(collection: Arc<Collection>, records: Vec<NewVersion>) -> Self {
        Self { collection, records, bump_sessions: BTreeSet::new(), delete: None, advance: None }
    }
}

/// A record to be written, with its vector.
#[derive(Clone, Debug)]
pub struct NewVersion {
    /// What it says.
    pub record: Record,
    /// As many numbers as the collection's dimension.
    pub vector: Vec<f32>,
    /// The windows of its text, where that has several vectors.
    pub windows: TextWindows,
    /// Those of its text's tokens, where there are any. They are kept where the collection wants them.
    pub tokens: Option<TokenVectors>,
    /// The version that must be there now; 0 for none.
    pub expected: Option<u64>,
    /// Whether it keeps the time of creation of the record that it replaces.
    pub keeps_created_at: bool,
}

/// The windows of a text that has several vectors; empty for others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextWindows {
    /// The first byte of each in the text and the byte after its last, the first window's among them; `0..0` where
    /// they are not known, because another text is stored than was embedded.
    pub places: Vec<Range<u32>>,
    /// The vectors of all but the first, each of as many numbers as the collection's dimension. The first window's is
    /// the record's own.
    pub vectors: Vec<Vec<f32>>,
}

impl TextWindows {
    /// The same, where another text is stored than was embedded: nobody knows where in that they are.
    pub fn forget_places(&mut self) {
        self.places.fill(0..0);
    }
}

/// What a record to be written has: its vector, its windows and the vectors of its tokens.
type NewVectors<'a> = (&'a [f32], &'a TextWindows, Option<&'a TokenVectors>);

/// A record as it was read, and another vector for it.
#[derive(Clone, Debug)]
pub struct NewVector {
    /// The record.
    pub stored: StoredRecord,
    /// As many numbers as the collection's dimension.
    pub vector: Vec<f32>,
    /// As those of a [`NewVersion`].
    pub windows: TextWindows,
    /// As those of a [`NewVersion`]; those that the record had are not kept.
    pub tokens: Option<TokenVectors>,
}

/// Messages for a session, each with its vector.
#[derive(Clone, Debug)]
pub struct AppendMessages {
    /// The collection of the session.
    pub collection: Arc<Collection>,
    /// The session as it is made if it is not there.
    pub session: StoredSession,
    /// The messages as records.
    pub messages: Vec<NewVersion>,
    /// What those of them said, by their places, of which redaction took something out.
    pub originals: HashMap<usize, String>,
    /// The version that the session must be at; 0 where it must not be there.
    pub expected: Option<u64>,
    /// What is done where it is at another one.
    pub on_conflict: Option<OnConflict>,
}

/// What an append has done.
#[derive(Debug, Default)]
pub struct Appended {
    /// The session's version.
    pub version: u64,
    /// The position of each message; `None` where it was there already.
    pub positions: Vec<Option<i64>>,
    /// Ids of messages that left the session's list.
    pub evicted: Vec<String>,
    /// What others have written since the version that was expected, where that was asked for.
    pub since: Option<Vec<StoredRecord>>,
}

/// Records to be deleted.
#[derive(Clone, Debug)]
pub struct DeleteRecords {
    /// Whose records they are.
    pub collection: Arc<Collection>,
    /// Which.
    pub which: Selection,
    /// Whether sessions of which messages are deleted have another version with it.
    pub bump_sessions: bool,
    /// What the audit log says of it; the count is filled in.
    pub audit: Option<AuditEvent>,
}

/// Which records.
#[derive(Clone, Debug)]
pub enum Selection {
    /// By id, each with the version that it must have.
    Ids(Vec<(String, Option<u64>)>),
    /// These versions; those that are no longer current are passed over.
    Versions(Vec<VersionId>),
    /// A message of a session.
    Message {
        /// The session's id.
        session: String,
        /// The message's id in it.
        id: String,
        /// The version that it must have.
        expected: Option<u64>,
    },
    /// A session: its messages, its queue and itself.
    Session {
        /// Whose it is.
        tenant: String,
        /// Its id.
        id: String,
    },
}

/// One version of one record, for good: what a snapshot or a read has shown. Of two in one collection, the one that
/// was written first is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VersionId(pub(crate) u64);

impl From<&StoredRecord> for VersionId {
    fn from(stored: &StoredRecord) -> Self {
        Self(stored.slot)
    }
}

/// A session as it is to be.
#[derive(Clone, Debug)]
pub struct ChangeSession {
    /// The session as it was read, or as it is made if it is not there (version 0).
    pub session: StoredSession,
    /// Whether another one that was made meanwhile must have the same user, and the same collection.
    pub must_match: (bool, bool),
    /// What is set; the rest stays.
    pub set: SessionChange,
}

/// Settings of a session that are set.
#[derive(Clone, Debug, Default)]
pub struct SessionChange {
    /// Messages in its list.
    pub max_messages: Option<u64>,
    /// Whether messages over that are deleted.
    pub deletes_evicted: Option<bool>,
    /// Seconds that a message lives; `Some(None)` for good.
    pub ttl_s: Option<Option<u64>>,
    /// All of its metadata.
    pub metadata: Option<Map<String, Value>>,
    /// What its summary says, if it still is the one of this version.
    pub summary: Option<Summary>,
}

/// How far a session's pipeline comes.
#[derive(Clone, Debug)]
pub struct Advance {
    /// Whose session.
    pub tenant: String,
    /// Its id.
    pub session: String,
    /// Where the pipeline must be, as it was read.
    pub from: Option<OpaqueJson>,
    /// Where it is then.
    pub to: OpaqueJson,
}

/// A checkpoint's name.
#[derive(Clone, Debug)]
pub struct CheckpointKey {
    /// Whose thread.
    pub tenant: String,
    /// The thread's id.
    pub thread: String,
    /// Empty for the thread's own.
    pub namespace: String,
    /// The checkpoint's id.
    pub id: String,
}

/// Tokens that a user is about to use.
#[derive(Clone, Debug)]
pub struct Spend {
    /// Whose user.
    pub tenant: String,
    /// Who.
    pub user: String,
    /// Of which day.
    pub day: String,
    /// How many; negative to give some back.
    pub tokens: i64,
    /// The quota of users who have none of their own.
    pub default_quota: Option<Quota>,
}

/// What has come of a [`Spend`].
#[derive(Clone, Debug)]
pub struct Spent {
    /// What the user has used that day, with these tokens unless they were refused.
    pub used: DayUsage,
    /// The quota that holds.
    pub quota: Option<Quota>,
    /// Whether the tokens were over it, and were not noted.
    pub is_refused: bool,
}

/// What a command has come to.
#[derive(Debug)]
pub enum Outcome {
    /// It is done.
    Done,
    /// Yes or no, as the command says.
    Flag(bool),
    /// How many.
    Count(usize),
    /// Versions of records.
    Versions(Vec<u64>),
    /// Of an append.
    Appended(Appended),
    /// The summary that stands.
    Summary(Option<Summary>),
    /// Numbers of inputs.
    Numbers(Vec<i64>),
    /// Inputs that were taken.
    Inputs(Vec<QueueItem>),
    /// A checkpoint as it is.
    Checkpoint(CheckpointBody),
    /// Of tokens that were spent.
    Spent(Spent),
    /// An entry of the audit log.
    Audited(AuditEntry),
    /// Rows that were sealed, and where to go on.
    Resealed(usize, Option<Resealed>),
}

impl Command {
    /// The collection whose files it writes to, if it does.
    pub(crate) fn collection(&self) -> Option<&Arc<Collection>> {
        match self {
            Self::WriteRecords(WriteRecords { collection, .. })
            | Self::ReplaceVectors { collection, .. }
            | Self::PutTokenVectors { collection, .. }
            | Self::DeleteRecords(DeleteRecords { collection, .. }) => Some(collection),
            Self::AppendMessages(append) => Some(&append.collection),
            _ => None,
        }
    }

    /// Whether it makes room on the disk, or is a small step of what does: it is taken on a full disk too.
    pub(crate) fn frees(&self) -> bool {
        match self {
            Self::DeleteRecords(_)
            | Self::RemoveInput { .. }
            | Self::DropCheckpoint { .. }
            | Self::DropCheckpoints { .. }
            | Self::PruneCheckpoints { .. }
            | Self::DropUsage { .. }
            | Self::DropTenant { .. }
            | Self::ForgetJobs { .. }
            | Self::DropJobsEndedBefore(_)
            | Self::RemoveUnusedMedia
            | Self::DropExpiredCheckpoints { .. }
            | Self::DropUsageBefore(_) => true,
            // An input is taken before it is removed; an erasure is a job, and the audit log says of it.
            Self::TakeInputs { .. } | Self::PutJob(_) | Self::Audit(_) => true,
            Self::InsertJobs { jobs, .. } => jobs.iter().all(|job| job.erases.is_some()),
            _ => false,
        }
    }

    /// What it brings for each of its records.
    pub(crate) fn contents(&self) -> Vec<NewVectors<'_>> {
        match self {
            Self::WriteRecords(write) => write.records.iter().map(NewVersion::vectors).collect(),
            Self::AppendMessages(append) => append.messages.iter().map(NewVersion::vectors).collect(),
            Self::ReplaceVectors { vectors, .. } => {
                vectors.iter().map(|new| (new.vector.as_slice(), &new.windows, new.tokens.as_ref())).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Rows that it brings.
    pub(crate) fn rows(&self) -> usize {
        self.contents().iter().map(|(_, windows, _)| 1 + windows.vectors.len()).sum()
    }
}

impl NewVersion {
    fn vectors(&self) -> NewVectors<'_> {
        (&self.vector, &self.windows, self.tokens.as_ref())
    }
}

/// Gives an outcome its type.
macro_rules! typed {
    ($($name:ident: $variant:pat => $value:expr, $type:ty;)*) => {
        impl Outcome {
            $(pub(crate) fn $name(self) -> Result<$type, StoreError> {
                match self {
                    $variant => Ok($value),
                    other => Err(StoreError::Broken(format!("a write came to {other:?}"))),
                }
            })*
        }
    };
}

typed! {
    done: Self::Done => (), ();
    flag: Self::Flag(flag) => flag, bool;
    count: Self::Count(count) => count, usize;
    versions: Self::Versions(versions) => versions, Vec<u64>;
    appended: Self::Appended(appended) => appended, Appended;
    summary: Self::Summary(summary) => summary, Option<Summary>;
    numbers: Self::Numbers(numbers) => numbers, Vec<i64>;
    inputs: Self::Inputs(inputs) => inputs, Vec<QueueItem>;
    checkpoint: Self::Checkpoint(body) => body, CheckpointBody;
    spent: Self::Spent(spent) => spent, Spent;
    audited: Self::Audited(entry) => entry, AuditEntry;
    resealed: Self::Resealed(count, next) => (count, next), (usize, Option<Resealed>);
}
