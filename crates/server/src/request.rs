//! The budget of the request that a task serves: see [`membox_threads::budget`].

use crate::problem::Problem;
use crate::state::AppState;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body::{Frame, SizeHint};
use membox_memory::MemoryError;
use membox_threads::budget::{self, RequestBudget};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Bytes of an answer that are not worth counting.
const SMALL_ANSWER: u64 = 16 << 10;
/// Bytes of an answer that are handed to the connection at a time.
pub const PART_BYTES: usize = 64 << 10;

tokio::task_local! {
    static CURRENT: Arc<RequestBudget>;
}

/// The budget of this task's request.
pub fn current() -> Option<Arc<RequestBudget>> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Takes memory for the request of this task, or on a thread of a pool for the one that it works on.
pub fn take(bytes: usize) -> Result<(), Problem> {
    let taken = CURRENT.try_with(|budget| budget.take(bytes)).unwrap_or_else(|_| budget::take(bytes));
    Ok(taken.map_err(MemoryError::from)?)
}

/// Gives each request a budget. Whose it is, its key tells. Memory of the request is given back when its answer is
/// there, and that of the answer when it is sent.
pub async fn budget(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let budget = Arc::new(RequestBudget::within(state.room.clone()));
    let response = with_budget(budget.clone(), next.run(request)).await;
    let bytes = response.body().size_hint().exact().unwrap_or(0);
    if bytes <= SMALL_ANSWER {
        return response;
    }
    let of_answer = RequestBudget::within(state.room);
    of_answer.set_tenant(&budget.tenant());
    drop(budget);
    match of_answer.take(bytes as usize) {
        Ok(()) => response.map(|body| Body::new(Answer { body, left: Bytes::new(), _memory: of_answer })),
        Err(over) => Problem::from(MemoryError::from(over)).into_response(),
    }
}

/// A body that gives its memory back when it is sent, or when it is not. It is handed out in parts: what is handed out
/// as a whole would be in the connection's buffers, and nobody would count it.
struct Answer {
    body: Body,
    /// What is left of the part that the body has given.
    left: Bytes,
    _memory: RequestBudget,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.left.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.left = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let length = self.left.len().min(PART_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.left.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .size_hint()
            .exact()
            .map_or_else(SizeHint::default, |bytes| SizeHint::with_exact(bytes + self.left.len() as u64))
    }
}

/// Runs a future for a request.
pub async fn with_budget<F: Future>(budget: Arc<RequestBudget>, future: F) -> F::Output {
    CURRENT.scope(budget, future).await
}
