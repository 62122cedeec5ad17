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
