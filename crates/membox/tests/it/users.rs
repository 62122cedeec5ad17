//! A user's data goes out whole, or goes whole: out of every answer and every file, with a receipt and an audit that
//! holds.

use crate::common::llm::{Behaviour, StandIn};
use crate::common::{Server, data_with_model, files_with, membox, post};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Files below a folder that hold a marker, links not followed.
/// Two users: their own sessions, and records of both in one collection.
fn fill(server: &Server) {
    assert_eq!(server.call("PUT", "/v1/collections/shared", &json!({})).0, 201);
    for (user, marker, place) in [("lena", "zyxgarnet", "Lisbon"), ("otto", "qwvtopaz", "Oslo")] {
        for session in ["one", "two"] {
            let lines: Vec<Value> = (0..30)
                .map(|i| {
                    json!({"role": if i % 2 == 0 { "user" } else { "assistant" },
                        "content": format!("{marker} line {i}: in {place} we saw house number {i}")})
                })
                .collect();
            post(server, &format!("/v1/sessions/{user}-{session}/messages"), &json!({"user": user, "messages": lines}));
        }
        post(server, &format!("/v1/sessions/{user}-one/queue"), &json!({"items": [{"say": marker}]}));
        let state = json!({"state": {"note": marker}});
        assert_eq!(server.call("PUT", &format!("/v1/threads/{user}-one/checkpoints/c1?namespace=n"), &state).0, 200);
        let records: Vec<Value> = (0..50)
            .map(|i| {
                json!({"id": format!("{user}{i}"), "user": user,
                    "text": format!("{marker} fact {i} about {place}"), "metadata": {"mark": marker}})
            })
            .collect();
        post(server, "/v1/collections/shared/records", &json!({"records": records}));
    }
}

/// What another user hears, to the byte, but for how long it took.
fn heard(server: &Server) -> Vec<String> {
    let without_time = |mut answer: Value| {
        answer.as_object_mut().expect("an object").remove("took_ms");
        answer.to_string()
    };
    let mine = json!({"field": "user", "eq": "otto"});
    let ask = |collection: &str, question: &Value| {
        without_time(post(server, &format!("/v1/collections/{collection}/recall"), question))
    };
    vec![
        ask("user-otto", &json!({"query": "house number 7 in Oslo", "k": 20})),
        ask("shared", &json!({"query": "fact 3 about Oslo", "mode": "vector", "filter": mine, "k": 20})),
        without_time(server.call("GET", "/v1/sessions/otto-one/messages?limit=100", &Value::Null).1),
        without_time(server.call("GET", "/v1/sessions/otto-one/context?strategy=recall", &Value::Null).1),
        without_time(server.call("GET", "/v1/sessions/otto-one/queue", &Value::Null).1),
        without_time(server.call("GET", "/v1/threads/otto-one/checkpoints?namespace=n", &Value::Null).1),
    ]
}

fn erased(server: &Server, user: &str) -> Value {
    server.job(&format!("/v1/users/{user}/erase"), &json!({}))
}

#[test]
fn an_erased_user_is_in_no_answer_and_no_file_and_others_hear_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    fill(&server);
    post(&server, "/v1/collections/shared/recall", &json!({"query": "zyxgarnet"}));
    // Deletions in a user's own collection are noted, and name nobody.
    post(&server, "/v1/collections/user-lena/records", &json!({"records": [{"id": "x", "text": "zyxgarnet note"}]}));
    post(&server, "/v1/collections/user-lena/records:delete", &json!({"ids": ["x"]}));
    let before = heard(&server);
    assert!(!files_with(&data, "zyxgarnet").is_empty(), "the test looks where it is");

    let receipt = erased(&server, "lena");
    let count = |name: &str| receipt[name].as_u64().expect("a count");
    assert_eq!(
        (count("records"), count("sessions"), count("queued"), count("checkpoints")),
        (110, 2, 1, 1),
        "{receipt}"
    );
    // The user's own collection, by the name that the audit log has for the user.
    let subject = receipt["user"].as_str().filter(|user| user.starts_with("user:")).expect("a keyed hash");
    assert_eq!((&receipt["dropped"], &receipt["rewritten"]), (&json!([subject]), &json!(["shared"])));
    for marker in ["zyxgarnet", "lena"] {
        assert_eq!(files_with(&data, marker), Vec::<String>::new(), "{marker}, while the box runs");
    }
    assert_eq!(heard(&server), before);
    assert_eq!(server.call("GET", "/v1/sessions/lena-one", &Value::Null).0, 404);
    let found =
        post(&server, "/v1/collections/shared/recall", &json!({"query": "zyxgarnet fact 3 about Lisbon", "k": 100}));
    let hits = found["hits"].as_array().expect("hits");
    assert!(hits.iter().all(|hit| hit["user"] == "otto"), "{found}");

    // A backup from now on has none of it either, and what is left is whole.
    let backup = folder.path().join("backup");
    assert!(membox(&data).arg("backup").arg(&backup).status().expect("the command").success());
    server.stop();
    for place in [&data, &backup] {
        for marker in ["zyxgarnet", "lena"] {
            assert_eq!(files_with(place, marker), Vec::<String>::new(), "{marker}");
        }
    }
    assert!(membox(&data).arg("verify").status().expect("the command").success());
    let server = Server::start(&data, &[]);
    assert_eq!(heard(&server), before);
    assert_eq!(erased(&server, "lena")["records"], 0, "there is nothing left to erase");
    server.stop();
}

#[test]
fn an_archive_has_everything_of_a_user_and_nothing_of_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    fill(&server);
    // Ten of these leave the list, and are remembered still.
    server.call("PUT", "/v1/sessions/lena-two", &json!({"max_messages": 21}));
    post(
        &server,
        "/v1/sessions/lena-two/messages",
        &json!({"messages": [{"role": "user", "content": "zyxgarnet the last"}]}),
    );
    let (status, headers, text) = server.raw("GET", "/v1/users/lena/export", &[], Vec::new());
    assert_eq!(status, 200);
    assert!(
        headers.iter().any(|(name, value)| name == "content-type" && value == "application/x-ndjson"),
        "{headers:?}"
    );
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    lines.iter().for_each(|line| *kinds.entry(line["type"].as_str().expect("a type")).or_default() += 1);
    let wanted =
        [("checkpoint", 1), ("end", 1), ("message", 61), ("queued", 1), ("record", 50), ("session", 2), ("usage", 1)];
    assert_eq!(kinds, BTreeMap::from(wanted), "31 and 30 messages, of which 10 are archived, and 50 records");
    assert_eq!(lines.iter().filter(|line| line["archived"] == true).count(), 10);
    assert_eq!(lines.last().expect("an end")["lines"], lines.len() - 1);
    assert!(!text.contains("qwvtopaz") && !text.contains("otto"), "nothing of others");
    let (_, _, nothing) = server.raw("GET", "/v1/users/nobody/export", &[], Vec::new());
    assert_eq!(nothing, "{\"type\":\"end\",\"lines\":0}\n");
    server.stop();
}

#[test]
fn quotas_hold_and_usage_is_counted_by_day() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    fill(&server);
    let report = |user: &str, tokens: i64| server.call("POST", "/v1/usage", &json!({"user": user, "tokens": tokens}));
    assert_eq!(report("lena", 1_000_000).0, 200, "without a quota any number is noted");
    let (status, refused) = server.call("PUT", "/v1/quotas/*", &json!({"price_per_1000": 0.1234567}));
    assert_eq!((status, &refused["errors"][0]["pointer"]), (422, &json!("/price_per_1000")), "it would be rounded");
    assert_eq!(server.call("PUT", "/v1/quotas/*", &json!({"price_per_1000": 0.15})).1["tokens_per_day"], 10_000);
    assert_eq!(server.call("PUT", "/v1/quotas/otto", &json!({"tokens_per_day": 1000, "price_per_1000": 0.15})).0, 200);
    let (status, used) = report("otto", 900);
    assert_eq!((status, &used["left"], &used["cost"]), (200, &json!(100), &json!(0.135)), "{used}");
    let body = json!({"user": "otto", "tokens": 101}).to_string().into_bytes();
    let (status, headers, text) = server.raw("POST", "/v1/usage", &[("content-type", "application/json")], body);
    let retry = headers.iter().find(|h| h.0 == "retry-after").and_then(|h| h.1.parse::<u64>().ok());
    assert!(status == 429 && retry.is_some_and(|s| s <= 24 * 3600), "{status} {headers:?} {text}");
    assert_eq!(report("otto", -400).1["left"], 500, "what was estimated too high is given back");
    // Of many who ask at a time for the rest, as many get it as there is.
    let got: usize = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..20).map(|_| scope.spawn(|| usize::from(report("otto", 100).0 == 200))).collect();
        asking.into_iter().map(|thread| thread.join().expect("an answer")).sum()
    });
    assert_eq!(got, 5);
    let (_, all) = server.call("GET", "/v1/usage", &Value::Null);
    let top: Vec<&str> = all["usage"].as_array().expect("usage").iter().filter_map(|u| u["user"].as_str()).collect();
    assert_eq!(top, ["lena", "otto"], "who has used most comes first");
    let otto = &all["usage"][1];
    assert_eq!((&otto["tokens"], &otto["messages"]), (&json!(1000), &json!(60)), "{otto}");
    assert!(otto["stored_tokens"].as_i64().expect("tokens") > 600);
    assert_eq!(server.call("GET", "/v1/usage?from=yesterday", &Value::Null).0, 400);
    server.stop();
    let server = Server::start(&data, &[]);
    assert_eq!(server.call("GET", "/v1/quotas/otto", &Value::Null).1["tokens_per_day"], 1000);
    assert_eq!(server.call("DELETE", "/v1/quotas/otto", &Value::Null).0, 204);
    assert_eq!(server.call("GET", "/v1/quotas/otto", &Value::Null).1["tokens_per_day"], 10_000, "that of all");
    server.stop();
}

#[test]
fn the_audit_log_says_what_was_done_and_a_changed_entry_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    fill(&server);
    post(&server, "/v1/collections/shared/records:delete", &json!({"ids": ["otto1", "otto2"]}));
    server.raw("GET", "/v1/users/lena/export", &[], Vec::new());
    erased(&server, "lena");
    assert_eq!(server.call("DELETE", "/v1/collections/shared", &Value::Null).0, 204);
    let (_, log) = server.call("GET", "/v1/audit?limit=3", &Value::Null);
    let (_, rest) = server.call("GET", &format!("/v1/audit?cursor={}", log["next"]), &Value::Null);
    let entries: Vec<&Value> =
        log["entries"].as_array().into_iter().chain(rest["entries"].as_array()).flatten().collect();
    let said: Vec<(&str, u64)> = entries
        .iter()
        .map(|e| (e["action"].as_str().expect("an action"), e["count"].as_u64().expect("a count")))
        .collect();
    assert_eq!(
        said,
        [
            ("delete records", 2),
            ("export", 115),
            ("erase begun", 0),
            ("delete session", 30),
            ("delete session", 30),
            ("erased", 110),
            ("drop collection", 0)
        ]
    );
    assert!(entries.iter().all(|e| e["actor"] == "local"));
    assert_eq!(entries[1]["subject"], entries[5]["subject"], "the same user by the same keyed hash");
    assert!(!format!("{log}{rest}").contains("lena"));
    let last = entries[6]["hash"].as_str().expect("a hash").to_owned();

    let verify = || {
        let out = membox(&data).args(["audit", "verify"]).output().expect("the command");
        (out.status.success(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    };
    let (whole, said) = verify();
    assert!(whole && said.contains("default: 7 entries") && said.contains(&last), "{said}");
    server.stop();
    for (change, entry) in
        [("UPDATE audit SET count = 1 WHERE number = 4", "entry 4"), ("DELETE FROM audit WHERE number = 2", "entry 2")]
    {
        rusqlite::Connection::open(data.join("membox.db")).and_then(|c| c.execute_batch(change)).expect("a change");
        let (whole, said) = verify();
        assert!(!whole && said.contains(entry), "{said}");
    }
}

#[test]
fn whatever_is_deleted_is_in_the_audit_log_and_so_are_keys_that_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = "a-key-of-lena-which-is-long-enough";
    let settings = format!("[[keys]]\nkey = \"{key}\"\ntenant = \"t\"\n");
    std::fs::write(folder.path().join("membox.toml"), settings).expect("a file");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    let call = |method: &str, path: &str, body: &Value| {
        let bearer = format!("Bearer {key}");
        let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
        let (status, _, text) = server.raw(method, path, &headers, body.to_string().into_bytes());
        assert!((200..300).contains(&status), "{method} {path}: {status} {text}");
        serde_json::from_str::<Value>(&text).unwrap_or_default()
    };
    call("PUT", "/v1/sessions/s", &json!({"max_messages": 2, "evict": "delete"}));
    let say = |id: &str| json!({"messages": [{"id": id, "role": "user", "content": "a word"}]});
    for id in ["a", "b", "c"] {
        call("POST", "/v1/sessions/s/messages", &say(id));
    }
    call("DELETE", "/v1/sessions/s/messages/c", &Value::Null);
    call("POST", "/v1/sessions/s/queue", &json!({"items": ["one"]}));
    let taken = call("POST", "/v1/sessions/s/queue:take", &json!({"count": 1, "lease_s": 60}));
    let item = taken["items"][0]["id"].as_str().expect("an id").to_owned();
    call("DELETE", &format!("/v1/sessions/s/queue/{item}"), &Value::Null);
    call("PUT", "/v1/threads/t/checkpoints/one", &json!({"state": 1}));
    call("DELETE", "/v1/threads/t/checkpoints", &Value::Null);
    call("DELETE", "/v1/threads/t/checkpoints", &Value::Null);
    let wrong = [("authorization", "Bearer a-key-that-nobody-has-given-out")];
    assert_eq!(server.raw("GET", "/v1/collections", &wrong, Vec::new()).0, 401);

    let log = call("GET", "/v1/audit", &Value::Null);
    let said: Vec<(&str, &str, u64)> = log["entries"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|e| (e["actor"].as_str().unwrap_or_default(), e["action"].as_str().unwrap_or_default(), &e["count"]))
        .map(|(actor, action, count)| (if actor == "box" { "box" } else { "key" }, action, count.as_u64().unwrap_or(0)))
        .collect();
    assert_eq!(
        said,
        [
            ("box", "evict messages", 1),
            ("key", "delete message", 1),
            ("key", "acknowledge input", 1),
            ("key", "delete checkpoints", 1)
        ]
    );
    server.stop();
    let audit = |args: &[&str]| {
        let out = membox(&data).arg("audit").args(args).output().expect("the command");
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stdout).expect("text")
    };
    let of_the_box: Value = serde_json::from_str(audit(&["list"]).trim()).expect("one entry");
    assert_eq!(
        (&of_the_box["action"], &of_the_box["subject"], &of_the_box["count"]),
        (&json!("refuse keys"), &json!("127.0.0.1"), &json!(1))
    );
    assert_eq!(audit(&["list", "t", "--after", "1"]).lines().count(), 3);
    assert!(audit(&["verify"]).contains("the box itself: 1 entries"));
}

#[test]
fn a_profile_is_what_is_remembered_and_what_is_set_and_is_recalled_by_meaning() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = StandIn::start();
    let settings = format!("[llm]\ntries = 1\nrest_s = 0\n[[llm.endpoints]]\nurl = \"{}\"\nmodel = \"m\"\n", model.url);
    std::fs::write(folder.path().join("membox.toml"), settings).expect("a file");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let profile = || server.call("GET", "/v1/users/lena/profile", &Value::Null).1;
    let empty = profile();
    assert_eq!((&empty["version"], &empty["messages"], &empty["fields"]), (&json!(0), &json!(0), &json!({})));
    let messages: Vec<Value> = (0..3)
        .map(|day| {
            json!({"role": "user",
                "content": format!("On day {day} my cousin Otto Berg repaired the solar panels on our roof.")})
        })
        .collect();
    post(&server, "/v1/sessions/s/messages", &json!({"user": "lena", "messages": messages}));
    let fact = json!({"id": "f", "text": "Lena likes owls.", "user": "lena", "kind": "semantic",
        "created_at": "2020-01-01T00:00:00Z"});
    post(&server, "/v1/collections/user-lena/records", &json!({"records": [fact]}));
    let seen = profile();
    assert_eq!(
        (&seen["messages"], &seen["sessions"], &seen["memories"]),
        (&json!(3), &json!(1), &json!({"semantic": 1}))
    );
    assert_eq!(seen["entities"][0], json!({"term": "Otto Berg", "records": 3}), "{seen}");
    assert!(seen["keywords"].as_array().expect("keywords").iter().any(|k| k["term"] == "solar panels"), "{seen}");
    assert!(seen["last_seen"].as_str() > Some("2026"));

    let patch = |fields: Value| {
        let (status, answer) = server.call("PATCH", "/v1/users/lena/profile", &fields);
        assert_eq!(status, 200, "{answer}");
        answer
    };
    patch(json!({"city": "Bergen", "diet": "vegetarian", "pets": {"cat": "Miso"}}));
    let set = patch(json!({"city": null, "pets": {"dog": "Rex"}}));
    assert_eq!(
        (&set["fields"], &set["version"]),
        (&json!({"diet": "vegetarian", "pets": {"cat": "Miso", "dog": "Rex"}}), &json!(2))
    );
    let question = json!({"query": "What does she eat? Is she a vegetarian?", "k": 1});
    assert_eq!(post(&server, "/v1/collections/user-lena/recall", &question)["hits"][0]["id"], "profile");

    model.then([Behaviour::Write(json!({"summary": "Lena likes owls and has a sunny roof."}).to_string())]);
    let built = post(&server, "/v1/users/lena/profile", &json!({}));
    assert_eq!(built["summary"], "Lena likes owls and has a sunny roof.");
    let asked = model.asked()[0]["messages"][1]["content"].as_str().map(str::to_owned);
    assert_eq!(asked.as_deref(), Some("{\"text\":\"Lena likes owls.\"}\n"));
    model.then([Behaviour::Status(500)]);
    assert_eq!(server.call("POST", "/v1/users/lena/profile", &json!({})).0, 502);
    assert_eq!(profile()["summary"], built["summary"], "nothing was changed");
    assert_eq!(erased(&server, "lena")["records"].as_u64(), Some(5));
    assert_eq!(profile()["version"], 0);
}

#[test]
fn keywords_and_names_are_found_in_english_and_chinese_and_filter() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    assert_eq!(server.call("PUT", "/v1/collections/c", &json!({"keywords": true})).0, 201);
    let records = json!([
        {"id": "en", "text": "We took the night train to Vienna. My cousin Otto Berg met us there."},
        {"id": "zh", "text": "我上周和李明一起搬到了北京，他在华为公司工作。"},
        {"id": "own", "text": "Otto Berg was here.", "metadata": {"keywords": ["mine"]}}
    ]);
    post(&server, "/v1/collections/c/records", &json!({ "records": records }));
    let with = |field: &str, term: &str| {
        let filter = json!({"field": format!("metadata.{field}"), "eq": term});
        let answer =
            post(&server, "/v1/collections/c/recall", &json!({"query": "travel", "filter": filter, "mode": "vector"}));
        let mut ids: Vec<String> = answer["hits"]
            .as_array()
            .expect("hits")
            .iter()
            .map(|h| h["id"].as_str().expect("an id").to_owned())
            .collect();
        ids.sort();
        ids.join(" ")
    };
    assert_eq!(with("entities", "Otto Berg"), "en own");
    assert_eq!((with("entities", "李明"), with("entities", "北京")), ("zh".into(), "zh".into()));
    assert_eq!((with("keywords", "night train"), with("keywords", "mine")), ("en".into(), "own".into()));
    let (status, changed) =
        server.call("PATCH", "/v1/collections/c/records/en", &json!({"text": "We sailed to Bergen in a wooden boat."}));
    assert_eq!((status, &changed["metadata"]["entities"]), (200, &json!(["Bergen"])));
    assert_eq!((with("entities", "Otto Berg"), with("entities", "Bergen")), ("own".into(), "en".into()));
}
