//! One endpoint, and one request to it.

use crate::error::Failure;
use crate::format::{Format, KnownFormat, json_in};
use crate::rest::EndpointRest;
use crate::usage::{Usage, tokens_of};
use crate::{Endpoint, Question};
use serde_json::{Value, json};
use std::time::Duration;

/// Bytes of an answer.
pub(crate) const MAX_ANSWER_BYTES: u64 = 4 << 20;
/// Bytes of a refusal.
const MAX_REFUSAL_BYTES: u64 = 64 << 10;
/// Tokens that one answer can have cost, whatever an endpoint says.
const MAX_REPORTED_TOKENS: u64 = u32::MAX as u64;

/// Makes what requests are sent by. It follows no redirects: the key and the messages would go along.
pub(crate) fn agent(timeout: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder();
    config.http_status_as_error(false).max_redirects(0).timeout_global(Some(timeout)).build().into()
}

/// An endpoint, and what is known of it.
pub(crate) struct Client {
    pub endpoint: Endpoint,
    pub rest: EndpointRest,
    format: KnownFormat,
}

impl Client {
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, rest: EndpointRest::default(), format: KnownFormat::default() }
    }

    /// Asks once, in the strictest way that the endpoint takes.
    pub fn ask<T>(
        &self,
        agent: &ureq::Agent,
        question: &Question,
        max_tokens: u32,
        usage: &mut Usage,
        read: &dyn Fn(&Value) -> Result<T, String>,
    ) -> Result<T, Failure> {
        let mut format = self.format.get();
        let response = loop {
            let mut response = self.send(agent, question, format, max_tokens)?;
            match format.next().filter(|_| is_refused(&mut response)) {
                Some(next) => {
                    usage.failed += 1;
                    format = next;
                }
                None => break response,
            }
        };
        if response.status() != 200 {
            let after = response.headers().get("retry-after").and_then(|v| v.to_str().ok()?.parse().ok());
            return Err(Failure::of_status(response.status().as_u16(), after.map(Duration::from_secs)));
        }
        // What refuses every way has another reason, such as a question that is too long. So only what was answered
        // is remembered.
        self.format.set(format);
        // Until the endpoint says what it has cost.
        usage.prompt_tokens = tokens_of(format.system(question.system, question.schema).len() + question.text.len());
        usage.completion_tokens = u64::from(max_tokens);
        let content = content_of(response, usage)?;
        let value = json_in(&content).ok_or_else(|| Failure::of_content("what the model wrote is not JSON"))?;
        read(&value).map_err(Failure::of_content)
    }

    fn send(
        &self,
        agent: &ureq::Agent,
        question: &Question,
        format: Format,
        max_tokens: u32,
    ) -> Result<ureq::http::Response<ureq::Body>, Failure> {
        let system = format.system(question.system, question.schema);
        let mut body = json!({
            "model": self.endpoint.model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": question.text}],
            "temperature": 0.1,
            "top_p": 0.1,
            "max_tokens": max_tokens,
        });
        if let Some(response_format) = format.response_format(question.name, question.schema) {
            body["response_format"] = response_format;
        }
        let mut request = agent.post(format!("{}/chat/completions", self.endpoint.url.trim_end_matches('/')));
        if let Some(key) = &self.endpoint.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        request.send_json(&body).map_err(|e| Failure::of_transport(e.to_string()))
    }
}

/// Whether an endpoint does not take a format. Some, such as llama-cpp-python, call that a failure of their own.
fn is_refused(response: &mut ureq::http::Response<ureq::Body>) -> bool {
    match response.status().as_u16() {
        400 | 404 | 422 => true,
        500 | 501 => {
            let text = response.body_mut().with_config().limit(MAX_REFUSAL_BYTES).read_to_string().unwrap_or_default();
            ["response_format", "json_schema", "json_object"].iter().any(|name| text.contains(name))
        }
        _ => false,
    }
}

/// What the model wrote. `usage` is changed to what it has cost.
fn content_of(mut response: ureq::http::Response<ureq::Body>, usage: &mut Usage) -> Result<String, Failure> {
    let body =
        response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec().map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => {
                Failure::of_content(format!("the answer has more than {MAX_ANSWER_BYTES} bytes"))
            }
            error => Failure::of_transport(error.to_string()),
        })?;
    usage.completion_tokens = tokens_of(body.len()).min(usage.completion_tokens);
    let answer: Value = serde_json::from_slice(&body).map_err(|_| Failure::of_content("the answer is not JSON"))?;
    let content = answer["choices"][0]["message"]["content"].as_str();
    if let Some(content) = content {
        usage.completion_tokens = tokens_of(content.len());
    }
    let reported = |name: &str| answer["usage"][name].as_u64().filter(|&n| n > 0).map(|n| n.min(MAX_REPORTED_TOKENS));
    usage.prompt_tokens = reported("prompt_tokens").unwrap_or(usage.prompt_tokens);
    usage.completion_tokens = reported("completion_tokens").unwrap_or(usage.completion_tokens);
    content.map(str::to_owned).ok_or_else(|| Failure::of_content("the answer has no content"))
}
