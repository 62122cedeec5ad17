//! Files of messages: images and recordings, kept as they were given.
//!
//! ```text
//! data folder/collections/N/media/NAME          the bytes, once however many messages have them
//!                                 NAME.small    of an image, a thumbnail
//! ```
//!
//! A file is named in the database before it is written, durable before its message is acknowledged, and removed
//! once no message has it. A thumbnail can be made of its image again, and is where it is damaged.

mod file;
mod keep;

use crate::collection::CollectionFolder;
use crate::registry::Registry;
use crate::{StoreError, now};
use membox_records::WriteTransaction;
use std::fs;
use std::path::{Path, PathBuf};

fn thumbnail(path: &Path) -> PathBuf {
    path.with_extension("small")
}

/// Removes a file, and what was made of it.
fn remove(path: &Path) -> std::io::Result<()> {
    for path in [thumbnail(path), file::temporary(path), path.to_owned()] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Removes files that no message has, on the writer's thread: none can come to have one meanwhile.
pub(crate) fn remove_unused(tx: &mut WriteTransaction, registry: &Registry) -> Result<usize, StoreError> {
    let _changing = registry.change_media();
    let folder = |collection| CollectionFolder::of(&registry.root, collection).media();
    let remove = |collection, file: &str| remove(&folder(collection).join(file));
    Ok(tx.remove_unused_media(now(), remove)?)
}

/// Copies a file, and what was made of it, to another data folder, and gives how many bytes these have.
pub(crate) fn copy(from: &CollectionFolder, to: &CollectionFolder, name: &str) -> Result<u64, StoreError> {
    let (from, to) = (from.media().join(name), to.media());
    fs::create_dir_all(&to).map_err(StoreError::io("create", &to))?;
    let to = to.join(name);
    let copy =
        |from: &Path, to: &Path| fs::copy(from, to).and_then(|bytes| fs::File::open(to)?.sync_all().map(|()| bytes));
    let mut bytes = copy(&from, &to).map_err(StoreError::io("copy to", &to))?;
    if thumbnail(&from).exists() {
        bytes += copy(&thumbnail(&from), &thumbnail(&to)).map_err(StoreError::io("copy to", &to))?;
    }
    Ok(bytes)
}

/// What is wrong with the files that messages of a collection have.
pub(crate) fn damaged(folder: &CollectionFolder, files: &[String]) -> Vec<String> {
    let folder = folder.media();
    files.iter().filter_map(|name| file::check(&folder.join(name)).err().map(|error| error.to_string())).collect()
}

/// The thumbnails of a collection's images that are damaged, and what is wrong with each.
pub(crate) fn damaged_thumbnails(folder: &CollectionFolder, files: &[String]) -> Vec<(PathBuf, StoreError)> {
    let folder = folder.media();
    let thumbnails = files.iter().map(|name| thumbnail(&folder.join(name))).filter(|path| path.exists());
    thumbnails.filter_map(|path| file::check(&path).err().map(|error| (path, error))).collect()
}
