//! FAISS indexes over a vector file: build, search with filters, save, load.
//!
//! An index is derived: it covers the first rows of one vector file (its watermark), is immutable once published,
//! and finds candidates by 8-bit codes that its caller scores again exactly from the mapped rows. One that is
//! missing, damaged, or of another file is an [`IndexError::Unusable`] and is built anew. [`policy`] decides which
//! index a collection has; `plan` decides how each search is answered, and names every threshold.
//!
//! This crate does not know records, text or CUDA; it knows vectors by [`membox_vectors`], and a GPU as a
//! [`RowDevice`].
//!
//! # Example
//!
//! ```
//! use membox_index::{IndexPolicy, Search, VectorIndex};
//! use membox_vectors::{RowType, VectorFile};
//!
//! let folder = tempfile::tempdir()?;
//! let mut file = VectorFile::create(&folder.path().join("vectors.mbv"), 16, RowType::F16)?;
//! let vector = |i: usize| std::array::from_fn(|d| ((i * 7 + d * 13) % 29) as f32 - 14.0);
//! let vectors: Vec<[f32; 16]> = (0..500).map(vector).collect();
//! file.append(vectors.iter().map(<[f32; 16]>::as_slice))?;
//! let view = file.view(file.rows());
//!
//! let spec = IndexPolicy::hnsw().wanted(view.rows()).expect("HNSW wants an index of any size");
//! let index = VectorIndex::build(&view, spec, 1, &mut |_| true)?;
//! let live = (0..view.rows()).collect::<roaring::RoaringBitmap>().into();
//! let (policy, effort, scanner) = Default::default();
//! let search = Search { view: &view, index: Some(&index), allowed: &live, policy, effort, scanner: &scanner };
//! let found = search.nearest(&[&vectors[3], &vectors[4]], 10)?;
//! assert_eq!(found[1].rows.len(), 10);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod calibrate;
mod device;
mod error;
mod faiss;
mod graph;
mod plan;
pub mod policy;
mod popcount;
mod products;
mod proposal;
mod rows;
mod scanner;
mod search;
mod sketch;
mod vector_index;

pub use calibrate::WANTED_RECALL;
pub use device::{DeviceRows, RowDevice};
pub use error::IndexError;
pub use policy::{Effort, IndexPolicy, IndexSpec, MAX_EF_SEARCH};
pub use rows::{AllowedRows, Found};
pub use scanner::Scanner;
pub use search::Search;
pub use vector_index::{Manifest, Progress, VectorIndex};
