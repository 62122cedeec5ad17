//! Values of a thread's channels, as octets: kept once for each channel and version, however many checkpoints have it.
//!
//! A blob may come before its checkpoint. One that a checkpoint has had goes with the last that has it; one that none
//! has had yet stays until its thread goes.

use crate::RecordsError;
use crate::checkpoints::CheckpointPlace;
use crate::reader::Reader;
use crate::rows::checksum_of_octets;
use crate::sealing::{Found, Resealing, Sealing};
use crate::transaction::WriteTransaction;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::borrow::Cow;
use std::collections::BTreeMap;

pub(crate) const SCHEMA: &str = "
CREATE TABLE blobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    thread TEXT NOT NULL,
    namespace TEXT NOT NULL,
    channel TEXT NOT NULL,
    version TEXT NOT NULL,
    kind TEXT NOT NULL,
    was_used INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    seal_key INTEGER,
    data BLOB NOT NULL,
    UNIQUE (tenant, thread, namespace, channel, version)
) STRICT;
CREATE TABLE channels (
    checkpoint INTEGER NOT NULL REFERENCES checkpoints (number) ON DELETE CASCADE,
    blob INTEGER NOT NULL REFERENCES blobs (number) ON DELETE CASCADE,
    PRIMARY KEY (checkpoint, blob)
) STRICT, WITHOUT ROWID;
CREATE INDEX channels_by_blob ON channels (blob);
";

/// Blobs that are sealed anew at once: each may be large.
const RESEALED_AT_ONCE: usize = 2;

/// The value of a channel at a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// The channel.
    pub channel: String,
    /// The version of its value.
    pub version: String,
    /// What its octets are, as the client names it.
    pub kind: String,
    /// The octets.
    pub data: Vec<u8>,
}

/// The key of a blob's octets where they are sealed, the checksum, and the octets as they are to be stored.
type StoredOctets<'a> = (Option<u32>, u32, Cow<'a, [u8]>);

/// A blob as its row has it.
struct StoredBlob {
    number: i64,
    thread: String,
    namespace: String,
    blob: Blob,
}

impl CheckpointPlace<'_> {
    /// Where a blob belongs.
    fn of_blob<'a>(&'a self, channel: &'a str, version: &'a str) -> [&'a str; 6] {
        ["blob", self.tenant, self.thread, self.namespace, channel, version]
    }
}

impl WriteTransaction<'_> {
    /// Keeps a blob, in the place of the one of its channel and version.
    pub fn put_blob(&mut self, place: CheckpointPlace, blob: &Blob) -> Result<(), RecordsError> {
        let CheckpointPlace { tenant, thread, namespace } = place;
        let Blob { channel, version, kind, data } = blob;
        let (key, crc, data) = self.stored_blob(place, blob, data)?;
        self.connection
            .prepare_cached(
                "INSERT INTO blobs (tenant, thread, namespace, channel, version, kind, was_used, crc, seal_key, data)
                 VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?, ?)
                 ON CONFLICT (tenant, thread, namespace, channel, version) DO UPDATE SET kind = excluded.kind,
                 crc = excluded.crc, seal_key = excluded.seal_key, data = excluded.data",
            )?
            .execute(params![tenant, thread, namespace, channel, version, kind, crc, key, data.as_ref()])?;
        Ok(())
    }

    /// The key, the checksum and the octets of a blob as they are to be stored.
    fn stored_blob<'a>(
        &self,
        place: CheckpointPlace,
        blob: &Blob,
        data: &'a [u8],
    ) -> Result<StoredOctets<'a>, RecordsError> {
        let parts = place.of_blob(&blob.channel, &blob.version);
        let (key, data) = self.sealing.store_octets(place.tenant, &parts, data)?;
        Ok((key, checksum_of_octets(&parts, &blob.kind, key, &data), data))
    }

    /// Says which blobs a checkpoint has, by channel and version, in the place of those that it had. Gives a channel
    /// of which there is none.
    pub fn set_channels(
        &mut self,
        place: CheckpointPlace,
        id: &str,
        channels: &BTreeMap<String, String>,
    ) -> Result<Option<String>, RecordsError> {
        let CheckpointPlace { tenant, thread, namespace } = place;
        let of_thread = "tenant = ?1 AND thread = ?2 AND namespace = ?3";
        let checkpoint: i64 = self
            .connection
            .prepare_cached(&format!("SELECT number FROM checkpoints WHERE {of_thread} AND id = ?4"))?
            .query_row(params![tenant, thread, namespace, id], |r| r.get(0))?;
        self.connection.prepare_cached("DELETE FROM channels WHERE checkpoint = ?")?.execute([checkpoint])?;
        for (channel, version) in channels {
            let sql = format!(
                "UPDATE blobs SET was_used = 1 WHERE {of_thread} AND channel = ?4 AND version = ?5 RETURNING number"
            );
            let blob: Option<i64> = self
                .connection
                .prepare_cached(&sql)?
                .query_row(params![tenant, thread, namespace, channel, version], |r| r.get(0))
                .optional()?;
            let Some(blob) = blob else { return Ok(Some(channel.clone())) };
            self.connection
                .prepare_cached("INSERT INTO channels (checkpoint, blob) VALUES (?, ?)")?
                .execute([checkpoint, blob])?;
        }
        Ok(None)
    }

    pub(crate) fn channels_of(&self, checkpoint: i64) -> Result<BTreeMap<String, String>, RecordsError> {
        channels(self.connection, checkpoint)
    }

    /// Removes the blobs of a thread that checkpoints had and none has any more.
    pub(crate) fn drop_unused_blobs(&mut self, tenant: &str, thread: &str) -> Result<(), RecordsError> {
        let sql = "DELETE FROM blobs WHERE tenant = ? AND thread = ? AND was_used = 1
                   AND NOT EXISTS (SELECT 1 FROM channels WHERE channels.blob = blobs.number)";
        self.connection.prepare_cached(sql)?.execute([tenant, thread])?;
        Ok(())
    }

    /// Removes all blobs of a thread, of one namespace or of all.
    pub(crate) fn drop_blobs(
        &mut self,
        tenant: &str,
        thread: &str,
        namespace: Option<&str>,
    ) -> Result<(), RecordsError> {
        let sql = "DELETE FROM blobs WHERE tenant = ?1 AND thread = ?2 AND (?3 IS NULL OR namespace = ?3)";
        self.connection.prepare_cached(sql)?.execute(params![tenant, thread, namespace])?;
        Ok(())
    }

    /// Copies a blob to another thread, unless it has one of its channel and version.
    pub fn copy_blob(
        &mut self,
        from: CheckpointPlace,
        to: &str,
        channel: &str,
        version: &str,
    ) -> Result<(), RecordsError> {
        let place = CheckpointPlace { thread: to, ..from };
        let sql = format!("SELECT {BLOB_COLUMNS} FROM blobs WHERE {ONE_BLOB}");
        let read = |place: CheckpointPlace| {
            let parameters = params![place.tenant, place.thread, place.namespace, channel, version];
            let mut statement = self.connection.prepare_cached(&sql)?;
            statement.query_row(parameters, |r| read_blob(r, place.tenant, self.sealing)).optional()
        };
        match (read(from)?, read(place)?) {
            (Some(found), None) => self.put_blob(place, &found.blob),
            _ => Ok(()),
        }
    }
}

impl Reader {
    /// A blob by its channel and version.
    pub fn blob(&self, place: CheckpointPlace, channel: &str, version: &str) -> Result<Option<Blob>, RecordsError> {
        let sql = format!("SELECT {BLOB_COLUMNS} FROM blobs WHERE {ONE_BLOB}");
        let CheckpointPlace { tenant, thread, namespace } = place;
        let mut statement = self.connection.prepare_cached(&sql)?;
        let found = statement
            .query_row(params![tenant, thread, namespace, channel, version], |r| read_blob(r, tenant, &self.sealing));
        Ok(found.optional().map_err(RecordsError::from)?.map(|found| found.blob))
    }

    /// The size of a checkpoint's blobs.
    pub(crate) fn blob_bytes(&self, checkpoint: i64) -> Result<usize, RecordsError> {
        let sql = "SELECT IFNULL(SUM(OCTET_LENGTH(data)), 0) FROM blobs
                   WHERE number IN (SELECT blob FROM channels WHERE checkpoint = ?)";
        let bytes: i64 = self.connection.prepare_cached(sql)?.query_row([checkpoint], |r| r.get(0))?;
        Ok(bytes as usize)
    }

    /// The channels of a checkpoint that have blobs, with their versions.
    pub fn channels(&self, checkpoint: i64) -> Result<BTreeMap<String, String>, RecordsError> {
        channels(&self.connection, checkpoint)
    }

    /// The blobs of a thread in a namespace, by channel and version.
    pub fn blobs(&self, place: CheckpointPlace) -> Result<Vec<(String, String)>, RecordsError> {
        let CheckpointPlace { tenant, thread, namespace } = place;
        let sql =
            "SELECT channel, version FROM blobs WHERE tenant = ? AND thread = ? AND namespace = ? ORDER BY number";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_map([tenant, thread, namespace], |r| Ok((r.get(0)?, r.get(1)?)))?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Which blobs do not have their checksum.
    pub(crate) fn damaged_blobs(&self) -> Result<Vec<String>, RecordsError> {
        let mut statement = self.connection.prepare_cached(&format!("SELECT {BLOB_COLUMNS}, tenant FROM blobs"))?;
        let blobs = statement.query_map([], |r| {
            let tenant: String = r.get(9)?;
            read_blob(r, &tenant, &self.sealing).map(drop)
        })?;
        Ok(blobs.filter_map(|read| Some(RecordsError::from(read.err()?).to_string())).collect())
    }
}

fn channels(connection: &Connection, checkpoint: i64) -> Result<BTreeMap<String, String>, RecordsError> {
    let sql = "SELECT channel, version FROM blobs WHERE number IN (SELECT blob FROM channels WHERE checkpoint = ?)";
    let mut statement = connection.prepare_cached(sql)?;
    let channels = statement.query_map([checkpoint], |r| Ok((r.get(0)?, r.get(1)?)))?;
    Ok(channels.collect::<Result<_, _>>()?)
}

const BLOB_COLUMNS: &str = "number, thread, namespace, channel, version, kind, crc, seal_key, data";
const ONE_BLOB: &str = "tenant = ?1 AND thread = ?2 AND namespace = ?3 AND channel = ?4 AND version = ?5";

/// Reads a blob and holds it against its checksum.
fn read_blob(r: &Row, tenant: &str, sealing: &Sealing) -> rusqlite::Result<StoredBlob> {
    let (thread, namespace): (String, String) = (r.get(1)?, r.get(2)?);
    let (channel, version, kind): (String, String, String) = (r.get(3)?, r.get(4)?, r.get(5)?);
    let (crc, key): (u32, Option<u32>) = (r.get(6)?, r.get(7)?);
    let place = CheckpointPlace { tenant, thread: &thread, namespace: &namespace };
    let parts = place.of_blob(&channel, &version);
    let data = r.get_ref(8)?.as_blob().map_err(|e| crate::rows::damaged(&parts.join(" "), e.to_string()))?;
    if checksum_of_octets(&parts, &kind, key, data) != crc {
        return Err(crate::rows::damaged(&parts.join(" "), "it does not have its checksum".into()));
    }
    let data = sealing.read_octets(&parts, key, data).map_err(crate::rows::wrapped)?;
    let blob = Blob { channel, version, kind, data };
    Ok(StoredBlob { number: r.get(0)?, thread, namespace, blob })
}

/// Seals blobs of a tenant anew that are not under a key.
pub(crate) fn reseal_blobs(
    transaction: &mut WriteTransaction,
    tenant: &str,
    key: u32,
    after: i64,
    limit: usize,
) -> Resealing {
    let limit = limit.min(RESEALED_AT_ONCE);
    let sql = format!(
        "SELECT {BLOB_COLUMNS} FROM blobs WHERE number > ? AND seal_key IS NOT ? AND tenant = ? ORDER BY number LIMIT ?"
    );
    let found = Found::read(transaction, &sql, params![after, key, tenant, limit as i64], |row| {
        read_blob(row, tenant, transaction.sealing)
    })?;
    for StoredBlob { number, thread, namespace, blob } in &found.whole {
        let place = CheckpointPlace { tenant, thread, namespace };
        let (key, crc, data) = transaction.stored_blob(place, blob, &blob.data)?;
        transaction
            .connection
            .prepare_cached("UPDATE blobs SET crc = ?, seal_key = ?, data = ? WHERE number = ?")?
            .execute(params![crc, key, data.as_ref(), number])?;
    }
    found.end(limit)
}
