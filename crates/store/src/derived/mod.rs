//! Making what is derived from records and rows: the vector index and the text index.

mod index;
mod texts;

pub(crate) use index::{build_index, calibrated};
pub(crate) use texts::commit_texts;
