//! The store of a box: collections of records and their vectors, over one data folder.
//!
//! A [`Store`] opens a data folder and ties the crates below it together: vectors are appended to a
//! `membox_vectors` file, the records that name them committed by `membox_records`, and both searched through
//! `membox_index` and `membox_text`. Whoever writes hands a [`Command`] to the one writer; when that returns, what
//! was written is durable and visible. Whoever reads takes [`Reads`], and from them a [`Snapshot`] of a collection,
//! in which records are [`RecordRef`]s. Rows, files and connections stay in here. What a second store of records has
//! to promise is in [`RecordStore`].
//!
//! ```text
//! Command ─▶ writer: append vectors ─▶ fsync ─▶ one transaction ─▶ commit ─▶ publish ─▶ answer
//!                                                                              │
//! Snapshot ◀─ Reads ◀────────────── CollectionState (rows, fields, links, tail) ◀┘
//!                                        ▲
//! maintenance: text commits, index builds, expiry, compaction, each swapped in
//! ```
//!
//! This crate embeds and compresses nothing, checks no request, and knows no HTTP.
//!
//! # Example
//!
//! ```
//! use membox_api::CollectionSettings;
//! use membox_store::{NewVersion, Question, Record, Store, StoreConfig, Wanted, WriteRecords};
//!
//! let folder = tempfile::tempdir()?;
//! let store = Store::open(&StoreConfig::new(folder.path()))?;
//! let settings = CollectionSettings { dimension: Some(2), ..CollectionSettings::default() };
//! let (notes, _) = store.create_collection("default", "notes", settings)?;
//!
//! let record = Record { id: "1".into(), text: "The key is under the pot.".into(), ..Record::default() };
//! let new = NewVersion {
//!     record, vector: vec![1.0, 0.0], windows: Default::default(), tokens: None, expected: None,
//!     keeps_created_at: false,
//! };
//! assert_eq!(store.write_records(WriteRecords::new(notes.clone(), vec![new]))?, [1]);
//!
//! let reads = store.read()?;
//! let terms = notes.query_terms("where is the key?");
//! let question = Question { vector: Some(vec![1.0, 0.1]), terms, tokens: None };
//! let wanted = Wanted { nearest: 10, effort: Default::default(), marked: None };
//! let (snapshot, found) = reads.search(&notes, None, &[&question], wanted)?;
//! assert_eq!((snapshot.len(), found[0].nearest.records.len(), found[0].words.best(10).len()), (1, 1, 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod box_key;
mod clock;
mod collection;
mod command;
mod compaction;
mod convert;
mod derived;
mod description;
mod error;
mod folder;
mod leases;
mod maintenance;
mod media;
mod moving;
mod reader_pool;
mod reads;
mod recall_counts;
mod record_store;
mod registry;
mod reserve;
mod row_checks;
mod search;
mod snapshot;
mod store;
mod surroundings;
#[cfg(test)]
mod tests;
mod word_scores;
mod writer;
mod writes;

pub use box_key::BoxKey;
pub use clock::now;
pub use collection::{Collection, JobGuard, tags};
pub use command::{
    Advance, AppendMessages, Appended, ChangeSession, CheckpointKey, Command, DeleteRecords, NewVector, NewVersion,
    Outcome, REDACTION_FIELD, Selection, SessionChange, Spend, Spent, TextWindows, VersionId, WriteRecords,
};
pub use description::{Description, IndexDescription};
pub use error::StoreError;
pub use folder::{
    BackupSummary, EncryptionConfig, Overview, Problem, Report, SealingConfig, backup, keys_file, list_audit,
    mend_files, overview, restore, verify, verify_audit,
};
pub use membox_index::{DeviceRows, Effort, IndexError, MAX_EF_SEARCH, RowDevice};
pub use membox_records::filter::{Condition, Scalar};
pub use membox_records::keys::{self, Keyring, SealingError};
pub use membox_records::{
    AuditChain, AuditEntry, AuditEvent, BOX_LOG, Blob, Checkpoint, CheckpointBody, CheckpointOrder, CheckpointPlace,
    CheckpointQuery, DayUsage, Erases, Filter, Footprint, JobBody, JobState, LAST_TIME, Media, Message, Namespace,
    Number, OpaqueJson, Order, Position, QueueItem, Quota, Range, RecallCount, Record, RecordsError, Resealed, Sealing,
    SessionState, StoredJob, StoredRecord, StoredSession, Summary, Thread, Window, civil, civil_millis, record_id,
    time_millis, time_text,
};
pub use membox_text::TextError;
pub use membox_vectors::{Metric, QuestionTokens, TokenSpace, TokenVectors, VectorsError, rename_durably, sync_parent};
pub use moving::Move;
pub use reads::{OneMoment, Reads, ValueCounts};
pub use record_store::{Change, Changes, Durability, Freshness, Lease, RecordReads, RecordStore, Sequence};
pub use search::{Matches, Neighbours, Question, Wanted};
pub use snapshot::{Fetched, Nearest, RecordRef, Snapshot, SpokenFor, StateVersion, TokenSimilarities};
pub use store::{DEFAULT_OPEN_COLLECTIONS, Store, StoreConfig};
pub use word_scores::WordScores;

/// The day of a time, in UTC, as 2026-05-20.
pub fn day(milliseconds: i64) -> String {
    let mut text = time_text(milliseconds);
    text.truncate("2026-05-20".len());
    text
}
