//! What the writer does to a collection as such: it is created, set, switched to the files of a compaction, and dropped, each in a commit of its own.

use crate::MemoryError;
use crate::collection::{Collection, Folder};
use crate::compaction::{Generation, discard, settle_next};
use crate::convert::row_type;
use crate::shared::Shared;
use crate::writer::Writer;
use membox_api::CollectionSettings;
use membox_records::{AuditEvent, Group, StoredCollection};
use membox_vectors::{RowType, VectorFile};
use std::sync::Arc;
use std::time::Instant;

impl Writer {
    pub(crate) fn create(
        &mut self,
        mut stored: StoredCollection,
        settings: CollectionSettings,
    ) -> Result<(Arc<Collection>, bool), MemoryError> {
        self.check_writable()?;
        if let Some(existing) = self.shared.existing(&stored.tenant, &stored.name)? {
            return Ok((existing, false));
        }
        let dimension = settings.dimension.ok_or(MemoryError::NoModel)?;
        stored.settings = serde_json::to_string(&settings).unwrap_or_default();
        let shared = self.shared.clone();
        let file = shared.with_files(|| self.create_files(&mut stored, dimension, row_type(settings.vector_type)))?;
        let collection = Collection::empty(&shared.root, &stored, settings, file);
        let collection = Arc::new(collection.searched_on(shared.row_device.clone()));
        shared.add(stored, collection.clone());
        Ok((collection, true))
    }

    /// Creates a collection's files and commits it. Nothing can fail after the commit: what is committed is known to the box.
    fn create_files(
        &mut self,
        stored: &mut StoredCollection,
        dimension: usize,
        row_type: RowType,
    ) -> Result<VectorFile, MemoryError> {
        let mut group = self.store.begin()?;
        stored.id = group.create_collection(stored)?;
        let folder = Folder::of(&self.shared.root, stored.id);
        // A creation that failed before its commit may have left something under this number.
        let _ = std::fs::remove_dir_all(&folder.0);
        std::fs::create_dir_all(folder.index()).map_err(MemoryError::io("create", &folder.0))?;
        let mut file = VectorFile::create(&folder.0.join("new.mbv"), dimension, row_type)?;
        stored.vector_file = file.header().uuid;
        file.rename(&folder.vectors(stored.vector_file))?;
        for entry in [&folder.0, &self.shared.root.join("collections")] {
            membox_vectors::sync_parent(entry).map_err(MemoryError::io("fsync the folder of", entry))?;
        }
        group.set_rows(stored.id, stored.vector_file, 0)?;
        commit(&self.shared, group)?;
        Ok(file)
    }

    pub(crate) fn drop_collection(
        &mut self,
        collection: &Arc<Collection>,
        only_empty: bool,
        audit: Option<&AuditEvent>,
    ) -> Result<bool, MemoryError> {
        self.check_writable()?;
        collection.check_there()?;
        if only_empty && !collection.live().rows.rows().is_empty() {
            return Ok(false);
        }
        let mut group = self.store.begin()?;
        group.drop_collection(collection.id)?;
        if let Some(event) = audit {
            group.audit(event)?;
        }
        commit(&self.shared, group)?;
        // Before its name is free: from here on nothing more is written to it.
        collection.set_dropped();
        self.shared.forget(collection);
        let _changing = self.shared.change_media();
        if let Err(error) = std::fs::remove_dir_all(collection.folder().0) {
            tracing::warn!(collection = collection.name, %error, "the folder of a dropped collection is left behind");
        }
        Ok(true)
    }

    pub(crate) fn set_settings(
        &mut self,
        collection: &Arc<Collection>,
        from: &CollectionSettings,
        settings: CollectionSettings,
    ) -> Result<bool, MemoryError> {
        self.check_writable()?;
        collection.check_writable()?;
        if collection.settings() != *from {
            return Ok(false);
        }
        let mut group = self.store.begin()?;
        group.set_settings(collection.id, &serde_json::to_string(&settings).unwrap_or_default())?;
        commit(&self.shared, group)?;
        collection.set_settings(settings);
        self.shared.maintain(collection);
        Ok(true)
    }

    /// Adds what was written since to a new generation of a collection's files, and switches to it in one commit, which writes no record.
    pub(crate) fn switch(
        &mut self,
        collection: &Arc<Collection>,
        mut generation: Generation,
    ) -> Result<(), MemoryError> {
        self.check_writable()?;
        collection.check_writable()?;
        let begun = Instant::now();
        let (view, rows) = collection.live().current();
        if generation.of != view.header().uuid {
            return Err(MemoryError::Busy(collection.name.clone()));
        }
        let (folder, uuid) = (collection.folder(), generation.file.header().uuid);
        let caught_up =
            generation.catch_up(&view, rows.rows()).and_then(|()| Ok(generation.file.rename(&folder.vectors(uuid))?));
        let switched = caught_up.and_then(|()| {
            let live = collection.live().compacted(&mut generation);
            let mut group = self.store.begin()?;
            group.compact(&live.slots, live.view.rows())?;
            commit(&self.shared, group).map(|()| live)
        });
        let (file, live) = match switched {
            Ok(live) => (generation.file, live),
            Err(error) => {
                // Once the box is read-only, it is unknown which file the records name.
                if self.shared.read_only().is_none() {
                    let _ = generation.file.remove();
                    discard(&folder);
                }
                return Err(error);
            }
        };
        let count = live.view.rows();
        let old = collection.switch(file, live);
        settle_next(&folder, uuid);
        if let Err(error) = old.remove() {
            tracing::warn!(collection = collection.name, %error, "the vector file from before a compaction is left behind");
        }
        tracing::info!(
            collection = collection.name,
            rows = count,
            writes_stopped_ms = begun.elapsed().as_millis() as u64,
            "compacted"
        );
        Ok(())
    }
}

/// Commits. When that fails for another reason than a full disk, what is on it is unknown, and nothing more is written.
fn commit(shared: &Shared, group: Group) -> Result<(), MemoryError> {
    let committed = group.commit().map_err(MemoryError::from);
    if let Err(error) = &committed
        && !matches!(error, MemoryError::DiskFull)
    {
        shared.set_read_only(error.to_string());
    }
    committed
}
