//! What clients of Redis' agent-memory-server say and hear. Fields that are not known are passed over, as there.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

/// That it is alive.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentMemoryHealth {
    /// Milliseconds since 1970.
    pub now: i64,
}

/// That something was done.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentMemoryDone {
    /// `ok`, and perhaps how often.
    pub status: String,
}

/// A long-term memory. The box says the times that are not given.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AgentMemory {
    /// The client's id. One that exists is replaced.
    pub id: String,
    /// What is remembered.
    pub text: String,
    /// The conversation that it is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Whom it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Where it belongs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topics: Option<Vec<String>>,
    /// Who or what is named in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entities: Option<Vec<String>>,
    /// `semantic` (as when left out), `episodic` or `message`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_type: Option<String>,
    /// When what it says took place: RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_date: Option<String>,
    /// Messages that it was made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extracted_from: Option<Vec<String>>,
    /// Whether it is never forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<bool>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// RFC 3339; the box says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
    /// RFC 3339; the box says when it was last written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_accessed: Option<String>,
    /// RFC 3339; the box says since when it is a long-term memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persisted_at: Option<String>,
}

/// Long-term memories to be written.
#[derive(Debug, Deserialize, ToSchema)]
pub struct AgentMemories {
    /// Up to 1 000.
    #[schema(min_items = 1, max_items = 1000)]
    pub memories: Vec<AgentMemory>,
}

/// A change of a long-term memory: what is left out stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct AgentMemoryPatch {
    /// What it says now.
    pub text: Option<String>,
    /// What it is about.
    pub topics: Option<Vec<String>>,
    /// Who or what is named in it.
    pub entities: Option<Vec<String>>,
    /// `semantic`, `episodic` or `message`.
    pub memory_type: Option<String>,
    /// Where it belongs.
    pub namespace: Option<String>,
    /// Whom it is about.
    pub user_id: Option<String>,
    /// The conversation that it is of.
    pub session_id: Option<String>,
    /// When what it says took place: RFC 3339.
    pub event_date: Option<String>,
    /// Whether it is never forgotten.
    pub pinned: Option<bool>,
}

/// Which long-term memories.
#[derive(Debug, IntoParams)]
pub struct AgentMemoryIds {
    /// Their ids; it may stand several times.
    pub memory_ids: Vec<String>,
}

impl<'de> Deserialize<'de> for AgentMemoryIds {
    /// Reads a name that stands several times.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = crate::pairs(deserializer)?;
        let memory_ids = given.into_iter().filter(|(name, _)| name == "memory_ids").map(|(_, id)| id).collect();
        Ok(Self { memory_ids })
    }
}

/// Which values of a field.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AgentMemoryTags {
    /// This.
    pub eq: Option<String>,
    /// Any but this.
    #[serde(alias = "not_eq")]
    pub ne: Option<String>,
    /// One of these.
    #[serde(alias = "in_")]
    pub any: Option<Vec<String>>,
    /// None of these.
    #[serde(alias = "not_in")]
    pub none: Option<Vec<String>>,
    /// Each of these.
    pub all: Option<Vec<String>>,
    /// What begins so.
    pub startswith: Option<String>,
}

/// Which times.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AgentMemoryTimes {
    /// RFC 3339.
    pub eq: Option<String>,
    /// RFC 3339.
    pub ne: Option<String>,
    /// RFC 3339.
    pub gt: Option<String>,
    /// RFC 3339.
    pub gte: Option<String>,
    /// RFC 3339.
    pub lt: Option<String>,
    /// RFC 3339.
    pub lte: Option<String>,
    /// From the first on, and up to the second.
    #[schema(min_items = 2, max_items = 2)]
    pub between: Option<Vec<String>>,
}

/// How memories are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgentMemoryMode {
    /// By meaning.
    #[default]
    Semantic,
    /// By words.
    Keyword,
    /// By both.
    Hybrid,
}

/// A question to long-term memories.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct AgentMemorySearch {
    /// In words; without it the memories that the filters leave are listed, the newest first.
    pub text: Option<String>,
    /// How they are found.
    pub search_mode: AgentMemoryMode,
    /// Of these conversations.
    pub session_id: Option<AgentMemoryTags>,
    /// In these namespaces.
    pub namespace: Option<AgentMemoryTags>,
    /// About these users.
    pub user_id: Option<AgentMemoryTags>,
    /// About this.
    pub topics: Option<AgentMemoryTags>,
    /// That name these.
    pub entities: Option<AgentMemoryTags>,
    /// Of these types.
    pub memory_type: Option<AgentMemoryTags>,
    /// That were made then.
    pub created_at: Option<AgentMemoryTimes>,
    /// Of what took place then.
    pub event_date: Option<AgentMemoryTimes>,
    /// The box does not know when a memory was asked for: refused.
    pub last_accessed: Option<AgentMemoryTimes>,
    /// How a memory was made is not kept: refused.
    pub extraction_strategy: Option<AgentMemoryTags>,
    /// The largest cosine distance, where memories are found by meaning.
    #[schema(minimum = 0, maximum = 2)]
    pub distance_threshold: Option<f32>,
    /// Memories, 10 when left out.
    #[schema(minimum = 1, maximum = 100)]
    pub limit: Option<usize>,
    /// Memories that are passed over.
    #[schema(maximum = 9000)]
    pub offset: usize,
}

/// A long-term memory that was found.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentMemoryHit {
    #[serde(flatten)]
    pub memory: AgentMemory,
    /// The smaller, the better: the cosine distance of what was found by meaning, or else what `score` lacks of 1.
    pub dist: f32,
    /// How sure it is that it answers the question, 0 to 1: the relevance of a recall.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// How it was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score_type: Option<AgentMemoryMode>,
}

/// Long-term memories that were found.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentMemoryFound {
    pub memories: Vec<AgentMemoryHit>,
    /// How many were found so far, with those that were passed over.
    pub total: usize,
    /// The `offset` of the next part; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<usize>,
}

/// Which long-term memories are forgotten.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct AgentMemoryPolicy {
    /// Those that are older.
    pub max_age_days: Option<f64>,
    /// Those that were not written for longer. Beside `max_age_days` both must hold, or the first so many times over.
    pub max_inactive_days: Option<f64>,
    /// How many times, 12 when left out.
    pub hard_age_multiplier: Option<f64>,
    /// All of the others but the newest so many.
    pub budget: Option<usize>,
    /// Of these types alone.
    pub memory_type_allowlist: Option<Vec<String>>,
}

/// What is to be forgotten.
#[derive(Debug, Deserialize, ToSchema)]
pub struct AgentMemoryForget {
    /// Which memories.
    pub policy: AgentMemoryPolicy,
    /// Memories that stay.
    pub pinned_ids: Option<Vec<String>>,
}

/// Among which memories, and whether they are.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
pub struct AgentMemoryForgetQuery {
    /// Of this namespace.
    pub namespace: Option<String>,
    /// About this user.
    pub user_id: Option<String>,
    /// Of this conversation.
    pub session_id: Option<String>,
    /// Memories that are looked at, the newest first; 1 000 when left out.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
    /// Whether nothing is deleted: so it is when left out, as agent-memory-server has it.
    pub dry_run: Option<bool>,
}

/// What was forgotten.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentMemoryForgotten {
    /// Memories that were looked at.
    pub scanned: usize,
    /// Memories that were deleted, or would be.
    pub deleted: usize,
    /// Their ids.
    pub deleted_ids: Vec<String>,
    /// Whether nothing was deleted.
    pub dry_run: bool,
}

/// A message of a conversation.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WorkingMessage {
    /// Who says it: `user`, `assistant`, or another.
    pub role: String,
    /// What is said.
    pub content: String,
    /// The client's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// RFC 3339; now when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persisted_at: Option<String>,
    /// `t` or `f`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discrete_memory_extracted: Option<String>,
}

/// What an agent has in mind of a conversation. All of it has 1 MiB at most as JSON.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct WorkingMemory {
    /// The conversation.
    pub messages: Vec<WorkingMessage>,
    /// Long-term memories, which are written as such too.
    pub memories: Vec<AgentMemory>,
    /// Any JSON object.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub data: Option<Map<String, Value>>,
    /// What was said before these messages, in short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Whom it is with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Where it belongs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Tokens, as the client counts them.
    pub tokens: u64,
    /// How memories would be made of messages: kept, and not heeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub long_term_memory_strategy: Option<Map<String, Value>>,
    /// Seconds that it lives; for good when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
}

/// A working memory as it is given out.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkingMemoryView {
    /// The conversation's id.
    pub session_id: String,
    #[serde(flatten)]
    pub memory: WorkingMemory,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
    /// RFC 3339; when it was last written.
    pub last_accessed: String,
    /// How much of `context_window_max` its messages take, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_percentage_total_used: Option<f64>,
}

/// Whose working memory, and how much of it.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
pub struct WorkingMemoryQuery {
    /// Whom it is with; with another it is not there.
    pub user_id: Option<String>,
    /// Where it belongs.
    pub namespace: Option<String>,
    /// Tokens that its messages may have: the oldest are left out.
    #[param(minimum = 1)]
    pub context_window_max: Option<usize>,
    /// The newest so many messages.
    #[param(minimum = 1)]
    pub recent_messages_limit: Option<usize>,
}

/// Which working memories.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
pub struct WorkingMemoriesQuery {
    /// Ids, 20 when left out.
    #[param(minimum = 1, maximum = 100)]
    pub limit: Option<usize>,
    /// Ids that are passed over.
    pub offset: usize,
    /// Where they belong.
    pub namespace: Option<String>,
    /// Whom they are with.
    pub user_id: Option<String>,
}

/// Conversations that have a working memory, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkingMemories {
    /// Their ids.
    pub sessions: Vec<String>,
    /// How many there are.
    pub total: u64,
}

/// Of which conversation a prompt is.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct PromptSession {
    /// Its id.
    pub session_id: String,
    /// Where it belongs.
    pub namespace: Option<String>,
    /// Whom it is with.
    pub user_id: Option<String>,
    /// Tokens that its messages may have: the oldest are left out.
    #[serde(default, deserialize_with = "count")]
    #[schema(value_type = Option<usize>, minimum = 1)]
    pub context_window_max: Option<usize>,
}

/// Reads a number from 1 on, which may be written as a text.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let number = match Option::<Value>::deserialize(deserializer)? {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.parse().ok(),
        Some(number) => number.as_u64().map(|n| n as usize),
    };
    let wrong = || serde::de::Error::custom("a whole number from 1 on is wanted");
    number.filter(|&n| n > 0).map(Some).ok_or_else(wrong)
}

/// A question to a language model. One of `session` and `long_term_search` must be given.
#[derive(Debug, Deserialize, ToSchema)]
pub struct AgentMemoryPrompt {
    /// The question.
    pub query: String,
    /// The conversation that it is asked in.
    pub session: Option<PromptSession>,
    /// Which long-term memories stand beside it; `true` for 20 of all that is known of the user.
    #[schema(value_type = Option<AgentMemorySearch>)]
    pub long_term_search: Option<Value>,
}

/// A message for a language model.
#[derive(Debug, Serialize, ToSchema)]
pub struct PromptMessage {
    /// `system`, `user` or `assistant`.
    pub role: &'static str,
    pub content: PromptText,
}

/// What a message says.
#[derive(Debug, Serialize, ToSchema)]
pub struct PromptText {
    /// `text`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub text: String,
}

/// A question with what is remembered for it.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentMemoryPrompted {
    pub messages: Vec<PromptMessage>,
    /// The long-term memories among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub long_term_memories: Option<Vec<AgentMemoryHit>>,
}
