//! A 202 is a promise: what is stopped or killed right after it is done by the next start, once and whole.

use crate::common::{KeptOnFailure, Server, data_with_model, files_with, membox, post};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const SESSIONS: usize = 40;

/// How a box ends.
type End = fn(Server);

const ENDS: [(&str, End); 2] = [("SIGTERM", Server::stop), ("kill -9", Server::kill_9)];

fn say(server: &Server, user: &str) {
    for i in 0..SESSIONS {
        let messages = json!([{"role": "user", "content": format!("zyxgarnet number {i} of {user}")}]);
        post(server, &format!("/v1/sessions/{user}-{i}/messages"), &json!({"user": user, "messages": messages}));
    }
    let records: Vec<Value> = (0..20)
        .map(|i| json!({"id": format!("{user}{i}"), "user": user, "text": format!("zyxgarnet fact {i} of {user}")}))
        .collect();
    server.call("PUT", "/v1/collections/shared", &json!({}));
    post(server, "/v1/collections/shared/records", &json!({"records": records}));
}

fn promised(server: &Server, path: &str, body: &Value) -> String {
    let (status, job) = server.call("POST", path, body);
    assert_eq!(status, 202, "{path}: {job}");
    job["id"].as_str().expect("an id").to_owned()
}

fn is_whole(data: &Path) {
    let verify = membox(data).arg("verify").output().expect("the binary");
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stdout));
}

#[test]
fn an_erasure_is_done_however_the_box_ends_after_its_promise() {
    for (how, end) in ENDS {
        let folder = KeptOnFailure::new();
        let data = data_with_model(folder.path());
        let server = Server::start(&data, &[]);
        say(&server, "lena");
        say(&server, "otto");
        let id = promised(&server, "/v1/users/lena/erase", &json!({}));
        end(server);
        // Once more in the middle of it, perhaps.
        let server = Server::start(&data, &[]);
        std::thread::sleep(std::time::Duration::from_millis(60));
        end(server);
        is_whole(&data);

        let server = Server::start(&data, &[]);
        let job = server.ended(&id);
        assert_eq!(job["state"], "done", "{how}: {job}");
        let sessions = |user: &str| {
            let (_, page) = server.call("GET", &format!("/v1/sessions?limit=1000&user={user}"), &Value::Null);
            page["sessions"].as_array().expect("sessions").len()
        };
        assert_eq!((sessions("lena"), sessions("otto")), (0, SESSIONS), "{how}");
        assert_eq!(files_with(&data, "lena"), Vec::<String>::new(), "{how}");
        let (status, again) = server.call("GET", "/v1/sessions/lena-1", &Value::Null);
        assert_eq!(status, 404, "{again}");
        // The user may come back.
        let messages = json!([{"role": "user", "content": "I am back"}]);
        post(&server, "/v1/sessions/lena-1/messages", &json!({"user": "lena", "messages": messages}));
        server.stop();
        let server = Server::start(&data, &[]);
        assert_eq!(server.ended(&id)["result"], job["result"], "{how}: what it came to stays");
        assert_eq!(server.call("GET", "/v1/sessions/lena-1", &Value::Null).0, 200, "{how}: it is not done again");
        server.stop();
        is_whole(&data);
    }
}

#[test]
fn a_sealed_tenant_is_erased_with_its_keys_however_the_box_ends_and_begins_anew_once() {
    for (how, end) in ENDS {
        let folder = KeptOnFailure::new();
        let data = data_with_model(folder.path());
        let made = membox(&data).args(["keys", "new"]).arg(folder.path().join("master")).output().expect("the binary");
        assert!(made.status.success());
        std::fs::write(folder.path().join("membox.toml"), "master_key_file = \"master\"\n").expect("a file");
        let server = Server::start(&data, &[]);
        for i in 0..SESSIONS {
            assert_eq!(server.call("PUT", &format!("/v1/collections/c{i}"), &json!({})).0, 201);
        }
        say(&server, "lena");
        let id = promised(&server, "/v1/tenant:erase", &json!({"tenant": "default"}));
        let (status, problem) = server.call("PUT", "/v1/collections/during", &json!({}));
        assert_eq!(status, 409, "{problem}");
        end(server);
        let server = Server::start(&data, &[]);
        std::thread::sleep(std::time::Duration::from_millis(60));
        end(server);

        let server = Server::start(&data, &[]);
        let job = server.ended(&id);
        assert_eq!(job["state"], "done", "{how}: {job}");
        let keys = || {
            let listed = membox(&data).args(["keys", "list"]).output().expect("the binary");
            String::from_utf8_lossy(&listed.stdout).into_owned()
        };
        assert!(!keys().contains("of tenant default"), "{how}: {}", keys());
        assert_eq!(server.call("GET", "/v1/collections", &Value::Null).1["collections"], json!([]));
        let (_, jobs) = server.call("GET", "/v1/jobs", &Value::Null);
        assert_eq!(jobs["jobs"].as_array().map(Vec::len), Some(1), "{how}: {jobs}");
        say(&server, "lena");
        end(server);
        let server = Server::start(&data, &[]);
        let (_, page) = server.call("GET", "/v1/collections/shared/records?limit=100", &Value::Null);
        assert_eq!(page["records"].as_array().map(Vec::len), Some(20), "{how}: it is not done again");
        server.stop();
        is_whole(&data);
    }
}

#[test]
fn what_is_written_during_an_erasure_is_refused_or_survives_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    say(&server, "lena");
    let is_over = AtomicBool::new(false);
    let (kept, refused) = std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let (mut kept, mut refused, mut number) = (BTreeSet::new(), 0, 0);
            while !is_over.load(Ordering::Relaxed) || kept.is_empty() {
                let (path, messages) = (
                    format!("/v1/sessions/new-{number}/messages"),
                    json!([
                        {"role": "user", "content": format!("qwvtopaz {number}")},
                        {"role": "assistant", "content": "yes"}
                    ]),
                );
                let (status, answer) = server.call("POST", &path, &json!({"user": "lena", "messages": messages}));
                match status {
                    200 => drop(kept.insert(number)),
                    409 => refused += 1,
                    other => panic!("{other}: {answer}"),
                }
                number += 1;
            }
            (kept, refused)
        });
        std::thread::sleep(std::time::Duration::from_millis(100));
        let id = promised(&server, "/v1/users/lena/erase", &json!({}));
        // Whoever asks from here on is after the promise.
        let messages = json!([{"role": "user", "content": "too early"}]);
        let (status, problem) =
            server.call("POST", "/v1/sessions/x/messages", &json!({"user": "lena", "messages": messages}));
        assert_eq!(status, 409, "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("being erased")), "{problem}");
        let job = server.ended(&id);
        assert_eq!(job["state"], "done", "{job}");
        is_over.store(true, Ordering::Relaxed);
        writing.join().expect("the writer")
    });
    assert!(refused > 0);
    let mut survived = 0;
    for number in kept {
        let (status, page) = server.call("GET", &format!("/v1/sessions/new-{number}/messages"), &Value::Null);
        match status {
            // It came before the promise.
            404 => {}
            _ => {
                assert_eq!(page["messages"].as_array().map(Vec::len), Some(2), "{page}");
                survived += 1;
            }
        }
    }
    assert!(survived > 0, "the last came after the end");
    server.stop();
}

#[test]
fn many_jobs_are_few_threads_and_a_tenant_waits_for_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let keys: String = ["a", "b"].map(|t| format!("[[keys]]\nkey = \"k{t}\"\ntenant = \"{t}\"\n")).concat();
    std::fs::write(folder.path().join("membox.toml"), keys).expect("a file");
    let server = Server::start(&data, &[]);
    let ask = |tenant: &str, method: &str, path: &str| {
        let key = format!("Bearer k{tenant}");
        let (status, headers, text) = server.raw(method, path, &[("authorization", &key)], Vec::new());
        (status, headers, serde_json::from_str::<Value>(&text).unwrap_or_default())
    };
    let threads = |name: &str| {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.child.id())).expect("its threads").flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|comm| comm.trim() == name).count()
    };
    let (promised, refused, most) = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8)
            .map(|asker| {
                let ask = &ask;
                scope.spawn(move || {
                    let (mut promised, mut refused) = (Vec::new(), 0);
                    for number in 0..50 {
                        let (status, headers, answer) = ask("a", "POST", &format!("/v1/users/u{asker}-{number}/erase"));
                        match status {
                            202 => promised.push(answer["id"].as_str().expect("an id").to_owned()),
                            429 => {
                                assert!(headers.iter().any(|(name, _)| name == "retry-after"), "{headers:?}");
                                refused += 1;
                            }
                            other => panic!("{other}: {answer}"),
                        }
                    }
                    (promised, refused)
                })
            })
            .collect();
        let mut most = 0;
        while asking.iter().any(|asker| !asker.is_finished()) {
            most = most.max(threads("job"));
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let all: Vec<(Vec<String>, usize)> = asking.into_iter().map(|asker| asker.join().expect("an asker")).collect();
        let refused: usize = all.iter().map(|(_, refused)| refused).sum();
        (all.into_iter().flat_map(|(promised, _)| promised).collect::<Vec<_>>(), refused, most)
    });
    assert!(refused > 0 && promised.len() >= 64, "{} promised, {refused} refused", promised.len());
    assert!((1..=2).contains(&most), "{most} threads");
    // Another tenant does not wait behind all of them.
    let (status, _, theirs) = ask("b", "POST", "/v1/users/u/erase");
    assert_eq!(status, 202, "{theirs}");
    let is_done = |tenant: &str, id: &str| ask(tenant, "GET", &format!("/v1/jobs/{id}")).2["state"] == "done";
    while !is_done("b", theirs["id"].as_str().expect("an id")) {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    while !promised.iter().all(|id| is_done("a", id)) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let (_, _, theirs) = ask("b", "GET", "/v1/jobs?kind=erase&state=done");
    assert_eq!(theirs["jobs"].as_array().map(Vec::len), Some(1), "{theirs}");
    // By pages, newest first, each once.
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let (status, _, page) = ask("a", "GET", &format!("/v1/jobs?limit=30{cursor}"));
        assert_eq!(status, 200, "{page}");
        seen.extend(
            page["jobs"].as_array().expect("jobs").iter().map(|job| job["id"].as_str().unwrap_or_default().to_owned()),
        );
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen.iter().collect::<BTreeSet<_>>(), promised.iter().collect());
    assert_eq!(seen.len(), promised.len());
    let (status, _, problem) = ask("a", "GET", "/v1/jobs?state=over");
    assert_eq!(status, 400, "{problem}");
    server.stop();
}
