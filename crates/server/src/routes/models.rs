//! Which models there are, as OpenAI has it.

use crate::auth::Tenant;
use crate::problem::Problem;
use crate::state::AppState;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use membox_api::{ModelList, ModelView};
use membox_memory::MemoryError;
use membox_memory::encoder::{Encoder, ModelKind};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// The alias of a model that takes any name.
const ANY_NAME: &str = "*";

/// The names of the box's own model, its own first.
fn own_names(state: &AppState) -> impl Iterator<Item = &str> {
    let own = state.memory.models().encoder().ok().map(|encoder| encoder.name());
    let aliases = state.model_aliases.iter().map(String::as_str);
    let aliases = aliases.filter(move |alias| own.is_some_and(|own| own != *alias) && *alias != ANY_NAME);
    own.into_iter().chain(aliases)
}

/// The names of all models that embed texts.
fn names(state: &AppState) -> impl Iterator<Item = &str> {
    let further = state.memory.models().further.all().iter();
    own_names(state).chain(further.flat_map(|m| std::iter::once(&m.name).chain(&m.aliases)).map(String::as_str))
}

fn view(state: &AppState, id: &str) -> ModelView {
    let created = state.started_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let models = state.memory.models();
    let loaded = match own_names(state).any(|name| name == id) {
        true => models.encoder().ok().cloned(),
        false => models
            .further
            .loaded()
            .into_iter()
            .find(|encoder| models.further.find(id).is_some_and(|model| model.name == encoder.name())),
    };
    let checksums = loaded.as_ref().map(|encoder| encoder.checked_by().name());
    let dimension = loaded.as_ref().map(|encoder| encoder.dimension());
    let loaded = loaded.is_some();
    let kind = models.further.find(id).map_or(ModelKind::Embedding, |model| model.kind).name();
    ModelView { id: id.to_owned(), object: "model", created, owned_by: "membox", kind, loaded, dimension, checksums }
}

/// That a model is not there, and which ones are.
fn unknown(state: &AppState, wanted: &str) -> Problem {
    let embeds =
        |name: &&str| state.memory.models().further.find(name).is_none_or(|model| model.kind == ModelKind::Embedding);
    let known = names(state).filter(embeds).map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    let detail = format!(
        "there is no model {wanted:?} here; there is {known} (in membox.toml, models adds others and model_aliases \
         further names)"
    );
    Problem::field(StatusCode::NOT_FOUND, "/model", detail)
}

/// The encoder that a request names, or the box's own where it names none. One that is not loaded yet is loaded first.
pub(super) async fn encoder(state: &AppState, wanted: Option<&str>) -> Result<Arc<Encoder>, Problem> {
    let models = state.memory.models();
    let Some(wanted) = wanted.filter(|wanted| own_names(state).all(|name| name != *wanted)) else {
        return Ok(models.encoder()?.clone());
    };
    let embeds = models.further.find(wanted).filter(|model| model.kind == ModelKind::Embedding);
    if let Some(loaded) = embeds.and_then(|model| models.further.if_loaded(&model.name)) {
        return Ok(loaded);
    }
    let (memory, name) = (state.memory.clone(), wanted.to_owned());
    let found = match embeds {
        Some(_) => state.reads.run(move || Ok(memory.models().encoder_named(&name)?)).await?,
        None => None,
    };
    match found {
        Some(encoder) => Ok(encoder),
        None if state.model_aliases.iter().any(|alias| alias == ANY_NAME) => Ok(models.encoder()?.clone()),
        None => {
            models.encoder()?;
            Err(unknown(state, wanted))
        }
    }
}

/// The same, where any name is taken.
pub(super) async fn encoder_or_own(state: &AppState, wanted: Option<&str>) -> Result<Arc<Encoder>, Problem> {
    encoder(state, wanted.filter(|wanted| names(state).any(|name| name == *wanted))).await
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
    let data: Vec<ModelView> = names(&state).map(|name| view(&state, name)).collect();
    if data.is_empty() {
        return Err(MemoryError::NoModel.into());
    }
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
    if names(&state).all(|name| name != model) && !state.model_aliases.iter().any(|alias| alias == ANY_NAME) {
        state.memory.models().encoder()?;
        return Err(unknown(&state, &model));
    }
    Ok(axum::Json(view(&state, &model)))
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
