//! The routes of mem0's own server, over the same memories as those of its hosted one.

use super::{all_of, check_count, of, owned_by, views::memory_of_record};
use crate::auth::Caller;
use crate::extract::{Json, Query};
use crate::problem::Problem;
use crate::state::AppState;
use axum::extract::{Path, State};
use membox_api::{
    Mem0Add, Mem0Added, Mem0AllQuery, Mem0Change, Mem0Done, Mem0Found, Mem0Memory, Mem0Owner, Mem0Search, Mem0Update,
};
use membox_memory::MemoryError;

fn done(message: &str) -> Mem0Done {
    Mem0Done { message: message.to_owned() }
}

/// `POST /memories`: remembers messages.
#[utoipa::path(
    post,
    path = "/memories",
    tag = "mem0_server",
    request_body(
        content = Mem0Add,
        example = json!({"messages": [{"role": "user", "content": "I am vegetarian."}], "user_id": "alex"})
    ),
    responses(
        (status = 200, description = "done", body = Mem0Added),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn add(
    State(state): State<AppState>,
    caller: Caller,
    Json(request): Json<Mem0Add>,
) -> Result<axum::Json<Mem0Added>, Problem> {
    let memory = state.memory.clone();
    let work = move || Ok(Mem0Added { results: of(&memory, &caller).add(request)? });
    Ok(axum::Json(state.pipeline.run(work).await?))
}

/// `GET /memories`: memories, the newest first.
#[utoipa::path(
    get,
    path = "/memories",
    tag = "mem0_server",
    params(Mem0AllQuery),
    responses(
        (status = 200, description = "done", body = Mem0Found),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Query(query): Query<Mem0AllQuery>,
) -> Result<axum::Json<Mem0Found>, Problem> {
    let memory = state.memory.clone();
    let work = move || {
        let Mem0AllQuery { user_id, agent_id, run_id, top_k } = query;
        let limit = top_k.unwrap_or(super::MAX_MEMORIES);
        check_count(limit, "/top_k")?;
        let owner = Mem0Owner { user_id, agent_id, app_id: None, run_id };
        Ok(Mem0Found { results: of(&memory, &caller).listed(all_of(owned_by(&owner)), 0, limit)?.0 })
    };
    Ok(axum::Json(state.reads.run(work).await?))
}

/// `DELETE /memories`: deletes the memories of an owner.
#[utoipa::path(
    delete,
    path = "/memories",
    tag = "mem0_server",
    params(Mem0Owner),
    responses(
        (status = 200, description = "done", body = Mem0Done),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn delete_all(
    State(state): State<AppState>,
    caller: Caller,
    Query(query): Query<Mem0Owner>,
) -> Result<axum::Json<Mem0Done>, Problem> {
    let memory = state.memory.clone();
    let work = move || {
        of(&memory, &caller).delete_of(&query)?;
        Ok(done("All relevant memories deleted"))
    };
    Ok(axum::Json(state.writes.run(work).await?))
}

/// `GET /memories/{id}`: one memory.
#[utoipa::path(
    get,
    path = "/memories/{id}",
    tag = "mem0_server",
    params(("id" = String, Path, description = "the memory's id")),
    responses(
        (status = 200, description = "done", body = Mem0Memory),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn get(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<Mem0Memory>, Problem> {
    let memory = state.memory.clone();
    let work = move || Ok(memory_of_record(of(&memory, &caller).record(&id)?));
    Ok(axum::Json(state.reads.run(work).await?))
}

/// `PUT /memories/{id}`: changes a memory; what it said before is its history.
#[utoipa::path(
    put,
    path = "/memories/{id}",
    tag = "mem0_server",
    params(("id" = String, Path, description = "the memory's id")),
    request_body(content = Mem0Update, example = json!({"text": "Alex is vegan."})),
    responses(
        (status = 200, description = "done", body = Mem0Done),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn update(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    Json(request): Json<Mem0Update>,
) -> Result<axum::Json<Mem0Done>, Problem> {
    let memory = state.memory.clone();
    let work = move || {
        of(&memory, &caller).update(&id, &request)?;
        Ok(done("Memory updated successfully!"))
    };
    Ok(axum::Json(state.writes.run(work).await?))
}

/// `DELETE /memories/{id}`: deletes a memory.
#[utoipa::path(
    delete,
    path = "/memories/{id}",
    tag = "mem0_server",
    params(("id" = String, Path, description = "the memory's id")),
    responses(
        (status = 200, description = "done", body = Mem0Done),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn delete(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<Mem0Done>, Problem> {
    let memory = state.memory.clone();
    let work = move || match of(&memory, &caller).delete(vec![id.clone()])? {
        0 => Err(MemoryError::NoRecord(id).into()),
        _ => Ok(done("Memory deleted successfully")),
    };
    Ok(axum::Json(state.writes.run(work).await?))
}

/// `GET /memories/{id}/history`: what a memory said, the oldest first.
#[utoipa::path(
    get,
    path = "/memories/{id}/history",
    tag = "mem0_server",
    params(("id" = String, Path, description = "the memory's id")),
    responses(
        (status = 200, description = "done", body = Vec<Mem0Change>),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn history(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<Vec<Mem0Change>>, Problem> {
    let memory = state.memory.clone();
    let work = move || of(&memory, &caller).history(&id);
    Ok(axum::Json(state.reads.run(work).await?))
}

/// `POST /search`: memories that answer a question.
#[utoipa::path(
    post,
    path = "/search",
    tag = "mem0_server",
    request_body(
        content = Mem0Search,
        example = json!({"query": "what does Alex eat?", "filters": {"user_id": "alex"}})
    ),
    responses(
        (status = 200, description = "done", body = Mem0Found),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn search(
    State(state): State<AppState>,
    caller: Caller,
    Json(request): Json<Mem0Search>,
) -> Result<axum::Json<Mem0Found>, Problem> {
    let memory = state.memory.clone();
    let work = move || Ok(Mem0Found { results: of(&memory, &caller).search(request)? });
    Ok(axum::Json(state.reads.run(work).await?))
}

/// `POST /reset`: deletes all memories of the tenant.
#[utoipa::path(
    post,
    path = "/reset",
    tag = "mem0_server",
    responses(
        (status = 200, description = "done", body = Mem0Done),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn reset(State(state): State<AppState>, caller: Caller) -> Result<axum::Json<Mem0Done>, Problem> {
    let memory = state.memory.clone();
    let work = move || {
        of(&memory, &caller).reset()?;
        Ok(done("All memories reset"))
    };
    Ok(axum::Json(state.writes.run(work).await?))
}
