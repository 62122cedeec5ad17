//! The file of a move to another model, until the collection switches to it.

use membox_records::RowChecks;
use membox_vectors::VectorFile;
use roaring::RoaringBitmap;

/// A record's rows in the file of a move.
pub(crate) struct MovedRecord {
    pub seq: i64,
    pub version: u64,
    pub slot: u64,
    /// Its first row, and how many are behind it.
    pub row: u32,
    pub further: u32,
    pub checks: RowChecks,
}

/// What a collection is switched to.
pub(crate) struct MovedFiles {
    pub file: VectorFile,
    pub model: String,
    pub records: Vec<MovedRecord>,
    /// Rows of the other file whose records were looked at: they have new ones, or cannot be read.
    pub seen: RoaringBitmap,
}
