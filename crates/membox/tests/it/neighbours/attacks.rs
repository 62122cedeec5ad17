//! The most expensive bodies that a box takes, by route.

use super::ATTACKER;
use super::client::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::{DynamicImage, ImageFormat, RgbImage};
use serde_json::{Value, json};
use std::io::Cursor;

/// What the attacker does with answers.
pub enum Pace {
    Read,
    /// It keeps the connection and reads nothing.
    Leave,
    /// It goes away while the box works.
    HangUp,
}

pub struct Attack {
    pub name: &'static str,
    pub routes: &'static [&'static str],
    pub pace: Pace,
    /// The request of a number.
    pub request: Box<dyn Fn(usize) -> Request + Sync>,
}

/// Routes that answer with what lies in memory, whoever asks and whatever is stored.
pub const ROUTES_OF_NO_COST: [&str; 9] = [
    "GET /",
    "GET /health",
    "GET /ping",
    "GET /ready",
    "GET /info",
    "GET /v1/models",
    "GET /v1/models/{model}",
    "GET /v1/models/{organisation}/{model}",
    // It wants a key of its own on a box with keys, or shows the asker's own.
    "GET /metrics",
];

const SENTENCE: &str = "The committee met in the blue room by the harbour and spoke for hours about the costs of it. ";

/// The same body each time, sent to one place.
fn always(
    name: &'static str,
    routes: &'static [&'static str],
    pace: Pace,
    (method, path): (&'static str, &'static str),
    body: &Value,
) -> Attack {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    Attack { name, routes, pace, request: Box::new(move |_| Request::new(method, path, ATTACKER, body.as_bytes())) }
}

/// One of several requests in turn.
fn in_turn(name: &'static str, routes: &'static [&'static str], all: Vec<(&'static str, String, Value)>) -> Attack {
    let request = move |n: usize| {
        let (method, path, body) = &all[n % all.len()];
        Request::json(method, path, ATTACKER, body)
    };
    Attack { name, routes, pace: Pace::Read, request: Box::new(request) }
}

pub fn attacks() -> Vec<Attack> {
    [of_the_engines(), of_recall(), of_records(), of_sessions(), of_the_whole()].into_iter().flatten().collect()
}

fn of_the_engines() -> Vec<Attack> {
    let texts = vec![SENTENCE.repeat(12); 2048];
    let long = SENTENCE.repeat(8000);
    vec![
        always(
            "2048 long texts to embed",
            &["POST /v1/embeddings"],
            Pace::Read,
            ("POST", "/v1/embeddings"),
            &json!({ "input": texts }),
        ),
        always(
            "2048 long texts to embed, gone",
            &["POST /embed"],
            Pace::HangUp,
            ("POST", "/embed"),
            &json!({ "inputs": texts }),
        ),
        always(
            "700 kB to tokenize",
            &["POST /tokenize"],
            Pace::Read,
            ("POST", "/tokenize"),
            &json!({ "inputs": long }),
        ),
        in_turn(
            "2048 long texts in the other words",
            &["POST /embeddings", "POST /", "POST /invocations", "POST /vertex", "POST /similarity"],
            vec![
                ("POST", "/embeddings".into(), json!({ "input": texts })),
                ("POST", "/".into(), json!({ "inputs": texts, "truncation_direction": "left" })),
                ("POST", "/invocations".into(), json!({ "inputs": texts, "normalize": false })),
                ("POST", "/vertex".into(), json!({"instances": vec![json!({"inputs": texts[0]}); 2048]})),
                (
                    "POST",
                    "/similarity".into(),
                    json!({"inputs": {"source_sentence": "Where?", "sentences": texts[1..]}}),
                ),
            ],
        ),
        // 40 MB and 110 MB as text, or more than there is for a tenant.
        in_turn(
            "the states of all tokens of 100 long texts",
            &["POST /embed_all"],
            vec![
                ("POST", "/embed_all".into(), json!({ "inputs": texts[..100] })),
                ("POST", "/embed_all".into(), json!({ "inputs": texts })),
            ],
        ),
        in_turn(
            "what wants other models",
            &["POST /embed_sparse", "POST /rerank", "POST /v1/rerank", "POST /v2/rerank", "POST /predict"],
            vec![
                ("POST", "/embed_sparse".into(), json!({ "inputs": texts })),
                ("POST", "/rerank".into(), json!({"query": long, "texts": texts})),
                ("POST", "/v1/rerank".into(), json!({"query": long, "documents": texts})),
                ("POST", "/v2/rerank".into(), json!({"query": long, "documents": texts})),
                ("POST", "/predict".into(), json!({"inputs": vec![[SENTENCE, SENTENCE]; 2048]})),
            ],
        ),
        always(
            "200 000 ids to decode",
            &["POST /decode"],
            Pace::Read,
            ("POST", "/decode"),
            &json!({"ids": vec![vec![7592; 1000]; 200]}),
        ),
        always("30 MB to tokenize", &[], Pace::Read, ("POST", "/tokenize"), &json!({"inputs": "a ".repeat(15 << 20)})),
        always(
            "700 kB to count",
            &["POST /v1/tokens"],
            Pace::Read,
            ("POST", "/v1/tokens"),
            &json!({ "input": [long] }),
        ),
        always(
            "200 kB into chunks of one character",
            &["POST /v1/chunks"],
            Pace::Read,
            ("POST", "/v1/chunks"),
            &json!({"text": "a b\n".repeat(50_000), "size": 1, "overlap": 0}),
        ),
        always(
            "700 kB to compress",
            &["POST /v1/compress"],
            Pace::Read,
            ("POST", "/v1/compress"),
            &json!({"context": long, "rate": 0.5}),
        ),
    ]
}

fn of_recall() -> Vec<Attack> {
    let vector: Vec<f32> = (0..384).map(|d| (d as f32 * 0.37).sin()).collect();
    let recall = ("POST", "/v1/collections/big/recall");
    let by_vector = |more: Value| {
        let mut body = json!({"vector": vector, "mode": "vector", "k": 10_000, "include": []});
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        body
    };
    let conditions: Vec<Value> = (0..990).map(|n| json!({"field": "metadata.n", "gte": n, "lt": n + 30_000})).collect();
    let route = &["POST /v1/collections/{collection}/recall"];
    vec![
        always("recalls of 10 000", route, Pace::Read, recall, &by_vector(json!({"include": ["text", "metadata"]}))),
        always(
            "recalls of 10 000, unread",
            &[],
            Pace::Leave,
            recall,
            &by_vector(json!({"include": ["text", "vector"]})),
        ),
        always(
            "recalls with MMR, gone",
            &[],
            Pace::HangUp,
            recall,
            &by_vector(json!({"k": 1000, "rerank": {"mmr_lambda": 0.5}})),
        ),
        always(
            "recalls with a budget of 10¹² tokens",
            &[],
            Pace::Read,
            recall,
            &by_vector(json!({"budget": {"tokens": 1_000_000_000_000u64}})),
        ),
        always(
            "recalls with 990 conditions",
            &[],
            Pace::Read,
            recall,
            &by_vector(json!({"k": 10, "filter": {"and": conditions}})),
        ),
        always(
            "64 long questions a recall",
            &[],
            Pace::Read,
            recall,
            &json!({"queries": vec![SENTENCE.repeat(20); 64], "k": 1000, "include": []}),
        ),
    ]
}

fn of_records() -> Vec<Attack> {
    let write = ("POST", "/v1/collections/big/records");
    let texts: Vec<Value> = (0..500).map(|n| json!({"id": format!("x{n}"), "text": SENTENCE.repeat(12)})).collect();
    let small = vec![r#"{"":0}"#; 4_000_000].join(",");
    let keys = format!(r#"{{"records":[{{"text":"a","metadata":{{"x":[{small}]}}}}]}}"#);
    let filter = json!({"field": "metadata.n", "lt": 1_000_000});
    let ids: Vec<String> = (0..10_000).map(|n| format!("none{n}")).collect();
    let some: Vec<String> = (0..2000).map(|n| format!("r{n}")).collect();
    let recall = json!({"query": "the harbour", "k": 100});
    vec![
        always(
            "500 long records to write",
            &["POST /v1/collections/{collection}/records"],
            Pace::Read,
            write,
            &json!({ "records": texts }),
        ),
        Attack {
            name: "28 MB of small keys",
            routes: &[],
            pace: Pace::Read,
            request: Box::new(move |_| Request::new("POST", "/v1/collections/big/records", ATTACKER, keys.as_bytes())),
        },
        always(
            "pages of 1000 records, unread",
            &["GET /v1/collections/{collection}/records"],
            Pace::Leave,
            ("GET", "/v1/collections/big/records?limit=1000"),
            &Value::Null,
        ),
        in_turn(
            "look-ups, changes and deletions of records",
            &[
                "GET /v1/collections/{collection}/records/{id}",
                "PATCH /v1/collections/{collection}/records/{id}",
                "DELETE /v1/collections/{collection}/records/{id}",
                "POST /v1/collections/{collection}/records:delete",
                "POST /v1/collections/{collection}/recall:batch",
                "POST /v1/collections/{collection}/records:get",
                "POST /v1/collections/{collection}/records:count",
                "POST /v1/collections/{collection}/records:facets",
                "POST /v1/collections/{collection}/records:scroll",
                "POST /v1/collections/{collection}/records:patch",
                "POST /v1/collections/{collection}/forget",
            ],
            vec![
                ("GET", "/v1/collections/big/records/r1".into(), Value::Null),
                ("PATCH", "/v1/collections/big/records/r2".into(), json!({"text": SENTENCE.repeat(300)})),
                ("DELETE", "/v1/collections/big/records/r3".into(), Value::Null),
                ("POST", "/v1/collections/big/recall:batch".into(), json!({"recalls": vec![recall; 32]})),
                ("POST", "/v1/collections/big/records:get".into(), json!({ "ids": some, "with": ["vector"] })),
                (
                    "POST",
                    "/v1/collections/big/records:count".into(),
                    json!({"filter": {"field": "id", "contains": "1"}}),
                ),
                ("POST", "/v1/collections/big/records:facets".into(), json!({"fields": ["id"], "limit": 1000})),
                (
                    "POST",
                    "/v1/collections/big/records:scroll".into(),
                    json!({"order_by": {"field": "id", "direction": "desc"}, "limit": 1000}),
                ),
                ("POST", "/v1/collections/big/records:patch".into(), json!({ "ids": some, "patch": {"kind": "a"} })),
                ("POST", "/v1/collections/big/records:delete".into(), json!({ "ids": ids })),
                (
                    "POST",
                    "/v1/collections/big/forget".into(),
                    json!({"keep": 100, "filter": filter, "half_life_s": 100.0, "dry_run": true}),
                ),
            ],
        ),
        in_turn(
            "collections and jobs on them",
            &[
                "GET /v1/collections",
                "GET /v1/collections/{collection}",
                "PUT /v1/collections/{collection}",
                "DELETE /v1/collections/{collection}",
                "POST /v1/collections/{collection}/rebuild",
                "POST /v1/collections/{collection}/reembed",
                "POST /v1/collections/{collection}/token-vectors",
                "POST /v1/collections/{collection}/consolidate",
                "GET /v1/jobs",
                "GET /v1/jobs/{id}",
                "DELETE /v1/jobs/{id}",
            ],
            vec![
                ("GET", "/v1/collections".into(), Value::Null),
                ("GET", "/v1/collections/big".into(), Value::Null),
                ("PUT", "/v1/collections/another".into(), json!({})),
                ("POST", "/v1/collections/big/rebuild".into(), Value::Null),
                ("POST", "/v1/collections/another/reembed".into(), Value::Null),
                ("POST", "/v1/collections/big/token-vectors".into(), Value::Null),
                ("POST", "/v1/collections/big/consolidate".into(), json!({})),
                ("GET", "/v1/jobs?limit=1000".into(), Value::Null),
                ("GET", "/v1/jobs/none".into(), Value::Null),
                ("DELETE", "/v1/jobs/none".into(), Value::Null),
                ("DELETE", "/v1/collections/another".into(), Value::Null),
            ],
        ),
    ]
}

/// A picture of few bytes that is large once it is read.
fn picture() -> String {
    let mut bytes = Cursor::new(Vec::new());
    let picture = DynamicImage::ImageRgb8(RgbImage::new(6000, 6000));
    picture.write_to(&mut bytes, ImageFormat::Png).expect("a picture");
    format!("data:image/png;base64,{}", STANDARD.encode(bytes.into_inner()))
}

fn of_sessions() -> Vec<Attack> {
    let messages: Vec<Value> = (0..250).map(|_| json!({"role": "user", "content": SENTENCE.repeat(12)})).collect();
    let state = json!({"state": "y".repeat(1_000_000)});
    let pictured = json!({"role": "user", "type": "image", "content": "", "media": {"data": picture()}});
    let context = |strategy: &str| {
        let path = format!("/v1/sessions/s/context?strategy={strategy}&max_tokens=1000000&query=the%20harbour");
        ("GET", path, Value::Null)
    };
    let texts: Vec<String> = (0..100).map(|_| SENTENCE.repeat(3)).collect();
    let said: Vec<Value> = (0..100).map(|_| json!({"content": SENTENCE.repeat(3)})).collect();
    vec![
        always(
            "250 long messages to append",
            &["POST /v1/sessions/{session}/messages"],
            Pace::Read,
            ("POST", "/v1/sessions/long/messages"),
            &json!({"messages": messages, "user": "u"}),
        ),
        always(
            "pictures of 36 million pixels",
            &[],
            Pace::Read,
            ("POST", "/v1/sessions/pictured/messages"),
            &json!({ "messages": [pictured] }),
        ),
        in_turn(
            "contexts of a million tokens",
            &["GET /v1/sessions/{session}/context"],
            vec![context("recent"), context("recall"), context("compress"), context("smart")],
        ),
        always(
            "checkpoints of 1 MB",
            &["PUT /v1/threads/{thread}/checkpoints/{id}"],
            Pace::Read,
            ("PUT", "/v1/threads/t/checkpoints/large"),
            &state,
        ),
        always(
            "lists of checkpoints of 1 MB, unread",
            &["GET /v1/threads/{thread}/checkpoints"],
            Pace::Leave,
            ("GET", "/v1/threads/t/checkpoints?limit=100"),
            &Value::Null,
        ),
        in_turn(
            "threads and queues",
            &[
                "PUT /v1/threads/{thread}/checkpoints/{id}/writes/{task}",
                "GET /v1/threads/{thread}/checkpoints/{id}",
                "DELETE /v1/threads/{thread}/checkpoints",
                "DELETE /v1/threads/{thread}/checkpoints/{id}",
                "GET /v1/threads",
                "PUT /v1/threads/{thread}/blobs/{channel}/{version}",
                "GET /v1/threads/{thread}/blobs/{channel}/{version}",
                "GET /v1/threads/{thread}/namespaces",
                "POST /v1/threads/{thread}/checkpoints:prune",
                "POST /v1/threads/{thread}/checkpoints:copy",
                "POST /v1/sessions/{session}/queue",
                "GET /v1/sessions/{session}/queue",
                "POST /v1/sessions/{session}/queue:take",
                "DELETE /v1/sessions/{session}/queue/{id}",
            ],
            vec![
                ("PUT", "/v1/threads/w/checkpoints/c/writes/task".into(), json!({"writes": "z".repeat(1_000_000)})),
                ("GET", "/v1/threads/t/checkpoints/c1".into(), Value::Null),
                ("GET", "/v1/threads?limit=1000".into(), Value::Null),
                ("PUT", "/v1/threads/w/blobs/c/1".into(), json!("b".repeat(10_000_000))),
                ("GET", "/v1/threads/w/blobs/c/1".into(), Value::Null),
                ("GET", "/v1/threads/t/namespaces?limit=1000".into(), Value::Null),
                ("POST", "/v1/threads/t/checkpoints:copy".into(), json!({"to": "copied"})),
                ("POST", "/v1/threads/copied/checkpoints:prune".into(), json!({"keep": 1})),
                ("DELETE", "/v1/threads/copied/checkpoints/c1".into(), Value::Null),
                ("DELETE", "/v1/threads/w/checkpoints".into(), Value::Null),
                ("POST", "/v1/sessions/s/queue".into(), json!({"items": vec!["q".repeat(1000); 1000]})),
                ("GET", "/v1/sessions/s/queue?limit=1000".into(), Value::Null),
                ("POST", "/v1/sessions/s/queue:take".into(), json!({"count": 100, "lease_s": 1})),
                ("DELETE", "/v1/sessions/s/queue/none".into(), Value::Null),
            ],
        ),
        in_turn(
            "sessions and their messages",
            &[
                "GET /v1/sessions",
                "PUT /v1/sessions/{session}",
                "GET /v1/sessions/{session}",
                "DELETE /v1/sessions/{session}",
                "GET /v1/sessions/{session}/messages",
                "GET /v1/sessions/{session}/messages/{message}",
                "GET /v1/sessions/{session}/messages/{message}/media",
                "PATCH /v1/sessions/{session}/messages/{message}",
                "DELETE /v1/sessions/{session}/messages/{message}",
            ],
            vec![
                ("GET", "/v1/sessions?limit=1000".into(), Value::Null),
                ("PUT", "/v1/sessions/other".into(), json!({"metadata": {"a": "b".repeat(10_000)}})),
                ("GET", "/v1/sessions/s".into(), Value::Null),
                ("GET", "/v1/sessions/s/messages?limit=1000".into(), Value::Null),
                ("GET", "/v1/sessions/s/messages/none".into(), Value::Null),
                ("GET", "/v1/sessions/s/messages/none/media".into(), Value::Null),
                ("PATCH", "/v1/sessions/s/messages/none".into(), json!({"content": SENTENCE.repeat(300)})),
                ("DELETE", "/v1/sessions/s/messages/none".into(), Value::Null),
                ("DELETE", "/v1/sessions/other".into(), Value::Null),
            ],
        ),
        in_turn(
            "memories in mem0's words",
            &[
                "GET /v1/ping",
                "POST /v3/memories/add",
                "POST /v3/memories/search",
                "POST /v3/memories",
                "GET /v1/memories/{id}",
                "PUT /v1/memories/{id}",
                "DELETE /v1/memories/{id}/",
                "DELETE /v1/memories/",
                "GET /v1/memories/{id}/history",
                "GET /v1/entities",
                "DELETE /v2/entities/{kind}/{name}/",
                "GET /v2/entities/user/{user}/profile",
                "PUT /v1/batch",
                "DELETE /v1/batch/",
                "POST /v1/feedback",
                "POST /v1/exports",
                "POST /v1/exports/get",
                "POST /v1/summary",
            ],
            vec![
                ("GET", "/v1/ping".into(), Value::Null),
                ("POST", "/v3/memories/add".into(), json!({"messages": said, "user_id": "u"})),
                (
                    "POST",
                    "/v3/memories/add".into(),
                    json!({"messages": said, "user_id": "u", "agent_id": "a", "infer": false}),
                ),
                ("POST", "/v3/memories/search".into(), json!({"query": SENTENCE, "top_k": 1000})),
                ("POST", "/v3/memories?page_size=1000".into(), json!({"filters": {"user_id": "u"}})),
                ("GET", "/v1/memories/none".into(), Value::Null),
                ("PUT", "/v1/memories/none".into(), json!({"text": SENTENCE})),
                ("GET", "/v1/memories/none/history".into(), Value::Null),
                ("GET", "/v1/entities".into(), Value::Null),
                ("GET", "/v2/entities/user/u/profile".into(), Value::Null),
                ("PUT", "/v1/batch".into(), json!({"memories": [{"memory_id": "none", "text": SENTENCE}]})),
                ("DELETE", "/v1/batch/".into(), json!({"memories": [{"memory_id": "none"}]})),
                ("POST", "/v1/feedback".into(), json!({"memory_id": "none", "feedback": "POSITIVE"})),
                ("POST", "/v1/exports".into(), json!({"filters": {"user_id": "u"}})),
                ("POST", "/v1/exports/get".into(), json!({"filters": {"user_id": "u"}})),
                ("POST", "/v1/summary".into(), json!({})),
                ("DELETE", "/v1/memories/none/".into(), Value::Null),
                ("DELETE", "/v2/entities/agent/a/".into(), Value::Null),
                ("DELETE", "/v1/memories/?user_id=u".into(), Value::Null),
            ],
        ),
        in_turn(
            "memories in the words of mem0's own server",
            &[
                "POST /memories",
                "GET /memories",
                "DELETE /memories",
                "GET /memories/{id}",
                "PUT /memories/{id}",
                "DELETE /memories/{id}",
                "GET /memories/{id}/history",
                "POST /search",
                "POST /reset",
            ],
            vec![
                ("POST", "/memories".into(), json!({"messages": said, "user_id": "u", "infer": false})),
                ("GET", "/memories".into(), Value::Null),
                ("POST", "/search".into(), json!({"query": SENTENCE, "top_k": 1000})),
                ("GET", "/memories/none".into(), Value::Null),
                ("PUT", "/memories/none".into(), json!({"text": SENTENCE})),
                ("GET", "/memories/none/history".into(), Value::Null),
                ("DELETE", "/memories/none".into(), Value::Null),
                ("DELETE", "/memories?user_id=u".into(), Value::Null),
                ("POST", "/reset".into(), Value::Null),
            ],
        ),
        in_turn(
            "conversations in OpenAI's words",
            &[
                "POST /v1/conversations",
                "GET /v1/conversations/{session}",
                "POST /v1/conversations/{session}",
                "DELETE /v1/conversations/{session}",
                "POST /v1/conversations/{session}/items",
                "GET /v1/conversations/{session}/items",
                "GET /v1/conversations/{session}/items/{message}",
                "DELETE /v1/conversations/{session}/items/{message}",
            ],
            vec![
                ("POST", "/v1/conversations".into(), json!({"items": said})),
                ("POST", "/v1/conversations/s/items".into(), json!({"items": said})),
                ("GET", "/v1/conversations/s".into(), Value::Null),
                ("POST", "/v1/conversations/s".into(), json!({"metadata": {"a": "b".repeat(10_000)}})),
                ("GET", "/v1/conversations/s/items?limit=100".into(), Value::Null),
                ("GET", "/v1/conversations/s/items/none".into(), Value::Null),
                ("DELETE", "/v1/conversations/s/items/none".into(), Value::Null),
                ("DELETE", "/v1/conversations/none".into(), Value::Null),
            ],
        ),
        in_turn(
            "memories in agent-memory-server's words",
            &[
                "GET /v1/health",
                "GET /v1/working-memory",
                "GET /v1/working-memory/{session_id}",
                "PUT /v1/working-memory/{session_id}",
                "DELETE /v1/working-memory/{session_id}",
                "POST /v1/long-term-memory",
                "POST /v1/long-term-memory/search",
                "POST /v1/long-term-memory/forget",
                "DELETE /v1/long-term-memory",
                "GET /v1/long-term-memory/{memory_id}",
                "PATCH /v1/long-term-memory/{memory_id}",
                "POST /v1/memory/prompt",
            ],
            vec![
                ("GET", "/v1/health".into(), Value::Null),
                (
                    "PUT",
                    "/v1/working-memory/s".into(),
                    json!({"messages": said, "user_id": "u",
                    "memories": [{"id": "w", "text": SENTENCE}]}),
                ),
                ("GET", "/v1/working-memory/s?context_window_max=10".into(), Value::Null),
                ("GET", "/v1/working-memory?limit=100".into(), Value::Null),
                ("POST", "/v1/long-term-memory".into(), json!({"memories": [{"id": "m", "text": SENTENCE}]})),
                ("POST", "/v1/long-term-memory/search".into(), json!({"text": SENTENCE, "limit": 100})),
                (
                    "POST",
                    "/v1/memory/prompt".into(),
                    json!({"query": SENTENCE, "session": {"session_id": "s"},
                    "long_term_search": true}),
                ),
                ("GET", "/v1/long-term-memory/m".into(), Value::Null),
                ("PATCH", "/v1/long-term-memory/m".into(), json!({"text": SENTENCE})),
                ("POST", "/v1/long-term-memory/forget?dry_run=false".into(), json!({"policy": {"budget": 1}})),
                ("DELETE", "/v1/long-term-memory?memory_ids=m&memory_ids=w".into(), Value::Null),
                ("DELETE", "/v1/working-memory/s".into(), Value::Null),
            ],
        ),
        in_turn(
            "memories of what was said",
            &["POST /v1/memories", "POST /v1/memories:update", "POST /v1/topics"],
            vec![
                (
                    "POST",
                    "/v1/memories".into(),
                    json!({"session": "made", "user": "u", "messages": said, "force": true,
                        "time_stamp": "2026/05/20 (Wed) 10:00"}),
                ),
                ("POST", "/v1/memories:update".into(), json!({"user": "u", "dry_run": true})),
                ("POST", "/v1/topics".into(), json!({ "texts": texts })),
            ],
        ),
    ]
}

fn of_the_whole() -> Vec<Attack> {
    vec![
        always(
            "exports, unread",
            &["GET /v1/users/{user}/export"],
            Pace::Leave,
            ("GET", "/v1/users/u/export"),
            &Value::Null,
        ),
        in_turn(
            "users, usage and the audit log",
            &[
                "POST /v1/usage",
                "GET /v1/usage",
                "PUT /v1/quotas/{user}",
                "GET /v1/quotas/{user}",
                "DELETE /v1/quotas/{user}",
                "GET /v1/users/{user}/profile",
                "PATCH /v1/users/{user}/profile",
                "POST /v1/users/{user}/profile",
                "GET /v1/audit",
                "GET /v1/tenant",
                "POST /v1/tenant:rotate",
            ],
            vec![
                ("POST", "/v1/usage".into(), json!({"user": "u", "tokens": 1})),
                ("GET", "/v1/usage?from=2000-01-01&to=2100-01-01".into(), Value::Null),
                ("PUT", "/v1/quotas/u".into(), json!({"tokens_per_day": 1_000_000_000})),
                ("GET", "/v1/quotas/u".into(), Value::Null),
                ("DELETE", "/v1/quotas/u".into(), Value::Null),
                ("GET", "/v1/users/u/profile".into(), Value::Null),
                ("PATCH", "/v1/users/p/profile".into(), json!({"likes": SENTENCE.repeat(100)})),
                ("POST", "/v1/users/u/profile".into(), Value::Null),
                ("GET", "/v1/audit?limit=1000".into(), Value::Null),
                ("GET", "/v1/tenant".into(), Value::Null),
                ("POST", "/v1/tenant:rotate".into(), Value::Null),
            ],
        ),
        in_turn(
            "keys",
            &["GET /v1/keys", "POST /v1/keys", "DELETE /v1/keys/{id}"],
            vec![
                ("POST", "/v1/keys".into(), json!({"name": "one more", "access": "read"})),
                ("GET", "/v1/keys".into(), Value::Null),
                ("DELETE", "/v1/keys/none".into(), Value::Null),
            ],
        ),
        in_turn(
            "erasures",
            &["POST /v1/users/{user}/erase", "POST /v1/tenant:erase"],
            (0..20)
                .map(|n| ("POST", format!("/v1/users/e{n}/erase"), Value::Null))
                .chain([("POST", "/v1/tenant:erase".to_owned(), Value::Null)])
                .collect(),
        ),
    ]
}
