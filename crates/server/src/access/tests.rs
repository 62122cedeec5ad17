use super::*;
use crate::{ApiKey, Server, ServerConfig};
use axum::body::{Body, to_bytes};
use membox_memory::{MemoryBox, MemoryConfig, Models};
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;

/// A box without a model, whose tenant has keys of all kinds.
struct Running {
    server: Server,
    _folder: tempfile::TempDir,
}

fn reach(collections: &[&str], sessions: &[&str], users: &[&str]) -> Reach {
    let list = |names: &[&str]| (!names.is_empty()).then(|| names.iter().map(|&name| name.to_owned()).collect());
    Reach::new(list(collections), list(sessions), list(users)).expect("a reach")
}

impl Running {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let memory = MemoryBox::open(&MemoryConfig::new(folder.path()), Models::default()).expect("a box");
        let key = |name: &str| ApiKey::new(name, "a");
        let keys = vec![
            key("admin"),
            key("read").with_access(Access::Read),
            key("append").with_access(Access::Append),
            key("write").with_access(Access::Write),
            key("lena").with_reach(reach(&[], &[], &["lena"])),
            key("lena reads").with_reach(reach(&[], &[], &["lena"])).with_access(Access::Read),
            key("lena appends").with_reach(reach(&[], &[], &["lena"])).with_access(Access::Append),
            key("two users").with_reach(reach(&[], &[], &["lena", "omar"])),
            key("notes").with_reach(reach(&["notes"], &[], &[])),
            key("monday").with_reach(reach(&[], &["monday"], &[])),
        ];
        let server = Server::new(Arc::new(memory), ServerConfig { keys, ..ServerConfig::default() });
        Self { server: server.expect("a server"), _folder: folder }
    }

    async fn ask(&self, key: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {key}"));
        let request = request.header("content-type", "application/json").header("host", "127.0.0.1:8420");
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let response = self.server.router.clone().oneshot(request.body(body).expect("a request")).await;
        let response = response.expect("an answer");
        let status = response.status().as_u16();
        let text = to_bytes(response.into_body(), 8 << 20).await.expect("a body");
        let text = String::from_utf8_lossy(&text).into_owned();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn done(&self, key: &str, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask(key, method, path, body).await;
        assert!((200..300).contains(&status), "{key}: {method} {path}: {status} {answer}");
        answer
    }

    /// That it is refused for the key's sake; gives what is said.
    async fn refused(&self, key: &str, method: &str, path: &str, body: Value) -> String {
        let (status, answer) = self.ask(key, method, path, body).await;
        assert_eq!(status, 403, "{key}: {method} {path}: {answer}");
        answer["detail"].as_str().expect("a detail").to_owned()
    }

    /// Two collections with records of two users and of nobody, and a session of each user.
    async fn filled() -> Self {
        let running = Self::start();
        for collection in ["notes", "others"] {
            let path = format!("/v1/collections/{collection}");
            running.done("admin", "PUT", &path, json!({"dimension": 2})).await;
            let record = |id: &str, user: Value| {
                json!({"id": id, "text": format!("the key of {id}"),
                "vector": [1, 0], "user": user, "created_at": "2026-05-20T10:00:00Z"})
            };
            let records = [record("l", json!("lena")), record("o", json!("omar")), record("n", Value::Null)];
            running.done("admin", "POST", &format!("{path}/records"), json!({"records": records})).await;
        }
        for (session, user) in [("monday", "lena"), ("tuesday", "omar")] {
            let body = json!({"user": user, "collection": "notes", "metadata": {"of": user}});
            running.done("admin", "PUT", &format!("/v1/sessions/{session}"), body).await;
            running.done("admin", "POST", &format!("/v1/sessions/{session}/queue"), json!({"items": [user]})).await;
            let checkpoint = format!("/v1/threads/{session}/checkpoints/1");
            running.done("admin", "PUT", &checkpoint, json!({"state": user})).await;
        }
        running
    }

    async fn ids(&self, key: &str, path: &str) -> Vec<String> {
        let page = self.done(key, "GET", path, Value::Null).await;
        let ids = page["records"].as_array().expect("records").iter();
        ids.map(|record| record["id"].as_str().expect("an id").to_owned()).collect()
    }

    /// What a tool answers, and whether it is an error.
    async fn tool(&self, key: &str, name: &str, arguments: Value) -> (bool, Value) {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": name, "arguments": arguments}});
        let answer = self.done(key, "POST", "/mcp", call).await;
        let result = &answer["result"];
        assert!(result.is_object(), "{answer}");
        (result["isError"] == true, result["structuredContent"].clone())
    }
}

/// Every operation of the document that wants a key, with `other` for all parameters.
fn operations() -> Vec<(String, String, String)> {
    let document = crate::openapi().expect("the document");
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let mut asked = path.clone();
        while let (Some(begin), Some(end)) = (asked.find('{'), asked.find('}')) {
            asked.replace_range(begin..=end, "other");
        }
        let methods = item.as_object().expect("methods").keys().map(|method| method.to_uppercase());
        operations.extend(methods.map(|method| (method, path.clone(), asked.clone())));
    }
    operations.retain(|(method, path, _)| rule(method, path).access.is_some());
    assert!(operations.len() > 60, "{}", operations.len());
    operations
}

#[tokio::test]
async fn every_operation_wants_its_level_and_takes_all_above() {
    let running = Running::start();
    for (method, path, asked) in operations() {
        let wanted = rule(&method, &path).access.expect("a level");
        for access in Access::ALL {
            let (status, answer) = running.ask(access.name(), &method, &asked, Value::Null).await;
            let is_refused = status == 403;
            assert_eq!(is_refused, access < wanted, "{access}: {method} {path}: {status} {answer}");
            assert!(!is_refused || answer.to_string().contains("has the access"), "{answer}");
            assert_ne!(status, 401, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn every_operation_refuses_a_key_whose_lists_it_is_not_held_to_and_names_that_are_not_in_them() {
    let running = Running::start();
    for (method, path, asked) in operations() {
        let held_to = rule(&method, &path).held_to;
        let names = |parameters: &[&str]| parameters.iter().any(|name| path.contains(&format!("{{{name}}}")));
        let keys = [
            ("notes", held_to.collections, names(&["collection", "thread"]) || path.contains("{session}/queue")),
            ("monday", held_to.sessions, names(&["session", "thread"])),
            ("lena", held_to.users, names(&["user", "thread"]) || path.contains("{session}/queue")),
        ];
        for (key, is_held, is_named) in keys {
            let (status, answer) = running.ask(key, &method, &asked, Value::Null).await;
            if !is_held || is_named {
                assert_eq!(status, 403, "{key}: {method} {path}: {answer}");
            }
            if status == 403 {
                let said = answer.to_string();
                assert!(["collections", "sessions", "users"].iter().any(|list| said.contains(list)), "{said}");
            }
        }
    }
}

#[tokio::test]
async fn a_key_that_only_adds_replaces_nothing() {
    let running = Running::filled().await;
    let records = "/v1/collections/notes/records";
    let record = |id: &str, version: Value| {
        json!({"records": [{"id": id, "text": "new", "vector": [0, 1],
        "version": version}]})
    };
    for key in ["append", "lena appends"] {
        let (status, answer) = running.ask(key, "POST", records, record("l", Value::Null)).await;
        assert_eq!(status, 409, "{answer}");
        assert!(answer["detail"].as_str().is_some_and(|detail| detail.contains("\"l\" is there")), "{answer}");
        assert!(running.refused(key, "POST", records, record("l", json!(1))).await.contains("replaces no version"));
        running.done(key, "POST", records, record(&format!("new of {key}"), Value::Null)).await;
    }
    assert_eq!(running.done("read", "GET", &format!("{records}/l"), Value::Null).await["text"], "the key of l");
    let (status, answer) = running.ask("append", "PUT", "/v1/sessions/monday", json!({"ttl_s": 1})).await;
    assert_eq!(status, 409, "{answer}");
    running.done("append", "PUT", "/v1/sessions/friday", json!({"collection": "notes"})).await;
    let checkpoint = |id: &str| format!("/v1/threads/monday/checkpoints/{id}");
    let (status, answer) = running.ask("append", "PUT", &checkpoint("1"), json!({"state": 2})).await;
    assert_eq!(status, 409, "{answer}");
    running.done("append", "PUT", &checkpoint("2"), json!({"state": 2})).await;
    assert_eq!(running.done("read", "GET", &checkpoint("1"), Value::Null).await["state"], "lena");
    running.done("write", "POST", records, record("l", Value::Null)).await;
    running.done("write", "PUT", &checkpoint("1"), json!({"state": 3})).await;
}

#[tokio::test]
async fn a_key_of_a_user_finds_what_is_the_users_and_nothing_else() {
    let running = Running::filled().await;
    let notes = "/v1/collections/notes";
    let recall = |filter: Value| {
        json!({"query": "the key", "mode": "text", "filter": filter,
        "context": {"before": 5, "after": 5}})
    };
    let everything = json!({"or": [{"field": "user", "exists": true}, {"field": "user", "exists": false}]});
    for filter in [Value::Null, everything.clone(), json!({"field": "user", "eq": "omar"})] {
        let found = running.done("lena", "POST", &format!("{notes}/recall"), recall(filter.clone())).await;
        let ids: Vec<&str> =
            found["hits"].as_array().expect("hits").iter().filter_map(|hit| hit["id"].as_str()).collect();
        assert_eq!(ids, if filter["eq"] == "omar" { vec![] } else { vec!["l"] }, "{found}");
        assert!(!found.to_string().contains("of o") && !found.to_string().contains("of n"), "{found}");
    }
    let wrong = recall(json!({"and": [{"field": "user"}]}));
    let (status, answer) = running.ask("lena", "POST", &format!("{notes}/recall"), wrong).await;
    assert_eq!((status, &answer["errors"][0]["pointer"]), (400, &json!("/filter/and/0")), "the caller's own field");
    assert_eq!(running.ids("lena reads", &format!("{notes}/records")).await, ["l"]);
    assert_eq!(running.ids("two users", &format!("{notes}/records")).await, ["l", "o"]);
    let filter = "%7B%22field%22:%22user%22,%22exists%22:false%7D";
    assert!(running.ids("lena", &format!("{notes}/records?filter={filter}")).await.is_empty());
    let lists = |call: &str| format!("{notes}/records:{call}");
    let found = running.done("lena", "POST", &lists("get"), json!({"ids": ["o", "l", "x", "n"]})).await;
    assert_eq!((found["records"].as_array().map(Vec::len), &found["records"][0]["id"]), (Some(1), &json!("l")));
    let mut missing: Vec<&str> =
        found["missing"].as_array().expect("ids").iter().filter_map(|id| id.as_str()).collect();
    missing.sort_unstable();
    assert_eq!(missing, ["n", "o", "x"]);
    for filter in [Value::Null, everything.clone()] {
        let counted = running.done("lena", "POST", &lists("count"), json!({"filter": filter})).await;
        assert_eq!(counted["count"], 1);
        let facets = json!({"fields": ["id", "user"], "filter": filter});
        let facets = running.done("lena", "POST", &lists("facets"), facets).await;
        assert!(facets["count"] == 1 && !facets.to_string().contains("omar"), "{facets}");
        let listed = running.done("lena", "POST", &lists("scroll"), json!({"filter": filter})).await;
        assert_eq!((&listed["count"], &listed["records"][0]["id"]), (&json!(1), &json!("l")));
        let batch = json!({"recalls": [recall(filter.clone()), recall(filter)]});
        let found = running.done("lena", "POST", &format!("{notes}/recall:batch"), batch).await;
        assert!(!found.to_string().contains("of o") && !found.to_string().contains("of n"), "{found}");
    }
    let patch = |ids: Value, patch: Value| json!({"ids": ids, "patch": patch});
    let more = json!({"metadata": {"seen": true}});
    running.refused("lena", "POST", &lists("patch"), patch(json!(["l", "o"]), more.clone())).await;
    running.refused("lena", "POST", &lists("patch"), patch(json!(["l"]), json!({"user": "omar"}))).await;
    let (_, answer) = running.ask("lena", "POST", &lists("patch"), patch(json!(["l"]), json!({"user": null}))).await;
    assert_eq!(answer["errors"][0]["pointer"], "/patch/user");
    running.refused("lena reads", "POST", &lists("patch"), patch(json!(["l"]), more.clone())).await;
    assert_eq!(running.done("lena", "POST", &lists("patch"), patch(json!(["l"]), more)).await["patched"], 1);
    // One that is not there is as another's.
    let record = |id: &str| format!("{notes}/records/{id}");
    running.done("lena", "GET", &record("l"), Value::Null).await;
    let [of_omar, of_nobody, missing] = ["o", "n", "x"];
    for id in [of_omar, of_nobody, missing] {
        let said = running.refused("lena", "GET", &record(id), Value::Null).await;
        assert_eq!(said, format!("this key reaches no record {id:?}: there is none of its users"));
        running.refused("lena", "PATCH", &record(id), json!({"text": "mine"})).await;
        running.refused("lena", "DELETE", &record(id), Value::Null).await;
    }
    let counts = running.done("lena", "POST", &format!("{notes}/forget"), json!({"keep": 0, "dry_run": true})).await;
    assert_eq!((&counts["counted"], &counts["forgotten"]), (&json!(1), &json!(1)), "{counts}");
    running.refused("lena", "POST", &format!("{notes}/forget"), json!({"keep": 0, "user": "omar"})).await;
    for selection in [json!({"ids": ["l", "o", "n"]}), json!({"filter": everything})] {
        let path = "/v1/collections/others/records:delete";
        let deleted = running.done("lena", "POST", path, selection).await;
        assert!(deleted["deleted"].as_u64().is_some_and(|deleted| deleted <= 1), "{deleted}");
    }
    assert_eq!(running.ids("admin", "/v1/collections/others/records").await, ["o", "n"]);
}

#[tokio::test]
async fn what_a_key_of_a_user_writes_is_the_users() {
    let running = Running::filled().await;
    let records = "/v1/collections/notes/records";
    let write = |record: Value| json!({"records": [record]});
    let record = |id: &str, fields: Value| {
        let mut record = json!({"id": id, "text": "new", "vector": [0, 1]});
        record.as_object_mut().expect("fields").extend(fields.as_object().expect("fields").clone());
        write(record)
    };
    running.done("lena", "POST", records, record("mine", json!({}))).await;
    assert_eq!(running.done("admin", "GET", &format!("{records}/mine"), Value::Null).await["user"], "lena");
    for collection in ["user-omar", "user.2db95e8e1a9267b7a1188556b2013b33"] {
        running.done("admin", "PUT", &format!("/v1/collections/{collection}"), json!({"dimension": 2})).await;
        let path = format!("/v1/collections/{collection}/records");
        assert!(
            running.refused("lena", "POST", &path, record("own", json!({}))).await.contains("its users are others")
        );
        running.refused("lena", "PUT", "/v1/sessions/new", json!({"collection": collection})).await;
        let (failed, said) = running.tool("lena", "memory_add", json!({"text": "a", "collection": collection})).await;
        assert!(failed && said["error"].as_str().is_some_and(|error| error.contains("users")), "{said}");
    }
    // Another's record, user and session.
    for (id, fields) in
        [("o", json!({})), ("n", json!({})), ("x", json!({"user": "omar"})), ("y", json!({"session": "tuesday"}))]
    {
        running.refused("lena", "POST", records, record(id, fields)).await;
    }
    assert!(running.refused("two users", "POST", records, record("z", json!({}))).await.contains("name one of them"));
    for patch in [json!({"user": "omar"}), json!({"user": null}), json!({"session": "tuesday"})] {
        running.refused("lena", "PATCH", &format!("{records}/mine"), patch).await;
    }
    running.done("lena", "PATCH", &format!("{records}/mine"), json!({"importance": 0.5, "session": "monday"})).await;
    running.done("lena", "DELETE", &format!("{records}/mine"), Value::Null).await;
    running.done("lena", "PUT", "/v1/sessions/friday", json!({"collection": "notes"})).await;
    assert_eq!(running.done("admin", "GET", "/v1/sessions/friday", Value::Null).await["user"], "lena");
    running.refused("lena", "PUT", "/v1/sessions/saturday", json!({"user": "omar"})).await;
    let usage = |user: &str| json!({"user": user, "tokens": 5});
    running.done("lena", "POST", "/v1/usage", usage("lena")).await;
    running.refused("lena", "POST", "/v1/usage", usage("omar")).await;
}

#[tokio::test]
async fn sessions_are_reached_by_their_names_users_and_collections() {
    let running = Running::filled().await;
    for key in ["lena", "monday"] {
        running.done(key, "GET", "/v1/sessions/monday", Value::Null).await;
        running.done(key, "GET", "/v1/sessions/monday/context?strategy=recent", Value::Null).await;
        running.done(key, "POST", "/v1/sessions/monday/queue:take", json!({})).await;
        running.done(key, "GET", "/v1/threads/monday/checkpoints/latest", Value::Null).await;
        for session in ["tuesday", "nothing"] {
            for path in ["", "/messages", "/messages/1", "/context", "/queue"] {
                running.refused(key, "GET", &format!("/v1/sessions/{session}{path}"), Value::Null).await;
            }
            running.refused(key, "POST", &format!("/v1/sessions/{session}/queue"), json!({"items": [1]})).await;
            running.refused(key, "DELETE", &format!("/v1/sessions/{session}"), Value::Null).await;
            running.refused(key, "GET", &format!("/v1/threads/{session}/checkpoints"), Value::Null).await;
            running.refused(key, "GET", &format!("/v1/threads/{session}/namespaces"), Value::Null).await;
            let copy = json!({"to": session});
            running.refused(key, "POST", "/v1/threads/monday/checkpoints:copy", copy).await;
        }
        running.refused(key, "GET", "/v1/threads", Value::Null).await;
        let message = json!({"role": "user", "content": ""});
        let said = json!({"session": "tuesday", "messages": [message], "force": true});
        running.refused(key, "POST", "/v1/memories", said).await;
        running.refused(key, "POST", "/v1/memories", json!({"session": "tuesday", "force": true})).await;
        let wide = "/v1/sessions/monday/context?strategy=recall&scope=collection";
        assert!(running.refused(key, "GET", wide, Value::Null).await.contains("whole collection"));
    }
    running.refused("monday", "GET", "/v1/sessions/monday/context?scope=user", Value::Null).await;
    let list = running.done("lena", "GET", "/v1/sessions", Value::Null).await;
    assert_eq!(list["sessions"].as_array().map(Vec::len), Some(1), "{list}");
    running.refused("lena", "GET", "/v1/sessions?user=omar", Value::Null).await;
    running.refused("monday", "GET", "/v1/sessions", Value::Null).await;
    // By the collection that a session is in.
    running.done("notes", "GET", "/v1/sessions/tuesday", Value::Null).await;
    running.done("admin", "PUT", "/v1/sessions/elsewhere", json!({"collection": "others"})).await;
    running.refused("notes", "GET", "/v1/sessions/elsewhere", Value::Null).await;
    running.refused("notes", "PUT", "/v1/sessions/new", json!({"collection": "others"})).await;
    running.done("notes", "PUT", "/v1/sessions/new", json!({})).await;
    assert_eq!(running.done("admin", "GET", "/v1/sessions/new", Value::Null).await["collection"], "notes");
}

#[tokio::test]
async fn a_key_of_a_collection_sees_no_other() {
    let running = Running::filled().await;
    let list = running.done("notes", "GET", "/v1/collections", Value::Null).await;
    let names: Vec<&str> =
        list["collections"].as_array().expect("a list").iter().filter_map(|c| c["name"].as_str()).collect();
    assert_eq!(names, ["notes"]);
    assert_eq!(running.ids("notes", "/v1/collections/notes/records").await, ["l", "o", "n"]);
    for path in ["", "/records", "/records/l"] {
        let there = running.refused("notes", "GET", &format!("/v1/collections/others{path}"), Value::Null).await;
        let missing = running.refused("notes", "GET", &format!("/v1/collections/missing{path}"), Value::Null).await;
        assert_eq!(there.replace("\"others\"", "\"missing\""), missing, "nothing is told of what is there");
    }
    for path in ["/v1/jobs", "/v1/audit", "/v1/tenant", "/v1/users/lena/export", "/v1/usage", "/metrics"] {
        running.refused("notes", "GET", path, Value::Null).await;
    }
}

#[tokio::test]
async fn a_header_of_another_tenant_and_a_session_over_two_lists_are_refused() {
    let running = Running::filled().await;
    let lists = Reach::new(None, Some(vec!["monday".into()]), Some(vec!["omar".into()])).expect("a reach");
    running.server.keys().replace(vec![ApiKey::new("both", "a").with_reach(lists)], None).expect("keys");
    running.refused("both", "GET", "/v1/sessions/monday", Value::Null).await;
    running.refused("both", "GET", "/v1/sessions/tuesday", Value::Null).await;
    assert!(Reach::new(Some(Vec::new()), None, None).is_err_and(|error| error.starts_with("collections")));
}

#[tokio::test]
async fn tools_act_as_the_user_of_their_key_alone() {
    let running = Running::filled().await;
    running.done("admin", "PUT", "/v1/collections/user-lena", json!({"dimension": 2})).await;
    let record = json!({"id": "own", "text": "the spare key", "vector": [1, 0], "user": "lena"});
    running.done("lena", "POST", "/v1/collections/user-lena/records", json!({"records": [record]})).await;
    let (failed, found) = running.tool("lena", "memory_list", json!({})).await;
    assert!(!failed && found["memories"][0]["id"] == "own", "{found}");
    let (failed, found) = running.tool("lena", "memory_list", json!({"collection": "notes"})).await;
    assert_eq!((failed, found["memories"].as_array().map(Vec::len)), (false, Some(1)), "{found}");
    for (tool, arguments) in [
        ("memory_list", json!({"user": "omar"})),
        ("memory_search", json!({"query": "key", "user": "omar"})),
        ("memory_add", json!({"text": "a", "user": "omar"})),
        ("memory_add", json!({"text": "a", "session": "tuesday"})),
        ("memory_context", json!({"session": "tuesday"})),
        ("session_append", json!({"session": "tuesday", "messages": [{"role": "user", "content": "a"}]})),
        ("memory_update", json!({"collection": "notes", "id": "o", "importance": 1})),
        ("add_memory", json!({"user_input": "a", "session": "tuesday"})),
        ("add_memory", json!({"user_input": "a", "user": "omar"})),
        ("retrieve_memory", json!({"query": "key", "user": "omar"})),
        ("offline_update", json!({"user": "omar"})),
    ] {
        let (failed, said) = running.tool("lena", tool, arguments.clone()).await;
        let detail = said["error"].as_str().unwrap_or_default();
        assert!(failed && detail.contains("this key"), "{tool} {arguments}: {said}");
    }
    let (failed, said) = running.tool("lena", "memory_forget", json!({"collection": "notes", "ids": ["l", "o"]})).await;
    assert!(!failed && said["deleted"] == 1, "{said}");
    let (failed, said) = running.tool("lena", "memory_update", json!({"id": "own", "importance": 1})).await;
    assert!(!failed, "{said}");
}

#[tokio::test]
async fn tools_are_those_that_the_key_may_use() {
    let running = Running::start();
    let listed = |key: &'static str| {
        let running = &running;
        async move {
            let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
            let answer = running.done(key, "POST", "/mcp", list).await;
            let tools = answer["result"]["tools"].as_array().expect("tools").clone();
            tools.into_iter().filter_map(|tool| tool["name"].as_str().map(str::to_owned)).collect::<Vec<_>>()
        }
    };
    assert_eq!(listed("admin").await.len(), 12);
    let of_reader = listed("read").await;
    assert!(of_reader.contains(&"memory_search".to_owned()) && !of_reader.contains(&"memory_add".to_owned()));
    let (failed, said) = running.tool("read", "memory_add", json!({"text": "a"})).await;
    assert!(failed && said["error"].as_str().is_some_and(|error| error.contains("\"append\"")), "{said}");
    let (failed, said) = running.tool("append", "memory_forget", json!({"ids": ["a"]})).await;
    assert!(failed && said["error"].as_str().is_some_and(|error| error.contains("\"write\"")), "{said}");
}
