//! Records and collections as rows of their tables, each record with its checksum.

use crate::RecordsError;
use crate::record::{LiveRow, Message, Record, StoredCollection, StoredRecord};
use crate::slots::Slots;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::de::DeserializeOwned;
use uuid::Uuid;

pub(crate) const COLLECTION_COLUMNS: &str = "id, tenant, name, settings, vector_file, rows, created_at";

pub(crate) fn read_collection(r: &Row) -> rusqlite::Result<StoredCollection> {
    Ok(StoredCollection {
        id: r.get(0)?,
        tenant: r.get(1)?,
        name: r.get(2)?,
        settings: r.get(3)?,
        vector_file: Uuid::from_bytes(r.get(4)?),
        rows: r.get(5)?,
        created_at: r.get(6)?,
    })
}

/// Reads slot, session and expiry.
pub(crate) fn live_row(r: &Row, slots: &Slots) -> rusqlite::Result<Option<LiveRow>> {
    let Some(row) = slots.row(r.get::<_, i64>(0)? as u64) else { return Ok(None) };
    Ok(Some(LiveRow { row, session: r.get(1)?, expires_at: r.get(2)? }))
}

pub(crate) const COLUMNS: &str = "seq, slot, row_crc, version, created_at, expires_at, importance, given_vector, user, session, kind, id, \
                       metadata, text, crc, position, message";

/// CRC32C of everything that a record says; not of its place, which its row's own checksum guards.
pub(crate) fn record_checksum(record: &Record, version: u64, metadata: &str, message: Option<&str>) -> u32 {
    let mut crc = 0;
    let mut add = |bytes: &[u8]| {
        // Lengths as well, so that no byte can move from one field to the next unnoticed.
        crc = crc32c::crc32c_append(crc, &(bytes.len() as u64).to_le_bytes());
        crc = crc32c::crc32c_append(crc, bytes);
    };
    add(&version.to_le_bytes());
    add(&record.created_at.to_le_bytes());
    add(record.expires_at.map(i64::to_le_bytes).as_ref().map_or(&[], |bytes| bytes));
    // SQLite keeps no −0; adding zero makes it 0.
    add(record.importance.map(|i| (i + 0.0).to_le_bytes()).as_ref().map_or(&[], |bytes| bytes));
    add(&[u8::from(record.given_vector)]);
    for text in [&record.user, &record.session, &record.kind] {
        add(&[u8::from(text.is_some())]);
        add(text.as_deref().unwrap_or_default().as_bytes());
    }
    for text in [&record.id, metadata, &record.text].into_iter().chain(message) {
        add(text.as_bytes());
    }
    crc
}

/// Reads a record and holds it against its checksum.
pub(crate) fn read_record(r: &Row) -> rusqlite::Result<StoredRecord> {
    let seq: i64 = r.get(0)?;
    let damaged = |reason: String| damaged(&format!("record number {seq}"), reason);
    let metadata: String = r.get(12).map_err(|e| damaged(e.to_string()))?;
    let message: Option<String> = r.get(16).map_err(|e| damaged(e.to_string()))?;
    let stored = read_fields(r, seq, &metadata, message.as_deref()).map_err(|e| damaged(e.to_string()))?;
    match r.get::<_, Option<u32>>(14).map_err(|e| damaged(e.to_string()))? {
        Some(crc) if crc != record_checksum(&stored.record, stored.version, &metadata, message.as_deref()) => {
            Err(damaged("it does not have its checksum".into()))
        }
        _ => Ok(stored),
    }
}

fn read_fields(r: &Row, seq: i64, metadata: &str, message: Option<&str>) -> rusqlite::Result<StoredRecord> {
    let damaged = |e| rusqlite::Error::FromSqlConversionFailure(12, rusqlite::types::Type::Text, Box::new(e));
    let mut message: Option<Message> = message.map(serde_json::from_str).transpose().map_err(damaged)?;
    if let Some(message) = &mut message {
        message.position = r.get(15)?;
    }
    Ok(StoredRecord {
        seq,
        slot: r.get::<_, i64>(1)? as u64,
        row_crc: r.get(2)?,
        version: r.get::<_, i64>(3)? as u64,
        record: Record {
            created_at: r.get(4)?,
            expires_at: r.get(5)?,
            importance: r.get(6)?,
            given_vector: r.get(7)?,
            user: r.get(8)?,
            session: r.get(9)?,
            kind: r.get(10)?,
            id: r.get(11)?,
            metadata: serde_json::from_str(metadata).map_err(damaged)?,
            text: r.get(13)?,
            message,
        },
    })
}

/// Reads the JSON text of a row and holds it against its checksum; `crc` is that of what was read.
pub(crate) fn read_body<T: DeserializeOwned>(what: &str, body: &str, stored: u32, crc: u32) -> rusqlite::Result<T> {
    if stored != crc {
        return Err(damaged(what, "it does not have its checksum".into()));
    }
    serde_json::from_str(body).map_err(|e| damaged(what, e.to_string()))
}

/// CRC32C of texts with their lengths, so that no byte can move from one to the next unnoticed.
pub(crate) fn checksum(texts: &[&str]) -> u32 {
    texts.iter().fold(0, |crc, text| {
        crc32c::crc32c_append(crc32c::crc32c_append(crc, &(text.len() as u64).to_le_bytes()), text.as_bytes())
    })
}

fn damaged(what: &str, reason: String) -> rusqlite::Error {
    let error = Box::new(RecordsError::Damaged(format!("{what}: {reason}")));
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Null, error)
}

pub(crate) fn record_by_id(
    connection: &Connection,
    collection: i64,
    id: &str,
) -> Result<Option<StoredRecord>, RecordsError> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM records WHERE collection = ? AND id = ?"))?
        .query_row(params![collection, id], read_record)
        .optional()
        .map_err(RecordsError::from)
}
