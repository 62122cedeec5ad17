//! A worker: batches of sequences that want the same of the same model, and what becomes of their outputs.

use crate::TokenWeight;
use crate::engine::{Outputs, PackedBatch, Session};
use crate::lanes::{Lane, Turns};
use crate::scheduler::{Model, Shared};
use crate::ticket::SequenceJob;
use membox_threads::{Panicked, guard};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

/// A batch being formed and run by one thread, and the memory that it reuses.
pub(crate) struct Worker<'a> {
    shared: &'a Shared,
    /// Whether it runs the interactive lane alone.
    is_urgent: bool,
    /// By model: one that nobody else has any more is not kept for this.
    sessions: Vec<(Weak<Model>, Box<dyn Session>)>,
    batch: PackedBatch,
    pub jobs: Vec<SequenceJob>,
    vectors: Vec<f32>,
    /// What the model's head makes of them.
    finished: Vec<f32>,
    keep: Vec<f32>,
    states: Vec<f32>,
    attention: Vec<f32>,
    /// Of the states by the token axes.
    products: Vec<f32>,
    sparse: Vec<Vec<TokenWeight>>,
}

impl<'a> Worker<'a> {
    pub fn new(shared: &'a Shared, lanes: &[Lane]) -> Self {
        let is_urgent = lanes == [Lane::Interactive];
        let (sessions, jobs, vectors, finished, keep, states, attention, products, sparse) = Default::default();
        let batch = PackedBatch::new();
        Self { shared, is_urgent, sessions, batch, jobs, vectors, finished, keep, states, attention, products, sparse }
    }

    /// Takes sequences up to the token budget, at least one, that want the same of the same model.
    fn take(&mut self, queue: &mut Turns<SequenceJob>) {
        self.batch.clear();
        self.jobs.clear();
        let max_tokens = |job: &SequenceJob| job.ticket.model.engine.batch_tokens();
        while let Some(job) = queue.pop(|job| {
            self.jobs.first().is_none_or(|first| {
                let max_tokens = max_tokens(job).unwrap_or(self.shared.config.batch_tokens);
                Arc::ptr_eq(&first.ticket.model, &job.ticket.model)
                    && first.ticket.wanted == job.ticket.wanted
                    && self.batch.tokens() + job.ids.len() <= max_tokens
            })
        }) {
            self.batch.push_pair(&job.ids, job.second, job.ticket.model.head.segment);
            self.jobs.push(job);
        }
    }

    /// Gives back the memory of models that nobody has any more.
    pub fn forget_models_that_left(&mut self) {
        self.sessions.retain(|(model, _)| model.strong_count() > 0);
    }

    /// Runs the batch; a panic is the answer to its requests, each of which gives back the room that it had.
    pub fn run_guarded(&mut self, pause: &mut (dyn FnMut() + Send)) {
        if let Err(panicked) = guard(|| self.run(pause)) {
            // Their working memory may be half written.
            self.sessions.clear();
            self.fail(&panicked);
        }
    }

    pub fn take_guarded(&mut self, queue: &mut Turns<SequenceJob>) {
        if let Err(panicked) = guard(|| self.take(queue)) {
            self.fail(&panicked);
        }
    }

    /// Answers the requests of the batch with an error. What else of them waits is skipped.
    fn fail(&mut self, panicked: &Panicked) {
        for job in self.jobs.drain(..) {
            job.ticket.cancelled.store(true, Ordering::Relaxed);
            self.shared.finish(&job.ticket, Err(panicked.clone().into()));
            self.shared.count_off(&job.ticket, 1);
        }
    }

    fn run(&mut self, pause: &mut (dyn FnMut() + Send)) {
        let shared = self.shared;
        if self.jobs.is_empty() {
            return;
        }
        if self.jobs.iter().all(|job| job.ticket.cancelled.load(Ordering::Relaxed)) {
            for job in self.jobs.drain(..) {
                shared.skip_cancelled(&job.ticket);
            }
            return;
        }
        let begun = Instant::now();
        self.compute(pause);
        let took = begun.elapsed();
        shared.counters.tokens.fetch_add(self.batch.tokens() as u64, Ordering::Relaxed);
        shared.counters.sequences.fetch_add(self.batch.sequences() as u64, Ordering::Relaxed);
        shared.counters.batches.fetch_add(1, Ordering::Relaxed);
        shared.counters.busy_us.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
        self.hand_out(begun, took);
    }

    /// Computes what the requests of the batch want.
    fn compute(&mut self, pause: &mut (dyn FnMut() + Send)) {
        let shared = self.shared;
        let (model, wanted) = (self.jobs[0].ticket.model.clone(), self.jobs[0].ticket.wanted);
        let dimension = model.engine.dimension();
        let known = self.sessions.iter().position(|(m, _)| m.as_ptr() == Arc::as_ptr(&model)).unwrap_or_else(|| {
            let engine = model.engine.clone();
            let session = if self.is_urgent { engine.urgent_session() } else { engine.session() };
            self.sessions.push((Arc::downgrade(&model), session));
            self.sessions.len() - 1
        });
        let size = |wanted: bool, count: usize| if wanted { count } else { 0 };
        self.vectors.resize(size(wanted.vectors, self.batch.sequences() * dimension), 0.0);
        self.keep.resize(size(wanted.keep, self.batch.tokens()), 0.0);
        // What a card computes is read back for it: to multiply there would save most of the transfer.
        let axes = model.axes.as_ref().filter(|_| wanted.token_vectors.is_some());
        let needs_states = wanted.states || axes.is_some();
        self.states.resize(size(needs_states, self.batch.tokens() * dimension), 0.0);
        self.attention.resize(size(wanted.attention, self.batch.squares()), 0.0);
        self.sparse.resize(size(wanted.sparse, self.batch.sequences()), Vec::new());
        let outputs = Outputs {
            vectors: wanted.vectors.then_some(&mut self.vectors),
            normalize: wanted.normalize && model.head.is_empty(),
            keep: wanted.keep.then_some(&mut self.keep),
            states: needs_states.then_some(&mut self.states),
            attention: wanted.attention.then_some(&mut self.attention),
            sparse: wanted.sparse.then_some(&mut self.sparse),
        };
        // A query alone in the box is split over the idle cores; bulk batches are one a core anyhow.
        let busy = Busy::new(&shared.busy);
        let alone = busy.others == 0 && self.jobs[0].ticket.lane == Lane::Interactive;
        let helpers = if alone { shared.config.workers - 1 } else { 0 };
        self.sessions[known].1.run(&self.batch, outputs, helpers, pause);
        if let Some(axes) = axes {
            axes.multiply(&self.states, &mut self.products);
        }
        if !model.head.is_empty() {
            model.head.apply(&self.vectors, dimension, wanted.normalize, &mut self.finished);
        }
    }

    /// Gives each request of the batch its part, and empties the batch.
    fn hand_out(&mut self, begun: Instant, took: Duration) {
        let (model, wanted) = (self.jobs[0].ticket.model.clone(), self.jobs[0].ticket.wanted);
        let (dimension, vector_dimension) = (model.engine.dimension(), model.dimension());
        let vectors = if model.head.is_empty() { &self.vectors } else { &self.finished };
        let axes = model.axes.as_ref().zip(wanted.token_vectors);
        let mut squares = 0;
        for (i, job) in self.jobs.iter().enumerate() {
            let (first, last) = (self.batch.offsets()[i] as usize, self.batch.offsets()[i + 1] as usize);
            let mut progress = job.ticket.progress.lock().unwrap_or_else(PoisonError::into_inner);
            let queue = begun.saturating_duration_since(progress.tokenized);
            let answer = &mut progress.answer;
            if let Some(place) = answer.vectors.chunks_exact_mut(vector_dimension).nth(job.index) {
                place.copy_from_slice(&vectors[i * vector_dimension..(i + 1) * vector_dimension]);
            }
            if let Some(place) = answer.keep.get_mut(job.index) {
                *place = self.keep[first..last].to_vec();
            }
            if let Some(place) = answer.states.get_mut(job.index) {
                *place = self.states[first * dimension..last * dimension].to_vec();
            }
            let square = squares..squares + (last - first).pow(2);
            squares = square.end;
            if let Some(place) = answer.attention.get_mut(job.index) {
                *place = self.attention[square].to_vec();
            }
            if let (Some(place), Some((axes, dimension))) = (answer.token_vectors.get_mut(job.index), axes) {
                // Without the tokens that open and close a sequence.
                let inner = first + 1..(last - 1).max(first + 1);
                *place = axes.vectors(&self.states, &self.products, inner, dimension);
            }
            if let (Some(place), Some(vector)) = (answer.sparse.get_mut(job.index), self.sparse.get_mut(i)) {
                *place = std::mem::take(vector);
            }
            (answer.queue, answer.encode) = (queue, took);
            drop(progress);
            self.shared.count_off(&job.ticket, 1);
        }
        self.jobs.clear();
    }
}

/// Counts among the workers that run a batch until dropped.
struct Busy<'a> {
    workers: &'a AtomicUsize,
    /// How many others there were.
    others: usize,
}

impl<'a> Busy<'a> {
    fn new(workers: &'a AtomicUsize) -> Self {
        Self { workers, others: workers.fetch_add(1, Ordering::AcqRel) }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.workers.fetch_sub(1, Ordering::AcqRel);
    }
}
