use membox_index::IndexError;
use membox_records::RecordsError;
use membox_text::TextError;
use membox_threads::Panicked;
use membox_threads::budget::Cancelled;
use membox_vectors::VectorsError;
use rustix::io::Errno;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What can go wrong in the store. Each variant says what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such collection.
    #[error("there is no collection {0:?}")]
    NoCollection(String),
    /// There is no such session.
    #[error("there is no session {0:?}")]
    NoSession(String),
    /// The collection was dropped between the beginning of a request and its turn.
    #[error("collection {0:?} was dropped while the request was under way; nothing of the request was kept")]
    Dropped(String),
    /// The collection was moved to another model while the request was under way.
    #[error("collection {0:?} was moved to another model while the request was under way; send it again")]
    Moved(String),
    /// What is written to is being erased.
    #[error("{0}, and takes no writes until that job has ended")]
    Erasing(String),
    /// The collection has a job running that excludes another.
    #[error("collection {0:?} has a job running; wait for it or cancel it")]
    Busy(String),
    /// A session exists, and was made otherwise.
    #[error("session {id:?} exists with other settings: somebody else has made it with another {what}")]
    SessionExists {
        /// Its id.
        id: String,
        /// `user` or `collection`.
        what: &'static str,
    },
    /// A message is there already by its id, and says something else.
    #[error("message {id:?} is there already, and says something else")]
    MessageExists {
        /// Its place in the request.
        place: usize,
        /// Its id in the session.
        id: String,
    },
    /// A checkpoint names the value of a channel that is not there.
    #[error("there is no blob of channel {0:?} at that version")]
    NoBlob(String),
    /// What belongs together is larger than it may be; nothing of the request was kept.
    #[error("{bytes} bytes as JSON with those of others; all have at most {max_bytes} together")]
    TooLarge {
        /// How large it would be.
        bytes: usize,
        /// How large it may be.
        max_bytes: usize,
    },
    /// Whoever followed a collection's changes is too far behind.
    #[error("the changes of collection {0:?} that follow are not known any more; read its records anew")]
    ChangesGone(String),
    /// The writer's queue is full.
    #[error("too many writes are waiting; try again in {retry_after_s} s")]
    Overloaded {
        /// When there should be room again, in seconds.
        retry_after_s: u64,
    },
    /// After a failed fsync nothing more can be promised: the store answers reads only.
    #[error("the box is read-only since a write to disk failed ({0}); look after the disk and restart membox")]
    ReadOnly(String),
    /// The disk is full; nothing of the request was kept.
    #[error("the disk is full; nothing of the request was kept")]
    DiskFull,
    /// The process has as many files open as it may, also after idle collections were closed.
    #[error("the box has as many files open as it may ({0}); try again, and raise its limit (ulimit -n)")]
    NoFiles(String),
    /// Its caller has gone.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The request met a fault of membox itself.
    #[error("the request failed inside the box; its log says more")]
    Panicked(#[from] Panicked),
    /// A thread that the store cannot do without has ended.
    #[error("{0}; its log says more; restart membox")]
    Broken(String),
    /// The store is shutting down.
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
    /// From a vector file.
    #[error(transparent)]
    Vectors(VectorsError),
    /// From a vector index.
    #[error(transparent)]
    Index(IndexError),
    /// From the text index.
    #[error(transparent)]
    Text(TextError),
    /// From the records.
    #[error(transparent)]
    Records(RecordsError),
}

impl From<VectorsError> for StoreError {
    fn from(error: VectorsError) -> Self {
        if error.is_disk_full() { Self::DiskFull } else { Self::no_files(&error).unwrap_or(Self::Vectors(error)) }
    }
}

impl From<RecordsError> for StoreError {
    fn from(error: RecordsError) -> Self {
        if error.is_disk_full() { Self::DiskFull } else { Self::no_files(&error).unwrap_or(Self::Records(error)) }
    }
}

impl From<IndexError> for StoreError {
    fn from(error: IndexError) -> Self {
        Self::scarce(&error).unwrap_or(Self::Index(error))
    }
}

impl From<TextError> for StoreError {
    fn from(error: TextError) -> Self {
        if error.is_disk_full() { Self::DiskFull } else { Self::scarce(&error).unwrap_or(Self::Text(error)) }
    }
}

/// Whether the system refused because the process, or the machine, has as many files open as it may.
fn is_out_of_files(error: &std::io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Whether an error of the system of some kind is among the causes of an error.
fn is_caused_by(error: &(dyn Error + 'static), is: impl Fn(&std::io::Error) -> bool) -> bool {
    let io = |cause: &(dyn Error + 'static)| match cause.downcast_ref::<std::io::Error>() {
        Some(io) => is(io),
        // As tantivy has it.
        None => cause.downcast_ref::<Arc<std::io::Error>>().is_some_and(|io| is(io)),
    };
    std::iter::successors(Some(error), |&cause| cause.source()).any(io)
}

impl StoreError {
    /// Names what was tried on which file, for `map_err`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            std::io::ErrorKind::StorageFull => Self::DiskFull,
            _ if is_out_of_files(&source) => Self::NoFiles(format!("cannot {action} {}", path.display())),
            _ => Self::Io { action, path, source },
        }
    }

    /// [`StoreError::DiskFull`] or [`StoreError::NoFiles`], if that is at the bottom of an error.
    fn scarce(error: &(dyn Error + 'static)) -> Option<Self> {
        let is_full = is_caused_by(error, |io| io.kind() == std::io::ErrorKind::StorageFull);
        if is_full { Some(Self::DiskFull) } else { Self::no_files(error) }
    }

    /// [`StoreError::NoFiles`], if that is at the bottom of an error.
    fn no_files(error: &(dyn Error + 'static)) -> Option<Self> {
        is_caused_by(error, is_out_of_files).then(|| Self::NoFiles(error.to_string()))
    }

    /// Whether the system cannot find a file.
    pub fn is_missing_file(&self) -> bool {
        let source = match self {
            Self::Io { source, .. } | Self::Vectors(VectorsError::Io { source, .. }) => source,
            _ => return false,
        };
        source.kind() == std::io::ErrorKind::NotFound
    }

    /// Whether somebody else has written to what the request read: read it again, and try again.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Records(RecordsError::VersionConflict { .. }))
    }

    /// An error of the same kind, for each of several requests that one failure ended.
    pub(crate) fn shared(&self) -> Self {
        match self {
            Self::DiskFull => Self::DiskFull,
            other => Self::ReadOnly(other.to_string()),
        }
    }
}
