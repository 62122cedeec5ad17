//! All that is remembered of a user, and the audit log.

use crate::auth::{Caller, Tenant};
use crate::extract::{Json, KeptJson, Query};
use crate::problem::Problem;
use crate::request::with_budget;
use crate::routes::sessions::page_limit;
use crate::state::AppState;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::channel::Channel;
use membox_api::{AuditPage, AuditQuery, JobView, ProfileView};
use membox_threads::budget::RequestBudget;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of an archive that are sent at a time, and how many such parts may wait for the client.
const PART_BYTES: usize = 64 << 10;
const PARTS: usize = 4;
/// How long a client may take to read a part.
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
pub async fn export(State(state): State<AppState>, caller: Caller, Path(user): Path<String>) -> Response {
    let (mut sender, body) = Channel::<Bytes>::new(PARTS);
    let (memory, runtime) = (state.memory.clone(), tokio::runtime::Handle::current());
    let tenant = caller.tenant.clone();
    let archive = move || {
        let (mut part, mut lines) = (Vec::with_capacity(PART_BYTES), 0u64);
        let mut send = |part: &mut Vec<u8>| {
            let bytes = Bytes::from(std::mem::take(part));
            let sent = runtime.block_on(async { tokio::time::timeout(PART_TIME, sender.send_data(bytes)).await });
            matches!(sent, Ok(Ok(())))
        };
        let mut client_reads = true;
        memory.tenants().export_user(&caller.tenant, &caller.actor, &user, &mut |line| {
            lines += 1;
            part.extend_from_slice(line.to_string().as_bytes());
            part.push(b'\n');
            client_reads = part.len() < PART_BYTES || send(&mut part);
            client_reads
        })?;
        if client_reads {
            part.extend_from_slice(format!("{{\"type\":\"end\",\"lines\":{lines}}}\n").as_bytes());
            send(&mut part);
        }
        Ok(())
    };
    let budget = Arc::new(RequestBudget::of(&tenant));
    tokio::spawn(async move {
        let done: Result<(), Problem> = with_budget(budget, state.reads.run(archive)).await;
        if let Err(problem) = done {
            tracing::warn!(reason = problem.detail, "an export was broken off");
        }
    });
    let name = "attachment; filename=\"membox-export.ndjson\"";
    ([(header::CONTENT_TYPE, "application/x-ndjson"), (header::CONTENT_DISPOSITION, name)], Body::new(body))
        .into_response()
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
