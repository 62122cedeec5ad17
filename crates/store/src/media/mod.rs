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
use membox_records::{FileName, WriteTransaction};
use membox_vectors::open_beneath;
use std::fs::{self, File};
use std::io;
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
    let remove =
        |collection, file: &FileName| remove(&CollectionFolder::of(&registry.root, collection).media_file(file));
    Ok(tx.remove_unused_media(now(), remove)?)
}

/// Copies a file, and what was made of it, from one data folder to another, and gives how many bytes these have.
pub(crate) fn copy(from: &Path, to: &Path, collection: i64, name: &FileName) -> Result<u64, StoreError> {
    let of = |root| CollectionFolder::of(root, collection);
    let folder = of(to).media();
    fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
    let (source, target) = (of(from).media_file(name), of(to).media_file(name));
    let copy = |source: &Path, target: &Path| {
        let mut opened = open_beneath(from, source).map_err(StoreError::io("copy", source))?;
        let written = File::create(target).and_then(|mut file| {
            let bytes = io::copy(&mut opened, &mut file)?;
            file.sync_all().map(|()| bytes)
        });
        written.map_err(StoreError::io("copy to", target))
    };
    let bytes = copy(&source, &target)?;
    match copy(&thumbnail(&source), &thumbnail(&target)) {
        // A recording has none.
        Err(error) if error.is_missing_file() => Ok(bytes),
        copied => Ok(bytes + copied?),
    }
}

/// What is wrong with the files that messages of a collection have.
pub(crate) fn damaged(root: &Path, collection: i64, files: &[FileName]) -> Vec<String> {
    let folder = CollectionFolder::of(root, collection);
    let check = |name| file::check(root, &folder.media_file(name));
    files.iter().filter_map(|name| check(name).err().map(|error| error.to_string())).collect()
}

/// The thumbnails of a collection's images that are damaged, and what is wrong with each.
pub(crate) fn damaged_thumbnails(root: &Path, collection: i64, files: &[FileName]) -> Vec<(PathBuf, StoreError)> {
    let folder = CollectionFolder::of(root, collection);
    let thumbnails = files.iter().map(|name| thumbnail(&folder.media_file(name)));
    let damaged = thumbnails.filter_map(|path| file::check(root, &path).err().map(|error| (path, error)));
    damaged.filter(|(_, error)| !error.is_missing_file()).collect()
}
