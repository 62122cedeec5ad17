//! Which models there are, as OpenAI has it.

use crate::auth::Tenant;
use crate::problem::Problem;
use crate::state::AppState;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use membox_api::{ModelList, ModelView};
use std::time::UNIX_EPOCH;

/// The alias of a model that takes any name.
const ANY_NAME: &str = "*";

/// The names of the model that embeds texts, its own first.
fn names(state: &AppState) -> Result<impl Iterator<Item = &str>, Problem> {
    let own = state.memory.models().encoder()?.name();
    let aliases = state.model_aliases.iter().map(String::as_str);
    Ok(std::iter::once(own).chain(aliases.filter(move |alias| *alias != own && *alias != ANY_NAME)))
}

fn view(state: &AppState, id: &str) -> Result<ModelView, Problem> {
    let created = state.started_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let checksums = state.memory.models().encoder()?.checked_by().name();
    Ok(ModelView { id: id.to_owned(), object: "model", created, owned_by: "membox", checksums })
}

/// Refuses a model that is not there, and says which ones are.
pub(super) fn check_name(state: &AppState, wanted: &str) -> Result<(), Problem> {
    let mut names = names(state)?;
    if names.any(|name| name == wanted) || state.model_aliases.iter().any(|alias| alias == ANY_NAME) {
        return Ok(());
    }
    let known = self::names(state)?.map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    let detail = format!(
        "there is no model {wanted:?} here; there is {known} (model_aliases in membox.toml gives it further names)"
    );
    Err(Problem::field(StatusCode::NOT_FOUND, "/model", detail))
}

/// `GET /v1/models`: the names that `model` takes.
#[utoipa::path(
    get,
    path = "/v1/models",
    tag = "engines",
    responses(
        (status = 200, description = "done", body = ModelList),
        (status = 503, description = "no model is installed", body = Problem)
    ),
)]
pub async fn list(State(state): State<AppState>, _: Tenant) -> Result<axum::Json<ModelList>, Problem> {
    let data = names(&state)?.map(|name| view(&state, name)).collect::<Result<_, _>>()?;
    Ok(axum::Json(ModelList { object: "list", data }))
}

/// `GET /v1/models/{model}`: a model by its name.
#[utoipa::path(
    get,
    path = "/v1/models/{model}",
    tag = "engines",
    params(("model" = String, Path)),
    responses(
        (status = 200, description = "done", body = ModelView),
        (status = 404, description = "there is no such thing", body = Problem)
    ),
)]
pub async fn get(
    State(state): State<AppState>,
    _: Tenant,
    Path(model): Path<String>,
) -> Result<axum::Json<ModelView>, Problem> {
    check_name(&state, &model)?;
    Ok(axum::Json(view(&state, &model)?))
}

/// `GET /v1/models/{organisation}/{model}`: the same, for a name with a slash that the client has not escaped.
#[utoipa::path(
    get,
    path = "/v1/models/{organisation}/{model}",
    tag = "engines",
    params(("organisation" = String, Path), ("model" = String, Path)),
    responses(
        (status = 200, description = "done", body = ModelView),
        (status = 404, description = "there is no such thing", body = Problem)
    ),
)]
pub async fn get_of(
    state: State<AppState>,
    tenant: Tenant,
    Path((organisation, model)): Path<(String, String)>,
) -> Result<axum::Json<ModelView>, Problem> {
    get(state, tenant, Path(format!("{organisation}/{model}"))).await
}
