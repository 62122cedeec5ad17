//! Deleting what has expired.

use super::Maintenance;
use crate::command::{Command, DeleteRecords, Selection, VersionId, event_of_box};
use crate::writer::Work;
use crate::{StoreError, day, now};

/// Expired records deleted in one go.
const SWEEP_ROWS: usize = 4096;
/// Days of which usage is kept.
const KEPT_DAYS: i64 = 90;
/// Days for which jobs that have ended are kept, with what they came to.
const KEPT_JOB_DAYS: i64 = 30;

impl Maintenance {
    /// Overwrites what somebody still looked at when it died, makes vectors of tokens durable, and deletes records
    /// whose time has come.
    pub(crate) fn sweep(&self) -> Result<(), StoreError> {
        for collection in self.registry.opened() {
            self.registry.erase_unseen(&collection);
            collection.sync_tokens();
        }
        if self.registry.reserve.is_spent() {
            // The writer looks for room with it, also when nobody writes.
            self.writer.ask(|reply| Work::EmptyLog { reply })?;
        }
        let mut swept = self.sweep_tables();
        if let Err(error) = &swept {
            tracing::warn!(%error, "recalls are not counted, and expired checkpoints, old usage and old jobs are \
                not removed yet");
        }
        let ids = self.registry.reader()?.collections_with_expired(now())?;
        for id in ids {
            if let Err(error) = self.sweep_records(id) {
                tracing::warn!(collection = id, %error, "expired records are not removed yet; no recall returns them");
                swept = Err(error);
            }
        }
        swept
    }

    /// Deletes records of a collection whose time has come.
    fn sweep_records(&self, collection: i64) -> Result<(), StoreError> {
        let Some(collection) = self.registry.by_id(collection)? else { return Ok(()) };
        let expired = collection.state().expired(now(), SWEEP_ROWS);
        if expired.is_empty() {
            return Ok(());
        }
        let audit = Some(event_of_box(&collection.tenant, "expire records"));
        let which = Selection::Versions(expired.into_iter().map(VersionId).collect());
        let delete = DeleteRecords { collection, which, bump_sessions: false, audit };
        match self.writer.commit(Command::DeleteRecords(delete)) {
            Ok(_) | Err(StoreError::Dropped(_) | StoreError::Moved(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn sweep_tables(&self) -> Result<(), StoreError> {
        // They can wait for room; what is removed makes some.
        if !self.registry.reserve.is_spent() {
            self.registry.recall_counts.write(&self.writer)?;
        }
        let now = now();
        if self.registry.reader()?.has_unused_media(now)? {
            self.writer.commit(Command::RemoveUnusedMedia)?;
        }
        if self.registry.reader()?.has_expired_checkpoints(now)? {
            self.writer.commit(Command::DropExpiredCheckpoints { now })?;
        }
        let oldest = day(now - KEPT_DAYS * 24 * 3600 * 1000);
        if self.registry.reader()?.has_usage_before(&oldest)? {
            self.writer.commit(Command::DropUsageBefore(oldest))?;
        }
        let oldest = now - KEPT_JOB_DAYS * 24 * 3600 * 1000;
        if self.registry.reader()?.has_jobs_ended_before(oldest)? {
            self.writer.commit(Command::DropJobsEndedBefore(oldest))?;
        }
        Ok(())
    }
}
