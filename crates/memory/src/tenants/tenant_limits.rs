//! What limits a tenant has, as its policy says.

use crate::MemoryError;
use serde::{Deserialize, Serialize};

/// When a tenant that is over a limit of what is stored may try again, in seconds: something has to be deleted.
const RETRY_AFTER_S: u64 = 60;

/// What a tenant may ask and store at most. What is left out has only the limits of the box.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantLimits {
    /// Records that a recall gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_top_k: Option<u64>,
    /// Conditions of a filter, with those that join others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_filter_conditions: Option<u64>,
    /// Entries of the longest list of a request: records, messages, texts, ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_batch: Option<u64>,
    /// Bytes of a request's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body_bytes: Option<u64>,
    /// Collections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_collections: Option<u64>,
    /// Records of all collections, messages among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_records: Option<u64>,
    /// Bytes of texts, metadata, states, files and vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_stored_bytes: Option<u64>,
    /// Sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_sessions: Option<u64>,
    /// Jobs that have not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_jobs: Option<u64>,
    /// API keys that the tenant makes for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_keys: Option<u64>,
}

impl TenantLimits {
    /// Each limit that is set, by its name.
    pub fn set(&self) -> impl Iterator<Item = (&'static str, u64)> {
        // By its fields, so that none is forgotten.
        let Self {
            max_top_k,
            max_filter_conditions,
            max_batch,
            max_body_bytes,
            max_collections,
            max_records,
            max_stored_bytes,
            max_sessions,
            max_jobs,
            max_keys,
        } = *self;
        let all = [
            ("max_top_k", max_top_k),
            ("max_filter_conditions", max_filter_conditions),
            ("max_batch", max_batch),
            ("max_body_bytes", max_body_bytes),
            ("max_collections", max_collections),
            ("max_records", max_records),
            ("max_stored_bytes", max_stored_bytes),
            ("max_sessions", max_sessions),
            ("max_jobs", max_jobs),
            ("max_keys", max_keys),
        ];
        all.into_iter().filter_map(|(name, limit)| Some((name, limit?)))
    }

    /// Refuses one more key where there would be too many.
    pub fn check_keys(&self, after: u64) -> Result<(), MemoryError> {
        check_stored("max_keys", self.max_keys, after)
    }

    /// Refuses a list that is too long.
    pub fn check_batch(&self, entries: u64) -> Result<(), MemoryError> {
        check_asked("max_batch", self.max_batch, entries, "")
    }
}

/// Refuses a request that asks too much: the same one will never do.
pub(super) fn check_asked(
    limit: &'static str,
    most: Option<u64>,
    asked: u64,
    pointer: &str,
) -> Result<(), MemoryError> {
    match most.filter(|&most| asked > most) {
        None => Ok(()),
        Some(most) => {
            Err(MemoryError::impossible(pointer, format!("{asked} are asked for, and this tenant's {limit} is {most}")))
        }
    }
}

/// Refuses what would be stored over a limit: once something is deleted, there is room again.
pub(super) fn check_stored(limit: &'static str, most: Option<u64>, after: u64) -> Result<(), MemoryError> {
    match most.filter(|&most| after > most) {
        None => Ok(()),
        Some(most) => Err(MemoryError::LimitReached { limit, most, retry_after_s: RETRY_AFTER_S }),
    }
}
