//! Embeddings as OpenAI and as text-embeddings-inference have them.

use crate::yes;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is to be embedded: a text, texts, a token sequence, or token sequences.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "a text, a list of texts, a list of token ids, or a list of such lists is wanted")]
pub enum EmbeddingInput {
    /// One text.
    Text(String),
    /// Texts.
    Texts(Vec<String>),
    /// Token ids.
    Tokens(Vec<u32>),
    /// Several sequences of them.
    TokenLists(Vec<Vec<u32>>),
}

/// Texts as text-embeddings-inference takes them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "a text or a list of texts is wanted")]
pub enum Texts {
    /// One text.
    One(String),
    /// Texts.
    Many(Vec<String>),
}

impl Texts {
    /// All of them.
    pub fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        }
    }
}

/// How vectors are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EncodingFormat {
    /// A list of numbers.
    #[default]
    Float,
    /// Little-endian f32 in base64: smaller, and much faster to read.
    Base64,
}

/// OpenAI's request. Further fields, which its clients and gateways send, are passed over.
#[derive(Debug, Deserialize, ToSchema)]
pub struct EmbeddingsRequest {
    /// What is to be embedded. Token ids are those of cl100k_base, as OpenAI's clients send them, or, between the
    /// model's own first and last token (`[CLS]` and `[SEP]`), the model's.
    pub input: EmbeddingInput,
    /// One of `GET /v1/models`; the box's own when left out.
    pub model: Option<String>,
    #[serde(default)]
    pub encoding_format: EncodingFormat,
    /// Keep only so many numbers, and normalise again.
    pub dimensions: Option<usize>,
    /// Not used.
    pub user: Option<String>,
    /// Tokens kept of each text: 256 unless said otherwise, 512 at most.
    pub max_tokens: Option<usize>,
}

/// OpenAI's answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct EmbeddingsAnswer {
    pub object: &'static str,
    pub data: Vec<EmbeddingObject>,
    pub model: String,
    pub usage: EmbeddingsUsage,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct EmbeddingObject {
    pub object: &'static str,
    pub index: usize,
    pub embedding: EmbeddingData,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum EmbeddingData {
    Float(Vec<f32>),
    Base64(String),
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Usage)]
pub struct EmbeddingsUsage {
    pub prompt_tokens: usize,
    pub total_tokens: usize,
}

/// An end of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Its beginning.
    #[serde(alias = "Left")]
    Left,
    /// Its end.
    #[serde(alias = "Right")]
    Right,
}

/// text-embeddings-inference's request. Further fields are passed over, as there.
#[derive(Debug, Deserialize, ToSchema)]
pub struct EmbedRequest {
    /// Texts, or ids of the model's own tokens.
    pub inputs: EmbeddingInput,
    /// Cut what is too long, as when left out; with false, a text that is too long is an error.
    pub truncate: Option<bool>,
    /// Where it is cut: `right`, at the end, as when left out, or `left`, at the beginning.
    pub truncation_direction: Option<Side>,
    /// A prompt of the model's. The models of this box have none.
    pub prompt_name: Option<String>,
    /// Unit length.
    #[serde(default = "yes")]
    pub normalize: bool,
    /// Keep only so many numbers.
    pub dimensions: Option<usize>,
    /// Tokens kept of each text: 256 unless said otherwise, 512 at most.
    pub max_tokens: Option<usize>,
}

/// What is running, with text-embeddings-inference's field names first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Info {
    pub model_id: String,
    pub model_dtype: String,
    #[schema(value_type = Object)]
    pub model_type: serde_json::Value,
    pub max_input_length: usize,
    pub max_client_batch_size: usize,
    pub auto_truncate: bool,
    pub version: &'static str,
    /// Which engine computes, on what.
    pub engine: String,
    /// Why no GPU computes, where one was looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not_cuda: Option<String>,
    pub dimension: usize,
    /// The models that compress; the first does it where none is named.
    pub compression_models: Vec<String>,
}
