//! Threads as wholes: which there are, pages of their checkpoints, and what takes many of these at once.

use crate::RecordsError;
use crate::checkpoints::{
    AWAITED, CHECKPOINT_COLUMNS, Checkpoint, CheckpointOrder, CheckpointPlace, TIME_ID, read_checkpoint,
};
use crate::filter::Filter;
use crate::reader::Reader;
use crate::record::Record;
use crate::transaction::WriteTransaction;
use membox_threads::budget;
use rusqlite::{OptionalExtension, params};
use std::collections::HashSet;

/// Checkpoints that one page looks at, where a filter may refuse them.
const MAX_LOOKED_AT: usize = 1000;
/// Bytes of one page: its checkpoints as they are kept, and the blobs that are given with them. One that is larger is
/// a page by itself.
pub const MAX_PAGE_BYTES: usize = 64 << 20;

/// A thread that has checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its id.
    pub id: String,
    /// Checkpoints in all its namespaces.
    pub checkpoints: usize,
    /// Namespaces that have any.
    pub namespaces: usize,
}

/// A namespace of a thread that has checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Empty for the thread's own.
    pub name: String,
    /// Its checkpoints.
    pub checkpoints: usize,
}

/// Which checkpoints of a thread.
#[derive(Clone, Copy, Debug)]
pub struct CheckpointQuery<'a> {
    /// Whose it is.
    pub tenant: &'a str,
    /// The thread whose states they are.
    pub thread: &'a str,
    /// All of them for `None`.
    pub namespace: Option<&'a str>,
    /// Those after a place in their [order](CheckpointOrder).
    pub after: Option<CheckpointOrder>,
    /// Those whose id, metadata and time a filter allows.
    pub filter: Option<&'a Filter>,
    /// This many at most, and [`MAX_PAGE_BYTES`].
    pub limit: usize,
    /// Whether their blobs are given with them, and count for the size of a page.
    pub with_blobs: bool,
}

/// A checkpoint without what it says.
struct Key {
    number: i64,
    namespace: String,
    id: String,
}

impl Reader {
    /// Threads of a tenant that have checkpoints, by their ids, those after one; at most `limit`.
    pub fn threads(&self, tenant: &str, after: &str, limit: usize, now: i64) -> Result<Vec<Thread>, RecordsError> {
        let sql = "SELECT thread, COUNT(*), COUNT(DISTINCT namespace) FROM checkpoints
                   WHERE tenant = ?1 AND thread > ?2 AND (expires_at IS NULL OR expires_at > ?3)
                   GROUP BY thread ORDER BY thread LIMIT ?4";
        let mut statement = self.connection.prepare_cached(sql)?;
        let threads = statement.query_map(params![tenant, after, now, limit as i64], |r| {
            let (checkpoints, namespaces): (i64, i64) = (r.get(1)?, r.get(2)?);
            Ok(Thread { id: r.get(0)?, checkpoints: checkpoints as usize, namespaces: namespaces as usize })
        })?;
        Ok(threads.collect::<Result<_, _>>()?)
    }

    /// Namespaces of a thread that have checkpoints, by their names, those after one; at most `limit`.
    pub fn namespaces(
        &self,
        tenant: &str,
        thread: &str,
        after: Option<&str>,
        limit: usize,
        now: i64,
    ) -> Result<Vec<Namespace>, RecordsError> {
        let sql = "SELECT namespace, COUNT(*) FROM checkpoints
                   WHERE tenant = ?1 AND thread = ?2 AND (?3 IS NULL OR namespace > ?3)
                   AND (expires_at IS NULL OR expires_at > ?4) GROUP BY namespace ORDER BY namespace LIMIT ?5";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_map(params![tenant, thread, after, now, limit as i64], |r| {
            Ok(Namespace { name: r.get(0)?, checkpoints: r.get::<_, i64>(1)? as usize })
        })?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// The namespaces in which a thread has checkpoints, blobs, or writes that wait for one.
    pub fn checkpoint_namespaces(&self, tenant: &str, thread: &str) -> Result<Vec<String>, RecordsError> {
        let sql = "SELECT namespace FROM checkpoints WHERE tenant = ?1 AND thread = ?2
                   UNION SELECT namespace FROM blobs WHERE tenant = ?1 AND thread = ?2 ORDER BY namespace";
        let mut statement = self.connection.prepare_cached(sql)?;
        let names = statement.query_map([tenant, thread], |r| r.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }

    /// A page of checkpoints that had not expired by `now`, the latest first, and where the next one begins. With a
    /// filter a page looks at so many at most: it may have fewer than are asked for, or none, and there may be a next
    /// one all the same.
    pub fn checkpoints(
        &self,
        query: CheckpointQuery,
        now: i64,
    ) -> Result<(Vec<Checkpoint>, Option<CheckpointOrder>), RecordsError> {
        let most = if query.filter.is_some() { MAX_LOOKED_AT.max(query.limit) } else { query.limit };
        let keys = self.checkpoint_keys(query, most + 1, now)?;
        let (mut found, mut last, mut bytes) = (Vec::new(), None, 0);
        for (i, Key { number, namespace, id }) in keys.into_iter().enumerate() {
            if i == most || found.len() == query.limit {
                return Ok((found, last));
            }
            bytes += self.checkpoint_bytes(number, query.with_blobs)?;
            if bytes > MAX_PAGE_BYTES && !found.is_empty() {
                return Ok((found, last));
            }
            last = Some(CheckpointOrder::of(&id, number));
            let place = CheckpointPlace { tenant: query.tenant, thread: query.thread, namespace: &namespace };
            // One that was replaced or deleted since is passed over.
            let Some(checkpoint) = self.checkpoint_by_number(number, place)? else { continue };
            if query.filter.is_none_or(|filter| filter.allows(&as_record(&checkpoint))) {
                budget::take(checkpoint.body.memory_bytes())?;
                found.push(checkpoint);
            }
        }
        Ok((found, None))
    }

    /// The size of a checkpoint as it is kept, and of its blobs. Nothing of them is read.
    fn checkpoint_bytes(&self, number: i64, with_blobs: bool) -> Result<usize, RecordsError> {
        let sql = "SELECT OCTET_LENGTH(body) + IFNULL(OCTET_LENGTH(sealed), 0) FROM checkpoints WHERE number = ?";
        let own: Option<i64> = self.connection.prepare_cached(sql)?.query_row([number], |r| r.get(0)).optional()?;
        let blobs = if with_blobs { self.blob_bytes(number)? } else { 0 };
        Ok(own.unwrap_or_default() as usize + blobs)
    }

    fn checkpoint_by_number(&self, number: i64, place: CheckpointPlace) -> Result<Option<Checkpoint>, RecordsError> {
        let sql = format!("SELECT {CHECKPOINT_COLUMNS} FROM checkpoints WHERE number = ?");
        let found = self
            .connection
            .prepare_cached(&sql)?
            .query_row([number], |r| read_checkpoint(r, place, &self.sealing))
            .optional();
        found.map_err(RecordsError::from)
    }

    /// Which checkpoints, in their order. Nothing that they say is read.
    fn checkpoint_keys(&self, query: CheckpointQuery, most: usize, now: i64) -> Result<Vec<Key>, RecordsError> {
        let CheckpointQuery { tenant, thread, namespace, after, .. } = query;
        let of_namespace = if namespace.is_some() { "namespace = ?3" } else { "?3 IS NULL" };
        let select = format!(
            "SELECT number, namespace, id FROM checkpoints WHERE tenant = ?1 AND thread = ?2 AND {of_namespace}
             AND (expires_at IS NULL OR expires_at > ?4)"
        );
        let read = |r: &rusqlite::Row| Ok(Key { number: r.get(0)?, namespace: r.get(1)?, id: r.get(2)? });
        let mut keys: Vec<Key> = Vec::new();
        if !matches!(after, Some(CheckpointOrder::Number(_))) {
            // No hexadecimal digit comes after it.
            let (id, number) = match after {
                Some(CheckpointOrder::Id(id, number)) => (id.to_string(), number),
                _ => ("g".to_owned(), i64::MAX),
            };
            let sql =
                format!("{select} AND (id, number) < (?5, ?6) AND id GLOB ?7 ORDER BY id DESC, number DESC LIMIT ?8");
            let mut statement = self.connection.prepare_cached(&sql)?;
            let parameters = params![tenant, thread, namespace, now, id, number, *TIME_ID, most as i64];
            keys = statement.query_map(parameters, read)?.collect::<Result<_, _>>()?;
        }
        if let Some(left) = most.checked_sub(keys.len()).filter(|&left| left > 0) {
            let before = match after {
                Some(CheckpointOrder::Number(number)) => number,
                _ => i64::MAX,
            };
            let sql = format!("{select} AND number < ?5 AND id NOT GLOB ?6 ORDER BY number DESC LIMIT ?7");
            let mut statement = self.connection.prepare_cached(&sql)?;
            let parameters = params![tenant, thread, namespace, now, before, *TIME_ID, left as i64];
            let others = statement.query_map(parameters, read)?.collect::<Result<Vec<_>, _>>()?;
            keys.extend(others);
        }
        Ok(keys)
    }
}

/// A checkpoint as filters know records.
fn as_record(checkpoint: &Checkpoint) -> Record {
    let Checkpoint { id, body, .. } = checkpoint;
    let (id, metadata) = (id.clone(), body.metadata.clone());
    Record { id, metadata, created_at: body.created_at, ..Record::default() }
}

impl WriteTransaction<'_> {
    /// Removes a checkpoint with what tasks have written to it. Gives whether it was there, and had not expired by
    /// `now`.
    pub fn drop_checkpoint(&mut self, place: CheckpointPlace, id: &str, now: i64) -> Result<bool, RecordsError> {
        let CheckpointPlace { tenant, thread, namespace } = place;
        let sql = "DELETE FROM checkpoints WHERE tenant = ?1 AND thread = ?2 AND namespace = ?3 AND id = ?4
                   AND (expires_at IS NULL OR expires_at > ?5)";
        let parameters = params![tenant, thread, namespace, id, now];
        let was_there = self.connection.prepare_cached(sql)?.execute(parameters)? > 0;
        self.drop_unused_blobs(tenant, thread)?;
        Ok(was_there)
    }

    /// Removes a thread's checkpoints, of one namespace or of all, and gives how many there were. Writes that wait for
    /// theirs go too, and all blobs.
    pub fn drop_checkpoints(
        &mut self,
        tenant: &str,
        thread: &str,
        namespace: Option<&str>,
    ) -> Result<usize, RecordsError> {
        let of = "DELETE FROM checkpoints WHERE tenant = ?1 AND thread = ?2 AND (?3 IS NULL OR namespace = ?3)";
        let awaited = format!("{of} AND expires_at = ?4");
        self.connection.prepare_cached(&awaited)?.execute(params![tenant, thread, namespace, AWAITED])?;
        let count = self.connection.prepare_cached(of)?.execute(params![tenant, thread, namespace])?;
        self.drop_blobs(tenant, thread, namespace)?;
        Ok(count)
    }

    /// Removes all but the latest `keep` checkpoints of each namespace of a thread, or of one, and gives how many
    /// went. Of those that stay, whose parent went has none. Writes that wait for their checkpoints stay.
    pub fn prune_checkpoints(
        &mut self,
        tenant: &str,
        thread: &str,
        namespace: Option<&str>,
        keep: usize,
        now: i64,
    ) -> Result<usize, RecordsError> {
        let sql = "SELECT DISTINCT namespace FROM checkpoints
                   WHERE tenant = ?1 AND thread = ?2 AND (?3 IS NULL OR namespace = ?3)";
        let mut statement = self.connection.prepare_cached(sql)?;
        let names = statement.query_map(params![tenant, thread, namespace], |r| r.get(0))?;
        let names = names.collect::<Result<Vec<String>, _>>()?;
        drop(statement);
        let mut gone = 0;
        for namespace in &names {
            gone += self.prune_namespace(CheckpointPlace { tenant, thread, namespace }, keep, now)?;
        }
        self.drop_unused_blobs(tenant, thread)?;
        Ok(gone)
    }

    fn prune_namespace(&mut self, place: CheckpointPlace, keep: usize, now: i64) -> Result<usize, RecordsError> {
        let CheckpointPlace { tenant, thread, namespace } = place;
        let sql = "SELECT number, id FROM checkpoints WHERE tenant = ?1 AND thread = ?2 AND namespace = ?3
                   AND (expires_at IS NULL OR expires_at > ?4)
                   ORDER BY id GLOB ?5 DESC, CASE WHEN id GLOB ?5 THEN id END DESC, number DESC";
        let mut statement = self.connection.prepare_cached(sql)?;
        let all =
            statement.query_map(params![tenant, thread, namespace, now, *TIME_ID], |r| Ok((r.get(0)?, r.get(1)?)));
        let mut all = all?.collect::<Result<Vec<(i64, String)>, _>>()?;
        drop(statement);
        let gone = all.split_off(keep.min(all.len()));
        for (number, _) in &gone {
            self.connection.prepare_cached("DELETE FROM checkpoints WHERE number = ?")?.execute([number])?;
        }
        let ids: HashSet<&str> = gone.iter().map(|(_, id)| id.as_str()).collect();
        for (_, id) in all.iter().filter(|_| !gone.is_empty()) {
            let Some(mut checkpoint) = self.checkpoint_or_writes(place, id, now)? else { continue };
            if checkpoint.body.parent.as_deref().is_some_and(|parent| ids.contains(parent)) {
                checkpoint.body.parent = None;
                self.change_checkpoint(place, &checkpoint)?;
            }
        }
        Ok(gone.len())
    }

    /// Copies checkpoints of a namespace to another thread, with what tasks have written to them, or what waits for
    /// them. What that thread has by the same ids is replaced; what waits replaces nothing. Gives how many checkpoints
    /// there were.
    pub fn copy_checkpoints(
        &mut self,
        from: CheckpointPlace,
        to: &str,
        ids: &[String],
        now: i64,
    ) -> Result<usize, RecordsError> {
        let place = CheckpointPlace { thread: to, ..from };
        let mut copied = 0;
        for id in ids {
            let Some(found) = self.checkpoint_or_writes(from, id, now)? else { continue };
            if found.is_awaited() && self.checkpoint_or_writes(place, id, now)?.is_some() {
                continue;
            }
            let channels = self.channels_of(found.number)?;
            self.insert_checkpoint(place, id, found.expires_at, &found.body)?;
            if let Some(channel) = self.set_channels(place, id, &channels)? {
                return Err(RecordsError::Damaged(format!("thread {to:?} has no blob of channel {channel:?}")));
            }
            copied += usize::from(!found.is_awaited());
        }
        Ok(copied)
    }
}
