//! Words of scripts without blanks, by Unicode's dictionary for Han and kana and its models for Thai, Lao, Khmer and
//! Burmese (`icu_segmenter`), and the stop words of their languages (stopwords-iso).

use super::pieces::Piece;
use icu_segmenter::options::WordBreakInvariantOptions;
use icu_segmenter::{WordSegmenter, WordSegmenterBorrowed};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::LazyLock;

static SEGMENTER: LazyLock<WordSegmenterBorrowed<'static>> =
    LazyLock::new(|| WordSegmenter::new_auto(WordBreakInvariantOptions::default()));

/// Languages whose words have no blanks between them, of those that have a list.
const LANGUAGES: [&str; 4] = ["zh", "ja", "ko", "th"];

static STOP_WORDS: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| LANGUAGES.iter().filter_map(stop_words::lookup).flatten().copied().collect());

/// A word of a run of characters.
pub struct Word {
    /// Which characters.
    pub range: Range<usize>,
    /// Whether it tells no text from another.
    pub is_stop_word: bool,
}

/// The words that a run of characters is made of.
pub fn segment(run: &[Piece]) -> Vec<Word> {
    let text: String = run.iter().map(|piece| piece.text.as_str()).collect();
    let mut ends = run.iter().scan(0, |end, piece| {
        *end += piece.text.len();
        Some(*end)
    });
    let (mut words, mut from, mut from_byte, mut at, mut end) = (Vec::new(), 0, 0, 0, 0);
    for boundary in SEGMENTER.segment_str(&text).skip(1) {
        while end < boundary {
            let Some(next) = ends.next() else { break };
            (end, at) = (next, at + 1);
        }
        // A character, as it is seen, is never cut.
        if end == boundary && at > from {
            let is_stop_word = STOP_WORDS.contains(&text[from_byte..boundary]);
            words.push(Word { range: from..at, is_stop_word });
            (from, from_byte) = (at, boundary);
        }
    }
    words
}

/// Whether a character stands for a word or a part of one, as those of Han do.
pub fn is_ideograph(c: char) -> bool {
    matches!(c as u32, 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF)
}
