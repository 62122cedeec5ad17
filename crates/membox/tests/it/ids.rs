//! Ids never meet, over HTTP and MCP: what is acknowledged under a name is found under it, whatever else has a name
//! like it.

use crate::common::{Server, data_with_model};
use serde_json::{Value, json};

fn get(server: &Server, path: &str) -> Value {
    let (status, answer) = server.call("GET", path, &Value::Null);
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

fn tool(server: &Server, name: &str, arguments: Value) -> Value {
    let message =
        json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": name, "arguments": arguments}});
    let headers = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
    let (status, _, text) = server.raw("POST", "/mcp", &headers, message.to_string().into_bytes());
    assert_eq!(status, 200, "{text}");
    serde_json::from_str::<Value>(&text).expect("JSON")["result"].clone()
}

fn said(id: &str, content: &str) -> Value {
    json!({"messages": [{"id": id, "role": "user", "content": content}]})
}

fn contents(server: &Server, session: &str) -> Vec<String> {
    let page = get(server, &format!("/v1/sessions/{session}/messages"));
    page["messages"].as_array().expect("messages").iter().filter_map(|m| Some(m["content"].as_str()?.into())).collect()
}

#[test]
fn a_message_and_a_record_of_one_name_are_both_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    let post = |path: &str, body: &Value| server.call("POST", path, body);
    assert_eq!(server.call("PUT", "/v1/collections/sessions", &json!({})).0, 201);
    let records = "/v1/collections/sessions/records";
    // The record first, then the message; and the other way round.
    let history = json!({"records": [{"id": "chat-7/1", "text": "a line of an imported history"}]});
    assert_eq!(post(records, &history).0, 200);
    assert_eq!(post("/v1/sessions/chat-7/messages", &said("1", "My new address is 5 Elm Street")).0, 200);
    assert_eq!(post("/v1/sessions/chat-7/messages", &said("2", "I moved in May")).0, 200);
    let (status, written) =
        post(records, &json!({"records": [{"id": "chat-7/2", "text": "another old line", "version": 0}]}));
    assert_eq!((status, &written["records"][0]["version"]), (200, &json!(1)), "{written}");
    let both = ["My new address is 5 Elm Street", "I moved in May"];
    assert_eq!(contents(&server, "chat-7"), both);
    assert_eq!(get(&server, &format!("{records}/chat-7%2F1"))["text"], "a line of an imported history");
    assert_eq!(get(&server, &format!("{records}/chat-7%2F2"))["text"], "another old line");
    // Said again by the same id: what is the same is there already, anything else is refused and named.
    let (status, again) = post("/v1/sessions/chat-7/messages", &said("1", both[0]));
    assert_eq!((status, &again["messages"][0]["seq"]), (200, &Value::Null), "{again}");
    let (status, problem) = post("/v1/sessions/chat-7/messages", &said("1", "My address is a secret"));
    assert_eq!((status, &problem["errors"][0]["pointer"]), (409, &json!("/messages/0/id")), "{problem}");
    // Each hit has an id of its own, which names it and nothing else.
    let (_, found) = post("/v1/collections/sessions/recall", &json!({"query": "a line, an address, a move", "k": 9}));
    let hits = found["hits"].as_array().expect("hits");
    assert_eq!(hits.len(), 4, "{found}");
    for hit in hits {
        let id = hit["id"].as_str().expect("an id").replace('/', "%2F");
        let view = get(&server, &format!("{records}/{id}"));
        assert_eq!((&view["text"], &view["message"]), (&hit["text"], &hit["message"]), "{hit}");
    }
    let shown = |text: &str| {
        hits.iter().find(|hit| hit["text"] == text).expect("a hit")["id"].as_str().expect("an id").to_owned()
    };
    // A message is not moved by what changes its record; its session's version tells what does change it.
    let path = format!("{records}/{}", shown(both[1]));
    for (field, value) in
        [("session", json!("other")), ("session", Value::Null), ("user", json!("bob")), ("text", json!("x"))]
    {
        let (status, problem) = server.call("PATCH", &path, &json!({ field: value }));
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!(format!("/{field}"))), "{problem}");
    }
    let version = get(&server, "/v1/sessions/chat-7")["version"].as_u64().expect("a version");
    assert_eq!(server.call("PATCH", &path, &json!({"metadata": {"seen": true}})).0, 200);
    assert_eq!(get(&server, "/v1/sessions/chat-7")["version"], version + 1);
    // What deletes one deletes not the other.
    assert_eq!(server.call("DELETE", &format!("{records}/chat-7%2F1"), &Value::Null).0, 204);
    let (_, deleted) = post(&format!("{records}:delete"), &json!({"ids": [shown(both[1])]}));
    assert_eq!(deleted["deleted"], 1);
    assert_eq!(contents(&server, "chat-7"), both[..1]);
    assert_eq!(get(&server, "/v1/sessions/chat-7")["version"], version + 2);
    assert_eq!(get(&server, &format!("{records}/chat-7%2F2"))["text"], "another old line");
    server.stop();
    let server = Server::start(&data, &[]);
    assert_eq!(contents(&server, "chat-7"), both[..1]);
    assert_eq!(server.call("DELETE", "/v1/sessions/chat-7/messages/1", &Value::Null).0, 204);
    assert_eq!(get(&server, &format!("{records}/chat-7%2F2"))["text"], "another old line");
    server.stop();
}

#[test]
fn users_and_sessions_whose_names_are_alike_never_meet() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let users = ["a/b", "a_b", "a-b", "A_B", "a.b", "é", "e\u{301}", &"long/".repeat(100)];
    for user in users {
        let fact = json!({"user_input": format!("I am called {user}."), "user": user, "force_extract": true});
        let added = tool(&server, "add_memory", fact);
        assert_eq!(added["structuredContent"]["status"], "success", "{user}: {added}");
        let own = tool(&server, "memory_add", json!({"text": format!("{user} likes owls."), "user": user}));
        assert_eq!(own["isError"], false, "{user}: {own}");
    }
    for user in users {
        let listed = tool(&server, "memory_list", json!({"user": user, "limit": 100}));
        let memories = listed["structuredContent"]["memories"].as_array().expect("memories").clone();
        assert_eq!(memories.len(), 3, "what was said, its memory and what was noted: {listed}");
        assert!(memories.iter().all(|memory| memory["user"] == *user), "{user}: {listed}");
        let query: String = user.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let sessions = get(&server, &format!("/v1/sessions?user={query}"));
        assert_eq!(sessions["sessions"].as_array().map(Vec::len), Some(1), "{sessions}");
    }
    // No way leads into a session whose id has a slash.
    let (put, said) = (json!({}), said("1", "x"));
    let memory = json!({"session": "a/b", "messages": [{"content": "x"}]});
    for (method, path, body) in [
        ("PUT", "/v1/sessions/a%2Fb", &put),
        ("POST", "/v1/sessions/a%2fb/messages", &said),
        ("POST", "/v1/sessions/a%2Fb/queue", &json!({"items": ["x"]})),
        ("POST", "/v1/memories", &memory),
    ] {
        let (status, problem) = server.call(method, path, body);
        assert_eq!((status, &problem["errors"][0]["pointer"]), (400, &json!("/session")), "{path}: {problem}");
    }
    let append = json!({"session": "a/b", "messages": [{"role": "user", "content": "x"}]});
    assert_eq!(tool(&server, "session_append", append)["isError"], true);
    let turn = json!({"session": "a/b", "user_input": "x"});
    assert_eq!(tool(&server, "add_memory", turn)["isError"], true);
    server.stop();
}
