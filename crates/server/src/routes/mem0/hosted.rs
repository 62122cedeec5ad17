//! The routes of mem0's hosted client.

use super::{Memories, filters, impossible, of, there};
use crate::auth::Caller;
use crate::extract::{Json, Query};
use crate::problem::Problem;
use crate::state::AppState;
use axum::extract::{Path, State};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use membox_api::{
    Mem0Add, Mem0Added, Mem0BatchUpdates, Mem0Change, Mem0Done, Mem0Entities, Mem0Export, Mem0Feedback,
    Mem0FeedbackAnswer, Mem0Found, Mem0GetExport, Mem0List, Mem0Memory, Mem0NewExport, Mem0Owner, Mem0Page,
    Mem0PageQuery, Mem0Ping, Mem0References, Mem0Search, Mem0Summary, Mem0SummaryRequest, Mem0Update, ProfileView,
    RecordPatch,
};
use serde_json::{Map, Value};

/// Memories of an export, at most.
const MAX_EXPORTED: u64 = 10_000;
/// Memories that a summary has.
const SUMMED_UP: usize = 100;
/// The importance of a memory of which nobody has said what it is, and what feedback adds to it.
const NEUTRAL: f64 = 0.5;
const FEEDBACK: [(&str, f64); 3] = [("POSITIVE", 0.2), ("NEGATIVE", -0.2), ("VERY_NEGATIVE", -0.4)];

/// `GET /v1/ping/`: who asks.
#[utoipa::path(
    get,
    path = "/v1/ping",
    tag = "mem0",
    responses((status = 200, description = "done", body = Mem0Ping)),
)]
pub async fn ping(caller: Caller) -> axum::Json<Mem0Ping> {
    axum::Json(Mem0Ping { status: "ok", org_id: caller.tenant, project_id: "membox", user_email: None })
}

/// `POST /v3/memories/add`: remembers messages.
#[utoipa::path(
    post,
    path = "/v3/memories/add",
    tag = "mem0",
    request_body(
        content = Mem0Add,
        example = json!({"messages": [{"role": "user", "content": "I am vegetarian."}], "user_id": "alex"})
    ),
    responses(
        (status = 200, description = "done", body = Mem0Added),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem),
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

/// `POST /v3/memories/search`: memories that answer a question.
#[utoipa::path(
    post,
    path = "/v3/memories/search",
    tag = "mem0",
    request_body(
        content = Mem0Search,
        example = json!({"query": "what does Alex eat?", "filters": {"user_id": "alex"}})
    ),
    responses(
        (status = 200, description = "done", body = Mem0Found),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem),
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

/// `POST /v3/memories/`: memories, the newest first.
#[utoipa::path(
    post,
    path = "/v3/memories",
    tag = "mem0",
    params(Mem0PageQuery),
    request_body(content = Mem0List, example = json!({"filters": {"user_id": "alex"}})),
    responses(
        (status = 200, description = "done", body = Mem0Page),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Query(query): Query<Mem0PageQuery>,
    Json(request): Json<Mem0List>,
) -> Result<axum::Json<Mem0Page>, Problem> {
    let memory = state.memory.clone();
    let work = move || {
        let (results, count) = of(&memory, &caller).list(request, &query)?;
        let (page, size) = (query.page.unwrap_or(1), query.page_size.unwrap_or(super::DEFAULT_PAGE));
        let path = |page: usize| format!("/v3/memories/?page={page}&page_size={size}");
        let next = (page.saturating_mul(size) as u64) < count;
        Ok(Mem0Page {
            count,
            next: next.then(|| path(page + 1)),
            previous: (page > 1).then(|| path(page - 1)),
            results,
        })
    };
    Ok(axum::Json(state.reads.run(work).await?))
}

/// `GET /v1/memories/{id}`: one memory.
#[utoipa::path(
    get,
    path = "/v1/memories/{id}",
    tag = "mem0",
    params(("id" = String, Path, description = "the memory's id")),
    responses(
        (status = 200, description = "done", body = Mem0Memory),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn get(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<Mem0Memory>, Problem> {
    let memory = state.memory.clone();
    let work = move || Ok(super::views::memory_of_record(of(&memory, &caller).record(&id)?));
    Ok(axum::Json(state.reads.run(work).await?))
}

/// `PUT /v1/memories/{id}`: changes a memory; what it said before is its history.
#[utoipa::path(
    put,
    path = "/v1/memories/{id}",
    tag = "mem0",
    params(("id" = String, Path, description = "the memory's id")),
    request_body(content = Mem0Update, example = json!({"text": "Alex is vegan."})),
    responses(
        (status = 200, description = "done", body = Mem0Memory),
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
) -> Result<axum::Json<Mem0Memory>, Problem> {
    let memory = state.memory.clone();
    let work = move || of(&memory, &caller).update(&id, &request);
    Ok(axum::Json(state.writes.run(work).await?))
}

/// `GET /v1/memories/{id}/history`: what a memory said, the oldest first.
#[utoipa::path(
    get,
    path = "/v1/memories/{id}/history",
    tag = "mem0",
    params(("id" = String, Path, description = "the memory's id")),
    responses(
        (status = 200, description = "done", body = Vec<Mem0Change>),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
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

/// `GET /v1/entities`: who has memories.
#[utoipa::path(
    get,
    path = "/v1/entities",
    tag = "mem0",
    responses(
        (status = 200, description = "done", body = Mem0Entities),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn entities(State(state): State<AppState>, caller: Caller) -> Result<axum::Json<Mem0Entities>, Problem> {
    let memory = state.memory.clone();
    let work = move || {
        let results = of(&memory, &caller).entities()?;
        Ok(Mem0Entities { count: results.len(), results })
    };
    Ok(axum::Json(state.reads.run(work).await?))
}

/// `PUT /v1/batch`: changes memories: all of them, or none where one is wrong.
#[utoipa::path(
    put,
    path = "/v1/batch",
    tag = "mem0",
    request_body(
        content = Mem0BatchUpdates,
        example = json!({"memories": [{"memory_id": "1", "text": "Alex is vegan."}]})
    ),
    responses(
        (status = 200, description = "done", body = Mem0Done),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn batch_update(
    State(state): State<AppState>,
    caller: Caller,
    Json(request): Json<Mem0BatchUpdates>,
) -> Result<axum::Json<Mem0Done>, Problem> {
    let memory = state.memory.clone();
    let work = move || {
        let count = of(&memory, &caller).update_many(&request.memories)?;
        Ok(Mem0Done { message: format!("Successfully updated {count} memories") })
    };
    Ok(axum::Json(state.writes.run(work).await?))
}

/// `DELETE /v1/batch/`: deletes memories.
#[utoipa::path(
    delete,
    path = "/v1/batch/",
    tag = "mem0",
    request_body(content = Mem0References, example = json!({"memories": [{"memory_id": "1"}]})),
    responses(
        (status = 200, description = "done", body = Mem0Done),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn batch_delete(
    State(state): State<AppState>,
    caller: Caller,
    Json(request): Json<Mem0References>,
) -> Result<axum::Json<Mem0Done>, Problem> {
    let memory = state.memory.clone();
    let work = move || {
        super::check_count(request.memories.len(), "/memories")?;
        let ids = request.memories.into_iter().map(|memory| memory.memory_id).collect();
        let count = of(&memory, &caller).delete(ids)?;
        Ok(Mem0Done { message: format!("Successfully deleted {count} memories") })
    };
    Ok(axum::Json(state.writes.run(work).await?))
}

/// `DELETE /v1/memories/{id}/`: deletes a memory.
#[utoipa::path(
    delete,
    path = "/v1/memories/{id}/",
    tag = "mem0",
    params(("id" = String, Path, description = "the memory's id")),
    responses(
        (status = 200, description = "done", body = Mem0Done),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
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
        0 => Err(membox_memory::MemoryError::NoRecord(id).into()),
        _ => Ok(Mem0Done { message: "Memory deleted successfully!".to_owned() }),
    };
    Ok(axum::Json(state.writes.run(work).await?))
}

/// `DELETE /v1/memories/`: deletes the memories of an owner.
#[utoipa::path(
    delete,
    path = "/v1/memories/",
    tag = "mem0",
    params(Mem0Owner),
    responses(
        (status = 200, description = "done", body = Mem0Done),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn delete_all(
    State(state): State<AppState>,
    caller: Caller,
    Query(owner): Query<Mem0Owner>,
) -> Result<axum::Json<Mem0Done>, Problem> {
    let memory = state.memory.clone();
    let work = move || {
        of(&memory, &caller).delete_of(&owner)?;
        Ok(Mem0Done { message: "Memories deleted successfully!".to_owned() })
    };
    Ok(axum::Json(state.writes.run(work).await?))
}

/// `DELETE /v2/entities/{kind}/{name}/`: deletes the memories of a user, agent, application or conversation.
#[utoipa::path(
    delete,
    path = "/v2/entities/{kind}/{name}/",
    tag = "mem0",
    params(
        ("kind" = String, Path, description = "user, agent, app or run"),
        ("name" = String, Path, description = "the id of the user, agent, application or conversation")
    ),
    responses(
        (status = 200, description = "done", body = Mem0Done),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn delete_entity(
    State(state): State<AppState>,
    caller: Caller,
    Path((kind, name)): Path<(String, String)>,
) -> Result<axum::Json<Mem0Done>, Problem> {
    let memory = state.memory.clone();
    let work = move || {
        let mut owner = Mem0Owner::default();
        let of_kind = match kind.as_str() {
            "user" => &mut owner.user_id,
            "agent" => &mut owner.agent_id,
            "app" => &mut owner.app_id,
            "run" => &mut owner.run_id,
            other => return Err(super::bad("/kind", format!("{other:?} is neither user nor agent, app or run"))),
        };
        *of_kind = Some(name);
        of(&memory, &caller).delete_of(&owner)?;
        Ok(Mem0Done { message: "Entity deleted successfully!".to_owned() })
    };
    Ok(axum::Json(state.writes.run(work).await?))
}

/// `GET /v2/entities/user/{user}/profile`: who a user is, by what is remembered.
#[utoipa::path(
    get,
    path = "/v2/entities/user/{user}/profile",
    tag = "mem0",
    params(("user" = String, Path, description = "the user's id")),
    responses(
        (status = 200, description = "done", body = ProfileView),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn profile(
    State(state): State<AppState>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<axum::Json<ProfileView>, Problem> {
    let memory = state.memory.clone();
    let work = move || Ok(memory.memories().profile(&caller.tenant, &user)?);
    Ok(axum::Json(state.reads.run(work).await?))
}

/// `POST /v1/feedback`: what is thought of a memory changes its importance.
#[utoipa::path(
    post,
    path = "/v1/feedback",
    tag = "mem0",
    request_body(content = Mem0Feedback, example = json!({"memory_id": "1", "feedback": "POSITIVE"})),
    responses(
        (status = 200, description = "done", body = Mem0FeedbackAnswer),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn feedback(
    State(state): State<AppState>,
    caller: Caller,
    Json(request): Json<Mem0Feedback>,
) -> Result<axum::Json<Mem0FeedbackAnswer>, Problem> {
    let memory = state.memory.clone();
    let work = move || feedback_on(&of(&memory, &caller), request);
    Ok(axum::Json(state.writes.run(work).await?))
}

/// `POST /v1/exports`: an export of memories, to be had by `/v1/exports/get/`.
#[utoipa::path(
    post,
    path = "/v1/exports",
    tag = "mem0",
    request_body(content = Mem0NewExport, example = json!({"schema": {}, "filters": {"user_id": "alex"}})),
    responses(
        (status = 200, description = "done", body = Mem0Export),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn create_export(
    State(state): State<AppState>,
    caller: Caller,
    Json(request): Json<Mem0NewExport>,
) -> Result<axum::Json<Mem0Export>, Problem> {
    // What it takes is checked as a recall is.
    let _ = caller;
    let work = move || new_export(request);
    Ok(axum::Json(state.reads.run(work).await?))
}

/// `POST /v1/exports/get`: the memories of an export, as they are now.
#[utoipa::path(
    post,
    path = "/v1/exports/get",
    tag = "mem0",
    request_body(content = Mem0GetExport, example = json!({"filters": {"user_id": "alex"}})),
    responses(
        (status = 200, description = "done", body = Mem0Found),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn get_export(
    State(state): State<AppState>,
    caller: Caller,
    Json(request): Json<Mem0GetExport>,
) -> Result<axum::Json<Mem0Found>, Problem> {
    let memory = state.memory.clone();
    let work = move || export(&of(&memory, &caller), request);
    Ok(axum::Json(state.reads.run(work).await?))
}

/// `POST /v1/summary`: the newest memories, a line each.
#[utoipa::path(
    post,
    path = "/v1/summary",
    tag = "mem0",
    request_body(content = Mem0SummaryRequest, example = json!({"filters": {"user_id": "alex"}})),
    responses(
        (status = 200, description = "done", body = Mem0Summary),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn summary(
    State(state): State<AppState>,
    caller: Caller,
    Json(request): Json<Mem0SummaryRequest>,
) -> Result<axum::Json<Mem0Summary>, Problem> {
    let memory = state.memory.clone();
    let work = move || {
        let of_filters = conditions_of(request.filters)?;
        let (memories, count) = of(&memory, &caller).listed(filters::all_of(of_filters), 0, SUMMED_UP)?;
        let lines: Vec<String> = memories.into_iter().map(|memory| memory.memory).collect();
        Ok(Mem0Summary { summary: lines.join("\n"), count })
    };
    Ok(axum::Json(state.reads.run(work).await?))
}

fn conditions_of(filters: Option<Map<String, Value>>) -> Result<Vec<Value>, Problem> {
    filters.map(|given| filters::conditions(&given, "/filters")).transpose().map(Option::unwrap_or_default)
}

fn feedback_on(memories: &Memories<'_>, request: Mem0Feedback) -> Result<Mem0FeedbackAnswer, Problem> {
    let Mem0Feedback { memory_id: id, feedback } = request;
    let given = feedback.unwrap_or_default();
    let change = FEEDBACK.into_iter().find(|(name, _)| *name == given).map(|(_, change)| change);
    if change.is_none() && !given.is_empty() {
        return Err(super::bad("/feedback", "POSITIVE, NEGATIVE or VERY_NEGATIVE is wanted"));
    }
    if !memories.has(&id)? {
        return Ok(Mem0FeedbackAnswer { id, importance: None, message: "there is no such memory" });
    }
    let importance = memories.record(&id)?.importance.unwrap_or(NEUTRAL) + change.unwrap_or_default();
    let importance = importance.clamp(0.0, 1.0);
    let patch = RecordPatch { importance: Some(Some(importance)), ..RecordPatch::default() };
    there(memories.memory.records().patch(memories.tenant(), super::COLLECTION, &id, &patch, None))?;
    Ok(Mem0FeedbackAnswer { id, importance: Some(importance), message: "its importance is another" })
}

/// Nothing is kept of an export: its id says which memories are wanted.
fn new_export(request: Mem0NewExport) -> Result<Mem0Export, Problem> {
    let is_empty = match &request.schema {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => ["", "{}"].contains(&text.trim()),
        Some(schema) => schema.as_object().is_some_and(Map::is_empty),
    };
    if !is_empty {
        return Err(impossible("/schema", "no language model fills a schema in here: leave it empty"));
    }
    let filters = request.filters.unwrap_or_default();
    conditions_of(Some(filters.clone()))?;
    let id = URL_SAFE_NO_PAD.encode(Value::Object(filters).to_string());
    Ok(Mem0Export { id, message: "Memory export is ready: POST /v1/exports/get/" })
}

fn export(memories: &Memories<'_>, request: Mem0GetExport) -> Result<Mem0Found, Problem> {
    let wrong = || super::bad("/memory_export_id", "no export has this id");
    let of_id = |id: String| -> Result<Map<String, Value>, Problem> {
        let bytes = URL_SAFE_NO_PAD.decode(id).map_err(|_| wrong())?;
        serde_json::from_slice(&bytes).map_err(|_| wrong())
    };
    let filters = request.memory_export_id.map(of_id).transpose()?.or(request.filters);
    let filter = filters::all_of(conditions_of(filters)?);
    let mut results = Vec::new();
    loop {
        let (more, count) = memories.listed(filter.clone(), results.len(), super::MAX_MEMORIES)?;
        if count > MAX_EXPORTED {
            let detail = format!("there are {count} memories; an export has {MAX_EXPORTED} at most");
            return Err(impossible("/filters", detail));
        }
        if more.is_empty() {
            return Ok(Mem0Found { results });
        }
        results.extend(more);
    }
}
