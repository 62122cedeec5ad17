//! Records and their files.

use super::super::ATTACKER;
use super::super::client::Request;
use super::{Attack, Pace, SENTENCE, always, in_turn};
use serde_json::{Value, json};

pub(super) fn of_records() -> Vec<Attack> {
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
