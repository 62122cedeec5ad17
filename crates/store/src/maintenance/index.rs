//! Building the vector index in the background.

use super::Maintenance;
use crate::StoreError;
use crate::collection::Collection;
use crate::derived::{build_index, calibrated, commit_texts};
use membox_index::{IndexError, IndexSpec, VectorIndex};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Rows past the watermark that an index is extended by at least: below, scanning them costs less than 0.5 ms a
/// query. In a large collection it is one in so many: each time the whole index is read and written.
const FRESH_ROWS: u32 = 10_000;
const FRESH_SHARE: u32 = 25;
impl Maintenance {
    /// Builds or extends the index when enough rows are not covered, saves it and swaps it in.
    pub(crate) fn keep_index(&self, collection: &Collection) -> Result<(), StoreError> {
        let (view, current) = {
            let state = collection.state();
            (state.view.clone(), state.index.clone())
        };
        let folder = collection.folder().index();
        let Some(wanted) = collection.index_policy().wanted(view.rows()) else {
            if current.is_some() {
                collection.state_mut().set_index(None);
                VectorIndex::remove(&folder);
            }
            return Ok(());
        };
        let fits = current.as_ref().is_some_and(|index| same_kind(index.spec(), wanted));
        let covered = current.as_ref().filter(|_| fits).map_or(0, |index| index.rows());
        let fresh = view.rows() - covered;
        if fits && fresh < FRESH_ROWS.max(view.rows() / FRESH_SHARE) {
            return Ok(());
        }
        // The published index is searched meanwhile, so its saved file is what is extended. One that has doubled is
        // built anew: its codes were learnt from the first half.
        let saved = (fits && covered >= view.rows() / 2).then(|| VectorIndex::load(&folder, &view).ok()).flatten();
        let mut texts = Ok(());
        let mut progress = |rows| {
            collection.building.store(rows, Ordering::Relaxed);
            // What is written meanwhile, hundreds of thousands of texts, neither stays in memory nor is cut into
            // terms at a start.
            texts = commit_texts(&self.registry, collection, || self.is_over(collection));
            // What doubles while it is built would be built anew at once: the write that doubled it asks for that.
            texts.is_ok() && !self.is_over(collection) && collection.state().view.rows() < view.rows().saturating_mul(2)
        };
        let (policy, rows) = (collection.index_policy(), collection.state().vectors().clone());
        let built = match saved {
            Some(mut index) => match index.extend(&view, self.threads, &mut progress) {
                Err(IndexError::Stopped) => Ok(None),
                extended => {
                    extended.and_then(|()| calibrated(index, &view, policy, &rows).map(Some)).map_err(StoreError::from)
                }
            },
            None => build_index(&view, wanted, policy, &rows, self.threads, &mut progress),
        };
        collection.building.store(0, Ordering::Relaxed);
        texts?;
        let Some(index) = built? else { return Ok(()) };
        std::fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
        index.save(&folder)?;
        let mut state = collection.state_mut();
        if state.view.header().uuid == view.header().uuid {
            state.set_index(Some(Arc::new(index)));
        }
        Ok(())
    }
}

fn same_kind(a: IndexSpec, b: IndexSpec) -> bool {
    use IndexSpec::{Hnsw, Ivf};
    match (a, b) {
        (Hnsw { m, ef_construction, .. }, Hnsw { m: m2, ef_construction: e2, .. }) => m == m2 && ef_construction == e2,
        (Ivf { .. }, Ivf { .. }) => true,
        _ => false,
    }
}
