//! Rows that the writer has appended.

use crate::command::TextWindows;
use membox_records::{RowChecks, Window};
use membox_vectors::RowReceipt;
use std::ops::Range;

/// The rows that were appended for one record: its own, and behind it those of its further windows.
pub(crate) struct WrittenRows {
    pub first: RowReceipt,
    pub behind: Vec<RowReceipt>,
}

impl WrittenRows {
    pub fn all(&self) -> impl Iterator<Item = u32> {
        std::iter::once(self.first.row).chain(self.behind.iter().map(|receipt| receipt.row))
    }

    pub fn further(&self) -> u32 {
        self.behind.len() as u32
    }

    /// What is stored to hold them against.
    pub fn checks(&self, of: &TextWindows) -> RowChecks {
        if self.behind.is_empty() {
            return self.first.crc.into();
        }
        let places = of.places.iter().cloned().chain(std::iter::repeat(0..0));
        let receipts = std::iter::once(&self.first).chain(&self.behind);
        let window = |(receipt, place): (&RowReceipt, Range<u32>)| Window {
            row_crc: receipt.crc,
            start: place.start,
            end: place.end,
        };
        RowChecks { row_crc: self.first.crc, windows: receipts.zip(places).map(window).collect() }
    }
}
