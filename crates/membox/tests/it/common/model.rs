//! What was written to a box and what was acknowledged of it, from several writers at once, to be held against what
//! is there.

use super::Server;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

const WRITERS: u64 = 4;

/// Rounds of a test: few in CI, as many as `make torture` says in its long form.
pub fn rounds(few: u64) -> u64 {
    std::env::var("MEMBOX_TORTURE_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(few)
}

/// What was acknowledged of each id, and what was asked without an answer since: any of these may be there.
#[derive(Default)]
pub struct Model {
    refusals_may_stay: bool,
    acknowledged: HashMap<String, Option<String>>,
    unanswered: HashMap<String, Vec<Option<String>>>,
}

impl Model {
    /// What was refused may be there all the same: after a failed fsync nobody knows what reached the disk.
    pub fn where_refusals_may_stay() -> Self {
        Self { refusals_may_stay: true, ..Self::default() }
    }
}

pub fn vector(seed: u64) -> Vec<f32> {
    (0..8).map(|d| ((seed * 31 + d * 17) % 101) as f32 / 50.0 - 1.0).collect()
}

/// Writes and deletes until the server is gone, it refuses everything, or `steps` are done. Gives the statuses that
/// it saw.
pub fn write(
    server: &Server,
    writer: u64,
    round: u64,
    steps: u64,
    model: &Mutex<Model>,
    stop: &AtomicBool,
) -> Vec<u16> {
    let mut statuses = Vec::new();
    for step in 0..steps {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let seed = round * 100_000 + writer * 10_000 + step;
        let ids: Vec<String> = (0..1 + seed % 5).map(|i| format!("w{writer}-{}", (seed + i) % 40)).collect();
        let delete = step % 7 == 6;
        let text = |id: &str| format!("{id} as of {seed}");
        let wanted = |id: &String| (!delete).then(|| text(id));
        for id in &ids {
            model.lock().expect("the model").unanswered.entry(id.clone()).or_default().push(wanted(id));
        }
        let (status, _) = if delete {
            server.call("POST", "/v1/collections/c/records:delete", &json!({ "ids": ids }))
        } else {
            let record =
                |id: &String| json!({"id": id, "text": text(id), "vector": vector(seed), "metadata": {"seed": seed}});
            server.call(
                "POST",
                "/v1/collections/c/records",
                &json!({ "records": ids.iter().map(record).collect::<Vec<_>>() }),
            )
        };
        statuses.push(status);
        if status == 0 {
            break;
        }
        let mut model = model.lock().expect("the model");
        for id in &ids {
            // A refusal promises that nothing was kept, and so ends what was open as an acknowledgement does.
            if status == 200 || !model.refusals_may_stay {
                model.unanswered.remove(id);
            }
            if status == 200 {
                model.acknowledged.insert(id.clone(), wanted(id));
            }
        }
    }
    statuses
}

/// As [`write`], from several threads; `meanwhile` runs beside them, and when it returns they are told to stop if it
/// says so.
pub fn write_from_all(
    server: &Server,
    round: u64,
    steps: u64,
    model: &Mutex<Model>,
    meanwhile: impl FnOnce() -> bool,
) -> Vec<u16> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = |writer| {
            scope.spawn({
                let stop = &stop;
                move || write(server, writer, round, steps, model, stop)
            })
        };
        let writers: Vec<_> = (0..WRITERS).map(writer).collect();
        stop.store(meanwhile(), Ordering::Relaxed);
        writers.into_iter().flat_map(|w| w.join().expect("a writer")).collect()
    })
}

/// Holds everything in a box against the model, which then goes on from what is there. Gives how many ids were checked.
pub fn check(server: &Server, model: &Mutex<Model>, round: u64) -> usize {
    let mut model = model.lock().expect("the model");
    let mut there: HashMap<String, String> = HashMap::new();
    let (status, page) = server.call("GET", "/v1/collections/c/records?limit=1000", &Value::Null);
    assert_eq!(status, 200, "round {round}: {page}");
    for record in page["records"].as_array().expect("records") {
        there.insert(record["id"].as_str().expect("an id").into(), record["text"].as_str().expect("a text").into());
        let seed = record["metadata"]["seed"].to_string();
        assert!(record["text"].as_str().expect("a text").ends_with(&seed), "text and metadata are of one version");
    }
    let ids: Vec<String> = model.acknowledged.keys().chain(model.unanswered.keys()).cloned().collect();
    let mut wrong = Vec::new();
    for id in &ids {
        let found = there.get(id).cloned();
        let acknowledged = model.acknowledged.get(id).cloned().unwrap_or_default();
        let unanswered = model.unanswered.get(id).cloned().unwrap_or_default();
        if acknowledged != found && !unanswered.contains(&found) {
            let alone = server.call("GET", &format!("/v1/collections/c/records/{id}"), &Value::Null).0;
            wrong.push(format!(
                "{id} is {found:?}, alone {alone}; acknowledged {acknowledged:?}, unanswered {unanswered:?}"
            ));
        }
        model.acknowledged.insert(id.clone(), found);
    }
    assert!(wrong.is_empty(), "round {round}: {} of {}: {wrong:#?}", wrong.len(), ids.len());
    model.unanswered.clear();
    assert!(there.keys().all(|id| ids.contains(id)), "round {round}: a record that nobody wrote");
    for (id, text) in there.iter().take(4) {
        let seed: u64 = text.rsplit(' ').next().and_then(|s| s.parse().ok()).expect("the seed");
        for body in [
            json!({"vector": vector(seed), "mode": "vector", "k": 100}),
            json!({"query": text, "mode": "text", "k": 100}),
        ] {
            let (_, answer) = server.call("POST", "/v1/collections/c/recall", &body);
            let hit = answer["hits"].as_array().expect("hits").iter().find(|h| h["id"] == json!(id)).cloned();
            assert_eq!(hit.map(|h| h["text"].clone()), Some(json!(text)), "round {round}: {id} is recalled");
        }
    }
    ids.len()
}
