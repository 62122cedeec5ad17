//! The k best of a stream of scores.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A row and how well it matches: higher is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoredRow {
    /// Row number in the vector file.
    pub row: u32,
    /// What the metric says of it and the query.
    pub score: f32,
}

impl Eq for ScoredRow {}

impl Ord for ScoredRow {
    /// Best first: by falling score, then by rising row, so that answers do not depend on the order of the scan.
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.row.cmp(&other.row))
    }
}

impl PartialOrd for ScoredRow {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Keeps the k best rows it is shown.
pub struct TopK {
    k: usize,
    /// The worst of the best is on top.
    heap: BinaryHeap<ScoredRow>,
}

impl TopK {
    /// Keeps at most `k` rows.
    pub fn new(k: usize) -> Self {
        Self { k, heap: BinaryHeap::with_capacity(k.min(1 << 16) + 1) }
    }

    /// Shows it a row.
    pub fn push(&mut self, row: u32, score: f32) {
        let scored = ScoredRow { row, score };
        if self.heap.len() < self.k {
            self.heap.push(scored);
        } else if self.heap.peek().is_some_and(|worst| scored < *worst) {
            self.heap.pop();
            self.heap.push(scored);
        }
    }

    /// The worst score that it keeps, once it keeps `k` rows; none below is kept.
    pub fn least(&self) -> Option<f32> {
        (self.heap.len() == self.k).then(|| self.heap.peek().map_or(f32::INFINITY, |worst| worst.score))
    }

    /// Shows it the best rows of another.
    pub fn extend(&mut self, other: Self) {
        other.heap.into_iter().for_each(|scored| self.push(scored.row, scored.score));
    }

    /// The rows, best first.
    pub fn into_sorted(self) -> Vec<ScoredRow> {
        self.heap.into_sorted_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_keeps_what_sorting_all_would(scores in prop::collection::vec(-4i8..4, 0..60), k in 0usize..12) {
            let row = |(i, &score): (usize, &i8)| ScoredRow { row: i as u32, score: f32::from(score) };
            let mut all: Vec<ScoredRow> = scores.iter().enumerate().map(row).collect();
            let mut top = TopK::new(k);
            all.iter().rev().for_each(|s| top.push(s.row, s.score));
            all.sort();
            all.truncate(k);
            prop_assert_eq!(top.into_sorted(), all);
        }
    }
}
