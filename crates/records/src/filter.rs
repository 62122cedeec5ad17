//! The filter language, and the sets of rows that its conditions allow.
//!
//! ```json
//! {"and": [{"field": "metadata.topic", "eq": "travel"},
//!          {"not": {"field": "created_at", "lt": "2024-01-01T00:00:00Z"}}]}
//! ```
//!
//! What each condition means for each kind of value stands in `docs/filters.md`.
//!
//! A [`FieldIndex`] keeps, for each value of each field, the set of rows that have it. It is derived from the records
//! and kept in memory in step with each commit, so a filter is as fresh and as exact as the records. A row's values
//! never change: a new version has a new row.

use crate::RecordsError;
use crate::number::Number;
use crate::record::Record;
use crate::row_set::{RowSet, union};
use crate::time::time_millis;
use roaring::RoaringBitmap;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
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

/// The modality of what is neither an image nor a recording.
const TEXT: &str = "text";

/// What a field can hold.
#[derive(Clone, Copy, PartialEq)]
enum Holds {
    Text,
    Number,
    Time,
    /// Metadata: anything.
    Any,
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
    Range(Bound<Number>, Bound<Number>),
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

fn parse(value: &Value, pointer: &str, depth: usize, left: &mut usize) -> Result<Filter, RecordsError> {
    if depth == 0 || *left == 0 {
        return wrong(pointer, format!("a filter has at most {MAX_CONDITIONS} conditions, {MAX_DEPTH} deep"));
    }
    *left -= 1;
    let Some(object) = value.as_object() else { return wrong(pointer, "a filter is an object") };
    let mut list = |key: &str| -> Result<Vec<Filter>, RecordsError> {
        let pointer = format!("{pointer}/{key}");
        let Some(parts) = object[key].as_array() else { return wrong(&pointer, "a list of filters is wanted") };
        parts.iter().enumerate().map(|(i, part)| parse(part, &format!("{pointer}/{i}"), depth - 1, left)).collect()
    };
    if object.contains_key("field") {
        return parse_condition(object, pointer);
    }
    match object.keys().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["and"] => Ok(Filter::And(list("and")?)),
        ["or"] => Ok(Filter::Or(list("or")?)),
        ["not"] => Ok(Filter::Not(Box::new(parse(&object["not"], &format!("{pointer}/not"), depth - 1, left)?))),
        _ => wrong(pointer, "a filter is {\"and\": […]}, {\"or\": […]}, {\"not\": {…}} or {\"field\": …, \"eq\": …}"),
    }
}

fn parse_condition(object: &Map<String, Value>, pointer: &str) -> Result<Filter, RecordsError> {
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
    let (mut low, mut high, mut condition) = (Bound::Unbounded, Bound::Unbounded, None);
    for key in object.keys().filter(|key| *key != "field") {
        let at = format!("{pointer}/{key}");
        let next = match key.as_str() {
            "eq" => Condition::In(vec![scalar(&object[key], holds, &at)?]),
            "in" => match object[key].as_array() {
                Some(values) => {
                    let each = values.iter().enumerate().map(|(i, value)| scalar(value, holds, &format!("{at}/{i}")));
                    Condition::In(each.collect::<Result<_, _>>()?)
                }
                None => return wrong(&at, "a list is wanted"),
            },
            "exists" => match object[key].as_bool() {
                Some(wanted) => Condition::Exists(wanted),
                None => return wrong(&at, "true or false is wanted"),
            },
            "gt" | "gte" | "lt" | "lte" => {
                let n = number(&object[key], holds, &at)?;
                let bound = if key.ends_with('e') { Bound::Included(n) } else { Bound::Excluded(n) };
                let side = if key.starts_with('g') { &mut low } else { &mut high };
                if std::mem::replace(side, bound) != Bound::Unbounded {
                    return wrong(&at, "a side has one bound: gt or gte, lt or lte");
                }
                continue;
            }
            _ => return wrong(&at, "a condition is eq, in, gt, gte, lt, lte or exists"),
        };
        if condition.replace(next).is_some() {
            return wrong(pointer, "eq, in and exists stand alone: join several by \"and\"");
        }
    }
    let has_range = (low, high) != (Bound::Unbounded, Bound::Unbounded);
    match (condition, has_range) {
        (Some(condition), false) => Ok(Filter::Field(field.to_owned(), condition)),
        (None, true) => Ok(Filter::Field(field.to_owned(), Condition::Range(low, high))),
        (Some(_), true) => wrong(pointer, "eq, in and exists stand alone: join several by \"and\""),
        (None, false) => wrong(pointer, "the condition is missing: eq, in, gt, gte, lt, lte or exists"),
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
        (Value::Null, _) => wrong(at, "null equals nothing: {\"exists\": false} finds what has no value"),
        (Value::Array(_), _) => {
            wrong(at, "a list is met by each of its elements: ask for one of them, or by \"in\" for any of several")
        }
        (Value::Object(_), _) => wrong(at, "an object is asked for by its fields: metadata.NAME.FIELD"),
        (_, Holds::Text) => wrong(at, "the field holds text: a string is wanted"),
        (_, Holds::Number) => wrong(at, "the field holds numbers: a number is wanted"),
        (_, Holds::Time) => wrong(at, "the field holds times: one such as 2024-05-20T00:44:00Z is wanted"),
    }
}

/// Reads what a field's numbers are held against.
fn number(value: &Value, holds: Holds, at: &str) -> Result<Number, RecordsError> {
    if holds == Holds::Text {
        return wrong(at, "the field holds text, which has no order: numbers and times have one");
    }
    match scalar(value, holds, at)? {
        Scalar::Number(n) => Ok(n),
        _ => wrong(at, "a number is wanted"),
    }
}

#[derive(Default)]
struct Values {
    any: RoaringBitmap,
    texts: HashMap<String, RowSet>,
    numbers: BTreeMap<Number, RowSet>,
    bools: [RoaringBitmap; 2],
}

/// For each value of each field, the rows that have it.
#[derive(Default)]
pub struct FieldIndex {
    fields: HashMap<String, Values>,
}

impl FieldIndex {
    /// Indexes the values of a record's version.
    pub fn insert(&mut self, row: u32, record: &Record) {
        let texts = [
            ("id", Some(record.id.as_str())),
            ("user", record.user.as_deref()),
            ("session", record.session.as_deref()),
            ("kind", record.kind.as_deref()),
            ("role", record.message.as_ref().map(|message| message.role.as_str())),
            ("modality", Some(record.message.as_ref().map_or(TEXT, |message| &message.kind))),
        ];
        for (field, text) in texts {
            if let Some(text) = text {
                self.insert_scalar(field, row, Some(Scalar::Text(text.to_owned())));
            }
        }
        self.insert_scalar("created_at", row, Some(Scalar::Number(record.created_at.into())));
        if let Some(importance) = record.importance {
            self.insert_scalar("importance", row, Some(Scalar::Number(importance.into())));
        }
        for (key, value) in &record.metadata {
            self.insert_value(&format!("metadata.{key}"), row, value);
        }
    }

    /// Records that a row's record has another id.
    pub fn rename(&mut self, row: u32, from: &str, to: &str) {
        if let Some(ids) = self.fields.get_mut("id")
            && ids.texts.get_mut(from).is_some_and(|rows| rows.remove(row))
        {
            ids.texts.remove(from);
        }
        self.insert_scalar("id", row, Some(Scalar::Text(to.to_owned())));
    }

    /// The same values of rows by other numbers, without those that get none.
    pub fn renumbered(&self, row: impl Fn(u32) -> Option<u32>) -> Self {
        let fields = self.fields.iter().map(|(field, values)| (field.clone(), values.renumbered(&row)));
        Self { fields: fields.filter(|(_, values)| !values.any.is_empty()).collect() }
    }

    fn insert_value(&mut self, field: &str, row: u32, value: &Value) {
        match value {
            Value::Null => {}
            Value::String(text) => self.insert_scalar(field, row, Some(Scalar::Text(text.clone()))),
            Value::Number(n) => self.insert_scalar(field, row, Some(Scalar::Number(n.into()))),
            Value::Bool(b) => self.insert_scalar(field, row, Some(Scalar::Bool(*b))),
            Value::Array(elements) => {
                self.insert_scalar(field, row, None);
                // What is in a list within a list is no value: nobody could say which element was meant.
                for element in elements.iter().filter(|element| !element.is_array()) {
                    self.insert_value(field, row, element);
                }
            }
            Value::Object(object) => {
                self.insert_scalar(field, row, None);
                for (key, value) in object {
                    self.insert_value(&format!("{field}.{key}"), row, value);
                }
            }
        }
    }

    /// Records that a row has a field, and a value of it.
    fn insert_scalar(&mut self, field: &str, row: u32, value: Option<Scalar>) {
        if !self.fields.contains_key(field) {
            self.fields.insert(field.to_owned(), Values::default());
        }
        let Some(values) = self.fields.get_mut(field) else { return };
        values.any.insert(row);
        match value {
            None => {}
            Some(Scalar::Text(text)) => values.texts.entry(text).or_insert(RowSet::One(row)).insert(row),
            Some(Scalar::Number(n)) => values.numbers.entry(n).or_insert(RowSet::One(row)).insert(row),
            Some(Scalar::Bool(b)) => {
                values.bools[usize::from(b)].insert(row);
            }
        }
    }

    /// The rows of `all` that a filter allows.
    pub fn allowed(&self, filter: &Filter, all: &RoaringBitmap) -> RoaringBitmap {
        match filter {
            Filter::And(parts) => parts
                .iter()
                .fold(all.clone(), |rows, part| if rows.is_empty() { rows } else { self.allowed(part, &rows) }),
            Filter::Or(parts) => parts.iter().fold(RoaringBitmap::new(), |rows, part| rows | self.allowed(part, all)),
            Filter::Not(part) => all - self.allowed(part, all),
            Filter::Field(field, condition) => match (self.fields.get(field), condition) {
                (None, Condition::Exists(false)) => all.clone(),
                (None, _) => RoaringBitmap::new(),
                (Some(values), condition) => values.rows(condition, all),
            },
        }
    }
}

impl Values {
    fn renumbered(&self, row: &impl Fn(u32) -> Option<u32>) -> Self {
        let of = |rows: &RoaringBitmap| rows.iter().filter_map(row).collect();
        // Ids alone are as many as records.
        let mut texts = HashMap::with_capacity(self.texts.len());
        for (text, rows) in &self.texts {
            if let Some(rows) = rows.renumbered(row) {
                texts.insert(text.clone(), rows);
            }
        }
        let numbers = self.numbers.iter().filter_map(|(&number, rows)| Some((number, rows.renumbered(row)?)));
        Self { any: of(&self.any), texts, numbers: numbers.collect(), bools: [of(&self.bools[0]), of(&self.bools[1])] }
    }

    fn rows(&self, condition: &Condition, all: &RoaringBitmap) -> RoaringBitmap {
        let highest = self.any.max().unwrap_or(0);
        match condition {
            Condition::Exists(true) => all & &self.any,
            Condition::Exists(false) => all - &self.any,
            Condition::In(wanted) => {
                let sets = wanted.iter().filter_map(|value| match value {
                    Scalar::Text(text) => self.texts.get(text),
                    Scalar::Number(n) => self.numbers.get(n),
                    Scalar::Bool(_) => None,
                });
                let mut rows = match sets.collect::<Vec<_>>().as_slice() {
                    [RowSet::One(row)] => std::iter::once(*row).collect(),
                    [RowSet::Many(rows)] => (**rows).clone(),
                    sets => union(sets.iter().copied(), highest),
                };
                for value in wanted {
                    if let Scalar::Bool(b) = value {
                        rows |= &self.bools[usize::from(*b)];
                    }
                }
                rows & all
            }
            Condition::Range(low, high) => {
                if !is_ordered(*low, *high) {
                    return RoaringBitmap::new();
                }
                union(self.numbers.range((*low, *high)).map(|(_, rows)| rows), highest) & all
            }
        }
    }
}

/// Whether a range holds anything: `BTreeMap::range` panics where it does not.
fn is_ordered(low: Bound<Number>, high: Bound<Number>) -> bool {
    match (low, high) {
        (Bound::Included(a), Bound::Included(b)) => a <= b,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => a < b,
        _ => true,
    }
}
