//! Moving a collection to another model: new vectors of all its records, beside those that answer meanwhile.
//!
//! ```text
//! read a page of records ─▶ its caller embeds them ─▶ append their vectors to another file, again until all have some
//!     ─▶ on the writer's thread: if no record has come meanwhile, one commit names the new rows, and the model
//! ```
//!
//! All but the last step happens while the collection is read and written. That one changes a few numbers of each
//! record, in one transaction. Who holds the collection as it was has it no longer ([`StoreError::Moved`]): the next
//! one who asks for it opens it anew, as after a start. What a crash leaves is removed then, or put to use if the
//! commit had happened.

use crate::StoreError;
use crate::collection::{Collection, MovedFiles, MovedRecord};
use crate::command::NewVector;
use crate::convert::{metric, row_type};
use crate::registry::Registry;
use crate::writer::{Work, WriterQueue, WrittenRows};
use membox_records::StoredRecord;
use membox_vectors::VectorFile;
use roaring::RoaringBitmap;
use std::sync::{Arc, PoisonError};

/// A move under way. Dropping it leaves the collection as it was.
pub struct Move<'a> {
    registry: &'a Registry,
    writer: &'a WriterQueue,
    collection: &'a Arc<Collection>,
    files: Option<Box<MovedFiles>>,
}

impl<'a> Move<'a> {
    pub(crate) fn begin(
        registry: &'a Registry,
        writer: &'a WriterQueue,
        collection: &'a Arc<Collection>,
        model: String,
        dimension: usize,
    ) -> Result<Self, StoreError> {
        let folder = collection.folder();
        folder.discard_next();
        let settings = collection.settings();
        let (rows, metric) = (row_type(settings.vector_type.unwrap_or_default()), metric(&settings));
        let create = || Ok(VectorFile::create(&folder.compacting(), dimension, rows)?.compared_by(metric));
        let file = registry.with_files(create)?;
        let files = MovedFiles { file, model, records: Vec::new(), seen: RoaringBitmap::new() };
        Ok(Self { registry, writer, collection, files: Some(Box::new(files)) })
    }

    /// The next records that have no new vectors yet, at most so many; none where all have.
    pub fn next_page(&mut self, most: usize) -> Result<Vec<StoredRecord>, StoreError> {
        let Some(files) = &mut self.files else { return Ok(Vec::new()) };
        let (slots, todo, end) = {
            let state = self.collection.state();
            (state.slots.clone(), state.rows.rows() - &files.seen, state.view.rows())
        };
        let Some(first) = todo.min() else { return Ok(Vec::new()) };
        let (mut page, mut last) = (Vec::new(), end);
        self.registry.reader()?.each_record(&slots, first..end, |row, stored| {
            if todo.contains(row) {
                page.push(stored);
                last = row + 1;
            }
            page.len() < most
        })?;
        // One that was passed over is damaged, or has another row by now.
        let until = if page.len() < most { end } else { last };
        files.seen |= todo & (first..until).collect::<RoaringBitmap>();
        match page.is_empty() {
            true => self.next_page(most),
            false => Ok(page),
        }
    }

    /// Takes new vectors of records. Those of tokens are made later.
    pub fn put(&mut self, vectors: Vec<NewVector>) -> Result<(), StoreError> {
        let Some(files) = &mut self.files else { return Ok(()) };
        for NewVector { stored, vector, windows, .. } in vectors {
            let all = std::iter::once(vector.as_slice()).chain(windows.vectors.iter().map(Vec::as_slice));
            let mut receipts = files.file.append(all)?.into_iter();
            let Some(first) = receipts.next() else { continue };
            let rows = WrittenRows { first, behind: receipts.collect() };
            let (row, further, checks) = (rows.first.row, rows.further(), rows.checks(&windows));
            let StoredRecord { seq, version, slot, .. } = stored;
            files.records.push(MovedRecord { seq, version, slot, row, further, checks });
        }
        Ok(())
    }

    /// Switches the collection, unless records have come that have no new vectors: then the move goes on.
    pub fn finish(mut self) -> Result<Option<Self>, StoreError> {
        let Some(mut files) = self.files.take() else { return Ok(None) };
        files.file.sync()?;
        let collection = self.collection.clone();
        // No background work puts files of the old rows beside the new ones.
        let derived_files = collection.derived_files.lock().unwrap_or_else(PoisonError::into_inner);
        let left = self.writer.ask(|reply| Work::Move { collection: self.collection.clone(), files, reply });
        drop(derived_files);
        match left {
            Ok(Some(files)) => {
                self.files = Some(files);
                Ok(Some(self))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                collection.folder().discard_next();
                Err(error)
            }
        }
    }
}

impl Drop for Move<'_> {
    fn drop(&mut self) {
        if self.files.take().is_some() {
            self.collection.folder().discard_next();
        }
    }
}
