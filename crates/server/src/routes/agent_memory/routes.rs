//! The handlers, in the order of agent-memory-server's document.

use super::Memories;
use crate::auth::Caller;
use crate::extract::{Json, KeptJson, Query};
use crate::problem::Problem;
use crate::state::AppState;
use axum::extract::{Path, State};
use membox_api::{
    AgentMemories, AgentMemory, AgentMemoryDone, AgentMemoryForget, AgentMemoryForgetQuery, AgentMemoryForgotten,
    AgentMemoryFound, AgentMemoryHealth, AgentMemoryIds, AgentMemoryPatch, AgentMemoryPrompt, AgentMemoryPrompted,
    AgentMemorySearch, WorkingMemories, WorkingMemoriesQuery, WorkingMemory, WorkingMemoryQuery, WorkingMemoryView,
};
use membox_memory::{MemoryBox, now};
use std::sync::Arc;

fn of<'a>(memory: &'a Arc<MemoryBox>, caller: &'a Caller) -> Memories<'a> {
    Memories { memory, caller }
}

fn done(status: impl Into<String>) -> AgentMemoryDone {
    AgentMemoryDone { status: status.into() }
}

/// `GET /v1/health`: alive.
#[utoipa::path(
    get,
    path = "/v1/health",
    tag = "agent_memory",
    responses((status = 200, description = "done", body = AgentMemoryHealth)),
)]
pub async fn health() -> axum::Json<AgentMemoryHealth> {
    axum::Json(AgentMemoryHealth { now: now() })
}

/// `GET /v1/working-memory`: conversations that have a working memory, the newest first.
#[utoipa::path(
    get,
    path = "/v1/working-memory",
    tag = "agent_memory",
    params(WorkingMemoriesQuery),
    responses(
        (status = 200, description = "done", body = WorkingMemories),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Query(query): Query<WorkingMemoriesQuery>,
) -> Result<axum::Json<WorkingMemories>, Problem> {
    let memory = state.memory.clone();
    let work = move || of(&memory, &caller).conversations(query);
    Ok(axum::Json(state.reads.run(work).await?))
}

/// `GET /v1/working-memory/{session_id}`: the working memory of a conversation.
#[utoipa::path(
    get,
    path = "/v1/working-memory/{session_id}",
    tag = "agent_memory",
    params(("session_id" = String, Path, description = "the conversation's id"), WorkingMemoryQuery),
    responses(
        (status = 200, description = "done", body = WorkingMemoryView),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn get(
    State(state): State<AppState>,
    caller: Caller,
    Path(session_id): Path<String>,
    Query(query): Query<WorkingMemoryQuery>,
) -> Result<axum::Json<WorkingMemoryView>, Problem> {
    let memory = state.memory.clone();
    let work = move || of(&memory, &caller).working(&session_id, &query);
    Ok(axum::Json(state.reads.run(work).await?))
}

/// `PUT /v1/working-memory/{session_id}`: keeps a working memory in the place of the one that is there, and its
/// `memories` as long-term ones.
#[utoipa::path(
    put,
    path = "/v1/working-memory/{session_id}",
    tag = "agent_memory",
    params(("session_id" = String, Path, description = "the conversation's id"), WorkingMemoryQuery),
    request_body(
        content = WorkingMemory,
        example = json!({
            "messages": [{"role": "user", "content": "I am vegetarian."}], "user_id": "alex", "namespace": "kitchen"
        })
    ),
    responses(
        (status = 200, description = "done", body = WorkingMemoryView),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn put(
    State(state): State<AppState>,
    caller: Caller,
    Path(session_id): Path<String>,
    Query(query): Query<WorkingMemoryQuery>,
    Json(request): KeptJson<WorkingMemory>,
) -> Result<axum::Json<WorkingMemoryView>, Problem> {
    let memory = state.memory.clone();
    let work = move || of(&memory, &caller).put(&session_id, request, &query);
    Ok(axum::Json(state.writes.run(work).await?))
}

/// `DELETE /v1/working-memory/{session_id}`: forgets the working memory of a conversation.
#[utoipa::path(
    delete,
    path = "/v1/working-memory/{session_id}",
    tag = "agent_memory",
    params(("session_id" = String, Path, description = "the conversation's id"), WorkingMemoryQuery),
    responses(
        (status = 200, description = "done", body = AgentMemoryDone),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn delete(
    State(state): State<AppState>,
    caller: Caller,
    Path(session_id): Path<String>,
    Query(query): Query<WorkingMemoryQuery>,
) -> Result<axum::Json<AgentMemoryDone>, Problem> {
    let memory = state.memory.clone();
    let work = move || {
        of(&memory, &caller).drop_working(&session_id, &query)?;
        Ok(done("ok"))
    };
    Ok(axum::Json(state.writes.run(work).await?))
}

/// `POST /v1/long-term-memory`: writes long-term memories; those of ids that exist are replaced.
#[utoipa::path(
    post,
    path = "/v1/long-term-memory",
    tag = "agent_memory",
    request_body(
        content = AgentMemories,
        example = json!(
            {"memories": [{"id": "1", "text": "Lena likes tea.", "user_id": "lena", "topics": ["tea"]}]}
        )
    ),
    responses(
        (status = 200, description = "done", body = AgentMemoryDone),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn add(
    State(state): State<AppState>,
    caller: Caller,
    Json(request): Json<AgentMemories>,
) -> Result<axum::Json<AgentMemoryDone>, Problem> {
    let memory = state.memory.clone();
    let work = move || {
        of(&memory, &caller).write(request.memories, "/memories")?;
        Ok(done("ok"))
    };
    Ok(axum::Json(state.writes.run(work).await?))
}

/// `POST /v1/long-term-memory/search`: long-term memories that answer a question.
#[utoipa::path(
    post,
    path = "/v1/long-term-memory/search",
    tag = "agent_memory",
    request_body(
        content = AgentMemorySearch,
        example = json!({"text": "what does Lena drink?", "user_id": {"eq": "lena"}})
    ),
    responses(
        (status = 200, description = "done", body = AgentMemoryFound),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn search(
    State(state): State<AppState>,
    caller: Caller,
    Json(request): Json<AgentMemorySearch>,
) -> Result<axum::Json<AgentMemoryFound>, Problem> {
    let memory = state.memory.clone();
    let work = move || of(&memory, &caller).search(&request, "");
    Ok(axum::Json(state.reads.run(work).await?))
}

/// `POST /v1/long-term-memory/forget`: forgets long-term memories that a policy does not keep, or says
/// which they would be.
#[utoipa::path(
    post,
    path = "/v1/long-term-memory/forget",
    tag = "agent_memory",
    params(AgentMemoryForgetQuery),
    request_body(content = AgentMemoryForget, example = json!({"policy": {"max_age_days": 365}})),
    responses(
        (status = 200, description = "done", body = AgentMemoryForgotten),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn forget(
    State(state): State<AppState>,
    caller: Caller,
    Query(query): Query<AgentMemoryForgetQuery>,
    Json(request): Json<AgentMemoryForget>,
) -> Result<axum::Json<AgentMemoryForgotten>, Problem> {
    let memory = state.memory.clone();
    let work = move || of(&memory, &caller).forget(request, query);
    Ok(axum::Json(state.writes.run(work).await?))
}

/// `DELETE /v1/long-term-memory`: deletes long-term memories.
#[utoipa::path(
    delete,
    path = "/v1/long-term-memory",
    tag = "agent_memory",
    params(AgentMemoryIds),
    responses(
        (status = 200, description = "done", body = AgentMemoryDone),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn delete_many(
    State(state): State<AppState>,
    caller: Caller,
    Query(query): Query<AgentMemoryIds>,
) -> Result<axum::Json<AgentMemoryDone>, Problem> {
    let memory = state.memory.clone();
    let work = move || {
        let count = of(&memory, &caller).delete(query.memory_ids)?;
        Ok(done(format!("ok, deleted {count} memories")))
    };
    Ok(axum::Json(state.writes.run(work).await?))
}

/// `GET /v1/long-term-memory/{memory_id}`: a long-term memory.
#[utoipa::path(
    get,
    path = "/v1/long-term-memory/{memory_id}",
    tag = "agent_memory",
    params(("memory_id" = String, Path, description = "the memory's id")),
    responses(
        (status = 200, description = "done", body = AgentMemory),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn get_memory(
    State(state): State<AppState>,
    caller: Caller,
    Path(memory_id): Path<String>,
) -> Result<axum::Json<AgentMemory>, Problem> {
    let memory = state.memory.clone();
    let work = move || of(&memory, &caller).get(&memory_id);
    Ok(axum::Json(state.reads.run(work).await?))
}

/// `PATCH /v1/long-term-memory/{memory_id}`: changes a long-term memory.
#[utoipa::path(
    patch,
    path = "/v1/long-term-memory/{memory_id}",
    tag = "agent_memory",
    params(("memory_id" = String, Path, description = "the memory's id")),
    request_body(content = AgentMemoryPatch, example = json!({"text": "Lena likes green tea."})),
    responses(
        (status = 200, description = "done", body = AgentMemory),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn patch_memory(
    State(state): State<AppState>,
    caller: Caller,
    Path(memory_id): Path<String>,
    Json(request): Json<AgentMemoryPatch>,
) -> Result<axum::Json<AgentMemory>, Problem> {
    let memory = state.memory.clone();
    let work = move || of(&memory, &caller).patch(&memory_id, request);
    Ok(axum::Json(state.writes.run(work).await?))
}

/// `POST /v1/memory/prompt`: a question with what is remembered for it, as messages for a language model.
#[utoipa::path(
    post,
    path = "/v1/memory/prompt",
    tag = "agent_memory",
    request_body(
        content = AgentMemoryPrompt,
        example = json!(
            {"query": "what may I cook?", "session": {"session_id": "s"}, "long_term_search": {"limit": 5}}
        )
    ),
    responses(
        (status = 200, description = "done", body = AgentMemoryPrompted),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn prompt(
    State(state): State<AppState>,
    caller: Caller,
    Json(request): Json<AgentMemoryPrompt>,
) -> Result<axum::Json<AgentMemoryPrompted>, Problem> {
    let memory = state.memory.clone();
    let work = move || of(&memory, &caller).prompt(request);
    Ok(axum::Json(state.reads.run(work).await?))
}
