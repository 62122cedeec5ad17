//! Long work: how far it is, and how it ended.

use crate::auth::Tenant;
use crate::cursor;
use crate::extract::Query;
use crate::problem::Problem;
use crate::routes::sessions::page_limit;
use crate::state::AppState;
use axum::extract::{Path, State};
use membox_api::{JobList, JobView, JobsQuery};

/// `GET /v1/jobs`: the tenant's jobs, newest first. Those that have ended are kept for 30 days.
#[utoipa::path(
    get,
    path = "/v1/jobs",
    tag = "jobs",
    params(JobsQuery),
    responses(
        (status = 200, description = "done", body = JobList),
        (status = 400, description = "a parameter is wrong", body = Problem)
    ),
)]
pub async fn list(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Query(query): Query<JobsQuery>,
) -> Result<axum::Json<JobList>, Problem> {
    let limit = page_limit(query.limit)?;
    let memory = state.memory.clone();
    let work = move || {
        let before = cursor::read(&memory, &tenant, "jobs", query.cursor.as_deref())?;
        let (jobs, next) = memory.jobs().list(&tenant, &query, before, limit)?;
        Ok(JobList { jobs, next: cursor::write(&memory, &tenant, "jobs", next)? })
    };
    Ok(axum::Json(state.reads.run(work).await?))
}

/// `GET /v1/jobs/{id}`: how far a job is.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}",
    tag = "jobs",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "done", body = JobView),
        (status = 404, description = "there is no such thing", body = Problem)
    ),
)]
pub async fn job(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(id): Path<String>,
) -> Result<axum::Json<JobView>, Problem> {
    let memory = state.memory.clone();
    Ok(axum::Json(state.reads.run(move || Ok(memory.jobs().view(&tenant, &id)?)).await?))
}

/// `DELETE /v1/jobs/{id}`: ends a job that waits, and stops one under way after its next records. It stays cancelled
/// over a stop of the box. One that is cancelled already stays so; one that is done or has failed cannot be cancelled
/// any more.
#[utoipa::path(
    delete,
    path = "/v1/jobs/{id}",
    tag = "jobs",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "done", body = JobView),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 409, description = "it has ended already", body = Problem)
    ),
)]
pub async fn cancel_job(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(id): Path<String>,
) -> Result<axum::Json<JobView>, Problem> {
    let memory = state.memory.clone();
    Ok(axum::Json(state.writes.run(move || Ok(memory.jobs().cancel(&tenant, &id)?)).await?))
}
