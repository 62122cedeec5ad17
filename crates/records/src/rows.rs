//! Records and collections as rows of their tables, each record with its checksum.

use crate::RecordsError;
use crate::messages::Name;
use crate::opaque::OpaqueJson;
use crate::record::{LiveRow, Message, Record, StoredCollection, StoredRecord, Window};
use crate::sealing::{Sealing, StoredText, record_place};
use crate::slots::Slots;
use rusqlite::{Connection, Row};
use serde::de::DeserializeOwned;
use serde_json::Map;
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

/// Reads slot, session and expiry; `None` where the slot has no row.
pub(crate) fn live_row(r: &Row, slots: &Slots) -> rusqlite::Result<Option<LiveRow>> {
    let slot = u64::try_from(r.get::<_, i64>(0)?).ok();
    let Some(row) = slot.and_then(|slot| slots.row(slot)) else { return Ok(None) };
    Ok(Some(LiveRow { row, session: r.get(1)?, expires_at: r.get(2)? }))
}

pub(crate) const COLUMNS: &str = "seq, slot, row_crc, version, created_at, expires_at, importance, given_vector, \
                                  user, session, kind, id, metadata, text, crc, position, message, \
                                  seal_key, sealed, collection, message_id, role, windows, \
                                  payload, updated_at";

/// Where a record is, beside its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub collection: i64,
    /// A message's place in its session.
    pub position: Option<i64>,
}

impl Place {
    /// Reads it from [`COLUMNS`].
    pub fn read(r: &Row) -> rusqlite::Result<Self> {
        Ok(Self { collection: r.get(19)?, position: r.get(15)? })
    }
}

/// What a record says.
struct Opened {
    metadata: String,
    message: Option<String>,
    text: String,
    payload: Option<String>,
}

/// What a record says, as its columns hold it: all of it is in `text` where that is sealed.
pub(crate) struct StoredBody {
    pub metadata: String,
    pub message: Option<String>,
    pub text: StoredText,
    pub payload: Option<String>,
    /// As [`Window::encode`] writes them; never sealed, since they say nothing of a text but how long it is.
    pub windows: Option<Vec<u8>>,
}

impl StoredBody {
    /// What is to be stored of a record.
    pub fn of(
        sealing: &Sealing,
        tenant: &str,
        collection: i64,
        record: &Record,
        windows: &[Window],
        version: u64,
    ) -> Result<Self, RecordsError> {
        let windows = Window::encode(windows);
        let metadata = serde_json::to_string(&record.metadata).unwrap_or_default();
        let message = record.message.as_ref().map(|m| serde_json::to_string(m).unwrap_or_default());
        let payload = record.payload.as_ref().map(OpaqueJson::as_str);
        if sealing.keyring_of(tenant).is_none() {
            let text = StoredText { clear: record.text.clone(), ..StoredText::default() };
            let payload = payload.map(str::to_owned);
            return Ok(Self { metadata, message, text, payload, windows });
        }
        let place = record_place(collection, record, record.message.as_ref().map(|m| m.id.as_str()), version);
        // Three parts, as in older versions, where there is no payload.
        let mut all = vec![Some(metadata.as_str()), message.as_deref(), Some(record.text.as_str())];
        all.extend(payload.map(Some));
        let all = serde_json::to_string(&all).unwrap_or_default();
        let text = sealing.store(tenant, &place.each_ref().map(String::as_str), all)?;
        Ok(Self { metadata: String::new(), message: None, text, payload: None, windows })
    }

    /// Opens it where it is sealed.
    fn open(
        self,
        sealing: &Sealing,
        collection: i64,
        stored: &StoredRecord,
        message_id: Option<&str>,
    ) -> Result<Opened, RecordsError> {
        if self.text.key.is_none() {
            let Self { metadata, message, text, payload, .. } = self;
            return Ok(Opened { metadata, message, text: text.clear, payload });
        }
        let place = record_place(collection, &stored.record, message_id, stored.version);
        let place = place.each_ref().map(String::as_str);
        let all = sealing.read(&place, self.text)?;
        let damaged = |reason: String| RecordsError::Damaged(format!("{}: {reason}", place.join(" ")));
        let parts: Vec<Option<String>> = serde_json::from_str(&all).map_err(|e| damaged(e.to_string()))?;
        let mut parts = parts.into_iter();
        match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Some(metadata)), Some(message), Some(Some(text)), payload, None) => {
                Ok(Opened { metadata, message, text, payload: payload.flatten() })
            }
            _ => Err(damaged("what is sealed has other parts".into())),
        }
    }

    /// CRC32C of everything that a record says, as it is stored, so that no key is needed to check it, and of where it
    /// is; not of its slot, which its row's own checksum guards.
    pub fn checksum(&self, record: &Record, version: u64, place: Place) -> u32 {
        let mut crc = Checksum(self.checksum_without_place(record, version));
        crc.add(&place.collection.to_le_bytes());
        crc.add(place.position.map(i64::to_le_bytes).as_ref().map_or(&[], |bytes| bytes));
        crc.0
    }

    /// Whether a record has its checksum. One that was written before 0.2.0 has that of what it says alone, or, before
    /// schema version 2, none.
    pub fn is_whole(&self, crc: Option<u32>, record: &Record, version: u64, place: Place) -> bool {
        let is_own =
            |crc| crc == self.checksum(record, version, place) || crc == self.checksum_without_place(record, version);
        crc.is_none_or(is_own)
    }

    /// The checksum of a whole record that is about to be in another place, or to have another id; that of one that
    /// has none, or is damaged, stays.
    pub fn checksum_after(
        &self,
        crc: Option<u32>,
        before: (&Record, Place),
        after: (&Record, Place),
        version: u64,
    ) -> Option<u32> {
        let is_whole = crc.is_some() && self.is_whole(crc, before.0, version, before.1);
        if is_whole { Some(self.checksum(after.0, version, after.1)) } else { crc }
    }

    /// CRC32C of everything that a record says.
    pub fn checksum_without_place(&self, record: &Record, version: u64) -> u32 {
        let mut crc = Checksum::default();
        crc.add(&version.to_le_bytes());
        crc.add(&record.created_at.to_le_bytes());
        crc.add(record.expires_at.map(i64::to_le_bytes).as_ref().map_or(&[], |bytes| bytes));
        // SQLite keeps no −0; adding zero makes it 0.
        crc.add(record.importance.map(|i| (i + 0.0).to_le_bytes()).as_ref().map_or(&[], |bytes| bytes));
        crc.add(&[u8::from(record.given_vector)]);
        for text in [&record.user, &record.session, &record.kind] {
            crc.add(&[u8::from(text.is_some())]);
            crc.add(text.as_deref().unwrap_or_default().as_bytes());
        }
        for text in [&record.id, &self.metadata, &self.text.clear].into_iter().chain(&self.message) {
            crc.add(text.as_bytes());
        }
        crc.add_sealed(&self.text);
        if let Some(windows) = &self.windows {
            crc.add(b"windows");
            crc.add(windows);
        }
        // What is written without these has the checksum of older versions.
        if let Some(payload) = &self.payload {
            crc.add(b"payload");
            crc.add(payload.as_bytes());
        }
        if let Some(updated_at) = record.updated_at {
            crc.add(b"updated_at");
            crc.add(&updated_at.to_le_bytes());
        }
        crc.0
    }
}

/// CRC32C of parts with their lengths, so that no byte can move from one to the next unnoticed.
#[derive(Default)]
struct Checksum(u32);

impl Checksum {
    fn add(&mut self, part: &[u8]) {
        let length = (part.len() as u64).to_le_bytes();
        self.0 = crc32c::crc32c_append(crc32c::crc32c_append(self.0, &length), part);
    }

    /// What a text has beside what is clear of it.
    fn add_sealed(&mut self, text: &StoredText) {
        if let (Some(key), Some(sealed)) = (text.key, &text.sealed) {
            self.add(&key.to_le_bytes());
            self.add(sealed);
        }
    }
}

/// Reads a record and holds it against its checksum.
pub(crate) fn read_record(r: &Row, sealing: &Sealing) -> rusqlite::Result<StoredRecord> {
    let seq: i64 = r.get(0)?;
    let damaged = |reason: String| damaged(&format!("record number {seq}"), reason);
    let (mut stored, body) = read_fields(r).map_err(|e| damaged(e.to_string()))?;
    let columns =
        || Ok((r.get::<_, Option<String>>(20)?, r.get::<_, Option<String>>(21)?, r.get(14)?, Place::read(r)?));
    let columns = columns().map_err(|e: rusqlite::Error| damaged(e.to_string()));
    let (message_id, role, crc, place): (_, _, Option<u32>, Place) = columns?;
    if !body.is_whole(crc, &stored.record, stored.version, place) {
        return Err(damaged("it does not have its checksum".into()));
    }
    let Opened { metadata, message, text, payload } =
        body.open(sealing, place.collection, &stored, message_id.as_deref()).map_err(wrapped)?;
    let payload = payload.map(|payload| serde_json::from_str(&payload)).transpose();
    stored.record.payload = payload.map_err(|e: serde_json::Error| damaged(e.to_string()))?;
    stored.record.metadata = serde_json::from_str(&metadata).map_err(|e| damaged(e.to_string()))?;
    stored.record.text = text;
    let message = message.map(|message| serde_json::from_str(&message)).transpose();
    let mut message: Option<Message> = message.map_err(|e| damaged(e.to_string()))?;
    // What it is found by is what it says of itself; so none that is sealed opens in the place of a record that has
    // its name, either.
    let found_as = message.as_ref().map(|message| (message.id.as_str(), message.role.as_str()));
    if found_as != message_id.as_deref().zip(role.as_deref()) || message_id.is_some() != role.is_some() {
        return Err(damaged("it is not the message that it is found as".into()));
    }
    if let Some(message) = &mut message {
        message.position = place.position.ok_or_else(|| damaged("it has no place in its session".into()))?;
    }
    stored.record.message = message;
    Ok(stored)
}

/// A record without what it says, and that as it is stored.
pub(crate) fn read_fields(r: &Row) -> rusqlite::Result<(StoredRecord, StoredBody)> {
    let (metadata, message, text, windows) = (r.get(12)?, r.get(16)?, StoredText::read(r, 13, 17)?, r.get(22)?);
    let body = StoredBody { metadata, message, text, payload: r.get(23)?, windows };
    let record = Record {
        created_at: r.get(4)?,
        updated_at: r.get(24)?,
        expires_at: r.get(5)?,
        importance: r.get(6)?,
        given_vector: r.get(7)?,
        user: r.get(8)?,
        session: r.get(9)?,
        kind: r.get(10)?,
        id: r.get(11)?,
        metadata: Map::new(),
        payload: None,
        text: String::new(),
        message: None,
    };
    // A slot that is damaged is one that has no row of the record.
    let (slot, version) = (r.get::<_, i64>(1)? as u64, unsigned(r, 3)?);
    let windows = body.windows.as_deref().map_or(Some(Vec::new()), Window::decode);
    let windows = windows.ok_or_else(|| damaged(&record.id, "its windows cannot be read".into()))?;
    Ok((StoredRecord { seq: r.get(0)?, slot, row_crc: r.get(2)?, windows, version, record }, body))
}

/// A number that is not negative, unless it is damaged.
fn unsigned(r: &Row, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = r.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

/// Reads the JSON text of a row, which belongs to a place, and holds it against its checksum; `crc` is that of what
/// was read.
pub(crate) fn read_body<T: DeserializeOwned>(
    sealing: &Sealing,
    place: &[&str],
    body: StoredText,
    stored: u32,
    crc: u32,
) -> rusqlite::Result<T> {
    let damaged = |reason: String| damaged(&place.join(" "), reason);
    if stored != crc {
        return Err(damaged("it does not have its checksum".into()));
    }
    let body = sealing.read(place, body).map_err(wrapped)?;
    serde_json::from_str(&body).map_err(|e| damaged(e.to_string()))
}

/// CRC32C of texts and of a body as it is stored.
pub(crate) fn checksum(texts: &[&str], body: &StoredText) -> u32 {
    let mut crc = Checksum::default();
    texts.iter().chain([&body.clear.as_str()]).for_each(|text| crc.add(text.as_bytes()));
    crc.add_sealed(body);
    crc.0
}

/// CRC32C of texts and of octets as they are stored, under a key where they are sealed.
pub(crate) fn checksum_of_octets(texts: &[&str], kind: &str, key: Option<u32>, octets: &[u8]) -> u32 {
    let mut crc = Checksum::default();
    texts.iter().chain([&kind]).for_each(|text| crc.add(text.as_bytes()));
    crc.add(key.map(u32::to_le_bytes).as_ref().map_or(&[], |bytes| bytes));
    crc.add(octets);
    crc.0
}

pub(crate) fn damaged(what: &str, reason: String) -> rusqlite::Error {
    wrapped(RecordsError::Damaged(format!("{what}: {reason}")))
}

/// An error of ours on its way through rusqlite.
pub(crate) fn wrapped(error: RecordsError) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Null, Box::new(error))
}

pub(crate) fn record_by_id(
    connection: &Connection,
    sealing: &Sealing,
    collection: i64,
    id: &str,
) -> Result<Option<StoredRecord>, RecordsError> {
    Name::Id(id).find(connection, COLUMNS, collection, |r| read_record(r, sealing))
}
