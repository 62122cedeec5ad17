//! The bytes of a vector file.
//!
//! ```text
//! offset  size  field
//!      0     8  magic "MEMBOXV\0"
//!      8     4  version (1)
//!     12     4  dimension
//!     16     4  row type: 1 = f16, 2 = f32
//!     20     4  stride of a row in bytes
//!     24    16  UUID of the file
//!     40     4  CRC32C of bytes 0..40
//!     44  4052  zero
//!   4096   s·n  rows: dimension numbers, then zeros up to the stride
//! ```
//!
//! All integers and numbers are little-endian. The stride is the row's size rounded up to 64 bytes, so that every row
//! starts on a cache line. Neither the number of committed rows nor their checksums are in the file: the record that
//! names a row carries the CRC32C of the row's bytes, so that one commit binds the two and costs one fsync less than
//! a file of checksums.

use half::f16;
use uuid::Uuid;

/// Bytes before the first row.
pub const HEADER_BYTES: u64 = 4096;
/// The version written here.
pub const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"MEMBOXV\0";

/// How a row keeps its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowType {
    /// IEEE half precision: half the bytes, and a cosine to 1e-3 of f32's.
    F16,
    /// IEEE single precision.
    F32,
}

impl RowType {
    fn code(self) -> u32 {
        match self {
            Self::F16 => 1,
            Self::F32 => 2,
        }
    }

    /// Bytes of a number.
    pub fn width(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }

    /// `f16` or `f32`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
        }
    }

    /// Writes `vector` into the front of `row`.
    pub(crate) fn encode(self, vector: &[f32], row: &mut [u8]) {
        match self {
            Self::F16 => {
                for (bytes, &x) in row.chunks_exact_mut(2).zip(vector) {
                    bytes.copy_from_slice(&f16::from_f32(x).to_le_bytes());
                }
            }
            Self::F32 => {
                for (bytes, x) in row.chunks_exact_mut(4).zip(vector) {
                    bytes.copy_from_slice(&x.to_le_bytes());
                }
            }
        }
    }

    /// Reads the front of `row` into `vector`.
    pub(crate) fn decode(self, row: &[u8], vector: &mut [f32]) {
        match self {
            Self::F16 => {
                for (x, bytes) in vector.iter_mut().zip(row.as_chunks::<2>().0) {
                    *x = f16::from_le_bytes(*bytes).to_f32();
                }
            }
            Self::F32 => {
                for (x, bytes) in vector.iter_mut().zip(row.as_chunks::<4>().0) {
                    *x = f32::from_le_bytes(*bytes);
                }
            }
        }
    }
}

/// How a query and a row are compared. Callers say so each time that they open a file: it is not in its header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metric {
    /// By their inner product: both have unit length, so that it is their cosine.
    #[default]
    Cosine,
    /// By their inner product, whatever their lengths.
    InnerProduct,
    /// By their distance: a score is 0 where they are equal, and less the further they are apart.
    Euclidean,
}

/// What the header of a vector file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which file this is; everything derived from it names it.
    pub uuid: Uuid,
    /// Numbers in a vector; 0 where rows have no vectors, and there is no file.
    pub dimension: usize,
    /// How they are kept.
    pub row_type: RowType,
}

/// Why a header cannot be read.
pub(crate) enum HeaderError {
    Damaged(String),
    TooNew(u32),
}

impl Header {
    /// Bytes from one row to the next.
    pub fn stride(&self) -> usize {
        (self.dimension * self.row_type.width()).next_multiple_of(64)
    }

    /// Where row `row` starts in the file.
    pub fn row_offset(&self, row: u64) -> u64 {
        HEADER_BYTES + row * self.stride() as u64
    }

    /// Bytes of a file of so many rows.
    pub fn file_bytes(&self, rows: u32) -> u64 {
        if self.dimension == 0 { 0 } else { self.row_offset(u64::from(rows)) }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES as usize];
        bytes[..8].copy_from_slice(MAGIC);
        let fields = [VERSION, self.dimension as u32, self.row_type.code(), self.stride() as u32];
        for (place, field) in bytes[8..24].chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes[24..40].copy_from_slice(self.uuid.as_bytes());
        let crc = crc32c::crc32c(&bytes[..40]);
        bytes[40..44].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let damaged = |reason: &str| Err(HeaderError::Damaged(reason.to_owned()));
        if bytes.len() < HEADER_BYTES as usize {
            return damaged("it is shorter than its header");
        }
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if &bytes[..8] != MAGIC {
            return damaged("it does not start as a vector file does");
        }
        if number(40) != crc32c::crc32c(&bytes[..40]) {
            return damaged("the checksum of its header does not match");
        }
        if number(8) > VERSION {
            return Err(HeaderError::TooNew(number(8)));
        }
        let row_type = match number(16) {
            1 => RowType::F16,
            2 => RowType::F32,
            other => return damaged(&format!("{other} is no row type")),
        };
        let uuid = Uuid::from_slice(&bytes[24..40]).unwrap_or_default();
        let header = Self { uuid, dimension: number(12) as usize, row_type };
        if header.dimension == 0 || header.stride() as u64 != u64::from(number(20)) {
            return damaged("its dimension and stride do not fit each other");
        }
        if bytes[44..HEADER_BYTES as usize].iter().any(|&b| b != 0) {
            return damaged("the rest of its header is not zero");
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
        let crc = crc32c::crc32c(&bytes[..40]);
        bytes[40..44].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    proptest! {
        #[test]
        fn a_header_reads_as_it_was_written(dimension in 1usize..70_000, is_f16: bool, id: u128) {
            let row_type = if is_f16 { RowType::F16 } else { RowType::F32 };
            let header = Header { uuid: Uuid::from_u128(id), dimension, row_type };
            prop_assert_eq!(Header::decode(&header.encode()).ok(), Some(header));
        }

        /// Also where the checksum is right: whoever made the file may have been wrong.
        #[test]
        fn any_header_is_read_or_refused(
            fields in prop::collection::vec(any::<u8>(), 32..=32), whole: bool, rest: u8, cut in 0usize..5000,
        ) {
            let header = Header { uuid: Uuid::nil(), dimension: 16, row_type: RowType::F16 };
            let mut bytes = header.encode();
            if whole {
                bytes[8..40].copy_from_slice(&fields);
            } else {
                // One field at a time, or all but one are wrong at once.
                let field = 8 + usize::from(fields[0] % 4) * 4;
                bytes[field..field + 4].copy_from_slice(&fields[4..8]);
            }
            bytes[4000] = rest & 1;
            let mut bytes = with_checksum(bytes);
            bytes.truncate(cut.max(44));
            if let Ok(header) = Header::decode(&bytes) {
                prop_assert!(header.dimension > 0 && bytes.len() >= HEADER_BYTES as usize);
                prop_assert!(header.stride() >= header.dimension * header.row_type.width());
                prop_assert_eq!(Header::decode(&header.encode()).ok(), Some(header));
            }
        }
    }
}
