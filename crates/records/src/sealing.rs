//! Texts as their columns hold them: as they are, or sealed with a key of their tenant.
//!
//! What is sealed is what was said: a record's text, metadata, payload and message, a session's state, a checkpoint's,
//! an input that waits, a blob, and what a job says. What rows are found by stays as it is: ids, users, sessions,
//! kinds, times.
//! Each text is bound to its row and version, so that none opens in the place of another.

use crate::RecordsError;
use crate::blobs;
use crate::checkpoints;
use crate::jobs;
use crate::messages::record_id;
use crate::queue;
use crate::record::Record;
use crate::rows::{COLUMNS, Place, StoredBody, read_record};
use crate::sessions::{SESSION_COLUMNS, read_session};
use crate::transaction::WriteTransaction;
use membox_sealing::{Keyring, SealingError, TermKey};
use rusqlite::{Params, Row, params};
use std::borrow::Cow;
use std::sync::Arc;

/// Columns that every table with texts of its own has beside them.
pub(crate) const SCHEMA: &str = "
ALTER TABLE records ADD COLUMN seal_key INTEGER;
ALTER TABLE records ADD COLUMN sealed BLOB;
ALTER TABLE sessions ADD COLUMN seal_key INTEGER;
ALTER TABLE sessions ADD COLUMN sealed BLOB;
ALTER TABLE checkpoints ADD COLUMN seal_key INTEGER;
ALTER TABLE checkpoints ADD COLUMN sealed BLOB;
ALTER TABLE queue ADD COLUMN seal_key INTEGER;
ALTER TABLE queue ADD COLUMN sealed BLOB;
";

/// Whose texts are sealed, and the keys; by default nobody's.
#[derive(Clone, Default)]
pub struct Sealing(Option<Arc<Sealer>>);

struct Sealer {
    keyring: Keyring,
    is_sealed: Box<dyn Fn(&str) -> bool + Send + Sync>,
}

/// A text as its columns hold it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct StoredText {
    /// Empty where it is sealed.
    pub clear: String,
    pub key: Option<u32>,
    pub sealed: Option<Vec<u8>>,
}

impl StoredText {
    /// Reads the columns `clear`, and two from `sealed` on: `seal_key` and `sealed`.
    pub fn read(r: &Row, clear: usize, sealed: usize) -> rusqlite::Result<Self> {
        Ok(Self { clear: r.get(clear)?, key: r.get(sealed)?, sealed: r.get(sealed + 1)? })
    }
}

impl Sealing {
    /// Texts of the tenants for which `is_sealed` holds are sealed with the keys of a keyring.
    pub fn new(keyring: Keyring, is_sealed: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(Sealer { keyring, is_sealed: Box::new(is_sealed) })))
    }

    /// The keys, if there are any.
    pub fn keyring(&self) -> Option<&Keyring> {
        self.0.as_ref().map(|sealer| &sealer.keyring)
    }

    /// The keys, if the texts of a tenant are sealed.
    pub fn keyring_of(&self, tenant: &str) -> Option<&Keyring> {
        self.0.as_ref().filter(|sealer| (sealer.is_sealed)(tenant)).map(|sealer| &sealer.keyring)
    }

    /// What makes the words in a tenant's text indexes unreadable, if they are to be.
    pub fn term_key(&self, tenant: &str) -> Result<Option<TermKey>, RecordsError> {
        Ok(self.keyring_of(tenant).map(|keyring| keyring.term_key(tenant)).transpose()?)
    }

    /// A text as it is to be stored.
    pub(crate) fn store(&self, tenant: &str, place: &[&str], text: String) -> Result<StoredText, RecordsError> {
        let Some(keyring) = self.keyring_of(tenant) else {
            return Ok(StoredText { clear: text, ..StoredText::default() });
        };
        let (key, sealed) = keyring.seal(tenant, place, text.as_bytes())?;
        Ok(StoredText { clear: String::new(), key: Some(key), sealed: Some(sealed) })
    }

    /// Octets as they are to be stored, with the key where they are sealed.
    pub(crate) fn store_octets<'a>(
        &self,
        tenant: &str,
        place: &[&str],
        octets: &'a [u8],
    ) -> Result<(Option<u32>, Cow<'a, [u8]>), RecordsError> {
        let Some(keyring) = self.keyring_of(tenant) else { return Ok((None, Cow::Borrowed(octets))) };
        let (key, sealed) = keyring.seal(tenant, place, octets)?;
        Ok((Some(key), Cow::Owned(sealed)))
    }

    /// Octets as they were before they were stored.
    pub(crate) fn read_octets(&self, place: &[&str], key: Option<u32>, stored: &[u8]) -> Result<Vec<u8>, RecordsError> {
        let Some(key) = key else { return Ok(stored.to_vec()) };
        let keyring = self.keyring().ok_or(RecordsError::Sealed)?;
        keyring.open_sealed(key, place, stored).map_err(|error| match error {
            SealingError::NotGenuine => {
                let reason = "what is sealed was changed, or belongs elsewhere";
                RecordsError::Damaged(format!("{}: {reason}", place.join(" ")))
            }
            other => other.into(),
        })
    }

    /// A text as it was before it was stored. Its checksum has been looked at: one that does not open is not what was
    /// written here.
    pub(crate) fn read(&self, place: &[&str], stored: StoredText) -> Result<String, RecordsError> {
        let StoredText { clear, key: Some(key), sealed: Some(sealed) } = stored else { return Ok(stored.clear) };
        debug_assert!(clear.is_empty());
        let keyring = self.keyring().ok_or(RecordsError::Sealed)?;
        let damaged = |what: &str| RecordsError::Damaged(format!("{}: {what}", place.join(" ")));
        match keyring.open_sealed(key, place, &sealed) {
            Err(SealingError::NotGenuine) => Err(damaged("what is sealed was changed, or belongs elsewhere")),
            opened => String::from_utf8(opened?).map_err(|_| damaged("what is sealed is no text")),
        }
    }
}

/// How far [`WriteTransaction::reseal`] has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    table: usize,
    after: i64,
}

/// Tables that hold texts.
const TABLES: usize = 6;

impl WriteTransaction<'_> {
    /// Seals what of a tenant is not sealed with its newest key, `limit` rows from a place on; gives how many there
    /// were and the next place, if there is one. What is damaged stays as it is.
    pub fn reseal(
        &mut self,
        tenant: &str,
        from: Resealed,
        limit: usize,
    ) -> Result<(usize, Option<Resealed>), RecordsError> {
        let Some(keyring) = self.sealing.keyring_of(tenant) else { return Ok((0, None)) };
        let key = keyring.number(tenant)?;
        let (sealed, last) = match from.table {
            0 => self.reseal_records(tenant, key, from.after, limit)?,
            1 => self.reseal_sessions(tenant, key, from.after, limit)?,
            2 => checkpoints::reseal_checkpoints(self, tenant, key, from.after, limit)?,
            3 => queue::reseal_queue(self, tenant, key, from.after, limit)?,
            4 => jobs::reseal_jobs(self, tenant, key, from.after, limit)?,
            _ => blobs::reseal_blobs(self, tenant, key, from.after, limit)?,
        };
        let next = match last {
            Some(after) => Some(Resealed { after, ..from }),
            None => Some(Resealed { table: from.table + 1, after: 0 }).filter(|next| next.table < TABLES),
        };
        Ok((sealed, next))
    }

    fn reseal_records(&mut self, tenant: &str, key: u32, after: i64, limit: usize) -> Resealing {
        let sql = format!(
            "SELECT {COLUMNS} FROM records WHERE seq > ? AND seal_key IS NOT ?
             AND collection IN (SELECT id FROM collections WHERE tenant = ?) ORDER BY seq LIMIT ?"
        );
        let found = Found::read(self, &sql, params![after, key, tenant, limit as i64], |row| {
            Ok((row.get::<_, i64>(19)?, read_record(row, self.sealing)?))
        })?;
        for (collection, stored) in &found.whole {
            let body =
                StoredBody::of(self.sealing, tenant, *collection, &stored.record, &stored.windows, stored.version)?;
            let position = stored.record.message.as_ref().map(|message| message.position);
            let place = Place { collection: *collection, position };
            let StoredBody { metadata, message, text, payload, .. } = &body;
            self.connection
                .prepare_cached(
                    "UPDATE records SET metadata = ?, text = ?, message = ?, payload = ?, seal_key = ?, sealed = ?, \
                     crc = ? \
                     WHERE seq = ?",
                )?
                .execute(params![
                    metadata,
                    text.clear,
                    message,
                    payload,
                    text.key,
                    text.sealed,
                    body.checksum(&stored.record, stored.version, place),
                    stored.seq
                ])?;
        }
        found.end(limit)
    }

    fn reseal_sessions(&mut self, tenant: &str, key: u32, after: i64, limit: usize) -> Resealing {
        let sql = format!(
            "SELECT {SESSION_COLUMNS} FROM sessions WHERE number > ? AND seal_key IS NOT ? AND tenant = ? \
             ORDER BY number LIMIT ?"
        );
        let found =
            Found::read(self, &sql, params![after, key, tenant, limit as i64], |row| read_session(row, self.sealing))?;
        for session in &found.whole {
            self.put_session(session)?;
        }
        found.end(limit)
    }
}

/// Rows that were sealed anew, and the last one, if there may be more.
pub(crate) type Resealing = Result<(usize, Option<i64>), RecordsError>;

/// Rows that are to be sealed anew.
pub(crate) struct Found<T> {
    pub whole: Vec<T>,
    rows: usize,
    last: i64,
}

impl<T> Found<T> {
    /// Reads rows, whose numbers are in their first column. What is damaged stays out.
    pub fn read(
        transaction: &WriteTransaction,
        sql: &str,
        parameters: impl Params,
        read: impl Fn(&Row) -> rusqlite::Result<T>,
    ) -> Result<Self, RecordsError> {
        let mut found = Self { whole: Vec::new(), rows: 0, last: 0 };
        let mut statement = transaction.connection.prepare_cached(sql)?;
        let mut rows = statement.query(parameters)?;
        while let Some(row) = rows.next()? {
            (found.rows, found.last) = (found.rows + 1, row.get(0)?);
            match read(row).map_err(RecordsError::from) {
                Err(RecordsError::Damaged(what)) => tracing::warn!(what, "what is damaged is not sealed anew"),
                read => found.whole.push(read?),
            }
        }
        Ok(found)
    }

    pub fn end(self, limit: usize) -> Resealing {
        Ok((self.whole.len(), (self.rows == limit).then_some(self.last)))
    }
}

/// Where a record's text belongs: a message's by its own name, which stays.
pub(crate) fn record_place(collection: i64, record: &Record, message_id: Option<&str>, version: u64) -> [String; 4] {
    let id = match message_id {
        Some(message) => record_id(record.session.as_deref().unwrap_or_default(), message),
        None => record.id.clone(),
    };
    ["record".to_owned(), collection.to_string(), id, version.to_string()]
}
