//! Which models there are, as OpenAI has it.

use serde::Serialize;
use utoipa::ToSchema;

/// A model.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelView {
    /// A name that `model` takes.
    pub id: String,
    /// `model`.
    pub object: &'static str,
    /// Since when it is served, in seconds since 1970.
    pub created: u64,
    /// Who serves it.
    pub owned_by: &'static str,
    /// `embedding`, or `reranker` for a cross-encoder.
    pub kind: &'static str,
    /// Whether it is loaded; one that is not is loaded when it is first wanted.
    pub loaded: bool,
    /// Numbers of its vectors, where it is loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimension: Option<usize>,
    /// Who said what the model's files must be when they were loaded: `manifest` (membox has their SHA-256 built in),
    /// `recorded` (`SHA256SUMS` beside them), or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksums: Option<&'static str>,
}

/// The models that embed texts.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelList {
    /// `list`.
    pub object: &'static str,
    pub data: Vec<ModelView>,
}
