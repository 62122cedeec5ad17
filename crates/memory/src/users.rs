//! All that is remembered of a user: given out whole, or gone whole, from the files too.

use crate::jobs::Job;
use crate::names::{Owner, owner_of};
use crate::views::{message_view, record_view};
use crate::{MemoryBox, MemoryError, now, time_text, user_collection};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use membox_api::{AuditView, CollectionSettings, ErasureReceipt, JobView};
use membox_store::keys::hex;
use membox_store::{
    AuditEntry, AuditEvent, CheckpointPlace, Collection, DeleteRecords, JobGuard, Range, RecordReads, Selection,
    Snapshot, StoreError, StoredRecord, VersionId,
};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Records deleted in one commit.
const ERASED_RECORDS: usize = 1000;
/// Passes over a user's records before an erasure gives up on somebody who keeps writing them.
const MAX_PASSES: usize = 10;
/// How long an erasure waits for other work on a collection, and for readers of the log that is to be emptied.
const PATIENCE: Duration = Duration::from_secs(600);

/// An entry of the audit log as it is given out.
fn audit_view(entry: AuditEntry) -> AuditView {
    let AuditEvent { at, actor, action, subject, count, .. } = entry.event;
    AuditView { number: entry.number, at: time_text(at), actor, action, subject, count, hash: hex(&entry.hash) }
}

/// What somebody does now, to be noted with it.
pub(crate) fn event(tenant: &str, actor: &str, action: &str, subject: &str) -> AuditEvent {
    let [tenant, actor, action, subject] = [tenant, actor, action, subject].map(str::to_owned);
    AuditEvent { at: now(), tenant, actor, action, subject, count: 0 }
}

/// How a session's lines are written in an export: since 2, its archived messages are among them.
const EXPORT_FORMAT: u32 = 2;

impl MemoryBox {
    /// Notes in the audit log what was done.
    pub fn audit(
        &self,
        tenant: &str,
        actor: &str,
        action: &str,
        subject: &str,
        count: u64,
    ) -> Result<AuditEntry, MemoryError> {
        let event = AuditEvent { count, ..event(tenant, actor, action, subject) };
        Ok(self.store().audit(event)?)
    }

    /// A tenant's entries of the audit log after a number, oldest first.
    pub fn audit_log(&self, tenant: &str, after: i64, limit: usize) -> Result<Vec<AuditView>, MemoryError> {
        Ok(self.read()?.audit(tenant, after, limit)?.into_iter().map(audit_view).collect())
    }

    /// How the audit log names a collection: a user's own as the user, whom an erasure leaves no trace of.
    pub(crate) fn collection_subject(&self, name: &str) -> Result<String, MemoryError> {
        match owner_of(name) {
            Owner::User(user) => self.user_subject(user),
            // The hash of one user's name may be the name of another one.
            Owner::Hashed => Ok(format!("collection:{}", &self.box_key().digest(&format!("collection/{name}"))?[..32])),
            Owner::None => Ok(name.to_owned()),
        }
    }

    /// How the audit log names a user.
    fn user_subject(&self, user: &str) -> Result<String, MemoryError> {
        Ok(format!("user:{}", &self.box_key().digest(&format!("user/{user}"))?[..32]))
    }

    /// Gives out, a JSON object each, all that is remembered of a user: sessions with their messages, queues and checkpoints, and records. `each` says
    /// whether to go on.
    pub fn export_user(
        &self,
        tenant: &str,
        actor: &str,
        user: &str,
        each: &mut dyn FnMut(Value) -> bool,
    ) -> Result<(), MemoryError> {
        let mut count = 0;
        let mut give = |value: Value| {
            count += 1;
            each(value)
        };
        let (mut before, mut given_out) = (None, HashSet::new());
        loop {
            let (sessions, next) = self.sessions(tenant, Some(user), before, 100)?;
            for session in sessions {
                let id = session.id.clone();
                let stored = match self.stored_session(tenant, &id) {
                    // It has been deleted since.
                    Err(MemoryError::NoSession(_)) => continue,
                    stored => stored?,
                };
                if !give(json!({"type": "session", "session": session, "format": EXPORT_FORMAT})) {
                    return Ok(());
                }
                let (mut goes_on, mut failed) = (true, Vec::new());
                let collection = self.store().collection_by_id(stored.collection)?;
                // In the order in which they were said: who appends them again has the same list, and archives the same ones.
                for range in [Range::Archived, Range::After(-1)] {
                    self.read()?.messages(stored.collection, &id, range, &mut |message| {
                        let media = collection.as_ref().map_or(Ok(None), |own| self.media_of(own, &message.record));
                        let media = media.map_err(|error| (message.record.id.clone(), error));
                        let mut line = json!({"type": "message", "session": id, "message": message_view(message)});
                        if range == Range::Archived {
                            line["archived"] = json!(true);
                        }
                        goes_on = give_with(&mut give, line, media, &mut failed);
                        goes_on
                    })?;
                    self.check_failed(stored.collection, std::mem::take(&mut failed))?;
                    if !goes_on {
                        return Ok(());
                    }
                }
                given_out.insert(id.clone());
                for item in self.queue(tenant, &id, None, usize::MAX >> 1)? {
                    goes_on = goes_on && give(json!({"type": "queued", "session": id, "item": item}));
                }
                for checkpoint in self.all_checkpoints(tenant, &id)? {
                    goes_on = goes_on && give(json!({"type": "checkpoint", "checkpoint": checkpoint}));
                }
                if !goes_on {
                    return Ok(());
                }
            }
            before = next;
            if before.is_none() {
                break;
            }
        }
        for (_, name) in self.store().collection_names(Some(tenant)) {
            let Some(collection) = self.store().existing(tenant, &name)? else { continue };
            let (mut goes_on, mut failed) = (true, Vec::new());
            let reads = self.read()?;
            reads.records_of_user(collection.id, user, &mut |stored| {
                // Messages were given out with their session.
                let session = stored.record.session.as_ref().filter(|_| stored.record.message.is_some());
                if session.is_none_or(|session| !given_out.contains(session)) {
                    let media = self.media_of(&collection, &stored.record);
                    let media = media.map_err(|error| (stored.record.id.clone(), error));
                    let message = stored.record.message.is_some().then(|| message_view(stored.clone()));
                    let snapshot = reads.snapshot(&collection, None);
                    let vector = snapshot.ok().and_then(|snapshot| given_vector(&snapshot, &stored));
                    let mut line = json!({"type": "record", "collection": name, "record": record_view(stored)});
                    if let Some(message) = message {
                        line["message"] = json!(message);
                    }
                    if let Some(vector) = vector {
                        // A collection of vectors that the model did not make has to be made for them.
                        let CollectionSettings { vector_type, metric, .. } = collection.settings();
                        let dimension = collection.dimension();
                        let made = json!({"dimension": dimension, "vector_type": vector_type, "metric": metric});
                        (line["vector"], line["settings"]) = (json!(vector), made);
                    }
                    goes_on = give_with(&mut give, line, media, &mut failed);
                }
                goes_on
            })?;
            drop(reads);
            self.check_failed(collection.id, failed)?;
            if !goes_on {
                return Ok(());
            }
        }
        for day in self.usage(tenant, Some(user), Some("0000-01-01"), None, usize::MAX >> 1)? {
            if !give(json!({"type": "usage", "usage": day})) {
                return Ok(());
            }
        }
        self.audit(tenant, actor, "export", &self.user_subject(user)?, count)?;
        Ok(())
    }

    /// Why files could not be given out, unless their records have been deleted since.
    fn check_failed(&self, collection: i64, failed: Vec<(String, MemoryError)>) -> Result<(), MemoryError> {
        for (id, error) in failed {
            if !error.is_missing_file() || self.read()?.record(collection, &id)?.is_some() {
                return Err(error);
            }
        }
        Ok(())
    }

    fn all_checkpoints(&self, tenant: &str, thread: &str) -> Result<Vec<Value>, MemoryError> {
        let mut all = Vec::new();
        for namespace in self.read()?.checkpoint_namespaces(tenant, thread)? {
            let place = CheckpointPlace { tenant, thread, namespace: &namespace };
            // The latest last: written again in this order, it is the latest again. Then writes whose checkpoints have not come yet.
            let there = self.read()?.checkpoints(place, None, usize::MAX >> 1, now())?;
            let awaited = self.read()?.awaited_checkpoints(place)?;
            let there = there.into_iter().rev().map(|checkpoint| (checkpoint, false));
            for (found, is_awaited) in there.chain(awaited.into_iter().map(|checkpoint| (checkpoint, true))) {
                let (id, body) = (found.id, found.body);
                let mut line = json!({"thread": thread, "namespace": namespace, "id": id, "checkpoint": body});
                match found.expires_at {
                    _ if is_awaited => line["awaited"] = json!(true),
                    Some(expires_at) => line["expires_at"] = json!(time_text(expires_at)),
                    None => {}
                }
                all.push(line);
            }
        }
        Ok(all)
    }

    /// Begins to erase all that is remembered of a user. When the job is done, nothing of it is in any file of the data folder, and its result is the receipt.
    pub fn erase_user(self: &Arc<Self>, tenant: &str, actor: &str, user: &str) -> Result<JobView, MemoryError> {
        if user.is_empty() {
            return Err(MemoryError::invalid("/user", "a user's id is wanted"));
        }
        self.audit(tenant, actor, "erase begun", &self.user_subject(user)?, 0)?;
        let (tenant, actor, user) = (tenant.to_owned(), actor.to_owned(), user.to_owned());
        let job = self.jobs().begin("erase", &tenant, None);
        self.run_job(job, move |memory, job| {
            let receipt = memory.run_erase(&tenant, &actor, &user, job)?;
            Ok(serde_json::to_value(receipt).ok())
        })
    }

    fn run_erase(&self, tenant: &str, actor: &str, user: &str, job: &Job) -> Result<ErasureReceipt, MemoryError> {
        let mut receipt =
            ErasureReceipt { user: user.to_owned(), begun_at: time_text(now()), ..ErasureReceipt::default() };
        for pass in 0.. {
            let before = receipt.sessions;
            self.erase_sessions(tenant, actor, user, &mut receipt)?;
            let found = self.erase_records(tenant, user, &mut receipt, job)?;
            if job.is_cancelled() || found == 0 && before == receipt.sessions {
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
            if let Some(collection) = self.store().existing(tenant, &name)? {
                self.rewrite(&collection, job)?;
            }
        }
        if job.is_cancelled() {
            return Ok(receipt);
        }
        self.forget_questions(tenant);
        self.store().remove_unused_media()?;
        self.store().drop_usage(tenant, user)?;
        let subject = self.user_subject(user)?;
        let entry = self.audit(tenant, actor, "erased", &subject, receipt.records as u64)?;
        self.empty_log()?;
        (receipt.audit_number, receipt.audit_hash) = (entry.number, hex(&entry.hash));
        receipt.ended_at = time_text(now());
        Ok(receipt)
    }

    fn erase_sessions(
        &self,
        tenant: &str,
        actor: &str,
        user: &str,
        receipt: &mut ErasureReceipt,
    ) -> Result<(), MemoryError> {
        loop {
            let (sessions, _) = self.sessions(tenant, Some(user), None, 100)?;
            if sessions.is_empty() {
                return Ok(());
            }
            for session in sessions {
                receipt.queued += self.queue(tenant, &session.id, None, usize::MAX >> 1)?.len();
                receipt.checkpoints += self.delete_checkpoints(tenant, &session.id)?;
                add_name(&mut receipt.rewritten, &session.collection);
                match self.delete_session(tenant, actor, &session.id) {
                    Ok(messages) => {
                        receipt.records += messages;
                        receipt.sessions += 1;
                    }
                    // Somebody else was faster.
                    Err(MemoryError::NoSession(_) | MemoryError::Dropped(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// Deletes a user's records and gives how many were found: of these, the versions that were read are gone. What has become somebody else's meanwhile is
    /// not, by whatever id.
    fn erase_records(
        &self,
        tenant: &str,
        user: &str,
        receipt: &mut ErasureReceipt,
        job: &Job,
    ) -> Result<usize, MemoryError> {
        let mut found = 0;
        for (_, name) in self.store().collection_names(Some(tenant)) {
            let Some(collection) = self.store().existing(tenant, &name)? else { continue };
            let mut versions = Vec::new();
            self.read()?.records_of_user(collection.id, user, &mut |stored| {
                versions.push(VersionId::from(&stored));
                true
            })?;
            found += versions.len();
            for batch in versions.chunks(ERASED_RECORDS) {
                let (collection, which) = (collection.clone(), Selection::Versions(batch.to_vec()));
                let delete = DeleteRecords { collection, which, bump_sessions: true, audit: None };
                receipt.records += match self.store().delete_records(delete) {
                    Err(StoreError::Dropped(_)) => 0,
                    deleted => deleted?,
                };
                job.add_done(batch.len() as u64);
            }
            if !versions.is_empty() {
                add_name(&mut receipt.rewritten, &name);
            }
            let is_own = name == user_collection(user) && self.read()?.count(collection.id)? == 0;
            if is_own {
                // A job on it would write into the folder that goes.
                let begun = std::time::Instant::now();
                let _guard = JobGuard::wait(&collection, || begun.elapsed() < PATIENCE && !job.is_cancelled())?;
                match self.store().drop_collection(&collection, true, None) {
                    // Somebody has written to it since, which the next pass looks at.
                    Ok(false) => continue,
                    // Or somebody else was faster.
                    Ok(true) | Err(StoreError::NoCollection(_)) => {}
                    Err(error) => return Err(error.into()),
                }
                receipt.rewritten.retain(|other| *other != name);
                add_name(&mut receipt.dropped, &name);
            }
        }
        Ok(found)
    }

    /// Writes a collection's files anew, without what is no longer current.
    pub(crate) fn rewrite(&self, collection: &Arc<Collection>, job: &Job) -> Result<(), MemoryError> {
        let begun = std::time::Instant::now();
        let guard = JobGuard::wait(collection, || begun.elapsed() < PATIENCE && !job.is_cancelled())?;
        Ok(self.store().compact(&guard, collection, &mut |_| !job.is_cancelled())?)
    }

    /// Empties the write-ahead log, which holds older states of the pages.
    pub(crate) fn empty_log(&self) -> Result<(), MemoryError> {
        let begun = std::time::Instant::now();
        while !self.store().empty_log()? {
            if begun.elapsed() > PATIENCE {
                return Err(MemoryError::Overloaded { retry_after_s: 60 });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// Goes along the audit logs of a data folder, also of one that a running box has open. Gives for each tenant how many entries there are, and the last
/// hash.
pub fn verify_audit(root: &Path) -> Result<Vec<(String, u64, String)>, MemoryError> {
    let chains = membox_store::verify_audit(root)?;
    Ok(chains.into_iter().map(|(tenant, count, last)| (tenant, count, hex(&last))).collect())
}

/// The vector of a record that was given with it, as little-endian f32 in base64; of others it can be had from their text. A damaged one is no
/// vector of it.
fn given_vector(snapshot: &Snapshot, stored: &StoredRecord) -> Option<String> {
    let is_given = stored.record.given_vector && stored.record.message.is_none();
    let vector = snapshot.vector(snapshot.locate(stored).filter(|_| is_given)?);
    Some(STANDARD.encode(vector.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>()))
}

/// Gives out a line with the file that goes with it, and says whether to go on. One whose file is missing is left out.
fn give_with(
    give: &mut dyn FnMut(Value) -> bool,
    mut line: Value,
    media: Result<Option<String>, (String, MemoryError)>,
    failed: &mut Vec<(String, MemoryError)>,
) -> bool {
    match media {
        Ok(None) => give(line),
        Ok(Some(media)) => {
            line["media"] = json!(media);
            give(line)
        }
        Err((id, error)) => {
            let goes_on = error.is_missing_file();
            failed.push((id, error));
            goes_on
        }
    }
}

fn add_name(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
}
