//! Addresses of the Internet Protocol, versions 4 and 6 (RFC 4291), with a zone (RFC 4007).

use crate::numbers::{Chain, Gap};
use memchr::memchr;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// What stands before four numbers that are no address.
const VERSION_WORDS: [&str; 10] =
    ["version", "ver", "rev", "release", "build", "firmware", "section", "版本", "固件", "章节"];
/// What stands behind such numbers and a hyphen.
const PRERELEASES: [&str; 7] = ["rc", "alpha", "beta", "dev", "pre", "build", "snapshot"];
/// Bytes before an address in which such a word is looked for.
const LEAD: usize = 24;
/// Bytes of the longest address of version 6, and of what may stand beside it.
const MAX_IPV6: usize = 64;
/// Bytes of the longest zone.
const MAX_ZONE: usize = 16;

/// Calls `add` with the addresses of version 4 in a chain.
pub fn ipv4(chain: &Chain, add: &mut impl FnMut(Range<usize>)) {
    let is_dot = |group: usize| chain.gap(group) == Gap::STOP;
    let (mut from, mut end_of_last) = (0, None);
    while from + 3 < chain.groups.len() {
        let mut last = from;
        while is_dot(last + 1) {
            last += 1;
        }
        let range = chain.range(from..=last);
        // A further group makes it a version or a section.
        if last == from + 3 && is_address(chain.text, &range, end_of_last) {
            end_of_last = Some(range.end);
            add(range);
        }
        from = last + 1;
    }
}

fn is_address(text: &str, range: &Range<usize>, end_of_last: Option<usize>) -> bool {
    let (before, bytes) = (&text[..range.start], text.as_bytes());
    if parse(&text[range.clone()]).is_none() {
        return false;
    }
    // `DNS8.8.8.8` is written where no blanks are; a letter alone is a version's.
    let letters = before.bytes().rev().take(2).take_while(u8::is_ascii_alphabetic).count();
    let is_range = before.ends_with('-') && end_of_last == Some(range.start - 1);
    let is_part = letters == 1 || before.ends_with(['.', '_', '-']) && !is_range;
    let is_prerelease = |rest: &[u8]| {
        PRERELEASES
            .iter()
            .any(|word| rest.get(..word.len()).is_some_and(|rest| rest.eq_ignore_ascii_case(word.as_bytes())))
    };
    let follows = bytes.get(range.end).is_some_and(u8::is_ascii_alphanumeric)
        || bytes[range.end..].strip_prefix(b"-").is_some_and(is_prerelease);
    let lead = &before[before.ceil_char_boundary(before.len().saturating_sub(LEAD))..];
    let lead = lead.trim_end_matches([' ', ':', '.', '号']).to_lowercase();
    !is_part && !follows && !VERSION_WORDS.iter().any(|word| lead.ends_with(word))
}

/// Four numbers below 256; all with three digits where one begins with a zero.
fn parse(address: &str) -> Option<Ipv4Addr> {
    if let Ok(address) = address.parse() {
        return Some(address);
    }
    let mut octets = [0; 4];
    for (octet, digits) in octets.iter_mut().zip(address.split('.')) {
        *octet = digits.parse().ok().filter(|_| digits.len() == 3)?;
    }
    Some(Ipv4Addr::from(octets))
}

/// Calls `add` with the addresses of version 6 in a text.
pub fn ipv6(text: &str, add: &mut impl FnMut(Range<usize>)) {
    let bytes = text.as_bytes();
    let is_part = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let mut from = 0;
    while let Some(step) = memchr(b':', &bytes[from..]) {
        let colon = from + step;
        let start = colon - bytes[from..colon].iter().rev().take_while(|b| is_part(b)).count();
        let end = colon + bytes[colon..].iter().take_while(|b| is_part(b)).count();
        from = end;
        if (2..=MAX_IPV6).contains(&(end - start))
            && let Some(range) = address(text, start..end)
        {
            add(range);
        }
    }
}

fn address(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    // A sentence's colon may stand before it, and one or a full stop behind.
    let run = text[range.clone()].trim_end_matches('.');
    let run = if run.ends_with("::") { run } else { run.trim_end_matches(':') };
    let behind_colon = if run.starts_with("::") { run } else { run.trim_start_matches(':') };
    // A word of such letters may stand before it, and a port behind.
    let behind_word = run.split_once(':').map_or("", |(_, rest)| rest);
    let before_port = behind_colon.rsplit_once(':').map_or("", |(rest, _)| rest);
    let is_address = |(_, address): &(usize, &str)| {
        let mut digits = address.bytes().filter(u8::is_ascii_hexdigit);
        // `::` and `::1` are nobody's; `dead::beef` is a path in a program.
        address.parse::<Ipv6Addr>().is_ok() && digits.clone().count() > 1 && digits.any(|b| b.is_ascii_digit())
    };
    let lead = run.len() - behind_colon.len();
    let mut parts = [(lead, behind_colon), (lead, before_port), (run.len() - behind_word.len(), behind_word)];
    if run.starts_with(|c: char| c.is_ascii_alphabetic()) {
        parts.swap(1, 2);
    }
    let (at, address) = parts.into_iter().find(is_address)?;
    let start = range.start + at;
    let mut end = start + address.len();
    let zone = text.as_bytes()[end..].strip_prefix(b"%").unwrap_or_default();
    let is_name = |b: &&u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let length = zone.iter().take(MAX_ZONE).take_while(is_name).count();
    if length > 0 {
        end += 1 + text[end + 1..end + 1 + length].trim_end_matches(['.', '-']).len();
    }
    let is_word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let before = start.checked_sub(1).map(|at| text.as_bytes()[at]);
    let is_free = !before.is_some_and(|b| is_word(&b)) && !text.as_bytes().get(end).is_some_and(is_word);
    is_free.then_some(start..end)
}
