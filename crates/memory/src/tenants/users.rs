//! All that is remembered of a user, given out whole.

use super::Tenants;
use crate::views::{message_view, record_view};
use crate::{MemoryError, now, time_text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use membox_api::{CollectionSettings, SessionView};
use membox_store::{CheckpointPlace, Collection, Range, RecordReads, Snapshot, StoredRecord};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;

/// How a session's lines are written in an export: since 2, its archived messages are among them.
const EXPORT_FORMAT: u32 = 2;

impl Tenants<'_> {
    /// Gives out, a JSON object each, all that is remembered of a user: sessions with their messages, queues and
    /// checkpoints, and records. `each` says whether to go on.
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
            let (sessions, next) = self.sessions.sessions(tenant, Some(user), before, 100)?;
            for session in sessions {
                match self.export_session(tenant, &session, &mut give)? {
                    // It has been deleted since.
                    None => continue,
                    Some(true) => given_out.insert(session.id),
                    Some(false) => return Ok(()),
                };
            }
            before = next;
            if before.is_none() {
                break;
            }
        }
        for (_, name) in self.store.collection_names(Some(tenant)) {
            let Some(collection) = self.store.existing(tenant, &name)? else { continue };
            if !self.export_records(&collection, user, &given_out, &mut give)? {
                return Ok(());
            }
        }
        for day in self.usage.usage(tenant, Some(user), Some("0000-01-01"), None, usize::MAX >> 1)? {
            if !give(json!({"type": "usage", "usage": day})) {
                return Ok(());
            }
        }
        self.audit.audit(tenant, actor, "export", &self.audit.user_subject(user)?, count)?;
        Ok(())
    }

    /// Gives out a session with its messages, its queue and its checkpoints, and says whether to go on; `None` where
    /// it is gone.
    fn export_session(
        &self,
        tenant: &str,
        session: &SessionView,
        give: &mut dyn FnMut(Value) -> bool,
    ) -> Result<Option<bool>, MemoryError> {
        let id = &session.id;
        let stored = match self.sessions.stored_session(tenant, id) {
            Err(MemoryError::NoSession(_)) => return Ok(None),
            stored => stored?,
        };
        if !give(json!({"type": "session", "session": session, "format": EXPORT_FORMAT})) {
            return Ok(Some(false));
        }
        let (mut goes_on, mut failed) = (true, Vec::new());
        let collection = self.store.collection_by_id(stored.collection)?;
        // In the order in which they were said: who appends them again has the same list, and archives the same ones.
        for range in [Range::Archived, Range::After(-1)] {
            self.store.read()?.messages(stored.collection, id, range, &mut |message| {
                let media = collection.as_ref().map_or(Ok(None), |own| self.media.media_of(own, &message.record));
                let media = media.map_err(|error| (message.record.id.clone(), error));
                let mut line = json!({"type": "message", "session": id, "message": message_view(message)});
                if range == Range::Archived {
                    line["archived"] = json!(true);
                }
                goes_on = give_with(give, line, media, &mut failed);
                goes_on
            })?;
            self.check_failed(stored.collection, std::mem::take(&mut failed))?;
            if !goes_on {
                return Ok(Some(false));
            }
        }
        for item in self.sessions.queue(tenant, id, None, usize::MAX >> 1)? {
            goes_on = goes_on && give(json!({"type": "queued", "session": id, "item": item}));
        }
        for checkpoint in self.all_checkpoints(tenant, id)? {
            goes_on = goes_on && give(json!({"type": "checkpoint", "checkpoint": checkpoint}));
        }
        Ok(Some(goes_on))
    }

    /// Gives out a user's records, but for messages of sessions that were given out, and says whether to go on.
    fn export_records(
        &self,
        collection: &Arc<Collection>,
        user: &str,
        given_out: &HashSet<String>,
        give: &mut dyn FnMut(Value) -> bool,
    ) -> Result<bool, MemoryError> {
        let (mut goes_on, mut failed) = (true, Vec::new());
        let reads = self.store.read()?;
        reads.records_of_user(collection.id, user, &mut |stored| {
            let session = stored.record.session.as_ref().filter(|_| stored.record.message.is_some());
            if session.is_some_and(|session| given_out.contains(session)) {
                return true;
            }
            let media = self.media.media_of(collection, &stored.record);
            let media = media.map_err(|error| (stored.record.id.clone(), error));
            let message = stored.record.message.is_some().then(|| message_view(stored.clone()));
            let snapshot = reads.snapshot(collection, None);
            let vector = snapshot.ok().and_then(|snapshot| given_vector(&snapshot, &stored));
            let mut line = json!({"type": "record", "collection": collection.name, "record": record_view(stored)});
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
            goes_on = give_with(give, line, media, &mut failed);
            goes_on
        })?;
        drop(reads);
        self.check_failed(collection.id, failed)?;
        Ok(goes_on)
    }

    /// Why files could not be given out, unless their records have been deleted since.
    fn check_failed(&self, collection: i64, failed: Vec<(String, MemoryError)>) -> Result<(), MemoryError> {
        for (id, error) in failed {
            if !error.is_missing_file() || self.store.read()?.record(collection, &id)?.is_some() {
                return Err(error);
            }
        }
        Ok(())
    }

    fn all_checkpoints(&self, tenant: &str, thread: &str) -> Result<Vec<Value>, MemoryError> {
        let mut all = Vec::new();
        for namespace in self.store.read()?.checkpoint_namespaces(tenant, thread)? {
            let place = CheckpointPlace { tenant, thread, namespace: &namespace };
            // The latest last: written again in this order, it is the latest again. Then writes whose checkpoints
            // have not come yet.
            let there = self.store.read()?.checkpoints(place, None, usize::MAX >> 1, now())?;
            let awaited = self.store.read()?.awaited_checkpoints(place)?;
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
}

/// The vector of a record that was given with it, as little-endian f32 in base64; of others it can be had from
/// their text. A damaged one is no vector of it.
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
