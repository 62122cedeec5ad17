//! Where personal data is in a text.
//!
//! A pattern proposes, and a check decides: Luhn's digit and a network's prefix for cards, the checksum, province and
//! birthday for resident ids, a parser for
//! addresses. Neighbours are looked at as ASCII, so a number between Chinese characters is found. All is looked for
//! in the text's shadow
//! (`shadow.rs`), and so whatever characters it is written with.

use crate::email::emails;
use crate::numbers::chains;
use crate::shadow::{Reading, Shadow};
use crate::{ip, papers, phone};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ops::Range;

/// A kind of personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    /// The number of a bank account (IBAN).
    Iban,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Email, Self::Phone, Self::ResidentId, Self::PaymentCard, Self::IpAddress, Self::Iban];

    /// What stands in its place: `EMAIL` of `[EMAIL_REDACTED]`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Email => "EMAIL",
            Self::Phone => "PHONE",
            Self::ResidentId => "RESIDENT_ID",
            Self::PaymentCard => "PAYMENT_CARD",
            Self::IpAddress => "IP_ADDRESS",
            Self::Iban => "IBAN",
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

/// How often is looked again, since what was found was a neighbour of what was not.
const MAX_ROUNDS: usize = 4;

/// Places of personal data of these kinds, in order and apart from each other, on the borders of graphemes. Where two
/// meet, they are one of the longer's kind.
/// The time that it takes is in proportion to the text.
pub fn find(text: &str, kinds: &[Kind]) -> Vec<Found> {
    let mut found = find_once(text, kinds);
    if found.is_empty() {
        return found;
    }
    for _ in 0..MAX_ROUNDS {
        let more = find_once(&without(text, &found), kinds);
        if more.is_empty() {
            break;
        }
        found.extend(more);
        found = apart(found);
    }
    found
}

/// What a part of a text reads as.
pub fn plain(text: &str) -> Cow<'_, str> {
    let shadow = Shadow::of(text);
    let plain = shadow.decoded().text();
    if plain == text { Cow::Borrowed(text) } else { Cow::Owned(plain.to_owned()) }
}

fn find_once(text: &str, kinds: &[Kind]) -> Vec<Found> {
    let shadow = Shadow::of(text);
    let mut found = apart(find_in(&shadow.decoded(), kinds));
    if let Some(undecoded) = shadow.undecoded() {
        // What is found either way is where it is with escapes read: `\nalice@example.com` begins with a line feed.
        let meets = |place: &Found| {
            let next = found.partition_point(|f| f.range.end <= place.range.start);
            found.get(next).is_some_and(|f| f.range.start < place.range.end)
        };
        let more: Vec<Found> = find_in(&undecoded, kinds).into_iter().filter(|place| !meets(place)).collect();
        found.extend(more);
        found = apart(found);
    }
    found
}

fn find_in(reading: &Reading, kinds: &[Kind]) -> Vec<Found> {
    let (text, mut found) = (reading.text(), Vec::new());
    let mut add = |kind: Kind, range: Range<usize>| found.push(Found { kind, range: reading.original(range) });
    if kinds.contains(&Kind::Email) {
        emails(text, &mut |range| add(Kind::Email, range));
    }
    if kinds.contains(&Kind::IpAddress) {
        ip::ipv6(text, &mut |range| add(Kind::IpAddress, range));
    }
    chains(text, |chain| {
        for &kind in kinds {
            let add = &mut |range| add(kind, range);
            match kind {
                Kind::Email => {}
                Kind::Phone => phone::phones(&chain, add),
                Kind::ResidentId => papers::resident_ids(&chain, add),
                Kind::PaymentCard => papers::cards(&chain, add),
                Kind::IpAddress => ip::ipv4(&chain, add),
                Kind::Iban => papers::ibans(&chain, add),
            }
        }
    });
    found
}

/// In order, and those that meet as one.
fn apart(mut found: Vec<Found>) -> Vec<Found> {
    found.sort_by_key(|f| (f.range.start, std::cmp::Reverse(f.range.len()), f.kind));
    let mut apart: Vec<Found> = Vec::with_capacity(found.len());
    for next in found {
        match apart.last_mut() {
            Some(last) if next.range.start < last.range.end => {
                if next.range.len() > last.range.len() {
                    last.kind = next.kind;
                }
                last.range.end = last.range.end.max(next.range.end);
            }
            _ => apart.push(next),
        }
    }
    apart
}

/// The text with something of the same length, in brackets, in the place of what was found.
fn without(text: &str, found: &[Found]) -> String {
    let (mut kept, mut from) = (String::with_capacity(text.len()), 0);
    for Found { range, .. } in found {
        kept.push_str(&text[from..range.start]);
        kept.push('[');
        kept.extend(std::iter::repeat_n('X', range.len().saturating_sub(2)));
        kept.push(']');
        from = range.end;
    }
    kept.push_str(&text[from..]);
    kept
}
