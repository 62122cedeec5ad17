//! Payloads come back word for word, over HTTP, from an export and from a sealed box, and are in no index.

use crate::common::{Server, data_with_model, membox, post};
use serde_json::{Value, json};

/// JSON that no parser gives back as it was: numbers of any size, keys in their order and twice, blanks, escapes.
const ODD: &str =
    r#"{ "b":1e999, "a" : 123456789012345678901234567890,"b":0.10000000000000000000001,"\u0061":"\/ é 🗝" }"#;

fn send(server: &Server, method: &str, path: &str, body: &str) -> (u16, String) {
    let headers = [("content-type", "application/json")];
    let (status, _, text) = server.raw(method, path, &headers, body.as_bytes().to_vec());
    (status, text)
}

fn get(server: &Server, path: &str) -> String {
    let (status, text) = send(server, "GET", path, "");
    assert_eq!(status, 200, "{path}: {text}");
    text
}

/// Writes records and messages with odd payloads, and finds them everywhere.
fn write_and_find(server: &Server) {
    assert_eq!(server.call("PUT", "/v1/collections/user-lena", &json!({})).0, 201);
    let records = format!(
        r#"{{"records": [{{"id": "a", "text": "the spare key", "user": "lena", "payload": {ODD}}},
            {{"id": "empty", "user": "lena", "payload": [1]}},
            {{"id": "none", "text": "nothing beside it", "payload": null}}]}}"#
    );
    let (status, text) = send(server, "POST", "/v1/collections/user-lena/records", &records);
    assert_eq!(status, 200, "{text}");
    let messages = format!(
        r#"{{"user": "lena", "messages": [{{"id": "m", "role": "user", "content": "hello", "payload": {ODD}}},
            {{"id": "n", "role": "assistant", "payload": {ODD}}}]}}"#
    );
    assert_eq!(send(server, "POST", "/v1/sessions/s/messages", &messages).0, 200);
    // Said again, it is said before; something else by the same id is refused.
    assert_eq!(send(server, "POST", "/v1/sessions/s/messages", &messages).0, 200);
    let other = messages.replace("1e999", "1e998");
    assert_eq!(send(server, "POST", "/v1/sessions/s/messages", &other).0, 409);

    let member = format!(r#""payload":{ODD}"#);
    assert!(get(server, "/v1/collections/user-lena/records/a").contains(&member));
    assert!(!get(server, "/v1/collections/user-lena/records").contains("payload"));
    assert!(get(server, "/v1/collections/user-lena/records?payload=true").contains(&member));
    let by_id = send(server, "POST", "/v1/collections/user-lena/records:get", r#"{"ids": ["a"]}"#);
    assert!(by_id.1.contains(&member), "{by_id:?}");
    assert_eq!(get(server, "/v1/sessions/s/messages").matches(&member).count(), 2);
    assert!(get(server, "/v1/sessions/s/messages/n").contains(&member));
    let asked = r#"{"query": "spare key", "k": 1, "include": ["text", "payload"]}"#;
    assert!(send(server, "POST", "/v1/collections/user-lena/recall", asked).1.contains(&member));
    let plain = post(server, "/v1/collections/user-lena/recall", &json!({"query": "spare key", "k": 9}));
    assert!(!plain.to_string().contains("payload"), "{plain}");
    let hidden = json!({"query": "123456789012345678901234567890", "mode": "text"});
    assert_eq!(post(server, "/v1/collections/user-lena/recall", &hidden)["hits"], json!([]), "it is in no index");

    // What a patch leaves out stays, and null takes it away.
    let patch = |id: &str, body: &str| {
        let (status, text) = send(server, "PATCH", &format!("/v1/collections/user-lena/records/{id}"), body);
        assert_eq!(status, 200, "{text}");
    };
    patch("a", r#"{"metadata": {"n": 1}}"#);
    assert!(get(server, "/v1/collections/user-lena/records/a").contains(&member));
    patch("none", &format!(r#"{{"payload": {ODD}}}"#));
    assert!(get(server, "/v1/collections/user-lena/records/none").contains(&member));
    patch("none", r#"{"payload": null}"#);
    assert!(!get(server, "/v1/collections/user-lena/records/none").contains("payload"));
    // What said nothing is like nothing, until it says something.
    patch("empty", r#"{"text": "the boat is in the shed"}"#);
    let boat = json!({"query": "where is the boat?", "k": 1, "mode": "vector"});
    let found = post(server, "/v1/collections/user-lena/recall", &boat);
    assert_eq!(found["hits"][0]["id"], "empty", "{found}");
}

#[test]
fn a_payload_is_given_back_word_for_word() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    write_and_find(&server);
    let large = json!("x".repeat(1 << 20));
    let (status, answer) = server.call(
        "POST",
        "/v1/collections/user-lena/records",
        &json!({"records": [{"text": "x"}, {"text": "y", "payload": large}]}),
    );
    assert_eq!((status, &answer["errors"][0]["pointer"]), (422, &json!("/records/1/payload")));
    let (status, answer) = server.call("POST", "/v1/collections/user-lena/records", &json!({"records": [{"id": "x"}]}));
    assert_eq!((status, &answer["errors"][0]["pointer"]), (400, &json!("/records/0/text")));
    // Metadata that is called so is held to what comes back.
    let metadata = r#"{"records": [{"text": "x", "metadata": {"payload": 1e999}}]}"#;
    assert_eq!(send(&server, "POST", "/v1/collections/user-lena/records", metadata).0, 400);

    // An export brings it to another box.
    let archive = folder.path().join("lena.jsonl");
    let text = get(&server, "/v1/users/lena/export");
    assert_eq!(text.matches(ODD).count(), 3, "{text}");
    std::fs::write(&archive, text).expect("a file");
    server.stop();
    let other = tempfile::tempdir().expect("a folder");
    let data = data_with_model(other.path());
    let server = Server::start(&data, &[]);
    let done = membox(&data).arg("import").arg(&archive).env("MEMBOX_URL", &server.url).output().expect("the binary");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let member = format!(r#""payload":{ODD}"#);
    assert!(get(&server, "/v1/collections/user-lena/records/a").contains(&member));
    assert_eq!(get(&server, "/v1/sessions/s/messages").matches(&member).count(), 2);
    server.stop();
}

#[test]
fn a_payload_is_sealed_and_redacted_as_everything_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let made = membox(&data).args(["keys", "new"]).arg(folder.path().join("master")).output().expect("the binary");
    assert!(made.status.success());
    std::fs::write(folder.path().join("membox.toml"), "master_key_file = \"master\"\n").expect("a file");
    let server = Server::start(&data, &[]);
    write_and_find(&server);
    server.job("/v1/tenant:rotate", &Value::Null);
    assert!(get(&server, "/v1/collections/user-lena/records/a").contains(ODD));
    let full = json!({"redaction": {"mode": "full", "kinds": ["email"]}});
    assert_eq!(server.call("PUT", "/v1/collections/careful", &full).0, 201);
    // Where nothing is found, it stays as it was.
    let harmless = r#"{ "b": 12345678901234567890123,"a":1 }"#;
    let records = format!(
        r#"{{"records": [{{"id": "a", "text": "x", "payload": {harmless}}},
            {{"id": "b", "text": "x", "payload": {{"to": "lena@m.example.com"}}}}]}}"#
    );
    assert_eq!(send(&server, "POST", "/v1/collections/careful/records", &records).0, 200);
    assert!(get(&server, "/v1/collections/careful/records/a").contains(harmless));
    assert!(get(&server, "/v1/collections/careful/records/b").contains(r#""payload":{"to":"[EMAIL_REDACTED]"}"#));
    // What cannot be looked through is not taken.
    let odd = format!(r#"{{"records": [{{"text": "x", "payload": {ODD}}}]}}"#);
    let (status, text) = send(&server, "POST", "/v1/collections/careful/records", &odd);
    assert!(status == 422 && text.contains("/records/0/payload"), "{status} {text}");
    server.stop();
}

#[test]
fn a_record_keeps_when_it_was_created_and_says_when_it_was_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    server.call("PUT", "/v1/collections/c", &json!({}));
    let write = |record: Value| post(&server, "/v1/collections/c/records", &json!({"records": [record]}));
    let times = || {
        let record = server.call("GET", "/v1/collections/c/records/a", &Value::Null).1;
        [&record["created_at"], &record["updated_at"]].map(|time| time.as_str().unwrap_or_default().to_owned())
    };
    write(json!({"id": "a", "text": "one", "created_at": "2024-05-20T00:44:00Z"}));
    let [created, first] = times();
    assert!(created.starts_with("2024-05-20T00:44:00") && first > created, "{created} {first}");
    std::thread::sleep(std::time::Duration::from_millis(5));
    write(json!({"id": "a", "text": "two"}));
    let [still, second] = times();
    assert!(still == created && second > first, "{still} {second}");
    write(json!({"id": "a", "text": "three", "created_at": "2025-05-20T00:44:00Z"}));
    assert!(times()[0].starts_with("2025-05-20"));
    std::thread::sleep(std::time::Duration::from_millis(5));
    server.call("PATCH", "/v1/collections/c/records/a", &json!({"importance": 0.5}));
    assert!(times()[0].starts_with("2025-05-20") && times()[1] > second);
    server.stop();
}
