//! Collections, and the jobs that work on them.

use crate::auth::{Caller, Tenant};
use crate::extract::{Json, Query};
use crate::problem::Problem;
use crate::state::AppState;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use membox_api::{CollectionList, CollectionSettings, CollectionView, ConsolidateRequest, JobView, ReembedQuery};

/// `PUT /v1/collections/{c}`: creates it, or finds it with the same settings.
#[utoipa::path(
    put,
    path = "/v1/collections/{collection}",
    tag = "collections",
    request_body(
        content = CollectionSettings,
        example = json!({"keywords": true, "redaction": {"mode": "full"}, "kinds": {"working": {"ttl_s": 3600}}})
    ),
    params(("collection" = String, Path, description = "[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")),
    responses(
        (status = 200, description = "it was there", body = CollectionView),
        (status = 201, description = "created", body = CollectionView),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 409, description = "it exists with other settings", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem)
    ),
)]
pub async fn create(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(collection): Path<String>,
    Json(settings): Json<CollectionSettings>,
) -> Result<(StatusCode, axum::Json<CollectionView>), Problem> {
    let memory = state.memory.clone();
    let work = move || Ok(memory.collections().create_collection(&tenant, &collection, &settings)?);
    let (view, created) = state.writes.run(work).await?;
    Ok((if created { StatusCode::CREATED } else { StatusCode::OK }, axum::Json(view)))
}

/// `GET /v1/collections`: the tenant's collections.
#[utoipa::path(
    get,
    path = "/v1/collections",
    tag = "collections",
    responses((status = 200, description = "done", body = CollectionList)),
)]
pub async fn list(State(state): State<AppState>, caller: Caller) -> Result<axum::Json<CollectionList>, Problem> {
    let memory = state.memory.clone();
    let tenant = caller.tenant.clone();
    let mut collections = state.reads.run(move || Ok(memory.collections().describe_all(&tenant)?)).await?;
    collections.retain(|collection| caller.reach.collection(&collection.name).is_ok());
    Ok(axum::Json(CollectionList { collections }))
}

/// `GET /v1/collections/{c}`: counts, bytes, and how far the indexes are.
#[utoipa::path(
    get,
    path = "/v1/collections/{collection}",
    tag = "collections",
    params(("collection" = String, Path)),
    responses(
        (status = 200, description = "done", body = CollectionView),
        (status = 404, description = "there is no such thing", body = Problem)
    ),
)]
pub async fn describe(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(collection): Path<String>,
) -> Result<axum::Json<CollectionView>, Problem> {
    let memory = state.memory.clone();
    let work = move || Ok(memory.collections().describe(&memory.collections().collection(&tenant, &collection)?));
    Ok(axum::Json(state.reads.run(work).await?))
}

/// `DELETE /v1/collections/{c}`: drops it with everything in it.
#[utoipa::path(
    delete,
    path = "/v1/collections/{collection}",
    tag = "collections",
    params(("collection" = String, Path)),
    responses(
        (status = 204, description = "dropped"),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 409, description = "a job is running", body = Problem)
    ),
)]
pub async fn remove(
    State(state): State<AppState>,
    caller: Caller,
    Path(collection): Path<String>,
) -> Result<StatusCode, Problem> {
    let memory = state.memory.clone();
    state
        .writes
        .run(move || Ok(memory.collections().drop_collection(&caller.tenant, &caller.actor, &collection)?))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/collections/{c}/reembed`: embeds every text anew, as a job; with `model`, by another model, to which the
/// collection moves.
#[utoipa::path(
    post,
    path = "/v1/collections/{collection}/reembed",
    tag = "jobs",
    params(("collection" = String, Path), ReembedQuery),
    responses(
        (status = 202, description = "the job is promised, whatever becomes of the box", body = JobView),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 409, description = "it exists with other settings, or a job is running", body = Problem),
        (status = 422, description = "there is no such model, or it cannot embed the collection", body = Problem)
    ),
)]
pub async fn reembed(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(collection): Path<String>,
    Query(query): Query<ReembedQuery>,
) -> Result<(StatusCode, axum::Json<JobView>), Problem> {
    let memory = state.memory.clone();
    let job = state.writes.run(move || Ok(memory.reembed(&tenant, &collection, query.model.as_deref())?)).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(job)))
}

/// `POST /v1/collections/{c}/token-vectors`: makes the vectors of tokens that records lack, as a job whose `result`
/// says how many `records` got them.
#[utoipa::path(
    post,
    path = "/v1/collections/{collection}/token-vectors",
    tag = "jobs",
    params(("collection" = String, Path)),
    responses(
        (status = 202, description = "the job is promised, whatever becomes of the box", body = JobView),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 409, description = "a job is running", body = Problem),
        (status = 422, description = "the collection keeps no vectors of tokens", body = Problem)
    ),
)]
pub async fn token_vectors(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(collection): Path<String>,
) -> Result<(StatusCode, axum::Json<JobView>), Problem> {
    let memory = state.memory.clone();
    let job = state.writes.run(move || Ok(memory.make_token_vectors(&tenant, &collection)?)).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(job)))
}

/// `POST /v1/collections/{c}/rebuild`: compacts it and builds its indexes anew, as a job.
#[utoipa::path(
    post,
    path = "/v1/collections/{collection}/rebuild",
    tag = "jobs",
    params(("collection" = String, Path)),
    responses(
        (status = 202, description = "the job is promised, whatever becomes of the box", body = JobView),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 409, description = "it exists with other settings, or a job is running", body = Problem)
    ),
)]
pub async fn rebuild(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(collection): Path<String>,
) -> Result<(StatusCode, axum::Json<JobView>), Problem> {
    let memory = state.memory.clone();
    let job = state.writes.run(move || Ok(memory.rebuild(&tenant, &collection)?)).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(job)))
}

/// `POST /v1/collections/{c}/consolidate`: near-doubles become one memory, as a job whose `result` is a
/// ConsolidateReport: of two the newer text stands, and the older is kept in its `metadata.history`. Texts are
/// doubles only if they say the same in the same words, in the same order.
#[utoipa::path(
    post,
    path = "/v1/collections/{collection}/consolidate",
    tag = "jobs",
    params(("collection" = String, Path)),
    request_body(content = ConsolidateRequest, example = json!({"threshold": 0.95, "user": "lena", "dry_run": true})),
    responses(
        (status = 202, description = "the job is promised, whatever becomes of the box", body = JobView),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 409, description = "a job is running", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem)
    ),
)]
pub async fn consolidate(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(collection): Path<String>,
    Json(request): Json<ConsolidateRequest>,
) -> Result<(StatusCode, axum::Json<JobView>), Problem> {
    let memory = state.memory.clone();
    let job = state.writes.run(move || Ok(memory.consolidate(&tenant, &collection, request)?)).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(job)))
}
