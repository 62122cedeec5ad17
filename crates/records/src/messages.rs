//! Messages among records: each is found by its session and its id there, whatever ids records have.
//!
//! Beside that a message has an id among records, under which recalls and lists show it: `session/message`, or a UUID
//! where a record has that one. If a record is to have it later, the record gets it and the message a UUID. So
//! nothing that is given out names two things, and no caller's id is in the way of another one.

use crate::RecordsError;
use crate::reader::Reader;
use crate::record::{Record, StoredRecord};
use crate::rows::{COLUMNS, Place, read_fields, read_record};
use crate::slots::Slots;
use crate::transaction::WriteTransaction;
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

pub(crate) const SCHEMA: &str = "ALTER TABLE records ADD COLUMN message_id TEXT;";

pub(crate) const INDEX: &str =
    "CREATE UNIQUE INDEX messages_by_id ON records (collection, session, message_id) WHERE message_id IS NOT NULL;";

/// Until now a message's id was what follows the first `/` of its record's. As bytes: of texts, `substr` knows only
/// what comes before a NUL.
pub(crate) const NAME_OLD: &str = "
    UPDATE records SET message_id = CAST(substr(CAST(id AS BLOB), instr(CAST(id AS BLOB), x'2F') + 1) AS TEXT)
    WHERE role IS NOT NULL;";

/// The id that a session's message has among records, unless a record has it: a session's id has no `/`.
pub fn record_id(session: &str, message: &str) -> String {
    format!("{session}/{message}")
}

/// By what a record is looked for.
#[derive(Clone, Copy)]
pub(crate) enum Name<'a> {
    /// Its id among all records of its collection.
    Id(&'a str),
    /// Its session and its id there: a message.
    Message(Option<&'a str>, &'a str),
}

impl<'a> Name<'a> {
    /// By what a record is known to whoever writes it.
    pub fn of(record: &'a Record) -> Self {
        match &record.message {
            Some(message) => Self::Message(record.session.as_deref(), &message.id),
            None => Self::Id(&record.id),
        }
    }

    /// The row of that name in a collection, if there is one.
    pub fn find<T>(
        self,
        connection: &Connection,
        columns: &str,
        collection: i64,
        read: impl FnOnce(&Row) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, RecordsError> {
        let found = match self {
            Self::Id(id) => connection
                .prepare_cached(&format!("SELECT {columns} FROM records WHERE collection = ? AND id = ?"))?
                .query_row(params![collection, id], read),
            Self::Message(session, id) => connection
                .prepare_cached(&format!(
                    "SELECT {columns} FROM records WHERE collection = ? AND session IS ? AND message_id = ?"
                ))?
                .query_row(params![collection, session, id], read),
        };
        found.optional().map_err(RecordsError::from)
    }
}

/// A message that has another id among records than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renamed {
    /// Slot of its version.
    pub slot: u64,
    /// The id that it has now.
    pub id: String,
}

impl WriteTransaction<'_> {
    /// A message of a session.
    pub fn message(&self, slots: &Slots, session: &str, id: &str) -> Result<Option<StoredRecord>, RecordsError> {
        let name = Name::Message(Some(session), id);
        name.find(self.connection, COLUMNS, slots.collection, |r| read_record(r, self.sealing))
    }

    /// The id among records that a new message gets: the one that it asks for, if nobody has that.
    pub(crate) fn free_id(&self, slots: &Slots, wanted: &str) -> Result<String, RecordsError> {
        let is_taken = Name::Id(wanted).find(self.connection, "1", slots.collection, |_| Ok(()))?.is_some();
        Ok(if is_taken { Uuid::now_v7().to_string() } else { wanted.to_owned() })
    }

    /// Gives a message another id among records, and changes nothing else of it: its version stays, and what is
    /// sealed is bound to its other name.
    pub(crate) fn give_way(&mut self, seq: i64) -> Result<Renamed, RecordsError> {
        let id = Uuid::now_v7().to_string();
        let sql = format!("SELECT {COLUMNS} FROM records WHERE seq = ?");
        let (slot, crc) = self.connection.prepare_cached(&sql)?.query_row([seq], |r| {
            let ((stored, body), place) = (read_fields(r)?, Place::read(r)?);
            let renamed = Record { id: id.clone(), ..stored.record.clone() };
            let crc = body.checksum_after(r.get(14)?, (&stored.record, place), (&renamed, place), stored.version);
            Ok((stored.slot, crc))
        })?;
        self.connection
            .prepare_cached("UPDATE records SET id = ?, crc = ? WHERE seq = ?")?
            .execute(params![id, crc, seq])?;
        Ok(Renamed { slot, id })
    }
}

impl Reader {
    /// A message of a session.
    pub fn message(&self, collection: i64, session: &str, id: &str) -> Result<Option<StoredRecord>, RecordsError> {
        let name = Name::Message(Some(session), id);
        name.find(&self.connection, COLUMNS, collection, |r| read_record(r, &self.sealing))
    }
}

/// Puts messages back into the sessions that their ids name: older versions let a record's `session` be changed, also
/// where the record was a message. One whose session is gone is archived, so that it is in no list of a session to
/// come.
pub(crate) fn put_back(connection: &Connection) -> Result<(), RecordsError> {
    let own = "CAST(substr(CAST(id AS BLOB), 1, instr(CAST(id AS BLOB), x'2F') - 1) AS TEXT)";
    let sql = format!("SELECT {COLUMNS} FROM records WHERE role IS NOT NULL AND session IS NOT {own}");
    let mut moved = connection.prepare(&sql)?;
    let moved = moved.query_map([], |r| {
        let (stored, body) = read_fields(r)?;
        Ok((stored, body, r.get::<_, Option<u32>>(14)?, Place::read(r)?))
    })?;
    for message in moved.collect::<Vec<_>>() {
        // One that is damaged keeps no folder from being opened.
        let Ok((mut stored, body, crc, place)) = message else { continue };
        let Some((session, _)) = stored.record.id.split_once('/') else { continue };
        let session = session.to_owned();
        let is_whole = crc.is_some() && body.is_whole(crc, &stored.record, stored.version, place);
        stored.record.session = Some(session.clone());
        // Its place may change below, and was not covered by the checksums of then.
        let crc = if is_whole { Some(body.checksum_without_place(&stored.record, stored.version)) } else { crc };
        connection
            .execute("UPDATE records SET session = ?, crc = ? WHERE seq = ?", params![session, crc, stored.seq])?;
        connection.execute("UPDATE media SET session = ? WHERE record = ?", params![session, stored.seq])?;
        connection.execute(
            "UPDATE records SET position = -1 - position WHERE seq = ? AND position >= 0
             AND NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.collection = ? AND sessions.id = ?)",
            params![stored.seq, place.collection, session],
        )?;
        tracing::info!(session, id = stored.record.id, "a message that a patch had moved is in its session again");
    }
    Ok(())
}
