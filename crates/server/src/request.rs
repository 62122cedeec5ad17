//! The budget of the request that a task serves: see [`membox_threads::budget`].

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use membox_threads::budget::RequestBudget;
use std::sync::Arc;

tokio::task_local! {
    static CURRENT: Arc<RequestBudget>;
}

/// The budget of this task's request.
pub fn current() -> Option<Arc<RequestBudget>> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Gives each request a budget. Whose it is, its key tells.
pub async fn budget(request: Request, next: Next) -> Response {
    with_budget(Arc::default(), next.run(request)).await
}

/// Runs a future for a request.
pub async fn with_budget<F: Future>(budget: Arc<RequestBudget>, future: F) -> F::Output {
    CURRENT.scope(budget, future).await
}
