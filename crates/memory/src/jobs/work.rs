//! What jobs do, as plain data: it is stored with the job, and read again after a stop of the box.

use membox_api::{ConsolidateRequest, UpdateRequest};
use membox_store::Erases;
use serde::{Deserialize, Serialize};

/// What a job does. Each can be done again from its beginning, whatever a stop has left of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "work", rename_all = "snake_case")]
pub(crate) enum Work {
    /// Embeds all texts of a collection anew, by another model if one is named.
    Reembed {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
    },
    /// Makes the vectors of tokens that records of a collection lack.
    TokenVectors,
    /// Writes a collection's files anew.
    Rebuild,
    /// Merges near-doubles of a collection.
    Consolidate { threshold: f32, request: ConsolidateRequest },
    /// Holds the memories of a collection against newer ones.
    Update { request: UpdateRequest },
    /// Erases a user. Without a user, all is erased but what the database's log still holds.
    EraseUser { actor: String },
    /// Erases a tenant.
    EraseTenant { actor: String },
    /// Seals all of a tenant with its newest key.
    Seal,
    /// Panics while it holds its collection.
    #[cfg(test)]
    Panic,
}

impl Work {
    /// What callers call it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Reembed { .. } => "reembed",
            Self::TokenVectors => "token-vectors",
            Self::Rebuild => "rebuild",
            Self::Consolidate { .. } => "consolidate",
            Self::Update { .. } => "update",
            Self::EraseUser { .. } | Self::EraseTenant { .. } => "erase",
            Self::Seal => "seal",
            #[cfg(test)]
            Self::Panic => "panic",
        }
    }

    /// What may not be written while it is under way.
    pub const fn erases(&self) -> Option<Erases> {
        match self {
            Self::EraseUser { .. } => Some(Erases::User),
            Self::EraseTenant { .. } => Some(Erases::Tenant),
            _ => None,
        }
    }

    /// Whether it works on all of a tenant: two such jobs exclude each other.
    pub const fn is_tenant_wide(&self) -> bool {
        matches!(self, Self::EraseTenant { .. } | Self::Seal)
    }

    /// Whether it works on one collection: two such jobs exclude each other.
    pub const fn is_of_collection(&self) -> bool {
        !matches!(self, Self::EraseUser { .. } | Self::EraseTenant { .. } | Self::Seal)
    }
}
