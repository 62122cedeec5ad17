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

use crate::collection::{Collection, CollectionFolder};
use crate::command::Command;
use crate::registry::Registry;
use crate::{Reads, Store, StoreError, now};
use membox_records::WriteTransaction;
use std::fs;
use std::path::{Path, PathBuf};

/// How long a file may be there before the message that is to have it, in milliseconds.
const EXPECTED_MS: i64 = 600_000;

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

impl Store {
    /// Keeps a file for a message that is about to be written. When it returns that is durable. One that is there
    /// by that name is the same.
    pub fn keep_media(
        &self,
        collection: &Collection,
        name: &str,
        bytes: &[u8],
        small: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let (registry, tenant) = (self.registry(), &collection.tenant);
        let folder = collection.folder().media();
        let path = folder.join(name);
        let until = now() + EXPECTED_MS;
        self.commit(Command::ExpectMedia { collection: collection.id, file: name.to_owned(), until })?.done()?;
        let _changing = registry.change_media();
        // Its folder goes under the same lock: nothing is written into it after that.
        collection.check_writable()?;
        if path.exists() {
            return Ok(());
        }
        if !folder.exists() {
            fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
            membox_vectors::sync_parent(&folder).map_err(StoreError::io("fsync the folder of", &folder))?;
        }
        if let Some(bytes) = small {
            registry.with_files(|| file::write(self.sealing(), tenant, &thumbnail(&path), bytes))?;
        }
        registry.with_files(|| file::write(self.sealing(), tenant, &path, bytes))
    }

    /// A file's bytes, or those of its thumbnail.
    pub fn read_media(&self, collection: &Collection, name: &str, small: bool) -> Result<Vec<u8>, StoreError> {
        let path = collection.folder().media().join(name);
        let path = if small { thumbnail(&path) } else { path };
        self.registry().with_files(|| file::read(self.sealing(), &collection.tenant, &path))
    }

    /// Writes a thumbnail anew, unless its file is gone.
    pub fn replace_thumbnail(&self, collection: &Collection, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = collection.folder().media().join(name);
        let _changing = self.registry().change_media();
        if path.exists() {
            file::write(self.sealing(), &collection.tenant, &thumbnail(&path), bytes)?;
        }
        Ok(())
    }

    /// Removes files that no message has any more.
    pub fn remove_unused_media(&self) -> Result<usize, StoreError> {
        self.commit(Command::RemoveUnusedMedia)?.count()
    }

    /// Seals the files of a collection with its tenant's key of this number, where they are not. Gives how many.
    pub fn reseal_media(&self, collection: &Collection, key: u32) -> Result<usize, StoreError> {
        let (folder, tenant) = (collection.folder().media(), &collection.tenant);
        let names = Reads::of(self.registry())?.reader().media_files(collection.id)?;
        let mut sealed = 0;
        for name in names {
            for path in [folder.join(&name), thumbnail(&folder.join(&name))] {
                let _changing = self.registry().change_media();
                // A recording has no thumbnail, and what nobody has any more may be gone.
                if !path.exists() || file::check(&path)? == key {
                    continue;
                }
                let bytes = file::read(self.sealing(), tenant, &path)?;
                file::write(self.sealing(), tenant, &path, &bytes)?;
                sealed += 1;
            }
        }
        Ok(sealed)
    }
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
