//! Why a hit is one: the parts of its score.

use serde::Serialize;
use utoipa::ToSchema;

/// What a part of a score says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartName {
    /// How near the vectors of question and record are: the cosine or inner product.
    Vector,
    /// The words of the question in the record: BM25.
    Words,
    /// What records beside it in the session give it of their words.
    Neighbours,
    /// The ranks of both legs, with fusion method `rrf`.
    Ranks,
    /// 1 where the question names who said the record, or whom it is about; in the first person it names users.
    Name,
    /// 1 where the record is of the time that the question speaks of.
    Time,
    /// How far the record only asks, 0 to 1: a short question in a session does. It adds less than nothing.
    Question,
    /// How near the tokens of the question are to those of the record and of those beside it (late interaction): a
    /// mean of cosines, less some for a long text.
    Tokens,
    /// How well question and text go together by a cross-encoder, as the model gives it; it takes the place of all
    /// before it.
    CrossEncoder,
    /// How new it is.
    Recency,
    /// Its importance.
    Importance,
}

/// A part of a score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct ScorePart {
    /// What it says.
    pub part: PartName,
    /// What was measured, in its own unit.
    pub value: f32,
    /// What it adds to the score.
    pub score: f32,
}

/// A word that was looked for.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ExplainedTerm {
    /// As it is looked for: folded and stemmed.
    pub term: String,
    /// How rare it is among the texts (BM25's inverse document frequency).
    pub rarity: f32,
    /// Whether the record has it.
    pub found: bool,
}

/// A token of the question.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ExplainedToken {
    /// The part of the question that it stands for.
    pub text: String,
    /// Its share of the tokens' part: the rarer its word, the more.
    pub weight: f32,
    /// The cosine of the nearest token of the record.
    pub similarity: f32,
}

/// Why a hit is one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Explanation {
    /// Their scores add up to the hit's.
    pub parts: Vec<ScorePart>,
    /// The words that were looked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub terms: Vec<ExplainedTerm>,
    /// The tokens of the question, where they were compared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<ExplainedToken>,
}
