//! The box: one data folder, its models, and what holds for its tenants.

use crate::MemoryError;
use crate::encryption::{Changing, sealing_config};
use crate::jobs::Jobs;
use crate::models::Models;
use crate::pipeline::Pipeline;
use crate::policy::{Policies, Policy};
use crate::recall::AnswerCache;
use crate::settings::check_name;
use membox_compressor::Compressor;
use membox_encoder::{Embeddings, Encoder, EncoderError, Inputs, Lane};
use membox_llm::Llm;
use membox_store::{BoxKey, Collection, EncryptionConfig, Reads, RowDevice, Sealing, Store, StoreConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Answers that are remembered for each tenant where nothing else is said.
pub const DEFAULT_ANSWER_CACHE: usize = 1000;

/// How a box is set up.
#[derive(Clone, Debug)]
pub struct MemoryConfig {
    /// The data folder; created if it is not there.
    pub data_dir: PathBuf,
    /// Connections that read records at the same time.
    pub readers: usize,
    /// Threads of an index build.
    pub build_threads: usize,
    /// Collections that are kept open while nobody uses them; an open one holds a file, a map, and what recall needs in memory.
    pub open_collections: usize,
    /// Answers to questions that are remembered for each tenant; 0 for none.
    pub answer_cache: usize,
    /// What holds for tenants where their requests say nothing.
    pub policies: Policies,
    /// With what texts and metadata are sealed; `None` where they are not.
    pub encryption: Option<EncryptionConfig>,
    /// Where vectors of large collections may be searched, such as a GPU.
    pub row_device: Option<Arc<dyn RowDevice>>,
}

impl MemoryConfig {
    /// The defaults for a data folder.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let StoreConfig { data_dir, readers, build_threads, open_collections, .. } = StoreConfig::new(data_dir);
        Self {
            data_dir,
            readers,
            build_threads,
            open_collections,
            policies: Policies::default(),
            answer_cache: DEFAULT_ANSWER_CACHE,
            encryption: None,
            row_device: None,
        }
    }

    /// How its store is set up.
    pub(crate) fn store(&self) -> Result<StoreConfig, MemoryError> {
        Ok(StoreConfig {
            data_dir: self.data_dir.clone(),
            readers: self.readers,
            build_threads: self.build_threads,
            open_collections: self.open_collections,
            sealing: sealing_config(self)?,
            row_device: self.row_device.clone(),
        })
    }
}

/// A memory box. Shared by reference between threads; dropping it drains what was accepted and stops its threads.
pub struct MemoryBox {
    jobs: Jobs,
    models: Models,
    answers: AnswerCache,
    pipeline: Pipeline,
    policies: Policies,
    changing: Arc<Changing>,
    store: Store,
}

impl MemoryBox {
    /// Opens a data folder, alone: another process that tries finds it locked.
    pub fn open(config: &MemoryConfig, models: Models) -> Result<Self, MemoryError> {
        let memory = Self {
            store: Store::open(&config.store()?)?,
            models,
            jobs: Jobs::default(),
            answers: AnswerCache::new(config.answer_cache),
            pipeline: Pipeline::default(),
            policies: config.policies.clone(),
            changing: Arc::default(),
        };
        memory.resume_budget()?;
        Ok(memory)
    }

    /// The models.
    pub(crate) fn models(&self) -> &Models {
        &self.models
    }

    /// The encoder, if a model is installed.
    pub fn encoder(&self) -> Result<&Arc<Encoder>, MemoryError> {
        self.models.encoder()
    }

    /// A model that compresses, by its name or how that begins (`keep-head`, `llmlingua-2`); the box's first where none is named.
    pub fn compressor(&self, name: Option<&str>) -> Result<&Arc<Compressor>, MemoryError> {
        self.models.compressor(name)
    }

    /// The models that compress.
    pub fn compressors(&self) -> &[Arc<Compressor>] {
        &self.models.compressors
    }

    /// The language models, if any are set up.
    pub fn llm(&self) -> Option<&Llm> {
        self.models.llm()
    }

    /// Encodes texts or tokens for a caller who wants the vectors themselves.
    pub fn embed(
        &self,
        inputs: Inputs,
        max_tokens: Option<usize>,
        normalize: bool,
        lane: Lane,
    ) -> Result<Embeddings, MemoryError> {
        self.models.embed(inputs, max_tokens, normalize, lane)
    }

    /// The data folder.
    pub fn data_dir(&self) -> &Path {
        self.store.data_dir()
    }

    /// Why the box takes no writes any more, if so.
    pub fn read_only(&self) -> Option<String> {
        self.store.read_only()
    }

    /// Why the box cannot do its work for now, if so.
    pub fn check_ready(&self) -> Result<(), MemoryError> {
        self.store.check_ready()?;
        self.encoder().map(drop)
    }

    /// What fails again and again in the background, and is tried further; requests are answered all the same.
    pub fn troubles(&self) -> Vec<String> {
        self.store.troubles()
    }

    /// Long work, by id.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Reads what is committed.
    pub(crate) fn read(&self) -> Result<Reads<'_>, MemoryError> {
        Ok(self.store.read()?)
    }

    /// What holds for a tenant where its requests say nothing.
    pub fn policy(&self, tenant: &str) -> &Policy {
        self.policies.of(tenant)
    }

    pub(crate) fn answers(&self) -> &AnswerCache {
        &self.answers
    }

    /// How often an answer was remembered, and how often it was not.
    pub fn answer_counts(&self) -> (u64, u64) {
        self.answers.counts()
    }

    /// Forgets what a tenant has asked, what it was answered, and what it has said of late.
    pub(crate) fn forget_questions(&self, tenant: &str) {
        self.answers.forget(tenant);
        if let Ok(encoder) = self.encoder() {
            encoder.forget_queries(tenant);
        }
        self.pipeline.forget(tenant);
    }

    pub(crate) fn sealing(&self) -> &Sealing {
        self.store.sealing()
    }

    pub(crate) fn changing(&self) -> &Arc<Changing> {
        &self.changing
    }

    pub(crate) fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    pub(crate) fn box_key(&self) -> &BoxKey {
        self.store.box_key()
    }

    /// An open collection.
    pub fn collection(&self, tenant: &str, name: &str) -> Result<Arc<Collection>, MemoryError> {
        check_name(name)?;
        Ok(self.store.collection(tenant, name)?)
    }

    /// The collections that are open, for metrics.
    pub fn open_collections(&self) -> Vec<Arc<Collection>> {
        self.store.open_collections()
    }
}

impl Drop for MemoryBox {
    fn drop(&mut self) {
        self.jobs.cancel_all();
    }
}

/// Whether an error of the encoder means that the caller should come again later.
pub fn retry_after(error: &MemoryError) -> Option<u64> {
    match error {
        MemoryError::Overloaded { retry_after_s } | MemoryError::QuotaExceeded { retry_after_s, .. } => {
            Some(*retry_after_s)
        }
        MemoryError::Encoder(EncoderError::Overloaded { retry_after_s }) => Some(*retry_after_s),
        MemoryError::NoFiles(_) => Some(1),
        _ => None,
    }
}
