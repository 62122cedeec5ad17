//! Numbers in JSON that is kept come back as the numbers that were written, or are refused by their field; filters
//! compare them as what they are.

use crate::common::{Server, data_with_model};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Numbers at the edges of what is held.
const HELD: [&str; 8] = [
    "18446744073709551615",
    "-9223372036854775808",
    "9007199254740993",
    "-9007199254740993",
    "0.1",
    "-1.10",
    "1.7976931348623157e308",
    "5e-324",
];
/// Numbers that would be others once they were parsed.
const NOT_HELD: [&str; 6] = [
    "18446744073709551616",
    "-12345678901234567890123",
    "0.12345678901234567890123",
    "9007199254740993.0",
    "1e400",
    "1e-400",
];

/// A request that keeps a number, which stands as `$N` in its body, and where it is read again. `$I` is another one
/// each time.
struct Field {
    method: &'static str,
    path: &'static str,
    body: &'static str,
    /// Where the number is, in an error.
    pointer: &'static str,
    read: &'static str,
    at: &'static str,
}

const FIELDS: [Field; 15] = [
    Field {
        method: "POST",
        path: "/v1/collections/c/records",
        body: r#"{"records": [{"text": "one"},
            {"id": "a", "text": "two", "user": "lena", "metadata": {"n": [1, $N]}}]}"#,
        pointer: "/records/1/metadata/n/1",
        read: "/v1/collections/c/records/a",
        at: "/metadata/n/1",
    },
    Field {
        method: "PATCH",
        path: "/v1/collections/c/records/patched",
        body: r#"{"metadata": {"a/b": {"n": $N}}}"#,
        pointer: "/metadata/a~1b/n",
        read: "/v1/collections/c/records/patched",
        at: "/metadata/a~1b/n",
    },
    Field {
        method: "PUT",
        path: "/v1/sessions/s",
        body: r#"{"metadata": {"n": $N}}"#,
        pointer: "/metadata/n",
        read: "/v1/sessions/s",
        at: "/metadata/n",
    },
    Field {
        method: "POST",
        path: "/v1/sessions/s/messages",
        body: r#"{"messages": [{"id": "m$I", "role": "user", "content": "x", "metadata": {"n": $N}}]}"#,
        pointer: "/messages/0/metadata/n",
        read: "/v1/sessions/s/messages/m$I",
        at: "/metadata/n",
    },
    Field {
        method: "POST",
        path: "/v1/sessions/s/messages",
        body: r#"{"messages": [{"id": "t$I", "role": "assistant", "tool_calls":
            [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}, "n": $N}]}]}"#,
        pointer: "/messages/0/tool_calls/0/n",
        read: "/v1/sessions/s/messages/t$I",
        at: "/tool_calls/0/n",
    },
    Field {
        method: "PATCH",
        path: "/v1/sessions/s/messages/patched",
        body: r#"{"metadata": {"n": $N}}"#,
        pointer: "/metadata/n",
        read: "/v1/sessions/s/messages/patched",
        at: "/metadata/n",
    },
    Field {
        method: "PUT",
        path: "/v1/threads/t/checkpoints/1",
        body: r#"{"state": {"n": [$N]}}"#,
        pointer: "/state/n/0",
        read: "/v1/threads/t/checkpoints/1",
        at: "/state/n/0",
    },
    Field {
        method: "PUT",
        path: "/v1/threads/t/checkpoints/2",
        body: r#"{"state": $N, "metadata": {}}"#,
        pointer: "/state",
        read: "/v1/threads/t/checkpoints/2",
        at: "/state",
    },
    Field {
        method: "PUT",
        path: "/v1/threads/t/checkpoints/3",
        body: r#"{"state": {}, "metadata": {"n": $N}}"#,
        pointer: "/metadata/n",
        read: "/v1/threads/t/checkpoints/3",
        at: "/metadata/n",
    },
    Field {
        method: "PUT",
        path: "/v1/threads/t/checkpoints/written/writes/task",
        body: r#"{"writes": [["said", $N]]}"#,
        pointer: "/writes/0/1",
        read: "/v1/threads/t/checkpoints/written",
        at: "/writes/task/0/1",
    },
    Field {
        method: "POST",
        path: "/v1/sessions/q$I/queue",
        body: r#"{"items": [{"n": [{}, $N]}]}"#,
        pointer: "/items/0/n/1",
        read: "/v1/sessions/q$I/queue",
        at: "/items/0/payload/n/1",
    },
    Field {
        method: "PATCH",
        path: "/v1/users/lena/profile",
        body: r#"{"n": $N}"#,
        pointer: "/n",
        read: "/v1/users/lena/profile",
        at: "/fields/n",
    },
    Field {
        method: "POST",
        path: "/v1/memories",
        body: r#"{"session": "l", "messages": [{"id": "$I", "content": "I like owls.", "metadata": {"n": $N}}]}"#,
        pointer: "/messages/0/metadata/n",
        read: "/v1/sessions/l/messages/$I",
        at: "/metadata/n",
    },
    // Nothing is kept here: what is not compressed is handed back.
    Field {
        method: "POST",
        path: "/v1/compress",
        body: r#"{"messages": [{"role": "user", "content": "We ship on Friday.", "tool_calls": [{"n": $N}]}]}"#,
        pointer: "/messages/0/tool_calls/0/n",
        read: "",
        at: "/messages/0/tool_calls/0/n",
    },
    Field {
        method: "POST",
        path: "/v1/compress",
        body: r#"{"json_data": {"n": $N, "notes": "We ship on Friday."},
            "json_config": {"n": {"compress": false, "value_type": "number"}, "notes": {}}}"#,
        pointer: "/json_data/n",
        read: "",
        at: "/json_data/n",
    },
];

fn send(server: &Server, method: &str, path: &str, body: &str) -> (u16, Value) {
    let (status, _, text) = server.raw(method, path, &[("content-type", "application/json")], body.as_bytes().to_vec());
    (status, serde_json::from_str(&text).unwrap_or_default())
}

fn prepared(folder: &std::path::Path) -> Server {
    let server = Server::start(&data_with_model(folder), &[]);
    for (method, path, body) in [
        ("PUT", "/v1/collections/c", "{}"),
        ("POST", "/v1/collections/c/records", r#"{"records": [{"id": "patched", "text": "one"}]}"#),
        ("POST", "/v1/sessions/s/messages", r#"{"messages": [{"id": "patched", "role": "user", "content": "x"}]}"#),
        ("PUT", "/v1/threads/t/checkpoints/written", r#"{"state": {}}"#),
    ] {
        assert!((200..300).contains(&send(&server, method, path, body).0), "{path}");
    }
    server
}

#[test]
fn numbers_in_what_is_kept_come_back_or_are_refused_by_their_field() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = prepared(folder.path());
    for Field { method, path, body, pointer, read, at } in FIELDS {
        for (i, number) in HELD.iter().chain(&NOT_HELD).enumerate() {
            let numbered = |text: &str| text.replace("$I", &i.to_string()).replace("$N", number);
            let body = numbered(body);
            let before = (!read.is_empty()).then(|| send(&server, "GET", &numbered(read), ""));
            let (status, answer) = send(&server, method, &numbered(path), &body);
            if NOT_HELD.contains(number) {
                assert_eq!((status, &answer["errors"][0]["pointer"]), (400, &json!(pointer)), "{body}: {answer}");
                assert!(answer["detail"].as_str().is_some_and(|said| said.contains("as a string")), "{answer}");
                // Nothing of it was kept.
                let after = (!read.is_empty()).then(|| send(&server, "GET", &numbered(read), ""));
                assert_eq!(before, after, "{body}");
                continue;
            }
            assert!((200..300).contains(&status), "{path} {body}: {status} {answer}");
            let answer = if read.is_empty() { answer } else { send(&server, "GET", &numbered(read), "").1 };
            let wanted: Value = serde_json::from_str(number).expect("a number");
            assert_eq!(answer.pointer(at), Some(&wanted), "{path} {body}: {answer}");
        }
    }
    // Nor is a number changed on its way out: the record has the last one that was taken, 5e-324.
    let (_, _, export) = server.raw("GET", "/v1/users/lena/export", &[], Vec::new());
    let record = export.lines().find(|line| line.contains("\"a\"")).expect("the record");
    assert!(record.contains("[1,5e-324]"), "{record}");
    server.stop();
}

#[test]
fn an_importance_is_exact_and_vectors_and_weights_are_rounded() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    assert_eq!(send(&server, "PUT", "/v1/collections/v", r#"{"dimension": 2}"#).0, 201);
    let record = |importance: &str, vector: &str| {
        let body = format!(r#"{{"records": [{{"id": "a", "vector": {vector}, "importance": {importance}}}]}}"#);
        send(&server, "POST", "/v1/collections/v/records", &body)
    };
    let (status, answer) = record("0.12345678901234567890123", "[1, 0]");
    assert_eq!((status, &answer["errors"][0]["pointer"]), (400, &json!("/records/0/importance")), "{answer}");
    assert_eq!(record("0.30000000000000004", "[0.12345678901234567890123, 1.10]").0, 200);
    let (_, stored) = send(&server, "GET", "/v1/collections/v/records/a", "");
    assert_eq!(stored["importance"].to_string(), "0.30000000000000004");
    let (status, found) = send(
        &server,
        "POST",
        "/v1/collections/v/recall",
        r#"{"vector": [0.12345678901234567890123, 1], "mode": "vector", "min_score": 0.10000000000000000001}"#,
    );
    assert_eq!((status, &found["hits"][0]["id"]), (200, &json!("a")), "{found}");
    server.stop();
}

#[test]
fn filters_tell_neighbours_apart_wherever_they_are_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    assert_eq!(send(&server, "PUT", "/v1/collections/c", "{}").0, 201);
    let first = 1_768_907_725_507_217_522_i64;
    let records: Vec<Value> = (0..4)
        .map(|i| {
            json!({"id": format!("r{i}"), "text": format!("note {i}"),
                "metadata": {"chat": first + i, "all": [0, first + i]}})
        })
        .collect();
    assert_eq!(server.call("POST", "/v1/collections/c/records", &json!({"records": records})).0, 200);
    let ids = |answer: &Value, list: &str| -> Vec<String> {
        answer[list].as_array().into_iter().flatten().map(|r| r["id"].as_str().expect("an id").to_owned()).collect()
    };
    let listed = |filter: &Value| {
        let filter: String = filter.to_string().bytes().map(|byte| format!("%{byte:02x}")).collect();
        ids(&server.call("GET", &format!("/v1/collections/c/records?filter={filter}"), &Value::Null).1, "records")
    };
    let recalled = |filter: &Value| {
        let found = server.call("POST", "/v1/collections/c/recall", &json!({"query": "note", "filter": filter})).1;
        let mut ids = ids(&found, "hits");
        ids.sort();
        ids
    };
    for (condition, wanted) in [
        (json!({"eq": first + 1}), vec!["r1"]),
        (json!({"in": [first, first + 2]}), vec!["r0", "r2"]),
        (json!({"gt": first, "lte": first + 2}), vec!["r1", "r2"]),
        (json!({"lt": first + 1}), vec!["r0"]),
    ] {
        for field in ["metadata.chat", "metadata.all"] {
            let mut filter = condition.clone();
            filter["field"] = json!(field);
            // Every list has a 0 as well.
            let wanted = if field == "metadata.all" && condition.get("lt").is_some() {
                vec!["r0", "r1", "r2", "r3"]
            } else {
                wanted.clone()
            };
            assert_eq!(listed(&filter), wanted, "{filter}");
            assert_eq!(recalled(&filter), wanted, "{filter}");
        }
    }
    // What is not held exactly meets nothing by chance: it is refused, by its place.
    let not_held = "1768907725507217522.5";
    for (path, pointer, body) in [
        (
            "/v1/collections/c/recall",
            "/filter/and/0/eq",
            r#"{"query": "x", "filter": {"and": [{"field": "metadata.chat", "eq": $N}]}}"#,
        ),
        (
            "/v1/collections/c/records:delete",
            "/filter/in/1",
            r#"{"filter": {"field": "metadata.chat", "in": [1, $N]}}"#,
        ),
        (
            "/v1/collections/c/forget",
            "/filter/not/gt",
            r#"{"keep": 0, "filter": {"not": {"field": "metadata.chat", "gt": $N}}}"#,
        ),
    ] {
        let (status, answer) = send(&server, "POST", path, &body.replace("$N", not_held));
        assert_eq!((status, &answer["errors"][0]["pointer"]), (400, &json!(pointer)), "{path}: {answer}");
    }
    let query = r#"%7b%22field%22:%22metadata.chat%22,%22eq%22:1768907725507217522.5%7d"#;
    let (status, answer) = send(&server, "GET", &format!("/v1/collections/c/records?filter={query}"), "");
    assert_eq!((status, &answer["errors"][0]["pointer"]), (400, &json!("/filter/eq")), "{answer}");
    let forget = json!({"keep": 0, "filter": {"field": "metadata.chat", "eq": first}});
    assert_eq!(server.call("POST", "/v1/collections/c/forget", &forget).1["forgotten"], 1);
    let delete = json!({"filter": {"field": "metadata.all", "eq": first + 3}});
    assert_eq!(server.call("POST", "/v1/collections/c/records:delete", &delete).1["deleted"], 1);
    assert_eq!(listed(&json!({"and": []})), ["r1", "r2"]);
    server.stop();
}

#[test]
fn models_are_told_of_numbers_that_cannot_be_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let call = |tool: &str, arguments: &str| {
        let body = format!(
            r#"{{"jsonrpc": "2.0", "id": 7, "method": "tools/call",
                "params": {{"name": "{tool}", "arguments": {arguments}}}}}"#
        );
        server.mcp_text(&body)["result"].clone()
    };
    let added =
        call("memory_add", r#"{"text": "An owl.", "metadata": {"n": [18446744073709551615, 9007199254740993]}}"#);
    assert_eq!(added["isError"], false, "{added}");
    let list = r#"{"filter": {"field": "metadata.n", "eq": 9007199254740993}}"#;
    let listed = call("memory_list", list)["structuredContent"]["memories"].clone();
    assert_eq!(listed[0]["metadata"]["n"], json!([u64::MAX, 9_007_199_254_740_993_u64]), "{listed}");
    assert_eq!(call("memory_list", &list.replace("993", "992"))["structuredContent"]["memories"], json!([]));
    let id = added["structuredContent"]["id"].as_str().expect("an id");
    for (tool, arguments, pointer) in [
        (
            "memory_add",
            r#"{"text": "x", "metadata": {"n": [0, 1e23, 123456789012345678901]}}"#.to_owned(),
            "/metadata/n/2",
        ),
        ("memory_update", format!(r#"{{"id": "{id}", "metadata": {{"n": 12345678901234567890123}}}}"#), "/metadata/n"),
        ("memory_list", list.replace("993", "993.0"), "/filter/eq"),
        (
            "memory_search",
            r#"{"query": "x", "filter": {"field": "metadata.n", "gt": 18446744073709551617}}"#.to_owned(),
            "/filter/gt",
        ),
        (
            "retrieve_memory",
            r#"{"query": "x", "filters": {"field": "metadata.n", "gt": 18446744073709551617}}"#.to_owned(),
            "/filters/gt",
        ),
        (
            "session_append",
            r#"{"session": "s",
                "messages": [{"role": "user", "content": "x", "metadata": {"n": 0.12345678901234567890123}}]}"#
                .to_owned(),
            "/messages/0/metadata/n",
        ),
    ] {
        let answer = call(tool, &arguments);
        assert_eq!(answer["isError"], true, "{tool}: {answer}");
        assert_eq!(answer["structuredContent"]["fields"][0]["pointer"], pointer, "{tool}: {answer}");
    }
    assert_eq!(call("memory_list", r#"{"limit": 10}"#)["structuredContent"]["memories"], listed, "nothing was changed");
    // What no parser takes is no message; the field is named all the same.
    let body = r#"{"jsonrpc": "2.0", "id": 7, "method": "tools/call",
        "params": {"name": "memory_add", "arguments": {"text": "x", "metadata": {"n": 1e400}}}}"#;
    let (status, answer) = send(&server, "POST", "/mcp", body);
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32602)), "{answer}");
    assert!(
        answer["error"]["message"].as_str().is_some_and(|message| message.starts_with("/metadata/n: ")),
        "{answer}"
    );
    server.stop();
}

/// Names of the fields of a schema that take any JSON.
fn free_fields(schema: &Value, api: &Value, name: &str, found: &mut BTreeSet<String>, seen: &mut BTreeSet<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        if seen.insert(reference.to_owned()) {
            free_fields(api.pointer(reference.trim_start_matches('#')).expect("a schema"), api, name, found, seen);
        }
        return;
    }
    let mut branches = ["oneOf", "anyOf", "allOf"].iter().filter_map(|key| schema[key].as_array()).flatten().peekable();
    let says = |kind: &str| {
        schema["type"] == kind || schema["type"].as_array().is_some_and(|kinds| kinds.contains(&json!(kind)))
    };
    let is_any = schema["type"].is_null() && branches.peek().is_none() && schema["enum"].is_null();
    if is_any || says("object") && schema["properties"].is_null() && !schema["additionalProperties"].is_object() {
        found.insert(name.to_owned());
    }
    branches.for_each(|branch| free_fields(branch, api, name, found, seen));
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        free_fields(property, api, name, found, seen);
    }
    for inner in ["items", "additionalProperties"].map(|key| &schema[key]).into_iter().filter(|inner| inner.is_object())
    {
        free_fields(inner, api, name, found, seen);
    }
}

#[test]
fn every_field_of_the_api_that_takes_any_json_is_among_these_tests() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let (_, api) = server.call("GET", "/openapi.json", &Value::Null);
    let mut found = BTreeSet::new();
    for (path, operations) in api["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            if schema.is_object() {
                free_fields(schema, &api, &format!("{method} {path}"), &mut found, &mut BTreeSet::new());
            }
        }
    }
    // A payload is kept as it is written, whatever is in it. What a working memory has is checked as a whole.
    for of_payload in ["payload", "data", "long_term_memory_strategy"] {
        found.remove(of_payload);
    }
    // An index's policy is not kept as it is given: its fields have types of their own. Messages whose tokens are
    // counted are not kept. What mem0's clients say so is refused, or a time.
    let of_mem0 = [
        "agent_custom_instructions",
        "custom_categories",
        "custom_instructions",
        "reference_date",
        "schema",
        "structured_data_schema",
        "timestamp",
    ];
    for not_kept in ["index", "annotations", "audio", "function_call"].into_iter().chain(of_mem0) {
        found.remove(not_kept);
    }
    let tested = [
        "filter",
        "filters",
        "items",
        "json_data",
        "messages",
        "metadata",
        "patch /v1/users/{user}/profile",
        "state",
        "tool_calls",
        "writes",
    ];
    assert_eq!(
        found.iter().map(String::as_str).collect::<Vec<_>>(),
        tested,
        "a field that keeps numbers needs a test here"
    );
    server.stop();
}
