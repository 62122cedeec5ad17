//! Sessions, threads, and what clients of others keep.

use super::{Attack, Pace, SENTENCE, always, in_turn};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::{DynamicImage, ImageFormat, RgbImage};
use serde_json::{Value, json};
use std::io::Cursor;

pub(super) fn of_sessions() -> Vec<Attack> {
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

/// A picture of few bytes that is large once it is read.
fn picture() -> String {
    let mut bytes = Cursor::new(Vec::new());
    let picture = DynamicImage::ImageRgb8(RgbImage::new(6000, 6000));
    picture.write_to(&mut bytes, ImageFormat::Png).expect("a picture");
    format!("data:image/png;base64,{}", STANDARD.encode(bytes.into_inner()))
}
