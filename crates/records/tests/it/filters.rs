//! Filters mean what a plain reading of the records means.

use membox_records::{FieldIndex, Filter, Record};
use proptest::prelude::*;
use roaring::RoaringBitmap;
use serde_json::{Value, json};
use std::collections::HashMap;

fn record(id: u32, metadata: Value) -> Record {
    Record {
        id: id.to_string(),
        text: String::new(),
        metadata: metadata.as_object().cloned().unwrap_or_default(),
        created_at: 1_700_000_000_000 + i64::from(id) * 86_400_000,
        expires_at: None,
        importance: None,
        user: Some(format!("u{}", id % 2)),
        session: None,
        kind: None,
        ..Record::default()
    }
}

fn filter(value: Value) -> Filter {
    Filter::parse(&value, "/filter").expect("a filter")
}

#[test]
fn filters_allow_what_they_say() {
    let mut index = FieldIndex::default();
    let metadata = [
        json!({"topic": "travel", "stars": 5, "tags": ["a", "b"], "done": true}),
        json!({"topic": "food", "stars": 2.5, "tags": ["b"], "deep": {"er": "x"}}),
        json!({"stars": -0.0}),
    ];
    for (row, m) in metadata.iter().enumerate() {
        index.insert(row as u32, &record(row as u32, m.clone()));
    }
    let all: RoaringBitmap = (0..3).collect();
    let rows = |value| index.allowed(&filter(value), &all).into_iter().collect::<Vec<u32>>();
    assert_eq!(rows(json!({"field": "metadata.topic", "eq": "travel"})), [0]);
    assert_eq!(rows(json!({"field": "metadata.tags", "in": ["a", "z"]})), [0]);
    assert_eq!(rows(json!({"field": "metadata.stars", "gt": 2, "lte": 5})), [0, 1]);
    assert_eq!(rows(json!({"field": "metadata.stars", "eq": 0})), [2]);
    assert_eq!(rows(json!({"field": "metadata.done", "eq": true})), [0]);
    assert_eq!(rows(json!({"field": "metadata.deep.er", "exists": true})), [1]);
    assert_eq!(rows(json!({"field": "metadata.topic", "exists": false})), [2]);
    assert_eq!(rows(json!({"not": {"field": "user", "eq": "u0"}})), [1]);
    assert_eq!(rows(json!({"and": []})), [0, 1, 2]);
    assert_eq!(rows(json!({"or": []})), Vec::<u32>::new());
    assert_eq!(rows(json!({"field": "created_at", "gte": "2023-11-15T00:00:00Z"})), [1, 2]);
    assert_eq!(rows(json!({"field": "metadata.stars", "gt": 5, "lt": 1})), Vec::<u32>::new());
    assert_eq!(rows(json!({"field": "metadata.none", "exists": false})), [0, 1, 2]);
}

#[test]
fn a_bad_filter_names_the_place() {
    let place = |value: Value| match Filter::parse(&value, "/filter") {
        Err(membox_records::RecordsError::Filter { pointer, .. }) => pointer,
        other => panic!("{value} gave {other:?}"),
    };
    assert_eq!(place(json!([])), "/filter");
    assert_eq!(place(json!({"and": [{"or": [1]}]})), "/filter/and/0/or/0");
    assert_eq!(place(json!({"field": "metadata.x", "like": 1})), "/filter/like");
    assert_eq!(place(json!({"field": "colour", "eq": 1})), "/filter/field");
    assert_eq!(place(json!({"field": "created_at", "gt": "yesterday"})), "/filter/gt");
    assert_eq!(place(json!({"field": "user"})), "/filter");
    let deep = (0..100).fold(json!({"field": "user", "eq": "a"}), |inner, _| json!({"not": inner}));
    assert!(place(deep).starts_with("/filter/not"));
    // Each of its values is looked for by itself.
    let all = |values: u32| json!({"field": "metadata.tags", "all": (0..values).collect::<Vec<u32>>()});
    assert_eq!(place(all(1000)), "/filter/all");
    assert_eq!(place(json!({"and": [all(600), all(600)]})), "/filter/and/1/all");
    assert!(Filter::parse(&all(900), "/filter").is_ok());
}

proptest! {
    #[test]
    fn a_filter_is_its_plain_reading(
        topics in prop::collection::vec(0u8..4, 1..40), a in 0u8..4, b in 0u8..4, low in 0u8..4,
    ) {
        let mut index = FieldIndex::default();
        let all: RoaringBitmap = (0..topics.len() as u32).collect();
        let mut values = HashMap::new();
        for (row, &topic) in topics.iter().enumerate() {
            index.insert(row as u32, &record(row as u32, json!({"t": topic.to_string(), "n": topic})));
            values.insert(row as u32, topic);
        }
        let f = filter(json!({"or": [{"and": [{"field": "metadata.t", "in": [a.to_string(), b.to_string()]},
            {"field": "metadata.n", "gte": low}]},
            {"not": {"field": "metadata.n", "lt": 3}}]}));
        let is_wanted = |topic: u8| ((topic == a || topic == b) && topic >= low) || topic >= 3;
        let want: RoaringBitmap = all.iter().filter(|row| is_wanted(values[row])).collect();
        prop_assert_eq!(&index.allowed(&f, &all), &want);
        // As a compaction does: rows that died are gone, and the others follow each other.
        let live: Vec<u32> = all.iter().filter(|row| row % 3 != 1).collect();
        let number = |row: u32| live.iter().position(|&old| old == row).map(|new| new as u32);
        let renumbered = index.renumbered(number).allowed(&f, &(0..live.len() as u32).collect());
        prop_assert_eq!(renumbered, want.iter().filter_map(number).collect::<RoaringBitmap>());
    }
}
