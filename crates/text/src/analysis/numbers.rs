//! Numbers in their spellings: `1,500`, `12th`, `3k`, `two hundred`, 五百. Each is found by its digits as well.

use super::fold::Kind;
use super::pieces::{Piece, stem};
use chinese_number::{ChineseCountMethod, ChineseToNumber};
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::LazyLock;
use text2num::{Language, Token, find_numbers};
use unicode_segmentation::UnicodeSegmentation;

/// Words of which one stands in each spelled number. `one` is seldom a number, and is none here.
const NUMBER_WORDS: &[&str] = &[
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
    "thirty",
    "forty",
    "fifty",
    "sixty",
    "seventy",
    "eighty",
    "ninety",
    "hundred",
    "thousand",
    "million",
    "billion",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
    "twentieth",
    "thirtieth",
    "fortieth",
    "fiftieth",
    "sixtieth",
    "seventieth",
    "eightieth",
    "ninetieth",
    "hundredth",
    "thousandth",
];

/// The terms of those words.
static NUMBER_TERMS: LazyLock<HashSet<String>> = LazyLock::new(|| NUMBER_WORDS.iter().map(|word| stem(word)).collect());

static ENGLISH: LazyLock<Language> = LazyLock::new(Language::english);

/// Figures of Han, as they are folded.
const HAN_FIGURES: &str = "零〇一二两三四五六七八九十百千万亿";
/// Those of them that give a figure its place.
const HAN_PLACES: &str = "十百千万亿";

/// The least number that is found by its digits: what is 0 or 1 is seldom counted.
const LEAST: u64 = 2;

/// The digits of numbers in a text that are written in another way. `pieces` are its pieces.
pub fn numbers(text: &str, pieces: &[Piece]) -> Vec<String> {
    let mut found = Vec::new();
    spelled(text, pieces, &mut found);
    grouped(text, &mut found);
    for piece in pieces.iter().filter(|piece| piece.text.starts_with(|c: char| c.is_ascii_digit())) {
        found.extend(with_letters(&piece.text));
    }
    let is_figure = |piece: &Piece| piece.kind == Kind::Unspaced && HAN_FIGURES.contains(piece.text.as_str());
    for run in pieces.chunk_by(|a, b| is_figure(a) && is_figure(b)).filter(|run| is_figure(&run[0])) {
        found.extend(han(&run.iter().map(|piece| piece.text.as_str()).collect::<String>()));
    }
    found.into_iter().filter(|&number| number >= LEAST).map(|number| number.to_string()).collect()
}

/// A word, a blank or a sign.
struct Part<'a>(&'a str);

impl Token for Part<'_> {
    fn text(&self) -> Cow<'_, str> {
        self.0.into()
    }

    fn text_lowercase(&self) -> Cow<'_, str> {
        self.0.to_lowercase().into()
    }
}

/// `two hundred`, `twenty-first`.
fn spelled(text: &str, pieces: &[Piece], found: &mut Vec<u64>) {
    if !pieces.iter().any(|piece| NUMBER_TERMS.contains(&piece.text)) {
        return;
    }
    let numbers = find_numbers(text.split_word_bounds().map(Part), &*ENGLISH, LEAST as f64);
    found.extend(numbers.into_iter().filter_map(|number| whole(number.value)));
}

/// A number without a fraction that digits can be written of.
fn whole(number: f64) -> Option<u64> {
    (number >= 0.0 && number.fract() == 0.0 && number < 1e15).then_some(number as u64)
}

/// `1,500`.
fn grouped(text: &str, found: &mut Vec<u64>) {
    if !text.contains(',') {
        return;
    }
    for number in text.split(|c: char| !c.is_ascii_digit() && c != ',') {
        let mut groups = number.trim_matches(',').split(',');
        let has_first = groups.next().is_some_and(|first| (1..=3).contains(&first.len()));
        let (mut count, mut are_whole) = (0, true);
        groups.for_each(|group| (count, are_whole) = (count + 1, are_whole && group.len() == 3));
        if has_first && count > 0 && are_whole {
            found.extend(number.replace(',', "").parse::<u64>());
        }
    }
}

/// `12th`, `3k`.
fn with_letters(word: &str) -> Option<u64> {
    let letters = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: u64 = word[..word.len() - letters.len()].parse().ok()?;
    match letters {
        "st" | "nd" | "rd" | "th" => Some(number),
        "k" => number.checked_mul(1000),
        _ => None,
    }
}

/// 五百, and 二零二三 by its figures.
fn han(figures: &str) -> Option<u64> {
    if figures.contains(|c| HAN_PLACES.contains(c)) {
        return figures.to_number(ChineseCountMethod::TenThousand).ok();
    }
    figures.to_number_naive().ok()
}

#[cfg(test)]
mod tests {
    use super::super::pieces::pieces;
    use super::*;
    use proptest::prelude::*;

    fn of(text: &str) -> String {
        numbers(text, &pieces(text)).join(" ")
    }

    #[test]
    fn numbers_are_found_by_their_digits() {
        for (text, digits) in [
            ("two hundred sheep", "200"),
            ("Twenty-one guests and three thousand five hundred flies", "21 3500"),
            ("the twelfth night", "12"),
            ("one of them, nobody", ""),
            ("1,500 euros, 12,345,678 cents", "1500 12345678"),
            ("1,50 or 12,34,56 or 1,2345", ""),
            ("on the 12th, the 1st and the 22nd", "12 22"),
            ("it costs 3k", "3000"),
            ("3km, 0x1f, 5 p.m.", ""),
            ("五百块钱", "500"),
            ("兩萬三千人", "23000"),
            ("二〇二三年三月五日", "2023 3 5"),
            ("一个人", ""),
            ("", ""),
        ] {
            assert_eq!(of(text), digits, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "[0-9,kth零一二百千万亿 a-z]{0,40}|\\PC{0,40}") {
            numbers(&text, &pieces(&text));
        }

        #[test]
        fn groups_of_three_are_one_number(number in 1000u64..1_000_000_000_000) {
            let digits = number.to_string();
            let groups = digits.as_bytes().rchunks(3).rev();
            let grouped: Vec<_> = groups.map(String::from_utf8_lossy).collect();
            prop_assert_eq!(of(&format!("costs {}.", grouped.join(","))), digits);
        }
    }
}
