//! The filter language.
//!
//! ```json
//! {"and": [{"field": "metadata.topic", "eq": "travel"},
//!          {"not": {"field": "created_at", "lt": "2024-01-01T00:00:00Z"}}]}
//! ```
//!
//! What each condition means for each kind of value stands in `docs/filters.md`. A [`FieldIndex`] says which rows a
//! filter allows.

use crate::RecordsError;
use crate::field_index::FieldIndex;
use crate::number::Number;
use crate::record::Record;
use crate::time::time_millis;
use roaring::RoaringBitmap;
use serde_json::{Map, Value};
use std::ops::Bound;

/// Conditions of a filter may nest this deep.
const MAX_DEPTH: usize = 32;
/// Conditions of a filter in all.
const MAX_CONDITIONS: usize = 1000;
/// Fields that every record has beside its metadata, and what they hold.
const FIELDS: [(&str, Holds); 8] = [
    ("id", Holds::Text),
    ("user", Holds::Text),
    ("session", Holds::Text),
    ("kind", Holds::Text),
    ("role", Holds::Text),
    ("modality", Holds::Text),
    ("created_at", Holds::Time),
    ("importance", Holds::Number),
];

/// The conditions that there are.
const CONDITIONS: &str = "eq, ne, in, nin, all, gt, gte, lt, lte, prefix, contains, icontains or exists";

/// What a field can hold.
#[derive(Clone, Copy, PartialEq)]
enum Holds {
    Text,
    Number,
    Time,
    /// Metadata: anything.
    Any,
}

impl Holds {
    fn has_text(self) -> bool {
        matches!(self, Self::Text | Self::Any)
    }
}

/// A parsed filter.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// All of them hold.
    And(Vec<Filter>),
    /// At least one holds.
    Or(Vec<Filter>),
    /// It does not hold.
    Not(Box<Filter>),
    /// A condition on a field.
    Field(String, Condition),
}

/// A condition on the values of a field. A list has each of its strings, numbers and booleans as a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// One of its values is one of these.
    In(Vec<Scalar>),
    /// One of its numbers (or times) lies between.
    Numbers(Bound<Number>, Bound<Number>),
    /// One of its strings lies between, in the order of Unicode's code points.
    Strings(Bound<String>, Bound<String>),
    /// One of its strings begins so.
    Prefix(String),
    /// This stands in one of its strings.
    Contains(String),
    /// This stands in one of its strings, both without regard to case.
    ContainsFolded(String),
    /// It is an empty list.
    EmptyList,
    /// It is there and not null, or it is not.
    Exists(bool),
}

/// A value that can be filtered on.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// A string.
    Text(String),
    /// A number; times are milliseconds since 1970.
    Number(Number),
    /// True or false.
    Bool(bool),
}

impl Filter {
    /// Reads a filter; an error names the place by a JSON pointer below `pointer`.
    pub fn parse(value: &Value, pointer: &str) -> Result<Self, RecordsError> {
        let mut left = MAX_CONDITIONS;
        parse(value, pointer, MAX_DEPTH, &mut left)
    }

    /// Conditions in it, those that join others among them.
    pub fn conditions(&self) -> usize {
        1 + match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().map(Self::conditions).sum(),
            Self::Not(part) => part.conditions(),
            Self::Field(..) => 0,
        }
    }

    /// Whether a record meets it. For many records, keep a [`FieldIndex`].
    pub fn allows(&self, record: &Record) -> bool {
        let mut index = FieldIndex::default();
        index.insert(0, record);
        !index.allowed(self, &RoaringBitmap::from([0])).is_empty()
    }
}

fn wrong<T>(pointer: &str, reason: impl Into<String>) -> Result<T, RecordsError> {
    Err(RecordsError::Filter { pointer: pointer.to_owned(), reason: reason.into() })
}

fn too_many() -> String {
    format!("a filter has at most {MAX_CONDITIONS} conditions, {MAX_DEPTH} deep")
}

fn parse(value: &Value, pointer: &str, depth: usize, left: &mut usize) -> Result<Filter, RecordsError> {
    if depth == 0 || *left == 0 {
        return wrong(pointer, too_many());
    }
    *left -= 1;
    let Some(object) = value.as_object() else { return wrong(pointer, "a filter is an object") };
    let mut list = |key: &str| -> Result<Vec<Filter>, RecordsError> {
        let pointer = format!("{pointer}/{key}");
        let Some(parts) = object[key].as_array() else { return wrong(&pointer, "a list of filters is wanted") };
        parts.iter().enumerate().map(|(i, part)| parse(part, &format!("{pointer}/{i}"), depth - 1, left)).collect()
    };
    if object.contains_key("field") {
        return parse_condition(object, pointer, left);
    }
    match object.keys().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["and"] => Ok(Filter::And(list("and")?)),
        ["or"] => Ok(Filter::Or(list("or")?)),
        ["not"] => Ok(Filter::Not(Box::new(parse(&object["not"], &format!("{pointer}/not"), depth - 1, left)?))),
        _ => wrong(pointer, "a filter is {\"and\": […]}, {\"or\": […]}, {\"not\": {…}} or {\"field\": …, \"eq\": …}"),
    }
}

fn parse_condition(object: &Map<String, Value>, pointer: &str, left: &mut usize) -> Result<Filter, RecordsError> {
    let Some(field) = object["field"].as_str() else {
        return wrong(&format!("{pointer}/field"), "a field's name is a string");
    };
    let holds = match FIELDS.iter().find(|(name, _)| *name == field) {
        Some((_, holds)) => *holds,
        None if field.strip_prefix("metadata.").is_some_and(|name| !name.is_empty()) => Holds::Any,
        None => {
            let known = FIELDS.map(|(name, _)| name).join(", ");
            return wrong(&format!("{pointer}/field"), format!("{field:?} is not a field: {known}, or metadata.NAME"));
        }
    };
    let (mut bounds, mut condition) = (Bounds::default(), None);
    for key in object.keys().filter(|key| *key != "field") {
        let (value, at) = (&object[key], format!("{pointer}/{key}"));
        if matches!(key.as_str(), "gt" | "gte" | "lt" | "lte") {
            bounds.add(key, bound(value, holds, &at)?, &at)?;
        } else if condition.replace(parse_test((field, holds), key, value, &at, left)?).is_some() {
            return wrong(pointer, ALONE);
        }
    }
    match (condition, bounds.condition(pointer)?) {
        (Some(filter), None) => Ok(filter),
        (None, Some(range)) => Ok(Filter::Field(field.to_owned(), range)),
        (Some(_), Some(_)) => wrong(pointer, ALONE),
        (None, None) => wrong(pointer, format!("the condition is missing: {CONDITIONS}")),
    }
}

/// Why two conditions are none.
const ALONE: &str = "gt or gte may stand beside lt or lte; other conditions stand alone: join several by \"and\"";

/// Reads a condition that stands alone, on a field and what it holds. Each value of `all` is one of those that are
/// `left`: it is looked for by itself.
fn parse_test(
    (field, holds): (&str, Holds),
    key: &str,
    value: &Value,
    at: &str,
    left: &mut usize,
) -> Result<Filter, RecordsError> {
    let is = |condition| Filter::Field(field.to_owned(), condition);
    let list = || match value.as_array() {
        Some(values) => Ok(values.iter().enumerate().map(|(i, value)| (value, format!("{at}/{i}")))),
        None => wrong(at, "a list is wanted"),
    };
    let string = || match value.as_str() {
        Some(text) if holds.has_text() && !text.is_empty() => Ok(text.to_owned()),
        Some("") if holds.has_text() => wrong(at, "a string of one character at least is wanted"),
        _ if holds.has_text() => wrong(at, "a string is wanted"),
        _ => wrong(at, "the field holds no text"),
    };
    let one_of = || -> Result<Filter, RecordsError> {
        let (nulls, values): (Vec<_>, Vec<_>) = list()?.partition(|(value, _)| value.is_null());
        let values = values.iter().map(|(value, at)| scalar(value, holds, at)).collect::<Result<_, _>>()?;
        let found = is(Condition::In(values));
        Ok(if nulls.is_empty() { found } else { Filter::Or(vec![found, is(Condition::Exists(false))]) })
    };
    let equal = || -> Result<Filter, RecordsError> {
        match value {
            Value::Null => Ok(is(Condition::Exists(false))),
            Value::Array(none) if none.is_empty() && holds == Holds::Any => Ok(is(Condition::EmptyList)),
            _ => Ok(is(Condition::In(vec![scalar(value, holds, at)?]))),
        }
    };
    Ok(match key {
        "eq" => equal()?,
        "ne" => Filter::Not(Box::new(equal()?)),
        "in" => one_of()?,
        "nin" => Filter::Not(Box::new(one_of()?)),
        "all" => {
            let each = list()?;
            let Some(rest) = left.checked_sub(each.len()) else { return wrong(at, too_many()) };
            *left = rest;
            let each = each.map(|(value, at)| Ok(is(Condition::In(vec![scalar(value, holds, &at)?]))));
            Filter::And(each.collect::<Result<_, RecordsError>>()?)
        }
        "prefix" => is(Condition::Prefix(string()?)),
        "contains" => is(Condition::Contains(string()?)),
        "icontains" => is(Condition::ContainsFolded(folded(&string()?))),
        "exists" => match value.as_bool() {
            Some(wanted) => is(Condition::Exists(wanted)),
            None => return wrong(at, "true or false is wanted"),
        },
        _ => return wrong(at, format!("a condition is {CONDITIONS}")),
    })
}

/// A text whose letters are neither large nor small: `Straße` and `STRASSE` are the same.
pub(crate) fn folded(text: &str) -> String {
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// The bounds of a condition.
#[derive(Default)]
struct Bounds {
    low: Option<(Scalar, bool)>,
    high: Option<(Scalar, bool)>,
}

impl Bounds {
    fn add(&mut self, key: &str, value: Scalar, at: &str) -> Result<(), RecordsError> {
        let side = if key.starts_with('g') { &mut self.low } else { &mut self.high };
        match side.replace((value, key.ends_with('e'))) {
            Some(_) => wrong(at, "a side has one bound: gt or gte, lt or lte"),
            None => Ok(()),
        }
    }

    /// What lies between them; `None` where there is none.
    fn condition(self, pointer: &str) -> Result<Option<Condition>, RecordsError> {
        let is_text = |side: &Option<(Scalar, bool)>| matches!(side, Some((Scalar::Text(_), _)));
        if self.low.is_none() && self.high.is_none() {
            return Ok(None);
        }
        let texts = (is_text(&self.low), is_text(&self.high));
        if self.low.is_some() && self.high.is_some() && texts.0 != texts.1 {
            return wrong(pointer, "both bounds are numbers, or both are strings");
        }
        fn side<T>(side: Option<(Scalar, bool)>, read: impl Fn(Scalar) -> Option<T>) -> Bound<T> {
            match side.and_then(|(value, is_included)| Some((read(value)?, is_included))) {
                Some((value, true)) => Bound::Included(value),
                Some((value, false)) => Bound::Excluded(value),
                None => Bound::Unbounded,
            }
        }
        Ok(Some(if texts.0 || texts.1 {
            let text = |value| if let Scalar::Text(text) = value { Some(text) } else { None };
            Condition::Strings(side(self.low, text), side(self.high, text))
        } else {
            let number = |value| if let Scalar::Number(n) = value { Some(n) } else { None };
            Condition::Numbers(side(self.low, number), side(self.high, number))
        }))
    }
}

/// Reads what a field's values are held against.
fn scalar(value: &Value, holds: Holds, at: &str) -> Result<Scalar, RecordsError> {
    match (value, holds) {
        (Value::String(text), Holds::Time) => match time_millis(text) {
            Some(time) => Ok(Scalar::Number(time.into())),
            None => {
                wrong(at, format!("{text:?} is not a time such as 2024-05-20T00:44:00Z, of the years 0000 to 9999"))
            }
        },
        (Value::String(text), Holds::Text | Holds::Any) => Ok(Scalar::Text(text.clone())),
        (Value::Number(n), Holds::Number | Holds::Time | Holds::Any) => Ok(Scalar::Number(n.into())),
        (Value::Bool(b), Holds::Any) => Ok(Scalar::Bool(*b)),
        (Value::Null, _) => wrong(at, "null has no order, and is in no list: {\"eq\": null} finds what has no value"),
        (Value::Array(_), _) => {
            wrong(at, "a list is met by each of its elements: ask for one of them, or by \"in\" for any of several")
        }
        (Value::Object(_), _) => wrong(at, "an object is asked for by its fields: metadata.NAME.FIELD"),
        (_, Holds::Text) => wrong(at, "the field holds text: a string is wanted"),
        (_, Holds::Number) => wrong(at, "the field holds numbers: a number is wanted"),
        (_, Holds::Time) => wrong(at, "the field holds times: one such as 2024-05-20T00:44:00Z is wanted"),
    }
}

/// Reads a bound.
fn bound(value: &Value, holds: Holds, at: &str) -> Result<Scalar, RecordsError> {
    match scalar(value, holds, at)? {
        Scalar::Bool(_) => wrong(at, "true and false have no order: a number or a string is wanted"),
        value => Ok(value),
    }
}
