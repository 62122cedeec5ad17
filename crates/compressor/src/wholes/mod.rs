//! What is kept whole or is gone as a whole: characters, words, numbers with their units, dates, addresses, names of
//! things in programs.
//!
//! The smallest parts are the words of Unicode (UAX #29), cut only between characters (grapheme clusters). Scripts that
//! are written without blanks have the words of a dictionary ([`dictionary`]). Signs
//! between two of them, without a blank, join what is one thing to its reader: `foo-bar`, `1:30`, `a@b.example`. What
//! ends a clause (`,` `;` `!` `?`, brackets, quotes, dashes) does not. A number takes its sign and currency, and the
//! unit or month that follows it after one blank ([`quantities`]); a URL goes on to the next blank. All of it is one
//! walk over the text.

mod dictionary;
mod lists;
mod quantities;

use crate::units::{is_cjk, is_letter};
use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// Signs side by side that can join two words, at most: `/../`.
const MAX_JOINING_SIGNS: usize = 4;

/// Places of the wholes of a text in bytes, in order. White space is in none, but for a blank within a number or a
/// date.
///
/// ```
/// let text = "Take 0.25 mg, then write to a.b@c.example.";
/// let wholes: Vec<&str> = membox_compressor::wholes(text).into_iter().map(|place| &text[place]).collect();
/// assert_eq!(wholes, ["Take", "0.25 mg", ",", "then", "write", "to", "a.b@c.example", "."]);
/// ```
pub fn wholes(text: &str) -> Vec<Range<usize>> {
    let walk = Walk { text, atoms: atoms(text) };
    let mut wholes = Vec::with_capacity(walk.atoms.len() / 2 + 1);
    let mut at = 0;
    while at < walk.atoms.len() {
        let end = if walk.kind(at) == Kind::Space { at + 1 } else { walk.whole(at) };
        if walk.kind(at) != Kind::Space {
            wholes.push(walk.atoms[at].place.start..walk.atoms[end - 1].place.end);
        }
        at = end;
    }
    wholes
}

/// The beginning of a text, of at most so many bytes, cut between wholes; between characters where not one whole fits.
pub fn beginning(text: &str, most: usize) -> &str {
    if text.len() <= most {
        return text;
    }
    let seen = text.floor_char_boundary(most.saturating_mul(2));
    let ends = wholes(&text[..seen]).into_iter().map(|whole| whole.end);
    let characters = || text.grapheme_indices(true).map(|(at, _)| at).take_while(|&at| at <= most).last();
    let end = ends.take_while(|&end| end <= most).last().or_else(characters).unwrap_or_default();
    &text[..end]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// White space.
    Space,
    /// A character that is no letter and no digit.
    Sign,
    /// A word of a script of [`is_cjk`].
    Ideograph,
    /// Letters and digits of other scripts, and `_`.
    Word,
}

/// What lies between two borders of words.
#[derive(Clone, Debug)]
struct Atom {
    place: Range<usize>,
    kind: Kind,
}

fn kind(text: &str) -> Kind {
    if text.chars().any(is_letter) || text.starts_with('_') {
        Kind::Word
    } else if text.chars().any(char::is_alphanumeric) {
        Kind::Ideograph
    } else if text.chars().all(char::is_whitespace) {
        Kind::Space
    } else {
        Kind::Sign
    }
}

/// The text from word border to word border. Such a border may lie within a character (before a vowel sign of Thai),
/// and then is none.
fn atoms(text: &str) -> Vec<Atom> {
    let mut atoms: Vec<Atom> = Vec::with_capacity(text.len() / 4);
    let mut clusters = (!text.is_ascii()).then(|| text.grapheme_indices(true).peekable());
    let mut start = 0;
    for (at, word) in text.split_word_bound_indices() {
        let end = at + word.len();
        let is_border = clusters.as_mut().is_none_or(|clusters| {
            while clusters.next_if(|(at, _)| *at < end).is_some() {}
            clusters.peek().map_or(text.len(), |(at, _)| *at) == end
        });
        if is_border {
            atoms.push(Atom { place: start..end, kind: kind(&text[start..end]) });
            start = end;
        }
    }
    if text.is_ascii() { atoms } else { dictionary::joined(text, atoms) }
}

/// A walk over a text. Numbers of atoms past the last stand for white space.
struct Walk<'a> {
    text: &'a str,
    atoms: Vec<Atom>,
}

impl Walk<'_> {
    fn kind(&self, at: usize) -> Kind {
        self.atoms.get(at).map_or(Kind::Space, |atom| atom.kind)
    }

    fn is_word(&self, at: usize) -> bool {
        self.kind(at) == Kind::Word
    }

    /// An atom, or nothing past the last.
    fn atom(&self, at: usize) -> &str {
        self.atoms.get(at).map_or("", |atom| &self.text[atom.place.clone()])
    }

    /// Atoms side by side.
    fn atoms(&self, range: Range<usize>) -> &str {
        if range.is_empty() || range.end > self.atoms.len() {
            return "";
        }
        &self.text[self.atoms[range.start].place.start..self.atoms[range.end - 1].place.end]
    }

    /// The only character of an atom.
    fn sign(&self, at: usize) -> Option<char> {
        let mut chars = self.atom(at).chars();
        chars.next().filter(|_| chars.next().is_none())
    }

    fn starts_number(&self, at: usize) -> bool {
        self.is_word(at) && self.atom(at).starts_with(char::is_numeric)
    }

    fn ends_number(&self, end: usize) -> bool {
        end > 0 && self.atom(end - 1).ends_with(char::is_numeric)
    }

    /// Where the whole ends that begins at this atom.
    fn whole(&self, at: usize) -> usize {
        if let Some(end) = self.placeholder(at).or_else(|| self.phone(at)) {
            return end;
        }
        match self.beginning(at) {
            Some(first) => self.url(first).unwrap_or_else(|| self.quantity(at, first)),
            // What redaction leaves of something short.
            None if self.atoms(at..at + 3) == "***" => at + 3,
            None => at + 1,
        }
    }

    /// `[EMAIL_REDACTED]`, `<NAME>` or `{{city}}`: what another text is to stand for, or stood for.
    fn placeholder(&self, at: usize) -> Option<usize> {
        let close = match self.atom(at) {
            "[" => "]",
            "<" => ">",
            "{" => "}",
            _ => return None,
        };
        let is_double = self.atom(at) == "{" && self.atom(at + 1) == "{";
        let first = at + 1 + usize::from(is_double);
        let end = self.is_word(first).then(|| self.body(first))?;
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_' || c == '-';
        let fits = is_double || self.atoms(first..end).chars().all(is_name);
        let is_closed = self.atom(end) == close && (!is_double || self.atom(end + 1) == close);
        (fits && is_closed).then_some(end + 1 + usize::from(is_double))
    }

    /// The first word of a whole that begins here, after the signs that belong to it: `-40`, `€5`, `#tag`, `@name`,
    /// `.NET`, `../src`, `--flag`.
    fn beginning(&self, at: usize) -> Option<usize> {
        if self.is_word(at) {
            return Some(at);
        }
        let sign = self.sign(at)?;
        let before = at.checked_sub(1);
        let after_word = before.is_some_and(|before| self.is_word(before));
        let is_first = !after_word && before.is_none_or(|before| self.atom(before) != self.atom(at));
        if lists::is_currency(sign) {
            let skipped = at + 1 + usize::from(matches!(self.atom(at + 1), "-" | "+" | "−"));
            let spaced = at + 1 + usize::from(self.is_blank(at + 1));
            return [skipped, spaced].into_iter().find(|&first| self.starts_number(first)).or_else(|| {
                // A variable of a shell.
                (sign == '$' && self.is_word(at + 1)).then_some(at + 1)
            });
        }
        match sign {
            '§' | '№' => {
                Some(at + 1 + usize::from(self.is_blank(at + 1))).filter(|&first| self.starts_number(first))
            }
            '+' | '-' | '−' | '–' | '±' | '~' | '≈' | '≤' | '≥' | '<' | '>' if !after_word => {
                let signed = at + 1 + usize::from(self.sign(at + 1).is_some_and(lists::is_currency));
                let first = signed + usize::from(self.atom(signed) == ".");
                if self.starts_number(first) {
                    return Some(first);
                }
                let is_home = sign == '~' && self.atom(at + 1) == "/";
                let path = is_home.then(|| at + 2 + usize::from(self.atom(at + 2) == "."));
                let flag = at + 1 + usize::from(self.atom(at + 1) == "-");
                let flag = (sign == '-' && is_first).then_some(flag);
                path.or(flag).filter(|&first| self.is_word(first))
            }
            '#' | '@' if !after_word && self.is_word(at + 1) => Some(at + 1),
            '.' | '/' | '\\' | ':' if is_first => {
                let count = (1..=MAX_JOINING_SIGNS).find(|n| self.kind(at + n) != Kind::Sign)?;
                let signs = self.atoms(at..at + count);
                let leads = matches!(signs, "." | "/" | "\\" | "./" | "../" | "//" | "\\\\" | "::" | "/.");
                (leads && self.is_word(at + count)).then_some(at + count)
            }
            _ => None,
        }
    }

    /// Where words end that signs without blanks join, from a word on.
    fn body(&self, first: usize) -> usize {
        let mut end = first + 1;
        loop {
            let last = self.atom(end - 1);
            if self.is_word(end) && self.is_word(end - 1) {
                if dictionary::is_unspaced(last) && dictionary::is_unspaced(self.atom(end)) {
                    return end;
                }
                end += 1;
                continue;
            }
            // `11月` after `2026年`.
            if self.kind(end - 1) == Kind::Ideograph && self.starts_number(end) {
                match self.ideographic_unit(end, end + 1) {
                    Some(after) => end = after,
                    None => return end,
                }
                continue;
            }
            if self.kind(end) == Kind::Ideograph {
                match self.ideographic_unit(first, end) {
                    Some(after) => end = after,
                    None => return end,
                }
                continue;
            }
            let signs = (0..MAX_JOINING_SIGNS).take_while(|n| self.kind(end + n) == Kind::Sign).count();
            if signs > 0 && self.is_word(end + signs) && self.joins(end, signs) {
                end += signs + 1;
                continue;
            }
            return end + self.trailing(first, end);
        }
    }

    /// Signs that belong to the word before them: `50%`, `5€`, `C++`, `C#`, `18+`, `U.S.`, `src/`, `main()`.
    fn trailing(&self, first: usize, end: usize) -> usize {
        let word = self.atom(end - 1);
        let next_is_word = |n: usize| self.is_word(end + n);
        match self.atom(end) {
            "%" | "‰" | "°" | "′" | "″" | "℃" | "℉" if self.ends_number(end) => 1,
            sign if sign.chars().all(lists::is_currency) && self.ends_number(end) => sign.chars().count(),
            "+" if self.atom(end + 1) == "+" && !next_is_word(2) => 2,
            "+" | "#" if !next_is_word(1) => 1,
            "(" if self.atom(end + 1) == ")" => 2,
            "." if is_initials(word) => 1,
            "/" if self.atoms(first..end).contains('/') && self.kind(end + 1) != Kind::Ideograph => 1,
            _ => 0,
        }
    }

    /// Whether so many signs join the words before and after them.
    fn joins(&self, at: usize, count: usize) -> bool {
        let signs = self.atoms(at..at + count);
        let after = at + count;
        let between_digits = self.ends_number(at) && self.starts_number(after);
        match signs {
            "-" | "‐" | "‑" | "." | "/" | ":" | "::" | "@" | "_" | "+" | "++" | "~" | "#" | "=" | "=-" | "=+" | "&"
            | "%" | "'" | "’" | "\\" | "^" | "^-" | "·" | "°" | "=&" => true,
            "–" | "−" | "," | "×" => between_digits,
            "?" => self.atom(after + 1) == "=",
            _ if count == 1 && signs.chars().all(lists::is_currency) => self.starts_number(after),
            // What partial redaction leaves between two ends.
            _ if signs.chars().all(|c| c == '*') => true,
            _ if count > 1 && signs.contains(['/', '\\']) => signs.chars().all(|c| "/\\.:~?#&=-_@%*".contains(c)),
            _ => false,
        }
    }

    /// Where a URL ends that begins at a word: before the next blank, less what closes the sentence around it.
    fn url(&self, first: usize) -> Option<usize> {
        let word = self.atom(first);
        let has_scheme = word.is_ascii() && self.atoms(first + 1..first + 4) == "://";
        let begins = |start: &str| word.get(..start.len()).is_some_and(|w| w.eq_ignore_ascii_case(start));
        if !has_scheme && !["www.", "mailto:", "data:"].into_iter().any(begins) {
            return None;
        }
        let body = first + if has_scheme { 4 } else { 1 };
        let mut end = body;
        // Brackets that are open, of each kind.
        let mut open = [0_i32; 3];
        let brackets = |text: &str| {
            let at = |kinds: [&str; 3]| kinds.into_iter().position(|kind| kind == text);
            (at(["(", "[", "{"]), at([")", "]", "}"]))
        };
        while self.continues_url(end) {
            match brackets(self.atom(end)) {
                (Some(kind), _) => open[kind] += 1,
                (_, Some(kind)) => open[kind] -= 1,
                _ => {}
            }
            end += 1;
        }
        while end > body {
            let last = self.atom(end - 1);
            match brackets(last) {
                (_, Some(kind)) if open[kind] < 0 => open[kind] += 1,
                (Some(kind), _) => open[kind] -= 1,
                _ if matches!(last, "." | "," | ";" | ":" | "!" | "?" | "'" | "’" | "*" | "…") => {}
                _ => break,
            }
            end -= 1;
        }
        (end > body || !has_scheme).then_some(end)
    }

    fn continues_url(&self, at: usize) -> bool {
        match self.kind(at) {
            Kind::Word => true,
            Kind::Space => false,
            // Words in a path; not what is written on after an address.
            Kind::Ideograph => {
                matches!(self.atom(at - 1), "/" | "=" | "#" | "_" | "-") || self.kind(at - 1) == Kind::Ideograph
            }
            Kind::Sign => !self.atom(at).chars().any(|c| "<>\"“”„«»‹›`|、。".contains(c) || is_cjk(c) || is_wide(c)),
        }
    }
}

/// Full-width signs.
fn is_wide(c: char) -> bool {
    matches!(u32::from(c), 0xFF00..=0xFF65)
}

/// `U.S`, `e.g`, `p.m`: the dot after it is its own.
fn is_initials(word: &str) -> bool {
    let mut chars = word.chars();
    let mut letters = 0;
    loop {
        match (chars.next(), chars.next()) {
            (Some(letter), Some('.')) if letter.is_alphabetic() => letters += 1,
            (Some(letter), None) => return letter.is_alphabetic() && letters > 0,
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests;
