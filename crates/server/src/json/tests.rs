use super::*;
use membox_api::{
    AddMemories, AppendRequest, ChunkRequest, CollectionSettings, ConsolidateRequest, ForgetRequest, MessagePatch,
    NewCheckpoint, NewRecord, QuotaSettings, RecallRequest, RecordPatch, SessionSettings, UpdateRequest, UsageReport,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::fmt::Debug;

fn plain<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, (String, String)> {
    read(text, Numbers::Plain).map_err(|fault| (fault.pointer, fault.error.to_string()))
}

/// What a type reads, shown: not all of them can be compared.
fn shown<T: de::DeserializeOwned + Debug>(body: &Value) -> Result<String, (String, String)> {
    plain::<T>(&body.to_string()).map(|value| format!("{value:?}"))
}

/// The fields of a type, which it names when it refuses one.
fn fields<T: de::DeserializeOwned + Debug>() -> Vec<String> {
    let (_, refusal) = shown::<T>(&json!({"?": 1})).expect_err("a field that it does not know");
    let names: Vec<String> = refusal.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    assert_eq!(names[0], "?", "{refusal}");
    names[1..].to_vec()
}

/// A field that is null is as if it were not there.
fn takes_null<T: de::DeserializeOwned + Debug>(least: Value) {
    let of = std::any::type_name::<T>();
    let without = shown::<T>(&least).unwrap_or_else(|error| panic!("{of}: {error:?}"));
    for field in fields::<T>() {
        let mut body = least.clone();
        if body.get(&field).is_none() {
            body[&field] = Value::Null;
            assert_eq!(shown::<T>(&body), Ok(without.clone()), "{of}: {field} is null");
        }
    }
    // Nor is a list of its values the same thing, and null is no value for what must be there.
    let values: Vec<Value> = least.as_object().expect("an object").values().cloned().collect();
    for list in [json!(values), json!([]), json!([null, null])] {
        assert!(shown::<T>(&list).is_err(), "{of} is read from {list}");
    }
    for field in least.as_object().expect("an object").keys() {
        let mut body = least.clone();
        body[field] = Value::Null;
        let read = shown::<T>(&body);
        assert!(read.is_err() || field == "state", "{of}: {field} must be there, {read:?}");
    }
}

#[test]
fn null_is_absent_in_every_type_of_a_body() {
    takes_null::<NewRecord>(json!({}));
    takes_null::<RecallRequest>(json!({}));
    takes_null::<CollectionSettings>(json!({}));
    takes_null::<AppendRequest>(json!({"messages": []}));
    takes_null::<membox_api::NewMessage>(json!({"role": "user"}));
    takes_null::<SessionSettings>(json!({}));
    takes_null::<MessagePatch>(json!({}));
    takes_null::<NewCheckpoint>(json!({"state": 1}));
    takes_null::<AddMemories>(json!({"session": "s"}));
    takes_null::<ChunkRequest>(json!({"text": "x"}));
    takes_null::<ForgetRequest>(json!({"keep": 1}));
    takes_null::<ConsolidateRequest>(json!({}));
    takes_null::<UpdateRequest>(json!({}));
    takes_null::<UsageReport>(json!({"user": "u", "tokens": 1}));
    takes_null::<QuotaSettings>(json!({}));
    takes_null::<membox_api::CompressOptions>(json!({}));
    takes_null::<membox_api::JsonRule>(json!({}));
}

#[test]
fn null_is_absent_within_a_body_too_and_what_is_kept_is_kept_as_it_is() {
    let body = r#"{"query": "x", "k" : null , "rerank": {"mmr_lambda": null}, "effort": {"exact": null, "ef_search": 7},
        "context": {"before": null}, "budget": {"tokens": 5, "compress": null}, "fusion": {"method": "rrf",
            "constant": null},
        "filter": {"field": "a", "eq": null}, "include": null}"#;
    let request: RecallRequest = plain(body).expect("a request");
    assert_eq!(
        (request.k, request.include.len(), request.effort.and_then(|effort| effort.ef_search)),
        (10, 3, Some(7))
    );
    assert_eq!(request.filter, Some(json!({"field": "a", "eq": null})), "what is null in a filter is for the filter");
    let record: NewRecord =
        plain(r#"{"text": "null", "metadata": {"a": null, "text": null, "b": {"id": null}}}"#).expect("a record");
    assert_eq!(Value::Object(record.metadata), json!({"a": null, "text": null, "b": {"id": null}}));
    let patch: RecordPatch = plain(r#"{"expires_at": null, "text": null}"#).expect("a patch");
    assert!(patch.expires_at == Some(None) && patch.importance.is_none() && patch.text.is_none(), "{patch:?}");
    let checkpoint: NewCheckpoint = plain(r#"{"state": null, "metadata": null}"#).expect("a checkpoint");
    assert!(checkpoint.state.is_null() && checkpoint.metadata.is_empty());
}

#[test]
fn what_is_wrong_is_refused_where_it_is() {
    let refused = |text| plain::<AppendRequest>(text).expect_err("a fault").0;
    for (text, pointer) in [
        (r#"[[{"role": "user"}]]"#, ""),
        (r#"{"messages": [["user", "hello"]]}"#, "/messages/0"),
        (r#"{"messages": [{"role": "user", "colour": null}]}"#, "/messages/0/colour"),
        (r#"{"messages": [{"role": "user", "content": "a", "content": "b"}]}"#, "/messages/0/content"),
        (r#"{"messages": [{"role": "user", "content": null, "content": "b"}]}"#, "/messages/0/content"),
        (r#"{"messages": [{"role": "user", "metadata": {"a": {"x": 1, "\u0078": 2}}}]}"#, "/messages/0/metadata/a/x"),
        (r#"{"messages": [{"role": "user"}, {"role": 7}]}"#, "/messages/1/role"),
        (r#"{"messages": [{"role": "user", "media": ["", 1.0, "en"]}]}"#, "/messages/0/media"),
        (r#"{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}"#, "/messages/0/content/0/type"),
        (r#"{"messages": [], "max_messages": "5"}"#, "/max_messages"),
        (r#"{"messages": [], "max_messages": 5.5}"#, "/max_messages"),
        (r#"{"messages": [], "a/b~": 1}"#, "/a~1b~0"),
    ] {
        assert_eq!(refused(text), pointer, "{text}");
    }
    let many: Vec<String> = (0..40).map(|i| format!("\"k{}\": 1", i % 39)).collect();
    assert_eq!(plain::<Value>(&format!("{{{}}}", many.join(","))).expect_err("a fault").0, "/k0");
    assert!(plain::<Value>("{} {}").is_err() && plain::<Value>("{\"a\": nul}").is_err());
}

#[test]
fn whole_numbers_may_be_written_as_models_write_them() {
    let k = |k: &str, numbers| read::<RecallRequest>(&format!("{{\"k\": {k}}}"), numbers).map(|r| r.k).ok();
    for (written, both, from_model) in [
        ("5", Some(5), Some(5)),
        ("5.0", Some(5), Some(5)),
        ("5e2", Some(500), Some(500)),
        ("\"5\"", None, Some(5)),
        ("\" 5.0\"", None, Some(5)),
        ("5.5", None, None),
        ("-5.0", None, None),
        ("1e300", None, None),
        ("\"five\"", None, None),
        ("\"null\"", None, None),
        ("true", None, None),
    ] {
        assert_eq!((k(written, Numbers::Plain), k(written, Numbers::AlsoTexts)), (both, from_model), "{written}");
    }
    let loose = r#"{"importance": "0.5", "text": "7", "metadata": {"n": "7"}, "vector": [1, 2.0]}"#;
    let record: NewRecord = read(loose, Numbers::AlsoTexts).expect("a record");
    assert_eq!((record.importance, record.text.as_str(), &record.metadata["n"]), (Some(0.5), "7", &json!("7")));
    let request: ConsolidateRequest = read(r#"{"dry_run": "True"}"#, Numbers::AlsoTexts).expect("a request");
    assert!(request.dry_run);
}

/// Any JSON, of a depth and size that is worth trying.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| serde_json::Number::from_f64(number).map_or(Value::Null, Value::Number)),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(".{0,4}", inner, 0..20)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_kept_is_what_was_sent(value in any_json(), indented in any::<bool>()) {
        let print = if indented { serde_json::to_string_pretty } else { serde_json::to_string };
            let text = print(&value).expect("JSON");
        prop_assert_eq!(plain::<Value>(&text), Ok(value.clone()));
        prop_assert_eq!(read::<Value>(&text, Numbers::AlsoTexts).ok(), Some(value.clone()));
        let body = format!("{{\"writes\":{text},\"state\":{text}}}");
        let both: std::collections::BTreeMap<String, Value> = plain(&body).expect("a map");
        prop_assert!(both["writes"] == value && both["state"] == value);
        let checkpoint: NewCheckpoint = plain(&format!("{{\"state\" : {text}}}")).expect("a checkpoint");
        prop_assert_eq!(checkpoint.state, value);
    }

    #[test]
    fn nulls_anywhere_among_the_fields_change_nothing(mask in any::<u32>(), at in any::<prop::sample::Index>(),
        gap in "[ \n\t]{0,3}") {
        let given = [("\"text\"", "\"a text\""), ("\"importance\"", "0.5"),
            ("\"metadata\"", "{\"a\": null}"), ("\"vector\"", "[1.5, -2]")];
        let without = format!("{{{}}}", given.map(|(key, value)| format!("{key}:{value}")).join(","));
        let mut members: Vec<String> = given.iter().map(|(key, value)| format!("{key}{gap}:{gap}{value}")).collect();
        for (bit, field) in fields::<NewRecord>().iter().enumerate() {
            let key = format!("\"{field}\"");
            if mask >> bit & 1 == 1 && given.iter().all(|(given, _)| *given != key) {
                members.insert(at.index(members.len() + 1), format!("{gap}{key}{gap}:{gap}null{gap}"));
            }
        }
        let text = format!("{{{gap}{}{gap}}}", members.join(","));
        let shown = |text: &str| plain::<NewRecord>(text).map(|record| format!("{record:?}"));
        prop_assert_eq!(shown(&text), shown(&without), "{}", text);
    }

    #[test]
    fn what_is_no_json_ends_in_an_error(text in ".{0,60}", body in any_json(), cut in any::<prop::sample::Index>()) {
        let _ = plain::<RecallRequest>(&text);
        let _ = plain::<AppendRequest>(&json!({"messages": body}).to_string());
        let whole = json!({"messages": [{"role": "user", "metadata": {"a": body}}]}).to_string();
        let cut = whole.floor_char_boundary(cut.index(whole.len()));
        prop_assert!(plain::<AppendRequest>(&whole[..cut]).is_err());
    }
}

/// What a value takes: what is allocated for it, with room that is not used.
fn taken(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.capacity() * size_of::<Value>() + values.iter().map(taken).sum::<usize>(),
        // Nodes of at most eleven members, which may be half empty.
        Value::Object(members) => {
            let nodes = members.len().div_ceil(5);
            let keys = members.keys().map(|key| key.capacity().next_multiple_of(16)).sum::<usize>();
            nodes * (11 * (size_of::<String>() + size_of::<Value>()) + 16)
                + keys
                + members.values().map(taken).sum::<usize>()
        }
        _ => 0,
    }
}

proptest! {
    /// It bounds what is allocated for values, whatever a document looks like.
    #[test]
    fn the_memory_of_values_is_known_before_they_are_read(value in any_value()) {
        let document = value.to_string();
        let read: Value = serde_json::from_str(&document).expect("JSON");
        let texts = document.len();
        prop_assert!(memory_bytes(document.as_bytes()) + texts >= taken(&read), "{document}");
    }
}

/// Long lists, large objects, and texts that look like either.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i32>().prop_map(Value::from),
        r#"[a-z"\\{}\[\],]{0,8}"#.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 200, 30, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..30).prop_map(Value::from),
            prop::collection::vec(any::<i32>(), 0..100).prop_map(Value::from),
            prop::collection::btree_map("[a-z\"]{0,3}", inner, 0..30)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

#[test]
fn the_longest_list_is_that_of_entries() {
    for (document, entries) in [
        (r#"{"records": [{"text": "a, [b", "tags": ["x", "y", "z"]}, {"text": "c"}], "ids": ["1"]}"#, 2),
        (r#"["a", ["b", "c", "d"], "e"]"#, 3),
        (r#"{"vector": [0.1, -2, 3e5, 4], "k": 3}"#, 0),
        (r#"{"input": [[1, 2, 3], [4]], "empty": []}"#, 2),
        (r#"{"filter": {"or": [{}, {}, {}]}, "queries": ["a", "b"]}"#, 2),
        (r#"{"broken": ["a", }}]] , ["#, 2),
        ("17", 0),
    ] {
        assert_eq!(longest_list(document.as_bytes()), entries, "{document}");
    }
}
