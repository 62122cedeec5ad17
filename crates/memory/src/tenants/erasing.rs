//! Erasing a user: out of every answer, and out of the files.
//!
//! Nothing is written to the user meanwhile; the store refuses it. A stop may come at any moment: what has to be known
//! after it, such as which files are to be written anew, is written down before the records go that say so.

use super::{PATIENCE, Tenants};
use crate::jobs::Job;
use crate::{MemoryError, now, time_text, user_collection};
use membox_api::ErasureReceipt;
use membox_store::keys::hex;
use membox_store::{DeleteRecords, JobGuard, RecordReads, Selection, StoreError, VersionId};
use std::time::Instant;

/// Records deleted in one commit.
const ERASED_RECORDS: usize = 1000;
/// Passes over a user's records before an erasure gives up on somebody who keeps giving the user records of others.
const MAX_PASSES: usize = 10;

impl Tenants<'_> {
    /// Erases the user of a job. It can be done again from the beginning, whatever a stop has left.
    pub(crate) fn run_erase(&self, actor: &str, job: &Job) -> Result<ErasureReceipt, MemoryError> {
        let begun = || ErasureReceipt { begun_at: time_text(now()), ..ErasureReceipt::default() };
        let mut receipt: ErasureReceipt = job.noted().unwrap_or_else(begun);
        // Without a user, a stop came when the user was gone already.
        if let Some(user) = &job.user {
            receipt.user.clone_from(user);
            if !self.erase_all(actor, job, user, &mut receipt)? {
                job.note(self.store, &receipt)?;
                return Ok(receipt);
            }
            self.forget_questions(&job.tenant);
            self.store.remove_unused_media()?;
            self.store.drop_usage(&job.tenant, user)?;
            self.forget_whom(actor, job, user, &mut receipt)?;
        }
        self.empty_log(job)?;
        receipt.ended_at = time_text(now());
        Ok(receipt)
    }

    /// Takes the user's name out of the job and its receipt, once nothing of the user is left. Writes are taken again
    /// from then on.
    fn forget_whom(&self, actor: &str, job: &Job, user: &str, receipt: &mut ErasureReceipt) -> Result<(), MemoryError> {
        let (subject, own) = (self.audit.user_subject(user)?, user_collection(user));
        self.store.forget_jobs(&job.tenant, user, &own)?;
        let entry = self.audit.audit(&job.tenant, actor, "erased", &subject, receipt.records as u64)?;
        (receipt.audit_number, receipt.audit_hash) = (entry.number, hex(&entry.hash));
        let own_subject = self.audit.collection_subject(&own)?;
        for name in receipt.dropped.iter_mut().chain(&mut receipt.rewritten).filter(|name| **name == own) {
            name.clone_from(&own_subject);
        }
        receipt.user = subject;
        job.forget_whom(self.store, receipt)
    }

    /// Erases a user's sessions and records, and writes the files anew that held them; `false` where the job was told
    /// to stop before.
    fn erase_all(&self, actor: &str, job: &Job, user: &str, receipt: &mut ErasureReceipt) -> Result<bool, MemoryError> {
        for pass in 0.. {
            let before = receipt.sessions;
            self.erase_sessions(actor, job, user, receipt)?;
            let found = self.erase_records(job, user, receipt)?;
            if job.should_stop() {
                return Ok(false);
            }
            if found == 0 && before == receipt.sessions {
                break;
            }
            if pass == MAX_PASSES {
                return Err(MemoryError::impossible(
                    "/user",
                    "somebody keeps writing what is to be erased: stop that first",
                ));
            }
        }
        for name in receipt.rewritten.clone() {
            match self.store.existing(&job.tenant, &name)? {
                Some(collection) => self.rewrite(&collection, job)?,
                // A stop came between its end and the note of it.
                None => is_dropped(receipt, &name),
            }
            if job.should_stop() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn erase_sessions(
        &self,
        actor: &str,
        job: &Job,
        user: &str,
        receipt: &mut ErasureReceipt,
    ) -> Result<(), MemoryError> {
        let tenant = &job.tenant;
        while !job.should_stop() {
            let (sessions, _) = self.sessions.sessions(tenant, Some(user), None, 100)?;
            if sessions.is_empty() {
                return Ok(());
            }
            for session in sessions {
                if job.should_stop() {
                    return Ok(());
                }
                self.will_rewrite(job, &session.collection, receipt)?;
                let queued = self.sessions.queue(tenant, &session.id, None, usize::MAX >> 1)?.len();
                let has_checkpoints = !self.store.read()?.checkpoint_namespaces(tenant, &session.id)?.is_empty();
                if has_checkpoints {
                    receipt.checkpoints += self.store.drop_checkpoints(tenant, &session.id, None, None)?;
                }
                match self.sessions.delete_session(tenant, actor, &session.id) {
                    Ok(messages) => {
                        receipt.records += messages;
                        receipt.queued += queued;
                        receipt.sessions += 1;
                        job.add_done(messages as u64);
                    }
                    // Somebody else was faster.
                    Err(MemoryError::NoSession(_) | MemoryError::Dropped(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Deletes a user's records and gives how many were found: of these, the versions that were read are gone. What
    /// has become somebody else's meanwhile is not, by whatever id.
    fn erase_records(&self, job: &Job, user: &str, receipt: &mut ErasureReceipt) -> Result<usize, MemoryError> {
        let (mut found, tenant) = (0, &job.tenant);
        for (_, name) in self.store.collection_names(Some(tenant)) {
            let Some(collection) = self.store.existing(tenant, &name)? else { continue };
            let mut versions = Vec::new();
            self.store.read()?.records_of_user(collection.id, user, &mut |stored| {
                versions.push(VersionId::from(&stored));
                true
            })?;
            found += versions.len();
            if !versions.is_empty() {
                self.will_rewrite(job, &name, receipt)?;
            }
            for batch in versions.chunks(ERASED_RECORDS) {
                if job.should_stop() {
                    return Ok(found);
                }
                let (collection, which) = (collection.clone(), Selection::Versions(batch.to_vec()));
                let delete = DeleteRecords { collection, which, bump_sessions: true, audit: None };
                receipt.records += match self.store.delete_records(delete) {
                    Err(StoreError::Dropped(_)) => 0,
                    deleted => deleted?,
                };
                job.add_done(batch.len() as u64);
            }
            let is_own = name == user_collection(user) && self.store.read()?.count(collection.id)? == 0;
            if is_own {
                // A job on it would write into the folder that goes.
                let begun = Instant::now();
                let _guard = JobGuard::wait(&collection, || begun.elapsed() < PATIENCE && !job.should_stop())?;
                match self.store.drop_collection(&collection, true, None) {
                    // Somebody has written to it since, which the next pass looks at.
                    Ok(false) => continue,
                    // Or somebody else was faster.
                    Ok(true) | Err(StoreError::NoCollection(_)) => is_dropped(receipt, &name),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(found)
    }

    /// Writes down that a collection's files are to be written anew, before anything of it is deleted.
    fn will_rewrite(&self, job: &Job, name: &str, receipt: &mut ErasureReceipt) -> Result<(), MemoryError> {
        if add_name(&mut receipt.rewritten, name) {
            job.note(self.store, receipt)?;
        }
        Ok(())
    }
}

/// Notes in a receipt that a collection is gone, whose files need not be written anew.
fn is_dropped(receipt: &mut ErasureReceipt, name: &str) {
    receipt.rewritten.retain(|other| other != name);
    add_name(&mut receipt.dropped, name);
}

/// Adds a name; says whether it was not there.
fn add_name(names: &mut Vec<String>, name: &str) -> bool {
    let is_new = !names.iter().any(|known| known == name);
    if is_new {
        names.push(name.to_owned());
    }
    is_new
}
