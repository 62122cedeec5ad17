//! The box: remember, recall, forget.
//!
//! [`MemoryBox`] opens a data folder and ties the crates below it together: records are embedded by [`membox_encoder`] (and compressed by
//! [`membox_compressor`] if that is asked for), their vectors
//! appended to a [`membox_vectors`] file, the records committed by [`membox_records`], and recalled through [`membox_index`] and the text
//! index. When a write returns it is durable and can be recalled, by vector and by text.
//!
//! This crate does not know HTTP or the command line.
//!
//! # Example
//!
//! ```
//! use membox_memory::{CollectionSettings, MemoryBox, MemoryConfig, Models, NewRecord, RecallMode, RecallRequest};
//!
//! let folder = tempfile::tempdir()?;
//! let memory = MemoryBox::open(&MemoryConfig::new(folder.path()), Models::default())?;
//! let settings = CollectionSettings { dimension: Some(2), ..Default::default() };
//! memory.create_collection("default", "notes", &settings)?;
//! let note = NewRecord { text: "The spare key is under the pot.".into(), vector: Some(vec![1.0, 0.0]), ..Default::default() };
//! memory.upsert("default", "notes", vec![note])?;
//! let question = RecallRequest { query: Some("where is the key?".into()), mode: RecallMode::Text, ..Default::default() };
//! assert_eq!(memory.recall("default", "notes", &question)?.hits.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Threads
//!
//! `writer` is the only thread that writes; requests that wait together share its commits. `maintenance` commits texts to tantivy, builds
//! indexes, sweeps what expired and compacts; `job-*` threads run what was asked for over the API. Calls run on the caller's thread.

mod answers;
mod append;
mod backup;
mod box_key;
mod catalogue;
mod chunk;
mod collection;
mod compaction;
mod consolidate;
mod context;
mod encryption;
mod error;
mod fields;
mod fitting;
mod forget;
mod fusion;
mod input;
mod jobs;
mod lifecycle;
mod links;
mod look;
mod maintenance;
mod media;
mod memory;
mod messages;
mod names;
mod numbers;
#[cfg(test)]
mod panics;
mod pipeline;
mod policy;
mod profile;
mod rebuild;
mod recall;
mod redaction;
mod retries;
mod same;
#[cfg(test)]
mod sample;
mod seal;
mod sessions;
mod settings;
mod shared;
mod synonyms;
mod threads;
mod types;
mod usage;
mod users;
mod uses;
mod verify;
mod work;
mod writer;

pub use backup::{BackupSummary, backup, restore};
pub use chunk::{Chunk, ChunkRequest, ChunkUnit, chunk};
pub use collection::Collection;
pub use consolidate::{ConsolidateReport, ConsolidateRequest, MergedPair};
pub use context::{ContextAnswer, ContextMessage, ContextRequest, Scope, Strategy};
pub use encryption::{EncryptionConfig, TenantReceipt, TenantView, keys_file};
pub use error::MemoryError;
pub use fields::{
    FIELDS, Field, Holds, MAX_ID_BYTES, MAX_METADATA_BYTES, MAX_NAME_BYTES, MAX_STATE_BYTES, MAX_TEXT_BYTES,
    MAX_TOOL_CALLS_BYTES,
};
pub use forget::{ForgetAnswer, ForgetRequest, ForgottenMemory};
pub use fusion::Fusion;
pub use jobs::{JobView, Jobs};
pub use look::{Overview, overview};
pub use media::{MOST_MEDIA_BYTES, MediaFile, MediaView, NewMedia};
pub use membox_compressor as compressor;
pub use membox_encoder as encoder;
pub use membox_index::{DeviceRows, IndexError, IndexPolicy, RowDevice};
pub use membox_llm as llm;
use membox_records::LAST_TIME;
pub use membox_records::keys;
pub use membox_records::{CheckpointOrder, Order, Position, RecordsError, time_millis, time_text};
pub use membox_redaction::{Kind as PersonalDataKind, Mode as RedactionMode, Redaction};
pub use membox_vectors::{rename_durably, sync_parent};
pub use memory::{ANSWER_CACHE, MOST_RECORDS, MemoryBox, MemoryConfig, Models, OPEN_COLLECTIONS, retry_after};
pub use messages::*;
pub use names::{named_or_users, user_collection};
pub use numbers::{Kept, check_numbers};
pub use pipeline::{
    AddMemories, AddedMemories, Cut, CutRule, CutTopic, Decision, MadeMemory, MemoriesPolicy, MemoryChange,
    MemoryMessage, TopicsAnswer, TopicsRequest, UpdateReport, UpdateRequest, UpdateTime, Waiting, made_conditions,
};
pub use policy::{Policies, Policy};
pub use profile::{ProfileView, Term};
pub use rebuild::rebuild;
pub use redaction::REDACTION_FIELD;
pub use sessions::{MAX_MESSAGES, MOST_MESSAGES};
pub use settings::{CollectionSettings, KindDefaults, Metric, VectorType};
pub use threads::{CheckpointView, NewCheckpoint, QueueItemView};
pub use types::*;
pub use usage::{QuotaSettings, UsageReport, UsageView};
pub use users::{AuditView, ErasureReceipt, verify_audit};
pub use verify::{Problem, Report, verify};

/// What counts tokens by an encoding that a request names; `at` says where in it.
pub(crate) fn token_counter(encoding: Option<&str>, at: &str) -> Result<compressor::TokenCounter, MemoryError> {
    let name = encoding.unwrap_or(compressor::DEFAULT_ENCODING);
    compressor::TokenCounter::by_name(name).map_err(|e| MemoryError::invalid(at, e.to_string()))
}

/// Milliseconds since 1970.
pub fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Milliseconds since 1970, so many seconds from now.
pub(crate) fn in_seconds(seconds: u64) -> i64 {
    let milliseconds = i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX);
    now().saturating_add(milliseconds).min(LAST_TIME)
}
