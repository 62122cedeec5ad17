//! What of a record is searched by words, and what its text is.

use crate::analysis::{Term, terms};
use crate::people::People;

/// Signs that end a question, in whatever script.
const QUESTION_MARKS: [char; 11] = ['?', '？', '﹖', '؟', '\u{37e}', '፧', '꘏', '⁇', '⁈', '⁉', '‽'];

/// What of a record is searched by words.
#[derive(Clone, Debug, Default)]
pub struct Document<'a> {
    /// What it says.
    pub text: &'a str,
    /// Who said it.
    pub speaker: Option<&'a str>,
    /// Whom it is about.
    pub user: Option<&'a str>,
    /// What it is tagged with: found as words of the text are, and no part of its length.
    pub tags: Vec<&'a str>,
}

impl<'a> Document<'a> {
    /// A text of nobody.
    pub fn of(text: &'a str) -> Self {
        Self { text, ..Self::default() }
    }

    /// The terms that it is found by, and how many of them its length has.
    pub(crate) fn terms(&self) -> (Vec<Term>, u32) {
        let mut all = terms(self.text);
        let length = all.iter().filter(|term| !term.is_stop_word).count() as u32;
        all.extend(self.tags.iter().flat_map(|tag| terms(tag)));
        (all, length)
    }

    pub(crate) fn people(&self) -> People {
        People::of(self.speaker, self.user)
    }

    /// Whether its last sentence is a question: a question mark is among the signs after its last letter or digit.
    pub(crate) fn is_question(&self) -> bool {
        self.text.chars().rev().take_while(|c| !c.is_alphanumeric()).any(|c| QUESTION_MARKS.contains(&c))
    }
}

impl<'a, T: AsRef<str> + ?Sized> From<&'a T> for Document<'a> {
    fn from(text: &'a T) -> Self {
        Self::of(text.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_a_question_if_its_last_sentence_is_one() {
        for text in [
            "Where are you moving?",
            "I love hiking. What about you?",
            "Really?!",
            "\"When?\" 😊",
            "你住在哪里？",
            "أين تسكن؟",
            "Πού μένεις\u{37e}",
            "Did you see it (the film)?\n",
        ] {
            assert!(Document::of(text).is_question(), "{text}");
        }
        for text in ["", "Where? To Rome.", "I wonder where.", "a?b", "let a = b();", "https://a.b/c?d=1"] {
            assert!(!Document::of(text).is_question(), "{text}");
        }
    }

    #[test]
    fn tags_are_found_and_are_no_part_of_the_length() {
        let plain = terms("the garden");
        let tagged = Document { tags: vec!["Home Improvement", "roses"], ..Document::of("the garden") };
        let ((_, length), (all, length_of_tagged)) = (Document::of("the garden").terms(), tagged.terms());
        assert_eq!((length, length_of_tagged), (1, 1));
        let added: Vec<&str> = all[plain.len()..].iter().map(|term| term.text.as_str()).collect();
        assert_eq!(added, ["home", "improv", "rose"]);
    }
}
