//! Mending a data folder that no box has open.
//!
//! The records are the truth. A row of vectors that does not have the checksum in its record is embedded anew from the record's text; an
//! index or a text index that is damaged or stale is removed, and built anew when the box starts.

use crate::collection::{Collection, Folder, read_settings, text_of};
use crate::convert::row_type;
use crate::encryption::open_sealing;
use crate::media;
use crate::memory::lock;
use crate::verify::{Report, has_its_vector, verify};
use crate::work::{Along, Revector, Upsert, Work, Write, ask};
use crate::{MemoryBox, MemoryConfig, MemoryError, Models};
use membox_encoder::Lane;
use membox_index::VectorIndex;
use membox_records::text::DiskText;
use membox_records::{Reader, RecordsError, Store, StoredRecord};
use membox_vectors::{Header, VectorFile};
use std::path::Path;
use std::sync::Arc;

/// Records mended at a time.
const MENDED_RECORDS: usize = 256;

/// Does what [`verify`] says: embeds the texts of damaged rows anew and removes derived state that is damaged. Gives what was found before; its notes say
/// what could not be mended as it was.
pub fn rebuild(config: &MemoryConfig, models: Models) -> Result<Report, MemoryError> {
    let root = &config.data_dir;
    let mut report = verify(config)?;
    {
        let _lock = lock(root)?;
        let sealing = open_sealing(config)?;
        let database = root.join("membox.db");
        // Brings the schema up to date, and takes in what an unclean stop has left.
        drop(Store::open(&database, sealing.clone())?);
        let reader = Reader::open(&database, sealing)?;
        remove_damaged(root, &reader)?;
        if report.problems.is_empty() {
            return Ok(report);
        }
        mend_files(root, &reader, &mut report.notes)?;
    }
    let memory = MemoryBox::open(config, models)?;
    for (tenant, name) in memory.shared().names(None) {
        let mended =
            memory.collection(&tenant, &name).and_then(|collection| memory.mend(&collection, &mut report.notes));
        if let Err(error) = mended {
            report.notes.push(format!("{tenant}/{name}: {error}"));
        }
    }
    Ok(report)
}

/// Removes derived state that is damaged or stale.
fn remove_damaged(root: &Path, reader: &Reader) -> Result<(), MemoryError> {
    for stored in reader.collections()? {
        let folder = Folder::of(root, stored.id);
        if VectorIndex::check(&folder.index(), stored.vector_file, stored.rows).is_err() {
            VectorIndex::remove(&folder.index());
        }
        let of = text_of(reader, &stored.tenant, stored.vector_file, stored.rows)?;
        if DiskText::check(&folder.text(), &of).is_err() {
            let _ = std::fs::remove_dir_all(folder.text());
        }
        for (thumbnail, _) in media::damaged_thumbnails(&folder, &reader.media_files(stored.id)?) {
            let _ = std::fs::remove_file(thumbnail);
        }
    }
    Ok(())
}

/// Gives vector files that cannot be opened their header and their length again. What their rows lack is then mended like other damage.
fn mend_files(root: &Path, reader: &Reader, notes: &mut Vec<String>) -> Result<(), MemoryError> {
    for stored in reader.collections()? {
        let path = Folder::of(root, stored.id).vectors(stored.vector_file);
        let fits = VectorFile::header_of(&path).is_ok_and(|h| h.uuid == stored.vector_file);
        if fits && VectorFile::open(&path, stored.rows).is_ok() {
            continue;
        }
        let settings = read_settings(&stored)?;
        let Some(dimension) = settings.dimension else {
            return Err(RecordsError::Damaged(format!("settings of {}: no dimension", stored.name)).into());
        };
        let aside = path.with_extension("damaged");
        if path.exists() {
            std::fs::copy(&path, &aside).map_err(MemoryError::io("copy to", &aside))?;
            notes.push(format!("the vector file as it was found is kept as {}", aside.display()));
        }
        let header = Header { uuid: stored.vector_file, dimension, row_type: row_type(settings.vector_type) };
        VectorFile::mend(&path, header, stored.rows)?;
    }
    Ok(())
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
        let mut damaged: Vec<StoredRecord> = Vec::new();
        {
            let (view, slots) = {
                let live = collection.live();
                (live.view.clone(), live.slots.clone())
            };
            self.reader()?.check_records(collection.id, |record| {
                damaged.extend(record.ok().filter(|record| !has_its_vector(record, &slots, &view)));
            })?;
        }
        let embeds = self.encoder_of(collection).is_ok();
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
        let vectors: Vec<Vec<f32>> = match remedy {
            Remedy::Zeros | Remedy::ZerosInstead => {
                let dimension = collection.live().view.header().dimension;
                batch.iter().map(|_| vec![0.0; dimension]).collect()
            }
            Remedy::Embed | Remedy::EmbedInstead => {
                let texts = batch.iter().map(|stored| stored.record.text.clone()).collect();
                let embedded = self.encoder_of(collection)?.embed(texts, Lane::Bulk)?;
                embedded.rows().map(<[f32]>::to_vec).collect()
            }
        };
        let pairs = batch.iter().zip(vectors);
        if remedy == Remedy::EmbedInstead {
            // It says from now on that its vector is that of its text.
            let records = pairs.map(|(stored, vector)| {
                let record = membox_records::Record { given_vector: false, ..stored.record.clone() };
                Upsert { record, vector, expected: Some(stored.version) }
            });
            let (collection, records, along) = (collection.clone(), records.collect(), Along::default());
            return ask(self.writer(), |reply| Work::Write(Write::Upsert { collection, records, along, reply }))
                .map(|_| ());
        }
        let vectors = pairs.map(|(stored, vector)| Revector { stored: (*stored).clone(), vector }).collect();
        let collection = collection.clone();
        ask(self.writer(), |reply| Work::Write(Write::Revector { collection, vectors, reply })).map(|_| ())
    }
}
