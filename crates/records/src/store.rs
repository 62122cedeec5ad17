//! SQLite, the one source of truth: a commit here is the acknowledgement.
//!
//! One [`Store`] writes, in groups: many requests share one transaction and one fsync, each within a savepoint, so that one that is refused
//! takes nothing of the others back. A [`Reader`] sees committed states only.

use crate::RecordsError;
use crate::messages::{Name, Renamed};
use crate::record::{Deleted, LiveRow, Record, StoredCollection, StoredRecord};
use crate::rows::{COLLECTION_COLUMNS, COLUMNS, StoredBody, live_row, read_collection, read_record, record_by_id};
use crate::schema::{self, SCHEMA_VERSION};
use crate::sealing::Sealing;
use crate::slots::Slots;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The writer.
pub struct Store {
    path: PathBuf,
    connection: Connection,
    sealing: Sealing,
}

impl Store {
    /// Opens or creates the database. What `sealing` has no keys for cannot be read.
    #[expect(clippy::disallowed_methods, reason = "the one connection that writes, with synchronous=FULL")]
    pub fn open(path: &Path, sealing: Sealing) -> Result<Self, RecordsError> {
        let connection = Connection::open(path)?;
        // FULL: a commit is on disk when it returns. secure_delete: what is deleted is overwritten.
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;
             PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -65536;",
        )?;
        schema::bring_up_to_date(&connection, path)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(Self { path: path.to_owned(), connection, sealing })
    }

    /// A reader of the same database.
    pub fn reader(&self) -> Result<Reader, RecordsError> {
        Reader::open(&self.path, self.sealing.clone())
    }

    /// Begins a group of writes, which is durable when [`Group::commit`] returns and gone when it is dropped before.
    pub fn begin(&mut self) -> Result<Group<'_>, RecordsError> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        Ok(Group { connection: &self.connection, sealing: &self.sealing, tenants: HashMap::new(), open: true })
    }

    /// Moves the write-ahead log into the database file and empties it; `false` when a reader was in the way.
    pub fn checkpoint(&self) -> Result<bool, RecordsError> {
        Ok(self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |r| r.get::<_, i64>(0))? == 0)
    }
}

/// A transaction of many requests.
pub struct Group<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) sealing: &'a Sealing,
    /// Whose collections are, of those that were asked for.
    tenants: HashMap<i64, String>,
    open: bool,
}

/// What an upsert or a delete did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The record's order of creation.
    pub seq: i64,
    /// Its version now.
    pub version: u64,
    /// The version that was replaced.
    pub replaced: Option<LiveRow>,
    /// Its id: a message may have another one than it asked for.
    pub id: String,
    /// A message that had this id until now.
    pub renamed: Option<Renamed>,
}

/// What is known of a record before it is written or deleted.
struct Current {
    seq: i64,
    version: u64,
    id: String,
    session: Option<String>,
    is_message: bool,
    live: Option<LiveRow>,
}

impl Group<'_> {
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

    /// Creates a collection and gives its number.
    pub fn create_collection(&mut self, collection: &StoredCollection) -> Result<i64, RecordsError> {
        self.connection
            .prepare_cached(
                "INSERT INTO collections (tenant, name, settings, vector_file, rows, created_at) VALUES (?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                collection.tenant,
                collection.name,
                collection.settings,
                collection.vector_file.as_bytes(),
                collection.rows,
                collection.created_at
            ])?;
        Ok(self.connection.last_insert_rowid())
    }

    /// Drops a collection with its records.
    pub fn drop_collection(&mut self, id: i64) -> Result<(), RecordsError> {
        self.connection.prepare_cached("DELETE FROM records WHERE collection = ?")?.execute([id])?;
        self.connection.prepare_cached("DELETE FROM collections WHERE id = ?")?.execute([id])?;
        Ok(())
    }

    /// Removes what a tenant has beside collections and their sessions: checkpoints, inputs that wait, usage and quotas.
    pub fn drop_tenant(&mut self, tenant: &str) -> Result<(), RecordsError> {
        for table in ["sessions", "checkpoints", "queue", "usage", "quotas"] {
            self.connection.prepare_cached(&format!("DELETE FROM {table} WHERE tenant = ?"))?.execute([tenant])?;
        }
        Ok(())
    }

    /// Says which vector file a collection's rows are in and how many are committed.
    pub fn set_rows(&mut self, id: i64, vector_file: Uuid, rows: u32) -> Result<(), RecordsError> {
        self.connection
            .prepare_cached("UPDATE collections SET vector_file = ?, rows = ? WHERE id = ?")?
            .execute(params![vector_file.as_bytes(), rows, id])?;
        Ok(())
    }

    /// Switches a collection to the vector file that a compaction has written, all of whose `rows` rows have their slots.
    pub fn compact(&mut self, slots: &Slots, rows: u32) -> Result<(), RecordsError> {
        let (kept, next) = slots.encode()?;
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO compactions (collection, kept, next) VALUES (?, ?, ?)")?
            .execute(params![slots.collection, kept, next as i64])?;
        self.set_rows(slots.collection, slots.file, rows)
    }

    /// Sets a collection's settings.
    pub fn set_settings(&mut self, id: i64, settings: &str) -> Result<(), RecordsError> {
        self.connection
            .prepare_cached("UPDATE collections SET settings = ? WHERE id = ?")?
            .execute(params![settings, id])?;
        Ok(())
    }

    /// Writes a record, new or the next version of an older one, whose vector is in `row`. With `expected`, the current version must
    /// be that one (0: there must be none). A message is known by its session and its id there, any other record by its id.
    pub fn upsert(
        &mut self,
        slots: &Slots,
        record: &Record,
        row: u32,
        row_crc: u32,
        expected: Option<u64>,
    ) -> Result<Written, RecordsError> {
        let mut current = self.find(slots, Name::of(record))?;
        let mut renamed = None;
        if record.message.is_none()
            && let Some(message) = current.take_if(|current| current.is_message)
        {
            renamed = Some(self.give_way(message.seq)?);
        }
        check_version(&record.id, current.as_ref(), expected)?;
        let id = match &current {
            Some(current) => current.id.clone(),
            None if record.message.is_some() => self.free_id(slots, &record.id)?,
            None => record.id.clone(),
        };
        let record = &if id == record.id { Cow::Borrowed(record) } else { Cow::Owned(Record { id, ..record.clone() }) };
        let seq = current.as_ref().map(|c| c.seq);
        let version = current.as_ref().map_or(0, |c| c.version) + 1;
        let sealing = self.sealing;
        let body = StoredBody::of(sealing, self.tenant(slots.collection)?, slots.collection, record, version)?;
        let StoredBody { metadata, message, text } = &body;
        self.connection
            .prepare_cached(
                // Replaces its own older version alone: a slot that another record has is an error. A message keeps its place: it may have been moved since
                // it was read.
                "INSERT INTO records (seq, collection, slot, row_crc, version, created_at, expires_at, importance,
                 given_vector, user, session, kind, id, metadata, text, crc, position, role, message, message_id,
                 seal_key, sealed)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                 ON CONFLICT (seq) DO UPDATE SET slot = excluded.slot, row_crc = excluded.row_crc, version = excluded.version,
                 created_at = excluded.created_at, expires_at = excluded.expires_at, importance = excluded.importance,
                 given_vector = excluded.given_vector, user = excluded.user, session = excluded.session, kind = excluded.kind,
                 metadata = excluded.metadata, text = excluded.text, crc = excluded.crc, role = excluded.role,
                 message = excluded.message, seal_key = excluded.seal_key, sealed = excluded.sealed, position = CASE WHEN excluded.role IS NULL THEN NULL
                 ELSE COALESCE(records.position, excluded.position) END",
            )?
            .execute(params![
                seq,
                slots.collection,
                slots.slot(row) as i64,
                row_crc,
                version as i64,
                record.created_at,
                record.expires_at,
                record.importance,
                record.given_vector,
                record.user,
                record.session,
                record.kind,
                record.id,
                metadata,
                text.clear,
                body.checksum(record, version),
                record.message.as_ref().map(|m| m.position),
                record.message.as_ref().map(|m| &m.role),
                message,
                record.message.as_ref().map(|m| &m.id),
                text.key,
                text.sealed
            ])?;
        let seq = seq.unwrap_or_else(|| self.connection.last_insert_rowid());
        self.put_media(seq, slots.collection, record)?;
        Ok(Written { seq, version, replaced: current.and_then(|c| c.live), id: record.id.clone(), renamed })
    }

    /// Whose a collection is.
    fn tenant(&mut self, collection: i64) -> Result<&str, RecordsError> {
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

    /// Gives a record's version the vector of another row, as re-embedding does; `false` when the version is no longer current.
    pub fn move_row(
        &mut self,
        slots: &Slots,
        stored: &StoredRecord,
        row: u32,
        row_crc: u32,
    ) -> Result<bool, RecordsError> {
        let changed = self
            .connection
            .prepare_cached("UPDATE records SET slot = ?, row_crc = ? WHERE seq = ? AND version = ? AND slot = ?")?
            .execute(params![slots.slot(row) as i64, row_crc, stored.seq, stored.version as i64, stored.slot as i64])?;
        Ok(changed == 1)
    }

    /// Deletes a record and gives what it was; `None` when there is none.
    pub fn delete(&mut self, slots: &Slots, id: &str, expected: Option<u64>) -> Result<Option<Deleted>, RecordsError> {
        self.delete_named(slots, Name::Id(id), id, expected)
    }

    /// Deletes a message of a session and gives what it was; `None` when there is none.
    pub fn delete_message(
        &mut self,
        slots: &Slots,
        session: &str,
        id: &str,
        expected: Option<u64>,
    ) -> Result<Option<Deleted>, RecordsError> {
        self.delete_named(slots, Name::Message(Some(session), id), id, expected)
    }

    fn delete_named(
        &mut self,
        slots: &Slots,
        name: Name,
        id: &str,
        expected: Option<u64>,
    ) -> Result<Option<Deleted>, RecordsError> {
        let current = self.find(slots, name)?;
        check_version(id, current.as_ref(), expected)?;
        let Some(current) = current else { return Ok(None) };
        self.connection.prepare_cached("DELETE FROM records WHERE seq = ?")?.execute([current.seq])?;
        Ok(Some(Deleted { live: current.live, message_of: current.session.filter(|_| current.is_message) }))
    }

    /// What is known of a record.
    fn find(&self, slots: &Slots, name: Name) -> Result<Option<Current>, RecordsError> {
        let columns = "slot, session, expires_at, seq, version, id, message_id IS NOT NULL";
        name.find(self.connection, columns, slots.collection, |r| {
            Ok(Current {
                seq: r.get(3)?,
                version: r.get::<_, i64>(4)? as u64,
                id: r.get(5)?,
                session: r.get(1)?,
                is_message: r.get(6)?,
                live: live_row(r, slots)?,
            })
        })
    }

    /// Deletes the record of a slot and gives what it was; `None` when there is none.
    pub fn delete_slot(&mut self, slots: &Slots, slot: u64) -> Result<Option<Deleted>, RecordsError> {
        Ok(self
            .connection
            .prepare_cached(
                "DELETE FROM records WHERE collection = ? AND slot = ?
                 RETURNING slot, session, expires_at, message_id IS NOT NULL",
            )?
            .query_row(params![slots.collection, slot as i64], |r| {
                let (session, is_message): (Option<String>, bool) = (r.get(1)?, r.get(3)?);
                Ok(Deleted { live: live_row(r, slots)?, message_of: session.filter(|_| is_message) })
            })
            .optional()?)
    }

    /// Makes the group durable.
    pub fn commit(mut self) -> Result<(), RecordsError> {
        self.connection.execute_batch("COMMIT")?;
        self.open = false;
        Ok(())
    }
}

/// Refuses what expects another version; 0 is that of a record that is not there.
fn check_version(id: &str, current: Option<&Current>, expected: Option<u64>) -> Result<(), RecordsError> {
    let version = current.map_or(0, |c| c.version);
    match expected {
        Some(expected) if expected != version => {
            Err(RecordsError::VersionConflict { id: id.to_owned(), current: version, expected })
        }
        _ => Ok(()),
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        if self.open && !self.connection.is_autocommit() {
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }
}

/// By what records are paged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// In the order in which they were first written.
    Written,
    /// By `created_at`, oldest first.
    Oldest,
    /// By `created_at`, newest first.
    Newest,
}

/// Where a page ends: `created_at` and the order of creation of its last record.
pub type Position = (i64, i64);

/// One read-only connection.
pub struct Reader {
    pub(crate) connection: Connection,
    pub(crate) sealing: Sealing,
}

impl Reader {
    /// Opens a database for reading, beside a writer in this or another process. What `sealing` has no keys for cannot be read.
    #[expect(clippy::disallowed_methods, reason = "it only reads")]
    pub fn open(path: &Path, sealing: Sealing) -> Result<Self, RecordsError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        Self::over(connection, path, sealing)
    }

    pub(crate) fn over(connection: Connection, path: &Path, sealing: Sealing) -> Result<Self, RecordsError> {
        connection.set_prepared_statement_cache_capacity(64);
        let found: u32 = connection.query_row("PRAGMA user_version", [], |r| r.get(0))?;
        if found < SCHEMA_VERSION {
            return Err(RecordsError::TooOld { path: path.to_owned(), found });
        }
        if found > SCHEMA_VERSION {
            return Err(RecordsError::TooNew { path: path.to_owned(), found, known: SCHEMA_VERSION });
        }
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

    /// Everybody of whom anything is stored.
    pub fn tenants(&self) -> Result<Vec<String>, RecordsError> {
        let sql = "SELECT tenant FROM collections UNION SELECT tenant FROM sessions UNION SELECT tenant FROM checkpoints UNION SELECT tenant FROM queue";
        let mut statement = self.connection.prepare_cached(sql)?;
        let tenants = statement.query_map([], |r| r.get(0))?;
        Ok(tenants.collect::<Result<_, _>>()?)
    }

    /// Every collection.
    pub fn collections(&self) -> Result<Vec<StoredCollection>, RecordsError> {
        let sql = format!("SELECT {COLLECTION_COLUMNS} FROM collections ORDER BY tenant, name");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map([], read_collection)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// A collection by its number.
    pub fn collection(&self, id: i64) -> Result<Option<StoredCollection>, RecordsError> {
        let sql = format!("SELECT {COLLECTION_COLUMNS} FROM collections WHERE id = ?");
        Ok(self.connection.prepare_cached(&sql)?.query_row([id], read_collection).optional()?)
    }

    /// Numbers of the collections that hold records whose time had come by `now`.
    pub fn collections_with_expired(&self, now: i64) -> Result<Vec<i64>, RecordsError> {
        let sql = "SELECT DISTINCT collection FROM records WHERE expires_at <= ?";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([now], |r| r.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// A record by its id.
    pub fn record(&self, collection: i64, id: &str) -> Result<Option<StoredRecord>, RecordsError> {
        record_by_id(&self.connection, &self.sealing, collection, id)
    }

    /// The slots of a collection's vector file.
    pub fn slots(&self, collection: &StoredCollection) -> Result<Slots, RecordsError> {
        let kept = self
            .connection
            .prepare_cached("SELECT kept, next FROM compactions WHERE collection = ?")?
            .query_row([collection.id], |r| Ok((r.get::<_, Vec<u8>>(0)?, r.get::<_, i64>(1)? as u64)))
            .optional()?;
        match kept {
            Some((kept, next)) => Slots::decode(collection.id, collection.vector_file, &kept, next),
            None => Ok(Slots::new(collection.id, collection.vector_file)),
        }
    }

    /// The record whose vector is in a row; `None` for a row of an older version.
    pub fn record_of_row(&self, slots: &Slots, row: u32) -> Result<Option<StoredRecord>, RecordsError> {
        self.connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM records WHERE collection = ? AND slot = ?"))?
            .query_row(params![slots.collection, slots.slot(row) as i64], |r| read_record(r, &self.sealing))
            .optional()
            .map_err(RecordsError::from)
    }

    /// What recall keeps in memory, in the order of creation. What has no row, because its slot is damaged, is passed over:
    /// [`Reader::check_records`] gives all.
    pub fn live_rows(&self, slots: &Slots) -> Result<Vec<LiveRow>, RecordsError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT slot, session, expires_at FROM records WHERE collection = ? ORDER BY seq")?;
        let rows = statement.query_map([slots.collection], |r| live_row(r, slots))?;
        Ok(rows.filter_map(Result::transpose).collect::<Result<_, _>>()?)
    }

    /// Calls `each` with every record of a collection whose row is at least `from`, by row; stops when it says `false`. Damaged records are
    /// passed over: [`Reader::check_records`] names them.
    pub fn each_record(
        &self,
        slots: &Slots,
        from: u32,
        mut each: impl FnMut(u32, StoredRecord) -> bool,
    ) -> Result<(), RecordsError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM records WHERE collection = ? AND slot >= ? ORDER BY slot"
        ))?;
        let mut rows = statement.query(params![slots.collection, slots.slot(from) as i64])?;
        while let Some(row) = rows.next()? {
            match read_record(row, &self.sealing).map_err(RecordsError::from) {
                Ok(record) => {
                    if let Some(row) = slots.row(record.slot)
                        && !each(row, record)
                    {
                        break;
                    }
                }
                Err(RecordsError::Damaged(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Calls `each` with every record of a collection, or with why it cannot be read.
    pub fn check_records(
        &self,
        collection: i64,
        mut each: impl FnMut(Result<StoredRecord, RecordsError>),
    ) -> Result<(), RecordsError> {
        let mut statement = self
            .connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM records WHERE collection = ? ORDER BY seq"))?;
        let mut rows = statement.query([collection])?;
        while let Some(row) = rows.next()? {
            each(read_record(row, &self.sealing).map_err(RecordsError::from));
        }
        Ok(())
    }

    /// Calls `each` with every record of a collection that is about a user, until it says `false`.
    pub fn records_of_user(
        &self,
        collection: i64,
        user: &str,
        mut each: impl FnMut(StoredRecord) -> bool,
    ) -> Result<(), RecordsError> {
        let sql = format!("SELECT {COLUMNS} FROM records WHERE collection = ? AND user = ? ORDER BY seq");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![collection, user])?;
        while let Some(row) = rows.next()? {
            if !each(read_record(row, &self.sealing)?) {
                break;
            }
        }
        Ok(())
    }

    /// Records of a collection.
    pub fn count(&self, collection: i64) -> Result<u64, RecordsError> {
        let count: i64 = self
            .connection
            .prepare_cached("SELECT count(*) FROM records WHERE collection = ?")?
            .query_row([collection], |r| r.get(0))?;
        Ok(count as u64)
    }

    /// Records of a collection whose time had come by `now`.
    pub fn count_expired(&self, collection: i64, now: i64) -> Result<u64, RecordsError> {
        let count: i64 = self
            .connection
            .prepare_cached("SELECT count(*) FROM records WHERE expires_at <= ? AND +collection = ?")?
            .query_row([now, collection], |r| r.get(0))?;
        Ok(count as u64)
    }

    /// The next records after a position that are wanted, at most `limit`. `known` says by a slot alone whether its record is, where that is known; the
    /// others are read and put to `wanted`.
    pub fn page(
        &self,
        collection: i64,
        order: Order,
        after: Option<Position>,
        limit: usize,
        known: impl Fn(u64) -> Option<bool>,
        wanted: impl Fn(&Record) -> bool,
    ) -> Result<Vec<StoredRecord>, RecordsError> {
        let (condition, by, start) = match order {
            Order::Written => ("seq > ?3", "seq", (0, 0)),
            Order::Oldest => ("(created_at, seq) > (?2, ?3)", "created_at, seq", (i64::MIN, 0)),
            Order::Newest => ("(created_at, seq) < (?2, ?3)", "created_at DESC, seq DESC", (i64::MAX, i64::MAX)),
        };
        let (time, seq) = after.unwrap_or(start);
        let sql =
            format!("SELECT {COLUMNS} FROM records WHERE collection = ?1 AND ?2 = ?2 AND {condition} ORDER BY {by}");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![collection, time, seq])?;
        let mut page = Vec::new();
        while page.len() < limit {
            let Some(row) = rows.next()? else { break };
            let known = known(row.get::<_, i64>(1)? as u64);
            if known == Some(false) {
                continue;
            }
            let stored = read_record(row, &self.sealing)?;
            if known == Some(true) || wanted(&stored.record) {
                page.push(stored);
            }
        }
        Ok(page)
    }

    /// What does not have its checksum beside records: sessions, checkpoints, queues, the audit log.
    pub fn damaged_tables(&self) -> Result<Vec<String>, RecordsError> {
        let mut damaged = [self.damaged_sessions()?, self.damaged_threads()?].concat();
        damaged.extend(self.verify_audit().err().map(|error| error.to_string()));
        Ok(damaged)
    }

    /// Checks the database's own structure and gives what SQLite finds wrong.
    pub fn integrity_problems(&self) -> Result<Vec<String>, RecordsError> {
        let mut statement = self.connection.prepare("PRAGMA integrity_check")?;
        let lines: Vec<String> = statement.query_map([], |r| r.get(0))?.collect::<Result<_, _>>()?;
        Ok(lines.into_iter().filter(|line| line != "ok").collect())
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
