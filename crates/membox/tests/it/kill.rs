//! kill -9 at any moment of concurrent writes, compactions, index swaps and backups loses nothing that was
//! acknowledged, and leaves a folder that `verify` finds clean.

use crate::common::model::{Model, check, rounds, write_from_all};
use crate::common::{KeptOnFailure, Server, data_with_model, membox};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[test]
fn nothing_acknowledged_is_lost_under_kill_9() {
    let folder = KeptOnFailure::new();
    let data = folder.path().join("data");
    std::fs::create_dir_all(&data).expect("a folder");
    let model = Mutex::new(Model::default());
    let mut checked = 0;
    for round in 0..rounds(50) {
        let server = Server::start(&data, &[]);
        if round == 0 {
            assert_eq!(server.call("PUT", "/v1/collections/c", &json!({"dimension": 8})).0, 201);
        }
        checked += check(&server, &model, round);
        write_from_all(&server, round, u64::MAX, &model, || {
            std::thread::sleep(Duration::from_millis(20 + round * 37 % 180));
            let pid = rustix::process::Pid::from_child(&server.child);
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("a kill");
            true
        });
        server.kill_9();
        if round % 10 == 9 {
            let verify = membox(&data).arg("verify").output().expect("the binary");
            assert!(verify.status.success(), "round {round}: {}", String::from_utf8_lossy(&verify.stdout));
        }
    }
    assert!(checked > 1000, "only {checked} states were checked: the writers did not write");
}

/// Makes backups of a running box until told to stop, and gives those that were made.
fn back_up(data: &Path, folder: &Path, stop: &AtomicBool) -> Vec<PathBuf> {
    let mut made = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let target = folder.join(format!("backup-{}", made.len()));
        let backup = membox(data).arg("backup").arg(&target).output().expect("the binary");
        assert!(backup.status.success(), "{}", String::from_utf8_lossy(&backup.stderr));
        made.push(target);
    }
    made
}

/// Restores a backup and holds it against its own checksums and its records against each other.
fn restore_and_verify(backup: &Path, folder: &Path) {
    let data = folder.join("restored");
    std::fs::create_dir_all(&data).expect("a folder");
    let restore = membox(&data).arg("restore").arg(backup).output().expect("the binary");
    assert!(restore.status.success(), "{}", String::from_utf8_lossy(&restore.stderr));
    let verify = membox(&data).arg("verify").output().expect("the binary");
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stdout));
    let server = Server::start(&data, &[]);
    let (_, page) = server.call("GET", "/v1/collections/c/records?limit=1000", &Value::Null);
    for record in page["records"].as_array().expect("records") {
        let seed = record["metadata"]["seed"].to_string();
        assert!(record["text"].as_str().expect("a text").ends_with(&seed), "text and metadata are of one version");
    }
    server.stop();
}

#[test]
fn nothing_acknowledged_is_lost_when_compactions_index_swaps_and_backups_are_killed() {
    let folder = KeptOnFailure::new();
    let data = folder.path().join("data");
    std::fs::create_dir_all(&data).expect("a folder");
    let model = Mutex::new(Model::default());
    let (mut checked, mut rebuilt, mut backed_up) = (0, 0, 0);
    for round in 0..rounds(30) {
        let server = Server::start(&data, &[]);
        if round == 0 {
            let settings = json!({"dimension": 8, "index": {"kind": "hnsw"}});
            assert_eq!(server.call("PUT", "/v1/collections/c", &settings).0, 201);
        }
        checked += check(&server, &model, round);
        let backups = folder.path().join(format!("backups-{round}"));
        std::fs::create_dir_all(&backups).expect("a folder");
        let stop = AtomicBool::new(false);
        let made = std::thread::scope(|scope| {
            let backing_up = scope.spawn(|| back_up(&data, &backups, &stop));
            let rebuilding = scope.spawn(|| {
                let mut begun = 0;
                while !stop.load(Ordering::Relaxed) {
                    // 409 while the one before runs.
                    begun += u64::from(server.call("POST", "/v1/collections/c/rebuild", &json!({})).0 == 202);
                }
                begun
            });
            write_from_all(&server, round, u64::MAX, &model, || {
                std::thread::sleep(Duration::from_millis(60 + round * 37 % 240));
                let pid = rustix::process::Pid::from_child(&server.child);
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("a kill");
                stop.store(true, Ordering::Relaxed);
                true
            });
            rebuilt += rebuilding.join().expect("a thread");
            backing_up.join().expect("a thread")
        });
        server.kill_9();
        if let Some(last) = made.last().filter(|_| round % 3 == 2) {
            restore_and_verify(last, &backups);
            backed_up += 1;
        }
        std::fs::remove_dir_all(&backups).expect("a removal");
        if round % 5 == 4 {
            let verify = membox(&data).arg("verify").output().expect("the binary");
            assert!(verify.status.success(), "round {round}: {}", String::from_utf8_lossy(&verify.stdout));
        }
    }
    println!("{checked} states checked, {rebuilt} compactions begun, {backed_up} backups restored");
    assert!(checked > 100 && rebuilt > 2 && backed_up > 2, "{checked} {rebuilt} {backed_up}");
}

/// Messages of one append.
const TOGETHER: usize = 3;

/// All messages of a session by their place.
fn listed(server: &Server, session: &str) -> Vec<(i64, String)> {
    let (mut all, mut after) = (Vec::new(), -1);
    loop {
        let (status, page) =
            server.call("GET", &format!("/v1/sessions/{session}/messages?limit=1000&cursor={after}"), &Value::Null);
        if status == 404 {
            return all;
        }
        let messages = page["messages"].as_array().expect("messages");
        all.extend(
            messages.iter().map(|m| (m["seq"].as_i64().expect("a place"), m["id"].as_str().expect("an id").to_owned())),
        );
        match page["next"].as_i64() {
            Some(next) => after = next,
            None => return all,
        }
    }
}

#[test]
fn sessions_are_whole_and_in_order_whenever_they_are_killed() {
    let folder = KeptOnFailure::new();
    let data = data_with_model(folder.path());
    // By session, the appends that were answered, each by the id of its first message; and those that were sent.
    let answered: Mutex<HashMap<String, HashSet<String>>> = Mutex::default();
    let mut places: HashMap<String, i64> = HashMap::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for round in 0..rounds(20) {
        let server = Server::start(&data, &[]);
        for session in ["a", "b"] {
            let all = listed(&server, session);
            assert!(all.iter().map(|m| m.0).eq(0..all.len() as i64), "round {round}: places have no gap");
            let firsts: Vec<&str> = all.chunks(TOGETHER).filter_map(|three| three[0].1.strip_suffix("-0")).collect();
            assert_eq!(firsts.len() * TOGETHER, all.len(), "round {round}: an append is whole");
            for (first, three) in firsts.iter().zip(all.chunks(TOGETHER)) {
                assert!(
                    three.iter().enumerate().all(|(i, m)| m.1 == format!("{first}-{i}")),
                    "round {round}: {three:?}"
                );
            }
            let there: HashSet<&str> = firsts.iter().copied().collect();
            assert_eq!(there.len(), firsts.len(), "round {round}: nothing is there twice");
            let answered = answered.lock().expect("a lock");
            let lost: Vec<&String> =
                answered.get(session).into_iter().flatten().filter(|id| !there.contains(id.as_str())).collect();
            assert!(lost.is_empty(), "round {round}: {lost:?} were answered");
            if let Some(view) =
                Some(server.call("GET", &format!("/v1/sessions/{session}"), &Value::Null)).filter(|v| v.0 == 200)
            {
                assert_eq!(
                    view.1["version"].as_u64(),
                    Some(1 + firsts.len() as u64),
                    "round {round}: a write is a version"
                );
            } else {
                server.call("PUT", &format!("/v1/sessions/{session}"), &json!({"max_messages": 0, "user": "u"}));
            }
            // What was seen once stays where it is.
            for (place, id) in &all {
                assert_eq!(*places.entry(format!("{session}/{id}")).or_insert(*place), *place, "round {round}");
            }
            known.insert(session.to_owned(), all.len());
        }
        std::thread::scope(|scope| {
            for writer in 0..6 {
                let (server, answered) = (&server, &answered);
                scope.spawn(move || {
                    for n in 0.. {
                        let session = ["a", "b"][(writer + n) % 2];
                        let first = format!("r{round}-w{writer}-{n}");
                        let message = |i: usize| {
                            json!({"id": format!("{first}-{i}"), "role": "user",
                                "content": format!("part {i} of {first}")})
                        };
                        let body = json!({"messages": (0..TOGETHER).map(message).collect::<Vec<_>>()});
                        let (status, _) = server.call("POST", &format!("/v1/sessions/{session}/messages"), &body);
                        if status == 200 {
                            let mut answered = answered.lock().expect("a lock");
                            answered.entry(session.to_owned()).or_default().insert(first);
                        } else if status == 0 {
                            return;
                        }
                    }
                });
            }
            // However slow the machine is, something is written before each kill.
            let appends = || answered.lock().expect("a lock").values().map(HashSet::len).sum::<usize>();
            let (before, begun) = (appends(), Instant::now());
            while appends() < before + 6 && begun.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(2));
            }
            std::thread::sleep(Duration::from_millis(round * 53 % 300));
            let pid = rustix::process::Pid::from_child(&server.child);
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("a kill");
        });
        server.kill_9();
    }
    let verify = membox(&data).arg("verify").output().expect("the binary");
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stdout));
    println!("{known:?} messages");
    assert!(known.values().sum::<usize>() > 300, "the writers did not write: {known:?}");
}
