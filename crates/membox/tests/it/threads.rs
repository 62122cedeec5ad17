//! Threads over HTTP, as an agent framework's checkpointer uses them: listed, cut down, copied, and redacted as ever.

use crate::common::{Server, data_with_model, files_with, membox};
use serde_json::{Value, json};

fn call(server: &Server, method: &str, path: &str, body: &Value) -> Value {
    let (status, answer) = server.call(method, path, body);
    assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
    answer
}

fn get(server: &Server, path: &str) -> Value {
    call(server, "GET", path, &Value::Null)
}

fn refused(server: &Server, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let (status, answer) = server.call(method, path, body);
    (status, answer["errors"][0]["pointer"].clone())
}

/// An id as LangGraph makes them, of the n-th moment.
fn id(n: usize) -> String {
    format!("1f0a2b3c-0000-6aaa-8000-{n:012x}")
}

fn ids(page: &Value) -> Vec<&str> {
    page["checkpoints"].as_array().expect("a page").iter().filter_map(|found| found["id"].as_str()).collect()
}

#[test]
fn a_checkpointer_finds_every_call_that_it_needs() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    for (thread, namespace, count) in [("one", "", 4), ("one", "child%3A1", 2), ("two", "", 1)] {
        for n in 0..count {
            let path = format!("/v1/threads/{thread}/checkpoints/{}?namespace={namespace}", id(n));
            let metadata = json!({"source": if n == 0 { "input" } else { "loop" }, "step": n});
            call(&server, "PUT", &path, &json!({"state": n, "metadata": metadata, "parent": n.checked_sub(1).map(id)}));
        }
    }
    call(&server, "PUT", &format!("/v1/threads/one/checkpoints/{}/writes/t", id(3)), &json!({"writes": [["out", 1]]}));

    let threads = get(&server, "/v1/threads?limit=1");
    assert_eq!(threads["threads"], json!([{"thread": "one", "checkpoints": 6, "namespaces": 2}]));
    let next = get(&server, &format!("/v1/threads?cursor={}", threads["next"].as_str().expect("a cursor")));
    assert_eq!(next, json!({"threads": [{"thread": "two", "checkpoints": 1, "namespaces": 1}]}));
    let namespaces = get(&server, "/v1/threads/one/namespaces");
    let both = json!([{"namespace": "", "checkpoints": 4}, {"namespace": "child:1", "checkpoints": 2}]);
    assert_eq!(namespaces["namespaces"], both);
    let first = get(&server, "/v1/threads/one/namespaces?limit=1");
    let next = format!("/v1/threads/one/namespaces?cursor={}", first["next"].as_str().expect("a cursor"));
    assert_eq!(get(&server, &next)["namespaces"], json!([both[1]]));
    assert_eq!(refused(&server, "GET", "/v1/threads?cursor=x", &Value::Null), (400, json!("/cursor")));

    let list = |query: &str| get(&server, &format!("/v1/threads/one/checkpoints?{query}"));
    assert_eq!(ids(&list(&format!("before={}", id(2)))), [id(1), id(0)]);
    let page = list(&format!("before={}&limit=1", id(2)));
    assert_eq!(ids(&page), [id(1)]);
    let cursor = page["next"].as_str().expect("a cursor");
    assert_eq!(ids(&list(&format!("before={}&limit=1&cursor={cursor}", id(2)))), [id(0)]);
    let loops = "filter=%7B%22field%22%3A%22metadata.source%22%2C%22eq%22%3A%22loop%22%7D";
    assert_eq!(ids(&list(loops)), [id(3), id(2), id(1)]);
    assert_eq!(ids(&list(&format!("{loops}&before={}", id(3)))), [id(2), id(1)]);
    let all = list("all_namespaces=true");
    assert_eq!(ids(&all).len(), 6);
    assert_eq!((ids(&all)[0], &all["checkpoints"][0]["writes"]), (&*id(3), &json!({"t": [["out", 1]]})));
    let page = list("all_namespaces=true&limit=3");
    let next = list(&format!("all_namespaces=true&limit=3&cursor={}", page["next"].as_str().expect("a cursor")));
    assert_eq!([ids(&page), ids(&next)].concat(), ids(&all));
    for (query, pointer) in [
        ("before=none", "/before"),
        ("filter=1", "/filter"),
        ("filter=%7B%22field%22%3A%22state%22%2C%22eq%22%3A1%7D", "/filter/field"),
        ("all_namespaces=true&namespace=x", "/all_namespaces"),
    ] {
        let path = format!("/v1/threads/one/checkpoints?{query}");
        assert_eq!(refused(&server, "GET", &path, &Value::Null), (400, json!(pointer)), "{query}");
    }

    let copy = |thread: &str, to: &str| {
        let path = format!("/v1/threads/{thread}/checkpoints:copy");
        server.call("POST", &path, &json!({"to": to}))
    };
    assert_eq!(copy("one", "three"), (200, json!({"copied": 6})));
    assert_eq!(copy("one", "three"), (200, json!({"copied": 6})), "a copy can be made again");
    let copied = get(&server, "/v1/threads/three/checkpoints?all_namespaces=true");
    let without_thread = |mut page: Value| {
        let all = page["checkpoints"].as_array_mut().expect("a page").iter_mut();
        all.for_each(|found| found["thread"] = Value::Null);
        // Those of the same id are in the order of their writing.
        page["checkpoints"].as_array_mut().expect("a page").sort_by_key(Value::to_string);
        page
    };
    assert_eq!(without_thread(copied), without_thread(all.clone()));
    assert_eq!((copy("none", "three").0, copy("one", "one").0, copy("one", "").0), (404, 400, 400));

    let prune = "/v1/threads/three/checkpoints:prune";
    assert_eq!(call(&server, "POST", prune, &json!({"keep": 1, "namespace": "child:1"})), json!({"deleted": 1}));
    assert_eq!(call(&server, "POST", prune, &json!({"keep": 1})), json!({"deleted": 3}));
    let left = get(&server, "/v1/threads/three/checkpoints/latest");
    let said = (&left["id"], &left["writes"], &left["parent"]);
    assert_eq!(said, (&json!(id(3)), &json!({"t": [["out", 1]]}), &Value::Null));
    assert_eq!(refused(&server, "POST", prune, &json!({"keep": 0})), (400, json!("/keep")));
    assert_eq!(get(&server, "/v1/threads/one/checkpoints?all_namespaces=true"), all, "the original stays");

    let one = format!("/v1/threads/one/checkpoints/{}", id(3));
    assert_eq!(server.call("DELETE", &one, &Value::Null).0, 204);
    assert_eq!(server.call("DELETE", &one, &Value::Null).0, 404);
    assert_eq!(get(&server, "/v1/threads/one/checkpoints/latest")["id"], id(2));
    let of_child = "/v1/threads/one/checkpoints?namespace=child%3A1";
    assert_eq!(call(&server, "DELETE", of_child, &Value::Null), json!({"deleted": 2}));
    assert_eq!(get(&server, "/v1/threads/one/namespaces")["namespaces"], json!([{"namespace": "", "checkpoints": 3}]));
    let audit = get(&server, "/v1/audit?limit=100");
    let deleted = audit["entries"].as_array().expect("entries").iter().map(|entry| &entry["action"]);
    assert_eq!(deleted.filter(|action| *action == "delete checkpoints").count(), 4);
    server.stop();
}

#[test]
fn a_thread_is_not_copied_to_where_more_is_redacted() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    call(&server, "PUT", "/v1/collections/careful", &json!({"redaction": {"mode": "full", "kinds": ["email"]}}));
    call(&server, "PUT", "/v1/sessions/careful", &json!({"collection": "careful"}));
    call(&server, "PUT", "/v1/threads/t/checkpoints/1", &json!({"state": "a@b.example.com"}));
    let copy = "/v1/threads/t/checkpoints:copy";
    assert_eq!(refused(&server, "POST", copy, &json!({"to": "careful"})), (422, json!("/to")));
    server.stop();
}

#[test]
fn values_of_channels_are_kept_once_as_octets_and_go_with_the_last_checkpoint_that_has_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let octets: Vec<u8> = (0..=127).collect();
    let put_octets = |channel: &str, version: &str| {
        let path = format!("/v1/threads/t/blobs/{channel}/{version}?type=msgpack");
        server.raw("PUT", &path, &[("content-type", "application/octet-stream")], octets.clone()).0
    };
    assert_eq!(put_octets("large", "1"), 204);
    let blob = |channel: &str, version: &str, data: &str| {
        let kind = "json";
        json!({"channel": channel, "version": version, "type": kind, "data": data})
    };
    let put =
        |id: usize, body: &Value| server.call("PUT", &format!("/v1/threads/t/checkpoints/{}", self::id(id)), body);
    let first = json!({"state": 1, "channels": {"large": "1", "said": "1"}, "blobs": [blob("said", "1", "WzFd")]});
    assert_eq!(put(1, &first).1["channels"], first["channels"]);
    let second = json!({"state": 2, "channels": {"large": "1", "said": "2"}, "blobs": [blob("said", "2", "WzJd")]});
    assert_eq!(put(2, &second).0, 200);
    let (status, answer) = put(3, &json!({"state": 3, "channels": {"large": "2"}}));
    assert_eq!((status, &answer["errors"][0]["pointer"]), (422, &json!("/channels/large")));
    let (status, answer) = put(3, &json!({"state": 3, "blobs": [blob("x", "1", "AA=="), blob("y", "1", "?")]}));
    assert_eq!((status, &answer["errors"][0]["pointer"]), (400, &json!("/blobs/1/data")));
    assert_eq!(server.call("GET", "/v1/threads/t/blobs/x/1", &Value::Null).0, 404, "nothing of it is kept");

    let latest = get(&server, "/v1/threads/t/checkpoints/latest");
    assert_eq!((&latest["channels"], &latest["blobs"]), (&second["channels"], &Value::Null));
    let latest = get(&server, "/v1/threads/t/checkpoints/latest?blobs=true");
    let kinds: Vec<&str> =
        latest["blobs"].as_array().expect("blobs").iter().filter_map(|blob| blob["type"].as_str()).collect();
    assert_eq!((kinds, &latest["blobs"][1]["data"]), (vec!["msgpack", "json"], &json!("WzJd")));
    let all = get(&server, "/v1/threads/t/checkpoints?blobs=true");
    assert_eq!(all["checkpoints"][1]["blobs"][1]["data"], "WzFd");
    let (status, headers, _) = server.raw("GET", "/v1/threads/t/blobs/said/2", &[], Vec::new());
    let kind = headers.iter().find(|(name, _)| name == "x-membox-type").map(|(_, value)| value.as_str());
    assert_eq!((status, kind), (200, Some("json")));

    call(&server, "POST", "/v1/threads/t/checkpoints:copy", &json!({"to": "u"}));
    call(&server, "POST", "/v1/threads/t/checkpoints:prune", &json!({"keep": 1}));
    let there = |thread: &str, channel: &str, version: &str| {
        let path = format!("/v1/threads/{thread}/blobs/{channel}/{version}");
        server.raw("GET", &path, &[], Vec::new()).0 == 200
    };
    assert!(there("t", "large", "1") && there("t", "said", "2") && !there("t", "said", "1"));
    assert!(there("u", "large", "1") && there("u", "said", "2") && there("u", "said", "1"));
    // One that no checkpoint has had yet waits for it.
    assert_eq!(put_octets("large", "3"), 204);
    call(&server, "DELETE", &format!("/v1/threads/t/checkpoints/{}", id(2)), &Value::Null);
    assert!(there("t", "large", "3") && !there("t", "large", "1"));
    assert_eq!(put(4, &json!({"state": 4, "channels": {"large": "3"}})).0, 200);
    call(&server, "DELETE", "/v1/threads/u/checkpoints", &Value::Null);
    assert!(!there("u", "large", "1") && there("t", "large", "3"));
    server.stop();
}

#[test]
fn a_value_of_64_mib_is_kept_exported_and_brought_to_another_box() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let made = membox(&data).args(["keys", "new"]).arg(folder.path().join("master")).output().expect("the binary");
    assert!(made.status.success());
    std::fs::write(folder.path().join("membox.toml"), "master_key_file = \"master\"\n").expect("a file");
    let server = Server::start(&data, &[]);
    call(&server, "PUT", "/v1/sessions/t", &json!({"user": "lena"}));
    let value = "Zanzibar".repeat(8 << 20);
    assert_eq!(value.len(), 64 << 20);
    let put = |path: &str, value: &str| {
        server.raw("PUT", path, &[("content-type", "application/octet-stream")], value.as_bytes().to_vec()).0
    };
    assert_eq!(put("/v1/threads/t/blobs/large/1?namespace=n", &value), 204);
    assert_eq!(put("/v1/threads/t/blobs/large/2?namespace=n", &format!("{value}x")), 413);
    call(&server, "PUT", "/v1/threads/t/checkpoints/1?namespace=n", &json!({"state": 1, "channels": {"large": "1"}}));
    assert_eq!(files_with(&data, "Zanzibar"), Vec::<String>::new(), "it is sealed");
    server.job("/v1/tenant:rotate", &Value::Null);
    assert!(server.raw("GET", "/v1/threads/t/blobs/large/1?namespace=n", &[], Vec::new()).2 == value);
    let archive = folder.path().join("lena.jsonl");
    std::fs::write(&archive, server.raw("GET", "/v1/users/lena/export", &[], Vec::new()).2).expect("a file");
    server.job("/v1/users/lena/erase", &json!({}));
    assert_eq!(server.call("GET", "/v1/threads/t/blobs/large/1?namespace=n", &Value::Null).0, 404);
    server.stop();

    let other = tempfile::tempdir().expect("a folder");
    let data = data_with_model(other.path());
    let server = Server::start(&data, &[]);
    let done = membox(&data).arg("import").arg(&archive).env("MEMBOX_URL", &server.url).output().expect("the binary");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(server.raw("GET", "/v1/threads/t/blobs/large/1?namespace=n", &[], Vec::new()).2 == value);
    assert_eq!(get(&server, "/v1/threads/t/checkpoints/1?namespace=n")["channels"], json!({"large": "1"}));
    server.stop();
}
