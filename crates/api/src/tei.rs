//! What text-embeddings-inference's clients say and hear. Fields that are not known are passed over, as there.

use crate::{Texts, yes};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One text, or the ids of its tokens.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "a text or a list of token ids is wanted")]
pub enum TextOrTokens {
    /// A text.
    Text(String),
    /// Ids of the model's own tokens.
    Tokens(Vec<u32>),
}

/// What is to be embedded: one text or token sequence, or a list of both.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "a text, a list of token ids, or a list of texts and such lists is wanted")]
pub enum TeiInput {
    /// One.
    One(TextOrTokens),
    /// Several.
    Many(Vec<TextOrTokens>),
}

impl TextOrTokens {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Tokens(ids) => ids.is_empty(),
        }
    }

    /// Characters of the text, or how many tokens there are.
    pub fn characters(&self) -> usize {
        match self {
            Self::Text(text) => text.chars().count(),
            Self::Tokens(ids) => ids.len(),
        }
    }
}

impl TeiInput {
    /// Whether it is a list.
    pub fn is_list(&self) -> bool {
        matches!(self, Self::Many(_))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(all) => all.len(),
        }
    }

    /// All of them.
    pub fn into_vec(self) -> Vec<TextOrTokens> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(all) => all,
        }
    }

    /// Characters of all of them.
    pub fn characters(&self) -> usize {
        match self {
            Self::One(one) => one.characters(),
            Self::Many(all) => all.iter().map(TextOrTokens::characters).sum(),
        }
    }
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

/// A request for vectors.
#[derive(Debug, Deserialize, ToSchema)]
pub struct EmbedRequest {
    /// Texts, or ids of the model's own tokens.
    pub inputs: TeiInput,
    /// Cut what is too long, as when left out; with false, a text that is too long is an error.
    pub truncate: Option<bool>,
    /// Where it is cut: `right`, at the end, as when left out, or `left`, at the beginning.
    pub truncation_direction: Option<Side>,
    /// A prompt of the model's, to be put before each text: one of its `config_sentence_transformers.json`.
    pub prompt_name: Option<String>,
    /// Unit length.
    #[serde(default = "yes")]
    pub normalize: bool,
    /// Keep only so many numbers.
    #[schema(minimum = 1)]
    pub dimensions: Option<usize>,
    /// Tokens kept of each text: as many as the model's folder says, or 256, unless said otherwise; at most as many as
    /// the model has positions.
    #[schema(minimum = 3)]
    pub max_tokens: Option<usize>,
}

/// A request for the states of each token, or for sparse vectors.
#[derive(Debug, Deserialize, ToSchema)]
pub struct EmbedTokensRequest {
    /// Texts, or ids of the model's own tokens.
    pub inputs: TeiInput,
    /// Cut what is too long, as when left out; with false, a text that is too long is an error.
    pub truncate: Option<bool>,
    /// Where it is cut: `right`, at the end, as when left out, or `left`, at the beginning.
    pub truncation_direction: Option<Side>,
    /// A prompt of the model's, to be put before each text: one of its `config_sentence_transformers.json`.
    pub prompt_name: Option<String>,
}

/// A text, and others that it is compared with.
#[derive(Debug, Deserialize, ToSchema)]
pub struct SimilarityInput {
    /// The text.
    pub source_sentence: String,
    /// The others.
    pub sentences: Vec<String>,
}

/// How the texts of a comparison are embedded.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct SimilarityParameters {
    /// Cut what is too long, as when left out; with false, a text that is too long is an error.
    pub truncate: Option<bool>,
    /// Where it is cut: `right`, at the end, as when left out, or `left`, at the beginning.
    pub truncation_direction: Option<Side>,
    /// A prompt of the model's, to be put before each text: one of its `config_sentence_transformers.json`.
    pub prompt_name: Option<String>,
}

/// A request for how alike texts are.
#[derive(Debug, Deserialize, ToSchema)]
pub struct SimilarityRequest {
    /// What is compared.
    pub inputs: SimilarityInput,
    /// How.
    pub parameters: Option<SimilarityParameters>,
}

/// A request for texts in the order of what they say about a question, by a cross-encoder of the setting `models`.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RerankRequest {
    /// The question.
    pub query: String,
    /// The texts.
    pub texts: Vec<String>,
    /// Cut what is too long.
    pub truncate: Option<bool>,
    /// Where it is cut.
    pub truncation_direction: Option<Side>,
    /// Scores as the model gives them.
    #[serde(default)]
    pub raw_scores: bool,
    /// Answer with the texts.
    #[serde(default)]
    pub return_text: bool,
}

/// A number of a sparse vector.
#[derive(Debug, Serialize, ToSchema)]
pub struct SparseValue {
    /// The word piece, by its number in the model's vocabulary.
    pub index: u32,
    /// How much it counts, above 0.
    pub value: f32,
}

/// A text and how well it goes with the question.
#[derive(Debug, Serialize, ToSchema)]
pub struct Rank {
    /// Its place in the request.
    pub index: usize,
    /// 0 to 1, or what the model gives where `raw_scores` is asked for.
    pub score: f32,
    /// The text, if `return_text` is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// The same request as Cohere has it.
#[derive(Debug, Deserialize, ToSchema)]
pub struct CohereRerank {
    /// A cross-encoder of the setting `models`; the first one when left out.
    pub model: Option<String>,
    /// The question.
    pub query: String,
    /// The texts.
    pub documents: Vec<CohereDocument>,
    /// How many of the best are answered; all when left out.
    pub top_n: Option<usize>,
    /// Answer with the texts.
    #[serde(default)]
    pub return_documents: bool,
    /// Tokens of question and text together; as many as the model reads when left out.
    pub max_tokens_per_doc: Option<usize>,
}

/// A text, or an object with one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "a text, or an object with `text`, is wanted")]
pub enum CohereDocument {
    /// A text.
    Text(String),
    /// An object.
    Object(CohereText),
}

/// A text as an object.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct CohereText {
    /// The text.
    pub text: String,
}

/// Texts in the order of how well they go with the question.
#[derive(Debug, Serialize, ToSchema)]
pub struct CohereRanks {
    /// The best first.
    pub results: Vec<CohereRank>,
}

/// A text and how well it goes with the question.
#[derive(Debug, Serialize, ToSchema)]
pub struct CohereRank {
    /// Its place in the request.
    pub index: usize,
    /// 0 to 1.
    pub relevance_score: f32,
    /// The text, if that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<CohereText>,
}

/// What is classified: a text, a pair of texts, or a list of lists of one or two.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "a text, a pair of texts, or a list of lists of one or two texts is wanted")]
pub enum PredictInput {
    /// A text.
    Text(String),
    /// A text or a pair.
    Pair(Vec<String>),
    /// Several of either.
    Many(Vec<Vec<String>>),
}

/// A request for the classes of texts. It wants a classifier, which no box has.
#[derive(Debug, Deserialize, ToSchema)]
pub struct PredictRequest {
    /// The texts.
    pub inputs: PredictInput,
    /// Cut what is too long.
    pub truncate: Option<bool>,
    /// Where it is cut.
    pub truncation_direction: Option<Side>,
    /// Scores as the model gives them.
    #[serde(default)]
    pub raw_scores: bool,
}

/// A request for tokens.
#[derive(Debug, Deserialize, ToSchema)]
pub struct TokenizeRequest {
    /// The texts.
    pub inputs: Texts,
    /// With the tokens that open and close a text.
    #[serde(default = "yes")]
    pub add_special_tokens: bool,
    /// A prompt of the model's, to be put before each text: one of its `config_sentence_transformers.json`.
    pub prompt_name: Option<String>,
}

/// A token of the model.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenView {
    pub id: u32,
    pub text: String,
    pub special: bool,
    #[schema(required)]
    pub start: Option<usize>,
    #[schema(required)]
    pub stop: Option<usize>,
}

/// Ids of the model's own tokens: of one text, or of several.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "a list of token ids or a list of such lists is wanted")]
pub enum TokenLists {
    /// Of one text.
    One(Vec<u32>),
    /// Of several.
    Many(Vec<Vec<u32>>),
}

/// A request for the texts of tokens.
#[derive(Debug, Deserialize, ToSchema)]
pub struct DecodeRequest {
    /// The tokens.
    pub ids: TokenLists,
    /// Without those that open and close a text.
    #[serde(default = "yes")]
    pub skip_special_tokens: bool,
}

/// Requests as Vertex AI sends them.
#[derive(Debug, Deserialize, ToSchema)]
pub struct VertexRequest {
    /// Bodies of `/embed`.
    #[schema(value_type = Vec<EmbedRequest>)]
    pub instances: Vec<serde_json::Value>,
}

/// An answer as Vertex AI has it.
#[derive(Debug, Serialize, ToSchema)]
pub struct VertexAnswer {
    /// What `/embed` answers, to each of them.
    pub predictions: Vec<Vec<Vec<f32>>>,
}

/// What is running, with text-embeddings-inference's field names first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Info {
    pub model_id: String,
    /// The name that `model` takes.
    pub served_model_name: String,
    pub model_dtype: String,
    #[schema(value_type = Object)]
    pub model_type: serde_json::Value,
    /// Connections at the same time, each of which has one request.
    pub max_concurrent_requests: usize,
    /// Tokens kept of a text where none are asked for.
    pub max_input_length: usize,
    /// Tokens that the model encodes at a time.
    pub max_batch_tokens: usize,
    pub max_client_batch_size: usize,
    pub auto_truncate: bool,
    pub tokenization_workers: usize,
    pub version: &'static str,
    /// Which engine computes, on what.
    pub engine: String,
    /// Why no GPU computes, where one was looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not_cuda: Option<String>,
    pub dimension: usize,
    /// Tokens of a text at most, where they are asked for.
    pub max_tokens: usize,
    /// The models that compress; the first does it where none is named.
    pub compression_models: Vec<String>,
}
