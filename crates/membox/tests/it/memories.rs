//! Long-term memory: what a kind brings along, and near-doubles that become one.

use crate::common::{Server, data_with_model, post};
use serde_json::{Value, json};
use std::time::Duration;

fn write(server: &Server, records: Value) {
    let (status, answer) = server.call("POST", "/v1/collections/c/records", &json!({ "records": records }));
    assert_eq!(status, 200, "{answer}");
}

fn record(server: &Server, id: &str) -> Option<Value> {
    let (status, answer) = server.call("GET", &format!("/v1/collections/c/records/{id}"), &Value::Null);
    (status == 200).then_some(answer)
}

fn consolidated(server: &Server, body: &Value) -> Value {
    server.job("/v1/collections/c/consolidate", body)
}

#[test]
fn a_kind_brings_its_expiry_and_its_weight() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    let kinds = json!({"kinds": {"working": {"ttl_s": 1, "importance": 0.1}, "profile": {"importance": 0.9}}});
    assert_eq!(server.call("PUT", "/v1/collections/c", &kinds).0, 201);
    let wrong = json!({"kinds": {"working": {"importance": 3}}});
    assert_eq!(server.call("PUT", "/v1/collections/other", &wrong).0, 422);
    write(
        &server,
        json!([
            {"id": "w", "kind": "working", "text": "the user is on page three"},
            {"id": "own", "kind": "working", "text": "the user is on page four", "importance": 0.5,
                "expires_at": "2099-01-01T00:00:00Z"},
            {"id": "p", "kind": "profile", "text": "the user speaks Norwegian"},
            {"id": "n", "text": "no kind at all"},
        ]),
    );
    let of = |id: &str| record(&server, id).expect("a record");
    assert_eq!(
        (&of("w")["importance"], &of("p")["importance"], &of("n")["importance"]),
        (&json!(0.1), &json!(0.9), &Value::Null)
    );
    assert_eq!(
        (&of("own")["importance"], &of("own")["expires_at"]),
        (&json!(0.5), &json!("2099-01-01T00:00:00Z")),
        "what it says itself stands"
    );
    std::thread::sleep(Duration::from_millis(1100));
    assert!(record(&server, "w").is_none() && record(&server, "own").is_some());
    // Over a restart too, and changed as long as one likes.
    server.stop();
    let server = Server::start(&data, &[]);
    assert_eq!(server.call("PUT", "/v1/collections/c", &json!({"kinds": {"profile": {"importance": 0.2}}})).0, 200);
    write(
        &server,
        json!([{"id": "p2", "kind": "profile", "text": "the user lives in Bergen"},
            {"id": "w2", "kind": "working", "text": "x"}]),
    );
    assert_eq!(record(&server, "p2").expect("a record")["importance"], 0.2);
    assert!(record(&server, "w2").expect("a record")["expires_at"].is_null());
    server.stop();
}

#[test]
fn near_doubles_become_one_memory_with_a_history() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    assert_eq!(server.call("PUT", "/v1/collections/c", &json!({})).0, 201);
    let on = |day: u32| format!("2026-05-{day:02}T10:00:00Z");
    write(
        &server,
        json!([
            {"id": "a1", "user": "lena", "text": "Lena likes green tea in the morning.", "created_at": on(1),
                "metadata": {"source": "phone"}},
            {"id": "a3", "user": "lena", "text": "Lena likes green tea in the morning!", "created_at": on(3),
                "metadata": {"source": "desk"}},
            {"id": "a2", "user": "lena", "text": "Lena likes green tea in the morning", "created_at": on(2)},
            {"id": "otto", "user": "otto", "text": "Lena likes green tea in the morning.", "created_at": on(4)},
            {"id": "kind", "user": "lena", "kind": "profile", "text": "Lena likes green tea in the morning.",
                "created_at": on(5)},
            {"id": "three", "user": "lena", "text": "The dentist expects Lena at 3 o'clock.", "created_at": on(1)},
            {"id": "four", "user": "lena", "text": "The dentist expects Lena at 4 o'clock.", "created_at": on(2)},
            {"id": "owes", "user": "lena", "text": "Alice owes Bob the deposit for the greenhouse.",
                "created_at": on(1)},
            {"id": "owed", "user": "lena", "text": "Bob owes Alice the deposit for the greenhouse.",
                "created_at": on(2)},
            {"id": "tuesday", "user": "lena", "text": "The dentist appointment is on Tuesday at the clinic",
                "created_at": on(1)},
            {"id": "thursday", "user": "lena", "text": "The dentist appointment is on Thursday at the clinic",
                "created_at": on(2)},
            {"id": "else", "user": "lena", "text": "The greenhouse roof leaks when it rains.", "created_at": on(2)},
        ]),
    );
    let said = json!({"user": "lena", "collection": "c",
        "messages": [{"role": "user", "content": "Lena likes green tea in the morning."}]});
    assert_eq!(server.call("POST", "/v1/sessions/s/messages", &said).0, 200);

    let planned = consolidated(&server, &json!({"dry_run": true}));
    assert_eq!((&planned["merged"], &planned["records"]), (&json!(2), &json!(12)), "{planned}");
    assert!(record(&server, "a1").is_some(), "nothing is done yet");
    assert_eq!(consolidated(&server, &json!({"user": "otto"}))["merged"], 0);
    let done = consolidated(&server, &json!({}));
    let pairs: Vec<(&str, &str)> = done["pairs"]
        .as_array()
        .expect("pairs")
        .iter()
        .map(|p| (p["absorbed"].as_str().expect("an id"), p["kept"].as_str().expect("an id")))
        .collect();
    assert_eq!(pairs.len(), 2, "{done}");
    assert!(pairs.iter().all(|(absorbed, _)| ["a1", "a2"].contains(absorbed)), "{done}");
    let kept = record(&server, "a3").expect("the newest stands");
    assert_eq!(
        (&kept["text"], &kept["metadata"]["source"]),
        (&json!("Lena likes green tea in the morning!"), &json!("desk"))
    );
    let mut history: Vec<&str> = kept["metadata"]["history"]
        .as_array()
        .expect("a history")
        .iter()
        .map(|h| h["id"].as_str().expect("an id"))
        .collect();
    history.sort_unstable();
    assert_eq!(history, ["a1", "a2"], "all that it has taken the place of: {kept}");
    assert!(record(&server, "a1").is_none() && record(&server, "a2").is_none());
    for id in ["otto", "kind", "three", "four", "owes", "owed", "tuesday", "thursday", "else"] {
        assert!(record(&server, id).is_some(), "{id}");
    }
    let question = json!({"query": "What does Lena drink?",
        "filter": {"and": [{"field": "user", "eq": "lena"}, {"field": "role", "exists": false},
            {"field": "kind", "exists": false}]}, "k": 5});
    let (_, found) = server.call("POST", "/v1/collections/c/recall", &question);
    let ids: Vec<&str> = found["hits"].as_array().expect("hits").iter().filter_map(|h| h["id"].as_str()).collect();
    assert_eq!(ids.iter().filter(|id| id.starts_with('a')).count(), 1, "{found}");
    assert_eq!(consolidated(&server, &json!({}))["merged"], 0, "there is nothing left to merge");
    assert_eq!(server.call("POST", "/v1/collections/c/consolidate", &json!({"threshold": 0.1})).0, 422);
    server.stop();
    assert!(crate::common::membox(&data).arg("verify").status().expect("the command").success());
}

#[test]
fn the_least_valuable_are_forgotten_first_and_pinned_ones_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    assert_eq!(server.call("PUT", "/v1/collections/c", &json!({})).0, 201);
    let of = |id: &str, user: &str, year: u32, importance: f64, pinned: bool| {
        json!({"id": id, "user": user, "text": format!("memory {id}"),
            "created_at": format!("{year}-01-01T00:00:00Z"), "importance": importance, "metadata": {"pinned": pinned}})
    };
    write(
        &server,
        json!([
            of("old and dull", "lena", 2020, 0.1, false),
            of("old and pinned", "lena", 2019, 0.0, true),
            of("old and dear", "lena", 2024, 1.0, false),
            of("new and dull", "lena", 2026, 0.1, false),
            of("new and dear", "lena", 2026, 0.9, false),
            of("otto's", "otto", 2001, 0.0, false),
        ]),
    );
    let forget = |body: Value| {
        let (status, answer) = server.call("POST", "/v1/collections/c/forget", &body);
        assert_eq!(status, 200, "{answer}");
        let ids: Vec<String> = answer["memories"]
            .as_array()
            .expect("memories")
            .iter()
            .map(|m| m["id"].as_str().expect("an id").to_owned())
            .collect();
        (answer["counted"].as_u64().expect("a count"), answer["forgotten"].as_u64().expect("a count"), ids)
    };
    // With half a year as half-life, two years make of 1.0 less than the 0.1 of this year.
    let plan = json!({"user": "lena", "keep": 3, "half_life_s": 15_768_000, "dry_run": true});
    assert_eq!(forget(plan.clone()), (5, 2, vec!["old and dull".into(), "old and dear".into()]));
    assert!(record(&server, "old%20and%20dull").is_some(), "nothing is done yet");
    // With ten years, what is dear stays.
    let mut done = plan;
    (done["half_life_s"], done["dry_run"]) = (json!(315_360_000), json!(false));
    assert_eq!(forget(done.clone()), (5, 2, vec!["old and dull".into(), "new and dull".into()]));
    assert!(record(&server, "old%20and%20dull").is_none() && record(&server, "old%20and%20pinned").is_some());
    assert!(record(&server, "otto's").is_some(), "others' do not count");
    assert_eq!(forget(done), (3, 0, vec![]), "so many may stay");
    assert_eq!(server.call("POST", "/v1/collections/c/forget", &json!({"keep": 0, "half_life_s": 0})).0, 422);
    let (_, log) = server.call("GET", "/v1/audit", &Value::Null);
    assert_eq!(log["entries"][0]["count"], 2, "{log}");
    server.stop();
}

#[test]
fn what_is_recalled_is_worth_more_over_a_restart_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    assert_eq!(server.call("PUT", "/v1/collections/c", &json!({})).0, 201);
    let of = |id: &str, text: &str, day: u32| {
        let created_at = format!("2026-01-0{day}T00:00:00Z");
        json!({"id": id, "text": text, "created_at": created_at})
    };
    write(
        &server,
        json!([
            of("boat", "The boat leaves at nine.", 1),
            of("dog", "The dog sleeps.", 2),
            of("pot", "A blue pot.", 3)
        ]),
    );
    let plan = json!({"keep": 1, "dry_run": true});
    let order = |server: &Server| {
        let answer = post(server, "/v1/collections/c/forget", &plan);
        let memories = answer["memories"].as_array().expect("memories").clone();
        memories.iter().map(|m| (m["id"].as_str().expect("an id").to_owned(), m["heat"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(order(&server), [("boat".into(), json!(0.0)), ("dog".into(), json!(0.0))], "the oldest first");
    // Asked for twice, the second time from what is remembered.
    for _ in 0..2 {
        let found = post(&server, "/v1/collections/c/recall", &json!({"query": "boat", "mode": "text", "k": 1}));
        assert_eq!(found["hits"][0]["id"], "boat");
    }
    let after = order(&server);
    assert_eq!(after, [("dog".into(), json!(0.0)), ("pot".into(), json!(0.0))], "the boat stays");
    server.stop();
    let server = Server::start(&data, &[]);
    assert_eq!(order(&server), after);
    let answer = post(&server, "/v1/collections/c/forget", &json!({"keep": 0, "dry_run": true}));
    let boat = &answer["memories"][2];
    assert_eq!(boat["id"], "boat");
    assert!((1.99..=2.0).contains(&boat["heat"].as_f64().expect("a number")), "{boat}");
    assert!(boat["worth"].as_f64() > answer["memories"][1]["worth"].as_f64());
}

#[test]
fn a_long_text_is_cut_where_it_can_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let text = "The first paragraph has one sentence.\n\nThe second has two. This is the other one.";
    let (status, answer) = server.call("POST", "/v1/chunks", &json!({"text": text, "size": 40, "overlap": 0}));
    let chunks: Vec<&str> =
        answer["chunks"].as_array().expect("chunks").iter().filter_map(|c| c["text"].as_str()).collect();
    assert_eq!(
        (status, chunks.as_slice()),
        (200, ["The first paragraph has one sentence.", "The second has two.", "This is the other one."].as_slice())
    );
    let whole = server.call("POST", "/v1/chunks", &json!({"text": text})).1;
    assert_eq!(whole["chunks"], json!([{"text": text, "start": 0, "end": text.len()}]));
    assert_eq!(server.call("POST", "/v1/chunks", &json!({"text": text, "size": 5, "overlap": 5})).0, 422);
    assert_eq!(server.call("POST", "/v1/chunks", &json!({"text": text, "unit": "tokens", "encoding": "none"})).0, 400);
    server.stop();
}

#[test]
fn a_word_is_found_by_those_that_mean_the_same_here() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    assert_eq!(server.call("PUT", "/v1/collections/c", &json!({})).0, 201);
    write(&server, json!([{"id": "a", "text": "The gadget X-9 hums."}, {"id": "b", "text": "A quiet evening."}]));
    let ask = |server: &Server| {
        let body = json!({"query": "frobnicator", "mode": "text"});
        let (_, answer) = server.call("POST", "/v1/collections/c/recall", &body);
        answer["hits"].as_array().expect("hits").iter().map(|h| h["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ask(&server), Vec::<Value>::new());
    let settings = json!({"synonyms": [["frobnicator", "gadget"]]});
    assert_eq!(server.call("PUT", "/v1/collections/c", &settings).0, 200);
    assert_eq!(ask(&server), [json!("a")]);
    server.stop();
    let server = Server::start(&folder.path().join("data"), &[]);
    assert_eq!(ask(&server), [json!("a")], "they stay");
    let (status, problem) = server.call("PUT", "/v1/collections/c", &json!({"synonyms": [["alone"]]}));
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/synonyms/0")));
}

#[test]
fn a_collection_says_whether_it_keeps_vectors_of_tokens() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let put = |name: &str, settings: Value| server.call("PUT", &format!("/v1/collections/{name}"), &settings);
    let get = |name: &str| server.call("GET", &format!("/v1/collections/{name}"), &Value::Null).1;
    assert_eq!(put("c", json!({})).0, 201);
    write(&server, json!([{"id": "a", "text": "The gadget hums."}]));
    let kept = get("c");
    assert!(kept["settings"].get("late_interaction").is_none() && kept["token_vectors"].is_object(), "{kept}");
    let counted = kept["token_vectors"]["records"].as_u64().zip(kept["token_vectors"]["missing"].as_u64());
    assert_eq!(counted.map(|(records, missing)| records + missing), Some(1));
    for (settings, shown) in [
        (json!({"dimension": 64}), json!({"dimension": 64})),
        (json!({}), json!({"dimension": 48})),
        (json!("off"), json!("off")),
    ] {
        assert_eq!(put("c", json!({"late_interaction": settings})).0, 200);
        assert_eq!(put("c", json!({})).0, 200, "as it was when left out");
        let view = get("c");
        assert_eq!(
            (&view["settings"]["late_interaction"], view["token_vectors"].is_object()),
            (&shown, shown != "off")
        );
    }
    // Given vectors have no tokens.
    assert_eq!(put("given", json!({"dimension": 3, "late_interaction": {"dimension": 32}})).0, 201);
    assert!(get("given").get("token_vectors").is_none());
    for (wrong, refused, at) in [
        (json!({"dimension": 40}), 422, "/late_interaction/dimension"),
        (json!("on"), 400, "/late_interaction"),
        (json!(true), 400, "/late_interaction"),
        (json!({"size": 48}), 400, "/late_interaction/size"),
        (json!({"dimension": "48"}), 400, "/late_interaction/dimension"),
    ] {
        for name in ["c", "new"] {
            let (status, problem) = put(name, json!({"late_interaction": wrong}));
            assert_eq!((status, &problem["errors"][0]["pointer"]), (refused, &json!(at)), "{wrong}: {problem}");
        }
    }
}
