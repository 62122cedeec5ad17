//! The bytes of a collection's token vectors.
//!
//! Two files lie beside the vector file of the same UUID. `UUID.mbt` holds the codes of texts, one after the other in
//! the order in which they were written, and nothing else. `UUID.mbe` says where they are:
//!
//! ```text
//! offset  size  field
//!      0     8  magic "MEMBOXT\0"
//!      8     4  version (1)
//!     12     4  dimension
//!     16    16  UUID of the vector file whose rows these are
//!     32    16  axes: vectors with others cannot be compared
//!     48     4  CRC32C of bytes 0..48
//!     52  4044  zero
//!   4096  16·n  an entry a row; one of zeros says that the row has none
//!
//! entry   size  field
//!      0     6  offset in UUID.mbt
//!      6     2  tokens
//!      8     4  CRC32C of row number, checksum of the row's vector, tokens, key, and the stored codes
//!     12     4  number of the key that has sealed the codes; 0 where they are as they were packed
//! ```
//!
//! All integers are little-endian. Codes take `dimension / 2` bytes a token, and 28 more where they are sealed.
//!
//! Token vectors are derived from texts, so nothing here is fsynced before a write is acknowledged. An entry is
//! overwritten in place, and after a crash an entry may be on the disk without its codes: then it does not have its
//! checksum, and its row has none. The checksum holds that of the row's vector, so that the codes of a record that
//! was never acknowledged are not those of the one that is in its row after a crash.

use crate::format::HEADER_BYTES;
use crate::tokens::TokenSpace;
use uuid::Uuid;

/// The version written here.
pub(crate) const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"MEMBOXT\0";
/// Bytes of an entry.
pub(crate) const ENTRY_BYTES: usize = 16;
/// Bytes that sealing adds to codes: a nonce of 12 and a tag of 16.
pub const SEALED_BYTES: usize = 28;
/// Codes lie below this offset.
const MAX_OFFSET: u64 = 1 << 48;

/// What the header of `UUID.mbe` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TokenHeader {
    pub space: TokenSpace,
    pub vector_file: Uuid,
}

impl TokenHeader {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES as usize];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(self.space.dimension as u32).to_le_bytes());
        bytes[16..32].copy_from_slice(self.vector_file.as_bytes());
        bytes[32..48].copy_from_slice(&self.space.axes);
        let crc = crc32c::crc32c(&bytes[..48]);
        bytes[48..52].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Why it cannot be read, in words, where it cannot: such files are begun anew.
    pub fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let Some(fields) = bytes.first_chunk::<52>().filter(|_| bytes.len() >= HEADER_BYTES as usize) else {
            return Err("it is shorter than its header");
        };
        let number = |at: usize| u32::from_le_bytes([fields[at], fields[at + 1], fields[at + 2], fields[at + 3]]);
        if &fields[..8] != MAGIC {
            return Err("it does not start as a file of token vectors does");
        }
        if number(48) != crc32c::crc32c(&fields[..48]) {
            return Err("the checksum of its header does not match");
        }
        if number(8) != VERSION {
            return Err("it is of another version");
        }
        if bytes[52..HEADER_BYTES as usize].iter().any(|&b| b != 0) {
            return Err("the rest of its header is not zero");
        }
        let (mut axes, mut uuid) = ([0; 16], [0; 16]);
        uuid.copy_from_slice(&fields[16..32]);
        axes.copy_from_slice(&fields[32..48]);
        let dimension = number(12) as usize;
        if !TokenSpace::is_possible(dimension) {
            return Err("no vector has its dimension");
        }
        Ok(Self { space: TokenSpace { dimension, axes }, vector_file: Uuid::from_bytes(uuid) })
    }
}

/// Where the codes of a row are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub offset: u64,
    /// At least one.
    pub tokens: u16,
    pub crc: u32,
    pub key: u32,
}

impl Entry {
    pub fn encode(self) -> [u8; ENTRY_BYTES] {
        debug_assert!(self.offset < MAX_OFFSET && self.tokens > 0);
        let first = self.offset | u64::from(self.tokens) << 48;
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(&first.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.crc.to_le_bytes());
        bytes[12..].copy_from_slice(&self.key.to_le_bytes());
        bytes
    }

    /// `None` where the row has none.
    pub fn decode(bytes: [u8; ENTRY_BYTES]) -> Option<Self> {
        let number = u128::from_le_bytes(bytes);
        let (offset, tokens) = (number as u64 & (MAX_OFFSET - 1), (number >> 48) as u16);
        (tokens > 0).then_some(Self { offset, tokens, crc: (number >> 64) as u32, key: (number >> 96) as u32 })
    }

    /// Where its codes end.
    pub fn end(self, space: TokenSpace) -> u64 {
        self.offset + stored_bytes(space, self.tokens, self.key) as u64
    }
}

/// Bytes that the codes of so many tokens take as they are stored.
pub(crate) fn stored_bytes(space: TokenSpace, tokens: u16, key: u32) -> usize {
    usize::from(tokens) * space.token_bytes() + if key == 0 { 0 } else { SEALED_BYTES }
}

/// The checksum of an entry.
pub(crate) fn checksum(row: u32, vector_crc: u32, tokens: u16, key: u32, stored: &[u8]) -> u32 {
    let mut of = [0; 14];
    of[..4].copy_from_slice(&row.to_le_bytes());
    of[4..8].copy_from_slice(&vector_crc.to_le_bytes());
    of[8..12].copy_from_slice(&key.to_le_bytes());
    of[12..].copy_from_slice(&tokens.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&of), stored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_header_reads_as_it_was_written_and_no_other_way(
            sixteens in 1usize..5, axes: [u8; 16], id: u128, at in 0usize..4096, bit in 0u32..8,
        ) {
            let space = TokenSpace { dimension: 16 * sixteens, axes };
            let header = TokenHeader { space, vector_file: Uuid::from_u128(id) };
            let mut bytes = header.encode();
            prop_assert_eq!(TokenHeader::decode(&bytes), Ok(header));
            prop_assert!(TokenHeader::decode(&bytes[..at]).is_err());
            bytes[at] ^= 1 << bit;
            prop_assert!(TokenHeader::decode(&bytes).is_err(), "a flipped bit at {at}");
        }

        #[test]
        fn an_entry_reads_as_it_was_written(offset in 0..MAX_OFFSET, tokens in 1u16.., crc: u32, key: u32) {
            let entry = Entry { offset, tokens, crc, key };
            prop_assert_eq!(Entry::decode(entry.encode()), Some(entry));
        }
    }

    #[test]
    fn an_entry_of_zeros_is_none() {
        assert_eq!(Entry::decode([0; ENTRY_BYTES]), None);
    }
}
