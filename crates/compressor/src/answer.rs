//! What a compression answers.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Tokens before and after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub original: usize,
    pub compressed: usize,
}

/// The answer to one text, or to several contexts. The fields up to `saving` are the package's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CompressedText {
    /// What is left, contexts joined by an empty line.
    pub compressed_prompt: String,
    /// What is left of each context that was kept.
    pub compressed_prompt_list: Vec<String>,
    /// Every word with its label, 1 for kept, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fn_labeled_original_prompt: Option<String>,
    /// Tokens before.
    pub origin_tokens: usize,
    /// Tokens after.
    pub compressed_tokens: usize,
    /// How many times shorter, such as `3.3x`.
    pub ratio: String,
    /// What share is left, such as `30.6%`.
    pub rate: String,
    /// The package's estimate at the price that GPT-4 had in 2023.
    pub saving: String,
    /// Byte spans of each context that were kept: `[[start, end], …]`. Empty in mode `parity`, whose answer is not
    /// cut out of the source.
    pub kept: Vec<Vec<[usize; 2]>>,
    /// Which model did the work.
    pub model: String,
    /// In which mode.
    pub mode: String,
}

impl CompressedText {
    /// With the package's strings.
    pub(crate) fn new(list: Vec<String>, labelled: Option<String>, counts: Counts) -> Self {
        let Counts { original, compressed } = counts;
        let ratio = if compressed == 0 { 1.0 } else { original as f64 / compressed as f64 };
        let saving = (original as f64 - compressed as f64) * 0.06 / 1000.0;
        Self {
            compressed_prompt: list.join("\n\n"),
            compressed_prompt_list: list,
            fn_labeled_original_prompt: labelled,
            origin_tokens: original,
            compressed_tokens: compressed,
            ratio: format!("{ratio:.1}x"),
            rate: format!("{:.1}%", if ratio == 0.0 { 0.0 } else { 1.0 / ratio * 100.0 }),
            saving: format!(", Saving ${saving:.1} in GPT-4."),
            ..Self::default()
        }
    }
}

/// A message of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant`, …
    pub role: String,
    /// What was said; null where a tool is called instead.
    pub content: Option<String>,
    /// Whatever else the message has, such as `name` or `tool_calls`: it is handed on as it is. Names and calls are
    /// counted.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The answer to a conversation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CompressedConversation {
    /// The messages that are left, in order.
    pub messages: Vec<Message>,
    /// Which of the messages given were left out because nothing of them fits, counted from 0.
    pub dropped: Vec<usize>,
    /// Tokens before, with 4 a message and 2 for the whole.
    pub origin_tokens: usize,
    /// Tokens after, likewise.
    pub compressed_tokens: usize,
    /// Which model did the work.
    pub model: String,
    /// In which mode.
    pub mode: String,
}
