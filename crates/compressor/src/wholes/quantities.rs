//! Numbers with what belongs to them across a blank: units, groups of digits, months.

use super::{Kind, Walk, lists};

/// Digits of a telephone number, with the country's (E.164 allows 15 at most).
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;
/// Groups of three digits of one number. More of them in a row are a list.
const MAX_GROUPS: usize = 4;
/// Magnitude and unit, at most: `5 million km`.
const MAX_UNITS: usize = 2;

fn is_digits(text: &str, lengths: std::ops::RangeInclusive<usize>) -> bool {
    lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// A day of a month: `7`, `7th`, `5–7`.
fn is_day(text: &str) -> bool {
    let bare = ["st", "nd", "rd", "th"].into_iter().find_map(|end| text.strip_suffix(end)).unwrap_or(text);
    let mut days = bare.split(['-', '–']);
    days.clone().count() <= 2 && days.all(|day| is_digits(day, 1..=2))
}

impl Walk<'_> {
    /// Whether one blank stands here, and no line ends.
    pub(super) fn is_blank(&self, at: usize) -> bool {
        matches!(self.atom(at), " " | "\u{a0}" | "\u{202f}" | "\u{2009}")
    }

    /// Where the whole ends whose signs begin at `at` and whose first word is `first`, with what belongs to it after
    /// a blank.
    pub(super) fn quantity(&self, at: usize, first: usize) -> usize {
        let end = self.body(first);
        let word = self.atoms(first..end);
        if self.starts_number(first) {
            return self.date_from_day(first, end).unwrap_or_else(|| self.number(at, first, end));
        }
        if at != first {
            return end;
        }
        if lists::is_month(word) {
            return self.date_from_month(end).unwrap_or(end);
        }
        if self.is_blank(end) && lists::CURRENCIES.contains(&word) && self.starts_number(end + 1) {
            return self.number(end + 1, end + 1, self.body(end + 1));
        }
        self.account(first, end).unwrap_or(end)
    }

    /// A number with its groups of digits, what it is multiplied by, and its units.
    fn number(&self, at: usize, first: usize, end: usize) -> usize {
        let mut end = self.thousands(first, end).or_else(|| self.card(first, end)).unwrap_or(end);
        if self.is_blank(end) && self.atom(end + 1) == "×" && self.is_blank(end + 2) && self.starts_number(end + 3) {
            end = self.body(end + 3);
        }
        let is_number = self.ends_number(end) || self.atoms(at..end).ends_with(['k', 'K', 'M', 'm']);
        if is_number { self.units(end) } else { end }
    }

    /// Where the units end that follow a number, or where it ends itself.
    fn units(&self, number: usize) -> usize {
        let mut end = number;
        for _ in 0..MAX_UNITS {
            if !self.is_blank(end) {
                break;
            }
            let first = end + 1;
            let after = if self.kind(first) == Kind::Sign {
                let is_degree = self.atom(first) == "°";
                let is_unit = matches!(self.atom(first), "%" | "‰" | "°" | "℃" | "℉" | "Ω")
                    || self.sign(first).is_some_and(lists::is_currency) && !self.is_word(first + 1);
                is_unit.then_some(if is_degree && self.is_word(first + 1) { first + 2 } else { first + 1 })
            } else if self.is_word(first) {
                Some(self.body(first)).filter(|&after| lists::is_unit(self.atoms(first..after)))
            } else {
                None
            };
            let Some(after) = after else { break };
            end = after;
            if !lists::MAGNITUDES.contains(&self.atoms(first..end)) {
                break;
            }
        }
        end
    }

    /// A number that no unit or month follows, so that it may belong to what is before it.
    fn bare(&self, first: usize) -> Option<usize> {
        let end = self.starts_number(first).then(|| self.body(first))?;
        (self.units(end) == end && self.date_from_day(first, end).is_none()).then_some(end)
    }

    /// `1 234 567,89`.
    fn thousands(&self, first: usize, end: usize) -> Option<usize> {
        let follows_group = first > 1 && self.is_blank(first - 1) && is_digits(self.atom(first - 2), 1..=3);
        if follows_group || !is_digits(self.atoms(first..end), 1..=3) {
            return None;
        }
        let (mut last, mut groups) = (end, 0);
        while self.is_blank(last) && self.starts_number(last + 1) {
            let after = self.body(last + 1);
            let group = self.atoms(last + 1..after);
            let digits = group.bytes().take_while(u8::is_ascii_digit).count();
            let goes_on = group[digits..].starts_with(|c: char| c.is_alphanumeric() || "-/:@".contains(c));
            if digits != 3 || goes_on {
                break;
            }
            (last, groups) = (after, groups + 1);
            if groups > MAX_GROUPS {
                return None;
            }
            if group.len() > 3 {
                break;
            }
        }
        (groups > 0).then_some(last)
    }

    /// `4111 1111 1111 1111`.
    fn card(&self, first: usize, end: usize) -> Option<usize> {
        let mut end = Some(end).filter(|&end| is_digits(self.atoms(first..end), 4..=4))?;
        for _ in 0..3 {
            let after = self.is_blank(end).then(|| self.bare(end + 1)).flatten()?;
            end = Some(after).filter(|&after| is_digits(self.atoms(end + 1..after), 4..=4))?;
        }
        Some(end)
    }

    /// `DE89 3704 0044 0532 0130 00`, an IBAN.
    fn account(&self, first: usize, end: usize) -> Option<usize> {
        let country = self.atoms(first..end).strip_suffix(|c: char| c.is_ascii_digit())?;
        let country = country.strip_suffix(|c: char| c.is_ascii_digit())?;
        if country.len() != 2 || !country.bytes().all(|b| b.is_ascii_uppercase()) {
            return None;
        }
        let (mut end, mut groups) = (end, 0);
        while groups < 8 && self.is_blank(end) && self.is_word(end + 1) {
            let after = self.body(end + 1);
            let group = self.atoms(end + 1..after);
            let is_group = group.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
            if !is_group
                || self.starts_number(end + 1) && self.bare(end + 1).is_none()
                || group.len() > 4
                || group.len() < 4 && groups < 2
            {
                break;
            }
            (end, groups) = (after, groups + 1);
            if group.len() < 4 {
                break;
            }
        }
        (groups > 2).then_some(end)
    }

    /// A telephone number of several groups: `+49 30 1234-567`, `(555) 010-9999`, `030 1234567`.
    pub(super) fn phone(&self, at: usize) -> Option<usize> {
        let is_international = self.atom(at) == "+";
        let mut first = at + usize::from(is_international);
        let mut digits = 0;
        let count = |text: &str| text.bytes().filter(u8::is_ascii_digit).count();
        let mut end = at;
        if self.atom(first) == "(" {
            end = self.area(first)?;
            digits += count(self.atoms(first..end));
            first = end + usize::from(self.is_blank(end));
        } else if !is_international && (self.atom(at).len() < 2 || !self.atom(at).starts_with('0')) {
            return None;
        }
        while let Some(after) = self.bare(first) {
            let group = self.atoms(first..after);
            digits += count(group);
            let is_first = end == at;
            let may_have: &[u8] = if is_first { b"" } else { b"-./" };
            let is_group = group.bytes().all(|b| b.is_ascii_digit() || may_have.contains(&b));
            if !is_group || digits > *PHONE_DIGITS.end() || !is_first && count(group) < 2 {
                digits -= count(group);
                break;
            }
            end = after;
            first = end + usize::from(self.is_blank(end));
            if let Some(after) = self.area(first).filter(|&after| self.is_blank(after) && self.starts_number(after + 1))
            {
                digits += count(self.atoms(first..after));
                (end, first) = (after, after + 1);
            } else if first == end {
                break;
            }
        }
        // One group alone is a number like others.
        let is_several = end > at && self.atoms(at..end).contains([' ', '\u{a0}', '\u{202f}', '\u{2009}', ')']);
        (is_several && PHONE_DIGITS.contains(&digits) && self.atom(end - 1) != ")").then_some(end)
    }

    /// `(030)`.
    fn area(&self, at: usize) -> Option<usize> {
        let is_area = self.atom(at) == "(" && self.atom(at + 2) == ")" && is_digits(self.atom(at + 1), 1..=5);
        is_area.then_some(at + 3)
    }

    /// `28 Nov 2026`, `7th of May, 2023`, `28. November`, `28 de noviembre de 2026`.
    fn date_from_day(&self, first: usize, end: usize) -> Option<usize> {
        if !is_day(self.atoms(first..end)) {
            return None;
        }
        let dot = end + usize::from(self.atom(end) == ".");
        let month = self.is_blank(dot).then(|| self.after_of(dot + 1))?;
        let is_month = lists::is_month_after_day(self.atom(month)) && self.body(month) == month + 1;
        is_month.then(|| self.year(month + 1).unwrap_or(month + 1))
    }

    /// What comes after a month: `28, 2026`, `7th`, `2026`.
    fn date_from_month(&self, month: usize) -> Option<usize> {
        let dot = month + usize::from(self.atom(month) == "." && self.is_blank(month + 1));
        if let Some(day) = self.is_blank(dot).then(|| self.bare(dot + 1)).flatten()
            && is_day(self.atoms(dot + 1..day))
        {
            return Some(self.year(day).unwrap_or(day));
        }
        self.year(month)
    }

    /// A year after a day or a month.
    fn year(&self, end: usize) -> Option<usize> {
        let sign = end + usize::from(matches!(self.atom(end), "," | "."));
        let first = self.is_blank(sign).then(|| self.after_of(sign + 1))?;
        let after = self.starts_number(first).then(|| self.body(first))?;
        (is_digits(self.atoms(first..after), 4..=4) && self.units(after) == after).then_some(after)
    }

    /// Steps over `of`, `de` and `del` within a date.
    fn after_of(&self, at: usize) -> usize {
        let is_of = matches!(self.atom(at), "of" | "de" | "del") && self.is_blank(at + 1);
        at + if is_of { 2 } else { 0 }
    }

    /// `2026年11月28日`, `3小时`: where a unit of Chinese or Japanese text ends that follows a number at once.
    pub(super) fn ideographic_unit(&self, first: usize, at: usize) -> Option<usize> {
        let follows = self.ends_number(at) || at > first && self.kind(at - 1) == Kind::Ideograph;
        if !follows || !self.starts_number(first) {
            return None;
        }
        let start = self.atoms.get(at)?.place.start;
        let unit = lists::IDEOGRAPHIC_UNITS.iter().find(|unit| self.text[start..].starts_with(**unit))?;
        let end = (at..self.atoms.len()).find(|&i| self.atoms[i].place.end >= start + unit.len())?;
        Some(end + 1)
    }
}
