//! Sparse vectors of texts, as text-embeddings-inference has them.

use super::other_models::wrong_model;
use super::{Options, answered, encoded, written};
use crate::auth::Tenant;
use crate::dialect::Cost;
use crate::extract::Json;
use crate::problem::Problem;
use crate::request;
use crate::routes::encoding::check_count;
use crate::state::AppState;
use axum::extract::State;
use axum::response::Response;
use membox_api::{EmbedTokensRequest, SparseValue};
use membox_memory::encoder::{Embeddings, TokenWeight, Wanted};

/// `POST /embed_sparse`: sparse vectors of texts, by the first model of the setting `models` that gives such. A box
/// without one answers as text-embeddings-inference does with a model that has no SPLADE pooling.
#[utoipa::path(
    post,
    path = "/embed_sparse",
    tag = "engines",
    request_body(content = EmbedTokensRequest, example = json!({"inputs": "The spare key is under the blue pot."})),
    responses(
        (status = 200, description = "done", body = Vec<Vec<SparseValue>>),
        (status = 400, description = "a field is missing, wrong or empty; `errors` names it", body = Problem),
        (status = 413, description = "too many texts", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 424, description = "there is no model that gives sparse vectors", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn embed_sparse(
    State(state): State<AppState>,
    _: Tenant,
    Json(request): Json<EmbedTokensRequest>,
) -> Result<Response, Problem> {
    let mut cost = Cost::begin(request.inputs.is_list(), request.inputs.characters());
    check_count(&state, request.inputs.count(), "/inputs")?;
    let memory = state.memory.clone();
    let found = state.reads.run(move || Ok(memory.models().sparse_encoder(None)?)).await?;
    let encoder = found.ok_or_else(|| wrong_model("Model is not an embedding model with SPLADE pooling"))?;
    let options = Options::of(request.truncate, request.truncation_direction, request.prompt_name);
    let answer = encoded(&state, &encoder, request.inputs, options, Wanted::sparse(), "/inputs", &mut cost).await?;
    request::take(answer.sparse.iter().map(|vector| size_of_val(vector.as_slice())).sum())?;
    answered(&state, &encoder, answer, cost, |answer| written(&values(answer))).await
}

fn values(answer: &Embeddings) -> Vec<Vec<SparseValue>> {
    let value = |one: &TokenWeight| SparseValue { index: one.id, value: one.weight };
    answer.sparse.iter().map(|vector| vector.iter().map(value).collect()).collect()
}
