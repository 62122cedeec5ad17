//! Tokens of texts and of conversations.

use crate::Texts;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A message whose tokens are counted, as OpenAI's API has it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CountedMessage {
    /// Not counted: it is within the four tokens of a message.
    pub role: Option<String>,
    /// What is said; null where tools are called instead.
    #[serde(default, deserialize_with = "crate::message_content")]
    #[schema(value_type = Option<String>)]
    pub content: Option<String>,
    /// Who says it.
    pub name: Option<String>,
    /// The call that it answers.
    pub tool_call_id: Option<String>,
    /// The calls that it makes, counted as JSON.
    #[schema(value_type = Option<Vec<Object>>)]
    pub tool_calls: Option<Value>,
    /// The call that it makes, as older clients have it, counted likewise.
    #[schema(value_type = Option<Object>)]
    pub function_call: Option<Value>,
    /// Why nothing is said.
    pub refusal: Option<String>,
    /// Not counted, as no prompt has it.
    #[schema(value_type = Option<Vec<Object>>)]
    pub annotations: Option<Value>,
    /// Not counted: it is no text.
    #[schema(value_type = Option<Object>)]
    pub audio: Option<Value>,
}

/// A request for token counts: `input` or `messages`, by `encoding` or `model`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokensRequest {
    /// A model whose encoding is wanted.
    pub model: Option<String>,
    /// tiktoken's name of an encoding; o200k_base when neither is given.
    pub encoding: Option<String>,
    pub input: Option<Texts>,
    pub messages: Option<Vec<CountedMessage>>,
}

/// Token counts.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokensAnswer {
    pub encoding: &'static str,
    /// Of each text, or of what each message says: its content, name and calls.
    pub counts: Vec<usize>,
    /// In all, overhead included.
    pub total: usize,
    /// What is in the total beside the texts: 4 a message and 2 a conversation; 0 for plain texts.
    pub overhead: usize,
}
