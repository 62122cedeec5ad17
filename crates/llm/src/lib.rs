//! A client of large language models, for what membox cannot do alone: extracting facts, deciding what an older
//! memory is still worth.
//!
//! [`Llm`] asks any OpenAI-compatible endpoint (`POST {url}/chat/completions`) for a JSON object. Several endpoints
//! make a fallback list. Each is tried three times with a growing pause; what is answered must be what was asked for,
//! or the try has failed. When all have failed, further questions fail at once for half a minute, so that nobody
//! waits for what is known to be down. A budget bounds the tokens of a day.
//!
//! This crate does not know what is asked, nor memories. Nothing that is asked or answered is logged.
//!
//! # Example
//!
//! ```
//! use membox_llm::{Endpoint, Llm, LlmConfig, LlmError, Usage};
//!
//! let endpoint = Endpoint { url: "http://127.0.0.1:1/v1".into(), model: "any".into(), ..Endpoint::default() };
//! let llm = Llm::new(LlmConfig { endpoints: vec![endpoint], tries: 1, ..LlmConfig::default() });
//! let answer = llm.ask("Answer as JSON.", "{}", &mut Usage::default(), &|value| Ok(value["yes"].as_bool()));
//! assert!(matches!(answer, Err(LlmError::Failed { .. })), "nobody listens there");
//! ```
//!
//! # Threads
//!
//! It blocks the caller's thread, which is one that may.

mod budget;

use budget::Budget;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Pause after the first failed try; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause, whatever an endpoint asks for.
const MAX_PAUSE: Duration = Duration::from_secs(20);
/// Bytes of an answer.
const MAX_ANSWER_BYTES: u64 = 4 << 20;

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
    /// Tried in this order.
    pub endpoints: Vec<Endpoint>,
    /// Seconds that an answer may take.
    pub timeout_s: u64,
    /// Times that each endpoint is tried.
    pub tries: u32,
    /// Tokens of a day in UTC, in and out; 0 for any number.
    pub tokens_per_day: u64,
    /// Tokens of an answer.
    pub max_tokens: u32,
    /// Seconds for which nothing is asked after all endpoints have failed.
    pub rest_s: u64,
}

impl Default for LlmConfig {
    fn default() -> Self {
        Self { endpoints: Vec::new(), timeout_s: 60, tries: 3, tokens_per_day: 0, max_tokens: 2000, rest_s: 30 }
    }
}

/// What answers have cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Requests that were answered.
    pub calls: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Tokens of what was asked, as the endpoint counts them.
    pub prompt_tokens: u64,
    /// Tokens of what was answered.
    pub completion_tokens: u64,
}

impl Usage {
    /// Tokens in and out.
    pub fn tokens(&self) -> u64 {
        self.prompt_tokens + self.completion_tokens
    }

    /// Adds another's.
    pub fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.failed += other.failed;
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LlmError {
    /// Every endpoint has failed.
    #[error("no language model answers: {reason}")]
    Failed {
        /// What each said last.
        reason: String,
    },
    /// They have failed just now, and are left alone for a while.
    #[error("no language model has answered {seconds} s ago ({reason}); it is asked again in a while")]
    Resting {
        /// How long ago.
        seconds: u64,
        /// What each said last.
        reason: String,
    },
    /// The day's tokens are used.
    #[error("the {budget} tokens that language models may use today are used (llm.tokens_per_day)")]
    Budget {
        /// Tokens of a day.
        budget: u64,
    },
}

/// How one try failed.
struct Failure {
    reason: String,
    /// Whether it may be different the next time.
    is_passing: bool,
    /// When to try again, if the endpoint says so.
    retry_after: Option<Duration>,
}

impl Failure {
    fn passing(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_passing: true, retry_after: None }
    }
}

/// Models behind endpoints.
pub struct Llm {
    config: LlmConfig,
    agent: ureq::Agent,
    budget: Budget,
    /// When all have failed, and why.
    broken: Mutex<Option<(Instant, String)>>,
    stopping: AtomicBool,
}

impl Llm {
    /// Asks nothing yet.
    pub fn new(config: LlmConfig) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(config.timeout_s.max(1))))
            .build();
        let (broken, stopping) = (Mutex::new(None), AtomicBool::new(false));
        Self { budget: Budget::new(config.tokens_per_day), config, agent: agent.into(), broken, stopping }
    }

    /// The first model's name.
    pub fn model(&self) -> &str {
        self.config.endpoints.first().map_or("", |endpoint| &endpoint.model)
    }

    /// Counts tokens that were used today before this began, as another process has recorded them.
    pub fn count_as_used(&self, tokens: u64) {
        self.budget.spend(tokens);
    }

    /// From now on nothing is tried again, so that what waits for an answer ends soon.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Asks for a JSON object and gives what `read` makes of it; what it refuses counts as a failed try. What is used
    /// is added to `usage`, also by tries that have failed.
    pub fn ask<T>(
        &self,
        system: &str,
        question: &str,
        usage: &mut Usage,
        read: &dyn Fn(&Value) -> Result<T, String>,
    ) -> Result<T, LlmError> {
        if let Some((at, reason)) = &*self.broken.lock().unwrap_or_else(PoisonError::into_inner)
            && at.elapsed() < Duration::from_secs(self.config.rest_s)
        {
            return Err(LlmError::Resting { seconds: at.elapsed().as_secs(), reason: reason.clone() });
        }
        let mut reasons = Vec::new();
        for endpoint in self.config.endpoints.iter().take_while(|_| !self.stopping.load(Ordering::Relaxed)) {
            let mut pause = FIRST_PAUSE;
            for number in 1..=self.config.tries.max(1) {
                if !self.budget.has_left() {
                    return Err(LlmError::Budget { budget: self.config.tokens_per_day });
                }
                let mut used = Usage::default();
                let answer = self.try_once(endpoint, system, question, &mut used, read);
                self.budget.spend(used.tokens());
                (used.calls, used.failed) = (u64::from(answer.is_ok()), u64::from(answer.is_err()));
                count(&used);
                usage.add(used);
                let failure = match answer {
                    Ok(answer) => {
                        *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = None;
                        return Ok(answer);
                    }
                    Err(failure) => failure,
                };
                tracing::warn!(model = endpoint.model, number, reason = failure.reason, "a language model failed");
                let is_last =
                    number >= self.config.tries || !failure.is_passing || self.stopping.load(Ordering::Relaxed);
                if is_last {
                    reasons.push(format!("{}: {}", endpoint.model, failure.reason));
                    break;
                }
                std::thread::sleep(failure.retry_after.unwrap_or(pause).min(MAX_PAUSE));
                pause *= 2;
            }
        }
        let reason = if reasons.is_empty() { "none is asked".to_owned() } else { reasons.join("; ") };
        *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), reason.clone()));
        Err(LlmError::Failed { reason })
    }

    fn try_once<T>(
        &self,
        endpoint: &Endpoint,
        system: &str,
        question: &str,
        usage: &mut Usage,
        read: &dyn Fn(&Value) -> Result<T, String>,
    ) -> Result<T, Failure> {
        let body = json!({
            "model": endpoint.model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": question}],
            "temperature": 0.1,
            "top_p": 0.1,
            "max_tokens": self.config.max_tokens,
            "response_format": {"type": "json_object"},
        });
        let mut request = self.agent.post(format!("{}/chat/completions", endpoint.url.trim_end_matches('/')));
        if let Some(key) = &endpoint.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let mut response = request.send_json(&body).map_err(|e| Failure::passing(e.to_string()))?;
        let status = response.status().as_u16();
        let seconds = response.headers().get("retry-after").and_then(|v| v.to_str().ok()?.parse().ok());
        let text = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_string();
        let text = text.map_err(|e| Failure::passing(e.to_string()))?;
        if status != 200 {
            // Wrong keys and models stay wrong; too many questions, and a server's own trouble, pass.
            let is_passing = matches!(status, 408 | 409 | 429 | 500..);
            let retry_after = seconds.map(Duration::from_secs);
            return Err(Failure { reason: format!("HTTP status {status}"), is_passing, retry_after });
        }
        let answer: Value = serde_json::from_str(&text).map_err(|_| Failure::passing("the answer is not JSON"))?;
        usage.prompt_tokens = answer["usage"]["prompt_tokens"].as_u64().unwrap_or(0);
        usage.completion_tokens = answer["usage"]["completion_tokens"].as_u64().unwrap_or(0);
        let content = answer["choices"][0]["message"]["content"].as_str();
        let content = content.ok_or_else(|| Failure::passing("the answer has no content"))?;
        let value = serde_json::from_str(without_fences(content))
            .map_err(|_| Failure::passing("what the model wrote is not JSON"))?;
        read(&value).map_err(Failure::passing)
    }
}

/// What a model wrote, without the fences that some put around JSON.
fn without_fences(text: &str) -> &str {
    let text = text.trim();
    let Some(inner) = text.strip_prefix("```").and_then(|text| text.strip_suffix("```")) else { return text };
    inner.strip_prefix("json").unwrap_or(inner).trim()
}

fn count(usage: &Usage) {
    metrics::counter!("membox_llm_calls_total", "outcome" => "done").increment(usage.calls);
    metrics::counter!("membox_llm_calls_total", "outcome" => "failed").increment(usage.failed);
    metrics::counter!("membox_llm_tokens_total", "direction" => "in").increment(usage.prompt_tokens);
    metrics::counter!("membox_llm_tokens_total", "direction" => "out").increment(usage.completion_tokens);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_are_taken_off() {
        for text in ["{}", " {} \n", "```json\n{}\n```", "```\n{}```"] {
            assert_eq!(without_fences(text), "{}", "{text:?}");
        }
        assert_eq!(without_fences("```json"), "```json");
    }
}
