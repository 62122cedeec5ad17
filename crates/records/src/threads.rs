//! What an agent keeps beside its messages: checkpoints of a thread's state, and inputs that wait to be taken.

use crate::RecordsError;
use crate::rows::{checksum, read_body};
use crate::sealing::{Found, Resealing, Sealing, StoredText};
use crate::store::{Group, Reader};
use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

pub(crate) const SCHEMA: &str = "
CREATE TABLE checkpoints (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    thread TEXT NOT NULL,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    expires_at INTEGER,
    body TEXT NOT NULL,
    crc INTEGER NOT NULL,
    UNIQUE (tenant, thread, namespace, id)
) STRICT;
CREATE INDEX checkpoints_by_expiry ON checkpoints (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX checkpoints_by_order ON checkpoints (tenant, thread, namespace, number);
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

/// Where a checkpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointPlace<'a> {
    /// Whose it is.
    pub tenant: &'a str,
    /// The thread whose state it is.
    pub thread: &'a str,
    /// Empty for the thread's own; subgraphs have others.
    pub namespace: &'a str,
}

/// The state of a thread at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Order of writing within the store.
    pub number: i64,
    /// Unique within the thread and namespace.
    pub id: String,
    /// Milliseconds since 1970.
    pub expires_at: Option<i64>,
    /// What it says.
    pub body: CheckpointBody,
}

/// What a checkpoint says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckpointBody {
    /// The checkpoint that it follows.
    pub parent: Option<String>,
    /// Any JSON.
    pub state: Value,
    /// Any JSON object.
    pub metadata: Map<String, Value>,
    /// What tasks have written towards the next one, by task.
    pub writes: BTreeMap<String, Value>,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

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

impl Group<'_> {
    /// Writes a checkpoint; one of the same id is replaced, and counts as written now.
    pub fn put_checkpoint(
        &mut self,
        place: CheckpointPlace,
        id: &str,
        expires_at: Option<i64>,
        body: &CheckpointBody,
    ) -> Result<(), RecordsError> {
        let CheckpointPlace { tenant, thread, namespace } = place;
        let body = serde_json::to_string(body).unwrap_or_default();
        let body = self.sealing.store(tenant, &place.of(id), body)?;
        let crc = checksum(&[tenant, thread, namespace, id], &body);
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO checkpoints (tenant, thread, namespace, id, expires_at, body, crc, seal_key, sealed)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![tenant, thread, namespace, id, expires_at, body.clear, crc, body.key, body.sealed])?;
        Ok(())
    }

    /// Adds what a task has written to a checkpoint, in the place of what it had written before; `false` where there is no such checkpoint.
    pub fn put_checkpoint_writes(
        &mut self,
        place: CheckpointPlace,
        id: &str,
        task: &str,
        writes: Value,
    ) -> Result<bool, RecordsError> {
        let sql = format!("{CHECKPOINTS} AND id = ?4");
        let CheckpointPlace { tenant, thread, namespace } = place;
        let found = self
            .connection
            .prepare_cached(&sql)?
            .query_row(params![tenant, thread, namespace, id], |r| read_checkpoint(r, place, self.sealing))
            .optional()?;
        let Some(mut checkpoint) = found else { return Ok(false) };
        checkpoint.body.writes.insert(task.to_owned(), writes);
        self.change_checkpoint(place, &checkpoint)?;
        Ok(true)
    }

    /// Writes what a checkpoint says, in its place.
    fn change_checkpoint(&mut self, place: CheckpointPlace, checkpoint: &Checkpoint) -> Result<(), RecordsError> {
        let body = serde_json::to_string(&checkpoint.body).unwrap_or_default();
        let body = self.sealing.store(place.tenant, &place.of(&checkpoint.id), body)?;
        let crc = checksum(&[place.tenant, place.thread, place.namespace, &checkpoint.id], &body);
        self.connection
            .prepare_cached("UPDATE checkpoints SET body = ?, crc = ?, seal_key = ?, sealed = ? WHERE number = ?")?
            .execute(params![body.clear, crc, body.key, body.sealed, checkpoint.number])?;
        Ok(())
    }

    /// Removes a thread's checkpoints, of all namespaces, and gives how many there were.
    pub fn drop_checkpoints(&mut self, tenant: &str, thread: &str) -> Result<usize, RecordsError> {
        let mut statement =
            self.connection.prepare_cached("DELETE FROM checkpoints WHERE tenant = ? AND thread = ?")?;
        Ok(statement.execute([tenant, thread])?)
    }

    /// Removes what had expired by `now`, and gives how many there were.
    pub fn drop_expired_checkpoints(&mut self, now: i64) -> Result<usize, RecordsError> {
        Ok(self.connection.prepare_cached("DELETE FROM checkpoints WHERE expires_at <= ?")?.execute([now])?)
    }

    /// Appends an input to a session's queue and gives its number.
    pub fn push(&mut self, tenant: &str, session: &str, payload: Value, now: i64) -> Result<i64, RecordsError> {
        let body = serde_json::to_string(&QueueBody { created_at: now, payload }).unwrap_or_default();
        let body = self.sealing.store(tenant, &["input", tenant, session], body)?;
        let crc = checksum(&[tenant, session], &body);
        self.connection
            .prepare_cached(
                "INSERT INTO queue (tenant, session, leased_until, attempts, body, crc, seal_key, sealed) VALUES (?, ?, 0, 0, ?, ?, ?, ?)",
            )?
            .execute(params![tenant, session, body.clear, crc, body.key, body.sealed])?;
        Ok(self.connection.last_insert_rowid())
    }

    /// Takes the oldest inputs that nobody works on, at most `most`, for whoever asks until `until`: those that are not removed by then can be taken
    /// again.
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
    /// A thread's checkpoints that had not expired by `now`, newest first, those before a number; at most `limit`.
    pub fn checkpoints(
        &self,
        place: CheckpointPlace,
        before: i64,
        limit: usize,
        now: i64,
    ) -> Result<Vec<Checkpoint>, RecordsError> {
        let sql = format!(
            "{CHECKPOINTS} AND number < ?4 AND (expires_at IS NULL OR expires_at > ?5) ORDER BY number DESC LIMIT ?6"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let parameters = params![place.tenant, place.thread, place.namespace, before, now, limit as i64];
        let rows = statement.query_map(parameters, |r| read_checkpoint(r, place, &self.sealing))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// A checkpoint by its id, unless it had expired by `now`.
    pub fn checkpoint(&self, place: CheckpointPlace, id: &str, now: i64) -> Result<Option<Checkpoint>, RecordsError> {
        let sql = format!("{CHECKPOINTS} AND id = ?4 AND (expires_at IS NULL OR expires_at > ?5)");
        let parameters = params![place.tenant, place.thread, place.namespace, id, now];
        let found =
            self.connection.prepare_cached(&sql)?.query_row(parameters, |r| read_checkpoint(r, place, &self.sealing));
        found.optional().map_err(RecordsError::from)
    }

    /// The namespaces in which a thread has checkpoints.
    pub fn checkpoint_namespaces(&self, tenant: &str, thread: &str) -> Result<Vec<String>, RecordsError> {
        let sql = "SELECT DISTINCT namespace FROM checkpoints WHERE tenant = ? AND thread = ? ORDER BY namespace";
        let mut statement = self.connection.prepare_cached(sql)?;
        let names = statement.query_map([tenant, thread], |r| r.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }

    /// Whether any checkpoint had expired by `now`.
    pub fn has_expired_checkpoints(&self, now: i64) -> Result<bool, RecordsError> {
        Ok(self.connection.prepare_cached("SELECT 1 FROM checkpoints WHERE expires_at <= ? LIMIT 1")?.exists([now])?)
    }

    /// A session's queue, oldest first, those after a number.
    pub fn queue(&self, tenant: &str, session: &str, after: i64, limit: usize) -> Result<Vec<QueueItem>, RecordsError> {
        let mut statement =
            self.connection.prepare_cached(&format!("{QUEUE} AND number > ?3 ORDER BY number LIMIT ?4"))?;
        let items = statement.query_map(params![tenant, session, after, limit as i64], |r| {
            read_item(r, tenant, session, &self.sealing)
        })?;
        Ok(items.collect::<Result<_, _>>()?)
    }
}

impl Reader {
    /// Which checkpoints and inputs do not have their checksum.
    pub(crate) fn damaged_threads(&self) -> Result<Vec<String>, RecordsError> {
        let mut damaged = Vec::new();
        let mut statement = self.connection.prepare_cached(&format!("{ALL_CHECKPOINTS} FROM checkpoints"))?;
        let checkpoints = statement.query_map([], |r| {
            let (tenant, thread, namespace): (String, String, String) = (r.get(7)?, r.get(8)?, r.get(9)?);
            let place = CheckpointPlace { tenant: &tenant, thread: &thread, namespace: &namespace };
            read_checkpoint(r, place, &self.sealing)
        })?;
        damaged.extend(checkpoints.filter_map(|read| Some(RecordsError::from(read.err()?).to_string())));
        let mut statement = self.connection.prepare_cached(
            "SELECT number, leased_until, attempts, body, crc, seal_key, sealed, tenant, session FROM queue",
        )?;
        let items = statement
            .query_map([], |r| read_item(r, &r.get::<_, String>(7)?, &r.get::<_, String>(8)?, &self.sealing))?;
        damaged.extend(items.filter_map(|read| Some(RecordsError::from(read.err()?).to_string())));
        Ok(damaged)
    }
}

const ALL_CHECKPOINTS: &str = "SELECT number, id, expires_at, body, crc, seal_key, sealed, tenant, thread, namespace";
const CHECKPOINTS: &str = "SELECT number, id, expires_at, body, crc, seal_key, sealed FROM checkpoints WHERE tenant = ?1 AND thread = ?2 AND namespace = ?3";
const QUEUE: &str =
    "SELECT number, leased_until, attempts, body, crc, seal_key, sealed FROM queue WHERE tenant = ?1 AND session = ?2";

impl<'a> CheckpointPlace<'a> {
    /// Where what a checkpoint says belongs.
    fn of(self, id: &'a str) -> [&'a str; 5] {
        ["checkpoint", self.tenant, self.thread, self.namespace, id]
    }
}

fn read_checkpoint(r: &Row, place: CheckpointPlace, sealing: &Sealing) -> rusqlite::Result<Checkpoint> {
    let (id, body): (String, StoredText) = (r.get(1)?, StoredText::read(r, 3, 5)?);
    let crc = checksum(&[place.tenant, place.thread, place.namespace, &id], &body);
    let body = read_body(sealing, &place.of(&id), body, r.get(4)?, crc)?;
    Ok(Checkpoint { number: r.get(0)?, id, expires_at: r.get(2)?, body })
}

fn read_item(r: &Row, tenant: &str, session: &str, sealing: &Sealing) -> rusqlite::Result<QueueItem> {
    let body = StoredText::read(r, 3, 5)?;
    let crc = checksum(&[tenant, session], &body);
    let place = ["input", tenant, session];
    let QueueBody { created_at, payload } = read_body(sealing, &place, body, r.get(4)?, crc)?;
    let (number, leased_until, attempts) = (r.get(0)?, r.get(1)?, r.get::<_, i64>(2)? as u64);
    Ok(QueueItem { number, leased_until, attempts, created_at, payload })
}

/// Seals checkpoints of a tenant anew that are not under a key.
pub(crate) fn reseal_checkpoints(group: &mut Group, tenant: &str, key: u32, after: i64, limit: usize) -> Resealing {
    let sql = format!(
        "{ALL_CHECKPOINTS} FROM checkpoints WHERE number > ? AND seal_key IS NOT ? AND tenant = ? ORDER BY number LIMIT ?"
    );
    let found = Found::read(group, &sql, params![after, key, tenant, limit as i64], |row| {
        let (thread, namespace): (String, String) = (row.get(8)?, row.get(9)?);
        let place = CheckpointPlace { tenant, thread: &thread, namespace: &namespace };
        let checkpoint = read_checkpoint(row, place, group.sealing)?;
        Ok((thread, namespace, checkpoint))
    })?;
    for (thread, namespace, checkpoint) in &found.whole {
        group.change_checkpoint(CheckpointPlace { tenant, thread, namespace }, checkpoint)?;
    }
    found.end(limit)
}

/// Seals inputs of a tenant anew that are not under a key.
pub(crate) fn reseal_queue(group: &mut Group, tenant: &str, key: u32, after: i64, limit: usize) -> Resealing {
    let sql = "SELECT number, leased_until, attempts, body, crc, seal_key, sealed, session FROM queue
               WHERE number > ? AND seal_key IS NOT ? AND tenant = ? ORDER BY number LIMIT ?";
    let found = Found::read(group, sql, params![after, key, tenant, limit as i64], |row| {
        let session: String = row.get(7)?;
        let item = read_item(row, tenant, &session, group.sealing)?;
        Ok((session, item))
    })?;
    for (session, QueueItem { number, created_at, payload, .. }) in found.whole.iter().cloned() {
        let body = serde_json::to_string(&QueueBody { created_at, payload }).unwrap_or_default();
        let body = group.sealing.store(tenant, &["input", tenant, &session], body)?;
        let crc = checksum(&[tenant, &session], &body);
        group
            .connection
            .prepare_cached("UPDATE queue SET body = ?, crc = ?, seal_key = ?, sealed = ? WHERE number = ?")?
            .execute(params![body.clear, crc, body.key, body.sealed, number])?;
    }
    found.end(limit)
}
