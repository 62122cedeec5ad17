//! What mem0's clients say and hear. Fields that are not known are passed over, as there.

use crate::Role;
use crate::messages::spoken;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

/// A message of a conversation.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct Mem0Message {
    /// Who says it; `user` when left out.
    pub role: Option<Role>,
    /// What is said, as a text or as OpenAI's list of parts of type text.
    #[serde(deserialize_with = "spoken")]
    pub content: String,
}

/// Messages to be remembered. One of `user_id`, `agent_id`, `app_id` and `run_id` must be given, here or in `filters`.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Mem0Add {
    /// Up to 1 000.
    #[schema(min_items = 1, max_items = 1000)]
    pub messages: Vec<Mem0Message>,
    /// Whom the memories are about.
    pub user_id: Option<String>,
    /// The agent that has them.
    pub agent_id: Option<String>,
    /// The application that has them.
    pub app_id: Option<String>,
    /// The conversation that they are of.
    pub run_id: Option<String>,
    /// The same four, as an object.
    #[schema(value_type = Option<Object>)]
    pub filters: Option<Map<String, Value>>,
    /// Kept with each memory: any JSON object up to 16 KiB.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// Whether memories are made of the messages, as when left out; else each message is one.
    pub infer: Option<bool>,
    /// The last day of the memories: `2026-12-31`.
    pub expiration_date: Option<String>,
    /// No language model reads it here: refused.
    pub prompt: Option<String>,
    /// No language model reads it here: refused.
    pub custom_instructions: Option<Value>,
    /// No language model reads it here: refused.
    pub agent_custom_instructions: Option<Value>,
    /// No language model reads it here: refused.
    pub custom_categories: Option<Value>,
    /// No language model reads it here: refused.
    pub structured_data_schema: Option<Value>,
    /// When it was said, in seconds since 1970.
    pub timestamp: Option<i64>,
}

/// What happened to a memory.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Mem0Event {
    /// The memory's id.
    pub id: String,
    /// What it says.
    pub memory: String,
    /// `ADD`.
    pub event: &'static str,
}

/// What became of messages.
#[derive(Debug, Serialize, ToSchema)]
pub struct Mem0Added {
    pub results: Vec<Mem0Event>,
}

/// A question to memories.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Mem0Search {
    /// In words.
    pub query: String,
    /// Which memories: `{"user_id": "alex"}`, `{"AND": [...]}`, and the like.
    #[schema(value_type = Option<Object>)]
    pub filters: Option<Map<String, Value>>,
    /// Whose memories, for mem0's own server.
    pub user_id: Option<String>,
    /// The same of an agent.
    pub agent_id: Option<String>,
    /// The same of a conversation.
    pub run_id: Option<String>,
    /// How many, 1 to 1 000; 10 when left out.
    #[schema(minimum = 1, maximum = 1000)]
    pub top_k: Option<usize>,
    /// The same, by its older name.
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
    /// Memories of less relevance are left out, 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    pub threshold: Option<f32>,
    /// The day that "last week" is relative to: `2026-12-31`, or seconds since 1970.
    pub reference_date: Option<Value>,
    /// Memories that have one of these categories.
    pub categories: Option<Vec<String>>,
}

/// Which memories are listed.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct Mem0List {
    /// Which memories: `{"user_id": "alex"}`, `{"AND": [...]}`, and the like.
    #[schema(value_type = Option<Object>)]
    pub filters: Option<Map<String, Value>>,
    /// Memories of this day or later: ISO 8601.
    pub start_date: Option<String>,
    /// Memories of this moment or earlier: ISO 8601.
    pub end_date: Option<String>,
    /// Memories that have one of these categories.
    pub categories: Option<Vec<String>>,
}

/// Which part of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
pub struct Mem0PageQuery {
    /// From 1 on.
    #[param(minimum = 1)]
    pub page: Option<usize>,
    /// Memories of a page, 1 to 1 000; 100 when left out.
    #[param(minimum = 1, maximum = 1000)]
    pub page_size: Option<usize>,
}

/// Which memories of mem0's own server are listed.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
pub struct Mem0AllQuery {
    /// Memories about this user.
    pub user_id: Option<String>,
    /// Memories of this agent.
    pub agent_id: Option<String>,
    /// Memories of this conversation.
    pub run_id: Option<String>,
    /// The newest so many; 1 000 when left out.
    #[param(minimum = 1, maximum = 1000)]
    pub top_k: Option<usize>,
}

/// Whose memories are meant.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
pub struct Mem0Owner {
    /// Memories about this user.
    pub user_id: Option<String>,
    /// Memories of this agent.
    pub agent_id: Option<String>,
    /// Memories of this application.
    pub app_id: Option<String>,
    /// Memories of this conversation.
    pub run_id: Option<String>,
}

/// A memory.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Mem0Memory {
    pub id: String,
    /// What it says.
    pub memory: String,
    #[schema(required)]
    pub user_id: Option<String>,
    #[schema(required)]
    pub agent_id: Option<Value>,
    #[schema(required)]
    pub app_id: Option<Value>,
    #[schema(required)]
    pub run_id: Option<Value>,
    /// What was given with it.
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// `metadata.categories`.
    pub categories: Vec<Value>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
    /// RFC 3339.
    #[schema(required)]
    pub expiration_date: Option<String>,
    /// How sure it is that it answers the question, 0 to 1: the relevance of a recall.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
}

/// Memories that were found.
#[derive(Debug, Serialize, ToSchema)]
pub struct Mem0Found {
    pub results: Vec<Mem0Memory>,
}

/// A part of a list of memories, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Mem0Page {
    /// How many there are.
    pub count: u64,
    /// The path of the next part.
    #[schema(required)]
    pub next: Option<String>,
    /// The path of the part before.
    #[schema(required)]
    pub previous: Option<String>,
    pub results: Vec<Mem0Memory>,
}

/// A change of a memory: what is left out stays.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct Mem0Update {
    /// What it says now.
    #[serde(alias = "data")]
    pub text: Option<String>,
    /// Merged into what is there; `null` removes a key.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// The last day of the memory: `2026-12-31`, or null for none.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub expiration_date: Option<Option<String>>,
    /// When it was said is not changed: refused.
    pub timestamp: Option<Value>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// One of several changes.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct Mem0BatchUpdate {
    pub memory_id: String,
    #[serde(flatten)]
    pub update: Mem0Update,
}

/// Several changes.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Mem0BatchUpdates {
    /// Up to 1 000.
    #[schema(min_items = 1, max_items = 1000)]
    pub memories: Vec<Mem0BatchUpdate>,
}

/// A memory by its id.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Mem0Reference {
    pub memory_id: String,
}

/// Several memories by their ids.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Mem0References {
    /// Up to 1 000.
    #[schema(min_items = 1, max_items = 1000)]
    pub memories: Vec<Mem0Reference>,
}

/// One text that a memory had.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Mem0Change {
    /// The memory's id.
    pub memory_id: String,
    #[schema(required)]
    pub old_memory: Option<String>,
    pub new_memory: String,
    /// `ADD` or `UPDATE`.
    pub event: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

/// A user, agent, application or conversation that has memories.
#[derive(Debug, Serialize, ToSchema)]
pub struct Mem0Entity {
    pub id: String,
    pub name: String,
    /// `user`, `agent`, `app` or `run`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub total_memories: u64,
}

/// Who has memories.
#[derive(Debug, Serialize, ToSchema)]
pub struct Mem0Entities {
    pub count: usize,
    pub results: Vec<Mem0Entity>,
}

/// That something was done.
#[derive(Debug, Serialize, ToSchema)]
pub struct Mem0Done {
    pub message: String,
}

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
pub struct Mem0Ping {
    pub status: &'static str,
    /// The tenant.
    pub org_id: String,
    /// The tenant's only project.
    pub project_id: &'static str,
    /// None: a key has no address.
    #[schema(required)]
    pub user_email: Option<String>,
}

/// What is thought of a memory.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Mem0Feedback {
    pub memory_id: String,
    /// `POSITIVE`, `NEGATIVE` or `VERY_NEGATIVE`.
    pub feedback: Option<String>,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Mem0FeedbackAnswer {
    pub id: String,
    /// The memory's importance now; missing where there is no such memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub importance: Option<f64>,
    pub message: &'static str,
}

/// Which memories are exported.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Mem0NewExport {
    /// Only an empty one: no language model fills it in here.
    #[schema(value_type = Value, required = false)]
    pub schema: Option<Value>,
    /// Which memories: `{"user_id": "alex"}`, `{"AND": [...]}`, and the like.
    #[schema(value_type = Option<Object>)]
    pub filters: Option<Map<String, Value>>,
}

/// An export that can be had.
#[derive(Debug, Serialize, ToSchema)]
pub struct Mem0Export {
    /// What it is asked for by.
    pub id: String,
    pub message: &'static str,
}

/// Which export is wanted.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct Mem0GetExport {
    /// What its making answered.
    pub memory_export_id: Option<String>,
    /// Or which memories.
    #[schema(value_type = Option<Object>)]
    pub filters: Option<Map<String, Value>>,
}

/// Which memories are summed up.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct Mem0SummaryRequest {
    /// Which memories: `{"user_id": "alex"}`, `{"AND": [...]}`, and the like.
    #[schema(value_type = Option<Object>)]
    pub filters: Option<Map<String, Value>>,
}

/// The newest memories in short.
#[derive(Debug, Serialize, ToSchema)]
pub struct Mem0Summary {
    /// A line for each of the newest.
    pub summary: String,
    /// How many memories there are.
    pub count: u64,
}
