//! The part of the text index that tantivy has not committed yet, in memory.

use crate::analysis::terms;
use crate::totals::Totals;
use std::collections::HashMap;

/// An inverted index of the newest rows.
#[derive(Clone, Default)]
pub struct Tail {
    /// Rows and how often they hold the term, by rising row.
    postings: HashMap<String, Vec<(u32, u32)>>,
    lengths: HashMap<u32, u32>,
    totals: Totals,
    end: u32,
}

impl Tail {
    /// Adds the text of a row; rows come in rising order.
    pub fn insert(&mut self, row: u32, text: &str) {
        let mut counts: HashMap<String, u32> = HashMap::new();
        let mut length = 0;
        for term in terms(text) {
            length += u32::from(!term.is_stop_word);
            *counts.entry(term.text).or_default() += 1;
        }
        for (term, count) in counts {
            self.postings.entry(term).or_default().push((row, count));
        }
        self.lengths.insert(row, length);
        self.end = row + 1;
        self.totals.texts += 1;
        self.totals.terms += u64::from(length);
    }

    /// Drops the rows below a watermark that tantivy has come to cover.
    pub fn drop_below(&mut self, rows: u32) {
        self.postings.retain(|_, list| {
            list.retain(|&(row, _)| row >= rows);
            !list.is_empty()
        });
        self.lengths.retain(|&row, _| row >= rows);
        let terms = self.lengths.values().map(|&l| u64::from(l)).sum();
        self.totals = Totals { texts: self.lengths.len() as u64, terms };
    }

    /// The same texts by other row numbers, in the same order; without those that get none.
    pub fn renumbered(&self, row: impl Fn(u32) -> Option<u32>) -> Self {
        let new = |(old, count): &(u32, u32)| Some((row(*old)?, *count));
        let mut postings = HashMap::with_capacity(self.postings.len());
        for (term, list) in &self.postings {
            let list: Vec<(u32, u32)> = list.iter().filter_map(new).collect();
            if !list.is_empty() {
                postings.insert(term.clone(), list);
            }
        }
        let lengths: HashMap<u32, u32> =
            self.lengths.iter().filter_map(|(&old, &length)| new(&(old, length))).collect();
        let end = lengths.keys().max().map_or(0, |row| row + 1);
        let terms = lengths.values().map(|&l| u64::from(l)).sum();
        let totals = Totals { texts: lengths.len() as u64, terms };
        Self { postings, lengths, totals, end }
    }

    /// One more than its highest row.
    pub fn end(&self) -> u32 {
        self.end
    }

    /// Terms of a row's text, stop words not counted.
    pub fn length(&self, row: u32) -> Option<u32> {
        self.lengths.get(&row).copied()
    }

    /// Texts in the tail.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether it holds no text.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Texts and terms.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Texts that hold a term.
    pub fn frequency(&self, term: &str) -> u64 {
        self.postings.get(term).map_or(0, |list| list.len() as u64)
    }

    /// Calls `each` with row, count and text length for every row that holds a term.
    pub fn postings(&self, term: &str, mut each: impl FnMut(u32, u32, u32)) {
        for &(row, count) in self.postings.get(term).into_iter().flatten() {
            each(row, count, self.lengths.get(&row).copied().unwrap_or_default());
        }
    }
}
