//! A tenant as a whole: how it is kept, its key, and its end.

use crate::auth::{Caller, Tenant};
use crate::extract::Json;
use crate::problem::Problem;
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use membox_api::{EraseTenant, JobView, TenantView};

/// `GET /v1/tenant`: how the tenant of this key is kept: its collections, and whether they are sealed.
#[utoipa::path(
    get,
    path = "/v1/tenant",
    tag = "tenants",
    responses(
        (
            status = 200,
            description = "done",
            body = TenantView,
            example = json!({"tenant": "acme", "collections": 3, "encrypted": true, "key": 2, "settled": true})
        )
    ),
)]
pub async fn tenant(State(state): State<AppState>, Tenant(tenant): Tenant) -> Result<axum::Json<TenantView>, Problem> {
    let memory = state.memory.clone();
    Ok(axum::Json(state.reads.run(move || Ok(memory.tenants().tenant(&tenant)?)).await?))
}

/// `POST /v1/tenant:rotate`: gives the tenant a new key, and seals all of it with that, as a job; then the older
/// key is gone. It is read and written meanwhile.
#[utoipa::path(
    post,
    path = "/v1/tenant:rotate",
    tag = "tenants",
    responses(
        (status = 202, description = "the job is promised, whatever becomes of the box", body = JobView),
        (status = 409, description = "another such job runs", body = Problem),
        (status = 422, description = "the tenant is not encrypted", body = Problem)
    ),
)]
pub async fn rotate(
    State(state): State<AppState>,
    caller: Caller,
) -> Result<(StatusCode, axum::Json<JobView>), Problem> {
    let memory = state.memory.clone();
    let work = move || Ok(memory.rotate_key(&caller.tenant, &caller.actor)?);
    Ok((StatusCode::ACCEPTED, axum::Json(state.writes.run(work).await?)))
}

/// `POST /v1/tenant:erase`: erases everything of the tenant, from the files too, and its keys, as a job. Its result
/// is the receipt. Until it has ended nothing can be written: that is 409.
#[utoipa::path(
    post,
    path = "/v1/tenant:erase",
    tag = "tenants",
    request_body(content = EraseTenant, example = json!({"tenant": "acme"})),
    responses(
        (
            status = 202,
            description = "the job is promised, whatever becomes of the box; its `result` will be a TenantReceipt",
            body = JobView
        ),
        (status = 409, description = "another such job runs", body = Problem),
        (status = 422, description = "the key is another tenant's", body = Problem)
    ),
)]
pub async fn erase(
    State(state): State<AppState>,
    caller: Caller,
    Json(named): Json<EraseTenant>,
) -> Result<(StatusCode, axum::Json<JobView>), Problem> {
    if named.tenant != caller.tenant {
        let detail = "this key belongs to another tenant: name the key's own";
        return Err(Problem::field(StatusCode::UNPROCESSABLE_ENTITY, "/tenant", detail));
    }
    let memory = state.memory.clone();
    let work = move || Ok(memory.erase_tenant(&caller.tenant, &caller.actor)?);
    Ok((StatusCode::ACCEPTED, axum::Json(state.writes.run(work).await?)))
}
