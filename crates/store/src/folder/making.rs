//! Folders that have another name until they are whole. Nothing is ever removed but what was made here.

use crate::StoreError;
use std::fs;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// A new folder under a name that nobody else has. It is removed when this is dropped, unless it was moved or kept.
pub(super) struct FolderInMaking {
    path: PathBuf,
    is_kept: bool,
}

impl FolderInMaking {
    /// Makes `BEFORE` + a UUID + `AFTER` in `parent`, which is made where it is missing.
    pub fn make(parent: &Path, before: &str, after: &str) -> Result<Self, StoreError> {
        fs::create_dir_all(parent).map_err(StoreError::io("create", parent))?;
        let path = parent.join(format!("{before}{}{after}", Uuid::new_v4()));
        fs::create_dir(&path).map_err(StoreError::io("create", &path))?;
        Ok(Self { path, is_kept: false })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name, durably, if nobody has that.
    pub fn move_to(mut self, target: &Path) -> Result<(), StoreError> {
        membox_vectors::rename_to_new(&self.path, target).map_err(StoreError::io("rename to", target))?;
        self.is_kept = true;
        Ok(())
    }

    /// Leaves it where it is.
    pub fn keep(mut self) -> PathBuf {
        self.is_kept = true;
        std::mem::take(&mut self.path)
    }
}

impl Drop for FolderInMaking {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Folders in `parent` that were made by these names and are still there: what was interrupted has left them, or is
/// under way.
pub(super) fn left_behind(parent: &Path, before: &str, after: &str) -> Vec<PathBuf> {
    let is_one = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let uuid = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        uuid.is_some_and(|uuid| uuid.len() == 36 && Uuid::try_parse(uuid).is_ok())
    };
    let mut found: Vec<PathBuf> =
        fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path()).filter(is_one).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gets_its_place_if_that_is_free_and_is_gone_otherwise() {
        let folder = tempfile::tempdir().expect("a folder");
        let names = || left_behind(folder.path(), "x.", ".partial");
        let making = FolderInMaking::make(folder.path(), "x.", ".partial").expect("a folder");
        assert_eq!(names(), [making.path()]);
        making.move_to(&folder.path().join("x")).expect("its place");
        let late = FolderInMaking::make(folder.path(), "x.", ".partial").expect("a folder");
        // Not even an empty folder is replaced.
        assert!(late.move_to(&folder.path().join("x")).is_err());
        assert!(names().is_empty());
        fs::create_dir(folder.path().join("x.partial")).expect("somebody's folder");
        fs::create_dir(folder.path().join("x.monday.partial")).expect("somebody's folder");
        assert!(names().is_empty());
        let kept = FolderInMaking::make(folder.path(), "x.", ".partial").expect("a folder").keep();
        assert_eq!(names(), [kept]);
    }
}
