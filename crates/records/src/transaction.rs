//! One write transaction, shared by many requests.
//!
//! They share one commit and one fsync, each within a savepoint of its own, so that one that is refused takes
//! nothing of the others back. What is written is in the modules of each concept.

use crate::RecordsError;
use crate::audit::AuditKey;
use crate::sealing::Sealing;
use rusqlite::{Connection, OptionalExtension};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// A transaction of many requests.
pub struct WriteTransaction<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) sealing: &'a Sealing,
    pub(crate) audit_key: Option<&'a AuditKey>,
    /// Whose collections are, of those that were asked for.
    tenants: HashMap<i64, String>,
    open: bool,
}

impl<'a> WriteTransaction<'a> {
    /// One that has begun on a connection.
    pub(crate) fn begun(connection: &'a Connection, sealing: &'a Sealing, audit_key: Option<&'a AuditKey>) -> Self {
        Self { connection, sealing, audit_key, tenants: HashMap::new(), open: true }
    }
}

impl WriteTransaction<'_> {
    /// Runs the writes of one request: all of them stand, or none.
    pub fn request<T, E: From<RecordsError>>(
        &mut self,
        writes: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.connection.execute_batch("SAVEPOINT request").map_err(RecordsError::from)?;
        let result = writes(self);
        let end = if result.is_ok() { "RELEASE request" } else { "ROLLBACK TO request; RELEASE request" };
        self.connection.execute_batch(end).map_err(RecordsError::from)?;
        result
    }

    /// Whose a collection is.
    pub(crate) fn tenant(&mut self, collection: i64) -> Result<&str, RecordsError> {
        Ok(match self.tenants.entry(collection) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(
                self.connection
                    .prepare_cached("SELECT tenant FROM collections WHERE id = ?")?
                    .query_row([collection], |r| r.get(0))
                    .optional()?
                    .ok_or(RecordsError::Gone("the collection"))?,
            ),
        })
    }

    /// Makes what was written durable.
    pub fn commit(mut self) -> Result<(), RecordsError> {
        self.connection.execute_batch("COMMIT")?;
        self.open = false;
        Ok(())
    }
}

impl Drop for WriteTransaction<'_> {
    fn drop(&mut self) {
        if self.open && !self.connection.is_autocommit() {
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }
}
