//! Which rows are those of further windows of long texts.
//!
//! The vectors of one record stand one after another: that of its first window in *the* row of the record, by which
//! all else of it is known, and those of its further windows in the rows behind that one. So a bit for each row says
//! all: the record of a window's row is the nearest one below that is no window's row.

use membox_index::AllowedRows;
use roaring::RoaringBitmap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// Current rows of further windows. Most collections have none.
#[derive(Clone, Debug, Default)]
pub(crate) struct WindowRows(RoaringBitmap);

impl WindowRows {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rows behind that of a record, of which `further` are its windows'.
    pub fn insert(&mut self, record: u32, further: u32) {
        self.0.insert_range(behind(record, further));
    }

    /// Takes the windows of a record out.
    pub fn remove(&mut self, record: u32) {
        self.0.remove_range(self.of(record));
    }

    /// The rows of a record's further windows.
    pub fn of(&self, record: u32) -> Range<u32> {
        let further = (record.saturating_add(1)..).take_while(|row| self.0.contains(*row)).count();
        behind(record, further as u32)
    }

    /// The row of the record that a row belongs to.
    pub fn record(&self, row: u32) -> u32 {
        let mut record = row;
        while record > 0 && self.0.contains(record) {
            record -= 1;
        }
        record
    }

    /// The rows of all further windows of some records.
    pub fn of_all(&self, records: &RoaringBitmap) -> RoaringBitmap {
        if records.len() < self.0.len() {
            return records.iter().flat_map(|record| self.of(record)).collect();
        }
        let (mut last, mut is_wanted) = (None, false);
        let of_wanted = |row: &u32| {
            if last.replace(*row).is_none_or(|last| last + 1 != *row) {
                // The first one behind some record's row.
                is_wanted = records.contains(row.saturating_sub(1));
            }
            is_wanted
        };
        self.0.iter().filter(of_wanted).collect()
    }

    /// The same windows by other numbers of rows, in the same order.
    pub fn renumbered(&self, row: impl Fn(u32) -> u32) -> Self {
        Self(self.0.iter().map(row).collect())
    }
}

fn behind(record: u32, further: u32) -> Range<u32> {
    let first = record.saturating_add(1);
    first..first.saturating_add(further)
}

/// Records that may be found, and the rows of their vectors.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allowed {
    /// Their rows.
    pub records: Arc<AllowedRows>,
    /// Those and the rows of their windows, made when they are first searched; `None` where no record has any.
    pub with_windows: Option<Arc<OnceLock<Arc<AllowedRows>>>>,
}

impl Allowed {
    /// The records of some rows; `all` are theirs and those of their windows, where that is known.
    pub fn new(records: Arc<AllowedRows>, windows: &WindowRows, all: Option<Arc<AllowedRows>>) -> Self {
        let made = || Arc::new(all.map_or_else(OnceLock::new, OnceLock::from));
        Self { records, with_windows: (!windows.is_empty()).then(made) }
    }

    /// The rows of all their vectors.
    pub fn vectors(&self, windows: &WindowRows) -> &Arc<AllowedRows> {
        let Some(rows) = &self.with_windows else { return &self.records };
        rows.get_or_init(|| {
            let records = self.records.rows();
            Arc::new((records | windows.of_all(records)).into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_are_those_of_plain_lists(records in prop::collection::vec((0u32..4, 0u32..3, any::<bool>()), 0..40)) {
            let (mut windows, mut lists, mut next) = (WindowRows::default(), Vec::new(), 0);
            for (further, dead, _) in &records {
                windows.insert(next, *further);
                lists.push(next..next + 1 + further);
                next += 1 + further + dead;
            }
            let kept: Vec<_> = lists.iter().zip(&records).filter(|(_, (.., keep))| *keep).map(|(l, _)| l).collect();
            for (list, (.., keep)) in lists.iter().zip(&records) {
                prop_assert_eq!(windows.of(list.start), list.start + 1..list.end);
                prop_assert!(list.clone().all(|row| windows.record(row) == list.start));
                if !keep {
                    windows.remove(list.start);
                }
            }
            let all: RoaringBitmap = kept.iter().flat_map(|list| list.start + 1..list.end).collect();
            prop_assert_eq!(&windows.0, &all);
            for step in [1, 2, 3] {
                let some: Vec<_> = kept.iter().step_by(step).collect();
                let rows: RoaringBitmap = some.iter().map(|list| list.start).collect();
                let of_some: RoaringBitmap = some.iter().flat_map(|list| list.start + 1..list.end).collect();
                prop_assert_eq!(windows.of_all(&rows), of_some);
            }
        }
    }
}
