//! What clients of all kinds send, made into what the protocol's SDK takes: one message at a time, from a client
//! that takes JSON and event streams alike. The box only ever answers with JSON, so whoever admits JSON can be
//! answered. What is wrong with a message is said as JSON-RPC says it.

use crate::extract::{as_text, parse, read_body};
use crate::json;
use crate::problem::Problem;
use crate::request;
use crate::state::AppState;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use membox_memory::{Kept, check_numbers};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The one version of the protocol that has batches, and what a client speaks that does not say.
const WITH_BATCHES: &str = "2025-03-26";
const VERSION_HEADER: &str = "mcp-protocol-version";
/// Messages of a batch.
const MAX_BATCH: usize = 100;

const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
const INVALID_PARAMS: i64 = -32602;

/// Hands each message of a request on, and its answer back.
pub async fn hand_on(State(state): State<AppState>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    if !admits_json(&parts.headers) {
        let detail = "answers are JSON: accept application/json";
        return failure(StatusCode::NOT_ACCEPTABLE, &Value::Null, INVALID_REQUEST, detail);
    }
    parts.headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    let limit = state.limits.max_body_bytes;
    let body = match read_body(body, limit).await {
        Ok(body) => Bytes::from(body),
        Err(problem) => return problem.into_response(),
    };
    if let Err(problem) = request::take(json::memory_bytes(&body)) {
        return problem.into_response();
    }
    match as_text(&body) {
        Ok(text) if text.trim_start().starts_with('[') => answer_batch(&parts, &body, text, &next, limit).await,
        Ok(_) => answer(&parts, body, next).await,
        Err(problem) => failure(StatusCode::BAD_REQUEST, &Value::Null, PARSE_ERROR, &problem.detail),
    }
}

/// A number of a message that would not be kept as it is written.
#[derive(Clone)]
pub struct Inexact(pub Problem);

impl Inexact {
    /// Looks for one in the text of a message: once it is parsed, nobody can tell. Its pointer is below the tool's
    /// arguments, as of all that is wrong with them.
    fn find(text: &str) -> Option<Self> {
        let mut problem = Problem::from(check_numbers(text, Kept::Fields, "").err()?);
        for field in &mut problem.errors {
            if let Some(below) = field.pointer.strip_prefix("/params/arguments") {
                field.pointer = below.to_owned();
            }
        }
        Some(Self(problem))
    }
}

/// Whether an answer in JSON is admitted.
fn admits_json(headers: &HeaderMap) -> bool {
    let mut given = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    given.peek().is_none()
        || given.flat_map(|value| value.split(',')).any(|range| {
            let mut parts = range.split(';').map(|part| part.trim().to_ascii_lowercase());
            let kind = parts.next().unwrap_or_default();
            let is_refused = parts.any(|part| {
                let quality = part.strip_prefix("q=").and_then(|quality| quality.trim().parse::<f32>().ok());
                quality == Some(0.0)
            });
            !is_refused && ["application/json", "application/*", "*/*", "*", ""].contains(&kind.as_str())
        })
}

/// Answers one message, given as it came.
async fn answer(parts: &Parts, body: Bytes, next: Next) -> Response {
    let text = as_text(&body).unwrap_or_default();
    let inexact = Inexact::find(text);
    let mut message: Value = match parse(&body) {
        Ok(message) => message,
        Err(problem) => return unreadable(text, inexact, &problem),
    };
    let id = message.get("id").cloned().unwrap_or_default();
    if !message.is_object() {
        return failure(StatusCode::BAD_REQUEST, &id, INVALID_REQUEST, "a message is a JSON object");
    }
    let body = match read_arguments(&mut message) {
        Ok(false) => body,
        Ok(true) => message.to_string().into(),
        Err(detail) => return failure(StatusCode::OK, &id, INVALID_PARAMS, &detail),
    };
    let mut parts = parts.clone();
    if let Some(inexact) = inexact {
        parts.extensions.insert(inexact);
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.remove(header::TRANSFER_ENCODING);
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| {
        kind.to_str()
            .is_ok_and(|kind| kind.starts_with("application/json") || kind.starts_with("application/problem+json"))
    });
    if is_json || !(response.status().is_client_error() || response.status().is_server_error()) {
        return response;
    }
    let status = response.status();
    let said = to_bytes(response.into_body(), 64 << 10).await.unwrap_or_default();
    failure(status, &id, INVALID_REQUEST, &String::from_utf8_lossy(&said))
}

/// Says why a message could not be read, to the call that it is where that can be told.
fn unreadable(text: &str, inexact: Option<Inexact>, problem: &Problem) -> Response {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Identified {
        id: Value,
    }
    let id = serde_json::from_str(text).map_or(Value::Null, |Identified { id }| id);
    let (code, detail) = match inexact {
        // A number that no parser takes: its field is known.
        Some(Inexact(inexact)) => {
            let pointer = inexact.errors.first().map(|field| field.pointer.as_str()).unwrap_or_default();
            (INVALID_PARAMS, format!("{pointer}: {}", inexact.detail))
        }
        None => (if problem.errors.is_empty() { PARSE_ERROR } else { INVALID_REQUEST }, problem.detail.clone()),
    };
    failure(StatusCode::BAD_REQUEST, &id, code, &detail)
}

/// Answers a batch, one message after the other, as JSON-RPC 2.0 says: answers to requests in a list, and nothing
/// to notifications alone.
async fn answer_batch(parts: &Parts, body: &Bytes, text: &str, next: &Next, limit: usize) -> Response {
    // Each message stays as it is written: what is wrong with one is not wrong with the others.
    let batch: Vec<&RawValue> = match serde_json::from_str(text) {
        Ok(batch) => batch,
        Err(error) => {
            let detail = format!("the body is not JSON: {error}");
            return failure(StatusCode::BAD_REQUEST, &Value::Null, PARSE_ERROR, &detail);
        }
    };
    let refuse = |detail: &str| failure(StatusCode::BAD_REQUEST, &Value::Null, INVALID_REQUEST, detail);
    let version = parts.headers.get(VERSION_HEADER).and_then(|value| value.to_str().ok()).unwrap_or(WITH_BATCHES);
    if version != WITH_BATCHES {
        return refuse(&format!("version {version} of the protocol has no batches: send one message at a time"));
    }
    if batch.is_empty() || batch.len() > MAX_BATCH {
        return refuse(&format!("a batch of {} messages; 1 to {MAX_BATCH} can be sent at once", batch.len()));
    }
    let mut answers = Vec::new();
    for message in batch {
        let response = answer(parts, body.slice_ref(message.get().as_bytes()), next.clone()).await;
        let said = to_bytes(response.into_body(), limit).await.unwrap_or_default();
        answers.extend(serde_json::from_slice::<Value>(&said).ok().filter(|answer| !answer.is_null()));
    }
    if answers.is_empty() { StatusCode::ACCEPTED.into_response() } else { axum::Json(answers).into_response() }
}

/// Looks at the arguments of a call, which some clients send as JSON within a text. Gives whether they were changed.
fn read_arguments(message: &mut Value) -> Result<bool, String> {
    if message.get("method").and_then(Value::as_str) != Some("tools/call") {
        return Ok(false);
    }
    let Some(params) = message.get_mut("params").filter(|params| params.is_object()) else {
        return Err("params is an object with the name of a tool and its arguments".to_owned());
    };
    if !params["name"].is_string() {
        return Err("name is the name of a tool".to_owned());
    }
    match params.get_mut("arguments") {
        None | Some(Value::Object(_) | Value::Null) => Ok(false),
        Some(arguments) => {
            let written = arguments.as_str().filter(|text| !text.trim().is_empty()).unwrap_or("{}");
            check_numbers(written, Kept::Fields, "").map_err(|error| error.to_string())?;
            let read = if arguments.is_string() { parse(written.as_bytes()) } else { Ok(Value::Null) };
            *arguments = match read {
                Ok(object @ Value::Object(_)) => object,
                _ => return Err("arguments is an object, such as {\"query\": \"...\"}".to_owned()),
            };
            Ok(true)
        }
    }
}

/// An error as JSON-RPC has it.
fn failure(status: StatusCode, id: &Value, code: i64, message: &str) -> Response {
    let body = json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}});
    (status, axum::Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_admits_json_is_answered() {
        let admits = |accept: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(header::ACCEPT, HeaderValue::from_static(value));
            }
            admits_json(&headers)
        };
        for accept in [
            &[][..],
            &["application/json"],
            &["*/*"],
            &["application/*;q=0.5"],
            &["text/event-stream", "Application/JSON"],
            &["text/html, */*;q=0.1"],
            &["application/json; charset=utf-8"],
        ] {
            assert!(admits(accept), "{accept:?}");
        }
        for accept in [&["text/event-stream"][..], &["text/html"], &["application/json;q=0"], &["application/xml"]] {
            assert!(!admits(accept), "{accept:?}");
        }
    }

    #[test]
    fn arguments_within_a_text_are_read_and_others_are_refused() {
        let read = |arguments: Value| {
            let mut message = json!({"method": "tools/call", "params": {"name": "t", "arguments": arguments}});
            read_arguments(&mut message).map(|changed| (changed, message["params"]["arguments"].clone()))
        };
        assert_eq!(read(json!({"a": 1})), Ok((false, json!({"a": 1}))));
        assert_eq!(read(json!("{\"a\": [1, null]}")), Ok((true, json!({"a": [1, null]}))));
        assert_eq!(read(json!(" ")), Ok((true, json!({}))));
        assert_eq!(read(Value::Null), Ok((false, Value::Null)));
        for wrong in [json!([1]), json!("[1]"), json!("not JSON"), json!(7), json!("{\"a\": 1, \"a\": 2}")] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
