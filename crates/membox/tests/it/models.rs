//! A model is what it was: its files are hashed each time they are loaded.

use crate::common::{Server, membox, real_models};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const FILES: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];

/// A data folder with the files of the real model under a name; the weights are a copy of its own.
fn data_with(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let data = folder.join("data");
    let model = data.join("models").join(name);
    fs::create_dir_all(&model).expect("a folder");
    for file in FILES {
        fs::copy(real_models().join("all-MiniLM-L6-v2").join(file), model.join(file)).expect("a copy");
    }
    (data, model)
}

/// Changes one weight; the size, and by its times the file, stay as they were.
fn change_a_weight(model: &Path) {
    let path = model.join("model.safetensors");
    let before = fs::metadata(&path).and_then(|found| found.modified()).expect("its time");
    let mut bytes = fs::read(&path).expect("the weights");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).expect("a write");
    fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(before)).expect("a time");
}

fn checked_by(server: &Server) -> Value {
    let (status, answer) = server.call("GET", "/v1/models", &Value::Null);
    assert_eq!(status, 200, "{answer}");
    answer["data"][0]["checksums"].clone()
}

#[test]
fn a_model_with_another_checksum_is_refused_and_what_to_do_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, model) = data_with(folder.path(), "all-MiniLM-L6-v2");
    let server = Server::start(&data, &[]);
    assert_eq!(checked_by(&server), "manifest");
    server.stop();
    change_a_weight(&model);
    let texts = folder.path().join("texts");
    fs::write(&texts, "a text\n").expect("a file");
    let mut command = membox(&data);
    command.args(["embed", "--out"]).arg(folder.path().join("vectors.npy")).stdin(fs::File::open(&texts).expect("it"));
    let refused = command.output().expect("the binary");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("model.safetensors is refused: its SHA-256 is"), "{said}");
    assert!(said.contains("membox models pull --force"), "{said}");
    // A box runs without it, and answers what needs no model.
    let server = Server::start(&data, &[]);
    assert_eq!(server.call("GET", "/v1/models", &Value::Null).0, 503);
    assert_eq!(server.call("PUT", "/v1/collections/c", &json!({"dimension": 2})).0, 201);
    server.stop();
}

#[test]
fn a_model_that_membox_does_not_know_is_held_to_what_was_recorded_or_named_as_unchecked() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, model) = data_with(folder.path(), "our-own");
    let start = || Server::try_start(&data, &[], &[("MEMBOX_MODEL", "our-own")]).expect("a server");
    let server = start();
    assert_eq!(checked_by(&server), "none");
    server.stop();
    // As the log says.
    let recorded = std::process::Command::new("sh")
        .args(["-c", "sha256sum *.json *.safetensors > SHA256SUMS"])
        .current_dir(&model)
        .status();
    assert!(recorded.expect("sha256sum").success());
    let server = start();
    assert_eq!(checked_by(&server), "recorded");
    server.stop();
    change_a_weight(&model);
    let server = start();
    assert_eq!(server.call("GET", "/v1/models", &Value::Null).0, 503);
    server.stop();
}

/// A folder as sentence-transformers writes it, over the files of the real model.
fn repository(folder: &Path) -> PathBuf {
    let repository = folder.join("bge-like");
    fs::create_dir_all(repository.join("1_Pooling")).expect("a folder");
    for file in FILES {
        let from = real_models().join("all-MiniLM-L6-v2").join(file).canonicalize().expect("the model");
        std::os::unix::fs::symlink(from, repository.join(file)).expect("a link");
    }
    let transformer = json!({"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"});
    let pooling = json!({"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"});
    for (name, value) in [
        ("modules.json", json!([transformer, pooling])),
        ("1_Pooling/config.json", json!({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false})),
        ("sentence_bert_config.json", json!({"max_seq_length": 128, "do_lower_case": false})),
        ("config_sentence_transformers.json", json!({"prompts": {"passage": "passage: "}})),
    ] {
        fs::write(repository.join(name), value.to_string()).expect("a file");
    }
    fs::write(repository.join("README.md"), "---\nlanguage:\n- en\n- zh\n---\n# A model\n").expect("a file");
    fs::write(repository.join("pytorch_model.bin"), "not wanted").expect("a file");
    repository
}

fn models(data: &Path, args: &[&str]) -> (bool, String) {
    let output = membox(data).arg("models").args(args).output().expect("the binary");
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn a_folder_in_the_form_of_sentence_transformers_is_installed_listed_and_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, repository) = (folder.path().join("data"), repository(folder.path()));
    let path = repository.to_str().expect("a path");
    let (is_done, said) = models(&data, &["pull", path, "--as", "our-own", "--prompt", "query=query: "]);
    assert!(is_done, "{said}");
    let summary = "BERT, 6 layers, 384 dimensions, cls pooling, 128 tokens of 512, prompts passage query";
    assert!(said.contains(summary) && said.contains("int8 is as f32 to a cosine of 0.9"), "{said}");
    let installed = data.join("models/our-own");
    assert!(!installed.join("pytorch_model.bin").exists() && !installed.join("incoming").exists());
    let (_, said) = models(&data, &["list"]);
    assert!(said.contains("our-own") && said.contains(summary) && said.contains("languages: en zh"), "{said}");
    let (is_whole, said) = models(&data, &["verify"]);
    assert!(is_whole && said.contains("our-own/1_Pooling/config.json: ok"), "{said}");

    let server = Server::try_start(&data, &[], &[("MEMBOX_MODEL", "our-own")]).expect("a server");
    assert_eq!(checked_by(&server), "recorded");
    let info = server.call("GET", "/info", &Value::Null).1;
    assert_eq!((&info["model_type"]["embedding"]["pooling"], &info["max_input_length"]), (&json!("cls"), &json!(128)));
    let embed = |body: Value| server.call("POST", "/embed", &body);
    let plain = embed(json!({"inputs": "query: where is it?"}));
    assert_eq!(embed(json!({"inputs": "where is it?", "prompt_name": "query"})), plain);
    assert_ne!(embed(json!({"inputs": "where is it?"})), plain);
    let (status, refused) = embed(json!({"inputs": "x", "prompt_name": "classification"}));
    let detail = refused.to_string();
    assert!(status == 422 && detail.contains("/prompt_name") && detail.contains("passage, query"), "{refused}");
    // A record has the passage's prompt, and a question the query's.
    assert_eq!(server.call("PUT", "/v1/collections/c", &json!({})).0, 201);
    let records = json!({"records": [{"id": "a", "text": "The key is under the pot."}]});
    assert_eq!(server.call("POST", "/v1/collections/c/records", &records).0, 200);
    let body = json!({"query": "where is it?", "mode": "vector", "include": ["vector"]});
    let hit = server.call("POST", "/v1/collections/c/recall", &body).1["hits"][0].clone();
    let numbers =
        |value: &Value| -> Vec<f64> { value.as_array().expect("a vector").iter().filter_map(Value::as_f64).collect() };
    let kept = numbers(&hit["vector"]);
    let wanted = numbers(&embed(json!({"inputs": "passage: The key is under the pot."})).1[0]);
    let apart = kept.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0f64, f64::max);
    assert!(apart < 2e-3, "the vector that is kept is of the passage: {apart}");
    let dot: f64 = kept.iter().zip(numbers(&plain.1[0])).map(|(a, b)| a * b).sum();
    let score = hit["score"].as_f64().expect("a score");
    assert!((dot - score).abs() < 5e-3, "and is compared with that of the query: {dot}, {score}");
    server.stop();

    fs::write(installed.join("1_Pooling/config.json"), "{}").expect("a file");
    let (is_whole, said) = models(&data, &["verify"]);
    assert!(!is_whole && said.contains("our-own/1_Pooling/config.json: its sha256 is"), "{said}");
}

#[test]
fn weights_in_several_files_are_read_by_their_index() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, repository) = (folder.path().join("data"), repository(folder.path()));
    let bytes = fs::read(repository.join("model.safetensors")).expect("the weights");
    fs::remove_file(repository.join("model.safetensors")).expect("the link");
    let all = safetensors::SafeTensors::deserialize(&bytes).expect("the weights");
    let (even, odd): (Vec<_>, Vec<_>) =
        all.tensors().into_iter().enumerate().partition(|(index, _)| index.is_multiple_of(2));
    let mut places = serde_json::Map::new();
    for (name, part) in [("model-00001-of-00002.safetensors", even), ("model-00002-of-00002.safetensors", odd)] {
        let part: Vec<_> = part.into_iter().map(|(_, tensor)| tensor).collect();
        places.extend(part.iter().map(|(tensor, _)| (tensor.clone(), json!(name))));
        safetensors::serialize_to_file(part, None, &repository.join(name)).expect("a file");
    }
    let index = json!({"metadata": {}, "weight_map": places});
    fs::write(repository.join("model.safetensors.index.json"), index.to_string()).expect("a file");
    let (is_done, said) = models(&data, &["pull", repository.to_str().expect("a path"), "--dimension", "128"]);
    assert!(is_done && said.contains("128 dimensions"), "{said}");
    let (is_whole, said) = models(&data, &["verify"]);
    assert!(is_whole && said.contains("bge-like/model-00002-of-00002.safetensors: ok"), "{said}");
}

#[test]
fn a_model_with_a_part_that_is_not_computed_is_refused_before_its_weights_are_fetched() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let refused = |file: &str, value: Value, wanted: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let repository = repository(folder.path());
        // Which a model of gigabytes would have here.
        fs::remove_file(repository.join("model.safetensors")).expect("the link");
        let path = repository.join(file);
        fs::remove_file(&path).expect("the file");
        if !value.is_null() {
            fs::write(path, value.to_string()).expect("a file");
        }
        let (is_done, said) = models(&data, &["pull", repository.to_str().expect("a path")]);
        assert!(!is_done && said.contains(wanted) && said.contains("bge-like is not installed"), "{said}");
        assert!(!data.join("models/bge-like").exists());
    };
    refused("config.json", json!({"model_type": "qwen3"}), "model_type \"qwen3\" is not computed");
    refused("1_Pooling/config.json", json!({"pooling_mode": "weightedmean"}), "\"weightedmean\" is not computed");
    refused("tokenizer.json", Value::Null, "it has no tokenizer.json");
    refused("README.md", json!(1), "it has no model.safetensors");
    let path = repository(folder.path());
    let (is_done, said) = models(&data, &["pull", path.to_str().expect("a path"), "--as", "all-MiniLM-L6-v2"]);
    assert!(!is_done && said.contains("is a model that membox knows"), "{said}");
}

#[test]
fn layers_that_int8_spoils_are_found_where_a_model_is_installed_and_computed_in_f32() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, repository) = (folder.path().join("data"), repository(folder.path()));
    let path = repository.join("model.safetensors");
    let mut bytes = fs::read(&path).expect("the weights");
    fs::remove_file(&path).expect("the link");
    // One weight of each row far larger than the others, which have one scale with it; what it is multiplied by is 0.
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).expect("a header");
    let mut put = |tensor: &str, place: usize, number: f32| {
        let tensor = &header[format!("encoder.layer.2.{tensor}")];
        let at = 8 + length + tensor["data_offsets"][0].as_u64().expect("a place") as usize + place * 4;
        bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
    };
    put("attention.output.LayerNorm.weight", 7, 0.0);
    put("attention.output.LayerNorm.bias", 7, 0.0);
    (0..1536).for_each(|row| put("intermediate.dense.weight", row * 384 + 7, 40.0));
    fs::write(&path, bytes).expect("a file");
    let (is_done, said) = models(&data, &["pull", repository.to_str().expect("a path")]);
    assert!(is_done && said.contains("some layers are computed in f32: 2."), "{said}");
    let (_, said) = models(&data, &["list"]);
    assert!(said.contains("f32 in layers 2 where int8 spoils them"), "{said}");
    let (is_whole, said) = models(&data, &["verify"]);
    assert!(is_whole && said.contains("bge-like/membox.json: ok"), "{said}");
    let embedded = |precision: &str| {
        let environment = [("MEMBOX_MODEL", "bge-like"), ("MEMBOX_PRECISION", precision)];
        let server = Server::try_start(&data, &[], &environment).expect("a server");
        let (status, answer) = server.call("POST", "/embed", &json!({"inputs": "Where is the spare key?"}));
        assert_eq!(status, 200, "{answer}");
        let numbers = answer[0].as_array().expect("a vector").iter().filter_map(Value::as_f64).collect::<Vec<_>>();
        server.stop();
        numbers
    };
    let cosine: f64 = embedded("int8").iter().zip(embedded("f32")).map(|(a, b)| a * b).sum();
    assert!(cosine > 0.99, "{cosine}");
}
