//! Several embedding models in one box: which one a collection and a request have, and which are in memory.

use crate::common::{Server, membox, post, real_models};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

pub const OWN: &str = "all-MiniLM-L6-v2";
pub const SETTINGS: &str = "models = [\"small\", \"prompted\"]\nmodel_memory_mib = 1\n";

/// The real model, beside it the first 128 numbers of its vectors as `small`, and `prompted`, which wants a prompt
/// before questions. There is room for one of the two.
pub fn data_with_models(folder: &Path, settings: &str) -> PathBuf {
    let data = folder.join("data");
    for (name, config) in [
        (OWN, Value::Null),
        ("small", json!({"truncate_dim": 128})),
        ("prompted", json!({"prompts": {"query": "to find: ", "passage": "said: "}})),
    ] {
        let model = data.join("models").join(name);
        fs::create_dir_all(&model).expect("a folder");
        for file in fs::read_dir(real_models().join(OWN)).expect("the real model").flatten() {
            std::os::unix::fs::symlink(file.path(), model.join(file.file_name())).expect("a link");
        }
        if !config.is_null() {
            let path = model.join("config_sentence_transformers.json");
            let _ = fs::remove_file(&path);
            fs::write(path, config.to_string()).expect("a file");
            // Its files are no longer those of the manifest.
            let _ = fs::remove_file(model.join("SHA256SUMS"));
        }
    }
    fs::write(folder.join("membox.toml"), settings).expect("a file");
    data
}

fn embedded(server: &Server, body: &Value) -> (String, usize) {
    let answer = post(server, "/v1/embeddings", body);
    let numbers = answer["data"][0]["embedding"].as_array().expect("a vector").len();
    (answer["model"].as_str().expect("a name").to_owned(), numbers)
}

fn loaded(server: &Server) -> Value {
    server.call("GET", "/ready", &Value::Null).1["models"].clone()
}

#[test]
fn a_request_names_its_model_and_the_least_used_ones_leave() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_models(folder.path(), SETTINGS), &[]);
    assert_eq!(loaded(&server), json!([OWN]), "others wait until they are wanted");
    let (_, list) = server.call("GET", "/v1/models", &Value::Null);
    let listed: Vec<(&str, bool)> = list["data"]
        .as_array()
        .expect("models")
        .iter()
        .map(|model| (model["id"].as_str().expect("an id"), model["loaded"] == true))
        .collect();
    let hub = "sentence-transformers/all-MiniLM-L6-v2";
    assert_eq!(listed, [(OWN, true), (hub, true), ("small", false), ("prompted", false)]);
    let small = embedded(&server, &json!({"model": "small", "input": "a text"}));
    assert_eq!((small, loaded(&server)), (("small".to_owned(), 128), json!([OWN, "small"])));
    let (_, view) = server.call("GET", "/v1/models/small", &Value::Null);
    assert_eq!((&view["loaded"], &view["dimension"]), (&json!(true), &json!(128)), "{view}");
    let prompted = embedded(&server, &json!({"model": "prompted", "input": "a text"}));
    assert_eq!((prompted, loaded(&server)), (("prompted".to_owned(), 384), json!([OWN, "prompted"])));
    assert_eq!(embedded(&server, &json!({"input": "a text"})), (OWN.to_owned(), 384));
    let (_, _, metrics) = server.raw("GET", "/metrics", &[], Vec::new());
    for line in ["membox_model_loaded{model=\"small\"} 0", "membox_model_loaded{model=\"prompted\"} 1"] {
        assert!(metrics.contains(line), "{metrics}");
    }
    // text-embeddings-inference's route takes any name, and knows those that there are.
    let tei = |model: &str| post(&server, "/embeddings", &json!({"model": model, "input": "a text"}))["model"].clone();
    assert_eq!((tei("small"), tei("any")), (json!("small"), json!(OWN)));
    let (status, problem) = server.call("POST", "/v1/embeddings", &json!({"model": "none", "input": "x"}));
    let said = problem["error"]["message"].as_str().unwrap_or_default();
    assert!(status == 404 && said.contains("\"small\", \"prompted\""), "{problem}");
}

#[test]
fn a_collection_keeps_the_model_that_it_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_models(folder.path(), SETTINGS);
    let server = Server::start(&data, &[]);
    for (name, model, dimension) in [("own", OWN, 384), ("short", "small", 128), ("asked", "prompted", 384)] {
        let (status, made) = server.call("PUT", &format!("/v1/collections/{name}"), &json!({ "model": model }));
        let settings = &made["settings"];
        assert_eq!((status, &settings["model"], &settings["dimension"]), (201, &json!(model), &json!(dimension)));
        let records = json!([{"id": "key", "text": "The spare key is under the blue pot."},
            {"id": "tap", "text": "The tap drips."}]);
        post(&server, &format!("/v1/collections/{name}/records"), &json!({ "records": records }));
    }
    let asked = |server: &Server, name: &str| {
        let body = json!({"query": "Where is the key?", "mode": "vector", "include": ["scores"]});
        let answer = post(server, &format!("/v1/collections/{name}/recall"), &body);
        assert_eq!(answer["hits"][0]["id"], "key", "{answer}");
        answer["hits"][0]["score"].as_f64().expect("a score")
    };
    let scores = ["own", "short", "asked"].map(|name| asked(&server, name));
    assert!(scores[0] != scores[1] && scores[0] != scores[2], "each by its own model and prompts: {scores:?}");
    assert_eq!(server.job("/v1/collections/asked/reembed", &json!({})), Value::Null);
    assert_eq!(asked(&server, "asked"), scores[2], "embedded anew by its own model");
    let wrong = |body: Value| server.call("PUT", "/v1/collections/wrong", &body);
    let (status, problem) = wrong(json!({"model": "none"}));
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/model")), "{problem}");
    let (status, problem) = wrong(json!({"model": "small", "dimension": 384}));
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/dimension")), "{problem}");
    server.stop();
    // A box without the model says so, and finds by words.
    fs::write(folder.path().join("membox.toml"), "").expect("a file");
    let server = Server::start(&data, &[]);
    let (status, problem) =
        server.call("POST", "/v1/collections/short/records", &json!({"records": [{"text": "a text"}]}));
    assert!(status == 422 && problem.to_string().contains("small"), "{problem}");
    let body = json!({"query": "Where is the key?", "mode": "text"});
    assert_eq!(post(&server, "/v1/collections/short/recall", &body)["hits"][0]["id"], "key");
    server.stop();
}

#[test]
fn a_collection_moves_to_another_model_while_it_is_read_and_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_models(folder.path(), SETTINGS);
    let server = Server::start(&data, &[]);
    assert_eq!(server.call("PUT", "/v1/collections/c", &json!({})).0, 201);
    let write = |server: &Server, ids: std::ops::Range<usize>| {
        let record =
            |i: usize| json!({"id": format!("r{i}"), "text": format!("Note {i} is about the colour of day {i}.")});
        let body = json!({"records": ids.map(record).collect::<Vec<_>>()});
        // Between the embedding of a write and its turn the collection may have moved.
        while server.call("POST", "/v1/collections/c/records", &body).0 == 503 {}
    };
    let key = json!({"records": [{"id": "key", "text": "The spare key is under the blue pot."},
        {"id": "long", "text": "The tap drips again and again. ".repeat(100)}]});
    post(&server, "/v1/collections/c/records", &key);
    write(&server, 0..600);
    let said = json!({"collection": "c", "messages": [{"role": "user", "content": "I drink tea."}]});
    post(&server, "/v1/sessions/s/messages", &said);
    let ask = |server: &Server, mode: &str, query: &str| {
        let answer = post(server, "/v1/collections/c/recall", &json!({"query": query, "mode": mode, "k": 3}));
        answer["hits"][0]["id"].clone()
    };
    let model = |server: &Server| {
        let (_, view) = server.call("GET", "/v1/collections/c", &Value::Null);
        (view["settings"]["model"].clone(), view["settings"]["dimension"].clone(), view["records"].clone())
    };
    let (status, job) = server.call("POST", "/v1/collections/c/reembed?model=small", &Value::Null);
    assert_eq!(status, 202, "{job}");
    let id = job["id"].as_str().expect("an id");
    // It answers, and takes writes, all the while.
    let mut written = 600;
    loop {
        assert_eq!(ask(&server, "vector", "Where is the spare key?"), "key");
        write(&server, written..written + 4);
        written += 4;
        let (_, now) = server.call("GET", &format!("/v1/jobs/{id}"), &Value::Null);
        match now["state"].as_str() {
            Some("done") => break,
            Some("queued" | "running") => {}
            _ => panic!("{now}"),
        }
    }
    let records = json!(written + 3);
    assert_eq!(model(&server), (json!("small"), json!(128), records.clone()));
    for (mode, query, found) in [
        ("vector", "Where is the spare key?", "key"),
        ("hybrid", "Which tap drips?", "long"),
        ("text", "Note 7 of day 7", "r7"),
    ] {
        assert_eq!(ask(&server, mode, query), found, "{mode}");
    }
    write(&server, 5..6);
    assert_eq!(server.call("DELETE", "/v1/collections/c/records/r9", &Value::Null).0, 204);
    let (_, messages) = server.call("GET", "/v1/sessions/s/messages", &Value::Null);
    assert_eq!(messages["messages"][0]["content"], "I drink tea.", "{messages}");
    server.stop();
    let verified = membox(&data).arg("verify").output().expect("the binary");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    let server = Server::start(&data, &[]);
    assert_eq!(model(&server).0, "small");
    assert_eq!(ask(&server, "vector", "Where is the spare key?"), "key");
    // And back. A model that is not there, and a record whose vector was given, are refused.
    server.job("/v1/collections/c/reembed?model=all-MiniLM-L6-v2", &Value::Null);
    assert_eq!((model(&server).1, ask(&server, "hybrid", "Where is the spare key?")), (json!(384), json!("key")));
    let (status, problem) = server.call("POST", "/v1/collections/c/reembed?model=none", &Value::Null);
    assert!(status == 422 && problem.to_string().contains("small"), "{problem}");
    server.stop();
}

#[test]
fn who_writes_texts_that_the_model_does_not_know_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_models(folder.path(), ""), &[]);
    let foreign = "我们沿着海岸徒步，直到下起雨来。";
    assert_eq!(server.call("PUT", "/v1/collections/c", &json!({})).0, 201);
    let records = json!([{"text": "We hiked until it rained."}, {"text": foreign}]);
    let answer = post(&server, "/v1/collections/c/records", &json!({ "records": records }));
    assert_eq!(answer["records"][0].get("unknown_percent"), None, "{answer}");
    assert!(answer["records"][1]["unknown_percent"].as_u64() > Some(50), "{answer}");
    let said = json!({"messages": [{"role": "user", "content": foreign}, {"role": "user", "content": "It rained."}]});
    let answer = post(&server, "/v1/sessions/s/messages", &said);
    assert!(answer["messages"][0]["unknown_percent"].as_u64() > Some(50), "{answer}");
    assert_eq!(answer["messages"][1].get("unknown_percent"), None, "{answer}");
    let (_, _, metrics) = server.raw("GET", "/metrics", &[], Vec::new());
    assert!(metrics.contains("membox_unknown_texts_total 2"), "{metrics}");
}
