//! Precision and recall on lines in English and Chinese, with what only looks like personal data among them.

use membox_redaction::{Counts, Kind, Mode, Redaction, find};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;

struct Line {
    text: String,
    spans: Vec<(usize, usize, Kind)>,
}

fn lines() -> Vec<Line> {
    let read = |line: &str| {
        let value: Value = serde_json::from_str(line).expect("JSON");
        let text = value["text"].as_str().expect("a text").to_owned();
        let byte = |characters: &Value| {
            let characters = characters.as_u64().expect("a place") as usize;
            text.char_indices().nth(characters).map_or(text.len(), |(at, _)| at)
        };
        let span = |s: &Value| (byte(&s[0]), byte(&s[1]), serde_json::from_value(s[2].clone()).expect("a kind"));
        let spans = value["spans"].as_array().expect("spans").iter().map(span).collect();
        Line { spans, text }
    };
    include_str!("../fixtures/labelled.jsonl").lines().map(read).collect()
}

#[test]
fn nearly_all_is_found_and_nearly_nothing_else() {
    let lines = lines();
    assert!(lines.len() >= 500 && lines.iter().filter(|l| l.spans.is_empty()).count() >= 100);
    // Of each kind: right, missed, wrong.
    let mut counts: BTreeMap<Kind, [usize; 3]> = BTreeMap::new();
    for Line { text, spans } in &lines {
        let found: Vec<_> = find(text, &Kind::ALL).into_iter().map(|f| (f.range.start, f.range.end, f.kind)).collect();
        for span in spans {
            let is_found = found.contains(span);
            counts.entry(span.2).or_default()[usize::from(!is_found)] += 1;
            if !is_found {
                println!("missed {:?} in {text:?}", &text[span.0..span.1]);
            }
        }
        for span in found.iter().filter(|span| !spans.contains(span)) {
            counts.entry(span.2).or_default()[2] += 1;
            println!("wrong {:?} as {:?} in {text:?}", &text[span.0..span.1], span.2);
        }
    }
    for (kind, [right, missed, wrong]) in counts {
        let recall = right as f64 / (right + missed) as f64;
        let precision = right as f64 / (right + wrong) as f64;
        println!(
            "{kind:?}: recall {recall:.3}, precision {precision:.3} ({right} right, {missed} missed, {wrong} wrong)"
        );
        assert!(recall >= 0.98 && precision >= 0.98, "{kind:?}: {recall} {precision}");
    }
}

#[test]
fn nothing_of_a_value_is_left_but_what_the_mode_leaves() {
    for Line { text, spans } in lines().iter().filter(|line| !line.spans.is_empty()) {
        for mode in [Mode::Partial, Mode::Full] {
            let mut counts = Counts::new();
            let kept = Redaction { mode, kinds: None }.apply(text, &mut counts);
            for (from, to, _) in spans {
                assert!(!kept.contains(&text[*from..*to]), "{mode:?}: {kept}");
            }
            let again = Redaction { mode: Mode::Full, kinds: None }.apply(&kept, &mut Counts::new()).into_owned();
            assert!(mode == Mode::Partial || again == kept, "a redacted text stays as it is: {again}");
        }
        let marked = Redaction { mode: Mode::Mark, kinds: None };
        let mut counts = Counts::new();
        assert_eq!(marked.apply(text, &mut counts), text.as_str());
        assert_eq!(counts.values().sum::<usize>(), spans.len(), "{text}");
    }
}

#[test]
fn only_the_kinds_that_are_asked_for_go() {
    let text = "mail a@example.com, call +86 138 0013 8000";
    let redaction = Redaction { mode: Mode::Partial, kinds: Some(vec![Kind::Email]) };
    assert_eq!(redaction.apply(text, &mut Counts::new()), "mail a@***om, call +86 138 0013 8000");
    assert_eq!(Redaction::default().apply(text, &mut Counts::new()), text, "off is the default");
}

proptest! {
    /// Whatever the text: places are apart, in order, on characters' borders, and what they show is found again by
    /// itself.
    #[test]
    fn places_are_in_order_and_within_the_text(text in "[ -~0-90-9@.:+\\-手机号号码a-z]{0,80}") {
        let mut end = 0;
        for found in find(&text, &Kind::ALL) {
            prop_assert!(found.range.start >= end && !found.range.is_empty());
            prop_assert!(text.get(found.range.clone()).is_some());
            end = found.range.end;
        }
        for mode in [Mode::Mark, Mode::Partial, Mode::Full] {
            let redaction = Redaction { mode, kinds: None };
            let kept = redaction.apply(&text, &mut Counts::new());
            prop_assert!(mode == Mode::Mark || find(&text, &Kind::ALL).is_empty() || kept != text);
        }
    }
}
