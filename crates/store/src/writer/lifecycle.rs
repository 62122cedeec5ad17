//! What the writer does to a collection as such: it is created, set, switched to the files of a compaction, and
//! dropped, each in a commit of its own.

use super::{Writer, erasing};
use crate::StoreError;
use crate::collection::{Collection, CollectionFolder, CompactedFiles};
use crate::convert::{metric, row_type};
use crate::registry::Registry;
use membox_api::CollectionSettings;
use membox_records::{AuditEvent, StoredCollection, WriteTransaction};
use membox_vectors::{RowType, TokenFile, VectorFile};
use std::sync::Arc;
use std::time::Instant;

/// Records of a collection that is dropped in one commit.
const DROPPED_AT_ONCE: u64 = 1024;

impl Writer {
    pub(crate) fn create(
        &mut self,
        mut stored: StoredCollection,
        settings: CollectionSettings,
    ) -> Result<(Arc<Collection>, bool), StoreError> {
        self.check_writable()?;
        self.registry.reserve.check()?;
        if let Some(existing) = self.registry.existing(&stored.tenant, &stored.name)? {
            return Ok((existing, false));
        }
        let dimension = settings.dimension.unwrap_or_default();
        stored.settings = serde_json::to_string(&settings).unwrap_or_default();
        let registry = self.registry.clone();
        let sealing = registry.reader()?.sealing().clone();
        let row_type = row_type(settings.vector_type.unwrap_or_default());
        let file = registry.with_files(|| self.create_files(&mut stored, dimension, row_type))?;
        let file = file.compared_by(metric(&settings));
        let collection = Collection::empty(&registry.root, &stored, settings, (file, sealing));
        let collection = Arc::new(collection.searched_on(registry.row_device.clone()));
        registry.add(stored, collection.clone());
        Ok((collection, true))
    }

    /// Creates a collection's files and commits it. Nothing can fail after the commit: what is committed is known
    /// to the box.
    fn create_files(
        &mut self,
        stored: &mut StoredCollection,
        dimension: usize,
        row_type: RowType,
    ) -> Result<VectorFile, StoreError> {
        let mut tx = self.records.begin()?;
        erasing::check_collection(&tx, &stored.tenant, &stored.name)?;
        stored.id = tx.create_collection(stored)?;
        let folder = CollectionFolder::of(&self.registry.root, stored.id);
        // A creation that failed before its commit may have left something under this number.
        let _ = std::fs::remove_dir_all(&folder.0);
        std::fs::create_dir_all(folder.index()).map_err(StoreError::io("create", &folder.0))?;
        let mut file = VectorFile::create(&folder.0.join("new.mbv"), dimension, row_type)?;
        stored.vector_file = file.header().uuid;
        file.rename(&folder.vectors(stored.vector_file))?;
        for entry in [&folder.0, &self.registry.root.join("collections")] {
            membox_vectors::sync_parent(entry).map_err(StoreError::io("fsync the folder of", entry))?;
        }
        tx.set_rows(stored.id, stored.vector_file, 0)?;
        commit(&self.registry, tx)?;
        Ok(file)
    }

    pub(crate) fn drop_collection(
        &mut self,
        collection: &Arc<Collection>,
        only_empty: bool,
        audit: Option<&AuditEvent>,
    ) -> Result<bool, StoreError> {
        self.check_writable()?;
        collection.check_there()?;
        if only_empty && !collection.state().rows.rows().is_empty() {
            return Ok(false);
        }
        let is_whole = self.freeing(|writer| writer.commit_drop(collection, audit))?;
        // Before its name is free: from here on nothing more is written to it.
        collection.set_dropped();
        self.registry.forget(collection);
        let changing = self.registry.change_media();
        if let Err(error) = std::fs::remove_dir_all(collection.folder().0) {
            tracing::warn!(collection = collection.name, %error, "the folder of a dropped collection is left behind");
        }
        drop(changing);
        if !is_whole {
            self.finish_drops([collection.id]);
            self.seek_room();
        }
        Ok(true)
    }

    /// Drops a collection in one commit, or marks it as dropped where it has many records: to delete those at once
    /// needs as much room for the log as they have, and keeps other writes waiting. Says whether it is gone.
    fn commit_drop(&mut self, collection: &Collection, audit: Option<&AuditEvent>) -> Result<bool, StoreError> {
        let at_once = collection.state().rows.rows().len() <= DROPPED_AT_ONCE && !self.registry.reserve.is_spent();
        let mut tx = self.records.begin()?;
        match at_once {
            true => tx.drop_collection(collection.id)?,
            false => tx.mark_dropped(collection.id)?,
        }
        if let Some(event) = audit {
            tx.audit(event)?;
        }
        commit(&self.registry, tx)?;
        Ok(at_once)
    }

    pub(crate) fn set_settings(
        &mut self,
        collection: &Arc<Collection>,
        from: &CollectionSettings,
        settings: CollectionSettings,
    ) -> Result<bool, StoreError> {
        self.check_writable()?;
        self.registry.reserve.check()?;
        collection.check_writable()?;
        if collection.settings() != *from {
            return Ok(false);
        }
        let mut tx = self.records.begin()?;
        erasing::check_collection(&tx, &collection.tenant, &collection.name)?;
        tx.set_settings(collection.id, &serde_json::to_string(&settings).unwrap_or_default())?;
        commit(&self.registry, tx)?;
        collection.set_settings(settings);
        self.registry.maintain(collection);
        Ok(true)
    }

    /// Adds what was written since to the files of a compaction, and switches to it in one commit, which writes no
    /// record.
    pub(crate) fn switch(&mut self, collection: &Arc<Collection>, mut files: CompactedFiles) -> Result<(), StoreError> {
        self.check_writable()?;
        collection.check_writable()?;
        let begun = Instant::now();
        let (view, rows) = collection.state().current();
        if files.of != view.header().uuid {
            return Err(StoreError::Busy(collection.name.clone()));
        }
        let (folder, uuid) = (collection.folder(), files.file.header().uuid);
        let caught_up = files
            .catch_up(&view, rows.rows())
            .and_then(|()| files.copy_tokens(collection))
            .and_then(|()| Ok(files.file.rename(&folder.vectors(uuid))?));
        let switched = caught_up.and_then(|()| {
            let state = collection.state().compacted(&mut files);
            let mut tx = self.records.begin()?;
            tx.compact(&state.slots, state.view.rows())?;
            commit(&self.registry, tx).map(|()| state)
        });
        let (file, mut tokens, state) = match switched {
            Ok(state) => (files.file, files.tokens, state),
            Err(error) => {
                // Once the box is read-only, it is unknown which file the records name.
                if self.registry.read_only().is_none() {
                    let _ = files.file.remove();
                    folder.discard_next();
                }
                return Err(error);
            }
        };
        let count = state.view.rows();
        if let Some(Err(error)) = tokens.as_mut().map(|tokens| tokens.rename(&folder.tokens(uuid))) {
            tracing::warn!(collection = collection.name, %error, "vectors of tokens of a compaction are lost");
            tokens = None;
        }
        let (old, old_tokens) = collection.switch(file, tokens, state);
        folder.settle_next(uuid);
        if let Err(error) = old.remove().and_then(|()| old_tokens.map_or(Ok(()), TokenFile::remove)) {
            tracing::warn!(collection = collection.name, %error, "the vector file from before a compaction is left \
                behind");
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
pub(super) fn commit(registry: &Registry, tx: WriteTransaction) -> Result<(), StoreError> {
    let committed = tx.commit().map_err(StoreError::from);
    if let Err(error) = &committed
        && !matches!(error, StoreError::DiskFull)
    {
        registry.set_read_only(error.to_string());
    }
    committed
}
