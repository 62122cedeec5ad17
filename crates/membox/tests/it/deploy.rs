//! What `deploy` watches is there to be watched: every metric that an alert or a panel names is one that a box shows.

use crate::common::{Server, data_with_model};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The names of the box's own metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.split(|c| !is_name(c)).filter(|word| word.starts_with("membox_")).map(str::to_owned).collect()
}

#[test]
fn every_metric_that_deploy_names_is_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let post = |path: &str, body: Value| {
        let (status, answer) = server.call("POST", path, &body);
        assert_eq!(status, 200, "{path}: {answer}");
    };
    assert_eq!(server.call("PUT", "/v1/collections/c", &json!({"redaction": {"mode": "full"}})).0, 201);
    post("/v1/collections/c/records", json!({"records": [{"text": "write to lena@example.com"}]}));
    post("/v1/collections/c/recall", json!({"query": "whom to write to"}));
    post("/v1/sessions/s/messages", json!({"messages": [{"role": "user", "content": "hello"}]}));
    post("/v1/tokens", json!({"input": "hello"}));
    let call =
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "memory_list", "arguments": {}}});
    let headers = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
    assert_eq!(server.raw("POST", "/mcp", &headers, call.to_string().into_bytes()).0, 200);
    let (_, _, shown) = server.raw("GET", "/metrics", &[], Vec::new());
    let resident = shown.lines().find_map(|line| line.strip_prefix("membox_resident_bytes "));
    assert!(resident.and_then(|bytes| bytes.parse::<f64>().ok()).is_some_and(|bytes| bytes > 1e7), "{resident:?}");
    for name in shown.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()) {
        assert!(shown.contains(&format!("# HELP {name} ")), "{name} does not say what it means");
    }
    let shown = named(&shown);
    let (status, headers, page) = server.raw("GET", "/dashboard", &[], Vec::new());
    assert_eq!(status, 200);
    assert!(
        headers.iter().any(|(name, value)| name == "content-security-policy" && value.contains("connect-src 'self'"))
    );
    assert!(!page.contains("http://") && !page.contains("https://"), "it loads nothing from elsewhere");
    for (file, text) in [
        ("alerts.yml", include_str!("../../../../deploy/alerts.yml")),
        ("alerts.test.yml", include_str!("../../../../deploy/alerts.test.yml")),
        ("grafana.json", include_str!("../../../../deploy/grafana.json")),
        ("/dashboard", page.as_str()),
    ] {
        let missing: Vec<String> = named(text).difference(&shown).cloned().collect();
        assert!(missing.is_empty(), "{file} names {missing:?}, which the box does not show");
        assert!(named(text).len() > 4, "{file} names nothing");
    }
    let dashboard: Value = serde_json::from_str(include_str!("../../../../deploy/grafana.json")).expect("JSON");
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(panel["title"].is_string() && panel["targets"][0]["expr"].is_string(), "{panel}");
    }
    server.stop();
}
