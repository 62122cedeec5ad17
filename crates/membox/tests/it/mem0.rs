//! mem0's routes, as its clients say them. The client itself is run by `make test-clients`.

use crate::common::{Server, data_with_model, post};
use serde_json::{Value, json};

fn started() -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    (folder, server)
}

fn add(server: &Server, owner: Value, texts: &[&str]) -> Vec<String> {
    let messages: Vec<Value> = texts.iter().map(|text| json!({"role": "user", "content": text})).collect();
    let mut request = json!({"messages": messages, "infer": false});
    request.as_object_mut().expect("an object").extend(owner.as_object().cloned().unwrap_or_default());
    let answer = post(server, "/v3/memories/add/", &request);
    let ids = answer["results"].as_array().expect("results").iter();
    ids.map(|result| result["id"].as_str().expect("an id").to_owned()).collect()
}

fn texts(answer: &Value) -> Vec<&str> {
    let results = answer["results"].as_array().expect("results");
    results.iter().map(|memory| memory["memory"].as_str().expect("a memory")).collect()
}

#[test]
fn before_anything_is_written_there_is_nothing() {
    let (_folder, server) = started();
    let (status, ping) = server.call("GET", "/v1/ping/", &Value::Null);
    assert_eq!((status, &ping["status"], &ping["user_email"]), (200, &json!("ok"), &Value::Null));
    assert!(texts(&post(&server, "/v3/memories/search/", &json!({"query": "tea"}))).is_empty());
    assert_eq!(post(&server, "/v3/memories/", &json!({}))["count"], 0);
    assert_eq!(server.call("GET", "/v1/entities/", &Value::Null).1["results"], json!([]));
    assert_eq!(server.call("GET", "/v1/memories/x/", &Value::Null).0, 404);
    assert_eq!(server.call("DELETE", "/v1/memories/x/", &Value::Null).0, 404);
    assert_eq!(post(&server, "/v1/feedback/", &json!({"memory_id": "x", "feedback": "POSITIVE"}))["id"], "x");
    server.stop();
}

#[test]
fn memories_are_added_found_listed_changed_and_deleted() {
    let (_folder, server) = started();
    let house = json!({"user_id": "alex", "agent_id": "chef", "metadata": {"topic": "house", "n": 1}});
    let ids = add(&server, house, &["The spare key is under the blue pot.", "The boiler is from 2019."]);
    add(&server, json!({"filters": {"user_id": "bo"}}), &["Bo plays chess."]);

    let search =
        |filters: Value| post(&server, "/v3/memories/search/", &json!({"query": "spare key", "filters": filters}));
    let found = search(json!({"user_id": "alex"}));
    assert_eq!(texts(&found)[0], "The spare key is under the blue pot.");
    let first = &found["results"][0];
    assert_eq!(
        (&first["user_id"], &first["agent_id"], &first["run_id"]),
        (&json!("alex"), &json!("chef"), &Value::Null)
    );
    assert_eq!(first["metadata"], json!({"topic": "house", "n": 1}));
    assert!(first["score"].as_f64().is_some_and(|score| score > 0.0 && score <= 1.0), "{first}");
    assert_eq!(texts(&search(json!({"user_id": "bo"}))), ["Bo plays chess."]);
    let nested =
        json!({"AND": [{"user_id": "alex"}, {"OR": [{"metadata": {"topic": "house"}}, {"metadata": {"n": 9}}]}]});
    assert_eq!(texts(&search(nested)).len(), 2);
    assert!(texts(&search(json!({"user_id": "nobody"}))).is_empty());

    let pages: Vec<Value> = (1..=2)
        .map(|page| {
            post(&server, &format!("/v3/memories/?page={page}&page_size=2"), &json!({"filters": {"user_id": "*"}}))
        })
        .collect();
    assert_eq!((pages[0]["count"].clone(), texts(&pages[0]).len(), texts(&pages[1]).len()), (json!(3), 2, 1));
    assert_eq!(pages[0]["next"], "/v3/memories/?page=2&page_size=2");
    assert_eq!((&pages[1]["next"], &pages[1]["previous"]), (&Value::Null, &json!("/v3/memories/?page=1&page_size=2")));

    let far = post(&server, "/v3/memories/?page=18446744073709552&page_size=1000", &json!({}));
    assert_eq!((texts(&far).len(), &far["next"]), (0, &Value::Null));

    let one = format!("/v1/memories/{}/", ids[0]);
    assert_eq!(server.call("PUT", &one, &json!({"text": "The spare key is gone."})).0, 200);
    let batch = json!({"memories": [{"memory_id": ids[0], "text": "The spare key is back.", "metadata": {"n": null}}]});
    assert_eq!(server.call("PUT", "/v1/batch/", &batch).0, 200);
    let (_, changed) = server.call("GET", &one, &Value::Null);
    assert_eq!(
        (&changed["memory"], &changed["metadata"]),
        (&json!("The spare key is back."), &json!({"topic": "house"}))
    );
    let (_, history) = server.call("GET", &format!("{one}history/"), &Value::Null);
    let said: Vec<_> = history.as_array().expect("a list").iter().map(|c| (&c["event"], &c["old_memory"])).collect();
    let (add_event, update) = (json!("ADD"), json!("UPDATE"));
    let (first, second) = (json!("The spare key is under the blue pot."), json!("The spare key is gone."));
    assert_eq!(said, [(&add_event, &Value::Null), (&update, &first), (&update, &second)]);

    let (_, entities) = server.call("GET", "/v1/entities/", &Value::Null);
    let named: Vec<_> =
        entities["results"].as_array().expect("a list").iter().map(|e| (&e["type"], &e["name"])).collect();
    assert_eq!(entities["count"], 3, "{entities}");
    assert!(named.contains(&(&json!("agent"), &json!("chef"))) && named.contains(&(&json!("user"), &json!("bo"))));

    let liked = post(&server, "/v1/feedback/", &json!({"memory_id": ids[1], "feedback": "POSITIVE"}));
    assert_eq!(liked["importance"], 0.7);
    let export = post(&server, "/v1/exports/", &json!({"schema": "{}", "filters": {"user_id": "alex"}}));
    let exported = post(&server, "/v1/exports/get/", &json!({"memory_export_id": export["id"]}));
    assert_eq!(texts(&exported).len(), 2);
    assert_eq!(post(&server, "/v1/summary/", &json!({"filters": {"user_id": "bo"}}))["summary"], "Bo plays chess.");
    assert_eq!(server.call("GET", "/v2/entities/user/alex/profile/", &Value::Null).1["user"], "alex");

    let gone = json!({"memories": [{"memory_id": ids[1]}]});
    assert_eq!(server.call("DELETE", "/v1/batch/", &gone).0, 200);
    assert_eq!(server.call("DELETE", "/v1/memories/", &Value::Null).0, 400, "whose?");
    assert_eq!(server.call("DELETE", "/v1/memories/?user_id=alex", &Value::Null).0, 200);
    assert_eq!(server.call("DELETE", "/v2/entities/user/bo/", &Value::Null).0, 200);
    assert_eq!(post(&server, "/v3/memories/", &json!({}))["count"], 0);
    server.stop();
}

#[test]
fn what_is_said_becomes_memories_of_whom_it_is_about() {
    let (_folder, server) = started();
    let said = json!({"messages": [
        {"role": "user", "content": "I'm Alex. I am vegetarian and allergic to nuts."},
        {"role": "assistant", "content": "Noted."}], "user_id": "alex", "run_id": "r1", "metadata": {"n": 1}});
    let made = post(&server, "/v3/memories/add/", &said);
    assert!(made["results"].as_array().is_some_and(|made| !made.is_empty()), "{made}");
    let found =
        post(&server, "/v3/memories/search/", &json!({"query": "what may Alex eat?", "filters": {"run_id": "r1"}}));
    assert!(texts(&found)[0].contains("nuts"), "{found}");
    assert_eq!((&found["results"][0]["run_id"], &found["results"][0]["metadata"]["n"]), (&json!("r1"), &json!(1)));
    let all = post(&server, "/v3/memories/", &json!({"filters": {"user_id": "alex"}}));
    assert_eq!(all["count"], made["results"].as_array().map_or(0, Vec::len), "messages are no memories: {all}");
    server.stop();
}

#[test]
fn what_is_not_done_here_is_refused_by_its_name() {
    let (_folder, server) = started();
    let big = br#"{"query": "x", "filters": {"metadata": {"n": 123456789012345678901234567890}}}"#.to_vec();
    let (status, _, text) = server.raw("POST", "/v3/memories/search/", &[("content-type", "application/json")], big);
    assert!((400..500).contains(&status) && text.contains("/filters/metadata/n"), "{status} {text}");
    let messages = json!([{"role": "user", "content": "I moved."}]);
    for (path, body, status, pointer) in [
        ("/v3/memories/add/", json!({"messages": messages}), 400, "/user_id"),
        ("/v3/memories/add/", json!({"messages": [], "user_id": "a"}), 400, "/messages"),
        (
            "/v3/memories/add/",
            json!({"messages": messages, "user_id": "a", "custom_instructions": "only facts"}),
            422,
            "/custom_instructions",
        ),
        (
            "/v3/memories/add/",
            json!({"messages": messages, "user_id": "a", "expiration_date": "soon"}),
            400,
            "/expiration_date",
        ),
        ("/v3/memories/search/", json!({"query": "x", "top_k": 0}), 400, "/top_k"),
        (
            "/v3/memories/search/",
            json!({"query": "x", "filters": {"user_id": {"like": "a"}}}),
            400,
            "/filters/user_id/like",
        ),
        ("/v3/memories/?page=0", json!({}), 400, "/page"),
        ("/memories", json!({"messages": messages, "user_id": "a", "prompt": "only facts"}), 422, "/prompt"),
        ("/search", json!({"query": "x", "top_k": 0}), 400, "/top_k"),
        ("/v1/exports/", json!({"schema": {"properties": {"name": {}}}}), 422, "/schema"),
        ("/v1/exports/get/", json!({"memory_export_id": "?"}), 400, "/memory_export_id"),
    ] {
        let (found, problem) = server.call("POST", path, &body);
        assert_eq!((found, &problem["errors"][0]["pointer"]), (status, &json!(pointer)), "{path} {body}: {problem}");
    }
    server.stop();
}

#[test]
fn a_batch_of_changes_is_made_as_a_whole_or_not_at_all() {
    let (_folder, server) = started();
    let ids = add(&server, json!({"user_id": "alex"}), &["One.", "Two."]);
    let listed = || post(&server, "/v3/memories/", &json!({}))["results"].clone();
    let before = listed();
    let change = |id: &str, text: &str| json!({"memory_id": id, "text": text});
    for (second, status, pointer) in [
        (json!({"memory_id": ids[1]}), 400, json!("/memories/1")),
        (json!({"memory_id": ids[1], "text": ""}), 400, json!("/memories/1/text")),
        (json!({"memory_id": ids[1], "expiration_date": "soon"}), 400, json!("/memories/1/expiration_date")),
        (change(&ids[0], "Three."), 400, json!("/memories/1/memory_id")),
        (change("none", "Three."), 404, Value::Null),
    ] {
        let batch = json!({"memories": [change(&ids[0], "First."), second]});
        let (found, problem) = server.call("PUT", "/v1/batch/", &batch);
        assert_eq!((found, &problem["errors"][0]["pointer"]), (status, &pointer), "{batch}: {problem}");
        assert_eq!(listed(), before, "{batch}");
    }
    let batch = json!({"memories": [change(&ids[0], "First."), change(&ids[1], "Second.")]});
    assert_eq!(server.call("PUT", "/v1/batch/", &batch).1["message"], "Successfully updated 2 memories");
    for (id, old) in ids.iter().zip(["One.", "Two."]) {
        let (_, history) = server.call("GET", &format!("/v1/memories/{id}/history/"), &Value::Null);
        assert_eq!(history[1]["old_memory"], old, "{history}");
    }
    server.stop();
}

#[test]
fn errors_are_in_the_type_that_its_clients_read_and_detail_names_the_field() {
    let (_folder, server) = started();
    let json_type = [("content-type", "application/json")];
    let (status, headers, text) = server.raw("POST", "/v3/memories/search/", &json_type, b"{\"query\": \"\"}".to_vec());
    assert!(headers.contains(&("content-type".to_owned(), "application/json".to_owned())), "{headers:?}");
    let problem: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((status, &problem["detail"]), (400, &json!("query: the question is empty")));
    let (status, headers, _) = server.raw("DELETE", "/v1/memories/x/", &[], Vec::new());
    assert_eq!(status, 404);
    assert!(headers.contains(&("content-type".to_owned(), "application/json".to_owned())), "{headers:?}");
    server.stop();
}

#[test]
fn its_own_servers_routes_have_the_same_memories() {
    let (_folder, server) = started();
    let call = |method: &str, path: &str, body: Value| {
        let (status, answer) = server.call(method, path, &body);
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    };
    assert_eq!(call("GET", "/memories", Value::Null), json!({"results": []}));
    let said = json!({"messages": [{"role": "user", "content": "The spare key is under the pot."}], "user_id": "alex",
        "infer": false, "metadata": {"n": 1}, "memory_type": null});
    let id = call("POST", "/memories", said)["results"][0]["id"].as_str().expect("an id").to_owned();
    let inferred = json!({"messages": [{"role": "user", "content": "I am Bo and I play chess."}], "user_id": "bo",
        "infer": null});
    assert!(!texts(&call("POST", "/memories", inferred)).is_empty());
    let one = format!("/memories/{id}");
    assert_eq!(call("GET", &one, Value::Null)["metadata"], json!({"n": 1}));
    assert_eq!(texts(&call("GET", "/memories?user_id=alex&show_expired=false", Value::Null)).len(), 1);
    assert_eq!(texts(&call("GET", "/memories?top_k=1", Value::Null)).len(), 1);
    let found = call("POST", "/search", json!({"query": "key", "filters": {"user_id": "alex"}, "top_k": 5}));
    assert_eq!(texts(&found), ["The spare key is under the pot."]);
    let changed = call("PUT", &one, json!({"text": "The spare key is gone."}));
    assert_eq!(changed, json!({"message": "Memory updated successfully!"}));
    let history = call("GET", &format!("{one}/history"), Value::Null);
    assert_eq!((&history[1]["event"], history.as_array().map(Vec::len)), (&json!("UPDATE"), Some(2)));
    assert_eq!(post(&server, "/v3/memories/", &json!({"filters": {"user_id": "alex"}}))["count"], 1);
    call("DELETE", &one, Value::Null);
    assert_eq!(server.call("GET", &one, &Value::Null).0, 404);
    assert_eq!(server.call("DELETE", &one, &Value::Null).0, 404);
    assert_eq!(server.call("DELETE", "/memories", &Value::Null).0, 400, "whose?");
    call("DELETE", "/memories?user_id=nobody", Value::Null);
    assert!(!texts(&call("GET", "/memories", Value::Null)).is_empty());
    assert_eq!(call("POST", "/reset", Value::Null), json!({"message": "All memories reset"}));
    assert!(texts(&call("GET", "/memories", Value::Null)).is_empty());
    let (status, problem) = server.call("POST", "/memories", &json!({"messages": [{"content": "x"}]}));
    assert_eq!((status, &problem["errors"][0]["pointer"]), (400, &json!("/user_id")), "{problem}");
    server.stop();
}
