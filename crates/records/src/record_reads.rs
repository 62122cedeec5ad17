//! Reading records: one, all, or page by page.

use crate::RecordsError;
use crate::reader::Reader;
use crate::record::{NamedRows, Record, StoredRecord, Window};
use crate::rows::{COLUMNS, live_row, read_record, record_by_id};
use crate::slots::Slots;
use membox_threads::budget;
use rusqlite::{OptionalExtension, params};
use std::ops::Range;

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

impl Reader {
    /// A record by its id.
    pub fn record(&self, collection: i64, id: &str) -> Result<Option<StoredRecord>, RecordsError> {
        record_by_id(&self.connection, &self.sealing, collection, id)
    }

    /// The record whose vector is in a row; `None` for a row of an older version.
    pub fn record_of_row(&self, slots: &Slots, row: u32) -> Result<Option<StoredRecord>, RecordsError> {
        self.record_of_slot(slots.collection, slots.slot(row))
    }

    /// The record whose version has a slot.
    pub fn record_of_slot(&self, collection: i64, slot: u64) -> Result<Option<StoredRecord>, RecordsError> {
        self.connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM records WHERE collection = ? AND slot = ?"))?
            .query_row(params![collection, slot as i64], |r| read_record(r, &self.sealing))
            .optional()
            .map_err(RecordsError::from)
    }

    /// The rows of records and what recall keeps in memory of them, in the order of creation; and how many records have
    /// none, because what is stored of them is damaged: [`Reader::check_records`] gives all. What a damaged slot
    /// says may be any row: the caller knows which there are.
    pub fn live_rows(&self, slots: &Slots) -> Result<(Vec<NamedRows>, u64), RecordsError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT slot, session, expires_at, row_crc, coalesce(octet_length(windows), 0) FROM records
             WHERE collection = ? ORDER BY seq",
        )?;
        let (mut rows, mut live, mut damaged) = (statement.query([slots.collection])?, Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let read = live_row(row, slots).and_then(|live| Ok((live, row.get(3)?, row.get(4)?)));
            match read.map_err(RecordsError::from) {
                Ok((Some(row), row_crc, bytes)) => {
                    live.push(NamedRows { live: row, row_crc, further: Window::further_rows(bytes) });
                }
                Ok((None, ..)) | Err(RecordsError::Damaged(_)) => damaged += 1,
                Err(error) => return Err(error),
            }
        }
        Ok((live, damaged))
    }

    /// Calls `each` with every record of a collection whose row is one of `range`, by row; stops when it says
    /// `false`. Damaged records are passed over: [`Reader::check_records`] names them.
    pub fn each_record(
        &self,
        slots: &Slots,
        range: Range<u32>,
        mut each: impl FnMut(u32, StoredRecord) -> bool,
    ) -> Result<(), RecordsError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM records WHERE collection = ? AND slot >= ? ORDER BY slot"
        ))?;
        let mut rows = statement.query(params![slots.collection, slots.slot(range.start) as i64])?;
        while let Some(row) = rows.next()? {
            match read_record(row, &self.sealing).map_err(RecordsError::from) {
                // Rows rise with slots.
                Ok(record) => {
                    let row = slots.row(record.slot).filter(|row| *row >= range.start);
                    if row.is_some_and(|row| row >= range.end || !each(row, record)) {
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

    /// The numbers (`seq`) of a collection's records that are about a user, in the order of writing. A record keeps its
    /// number when it is replaced.
    pub fn numbers_of_user(&self, collection: i64, user: &str) -> Result<Vec<i64>, RecordsError> {
        let sql = "SELECT seq FROM records WHERE collection = ? AND user = ? ORDER BY seq";
        let mut statement = self.connection.prepare_cached(sql)?;
        let numbers = statement.query_map(params![collection, user], |r| r.get(0))?;
        Ok(numbers.collect::<Result<_, _>>()?)
    }

    /// A record by its number.
    pub fn record_of_number(&self, collection: i64, number: i64) -> Result<Option<StoredRecord>, RecordsError> {
        let sql = format!("SELECT {COLUMNS} FROM records WHERE seq = ? AND collection = ?");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let found = statement.query_row(params![number, collection], |r| read_record(r, &self.sealing)).optional();
        found.map_err(RecordsError::from)
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

    /// The next records after a position that are wanted, at most `limit`. `known` says by a slot alone whether its
    /// record is, where that is known; the others are read and put to `wanted`. Damaged records are passed over:
    /// [`Reader::check_records`] names them.
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
            let stored = match read_record(row, &self.sealing).map_err(RecordsError::from) {
                Err(RecordsError::Damaged(_)) => continue,
                read => read?,
            };
            if known == Some(true) || wanted(&stored.record) {
                budget::take(stored.memory_bytes())?;
                page.push(stored);
            }
        }
        Ok(page)
    }
}
