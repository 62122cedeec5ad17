//! Cutting a long text into pieces.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// In what lengths are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChunkUnit {
    /// Characters.
    #[default]
    Characters,
    /// tiktoken's tokens.
    Tokens,
}

/// A text to be cut.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChunkRequest {
    /// The text, at most 16 MiB.
    pub text: String,
    /// Length of a piece at most (1000).
    #[schema(minimum = 1)]
    pub size: Option<usize>,
    /// How much of a piece is in the next one too, at most (200, or a fifth of a smaller size).
    pub overlap: Option<usize>,
    /// In what both are counted (characters).
    #[serde(default)]
    pub unit: ChunkUnit,
    /// tiktoken's encoding, or a model's name, for tokens (o200k_base).
    pub encoding: Option<String>,
}

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Chunk {
    /// The piece, without white space around it.
    pub text: String,
    /// Where it begins in the text, in bytes.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
}

/// The pieces of a text.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChunkAnswer {
    pub chunks: Vec<Chunk>,
}
