//! API keys: what they may do, and how they are made, listed and revoked.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a key may do. Each level may do what those before it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Looks, and changes nothing.
    Read,
    /// Adds records, messages, sessions, checkpoints and inputs of queues; what is there stays as it is.
    Append,
    /// Changes and deletes what is in collections and sessions, and makes collections.
    Write,
    /// Everything of its tenant: also drops collections, erases, rotates, sets quotas, and makes and revokes keys.
    #[default]
    Admin,
}

impl Access {
    /// All levels, the lowest first.
    pub const ALL: [Self; 4] = [Self::Read, Self::Append, Self::Write, Self::Admin];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Append => "append",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl std::fmt::Display for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A key to be made.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApiKey {
    /// What it is for, 1 to 100 characters: the list of keys shows it.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// What it may do.
    #[serde(default)]
    pub access: Access,
    /// The only collections that it reaches, 1 to 100; all of them when left out.
    #[schema(min_items = 1, max_items = 100)]
    pub collections: Option<Vec<String>>,
    /// The only sessions that it reaches, 1 to 100; all of them when left out.
    #[schema(min_items = 1, max_items = 100)]
    pub sessions: Option<Vec<String>>,
    /// The only users that it reaches, 1 to 100; all of them when left out.
    #[schema(min_items = 1, max_items = 100)]
    pub users: Option<Vec<String>>,
    /// Requests that it may send a second; any number when left out.
    #[schema(exclusive_minimum = 0)]
    pub requests_per_second: Option<f64>,
    /// When it ends, RFC 3339; never when left out.
    pub expires_at: Option<String>,
}

/// A key as it is listed: never the key itself.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ApiKeyView {
    /// By which it is revoked: the beginning of its hash, as the audit log names it.
    pub id: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whose it is.
    pub tenant: String,
    /// What it may do.
    pub access: Access,
    /// The only collections that it reaches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collections: Option<Vec<String>>,
    /// The only sessions that it reaches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<Vec<String>>,
    /// The only users that it reaches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<String>>,
    /// Requests that it may send a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<f64>,
    /// When it ends. RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Whether it has ended.
    pub expired: bool,
    /// When it was made, where it is managed. RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// Whether it is in the file of keys, from which it can be revoked; the others are in the box's settings.
    pub managed: bool,
}

/// A key that was made.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CreatedApiKey {
    /// The key itself. It is shown this once: the box keeps its hash alone.
    pub key: String,
    /// As it is listed from now on.
    #[serde(flatten)]
    pub view: ApiKeyView,
}

/// Keys of a tenant.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ApiKeyList {
    /// Those of the settings, then those of the file, the oldest first.
    pub keys: Vec<ApiKeyView>,
}
