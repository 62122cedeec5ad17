//! Records: written, read, changed, deleted and forgotten.

use crate::ids::{id, id_schema, some_ids};
use crate::vectors::{vector, vector_schema};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

/// A record to be remembered.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRecord {
    /// The caller's id, 1 to 512 bytes; a UUIDv7 when left out. An id that exists is given a new version.
    #[serde(default, deserialize_with = "id", skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = id_schema)]
    pub id: Option<String>,
    /// What is to be remembered, at most 1 MiB. May be left out when a vector or a payload is given.
    #[serde(default)]
    #[schema(max_length = 1048576)]
    pub text: String,
    /// The vector, of the collection's dimension, as numbers or as little-endian f32 in base64; the text's embedding
    /// when left out.
    #[serde(default, deserialize_with = "vector", skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = vector_schema)]
    pub vector: Option<Vec<f32>>,
    /// Any JSON object up to 16 KiB.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// Any JSON up to 1 MiB, kept word for word and given back so: numbers of any size, the order of keys, blanks. It
    /// is in no index. What a collection redacts, it redacts here too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value, required = false)]
    pub payload: Option<Box<RawValue>>,
    /// RFC 3339. Left out it is now, or that of the record of this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// RFC 3339; from then on the record is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub importance: Option<f64>,
    /// Whom it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The conversation it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Episodic, semantic, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The version that must be there now; 0 when the record must be new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// Changes to a record: what is left out stays. `metadata` is merged as RFC 7396 says; `null` takes a field away.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordPatch {
    /// A new text, embedded anew.
    pub text: Option<String>,
    /// Merged into the metadata; `null` removes a key.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// In the place of the one that is there; null takes it away.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Value, required = false)]
    pub payload: Option<Option<Box<RawValue>>>,
    /// RFC 3339, or null for never.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Option<String>>,
    /// 0 to 1, or null.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 1)]
    pub importance: Option<Option<f64>>,
    /// Or null.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub user: Option<Option<String>>,
    /// Or null.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub session: Option<Option<String>>,
    /// Or null.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub kind: Option<Option<String>>,
}

/// Tells a field that is null from one that is left out.
fn present<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

/// A record as it is given out.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RecordView {
    /// Its id. That of a message is `session/message`, or a UUID where a record has that.
    pub id: String,
    /// What is remembered.
    pub text: String,
    /// Its metadata.
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// Its payload, as it was given; a list has it where `payload=true` asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value, required = false)]
    pub payload: Option<Box<RawValue>>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339; when it was last written. Missing where an older version wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub importance: Option<f64>,
    /// Whom it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The conversation it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The id of the message that it is, in its session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Episodic, semantic, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// 1 at first, one more with each write.
    pub version: u64,
}

/// What an upsert did with one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct WrittenRecord {
    /// Its id.
    pub id: String,
    /// Its version now.
    pub version: u64,
    /// What compression left of its text, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// Where its text, in characters, is cut off: what comes after that is in no vector, and words alone find it. Left
    /// out where all of the text is in vectors. Of a text that is compressed, it is a place in the text before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncated_at: Option<usize>,
    /// Percent of its tokens that the collection's model does not know, where that is more than half: its vector says
    /// little then, and words alone find it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_percent: Option<u8>,
}

/// How much was left by a compression.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Compression {
    /// Tokens before.
    pub origin_tokens: usize,
    /// Tokens after.
    pub compressed_tokens: usize,
    /// Which model did it.
    pub model: String,
}

/// What was written.
#[derive(Debug, Serialize, ToSchema)]
pub struct UpsertAnswer {
    /// In the order of the request.
    pub records: Vec<WrittenRecord>,
}

/// Which page of which records.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// Records a page, 20 unless said otherwise.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// A filter as JSON.
    pub filter: Option<String>,
    /// With payloads.
    #[serde(default)]
    pub payload: bool,
    /// `written` (in the order of their first writing), `oldest` or `newest` (by created_at).
    pub order: Option<String>,
}

/// A page of records.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page {
    pub records: Vec<RecordView>,
    /// The cursor of the next page; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which records are to be deleted: `ids` or `filter`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteRequest {
    #[serde(default, deserialize_with = "some_ids")]
    pub ids: Option<Vec<String>>,
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Value>,
}

/// How many were deleted.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeleteAnswer {
    pub deleted: usize,
}

/// What is to be forgotten.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForgetRequest {
    /// Memories that are left at most.
    pub keep: usize,
    /// Only those of this user count, and go.
    pub user: Option<String>,
    /// Only those that a filter allows count, and go.
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Value>,
    /// Seconds in which a memory's worth halves (2 592 000: thirty days).
    #[schema(exclusive_minimum = 0)]
    pub half_life_s: Option<f64>,
    /// Only say what would go.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was forgotten.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ForgetAnswer {
    /// Memories that counted.
    pub counted: usize,
    /// Of these, those that are pinned and stay.
    pub pinned: usize,
    /// Memories that are gone, or would be.
    pub forgotten: usize,
    /// The first hundred of these, the least valuable first.
    pub memories: Vec<ForgottenMemory>,
}

/// A memory that goes, and why this one.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ForgottenMemory {
    /// What it was.
    #[serde(flatten)]
    pub record: RecordView,
    /// What it was worth.
    pub worth: f64,
    /// How often it was recalled, a recall of thirty days ago counting half.
    pub heat: f64,
}
