//! Long work and the state of the box.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// How far a job is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct JobView {
    /// Its id.
    pub id: String,
    /// `reembed`, `rebuild`, `consolidate` or `erase`.
    pub kind: String,
    /// The collection that it works on, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// `running`, `done`, `failed` or `cancelled`.
    pub state: String,
    /// Records done.
    pub done: u64,
    /// Records in all.
    pub total: u64,
    /// Records a second so far.
    pub per_second: f64,
    /// Seconds left at that rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<f64>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it has come to: an erasure's receipt, a consolidation's report.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub result: Option<Value>,
    /// RFC 3339.
    pub started_at: String,
}

/// The state of the box.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    pub status: &'static str,
    /// Background work that has failed several times in a row, and is tried further.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<String>,
}
