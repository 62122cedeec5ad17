//! JSON answers that are written where they are made: on a thread of the pool. One of many records takes a while, and
//! whoever else is served by the same thread of tokio would wait.
//!
//! A long one is written in parts, and memory is taken for each before it is filled.

use crate::problem::Problem;
use crate::request::PART_BYTES;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body::{Frame, SizeHint};
use membox_memory::MemoryError;
use membox_threads::budget::{self, OverBudget};
use serde::Serialize;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

/// An answer as JSON.
pub struct Rendered<T> {
    parts: Parts,
    of: PhantomData<fn() -> T>,
}

impl<T: Serialize> Rendered<T> {
    /// Writes an answer.
    pub fn of(answer: &T) -> Result<Self, Problem> {
        let mut writer = Writer::default();
        if let Err(error) = serde_json::to_writer(&mut writer, answer) {
            if let Some(over) = writer.over {
                return Err(MemoryError::from(over).into());
            }
            tracing::error!(%error, "an answer is no JSON");
            let detail = "the answer could not be written; the log says more";
            return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail));
        }
        Ok(Self { parts: writer.parts(), of: PhantomData })
    }
}

impl<T> IntoResponse for Rendered<T> {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        ([(header::CONTENT_TYPE, json)], Body::new(self.parts)).into_response()
    }
}

/// Writes into parts.
#[derive(Default)]
struct Writer {
    full: VecDeque<Bytes>,
    last: Vec<u8>,
    /// Why there is no memory for another part.
    over: Option<OverBudget>,
}

impl Writer {
    fn parts(mut self) -> Parts {
        let bytes = (self.full.len() * PART_BYTES + self.last.len()) as u64;
        self.full.push_back(self.last.into());
        Parts { parts: self.full, bytes }
    }
}

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.last.len() == PART_BYTES {
            budget::take(PART_BYTES).map_err(|over| {
                self.over = Some(over);
                io::Error::from(io::ErrorKind::OutOfMemory)
            })?;
            let next = Vec::with_capacity(PART_BYTES);
            self.full.push_back(std::mem::replace(&mut self.last, next).into());
        }
        let written = bytes.len().min(PART_BYTES - self.last.len());
        self.last.extend_from_slice(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A body whose parts are given back one by one as they are sent.
struct Parts {
    parts: VecDeque<Bytes>,
    /// Bytes of those that are left.
    bytes: u64,
}

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.parts.pop_front();
        self.bytes -= next.as_ref().map_or(0, |part| part.len() as u64);
        Poll::Ready(next.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use membox_threads::budget::RequestBudget;
    use membox_threads::room::Room;
    use std::sync::Arc;

    #[tokio::test]
    async fn an_answer_of_any_length_is_whole_and_says_how_long_it_is() {
        for length in [0, 1, PART_BYTES - 2, PART_BYTES - 1, PART_BYTES, 3 * PART_BYTES + 7] {
            let text = "x".repeat(length);
            let response = Rendered::of(&text).expect("an answer").into_response();
            let hint = http_body::Body::size_hint(response.body()).exact();
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            assert_eq!((hint, &body[..]), (Some(length as u64 + 2), format!("{text:?}").as_bytes()));
        }
    }

    #[test]
    fn an_answer_that_there_is_no_memory_for_is_not_written_to_its_end() {
        let _entered = Arc::new(RequestBudget::within(Arc::new(Room::new(4 * PART_BYTES)))).enter();
        assert!(Rendered::of(&"x".repeat(PART_BYTES)).is_ok());
        let refused = Rendered::of(&"x".repeat(16 * PART_BYTES)).map(|_| ()).map_err(|problem| problem.status);
        assert_eq!(refused, Err(413));
    }
}
