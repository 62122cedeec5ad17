//! agent-memory-server's routes, as its client says them. The client itself is run by `make test-clients`.

use crate::common::{Server, post, started};
use serde_json::{Value, json};

const LONG_TERM: &str = "/v1/long-term-memory/";

fn call(server: &Server, method: &str, path: &str, body: &Value) -> Value {
    let (status, answer) = server.call(method, path, body);
    assert_eq!(status, 200, "{method} {path}: {answer}");
    answer
}

fn get(server: &Server, path: &str) -> Value {
    call(server, "GET", path, &Value::Null)
}

fn found(answer: &Value) -> Vec<&str> {
    answer["memories"].as_array().expect("memories").iter().filter_map(|memory| memory["id"].as_str()).collect()
}

#[test]
fn before_anything_is_written_there_is_nothing() {
    let (_folder, server) = started("");
    assert!(get(&server, "/v1/health")["now"].as_i64() > Some(1_700_000_000_000));
    assert_eq!(get(&server, "/v1/working-memory/?limit=20&offset=0"), json!({"sessions": [], "total": 0}));
    assert_eq!(
        post(&server, "/v1/long-term-memory/search", &json!({"text": "tea"})),
        json!({"memories": [], "total": 0})
    );
    for path in ["/v1/working-memory/s", "/v1/long-term-memory/x"] {
        let (status, problem) = server.call("GET", path, &Value::Null);
        assert_eq!((status, problem["detail"].is_string()), (404, true), "{path}: {problem}");
    }
    assert_eq!(call(&server, "DELETE", "/v1/working-memory/s", &Value::Null), json!({"status": "ok"}));
    let deleted = call(&server, "DELETE", "/v1/long-term-memory?memory_ids=x", &Value::Null);
    assert_eq!(deleted["status"], "ok, deleted 0 memories");
    server.stop();
}

#[test]
fn a_working_memory_is_replaced_listed_cut_and_dropped_and_its_memories_are_long_term() {
    let (_folder, server) = started("");
    let path = "/v1/working-memory/s1?namespace=kitchen";
    let message = |id: &str, content: &str| {
        json!({"id": id, "role": "user", "content": content,
        "created_at": "2026-05-20T15:00:00.123456Z"})
    };
    let memory = json!({"messages": [message("1", "I am Alex."), message("2", "I am vegetarian.")],
        "memories": [{"id": "diet", "text": "Alex is vegetarian.", "topics": ["food"]}],
        "data": {"n": 9007199254740993u64}, "context": "They met.", "user_id": "alex", "namespace": "kitchen",
        "unknown": 1});
    let kept = call(&server, "PUT", "/v1/working-memory/s1", &memory);
    assert_eq!((&kept["session_id"], &kept["data"]["n"]), (&json!("s1"), &json!(9_007_199_254_740_993u64)));
    assert!(kept["memories"][0]["persisted_at"].is_string(), "{kept}");
    assert_eq!(get(&server, path), kept);
    let long_term = get(&server, "/v1/long-term-memory/diet");
    let of = (&long_term["user_id"], &long_term["session_id"], &long_term["namespace"]);
    assert_eq!(of, (&json!("alex"), &json!("s1"), &json!("kitchen")));

    let (_, longer) = server.call(
        "PUT",
        "/v1/working-memory/s1",
        &json!({"messages": [message("3", "Hello.")],
        "namespace": "kitchen", "memories": kept["memories"]}),
    );
    assert_eq!(longer["messages"].as_array().map(Vec::len), Some(1), "it is replaced: {longer}");
    assert_eq!((&longer["user_id"], &longer["created_at"]), (&Value::Null, &kept["created_at"]));
    call(&server, "PUT", "/v1/working-memory/s1", &memory);
    call(&server, "PUT", "/v1/working-memory/s2?user_id=bo", &json!({"namespace": "kitchen", "ttl_seconds": 600}));
    let listed = get(&server, "/v1/working-memory/?namespace=kitchen&limit=1");
    assert_eq!(listed, json!({"sessions": ["s2"], "total": 2}));
    let listed = get(&server, "/v1/working-memory/?namespace=kitchen&user_id=alex");
    assert_eq!(listed, json!({"sessions": ["s1"], "total": 1}));
    assert_eq!(get(&server, "/v1/working-memory")["total"], 2);
    for elsewhere in ["/v1/working-memory/s1", &format!("{path}&user_id=bo")] {
        assert_eq!(server.call("GET", elsewhere, &Value::Null).0, 404, "{elsewhere}");
    }
    let cut = get(&server, &format!("{path}&context_window_max=7"));
    assert_eq!((&cut["messages"][0]["id"], cut["messages"].as_array().map(Vec::len)), (&json!("2"), Some(1)), "{cut}");
    assert!(cut["context_percentage_total_used"].as_f64() > Some(50.0), "{cut}");
    assert_eq!(get(&server, &format!("{path}&recent_messages_limit=1"))["messages"][0]["id"], "2");

    assert_eq!(call(&server, "DELETE", &format!("{path}&user_id=bo"), &Value::Null), json!({"status": "ok"}));
    assert_eq!(get(&server, path)["user_id"], "alex", "that of another is not there");
    call(&server, "DELETE", path, &Value::Null);
    assert_eq!(server.call("GET", path, &Value::Null).0, 404);
    assert_eq!(server.job("/v1/users/bo/erase", &json!({}))["records"], 1);
    assert_eq!(get(&server, "/v1/working-memory")["total"], 0);
    server.stop();
}

#[test]
fn long_term_memories_are_found_changed_and_forgotten() {
    let (_folder, server) = started("");
    let memories = json!({"memories": [
        {"id": "tea", "text": "Lena likes green tea.", "user_id": "lena", "topics": ["drink"], "namespace": "n",
            "created_at": "2025-05-20T15:00:00"},
        {"id": "dog", "text": "Lena walks her dog by the river.", "user_id": "lena", "topics": ["pets", "walks"],
            "entities": ["Lena"], "memory_type": "episodic", "created_at": "2026-05-20T15:00:00Z",
            "event_date": "2026-05-20T15:00:00+02:00"},
        {"id": "rent", "text": "Bo pays the rent on the first.", "user_id": "bo", "session_id": "s", "pinned": true,
            "created_at": "2026-06-20T15:00:00Z"}],
        "deduplicate": true});
    assert_eq!(call(&server, "POST", LONG_TERM, &memories), json!({"status": "ok"}));
    let search = |body: Value| post(&server, "/v1/long-term-memory/search?optimize_query=false", &body);
    let tea = search(json!({"text": "what does she drink?"}));
    assert_eq!(found(&tea)[0], "tea");
    let first = &tea["memories"][0];
    assert!(first["dist"].as_f64().is_some_and(|dist| dist > 0.0 && dist < 1.0), "{first}");
    assert_eq!((&first["created_at"], &first["memory_type"]), (&json!("2025-05-20T15:00:00Z"), &json!("semantic")));
    let near = search(json!({"text": "what does she drink?", "distance_threshold": first["dist"]}));
    assert_eq!(found(&near), ["tea"]);
    for mode in ["keyword", "hybrid"] {
        assert_eq!(found(&search(json!({"text": "river", "search_mode": mode})))[0], "dog", "{mode}");
    }
    for (filter, ids) in [
        (json!({"user_id": {"eq": "lena"}}), vec!["dog", "tea"]),
        (json!({"namespace": {"not_eq": "n"}}), vec!["rent", "dog"]),
        (json!({"topics": {"all": ["pets", "walks"]}}), vec!["dog"]),
        (json!({"topics": {"any": ["drink"]}, "entities": {}}), vec!["tea"]),
        (json!({"memory_type": {"eq": "episodic"}}), vec!["dog"]),
        (json!({"session_id": {"in_": ["s"]}}), vec!["rent"]),
        (json!({"created_at": {"lt": "2026-01-01T00:00:00Z"}}), vec!["tea"]),
        (json!({"event_date": {"gte": "2026-05-20T12:59:00Z", "lt": "2026-05-20T13:01:00Z"}}), vec!["dog"]),
    ] {
        assert_eq!(found(&search(filter.clone())), ids, "{filter}");
    }
    let page = search(json!({"limit": 1, "offset": 1}));
    assert_eq!((found(&page), &page["next_offset"]), (vec!["dog"], &json!(2)));
    let page = search(json!({"text": "Lena", "limit": 1, "offset": 2}));
    assert_eq!((found(&page).len(), &page["next_offset"]), (1, &Value::Null));

    let changed = call(
        &server,
        "PATCH",
        "/v1/long-term-memory/tea",
        &json!({"text": "Lena likes black tea.",
        "topics": ["drink", "tea"]}),
    );
    assert_eq!((&changed["text"], &changed["namespace"]), (&json!("Lena likes black tea."), &json!("n")));
    assert_eq!(get(&server, "/v1/long-term-memory/tea"), changed);
    assert_eq!(server.call("PATCH", "/v1/long-term-memory/none", &json!({"text": "x"})).0, 404);

    let forget = "/v1/long-term-memory/forget";
    let policy = json!({"policy": {"budget": 1}, "pinned_ids": []});
    let would = json!({"scanned": 3, "deleted": 1, "deleted_ids": ["tea"], "dry_run": true});
    assert_eq!(post(&server, forget, &policy), would);
    assert_eq!(post(&server, &format!("{forget}?dry_run=false&user_id=bo"), &policy)["scanned"], 1);
    assert_eq!(post(&server, &format!("{forget}?dry_run=false"), &policy)["deleted"], 1);
    assert_eq!(found(&search(json!({}))), ["rent", "dog"]);
    let path = "/v1/long-term-memory?memory_ids=rent&memory_ids=none&memory_ids=dog";
    assert_eq!(call(&server, "DELETE", path, &Value::Null)["status"], "ok, deleted 2 memories");
    server.stop();
}

#[test]
fn a_prompt_has_what_was_said_and_what_is_remembered() {
    let (_folder, server) = started("");
    let memory = json!({"messages": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}],
        "context": "They met.", "user_id": "lena"});
    call(&server, "PUT", "/v1/working-memory/s", &memory);
    let memories = json!({"memories": [{"id": "tea", "text": "Lena likes tea.", "user_id": "lena"},
        {"id": "own", "text": "Lena said hi.", "user_id": "lena", "session_id": "s"},
        {"id": "bo", "text": "Bo likes tea.", "user_id": "bo"}]});
    call(&server, "POST", LONG_TERM, &memories);
    let session = json!({"session_id": "s", "user_id": "lena", "context_window_max": "100"});
    let prompt = json!({"query": "tea?", "session": session, "long_term_search": true});
    let prompted = post(&server, "/v1/memory/prompt", &prompt);
    let said: Vec<(&str, &str)> = prompted["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .filter_map(|m| Some((m["role"].as_str()?, m["content"]["text"].as_str()?)))
        .collect();
    let wanted = [
        ("system", "## A summary of the conversation so far:\nThey met."),
        ("user", "Hi."),
        ("assistant", "Hello."),
        ("system", "## Long term memories related to the user's query\n - Lena likes tea. (ID: tea)"),
        ("user", "tea?"),
    ];
    assert_eq!(said, wanted);
    assert_eq!(prompted["long_term_memories"][0]["id"], "tea");
    let none = json!({"query": "tea?", "long_term_search": {"namespace": {"eq": "elsewhere"}}});
    let text = post(&server, "/v1/memory/prompt", &none)["messages"][0]["content"]["text"].clone();
    assert!(text.as_str().is_some_and(|text| text.ends_with("No relevant long-term memories found.")), "{text}");
    let unknown = post(&server, "/v1/memory/prompt", &json!({"query": "tea?", "session": {"session_id": "none"}}));
    assert_eq!(unknown["messages"].as_array().map(Vec::len), Some(1));
    server.stop();
}

#[test]
fn what_is_wrong_is_refused_by_its_place() {
    let (_folder, server) = started("");
    let (working, search) = ("/v1/working-memory/s", "/v1/long-term-memory/search");
    let big = br#"{"data": {"n": 123456789012345678901234567890}}"#.to_vec();
    let (status, _, text) = server.raw("PUT", working, &[("content-type", "application/json")], big);
    assert!(status == 400 && text.contains("/data/n"), "{status} {text}");
    for (method, path, body, status, pointer) in [
        ("PUT", working, json!({"messages": [{"role": "user", "content": " "}]}), 400, "/messages/0/content"),
        (
            "PUT",
            working,
            json!({"messages": [{"role": "user", "content": "x", "created_at": "soon"}]}),
            400,
            "/messages/0/created_at",
        ),
        ("PUT", working, json!({"memories": [{"id": "x", "text": ""}]}), 422, "/memories/0/text"),
        ("POST", LONG_TERM, json!({"memories": []}), 400, "/memories"),
        ("POST", LONG_TERM, json!({"memories": [{"text": "x"}]}), 400, "/memories/0"),
        ("POST", LONG_TERM, json!({"memories": [{"id": "", "text": "x"}]}), 400, "/memories/0/id"),
        (
            "POST",
            LONG_TERM,
            json!({"memories": [{"id": "x", "text": "x", "memory_type": "y"}]}),
            400,
            "/memories/0/memory_type",
        ),
        ("POST", search, json!({"text": "x", "limit": 101}), 400, "/limit"),
        ("POST", search, json!({"text": "x", "topics": {"near": "y"}}), 400, "/topics/near"),
        ("POST", search, json!({"text": "x", "distance_threshold": 3}), 400, "/distance_threshold"),
        ("POST", search, json!({"last_accessed": {"lt": "2026-01-01T00:00:00Z"}}), 422, "/last_accessed"),
        ("PATCH", "/v1/long-term-memory/x", json!({}), 400, ""),
        ("POST", "/v1/memory/prompt", json!({"query": "x"}), 400, ""),
        (
            "POST",
            "/v1/memory/prompt",
            json!({"query": "x", "long_term_search": {"limit": 0}}),
            400,
            "/long_term_search/limit",
        ),
        ("GET", "/v1/working-memory?limit=101", Value::Null, 400, "/limit"),
    ] {
        let (found, problem) = server.call(method, path, &body);
        assert_eq!((found, &problem["errors"][0]["pointer"]), (status, &json!(pointer)), "{path} {body}: {problem}");
    }
    server.stop();
}
