//! Building the vector index.

use crate::StoreError;
use membox_index::{AllowedRows, IndexError, IndexPolicy, IndexSpec, Progress, VectorIndex};
use membox_vectors::VectorView;

/// Rows that the beam of an automatic index is measured with.
const CALIBRATED_ROWS: usize = 192;

/// Builds an index over the rows in view, of which `rows` are current; `None` if `progress` stopped it.
pub(crate) fn build_index(
    view: &VectorView,
    spec: IndexSpec,
    policy: IndexPolicy,
    rows: &AllowedRows,
    threads: usize,
    progress: Progress,
) -> Result<Option<VectorIndex>, StoreError> {
    let built = match VectorIndex::build(view, spec, threads, progress) {
        Err(IndexError::Stopped) => return Ok(None),
        built => calibrated(built?, view, policy, rows)?,
    };
    // One of rows that could not be read would be kept.
    view.check_readable()?;
    Ok(Some(built))
}

/// An automatic index measures its beam among the current rows.
pub(crate) fn calibrated(
    mut index: VectorIndex,
    view: &VectorView,
    policy: IndexPolicy,
    rows: &AllowedRows,
) -> Result<VectorIndex, IndexError> {
    if policy == IndexPolicy::Auto {
        index.calibrate(view, rows, CALIBRATED_ROWS)?;
    }
    Ok(index)
}
