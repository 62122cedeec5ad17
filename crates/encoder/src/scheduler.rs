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
use crate::engine::{Engine, Outputs, PackedBatch, Session};
use crate::lanes::{Lane, Lanes, OfTenant, Turns};
use crate::tokenizer::{TokenIds, Tokenizer, Words};
use crate::vector_head::VectorHead;
use membox_threads::room::{NoRoom, Room};
use membox_threads::{Panicked, budget, guard, spawn};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

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

/// What a request wants of each input; one pass gives all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// A vector.
    pub vectors: bool,
    /// … of unit length.
    pub normalize: bool,
    /// How likely each token is to be kept.
    pub keep: bool,
    /// The states of its tokens.
    pub states: bool,
    /// The attention that its tokens pay to each other.
    pub attention: bool,
    /// The vectors of its tokens, of so many dimensions: one of [`TOKEN_DIMENSIONS`].
    pub token_vectors: Option<usize>,
}

impl Wanted {
    /// Vectors, of unit length or as they come.
    pub fn vectors(normalize: bool) -> Self {
        Self { vectors: true, normalize, ..Self::default() }
    }
}

/// What a request asks for.
pub struct Request {
    /// The texts or token sequences.
    pub inputs: Inputs,
    /// Tokens kept of each text, special ones included.
    pub max_tokens: usize,
    /// What it is to get.
    pub wanted: Wanted,
    /// How urgent it is.
    pub lane: Lane,
}

/// What is to be encoded.
pub enum Inputs {
    /// Texts, to be tokenized here.
    Texts(Vec<String>),
    /// Token ids, special ones included.
    Tokens(Vec<Vec<u32>>),
    /// Sequences of two texts each, for a cross-encoder.
    Pairs(Vec<TokenPair>),
}

impl Inputs {
    /// Number of texts or sequences.
    #[allow(clippy::len_without_is_empty, reason = "a count of inputs, not a collection")]
    pub fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Tokens(sequences) => sequences.len(),
            Self::Pairs(pairs) => pairs.len(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.iter().map(|t| t.len() + 16).sum(),
            Self::Tokens(sequences) => sequences.iter().map(|s| s.len() * 4 + 16).sum(),
            Self::Pairs(pairs) => pairs.iter().map(|pair| pair.ids.len() * 4 + 16).sum(),
        }
    }

    /// Token ids of each, where they are there already.
    fn ids(&self) -> Vec<&[u32]> {
        match self {
            Self::Texts(_) => Vec::new(),
            Self::Tokens(sequences) => sequences.iter().map(Vec::as_slice).collect(),
            Self::Pairs(pairs) => pairs.iter().map(|pair| pair.ids.as_slice()).collect(),
        }
    }
}

/// What a request gets, and what it cost.
#[derive(Debug, Default)]
pub struct Embeddings {
    /// `[inputs, dimension]`, if wanted.
    pub vectors: Vec<f32>,
    /// How likely each token of each input is to be kept, special tokens among them, if wanted.
    pub keep: Vec<Vec<f32>>,
    /// `[tokens, state_dimension]` of each input, if wanted.
    pub states: Vec<Vec<f32>>,
    /// `[tokens, tokens]` of each input, if wanted: see [`Outputs::attention`].
    pub attention: Vec<Vec<f32>>,
    /// `[tokens without the first and the last, dimension]` of each input, of unit length, if wanted: see
    /// [`TokenAxes`].
    pub token_vectors: Vec<Vec<f32>>,
    /// Width of a vector.
    pub dimension: usize,
    /// Width of a token's state.
    pub state_dimension: usize,
    /// Tokens encoded, special ones included.
    pub tokens: usize,
    /// Inputs of which a part was cut off.
    pub truncated: usize,
    /// The share of each input's tokens that the model does not know, 0 to 1, special tokens left out.
    pub unknown: Vec<f32>,
    /// Time until the last text was tokenized, from submission.
    pub tokenize: Duration,
    /// Time from there until the last batch was begun.
    pub queue: Duration,
    /// Time the last batch took.
    pub encode: Duration,
}

impl Embeddings {
    /// One vector an input.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.vectors.chunks_exact(self.dimension.max(1))
    }
}

/// Called once, on a worker's thread, with the answer.
pub type Reply = Box<dyn FnOnce(Result<Embeddings, EncoderError>) + Send>;

/// Dropping it tells the scheduler that nobody waits for the answer any more: what has not begun is skipped.
#[must_use = "dropping a pending request cancels it"]
pub struct Pending(Arc<Ticket>);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.cancelled.store(true, Ordering::Relaxed);
    }
}

/// A request on its way.
struct Ticket {
    model: Arc<Model>,
    tenant: Arc<str>,
    lane: Lane,
    max_tokens: usize,
    wanted: Wanted,
    bytes: usize,
    submitted: Instant,
    cancelled: AtomicBool,
    remaining: AtomicUsize,
    progress: Mutex<Progress>,
}

struct Progress {
    answer: Embeddings,
    tokenized: Instant,
    reply: Option<Reply>,
}

/// A text of a ticket, waiting for a tokenizer.
struct TextJob {
    ticket: Arc<Ticket>,
    index: usize,
    text: String,
}

/// What became of some texts of one ticket, to be handed in together: a lock for each text would be in the way of other
/// threads.
#[derive(Default)]
struct Tokenized {
    ticket: Option<Arc<Ticket>>,
    tokens: usize,
    truncated: usize,
    /// Of those that have tokens that the model does not know: which they are, and the share of such.
    unknown: Vec<(usize, f32)>,
}

impl Tokenized {
    fn add(&mut self, ticket: &Arc<Ticket>, index: usize, tokens: usize, truncated: bool, unknown: f32) {
        if !self.ticket.as_ref().is_some_and(|known| Arc::ptr_eq(known, ticket)) {
            self.hand_in();
            self.ticket = Some(ticket.clone());
        }
        self.tokens += tokens;
        self.truncated += usize::from(truncated);
        self.unknown.extend((unknown > 0.0).then_some((index, unknown)));
    }

    fn hand_in(&mut self) {
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
struct SequenceJob {
    ticket: Arc<Ticket>,
    index: usize,
    ids: Vec<u32>,
    /// The first token of a second text.
    second: usize,
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

struct Shared {
    config: SchedulerConfig,
    texts: Lanes<TextJob>,
    sequences: Lanes<SequenceJob>,
    /// Bytes admitted and not yet answered, by lane.
    admitted: [Room; 2],
    /// Workers that run a batch.
    busy: AtomicUsize,
    counters: Counters,
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
    fn finish(&self, ticket: &Ticket, result: Result<(), EncoderError>) {
        let mut progress = ticket.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reply) = progress.reply.take() {
            self.admitted[ticket.lane as usize].give_back(&ticket.tenant, ticket.bytes);
            let answer = std::mem::take(&mut progress.answer);
            drop(progress);
            reply(result.map(|()| answer));
        }
    }

    /// Counts `done` inputs of a ticket off and answers it after the last.
    fn count_off(&self, ticket: &Ticket, done: usize) {
        if ticket.remaining.fetch_sub(done, Ordering::AcqRel) == done {
            let cancelled = ticket.cancelled.load(Ordering::Relaxed);
            self.finish(ticket, if cancelled { Err(EncoderError::Stopped) } else { Ok(()) });
        }
    }

    fn skip_cancelled(&self, ticket: &Ticket) -> bool {
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

/// A batch being formed and run by one thread, and the memory that it reuses.
struct Worker<'a> {
    shared: &'a Shared,
    /// Whether it runs the interactive lane alone.
    is_urgent: bool,
    /// By model: one that nobody else has any more is not kept for this.
    sessions: Vec<(Weak<Model>, Box<dyn Session>)>,
    batch: PackedBatch,
    jobs: Vec<SequenceJob>,
    vectors: Vec<f32>,
    /// What the model's head makes of them.
    finished: Vec<f32>,
    keep: Vec<f32>,
    states: Vec<f32>,
    attention: Vec<f32>,
    /// Of the states by the token axes.
    products: Vec<f32>,
}

impl<'a> Worker<'a> {
    fn new(shared: &'a Shared, lanes: &[Lane]) -> Self {
        let is_urgent = lanes == [Lane::Interactive];
        let (sessions, jobs, vectors, finished, keep, states, attention, products) = Default::default();
        let batch = PackedBatch::new();
        Self { shared, is_urgent, sessions, batch, jobs, vectors, finished, keep, states, attention, products }
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
    fn forget_models_that_left(&mut self) {
        self.sessions.retain(|(model, _)| model.strong_count() > 0);
    }

    /// Runs the batch; a panic is the answer to its requests, each of which gives back the room that it had.
    fn run_guarded(&mut self, pause: &mut (dyn FnMut() + Send)) {
        if let Err(panicked) = guard(|| self.run(pause)) {
            // Their working memory may be half written.
            self.sessions.clear();
            self.fail(&panicked);
        }
    }

    fn take_guarded(&mut self, queue: &mut Turns<SequenceJob>) {
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
        let axes = model.axes.as_ref().zip(wanted.token_vectors);
        let needs_states = wanted.states || axes.is_some();
        self.states.resize(size(needs_states, self.batch.tokens() * dimension), 0.0);
        self.attention.resize(size(wanted.attention, self.batch.squares()), 0.0);
        let outputs = Outputs {
            vectors: wanted.vectors.then_some(&mut self.vectors),
            normalize: wanted.normalize && model.head.is_empty(),
            keep: wanted.keep.then_some(&mut self.keep),
            states: needs_states.then_some(&mut self.states),
            attention: wanted.attention.then_some(&mut self.attention),
        };
        let begun = Instant::now();
        // A query alone in the box is split over the idle cores; bulk batches are one a core anyhow.
        let busy = Busy::new(&shared.busy);
        let alone = busy.others == 0 && self.jobs[0].ticket.lane == Lane::Interactive;
        let helpers = if alone { shared.config.workers - 1 } else { 0 };
        self.sessions[known].1.run(&self.batch, outputs, helpers, pause);
        if let Some((axes, _)) = axes {
            axes.multiply(&self.states, &mut self.products);
        }
        if !model.head.is_empty() {
            model.head.apply(&self.vectors, dimension, wanted.normalize, &mut self.finished);
        }
        let vectors = if model.head.is_empty() { &self.vectors } else { &self.finished };
        let vector_dimension = model.dimension();
        drop(busy);
        let encode = begun.elapsed();
        shared.counters.tokens.fetch_add(self.batch.tokens() as u64, Ordering::Relaxed);
        shared.counters.sequences.fetch_add(self.batch.sequences() as u64, Ordering::Relaxed);
        shared.counters.batches.fetch_add(1, Ordering::Relaxed);
        shared.counters.busy_us.fetch_add(encode.as_micros() as u64, Ordering::Relaxed);
        let mut squares = 0;
        for (i, job) in self.jobs.iter().enumerate() {
            let (first, last) = (self.batch.offsets()[i] as usize, self.batch.offsets()[i + 1] as usize);
            let mut progress = job.ticket.progress.lock().unwrap_or_else(PoisonError::into_inner);
            let queue = begun.saturating_duration_since(progress.tokenized);
            if let Some(place) = progress.answer.vectors.chunks_exact_mut(vector_dimension).nth(job.index) {
                place.copy_from_slice(&vectors[i * vector_dimension..(i + 1) * vector_dimension]);
            }
            if let Some(place) = progress.answer.keep.get_mut(job.index) {
                *place = self.keep[first..last].to_vec();
            }
            if let Some(place) = progress.answer.states.get_mut(job.index) {
                *place = self.states[first * dimension..last * dimension].to_vec();
            }
            let square = squares..squares + (last - first).pow(2);
            squares = square.end;
            if let Some(place) = progress.answer.attention.get_mut(job.index) {
                *place = self.attention[square].to_vec();
            }
            if let (Some(place), Some((axes, dimension))) = (progress.answer.token_vectors.get_mut(job.index), axes) {
                // Without the tokens that open and close a sequence.
                let inner = first + 1..(last - 1).max(first + 1);
                *place = axes.vectors(&self.states, &self.products, inner, dimension);
            }
            progress.answer.queue = queue;
            progress.answer.encode = encode;
            drop(progress);
            shared.count_off(&job.ticket, 1);
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
