//! What the tools of the Model Context Protocol answer: ours, and those that LightMem has.

use crate::{ContextMessage, FieldError, LlmUsage, MemoriesPolicy, RecordView, Waiting};
use serde::Serialize;
use serde_json::{Map, Value};

/// The answer of `memory_search`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FoundMemories {
    /// Best first.
    pub memories: Vec<FoundMemory>,
    /// Tokens of their texts.
    pub tokens: usize,
    /// How many did not fit.
    pub left_out: usize,
}

/// A memory that was found.
#[derive(Clone, Debug, Serialize)]
pub struct FoundMemory {
    /// Its id.
    pub id: String,
    /// What is remembered.
    pub text: String,
    /// How well it matches: higher is better.
    pub score: f32,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// The conversation it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Episodic, semantic, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its metadata, where it has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

/// The answer of `memory_add`.
#[derive(Clone, Debug, Serialize)]
pub struct AddedMemory {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: u64,
    /// Where it is.
    pub collection: String,
}

/// The answer of `memory_update`.
#[derive(Clone, Debug, Serialize)]
pub struct UpdatedMemory {
    /// Its id.
    pub id: String,
    /// Its version now.
    pub version: u64,
}

/// The answer of `memory_list`.
#[derive(Clone, Debug, Serialize)]
pub struct ListedMemories {
    /// Newest first.
    pub memories: Vec<RecordView>,
    /// Whether there are more.
    pub more: bool,
}

/// The answer of `session_context`.
#[derive(Clone, Debug, Serialize)]
pub struct SessionContext {
    /// In order.
    pub messages: Vec<ContextMessage>,
    /// Tokens of the whole.
    pub tokens: usize,
    /// Messages of the session's list that are not in it.
    pub omitted: u64,
}

/// The answer of `session_append`.
#[derive(Clone, Debug, Serialize)]
pub struct AppendedIds {
    /// The session's version now.
    pub version: u64,
    /// In the order of the request.
    pub ids: Vec<String>,
}

/// Whether a tool of LightMem's has done what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ToolStatus {
    /// It has.
    Success,
    /// It has not.
    Error,
}

/// The answer of `get_timestamp`.
#[derive(Clone, Debug, Serialize)]
pub struct TimestampAnswer {
    /// Whether it was done.
    pub status: ToolStatus,
    /// RFC 3339.
    pub timestamp: String,
}

/// The answer of `add_memory`.
#[derive(Clone, Debug, Serialize)]
pub struct AddMemoryAnswer {
    /// Whether it was done.
    pub status: ToolStatus,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Memories that were made.
    pub memories: Vec<String>,
    /// What waits for more to be said.
    pub waiting: Waiting,
    /// What language models have cost.
    pub llm: LlmUsage,
}

/// The answer of `offline_update`.
#[derive(Clone, Debug, Serialize)]
pub struct OfflineUpdateAnswer {
    /// Whether it was done.
    pub status: ToolStatus,
    /// What was done.
    pub message: &'static str,
    /// The job that does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
}

/// The answer of `retrieve_memory`.
#[derive(Clone, Debug, Serialize)]
pub struct RetrieveAnswer {
    /// Whether it was done.
    pub status: ToolStatus,
    /// Best first.
    pub memories: Vec<RetrievedMemory>,
}

/// A memory, with its time, as LightMem shows it.
#[derive(Clone, Debug, Serialize)]
pub struct RetrievedMemory {
    /// Its id.
    pub id: String,
    /// How well it matches: higher is better.
    pub score: f32,
    /// Time, weekday and text.
    pub memory: String,
}

/// The answer of `show_lightmem_instance`.
#[derive(Clone, Debug, Serialize)]
pub struct InstanceAnswer {
    /// Whether it was done.
    pub status: ToolStatus,
    /// The model that embeds.
    pub embedding_model: Option<String>,
    /// The models that compress.
    pub compression_models: Vec<String>,
    /// The model that extracts facts.
    pub language_model: Option<String>,
    /// How messages become memories where a collection says nothing of it.
    pub defaults: MemoriesPolicy,
}

/// What a tool answers that failed: the model is told, and can put it right.
#[derive(Clone, Debug, Serialize)]
pub struct ToolFailure {
    /// What went wrong.
    pub error: String,
    /// The fields that are wrong.
    pub fields: Vec<FieldError>,
}
