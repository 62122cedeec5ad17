//! All that is remembered of a user: profile, erasure, audit log.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::HashMap;
use utoipa::{IntoParams, ToSchema};

/// A word and how many of a user's records are about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Term {
    /// A keyword or a name.
    pub term: String,
    /// Records.
    pub records: u64,
}

/// Who a user is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProfileView {
    /// Whose it is.
    pub user: String,
    /// What callers have set.
    #[schema(value_type = Object)]
    pub fields: Map<String, Value>,
    /// What a language model makes of the user's memories, if one was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// What the user's records are about most: the keywords of the most records.
    pub topics: Vec<String>,
    /// Their keywords, most frequent first.
    pub keywords: Vec<Term>,
    /// Names in them, likewise.
    pub entities: Vec<Term>,
    /// Messages that were said.
    pub messages: u64,
    /// Memories, by kind.
    pub memories: HashMap<String, u64>,
    /// Sessions.
    pub sessions: u64,
    /// The newest record's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<String>,
    /// Version of the stored profile; 0 where none is stored.
    pub version: u64,
    /// When it was stored last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
}

/// What an erasure has done. It names nobody who is gone: of the user and of the user's own collection it says what
/// the audit log says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErasureReceipt {
    /// Whose data it was, as the `subject` in the audit log.
    pub user: String,
    /// Records that are gone, messages among them.
    pub records: usize,
    /// Sessions that are gone.
    pub sessions: usize,
    /// Inputs that waited in their queues.
    pub queued: usize,
    /// Checkpoints of threads that are called like them.
    pub checkpoints: usize,
    /// Collections that were the user's own, and are gone.
    pub dropped: Vec<String>,
    /// Collections whose files were written anew without the user's records.
    pub rewritten: Vec<String>,
    /// RFC 3339.
    pub begun_at: String,
    /// RFC 3339: from then on nothing of it is in any file.
    pub ended_at: String,
    /// The entry of the audit log that says so.
    pub audit_number: i64,
    /// Its hash.
    pub audit_hash: String,
}

/// An entry of the audit log as it is given out.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditView {
    /// Its place in the tenant's log.
    pub number: i64,
    /// RFC 3339.
    pub at: String,
    /// Who did it: the beginning of the hash of a key, or `local` on a box without keys.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what. Users are named by a keyed hash, so that an erased one is not named here.
    pub subject: String,
    /// To how many.
    pub count: u64,
    /// SHA-256 of it and of the hash before.
    pub hash: String,
}

/// Which entries of the audit log.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// Entries a page, 20 unless said otherwise.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
    /// Those after this number.
    pub cursor: Option<i64>,
}

/// A page of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditPage {
    pub entries: Vec<AuditView>,
    /// The cursor of the next page; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
}
