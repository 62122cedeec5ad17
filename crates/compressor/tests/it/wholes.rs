//! What one thing is to its reader is kept whole or is gone as a whole, at every rate and by every option, in what
//! three models leave.

use crate::common::{compressor, keep_head};
use membox_compressor::{CompressOptions, CompressedText, Compressor, Message, Mode, TokenToWord};
use membox_encoder::{Lane, Precision};
use proptest::prelude::*;
use serde_json::json;
use std::ops::Range;
use std::sync::OnceLock;

const RATES: [f64; 6] = [0.95, 0.8, 0.65, 0.5, 0.3, 0.1];

fn models() -> &'static [Compressor; 3] {
    static MODELS: OnceLock<[Compressor; 3]> = OnceLock::new();
    let tiny = |name| compressor(name, Precision::F32);
    MODELS.get_or_init(|| [keep_head(), tiny("bert-base-multilingual-cased-tiny"), tiny("xlm-roberta-large-tiny")])
}

fn rate(rate: f64) -> CompressOptions {
    CompressOptions { rate, ..CompressOptions::default() }
}

fn one(model: &Compressor, text: &str, options: &CompressOptions) -> CompressedText {
    model.compress(&[text.to_owned()], options, Lane::Bulk).expect("an answer")
}

/// The first of these places that is neither within one kept span nor outside of all.
fn broken<'a>(text: &'a str, places: &[Range<usize>], answer: &CompressedText) -> Option<&'a str> {
    let is_broken = |place: &&Range<usize>| {
        answer.kept[0].iter().any(|&[start, end]| {
            let touches = start < place.end && place.start < end;
            touches && !(start <= place.start && place.end <= end)
        })
    };
    places.iter().find(is_broken).map(|place| &text[place.clone()])
}

/// A text of these things with words between them, and where they stand.
fn text_of(things: &[(String, String, &str)]) -> (String, Vec<Range<usize>>) {
    let (mut text, mut places) = (String::new(), Vec::new());
    for (thing, word, between) in things {
        let start = text.len();
        text.push_str(thing);
        places.push(start..text.len());
        text.push_str(between);
        let start = text.len();
        text.push_str(word);
        places.push(start..text.len());
        text.push(' ');
    }
    (text, places)
}

#[track_caller]
fn stay_whole(things: &[&str]) {
    let words = ["well", "she", "always", "took", "maybe", "really", "the", "lake", "then"];
    let things: Vec<(String, String, &str)> = things
        .iter()
        .enumerate()
        .map(|(i, thing)| (thing.to_string(), words[i % words.len()].to_owned(), [" ", ", ", "; ", "\n"][i % 4]))
        .collect();
    let (text, places) = text_of(&things);
    for model in models() {
        for share in RATES {
            for (mode, token_to_word, force_reserve_digit) in [
                (Mode::Default, TokenToWord::Mean, false),
                (Mode::Default, TokenToWord::First, true),
                (Mode::Strict, TokenToWord::Mean, false),
            ] {
                let options = CompressOptions { mode, force_reserve_digit, token_to_word, ..rate(share) };
                let answer = one(model, &text, &options);
                let broken = broken(&text, &places, &answer);
                assert_eq!(broken, None, "{} by {} at {share}", answer.compressed_prompt, model.name());
                if force_reserve_digit {
                    let digits = |text: &str| text.chars().filter(|c| c.is_numeric()).count();
                    assert_eq!(digits(&answer.compressed_prompt), digits(&text), "{}", answer.compressed_prompt);
                }
            }
        }
    }
}

#[test]
fn characters_of_many_code_points_are_not_cut() {
    stay_whole(&["❤️", "👍🏽", "🇩🇪", "👩‍👩‍👧‍👦", "1️⃣", "#️⃣", "✈️", "x\u{304}", "θ\u{302}", "y\u{305}", "क्ष"]);
}

#[test]
fn words_keep_their_marks() {
    stay_whole(&[
        "cafe\u{301}",
        "ferme\u{301}",
        "l'entre\u{301}e",
        "Ko\u{308}ln",
        "u\u{308}ber",
        "Mu\u{308}ller",
        "पसंद",
        "है",
        "कॉफ़ी",
        "தேநீர்",
        "திங்கட்கிழமையும்",
        "שָׁלוֹם",
        "שָׂמֵחַ",
        "ذَهَبَ",
        "المَدرَسَةِ",
        "カ\u{3099}キ\u{3099}ク\u{3099}",
        "プログラム",
        "don't",
        "O’Neil",
        "한국어",
        "Tiếng",
        "Vie\u{323}\u{302}t",
    ]);
    let kana = "か\u{3099}き\u{3099}く\u{3099}け\u{3099}こ\u{3099}";
    for text in [kana, "คำว่าน้ำแข็งกำลังทำงาน", "ກຳລັງ", "မြန်မာဘာသာစကားကို"]
    {
        for model in models() {
            for share in RATES {
                for &[start, end] in &one(model, text, &rate(share)).kept[0] {
                    for at in [start, end].into_iter().filter(|at| *at < text.len()) {
                        let next = text[at..].chars().next().expect("a character");
                        let is_mark = matches!(u32::from(next),
                            0x3099 | 0xE31..=0xE3A | 0xE47..=0xE4E | 0xEB1..=0xEBC | 0x102B..=0x103E);
                        assert!(!is_mark, "{text} by {} at {share}: {start}..{end}", model.name());
                    }
                }
            }
        }
    }
}

/// Which things are whole is tested beside [`membox_compressor::wholes`]: here is one of each kind.
#[test]
fn numbers_dates_addresses_and_names_are_not_cut() {
    stay_whole(&[
        "0.25 mg",
        "€1,234,567.89",
        "-40 °C",
        "1 234 567,89 €",
        "10:30 am",
        "28 Nov 2026",
        "2026-11-28T10:30:00+01:00",
        "(555) 010-9999",
        "a.b+c@mail.example",
        "https://a.example/b/c_(d)?e=f&g=h#i",
        "C:\\Users\\lena",
        "2001:db8::1",
        "CVE-2024-1234",
        "C++",
        "[EMAIL_REDACTED]",
        "al***om",
    ]);
}

#[test]
fn a_forced_string_within_a_whole_keeps_all_of_it() {
    let text = "She took 0.25 mg of it, then 3.5 more, wrote to lena@mail.example. And then she went to the lake \
                with the cafe\u{301}. Or for good.";
    for model in models() {
        let options = CompressOptions { force_tokens: vec![".".into(), "or".into(), "cafe".into()], ..rate(0.05) };
        let answer = one(model, text, &options).compressed_prompt;
        for whole in ["0.25 mg", "3.5", "lena@mail.example"] {
            assert!(answer.contains(whole), "{whole} of {answer}");
        }
        assert_eq!(answer.matches('.').count(), text.matches('.').count(), "{answer}");
        assert!(!answer.contains("cafe"), "another word: {answer}");
        // Twice in one whole is once.
        let options =
            CompressOptions { force_tokens: vec!["a".into(), "b".into()], drop_consecutive: true, ..rate(0.05) };
        let answer = one(model, "well a.b.a.b a.b.a.b and then she went to the lake", &options).compressed_prompt;
        assert!(answer.contains("a.b.a.b a.b.a.b"), "no force token twice in a row: {answer}");
    }
}

#[test]
fn borders_of_passes_cut_nothing() {
    let long = format!("https://mail.example/{}", "a1-b2/".repeat(400));
    let text = format!(
        "{} {long}end was {}",
        "she took 0.25 mg ".repeat(60),
        "0.25 mg then -40 °C on 28.11.2026, ".repeat(60)
    );
    let thing = |thing: &str| text.match_indices(thing).map(|(at, _)| at..at + thing.len()).collect::<Vec<_>>();
    let places: Vec<Range<usize>> =
        [long + "end", "0.25 mg".into(), "-40 °C".into(), "28.11.2026".into()].iter().flat_map(|t| thing(t)).collect();
    assert_eq!(places.len(), 241);
    for model in models() {
        for share in [0.8, 0.5, 0.2] {
            for mode in [Mode::Default, Mode::Strict] {
                let answer = one(model, &text, &CompressOptions { mode, ..rate(share) });
                assert_eq!(broken(&text, &places, &answer), None, "by {} at {share}", model.name());
            }
        }
    }
}

#[test]
fn what_does_not_fit_a_strict_budget_is_gone() {
    for model in models() {
        for text in ["lena.kowalczyk@mail.example", "€1,234,567.89", "antidisestablishmentarianism", "👩‍👩‍👧‍👦"]
        {
            let options = CompressOptions { mode: Mode::Strict, target_token: 1.0, ..CompressOptions::default() };
            let answer = one(model, text, &options);
            assert_eq!((answer.compressed_prompt.as_str(), answer.compressed_tokens), ("", 0));
            let answer = one(model, &format!("{text} {text} it {text}"), &options);
            assert_eq!(answer.compressed_prompt, "it", "what fits stays");
        }
        // No whole, but a run of which a part can be read.
        let thai = "ฉันชอบดื่มชาทุกวันจันทร์".repeat(20);
        let options = CompressOptions { mode: Mode::Strict, target_token: 20.0, ..CompressOptions::default() };
        let answer = one(model, &thai, &options);
        assert!((1..=20).contains(&answer.compressed_tokens), "{}", answer.compressed_prompt);
    }
}

#[test]
fn messages_json_and_contexts_keep_wholes() {
    let text = "Well, you know, she took 0.25 mg of it on 28.11.2026, and then wrote to lena@mail.example that it \
                cost €1,234.50 in all.";
    let wholes = ["0.25 mg", "28.11.2026", "lena@mail.example", "€1,234.50"];
    let parts: Vec<&str> =
        vec!["0.25", "0 25", "25", "mg", "28", "11", "2026", "lena", "mail", "1,234", "234", "50", "€"];
    let check = |left: &str| {
        let rest = wholes.iter().fold(left.to_owned(), |left, whole| left.replace(whole, ""));
        for part in &parts {
            assert!(!rest.contains(part), "{part} of {left}");
        }
    };
    for model in models() {
        for share in RATES {
            let messages = vec![Message { role: "user".into(), content: Some(text.into()), ..Message::default() }; 3];
            let talk = model.compress_conversation(&messages, 0, &rate(share), Lane::Bulk).expect("an answer");
            talk.messages.iter().filter_map(|m| m.content.as_deref()).for_each(check);
            let data = json!({"notes": text, "more": [text, text]});
            let rules = serde_json::from_value(json!({"notes": {}, "more": {"value_type": "list"}})).expect("rules");
            let object = data.as_object().expect("an object");
            let (left, _) = model.compress_json(object, &rules, &rate(share), Lane::Bulk).expect("an answer");
            check(left["notes"].as_str().expect("a text"));
            let contexts = vec![text.to_owned(); 3];
            let strict = CompressOptions { mode: Mode::Strict, ..rate(share) };
            let answer = model.compress(&contexts, &strict, Lane::Bulk).expect("an answer");
            answer.compressed_prompt_list.iter().for_each(|left| check(left));
        }
    }
}

/// Words of many scripts, with marks where these scripts have them.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z]{2,9}",
        1 => "[A-Z][a-z]{2,7}",
        1 => "[a-z][aeou][\u{300}-\u{30c}][a-z]{0,3}[aeo][\u{300}-\u{30c}]",
        1 => "[a-z]{2,5}n['’]t",
        1 => "[а-я]{3,8}",
        1 => "[α-ω]{3,8}",
        1 => "([क-ह][ािीुूेैोौ]?[ंँ]?){2,5}",
        1 => "([க-ஹ][ாிீுூெேைொோௌ்]?){2,5}".prop_filter("letters",
            |w| w.chars().all(char::is_alphanumeric) || w.contains('்')),
        1 => "([א-ת][\u{5b0}-\u{5bb}]){2,5}",
        1 => "([ب-ي][\u{64b}-\u{652}]){2,5}".prop_filter("no sign", |w| !w.contains('ـ')),
        1 => "[가-힣]{2,5}",
        1 => "[ア-ロ]{2,6}",
        1 => prop::sample::select(vec!["❤️", "👍🏽", "🇩🇪", "👩‍👩‍👧", "🏳️‍🌈", "5️⃣", "✈️"]).prop_map(String::from),
    ]
}

/// What is one thing to its reader, and has signs or a blank in it.
fn thing() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => word(),
        2 => ("[-+€$£~±]?", "[0-9]{1,3}(,[0-9]{3}){0,2}|[0-9]{1,5}", "(\\.[0-9]{1,3})?",
            "(%|e-?[0-9]{1,2}| mg|mg| kg| °C| km/h| €| GB| days)?")
            .prop_map(|(sign, whole, rest, unit)| sign + &whole + &rest + &unit),
        1 => "20[0-9]{2}-(0[1-9]|1[0-2])-[0-2][0-9](T[0-2][0-9]:[0-5][0-9]Z)?",
        1 => "[0-2]?[1-9]([./])(0[1-9]|1[0-2])([./])20[0-9]{2}",
        1 => "[1-9] (Jan|March|Nov|December) 20[0-9]{2}",
        1 => "(1?[0-9]|2[0-3]):[0-5][0-9]( am| pm)?",
        1 => "\\+[1-9][0-9] [1-9][0-9]{1,3} [1-9][0-9]{3}-[0-9]{2,3}",
        1 => "[a-z]{1,8}([._+-][a-z0-9]{1,5}){0,2}@[a-z]{1,8}(\\.[a-z]{2,5}){1,2}",
        1 => "https?://[a-z]{1,8}\\.[a-z]{2,4}(:[0-9]{2,4})?(/[a-zA-Z0-9_~%-]{1,8}){0,3}\
              (\\?[a-z]{1,3}=[a-z0-9+]{1,4}(&[a-z]=[0-9]){0,2})?(#[a-z]{1,5})?",
        1 => "(/|\\.\\./|~/)?[a-z]{1,6}(/[a-z_]{1,6}){1,3}\\.(rs|toml|txt)",
        1 => "[1-9][0-9]{0,2}(\\.[0-9]{1,3}){3}(:[0-9]{2,4}|/[0-9]{1,2})?",
        1 => "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        1 => "[a-z]{1,6}(_[a-z0-9]{1,4}){1,3}|[A-Z]{2,4}-[0-9]{1,4}(-[0-9]{1,5})?|v[0-9](\\.[0-9]{1,2}){1,2}|\
              [a-z]{2,5}(-[a-z0-9]{1,4}){1,2}",
        1 => "[#@][a-z]{2,9}|[CF]#|C\\+\\+|\\.NET|\\[(EMAIL|PHONE|IP_ADDRESS)_REDACTED\\]|[a-z]{2}\\*\\*\\*[a-z]{2}",
    ]
}

fn things() -> impl Strategy<Value = Vec<(String, String, &'static str)>> {
    let between = prop::sample::select(vec![" ", "  ", "\n", ", ", "; ", "! ", "? ", "\u{3000}", "\t"]);
    // A word that is no unit and no month.
    let plain = "[b-z][a-z]{4,8}ly";
    prop::collection::vec((thing(), plain, between), 1..60)
}

fn options() -> impl Strategy<Value = CompressOptions> {
    let how = prop_oneof![
        Just((Mode::Default, -1.0)),
        Just((Mode::Strict, -1.0)),
        (1f64..200.0).prop_map(|t| (Mode::Strict, t.floor())),
        (1f64..200.0).prop_map(|t| (Mode::Default, t.floor()))
    ];
    let force = prop::sample::subsequence(vec![".", "-", ",", "e", "the", "/", "\n", "@", "1"], 0..4);
    (how, 0.02f64..1.0, prop::option::weighted(0.2, 0.0f64..1.0), force, any::<[bool; 3]>()).prop_map(
        |((mode, target_token), share, threshold, force, [digits, first, consecutive])| CompressOptions {
            mode,
            target_token,
            threshold,
            force_tokens: force.into_iter().map(String::from).collect(),
            force_reserve_digit: digits,
            token_to_word: if first { TokenToWord::First } else { TokenToWord::Mean },
            drop_consecutive: consecutive,
            ..rate(share)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_thing_is_kept_whole_or_is_gone(things in things(), options in options(), model in 0usize..3) {
        let (text, places) = text_of(&things);
        let answer = one(&models()[model], &text, &options);
        prop_assert_eq!(broken(&text, &places, &answer), None, "{}\n{}", text, answer.compressed_prompt);
        if options.mode == Mode::Strict && options.target_token >= 0.0 && options.threshold.is_none() {
            prop_assert!(answer.compressed_tokens as f64 <= options.target_token);
        }
    }
}
