//! Questions to a collection, and what is found.

use crate::vectors::{vector, vector_schema};
use crate::{Compression, Explanation, Fusion, Modality};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::time::Duration;
use utoipa::ToSchema;

/// By what records are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RecallMode {
    /// By meaning and by words.
    #[default]
    Hybrid,
    /// By meaning.
    Vector,
    /// By words.
    Text,
}

/// What hits carry beside their id and score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Include {
    /// The text.
    Text,
    /// Metadata and all other fields.
    Metadata,
    /// The stored vector.
    Vector,
    /// The parts of the score.
    Scores,
    /// The payload.
    Payload,
}

/// Hits by the values of a field.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupBy {
    /// A field, as filters name it. Records that do not have it are in no group, and none of them is left out.
    pub field: String,
    /// Hits of each value, 1 unless said otherwise. `k` is still that of all hits.
    #[schema(minimum = 1, maximum = 100)]
    pub size: Option<usize>,
}

/// Several recalls.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecallBatch {
    /// 1 to 32 of them.
    #[schema(min_items = 1, max_items = 32)]
    pub recalls: Vec<RecallRequest>,
}

/// What several recalls found.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecallBatchAnswer {
    /// In the order of the request.
    pub answers: Vec<RecallAnswer>,
}

/// Reranking of what was found.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rerank {
    /// A cross-encoder of the setting `models` by which the best hits are ordered; the first one where only `top` is
    /// given. It reads question and text together, and its number, 0 to 1, is the score.
    pub model: Option<String>,
    /// How many of the best it reads, 1 to 200; 50 where only `model` is given. The others are no hits.
    #[schema(minimum = 1, maximum = 200)]
    pub top: Option<usize>,
    /// Seconds in which the recency part of a score halves (604 800: a week).
    pub recency_half_life_s: Option<f64>,
    /// Added: weight · 0.5^(age / half-life).
    pub recency_weight: Option<f32>,
    /// Added: weight · importance.
    pub importance_weight: Option<f32>,
    /// 1 ranks by score alone; less passes over near-doubles of what ranks higher (maximal marginal relevance).
    pub mmr_lambda: Option<f32>,
}

/// Hits that a cross-encoder reads where it is not said how many.
const DEFAULT_RERANKED: usize = 50;

impl Rerank {
    /// How many hits a cross-encoder reads; `None` where none is wanted.
    pub fn reads(&self) -> Option<usize> {
        self.top.or(self.model.as_ref().map(|_| DEFAULT_RERANKED))
    }
}

/// Neighbours in the session to be given with each hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ContextWindow {
    /// Records before the hit, at most 20.
    #[schema(maximum = 20)]
    pub before: usize,
    /// Records after the hit, at most 20.
    #[schema(maximum = 20)]
    pub after: usize,
}

/// How hard an index is searched: more finds more of what is nearest, and takes longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SearchEffort {
    /// Beam of HNSW, 1 to 4 096.
    #[schema(minimum = 1, maximum = 4096)]
    pub ef_search: Option<u32>,
    /// Lists of IVF that are looked into.
    pub nprobe: Option<u32>,
    /// Score every allowed record.
    pub exact: bool,
}

/// Records that are no hits, whatever they say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Exclude {
    /// Ids of records, at most 1 000.
    #[schema(max_items = 1000)]
    pub ids: Vec<String>,
    /// Sessions, at most 1 000.
    #[schema(max_items = 1000)]
    pub sessions: Vec<String>,
}

/// In what order hits come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum HitOrder {
    /// The best first.
    #[default]
    Score,
    /// The oldest first, as it was said.
    Time,
}

/// What a time does that the question speaks of, such as "last week", "in May 2023" or 上周三.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TimeUse {
    /// Records of that time get more, in mode `hybrid`.
    #[default]
    Boost,
    /// Records of other times are no hits.
    Filter,
    /// Nothing.
    Off,
}

/// A time that the question speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AskedTime {
    /// How the question says it.
    pub text: String,
    /// RFC 3339.
    pub from: String,
    /// RFC 3339; not part of it.
    pub until: String,
}

/// A budget for the text that is to go into a prompt.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Tokens that the context may have.
    pub tokens: usize,
    /// tiktoken's encoding, or a model's name (o200k_base).
    pub encoding: Option<String>,
    /// Compress the hits that do not fit as they are, instead of leaving them out.
    #[serde(default)]
    pub compress: bool,
}

/// A question to a collection.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RecallRequest {
    /// The question, in words.
    pub query: Option<String>,
    /// The question as a vector: numbers, or little-endian f32 in base64. With `query`, in mode `hybrid`, it is that
    /// of the words.
    #[serde(deserialize_with = "vector")]
    #[schema(schema_with = vector_schema)]
    pub vector: Option<Vec<f32>>,
    /// Several questions; a record's score is its best.
    #[schema(min_items = 1, max_items = 64)]
    pub queries: Option<Vec<String>>,
    /// Hits wanted, 1 to 10 000.
    #[schema(minimum = 1, maximum = 10000)]
    pub k: usize,
    /// By what records are found. Left out it is `hybrid`, or `vector` for a vector without a query; in a collection
    /// without vectors `text`, and in one without a text index `vector`.
    pub mode: Option<RecallMode>,
    /// Which records may be found: see the documentation of filters.
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Value>,
    /// Only texts, images (by their captions) or recordings (by their transcripts).
    pub modality: Modality,
    /// Hits below this score are dropped. In mode `vector` a score is what the collection's metric says: the cosine,
    /// the inner product, or the distance below zero (-2 where vectors are 2 apart); in mode `text` BM25. In mode
    /// `hybrid` it is a share of the best hit's score before late interaction, which adds up to 0.5; it says nothing
    /// about whether the question is answered: see `min_relevance`.
    pub min_score: Option<f32>,
    /// Hits below this relevance are dropped, 0 to 1. 0.04 keeps nearly all that answer a question, and drops most of
    /// what is found where nothing does.
    #[schema(minimum = 0, maximum = 1)]
    pub min_relevance: Option<f32>,
    /// Records that are no hits.
    pub exclude: Exclude,
    /// How hard the index is searched, instead of what the collection's policy says.
    pub effort: Option<SearchEffort>,
    /// How the legs of mode `hybrid` are joined.
    pub fusion: Option<Fusion>,
    /// Reranking.
    pub rerank: Option<Rerank>,
    /// Neighbours given with each hit.
    pub context: Option<ContextWindow>,
    /// Budget of the context text.
    pub budget: Option<Budget>,
    /// What hits carry.
    pub include: Vec<Include>,
    /// In what order hits come.
    pub order: HitOrder,
    /// Hits whose vectors are at least this near to that of a better one (such as 0.97; 1 is the same, and 0 the cosine
    /// that unrelated texts have by the collection's model) become part of that: see `doubles` of a hit.
    #[schema(minimum = 0, maximum = 1)]
    pub fold_doubles: Option<f32>,
    /// At most so many hits of each value of a field.
    pub group_by: Option<GroupBy>,
    /// Whether the tokens of question and records are compared, in mode `hybrid` of a collection that keeps their
    /// vectors.
    pub late_interaction: bool,
    /// Whether each hit says why it is one.
    pub explain: bool,
    /// What a time does that the question speaks of.
    pub time: TimeUse,
    /// When the question is asked, for what it says of times: RFC 3339. The time of the box unless it is given.
    pub now: Option<String>,
}

impl Default for RecallRequest {
    fn default() -> Self {
        Self {
            query: None,
            vector: None,
            queries: None,
            k: 10,
            mode: None,
            filter: None,
            modality: Modality::All,
            min_score: None,
            min_relevance: None,
            exclude: Exclude::default(),
            effort: None,
            fusion: None,
            rerank: None,
            context: None,
            budget: None,
            include: vec![Include::Text, Include::Metadata, Include::Scores],
            order: HitOrder::Score,
            fold_doubles: None,
            group_by: None,
            late_interaction: true,
            explain: false,
            time: TimeUse::Boost,
            now: None,
        }
    }
}

impl RecallRequest {
    /// By what records are found.
    pub fn mode(&self) -> RecallMode {
        let is_vector = self.vector.is_some() && self.query.is_none() && self.queries.is_none();
        self.mode.unwrap_or(if is_vector { RecallMode::Vector } else { RecallMode::Hybrid })
    }
}

/// The parts of a hit's score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Scores {
    /// Cosine or inner product with the question, or the distance below zero, as the collection's metric says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<f32>,
    /// BM25, with what the neighbours in the session share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<f32>,
    /// How near the tokens of the question are: see `tokens` of an explanation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<f32>,
    /// What recency added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recency: Option<f32>,
    /// What importance added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub importance: Option<f32>,
}

/// A neighbour of a hit.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Neighbour {
    /// Its id.
    pub id: String,
    /// Its text.
    pub text: String,
}

/// A part of a text: from `start` to before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct MatchedPart {
    /// Its first character.
    pub start: usize,
    /// The character after its last.
    pub end: usize,
}

/// A record that was found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Hit {
    /// Its id. That of a message is `session/message`, or a UUID where a record has that.
    pub id: String,
    /// How well it matches: higher is better.
    pub score: f32,
    /// How sure it is that it answers the question, 0 to 1, in every mode alike: of hits of one relevance, so many were
    /// evidence for the answers of measured conversations. Missing where nothing says so: a given vector of a model
    /// that the box does not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relevance: Option<f32>,
    /// The parts of the score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scores: Option<Scores>,
    /// What is remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The part of the text that is nearest to the question's vector, where the text has several vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched: Option<MatchedPart>,
    /// Its metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// Its payload, as it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value, required = false)]
    pub payload: Option<Box<RawValue>>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// RFC 3339; when it was last written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
    /// Whom it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The conversation it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The id of the message that it is, in its session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Episodic, semantic, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `image` or `audio`, where it is a message of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modality: Option<String>,
    /// The value of the field by which hits are grouped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value, required = false)]
    pub group: Option<Value>,
    /// Its version.
    pub version: u64,
    /// The stored vector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<Vec<f32>>,
    /// Ids of further hits that say nearly the same, best first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub doubles: Vec<String>,
    /// Why it is a hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
    /// Records before it in its session, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Neighbour>,
    /// Records after it in its session.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Neighbour>,
}

/// The text of the hits that fit a budget.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ContextText {
    /// The hits' texts in the order of the hits, each on lines of its own.
    pub text: String,
    /// Its tokens, never more than the budget.
    pub tokens: usize,
    /// Ids of the hits of which nothing is in it.
    pub dropped: Vec<String>,
    /// How much compression left of the other hits' texts; missing where they fit as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
}

/// The answer to a question.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RecallAnswer {
    /// Best first, unless another order was asked for.
    pub hits: Vec<Hit>,
    /// The text for a prompt, when a budget was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<ContextText>,
    /// The time that the question speaks of, if that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<AskedTime>,
    /// Whether every allowed record was scored, and not only what an index proposed.
    pub exact: bool,
    /// Time from question to answer within the box.
    pub took_ms: f64,
    /// Where the time went.
    #[serde(skip)]
    pub timing: Timing,
}

/// Where the time of a request went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// Until the text was tokenized.
    pub tokenize: Duration,
    /// Waiting for the engine.
    pub queue: Duration,
    /// In the engine.
    pub encode: Duration,
    /// Finding candidates.
    pub search: Duration,
    /// Fusing, reranking and fetching records.
    pub rerank: Duration,
    /// Compressing the context to its budget.
    pub compress: Duration,
}
