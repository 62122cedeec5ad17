//! Token counts are those of the Python package tiktoken, by every encoding that it has.

use crate::common::fixtures;
use membox_compressor::TokenCounter;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[test]
fn every_encoding_counts_as_tiktoken_does() {
    let file: Value =
        serde_json::from_slice(&std::fs::read(fixtures().join("tokens.json")).expect("a fixture")).expect("JSON");
    let texts: Vec<String> = serde_json::from_value(file["texts"].clone()).expect("texts");
    let counts: BTreeMap<String, Vec<usize>> = serde_json::from_value(file["counts"].clone()).expect("counts");
    assert_eq!((counts.len(), texts.len() > 25), (6, true));
    for (encoding, counts) in counts {
        let counter = TokenCounter::by_name(&encoding).expect("an encoding");
        for (text, count) in texts.iter().zip(counts) {
            assert_eq!(counter.count(text), count, "{text:?} by {encoding}");
        }
    }
    assert_eq!(TokenCounter::by_name("gpt2").expect("a name").encoding(), "r50k_base", "OpenAI's name for the same");
}

/// No time is asserted but one that only a count that grows with the square of the length would take.
#[test]
fn a_megabyte_without_a_space_is_counted() {
    for unit in ["a", "错", "=", " ", "\n", "9", "aB3$"] {
        let text = unit.repeat((1 << 20) / unit.len());
        for encoding in ["r50k_base", "cl100k_base", "o200k_base"] {
            let begun = Instant::now();
            let count = TokenCounter::by_name(encoding).expect("an encoding").count(&text);
            assert!(count > 0 && count <= text.len());
            println!("{unit:?} by {encoding}: {count} tokens in {:?}", begun.elapsed());
            assert!(begun.elapsed() < Duration::from_secs(60));
        }
    }
}
