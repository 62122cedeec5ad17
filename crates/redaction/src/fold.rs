//! Characters as the plain ones that they stand for.
//!
//! - Unicode's compatibility decomposition (NFKD, UAX #15): full-width, mathematical, circled and superscript forms,
//!   ligatures.
//! - Decimal digits of every script (general category Nd) as ASCII digits.
//! - What is not seen is left out: default-ignorable characters (UAX #44), controls and format characters. So are
//!   combining marks.
//! - Blanks of any width as a blank, separators of lines as a line feed, hyphens as `-`, other dashes as [`DASH`],
//!   dots in the middle as [`DOT`].
//! - The ideographic full stop as a dot between letters and digits of ASCII, as domain names may have it (UTS #46).
//! - `[.]`, `(@)` and `[:]` as what is within, and `[at]` as [`AT`].

use crate::shadow::{Layer, Rewrite};
use icu_properties::props::{Dash, DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};
use std::ops::RangeInclusive;
use std::sync::LazyLock;
use unicode_normalization::char::decompose_compatible;

/// Any dash that is no hyphen.
pub const DASH: char = '–';
/// A dot in the middle, or a bullet.
pub const DOT: char = '·';
/// `at` in brackets. It is of the private use area: no text has it.
pub const AT: char = '\u{e040}';
/// Stands between a digit and one in a circle or raised: `①138` is not 1138.
const BREAK: char = '^';

/// Digits that have no decomposition, each the first of a row and what it stands for: ⓵ ⓿ ❶ ➀ ➊ 🄋 🄌.
const ROWS: [(char, u32, u32); 7] = [
    ('\u{24f5}', 1, 9),
    ('\u{24ff}', 0, 1),
    ('\u{2776}', 1, 9),
    ('\u{2780}', 1, 9),
    ('\u{278a}', 1, 9),
    ('\u{1f10b}', 0, 1),
    ('\u{1f10c}', 0, 1),
];

static DECIMAL_DIGITS: LazyLock<Vec<RangeInclusive<u32>>> = LazyLock::new(|| {
    CodePointMapData::<GeneralCategory>::new().iter_ranges_for_value(GeneralCategory::DecimalNumber).collect()
});

/// Bytes at which something may have to be done.
const STOPS: [bool; 256] = {
    let mut stops = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let is_control = byte < 0x20 && !matches!(byte as u8, b'\t' | b'\n' | b'\r');
        stops[byte] = is_control || byte >= 0x7f || matches!(byte as u8, b'[' | b'(' | b'{' | b'<');
        byte += 1;
    }
    stops
};

/// The text in plain characters; none where it is already.
pub fn fold(text: &str) -> Option<Layer> {
    let (bytes, mut out, mut plain) = (text.as_bytes(), Rewrite::of(text), String::new());
    let mut at = 0;
    while let Some(step) = bytes[at..].iter().position(|&byte| STOPS[usize::from(byte)]) {
        at += step;
        if bytes[at].is_ascii() {
            match bytes[at] {
                b'[' | b'(' | b'{' | b'<' => {
                    if let Some((sign, length)) = bracketed(&bytes[at..]) {
                        out.replace(at..at + length, sign.encode_utf8(&mut [0; 4]));
                        at += length - 1;
                    }
                }
                0x0b | 0x0c => out.replace(at..at + 1, " "),
                _ => out.replace(at..at + 1, ""),
            }
            at += 1;
            continue;
        }
        let Some(c) = text[at..].chars().next() else { break };
        let end = at + c.len_utf8();
        if !is_settled(c) {
            plain.clear();
            push_in_context(c, &text[..at], &text[end..], &mut plain);
            if plain != text[at..end] {
                out.replace(at..end, &plain);
            }
        }
        at = end;
    }
    out.finish()
}

/// The sign that a text begins with in brackets, and the length of all.
fn bracketed(bytes: &[u8]) -> Option<(char, usize)> {
    let inner = &bytes[1..];
    let lead = usize::from(inner.first() == Some(&b' '));
    let (sign, length) = match &inner[lead..] {
        [sign @ (b'.' | b'@' | b':'), ..] => (char::from(*sign), 1),
        [b'a' | b'A', b't' | b'T', ..] => (AT, 2),
        _ => return None,
    };
    let rest = &inner[lead + length..];
    let trail = usize::from(rest.first() == Some(&b' '));
    let is_closed = matches!(rest.get(trail), Some(b']' | b')' | b'}' | b'>'));
    is_closed.then_some((sign, lead + length + trail + 2))
}

/// Whether a character is of a large block in which each stands for itself.
fn is_settled(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}')
        || matches!(c, '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}')
}

fn push_in_context(c: char, before: &str, after: &str, plain: &mut String) {
    let (before, after) = (before.chars().next_back(), after.chars().next());
    if matches!(c, '。' | '｡') {
        let joins = [before, after].into_iter().all(|beside| beside.is_some_and(is_plain_letter_or_digit));
        return plain.push(if joins { '.' } else { '。' });
    }
    push(c, plain);
    if plain.starts_with(|c: char| c.is_ascii_digit()) && !is_digit_in_words(c) {
        if before.is_some_and(is_digit_in_words) {
            plain.insert(0, BREAK);
        }
        if after.is_some_and(is_digit_in_words) {
            plain.push(BREAK);
        }
    }
}

/// Appends what a character stands for.
fn push(c: char, plain: &mut String) {
    match c {
        '\u{2010}' | '\u{2011}' | '\u{fe63}' | '\u{ff0d}' => plain.push('-'),
        '\u{2028}' | '\u{2029}' | '\u{85}' => plain.push('\n'),
        '\u{2022}' | '\u{2027}' | '\u{2219}' | '\u{22c5}' | '\u{30fb}' | '\u{ff65}' | DOT => plain.push(DOT),
        // A full stop that was a part of another character.
        '。' => plain.push(c),
        '\u{2044}' => plain.push('/'),
        '\u{2800}' => plain.push(' '),
        _ if c.is_ascii() && !c.is_ascii_control() => plain.push(c),
        _ if c.is_whitespace() => plain.push(' '),
        _ if is_unseen(c) => {}
        _ if CodePointSetData::new::<Dash>().contains(c) => plain.push(DASH),
        _ => match digit(c) {
            Some(digit) => plain.push(digit),
            None => decompose_compatible(c, |part| if part == c { plain.push(c) } else { push(part, plain) }),
        },
    }
}

fn category(c: char) -> GeneralCategory {
    CodePointMapData::<GeneralCategory>::new().get(c)
}

fn is_unseen(c: char) -> bool {
    use GeneralCategory::{Control, EnclosingMark, Format, NonspacingMark, SpacingMark};
    matches!(category(c), Control | Format | NonspacingMark | SpacingMark | EnclosingMark)
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

/// The digit of ASCII that a digit of another script, or one of [`ROWS`], stands for.
fn digit(c: char) -> Option<char> {
    let point = c as u32;
    let value = if category(c) == GeneralCategory::DecimalNumber {
        let range = &DECIMAL_DIGITS[DECIMAL_DIGITS.partition_point(|range| *range.end() < point)];
        // The digits of a script are ten in a row.
        (point - range.start()) % 10
    } else {
        let &(first, value, _) =
            ROWS.iter().find(|(first, _, count)| (*first as u32..*first as u32 + count).contains(&point))?;
        value + point - first as u32
    };
    char::from_digit(value, 10)
}

/// Whether it is a digit as numbers are written with, not one in a circle or raised.
fn is_digit_in_words(c: char) -> bool {
    c.is_ascii_digit() || !c.is_ascii() && category(c) == GeneralCategory::DecimalNumber
}

fn is_plain_letter_or_digit(c: char) -> bool {
    let mut plain = String::new();
    push(c, &mut plain);
    plain.starts_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use crate::shadow::Shadow;

    #[test]
    fn characters_are_read_as_what_they_stand_for() {
        for (written, read) in [
            ("１３８＠ｅｘ．ｃｏｍ", "138@ex.com"),
            ("𝟒𝟏𝟙𝟣", "4111"),
            ("①②❸➍⓿²₅", "1234025"),
            ("١٢٣ ۴۵ १२ ৩ ๔", "123 45 12 3 4"),
            ("a\u{200b}b\u{ad}c\u{2060}d\u{feff}e\u{202e}f\u{fe0f}g\u{e0041}h\u{0}i", "abcdefghi"),
            ("1\u{a0}2\u{2009}3\u{3000}4\u{202f}5\u{2028}6", "1 2 3 4 5\n6"),
            ("1‐2‑3–4—5−6―7", "1-2-3–4–5–6–7"),
            ("1•2・3‧4", "1·2·3·4"),
            ("josé José ﬁ Ⅹ", "jose Jose fi X"),
            ("a。b a。谢 谢。b 3。4", "a.b a。谢 谢。b 3.4"),
            ("a[.]b(@)c{:}d [x] [At] ( at )", "a.b@c:d [x] \u{e040} \u{e040}"),
            ("①138 138① 138² ½", "1^138 138^1 138^2 1/2"),
            ("今天が好き한국", "今天が好き한국"),
        ] {
            assert_eq!(Shadow::of(written).decoded().text(), read, "{written}");
        }
    }
}
