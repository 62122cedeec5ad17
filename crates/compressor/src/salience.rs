//! What says that a word is worth keeping, or not, beside what a keep head makes of it: that it is a name or a number,
//! and that it stood there before.
//!
//! A head over a model of small letters sees no names, and no head sees that a word is said twice.

use crate::units::Unit;
use std::collections::HashSet;
use std::sync::LazyLock;

/// Of what a name or a number lacks to certainty, what it gets.
const LIFT: f64 = 0.3;
/// What is left of a word that stood before, in the same pass and the same segment.
const REPEATED: f64 = 0.5;

/// English ones: they are written with capitals in titles, as `I'm` is everywhere.
static STOP_WORDS: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| stop_words::lookup("en").unwrap_or_default().iter().copied().collect());

/// Weighs the words of a text.
pub(crate) fn weigh(text: &str, units: &mut [Unit]) {
    let mut seen = HashSet::new();
    let mut part = (0, 0);
    let mut before: Option<usize> = None;
    for unit in units {
        // The part before may have gone, whole.
        if (unit.chunk, unit.segment) != part {
            seen.clear();
            part = (unit.chunk, unit.segment);
        }
        let word = &text[unit.place.clone()];
        if word.contains(char::is_alphanumeric) {
            let lower = word.to_lowercase().replace('’', "'");
            let follows = before.is_some_and(|end| goes_on(&text[..end], &text[end..unit.place.start]));
            if word.contains(char::is_numeric) || follows && is_name(word, &lower) {
                unit.unforced += LIFT * (1.0 - unit.unforced);
            }
            if !seen.insert(lower) {
                unit.unforced *= REPEATED;
            }
        }
        before = Some(unit.place.end);
    }
}

/// Whether a sentence goes on after what ends so, and after the white space that follows.
fn goes_on(before: &str, space: &str) -> bool {
    before.ends_with(|c: char| c.is_alphanumeric() || ",&/".contains(c)) && !space.contains('\n')
}

/// Whether a word within a sentence is written as a name is. A script without capitals has none.
fn is_name(word: &str, lower: &str) -> bool {
    let mut letters = word.chars();
    letters.next().is_some_and(char::is_uppercase) && letters.next().is_some() && !STOP_WORDS.contains(lower)
}

#[cfg(test)]
mod tests {
    use super::weigh;
    use crate::units::Unit;
    use crate::wholes::wholes;

    /// What each word gets that had a half, in passes and segments of so many words.
    fn weighed(text: &str, pass: usize, segment: usize) -> Vec<(&str, f64)> {
        let unit = |(i, place): (usize, std::ops::Range<usize>)| Unit {
            place,
            probability: 0.5,
            unforced: 0.5,
            is_force_token: false,
            chunk: i / pass,
            segment: i / segment,
        };
        let mut units: Vec<Unit> = wholes(text).into_iter().enumerate().map(unit).collect();
        weigh(text, &mut units);
        units.into_iter().map(|unit| (&text[unit.place], unit.unforced)).collect()
    }

    fn which(text: &str, fits: impl Fn(f64) -> bool) -> Vec<&str> {
        weighed(text, 99, 99).into_iter().filter(|&(_, said)| fits(said)).map(|(word, _)| word).collect()
    }

    #[test]
    fn names_and_numbers_say_more() {
        let more = |text| which(text, |said| said > 0.5);
        let text = "We met Ana, Zoë and Dr Wu in Rome on May 7th, 2023.";
        assert_eq!(more(text), ["Ana", "Zoë", "Dr", "Wu", "Rome", "May 7th, 2023"]);
        assert_eq!(more("Она живёт в Москве. Ему 40."), ["Москве", "40"]);
        assert_eq!(more("房租是4500元。"), ["4500元"]);
    }

    #[test]
    fn capitals_at_the_beginning_of_a_sentence_and_of_stop_words_tell_no_name() {
        for text in ["Well. Yes! Perhaps? \"Fine\"", "and I'm sure I’ll go, I do", "it is\nGood", "what The and Of are"]
        {
            assert_eq!(which(text, |said| said > 0.5), Vec::<&str>::new(), "{text}");
        }
    }

    #[test]
    fn a_word_says_less_when_it_stood_there_before_and_a_sign_as_much() {
        let less = |text| which(text, |said| said < 0.5);
        assert_eq!(less("Rain, rain, go away, and rain no more."), ["rain", "rain"]);
        assert_eq!(less("No, no. So, so."), ["no", "so"]);
    }

    #[test]
    fn a_pass_and_a_segment_know_nothing_of_the_one_before() {
        let both = [("rain", 0.5), ("rain", 0.5)];
        assert_eq!(weighed("rain rain", 1, 99), both);
        assert_eq!(weighed("rain rain", 99, 1), both);
        assert_eq!(weighed("rain rain", 99, 99), [("rain", 0.5), ("rain", 0.25)]);
    }
}
