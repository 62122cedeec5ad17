//! Checkpoints of a thread's state, which an agent keeps beside its messages.
//!
//! What a task has written may come before its checkpoint, as LangGraph sends it. Until that comes, a row without a
//! state keeps the writes, and is no checkpoint to anybody.

use crate::RecordsError;
use crate::reader::Reader;
use crate::rows::{checksum, read_body};
use crate::sealing::{Found, Resealing, Sealing, StoredText};
use crate::transaction::WriteTransaction;
use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use uuid::{Uuid, Variant};

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

/// What a row has in `expires_at` that keeps writes until their checkpoint comes: for readers, a time that has passed.
pub(crate) const AWAITED: i64 = -1;

/// Channels in which LangGraph says what became of a task: each stands for itself beside what the task has written.
const OUTCOME_CHANNELS: [&str; 4] = ["__error__", "__scheduled__", "__interrupt__", "__resume__"];

/// What an id looks like that carries its time: a UUID of version 6 or 7, as SQLite's GLOB has it.
pub(crate) static TIME_ID: LazyLock<String> =
    LazyLock::new(|| "hhhhhhhh-hhhh-[67]hhh-[89ab]hhh-hhhhhhhhhhhh".replace('h', "[0-9a-f]"));

/// Where a checkpoint is in its thread. The latest come first: those whose ids carry their time, UUIDs of version 6
/// or 7, by their ids, as LangGraph has them; then the others, by the order in which they were first written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointOrder {
    /// By an id that carries its time, then by the order of writing: several namespaces may have the same id.
    Id(Uuid, i64),
    /// By the order of writing.
    Number(i64),
}

impl CheckpointOrder {
    /// Where the checkpoint of an id and of a number is.
    pub(crate) fn of(id: &str, number: i64) -> Self {
        time_of_id(id).map_or(Self::Number(number), |id| Self::Id(id, number))
    }

    /// The place before all checkpoints of an id that carries its time; `None` for another id.
    pub fn before_id(id: &str) -> Option<Self> {
        time_of_id(id).map(|id| Self::Id(id, i64::MIN))
    }
}

/// An id that carries its time.
fn time_of_id(id: &str) -> Option<Uuid> {
    Uuid::try_parse(id).ok().filter(|uuid| {
        let has_time = matches!(uuid.get_version_num(), 6 | 7) && uuid.get_variant() == Variant::RFC4122;
        has_time && uuid.to_string() == id
    })
}

/// The state of a thread at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Order of writing within the store.
    pub number: i64,
    /// Empty for the thread's own.
    pub namespace: String,
    /// Unique within the thread and namespace.
    pub id: String,
    /// Milliseconds since 1970.
    pub expires_at: Option<i64>,
    /// What it says.
    pub body: CheckpointBody,
}

impl Checkpoint {
    /// Where it is in its thread.
    pub fn order(&self) -> CheckpointOrder {
        CheckpointOrder::of(&self.id, self.number)
    }

    pub(crate) fn is_awaited(&self) -> bool {
        self.expires_at == Some(AWAITED)
    }
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

impl WriteTransaction<'_> {
    /// Writes a checkpoint, and gives what it says now. One of the same id is replaced: its place in the thread,
    /// its writes and when it was made stay.
    pub fn put_checkpoint(
        &mut self,
        place: CheckpointPlace,
        id: &str,
        expires_at: Option<i64>,
        mut body: CheckpointBody,
    ) -> Result<CheckpointBody, RecordsError> {
        match self.checkpoint_or_writes(place, id, body.created_at)? {
            Some(before) if before.is_awaited() => {
                body.writes = before.body.writes;
                self.insert_checkpoint(place, id, expires_at, &body)?;
            }
            Some(before) => {
                (body.writes, body.created_at) = (before.body.writes.clone(), before.body.created_at);
                self.change_checkpoint(place, &Checkpoint { expires_at, body: body.clone(), ..before })?;
            }
            None => self.insert_checkpoint(place, id, expires_at, &body)?,
        }
        Ok(body)
    }

    /// A checkpoint that had not expired by `now`, or what keeps the writes of one that has not come.
    pub(crate) fn checkpoint_or_writes(
        &mut self,
        place: CheckpointPlace,
        id: &str,
        now: i64,
    ) -> Result<Option<Checkpoint>, RecordsError> {
        let sql = format!("{CHECKPOINTS} AND id = ?4 AND (expires_at IS NULL OR expires_at > ?5 OR expires_at = ?6)");
        let CheckpointPlace { tenant, thread, namespace } = place;
        self.connection
            .prepare_cached(&sql)?
            .query_row(params![tenant, thread, namespace, id, now, AWAITED], |r| {
                read_checkpoint(r, place, self.sealing)
            })
            .optional()
            .map_err(RecordsError::from)
    }

    /// Adds a checkpoint as the last that was written, in the place of what is there by its id.
    pub(crate) fn insert_checkpoint(
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
                "INSERT OR REPLACE INTO checkpoints (tenant, thread, namespace, id, expires_at, body, crc, seal_key, \
                 sealed)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![tenant, thread, namespace, id, expires_at, body.clear, crc, body.key, body.sealed])?;
        Ok(())
    }

    /// Adds what a task has written to a checkpoint, or keeps it for one that is still to come. It takes the place
    /// of what the task had written before; of what LangGraph says of a task's fate, each that of its own channel
    /// alone. Gives what the checkpoint says now.
    pub fn put_checkpoint_writes(
        &mut self,
        place: CheckpointPlace,
        id: &str,
        task: &str,
        writes: Value,
        now: i64,
    ) -> Result<CheckpointBody, RecordsError> {
        let Some(mut checkpoint) = self.checkpoint_or_writes(place, id, now)? else {
            let writes = BTreeMap::from([(task.to_owned(), writes)]);
            let (state, metadata) = (Value::Null, Map::new());
            let body = CheckpointBody { parent: None, state, metadata, writes, created_at: now };
            self.insert_checkpoint(place, id, Some(AWAITED), &body)?;
            return Ok(body);
        };
        let before = checkpoint.body.writes.remove(task);
        checkpoint.body.writes.insert(task.to_owned(), merged_writes(before, writes));
        self.change_checkpoint(place, &checkpoint)?;
        Ok(checkpoint.body)
    }

    /// Writes what a checkpoint says, in its place.
    pub(crate) fn change_checkpoint(
        &mut self,
        place: CheckpointPlace,
        checkpoint: &Checkpoint,
    ) -> Result<(), RecordsError> {
        let body = serde_json::to_string(&checkpoint.body).unwrap_or_default();
        let body = self.sealing.store(place.tenant, &place.of(&checkpoint.id), body)?;
        let crc = checksum(&[place.tenant, place.thread, place.namespace, &checkpoint.id], &body);
        self.connection
            .prepare_cached(
                "UPDATE checkpoints SET expires_at = ?, body = ?, crc = ?, seal_key = ?, sealed = ? WHERE number = ?",
            )?
            .execute(params![checkpoint.expires_at, body.clear, crc, body.key, body.sealed, checkpoint.number])?;
        Ok(())
    }

    /// Removes what had expired by `now`, and gives how many there were, by tenant.
    pub fn drop_expired_checkpoints(&mut self, now: i64) -> Result<BTreeMap<String, u64>, RecordsError> {
        let sql = format!("DELETE FROM checkpoints WHERE {EXPIRED} RETURNING tenant, thread");
        let (mut of_tenants, mut threads) = (BTreeMap::new(), BTreeSet::new());
        for gone in self.connection.prepare_cached(&sql)?.query_map([now], |r| Ok((r.get(0)?, r.get(1)?)))? {
            let (tenant, thread): (String, String) = gone?;
            *of_tenants.entry(tenant.clone()).or_insert(0) += 1;
            threads.insert((tenant, thread));
        }
        for (tenant, thread) in threads {
            self.drop_unused_blobs(&tenant, &thread)?;
        }
        Ok(of_tenants)
    }
}

impl Reader {
    /// The ids of a thread's checkpoints that had not expired by `now`, in the same order. No state is read.
    pub fn checkpoint_ids(&self, place: CheckpointPlace, now: i64) -> Result<Vec<String>, RecordsError> {
        let CheckpointPlace { tenant, thread, namespace } = place;
        let sql = format!(
            "SELECT id FROM checkpoints WHERE tenant = ?1 AND thread = ?2 AND namespace = ?3 AND {ALIVE}
             ORDER BY id GLOB ?4 DESC, CASE WHEN id GLOB ?5 THEN id END DESC, number DESC"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let ids = statement.query_map(params![tenant, thread, namespace, *TIME_ID, *TIME_ID, now], |r| r.get(0))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }

    /// Writes of a thread whose checkpoints have not come, each as one without a state.
    pub fn awaited_checkpoints(&self, place: CheckpointPlace) -> Result<Vec<Checkpoint>, RecordsError> {
        let sql = format!("{CHECKPOINTS} AND expires_at = ?4 ORDER BY number");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let parameters = params![place.tenant, place.thread, place.namespace, AWAITED];
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

    /// Whether any checkpoint had expired by `now`.
    pub fn has_expired_checkpoints(&self, now: i64) -> Result<bool, RecordsError> {
        let sql = format!("SELECT 1 FROM checkpoints WHERE {EXPIRED} LIMIT 1");
        Ok(self.connection.prepare_cached(&sql)?.exists([now])?)
    }
}

impl Reader {
    /// Which checkpoints do not have their checksum.
    pub(crate) fn damaged_checkpoints(&self) -> Result<Vec<String>, RecordsError> {
        let mut statement = self.connection.prepare_cached(&format!("{ALL_CHECKPOINTS} FROM checkpoints"))?;
        let checkpoints = statement.query_map([], |r| {
            let (tenant, thread, namespace): (String, String, String) = (r.get(7)?, r.get(8)?, r.get(9)?);
            let place = CheckpointPlace { tenant: &tenant, thread: &thread, namespace: &namespace };
            read_checkpoint(r, place, &self.sealing)
        })?;
        Ok(checkpoints.filter_map(|read| Some(RecordsError::from(read.err()?).to_string())).collect())
    }
}

/// What [`read_checkpoint`] reads.
pub(crate) const CHECKPOINT_COLUMNS: &str = "number, id, expires_at, body, crc, seal_key, sealed";
const ALL_CHECKPOINTS: &str = "SELECT number, id, expires_at, body, crc, seal_key, sealed, tenant, thread, namespace";
pub(crate) const CHECKPOINTS: &str = "SELECT number, id, expires_at, body, crc, seal_key, sealed FROM checkpoints \
                           WHERE tenant = ?1 AND thread = ?2 AND namespace = ?3";
/// That a checkpoint had not expired by a time, `?6`.
const ALIVE: &str = "(expires_at IS NULL OR expires_at > ?6)";
/// That one had.
const EXPIRED: &str = "expires_at >= 0 AND expires_at <= ?";

impl<'a> CheckpointPlace<'a> {
    /// Where what a checkpoint says belongs.
    fn of(self, id: &'a str) -> [&'a str; 5] {
        ["checkpoint", self.tenant, self.thread, self.namespace, id]
    }
}

/// What a task has written, after it has written once more. Lists of channels with their values are taken apart;
/// what is none is replaced as a whole.
fn merged_writes(before: Option<Value>, writes: Value) -> Value {
    let (before, writes) = match (before, writes) {
        (Some(Value::Array(before)), Value::Array(writes)) => (before, writes),
        (_, writes) => return writes,
    };
    if !before.iter().chain(&writes).all(|write| channel(write).is_some()) {
        return Value::Array(writes);
    }
    let is_outcome = |write: &Value| channel(write).is_some_and(|name| OUTCOME_CHANNELS.contains(&name));
    let writes_others = !writes.iter().all(is_outcome);
    let stays = |old: &Value| match is_outcome(old) {
        true => !writes.iter().any(|new| channel(new) == channel(old)),
        false => !writes_others,
    };
    let mut merged: Vec<Value> = before.into_iter().filter(stays).collect();
    merged.extend(writes);
    Value::Array(merged)
}

/// The channel of a write: `[channel, value]`, or an object that names it.
fn channel(write: &Value) -> Option<&str> {
    write.get(0).or_else(|| write.get("channel"))?.as_str()
}

impl CheckpointBody {
    /// About how many bytes of memory it takes, with an answer that it stands in.
    pub(crate) fn memory_bytes(&self) -> usize {
        json_bytes(&self.state) + self.writes.values().map(json_bytes).sum::<usize>()
    }
}

/// About how many bytes of memory a JSON value takes, with an answer that it stands in.
fn json_bytes(value: &Value) -> usize {
    const OF_VALUE: usize = 96;
    OF_VALUE
        + match value {
            Value::String(text) => text.len() * 2,
            Value::Array(values) => values.iter().map(json_bytes).sum(),
            Value::Object(members) => members.iter().map(|(key, value)| key.len() * 2 + json_bytes(value)).sum(),
            _ => 0,
        }
}

pub(crate) fn read_checkpoint(r: &Row, place: CheckpointPlace, sealing: &Sealing) -> rusqlite::Result<Checkpoint> {
    let (id, body): (String, StoredText) = (r.get(1)?, StoredText::read(r, 3, 5)?);
    let crc = checksum(&[place.tenant, place.thread, place.namespace, &id], &body);
    let body = read_body(sealing, &place.of(&id), body, r.get(4)?, crc)?;
    Ok(Checkpoint { number: r.get(0)?, namespace: place.namespace.to_owned(), id, expires_at: r.get(2)?, body })
}

/// Seals checkpoints of a tenant anew that are not under a key.
pub(crate) fn reseal_checkpoints(
    transaction: &mut WriteTransaction,
    tenant: &str,
    key: u32,
    after: i64,
    limit: usize,
) -> Resealing {
    let sql = format!(
        "{ALL_CHECKPOINTS} FROM checkpoints WHERE number > ? AND seal_key IS NOT ? AND tenant = ? \
         ORDER BY number LIMIT ?"
    );
    let found = Found::read(transaction, &sql, params![after, key, tenant, limit as i64], |row| {
        let (thread, namespace): (String, String) = (row.get(8)?, row.get(9)?);
        let place = CheckpointPlace { tenant, thread: &thread, namespace: &namespace };
        let checkpoint = read_checkpoint(row, place, transaction.sealing)?;
        Ok((thread, namespace, checkpoint))
    })?;
    for (thread, namespace, checkpoint) in &found.whole {
        transaction.change_checkpoint(CheckpointPlace { tenant, thread, namespace }, checkpoint)?;
    }
    found.end(limit)
}
