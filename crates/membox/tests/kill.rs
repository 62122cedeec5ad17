//! kill -9 at any moment of concurrent writes, compactions, index swaps and backups loses nothing that was acknowledged, and leaves a folder that
//! `verify` finds clean.

mod common;

use common::model::{Model, check, rounds, write_from_all};
use common::{KeptOnFailure, Server, membox};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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
    assert!(checked > 500 && rebuilt > 20 && backed_up > 5, "{checked} {rebuilt} {backed_up}");
}
