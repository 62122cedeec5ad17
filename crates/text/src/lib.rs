//! The text index of a collection: which rows hold the words of a question, and how well (BM25).
//!
//! [`analysis`] cuts texts into terms. Postings of terms are in two parts, read as one:
//!
//! ```text
//! text ──▶ terms ─┬▶ Tail        the newest rows, in memory, from the moment a record is acknowledged
//!                 └▶ DiskWriter ──▶ DiskText   committed postings, by tantivy; a commit is heavy and follows in the background
//!
//! question ──▶ query terms ──▶ score(DiskText, Tail) ──▶ TextScores, by row
//! ```
//!
//! Both parts give term statistics, and a score is made of their sums, so it does not matter where a text is. Like the index of
//! vectors this one is derived: its watermark says which rows of which vector file it covers. One that does not fit, or is
//! damaged, is a [`TextError`] or is not opened, and is built anew.
//!
//! This crate knows rows and texts. It knows no records, no SQLite, no vectors and no HTTP. Where a tenant's texts are sealed
//! its terms are stored as codes ([`membox_sealing::TermKey`]).
//!
//! # Example
//!
//! ```
//! use membox_text::analysis::query_terms;
//! use membox_text::{DiskWriter, Tail, TextOf, score};
//!
//! let folder = tempfile::tempdir()?;
//! let of = TextOf { vector_file: uuid::Uuid::new_v4(), rows: 0, key: None };
//! let mut writer = DiskWriter::open(folder.path(), of)?;
//! writer.insert(0, "The spare key is under the pot.")?;
//! let disk = writer.commit(1)?;
//! let mut tail = Tail::default();
//! tail.insert(1, "She runs every morning.");
//!
//! let rows = |question| score(&query_terms(question), Some(&disk), &tail).map(|found| found.iter().map(|f| f.0).collect());
//! assert_eq!(rows("Where are the keys?")?, [0]);
//! let runs: Vec<u32> = rows("running")?;
//! assert_eq!(runs, [1]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod analysis;
mod disk;
mod error;
mod score;
mod scores;
mod synonyms;
mod tail;

pub use disk::{DiskText, DiskWriter, TextOf};
pub use error::TextError;
pub use score::{Totals, score};
pub use scores::TextScores;
pub use synonyms::Synonyms;
pub use tail::Tail;

/// Results of this crate.
pub type Result<T> = std::result::Result<T, TextError>;
