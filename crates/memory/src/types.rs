//! What callers say and hear, as plain data with its JSON form.

use crate::fusion::Fusion;
use crate::messages::Modality;
use crate::settings::CollectionSettings;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use membox_compressor::CompressedText;
use membox_records::StoredRecord;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use std::time::Duration;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// A record to be remembered.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRecord {
    /// The caller's id, 1 to 512 bytes; a UUIDv7 when left out. An id that exists is given a new version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 512)]
    pub id: Option<String>,
    /// What is to be remembered, at most 1 MiB. May be left out when a vector is given.
    #[serde(default)]
    #[schema(max_length = 1048576)]
    pub text: String,
    /// The vector, of the collection's dimension, as numbers or as little-endian f32 in base64; the text's embedding when left out.
    #[serde(default, deserialize_with = "vector", skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = vector_schema)]
    pub vector: Option<Vec<f32>>,
    /// Any JSON object up to 16 KiB.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// RFC 3339; now when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// RFC 3339; from then on the record is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub importance: Option<f64>,
    /// Whom it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The conversation it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Episodic, semantic, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The version that must be there now; 0 when the record must be new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// Changes to a record: what is left out stays. `metadata` is merged as RFC 7396 says; `null` takes a field away.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordPatch {
    /// A new text, embedded anew.
    pub text: Option<String>,
    /// Merged into the metadata; `null` removes a key.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// RFC 3339, or null for never.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Option<String>>,
    /// 0 to 1, or null.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 1)]
    pub importance: Option<Option<f64>>,
    /// Or null.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub user: Option<Option<String>>,
    /// Or null.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub session: Option<Option<String>>,
    /// Or null.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub kind: Option<Option<String>>,
}

/// Tells a field that is null from one that is left out.
fn present<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

/// Reads a vector of numbers, or of little-endian f32 in base64, which is a third of the bytes and many times faster to read.
fn vector<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<f32>>, D::Error> {
    struct Vector;

    impl<'de> Visitor<'de> for Vector {
        type Value = Option<Vec<f32>>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a list of numbers, or little-endian f32 in base64")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Self::Value, A::Error> {
            let mut vector = Vec::with_capacity(numbers.size_hint().unwrap_or(384));
            while let Some(number) = numbers.next_element()? {
                vector.push(number);
            }
            Ok(Some(vector))
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
            let bytes = STANDARD.decode(text).map_err(|e| E::custom(format!("the vector is not base64: {e}")))?;
            let (numbers, rest) = bytes.as_chunks::<4>();
            if !rest.is_empty() {
                return Err(E::custom(format!("{} bytes of base64 are no sequence of f32", bytes.len())));
            }
            Ok(Some(numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()))
        }
    }

    deserializer.deserialize_any(Vector)
}

/// What [`vector`] reads.
fn vector_schema() -> Schema {
    let numbers = f32::schema();
    let form = |kind: Type, text: &str| ObjectBuilder::new().schema_type(kind).description(Some(text));
    let forms = OneOfBuilder::new()
        .item(ArrayBuilder::new().items(numbers).description(Some("its numbers")))
        .item(form(Type::String, "little-endian f32 in base64"))
        .item(form(Type::Null, "as if it were left out"))
        .description(Some("A vector: numbers, or little-endian f32 in base64."))
        .build();
    forms.into()
}

/// A record as it is given out.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RecordView {
    /// Its id. That of a message is `session/message`, or a UUID where a record has that.
    pub id: String,
    /// What is remembered.
    pub text: String,
    /// Its metadata.
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub importance: Option<f64>,
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
    /// 1 at first, one more with each write.
    pub version: u64,
}

impl From<StoredRecord> for RecordView {
    fn from(stored: StoredRecord) -> Self {
        let r = stored.record;
        Self {
            id: r.id,
            text: r.text,
            metadata: r.metadata,
            created_at: crate::time_text(r.created_at),
            expires_at: r.expires_at.map(crate::time_text),
            importance: r.importance,
            user: r.user,
            session: r.session,
            message: r.message.map(|message| message.id),
            kind: r.kind,
            version: stored.version,
        }
    }
}

/// What an upsert did with one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct WrittenRecord {
    /// Its id.
    pub id: String,
    /// Its version now.
    pub version: u64,
    /// What compression left of its text, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
}

/// How much was left by a compression.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Compression {
    /// Tokens before.
    pub origin_tokens: usize,
    /// Tokens after.
    pub compressed_tokens: usize,
    /// Which model did it.
    pub model: String,
}

impl From<&CompressedText> for Compression {
    fn from(text: &CompressedText) -> Self {
        Self { origin_tokens: text.origin_tokens, compressed_tokens: text.compressed_tokens, model: text.model.clone() }
    }
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
    /// Rows of the vector file, those of older versions among them.
    pub rows: u32,
    /// Bytes of the vector file.
    pub vector_bytes: u64,
    /// The state of the derived indexes.
    pub index: IndexView,
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
}

/// Reranking of what was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rerank {
    /// Seconds in which the recency part of a score halves (604 800: a week).
    pub recency_half_life_s: Option<f64>,
    /// Added: weight · 0.5^(age / half-life).
    pub recency_weight: Option<f32>,
    /// Added: weight · importance.
    pub importance_weight: Option<f32>,
    /// 1 ranks by score alone; less passes over near-doubles of what ranks higher (maximal marginal relevance).
    pub mmr_lambda: Option<f32>,
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
    /// The question as a vector, for mode `vector`: numbers, or little-endian f32 in base64.
    #[serde(deserialize_with = "vector")]
    #[schema(schema_with = vector_schema)]
    pub vector: Option<Vec<f32>>,
    /// Several questions; a record's score is its best.
    pub queries: Option<Vec<String>>,
    /// Hits wanted, 1 to 10 000.
    #[schema(minimum = 1, maximum = 10000)]
    pub k: usize,
    /// By what records are found.
    pub mode: RecallMode,
    /// Which records may be found: see the documentation of filters.
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Value>,
    /// Only texts, images (by their captions) or recordings (by their transcripts).
    pub modality: Modality,
    /// Hits below this score are dropped: the cosine in mode `vector`, the final score otherwise.
    pub min_score: Option<f32>,
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
}

impl Default for RecallRequest {
    fn default() -> Self {
        Self {
            query: None,
            vector: None,
            queries: None,
            k: 10,
            mode: RecallMode::Hybrid,
            filter: None,
            modality: Modality::All,
            min_score: None,
            effort: None,
            fusion: None,
            rerank: None,
            context: None,
            budget: None,
            include: vec![Include::Text, Include::Metadata, Include::Scores],
        }
    }
}

/// The parts of a hit's score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Scores {
    /// Cosine (or inner product) with the question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<f32>,
    /// BM25, with what the neighbours in the session share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<f32>,
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

/// A record that was found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Hit {
    /// Its id. That of a message is `session/message`, or a UUID where a record has that.
    pub id: String,
    /// How well it matches: higher is better.
    pub score: f32,
    /// The parts of the score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scores: Option<Scores>,
    /// What is remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Its metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
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
    /// Its version.
    pub version: u64,
    /// The stored vector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<Vec<f32>>,
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
    /// The hits' texts in the order of their scores, each on lines of its own.
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
    /// Best first.
    pub hits: Vec<Hit>,
    /// The text for a prompt, when a budget was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<ContextText>,
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
