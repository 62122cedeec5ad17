//! The words that somebody looks for, and whether a text has them all.

use super::fold::Kind;
use super::pieces::{Link, Piece, pieces};
use std::collections::HashSet;

/// Words as somebody has written them, parted by blanks. Every one counts, stop words, letters and emoji too.
///
/// A word of several pieces (`node.js`, `5-HT`, a word of Chinese or Thai) is found where these stand one after
/// another. Signs beside words do not count; signs alone (`???`) are looked for as they stand.
#[derive(Clone, Debug)]
pub struct Words {
    words: Vec<Vec<Piece>>,
    /// Where there is no word.
    signs: Vec<String>,
}

impl Words {
    /// The words of a question; `None` if it is blank.
    pub fn of(question: &str) -> Option<Self> {
        let mut words: Vec<Vec<Piece>> = Vec::new();
        for mut piece in pieces(question) {
            let is_symbol = |piece: &Piece| piece.kind == Kind::Symbol;
            match words.last_mut() {
                Some(word) if piece.link != Link::Apart && !is_symbol(&piece) && !word.iter().any(is_symbol) => {
                    // Some write a blank between two scripts, some do not.
                    if word.last().is_some_and(|last| last.kind != piece.kind) {
                        piece.link = Link::Joined;
                    }
                    word.push(piece);
                }
                _ => words.push(vec![piece]),
            }
        }
        let mut signs = Vec::new();
        if words.is_empty() {
            signs.extend(question.split_whitespace().map(str::to_owned));
        }
        (!words.is_empty() || !signs.is_empty()).then_some(Self { words, signs })
    }

    /// Whether a text has all of them.
    pub fn are_in(&self, text: &str) -> bool {
        let Self { words, signs } = self;
        if words.is_empty() {
            return signs.iter().all(|sign| text.contains(sign));
        }
        let own = pieces(text);
        let known: HashSet<&str> = own.iter().flat_map(names).collect();
        words.iter().flatten().all(|piece| known.contains(wanted(piece)))
            && words.iter().all(|word| word.len() == 1 || own.windows(word.len()).any(|place| is_there(word, place)))
    }
}

fn is_there(word: &[Piece], place: &[Piece]) -> bool {
    word.iter().zip(place).enumerate().all(|(i, (asked, own))| {
        let stands_so = i == 0 || asked.link != Link::Direct || own.link == Link::Direct;
        stands_so && names(own).any(|name| name == wanted(asked))
    })
}

/// What a piece of a text is found by.
fn names(piece: &Piece) -> impl Iterator<Item = &str> {
    std::iter::once(piece.text.as_str()).chain(piece.signed.as_deref())
}

/// What a piece of a question asks for.
fn wanted(piece: &Piece) -> &str {
    piece.signed.as_deref().unwrap_or(&piece.text)
}
