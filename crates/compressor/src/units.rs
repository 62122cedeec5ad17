//! A text as the units of which some are kept: its words and other wholes, with their places in the source and their
//! probabilities.

use crate::negation::is_negation;
use crate::options::{CompressOptions, TokenToWord};
use crate::rarity::Rarities;
use crate::salience::weigh;
use crate::wholes::wholes;
use membox_encoder::{EncoderError, Family, Piece, Tokenizer};
use std::cell::LazyCell;
use std::collections::HashSet;
use std::ops::Range;
use unicode_segmentation::GraphemeCursor;

/// Tokens that a word has at least of which it is said that the model spells it.
const MIN_SPELT: usize = 4;
/// What a word loses against an equal one before it.
const TIE: f64 = 1e-12;
/// How many letters in words that the model knows there are at least for each that it does not.
const MIN_KNOWN: usize = 3;

/// A whole of a text (a word, a number with its unit, an address), several that one token stands for, or a forced
/// string.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unit {
    /// Its bytes in the source.
    pub place: Range<usize>,
    /// How likely it is to be kept; 1 when it is forced.
    pub probability: f64,
    /// The same, forced or not.
    pub unforced: f64,
    /// Whether it is a forced string, and nothing more.
    pub is_force_token: bool,
    /// The pass in which it was read.
    pub chunk: usize,
    /// The segment of the text that it is in.
    pub segment: usize,
}

/// A part of a text with a rate of its own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Segment {
    pub place: Range<usize>,
    /// The request's rate when left out.
    pub rate: Option<f64>,
    /// Whether anything of it may be dropped.
    pub compress: bool,
}

/// A text as it goes to the model.
pub(crate) struct Reading {
    pieces: Vec<Piece>,
    /// Where each piece stands, with the wholes that it is a part of.
    wholes: Vec<Range<usize>>,
    /// Whether a piece begins a unit.
    begins: Vec<bool>,
    /// Whether the model's vocabulary has it.
    known: Vec<bool>,
    /// Pieces of each pass.
    pub chunks: Vec<Range<usize>>,
    /// Whether a keep head says how likely they are.
    is_of_head: bool,
}

/// How texts are read for one model.
pub(crate) struct Reader {
    pub tokenizer: Tokenizer,
    pub family: Family,
    /// Whether a word piece goes on with the word before it, by its number.
    pub continues: Vec<bool>,
    /// Pieces of one pass.
    pub most_pieces: usize,
    /// Whether the model is a keep head. The first pass takes as many pieces as fit then: it gives the text's vector.
    pub is_of_head: bool,
}

impl Reader {
    pub fn new(tokenizer: Tokenizer, family: Family, vocabulary: usize, most_pieces: usize, is_of_head: bool) -> Self {
        let continues = |id| {
            tokenizer.word_piece(id as u32).is_some_and(|piece| match family {
                Family::Bert => piece.starts_with("##"),
                Family::XlmRoberta => !piece.starts_with('▁'),
            })
        };
        let continues = (0..vocabulary).map(continues).collect();
        Self { tokenizer, family, continues, most_pieces, is_of_head }
    }

    /// Cuts a text into pieces, and the pieces into passes.
    pub fn read(&self, text: &str, chunk_end_tokens: &[String]) -> Result<Reading, EncoderError> {
        let mut pieces = self.tokenizer.pieces(text)?;
        for piece in &mut pieces {
            let written = &text[piece.start..piece.end];
            piece.end = piece.start + written.trim_end().len();
            piece.start = piece.end - text[piece.start..piece.end].trim_start().len();
        }
        let wholes = grown(text, &pieces);
        let mut begins = Vec::with_capacity(pieces.len());
        let mut end = 0;
        for (i, piece) in pieces.iter().enumerate() {
            begins.push(i == 0 || piece.start >= end && self.begins(text, &pieces[i - 1], piece));
            end = end.max(wholes[i].end);
        }
        let unknown = self.tokenizer.unknown();
        let known = pieces.iter().map(|piece| Some(piece.id) != unknown).collect();
        let ends: HashSet<&str> = chunk_end_tokens.iter().map(String::as_str).collect();
        let is_end = |i: usize| {
            let after = pieces.get(i + 1).map_or(text.len(), |next: &Piece| next.start);
            let gap = &text[pieces[i].end..after.max(pieces[i].end)];
            let is_end = ends.contains(&text[pieces[i].start..pieces[i].end]);
            begins.get(i + 1) != Some(&false) && (is_end || gap.contains('\n') && ends.contains("\n"))
        };
        let (mut chunks, mut start) = (Vec::new(), 0);
        while start < pieces.len() {
            let full = start + self.most_pieces;
            let end = if full >= pieces.len() {
                pieces.len()
            } else if self.is_of_head && start == 0 {
                full
            } else {
                // Where no end token stands, at least not within a unit.
                let wanted = (start + 1..full).rev().find(|&i| is_end(i)).map(|i| i + 1);
                wanted.or_else(|| (start + 1..full).rev().find(|&i| begins[i])).unwrap_or(full)
            };
            chunks.push(start..end);
            start = end;
        }
        Ok(Reading { pieces, wholes, begins, known, chunks, is_of_head: self.is_of_head })
    }

    fn begins(&self, text: &str, previous: &Piece, piece: &Piece) -> bool {
        if piece.start < previous.end {
            // Two pieces of one character, such as of a ligature.
            return false;
        }
        if !self.continues.get(piece.id as usize).copied().unwrap_or(false) {
            return true;
        }
        if self.family == Family::Bert {
            return false;
        }
        let (before, here) = (&text[previous.start..previous.end], &text[piece.start..piece.end]);
        let (Some(last), Some(first)) = (before.chars().next_back(), here.chars().next()) else { return true };
        // SentencePiece writes a run of Chinese, or a word with its punctuation, as one word.
        piece.start > previous.end || is_sign(last) || is_sign(first) || is_cjk(last) || is_cjk(first)
    }
}

impl Reading {
    /// The ids of each pass, between the tokens that open and close a sequence.
    pub fn sequences(&self, open: u32, close: u32) -> impl Iterator<Item = Vec<u32>> {
        self.chunks.iter().map(move |chunk| {
            let ids = self.pieces[chunk.clone()].iter().map(|p| p.id);
            std::iter::once(open).chain(ids).chain([close]).collect()
        })
    }

    /// Where the pieces of each pass stand.
    pub fn places(&self) -> impl Iterator<Item = Vec<Range<usize>>> {
        self.chunks.iter().map(|chunk| self.pieces[chunk.clone()].iter().map(|p| p.start..p.end).collect())
    }

    /// The units of the text, given the probabilities of each pass's sequence.
    pub fn units(&self, text: &str, keep: &[Vec<f32>], segments: &[Segment], options: &CompressOptions) -> Vec<Unit> {
        let mut words: Vec<Word> = Vec::new();
        let segment_of = |start: usize| segments.iter().position(|s| start < s.place.end).unwrap_or_default();
        for (chunk, (range, keep)) in self.chunks.iter().zip(keep).enumerate() {
            // The sequence has a special token before the pieces.
            for (piece, &p) in range.clone().zip(&keep[1..]) {
                let Piece { start, end, .. } = self.pieces[piece];
                let segment = segment_of(start);
                let within = segments.get(segment).map_or(0..text.len(), |s| s.place.clone());
                let whole = &self.wholes[piece];
                let place = whole.start.max(within.start).min(start)..whole.end.min(within.end).max(end);
                let is_sign = !text[start..end].contains(char::is_alphanumeric);
                match words.last_mut() {
                    Some(word) if !self.begins[piece] && word.unit.segment == segment => {
                        word.unit.place.start = word.unit.place.start.min(place.start);
                        word.unit.place.end = word.unit.place.end.max(place.end);
                        word.add(p, is_sign, options.token_to_word);
                        word.see(&text[start..end], self.known[piece]);
                    }
                    // A mark of white space and nothing else.
                    _ if start == end => {}
                    _ => {
                        let unforced = f64::from(p);
                        let unit = Unit { place, probability: 0.0, unforced, is_force_token: false, chunk, segment };
                        let mut word = Word { unit, count: 1, is_sign, pieces: 0, unknown: 0, spelling: 0, letters: 0 };
                        word.see(&text[start..end], self.known[piece]);
                        words.push(word);
                    }
                }
            }
        }
        // Most models know most texts.
        let rarities = LazyCell::new(|| Rarities::of(words.iter().map(|word| &text[word.unit.place.clone()])));
        let knows_script = knows_script(text, &words);
        let unit = |(place, word): (usize, &Word)| {
            let written = &text[word.unit.place.clone()];
            let is_known = if is_latin(written) { word.is_known() } else { knows_script };
            // Of words that say as much, the first.
            let by_rarity = || rarities.probability(written) * (1.0 - TIE * place as f64);
            let unforced = if is_known { word.unit.unforced } else { by_rarity() };
            Unit { unforced, ..word.unit.clone() }
        };
        let mut units: Vec<Unit> = words.iter().enumerate().map(unit).collect();
        if self.is_of_head {
            weigh(text, &mut units);
        }
        for unit in &mut units {
            let written = &text[unit.place.clone()];
            let is_forced = options.force_reserve_digit && written.contains(char::is_numeric)
                || options.force_reserve_negation && is_negation(written);
            unit.probability = if is_forced { 1.0 } else { unit.unforced };
        }
        force(text, units, &options.force_tokens, segment_of)
    }
}

/// Whether the model knows most words that are not in Latin letters. Of a script that it does not know it may have some
/// characters; these say no more than the others.
fn knows_script(text: &str, words: &[Word]) -> bool {
    let others = words.iter().filter(|word| !is_latin(&text[word.unit.place.clone()]));
    let (known, unknown): (Vec<&Word>, Vec<&Word>) = others.partition(|word| word.is_known());
    let letters = |words: Vec<&Word>| words.iter().map(|word| word.letters).sum::<usize>();
    letters(unknown) * MIN_KNOWN <= letters(known)
}

/// Whether its first letter, if it has any, is Latin.
pub(crate) fn is_latin(text: &str) -> bool {
    let is_latin = |c: char| matches!(u32::from(c), 0..0x250 | 0x1E00..0x1F00 | 0xFF00..0xFF60);
    text.chars().find(|c| c.is_alphabetic()).is_none_or(is_latin)
}

/// The places of pieces, each with the wholes that it is a part of.
fn grown(text: &str, pieces: &[Piece]) -> Vec<Range<usize>> {
    let wholes = wholes(text);
    let mut first = 0;
    let grow = |piece: &Piece| {
        first += wholes[first..].iter().take_while(|whole| whole.end <= piece.start).count();
        let touched = wholes[first..].iter().take_while(|whole| whole.start < piece.end);
        touched.fold(piece.start..piece.end, |place, whole| place.start.min(whole.start)..place.end.max(whole.end))
    };
    pieces.iter().map(grow).collect()
}

/// A unit whose tokens are being read.
struct Word {
    unit: Unit,
    /// Tokens that its probability is of.
    count: usize,
    /// Whether these are signs only.
    is_sign: bool,
    /// Its tokens, and those of them that the model does not know.
    pieces: usize,
    unknown: usize,
    /// Its tokens of one letter, and its letters.
    spelling: usize,
    letters: usize,
}

impl Word {
    fn see(&mut self, written: &str, is_known: bool) {
        let letters = written.chars().filter(|c| c.is_alphabetic());
        self.pieces += 1;
        self.unknown += usize::from(!is_known);
        self.letters += letters.clone().count();
        // A character of Han is a token of every model that cuts them apart.
        self.spelling += usize::from(letters.filter(|&c| is_letter(c)).count() == 1);
    }

    /// Whether the model knows the word: most of its tokens, and not only the letters that it is spelt by.
    fn is_known(&self) -> bool {
        let is_spelt = self.spelling >= MIN_SPELT && self.spelling >= self.letters;
        self.unknown * 2 <= self.pieces && !is_spelt
    }

    /// Adds a token. Signs within a unit say nothing about it, if it has letters or digits.
    fn add(&mut self, p: f32, is_sign: bool, rule: TokenToWord) {
        if is_sign && !self.is_sign {
            return;
        }
        let is_first = self.is_sign && !is_sign;
        self.count = if is_first { 1 } else { self.count + 1 };
        self.is_sign = is_sign;
        if is_first || rule == TokenToWord::Mean {
            self.unit.unforced += (f64::from(p) - self.unit.unforced) / self.count as f64;
        }
    }
}

/// Makes one unit of each place where a force token stands as a whole word, with the wholes that it is a part of.
fn force(text: &str, units: Vec<Unit>, force_tokens: &[String], segment_of: impl Fn(usize) -> usize) -> Vec<Unit> {
    let mut forced: Vec<Range<usize>> = Vec::new();
    let mut tokens: Vec<&str> = force_tokens.iter().map(String::as_str).filter(|t| !t.is_empty()).collect();
    tokens.sort_by_key(|t| std::cmp::Reverse(t.len()));
    for token in tokens {
        for (start, _) in text.match_indices(token) {
            let place = start..start + token.len();
            if is_whole_word(text, &place) && forced.iter().all(|f| f.end <= place.start || place.end <= f.start) {
                forced.push(place);
            }
        }
    }
    if forced.is_empty() {
        return units;
    }
    forced.sort_by_key(|f| f.start);
    let mut all = Vec::with_capacity(units.len() + forced.len());
    let mut units = units.into_iter().peekable();
    let mut chunk = 0;
    for place in forced {
        while let Some(unit) = units.next_if(|u| u.place.end <= place.start) {
            chunk = unit.chunk;
            all.push(unit);
        }
        // The second in one whole.
        let last = all.pop_if(|last: &mut Unit| place.start < last.place.end);
        let segment = segment_of(place.start);
        let mut unit = last.unwrap_or_else(|| Unit {
            place: place.clone(),
            probability: 1.0,
            unforced: 1.0,
            is_force_token: true,
            chunk,
            segment,
        });
        unit.place.end = unit.place.end.max(place.end);
        while let Some(inner) = units.next_if(|u| u.place.start < unit.place.end) {
            unit.place = unit.place.start.min(inner.place.start)..unit.place.end.max(inner.place.end);
            (unit.unforced, unit.chunk, chunk) = (inner.unforced, inner.chunk, inner.chunk);
        }
        unit.is_force_token = unit.place == place;
        all.push(unit);
    }
    all.extend(units);
    all
}

fn is_whole_word(text: &str, place: &Range<usize>) -> bool {
    let joins = |a: Option<char>, b: Option<char>| a.zip(b).is_some_and(|(a, b)| is_letter(a) && is_letter(b));
    let inside = &text[place.clone()];
    let is_border = |at| GraphemeCursor::new(at, text.len(), true).is_boundary(text, 0).unwrap_or(true);
    is_border(place.start)
        && is_border(place.end)
        && !joins(text[..place.start].chars().next_back(), inside.chars().next())
        && !joins(inside.chars().next_back(), text[place.end..].chars().next())
}

/// Whether two of them side by side make one word.
pub(crate) fn is_letter(c: char) -> bool {
    c.is_alphanumeric() && !is_cjk(c)
}

/// Characters of scripts that are written without spaces.
pub(crate) fn is_cjk(c: char) -> bool {
    matches!(u32::from(c), 0x2E80..=0x9FFF | 0xF900..=0xFAFF | 0xFF66..=0xFF9F | 0x2_0000..=0x3_FFFF)
}

fn is_sign(c: char) -> bool {
    !c.is_alphanumeric()
}
