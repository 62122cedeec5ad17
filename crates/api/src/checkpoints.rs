//! Checkpoints of a thread's state.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// A checkpoint to be written.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCheckpoint {
    /// Any JSON, at most 1 MiB.
    pub state: Value,
    /// The checkpoint that it follows, up to 255 bytes.
    pub parent: Option<String>,
    /// Any JSON object, at most 1 MiB.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// Seconds that it lives; for good when left out.
    pub ttl_s: Option<u64>,
}

/// A checkpoint as it is given out.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CheckpointView {
    /// The thread whose state it is.
    pub thread: String,
    /// Empty for the thread's own.
    pub namespace: String,
    /// Its id.
    pub id: String,
    /// The checkpoint that it follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The state.
    pub state: Value,
    /// Its metadata.
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// What tasks have written towards the next one, by task.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub writes: BTreeMap<String, Value>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// Which namespace of a thread.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
pub struct NamespaceQuery {
    /// The thread's own when left out.
    pub namespace: String,
}

/// Which checkpoints.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointsQuery {
    /// The thread's own when left out.
    pub namespace: String,
    /// Checkpoints a page, 20 unless said otherwise; 1 for the latest alone.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// A page of checkpoints.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckpointList {
    pub checkpoints: Vec<CheckpointView>,
    /// The cursor of the next page; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a task has written towards the next checkpoint.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskWrites {
    /// Any JSON.
    pub writes: Value,
}

/// How many checkpoints were deleted.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeletedCheckpoints {
    pub deleted: usize,
}
