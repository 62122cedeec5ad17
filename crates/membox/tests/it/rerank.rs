//! Cross-encoders over HTTP: as text-embeddings-inference and Cohere have them, and in a recall.

use crate::common::{Server, data_with_model, post, real_models};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;

const TEXTS: [&str; 4] =
    ["The spare key is under the blue pot.", "The tap drips.", "Lena drinks tea.", "It rained all of Sunday."];
const QUESTION: &str = "Where is the spare key?";

/// A cross-encoder of the real model and a layer that nobody has trained: its numbers mean nothing, and are the same
/// wherever they are asked for.
fn write_cross_encoder(folder: &Path) {
    let real = real_models().join("all-MiniLM-L6-v2");
    fs::create_dir_all(folder).expect("a folder");
    fs::copy(real.join("tokenizer.json"), folder.join("tokenizer.json")).expect("a copy");
    let config = fs::read(real.join("config.json")).expect("a file");
    let mut config: Value = serde_json::from_slice(&config).expect("JSON");
    config["architectures"] = json!(["BertForSequenceClassification"]);
    fs::write(folder.join("config.json"), config.to_string()).expect("a write");
    let weights = fs::read(real.join("model.safetensors")).expect("the weights");
    let (length, rest) = weights.split_at(8);
    let (header, data) = rest.split_at(u64::from_le_bytes(length.try_into().expect("8 bytes")) as usize);
    let header: Map<String, Value> = serde_json::from_slice(header).expect("a header");
    let is_tensor = |(name, _): &(String, Value)| name != "__metadata__";
    let named = |(name, value)| (format!("bert.{name}"), value);
    let mut header: Map<String, Value> = header.into_iter().filter(is_tensor).map(named).collect();
    let numbers: Vec<f32> = (0..385).map(|i: u16| (f32::from(i * 37 % 101) - 50.0) / 50.0).collect();
    let end = |numbers: usize| data.len() + numbers * 4;
    header.insert(
        "classifier.weight".into(),
        json!({"dtype": "F32", "shape": [1, 384], "data_offsets": [end(0), end(384)]}),
    );
    header
        .insert("classifier.bias".into(), json!({"dtype": "F32", "shape": [1], "data_offsets": [end(384), end(385)]}));
    let header = Value::Object(header).to_string();
    let more: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    let all = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data, &more].concat();
    fs::write(folder.join("model.safetensors"), all).expect("a write");
}

fn started(folder: &Path) -> Server {
    let linked = data_with_model(folder);
    fs::remove_file(linked.join("models")).expect("a link");
    fs::create_dir(linked.join("models")).expect("a folder");
    let own = "all-MiniLM-L6-v2";
    std::os::unix::fs::symlink(real_models().join(own), linked.join("models").join(own)).expect("a link");
    write_cross_encoder(&linked.join("models/judge"));
    fs::write(folder.join("membox.toml"), "models = [\"judge\"]\n").expect("a file");
    Server::start(&linked, &[])
}

fn numbers(list: &Value, field: &str) -> Vec<(u64, f64)> {
    let of = |one: &Value| (one["index"].as_u64().expect("a place"), one[field].as_f64().expect("a number"));
    list.as_array().expect("a list").iter().map(of).collect()
}

#[test]
fn texts_are_ranked_as_text_embeddings_inference_and_cohere_have_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = started(folder.path());
    let ranks = post(&server, "/rerank", &json!({"query": QUESTION, "texts": TEXTS, "return_text": true}));
    let scores = numbers(&ranks, "score");
    assert!(scores.is_sorted_by(|a, b| a.1 >= b.1) && scores.iter().all(|(_, s)| (0.0..=1.0).contains(s)), "{ranks}");
    let mut places: Vec<u64> = scores.iter().map(|(index, _)| *index).collect();
    assert!(ranks[0]["text"] == TEXTS[places[0] as usize], "{ranks}");
    let raw = post(&server, "/rerank", &json!({"query": QUESTION, "texts": TEXTS, "raw_scores": true}));
    for ((index, score), (same, raw)) in scores.iter().zip(numbers(&raw, "score")) {
        assert!(*index == same && (1.0 / (1.0 + (-raw).exp()) - score).abs() < 1e-5, "{raw}");
    }
    assert_eq!(raw[0].get("text"), None);
    let documents = json!([TEXTS[0], TEXTS[1], {"text": TEXTS[2]}, TEXTS[3]]);
    let body = json!({"model": "judge", "query": QUESTION, "documents": documents,
        "top_n": 2, "return_documents": true});
    let cohere = post(&server, "/v2/rerank", &body);
    assert_eq!(numbers(&cohere["results"], "relevance_score"), scores[..2], "{cohere}");
    assert_eq!(cohere["results"][0]["document"]["text"], TEXTS[places[0] as usize]);
    assert_eq!(post(&server, "/v1/rerank", &body), cohere, "where Jina's and vLLM's clients send it");
    places.sort_unstable();
    assert_eq!(places, [0, 1, 2, 3]);
    let (status, problem) =
        server.call("POST", "/v2/rerank", &json!({"model": "none", "query": "x", "documents": ["y"]}));
    assert_eq!(status, 424, "{problem}");
    // It embeds nothing, and is listed for what it is.
    assert_eq!(server.call("POST", "/v1/embeddings", &json!({"model": "judge", "input": "x"})).0, 404);
    assert_eq!(server.call("GET", "/v1/models/judge", &Value::Null).1["kind"], "reranker");
    assert_eq!(server.call("PUT", "/v1/collections/x", &json!({"model": "judge"})).0, 422);
}

#[test]
fn a_recall_is_ranked_by_what_reads_question_and_text_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = started(folder.path());
    assert_eq!(server.call("PUT", "/v1/collections/c", &json!({})).0, 201);
    let record = |(i, text): (usize, &&str)| json!({"id": format!("r{i}"), "text": text});
    let records: Vec<Value> = TEXTS.iter().enumerate().map(record).collect();
    post(&server, "/v1/collections/c/records", &json!({ "records": records }));
    let expected = numbers(&post(&server, "/rerank", &json!({"query": QUESTION, "texts": TEXTS})), "score");
    let recall = |rerank: Value| {
        let body = json!({"query": QUESTION, "mode": "vector", "k": 4, "explain": true, "rerank": rerank});
        server.call("POST", "/v1/collections/c/recall", &body)
    };
    for rerank in [json!({"model": "judge"}), json!({"top": 4})] {
        let (status, answer) = recall(rerank);
        assert_eq!(status, 200, "{answer}");
        let hits = answer["hits"].as_array().expect("hits");
        assert_eq!(hits.len(), 4, "{answer}");
        for (hit, (index, score)) in hits.iter().zip(&expected) {
            assert_eq!(hit["id"], format!("r{index}"), "{answer}");
            assert!((hit["score"].as_f64().expect("a score") - score).abs() < 1e-5, "{answer}");
            let parts = hit["explanation"]["parts"].as_array().expect("parts");
            assert!(parts.len() == 1 && parts[0]["part"] == "cross_encoder" && parts[0]["score"] == hit["score"]);
        }
    }
    let (_, answer) = recall(json!({"model": "judge", "top": 2}));
    assert_eq!(answer["hits"].as_array().map(Vec::len), Some(2), "of the best two alone: {answer}");
    for (rerank, pointer) in [(json!({"model": "none"}), "/rerank/model"), (json!({"top": 0}), "/rerank/top")] {
        let (status, problem) = recall(rerank);
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!(pointer)), "{problem}");
    }
}
