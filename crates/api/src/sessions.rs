//! Sessions, what is appended to them, and their queues of inputs.

use crate::{MessageView, NewMessage};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

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

/// A message that was appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AppendedMessage {
    /// Its id.
    pub id: String,
    /// Its place in the session; missing where a message of this id, or with `merge` the same message, was there
    /// already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<i64>,
    /// Where its text, in characters, is cut off: what comes after that is in no vector, and words alone find it. Left
    /// out where all of the text is in vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncated_at: Option<usize>,
    /// Percent of its tokens that the collection's model does not know, where that is more than half: its vector says
    /// little then, and words alone find it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_percent: Option<u8>,
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

/// Which sessions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct SessionsQuery {
    /// Those of this user.
    pub user: Option<String>,
    /// Sessions a page, 20 unless said otherwise.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// A page of sessions.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionList {
    pub sessions: Vec<SessionView>,
    /// The cursor of the next page; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Inputs for a session's queue.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PushRequest {
    /// Any JSON each, at most 1 MiB; all are kept, or none.
    pub items: Vec<Value>,
}

/// What was queued.
#[derive(Debug, Serialize, ToSchema)]
pub struct PushAnswer {
    /// In the order of the request.
    pub ids: Vec<String>,
}

/// Which inputs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct QueueQuery {
    /// Inputs a page, 20 unless said otherwise.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
    /// Those after this id.
    pub cursor: Option<String>,
}

/// Inputs of a queue.
#[derive(Debug, Serialize, ToSchema)]
pub struct QueueItems {
    pub items: Vec<QueueItemView>,
}

/// How many inputs, and for how long.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TakeRequest {
    /// At most so many (1).
    #[schema(minimum = 1, maximum = 1000)]
    pub count: Option<usize>,
    /// Seconds that they are the taker's (60): those that are not deleted by then can be taken again.
    pub lease_s: Option<u64>,
}

/// An input that waits, as it is given out.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct QueueItemView {
    /// Its id.
    pub id: String,
    /// What it says.
    pub payload: Value,
    /// How often it was taken.
    pub attempts: u64,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339: until then it is its taker's; missing where nobody has taken it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leased_until: Option<String>,
}
