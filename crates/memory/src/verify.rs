//! Checking a data folder, and mending what can be mended.
//!
//! The records are the truth. A row of vectors that does not have the checksum in its record is embedded anew from the record's text; an
//! index or a text index that is damaged or stale is removed, and built anew when the box starts.

use crate::collection::{Folder, text_of};
use crate::compaction::derived_folders;
use crate::encryption::open_sealing;
use crate::media;
use crate::memory::lock;
use crate::{MemoryBox, MemoryConfig, MemoryError, Models};
use membox_encoder::Lane;
use membox_index::VectorIndex;
use membox_records::text::DiskText;
use membox_records::{Reader, RecordsError, Slots, Store, StoredCollection, StoredRecord};
use membox_vectors::{VectorFile, VectorView};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use utoipa::ToSchema;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// Where: a collection or a file.
    pub place: String,
    /// What was found.
    pub found: String,
    /// What `membox rebuild` does about it.
    pub remedy: String,
    /// Whether something acknowledged is lost or cannot be mended without help.
    pub serious: bool,
}

/// What a check found.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Report {
    /// Collections checked.
    pub collections: usize,
    /// Records checked, each with its row.
    pub records: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// Checks a data folder that no box has open: the database's structure, every header, every record against the checksum of its row, and
/// what is derived against its watermark and checksums.
pub fn verify(config: &MemoryConfig) -> Result<Report, MemoryError> {
    let root = &config.data_dir;
    let _lock = lock(root)?;
    let sealing = open_sealing(config)?;
    let mut report = Report::default();
    let database = root.join("membox.db");
    let reader = match Reader::open(&database, sealing.clone()) {
        Err(RecordsError::TooOld { .. }) => {
            // Brings the schema up to date.
            drop(Store::open(&database, sealing.clone())?);
            Reader::open(&database, sealing)
        }
        opened => opened,
    }?;
    for line in reader.integrity_problems()? {
        report.problems.push(Problem {
            place: "membox.db".into(),
            found: line,
            remedy: "none: restore the newest backup, or recover with sqlite3's .recover".into(),
            serious: true,
        });
    }
    for line in reader.damaged_tables()? {
        report.problems.push(Problem {
            place: "membox.db".into(),
            found: line,
            remedy: "none: restore the newest backup, or write it again".into(),
            serious: true,
        });
    }
    for stored in reader.collections()? {
        report.collections += 1;
        check_collection(root, &stored, &reader, &mut report)?;
    }
    Ok(report)
}

fn check_collection(
    root: &Path,
    stored: &StoredCollection,
    reader: &Reader,
    report: &mut Report,
) -> Result<(), MemoryError> {
    let folder = Folder::of(root, stored.id);
    let place = format!("{}/{}", stored.tenant, stored.name);
    let path = folder.vectors(stored.vector_file);
    let problem =
        |found: String, remedy: &str, serious| Problem { place: place.clone(), found, remedy: remedy.into(), serious };
    let header = VectorFile::header_of(&path);
    let lost = "embed every record's text anew into a new file (records with given vectors are lost)";
    let usable = match header {
        Ok(header) if header.uuid != stored.vector_file => {
            report.problems.push(problem(format!("{} says that it is {}", path.display(), header.uuid), lost, true));
            false
        }
        Ok(_) => true,
        Err(error) => {
            report.problems.push(problem(error.to_string(), lost, true));
            false
        }
    };
    if !usable {
        return Ok(());
    }
    // Opening cuts off uncommitted rows, as the next start would.
    let view = match VectorFile::open(&path, stored.rows) {
        Ok(file) => file.view(stored.rows),
        Err(error) => {
            report.problems.push(problem(error.to_string(), lost, true));
            return Ok(());
        }
    };
    let slots = match reader.slots(stored) {
        Ok(slots) => slots,
        Err(error) => {
            report.problems.push(problem(error.to_string(), "none: restore the newest backup", true));
            return Ok(());
        }
    };
    let (mut unreadable, mut damaged) = (Vec::new(), Vec::new());
    reader.check_records(stored.id, |record| match record {
        Ok(record) => {
            report.records += 1;
            if !has_its_vector(&record, &slots, &view) {
                damaged.push(record);
            }
        }
        Err(error) => unreadable.push(error.to_string()),
    })?;
    if !unreadable.is_empty() {
        let found = format!("{} records are damaged: {:?} …", unreadable.len(), &unreadable[..unreadable.len().min(5)]);
        report.problems.push(problem(found, "none: restore them from a backup, or write them again", true));
    }
    let files = reader.media_files(stored.id)?;
    for found in media::damaged(&folder, &files) {
        report.problems.push(problem(found, "none: restore it from a backup", true));
    }
    for (_, error) in media::damaged_thumbnails(&folder, &files) {
        report.problems.push(problem(error.to_string(), "remove it; it is made anew when it is asked for", false));
    }
    let given = damaged.iter().filter(|d| d.record.given_vector).count();
    if !damaged.is_empty() {
        let ids: Vec<&str> = damaged.iter().take(5).map(|d| d.record.id.as_str()).collect();
        let found = format!(
            "{} vectors do not have the checksum of their record, {given} of them given: {ids:?} …",
            damaged.len()
        );
        report.problems.push(problem(found, "embed their texts anew; given vectors are lost", given > 0));
    }
    let (index, text) = derived_folders(&folder, stored.vector_file);
    if index.join("index.json").exists()
        && let Err(error) = VectorIndex::check(&index, stored.vector_file, stored.rows)
    {
        report.problems.push(problem(error.to_string(), "remove it; it is built anew", false));
    }
    let text_problem = match DiskText::open(&text, &text_of(reader, &stored.tenant, stored.vector_file, stored.rows)?) {
        Err(error) => Some(error.to_string()),
        Ok(None) if text.join("meta.json").exists() => Some("the text index is of another state".into()),
        Ok(_) => None,
    };
    if let Some(found) = text_problem {
        report.problems.push(problem(found, "remove it; it is built anew", false));
    }
    Ok(())
}

/// Whether the row of a record is there and has the checksum that the record says.
fn has_its_vector(stored: &StoredRecord, slots: &Slots, view: &VectorView) -> bool {
    slots.row(stored.slot).is_some_and(|row| row < view.rows() && view.crc(row) == stored.row_crc)
}

/// Does what [`verify`] says: embeds the texts of damaged rows anew and removes derived state that is damaged. Gives what
/// was found before.
pub fn rebuild(config: &MemoryConfig, models: Models) -> Result<Report, MemoryError> {
    let root = &config.data_dir;
    let report = verify(config)?;
    let reader = Reader::open(&root.join("membox.db"), open_sealing(config)?)?;
    for stored in reader.collections()? {
        let folder = Folder::of(root, stored.id);
        if VectorIndex::check(&folder.index(), stored.vector_file, stored.rows).is_err() {
            VectorIndex::remove(&folder.index());
        }
        let of = text_of(&reader, &stored.tenant, stored.vector_file, stored.rows)?;
        let text_is_whole = DiskText::open(&folder.text(), &of).is_ok_and(|text| text.is_some());
        if !text_is_whole {
            let _ = std::fs::remove_dir_all(folder.text());
        }
        for (thumbnail, _) in media::damaged_thumbnails(&folder, &reader.media_files(stored.id)?) {
            let _ = std::fs::remove_file(thumbnail);
        }
    }
    if report.problems.is_empty() {
        return Ok(report);
    }
    replace_unusable_files(root, &reader)?;
    drop(reader);
    let memory = MemoryBox::open(config, models)?;
    for (tenant, name) in memory.shared().names(None) {
        let collection = memory.collection(&tenant, &name)?;
        let mut damaged: Vec<StoredRecord> = Vec::new();
        memory.reader()?.check_records(collection.id, |record| {
            let live = collection.live();
            damaged
                .extend(record.ok().filter(|r| !r.record.given_vector && !has_its_vector(r, &live.slots, &live.view)));
        })?;
        for batch in damaged.chunks(256) {
            let texts = batch.iter().map(|s| s.record.text.clone()).collect();
            let vectors = memory.encoder_of(&collection)?.embed(texts, Lane::Bulk)?;
            memory.revector(&collection, batch, &vectors)?;
        }
    }
    Ok(report)
}

/// Puts a file of zeros, which fit no checksum, in the place of one that cannot be used: its rows are then mended like others.
fn replace_unusable_files(root: &Path, reader: &Reader) -> Result<(), MemoryError> {
    for stored in reader.collections()? {
        let path = Folder::of(root, stored.id).vectors(stored.vector_file);
        let fits = VectorFile::header_of(&path).is_ok_and(|h| h.uuid == stored.vector_file);
        if fits && VectorFile::open(&path, stored.rows).is_ok() {
            continue;
        }
        let settings: crate::CollectionSettings =
            serde_json::from_str(&stored.settings).map_err(|e| membox_records::RecordsError::Damaged(e.to_string()))?;
        let header = membox_vectors::Header {
            uuid: stored.vector_file,
            dimension: settings.dimension.unwrap_or_default(),
            row_type: settings.vector_type.into(),
        };
        let aside = path.with_extension("damaged");
        let _ = std::fs::rename(&path, &aside);
        VectorFile::create_blank(&path, header, stored.rows)?;
        tracing::warn!(kept = %aside.display(), "an unusable vector file was replaced");
    }
    Ok(())
}

impl MemoryBox {
    fn revector(
        &self,
        collection: &Arc<crate::Collection>,
        batch: &[StoredRecord],
        vectors: &membox_encoder::Embeddings,
    ) -> Result<usize, MemoryError> {
        use crate::work::{Revector, Work, Write};
        let vectors = batch
            .iter()
            .zip(vectors.rows())
            .map(|(stored, v)| Revector { stored: stored.clone(), vector: v.to_vec() })
            .collect();
        let write = |reply| Work::Write(Write::Revector { collection: collection.clone(), vectors, reply });
        crate::work::ask(self.writer(), write)
    }
}
