//! kill -9 at any moment of concurrent writes loses nothing that was acknowledged, and leaves a folder that `verify` finds clean.

mod common;

use common::{Server, membox};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const WRITERS: u64 = 4;

fn vector(seed: u64) -> Vec<f32> {
    (0..8).map(|d| ((seed * 31 + d * 17) % 101) as f32 / 50.0 - 1.0).collect()
}

/// What was acknowledged of each id: its last version and text, or that it was deleted; and what was asked last without an answer.
#[derive(Default)]
struct Model {
    acknowledged: HashMap<String, Option<String>>,
    unanswered: HashMap<String, Option<String>>,
}

impl Model {
    /// Whether a record (or its absence) is a state that may be there.
    fn allows(&self, id: &str, found: &Option<String>) -> bool {
        self.acknowledged.get(id).unwrap_or(&None) == found || self.unanswered.get(id).is_some_and(|u| u == found)
    }
}

fn write_until_killed(server: &Server, writer: u64, round: u64, model: &Mutex<Model>, stop: &AtomicBool) {
    for step in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let seed = round * 10_000 + writer * 1000 + step;
        let ids: Vec<String> = (0..1 + seed % 5).map(|i| format!("w{writer}-{}", (seed + i) % 60)).collect();
        let delete = step % 7 == 6;
        let text = |id: &str| format!("{id} as of {seed}");
        let wanted: HashMap<String, Option<String>> =
            ids.iter().map(|id| (id.clone(), (!delete).then(|| text(id)))).collect();
        model.lock().expect("the model").unanswered.extend(wanted.clone());
        let (status, _) = if delete {
            server.call("POST", "/v1/collections/c/records:delete", &json!({ "ids": ids }))
        } else {
            let records: Vec<Value> =
                ids.iter().map(|id| json!({"id": id, "text": text(id), "vector": vector(seed)})).collect();
            server.call("POST", "/v1/collections/c/records", &json!({ "records": records }))
        };
        if status != 200 {
            return;
        }
        let mut model = model.lock().expect("the model");
        ids.iter().for_each(|id| drop(model.unanswered.remove(id)));
        model.acknowledged.extend(wanted);
    }
}

#[test]
fn nothing_acknowledged_is_lost_under_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    std::fs::create_dir_all(&data).expect("a folder");
    let model = Mutex::new(Model::default());
    let mut checked = 0;
    let rounds = std::env::var("MEMBOX_TORTURE_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(50);
    for round in 0..rounds {
        let server = Server::start(&data, &[]);
        if round == 0 {
            assert_eq!(server.call("PUT", "/v1/collections/c", &json!({"dimension": 8})).0, 201);
        }
        checked += check(&server, &model, round);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (server, model, stop) = (&server, &model, &stop);
                scope.spawn(move || write_until_killed(server, writer, round, model, stop));
            }
            std::thread::sleep(Duration::from_millis(20 + round * 37 % 180));
            let pid = rustix::process::Pid::from_child(&server.child);
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("a kill");
            stop.store(true, Ordering::Relaxed);
        });
        server.kill_9();
        if round % 10 == 9 {
            let verify = membox(&data).arg("verify").output().expect("the binary");
            assert!(verify.status.success(), "round {round}: {}", String::from_utf8_lossy(&verify.stdout));
        }
    }
    assert!(checked > 1000, "only {checked} states were checked: the writers did not write");
}

/// Holds every id against the model, by look-up and by recall, and takes what is there as acknowledged from now on.
fn check(server: &Server, model: &Mutex<Model>, round: u64) -> usize {
    let mut model = model.lock().expect("the model");
    let mut there: HashMap<String, String> = HashMap::new();
    let mut cursor = String::new();
    loop {
        let (status, page) = server.call("GET", &format!("/v1/collections/c/records?limit=1000{cursor}"), &Value::Null);
        assert_eq!(status, 200, "{page}");
        for record in page["records"].as_array().expect("records") {
            there.insert(record["id"].as_str().expect("an id").into(), record["text"].as_str().expect("a text").into());
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let ids: Vec<String> = model.acknowledged.keys().chain(model.unanswered.keys()).cloned().collect();
    for id in &ids {
        let found = there.get(id).cloned();
        assert!(
            model.allows(id, &found),
            "round {round}: {id} is {found:?}; acknowledged {:?}, unanswered {:?}",
            model.acknowledged.get(id),
            model.unanswered.get(id)
        );
        model.acknowledged.insert(id.clone(), found);
    }
    model.unanswered.clear();
    assert!(there.keys().all(|id| ids.contains(id)), "a record that nobody wrote");
    // The first recall is right: text and vector of a record are of the same version.
    for (id, text) in there.iter().take(5) {
        let seed: u64 = text.rsplit(' ').next().and_then(|s| s.parse().ok()).expect("the seed");
        let (_, answer) = server.call(
            "POST",
            "/v1/collections/c/recall",
            &json!({"vector": vector(seed), "mode": "vector", "k": 50}),
        );
        let hit = answer["hits"].as_array().expect("hits").iter().find(|h| h["id"] == json!(id)).cloned();
        assert_eq!(hit.map(|h| h["text"].clone()), Some(json!(text)), "round {round}: {id} by its vector");
        let (_, answer) =
            server.call("POST", "/v1/collections/c/recall", &json!({"query": text, "mode": "text", "k": 50}));
        assert!(
            answer["hits"].as_array().expect("hits").iter().any(|h| h["id"] == json!(id)),
            "round {round}: {id} by its text"
        );
    }
    ids.len()
}
