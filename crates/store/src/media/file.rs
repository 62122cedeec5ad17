//! The files of images and recordings.
//!
//! ```text
//! 0   "MBMF"      4   version (1), u32      8   key that has sealed what follows, u32; 0 where it is as it was given
//! 12  CRC32C of all other bytes, u32        16  the bytes, or nonce, AES-256-GCM's and its tag
//! ```
//!
//! All numbers are little-endian. A file is written whole, durable before its message is, and never changed in
//! place. Its name is an HMAC of its content, so that what is given twice is kept once and the name tells nobody
//! what it is.

use crate::StoreError;
use membox_records::{RecordsError, Sealing};
use membox_vectors::open_beneath;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 4] = b"MBMF";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 16;

fn checksum(head: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(head), body)
}

/// Where a file's bytes belong when they are sealed.
fn place<'a>(tenant: &'a str, path: &'a Path) -> [&'a str; 3] {
    ["media", tenant, path.file_name().and_then(|name| name.to_str()).unwrap_or_default()]
}

/// Where a file is until it is whole; that of its thumbnail too.
pub(super) fn temporary(path: &Path) -> PathBuf {
    path.with_extension("tmp")
}

/// Writes a file, sealed where the tenant is.
pub(super) fn write(sealing: &Sealing, tenant: &str, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let keyring = sealing.keyring_of(tenant);
    let sealed = keyring.map(|keyring| keyring.seal(tenant, &place(tenant, path), bytes)).transpose();
    let (key, body) = sealed.map_err(RecordsError::from)?.unwrap_or_else(|| (0, bytes.to_vec()));
    let mut head = [&MAGIC[..], &VERSION.to_le_bytes(), &key.to_le_bytes()].concat();
    head.extend(checksum(&head, &body).to_le_bytes());
    let temporary = temporary(path);
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(&head)?;
        file.write_all(&body)?;
        file.sync_all()?;
        membox_vectors::rename_durably(&temporary, path)
    };
    write().map_err(StoreError::io("write", path))
}

/// The key that a whole file is sealed with (0 for none), and its body.
fn whole(opened: std::io::Result<File>, path: &Path) -> Result<(u32, Vec<u8>), StoreError> {
    let mut bytes = Vec::new();
    opened.and_then(|mut file| file.read_to_end(&mut bytes)).map_err(StoreError::io("read", path))?;
    let damaged = || RecordsError::Damaged(format!("the file {}", path.display()));
    if bytes.len() < HEADER_BYTES || bytes[..4] != *MAGIC {
        return Err(damaged().into());
    }
    let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let (version, key, crc) = (number(4), number(8), number(12));
    if version != VERSION || crc != checksum(&bytes[..12], &bytes[HEADER_BYTES..]) {
        return Err(damaged().into());
    }
    bytes.drain(..HEADER_BYTES);
    Ok((key, bytes))
}

/// The key that a file of a data folder is sealed with, 0 for none; an error where it does not have its checksum. No
/// symbolic link is followed to it.
pub(super) fn check(root: &Path, path: &Path) -> Result<u32, StoreError> {
    Ok(whole(open_beneath(root, path), path)?.0)
}

/// What was given to [`write`].
pub(super) fn read(sealing: &Sealing, tenant: &str, path: &Path) -> Result<Vec<u8>, StoreError> {
    let (key, body) = whole(File::open(path), path)?;
    if key == 0 {
        return Ok(body);
    }
    let keyring = sealing.keyring().ok_or(RecordsError::Sealed)?;
    Ok(keyring.open_sealed(key, &place(tenant, path), &body).map_err(RecordsError::from)?)
}
