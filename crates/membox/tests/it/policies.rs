//! Policies: what holds for a tenant where its requests say nothing.

use crate::common::{Server, data_with_model, membox};
use serde_json::{Value, json};
use std::path::Path;

const SETTINGS: &str = r#"
policy = "plain"

[[keys]]
key = "key-of-a"
tenant = "a"
policy = "strict"

[[keys]]
key = "key-of-b"
tenant = "b"

[policies.plain]
max_messages = 2

[policies.strict]
max_messages = 3
evict = "delete"
tokens_per_day = 1000
price_per_1000 = 0.5
keywords = true
redaction = { mode = "full" }
memories = { rate = 0.5, llm = false }
kinds.working.ttl_s = 3600
limits = { max_batch = 5, max_body_bytes = 4000, max_collections = 3 }
"#;

fn start(folder: &Path) -> Server {
    std::fs::write(folder.join("membox.toml"), SETTINGS).expect("a file");
    Server::start(&data_with_model(folder), &[])
}

fn ask(server: &Server, tenant: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let key = format!("Bearer key-of-{tenant}");
    let headers = [("content-type", "application/json"), ("authorization", key.as_str())];
    let (status, _, text) = server.raw(method, path, &headers, body.to_string().into_bytes());
    (status, serde_json::from_str(&text).unwrap_or_default())
}

#[test]
fn a_tenant_gets_what_its_policy_says_and_a_request_may_say_otherwise() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path());
    let say = |tenant: &str, session: &str| {
        let message =
            |i: u8| json!({"role": "user", "content": format!("Message {i}: write to ida@example.com in Oslo.")});
        let body = json!({"user": "u", "messages": (0..5).map(message).collect::<Vec<_>>()});
        assert_eq!(ask(&server, tenant, "POST", &format!("/v1/sessions/{session}/messages"), &body).0, 200);
        ask(&server, tenant, "GET", &format!("/v1/sessions/{session}/messages"), &Value::Null).1["messages"].clone()
    };
    let strict = say("a", "s");
    assert_eq!(strict.as_array().map(Vec::len), Some(3));
    let first = strict[0]["content"].as_str().expect("a text");
    assert!(!first.contains("ida@example.com") && first.contains("Oslo"), "{first}");
    let (_, session) = ask(&server, "a", "GET", "/v1/sessions/s", &Value::Null);
    assert_eq!(session["evict"], "delete");
    let (_, collection) = ask(&server, "a", "GET", "/v1/collections/user-u", &Value::Null);
    assert_eq!(
        (&collection["settings"]["memories"]["rate"], &collection["settings"]["kinds"]["working"]["ttl_s"]),
        (&json!(0.5), &json!(3600))
    );
    assert_eq!(strict[0]["metadata"]["entities"], json!(["Oslo"]), "{}", strict[0]);
    let keywords = strict[0]["metadata"]["keywords"].to_string();
    assert!(keywords.contains("oslo") && !keywords.contains("redacted"), "{keywords}");

    let plain = say("b", "s");
    assert_eq!(plain.as_array().map(Vec::len), Some(2), "the box's policy");
    assert!(plain[0]["content"].as_str().is_some_and(|text| text.contains("ida@example.com")));

    // What a request says holds.
    let body = json!({"redaction": {"mode": "off"}, "keywords": false});
    assert_eq!(ask(&server, "a", "PUT", "/v1/collections/open", &body).0, 201);
    let record = json!({"records": [{"id": "r", "text": "ida@example.com in Oslo"}]});
    assert_eq!(ask(&server, "a", "POST", "/v1/collections/open/records", &record).0, 200);
    let (_, record) = ask(&server, "a", "GET", "/v1/collections/open/records/r", &Value::Null);
    assert_eq!((&record["text"], &record["metadata"]), (&json!("ida@example.com in Oslo"), &json!({})));
    assert_eq!(ask(&server, "a", "PUT", "/v1/sessions/t", &json!({"max_messages": 9, "evict": "archive"})).0, 201);
    let (_, session) = ask(&server, "a", "GET", "/v1/sessions/t", &Value::Null);
    assert_eq!((&session["max_messages"], &session["evict"]), (&json!(9), &json!("archive")));

    let use_tokens =
        |tenant: &str, tokens: u64| ask(&server, tenant, "POST", "/v1/usage", &json!({"user": "u", "tokens": tokens}));
    let (status, used) = use_tokens("a", 600);
    assert_eq!((status, &used["left"], &used["cost"]), (200, &json!(400), &json!(0.3)));
    assert_eq!(use_tokens("a", 600).0, 429);
    assert_eq!(use_tokens("b", 5000).0, 200, "no quota");
    assert_eq!(ask(&server, "a", "PUT", "/v1/quotas/u", &json!({"tokens_per_day": 5000})).0, 200);
    assert_eq!(use_tokens("a", 600).0, 200, "one's own quota holds");
    server.stop();
}

#[test]
fn a_tenant_is_held_to_its_limits_and_the_refusal_names_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path());
    let raw = |tenant: &str, method: &str, path: &str, body: &Value| {
        let key = format!("Bearer key-of-{tenant}");
        let headers = [("content-type", "application/json"), ("authorization", key.as_str())];
        server.raw(method, path, &headers, body.to_string().into_bytes())
    };
    let records = |count: usize, text: &str| json!({"records": vec![json!({"text": text}); count]});
    for tenant in ["a", "b"] {
        assert_eq!(raw(tenant, "PUT", "/v1/collections/one", &json!({})).0, 201);
        assert_eq!(raw(tenant, "POST", "/v1/collections/one/records", &records(5, "a note")).0, 200);
    }
    let (status, _, text) = raw("a", "POST", "/v1/collections/one/records", &records(6, "a note"));
    assert!(status == 422 && text.contains("max_batch is 5"), "{status} {text}");
    let (status, _, text) = raw("a", "POST", "/v1/embeddings", &json!({"input": vec!["x"; 6]}));
    assert!(status == 422 && text.contains("max_batch is 5"), "{status} {text}");
    let (status, _, text) = raw("a", "POST", "/v1/collections/one/records", &records(1, &"x".repeat(5000)));
    assert!(status == 413 && text.contains("max_body_bytes"), "{status} {text}");
    assert_eq!(raw("b", "POST", "/v1/collections/one/records", &records(6, &"x".repeat(1000))).0, 200, "no limit");

    for name in ["two", "three"] {
        assert_eq!(raw("a", "PUT", &format!("/v1/collections/{name}"), &json!({})).0, 201);
    }
    let (status, headers, text) = raw("a", "PUT", "/v1/collections/four", &json!({}));
    let retry = headers.iter().any(|(name, seconds)| name == "retry-after" && seconds == "60");
    assert!(status == 429 && retry && text.contains("max_collections of 3"), "{status} {headers:?} {text}");
    assert_eq!(raw("a", "DELETE", "/v1/collections/three", &Value::Null).0, 204);
    assert_eq!(raw("a", "PUT", "/v1/collections/four", &json!({})).0, 201, "there is room again");
    server.stop();
}

#[test]
fn config_show_says_in_words_what_holds_and_a_policy_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    std::fs::write(folder.path().join("membox.toml"), SETTINGS).expect("a file");
    let show = || {
        let output = membox(&data).args(["config", "show"]).output().expect("the binary");
        let said = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.success(), said(output.stdout), said(output.stderr))
    };
    let (done, shown, _) = show();
    assert!(done, "{shown}");
    let (settings, words) = shown.split_once("\n# What holds for tenant a,").expect("an explanation");
    assert!(settings.contains("[policies.strict]") && !settings.contains("key-of-a"), "{settings}");
    for line in [
        "window: a session lists 3 messages; what is over is deleted",
        "compression: memories keep 0.5 of what was said, by topics of 2000 tokens\n",
        "expiry: messages live for good, working 3600 s",
        "redaction: full",
        "encryption: none",
        "quotas: 1000 tokens a user and day",
        "limits: max_batch 5, max_body_bytes 4000, max_collections 3",
        "tenant b,",
        "a session lists 2 messages; what is over is archived",
    ] {
        assert!(words.contains(line), "{line:?} is not in {words}");
    }
    for (from, to, said) in [
        ("policy = \"strict\"", "policy = \"none\"", "there is no [policies.none]"),
        ("rate = 0.5", "rate = 1.5", "a rate is over 0"),
        ("max_messages = 3", "max_message = 3", "unknown field"),
    ] {
        std::fs::write(folder.path().join("membox.toml"), SETTINGS.replace(from, to)).expect("a file");
        let (done, _, error) = show();
        assert!(!done && error.contains(said), "{error}");
        assert!(Server::try_start(&data, &[], &[]).is_none(), "{said}");
    }
}
