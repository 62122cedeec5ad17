//! Checkpoints: the states of a thread, as an agent framework's checkpointer keeps them.

use crate::auth::{Caller, Tenant};
use crate::extract::{Json, Query};
use crate::problem::Problem;
use crate::rendered::Rendered;
use crate::routes::sessions::page_limit;
use crate::state::AppState;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use membox_api::{
    CheckpointList, CheckpointView, CheckpointsQuery, DeletedCheckpoints, NamespaceQuery, NewCheckpoint, TaskWrites,
};
use membox_memory::MemoryError;
use std::sync::PoisonError;

/// `PUT /v1/threads/{t}/checkpoints/{id}`: writes it. One of the same id is replaced; what tasks have written to
/// it, when it was made and its place among the others stay.
#[utoipa::path(
    put,
    path = "/v1/threads/{thread}/checkpoints/{id}",
    tag = "threads",
    request_body(content = NewCheckpoint, example = json!({"state": {"step": 3}, "parent": "2", "ttl_s": 86400})),
    params(("thread" = String, Path), ("id" = String, Path), NamespaceQuery),
    responses(
        (status = 200, description = "done", body = CheckpointView),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 422, description = "the state is too large", body = Problem)
    ),
)]
pub async fn put(
    State(state): State<AppState>,
    caller: Caller,
    Path((thread, id)): Path<(String, String)>,
    Query(query): Query<NamespaceQuery>,
    Json(new): Json<NewCheckpoint>,
) -> Result<axum::Json<CheckpointView>, Problem> {
    let memory = state.memory.clone();
    let locks = state.checkpoint_locks.clone();
    let work = move || {
        let Caller { tenant, .. } = &caller;
        let put = |new| Ok(memory.sessions().put_checkpoint(tenant, &thread, &query.namespace, &id, new)?);
        let lock = locks.of(tenant, &thread);
        if !caller.only_adds() {
            let _shared = lock.read().unwrap_or_else(PoisonError::into_inner);
            return put(new);
        }
        let _alone = lock.write().unwrap_or_else(PoisonError::into_inner);
        match memory.sessions().checkpoint(tenant, &thread, &query.namespace, Some(&id)) {
            Ok(_) => Err(caller.is_there("checkpoint", &id)),
            Err(MemoryError::Missing { .. }) => put(new),
            Err(error) => Err(error.into()),
        }
    };
    Ok(axum::Json(state.writes.run(work).await?))
}

/// `PUT /v1/threads/{t}/checkpoints/{id}/writes/{task}`: kept with the checkpoint, or for it where it has not come
/// yet; written again by the same task, replaced. In a list of `[channel, value]`, the channels `__error__`,
/// `__scheduled__`, `__interrupt__` and `__resume__` replace each its own alone, and the others all of the others.
#[utoipa::path(
    put,
    path = "/v1/threads/{thread}/checkpoints/{id}/writes/{task}",
    tag = "threads",
    request_body(content = TaskWrites, example = json!({"writes": [["messages", "said"]]})),
    params(("thread" = String, Path), ("id" = String, Path), ("task" = String, Path), NamespaceQuery),
    responses(
        (status = 204, description = "done"),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 422, description = "the writes are too large", body = Problem)
    ),
)]
pub async fn put_writes(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path((thread, id, task)): Path<(String, String, String)>,
    Query(query): Query<NamespaceQuery>,
    Json(request): Json<TaskWrites>,
) -> Result<StatusCode, Problem> {
    let memory = state.memory.clone();
    let work = move || {
        Ok(memory.sessions().put_checkpoint_writes(&tenant, &thread, &query.namespace, (&id, &task), request.writes)?)
    };
    state.writes.run(work).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/threads/{t}/checkpoints/{id}`; `latest` for the first of the list.
#[utoipa::path(
    get,
    path = "/v1/threads/{thread}/checkpoints/{id}",
    tag = "threads",
    params(("thread" = String, Path), ("id" = String, Path, description = "or `latest`"), NamespaceQuery),
    responses(
        (status = 200, description = "done", body = CheckpointView),
        (status = 404, description = "there is no such thing", body = Problem)
    ),
)]
pub async fn get(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path((thread, id)): Path<(String, String)>,
    Query(query): Query<NamespaceQuery>,
) -> Result<Rendered<CheckpointView>, Problem> {
    let memory = state.memory.clone();
    let work = move || {
        let id = Some(id.as_str()).filter(|id| *id != "latest");
        Rendered::of(&memory.sessions().checkpoint(&tenant, &thread, &query.namespace, id)?)
    };
    state.reads.run(work).await
}

/// `GET /v1/threads/{t}/checkpoints`: the latest first. Those whose ids are UUIDs of version 6 or 7, as LangGraph's
/// are, are in the order of their ids; the others come after them, in the order in which they were first written.
#[utoipa::path(
    get,
    path = "/v1/threads/{thread}/checkpoints",
    tag = "threads",
    params(("thread" = String, Path), CheckpointsQuery),
    responses(
        (status = 200, description = "done", body = CheckpointList),
        (status = 400, description = "a parameter is wrong", body = Problem)
    ),
)]
pub async fn list(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(thread): Path<String>,
    Query(query): Query<CheckpointsQuery>,
) -> Result<Rendered<CheckpointList>, Problem> {
    let limit = page_limit(query.limit)?;
    let memory = state.memory.clone();
    let work = move || {
        let after =
            query.cursor.as_deref().map(|cursor| memory.sessions().unseal_checkpoint(&tenant, cursor)).transpose()?;
        let (checkpoints, next) = memory.sessions().checkpoints(&tenant, &thread, &query.namespace, after, limit)?;
        let next = next.map(|next| memory.sessions().seal_checkpoint(&tenant, next)).transpose()?;
        Rendered::of(&CheckpointList { checkpoints, next })
    };
    state.reads.run(work).await
}

/// `DELETE /v1/threads/{t}/checkpoints`: all of them, of all namespaces.
#[utoipa::path(delete, path = "/v1/threads/{thread}/checkpoints", tag = "threads", params(("thread" = String, Path)),
    responses((status = 200, description = "done", body = DeletedCheckpoints)))]
pub async fn delete(
    State(state): State<AppState>,
    Caller { tenant, actor, .. }: Caller,
    Path(thread): Path<String>,
) -> Result<axum::Json<DeletedCheckpoints>, Problem> {
    let memory = state.memory.clone();
    let delete = move || Ok(memory.sessions().delete_checkpoints(&tenant, &actor, &thread)?);
    let deleted = state.writes.run(delete).await?;
    Ok(axum::Json(DeletedCheckpoints { deleted }))
}
