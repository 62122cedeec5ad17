//! Records: write, read, page, change, delete.

use crate::access::{Named, Reach};
use crate::auth::Caller;
use crate::etag::{if_match, version_header};
use crate::extract::{Json, Query, from_value};
use crate::json::{self, Fault, Numbers};
use crate::problem::Problem;
use crate::rendered::Rendered;
use crate::state::AppState;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use membox_api::{
    CompressOptions, DeleteAnswer, DeleteRequest, ForgetAnswer, ForgetRequest, NewRecord, Page, PageQuery, RecordPatch,
    RecordView, UpsertAnswer,
};
use membox_memory::{Kept, MemoryBox, MemoryError, Order, Position, check_numbers};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Records a page unless said otherwise, and at most.
const PAGE: usize = 20;
const MAX_PAGE: usize = 1000;

/// Records to be written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpsertRequest {
    /// 1 to 2 048 of them: all are kept, or none.
    #[schema(min_items = 1, max_items = 2048)]
    records: Vec<NewRecord>,
    /// Keep only what compression leaves of the texts: true, or the options of `/v1/compress`. The vectors are
    /// still those of the whole texts. What was left out is gone; to keep it and to compress at recall instead, say
    /// nothing here and `compress` in the budget there.
    #[serde(default)]
    compress: CompressOnWrite,
}

impl Named for UpsertRequest {
    fn hold(&mut self, reach: &Reach) -> Result<(), Problem> {
        self.records.hold(reach)
    }
}

/// Whether and how texts are compressed when they are written.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum CompressOnWrite {
    /// With the defaults, or not.
    Plainly(bool),
    /// So.
    With(Box<CompressOptions>),
}

impl<'de> Deserialize<'de> for CompressOnWrite {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// As it is written. What serde reads in one of several forms it has read before it knows which: the
        /// options are read on their own.
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "true, false or the options of a compression are wanted")]
        enum Written {
            Plainly(bool),
            With(Map<String, Value>),
        }

        match Written::deserialize(deserializer)? {
            Written::Plainly(yes) => Ok(Self::Plainly(yes)),
            Written::With(options) => from_value(&Value::Object(options), Numbers::Plain)
                .map(|options| Self::With(Box::new(options)))
                .map_err(|problem| D::Error::custom(&problem.detail)),
        }
    }
}

impl Default for CompressOnWrite {
    fn default() -> Self {
        Self::Plainly(false)
    }
}

impl CompressOnWrite {
    fn options(self) -> Option<CompressOptions> {
        match self {
            Self::Plainly(yes) => yes.then(CompressOptions::default),
            Self::With(options) => Some(*options),
        }
    }
}

/// `POST /v1/collections/{c}/records`: when it answers, the records are durable and can be recalled.
#[utoipa::path(
    post,
    path = "/v1/collections/{collection}/records",
    tag = "records",
    params(("collection" = String, Path)),
    request_body(
        content = UpsertRequest,
        example = json!(
            {
                "records": [
                    {
                        "id": "key",
                        "text": "The spare key is under the blue pot.",
                        "user": "lena",
                        "metadata": {"topic": "house"}
                    }
                ]
            }
        )
    ),
    responses(
        (status = 200, description = "done", body = UpsertAnswer),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 412, description = "the version is another one", body = Problem),
        (status = 413, description = "over a limit of this box", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem),
        (status = 507, description = "the disk is full; nothing of the request was kept", body = Problem)
    ),
)]
pub async fn upsert(
    State(state): State<AppState>,
    caller: Caller,
    Path(collection): Path<String>,
    Json(request): Json<UpsertRequest>,
) -> Result<axum::Json<UpsertAnswer>, Problem> {
    let memory = state.memory.clone();
    let compress = request.compress.options();
    let work = move || {
        let mut records = request.records;
        caller.hold_records(&memory, &collection, &mut records)?;
        let written = memory.records().remember(&caller.tenant, &collection, records, compress.as_ref());
        written.map_err(|error| {
            let is_of_compression = matches!(error, MemoryError::Compressor(_));
            let mut problem = caller.own_conflict("record", error);
            if is_of_compression {
                problem.errors.iter_mut().for_each(|field| field.pointer.insert_str(0, "/compress"));
            }
            problem
        })
    };
    Ok(axum::Json(UpsertAnswer { records: state.writes.run(work).await? }))
}

/// A filter that is a text in the query of an URL.
pub(super) fn filter_of_query(text: &str) -> Result<Value, Problem> {
    check_numbers(text, Kept::Everything, "/filter")?;
    json::read::<Value>(text, Numbers::Plain)
        .map_err(|Fault { error, .. }| Problem::field(StatusCode::BAD_REQUEST, "/filter", format!("not JSON: {error}")))
}

/// `GET /v1/collections/{c}/records`: pages that go on where they ended, whatever is written between.
#[utoipa::path(
    get,
    path = "/v1/collections/{collection}/records",
    tag = "records",
    params(("collection" = String, Path), PageQuery),
    responses(
        (status = 200, description = "done", body = Page),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem)
    ),
)]
pub async fn page(
    State(state): State<AppState>,
    caller: Caller,
    Path(collection): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Rendered<Page>, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
    let order = match query.order.as_deref() {
        None | Some("written") => Order::Written,
        Some("oldest") => Order::Oldest,
        Some("newest") => Order::Newest,
        Some(other) => return Err(bad(format!("order is written, oldest or newest, not {other:?}"))),
    };
    let limit = query.limit.unwrap_or(PAGE);
    if limit == 0 || limit > MAX_PAGE {
        return Err(bad(format!("limit is {limit}; 1 to {MAX_PAGE} is possible")));
    }
    let mut filter = query.filter.as_deref().map(filter_of_query).transpose()?;
    caller.reach.narrow(&mut filter)?;
    let memory = state.memory.clone();
    let work = move || {
        let tenant = caller.tenant;
        let purpose = format!("records by {order:?}");
        let read =
            |cursor: &str| memory.cursors().unseal(&tenant, &purpose, cursor, "/cursor").map(|[time, seq]| (time, seq));
        let after: Option<Position> = query.cursor.as_deref().map(read).transpose()?;
        let records = memory.records();
        let (records, next) = if query.payload {
            records.page_with_payloads(&tenant, &collection, order, after, limit, filter.as_ref())?
        } else {
            records.page(&tenant, &collection, order, after, limit, filter.as_ref())?
        };
        let next = next.map(|(time, seq)| memory.cursors().seal(&tenant, &purpose, &[time, seq])).transpose()?;
        Rendered::of(&Page { records, next })
    };
    state.reads.run(work).await
}

/// `GET /v1/collections/{c}/records/{id}`.
#[utoipa::path(
    get,
    path = "/v1/collections/{collection}/records/{id}",
    tag = "records",
    params(("collection" = String, Path), ("id" = String, Path)),
    responses(
        (status = 200, description = "done", body = RecordView),
        (status = 404, description = "there is no such thing", body = Problem)
    ),
)]
pub async fn get(
    State(state): State<AppState>,
    caller: Caller,
    Path((collection, id)): Path<(String, String)>,
) -> Result<(HeaderMap, axum::Json<RecordView>), Problem> {
    let memory = state.memory.clone();
    let view = state.reads.run(move || caller.record(&memory, &collection, &id)).await?;
    Ok((version_header(view.version), axum::Json(view)))
}

/// `PATCH /v1/collections/{c}/records/{id}`: what is left out stays; metadata is merged.
#[utoipa::path(
    patch,
    path = "/v1/collections/{collection}/records/{id}",
    tag = "records",
    params(
        ("collection" = String, Path),
        ("id" = String, Path),
        ("if-match" = Option<String>, Header, description = "the version that it must have")
    ),
    request_body(content = RecordPatch, example = json!({"metadata": {"topic": "garden"}, "importance": 0.8})),
    responses(
        (status = 200, description = "done", body = RecordView),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 412, description = "the version is another one", body = Problem)
    ),
)]
pub async fn patch(
    State(state): State<AppState>,
    caller: Caller,
    Path((collection, id)): Path<(String, String)>,
    headers: HeaderMap,
    Json(patch): Json<RecordPatch>,
) -> Result<(HeaderMap, axum::Json<RecordView>), Problem> {
    let expected = if_match(&headers)?;
    let memory = state.memory.clone();
    let work = move || {
        let expected = caller.hold_version(&memory, &collection, &id, expected)?;
        caller.hold_patch(&memory, &patch)?;
        let tenant = &caller.tenant;
        let current = || Ok(memory.records().record(tenant, &collection, &id)?.version);
        expected.run(&patch, current, |patch, version| memory.records().patch(tenant, &collection, &id, patch, version))
    };
    let view = state.writes.run(work).await?;
    Ok((version_header(view.version), axum::Json(view)))
}

/// `DELETE /v1/collections/{c}/records/{id}`.
#[utoipa::path(
    delete,
    path = "/v1/collections/{collection}/records/{id}",
    tag = "records",
    params(
        ("collection" = String, Path),
        ("id" = String, Path),
        ("if-match" = Option<String>, Header, description = "the version that it must have")
    ),
    responses(
        (status = 204, description = "deleted"),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 412, description = "the version is another one", body = Problem)
    ),
)]
pub async fn delete(
    State(state): State<AppState>,
    caller: Caller,
    Path((collection, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let expected = if_match(&headers)?;
    let memory = state.memory.clone();
    let named = id.clone();
    let work = move || {
        let expected = caller.hold_version(&memory, &collection, &named, expected)?;
        let Caller { tenant, actor, .. } = &caller;
        let current = || Ok(memory.records().record(tenant, &collection, &named)?.version);
        expected.run(&named, current, |id, version| {
            memory.records().delete(tenant, actor, &collection, vec![(id.clone(), version)])
        })
    };
    let deleted = state.writes.run(work).await?;
    match deleted {
        0 => Err(membox_memory::MemoryError::NoRecord(id).into()),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// `POST /v1/collections/{c}/forget`: the least valuable memories go until `keep` are left, in one commit. Worth is
/// importance, halved with each half-life of age; `metadata.pinned` keeps a memory.
#[utoipa::path(
    post,
    path = "/v1/collections/{collection}/forget",
    tag = "records",
    params(("collection" = String, Path)),
    request_body(content = ForgetRequest, example = json!({"keep": 1000, "user": "lena", "dry_run": true})),
    responses(
        (status = 200, description = "done", body = ForgetAnswer),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem)
    ),
)]
pub async fn forget(
    State(state): State<AppState>,
    caller: Caller,
    Path(collection): Path<String>,
    Json(request): Json<ForgetRequest>,
) -> Result<axum::Json<ForgetAnswer>, Problem> {
    let memory = state.memory.clone();
    let work = move || Ok(memory.memories().forget(&caller.tenant, &caller.actor, &collection, &request)?);
    Ok(axum::Json(state.writes.run(work).await?))
}

/// `POST /v1/collections/{c}/records:delete`: by ids or by filter, in one commit.
#[utoipa::path(
    post,
    path = "/v1/collections/{collection}/records:delete",
    tag = "records",
    params(("collection" = String, Path)),
    request_body(content = DeleteRequest, example = json!({"ids": ["key"]})),
    responses(
        (status = 200, description = "done", body = DeleteAnswer),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem)
    ),
)]
pub async fn delete_many(
    State(state): State<AppState>,
    caller: Caller,
    Path(collection): Path<String>,
    Json(request): Json<DeleteRequest>,
) -> Result<axum::Json<DeleteAnswer>, Problem> {
    let memory = state.memory.clone();
    let work = move || delete_selected(&memory, &caller, &collection, request);
    Ok(axum::Json(DeleteAnswer { deleted: state.writes.run(work).await? }))
}

/// Deletes by ids or by a filter. Gives how many there were.
pub(crate) fn delete_selected(
    memory: &MemoryBox,
    caller: &Caller,
    collection: &str,
    request: DeleteRequest,
) -> Result<usize, Problem> {
    let Caller { tenant, actor, .. } = caller;
    match (request.ids, request.filter) {
        (Some(ids), None) => {
            let ids = ids.into_iter().map(|id| (id, None)).collect();
            Ok(memory.records().delete(tenant, actor, collection, ids)?)
        }
        (None, Some(filter)) => Ok(memory.records().delete_by_filter(tenant, actor, collection, &filter)?),
        _ => Err(Problem::field(StatusCode::BAD_REQUEST, "/ids", "exactly one of ids and filter is wanted")),
    }
}
