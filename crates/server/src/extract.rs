//! Request bodies and queries, with errors that name the field.

use crate::problem::Problem;
use crate::state::AppState;
use axum::body::Body;
use axum::extract::{FromRef, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;

/// A JSON body.
pub struct Json<T>(pub T);

impl<S, T> FromRequest<S> for Json<T>
where
    AppState: FromRef<S>,
    S: Send + Sync,
    T: DeserializeOwned + Send,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let content_type =
            request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            let detail = format!("the body must be application/json, and content-type says {content_type:?}");
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let limit = AppState::from_ref(state).limits.max_body_bytes;
        parse(&read_body(request.into_body(), limit).await?).map(Self)
    }
}

/// Reads a body. One over the limit is read on for a while and thrown away: a client that is still sending would not see the answer.
async fn read_body(mut body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    let (mut bytes, mut length) = (Vec::new(), 0usize);
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|e| Problem::new(StatusCode::BAD_REQUEST, format!("the body did not arrive: {e}")))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length <= limit {
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
    if let Err(error) = std::str::from_utf8(body) {
        let detail = format!("the body is not UTF-8: byte {} is wrong", error.valid_up_to());
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = with_pointer(&mut deserializer)?;
    deserializer.end().map_err(|e| Problem::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {e}")))?;
    Ok(value)
}

/// Takes a value apart further; an error names the field by a pointer.
pub fn from_value<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, Problem> {
    with_pointer(value)
}

fn with_pointer<'de, T: DeserializeOwned>(
    deserializer: impl serde::Deserializer<'de, Error = serde_json::Error>,
) -> Result<T, Problem> {
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let pointer: String = error
            .path()
            .iter()
            .map(|segment| match segment {
                serde_path_to_error::Segment::Seq { index } => format!("/{index}"),
                serde_path_to_error::Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
                _ => String::new(),
            })
            .collect();
        let inner = error.into_inner();
        match inner.classify() {
            serde_json::error::Category::Data => Problem::field(StatusCode::BAD_REQUEST, pointer, inner.to_string()),
            _ => Problem::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {inner}")),
        }
    })
}

/// The query of the URL.
pub struct Query<T>(pub T);

impl<S, T> FromRequestParts<S> for Query<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        query
            .map(|q| Self(q.0))
            .map_err(|e| Problem::new(StatusCode::BAD_REQUEST, format!("the query of the URL: {e}")))
    }
}
