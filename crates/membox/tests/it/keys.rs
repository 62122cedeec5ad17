//! API keys: what they may do, and how they are made and revoked while a box runs.

use crate::common::{KeptOnFailure, Server, data_with_model, membox};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

fn keys(data: &Path, args: &[&str]) -> Output {
    membox(data).arg("keys").args(args).output().expect("the binary")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// A key that the command makes.
fn made(data: &Path, args: &[&str]) -> String {
    let made = keys(data, &[&["create"], args].concat());
    assert!(made.status.success(), "{}", text(&made.stderr));
    text(&made.stdout)
}

/// Status and answer of a request with a key.
fn ask(server: &Server, key: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let key = format!("Bearer {key}");
    let headers = [("authorization", key.as_str()), ("content-type", "application/json")];
    let (status, _, text) = server.raw(method, path, &headers, body.to_string().into_bytes());
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Waits until a key is answered so.
fn becomes(server: &Server, key: &str, wanted: u16) {
    let begun = Instant::now();
    while ask(server, key, "GET", "/v1/collections", &Value::Null).0 != wanted {
        assert!(begun.elapsed() < Duration::from_secs(30), "it is not answered with {wanted}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn keys_are_made_and_revoked_by_the_command_while_a_box_runs() {
    let folder = KeptOnFailure::new();
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    assert_eq!(ask(&server, "", "GET", "/v1/collections", &Value::Null).0, 200, "without keys it is open");
    let key = made(&data, &["operations"]);
    assert!(key.starts_with("mbx_"), "{key}");
    becomes(&server, "", 401);
    becomes(&server, &key, 200);
    let of_lena = made(&data, &["Lena's assistant", "--access", "append", "--user", "lena"]);
    becomes(&server, &of_lena, 403);
    let record = json!({"records": [{"text": "The spare key is under the blue pot."}]});
    assert_eq!(ask(&server, &key, "PUT", "/v1/collections/notes", &json!({})).0, 201);
    let (status, written) = ask(&server, &of_lena, "POST", "/v1/collections/notes/records", &record);
    assert_eq!(status, 200, "{written}");
    let path = format!("/v1/collections/notes/records/{}", written["records"][0]["id"].as_str().expect("an id"));
    assert_eq!(ask(&server, &key, "GET", &path, &Value::Null).1["user"], "lena");
    let listed = text(&keys(&data, &["list"]).stdout);
    assert!(listed.contains("\"Lena's assistant\" of tenant default, access append") && listed.contains("users lena"));
    assert!(!listed.contains(&key) && !listed.contains(&of_lena), "{listed}");
    let line = listed.lines().find(|line| line.contains("Lena")).expect("a line");
    let id = line.split(' ').nth(2).expect("an id");
    assert!(keys(&data, &["revoke", id]).status.success());
    becomes(&server, &of_lena, 401);
    let again = keys(&data, &["revoke", id]);
    assert!(!again.status.success() && text(&again.stderr).contains("there is no key"), "{}", text(&again.stderr));
    let (_, audit) = ask(&server, &key, "GET", "/v1/audit", &Value::Null);
    assert_eq!(audit["entries"].as_array().map(Vec::len), Some(3), "{audit}");
    server.stop();
    // The last one: the box stays closed, over a start too, and also beyond this machine.
    let listed = text(&keys(&data, &["list"]).stdout);
    let id = listed.lines().next().and_then(|line| line.split(' ').nth(2)).expect("an id");
    assert!(text(&keys(&data, &["revoke", id]).stdout).contains("nobody may ask"));
    let server = Server::start(&data, &[]);
    assert_eq!(ask(&server, &key, "GET", "/v1/collections", &Value::Null).0, 401);
    assert_eq!(ask(&server, "", "GET", "/v1/collections", &Value::Null).0, 401);
    server.stop();
}

#[test]
fn a_file_of_keys_that_is_not_understood_stops_the_start() {
    let folder = KeptOnFailure::new();
    let data = data_with_model(folder.path());
    std::fs::write(data.join("api-keys.json"), "{\"version\": 2, \"keys\": []}").expect("a file");
    std::fs::set_permissions(data.join("api-keys.json"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("rights");
    assert!(Server::try_start(&data, &[], &[]).is_none());
    let refused = keys(&data, &["create", "operations"]);
    assert!(!refused.status.success() && text(&refused.stderr).contains("version 2"), "{}", text(&refused.stderr));
}

#[test]
fn keys_of_the_settings_have_an_access_and_a_reach() {
    let folder = KeptOnFailure::new();
    let data = data_with_model(folder.path());
    let settings = "[[keys]]\nkey = \"an administrator's key\"\ntenant = \"a\"\n\
        [[keys]]\nkey = \"the key of who reads\"\ntenant = \"a\"\naccess = \"read\"\ncollections = [\"notes\"]\n";
    std::fs::write(folder.path().join("membox.toml"), settings).expect("a file");
    let server = Server::start(&data, &[]);
    let (admin, reader) = ("an administrator's key", "the key of who reads");
    for collection in ["notes", "others"] {
        assert_eq!(ask(&server, admin, "PUT", &format!("/v1/collections/{collection}"), &json!({})).0, 201);
    }
    let recall = |collection: &str| {
        ask(&server, reader, "POST", &format!("/v1/collections/{collection}/recall"), &json!({"query": "keys"}))
    };
    assert_eq!(recall("notes").0, 200);
    let (status, refused) = recall("others");
    assert!(status == 403 && refused["detail"].as_str().is_some_and(|detail| detail.contains("collections")));
    let (status, refused) = ask(&server, reader, "DELETE", "/v1/collections/notes", &Value::Null);
    assert!(status == 403 && refused["detail"].as_str().is_some_and(|detail| detail.contains("\"admin\"")));
    server.stop();
    let wrong = settings.replace("\"read\"", "\"root\"");
    std::fs::write(folder.path().join("membox.toml"), wrong).expect("a file");
    assert!(Server::try_start(&data, &[], &[]).is_none());
}
