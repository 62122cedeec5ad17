//! How often records are recalled: what forgetting goes by, beside age and importance.
//!
//! A use counts one, and half of that after [`HALF_LIFE_MS`]; so a record's heat is one number and the time that it is of, whatever its history.

use crate::RecordsError;
use crate::store::{Group, Reader};
use rusqlite::{OptionalExtension, params};
use std::collections::HashMap;

pub(crate) const SCHEMA: &str = "
CREATE TABLE uses (
    record INTEGER PRIMARY KEY REFERENCES records (seq) ON DELETE CASCADE,
    heat REAL NOT NULL,
    used_at INTEGER NOT NULL
) STRICT;
";

/// In which a use comes to count half: thirty days.
const HALF_LIFE_MS: f64 = 2_592_000_000.0;

/// How much a record is used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Use {
    /// Its uses, each halved with every thirty days since, at `used_at`.
    pub heat: f64,
    /// When it was last used, in milliseconds since 1970.
    pub used_at: i64,
}

impl Use {
    /// Its heat at a time.
    pub fn heat_at(&self, now: i64) -> f64 {
        self.heat * 0.5f64.powf((now - self.used_at).max(0) as f64 / HALF_LIFE_MS)
    }
}

impl Group<'_> {
    /// Adds uses of a record up to a time; nothing where there is none of that id any more.
    pub fn add_uses(&mut self, collection: i64, id: &str, count: u64, at: i64) -> Result<(), RecordsError> {
        let found = self
            .connection
            .prepare_cached(
                "SELECT seq, heat, used_at FROM records LEFT JOIN uses ON record = seq WHERE collection = ? AND id = ?",
            )?
            .query_row(params![collection, id], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
            .optional()?;
        let Some((seq, heat, used_at)): Option<(i64, Option<f64>, Option<i64>)> = found else { return Ok(()) };
        let before = heat.zip(used_at).map_or(0.0, |(heat, used_at)| Use { heat, used_at }.heat_at(at));
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO uses (record, heat, used_at) VALUES (?, ?, ?)")?
            .execute(params![seq, before + count as f64, at.max(used_at.unwrap_or(at))])?;
        Ok(())
    }
}

impl Reader {
    /// The uses of a collection's records, by their order of creation.
    pub fn uses(&self, collection: i64) -> Result<HashMap<i64, Use>, RecordsError> {
        let sql = "SELECT record, heat, used_at FROM uses JOIN records ON record = seq WHERE collection = ?";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows =
            statement.query_map([collection], |r| Ok((r.get(0)?, Use { heat: r.get(1)?, used_at: r.get(2)? })))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
