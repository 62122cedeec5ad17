//! What is done with what was found.

use crate::find::{Found, Kind, find, plain};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What is done with personal data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is looked for.
    #[default]
    Off,
    /// The text stays, and what was found is counted.
    Mark,
    /// The first and the last two characters stay, as they read: `al***om`; of six or fewer none.
    Partial,
    /// The kind stands in its place: `[EMAIL_REDACTED]`.
    Full,
}

/// What is looked for, and what is done with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redaction {
    /// What is done.
    pub mode: Mode,
    /// Which kinds; all when left out.
    pub kinds: Option<Vec<Kind>>,
}

/// How often each kind was found.
pub type Counts = BTreeMap<Kind, usize>;

/// Characters of a value that partial redaction leaves nothing of.
const SHORT: usize = 6;
/// Characters that it leaves at each end of a longer one.
const SHOWN: usize = 2;

impl Redaction {
    /// The text as it may be kept, and what was found in it. The counts are added to `counts`.
    pub fn apply<'a>(&self, text: &'a str, counts: &mut Counts) -> Cow<'a, str> {
        if self.mode == Mode::Off {
            return Cow::Borrowed(text);
        }
        let found = find(text, self.kinds.as_deref().unwrap_or(&Kind::ALL));
        for Found { kind, .. } in &found {
            *counts.entry(*kind).or_default() += 1;
        }
        if self.mode == Mode::Mark || found.is_empty() {
            return Cow::Borrowed(text);
        }
        let (mut kept, mut from) = (String::with_capacity(text.len()), 0);
        for Found { kind, range } in found {
            kept.push_str(&text[from..range.start]);
            match self.mode {
                Mode::Partial => push_partial(&mut kept, &plain(&text[range.clone()])),
                _ => kept.extend(["[", kind.label(), "_REDACTED]"]),
            }
            from = range.end;
        }
        kept.push_str(&text[from..]);
        Cow::Owned(kept)
    }
}

/// A text without what full redaction has put into it.
pub fn without_placeholders(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    for kind in Kind::ALL {
        let placeholder = format!("[{}_REDACTED]", kind.label());
        if text.contains(&placeholder) {
            text = Cow::Owned(text.replace(&placeholder, " "));
        }
    }
    text
}

fn push_partial(kept: &mut String, value: &str) {
    let count = value.chars().count();
    if count > SHORT {
        kept.extend(value.chars().take(SHOWN));
    }
    kept.push_str("***");
    if count > SHORT {
        kept.extend(value.chars().skip(count - SHOWN));
    }
}
