//! kill -9 while a collection moves to another model: it answers by the one or the other, whole, and the move can be
//! done again.

use crate::common::model::rounds;
use crate::common::{KeptOnFailure, Server, membox, post};
use crate::several_models::{OWN, SETTINGS, data_with_models};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

const COLLECTION: &str = "/v1/collections/c";
/// Records that are there before the first move.
const RECORDS: usize = 400;

fn record(id: &str) -> Value {
    json!({"id": id, "text": format!("Note {id} is about the colour of a day.")})
}

/// The model that the collection has, and the dimension of it.
fn model(server: &Server) -> (String, u64) {
    let (status, view) = server.call("GET", COLLECTION, &Value::Null);
    assert_eq!(status, 200, "{view}");
    let name = view["settings"]["model"].as_str().expect("a model").to_owned();
    (name, view["settings"]["dimension"].as_u64().expect("a dimension"))
}

/// The move that goes on, if there is one.
fn moving(server: &Server) -> Option<Value> {
    let (_, list) = server.call("GET", "/v1/jobs", &Value::Null);
    let is_on = |job: &&Value| matches!(job["state"].as_str(), Some("queued" | "running"));
    list["jobs"].as_array().expect("jobs").iter().find(is_on).cloned()
}

/// Waits for the moment of a round: at once, in the middle of the move, or when the collection has just switched.
fn wait_for_moment(server: &Server, before: &str, round: u64) {
    while let Some(job) = moving(server) {
        let (done, total) = (job["done"].as_u64().unwrap_or(0), job["total"].as_u64().unwrap_or(0));
        let is_there = match round % 3 {
            0 => true,
            1 => done * 2 > total && total > 0,
            _ => model(server).0 != before,
        };
        if is_there {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(round * 37 % 60));
}

/// Every record that was acknowledged is there, found, and has a vector of the collection's model.
fn check(server: &Server, written: &HashSet<String>, round: u64) {
    let (name, dimension) = model(server);
    assert_eq!(dimension, if name == OWN { 384 } else { 128 }, "round {round}: {name}");
    for mode in ["vector", "hybrid", "text"] {
        let body = json!({"query": "Where is the spare key?", "mode": mode, "k": 1});
        let answer = post(server, &format!("{COLLECTION}/recall"), &body);
        assert_eq!(answer["hits"][0]["id"], "key", "round {round}, {mode}: {answer}");
    }
    let mut found = HashSet::new();
    loop {
        let body = json!({"with": ["vector"], "limit": 1000, "offset": found.len()});
        let page = post(server, &format!("{COLLECTION}/records:scroll"), &body);
        for record in page["records"].as_array().expect("records") {
            // A move may end between two pages.
            let numbers = record["vector"].as_array().map_or(0, Vec::len);
            assert!(numbers == 384 || numbers == 128, "round {round}: {record}");
            assert!(found.insert(record["id"].as_str().expect("an id").to_owned()), "round {round}: twice");
        }
        if page["next_offset"].is_null() {
            break;
        }
    }
    let lost: Vec<&String> = written.difference(&found).collect();
    assert!(lost.is_empty(), "round {round}: {lost:?} were answered");
}

/// Writes record after record until the box is gone; gives those that were acknowledged.
fn write_until_killed(server: &Server, round: u64) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for n in 0.. {
        let id = format!("r{round}-{n}");
        match server.call("POST", &format!("{COLLECTION}/records"), &json!({"records": [record(&id)]})).0 {
            200 => acknowledged.push(id),
            // Its vector is of the model that was.
            503 => {}
            _ => break,
        }
    }
    acknowledged
}

fn verify(data: &Path, round: u64) {
    let verified = membox(data).arg("verify").output().expect("the binary");
    assert!(verified.status.success(), "round {round}: {}", String::from_utf8_lossy(&verified.stdout));
}

#[test]
fn a_collection_is_of_one_model_or_the_other_when_its_move_is_killed() {
    let folder = KeptOnFailure::new();
    let data = data_with_models(folder.path(), SETTINGS);
    let mut written: HashSet<String> = HashSet::new();
    let (mut begun, mut moved, mut gone_on) = (0, 0, 0);
    let mut before = String::new();
    for round in 0..rounds(9) {
        let server = Server::start(&data, &[]);
        if round == 0 {
            assert_eq!(server.call("PUT", COLLECTION, &json!({})).0, 201);
            let mut records: Vec<Value> = (0..RECORDS).map(|n| record(&format!("first-{n}"))).collect();
            records.push(json!({"id": "key", "text": "The spare key is under the blue pot."}));
            written.extend(records.iter().map(|one| one["id"].as_str().expect("an id").to_owned()));
            post(&server, &format!("{COLLECTION}/records"), &json!({ "records": records }));
        }
        check(&server, &written, round);
        let (now, _) = model(&server);
        moved += u64::from(round > 0 && now != before);
        let target = if now == OWN { "small" } else { OWN };
        // A move that was under way goes on after the start.
        if moving(&server).is_some() {
            gone_on += 1;
        } else {
            let (status, job) = server.call("POST", &format!("{COLLECTION}/reembed?model={target}"), &Value::Null);
            // One that went on may have ended, or begun, between the two questions.
            assert!(status == 202 || status == 409, "round {round}: {job}");
            begun += u64::from(status == 202);
        }
        before = now;
        let acknowledged = std::thread::scope(|scope| {
            let writing = scope.spawn(|| write_until_killed(&server, round));
            wait_for_moment(&server, &before, round);
            let pid = rustix::process::Pid::from_child(&server.child);
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("a kill");
            writing.join().expect("a thread")
        });
        written.extend(acknowledged);
        server.kill_9();
        if round % 4 == 3 {
            verify(&data, round);
        }
    }
    // And it can be done again, there and back.
    let server = Server::start(&data, &[]);
    while let Some(job) = moving(&server) {
        server.ended(job["id"].as_str().expect("an id"));
    }
    check(&server, &written, u64::MAX);
    let (now, _) = model(&server);
    let other = if now == OWN { "small" } else { OWN };
    for target in [other, &now] {
        server.job(&format!("{COLLECTION}/reembed?model={target}"), &Value::Null);
        assert_eq!(model(&server).0, *target);
        check(&server, &written, u64::MAX);
    }
    server.stop();
    verify(&data, u64::MAX);
    println!("{begun} moves begun, {gone_on} went on after a kill, {moved} had ended; {} records", written.len());
    assert!(begun > 0 && moved > 0 && written.len() > RECORDS + 1, "{begun} {moved} {}", written.len());
}
