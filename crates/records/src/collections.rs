//! Collections, and whose they are.

use crate::RecordsError;
use crate::reader::Reader;
use crate::record::StoredCollection;
use crate::rows::{COLLECTION_COLUMNS, read_collection};
use crate::slots::Slots;
use crate::transaction::WriteTransaction;
use rusqlite::{OptionalExtension, params};
use uuid::Uuid;

/// The tenant of collections that are dropped in steps.
const DROPPED_TENANT: &str = "";
/// How their names begin, which end with their numbers.
const DROPPED_NAME: &str = "/dropped/";

impl StoredCollection {
    /// Whether it is being dropped in steps, and there for nobody.
    pub fn is_dropped(&self) -> bool {
        self.tenant == DROPPED_TENANT && self.name.starts_with(DROPPED_NAME)
    }
}

impl WriteTransaction<'_> {
    /// Creates a collection and gives its number.
    pub fn create_collection(&mut self, collection: &StoredCollection) -> Result<i64, RecordsError> {
        self.connection
            .prepare_cached(
                "INSERT INTO collections (tenant, name, settings, vector_file, rows, created_at) \
                 VALUES (?, ?, ?, ?, ?, ?)",
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

    /// Takes a collection from its tenant, before it is dropped in steps. No tenant is called so, and no collection.
    pub fn mark_dropped(&mut self, id: i64) -> Result<(), RecordsError> {
        self.connection
            .prepare_cached("UPDATE collections SET tenant = ?, name = ? || id WHERE id = ?")?
            .execute(params![DROPPED_TENANT, DROPPED_NAME, id])?;
        Ok(())
    }

    /// Drops some records of a collection, and gives how many.
    pub fn drop_some_records(&mut self, id: i64, limit: usize) -> Result<usize, RecordsError> {
        let sql = "DELETE FROM records WHERE seq IN (SELECT seq FROM records WHERE collection = ? LIMIT ?)";
        Ok(self.connection.prepare_cached(sql)?.execute(params![id, limit as i64])?)
    }

    /// Removes what a tenant has beside collections and their sessions: checkpoints, blobs, inputs that wait, usage,
    /// quotas, and all jobs but the one that does this.
    pub fn drop_tenant(&mut self, tenant: &str, job: &str) -> Result<(), RecordsError> {
        for table in ["sessions", "checkpoints", "blobs", "queue", "usage", "quotas"] {
            self.connection.prepare_cached(&format!("DELETE FROM {table} WHERE tenant = ?"))?.execute([tenant])?;
        }
        self.drop_jobs(tenant, job)
    }

    /// Says which vector file a collection's rows are in and how many are committed.
    pub fn set_rows(&mut self, id: i64, vector_file: Uuid, rows: u32) -> Result<(), RecordsError> {
        self.connection
            .prepare_cached("UPDATE collections SET vector_file = ?, rows = ? WHERE id = ?")?
            .execute(params![vector_file.as_bytes(), rows, id])?;
        Ok(())
    }

    /// Switches a collection to the vector file that a compaction has written, all of whose `rows` rows have their
    /// slots.
    pub fn compact(&mut self, slots: &Slots, rows: u32) -> Result<(), RecordsError> {
        let (kept, next) = slots.encode()?;
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO compactions (collection, kept, next) VALUES (?, ?, ?)")?
            .execute(params![slots.collection, kept, next])?;
        self.set_rows(slots.collection, slots.file, rows)
    }

    /// Sets a collection's settings.
    pub fn set_settings(&mut self, id: i64, settings: &str) -> Result<(), RecordsError> {
        self.connection
            .prepare_cached("UPDATE collections SET settings = ? WHERE id = ?")?
            .execute(params![settings, id])?;
        Ok(())
    }
}

impl Reader {
    /// Everybody of whom anything is stored.
    pub fn tenants(&self) -> Result<Vec<String>, RecordsError> {
        let sql = "SELECT tenant FROM collections UNION SELECT tenant FROM sessions UNION SELECT tenant \
                   FROM checkpoints UNION SELECT tenant FROM blobs UNION SELECT tenant FROM queue";
        let mut statement = self.connection.prepare_cached(sql)?;
        let tenants = statement.query_map([], |r| r.get(0))?;
        Ok(tenants.collect::<Result<_, _>>()?)
    }

    /// Every collection. One that is damaged is passed over: [`Reader::damaged_collections`] names it.
    pub fn collections(&self) -> Result<Vec<StoredCollection>, RecordsError> {
        Ok(self.read_collections()?.0)
    }

    /// What is wrong with collections that cannot be read.
    pub fn damaged_collections(&self) -> Result<Vec<String>, RecordsError> {
        Ok(self.read_collections()?.1)
    }

    fn read_collections(&self) -> Result<(Vec<StoredCollection>, Vec<String>), RecordsError> {
        let sql = format!("SELECT {COLLECTION_COLUMNS} FROM collections ORDER BY tenant, name");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let (mut rows, mut whole, mut damaged) = (statement.query([])?, Vec::new(), Vec::new());
        while let Some(row) = rows.next()? {
            match read_collection(row).map_err(RecordsError::from) {
                Ok(collection) => whole.push(collection),
                Err(RecordsError::Damaged(what)) => {
                    damaged.push(format!("collection number {}: {what}", row.get::<_, i64>(0)?));
                }
                Err(error) => return Err(error),
            }
        }
        Ok((whole, damaged))
    }

    /// Whether anything is stored of a collection of this number, however damaged.
    pub fn knows_collection(&self, id: i64) -> Result<bool, RecordsError> {
        let sql = "SELECT 1 WHERE EXISTS (SELECT 1 FROM collections WHERE id = ?1) \
                   OR EXISTS (SELECT 1 FROM records WHERE collection = ?1)";
        Ok(self.connection.prepare_cached(sql)?.exists([id])?)
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

    /// The slots of a collection's vector file.
    pub fn slots(&self, collection: &StoredCollection) -> Result<Slots, RecordsError> {
        let kept = self
            .connection
            .prepare_cached("SELECT kept, next FROM compactions WHERE collection = ?")?
            .query_row([collection.id], |r| Ok((r.get::<_, Vec<u8>>(0)?, r.get::<_, i64>(1)?)))
            .optional()?;
        match kept {
            Some((kept, next)) => Slots::decode(collection.id, collection.vector_file, collection.rows, &kept, next),
            None => Ok(Slots::new(collection.id, collection.vector_file)),
        }
    }
}
