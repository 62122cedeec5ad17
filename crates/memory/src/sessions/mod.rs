//! Sessions: the messages of a conversation, appended whole and in order, and recalled like every other record.

mod blobs;
mod checkpoints;
mod context;
pub(crate) mod fitting;
mod media;
mod names;
mod query;
mod queue;
mod threads;

pub use blobs::MAX_BLOB_BYTES;
pub use media::MediaFile;
pub use query::MessageQuery;
pub(crate) use query::is_instruction;

use crate::admission::Admission;
use crate::admission::merge;
use crate::audit::event;
use crate::collections::Collections;
use crate::cursors::Cursors;
use crate::fields::{self, MAX_ID_BYTES, MAX_NAME_BYTES};
use crate::media::MediaFiles;
use crate::memories::PipelineState;
use crate::models::{Models, NotEmbedded};
use crate::names::{check_new, check_new_session_id, check_session_id, check_some, hash, named_or_users};
use crate::recall::Recall;
use crate::records::Records;
use crate::redaction::{redact, redacted_changes};
use crate::retry::retry;
use crate::tenants::{DEFAULT_MAX_MESSAGES, Policies};
use crate::views::{message_view, summary_view};
use crate::{MemoryError, in_seconds, now, time_text};
use membox_api::{
    AppendAnswer, AppendRequest, AppendedMessage, ConflictView, Evict, MessagePatch, MessageView, NewMessage,
    NewRecord, OnConflict, RecordPatch, RedactionMode, SessionSettings, SessionView,
};
use membox_redaction::Counts;
use membox_store::Store;
use membox_store::{
    AppendMessages, ChangeSession, Collection, DeleteRecords, Footprint, Message, NewVersion, REDACTION_FIELD, Range,
    RecordReads, RecordsError, Selection, SessionChange, SessionState, StoredRecord, StoredSession, record_id,
};
use membox_text::analysis::Words;
use membox_threads::budget;
use serde::Serialize;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Messages of one append.
pub const MAX_MESSAGES: usize = 1000;
/// The collection of sessions that belong to no user.
const COMMON_COLLECTION: &str = "sessions";

/// Messages of an append, ready to be written.
struct Prepared {
    /// Their ids within the session.
    ids: Vec<String>,
    records: Vec<NewVersion>,
    /// From which character of its text on each is in no vector.
    not_embedded: Vec<NotEmbedded>,
    /// What those said, by their places, of which redaction took something out.
    originals: HashMap<usize, String>,
}

/// Sessions of a box: messages, contexts, queues and checkpoints.
#[derive(Clone, Copy)]
pub struct Sessions<'a> {
    pub(crate) store: &'a Store,
    pub(crate) models: &'a Models,
    pub(crate) policies: &'a Policies,
    pub(crate) collections: Collections<'a>,
    pub(crate) records: Records<'a>,
    pub(crate) admission: Admission<'a>,
    pub(crate) media: MediaFiles<'a>,
    pub(crate) recall: Recall<'a>,
    pub(crate) cursors: Cursors<'a>,
}

impl Sessions<'_> {
    /// The session of an id.
    pub(crate) fn stored_session(&self, tenant: &str, id: &str) -> Result<StoredSession, MemoryError> {
        check_session_id(id)?;
        self.store.read()?.session(tenant, id)?.ok_or_else(|| MemoryError::NoSession(id.to_owned()))
    }

    /// The collection that a session's messages are in.
    pub(crate) fn collection_of(&self, session: &StoredSession) -> Result<Arc<Collection>, MemoryError> {
        let found = self.store.collection_by_id(session.collection)?;
        found.ok_or_else(|| MemoryError::NoSession(session.id.clone()))
    }

    /// As [`Self::collection_of`], by name alone: it need not be opened.
    fn collection_name(&self, session: &StoredSession) -> Result<String, MemoryError> {
        let found = self.store.collection_name(session.collection);
        found.ok_or_else(|| MemoryError::NoSession(session.id.clone()))
    }

    /// Counts a state that is about to be stored, of so many new sessions, or refuses it.
    fn admit_state(&self, tenant: &str, sessions: u64, state: &impl Serialize) -> Result<(), MemoryError> {
        let bytes = || serde_json::to_string(state).map_or(0, |json| json.len() as u64);
        self.collections.limits.admit(tenant, || Footprint { records: 0, sessions, bytes: bytes() })
    }

    /// What a session would be made of; its collection is created if it is not there.
    fn new_session(&self, tenant: &str, id: &str, settings: &SessionSettings) -> Result<StoredSession, MemoryError> {
        check_new_session_id(id)?;
        let settings = &self.policies.of(tenant).session(settings);
        if settings.user.as_ref().is_some_and(|user| user.is_empty() || user.len() > MAX_NAME_BYTES) {
            return Err(MemoryError::invalid("/user", format!("1 to {MAX_NAME_BYTES} bytes are wanted")));
        }
        check_some(settings.user.as_ref(), "/user")?;
        self.admit_state(tenant, 1, &settings.metadata)?;
        let name = named_or_users(settings.collection.as_deref(), settings.user.as_deref());
        let name = name.unwrap_or_else(|| COMMON_COLLECTION.to_owned());
        let collection = match self.store.existing(tenant, &name)? {
            Some(collection) => collection,
            // One that is named must be there: it may be a mistake.
            None if settings.collection.is_some() => return Err(MemoryError::NoCollection(name)),
            None => self.collections.ensure_collection(tenant, &name)?,
        };
        let now = now();
        let state = SessionState {
            max_messages: settings.max_messages.unwrap_or(DEFAULT_MAX_MESSAGES),
            deletes_evicted: settings.evict == Some(Evict::Delete),
            ttl_s: settings.ttl_s.filter(|&ttl| ttl > 0),
            metadata: settings.metadata.clone().unwrap_or_default(),
            pipeline: Some(PipelineState::default().stored()?),
            created_at: now,
            updated_at: now,
            ..SessionState::default()
        };
        Ok(StoredSession {
            number: 0,
            tenant: tenant.to_owned(),
            id: id.to_owned(),
            collection: collection.id,
            user: settings.user.clone(),
            version: 0,
            state,
        })
    }

    /// Refuses settings that a session cannot take any more.
    fn check_fixed(&self, session: &StoredSession, settings: &SessionSettings) -> Result<(), MemoryError> {
        let exists = |difference: String| Err(MemoryError::Exists { name: session.id.clone(), difference });
        if settings.user.is_some() && settings.user != session.user {
            return exists(format!("user is {:?}", session.user));
        }
        let Some(wanted) = &settings.collection else { return Ok(()) };
        let name = self.collection_name(session)?;
        if *wanted != name { exists(format!("collection is {name:?}")) } else { Ok(()) }
    }

    /// Makes a session, or changes one; says whether it was made. With `expected`, it must be at that version.
    pub fn put_session(
        &self,
        tenant: &str,
        id: &str,
        settings: SessionSettings,
        expected: Option<u64>,
    ) -> Result<(SessionView, bool), MemoryError> {
        let created = retry(|| {
            let found = self.store.read()?.session(tenant, id)?;
            if let Some(found) = &found {
                self.check_fixed(found, &settings)?;
            }
            let is_new = found.is_none();
            let session = found.map_or_else(|| self.new_session(tenant, id, &settings), Ok)?;
            // Whoever names a version hears of it; the others try again.
            if let Err(error) = check_version(&session, expected) {
                return Ok(Some(Err(error.into())));
            }
            let change = self.session_change(session, &settings, is_new)?;
            Ok(Some(Ok(self.store.change_session(change)?)))
        })
        .and_then(|changed: Result<bool, MemoryError>| changed)?;
        Ok((self.session(tenant, id)?, created))
    }

    /// What settings make of a session: checked, and redacted as its collection's policy is.
    fn session_change(
        &self,
        session: StoredSession,
        settings: &SessionSettings,
        is_new: bool,
    ) -> Result<ChangeSession, MemoryError> {
        let redaction = self.collection_of(&session)?.settings().redaction.unwrap_or_default();
        let mut changed = session.clone();
        if let (Some(changes), false) = (&settings.metadata, is_new) {
            merge(&mut changed.state.metadata, &redacted_changes(&redaction, changes, &mut Counts::new()));
        }
        if settings.metadata.is_some() {
            fields::check(&mut changed, "")?;
        }
        redact(&redaction, &mut changed);
        let set = SessionChange {
            max_messages: settings.max_messages,
            deletes_evicted: settings.evict.map(|evict| evict == Evict::Delete),
            ttl_s: settings.ttl_s.map(|ttl| Some(ttl).filter(|&ttl| ttl > 0)),
            metadata: Some(changed.state.metadata),
            summary: changed.state.summary,
        };
        let must_match = (settings.user.is_some(), settings.collection.is_some());
        Ok(ChangeSession { session, must_match, set })
    }

    /// A session.
    pub fn session(&self, tenant: &str, id: &str) -> Result<SessionView, MemoryError> {
        let session = self.stored_session(tenant, id)?;
        self.session_view(session)
    }

    fn session_view(&self, session: StoredSession) -> Result<SessionView, MemoryError> {
        let collection = self.collection_name(&session)?;
        let reader = self.store.read()?;
        let messages = reader.count_messages(session.collection, &session.id, 0)?;
        let recorded = reader.recorded_milliseconds(session.collection, &session.id)?;
        let state = session.state;
        Ok(SessionView {
            id: session.id,
            user: session.user,
            collection,
            version: session.version,
            messages,
            max_messages: state.max_messages,
            evict: if state.deletes_evicted { Evict::Delete } else { Evict::Archive },
            ttl_s: state.ttl_s,
            audio_seconds: recorded as f64 / 1000.0,
            metadata: state.metadata,
            summary: state.summary.map(summary_view),
            created_at: time_text(state.created_at),
            updated_at: time_text(state.updated_at),
        })
    }

    /// A page of a tenant's sessions, newest first, and where the next one begins.
    pub fn sessions(
        &self,
        tenant: &str,
        user: Option<&str>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<(Vec<SessionView>, Option<i64>), MemoryError> {
        let mut found = self.store.read()?.sessions(tenant, user, before.unwrap_or(i64::MAX), limit + 1)?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|last| last.number);
        let views = found.into_iter().map(|session| self.session_view(session));
        // One whose collection is dropped meanwhile is gone with it.
        let is_there = |view: &Result<SessionView, MemoryError>| !matches!(view, Err(MemoryError::NoSession(_)));
        let views: Vec<SessionView> = views.filter(is_there).collect::<Result<_, _>>()?;
        Ok((views, next))
    }

    /// Deletes a session with its messages, archived ones too, and its queue. Gives how many messages there were.
    pub fn delete_session(&self, tenant: &str, actor: &str, id: &str) -> Result<usize, MemoryError> {
        let session = self.stored_session(tenant, id)?;
        let collection = self.collection_of(&session)?;
        let which = Selection::Session { tenant: tenant.to_owned(), id: id.to_owned() };
        // Not by its id: it may name whom an erasure is to leave no trace of.
        let audit = Some(event(tenant, actor, "delete session", ""));
        Ok(self.store.delete_records(DeleteRecords { collection, which, bump_sessions: false, audit })?)
    }

    /// Appends messages to a session, which is made if it is not there. When it returns they are durable and can be
    /// recalled; on an error none of them was kept.
    pub fn append(
        &self,
        tenant: &str,
        id: &str,
        request: AppendRequest,
        expected: Option<u64>,
    ) -> Result<AppendAnswer, MemoryError> {
        let AppendRequest { messages, user, collection, max_messages, on_conflict } = request;
        if messages.is_empty() || messages.len() > MAX_MESSAGES {
            let reason = format!("{} messages; 1 to {MAX_MESSAGES} can be appended at once", messages.len());
            return Err(MemoryError::impossible("/messages", reason));
        }
        let settings = SessionSettings { user, collection, max_messages, ..SessionSettings::default() };
        let found = self.store.read()?.session(tenant, id)?;
        let session = match found {
            Some(found) => {
                self.check_fixed(&found, &settings)?;
                found
            }
            None => self.new_session(tenant, id, &settings)?,
        };
        let collection = self.collection_of(&session)?;
        let Prepared { ids, records, not_embedded, originals } = self.prepare(&collection, &session, messages)?;
        let append = AppendMessages { collection, session, messages: records, originals, expected, on_conflict };
        let done = self.store.append_messages(append)?;
        metrics::counter!("membox_messages_total").increment(done.positions.iter().flatten().count() as u64);
        let conflict = done.since.map(|since| ConflictView {
            resolution: on_conflict.unwrap_or(OnConflict::Manual),
            server: since.into_iter().map(message_view).collect(),
            local: if on_conflict == Some(OnConflict::Manual) { ids.clone() } else { Vec::new() },
        });
        let messages = ids.into_iter().zip(done.positions).zip(not_embedded);
        let message = |((id, seq), not_embedded): ((_, Option<_>), NotEmbedded)| {
            let NotEmbedded { truncated_at, unknown_percent } = not_embedded;
            let is_new = seq.is_some();
            let (truncated_at, unknown_percent) = (truncated_at.filter(|_| is_new), unknown_percent.filter(|_| is_new));
            AppendedMessage { id, seq, truncated_at, unknown_percent }
        };
        let messages = messages.map(message).collect();
        Ok(AppendAnswer { version: done.version, messages, evicted: done.evicted, conflict })
    }

    /// Messages as they are to be written, redacted and with their vectors.
    fn prepare(
        &self,
        collection: &Collection,
        session: &StoredSession,
        messages: Vec<NewMessage>,
    ) -> Result<Prepared, MemoryError> {
        let settings = collection.settings();
        let expires_at = session.state.ttl_s.map(|ttl| time_text(in_seconds(ttl)));
        let (mut ids, mut records, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        let (mut files, mut originals) = (Vec::new(), HashMap::new());
        for (i, new) in messages.into_iter().enumerate() {
            let at = format!("/messages/{i}");
            let id = new.id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
            if id.is_empty() || id.len() > MAX_ID_BYTES || !seen.insert(id.clone()) {
                let reason = format!("an id has 1 to {MAX_ID_BYTES} bytes, and stands once in a request");
                return Err(MemoryError::invalid(format!("{at}/id"), reason));
            }
            check_new(&id, format!("{at}/id"))?;
            let file =
                new.media.map(|media| crate::media::given(new.kind, &media, &format!("{at}/media"))).transpose()?;
            let text = new.content.unwrap_or_default();
            // What says nothing is like nothing.
            let vector = text.trim().is_empty().then(|| vec![0.0; settings.dimension.unwrap_or_default()]);
            let record = NewRecord {
                id: Some(record_id(&session.id, &id)),
                text,
                vector,
                metadata: new.metadata,
                payload: new.payload,
                created_at: new.created_at,
                expires_at: expires_at.clone(),
                user: session.user.clone(),
                session: Some(session.id.clone()),
                ..NewRecord::default()
            };
            let is_redacted = settings.redaction.as_ref().is_some_and(|redaction| redaction.mode != RedactionMode::Off);
            let said = is_redacted.then(|| record.text.clone());
            let message = Message {
                id: id.clone(),
                role: new.role.name().to_owned(),
                kind: new.kind.name().to_owned(),
                name: new.name,
                tool_call_id: new.tool_call_id,
                tool_calls: new.tool_calls.map(|calls| calls.into_iter().map(Value::Object).collect()),
                media: file.as_ref().map(|file| file.media().clone()),
                ..Message::default()
            };
            let new_version = self.admission.admit(collection, &settings, record, Some(message), &at)?;
            if let Some(said) = said.filter(|_| new_version.record.metadata.contains_key(REDACTION_FIELD)) {
                originals.insert(i, said);
            }
            ids.push(id);
            files.push(file);
            records.push(new_version);
        }
        let not_embedded = self.models.embed_missing(collection, &mut records)?;
        for (new_version, file) in records.iter_mut().zip(files) {
            if let (Some(media), Some(file)) =
                (new_version.record.message.as_mut().and_then(|m| m.media.as_mut()), file)
            {
                media.file = self.media.keep_media(collection, file)?;
            }
        }
        Ok(Prepared { ids, records, not_embedded, originals })
    }

    /// A page of a session's messages, and `seq` of the last one where more follow.
    pub fn messages(
        &self,
        tenant: &str,
        id: &str,
        query: &MessageQuery,
    ) -> Result<(Vec<MessageView>, Option<i64>), MemoryError> {
        let session = self.stored_session(tenant, id)?;
        let range = match (query.newest_first, query.after) {
            (false, after) => Range::After(after.unwrap_or(-1)),
            (true, before) => Range::Before(before.unwrap_or(i64::MAX)),
        };
        let no_words = || MemoryError::invalid("/q", "a word is wanted: it is blank");
        let words = query.words.as_deref().map(|asked| Words::of(asked).ok_or_else(no_words)).transpose()?;
        let has_words = |text: &str| words.as_ref().is_none_or(|words| words.are_in(text));
        let (now, mut page, mut within_budget) = (now(), Vec::new(), Ok(()));
        self.store.read()?.messages(session.collection, id, range, &mut |stored| {
            let kind = stored.record.message.as_ref().map(|message| message.kind.as_str());
            let is_wanted = query.modality.name().is_none_or(|wanted| kind == Some(wanted));
            if is_wanted && stored.record.is_alive(now) && has_words(&stored.record.text) {
                within_budget = budget::take(stored.memory_bytes());
                page.push(message_view(stored));
            }
            within_budget.is_ok() && page.len() <= query.limit
        })?;
        within_budget?;
        let more = page.len() > query.limit;
        page.truncate(query.limit);
        let next = page.last().filter(|_| more).map(|last| last.seq);
        Ok((page, next))
    }

    /// A message of a session.
    pub fn message(&self, tenant: &str, session: &str, id: &str) -> Result<MessageView, MemoryError> {
        let session = self.stored_session(tenant, session)?;
        Ok(message_view(self.stored_message(&session, id)?))
    }

    pub(crate) fn stored_message(&self, session: &StoredSession, id: &str) -> Result<StoredRecord, MemoryError> {
        let stored = self.store.read()?.message(session.collection, &session.id, id)?;
        stored.filter(|s| s.record.is_alive(now())).ok_or_else(|| MemoryError::NoRecord(id.to_owned()))
    }

    /// Merges changes into a message's metadata, and gives an image a caption or a recording a transcript. With
    /// `expected`, the message must be at that version.
    pub fn patch_message(
        &self,
        tenant: &str,
        session: &str,
        id: &str,
        changes: MessagePatch,
        expected: Option<u64>,
    ) -> Result<MessageView, MemoryError> {
        let MessagePatch { metadata, content } = changes;
        let its_session = self.stored_session(tenant, session)?;
        let collection = self.collection_of(&its_session)?;
        let patch = RecordPatch { metadata: Some(metadata), text: content, ..RecordPatch::default() };
        let find = || self.stored_message(&its_session, id);
        let patched = self.records.patch_found(&collection, find, &patch, expected, None);
        // A record's text is a message's content.
        let patched = patched.map_err(|error| match error {
            MemoryError::Impossible { pointer, reason } if pointer == "/text" => {
                MemoryError::impossible("/content", reason)
            }
            MemoryError::Invalid { pointer, reason } if pointer == "/text" => MemoryError::invalid("/content", reason),
            other => other,
        });
        Ok(message_view(patched?))
    }

    /// Deletes a message. With `expected`, it must be at that version.
    pub fn delete_message(
        &self,
        tenant: &str,
        actor: &str,
        session: &str,
        id: &str,
        expected: Option<u64>,
    ) -> Result<(), MemoryError> {
        let stored = self.stored_session(tenant, session)?;
        let collection = self.collection_of(&stored)?;
        let which = Selection::Message { session: session.to_owned(), id: id.to_owned(), expected };
        // Not by its ids: they may name whom an erasure is to leave no trace of.
        let audit = Some(event(tenant, actor, "delete message", ""));
        let delete = DeleteRecords { collection, which, bump_sessions: true, audit };
        match self.store.delete_records(delete)? {
            0 => Err(MemoryError::NoRecord(id.to_owned())),
            _ => Ok(()),
        }
    }
}

fn check_version(session: &StoredSession, expected: Option<u64>) -> Result<(), RecordsError> {
    match expected {
        Some(expected) if expected != session.version => {
            Err(RecordsError::VersionConflict { id: session.id.clone(), current: session.version, expected })
        }
        _ => Ok(()),
    }
}

impl Sessions<'_> {
    /// The session that a user has under a prefix: `PREFIX-USER`, or `PREFIX.HASH` where no session can be called
    /// so, or where another user's is. It is the same one each time, and no two users have the same.
    pub fn user_session(&self, tenant: &str, prefix: &str, user: &str) -> Result<String, MemoryError> {
        let (plain, hashed) = (format!("{prefix}-{user}"), format!("{prefix}.{}", hash(user)));
        let reads = self.store.read()?;
        if reads.session(tenant, &hashed)?.is_some() {
            return Ok(hashed);
        }
        let owner = |id: &str| Ok::<_, MemoryError>(reads.session(tenant, id)?.map(|session| session.user));
        let is_own = |of: Option<Option<String>>| of.flatten().as_deref() == Some(user);
        if check_session_id(&plain).is_ok() {
            let of = owner(&plain)?;
            return Ok(if of.is_none() || is_own(of) { plain } else { hashed });
        }
        // Older versions put `_` in the place of `/`.
        let older = plain.replace('/', "_");
        let is_older = older != plain && is_own(owner(&older)?);
        Ok(if is_older { older } else { hashed })
    }
}
