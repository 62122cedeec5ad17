//! Vectors of tokens: written with records, kept by changes, and made later by a job.

use crate::common::{Server, data_with_model, membox, post};
use serde_json::{Value, json};
use std::path::Path;

const COLLECTION: &str = "/v1/collections/c";
const JOB: &str = "/v1/collections/c/token-vectors";

fn set(server: &Server, late_interaction: Value) {
    let (status, answer) = server.call("PUT", COLLECTION, &json!({"late_interaction": late_interaction}));
    assert!(status == 200 || status == 201, "{answer}");
}

/// Records that have vectors of their tokens, and those that have none.
fn counts(server: &Server) -> (u64, u64) {
    let (_, view) = server.call("GET", COLLECTION, &Value::Null);
    let count = |name: &str| view["token_vectors"][name].as_u64().unwrap_or_else(|| panic!("{view}"));
    (count("records"), count("missing"))
}

fn records(from: usize, count: usize) -> Value {
    let record = |i| json!({"id": format!("r{i}"), "text": format!("the garden needs water on day {i} of the summer")});
    json!({ "records": (from..from + count).map(record).collect::<Vec<_>>() })
}

#[test]
fn they_are_written_with_records_and_kept_until_a_text_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    set(&server, json!({"dimension": 32}));
    post(&server, &format!("{COLLECTION}/records"), &records(0, 3));
    let given = json!({"records": [{"id": "given", "text": "a text with its vector", "vector": vec![0.1; 384]}]});
    post(&server, &format!("{COLLECTION}/records"), &given);
    assert_eq!(counts(&server), (3, 1), "nothing is encoded of a record that brings its vector");
    let long = json!({"records": [{"id": "long", "text": "Then we went on, and it rained again. ".repeat(200)}]});
    let bytes = || server.call("GET", COLLECTION, &Value::Null).1["token_vectors"]["bytes"].as_u64().expect("bytes");
    let before = bytes();
    post(&server, &format!("{COLLECTION}/records"), &long);
    assert!(bytes() > before + 1900 * 16, "all 2000 tokens of a long text have vectors: {} bytes", bytes() - before);
    let compressed = json!({"records": [{"id": "less", "text": "we talked about the old train to the coast"}],
        "compress": {"rate": 0.5}});
    post(&server, &format!("{COLLECTION}/records"), &compressed);
    assert_eq!(counts(&server), (5, 1));
    for patch in [json!({"metadata": {"seen": true}}), json!({"text": "another text"})] {
        let (status, answer) = server.call("PATCH", &format!("{COLLECTION}/records/r1"), &patch);
        assert_eq!((status, counts(&server)), (200, (5, 1)), "{answer}");
    }
    server.job("/v1/collections/c/reembed", &json!({}));
    assert_eq!(counts(&server), (5, 1), "embedding anew gives them anew");
    server.call("DELETE", &format!("{COLLECTION}/records/r1"), &Value::Null);
    assert_eq!(counts(&server), (4, 1));
    let said = json!({"messages": [{"role": "user", "content": "the spare key is under the pot"}]});
    post(&server, "/v1/sessions/s/messages", &said);
    let (_, all) = server.call("GET", "/v1/collections", &Value::Null);
    let own = all["collections"].as_array().expect("collections").iter().find(|view| view["name"] != "c");
    assert_eq!(own.expect("the messages'")["token_vectors"]["records"], json!(1), "{all}");
}

#[test]
fn a_job_makes_those_that_records_lack_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    set(&server, json!("off"));
    post(&server, &format!("{COLLECTION}/records"), &records(0, 600));
    let given = json!({"records": [{"id": "given", "text": "a text with its vector", "vector": vec![0.1; 384]}]});
    post(&server, &format!("{COLLECTION}/records"), &given);
    let (status, answer) = server.call("POST", JOB, &json!({}));
    assert!(status == 422 && answer["detail"].as_str().is_some_and(|d| d.contains("late_interaction")), "{answer}");
    assert_eq!(server.call("POST", "/v1/collections/none/token-vectors", &json!({})).0, 404);
    let read = || server.call("GET", &format!("{COLLECTION}/records?limit=1000"), &Value::Null).1;
    let before = read();
    set(&server, json!({"dimension": 48}));
    assert_eq!(counts(&server), (0, 601));
    // What is promised is done by the next start, whatever the last one had done of it.
    let (status, job) = server.call("POST", JOB, &json!({}));
    assert_eq!((status, &job["kind"]), (202, &json!("token-vectors")), "{job}");
    server.kill_9();
    let server = Server::start(&data, &[]);
    let ended = server.ended(job["id"].as_str().expect("an id"));
    assert_eq!(
        (&ended["state"], &ended["done"], &ended["total"]),
        (&json!("done"), &json!(601), &json!(601)),
        "{ended}"
    );
    assert_eq!(counts(&server), (601, 0));
    let read = || server.call("GET", &format!("{COLLECTION}/records?limit=1000"), &Value::Null).1;
    assert_eq!(read(), before, "the records are as they were, in the same versions");
    assert_eq!(server.job(JOB, &json!({})), json!({"records": 0}), "there is nothing left to do");
    set(&server, json!({"dimension": 64}));
    assert_eq!(counts(&server), (0, 601), "vectors of another size are others");
    assert_eq!(server.job(JOB, &json!({})), json!({"records": 601}));
    server.stop();
    let verify = membox(&data).arg("verify").output().expect("the binary");
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stdout));
}

#[test]
fn a_job_that_is_cancelled_keeps_what_it_has_done() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    set(&server, json!("off"));
    for from in [0, 1500] {
        post(&server, &format!("{COLLECTION}/records"), &records(from, 1500));
    }
    set(&server, json!({}));
    let (_, job) = server.call("POST", JOB, &json!({}));
    let id = job["id"].as_str().expect("an id");
    while server.call("GET", &format!("/v1/jobs/{id}"), &Value::Null).1["done"] == json!(0) {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    server.call("DELETE", &format!("/v1/jobs/{id}"), &Value::Null);
    let ended = server.ended(id);
    let (with, without) = counts(&server);
    assert_eq!((&ended["state"], ended["done"].as_u64()), (&json!("cancelled"), Some(with)), "{ended}");
    assert!((256..3000).contains(&with) && with + without == 3000, "{with} of 3000");
    assert_eq!(server.job(JOB, &json!({})), json!({ "records": without }), "the next one does the rest");
}

#[test]
fn axes_are_made_of_texts_and_used_where_they_lie() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let axes = |texts: &[&str], out: &Path| {
        let mut command = membox(&data);
        command.args(["models", "axes", "--out"]).arg(out).args(texts.iter().map(|name| docs.join(name)));
        let made = command.output().expect("the binary");
        let said = String::from_utf8_lossy(&made.stdout) + String::from_utf8_lossy(&made.stderr);
        (made.status.success(), said.into_owned())
    };
    let few = folder.path().join("few.safetensors");
    let (is_done, said) = axes(&["filters.md"], &few);
    assert!(!is_done && said.contains("are too few to learn from") && !few.exists(), "{said}");
    let texts = ["security.md", "privacy.md", "sessions.md", "memory.md", "lightmem.md"];
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    for out in [&first, &second] {
        let (is_done, said) = axes(&texts, out);
        assert!(is_done && said.contains(": 64 axes from "), "{said}");
    }
    let bytes = std::fs::read(&first).expect("axes");
    assert_eq!(bytes, std::fs::read(&second).expect("axes"), "the same texts make the same file");

    let server = Server::start(&data, &[]);
    set(&server, json!({}));
    post(&server, &format!("{COLLECTION}/records"), &records(0, 2));
    assert_eq!(counts(&server), (2, 0));
    server.stop();
    // The folder of the tests' model may be shared: a copy of it has axes of its own.
    let own = folder.path().join("own");
    std::fs::create_dir_all(own.join("all-MiniLM-L6-v2")).expect("a folder");
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        let name = Path::new("all-MiniLM-L6-v2").join(file);
        std::fs::copy(data.join("models").join(&name), own.join(&name)).expect("a copy");
    }
    std::fs::write(own.join("all-MiniLM-L6-v2/token_axes.safetensors"), bytes).expect("axes");
    std::fs::remove_file(data.join("models"))
        .or_else(|_| std::fs::remove_dir_all(data.join("models")))
        .expect("models");
    std::fs::rename(&own, data.join("models")).expect("models");
    let server = Server::start(&data, &[]);
    assert_eq!(server.job(JOB, &json!({})), json!({"records": 2}), "vectors by other axes are made anew");
    assert_eq!(counts(&server), (2, 0));
}
