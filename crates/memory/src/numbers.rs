//! Numbers in JSON that is kept: they come back as they were written, or they are refused.
//!
//! JSON has numbers of any size. Parsed ones are integers of 64 bits or `f64`, and what fits in neither is silently
//! another number. So the text is read before it is parsed, and the first number that would come back changed is an
//! error that names its field.

use crate::MemoryError;
use memchr::{memchr, memchr2, memchr3};
use std::borrow::Cow;
use std::fmt::Write;

/// Fields of requests whose JSON is kept or handed on as it is, or held against what is kept. What is in none of
/// them (vectors, limits, weights) is rounded as its type says.
const KEPT_FIELDS: [&str; 10] =
    ["filter", "filters", "importance", "items", "json_data", "messages", "metadata", "state", "tool_calls", "writes"];
/// What is nested deeper is refused when it is parsed.
const MAX_DEPTH: usize = 128;
/// Digits of a number that an error shows.
const SHOWN_DIGITS: usize = 40;

/// Which numbers of a JSON text are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Those of a request, below the fields that are kept.
    Fields,
    /// All.
    Everything,
}

/// Refuses a JSON text in which a number is kept that would come back as another one; the error names it by a JSON
/// pointer below `pointer`.
///
/// Integers of 64 bits are exact, and decimals that an `f64` holds: all of 15 digits, and some of 16 and 17. What
/// is no JSON is not refused here but where it is parsed.
pub fn check_numbers(json: &str, kept: Kept, pointer: &str) -> Result<(), MemoryError> {
    let bytes = json.as_bytes();
    // The lists and objects that are open, and how many of them are around what is kept.
    let mut open: Vec<Place> = Vec::new();
    let mut kept_below = (kept == Kept::Everything).then_some(0);
    let (mut at, mut text) = (0, "");
    while let Some(&byte) = bytes.get(at) {
        let mut next = at + 1;
        match byte {
            b'"' => {
                next = string_end(bytes, at);
                text = json.get(at..next).unwrap_or_default();
            }
            b':' => {
                if let Some(Place::Key(key)) = open.last_mut() {
                    *key = text;
                }
                if kept == Kept::Fields && name(text) == "payload" && is_written(&open) {
                    next = value_end(bytes, next);
                } else if kept_below.is_none() && KEPT_FIELDS.contains(&&*name(text)) {
                    kept_below = Some(open.len());
                }
            }
            b',' | b']' | b'}' => {
                if kept == Kept::Fields && kept_below == Some(open.len()) {
                    kept_below = None;
                }
                match (byte, open.last_mut()) {
                    (b',', Some(Place::Index(index))) => *index += 1,
                    (b',', _) => {}
                    _ => drop(open.pop()),
                }
            }
            b'[' | b'{' => {
                let flat = if kept_below.is_none() { flat_end(bytes, at) } else { None };
                match flat {
                    Some(end) => next = end,
                    None if open.len() == MAX_DEPTH => return Ok(()),
                    None => open.push(if byte == b'[' { Place::Index(0) } else { Place::Key("") }),
                }
            }
            b'-' | b'0'..=b'9' => {
                let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
                let length = bytes[at..].iter().position(|byte| !is_part(byte)).unwrap_or(bytes.len() - at);
                next = at + length;
                let number = &json[at..next];
                if kept_below.is_some() && !is_exact(number) {
                    return Err(inexact(number, pointer, &open));
                }
            }
            _ => {}
        }
        at = next;
    }
    Ok(())
}

/// Where in a list or an object the text is being read.
enum Place<'a> {
    /// The element of a list.
    Index(usize),
    /// The member of an object, its name as it stands in the text.
    Key(&'a str),
}

/// Whether a member that is read is one of a record, a message or a change of one, whose payload is kept as it is
/// written.
fn is_written(open: &[Place]) -> bool {
    match open {
        [Place::Key(_)] => true,
        [Place::Key(patch), Place::Key(_)] => name(patch) == "patch",
        [Place::Key(list), Place::Index(_), Place::Key(_)] => matches!(&*name(list), "records" | "messages"),
        _ => false,
    }
}

/// Where a value of a JSON text ends, of which at most blanks come before its first byte.
fn value_end(bytes: &[u8], begin: usize) -> usize {
    let (mut at, mut depth) = (begin, 0usize);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = string_end(bytes, at);
                continue;
            }
            b'[' | b'{' => depth += 1,
            b',' | b']' | b'}' if depth == 0 => return at,
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// Where a string of a JSON text ends that begins at a quotation mark.
pub fn string_end(bytes: &[u8], begin: usize) -> usize {
    let mut at = begin + 1;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        if bytes[at + found] == b'"' {
            return at + found + 1;
        }
        at += found + 2;
    }
    bytes.len()
}

/// Where a list ends that begins here and has neither strings nor lists nor objects, such as a vector.
fn flat_end(bytes: &[u8], begin: usize) -> Option<usize> {
    let inside = bytes[begin..].strip_prefix(b"[")?;
    let length = memchr3(b']', b'[', b'"', inside)?;
    let is_flat = inside[length] == b']' && memchr(b'{', &inside[..length]).is_none();
    is_flat.then_some(begin + length + 2)
}

/// The name of a member, from what stands in the text.
fn name(text: &str) -> Cow<'_, str> {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default();
    match inner.contains('\\') {
        false => Cow::Borrowed(inner),
        true => Cow::Owned(serde_json::from_str(text).unwrap_or_default()),
    }
}

/// Whether a number comes back as it was written, once it was parsed.
fn is_exact(number: &str) -> bool {
    if !number.contains(['.', 'e', 'E']) {
        let is_integer = number.strip_prefix('-').unwrap_or(number).bytes().all(|byte| byte.is_ascii_digit());
        return !is_integer || number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok();
    }
    // What is no number is refused by who parses it.
    let Ok(parsed) = number.parse::<f64>() else { return true };
    parsed.is_finite() && decimal(number) == decimal(&format!("{parsed:e}"))
}

/// The digits of a number without zeros at either end, and the power of ten of the first.
fn decimal(number: &str) -> (String, i64) {
    let (digits, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('-');
    let all = format!("{whole}{fraction}");
    let significant = all.trim_start_matches('0');
    if significant.is_empty() {
        return (String::new(), 0);
    }
    let point = whole.len() as i64 - (all.len() - significant.len()) as i64;
    // An exponent of more than 64 bits is that of no number that is kept.
    (significant.trim_end_matches('0').to_owned(), exponent.parse::<i64>().unwrap_or(i64::MAX).saturating_add(point))
}

fn inexact(number: &str, pointer: &str, open: &[Place]) -> MemoryError {
    let mut pointer = pointer.to_owned();
    for place in open {
        let _ = match place {
            Place::Index(index) => write!(pointer, "/{index}"),
            Place::Key(key) => write!(pointer, "/{}", name(key).replace('~', "~0").replace('/', "~1")),
        };
    }
    let (shown, rest) = number.split_at(number.len().min(SHOWN_DIGITS));
    let more = if rest.is_empty() { "" } else { "…" };
    let reason = format!(
        "{shown}{more} would come back as another number: integers of 64 bits and decimals of 15 digits are exact; \
            write it as a string"
    );
    MemoryError::invalid(pointer, reason)
}
