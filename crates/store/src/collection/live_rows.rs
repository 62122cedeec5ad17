//! Which rows records have, as the database says, held against the vector file.
//!
//! A damaged slot may name any of 2^32 rows. What memory holds by row is as long as the file, so a row past its end is
//! no row; and of two records that name one row, it is that of the one whose checksum it has.

use crate::StoreError;
use membox_records::{LiveRow, Reader, Slots, StoredCollection};
use membox_vectors::VectorView;
use roaring::RoaringBitmap;

/// Rows of records, each with its CRC32C, and how many records have none.
pub(super) struct LiveRows {
    rows: Vec<(LiveRow, u32)>,
    damaged: u64,
}

impl LiveRows {
    pub fn read(reader: &Reader, slots: &Slots) -> Result<Self, StoreError> {
        let (rows, damaged) = reader.live_rows(slots)?;
        Ok(Self { rows, damaged })
    }

    /// How many rows of the file are committed. What lies past them is cut off, so where the number is damaged, the
    /// records say which rows of the file, of which there are `whole`, are theirs.
    pub fn rows_of_file(&self, stored: &StoredCollection, whole: u32) -> u32 {
        let named = self.rows.iter().map(|(live, _)| live.row).filter(|row| *row < whole).max();
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
        self.rows.retain(|(live, _)| live.row < view.rows());
        let (mut named, mut doubled) = (RoaringBitmap::new(), RoaringBitmap::new());
        for (live, _) in &self.rows {
            if !named.insert(live.row) {
                doubled.insert(live.row);
            }
        }
        if !doubled.is_empty() {
            let mut taken = RoaringBitmap::new();
            self.rows.retain(|(LiveRow { row, .. }, crc)| {
                !doubled.contains(*row) || view.crc(*row) == *crc && taken.insert(*row)
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
    pub fn rows(self) -> Vec<LiveRow> {
        self.rows.into_iter().map(|(live, _)| live).collect()
    }
}
