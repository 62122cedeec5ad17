//! Encryption at rest: what is said is in no file to be read, and a tenant is gone with its key.

use crate::common::{Server, data_with_model, files_with, membox};
use membox_memory::keys::{Keyring, MasterKey};
use serde_json::{Value, json};
use std::path::PathBuf;

/// In every text, and in what is derived from them.
const MARKER: &str = "zanzibar";

struct Place {
    folder: tempfile::TempDir,
    data: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = data_with_model(folder.path());
        let place = Self { folder, data };
        place.new_master("master");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn new_master(&self, name: &str) -> String {
        self.run(&["keys", "new", self.path(name).to_str().expect("a path")]).1
    }

    fn settings(&self, settings: &str) {
        let keys = "[[keys]]\nkey = \"key-of-a\"\ntenant = \"a\"\n[[keys]]\nkey = \"key-of-b\"\ntenant = \"b\"\n";
        std::fs::write(self.path("membox.toml"), format!("{settings}\n{keys}")).expect("a file");
    }

    fn start(&self) -> Server {
        Server::start(&self.data, &[])
    }

    /// Whether a command succeeds, and what it says.
    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let output = membox(&self.data).args(arguments).output().expect("the binary");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// Files of the data folder, but for the models, that a marker can be read from.
    fn readable(&self) -> Vec<String> {
        files_with(&self.data, MARKER)
    }
}

fn ask(server: &Server, tenant: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let key = format!("Bearer key-of-{tenant}");
    let headers = [("content-type", "application/json"), ("authorization", key.as_str())];
    let (status, _, text) = server.raw(method, path, &headers, body.to_string().into_bytes());
    (status, serde_json::from_str(&text).unwrap_or_default())
}

fn done(server: &Server, tenant: &str, method: &str, path: &str, body: &Value) -> Value {
    let (status, answer) = ask(server, tenant, method, path, body);
    assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
    answer
}

fn job(server: &Server, tenant: &str, path: &str, body: &Value) -> Value {
    let id = done(server, tenant, "POST", path, body)["id"].as_str().expect("an id").to_owned();
    loop {
        let view = done(server, tenant, "GET", &format!("/v1/jobs/{id}"), &Value::Null);
        if view["state"] != "queued" && view["state"] != "running" {
            assert_eq!(view["state"], "done", "{view}");
            return view["result"].clone();
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Says the marker in every way in which something can be said.
fn say(server: &Server, tenant: &str) {
    done(server, tenant, "PUT", "/v1/collections/notes", &json!({"keywords": true}));
    let record = |i: usize| {
        json!({"id": format!("r{i}"),
            "text": format!("Note {i}: the boat to Zanzibar leaves at {i}."), "metadata": {"port": "Zanzibar", "n": i},
            "user": "u"})
    };
    let records: Vec<Value> = (0..40).map(record).collect();
    done(server, tenant, "POST", "/v1/collections/notes/records", &json!({"records": records}));
    // So that there is a text index on disk too.
    job(server, tenant, "/v1/collections/notes/rebuild", &Value::Null);
    let body = json!({"user": "u",
        "messages": [{"role": "user", "content": "I was in Zanzibar.", "metadata": {"place": "Zanzibar"}},
            {"role": "assistant", "content": "Zanzibar is far."}]});
    done(server, tenant, "POST", "/v1/sessions/s/messages", &body);
    done(server, tenant, "PUT", "/v1/sessions/t", &json!({"user": "u", "metadata": {"about": "Zanzibar"}}));
    done(server, tenant, "POST", "/v1/sessions/s/queue", &json!({"items": [{"input": "Zanzibar?"}]}));
    done(server, tenant, "PUT", "/v1/threads/t/checkpoints/one", &json!({"state": {"at": "Zanzibar"}}));
}

/// Everything that was said, by every way in which it is asked for.
fn heard(server: &Server, tenant: &str) -> Value {
    let recall = |body: Value| {
        let found = done(server, tenant, "POST", "/v1/collections/notes/recall", &body);
        found["hits"]
            .as_array()
            .expect("hits")
            .iter()
            .map(|hit| json!([hit["id"], hit["text"], hit["metadata"]]))
            .collect::<Value>()
    };
    let include = json!(["text", "metadata"]);
    let messages = done(server, tenant, "GET", "/v1/sessions/s/messages", &Value::Null)["messages"].clone();
    let words: Vec<&Value> = messages.as_array().expect("a list").iter().map(|message| &message["content"]).collect();
    json!({
        "text": recall(json!({"query": "boat to Zanzibar", "mode": "text", "k": 5, "include": include})),
        "hybrid": recall(json!({"query": "boat at 7", "mode": "hybrid", "k": 5, "include": include})),
        "filter": recall(json!({"query": "boat", "k": 3, "filter": {"field": "metadata.n", "eq": 31},
            "include": include})),
        "words": words,
        "session": done(server, tenant, "GET", "/v1/sessions/t", &Value::Null)["metadata"],
        "queue": done(server, tenant, "GET", "/v1/sessions/s/queue", &Value::Null)["items"][0]["payload"],
        "checkpoint": done(server, tenant, "GET", "/v1/threads/t/checkpoints/one", &Value::Null)["state"],
    })
}

fn settle(server: &Server, tenant: &str) -> Value {
    loop {
        let view = done(server, tenant, "GET", "/v1/tenant", &Value::Null);
        if view["settled"] == true {
            return view;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn what_is_said_is_in_no_file_to_be_read_and_is_all_recalled() {
    let place = Place::new();
    place.settings("");
    // On a box without a key it is: the test could not see otherwise.
    let server = place.start();
    say(&server, "a");
    let plain = heard(&server, "a");
    server.stop();
    assert!(!place.readable().is_empty());

    // From the first start with a key on, what is there is sealed too.
    place.settings("master_key_file = \"master\"");
    let server = place.start();
    assert_eq!(heard(&server, "a"), plain);
    assert_eq!(settle(&server, "a")["encrypted"], true);
    assert_eq!(place.readable(), Vec::<String>::new());
    say(&server, "b");
    assert_eq!(heard(&server, "b"), plain);
    assert_eq!(place.readable(), Vec::<String>::new(), "while it runs, in the log of the database too");
    server.kill_9();
    let server = place.start();
    assert_eq!((heard(&server, "a"), heard(&server, "b")), (plain.clone(), plain.clone()));
    done(&server, "a", "PATCH", "/v1/collections/notes/records/r1", &json!({"metadata": {"port": "Zanzibar 2"}}));
    settle(&server, "b");
    server.stop();
    assert_eq!(place.readable(), Vec::<String>::new());
    let (whole, said) = place.run(&["verify"]);
    assert!(whole && said.contains("0 problems"), "{said}");

    // Without the key, or with another, it is not opened, and says why.
    place.settings("");
    for command in ["verify", "serve"] {
        let (opens, said) = place.run(&[command]);
        assert!(!opens && said.contains("master_key_file"), "{command}: {said}");
    }
    let other = place.new_master("other");
    place.settings("master_key_file = \"other\"");
    let (opens, said) = place.run(&["serve"]);
    let fingerprint = other.split(' ').nth(2).expect("its fingerprint");
    assert!(!opens && said.contains(fingerprint) && said.contains("old_master_key_files"), "{said}");
    // Unless the older one is named, once.
    place.settings("master_key_file = \"other\"\nold_master_key_files = [\"master\"]");
    place.start().stop();
    place.settings("master_key_file = \"other\"");
    assert_eq!(heard(&place.start(), "b"), plain);
    let (_, listed) = place.run(&["keys", "list"]);
    assert!(listed.contains("of tenant a, made 20") && listed.matches(fingerprint).count() == 2, "{listed}");
}

#[test]
fn a_tenants_key_rotates_while_it_is_read_and_written() {
    let place = Place::new();
    place.settings("master_key_file = \"master\"");
    let server = place.start();
    say(&server, "a");
    let before = heard(&server, "a");
    let first = done(&server, "a", "GET", "/v1/tenant", &Value::Null)["key"].clone();
    job(&server, "a", "/v1/tenant:rotate", &Value::Null);
    let view = settle(&server, "a");
    assert_ne!(view["key"], first);
    assert_eq!(heard(&server, "a"), before);
    let (_, listed) = place.run(&["keys", "list"]);
    assert!(!listed.contains(&format!("key {first} of")), "{listed}");
    server.kill_9();
    let server = place.start();
    assert_eq!(heard(&server, "a"), before);
    let log = done(&server, "a", "GET", "/v1/audit", &Value::Null);
    assert!(log.to_string().contains("key rotated"), "{log}");
    assert_eq!(place.readable(), Vec::<String>::new());
}

#[test]
fn a_tenant_is_gone_with_its_key_and_the_others_stay() {
    let place = Place::new();
    place.settings("master_key_file = \"master\"");
    let server = place.start();
    say(&server, "a");
    say(&server, "b");
    let before = heard(&server, "b");
    let backup = place.path("backup");
    let (done_well, said) = place.run(&["backup", "--without-keys", backup.to_str().expect("a path")]);
    assert!(done_well, "{said}");
    assert!(!backup.join("keys.json").exists());
    let (status, problem) = ask(&server, "a", "POST", "/v1/tenant:erase", &json!({"tenant": "b"}));
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/tenant")));

    let receipt = job(&server, "a", "/v1/tenant:erase", &json!({"tenant": "a"}));
    assert_eq!((&receipt["collections"], &receipt["keys"]), (&json!(2), &json!(1)), "{receipt}");
    assert!(receipt["records"].as_u64() >= Some(42), "{receipt}");
    assert_eq!(done(&server, "a", "GET", "/v1/collections", &Value::Null)["collections"], json!([]));
    assert_eq!(ask(&server, "a", "GET", "/v1/threads/t/checkpoints/one", &Value::Null).0, 404);
    assert_eq!(heard(&server, "b"), before);
    // It may begin anew, with a key of its own.
    say(&server, "a");
    assert_eq!(heard(&server, "a"), before);
    server.stop();
    // One that a stop has broken off is gone on with at the next start, though none of its collections is open.
    let master = MasterKey::read(&place.path("master")).expect("the key");
    Keyring::open(&place.data.join("keys.json"), master, &[])
        .and_then(|keyring| keyring.begin_erasing("a"))
        .expect("noted");
    let server = place.start();
    while place.run(&["keys", "list"]).1.contains("of tenant a,") {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(done(&server, "a", "GET", "/v1/collections", &Value::Null)["collections"], json!([]));
    server.stop();

    // In a backup that was made before, and that holds no keys, the tenant cannot be read any more; the other one can.
    let restored = Place { folder: tempfile::tempdir().expect("a folder"), data: place.path("restored") };
    let (done_well, said) = restored.run(&["restore", backup.to_str().expect("a path")]);
    assert!(done_well, "{said}");
    std::fs::copy(place.data.join("keys.json"), restored.data.join("keys.json")).expect("the keys");
    std::os::unix::fs::symlink(place.data.join("models"), restored.data.join("models")).expect("a link");
    let server = restored.start();
    assert_eq!(heard(&server, "b"), before);
    let question = json!({"query": "boat to Zanzibar", "mode": "text", "include": ["text"]});
    let (status, answer) = ask(&server, "a", "POST", "/v1/collections/notes/recall", &question);
    assert!(status == 500 && answer["detail"].as_str().is_some_and(|said| said.contains("key")), "{status} {answer}");
    assert_eq!(files_with(&restored.data, MARKER), Vec::<String>::new());
}

#[test]
fn a_policy_leaves_a_tenant_open_or_wants_a_key() {
    let place = Place::new();
    let with = |encryption: bool| format!("policy = \"p\"\n[policies.p]\nencryption = {encryption}");
    place.settings(&with(true));
    let (opens, said) = place.run(&["serve"]);
    assert!(!opens && said.contains("a policy wants encryption"), "{said}");
    place.settings(&format!("master_key_file = \"master\"\n{}", with(false)));
    let server = place.start();
    say(&server, "a");
    assert_eq!(done(&server, "a", "GET", "/v1/tenant", &Value::Null)["encrypted"], false);
    let (status, problem) = ask(&server, "a", "POST", "/v1/tenant:rotate", &Value::Null);
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/tenant")));
    server.stop();
    assert!(!place.readable().is_empty());
    let (_, shown) = place.run(&["config", "show"]);
    assert!(shown.contains("encryption: none, by this policy"), "{shown}");
    place.settings("master_key_file = \"master\"");
    let (_, shown) = place.run(&["config", "show"]);
    assert!(shown.contains("encryption: texts and metadata are sealed with AES-256-GCM"), "{shown}");
}
