//! Something is said in every field, and everything is given out.

use super::{mark, object};
use crate::common::{Server, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

pub(super) fn done(server: &Server, method: &str, path: &str, body: &Value) -> Value {
    let (status, answer) = server.call(method, path, body);
    assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
    answer
}

pub(super) fn tool(server: &Server, name: &str, arguments: Value) -> Value {
    let result = server.mcp("tools/call", json!({"name": name, "arguments": arguments}))["result"].clone();
    assert_eq!(result["isError"], false, "{result}");
    result["structuredContent"].clone()
}

/// Says something in every field, and gives all answers.
pub(super) fn say(server: &Server) -> String {
    let wav = [
        b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\0\0\0\0".as_slice(),
        &[0; 64],
    ];
    let calls = json!([{"id": mark("msg.tool_call_id"), "type": "function", "function": {
        "name": "send", "arguments": object("msg.tool_calls").to_string()}}]);
    let message = |id: &str, role: &str| {
        json!({"id": id, "role": role, "name": mark("msg.name"), "metadata": object("msg.metadata"),
            "payload": object("msg.payload"),
            "content": format!("{id}: write to {} about the garden.", mark("msg.content"))})
    };
    let with = |mut message: Value, more: Value| {
        let more = more.as_object().cloned().unwrap_or_default();
        message.as_object_mut().expect("an object").extend(more);
        message
    };
    let audio =
        json!({"type": "audio", "media": {"data": STANDARD.encode(wav.concat()), "language": mark("msg.language")}});
    let messages = json!([
        message("1", "user"),
        with(message("2", "assistant"), json!({ "tool_calls": calls })),
        with(message("3", "tool"), json!({"tool_call_id": mark("msg.tool_call_id")})),
        with(message("4", "user"), audio.clone()),
        with(message("5", "user"), audio),
        {"id": "6", "role": "assistant", "content": null, "tool_calls": calls},
    ]);
    let text = |field: &str| format!("Note of {field}: {} lives by the river.", mark(field));
    let record = json!({"id": "r", "text": text("rec.text"), "metadata": object("rec.metadata"), "user": "lena",
        "payload": object("rec.payload")});
    let empty = |id: &str| json!({"id": id, "text": "Nothing yet.", "user": "lena"});
    let records = json!({"records": [record, empty("p"), empty("q")]});
    let change = |name: &str| {
        let field = |field: &str| format!("{name}.{field}");
        json!({"text": text(&field("text")), "metadata": object(&field("metadata")),
            "payload": object(&field("payload"))})
    };
    let (patch, many) = (change("recpatch"), json!({"ids": ["q"], "patch": change("manypatch")}));
    let memory = json!({"role": "user", "content": text("mem.content"), "name": mark("mem.name"),
        "metadata": object("mem.metadata")});
    let checkpoint = json!({"state": object("chk.state"), "metadata": object("chk.metadata")});
    let session = json!({"user": "lena", "metadata": object("ses.metadata"), "max_messages": 4});
    let patched = json!({"metadata": object("msgpatch.metadata"), "content": text("msgpatch.content")});
    let said = [
        ("PUT", "/v1/sessions/s", session.clone()),
        ("PUT", "/v1/sessions/s", session),
        ("POST", "/v1/collections/user-lena/records", records),
        ("PATCH", "/v1/collections/user-lena/records/p", patch),
        ("POST", "/v1/collections/user-lena/records:patch", many),
        ("POST", "/v1/sessions/s/messages", json!({ "messages": messages })),
        ("PATCH", "/v1/sessions/s/messages/5", patched),
        ("POST", "/v1/sessions/s/queue", json!({"items": [object("que.items"), mark("que.items")]})),
        ("PUT", "/v1/threads/s/checkpoints/one", checkpoint),
        (
            "PUT",
            "/v1/threads/s/checkpoints/two",
            json!({"state": 1, "blobs": [{"channel": "c", "version": "1",
            "data": "AA=="}]}),
        ),
        ("PUT", "/v1/threads/s/checkpoints/one/writes/task", json!({"writes": [["out", object("wri.writes")]]})),
        ("POST", "/v1/memories", json!({"session": "m", "user": "lena", "force": true, "messages": [memory]})),
        ("PATCH", "/v1/users/lena/profile", object("pro.fields")),
        ("PATCH", "/v1/users/lena/profile", object("pro.fields")),
    ];
    let mut answers: Vec<String> =
        said.iter().map(|(method, path, body)| done(server, method, path, body).to_string()).collect();
    let own = json!({"user_id": "lena", "infer": false, "metadata": object("mem0.metadata"), "messages": [
        {"content": text("mem0.content")}, {"content": "To be changed."}, {"content": "To be changed, too."}]});
    let own = done(server, "POST", "/v3/memories/add", &own);
    let id = |i: usize| own["results"][i]["id"].as_str().expect("an id").to_owned();
    let change = json!({"text": text("mem0patch.text"), "metadata": object("mem0patch.metadata")});
    answers.push(done(server, "PUT", &format!("/v1/memories/{}", id(1)), &change).to_string());
    let change = json!({"memories": [{"memory_id": id(2), "text": text("mem0many.text"),
        "metadata": object("mem0many.metadata")}]});
    answers.push(done(server, "PUT", "/v1/batch", &change).to_string());
    answers.push(own.to_string());
    let own = json!({"user_id": "lena", "infer": false, "metadata": object("mem0own.metadata"), "messages": [
        {"content": text("mem0own.content")}, {"content": "To be changed."}]});
    let own = done(server, "POST", "/memories", &own);
    answers.push(own.to_string());
    let changed = own["results"][1]["id"].as_str().expect("an id");
    let change = json!({"text": text("mem0ownpatch.text"), "metadata": object("mem0ownpatch.metadata")});
    answers.push(done(server, "PUT", &format!("/memories/{changed}"), &change).to_string());
    let metadata = json!({"metadata": object("conv.metadata")});
    answers.push(done(server, "POST", "/v1/conversations/m", &metadata).to_string());
    let items = json!({"items": [{"type": "message", "role": "user", "content": text("conv.items")}]});
    answers.push(done(server, "POST", "/v1/conversations/m/items", &items).to_string());
    let working = json!({"user_id": "lena", "messages": [{"role": "user", "content": text("work.content")}],
        "memories": [{"id": "w", "text": text("workmem.text")}], "data": object("work.data"),
        "context": text("work.context")});
    answers.push(done(server, "PUT", "/v1/working-memory/s", &working).to_string());
    let long_term = json!({"memories": [{"id": "m", "text": text("longmem.text"), "user_id": "lena"},
        {"id": "p", "text": "To be changed.", "user_id": "lena"}]});
    answers.push(done(server, "POST", "/v1/long-term-memory", &long_term).to_string());
    let change = json!({"text": text("longpatch.text")});
    answers.push(done(server, "PATCH", "/v1/long-term-memory/p", &change).to_string());
    let add = json!({"user": "lena", "text": text("mcp.text"), "metadata": object("mcp.metadata")});
    let added = tool(server, "memory_add", add);
    let id = tool(server, "memory_add", json!({"user": "lena", "text": "To be changed."}))["id"].clone();
    let update = json!({"id": id, "user": "lena", "text": text("mcpup.text"), "metadata": object("mcpup.metadata")});
    let call = json!([{"id": "c", "function": {"name": "send", "arguments": object("mcpses.tool_calls").to_string()}}]);
    let message = json!({"role": "user", "content": text("mcpses.content"), "name": mark("mcpses.name"),
        "metadata": object("mcpses.metadata"),
        "tool_call_id": mark("mcpses.tool_call_id"), "tool_calls": call});
    let append = json!({"session": "t", "user": "lena", "messages": [message]});
    let remember = json!({"user": "lena", "session": "l", "user_input": text("mcplm.user_input"),
        "assistant_reply": text("mcplm.assistant_reply"),
        "force_segment": true, "force_extract": true});
    answers.push(added.to_string());
    answers.push(tool(server, "memory_update", update).to_string());
    answers.push(tool(server, "session_append", append).to_string());
    answers.push(tool(server, "add_memory", remember).to_string());
    answers.join("\n")
}

/// Everything that the box gives out.
pub(super) fn hear(server: &Server) -> String {
    let (_, document) = server.call("GET", "/openapi.json", &Value::Null);
    let memories = post(server, "/v3/memories", &json!({}));
    let memory = format!("/v1/memories/{}", memories["results"][0]["id"].as_str().expect("an id"));
    let places = [
        ("/v1/memories/{id}", memory.as_str()),
        ("/memories/{id}", memory.trim_start_matches("/v1")),
        ("{collection}/records/{id}", "user-lena/records/r"),
        ("{collection}", "user-lena"),
        ("{session}", "s"),
        ("{session_id}", "s"),
        ("{memory_id}", "m"),
        ("{message}", "2"),
        ("{organisation}/{model}", "sentence-transformers/all-MiniLM-L6-v2"),
        ("{model}", "all-MiniLM-L6-v2"),
        ("checkpoints/{id}", "checkpoints/one"),
        ("{channel}", "c"),
        ("{version}", "1"),
        ("{thread}", "s"),
        ("{user}", "lena"),
    ];
    let mut heard = memories.to_string();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        if methods["get"].is_null() || path.contains("/jobs/") || path.ends_with("/media") {
            continue;
        }
        let path = places.iter().fold(path.clone(), |path, (name, place)| path.replace(name, place));
        assert!(!path.contains('{'), "what stands for the parameters of {path}?");
        let (status, _, text) = server.raw("GET", &path, &[], Vec::new());
        // Whom nobody has given a quota has none.
        assert!(status == 200 || path.contains("/quotas/"), "GET {path}: {status} {text}");
        heard += &text;
    }
    for strategy in ["recent", "smart", "window", "recall", "compress&threshold=1&keep_last=1"] {
        for session in ["s", "m", "l", "t"] {
            let path = format!("/v1/sessions/{session}/context?strategy={strategy}&text=true");
            heard += &done(server, "GET", &path, &Value::Null).to_string();
        }
    }
    for message in 1..=6 {
        heard += &done(server, "GET", &format!("/v1/sessions/s/messages/{message}"), &Value::Null).to_string();
    }
    heard += &done(server, "GET", "/v1/sessions/m", &Value::Null).to_string();
    for record in ["p", "q", "profile"] {
        heard += &done(server, "GET", &format!("/v1/collections/user-lena/records/{record}"), &Value::Null).to_string();
    }
    let question = json!({"query": "who lives by the river", "k": 100, "budget": {"tokens": 1000}});
    heard += &post(server, "/v1/collections/user-lena/recall", &question).to_string();
    heard += &tool(server, "memory_search", json!({"user": "lena", "query": "river", "limit": 50})).to_string();
    heard += &tool(server, "memory_list", json!({"user": "lena", "limit": 100})).to_string();
    heard += &tool(server, "memory_context", json!({"session": "s"})).to_string();
    heard += &tool(server, "retrieve_memory", json!({"user": "lena", "query": "river"})).to_string();
    heard
}
