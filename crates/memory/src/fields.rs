//! The fields of what is stored: the one list from which limits, redaction and the counts of tokens are taken.
//!
//! A stored thing shows its fields one by one ([`Stored::each`]), each with what holds for it ([`Field`]). It takes
//! itself apart without `..`, so a new field does not compile until it is shown or passed over here, and the test
//! below holds the list against the table of docs/privacy.md.

use crate::MemoryError;
use membox_compressor::{DEFAULT_ENCODING, TokenCounter};
use membox_store::{CheckpointBody, Media, Message, OpaqueJson, Record, SessionState, StoredSession, Summary};
use serde::Serialize;
use serde_json::{Map, Value};
use std::io;
use std::ops::RangeInclusive;

/// Bytes of a record's text, and of a message's content.
pub const MAX_TEXT_BYTES: usize = 1 << 20;
/// Bytes of the metadata of a record, a message or a session, as JSON.
pub const MAX_METADATA_BYTES: usize = 16 << 10;
/// Bytes of the payload of a record or a message, as it is written.
pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;
/// Bytes of a message's calls, as JSON.
pub const MAX_TOOL_CALLS_BYTES: usize = 1 << 20;
/// Bytes of a checkpoint's state as JSON: 64 MiB of octets in base64. A request has `max_body_bytes` at most.
pub const MAX_CHECKPOINT_BYTES: usize = 96 << 20;
/// Bytes of a checkpoint's metadata, and of an input that waits, each as JSON.
pub const MAX_STATE_BYTES: usize = 1 << 20;
/// Bytes of a record's id, a user, a kind, and of the name and the call's id of a message.
pub const MAX_NAME_BYTES: usize = 512;
/// Bytes of the ids of sessions, messages, threads, namespaces, checkpoints and tasks.
pub const MAX_ID_BYTES: usize = 255;
/// Bytes of a language, as `zh-Hant-TW`.
const MAX_LANGUAGE_BYTES: usize = 35;
/// Bytes of what a task has written to a checkpoint, and all of them together, as JSON.
pub const MAX_WRITES_BYTES: usize = 16 << 20;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// What was said, or words about it.
    Text,
    /// Any JSON.
    Json,
    /// What the thing is found by: it stays as it was given.
    Identifier,
}

/// A stored field that can hold what was said, and what holds for it. Fields that are not listed hold numbers,
/// times, or words of the box's own.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// Of what it is a field.
    pub of: &'static str,
    /// Its name in requests and answers.
    pub name: &'static str,
    /// What it holds.
    pub holds: Holds,
    /// How many bytes it may have, JSON as JSON.
    pub bytes: RangeInclusive<usize>,
    /// How many bytes all values of the field have at most together, where one thing has several.
    pub most_together: Option<usize>,
    /// Whether personal data is taken out of it.
    pub is_redacted: bool,
    /// Whether its tokens count in budgets.
    pub is_counted: bool,
    /// Whether it is sealed with the key of its tenant.
    pub is_sealed: bool,
}

impl Field {
    const fn new(of: &'static str, name: &'static str, holds: Holds, bytes: RangeInclusive<usize>) -> Self {
        let is_said = !matches!(holds, Holds::Identifier);
        Self {
            of,
            name,
            holds,
            bytes,
            most_together: None,
            is_redacted: is_said,
            is_counted: false,
            is_sealed: is_said,
        }
    }

    const fn text(of: &'static str, name: &'static str, most: usize) -> Self {
        Self::new(of, name, Holds::Text, 0..=most)
    }

    const fn json(of: &'static str, name: &'static str, most: usize) -> Self {
        Self::new(of, name, Holds::Json, 0..=most)
    }

    const fn identifier(of: &'static str, name: &'static str, most: usize) -> Self {
        Self::new(of, name, Holds::Identifier, 1..=most)
    }

    const fn counted(self) -> Self {
        Self { is_counted: true, ..self }
    }
}

static RECORD_ID: Field = Field::identifier("record", "id", MAX_NAME_BYTES);
static RECORD_TEXT: Field = Field::text("record", "text", MAX_TEXT_BYTES).counted();
static RECORD_METADATA: Field = Field::json("record", "metadata", MAX_METADATA_BYTES);
static RECORD_PAYLOAD: Field = Field::json("record", "payload", MAX_PAYLOAD_BYTES);
static RECORD_USER: Field = Field::identifier("record", "user", MAX_NAME_BYTES);
static RECORD_SESSION: Field = Field::identifier("record", "session", MAX_NAME_BYTES);
static RECORD_KIND: Field = Field::identifier("record", "kind", MAX_NAME_BYTES);
static MESSAGE_ID: Field = Field::identifier("message", "id", MAX_ID_BYTES);
static MESSAGE_CONTENT: Field = Field::text("message", "content", MAX_TEXT_BYTES).counted();
static MESSAGE_NAME: Field = Field::text("message", "name", MAX_NAME_BYTES).counted();
static MESSAGE_TOOL_CALL_ID: Field = Field::text("message", "tool_call_id", MAX_NAME_BYTES).counted();
static MESSAGE_TOOL_CALLS: Field = Field::json("message", "tool_calls", MAX_TOOL_CALLS_BYTES).counted();
static MESSAGE_METADATA: Field = Field::json("message", "metadata", MAX_METADATA_BYTES);
static MESSAGE_PAYLOAD: Field = Field::json("message", "payload", MAX_PAYLOAD_BYTES);
static MESSAGE_LANGUAGE: Field = Field::text("message", "media/language", MAX_LANGUAGE_BYTES);
static SESSION_ID: Field = Field::identifier("session", "id", MAX_ID_BYTES);
static SESSION_USER: Field = Field::identifier("session", "user", MAX_NAME_BYTES);
static SESSION_METADATA: Field = Field::json("session", "metadata", MAX_METADATA_BYTES);
/// As long as whoever asks for a context wants it.
static SESSION_SUMMARY: Field = Field::text("session", "summary", usize::MAX).counted();
/// Sealed with the rest of what the checkpoint says.
static CHECKPOINT_PARENT: Field =
    Field { is_sealed: true, ..Field::new("checkpoint", "parent", Holds::Identifier, 0..=MAX_ID_BYTES) };
static CHECKPOINT_STATE: Field = Field::json("checkpoint", "state", MAX_CHECKPOINT_BYTES);
static CHECKPOINT_METADATA: Field = Field::json("checkpoint", "metadata", MAX_STATE_BYTES);
static CHECKPOINT_WRITES: Field =
    Field { most_together: Some(MAX_WRITES_BYTES), ..Field::json("checkpoint", "writes", MAX_WRITES_BYTES) };
static QUEUE_ITEM: Field = Field::json("queue", "items", MAX_STATE_BYTES);

/// Every field that can hold what was said. A memory and a profile are records.
pub static FIELDS: [&Field; 24] = [
    &RECORD_ID,
    &RECORD_TEXT,
    &RECORD_METADATA,
    &RECORD_PAYLOAD,
    &RECORD_USER,
    &RECORD_SESSION,
    &RECORD_KIND,
    &MESSAGE_ID,
    &MESSAGE_CONTENT,
    &MESSAGE_NAME,
    &MESSAGE_TOOL_CALL_ID,
    &MESSAGE_TOOL_CALLS,
    &MESSAGE_METADATA,
    &MESSAGE_PAYLOAD,
    &MESSAGE_LANGUAGE,
    &SESSION_ID,
    &SESSION_USER,
    &SESSION_METADATA,
    &SESSION_SUMMARY,
    &CHECKPOINT_PARENT,
    &CHECKPOINT_STATE,
    &CHECKPOINT_METADATA,
    &CHECKPOINT_WRITES,
    &QUEUE_ITEM,
];

/// What is in a field.
pub(crate) enum Held<'a> {
    Text(&'a mut String),
    Json(&'a mut Value),
    Object(&'a mut Map<String, Value>),
    /// JSON that is kept as it was written.
    Written(&'a mut OpaqueJson),
}

impl Held<'_> {
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Json(value) => json_bytes(value),
            Self::Object(object) => json_bytes(object),
            Self::Written(json) => json.as_str().len(),
        }
    }
}

/// A thing that shows its fields.
pub(crate) trait Stored {
    /// Shows every field that is there.
    fn each(&mut self, show: &mut dyn FnMut(&'static Field, Held));
}

/// Shows a text that may be missing.
fn show_text(show: &mut dyn FnMut(&'static Field, Held), field: &'static Field, text: &mut Option<String>) {
    if let Some(text) = text {
        show(field, Held::Text(text));
    }
}

impl Stored for Record {
    fn each(&mut self, show: &mut dyn FnMut(&'static Field, Held)) {
        let Self {
            id,
            text,
            metadata,
            payload,
            created_at: _,
            updated_at: _,
            expires_at: _,
            importance: _,
            user,
            session,
            kind,
            given_vector: _,
            message,
        } = self;
        let (text_field, metadata_field, payload_field) = match message {
            // The id of a message's record is made of the ids of its session and its own.
            Some(_) => (&MESSAGE_CONTENT, &MESSAGE_METADATA, &MESSAGE_PAYLOAD),
            None => {
                show(&RECORD_ID, Held::Text(id));
                (&RECORD_TEXT, &RECORD_METADATA, &RECORD_PAYLOAD)
            }
        };
        show(text_field, Held::Text(text));
        show(metadata_field, Held::Object(metadata));
        if let Some(payload) = payload {
            show(payload_field, Held::Written(payload));
        }
        show_text(show, &RECORD_USER, user);
        show_text(show, &RECORD_SESSION, session);
        show_text(show, &RECORD_KIND, kind);
        message.iter_mut().for_each(|message| message.each(show));
    }
}

/// What a message is beside its record.
impl Stored for Message {
    fn each(&mut self, show: &mut dyn FnMut(&'static Field, Held)) {
        let Self {
            id,
            position: _,
            role: _,
            kind: _,
            name,
            tool_call_id,
            tool_calls,
            media,
            tokens: _,
            counts_calls: _,
            written_by: _,
            updated_at: _,
        } = self;
        show(&MESSAGE_ID, Held::Text(id));
        show_text(show, &MESSAGE_NAME, name);
        show_text(show, &MESSAGE_TOOL_CALL_ID, tool_call_id);
        tool_calls.iter_mut().for_each(|calls| show(&MESSAGE_TOOL_CALLS, Held::Json(calls)));
        if let Some(media) = media {
            // The name of a file is the box's own.
            #[rustfmt::skip]
            let Media {
                file: _, content_type: _, bytes: _, sha256: _, width: _, height: _, milliseconds: _, language,
            } = media;
            show_text(show, &MESSAGE_LANGUAGE, language);
        }
    }
}

impl Stored for StoredSession {
    fn each(&mut self, show: &mut dyn FnMut(&'static Field, Held)) {
        let Self { number: _, tenant: _, id, collection: _, user, version: _, state } = self;
        let SessionState {
            next_position: _,
            max_messages: _,
            deletes_evicted: _,
            ttl_s: _,
            metadata,
            summary,
            pipeline: _,
            created_at: _,
            updated_at: _,
        } = state;
        show(&SESSION_ID, Held::Text(id));
        show_text(show, &SESSION_USER, user);
        show(&SESSION_METADATA, Held::Object(metadata));
        summary.iter_mut().for_each(|summary| summary.each(show));
    }
}

impl Stored for Summary {
    fn each(&mut self, show: &mut dyn FnMut(&'static Field, Held)) {
        let Self { text, until: _, version: _, messages: _, model: _ } = self;
        show(&SESSION_SUMMARY, Held::Text(text));
    }
}

impl Stored for CheckpointBody {
    fn each(&mut self, show: &mut dyn FnMut(&'static Field, Held)) {
        let Self { parent, state, metadata, writes, created_at: _ } = self;
        show_text(show, &CHECKPOINT_PARENT, parent);
        show(&CHECKPOINT_STATE, Held::Json(state));
        show(&CHECKPOINT_METADATA, Held::Object(metadata));
        writes.values_mut().for_each(|writes| show(&CHECKPOINT_WRITES, Held::Json(writes)));
    }
}

/// What a task has written to a checkpoint.
pub(crate) struct TaskWrites(pub Value);

impl Stored for TaskWrites {
    fn each(&mut self, show: &mut dyn FnMut(&'static Field, Held)) {
        show(&CHECKPOINT_WRITES, Held::Json(&mut self.0));
    }
}

/// An input that waits.
pub(crate) struct Input(pub Value);

impl Stored for Input {
    fn each(&mut self, show: &mut dyn FnMut(&'static Field, Held)) {
        show(&QUEUE_ITEM, Held::Json(&mut self.0));
    }
}

/// Refuses a thing of which a field is too large; `at` is the JSON pointer to the thing.
pub(crate) fn check(thing: &mut impl Stored, at: &str) -> Result<(), MemoryError> {
    check_at(thing, |field| format!("{at}/{}", field.name))
}

/// As [`check`], where a field is found in the request at another place.
pub(crate) fn check_at(thing: &mut impl Stored, pointer: impl Fn(&Field) -> String) -> Result<(), MemoryError> {
    let mut wrong = None;
    thing.each(&mut |field, held| {
        let bytes = held.bytes();
        if wrong.is_none() && !field.bytes.contains(&bytes) {
            wrong = Some(refused(field, bytes, pointer(field)));
        }
    });
    wrong.map_or(Ok(()), Err)
}

fn refused(field: &Field, bytes: usize, pointer: String) -> MemoryError {
    let (least, most) = (field.bytes.start(), field.bytes.end());
    match field.holds {
        Holds::Identifier => MemoryError::invalid(pointer, format!("{bytes} bytes; {least} to {most} are possible")),
        Holds::Text => MemoryError::impossible(pointer, format!("{bytes} bytes; it has at most {most}")),
        Holds::Json => MemoryError::impossible(pointer, format!("{bytes} bytes as JSON; it has at most {most}")),
    }
}

/// Bytes of JSON as it is stored.
pub(crate) fn json_bytes(value: &impl Serialize) -> usize {
    struct Bytes(usize);
    impl io::Write for Bytes {
        fn write(&mut self, part: &[u8]) -> io::Result<usize> {
            self.0 += part.len();
            Ok(part.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut bytes = Bytes(0);
    // Counting does not fail, and neither does JSON of JSON.
    let _ = serde_json::to_writer(&mut bytes, value);
    bytes.0
}

/// Tokens of what goes into a prompt of a record.
pub(crate) fn tokens(record: &Record, counter: TokenCounter) -> usize {
    counter.count(&record.text) + record.message.as_ref().map_or(0, |message| tokens_beside(message, counter))
}

/// Tokens of a message beside its content: its name and its calls.
pub(crate) fn tokens_beside(message: &Message, counter: TokenCounter) -> usize {
    let texts = [&message.name, &message.tool_call_id].map(Option::as_deref);
    counter.count_beside(texts, [message.tool_calls.as_ref()])
}

/// Tokens of a stored message by the default encoding: its content, name and calls, whichever version wrote it.
pub(crate) fn message_tokens(message: &Message) -> u64 {
    let counter = (!message.counts_calls).then(|| TokenCounter::by_name(DEFAULT_ENCODING).ok()).flatten();
    message.tokens + counter.map_or(0, |counter| tokens_beside(message, counter) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_documentation_lists_every_field_and_what_holds_for_it() {
        let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/privacy.md"));
        let docs = docs.expect("the documentation");
        let yes = |is_so| if is_so { "yes" } else { "no" };
        let rows = FIELDS.map(|field| {
            let size = |most: usize| match most {
                usize::MAX => "none".to_owned(),
                most if most >= 1 << 20 => format!("{} MiB", most >> 20),
                most if most >= 1 << 10 => format!("{} KiB", most >> 10),
                most => most.to_string(),
            };
            let together = field.most_together.map(|most| format!(", {} together", size(most))).unwrap_or_default();
            let most = size(*field.bytes.end()) + &together;
            let flags = [field.is_redacted, field.is_counted, field.is_sealed].map(yes).join(" | ");
            format!("| `{}` | `{}` | {most} | {flags} |", field.of, field.name)
        });
        let listed: Vec<&str> = docs.lines().skip_while(|line| !line.starts_with("| of | field |")).skip(2).collect();
        let listed: Vec<&str> = listed.into_iter().take_while(|line| line.starts_with('|')).collect();
        assert_eq!(listed, rows);
    }

    fn message() -> Record {
        let message = Message {
            id: "m".into(),
            name: Some("lena".into()),
            tool_call_id: Some("c1".into()),
            tool_calls: Some(json!([{"id": "c1", "function": {"arguments": "{\"path\": \"a.py\"}"}}])),
            media: Some(Media { language: Some("en".into()), ..Media::default() }),
            ..Message::default()
        };
        Record {
            id: "s/m".into(),
            text: "What was said.".into(),
            metadata: Map::from_iter([("seen".to_owned(), json!(true))]),
            payload: OpaqueJson::of(&json!({"seen": true})).ok(),
            created_at: 0,
            updated_at: None,
            expires_at: None,
            importance: None,
            user: Some("u".into()),
            session: Some("s".into()),
            kind: Some("k".into()),
            given_vector: false,
            message: Some(message),
        }
    }

    #[test]
    fn a_field_that_is_too_large_is_named_by_its_place() {
        let wrong = |change: &dyn Fn(&mut Record)| {
            let mut record = message();
            change(&mut record);
            check(&mut record, "/messages/3").err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(wrong(&|_| {}), "");
        assert!(wrong(&|r| r.text = "x".repeat(MAX_TEXT_BYTES + 1)).starts_with("/messages/3/content: "));
        assert!(wrong(&|r| r.user = Some(String::new())).starts_with("/messages/3/user: "));
        let of_message = |change: &dyn Fn(&mut Message)| wrong(&|r| r.message.iter_mut().for_each(change));
        assert!(of_message(&|m| m.name = Some("n".repeat(513))).starts_with("/messages/3/name: "));
        assert!(of_message(&|m| m.tool_call_id = Some("n".repeat(513))).starts_with("/messages/3/tool_call_id: "));
        let calls = |bytes: usize| Some(json!([{"id": "x".repeat(bytes - r#"[{"id":""}]"#.len())}]));
        assert_eq!(of_message(&|m| m.tool_calls = calls(MAX_TOOL_CALLS_BYTES)), "");
        let refused = of_message(&|m| m.tool_calls = calls(MAX_TOOL_CALLS_BYTES + 1));
        assert_eq!(refused, "/messages/3/tool_calls: 1048577 bytes as JSON; it has at most 1048576");
    }

    #[test]
    fn a_message_costs_its_content_its_name_and_its_calls() {
        let counter = TokenCounter::by_name(DEFAULT_ENCODING).expect("an encoding");
        let mut record = message();
        let count = |text: &str| counter.count(text);
        let calls = r#"[{"function": {"arguments": "{\"path\": \"a.py\"}"}, "id": "c1"}]"#;
        let beside = count("lena") + count("c1") + count(calls);
        assert_eq!(tokens(&record, counter), count("What was said.") + beside);
        let mut listed = 0;
        record.each(&mut |field, held| match held {
            _ if !field.is_counted => {}
            Held::Text(text) => listed += counter.count(text),
            Held::Json(value) => listed += counter.count_json(value),
            Held::Object(_) | Held::Written(_) => panic!("no object is counted"),
        });
        assert_eq!(tokens(&record, counter), listed, "what the list says is counted");
        let mut message = record.message.expect("a message");
        message.tokens = 4;
        assert_eq!(message_tokens(&message), 4 + beside as u64, "one of an older version");
        message.counts_calls = true;
        assert_eq!(message_tokens(&message), 4);
    }
}
