//! How often records are recalled: what forgetting goes by, beside age and importance.
//!
//! A recall counts one, and half of that after [`HALF_LIFE_MS`]; so a record's heat is one number and the time that
//! it is of, whatever its history. The table keeps the name of its first version, `uses`.

use crate::RecordsError;
use crate::reader::Reader;
use crate::transaction::WriteTransaction;
use rusqlite::{OptionalExtension, params};
use std::collections::HashMap;

pub(crate) const SCHEMA: &str = "
CREATE TABLE uses (
    record INTEGER PRIMARY KEY REFERENCES records (seq) ON DELETE CASCADE,
    heat REAL NOT NULL,
    used_at INTEGER NOT NULL
) STRICT;
";

/// In which a recall comes to count half: thirty days.
const HALF_LIFE_MS: f64 = 2_592_000_000.0;

/// How much a record is recalled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecallCount {
    /// Its recalls, each halved with every thirty days since, at `used_at`.
    pub heat: f64,
    /// When it was last recalled, in milliseconds since 1970.
    pub recalled_at: i64,
}

impl RecallCount {
    /// Its heat at a time.
    pub fn heat_at(&self, now: i64) -> f64 {
        self.heat * 0.5f64.powf(now.saturating_sub(self.recalled_at).max(0) as f64 / HALF_LIFE_MS)
    }
}

impl WriteTransaction<'_> {
    /// Adds recalls of a record up to a time; nothing where there is none of that id any more.
    pub fn add_recalls(&mut self, collection: i64, id: &str, count: u64, at: i64) -> Result<(), RecordsError> {
        let found = self
            .connection
            .prepare_cached(
                "SELECT seq, heat, used_at FROM records LEFT JOIN uses ON record = seq WHERE collection = ? AND id = ?",
            )?
            .query_row(params![collection, id], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
            .optional()?;
        let Some((seq, heat, recalled_at)): Option<(i64, Option<f64>, Option<i64>)> = found else { return Ok(()) };
        let before =
            heat.zip(recalled_at).map_or(0.0, |(heat, recalled_at)| RecallCount { heat, recalled_at }.heat_at(at));
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO uses (record, heat, used_at) VALUES (?, ?, ?)")?
            .execute(params![seq, before + count as f64, at.max(recalled_at.unwrap_or(at))])?;
        Ok(())
    }
}

impl Reader {
    /// How often a collection's records were recalled, by their order of creation.
    pub fn recall_counts(&self, collection: i64) -> Result<HashMap<i64, RecallCount>, RecordsError> {
        let sql = "SELECT record, heat, used_at FROM uses JOIN records ON record = seq WHERE collection = ?";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement
            .query_map([collection], |r| Ok((r.get(0)?, RecallCount { heat: r.get(1)?, recalled_at: r.get(2)? })))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
