//! Exact scans: every allowed row is scored against the queries, and the best are kept.
//!
//! A scan over many rows takes as long as reading them from memory, so several queries that go over the rows together
//! cost little more than one: [`VectorView::scan_many`] does so, and a [`ScanQueue`] brings together queries that
//! come at the same time.

use crate::batcher::Batcher;
use crate::file::VectorView;
use crate::simd::{self, prefetch};
use crate::top_k::{ScoredRow, TopK};
use rayon::prelude::*;
use roaring::RoaringBitmap;
use std::ops::Range;
use std::sync::Arc;

/// Share of the rows from which on all of them are read: in one go a row takes a third of the time that it takes here
/// and there, where the processor fetches more than is read.
const DENSE: u64 = 4;
/// Rows that one thread scans in one go.
const PIECE: usize = 1 << 16;
/// Queries that go over the rows together at most: more, and they no longer fit the processor's nearest cache.
const MAX_QUERIES_AT_ONCE: usize = 16;
/// How many of the rows that lie here and there are on their way from memory while one is scored.
const AHEAD: usize = 8;

impl VectorView {
    /// Scores rows exactly and keeps the `k` best: the rows of `range` that `allowed` holds, or all of them.
    pub fn scan(&self, query: &[f32], range: Range<u32>, allowed: Option<&RoaringBitmap>, k: usize) -> Vec<ScoredRow> {
        self.scan_many(&[query], range, allowed, k).pop().unwrap_or_default()
    }

    /// As [`VectorView::scan`] for several queries, which read each row once; what each finds does not depend on the
    /// others. The pieces of a long scan are dealt out to the processors that are idle.
    pub fn scan_many(
        &self,
        queries: &[&[f32]],
        range: Range<u32>,
        allowed: Option<&RoaringBitmap>,
        k: usize,
    ) -> Vec<Vec<ScoredRow>> {
        let range = range.start.min(self.rows())..range.end.min(self.rows());
        let pieces: Vec<Range<u32>> =
            range.clone().step_by(PIECE).map(|at| at..range.end.min(at + PIECE as u32)).collect();
        let mut best = Vec::with_capacity(queries.len());
        for queries in queries.chunks(MAX_QUERIES_AT_ONCE) {
            let none = || queries.iter().map(|_| TopK::new(k)).collect::<Vec<_>>();
            let of_piece = |piece: &Range<u32>| {
                let mut tops = none();
                self.scan_piece(queries, piece.clone(), allowed, &mut tops);
                tops
            };
            let join = |mut tops: Vec<TopK>, others: Vec<TopK>| {
                tops.iter_mut().zip(others).for_each(|(top, other)| top.extend(other));
                tops
            };
            let tops = match pieces.as_slice() {
                [] => none(),
                [only] => of_piece(only),
                several => several.par_iter().map(of_piece).reduce(none, join),
            };
            best.extend(tops.into_iter().map(TopK::into_sorted));
        }
        best
    }

    fn scan_piece(&self, queries: &[&[f32]], piece: Range<u32>, allowed: Option<&RoaringBitmap>, tops: &mut [TopK]) {
        let mut scores = [0.0; MAX_QUERIES_AT_ONCE];
        let scores = &mut scores[..queries.len()];
        let mut see = |row: u32, is_wanted: bool| {
            simd::scores(self.metric(), self.header().row_type, queries, self.bytes(row), scores);
            if is_wanted {
                tops.iter_mut().zip(&*scores).for_each(|(top, score)| top.push(row, *score));
            }
        };
        let rows = u64::from(piece.end - piece.start);
        match allowed.map(|allowed| (allowed, allowed.range_cardinality(piece.clone()))) {
            Some((_, 0)) => {}
            Some((allowed, count)) if count * DENSE < rows => {
                let mut soon = allowed.range(piece.clone()).skip(AHEAD);
                for row in allowed.range(piece) {
                    soon.next().into_iter().for_each(|row| prefetch(self.bytes(row)));
                    see(row, true);
                }
            }
            Some((allowed, count)) if count < rows => {
                let mut wanted = allowed.range(piece.clone()).peekable();
                piece.for_each(|row| see(row, wanted.next_if_eq(&row).is_some()));
            }
            _ => piece.for_each(|row| see(row, true)),
        }
    }
}

/// Brings large scans over the same rows together that are wanted at the same time: while one runs, which takes all
/// processors, the others wait, and then go in one.
#[derive(Default)]
pub struct ScanQueue(Batcher<Scan, Vec<Vec<ScoredRow>>>);

#[derive(Clone)]
struct Scan {
    view: VectorView,
    queries: Vec<Vec<f32>>,
    allowed: Arc<RoaringBitmap>,
    k: usize,
}

impl Scan {
    fn goes_with(&self, other: &Self) -> bool {
        let rows = |scan: &Self| (scan.view.header().uuid, scan.view.rows(), scan.k);
        Arc::ptr_eq(&self.allowed, &other.allowed) && rows(self) == rows(other)
    }

    /// Scans for all of them, which go together.
    fn run(scans: &[&Self]) -> Vec<Vec<Vec<ScoredRow>>> {
        let queries: Vec<&[f32]> = scans.iter().flat_map(|s| s.queries.iter().map(Vec::as_slice)).collect();
        let Some(first) = scans.first() else { return Vec::new() };
        let found = first.view.scan_many(&queries, 0..first.view.rows(), Some(&first.allowed), first.k);
        let mut found = found.into_iter();
        scans.iter().map(|scan| found.by_ref().take(scan.queries.len()).collect()).collect()
    }
}

impl ScanQueue {
    /// The `k` best allowed rows in view for each query, as [`VectorView::scan_many`] finds them. Runs on the calling
    /// thread, or on that of another caller that waits for the same.
    pub fn scan(
        &self,
        view: &VectorView,
        queries: &[&[f32]],
        allowed: &Arc<RoaringBitmap>,
        k: usize,
    ) -> Vec<Vec<ScoredRow>> {
        let queries = queries.iter().map(|q| q.to_vec()).collect();
        self.0.run(Scan { view: view.clone(), queries, allowed: allowed.clone(), k }, Scan::goes_with, Scan::run)
    }
}

#[cfg(all(test, not(membox_loom)))]
mod tests {
    use super::*;
    use crate::{RowType, VectorFile};

    /// Rows of 16 numbers, of which the first tells the row.
    fn file(folder: &std::path::Path, rows: u32) -> VectorFile {
        let mut file = VectorFile::create(&folder.join("rows.mbv"), 16, RowType::F32).expect("a file");
        let vectors: Vec<[f32; 16]> =
            (0..rows).map(|row| std::array::from_fn(|d| ((row * 31 + d as u32 * 7) % 97) as f32 - 48.0)).collect();
        file.append(vectors.iter().map(<[f32; 16]>::as_slice)).expect("room");
        file
    }

    #[test]
    fn queries_that_come_together_each_get_their_own_answer() {
        let folder = tempfile::tempdir().expect("a folder");
        let view = file(folder.path(), 20_000).view(20_000);
        let sets = [Arc::new((0..20_000).collect::<RoaringBitmap>()), Arc::new((0..20_000).step_by(3).collect())];
        let queue = ScanQueue::default();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (queue, view, sets) = (&queue, &view, &sets);
                scope.spawn(move || {
                    for round in 0..20 {
                        let query: [f32; 16] =
                            std::array::from_fn(|d| ((thread * 17 + round * 5 + d) % 11) as f32 - 5.0);
                        let (allowed, k) = (&sets[(thread + round) % 2], 5 + thread % 2);
                        let twice = queue.scan(view, &[&query, &query], allowed, k);
                        let alone = view.scan(&query, 0..20_000, Some(allowed), k);
                        assert_eq!(twice, [alone.clone(), alone]);
                    }
                });
            }
        });
    }
}
