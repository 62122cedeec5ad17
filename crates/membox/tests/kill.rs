//! kill -9 at any moment of concurrent writes loses nothing that was acknowledged, and leaves a folder that `verify` finds clean.

mod common;

use common::model::{Model, check, rounds, write_from_all};
use common::{Server, membox};
use serde_json::json;
use std::sync::Mutex;
use std::time::Duration;

#[test]
fn nothing_acknowledged_is_lost_under_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
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
