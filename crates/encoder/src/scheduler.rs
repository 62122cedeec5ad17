//! From requests to batches: who is encoded when, and by which thread.
//!
//! ```text
//! caller ──▶ admission ──▶ texts (two lanes) ──▶ tokenizer threads
//!            (bytes, 429)                               │
//!                                                       ▼
//! caller ◀── ticket ◀── worker threads ◀── sequences (two lanes)
//!            (answers when complete)       (batches by tokens)
//! ```
//!
//! One scheduler serves every model of a process, so that a bulk compression gives way to a query as a bulk import
//! does. A batch is of one model. A worker takes the interactive lane before the bulk lane, and looks at the
//! interactive lane a few times a layer while it encodes a bulk batch: a query waits for a fraction of a layer, not
//! for the batch. Within a lane tenants take turns, text by text, and each has its share of the room: whose request it
//! is, the thread that submits it knows ([`membox_threads::budget`]). Shutdown refuses what is new and finishes what
//! was admitted. A panic ends the requests of its batch, with an error, and neither its thread nor any other request.

use crate::EncoderError;
use crate::axes::{TOKEN_DIMENSIONS, TokenAxes};
use crate::cross_encoder::TokenPair;
use crate::engine::Engine;
use crate::lanes::{Lane, Lanes, Turns};
use crate::request::{Embeddings, Inputs, Reply, Request};
use crate::ticket::{Pending, Progress, SequenceJob, TextJob, Ticket, Tokenized};
use crate::tokenizer::{TokenIds, Tokenizer, Words};
use crate::vector_head::VectorHead;
use crate::worker::Worker;
use membox_threads::room::{NoRoom, Room};
use membox_threads::{budget, guard, spawn};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Instant;

/// Texts tokenized in one go, so that an interactive text never waits for a whole bulk request's tokenization.
const TOKENIZER_CHUNK: usize = 32;

/// Sizes and limits of the scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchedulerConfig {
    /// Worker threads; each runs one batch at a time.
    pub workers: usize,
    /// Threads that run batches of the interactive lane alone, and leave the bulk lane to the workers: where a GPU
    /// computes, which cannot stop in the middle of a batch. None where the workers do both.
    pub interactive_workers: usize,
    /// Tokenizer threads.
    pub tokenizers: usize,
    /// Tokens of a batch; a longer sequence is a batch of its own.
    pub batch_tokens: usize,
    /// Bytes of text that a tenant may have waiting or under way in the interactive lane; more are answered with
    /// [`EncoderError::Overloaded`]. All tenants together have at most twice as many, the less each the more there are.
    pub interactive_bytes: usize,
    /// The same for the bulk lane.
    pub bulk_bytes: usize,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            workers: cores,
            interactive_workers: 0,
            tokenizers: cores.div_ceil(4),
            batch_tokens: 384,
            interactive_bytes: 4 << 20,
            bulk_bytes: 64 << 20,
        }
    }
}

/// A loaded model.
pub struct Model {
    /// Its weights on a device.
    pub engine: Arc<dyn Engine>,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// What token vectors are made with, if it has any.
    pub axes: Option<TokenAxes>,
    /// What becomes of the engine's vectors.
    pub head: VectorHead,
}

impl Model {
    /// Numbers of a vector.
    pub fn dimension(&self) -> usize {
        self.head.dimension(self.engine.dimension())
    }
}

/// Counters that only rise, for metrics.
#[derive(Debug, Default)]
pub struct Counters {
    /// Tokens encoded.
    pub tokens: AtomicU64,
    /// Sequences encoded.
    pub sequences: AtomicU64,
    /// Batches run.
    pub batches: AtomicU64,
    /// Time that workers spent encoding, in microseconds.
    pub busy_us: AtomicU64,
    /// Inputs skipped because their caller went away.
    pub cancelled: AtomicU64,
    /// Requests refused because a lane was full.
    pub refused: AtomicU64,
}

/// What the threads have in common.
pub(crate) struct Shared {
    pub config: SchedulerConfig,
    pub texts: Lanes<TextJob>,
    pub sequences: Lanes<SequenceJob>,
    /// Bytes admitted and not yet answered, by lane.
    pub admitted: [Room; 2],
    /// Workers that run a batch.
    pub busy: AtomicUsize,
    pub counters: Counters,
}

/// Owns the tokenizer and worker threads; dropping it drains and joins them.
pub struct Scheduler {
    shared: Arc<Shared>,
    tokenizers: Vec<JoinHandle<()>>,
    workers: Vec<JoinHandle<()>>,
}

impl Scheduler {
    /// Starts the threads.
    pub fn start(config: SchedulerConfig) -> std::io::Result<Self> {
        let admitted = [config.interactive_bytes, config.bulk_bytes].map(|bytes| Room::new(bytes.saturating_mul(2)));
        let shared = Arc::new(Shared {
            config,
            texts: Lanes::new(),
            sequences: Lanes::new(),
            admitted,
            busy: AtomicUsize::new(0),
            counters: Counters::default(),
        });
        let mut scheduler = Self { shared, tokenizers: Vec::new(), workers: Vec::new() };
        for i in 0..scheduler.shared.config.tokenizers.max(1) {
            let shared = scheduler.shared.clone();
            scheduler.tokenizers.push(spawn(format!("tokenize-{i}"), move || shared.tokenize())?);
        }
        for i in 0..scheduler.shared.config.workers.max(1) {
            let shared = scheduler.shared.clone();
            let lanes = if shared.config.interactive_workers > 0 { &[Lane::Bulk][..] } else { &Lane::ALL };
            scheduler.workers.push(spawn(format!("encode-{i}"), move || shared.work(lanes))?);
        }
        for i in 0..scheduler.shared.config.interactive_workers {
            let shared = scheduler.shared.clone();
            let work = move || shared.work(&[Lane::Interactive]);
            scheduler.workers.push(spawn(format!("encode-interactive-{i}"), work)?);
        }
        Ok(scheduler)
    }

    /// Admits a request, or refuses it at once. `reply` is called exactly once, unless the request is refused here.
    pub fn submit(&self, model: &Arc<Model>, request: Request, reply: Reply) -> Result<Pending, EncoderError> {
        let shared = &self.shared;
        let (count, bytes, lane) = (request.inputs.len(), request.inputs.bytes(), request.lane);
        let sequences = request.inputs.ids();
        check_tokens(&*model.engine, &sequences)?;
        let now = Instant::now();
        let (dimension, state_dimension, wanted) = (model.dimension(), model.engine.dimension(), request.wanted);
        if wanted.keep && !model.engine.has_keep_head() {
            return Err(EncoderError::NoKeepHead);
        }
        if wanted.sparse && model.engine.sparse_width().is_none() {
            return Err(EncoderError::NoSparseVectors);
        }
        if let Some(dimension) = wanted.token_vectors {
            if model.axes.is_none() {
                return Err(EncoderError::NoTokenAxes);
            }
            if !TOKEN_DIMENSIONS.contains(&dimension) {
                return Err(EncoderError::TokenDimension(dimension));
            }
        }
        let tokens = sequences.iter().map(|ids| ids.len()).sum();
        let tenant = budget::current().map(|budget| budget.tenant()).unwrap_or_default();
        shared.admit(lane, &tenant, bytes)?;
        let mut unknown: Vec<f32> = sequences.iter().map(|ids| model.tokenizer.unknown_share(ids)).collect();
        unknown.resize(count, 0.0);
        let many = |wanted: bool| vec![Vec::new(); if wanted { count } else { 0 }];
        let answer = Embeddings {
            vectors: vec![0.0; if wanted.vectors { count * dimension } else { 0 }],
            keep: many(wanted.keep),
            states: many(wanted.states),
            attention: many(wanted.attention),
            token_vectors: many(wanted.token_vectors.is_some()),
            sparse: vec![Vec::new(); if wanted.sparse { count } else { 0 }],
            dimension,
            state_dimension,
            tokens,
            unknown,
            ..Embeddings::default()
        };
        let ticket = Arc::new(Ticket {
            model: model.clone(),
            tenant,
            lane,
            max_tokens: request.max_tokens.clamp(3, model.engine.max_sequence()),
            wanted,
            bytes,
            submitted: now,
            cancelled: AtomicBool::new(false),
            remaining: AtomicUsize::new(count),
            progress: Mutex::new(Progress { answer, tokenized: now, reply: Some(reply) }),
        });
        if count == 0 {
            shared.finish(&ticket, Ok(()));
            return Ok(Pending(ticket));
        }
        let job = |(index, text)| TextJob { ticket: ticket.clone(), index, text };
        let sequence = |(index, ids): (_, Vec<u32>)| {
            let second = ids.len();
            SequenceJob { ticket: ticket.clone(), index, ids, second }
        };
        let pair = |(index, TokenPair { ids, second })| SequenceJob { ticket: ticket.clone(), index, ids, second };
        let accepted = match request.inputs {
            Inputs::Texts(texts) => shared.texts.push(lane, texts.into_iter().enumerate().map(job)).is_ok(),
            Inputs::Tokens(s) => shared.sequences.push(lane, s.into_iter().enumerate().map(sequence)).is_ok(),
            Inputs::Pairs(p) => shared.sequences.push(lane, p.into_iter().enumerate().map(pair)).is_ok(),
        };
        if !accepted {
            shared.finish(&ticket, Err(EncoderError::Stopped));
        }
        Ok(Pending(ticket))
    }

    /// Has idle threads give back the memory of models that nobody has any more. Others do so after their batch.
    pub fn forget_models_that_left(&self) {
        self.shared.sequences.wake();
    }

    /// Its sizes and limits.
    pub fn config(&self) -> &SchedulerConfig {
        &self.shared.config
    }

    /// What was done so far.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Inputs waiting in a lane.
    pub fn depth(&self, lane: Lane) -> usize {
        self.shared.texts.depth(lane) + self.shared.sequences.depth(lane)
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.shared.texts.close();
        for thread in self.tokenizers.drain(..) {
            let _ = thread.join();
        }
        self.shared.sequences.close();
        for thread in self.workers.drain(..) {
            let _ = thread.join();
        }
    }
}

fn check_tokens(engine: &dyn Engine, sequences: &[&[u32]]) -> Result<(), EncoderError> {
    for (input, ids) in sequences.iter().enumerate() {
        let reason = if ids.is_empty() {
            "no tokens".to_owned()
        } else if ids.len() > engine.max_sequence() {
            format!("{} tokens; the model takes {}", ids.len(), engine.max_sequence())
        } else if let Some(id) = ids.iter().find(|&&id| id as usize >= engine.vocabulary()) {
            format!("token {id} is not in the vocabulary of {}", engine.vocabulary())
        } else {
            continue;
        };
        return Err(EncoderError::BadTokens { input, reason });
    }
    Ok(())
}

impl Shared {
    fn admit(&self, lane: Lane, tenant: &Arc<str>, bytes: usize) -> Result<(), EncoderError> {
        self.admitted[lane as usize].take_first(tenant, bytes).map_err(|NoRoom { before }| {
            self.counters.refused.fetch_add(1, Ordering::Relaxed);
            // About four bytes a token, at the rate seen so far.
            let busy = self.counters.busy_us.load(Ordering::Relaxed).max(1) as f64 / 1e6;
            let rate = self.counters.tokens.load(Ordering::Relaxed) as f64 / busy * self.config.workers as f64;
            let seconds = before as f64 / 4.0 / rate.max(1000.0);
            EncoderError::Overloaded { retry_after_s: seconds.clamp(1.0, 60.0).ceil() as u64 }
        })
    }

    /// Answers a ticket, once.
    pub fn finish(&self, ticket: &Ticket, result: Result<(), EncoderError>) {
        let mut progress = ticket.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reply) = progress.reply.take() {
            self.admitted[ticket.lane as usize].give_back(&ticket.tenant, ticket.bytes);
            let answer = std::mem::take(&mut progress.answer);
            drop(progress);
            reply(result.map(|()| answer));
        }
    }

    /// Counts `done` inputs of a ticket off and answers it after the last.
    pub fn count_off(&self, ticket: &Ticket, done: usize) {
        if ticket.remaining.fetch_sub(done, Ordering::AcqRel) == done {
            let cancelled = ticket.cancelled.load(Ordering::Relaxed);
            self.finish(ticket, if cancelled { Err(EncoderError::Stopped) } else { Ok(()) });
        }
    }

    pub fn skip_cancelled(&self, ticket: &Ticket) -> bool {
        let cancelled = ticket.cancelled.load(Ordering::Relaxed);
        if cancelled {
            self.counters.cancelled.fetch_add(1, Ordering::Relaxed);
            self.count_off(ticket, 1);
        }
        cancelled
    }

    fn tokenize(&self) {
        let chunk = |lane, queue: &mut Turns<TextJob>| {
            let next = std::iter::from_fn(|| queue.pop(|_| true));
            (lane, next.take(TOKENIZER_CHUNK).collect::<Vec<_>>())
        };
        let mut words: Vec<(Weak<Model>, Words)> = Vec::new();
        while let Some((lane, jobs)) = self.texts.wait(&Lane::ALL, &mut 0, chunk) {
            let mut sequences: Vec<SequenceJob> = Vec::with_capacity(jobs.len());
            let mut counted = Tokenized::default();
            for TextJob { ticket, index, text } in jobs {
                if self.skip_cancelled(&ticket) {
                    continue;
                }
                let encoded = guard(|| {
                    let of_model = Arc::as_ptr(&ticket.model);
                    let known = words.iter().position(|(model, _)| model.as_ptr() == of_model).unwrap_or_else(|| {
                        words.retain(|(model, _)| model.strong_count() > 0);
                        words.push((Arc::downgrade(&ticket.model), ticket.model.tokenizer.word_cache()));
                        words.len() - 1
                    });
                    ticket.model.tokenizer.encode_with(&mut words[known].1, &text, ticket.max_tokens)
                });
                match encoded.map_err(EncoderError::from).flatten() {
                    Ok(TokenIds { ids, truncated }) => {
                        let unknown = ticket.model.tokenizer.unknown_share(&ids);
                        counted.add(&ticket, index, ids.len(), truncated, unknown);
                        let second = ids.len();
                        sequences.push(SequenceJob { ticket, index, ids, second });
                    }
                    Err(error) => {
                        self.finish(&ticket, Err(error));
                        self.count_off(&ticket, 1);
                    }
                }
            }
            counted.hand_in();
            // The sequences' queue is closed only after this thread has ended.
            let _ = self.sequences.push(lane, sequences);
        }
    }

    fn work(&self, lanes: &[Lane]) {
        // What wakes up to hand in or take out a query must not wait for a worker's time slice to end. Nice is a
        // thread's own on Linux. Who feeds a GPU uses little of a core, and the GPU waits for it.
        if self.config.interactive_workers == 0 {
            let _ = rustix::process::nice(5);
        }
        let (mut bulk, mut urgent) = (Worker::new(self, lanes), Worker::new(self, lanes));
        let mut seen = 0;
        while self.sequences.wait(lanes, &mut seen, |_, queue| bulk.take_guarded(queue)).is_some() {
            bulk.forget_models_that_left();
            urgent.forget_models_that_left();
            let is_bulk = bulk.jobs.first().is_some_and(|job| job.ticket.lane == Lane::Bulk);
            let is_bulk = is_bulk && lanes.contains(&Lane::Interactive);
            bulk.run_guarded(&mut || {
                while is_bulk && self.sequences.take_urgent(|queue| urgent.take_guarded(queue)).is_some() {
                    urgent.run_guarded(&mut || ());
                }
            });
        }
    }
}
