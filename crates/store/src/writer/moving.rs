//! Switches a collection to the vectors of another model, in one commit.

use super::Writer;
use super::lifecycle::commit;
use crate::StoreError;
use crate::collection::{Collection, MovedFiles, MovedRecord};
use membox_api::CollectionSettings;
use membox_records::{Record, Slots, StoredRecord};
use roaring::RoaringBitmap;
use std::sync::Arc;
use std::time::Instant;

impl Writer {
    /// Gives the files back where a record of the collection is not in them: it was written since.
    pub(crate) fn move_to_model(
        &mut self,
        collection: &Arc<Collection>,
        mut files: Box<MovedFiles>,
    ) -> Result<Option<Box<MovedFiles>>, StoreError> {
        self.check_writable()?;
        self.registry.reserve.check()?;
        collection.check_writable()?;
        let begun = Instant::now();
        let (slots, current, rows) = {
            let state = collection.state();
            (state.slots.clone(), state.rows.clone(), state.view.rows())
        };
        if !(current.rows() - &files.seen).is_empty() {
            return Ok(Some(files));
        }
        let is_current = |record: &MovedRecord| slots.row(record.slot).is_some_and(|row| current.contains(row));
        let (moved, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut files.records).into_iter().partition(is_current);
        // Nothing of what was deleted meanwhile stays.
        files.file.erase(gone.iter().flat_map(|record| record.row..=record.row + record.further))?;
        let uuid = files.file.header().uuid;
        files.file.rename(&collection.folder().vectors(uuid))?;
        let new = slots.compacted(uuid, &RoaringBitmap::new(), rows);
        let dimension = files.file.header().dimension;
        let model = Some(files.model.clone());
        let settings = CollectionSettings { model, dimension: Some(dimension), ..collection.settings() };
        if let Err(error) = self.commit_move(collection.id, &new, (moved, files.file.rows()), &settings) {
            // Once the box is read-only, it is unknown which file the records name.
            if self.registry.read_only().is_none() {
                let _ = files.file.remove();
            }
            return Err(error);
        }
        // Who has it as it was finds it gone, and the next one opens it as it is now.
        collection.set_moved();
        self.registry.close(collection);
        tracing::info!(
            collection = collection.name,
            model = settings.model,
            dimension,
            writes_stopped_ms = begun.elapsed().as_millis() as u64,
            "moved to another model"
        );
        Ok(None)
    }

    fn commit_move(
        &mut self,
        collection: i64,
        slots: &Slots,
        (moved, rows): (Vec<MovedRecord>, u32),
        settings: &CollectionSettings,
    ) -> Result<(), StoreError> {
        let mut tx = self.records.begin()?;
        for MovedRecord { seq, version, slot, row, checks, .. } in moved {
            let (row_crc, windows, record) = (0, Vec::new(), Record::default());
            let stored = StoredRecord { seq, version, slot, row_crc, windows, record };
            tx.move_row(slots, &stored, row, checks)?;
        }
        tx.compact(slots, rows)?;
        tx.set_settings(collection, &serde_json::to_string(settings).unwrap_or_default())?;
        commit(&self.registry, tx)
    }
}
