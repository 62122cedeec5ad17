//! Answers that are remembered are those that would be found, whatever was written meanwhile.

use crate::common::{Server, data_with_model, post};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::time::Duration;

const NOTES: &str = "/v1/collections/notes";
const THINGS: [&str; 8] = ["key", "pot", "boat", "train", "garden", "opera", "dog", "letter"];
const PLACES: [&str; 6] = ["Oslo", "Vienna", "the shed", "the cellar", "Lisbon", "the park"];

fn start(folder: &std::path::Path, answers: &str) -> Server {
    Server::try_start(&data_with_model(folder), &[], &[("MEMBOX_ANSWER_CACHE", answers)]).expect("a server")
}

/// How often an answer was remembered, and how often it was not.
fn counts(server: &Server) -> (u64, u64) {
    (server.count("membox_answer_cache_hits_total"), server.count("membox_answer_cache_misses_total"))
}

fn recall(server: &Server, body: &Value) -> Value {
    post(server, &format!("{NOTES}/recall"), body)["hits"].clone()
}

fn question(random: &mut SmallRng) -> Value {
    let thing = THINGS.choose(random).expect("one");
    match random.random_range(0..4) {
        0 => json!({"query": format!("Where is the {thing}?"), "k": 3}),
        1 => json!({"query": thing, "mode": "text", "k": 5, "include": ["text"]}),
        2 => {
            json!({"query": format!("the {thing}"), "mode": "vector", "k": 4,
                "filter": {"field": "metadata.n", "lt": 5}})
        }
        _ => json!({"query": format!("a {thing}"), "rerank": {"mmr_lambda": 0.7}, "k": 2, "budget": {"tokens": 60}}),
    }
}

/// Hits without when they were written.
fn without_times(mut hits: Value) -> Value {
    let all = hits.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut);
    all.for_each(|hit| drop(hit.remove("updated_at")));
    hits
}

#[test]
fn a_box_that_remembers_answers_gives_those_of_one_that_does_not() {
    let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let boxes = [start(folders[0].path(), "1000"), start(folders[1].path(), "0")];
    let both =
        |method: &str, path: &str, body: &Value| boxes.each_ref().map(|server| server.call(method, path, body).0);
    assert_eq!(both("PUT", NOTES, &json!({})), [201, 201]);
    let mut random = SmallRng::seed_from_u64(7);
    for step in 0..400 {
        let id = format!("r{}", random.random_range(0..30));
        let (thing, place) = (THINGS.choose(&mut random).expect("one"), PLACES.choose(&mut random).expect("one"));
        let text = format!("The {thing} is in {place}.");
        let statuses = match random.random_range(0..20) {
            0..2 => {
                let n = random.random_range(0..10);
                let record = json!({"id": id, "text": text, "metadata": {"n": n},
                    "created_at": "2026-01-01T00:00:00Z", "session": "s"});
                both("POST", &format!("{NOTES}/records"), &json!({"records": [record]}))
            }
            2 => both("DELETE", &format!("{NOTES}/records/{id}"), &Value::Null),
            3 => both("PATCH", &format!("{NOTES}/records/{id}"), &json!({"metadata": {"n": step % 10}})),
            4 if step % 3 == 0 => both("PUT", NOTES, &json!({"synonyms": [[thing, "thingamajig"]]})),
            _ => {
                let question = question(&mut random);
                // Both boxes write at times of their own.
                let answers = boxes.each_ref().map(|server| without_times(recall(server, &question)));
                assert_eq!(answers[0], answers[1], "step {step}: {question}");
                [200, 200]
            }
        };
        assert_eq!(statuses[0], statuses[1], "step {step}");
    }
    let (remembered, _) = counts(&boxes[0]);
    assert!(remembered > 30, "{remembered}");
    assert_eq!(counts(&boxes[1]), (0, 0));
}

#[test]
fn most_of_repeated_traffic_is_remembered_until_it_could_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), "1000");
    assert_eq!(server.call("PUT", NOTES, &json!({"kinds": {"fleeting": {"ttl_s": 1}}})).0, 201);
    let write = |id: usize, kind: &str| {
        let text = format!("The {} is in {}.", THINGS[id % 8], PLACES[id % 6]);
        let record = json!({"id": id.to_string(), "text": text, "kind": kind});
        post(&server, &format!("{NOTES}/records"), &json!({"records": [record]}));
    };
    (0..40).for_each(|id| write(id, "semantic"));
    // Questions as people ask them, few of them often: the share of rank r goes with 1/r. One write in fifty.
    let questions: Vec<Value> = (0..200).map(|i| json!({"query": format!("{} number {i}", THINGS[i % 8])})).collect();
    let weights: Vec<f64> = (1..=questions.len()).map(|rank| 1.0 / rank as f64).collect();
    let mut random = SmallRng::seed_from_u64(11);
    let asked = 1000;
    for i in 0..asked {
        let mut left = random.random_range(0.0..weights.iter().sum::<f64>());
        let rank = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        recall(&server, &questions[rank.unwrap_or(0)]);
        if i == asked / 2 {
            write(100, "semantic");
        }
    }
    let (hits, misses) = counts(&server);
    assert_eq!(hits + misses, asked);
    assert!(hits as f64 / asked as f64 > 0.6, "{hits} of {asked}");

    // A record's end is a change too.
    write(200, "fleeting");
    let question = json!({"query": "letter", "k": 100});
    let there = |hits: &Value| hits.as_array().expect("hits").iter().any(|hit| hit["id"] == "200");
    assert!(there(&recall(&server, &question)) && there(&recall(&server, &question)));
    std::thread::sleep(Duration::from_millis(1100));
    assert!(!there(&recall(&server, &question)), "its time has come");
    // What goes by the time of asking is not remembered.
    let recent = json!({"query": "letter", "rerank": {"recency_weight": 0.2}});
    let before = counts(&server);
    recall(&server, &recent);
    recall(&server, &recent);
    assert_eq!(counts(&server), before);
}
