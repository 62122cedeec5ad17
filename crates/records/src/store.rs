//! The database: opening it, and beginning to write or to read.
//!
//! One [`Store`] writes, in transactions that many requests share; a [`Reader`] sees committed states only. A
//! commit is the acknowledgement.

use crate::RecordsError;
use crate::audit::AuditKey;
use crate::foreign;
use crate::reader::Reader;
use crate::schema;
use crate::sealing::Sealing;
use crate::transaction::WriteTransaction;
use rusqlite::Connection;
use std::path::{Path, PathBuf};

/// The writer.
pub struct Store {
    path: PathBuf,
    connection: Connection,
    sealing: Sealing,
    audit_key: Option<AuditKey>,
}

impl Store {
    /// Opens or creates the database. What `sealing` has no keys for cannot be read.
    #[expect(clippy::disallowed_methods, reason = "the one connection that writes, with synchronous=FULL")]
    pub fn open(path: &Path, sealing: Sealing) -> Result<Self, RecordsError> {
        let connection = Connection::open(path)?;
        foreign::defend(&connection)?;
        // FULL: a commit is on disk when it returns. secure_delete: what is deleted is overwritten.
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;
             PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -65536;",
        )?;
        schema::bring_up_to_date(&connection, path)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(Self { path: path.to_owned(), connection, sealing, audit_key: None })
    }

    /// The same, which keys entries of the audit log.
    pub fn with_audit_key(self, key: AuditKey) -> Self {
        Self { audit_key: Some(key), ..self }
    }

    /// A reader of the same database.
    pub fn reader(&self) -> Result<Reader, RecordsError> {
        Reader::open(&self.path, self.sealing.clone())
    }

    /// Begins a transaction, which is durable when [`WriteTransaction::commit`] returns and gone when it is dropped
    /// before.
    pub fn begin(&mut self) -> Result<WriteTransaction<'_>, RecordsError> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        Ok(WriteTransaction::begun(&self.connection, &self.sealing, self.audit_key.as_ref()))
    }

    /// Moves the write-ahead log into the database file and empties it; `false` when a reader was in the way.
    pub fn checkpoint(&self) -> Result<bool, RecordsError> {
        Ok(self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |r| r.get::<_, i64>(0))? == 0)
    }
}
