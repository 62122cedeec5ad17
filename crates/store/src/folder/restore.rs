//! Putting a backup in the place of a data folder that holds nothing yet.
//!
//! ```text
//! copy to root/restoring-UUID ─▶ note there that it is whole ─▶ move its parts to root, the database last
//! ```
//!
//! A folder without a database holds nothing. A restore that is interrupted while it moves is finished by the next
//! one; a copy that is not whole stays, is named, and is nobody's any more.

use super::backup::{BackupSummary, copy, refuse_existing};
use super::lock::lock;
use super::making::{FolderInMaking, left_behind};
use crate::StoreError;
use membox_records::{Reader, Sealing};
use membox_vectors::{open_beneath, rename_to_new, sync_parent};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Beginning of the name of a folder in which a backup is copied.
const RESTORING: &str = "restoring-";
/// The file in it that says that it is whole, and of which backup.
const WHOLE: &str = "whole";

/// Copies a backup to a data folder that must not hold one already. The models of the folder stay.
pub fn restore(backup: &Path, root: &Path) -> Result<BackupSummary, StoreError> {
    refuse_existing(&root.join("membox.db"))?;
    fs::create_dir_all(root).map_err(StoreError::io("create", root))?;
    let _lock = lock(root)?;
    let of = fs::canonicalize(backup).map_err(StoreError::io("open", backup))?;
    let note = of.to_string_lossy().into_owned();
    let left = left_behind(root, RESTORING, "");
    let whole = |path: &PathBuf| fs::read_to_string(path.join(WHOLE)).ok();
    if let Some((partial, begun)) = left.iter().find_map(|path| Some((path, whole(path)?))) {
        if begun != note {
            let other = io::Error::other(format!("a restore of {begun} was interrupted: run that once more"));
            return Err(StoreError::io("restore to", root)(other));
        }
        put_in_place(partial, root)?;
        return summary_of(root);
    }
    let collections = root.join("collections");
    if fs::read_dir(&collections).is_ok_and(|mut entries| entries.next().is_some()) {
        refuse_existing(&collections)?;
    }
    let keys = "keys.json";
    if backup.join(keys).exists() {
        refuse_existing(&root.join(keys))?;
    }
    let making = FolderInMaking::make(root, RESTORING, "")?;
    let summary = copy(backup, making.path(), true)?;
    let noted = || {
        let mut file = File::create_new(making.path().join(WHOLE))?;
        file.write_all(note.as_bytes())?;
        file.sync_all()?;
        sync_parent(&making.path().join(WHOLE))?;
        sync_parent(making.path())
    };
    noted().map_err(StoreError::io("write to", making.path()))?;
    // From here on its parts are in two places, and the next restore would finish it.
    put_in_place(&making.keep(), root)?;
    Ok(BackupSummary { leftovers: left, ..summary })
}

/// Moves what a whole copy holds to its place, the database last: a folder without it holds nothing.
fn put_in_place(partial: &Path, root: &Path) -> Result<(), StoreError> {
    let (from, to) = (partial.join("collections"), root.join("collections"));
    match fs::create_dir(&to) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(StoreError::io("create", &to)(error)),
        _ => sync_parent(&to).map_err(StoreError::io("fsync the folder of", &to))?,
    }
    for entry in fs::read_dir(&from).map_err(StoreError::io("read", &from))? {
        let entry = entry.map_err(StoreError::io("read", &from))?;
        let to = to.join(entry.file_name());
        rename_to_new(&entry.path(), &to).map_err(StoreError::io("rename to", &to))?;
    }
    for name in ["keys.json", "membox.db"] {
        let to = root.join(name);
        match rename_to_new(&partial.join(name), &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && name != "membox.db" => {}
            moved => moved.map_err(StoreError::io("rename to", &to))?,
        }
    }
    // What is left of the copy, which was made here.
    let _ = fs::remove_dir_all(partial);
    Ok(())
}

/// What a folder holds that has been restored.
fn summary_of(root: &Path) -> Result<BackupSummary, StoreError> {
    let db = root.join("membox.db");
    let bytes = open_beneath(root, &db).and_then(|file| file.metadata()).map_err(StoreError::io("read", &db))?.len();
    let reader = Reader::open(&db, Sealing::default())?;
    let mut summary = BackupSummary { bytes, ..BackupSummary::default() };
    for stored in reader.collections()? {
        summary.collections += 1;
        summary.records += reader.count(stored.id)?;
    }
    Ok(summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::sample::Sample;
    use membox_api::IndexPolicy;
    use uuid::Uuid;

    /// Everything that is below a folder.
    fn names(folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() {
                found.extend(names(&entry.path()).into_iter().map(|below| format!("{name}/{below}")));
            }
            found.push(name);
        }
        found.sort();
        found
    }

    #[test]
    fn a_restore_that_is_interrupted_anywhere_is_finished_and_takes_nothing_of_others() {
        let sample = Sample::new(IndexPolicy::Flat);
        sample.write(0..10);
        let folder = tempfile::tempdir().expect("a folder");
        let (backup, root) = (folder.path().join("backup"), folder.path().join("root"));
        crate::backup(sample.store.data_dir(), &backup, true).expect("a backup");
        restore(&backup, &root).expect("a restore");
        let whole: Vec<String> = names(&root);
        let note = fs::canonicalize(&backup).expect("a path").to_string_lossy().into_owned();
        for has_moved in [false, true] {
            let root = folder.path().join(format!("root-{has_moved}"));
            let partial = root.join(format!("{RESTORING}{}", Uuid::new_v4()));
            fs::create_dir_all(&partial).expect("folders");
            copy(&backup, &partial, true).expect("a copy");
            fs::write(partial.join(WHOLE), &note).expect("a note");
            fs::create_dir(root.join("restoring")).expect("somebody's folder");
            fs::write(root.join("restoring/mine"), "precious").expect("a file");
            if has_moved {
                fs::create_dir(root.join("collections")).expect("a folder");
                rename_to_new(&partial.join("collections/1"), &root.join("collections/1")).expect("a move");
            }
            let other = folder.path().join("other");
            fs::create_dir_all(&other).expect("a folder");
            assert!(restore(&other, &root).is_err(), "another restore was begun");
            assert_eq!(restore(&backup, &root).expect("it is finished").records, 10);
            let mut left = names(&root);
            left.retain(|name| !name.starts_with("restoring"));
            assert_eq!(left, whole);
            assert_eq!(fs::read_to_string(root.join("restoring/mine")).expect("the file"), "precious");
        }
    }

    #[test]
    fn a_copy_that_is_not_whole_stays_and_is_named() {
        let sample = Sample::new(IndexPolicy::Flat);
        sample.write(0..10);
        let folder = tempfile::tempdir().expect("a folder");
        let (backup, root) = (folder.path().join("backup"), folder.path().join("root"));
        crate::backup(sample.store.data_dir(), &backup, true).expect("a backup");
        let partial = root.join(format!("{RESTORING}{}", Uuid::new_v4()));
        fs::create_dir_all(&partial).expect("folders");
        fs::write(partial.join("membox.db"), "a part").expect("a file");
        let summary = restore(&backup, &root).expect("a restore");
        assert_eq!((summary.records, summary.leftovers), (10, vec![partial.clone()]));
        assert!(partial.join("membox.db").exists());
    }

    #[test]
    fn keys_and_collections_that_are_there_are_not_replaced() {
        let sample = Sample::new(IndexPolicy::Flat);
        let folder = tempfile::tempdir().expect("a folder");
        let (backup, root) = (folder.path().join("backup"), folder.path().join("root"));
        crate::backup(sample.store.data_dir(), &backup, true).expect("a backup");
        fs::write(backup.join("keys.json"), "theirs").expect("a file");
        fs::create_dir_all(&root).expect("a folder");
        fs::write(root.join("keys.json"), "mine").expect("a file");
        restore(&backup, &root).expect_err("a refusal");
        assert_eq!(names(&root), ["keys.json", "membox.lock"]);
    }
}
