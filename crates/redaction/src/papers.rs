//! Numbers of payment cards, Chinese resident identity cards and bank accounts (IBAN), which their checks tell from
//! others.

use crate::checks::{iban, iban_length, is_of_card_network, luhn, resident_id};
use crate::fold::{DASH, DOT};
use crate::numbers::{Chain, Gap, Group};
use std::ops::Range;

/// What may stand between the groups of a card's number.
const GAPS: Gap =
    Gap::any(&[Gap::BLANK, Gap::TAB, Gap::BREAK, Gap::DASH, Gap::STOP, Gap::DOT, Gap::SLASH, Gap::UNDERSCORE]);
/// Digits of a card.
const CARD_DIGITS: Range<usize> = 13..20;
/// Digits of a resident identity number before its check character.
const RESIDENT_DIGITS: usize = 17;
/// Bytes that may stand between two groups of an account's number.
const MAX_IBAN_GAP: usize = 3;

/// Calls `add` with the payment cards of a chain.
pub fn cards(chain: &Chain, add: &mut impl FnMut(Range<usize>)) {
    let mut from = 0;
    while from < chain.groups.len() {
        from = match card(chain, from) {
            Some(last) => {
                add(chain.range(from..=last));
                last + 1
            }
            None => from + 1,
        };
    }
}

/// The last group of a card's number that begins with a group. The longest on one line stands before those that go on
/// in the next.
fn card(chain: &Chain, from: usize) -> Option<usize> {
    let (mut total, mut groups) = (0, Groups::default());
    let (mut on_a_line, mut over_lines) = (None, None);
    for (last, group) in chain.groups.iter().enumerate().skip(from) {
        total += group.len();
        if total >= CARD_DIGITS.end || last > from && !group.gap.is_within(GAPS) {
            break;
        }
        groups.push(group, last == from);
        let is_spaced_out = || from == 0 && last == 15 && chain.groups.len() == 16 && chain.is_spaced_out();
        if total < CARD_DIGITS.start || !groups.are_regular() && !is_spaced_out() {
            continue;
        }
        if chain.is_free(&chain.range(from..=last)) && chain.is_alone_or_on_a_line(from..=last) {
            let digits = chain.digits(from..=last);
            if is_of_card_network(&digits) && luhn(&digits) {
                *(if groups.has_break { &mut over_lines } else { &mut on_a_line }) = Some(last);
            }
        }
    }
    on_a_line.or(over_lines)
}

/// How long the groups of a number are. The end of a line may stand between two groups, or within one.
#[derive(Default)]
struct Groups {
    apart: Lengths,
    joined: Lengths,
    has_break: bool,
}

impl Groups {
    fn push(&mut self, group: &Group, is_first: bool) {
        let is_break = !is_first && group.gap == Gap::BREAK;
        self.has_break |= !is_first && group.gap.has(Gap::BREAK);
        self.apart.push(group.len());
        match self.joined.last() {
            Some(last) if is_break => *last += group.len(),
            _ => self.joined.push(group.len()),
        }
    }

    /// Whether a card's number is written in one, or in groups as cards show them: of four, or 4-6-5 and 4-6-4.
    fn are_regular(&self) -> bool {
        [&self.apart, &self.joined].into_iter().any(|lengths| match lengths.all() {
            [_] | [4, 6, 4 | 5] => true,
            [first @ .., last] => first.iter().all(|&length| length == 4) && (1..=4).contains(last),
            [] => false,
        })
    }
}

/// Lengths of so many groups as a card's number has digits, at most.
#[derive(Default)]
struct Lengths {
    lengths: [usize; CARD_DIGITS.end],
    count: usize,
}

impl Lengths {
    fn push(&mut self, length: usize) {
        self.lengths[self.count] = length;
        self.count += 1;
    }

    fn last(&mut self) -> Option<&mut usize> {
        self.lengths[..self.count].last_mut()
    }

    fn all(&self) -> &[usize] {
        &self.lengths[..self.count]
    }
}

/// Calls `add` with the resident identity numbers of a chain.
pub fn resident_ids(chain: &Chain, add: &mut impl FnMut(Range<usize>)) {
    let mut from = 0;
    while from < chain.groups.len() {
        from = match resident(chain, from) {
            Some((last, range)) => {
                add(range);
                last + 1
            }
            None => from + 1,
        };
    }
}

fn resident(chain: &Chain, from: usize) -> Option<(usize, Range<usize>)> {
    let mut total = 0;
    for (last, group) in chain.groups.iter().enumerate().skip(from) {
        total += group.len();
        if total > RESIDENT_DIGITS + 1 || last > from && !group.gap.is_within(GAPS) {
            return None;
        }
        if total < RESIDENT_DIGITS {
            continue;
        }
        let mut range = chain.range(from..=last);
        let mut check = None;
        if total == RESIDENT_DIGITS {
            // The check character stands beside, or one blank or hyphen away.
            let rest = &chain.text[range.end..];
            let apart = usize::from(rest.starts_with([' ', '-']));
            check = rest[apart..].chars().next().filter(|c| matches!(c, 'x' | 'X'));
            if check.is_none() {
                continue;
            }
            range.end += apart + 1;
        }
        if !chain.is_free(&range) || !chain.is_alone_or_on_a_line(from..=last) {
            continue;
        }
        let mut number = chain.digits(from..=last);
        number.extend(check);
        if resident_id(&number) {
            return Some((last, range));
        }
    }
    None
}

/// Calls `add` with the account numbers whose first digits are in a chain.
pub fn ibans(chain: &Chain, add: &mut impl FnMut(Range<usize>)) {
    for group in chain.groups.iter().filter(|group| group.len() >= 2) {
        if let Some(range) = account(chain, group.range.start) {
            add(range);
        }
    }
}

/// The account number of which the check digits stand at `digits`.
fn account(chain: &Chain, digits: usize) -> Option<Range<usize>> {
    let bytes = chain.text.as_bytes();
    let start = digits.checked_sub(2)?;
    let is_word = bytes[start..digits].iter().all(u8::is_ascii_alphabetic);
    if !is_word || start.checked_sub(1).is_some_and(|before| bytes[before].is_ascii_alphanumeric()) {
        return None;
    }
    let length = iban_length(&bytes[start..digits])?;
    let (mut number, mut at, mut groups) = (String::with_capacity(length), start, vec![0_usize]);
    loop {
        let c = *bytes.get(at)?;
        if !c.is_ascii_alphanumeric() {
            return None;
        }
        number.push(char::from(c).to_ascii_uppercase());
        *groups.last_mut()? += 1;
        at += 1;
        if number.len() == length {
            break;
        }
        let gap = iban_gap(&chain.text[at..]);
        if gap > 0 {
            at += gap;
            groups.push(0);
        }
    }
    let (last, first) = groups.split_last()?;
    let is_regular = first.iter().all(|&length| length == 4) && (first.is_empty() || *last <= 4);
    let range = start..at;
    (is_regular && chain.is_free(&range) && iban(&number)).then_some(range)
}

/// Bytes that stand between two groups.
fn iban_gap(rest: &str) -> usize {
    let gap =
        rest.find(|c: char| !c.is_whitespace() && !matches!(c, '-' | '.' | DASH | DOT)).unwrap_or(rest.len().min(8));
    if gap <= MAX_IBAN_GAP { gap } else { 0 }
}
