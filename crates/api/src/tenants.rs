//! How a tenant is kept, and its erasure.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a tenant is kept.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TenantView {
    /// Who.
    pub tenant: String,
    /// Its collections.
    pub collections: usize,
    /// Whether what it writes is sealed.
    pub encrypted: bool,
    /// The number of its newest key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<u32>,
    /// Whether all that it has written is sealed with that one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled: Option<bool>,
}

/// What the erasure of a tenant has done.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct TenantReceipt {
    /// Who is gone.
    pub tenant: String,
    /// Collections that were dropped.
    pub collections: usize,
    /// Records that they held.
    pub records: u64,
    /// Keys that are gone: what they have sealed cannot be read any more, in older backups neither, unless these hold
    /// the keys.
    pub keys: usize,
    /// RFC 3339.
    pub begun_at: String,
    /// RFC 3339: from then on nothing of it is in any file.
    pub ended_at: String,
    /// The entry of the audit log that says so.
    pub audit_number: i64,
}

/// Who is to be erased.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EraseTenant {
    /// The tenant of this key, by its name: so that nobody erases one by mistake.
    pub tenant: String,
}
