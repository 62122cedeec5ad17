//! The box's own key: what it says of a text, nobody without the key can say.

use crate::StoreError;
use hmac::{Hmac, KeyInit, Mac};
use membox_records::AuditKey;
use membox_records::keys::hex;
use sha2::Sha256;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// SHA-256's block: HMAC takes a key of that size as it is.
const KEY_BYTES: usize = 64;
/// The key of a data folder.
const BOX_KEY_FILE: &str = "redaction.key";
/// For what the audit log's key is made.
const AUDIT_PURPOSE: &str = "audit/";

/// Made when it is first wanted, and kept in the data folder.
pub struct BoxKey {
    path: PathBuf,
    key: OnceLock<[u8; KEY_BYTES]>,
}

impl BoxKey {
    pub(crate) fn new(root: &Path) -> Self {
        Self { path: root.join(BOX_KEY_FILE), key: OnceLock::new() }
    }

    /// HMAC-SHA-256 of a text. The text begins with what it is for (`user/`, `original/`), so that what is given
    /// out for one purpose says nothing of another.
    pub fn mac(&self, text: &str) -> Result<[u8; 32], StoreError> {
        let key = match self.key.get() {
            Some(key) => *key,
            None => {
                let key = read_or_make(&self.path).map_err(StoreError::io("read or make", &self.path))?;
                *self.key.get_or_init(|| key)
            }
        };
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&key.into());
        mac.update(text.as_bytes());
        Ok(mac.finalize().into_bytes().into())
    }

    /// What the audit log is keyed with.
    pub(crate) fn audit_key(&self) -> Result<AuditKey, StoreError> {
        Ok(AuditKey::new(self.mac(AUDIT_PURPOSE)?))
    }

    /// [`BoxKey::mac`] in hexadecimal digits.
    pub fn digest(&self, text: &str) -> Result<String, StoreError> {
        Ok(hex(&self.mac(text)?))
    }
}

/// What the audit log of a data folder is keyed with, if its key is there.
pub(crate) fn audit_key_of(root: &Path) -> Result<Option<AuditKey>, StoreError> {
    let path = root.join(BOX_KEY_FILE);
    if !path.exists() {
        return Ok(None);
    }
    audit_key_in(&path).map(Some)
}

/// What the audit log is keyed with by the key of a file.
pub(crate) fn audit_key_in(path: &Path) -> Result<AuditKey, StoreError> {
    let key = read(path).map_err(StoreError::io("read the key", path))?;
    let known = BoxKey { path: path.to_owned(), key: OnceLock::from(key) };
    known.audit_key()
}

fn read(path: &Path) -> std::io::Result<[u8; KEY_BYTES]> {
    let bytes = fs::read(path)?;
    bytes.try_into().map_err(|_| std::io::Error::new(ErrorKind::InvalidData, "it does not hold 64 bytes"))
}

/// The key, made if there is none yet; of several that make one at a time, one stays.
fn read_or_make(path: &Path) -> std::io::Result<[u8; KEY_BYTES]> {
    match read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        known => return known,
    }
    let mut key = [0; KEY_BYTES];
    for part in key.chunks_mut(16) {
        // Version 4 has 122 random bits from the system in each 16 bytes.
        part.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    }
    let temporary = path.with_extension(format!("{}.tmp", uuid::Uuid::new_v4().simple()));
    let write = || -> std::io::Result<()> {
        let mut file = File::options().create_new(true).write(true).mode(0o600).open(&temporary)?;
        file.write_all(&key)?;
        file.sync_all()?;
        match fs::hard_link(&temporary, path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => membox_vectors::sync_parent(path),
        }
    };
    let written = write();
    let _ = fs::remove_file(&temporary);
    written?;
    read(path)
}
