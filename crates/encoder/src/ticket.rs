//! A request on its way through the scheduler: what is left of it, and its texts and sequences that wait.

use crate::lanes::{Lane, OfTenant};
use crate::request::{Embeddings, Reply, Wanted};
use crate::scheduler::Model;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Dropping it tells the scheduler that nobody waits for the answer any more: what has not begun is skipped.
#[must_use = "dropping a pending request cancels it"]
pub struct Pending(pub(crate) Arc<Ticket>);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.cancelled.store(true, Ordering::Relaxed);
    }
}

/// A request on its way.
pub(crate) struct Ticket {
    pub model: Arc<Model>,
    pub tenant: Arc<str>,
    pub lane: Lane,
    pub max_tokens: usize,
    pub wanted: Wanted,
    pub bytes: usize,
    pub submitted: Instant,
    pub cancelled: AtomicBool,
    pub remaining: AtomicUsize,
    pub progress: Mutex<Progress>,
}

/// What is known of it so far.
pub(crate) struct Progress {
    pub answer: Embeddings,
    pub tokenized: Instant,
    pub reply: Option<Reply>,
}

/// A text of a ticket, waiting for a tokenizer.
pub(crate) struct TextJob {
    pub ticket: Arc<Ticket>,
    pub index: usize,
    pub text: String,
}

/// What became of some texts of one ticket, to be handed in together: a lock for each text would be in the way of other
/// threads.
#[derive(Default)]
pub(crate) struct Tokenized {
    pub ticket: Option<Arc<Ticket>>,
    pub tokens: usize,
    pub truncated: usize,
    /// Of those that have tokens that the model does not know: which they are, and the share of such.
    pub unknown: Vec<(usize, f32)>,
}

impl Tokenized {
    pub fn add(&mut self, ticket: &Arc<Ticket>, index: usize, tokens: usize, truncated: bool, unknown: f32) {
        if !self.ticket.as_ref().is_some_and(|known| Arc::ptr_eq(known, ticket)) {
            self.hand_in();
            self.ticket = Some(ticket.clone());
        }
        self.tokens += tokens;
        self.truncated += usize::from(truncated);
        self.unknown.extend((unknown > 0.0).then_some((index, unknown)));
    }

    pub fn hand_in(&mut self) {
        let Self { ticket: Some(ticket), tokens, truncated, unknown } = std::mem::take(self) else { return };
        let mut progress = ticket.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.answer.tokens += tokens;
        progress.answer.truncated += truncated;
        for (index, share) in unknown {
            if let Some(place) = progress.answer.unknown.get_mut(index) {
                *place = share;
            }
        }
        progress.tokenized = Instant::now();
        progress.answer.tokenize = progress.tokenized - ticket.submitted;
    }
}

/// A sequence of a ticket, waiting for a worker.
pub(crate) struct SequenceJob {
    pub ticket: Arc<Ticket>,
    pub index: usize,
    pub ids: Vec<u32>,
    /// The first token of a second text.
    pub second: usize,
}

impl OfTenant for TextJob {
    fn tenant(&self) -> &Arc<str> {
        &self.ticket.tenant
    }
}

impl OfTenant for SequenceJob {
    fn tenant(&self) -> &Arc<str> {
        &self.ticket.tenant
    }
}
