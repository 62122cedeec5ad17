//! What users have used, and their quotas.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Tokens a day of a quota that says nothing else.
const DEFAULT_TOKENS_PER_DAY: u64 = 10_000;

/// Tokens that a user is about to use, or has used.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UsageReport {
    /// Who.
    pub user: String,
    /// How many, in and out together. Less than none gives back what was reported too much, as after an estimate.
    pub tokens: i64,
}

/// A quota.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QuotaSettings {
    /// Tokens a day in UTC (10 000); 0 for any number.
    pub tokens_per_day: u64,
    /// The price of 1 000 tokens, in your currency, with six decimals at most.
    #[schema(minimum = 0, maximum = 1000000000)]
    pub price_per_1000: f64,
}

impl Default for QuotaSettings {
    fn default() -> Self {
        Self { tokens_per_day: DEFAULT_TOKENS_PER_DAY, price_per_1000: 0.0 }
    }
}

/// What a user has used on a day.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct UsageView {
    /// Who.
    pub user: String,
    /// The day in UTC.
    pub day: String,
    /// Tokens that were reported.
    pub tokens: i64,
    /// Reports.
    pub requests: i64,
    /// Tokens of messages that were appended to sessions.
    pub stored_tokens: i64,
    /// Messages that were appended to sessions.
    pub messages: i64,
    /// What the tokens cost, by the price of the user's quota.
    pub cost: f64,
    /// Tokens that are left of the quota; missing where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<i64>,
}

/// Whose usage, and when.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct UsageQuery {
    /// One user; all when left out.
    pub user: Option<String>,
    /// A day in UTC, such as 2026-05-20; today when left out.
    pub from: Option<String>,
    /// A day in UTC; today when left out.
    pub to: Option<String>,
    /// Lines at most (20).
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
}

/// What users have used.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageList {
    /// The latest day first, and on each those who have used most.
    pub usage: Vec<UsageView>,
}
