//! The encoder as its callers see it: a model folder in; vectors and keep probabilities out.

use crate::EncoderError;
use crate::checksums::{ChecksumSource, Checksums, ModelFiles};
use crate::cuda::{Chosen, choose};
use crate::engine::{Device, Engine, Precision};
use crate::lanes::Lane;
use crate::scheduler::{Embeddings, Inputs, Model, Pending, Reply, Request, Scheduler, Wanted};
use crate::tokenizer::{Token, Tokenizer};
use crate::weights::{BertWeights, KeepHead};
use crossbeam_channel::RecvTimeoutError;
use membox_threads::budget;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Tokens kept of a text unless the caller asks for more: sentence-transformers' `max_seq_length` of all-MiniLM-L6-v2.
pub const DEFAULT_MAX_TOKENS: usize = 256;

/// How often who waits for vectors looks whether somebody still waits for them.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How an encoder is set up.
#[derive(Clone, Debug)]
pub struct EncoderConfig {
    /// What it runs on.
    pub device: Device,
    /// Arithmetic on the CPU; a GPU computes in f16.
    pub precision: Precision,
    /// Where kernels that were compiled for a GPU are kept; nowhere, and they are compiled at each start.
    pub kernels: Option<PathBuf>,
    /// What the model's files must be.
    pub checksums: Checksums,
    /// A keep head over a model that has none of its own.
    pub keep_head: Option<KeepHead>,
    /// Query vectors of each scope kept by [`Encoder::cached_query`].
    pub query_cache: usize,
}

impl Default for EncoderConfig {
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            precision: Precision::Int8,
            kernels: None,
            checksums: Checksums::default(),
            keep_head: None,
            query_cache: 1000,
        }
    }
}

/// Vectors of queries.
type Queries = lru::LruCache<String, Arc<[f32]>>;

/// A loaded model.
pub struct Encoder {
    name: String,
    model: Arc<Model>,
    why_not_cuda: Option<String>,
    checked_by: ChecksumSource,
    scheduler: Arc<Scheduler>,
    /// By scope: no tenant can tell what another has asked, nor pushes it out.
    queries: Mutex<HashMap<String, Queries>>,
    query_cache: NonZeroUsize,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Encoder {
    /// Loads `config.json`, `tokenizer.json` and `model.safetensors` of a model folder, to be run by the scheduler's
    /// threads.
    pub fn load(
        name: &str,
        folder: &Path,
        config: EncoderConfig,
        scheduler: &Arc<Scheduler>,
    ) -> Result<Self, EncoderError> {
        let files = ModelFiles::new(folder, &config.checksums);
        let tokenizer = Tokenizer::read(&files)?;
        let mut weights = BertWeights::read_from(&files)?;
        if let Some(head) = config.keep_head {
            weights = weights.with_keep_head(head)?;
        }
        let Chosen { engine, why_not_cuda } =
            choose(weights, config.precision, config.device, config.kernels.as_deref())?;
        if let Some(reason) = &why_not_cuda {
            tracing::info!(model = name, reason, "no card is used");
        }
        let query_cache = NonZeroUsize::new(config.query_cache).unwrap_or(NonZeroUsize::MIN);
        tracing::info!(
            model = name,
            engine = engine.name(),
            checksums = config.checksums.source.name(),
            "encoder ready"
        );
        Ok(Self {
            name: name.to_owned(),
            model: Arc::new(Model { engine, tokenizer }),
            why_not_cuda,
            checked_by: config.checksums.source,
            scheduler: scheduler.clone(),
            queries: Mutex::default(),
            query_cache,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        })
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which engine computes.
    pub fn engine(&self) -> &dyn Engine {
        &*self.model.engine
    }

    /// Why no GPU computes, where one was looked for.
    pub fn why_not_cuda(&self) -> Option<&str> {
        self.why_not_cuda.as_deref()
    }

    /// Who said what its files must be, when they were loaded.
    pub fn checked_by(&self) -> ChecksumSource {
        self.checked_by
    }

    /// Width of a vector.
    pub fn dimension(&self) -> usize {
        self.model.engine.dimension()
    }

    /// The threads behind it, for counters and queue depths.
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.model.tokenizer
    }

    /// Every token of a text.
    pub fn tokens(&self, text: &str, add_special_tokens: bool) -> Result<Vec<Token>, EncoderError> {
        self.model.tokenizer.tokens(text, add_special_tokens)
    }

    /// Hands a request in; `reply` is called from a worker's thread. Dropping what this returns cancels the request.
    pub fn submit(&self, request: Request, reply: Reply) -> Result<Pending, EncoderError> {
        self.scheduler.submit(&self.model, request, reply)
    }

    /// Encodes texts to unit vectors and waits for them.
    pub fn embed(&self, texts: Vec<String>, lane: Lane) -> Result<Embeddings, EncoderError> {
        self.encode(Request {
            inputs: Inputs::Texts(texts),
            max_tokens: DEFAULT_MAX_TOKENS,
            wanted: Wanted::vectors(true),
            lane,
        })
    }

    /// Hands a request in and waits for the answer, as long as somebody waits for the [request](budget) of this thread.
    pub fn encode(&self, request: Request) -> Result<Embeddings, EncoderError> {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let _pending = self.submit(request, Box::new(move |answer| drop(sender.send(answer))))?;
        loop {
            match receiver.recv_timeout(LOOK_EVERY) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Disconnected) => return Err(EncoderError::Stopped),
                // What nobody waits for is given up, and the thread is free for others.
                Err(RecvTimeoutError::Timeout) => budget::check().map_err(|_| EncoderError::Stopped)?,
            }
        }
    }

    /// The vector of a query asked before in the same scope, if it is still remembered.
    pub fn cached_query(&self, scope: &str, text: &str) -> Option<Arc<[f32]>> {
        let mut queries = self.queries.lock().unwrap_or_else(PoisonError::into_inner);
        let found = queries.get_mut(scope).and_then(|queries| queries.get(text).cloned());
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Remembers the vector of a query.
    pub fn cache_query(&self, scope: &str, text: &str, vector: Arc<[f32]>) {
        let mut queries = self.queries.lock().unwrap_or_else(PoisonError::into_inner);
        let own = queries.entry(scope.to_owned()).or_insert_with(|| Queries::new(self.query_cache));
        own.put(text.to_owned(), vector);
    }

    /// Forgets every cached query of a scope.
    pub fn forget_queries(&self, scope: &str) {
        self.queries.lock().unwrap_or_else(PoisonError::into_inner).remove(scope);
    }

    /// Cache hits and misses so far.
    pub fn cache_counts(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }
}
