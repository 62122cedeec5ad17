//! What is stored.

use serde_json::{Map, Value};
use uuid::Uuid;

/// A version of a record. Each version has a row of its own in the collection's vector file, so whatever is derived from a row
/// never changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The caller's id, or a UUIDv7.
    pub id: String,
    /// What is remembered.
    pub text: String,
    /// Any JSON object.
    pub metadata: Map<String, Value>,
    /// Milliseconds since 1970.
    pub created_at: i64,
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
