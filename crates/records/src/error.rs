use membox_sealing::SealingError;
use membox_threads::budget::OverBudget;
use std::path::PathBuf;

/// What can go wrong in the record store.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// SQLite refused.
    #[error("the record store failed: {0}")]
    Sqlite(rusqlite::Error),
    /// The database was written by a newer membox.
    #[error("{path} has schema version {found}, and this membox knows versions up to {known}: use a newer membox",
        path = .path.display())]
    TooNew {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// The database was written by an older membox.
    #[error("{path} has schema version {found}, of an older membox: `membox serve` brings it up to date when it \
             starts", path = .path.display())]
    TooOld {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The schema of the database is not ours: somebody else has made it, or changed it.
    #[error(
        "{path} is not a database as membox makes it: it has {what}. Nothing of it was read",
        path = .path.display()
    )]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// What in it is not ours.
        what: String,
    },
    /// The expected version of a record is not the current one.
    #[error("record {id:?} has version {current}, not {expected}")]
    VersionConflict {
        /// Which record.
        id: String,
        /// The version that is there; 0 when there is no such record.
        current: u64,
        /// The version that the caller expected.
        expected: u64,
    },
    /// What a write belongs to, a collection or a record, was deleted before its turn came.
    #[error("{0} was deleted while the request was under way; nothing of the request was kept")]
    Gone(&'static str),
    /// A stored value cannot be read back.
    #[error("the record store holds a damaged value: {0}")]
    Damaged(String),
    /// The request has no memory for what it asks for.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// What is stored is sealed, and there are no keys.
    #[error("what is stored is sealed: set master_key_file to its master key")]
    Sealed,
    /// Keys, or what was sealed with them.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// A filter that does not say what it means.
    #[error("{pointer}: {reason}")]
    Filter {
        /// JSON pointer into the filter.
        pointer: String,
        /// What is wrong there.
        reason: String,
    },
}

impl From<rusqlite::Error> for RecordsError {
    fn from(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::FromSqlConversionFailure(_, _, inner) if inner.is::<Self>() => {
                match inner.downcast::<Self>() {
                    Ok(own) => *own,
                    Err(other) => Self::Damaged(other.to_string()),
                }
            }
            // The one foreign key of each table is that of what its rows go with.
            rusqlite::Error::SqliteFailure(failure, _)
                if failure.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY =>
            {
                Self::Gone("what it belongs to")
            }
            // What a column holds is not what is written into it.
            damage @ (rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..)) => Self::Damaged(damage.to_string()),
            other => Self::Sqlite(other),
        }
    }
}

impl RecordsError {
    /// Whether the disk is full.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Sqlite(rusqlite::Error::SqliteFailure(e, _)) => {
                // The shared memory of the log is written when it grows, and has a code of its own for that.
                e.code == rusqlite::ErrorCode::DiskFull || e.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE
            }
            Self::Sealing(SealingError::Io { source, .. }) => source.kind() == std::io::ErrorKind::StorageFull,
            _ => false,
        }
    }
}
