//! Sessions: messages in order, what of them goes into the next prompt, and inputs that wait.

use crate::auth::{Caller, Tenant};
use crate::cursor;
use crate::etag::{IfMatch, if_match, version_header};
use crate::extract::{Json, Query};
use crate::problem::Problem;
use crate::rendered::Rendered;
use crate::state::AppState;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use membox_api::{
    AppendAnswer, AppendRequest, ContextAnswer, ContextRequest, DeletedMessages, MediaQuery, MessageList, MessagePatch,
    MessageView, MessagesQuery, PushAnswer, PushRequest, QueueItems, QueueQuery, SessionList, SessionSettings,
    SessionView, SessionsQuery, TakeRequest,
};
use membox_memory::{MemoryBox, MemoryError, MessageQuery};

/// Sessions or messages a page unless said otherwise, and at most.
const PAGE: usize = 20;
const MAX_PAGE: usize = 1000;

pub(super) fn page_limit(limit: Option<usize>) -> Result<usize, Problem> {
    check_limit("limit", limit.unwrap_or(PAGE))
}

fn check_limit(name: &str, limit: usize) -> Result<usize, Problem> {
    if (1..=MAX_PAGE).contains(&limit) {
        return Ok(limit);
    }
    let detail = format!("{name} is {limit}; 1 to {MAX_PAGE} is possible");
    Err(Problem::field(StatusCode::BAD_REQUEST, format!("/{name}"), detail))
}

/// The version that a session is at; 0 where it is not there.
fn session_version(memory: &MemoryBox, tenant: &str, session: &str) -> Result<u64, MemoryError> {
    match memory.sessions().session(tenant, session) {
        Ok(view) => Ok(view.version),
        Err(MemoryError::NoSession(_)) => Ok(0),
        Err(error) => Err(error),
    }
}

/// `GET /v1/sessions`: the tenant's sessions, newest first.
#[utoipa::path(
    get,
    path = "/v1/sessions",
    tag = "sessions",
    params(SessionsQuery),
    responses(
        (status = 200, description = "done", body = SessionList),
        (status = 400, description = "a parameter is wrong", body = Problem)
    ),
)]
pub async fn list(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Query(query): Query<SessionsQuery>,
) -> Result<axum::Json<SessionList>, Problem> {
    let limit = page_limit(query.limit)?;
    let memory = state.memory.clone();
    let work = move || {
        let before = cursor::read(&memory, &tenant, "sessions", query.cursor.as_deref())?;
        let (sessions, next) = memory.sessions().sessions(&tenant, query.user.as_deref(), before, limit)?;
        Ok(SessionList { sessions, next: cursor::write(&memory, &tenant, "sessions", next)? })
    };
    Ok(axum::Json(state.reads.run(work).await?))
}

/// `PUT /v1/sessions/{s}`: makes it, or changes what is said of it. An append makes it too.
#[utoipa::path(
    put,
    path = "/v1/sessions/{session}",
    tag = "sessions",
    request_body(
        content = SessionSettings,
        example = json!({"user": "lena", "max_messages": 200, "metadata": {"channel": "phone"}})
    ),
    params(
        ("session" = String, Path),
        ("if-match" = Option<String>, Header, description = "the version that it must have")
    ),
    responses(
        (status = 200, description = "it was there", body = SessionView),
        (status = 201, description = "created", body = SessionView),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 409, description = "it has another user or collection", body = Problem),
        (status = 412, description = "the version is another one", body = Problem)
    ),
)]
pub async fn put(
    State(state): State<AppState>,
    caller: Caller,
    Path(session): Path<String>,
    headers: HeaderMap,
    Json(settings): Json<SessionSettings>,
) -> Result<(StatusCode, HeaderMap, axum::Json<SessionView>), Problem> {
    let expected = if_match(&headers)?;
    let memory = state.memory.clone();
    let work = move || {
        let tenant = &caller.tenant;
        if caller.only_adds() {
            // What is there stays as it is.
            if ![IfMatch::Unsaid, IfMatch::OneOf(vec![0])].contains(&expected) {
                return Err(caller.is_there("session", &session));
            }
            let made = memory.sessions().put_session(tenant, &session, settings, Some(0));
            return made.map_err(|error| caller.own_conflict("session", error));
        }
        let current = || session_version(&memory, tenant, &session);
        let put = |settings, version| memory.sessions().put_session(tenant, &session, settings, version);
        expected.run(settings, current, put)
    };
    let (view, created) = state.writes.run(work).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, version_header(view.version), axum::Json(view)))
}

/// `GET /v1/sessions/{s}`.
#[utoipa::path(
    get,
    path = "/v1/sessions/{session}",
    tag = "sessions",
    params(("session" = String, Path)),
    responses(
        (status = 200, description = "done", body = SessionView),
        (status = 404, description = "there is no such thing", body = Problem)
    ),
)]
pub async fn get(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(session): Path<String>,
) -> Result<(HeaderMap, axum::Json<SessionView>), Problem> {
    let memory = state.memory.clone();
    let view = state.reads.run(move || Ok(memory.sessions().session(&tenant, &session)?)).await?;
    Ok((version_header(view.version), axum::Json(view)))
}

/// `DELETE /v1/sessions/{s}`: with its messages, archived ones too, and its queue.
#[utoipa::path(
    delete,
    path = "/v1/sessions/{session}",
    tag = "sessions",
    params(("session" = String, Path)),
    responses(
        (status = 200, description = "done", body = DeletedMessages),
        (status = 404, description = "there is no such thing", body = Problem)
    ),
)]
pub async fn delete(
    State(state): State<AppState>,
    caller: Caller,
    Path(session): Path<String>,
) -> Result<axum::Json<DeletedMessages>, Problem> {
    let memory = state.memory.clone();
    let deleted = state
        .writes
        .run(move || Ok(memory.sessions().delete_session(&caller.tenant, &caller.actor, &session)?))
        .await?;
    Ok(axum::Json(DeletedMessages { deleted }))
}

/// `POST /v1/sessions/{s}/messages`: when it answers, the messages are durable, in their places, and can be
/// recalled. With `if-match` the session must be at that version, or `on_conflict` says what is done.
#[utoipa::path(
    post,
    path = "/v1/sessions/{session}/messages",
    tag = "sessions",
    request_body(
        content = AppendRequest,
        example = json!(
            {
                "user": "lena",
                "messages": [
                    {"id": "m1", "role": "user", "content": "Where did I put the spare key?"},
                    {"role": "assistant", "content": "Under the blue pot."}
                ]
            }
        )
    ),
    params(
        ("session" = String, Path),
        (
            "if-match" = Option<String>,
            Header,
            description = "the version that it must have; 0 where it must not be there"
        )
    ),
    responses(
        (status = 200, description = "done", body = AppendAnswer),
        (status = 400, description = "a field is missing or wrong; `errors` names it", body = Problem),
        (status = 404, description = "the collection that is named is not there", body = Problem),
        (
            status = 409,
            description = "the session has another user or collection, or a message of that id says something else",
            body = Problem
        ),
        (status = 412, description = "the version is another one; `detail` says which", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem),
        (status = 507, description = "the disk is full; nothing of the request was kept", body = Problem)
    ),
)]
pub async fn append(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(session): Path<String>,
    headers: HeaderMap,
    Json(mut request): Json<AppendRequest>,
) -> Result<(HeaderMap, axum::Json<AppendAnswer>), Problem> {
    let expected = if_match(&headers)?;
    let memory = state.memory.clone();
    if expected == IfMatch::Any {
        // Any version is the expected one: there is no conflict.
        request.on_conflict = None;
    }
    let work = move || {
        let current = || session_version(&memory, &tenant, &session);
        expected.run(request, current, |request, version| memory.sessions().append(&tenant, &session, request, version))
    };
    let answer = state.writes.run(work).await?;
    Ok((version_header(answer.version), axum::Json(answer)))
}

/// `GET /v1/sessions/{s}/messages`: pages that go on where they ended, whatever is written between.
#[utoipa::path(
    get,
    path = "/v1/sessions/{session}/messages",
    tag = "sessions",
    params(("session" = String, Path), MessagesQuery),
    responses(
        (status = 200, description = "done", body = MessageList),
        (status = 400, description = "a parameter is wrong", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem)
    ),
)]
pub async fn messages(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(session): Path<String>,
    Query(query): Query<MessagesQuery>,
) -> Result<Rendered<MessageList>, Problem> {
    let newest_first = match query.order.as_deref() {
        None | Some("oldest") => false,
        Some("newest") => true,
        Some(other) => {
            let detail = format!("order is oldest or newest, not {other:?}");
            return Err(Problem::field(StatusCode::BAD_REQUEST, "/order", detail));
        }
    };
    let wanted = MessageQuery {
        limit: page_limit(query.limit)?,
        after: query.cursor,
        newest_first,
        words: query.q,
        modality: query.modality,
    };
    let memory = state.memory.clone();
    let work = move || {
        let (messages, next) = memory.sessions().messages(&tenant, &session, &wanted)?;
        Rendered::of(&MessageList { messages, next })
    };
    state.reads.run(work).await
}

/// `GET /v1/sessions/{s}/messages/{m}`.
#[utoipa::path(
    get,
    path = "/v1/sessions/{session}/messages/{message}",
    tag = "sessions",
    params(("session" = String, Path), ("message" = String, Path)),
    responses(
        (status = 200, description = "done", body = MessageView),
        (status = 404, description = "there is no such thing", body = Problem)
    ),
)]
pub async fn message(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path((session, message)): Path<(String, String)>,
) -> Result<(HeaderMap, axum::Json<MessageView>), Problem> {
    let memory = state.memory.clone();
    let view = state.reads.run(move || Ok(memory.sessions().message(&tenant, &session, &message)?)).await?;
    Ok((version_header(view.version), axum::Json(view)))
}

/// `GET /v1/sessions/{s}/messages/{m}/media`: the image or the recording of a message, as it was given.
#[utoipa::path(
    get,
    path = "/v1/sessions/{session}/messages/{message}/media",
    tag = "sessions",
    params(("session" = String, Path), ("message" = String, Path), MediaQuery),
    responses(
        (status = 200, description = "the file", content_type = "application/octet-stream", body = Vec<u8>),
        (status = 404, description = "there is no such thing", body = Problem)
    ),
)]
pub async fn media(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path((session, message)): Path<(String, String)>,
    Query(query): Query<MediaQuery>,
) -> Result<(HeaderMap, Vec<u8>), Problem> {
    let memory = state.memory.clone();
    let file =
        state.reads.run(move || Ok(memory.sessions().media(&tenant, &session, &message, query.thumbnail)?)).await?;
    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_str(&file.content_type);
    headers.insert(header::CONTENT_TYPE, kind.unwrap_or(HeaderValue::from_static("application/octet-stream")));
    // Whatever was given, a browser runs nothing of it.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    Ok((headers, file.bytes))
}

/// `PATCH /v1/sessions/{s}/messages/{m}`: merges into its metadata, or gives an image a caption and a recording a
/// transcript, and sets `updated_at`.
#[utoipa::path(
    patch,
    path = "/v1/sessions/{session}/messages/{message}",
    tag = "sessions",
    request_body(content = MessagePatch, example = json!({"metadata": {"rating": 5, "draft": null}})),
    params(
        ("session" = String, Path),
        ("message" = String, Path),
        ("if-match" = Option<String>, Header, description = "the version that the message must have")
    ),
    responses(
        (status = 200, description = "done", body = MessageView),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 412, description = "the version is another one", body = Problem)
    ),
)]
pub async fn patch_message(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path((session, message)): Path<(String, String)>,
    headers: HeaderMap,
    Json(patch): Json<MessagePatch>,
) -> Result<(HeaderMap, axum::Json<MessageView>), Problem> {
    let expected = if_match(&headers)?;
    let memory = state.memory.clone();
    let work = move || {
        let current = || Ok(memory.sessions().message(&tenant, &session, &message)?.version);
        let change = |patch, version| memory.sessions().patch_message(&tenant, &session, &message, patch, version);
        expected.run(patch, current, change)
    };
    let view = state.writes.run(work).await?;
    Ok((version_header(view.version), axum::Json(view)))
}

/// `DELETE /v1/sessions/{s}/messages/{m}`.
#[utoipa::path(
    delete,
    path = "/v1/sessions/{session}/messages/{message}",
    tag = "sessions",
    params(
        ("session" = String, Path),
        ("message" = String, Path),
        ("if-match" = Option<String>, Header, description = "the version that the message must have")
    ),
    responses(
        (status = 204, description = "deleted"),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 412, description = "the version is another one", body = Problem)
    ),
)]
pub async fn delete_message(
    State(state): State<AppState>,
    Caller { tenant, actor, .. }: Caller,
    Path((session, message)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let expected = if_match(&headers)?;
    let memory = state.memory.clone();
    let work = move || {
        let current = || Ok(memory.sessions().message(&tenant, &session, &message)?.version);
        let delete = |(), version| memory.sessions().delete_message(&tenant, &actor, &session, &message, version);
        expected.run((), current, delete)
    };
    state.writes.run(work).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/sessions/{s}/context`: the messages that go into the next prompt, within a budget of tokens.
#[utoipa::path(
    get,
    path = "/v1/sessions/{session}/context",
    tag = "sessions",
    params(("session" = String, Path), ContextRequest),
    responses(
        (status = 200, description = "done", body = ContextAnswer),
        (status = 400, description = "a parameter is wrong", body = Problem),
        (status = 404, description = "there is no such thing", body = Problem),
        (status = 503, description = "no model that compresses is loaded", body = Problem)
    ),
)]
pub async fn context(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(session): Path<String>,
    Query(request): Query<ContextRequest>,
) -> Result<(HeaderMap, Rendered<ContextAnswer>), Problem> {
    let memory = state.memory.clone();
    let work = move || {
        let answer = memory.sessions().context(&tenant, &session, &request)?;
        Ok((version_header(answer.version), Rendered::of(&answer)?))
    };
    state.reads.run(work).await
}

/// `POST /v1/sessions/{s}/queue`: inputs that wait until they are taken, over restarts too.
#[utoipa::path(
    post,
    path = "/v1/sessions/{session}/queue",
    tag = "sessions",
    request_body(content = PushRequest, example = json!({"items": [{"input": "And the garage?"}]})),
    params(("session" = String, Path)),
    responses(
        (status = 200, description = "done", body = PushAnswer),
        (status = 422, description = "an input is too large", body = Problem)
    ),
)]
pub async fn push(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(session): Path<String>,
    Json(request): Json<PushRequest>,
) -> Result<axum::Json<PushAnswer>, Problem> {
    let memory = state.memory.clone();
    let ids = state.writes.run(move || Ok(memory.sessions().push(&tenant, &session, request.items)?)).await?;
    Ok(axum::Json(PushAnswer { ids }))
}

/// `GET /v1/sessions/{s}/queue`: what waits, oldest first; nothing is taken.
#[utoipa::path(
    get,
    path = "/v1/sessions/{session}/queue",
    tag = "sessions",
    params(("session" = String, Path), QueueQuery),
    responses((status = 200, description = "done", body = QueueItems)),
)]
pub async fn queue(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(session): Path<String>,
    Query(query): Query<QueueQuery>,
) -> Result<Rendered<QueueItems>, Problem> {
    let limit = page_limit(query.limit)?;
    let memory = state.memory.clone();
    let work = move || {
        let items = memory.sessions().queue(&tenant, &session, query.cursor.as_deref(), limit)?;
        Rendered::of(&QueueItems { items })
    };
    state.reads.run(work).await
}

/// `POST /v1/sessions/{s}/queue:take`: the oldest inputs that nobody works on. Delete each when it has been dealt with.
#[utoipa::path(
    post,
    path = "/v1/sessions/{session}/queue:take",
    tag = "sessions",
    request_body(content = TakeRequest, example = json!({"count": 1, "lease_s": 60})),
    params(("session" = String, Path)),
    responses((status = 200, description = "done; empty when nothing waits", body = QueueItems)),
)]
pub async fn take(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    Path(session): Path<String>,
    Json(request): Json<TakeRequest>,
) -> Result<axum::Json<QueueItems>, Problem> {
    let count = check_limit("count", request.count.unwrap_or(1))?;
    let memory = state.memory.clone();
    let items =
        state.writes.run(move || Ok(memory.sessions().take(&tenant, &session, count, request.lease_s)?)).await?;
    Ok(axum::Json(QueueItems { items }))
}

/// `DELETE /v1/sessions/{s}/queue/{id}`: it has been dealt with.
#[utoipa::path(
    delete,
    path = "/v1/sessions/{session}/queue/{id}",
    tag = "sessions",
    params(("session" = String, Path), ("id" = String, Path)),
    responses(
        (status = 204, description = "deleted"),
        (status = 404, description = "there is no such thing", body = Problem)
    ),
)]
pub async fn acknowledge(
    State(state): State<AppState>,
    Caller { tenant, actor, .. }: Caller,
    Path((session, id)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let memory = state.memory.clone();
    state.writes.run(move || Ok(memory.sessions().acknowledge(&tenant, &actor, &session, &id)?)).await?;
    Ok(StatusCode::NO_CONTENT)
}
