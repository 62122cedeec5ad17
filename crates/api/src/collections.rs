//! Collections and what they are made with.

use crate::{IndexPolicy, LateInteraction, MemoriesPolicy, Redaction, Windows};
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

/// How two vectors are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Vectors get unit length when they are written and asked for.
    #[default]
    Cosine,
    /// Vectors stay as they are. A score is their inner product; `dot` is taken for it, too.
    #[serde(alias = "dot")]
    InnerProduct,
    /// Vectors stay as they are. A score is their distance below zero: 0 where they are equal, -2 where they are 2
    /// apart.
    Euclidean,
}

/// What a collection is made with. Everything but the policies of index, kinds, redaction, synonyms, keywords,
/// memories, late interaction and windows stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CollectionSettings {
    /// The model that embeds its texts; the box's own when left out.
    pub model: Option<String>,
    /// Numbers in a vector; the model's when left out. Another number makes a collection for given vectors only.
    #[schema(minimum = 1, maximum = 8192)]
    pub dimension: Option<usize>,
    /// Whether records have vectors: yes when left out, or as it was. Without any, texts are not embedded, and no
    /// vector finds them; there is no file of vectors, and nothing of them in memory. Words and filters find them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vectors: Option<bool>,
    /// Whether records are found by the words of their texts: yes when left out, or as it was. Where they are not,
    /// texts are in no index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_index: Option<bool>,
    /// How rows keep their numbers: `f16` when left out, or as it was.
    pub vector_type: Option<VectorType>,
    /// How vectors are compared: `cosine` when left out, or as it was.
    pub metric: Option<Metric>,
    /// Which index is kept: `{"kind": "auto" | "flat" | "hnsw" | "ivf", …}`.
    #[schema(value_type = Object, example = json!({"kind": "auto"}))]
    pub index: IndexPolicy,
    /// What records of a kind get that say nothing of it themselves:
    /// `{"working": {"ttl_s": 3600}, "profile": {"importance": 0.9}}`. It holds for what is written from now on; as
    /// it was when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinds: Option<BTreeMap<String, KindDefaults>>,
    /// What is done with personal data in what is written from now on: nothing when left out, or as it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redaction: Option<Redaction>,
    /// Words that mean the same, `[["car", "automobile"], ["kids", "children"]]`: who asks for one finds the others
    /// by words as well. As they were when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 200)]
    pub synonyms: Option<Vec<Vec<String>>>,
    /// Whether what is written from now on is given its keywords and names, in its metadata: no when left out, or as
    /// it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keywords: Option<bool>,
    /// How what is said becomes memories (`POST /v1/memories`): the defaults when left out, or as it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memories: Option<MemoriesPolicy>,
    /// Whether a small vector is kept for each token of a text that the model embeds, by which hits are ordered more
    /// finely: `{"dimension": 32 | 48 | 64}`, or `"off"`, which removes those that are there. 48 numbers when left
    /// out, or as it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_interaction: Option<LateInteraction>,
    /// Whether each window of a text that is longer than the model reads at once has a vector: `{"max": 1 to 16}`, or
    /// `"off"` for one vector, that of the text's beginning. It holds for what is written from now on. 16 when left
    /// out, or as it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<Windows>,
}

impl CollectionSettings {
    /// Whether records have vectors.
    pub fn has_vectors(&self) -> bool {
        self.vectors.unwrap_or(true)
    }

    /// Whether records are found by words.
    pub fn has_text_index(&self) -> bool {
        self.text_index.unwrap_or(true)
    }

    /// Numbers of a token's vector; `None` where no vectors of tokens are kept.
    pub fn token_dimension(&self) -> Option<usize> {
        match self.late_interaction.unwrap_or_default() {
            LateInteraction::On { dimension } if self.model.is_some() => Some(dimension),
            _ => None,
        }
    }

    /// Windows of a text that have a vector at most; 1 where a text has one vector.
    pub fn max_windows(&self) -> usize {
        match self.windows.unwrap_or_default() {
            Windows::On { max } if self.model.is_some() => max,
            _ => 1,
        }
    }
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

/// A collection as it is described.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CollectionView {
    /// Its name.
    pub name: String,
    /// RFC 3339.
    pub created_at: String,
    /// What it was made with.
    pub settings: CollectionSettings,
    /// Records that are current and not expired.
    pub records: u64,
    /// Vectors that they have: more than records where long texts have several. Left out in a list for a collection
    /// that is not open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vectors: Option<u64>,
    /// Rows of the vector file, those of older versions among them.
    pub rows: u32,
    /// Bytes of the vector file.
    pub vector_bytes: u64,
    /// The state of the derived indexes.
    pub index: IndexView,
    /// Vectors of tokens; left out where none are kept, and in a list for a collection that is not open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_vectors: Option<TokenVectorsView>,
}

/// What a collection has of vectors of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TokenVectorsView {
    /// Records that have them.
    pub records: u64,
    /// Records that have none: they have no text, or their vectors are still to be made.
    pub missing: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

/// The state of a collection's derived indexes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct IndexView {
    /// `none`, `hnsw` or `ivf`.
    pub kind: String,
    /// HNSW's beam for a recall that names none: measured by an automatic index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ef_search: Option<u32>,
    /// IVF's lists for a recall that names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nprobe: Option<u32>,
    /// Rows that the vector index covers; those past it are scanned.
    pub covered_rows: u32,
    /// Rows that a build under way has done.
    pub building_rows: u32,
    /// Rows that the text index on disk covers; those past it are in memory.
    pub text_covered_rows: u32,
}

/// A list of collections.
#[derive(Debug, Serialize, ToSchema)]
pub struct CollectionList {
    pub collections: Vec<CollectionView>,
}
