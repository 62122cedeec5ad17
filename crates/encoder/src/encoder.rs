//! The encoder as its callers see it: a model folder in; vectors and keep probabilities out.

use crate::EncoderError;
use crate::axes::TokenAxes;
use crate::background::Background;
use crate::checksums::{ChecksumSource, Checksums, Hex, ModelFiles};
use crate::cuda::{Chosen, choose};
use crate::engine::{Device, Engine, Precision};
use crate::lanes::Lane;
use crate::pooling::Pooling;
use crate::prompts::{Prompts, Purpose};
use crate::queries::QueryCache;
use crate::request::{Embeddings, Inputs, Reply, Request, Wanted};
use crate::scheduler::{Model, Scheduler};
use crate::sentence_transformer::{ModelDescription, ModelKind};
use crate::ticket::Pending;
use crate::tokenizer::{Token, Tokenizer};
use crate::vector_head::VectorHead;
use crate::weights::{EncoderWeights, KeepHead};
use crossbeam_channel::RecvTimeoutError;
use membox_threads::budget;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

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
    /// Queries of each scope kept by [`Encoder::cached_query`].
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

/// A loaded model.
pub struct Encoder {
    name: String,
    model: Arc<Model>,
    description: ModelDescription,
    why_not_cuda: Option<String>,
    checked_by: ChecksumSource,
    weights_sha256: String,
    scheduler: Arc<Scheduler>,
    queries: QueryCache,
    background: OnceLock<Background>,
}

impl Encoder {
    /// Loads `config.json`, `tokenizer.json` and `model.safetensors` of a model folder, and what sentence-transformers'
    /// files in it say, to be run by the scheduler's threads.
    pub fn load(
        name: &str,
        folder: &Path,
        config: EncoderConfig,
        scheduler: &Arc<Scheduler>,
    ) -> Result<Self, EncoderError> {
        let files = ModelFiles::new(folder, &config.checksums);
        let description = ModelDescription::read_from(&files)?;
        let mut tokenizer = Tokenizer::read(&files)?;
        if description.lower_case {
            tokenizer = tokenizer.in_lower_case();
        }
        let mut head = VectorHead::read(&files, &description)?;
        let weights = EncoderWeights::read_from(&files, description.classifier, description.splade)?;
        let mut weights = weights.with_pooling(description.pooling).with_f32_layers(&description.precision.f32_layers);
        if let Some(classifier) = weights.classifier.take() {
            head = VectorHead::classifier(classifier);
        }
        if let Some(head) = config.keep_head {
            weights = weights.with_keep_head(head)?;
        }
        let axes = TokenAxes::find(&files, &weights.sha256, weights.architecture.hidden_size)?;
        let weights_sha256 = Hex(&weights.sha256).to_string();
        let chosen = choose(weights, config.precision, config.device, config.kernels.as_deref())?;
        let Chosen { engine, why_not_cuda } = chosen;
        if let Some(reason) = &why_not_cuda {
            tracing::info!(model = name, reason, "no card is used");
        }
        tracing::info!(
            model = name,
            engine = engine.name(),
            checksums = config.checksums.source.name(),
            family = description.architecture.model_type.name(),
            pooling = description.pooling.name(),
            max_tokens = description.max_tokens,
            token_vectors = axes.is_some(),
            f32_layers = ?description.precision.f32_layers,
            "encoder ready"
        );
        Ok(Self {
            name: name.to_owned(),
            model: Arc::new(Model { engine, tokenizer, axes, head }),
            description,
            why_not_cuda,
            checked_by: config.checksums.source,
            weights_sha256,
            scheduler: scheduler.clone(),
            queries: QueryCache::new(config.query_cache),
            background: OnceLock::new(),
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

    /// SHA-256 of `model.safetensors`, as 64 hexadecimal digits.
    pub fn weights_sha256(&self) -> &str {
        &self.weights_sha256
    }

    /// Width of a vector; of sparse ones, the word pieces of the vocabulary.
    pub fn dimension(&self) -> usize {
        self.model.engine.sparse_width().unwrap_or_else(|| self.model.dimension())
    }

    /// Tokens kept of a text unless a caller says otherwise, special ones included.
    pub fn max_tokens(&self) -> usize {
        self.description.max_tokens
    }

    /// What comes before texts, by what they are embedded for.
    pub fn prompts(&self) -> &Prompts {
        &self.description.prompts
    }

    /// How token states become a vector.
    pub fn pooling(&self) -> Pooling {
        self.description.pooling
    }

    /// Lets it go: its memory is free as soon as nobody else has it.
    pub fn release(self: Arc<Self>) {
        let scheduler = self.scheduler.clone();
        drop(self);
        scheduler.forget_models_that_left();
    }

    /// The threads behind it, for counters and queue depths.
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// What it gives.
    pub fn kind(&self) -> ModelKind {
        self.description.kind()
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.model.tokenizer
    }

    /// What token vectors are made with; without it there are none.
    pub fn token_axes(&self) -> Option<&TokenAxes> {
        self.model.axes.as_ref()
    }

    pub(crate) fn queries(&self) -> &QueryCache {
        &self.queries
    }

    pub(crate) fn measured_background(&self) -> &OnceLock<Background> {
        &self.background
    }

    /// Every token of a text.
    pub fn tokens(&self, text: &str, add_special_tokens: bool) -> Result<Vec<Token>, EncoderError> {
        self.model.tokenizer.tokens(text, add_special_tokens)
    }

    /// Hands a request in; `reply` is called from a worker's thread. Dropping what this returns cancels the request.
    pub fn submit(&self, request: Request, reply: Reply) -> Result<Pending, EncoderError> {
        self.scheduler.submit(&self.model, request, reply)
    }

    /// Encodes texts of no [purpose](Purpose) to unit vectors and waits for them.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn embed(&self, texts: Vec<String>, lane: Lane) -> Result<Embeddings, EncoderError> {
        self.embed_for(Purpose::Plain, texts, lane)
    }

    /// Encodes texts to unit vectors, with the prompt of their purpose before each, and waits for them.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn embed_for(&self, purpose: Purpose, texts: Vec<String>, lane: Lane) -> Result<Embeddings, EncoderError> {
        self.encode(Request {
            inputs: Inputs::Texts(self.prompts().put_before(purpose, texts)),
            max_tokens: self.max_tokens(),
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
}
