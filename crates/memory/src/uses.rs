//! Which records are recalled, gathered until they are written down together: a recall waits for no disk.

use crate::work::{Work, transact};
use crate::{MemoryError, now};
use crossbeam_channel::Sender;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Hits of one recall that count: nobody reads the thousandth.
const COUNTED_HITS: usize = 100;
/// Records that are gathered at most; more uses than that in ten seconds are not all counted.
const MOST_GATHERED: usize = 100_000;

/// Records that are written down in one commit: others write between them.
const WRITTEN_TOGETHER: usize = 1000;

/// A record by its collection and id.
type Place = (i64, String);

/// Uses since they were last written down.
#[derive(Default)]
pub(crate) struct Uses(Mutex<HashMap<Place, u64>>);

impl Uses {
    /// Counts the hits of a recall.
    pub fn note<'a>(&self, collection: i64, ids: impl Iterator<Item = &'a String>) {
        let mut gathered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids.take(COUNTED_HITS) {
            if gathered.len() < MOST_GATHERED {
                *gathered.entry((collection, id.clone())).or_default() += 1;
            }
        }
    }

    /// Writes down what was gathered.
    pub fn write(&self, writer: &Sender<Work>) -> Result<(), MemoryError> {
        let gathered = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let (gathered, at): (Vec<(Place, u64)>, i64) = (gathered.into_iter().collect(), now());
        for some in gathered.chunks(WRITTEN_TOGETHER) {
            let some = some.to_vec();
            transact(writer, move |group| {
                Ok(some
                    .iter()
                    .try_for_each(|((collection, id), count)| group.add_recalls(*collection, id, *count, at))?)
            })?;
        }
        Ok(())
    }
}
