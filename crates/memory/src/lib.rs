//! The box: remember, recall, forget.
//!
//! [`MemoryBox`] ties the engines to the store: what enters is admitted (checked, redacted, compressed if that is
//! asked for, embedded by [`membox_encoder`]) and handed to [`membox_store`], which makes it durable and visible; a
//! recall asks the store for what is near and what has the words, and ranks it. On that stand sessions, memories
//! that are made of what was said, users, usage and tenants.
//!
//! This crate does not know HTTP or the command line, and no row, file or connection of the store.
//!
//! # Example
//!
//! ```
//! use membox_memory::{CollectionSettings, MemoryBox, MemoryConfig, Models, NewRecord, RecallMode, RecallRequest};
//!
//! let folder = tempfile::tempdir()?;
//! let memory = MemoryBox::open(&MemoryConfig::new(folder.path()), Models::default())?;
//! let settings = CollectionSettings { dimension: Some(2), ..Default::default() };
//! memory.collections().create_collection("default", "notes", &settings)?;
//! let (text, vector) = ("The spare key is under the pot.".into(), Some(vec![1.0, 0.0]));
//! let note = NewRecord { text, vector, ..Default::default() };
//! memory.records().upsert("default", "notes", vec![note])?;
//! let query = Some("where is the key?".into());
//! let question = RecallRequest { query, mode: Some(RecallMode::Text), ..Default::default() };
//! assert_eq!(memory.recall("default", "notes", &question)?.hits.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Threads
//!
//! Calls run on the caller's thread; a few threads called `job` do what was asked for as a job. What writes and what
//! maintains is the store's.

mod admission;
mod audit;
mod chunk;
mod collections;
mod compress;
mod config;
mod convert;
mod cursors;
mod error;
mod fields;
mod further_models;
mod jobs;
mod lists;
mod long_work;
mod media;
mod memories;
mod memory_box;
mod mend;
mod models;
mod moving;
mod names;
mod numbers;
#[cfg(test)]
mod panics;
mod recall;
mod records;
mod redaction;
mod retry;
#[cfg(test)]
mod sample;
mod sessions;
mod tenants;
mod verify;
mod views;

pub use audit::{Audit, list_audit, verify_audit};
pub use chunk::chunk;
pub use collections::Collections;
pub use config::{DEFAULT_ANSWER_CACHE, MemoryConfig};
pub use convert::compressed_text;
pub use cursors::Cursors;
pub use error::MemoryError;
pub use fields::{
    FIELDS, Field, Holds, MAX_ID_BYTES, MAX_METADATA_BYTES, MAX_NAME_BYTES, MAX_STATE_BYTES, MAX_TEXT_BYTES,
    MAX_TOOL_CALLS_BYTES,
};
pub use further_models::{FurtherModel, FurtherModels, LoadModel};
pub use jobs::Jobs;
pub use media::MAX_MEDIA_BYTES;
pub use membox_api::*;
pub use membox_compressor as compressor;
pub use membox_encoder as encoder;
pub use membox_llm as llm;
pub use membox_store::{
    AuditChain, BOX_LOG, BackupSummary, CheckpointOrder, Collection, DEFAULT_OPEN_COLLECTIONS, DeviceRows,
    EncryptionConfig, IndexError, Order, Overview, Position, Problem, REDACTION_FIELD, RecordsError, Report, RowDevice,
    backup, keys, keys_file, now, rename_durably, restore, sync_parent, time_millis, time_text,
};
pub use memories::{Memories, made_conditions};
pub use memory_box::{MemoryBox, retry_after};
pub use mend::rebuild;
pub use models::Models;
pub use names::{named_or_users, user_collection};
pub use numbers::{Kept, check_numbers, string_end};
pub use records::{MAX_RECORDS, Records, check_filter};
pub use sessions::{MAX_BLOB_BYTES, MAX_MESSAGES, MediaFile, MessageQuery, Sessions};
pub use tenants::{DEFAULT_MAX_MESSAGES, Export, Policies, Policy, TenantLimits, Tenants, Usage};
pub use verify::{overview, verify};

/// What counts tokens by an encoding that a request names; `at` says where in it.
pub(crate) fn token_counter(encoding: Option<&str>, at: &str) -> Result<compressor::TokenCounter, MemoryError> {
    let name = encoding.unwrap_or(compressor::DEFAULT_ENCODING);
    compressor::TokenCounter::by_name(name).map_err(|e| MemoryError::invalid(at, e.to_string()))
}

/// Milliseconds since 1970, so many seconds from now.
pub(crate) fn in_seconds(seconds: u64) -> i64 {
    let milliseconds = i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX);
    now().saturating_add(milliseconds).min(membox_store::LAST_TIME)
}
