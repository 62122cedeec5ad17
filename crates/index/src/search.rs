//! The k nearest rows: by the index and the fresh tail together, by an exact scan, or by a device, as
//! [`crate::plan`] says.

use crate::plan::{self, Source};
use crate::policy::{Effort, IndexPolicy};
use crate::proposal::propose;
use crate::rows::{AllowedRows, Found};
use crate::scanner::Scanner;
use crate::{IndexError, VectorIndex};
use membox_vectors::{ScoredRow, TopK, VectorView};

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
    /// Finds, for each query, the `k` allowed rows in view that score best. The index proposes, the vector file
    /// decides: every score is exact. Rows past the index's watermark are scanned, or told apart by their bits
    /// where they are many; large scans that are wanted at the same time go together. Where the rows are on a
    /// device too, the faster way is taken.
    pub fn nearest(&self, queries: &[&[f32]], k: usize) -> Result<Vec<Found>, IndexError> {
        let here = || self.nearest_here(queries, k);
        match &self.scanner.on_device {
            Some(device) if plan::may_use_device(self.effort, k, self.view.metric()) => {
                let compared_with = self.index.filter(|_| !self.effort.exact).map(VectorIndex::rows);
                device.search(self.view, queries, k, self.allowed, compared_with, here)
            }
            _ => here(),
        }
    }

    /// Without a device.
    fn nearest_here(&self, queries: &[&[f32]], k: usize) -> Result<Vec<Found>, IndexError> {
        let Self { view, index, allowed, policy, effort, .. } = *self;
        let (spec, all) = (index.map(VectorIndex::spec), allowed.rows().len());
        let source = match plan::source(spec, policy, effort, k, view.rows(), all) {
            Source::Fresh if !plan::has_bits(view.metric()) => Source::Scan,
            source => source,
        };
        let covered = index.map_or(0, |index| index.rows().min(view.rows()));
        let among = allowed.count_below(covered);
        let by_index = |query: &&[f32]| self.by_index(source, query, k, covered, among);
        let found: Vec<Option<Found>> = queries.iter().map(by_index).collect::<Result<_, _>>()?;
        let left: Vec<&[f32]> =
            queries.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(q, _)| *q).collect();
        let mut scanned = self.scan(&left, k).into_iter();
        let mut scan = || Found { rows: scanned.next().unwrap_or_default(), exact: true };
        Ok(found.into_iter().map(|found| found.unwrap_or_else(&mut scan)).collect())
    }

    /// What the index proposes with the rows that it does not cover; `None` where every allowed row is to be
    /// scored. It covers the first `covered` rows in view, of which `among` are allowed.
    fn by_index(
        &self,
        source: Source,
        query: &[f32],
        k: usize,
        covered: u32,
        among: u64,
    ) -> Result<Option<Found>, IndexError> {
        let Self { view, index, allowed, scanner, .. } = *self;
        let proposed = match (source, index) {
            (Source::Scan, _) => None,
            (Source::Index(spec), Some(index)) => propose(view, index, query, k, allowed, among, spec)?,
            (Source::Fresh | Source::Index(_), _) => Some(Vec::new()),
        };
        // Fewer than there are: the graph does not hang together among the allowed rows.
        let Some(rows) = proposed.filter(|rows| rows.len() >= k.min(among as usize)) else { return Ok(None) };
        let mut top = TopK::new(k);
        for row in rows.into_iter().filter(|&row| row < covered && allowed.contains(row)) {
            top.push(row, view.score(query, row));
        }
        for fresh in scanner.fresh(view, query, covered, allowed, k) {
            top.push(fresh.row, fresh.score);
        }
        Ok(Some(Found { rows: top.into_sorted(), exact: false }))
    }

    /// Scores every allowed row.
    fn scan(&self, queries: &[&[f32]], k: usize) -> Vec<Vec<ScoredRow>> {
        let Self { view, allowed, scanner, .. } = *self;
        if queries.is_empty() {
            return Vec::new();
        }
        match plan::is_shared_scan(allowed.rows().len()) {
            true => scanner.together.scan(view, queries, allowed.shared(), k),
            false => view.scan_many(queries, 0..view.rows(), Some(allowed.rows()), k),
        }
    }
}
