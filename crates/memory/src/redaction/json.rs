//! Texts and JSON: what a policy takes out of them.
//!
//! A text that is JSON, such as the arguments of a call, is looked at value by value, so that what a backslash
//! hides is found and JSON stays JSON.

use membox_redaction::{Counts, Redaction};
use serde::de::{Deserialize, Deserializer, IgnoredAny, Visitor};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

/// How deep JSON in texts in JSON is looked into.
const MAX_DEPTH: usize = 8;
/// Whole numbers below this are written out by a float, each digit as it was.
const MAX_WHOLE_FLOAT: f64 = 1e19;

/// Redacts a text.
pub(super) fn redact_text(redaction: &Redaction, text: &mut String, found: &mut Counts) {
    redact_to_depth(redaction, text, found, MAX_DEPTH);
}

fn redact_to_depth(redaction: &Redaction, text: &mut String, found: &mut Counts, depth: usize) {
    let kept = match depth > 0 && is_json(text) {
        true => redact_json(redaction, text, found, depth - 1),
        false => match redaction.apply(text, found) {
            Cow::Borrowed(_) => return,
            Cow::Owned(kept) => kept,
        },
    };
    *text = kept;
}

/// Redacts JSON; a number whose digits are personal data becomes a text.
pub(super) fn redact_value(redaction: &Redaction, value: &mut Value, found: &mut Counts) {
    match value {
        Value::String(text) => redact_text(redaction, text, found),
        Value::Array(values) => values.iter_mut().for_each(|value| redact_value(redaction, value, found)),
        Value::Object(object) => redact_object(redaction, object, found),
        Value::Number(number) => {
            if let Some(kept) = redacted_digits(redaction, &number.to_string(), found) {
                *value = Value::String(kept);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// Redacts an object, its keys too. Those that become the same are told apart by a number.
pub(super) fn redact_object(redaction: &Redaction, object: &mut Map<String, Value>, found: &mut Counts) {
    for (key, mut value) in std::mem::take(object) {
        redact_value(redaction, &mut value, found);
        let kept = redaction.apply(&key, found);
        let name = (1..).map(|number| numbered(&kept, number)).find(|name| !object.contains_key(name));
        object.insert(name.unwrap_or_default(), value);
    }
}

fn numbered(key: &str, number: usize) -> String {
    if number == 1 { key.to_owned() } else { format!("{key} {number}") }
}

/// What stands in the place of a number whose digits are personal data.
fn redacted_digits(redaction: &Redaction, written: &str, found: &mut Counts) -> Option<String> {
    let is_float = written.contains(['.', 'e', 'E']);
    let whole = written.parse().ok().filter(|n: &f64| is_float && n.fract() == 0.0 && n.abs() < MAX_WHOLE_FLOAT);
    let digits = whole.map_or(Cow::Borrowed(written), |whole| Cow::Owned(format!("{whole:.0}")));
    match redaction.apply(&digits, found) {
        Cow::Borrowed(_) => None,
        Cow::Owned(kept) => Some(kept),
    }
}

/// Whether a text is JSON as a whole, and not just words.
fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[', '"']) && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Redacts the strings and numbers of a JSON text; all else of it stays as it was written, to the digit.
fn redact_json(redaction: &Redaction, text: &str, found: &mut Counts, depth: usize) -> String {
    let (bytes, mut kept, mut at, mut keys) = (text.as_bytes(), String::with_capacity(text.len()), 0, HashSet::new());
    while at < bytes.len() {
        let end = match bytes[at] {
            b'"' => end_of_string(bytes, at),
            b'-' | b'0'..=b'9' => end_of_number(bytes, at),
            // Up to what comes next: outside of strings JSON is ASCII.
            _ => {
                bytes[at..].iter().position(|b| matches!(b, b'"' | b'-' | b'0'..=b'9')).map_or(bytes.len(), |n| at + n)
            }
        };
        let token = &text[at..end];
        match bytes[at] {
            b'"' => {
                let is_key = text[end..].trim_start().starts_with(':');
                match redacted_string(redaction, token, found, if is_key { 0 } else { depth }) {
                    None => kept.push_str(token),
                    Some(string) if is_key => {
                        let name = (1..).map(|n| numbered(&string, n)).find(|name| keys.insert(name.clone()));
                        kept.push_str(&json!(name).to_string());
                    }
                    Some(string) => kept.push_str(&json!(string).to_string()),
                }
            }
            b'-' | b'0'..=b'9' => match redacted_digits(redaction, token, found) {
                Some(string) => kept.push_str(&json!(string).to_string()),
                None => kept.push_str(token),
            },
            _ => kept.push_str(token),
        }
        at = end;
    }
    kept
}

/// What a string of a JSON text, given with its quotation marks, is to say instead; `None` where it stays as it is.
fn redacted_string(redaction: &Redaction, token: &str, found: &mut Counts, depth: usize) -> Option<String> {
    let said = serde_json::from_str::<Unescaped>(token).ok()?.0;
    let mut kept = said.clone();
    redact_to_depth(redaction, &mut kept, found, depth);
    (kept != said).then_some(kept)
}

/// What a string of JSON says; in the place of the bytes of half a character that it escapes stand U+FFFD.
struct Unescaped(String);

impl<'de> Deserialize<'de> for Unescaped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Unescaped;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Unescaped, E> {
                Ok(Unescaped(String::from_utf8_lossy(bytes).into_owned()))
            }
        }
        // A string would have to be whole.
        deserializer.deserialize_bytes(Bytes)
    }
}

fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

fn end_of_number(bytes: &[u8], start: usize) -> usize {
    let is_part = |b: &u8| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    bytes[start..].iter().position(|b| !is_part(b)).map_or(bytes.len(), |n| start + n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use membox_redaction::Mode;
    use proptest::prelude::*;

    const MAIL: &str = "lena.fischer@example.com";

    fn full() -> Redaction {
        Redaction { mode: Mode::Full, kinds: None }
    }

    fn after(mut value: Value) -> Value {
        redact_value(&full(), &mut value, &mut Counts::new());
        value
    }

    #[test]
    fn values_keys_and_numbers_of_json_are_redacted() {
        let given =
            json!({"to": MAIL, MAIL: 1, "list": [13800138000u64, 4111111111111111u64, 4111111111111111.0, 42, 1.5]});
        let phone = "[PHONE_REDACTED]";
        let card = "[PAYMENT_CARD_REDACTED]";
        let kept = json!({"to": "[EMAIL_REDACTED]", "[EMAIL_REDACTED]": 1, "list": [phone, card, card, 42, 1.5]});
        assert_eq!(after(given), kept);
    }

    #[test]
    fn no_value_is_lost_where_keys_become_the_same() {
        let given = json!({"a@example.com": 1, "b@example.com": 2, "[EMAIL_REDACTED]": 3, "c": 4});
        let kept = after(given);
        let mut values: Vec<u64> = kept.as_object().expect("an object").values().filter_map(Value::as_u64).collect();
        values.sort_unstable();
        assert_eq!(values, [1, 2, 3, 4], "{kept}");
    }

    #[test]
    fn json_in_a_text_stays_json_and_hides_nothing() {
        let arguments = concat!(
            r#"{"to": "lena.fischer\u0040example.com", "sms": 13800138000, "#,
            r#""exact": 12345678901234567.25, "é": "\ud83d"}"#
        );
        let kept = after(json!([{"function": {"arguments": arguments}}]));
        let wanted =
            r#"{"to": "[EMAIL_REDACTED]", "sms": "[PHONE_REDACTED]", "exact": 12345678901234567.25, "é": "\ud83d"}"#;
        assert_eq!(kept[0]["function"]["arguments"], wanted);
        assert_eq!(
            after(json!(r#"["\ud83d lena\u0040example.com"]"#)),
            "[\"\u{fffd}\u{fffd}\u{fffd} [EMAIL_REDACTED]\"]"
        );
        // A text in JSON in a text, and keys.
        let inner =
            json!({ "note": json!({ "a": MAIL }).to_string(), "x@example.com": 1, "y@example.com": 2 }).to_string();
        let kept: Value = serde_json::from_str(after(json!(inner)).as_str().expect("a text")).expect("JSON");
        assert_eq!(kept["note"], r#"{"a":"[EMAIL_REDACTED]"}"#);
        assert_eq!((&kept["[EMAIL_REDACTED]"], &kept["[EMAIL_REDACTED] 2"]), (&json!(1), &json!(2)), "{kept}");
        assert_eq!(after(json!("{call 13800138000}")), "{call [PHONE_REDACTED]}", "no JSON is a text");
    }

    #[test]
    fn what_is_only_marked_stays_and_is_counted() {
        let marked = Redaction { mode: Mode::Mark, kinds: None };
        let given = json!({"to": MAIL, MAIL: 13800138000u64, "json": json!({ "to": MAIL }).to_string()});
        let (mut value, mut found) = (given.clone(), Counts::new());
        redact_value(&marked, &mut value, &mut found);
        assert_eq!((value, json!(found)), (given, json!({"email": 3, "phone": 1})));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            any::<String>(),
            Just(MAIL.to_owned()),
            Just(format!("\\\"{MAIL}\n")),
            Just("{\"a\": 13800138000}".into())
        ];
        let leaf = prop_oneof![
            text.clone().prop_map(Value::String),
            any::<i64>().prop_map(Value::from),
            Just(json!(13800138000u64)),
            any::<bool>().prop_map(Value::Bool),
            Just(Value::Null)
        ];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                proptest::collection::btree_map(text.clone(), inner, 0..4)
                    .prop_map(|object| Value::Object(object.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// A JSON text says what the same JSON says that is no text, but for how keys are numbered.
        #[test]
        fn json_stays_json_and_nothing_is_left_in_it(value in any_json()) {
            // A number alone is taken for a text of digits.
            let text = after(json!(json!([value]).to_string()));
            let text = text.as_str().expect("a text");
            prop_assert!(!text.contains(MAIL) && !text.contains("13800138000"), "{text}");
            prop_assert!(serde_json::from_str::<Value>(text).is_ok(), "{text}");
            let kept = after(value.clone()).to_string();
            prop_assert!(!kept.contains(MAIL) && !kept.contains("13800138000"), "{kept}");
        }
    }
}
