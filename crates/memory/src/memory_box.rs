//! The box: one data folder, its models, and what holds for its tenants.

use crate::MemoryError;
use crate::admission::Admission;
use crate::audit::Audit;
use crate::collections::Collections;
use crate::config::MemoryConfig;
use crate::cursors::Cursors;
use crate::jobs::{JobQueue, Jobs};
use crate::media::MediaFiles;
use crate::memories::{Memories, Pipeline};
use crate::models::Models;
use crate::recall::{AnswerCache, Recall};
use crate::records::Records;
use crate::sessions::Sessions;
use crate::tenants::{Limits, Policies, Policy, StoredCounts, Tenants, Usage, llm_usage};
use membox_api::{RecallAnswer, RecallRequest};
use membox_encoder::EncoderError;
use membox_store::{Collection, Store};
use membox_threads::budget::OverBudget;
use std::path::Path;
use std::sync::Arc;

/// A memory box. Shared by reference between threads; dropping it drains what was accepted and stops its threads.
pub struct MemoryBox {
    queue: Arc<JobQueue>,
    models: Models,
    answers: AnswerCache,
    pipeline: Pipeline,
    policies: Policies,
    counts: StoredCounts,
    store: Store,
}

impl MemoryBox {
    /// Opens a data folder, alone: another process that tries finds it locked.
    pub fn open(config: &MemoryConfig, models: Models) -> Result<Self, MemoryError> {
        let memory = Self {
            store: Store::open(&config.store()?)?,
            models,
            queue: Arc::default(),
            answers: AnswerCache::new(config.answer_cache),
            pipeline: Pipeline::default(),
            policies: config.policies.clone(),
            counts: StoredCounts::default(),
        };
        if let Some(llm) = memory.models.llm() {
            llm_usage::resume(&memory.store, llm)?;
        }
        Ok(memory)
    }

    /// The models.
    pub fn models(&self) -> &Models {
        &self.models
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn queue(&self) -> &Arc<JobQueue> {
        &self.queue
    }

    /// What holds for a tenant where its requests say nothing.
    pub fn policy(&self, tenant: &str) -> &Policy {
        self.policies.of(tenant)
    }

    /// Long work.
    pub fn jobs(&self) -> Jobs<'_> {
        Jobs { store: &self.store, queue: &self.queue }
    }

    /// The audit log.
    pub fn audit(&self) -> Audit<'_> {
        Audit { store: &self.store }
    }

    /// Cursors and ids that are given out sealed.
    pub fn cursors(&self) -> Cursors<'_> {
        Cursors { store: &self.store }
    }

    pub(crate) fn limits(&self) -> Limits<'_> {
        let Self { store, policies, counts, .. } = self;
        Limits { store, policies, counts }
    }

    pub(crate) fn admission(&self) -> Admission<'_> {
        Admission { store: &self.store, limits: self.limits() }
    }

    /// Collections.
    pub fn collections(&self) -> Collections<'_> {
        let Self { store, models, policies, .. } = self;
        Collections { store, models, policies, limits: self.limits(), audit: self.audit() }
    }

    /// Records of collections.
    pub fn records(&self) -> Records<'_> {
        let Self { store, models, .. } = self;
        let (collections, admission, audit) = (self.collections(), self.admission(), self.audit());
        Records { store, models, collections, admission, audit }
    }

    fn recalls(&self) -> Recall<'_> {
        let Self { store, models, answers, .. } = self;
        Recall { store, models, collections: self.collections(), answers }
    }

    /// Answers a question to a collection.
    pub fn recall(&self, tenant: &str, collection: &str, request: &RecallRequest) -> Result<RecallAnswer, MemoryError> {
        self.recalls().recall(tenant, collection, request)
    }

    /// How often an answer was remembered, and how often it was not.
    pub fn answer_counts(&self) -> (u64, u64) {
        self.answers.counts()
    }

    /// Sessions: messages, contexts, queues and checkpoints.
    pub fn sessions(&self) -> Sessions<'_> {
        let Self { store, models, policies, .. } = self;
        Sessions {
            store,
            models,
            policies,
            collections: self.collections(),
            records: self.records(),
            admission: self.admission(),
            media: MediaFiles { store },
            recall: self.recalls(),
            cursors: self.cursors(),
        }
    }

    /// Memories that are made of what was said.
    pub fn memories(&self) -> Memories<'_> {
        let Self { store, models, pipeline, .. } = self;
        let (collections, records, sessions) = (self.collections(), self.records(), self.sessions());
        Memories { store, models, collections, records, admission: self.admission(), sessions, pipeline }
    }

    /// What users have used, and their quotas.
    pub fn usage(&self) -> Usage<'_> {
        Usage { store: &self.store, policies: &self.policies }
    }

    /// Tenants and their users.
    pub fn tenants(&self) -> Tenants<'_> {
        let Self { store, models, answers, pipeline, .. } = self;
        Tenants {
            store,
            models,
            sessions: self.sessions(),
            media: MediaFiles { store },
            usage: self.usage(),
            audit: self.audit(),
            answers,
            pipeline,
        }
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
        self.models.encoder().map(drop)
    }

    /// What fails again and again in the background, and is tried further; requests are answered all the same.
    pub fn troubles(&self) -> Vec<String> {
        self.store.troubles()
    }

    /// The collections that are open, for metrics.
    pub fn open_collections(&self) -> Vec<Arc<Collection>> {
        self.store.open_collections()
    }
}

impl Drop for MemoryBox {
    fn drop(&mut self) {
        self.queue.stop();
    }
}

/// Whether an error of the encoder means that the caller should come again later.
pub fn retry_after(error: &MemoryError) -> Option<u64> {
    match error {
        MemoryError::Overloaded { retry_after_s }
        | MemoryError::QuotaExceeded { retry_after_s, .. }
        | MemoryError::TooManyJobs { retry_after_s, .. }
        | MemoryError::LimitReached { retry_after_s, .. } => Some(*retry_after_s),
        MemoryError::Encoder(EncoderError::Overloaded { retry_after_s }) => Some(*retry_after_s),
        MemoryError::NoFiles(_) | MemoryError::Moved(_) | MemoryError::OverBudget(OverBudget::Taken) => Some(1),
        _ => None,
    }
}
