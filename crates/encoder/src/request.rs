//! What is asked of the scheduler, and what it answers.

use crate::EncoderError;
use crate::cross_encoder::TokenPair;
use crate::lanes::Lane;
use crate::splade::TokenWeight;
use std::time::Duration;

/// What a request wants of each input; one pass gives all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// A vector.
    pub vectors: bool,
    /// … of unit length.
    pub normalize: bool,
    /// How likely each token is to be kept.
    pub keep: bool,
    /// The states of its tokens.
    pub states: bool,
    /// The attention that its tokens pay to each other.
    pub attention: bool,
    /// A sparse vector.
    pub sparse: bool,
    /// The vectors of its tokens, of so many dimensions: one of [`TOKEN_DIMENSIONS`](crate::TOKEN_DIMENSIONS).
    pub token_vectors: Option<usize>,
}

impl Wanted {
    /// Vectors, of unit length or as they come.
    pub fn vectors(normalize: bool) -> Self {
        Self { vectors: true, normalize, ..Self::default() }
    }

    /// Sparse vectors.
    pub fn sparse() -> Self {
        Self { sparse: true, ..Self::default() }
    }
}

/// What a request asks for.
pub struct Request {
    /// The texts or token sequences.
    pub inputs: Inputs,
    /// Tokens kept of each text, special ones included.
    pub max_tokens: usize,
    /// What it is to get.
    pub wanted: Wanted,
    /// How urgent it is.
    pub lane: Lane,
}

/// What is to be encoded.
pub enum Inputs {
    /// Texts, to be tokenized here.
    Texts(Vec<String>),
    /// Token ids, special ones included.
    Tokens(Vec<Vec<u32>>),
    /// Sequences of two texts each, for a cross-encoder.
    Pairs(Vec<TokenPair>),
}

impl Inputs {
    /// Number of texts or sequences.
    #[allow(clippy::len_without_is_empty, reason = "a count of inputs, not a collection")]
    pub fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Tokens(sequences) => sequences.len(),
            Self::Pairs(pairs) => pairs.len(),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.iter().map(|t| t.len() + 16).sum(),
            Self::Tokens(sequences) => sequences.iter().map(|s| s.len() * 4 + 16).sum(),
            Self::Pairs(pairs) => pairs.iter().map(|pair| pair.ids.len() * 4 + 16).sum(),
        }
    }

    /// Token ids of each, where they are there already.
    pub(crate) fn ids(&self) -> Vec<&[u32]> {
        match self {
            Self::Texts(_) => Vec::new(),
            Self::Tokens(sequences) => sequences.iter().map(Vec::as_slice).collect(),
            Self::Pairs(pairs) => pairs.iter().map(|pair| pair.ids.as_slice()).collect(),
        }
    }
}

/// What a request gets, and what it cost.
#[derive(Debug, Default)]
pub struct Embeddings {
    /// `[inputs, dimension]`, if wanted.
    pub vectors: Vec<f32>,
    /// How likely each token of each input is to be kept, special tokens among them, if wanted.
    pub keep: Vec<Vec<f32>>,
    /// `[tokens, state_dimension]` of each input, if wanted.
    pub states: Vec<Vec<f32>>,
    /// `[tokens, tokens]` of each input, if wanted: see [`Outputs::attention`](crate::Outputs::attention).
    pub attention: Vec<Vec<f32>>,
    /// `[tokens without the first and the last, dimension]` of each input, of unit length, if wanted: see
    /// [`TokenAxes`](crate::TokenAxes).
    pub token_vectors: Vec<Vec<f32>>,
    /// The numbers of each input's sparse vector that are not 0, by their places in the vocabulary, if wanted.
    pub sparse: Vec<Vec<TokenWeight>>,
    /// Width of a vector.
    pub dimension: usize,
    /// Width of a token's state.
    pub state_dimension: usize,
    /// Tokens encoded, special ones included.
    pub tokens: usize,
    /// Inputs of which a part was cut off.
    pub truncated: usize,
    /// The share of each input's tokens that the model does not know, 0 to 1, special tokens left out.
    pub unknown: Vec<f32>,
    /// Time until the last text was tokenized, from submission.
    pub tokenize: Duration,
    /// Time from there until the last batch was begun.
    pub queue: Duration,
    /// Time the last batch took.
    pub encode: Duration,
}

impl Embeddings {
    /// One vector an input.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.vectors.chunks_exact(self.dimension.max(1))
    }
}

/// Called once, on a worker's thread, with the answer.
pub type Reply = Box<dyn FnOnce(Result<Embeddings, EncoderError>) + Send>;
