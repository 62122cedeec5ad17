//! A client of large language models, for what membox cannot do alone: extracting facts, deciding what an older
//! memory is still worth.
//!
//! [`Llm`] asks any OpenAI-compatible endpoint (`POST {url}/chat/completions`) for a JSON object of a schema. Several
//! endpoints make a fallback list. Each is tried three times; what is answered must be what was asked for, or the try
//! has failed.
//!
//! Failures are of two kinds. An endpoint that cannot be reached, is overloaded or set up wrongly rests for half a
//! minute, and nobody waits for it. An answer that is of no use ends the question alone; a tenant whose questions
//! come to nothing three times in a row rests alone. Budgets bound the tokens of a day, of all and of each tenant.
//!
//! Redirects are not followed. The size of an answer is bounded.
//!
//! This crate does not know what is asked, nor memories. Nothing that is asked or answered is logged.
//!
//! # Example
//!
//! ```
//! use membox_llm::{Endpoint, Llm, LlmConfig, LlmError, Question, Usage};
//!
//! let endpoint = Endpoint { url: "http://127.0.0.1:1/v1".into(), model: "any".into(), ..Endpoint::default() };
//! let llm = Llm::new(LlmConfig { endpoints: vec![endpoint], tries: 1, ..LlmConfig::default() });
//! let schema = serde_json::json!({"type": "object", "properties": {"yes": {"type": "boolean"}}});
//! let question = Question { tenant: "a", system: "Is it so?", text: "2 > 1", name: "answer", schema: &schema };
//! let answer = llm.ask(&question, &mut Usage::default(), &|value| Ok(value["yes"].as_bool()));
//! assert!(matches!(answer, Err(LlmError::Failed { .. })), "nobody listens there");
//! ```
//!
//! # Threads
//!
//! It blocks the caller's thread, which is one that may.

mod budget;
mod client;
mod config;
mod error;
mod format;
mod rest;
mod usage;

#[cfg(test)]
mod tests;

use budget::Budget;
use client::Client;
pub use config::{Endpoint, LlmConfig};
pub use error::LlmError;
use error::{Concerns, Failure};
use rest::TenantRests;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
pub use usage::Usage;

/// Pause after the first try that did not reach the endpoint; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause, whatever an endpoint asks for.
const MAX_PAUSE: Duration = Duration::from_secs(20);

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Whose tokens it costs.
    pub tenant: &'a str,
    /// What the model is to do.
    pub system: &'a str,
    /// With what.
    pub text: &'a str,
    /// A name of the schema, of letters and digits.
    pub name: &'a str,
    /// The JSON schema of the answer. Endpoints that hold their models to it want every property `required`, and
    /// `additionalProperties` to be false.
    pub schema: &'a Value,
}

/// Models behind endpoints.
pub struct Llm {
    config: LlmConfig,
    agent: ureq::Agent,
    clients: Vec<Client>,
    budget: Budget,
    tenants: TenantRests,
    stopping: AtomicBool,
}

impl Llm {
    /// Asks nothing yet.
    pub fn new(config: LlmConfig) -> Self {
        Self {
            agent: client::agent(Duration::from_secs(config.timeout_s.max(1))),
            clients: config.endpoints.iter().cloned().map(Client::new).collect(),
            budget: Budget::new(config.tokens_per_day, config.tokens_per_day_of_tenant.unwrap_or_default()),
            tenants: TenantRests::default(),
            stopping: AtomicBool::new(false),
            config,
        }
    }

    /// The first model's name.
    pub fn model(&self) -> &str {
        self.config.endpoints.first().map_or("", |endpoint| &endpoint.model)
    }

    /// Counts tokens that were used today before this began, by a tenant or by all together, as another process has
    /// recorded them.
    pub fn count_as_used(&self, tenant: Option<&str>, tokens: u64) {
        self.budget.resume(tenant, tokens);
    }

    /// From now on nothing is tried again, so that what waits for an answer ends soon.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Asks for a JSON object and gives what `read` makes of it; what it refuses counts as a failed try. What is used
    /// is added to `usage`, also by tries that have failed.
    ///
    /// # Errors
    /// No endpoint gives what was asked for, or none is asked now, or no tokens are left today.
    pub fn ask<T>(
        &self,
        question: &Question,
        usage: &mut Usage,
        read: &dyn Fn(&Value) -> Result<T, String>,
    ) -> Result<T, LlmError> {
        let rest = Duration::from_secs(self.config.rest_s);
        if let Some(reason) = self.tenants.reason(question.tenant, rest) {
            return Err(LlmError::TenantResting { reason });
        }
        let (mut resting, mut failed, mut useless) = (Vec::new(), Vec::new(), 0);
        for client in self.clients.iter().take_while(|_| !self.is_stopping()) {
            let model = &client.endpoint.model;
            if let Some((since, reason)) = client.rest.since(rest) {
                resting.push((since, format!("{model}: {reason}")));
                continue;
            }
            match self.ask_one(client, question, usage, read)? {
                Ok(answer) => {
                    client.rest.end();
                    self.tenants.answered(question.tenant);
                    return Ok(answer);
                }
                Err(failure) => {
                    if failure.concerns == Concerns::Everybody {
                        client.rest.begin(&failure.reason);
                    }
                    useless += usize::from(failure.concerns == Concerns::Question);
                    failed.push(format!("{model}: {}", failure.reason));
                }
            }
        }
        if failed.is_empty() {
            let seconds = resting.iter().map(|(since, _)| since.as_secs()).min();
            let reasons: Vec<String> = resting.into_iter().map(|(_, reason)| reason).collect();
            return Err(match seconds {
                Some(seconds) => LlmError::Resting { seconds, reason: reasons.join("; ") },
                None => LlmError::Failed { reason: "none is asked".to_owned() },
            });
        }
        let reason = failed.join("; ");
        if useless > 0 {
            self.tenants.failed(question.tenant, &reason);
        }
        Err(if useless == failed.len() { LlmError::Useless { reason } } else { LlmError::Failed { reason } })
    }

    /// Tries one endpoint as often as is set. The outer error ends the question.
    fn ask_one<T>(
        &self,
        client: &Client,
        question: &Question,
        usage: &mut Usage,
        read: &dyn Fn(&Value) -> Result<T, String>,
    ) -> Result<Result<T, Failure>, LlmError> {
        let mut pause = FIRST_PAUSE;
        let mut number = 1;
        loop {
            self.budget.check(question.tenant)?;
            let mut used = Usage::default();
            let answer = client.ask(&self.agent, question, self.config.max_tokens, &mut used, read);
            self.budget.spend(question.tenant, used.tokens());
            used.calls += u64::from(answer.is_ok());
            used.failed += u64::from(answer.is_err());
            used.record();
            usage.add(used);
            let failure = match answer {
                Ok(answer) => return Ok(Ok(answer)),
                Err(failure) => failure,
            };
            let reason = &failure.reason;
            tracing::warn!(model = client.endpoint.model, number, reason, "a language model failed");
            if number >= self.config.tries || !failure.is_passing || self.is_stopping() {
                return Ok(Err(failure));
            }
            // What was answered needs no pause before it is asked again.
            if failure.concerns == Concerns::Everybody {
                std::thread::sleep(failure.retry_after.unwrap_or(pause).min(MAX_PAUSE));
                pause *= 2;
            }
            number += 1;
        }
    }
}
