//! A read-only connection: it sees committed states only. What is read is in the modules of each concept.

use crate::RecordsError;
use crate::audit::AuditKey;
use crate::foreign;
use crate::schema::{self, SCHEMA_VERSION};
use crate::sealing::Sealing;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// One read-only connection.
pub struct Reader {
    pub(crate) connection: Connection,
    pub(crate) sealing: Sealing,
}

impl Reader {
    /// Opens a database for reading, beside a writer in this or another process. What `sealing` has no keys for
    /// cannot be read.
    #[expect(clippy::disallowed_methods, reason = "it only reads")]
    pub fn open(path: &Path, sealing: Sealing) -> Result<Self, RecordsError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        Self::over(connection, path, sealing)
    }

    pub(crate) fn over(connection: Connection, path: &Path, sealing: Sealing) -> Result<Self, RecordsError> {
        foreign::defend(&connection)?;
        connection.set_prepared_statement_cache_capacity(64);
        let found: u32 = connection.query_row("PRAGMA user_version", [], |r| r.get(0))?;
        if found < SCHEMA_VERSION {
            return Err(RecordsError::TooOld { path: path.to_owned(), found });
        }
        if found > SCHEMA_VERSION {
            return Err(RecordsError::TooNew { path: path.to_owned(), found, known: SCHEMA_VERSION });
        }
        schema::check(&connection, path)?;
        Ok(Self { connection, sealing })
    }

    /// Makes what is read until the guard is dropped be of one moment. It also saves each read the locks of its own.
    pub fn snapshot(&self) -> Result<Snapshot<'_>, RecordsError> {
        self.connection.prepare_cached("BEGIN")?.execute([])?;
        Ok(Snapshot(self))
    }

    /// Whose texts are sealed, and the keys.
    pub fn sealing(&self) -> &Sealing {
        &self.sealing
    }

    /// What does not have its checksum, or cannot be read, beside records: collections, sessions, checkpoints, blobs,
    /// queues, jobs, the audit log.
    pub fn damaged_tables(&self, audit_keys: &[AuditKey]) -> Result<Vec<String>, RecordsError> {
        let tables = [
            self.damaged_collections()?,
            self.damaged_sessions()?,
            self.damaged_checkpoints()?,
            self.damaged_blobs()?,
            self.damaged_inputs()?,
            self.damaged_jobs()?,
        ];
        let mut damaged = tables.concat();
        damaged.extend(self.verify_audit(audit_keys).err().map(|error| error.to_string()));
        Ok(damaged)
    }

    /// Checks the database's own structure, and that what belongs to something belongs to what is there; gives what
    /// SQLite finds wrong.
    pub fn integrity_problems(&self) -> Result<Vec<String>, RecordsError> {
        let mut statement = self.connection.prepare("PRAGMA integrity_check")?;
        let lines: Vec<String> = statement.query_map([], |r| r.get(0))?.collect::<Result<_, _>>()?;
        let mut problems: Vec<String> = lines.into_iter().filter(|line| line != "ok").collect();
        let mut statement = self.connection.prepare("PRAGMA foreign_key_check")?;
        let strays = statement.query_map([], |r| {
            let (table, row, of): (String, Option<i64>, String) = (r.get(0)?, r.get(1)?, r.get(2)?);
            Ok(format!("row {} of {table} belongs to nothing in {of}", row.unwrap_or_default()))
        })?;
        problems.extend(strays.collect::<Result<Vec<_>, _>>()?);
        Ok(problems)
    }

    /// Writes a consistent copy of the database, as of now.
    pub fn copy_to(&self, path: &Path) -> Result<(), RecordsError> {
        self.connection.execute("VACUUM INTO ?", [path.to_string_lossy()])?;
        Ok(())
    }
}

/// Ends with the reads of one moment.
pub struct Snapshot<'a>(&'a Reader);

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        let ended = self.0.connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
        if ended.is_err() && !self.0.connection.is_autocommit() {
            let _ = self.0.connection.execute_batch("ROLLBACK");
        }
    }
}
