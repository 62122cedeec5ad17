//! How models are asked.

use serde::{Deserialize, Serialize};

/// Where a model is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Endpoint {
    /// Such as `https://api.openai.com/v1`.
    pub url: String,
    /// Sent as `Authorization: Bearer KEY`, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The model's name there.
    pub model: String,
}

/// How models are asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LlmConfig {
    /// Seconds that an answer may take.
    pub timeout_s: u64,
    /// Times that each endpoint is tried.
    pub tries: u32,
    /// Tokens of a day in UTC, in and out; 0 for any number.
    pub tokens_per_day: u64,
    /// Those of one tenant; 0 for any number. Without it, half of `tokens_per_day` where the box has keys of several
    /// tenants when it starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_day_of_tenant: Option<u64>,
    /// Tokens of an answer.
    pub max_tokens: u32,
    /// Seconds for which an endpoint is left alone that cannot be reached.
    pub rest_s: u64,
    /// Tried in this order.
    pub endpoints: Vec<Endpoint>,
}

impl Default for LlmConfig {
    fn default() -> Self {
        Self {
            timeout_s: 60,
            tries: 3,
            tokens_per_day: 0,
            tokens_per_day_of_tenant: None,
            max_tokens: 2000,
            rest_s: 30,
            endpoints: Vec::new(),
        }
    }
}

impl LlmConfig {
    /// The same, with what a tenant may use where nothing is said of it.
    #[must_use]
    pub fn for_tenants(mut self, tenants: usize) -> Self {
        if tenants > 1 && self.tokens_per_day > 0 {
            self.tokens_per_day_of_tenant.get_or_insert(self.tokens_per_day.div_ceil(2));
        }
        self
    }
}
