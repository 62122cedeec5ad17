//! The file of wrapped keys: JSON with a checksum, written whole, and durable before anything is sealed with what it
//! holds.

use crate::cipher::digest;
use crate::{Result, SealingError};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const VERSION: u32 = 1;

/// What a file of keys says.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// Number of the next key; none is given twice.
    pub next: u32,
    pub keys: BTreeMap<u32, WrappedKey>,
    /// Under which key everything of a tenant is.
    pub settled: BTreeMap<String, u32>,
    /// Tenants that are to go and have not gone yet.
    pub erasing: BTreeSet<String>,
}

/// A tenant's key as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WrappedKey {
    pub tenant: String,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Fingerprint of the master key.
    pub master: String,
    /// Base64 of the sealed key.
    pub wrapped: String,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    sha256: String,
    state: State,
}

/// A key, without what it is.
#[derive(Clone, Debug, Serialize)]
pub struct KeyView {
    /// Unique in its file.
    pub number: u32,
    /// Whose it is.
    pub tenant: String,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Fingerprint of the master key that wraps it.
    pub master: String,
    /// Whether everything of the tenant is sealed with it.
    pub settled: bool,
}

/// The keys in a file, which no master key is needed to list.
pub fn keys(path: &Path) -> Result<Vec<KeyView>> {
    let state = read(path)?;
    let view = |(&number, key): (&u32, &WrappedKey)| {
        let settled = state.settled.get(&key.tenant) == Some(&number);
        KeyView { number, tenant: key.tenant.clone(), created_at: key.created_at, master: key.master.clone(), settled }
    };
    Ok(state.keys.iter().map(view).collect())
}

fn checksum(state: &State) -> String {
    digest(serde_json::to_string(state).unwrap_or_default().as_bytes())
}

/// What a file says; nothing where there is none.
pub(crate) fn read(path: &Path) -> Result<State> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(State { next: 1, ..State::default() }),
        read => read.map_err(|source| SealingError::Io { path: path.to_owned(), source })?,
    };
    let damaged = |reason: String| SealingError::Damaged { path: path.to_owned(), reason };
    let stored: Stored = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if stored.version != VERSION {
        return Err(damaged(format!("it has version {}, and this membox knows version {VERSION}", stored.version)));
    }
    if stored.sha256 != checksum(&stored.state) {
        return Err(damaged("it does not have its checksum: restore it from a backup".into()));
    }
    Ok(stored.state)
}

/// Writes a file anew. When it returns that is durable, and what was there before is not named by anything.
#[expect(
    clippy::disallowed_methods,
    reason = "the folder is fsynced after it; this crate is below the one that does both"
)]
pub(crate) fn write(path: &Path, state: &State) -> Result<()> {
    let failed = |source| SealingError::Io { path: path.to_owned(), source };
    let stored = Stored { version: VERSION, sha256: checksum(state), state: state.clone() };
    let bytes = serde_json::to_vec_pretty(&stored).map_err(|error| failed(error.into()))?;
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        let before = File::options().write(true).open(path).ok();
        fs::rename(&temporary, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
        before.map_or(Ok(()), erase)
    };
    write().map_err(failed)
}

/// Overwrites what a file held that has no name any more: a key that was erased is not to be found in free blocks, as
/// far as the disk writes in place.
fn erase(mut file: File) -> std::io::Result<()> {
    let length = file.metadata()?.len();
    std::io::copy(&mut std::io::repeat(0).take(length), &mut file)?;
    file.sync_all()
}
