//! Checkpoints: the states of a thread, as an agent framework's checkpointer keeps them.

use crate::auth::{Caller, Tenant};
use crate::extract::{Json, Query, read_body};
use crate::problem::Problem;
use crate::rendered::Rendered;
use crate::routes::records::filter_of_query;
use crate::routes::sessions::page_limit;
use crate::state::AppState;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use membox_api::{
    BlobQuery, CheckpointList, CheckpointQuery, CheckpointView, CheckpointsQuery, CopiedCheckpoints, CopyThread,
    DeletedCheckpoints, NamespaceList, NamespaceQuery, NewCheckpoint, OneNamespaceQuery, PruneRequest, TaskWrites,
    ThreadList, ThreadsQuery,
};
use membox_memory::{MAX_BLOB_BYTES, MemoryError};
use std::sync::PoisonError;

/// `PUT /v1/threads/{t}/checkpoints/{id}`: writes it. One of the same id is replaced; what tasks have written to
/// it, when it was made and its place among the others stay.
#[utoipa::path(
    put,
    path = "/v1/threads/{thread}/checkpoints/{id}",
    tag = "threads",
    request_body(content = NewCheckpoint, example = json!(
            {
                "state": {"step": 3},
                "parent": "2",
                "ttl_s": 86400,
                "channels": {"messages": "3.1"},
                "blobs": [{"channel": "messages", "version": "3.1", "type": "msgpack", "data": "kQE="}]
            }
        )),
    params(("thread" = String, Path), ("id" = String, Path), NamespaceQuery),
    responses(
        (status = 200, description = "done", body = CheckpointView),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 422, description = "it is too large, or a blob is not there", body = Problem)
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
        match memory.sessions().checkpoint(tenant, &thread, &query.namespace, Some(&id), false) {
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
        (status = 422, description = "all that tasks have written to the checkpoint has over 16 MiB", body = Problem)
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
    params(("thread" = String, Path), ("id" = String, Path, description = "or `latest`"), CheckpointQuery),
    responses(
        (status = 200, description = "done", body = CheckpointView),
        (status = 404, description = "there is no such thing", body = Problem)
    ),
)]
pub async fn get(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path((thread, id)): Path<(String, String)>,
    Query(query): Query<CheckpointQuery>,
) -> Result<Rendered<CheckpointView>, Problem> {
    let memory = state.memory.clone();
    let work = move || {
        let id = Some(id.as_str()).filter(|id| *id != "latest");
        Rendered::of(&memory.sessions().checkpoint(&tenant, &thread, &query.namespace, id, query.blobs)?)
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
    let filter = query.filter.as_deref().map(filter_of_query).transpose()?;
    let memory = state.memory.clone();
    let work =
        move || Rendered::of(&memory.sessions().checkpoints(&tenant, &thread, &query, filter.as_ref(), limit)?);
    state.reads.run(work).await
}

/// `DELETE /v1/threads/{t}/checkpoints`: all of them, of one namespace or of all.
#[utoipa::path(
    delete,
    path = "/v1/threads/{thread}/checkpoints",
    tag = "threads",
    params(("thread" = String, Path), OneNamespaceQuery),
    responses((status = 200, description = "done", body = DeletedCheckpoints)),
)]
pub async fn delete(
    State(state): State<AppState>,
    Caller { tenant, actor, .. }: Caller,
    Path(thread): Path<String>,
    Query(query): Query<OneNamespaceQuery>,
) -> Result<axum::Json<DeletedCheckpoints>, Problem> {
    let memory = state.memory.clone();
    let namespace = query.namespace;
    let delete = move || Ok(memory.sessions().delete_checkpoints((&tenant, &actor), &thread, namespace.as_deref())?);
    let deleted = state.writes.run(delete).await?;
    Ok(axum::Json(DeletedCheckpoints { deleted }))
}

/// `DELETE /v1/threads/{t}/checkpoints/{id}`: with what tasks have written to it.
#[utoipa::path(
    delete,
    path = "/v1/threads/{thread}/checkpoints/{id}",
    tag = "threads",
    params(("thread" = String, Path), ("id" = String, Path), NamespaceQuery),
    responses(
        (status = 204, description = "deleted"),
        (status = 404, description = "there is no such thing", body = Problem)
    ),
)]
pub async fn delete_one(
    State(state): State<AppState>,
    Caller { tenant, actor, .. }: Caller,
    Path((thread, id)): Path<(String, String)>,
    Query(query): Query<NamespaceQuery>,
) -> Result<StatusCode, Problem> {
    let memory = state.memory.clone();
    let delete = move || Ok(memory.sessions().delete_checkpoint((&tenant, &actor), &thread, &query.namespace, &id)?);
    state.writes.run(delete).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/threads/{t}/checkpoints:prune`: all but the latest of each namespace go. Of those that stay, whose parent
/// went has none; what tasks have written for checkpoints that have not come yet stays.
#[utoipa::path(
    post,
    path = "/v1/threads/{thread}/checkpoints:prune",
    tag = "threads",
    params(("thread" = String, Path)),
    request_body(content = PruneRequest, example = json!({"keep": 1})),
    responses(
        (status = 200, description = "done", body = DeletedCheckpoints),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem)
    ),
)]
pub async fn prune(
    State(state): State<AppState>,
    Caller { tenant, actor, .. }: Caller,
    Path(thread): Path<String>,
    Json(request): Json<PruneRequest>,
) -> Result<axum::Json<DeletedCheckpoints>, Problem> {
    let memory = state.memory.clone();
    let PruneRequest { keep, namespace } = request;
    let prune =
        move || Ok(memory.sessions().prune_checkpoints((&tenant, &actor), &thread, namespace.as_deref(), keep)?);
    let deleted = state.writes.run(prune).await?;
    Ok(axum::Json(DeletedCheckpoints { deleted }))
}

/// `POST /v1/threads/{t}/checkpoints:copy`: to another thread, with all namespaces and what tasks have written. What
/// that thread has by the same ids is replaced, so a copy that was cut short can be made again.
#[utoipa::path(
    post,
    path = "/v1/threads/{thread}/checkpoints:copy",
    tag = "threads",
    params(("thread" = String, Path)),
    request_body(content = CopyThread, example = json!({"to": "another"})),
    responses(
        (status = 200, description = "done", body = CopiedCheckpoints),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "the thread has no checkpoints", body = Problem),
        (status = 422, description = "what is written to the other thread is redacted in another way", body = Problem)
    ),
)]
pub async fn copy(
    State(state): State<AppState>,
    caller: Caller,
    Path(thread): Path<String>,
    Json(request): Json<CopyThread>,
) -> Result<axum::Json<CopiedCheckpoints>, Problem> {
    let memory = state.memory.clone();
    let copy = move || {
        if !caller.reach.is_whole() {
            let at = |problem: Problem| Problem::field(StatusCode::FORBIDDEN, "/to", &problem.detail);
            caller.hold_session(&memory, &request.to, false).map_err(at)?;
        }
        Ok(memory.sessions().copy_thread(&caller.tenant, &thread, &request.to)?)
    };
    let copied = state.writes.run(copy).await?;
    Ok(axum::Json(CopiedCheckpoints { copied }))
}

/// `GET /v1/threads`: those that have checkpoints, by their ids.
#[utoipa::path(
    get,
    path = "/v1/threads",
    tag = "threads",
    params(ThreadsQuery),
    responses(
        (status = 200, description = "done", body = ThreadList),
        (status = 400, description = "a parameter is wrong", body = Problem)
    ),
)]
pub async fn threads(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Query(query): Query<ThreadsQuery>,
) -> Result<Rendered<ThreadList>, Problem> {
    let limit = page_limit(query.limit)?;
    let memory = state.memory.clone();
    let work = move || Rendered::of(&memory.sessions().threads(&tenant, query.cursor.as_deref(), limit)?);
    state.reads.run(work).await
}

/// `GET /v1/threads/{t}/namespaces`: those that have checkpoints, by their names; the thread's own is the empty one.
#[utoipa::path(
    get,
    path = "/v1/threads/{thread}/namespaces",
    tag = "threads",
    params(("thread" = String, Path), ThreadsQuery),
    responses(
        (status = 200, description = "done", body = NamespaceList),
        (status = 400, description = "a parameter is wrong", body = Problem)
    ),
)]
pub async fn namespaces(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(thread): Path<String>,
    Query(query): Query<ThreadsQuery>,
) -> Result<Rendered<NamespaceList>, Problem> {
    let limit = page_limit(query.limit)?;
    let memory = state.memory.clone();
    let work = move || Rendered::of(&memory.sessions().namespaces(&tenant, &thread, query.cursor.as_deref(), limit)?);
    state.reads.run(work).await
}

/// `PUT /v1/threads/{t}/blobs/{channel}/{version}`: the value of a channel, as octets, for checkpoints that name its
/// version in `channels`. One that none names goes with the thread.
#[utoipa::path(
    put,
    path = "/v1/threads/{thread}/blobs/{channel}/{version}",
    tag = "threads",
    params(("thread" = String, Path), ("channel" = String, Path), ("version" = String, Path), BlobQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 204, description = "done"),
        (status = 413, description = "over a limit of this box", body = Problem)
    ),
)]
pub async fn put_blob(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path((thread, channel, version)): Path<(String, String, String)>,
    Query(query): Query<BlobQuery>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let most = state.memory.policy(&tenant).limits.max_body_bytes.map_or(usize::MAX, |most| most as usize);
    // Octets take no more memory than they are.
    let limit = MAX_BLOB_BYTES.min(state.limits.max_body_bytes.saturating_mul(2)).min(most);
    let data = read_body(request.into_body(), limit).await?;
    let memory = state.memory.clone();
    let work = move || {
        let blob = (channel.as_str(), version.as_str(), query.r#type.as_str(), data);
        Ok(memory.sessions().put_blob(&tenant, &thread, &query.namespace, blob)?)
    };
    state.writes.run(work).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/threads/{t}/blobs/{channel}/{version}`: the octets; the header `x-membox-type` says what they are.
#[utoipa::path(
    get,
    path = "/v1/threads/{thread}/blobs/{channel}/{version}",
    tag = "threads",
    params(("thread" = String, Path), ("channel" = String, Path), ("version" = String, Path), NamespaceQuery),
    responses(
        (status = 200, description = "the octets", content_type = "application/octet-stream", body = Vec<u8>),
        (status = 404, description = "there is no such thing", body = Problem)
    ),
)]
pub async fn get_blob(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path((thread, channel, version)): Path<(String, String, String)>,
    Query(query): Query<NamespaceQuery>,
) -> Result<(HeaderMap, Vec<u8>), Problem> {
    let memory = state.memory.clone();
    let work = move || Ok(memory.sessions().blob(&tenant, &thread, &query.namespace, (&channel, &version))?);
    let (kind, data) = state.reads.run(work).await?;
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if let Ok(kind) = HeaderValue::from_str(&kind) {
        headers.insert("x-membox-type", kind);
    }
    Ok((headers, data))
}
