//! Embeddings as OpenAI has them, token counts and chunks.

use super::encoding::{INTERACTIVE_INPUTS, check_count, check_sizes, cut, encode, render, timing};
use super::inputs;
use super::{models, server_timing};
use crate::auth::Tenant;
use crate::dialect::Cost;
use crate::extract::Json;
use crate::problem::Problem;
use crate::rendered::Rendered;
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use membox_api::{
    ChunkAnswer, ChunkRequest, CountedMessage, EmbeddingData, EmbeddingObject, EmbeddingsAnswer, EmbeddingsRequest,
    EmbeddingsUsage, EncodingFormat, TokensAnswer, TokensRequest,
};
use membox_memory::compressor::{DEFAULT_ENCODING, TokenCounter, conversation_overhead};
use membox_memory::encoder::{Embeddings, Encoder, Inputs, Purpose, Wanted};
use std::sync::Arc;

/// `POST /v1/embeddings`: OpenAI's, for its clients unmodified.
#[utoipa::path(
    post,
    path = "/v1/embeddings",
    tag = "engines",
    request_body(
        content = EmbeddingsRequest,
        example = json!(
            {
                "model": "all-MiniLM-L6-v2",
                "input": ["The spare key is under the blue pot."],
                "encoding_format": "float"
            }
        )
    ),
    responses(
        (status = 200, description = "done", body = EmbeddingsAnswer),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such model; `detail` says which there are", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn embeddings(
    State(state): State<AppState>,
    _: Tenant,
    Json(request): Json<EmbeddingsRequest>,
) -> Result<Response, Problem> {
    let encoder = models::encoder(&state, request.model.as_deref()).await?;
    embed(&state, &encoder, request).await
}

/// `POST /embeddings`: the same, where text-embeddings-inference has it: any `model` is taken, as there; one that is
/// not here is the box's own.
#[utoipa::path(
    post,
    path = "/embeddings",
    tag = "engines",
    request_body(
        content = EmbeddingsRequest,
        example = json!({"model": "any", "input": ["The spare key is under the blue pot."]})
    ),
    responses(
        (status = 200, description = "done", body = EmbeddingsAnswer),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn embeddings_of_any_model(
    State(state): State<AppState>,
    _: Tenant,
    Json(request): Json<EmbeddingsRequest>,
) -> Result<Response, Problem> {
    let encoder = models::encoder_or_own(&state, request.model.as_deref()).await?;
    embed(&state, &encoder, request).await
}

async fn embed(state: &AppState, encoder: &Arc<Encoder>, request: EmbeddingsRequest) -> Result<Response, Problem> {
    let mut cost = Cost::begin(request.input.is_list(), request.input.characters());
    let inputs = inputs::as_openai(state, encoder, request.input).await?;
    check_inputs(state, &inputs)?;
    let prompts = encoder.prompts();
    let inputs = match inputs {
        Inputs::Texts(texts) => Inputs::Texts(prompts.put_before(Purpose::Plain, texts)),
        tokens => tokens,
    };
    let max_tokens = check_sizes(encoder, request.max_tokens, request.dimensions)?;
    let answer = encode(encoder, inputs, max_tokens, Wanted::vectors(true), "/input", &mut cost).await?;
    let headers = server_timing(&timing(&answer));
    let model = encoder.name().to_owned();
    let is_long = answer.rows().len() > INTERACTIVE_INPUTS;
    let work = move || embeddings_answer(&answer, request.encoding_format, request.dimensions, model);
    let rendered = render(state, is_long, work).await?;
    Ok((headers, cost.end(encoder), rendered).into_response())
}

fn check_inputs(state: &AppState, inputs: &Inputs) -> Result<(), Problem> {
    if let Inputs::Texts(texts) = inputs
        && let Some(i) = texts.iter().position(String::is_empty)
    {
        let pointer = if texts.len() == 1 { "/input".to_owned() } else { format!("/input/{i}") };
        return Err(Problem::field(StatusCode::BAD_REQUEST, pointer, "the text is empty"));
    }
    if inputs.len() == 0 {
        return Err(Problem::field(StatusCode::BAD_REQUEST, "/input", "nothing to embed: the list is empty"));
    }
    check_count(state, inputs.len(), "/input")
}

fn embeddings_answer(
    answer: &Embeddings,
    format: EncodingFormat,
    dimensions: Option<usize>,
    model: String,
) -> Result<Rendered<EmbeddingsAnswer>, Problem> {
    let engine = base64::engine::general_purpose::STANDARD;
    let data = answer.rows().enumerate().map(|(index, row)| {
        let vector = cut(row, dimensions, true);
        let embedding = match format {
            EncodingFormat::Float => EmbeddingData::Float(vector),
            EncodingFormat::Base64 => {
                EmbeddingData::Base64(engine.encode(vector.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>()))
            }
        };
        EmbeddingObject { object: "embedding", index, embedding }
    });
    let body = EmbeddingsAnswer {
        object: "list",
        data: data.collect(),
        model,
        usage: EmbeddingsUsage { prompt_tokens: answer.tokens, total_tokens: answer.tokens },
    };
    Rendered::of(&body)
}

/// Tokens of all that a message says.
fn message_tokens(message: &CountedMessage, counter: TokenCounter) -> usize {
    let texts = [&message.name, &message.tool_call_id, &message.refusal].map(Option::as_deref);
    let calls = [&message.tool_calls, &message.function_call].map(Option::as_ref);
    message.content.as_ref().map_or(0, |content| counter.count(content)) + counter.count_beside(texts, calls)
}

/// `POST /v1/chunks`: cuts a long text into pieces that can be embedded, at paragraphs, sentences or words, with an
/// overlap.
#[utoipa::path(
    post,
    path = "/v1/chunks",
    tag = "engines",
    request_body(
        content = ChunkRequest,
        example = json!(
            {"text": "A first paragraph.\n\nA second one. It has two sentences.", "size": 40, "overlap": 10}
        )
    ),
    responses(
        (status = 200, description = "done", body = ChunkAnswer),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem)
    ),
)]
pub async fn chunks(
    State(state): State<AppState>,
    Tenant(_tenant): Tenant,
    Json(request): Json<ChunkRequest>,
) -> Result<Rendered<ChunkAnswer>, Problem> {
    let work = move || Rendered::of(&ChunkAnswer { chunks: membox_memory::chunk(&request)? });
    state.reads.run(work).await
}

/// `POST /v1/tokens`: tokens by tiktoken's encodings.
#[utoipa::path(
    post,
    path = "/v1/tokens",
    tag = "engines",
    request_body(
        content = TokensRequest,
        example = json!({"input": ["The spare key is under the blue pot."], "encoding": "gpt-4o"})
    ),
    responses(
        (status = 200, description = "done", body = TokensAnswer),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem)
    ),
)]
pub async fn tokens(
    State(state): State<AppState>,
    _: Tenant,
    Json(request): Json<TokensRequest>,
) -> Result<axum::Json<TokensAnswer>, Problem> {
    let bad = |pointer: &str, detail: &str| Problem::field(StatusCode::BAD_REQUEST, pointer, detail);
    let (pointer, name) = match (&request.encoding, &request.model) {
        (Some(_), Some(_)) => return Err(bad("/model", "either encoding or model is wanted, not both")),
        (Some(name), None) => ("/encoding", name.clone()),
        (None, Some(name)) => ("/model", name.clone()),
        (None, None) => ("/encoding", DEFAULT_ENCODING.to_owned()),
    };
    if request.input.is_some() == request.messages.is_some() {
        return Err(bad("/input", "exactly one of input and messages is wanted"));
    }
    let counted = state.reads.run(move || {
        let counter = TokenCounter::by_name(&name).map_err(|e| bad(pointer, &e.to_string()))?;
        let (counts, overhead): (Vec<usize>, _) = match (request.input, request.messages) {
            (Some(texts), _) => (texts.into_vec().iter().map(|text| counter.count(text)).collect(), 0),
            (None, messages) => {
                let messages = messages.unwrap_or_default();
                (messages.iter().map(|m| message_tokens(m, counter)).collect(), conversation_overhead(messages.len()))
            }
        };
        let total = counts.iter().sum::<usize>() + overhead;
        Ok(TokensAnswer { encoding: counter.encoding(), counts, total, overhead })
    });
    Ok(axum::Json(counted.await?))
}
