//! A disk that fails, and a power cut: what was acknowledged is there afterwards, nothing is there by half, and the
//! box says what is wrong.
//!
//! The disk is the real one, behind `faults/shim.c`, which is preloaded into the real server. A long form of the
//! same, `make torture`, runs as many rounds as MEMBOX_TORTURE_ROUNDS says.

use crate::common::model::{Model, check, rounds, vector, write_from_all};
use crate::common::{Server, membox};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

/// The shim, compiled once.
fn shim() -> &'static Path {
    static SHIM: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = SHIM.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("shim.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults/shim.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&path).arg(source).args(["-ldl", "-lpthread"]);
        assert!(compiler.status().expect("a C compiler").success());
        (folder, path)
    });
    path
}

/// Starts a server on a disk with this fault; `None` when it ended before it listened.
fn start(data: &Path, fault: &str) -> Option<Server> {
    let root = data.canonicalize().expect("a path");
    let environment = [
        ("LD_PRELOAD", shim().to_str().expect("a path")),
        ("FAULT_SHIM", fault),
        ("FAULT_SHIM_DIR", root.to_str().expect("a path")),
    ];
    Server::try_start(data, &[], &environment)
}

/// Fails when `membox verify` finds anything wrong.
fn verify(data: &Path, round: u64) {
    let verify = membox(data).arg("verify").output().expect("the binary");
    assert!(verify.status.success(), "round {round}: {}", String::from_utf8_lossy(&verify.stdout));
}

/// Starts the box on a sound disk, where it takes writes again, and holds everything in it against the model.
fn restart_and_check(data: &Path, model: &Mutex<Model>, round: u64) {
    verify(data, round);
    let server = Server::start(data, &[]);
    check(&server, model, round);
    assert_eq!(server.call("POST", "/v1/collections/c/records:delete", &json!({"ids": ["none"]})).0, 200);
    server.stop();
}

/// A folder with an empty collection `c`.
fn prepared(folder: &Path) -> PathBuf {
    let data = folder.join("data");
    std::fs::create_dir_all(&data).expect("a folder");
    let server = Server::start(&data, &[]);
    assert_eq!(server.call("PUT", "/v1/collections/c", &json!({"dimension": 8})).0, 201);
    server.stop();
    data
}

#[test]
fn a_power_cut_at_any_moment_takes_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = prepared(folder.path());
    let model = Mutex::new(Model::default());
    let mut cut_while_writing = 0;
    for round in 0..rounds(20) {
        // Early cuts meet the start, later ones the commits, the text index, and the rows that are erased.
        let at = 1 + (round * 7919) % 900;
        if let Some(server) = start(&data, &format!("cut:{at}")) {
            let statuses = write_from_all(&server, round, 400, &model, || false);
            cut_while_writing += u32::from(statuses.contains(&0));
            assert!(statuses.iter().all(|s| [0, 200].contains(s)), "round {round}: {statuses:?}");
            server.kill_9();
        }
        restart_and_check(&data, &model, round);
    }
    assert!(cut_while_writing > rounds(20) as u32 / 2, "only {cut_while_writing} cuts met a writer");
}

#[test]
fn a_new_collection_survives_a_power_cut_once_it_is_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut met = 0;
    for at in (1..=rounds(24).min(100)).map(|round| round * 9) {
        let data = folder.path().join(format!("data-{at}"));
        std::fs::create_dir_all(&data).expect("a folder");
        let mut acknowledged = 0;
        if let Some(server) = start(&data, &format!("cut:{at}")) {
            for i in 0..8 {
                match server.call("PUT", &format!("/v1/collections/c{i}"), &json!({"dimension": 8})).0 {
                    201 => acknowledged = i + 1,
                    _ => break,
                }
            }
            server.kill_9();
        }
        met += acknowledged;
        let server = Server::start(&data, &[]);
        for i in 0..acknowledged {
            let record = json!({"records": [{"id": "a", "text": "x", "vector": vector(1)}]});
            assert_eq!(
                server.call("POST", &format!("/v1/collections/c{i}/records"), &record).0,
                200,
                "cut at {at}: c{i}"
            );
        }
        server.stop();
        verify(&data, at);
    }
    assert!(met > 20, "only {met} collections were acknowledged before a cut");
}

#[test]
fn a_full_disk_refuses_writes_keeps_nothing_of_them_and_is_left_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = prepared(folder.path());
    let model = Mutex::new(Model::default());
    let mut refused = 0;
    for round in 0..rounds(12) {
        // At each write in turn, and for some writes after it.
        let at = 1 + round * 3;
        let failing = 1 + round % 6;
        let Some(server) = start(&data, &format!("enospc:{at}:{failing}")) else { continue };
        let statuses = write_from_all(&server, round, 30, &model, || false);
        assert!(statuses.iter().all(|s| [200, 507, 503].contains(s)), "round {round}: {statuses:?}");
        refused += statuses.iter().filter(|s| **s != 200).count();
        if !statuses.contains(&503) {
            // The writes above may have ended before the last of those that fail, of which each refusal meets one.
            let delete = || server.call("POST", "/v1/collections/c/records:delete", &json!({"ids": ["none"]})).0;
            let refusals = (0..=failing).take_while(|_| delete() != 200).count() as u64;
            assert!(refusals <= failing, "round {round}: once there is room, the box goes on");
        }
        server.kill_9();
        restart_and_check(&data, &model, round);
    }
    assert!(refused > 0, "no write met the full disk");
}

#[test]
fn a_disk_that_is_full_at_any_one_write_leaves_nothing_half_done() {
    let folder = tempfile::tempdir().expect("a folder");
    // Everything that writes: a collection, records, an index, a text index, a compaction, a deletion.
    let run = |server: &Server, model: &Mutex<Model>| {
        let settings = json!({"dimension": 8, "index": {"kind": "hnsw"}});
        let created = server.call("PUT", "/v1/collections/c", &settings).0;
        let mut statuses = write_from_all(server, 0, 3, model, || false);
        let (status, job) = server.call("POST", "/v1/collections/c/rebuild", &json!({}));
        statuses.push(status);
        if let Some(id) = job["id"].as_str() {
            server.ended(id);
        }
        statuses.extend(write_from_all(server, 1, 8, model, || false));
        (created, statuses)
    };
    let step = if rounds(0) > 0 { 1 } else { 6 };
    let (mut met, mut last_met) = (0, 0);
    for at in (1u64..).step_by(step) {
        let data = folder.path().join(format!("data-{at}"));
        std::fs::create_dir_all(&data).expect("a folder");
        let model = Mutex::new(Model::default());
        let mut refused = true;
        if let Some(server) = start(&data, &format!("enospc:{at}:3")) {
            let (created, statuses) = run(&server, &model);
            let fine = |status: &u16| [200, 202, 409, 404, 503, 507].contains(status);
            assert!(statuses.iter().all(fine), "at {at}: {statuses:?}");
            refused = created != 201 || statuses.iter().any(|s| *s >= 500);
            server.kill_9();
        }
        verify(&data, at);
        let server = Server::start(&data, &[]);
        assert!([200, 201].contains(&server.call("PUT", "/v1/collections/c", &json!({"dimension": 8})).0), "at {at}");
        check(&server, &model, at);
        let statuses = write_from_all(&server, 2, 3, &model, || false);
        assert!(statuses.iter().all(|s| *s == 200), "at {at}: with room, all is written: {statuses:?}");
        check(&server, &model, at);
        server.kill_9();
        std::fs::remove_dir_all(&data).expect("a removal");
        if refused {
            (met, last_met) = (met + 1, at);
        }
        // The run has no more writes than that.
        if at > last_met + 150 {
            break;
        }
    }
    println!("{met} writes met the full disk, the last that was refused for it is number {last_met}");
    assert!(met > 5);
}

#[test]
fn a_write_that_is_cut_short_is_finished_or_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = prepared(folder.path());
    let model = Mutex::new(Model::default());
    for round in 0..rounds(6) {
        let Some(server) = start(&data, &format!("short:{}:3", 1 + round * 5)) else { continue };
        let statuses = write_from_all(&server, round, 30, &model, || false);
        assert!(statuses.iter().all(|s| [200, 507, 503].contains(s)), "round {round}: {statuses:?}");
        server.kill_9();
        restart_and_check(&data, &model, round);
    }
}

#[test]
fn after_a_failed_fsync_nothing_more_is_acknowledged_and_reads_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = prepared(folder.path());
    let model = Mutex::new(Model::where_refusals_may_stay());
    let mut failed = 0;
    for round in 0..rounds(8) {
        let Some(server) = start(&data, &format!("fsync:{}:1", 3 + round * 2)) else { continue };
        let statuses = write_from_all(&server, round, 40, &model, || false);
        if statuses.iter().any(|s| *s != 200) {
            failed += 1;
            let (status, problem) = server.call("POST", "/v1/collections/c/records:delete", &json!({"ids": ["none"]}));
            assert_eq!(status, 503, "round {round}: {problem}");
            assert!(problem["detail"].as_str().expect("a detail").contains("read-only"), "{problem}");
            assert_eq!(server.call("GET", "/v1/collections/c/records?limit=5", &Value::Null).0, 200, "reads go on");
            assert_eq!(server.call("GET", "/ready", &Value::Null).0, 503, "whoever balances load is told");
        }
        server.kill_9();
        restart_and_check(&data, &model, round);
    }
    assert!(failed > 0, "no fsync failed while somebody wrote");
}

#[test]
fn a_read_that_fails_is_an_error_and_never_a_wrong_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = prepared(folder.path());
    let server = Server::start(&data, &[]);
    let records: Vec<Value> = (0..200)
        .map(|i| {
            json!({"id": format!("r{i}"),
                "text": format!("record number {i} {}", "x".repeat(400)), "vector": vector(i)})
        })
        .collect();
    assert_eq!(server.call("POST", "/v1/collections/c/records", &json!({ "records": records })).0, 200);
    server.stop();
    let mut errors = 0;
    for at in (1..rounds(40).max(40)).step_by(3) {
        let Some(server) = start(&data, &format!("read:{at}:2")) else {
            errors += 1;
            continue;
        };
        for i in [3u64, 77, 150] {
            let (status, record) = server.call("GET", &format!("/v1/collections/c/records/r{i}"), &Value::Null);
            match status {
                200 => assert!(record["text"].as_str().expect("a text").starts_with(&format!("record number {i} "))),
                _ => errors += 1,
            }
            let body = json!({"vector": vector(i), "mode": "vector", "k": 3});
            let (status, answer) = server.call("POST", "/v1/collections/c/recall", &body);
            match status {
                200 => assert_eq!(answer["hits"].as_array().map(Vec::len), Some(3), "{answer}"),
                _ => errors += 1,
            }
        }
        server.kill_9();
    }
    assert!(errors > 0, "no read failed");
}
