//! text-embeddings-inference's routes, as its own document (`openapi.json`) has them. Where it would answer that its
//! model is of another kind, so does the box: it has no classifier, and a re-ranker and sparse vectors where the
//! settings name a model for them.

pub mod about;
pub mod other_models;
pub mod rerank;
pub mod sparse;
pub mod tokens;

use super::encoding::{INTERACTIVE_INPUTS, check_count, check_sizes, cut, encode, render, timing};
use super::inputs::{self, check_some, empty};
use super::server_timing;
use crate::auth::Tenant;
use crate::dialect::Cost;
use crate::extract::{Json, from_value};
use crate::json::Numbers;
use crate::problem::Problem;
use crate::rendered::Rendered;
use crate::request;
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use membox_api::{
    EmbedRequest, EmbedTokensRequest, RerankRequest, Side, SimilarityRequest, TeiInput, TextOrTokens, VertexAnswer,
    VertexRequest,
};
use membox_memory::encoder::{Embeddings, Encoder, Inputs, Purpose, Wanted};
use other_models::{NO_RERANKER, wrong_model};
use serde::{Serialize, Serializer};
use std::sync::Arc;

/// How inputs are to be read, which several requests say alike.
struct Options {
    truncate: Option<bool>,
    side: Option<Side>,
    prompt_name: Option<String>,
    /// Those of the model where it is not said.
    max_tokens: Option<usize>,
}

impl Options {
    fn of(truncate: Option<bool>, side: Option<Side>, prompt_name: Option<String>) -> Self {
        Self { truncate, side, prompt_name, max_tokens: None }
    }
}

/// The prompt of a name, or the model's default one. A name that the model does not have is refused: the vectors would
/// be others than were asked for.
fn prompt<'a>(encoder: &'a Encoder, name: Option<&str>) -> Result<&'a str, Problem> {
    let prompts = encoder.prompts();
    let Some(name) = name else { return Ok(prompts.of(Purpose::Plain)) };
    prompts.get(name).ok_or_else(|| {
        let names: Vec<&str> = prompts.by_name.keys().map(String::as_str).collect();
        let detail = match names.as_slice() {
            [] => "the model has no prompts".to_owned(),
            names => format!("the model has no prompt {name:?}: {}", names.join(", ")),
        };
        Problem::field(StatusCode::UNPROCESSABLE_ENTITY, "/prompt_name", detail)
    })
}

/// Encodes inputs for a route.
async fn encoded(
    state: &AppState,
    encoder: &Arc<Encoder>,
    input: TeiInput,
    options: Options,
    wanted: Wanted,
    at: &str,
    cost: &mut Cost,
) -> Result<Embeddings, Problem> {
    let prompt = prompt(encoder, options.prompt_name.as_deref())?;
    let most = options.max_tokens.unwrap_or(encoder.max_tokens());
    let (inputs, cut_already) = inputs::as_tei(state, encoder, input, most, options.side, prompt, at).await?;
    if wanted.states {
        request::take(state_bytes(&inputs, most, encoder.engine().dimension()))?;
    }
    let mut answer = encode(encoder, inputs, most, wanted, at, cost).await?;
    answer.truncated += cut_already;
    if options.truncate == Some(false) && answer.truncated > 0 {
        let detail = format!("{} of the texts have more than {most} tokens, and truncate is false", answer.truncated);
        return Err(Problem::field(StatusCode::UNPROCESSABLE_ENTITY, at, detail));
    }
    Ok(answer)
}

/// Memory that the states of all tokens take: a token is a byte at least.
fn state_bytes(inputs: &Inputs, most: usize, dimension: usize) -> usize {
    let tokens: usize = match inputs {
        Inputs::Texts(texts) => texts.iter().map(|text| (text.len() + 2).min(most)).sum(),
        Inputs::Tokens(lists) => lists.iter().map(Vec::len).sum(),
        Inputs::Pairs(pairs) => pairs.iter().map(|pair| pair.ids.len()).sum(),
    };
    tokens * dimension * size_of::<f32>()
}

/// Answers with what was computed and what it cost.
async fn answered(
    state: &AppState,
    encoder: &Encoder,
    answer: Embeddings,
    cost: Cost,
    view: impl FnOnce(&Embeddings) -> Result<Response, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    let headers = server_timing(&timing(&answer));
    let is_long = answer.rows().len().max(answer.sparse.len()) > INTERACTIVE_INPUTS || !answer.states.is_empty();
    let rendered = render(state, is_long, move || view(&answer)).await?;
    Ok((headers, cost.end(encoder), rendered).into_response())
}

fn written(answer: &impl Serialize) -> Result<Response, Problem> {
    Ok(Rendered::of(answer)?.into_response())
}

/// `POST /embed`: vectors of texts.
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
        (status = 400, description = "a field is missing, wrong or empty; `errors` names it", body = Problem),
        (status = 413, description = "too many texts", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn embed(
    State(state): State<AppState>,
    _: Tenant,
    Json(request): Json<EmbedRequest>,
) -> Result<Response, Problem> {
    let mut cost = Cost::begin(request.inputs.is_list(), request.inputs.characters());
    let (dimensions, normalize) = (request.dimensions, request.normalize);
    let answer = vectors(&state, request, &mut cost).await?;
    let view = move |answer: &Embeddings| written(&rows(answer, dimensions, normalize));
    answered(&state, state.memory.models().encoder()?, answer, cost, view).await
}

async fn vectors(state: &AppState, request: EmbedRequest, cost: &mut Cost) -> Result<Embeddings, Problem> {
    let max_tokens = Some(check_sizes(state.memory.models().encoder()?, request.max_tokens, request.dimensions)?);
    let options =
        Options { max_tokens, ..Options::of(request.truncate, request.truncation_direction, request.prompt_name) };
    let wanted = Wanted::vectors(request.normalize);
    encoded(state, state.memory.models().encoder()?, request.inputs, options, wanted, "/inputs", cost).await
}

fn rows(answer: &Embeddings, dimensions: Option<usize>, normalize: bool) -> Vec<Vec<f32>> {
    answer.rows().map(|row| cut(row, dimensions, normalize)).collect()
}

/// `POST /`: as `/embed`, where clients know the box by its address alone.
#[utoipa::path(
    post,
    path = "/",
    tag = "engines",
    request_body(content = EmbedRequest, example = json!({"inputs": "The spare key is under the blue pot."})),
    responses(
        (status = 200, description = "done", body = Vec<Vec<f32>>),
        (status = 400, description = "a field is missing, wrong or empty; `errors` names it", body = Problem)
    ),
)]
pub async fn embed_at_root(
    state: State<AppState>,
    tenant: Tenant,
    request: Json<EmbedRequest>,
) -> Result<Response, Problem> {
    embed(state, tenant, request).await
}

/// `POST /invocations`: as `/embed`, where SageMaker sends it.
#[utoipa::path(
    post,
    path = "/invocations",
    tag = "engines",
    request_body(content = EmbedRequest, example = json!({"inputs": "The spare key is under the blue pot."})),
    responses(
        (status = 200, description = "done", body = Vec<Vec<f32>>),
        (status = 400, description = "a field is missing, wrong or empty; `errors` names it", body = Problem)
    ),
)]
pub async fn invocations(
    state: State<AppState>,
    tenant: Tenant,
    request: Json<EmbedRequest>,
) -> Result<Response, Problem> {
    embed(state, tenant, request).await
}

/// `POST /vertex`: as `/embed`, several requests at once, as Vertex AI sends them.
#[utoipa::path(
    post,
    path = "/vertex",
    tag = "engines",
    request_body(
        content = VertexRequest,
        example = json!({"instances": [{"inputs": "The spare key is under the blue pot."}]})
    ),
    responses(
        (status = 200, description = "done", body = VertexAnswer),
        (status = 400, description = "a field is missing, wrong or empty; `errors` names it", body = Problem),
        (status = 413, description = "too many texts", body = Problem),
        (status = 424, description = "an instance wants a re-ranker, which the box does not have", body = Problem)
    ),
)]
pub async fn vertex(
    State(state): State<AppState>,
    _: Tenant,
    Json(request): Json<VertexRequest>,
) -> Result<Response, Problem> {
    check_count(&state, request.instances.len(), "/instances")?;
    let read = |(index, instance)| match from_value::<RerankRequest>(instance, Numbers::Plain) {
        Ok(_) => Err(wrong_model(NO_RERANKER)),
        Err(_) => from_value::<EmbedRequest>(instance, Numbers::Plain).map_err(of_instance(index)),
    };
    let requests: Vec<EmbedRequest> = request.instances.iter().enumerate().map(read).collect::<Result<_, _>>()?;
    let (mut predictions, mut texts) = (Vec::new(), 0);
    for (index, request) in requests.into_iter().enumerate() {
        texts += request.inputs.count();
        check_count(&state, texts, "").map_err(of_instance(index))?;
        let mut cost = Cost::begin(request.inputs.is_list(), request.inputs.characters());
        let (dimensions, normalize) = (request.dimensions, request.normalize);
        let answer = vectors(&state, request, &mut cost).await.map_err(of_instance(index))?;
        request::take(size_of_val(&answer.vectors[..]))?;
        predictions.push(rows(&answer, dimensions, normalize));
        let _ = cost.end(state.memory.models().encoder()?);
    }
    let is_long = texts > INTERACTIVE_INPUTS;
    render(&state, is_long, move || written(&VertexAnswer { predictions })).await
}

/// What is wrong with an instance of a request.
fn of_instance(index: usize) -> impl FnOnce(Problem) -> Problem {
    move |mut problem| {
        problem.errors.iter_mut().for_each(|field| field.pointer.insert_str(0, &format!("/instances/{index}")));
        problem
    }
}

/// `[inputs, tokens, state_dimension]`, written as it lies there.
struct TokenStates<'a>(&'a Embeddings);

impl Serialize for TokenStates<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct OfOne<'a>(&'a [f32], usize);
        impl Serialize for OfOne<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(self.0.chunks_exact(self.1.max(1)))
            }
        }
        serializer.collect_seq(self.0.states.iter().map(|states| OfOne(states, self.0.state_dimension)))
    }
}

/// `POST /embed_all`: the states of each token of texts, `[CLS]` and `[SEP]` among them, not normalised.
#[utoipa::path(
    post,
    path = "/embed_all",
    tag = "engines",
    request_body(content = EmbedTokensRequest, example = json!({"inputs": "The spare key is under the blue pot."})),
    responses(
        (status = 200, description = "done", body = Vec<Vec<Vec<f32>>>),
        (status = 400, description = "a field is missing, wrong or empty; `errors` names it", body = Problem),
        (status = 413, description = "too many texts, or too much memory for their tokens", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn embed_all(
    State(state): State<AppState>,
    _: Tenant,
    Json(request): Json<EmbedTokensRequest>,
) -> Result<Response, Problem> {
    let mut cost = Cost::begin(request.inputs.is_list(), request.inputs.characters());
    let options = Options::of(request.truncate, request.truncation_direction, request.prompt_name);
    let wanted = Wanted { states: true, ..Wanted::default() };
    let answer =
        encoded(&state, state.memory.models().encoder()?, request.inputs, options, wanted, "/inputs", &mut cost)
            .await?;
    answered(&state, state.memory.models().encoder()?, answer, cost, |answer| written(&TokenStates(answer))).await
}

/// `POST /similarity`: the cosine of a text to each of others.
#[utoipa::path(
    post,
    path = "/similarity",
    tag = "engines",
    request_body(
        content = SimilarityRequest,
        example = json!(
            {
                "inputs": {
                    "source_sentence": "Where is the key?",
                    "sentences": ["The spare key is under the blue pot.", "It rains."]
                }
            }
        )
    ),
    responses(
        (status = 200, description = "done", body = Vec<f32>),
        (status = 400, description = "a field is missing, wrong or empty; `errors` names it", body = Problem),
        (status = 413, description = "too many texts", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn similarity(
    State(state): State<AppState>,
    _: Tenant,
    Json(request): Json<SimilarityRequest>,
) -> Result<Response, Problem> {
    let (source, sentences) = (request.inputs.source_sentence, request.inputs.sentences);
    if sentences.is_empty() {
        return Err(empty("/inputs/sentences", "inputs.sentences"));
    }
    if source.is_empty() {
        return Err(empty("/inputs/source_sentence", "inputs"));
    }
    check_some(sentences.iter().map(String::is_empty), "/inputs/sentences", "inputs")?;
    check_count(&state, sentences.len() + 1, "/inputs/sentences")?;
    let inputs = TeiInput::Many([source].into_iter().chain(sentences).map(TextOrTokens::Text).collect());
    let mut cost = Cost::begin(true, inputs.characters());
    let parameters = request.parameters.unwrap_or_default();
    let options = Options::of(parameters.truncate, parameters.truncation_direction, parameters.prompt_name);
    let at = "/inputs/sentences";
    let answer =
        encoded(&state, state.memory.models().encoder()?, inputs, options, Wanted::vectors(true), at, &mut cost)
            .await?;
    let view = |answer: &Embeddings| {
        let mut rows = answer.rows();
        let source = rows.next().unwrap_or_default();
        let cosine = |row: &[f32]| row.iter().zip(source).map(|(a, b)| a * b).sum();
        written(&rows.map(cosine).collect::<Vec<f32>>())
    };
    answered(&state, state.memory.models().encoder()?, answer, cost, view).await
}
