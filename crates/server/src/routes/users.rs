//! All that is remembered of a user, and the audit log.

use crate::auth::{Caller, Tenant};
use crate::extract::{Json, KeptJson, Query};
use crate::problem::Problem;
use crate::request::{PART_BYTES, with_budget};
use crate::routes::sessions::page_limit;
use crate::state::AppState;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::channel::{Channel, Sender};
use membox_api::{AuditPage, AuditQuery, JobView, ProfileView};
use membox_memory::{Export, MemoryError};
use membox_threads::budget::RequestBudget;
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a client may take to read a frame, and how long a busy box may keep it waiting for a part.
const PART_TIME: Duration = Duration::from_secs(60);

/// `POST /v1/users/{u}/erase`: erases all that is remembered of a user, from the files too, as a job. Its result is
/// the receipt. Until the job has ended, what would be written to the user is refused with 409.
#[utoipa::path(
    post,
    path = "/v1/users/{user}/erase",
    tag = "users",
    params(("user" = String, Path)),
    responses(
        (
            status = 202,
            description = "the job is promised, whatever becomes of the box; its `result` will be an ErasureReceipt",
            body = JobView
        ),
        (status = 409, description = "the tenant is being erased", body = Problem),
        (status = 429, description = "64 jobs of the tenant wait already; retry-after says when", body = Problem)
    ),
)]
pub async fn erase(
    State(state): State<AppState>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<(StatusCode, axum::Json<JobView>), Problem> {
    let memory = state.memory.clone();
    let work = move || Ok(memory.erase_user(&caller.tenant, &caller.actor, &user)?);
    Ok((StatusCode::ACCEPTED, axum::Json(state.writes.run(work).await?)))
}

/// `GET /v1/users/{u}/export`: all that is remembered of a user, one JSON object a line: sessions with their
/// messages, queues and checkpoints, then records. The last line says how many there were; an archive without it is
/// not whole.
#[utoipa::path(
    get,
    path = "/v1/users/{user}/export",
    tag = "users",
    params(("user" = String, Path)),
    responses(
        (
            status = 200,
            description = "lines of JSON, each with its `type`: session, message, queued, checkpoint, record, and end",
            content_type = "application/x-ndjson",
            body = String
        )
    ),
)]
pub async fn export(
    State(state): State<AppState>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<Response, Problem> {
    let export = Export::of(&caller.tenant, &caller.actor, &user);
    let mut archive = Archive { tenant: caller.tenant, export: Arc::new(Mutex::new(export)), state };
    let first = archive.next_part().await?;
    let (sender, body) = Channel::<Bytes>::new(1);
    tokio::spawn(async move {
        if let Err(problem) = archive.send(first, sender).await {
            tracing::warn!(reason = problem.detail, "an export was broken off");
        }
    });
    let name = "attachment; filename=\"membox-export.ndjson\"";
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson"), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, Body::new(body)).into_response())
}

/// An archive that is sent at its client's pace. It has a thread of the pool for each part that it reads, and none
/// while the client takes its time.
struct Archive {
    tenant: String,
    export: Arc<Mutex<Export>>,
    state: AppState,
}

/// Lines of an archive, with the memory that they take until they are sent.
struct Part {
    lines: Bytes,
    _memory: Arc<RequestBudget>,
}

impl Archive {
    /// Reads the next part; a box that is busy is asked again.
    async fn next_part(&mut self) -> Result<Option<Part>, Problem> {
        let begun = Instant::now();
        loop {
            let budget = Arc::new(RequestBudget::within(self.state.room.clone()));
            budget.set_tenant(&self.tenant);
            let (memory, export) = (self.state.memory.clone(), self.export.clone());
            let read = move || {
                let mut export = export.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(memory.tenants().next_part(&mut export)?)
            };
            match with_budget(budget.clone(), self.state.reads.run(read)).await {
                Ok(None) => return Ok(None),
                Ok(Some(lines)) => {
                    budget.take(lines.len()).map_err(MemoryError::from)?;
                    return Ok(Some(Part { lines: lines.into(), _memory: budget }));
                }
                Err(busy) if busy.status == 429 && begun.elapsed() < PART_TIME => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Err(problem) => return Err(problem),
            }
        }
    }

    /// Sends the archive, from a part on. However it ends, the audit log says how much was given out.
    async fn send(mut self, first: Option<Part>, mut sender: Sender<Bytes>) -> Result<(), Problem> {
        let sent = self.send_parts(first, &mut sender).await;
        let (memory, export) = (self.state.memory.clone(), self.export.clone());
        let budget = Arc::new(RequestBudget::of(&self.tenant));
        let noted = move || {
            let export = export.lock().unwrap_or_else(PoisonError::into_inner);
            memory.tenants().end_export(&export)?;
            Ok(export.lines())
        };
        let lines = with_budget(budget, self.state.writes.run(noted)).await?;
        if sent? {
            send_frame(&mut sender, format!("{{\"type\":\"end\",\"lines\":{lines}}}\n").into()).await;
        }
        Ok(())
    }

    /// Sends all parts, and says whether the client has read them.
    async fn send_parts(&mut self, mut next: Option<Part>, sender: &mut Sender<Bytes>) -> Result<bool, Problem> {
        while let Some(mut part) = next {
            while !part.lines.is_empty() {
                let frame = part.lines.split_to(part.lines.len().min(PART_BYTES));
                if !send_frame(sender, frame).await {
                    return Ok(false);
                }
            }
            drop(part);
            next = self.next_part().await?;
        }
        Ok(true)
    }
}

/// Hands a frame to the connection; `false` when its client has gone or takes too long.
async fn send_frame(sender: &mut Sender<Bytes>, frame: Bytes) -> bool {
    matches!(tokio::time::timeout(PART_TIME, sender.send_data(frame)).await, Ok(Ok(())))
}

/// `GET /v1/users/{u}/profile`: who a user is, by what is remembered now: fields that were set, what the user's
/// records are about, and counts.
#[utoipa::path(get, path = "/v1/users/{user}/profile", tag = "users", params(("user" = String, Path)),
    responses((status = 200, description = "done", body = ProfileView)))]
pub async fn profile(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(user): Path<String>,
) -> Result<axum::Json<ProfileView>, Problem> {
    let memory = state.memory.clone();
    Ok(axum::Json(state.reads.run(move || Ok(memory.memories().profile(&tenant, &user)?)).await?))
}

/// `PATCH /v1/users/{u}/profile`: changes fields of a user's profile, as RFC 7396 says, and stores it as it is now,
/// to be recalled by meaning.
#[utoipa::path(
    patch,
    path = "/v1/users/{user}/profile",
    tag = "users",
    params(("user" = String, Path)),
    request_body(
        content = Object,
        description = "fields; null takes one away",
        example = json!({"name": "Lena", "city": "Bergen", "likes": ["owls"]})
    ),
    responses(
        (status = 200, description = "done", body = ProfileView),
        (status = 422, description = "the fields are more than 16 KiB", body = Problem)
    ),
)]
pub async fn patch_profile(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(user): Path<String>,
    Json(changes): KeptJson<Map<String, Value>>,
) -> Result<axum::Json<ProfileView>, Problem> {
    let memory = state.memory.clone();
    let work = move || Ok(memory.memories().put_profile(&tenant, &user, &changes, false)?);
    Ok(axum::Json(state.writes.run(work).await?))
}

/// `POST /v1/users/{u}/profile`: builds a user's profile anew and stores it; the language model that is set up
/// writes a summary of the user's memories.
#[utoipa::path(
    post,
    path = "/v1/users/{user}/profile",
    tag = "users",
    params(("user" = String, Path)),
    responses(
        (status = 200, description = "done", body = ProfileView),
        (status = 502, description = "the language model does not answer; nothing was changed", body = Problem)
    ),
)]
pub async fn build_profile(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(user): Path<String>,
) -> Result<axum::Json<ProfileView>, Problem> {
    let memory = state.memory.clone();
    let work = move || Ok(memory.memories().put_profile(&tenant, &user, &Map::new(), true)?);
    Ok(axum::Json(state.pipeline.run(work).await?))
}

/// `GET /v1/audit`: who has deleted, erased or exported what of this tenant, and when; `membox audit verify` checks
/// the chain of hashes.
#[utoipa::path(
    get,
    path = "/v1/audit",
    tag = "users",
    params(AuditQuery),
    responses((status = 200, description = "done", body = AuditPage)),
)]
pub async fn audit(
    State(state): State<AppState>,
    caller: Caller,
    Query(query): Query<AuditQuery>,
) -> Result<axum::Json<AuditPage>, Problem> {
    let limit = page_limit(query.limit)?;
    let memory = state.memory.clone();
    let work = move || Ok(memory.audit().audit_log(&caller.tenant, query.cursor.unwrap_or(0), limit + 1)?);
    let mut entries = state.reads.run(work).await?;
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| more).map(|last| last.number);
    Ok(axum::Json(AuditPage { entries, next }))
}
