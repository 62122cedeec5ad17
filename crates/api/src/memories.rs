//! From what was said to memories, and what becomes of older ones.

use crate::{AppendedMessage, CutRule, Role};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

/// How messages become memories.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MemoriesPolicy {
    /// Share of a text's tokens that a memory keeps (LightMem: 0.4 to 0.8); 1 for all. The messages stay whole.
    #[schema(exclusive_minimum = 0, maximum = 1)]
    pub rate: f64,
    /// By what topics are cut.
    pub cut: CutRule,
    /// Tokens of users' messages after which topics are cut.
    #[schema(minimum = 1)]
    pub buffer_tokens: u64,
    /// Tokens of topics after which memories are made of them; no fewer than `buffer_tokens`.
    #[schema(minimum = 1)]
    pub topic_tokens: u64,
    /// Seconds without a message that end a topic; 0 for any number.
    pub gap_s: u64,
    /// Whose messages become memories.
    pub roles: Vec<Role>,
    /// Whether a language model extracts facts, where one is set up.
    pub llm: bool,
    /// When older memories are held against new ones.
    pub update: UpdateTime,
}

impl Default for MemoriesPolicy {
    fn default() -> Self {
        Self {
            rate: 0.8,
            cut: CutRule::Depth,
            buffer_tokens: 512,
            topic_tokens: 2000,
            gap_s: 3600,
            roles: vec![Role::User, Role::Assistant],
            llm: true,
            update: UpdateTime::Offline,
        }
    }
}

/// When older memories are held against new ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum UpdateTime {
    /// When it is asked for: `POST /v1/memories:update`.
    #[default]
    Offline,
    /// As soon as there are new ones.
    Online,
}

/// A message on its way to memories.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MemoryMessage {
    /// The caller's id, unique in the session, so that a request can be repeated; a UUIDv7 when left out.
    pub id: Option<String>,
    /// Who says it; `user` when left out.
    pub role: Option<Role>,
    /// What is said, as a text or as OpenAI's list of parts of type text.
    #[serde(deserialize_with = "crate::messages::spoken")]
    pub content: String,
    /// The name of who says it.
    pub name: Option<String>,
    /// When the conversation began, as `2023/05/20 (Sat) 00:44` or ISO 8601, in UTC where it names no zone: messages
    /// of the same stamp follow each other by half a second. The request's when left out, or now.
    pub time_stamp: Option<String>,
    /// Any JSON object up to 16 KiB.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
}

/// Messages to be remembered.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddMemories {
    /// The conversation that they belong to; it is made if it is not there.
    pub session: String,
    /// Whom it is with.
    pub user: Option<String>,
    /// The collection of messages and memories: the user's own when left out.
    pub collection: Option<String>,
    /// Up to 1 000; none, with `force`, to finish what is waiting.
    #[serde(default)]
    #[schema(max_items = 1000)]
    pub messages: Vec<MemoryMessage>,
    /// The stamp of messages that have none.
    pub time_stamp: Option<String>,
    /// Cut topics and make memories of all that has been said, without waiting for more.
    #[serde(default)]
    pub force: bool,
}

/// A memory that was made.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MadeMemory {
    /// Its record's id.
    pub id: String,
    /// What it says.
    pub text: String,
    /// The topic that it is of, by its number within the session.
    pub topic: u64,
    /// Ids of the messages that it is made of.
    pub sources: Vec<String>,
    /// When that was said.
    pub created_at: String,
}

/// A topic that was cut.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CutTopic {
    /// Its number within the session.
    pub topic: u64,
    /// `seq` of its first message.
    pub from: i64,
    /// `seq` after its last one.
    pub until: i64,
    /// Tokens of its messages.
    pub tokens: u64,
    /// Why it ends there: `topic`, `time`, `full` or `forced`.
    pub reason: &'static str,
    /// How clear the cut is, where it is one between topics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
}

/// What of a session waits for more to be said.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub struct Waiting {
    /// Messages that are in no topic yet.
    pub buffered_messages: u64,
    /// Topics of which no memory has been made yet.
    pub topics: usize,
    /// Tokens of these.
    pub topic_tokens: u64,
}

/// What has come of messages.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct AddedMemories {
    /// The session's version.
    pub version: u64,
    /// Each message with its place. All of them are durable, whatever follows.
    pub messages: Vec<AppendedMessage>,
    /// Topics that were cut.
    pub topics: Vec<CutTopic>,
    /// Memories that were made.
    pub memories: Vec<MadeMemory>,
    /// What was done to older ones, with `update` = `online`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub updates: Vec<MemoryChange>,
    /// What waits for more to be said.
    pub waiting: Waiting,
    /// What language models have cost.
    #[schema(value_type = Object)]
    pub llm: LlmUsage,
    /// Why no memories were made of what is waiting, where that failed: the next call tries again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What each step did, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    pub explain: Option<Vec<Value>>,
}

/// How much is to be told.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct AddQuery {
    /// Say what each step did: times, what was compressed from how many tokens to how many, cuts with their scores,
    /// facts.
    #[serde(default)]
    pub explain: bool,
}

/// Which memories are to be held against newer ones.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateRequest {
    /// Whose memories.
    pub user: Option<String>,
    /// The collection that they are in: the user's own when left out.
    pub collection: Option<String>,
    /// Older memories that are found for each (20).
    pub top_k: Option<usize>,
    /// Those of them that it queues up at (10).
    pub keep_top_n: Option<usize>,
    /// How alike they must be (0.8; 1 is the same, and 0 the cosine that unrelated texts have by the collection's
    /// model).
    #[schema(minimum = 0, maximum = 1)]
    pub score_threshold: Option<f32>,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What becomes of an older memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It stays as it is.
    Keep,
    /// It says something else now.
    Update,
    /// It is no memory any more: the newer one that is most like it keeps it whole, in `metadata.history`.
    Delete,
    /// It is the history of a newer one now.
    Merge,
}

/// What was done to a memory.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MemoryChange {
    /// Its id.
    pub id: String,
    /// What was done.
    pub decision: Decision,
    /// The newer memories that it was held against, and how alike they are, most first.
    pub newer: Vec<(String, f32)>,
    /// What it says now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// What an update did.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct UpdateReport {
    /// Memories that were looked at.
    pub memories: u64,
    /// Those that had newer ones like them.
    pub queued: u64,
    /// Those that stayed as they are.
    pub kept: u64,
    /// Those that say something else now.
    pub updated: u64,
    /// Those that the language model would delete: each is in the history of a newer one.
    pub deleted: u64,
    /// Those that are the history of newer ones.
    pub merged: u64,
    /// Those that somebody changed meanwhile, or of which the language model has made nothing: they stay for the next
    /// time.
    pub skipped: u64,
    /// Why some could not be decided, if so: they stay as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What language models have cost.
    #[schema(value_type = Object)]
    pub llm: LlmUsage,
    /// The first thousand changes.
    pub changes: Vec<MemoryChange>,
}

/// How near-doubles are merged.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConsolidateRequest {
    /// How alike two texts must be to be held against each other (0.8; 1 is the same, and 0 the cosine that unrelated
    /// texts have by the collection's model). They become one if they say the same in the same words.
    #[schema(minimum = 0.5, maximum = 1)]
    pub threshold: Option<f32>,
    /// Only say what would be merged.
    pub dry_run: bool,
    /// Only records of this user.
    pub user: Option<String>,
}

/// A pair that was merged, or would be.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct MergedPair {
    /// The record that stands.
    pub kept: String,
    /// The one that is its history now.
    pub absorbed: String,
    /// Their cosine.
    pub score: f32,
}

/// What was merged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct ConsolidateReport {
    /// Records that were looked at.
    pub records: u64,
    /// Records that are another's history now, or would be.
    pub merged: u64,
    /// Pairs that were left because somebody wrote to one of them meanwhile, or a history is full.
    pub skipped: u64,
    /// The first hundred.
    pub pairs: Vec<MergedPair>,
}

/// What answers of language models have cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LlmUsage {
    /// Requests that were answered.
    pub calls: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Tokens of what was asked, as the endpoint counts them; a token for four bytes where it does not.
    pub prompt_tokens: u64,
    /// Tokens of what was answered, counted in the same way.
    pub completion_tokens: u64,
}
