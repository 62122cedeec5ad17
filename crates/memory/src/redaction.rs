//! Personal data in records, made unreadable before anything is derived from it: before the text is embedded, compressed, indexed or stored.

use crate::MemoryError;
use hmac::{Hmac, KeyInit, Mac};
use membox_records::Record;
use membox_redaction::{Counts, Mode, Redaction};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Where a record's metadata says what was found in it.
pub const REDACTION_FIELD: &str = "redaction";
/// Where what was found says which text it was found in, by a keyed digest.
pub(crate) const ORIGINAL_FIELD: &str = "original_hmac_sha256";
/// SHA-256's block: HMAC takes a key of that size as it is.
const KEY_BYTES: usize = 64;

/// Applies policies; holds the box's key for the digests of originals.
///
/// A plain digest of a short text with a phone number in it is as good as the number: all numbers can be tried. So the digest is keyed, by a key
/// that is made when the first one is wanted and stays in the data folder.
pub(crate) struct Redactor {
    path: PathBuf,
    key: OnceLock<[u8; KEY_BYTES]>,
}

impl Redactor {
    pub fn new(root: &Path) -> Self {
        Self { path: root.join("redaction.key"), key: OnceLock::new() }
    }

    /// Redacts a record's text and the strings of its metadata. What was found is counted in `metadata.redaction`, with a keyed digest of the original text.
    pub fn apply(&self, redaction: &Redaction, record: &mut Record) -> Result<(), MemoryError> {
        if redaction.mode == Mode::Off {
            return Ok(());
        }
        // What an earlier version says of itself is not what this one says.
        record.metadata.remove(REDACTION_FIELD);
        let mut counts = Counts::new();
        let digest = self.digest(&record.text)?;
        let kept = redaction.apply(&record.text, &mut counts).into_owned();
        record.text = kept;
        apply_to_object(redaction, &mut record.metadata, &mut counts);
        if counts.is_empty() {
            return Ok(());
        }
        for (kind, count) in &counts {
            metrics::counter!("membox_redacted_total", "kind" => kind.label()).increment(*count as u64);
        }
        tracing::debug!(found = ?counts, "personal data in a record");
        let found = json!({ "mode": redaction.mode, "found": counts, ORIGINAL_FIELD: digest });
        record.metadata.insert(REDACTION_FIELD.to_owned(), found);
        Ok(())
    }

    /// HMAC-SHA-256 of a text under the box's key.
    pub fn mac(&self, text: &str) -> Result<[u8; 32], MemoryError> {
        let key = match self.key.get() {
            Some(key) => *key,
            None => {
                let key = read_or_make_key(&self.path).map_err(MemoryError::io("read or make", &self.path))?;
                *self.key.get_or_init(|| key)
            }
        };
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&key.into());
        mac.update(text.as_bytes());
        Ok(mac.finalize().into_bytes().into())
    }

    /// [`Redactor::mac`] in hexadecimal digits.
    pub fn digest(&self, text: &str) -> Result<String, MemoryError> {
        Ok(self.mac(text)?.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

fn apply_to_object(redaction: &Redaction, object: &mut Map<String, Value>, counts: &mut Counts) {
    object.values_mut().for_each(|value| apply_to_value(redaction, value, counts));
}

fn apply_to_value(redaction: &Redaction, value: &mut Value, counts: &mut Counts) {
    match value {
        Value::String(text) => {
            let kept = redaction.apply(text, counts).into_owned();
            *text = kept;
        }
        Value::Array(values) => values.iter_mut().for_each(|value| apply_to_value(redaction, value, counts)),
        Value::Object(object) => apply_to_object(redaction, object, counts),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The key, made if there is none yet; of several that make one at a time, one stays.
fn read_or_make_key(path: &Path) -> std::io::Result<[u8; KEY_BYTES]> {
    let read = || -> std::io::Result<[u8; KEY_BYTES]> {
        let bytes = fs::read(path)?;
        bytes.try_into().map_err(|_| std::io::Error::new(ErrorKind::InvalidData, "it does not hold 64 bytes"))
    };
    match read() {
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
    read()
}
