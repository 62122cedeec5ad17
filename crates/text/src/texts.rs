//! The texts of a collection's current rows: both parts of the index as one, and BM25 over them.

use crate::document::Document;
use crate::index::TextIndex;
use crate::people::{People, askers, names, sealed};
use crate::scores::TextScores;
use crate::tail::Tail;
use crate::totals::Totals;
use roaring::RoaringBitmap;
use std::sync::Arc;

/// BM25's saturation and length normalisation: Anserini's defaults, which suit short messages better than Lucene's
/// 1.2 and 0.75 (evidence recall@10 on LoCoMo 0.628 against 0.613).
const K1: f32 = 0.9;
const B: f32 = 0.4;

/// Which rows hold which terms. Rows that were removed are no part of any score or statistic, whether their postings
/// are still there or not: the same current texts give the same scores, whatever was written before.
///
/// A copy shares what is there and stays as it is: texts are scored while others are written.
#[derive(Clone, Default)]
pub struct Texts {
    disk: Option<TextIndex>,
    tail: Tail,
    /// Rows that were removed and whose postings are still there.
    removed: Arc<RoaringBitmap>,
    removed_totals: Totals,
}

impl Texts {
    /// Both parts, of whose rows `is_current` tells which are not removed.
    pub fn new(disk: Option<TextIndex>, tail: Tail, is_current: impl Fn(u32) -> bool) -> Self {
        let mut texts = Self { disk, tail, ..Self::default() };
        let rows = 0..texts.disk.as_ref().map_or(0, TextIndex::rows).max(texts.tail.end());
        rows.filter(|&row| !is_current(row)).for_each(|row| texts.remove(row));
        texts
    }

    /// Adds the text of a row; rows come in rising order.
    pub fn insert<'a>(&mut self, row: u32, document: impl Into<Document<'a>>) {
        self.tail.insert(row, document);
    }

    /// Removes the text of a row, if there is one.
    pub fn remove(&mut self, row: u32) {
        let Some(length) = self.length(row) else { return };
        if Arc::make_mut(&mut self.removed).insert(row) {
            self.removed_totals.texts += 1;
            self.removed_totals.terms += u64::from(length);
        }
    }

    /// What tantivy has committed, if it covers a row. The tail has what follows.
    fn disk_of(&self, row: u32) -> Option<&TextIndex> {
        self.disk.as_ref().filter(|disk| row < disk.rows())
    }

    /// Terms of a row's text, by its postings.
    fn length(&self, row: u32) -> Option<u32> {
        self.disk_of(row).map_or_else(|| self.tail.length(row), |disk| disk.length(row))
    }

    /// Who said a row's text, and whom it is about.
    pub fn people(&self, row: u32) -> People {
        if let Some(disk) = self.disk_of(row) {
            return disk.people(row).unwrap_or_default();
        }
        let people = self.tail.people(row).unwrap_or_default();
        if self.is_sealed() { people.sealed() } else { people }
    }

    /// Whether a row's text is a question.
    pub fn is_question(&self, row: u32) -> bool {
        self.disk_of(row).map_or_else(|| self.tail.is_question(row), |disk| disk.is_question(row))
    }

    /// The numbers of names that a question has, as [`People`] has them.
    pub fn names(&self, question: &str) -> Vec<u32> {
        self.as_kept(names(question))
    }

    /// The numbers of those who may have said what a question in the first person asks for, as [`People`] has them.
    pub fn askers(&self, question: &str) -> Vec<u32> {
        self.as_kept(askers(question))
    }

    /// Whether the names on disk are those of a sealed tenant.
    fn is_sealed(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.key().is_some())
    }

    fn as_kept(&self, names: Vec<u32>) -> Vec<u32> {
        if self.is_sealed() { names.into_iter().map(sealed).collect() } else { names }
    }

    /// Terms of a row's text, stop words not counted; 0 where it has none.
    pub fn text_length(&self, row: u32) -> u32 {
        self.length(row).unwrap_or(0)
    }

    /// How rare each term is among the current texts: BM25's inverse document frequency.
    pub fn rarities(&self, terms: &[String]) -> crate::Result<Vec<f32>> {
        let texts = self.totals().texts as f32;
        terms.iter().map(|term| Ok(rarity(texts, self.frequency(term)? as f32))).collect()
    }

    /// What tantivy has committed.
    pub fn disk(&self) -> Option<&TextIndex> {
        self.disk.as_ref()
    }

    /// What it has not.
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// Removed rows that are still on disk, for the next commit to remove.
    pub fn removed_on_disk(&self) -> Vec<u32> {
        let covered = self.disk.as_ref().map_or(0, TextIndex::rows);
        self.removed.range(..covered).collect()
    }

    /// Reads from a new commit from now on, and drops what it covers from the tail.
    pub fn committed(&mut self, disk: TextIndex) {
        self.tail.drop_below(disk.rows());
        self.disk = Some(disk);
        self.removed_totals = Totals::default();
        for row in &*std::mem::take(&mut self.removed) {
            self.remove(row);
        }
    }

    /// Texts and terms of current rows.
    pub fn totals(&self) -> Totals {
        let disk = self.disk.as_ref().map(TextIndex::totals).unwrap_or_default();
        let (tail, removed) = (self.tail.totals(), self.removed_totals);
        Totals { texts: disk.texts + tail.texts - removed.texts, terms: disk.terms + tail.terms - removed.terms }
    }

    /// Current rows that hold a term. Where nothing was removed, both parts know it without a look at the postings.
    fn frequency(&self, term: &str) -> crate::Result<u64> {
        if self.removed.is_empty() && !self.disk.as_ref().is_some_and(TextIndex::has_deletions) {
            return Ok(self.disk.as_ref().map_or(Ok(0), |disk| disk.frequency(term))? + self.tail.frequency(term));
        }
        let mut count = 0;
        self.postings(term, |_, _, _| count += 1)?;
        Ok(count)
    }

    /// Calls `each` with row, count and text length for every current row that holds a term.
    fn postings(&self, term: &str, mut each: impl FnMut(u32, u32, u32)) -> crate::Result<()> {
        let none_removed = self.removed.is_empty();
        let mut current = |row: u32, count: u32, length: u32| {
            if none_removed || !self.removed.contains(row) {
                each(row, count, length);
            }
        };
        if let Some(disk) = &self.disk {
            disk.postings(term, &mut current)?;
        }
        self.tail.postings(term, &mut current);
        Ok(())
    }

    /// The scores of the current rows that hold at least one of the terms.
    pub fn score(&self, terms: &[String]) -> crate::Result<TextScores> {
        Ok(self.score_with_rarity(terms)?.0)
    }

    /// As [`Texts::score`], with the sum of the terms' rarities, those that no row holds among them.
    pub fn score_with_rarity(&self, terms: &[String]) -> crate::Result<(TextScores, f32)> {
        let mut scores = TextScores::new(self.disk.as_ref().map_or(0, TextIndex::rows).max(self.tail.end()));
        let totals = self.totals();
        let texts = totals.texts as f32;
        let mean_length = totals.terms as f32 / texts.max(1.0);
        let norm = |length: u32| K1 * (1.0 - B + B * length as f32 / mean_length.max(1e-6));
        let mut rarities = 0.0;
        for term in terms {
            let frequency = self.frequency(term)? as f32;
            let rarity = rarity(texts, frequency);
            rarities += rarity;
            if frequency == 0.0 {
                continue;
            }
            self.postings(term, |row, count, length| {
                let count = count as f32;
                scores.add(row, rarity * count * (K1 + 1.0) / (count + norm(length)));
            })?;
        }
        Ok((scores, rarities))
    }
}

fn rarity(texts: f32, frequency: f32) -> f32 {
    (1.0 + (texts - frequency + 0.5) / (frequency + 0.5)).ln()
}
