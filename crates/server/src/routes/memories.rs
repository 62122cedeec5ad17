//! LightMem's pipeline: from what is said to memories.

use crate::auth::{Caller, Tenant};
use crate::extract::{Json, Query};
use crate::problem::Problem;
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use membox_api::{AddMemories, AddQuery, AddedMemories, JobView, TopicsAnswer, TopicsRequest, UpdateRequest};

/// `POST /v1/memories`: appends messages to a session, and makes memories of what was said once there is enough of
/// it (or at once, with `force`): topics are cut, and each is compressed, or read for facts by the language model
/// that is set up. When it answers, the messages and what was made of them are durable. Where the making failed,
/// `problem` says why; the messages wait, and the next call goes on.
#[utoipa::path(
    post,
    path = "/v1/memories",
    tag = "memories",
    params(AddQuery),
    request_body(
        content = AddMemories,
        example = json!(
            {
                "session": "lena-monday",
                "user": "lena",
                "time_stamp": "2023/05/20 (Sat) 00:44",
                "force": true,
                "messages": [
                    {"role": "user", "content": "I moved to Bergen last week."},
                    {"role": "assistant", "content": "How do you like it?"}
                ]
            }
        )
    ),
    responses(
        (status = 200, description = "done", body = AddedMemories),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "the collection that is named is not there", body = Problem),
        (status = 409, description = "the session has another user or collection", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn add(
    State(state): State<AppState>,
    caller: Caller,
    Query(query): Query<AddQuery>,
    Json(request): Json<AddMemories>,
) -> Result<axum::Json<AddedMemories>, Problem> {
    let memory = state.memory.clone();
    let work = move || {
        caller.hold_session(&memory, &request.session, true)?;
        Ok(memory.memories().add_memories(&caller.tenant, request, query.explain)?)
    };
    Ok(axum::Json(state.pipeline.run(work).await?))
}

/// `POST /v1/memories:update`: holds older memories against newer ones that are like them, as a job. The language
/// model that is set up says which are kept, changed or deleted; without one, an older memory that a newer one says
/// again becomes its history. Recall works throughout.
#[utoipa::path(
    post,
    path = "/v1/memories:update",
    tag = "memories",
    request_body(content = UpdateRequest, example = json!({"user": "lena"})),
    responses(
        (
            status = 202,
            description = "the job is promised, whatever becomes of the box; its `result` will be an UpdateReport",
            body = JobView
        ),
        (status = 404, description = "there is no such collection", body = Problem),
        (status = 409, description = "the collection has a job running", body = Problem)
    ),
)]
pub async fn update(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Json(request): Json<UpdateRequest>,
) -> Result<(StatusCode, axum::Json<JobView>), Problem> {
    let memory = state.memory.clone();
    let work = move || Ok(memory.update_memories(&tenant, request)?);
    Ok((StatusCode::ACCEPTED, axum::Json(state.writes.run(work).await?)))
}

/// `POST /v1/topics`: where turns of a conversation, or sentences of a text, pass from one topic to the next.
#[utoipa::path(
    post,
    path = "/v1/topics",
    tag = "engines",
    request_body(
        content = TopicsRequest,
        example = json!(
            {"texts": ["We painted the kitchen.", "In green?", "Anyway. Did you book the train?"], "cut": "depth"}
        )
    ),
    responses(
        (status = 200, description = "done", body = TopicsAnswer),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 503, description = "no model is installed", body = Problem)
    ),
)]
pub async fn topics(
    State(state): State<AppState>,
    Tenant(_tenant): Tenant,
    Json(request): Json<TopicsRequest>,
) -> Result<axum::Json<TopicsAnswer>, Problem> {
    let memory = state.memory.clone();
    Ok(axum::Json(state.pipeline.run(move || Ok(memory.memories().topics(request)?)).await?))
}
