//! One process has a data folder open.

use crate::StoreError;
use std::fs::File;
use std::path::Path;

/// Takes the lock of a data folder, or says who has it.
pub(crate) fn lock(root: &Path) -> Result<File, StoreError> {
    let path = root.join("membox.lock");
    let file =
        File::options().create(true).truncate(false).write(true).open(&path).map_err(StoreError::io("open", &path))?;
    take_lock(file, root)
}

/// As [`lock`], for who leaves the folder as it is: `None` where no box has ever had it open.
pub(super) fn lock_unchanged(root: &Path) -> Result<Option<File>, StoreError> {
    let path = root.join("membox.lock");
    match File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        opened => take_lock(opened.map_err(StoreError::io("open", &path))?, root).map(Some),
    }
}

fn take_lock(file: File, root: &Path) -> Result<File, StoreError> {
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::Locked(root.to_owned())),
        Err(error) => Err(StoreError::io("lock", root)(error.into())),
    }
}
