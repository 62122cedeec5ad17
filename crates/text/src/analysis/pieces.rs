//! The pieces that a text is made of: words, characters of scripts without blanks, symbols.

use super::fold::{Folded, Kind};
use membox_sealing::hex;
use rust_stemmers::{Algorithm, Stemmer};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

static STEMMER: LazyLock<Stemmer> = LazyLock::new(|| Stemmer::create(Algorithm::English));

/// Words too common to tell one text from another: Snowball's English list, sorted.
/// Leaving them out of a query's terms raised evidence recall@10 on LoCoMo from 0.56 to 0.61 (BM25 alone).
const STOP_WORDS: &[&str] = &[
    "a", "about", "above", "after", "again", "all", "am", "an", "and", "any", "are", "as", "at", "be", "been", "being",
    "both", "but", "by", "can", "could", "did", "do", "does", "doing", "down", "each", "few", "for", "from", "further",
    "had", "has", "have", "having", "he", "her", "here", "him", "his", "how", "i", "if", "in", "into", "is", "it",
    "its", "just", "may", "me", "might", "more", "most", "must", "my", "no", "nor", "not", "now", "of", "on", "only",
    "or", "other", "our", "out", "over", "own", "same", "shall", "she", "should", "so", "some", "such", "than", "that",
    "the", "their", "them", "then", "there", "these", "they", "this", "those", "through", "to", "too", "under",
    "until", "up", "very", "was", "we", "were", "what", "when", "where", "which", "who", "whom", "whose", "why",
    "will", "with", "would", "you", "your",
];

/// What an apostrophe joins to a word that is a word without it: I'd, we'll.
const CLITICS: &[&str] = &["d", "ll", "m", "re", "ve"];

/// A term longer than this is cut, and a hash of the whole stands at its end: the dictionary must not hold a
/// megabyte of base64.
const MAX_TERM_BYTES: usize = 64;

/// How a piece stands to the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Something is between them.
    Apart,
    /// A sign that joins them is, as in `node.js` and `5-HT`.
    Joined,
    /// Nothing is.
    Direct,
}

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Folded and stemmed, without signs before and after it.
    pub text: String,
    /// With them, where there are any: `#tag`, `.net`. A single letter with a sign after it is no longer that
    /// letter: there `text` has the sign, as `c++`.
    pub signed: Option<String>,
    /// No sign and no blank.
    pub kind: Kind,
    pub link: Link,
    pub is_stop_word: bool,
}

/// All pieces of a text, in order.
pub fn pieces(text: &str) -> Vec<Piece> {
    let folded = Folded::of(text);
    let mut cutter = Cutter { folded: &folded, pieces: Vec::new(), end: 0 };
    let mut at = 0;
    while at < folded.len() {
        at = match folded.kind(at) {
            Kind::Letter => cutter.word(at),
            Kind::Unspaced => cutter.character(at),
            Kind::Symbol | Kind::Unit => cutter.symbol(at),
            Kind::Sign | Kind::Blank => at + 1,
        };
    }
    cutter.pieces
}

struct Cutter<'a> {
    folded: &'a Folded,
    pieces: Vec<Piece>,
    /// Where the last piece ends.
    end: usize,
}

impl Cutter<'_> {
    fn push(&mut self, (from, to): (usize, usize), text: &str, signed: Option<String>, is_stop_word: bool) {
        let link = if self.pieces.is_empty() { Link::Apart } else { self.link(from) };
        // A sign belongs to a word.
        let kind = Some(self.folded.kind(from)).filter(|&kind| kind != Kind::Sign).unwrap_or(Kind::Letter);
        let signed = signed.map(|signed| bounded(&signed)).filter(|signed| signed != text);
        self.pieces.push(Piece { text: bounded(text), signed, kind, link, is_stop_word });
        self.end = to;
    }

    /// How what begins at a place stands to the last piece.
    fn link(&self, from: usize) -> Link {
        let is_digit = |at: usize| self.folded.slice(at, at + 1).starts_with(|c: char| c.is_numeric());
        let between_digits = |at: usize| is_digit(at - 1) && is_digit(at + 1);
        match from - self.end {
            0 => Link::Direct,
            1 => match self.folded.sign(self.end) {
                Some('.' | '\'' | '-' | '_' | '&' | '@' | '+') => Link::Joined,
                Some(',' | '/' | ':') if between_digits(self.end) => Link::Joined,
                _ => Link::Apart,
            },
            _ => Link::Apart,
        }
    }

    fn character(&mut self, at: usize) -> usize {
        let text = self.folded.slice(at, at + 1);
        self.push((at, at + 1), text, None, false);
        at + 1
    }

    fn symbol(&mut self, at: usize) -> usize {
        let whole = self.folded.slice(at, at + 1);
        // Whatever the colour of its skin.
        let plain: String = whole.chars().filter(|c| !('\u{1f3fb}'..='\u{1f3ff}').contains(c)).collect();
        let text = if plain.is_empty() { whole } else { &plain };
        self.push((at, at + 1), text, Some(whole.to_owned()), false);
        at + 1
    }

    fn word(&mut self, at: usize) -> usize {
        let folded = self.folded;
        let end = folded.end_of_run(at);
        let word = folded.slice(at, end);
        let prefix = self.prefix(at, word);
        let from = if prefix.is_some() { at - 1 } else { at };
        let (suffix, after) = self.suffix(end, word);
        if suffix.is_none()
            && prefix.is_none()
            && folded.sign(end) == Some('\'')
            && folded.kind(end + 1) == Kind::Letter
        {
            let next_end = folded.end_of_run(end + 1);
            let next = folded.slice(end + 1, next_end);
            if next == "t" && word.ends_with('n') {
                self.push((from, next_end), &format!("{word}'t"), None, true);
                return next_end;
            }
            if next == "s" {
                // A form of the word.
                self.push((from, next_end), &stem(word), None, is_stop_word(word));
                return next_end;
            }
            if CLITICS.contains(&next) {
                let clitic = format!("'{next}");
                self.push((from, end), &stem(word), None, is_stop_word(word));
                self.push((end + 1, next_end), &clitic, None, true);
                return next_end;
            }
        }
        let text = stem(word);
        let signs = (prefix.unwrap_or_default(), suffix.unwrap_or_default());
        match (signs, word.chars().nth(1).is_some()) {
            (("", ""), _) => self.push((from, end), &text, None, is_stop_word(word)),
            ((before, ""), _) => {
                self.push((from, end), &text, Some(format!("{before}{text}")), is_stop_word(word));
            }
            ((before, behind), true) => {
                self.push((from, after), &text, Some(format!("{before}{text}{behind}")), is_stop_word(word));
            }
            ((before, behind), false) => {
                let text = format!("{text}{behind}");
                self.push((from, after), &text, Some(format!("{before}{text}")), false);
            }
        }
        after
    }

    /// The sign that belongs to the word after it: `#tag`, `@name`, `.NET`, `-5`.
    fn prefix(&self, at: usize, word: &str) -> Option<&'static str> {
        let before = at.checked_sub(1).filter(|&before| before >= self.end || self.pieces.is_empty())?;
        let sign = self.folded.sign(before)?;
        if before > 0 {
            let touches = matches!(self.folded.kind(before - 1), Kind::Letter | Kind::Unspaced);
            if touches || self.folded.sign(before - 1) == Some(sign) {
                return None;
            }
        }
        match sign {
            '#' => Some("#"),
            '@' => Some("@"),
            '.' if word.starts_with(char::is_alphabetic) => Some("."),
            '-' if word.starts_with(char::is_numeric) => Some("-"),
            _ => None,
        }
    }

    /// The signs that belong to the word before them, and where they end: `C++`, `C#`, `A+`.
    fn suffix(&self, end: usize, word: &str) -> (Option<&'static str>, usize) {
        let sign = |at: usize| self.folded.sign(at);
        let begins_word = |at: usize| matches!(self.folded.kind(at), Kind::Letter | Kind::Unspaced);
        let begins_name = |at: usize| begins_word(at) && self.folded.slice(at, at + 1).starts_with(char::is_alphabetic);
        if !word.ends_with(char::is_alphabetic) {
            return (None, end);
        }
        match (sign(end), sign(end + 1)) {
            (Some('+'), Some('+')) if sign(end + 2) != Some('+') => (Some("++"), end + 2),
            (Some('+'), next) if next != Some('+') && !begins_word(end + 1) => (Some("+"), end + 1),
            (Some('#'), next) if next != Some('#') && !begins_name(end + 1) => (Some("#"), end + 1),
            _ => (None, end),
        }
    }
}

fn is_stop_word(word: &str) -> bool {
    STOP_WORDS.binary_search(&word).is_ok()
}

/// The term of a word.
pub fn stem(word: &str) -> String {
    if word.is_ascii() && word.len() <= MAX_TERM_BYTES && !is_stop_word(word) {
        STEMMER.stem(word).into_owned()
    } else {
        word.to_owned()
    }
}

pub fn bounded(term: &str) -> String {
    if term.len() <= MAX_TERM_BYTES {
        return term.to_owned();
    }
    let hash = hex(&Sha256::digest(term)[..8]);
    format!("{}{hash}", &term[..term.floor_char_boundary(MAX_TERM_BYTES - hash.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_words_are_sorted() {
        assert!(STOP_WORDS.is_sorted());
    }

    #[test]
    fn a_long_word_is_told_from_others_that_begin_as_it_does() {
        let (a, b) = (format!("{}a", "x".repeat(100)), format!("{}b", "x".repeat(100)));
        assert_eq!(bounded(&a).len(), MAX_TERM_BYTES);
        assert_ne!(bounded(&a), bounded(&b));
        assert!(bounded(&"กำ".repeat(50)).len() <= MAX_TERM_BYTES);
    }
}
