//! The rows that a search may find, and those that it has found.

use crate::plan;
use membox_vectors::ScoredRow;
use roaring::RoaringBitmap;
use std::sync::{Arc, OnceLock};

/// The rows that may be found: as a set, and as bits (bit i of byte i / 8) for those who ask about one row after
/// another.
#[derive(Clone, Debug, Default)]
pub struct AllowedRows {
    rows: Arc<RoaringBitmap>,
    /// Made when they are first asked for.
    bits: OnceLock<Vec<u8>>,
}

impl From<RoaringBitmap> for AllowedRows {
    fn from(rows: RoaringBitmap) -> Self {
        Self { rows: Arc::new(rows), bits: OnceLock::new() }
    }
}

impl AllowedRows {
    /// As a set.
    pub fn rows(&self) -> &RoaringBitmap {
        &self.rows
    }

    /// As a set that several searches hold.
    pub(crate) fn shared(&self) -> &Arc<RoaringBitmap> {
        &self.rows
    }

    /// Allows or excludes a row.
    pub fn set(&mut self, row: u32, is_allowed: bool) {
        match is_allowed {
            true => Arc::make_mut(&mut self.rows).insert(row),
            false => Arc::make_mut(&mut self.rows).remove(row),
        };
        if let Some(bits) = self.bits.get_mut() {
            let (byte, bit) = (row as usize / 8, 1u8 << (row % 8));
            if is_allowed {
                bits.resize(bits.len().max(byte + 1), 0);
                bits[byte] |= bit;
            } else if let Some(byte) = bits.get_mut(byte) {
                *byte &= !bit;
            }
        }
    }

    /// As bits, at least up to the highest row.
    pub fn bits(&self) -> &[u8] {
        self.bits.get_or_init(|| {
            let mut bits = vec![0u8; self.rows.max().map_or(0, |row| row as usize / 8 + 1)];
            let (mut rows, mut some) = (self.rows.iter(), [0; 1024]);
            loop {
                let some = rows.next_many(&mut some);
                if some.is_empty() {
                    return bits;
                }
                some.iter().for_each(|row| bits[*row as usize / 8] |= 1 << (row % 8));
            }
        })
    }

    /// Whether a row is allowed.
    #[inline]
    pub fn contains(&self, row: u32) -> bool {
        self.bits().get(row as usize / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 1)
    }

    /// Which of the 64 rows from 64 · `block` on are allowed, the first in the lowest bit.
    pub fn of_block(&self, block: usize) -> u64 {
        let bytes = self.bits().get(block * 8..).unwrap_or_default();
        let byte = |at: usize| u64::from(bytes.get(at).copied().unwrap_or(0)) << (8 * at);
        (0..8).map(byte).sum()
    }

    /// Allowed rows below `end`.
    pub(crate) fn count_below(&self, end: u32) -> u64 {
        self.rows.range_cardinality(..end)
    }

    /// Whether so many rows below `end` are excluded that a query's neighbourhood may be among them.
    pub(crate) fn excludes_many(&self, end: u32) -> bool {
        plan::excludes_many(u64::from(end), self.count_below(end))
    }

    /// At most `count` of the rows below `end`, spread over them.
    pub(crate) fn sample(&self, end: u32, count: u64) -> Vec<u32> {
        let among = self.count_below(end);
        let step = among.div_ceil(count).max(1);
        (0..among).step_by(step as usize).filter_map(|rank| self.rows.select(rank as u32)).collect()
    }
}

/// The best rows, and how they were found.
#[derive(Debug, PartialEq)]
pub struct Found {
    /// Best first, with exact scores.
    pub rows: Vec<ScoredRow>,
    /// Whether every allowed row was scored.
    pub exact: bool,
}
