//! What routes for vectors have in common: limits of their inputs, the way through the encoder, and writing answers.

use crate::dialect::Cost;
use crate::problem::Problem;
use crate::request;
use crate::state::AppState;
use axum::http::StatusCode;
use membox_api::Timing;
use membox_memory::MemoryError;
use membox_memory::encoder::{Embeddings, Encoder, EncoderError, Inputs, Lane, Request, Wanted};
use membox_threads::budget::RequestBudget;
use tokio::sync::oneshot;

/// Requests of at most this many inputs take the interactive lane.
pub(super) const INTERACTIVE_INPUTS: usize = 4;

/// Writes an answer, on a thread of the pool where that takes a while.
pub(super) async fn render<T: Send + 'static>(
    state: &AppState,
    is_long: bool,
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    if is_long { state.reads.run(work).await } else { work() }
}

pub(super) fn timing(answer: &Embeddings) -> Timing {
    Timing { tokenize: answer.tokenize, queue: answer.queue, encode: answer.encode, ..Timing::default() }
}

/// Refuses more inputs than can be sent at once.
pub(super) fn check_count(state: &AppState, count: usize, pointer: &str) -> Result<(), Problem> {
    if count <= state.limits.max_inputs {
        return Ok(());
    }
    let detail = format!("{count} inputs; at most {} can be sent at once", state.limits.max_inputs);
    Err(Problem::field(StatusCode::PAYLOAD_TOO_LARGE, pointer, detail))
}

/// Refuses dimensions that the model does not have, and tells how many tokens of a text are kept.
pub(super) fn check_sizes(
    encoder: &Encoder,
    max_tokens: Option<usize>,
    dimensions: Option<usize>,
) -> Result<usize, Problem> {
    let bad = |pointer: &str, detail: String| Err(Problem::field(StatusCode::UNPROCESSABLE_ENTITY, pointer, detail));
    if dimensions.is_some_and(|d| d == 0 || d > encoder.dimension()) {
        return bad("/dimensions", format!("the model gives {} dimensions", encoder.dimension()));
    }
    let most = encoder.engine().max_sequence();
    match max_tokens {
        Some(tokens) if !(3..=most).contains(&tokens) => bad("/max_tokens", format!("3 to {most} tokens can be kept")),
        tokens => Ok(tokens.unwrap_or(encoder.max_tokens())),
    }
}

/// Encodes on the engine's threads; a caller who goes away meanwhile takes the request with them.
pub(super) async fn encode(
    encoder: &Encoder,
    inputs: Inputs,
    max_tokens: usize,
    wanted: Wanted,
    at: &str,
    cost: &mut Cost,
) -> Result<Embeddings, Problem> {
    cost.begin_texts(inputs.len());
    let lane = if inputs.len() <= INTERACTIVE_INPUTS { Lane::Interactive } else { Lane::Bulk };
    let (sender, receiver) = oneshot::channel();
    let reply = Box::new(move |answer| drop(sender.send(answer)));
    let wanted = Request { inputs, max_tokens, wanted, lane };
    let submitted = {
        let _entered = request::current().map(RequestBudget::enter);
        encoder.submit(wanted, reply)
    };
    let _pending = submitted.map_err(|error| match error {
        EncoderError::BadTokens { input, reason } => {
            Problem::field(StatusCode::UNPROCESSABLE_ENTITY, format!("{at}/{input}"), reason)
        }
        error => MemoryError::from(error).into(),
    })?;
    let answer = receiver.await.map_err(|_| MemoryError::Stopped)?.map_err(MemoryError::from)?;
    cost.add(&answer);
    Ok(answer)
}

/// The first numbers of a vector, at unit length again.
pub(super) fn cut(row: &[f32], dimensions: Option<usize>, normalize: bool) -> Vec<f32> {
    let mut vector = row[..dimensions.unwrap_or(row.len())].to_vec();
    if normalize && vector.len() < row.len() {
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
        vector.iter_mut().for_each(|x| *x /= length);
    }
    vector
}
