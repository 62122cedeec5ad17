//! The part of the text index that is on disk: a tantivy index of terms, rows and text lengths.

use crate::TextError;
use crate::analysis::Term as TextTerm;
use crate::document::Document;
use crate::people::People;
use crate::totals::Totals;
use membox_sealing::TermKey;
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tantivy::directory::MmapDirectory;
use tantivy::indexer::NoMergePolicy;
use tantivy::schema::{FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{PreTokenizedString, Token};
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, Searcher, TantivyDocument, Term};
use uuid::Uuid;

/// Version of the schema and of the analysis; an index of another one is built anew.
const VERSION: u32 = 6;
/// Memory that tantivy gathers documents in before it writes a segment: its least is 15 MB.
const WRITER_BYTES: usize = 32 << 20;
/// Segments over which a commit merges them all into one.
const MAX_SEGMENTS: usize = 12;

/// tantivy's list of segments, with the watermark: the one file of an index that it gives no checksum.
const META: &str = "meta.json";
/// Ours of it, in hexadecimal. One that a crash has left behind the list means that the index is built anew.
const META_CHECKSUM: &str = "meta.crc";

/// Turns tantivy's panics over damaged files into errors.
fn guarded<T>(work: impl FnOnce() -> crate::Result<T>) -> crate::Result<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(TextError::Damaged("the text index cannot be read at all".into())))
}

fn meta_checksum(folder: &Path) -> Option<u32> {
    fs::read(folder.join(META)).ok().map(|bytes| crc32c::crc32c(&bytes))
}

/// Whether an index was begun in a folder and nothing of it was ever committed: a stop or a crash came first. There
/// is nothing in it.
fn was_never_committed(folder: &Path) -> bool {
    let meta = fs::read(folder.join(META)).ok();
    let meta: Option<serde_json::Value> = meta.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let is_empty = |meta: serde_json::Value| meta["payload"].is_null() && meta["segments"] == serde_json::json!([]);
    !folder.join(META_CHECKSUM).exists() && meta.is_some_and(is_empty)
}

#[expect(clippy::disallowed_methods, reason = "where the name is lost, the text index is built anew")]
fn write_meta_checksum(folder: &Path) -> std::io::Result<()> {
    let temporary = folder.join("meta.crc.tmp");
    let mut file = fs::File::create(&temporary)?;
    write!(file, "{:08x}", meta_checksum(folder).unwrap_or_default())?;
    file.sync_all()?;
    fs::rename(&temporary, folder.join(META_CHECKSUM))
}

/// Kept with each commit: what it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Watermark {
    version: u32,
    vector_file: Uuid,
    rows: u32,
    /// The key by which its terms have codes, where they are not to be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<u32>,
}

/// What the last commit in a folder says that it covers.
fn watermark(folder: &Path) -> Option<Watermark> {
    let meta: serde_json::Value = serde_json::from_slice(&fs::read(folder.join(META)).ok()?).ok()?;
    serde_json::from_str(meta["payload"].as_str()?).ok()
}

/// What an index is derived from, and by it which one is wanted.
#[derive(Clone, Debug)]
pub struct TextSource {
    /// The vector file whose rows it names.
    pub vector_file: Uuid,
    /// Committed rows of it.
    pub rows: u32,
    /// What gives its terms their codes, if they are not to be read from the files.
    pub key: Option<TermKey>,
}

impl TextSource {
    fn key_number(&self) -> Option<u32> {
        self.key.as_ref().map(TermKey::number)
    }

    fn is_covered_by(&self, mark: &Watermark) -> bool {
        mark.version == VERSION
            && mark.vector_file == self.vector_file
            && mark.rows <= self.rows
            && mark.key == self.key_number()
    }

    fn term(&self, term: &str) -> String {
        self.key.as_ref().map_or_else(|| term.to_owned(), |key| key.code(term))
    }
}

#[derive(Clone, Copy)]
struct Fields {
    text: Field,
    row: Field,
    length: Field,
    speaker: Field,
    user: Field,
    question: Field,
}

fn schema() -> (Schema, Fields) {
    let mut builder = Schema::builder();
    let indexing = TextFieldIndexing::default().set_index_option(IndexRecordOption::WithFreqs).set_fieldnorms(false);
    let text = builder.add_text_field("text", TextOptions::default().set_indexing_options(indexing));
    let row = builder.add_u64_field("row", FAST | INDEXED);
    let length = builder.add_u64_field("length", FAST);
    let speaker = builder.add_u64_field("speaker", FAST);
    let user = builder.add_u64_field("user", FAST);
    let question = builder.add_bool_field("question", FAST);
    (builder.build(), Fields { text, row, length, speaker, user, question })
}

/// A committed state, to read from.
#[derive(Clone)]
pub struct TextIndex {
    searcher: Searcher,
    /// The row of each document of a segment, from its column: unpacked, reading one costs a nanosecond instead of
    /// ten.
    rows_of_documents: Vec<Arc<[u32]>>,
    /// The length of each row's text; [`NO_TEXT`] where it has none.
    lengths: Arc<[u32]>,
    /// Who said the text of each row, and whom it is about.
    people: Arc<[People]>,
    /// Rows whose texts are questions.
    questions: Arc<RoaringBitmap>,
    fields: Fields,
    rows: u32,
    totals: Totals,
    of: TextSource,
}

/// In place of the length of a row that has no text.
const NO_TEXT: u32 = u32::MAX;

/// The writer of a text index; opened for a commit and closed after it, so that idle collections cost nothing.
pub struct TextIndexWriter {
    folder: PathBuf,
    index: Index,
    writer: IndexWriter,
    fields: Fields,
    of: TextSource,
}

impl TextIndex {
    /// Opens the last commit in a folder if it is the one that is wanted, of this version, covers none but
    /// committed rows, and every file of it has its checksum: reads all of them once.
    pub fn open(folder: &Path, of: &TextSource) -> crate::Result<Option<Self>> {
        match Self::damaged_files(folder)?.as_slice() {
            [] => Self::read(folder, of),
            damaged => Err(TextError::Damaged(format!("files of the text index: {}", damaged.join(", ")))),
        }
    }

    /// Opens the last commit without looking at the checksums.
    fn read(folder: &Path, of: &TextSource) -> crate::Result<Option<Self>> {
        guarded(|| {
            if !folder.join(META).exists() {
                return Ok(None);
            }
            let index = Index::open(MmapDirectory::open(folder).map_err(tantivy::TantivyError::from)?)?;
            Self::of(&index, of)
        })
    }

    fn of(index: &Index, of: &TextSource) -> crate::Result<Option<Self>> {
        let payload = index.load_metas()?.payload.unwrap_or_default();
        let watermark: Option<Watermark> = serde_json::from_str(&payload).ok();
        let Some(mark) = watermark.filter(|mark| of.is_covered_by(mark)) else { return Ok(None) };
        let reader: IndexReader =
            index.reader_builder().reload_policy(ReloadPolicy::Manual).num_warming_threads(0).try_into()?;
        let searcher = reader.searcher();
        let fields = schema().1;
        let mut rows_of_documents = Vec::new();
        let mut lengths = vec![NO_TEXT; mark.rows as usize];
        let mut people = vec![People::default(); mark.rows as usize];
        let mut questions = RoaringBitmap::new();
        let mut totals = Totals::default();
        for segment in searcher.segment_readers() {
            let fast = segment.fast_fields();
            let (row, length) = (fast.u64("row")?, fast.u64("length")?);
            let (speaker, user, question) = (fast.u64("speaker")?, fast.u64("user")?, fast.bool("question")?);
            let rows: Arc<[u32]> = row.values.iter().map(|row| row as u32).collect();
            for document in segment.doc_ids_alive() {
                let length = length.values.get_val(document) as u32;
                let row = rows.get(document as usize).map_or(usize::MAX, |&row| row as usize);
                let past = || TextError::Damaged("a text is of a row past the watermark".into());
                *lengths.get_mut(row).ok_or_else(past)? = length;
                let number = |column: &tantivy::columnar::Column<u64>| column.values.get_val(document) as u32;
                people[row] = People { speaker: number(&speaker), user: number(&user) };
                if question.values.get_val(document) {
                    questions.insert(row as u32);
                }
                totals.texts += 1;
                totals.terms += u64::from(length);
            }
            rows_of_documents.push(rows);
        }
        Ok(Some(Self {
            searcher,
            rows_of_documents,
            lengths: lengths.into(),
            people: people.into(),
            questions: Arc::new(questions),
            fields,
            rows: mark.rows,
            totals,
            of: of.clone(),
        }))
    }

    /// As [`TextIndex::open`], for who only wants to know whether it could be opened: an open index notes in its
    /// folder that it is read.
    pub fn check(folder: &Path, of: &TextSource) -> crate::Result<()> {
        let damaged = Self::damaged_files(folder)?;
        if !damaged.is_empty() {
            return Err(TextError::Damaged(format!("files of the text index: {}", damaged.join(", "))));
        }
        if !folder.join(META).exists() || was_never_committed(folder) {
            return Ok(());
        }
        match watermark(folder).filter(|mark| mark.version < VERSION || of.is_covered_by(mark)) {
            // One of an older version is built anew when it is opened, and nothing is wrong with it.
            Some(_) => Ok(()),
            None => Err(TextError::Damaged("the text index is of another state".into())),
        }
    }

    /// Rows that the index in a folder covers by what its last commit says, and nothing else is looked at; `None`
    /// if it is of another vector file or version, or cannot be read.
    pub fn covered(folder: &Path, vector_file: Uuid) -> Option<u32> {
        let of_now = |mark: &Watermark| mark.version == VERSION && mark.vector_file == vector_file;
        watermark(folder).filter(of_now).map(|mark| mark.rows)
    }

    /// Whether the terms of the index in a folder, if there is one, have their codes by another key than is wanted,
    /// or by none: what it would not be found by can still be read from it.
    pub fn is_under_another_key(folder: &Path, of: &TextSource) -> bool {
        watermark(folder).is_some_and(|mark| mark.key != of.key_number())
    }

    /// What gives its terms their codes.
    pub fn key(&self) -> Option<&TermKey> {
        self.of.key.as_ref()
    }

    /// Checks the checksums of every file of the index in a folder and gives the damaged ones.
    pub fn damaged_files(folder: &Path) -> crate::Result<Vec<String>> {
        if !folder.join(META).exists() || was_never_committed(folder) {
            return Ok(Vec::new());
        }
        let recorded = fs::read_to_string(folder.join(META_CHECKSUM)).unwrap_or_default();
        if u32::from_str_radix(&recorded, 16).ok() != meta_checksum(folder) {
            return Ok(vec![META.to_owned()]);
        }
        guarded(|| {
            let index = Index::open(MmapDirectory::open(folder).map_err(tantivy::TantivyError::from)?)?;
            Ok(index.validate_checksum()?.into_iter().map(|p| p.display().to_string()).collect())
        })
    }

    /// The watermark: rows below it are covered.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Texts and terms.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Terms of a row's text, stop words not counted.
    pub fn length(&self, row: u32) -> Option<u32> {
        self.lengths.get(row as usize).copied().filter(|&length| length != NO_TEXT)
    }

    /// Who said a row's text, and whom it is about.
    pub fn people(&self, row: u32) -> Option<People> {
        self.length(row).and_then(|_| self.people.get(row as usize).copied())
    }

    /// Whether a row's text is a question.
    pub fn is_question(&self, row: u32) -> bool {
        self.questions.contains(row)
    }

    /// Whether a commit has removed texts whose postings are not merged away yet.
    pub fn has_deletions(&self) -> bool {
        self.searcher.segment_readers().iter().any(tantivy::SegmentReader::has_deletes)
    }

    /// Texts that hold a term, those that [`TextIndex::has_deletions`] speaks of among them.
    pub fn frequency(&self, term: &str) -> crate::Result<u64> {
        Ok(self.searcher.doc_freq(&Term::from_field_text(self.fields.text, &self.of.term(term)))?)
    }

    /// Calls `each` with row, count and text length for every row that holds a term.
    pub fn postings(&self, term: &str, mut each: impl FnMut(u32, u32, u32)) -> crate::Result<()> {
        let term = Term::from_field_text(self.fields.text, &self.of.term(term));
        for (segment, rows) in self.searcher.segment_readers().iter().zip(&self.rows_of_documents) {
            let inverted = segment.inverted_index(self.fields.text)?;
            let Some(mut block) = inverted
                .read_block_postings(&term, IndexRecordOption::WithFreqs)
                .map_err(tantivy::TantivyError::from)?
            else {
                continue;
            };
            let alive = segment.alive_bitset();
            while !block.docs().is_empty() {
                for (&doc, &count) in block.docs().iter().zip(block.freqs()) {
                    if alive.is_none_or(|alive| alive.is_alive(doc)) {
                        let row = rows.get(doc as usize).copied().unwrap_or_default();
                        each(row, count, self.lengths.get(row as usize).copied().unwrap_or_default());
                    }
                }
                block.advance();
            }
        }
        Ok(())
    }
}

impl TextIndexWriter {
    /// Opens the index in a folder for writing. One of another vector file, key or version is thrown away first; so
    /// is one that cannot be opened.
    pub fn open(folder: &Path, of: TextSource) -> crate::Result<Self> {
        let usable = TextIndex::read(folder, &of).ok().flatten().is_some();
        if !usable {
            let _ = fs::remove_dir_all(folder);
        }
        let io = |e: std::io::Error| tantivy::TantivyError::from(e);
        fs::create_dir_all(folder).map_err(io)?;
        let directory = MmapDirectory::open(folder).map_err(tantivy::TantivyError::from)?;
        let (schema, fields) = schema();
        let index = Index::open_or_create(directory, schema)?;
        let writer: IndexWriter = index.writer_with_num_threads(1, WRITER_BYTES)?;
        writer.set_merge_policy(Box::new(NoMergePolicy));
        Ok(Self { folder: folder.to_owned(), index, writer, fields, of })
    }

    /// The watermark of the last commit; 0 for a new index.
    pub fn rows(&self) -> crate::Result<u32> {
        let all = TextSource { rows: u32::MAX, ..self.of.clone() };
        Ok(TextIndex::of(&self.index, &all)?.map_or(0, |disk| disk.rows))
    }

    /// Adds the text of a row.
    pub fn insert<'a>(&mut self, row: u32, document: impl Into<Document<'a>>) -> crate::Result<()> {
        let document = document.into();
        let people = document.people();
        let people = if self.of.key.is_some() { people.sealed() } else { people };
        let (terms, length) = document.terms();
        let is_question = document.is_question();
        let token = |(position, term): (usize, TextTerm)| Token {
            position,
            text: self.of.term(&term.text),
            ..Token::default()
        };
        let tokens = terms.into_iter().enumerate().map(token).collect();
        let mut document = TantivyDocument::default();
        document.add_pre_tokenized_text(self.fields.text, PreTokenizedString { text: String::new(), tokens });
        document.add_u64(self.fields.row, u64::from(row));
        document.add_u64(self.fields.length, u64::from(length));
        document.add_u64(self.fields.speaker, u64::from(people.speaker));
        document.add_u64(self.fields.user, u64::from(people.user));
        document.add_bool(self.fields.question, is_question);
        self.writer.add_document(document)?;
        Ok(())
    }

    /// Removes a row.
    pub fn remove(&mut self, row: u32) {
        self.writer.delete_term(Term::from_field_u64(self.fields.row, u64::from(row)));
    }

    /// Commits with a watermark, merges when there are many segments, and gives the new state.
    pub fn commit(mut self, rows: u32) -> crate::Result<TextIndex> {
        let of = TextSource { rows, ..self.of };
        let mark = Watermark { version: VERSION, vector_file: of.vector_file, rows, key: of.key_number() };
        let payload = serde_json::to_string(&mark).unwrap_or_default();
        let mut commit = self.writer.prepare_commit()?;
        commit.set_payload(&payload);
        commit.commit()?;
        let segments = self.index.searchable_segment_ids()?;
        if segments.len() > MAX_SEGMENTS {
            // A merge keeps the payload of the last commit.
            self.writer.merge(&segments).wait()?;
        }
        self.writer.garbage_collect_files().wait()?;
        self.writer.wait_merging_threads()?;
        write_meta_checksum(&self.folder).map_err(tantivy::TantivyError::from)?;
        TextIndex::of(&self.index, &of)?
            .ok_or_else(|| TextError::Damaged("the text index has no watermark after its commit".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_of_which_nothing_was_committed_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("text");
        let of = TextSource { vector_file: Uuid::new_v4(), rows: 10, key: None };
        let mut writer = TextIndexWriter::open(&path, of.clone()).expect("a writer");
        writer.insert(0, "some words").expect("a text");
        // A stop comes before the commit.
        drop(writer);
        assert!(path.join(META).exists());
        TextIndex::check(&path, &of).expect("nothing is wrong with it");
        assert!(TextIndex::open(&path, &of).expect("nothing is wrong with it").is_none());
        let mut writer = TextIndexWriter::open(&path, of.clone()).expect("a writer");
        writer.insert(0, "some words").expect("a text");
        drop(writer.commit(1).expect("a commit"));
        TextIndex::check(&path, &of).expect("it is whole");
        assert_eq!(TextIndex::open(&path, &of).expect("it is whole").map(|text| text.rows()), Some(1));
        let other = TextSource { vector_file: Uuid::new_v4(), ..of.clone() };
        assert!(TextIndex::check(&path, &other).is_err());
        fs::write(path.join(META_CHECKSUM), "00000000").expect("a write");
        assert!(TextIndex::check(&path, &of).is_err());
    }
}
