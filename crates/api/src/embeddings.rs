//! Embeddings as OpenAI has them.

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

impl EmbeddingInput {
    /// Whether it is a list of texts or of token sequences.
    pub fn is_list(&self) -> bool {
        matches!(self, Self::Texts(_) | Self::TokenLists(_))
    }

    /// Characters of the texts, or how many tokens there are.
    pub fn characters(&self) -> usize {
        match self {
            Self::Text(text) => text.chars().count(),
            Self::Texts(texts) => texts.iter().map(|text| text.chars().count()).sum(),
            Self::Tokens(ids) => ids.len(),
            Self::TokenLists(lists) => lists.iter().map(Vec::len).sum(),
        }
    }
}

/// A text, or several.
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
    #[schema(minimum = 1)]
    pub dimensions: Option<usize>,
    /// Not used.
    pub user: Option<String>,
    /// Tokens kept of each text: as many as the model's folder says, or 256, unless said otherwise; at most as many as
    /// the model has positions.
    #[schema(minimum = 3)]
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
