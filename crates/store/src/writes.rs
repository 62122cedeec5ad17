//! Each command with its outcome's type. When a write returns, it is durable and visible.

use crate::command::{
    Advance, AppendMessages, Appended, ChangeSession, CheckpointKey, Command, DeleteRecords, NewVector, Outcome, Spend,
    Spent, VersionId, WriteRecords,
};
use crate::{Collection, Durability, RecordStore, Store, StoreError, now};
use membox_records::{
    AuditEntry, AuditEvent, Blob, CheckpointBody, CheckpointPlace, DayUsage, QueueItem, Quota, Resealed, StoredJob,
    StoredSession, Summary,
};
use membox_vectors::TokenVectors;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Store {
    /// Commits a command, durable on this machine's disk.
    pub fn commit(&self, command: Command) -> Result<Outcome, StoreError> {
        RecordStore::commit(self, command, Durability::Disk)
    }

    /// Writes records and gives their versions; on an error none of them was kept.
    pub fn write_records(&self, write: WriteRecords) -> Result<Vec<u64>, StoreError> {
        self.commit(Command::WriteRecords(write))?.versions()
    }

    /// Replaces vectors of records that are still at the version that was read. Gives how many.
    pub fn replace_vectors(&self, collection: &Arc<Collection>, vectors: Vec<NewVector>) -> Result<usize, StoreError> {
        self.commit(Command::ReplaceVectors { collection: collection.clone(), vectors })?.count()
    }

    /// Gives records vectors of their tokens, unless they are gone or have whole ones. Gives how many got them.
    pub fn put_token_vectors(
        &self,
        collection: &Arc<Collection>,
        tokens: Vec<(VersionId, TokenVectors)>,
    ) -> Result<usize, StoreError> {
        self.commit(Command::PutTokenVectors { collection: collection.clone(), tokens })?.count()
    }

    /// Appends messages to a session, all or none.
    pub fn append_messages(&self, append: AppendMessages) -> Result<Appended, StoreError> {
        self.commit(Command::AppendMessages(Box::new(append)))?.appended()
    }

    /// Deletes records and gives how many there were.
    pub fn delete_records(&self, delete: DeleteRecords) -> Result<usize, StoreError> {
        self.commit(Command::DeleteRecords(delete))?.count()
    }

    /// Makes a session or changes one; says whether it was made.
    ///
    /// # Errors
    /// A [conflict](StoreError::is_conflict) where it is at another version than was read.
    pub fn change_session(&self, change: ChangeSession) -> Result<bool, StoreError> {
        self.commit(Command::ChangeSession(Box::new(change)))?.flag()
    }

    /// Sets a session's summary, unless somebody else has extended it; gives the one that stands.
    pub fn put_summary(&self, session: &StoredSession, summary: Summary) -> Result<Option<Summary>, StoreError> {
        self.commit(Command::PutSummary { session: Box::new(session.clone()), summary })?.summary()
    }

    /// Moves a session's pipeline on.
    ///
    /// # Errors
    /// A [conflict](StoreError::is_conflict) where it is elsewhere than was read.
    pub fn advance_pipeline(&self, step: Advance) -> Result<(), StoreError> {
        self.commit(Command::AdvancePipeline(step))?.done()
    }

    /// Appends inputs to a session's queue, all or none, and gives their numbers.
    pub fn push_inputs(&self, tenant: &str, session: &str, payloads: Vec<Value>) -> Result<Vec<i64>, StoreError> {
        let (tenant, session, now) = (tenant.to_owned(), session.to_owned(), now());
        self.commit(Command::PushInputs { tenant, session, payloads, now })?.numbers()
    }

    /// Leases the oldest inputs of a queue that nobody has, until a time.
    pub fn take_inputs(
        &self,
        tenant: &str,
        session: &str,
        limit: usize,
        until: i64,
    ) -> Result<Vec<QueueItem>, StoreError> {
        let (tenant, session, now) = (tenant.to_owned(), session.to_owned(), now());
        self.commit(Command::TakeInputs { tenant, session, limit, now, until })?.inputs()
    }

    /// Removes an input; says whether it was there.
    pub fn remove_input(
        &self,
        tenant: &str,
        session: &str,
        number: i64,
        audit: Option<AuditEvent>,
    ) -> Result<bool, StoreError> {
        let (tenant, session) = (tenant.to_owned(), session.to_owned());
        self.commit(Command::RemoveInput { tenant, session, number, audit })?.flag()
    }

    /// Writes a checkpoint, with new values of its channels and the versions of all, and gives it as it is then: its
    /// writes and its time stay.
    ///
    /// # Errors
    /// [`StoreError::NoBlob`] where there is no value of a channel at its version.
    pub fn put_checkpoint(
        &self,
        key: CheckpointKey,
        expires_at: Option<i64>,
        body: CheckpointBody,
        (blobs, channels): (Vec<Blob>, BTreeMap<String, String>),
    ) -> Result<CheckpointBody, StoreError> {
        self.commit(Command::PutCheckpoint { key, expires_at, body, blobs, channels })?.checkpoint()
    }

    /// Keeps the value of a channel of a thread.
    pub fn put_blob(&self, place: CheckpointPlace, blob: Blob) -> Result<(), StoreError> {
        let [tenant, thread, namespace] = [place.tenant, place.thread, place.namespace].map(str::to_owned);
        self.commit(Command::PutBlob { tenant, thread, namespace, blob })?.done()
    }

    /// Copies the value of a channel to another thread, unless that has it.
    pub fn copy_blob(
        &self,
        from: CheckpointPlace,
        to: &str,
        (channel, version): (String, String),
    ) -> Result<(), StoreError> {
        let [tenant, thread, namespace, to] = [from.tenant, from.thread, from.namespace, to].map(str::to_owned);
        self.commit(Command::CopyBlob { tenant, thread, namespace, channel, version, to })?.done()
    }

    /// Adds what a task has written towards the next checkpoint.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] where all tasks' writes to it have more than `max_bytes` as JSON.
    pub fn put_checkpoint_writes(
        &self,
        key: CheckpointKey,
        task: &str,
        writes: Value,
        max_bytes: usize,
    ) -> Result<(), StoreError> {
        let (task, now) = (task.to_owned(), now());
        self.commit(Command::PutCheckpointWrites { key, task, writes, max_bytes, now })?.done()
    }

    /// Deletes a checkpoint and gives whether it was there.
    pub fn drop_checkpoint(&self, key: CheckpointKey, audit: Option<AuditEvent>) -> Result<bool, StoreError> {
        self.commit(Command::DropCheckpoint { key, audit, now: now() })?.flag()
    }

    /// Deletes a thread's checkpoints, of one namespace or of all, and gives how many there were.
    pub fn drop_checkpoints(
        &self,
        tenant: &str,
        thread: &str,
        namespace: Option<&str>,
        audit: Option<AuditEvent>,
    ) -> Result<usize, StoreError> {
        let (tenant, thread, namespace) = (tenant.to_owned(), thread.to_owned(), namespace.map(str::to_owned));
        self.commit(Command::DropCheckpoints { tenant, thread, namespace, audit })?.count()
    }

    /// Deletes all but the latest `keep` checkpoints of each namespace of a thread, or of one, and gives how many
    /// went.
    pub fn prune_checkpoints(
        &self,
        tenant: &str,
        thread: &str,
        namespace: Option<&str>,
        keep: usize,
        audit: Option<AuditEvent>,
    ) -> Result<usize, StoreError> {
        let (tenant, thread, namespace) = (tenant.to_owned(), thread.to_owned(), namespace.map(str::to_owned));
        self.commit(Command::PruneCheckpoints { tenant, thread, namespace, keep, now: now(), audit })?.count()
    }

    /// Copies checkpoints to another thread, in the place of those that it has by their ids, and gives how many there
    /// were.
    pub fn copy_checkpoints(&self, from: CheckpointPlace, to: &str, ids: Vec<String>) -> Result<usize, StoreError> {
        let [tenant, thread, namespace, to] = [from.tenant, from.thread, from.namespace, to].map(str::to_owned);
        self.commit(Command::CopyCheckpoints { tenant, thread, namespace, ids, to, now: now() })?.count()
    }

    /// Adds to what users have used, each with its tenant.
    pub fn add_usage(&self, usage: Vec<(String, DayUsage)>) -> Result<(), StoreError> {
        self.commit(Command::AddUsage(usage))?.done()
    }

    /// Notes tokens of a user, unless they are over the quota.
    pub fn spend(&self, tokens: Spend) -> Result<Spent, StoreError> {
        self.commit(Command::Spend(tokens))?.spent()
    }

    /// Sets a user's quota, or takes it away.
    pub fn set_quota(
        &self,
        tenant: &str,
        user: &str,
        quota: Option<Quota>,
        audit: AuditEvent,
    ) -> Result<(), StoreError> {
        let (tenant, user) = (tenant.to_owned(), user.to_owned());
        self.commit(Command::SetQuota { tenant, user, quota, audit })?.done()
    }

    /// Deletes what is known of a user's usage.
    pub fn drop_usage(&self, tenant: &str, user: &str) -> Result<(), StoreError> {
        self.commit(Command::DropUsage { tenant: tenant.to_owned(), user: user.to_owned() })?.done()
    }

    /// Writes an entry of the audit log.
    pub fn audit(&self, event: AuditEvent) -> Result<AuditEntry, StoreError> {
        self.commit(Command::Audit(event))?.audited()
    }

    /// Seals rows of a tenant with its newest key. Gives how many, and where to go on.
    pub fn reseal(&self, tenant: &str, from: Resealed, limit: usize) -> Result<(usize, Option<Resealed>), StoreError> {
        self.commit(Command::Reseal { tenant: tenant.to_owned(), from, limit })?.resealed()
    }

    /// Deletes all rows of a tenant, but for the job that does this.
    pub fn drop_tenant(&self, tenant: &str, job: &str) -> Result<(), StoreError> {
        self.commit(Command::DropTenant { tenant: tenant.to_owned(), job: job.to_owned() })?.done()
    }

    /// Inserts jobs, all or none. From then on nothing is written to what they erase.
    pub fn insert_jobs(&self, jobs: Vec<StoredJob>, audit: Option<AuditEvent>) -> Result<(), StoreError> {
        self.commit(Command::InsertJobs { jobs, audit })?.done()
    }

    /// Writes down how far a job is, or how it ended; says whether it was there.
    pub fn put_job(&self, job: &StoredJob) -> Result<bool, StoreError> {
        self.commit(Command::PutJob(Box::new(job.clone())))?.flag()
    }

    /// Deletes ended jobs of a tenant that worked on a user or on the user's own collection, and those that may
    /// quote records. Gives how many there were.
    pub fn forget_jobs(&self, tenant: &str, user: &str, collection: &str) -> Result<usize, StoreError> {
        let [tenant, user, collection] = [tenant, user, collection].map(str::to_owned);
        self.commit(Command::ForgetJobs { tenant, user, collection })?.count()
    }
}
