//! Personal data in what is stored, made unreadable before anything is derived from it: before a text is embedded,
//! compressed, indexed or stored, and before a language model reads it. Which fields are looked at,
//! [`crate::fields`] says.

mod json;

use crate::MemoryError;
use crate::convert::redaction as policy_of;
use crate::fields::{Held, Stored};
use json::{redact_object, redact_text, redact_value};
use membox_api::{Redaction, RedactionMode};
use membox_redaction::Counts;
use membox_store::{BoxKey, OpaqueJson, REDACTION_FIELD, Record};
use serde_json::{Map, Value, json};

const SALT: &str = "salt";
const DIGEST: &str = "original_hmac_sha256";
/// Redacts a thing, and says what was found.
pub(crate) fn redact(redaction: &Redaction, thing: &mut impl Stored) -> Counts {
    let mut found = Counts::new();
    if redaction.mode == RedactionMode::Off {
        return found;
    }
    let redaction = &policy_of(redaction);
    thing.each(&mut |field, held| {
        if field.is_redacted {
            match held {
                Held::Text(text) => redact_text(redaction, text, &mut found),
                Held::Json(value) => redact_value(redaction, value, &mut found),
                Held::Object(object) => redact_object(redaction, object, &mut found),
                Held::Written(json) => redact_written(redaction, json, &mut found),
            }
        }
    });
    for (kind, count) in &found {
        metrics::counter!("membox_redacted_total", "kind" => kind.label()).increment(*count as u64);
    }
    if !found.is_empty() {
        tracing::debug!(?found, "personal data in what is stored");
    }
    found
}

/// JSON that is kept as it was written stays so where nothing is found in it.
fn redact_written(redaction: &membox_redaction::Redaction, json: &mut OpaqueJson, found: &mut Counts) {
    // What cannot be read was refused before; nothing of it would be kept here.
    let before: Value = json.read().unwrap_or_default();
    let mut after = before.clone();
    redact_value(redaction, &mut after, found);
    if (after != before || before.is_null())
        && let Ok(redacted) = OpaqueJson::of(&after)
    {
        *json = redacted;
    }
}

/// What is known of a record before it is redacted.
#[derive(Default)]
pub(crate) struct Known {
    /// What was found in it.
    pub found: Counts,
    /// The salt and the digest of its original text.
    digest: Option<[Value; 2]>,
}

impl Known {
    /// What was written of a record whose text has stayed: what was taken out of it is not there to be found again.
    pub fn of(record: &Record) -> Self {
        let said = |name: &str| record.metadata.get(REDACTION_FIELD)?.get(name).cloned();
        let found = said("found").and_then(|found| serde_json::from_value(found).ok()).unwrap_or_default();
        let digest = said(SALT).zip(said(DIGEST)).map(|(salt, digest)| [salt, digest]);
        Self { found, digest }
    }

    /// Adds what was found elsewhere.
    pub fn add(&mut self, found: &Counts) {
        found.iter().for_each(|(kind, count)| *self.found.entry(*kind).or_default() += count);
    }
}

/// Redacts a record, and says in `metadata.redaction` what was found in it, with a digest of the original text.
///
/// A digest of a short text with a phone number in it is as good as the number where all numbers can be tried. So
/// it is keyed, and salted: the same text written again has another one, and who can only write to the box can try
/// nothing.
pub(crate) fn redact_record(
    key: &BoxKey,
    redaction: &Redaction,
    record: &mut Record,
    mut known: Known,
) -> Result<(), MemoryError> {
    if redaction.mode == RedactionMode::Off {
        return Ok(());
    }
    // What an earlier version says of itself is not what this one says.
    record.metadata.remove(REDACTION_FIELD);
    let original = record.text.clone();
    let found = redact(redaction, record);
    if redaction.mode == RedactionMode::Mark {
        // It is all there to be found again.
        known.found.clear();
    }
    known.add(&found);
    let Known { found, digest } = known;
    if !found.is_empty() {
        let [salt, digest] = match digest {
            Some(known) => known,
            None => {
                let salt = uuid::Uuid::new_v4().simple().to_string();
                let digest = key.digest(&format!("original/{salt}/{original}"))?;
                [salt, digest].map(Value::String)
            }
        };
        let said = json!({ "mode": redaction.mode, "found": found, SALT: salt, DIGEST: digest });
        record.metadata.insert(REDACTION_FIELD.to_owned(), said);
    }
    Ok(())
}

/// A text as a policy lets it go on.
pub(crate) fn redacted(redaction: &Redaction, mut text: String) -> String {
    if redaction.mode != RedactionMode::Off {
        redact_text(&policy_of(redaction), &mut text, &mut Counts::new());
    }
    text
}

/// Changes to an object that is stored redacted, so that they meet its keys.
pub(crate) fn redacted_changes(
    redaction: &Redaction,
    changes: &Map<String, Value>,
    found: &mut Counts,
) -> Map<String, Value> {
    let mut changes = changes.clone();
    if !matches!(redaction.mode, RedactionMode::Off | RedactionMode::Mark) {
        redact_object(&policy_of(redaction), &mut changes, found);
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::{FIELDS, Field, Input, TaskWrites};
    use membox_store::{CheckpointBody, Media, Message, SessionState, StoredSession, Summary};

    const MAIL: &str = "lena.fischer@example.com";

    fn full() -> Redaction {
        Redaction { mode: RedactionMode::Full, kinds: None }
    }

    /// One of each thing, with a mark in every field that can hold one, and their fields as they were shown.
    fn shown(redaction: &Redaction) -> Vec<(String, String)> {
        let mark = || Some(MAIL.to_owned());
        let object = || Map::from_iter([(MAIL.to_owned(), json!([MAIL]))]);
        let message = Message {
            id: MAIL.into(),
            name: mark(),
            tool_call_id: mark(),
            tool_calls: Some(json!([{ "function": { "arguments": json!({ "to": MAIL }).to_string() } }])),
            media: Some(Media { language: mark(), ..Media::default() }),
            ..Message::default()
        };
        let record = |message| Record {
            id: MAIL.into(),
            text: MAIL.into(),
            metadata: object(),
            payload: OpaqueJson::of(&object()).ok(),
            created_at: 0,
            updated_at: None,
            expires_at: None,
            importance: None,
            user: mark(),
            session: mark(),
            kind: mark(),
            given_vector: false,
            message,
        };
        let summary = Summary { text: MAIL.into(), until: 0, version: 1, messages: 1, model: String::new() };
        let state = SessionState { metadata: object(), summary: Some(summary), ..SessionState::default() };
        let session = StoredSession {
            number: 0,
            tenant: "t".into(),
            id: MAIL.into(),
            collection: 1,
            user: mark(),
            version: 1,
            state,
        };
        let writes = [("task".to_owned(), json!(MAIL))].into();
        let body = CheckpointBody { parent: mark(), state: json!(MAIL), metadata: object(), writes, created_at: 0 };
        let mut fields = Vec::new();
        let mut look = |field: &'static Field, held: Held| {
            let said = match held {
                Held::Text(text) => text.clone(),
                Held::Json(value) => value.to_string(),
                Held::Object(object) => json!(object).to_string(),
                Held::Written(json) => json.as_str().to_owned(),
            };
            fields.push((format!("{} {}", field.of, field.name), said));
        };
        fn seen(redaction: &Redaction, mut thing: impl Stored, look: &mut dyn FnMut(&'static Field, Held)) {
            redact(redaction, &mut thing);
            thing.each(look);
        }
        seen(redaction, record(None), &mut look);
        seen(redaction, record(Some(message)), &mut look);
        seen(redaction, session, &mut look);
        seen(redaction, body, &mut look);
        seen(redaction, TaskWrites(json!(MAIL)), &mut look);
        seen(redaction, Input(json!(MAIL)), &mut look);
        fields
    }

    #[test]
    fn every_field_of_the_list_is_shown_and_redacted_as_the_list_says() {
        let off = Redaction { mode: RedactionMode::Off, kinds: None };
        assert!(shown(&off).iter().all(|(_, said)| said.contains(MAIL)));
        let fields = shown(&full());
        for field in FIELDS {
            let name = format!("{} {}", field.of, field.name);
            let said: Vec<&String> = fields.iter().filter(|(shown, _)| *shown == name).map(|(_, said)| said).collect();
            assert!(!said.is_empty(), "{name} is not shown");
            assert!(said.iter().all(|said| said.contains(MAIL) != field.is_redacted), "{name}: {said:?}");
        }
    }
}
