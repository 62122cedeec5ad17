//! text-embeddings-inference's routes as its own document (`openapi.json`) has them: fields, answers, errors, headers,
//! metrics.

use crate::common::started;
use serde_json::{Value, json};

const JSON: (&str, &str) = ("content-type", "application/json");

/// The lengths of a list, of its first entry, and so on inwards.
fn shape(answer: &Value) -> Vec<usize> {
    let mut lengths = Vec::new();
    let mut at = answer;
    while let Some(list) = at.as_array() {
        lengths.push(list.len());
        at = list.first().unwrap_or(&Value::Null);
    }
    lengths
}

fn vector(answer: &Value) -> Vec<f64> {
    answer.as_array().expect("numbers").iter().filter_map(Value::as_f64).collect()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let length = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / (length(a) * length(b))
}

#[test]
fn every_request_of_its_document_is_answered_in_its_shape() {
    let (_folder, server) = started("");
    let ids = [101, 7592, 102];
    let compared = json!({"source_sentence": "cat", "sentences": ["kitten", "car"]});
    let options = json!({"truncate": null, "truncation_direction": "Right", "prompt_name": null});
    let contract = [
        ("/embed", json!({"inputs": "x"}), &[1, 384][..]),
        ("/embed", json!({"inputs": ["x", "y"]}), &[2, 384]),
        ("/embed", json!({"inputs": ids}), &[1, 384]),
        ("/embed", json!({"inputs": [ids, ids]}), &[2, 384]),
        ("/embed", json!({"inputs": ["x", ids]}), &[2, 384]),
        ("/embed", json!({"inputs": vec![7592; 5000]}), &[1, 384]),
        ("/embed", json!({"inputs": "x ".repeat(1000), "truncate": true, "truncation_direction": "Left"}), &[1, 384]),
        ("/embed", json!({"inputs": "x", "truncate": null, "normalize": null, "dimensions": null}), &[1, 384]),
        ("/embed", json!({"inputs": "x", "prompt_name": null, "normalize": false, "other": {}}), &[1, 384]),
        ("/embed", json!({"inputs": "x", "dimensions": 64}), &[1, 64]),
        ("/", json!({"inputs": "x"}), &[1, 384]),
        ("/invocations", json!({"inputs": ["x", "y"]}), &[2, 384]),
        ("/embed_all", json!({"inputs": "hello world"}), &[1, 4, 384]),
        (
            "/embed_all",
            json!({"inputs": ["x y", ids], "truncation_direction": "left", "truncate": false}),
            &[2, 4, 384],
        ),
        ("/embed_all", json!({"inputs": "x ".repeat(1000), "other": 1}), &[1, 256, 384]),
        ("/similarity", json!({ "inputs": compared }), &[2]),
        ("/similarity", json!({"inputs": compared, "parameters": null}), &[2]),
        ("/similarity", json!({"inputs": compared, "parameters": options}), &[2]),
        ("/tokenize", json!({"inputs": "hello"}), &[1, 3]),
        ("/tokenize", json!({"inputs": ["a", "b"], "add_special_tokens": false, "prompt_name": null}), &[2, 1]),
        ("/decode", json!({"ids": ids, "skip_special_tokens": null}), &[1]),
        ("/decode", json!({"ids": [ids, ids], "other": 1}), &[2]),
    ];
    for (path, body, expected) in &contract {
        let (status, answer) = server.call("POST", path, body);
        assert_eq!((status, &shape(&answer)[..]), (200, *expected), "{path} {body}: {answer}");
    }
    for path in ["/v1/embeddings", "/embeddings"] {
        let body = json!({"input": "x", "model": null, "user": null, "encoding_format": null, "dimensions": 32});
        let (status, answer) = server.call("POST", path, &body);
        assert_eq!((status, shape(&answer["data"][0]["embedding"])), (200, vec![32]), "{path}: {answer}");
    }
    for path in ["/", "/ping", "/health"] {
        assert_eq!(server.call("GET", path, &Value::Null).0, 200, "{path}");
    }
    server.stop();
}

#[test]
fn the_answers_are_those_of_the_texts() {
    let (_folder, server) = started("");
    let post = |path: &str, body: Value| {
        let (status, answer) = server.call("POST", path, &body);
        assert_eq!(status, 200, "{path} {body}: {answer}");
        answer
    };
    // A vector is the mean of the states of its tokens.
    let whole = vector(&post("/embed", json!({"inputs": "hello world", "normalize": false}))[0]);
    let states = post("/embed_all", json!({"inputs": "hello world"}));
    let states: Vec<Vec<f64>> = states[0].as_array().expect("tokens").iter().map(vector).collect();
    let mean: Vec<f64> = (0..384).map(|d| states.iter().map(|state| state[d]).sum::<f64>() / 4.0).collect();
    assert!(whole.iter().zip(&mean).all(|(a, b)| (a - b).abs() < 1e-4));

    let alike = post("/similarity", json!({"inputs": {"source_sentence": "a cat", "sentences": ["a kitten", "tax"]}}));
    let rows = post("/embed", json!({"inputs": ["a cat", "a kitten", "tax"]}));
    let rows: Vec<Vec<f64>> = rows.as_array().expect("vectors").iter().map(vector).collect();
    for (i, said) in vector(&alike).into_iter().enumerate() {
        assert!((said - cosine(&rows[0], &rows[i + 1])).abs() < 1e-4, "{alike}");
    }
    assert!(alike[0].as_f64() > alike[1].as_f64());

    let ids = json!([[101, 7592, 2088, 102], [7592]]);
    assert_eq!(post("/decode", json!({ "ids": ids })), json!(["hello world", "hello"]));
    let all = post("/decode", json!({"ids": [101, 7592, 102], "skip_special_tokens": false}));
    assert_eq!(all, json!(["[CLS] hello [SEP]"]));

    // A token list that is too long is cut where a text would be.
    let text = |words: usize, rest: &str| format!("{}{rest}", "word ".repeat(words));
    let token = 2773;
    let long = [vec![token; 600], vec![7592]].concat();
    let cut = |side: &str| post("/embed", json!({"inputs": long, "truncation_direction": side}));
    assert_eq!(cut("right"), post("/embed", json!({"inputs": text(300, "")})));
    assert_eq!(cut("left"), post("/embed", json!({"inputs": text(253, "hello")})));

    let instances = json!([{"inputs": ["a cat", "tax"]}, {"inputs": "a kitten", "dimensions": 8, "other": 1}]);
    let answer = post("/vertex", json!({ "instances": instances }));
    let predictions = &answer["predictions"];
    assert_eq!(predictions[0], post("/embed", json!({"inputs": ["a cat", "tax"]})));
    assert_eq!(predictions[1], post("/embed", json!({"inputs": "a kitten", "dimensions": 8})));
    assert_eq!(post("/vertex", json!({"instances": []})), json!({"predictions": []}));
    server.stop();
}

#[test]
fn what_is_wrong_has_its_status_its_kind_and_its_field() {
    let (_folder, server) = started("");
    let (many, half) = (vec!["x"; 2049], vec!["x"; 1025]);
    let wrong = [
        ("/embed", json!({"inputs": ""}), 400, "Empty", "/inputs"),
        ("/embed", json!({"inputs": []}), 400, "Empty", "/inputs"),
        ("/embed", json!({"inputs": ["x", ""]}), 400, "Empty", "/inputs/1"),
        ("/embed", json!({"inputs": ["x", []]}), 400, "Empty", "/inputs/1"),
        ("/embed", json!({ "inputs": many }), 413, "Validation", "/inputs"),
        ("/embed", json!({"inputs": "x", "dimensions": 0}), 422, "Validation", "/dimensions"),
        ("/embed", json!({"inputs": "x", "prompt_name": "query"}), 422, "Validation", "/prompt_name"),
        ("/embed", json!({"inputs": "x ".repeat(300), "truncate": false}), 422, "Validation", "/inputs"),
        ("/embed", json!({"inputs": vec![7592; 300], "truncate": false}), 422, "Validation", "/inputs"),
        ("/embed", json!({"inputs": [[7592], "x".repeat(80_000)], "truncate": false}), 422, "Validation", "/inputs"),
        ("/embed", json!({"inputs": [[7592], [40_000]]}), 422, "Validation", "/inputs/1"),
        ("/embed", json!({"inputs": {"a": 1}}), 400, "Validation", "/inputs"),
        ("/embed_all", json!({"inputs": []}), 400, "Empty", "/inputs"),
        ("/embed_all", json!({"inputs": "x", "prompt_name": "query"}), 422, "Validation", "/prompt_name"),
        ("/tokenize", json!({"inputs": ["x", ""]}), 400, "Empty", "/inputs/1"),
        ("/tokenize", json!({ "inputs": many }), 413, "Validation", "/inputs"),
        ("/tokenize", json!({"inputs": "x", "prompt_name": "query"}), 422, "Validation", "/prompt_name"),
        ("/decode", json!({"ids": []}), 400, "Empty", "/ids"),
        ("/decode", json!({"ids": [[7592], []]}), 400, "Empty", "/ids/1"),
        ("/decode", json!({"ids": [[7592], [40_000]]}), 422, "Validation", "/ids/1"),
        ("/decode", json!({"ids": [40_000]}), 422, "Validation", "/ids"),
        (
            "/similarity",
            json!({"inputs": {"source_sentence": "x", "sentences": []}}),
            400,
            "Empty",
            "/inputs/sentences",
        ),
        (
            "/similarity",
            json!({"inputs": {"source_sentence": "", "sentences": ["x"]}}),
            400,
            "Empty",
            "/inputs/source_sentence",
        ),
        (
            "/similarity",
            json!({"inputs": {"source_sentence": "x", "sentences": many[1..]}}),
            413,
            "Validation",
            "/inputs/sentences",
        ),
        ("/vertex", json!({"instances": [{"inputs": "x"}, {"inputs": ""}]}), 400, "Empty", "/instances/1/inputs"),
        ("/vertex", json!({"instances": [{"inputs": "x"}, {"inputs": 7}]}), 400, "Validation", "/instances/1/inputs"),
        (
            "/vertex",
            json!({"instances": [{"inputs": "x", "max_tokens": 1}]}),
            422,
            "Validation",
            "/instances/0/max_tokens",
        ),
        ("/vertex", json!({"instances": [{"inputs": half}, {"inputs": half}]}), 413, "Validation", "/instances/1"),
        ("/rerank", json!({"query": "x", "texts": []}), 400, "Empty", "/texts"),
        ("/predict", json!({"inputs": ["x", "y", "z"]}), 422, "Validation", "/inputs"),
        ("/embed_sparse", json!({ "inputs": many }), 413, "Validation", "/inputs"),
    ];
    for (path, body, status, kind, pointer) in &wrong {
        let (got, problem) = server.call("POST", path, body);
        assert_eq!((got, &problem["error_type"]), (*status, &json!(kind)), "{path} {pointer}: {problem}");
        assert_eq!(problem["errors"][0]["pointer"], *pointer, "{path}: {problem}");
        assert_eq!(problem["error"], problem["detail"], "{problem}");
    }
    server.stop();
}

#[test]
fn what_wants_another_model_is_answered_as_by_one_that_embeds() {
    let (_folder, server) = started("");
    let rerank =
        json!({"query": "cat", "texts": ["kitten"], "return_text": true, "raw_scores": null, "truncate": true});
    let other_models = [
        ("/rerank", rerank.clone(), "Backend error: model is not a re-ranker model"),
        ("/predict", json!({"inputs": "x"}), "Backend error: Model is not a classifier model"),
        ("/predict", json!({"inputs": ["x", "y"]}), "Backend error: Model is not a classifier model"),
        ("/predict", json!({"inputs": [["x"], ["y", "z"]]}), "Backend error: Model is not a classifier model"),
        ("/embed_sparse", json!({"inputs": "x"}), "Backend error: Model is not an embedding model with SPLADE pooling"),
        ("/vertex", json!({"instances": [{"inputs": "x"}, rerank]}), "Backend error: model is not a re-ranker model"),
    ];
    for (path, body, error) in &other_models {
        let (status, problem) = server.call("POST", path, body);
        let said = (status, &problem["error"], &problem["error_type"]);
        assert_eq!(said, (424, &json!(error), &json!("Backend")), "{path} {body}: {problem}");
    }
    server.stop();
}

#[test]
fn what_runs_and_what_it_cost_is_said_by_its_names() {
    let (_folder, server) = started("");
    let (_, info) = server.call("GET", "/info", &Value::Null);
    for name in ["model_id", "served_model_name", "model_dtype", "version"] {
        assert!(info[name].is_string(), "{name}: {info}");
    }
    for name in [
        "max_concurrent_requests",
        "max_input_length",
        "max_batch_tokens",
        "max_client_batch_size",
        "tokenization_workers",
    ] {
        assert!(info[name].as_u64().is_some_and(|number| number > 0), "{name}: {info}");
    }
    // What is kept of a text that is longer.
    assert_eq!((&info["max_input_length"], &info["auto_truncate"]), (&json!(256), &json!(true)));
    assert_eq!(info["model_type"]["embedding"]["pooling"], "mean");

    for path in ["/embed", "/embed_all", "/", "/invocations"] {
        let (_, headers, _) = server.raw("POST", path, &[JSON], br#"{"inputs": "hello"}"#.to_vec());
        let header = |name: &str| headers.iter().find(|header| header.0 == name).map(|header| header.1.clone());
        assert_eq!(header("x-compute-type").as_deref(), Some("cpu+optimized"), "{path}");
        assert_eq!((header("x-compute-characters"), header("x-compute-tokens")), (Some("5".into()), Some("3".into())));
        for name in ["x-compute-time", "x-total-time", "x-tokenization-time", "x-queue-time", "x-inference-time"] {
            assert!(header(name).is_some_and(|value| value.parse::<u64>().is_ok()), "{path} {name}");
        }
    }
    server.call("POST", "/embed", &json!({"inputs": ["a", "b"]}));
    server.call("POST", "/embed", &json!({"inputs": ""}));
    server.call("POST", "/rerank", &json!({"query": "a", "texts": ["b"]}));
    let (_, _, metrics) = server.raw("GET", "/metrics", &[], Vec::new());
    for line in [
        "te_request_count{method=\"single\"} 5",
        "te_request_count{method=\"batch\"} 1",
        "te_request_success{method=\"single\"} 4",
        "te_request_success{method=\"batch\"} 1",
        "te_request_failure{err=\"validation\"} 1",
        "te_request_failure{err=\"model_type\"} 1",
        "te_embed_count 6",
        "te_embed_success 6",
        "te_request_duration_count 5",
        "te_queue_size 0",
        "te_batch_next_tokens_sum ",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    server.stop();
}

#[test]
fn a_box_with_keys_asks_for_one_wherever_something_is_computed() {
    let (_folder, server) =
        started("[[keys]]\nkey = \"secret\"\ntenant = \"a\"\naccess = \"read\"\nusers = [\"lena\"]\n");
    let ask = |method: &str, path: &str, key: &[(&str, &str)], body: &Value| {
        let headers = [&[JSON], key].concat();
        let body = if method == "GET" { Vec::new() } else { body.to_string().into_bytes() };
        server.raw(method, path, &headers, body).0
    };
    let key = [("authorization", "Bearer secret")];
    let inputs = json!({"inputs": "x"});
    for (path, body, expected) in [
        ("/", &inputs, 200),
        ("/embed", &inputs, 200),
        ("/invocations", &inputs, 200),
        ("/embed_all", &inputs, 200),
        ("/embed_sparse", &inputs, 424),
        ("/predict", &inputs, 424),
        ("/tokenize", &inputs, 200),
        ("/embeddings", &json!({"input": "x"}), 200),
        ("/decode", &json!({"ids": [7592]}), 200),
        ("/vertex", &json!({"instances": [inputs]}), 200),
        ("/rerank", &json!({"query": "x", "texts": ["x"]}), 424),
        ("/similarity", &json!({"inputs": {"source_sentence": "x", "sentences": ["x"]}}), 200),
    ] {
        assert_eq!(ask("POST", path, &[], body), 401, "{path}");
        assert_eq!(ask("POST", path, &key, body), expected, "{path}");
    }
    for path in ["/", "/ping", "/health", "/info"] {
        assert_eq!(ask("GET", path, &[], &Value::Null), 200, "{path}");
    }
    server.stop();
}
