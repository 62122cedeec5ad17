use crate::{ApiKey, KeyFile, Server, ServerConfig};
use axum::body::{Body, to_bytes};
use axum::http::Request;
use membox_api::NewApiKey;
use membox_memory::{MemoryBox, MemoryConfig, Models};
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;

struct Running {
    server: Server,
    file: KeyFile,
    _folder: tempfile::TempDir,
}

fn new(name: &str) -> NewApiKey {
    NewApiKey { name: name.to_owned(), ..NewApiKey::default() }
}

impl Running {
    fn start(keys: Vec<ApiKey>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let memory = MemoryBox::open(&MemoryConfig::new(folder.path()), Models::default()).expect("a box");
        let file = KeyFile::new(folder.path().join("api-keys.json"));
        let config = ServerConfig { keys, key_file: Some(file.clone()), ..ServerConfig::default() };
        Self { server: Server::new(Arc::new(memory), config).expect("a server"), file, _folder: folder }
    }

    /// What the clock would do.
    fn look(&self) {
        let state = &self.server.state;
        state.managed.as_ref().expect("a file").look(&state.memory);
    }

    async fn ask(&self, key: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {key}"));
        let request = request.header("content-type", "application/json").header("host", "127.0.0.1:8420");
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let response = self.server.router.clone().oneshot(request.body(body).expect("a request")).await;
        let response = response.expect("an answer");
        let status = response.status().as_u16();
        let text = to_bytes(response.into_body(), 8 << 20).await.expect("a body");
        let text = String::from_utf8_lossy(&text).into_owned();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn status(&self, key: &str) -> u16 {
        self.ask(key, "GET", "/v1/collections", Value::Null).await.0
    }

    /// Actors, actions and subjects of the audit log.
    async fn audit(&self, key: &str) -> Vec<[String; 3]> {
        let (status, page) = self.ask(key, "GET", "/v1/audit", Value::Null).await;
        assert_eq!(status, 200, "{page}");
        let entries = page["entries"].as_array().expect("entries").iter();
        let field = |entry: &Value, name: &str| entry[name].as_str().expect("a text").to_owned();
        entries.map(|entry| ["actor", "action", "subject"].map(|name| field(entry, name))).collect()
    }
}

#[tokio::test]
async fn administrators_make_list_and_revoke_keys_of_their_tenant_alone() {
    let running = Running::start(vec![ApiKey::new("alpha", "a"), ApiKey::new("beta", "b")]);
    let wanted = json!({"name": "assistant", "access": "append", "users": ["lena"], "requests_per_second": 100,
        "expires_at": "2100-01-01T00:00:00Z"});
    let (status, made) = running.ask("alpha", "POST", "/v1/keys", wanted).await;
    assert_eq!(status, 201, "{made}");
    let (key, id) = (made["key"].as_str().expect("a key"), made["id"].as_str().expect("an id"));
    assert!(key.starts_with("mbx_"));
    assert_eq!((&made["tenant"], &made["users"], &made["managed"]), (&json!("a"), &json!(["lena"]), &json!(true)));
    let (status, refused) = running.ask(key, "GET", "/v1/tenant", Value::Null).await;
    assert!(status == 403 && refused["detail"].as_str().is_some_and(|d| d.contains("users")), "it holds: {refused}");
    let (_, list) = running.ask("alpha", "GET", "/v1/keys", Value::Null).await;
    assert!(!list.to_string().contains(key), "{list}");
    let ids: Vec<&Value> = list["keys"].as_array().expect("keys").iter().map(|key| &key["id"]).collect();
    assert!(ids.len() == 2 && ids[1] == id, "{list}");
    let (_, others) = running.ask("beta", "GET", "/v1/keys", Value::Null).await;
    assert_eq!(others["keys"].as_array().map(Vec::len), Some(1), "{others}");
    assert_eq!(running.ask(key, "GET", "/v1/keys", Value::Null).await.0, 403);
    let path = format!("/v1/keys/{id}");
    assert_eq!(running.ask("beta", "DELETE", &path, Value::Null).await.0, 404, "another tenant's");
    assert_eq!(running.ask("alpha", "DELETE", &path, Value::Null).await.0, 204);
    assert_eq!(running.status(key).await, 401);
    let of_settings = format!("/v1/keys/{}", ids[0].as_str().expect("an id"));
    assert_eq!(running.ask("alpha", "DELETE", &of_settings, Value::Null).await.0, 409);
    let subject = format!("key:{id}");
    let actor = format!("key:{}", ids[0].as_str().expect("an id"));
    let entry = |action: &str| [actor.clone(), action.to_owned(), subject.clone()];
    assert_eq!(running.audit("alpha").await, [entry("key created"), entry("key revoked")]);
}

#[tokio::test]
async fn a_key_makes_none_that_outlives_it_or_asks_more_often() {
    let end = membox_memory::time_millis("2100-01-01T00:00:00Z").expect("a time");
    let running = Running::start(vec![ApiKey::new("alpha", "a").with_rate(50.0).with_expiry(end)]);
    for (field, value) in [("requests_per_second", json!(51)), ("expires_at", json!("2100-01-01T00:00:01Z"))] {
        let (status, refused) = running.ask("alpha", "POST", "/v1/keys", json!({"name": "n", field: value})).await;
        assert_eq!((status, &refused["errors"][0]["pointer"]), (403, &json!(format!("/{field}"))), "{refused}");
    }
    let (status, made) = running.ask("alpha", "POST", "/v1/keys", json!({"name": "n"})).await;
    assert_eq!((status, &made["requests_per_second"]), (201, &json!(50.0)), "{made}");
    assert_eq!(made["expires_at"].as_str().and_then(membox_memory::time_millis), Some(end), "{made}");
    let (status, refused) = running.ask("alpha", "POST", "/v1/keys", json!({"name": "n", "users": []})).await;
    assert_eq!((status, &refused["errors"][0]["pointer"]), (400, &json!("/users")), "{refused}");
}

#[tokio::test]
async fn what_the_command_changes_is_taken_up_and_noted() {
    let running = Running::start(Vec::new());
    assert_eq!(running.status("anything").await, 200, "a box without keys is open");
    let (status, refused) = running.ask("", "POST", "/v1/keys", json!({"name": "n"})).await;
    assert!(status == 409 && refused.to_string().contains("membox keys create"), "{refused}");
    let (first, made) = running.file.create("default", &new("first")).expect("a key");
    let (second, _) = running.file.create("default", &new("second")).expect("a key");
    running.look();
    assert_eq!([running.status("anything").await, running.status(&first).await], [401, 200], "it is closed");
    running.file.revoke(&made.id, None, |_| Ok(())).expect("revoked");
    running.look();
    assert_eq!([running.status(&first).await, running.status(&second).await], [401, 200]);
    let said = running.audit(&second).await;
    let actions: Vec<&str> =
        said.iter().map(|[actor, action, _]| (actor == "command").then_some(action.as_str()).expect("it")).collect();
    assert_eq!(actions, ["key created", "key created", "key revoked"]);
    let (status, refused) =
        running.ask(&second, "DELETE", &format!("/v1/keys/{}", &said[1][2][4..]), Value::Null).await;
    assert!(status == 409 && refused.to_string().contains("last key"), "{refused}");
}

#[tokio::test]
async fn no_change_of_the_file_opens_a_box_that_was_closed() {
    let running = Running::start(Vec::new());
    let (key, made) = running.file.create("default", &new("first")).expect("a key");
    running.look();
    let kept = std::fs::read_to_string(running.file.path()).expect("the file");
    for broken in ["", "{}", "{\"version\": 9, \"keys\": []}", &kept[..kept.len() / 2]] {
        std::fs::write(running.file.path(), broken).expect("a file");
        running.look();
        assert_eq!([running.status("wrong").await, running.status(&key).await], [401, 200], "{broken:?}");
    }
    std::fs::remove_file(running.file.path()).expect("the file");
    running.look();
    assert_eq!([running.status("wrong").await, running.status(&key).await], [401, 200]);
    std::fs::write(running.file.path(), &kept).expect("a file");
    std::fs::set_permissions(running.file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("rights");
    running.file.revoke(&made.id, None, |_| Ok(())).expect("revoked");
    running.look();
    assert_eq!([running.status("wrong").await, running.status(&key).await], [401, 401], "nobody may ask");
    assert!(running.server.keys().replace(Vec::new(), None).is_ok(), "the settings never had any");
    assert_eq!(running.status("wrong").await, 401);
}

#[test]
fn a_key_of_the_settings_and_of_the_file_stops_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = MemoryBox::open(&MemoryConfig::new(folder.path()), Models::default()).expect("a box");
    let file = KeyFile::new(folder.path().join("api-keys.json"));
    let (key, made) = file.create("a", &new("first")).expect("a key");
    let keys = vec![ApiKey::new(&key, "a")];
    let config = ServerConfig { keys, key_file: Some(file), ..ServerConfig::default() };
    let refused = Server::new(Arc::new(memory), config).map(drop).expect_err("the same key").to_string();
    assert!(refused.contains(&made.id) && !refused.contains(&key), "{refused}");
}
