//! Queues of sessions: inputs that wait to be taken by whoever works on them.

use crate::RecordsError;
use crate::reader::Reader;
use crate::rows::{checksum, read_body};
use crate::sealing::{Found, Resealing, Sealing, StoredText};
use crate::transaction::WriteTransaction;
use rusqlite::{Row, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) const SCHEMA: &str = "
CREATE TABLE queue (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    session TEXT NOT NULL,
    leased_until INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    body TEXT NOT NULL,
    crc INTEGER NOT NULL
) STRICT;
CREATE INDEX queue_by_session ON queue (tenant, session, number);
";

/// An input that waits.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueItem {
    /// Its place in the queue, which is its id.
    pub number: i64,
    /// Until when somebody works on it, in milliseconds since 1970; 0 for nobody.
    pub leased_until: i64,
    /// How often it was taken.
    pub attempts: u64,
    /// When it came, in milliseconds since 1970.
    pub created_at: i64,
    /// What it says.
    pub payload: Value,
}

#[derive(Serialize, Deserialize)]
struct QueueBody {
    created_at: i64,
    payload: Value,
}

impl WriteTransaction<'_> {
    /// Appends an input to a session's queue and gives its number.
    pub fn push(&mut self, tenant: &str, session: &str, payload: Value, now: i64) -> Result<i64, RecordsError> {
        let body = serde_json::to_string(&QueueBody { created_at: now, payload }).unwrap_or_default();
        let body = self.sealing.store(tenant, &["input", tenant, session], body)?;
        let crc = checksum(&[tenant, session], &body);
        self.connection
            .prepare_cached(
                "INSERT INTO queue (tenant, session, leased_until, attempts, body, crc, seal_key, sealed) \
                 VALUES (?, ?, 0, 0, ?, ?, ?, ?)",
            )?
            .execute(params![tenant, session, body.clear, crc, body.key, body.sealed])?;
        Ok(self.connection.last_insert_rowid())
    }

    /// Takes the oldest inputs that nobody works on, at most `most`, for whoever asks until `until`: those that are
    /// not removed by then can be taken again.
    pub fn take(
        &mut self,
        tenant: &str,
        session: &str,
        most: usize,
        now: i64,
        until: i64,
    ) -> Result<Vec<QueueItem>, RecordsError> {
        let mut statement =
            self.connection.prepare_cached(&format!("{QUEUE} AND leased_until <= ?3 ORDER BY number LIMIT ?4"))?;
        let found = statement
            .query_map(params![tenant, session, now, most as i64], |r| read_item(r, tenant, session, self.sealing))?;
        let mut items: Vec<QueueItem> = found.collect::<Result<_, _>>()?;
        for item in &mut items {
            (item.leased_until, item.attempts) = (until, item.attempts + 1);
            self.connection
                .prepare_cached("UPDATE queue SET leased_until = ?, attempts = ? WHERE number = ?")?
                .execute(params![until, item.attempts as i64, item.number])?;
        }
        Ok(items)
    }

    /// Removes an input; `false` where there is none of that number.
    pub fn remove_from_queue(&mut self, tenant: &str, session: &str, number: i64) -> Result<bool, RecordsError> {
        let mut statement =
            self.connection.prepare_cached("DELETE FROM queue WHERE tenant = ? AND session = ? AND number = ?")?;
        Ok(statement.execute(params![tenant, session, number])? == 1)
    }

    /// Removes all of a session's inputs and gives how many there were.
    pub fn clear_queue(&mut self, tenant: &str, session: &str) -> Result<usize, RecordsError> {
        let mut statement = self.connection.prepare_cached("DELETE FROM queue WHERE tenant = ? AND session = ?")?;
        Ok(statement.execute([tenant, session])?)
    }
}

impl Reader {
    /// A session's queue, oldest first, those after a number.
    pub fn queue(&self, tenant: &str, session: &str, after: i64, limit: usize) -> Result<Vec<QueueItem>, RecordsError> {
        let mut statement =
            self.connection.prepare_cached(&format!("{QUEUE} AND number > ?3 ORDER BY number LIMIT ?4"))?;
        let items = statement.query_map(params![tenant, session, after, limit as i64], |r| {
            read_item(r, tenant, session, &self.sealing)
        })?;
        Ok(items.collect::<Result<_, _>>()?)
    }

    /// Which inputs do not have their checksum.
    pub(crate) fn damaged_inputs(&self) -> Result<Vec<String>, RecordsError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT number, leased_until, attempts, body, crc, seal_key, sealed, tenant, session FROM queue",
        )?;
        let items = statement
            .query_map([], |r| read_item(r, &r.get::<_, String>(7)?, &r.get::<_, String>(8)?, &self.sealing))?;
        Ok(items.filter_map(|read| Some(RecordsError::from(read.err()?).to_string())).collect())
    }
}

const QUEUE: &str =
    "SELECT number, leased_until, attempts, body, crc, seal_key, sealed FROM queue WHERE tenant = ?1 AND session = ?2";

fn read_item(r: &Row, tenant: &str, session: &str, sealing: &Sealing) -> rusqlite::Result<QueueItem> {
    let body = StoredText::read(r, 3, 5)?;
    let crc = checksum(&[tenant, session], &body);
    let place = ["input", tenant, session];
    let QueueBody { created_at, payload } = read_body(sealing, &place, body, r.get(4)?, crc)?;
    let (number, leased_until, attempts) = (r.get(0)?, r.get(1)?, r.get::<_, i64>(2)?.max(0) as u64);
    Ok(QueueItem { number, leased_until, attempts, created_at, payload })
}

/// Seals inputs of a tenant anew that are not under a key.
pub(crate) fn reseal_queue(
    transaction: &mut WriteTransaction,
    tenant: &str,
    key: u32,
    after: i64,
    limit: usize,
) -> Resealing {
    let sql = "SELECT number, leased_until, attempts, body, crc, seal_key, sealed, session FROM queue
               WHERE number > ? AND seal_key IS NOT ? AND tenant = ? ORDER BY number LIMIT ?";
    let found = Found::read(transaction, sql, params![after, key, tenant, limit as i64], |row| {
        let session: String = row.get(7)?;
        let item = read_item(row, tenant, &session, transaction.sealing)?;
        Ok((session, item))
    })?;
    for (session, QueueItem { number, created_at, payload, .. }) in found.whole.iter().cloned() {
        let body = serde_json::to_string(&QueueBody { created_at, payload }).unwrap_or_default();
        let body = transaction.sealing.store(tenant, &["input", tenant, &session], body)?;
        let crc = checksum(&[tenant, &session], &body);
        transaction
            .connection
            .prepare_cached("UPDATE queue SET body = ?, crc = ?, seal_key = ?, sealed = ? WHERE number = ?")?
            .execute(params![body.clear, crc, body.key, body.sealed, number])?;
    }
    found.end(limit)
}
