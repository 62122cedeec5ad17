//! Mending a data folder that no box has open.
//!
//! The records are the truth. A row of vectors that does not have the checksum in its record is embedded anew from
//! the record's text; an index or a text index that is damaged or stale is removed, and built anew when the box
//! starts.

use crate::models::EmbeddedText;
use crate::verify::verify;
use crate::{MemoryBox, MemoryConfig, MemoryError, Models};
use membox_encoder::Lane;
use membox_store::{Collection, NewVector, NewVersion, Record, Report, StoredRecord, WriteRecords, mend_files};
use std::sync::Arc;

/// Records mended at a time.
const MENDED_RECORDS: usize = 256;

/// Does what [`verify`] says: embeds the texts of damaged rows anew and removes derived state that is damaged.
/// Gives what was found before; its notes say what could not be mended as it was.
pub fn rebuild(config: &MemoryConfig, models: Models) -> Result<Report, MemoryError> {
    let mut report = verify(config)?;
    let is_sound = report.problems.is_empty();
    mend_files(&config.store()?, !is_sound, &mut report.notes)?;
    if is_sound {
        return Ok(report);
    }
    let memory = MemoryBox::open(config, models)?;
    for (tenant, name) in memory.store().collection_names(None) {
        let mended = memory
            .collections()
            .collection(&tenant, &name)
            .and_then(|collection| memory.mend(&collection, &mut report.notes));
        if let Err(error) = mended {
            report.notes.push(format!("{tenant}/{name}: {error}"));
        }
    }
    Ok(report)
}

/// What becomes of a record whose vector is damaged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Remedy {
    /// Its vector was that of its text, and is again.
    Embed,
    /// Its vector was given and is lost; that of its text takes its place.
    EmbedInstead,
    /// It says nothing, and its vector is again one of zeros.
    Zeros,
    /// Its vector was given and is lost, and there is no text or no model to take its place.
    ZerosInstead,
}

impl MemoryBox {
    /// Gives records whose vector is damaged one again.
    fn mend(&self, collection: &Arc<Collection>, notes: &mut Vec<String>) -> Result<(), MemoryError> {
        let damaged = self.store().damaged_vectors(collection)?;
        let embeds = self.models().encoder_of(collection).is_ok();
        let remedy_of = |stored: &StoredRecord| {
            let record = &stored.record;
            let is_empty = record.text.trim().is_empty();
            match record.given_vector {
                false => Remedy::Embed,
                true if is_empty && record.message.is_some() => Remedy::Zeros,
                true if is_empty || !embeds => Remedy::ZerosInstead,
                true => Remedy::EmbedInstead,
            }
        };
        for remedy in [Remedy::Zeros, Remedy::ZerosInstead, Remedy::EmbedInstead, Remedy::Embed] {
            let of_it: Vec<&StoredRecord> = damaged.iter().filter(|stored| remedy_of(stored) == remedy).collect();
            for batch in of_it.chunks(MENDED_RECORDS) {
                self.apply_remedy(collection, remedy, batch)?;
                let place = format!("{}/{}", collection.tenant, collection.name);
                let note = |what: &str| {
                    batch.iter().map(|stored| format!("{place}: the record {:?} {what}", stored.record.id)).collect()
                };
                let lost: Vec<String> = match remedy {
                    Remedy::Embed | Remedy::Zeros => Vec::new(),
                    Remedy::EmbedInstead => {
                        note("lost the vector that was given; the embedding of its text takes its place")
                    }
                    Remedy::ZerosInstead => {
                        note("lost the vector that was given; no vector finds it until it is written again")
                    }
                };
                notes.extend(lost);
            }
        }
        Ok(())
    }

    fn apply_remedy(
        &self,
        collection: &Arc<Collection>,
        remedy: Remedy,
        batch: &[&StoredRecord],
    ) -> Result<(), MemoryError> {
        let vectors: Vec<EmbeddedText> = match remedy {
            Remedy::Zeros | Remedy::ZerosInstead => {
                let dimension = collection.dimension();
                batch.iter().map(|_| EmbeddedText::without_text(vec![0.0; dimension])).collect()
            }
            Remedy::Embed | Remedy::EmbedInstead => {
                let texts = batch.iter().map(|stored| stored.record.text.clone()).collect();
                self.models().embed_texts(collection, texts, Lane::Bulk)?
            }
        };
        let pairs = batch.iter().zip(vectors);
        if remedy == Remedy::EmbedInstead {
            // It says from now on that its vector is that of its text.
            let records = pairs.map(|(stored, EmbeddedText { vector, windows, tokens, .. })| {
                let record = Record { given_vector: false, ..stored.record.clone() };
                NewVersion { record, vector, windows, tokens, expected: Some(stored.version), keeps_created_at: false }
            });
            let write = WriteRecords::new(collection.clone(), records.collect());
            return Ok(self.store().write_records(write).map(drop)?);
        }
        let new = |(stored, EmbeddedText { vector, windows, tokens, .. }): (&&StoredRecord, _)| NewVector {
            stored: (*stored).clone(),
            vector,
            windows,
            tokens,
        };
        let vectors = pairs.map(new).collect();
        Ok(self.store().replace_vectors(collection, vectors).map(drop)?)
    }
}
