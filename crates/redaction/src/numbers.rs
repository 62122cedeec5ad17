//! Runs of digits, and what stands between them.

use crate::fold::{DASH, DOT};
use std::ops::{Range, RangeInclusive};

/// Bytes that may stand between two groups of one number.
const MAX_GAP: usize = 12;
/// Blanks that may.
const MAX_BLANKS: usize = 4;

/// What stands between two groups of digits: a set of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gap(u16);

impl Gap {
    /// A blank.
    pub const BLANK: Self = Self(1);
    /// A tabulator.
    pub const TAB: Self = Self(1 << 1);
    /// The end of a line.
    pub const BREAK: Self = Self(1 << 2);
    /// A hyphen or a dash.
    pub const DASH: Self = Self(1 << 3);
    /// A full stop.
    pub const STOP: Self = Self(1 << 4);
    /// A dot in the middle.
    pub const DOT: Self = Self(1 << 5);
    /// A slash.
    pub const SLASH: Self = Self(1 << 6);
    /// An underscore.
    pub const UNDERSCORE: Self = Self(1 << 7);
    /// An opening parenthesis.
    pub const OPEN: Self = Self(1 << 8);
    /// A closing one.
    pub const CLOSE: Self = Self(1 << 9);
    /// What ties two groups together without a blank.
    const TIES: Self = Self::any(&[Self::DASH, Self::STOP, Self::DOT, Self::SLASH, Self::UNDERSCORE]);

    /// All of these.
    pub const fn any(gaps: &[Self]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < gaps.len() {
            bits |= gaps[at].0;
            at += 1;
        }
        Self(bits)
    }

    /// Whether it has any of another's.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether another has all of its.
    pub fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether it ties two groups together: `1.2`, but not `1 - 2`.
    pub fn is_tie(self) -> bool {
        self.0 != 0 && self.is_within(Self::TIES)
    }

    /// The gap that these bytes begin with, up to a digit, and its length.
    fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let (mut gap, mut at, mut blanks, mut marks, mut breaks) = (Self::default(), 0, 0, 0, 0);
        let is_white = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_whitespace);
        loop {
            let rest = bytes.get(at..)?;
            let (part, length) = match rest {
                [b'0'..=b'9', ..] => break,
                [b' ', ..] => (Self::BLANK, 1),
                [b'\t', ..] => (Self::TAB, 1),
                [b'\r', b'\n', ..] => (Self::BREAK, 2),
                [b'\n' | b'\r', ..] => (Self::BREAK, 1),
                [b'-', ..] => (Self::DASH, 1),
                [b'.', ..] => (Self::STOP, 1),
                [b'/', ..] => (Self::SLASH, 1),
                [b'_', ..] => (Self::UNDERSCORE, 1),
                [b'(', ..] => (Self::OPEN, 1),
                [b')', ..] => (Self::CLOSE, 1),
                _ if begins_with(rest, DASH) => (Self::DASH, DASH.len_utf8()),
                _ if begins_with(rest, DOT) => (Self::DOT, DOT.len_utf8()),
                _ => return None,
            };
            blanks += usize::from(part == Self::BLANK);
            breaks += usize::from(part == Self::BREAK);
            if part.is_within(Self::TIES) {
                marks += 1;
                let before = at.checked_sub(1).and_then(|before| bytes.get(before));
                let after = bytes.get(at + length);
                let is_apart = is_white(before) || is_white(after);
                // `1 -2` is a minus, `1. 2` an end of a sentence; `1-` at the end of a line goes on.
                let is_wrapped = part == Self::DASH && matches!(after, Some(b'\n' | b'\r'));
                let is_even =
                    is_white(before) == is_white(after) && part.is_within(Self::any(&[Self::DASH, Self::SLASH]));
                if is_apart && !is_even && !is_wrapped {
                    return None;
                }
            } else if part.has(Self::any(&[Self::OPEN, Self::CLOSE])) && gap.has(part) {
                return None;
            }
            gap.0 |= part.0;
            at += length;
            if blanks > MAX_BLANKS || breaks > 1 || marks > 1 || at > MAX_GAP {
                return None;
            }
        }
        Some((gap, at))
    }
}

fn begins_with(bytes: &[u8], c: char) -> bool {
    bytes.starts_with(c.encode_utf8(&mut [0; 4]).as_bytes())
}

/// Digits in one.
#[derive(Clone, Debug)]
pub struct Group {
    /// Their bytes.
    pub range: Range<usize>,
    /// What stands before them; nothing for the first of a chain.
    pub gap: Gap,
}

impl Group {
    /// How many digits they are.
    pub fn len(&self) -> usize {
        self.range.len()
    }
}

/// Groups of digits with gaps between them, as many as follow each other.
pub struct Chain<'a> {
    /// The text.
    pub text: &'a str,
    /// The groups; at least one.
    pub groups: &'a [Group],
}

/// Calls `each` with all chains of a text.
pub fn chains(text: &str, mut each: impl FnMut(Chain)) {
    let (bytes, mut groups, mut at) = (text.as_bytes(), Vec::new(), 0);
    let mut gap = Gap::default();
    while let Some(step) = bytes[at..].iter().position(u8::is_ascii_digit) {
        let start = at + step;
        let end = bytes[start..].iter().position(|b| !b.is_ascii_digit()).map_or(bytes.len(), |length| start + length);
        groups.push(Group { range: start..end, gap });
        at = end;
        match Gap::read(&bytes[end..]) {
            Some((next, length)) => {
                gap = next;
                at += length;
            }
            None => {
                each(Chain { text, groups: &groups });
                gap = Gap::default();
                groups.clear();
            }
        }
    }
}

impl<'a> Chain<'a> {
    /// Bytes from the first to the last of these groups.
    pub fn range(&self, groups: RangeInclusive<usize>) -> Range<usize> {
        self.groups[*groups.start()].range.start..self.groups[*groups.end()].range.end
    }

    /// The digits of these groups.
    pub fn digits(&self, groups: RangeInclusive<usize>) -> String {
        self.groups[groups].iter().map(|group| &self.text[group.range.clone()]).collect()
    }

    /// All that stands between these groups.
    pub fn gaps(&self, groups: RangeInclusive<usize>) -> Gap {
        self.groups[groups].iter().skip(1).fold(Gap::default(), |all, group| Gap(all.0 | group.gap.0))
    }

    /// What stands before a group of these, or behind the last; nothing at the ends of the chain.
    pub fn gap(&self, group: usize) -> Gap {
        self.groups.get(group).map_or_else(Gap::default, |group| group.gap)
    }

    /// Whether these groups are all of the chain, or on one line: a number may go on in the next line, and a column
    /// of numbers is none.
    pub fn is_alone_or_on_a_line(&self, groups: RangeInclusive<usize>) -> bool {
        !self.gaps(groups.clone()).has(Gap::BREAK) || (*groups.start() == 0 && *groups.end() + 1 == self.groups.len())
    }

    /// Whether the groups are single digits, evenly apart, and all of the chain.
    pub fn is_spaced_out(&self) -> bool {
        let gap = self.gap(1);
        self.groups.iter().all(|group| group.len() == 1) && self.groups.iter().skip(1).all(|group| group.gap == gap)
    }

    /// Whether no letter or digit stands beside a part of the text.
    pub fn is_free(&self, range: &Range<usize>) -> bool {
        let bytes = self.text.as_bytes();
        let before = range.start.checked_sub(1).map(|at| bytes[at]);
        !before.is_some_and(|b| b.is_ascii_alphanumeric())
            && !bytes.get(range.end).is_some_and(u8::is_ascii_alphanumeric)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_what_may_stand_within_a_number() {
        let groups = |text: &str| {
            let mut lengths = Vec::new();
            chains(text, |chain| lengths.push(chain.groups.iter().map(Group::len).collect::<Vec<_>>()));
            lengths
        };
        for one in
            ["1 22", "1-22", "1.22", "1/22", "1 - 22", "1–22", "1·22", "1\n22", "1\r\n  22", "1-\n22", "1) 22", "1 (22"]
        {
            assert_eq!(groups(one), [[1, 2]], "{one:?}");
        }
        for two in [
            "1 -22", "1- 22", "1. 22", "1 .22", "1\n\n22", "1:22", "1,22", "1--22", "1a22", "1     22", "1 +22",
            "1 。22",
        ] {
            assert_eq!(groups(two), [[1], [2]], "{two:?}");
        }
    }
}
