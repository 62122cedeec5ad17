//! Cutting a conversation or a text into topics.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// By what a conversation is cut into topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CutRule {
    /// Where what comes is least like what was, and sounds like a beginning.
    #[default]
    Depth,
    /// LightMem's: attention between sentences and the cosine of neighbouring turns.
    Lightmem,
    /// The second half of LightMem's.
    Cosine,
    /// Only where time has passed, and where a buffer is full.
    Time,
}

/// A place where a topic ends: before turn `at`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct Cut {
    /// The first turn of the next topic.
    pub at: usize,
    /// How clearly, by the rule's own measure: the depth of the valley, or 1 less the cosine.
    pub score: f32,
}

/// Texts to be cut into topics.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicsRequest {
    /// Turns of a conversation, or sentences of a text, in order.
    #[schema(max_items = 4096)]
    pub texts: Vec<String>,
    /// By what they are cut.
    #[serde(default)]
    pub cut: CutRule,
}

/// The topics of texts.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TopicsAnswer {
    /// Where a new topic begins.
    pub cuts: Vec<Cut>,
}
