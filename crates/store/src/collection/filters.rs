//! What filters are answered from: built by the first filter, kept in step from then on.

use crate::{Collection, StoreError};
use membox_records::{FieldIndex, Reader};
use std::sync::{Arc, PoisonError};

impl Collection {
    /// Makes sure that filters can be answered, from now on: the first one reads every record once, while others
    /// write and recall.
    pub(crate) fn prepare_filters(&self, reader: &Reader) -> Result<(), StoreError> {
        if self.state().fields.is_some() {
            return Ok(());
        }
        let _preparing = self.preparing_filters.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let (slots, end) = {
                let state = self.state();
                if state.fields.is_some() {
                    return Ok(());
                }
                (state.slots.clone(), state.view.rows())
            };
            let mut fields = FieldIndex::default();
            // What is no longer current when it is read stays out of the answers: they are cut down to the current
            // rows.
            reader.each_record(&slots, 0..end, |row, stored| {
                fields.insert(row, &stored.record);
                true
            })?;
            let mut state = self.state_mut();
            if !Arc::ptr_eq(&state.slots, &slots) {
                // A compaction has given the rows other numbers, or a message has another id.
                continue;
            }
            // Under the write lock nothing is published, and what is committed but not published is not in `rows`:
            // its insertion follows.
            reader.each_record(&slots, end..state.view.rows(), |row, stored| {
                if state.rows.contains(row) {
                    fields.insert(row, &stored.record);
                }
                true
            })?;
            state.fields = Some(fields);
            return Ok(());
        }
    }
}
