//! Keys of a tenant: made, listed and revoked by its administrators.

use crate::auth::Caller;
use crate::extract::Json;
use crate::managed::Managed;
use crate::problem::Problem;
use crate::state::AppState;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use membox_api::{ApiKeyList, CreatedApiKey, NewApiKey};
use membox_memory::{time_millis, time_text};
use std::sync::Arc;

/// `GET /v1/keys`: the keys of the tenant, of the settings and of the file of keys. No key is shown, and no whole hash.
#[utoipa::path(
    get,
    path = "/v1/keys",
    tag = "keys",
    responses((status = 200, description = "done", body = ApiKeyList)),
)]
pub async fn list(State(state): State<AppState>, caller: Caller) -> axum::Json<ApiKeyList> {
    let keys = state.keys.current();
    let own = keys.of_tenants().filter(|key| key.tenant() == caller.tenant);
    axum::Json(ApiKeyList { keys: own.map(|key| key.view()).collect() })
}

/// `POST /v1/keys`: makes a key of the tenant, which can be used once this answers. The answer is the only place where
/// the key stands; the box keeps its hash. It ends no later than the key that makes it, and may ask no more often.
#[utoipa::path(
    post,
    path = "/v1/keys",
    tag = "keys",
    request_body(
        content = NewApiKey,
        example = json!({"name": "Lena's assistant", "access": "append", "users": ["lena"]})
    ),
    responses(
        (status = 201, description = "made", body = CreatedApiKey),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 403, description = "the new key would outlive this one, or ask more often", body = Problem),
        (status = 409, description = "the box has no keys yet, or no file for them", body = Problem),
        (status = 429, description = "the tenant has as many as its policy allows", body = Problem)
    ),
)]
pub async fn create(
    State(state): State<AppState>,
    caller: Caller,
    Json(mut new): Json<NewApiKey>,
) -> Result<(StatusCode, axum::Json<CreatedApiKey>), Problem> {
    let managed = managed(&state)?;
    hold_to_own(&caller, &mut new)?;
    let memory = state.memory.clone();
    let work = move || managed.create(&memory, (&caller.tenant, &caller.actor), &new);
    let (key, made) = state.writes.run(work).await?;
    let view = made.api_key().map_err(|reason| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, reason))?.view();
    Ok((StatusCode::CREATED, axum::Json(CreatedApiKey { key, view })))
}

/// `DELETE /v1/keys/{id}`: revokes a key of the tenant. Once this answers, no request with it begins.
#[utoipa::path(
    delete,
    path = "/v1/keys/{id}",
    tag = "keys",
    params(("id" = String, Path)),
    responses(
        (status = 204, description = "revoked"),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 409, description = "the key is in the settings of the box, or it is the last one", body = Problem)
    ),
)]
pub async fn revoke(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let managed = managed(&state)?;
    let keys = state.keys.current();
    if keys.of_settings().any(|key| key.tenant() == caller.tenant && key.id() == id) {
        let detail = "this key is in the settings of the box: take it out there, and send SIGHUP";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    let memory = state.memory.clone();
    state.writes.run(move || managed.revoke(&memory, (&caller.tenant, &caller.actor), &id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn managed(state: &AppState) -> Result<Arc<Managed>, Problem> {
    let refused = |detail: &str| Problem::new(StatusCode::CONFLICT, detail);
    if state.keys.is_open() {
        // Whoever is the first could shut out everybody else.
        return Err(refused("this box has no keys: whoever runs it makes the first one by `membox keys create`"));
    }
    state.managed.clone().ok_or_else(|| refused("this box has no file of keys"))
}

/// Holds a new key to the end and the rate of the one that makes it: otherwise neither would bound anything.
fn hold_to_own(caller: &Caller, new: &mut NewApiKey) -> Result<(), Problem> {
    let (own_rate, own_end) = caller.bounds;
    if let Some(own) = own_rate
        && *new.requests_per_second.get_or_insert(own) > own
    {
        let detail = format!("this key may send {own} requests a second, and makes none that may send more");
        return Err(Problem::field(StatusCode::FORBIDDEN, "/requests_per_second", detail));
    }
    if let Some(own) = own_end {
        let wanted = new.expires_at.get_or_insert_with(|| time_text(own));
        if time_millis(wanted).is_some_and(|end| end > own) {
            let detail = format!("this key ends at {}, and makes none that ends later", time_text(own));
            return Err(Problem::field(StatusCode::FORBIDDEN, "/expires_at", detail));
        }
    }
    Ok(())
}
