//! LightMem's pipeline: from what is said to memories, without a language model and with one that misbehaves.

use crate::common::llm::{Behaviour, StandIn};
use crate::common::{Server, data_with_model, post};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

const GARDEN: [&str; 6] = [
    "I planted tomatoes and basil in the garden this morning.",
    "The roses need to be pruned before the summer, my neighbour says.",
    "Do you know how often tomato plants want water?",
    "I bought a new watering can and two bags of soil for the flower beds.",
    "The basil grows faster than the parsley in the raised beds.",
    "Next week I will build a trellis for the climbing beans.",
];
const TRAIN: [&str; 6] = [
    "Hey! Anyway, I booked the night train to Vienna for the ninth of June.",
    "The sleeper car costs 89 euros and leaves from platform four.",
    "My cousin Otto will meet me at the central station in Vienna.",
    "We have tickets for the opera on the second evening of the trip.",
    "The hotel is near the Danube, and breakfast is included.",
    "On the way back the train stops in Prague for three hours.",
];

/// What Lena says, each time with a short answer.
fn said(texts: &[&str]) -> Vec<Value> {
    let turn = |text: &&str| {
        [json!({"role": "user", "name": "Lena", "content": text}), json!({"role": "assistant", "content": "I see."})]
    };
    texts.iter().flat_map(turn).collect()
}

fn add(server: &Server, messages: &[Value], force: bool) -> Value {
    let stamp = "2023/05/20 (Sat) 00:44";
    let body = json!({"session": "one", "user": "lena", "time_stamp": stamp, "messages": messages, "force": force});
    post(server, "/v1/memories?explain=true", &body)
}

fn made(answer: &Value) -> Vec<Value> {
    answer["memories"].as_array().cloned().unwrap_or_default()
}

/// How often each message is a source of a memory.
fn sources(memories: &[Value]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for source in memories.iter().flat_map(|memory| memory["sources"].as_array().expect("a list")) {
        *counts.entry(source.as_str().expect("an id").to_owned()).or_default() += 1;
    }
    counts
}

fn ids(answer: &Value) -> Vec<String> {
    let messages = answer["messages"].as_array().expect("a list").iter();
    messages.map(|message| message["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn what_is_said_becomes_memories_by_topic_and_each_step_is_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let settings = json!({"memories": {"buffer_tokens": 120, "rate": 0.6}});
    assert_eq!(server.call("PUT", "/v1/collections/user-lena", &settings).0, 201);
    let texts = [GARDEN, GARDEN, TRAIN, TRAIN].concat();
    let answer = add(&server, &said(&texts), true);
    let topics: Vec<(i64, i64)> = answer["topics"]
        .as_array()
        .expect("topics")
        .iter()
        .map(|topic| (topic["from"].as_i64().expect("a place"), topic["until"].as_i64().expect("a place")))
        .collect();
    assert_eq!(topics, [(0, 24), (24, 48)], "two messages a turn, twelve turns a topic");
    assert_eq!(answer["topics"][0]["reason"], "topic");
    assert!(answer["topics"][0]["score"].as_f64() > Some(0.8), "{answer}");
    assert_eq!(answer["topics"][1]["reason"], "forced");
    assert_eq!(answer["waiting"], json!({"buffered_messages": 0, "topics": 0, "topic_tokens": 0}));
    assert_eq!(sources(&made(&answer)), ids(&answer).into_iter().map(|id| (id, 1)).collect(), "each message once");

    let steps = answer["explain"].as_array().expect("steps");
    let of = |step: &str| steps.iter().filter(|s| s["step"] == step).collect::<Vec<_>>();
    assert_eq!((of("normalise").len(), of("compress").len(), of("cut").len()), (48, 48, 2));
    assert_eq!(of("normalise")[2]["created_at"], "2023-05-20T00:44:01Z", "half a second each");
    assert_eq!(of("normalise")[0]["weekday"], "Sat");
    let tokens = |field: &str| of("compress").iter().map(|s| s[field].as_u64().expect("tokens")).sum::<u64>();
    let kept = tokens("compressed_tokens") as f64 / tokens("origin_tokens") as f64;
    assert!((0.4..0.8).contains(&kept), "{kept}");

    let question = json!({"query": "When does the train to Vienna leave?",
        "filter": {"field": "metadata.topic", "eq": 2}, "k": 1, "include": ["text", "metadata"]});
    let hit = &post(&server, "/v1/collections/user-lena/recall", &question)["hits"][0];
    assert_eq!(
        (&hit["metadata"]["weekday"], &hit["metadata"]["session"], &hit["metadata"]["compressed"]),
        (&json!("Sat"), &json!("one"), &json!(true))
    );
    assert_eq!(hit["metadata"]["speakers"], json!(["Lena", "assistant"]));
    assert!(hit["metadata"]["entities"].as_array().is_some_and(|names| names.contains(&json!("Vienna"))), "{hit}");
    let (_, context) =
        server.call("GET", "/v1/sessions/one/context?strategy=recall&query=train&max_tokens=4000", &Value::Null);
    let roles: Vec<&Value> = context["messages"].as_array().expect("messages").iter().map(|m| &m["role"]).collect();
    assert!(
        !roles.is_empty() && roles.iter().all(|role| *role == "user" || *role == "assistant"),
        "nothing stands there twice: {roles:?}"
    );
    let (_, whole) = server.call("GET", "/v1/sessions/one/messages?limit=100", &Value::Null);
    assert_eq!(whole["messages"][24]["content"], TRAIN[0], "what was said stays as it was said");
}

#[test]
fn nothing_is_lost_or_doubled_however_calls_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let mut server = Server::start(&data, &[]);
    let settings = json!({"memories": {"buffer_tokens": 60, "topic_tokens": 150, "rate": 1.0}});
    assert_eq!(server.call("PUT", "/v1/collections/user-lena", &settings).0, 201);
    let (mut memories, mut all) = (Vec::new(), Vec::new());
    for round in 0..12 {
        let messages = said(&[GARDEN[round % 6], TRAIN[round % 6]]);
        // A forced cut right after others: LightMem loses those (its fault 1).
        let answer = add(&server, &messages, round % 5 == 4);
        all.extend(ids(&answer));
        memories.extend(made(&answer));
        if round % 4 == 3 {
            // What waits in a buffer is there after a crash, and so is what was made (its faults: buffers lost,
            // stores wiped at start).
            server.kill_9();
            server = Server::start(&data, &[]);
        }
    }
    let last = add(&server, &[], true);
    memories.extend(made(&last));
    assert_eq!(sources(&memories), all.into_iter().map(|id| (id, 1)).collect());
    assert_eq!(last["waiting"]["buffered_messages"], 0);
    let filter = "%7B%22field%22%3A%22metadata.sources%22%2C%22exists%22%3Atrue%7D";
    let path = format!("/v1/collections/user-lena/records?limit=100&filter={filter}");
    let listed = server.call("GET", &path, &Value::Null).1;
    let listed = listed["records"].as_array().expect("records").len();
    assert_eq!(listed, memories.len(), "all of them are there");

    // Said again, as after an answer that was lost: nothing is remembered twice.
    let mut message = json!({"id": "m1", "content": "My sister Ida moved to Bergen."});
    let first = add(&server, std::slice::from_ref(&message), true);
    assert_eq!(made(&first).len(), 1);
    let again = add(&server, std::slice::from_ref(&message), true);
    assert_eq!((made(&again).len(), &again["version"]), (0, &first["version"]), "{again}");
    message["time_stamp"] = json!("the day before yesterday");
    let (status, problem) = server.call("POST", "/v1/memories", &json!({"session": "one", "messages": [message]}));
    assert_eq!((status, &problem["errors"][0]["pointer"]), (400, &json!("/messages/0/time_stamp")));
}

#[test]
fn time_that_passes_ends_a_topic_and_messages_out_of_the_list_are_remembered_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    assert_eq!(server.call("PUT", "/v1/sessions/s", &json!({"max_messages": 3})).0, 201);
    let mut answer = Value::Null;
    for day in 1..=4 {
        let messages: Vec<Value> =
            (0..3).map(|i| json!({"content": format!("On day {day} I saw {i} owls.")})).collect();
        let body = json!({"session": "s", "messages": messages, "time_stamp": format!("2026-05-0{day}T10:00:00Z"),
            "force": day == 4});
        answer = post(&server, "/v1/memories", &body);
        let reasons: Vec<&str> =
            answer["topics"].as_array().expect("a list").iter().filter_map(|t| t["reason"].as_str()).collect();
        assert_eq!(reasons, [&[], &["time"][..], &["time"], &["time", "forced"]][day - 1], "day {day}");
    }
    let memories = made(&answer);
    assert_eq!(memories.len(), 4);
    assert_eq!(memories[0]["text"].as_str().expect("a text").lines().count(), 3, "{memories:?}");
    assert_eq!(memories[0]["created_at"], "2026-05-01T10:00:00Z");
}

#[test]
fn what_waits_is_looked_at_again_with_every_turn_and_embedded_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let settings = json!({"memories": {"buffer_tokens": 20, "topic_tokens": 2000}});
    assert_eq!(server.call("PUT", "/v1/collections/user-lena", &settings).0, 201);
    let mut costs = Vec::new();
    for turn in said(&[GARDEN, TRAIN].concat()).chunks(2) {
        let before = server.count("membox_tokens_total{kind=\"encoded\"}");
        add(&server, turn, false);
        costs.push(server.count("membox_tokens_total{kind=\"encoded\"}") - before);
    }
    // Two messages, and the turn that they are, of some twenty tokens; all turns before it would be over two hundred.
    assert!(costs[3..].iter().all(|&cost| (20..90).contains(&cost)), "{costs:?}");
}

#[test]
fn texts_are_cut_where_the_topic_changes_by_every_rule() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let texts = [GARDEN, GARDEN, TRAIN, TRAIN].concat();
    let cuts = |rule: &str| -> Vec<u64> {
        let answer = post(&server, "/v1/topics", &json!({"texts": texts, "cut": rule}));
        answer["cuts"].as_array().expect("cuts").iter().map(|cut| cut["at"].as_u64().expect("a place")).collect()
    };
    assert_eq!(cuts("depth"), [12]);
    for rule in ["cosine", "lightmem"] {
        let found = cuts(rule);
        assert!(found.iter().all(|&at| at > 0 && at < 24) && found.is_sorted(), "{rule}: {found:?}");
    }
    assert!(cuts("cosine").contains(&12), "neighbours that have nothing in common");
    let (status, problem) = server.call("POST", "/v1/topics", &json!({"texts": ["a"], "cut": "time"}));
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/cut")));
}

/// A box whose language models are these.
fn start_with(folder: &Path, models: &[&StandIn], more: &str) -> Server {
    let mut settings = format!("[llm]\ntimeout_s = 2\ntries = 2\nrest_s = 0\n{more}\n");
    for (i, model) in models.iter().enumerate() {
        settings.push_str(&format!(
            "[[llm.endpoints]]\nurl = \"{}\"\nmodel = \"stand-in-{i}\"\nkey = \"secret-{i}\"\n",
            model.url
        ));
    }
    std::fs::write(folder.join("membox.toml"), settings).expect("a file");
    Server::start(&data_with_model(folder), &[])
}

#[test]
fn a_language_model_finds_facts_and_each_is_of_its_own_message() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = StandIn::start();
    let server = start_with(folder.path(), &[&model], "");
    let settings = json!({"memories": {"buffer_tokens": 60, "topic_tokens": 100, "roles": ["user"]}});
    assert_eq!(server.call("PUT", "/v1/collections/user-lena", &settings).0, 201);
    // Several jobs of one call: LightMem gives the facts of the second to wrong messages (its fault 2).
    let texts = [GARDEN, TRAIN, GARDEN, TRAIN].concat();
    let answer = add(&server, &said(&texts), true);
    assert!(model.asked().len() > 2, "{}", model.asked().len());
    let memories = made(&answer);
    assert_eq!(memories.len(), texts.len());
    let ids = ids(&answer);
    for (i, memory) in memories.iter().enumerate() {
        assert_eq!(memory["sources"], json!([ids[2 * i]]));
        assert_eq!(memory["text"], format!("Lena said: {}", texts[i]));
    }
    assert_eq!(answer["llm"]["calls"], model.asked().len());
    assert_eq!(answer["llm"]["prompt_tokens"], 100 * model.asked().len());
    let asked = &model.asked()[0];
    assert_eq!((&asked["model"], &asked["authorization"]), (&json!("stand-in-0"), &json!("Bearer secret-0")));
    let question = asked["messages"][1]["content"].as_str().expect("a question");
    let first: Value = serde_json::from_str(question.lines().next().expect("a line")).expect("JSON");
    let message = json!({"number": 1, "time": "2023-05-20T00:44:00Z", "day": "Sat", "topic": 1, "speaker": "Lena",
        "text": GARDEN[0]});
    assert_eq!(first, message);
    assert_eq!(asked["response_format"]["json_schema"]["name"], "facts");
    let usage = server.call("GET", "/v1/usage?user=lena", &Value::Null).1;
    assert_eq!(usage["usage"][0]["tokens"], 110 * model.asked().len(), "{usage}");
    // A collection may do without.
    let settings = json!({"memories": {"llm": false, "rate": 1.0}});
    assert_eq!(server.call("PUT", "/v1/collections/user-otto", &settings).0, 201);
    let body = json!({"session": "two", "user": "otto", "messages": said(&GARDEN[..2]), "force": true});
    let before = model.asked().len();
    assert_eq!(made(&post(&server, "/v1/memories", &body))[0]["text"].as_str().map(|t| t.lines().count()), Some(4));
    assert_eq!(model.asked().len(), before);
}

#[test]
fn a_language_model_that_fails_costs_time_and_no_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let (model, other) = (StandIn::start(), StandIn::start());
    let server = start_with(folder.path(), &[&model, &other], "");
    let failures = [
        Behaviour::Status(429),
        Behaviour::Status(500),
        Behaviour::Stall(Duration::from_secs(4)),
        Behaviour::Garbage,
        Behaviour::Write("no JSON at all".into()),
        Behaviour::Write("{\"facts\": []}".into()),
    ];
    let facts = |answer: &Value| made(answer).len();
    for (i, failure) in failures.iter().enumerate() {
        let message = [json!({"content": format!("Fact number {i}.")})];
        // Once: it is asked again.
        model.then([failure.clone()]);
        let answer = add(&server, &message, true);
        assert_eq!((facts(&answer), &answer["problem"]), (1, &Value::Null), "{failure:?}: {answer}");
        assert_eq!(answer["llm"]["failed"], 1);
        // Twice: the other one is asked.
        model.then([failure.clone(), failure.clone()]);
        let before = other.asked().len();
        assert_eq!(facts(&add(&server, &message, true)), 1, "{failure:?}");
        assert_eq!(other.asked().len(), before + 1);
        // All: what was said waits, and the next call makes it a memory. LightMem goes on without a word.
        model.then([failure.clone(), failure.clone()]);
        other.then([failure.clone(), failure.clone()]);
        let answer = add(&server, &message, true);
        assert_eq!((facts(&answer), &answer["waiting"]["topics"]), (0, &json!(1)), "{failure:?}");
        assert!(answer["problem"].as_str().expect("a reason").contains("stand-in-1"), "{answer}");
        assert_eq!(facts(&add(&server, &[], true)), 1, "{failure:?}");
    }
    // A wrong key stays wrong: nobody is asked twice.
    let before = model.asked().len();
    model.then([Behaviour::Status(401)]);
    assert_eq!(facts(&add(&server, &[json!({"content": "One more."})], true)), 1);
    assert_eq!(model.asked().len(), before + 1);
    let (_, _, shown) = server.raw("GET", "/metrics", &[], Vec::new());
    assert!(
        shown.contains("membox_llm_calls_total{outcome=\"failed\"}")
            && shown.contains("membox_extractions_failed_total 6")
    );
}

#[test]
fn a_budget_bounds_what_language_models_may_use_in_a_day() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = StandIn::start();
    let server = start_with(folder.path(), &[&model], "tokens_per_day = 200");
    let say = |text: &str| add(&server, &[json!({ "content": text })], true);
    assert_eq!((made(&say("One.")).len(), made(&say("Two.")).len()), (1, 1), "110 tokens each");
    let answer = say("Three.");
    assert_eq!(made(&answer).len(), 0);
    assert!(answer["problem"].as_str().expect("a reason").contains("tokens_per_day"), "{answer}");
    assert_eq!(model.asked().len(), 2);
    // A restart makes no tokens.
    server.stop();
    let server = Server::start(&folder.path().join("data"), &[]);
    let answer = add(&server, &[json!({ "content": "Four." })], true);
    assert!(answer["problem"].as_str().is_some_and(|reason| reason.contains("tokens_per_day")), "{answer}");
    assert_eq!(model.asked().len(), 2);
}

#[test]
fn newer_memories_change_older_ones_and_their_vectors_with_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = StandIn::start();
    let server = start_with(folder.path(), &[&model], "");
    let fact = |id: &str, day: usize, text: &str| {
        model.then([Behaviour::Write(json!({"data": [{"source_id": 1, "fact": text}]}).to_string())]);
        let body = json!({"session": id, "user": "lena", "messages": [{"content": text}],
            "time_stamp": format!("2026-05-0{day}"), "force": true});
        made(&post(&server, "/v1/memories", &body))[0]["id"].as_str().expect("an id").to_owned()
    };
    let cat = fact("a", 1, "Lena has a cat that is called Miso.");
    let home = fact("b", 2, "Lena lives in Bergen in a red house.");
    let newer_home = fact("c", 3, "Lena lives in Oslo in a red house.");
    let newer_cat = fact("d", 4, "Lena has a cat that is called Miso and a dog.");
    let job = json!({"user": "lena", "score_threshold": 0.7});
    let dry = server.job("/v1/memories:update", &json!({"user": "lena", "score_threshold": 0.7, "dry_run": true}));
    assert_eq!((&dry["memories"], &dry["queued"], &dry["kept"]), (&json!(4), &json!(2), &json!(2)), "{dry}");
    let asked = model.asked();
    let question = asked.last().expect("a question")["messages"][1]["content"].as_str().expect("a text");
    assert!(question.contains("Bergen") && question.contains("Oslo") && !question.contains("Miso"), "{question}");

    let merged = "Lena has a cat, Miso, and a dog, and keeps both in her garden in Trondheim.";
    model.then([
        Behaviour::Write(json!({"action": "update", "new_memory": merged}).to_string()),
        Behaviour::Write(json!({"action": "delete"}).to_string()),
    ]);
    let report = server.job("/v1/memories:update", &job);
    assert_eq!((&report["updated"], &report["deleted"]), (&json!(1), &json!(1)), "{report}");
    assert_eq!(report["changes"][0]["newer"][0][0], json!(newer_cat));
    let record = |id: &str| server.call("GET", &format!("/v1/collections/user-lena/records/{id}"), &Value::Null);
    assert_eq!(record(&home).0, 404);
    let (status, absorbing) = record(&newer_home);
    assert_eq!((status, &absorbing["metadata"]["history"][0]["id"]), (200, &json!(home)), "it can be brought back");
    let (_, updated) = record(&cat);
    assert_eq!((&updated["text"], &updated["version"]), (&json!(merged), &json!(2)));
    assert_eq!(updated["metadata"]["history"][0]["text"], "Lena has a cat that is called Miso.");
    // LightMem keeps the old vector (its fault 3): what is asked for by the new words would not be found.
    let question = json!({"query": merged, "mode": "vector", "k": 1});
    let hit = &post(&server, "/v1/collections/user-lena/recall", &question)["hits"][0];
    assert_eq!(hit["id"], json!(cat));
    assert!(hit["score"].as_f64() > Some(0.98), "{hit}");

    // One that fails in the middle is said to.
    model.then(vec![Behaviour::Status(400); 4]);
    let report = server.job("/v1/memories:update", &json!({"user": "lena", "score_threshold": 0.3}));
    assert!(report["problem"].as_str().is_some_and(|reason| reason.contains("400")), "{report}");
}

#[test]
fn without_a_language_model_what_is_said_again_becomes_history() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let settings = json!({"memories": {"rate": 1.0, "roles": ["user"]}});
    assert_eq!(server.call("PUT", "/v1/collections/user-lena", &settings).0, 201);
    let say = |session: &str, day: usize, text: &str| {
        let body = json!({"session": session, "user": "lena", "messages": [{"content": text}],
            "time_stamp": format!("2026-05-0{day}"), "force": true});
        made(&post(&server, "/v1/memories", &body))[0]["id"].as_str().expect("an id").to_owned()
    };
    let old = say("a", 1, "My spare key lies under the blue pot behind the shed.");
    let new = say("b", 2, "My spare key lies under the blue pot, behind the shed!");
    let other = say("c", 3, "My spare key has number 77.");
    let report = server.job("/v1/memories:update", &json!({"user": "lena"}));
    assert_eq!((&report["memories"], &report["merged"]), (&json!(3), &json!(1)), "{report}");
    let record = |id: &str| server.call("GET", &format!("/v1/collections/user-lena/records/{id}"), &Value::Null);
    assert_eq!((record(&old).0, record(&other).0), (404, 200));
    assert_eq!(record(&new).1["metadata"]["history"][0]["id"], json!(old));

    // A caller's own records may have a topic too: they are none of the pipeline's, though they say the same.
    let own = |text: &str| {
        json!({"records": [{"id": "own", "text": text, "user": "lena",
            "metadata": {"topic": "keys"}, "created_at": "2026-05-01T00:00:00Z"}]})
    };
    post(&server, "/v1/collections/user-lena/records", &own("My spare key has number 77."));
    let report = server.job("/v1/memories:update", &json!({"user": "lena"}));
    assert_eq!((&report["memories"], &report["merged"]), (&json!(2), &json!(0)), "{report}");
    let patch = json!({"text": "My spare key has number 77, says Henrik Ibsen."});
    let (status, patched) = server.call("PATCH", "/v1/collections/user-lena/records/own", &patch);
    assert_eq!(
        (status, &patched["metadata"]),
        (200, &json!({"topic": "keys"})),
        "no keywords where none were asked for"
    );

    // At once, where a collection says so.
    let settings = json!({"memories": {"rate": 1.0, "roles": ["user"], "update": "online"}});
    assert_eq!(server.call("PUT", "/v1/collections/user-lena", &settings).0, 200);
    let body = json!({"session": "d", "user": "lena", "messages": [{"content": "My spare key has number 77!"}],
        "time_stamp": "2026-05-04", "force": true});
    let answer = post(&server, "/v1/memories", &body);
    assert_eq!(
        (&answer["updates"][0]["id"], &answer["updates"][0]["decision"]),
        (&json!(other), &json!("merge")),
        "{answer}"
    );
    assert_eq!(record(&other).0, 404);
}
