//! Checkpoints of a thread's state.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// A checkpoint to be written.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCheckpoint {
    /// Any JSON, at most 96 MiB as JSON. The setting `max_body_bytes` bounds the request.
    pub state: Value,
    /// The checkpoint that it follows, up to 255 bytes.
    pub parent: Option<String>,
    /// Any JSON object, at most 1 MiB as JSON.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// Seconds that it lives; for good when left out.
    pub ttl_s: Option<u64>,
    /// The versions of the channels whose values it has as blobs. Each is there already, or is among `blobs`.
    #[serde(default)]
    pub channels: BTreeMap<String, String>,
    /// Values that are kept with it. One of a channel and version that is there is replaced.
    #[serde(default)]
    pub blobs: Vec<NewBlob>,
}

/// The value of a channel at a version.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBlob {
    /// The channel, 1 to 255 bytes.
    pub channel: String,
    /// The version of its value, 1 to 255 bytes.
    pub version: String,
    /// What its octets are, up to 255 bytes, such as `msgpack`.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// The octets in base64, up to 64 MiB of them.
    pub data: String,
}

/// The value of a channel at a version.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BlobView {
    /// The channel.
    pub channel: String,
    /// The version of its value.
    pub version: String,
    /// What its octets are.
    #[serde(rename = "type")]
    pub kind: String,
    /// The octets in base64.
    pub data: String,
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
    /// The versions of the channels whose values it has as blobs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub channels: BTreeMap<String, String>,
    /// These values, where `blobs=true` asks for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blobs: Option<Vec<BlobView>>,
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

/// Which checkpoint of a thread, and what of it.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointQuery {
    /// The thread's own when left out.
    pub namespace: String,
    /// With the values of its channels.
    pub blobs: bool,
}

/// Which blob of a thread.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
pub struct BlobQuery {
    /// The thread's own when left out.
    pub namespace: String,
    /// What its octets are, up to 255 bytes, such as `msgpack`.
    pub r#type: String,
}

/// Which checkpoints.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointsQuery {
    /// The thread's own when left out.
    pub namespace: String,
    /// Those of all namespaces, each with its own.
    pub all_namespaces: bool,
    /// With the values of their channels. They count for the size of a page: see `limit`.
    pub blobs: bool,
    /// Those that come before the checkpoint of this id. It need not be there where its id is a UUID of version 6 or
    /// 7.
    pub before: Option<String>,
    /// A filter as JSON, over `metadata.NAME`, `id` and `created_at`. A page looks at 1000 checkpoints, or at `limit`:
    /// it may have fewer than `limit`, or none, and there may be a `next` all the same.
    pub filter: Option<String>,
    /// Checkpoints a page, 20 unless said otherwise; 1 for the latest alone. A page has at most 64 MiB, or one
    /// checkpoint: it may have fewer than `limit`, and there is a `next` then.
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
    /// Any JSON. All that tasks have written to a checkpoint has at most 16 MiB as JSON.
    pub writes: Value,
}

/// Which namespace of a thread, or all.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
pub struct OneNamespaceQuery {
    /// All of them when left out; empty for the thread's own.
    pub namespace: Option<String>,
}

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
pub struct ThreadsQuery {
    /// Entries a page, 20 unless said otherwise.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// A thread that has checkpoints.
#[derive(Debug, Serialize, ToSchema)]
pub struct ThreadView {
    /// Its id.
    pub thread: String,
    /// Its checkpoints, in all namespaces.
    pub checkpoints: usize,
    /// Namespaces that have any.
    pub namespaces: usize,
}

/// A page of threads.
#[derive(Debug, Serialize, ToSchema)]
pub struct ThreadList {
    pub threads: Vec<ThreadView>,
    /// The cursor of the next page; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A namespace of a thread that has checkpoints.
#[derive(Debug, Serialize, ToSchema)]
pub struct NamespaceView {
    /// Empty for the thread's own.
    pub namespace: String,
    /// Its checkpoints.
    pub checkpoints: usize,
}

/// A page of a thread's namespaces.
#[derive(Debug, Serialize, ToSchema)]
pub struct NamespaceList {
    pub namespaces: Vec<NamespaceView>,
    /// The cursor of the next page; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which checkpoints stay.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PruneRequest {
    /// The latest so many of each namespace, with what tasks have written to them.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub keep: usize,
    /// This namespace alone; empty for the thread's own.
    pub namespace: Option<String>,
}

/// Where a thread is copied to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CopyThread {
    /// The other thread, 1 to 255 bytes. What it has by the same ids is replaced.
    pub to: String,
}

/// How many checkpoints were copied.
#[derive(Debug, Serialize, ToSchema)]
pub struct CopiedCheckpoints {
    pub copied: usize,
}

/// How many checkpoints were deleted.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeletedCheckpoints {
    pub deleted: usize,
}
