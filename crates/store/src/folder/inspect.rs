//! A data folder that is inspected and stays as it is: no file of it is written, made or removed.

use super::lock::lock_unchanged;
use crate::box_key::{audit_key_in, audit_key_of};
use crate::{StoreConfig, StoreError};
use membox_records::{AuditChain, AuditEntry, AuditKey, Reader, RecordsError, SCHEMA_VERSION, Sealing, Store, log_of};
use membox_vectors::open_beneath;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A data folder that no box has open, for as long as this lives.
pub(super) struct Inspection {
    pub reader: Reader,
    /// What is remarkable about how it is inspected.
    pub notes: Vec<String>,
    /// Where the database was brought up to date, if it is of an older schema.
    _copy: Option<TempDir>,
    _lock: Option<File>,
}

impl Inspection {
    pub fn at(config: &StoreConfig) -> Result<Self, StoreError> {
        let root = &config.data_dir;
        let lock = lock_unchanged(root)?;
        let database = root.join("membox.db");
        // SQLite would only say that it cannot open it, and would follow a link.
        open_beneath(root, &database).map_err(StoreError::io("open", &database))?;
        let sealing = config.sealing.open_unchanged(root)?;
        let inspection = |reader, notes, copy| Self { reader, notes, _copy: copy, _lock: lock };
        match Reader::open_unchanged(&database, sealing.clone()) {
            Err(RecordsError::TooOld { found, .. }) => {
                let (reader, copy) = read_copy(root, &database, sealing)?;
                let note = format!(
                    "membox.db has schema version {found}, of an older membox; a copy was looked at. `membox serve` \
                        brings it to version {SCHEMA_VERSION}"
                );
                Ok(inspection(reader, vec![note], Some(copy)))
            }
            opened => Ok(inspection(opened?, Vec::new(), None)),
        }
    }
}

/// Brings a copy of a database up to date, outside of the data folder.
fn read_copy(root: &Path, database: &Path, sealing: Sealing) -> Result<(Reader, TempDir), StoreError> {
    let folder = tempfile::tempdir().map_err(StoreError::io("make a folder in", &std::env::temp_dir()))?;
    let copy = folder.path().join("membox.db");
    for (from, to) in [(database.to_owned(), copy.clone()), (log_of(database), log_of(&copy))] {
        let copied = open_beneath(root, &from).and_then(|mut file| io::copy(&mut file, &mut File::create_new(&to)?));
        match copied {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            copied => drop(copied.map_err(StoreError::io("copy the database to", &to))?),
        }
    }
    drop(Store::open(&copy, sealing.clone())?);
    Ok((Reader::open(&copy, sealing)?, folder))
}

/// What is in a data folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// Collections of all tenants.
    pub collections: usize,
    /// Their records, messages among them.
    pub records: u64,
    /// What is remarkable about it.
    pub notes: Vec<String>,
}

/// Says what is in a data folder that no box has open; nothing in it is changed.
pub fn overview(config: &StoreConfig) -> Result<Overview, StoreError> {
    let Inspection { reader, notes, .. } = &Inspection::at(config)?;
    let mut found = Overview { notes: notes.clone(), ..Overview::default() };
    for stored in reader.collections()? {
        found.collections += 1;
        found.records += reader.count(stored.id)?;
    }
    Ok(found)
}

/// The database of a data folder, also of one that a running box has open.
fn read_beside_a_box(root: &Path) -> Result<(Reader, Option<File>), StoreError> {
    let database = root.join("membox.db");
    // Without a running box nothing in the folder changes.
    Ok(match lock_unchanged(root) {
        Err(StoreError::Locked(_)) => (Reader::open(&database, Sealing::default())?, None),
        lock => (Reader::open_unchanged(&database, Sealing::default())?, lock?),
    })
}

/// Goes along the audit logs of a data folder, also of one that a running box has open. `keys` are files of keys that
/// it had before.
pub fn verify_audit(root: &Path, keys: &[PathBuf]) -> Result<Vec<AuditChain>, StoreError> {
    let (reader, _lock) = read_beside_a_box(root)?;
    let mut known: Vec<AuditKey> = audit_key_of(root)?.into_iter().collect();
    for path in keys {
        known.push(audit_key_in(path)?);
    }
    Ok(reader.verify_audit(&known)?)
}

/// The entries of a tenant's audit log after a number, also of a folder that a running box has open.
pub fn list_audit(root: &Path, tenant: &str, after: i64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
    let (reader, _lock) = read_beside_a_box(root)?;
    Ok(reader.audit(tenant, after, limit)?)
}
