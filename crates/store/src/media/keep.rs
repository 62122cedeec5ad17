//! Keeping files of messages, and giving them out.

use super::{file, thumbnail};
use crate::collection::Collection;
use crate::command::Command;
use crate::{Reads, Store, StoreError, now};
use membox_records::FileName;
use std::fs;

/// How long a file may be there before the message that is to have it, in milliseconds.
const EXPECTED_MS: i64 = 600_000;

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
        let (folder, file) = (collection.folder().media(), FileName::new(name)?);
        let path = collection.folder().media_file(&file);
        let until = now() + EXPECTED_MS;
        self.commit(Command::ExpectMedia { collection: collection.id, file, until })?.done()?;
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
        let path = collection.folder().media_file(&FileName::new(name)?);
        let path = if small { thumbnail(&path) } else { path };
        self.registry().with_files(|| file::read(self.sealing(), &collection.tenant, &path))
    }

    /// Writes a thumbnail anew, unless its file is gone.
    pub fn replace_thumbnail(&self, collection: &Collection, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = collection.folder().media_file(&FileName::new(name)?);
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
        let (folder, tenant) = (collection.folder(), &collection.tenant);
        let names = Reads::of(self.registry())?.reader().media_files(collection.id)?;
        let mut sealed = 0;
        for name in names {
            for path in [folder.media_file(&name), thumbnail(&folder.media_file(&name))] {
                let _changing = self.registry().change_media();
                // A recording has no thumbnail, and what nobody has any more may be gone.
                if !path.exists() || file::check(&self.registry().root, &path)? == key {
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
