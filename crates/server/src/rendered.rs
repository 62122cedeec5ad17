//! JSON answers that are written where they are made: on a thread of the pool. One of many records takes a while, and
//! whoever else is served by the same thread of tokio would wait.

use crate::problem::Problem;
use axum::body::Bytes;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::marker::PhantomData;

/// An answer as JSON.
pub struct Rendered<T> {
    json: Bytes,
    of: PhantomData<fn() -> T>,
}

impl<T: Serialize> Rendered<T> {
    /// Writes an answer.
    pub fn of(answer: &T) -> Result<Self, Problem> {
        let json = serde_json::to_vec(answer).map_err(|error| {
            tracing::error!(%error, "an answer is no JSON");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be written; the log says more")
        })?;
        Ok(Self { json: json.into(), of: PhantomData })
    }
}

impl<T> IntoResponse for Rendered<T> {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        ([(header::CONTENT_TYPE, json)], self.json).into_response()
    }
}
