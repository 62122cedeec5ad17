//! Long work and the state of the box.

use crate::{ConsolidateReport, ErasureReceipt, TenantReceipt, UpdateReport};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// How a collection is embedded anew.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ReembedQuery {
    /// The model that it moves to, one of `GET /v1/models`; its own when left out. Until the job is done it answers by
    /// the one that it has.
    pub model: Option<String>,
}

/// Which jobs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct JobsQuery {
    /// Those in this state.
    #[param(inline)]
    pub state: Option<JobState>,
    /// Those of this kind: `reembed`, `token-vectors`, `rebuild`, `consolidate`, `update`, `erase` or `seal`.
    pub kind: Option<String>,
    /// Jobs a page, 20 unless said otherwise.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    Queued,
    Running,
    Done,
    Failed,
    Cancelled,
}

/// A page of jobs.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobList {
    /// Newest first.
    pub jobs: Vec<JobView>,
    /// The cursor of the next page; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A job, and how far it is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct JobView {
    /// Its id.
    pub id: String,
    /// `reembed`, `token-vectors`, `rebuild`, `consolidate`, `update`, `erase` or `seal`.
    pub kind: String,
    /// The collection that it works on, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// The user that it works on, if it is one. An erasure that is done names nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `queued`, `running`, `done`, `failed` or `cancelled`.
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
    /// What it has come to: an erasure's receipt, a consolidation's or an update's report.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<JobResult>)]
    pub result: Option<Value>,
    /// When it was asked for. RFC 3339.
    pub created_at: String,
    /// When it began, for the last time if a stop of the box has ended it before. RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When it ended. RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
}

/// What jobs come to, for the API's description; jobs of other kinds have no result.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum JobResult {
    /// Of `erase`.
    Erase(ErasureReceipt),
    /// Of `erase`, of a tenant.
    EraseTenant(TenantReceipt),
    /// Of `consolidate`.
    Consolidate(ConsolidateReport),
    /// Of `update`.
    Update(UpdateReport),
    /// Of `token-vectors`.
    TokenVectors(TokenVectorsReport),
}

/// What a job has done that makes vectors of tokens.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenVectorsReport {
    /// Records that got them.
    pub records: usize,
}

/// Memory that requests have together, in bytes: their bodies, what is made of these, and their answers.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct RequestMemory {
    /// What they have now.
    pub used: usize,
    /// What they have at most (`request_memory_mib`); those of one tenant half of it.
    pub limit: usize,
}

/// The state of the box.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    pub status: &'static str,
    /// Memory of the requests under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_memory: Option<RequestMemory>,
    /// Names of the embedding models that are loaded, the box's own first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// What is wrong though the box is ready: background work that has failed several times in a row and is tried
    /// further, a full disk, a lost card.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<String>,
}
