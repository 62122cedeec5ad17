//! The text index of a collection: which rows hold the words of a question, and how well (BM25).
//!
//! [`analysis`] cuts texts into terms. Postings of terms are in two parts, read as one:
//!
//! ```text
//! text ──▶ terms ─┬▶ Tail             the newest rows, in memory, from the moment a record is acknowledged
//!                 └▶ TextIndexWriter ─▶ TextIndex   committed postings, by tantivy, in the background
//!
//! question ──▶ query terms ──▶ Texts::score ──▶ TextScores, by row
//! ```
//!
//! [`Texts`] holds both. A score is made of the statistics of all current texts, so it does not matter in which
//! part a text is, or what was there before. Like the index of vectors this one is derived: its watermark says which
//! rows of which vector file it covers. One that does not fit, or is damaged, is a [`TextError`] or is not opened, and
//! is built anew.
//!
//! This crate knows rows and texts. It knows no records, no SQLite, no vectors and no HTTP. Where a tenant's texts
//! are sealed its terms are stored as codes ([`membox_sealing::TermKey`]).
//!
//! # Example
//!
//! ```
//! use membox_text::analysis::query_terms;
//! use membox_text::{TextIndexWriter, Tail, Texts, TextSource};
//!
//! let folder = tempfile::tempdir()?;
//! let of = TextSource { vector_file: uuid::Uuid::new_v4(), rows: 0, key: None };
//! let mut writer = TextIndexWriter::open(folder.path(), of)?;
//! writer.insert(0, "The spare key is under the pot.")?;
//! let disk = writer.commit(1)?;
//! let mut tail = Tail::default();
//! tail.insert(1, "She runs every morning.");
//!
//! let mut texts = Texts::new(Some(disk), tail, |_| true);
//! let found = texts.score(&query_terms("Where are the keys?"))?;
//! assert_eq!(found.iter().map(|(row, _)| row).collect::<Vec<u32>>(), [0]);
//! assert_eq!(texts.score(&query_terms("running"))?.iter().count(), 1);
//! texts.remove(1);
//! assert_eq!(texts.score(&query_terms("running"))?.iter().count(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod analysis;
mod document;
mod error;
mod index;
mod people;
mod scores;
mod synonyms;
mod tail;
mod texts;
mod totals;

pub use document::Document;
pub use error::TextError;
pub use index::{TextIndex, TextIndexWriter, TextSource};
pub use people::People;
pub use scores::{TextScores, highest};
pub use synonyms::Synonyms;
pub use tail::Tail;
pub use texts::Texts;
pub use totals::Totals;

/// Results of this crate.
pub type Result<T> = std::result::Result<T, TextError>;
