//! From text to index terms and to the words that are looked for, in every script.
//!
//! Characters are folded: NFKD, lower case, no accents, simplified Chinese. Runs of letters and digits become one term,
//! stemmed by Snowball's English stemmer when they are ASCII. Scripts that put no blanks between words (Han, kana,
//! hangul, Thai, Lao, Khmer, Burmese) are cut into characters, pairs of neighbours (bigrams, as Lucene's CJK analyser
//! has them) and words of three characters and more, by Unicode's dictionaries (`segment.rs`). A question asks for its
//! words but for stop words; its bigrams find what the dictionary does not know. Emoji are terms, and signs that make
//! names belong to their words: C++, C#, .NET, @name, #tag. Numbers in words are found by their digits, too.
//!
//! Whoever changes the terms of a text raises the version in `index.rs`: indexes of the terms from before are then
//! built anew.

mod fold;
mod numbers;
mod pieces;
mod segment;
mod simplified;
mod words;

pub use words::Words;

use fold::Kind;
use numbers::numbers;
use pieces::{Link, Piece, pieces};
use segment::segment;
use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// A term of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// Folded and stemmed.
    pub text: String,
    /// Whether it is one of the stop words, or a part of one.
    pub is_stop_word: bool,
    /// Whether a question that has it asks for other terms instead: it is part of a longer run.
    is_covered: bool,
}

/// Every term of a text, in order; at the end the digits of numbers that are written in another way.
pub fn terms(text: &str) -> Vec<Term> {
    let pieces = pieces(text);
    let mut terms = Vec::with_capacity(pieces.len());
    let is_run = |a: &Piece, b: &Piece| (a.kind, b.kind, b.link) == (Kind::Unspaced, Kind::Unspaced, Link::Direct);
    for run in pieces.chunk_by(is_run) {
        if run.len() > 1 {
            terms_of_run(run, &mut terms);
            continue;
        }
        for piece in run {
            let term = |text: String, is_stop_word| Term { text, is_stop_word, is_covered: false };
            terms.push(term(piece.text.clone(), piece.is_stop_word));
            terms.extend(piece.signed.clone().map(|signed| term(signed, false)));
        }
    }
    let number = |digits| Term { text: digits, is_stop_word: false, is_covered: false };
    terms.extend(numbers(text, &pieces).into_iter().map(number));
    terms
}

/// The terms of characters without blanks between them: each character, each pair, and each longer word.
fn terms_of_run(run: &[Piece], terms: &mut Vec<Term>) {
    let words = segment(run);
    let mut is_stop = vec![false; run.len()];
    words.iter().filter(|word| word.is_stop_word).for_each(|word| is_stop[word.range.clone()].fill(true));
    let joined = |pieces: &[Piece]| pieces.iter().map(|piece| piece.text.as_str()).collect::<String>();
    for (piece, &is_stop_word) in run.iter().zip(&is_stop) {
        // A sign of an alphabet says nothing alone; one of Han says what the word is about.
        let is_covered = !piece.text.starts_with(segment::is_ideograph);
        terms.push(Term { text: piece.text.clone(), is_stop_word, is_covered });
    }
    for (pair, is_stop) in run.windows(2).zip(is_stop.windows(2)) {
        terms.push(Term { text: joined(pair), is_stop_word: is_stop[0] || is_stop[1], is_covered: false });
    }
    for word in words.iter().filter(|word| word.range.len() > 2) {
        let text = pieces::bounded(&joined(&run[word.range.clone()]));
        terms.push(Term { text, is_stop_word: word.is_stop_word, is_covered: false });
    }
}

/// The terms of a query: without stop words unless there is nothing else, each once.
pub fn query_terms(text: &str) -> Vec<String> {
    let all = terms(text);
    let wanted = |t: &&Term| !t.is_covered && !t.is_stop_word;
    let mut chosen: Vec<String> = all.iter().filter(wanted).map(|t| t.text.clone()).collect();
    if chosen.is_empty() {
        chosen = all.into_iter().filter(|t| !t.is_covered).map(|t| t.text).collect();
    }
    chosen.sort();
    chosen.dedup();
    chosen
}

/// For each place in a text, in bytes, the term of the first word that it touches, or of all that stands there if that
/// is more than a word; the longest where there are several. Tokens may begin with the blank before a word, and hold
/// several words of a script without blanks. `None` where there is no word.
pub fn terms_at(text: &str, places: &[Range<usize>]) -> Vec<Option<Term>> {
    let words: Vec<(usize, &str)> = text.unicode_word_indices().collect();
    let said_at = |place: &Range<usize>| {
        let next = words.partition_point(|(start, word)| start + word.len() <= place.start);
        let &(_, word) = words.get(next).filter(|(start, _)| *start < place.end)?;
        let whole = text.get(place.clone()).map_or("", str::trim);
        Some(if whole.len() > word.len() { whole } else { word })
    };
    let longest = |terms: Vec<Term>| terms.into_iter().filter(|t| !t.is_covered).max_by_key(|t| t.text.len());
    let term_at = |place| longest(terms(said_at(place)?));
    places.iter().map(term_at).collect()
}

#[cfg(test)]
mod tests;
