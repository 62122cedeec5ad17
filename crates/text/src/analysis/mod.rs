//! From text to index terms and to the words that are looked for, in every script.
//!
//! Characters are folded: NFKD, lower case, no accents. Runs of letters and digits become one term, stemmed
//! by Snowball's English stemmer when they are ASCII. Scripts that put no blanks between words (Han, kana, hangul,
//! Thai, Lao, Khmer, Burmese) are cut into characters and pairs of neighbours (bigrams, as Lucene's CJK analyser
//! has them), so a query finds words of any length without a dictionary. Emoji are terms, and signs that make names
//! belong to their words: C++, C#, .NET, @name, #tag.
//!
//! Whoever changes the terms of a text raises the version in `index.rs`: indexes of the terms from before are then
//! built anew.

mod fold;
mod pieces;
mod words;

pub use words::Words;

use fold::Kind;
use pieces::{Link, Piece, pieces};

/// A term of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// Folded and stemmed.
    pub text: String,
    /// Whether it is one of the stop words.
    pub is_stop_word: bool,
    /// Whether it is one character of a longer run that bigrams cover.
    is_covered: bool,
}

/// Every term of a text, in order.
pub fn terms(text: &str) -> Vec<Term> {
    let term = |text: String, is_stop_word: bool, is_covered: bool| Term { text, is_stop_word, is_covered };
    let pieces = pieces(text);
    let mut terms = Vec::with_capacity(pieces.len());
    let is_run = |a: &Piece, b: &Piece| (a.kind, b.kind, b.link) == (Kind::Unspaced, Kind::Unspaced, Link::Direct);
    for run in pieces.chunk_by(is_run) {
        for piece in run {
            terms.push(term(piece.text.clone(), piece.is_stop_word, run.len() > 1));
            terms.extend(piece.signed.clone().map(|signed| term(signed, false, false)));
        }
        terms.extend(run.windows(2).map(|pair| term(format!("{}{}", pair[0].text, pair[1].text), false, false)));
    }
    terms
}

/// The terms of a query: without stop words unless there is nothing else, without the single characters of longer
/// runs, each once.
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

#[cfg(test)]
mod tests;
