//! Messages of sessions, with their images and recordings.

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::fmt;
use utoipa::{IntoParams, ToSchema};

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
    /// Its name.
    pub fn name(self) -> &'static str {
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

/// Reads what is said: a text, or texts as OpenAI's API has them, `[{"type": "text", "text": "..."}]`, which are put
/// together line by line.
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
    /// Its name.
    pub fn name(self) -> &'static str {
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
    pub fn name(self) -> Option<&'static str> {
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
    /// The caller's id, unique in the session; a UUIDv7 when left out. A message whose id is there already is not
    /// appended again, so that a request can be repeated; one that says something else by that id is refused.
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
    /// Any JSON up to 1 MiB, kept word for word and given back so: numbers of any size, the order of keys, blanks. It
    /// is in no index. What a collection redacts, it redacts here too.
    #[schema(value_type = Value, required = false)]
    pub payload: Option<Box<RawValue>>,
    /// RFC 3339; now when left out.
    pub created_at: Option<String>,
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
    /// Its payload, as it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value, required = false)]
    pub payload: Option<Box<RawValue>>,
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

/// An image or a recording, as a message brings it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMedia {
    /// The file in base64, or as a data URL; up to 16 MiB.
    pub data: String,
    /// Of a recording: how long it is.
    #[schema(minimum = 0, maximum = 86400)]
    pub seconds: Option<f64>,
    /// Of a recording: its language, as `en` or `zh-CN`, up to 35 bytes.
    pub language: Option<String>,
}

/// An image or a recording of a message.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct MediaView {
    /// As `image/png`.
    pub content_type: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// SHA-256 of them, in hexadecimal digits.
    pub sha256: String,
    /// Of an image, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Of an image, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Of a recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Of a recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// Which messages.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct MessagesQuery {
    /// Messages a page, 20 unless said otherwise.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
    /// `next` of the page before.
    pub cursor: Option<i64>,
    /// `oldest` (first, as when left out) or `newest`.
    pub order: Option<String>,
    /// Only messages that have all of these words, in any of their forms: every word counts, also letters, emoji, and
    /// names with signs such as C++. Refused if it is blank.
    pub q: Option<String>,
    /// Only texts, images or recordings.
    #[serde(default)]
    #[param(inline)]
    pub modality: Modality,
}

/// A page of messages.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageList {
    pub messages: Vec<MessageView>,
    /// The cursor of the next page; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
}

/// How many messages were deleted.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeletedMessages {
    pub deleted: usize,
}

/// Which form of a message's file.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct MediaQuery {
    /// Of an image, what fits 200 × 200.
    #[serde(default)]
    pub thumbnail: bool,
}
