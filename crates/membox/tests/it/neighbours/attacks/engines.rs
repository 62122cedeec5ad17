//! What the engines compute, and what is found by it.

use super::{Attack, Pace, SENTENCE, always, in_turn};
use serde_json::{Value, json};

pub(super) fn of_the_engines() -> Vec<Attack> {
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

pub(super) fn of_recall() -> Vec<Attack> {
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
