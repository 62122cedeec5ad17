//! The k nearest rows: by the index and the fresh tail together, or by an exact scan where that is the better plan.

use crate::policy::{Effort, IndexPolicy, IndexSpec, Plan, plan};
use crate::{IndexError, VectorIndex};
use membox_vectors::{ScoredRow, TopK, VectorView};
use roaring::RoaringBitmap;

/// Which rows may be found.
#[derive(Clone, Copy)]
pub enum Allowed<'a> {
    /// Every live row: as a set and as the bits that FAISS wants (bit i of byte i / 8).
    Live(&'a RoaringBitmap, &'a [u8]),
    /// The live rows that a filter allows.
    Filtered(&'a RoaringBitmap),
}

impl<'a> Allowed<'a> {
    /// The rows as a set.
    pub fn rows(self) -> &'a RoaringBitmap {
        match self {
            Self::Live(rows, _) | Self::Filtered(rows) => rows,
        }
    }
}

/// The best rows, and how they were found.
#[derive(Debug, PartialEq)]
pub struct Found {
    /// Best first, with exact scores.
    pub rows: Vec<ScoredRow>,
    /// Whether every allowed row was scored.
    pub exact: bool,
}

/// Finds the `k` allowed rows in view that score best. The index proposes, the vector file decides: every score is exact. Rows
/// past the index's watermark are always scanned.
///
/// The index is searched as hard as the policy in force says, or else the request.
///
/// FAISS's own filter is not used with HNSW: it keeps the beam among the nodes nearest to the query, allowed or not, and fills the
/// answer with whatever allowed nodes it met on the way, so a filter that excludes the query's neighbourhood gives full answers of
/// low recall (0.61 measured, where one in two clusters was excluded). Here the beam is asked for the nearest of all rows, as wide
/// as the filter is selective. The allowed among them are the nearest allowed, if there are about as many as the filter's
/// selectivity promises. If not, the filter and the query are at odds, no beam can be trusted, and a scan answers.
pub fn search(
    view: &VectorView,
    index: Option<&VectorIndex>,
    query: &[f32],
    k: usize,
    allowed: Allowed,
    (policy, effort): (IndexPolicy, Effort),
) -> Result<Found, IndexError> {
    let scan = |from| view.scan(query, from..view.rows(), Some(allowed.rows()), k);
    let Some(index) = index.filter(|_| k > 0 && !effort.exact) else {
        return Ok(Found { rows: scan(0), exact: true });
    };
    let covered = index.rows().min(view.rows());
    let among = allowed.rows().range_cardinality(..covered);
    let spec = index.spec().searched(policy, effort);
    let Plan::Index { candidates } = plan(spec, u64::from(covered), among, k) else {
        return Ok(Found { rows: scan(0), exact: true });
    };
    let proposed = match spec {
        IndexSpec::Hnsw { .. } => nearest_allowed(index, query, candidates, k, allowed.rows(), among)?,
        IndexSpec::Ivf { nprobe, .. } => Some(in_lists(index, query, (candidates, nprobe), allowed, covered, among)?),
    };
    let Some(proposed) = proposed.filter(|rows| rows.len() >= k.min(among as usize)) else {
        return Ok(Found { rows: scan(0), exact: true });
    };
    let mut top = TopK::new(k);
    for row in proposed.into_iter().filter(|&row| row < covered && allowed.rows().contains(row)) {
        top.push(row, view.score(query, row));
    }
    for fresh in scan(covered) {
        top.push(fresh.row, fresh.score);
    }
    Ok(Found { rows: top.into_sorted(), exact: false })
}

/// The allowed of the nearest rows by HNSW; `None` when they are fewer than the filter's selectivity promises.
fn nearest_allowed(
    index: &VectorIndex,
    query: &[f32],
    candidates: usize,
    k: usize,
    allowed: &RoaringBitmap,
    among: u64,
) -> Result<Option<Vec<u32>>, IndexError> {
    let mut rows = index.candidates(query, candidates, 0, None)?;
    let promised = (rows.len() as u64 * among / u64::from(index.rows().max(1))) as usize;
    rows.retain(|&row| allowed.contains(row));
    Ok((rows.len() >= (promised / 2).max(2 * k).min(among as usize)).then_some(rows))
}

/// The allowed rows nearest by their codes in the nearest lists of IVF, where FAISS asks the filter for every row of a list.
fn in_lists(
    index: &VectorIndex,
    query: &[f32],
    (candidates, nprobe): (usize, u32),
    allowed: Allowed,
    covered: u32,
    among: u64,
) -> Result<Vec<u32>, IndexError> {
    match allowed {
        Allowed::Live(rows, bits) => {
            index.candidates(query, candidates, nprobe, (rows.len() < u64::from(covered)).then_some(bits))
        }
        Allowed::Filtered(rows) => {
            // Twice as wide as the filter is selective: the lists nearest to the query may be those that it excludes.
            let widen = (2 * u64::from(covered) / among.max(1)).min(1 << 16) as u32;
            index.candidates(query, candidates, nprobe.saturating_mul(widen), Some(&bits_below(rows, covered)))
        }
    }
}

/// A set of rows as the bits that FAISS wants.
pub fn bits_below(rows: &RoaringBitmap, end: u32) -> Vec<u8> {
    let mut bits = vec![0u8; end.div_ceil(8) as usize];
    rows.range(..end).for_each(|row| bits[row as usize / 8] |= 1 << (row % 8));
    bits
}
