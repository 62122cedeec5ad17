//! Compression.

use super::server_timing;
use crate::auth::Tenant;
use crate::extract::{Json, from_value};
use crate::json::Numbers;
use crate::problem::Problem;
use crate::rendered::Rendered;
use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use membox_api::{CompressAnswer, CompressOptions, CompressRequest, CompressSource, Texts, Timing};
use membox_memory::MemoryError;
use membox_threads::budget;
use serde_json::{Map, Value};
use std::time::{Duration, Instant};

/// Memory that a byte of a text takes while it is compressed: 700 kB took 100 MB.
const OF_COMPRESSED_BYTE: usize = 140;
/// Memory that one compression waits for at most: a long text is to be compressed on a small box too.
const MAX_LENT_BYTES: usize = 64 << 20;
/// How long it waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// `POST /v1/compress`: leaves out the words that a reader can do without, as LLMLingua-2 does.
#[utoipa::path(
    post,
    path = "/v1/compress",
    tag = "engines",
    request_body(
        content = CompressRequest,
        example = json!(
            {
                "context": "So, um, I've been thinking about the project, you know, and I believe we need to ship \
                    on Friday.",
                "rate": 0.5
            }
        )
    ),
    responses(
        (status = 200, description = "done", body = CompressAnswer),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 413, description = "over a limit of this box", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem),
        (status = 503, description = "starting, stopping, or no such model is installed", body = Problem)
    ),
)]
pub async fn compress(
    State(state): State<AppState>,
    _: Tenant,
    Json(body): Json<Map<String, Value>>,
) -> Result<(HeaderMap, Rendered<CompressAnswer>), Problem> {
    let memory_bytes = body.values().map(text_bytes).sum::<usize>().saturating_mul(OF_COMPRESSED_BYTE);
    let (source, options) = parts(body)?;
    check(&source, state.limits.max_inputs)?;
    let lent = memory_bytes.min(MAX_LENT_BYTES).min(state.room.bytes_of_tenant() / 2);
    let memory = state.memory.clone();
    let begun = Instant::now();
    let work = move || {
        let _lent = budget::lend(lent, PATIENCE).map_err(MemoryError::from)?;
        let answer = memory.models().compress(source, &options)?;
        count(&answer);
        Rendered::of(&answer)
    };
    let answer = state.reads.run(work).await?;
    let timing = Timing { compress: begun.elapsed(), ..Timing::default() };
    metrics::histogram!("membox_compress_seconds").record(timing.compress.as_secs_f64());
    Ok((server_timing(&timing), answer))
}

/// Bytes of the texts in a value.
fn text_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(text_bytes).sum(),
        Value::Object(members) => members.values().map(text_bytes).sum(),
        _ => 0,
    }
}

/// Tells the options from what they are applied to: both have strict forms of their own, so that no misspelt option
/// goes unnoticed.
fn parts(body: Map<String, Value>) -> Result<(CompressSource, CompressOptions), Problem> {
    let defaults = serde_json::to_value(CompressOptions::default()).unwrap_or_default();
    let is_option = |name: &String| defaults.get(name).is_some();
    let (options, source): (Map<_, _>, Map<_, _>) = body.into_iter().partition(|(name, _)| is_option(name));
    Ok((from_value(&Value::Object(source), Numbers::Plain)?, from_value(&Value::Object(options), Numbers::Plain)?))
}

fn check(source: &CompressSource, most: usize) -> Result<(), Problem> {
    let bad = |pointer: &str, detail: &str| Err(Problem::field(StatusCode::BAD_REQUEST, pointer, detail));
    let given = [
        source.context.is_some(),
        source.documents.is_some(),
        source.messages.is_some(),
        source.json_data.is_some() && source.json_config.is_some(),
    ];
    if source.json_data.is_some() != source.json_config.is_some() {
        return bad("/json_config", "json_data and json_config go together");
    }
    if given.iter().filter(|&&g| g).count() != 1 {
        return bad("/context", "exactly one of context, documents, messages and json_data is wanted");
    }
    if source.keep_last.is_some() && source.messages.is_none() {
        return bad("/keep_last", "it goes with messages");
    }
    let texts = |pointer: &str, count: usize| match count {
        0 => bad(pointer, "nothing to compress"),
        n if n > most => {
            let detail = format!("{n} texts; at most {most} can be sent at once");
            Err(Problem::field(StatusCode::PAYLOAD_TOO_LARGE, pointer, detail))
        }
        _ => Ok(()),
    };
    match (&source.context, &source.documents, &source.messages) {
        (Some(Texts::Many(contexts)), ..) => texts("/context", contexts.len()),
        (_, Some(documents), _) => texts("/documents", documents.len()),
        (.., Some(messages)) => texts("/messages", messages.len()),
        _ => Ok(()),
    }
}

/// Counts tokens for the metrics.
fn count(answer: &CompressAnswer) {
    let (before, after) = match answer {
        CompressAnswer::Context(text) => (text.origin_tokens, text.compressed_tokens),
        CompressAnswer::Documents(all) => (all.origin_tokens, all.compressed_tokens),
        CompressAnswer::Messages(all) => (all.origin_tokens, all.compressed_tokens),
        CompressAnswer::Json(json) => (json.compressed.origin_tokens, json.compressed.compressed_tokens),
    };
    for (kind, tokens) in [("compress_in", before), ("compress_out", after)] {
        metrics::counter!("membox_tokens_total", "kind" => kind).increment(tokens as u64);
    }
}
