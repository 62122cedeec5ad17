//! What is stored.

use crate::opaque::OpaqueJson;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

/// A version of a record. Each version has a row of its own in the collection's vector file, so whatever is derived
/// from a row never changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// The caller's id, or a UUIDv7.
    pub id: String,
    /// What is remembered.
    pub text: String,
    /// Any JSON object.
    pub metadata: Map<String, Value>,
    /// Any JSON, as it was written.
    pub payload: Option<OpaqueJson>,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// When it was last written; `None` for what older versions wrote.
    pub updated_at: Option<i64>,
    /// Milliseconds since 1970; from then on it is gone.
    pub expires_at: Option<i64>,
    /// 0 to 1.
    pub importance: Option<f64>,
    /// Whom it is about.
    pub user: Option<String>,
    /// The conversation it belongs to; its neighbours there count in text recall.
    pub session: Option<String>,
    /// Episodic, semantic, …
    pub kind: Option<String>,
    /// Whether the vector was given by the caller and is not the text's embedding.
    pub given_vector: bool,
    /// What makes it a message of its session, if it is one.
    pub message: Option<Message>,
}

/// What a message of a session is beside a record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Unique within the session.
    pub id: String,
    /// Its place in the session; negative once it is archived. Kept beside, since it may change.
    #[serde(skip)]
    pub position: i64,
    /// Who said it: `system`, `user`, `assistant`, `tool` or `function`.
    pub role: String,
    /// `text`, `image` or `audio`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The name of who said it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// The call that it answers.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tool_call_id: Option<String>,
    /// The calls that it makes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tool_calls: Option<Value>,
    /// Its image or recording, where that was given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub media: Option<Media>,
    /// Tokens of what it says by the default encoding.
    pub tokens: u64,
    /// Whether `tokens` counts name and calls too; those of older versions count the content alone.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub counts_calls: bool,
    /// The version of the session that wrote it.
    pub written_by: u64,
    /// When it was last changed, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub updated_at: Option<i64>,
}

/// An image or a recording that a message has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// Name of its file.
    pub file: String,
    /// As `image/png`.
    pub content_type: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// SHA-256 of them, in hexadecimal digits.
    pub sha256: String,
    /// Of an image, in pixels.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub width: Option<u32>,
    /// Of an image, in pixels.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub height: Option<u32>,
    /// How long a recording is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub milliseconds: Option<u64>,
    /// The language of a recording.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub language: Option<String>,
}

impl Message {
    /// Its place in the session, whether it is archived or not.
    pub fn place(&self) -> i64 {
        if self.is_listed() { self.position } else { -1 - self.position }
    }

    /// Whether it is in its session's list, and not archived.
    pub fn is_listed(&self) -> bool {
        self.position >= 0
    }
}

impl Record {
    /// Whether its time has not come by `now`, in milliseconds since 1970.
    pub fn is_alive(&self, now: i64) -> bool {
        self.expires_at.is_none_or(|expires_at| expires_at > now)
    }
}

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRecord {
    /// What was given.
    pub record: Record,
    /// Order of creation within the store; kept by later versions.
    pub seq: i64,
    /// 1 at first, one more with each write.
    pub version: u64,
    /// Slot of its vector's row.
    pub slot: u64,
    /// CRC32C of that row.
    pub row_crc: u32,
    /// The windows of a text that has several vectors, the first one's among them: their rows follow each other. Empty
    /// for a record with one vector.
    pub windows: Vec<Window>,
}

/// A part of a text that has a vector of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// CRC32C of its row.
    pub row_crc: u32,
    /// Its first byte in the text.
    pub start: u32,
    /// The byte after its last; `start` where it is not known, because another text is stored than was embedded.
    pub end: u32,
}

/// Bytes of a window as it is stored.
const WINDOW_BYTES: usize = 3 * size_of::<u32>();

impl Window {
    /// Windows as they are stored, little-endian; `None` where there are none.
    pub(crate) fn encode(windows: &[Self]) -> Option<Vec<u8>> {
        let numbers = windows.iter().flat_map(|window| [window.row_crc, window.start, window.end]);
        (!windows.is_empty()).then(|| numbers.flat_map(u32::to_le_bytes).collect())
    }

    /// Reads what [`Window::encode`] wrote; `None` for what it did not write.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<Self>> {
        let number = |bytes: &[u8]| bytes.try_into().map(u32::from_le_bytes).unwrap_or_default();
        let window =
            |bytes: &[u8]| Self { row_crc: number(&bytes[..4]), start: number(&bytes[4..8]), end: number(&bytes[8..]) };
        let is_whole = !bytes.is_empty() && bytes.len().is_multiple_of(WINDOW_BYTES);
        is_whole.then(|| bytes.chunks_exact(WINDOW_BYTES).map(window).collect())
    }

    /// How many rows follow the first one of a record whose windows take so many bytes.
    pub(crate) fn further_rows(bytes: u32) -> u32 {
        (bytes / WINDOW_BYTES as u32).saturating_sub(1)
    }
}

/// What the rows of a record's vectors are held against: a number alone for a record with one row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowChecks {
    /// CRC32C of its first row.
    pub row_crc: u32,
    /// As [`StoredRecord::windows`].
    pub windows: Vec<Window>,
}

impl From<u32> for RowChecks {
    fn from(row_crc: u32) -> Self {
        Self { row_crc, windows: Vec::new() }
    }
}

impl StoredRecord {
    /// About how many bytes of memory it takes, with an answer that it stands in.
    pub fn memory_bytes(&self) -> usize {
        const BESIDE_TEXT: usize = 2048;
        let payload = self.record.payload.as_ref().map_or(0, |payload| payload.as_str().len());
        BESIDE_TEXT + (self.record.text.len() + payload) * 2
    }
}

/// A collection as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredCollection {
    /// Number within the store, never reused.
    pub id: i64,
    /// Whose it is.
    pub tenant: String,
    /// Unique within the tenant.
    pub name: String,
    /// Settings as JSON; this crate does not look into them.
    pub settings: String,
    /// The file of its vectors.
    pub vector_file: Uuid,
    /// Committed rows of that file.
    pub rows: u32,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

/// The part of a record that recall keeps in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveRow {
    /// Row of its vector.
    pub row: u32,
    /// The conversation it belongs to.
    pub session: Option<String>,
    /// Milliseconds since 1970.
    pub expires_at: Option<i64>,
}

/// The rows of a record, as the database names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedRows {
    /// What recall keeps in memory of it.
    pub live: LiveRow,
    /// CRC32C of its first row.
    pub row_crc: u32,
    /// How many rows follow that one.
    pub further: u32,
}

/// A record that was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// What recall knows of it.
    pub live: Option<LiveRow>,
    /// The session that it was a message of, if it was one.
    pub message_of: Option<String>,
}
