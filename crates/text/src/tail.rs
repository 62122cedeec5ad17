//! The part of the text index that tantivy has not committed yet, in memory.

use crate::document::Document;
use crate::people::People;
use crate::totals::Totals;
use std::collections::HashMap;
use std::sync::Arc;

/// Texts of one part. A text that is added while somebody reads the last part copies that part: some 0.2 ms at most.
const PART_TEXTS: usize = 256;

/// An inverted index of the newest rows. A copy shares what is there: it takes a microsecond, and stays as it is
/// while texts are added.
#[derive(Clone, Default)]
pub struct Tail {
    /// By rising row, each with one more than its highest row: a row is found without a look into the others.
    parts: Vec<(u32, Arc<Part>)>,
}

/// An inverted index of some rows that follow each other.
#[derive(Clone, Default)]
struct Part {
    /// Places in `rows` and how often the term stands there, by rising place.
    postings: HashMap<String, Vec<(u32, u32)>>,
    /// Rising.
    rows: Vec<u32>,
    /// Of each row.
    texts: Vec<Measures>,
    terms: u64,
}

/// What is known of a text beside its terms.
#[derive(Clone, Copy)]
struct Measures {
    /// Terms, stop words not counted.
    length: u32,
    people: People,
    is_question: bool,
}

impl Part {
    fn insert(&mut self, row: u32, document: Document<'_>) {
        let mut counts: HashMap<String, u32> = HashMap::new();
        let (terms, length) = document.terms();
        for term in terms {
            *counts.entry(term.text).or_default() += 1;
        }
        let place = self.rows.len() as u32;
        for (term, count) in counts {
            self.postings.entry(term).or_default().push((place, count));
        }
        self.push(row, Measures { length, people: document.people(), is_question: document.is_question() });
    }

    fn push(&mut self, row: u32, text: Measures) {
        self.rows.push(row);
        self.texts.push(text);
        self.terms += u64::from(text.length);
    }

    fn get(&self, row: u32) -> Option<Measures> {
        // Most parts have no gaps.
        let guess = row.checked_sub(*self.rows.first()?)? as usize;
        let place = if self.rows.get(guess) == Some(&row) { guess } else { self.rows.binary_search(&row).ok()? };
        self.texts.get(place).copied()
    }

    fn end(&self) -> u32 {
        self.rows.last().map_or(0, |row| row + 1)
    }

    /// The same texts by other row numbers, in the same order; without those that get none.
    fn renumbered(&self, row: impl Fn(u32) -> Option<u32>) -> Self {
        let mut part = Self::default();
        let mut places = Vec::with_capacity(self.rows.len());
        for (&old, &text) in self.rows.iter().zip(&self.texts) {
            let new = row(old);
            places.push(new.map(|_| part.rows.len() as u32));
            if let Some(new) = new {
                part.push(new, text);
            }
        }
        for (term, list) in &self.postings {
            let kept = |&(place, count): &(u32, u32)| Some((places[place as usize]?, count));
            let list: Vec<(u32, u32)> = list.iter().filter_map(kept).collect();
            if !list.is_empty() {
                part.postings.insert(term.clone(), list);
            }
        }
        part
    }
}

impl Tail {
    /// Adds the text of a row; rows come in rising order.
    pub fn insert<'a>(&mut self, row: u32, document: impl Into<Document<'a>>) {
        if self.parts.last().is_none_or(|(_, part)| part.rows.len() >= PART_TEXTS) {
            self.parts.push(Default::default());
        }
        if let Some((end, last)) = self.parts.last_mut() {
            Arc::make_mut(last).insert(row, document.into());
            *end = row + 1;
        }
    }

    /// Drops the rows below a watermark that tantivy has come to cover.
    pub fn drop_below(&mut self, rows: u32) {
        *self = self.mapped(|part| match part.rows.first() {
            Some(&first) if first >= rows => part.clone(),
            _ => Arc::new(part.renumbered(|row| (row >= rows).then_some(row))),
        });
    }

    /// The same texts by other row numbers, in the same order; without those that get none.
    pub fn renumbered(&self, row: impl Fn(u32) -> Option<u32>) -> Self {
        self.mapped(|part| Arc::new(part.renumbered(&row)))
    }

    fn mapped(&self, part: impl Fn(&Arc<Part>) -> Arc<Part>) -> Self {
        let parts = self.parts.iter().map(|(_, old)| part(old)).filter(|part| !part.rows.is_empty());
        Self { parts: parts.map(|part| (part.end(), part)).collect() }
    }

    /// One more than its highest row.
    pub fn end(&self) -> u32 {
        self.parts.last().map_or(0, |(end, _)| *end)
    }

    /// Terms of a row's text, stop words not counted.
    pub fn length(&self, row: u32) -> Option<u32> {
        self.get(row).map(|text| text.length)
    }

    /// Who said a row's text, and whom it is about.
    pub fn people(&self, row: u32) -> Option<People> {
        self.get(row).map(|text| text.people)
    }

    /// Whether a row's text is a question.
    pub fn is_question(&self, row: u32) -> bool {
        self.get(row).is_some_and(|text| text.is_question)
    }

    fn get(&self, row: u32) -> Option<Measures> {
        let (_, part) = self.parts.get(self.parts.partition_point(|(end, _)| *end <= row))?;
        part.get(row)
    }

    /// Texts in the tail.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|(_, part)| part.rows.len()).sum()
    }

    /// Whether it holds no text.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Texts and terms.
    pub fn totals(&self) -> Totals {
        Totals { texts: self.len() as u64, terms: self.parts.iter().map(|(_, part)| part.terms).sum() }
    }

    /// Texts that hold a term.
    pub fn frequency(&self, term: &str) -> u64 {
        self.lists(term).map(|(_, list)| list.len() as u64).sum()
    }

    /// Calls `each` with row, count and text length for every row that holds a term.
    pub fn postings(&self, term: &str, mut each: impl FnMut(u32, u32, u32)) {
        for (part, list) in self.lists(term) {
            for &(place, count) in list {
                each(part.rows[place as usize], count, part.texts[place as usize].length);
            }
        }
    }

    fn lists(&self, term: &str) -> impl Iterator<Item = (&Part, &Vec<(u32, u32)>)> {
        self.parts.iter().filter_map(move |(_, part)| Some((&**part, part.postings.get(term)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::terms;
    use proptest::prelude::*;

    fn found(tail: &Tail, term: &str) -> Vec<(u32, u32, u32)> {
        let mut found = Vec::new();
        tail.postings(term, |row, count, length| found.push((row, count, length)));
        found
    }

    #[test]
    fn a_copy_stays_as_it_is_while_texts_are_added_and_dropped() {
        let mut tail = Tail::default();
        (0..300).for_each(|row| tail.insert(row, "green tea"));
        let copy = tail.clone();
        (300..400).for_each(|row| tail.insert(row, "green tea, black tea"));
        tail.drop_below(280);
        assert_eq!((copy.len(), copy.end(), copy.frequency("tea"), found(&copy, "tea").len()), (300, 300, 300, 300));
        assert_eq!((tail.len(), tail.end(), tail.frequency("tea")), (120, 400, 120));
        assert_eq!((tail.totals().texts, tail.totals().terms), (120, 20 * 2 + 100 * 4));
        assert_eq!([279, 280, 399, 400].map(|row| tail.length(row)), [None, Some(2), Some(4), None]);
    }

    proptest! {
        /// However the texts fall into parts: what is kept is what a plain list of texts says.
        #[test]
        fn it_is_a_list_of_texts(gaps in prop::collection::vec(1u32..4, 1..700), cut in 0u32..1500, add in 0u32..5) {
            let (mut tail, mut rows, mut next) = (Tail::default(), Vec::new(), 0);
            for gap in gaps {
                next += gap;
                tail.insert(next, if next.is_multiple_of(3) { "tea" } else { "tea and coffee" });
                rows.push(next);
            }
            tail.drop_below(cut);
            let tail = tail.renumbered(|row| (!row.is_multiple_of(7)).then_some(row + add));
            let left: Vec<u32> = rows.into_iter().filter(|row| *row >= cut && !row.is_multiple_of(7)).collect();
            let length = |row: u32| if row.is_multiple_of(3) { 1 } else { 2 };
            let with_tea: Vec<_> = left.iter().map(|row| (row + add, 1, length(*row))).collect();
            prop_assert_eq!(found(&tail, "tea"), with_tea);
            let with_coffee = left.iter().filter(|row| !row.is_multiple_of(3)).count();
            let coffee = terms("coffee").into_iter().next().expect("a term").text;
            prop_assert_eq!(found(&tail, &coffee).len(), with_coffee);
            prop_assert_eq!((tail.len(), tail.end()), (left.len(), left.last().map_or(0, |row| row + add + 1)));
            prop_assert!(left.iter().all(|row| tail.length(row + add).is_some()));
        }
    }
}
