use membox_compressor::CompressorError;
use membox_encoder::EncoderError;
use membox_llm::LlmError;
use membox_store::{IndexError, RecordsError, StoreError, TextError, VectorsError};
use membox_threads::Panicked;
use membox_threads::budget::{Cancelled, OverBudget};
use std::path::PathBuf;

/// What can go wrong in the box. Each variant says what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// A field of the request is not what it must be.
    #[error("{pointer}: {reason}")]
    Invalid {
        /// JSON pointer to the field.
        pointer: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A field of the request is well-formed but cannot be done.
    #[error("{pointer}: {reason}")]
    Impossible {
        /// JSON pointer to the field.
        pointer: String,
        /// Why not.
        reason: String,
    },
    /// A field names something that is there already and is something else.
    #[error("{pointer}: {reason}")]
    Taken {
        /// JSON pointer to the field.
        pointer: String,
        /// What is there.
        reason: String,
    },
    /// There is no such collection.
    #[error("there is no collection {0:?}")]
    NoCollection(String),
    /// There is no such record.
    #[error("there is no record {0:?}")]
    NoRecord(String),
    /// There is no such session.
    #[error("there is no session {0:?}")]
    NoSession(String),
    /// There is no such thing.
    #[error("there is no {what} {id:?}")]
    Missing {
        /// What kind of thing.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// There is no such job.
    #[error("there is no job {0:?}")]
    NoJob(String),
    /// The collection exists with other settings.
    #[error("collection {name:?} exists with other settings: {difference}")]
    Exists {
        /// Its name.
        name: String,
        /// Which setting differs, and how.
        difference: String,
    },
    /// The collection was dropped between the beginning of a request and its turn.
    #[error("collection {0:?} was dropped while the request was under way; nothing of the request was kept")]
    Dropped(String),
    /// The job has ended, so that it cannot be cancelled any more.
    #[error("job {id:?} has ended already: it is {state}")]
    JobEnded {
        /// Its id.
        id: String,
        /// `done` or `failed`.
        state: &'static str,
    },
    /// The collection was moved to another model between the beginning of a request and its end.
    #[error("collection {0:?} was moved to another model while the request was under way; send it again")]
    Moved(String),
    /// What is written to is being erased.
    #[error("{0}, and takes no writes until that job has ended: GET /v1/jobs?kind=erase says how far it is")]
    Erasing(String),
    /// A tenant has as many jobs waiting as it may.
    #[error("{waiting} jobs of this tenant wait already; try again in {retry_after_s} s")]
    TooManyJobs {
        /// How many wait.
        waiting: usize,
        /// When there may be room again, in seconds.
        retry_after_s: u64,
    },
    /// A tenant has stored as much as it may.
    #[error("that is over this tenant's {limit} of {most}: delete something, or ask whoever runs the box for more")]
    LimitReached {
        /// The limit's name.
        limit: &'static str,
        /// What it is.
        most: u64,
        /// When to try again, in seconds, if something was deleted.
        retry_after_s: u64,
    },
    /// The collection has a job running that excludes another.
    #[error("collection {0:?} has a job running or waiting; wait for it or cancel it")]
    Busy(String),
    /// The tenant's keys or data are being changed as a whole.
    #[error("tenant {0:?} is being sealed anew or erased; wait for that job")]
    TenantBusy(String),
    /// No text model is loaded.
    #[error("no embedding model is installed: run `membox models pull all-MiniLM-L6-v2` and restart")]
    NoModel,
    /// A model that the settings name cannot be loaded.
    #[error("the model {name:?} cannot be loaded: {reason}")]
    ModelNotLoaded {
        /// Its name.
        name: String,
        /// Why not.
        reason: String,
    },
    /// No such model that compresses is loaded.
    #[error(
        "no {name} is loaded that compresses (loaded: {loaded:?}): run `membox models pull {name}`, set \
            compression_model = \"{name}\" and restart"
    )]
    NoCompressor {
        /// What was asked for.
        name: String,
        /// Which are loaded.
        loaded: Vec<String>,
    },
    /// The writer's queue is full.
    #[error("too many writes are waiting; try again in {retry_after_s} s")]
    Overloaded {
        /// When there should be room again, in seconds.
        retry_after_s: u64,
    },
    /// A user has used what there was for the day.
    #[error("{user:?} has used {used} of {quota} tokens today; the quota begins anew in {retry_after_s} s")]
    QuotaExceeded {
        /// Who.
        user: String,
        /// Tokens of today.
        used: i64,
        /// Tokens a day.
        quota: i64,
        /// Until the next day begins in UTC, in seconds.
        retry_after_s: u64,
    },
    /// After a failed fsync nothing more can be promised: the box answers reads only.
    #[error("the box is read-only since a write to disk failed ({0}); look after the disk and restart membox")]
    ReadOnly(String),
    /// The disk is full; nothing of the request was kept.
    #[error("the disk is full; nothing of the request was kept")]
    DiskFull,
    /// The process has as many files open as it may, also after idle collections were closed.
    #[error("the box has as many files open as it may ({0}); try again, and raise its limit (ulimit -n)")]
    NoFiles(String),
    /// The request met a fault of membox itself.
    #[error("the request failed inside the box; its log says more")]
    Panicked(#[from] Panicked),
    /// A thread that the box cannot do without has ended.
    #[error("{0}; its log says more; restart membox")]
    Broken(String),
    /// The box is shutting down.
    #[error("the box is stopping")]
    Stopped,
    /// Another process holds the data folder.
    #[error("{path} is in use by another membox (lock file {path}/membox.lock); stop it first, or use another \
        --data-dir", path = .0.display())]
    Locked(PathBuf),
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}", path = .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// From language models.
    #[error(transparent)]
    Llm(#[from] LlmError),
    /// From the encoder.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// From compression and token counting.
    #[error(transparent)]
    Compressor(CompressorError),
    /// From a vector file.
    #[error(transparent)]
    Vectors(VectorsError),
    /// Its caller has gone.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// It has no memory for what it asks for.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// From an index.
    #[error(transparent)]
    Index(IndexError),
    /// From a text index.
    #[error(transparent)]
    Text(TextError),
    /// From the record store.
    #[error(transparent)]
    Records(RecordsError),
}

impl From<StoreError> for MemoryError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoCollection(name) => Self::NoCollection(name),
            StoreError::NoSession(id) => Self::NoSession(id),
            StoreError::Dropped(name) => Self::Dropped(name),
            StoreError::Moved(name) => Self::Moved(name),
            StoreError::Erasing(what) => Self::Erasing(what),
            StoreError::Busy(name) => Self::Busy(name),
            StoreError::SessionExists { id, what } => {
                let difference = format!("somebody else has made it with another {what}");
                Self::Exists { name: id, difference }
            }
            StoreError::MessageExists { place, id } => Self::Taken {
                pointer: format!("/messages/{place}/id"),
                reason: format!("message {id:?} is there already, and says something else"),
            },
            StoreError::NoBlob(channel) => {
                let reason = "there is no blob of this channel at that version";
                Self::impossible(format!("/channels/{}", channel.replace('~', "~0").replace('/', "~1")), reason)
            }
            error @ StoreError::TooLarge { .. } => Self::impossible("", error.to_string()),
            StoreError::Overloaded { retry_after_s } => Self::Overloaded { retry_after_s },
            StoreError::ReadOnly(reason) => Self::ReadOnly(reason),
            StoreError::DiskFull => Self::DiskFull,
            StoreError::NoFiles(reason) => Self::NoFiles(reason),
            StoreError::Panicked(panicked) => Self::Panicked(panicked),
            StoreError::Cancelled(cancelled) => Self::Cancelled(cancelled),
            StoreError::Broken(reason) => Self::Broken(reason),
            // Nothing here follows changes.
            error @ StoreError::ChangesGone(_) => Self::Broken(error.to_string()),
            StoreError::Stopped => Self::Stopped,
            StoreError::Locked(path) => Self::Locked(path),
            StoreError::Io { action, path, source } => Self::Io { action, path, source },
            StoreError::Vectors(error) => Self::Vectors(error),
            StoreError::Index(error) => Self::Index(error),
            StoreError::Text(error) => Self::Text(error),
            StoreError::Records(RecordsError::OverBudget(over)) => Self::OverBudget(over),
            StoreError::Records(error) => Self::Records(error),
        }
    }
}

/// What is asked of the records' own types: filters, keys.
impl From<RecordsError> for MemoryError {
    fn from(error: RecordsError) -> Self {
        StoreError::from(error).into()
    }
}

impl From<CompressorError> for MemoryError {
    fn from(error: CompressorError) -> Self {
        match error {
            CompressorError::Encoder(error) => Self::Encoder(error),
            other => Self::Compressor(other),
        }
    }
}

impl MemoryError {
    pub(crate) fn invalid(pointer: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { pointer: pointer.into(), reason: reason.into() }
    }

    pub(crate) fn impossible(pointer: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Impossible { pointer: pointer.into(), reason: reason.into() }
    }

    /// The same, where the field is a part of another one.
    pub(crate) fn within(self, part: &str) -> Self {
        match self {
            Self::Invalid { pointer, reason } => Self::Invalid { pointer: format!("{part}{pointer}"), reason },
            Self::Impossible { pointer, reason } => Self::Impossible { pointer: format!("{part}{pointer}"), reason },
            other => other,
        }
    }

    /// Whether somebody else has written to what the request read: read it again, and try again.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Moved(_) | Self::Records(RecordsError::VersionConflict { .. }))
    }

    /// Whether the system cannot find a file.
    pub(crate) fn is_missing_file(&self) -> bool {
        let source = match self {
            Self::Io { source, .. } | Self::Vectors(VectorsError::Io { source, .. }) => source,
            _ => return false,
        };
        source.kind() == std::io::ErrorKind::NotFound
    }
}
