//! Words of scripts that are written without blanks: by Unicode's dictionary for Han and kana, and by its models for
//! Thai, Lao, Khmer and Burmese (`icu_segmenter`).

use super::{Atom, Kind, lists};
use icu_segmenter::options::WordBreakInvariantOptions;
use icu_segmenter::{WordSegmenter, WordSegmenterBorrowed};
use std::sync::LazyLock;

static SEGMENTER: LazyLock<WordSegmenterBorrowed<'static>> =
    LazyLock::new(|| WordSegmenter::new_auto(WordBreakInvariantOptions::default()));

/// The atoms of a text, of which those are joined that are parts of one word.
pub(super) fn joined(text: &str, atoms: Vec<Atom>) -> Vec<Atom> {
    let mut joined: Vec<Atom> = Vec::with_capacity(atoms.len());
    for run in atoms.chunk_by(|a, b| a.kind == b.kind && is_of_run(text, a) && is_of_run(text, b)) {
        // The unit of a number is no part of the next word: `28日下午`.
        let (unit, run) = run.split_at(unit_of_number(text, run, joined.last()));
        joined.extend_from_slice(unit);
        match run {
            [only] => joined.push(only.clone()),
            run => join(text, run, &mut joined),
        }
    }
    joined
}

/// How many atoms of a run are the unit of the number before it.
fn unit_of_number(text: &str, run: &[Atom], before: Option<&Atom>) -> usize {
    let Some(first) = run.first().filter(|atom| atom.kind == Kind::Ideograph) else { return 0 };
    let is_number =
        |atom: &Atom| atom.place.end == first.place.start && text[atom.place.clone()].ends_with(char::is_numeric);
    if !before.is_some_and(is_number) {
        return 0;
    }
    let rest = &text[first.place.start..];
    let unit = lists::IDEOGRAPHIC_UNITS.iter().find(|unit| rest.starts_with(**unit));
    let end = unit.map_or(0, |unit| first.place.start + unit.len());
    run.iter().take_while(|atom| atom.place.end <= end).count()
}

/// Joins the atoms of one run to words. A word ends where an atom ends: a character is never cut.
fn join(text: &str, run: &[Atom], joined: &mut Vec<Atom>) {
    let (Some(first), Some(last)) = (run.first(), run.last()) else { return };
    let (start, end) = (first.place.start, last.place.end);
    let mut borders = SEGMENTER.segment_str(&text[start..end]).map(|border| start + border).peekable();
    let mut word = start;
    for atom in run {
        while borders.next_if(|&border| border < atom.place.end).is_some() {}
        if borders.peek() == Some(&atom.place.end) || atom.place.end == end {
            joined.push(Atom { place: word..atom.place.end, kind: atom.kind });
            word = atom.place.end;
        }
    }
}

fn is_of_run(text: &str, atom: &Atom) -> bool {
    match atom.kind {
        Kind::Ideograph => true,
        Kind::Word => is_unspaced(&text[atom.place.clone()]),
        Kind::Space | Kind::Sign => false,
    }
}

/// Whether a text begins in a script that is written without blanks: of Thailand, Laos, Myanmar, Cambodia and their
/// neighbours.
pub(super) fn is_unspaced(text: &str) -> bool {
    let is_unspaced = |c: char| {
        matches!(u32::from(c),
            0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF | 0x1950..=0x19FF | 0x1A20..=0x1AAF
                | 0xA9E0..=0xA9FF | 0xAA60..=0xAADF)
    };
    text.chars().next().is_some_and(is_unspaced)
}
