use super::wholes;
use proptest::prelude::*;
use std::time::{Duration, Instant};
use unicode_segmentation::UnicodeSegmentation;

fn of(text: &str) -> Vec<&str> {
    wholes(text).into_iter().map(|place| &text[place]).collect()
}

/// Alone, in a sentence, in brackets and quotes, and at the end of a clause.
fn is_whole(text: &str) {
    assert_eq!(of(text), [text]);
    assert_eq!(of(&format!("so {text} and")), ["so", text, "and"]);
    assert_eq!(
        of(&format!("so ({text}), “{text}”; {text}: and\n{text}!")),
        ["so", "(", text, ")", ",", "“", text, "”", ";", text, ":", "and", text, "!"]
    );
}

#[test]
fn numbers_have_their_signs_and_units() {
    for number in [
        "0.25 mg",
        "€1,234,567.89",
        "-40 °C",
        "−40°C",
        "5 kg",
        "5kg",
        "3.5e-4",
        "10:30",
        "16:9",
        "50%",
        "50 %",
        "1.234,56 €",
        "½",
        "2³",
        "1 234 567,89 €",
        "1\u{202f}234\u{a0}kg",
        "US$5",
        "-€5.50",
        "$ 5",
        "USD 1,234.56",
        "5 EUR",
        "€5 million",
        "3 million km",
        "120 km/h",
        "2.5 mg/kg/day",
        "9.81 m/s²",
        "5 kg·m²",
        "~5",
        "<5",
        "±0.5",
        "1.5 × 10⁸ m",
        "3×4 cm",
        "10–20",
        "1/2",
        "18+",
        "7th",
        "1990s",
        "10:30 am",
        "5 p.m.",
        "10:30 Uhr",
        "3 weeks",
        "٣٫٥",
        "१२.५",
        "5'11",
        "#5",
        "§ 5",
        "2^10",
        "100Mbps",
        "12 GB",
        "1'234.50",
    ] {
        is_whole(number);
    }
}

#[test]
fn dates_and_telephone_numbers_are_whole() {
    for whole in [
        "2026-11-28",
        "28.11.2026",
        "11/28/2026",
        "2026-11-28T10:30:00+01:00",
        "28 Nov 2026",
        "7 May 2023",
        "May 7th, 2023",
        "November 28",
        "May 2023",
        "28. November 2026",
        "28 de noviembre de 2026",
        "+49 30 1234-567",
        "+1 (555) 010-9999",
        "(555) 010-9999",
        "030 1234567",
        "06 12 34 56 78",
        "555-0142",
        "4111 1111 1111 1111",
        "DE89 3704 0044 0532 0130 00",
    ] {
        is_whole(whole);
    }
    assert_eq!(of("2026年11月28日下午3点"), ["2026年11月28日", "下午", "3点"]);
}

#[test]
fn addresses_are_whole() {
    for address in [
        "a.b+c@d.example",
        "lena_k@mail.example.co.uk",
        "https://a.example/b?c=d&e=f#g",
        "http://[::1]:8080/x",
        "https://en.example/wiki/Rust_(lang)",
        "www.example.com/a,b;c",
        "example.com/a?b=c&d=e",
        "https://a.example/%E4%BD%A0?q=a+b",
        "mailto:a@b.example?subject=x",
        "git@github.example:a/b.git",
        "/usr/local/bin",
        "../src/main.rs",
        "~/.config/x.toml",
        "C:\\Users\\lena\\a.txt",
        "192.168.0.1",
        "10.0.0.0/8",
        "a/../b",
        "a/_/_.rs",
        "192.168.0.1:8080",
        "2001:db8::1",
        "::1",
        "00:1b:44:11:3a:b7",
        "https://zh.example/wiki/中文",
    ] {
        is_whole(address);
    }
    assert_eq!(of("见https://a.example/b。然后"), ["见", "https://a.example/b", "。", "然后"]);
    assert_eq!(of("[x](https://a.example/b)."), ["[", "x", "]", "(", "https://a.example/b", ")", "."]);
    assert_eq!(
        of("<https://a.example/b>, “www.a.example”"),
        ["<", "https://a.example/b", ">", ",", "“", "www.a.example", "”"]
    );
}

#[test]
fn names_of_things_are_whole() {
    for name in [
        "foo_bar",
        "foo-bar-3",
        "CVE-2024-1234",
        "ABC-123",
        "#hashtag",
        "@name",
        "@scope/pkg",
        "C++",
        "C#",
        ".NET",
        "ASP.NET",
        "v1.2.3",
        "1.2.3-rc.1+build.5",
        "__init__",
        "std::vec::Vec",
        "main()",
        "--flag",
        "$HOME",
        "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
        "d41d8cd98f00b204e9800998ecf8427e",
        "user:42",
        "AT&T",
        "don't",
        "O’Neil",
        "l'entrée",
        "rock'n'roll",
        "state-of-the-art",
        "and/or",
        "[EMAIL_REDACTED]",
        "[PHONE_REDACTED]",
        "<NAME_1>",
        "{{city}}",
        "al***om",
        "13***78",
        "***",
        "U.S.",
        "e.g.",
    ] {
        if name == "e.g." || name == "U.S." || name == "***" || name == "--flag" {
            assert_eq!(of(name), [name]);
        } else {
            is_whole(name);
        }
    }
}

#[test]
fn characters_are_never_cut() {
    let characters = [
        "❤️",
        "👍🏽",
        "🇩🇪",
        "👩‍👩‍👧‍👦",
        "🏳️‍🌈",
        "e\u{301}",
        "x\u{304}",
        "か\u{3099}",
        "\u{e04}\u{e33}",
        "\u{e81}\u{eb3}",
        "हिन्दी",
        "שָׁלוֹם",
        "ذَهَبَ",
        "தேநீர்",
        "プログラム",
        "한국어",
        "\u{1019}\u{103c}\u{1014}\u{103a}",
    ];
    for character in characters.into_iter().take(16) {
        assert_eq!(of(character), [character]);
    }
    assert_eq!(of(characters[16]).concat(), characters[16], "two characters of a script without blanks");
    assert_eq!(of("1️⃣ and #️⃣ done"), ["1️⃣", "and", "#️⃣", "done"]);
}

#[test]
fn words_without_blanks_are_those_of_a_dictionary() {
    assert_eq!(of("我对青霉素过敏。"), ["我", "对", "青霉素", "过敏", "。"]);
    assert_eq!(of("臺北搬家"), ["臺北", "搬家"]);
    assert_eq!(of("東京に引っ越しました"), ["東京", "に", "引っ越し", "まし", "た"]);
    assert_eq!(of("ฉันแพ้ถั่วลิสง"), ["ฉัน", "แพ้", "ถั่วลิสง"]);
    assert_eq!(of("ຂ້ອຍມັກກາເຟ").concat(), "ຂ້ອຍມັກກາເຟ");
    assert_eq!(of("我用Rust写了3个月代码"), ["我", "用", "Rust", "写", "了", "3个月", "代码"]);
}

#[test]
fn clauses_are_apart() {
    let text = "Well,yes;no!Why? \"Go\"—he said…then (it) stopped...what,a day";
    let words = [
        "Well", ",", "yes", ";", "no", "!", "Why", "?", "\"", "Go", "\"", "—", "he", "said", "…", "then", "(", "it",
        ")", "stopped", ".", ".", ".", "what", ",", "a", "day",
    ];
    assert_eq!(of(text), words);
    assert_eq!(of("in May, 5 kg of 12,a"), ["in", "May", ",", "5 kg", "of", "12", ",", "a"]);
    assert_eq!(of("May 5 kg fall"), ["May", "5 kg", "fall"]);
    assert_eq!(
        of("room 7 was full at 5 in the morning"),
        ["room", "7", "was", "full", "at", "5", "in", "the", "morning"]
    );
    assert_eq!(of("120 340 560 780 120 340 560"), ["120", "340", "560", "780", "120", "340", "560"]);
    assert_eq!(of("0.25 0.50 0.75"), ["0.25", "0.50", "0.75"]);
    assert_eq!(of("5 kg\n7 m"), ["5 kg", "7 m"]);
    assert_eq!(of("5\nkg"), ["5", "kg"]);
}

/// No time is asserted but one that only a walk that grows with the square of the length would take.
#[test]
fn a_megabyte_of_anything_is_walked_once() {
    for unit in [
        "a",
        "a.",
        "0 ",
        "1 234 ",
        "5 kg ",
        "-",
        "[a-",
        "((",
        "https://a/",
        "+1 (2) ",
        "เ",
        "中",
        "5 a.",
        "<{",
        "012 ",
        "AB12 C",
        "'",
        "*",
        "a@",
        "1年",
        "\u{301}",
        "👩\u{200d}",
        "May 5 ",
        "5 of ",
        "://",
    ] {
        let text = unit.repeat((1 << 20) / unit.len());
        let begun = Instant::now();
        let count = wholes(&text).len();
        println!("{unit:?}: {count} wholes in {:?}", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(20), "{unit:?}");
    }
}

proptest! {
    #[test]
    fn wholes_cover_the_text_and_cut_no_character(
        text in "(\\PC|[ \n\u{300}-\u{310}\u{200d}\u{fe0f}0-9.,:/@+()€°-]|[a-z]{1,3}){0,60}",
    ) {
        let mut borders: Vec<usize> = text.grapheme_indices(true).map(|(at, _)| at).collect();
        borders.push(text.len());
        let mut end = 0;
        for whole in wholes(&text) {
            prop_assert!(whole.start >= end && whole.end > whole.start);
            prop_assert!(text[end..whole.start].chars().all(char::is_whitespace), "{text:?}");
            prop_assert!(borders.binary_search(&whole.start).is_ok() && borders.binary_search(&whole.end).is_ok(),
                "{text:?} {whole:?}");
            prop_assert!(!text[whole.clone()].contains('\n'), "{text:?}");
            end = whole.end;
        }
        prop_assert!(text[end..].chars().all(char::is_whitespace));
    }
}
