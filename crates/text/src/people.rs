//! Who said a text, and whom it is about: numbers that tell one name from another, and find the names of a question.
//!
//! Only the first word of a name counts: who asks for Caroline means Caroline Smith. Where a tenant's texts are sealed,
//! so are names. The files then hold 8 bits of a number, which many names share.

use crate::analysis::terms;

/// Names that say what somebody is and not who.
const ROLES: [&str; 11] =
    ["user", "assist", "system", "tool", "function", "develop", "human", "ai", "bot", "agent", "custom"];

/// Words of whoever asks for themselves.
const FIRST_PERSON: [&str; 9] = ["i", "me", "mine", "my", "our", "us", "we", "我", "私"];
/// How those are called who ask, where they have no names.
const ASKERS: [&str; 2] = ["user", "human"];

/// The numbers of the names of a text; 0 where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct People {
    /// Of who said it.
    pub speaker: u32,
    /// Of whom it is about.
    pub user: u32,
}

impl People {
    /// By their names.
    pub(crate) fn of(speaker: Option<&str>, user: Option<&str>) -> Self {
        let number = |name: Option<&str>| name.and_then(first_word).map_or(0, |word| number(&word));
        Self { speaker: number(speaker), user: number(user) }
    }

    /// As the files of a sealed tenant have it.
    pub(crate) fn sealed(self) -> Self {
        Self { speaker: sealed(self.speaker), user: sealed(self.user) }
    }

    /// Whether one of these said it.
    pub fn is_said_by(&self, names: &[u32]) -> bool {
        names.contains(&self.speaker)
    }

    /// Whether one of them has one of these names.
    pub fn is_one_of(&self, names: &[u32]) -> bool {
        names.iter().any(|&name| name == self.speaker || name == self.user)
    }
}

/// Of a name's number that which does not tell it from others.
pub(crate) fn sealed(number: u32) -> u32 {
    number & 0xff
}

/// The numbers of those who may have said what a question in the first person asks for.
pub(crate) fn askers(question: &str) -> Vec<u32> {
    let is_own = terms(question).iter().any(|term| FIRST_PERSON.contains(&term.text.as_str()));
    if is_own { ASKERS.map(number).to_vec() } else { Vec::new() }
}

/// The numbers of what may be names in a question.
pub(crate) fn names(question: &str) -> Vec<u32> {
    let words = terms(question).into_iter().filter(|term| !term.is_stop_word);
    words.filter(|term| !ROLES.contains(&term.text.as_str())).map(|term| number(&term.text)).collect()
}

fn first_word(name: &str) -> Option<String> {
    terms(name).into_iter().next().map(|term| term.text)
}

/// Never 0, nor are its lowest 8 bits.
fn number(word: &str) -> u32 {
    let number = crc32c::crc32c(word.as_bytes());
    if sealed(number) == 0 { number | 1 } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_themselves_asks_for_what_users_said() {
        let said_by = |name| People::of(Some(name), None);
        for question in ["Where did I park?", "what's my name", "我把车停在哪里", "We'd agreed on what?"] {
            let asked = askers(question);
            assert!(said_by("user").is_said_by(&asked) && said_by("Human").is_said_by(&asked), "{question}");
            assert!(!said_by("assistant").is_said_by(&asked) && !said_by("").is_said_by(&asked));
        }
        assert!(askers("Where did Caroline park?").is_empty());
    }

    #[test]
    fn a_question_finds_the_names_in_it_and_not_the_roles() {
        let said_by = |name| People::of(Some(name), None);
        let about = |name| People::of(None, Some(name));
        let asked = names("When did Caroline's user leave for Löwenberg?");
        assert!(said_by("Caroline").is_one_of(&asked) && about("caroline smith").is_one_of(&asked));
        assert!(said_by("LOWENBERG").is_one_of(&asked));
        for other in ["Melanie", "user", "When", ""] {
            assert!(!said_by(other).is_one_of(&asked), "{other:?}");
        }
        assert!(!People::default().is_one_of(&asked), "nobody has none of them");
        let sealed: Vec<u32> = asked.into_iter().map(sealed).collect();
        assert!(said_by("Caroline").sealed().is_one_of(&sealed));
    }
}
