//! Every field meets every step: what can be said over HTTP and MCP is redacted, sealed, exported and erased,
//! whichever field it is said in.
//!
//! Which fields there are, the box's own OpenAPI document and its tools say; one that this test does not know fails it.

use crate::common::llm::{Behaviour, StandIn};
use crate::common::{Server, data_with_model, files_with, membox, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
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

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// It is exported: the mark of this name is in it.
    Exported(&'static str),
    /// It is found by it, or is no text: a time, a setting, a file.
    Kept,
}
use Fate::{Exported, Kept};

/// Routes that store what they are given, each with its fields.
const STORING: &[(&str, &[(&str, Fate)])] = &[
    (
        "PUT /v1/collections/{collection}",
        &[("model", Kept), ("index", Kept), ("kinds/*", Kept), ("synonyms/*/*", Kept)],
    ),
    (
        "POST /v1/collections/{collection}/records",
        &[
            ("records/*/id", Kept),
            ("records/*/text", Exported("rec.text")),
            ("records/*/metadata", Exported("rec.metadata")),
            ("records/*/payload", Exported("rec.payload")),
            ("records/*/created_at", Kept),
            ("records/*/expires_at", Kept),
            ("records/*/user", Kept),
            ("records/*/session", Kept),
            ("records/*/kind", Kept),
            ("records/*/vector", Kept),
            ("compress", Kept),
        ],
    ),
    (
        "PATCH /v1/collections/{collection}/records/{id}",
        &[
            ("text", Exported("recpatch.text")),
            ("metadata", Exported("recpatch.metadata")),
            ("payload", Exported("recpatch.payload")),
            ("expires_at", Kept),
            ("user", Kept),
            ("session", Kept),
            ("kind", Kept),
        ],
    ),
    (
        "POST /v1/collections/{collection}/records:patch",
        &[
            ("ids/*", Kept),
            ("patch/text", Exported("manypatch.text")),
            ("patch/metadata", Exported("manypatch.metadata")),
            ("patch/payload", Exported("manypatch.payload")),
            ("patch/expires_at", Kept),
            ("patch/user", Kept),
            ("patch/session", Kept),
            ("patch/kind", Kept),
        ],
    ),
    ("PUT /v1/sessions/{session}", &[("user", Kept), ("collection", Kept), ("metadata", Exported("ses.metadata"))]),
    (
        "POST /v1/sessions/{session}/messages",
        &[
            ("messages/*/id", Kept),
            ("messages/*/content", Exported("msg.content")),
            ("messages/*/media/data", Kept),
            ("messages/*/media/language", Exported("msg.language")),
            ("messages/*/name", Exported("msg.name")),
            ("messages/*/tool_call_id", Exported("msg.tool_call_id")),
            ("messages/*/tool_calls/*", Exported("msg.tool_calls")),
            ("messages/*/metadata", Exported("msg.metadata")),
            ("messages/*/payload", Exported("msg.payload")),
            ("messages/*/created_at", Kept),
            ("user", Kept),
            ("collection", Kept),
        ],
    ),
    (
        "PATCH /v1/sessions/{session}/messages/{message}",
        &[("metadata", Exported("msgpatch.metadata")), ("content", Exported("msgpatch.content"))],
    ),
    ("POST /v1/sessions/{session}/queue", &[("items/*", Exported("que.items"))]),
    (
        "PUT /v1/threads/{thread}/checkpoints/{id}",
        &[
            ("state", Exported("chk.state")),
            ("parent", Kept),
            ("metadata", Exported("chk.metadata")),
            // Octets, and what they are found by.
            ("channels/*", Kept),
            ("blobs/*/channel", Kept),
            ("blobs/*/version", Kept),
            ("blobs/*/type", Kept),
            ("blobs/*/data", Kept),
        ],
    ),
    ("PUT /v1/threads/{thread}/blobs/{channel}/{version}", &[("", Kept)]),
    ("PUT /v1/threads/{thread}/checkpoints/{id}/writes/{task}", &[("writes", Exported("wri.writes"))]),
    (
        "POST /v1/memories",
        &[
            ("session", Kept),
            ("user", Kept),
            ("collection", Kept),
            ("messages/*/id", Kept),
            ("messages/*/content", Exported("mem.content")),
            ("messages/*/name", Exported("mem.name")),
            ("messages/*/time_stamp", Kept),
            ("messages/*/metadata", Exported("mem.metadata")),
            ("time_stamp", Kept),
        ],
    ),
    (
        "POST /v3/memories/add",
        &[
            ("messages/*/content", Exported("mem0.content")),
            ("user_id", Kept),
            ("agent_id", Kept),
            ("app_id", Kept),
            ("run_id", Kept),
            ("filters", Kept),
            ("metadata", Exported("mem0.metadata")),
            ("expiration_date", Kept),
            // Refused.
            ("prompt", Kept),
            ("custom_instructions", Kept),
            ("agent_custom_instructions", Kept),
            ("custom_categories", Kept),
            ("structured_data_schema", Kept),
        ],
    ),
    (
        "PUT /v1/memories/{id}",
        &[
            ("text", Exported("mem0patch.text")),
            ("metadata", Exported("mem0patch.metadata")),
            ("expiration_date", Kept),
            ("timestamp", Kept),
        ],
    ),
    (
        "PUT /v1/batch",
        &[
            ("memories/*/memory_id", Kept),
            ("memories/*/text", Exported("mem0many.text")),
            ("memories/*/metadata", Exported("mem0many.metadata")),
            ("memories/*/expiration_date", Kept),
            ("memories/*/timestamp", Kept),
        ],
    ),
    (
        "POST /memories",
        &[
            ("messages/*/content", Exported("mem0own.content")),
            ("user_id", Kept),
            ("agent_id", Kept),
            ("app_id", Kept),
            ("run_id", Kept),
            ("filters", Kept),
            ("metadata", Exported("mem0own.metadata")),
            ("expiration_date", Kept),
            // Refused.
            ("prompt", Kept),
            ("custom_instructions", Kept),
            ("agent_custom_instructions", Kept),
            ("custom_categories", Kept),
            ("structured_data_schema", Kept),
        ],
    ),
    (
        "PUT /memories/{id}",
        &[
            ("text", Exported("mem0ownpatch.text")),
            ("metadata", Exported("mem0ownpatch.metadata")),
            ("expiration_date", Kept),
            ("timestamp", Kept),
        ],
    ),
    // As the two after it, of nobody: no export of a user has it.
    ("POST /v1/conversations", &[("items/*", Kept), ("metadata", Kept)]),
    ("POST /v1/conversations/{session}", &[("metadata", Exported("conv.metadata"))]),
    ("POST /v1/conversations/{session}/items", &[("items/*", Exported("conv.items"))]),
    (
        "PUT /v1/working-memory/{session_id}",
        &[
            ("messages/*/role", Kept),
            ("messages/*/content", Exported("work.content")),
            ("messages/*/id", Kept),
            ("messages/*/created_at", Kept),
            ("messages/*/persisted_at", Kept),
            ("messages/*/discrete_memory_extracted", Kept),
            ("memories/*/id", Kept),
            ("memories/*/text", Exported("workmem.text")),
            ("memories/*/session_id", Kept),
            ("memories/*/user_id", Kept),
            ("memories/*/namespace", Kept),
            ("memories/*/topics/*", Kept),
            ("memories/*/entities/*", Kept),
            ("memories/*/memory_type", Kept),
            ("memories/*/event_date", Kept),
            ("memories/*/extracted_from/*", Kept),
            ("memories/*/created_at", Kept),
            // The box says these.
            ("memories/*/updated_at", Kept),
            ("memories/*/last_accessed", Kept),
            ("memories/*/persisted_at", Kept),
            ("data", Exported("work.data")),
            ("context", Exported("work.context")),
            ("user_id", Kept),
            ("namespace", Kept),
            ("long_term_memory_strategy", Kept),
        ],
    ),
    (
        "POST /v1/long-term-memory",
        &[
            ("memories/*/id", Kept),
            ("memories/*/text", Exported("longmem.text")),
            ("memories/*/session_id", Kept),
            ("memories/*/user_id", Kept),
            ("memories/*/namespace", Kept),
            ("memories/*/topics/*", Kept),
            ("memories/*/entities/*", Kept),
            ("memories/*/memory_type", Kept),
            ("memories/*/event_date", Kept),
            ("memories/*/extracted_from/*", Kept),
            ("memories/*/created_at", Kept),
            // The box says these.
            ("memories/*/updated_at", Kept),
            ("memories/*/last_accessed", Kept),
            ("memories/*/persisted_at", Kept),
        ],
    ),
    (
        "PATCH /v1/long-term-memory/{memory_id}",
        &[
            ("text", Exported("longpatch.text")),
            ("topics/*", Kept),
            ("entities/*", Kept),
            ("memory_type", Kept),
            ("namespace", Kept),
            ("user_id", Kept),
            ("session_id", Kept),
            ("event_date", Kept),
        ],
    ),
    ("PATCH /v1/users/{user}/profile", &[("", Exported("pro.fields"))]),
    ("POST /v1/usage", &[("user", Kept)]),
    ("PUT /v1/quotas/{user}", &[]),
    // Of a key, in a file of the box, and no tenant's data.
    (
        "POST /v1/keys",
        &[("name", Kept), ("collections/*", Kept), ("sessions/*", Kept), ("users/*", Kept), ("expires_at", Kept)],
    ),
];

/// Routes that take JSON and store nothing of it.
const ASKING: &[&str] = &[
    "POST /v1/embeddings",
    "POST /embeddings",
    "POST /embed",
    "POST /",
    "POST /invocations",
    "POST /vertex",
    "POST /embed_all",
    "POST /embed_sparse",
    "POST /rerank",
    "POST /v1/rerank",
    "POST /v2/rerank",
    "POST /predict",
    "POST /similarity",
    "POST /tokenize",
    "POST /decode",
    "POST /v1/tokens",
    "POST /v1/chunks",
    "POST /v1/compress",
    "POST /v1/topics",
    "POST /v1/collections/{collection}/recall",
    "POST /v1/collections/{collection}/recall:batch",
    "POST /v1/collections/{collection}/records:delete",
    "POST /v1/collections/{collection}/records:get",
    "POST /v1/collections/{collection}/records:count",
    "POST /v1/collections/{collection}/records:facets",
    "POST /v1/collections/{collection}/records:scroll",
    "POST /v1/collections/{collection}/forget",
    "POST /v1/collections/{collection}/consolidate",
    "POST /v1/memories:update",
    "POST /v3/memories/search",
    "POST /v3/memories",
    "DELETE /v1/batch/",
    "POST /v1/feedback",
    "POST /v1/exports",
    "POST /v1/exports/get",
    "POST /v1/summary",
    "POST /search",
    "POST /v1/long-term-memory/search",
    "POST /v1/long-term-memory/forget",
    "POST /v1/memory/prompt",
    "POST /v1/sessions/{session}/queue:take",
    "POST /v1/threads/{thread}/checkpoints:prune",
    "POST /v1/threads/{thread}/checkpoints:copy",
    "POST /v1/tenant:erase",
];

/// Arguments of tools that store, each with the mark that is said in it.
const TOOLS: &[(&str, &[(&str, Fate)])] = &[
    (
        "memory_add",
        &[
            ("text", Exported("mcp.text")),
            ("metadata", Exported("mcp.metadata")),
            ("user", Kept),
            ("collection", Kept),
            ("kind", Kept),
            ("session", Kept),
            ("expires_at", Kept),
        ],
    ),
    (
        "memory_update",
        &[
            ("id", Kept),
            ("text", Exported("mcpup.text")),
            ("metadata", Exported("mcpup.metadata")),
            ("user", Kept),
            ("collection", Kept),
        ],
    ),
    (
        "session_append",
        &[
            ("session", Kept),
            ("messages/*/id", Kept),
            ("messages/*/role", Kept),
            ("messages/*/type", Kept),
            ("messages/*/created_at", Kept),
            ("messages/*/content", Exported("mcpses.content")),
            ("messages/*/name", Exported("mcpses.name")),
            ("messages/*/tool_call_id", Exported("mcpses.tool_call_id")),
            ("messages/*/tool_calls/*", Exported("mcpses.tool_calls")),
            ("messages/*/metadata", Exported("mcpses.metadata")),
            ("user", Kept),
        ],
    ),
    (
        "add_memory",
        &[
            ("user_input", Exported("mcplm.user_input")),
            ("assistant_reply", Exported("mcplm.assistant_reply")),
            ("timestamp", Kept),
            ("user", Kept),
            ("session", Kept),
        ],
    ),
];

/// Tools that store nothing of their arguments.
const ASKING_TOOLS: &[&str] = &[
    "memory_search",
    "memory_context",
    "memory_list",
    "memory_forget",
    "get_timestamp",
    "offline_update",
    "retrieve_memory",
    "show_lightmem_instance",
];

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

fn done(server: &Server, method: &str, path: &str, body: &Value) -> Value {
    let (status, answer) = server.call(method, path, body);
    assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
    answer
}

fn tool(server: &Server, name: &str, arguments: Value) -> Value {
    let result = server.mcp("tools/call", json!({"name": name, "arguments": arguments}))["result"].clone();
    assert_eq!(result["isError"], false, "{result}");
    result["structuredContent"].clone()
}

/// Says something in every field, and gives all answers.
fn say(server: &Server) -> String {
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
fn hear(server: &Server) -> String {
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
