//! Moving a collection to another model.

use crate::jobs::Job;
use crate::models::{EmbeddedText, Models};
use crate::{MemoryBox, MemoryError};
use membox_encoder::{Encoder, Lane};
use membox_store::{Collection, JobGuard, NewVector, StoredRecord};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Records embedded at a time.
const EMBEDDED_RECORDS: usize = 256;
/// How often records may come between the last look and the switch.
const MAX_TRIES: usize = 1000;

impl MemoryBox {
    /// Gives all records of a collection vectors of another model and switches it to that, while it is read and
    /// written.
    pub(crate) fn run_move(
        &self,
        collection: &Arc<Collection>,
        guard: JobGuard,
        model: &str,
        job: &Job,
    ) -> Result<(), MemoryError> {
        let encoder = self.models().encoder_named(model)?.ok_or(MemoryError::NoModel)?;
        job.set_total(collection.records());
        let mut moving = self.store().begin_move(&guard, collection, model, encoder.dimension())?;
        let mut tries = 0;
        while !job.should_stop() {
            let page = moving.next_page(EMBEDDED_RECORDS)?;
            if page.is_empty() {
                tries += 1;
                if tries > MAX_TRIES {
                    return Err(MemoryError::Overloaded { retry_after_s: 1 });
                }
                match moving.finish()? {
                    Some(left) => moving = left,
                    None => {
                        drop(guard);
                        return self.make_tokens_of_moved(collection, job);
                    }
                }
                continue;
            }
            let count = page.len() as u64;
            moving.put(embedded(&encoder, collection, page)?)?;
            job.add_done(count);
        }
        Ok(())
    }

    /// The collection is another one now, and has no vectors of tokens yet.
    fn make_tokens_of_moved(&self, moved: &Collection, job: &Job) -> Result<(), MemoryError> {
        let collection = self.collections().collection(&moved.tenant, &moved.name)?;
        if self.models().token_space(&collection).is_none() {
            return Ok(());
        }
        let _guard = JobGuard::wait(&collection, || !job.should_stop())?;
        job.done.store(0, Ordering::Relaxed);
        self.run_token_vectors(&collection, job).map(drop)
    }
}

/// Records with the vectors of a model. One without a text had zeros, and has.
fn embedded(
    encoder: &Encoder,
    collection: &Collection,
    page: Vec<StoredRecord>,
) -> Result<Vec<NewVector>, MemoryError> {
    let is_empty = |stored: &StoredRecord| stored.record.text.trim().is_empty();
    if let Some(given) = page.iter().find(|stored| stored.record.given_vector && !is_empty(stored)) {
        let id = &given.record.id;
        let reason = format!("record {id:?} has a vector that was given with it, which the other model cannot make");
        return Err(MemoryError::impossible("/collection", reason));
    }
    let texts = page.iter().filter(|stored| !is_empty(stored)).map(|stored| stored.record.text.clone()).collect();
    let mut found = Models::embed_texts_by(encoder, (None, collection.max_windows()), texts, Lane::Bulk)?.into_iter();
    let new = |stored: StoredRecord| {
        let own = if is_empty(&stored) { None } else { found.next() };
        let own = own.unwrap_or_else(|| EmbeddedText::without_text(vec![0.0; encoder.dimension()]));
        NewVector { stored, vector: own.vector, windows: own.windows, tokens: None }
    };
    Ok(page.into_iter().map(new).collect())
}
