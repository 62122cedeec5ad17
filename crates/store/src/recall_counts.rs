//! Which records are recalled, gathered until they are written down together: a recall waits for no disk.

use crate::StoreError;
use crate::command::Command;
use crate::writer::WriterQueue;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Hits of one recall that count: nobody reads the thousandth.
const COUNTED_HITS: usize = 100;
/// Records that are gathered at most; more uses than that in ten seconds are not all counted.
const MAX_GATHERED: usize = 100_000;

/// Records that are written down in one commit: others write between them.
const WRITTEN_TOGETHER: usize = 1000;

/// A record by its collection and id.
type Place = (i64, String);

/// Recalls since they were last written down.
#[derive(Default)]
pub(crate) struct RecallCounts(Mutex<HashMap<Place, u64>>);

impl RecallCounts {
    /// Counts the hits of a recall.
    pub fn add<'a>(&self, collection: i64, ids: impl Iterator<Item = &'a String>) {
        let mut gathered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids.take(COUNTED_HITS) {
            if gathered.len() < MAX_GATHERED {
                *gathered.entry((collection, id.clone())).or_default() += 1;
            }
        }
    }

    /// Writes down what was gathered.
    pub fn write(&self, writer: &WriterQueue) -> Result<(), StoreError> {
        let gathered = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let gathered: Vec<(i64, String, u64)> =
            gathered.into_iter().map(|((collection, id), count)| (collection, id, count)).collect();
        for some in gathered.chunks(WRITTEN_TOGETHER) {
            writer.commit(Command::CountRecalls(some.to_vec()))?;
        }
        Ok(())
    }
}
