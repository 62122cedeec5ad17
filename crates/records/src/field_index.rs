//! For each value of each field, the rows that have it: what a [`Filter`] is answered from.
//!
//! It is derived from the records and kept in memory in step with each commit, so a filter is as fresh and as exact as
//! the records. A row's values never change: a new version has a new row.

use crate::filter::{Condition, Filter, Scalar, folded};
use crate::number::Number;
use crate::record::Record;
use crate::row_set::{RowSet, union};
use roaring::RoaringBitmap;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::ops::{Bound, RangeBounds};

/// The modality of what is neither an image nor a recording.
const TEXT: &str = "text";

#[derive(Default)]
struct Values {
    any: RoaringBitmap,
    /// Those whose value is a list of nothing.
    empty_lists: RoaringBitmap,
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
                if let Some(values) = self.fields.get_mut(field).filter(|_| elements.is_empty()) {
                    values.empty_lists.insert(row);
                }
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

    /// The values of a field, with how many rows of `all` have each: most first, and of as many in the order of the
    /// values.
    pub fn counts(&self, field: &str, all: &RoaringBitmap) -> Vec<(Scalar, u64)> {
        let Some(values) = self.fields.get(field) else { return Vec::new() };
        let mut counts: Vec<(Scalar, u64)> = values.in_order(all).collect();
        // Stable: the others stay in their order.
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }

    /// How many rows of `all` have a field.
    pub fn having(&self, field: &str, all: &RoaringBitmap) -> u64 {
        self.fields.get(field).map_or(0, |values| values.any.intersection_len(all))
    }

    /// The rows of `all` in the order of the values of a field: numbers before texts before truth values, and of one
    /// value in the order of their writing. A row of several values stands where the first one that is met has it, and
    /// those without any come last, whichever way.
    pub fn ordered(&self, field: &str, is_descending: bool, all: &RoaringBitmap) -> Vec<u32> {
        let mut left = all.clone();
        let mut ordered = Vec::with_capacity(all.len() as usize);
        let mut take = |rows: &RowSet| {
            rows.each(|row| {
                if left.remove(row) {
                    ordered.push(row);
                }
            });
        };
        if let Some(values) = self.fields.get(field) {
            let bools = values.bools.each_ref().map(|rows| RowSet::Many(Box::new(rows.clone())));
            let mut texts: Vec<(&String, &RowSet)> = values.texts.iter().collect();
            texts.sort_unstable_by_key(|(text, _)| *text);
            let all = values.numbers.values().chain(texts.into_iter().map(|(_, rows)| rows)).chain(&bools);
            if is_descending {
                all.collect::<Vec<_>>().into_iter().rev().for_each(&mut take);
            } else {
                all.for_each(&mut take);
            }
        }
        ordered.extend(left);
        ordered
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
        let (any, empty_lists, bools) = (of(&self.any), of(&self.empty_lists), self.bools.each_ref().map(of));
        Self { any, empty_lists, texts, numbers: numbers.collect(), bools }
    }

    /// The values that rows of `all` have, in their order, with how many have each.
    fn in_order<'a>(&'a self, all: &'a RoaringBitmap) -> impl Iterator<Item = (Scalar, u64)> + 'a {
        let mut texts: Vec<(&String, u64)> =
            self.texts.iter().map(|(text, rows)| (text, rows.count_in(all))).filter(|(_, count)| *count > 0).collect();
        texts.sort_unstable();
        let numbers = self.numbers.iter().map(|(number, rows)| (Scalar::Number(*number), rows.count_in(all)));
        let texts = texts.into_iter().map(|(text, count)| (Scalar::Text(text.clone()), count));
        let bools = [false, true].map(|b| (Scalar::Bool(b), self.bools[usize::from(b)].intersection_len(all)));
        numbers.chain(texts).chain(bools).filter(|(_, count)| *count > 0)
    }

    /// The rows of all strings that meet a condition. It looks at each string once, of whatever many rows it is.
    fn rows_of_texts(&self, is_met: impl Fn(&str) -> bool) -> RoaringBitmap {
        let met = self.texts.iter().filter(|(text, _)| is_met(text)).map(|(_, rows)| rows);
        union(met, self.any.max().unwrap_or(0))
    }

    fn rows(&self, condition: &Condition, all: &RoaringBitmap) -> RoaringBitmap {
        let highest = self.any.max().unwrap_or(0);
        match condition {
            Condition::Exists(true) => all & &self.any,
            Condition::Exists(false) => all - &self.any,
            Condition::EmptyList => all & &self.empty_lists,
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
            Condition::Numbers(low, high) => {
                if !is_ordered(*low, *high) {
                    return RoaringBitmap::new();
                }
                union(self.numbers.range((*low, *high)).map(|(_, rows)| rows), highest) & all
            }
            Condition::Strings(low, high) => {
                let range = (low.as_ref().map(String::as_str), high.as_ref().map(String::as_str));
                self.rows_of_texts(|text| RangeBounds::<str>::contains(&range, text)) & all
            }
            Condition::Prefix(prefix) => self.rows_of_texts(|text| text.starts_with(prefix.as_str())) & all,
            Condition::Contains(part) => self.rows_of_texts(|text| text.contains(part.as_str())) & all,
            Condition::ContainsFolded(part) => self.rows_of_texts(|text| folded(text).contains(part.as_str())) & all,
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
