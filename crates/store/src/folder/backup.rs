//! A consistent copy of a data folder, also of one that a running box has open.
//!
//! The database is copied first, as one consistent moment. It says how many rows of each vector file are committed.
//! Committed rows are never changed but to be overwritten when their record is gone, and that waits while the lock
//! file is held here, so they can be copied without stopping anything. What is derived is not copied: it is built
//! anew.

use super::making::{FolderInMaking, left_behind};
use super::sealing::keys_file;
use crate::StoreError;
use crate::collection::{CollectionFolder, read_settings};
use crate::media;
use membox_records::keys::keys;
use membox_records::{Reader, RecordsError, Sealing, StoredCollection};
use membox_vectors::{Header, TokenFile, VectorsError, open_beneath};
use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// End of the name of a backup that is not whole.
const PARTIAL: &str = ".partial";

/// What a backup holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupSummary {
    /// Collections.
    pub collections: usize,
    /// Records.
    pub records: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Folders that another one has left that was interrupted, unless it is under way.
    pub leftovers: Vec<PathBuf>,
}

/// The file whose lock keeps dead rows from being overwritten while a backup copies them.
pub(crate) fn lock_file(root: &Path) -> Result<File, StoreError> {
    let path = root.join("backup.lock");
    File::options().create(true).truncate(false).write(true).open(&path).map_err(StoreError::io("open", &path))
}

/// Copies the data folder `root` to the new folder `target`, with the wrapped keys of its tenants or without.
pub fn backup(root: &Path, target: &Path, with_keys: bool) -> Result<BackupSummary, StoreError> {
    refuse_existing(target)?;
    // Held until the end.
    let lock = lock_file(root)?;
    flock(&lock, FlockOperation::LockShared).map_err(|e| StoreError::io("lock", root)(e.into()))?;
    // Beside its place, under a name that nobody else has.
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let before = format!("{name}.");
    let leftovers = left_behind(parent, &before, PARTIAL);
    let making = FolderInMaking::make(parent, &before, PARTIAL)?;
    let summary = copy(root, making.path(), with_keys)?;
    making.move_to(target)?;
    Ok(BackupSummary { leftovers, ..summary })
}

/// Copies a data folder to a new one that is empty, the keys of its tenants too or not.
pub(super) fn copy(root: &Path, target: &Path, with_keys: bool) -> Result<BackupSummary, StoreError> {
    let db = target.join("membox.db");
    fs::create_dir_all(target.join("collections")).map_err(StoreError::io("create", target))?;
    // A compaction may take away a file between the two steps, and a rotation a key; then the newer state is copied
    // instead.
    for attempt in 0.. {
        let _ = fs::remove_file(&db);
        let keys = key_numbers(root)?;
        // SQLite would follow a link.
        let source = root.join("membox.db");
        open_beneath(root, &source).map_err(StoreError::io("open", &source))?;
        Reader::open(&root.join("membox.db"), Sealing::default())?.copy_to(&db)?;
        match copy_files(root, target) {
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound && attempt < 3 => {}
            result => {
                // After what they have sealed: a key is in its file first.
                if with_keys {
                    copy_keys(root, target)?;
                }
                if attempt < 3 && !keys.is_subset(&key_numbers(root)?) {
                    continue;
                }
                return result;
            }
        }
    }
    Err(StoreError::Stopped)
}

fn key_numbers(root: &Path) -> Result<BTreeSet<u32>, StoreError> {
    let keys = keys(&keys_file(root)).map_err(RecordsError::from)?;
    Ok(keys.into_iter().map(|key| key.number).collect())
}

fn copy_keys(root: &Path, target: &Path) -> Result<(), StoreError> {
    let (from, to) = (keys_file(root), keys_file(target));
    let copied = open_beneath(root, &from).and_then(|mut source| {
        let mut copy = File::create(&to)?;
        io::copy(&mut source, &mut copy)?;
        copy.sync_all()
    });
    match copied {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        copied => copied.map_err(StoreError::io("copy to", &to)),
    }
}

fn copy_files(root: &Path, target: &Path) -> Result<BackupSummary, StoreError> {
    let reader = Reader::open(&target.join("membox.db"), Sealing::default())?;
    let mut summary = BackupSummary::default();
    if let Some(damage) = reader.damaged_collections()?.pop() {
        return Err(RecordsError::Damaged(damage).into());
    }
    for stored in reader.collections()? {
        let (from, to) = (CollectionFolder::of(root, stored.id), CollectionFolder::of(target, stored.id));
        fs::create_dir_all(&to.0).map_err(StoreError::io("create", &to.0))?;
        if read_settings(&stored)?.has_vectors() {
            let (from, to) = (from.vectors(stored.vector_file), to.vectors(stored.vector_file));
            summary.bytes += copy_vectors(root, &from, &to, &stored)?;
            summary.bytes += copy_tokens(root, &from, &to, &stored)?;
        }
        for name in reader.media_files(stored.id)? {
            summary.bytes += media::copy(root, target, stored.id, &name)?;
        }
        summary.collections += 1;
        summary.records += reader.count(stored.id)?;
    }
    let db = target.join("membox.db");
    summary.bytes += fs::metadata(&db).map_err(StoreError::io("read", &db))?.len();
    File::open(&db).and_then(|f| f.sync_all()).map_err(StoreError::io("fsync", &db))?;
    sync_folders(target)?;
    Ok(summary)
}

/// Copies the committed rows of a vector file.
fn copy_vectors(root: &Path, from: &Path, to: &Path, stored: &StoredCollection) -> Result<u64, StoreError> {
    let source = open_beneath(root, from).map_err(StoreError::io("open", from))?;
    let length = Header::read(from, &source)?.row_offset(u64::from(stored.rows));
    let mut copy = File::create(to).map_err(StoreError::io("create", to))?;
    let written = io::copy(&mut source.take(length), &mut copy).and_then(|n| copy.sync_all().map(|()| n));
    written.map_err(StoreError::io("copy to", to))
}

/// Copies the vectors of tokens beside a vector file, if there are any that can be read. They are written meanwhile,
/// but not overwritten, and what is not whole in the copy is missing there.
fn copy_tokens(root: &Path, from: &Path, to: &Path, stored: &StoredCollection) -> Result<u64, StoreError> {
    let [entries, codes] = ["mbe", "mbt"].map(|extension| open_beneath(root, &from.with_extension(extension)));
    let (entries, codes) = match (entries, codes) {
        (Ok(entries), Ok(codes)) => (entries, codes),
        // A compaction may have switched to others, which are not asked for: that would be another moment.
        (Err(error), _) | (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        (Err(error), _) | (_, Err(error)) => return Err(StoreError::io("open", from)(error)),
    };
    let to = to.with_extension("mbe");
    match TokenFile::copy((&entries, &codes), stored.vector_file, stored.rows, &to) {
        Err(error @ VectorsError::Damaged { .. }) => {
            tracing::warn!(collection = stored.name, %error, "vectors of tokens are not copied");
            Ok(0)
        }
        copied => Ok(copied?),
    }
}

/// Makes the entries of a folder durable, and of those in it.
fn sync_folders(folder: &Path) -> Result<(), StoreError> {
    let io = StoreError::io("fsync", folder);
    let below = || -> io::Result<Vec<PathBuf>> {
        File::open(folder)?.sync_all()?;
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    };
    below().map_err(io)?.iter().filter(|path| path.is_dir()).try_for_each(|path| sync_folders(path))
}

pub(super) fn refuse_existing(path: &Path) -> Result<(), StoreError> {
    match path.symlink_metadata().is_ok() {
        true => Err(StoreError::io("overwrite", path)(io::ErrorKind::AlreadyExists.into())),
        false => Ok(()),
    }
}
