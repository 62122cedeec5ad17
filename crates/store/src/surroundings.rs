//! Which records of a session speak for each other.
//!
//! A turn of a conversation seldom says everything itself: the question before it names the subject, the turn after
//! it the answer. Turns of one speaker in a row do not answer each other, and a long text says enough itself.
//! docs/decisions/043 has what these two rules give.

use crate::collection::Links;
use membox_text::Texts;
use std::cell::OnceCell;
use std::ops::RangeInclusive;

/// Steps to the farthest record that speaks for another.
pub(crate) const MAX_STEPS: usize = 2;
/// Words of a text, stop words not counted, that take all of what neighbours say for it; a longer one takes less.
const OPEN_WORDS: f32 = 60.0;
/// Words of a question, stop words not counted, up to which it only asks, and from which on it tells as much as any
/// other text.
const ASKING_WORDS: RangeInclusive<f32> = 10.0..=30.0;

/// Sessions and speakers of one state of a collection.
#[derive(Clone, Default)]
pub(crate) struct Surroundings {
    pub links: Links,
    pub texts: Texts,
}

impl Surroundings {
    /// Calls `each` with every row that speaks for `row`, which speaks for it too, and with the steps to it.
    pub fn around(&self, row: u32, mut each: impl FnMut(u32, usize)) {
        let speaker = OnceCell::new();
        for step in [Links::before, Links::after] {
            let Some(beside) = step(&self.links, row) else { continue };
            let (own, other) = (*speaker.get_or_init(|| self.speaker(row)), self.speaker(beside));
            // Another one speaks; where it is not known who speaks, it may be.
            if is_one(own, other) {
                continue;
            }
            each(beside, 1);
            // The same one speaks again.
            let goes_on = |beyond: u32| {
                let speaker = self.speaker(beyond);
                own == speaker || [own, speaker].contains(&0) && !is_one(other, speaker)
            };
            if let Some(beyond) = step(&self.links, beside).filter(|&beyond| goes_on(beyond)) {
                each(beyond, 2);
            }
        }
    }

    /// The rows before and after a row in its session, up to `STEPS` of each, whoever speaks; the nearest first.
    pub fn beside<const STEPS: usize>(&self, row: u32) -> [[Option<u32>; STEPS]; 2] {
        [Links::before, Links::after].map(|step| {
            let mut at = Some(row);
            std::array::from_fn(|_| {
                at = at.and_then(|row| step(&self.links, row));
                at
            })
        })
    }

    /// The share that a row takes of what its neighbours say for it.
    pub fn openness(&self, row: u32) -> f32 {
        (OPEN_WORDS / (self.texts.text_length(row).max(1) as f32)).min(1.0)
    }

    /// How far a row only asks: 1 for a short question in a session, 0 for what is none, is long, or stands alone,
    /// where nobody can answer.
    pub fn asking(&self, row: u32) -> f32 {
        let is_alone = || self.links.before(row).is_none() && self.links.after(row).is_none();
        if !self.texts.is_question(row) || is_alone() {
            return 0.0;
        }
        let (short, long) = (ASKING_WORDS.start(), ASKING_WORDS.end());
        ((long - self.texts.text_length(row) as f32) / (long - short)).clamp(0.0, 1.0)
    }

    /// The number of who said a row's text; 0 where it is not known.
    fn speaker(&self, row: u32) -> u32 {
        self.texts.people(row).speaker
    }
}

/// Whether it is known that two are the same speaker.
fn is_one(a: u32, b: u32) -> bool {
    a != 0 && a == b
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collection::SessionLinks;
    use membox_text::{Document, Tail};

    fn conversation(turns: &[(&str, &str)]) -> Surroundings {
        let (mut links, mut tail) = (SessionLinks::default(), Tail::default());
        for (row, &(speaker, text)) in (0..).zip(turns) {
            links.push(row, "a");
            let speaker = Some(speaker).filter(|speaker| !speaker.is_empty());
            tail.insert(row, Document { speaker, ..Document::of(text) });
        }
        Surroundings { links: links.links().clone(), texts: Texts::new(None, tail, |_| true) }
    }

    fn around(surroundings: &Surroundings, row: u32) -> Vec<(u32, usize)> {
        let mut found = Vec::new();
        surroundings.around(row, |row, steps| found.push((row, steps)));
        found.sort_unstable();
        found
    }

    #[test]
    fn turns_that_answer_each_other_speak_for_each_other() {
        let two = conversation(&[("Ann", "a"), ("Bo", "b"), ("Ann", "c"), ("Bo", "d"), ("Bo", "e"), ("Ann", "f")]);
        assert_eq!(around(&two, 2), [(0, 2), (1, 1), (3, 1)], "e is Bo's, and no answer of Ann's");
        assert_eq!(around(&two, 4), [(5, 1)], "Bo's words before are no answer");
        let nobody = conversation(&[("", "a"), ("", "b"), ("", "c"), ("", "d"), ("", "e")]);
        assert_eq!(around(&nobody, 2), [(0, 2), (1, 1), (3, 1), (4, 2)], "who speaks is not known");
        let some = conversation(&[("", "a"), ("Bo", "b"), ("Bo", "c")]);
        assert_eq!((around(&some, 0), around(&some, 2)), (vec![(1, 1)], vec![]), "those who speak for each other");
        let three = conversation(&[("Ann", "a"), ("Bo", "b"), ("Cy", "c")]);
        assert_eq!(around(&three, 0), [(1, 1)]);
    }

    #[test]
    fn a_long_text_takes_less() {
        let long = "tea ".repeat(240);
        let two = conversation(&[("Ann", "tea"), ("Bo", &long)]);
        assert_eq!((two.openness(0), two.openness(1)), (1.0, 0.25));
    }

    #[test]
    fn a_short_question_in_a_session_only_asks() {
        let long = format!("{}?", "tea ".repeat(20));
        let turns = [("Ann", "Where do you run?"), ("Bo", "By the river."), ("Ann", long.as_str()), ("Bo", "Tea?")];
        let two = conversation(&turns);
        assert_eq!([0, 1, 2, 3].map(|row| two.asking(row)), [1.0, 0.0, 0.5, 1.0]);
        let longer = format!("{}?", "tea ".repeat(30));
        assert_eq!(conversation(&[("Ann", &longer), ("Bo", "Tea.")]).asking(0), 0.0, "it tells as much as another");
        assert_eq!(conversation(&[("Ann", "Where do you run?")]).asking(0), 0.0, "nobody answers one that is alone");
    }
}
