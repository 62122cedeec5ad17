//! Records in SQLite, the one source of truth.
//!
//! [`Store`] writes collections, records, sessions, checkpoints, queues and jobs in transactions that requests
//! share; [`Reader`]s see committed states. From the records comes, in memory, the [`FieldIndex`] that filters are
//! answered from: it can be thrown away and built anew.
//!
//! This crate does not know the bytes of vectors (a record names a [slot](Slots) and its rows' checksums), no index
//! of texts, and nothing of HTTP.
//!
//! # Example
//!
//! ```
//! use membox_records::{Record, Sealing, Slots, Store, StoredCollection};
//!
//! let folder = tempfile::tempdir()?;
//! let mut store = Store::open(&folder.path().join("membox.db"), Sealing::default())?;
//! let mut transaction = store.begin()?;
//! let vector_file = uuid::Uuid::new_v4();
//! let notes = transaction.create_collection(&StoredCollection {
//!     id: 0, tenant: "default".into(), name: "notes".into(), settings: "{}".into(), vector_file, rows: 0,
//!     created_at: 0,
//! })?;
//! let record = Record {
//!     id: "a".into(), text: "The spare key is under the pot.".into(), metadata: Default::default(), created_at: 0,
//!     expires_at: None, importance: None, user: None, session: None, kind: None, given_vector: false,
//!     message: None, payload: None, updated_at: None,
//! };
//! transaction.upsert(&Slots::new(notes, vector_file), &record, 0, 0, None)?;
//! transaction.commit()?;
//! assert_eq!(store.reader()?.record(notes, "a")?.map(|r| r.version), Some(1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod audit;
mod blobs;
mod checkpoints;
mod collections;
mod error;
mod field_index;
mod file_name;
pub mod filter;
mod footprint;
mod foreign;
mod jobs;
mod media;
mod messages;
mod number;
mod opaque;
mod queue;
mod reader;
mod recall_counts;
mod record;
mod record_reads;
mod record_writes;
mod row_set;
mod rows;
mod schema;
mod sealing;
mod sessions;
mod slots;
mod store;
mod threads;
mod time;
mod transaction;
mod unchanged;
mod usage;

pub use audit::{AuditChain, AuditEntry, AuditEvent, AuditKey, BOX_LOG};
pub use blobs::Blob;
pub use checkpoints::{Checkpoint, CheckpointBody, CheckpointOrder, CheckpointPlace};
pub use error::RecordsError;
pub use field_index::FieldIndex;
pub use file_name::FileName;
pub use filter::Filter;
pub use footprint::Footprint;
pub use jobs::{Erases, Erasure, JobBody, JobState, StoredJob};
pub use membox_sealing as keys;
pub use messages::{Renamed, record_id};
pub use number::Number;
pub use opaque::OpaqueJson;
pub use queue::QueueItem;
pub use reader::{Reader, Snapshot};
pub use recall_counts::RecallCount;
pub use record::{
    Deleted, LiveRow, Media, Message, NamedRows, Record, RowChecks, StoredCollection, StoredRecord, Window,
};
pub use record_reads::{Order, Position};
pub use record_writes::Written;
pub use schema::SCHEMA_VERSION;
pub use sealing::{Resealed, Sealing};
pub use sessions::{Range, SessionState, StoredSession, Summary};
pub use slots::Slots;
pub use store::Store;
pub use threads::{CheckpointQuery, MAX_PAGE_BYTES, Namespace, Thread};
pub use time::{FIRST_TIME, LAST_TIME, civil, civil_millis, time_millis, time_text};
pub use transaction::WriteTransaction;
pub use unchanged::log_of;
pub use usage::{DayUsage, Quota};

/// Results of this crate.
pub type Result<T> = std::result::Result<T, RecordsError>;
