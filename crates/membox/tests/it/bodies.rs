//! What a route takes and what it refuses, for every route that the API's own description has: null is absent, a list
//! is no object, and what is not known is refused by its name and not passed over.

use crate::common::{Server, data_with_model};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Routes whose originals pass over what they do not know.
const OF_OTHERS: [&str; 18] = [
    "/v1/embeddings",
    "/embeddings",
    "/embed",
    "/",
    "/invocations",
    "/vertex",
    "/embed_all",
    "/similarity",
    "/tokenize",
    "/decode",
    "/v3/memories/add",
    "/v3/memories/search",
    "/v3/memories",
    "/v1/batch/",
    "/v1/feedback",
    "/v1/exports",
    "/v1/exports/get",
    "/v1/summary",
];
/// Where those that pass over what they do not know begin, beside mem0's.
const AS_THEIRS: [&str; 7] = [
    "/v1/embeddings",
    "/v1/models",
    "/v1/conversations",
    "/v1/health",
    "/v1/working-memory",
    "/v1/long-term-memory",
    "/v1/memory/",
];
/// The same, of what is not there.
const OF_OTHERS_MISSING: [&str; 2] = ["/v1/memories/x", "/v1/batch"];
/// Those of them that want a model which the box does not have.
const OF_OTHER_MODELS: [&str; 5] = ["/embed_sparse", "/rerank", "/v1/rerank", "/v2/rerank", "/predict"];

struct Operation {
    method: String,
    path: String,
    /// The schema of its body, and a body that is right.
    body: Option<(Value, Value)>,
    takes_if_match: bool,
    /// Whether its body is a file, and no JSON.
    takes_file: bool,
}

struct Api {
    document: Value,
}

impl Api {
    fn of(server: &Server) -> Self {
        let (status, document) = server.call("GET", "/openapi.json", &Value::Null);
        assert_eq!(status, 200);
        Self { document }
    }

    /// Every operation of our own and those with bodies of others', at addresses of what is there.
    fn operations(&self) -> Vec<Operation> {
        let mut all = Vec::new();
        for (path, methods) in self.document["paths"].as_object().expect("paths") {
            for (method, operation) in methods.as_object().expect("methods") {
                let content = &operation["requestBody"]["content"]["application/json"];
                let body = content.is_object().then(|| (content["schema"].clone(), content["example"].clone()));
                let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
                let address = path.split('/').map(|part| match part {
                    "{collection}" => "c",
                    "{session}" => "s",
                    "{message}" => "m",
                    part if part.starts_with('{') => "x",
                    part => part,
                });
                all.push(Operation {
                    method: method.to_uppercase(),
                    path: address.collect::<Vec<_>>().join("/"),
                    takes_file: body.is_none() && operation["requestBody"].is_object(),
                    body,
                    takes_if_match: parameters.iter().any(|p| p["name"] == "if-match"),
                });
            }
        }
        assert!(all.len() > 50, "{} operations", all.len());
        all
    }

    /// A schema itself: what a reference names, and of a choice with null the other.
    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        if let Some(name) = schema["$ref"].as_str() {
            let pointer = name.strip_prefix('#').expect("a reference within the document");
            return self.resolved(self.document.pointer(pointer).expect("what it names"));
        }
        let choices = ["oneOf", "anyOf"].iter().find_map(|key| schema[key].as_array());
        match choices.map(|choices| choices.iter().filter(|choice| choice["type"] != "null").collect::<Vec<_>>()) {
            Some(choices) if choices.len() == 1 => self.resolved(choices[0]),
            _ => schema,
        }
    }

    /// The objects in a body whose fields are described, by their pointers, with their schemas.
    fn objects<'a>(&'a self, schema: &'a Value, body: &Value, at: &str, found: &mut Vec<(String, &'a Value)>) {
        let schema = self.resolved(schema);
        match body {
            Value::Object(members) if schema["properties"].is_object() => {
                found.push((at.to_owned(), schema));
                for (key, value) in members {
                    self.objects(&schema["properties"][key], value, &format!("{at}/{key}"), found);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.objects(&schema["items"], item, &format!("{at}/{index}"), found);
                }
            }
            _ => {}
        }
    }

    /// Some body that a schema allows.
    fn generate(&self, schema: &Value, rng: &mut SmallRng) -> Value {
        const TEXTS: &[&str] = &["x", "two words", "2024-05-20T00:44:00Z", "u", "a", "cl100k_base", "null", ""];
        let schema = self.resolved(schema);
        if let Some(choices) = schema["enum"].as_array() {
            return choices.choose(rng).cloned().unwrap_or_default();
        }
        if let Some(choices) = ["oneOf", "anyOf"].iter().find_map(|key| schema[key].as_array()) {
            return choices.choose(rng).map(|choice| self.generate(choice, rng)).unwrap_or_default();
        }
        if let Some(parts) = schema["allOf"].as_array() {
            let parts = parts.iter().map(|part| self.generate(part, rng));
            return Value::Object(parts.filter_map(|part| part.as_object().cloned()).flatten().collect());
        }
        let kinds = schema["type"].as_array().cloned().unwrap_or_else(|| vec![schema["type"].clone()]);
        match kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null") {
            Some("string") => json!(TEXTS.choose(rng)),
            Some("integer") => json!(rng.random_range(0..6)),
            Some("number") => json!(f64::from(rng.random_range(0..9)) / 8.0),
            Some("boolean") => json!(rng.random_bool(0.5)),
            Some("array") => (0..rng.random_range(0..3)).map(|_| self.generate(&schema["items"], rng)).collect(),
            Some("null") | None => Value::Null,
            _ => {
                let required = schema["required"].as_array().cloned().unwrap_or_default();
                let Some(properties) = schema["properties"].as_object() else { return json!({"a": 1, "b": null}) };
                let mut object = Map::new();
                for (name, property) in properties {
                    if required.contains(&json!(name)) || rng.random_bool(0.35) {
                        object.insert(name.clone(), self.generate(property, rng));
                    }
                }
                Value::Object(object)
            }
        }
    }
}

/// Optional fields of an object.
fn optional(schema: &Value) -> Vec<String> {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let names = schema["properties"].as_object().into_iter().flat_map(Map::keys);
    names.filter(|name| !required.contains(&json!(name))).cloned().collect()
}

/// Whether two requests came as far. A repeated one may find that it has been done, or that the first one has used up
/// the quota that was set before.
fn as_far(one: u16, other: u16) -> bool {
    let class = |status| if status < 300 || [404, 409, 412, 429].contains(&status) { 200 } else { status };
    class(one) == class(other)
}

fn started() -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    assert_eq!(server.call("PUT", "/v1/collections/c", &json!({})).0, 201);
    let message = json!({"messages": [{"id": "m", "role": "user", "content": "hello"}]});
    assert_eq!(server.call("POST", "/v1/sessions/s/messages", &message).0, 200);
    (folder, server)
}

#[test]
fn null_is_absent_lists_are_no_objects_and_the_unknown_is_refused_on_every_route() {
    let (_folder, server) = started();
    let api = Api::of(&server);
    let (mut nulls, mut lists, mut unknown) = (0, 0, 0);
    for Operation { method, path, body, .. } in api.operations() {
        let Some((schema, example)) = body else { continue };
        let call = |body: &Value| {
            let (status, answer) = server.call(&method, &path, body);
            assert!(status < 500 || status == 502 || status == 503, "{method} {path} {body}: {status} {answer}");
            (status, answer)
        };
        let mut objects = Vec::new();
        api.objects(&schema, &example, "", &mut objects);
        for list in [json!([]), json!([null, null]), json!([example])] {
            assert_eq!(call(&list).0, 400, "{method} {path} {list}");
        }
        for (at, schema) in objects {
            let object = example.pointer(&at).and_then(Value::as_object).expect("an object").clone();
            let with = |object: Value| {
                let mut body = example.clone();
                *body.pointer_mut(&at).expect("an object") = object;
                body
            };
            for list in [json!([]), json!([null, null]), object.values().cloned().collect()] {
                let body = with(list);
                assert_eq!(call(&body).0, 400, "{method} {path} {body}");
                lists += 1;
            }
            let mut strange = object.clone();
            strange.insert("colour".to_owned(), Value::Null);
            let body = with(Value::Object(strange));
            let (status, answer) = call(&body);
            if OF_OTHERS.contains(&path.as_str()) {
                assert_eq!(status, 200, "{method} {path} {body}: {answer}");
            } else if OF_OTHERS_MISSING.contains(&path.as_str()) {
                assert_eq!(status, 404, "{method} {path} {body}: {answer}");
            } else if OF_OTHER_MODELS.contains(&path.as_str()) {
                assert_eq!(status, 424, "{method} {path} {body}: {answer}");
            } else if schema["additionalProperties"] == false {
                let names = answer["detail"].as_str().is_some_and(|detail| detail.contains("`colour`"));
                assert!(status == 400 && names, "{method} {path} {body}: {status} {answer}");
                unknown += 1;
            }
            for field in optional(schema) {
                let (mut without, mut null) = (object.clone(), object.clone());
                without.remove(&field);
                null.insert(field.clone(), Value::Null);
                let (without, null) = (with(Value::Object(without)), with(Value::Object(null)));
                let (status, answer) = call(&null);
                let (wanted, other) = call(&without);
                assert!(as_far(status, wanted), "{method} {path} {null}: {status} {answer}\nwithout: {wanted} {other}");
                if wanted >= 300 {
                    assert_eq!(answer["errors"], other["errors"], "{method} {path} {null}");
                }
                nulls += 1;
            }
        }
    }
    println!("{nulls} fields were null, {lists} objects were lists, {unknown} had a field more");
    assert!(nulls > 150 && lists > 60 && unknown > 20, "{nulls} {lists} {unknown}");
}

#[test]
fn the_same_of_bodies_that_nobody_wrote() {
    let (_folder, server) = started();
    let api = Api::of(&server);
    let operations: Vec<Operation> =
        api.operations().into_iter().filter(|operation| operation.body.is_some()).collect();
    let time = std::env::var("MEMBOX_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(6);
    let seed = if time > 6 { rand::random() } else { 11 };
    let mut rng = SmallRng::seed_from_u64(seed);
    let (begun, mut checked, mut fine) = (Instant::now(), 0, 0);
    while begun.elapsed() < Duration::from_secs(time) {
        let Operation { method, path, body, .. } = operations.choose(&mut rng).expect("an operation");
        let (schema, example) = body.as_ref().expect("a body");
        let right = if rng.random_bool(0.3) { example.clone() } else { api.generate(schema, &mut rng) };
        let call = |body: &Value| {
            let (status, answer) = server.call(method, path, body);
            let shown = format!("seed {seed}, {method} {path} {body}: {status} {answer}");
            assert!((200..500).contains(&status) || [502, 503].contains(&status), "{shown}");
            (status, answer, shown)
        };
        let mut objects = Vec::new();
        api.objects(schema, &right, "", &mut objects);
        let Some((at, schema)) = objects.choose(&mut rng) else { continue };
        let mut changed = right.clone();
        let object = changed.pointer_mut(at).expect("an object");
        match rng.random_range(0..3) {
            0 => {
                for field in optional(schema) {
                    if object.get(&field).is_none() && rng.random_bool(0.5) {
                        object[field] = Value::Null;
                    }
                }
                let ((status, _, shown), (wanted, ..)) = (call(&changed), call(&right));
                assert!(as_far(status, wanted), "{shown}\nwithout the nulls: {wanted}");
                fine += u32::from(wanted < 300);
            }
            1 if schema["additionalProperties"] == false => {
                object["colour"] = api.generate(&json!({"type": "string"}), &mut rng);
                let (status, _, shown) = call(&changed);
                assert_eq!(status, 400, "{shown}");
            }
            _ => {
                let values = object.as_object().expect("an object").values().cloned().collect();
                *object = Value::Array(values);
                let (status, _, shown) = call(&changed);
                assert_eq!(status, 400, "{shown}");
            }
        }
        checked += 1;
    }
    println!("{checked} bodies, {fine} of those with nulls done");
    assert!(checked > 100 && fine > checked / 20, "{checked} {fine}");
}

/// The status and text of an answer to a request that ureq would not send: any method with any body.
fn send(server: &Server, method: &str, path: &str, header: &str, body: &str) -> (u16, String) {
    let host = server.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).expect("a connection");
    let head =
        format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: application/json\r\n");
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    stream.write_all(format!("{head}{length}{header}\r\n{body}").as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, answer)
}

#[test]
fn parameters_bodies_and_conditions_that_nothing_reads_are_refused() {
    let (_folder, server) = started();
    let api = Api::of(&server);
    let mut checked = 0;
    for Operation { method, path, body, takes_if_match, takes_file } in api.operations() {
        if !path.starts_with("/v1/") || AS_THEIRS.iter().any(|theirs| path.starts_with(theirs)) {
            continue;
        }
        let right = body.as_ref().map(|(_, example)| example.to_string()).unwrap_or_default();
        let (status, answer) = send(&server, &method, &format!("{path}?colour=red"), "", &right);
        assert!(status == 400 && answer.contains("`colour`"), "{method} {path}: {answer}");
        if method != "GET" && !takes_if_match {
            let (status, answer) = send(&server, &method, &path, "if-match: \"1\"\r\n", &right);
            assert!(status == 400 && answer.contains("if-match"), "{method} {path}: {answer}");
        }
        if body.is_none() && !takes_file {
            for said in [r#"{"filter": {"field": "user", "eq": "u"}}"#, "[1]", "x", &" ".repeat(5000)] {
                let (status, answer) = send(&server, &method, &path, "", said);
                assert!(status == 400 && answer.contains("takes no body"), "{method} {path}: {answer}");
            }
        }
        checked += 1;
    }
    assert!(checked > 45, "{checked}");
    // Nothing of that was done, and a body that says nothing is none.
    assert_eq!(server.call("GET", "/v1/collections/c", &Value::Null).0, 200);
    assert_eq!(server.call("GET", "/v1/sessions/s/messages/m", &Value::Null).0, 200);
    let twice = "x-membox-tenant: default\r\nx-membox-tenant: default\r\n";
    let (status, answer) = send(&server, "PATCH", "/v1/sessions/s/messages/m", twice, r#"{"metadata": {}}"#);
    assert!(status == 400 && answer.contains("stands twice"), "{answer}");
    // Entity tags of two headers are one list, as RFC 9110 has it.
    let twice = "if-match: \"7\"\r\nif-match: \"1\"\r\n";
    let (status, answer) = send(&server, "PATCH", "/v1/sessions/s/messages/m", twice, r#"{"metadata": {}}"#);
    assert_eq!(status, 200, "{answer}");
    for nothing in ["", "{}", " { } ", "null"] {
        assert_eq!(send(&server, "GET", "/v1/collections/c", "", nothing).0, 200, "{nothing}");
    }
    let (status, answer) = server.call("GET", "/v1/collections/c/records?limit=many", &Value::Null);
    assert_eq!((status, &answer["errors"][0]["pointer"]), (400, &json!("/limit")), "{answer}");
    let (status, answer) = server.call("GET", "/v1/collections/c/records?limit=1&limit=2", &Value::Null);
    assert!(status == 400 && answer["detail"].to_string().contains("limit"), "{answer}");
}

#[test]
fn a_message_may_come_as_openais_api_has_it() {
    let (_folder, server) = started();
    let parts = json!([{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}]);
    let messages = json!({"messages": [
        {"id": "d", "role": "developer", "content": parts},
        {"role": "assistant", "content": null,
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "done"},
        {"role": "user", "content": [{"type": "text", "text": "And now?"}]},
    ]});
    assert_eq!(server.call("POST", "/v1/sessions/o/messages", &messages).0, 200);
    let (_, message) = server.call("GET", "/v1/sessions/o/messages/d", &Value::Null);
    assert_eq!((&message["role"], &message["content"]), (&json!("developer"), &json!("Be brief.\nBe kind.")));
    let many: Vec<Value> =
        (0..12).map(|i| json!({"role": "user", "content": format!("question {i} of many")})).collect();
    assert_eq!(server.call("POST", "/v1/sessions/o/messages", &json!({ "messages": many })).0, 200);
    // What a developer says is kept in every context, as what the system says is.
    for strategy in ["smart", "recall"] {
        let path = format!("/v1/sessions/o/context?strategy={strategy}&max_tokens=60&turns=1&text=true");
        let (_, context) = server.call("GET", &path, &Value::Null);
        assert_eq!(context["messages"][0]["role"], "developer", "{context}");
        assert!(context["text"].as_str().is_some_and(|text| text.starts_with("Developer: Be brief.")), "{context}");
    }
    let image = json!({"messages": [{"role": "user",
        "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]});
    let (status, problem) = server.call("POST", "/v1/sessions/o/messages", &image);
    let pointer = problem["errors"][0]["pointer"].as_str().unwrap_or_default();
    assert!(status == 400 && pointer.starts_with("/messages/0/content/0/"), "{problem}");
    let (status, counted) = server.call(
        "POST",
        "/v1/tokens",
        &messages["messages"].as_array().map(|m| json!({"messages": m})).expect("messages"),
    );
    assert_eq!(status, 400, "an id is no part of OpenAI's message: {counted}");
    let call = json!({"role": "assistant", "content": null,
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let (status, counted) =
        server.call("POST", "/v1/tokens", &json!({"messages": [call, {"role": "user", "content": parts}]}));
    assert!(status == 200 && counted["counts"][0].as_u64().is_some_and(|count| count > 5), "{counted}");
}
