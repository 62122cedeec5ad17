//! Bodies that nobody expects: whatever is sent, the answer is never a 5xx of the box's own making, and the box goes
//! on.
//!
//! Valid bodies of every kind are changed at random: values replaced by others of any type and size, keys removed,
//! renamed, nested, bytes flipped, cut and doubled. So are the ids and parameters of addresses. MEMBOX_FUZZ_SECONDS
//! makes it run for longer.

use crate::common::{Server, data_with_model};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What is asked of which path, and a body that is right.
fn requests() -> Vec<(&'static str, &'static str, Value)> {
    let vector: Vec<f32> = (0..384).map(|d| (d as f32 * 0.37).sin()).collect();
    vec![
        (
            "PUT",
            "/v1/collections/other",
            json!({"dimension": 384, "vector_type": "f16", "metric": "cosine",
                "index": {"kind": "hnsw", "m": 16, "ef_construction": 40, "ef_search": 32}}),
        ),
        (
            "POST",
            "/v1/collections/c/records",
            json!({"records": [{"id": "a", "text": "the key is under the pot", "metadata": {"n": 1, "tags": ["x"]},
                "created_at": "2024-05-20T00:44:00Z",
                "expires_at": "2039-05-20T00:44:00Z", "importance": 0.5, "user": "u", "session": "s", "kind": "note",
                "version": 0}, {"text": "another"}], "compress": {"rate": 0.5}}),
        ),
        (
            "PATCH",
            "/v1/collections/c/records/a",
            json!({"text": "a new text", "metadata": {"n": 2}, "importance": null, "expires_at": null}),
        ),
        (
            "POST",
            "/v1/collections/c/recall:batch",
            json!({"recalls": [{"query": "key", "k": 2, "group_by": {"field": "kind", "size": 1}}, {"query": "pot"}]}),
        ),
        ("POST", "/v1/collections/c/records:get", json!({"ids": ["a", "x"], "with": ["vector", "payload"]})),
        ("POST", "/v1/collections/c/records:count", json!({"filter": {"field": "metadata.n", "gt": 1}})),
        (
            "POST",
            "/v1/collections/c/records:facets",
            json!({"fields": ["metadata.n", "kind"], "filter": {"field": "id", "prefix": "a"}, "limit": 3}),
        ),
        (
            "POST",
            "/v1/collections/c/records:scroll",
            json!({"order_by": {"field": "metadata.n", "direction": "desc"}, "offset": 1, "limit": 3,
                "filter": {"field": "id", "exists": true}, "with": ["payload"]}),
        ),
        ("POST", "/v1/collections/c/records:patch", json!({"ids": ["a"], "patch": {"metadata": {"m": 1}}})),
        ("POST", "/v1/collections/c/records:delete", json!({"ids": ["x", "y"], "filter": null})),
        ("POST", "/v1/collections/c/records:delete", json!({"filter": {"field": "metadata.n", "gt": 1000}})),
        (
            "POST",
            "/v1/collections/c/recall",
            json!({"query": "where is the key?", "k": 5, "mode": "hybrid", "min_score": 0.1,
                "effort": {"ef_search": 40, "nprobe": 3, "exact": false},
                "filter": {"and": [{"field": "metadata.n", "gte": 0, "lt": 9}, {"not": {"field": "user", "in": ["v"]}},
                    {"or": [{"field": "created_at", "lt": "2030-01-01T00:00:00Z"}]}]},
                "fusion": {"method": "scores", "vector_weight": 0.4},
                "rerank": {"recency_weight": 0.2, "recency_half_life_s": 100.0, "importance_weight": 0.1,
                    "mmr_lambda": 0.5},
                "context": {"before": 1, "after": 1},
                "budget": {"tokens": 20, "encoding": "cl100k_base", "compress": true},
                "include": ["text", "metadata", "vector", "scores"]}),
        ),
        (
            "POST",
            "/v1/collections/c/recall",
            json!({"queries": ["key", "pot"], "k": 3, "fusion": {"method": "rrf", "constant": 60}}),
        ),
        ("POST", "/v1/collections/c/recall", json!({"vector": vector, "mode": "vector", "k": 3})),
        (
            "POST",
            "/v1/compress",
            json!({"context": "Lena said that the spare key is under the red pot beside the door.", "rate": 0.5,
                "force_tokens": ["key"]}),
        ),
        (
            "POST",
            "/v1/compress",
            json!({"documents": ["One text, with two clauses.", "另一段文字。And 7 more."], "mode": "strict",
                "target_token": 8.0, "threshold": 0.4, "encoding": "o200k_base",
                "use_token_level_filter": true, "token_to_word": "mean", "force_reserve_digit": true,
                "force_reserve_negation": true,
                "drop_consecutive": true, "chunk_end_tokens": ["."], "return_word_label": true,
                "word_sep": "\t", "label_sep": " "}),
        ),
        (
            "POST",
            "/v1/compress",
            json!({"context": ["A first context.", "A second one.", "A third."], "rate": 0.6,
                "use_context_level_filter": true, "target_context": 2.0, "context_level_rate": 0.7,
                "context_level_target_token": 10.0, "force_context_ids": [1], "mode": "parity"}),
        ),
        (
            "POST",
            "/v1/compress",
            json!({"messages": [{"role": "system", "content": "Be kind."},
                {"role": "user", "content": "Tell me of the sea."}, {"role": "assistant", "content": "It is wide."}],
                "keep_last": 1, "rate": 0.5}),
        ),
        (
            "POST",
            "/v1/compress",
            json!({"json_data": {"title": "A title", "body": "A long body of text."},
                "json_config": {"body": {"rate": 0.5, "compress": true}}, "rate": 0.7}),
        ),
        (
            "POST",
            "/v1/compress",
            json!({"context": "<llmlingua, rate=0.5>Keep half.</llmlingua> Keep all.", "structured": true,
                "rate": 0.5}),
        ),
        (
            "POST",
            "/v1/embeddings",
            json!({"input": ["one", "two"], "model": "all-MiniLM-L6-v2", "encoding_format": "float",
                "dimensions": 384}),
        ),
        ("POST", "/embed", json!({"inputs": ["one", "two"], "truncate": true, "normalize": true})),
        ("POST", "/embed_all", json!({"inputs": ["one", [101, 102]], "truncation_direction": "left"})),
        ("POST", "/vertex", json!({"instances": [{"inputs": "one"}, {"inputs": [101, 7592, 102]}]})),
        (
            "POST",
            "/similarity",
            json!({"inputs": {"source_sentence": "one", "sentences": ["two"]}, "parameters": {"truncate": true}}),
        ),
        ("POST", "/rerank", json!({"query": "one", "texts": ["two"], "raw_scores": true, "return_text": false})),
        ("POST", "/predict", json!({"inputs": [["one", "two"], ["three"]], "raw_scores": true})),
        ("POST", "/tokenize", json!({"inputs": ["one", "two"], "add_special_tokens": true})),
        ("POST", "/decode", json!({"ids": [[101, 7592], [102]], "skip_special_tokens": true})),
        ("POST", "/v1/tokens", json!({"input": ["one", "two"], "encoding": "o200k_base"})),
        (
            "POST",
            "/v1/chunks",
            json!({"text": "one sentence. another one.\n\nA paragraph.", "size": 12, "overlap": 3, "unit": "tokens",
                "encoding": "gpt-4"}),
        ),
        (
            "PUT",
            "/v1/sessions/s",
            json!({"user": "u", "max_messages": 50, "evict": "delete", "ttl_s": 3600, "metadata": {"a": {"b": null}}}),
        ),
        (
            "POST",
            "/v1/sessions/s/messages",
            json!({"user": "u", "on_conflict": "merge",
                "messages": [{"id": "m", "role": "user", "type": "image", "content": "a cat on a wall", "name": "Lena",
                    "tool_call_id": "t", "tool_calls": [{"id": 1}], "metadata": {"n": 1},
                    "created_at": "2024-05-20T00:44:00Z"}, {"role": "tool", "content": null}]}),
        ),
        (
            "POST",
            "/v1/sessions/s/messages",
            json!({"messages": [{"role": "user", "type": "image", "content": "a dot", "media": {"data": DOT}},
                {"role": "user", "type": "audio", "content": "a tone",
                    "media": {"data": "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA=", "seconds": 1.5,
                        "language": "en"}}]}),
        ),
        ("POST", "/v1/tenant:erase", json!({"tenant": "somebody else"})),
        ("PATCH", "/v1/sessions/s/messages/m", json!({"metadata": {"n": 2, "gone": null}, "content": "a dog"})),
        ("POST", "/v1/sessions/s/queue", json!({"items": [1, "two", {"three": [3]}]})),
        ("POST", "/v1/sessions/s/queue:take", json!({"count": 2, "lease_s": 1})),
        (
            "PUT",
            "/v1/threads/t/checkpoints/c?namespace=n",
            json!({"state": {"step": 1}, "parent": "b", "metadata": {"source": "loop"}, "ttl_s": 60,
                "channels": {"said": "1"},
                "blobs": [{"channel": "said", "version": "1", "type": "json", "data": "WzFd"}]}),
        ),
        ("PUT", "/v1/threads/t/checkpoints/c/writes/task?namespace=n", json!({"writes": [["channel", 1]]})),
        ("POST", "/v1/threads/t/checkpoints:copy", json!({"to": "another"})),
        ("POST", "/v1/threads/another/checkpoints:prune", json!({"keep": 1, "namespace": "n"})),
        (
            "POST",
            "/v1/memories?explain=true",
            json!({"session": "made", "user": "u", "time_stamp": "2023/05/20 (Sat) 00:44", "force": true,
                "messages": [{"id": "m1", "role": "user", "name": "Ann", "content": "I moved to Bergen.",
                    "time_stamp": "2023-05-21", "metadata": {"n": 1}}]}),
        ),
        (
            "POST",
            "/v1/memories:update",
            json!({"user": "u", "top_k": 3, "keep_top_n": 2, "score_threshold": 0.9, "dry_run": true}),
        ),
        ("POST", "/v1/topics", json!({"texts": ["one", "two", "three"], "cut": "lightmem"})),
        (
            "POST",
            "/v3/memories/add",
            json!({"messages": [{"role": "user", "content": "I moved to Bergen."}], "user_id": "u", "infer": false,
                "metadata": {"n": 1}, "expiration_date": "2099-12-31", "timestamp": 1}),
        ),
        (
            "POST",
            "/v3/memories/search",
            json!({"query": "where?", "filters": {"OR": [{"user_id": "u"}, {"metadata": {"n": {"gt": 0}}}]}, "top_k": 3,
                "threshold": 0.1, "reference_date": "2026-05-20"}),
        ),
        ("POST", "/v3/memories", json!({"filters": {"user_id": "u"}, "start_date": "2020-01-01", "categories": ["a"]})),
        ("PUT", "/v1/memories/none", json!({"text": "one", "metadata": {"n": 1}, "expiration_date": null})),
        ("PUT", "/v1/batch", json!({"memories": [{"memory_id": "none", "text": "one"}]})),
        ("DELETE", "/v1/batch/", json!({"memories": [{"memory_id": "none"}]})),
        ("POST", "/v1/feedback", json!({"memory_id": "none", "feedback": "POSITIVE"})),
        (
            "POST",
            "/memories",
            json!({"messages": [{"role": "user", "content": "one"}], "user_id": "u", "infer": false}),
        ),
        ("PUT", "/memories/none", json!({"text": "one", "metadata": {"n": 1}})),
        ("POST", "/search", json!({"query": "where?", "user_id": "u", "top_k": 3})),
        (
            "POST",
            "/v1/conversations",
            json!({"items": [{"type": "message", "role": "user", "content": "Hi."}], "metadata": {"n": 1}}),
        ),
        ("POST", "/v1/conversations/s", json!({"metadata": {"n": 1}})),
        (
            "POST",
            "/v1/conversations/s/items",
            json!({"items": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi."}]},
                {"type": "function_call_output", "call_id": "c", "output": "1"}]}),
        ),
        (
            "PUT",
            "/v1/working-memory/s",
            json!({"messages": [{"role": "user", "content": "I moved.", "created_at": "2026-05-20T15:00:00Z"}],
                "memories": [{"id": "w", "text": "one", "topics": ["t"]}], "data": {"n": 1}, "user_id": "u",
                "namespace": "n", "ttl_seconds": 100}),
        ),
        (
            "POST",
            "/v1/long-term-memory",
            json!({"memories": [{"id": "m", "text": "one", "user_id": "u", "topics": ["t"], "memory_type": "episodic",
                "event_date": "2026-05-20T15:00:00Z"}]}),
        ),
        (
            "POST",
            "/v1/long-term-memory/search",
            json!({"text": "one", "search_mode": "semantic", "user_id": {"eq": "u"}, "topics": {"any": ["t"]},
                "created_at": {"gte": "2020-01-01T00:00:00Z"}, "distance_threshold": 1.5, "limit": 3, "offset": 1}),
        ),
        ("PATCH", "/v1/long-term-memory/m", json!({"text": "two", "entities": ["e"], "pinned": true})),
        (
            "POST",
            "/v1/long-term-memory/forget",
            json!({"policy": {"max_age_days": 10.0, "budget": 5, "memory_type_allowlist": ["semantic"]},
                "pinned_ids": ["m"]}),
        ),
        (
            "POST",
            "/v1/memory/prompt",
            json!({"query": "one", "session": {"session_id": "s", "context_window_max": 100},
                "long_term_search": {"limit": 5}}),
        ),
        ("POST", "/v1/exports/get", json!({"memory_export_id": "e30"})),
        ("PATCH", "/v1/users/u/profile", json!({"likes": ["owls"], "gone": null})),
        (
            "PUT",
            "/v1/collections/other",
            json!({"keywords": true, "memories": {"rate": 0.5, "cut": "depth", "buffer_tokens": 10,
                "topic_tokens": 20, "gap_s": 5, "roles": ["user"], "llm": false, "update": "online"}}),
        ),
        ("POST", "/v1/collections/c/consolidate", json!({"threshold": 0.97, "dry_run": true, "user": "u"})),
        (
            "POST",
            "/v1/collections/c/forget",
            json!({"keep": 1000, "user": "u", "filter": {"field": "kind", "eq": "note"}, "half_life_s": 100.0,
                "dry_run": true}),
        ),
        ("POST", "/v1/usage", json!({"user": "u", "tokens": 12})),
        ("PUT", "/v1/quotas/u", json!({"tokens_per_day": 1000000000, "price_per_1000": 0.1})),
        (
            "POST",
            "/mcp",
            json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
                "params": {"name": "memory_add", "arguments": {"text": "a fact", "user": "u", "metadata": {"n": 1}}}}),
        ),
    ]
}

/// A PNG of one pixel.
const DOT: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ\
                   AAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// A value of any kind and size.
fn anything(rng: &mut SmallRng, depth: u32) -> Value {
    match rng.random_range(0..16) {
        0 => Value::Null,
        1 => json!(rng.random::<bool>()),
        2 => json!(rng.random::<i64>()),
        3 => json!(rng.random::<u64>()),
        4 => json!([-1i64, 0, 1, i64::MAX, i64::MIN].choose(rng)),
        5 => json!([1e308f64, -1e308, 5e-324, 0.1, -0.0].choose(rng)),
        6 => json!(
            [
                "",
                "\u{0}",
                "🙂",
                "a",
                "\u{202e}",
                "2024-05-20T00:44:00Z",
                "-009999-01-01T00:00:00Z",
                "9999-12-31T23:59:59Z",
                "AAAA"
            ]
            .choose(rng)
        ),
        7 => json!("long ".repeat(rng.random_range(0..3000))),
        8 => json!(
            (0..rng.random_range(0..30))
                .map(|_| char::from_u32(rng.random_range(0..0x11_0000)).unwrap_or('?'))
                .collect::<String>()
        ),
        9 => (0..40).fold(json!(1), |inner, _| json!([inner])),
        10 => (0..40).fold(json!({"field": "user", "eq": "a"}), |inner, _| json!({"not": inner})),
        11 if depth > 0 => Value::Array((0..rng.random_range(0..4)).map(|_| anything(rng, depth - 1)).collect()),
        12 if depth > 0 => json!({"field": "metadata.n", "gt": anything(rng, depth - 1)}),
        13 if depth > 0 => json!({"id": anything(rng, depth - 1), "text": anything(rng, depth - 1)}),
        _ => json!(rng.random_range(-3..2000)),
    }
}

/// Changes one place of a value.
fn change(value: &mut Value, rng: &mut SmallRng) {
    let inner = match value {
        Value::Object(object) if !object.is_empty() && rng.random_bool(0.85) => {
            let keys: Vec<String> = object.keys().cloned().collect();
            let key = &keys[rng.random_range(0..keys.len())];
            match rng.random_range(0..10) {
                0 => {
                    object.remove(key);
                    return;
                }
                1 => {
                    let moved = object.remove(key).unwrap_or_default();
                    object.insert(
                        keys[rng.random_range(0..keys.len())].clone() + ["", "_", "s"][rng.random_range(0..3)],
                        moved,
                    );
                    return;
                }
                _ => object.get_mut(key),
            }
        }
        Value::Array(array) if !array.is_empty() && rng.random_bool(0.85) => {
            let at = rng.random_range(0..array.len());
            if rng.random_bool(0.1) {
                array.remove(at);
                return;
            }
            array.get_mut(at)
        }
        _ => None,
    };
    match inner {
        Some(inner) => change(inner, rng),
        None => *value = anything(rng, 3),
    }
}

/// Changes some bytes.
fn damage(bytes: &mut Vec<u8>, rng: &mut SmallRng) {
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..bytes.len().max(1)).min(bytes.len().saturating_sub(1));
        match rng.random_range(0..4) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes.truncate(at),
            2 => bytes.extend_from_within(at..),
            _ => bytes.insert(at, rng.random()),
        }
    }
}

/// What is asked by an address alone, and parameters that are right.
const QUESTIONS: &[(&str, &[(&str, &str)])] = &[
    ("collections", &[]),
    ("collections/c", &[]),
    (
        "collections/c/records",
        &[("limit", "5"), ("order", "newest"), ("filter", r#"{"field": "metadata.n", "lt": 9}"#)],
    ),
    ("collections/c/records/r1", &[]),
    ("jobs/1", &[]),
    ("jobs", &[("limit", "3"), ("state", "done"), ("kind", "erase")]),
    ("sessions", &[("user", "u"), ("limit", "3")]),
    ("sessions/s", &[]),
    (
        "sessions/s/messages",
        &[("limit", "3"), ("cursor", "2"), ("order", "oldest"), ("q", "garden"), ("modality", "text")],
    ),
    ("sessions/s/messages/m", &[]),
    ("sessions/s/messages/m/media", &[("thumbnail", "true")]),
    (
        "sessions/s/context",
        &[
            ("strategy", "recall"),
            ("max_tokens", "200"),
            ("encoding", "cl100k_base"),
            ("query", "the garden"),
            ("scope", "user"),
            ("text", "true"),
        ],
    ),
    (
        "sessions/s/context",
        &[
            ("strategy", "compress"),
            ("threshold", "20"),
            ("keep_last", "2"),
            ("summary_tokens", "30"),
            ("human_prefix", "H"),
            ("ai_prefix", "A"),
        ],
    ),
    ("sessions/s/context", &[("strategy", "window"), ("turns", "3")]),
    ("sessions/s/queue", &[("limit", "3")]),
    ("threads/t/checkpoints/c", &[("namespace", "n"), ("blobs", "true")]),
    ("threads/t/blobs/said/1", &[("namespace", "n")]),
    (
        "threads/t/checkpoints",
        &[
            ("namespace", "n"),
            ("limit", "3"),
            ("before", "c"),
            ("all_namespaces", "false"),
            ("blobs", "true"),
            ("filter", r#"{"field": "metadata.source", "eq": "loop"}"#),
        ],
    ),
    ("threads", &[("limit", "3")]),
    ("threads/t/namespaces", &[("limit", "3")]),
    ("users/u/export", &[]),
    ("users/u/profile", &[]),
    ("usage", &[("user", "u"), ("from", "2024-05-20"), ("to", "2039-05-20"), ("limit", "3")]),
    ("quotas/u", &[]),
    ("audit", &[("limit", "3"), ("cursor", "100")]),
    ("tenant", &[]),
];

/// A text as a part of an address. A server takes some 64 KB of one; what is longer is another's to refuse.
fn coded(text: &str) -> String {
    text.bytes().take(2000).map(|byte| format!("%{byte:02X}")).collect()
}

/// The address of a question: its ids and parameters as they are, or changed, left out and doubled.
fn address(question: usize, rng: Option<&mut SmallRng>) -> String {
    let (path, parameters) = QUESTIONS[question];
    let mut path: Vec<String> = path.split('/').map(str::to_owned).collect();
    let mut parameters: Vec<(String, String)> = parameters.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if let Some(rng) = rng {
        if path.len() > 1 && rng.random_bool(0.2) {
            path[1] = coded(&text(anything(rng, 1)));
        }
        for _ in 0..rng.random_range(0..4) {
            let at = rng.random_range(0..parameters.len() + 1);
            match rng.random_range(0..6) {
                0 if at < parameters.len() => drop(parameters.remove(at)),
                1 if at < parameters.len() => parameters.push(parameters[at].clone()),
                2 => parameters.insert(at, ("cursor".to_owned(), text(anything(rng, 1)))),
                _ if at < parameters.len() => parameters[at].1 = text(anything(rng, 2)),
                _ => {}
            }
        }
    }
    let parameters: Vec<String> = parameters.iter().map(|(key, value)| format!("{key}={}", coded(value))).collect();
    format!("/v1/{}?{}", path.join("/"), parameters.join("&"))
}

#[test]
fn no_body_breaks_the_box() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &["--max-body-bytes", "1000000"]);
    assert_eq!(server.call("PUT", "/v1/collections/c", &json!({})).0, 201);
    let texts: Vec<Value> = (0..50)
        .map(|i| json!({"id": format!("r{i}"), "text": format!("note {i} about the garden"), "metadata": {"n": i}}))
        .collect();
    assert_eq!(server.call("POST", "/v1/collections/c/records", &json!({ "records": texts })).0, 200);
    let time = std::env::var("MEMBOX_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(8);
    let begun = Instant::now();
    let requests = requests();
    let seed = if time > 8 { rand::random() } else { 7 };
    let mut rng = SmallRng::seed_from_u64(seed);
    let (mut sent, mut fine, mut found) = (0u64, 0u64, 0u64);
    let headers = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
    let wrong = requests.iter().filter_map(|(method, path, body)| {
        let (status, _, answer) = server.raw(method, path, &headers, body.to_string().into_bytes());
        (status == 400).then(|| format!("{method} {path}: {answer}"))
    });
    assert_eq!(wrong.collect::<Vec<_>>(), Vec::<String>::new(), "a body is to be right before it is changed");
    let wrong = (0..QUESTIONS.len()).filter_map(|question| {
        let asked = address(question, None);
        let (status, _, answer) = server.raw("GET", &asked, &headers, Vec::new());
        // Not all that is asked about is there.
        (status != 200 && status != 404).then(|| format!("{:?}: {status} {answer}", QUESTIONS[question]))
    });
    assert_eq!(wrong.collect::<Vec<_>>(), Vec::<String>::new(), "a question is to be right before it is changed");
    while begun.elapsed() < Duration::from_secs(time) || sent <= 300 {
        let (method, path, right) = &requests[sent as usize % requests.len()];
        let mut body = right.clone();
        for _ in 0..rng.random_range(0..4) {
            change(&mut body, &mut rng);
        }
        let mut bytes = body.to_string().into_bytes();
        if rng.random_bool(0.2) {
            damage(&mut bytes, &mut rng);
        }
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(2000)]).into_owned();
        let (status, _, answer) = server.raw(method, path, &headers, bytes);
        assert!((200..500).contains(&status), "seed {seed}, {method} {path}: {status} {answer}\n{shown}");
        fine += u64::from(status < 300);
        sent += 1;
        let asked = address(sent as usize % QUESTIONS.len(), Some(&mut rng));
        let (status, _, answer) = server.raw("GET", &asked, &headers, Vec::new());
        assert!((200..500).contains(&status), "seed {seed}, {asked}: {status} {answer}");
        found += u64::from(status < 300);
    }
    println!("{sent} bodies and as many addresses, {fine} done and {found} found");
    assert!(fine > sent / 20 && fine < sent, "{fine} of {sent}");
    assert!(found > sent / 20 && found < sent, "{found} of {sent}");
    assert_eq!(server.call("POST", "/v1/collections/c/recall", &json!({"query": "the garden"})).0, 200);
    server.stop();
    let verify = crate::common::membox(&data).arg("verify").output().expect("the binary");
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stdout));
}
