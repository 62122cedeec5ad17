//! Which row of a vector file the vector of a record is in.
//!
//! A version of a record gets a slot when it is written and keeps it for good. The rows of a vector file are in the
//! order of their slots: a new file has row 0 for slot 0 and so on, a compacted one begins with the slots that were
//! kept and goes on with the next ones. So a compaction changes no record, however many there are:
//!
//! ```text
//! slots  0  1  2  3  4  5  6  7  8        kept: 1 3 4    next: 7
//! rows      0     1  2        3  4
//! ```

use crate::RecordsError;
use roaring::{RoaringBitmap, RoaringTreemap};
use uuid::Uuid;

pub(crate) const SCHEMA: &str = "
CREATE TABLE compactions (
    collection INTEGER PRIMARY KEY REFERENCES collections (id) ON DELETE CASCADE,
    kept BLOB NOT NULL,
    next INTEGER NOT NULL
) STRICT;
";

/// The slots of a collection's vector file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots {
    /// Number of the collection.
    pub collection: i64,
    /// The vector file whose rows these are.
    pub file: Uuid,
    /// Slots of the first rows, rising.
    kept: Vec<u64>,
    /// Slot of the row after them; from there on both count up.
    next: u64,
}

impl Slots {
    /// Those of a file that has never been compacted.
    pub fn new(collection: i64, file: Uuid) -> Self {
        Self { collection, file, kept: Vec::new(), next: 0 }
    }

    /// The slot of a row, whether that is written already or not.
    pub fn slot(&self, row: u32) -> u64 {
        let row = row as usize;
        self.kept.get(row).copied().unwrap_or_else(|| self.next + (row - self.kept.len()) as u64)
    }

    /// The row of a slot; `None` for one that a compaction has dropped.
    pub fn row(&self, slot: u64) -> Option<u32> {
        let row = match slot.checked_sub(self.next) {
            None => self.kept.binary_search(&slot).ok()? as u64,
            Some(after) => self.kept.len() as u64 + after,
        };
        u32::try_from(row).ok()
    }

    /// Those of another file, `file`, to which some of the first `rows` rows were copied in their order: the `copied`
    /// ones.
    pub fn compacted(&self, file: Uuid, copied: &RoaringBitmap, rows: u32) -> Self {
        let kept = copied.iter().map(|row| self.slot(row)).collect();
        Self { collection: self.collection, file, kept, next: self.slot(rows) }
    }

    /// The slots that were kept, and after them a CRC32C of all that is known here.
    pub(crate) fn encode(&self) -> Result<(Vec<u8>, i64), RecordsError> {
        let mut bytes = Vec::new();
        let failed = |e: std::io::Error| RecordsError::Damaged(e.to_string());
        self.kept.iter().collect::<RoaringTreemap>().serialize_into(&mut bytes).map_err(failed)?;
        bytes.extend_from_slice(&self.checksum(&bytes).to_le_bytes());
        Ok((bytes, self.next as i64))
    }

    /// Reads what [`Slots::encode`] wrote, of a file of at most `rows` rows: what takes more memory than these is not
    /// made.
    pub(crate) fn decode(
        collection: i64,
        file: Uuid,
        rows: u32,
        bytes: &[u8],
        next: i64,
    ) -> Result<Self, RecordsError> {
        let damaged =
            |reason: &str| RecordsError::Damaged(format!("slots of collection number {collection}: {reason}"));
        let Some((bytes, crc)) = bytes.split_last_chunk::<4>() else { return Err(damaged("they are cut off")) };
        let next = u64::try_from(next).map_err(|_| damaged("the next one is negative"))?;
        let mut slots = Self { collection, file, kept: Vec::new(), next };
        if u32::from_le_bytes(*crc) != slots.checksum(bytes) {
            return Err(damaged("they do not have their checksum"));
        }
        let kept = RoaringTreemap::deserialize_from(bytes).map_err(|e| damaged(&e.to_string()))?;
        if kept.len() > u64::from(rows) || kept.max().is_some_and(|last| last >= next) {
            return Err(damaged("they are not those of its rows"));
        }
        slots.kept = kept.iter().collect();
        Ok(slots)
    }

    fn checksum(&self, bytes: &[u8]) -> u32 {
        let known = [self.collection.to_le_bytes(), self.next.to_le_bytes()].concat();
        let crc = crc32c::crc32c_append(crc32c::crc32c(&known), self.file.as_bytes());
        crc32c::crc32c_append(crc, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A plain list of slots, one a row, is what all of it comes down to.
        #[test]
        fn rows_are_in_the_order_of_their_slots(steps in prop::collection::vec((0u32..40, any::<u64>()), 1..12)) {
            let mut slots = Slots::new(7, Uuid::new_v4());
            let (mut list, mut written): (Vec<u64>, u64) = (Vec::new(), 0);
            for (more, keep) in steps {
                for _ in 0..more {
                    prop_assert_eq!(slots.slot(list.len() as u32), written);
                    list.push(written);
                    written += 1;
                }
                let copied: RoaringBitmap = (0..list.len() as u32).filter(|row| keep >> (row % 64) & 1 == 1).collect();
                slots = slots.compacted(Uuid::new_v4(), &copied, list.len() as u32);
                let kept: Vec<u64> = copied.iter().map(|row| list[row as usize]).collect();
                list.iter().filter(|slot| !kept.contains(slot)).for_each(|gone| assert_eq!(slots.row(*gone), None));
                list = kept;
                for (row, slot) in (0..).zip(&list) {
                    prop_assert_eq!((slots.slot(row), slots.row(*slot)), (*slot, Some(row)));
                }
                let ((bytes, next), rows) = (slots.encode().expect("memory takes all"), list.len() as u32);
                prop_assert_eq!(&Slots::decode(7, slots.file, rows, &bytes, next).expect("as written"), &slots);
                prop_assert!(Slots::decode(7, Uuid::new_v4(), rows, &bytes, next).is_err(), "another file's");
                prop_assert!(rows == 0 || Slots::decode(7, slots.file, rows - 1, &bytes, next).is_err(), "fewer rows");
            }
        }
    }
}
