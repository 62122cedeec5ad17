//! Reading a database without changing a file of its folder.

use crate::{Reader, RecordsError, Sealing};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

impl Reader {
    /// Opens a database that no process has open and none opens meanwhile. Nothing is written beside it: what an
    /// unclean stop has left in the write-ahead log is read from there, and stays there.
    #[expect(clippy::disallowed_methods, reason = "it only reads")]
    pub fn open_unchanged(path: &Path, sealing: Sealing) -> Result<Self, RecordsError> {
        let has_log = std::fs::metadata(log_of(path)).is_ok_and(|log| log.len() > 0);
        // A reader of a log makes a file for what readers share, unless it is alone; SQLite then keeps that in
        // memory. Files that are only read take no locks. Without a log, nothing but the database is looked at.
        let how = if has_log { "vfs=unix-none" } else { "immutable=1" };
        let uri = format!("file:{}?mode=ro&{how}", in_uri(path));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(uri, flags)?;
        if has_log {
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE")?;
        }
        Self::over(connection, path, sealing)
    }
}

/// The write-ahead log of a database.
pub fn log_of(path: &Path) -> PathBuf {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

/// A path as a URI has it.
fn in_uri(path: &Path) -> String {
    let mut uri = String::new();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => uri.push(char::from(byte)),
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Store, StoredCollection};
    use std::collections::BTreeMap;
    use std::fs;
    use std::time::SystemTime;

    /// Every file of a folder, with what is in it and when it was changed.
    fn files(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
        let files = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        let state = |path: &Path| {
            let changed = fs::metadata(path).and_then(|found| found.modified()).expect("a time");
            (fs::read(path).expect("a file"), changed)
        };
        files.map(|path| (path.clone(), state(&path))).collect()
    }

    fn names(path: &Path) -> Vec<String> {
        let reader = Reader::open_unchanged(path, Sealing::default()).expect("a reader");
        assert_eq!(reader.integrity_problems().expect("a check"), Vec::<String>::new());
        reader.collections().expect("collections").into_iter().map(|collection| collection.name).collect()
    }

    #[test]
    fn what_an_unclean_stop_has_left_is_read_and_no_file_changes() {
        // A sign that a URI has another way for.
        let folder = tempfile::Builder::new().prefix("a b?#%").tempdir().expect("a folder");
        let path = folder.path().join("membox.db");
        let mut store = Store::open(&path, Sealing::default()).expect("a store");
        let add = |store: &mut Store, name: &str| {
            let mut transaction = store.begin().expect("a transaction");
            let collection = StoredCollection {
                id: 0,
                tenant: "t".into(),
                name: name.into(),
                settings: "{}".into(),
                vector_file: uuid::Uuid::new_v4(),
                rows: 0,
                created_at: 0,
            };
            transaction.create_collection(&collection).expect("a collection");
            transaction.commit().expect("a commit");
        };
        add(&mut store, "kept");
        assert!(store.checkpoint().expect("a checkpoint"));
        add(&mut store, "logged");
        // As a kill leaves it: the log has what the database has not.
        let left = tempfile::tempdir().expect("a folder");
        for name in ["membox.db", "membox.db-wal"] {
            fs::copy(folder.path().join(name), left.path().join(name)).expect("a copy");
        }
        let before = files(left.path());
        assert_eq!(names(&left.path().join("membox.db")), ["kept", "logged"]);
        assert_eq!(files(left.path()), before);
        drop(store);
        let before = files(folder.path());
        assert_eq!(before.len(), 1, "a clean stop leaves the database alone");
        assert_eq!(names(&path), ["kept", "logged"]);
        assert_eq!(files(folder.path()), before);
    }
}
