//! Embeddings as OpenAI and as text-embeddings-inference have them, and token counts.

use super::inputs;
use super::{models, server_timing};
use crate::auth::Tenant;
use crate::extract::Json;
use crate::problem::Problem;
use crate::rendered::Rendered;
use crate::request;
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use membox_api::{
    ChunkAnswer, ChunkRequest, CountedMessage, EmbedRequest, EmbeddingData, EmbeddingObject, EmbeddingsAnswer,
    EmbeddingsRequest, EmbeddingsUsage, EncodingFormat, Info, Side, Timing, TokenView, TokenizeRequest, TokensAnswer,
    TokensRequest,
};
use membox_memory::MemoryError;
use membox_memory::compressor::{DEFAULT_ENCODING, TokenCounter, conversation_overhead};
use membox_memory::encoder::{DEFAULT_MAX_TOKENS, Embeddings, EncoderError, Inputs, Lane, Request, Wanted};
use membox_threads::budget::{self, RequestBudget};
use tokio::sync::oneshot;

/// Memory that a byte of a text takes while it is tokenized and its tokens are answered: 30 MB took 4 GB.
const OF_TOKENIZED_BYTE: usize = 160;
/// Requests of at most this many inputs take the interactive lane.
const INTERACTIVE_INPUTS: usize = 4;

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
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn embeddings(
    State(state): State<AppState>,
    _: Tenant,
    Json(request): Json<EmbeddingsRequest>,
) -> Result<Response, Problem> {
    if let Some(model) = &request.model {
        models::check_name(&state, model)?;
    }
    let inputs = inputs::as_openai(&state, request.input).await?;
    let max_tokens = check_inputs(&state, &inputs, request.max_tokens, request.dimensions, "/input")?;
    let answer = encode(&state, inputs, max_tokens, true, "/input").await?;
    let headers = server_timing(&timing(&answer));
    let model = state.memory.models().encoder()?.name().to_owned();
    let is_long = answer.rows().len() > INTERACTIVE_INPUTS;
    let work = move || embeddings_answer(&answer, request.encoding_format, request.dimensions, model);
    Ok((headers, render(&state, is_long, work).await?).into_response())
}

/// Writes an answer, on a thread of the pool where that takes a while.
async fn render<T: Send + 'static>(
    state: &AppState,
    is_long: bool,
    work: impl FnOnce() -> Result<Rendered<T>, Problem> + Send + 'static,
) -> Result<Rendered<T>, Problem> {
    if is_long { state.reads.run(work).await } else { work() }
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

/// `POST /embed`: text-embeddings-inference's.
#[utoipa::path(
    post,
    path = "/embed",
    tag = "engines",
    request_body(
        content = EmbedRequest,
        example = json!({"inputs": ["The spare key is under the blue pot."], "normalize": true})
    ),
    responses(
        (status = 200, description = "done", body = Vec<Vec<f32>>),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn embed(
    State(state): State<AppState>,
    _: Tenant,
    Json(request): Json<EmbedRequest>,
) -> Result<Response, Problem> {
    if request.prompt_name.is_some() {
        return Err(Problem::field(StatusCode::UNPROCESSABLE_ENTITY, "/prompt_name", "the model has no prompts"));
    }
    let inputs = inputs::as_tei(state.memory.models().encoder()?, request.inputs)?;
    let max_tokens = check_inputs(&state, &inputs, request.max_tokens, request.dimensions, "/inputs")?;
    let (inputs, cut_already) = match request.truncation_direction {
        Some(Side::Left) => inputs::cut_at_the_left(&state, inputs, max_tokens).await?,
        _ => (inputs, 0),
    };
    let answer = encode(&state, inputs, max_tokens, request.normalize, "/inputs").await?;
    let truncated = cut_already + answer.truncated;
    if request.truncate == Some(false) && truncated > 0 {
        let detail = format!("{truncated} of the texts have more than {max_tokens} tokens, and truncate is false");
        return Err(Problem::field(StatusCode::UNPROCESSABLE_ENTITY, "/inputs", detail));
    }
    let headers = server_timing(&timing(&answer));
    let is_long = answer.rows().len() > INTERACTIVE_INPUTS;
    let rendered = render(&state, is_long, move || {
        let row = |row| cut(row, request.dimensions, request.normalize);
        Rendered::of(&answer.rows().map(row).collect::<Vec<Vec<f32>>>())
    });
    Ok((headers, rendered.await?).into_response())
}

fn timing(answer: &Embeddings) -> Timing {
    Timing { tokenize: answer.tokenize, queue: answer.queue, encode: answer.encode, ..Timing::default() }
}

fn check_inputs(
    state: &AppState,
    inputs: &Inputs,
    max_tokens: Option<usize>,
    dimensions: Option<usize>,
    pointer: &str,
) -> Result<usize, Problem> {
    let encoder = state.memory.models().encoder()?;
    if let Inputs::Texts(texts) = inputs
        && let Some(i) = texts.iter().position(String::is_empty)
    {
        let pointer = if texts.len() == 1 { pointer.to_owned() } else { format!("{pointer}/{i}") };
        return Err(Problem::field(StatusCode::BAD_REQUEST, pointer, "the text is empty"));
    }
    let count = inputs.len();
    if count == 0 {
        return Err(Problem::field(StatusCode::BAD_REQUEST, pointer, "nothing to embed"));
    }
    if count > state.limits.max_inputs {
        let detail = format!("{count} inputs; at most {} can be sent at once", state.limits.max_inputs);
        return Err(Problem::field(StatusCode::PAYLOAD_TOO_LARGE, pointer, detail));
    }
    if dimensions.is_some_and(|d| d == 0 || d > encoder.dimension()) {
        let detail = format!("the model gives {} dimensions", encoder.dimension());
        return Err(Problem::field(StatusCode::UNPROCESSABLE_ENTITY, "/dimensions", detail));
    }
    let most = encoder.engine().max_sequence();
    match max_tokens {
        Some(tokens) if !(3..=most).contains(&tokens) => Err(Problem::field(
            StatusCode::UNPROCESSABLE_ENTITY,
            "/max_tokens",
            format!("3 to {most} tokens can be kept"),
        )),
        tokens => Ok(tokens.unwrap_or(DEFAULT_MAX_TOKENS)),
    }
}

/// Encodes on the engine's threads; a caller who goes away meanwhile takes the request with them.
async fn encode(
    state: &AppState,
    inputs: Inputs,
    max_tokens: usize,
    normalize: bool,
    at: &str,
) -> Result<Embeddings, Problem> {
    let lane = if inputs.len() <= INTERACTIVE_INPUTS { Lane::Interactive } else { Lane::Bulk };
    let (sender, receiver) = oneshot::channel();
    let reply = Box::new(move |answer| drop(sender.send(answer)));
    let wanted = Request { inputs, max_tokens, wanted: Wanted::vectors(normalize), lane };
    let encoder = state.memory.models().encoder()?;
    let submitted = {
        let _entered = request::current().map(RequestBudget::enter);
        encoder.submit(wanted, reply)
    };
    let _pending = submitted.map_err(|error| match error {
        EncoderError::BadTokens { input, reason } => {
            Problem::field(StatusCode::UNPROCESSABLE_ENTITY, format!("{at}/{input}"), reason)
        }
        error => MemoryError::from(error).into(),
    })?;
    let answer = receiver.await.map_err(|_| MemoryError::Stopped)?;
    Ok(answer.map_err(MemoryError::from)?)
}

/// The first numbers of a vector, at unit length again.
fn cut(row: &[f32], dimensions: Option<usize>, normalize: bool) -> Vec<f32> {
    let mut vector = row[..dimensions.unwrap_or(row.len())].to_vec();
    if normalize && vector.len() < row.len() {
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
        vector.iter_mut().for_each(|x| *x /= length);
    }
    vector
}

/// `GET /info`: what is running.
#[utoipa::path(
    get,
    path = "/info",
    tag = "engines",
    responses(
        (status = 200, description = "done", body = Info),
        (status = 503, description = "starting, stopping, read-only, or no model is installed", body = Problem)
    ),
)]
pub async fn info(State(state): State<AppState>) -> Result<axum::Json<Info>, Problem> {
    let encoder = state.memory.models().encoder()?;
    let engine = encoder.engine().name();
    Ok(axum::Json(Info {
        model_id: encoder.name().to_owned(),
        model_dtype: engine.rsplit(' ').next().unwrap_or_default().to_owned(),
        model_type: serde_json::json!({"embedding": {"pooling": "mean"}}),
        max_input_length: encoder.engine().max_sequence(),
        max_client_batch_size: state.limits.max_inputs,
        auto_truncate: true,
        version: env!("CARGO_PKG_VERSION"),
        engine,
        why_not_cuda: encoder.why_not_cuda().map(str::to_owned),
        dimension: encoder.dimension(),
        compression_models: state.memory.models().compressors.iter().map(|c| c.name().to_owned()).collect(),
    }))
}

/// `POST /tokenize`: the model's tokens of texts.
#[utoipa::path(
    post,
    path = "/tokenize",
    tag = "engines",
    request_body(content = TokenizeRequest, example = json!({"inputs": ["The spare key is under the blue pot."]})),
    responses(
        (status = 200, description = "done", body = Vec<Vec<TokenView>>),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem)
    ),
)]
pub async fn tokenize(
    State(state): State<AppState>,
    _: Tenant,
    Json(request): Json<TokenizeRequest>,
) -> Result<Rendered<Vec<Vec<TokenView>>>, Problem> {
    let memory = state.memory.clone();
    let tokens = state.reads.run(move || {
        let encoder = memory.models().encoder()?;
        let view = |t: membox_memory::encoder::Token| TokenView {
            id: t.id,
            text: t.text,
            special: t.special,
            start: t.start,
            stop: t.stop,
        };
        let of_text = |text: String| -> Result<Vec<TokenView>, Problem> {
            budget::take(text.len() * OF_TOKENIZED_BYTE).map_err(MemoryError::from)?;
            let tokens = encoder.tokens(&text, request.add_special_tokens).map_err(MemoryError::from)?;
            Ok(tokens.into_iter().map(view).collect())
        };
        let tokens: Vec<Vec<TokenView>> =
            request.inputs.into_vec().into_iter().map(of_text).collect::<Result<_, _>>()?;
        Rendered::of(&tokens)
    });
    tokens.await
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
