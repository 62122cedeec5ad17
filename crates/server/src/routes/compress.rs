//! Compression.

use super::inputs::Texts;
use super::server_timing;
use crate::auth::Tenant;
use crate::extract::{Json, from_value};
use crate::json::Numbers;
use crate::problem::Problem;
use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use membox_memory::compressor::{
    CompressOptions, CompressedConversation, CompressedText, Compressor, CompressorError, JsonRule, KEEP_LAST, Message,
};
use membox_memory::encoder::Lane;
use membox_memory::{MemoryError, Timing};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Instant;
use utoipa::openapi::{Object, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Requests of at most so many bytes of text take the interactive lane: some eight passes of the model.
const INTERACTIVE_BYTES: usize = 16 << 10;

/// What is to be compressed: exactly one of `context`, `documents`, `messages` and `json_data`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompressSource {
    /// One prompt: a text, or several contexts of it.
    context: Option<Texts>,
    /// Independent texts, each with an answer of its own; they share the model's passes.
    documents: Option<Vec<String>>,
    /// A conversation: roles stay, messages of role `system` and the last `keep_last` stay whole.
    messages: Option<Vec<Message>>,
    /// How many messages at the end of a conversation stay whole (2).
    keep_last: Option<usize>,
    /// An object whose texts are compressed, by the rules in `json_config`.
    #[schema(value_type = Option<Object>)]
    json_data: Option<Map<String, Value>>,
    /// A rule for each key of `json_data`.
    json_config: Option<BTreeMap<String, JsonRule>>,
    /// The model, by its name or how that begins (`keep-head`, `llmlingua-2`); the box's own choice when left out.
    model: Option<String>,
    /// Taken for the package's sake, whose version 2 does nothing with it either.
    #[allow(dead_code)]
    instruction: Option<String>,
    /// Taken for the package's sake, whose version 2 does nothing with it either.
    #[allow(dead_code)]
    question: Option<String>,
}

/// A request for compression, for the API's description: what, and every option of the package under its own name, side by side.
pub struct CompressRequest;

impl PartialSchema for CompressRequest {
    fn schema() -> RefOr<Schema> {
        let mut request = Object::new();
        for part in [CompressSource::schema(), CompressOptions::schema()] {
            if let RefOr::T(Schema::Object(part)) = part {
                request.properties.extend(part.properties);
                request.additional_properties = part.additional_properties;
            }
        }
        RefOr::T(Schema::Object(request))
    }
}

impl ToSchema for CompressRequest {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        CompressSource::schemas(schemas);
        CompressOptions::schemas(schemas);
    }
}

/// The answers to `documents`.
#[derive(Debug, Serialize, ToSchema)]
pub struct CompressedDocuments {
    /// In the order of the request.
    documents: Vec<CompressedText>,
    /// Tokens of all before.
    origin_tokens: usize,
    /// Tokens of all after.
    compressed_tokens: usize,
}

/// The answer to `json_data`.
#[derive(Debug, Serialize, ToSchema)]
pub struct CompressedJson {
    /// The object, its texts compressed.
    #[schema(value_type = Object)]
    json_data: Map<String, Value>,
    /// The same written as JSON, and its counts.
    #[serde(flatten)]
    compressed: CompressedText,
}

/// The answer, in the form of what was asked.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum CompressAnswer {
    /// To `context`.
    Context(Box<CompressedText>),
    /// To `documents`.
    Documents(CompressedDocuments),
    /// To `messages`.
    Messages(CompressedConversation),
    /// To `json_data`.
    Json(Box<CompressedJson>),
}

/// `POST /v1/compress`: leaves out the words that a reader can do without, as LLMLingua-2 does.
#[utoipa::path(post, path = "/v1/compress", tag = "engines",
    request_body(content = CompressRequest, example = json!({"context": "So, um, I've been thinking about the project, you know, and I believe we need to ship on Friday.", "rate": 0.5})),
    responses((status = 200, description = "done", body = CompressAnswer), (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem), (status = 413, description = "over a limit of this box", body = Problem), (status = 422, description = "well-formed but impossible", body = Problem), (status = 429, description = "a queue is full; retry-after says when", body = Problem), (status = 503, description = "starting, stopping, or no such model is installed", body = Problem)))]
pub async fn compress(
    State(state): State<AppState>,
    _: Tenant,
    Json(body): Json<Map<String, Value>>,
) -> Result<(HeaderMap, axum::Json<CompressAnswer>), Problem> {
    let (source, options) = parts(body)?;
    check(&source, state.limits.max_inputs)?;
    let memory = state.memory.clone();
    let begun = Instant::now();
    let work = move || {
        let compressor = memory.compressor(source.model.as_deref())?;
        let answer = answer(compressor, source, &options).map_err(MemoryError::from)?;
        count(&answer);
        Ok(answer)
    };
    let answer = state.reads.run(work).await?;
    let timing = Timing { compress: begun.elapsed(), ..Timing::default() };
    metrics::histogram!("membox_compress_seconds").record(timing.compress.as_secs_f64());
    Ok((server_timing(&timing), axum::Json(answer)))
}

/// Tells the options from what they are applied to: both have strict forms of their own, so that no misspelt option goes unnoticed.
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

fn answer(
    compressor: &Compressor,
    source: CompressSource,
    options: &CompressOptions,
) -> Result<CompressAnswer, CompressorError> {
    let lane = |bytes: usize| if bytes <= INTERACTIVE_BYTES { Lane::Interactive } else { Lane::Bulk };
    let length = |texts: &[String]| texts.iter().map(String::len).sum();
    if let Some(documents) = source.documents {
        let lane = lane(length(&documents));
        let documents: Vec<Vec<String>> = documents.into_iter().map(|text| vec![text]).collect();
        let documents = compressor.compress_many(&documents, options, lane)?;
        return Ok(CompressAnswer::Documents(CompressedDocuments {
            origin_tokens: documents.iter().map(|d| d.origin_tokens).sum(),
            compressed_tokens: documents.iter().map(|d| d.compressed_tokens).sum(),
            documents,
        }));
    }
    if let Some(messages) = source.messages {
        let lane = lane(messages.iter().filter_map(|m| m.content.as_ref()).map(String::len).sum());
        let keep_last = source.keep_last.unwrap_or(KEEP_LAST);
        return Ok(CompressAnswer::Messages(compressor.compress_conversation(&messages, keep_last, options, lane)?));
    }
    if let (Some(data), Some(rules)) = (source.json_data, source.json_config) {
        let (json_data, compressed) = compressor.compress_json(&data, &rules, options, Lane::Interactive)?;
        return Ok(CompressAnswer::Json(Box::new(CompressedJson { json_data, compressed })));
    }
    let contexts = source.context.map(Texts::into_vec).unwrap_or_default();
    Ok(CompressAnswer::Context(Box::new(compressor.compress(&contexts, options, lane(length(&contexts)))?)))
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
