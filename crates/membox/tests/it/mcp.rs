//! The Model Context Protocol, over HTTP and over stdin and stdout, by a client of 2025 and by one since 2026-07-28.

use crate::common::{Server, data_with_model, membox};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

fn call(server: &Server, tool: &str, arguments: Value) -> Value {
    let answer = server.mcp("tools/call", json!({"name": tool, "arguments": arguments}));
    let result = &answer["result"];
    assert_eq!(result["isError"], false, "{answer}");
    let said: Value = serde_json::from_str(result["content"][0]["text"].as_str().expect("a text")).expect("JSON");
    assert_eq!(said, result["structuredContent"], "both forms say the same");
    said
}

/// Sends a body as it is; the status and JSON of the answer.
fn send(server: &Server, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
    let headers = [&[("content-type", "application/json")], headers].concat();
    let (status, _, text) = server.raw("POST", "/mcp", &headers, body.as_bytes().to_vec());
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

const START: &str =
    r#"{"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}"#;

#[test]
fn a_model_adds_searches_lists_changes_and_forgets() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let started = server.mcp("initialize", serde_json::from_str(START).expect("JSON"));
    assert_eq!(
        (&started["result"]["serverInfo"]["name"], &started["result"]["protocolVersion"]),
        (&json!("membox"), &json!("2025-06-18"))
    );
    let tools = server.mcp("tools/list", json!({}));
    let tools = tools["result"]["tools"].as_array().expect("tools").clone();
    let names: Vec<&str> = tools.iter().filter_map(|t| t["name"].as_str()).collect();
    assert_eq!(
        names,
        [
            "memory_search",
            "memory_add",
            "memory_context",
            "session_append",
            "memory_list",
            "memory_update",
            "memory_forget",
            "get_timestamp",
            "add_memory",
            "offline_update",
            "retrieve_memory",
            "show_lightmem_instance"
        ]
    );
    for tool in &tools {
        assert!(tool["inputSchema"]["type"] == "object" && tool["description"].is_string(), "{tool}");
        let reads = [
            "memory_search",
            "memory_context",
            "memory_list",
            "get_timestamp",
            "retrieve_memory",
            "show_lightmem_instance",
        ];
        let is_read = reads.iter().any(|name| tool["name"] == *name);
        assert_eq!(tool["annotations"]["readOnlyHint"], is_read, "{tool}");
    }
    assert!(Value::Array(tools).to_string().len() < 10_500, "what every request of a model pays for");

    assert_eq!(
        call(&server, "memory_search", json!({"query": "keys", "user": "lena"}))["memories"],
        json!([]),
        "nothing yet is no error"
    );
    let added = call(
        &server,
        "memory_add",
        json!({"text": "Lena keeps the spare key under the blue pot.", "user": "lena", "kind": "semantic",
            "importance": 0.8}),
    );
    assert_eq!(added["collection"], "user-lena");
    for i in 0..30 {
        call(
            &server,
            "memory_add",
            json!({"text": format!("Lena planted rose number {i} along the wall behind the shed."), "user": "lena"}),
        );
    }
    let found = call(&server, "memory_search", json!({"query": "Where is the key?", "user": "lena", "limit": 3}));
    assert_eq!(found["memories"][0]["id"], added["id"], "{found}");
    let bounded =
        call(&server, "memory_search", json!({"query": "roses", "user": "lena", "limit": 30, "max_tokens": 100}));
    assert!(
        bounded["tokens"].as_u64().expect("tokens") <= 100 && bounded["left_out"].as_u64().expect("a count") > 10,
        "{bounded}"
    );
    assert_eq!(
        call(&server, "memory_search", json!({"query": "key", "user": "otto"}))["memories"],
        json!([]),
        "each user's are apart"
    );
    let only = json!({"field": "kind", "eq": "semantic"});
    let listed = call(&server, "memory_list", json!({"user": "lena", "filter": only, "limit": 5}));
    assert_eq!((listed["memories"].as_array().map(Vec::len), &listed["more"]), (Some(1), &json!(false)));
    call(
        &server,
        "memory_update",
        json!({"id": added["id"], "user": "lena", "text": "Lena moved the spare key to the mailbox."}),
    );
    let found = call(&server, "memory_search", json!({"query": "Where is the key?", "user": "lena", "limit": 1}));
    assert!(found["memories"][0]["text"].as_str().expect("a text").contains("mailbox"), "{found}");
    assert_eq!(call(&server, "memory_forget", json!({"ids": [added["id"]], "user": "lena"}))["deleted"], 1);

    let turns = json!([{"role": "user", "content": "My cat is called Minka."},
        {"role": "assistant", "content": "A lovely name."}]);
    call(&server, "session_append", json!({"session": "s", "user": "lena", "messages": turns}));
    let context =
        call(&server, "memory_context", json!({"session": "s", "query": "What is the cat called?", "max_tokens": 300}));
    assert!(
        context["messages"].to_string().contains("Minka") && context["tokens"].as_u64().expect("tokens") <= 300,
        "{context}"
    );

    // What a model gets wrong it is told, in a result.
    let wrong = server.mcp("tools/call", json!({"name": "memory_search", "arguments": {"user": "lena"}}));
    assert_eq!(wrong["result"]["isError"], true, "{wrong}");
    assert!(wrong["result"]["content"][0]["text"].as_str().expect("a text").contains("query"), "{wrong}");
    let wrong = server.mcp("tools/call", json!({"name": "memory_eat", "arguments": {}}));
    assert!(wrong["error"]["message"].as_str().expect("a reason").contains("memory_eat"), "{wrong}");
    server.stop();
}

#[test]
fn a_client_since_2026_needs_no_handshake() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let version = "2026-07-28";
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let ask = |method: &str, name: Option<&str>, mut params: Value| {
        params["_meta"] = meta.clone();
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let mut headers = vec![
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", version),
            ("mcp-method", method),
        ];
        headers.extend(name.map(|name| ("mcp-name", name)));
        let (status, _, text) = server.raw("POST", "/mcp", &headers, message.to_string().into_bytes());
        assert_eq!(status, 200, "{text}");
        serde_json::from_str::<Value>(&text).expect("JSON")
    };
    let found = ask("server/discover", None, json!({}));
    assert!(found["result"]["supportedVersions"].to_string().contains(version), "{found}");
    let added = ask(
        "tools/call",
        Some("memory_add"),
        json!({"name": "memory_add", "arguments": {"text": "The shop opens at nine."}}),
    );
    assert_eq!(added["result"]["structuredContent"]["collection"], "memories", "{added}");
    server.stop();
}

#[test]
fn keys_tenants_and_browsers_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let config = "[[keys]]\nkey = \"key-of-a\"\ntenant = \"a\"\n[[keys]]\nkey = \"key-of-b\"\ntenant = \"b\"\n";
    std::fs::write(folder.path().join("membox.toml"), config).expect("a file");
    let server = Server::start(&data, &[]);
    let post = |headers: &[(&str, &str)], tool: &str, arguments: Value| {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": tool, "arguments": arguments}});
        let base = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
        let (status, _, text) =
            server.raw("POST", "/mcp", &[&base[..], headers].concat(), message.to_string().into_bytes());
        (status, text)
    };
    let secret = json!({"text": "the vault opens with 4711"});
    assert_eq!(post(&[], "memory_add", secret.clone()).0, 401);
    assert_eq!(post(&[("authorization", "Bearer wrong")], "memory_add", secret.clone()).0, 401);
    let (status, text) = post(&[("authorization", "Bearer key-of-a")], "memory_add", secret);
    assert!(status == 200 && text.contains("memories"), "{text}");
    let (_, found) = post(&[("authorization", "Bearer key-of-b")], "memory_search", json!({"query": "vault"}));
    assert!(found.contains("memories") && !found.contains("4711"), "{found}");
    let (_, found) = post(&[("authorization", "Bearer key-of-a")], "memory_search", json!({"query": "vault"}));
    assert!(found.contains("4711"), "{found}");
    let page = [("authorization", "Bearer key-of-a"), ("origin", "https://evil.example")];
    assert_eq!(post(&page, "memory_search", json!({"query": "vault"})).0, 403, "no page of a browser");
    server.stop();
}

#[test]
fn the_command_hands_on_lines_and_says_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    let mut child = membox(&data)
        .args(["mcp", "--url", &server.url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command");
    let mut input = child.stdin.take().expect("its stdin");
    let mut lines = BufReader::new(child.stdout.take().expect("its stdout")).lines();
    let mut say = |message: Value| writeln!(input, "{message}").expect("a line");
    let mut next = || -> Value { serde_json::from_str(&lines.next().expect("a line").expect("a read")).expect("JSON") };
    say(json!({"jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": serde_json::from_str::<Value>(START).expect("JSON")}));
    assert_eq!(next()["result"]["serverInfo"]["name"], "membox");
    say(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    for i in 0..5 {
        say(json!({"jsonrpc": "2.0", "id": 10 + i, "method": "tools/call",
            "params": {"name": "memory_add", "arguments": {"text": format!("fact {i}")}}}));
    }
    let mut ids: Vec<i64> = (0..5).map(|_| next()["id"].as_i64().expect("an id")).collect();
    ids.sort_unstable();
    assert_eq!(ids, [10, 11, 12, 13, 14]);
    writeln!(input, "this is no JSON").expect("a line");
    assert_eq!(
        serde_json::from_str::<Value>(&lines.next().expect("a line").expect("a read")).expect("JSON")["error"]["code"],
        -32700
    );
    server.stop();
    writeln!(input, "{}", json!({"jsonrpc": "2.0", "id": 99, "method": "tools/list"})).expect("a line");
    let gone: Value = serde_json::from_str(&lines.next().expect("a line").expect("a read")).expect("JSON");
    assert!(
        gone["id"] == 99 && gone["error"]["message"].as_str().expect("a reason").contains("membox serve"),
        "{gone}"
    );
    drop(input);
    assert!(child.wait().expect("an end").success());
}

#[test]
fn lightmems_own_tools_are_there_and_what_they_remember_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    let time = call(&server, "get_timestamp", json!({}));
    assert!(time["timestamp"].as_str().is_some_and(|time| time.starts_with("20") && time.ends_with('Z')), "{time}");
    assert_eq!(call(&server, "retrieve_memory", json!({"query": "anything"}))["memories"], json!([]));
    assert_eq!(call(&server, "offline_update", json!({}))["message"], "there is nothing yet");
    let turn =
        |text: &str| json!({"user_input": text, "assistant_reply": "Noted.", "timestamp": "2023/05/20 (Sat) 00:44"});
    let added = call(&server, "add_memory", turn("My bicycle is red and stands in the cellar."));
    assert_eq!((&added["status"], &added["memories"]), (&json!("success"), &json!([])), "it waits for more");
    assert_eq!(added["waiting"]["buffered_messages"], 2);
    // LightMem's server wipes its store with the first call after a start.
    server.stop();
    let server = Server::start(&data, &[]);
    let mut last = turn("I will sell the bicycle in June.");
    last["force_extract"] = json!(true);
    let added = call(&server, "add_memory", last);
    assert_eq!(added["memories"].as_array().map(Vec::len), Some(1), "{added}");
    let found = call(&server, "retrieve_memory", json!({"query": "Where is the bicycle?", "limit": 3, "filters": {}}));
    let memory = found["memories"][0]["memory"].as_str().expect("a memory");
    assert!(memory.starts_with("2023-05-20T00:44:00Z Sat user: ") && memory.contains("cellar"), "{memory}");
    let own = json!({"text": "The bicycle is in the cellar.", "metadata": {"topic": "bicycles"}});
    call(&server, "memory_add", own);
    let found = call(&server, "retrieve_memory", json!({"query": "Where is the bicycle?", "limit": 3}));
    assert_eq!(found["memories"].as_array().map(Vec::len), Some(1), "what was noted is no memory of a conversation");
    let none =
        json!({"query": "Where is the bicycle?", "filters": {"field": "created_at", "gte": "2024-01-01T00:00:00Z"}});
    assert_eq!(call(&server, "retrieve_memory", none)["memories"], json!([]));
    let begun = call(&server, "offline_update", json!({"score_threshold": 0.9}));
    assert_eq!(server.ended(begun["job"].as_str().expect("a job"))["state"], "done");
    let shown = call(&server, "show_lightmem_instance", json!({}));
    assert_eq!((&shown["embedding_model"], &shown["language_model"]), (&json!("all-MiniLM-L6-v2"), &Value::Null));
    // Each user's are apart.
    let mine = json!({"user_input": "My name is Otto.", "user": "otto", "force_extract": true});
    assert_eq!(call(&server, "add_memory", mine)["memories"].as_array().map(Vec::len), Some(1));
    let found = call(&server, "retrieve_memory", json!({"query": "name", "user": "otto"}));
    assert_eq!(found["memories"].as_array().map(Vec::len), Some(1));
}

/// The objects of a schema whose fields are described.
fn described(schema: &Value, found: &mut Vec<Value>) {
    if schema["properties"].is_object() {
        found.push(schema.clone());
    }
    match schema {
        Value::Object(members) => members.values().for_each(|value| described(value, found)),
        Value::Array(items) => items.iter().for_each(|value| described(value, found)),
        _ => {}
    }
}

#[test]
fn what_a_tool_does_not_know_is_refused_by_its_name_and_null_is_absent() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let tools = server.mcp("tools/list", json!({}))["result"]["tools"].as_array().expect("tools").clone();
    assert_eq!(tools.len(), 12);
    call(&server, "session_append", json!({"session": "s", "messages": [{"role": "user", "content": "hi"}]}));
    let right = |name: &str, id: &Value| match name {
        "memory_search" | "retrieve_memory" => json!({"query": "figs"}),
        "memory_add" => json!({"text": "Lena likes figs."}),
        "memory_context" => json!({"session": "s"}),
        "session_append" => json!({"session": "s", "messages": [{"role": "user", "content": "hi"}]}),
        "memory_update" => json!({"id": id, "text": "Lena likes dates."}),
        "memory_forget" => json!({"ids": ["none"]}),
        "add_memory" => json!({"user_input": "I moved to Oslo."}),
        _ => json!({}),
    };
    for tool in &tools {
        let name = tool["name"].as_str().expect("a name");
        let mut objects = Vec::new();
        described(&tool["inputSchema"], &mut objects);
        for object in objects.iter().chain([&tool["inputSchema"]]) {
            assert_eq!(object["additionalProperties"], false, "{name}: {object}");
        }
        let id = call(&server, "memory_add", json!({"text": "Lena likes figs."}))["id"].clone();
        let before = server.mcp("tools/call", json!({"name": "memory_list", "arguments": {"limit": 100}}));
        for key in ["user_id", "userId", "namespace", "colour"] {
            let mut arguments = right(name, &id);
            arguments[key] = json!("lena");
            let result = server.mcp("tools/call", json!({"name": name, "arguments": arguments}))["result"].clone();
            let said = result["structuredContent"]["error"].as_str().unwrap_or_default();
            assert!(result["isError"] == true && said.contains(&format!("`{key}`")), "{name}: {result}");
            let known = tool["inputSchema"]["properties"].as_object().into_iter().flatten();
            known.for_each(|(field, _)| assert!(said.contains(&format!("`{field}`")), "{name} has {field}: {said}"));
        }
        let after = server.mcp("tools/call", json!({"name": "memory_list", "arguments": {"limit": 100}}));
        assert_eq!(before, after, "{name}: nothing is done");
        let required = tool["inputSchema"]["required"].as_array().cloned().unwrap_or_default();
        let mut arguments = right(name, &id);
        for field in tool["inputSchema"]["properties"].as_object().into_iter().flatten().map(|(field, _)| field) {
            if !required.contains(&json!(field)) && arguments.get(field).is_none() {
                arguments[field] = Value::Null;
            }
        }
        call(&server, name, arguments);
    }
    let strange = json!({"session": "s", "messages": [{"role": "user", "content": "hi", "user_id": "x"}]});
    let result = server.mcp("tools/call", json!({"name": "session_append", "arguments": strange}))["result"].clone();
    assert!(result["isError"] == true && result.to_string().contains("user_id"), "{result}");
    server.stop();
}

#[test]
fn models_may_write_numbers_as_texts_and_clients_arguments_as_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    call(&server, "memory_add", json!({"text": "Lena likes figs.", "importance": "0.5", "metadata": null}));
    for limit in [json!("5"), json!(5.0), json!("5.0"), json!(5), Value::Null] {
        let found = call(&server, "memory_search", json!({"query": "figs", "limit": limit}));
        assert_eq!(found["memories"].as_array().map(Vec::len), Some(1), "{limit}");
    }
    let listed = call(&server, "memory_list", json!({}));
    assert_eq!(listed["memories"][0]["importance"], 0.5);
    for limit in [json!("five"), json!(5.5), json!([5])] {
        let answer =
            server.mcp("tools/call", json!({"name": "memory_search", "arguments": {"query": "figs", "limit": limit}}));
        assert_eq!(answer["result"]["isError"], true, "{answer}");
    }
    let within = server.mcp("tools/call", json!({"name": "memory_search", "arguments": "{\"query\": \"figs\"}"}));
    assert_eq!(within["result"]["isError"], false, "{within}");
    for wrong in [json!(["figs"]), json!("figs"), json!(7)] {
        let answer = server.mcp("tools/call", json!({"name": "memory_search", "arguments": wrong}));
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    }
    let answer = server.mcp("tools/call", json!({"arguments": {}}));
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    server.stop();
}

#[test]
fn what_is_wrong_with_a_call_of_a_batch_is_its_own_fault() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let add = |id: u64, number: &str| {
        let arguments = format!(r#"{{"text": "fact {id}", "metadata": {{"n": {number}}}}}"#);
        let params = format!(r#"{{"name": "memory_add", "arguments": {arguments}}}"#);
        format!(r#"{{"jsonrpc": "2.0", "id": {id}, "method": "tools/call", "params": {params}}}"#)
    };
    let twice = r#"{"jsonrpc": "2.0", "id": 5, "method": "ping", "method": "ping"}"#;
    let calls = [add(1, "1"), add(2, "[0, 123456789012345678901]"), add(3, "3"), add(4, "1e400"), twice.to_owned()];
    let (status, answers) = send(&server, &[], &format!(" [{}]", calls.join(",\n")));
    let ids: Vec<&Value> = answers.as_array().expect("answers").iter().map(|answer| &answer["id"]).collect();
    assert_eq!((status, ids), (200, [1, 2, 3, 4, 5].map(|id| json!(id)).iter().collect()), "{answers}");
    let is_error = |i: usize| answers[i]["result"]["isError"].clone();
    assert_eq!([is_error(0), is_error(1), is_error(2)], [json!(false), json!(true), json!(false)], "{answers}");
    assert_eq!(answers[1]["result"]["structuredContent"]["fields"][0]["pointer"], "/metadata/n/1", "{answers}");
    assert_eq!((&answers[3]["error"]["code"], &answers[4]["error"]["code"]), (&json!(-32602), &json!(-32600)));
    let said = answers[3]["error"]["message"].as_str().expect("a reason");
    assert!(said.starts_with("/metadata/n: "), "{said}");
    let listed = call(&server, "memory_list", json!({}));
    assert_eq!(listed["memories"].as_array().map(Vec::len), Some(2), "{listed}");
    server.stop();
}

#[test]
fn clients_of_every_kind_are_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let list = r#"{"jsonrpc": "2.0", "id": 2, "method": "tools/list"}"#;
    for accept in [&[("accept", "application/json")][..], &[("accept", "*/*")], &[("accept", "application/*")], &[]] {
        let (status, answer) = send(&server, accept, list);
        assert!(status == 200 && answer["result"]["tools"].is_array(), "{accept:?}: {answer}");
    }
    let (status, answer) = send(&server, &[("accept", "text/event-stream")], list);
    assert!(status == 406 && answer["error"]["message"].is_string(), "{answer}");
    // A batch, which one version has: requests are answered, notifications are not.
    let ping = r#"{"jsonrpc": "2.0", "id": 3, "method": "ping"}"#;
    let told = r#"{"jsonrpc": "2.0", "method": "notifications/initialized"}"#;
    for version in [&[("mcp-protocol-version", "2025-03-26")][..], &[]] {
        let (status, answers) = send(&server, version, &format!("[{list}, {told}, {ping}, 7]"));
        let ids: Vec<&Value> = answers.as_array().expect("answers").iter().map(|answer| &answer["id"]).collect();
        assert_eq!((status, ids), (200, vec![&json!(2), &json!(3), &Value::Null]), "{answers}");
        assert_eq!(answers[2]["error"]["code"], -32600);
        assert_eq!(send(&server, version, &format!("[{told}, {told}]")).0, 202);
    }
    // What is not declared is not there.
    for method in ["prompts/list", "resources/list", "resources/templates/list"] {
        let body = format!(r#"{{"jsonrpc": "2.0", "id": 1, "method": "{method}"}}"#);
        let (_, answer) = send(&server, &[], &body);
        assert_eq!(answer["error"]["code"], -32601, "{method}: {answer}");
    }
    let later = [("mcp-protocol-version", "2025-06-18")];
    for (headers, body, code) in [
        (&later[..], format!("[{ping}]"), -32600),
        (&[], "[]".to_owned(), -32600),
        (&[], format!("[{}]", [ping; 101].join(",")), -32600),
        (&[], "{".to_owned(), -32700),
        (&[], "7".to_owned(), -32600),
        (&[], r#"{"jsonrpc": "2.0", "id": 1, "id": 2, "method": "ping"}"#.to_owned(), -32600),
    ] {
        let (status, answer) = send(&server, headers, &body);
        assert_eq!((status, &answer["error"]["code"]), (400, &json!(code)), "{body}: {answer}");
    }
    server.stop();
}
