//! What callers say and hear of sessions, as plain data with its JSON form.

use crate::fields::message_tokens;
use crate::media::{MediaView, NewMedia};
use crate::time_text;
use membox_records::StoredRecord;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use utoipa::ToSchema;

/// Who says a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// What the conversation is to be like.
    System,
    /// The same, as OpenAI's newer models call it.
    Developer,
    /// The user.
    User,
    /// The model.
    Assistant,
    /// A tool that the model has called.
    Tool,
    /// A function that the model has called, as older clients say.
    Function,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Developer => "developer",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
            Self::Function => "function",
        }
    }
}

/// Whether a role says what the conversation is to be like, and is no turn of it.
pub(crate) fn is_instruction(role: &str) -> bool {
    [Role::System.name(), Role::Developer.name()].contains(&role)
}

/// Reads what is said: a text, or texts as OpenAI's API has them, `[{"type": "text", "text": "..."}]`, which are put together line by line.
pub fn message_content<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    struct Content;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Part {
        #[serde(rename = "type")]
        kind: PartType,
        text: String,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum PartType {
        Text,
        InputText,
        OutputText,
    }

    impl<'de> Visitor<'de> for Content {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a text, or a list of parts of type text")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_none<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Some(text.to_owned()))
        }

        fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
            Ok(Some(text))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
            let mut texts = Vec::new();
            while let Some(Part { kind: PartType::Text | PartType::InputText | PartType::OutputText, text }) =
                parts.next_element()?
            {
                texts.push(text);
            }
            Ok(Some(texts.join("\n")))
        }
    }

    deserializer.deserialize_any(Content)
}

/// The same where something must be said.
pub(crate) fn spoken<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    message_content(deserializer)?.ok_or_else(|| serde::de::Error::custom("nothing is said"))
}

/// What a message is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MessageType {
    /// Text.
    #[default]
    Text,
    /// An image; the content is its caption.
    Image,
    /// A recording; the content is its transcript.
    Audio,
}

impl MessageType {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Image => "image",
            Self::Audio => "audio",
        }
    }
}

/// Texts, images, recordings, or all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Modality {
    /// All of them.
    #[default]
    All,
    /// What is neither an image nor a recording.
    Text,
    /// Images, by their captions.
    Image,
    /// Recordings, by their transcripts.
    Audio,
}

impl Modality {
    /// What a filter knows it by; `None` for all.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::All => None,
            Self::Text => Some(MessageType::Text.name()),
            Self::Image => Some(MessageType::Image.name()),
            Self::Audio => Some(MessageType::Audio.name()),
        }
    }
}

/// Changes to a message.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MessagePatch {
    /// Merged into the metadata as RFC 7396 says; `null` removes a key.
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// The caption of an image or the transcript of a recording; of a text, what was said stays as it was said.
    pub content: Option<String>,
}

/// A message to be appended.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// The caller's id, unique in the session; a UUIDv7 when left out. A message whose id is there already is not appended again, so that
    /// a request can be repeated; one that says something else by that id is refused.
    pub id: Option<String>,
    /// Who says it.
    pub role: Role,
    /// `text` when left out.
    #[serde(default, rename = "type")]
    pub kind: MessageType,
    /// What is said, as a text or as OpenAI's list of parts of type text; null where tools are called instead.
    #[serde(default, deserialize_with = "message_content")]
    pub content: Option<String>,
    /// The image or the recording itself, where it is to be kept too.
    pub media: Option<NewMedia>,
    /// The name of who says it, up to 512 bytes.
    pub name: Option<String>,
    /// The call that it answers, up to 512 bytes.
    pub tool_call_id: Option<String>,
    /// The calls that it makes: objects, up to 1 MiB as JSON in all.
    #[schema(value_type = Option<Vec<Object>>)]
    pub tool_calls: Option<Vec<Map<String, Value>>>,
    /// Any JSON object up to 16 KiB.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// RFC 3339; now when left out.
    pub created_at: Option<String>,
}

/// What a session is made with, and what may be changed of it. What is left out stays as it is.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SessionSettings {
    /// Whom it is with. Set once.
    pub user: Option<String>,
    /// The collection of its messages: its user's own when left out. Set once.
    pub collection: Option<String>,
    /// Messages that are kept in its list (100); 0 for all.
    pub max_messages: Option<u64>,
    /// What becomes of messages over that: `archive` (they leave the list and are still recalled) or `delete`.
    pub evict: Option<Evict>,
    /// Seconds that a message lives; 0 for good, as when left out. It counts for messages to come.
    pub ttl_s: Option<u64>,
    /// Merged into the session's metadata, as RFC 7396 says; up to 16 KiB in all.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
}

/// What becomes of messages over a session's cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Evict {
    /// They leave the list and are still recalled.
    Archive,
    /// They are deleted.
    Delete,
}

/// What is done when a session is not at the version that an append expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// The server's messages stand, and nothing is written.
    Latest,
    /// Both sides' messages are kept, by their time, without doubles.
    Merge,
    /// Nothing is written, and both sides are given back.
    Manual,
}

/// Messages to be appended to a session.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AppendRequest {
    /// 1 to 1 000 of them: all are kept, in this order and with nothing between them, or none.
    #[schema(min_items = 1, max_items = 1000)]
    pub messages: Vec<NewMessage>,
    /// For a session that is not there yet; one that is must have the same.
    pub user: Option<String>,
    /// Likewise.
    pub collection: Option<String>,
    /// For a session that is not there yet.
    pub max_messages: Option<u64>,
    /// With `if-match`: what to do when somebody else has written meanwhile, instead of refusing.
    pub on_conflict: Option<OnConflict>,
}

/// A session as it is given out.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SessionView {
    /// Its id.
    pub id: String,
    /// Whom it is with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The collection of its messages.
    pub collection: String,
    /// 1 at first, one more with each write to it or its messages.
    pub version: u64,
    /// Messages in its list.
    pub messages: u64,
    /// Messages that are kept in its list; 0 for all.
    pub max_messages: u64,
    /// What becomes of messages over that.
    pub evict: Evict,
    /// Seconds that a message lives, if not for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u64>,
    /// Seconds of its recordings, archived ones too.
    #[serde(skip_serializing_if = "is_zero")]
    pub audio_seconds: f64,
    /// Its metadata.
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// What its older messages said, once a context has been compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<SummaryView>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

fn is_zero(seconds: &f64) -> bool {
    *seconds == 0.0
}

/// A summary of a session's first messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SummaryView {
    /// What they said, in short.
    pub text: String,
    /// How many messages it covers.
    pub messages: u64,
    /// 1 at first, one more with each extension.
    pub version: u64,
    /// What made it.
    pub model: String,
}

impl From<membox_records::Summary> for SummaryView {
    fn from(s: membox_records::Summary) -> Self {
        Self { text: s.text, messages: s.messages, version: s.version, model: s.model }
    }
}

/// A message as it is given out.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MessageView {
    /// Its id.
    pub id: String,
    /// Its place in the session.
    pub seq: i64,
    /// Who said it.
    pub role: String,
    /// `text`, `image` or `audio`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What was said; the caption of an image, the transcript of a recording.
    pub content: String,
    /// The image or the recording itself, at `…/messages/{m}/media`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media: Option<MediaView>,
    /// The name of who said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The call that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// The calls that it makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    pub tool_calls: Option<Value>,
    /// Its metadata.
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// Tokens of its content, name and calls (o200k_base).
    pub tokens: u64,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339; when its metadata was last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
    /// The version of its record: 1 at first, one more with each change.
    pub version: u64,
}

impl From<StoredRecord> for MessageView {
    fn from(stored: StoredRecord) -> Self {
        let message = stored.record.message.unwrap_or_default();
        let tokens = message_tokens(&message);
        Self {
            id: message.id,
            seq: message.position,
            role: message.role,
            kind: message.kind,
            content: stored.record.text,
            media: message.media.map(MediaView::from),
            name: message.name,
            tool_call_id: message.tool_call_id,
            tool_calls: message.tool_calls,
            metadata: stored.record.metadata,
            tokens,
            created_at: time_text(stored.record.created_at),
            updated_at: message.updated_at.map(time_text),
            version: stored.version,
        }
    }
}

/// A message that was appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AppendedMessage {
    /// Its id.
    pub id: String,
    /// Its place in the session; missing where a message of this id, or with `merge` the same message, was there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<i64>,
}

/// What an append did.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AppendAnswer {
    /// The session's version now.
    pub version: u64,
    /// In the order of the request; empty when the server's messages stand.
    pub messages: Vec<AppendedMessage>,
    /// Ids of the messages that left the session's list.
    pub evicted: Vec<String>,
    /// What came between, where `on_conflict` was made use of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conflict: Option<ConflictView>,
}

/// Both sides of a conflict.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ConflictView {
    /// What was done.
    pub resolution: OnConflict,
    /// Messages that others have written since the version that was expected.
    pub server: Vec<MessageView>,
    /// With `manual`, ids of the messages of this request, of which none was written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub local: Vec<String>,
}

/// A page of messages.
#[derive(Clone, Debug, Default)]
pub struct MessageQuery {
    /// Messages wanted at most.
    pub limit: usize,
    /// `seq` of the last message of the page before.
    pub after: Option<i64>,
    /// Newest first.
    pub newest_first: bool,
    /// Only messages that have all of these words; refused if it is blank.
    pub words: Option<String>,
    /// Only these.
    pub modality: Modality,
}
