//! The file of tenants' keys: as it is, and with the checksum of what it says, since no random bytes have that.
#![no_main]

use libfuzzer_sys::fuzz_target;
use membox_sealing::{Keyring, MasterKey, keys};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Base64 of 32 bytes, which wrapped the keys of `seeds/key_file`.
const MASTER: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn read(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("a file");
    let listed = keys(path);
    let master = MasterKey::parse(MASTER).expect("a key");
    let opened = Keyring::open_unchanged(path, master, &[]);
    assert!(opened.is_err() || listed.is_ok(), "what opens can be listed");
}

fuzz_target!(|data: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys.json");
    read(&path, data);
    if let Ok(state) = std::str::from_utf8(data) {
        let sha256: String = Sha256::digest(state)[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        read(&path, format!(r#"{{"version":1,"sha256":"{sha256}","state":{state}}}"#).as_bytes());
    }
});
