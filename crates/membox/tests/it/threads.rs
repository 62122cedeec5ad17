//! Threads over HTTP, as an agent framework's checkpointer uses them: listed, cut down, copied, and redacted as ever.

use crate::common::{Server, data_with_model};
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
    assert_eq!(ids(&list(&format!("before={}&limit=1", id(2)))), [id(1)]);
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
