//! Compression, under the names of the Python package.

use crate::Texts;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use utoipa::openapi::{Object, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// How faithfully the package is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CompressMode {
    /// The package's selection with its faults mended.
    #[default]
    Default,
    /// The same with one threshold over the whole text, chosen so that the budget holds.
    Strict,
    /// The package's answer to the character, its faults included.
    Parity,
}

/// How the probabilities of a word's tokens become the word's. In modes `default` and `strict` signs within a word
/// (`don't`, `a@b.example`) do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenToWord {
    /// Their mean.
    #[default]
    Mean,
    /// That of the first.
    First,
}

/// What is kept of a text, and how. Names, meanings and defaults are those of `compress_prompt` of the Python
/// package, but for `mode`, `encoding`, `threshold` and `structured`, which are ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CompressOptions {
    /// How faithfully the package is followed.
    pub mode: CompressMode,
    /// Share of the tokens to be kept, over 0 and up to 1.
    #[schema(exclusive_minimum = 0, maximum = 1)]
    pub rate: f64,
    /// Tokens to be kept, instead of a rate; negative for none.
    pub target_token: f64,
    /// Keep only words that are more likely than this, instead of a rate.
    #[schema(minimum = 0, maximum = 1)]
    pub threshold: Option<f64>,
    /// tiktoken's encoding that tokens are counted by, or a model's name. The package knows only cl100k_base.
    pub encoding: String,
    /// Whether the least likely of several contexts are dropped first. Left out: yes in mode `parity` (as the package
    /// does), no in the others.
    pub use_context_level_filter: Option<bool>,
    /// Whether words are dropped.
    pub use_token_level_filter: bool,
    /// Contexts to be kept at most; negative for no such limit.
    pub target_context: f64,
    /// Share of the contexts to be kept.
    #[schema(exclusive_minimum = 0, maximum = 1)]
    pub context_level_rate: f64,
    /// Tokens of the contexts to be kept; negative for no such limit.
    pub context_level_target_token: f64,
    /// Contexts that are kept whatever happens, counted from 0.
    pub force_context_ids: Vec<usize>,
    /// How the probabilities of a word's tokens become the word's.
    pub token_to_word: TokenToWord,
    /// Words and strings that are always kept, with the number, address or name that they are a part of.
    pub force_tokens: Vec<String>,
    /// Always keep what has a digit in it: numbers with their signs and units, dates, names such as `v1.2.3`.
    pub force_reserve_digit: bool,
    /// Always keep what negates: `not`, `don't`, `nicht`, `不`, `没有`. The package does not know it: mode `parity` does
    /// not look at it.
    pub force_reserve_negation: bool,
    /// Of a forced token that would stand twice in a row, keep one.
    pub drop_consecutive: bool,
    /// Where a text that is too long for one pass is best cut.
    pub chunk_end_tokens: Vec<String>,
    /// Whether the answer lists every word with its label.
    pub return_word_label: bool,
    /// What stands between two words of that list.
    pub word_sep: String,
    /// What stands between a word and its label.
    pub label_sep: String,
    /// Whether `<llmlingua, rate=0.5, compress=False>…</llmlingua>` in the text is read as a tag.
    pub structured: bool,
}

impl Default for CompressOptions {
    fn default() -> Self {
        Self {
            mode: CompressMode::Default,
            rate: 0.5,
            target_token: -1.0,
            threshold: None,
            encoding: "cl100k_base".into(),
            use_context_level_filter: None,
            use_token_level_filter: true,
            target_context: -1.0,
            context_level_rate: 1.0,
            context_level_target_token: -1.0,
            force_context_ids: Vec::new(),
            token_to_word: TokenToWord::Mean,
            force_tokens: Vec::new(),
            force_reserve_digit: false,
            force_reserve_negation: true,
            drop_consecutive: false,
            chunk_end_tokens: vec![".".into(), "\n".into()],
            return_word_label: false,
            word_sep: "\t\t|\t\t".into(),
            label_sep: " ".into(),
            structured: false,
        }
    }
}

/// The answer to one text, or to several contexts. The fields up to `saving` are the package's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
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

/// A message of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
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

/// The type that a value of a JSON object has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ValueType {
    /// Text, which is compressed.
    #[default]
    #[serde(alias = "string")]
    Str,
    /// A number, which stays.
    #[serde(alias = "int", alias = "integer", alias = "float")]
    Number,
    /// True or false, which stays.
    #[serde(alias = "boolean")]
    Bool,
    /// A list, whose items are compressed each on its own.
    #[serde(alias = "tuple", alias = "List")]
    List,
    /// An object, whose values are compressed each on its own.
    #[serde(alias = "dictionary")]
    Dict,
}

/// How a key of a JSON object is treated; the package's `json_config`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JsonRule {
    /// Share of its tokens to be kept; the request's rate when left out.
    #[schema(exclusive_minimum = 0, maximum = 1)]
    pub rate: Option<f64>,
    /// Whether it is compressed at all.
    pub compress: bool,
    /// What its value is.
    pub value_type: ValueType,
    /// Whether the context filter may remove the pair.
    pub pair_remove: bool,
}

impl Default for JsonRule {
    fn default() -> Self {
        Self { rate: None, compress: true, value_type: ValueType::Str, pair_remove: false }
    }
}

/// What is to be compressed: exactly one of `context`, `documents`, `messages` and `json_data`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompressSource {
    /// One prompt: a text, or several contexts of it.
    pub context: Option<Texts>,
    /// Independent texts, each with an answer of its own; they share the model's passes.
    #[schema(min_items = 1, max_items = 2048)]
    pub documents: Option<Vec<String>>,
    /// A conversation: roles stay, messages of role `system` and the last `keep_last` stay whole.
    #[schema(min_items = 1, max_items = 2048)]
    pub messages: Option<Vec<Message>>,
    /// How many messages at the end of a conversation stay whole (2).
    pub keep_last: Option<usize>,
    /// An object whose texts are compressed, by the rules in `json_config`.
    #[schema(value_type = Option<Object>)]
    pub json_data: Option<Map<String, Value>>,
    /// A rule for each key of `json_data`.
    pub json_config: Option<BTreeMap<String, JsonRule>>,
    /// The model, by its name or how that begins (`keep-head`, `llmlingua-2`); the box's own choice when left out.
    pub model: Option<String>,
    /// Taken for the package's sake, whose version 2 does nothing with it either.
    pub instruction: Option<String>,
    /// Taken for the package's sake, whose version 2 does nothing with it either.
    pub question: Option<String>,
}

/// A request for compression, for the API's description: what, and every option of the package under its own name,
/// side by side.
pub struct CompressRequest;

impl PartialSchema for CompressRequest {
    fn schema() -> RefOr<Schema> {
        let mut request = Object::new();
        for part in [CompressSource::schema(), CompressOptions::schema()] {
            if let RefOr::T(Schema::Object(part)) = part {
                request.properties.extend(part.properties);
                request.additional_properties = part.additional_properties;
            }
        }
        RefOr::T(Schema::Object(request))
    }
}

impl ToSchema for CompressRequest {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        CompressSource::schemas(schemas);
        CompressOptions::schemas(schemas);
    }
}

/// The answers to `documents`.
#[derive(Debug, Serialize, ToSchema)]
pub struct CompressedDocuments {
    /// In the order of the request.
    pub documents: Vec<CompressedText>,
    /// Tokens of all before.
    pub origin_tokens: usize,
    /// Tokens of all after.
    pub compressed_tokens: usize,
}

/// The answer to `json_data`.
#[derive(Debug, Serialize, ToSchema)]
pub struct CompressedJson {
    /// The object, its texts compressed.
    #[schema(value_type = Object)]
    pub json_data: Map<String, Value>,
    /// The same written as JSON, and its counts.
    #[serde(flatten)]
    pub compressed: CompressedText,
}

/// The answer, in the form of what was asked.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum CompressAnswer {
    /// To `context`.
    Context(Box<CompressedText>),
    /// To `documents`.
    Documents(CompressedDocuments),
    /// To `messages`.
    Messages(CompressedConversation),
    /// To `json_data`.
    Json(Box<CompressedJson>),
}
