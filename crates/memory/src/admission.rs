//! Admission: from what a caller says to a record, with every limit and every mistake named by its place.
//!
//! Whatever enters goes this way: check ─▶ redact ─▶ keywords ─▶ count tokens; then it is compressed, if that is
//! asked for, and embedded.

use crate::fields;
use crate::memories::made::is_made;
use crate::names::check_some;
use crate::recall::vector_error;
use crate::redaction::{Known, redact_record, redacted_changes};
use crate::tenants::Limits;
use crate::{MemoryError, in_seconds, now, time_millis, token_counter};
use membox_api::{CollectionSettings, MessageType, NewRecord, RecordPatch, Redaction, RedactionMode};
use membox_redaction::{Counts, without_placeholders};
use membox_store::{Collection, Footprint, Message, Metric, NewVersion, OpaqueJson, Record, Store, TextWindows};
use serde_json::{Map, Value};

/// What everything that enters goes through.
#[derive(Clone, Copy)]
pub struct Admission<'a> {
    pub(crate) store: &'a Store,
    pub(crate) limits: Limits<'a>,
}

impl Admission<'_> {
    /// A record as it is to be written, or a message with its record: checked, redacted, and its vector empty where
    /// the text is still to be embedded. `settings` are the collection's; `at` is the JSON pointer to it.
    pub(crate) fn admit(
        &self,
        collection: &Collection,
        settings: &CollectionSettings,
        new: NewRecord,
        message: Option<Message>,
        at: &str,
    ) -> Result<NewVersion, MemoryError> {
        let mut given_vector = new.vector.is_some();
        let mut vector = new.vector.unwrap_or_default();
        if given_vector && !settings.has_vectors() {
            return Err(MemoryError::invalid(format!("{at}/vector"), "the collection keeps no vectors"));
        } else if given_vector {
            let pointer = format!("{at}/vector");
            collection.check_vector(&vector).map_err(|e| vector_error(&pointer, e))?;
            collection.normalize(&mut vector);
        } else if new.text.trim().is_empty() && new.payload.is_some() && collection.metric() == Metric::Euclidean {
            let reason = "the collection compares by distance, where no vector is far from all: one is wanted";
            return Err(MemoryError::invalid(format!("{at}/vector"), reason));
        } else if new.text.trim().is_empty() && new.payload.is_some() && settings.has_vectors() {
            // What says nothing is like nothing.
            (given_vector, vector) = (true, vec![0.0; collection.dimension()]);
        } else if new.text.trim().is_empty() && new.payload.is_none() {
            let reason = "the text is empty, and neither a vector nor a payload is given";
            return Err(MemoryError::invalid(format!("{at}/text"), reason));
        }
        let keeps_created_at = new.created_at.is_none();
        let by_kind = new.kind.as_deref().map(|kind| collection.defaults_of(kind)).unwrap_or_default();
        let mut record = Record {
            message,
            id: new.id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string()),
            text: new.text,
            metadata: new.metadata,
            payload: new.payload.map(OpaqueJson::written),
            updated_at: Some(now()),
            created_at: time(&new.created_at, &format!("{at}/created_at"))?.unwrap_or_else(now),
            expires_at: time(&new.expires_at, &format!("{at}/expires_at"))?.or(by_kind.ttl_s.map(in_seconds)),
            importance: new.importance.or(by_kind.importance),
            user: new.user,
            session: new.session,
            kind: new.kind,
            given_vector,
        };
        check(&mut record, at)?;
        if let Some(redaction) = &settings.redaction {
            check_payload(redaction, &record, at)?;
            redact_record(self.store.box_key(), redaction, &mut record, Known::default())?;
        }
        if settings.keywords == Some(true) {
            add_keywords(&mut record);
        }
        count_tokens(&mut record)?;
        self.limits.admit(&collection.tenant, || footprint(&record, collection))?;
        let (windows, expected) = (TextWindows::default(), new.version);
        Ok(NewVersion { record, vector, windows, tokens: None, expected, keeps_created_at })
    }

    /// A record with a caller's changes, as it is to be written: checked, redacted, its keywords and tokens those
    /// of its new text.
    pub(crate) fn admit_patch(
        &self,
        settings: &CollectionSettings,
        stored: &Record,
        patch: &RecordPatch,
    ) -> Result<Record, MemoryError> {
        let redaction = settings.redaction.clone().unwrap_or_default();
        // What is there may have such names, of an older membox; no change gives it one.
        for (name, given) in [("user", &patch.user), ("session", &patch.session), ("kind", &patch.kind)] {
            check_some(given.as_ref().and_then(Option::as_ref), format!("/{name}"))?;
        }
        let mut known = if patch.text.is_none() { Known::of(stored) } else { Known::default() };
        let mut found = Counts::new();
        let changes = patch.metadata.as_ref().map(|changes| redacted_changes(&redaction, changes, &mut found));
        known.add(&found);
        let mut record = apply_patch(stored, patch, changes.as_ref())?;
        let has_keywords = patch.text.is_some() && (is_made(&record) || settings.keywords == Some(true));
        if has_keywords {
            forget_keywords(&mut record, patch);
        }
        check_payload(&redaction, &record, "")?;
        redact_record(self.store.box_key(), &redaction, &mut record, known)?;
        if has_keywords {
            add_keywords(&mut record);
        }
        if record.text != stored.text || record.message != stored.message {
            count_tokens(&mut record)?;
        }
        record.updated_at = Some(now());
        record.message.iter_mut().for_each(|message| message.updated_at = record.updated_at);
        Ok(record)
    }
}

/// Bytes of text of a window, about: it has 254 tokens.
const WINDOW_BYTES: usize = 1000;

/// About what a record takes in a collection, with the vectors of its windows.
fn footprint(record: &Record, collection: &Collection) -> Footprint {
    let windows = record.text.len().div_ceil(WINDOW_BYTES).clamp(1, collection.max_windows());
    let numbers = collection.dimension() * if record.given_vector { 1 } else { windows };
    let json_bytes = |json: serde_json::Result<String>| json.map_or(0, |json| json.len());
    let said = json_bytes(serde_json::to_string(&record.metadata)) + json_bytes(serde_json::to_string(&record.message));
    let payload = record.payload.as_ref().map_or(0, |payload| payload.as_str().len());
    let said = said + record.text.len() + record.id.len() + payload;
    let file = record.message.as_ref().and_then(|message| message.media.as_ref()).map_or(0, |media| media.bytes);
    Footprint { records: 1, sessions: 0, bytes: file + (said + numbers * size_of::<f32>()) as u64 }
}

fn check(record: &mut Record, at: &str) -> Result<(), MemoryError> {
    fields::check(record, at)?;
    if record.importance.is_some_and(|i| !(0.0..=1.0).contains(&i)) {
        return Err(MemoryError::impossible(format!("{at}/importance"), "importance is a number from 0 to 1"));
    }
    Ok(())
}

/// Refuses a payload that cannot be looked through where personal data is to be taken out of it.
fn check_payload(redaction: &Redaction, record: &Record, at: &str) -> Result<(), MemoryError> {
    let Some(payload) = record.payload.as_ref().filter(|_| redaction.mode != RedactionMode::Off) else { return Ok(()) };
    payload.read::<Value>().map(drop).map_err(|error| {
        let reason = format!("this collection takes personal data out of it, and cannot read it: {error}");
        MemoryError::impossible(format!("{at}/payload"), reason)
    })
}

/// Counts the tokens of a message: of what is kept of it.
pub(crate) fn count_tokens(record: &mut Record) -> Result<(), MemoryError> {
    if record.message.is_some() {
        let tokens = fields::tokens(record, token_counter(None, "")?) as u64;
        record.message.iter_mut().for_each(|message| (message.tokens, message.counts_calls) = (tokens, true));
    }
    Ok(())
}

/// Says in a record's metadata what its text is about, where that does not say it itself.
pub(crate) fn add_keywords(record: &mut Record) {
    let found = membox_keywords::extract(&without_placeholders(&record.text));
    for (name, terms) in [("keywords", found.keywords), ("entities", found.entities)] {
        if !record.metadata.contains_key(name) {
            record.metadata.insert(name.to_owned(), Value::from(terms));
        }
    }
}

/// Takes away what was known of a text that a patch has changed, unless the patch says it.
pub(crate) fn forget_keywords(record: &mut Record, patch: &RecordPatch) {
    for name in ["keywords", "entities"] {
        if !patch.metadata.as_ref().is_some_and(|changes| changes.contains_key(name)) {
            record.metadata.remove(name);
        }
    }
}

fn time(text: &Option<String>, pointer: &str) -> Result<Option<i64>, MemoryError> {
    text.as_deref()
        .map(|t| {
            time_millis(t).ok_or_else(|| {
                MemoryError::invalid(
                    pointer,
                    format!("{t:?} is not a time such as 2024-05-20T00:44:00Z, of the years 0000 to 9999"),
                )
            })
        })
        .transpose()
}

/// Refuses what would make another message of a message: it is one of its session and its user, and of a text what
/// was said stays.
fn check_message_patch(record: &Record, message: &Message, patch: &RecordPatch) -> Result<(), MemoryError> {
    for (name, change, own) in [("session", &patch.session, &record.session), ("user", &patch.user, &record.user)] {
        if change.as_ref().is_some_and(|change| change != own) {
            let reason =
                format!("a message keeps the {name} of its session: append it to another one, and delete it here");
            return Err(MemoryError::impossible(format!("/{name}"), reason));
        }
    }
    if message.kind == MessageType::Text.name() && patch.text.as_ref().is_some_and(|text| *text != record.text) {
        let reason = "what was said stays as it was said: captions and transcripts alone can be changed";
        return Err(MemoryError::impossible("/text", reason));
    }
    Ok(())
}

/// A record with changes; those of its metadata as redaction has left them.
pub(crate) fn apply_patch(
    record: &Record,
    patch: &RecordPatch,
    metadata: Option<&Map<String, Value>>,
) -> Result<Record, MemoryError> {
    if let Some(message) = &record.message {
        check_message_patch(record, message, patch)?;
    }
    let mut new = record.clone();
    // That of a message without a caption was of nothing.
    new.given_vector &= patch.text.is_none() || new.message.is_none();
    if let Some(text) = &patch.text {
        if text.trim().is_empty() && !record.given_vector {
            return Err(MemoryError::invalid("/text", "the text is empty"));
        }
        new.text.clone_from(text);
    }
    if let Some(changes) = metadata {
        merge(&mut new.metadata, changes);
    }
    if let Some(payload) = &patch.payload {
        new.payload = payload.clone().map(OpaqueJson::written);
    }
    if let Some(expires_at) = &patch.expires_at {
        new.expires_at = time(expires_at, "/expires_at")?;
    }
    if let Some(importance) = patch.importance {
        new.importance = importance;
    }
    for (field, change) in
        [(&mut new.user, &patch.user), (&mut new.session, &patch.session), (&mut new.kind, &patch.kind)]
    {
        if let Some(change) = change {
            field.clone_from(change);
        }
    }
    // What of a message no patch changes may be of an older version, which had no limit for it.
    let message = new.message.take();
    check(&mut new, "")?;
    new.message = message;
    Ok(new)
}

/// RFC 7396.
pub(crate) fn merge(target: &mut Map<String, Value>, changes: &Map<String, Value>) {
    for (key, change) in changes {
        match change {
            Value::Null => {
                target.remove(key);
            }
            Value::Object(inner) => {
                let place = target.entry(key.clone()).or_insert_with(|| Value::Object(Map::new()));
                if !place.is_object() {
                    *place = Value::Object(Map::new());
                }
                if let Some(place) = place.as_object_mut() {
                    merge(place, inner);
                }
            }
            other => {
                target.insert(key.clone(), other.clone());
            }
        }
    }
}
