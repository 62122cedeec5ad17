//! Handing texts from the tail to the postings on disk.

use crate::StoreError;
use crate::collection::{Collection, document, text_of};
use crate::registry::Registry;
use membox_text::TextIndexWriter;

/// Texts that stay in memory before tantivy gets them. A tail of this size costs a query some 0.1 ms and a start
/// some 0.2 s.
const TAIL_TEXTS: usize = 10_000;

/// Hands the tail of the text index to tantivy when it has grown, unless `is_stopping`. The caller holds the
/// collection's `derived_files`.
pub(crate) fn commit_texts(
    registry: &Registry,
    collection: &Collection,
    is_stopping: impl Fn() -> bool,
) -> Result<(), StoreError> {
    if collection.state().texts.tail().len() < TAIL_TEXTS {
        return Ok(());
    }
    let ((view, rows), slots, removed, key) = {
        let state = collection.state();
        let key = state.texts.disk().map(|disk| disk.key().cloned());
        (state.current(), state.slots.clone(), state.texts.removed_on_disk(), key)
    };
    let reader = registry.reader()?;
    let mut of = text_of(&reader, &collection.tenant, view.header().uuid, view.rows())?;
    // What is there goes on with its key until it is built anew.
    of.key = key.unwrap_or(of.key);
    let mut writer = TextIndexWriter::open(&collection.folder().text(), of)?;
    let from = writer.rows()?;
    let mut result = Ok(());
    reader.each_record(&slots, from..view.rows(), |row, stored| {
        if rows.contains(row) {
            result = writer.insert(row, document(&stored.record));
        }
        result.is_ok() && !is_stopping()
    })?;
    result?;
    if is_stopping() {
        return Ok(());
    }
    removed.into_iter().for_each(|row| writer.remove(row));
    let disk = writer.commit(view.rows())?;
    let mut state = collection.state_mut();
    if state.view.header().uuid == view.header().uuid {
        state.texts.committed(disk);
    }
    Ok(())
}
