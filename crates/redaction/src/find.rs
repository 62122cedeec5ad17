//! Where personal data is in a text.
//!
//! A pattern proposes, and a check decides: Luhn's digit and a network's prefix for cards, the checksum, province and birthday for resident ids, a parser for
//! addresses. Neighbours are looked at as ASCII, so a number between Chinese characters is found (`\b` takes those for parts of words), and
//! full-width digits and letters are read as what they stand for.

use crate::checks::{is_of_card_network, luhn, resident_id};
use regex::Regex;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::sync::LazyLock;
use utoipa::ToSchema;

/// A kind of personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An e-mail address.
    Email,
    /// A Chinese mobile number, or one in the international form of E.164.
    Phone,
    /// A Chinese resident identity number.
    ResidentId,
    /// The number of a payment card.
    PaymentCard,
    /// An IP address, version 4 or 6.
    IpAddress,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Email, Self::Phone, Self::ResidentId, Self::PaymentCard, Self::IpAddress];

    /// What stands in its place: `EMAIL` of `[EMAIL_REDACTED]`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Email => "EMAIL",
            Self::Phone => "PHONE",
            Self::ResidentId => "RESIDENT_ID",
            Self::PaymentCard => "PAYMENT_CARD",
            Self::IpAddress => "IP_ADDRESS",
        }
    }
}

/// A place in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub kind: Kind,
    /// Bytes of the text.
    pub range: Range<usize>,
}

const PATTERN: &str = "the pattern is tested";

static EMAIL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"[A-Za-z0-9][A-Za-z0-9._%+\-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}",
    )
    .expect(PATTERN)
});
/// With or without the country's code, digits in groups of 3, 4 and 4 or in one.
static CHINESE_MOBILE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?:(?:\+|00)?86[ \-]?)?1[3-9][0-9](?:[ \-]?[0-9]{4}){2}").expect(PATTERN));
static INTERNATIONAL: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\+[1-9][0-9]{0,3}(?:[ \-.]?(?:\([0-9]{1,4}\)|[0-9]{1,12})){1,6}").expect(PATTERN));
static RESIDENT_ID: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[1-8][0-9]{16}[0-9Xx]").expect(PATTERN));
static CARD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[1-9][0-9]{3}(?:[ \-]?[0-9]){9,15}").expect(PATTERN));
static IPV4: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}").expect(PATTERN));
static IPV6: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[0-9A-Fa-f:]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*").expect(PATTERN));

/// What stands before four numbers that are no address.
const VERSION_WORDS: [&str; 10] =
    ["version", "ver", "rev", "release", "build", "firmware", "section", "版本", "固件", "章节"];

/// Digits that groups of an E.164 number have in all.
const INTERNATIONAL_DIGITS: Range<usize> = 8..16;

/// Places of personal data of these kinds, in order and apart from each other. Where two meet, the longer stands.
pub fn find(text: &str, kinds: &[Kind]) -> Vec<Found> {
    let plain = Plain::of(text);
    let mut found: Vec<Found> = Vec::new();
    for kind in kinds {
        let mut add = |range: Range<usize>| found.push(Found { kind: *kind, range });
        match kind {
            Kind::Email => plain.each(&EMAIL, |_, range| Some(range), &mut add),
            Kind::Phone => {
                plain.each(&CHINESE_MOBILE, |_, range| plain.is_free(&range, is_digit).then_some(range), &mut add);
                plain.each(&INTERNATIONAL, |found, range| plain.international(found, range), &mut add);
            }
            Kind::ResidentId => {
                let check = |number: &str, range| {
                    (resident_id(number) && plain.is_free(&range, |b| b.is_ascii_alphanumeric())).then_some(range)
                };
                plain.each(&RESIDENT_ID, check, &mut add);
            }
            Kind::PaymentCard => plain.each(&CARD, |found, range| plain.card(found, range), &mut add),
            Kind::IpAddress => {
                plain.each(&IPV4, |found, range| plain.ipv4(found, range), &mut add);
                plain.each(&IPV6, |found, range| plain.ipv6(found, range), &mut add);
            }
        }
    }
    found.sort_by_key(|f| (f.range.start, std::cmp::Reverse(f.range.len()), f.kind));
    let mut apart: Vec<Found> = Vec::with_capacity(found.len());
    for next in found {
        match apart.last_mut() {
            Some(last) if next.range.start < last.range.end => {
                if next.range.len() > last.range.len() {
                    *last = next;
                }
            }
            _ => apart.push(next),
        }
    }
    apart.into_iter().map(|f| Found { kind: f.kind, range: plain.original(f.range) }).collect()
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}

/// A text with full-width forms of ASCII as ASCII, and where each byte was.
struct Plain {
    text: String,
    /// For each byte of `text` where its character begins in the original, and last where the original ends; empty when nothing was changed.
    places: Vec<usize>,
}

impl Plain {
    fn of(text: &str) -> Self {
        // U+FF01 to U+FF5E are ASCII's 0x21 to 0x7E.
        let is_wide = |c: char| ('\u{ff01}'..='\u{ff5e}').contains(&c);
        if !text.contains(is_wide) {
            return Self { text: text.to_owned(), places: Vec::new() };
        }
        let (mut plain, mut places) = (String::with_capacity(text.len()), Vec::with_capacity(text.len() + 1));
        for (at, c) in text.char_indices() {
            let narrow = if is_wide(c) { char::from_u32(c as u32 - 0xfee0).unwrap_or(c) } else { c };
            plain.push(narrow);
            places.resize(plain.len(), at);
        }
        places.push(text.len());
        Self { text: plain, places }
    }

    fn original(&self, range: Range<usize>) -> Range<usize> {
        match self.places.as_slice() {
            [] => range,
            places => places[range.start]..places[range.end],
        }
    }

    /// Calls `add` with what `check` makes of each match. After one that fails, looks again from its second byte on.
    fn each(
        &self,
        pattern: &Regex,
        check: impl Fn(&str, Range<usize>) -> Option<Range<usize>>,
        add: &mut impl FnMut(Range<usize>),
    ) {
        let mut from = 0;
        while let Some(found) = pattern.find_at(&self.text, from) {
            from = found.start() + 1;
            if let Some(range) = check(found.as_str(), found.range()) {
                from = range.end;
                add(range);
            }
            // Every pattern begins with an ASCII character, and so ends on a boundary.
            while !self.text.is_char_boundary(from) {
                from += 1;
            }
        }
    }

    /// Whether neither the byte before nor the one after is such.
    fn is_free(&self, range: &Range<usize>, is_such: impl Fn(u8) -> bool) -> bool {
        let bytes = self.text.as_bytes();
        let before = range.start.checked_sub(1).map(|at| bytes[at]);
        !before.is_some_and(&is_such) && !bytes.get(range.end).copied().is_some_and(is_such)
    }

    fn international(&self, found: &str, range: Range<usize>) -> Option<Range<usize>> {
        let digits = found.bytes().filter(u8::is_ascii_digit).count();
        let is_free = self.is_free(&range, |b| is_digit(b) || b == b'+');
        (INTERNATIONAL_DIGITS.contains(&digits) && is_free).then_some(range)
    }

    /// The longest beginning of a run of digits that is a card's number and ends where digits end.
    fn card(&self, found: &str, range: Range<usize>) -> Option<Range<usize>> {
        let mut end = found.len();
        loop {
            let number = &found[..end];
            let digits: String = number.chars().filter(char::is_ascii_digit).collect();
            let here = range.start..range.start + end;
            let is_free = self.is_free(&here, |b| b.is_ascii_alphanumeric());
            if is_free && is_regular(number) && is_of_card_network(&digits) && luhn(&digits) {
                return Some(here);
            }
            // A shorter number must end before a blank or a hyphen.
            end = number.rfind([' ', '-'])?;
        }
    }

    fn ipv4(&self, found: &str, range: Range<usize>) -> Option<Range<usize>> {
        found.parse::<Ipv4Addr>().ok()?;
        // A further group makes it a version or a section; a letter before it, too.
        let bytes = self.text.as_bytes();
        let goes_on = bytes.get(range.end) == Some(&b'.') && bytes.get(range.end + 1).copied().is_some_and(is_digit);
        let before = range.start.checked_sub(1).map(|at| bytes[at]);
        // `DNS8.8.8.8` is written where no blanks are; a letter alone is a version's.
        let letters = bytes[..range.start].iter().rev().take_while(|b| b.is_ascii_alphabetic()).count();
        let is_part = letters == 1 || before.is_some_and(|b| is_digit(b) || b == b'.' || b == b'_' || b == b'-');
        let follows = bytes.get(range.end).is_some_and(u8::is_ascii_alphanumeric);
        let lead = self.text[..range.start].trim_end_matches([' ', ':', '.', '号']).to_lowercase();
        let is_version = VERSION_WORDS.iter().any(|word| lead.ends_with(word));
        (!goes_on && !is_part && !follows && !is_version).then_some(range)
    }

    fn ipv6(&self, found: &str, range: Range<usize>) -> Option<Range<usize>> {
        // A sentence's colon may stand before it, and one or a full stop behind.
        let trimmed = found.trim_end_matches('.');
        let trimmed = if trimmed.ends_with("::") { trimmed } else { trimmed.trim_end_matches(':') };
        let address = if trimmed.starts_with("::") { trimmed } else { trimmed.trim_start_matches(':') };
        address.parse::<Ipv6Addr>().ok()?;
        let start = range.start + trimmed.len() - address.len();
        let range = start..start + address.len();
        let digits = address.bytes().filter(u8::is_ascii_hexdigit).count();
        let is_free = self.is_free(&range, |b| b.is_ascii_alphanumeric() || b == b'_');
        // `::` and `::1` are nobody's.
        (digits > 1 && is_free).then_some(range)
    }
}

/// Whether a card's number is written in one, or in groups as cards show them: of four, or 4-6-5 and 4-6-4.
fn is_regular(number: &str) -> bool {
    let groups: Vec<usize> = number.split([' ', '-']).map(str::len).collect();
    match groups.as_slice() {
        [_] | [4, 6, 4 | 5] => true,
        [first @ .., last] => first.iter().all(|&length| length == 4) && (1..=4).contains(last),
        [] => false,
    }
}
