//! Bodies in gzip and zstd, both ways.
//!
//! A request says `content-encoding`, and what its body is without that counts against the limit of bodies. An answer
//! is compressed where `accept-encoding` asks for it, but for short ones and for files, at the level that costs least.

use crate::problem::Problem;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate, SizeAbove};

/// What the box reads and writes.
const KNOWN: &str = "zstd, gzip";
/// Shorter answers stay as they are: little would be saved.
const MIN_COMPRESSED_BYTES: u64 = 1024;

/// Compresses answers.
pub fn compression() -> CompressionLayer<impl Predicate> {
    let worth_it = DefaultPredicate::new()
        .and(SizeAbove::new(MIN_COMPRESSED_BYTES))
        .and(NotForContentType::new("application/octet-stream"))
        .and(NotForContentType::new("audio/"));
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(worth_it)
}

/// Makes of an answer's body one that may be asked for more after its end, as compression does.
pub async fn fuse(answer: Response) -> Response {
    answer.map(|body| Body::new(body.fuse()))
}

/// Refuses a body in an encoding that the box does not read.
pub async fn check(request: Request, next: Next) -> Response {
    let is_known = |name: &str| matches!(name.trim(), "" | "identity" | "gzip" | "zstd");
    let mut given = request.headers().get_all(header::CONTENT_ENCODING).iter();
    let unknown = match (given.next(), given.next()) {
        (None, _) => None,
        (Some(one), None) if one.to_str().is_ok_and(is_known) => None,
        (Some(one), _) => Some(String::from_utf8_lossy(one.as_bytes()).chars().take(100).collect::<String>()),
    };
    let Some(unknown) = unknown else { return next.run(request).await };
    let detail = format!("content-encoding is {unknown:?}; the box reads one of {KNOWN}");
    let mut refused = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).into_response();
    refused.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static(KNOWN));
    refused
}
