//! All that is remembered of a user, given out whole, and a part at a time: between two parts an export holds no
//! reader, no lock and no thread, so a client may take as long as it likes over them.
//!
//! An export is of no single moment. What is there from its beginning to its end is in it; what is written or deleted
//! meanwhile may be, or not.

use super::Tenants;
use crate::views::{message_view, record_view};
use crate::{MemoryError, now, time_text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use membox_api::{CollectionSettings, UsageView};
use membox_store::{CheckpointPlace, Collection, OpaqueJson, RecordReads, Snapshot, StoredRecord, StoredSession};
use membox_threads::budget;
use serde_json::{Value, json};
use std::collections::HashSet;

/// How a session's lines are written in an export: since 2, its archived messages are among them.
const EXPORT_FORMAT: u32 = 2;
/// Bytes after which a part ends.
const PART_BYTES: usize = 64 << 10;
/// Sessions, and inputs of a queue, that are read at a time.
const PAGE: usize = 16;

/// An export under way. What is left to do lies on a stack, the next step on top.
#[derive(Debug)]
pub struct Export {
    tenant: String,
    actor: String,
    user: String,
    steps: Vec<Step>,
    /// Sessions whose messages were given out: they are not given out again as records.
    given_out: HashSet<String>,
    lines: u64,
}

/// One kind of line, and how far it has come.
#[derive(Debug)]
enum Step {
    /// Sessions, newest first, from before a number on.
    Sessions(Option<i64>),
    Session(String),
    /// Messages of a session from a place on.
    Messages(StoredSession, i64),
    /// A session's queue after an input.
    Queue(String, Option<String>),
    /// Checkpoints of a thread, in all its namespaces.
    Thread(String),
    /// Blobs of a namespace, by channel and version; the last one is the next.
    Blobs {
        thread: String,
        namespace: String,
        left: Vec<(String, String)>,
    },
    /// Checkpoints of a namespace by their ids; the last one is the next.
    Checkpoints {
        thread: String,
        namespace: String,
        ids: Vec<String>,
    },
    /// Writes whose checkpoints have not come.
    Awaited {
        thread: String,
        namespace: String,
    },
    Collection(String),
    /// Records of a collection by their numbers; the last one is the next.
    Records {
        name: String,
        collection: i64,
        numbers: Vec<i64>,
    },
    Usage,
    /// Days of usage that are left; the last one is the next.
    Days(Vec<UsageView>),
}

/// Lines of an export, each a JSON object.
#[derive(Debug, Default)]
struct Part {
    bytes: Vec<u8>,
    lines: u64,
}

impl Part {
    /// Appends a line and says whether there is room for more.
    fn push(&mut self, line: &Value) -> bool {
        self.push_with(line, None)
    }

    /// As [`Self::push`], with a payload as it is written: no value holds every number.
    fn push_with(&mut self, line: &Value, payload: Option<&OpaqueJson>) -> bool {
        let mut text = line.to_string();
        if let Some(payload) = payload {
            text.truncate(text.len() - 1);
            text = format!("{text},\"payload\":{}}}", payload.as_str());
        }
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(b'\n');
        self.lines += 1;
        !self.is_full()
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= PART_BYTES
    }
}

impl Export {
    /// Of all that is remembered of a user: sessions with their messages, queues and checkpoints, then records, then
    /// usage.
    pub fn of(tenant: &str, actor: &str, user: &str) -> Self {
        let [tenant, actor, user] = [tenant, actor, user].map(str::to_owned);
        let steps = vec![Step::Sessions(None)];
        Self { tenant, actor, user, steps, given_out: HashSet::new(), lines: 0 }
    }

    /// Lines that were given out.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    fn place<'a>(&'a self, thread: &'a str, namespace: &'a str) -> CheckpointPlace<'a> {
        CheckpointPlace { tenant: &self.tenant, thread, namespace }
    }
}

impl Tenants<'_> {
    /// The next lines of an export, whole ones: some 64 KiB, or more where one line is longer. `None` at the end.
    pub fn next_part(&self, export: &mut Export) -> Result<Option<Vec<u8>>, MemoryError> {
        let mut part = Part::default();
        while !part.is_full()
            && let Some(step) = export.steps.pop()
        {
            budget::check()?;
            self.give(export, step, &mut part)?;
        }
        export.lines += part.lines;
        Ok((part.lines > 0).then_some(part.bytes))
    }

    /// Notes in the audit log what an export has given out, when it ends or is broken off.
    pub fn end_export(&self, export: &Export) -> Result<(), MemoryError> {
        let action = if export.steps.is_empty() { "export" } else { "export broken off" };
        let subject = self.audit.user_subject(&export.user)?;
        self.audit.audit(&export.tenant, &export.actor, action, &subject, export.lines)?;
        Ok(())
    }

    /// Does a step as far as the part has room, and puts what is left of it, and what follows from it, on the stack.
    fn give(&self, export: &mut Export, step: Step, part: &mut Part) -> Result<(), MemoryError> {
        match step {
            Step::Sessions(before) => {
                let (sessions, next) = self.sessions.sessions(&export.tenant, Some(&export.user), before, PAGE)?;
                match next {
                    Some(_) => export.steps.push(Step::Sessions(next)),
                    None => {
                        let names = self.store.collection_names(Some(&export.tenant)).into_iter();
                        export.steps.push(Step::Usage);
                        export.steps.extend(names.rev().map(|(_, name)| Step::Collection(name)));
                    }
                }
                export.steps.extend(sessions.into_iter().rev().map(|session| Step::Session(session.id)));
                Ok(())
            }
            Step::Session(id) => self.give_session(export, id, part),
            Step::Messages(session, place) => self.give_messages(export, session, place, part),
            Step::Queue(session, after) => self.give_queue(export, session, after.as_deref(), part),
            Step::Thread(thread) => self.list_checkpoints(export, &thread),
            Step::Blobs { thread, namespace, left } => self.give_blobs(export, thread, namespace, left, part),
            Step::Checkpoints { thread, namespace, ids } => self.give_checkpoints(export, thread, namespace, ids, part),
            Step::Awaited { thread, namespace } => {
                for awaited in self.store.read()?.awaited_checkpoints(export.place(&thread, &namespace))? {
                    let (id, body) = (awaited.id, awaited.body);
                    let line = json!({
                        "thread": thread, "namespace": namespace, "id": id, "checkpoint": body, "awaited": true
                    });
                    part.push(&json!({"type": "checkpoint", "checkpoint": line}));
                }
                Ok(())
            }
            Step::Collection(name) => {
                let Some(collection) = self.store.existing(&export.tenant, &name)? else { return Ok(()) };
                let mut numbers = self.store.read()?.numbers_of_user(collection.id, &export.user)?;
                numbers.reverse();
                export.steps.push(Step::Records { name, collection: collection.id, numbers });
                Ok(())
            }
            Step::Records { name, collection, numbers } => self.give_records(export, name, collection, numbers, part),
            Step::Usage => {
                let (tenant, user) = (&export.tenant, Some(export.user.as_str()));
                let mut days = self.usage.usage(tenant, user, Some("0000-01-01"), None, usize::MAX >> 1)?;
                days.reverse();
                export.steps.push(Step::Days(days));
                Ok(())
            }
            Step::Days(mut days) => {
                while !part.is_full()
                    && let Some(day) = days.pop()
                {
                    part.push(&json!({"type": "usage", "usage": day}));
                }
                if !days.is_empty() {
                    export.steps.push(Step::Days(days));
                }
                Ok(())
            }
        }
    }

    fn give_session(&self, export: &mut Export, id: String, part: &mut Part) -> Result<(), MemoryError> {
        let there = self.sessions.stored_session(&export.tenant, &id);
        let found = there.and_then(|stored| Ok((self.sessions.session(&export.tenant, &id)?, stored)));
        let (view, stored) = match found {
            // It has been deleted since it was listed.
            Err(MemoryError::NoSession(_)) => return Ok(()),
            found => found?,
        };
        part.push(&json!({"type": "session", "session": view, "format": EXPORT_FORMAT}));
        export.given_out.insert(id.clone());
        export.steps.push(Step::Thread(id.clone()));
        export.steps.push(Step::Queue(id, None));
        export.steps.push(Step::Messages(stored, 0));
        Ok(())
    }

    /// In the order in which they were said: who appends them again has the same list, and archives the same ones.
    fn give_messages(
        &self,
        export: &mut Export,
        session: StoredSession,
        place: i64,
        part: &mut Part,
    ) -> Result<(), MemoryError> {
        let Some(collection) = self.store.collection_by_id(session.collection)? else { return Ok(()) };
        let (mut next, mut failed) = (None, Vec::new());
        let reads = self.store.read()?;
        let is_same = |now: StoredSession| now.number == session.number;
        if !reads.session(&export.tenant, &session.id)?.is_some_and(is_same) {
            return Ok(());
        }
        reads.messages_from(session.collection, &session.id, place, &mut |mut message| {
            let payload = message.record.payload.take();
            let Some(said) = &message.record.message else { return true };
            let (after, is_archived) = (said.place().saturating_add(1), !said.is_listed());
            let media = self.media_of(&collection, &message, &mut failed);
            let mut line = json!({"type": "message", "session": session.id, "message": message_view(message)});
            if is_archived {
                line["archived"] = json!(true);
            }
            let goes_on = give_with(part, line, media, payload.as_ref()) && failed.is_empty();
            next = (!goes_on).then_some(after);
            goes_on
        })?;
        drop(reads);
        self.check_failed(session.collection, failed)?;
        if let Some(place) = next {
            export.steps.push(Step::Messages(session, place));
        }
        Ok(())
    }

    fn give_queue(
        &self,
        export: &mut Export,
        session: String,
        after: Option<&str>,
        part: &mut Part,
    ) -> Result<(), MemoryError> {
        let items = self.sessions.queue(&export.tenant, &session, after, PAGE)?;
        let last = items.last().filter(|_| items.len() == PAGE).map(|item| item.id.clone());
        for item in items {
            part.push(&json!({"type": "queued", "session": session, "item": item}));
        }
        if last.is_some() {
            export.steps.push(Step::Queue(session, last));
        }
        Ok(())
    }

    /// Puts a thread's checkpoints on the stack. The latest is given out last: written again in this order, it is the
    /// latest again. Then writes whose checkpoints have not come yet.
    fn list_checkpoints(&self, export: &mut Export, thread: &str) -> Result<(), MemoryError> {
        let reads = self.store.read()?;
        for namespace in reads.checkpoint_namespaces(&export.tenant, thread)?.into_iter().rev() {
            let ids = reads.checkpoint_ids(export.place(thread, &namespace), now())?;
            let mut left = reads.blobs(export.place(thread, &namespace))?;
            left.reverse();
            let thread = thread.to_owned();
            let blobs = Step::Blobs { thread: thread.clone(), namespace: namespace.clone(), left };
            export.steps.push(Step::Awaited { thread: thread.clone(), namespace: namespace.clone() });
            export.steps.push(Step::Checkpoints { thread, namespace, ids });
            // Before the checkpoints that have them.
            export.steps.push(blobs);
        }
        Ok(())
    }

    fn give_blobs(
        &self,
        export: &mut Export,
        thread: String,
        namespace: String,
        mut left: Vec<(String, String)>,
        part: &mut Part,
    ) -> Result<(), MemoryError> {
        let reads = self.store.read()?;
        while !part.is_full()
            && let Some((channel, version)) = left.pop()
        {
            let Some(blob) = reads.blob(export.place(&thread, &namespace), &channel, &version)? else { continue };
            budget::take(blob.data.len() * 3)?;
            part.push(&json!({"type": "blob", "blob": {"thread": thread, "namespace": namespace, "channel": channel,
                "version": version, "type": blob.kind, "data": STANDARD.encode(&blob.data)}}));
        }
        if !left.is_empty() {
            export.steps.push(Step::Blobs { thread, namespace, left });
        }
        Ok(())
    }

    fn give_checkpoints(
        &self,
        export: &mut Export,
        thread: String,
        namespace: String,
        mut ids: Vec<String>,
        part: &mut Part,
    ) -> Result<(), MemoryError> {
        let reads = self.store.read()?;
        while !part.is_full()
            && let Some(id) = ids.pop()
        {
            // One that has been deleted or has expired meanwhile is gone.
            let Some(found) = reads.checkpoint(export.place(&thread, &namespace), &id, now())? else { continue };
            let mut line = json!({"thread": thread, "namespace": namespace, "id": id, "checkpoint": found.body});
            let channels = reads.channels(found.number)?;
            if !channels.is_empty() {
                line["channels"] = json!(channels);
            }
            if let Some(expires_at) = found.expires_at {
                line["expires_at"] = json!(time_text(expires_at));
            }
            part.push(&json!({"type": "checkpoint", "checkpoint": line}));
        }
        if !ids.is_empty() {
            export.steps.push(Step::Checkpoints { thread, namespace, ids });
        }
        Ok(())
    }

    /// Gives out a user's records, but for messages of sessions that were given out.
    fn give_records(
        &self,
        export: &mut Export,
        name: String,
        collection: i64,
        mut numbers: Vec<i64>,
        part: &mut Part,
    ) -> Result<(), MemoryError> {
        let found = self.store.existing(&export.tenant, &name)?.filter(|found| found.id == collection);
        let Some(found) = found else { return Ok(()) };
        let mut failed = Vec::new();
        let reads = self.store.read()?;
        while !part.is_full()
            && failed.is_empty()
            && let Some(number) = numbers.pop()
        {
            let stored = reads.record_of_number(collection, number)?;
            let is_theirs = |stored: &StoredRecord| stored.record.user.as_deref() == Some(&export.user);
            let Some(mut stored) = stored.filter(is_theirs) else { continue };
            let payload = stored.record.payload.take();
            let session = stored.record.session.as_ref().filter(|_| stored.record.message.is_some());
            if session.is_some_and(|session| export.given_out.contains(session)) {
                continue;
            }
            let media = self.media_of(&found, &stored, &mut failed);
            let message = stored.record.message.is_some().then(|| message_view(stored.clone()));
            let is_given = stored.record.given_vector && stored.record.message.is_none();
            let vector = if is_given { given_vector(&reads.snapshot(&found, None)?, &stored) } else { None };
            let mut line = json!({"type": "record", "collection": name, "record": record_view(stored)});
            if let Some(message) = message {
                line["message"] = json!(message);
            }
            let settings = found.settings();
            if vector.is_some() || !settings.has_vectors() || !settings.has_text_index() {
                // A collection of vectors that the model did not make has to be made for them, and one without an
                // index is to stay so.
                line["settings"] = made_with(&settings, vector.as_ref().map(|_| found.dimension()));
            }
            if let Some(vector) = vector {
                line["vector"] = json!(vector);
            }
            give_with(part, line, media, payload.as_ref());
        }
        drop(reads);
        self.check_failed(collection, failed)?;
        if !numbers.is_empty() {
            export.steps.push(Step::Records { name, collection, numbers });
        }
        Ok(())
    }

    /// The file of a message, or `None` where there is none; why it cannot be given out goes to `failed`.
    fn media_of(
        &self,
        collection: &Collection,
        stored: &StoredRecord,
        failed: &mut Vec<(String, MemoryError)>,
    ) -> Option<Option<String>> {
        match self.media.media_of(collection, &stored.record) {
            Ok(media) => Some(media),
            Err(error) => {
                failed.push((stored.record.id.clone(), error));
                None
            }
        }
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
}

/// What a collection is to be made with for an exported record: of `dimension` where its vector is given with it.
fn made_with(settings: &CollectionSettings, dimension: Option<usize>) -> Value {
    let CollectionSettings { vectors, text_index, vector_type, metric, .. } = settings.clone();
    json!(CollectionSettings { vectors, text_index, vector_type, metric, dimension, ..Default::default() })
}

/// The vector of a record that came with it, as little-endian f32 in base64; of others it can be had from their text.
/// A damaged one is no vector of it.
fn given_vector(snapshot: &Snapshot, stored: &StoredRecord) -> Option<String> {
    let vector = snapshot.vector(snapshot.locate(stored)?);
    Some(STANDARD.encode(vector.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>()))
}

/// Gives out a line with the file that goes with it, and says whether there is room for more. One whose file could not
/// be read is left out.
fn give_with(part: &mut Part, mut line: Value, media: Option<Option<String>>, payload: Option<&OpaqueJson>) -> bool {
    let Some(media) = media else { return !part.is_full() };
    if let Some(media) = media {
        line["media"] = json!(media);
    }
    part.push_with(&line, payload)
}
