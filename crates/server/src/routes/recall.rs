//! Recall.

use super::server_timing;
use crate::auth::Tenant;
use crate::extract::Json;
use crate::problem::Problem;
use crate::rendered::Rendered;
use crate::state::AppState;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use membox_api::{RecallAnswer, RecallBatch, RecallBatchAnswer, RecallRequest};

/// `POST /v1/collections/{c}/recall`: what do we remember about this?
#[utoipa::path(
    post,
    path = "/v1/collections/{collection}/recall",
    tag = "recall",
    params(("collection" = String, Path)),
    request_body(content = RecallRequest, example = json!({"query": "where did we park?", "k": 3})),
    responses(
        (status = 200, description = "done", body = RecallAnswer),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem),
        (status = 503, description = "starting, stopping, read-only, or no model is installed", body = Problem)
    ),
)]
pub async fn recall(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(collection): Path<String>,
    Json(request): Json<RecallRequest>,
) -> Result<(HeaderMap, Rendered<RecallAnswer>), Problem> {
    let memory = state.memory.clone();
    let work = move || {
        let answer = memory.recall(&tenant, &collection, &request)?;
        Ok((Rendered::of(&answer)?, answer.timing))
    };
    let (answer, timing) = state.reads.run(work).await?;
    for (stage, time) in
        [("search", timing.search), ("rerank", timing.rerank), ("encode", timing.encode), ("compress", timing.compress)]
    {
        metrics::histogram!("membox_search_seconds", "stage" => stage).record(time.as_secs_f64());
    }
    Ok((server_timing(&timing), answer))
}

/// Recalls of one request.
const MAX_RECALLS: usize = 32;

/// `POST /v1/collections/{c}/recall:batch`: several recalls, one after the other. One that is wrong fails them all.
#[utoipa::path(
    post,
    path = "/v1/collections/{collection}/recall:batch",
    tag = "recall",
    params(("collection" = String, Path)),
    request_body(
        content = RecallBatch,
        example = json!({"recalls": [{"query": "where did we park?", "k": 3}, {"query": "whose boat is it?", "k": 1}]})
    ),
    responses(
        (status = 200, description = "done", body = RecallBatchAnswer),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem)
    ),
)]
pub async fn batch(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(collection): Path<String>,
    Json(request): Json<RecallBatch>,
) -> Result<Rendered<RecallBatchAnswer>, Problem> {
    let count = request.recalls.len();
    if !(1..=MAX_RECALLS).contains(&count) {
        let detail = format!("{count} recalls; 1 to {MAX_RECALLS} are possible");
        return Err(Problem::field(StatusCode::UNPROCESSABLE_ENTITY, "/recalls", detail));
    }
    let memory = state.memory.clone();
    let work = move || {
        let one = |(i, recall): (usize, &RecallRequest)| {
            memory.recall(&tenant, &collection, recall).map_err(|error| {
                let mut problem = Problem::from(error);
                problem.errors.iter_mut().for_each(|field| field.pointer.insert_str(0, &format!("/recalls/{i}")));
                problem
            })
        };
        let answers = request.recalls.iter().enumerate().map(one).collect::<Result<_, Problem>>()?;
        Rendered::of(&RecallBatchAnswer { answers })
    };
    state.reads.run(work).await
}
