//! The rows that have one value of a field. Most values of ids and times have a single row, and that takes no
//! allocation.

use roaring::RoaringBitmap;

/// One row, or several.
pub(crate) enum RowSet {
    One(u32),
    Many(Box<RoaringBitmap>),
}

impl RowSet {
    pub fn insert(&mut self, row: u32) {
        match self {
            Self::One(one) if *one == row => {}
            Self::One(one) => *self = Self::Many(Box::new([*one, row].into_iter().collect())),
            Self::Many(rows) => {
                rows.insert(row);
            }
        }
    }

    /// Takes a row out; whether none is left.
    pub fn remove(&mut self, row: u32) -> bool {
        match self {
            Self::One(one) => *one == row,
            Self::Many(rows) => {
                rows.remove(row);
                rows.is_empty()
            }
        }
    }

    /// The same rows by other numbers, without those that get none.
    pub fn renumbered(&self, row: &impl Fn(u32) -> Option<u32>) -> Option<Self> {
        match self {
            Self::One(one) => row(*one).map(Self::One),
            Self::Many(rows) => {
                let rows: RoaringBitmap = rows.iter().filter_map(row).collect();
                match (rows.len(), rows.min()) {
                    (1, Some(one)) => Some(Self::One(one)),
                    (0, _) => None,
                    _ => Some(Self::Many(Box::new(rows))),
                }
            }
        }
    }

    /// How many of some rows it has.
    pub fn count_in(&self, rows: &RoaringBitmap) -> u64 {
        match self {
            Self::One(row) => u64::from(rows.contains(*row)),
            Self::Many(own) => own.intersection_len(rows),
        }
    }

    pub fn each(&self, mut see: impl FnMut(u32)) {
        match self {
            Self::One(row) => see(*row),
            Self::Many(rows) => rows.iter().for_each(see),
        }
    }
}

/// All rows of several sets, none over `highest`. A plain array of bits takes any number of small sets in the time of
/// reading them.
pub(crate) fn union<'a>(sets: impl Iterator<Item = &'a RowSet>, highest: u32) -> RoaringBitmap {
    let mut bits = vec![0u8; highest as usize / 8 + 1];
    for set in sets {
        set.each(|row| {
            if let Some(byte) = bits.get_mut(row as usize / 8) {
                *byte |= 1 << (row % 8);
            }
        });
    }
    RoaringBitmap::from_lsb0_bytes(0, &bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_union_has_every_row_of_its_sets(
            sets in prop::collection::vec(prop::collection::vec(0u32..200_000, 1..20), 0..30),
        ) {
            let built: Vec<RowSet> = sets
                .iter()
                .map(|rows| {
                    let mut set = RowSet::One(rows[0]);
                    rows.iter().for_each(|row| set.insert(*row));
                    set
                })
                .collect();
            let want: BTreeSet<u32> = sets.into_iter().flatten().collect();
            let highest = want.last().copied().unwrap_or(0);
            prop_assert_eq!(union(built.iter(), highest).iter().collect::<BTreeSet<u32>>(), want);
        }
    }
}
