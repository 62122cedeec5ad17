//! Sparse vectors over HTTP, as text-embeddings-inference has them.

use crate::common::{Server, data_with_model, membox, post, real_models};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// A repository with the real model and a head that nobody has trained: its numbers mean nothing, and are the same
/// wherever they are asked for.
fn write_repository(folder: &Path) {
    let real = real_models().join("all-MiniLM-L6-v2");
    fs::create_dir_all(folder).expect("a folder");
    fs::copy(real.join("tokenizer.json"), folder.join("tokenizer.json")).expect("a copy");
    let config = fs::read(real.join("config.json")).expect("a file");
    let mut config: Value = serde_json::from_slice(&config).expect("JSON");
    config["architectures"] = json!(["BertForMaskedLM"]);
    fs::write(folder.join("config.json"), config.to_string()).expect("a write");
    let bytes = fs::read(real.join("model.safetensors")).expect("the weights");
    let all = SafeTensors::deserialize(&bytes).expect("the weights");
    let numbers =
        |count: usize, of: &dyn Fn(usize) -> f32| -> Vec<u8> { (0..count).flat_map(|i| of(i).to_le_bytes()).collect() };
    let parts = [
        ("transform.dense.weight", vec![384, 384], numbers(384 * 384, &|i| if i % 385 == 0 { 1.0 } else { 0.0 })),
        ("transform.dense.bias", vec![384], numbers(384, &|_| 0.0)),
        ("transform.LayerNorm.weight", vec![384], numbers(384, &|_| 1.0)),
        ("transform.LayerNorm.bias", vec![384], numbers(384, &|_| 0.0)),
        ("bias", vec![30_522], numbers(30_522, &|i| if i % 7 == 0 { 0.0 } else { -1.0 })),
    ];
    let named = |(name, tensor)| (format!("bert.{name}"), tensor);
    let mut tensors: Vec<(String, TensorView)> = all.tensors().into_iter().map(named).collect();
    for (name, shape, bytes) in &parts {
        let tensor = TensorView::new(Dtype::F32, shape.clone(), bytes).expect("a tensor");
        tensors.push((format!("cls.predictions.{name}"), tensor));
    }
    safetensors::serialize_to_file(tensors, None, &folder.join("model.safetensors")).expect("a file");
}

#[test]
fn a_model_with_a_masked_lm_head_is_installed_and_gives_sparse_vectors() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    fs::remove_file(data.join("models")).expect("a link");
    fs::create_dir(data.join("models")).expect("a folder");
    let own = "all-MiniLM-L6-v2";
    std::os::unix::fs::symlink(real_models().join(own), data.join("models").join(own)).expect("a link");
    let repository = folder.path().join("sparse");
    write_repository(&repository);
    let pull = |more: &[&str]| {
        let mut command = membox(&data);
        let output = command.args(["models", "pull", "--pooling", "splade"]).args(more).output().expect("the binary");
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (is_done, said) = pull(&[repository.to_str().expect("a path")]);
    assert!(is_done && said.contains("sparse vectors of 30522 dimensions"), "{said}");
    assert!(said.contains("models = [\"sparse\"]"), "{said}");
    let (is_done, said) = pull(&[own]);
    assert!(!is_done && said.contains("--pooling"), "it has no such head: {said}");
    // It embeds nothing, so a box has it beside another.
    let refused = Server::try_start(&data, &[], &[("MEMBOX_MODEL", "sparse")]).expect("a server");
    assert_eq!(refused.call("GET", "/v1/models", &Value::Null).0, 503);
    refused.stop();

    fs::write(folder.path().join("membox.toml"), "models = [\"sparse\"]\n").expect("a file");
    let server = Server::start(&data, &[]);
    assert_eq!(server.call("GET", "/v1/models/sparse", &Value::Null).1["kind"], "sparse");
    assert_eq!(server.call("POST", "/v1/embeddings", &json!({"model": "sparse", "input": "x"})).0, 404);
    assert_eq!(server.call("PUT", "/v1/collections/c", &json!({"model": "sparse"})).0, 422);
    let texts = ["The spare key is under the blue pot.", "It rained."];
    let both = post(&server, "/embed_sparse", &json!({ "inputs": texts }));
    assert_eq!(both.as_array().map(Vec::len), Some(2), "{both}");
    for (vector, text) in both.as_array().expect("vectors").iter().zip(texts) {
        let numbers = vector.as_array().expect("a vector");
        let place = |one: &Value| one["index"].as_u64().expect("a place");
        assert!(!numbers.is_empty() && numbers.is_sorted_by(|a, b| place(a) < place(b)), "{vector}");
        assert!(numbers.iter().all(|one| one["value"].as_f64() > Some(0.0) && place(one) < 30_522), "{vector}");
        assert_eq!(post(&server, "/embed_sparse", &json!({ "inputs": text })), json!([vector]), "one text is a list");
    }
    let (_, view) = server.call("GET", "/v1/models/sparse", &Value::Null);
    assert_eq!((&view["loaded"], &view["dimension"]), (&json!(true), &json!(30_522)), "{view}");
    let (status, problem) = server.call("POST", "/embed_sparse", &json!({"inputs": ["x", ""]}));
    assert_eq!((status, &problem["errors"][0]["pointer"]), (400, &json!("/inputs/1")), "{problem}");
    let (_, headers, _) = server.raw(
        "POST",
        "/embed_sparse",
        &[("content-type", "application/json")],
        br#"{"inputs": "hello"}"#.to_vec(),
    );
    assert!(headers.iter().any(|(name, value)| name == "x-compute-tokens" && value == "3"), "{headers:?}");
    server.stop();
}
