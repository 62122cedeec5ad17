//! Rows of vectors, held against what their records say of them.

use membox_records::StoredRecord;
use membox_vectors::VectorView;

/// Whether the rows of a record, the first one of which is `row`, are there and have the checksums that it says.
pub(crate) fn has_its_vectors(stored: &StoredRecord, row: u32, view: &VectorView) -> bool {
    let has = |row: u32, crc: u32| row < view.rows() && view.crc(row) == crc;
    // The first window's row is the record's own.
    has(row, stored.row_crc) && (row..).zip(&stored.windows).skip(1).all(|(row, window)| has(row, window.row_crc))
}
