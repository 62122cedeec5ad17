//! The memory-mapped vector file and exact scans over it.
//!
//! One file a collection: a header, then rows of fixed stride in f16 or f32 (the bytes are drawn in
//! [`format`](mod@format)). One writer appends rows and makes them durable; readers take a [`VectorView`] of the
//! committed rows, which stays valid and unchanged however long it is held. A row's number is the vector's id
//! everywhere.
//!
//! Beside a vector file may lie token vectors ([`token_format`]): a small vector for each token of a row's text, which
//! a question is compared with token by token.
//!
//! A page of a map that cannot be read does not end the process: while there are maps, this crate handles SIGBUS for
//! addresses within them, and passes on any other.
//!
//! This crate does not know FAISS or SQLite: how many rows are committed, and what their checksums must be, its
//! callers say.
//!
//! # Example
//!
//! ```
//! use membox_vectors::{RowType, VectorFile};
//!
//! let folder = tempfile::tempdir()?;
//! let mut file = VectorFile::create(&folder.path().join("vectors.mbv"), 4, RowType::F16)?;
//! file.append([[1.0, 0.0, 0.0, 0.0].as_slice(), &[0.0, 1.0, 0.0, 0.0]])?;
//! file.sync()?;
//! let best = file.view(2).scan(&[0.1, 0.9, 0.0, 0.0], 0..2, None, 1);
//! assert_eq!(best[0].row, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batcher;
mod beneath;
mod error;
mod file;
pub mod format;
mod retired;
mod scan;
mod sigbus;
mod simd;
mod sync;
mod token_file;
pub mod token_format;
mod tokens;
mod top_k;

pub use beneath::open_beneath;
pub use error::VectorsError;
pub use file::{RowReceipt, VectorFile, VectorView, rename_durably, rename_to_new, sync_parent};
pub use format::{Header, Metric, RowType};
pub use retired::{Retired, RowPin};
pub use scan::ScanQueue;
pub use simd::prefetch;
pub use token_file::{RowCodes, StoredCodes, TokenFile, TokenSync, TokenView, remove_token_files};
pub use tokens::{MAX_TOKEN_DIMENSION, MAX_TOKENS, QuestionTokens, TokenSpace, TokenVectors};
pub use top_k::{ScoredRow, TopK};
