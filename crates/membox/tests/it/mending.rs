//! A data folder is looked at without being changed, and mended so that a check finds nothing wrong any more.

use crate::common::{KeptOnFailure, Server, data_with_model, membox, post};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Everything below a folder: what is in it, and when it was changed. The models are somebody else's.
fn state(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let changed = |path: &Path| fs::metadata(path).and_then(|m| m.modified()).expect("a time");
        found.insert(folder.clone(), (Vec::new(), changed(&folder)));
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let kind = entry.file_type().expect("a type");
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.insert(entry.path(), (fs::read(entry.path()).expect("a file"), changed(&entry.path())));
            }
        }
    }
    found
}

fn said(data: &Path, args: &[&str]) -> (i32, String) {
    let output = membox(data).args(args).output().expect("the binary");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("a code"), text(&output.stdout) + &text(&output.stderr))
}

fn vector(i: usize) -> Vec<f32> {
    (0..8).map(|d| ((i * 31 + d * 17) % 101) as f32 / 50.0 - 1.0).collect()
}

fn write(server: &Server, ids: std::ops::Range<usize>) {
    assert!([200, 201].contains(&server.call("PUT", "/v1/collections/c", &json!({"dimension": 8})).0));
    let record = |i: usize| json!({"id": format!("r{i}"), "text": format!("note {i}"), "vector": vector(i)});
    post(server, "/v1/collections/c/records", &json!({"records": ids.map(record).collect::<Vec<_>>()}));
}

fn vector_file(data: &Path) -> PathBuf {
    let is_one = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "mbv");
    state(&data.join("collections")).into_keys().find(is_one).expect("a vector file")
}

/// Rewrites a database as the first version of the schema had it.
fn make_old(database: &Path) {
    let old = database.with_extension("old");
    let connection = rusqlite::Connection::open(&old).expect("a database");
    let schema = "
        PRAGMA journal_mode = WAL;
        CREATE TABLE collections (id INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL, name TEXT NOT NULL,
            settings TEXT NOT NULL, vector_file BLOB NOT NULL, rows INTEGER NOT NULL, created_at INTEGER NOT NULL,
            UNIQUE (tenant, name)) STRICT;
        CREATE TABLE records (seq INTEGER PRIMARY KEY AUTOINCREMENT,
            collection INTEGER NOT NULL REFERENCES collections (id) ON DELETE CASCADE,
            row INTEGER NOT NULL, row_crc INTEGER NOT NULL, version INTEGER NOT NULL, created_at INTEGER NOT NULL,
            expires_at INTEGER, importance REAL, given_vector INTEGER NOT NULL, user TEXT, session TEXT,
            kind TEXT, id TEXT NOT NULL, metadata TEXT NOT NULL, text TEXT NOT NULL) STRICT;
        CREATE UNIQUE INDEX records_by_id ON records (collection, id);
        CREATE UNIQUE INDEX records_by_slot ON records (collection, row);
        CREATE INDEX records_by_time ON records (collection, created_at, seq);
        CREATE INDEX records_by_expiry ON records (expires_at) WHERE expires_at IS NOT NULL;
        PRAGMA user_version = 1;";
    connection.execute_batch(schema).expect("a schema");
    let copy = "
        INSERT INTO collections SELECT id, tenant, name, settings, vector_file, rows, created_at FROM new.collections;
        INSERT INTO records SELECT seq, collection, slot, row_crc, version, created_at, expires_at, importance,
            given_vector, user, session, kind, id, metadata, text FROM new.records;
        DETACH new;";
    connection.execute("ATTACH ? AS new", [database.to_string_lossy()]).expect("the new one");
    connection.execute_batch(copy).expect("a copy");
    drop(connection);
    fs::rename(old, database).expect("a rename");
}

#[test]
fn who_looks_changes_nothing_whatever_state_the_folder_is_in() {
    let folder = KeptOnFailure::new();
    let data = data_with_model(folder.path());
    let look = |what: &str, records: u64| {
        let before = state(&data);
        for args in [["verify"].as_slice(), &["verify", "--json"], &["doctor"]] {
            let (code, text) = said(&data, args);
            assert_eq!(code, 0, "{what}, {args:?}: {text}");
            let after = state(&data);
            let names = |state: &BTreeMap<PathBuf, _>| state.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(&after), names(&before), "{what}, {args:?}");
            let changed: Vec<&PathBuf> = before.keys().filter(|&path| before[path] != after[path]).collect();
            assert!(changed.is_empty(), "{what}, {args:?}: {changed:?}");
        }
        let (_, text) = said(&data, &["verify"]);
        assert!(text.contains(&format!("{records} records checked, 0 problems")), "{what}: {text}");
        said(&data, &["doctor"]).1
    };
    let server = Server::start(&data, &[]);
    write(&server, 0..20);
    server.stop();
    look("a clean stop", 20);

    // What was never acknowledged, what no collection has, and what a compaction had begun.
    let rows = File::options().append(true).open(vector_file(&data)).expect("a file");
    rows.write_all_at(&[7; 100], rows.metadata().expect("its length").len()).expect("a write");
    for name in ["collections/99/text", "collections/1/next/index"] {
        fs::create_dir_all(data.join(name)).expect("a folder");
    }
    fs::write(data.join("collections/1/compacting.mbv"), "begun").expect("a write");
    look("what an interruption left", 20);

    let server = Server::start(&data, &[]);
    assert!(!data.join("collections/99").exists(), "it is the box that clears up");
    write(&server, 20..40);
    server.kill_9();
    assert!(fs::metadata(data.join("membox.db-wal")).expect("a log").len() > 0);
    look("a kill", 40);
    // Without what readers share, as after a copy of the folder.
    fs::remove_file(data.join("membox.db-shm")).expect("a removal");
    look("a kill, without -shm", 40);

    Server::start(&data, &[]).stop();
    make_old(&data.join("membox.db"));
    let doctor = look("an older schema", 40);
    assert!(doctor.contains("schema version 1") && doctor.contains("40 records"), "{doctor}");
    let server = Server::start(&data, &[]);
    assert_eq!(server.call("GET", "/v1/collections/c", &Value::Null).1["records"], 40);
    server.stop();
    look("brought up to date", 40);

    let nowhere = folder.path().join("nowhere");
    assert_eq!(said(&nowhere, &["doctor"]).0, 0);
    assert!(said(&nowhere, &["verify"]).0 == 1 && !nowhere.exists(), "a folder that is not there is not made");
}

#[test]
fn a_running_box_is_named_with_what_to_do_and_a_code_of_its_own() {
    let folder = KeptOnFailure::new();
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    write(&server, 0..5);
    for command in ["verify", "rebuild"] {
        let (code, text) = said(&data, &[command]);
        assert!(code == 3 && text.contains("in use by another membox") && text.contains("membox backup"), "{text}");
    }
    let (code, text) = said(&data, &["doctor"]);
    assert!(code == 0 && text.contains("running box"), "{text}");
    let copy = folder.path().join("copy");
    assert_eq!(said(&data, &["backup", copy.to_str().expect("a path")]).0, 0);
    assert_eq!(said(&copy, &["verify"]).0, 0, "what is advised works");
    server.stop();
    assert_eq!(said(&data, &["verify"]).0, 0);
}

#[test]
fn a_hangup_does_not_stop_the_box() {
    let folder = KeptOnFailure::new();
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    for _ in 0..3 {
        kill_process(Pid::from_child(&server.child), Signal::HUP).expect("a signal");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    write(&server, 0..5);
    server.stop();
}

#[test]
fn rebuild_ends_clean_and_says_which_given_vectors_are_lost() {
    let folder = KeptOnFailure::new();
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    // As many texts as are handed to the text index in the background.
    for first in (0..12_000).step_by(2000) {
        write(&server, first..first + 2000);
    }
    let said_something = json!({"user": "lena",
        "messages": [{"id": "call", "role": "assistant", "content": null, "tool_calls": [{"id": "t"}]}]});
    post(&server, "/v1/sessions/s/messages", &said_something);
    let texts: Vec<Value> = (0..40)
        .map(|i| json!({"id": format!("e{i}"), "text": format!("the owl lives in house {i}"), "user": "lena"}))
        .collect();
    post(&server, "/v1/collections/user-lena/records", &json!({"records": texts}));
    let given: Vec<f32> = (0..384).map(|d| d as f32 / 384.0).collect();
    post(
        &server,
        "/v1/collections/user-lena/records",
        &json!({"records": [{"id": "given", "text": "a given one", "vector": given}]}),
    );
    server.stop();

    let files: Vec<PathBuf> = state(&data.join("collections")).into_keys().collect();
    let is_rows = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "mbv");
    let flip = |path: &Path, at: u64| {
        let file = File::options().read(true).write(true).open(path).expect("a file");
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("a byte");
        file.write_all_at(&[byte[0] ^ 0x10], at).expect("a byte");
    };
    for path in files.iter().filter(is_rows) {
        let length = fs::metadata(path).expect("its length").len();
        for i in 0..40 {
            flip(path, 4096 + (length - 4096) * i / 40 + 3);
        }
    }
    // Also what is derived is gone, and is begun anew while the box mends.
    for text in files.iter().filter(|path| path.ends_with("text")) {
        fs::remove_dir_all(text).expect("a removal");
    }
    let (code, text) = said(&data, &["verify"]);
    assert!(code == 1 && text.contains("40 vectors do not have the checksum"), "{text}");
    let (code, text) = said(&data, &["rebuild"]);
    assert!(code == 0 && text.contains("mended"), "{text}");
    // Of 8 dimensions the model can make none.
    assert_eq!(text.matches("no vector finds it").count(), 40, "{text}");
    assert!(text.matches("the embedding of its text takes its place").count() <= 1 + 1, "{text}");
    for _ in 0..2 {
        let (code, text) = said(&data, &["verify"]);
        assert!(code == 0 && text.contains("12042 records checked, 0 problems"), "{text}");
        let (code, text) = said(&data, &["rebuild"]);
        assert!(code == 0 && text.contains("nothing to mend"), "{text}");
    }
    let server = Server::start(&data, &[]);
    let found = post(
        &server,
        "/v1/collections/user-lena/recall",
        &json!({"query": "house 7 of the owl", "mode": "vector", "k": 41}),
    );
    let ids: Vec<&str> = found["hits"].as_array().expect("hits").iter().filter_map(|hit| hit["id"].as_str()).collect();
    assert!((0..40).all(|i| ids.contains(&format!("e{i}").as_str())), "{ids:?}");
    server.stop();
}

#[test]
fn a_vector_file_without_its_header_or_its_end_keeps_the_rows_that_are_whole() {
    let folder = KeptOnFailure::new();
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    write(&server, 0..50);
    server.stop();
    let path = vector_file(&data);
    let file = File::options().read(true).write(true).open(&path).expect("a file");
    file.write_all_at(&[0; 4096], 0).expect("a write");
    file.set_len(4096 + 64 * 48).expect("a length");
    assert_eq!(said(&data, &["verify"]).0, 1);
    let (code, text) = said(&data, &["rebuild"]);
    assert!(code == 0 && text.contains(".damaged"), "{text}");
    assert_eq!(text.matches("lost the vector that was given").count(), 2, "{text}");
    let server = Server::start(&data, &[]);
    let nearest = json!({"vector": vector(17), "mode": "vector", "k": 1});
    assert_eq!(post(&server, "/v1/collections/c/recall", &nearest)["hits"][0]["id"], "r17");
    server.stop();
}

#[test]
fn an_interrupted_restore_is_begun_anew_and_holds_nothing_until_it_is_whole() {
    let folder = KeptOnFailure::new();
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    write(&server, 0..50);
    server.stop();
    let backup = folder.path().join("backup");
    assert_eq!(said(&data, &["backup", backup.to_str().expect("a path")]).0, 0);
    let restored = folder.path().join("restored");
    // As a kill leaves it: the vectors are in their place, the database is not.
    let partial = restored.join("restoring-5ad24ef5-7e32-4f25-8a53-2b9dca9eba6c");
    fs::create_dir_all(partial.join("collections")).expect("a folder");
    let (code, text) = said(&restored, &["restore", backup.to_str().expect("a path")]);
    assert!(code == 0 && text.contains("restoring-5ad24ef5"), "a copy that is not whole is named: {text}");
    fs::rename(restored.join("membox.db"), partial.join("membox.db")).expect("a move");
    fs::write(partial.join("whole"), backup.canonicalize().expect("a path").to_str().expect("a path")).expect("a note");
    let (code, text) = said(&restored, &["restore", backup.to_str().expect("a path")]);
    assert_eq!(code, 0, "{text}");
    let (code, text) = said(&restored, &["verify"]);
    assert!(code == 0 && text.contains("50 records checked"), "{text}");
    assert!(!partial.exists());
    assert_eq!(said(&restored, &["restore", backup.to_str().expect("a path")]).0, 1, "nothing is overwritten");
}
