//! Records by their ids, in an order, counted, and changed many at once.

use crate::ids::{ids, ids_schema};
use crate::{RecordPatch, RecordView};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// What a list of records has beside texts and metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum With {
    /// The stored vectors.
    Vector,
    /// The payloads.
    Payload,
}

/// Records by their ids.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GetRequest {
    /// 1 to 2 048 of them.
    #[serde(deserialize_with = "ids")]
    #[schema(schema_with = ids_schema)]
    pub ids: Vec<String>,
    /// Payloads when left out.
    pub with: Option<Vec<With>>,
}

/// A record with what was asked for.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ListedRecord {
    /// The record.
    #[serde(flatten)]
    pub record: RecordView,
    /// The stored vector; that of the first window where a text has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<Vec<f32>>,
}

/// Records by their ids.
#[derive(Debug, Serialize, ToSchema)]
pub struct GetAnswer {
    /// In the order that was asked for, without those that are not there. One that is named twice is there twice.
    pub records: Vec<ListedRecord>,
    /// Ids of which there is no record.
    pub missing: Vec<String>,
}

/// Which records are counted.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CountRequest {
    /// All of them when left out.
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Value>,
}

/// How many records there are.
#[derive(Debug, Serialize, ToSchema)]
pub struct CountAnswer {
    pub count: u64,
}

/// Whose values are counted.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FacetsRequest {
    /// 1 to 16 fields, as filters name them.
    #[schema(min_items = 1, max_items = 16)]
    pub fields: Vec<String>,
    /// Of these records; of all when left out.
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Value>,
    /// Values of a field, 10 unless said otherwise.
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
}

/// How many records have a value.
#[derive(Debug, Serialize, ToSchema)]
pub struct ValueCount {
    /// A text, a number or a truth value; a time is a text.
    pub value: Value,
    /// Records that have it. Of a list each element counts.
    pub count: u64,
}

/// The values of a field.
#[derive(Debug, Serialize, ToSchema)]
pub struct Facet {
    /// The field.
    pub field: String,
    /// Most first; of as many, numbers, then texts, then truth values, each in their order.
    pub values: Vec<ValueCount>,
    /// How many different values there are.
    pub distinct: usize,
    /// Records that do not have the field, or have null.
    pub missing: u64,
}

/// The values of fields.
#[derive(Debug, Serialize, ToSchema)]
pub struct FacetsAnswer {
    /// As the fields were asked for.
    pub facets: Vec<Facet>,
    /// Records that were looked at.
    pub count: u64,
}

/// Which way values are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The least first.
    #[default]
    Asc,
    /// The greatest first.
    Desc,
}

/// By what records are ordered.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderBy {
    /// A field, as filters name it.
    pub field: String,
    /// `asc` when left out.
    #[serde(default)]
    pub direction: Direction,
}

/// A part of a list of records.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScrollRequest {
    /// Of these records; of all when left out.
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Value>,
    /// `created_at` when left out. Numbers come before texts, and these before truth values; records that do not have
    /// the field come last, whichever way. Of one value, the first that was written comes first.
    pub order_by: Option<OrderBy>,
    /// Records that are passed over. What is written between two requests moves the others.
    pub offset: usize,
    /// Records, 20 unless said otherwise.
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
    /// Neither vectors nor payloads when left out.
    pub with: Vec<With>,
}

/// A part of a list of records.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScrollAnswer {
    pub records: Vec<ListedRecord>,
    /// The `offset` of the next part; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<usize>,
    /// How many the filter allows.
    pub count: u64,
}

/// A change of many records.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchManyRequest {
    /// 1 to 2 048 of them, each once.
    #[serde(deserialize_with = "ids")]
    #[schema(schema_with = ids_schema)]
    pub ids: Vec<String>,
    /// What is changed of each, as `PATCH` of one record does.
    pub patch: RecordPatch,
}

/// What was changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct PatchManyAnswer {
    /// Records that were changed.
    pub patched: usize,
    /// Ids of which there is no record.
    pub missing: Vec<String>,
}
