//! How far an import of a file has come, beside the file: it goes on from there when it was interrupted.

use anyhow::Result;
use membox_memory::keys::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A running hash of the values that were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadSoFar {
    /// How many.
    pub items: u64,
    hash: [u8; 32],
}

impl ReadSoFar {
    /// With another value.
    pub fn and(self, bytes: &[u8]) -> Self {
        let hash = Sha256::new().chain_update(self.hash).chain_update(Sha256::digest(bytes)).finalize();
        Self { items: self.items + 1, hash: hash.into() }
    }

    fn digits(&self) -> String {
        hex(&self.hash)
    }
}

/// What is written down of an import under way. It holds for the same values into the same collections of the same
/// box, and for nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Where the box is.
    pub url: String,
    /// The collection of lines that name none.
    pub collection: Option<String>,
    /// The collections that were written to and when they were made: one that was dropped, or that of another data
    /// folder, is another one.
    pub made: BTreeMap<String, String>,
    /// Values that are done.
    pub items: u64,
    /// A hash of them.
    pub hash: String,
}

impl Progress {
    /// Notes that the values up to a place are done.
    pub fn set(&mut self, done: &ReadSoFar) {
        (self.items, self.hash) = (done.items, done.digits());
    }

    /// Whether what was read now is what was done then.
    pub fn is_of(&self, read: &ReadSoFar) -> bool {
        (self.items, &self.hash) == (read.items, &read.digits())
    }
}

/// The file that it is written to.
pub struct ProgressFile(PathBuf);

impl ProgressFile {
    pub fn of(file: &Path) -> Self {
        let mut name = file.as_os_str().to_owned();
        name.push(".imported");
        Self(name.into())
    }

    /// What was written; nothing where it is of an older membox, or damaged.
    pub fn read(&self) -> Option<Progress> {
        serde_json::from_slice(&fs::read(&self.0).ok()?).ok()
    }

    /// Writes it, whole or not at all.
    #[expect(clippy::disallowed_methods, reason = "an older progress only has records written again")]
    pub fn write(&self, progress: &Progress) -> Result<()> {
        let partial = self.0.with_extension("imported.partial");
        fs::write(&partial, serde_json::to_vec(progress)?)?;
        Ok(fs::rename(&partial, &self.0)?)
    }

    pub fn remove(&self) {
        let _ = fs::remove_file(&self.0);
    }
}
