//! Writing and deleting records.

use crate::RecordsError;
use crate::messages::{Name, Renamed};
use crate::record::{Deleted, LiveRow, Record, RowChecks, StoredRecord, Window};
use crate::rows::{COLUMNS, Place, StoredBody, live_row, read_fields};
use crate::slots::Slots;
use crate::transaction::WriteTransaction;
use rusqlite::{OptionalExtension, params};
use std::borrow::Cow;

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
    position: Option<i64>,
    live: Option<LiveRow>,
}

impl WriteTransaction<'_> {
    /// Writes a record, new or the next version of an older one, whose vector is in `row`; those of
    /// its further windows are in the rows after it. With `expected`, the current version must be that one (0: there
    /// must be none). A message is known by its session and its id there, any other record by its id.
    pub fn upsert(
        &mut self,
        slots: &Slots,
        record: &Record,
        row: u32,
        checks: impl Into<RowChecks>,
        expected: Option<u64>,
    ) -> Result<Written, RecordsError> {
        let RowChecks { row_crc, windows } = checks.into();
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
        let tenant = self.tenant(slots.collection)?;
        let body = StoredBody::of(sealing, tenant, slots.collection, record, &windows, version)?;
        // A message keeps its place: it may have been moved since it was read.
        let kept = current.as_ref().and_then(|current| current.position);
        let position = record.message.as_ref().map(|message| kept.unwrap_or(message.position));
        let place = Place { collection: slots.collection, position };
        let StoredBody { metadata, message, text, payload, windows } = &body;
        self.connection
            .prepare_cached(
                // Replaces its own older version alone: a slot that another record has is an error.
                "INSERT INTO records (seq, collection, slot, row_crc, version, created_at, expires_at, importance,
                 given_vector, user, session, kind, id, metadata, text, crc, position, role, message, message_id,
                 seal_key, sealed, windows, payload, updated_at)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                 ON CONFLICT (seq) DO UPDATE SET slot = excluded.slot, row_crc = excluded.row_crc,
                 version = excluded.version,
                 created_at = excluded.created_at, expires_at = excluded.expires_at, importance = excluded.importance,
                 given_vector = excluded.given_vector, user = excluded.user, session = excluded.session,
                 kind = excluded.kind,
                 metadata = excluded.metadata, text = excluded.text, crc = excluded.crc, role = excluded.role,
                 message = excluded.message, seal_key = excluded.seal_key, sealed = excluded.sealed,
                 position = excluded.position, windows = excluded.windows, payload = excluded.payload,
                 updated_at = excluded.updated_at",
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
                body.checksum(record, version, place),
                position,
                record.message.as_ref().map(|m| &m.role),
                message,
                record.message.as_ref().map(|m| &m.id),
                text.key,
                text.sealed,
                windows,
                payload,
                record.updated_at
            ])?;
        let seq = seq.unwrap_or_else(|| self.connection.last_insert_rowid());
        self.put_media(seq, slots.collection, record)?;
        Ok(Written { seq, version, replaced: current.and_then(|c| c.live), id: record.id.clone(), renamed })
    }

    /// When a record was created that is there and has not expired by `now`, in milliseconds since 1970.
    pub fn created_at(&self, slots: &Slots, id: &str, now: i64) -> Result<Option<i64>, RecordsError> {
        let found = Name::Id(id).find(self.connection, "created_at, expires_at", slots.collection, |r| {
            Ok((r.get(0)?, r.get::<_, Option<i64>>(1)?))
        })?;
        Ok(found.filter(|(_, expires_at)| expires_at.is_none_or(|at| at > now)).map(|(created_at, _)| created_at))
    }

    /// Gives a record's version the vectors of other rows, the first one of which is `row`, as re-embedding does;
    /// `false` when the version is no longer current.
    pub fn move_row(
        &mut self,
        slots: &Slots,
        stored: &StoredRecord,
        row: u32,
        checks: impl Into<RowChecks>,
    ) -> Result<bool, RecordsError> {
        let RowChecks { row_crc, windows } = checks.into();
        let is_same = "seq = ? AND version = ? AND slot = ?";
        let key = params![stored.seq, stored.version as i64, stored.slot as i64];
        let found = self
            .connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM records WHERE {is_same}"))?
            .query_row(key, |r| Ok((read_fields(r)?, Place::read(r)?, r.get::<_, Option<u32>>(14)?)))
            .optional()?;
        let Some(((before, mut body), place, crc)) = found else { return Ok(false) };
        let is_whole = crc.is_some() && body.is_whole(crc, &before.record, before.version, place);
        body.windows = Window::encode(&windows);
        // The checksum of one that is damaged stays: it is as damaged as before.
        let crc = if is_whole { Some(body.checksum(&before.record, before.version, place)) } else { crc };
        self.connection
            .prepare_cached("UPDATE records SET slot = ?, row_crc = ?, windows = ?, crc = ? WHERE seq = ?")?
            .execute(params![slots.slot(row) as i64, row_crc, body.windows, crc, stored.seq])?;
        Ok(true)
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
        let columns = "slot, session, expires_at, seq, version, id, message_id IS NOT NULL, position";
        name.find(self.connection, columns, slots.collection, |r| {
            Ok(Current {
                seq: r.get(3)?,
                version: r.get::<_, i64>(4)?.max(0) as u64,
                id: r.get(5)?,
                session: r.get(1)?,
                is_message: r.get(6)?,
                position: r.get(7)?,
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
