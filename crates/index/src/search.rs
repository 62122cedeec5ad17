//! The k nearest rows: by the index and the fresh tail together, or by an exact scan where that is the better plan.

use crate::policy::{Effort, IndexPolicy, IndexSpec, Plan, plan};
use crate::scanner::{MANY_ROWS, Scanner};
use crate::{IndexError, VectorIndex};
use membox_vectors::{ScoredRow, TopK, VectorView};
use roaring::RoaringBitmap;
use std::sync::{Arc, OnceLock};

/// Rows over which a scan waits for others to go with.
const SHARED_SCAN_ROWS: u64 = 20_000;
/// Rows nearest to the query among which the allowed ones are counted, to see whether filter and query are at odds.
const COUNTED: usize = 64;
/// Lists that they are looked for in.
const COUNTED_LISTS: usize = 4;
/// Rows of which some bits are looked at in three times what a walk without a filter takes for one of its beam (0.8 ms for a million; 0.8 µs): as long as a filter
/// may take.
const ROWS_INSTEAD: u64 = 3200;
/// Candidates that are scored exactly for each row that is wanted, at least [`COUNTED`]: by their codes the best rows are among them.
const SCORED_EXACTLY: usize = 4;

/// The rows that may be found: as a set, and as bits (bit i of byte i / 8) for those who ask about one row after another.
#[derive(Clone, Debug, Default)]
pub struct AllowedRows {
    rows: Arc<RoaringBitmap>,
    /// Made when they are first asked for.
    bits: OnceLock<Vec<u8>>,
}

impl From<RoaringBitmap> for AllowedRows {
    fn from(rows: RoaringBitmap) -> Self {
        Self { rows: Arc::new(rows), bits: OnceLock::new() }
    }
}

impl AllowedRows {
    /// As a set.
    pub fn rows(&self) -> &RoaringBitmap {
        &self.rows
    }

    /// Allows or excludes a row.
    pub fn set(&mut self, row: u32, is_allowed: bool) {
        match is_allowed {
            true => Arc::make_mut(&mut self.rows).insert(row),
            false => Arc::make_mut(&mut self.rows).remove(row),
        };
        if let Some(bits) = self.bits.get_mut() {
            let (byte, bit) = (row as usize / 8, 1u8 << (row % 8));
            if is_allowed {
                bits.resize(bits.len().max(byte + 1), 0);
                bits[byte] |= bit;
            } else if let Some(byte) = bits.get_mut(byte) {
                *byte &= !bit;
            }
        }
    }

    /// As bits, at least up to the highest row.
    pub fn bits(&self) -> &[u8] {
        self.bits.get_or_init(|| {
            let mut bits = vec![0u8; self.rows.max().map_or(0, |row| row as usize / 8 + 1)];
            let (mut rows, mut some) = (self.rows.iter(), [0; 1024]);
            loop {
                let some = rows.next_many(&mut some);
                if some.is_empty() {
                    return bits;
                }
                some.iter().for_each(|row| bits[*row as usize / 8] |= 1 << (row % 8));
            }
        })
    }

    /// Whether a row is allowed.
    #[inline]
    pub fn contains(&self, row: u32) -> bool {
        self.bits().get(row as usize / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 1)
    }

    /// Whether so many rows below `end` are excluded that a query's neighbourhood may be among them.
    pub(crate) fn excludes_many(&self, end: u32) -> bool {
        self.rows.range_cardinality(..end) * 200 < u64::from(end) * 199
    }

    /// At most `count` of the rows below `end`, spread over them.
    pub(crate) fn sample(&self, end: u32, count: u64) -> Vec<u32> {
        let among = self.rows.range_cardinality(..end);
        let step = among.div_ceil(count).max(1);
        (0..among).step_by(step as usize).filter_map(|rank| self.rows.select(rank as u32)).collect()
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

/// A search for the nearest rows: among which, and how.
#[derive(Clone, Copy)]
pub struct Search<'a> {
    /// The rows that are there.
    pub view: &'a VectorView,
    /// What proposes rows, if there is an index.
    pub index: Option<&'a VectorIndex>,
    /// The rows that may be found.
    pub allowed: &'a AllowedRows,
    /// How hard the index is searched where `effort` does not say.
    pub policy: IndexPolicy,
    /// How hard it is searched this time.
    pub effort: Effort,
    /// What the searches of a collection have in common.
    pub scanner: &'a Scanner,
}

impl Search<'_> {
    /// Finds, for each query, the `k` allowed rows in view that score best. The index proposes, the vector file decides: every score is exact. Rows
    /// past the index's watermark are scanned, or told apart by their bits where they are many; large scans that are wanted at the same time go together. Where
    /// the rows are on a device too, the faster way is taken.
    pub fn nearest(&self, queries: &[&[f32]], k: usize) -> Result<Vec<Found>, IndexError> {
        let here = || self.nearest_here(queries, k);
        match &self.scanner.on_device {
            // Who says how hard the index is to be searched means the index.
            Some(device) if k > 0 && self.effort.ef_search.is_none() && self.effort.nprobe.is_none() => {
                let compared_with = self.index.filter(|_| !self.effort.exact).map(VectorIndex::rows);
                device.search(self.view, queries, k, self.allowed, compared_with, here)
            }
            _ => here(),
        }
    }

    /// Without a device.
    fn nearest_here(&self, queries: &[&[f32]], k: usize) -> Result<Vec<Found>, IndexError> {
        let Self { view, index, allowed, policy, effort, scanner } = *self;
        let covered = index.map_or(0, |index| index.rows().min(view.rows()));
        let among = allowed.rows.range_cardinality(..covered);
        // An index that is wanted and not there yet covers nothing.
        let is_wanted = index.is_some() || (policy.wanted(view.rows()).is_some() && allowed.rows.len() >= MANY_ROWS);
        let mut found: Vec<Option<Found>> = Vec::with_capacity(queries.len());
        for query in queries {
            let proposed = match index {
                _ if k == 0 || effort.exact || !is_wanted => None,
                Some(index) => propose(view, index, query, k, allowed, among, index.spec().searched(policy, effort))?,
                None => Some(Vec::new()),
            };
            // Fewer than there are: the graph does not hang together among the allowed rows.
            let proposed = proposed.filter(|rows| rows.len() >= k.min(among as usize));
            found.push(proposed.map(|rows| {
                let mut top = TopK::new(k);
                for row in rows.into_iter().filter(|&row| row < covered && allowed.contains(row)) {
                    top.push(row, view.score(query, row));
                }
                for fresh in scanner.fresh(view, query, covered, allowed, k) {
                    top.push(fresh.row, fresh.score);
                }
                Found { rows: top.into_sorted(), exact: false }
            }));
        }
        let left: Vec<&[f32]> =
            queries.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(q, _)| *q).collect();
        let mut scanned = match () {
            () if left.is_empty() => Vec::new(),
            () if allowed.rows.len() < SHARED_SCAN_ROWS => {
                view.scan_many(&left, 0..view.rows(), Some(&allowed.rows), k)
            }
            () => scanner.together.scan(view, &left, &allowed.rows, k),
        }
        .into_iter();
        let mut scan = || Found { rows: scanned.next().unwrap_or_default(), exact: true };
        Ok(found.into_iter().map(|found| found.unwrap_or_else(&mut scan)).collect())
    }
}

/// How many of the rows that are nearest by their codes a search for `k` scores exactly.
pub(crate) fn scored_exactly(k: usize) -> usize {
    (SCORED_EXACTLY * k).max(COUNTED)
}

/// What the index takes for the best rows; `None` where a scan is the better plan. `among` of the rows that it covers are allowed.
pub(crate) fn propose(
    view: &VectorView,
    index: &VectorIndex,
    query: &[f32],
    k: usize,
    allowed: &AllowedRows,
    among: u64,
    spec: IndexSpec,
) -> Result<Option<Vec<u32>>, IndexError> {
    let rows = u64::from(index.rows());
    let excludes = among < rows;
    let excludes_many = excludes && allowed.excludes_many(index.rows());
    let allowed_of = |near: &[u32]| near.iter().filter(|&&row| allowed.contains(row)).count() as u64;
    // Whether the filter excludes the query's neighbourhood: the nearest allowed rows lie all around it then, about as far from each other as from the query, and
    // neither a walk over a graph of neighbours finds them nor a look into some lists. All are looked at.
    let is_at_odds = |near: &[u32]| allowed_of(near) * 2 < near.len() as u64 * among / rows.max(1);
    let ef_search = match plan(spec, rows, among, k) {
        Plan::Scan => return Ok(None),
        Plan::Lists { nprobe, candidates: of_lists } => {
            if excludes_many && is_at_odds(&index.in_lists(query, COUNTED, COUNTED_LISTS, None)?) {
                return Ok(index.scan_allowed(view, query, k, allowed, among));
            }
            let bits = excludes.then(|| allowed.bits());
            return index.in_lists(query, of_lists, nprobe, bits).map(Some);
        }
        Plan::Graph { ef_search } => ef_search,
    };
    let mut ef_search = ef_search;
    if excludes_many {
        // Among so few the graph falls apart, and no beam finds what it does not lead to.
        if among * 16 < rows && ef_search as u64 * ROWS_INSTEAD >= rows {
            return Ok(index.scan_allowed(view, query, k, allowed, among));
        }
        let near = index.walk(query, COUNTED, None);
        if is_at_odds(&near) {
            return Ok(index.scan_allowed(view, query, k, allowed, among));
        }
        if among * 4 < rows {
            // Among so much fewer rows a narrower beam finds as much.
            ef_search = (ef_search * 3 / 4).max(k * 5 / 4);
        } else if among * 2 >= rows {
            // Many rows are allowed here too: all are walked over, and the beam is wider by those that are not. The excluded ones hold the graph together, those
            // of earlier versions above all: what came later is linked to the rows around it, and these are linked to the first.
            let widened = ef_search as u64 * near.len() as u64 / allowed_of(&near).max(1);
            let mut rows = index.walk(query, widened as usize, None);
            rows.retain(|&row| allowed.contains(row));
            rows.truncate(scored_exactly(k));
            return Ok(Some(rows));
        }
    }
    let mut rows = index.walk(query, ef_search, excludes.then_some(allowed));
    rows.truncate(scored_exactly(k));
    Ok(Some(rows))
}
