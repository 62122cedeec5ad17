//! What of a session goes into the next prompt.

use crate::SummaryView;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// How messages are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// The newest that fit.
    Recent,
    /// Those of the system, the last turns, then older ones from new to old while they fit.
    #[default]
    Smart,
    /// The last turns.
    Window,
    /// A summary of all but the last messages once they are too many, and those.
    Compress,
    /// Those of the system, the last turns, and what recall finds for the newest user message, in the order of time.
    Recall,
}

/// Where `recall` looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// In this session, its archived messages too.
    Session,
    /// In all that is remembered of this session's user in its collection.
    User,
    /// In the whole collection.
    Collection,
}

/// What context is wanted.
#[derive(Clone, Debug, Default, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ContextRequest {
    /// How messages are chosen (smart).
    pub strategy: Strategy,
    /// Tokens of the whole (4000): of each message's content, name and calls, 4 a message and 2 for the conversation.
    pub max_tokens: Option<usize>,
    /// Turns that are always kept: 2 with smart and recall, 5 with window. A turn is a user message and what follows
    /// it.
    pub turns: Option<usize>,
    /// tiktoken's encoding, or a model's name (o200k_base).
    pub encoding: Option<String>,
    /// With compress: tokens over which a summary is made (3000).
    pub threshold: Option<usize>,
    /// With compress: messages that stay as they are (4).
    pub keep_last: Option<usize>,
    /// With compress: tokens of the summary (500).
    pub summary_tokens: Option<usize>,
    /// With recall: the question, instead of the newest user message.
    pub query: Option<String>,
    /// With recall: where to look; `user` where the session has one, and `session` otherwise.
    pub scope: Option<Scope>,
    /// `true` for a text beside the messages: a line each, with who says it.
    pub text: bool,
    /// Who a user is in that text (Human).
    pub human_prefix: Option<String>,
    /// Who the model is in that text (AI).
    pub ai_prefix: Option<String>,
}

/// A message of a context.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ContextMessage {
    /// Its id; missing for a summary and for what is no message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Who says it.
    pub role: String,
    /// What is said.
    pub content: String,
    /// The name of who says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The call that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// The calls that it makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    pub tool_calls: Option<Value>,
    /// The session that it is of, where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// Tokens of its content, name and calls.
    pub tokens: usize,
    /// Whether it was too long, and the end of its content is left out, or its calls are.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// What goes into the prompt.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ContextAnswer {
    /// In order.
    pub messages: Vec<ContextMessage>,
    /// The same as text, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Tokens of the messages, with 4 a message and 2 for the whole; never over what was asked for.
    pub tokens: usize,
    /// By which encoding.
    pub encoding: String,
    /// How they were chosen.
    pub strategy: Strategy,
    /// Messages of the session's list that are not in it.
    pub omitted: u64,
    /// The summary, with `compress` once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<SummaryView>,
    /// The version of the session that this is of.
    pub version: u64,
}
