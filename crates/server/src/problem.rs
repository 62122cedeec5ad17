//! Errors as RFC 9457 problem documents.

use crate::ServerError;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use membox_api::{FieldError, ProblemDocument};
use membox_memory::compressor::CompressorError;
use membox_memory::encoder::EncoderError;
use membox_memory::keys::SealingError;
use membox_memory::{MemoryError, RecordsError, retry_after};
use membox_threads::budget::OverBudget;
use std::borrow::Cow;
use std::ops::{Deref, DerefMut};
use std::time::Duration;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// An error on its way out: the document, and when it is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    document: ProblemDocument,
    retry_after_s: Option<u64>,
}

impl Deref for Problem {
    type Target = ProblemDocument;

    fn deref(&self) -> &ProblemDocument {
        &self.document
    }
}

impl DerefMut for Problem {
    fn deref_mut(&mut self) -> &mut ProblemDocument {
        &mut self.document
    }
}

/// Its schema is the document's.
impl PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        ProblemDocument::schema()
    }
}

impl ToSchema for Problem {
    fn name() -> Cow<'static, str> {
        ProblemDocument::name()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        ProblemDocument::schemas(schemas);
    }
}

impl Problem {
    /// A problem of a status, whose kind is named after the status.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        let document = ProblemDocument {
            kind: format!("urn:membox:{}", title.to_lowercase().replace(' ', "-")),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
        };
        Self { document, retry_after_s: None }
    }

    /// A problem that is over after a while.
    pub fn busy(status: StatusCode, detail: impl Into<String>, wait: Duration) -> Self {
        Self { retry_after_s: Some(wait.as_secs_f64().ceil() as u64), ..Self::new(status, detail) }
    }

    /// A problem with one field.
    pub fn field(status: StatusCode, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let (pointer, detail) = (pointer.into(), detail.into());
        let errors = vec![FieldError { pointer, detail: detail.clone() }];
        let Self { document, retry_after_s } = Self::new(status, detail);
        Self { document: ProblemDocument { errors, ..document }, retry_after_s }
    }
}

/// What happened, and which route does something about it.
fn detail(error: &MemoryError) -> String {
    match error {
        MemoryError::NoCollection(name) => format!("{error}; create it with PUT /v1/collections/{name}"),
        MemoryError::NoSession(id) => {
            format!("{error}; append a message to it, or create it with PUT /v1/sessions/{id}")
        }
        _ => error.to_string(),
    }
}

impl From<MemoryError> for Problem {
    fn from(error: MemoryError) -> Self {
        let retry_after_s = retry_after(&error);
        let detail = detail(&error);
        let status = match &error {
            MemoryError::Invalid { pointer, reason } => return Self::field(StatusCode::BAD_REQUEST, pointer, reason),
            MemoryError::Impossible { pointer, reason } => {
                return Self::field(StatusCode::UNPROCESSABLE_ENTITY, pointer, reason);
            }
            MemoryError::Taken { pointer, reason } => return Self::field(StatusCode::CONFLICT, pointer, reason),
            MemoryError::Records(RecordsError::Filter { pointer, reason }) => {
                return Self::field(StatusCode::BAD_REQUEST, pointer, reason);
            }
            MemoryError::Encoder(EncoderError::BadTokens { input, reason }) => {
                return Self::field(StatusCode::UNPROCESSABLE_ENTITY, format!("/input/{input}"), reason);
            }
            MemoryError::Compressor(CompressorError::UnknownEncoding { .. }) => {
                return Self::field(StatusCode::BAD_REQUEST, "/encoding", detail);
            }
            MemoryError::Compressor(CompressorError::Impossible { option, reason }) => {
                return Self::field(StatusCode::UNPROCESSABLE_ENTITY, format!("/{option}"), reason);
            }
            MemoryError::Compressor(CompressorError::ReferenceFails(_)) => {
                return Self::field(StatusCode::UNPROCESSABLE_ENTITY, "/mode", detail);
            }
            MemoryError::NoCollection(_)
            | MemoryError::NoRecord(_)
            | MemoryError::NoSession(_)
            | MemoryError::Missing { .. }
            | MemoryError::NoJob(_) => StatusCode::NOT_FOUND,
            MemoryError::Exists { .. }
            | MemoryError::Busy(_)
            | MemoryError::Erasing(_)
            | MemoryError::TenantBusy(_)
            | MemoryError::Dropped(_)
            | MemoryError::JobEnded { .. }
            | MemoryError::Records(
                RecordsError::Gone(_) | RecordsError::Sealing(SealingError::Erasing | SealingError::Gone(_)),
            ) => StatusCode::CONFLICT,
            MemoryError::Records(RecordsError::VersionConflict { .. }) => StatusCode::PRECONDITION_FAILED,
            MemoryError::Encoder(EncoderError::Tokenize(_)) => StatusCode::UNPROCESSABLE_ENTITY,
            MemoryError::Encoder(EncoderError::Overloaded { .. })
            | MemoryError::Overloaded { .. }
            | MemoryError::QuotaExceeded { .. }
            | MemoryError::TooManyJobs { .. }
            | MemoryError::LimitReached { .. } => StatusCode::TOO_MANY_REQUESTS,
            MemoryError::Llm(_) => StatusCode::BAD_GATEWAY,
            MemoryError::NoModel
            | MemoryError::Moved(_)
            | MemoryError::ModelNotLoaded { .. }
            | MemoryError::NoCompressor { .. }
            | MemoryError::ReadOnly(_)
            | MemoryError::NoFiles(_)
            | MemoryError::Broken(_)
            | MemoryError::Stopped
            | MemoryError::Cancelled(_)
            | MemoryError::Encoder(EncoderError::Stopped) => StatusCode::SERVICE_UNAVAILABLE,
            MemoryError::OverBudget(over) => match over {
                OverBudget::TooMuch { .. } => StatusCode::PAYLOAD_TOO_LARGE,
                OverBudget::Taken => StatusCode::TOO_MANY_REQUESTS,
                OverBudget::Cancelled(_) => StatusCode::SERVICE_UNAVAILABLE,
            },
            MemoryError::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
            _ => {
                tracing::error!(%error, "a request failed");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self { retry_after_s, ..Self::new(status, detail) }
    }
}

impl From<ServerError> for Problem {
    fn from(error: ServerError) -> Self {
        let detail = error.to_string();
        let status = match error {
            ServerError::NewKey { field, reason } => {
                return Self::field(StatusCode::BAD_REQUEST, format!("/{field}"), reason);
            }
            ServerError::NoKey(_) => StatusCode::NOT_FOUND,
            ServerError::LastKey | ServerError::NoKeys | ServerError::SameKey(_) => StatusCode::CONFLICT,
            error => {
                tracing::error!(%error, "a request failed");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self::new(status, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self.document).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // For those routes whose clients know it in other words.
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_named_with_the_route_that_makes_it() {
        let detail = |error: MemoryError| Problem::from(error).detail.clone();
        assert_eq!(
            detail(MemoryError::NoCollection("notes".into())),
            "there is no collection \"notes\"; create it with PUT /v1/collections/notes"
        );
        assert_eq!(
            detail(MemoryError::NoSession("s".into())),
            "there is no session \"s\"; append a message to it, or create it with PUT /v1/sessions/s"
        );
    }

    #[test]
    fn what_is_over_or_gone_is_no_fault_of_the_box() {
        let panicked = || membox_threads::guard(|| panic!("secret")).expect_err("a panic");
        let cases = [
            (MemoryError::Dropped("c".into()), 409, None),
            (MemoryError::JobEnded { id: "j".into(), state: "done" }, 409, None),
            (MemoryError::Erasing("this user is being erased".into()), 409, None),
            (MemoryError::TooManyJobs { waiting: 64, retry_after_s: 5 }, 429, Some(5)),
            (RecordsError::Gone("the collection").into(), 409, None),
            (RecordsError::from(SealingError::Gone(7)).into(), 409, None),
            (RecordsError::from(SealingError::NoKey(7)).into(), 500, None),
            (MemoryError::NoFiles("cannot open x".into()), 503, Some(1)),
            (OverBudget::TooMuch { wanted: 2, most: 1 }.into(), 413, None),
            (OverBudget::Taken.into(), 429, Some(1)),
            (MemoryError::Broken("the background work has ended".into()), 503, None),
            (panicked().into(), 500, None),
            (EncoderError::Panicked(panicked()).into(), 500, None),
        ];
        for (error, status, wait) in cases {
            let problem = Problem::from(error);
            assert_eq!((problem.status, problem.retry_after_s), (status, wait), "{}", problem.detail);
            assert!(!problem.detail.contains("secret"), "{}", problem.detail);
        }
    }
}
