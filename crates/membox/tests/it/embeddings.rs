//! Embeddings as the clients of OpenAI and of text-embeddings-inference ask for them: whose token ids are whose,
//! which models there are, and errors in words that those clients print.

use crate::common::{Server, started};
use serde_json::{Value, json};

const MODEL: &str = "all-MiniLM-L6-v2";

fn vectors(server: &Server, body: &Value) -> Vec<Vec<f64>> {
    let (status, answer) = server.call("POST", "/v1/embeddings", body);
    assert_eq!(status, 200, "{body}: {answer}");
    let numbers = |v: &Value| v.as_array().expect("numbers").iter().filter_map(Value::as_f64).collect();
    answer["data"].as_array().expect("data").iter().map(|object| numbers(&object["embedding"])).collect()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn token_ids_are_those_of_openais_encoding_or_the_models_own() {
    let (_folder, server) = started("");
    let texts = vectors(&server, &json!({"input": ["tiktoken is great!", "hello", "hello world"]}));
    // cl100k_base's, as OpenAI's cookbook has them ("How to count tokens with tiktoken").
    let ids = json!([83, 1609, 5963, 374, 2294, 0]);
    for input in [json!([ids, [15339]]), json!([ids, [101, 7592, 102], [15339, 1917]])] {
        let read = vectors(&server, &json!({ "input": input }));
        assert!(cosine(&read[0], &texts[0]) > 0.9999, "{input}");
        assert!(cosine(&read[1], &texts[1]) > 0.9999, "{input}");
        assert!(read.get(2).is_none_or(|last| cosine(last, &texts[2]) > 0.9999), "{input}");
    }
    assert!(cosine(&vectors(&server, &json!({"input": ids}))[0], &texts[0]) > 0.9999);
    // Between [CLS] and [SEP], with which no text's ids begin, they are the model's.
    assert!(cosine(&vectors(&server, &json!({"input": [101, 7592, 102]}))[0], &texts[1]) > 0.9999);
    // So is every id of text-embeddings-inference, within those two or not.
    for inputs in [json!([101, 7592, 2088, 102]), json!([7592, 2088]), json!([[7592, 2088]])] {
        let (status, answer) = server.call("POST", "/embed", &json!({ "inputs": inputs }));
        assert_eq!(status, 200, "{answer}");
        let vector: Vec<f64> = answer[0].as_array().expect("numbers").iter().filter_map(Value::as_f64).collect();
        assert!(cosine(&vector, &texts[2]) > 0.9999, "{inputs}");
    }
    for (input, pointer) in [
        (json!([200_000]), "/input"),
        (json!([[15339], [99_999_999]]), "/input/1"),
        (json!([64, 101, 64]), "/input"),
        (json!([[]]), "/input/0"),
        (json!([102]), "/input"),
    ] {
        let (status, problem) = server.call("POST", "/v1/embeddings", &json!({ "input": input }));
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!(pointer)), "{input}: {problem}");
    }
    for input in [json!([-1]), json!([1.5]), json!(["a", 1]), json!({"a": 1}), json!(7), Value::Null] {
        let (status, problem) = server.call("POST", "/v1/embeddings", &json!({ "input": input }));
        assert_eq!(status, 400, "{input}: {problem}");
    }
    let (status, problem) = server.call("POST", "/embed", &json!({"inputs": [[40_000]]}));
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/inputs/0")), "{problem}");
}

#[test]
fn the_models_that_are_there_are_listed_and_no_other_embeds() {
    let (_folder, server) = started("model_aliases = [\"text-embedding-3-small\"]\n");
    let (status, list) = server.call("GET", "/v1/models", &Value::Null);
    assert_eq!((status, &list["object"]), (200, &json!("list")));
    let ids: Vec<&str> =
        list["data"].as_array().expect("models").iter().filter_map(|model| model["id"].as_str()).collect();
    assert_eq!(ids, [MODEL, "sentence-transformers/all-MiniLM-L6-v2", "text-embedding-3-small"]);
    for id in ids.iter().copied().chain(["sentence-transformers%2Fall-MiniLM-L6-v2"]) {
        let (status, model) = server.call("GET", &format!("/v1/models/{id}"), &Value::Null);
        assert_eq!((status, &model["object"]), (200, &json!("model")), "{id}: {model}");
        assert_eq!(model["id"], id.replace("%2F", "/"));
        assert!(
            model["created"].as_u64().is_some_and(|created| created > 1_700_000_000) && model["owned_by"].is_string()
        );
        let named = json!({"model": id.replace("%2F", "/"), "input": "x"});
        assert_eq!(server.call("POST", "/v1/embeddings", &named).0, 200, "{id}");
    }
    for wrong in ["text-embedding-ada-002", "other/all-MiniLM-L6-v2", ""] {
        let (status, problem) = server.call("POST", "/v1/embeddings", &json!({"model": wrong, "input": "x"}));
        let error = &problem["error"];
        assert_eq!(
            (status, &error["code"], &error["param"]),
            (404, &json!("model_not_found"), &json!("model")),
            "{problem}"
        );
        assert!(error["message"].as_str().is_some_and(|message| message.contains(MODEL)), "{problem}");
    }
    let (status, problem) = server.call("GET", "/v1/models/org/none", &Value::Null);
    assert_eq!((status, &problem["error"]["code"]), (404, &json!("model_not_found")), "{problem}");
    // Where text-embeddings-inference has it, any name is taken, as there.
    let (status, answer) = server.call("POST", "/embeddings", &json!({"model": "other", "input": [15339]}));
    assert_eq!((status, &answer["model"]), (200, &json!(MODEL)), "{answer}");
}

#[test]
fn a_box_may_be_told_to_take_any_name_of_a_model() {
    let (_folder, server) = started("model_aliases = [\"*\"]\n");
    assert_eq!(server.call("POST", "/v1/embeddings", &json!({"model": "any/of-them", "input": "x"})).0, 200);
    let (_, list) = server.call("GET", "/v1/models", &Value::Null);
    let ids: Vec<&Value> = list["data"].as_array().expect("models").iter().map(|model| &model["id"]).collect();
    assert_eq!(ids, [MODEL, "sentence-transformers/all-MiniLM-L6-v2"]);
}

#[test]
fn gateways_may_send_nulls_and_fields_of_their_own() {
    let (_folder, server) = started("");
    let plain = vectors(&server, &json!({"model": MODEL, "input": "hello"}));
    let sent = json!({"model": MODEL, "input": "hello", "encoding_format": null, "dimensions": null, "user": null,
        "max_tokens": null,
        "input_type": "query", "truncate": "END", "drop_params": true});
    assert_eq!(vectors(&server, &sent), plain);
    let (status, answer) = server.call(
        "POST",
        "/embed",
        &json!({"inputs": "hello", "truncate": null, "normalize": null, "truncation_direction": "Right",
            "prompt_name": null, "else": {"a": 1}}),
    );
    assert_eq!(status, 200, "{answer}");
    let embed = |body: Value| server.call("POST", "/embed", &body);
    let long = format!("{}the cat sat on the mat", "word ".repeat(600));
    let end = format!("{}the cat sat on the mat", "word ".repeat(248));
    for side in ["left", "Left"] {
        let (status, left) = embed(json!({"inputs": long, "truncation_direction": side}));
        assert_eq!((status, &left), (200, &embed(json!({"inputs": end})).1), "what is kept is the end");
    }
    assert_ne!(embed(json!({"inputs": long})).1, embed(json!({"inputs": end})).1);
    assert_eq!(embed(json!({"inputs": long, "truncation_direction": "left", "truncate": false})).0, 422);
    // What would give other vectors than were asked for is no field to pass over.
    assert_eq!(embed(json!({"inputs": "hello", "prompt_name": "query"})).0, 422);
    assert_eq!(embed(json!({"inputs": "hello", "truncation_direction": "up"})).0, 400);
    assert_eq!(
        server
            .call("POST", "/tokenize", &json!({"inputs": "hello", "add_special_tokens": null, "prompt_name": null}))
            .0,
        200
    );
}

#[test]
fn errors_are_said_as_each_client_knows_them() {
    let (_folder, server) = started("[[keys]]\nkey = \"secret\"\ntenant = \"a\"\n");
    let call = |path: &str, key: &str, body: &Value| {
        let headers = [("content-type", "application/json"), ("authorization", key)];
        let (status, _, text) = server.raw("POST", path, &headers, body.to_string().into_bytes());
        (status, serde_json::from_str::<Value>(&text).unwrap_or_default())
    };
    let key = "Bearer secret";
    let (status, problem) = call("/v1/embeddings", "Bearer wrong", &json!({"input": "x"}));
    assert_eq!((status, &problem["error"]["code"]), (401, &json!("invalid_api_key")), "{problem}");
    let (status, problem) = call("/v1/embeddings", key, &json!({"input": ["x", ""]}));
    let error = &problem["error"];
    assert_eq!(
        (status, &error["type"], &error["param"]),
        (400, &json!("invalid_request_error"), &json!("input[1]")),
        "{problem}"
    );
    assert_eq!((&error["message"], &problem["detail"]), (&problem["detail"], &json!("the text is empty")));
    assert_eq!(problem["errors"][0]["pointer"], "/input/1", "the problem document's own fields stay");
    let (status, problem) = call("/v1/chat/completions", key, &json!({}));
    assert!(status == 404 && problem["error"]["message"].is_string(), "{problem}");
    for (path, body, status, kind) in [
        ("/embed", json!({"inputs": ""}), 400, "Empty"),
        ("/embed", json!({"inputs": "x", "dimensions": 9999}), 422, "Validation"),
        ("/embed", json!({"inputs": {"a": 1}}), 400, "Validation"),
        ("/rerank", json!({"query": "x", "texts": []}), 400, "Empty"),
        ("/rerank", json!({"query": "x", "texts": ["y"]}), 424, "Backend"),
    ] {
        let (got, problem) = call(path, key, &body);
        assert_eq!((got, &problem["error_type"]), (status, &json!(kind)), "{path}: {problem}");
        assert_eq!(problem["error"], problem["detail"], "{problem}");
    }
    let (_, problem) = call("/v1/collections/none/recall", key, &json!({"query": "x"}));
    assert_eq!(problem["error"], Value::Null, "a route of our own has the problem alone: {problem}");
}
