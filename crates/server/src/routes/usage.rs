//! What users use, and what they may use.

use crate::auth::{Caller, Tenant};
use crate::extract::{Json, Query};
use crate::problem::Problem;
use crate::routes::sessions::page_limit;
use crate::state::AppState;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use membox_api::{QuotaSettings, UsageList, UsageQuery, UsageReport, UsageView};

/// `POST /v1/usage`: notes tokens that a user is about to use, or has used. Over the quota it is 429, `retry-after` is the next day's beginning, and
/// nothing is noted.
#[utoipa::path(post, path = "/v1/usage", tag = "users", request_body(content = UsageReport, example = json!({"user": "lena", "tokens": 1200})),
    responses((status = 200, description = "noted", body = UsageView), (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem), (status = 429, description = "that is over the quota; retry-after says when it begins anew", body = Problem)))]
pub async fn report(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Json(report): Json<UsageReport>,
) -> Result<axum::Json<UsageView>, Problem> {
    let memory = state.memory.clone();
    Ok(axum::Json(state.writes.run(move || Ok(memory.usage().report_usage(&tenant, report)?)).await?))
}

/// `GET /v1/usage`: by day, and on each day those who have used most first; kept for 90 days.
#[utoipa::path(get, path = "/v1/usage", tag = "users", params(UsageQuery),
    responses((status = 200, description = "done", body = UsageList), (status = 400, description = "a parameter is wrong", body = Problem)))]
pub async fn usage(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Query(query): Query<UsageQuery>,
) -> Result<axum::Json<UsageList>, Problem> {
    let limit = page_limit(query.limit)?;
    let memory = state.memory.clone();
    let work = move || {
        Ok(memory.usage().usage(&tenant, query.user.as_deref(), query.from.as_deref(), query.to.as_deref(), limit)?)
    };
    Ok(axum::Json(UsageList { usage: state.reads.run(work).await? }))
}

/// The user that stands for all who have no quota of their own.
const EVERYBODY: &str = "*";

fn user_or_all(user: String) -> String {
    if user == EVERYBODY { String::new() } else { user }
}

/// `PUT /v1/quotas/{u}`: a user's quota; `*` for all who have none of their own.
#[utoipa::path(put, path = "/v1/quotas/{user}", tag = "users", request_body(content = QuotaSettings, example = json!({"tokens_per_day": 10000, "price_per_1000": 0.002})), params(("user" = String, Path)),
    responses((status = 200, description = "done", body = QuotaSettings), (status = 422, description = "well-formed but impossible", body = Problem)))]
pub async fn set_quota(
    State(state): State<AppState>,
    caller: Caller,
    Path(user): Path<String>,
    Json(quota): Json<QuotaSettings>,
) -> Result<axum::Json<QuotaSettings>, Problem> {
    let memory = state.memory.clone();
    let user = user_or_all(user);
    state.writes.run(move || Ok(memory.usage().set_quota(&caller.tenant, &caller.actor, &user, Some(quota))?)).await?;
    Ok(axum::Json(quota))
}

/// `GET /v1/quotas/{u}`: what holds for a user.
#[utoipa::path(get, path = "/v1/quotas/{user}", tag = "users", params(("user" = String, Path)),
    responses((status = 200, description = "done", body = QuotaSettings), (status = 404, description = "there is none", body = Problem)))]
pub async fn quota(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(user): Path<String>,
) -> Result<axum::Json<QuotaSettings>, Problem> {
    let memory = state.memory.clone();
    Ok(axum::Json(state.reads.run(move || Ok(memory.usage().quota(&tenant, &user_or_all(user))?)).await?))
}

/// `DELETE /v1/quotas/{u}`.
#[utoipa::path(delete, path = "/v1/quotas/{user}", tag = "users", params(("user" = String, Path)), responses((status = 204, description = "taken away")))]
pub async fn remove_quota(
    State(state): State<AppState>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<StatusCode, Problem> {
    let memory = state.memory.clone();
    state
        .writes
        .run(move || Ok(memory.usage().set_quota(&caller.tenant, &caller.actor, &user_or_all(user), None)?))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
