//! Request bodies and queries, with errors that name the field.

use crate::access::Named;
use crate::auth::Caller;
use crate::json::{self, Numbers};
use crate::problem::Problem;
use crate::request;
use crate::state::AppState;
use axum::body::Body;
use axum::extract::{FromRef, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use http_body_util::BodyExt;
use membox_memory::{Kept, TenantLimits, check_numbers};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::error::Category;
use std::error::Error;

/// Bytes of a body that takes a while to read: it is read on a thread of the pool.
const LONG_BODY: usize = 64 << 10;

/// A JSON body. Numbers that are kept are kept exactly, or refused: those of the fields that are kept, or all of a body
/// that is kept as a whole.
pub struct Json<T, const IS_KEPT: bool = false>(pub T);

impl<S, T, const IS_KEPT: bool> FromRequest<S> for Json<T, IS_KEPT>
where
    AppState: FromRef<S>,
    S: Send + Sync,
    T: DeserializeOwned + Named + Send + 'static,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let caller = request.extensions().get::<Caller>().cloned();
        let state = AppState::from_ref(state);
        let limits = request::current().map(|budget| state.memory.policy(&budget.tenant()).limits.clone());
        let limits = limits.unwrap_or_default();
        let body = json_body(request, &state, &limits).await?;
        let kept = if IS_KEPT { Kept::Everything } else { Kept::Fields };
        let is_long = body.len() > LONG_BODY;
        let read = move || {
            if limits.max_batch.is_some() {
                limits.check_batch(json::longest_list(&body) as u64)?;
            }
            check_numbers(as_text(&body)?, kept, "")?;
            held(parse(&body)?, caller.as_ref())
        };
        if is_long { state.reads.run(read).await.map(Self) } else { read().map(Self) }
    }
}

/// What was read, held to the reach of the key that sends it.
fn held<T: Named>(mut value: T, caller: Option<&Caller>) -> Result<T, Problem> {
    match caller.filter(|caller| !caller.reach.is_whole()) {
        Some(caller) => value.hold(&caller.reach).map(|()| value),
        None => Ok(value),
    }
}

/// A JSON body that is kept as a whole.
pub type KeptJson<T> = Json<T, true>;

async fn json_body(request: Request, state: &AppState, limits: &TenantLimits) -> Result<Vec<u8>, Problem> {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let detail = format!("the body must be application/json, and content-type says {content_type:?}");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let most = limits.max_body_bytes.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    read_body(request.into_body(), state.limits.max_body_bytes.min(most)).await
}

/// Reads a body. One over the limit is read on for a while and thrown away: a client that is still sending would
/// not see the answer.
pub async fn read_body(mut body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    let (mut bytes, mut length) = (Vec::new(), 0usize);
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|e| Problem::new(StatusCode::BAD_REQUEST, format!("the body did not arrive: {e}")))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length <= limit {
            // Twice: it grows by copying.
            request::take(2 * data.len())?;
            bytes.extend_from_slice(&data);
        } else {
            bytes = Vec::new();
            if length > limit.saturating_mul(4) {
                break;
            }
        }
    }
    if length > limit {
        let detail =
            format!("the body is over the {limit} bytes that this box takes (max_body_bytes): send it in parts");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    Ok(bytes)
}

/// Reads JSON; an error names the field by a pointer, or the place in the text.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    request::take(json::memory_bytes(body))?;
    json::read(as_text(body)?, Numbers::Plain).map_err(|fault| match fault.error.classify() {
        Category::Data => Problem::field(StatusCode::BAD_REQUEST, fault.pointer, fault.error.to_string()),
        _ => Problem::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {}", fault.error)),
    })
}

/// A body as text.
pub fn as_text(body: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(|error| {
        let detail = format!("the body is not UTF-8: byte {} is wrong", error.valid_up_to());
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })
}

/// Takes a value apart further, by the same rules; an error names the field by a pointer.
pub fn from_value<T: DeserializeOwned>(value: &Value, numbers: Numbers) -> Result<T, Problem> {
    json::read(&value.to_string(), numbers).map_err(|fault| {
        // Its place in the text that was just made of it says nothing to anybody.
        let place = format!(" at line {} column {}", fault.error.line(), fault.error.column());
        let detail = fault.error.to_string();
        let detail = detail.strip_suffix(&place).unwrap_or(&detail);
        Problem::field(StatusCode::BAD_REQUEST, fault.pointer, detail)
    })
}

/// The query of the URL.
pub struct Query<T>(pub T);

impl<S, T> FromRequestParts<S> for Query<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Named,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        let query = query.map(|q| q.0).map_err(|rejection| {
            let first: &(dyn Error + 'static) = &rejection;
            let mut causes = std::iter::successors(Some(first), |&cause| cause.source());
            let named =
                causes.find_map(|cause| cause.downcast_ref::<serde_path_to_error::Error<serde::de::value::Error>>());
            match named {
                Some(error) => {
                    let detail = format!("the query of the URL: {}", error.inner());
                    Problem::field(StatusCode::BAD_REQUEST, format!("/{}", error.path()), detail)
                }
                None => Problem::new(StatusCode::BAD_REQUEST, format!("the query of the URL: {rejection}")),
            }
        })?;
        held(query, parts.extensions.get()).map(Self)
    }
}
