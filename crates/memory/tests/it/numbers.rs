//! A number that is kept comes back as it was written, or is refused by its field; and every text is looked through
//! in the time of reading it.

use membox_memory::{Kept, MemoryError, check_numbers};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn place(json: &str, kept: Kept) -> Option<String> {
    match check_numbers(json, kept, "") {
        Ok(()) => None,
        Err(MemoryError::Invalid { pointer, .. }) => Some(pointer),
        Err(other) => panic!("{other}"),
    }
}

const LARGE: &str = "12345678901234567890123";

#[test]
fn a_number_comes_back_as_it_was_written_or_is_named() {
    let kept = [
        "0",
        "-0",
        "-0.0",
        "0e99999999999999999999",
        "1.10",
        "1e2",
        "1E+2",
        "0.1",
        "-0.30000000000000004",
        "123456789012345e-300",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615",
        "1.7976931348623157e308",
        "5e-324",
        "2.5000000000000000000000000",
    ];
    let refused = [
        LARGE,
        "18446744073709551616",
        "-9223372036854775809",
        "100000000000000000000",
        "0.12345678901234567890123",
        "12345678901234567890.0",
        "0.10000000000000001",
        "1e400",
        "-1e400",
        "1e99999999999999999999",
        "1e-400",
        "1e-99999999999999999999",
        "4.9e-324",
        "9007199254740993.0",
    ];
    kept.iter().for_each(|number| assert_eq!(place(number, Kept::Everything), None, "{number}"));
    refused.iter().for_each(|number| assert_eq!(place(number, Kept::Everything), Some(String::new()), "{number}"));
}

#[test]
fn the_fields_that_are_kept_are_looked_at_and_no_others() {
    let named = [
        (
            format!(r#"{{"records": [{{"vector": [1.0]}}, {{"metadata": {{"a": [0, {{"b/~": {LARGE}}}]}}}}]}}"#),
            "/records/1/metadata/a/1/b~1~0",
        ),
        (format!(r#"{{"metadata": {LARGE}}}"#), "/metadata"),
        (format!(r#"{{"met\u0061data": [{LARGE}]}}"#), "/metadata/0"),
        (format!(r#"{{"a": {{"metadata": {{}}}}, "metadata": {{"vector": [1, {LARGE}]}}}}"#), "/metadata/vector/1"),
        (
            format!(r#"{{"text": "\"metadata\": \\", "filter" : {{ "not":{{"field": "x", "eq" :{LARGE} }}}}}}"#),
            "/filter/not/eq",
        ),
        (format!(r#"{{"items": ["}}", [], {{}}, {{"1": "e400"}}, -{LARGE}]}}"#), "/items/4"),
        (r#"{"k": 1e400, "importance": 0.12345678901234567890123}"#.to_owned(), "/importance"),
    ];
    for (json, pointer) in named {
        assert_eq!(place(&json, Kept::Fields).as_deref(), Some(pointer), "{json}");
    }
    let passed = [
        format!(
            r#"{{"vector": [1.5, {LARGE}], "k": {LARGE}, "rate": [[0.12345678901234567890123]], "s": "metadata"}}"#
        ),
        format!(r#"{{"metadata": {{"a": 1}}, "vector": [{LARGE}], "other": {LARGE}}}"#),
        format!(r#"[{{"metadata": 1}}, {{"b": {LARGE}}}, {LARGE}]"#),
        format!(r#"{{"metadata": {{"a": "{LARGE}", "b": "\\\"{LARGE}"}}}}"#),
    ];
    for json in passed {
        assert!(serde_json::from_str::<Value>(&json.replace("1e400", "1")).is_ok(), "{json}");
        assert_eq!(place(&json, Kept::Fields), None, "{json}");
    }
}

#[test]
fn what_is_large_or_deep_takes_the_time_of_reading_it() {
    let million = 1_000_000;
    let repeated = [
        "[",
        "[1,",
        "{\"a\":",
        "{\"metadata\":",
        "[{",
        "[1{",
        "\"",
        "\\",
        "1",
        "[]",
        ",",
        "\"\\\"",
        "{\"state\":[1e1,",
        "]",
    ];
    let begun = Instant::now();
    for part in repeated {
        let json = part.repeat(million);
        for kept in [Kept::Fields, Kept::Everything] {
            let _ = place(&json, kept);
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let deep = |depth| format!("{{\"metadata\": {}{LARGE}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(place(&deep(100), Kept::Fields), Some(format!("/metadata{}", "/0".repeat(100))));
    // What is deeper than that is refused for its depth.
    assert!(serde_json::from_str::<Value>(&deep(128)).is_err());
}

/// Whether two decimals are the same number: digits of the same place stand below each other.
fn are_equal(a: &str, b: &str) -> bool {
    let parts = |number: &str| {
        let (digits, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
        let places = digits.split_once('.').map_or(0, |(_, fraction)| fraction.len() as i64);
        let is_negative = digits.starts_with('-');
        let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
        (is_negative, digits, exponent.parse::<i64>().expect("an exponent") - places)
    };
    let ((a_negative, a, a_last), (b_negative, b, b_last)) = (parts(a), parts(b));
    let last = a_last.min(b_last);
    let aligned = |digits: String, by: i64| {
        let zeros = "0".repeat(by as usize);
        (digits + &zeros).trim_start_matches('0').to_owned()
    };
    let (a, b) = (aligned(a, a_last - last), aligned(b, b_last - last));
    a == b && (a.is_empty() || a_negative == b_negative)
}

fn number() -> impl Strategy<Value = String> {
    let edges = prop::sample::select(vec![0i128, 1 << 53, 1 << 63, 1 << 64]);
    let integers = (edges, -3i128..3, any::<bool>()).prop_map(|(edge, by, negative)| {
        let n = edge + by;
        if negative { (-n).to_string() } else { n.to_string() }
    });
    prop_oneof![
        "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?",
        "-?(0|[1-9][0-9]{0,8})\\.[0-9]{1,9}",
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| format!("{n:e}")),
        integers,
    ]
}

/// JSON in which one string is told from all others.
fn with_a_mark(mark: &'static str) -> impl Strategy<Value = Value> {
    let other = prop_oneof![Just(json!(null)), any::<i64>().prop_map(Value::from), ".{0,6}".prop_map(Value::from)];
    let others = prop::collection::vec(other, 0..3);
    Just(json!(mark)).prop_recursive(6, 12, 3, move |inner| {
        prop_oneof![
            (others.clone(), inner.clone()).prop_map(|(mut list, inner)| {
                list.push(inner);
                Value::Array(list)
            }),
            (".{0,6}", inner, ".{0,6}", any::<bool>()).prop_map(|(name, inner, other, after)| {
                let around = if after { json!({"z": 1}) } else { json!({other: {"metadata": [1.5]}}) };
                let mut object = around.as_object().cloned().unwrap_or_default();
                object.insert(name, inner);
                Value::Object(object)
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn a_number_that_is_kept_comes_back_equal(number in number()) {
        let json = format!(r#"{{"metadata": {{"n": {number}}}}}"#);
        match check_numbers(&json, Kept::Fields, "") {
            Ok(()) => {
                let parsed: Value = serde_json::from_str(&json).expect("JSON");
                let written = parsed["metadata"]["n"].to_string();
                prop_assert!(are_equal(&number, &written), "{} became {}", number, written);
            }
            // And none is refused that would have.
            Err(_) => if let Ok(parsed) = serde_json::from_str::<Value>(&number) {
                let is_integer = !number.contains(['.', 'e', 'E']);
                prop_assert!(is_integer || !are_equal(&number, &parsed.to_string()), "{} was refused", number);
            },
        }
    }

    #[test]
    fn the_number_that_is_not_kept_is_named(value in with_a_mark("<the mark>")) {
        let json = value.to_string().replace("\"<the mark>\"", LARGE);
        let pointer = place(&json, Kept::Everything);
        let found = pointer.as_ref().and_then(|pointer| value.pointer(pointer));
        prop_assert_eq!(found, Some(&json!("<the mark>")), "{} in {}", pointer.unwrap_or_default(), json);
    }

    #[test]
    fn no_text_is_too_odd(text in prop_oneof![".{0,60}", "[\\[\\]{}\",:\\\\0-9.eE+ metadata-]{0,60}"]) {
        // Names of members may be the same twice, so that a parsed value says nothing about the text: only that it
        // ends is asked.
        let _ = check_numbers(&text, Kept::Fields, "");
        let _ = check_numbers(&text, Kept::Everything, "");
    }
}
