//! Which rows records have, as the database says, held against the vector file.
//!
//! A damaged slot may name any of 2^32 rows. What memory holds by row is as long as the file, so a row past its end is
//! no row; and of two records that name one row, it is that of the one whose checksum it has.

use crate::StoreError;
use membox_records::{NamedRows, Reader, Slots, StoredCollection};
use membox_vectors::VectorView;
use roaring::RoaringBitmap;
use std::ops::RangeInclusive;

/// Rows of records, and how many records have none.
pub(super) struct LiveRows {
    rows: Vec<NamedRows>,
    damaged: u64,
}

/// All rows of a record, those of its further windows among them.
fn all(named: &NamedRows) -> RangeInclusive<u32> {
    named.live.row..=named.live.row.saturating_add(named.further)
}

impl LiveRows {
    pub fn read(reader: &Reader, slots: &Slots) -> Result<Self, StoreError> {
        let (rows, damaged) = reader.live_rows(slots)?;
        Ok(Self { rows, damaged })
    }

    /// How many rows of the file are committed. What lies past them is cut off, so where the number is damaged, the
    /// records say which rows of the file, of which there are `whole`, are theirs.
    pub fn rows_of_file(&self, stored: &StoredCollection, whole: u32) -> u32 {
        let named = self.rows.iter().map(|named| *all(named).end()).filter(|row| *row < whole).max();
        let named = named.map_or(0, |row| row + 1);
        if named > stored.rows {
            let (collection, rows) = (&stored.name, stored.rows);
            tracing::error!(collection, rows, named, "records have rows past the last committed one; these are kept");
        }
        stored.rows.max(named)
    }

    /// Takes out rows that are not in view, and those that belong to another record.
    pub fn keep_those_in(&mut self, view: &VectorView, stored: &StoredCollection) {
        let before = self.rows.len();
        self.rows.retain(|named| *all(named).end() < view.rows());
        let (mut named, mut doubled) = (RoaringBitmap::new(), RoaringBitmap::new());
        for rows in self.rows.iter().map(all) {
            let count = u64::from(rows.end() - rows.start()) + 1;
            if named.insert_range(rows.clone()) < count {
                doubled.insert_range(rows);
            }
        }
        if !doubled.is_empty() {
            let mut taken = RoaringBitmap::new();
            self.rows.retain(|named| {
                let rows = all(named);
                let is_doubled = rows.clone().any(|row| doubled.contains(row));
                let is_own = || view.crc(named.live.row) == named.row_crc;
                !is_doubled || is_own() && taken.range_cardinality(rows.clone()) == 0 && taken.insert_range(rows) > 0
            });
        }
        self.damaged += (before - self.rows.len()) as u64;
        if self.damaged > 0 {
            metrics::counter!("membox_damaged_records_total").increment(self.damaged);
            let (collection, records) = (&stored.name, self.damaged);
            tracing::error!(collection, records, "records whose row is not known are no answers: run `membox verify`");
        }
    }

    /// The rows, in the order of the records' creation.
    pub fn rows(self) -> Vec<NamedRows> {
        self.rows
    }
}
