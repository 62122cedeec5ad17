//! Records by their ids, in an order, counted, and changed many at once.

use crate::auth::{Caller, Tenant};
use crate::extract::Json;
use crate::problem::Problem;
use crate::rendered::Rendered;
use crate::state::AppState;
use axum::extract::{Path, State};
use membox_api::{
    CountAnswer, CountRequest, FacetsAnswer, FacetsRequest, GetAnswer, GetRequest, PatchManyAnswer, PatchManyRequest,
    ScrollAnswer, ScrollRequest,
};

/// `POST /v1/collections/{c}/records:get`: records by their ids, in the order that they are named in.
#[utoipa::path(
    post,
    path = "/v1/collections/{collection}/records:get",
    tag = "records",
    params(("collection" = String, Path)),
    request_body(content = GetRequest, example = json!({"ids": ["key", "car"], "with": ["vector"]})),
    responses(
        (status = 200, description = "done", body = GetAnswer),
        (status = 404, description = "there is no such collection", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem)
    ),
)]
pub async fn get_many(
    State(state): State<AppState>,
    caller: Caller,
    Path(collection): Path<String>,
    Json(request): Json<GetRequest>,
) -> Result<Rendered<GetAnswer>, Problem> {
    let memory = state.memory.clone();
    let work = move || {
        let mut answer = memory.records().get_many(&caller.tenant, &collection, &request)?;
        // What the key does not reach is as if it were not there.
        let (reached, others) = answer.records.into_iter().partition(|listed| caller.reaches(&listed.record));
        answer.records = reached;
        let others: Vec<membox_api::ListedRecord> = others;
        answer.missing.extend(others.into_iter().map(|listed| listed.record.id));
        Rendered::of(&answer)
    };
    state.reads.run(work).await
}

/// `POST /v1/collections/{c}/records:count`: how many there are, of those that a filter allows.
#[utoipa::path(
    post,
    path = "/v1/collections/{collection}/records:count",
    tag = "records",
    params(("collection" = String, Path)),
    request_body(content = CountRequest, example = json!({"filter": {"field": "metadata.topic", "eq": "house"}})),
    responses(
        (status = 200, description = "done", body = CountAnswer),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such collection", body = Problem)
    ),
)]
pub async fn count(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(collection): Path<String>,
    Json(request): Json<CountRequest>,
) -> Result<axum::Json<CountAnswer>, Problem> {
    let memory = state.memory.clone();
    let work = move || Ok(memory.records().count(&tenant, &collection, request.filter.as_ref())?);
    Ok(axum::Json(CountAnswer { count: state.reads.run(work).await? }))
}

/// `POST /v1/collections/{c}/records:facets`: the values of fields, and how many records have each.
#[utoipa::path(
    post,
    path = "/v1/collections/{collection}/records:facets",
    tag = "records",
    params(("collection" = String, Path)),
    request_body(content = FacetsRequest, example = json!({"fields": ["metadata.topic", "kind"], "limit": 5})),
    responses(
        (status = 200, description = "done", body = FacetsAnswer),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such collection", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem)
    ),
)]
pub async fn facets(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(collection): Path<String>,
    Json(request): Json<FacetsRequest>,
) -> Result<Rendered<FacetsAnswer>, Problem> {
    let memory = state.memory.clone();
    let work = move || Rendered::of(&memory.records().facets(&tenant, &collection, &request)?);
    state.reads.run(work).await
}

/// `POST /v1/collections/{c}/records:scroll`: a part of them in the order of a field.
#[utoipa::path(
    post,
    path = "/v1/collections/{collection}/records:scroll",
    tag = "records",
    params(("collection" = String, Path)),
    request_body(
        content = ScrollRequest,
        example = json!({"order_by": {"field": "importance", "direction": "desc"}, "offset": 20, "limit": 20})
    ),
    responses(
        (status = 200, description = "done", body = ScrollAnswer),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such collection", body = Problem)
    ),
)]
pub async fn scroll(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(collection): Path<String>,
    Json(request): Json<ScrollRequest>,
) -> Result<Rendered<ScrollAnswer>, Problem> {
    let memory = state.memory.clone();
    let work = move || Rendered::of(&memory.records().scroll(&tenant, &collection, &request)?);
    state.reads.run(work).await
}

/// `POST /v1/collections/{c}/records:patch`: one change of many records, all in one commit.
#[utoipa::path(
    post,
    path = "/v1/collections/{collection}/records:patch",
    tag = "records",
    params(("collection" = String, Path)),
    request_body(
        content = PatchManyRequest,
        example = json!({"ids": ["key", "car"], "patch": {"metadata": {"topic": "garden"}}})
    ),
    responses(
        (status = 200, description = "done", body = PatchManyAnswer),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such collection", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem)
    ),
)]
pub async fn patch_many(
    State(state): State<AppState>,
    caller: Caller,
    Path(collection): Path<String>,
    Json(request): Json<PatchManyRequest>,
) -> Result<axum::Json<PatchManyAnswer>, Problem> {
    let memory = state.memory.clone();
    let work = move || {
        caller.hold_patch(&memory, &request.patch)?;
        let looked_at = request.ids.iter().map(|id| caller.looked_at(&memory, &collection, id));
        let looked_at: Option<Vec<u64>> = looked_at.collect::<Result<_, _>>()?;
        Ok(memory.records().patch_many(&caller.tenant, &collection, &request, looked_at.as_deref())?)
    };
    Ok(axum::Json(state.writes.run(work).await?))
}
