//! Every field meets every step: what can be said over HTTP and MCP is redacted, sealed, exported and erased,
//! whichever field it is said in.
//!
//! Which fields there are, the box's own OpenAPI document and its tools say; one that this test does not know fails it.

mod known;
mod said;

use crate::common::llm::{Behaviour, StandIn};
use crate::common::{Server, data_with_model, files_with, membox, post};
use known::Fate::{Exported, Kept};
use known::{ASKING, ASKING_TOOLS, Fate, STORING, TOOLS};
use said::{done, hear, say};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// In every address that this test says.
const MARK: &str = "@m.example.com";
const PHONE: u64 = 13_800_138_000;

/// An address that names the field in which it is said.
fn mark(field: &str) -> String {
    format!("{field}{MARK}")
}

/// JSON with an address in a value, a key and a text of JSON that escapes it, and a telephone's number.
fn object(field: &str) -> Value {
    let escaped = mark(field).replace('@', "\\u0040");
    json!({field: mark(field), mark(field): {"deep": [mark(field)]}, "number": PHONE,
        "json": format!("{{\"to\": \"{escaped}\"}}")})
}

/// The places of a schema where a text or any JSON may stand.
fn places(document: &Value, schema: &Value, at: &str, found: &mut BTreeSet<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let schema = document.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("no {name}"));
        return places(document, schema, at, found);
    }
    let below = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}/{name}") };
    let alternatives = ["oneOf", "anyOf", "allOf"].iter().filter_map(|key| schema[key].as_array()).flatten();
    let mut is_composed = false;
    for alternative in alternatives {
        is_composed = true;
        places(document, alternative, at, found);
    }
    let is_of = |name: &str| match &schema["type"] {
        Value::String(own) => own == name,
        Value::Array(all) => all.iter().any(|own| own == name),
        _ => false,
    };
    if let Some(properties) = schema["properties"].as_object() {
        properties.iter().for_each(|(name, schema)| places(document, schema, &below(name), found));
    }
    if is_of("array") {
        places(document, &schema["items"], &below("*"), found);
    }
    let values = &schema["additionalProperties"];
    // Where nothing is said of the values, the object is free.
    let is_map = values.as_object().is_some_and(|schema| !schema.is_empty()) && values["type"] != "null";
    if is_map {
        places(document, values, &below("*"), found);
    }
    let is_text = is_of("string") && schema["enum"].is_null() && schema["const"].is_null();
    let is_free = is_of("object") && schema["properties"].is_null() && !is_map;
    let is_any = schema["type"].is_null() && schema["enum"].is_null() && schema["const"].is_null() && !is_composed;
    if is_text || is_free || is_any {
        found.insert(at.to_owned());
    }
}

/// Whether a place is known: by itself, or as a part of what is known to be no text.
fn is_known(place: &str, known: &[(&str, Fate)]) -> bool {
    known.iter().any(|(name, fate)| place == *name || *fate == Kept && place.starts_with(&format!("{name}/")))
}

#[test]
fn this_test_knows_every_field_of_every_route_and_tool() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let (_, document) = server.call("GET", "/openapi.json", &Value::Null);
    let mut unknown = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let route = format!("{} {path}", method.to_uppercase());
            if operation["requestBody"].is_null() || ASKING.contains(&route.as_str()) {
                continue;
            }
            let Some((_, known)) = STORING.iter().find(|(name, _)| *name == route) else {
                unknown.push(format!("{route}: does it store what it is given?"));
                continue;
            };
            let mut found = BTreeSet::new();
            places(&document, schema, "", &mut found);
            unknown
                .extend(found.iter().filter(|place| !is_known(place, known)).map(|place| format!("{route}: {place}")));
            let lost = known.iter().filter(|(name, fate)| matches!(fate, Exported(_)) && !found.contains(*name));
            unknown.extend(lost.map(|(name, _)| format!("{route}: {name} is there no more")));
        }
    }
    for tool in server.mcp("tools/list", json!({}))["result"]["tools"].as_array().expect("tools") {
        let name = tool["name"].as_str().expect("a name");
        if ASKING_TOOLS.contains(&name) {
            continue;
        }
        let Some((_, known)) = TOOLS.iter().find(|(own, _)| *own == name) else {
            unknown.push(format!("tool {name}: does it store what it is given?"));
            continue;
        };
        let mut found = BTreeSet::new();
        let schema = &tool["inputSchema"];
        places(schema, schema, "", &mut found);
        unknown
            .extend(found.iter().filter(|place| !is_known(place, known)).map(|place| format!("tool {name}: {place}")));
    }
    assert!(unknown.is_empty(), "what becomes of these has to be decided, and said here:\n{}", unknown.join("\n"));
    server.stop();
}

/// What of marks stands in a text, with what is around it.
fn marks_in(text: &str) -> Vec<&str> {
    let around = |at: usize| {
        &text[text.floor_char_boundary(at.saturating_sub(60))..text.ceil_char_boundary((at + 20).min(text.len()))]
    };
    let phone = PHONE.to_string();
    [MARK, &phone].iter().flat_map(|mark| text.match_indices(*mark)).map(|(at, _)| around(at)).collect()
}

fn assert_in_no_file(data: &Path, when: &str) {
    for mark in [MARK, &PHONE.to_string()] {
        assert_eq!(files_with(data, mark), Vec::<String>::new(), "{mark}, {when}");
    }
}

#[test]
fn personal_data_in_any_field_is_in_no_answer_and_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    std::fs::write(
        folder.path().join("membox.toml"),
        "policy = \"default\"\n[policies.default]\nredaction = { mode = \"full\" }\n",
    )
    .expect("a file");
    let server = Server::start(&data, &[]);
    let answers = say(&server);
    assert_eq!(marks_in(&answers), Vec::<&str>::new(), "in what writes are answered");
    let heard = hear(&server);
    assert_eq!(marks_in(&heard), Vec::<&str>::new());
    for placeholder in ["[EMAIL_REDACTED]", "[PHONE_REDACTED]"] {
        assert!(heard.contains(placeholder));
    }
    // The arguments of a call are JSON still, and two keys that are the same now are both there.
    let message = done(&server, "GET", "/v1/sessions/s/messages/2", &Value::Null);
    let arguments = message["tool_calls"][0]["function"]["arguments"].as_str().expect("a text");
    let arguments: Value = serde_json::from_str(arguments).expect("JSON");
    assert_eq!(arguments["number"], "[PHONE_REDACTED]");
    assert_eq!(arguments["json"], "{\"to\": \"[EMAIL_REDACTED]\"}");
    // What is merged again meets the key that it has had since.
    let session = done(&server, "GET", "/v1/sessions/s", &Value::Null);
    assert_eq!(session["metadata"].as_object().map(serde_json::Map::len), Some(4), "{session}");
    assert_in_no_file(&data, "while the box runs");
    server.stop();
    assert_in_no_file(&data, "when it has stopped");
}

#[test]
fn every_field_is_exported_and_gone_with_an_erasure() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    say(&server);
    let (_, _, archive) = server.raw("GET", "/v1/users/lena/export", &[], Vec::new());
    let said = STORING.iter().chain(TOOLS).flat_map(|(_, fields)| *fields);
    for (field, fate) in said {
        if let Exported(name) = fate {
            assert!(archive.contains(&mark(name)), "{field} ({name}) is not exported");
        }
    }
    assert!(!files_with(&data, MARK).is_empty(), "the test looks where it is");
    server.job("/v1/users/lena/erase", &json!({}));
    assert_in_no_file(&data, "when it is erased");
    let (_, _, nothing) = server.raw("GET", "/v1/users/lena/export", &[], Vec::new());
    assert_eq!(nothing, "{\"type\":\"end\",\"lines\":0}\n");
    server.stop();
}

#[test]
fn every_field_is_sealed() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let made = membox(&data).args(["keys", "new"]).arg(folder.path().join("master")).output().expect("the binary");
    assert!(made.status.success());
    std::fs::write(folder.path().join("membox.toml"), "master_key_file = \"master\"\n").expect("a file");
    let server = Server::start(&data, &[]);
    say(&server);
    assert!(hear(&server).contains(MARK));
    server.stop();
    assert_in_no_file(&data, "sealed");
}

#[test]
fn what_is_older_than_a_policy_reaches_no_language_model_and_no_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let model = StandIn::start();
    let settings = format!("[llm]\ntries = 1\nrest_s = 0\n[[llm.endpoints]]\nurl = \"{}\"\nmodel = \"m\"\n", model.url);
    std::fs::write(folder.path().join("membox.toml"), settings).expect("a file");
    let server = Server::start(&data, &[]);
    let said = |id: &str| {
        json!({"id": id, "role": "user", "name": mark("name"),
            "content": format!("{id}: I live at {} by the river.", mark("content"))})
    };
    post(&server, "/v1/sessions/s/messages", &json!({"user": "lena", "messages": [said("1"), said("2")]}));
    let old = json!({"id": "old", "user": "lena", "text": format!("Lena's address is {}.", mark("old"))});
    post(&server, "/v1/collections/user-lena/records", &json!({ "records": [old] }));
    let full = json!({"redaction": {"mode": "full"}});
    done(&server, "PUT", "/v1/collections/user-lena", &full);

    // What the model makes up is redacted as well.
    let fact = json!({"data": [{"source_id": 1, "fact": format!("Lena writes from {}.", mark("fact"))}]});
    model.then([Behaviour::Write(fact.to_string())]);
    let more = json!({"session": "s", "user": "lena", "force": true,
        "messages": [{"role": "user", "content": "Call me later."}]});
    let made = post(&server, "/v1/memories?explain=true", &more);
    assert_eq!(made["memories"][0]["text"], "Lena writes from [EMAIL_REDACTED].", "{made}");
    assert!(made["problem"].is_null(), "{made}");
    model.then([Behaviour::Write(json!({ "summary": format!("Lena, {}.", mark("summary")) }).to_string())]);
    let profile = post(&server, "/v1/users/lena/profile", &Value::Null);
    assert_eq!(profile["summary"], "Lena, [EMAIL_REDACTED].", "{profile}");
    let asked = Value::Array(model.asked()).to_string();
    assert!(asked.contains("river") && asked.contains("address"), "{asked}");
    assert_eq!(marks_in(&asked), Vec::<&str>::new());

    // A collection that no language model may read is not summed up by one.
    done(&server, "PUT", "/v1/collections/user-lena", &json!({"memories": {"llm": false}}));
    let before = model.asked().len();
    post(&server, "/v1/users/lena/profile", &Value::Null);
    assert_eq!(model.asked().len(), before);

    // A summary of older messages, and what is patched.
    let path = "/v1/sessions/s/context?strategy=compress&threshold=1&keep_last=1";
    let summary = done(&server, "GET", path, &Value::Null)["summary"]["text"].to_string();
    assert!(summary.contains("river") && marks_in(&summary).is_empty(), "{summary}");
    let patched = done(&server, "PATCH", "/v1/collections/user-lena/records/old", &json!({"importance": 0.5}));
    assert_eq!(patched["text"], "Lena's address is [EMAIL_REDACTED].");
    server.stop();
}

#[test]
fn a_users_digest_in_the_log_is_no_digest_of_a_text() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    done(&server, "PUT", "/v1/collections/c", &json!({"redaction": {"mode": "full"}}));
    let record = json!({"id": "a", "text": format!("call {PHONE}")});
    post(&server, "/v1/collections/c/records", &json!({ "records": [record] }));
    let stored = done(&server, "GET", "/v1/collections/c/records/a", &Value::Null);
    let digest = stored["metadata"]["redaction"]["original_hmac_sha256"].as_str().expect("a digest");
    server.raw("GET", &format!("/v1/users/call%20{PHONE}/export"), &[], Vec::new());
    let log = done(&server, "GET", "/v1/audit", &Value::Null).to_string();
    assert!(log.contains("user:") && !log.contains(&digest[..32]), "{log}");
    server.stop();
}

#[test]
fn a_field_that_is_too_large_or_of_another_type_is_refused_by_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let wrong = |method: &str, path: &str, body: Value| {
        let (status, problem) = server.call(method, path, &body);
        (status, problem["errors"][0]["pointer"].as_str().unwrap_or_default().to_owned())
    };
    let messages = |message: Value| {
        let mut body = json!({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "x"}]});
        body["messages"][1]
            .as_object_mut()
            .expect("an object")
            .extend(message.as_object().cloned().unwrap_or_default());
        wrong("POST", "/v1/sessions/s/messages", body)
    };
    let (long, large) = ("x".repeat(513), "x".repeat(1 << 20));
    let refused = |status: u16, place: &str| (status, place.to_owned());
    for calls in [json!("not a list"), json!({"id": "c"}), json!(7)] {
        assert_eq!(messages(json!({ "tool_calls": calls })), refused(400, "/messages/1/tool_calls"));
    }
    assert_eq!(messages(json!({"tool_calls": [{"id": "c"}, "c"]})).0, 400);
    let calls = json!([{"function": {"arguments": large}}]);
    assert_eq!(messages(json!({ "tool_calls": calls })), refused(422, "/messages/1/tool_calls"));
    assert_eq!(messages(json!({"name": long})), refused(422, "/messages/1/name"));
    assert_eq!(messages(json!({"tool_call_id": long})), refused(422, "/messages/1/tool_call_id"));
    assert_eq!(messages(json!({"content": format!("{large}x")})), refused(422, "/messages/1/content"));
    assert_eq!(messages(json!({"metadata": {"a": long.repeat(40)}})), refused(422, "/messages/1/metadata"));
    assert_eq!(server.call("GET", "/v1/sessions/s", &Value::Null).0, 404, "nothing is kept of them");
    assert_eq!(messages(json!({"tool_calls": null, "name": &long[1..]})).0, 200);

    let metadata = json!({"metadata": {"a": long.repeat(20)}});
    assert_eq!(wrong("PUT", "/v1/sessions/s", metadata.clone()).0, 200);
    assert_eq!(wrong("PUT", "/v1/sessions/s", json!({"metadata": {"b": long.repeat(20)}})), refused(422, "/metadata"));
    assert_eq!(wrong("PUT", "/v1/sessions/s", json!({"max_messages": 7})).0, 200);
    let checkpoint = |body: Value| wrong("PUT", "/v1/threads/t/checkpoints/c", body);
    assert_eq!(checkpoint(json!({ "state": large })).0, 200);
    assert_eq!(checkpoint(json!({"state": 1, "metadata": {"a": large}})), refused(422, "/metadata"));
    assert_eq!(checkpoint(json!({"state": 1, "parent": long})), refused(400, "/parent"));
    assert_eq!(checkpoint(json!({"state": 1})).0, 200);
    let writes = json!({ "writes": large.repeat(16) });
    assert_eq!(wrong("PUT", "/v1/threads/t/checkpoints/c/writes/w", writes), refused(422, "/writes"));
    // All of them together may write so much.
    let write = |task: usize, writes: &str| {
        wrong("PUT", &format!("/v1/threads/t/checkpoints/c/writes/{task}"), json!({ "writes": writes }))
    };
    let most = &large[2..];
    for task in 0..16 {
        assert_eq!(write(task, most).0, 204, "{task}");
    }
    assert_eq!(write(16, "x"), refused(422, "/writes"));
    let kept = done(&server, "GET", "/v1/threads/t/checkpoints/c", &Value::Null);
    assert_eq!(kept["writes"].as_object().map(serde_json::Map::len), Some(16), "nothing of it is kept");
    assert_eq!((write(3, "x").0, write(16, "x").0), (204, 204), "there is room again");
    assert_eq!(wrong("POST", "/v1/sessions/s/queue", json!({"items": [1, large]})), refused(422, "/items/1"));
    assert_eq!(wrong("PATCH", "/v1/users/u/profile", json!({"a": long.repeat(40)})), refused(422, ""));
    let synonyms = json!({"redaction": {"mode": "full"}, "synonyms": [["lena", mark("lena")]]});
    assert_eq!(wrong("PUT", "/v1/collections/c", synonyms), refused(422, "/synonyms/0/1"));
    server.stop();
}

#[test]
fn a_message_costs_the_same_wherever_it_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let calls =
        json!([{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{\"path\": \"a.py\"}"}}]);
    let mut whole = json!({"role": "assistant", "content": "I look.", "name": "lena", "tool_call_id": "call_0"});
    whole["tool_calls"] = calls;
    let counted = |message: &Value| {
        let counted = post(&server, "/v1/tokens", &json!({"messages": [message]}));
        counted["counts"][0].as_u64().expect("a count")
    };
    for left_out in ["", "name", "tool_calls", "tool_call_id"] {
        let mut message = whole.clone();
        message.as_object_mut().expect("an object").remove(left_out);
        let tokens = counted(&message);
        let talk = post(&server, "/v1/compress", &json!({"messages": [message], "encoding": "o200k_base"}));
        assert_eq!(talk["origin_tokens"].as_u64(), Some(tokens + 4 + 2), "without {left_out:?}: {talk}");
        let appended = json!({"messages": [message]});
        let path = format!("/v1/sessions/s-{left_out}/messages");
        post(&server, &path, &appended);
        let listed = done(&server, "GET", &path, &Value::Null);
        assert_eq!(listed["messages"][0]["tokens"].as_u64(), Some(tokens), "without {left_out:?}: {listed}");
    }
    server.stop();
}
