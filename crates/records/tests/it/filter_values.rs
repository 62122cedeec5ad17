//! What each operator means for each kind of value: the table of `docs/filters.md`, a test a cell; and that numbers
//! are compared as what they are.

use membox_records::{FieldIndex, Filter, Record, RecordsError};
use proptest::prelude::*;
use roaring::RoaringBitmap;
use serde_json::{Value, json};
use std::cmp::Ordering;

fn record(metadata: Value) -> Record {
    Record {
        id: "a".to_owned(),
        text: String::new(),
        metadata: metadata.as_object().cloned().unwrap_or_default(),
        created_at: 1_716_165_840_000,
        expires_at: None,
        importance: Some(0.5),
        user: Some("lena".to_owned()),
        session: None,
        kind: None,
        ..Record::default()
    }
}

/// Which of some records a filter allows, asked together and one by one.
fn allowed(filter: &Value, records: &[Record]) -> Vec<usize> {
    let filter = Filter::parse(filter, "/filter").expect("a filter");
    let mut index = FieldIndex::default();
    records.iter().enumerate().for_each(|(row, record)| index.insert(row as u32, record));
    let together = index.allowed(&filter, &(0..records.len() as u32).collect::<RoaringBitmap>());
    let together: Vec<usize> = together.iter().map(|row| row as usize).collect();
    let alone: Vec<usize> = (0..records.len()).filter(|&row| filter.allows(&records[row])).collect();
    assert_eq!(together, alone, "{filter:?}");
    together
}

#[test]
fn every_operator_means_what_the_table_says_for_every_kind_of_value() {
    let kinds = [
        ("missing", json!({})),
        ("null", json!({"x": null})),
        ("string", json!({"x": "7"})),
        ("number", json!({"x": 7})),
        ("decimal", json!({"x": 7.0})),
        ("true", json!({"x": true})),
        ("false", json!({"x": false})),
        ("strings", json!({"x": ["7", "b", "ΣΟΦΟΣ", "Straße"]})),
        ("numbers", json!({"x": [1, 7, 9.5]})),
        ("bools", json!({"x": [true, false]})),
        ("mixed", json!({"x": [null, "7", 7, true]})),
        ("objects", json!({"x": [{"k": 7}, {"k": "7"}]})),
        ("object", json!({"x": {"k": 7}})),
        ("lists", json!({"x": [[7], ["7"], [{"k": 7}]]})),
        ("empty list", json!({"x": []})),
        ("empty object", json!({"x": {}})),
        ("nulls", json!({"x": [null]})),
    ];
    let names = kinds.each_ref().map(|kind| kind.0);
    let there = &names[2..];
    let cells: Vec<(&str, Value, Vec<&str>)> = vec![
        ("x", json!({"eq": "7"}), vec!["string", "strings", "mixed"]),
        ("x", json!({"eq": 7}), vec!["number", "decimal", "numbers", "mixed"]),
        ("x", json!({"eq": 7.0}), vec!["number", "decimal", "numbers", "mixed"]),
        ("x", json!({"eq": 1}), vec!["numbers"]),
        ("x", json!({"eq": true}), vec!["true", "bools", "mixed"]),
        ("x", json!({"eq": false}), vec!["false", "bools"]),
        ("x", json!({"in": ["b", 9.5, false]}), vec!["false", "strings", "numbers", "bools"]),
        ("x", json!({"in": ["7"]}), vec!["string", "strings", "mixed"]),
        ("x", json!({"in": []}), vec![]),
        ("x", json!({"gt": 7}), vec!["numbers"]),
        ("x", json!({"gt": 6.5}), vec!["number", "decimal", "numbers", "mixed"]),
        ("x", json!({"gte": 7}), vec!["number", "decimal", "numbers", "mixed"]),
        ("x", json!({"lt": 7}), vec!["numbers"]),
        ("x", json!({"lte": 7}), vec!["number", "decimal", "numbers", "mixed"]),
        // One element is to lie between: 1 and 9.5 do not together.
        ("x", json!({"gt": 1, "lt": 9.5}), vec!["number", "decimal", "numbers", "mixed"]),
        ("x", json!({"gt": 7, "lt": 9.5}), vec![]),
        ("x", json!({"gt": 9, "lt": 2}), vec![]),
        ("x", json!({"gt": "6"}), vec!["string", "strings", "mixed"]),
        ("x", json!({"gte": "7", "lt": "b"}), vec!["string", "strings", "mixed"]),
        ("x", json!({"gt": "7"}), vec!["strings"]),
        ("x", json!({"gt": "b", "lt": "7"}), vec![]),
        ("x", json!({"prefix": "7"}), vec!["string", "strings", "mixed"]),
        ("x", json!({"prefix": "77"}), vec![]),
        ("x", json!({"contains": "b"}), vec!["strings"]),
        ("x", json!({"contains": "B"}), vec![]),
        ("x", json!({"icontains": "B"}), vec!["strings"]),
        ("x", json!({"icontains": "7"}), vec!["string", "strings", "mixed"]),
        ("x", json!({"icontains": "σοφος"}), vec!["strings"]),
        ("x", json!({"icontains": "STRASS"}), vec!["strings"]),
        ("x", json!({"icontains": "77"}), vec![]),
        ("x", json!({"eq": []}), vec!["empty list"]),
        ("x", json!({"all": ["7", "b"]}), vec!["strings"]),
        ("x", json!({"all": ["7", 7, true]}), vec!["mixed"]),
        ("x", json!({"all": [7]}), vec!["number", "decimal", "numbers", "mixed"]),
        ("x", json!({"all": []}), names.to_vec()),
        ("x", json!({"eq": null}), vec!["missing", "null"]),
        ("x", json!({"in": [null, 9.5]}), vec!["missing", "null", "numbers"]),
        ("x", json!({"exists": true}), there.to_vec()),
        ("x", json!({"exists": false}), vec!["missing", "null"]),
        ("x.k", json!({"eq": 7}), vec!["objects", "object"]),
        ("x.k", json!({"eq": "7"}), vec!["objects"]),
        ("x.k", json!({"gte": 7}), vec!["objects", "object"]),
        ("x.k", json!({"exists": true}), vec!["objects", "object"]),
        ("x.z", json!({"exists": true}), vec![]),
    ];
    let records = kinds.map(|(_, metadata)| record(metadata));
    for (name, condition, wanted) in cells {
        let mut filter = json!({"field": format!("metadata.{name}")});
        filter.as_object_mut().expect("an object").extend(condition.as_object().expect("an object").clone());
        let found = |filter: &Value| allowed(filter, &records).into_iter().map(|row| names[row]).collect::<Vec<_>>();
        assert_eq!(found(&filter), wanted, "{filter}");
        let others: Vec<&str> = names.into_iter().filter(|name| !wanted.contains(name)).collect();
        assert_eq!(found(&json!({"not": filter})), others, "not {filter}");
        for (operator, opposite) in [("eq", "ne"), ("in", "nin")] {
            if let Some(value) = condition.get(operator) {
                let filter = json!({"field": format!("metadata.{name}"), opposite: value});
                assert_eq!(found(&filter), others, "{filter}");
            }
        }
    }
}

#[test]
fn what_a_field_cannot_be_held_against_is_refused_by_its_place() {
    let refused = |filter: Value| match Filter::parse(&filter, "/filter") {
        Err(RecordsError::Filter { pointer, reason }) => (pointer, reason),
        other => panic!("{filter} gave {other:?}"),
    };
    let cases = [
        (json!({"field": "metadata.x", "gt": null}), "/filter/gt", "\"eq\": null"),
        (json!({"field": "metadata.x", "all": [1, null]}), "/filter/all/1", "\"eq\": null"),
        (json!({"field": "metadata.x", "nin": 7}), "/filter/nin", "a list"),
        (json!({"field": "metadata.x", "ne": [7]}), "/filter/ne", "\"in\""),
        (json!({"field": "metadata.x", "gt": 1, "lt": "b"}), "/filter", "both"),
        (json!({"field": "metadata.x", "ne": 1, "eq": 2}), "/filter", "stand alone"),
        (json!({"field": "metadata.x", "prefix": 7}), "/filter/prefix", "a string"),
        (json!({"field": "metadata.x", "contains": ""}), "/filter/contains", "one character"),
        (json!({"field": "metadata.x", "icontains": ""}), "/filter/icontains", "one character"),
        (json!({"field": "metadata.x", "in": [[]]}), "/filter/in/0", "\"in\""),
        (json!({"field": "user", "eq": []}), "/filter/eq", "\"in\""),
        (json!({"field": "created_at", "prefix": "2024"}), "/filter/prefix", "no text"),
        (json!({"field": "metadata.x", "eq": [7]}), "/filter/eq", "\"in\""),
        (json!({"field": "metadata.x", "in": [[7]]}), "/filter/in/0", "\"in\""),
        (json!({"field": "metadata.x", "in": 7}), "/filter/in", "a list"),
        (json!({"field": "metadata.x", "eq": {"k": 7}}), "/filter/eq", "metadata.NAME.FIELD"),
        (json!({"field": "metadata.x", "lte": true}), "/filter/lte", "a number"),
        (json!({"field": "metadata.x", "gt": 1, "gte": 2}), "/filter/gte", "one bound"),
        (json!({"field": "metadata.x", "lt": 1, "lte": 2}), "/filter/lte", "one bound"),
        (json!({"field": "metadata.x", "exists": 1}), "/filter/exists", "true or false"),
        (json!({"field": "metadata.x", "exists": null}), "/filter/exists", "true or false"),
        (json!({"field": "metadata."}), "/filter/field", "metadata.NAME"),
        (json!({"field": "user", "eq": 7}), "/filter/eq", "a string"),
        (json!({"field": "user", "in": ["lena", 7]}), "/filter/in/1", "a string"),
        (json!({"field": "user", "gt": 7}), "/filter/gt", "a string"),
        (json!({"field": "importance", "eq": "0.5"}), "/filter/eq", "a number"),
        (json!({"field": "importance", "lt": "0.5"}), "/filter/lt", "a number"),
        (json!({"field": "created_at", "eq": true}), "/filter/eq", "2024-05-20"),
        (json!({"field": "created_at", "gt": "yesterday"}), "/filter/gt", "2024-05-20"),
    ];
    for (filter, place, reason) in cases {
        let (pointer, said) = refused(filter.clone());
        assert!(pointer == place && said.contains(reason), "{filter}: {pointer}: {said}");
    }
    let fields = [
        (json!({"field": "user", "eq": "lena"}), true),
        (json!({"field": "session", "exists": false}), true),
        (json!({"field": "user", "gte": "le", "lt": "lf"}), true),
        (json!({"field": "user", "prefix": "le"}), true),
        (json!({"field": "user", "contains": "EN"}), false),
        (json!({"field": "user", "icontains": "EN"}), true),
        (json!({"field": "session", "ne": "s"}), true),
        (json!({"field": "importance", "eq": 0.5}), true),
        (json!({"field": "importance", "gt": 0.5}), false),
        (json!({"field": "created_at", "eq": "2024-05-20T00:44:00Z"}), true),
        (json!({"field": "created_at", "eq": 1_716_165_840_000i64}), true),
        (json!({"field": "created_at", "lt": 1_716_165_840_000.5}), true),
        (json!({"field": "created_at", "gt": "2024-05-20T00:44:00Z"}), false),
    ];
    for (filter, is_allowed) in fields {
        assert_eq!(allowed(&filter, &[record(json!({}))]).len(), usize::from(is_allowed), "{filter}");
    }
}

/// How two numbers of JSON compare: integers as `i128`, and with a decimal by its whole part and what is left.
fn compare(a: &Value, b: &Value) -> Ordering {
    let integer = |n: &Value| n.as_i64().map(i128::from).or(n.as_u64().map(i128::from));
    let parts = |n: &Value| match (integer(n), n.as_f64()) {
        (Some(whole), _) => (whole, 0.0),
        (None, Some(decimal)) => (decimal.floor() as i128, decimal - decimal.floor()),
        (None, None) => panic!("{n} is no number"),
    };
    if let (None, None) = (integer(a), integer(b)) {
        return a.as_f64().partial_cmp(&b.as_f64()).expect("numbers");
    }
    let ((a, a_rest), (b, b_rest)) = (parts(a), parts(b));
    a.cmp(&b).then(a_rest.partial_cmp(&b_rest).expect("numbers"))
}

/// Numbers that crowd where an `f64` cannot tell integers apart, and some of everywhere.
fn number() -> impl Strategy<Value = Value> {
    let edges = prop::sample::select(vec![0i128, 1 << 53, 1_768_907_725_507_217_522, 1 << 63, 1 << 64]);
    let near = (edges, -3i128..4, any::<bool>(), any::<bool>()).prop_map(|(edge, by, negative, decimal)| {
        let n = if negative { -(edge + by) } else { edge + by };
        match (i64::try_from(n), u64::try_from(n)) {
            (Ok(n), _) if !decimal => json!(n),
            (_, Ok(n)) if !decimal => json!(n),
            _ => json!(n as f64),
        }
    });
    let finite = any::<f64>().prop_filter("finite", |n| n.is_finite());
    prop_oneof![
        6 => near,
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => finite.prop_map(Value::from),
        1 => (-9i32..9).prop_map(|n| json!(f64::from(n) / 2.0)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn filters_find_what_an_exact_comparison_says(
        lists in prop::collection::vec(prop::collection::vec(number(), 1..3), 1..24),
        operands in prop::collection::vec(number(), 1..4),
        other in number(),
    ) {
        // A list of one is written as a plain number.
        let written = |list: &Vec<Value>| if list.len() == 1 { list[0].clone() } else { json!(list) };
        let records: Vec<Record> = lists.iter().map(|list| record(json!({"x": written(list)}))).collect();
        let n = &operands[0];
        let any = |meets: &dyn Fn(&Value) -> bool| -> Vec<usize> {
            (0..lists.len()).filter(|&row| lists[row].iter().any(meets)).collect()
        };
        let against = |meets: fn(Ordering) -> bool| any(&|value| meets(compare(value, n)));
        let found = |condition: Value| {
            let mut filter = json!({"field": "metadata.x"});
            filter.as_object_mut().expect("an object").extend(condition.as_object().expect("an object").clone());
            allowed(&filter, &records)
        };
        prop_assert_eq!(found(json!({"eq": n})), against(Ordering::is_eq));
        prop_assert_eq!(found(json!({"gt": n})), against(Ordering::is_gt));
        prop_assert_eq!(found(json!({"gte": n})), against(Ordering::is_ge));
        prop_assert_eq!(found(json!({"lt": n})), against(Ordering::is_lt));
        prop_assert_eq!(found(json!({"lte": n})), against(Ordering::is_le));
        let one_of = any(&|value| operands.iter().any(|operand| compare(value, operand).is_eq()));
        prop_assert_eq!(found(json!({"in": operands})), one_of);
        let between = any(&|value| compare(value, n).is_ge() && compare(value, &other).is_lt());
        prop_assert_eq!(found(json!({"gte": n, "lt": other})), between);
        let unequal: Vec<usize> = (0..lists.len()).filter(|row| !against(Ordering::is_eq).contains(row)).collect();
        let not = json!({"not": {"field": "metadata.x", "eq": n}});
        prop_assert_eq!(allowed(&not, &records), unequal);
    }
}
