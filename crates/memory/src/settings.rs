//! Names and settings of collections.

use crate::MemoryError;
use crate::pipeline::MemoriesPolicy;
use membox_index::IndexPolicy;
use membox_redaction::Redaction;
use membox_vectors::RowType;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// How a collection keeps its vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum VectorType {
    /// Half precision.
    #[default]
    F16,
    /// Single precision.
    F32,
}

impl From<VectorType> for RowType {
    fn from(vector_type: VectorType) -> Self {
        match vector_type {
            VectorType::F16 => Self::F16,
            VectorType::F32 => Self::F32,
        }
    }
}

/// How two vectors are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Vectors get unit length when they are written and asked for.
    #[default]
    Cosine,
    /// Vectors stay as they are.
    InnerProduct,
}

/// What a collection is made with. Everything but the policies of index, kinds, redaction, synonyms, keywords and memories stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CollectionSettings {
    /// The model that embeds its texts; the box's own when left out.
    pub model: Option<String>,
    /// Numbers in a vector; the model's when left out. Another number makes a collection for given vectors only.
    pub dimension: Option<usize>,
    /// How rows keep their numbers.
    pub vector_type: VectorType,
    /// How vectors are compared.
    pub metric: Metric,
    /// Which index is kept: `{"kind": "auto" | "flat" | "hnsw" | "ivf", …}`.
    #[schema(value_type = Object, example = json!({"kind": "auto"}))]
    pub index: IndexPolicy,
    /// What records of a kind get that say nothing of it themselves: `{"working": {"ttl_s": 3600}, "profile": {"importance": 0.9}}`. It holds for what is
    /// written from now on; as it was when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinds: Option<BTreeMap<String, KindDefaults>>,
    /// What is done with personal data in what is written from now on: nothing when left out, or as it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redaction: Option<Redaction>,
    /// Words that mean the same, `[["car", "automobile"], ["kids", "children"]]`: who asks for one finds the others by words as well. As they were when left
    /// out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synonyms: Option<Vec<Vec<String>>>,
    /// Whether what is written from now on is given its keywords and names, in its metadata: no when left out, or as it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keywords: Option<bool>,
    /// How what is said becomes memories (`POST /v1/memories`): the defaults when left out, or as it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memories: Option<MemoriesPolicy>,
}

/// What a kind of record gets by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KindDefaults {
    /// Seconds that it lives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u64>,
    /// 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub importance: Option<f64>,
}

/// Numbers that a vector may have at most.
pub const MOST_DIMENSIONS: usize = 8192;

/// A collection's name: `[a-z0-9][a-z0-9_.-]{0,63}`.
pub fn check_name(name: &str) -> Result<(), MemoryError> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-');
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if first && name.len() <= 64 && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(MemoryError::invalid(
        "/collection",
        "a collection's name is 1 to 64 of a-z, 0-9, _, . and -, and begins with a letter or digit",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        for name in ["", "../x", "A", ".x", "a/b", "a\0", "é", &"a".repeat(65)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        for name in ["a", "locomo-26", "0.x_y", &"a".repeat(64)] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
    }
}
