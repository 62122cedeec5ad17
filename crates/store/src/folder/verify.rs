//! Checking a data folder: nothing in it is changed.

use super::inspect::Inspection;
use crate::box_key::audit_key_of;
use crate::collection::{CollectionFolder, read_settings, text_of};
use crate::media;
use crate::row_checks::has_its_vectors;
use crate::{StoreConfig, StoreError};
use membox_index::VectorIndex;
use membox_records::{Reader, Slots, StoredCollection, StoredRecord};
use membox_text::TextIndex;
use membox_vectors::{TokenView, VectorFile, VectorView};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Collections checked.
    pub collections: usize,
    /// Records checked, each with its row.
    pub records: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What is remarkable and not wrong, and what a rebuild has done.
    pub notes: Vec<String>,
}

/// Checks a data folder that no box has open: the database's structure, every header, every record against the
/// checksum of its row, and what is derived against its watermark and checksums.
pub fn verify(config: &StoreConfig) -> Result<Report, StoreError> {
    let root = &config.data_dir;
    let inspection = Inspection::at(config)?;
    let (reader, mut report) = (&inspection.reader, Report { notes: inspection.notes.clone(), ..Report::default() });
    for line in reader.integrity_problems()? {
        report.problems.push(Problem {
            place: "membox.db".into(),
            found: line,
            remedy: "none: restore the newest backup, or recover with sqlite3's .recover".into(),
            serious: true,
        });
    }
    for line in reader.damaged_tables(&audit_key_of(root)?.into_iter().collect::<Vec<_>>())? {
        report.problems.push(Problem {
            place: "membox.db".into(),
            found: line,
            remedy: "none: restore the newest backup, or write it again".into(),
            serious: true,
        });
    }
    for stored in reader.collections()? {
        report.collections += 1;
        check_collection(root, &stored, reader, &mut report)?;
    }
    Ok(report)
}

fn check_collection(
    root: &Path,
    stored: &StoredCollection,
    reader: &Reader,
    report: &mut Report,
) -> Result<(), StoreError> {
    let folder = CollectionFolder::of(root, stored.id);
    let place = format!("{}/{}", stored.tenant, stored.name);
    let path = folder.vectors(stored.vector_file);
    let problem =
        |found: String, remedy: &str, serious| Problem { place: place.clone(), found, remedy: remedy.into(), serious };
    let lost =
        "mend the file, and embed anew the texts of rows that are not whole; given vectors of such rows are lost";
    if let Some(link) = link_to(root, &folder).map_err(StoreError::io("read", &folder.0))? {
        let found = format!("{} is a symbolic link, which a data folder does not have", link.display());
        report.problems.push(problem(found, "none: put what it leads to in its place, if that is yours", true));
        return Ok(());
    }
    let view = match open_vectors(&path, stored) {
        Ok(view) => view,
        Err(found) => {
            report.problems.push(problem(found, lost, true));
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
    let mut tokens = CheckedTokens::open(&folder, stored);
    reader.check_records(stored.id, |record| match record {
        Ok(record) => {
            report.records += 1;
            tokens.check(&record, &slots);
            if !slots.row(record.slot).is_some_and(|row| has_its_vectors(&record, row, &view)) {
                damaged.push(record);
            }
        }
        Err(error) => unreadable.push(error.to_string()),
    })?;
    if !unreadable.is_empty() {
        let found = format!("{} records are damaged: {:?} …", unreadable.len(), &unreadable[..unreadable.len().min(5)]);
        report.problems.push(problem(found, "none: restore them from a backup, or write them again", true));
    }
    let files = reader.media_files(stored.id).unwrap_or_else(|error| {
        report.problems.push(problem(error.to_string(), "none: restore the newest backup", true));
        Vec::new()
    });
    for found in media::damaged(root, stored.id, &files) {
        report.problems.push(problem(found, "none: restore it from a backup", true));
    }
    for (_, error) in media::damaged_thumbnails(root, stored.id, &files) {
        report.problems.push(problem(error.to_string(), "remove it; it is made anew when it is asked for", false));
    }
    let given = damaged.iter().filter(|d| d.record.given_vector).count();
    if !damaged.is_empty() {
        let ids: Vec<&str> = damaged.iter().take(5).map(|d| d.record.id.as_str()).collect();
        let found = format!(
            "{} vectors do not have the checksum of their record, {given} of them given: {ids:?} …",
            damaged.len()
        );
        let remedy = match given {
            0 => "embed their texts anew",
            _ => "embed their texts anew; given vectors are lost, and the embeddings of their texts take their places",
        };
        report.problems.push(problem(found, remedy, given > 0));
    }
    tokens.report(&place, report);
    let (index, text) = folder.derived(stored.vector_file);
    if index.join("index.json").exists()
        && let Err(error) = VectorIndex::check(&index, stored.vector_file, stored.rows)
    {
        report.problems.push(problem(error.to_string(), "remove it; it is built anew", false));
    }
    let of = text_of(reader, &stored.tenant, stored.vector_file, stored.rows)?;
    if let Err(error) = TextIndex::check(&text, &of) {
        report.problems.push(problem(error.to_string(), "remove it; it is built anew", false));
    }
    Ok(())
}

/// Vectors of tokens of a collection that are held against its records.
#[derive(Default)]
struct CheckedTokens {
    /// Whether any are to be there.
    are_wanted: bool,
    view: Option<TokenView>,
    /// Why its file cannot be used.
    unusable: Option<String>,
    /// Records whose tokens have no vectors, and those that have damaged ones.
    missing: u64,
    damaged: u64,
}

impl CheckedTokens {
    fn open(folder: &CollectionFolder, stored: &StoredCollection) -> Self {
        let wanted = read_settings(stored).ok().and_then(|settings| settings.token_dimension());
        let Some(dimension) = wanted else { return Self::default() };
        let mut checked = Self { are_wanted: true, ..Self::default() };
        match TokenView::open(&folder.tokens(stored.vector_file), stored.vector_file).map_err(StoreError::from) {
            Ok(view) if view.space().dimension == dimension => checked.view = Some(view),
            Ok(_) => checked.unusable = Some("vectors of tokens are of another dimension".to_owned()),
            Err(error) if error.is_missing_file() => {}
            Err(error) => checked.unusable = Some(error.to_string()),
        }
        checked
    }

    fn check(&mut self, stored: &StoredRecord, slots: &Slots) {
        let row = slots.row(stored.slot);
        let there = self.view.as_ref().and_then(|view| view.key(row?).map(|_| view.get(row?, stored.row_crc)));
        match there {
            Some(whole) => self.damaged += u64::from(whole.is_none()),
            None => self.missing += u64::from(self.are_wanted && !stored.record.text.trim().is_empty()),
        }
    }

    fn report(self, place: &str, report: &mut Report) {
        let Self { missing, damaged, unusable, .. } = self;
        let found = unusable.or((damaged > 0).then(|| format!("vectors of tokens of {damaged} records are damaged")));
        report.problems.extend(found.map(|found| Problem {
            place: place.to_owned(),
            found,
            remedy: "remove them; they are made anew from the texts, and until then recalls do without them".into(),
            serious: false,
        }));
        if missing > 0 {
            report.notes.push(format!(
                "{place}: {missing} records with a text have no vectors of tokens; recalls do without them until they \
                 are made"
            ));
        }
    }
}

/// A symbolic link on the way to a collection, or in its folder. One may lead to anything, so nothing is read then.
fn link_to(root: &Path, folder: &CollectionFolder) -> io::Result<Option<PathBuf>> {
    let collections = root.join("collections");
    match fs::symlink_metadata(&collections) {
        Ok(found) if found.is_symlink() => Ok(Some(collections)),
        _ => first_link(&folder.0),
    }
}

/// A symbolic link in a folder or below it, or in its place.
fn first_link(folder: &Path) -> io::Result<Option<PathBuf>> {
    let kind = match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found?.file_type(),
    };
    if kind.is_symlink() {
        return Ok(Some(folder.to_owned()));
    }
    if kind.is_dir() {
        for entry in fs::read_dir(folder)? {
            if let Some(link) = first_link(&entry?.path())? {
                return Ok(Some(link));
            }
        }
    }
    Ok(None)
}

/// The vectors of a collection, or what is wrong with their file.
fn open_vectors(path: &Path, stored: &StoredCollection) -> Result<VectorView, String> {
    if read_settings(stored).is_ok_and(|settings| !settings.has_vectors()) {
        return Ok(VectorFile::without_vectors(stored.vector_file, stored.rows).view(stored.rows));
    }
    let header = VectorFile::header_of(path).map_err(|error| error.to_string())?;
    if header.uuid != stored.vector_file {
        return Err(format!("{} says that it is {}", path.display(), header.uuid));
    }
    VectorView::open(path, stored.rows).map_err(|error| error.to_string())
}
