//! Phone numbers: Chinese mobile ones, international ones (E.164), and those of `tel:` (RFC 3966).

use crate::checks::is_day;
use crate::numbers::{Chain, Gap};
use std::ops::Range;

/// What may stand between the groups of a phone number.
const GAPS: Gap =
    Gap::any(&[Gap::BLANK, Gap::BREAK, Gap::DASH, Gap::STOP, Gap::DOT, Gap::SLASH, Gap::OPEN, Gap::CLOSE]);
/// Digits of an international number, its country's code among them.
const INTERNATIONAL_DIGITS: Range<usize> = 8..16;
/// Groups of one.
const MAX_GROUPS: usize = 8;
/// An international number that has as many digits does not go on in the next line.
const LINE_DIGITS: usize = 10;
/// Digits behind two zeros when nothing stands between them.
const ZEROS_DIGITS: Range<usize> = 10..14;
/// Digits of a number behind `tel:`.
const TEL_DIGITS: Range<usize> = 7..16;
/// What such numbers stand behind.
const SCHEMES: [&str; 3] = ["tel:", "sms:", "callto:"];
/// What an extension stands behind, the longer ones first.
const EXTENSIONS: [&str; 8] = [";ext=", "extension", "ext.", "ext", "x", "#", "分机", "转"];
/// Digits of an extension.
const MAX_EXTENSION: usize = 6;
/// So long a run of hexadecimal digits is a digest or an identifier.
const HEX_DIGITS: usize = 16;

/// Calls `add` with the phone numbers of a chain.
pub fn phones(chain: &Chain, add: &mut impl FnMut(Range<usize>)) {
    let total: usize = chain.groups.iter().map(|group| group.len()).sum();
    if total < TEL_DIGITS.start.min(INTERNATIONAL_DIGITS.start) {
        return;
    }
    if let Some(range) = behind_plus(chain).or_else(|| behind_scheme(chain)) {
        add(with_extension(chain.text, range));
    }
    let mut from = 0;
    while from < chain.groups.len() {
        let found = mobile(chain, from).or_else(|| behind_zeros(chain, from));
        from = match found {
            Some((last, range)) => {
                add(with_extension(chain.text, range));
                last + 1
            }
            None => from + 1,
        };
    }
}

/// A Chinese mobile number from a group on, with its country's code or without: its last group, and its place.
fn mobile(chain: &Chain, from: usize) -> Option<(usize, Range<usize>)> {
    if from == 0 && chain.groups.len() == 11 && chain.is_spaced_out() && chain.gap(1).is_within(GAPS) {
        return is_mobile(&chain.digits(0..=10)).then(|| (10, chain.range(0..=10)));
    }
    let mut cuts = [0; 4];
    let mut length = 0;
    for (count, group) in chain.groups[from..].iter().take(cuts.len()).enumerate() {
        let last = from + count;
        if count > 0 && !group.gap.is_within(GAPS) || length + group.len() > 15 {
            return None;
        }
        cuts[count] = length;
        length += group.len();
        if !matches!(length, 11 | 13 | 15) {
            continue;
        }
        let digits = chain.digits(from..=last);
        let (code, number) = digits.split_at(length - 11);
        let is_cut_well = cuts[1..=count].iter().all(|cut| matches!(cut.checked_sub(code.len()), Some(0 | 3 | 7)));
        if matches!(code, "" | "86" | "0086") && is_mobile(number) && is_cut_well && stands_alone(chain, from, last) {
            return Some((last, with_parenthesis(chain, from, last)));
        }
    }
    None
}

fn is_mobile(digits: &str) -> bool {
    matches!(digits.as_bytes(), [b'1', b'3'..=b'9', ..])
}

/// Whether groups are no part of something longer that is no phone number.
fn stands_alone(chain: &Chain, from: usize, last: usize) -> bool {
    let range = chain.range(from..=last);
    let (before, after) = (chain.gap(from), chain.gap(last + 1));
    // `0.13812345678`, and a price of eleven digits.
    let is_zero = |group: usize| chain.digits(group..=group) == "0";
    let is_decimal = before == Gap::STOP && is_zero(from - 1)
        || from == last && after == Gap::STOP && chain.groups[last + 1].len() <= 2 && last + 2 == chain.groups.len();
    // More groups apart by the same sign. Behind a hyphen may stand an extension.
    let goes_on = (from + 1..=last).any(|group| {
        let gap = chain.gap(group);
        gap.is_tie() && !gap.has(Gap::DASH) && (gap == before || gap == after)
    });
    !is_decimal && !goes_on && !is_in_hex(chain.text, &range) && chain.is_alone_or_on_a_line(from..=last)
}

/// Whether digits are in a digest, or in the last part of a UUID.
fn is_in_hex(text: &str, range: &Range<usize>) -> bool {
    let bytes = text.as_bytes();
    let before = bytes[..range.start].iter().rev().take(HEX_DIGITS).take_while(|b| b.is_ascii_hexdigit()).count();
    let after = bytes[range.end..].iter().take(HEX_DIGITS).take_while(|b| b.is_ascii_hexdigit()).count();
    let is_word_free = |at: Option<&u8>| !at.is_some_and(u8::is_ascii_alphanumeric);
    let start = range.start - before;
    let is_whole = (before == HEX_DIGITS || is_word_free(start.checked_sub(1).and_then(|at| bytes.get(at))))
        && (after == HEX_DIGITS || is_word_free(bytes.get(range.end + after)));
    let is_behind_hyphen = text[..start].ends_with('-') && text[..start - 1].ends_with(|c: char| c.is_ascii_hexdigit());
    before + after > 0 && is_whole && (range.len() + before + after >= HEX_DIGITS || is_behind_hyphen)
}

/// With a sign or a parenthesis that the number begins with.
fn with_parenthesis(chain: &Chain, from: usize, last: usize) -> Range<usize> {
    let mut range = chain.range(from..=last);
    if chain.text[..range.start].ends_with('+') {
        range.start -= 1;
    }
    let gaps = chain.gaps(from..=last);
    if gaps.has(Gap::CLOSE) && !gaps.has(Gap::OPEN) && chain.text[..range.start].ends_with('(') {
        range.start -= 1;
    }
    range
}

/// An international number behind `+`, where the chain is one.
fn behind_plus(chain: &Chain) -> Option<Range<usize>> {
    let first = &chain.groups[0];
    let before = &chain.text[..first.range.start];
    let (lead, is_open) = match before.strip_suffix('(') {
        Some(lead) => (lead, true),
        None => (before, false),
    };
    let lead = lead.strip_suffix('+')?;
    if lead.ends_with(|c: char| c.is_ascii_digit() || c == '+') {
        return None;
    }
    // `(+49) 30`: the parenthesis belongs to the number when it is closed in it.
    let parentheses = Parentheses { outer: !is_open && lead.ends_with('('), inner: is_open };
    let (last, closed) = international(chain, 0, 0, parentheses)?;
    let start = lead.len() - usize::from(closed);
    Some(start..chain.groups[last].range.end)
}

/// An international number behind `00`, from a group on.
fn behind_zeros(chain: &Chain, from: usize) -> Option<(usize, Range<usize>)> {
    let group = &chain.groups[from];
    let rest = chain.text[group.range.clone()].strip_prefix("00")?;
    let is_apart = rest.is_empty();
    if is_apart && from > 0 || rest.starts_with('0') {
        return None;
    }
    let start = group.range.start;
    let mut before = chain.text[..start].bytes().rev();
    let is_part = match before.next() {
        Some(b'-' | b'.' | b',' | b':' | b'_') => before.next().is_some_and(|b| b.is_ascii_alphanumeric()),
        Some(b) => b.is_ascii_alphanumeric() || b == b'#',
        None => false,
    };
    if is_part {
        return None;
    }
    let skipped = if is_apart { 0 } else { 2 };
    let (last, _) = international(chain, from + usize::from(is_apart), skipped, Parentheses::default())?;
    let digits = &chain.digits(from..=last)[2..];
    let is_long_enough = match last - from {
        0 => ZEROS_DIGITS.contains(&digits.len()),
        _ => digits.len() > INTERNATIONAL_DIGITS.start || !is_apart,
    };
    let is_national = !digits.starts_with('1') || is_north_american(digits);
    let range = chain.range(from..=last);
    let is_free = !chain.text[range.end..].starts_with(|c: char| c.is_ascii_alphanumeric());
    // A number that is padded with zeros may begin with a day.
    let number = |part: Range<usize>| digits.get(part).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    let is_dated = from == last && is_day(number(0..4), number(4..6), number(6..8));
    (is_long_enough && is_national && is_free && !is_dated && !is_in_hex(chain.text, &range)).then_some((last, range))
}

/// Country code 1, and an area and an exchange that begin with 2 to 9.
fn is_north_american(digits: &str) -> bool {
    let is_code = |at: usize| matches!(digits.as_bytes().get(at), Some(b'2'..=b'9'));
    digits.len() == 11 && digits.starts_with('1') && is_code(1) && is_code(4)
}

/// Which parentheses are open.
#[derive(Clone, Copy, Default)]
struct Parentheses {
    /// One before the number, which may hold its country's code or all of it.
    outer: bool,
    /// One within the number, which holds one group.
    inner: bool,
}

impl Parentheses {
    /// What is open behind a gap, after so many digits; none where the number cannot go on.
    fn behind(mut self, gap: Gap, digits: usize) -> Option<Self> {
        match gap.has(Gap::CLOSE) {
            true if self.inner => self.inner = false,
            true if self.outer && digits <= 4 => self.outer = false,
            false if !self.inner => {}
            _ => return None,
        }
        self.inner |= gap.has(Gap::OPEN);
        Some(self)
    }
}

/// The last group of an international number that begins with a group, less the first digits of it, and whether it
/// closes the outer parenthesis.
fn international(chain: &Chain, from: usize, skipped: usize, mut parentheses: Parentheses) -> Option<(usize, bool)> {
    let (first, was_outer) = (chain.groups.get(from)?, parentheses.outer);
    if !chain.text[first.range.start + skipped..].starts_with(|c: char| matches!(c, '1'..='9')) {
        return None;
    }
    let (mut total, mut best, mut breaks) = (0, None, 0);
    for (at, group) in chain.groups.iter().enumerate().skip(from).take(MAX_GROUPS) {
        if at > from {
            let is_break = group.gap.has(Gap::BREAK);
            breaks += usize::from(is_break);
            if !group.gap.is_within(GAPS) || breaks > 1 || is_break && total >= LINE_DIGITS || is_date(chain, at) {
                break;
            }
            match parentheses.behind(group.gap, total) {
                Some(next) => parentheses = next,
                None => break,
            }
        }
        total += group.len() - if at == from { skipped } else { 0 };
        if total >= INTERNATIONAL_DIGITS.end {
            break;
        }
        if total >= INTERNATIONAL_DIGITS.start && !parentheses.inner {
            best = Some((at, was_outer && !parentheses.outer));
            let digits = &chain.digits(from..=at)[skipped..];
            if is_north_american(digits) || digits.len() == 13 && digits.starts_with("861") {
                break;
            }
        }
    }
    best.filter(|&(last, _)| !are_decimals(chain, from, last))
}

/// Whether a date begins with a group: `2024-05-20` or `20.05.2024`.
fn is_date(chain: &Chain, at: usize) -> bool {
    let (Some([first, second, third]), gap) = (chain.groups.get(at..at + 3), chain.gap(at + 1)) else { return false };
    let number = |range: &Range<usize>| chain.text[range.clone()].parse::<u32>().unwrap_or(u32::MAX);
    let [a, b, c] = [first, second, third].map(|group| number(&group.range));
    gap == third.gap
        && match [first.len(), second.len(), third.len()] {
            [4, 1 | 2, 1 | 2] => gap.is_tie() && is_day(a, b, c),
            [1 | 2, 1 | 2, 4] => {
                gap.is_within(Gap::any(&[Gap::STOP, Gap::SLASH])) && (is_day(c, a, b) || is_day(c, b, a))
            }
            _ => false,
        }
}

/// Whether groups are numbers with a decimal point each, the last one perhaps cut: `+12.5 13.5 14`.
fn are_decimals(chain: &Chain, from: usize, last: usize) -> bool {
    let is_point = |group: usize| chain.gap(group) == Gap::STOP;
    last > from + 2 && (from + 1..=last).all(|group| is_point(group) == ((group - from) % 2 == 1))
}

/// A number behind `tel:` with neither `+` nor zeros.
fn behind_scheme(chain: &Chain) -> Option<Range<usize>> {
    let range = chain.range(0..=0);
    let before = chain.text[..range.start].trim_end_matches('(');
    if !SCHEMES.iter().any(|scheme| ends_with(before, scheme)) {
        return None;
    }
    let (mut total, mut end) = (range.len(), range.end);
    for group in chain.groups[1..].iter().take_while(|group| group.gap.is_within(GAPS) && !group.gap.has(Gap::BREAK)) {
        if total + group.len() >= TEL_DIGITS.end {
            break;
        }
        total += group.len();
        end = group.range.end;
    }
    TEL_DIGITS.contains(&total).then_some(before.len()..end)
}

/// Whether a text ends with one of ASCII, in any case.
fn ends_with(text: &str, end: &str) -> bool {
    let (text, end) = (text.as_bytes(), end.as_bytes());
    text.len() >= end.len() && text[text.len() - end.len()..].eq_ignore_ascii_case(end)
}

/// With the extension that follows.
fn with_extension(text: &str, range: Range<usize>) -> Range<usize> {
    let skip = |text: &str, at: usize, skipped: &[u8]| {
        at + text.as_bytes()[at..].iter().take(2).take_while(|b| skipped.contains(b)).count()
    };
    let lead = skip(text, range.end, b" ,");
    let follows = |word: &&&str| {
        let rest = text.as_bytes().get(lead..lead + word.len());
        rest.is_some_and(|rest| rest.eq_ignore_ascii_case(word.as_bytes()))
    };
    let Some(word) = EXTENSIONS.iter().find(follows) else { return range };
    let start = skip(text, lead + word.len(), b" :");
    let count = text.as_bytes()[start..].iter().take(MAX_EXTENSION + 1).take_while(|b| b.is_ascii_digit()).count();
    let end = start + count;
    let is_free = !text.as_bytes().get(end).is_some_and(u8::is_ascii_alphanumeric);
    if (1..=MAX_EXTENSION).contains(&count) && is_free { range.start..end } else { range }
}
