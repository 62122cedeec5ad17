//! Room on the disk for what frees room.
//!
//! To delete a record SQLite has to write: the pages that change go to the write-ahead log first. On a disk without a
//! free byte nothing could be deleted, and so nothing would ever free it. So the data folder holds a file that keeps
//! some MiB. When a deletion meets the full disk, the file goes, and the deletion is tried again in the room that is
//! left. Until the file is back, only what frees room is written; what adds is refused as on a full disk. RocksDB
//! (`SstFileManager`) and etcd (the space quota with its alarm) hold back room for the same end.
//!
//! Its blocks are allocated and not only its length: a file with holes keeps nothing.

use crate::StoreError;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that are kept: a deletion writes about as many as it deletes, of which a request has a few MiB.
pub(crate) const RESERVE_BYTES: u64 = 16 << 20;
/// Bytes from which on the reserve counts as whole. What is deleted from the database makes room in it, and not on the
/// disk; a box must not wait for the last few pages.
const MIN_RESERVE_BYTES: u64 = RESERVE_BYTES / 4 * 3;
/// How often it is said that the disk is full, at most.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// The reserve of one data folder.
pub(crate) struct Reserve {
    path: PathBuf,
    is_spent: AtomicBool,
    /// Held while the file is made or removed; when it was last said that the disk is full.
    changing: Mutex<Option<Instant>>,
}

impl Reserve {
    /// That of a data folder, which is filled as far as there is room.
    pub fn open(root: &Path) -> Self {
        let reserve = Self { path: root.join("reserve"), is_spent: AtomicBool::new(true), changing: Mutex::default() };
        if !reserve.fill() {
            tracing::warn!(
                path = %reserve.path.display(),
                "the disk has no room for {} MiB in reserve: until it has, deletions are taken and new data is refused",
                RESERVE_BYTES >> 20
            );
        }
        reserve
    }

    /// Whether it is gone, so that nothing but what frees room may be written.
    pub fn is_spent(&self) -> bool {
        self.is_spent.load(Ordering::Acquire)
    }

    /// An error while it is gone.
    pub fn check(&self) -> Result<(), StoreError> {
        if self.is_spent() { Err(StoreError::DiskFull) } else { Ok(()) }
    }

    /// Gives its room to what frees more.
    pub fn release(&self) {
        let mut said = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_spent.store(true, Ordering::Release);
        if said.is_none_or(|said| said.elapsed() > SAID_EVERY) {
            *said = Some(Instant::now());
            tracing::warn!("the disk is full: deletions use its reserve, and new data is refused until there is room");
        }
        remove(&self.path);
    }

    /// Makes it whole again if there is room, and says whether it is.
    pub fn fill(&self) -> bool {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = allocated(&self.path);
        let is_whole = kept == RESERVE_BYTES || self.make(kept) >= MIN_RESERVE_BYTES;
        self.is_spent.store(!is_whole, Ordering::Release);
        is_whole
    }

    /// Makes the file as large as it is to be, or as there is room for; gives its bytes.
    fn make(&self, kept: u64) -> u64 {
        // Where that cannot be said, the file system says so when the file is made.
        let free = self.path.parent().and_then(|root| statvfs(root).ok());
        let free = free.map_or(RESERVE_BYTES, |found| found.f_bavail.saturating_mul(found.f_frsize));
        let wanted = RESERVE_BYTES.min(kept + free);
        if wanted <= kept || wanted < MIN_RESERVE_BYTES {
            return kept;
        }
        remove(&self.path);
        match allocate(&self.path, wanted) {
            Ok(()) => wanted,
            Err(error) => {
                remove(&self.path);
                if error.kind() == ErrorKind::StorageFull {
                    return 0;
                }
                // A limit on files or the like: the box is no worse than without a reserve.
                tracing::warn!(path = %self.path.display(), %error, "the reserve of the disk cannot be made");
                RESERVE_BYTES
            }
        }
    }
}

/// Bytes that a file really has on the disk, up to its length.
fn allocated(path: &Path) -> u64 {
    const BLOCK: u64 = 512;
    fs::symlink_metadata(path)
        .map_or(0, |found| if found.is_file() { found.len().min(found.blocks() * BLOCK) } else { 0 })
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "the reserve of the disk cannot be removed");
        }
        _ => {}
    }
}

fn allocate(path: &Path, bytes: u64) -> std::io::Result<()> {
    let mut file = File::options().create_new(true).write(true).mode(0o600).open(path)?;
    match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_noise(&mut file, bytes),
        allocated => Ok(allocated?),
    }
}

/// Bytes that a file system cannot store in fewer blocks, as it can zeros.
fn write_noise(file: &mut File, bytes: u64) -> std::io::Result<()> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut buffer = vec![0; 1 << 16];
    let mut left = bytes as usize;
    while left > 0 {
        for word in buffer.chunks_mut(8) {
            // Xorshift, by Marsaglia.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let some = left.min(buffer.len());
        file.write_all(&buffer[..some])?;
        left -= some;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_its_blocks_is_its_owners_alone_and_comes_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let reserve = Reserve::open(folder.path());
        let file = folder.path().join("reserve");
        let found = fs::metadata(&file).expect("the file");
        assert!(!reserve.is_spent() && allocated(&file) == RESERVE_BYTES, "{found:?}");
        assert_eq!(found.mode() & 0o777, 0o600);
        reserve.release();
        assert!(reserve.is_spent() && !file.exists());
        assert!(matches!(reserve.check(), Err(StoreError::DiskFull)));
        assert!(reserve.fill() && reserve.check().is_ok());
        assert_eq!(allocated(&file), RESERVE_BYTES);
    }

    #[test]
    fn a_file_with_holes_in_its_place_is_made_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("reserve");
        File::create(&file).and_then(|made| made.set_len(RESERVE_BYTES)).expect("a file");
        assert!(!Reserve::open(folder.path()).is_spent());
        assert_eq!(allocated(&file), RESERVE_BYTES);
    }

    #[test]
    fn noise_has_its_blocks_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("noise");
        write_noise(&mut File::create(&path).expect("a file"), 100_001).expect("a write");
        let found = fs::metadata(&path).expect("the file");
        assert!(found.len() == 100_001 && found.blocks() * 512 >= 100_001, "{found:?}");
    }
}
