//! Records by their ids, in an order, counted, and changed many at once.

use crate::common::{Server, data_with_model, post, started};
use serde_json::{Value, json};

fn ids(answer: &Value) -> Vec<&str> {
    answer["records"].as_array().expect("records").iter().filter_map(|record| record["id"].as_str()).collect()
}

fn refused(server: &Server, path: &str, body: &Value) -> (u16, Value) {
    refused_at(server, &format!("c/records{path}"), body)
}

fn refused_at(server: &Server, path: &str, body: &Value) -> (u16, Value) {
    let (status, answer) = server.call("POST", &format!("/v1/collections/{path}"), body);
    (status, answer["errors"][0]["pointer"].clone())
}

fn filled(server: &Server) {
    assert_eq!(server.call("PUT", "/v1/collections/c", &json!({"dimension": 2, "model": null})).0, 201);
    let record = |id: &str, n: Value, tags: Value| {
        let metadata = json!({"n": n, "tags": tags});
        json!({"id": id, "text": id, "vector": [3.0, 4.0], "metadata": metadata, "payload": {"of": id}})
    };
    let records = json!([
        record("a", json!(2), json!(["x", "y"])),
        record("b", json!(10), json!(["y"])),
        record("c", json!("ten"), json!([])),
        record("d", json!(null), json!("y")),
        record("e", json!(2.5), json!(true)),
    ]);
    post(server, "/v1/collections/c/records", &json!({ "records": records }));
}

#[test]
fn records_are_given_by_their_ids_in_the_order_of_these() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    filled(&server);
    let get = |body: Value| post(&server, "/v1/collections/c/records:get", &body);
    let found = get(json!({"ids": ["d", "none", "a", "d"]}));
    assert_eq!((ids(&found), &found["missing"]), (vec!["d", "a", "d"], &json!(["none"])));
    assert_eq!((&found["records"][1]["payload"], &found["records"][1]["vector"]), (&json!({"of": "a"}), &Value::Null));
    let found = get(json!({"ids": ["a"], "with": ["vector"]}));
    let vector: Vec<f64> = serde_json::from_value(found["records"][0]["vector"].clone()).expect("a vector");
    assert!((vector[0] - 0.6).abs() < 1e-3 && (vector[1] - 0.8).abs() < 1e-3, "{vector:?}");
    assert_eq!(found["records"][0]["payload"], Value::Null);
    assert_eq!(refused(&server, ":get", &json!({"ids": []})), (422, json!("/ids")));
    assert_eq!(server.call("POST", "/v1/collections/none/records:get", &json!({"ids": ["a"]})).0, 404);
    server.stop();
}

#[test]
fn records_are_counted_and_so_are_the_values_of_their_fields() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    filled(&server);
    let count = |body: Value| post(&server, "/v1/collections/c/records:count", &body)["count"].clone();
    assert_eq!(
        (count(json!({})), count(json!({"filter": {"field": "metadata.tags", "eq": "y"}}))),
        (json!(5), json!(3))
    );
    let facets = json!({"fields": ["metadata.tags", "metadata.n", "kind"], "limit": 2});
    let found = post(&server, "/v1/collections/c/records:facets", &facets);
    assert_eq!(
        found,
        json!({"count": 5, "facets": [
            {"field": "metadata.tags", "distinct": 3, "missing": 0,
                "values": [{"value": "y", "count": 3}, {"value": "x", "count": 1}]},
            {"field": "metadata.n", "distinct": 4, "missing": 1,
                "values": [{"value": 2, "count": 1}, {"value": 2.5, "count": 1}]},
            {"field": "kind", "distinct": 0, "missing": 5, "values": []}]})
    );
    let some = json!({"fields": ["metadata.tags"], "filter": {"field": "metadata.n", "gt": 2}});
    let found = post(&server, "/v1/collections/c/records:facets", &some);
    assert_eq!(found["facets"][0]["values"], json!([{"value": "y", "count": 1}, {"value": true, "count": 1}]));
    assert_eq!(refused(&server, ":facets", &json!({"fields": ["text"]})), (400, json!("/fields/0")));
    assert_eq!(refused(&server, ":facets", &json!({"fields": []})), (422, json!("/fields")));
    assert_eq!(refused(&server, ":facets", &json!({"fields": ["id"], "limit": 0})), (400, json!("/limit")));
    assert_eq!(refused(&server, ":count", &json!({"filter": {"field": "text"}})), (400, json!("/filter/field")));
    server.stop();
}

#[test]
fn a_list_is_in_the_order_of_a_field_and_goes_on_where_it_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    filled(&server);
    let scroll = |body: Value| post(&server, "/v1/collections/c/records:scroll", &body);
    let by = |direction: &str| json!({"field": "metadata.n", "direction": direction});
    assert_eq!(ids(&scroll(json!({"order_by": by("asc")}))), ["a", "e", "b", "c", "d"]);
    assert_eq!(ids(&scroll(json!({"order_by": by("desc")}))), ["c", "b", "e", "a", "d"]);
    assert_eq!(ids(&scroll(json!({}))), ["a", "b", "c", "d", "e"]);
    let part = scroll(json!({"order_by": by("asc"), "limit": 2, "offset": 1, "with": ["payload"]}));
    assert_eq!((ids(&part), &part["next_offset"], &part["count"]), (vec!["e", "b"], &json!(3), &json!(5)));
    assert_eq!(part["records"][0]["payload"], json!({"of": "e"}));
    let rest = scroll(json!({"order_by": by("asc"), "limit": 2, "offset": 3}));
    assert_eq!((ids(&rest), &rest["next_offset"]), (vec!["c", "d"], &Value::Null));
    assert_eq!(ids(&scroll(json!({"offset": 99}))), Vec::<&str>::new());
    let some = json!({"order_by": by("desc"), "filter": {"field": "metadata.tags", "eq": "y"}});
    assert_eq!(ids(&scroll(some)), ["b", "a", "d"]);
    let wrong = json!({"order_by": {"field": "text"}});
    assert_eq!(refused(&server, ":scroll", &wrong), (400, json!("/order_by/field")));
    assert_eq!(refused(&server, ":scroll", &json!({"limit": 1001})), (400, json!("/limit")));
    server.stop();
}

#[test]
fn many_records_are_changed_all_or_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    filled(&server);
    let patch = json!({"ids": ["b", "none", "a"], "patch": {"metadata": {"n": null, "m": 1}, "payload": [1e2]}});
    let patched = post(&server, "/v1/collections/c/records:patch", &patch);
    assert_eq!(patched, json!({"patched": 2, "missing": ["none"]}));
    let found = post(&server, "/v1/collections/c/records:get", &json!({"ids": ["a", "b", "c"]}));
    for i in 0..2 {
        let record = &found["records"][i];
        assert_eq!((&record["metadata"]["m"], &record["metadata"]["n"]), (&json!(1), &Value::Null));
        assert_eq!((&record["version"], &record["text"]), (&json!(2), &record["id"]));
    }
    assert_eq!(found["records"][2]["version"], 1);
    let large = json!({"ids": ["c", "d"], "patch": {"metadata": {"m": "x".repeat(20_000)}}});
    assert_eq!(refused(&server, ":patch", &large), (422, json!("/patch/metadata")));
    assert_eq!(refused(&server, ":patch", &json!({"ids": ["a", "a"], "patch": {}})), (400, json!("/ids/1")));
    let found = post(&server, "/v1/collections/c/records:get", &json!({"ids": ["c", "d"]}));
    assert!(found["records"].as_array().expect("records").iter().all(|record| record["version"] == 1), "{found}");
    server.stop();
}

#[test]
fn several_recalls_are_answered_as_each_by_itself_and_hits_are_grouped() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    server.call("PUT", "/v1/collections/Notes", &json!({}));
    let record = |n: u32, topic: Value| {
        let text = format!("note {n}: the boat lies by the river");
        json!({"id": n, "text": text, "metadata": {"a": {"topic": topic}}})
    };
    let topics = [json!("boat"), json!("boat"), json!("boat"), json!(1), json!(1), json!(null), json!(null)];
    let records: Vec<Value> = (1..).zip(topics).map(|(n, topic)| record(n, topic)).collect();
    let written = post(&server, "/v1/collections/Notes/records", &json!({ "records": records }));
    assert_eq!(written["records"][2]["id"], "3", "an integer is the text of its digits");
    let found = post(&server, "/v1/collections/Notes/records:get", &json!({"ids": [3, "1", -1]}));
    assert_eq!((ids(&found), &found["missing"]), (vec!["3", "1"], &json!(["-1"])));
    assert_eq!(refused_at(&server, "Notes/records:get", &json!({"ids": [1.5]})), (400, json!("/ids/0")));

    let ask = |query: &str, k: u32| json!({"query": query, "k": k, "include": ["text"]});
    let recalls = [ask("the boat", 3), ask("note 5", 1)];
    let both = post(&server, "/v1/collections/Notes/recall:batch", &json!({ "recalls": recalls }));
    for (i, recall) in recalls.iter().enumerate() {
        let alone = post(&server, "/v1/collections/Notes/recall", recall);
        assert_eq!(both["answers"][i]["hits"], alone["hits"]);
    }
    let wrong = json!({"recalls": [ask("the boat", 3), ask("", 0)]});
    let (status, pointer) = refused_at(&server, "Notes/recall:batch", &wrong);
    assert!((400..500).contains(&status) && pointer.as_str().is_some_and(|at| at.starts_with("/recalls/1/")));
    assert_eq!(refused_at(&server, "Notes/recall:batch", &json!({"recalls": []})), (422, json!("/recalls")));

    let grouped = |size: u32| {
        let group = json!({"field": "metadata.a.topic", "size": size});
        let asked = json!({"query": "the boat by the river", "k": 7, "group_by": group});
        let found = post(&server, "/v1/collections/Notes/recall", &asked);
        let mut groups: Vec<String> =
            found["hits"].as_array().expect("hits").iter().map(|hit| hit["group"].to_string()).collect();
        groups.sort();
        groups
    };
    assert_eq!(grouped(1), ["\"boat\"", "1", "null", "null"]);
    assert_eq!(grouped(2), ["\"boat\"", "\"boat\"", "1", "1", "null", "null"]);
    let wrong = json!({"query": "x", "group_by": {"field": "topic"}});
    assert_eq!(refused_at(&server, "Notes/recall", &wrong), (400, json!("/group_by/field")));
    server.stop();
}

#[test]
fn a_path_whose_colon_is_encoded_is_the_same() {
    let (_folder, server) = started("");
    assert_eq!(server.call("PUT", "/v1/collections/c", &json!({"dimension": 2})).0, 201);
    let (status, answer) = server.call("POST", "/v1/collections/c/records%3Acount", &json!({}));
    assert_eq!((status, &answer["count"]), (200, &json!(0)), "{answer}");
    assert_eq!(server.call("POST", "/v1/collections/c/records%3adelete", &json!({"ids": ["x"]})).0, 200);
    server.stop();
}

#[test]
fn what_a_collection_is_asked_again_without_is_as_it_was() {
    let (_folder, server) = started("");
    let made = json!({"dimension": 2, "vector_type": "f32", "metric": "inner_product"});
    assert_eq!(server.call("PUT", "/v1/collections/c", &made).0, 201);
    for again in [json!({}), json!({"metric": "inner_product"}), json!({"vector_type": "f32"}), made] {
        let (status, found) = server.call("PUT", "/v1/collections/c", &again);
        let settings = (&found["settings"]["vector_type"], &found["settings"]["metric"]);
        assert_eq!((status, settings), (200, (&json!("f32"), &json!("inner_product"))), "{again}: {found}");
    }
    for other in [json!({"vector_type": "f16"}), json!({"metric": "cosine"})] {
        assert_eq!(server.call("PUT", "/v1/collections/c", &other).0, 409, "{other}");
    }
    let (_, plain) = server.call("PUT", "/v1/collections/d", &json!({"dimension": 2}));
    assert_eq!((&plain["settings"]["vector_type"], &plain["settings"]["metric"]), (&json!("f16"), &json!("cosine")));
    server.stop();
}
