//! A policy: what holds for a tenant where its requests say nothing. It is data, one table of the settings file.

use super::tenant_limits::TenantLimits;
use crate::MemoryError;
use crate::collections::check_memories;
use membox_api::{CollectionSettings, Evict, KindDefaults, MemoriesPolicy, Redaction, RedactionMode, SessionSettings};
use membox_store::Quota;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Messages that are kept in a session's list unless it says otherwise.
pub const DEFAULT_MAX_MESSAGES: u64 = 100;

/// What collections, sessions and users of a tenant get that say nothing of it themselves. It holds for what is
/// made from now on; quotas hold at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Window: messages that a session's list keeps; 0 for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_messages: Option<u64>,
    /// What becomes of messages over that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evict: Option<Evict>,
    /// Expiry: seconds that a session's messages live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_ttl_s: Option<u64>,
    /// Quotas: tokens a day of each user who has no quota of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<u64>,
    /// The price of 1 000 tokens, for the cost in `/v1/usage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_per_1000: Option<f64>,
    /// Whether records are given their keywords and names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keywords: Option<bool>,
    /// Whether texts and metadata are sealed: they are, unless this is `false`, on a box that has a master key;
    /// `true` wants one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<bool>,
    /// Redaction of personal data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redaction: Option<Redaction>,
    /// Compression, and how messages become memories.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memories: Option<MemoriesPolicy>,
    /// Expiry and weight of records by their kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinds: Option<BTreeMap<String, KindDefaults>>,
    /// What the tenant may ask and store at most; it holds at once.
    pub limits: TenantLimits,
}

/// The policies of a box.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policies {
    /// That of tenants which have none of their own.
    pub default: Policy,
    /// By tenant.
    pub tenants: HashMap<String, Policy>,
}

impl Policies {
    /// What holds for a tenant.
    pub fn of(&self, tenant: &str) -> &Policy {
        self.tenants.get(tenant).unwrap_or(&self.default)
    }
}

impl Policy {
    /// Whether it can hold; `at` says where it stands.
    pub fn check(&self, at: &str) -> Result<(), MemoryError> {
        if self.price_per_1000.is_some_and(|price| !(0.0..=1e9).contains(&price)) {
            return Err(MemoryError::impossible(
                format!("{at}/price_per_1000"),
                "a price is not less than 0, and finite",
            ));
        }
        self.memories.as_ref().map_or(Ok(()), |memories| check_memories(memories, &format!("{at}/memories")))
    }

    /// What a new collection is made with.
    pub(crate) fn collection(&self, wanted: &CollectionSettings) -> CollectionSettings {
        let mut settings = wanted.clone();
        settings.redaction = settings.redaction.or_else(|| self.redaction.clone());
        settings.memories = settings.memories.or_else(|| self.memories.clone());
        settings.kinds = settings.kinds.or_else(|| self.kinds.clone());
        settings.keywords = settings.keywords.or(self.keywords);
        settings
    }

    /// What a new session is made with.
    pub(crate) fn session(&self, wanted: &SessionSettings) -> SessionSettings {
        SessionSettings {
            max_messages: wanted.max_messages.or(self.max_messages),
            evict: wanted.evict.or(self.evict),
            ttl_s: wanted.ttl_s.or(self.message_ttl_s),
            ..wanted.clone()
        }
    }

    /// The quota of a user who has none of their own.
    pub(crate) fn quota(&self) -> Option<Quota> {
        let tokens_per_day = self.tokens_per_day.map(|tokens| i64::try_from(tokens).unwrap_or(i64::MAX));
        let micros = self.price_per_1000.map(|price| (price * 1e6).round() as i64);
        (tokens_per_day.is_some() || micros.is_some())
            .then(|| Quota { tokens_per_day: tokens_per_day.unwrap_or(0), micros_per_1000: micros.unwrap_or(0) })
    }

    /// What it comes to, in words, a line for each thing that a policy says.
    pub fn explain(&self, has_master_key: bool) -> Vec<String> {
        let seconds = |ttl: Option<u64>| match ttl.filter(|&ttl| ttl > 0) {
            Some(ttl) => format!("{ttl} s"),
            None => "for good".to_owned(),
        };
        let window = match self.max_messages.unwrap_or(DEFAULT_MAX_MESSAGES) {
            0 => "a session lists all of its messages".to_owned(),
            most if self.evict == Some(Evict::Delete) => {
                format!("a session lists {most} messages; what is over is deleted")
            }
            most => format!("a session lists {most} messages; what is over is archived, and still recalled"),
        };
        let memories = self.memories.clone().unwrap_or_default();
        let facts = if memories.llm { "; facts by a language model, where one is set up" } else { "" };
        let kinds = self.kinds.iter().flatten().map(|(kind, defaults)| format!(", {kind} {}", seconds(defaults.ttl_s)));
        let redaction = match self.redaction.as_ref().map(|redaction| redaction.mode) {
            None | Some(RedactionMode::Off) => "nothing is taken out".to_owned(),
            Some(mode) => format!("{mode:?}").to_lowercase(),
        };
        let encryption = match self.encryption {
            Some(false) => "none, by this policy",
            _ if has_master_key => {
                "texts and metadata are sealed with AES-256-GCM under the tenant's own key; vectors are not"
            }
            Some(true) => "wanted, and there is no master_key_file: the box does not start",
            None => "none, texts are kept as they are written; master_key_file would seal them",
        };
        let quotas = match self.tokens_per_day.filter(|&tokens| tokens > 0) {
            Some(tokens) => format!("{tokens} tokens a user and day"),
            None => "none".to_owned(),
        };
        let limits: Vec<String> = self.limits.set().map(|(name, most)| format!("{name} {most}")).collect();
        let limits = if limits.is_empty() { "those of the box alone".to_owned() } else { limits.join(", ") };
        vec![
            format!("window: {window}"),
            format!(
                "compression: memories keep {} of what was said, by topics of {} tokens{facts}",
                memories.rate, memories.topic_tokens
            ),
            format!("expiry: messages live {}{}", seconds(self.message_ttl_s), kinds.collect::<String>()),
            format!("redaction: {redaction}"),
            format!("encryption: {encryption}"),
            format!("quotas: {quotas}"),
            format!("limits: {limits}"),
        ]
    }
}
