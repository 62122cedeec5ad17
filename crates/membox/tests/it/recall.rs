//! What a recall finds, how sure it is of it, and what a request may ask of it.

use crate::common::{Server, data_with_model, post};
use serde_json::{Value, json};

const RECALL: &str = "/v1/collections/c/recall";

fn hits(server: &Server, request: &Value) -> Vec<Value> {
    post(server, RECALL, request)["hits"].as_array().expect("hits").clone()
}

fn ids(hits: &[Value]) -> Vec<&str> {
    hits.iter().map(|hit| hit["id"].as_str().expect("an id")).collect()
}

fn turn(id: &str, speaker: &str, text: &str) -> Value {
    let day = id.len() + usize::from(id.as_bytes()[0] - b'a');
    json!({"id": id, "text": text, "session": "s", "metadata": {"speaker": speaker},
        "created_at": format!("2026-05-{:02}T10:00:00Z", day + 1)})
}

/// A conversation of two people.
fn conversation(folder: &std::path::Path) -> Server {
    let server = Server::start(&data_with_model(folder), &[]);
    let turns = json!({"records": [
        turn("a", "Caroline", "I signed up for a pottery class, it starts on Tuesday."),
        turn("b", "Melanie", "Great! I signed up for a swimming class last week."),
        turn("c", "Caroline", "Where is it?"),
        turn("d", "Melanie", "At the old harbour, the water is warm."),
        turn("e", "Caroline", "My sister Ann has moved to Lisbon with her dog."),
        turn("f", "Melanie", "I baked a cake with too much sugar."),
        turn("g", "Caroline", "The cat sleeps on the radiator all day."),
    ]});
    server.call("PUT", "/v1/collections/c", &json!({}));
    post(&server, "/v1/collections/c/records", &turns);
    server
}

#[test]
fn hits_say_how_relevant_they_are_in_every_mode_and_what_is_not_known_is_not_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = conversation(folder.path());
    let best = |query: &str, mode: &str| {
        let found = hits(&server, &json!({"query": query, "mode": mode, "k": 3}));
        found.iter().map(|hit| hit["relevance"].as_f64().expect("a relevance")).fold(0.0, f64::max)
    };
    for mode in ["hybrid", "text", "vector"] {
        let known = best("Which class did Caroline sign up for?", mode);
        assert!(known > 0.06 && known <= 1.0, "{mode}: {known}");
    }
    let unknown = best("What does the invoice of the plumber say?", "hybrid");
    assert!(unknown < 0.04, "{unknown}");
    let asked = json!({"query": "What does the invoice of the plumber say?", "min_relevance": 0.04});
    assert_eq!(hits(&server, &asked), Vec::<Value>::new(), "nothing is remembered about this");
    let asked = json!({"query": "Which class did Caroline sign up for?", "min_relevance": 0.04});
    assert_eq!(ids(&hits(&server, &asked))[0], "a");
    let (a, b) = ("Which class did Caroline sign up for?", "hybrid");
    let in_mode = |mode: &str| hits(&server, &json!({"query": a, "mode": mode}))[0]["relevance"].clone();
    assert_eq!(in_mode(b), in_mode("text"), "a number of question and record, not of the mode");
    let (status, answer) = server.call("POST", RECALL, &json!({"query": a, "min_relevance": 1.5}));
    assert_eq!((status, &answer["errors"][0]["pointer"]), (422, &json!("/min_relevance")), "{answer}");
}

#[test]
fn the_question_names_who_said_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = conversation(folder.path());
    let best = |query: &str| ids(&hits(&server, &json!({"query": query, "k": 1})))[0].to_owned();
    assert_eq!(best("Which class has Caroline signed up for?"), "a");
    assert_eq!(best("Which class has Melanie signed up for?"), "b");
}

#[test]
fn an_explanation_adds_up_to_the_score() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = conversation(folder.path());
    let query = "Which class has Caroline signed up for?";
    let rerank = json!({"recency_weight": 0.2, "importance_weight": 0.1});
    for (mode, rerank) in [("hybrid", json!(null)), ("hybrid", rerank), ("text", json!(null)), ("vector", json!(null))]
    {
        let asked = json!({"query": query, "mode": mode, "rerank": rerank, "explain": true});
        let found = hits(&server, &asked);
        for hit in &found {
            let parts = hit["explanation"]["parts"].as_array().expect("parts");
            let sum: f64 = parts.iter().map(|part| part["score"].as_f64().expect("a score")).sum();
            assert!((sum - hit["score"].as_f64().expect("a score")).abs() < 1e-4, "{mode}: {hit}");
        }
        let terms = found[0]["explanation"]["terms"].as_array().expect("terms");
        let pottery = |name: &str| terms.iter().find(|term| term["term"] == name).map(|term| term["found"].clone());
        assert_eq!(pottery("class"), Some(json!(true)), "{terms:?}");
    }
    let best = &hits(&server, &json!({"query": query, "explain": true}))[0];
    let names: Vec<&str> =
        best["explanation"]["parts"].as_array().expect("parts").iter().flat_map(|p| p["part"].as_str()).collect();
    assert!(names.contains(&"name") && names.contains(&"tokens"), "{names:?}");
    let tokens = best["explanation"]["tokens"].as_array().expect("tokens");
    let weight: f64 = tokens.iter().map(|token| token["weight"].as_f64().expect("a weight")).sum();
    assert!((weight - 1.0).abs() < 1e-4 && tokens.iter().any(|token| token["text"] == "class"), "{tokens:?}");
    let off = &hits(&server, &json!({"query": query, "explain": true, "late_interaction": false}))[0];
    assert_eq!(off["explanation"]["tokens"], Value::Null);
    assert!(hits(&server, &json!({"query": query}))[0].get("explanation").is_none(), "only who asks hears it");
}

#[test]
fn an_answer_comes_before_a_question_with_the_same_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    server.call("PUT", "/v1/collections/c", &json!({}));
    let turns = [
        ("ann", "Where do you keep the spare key?"),
        ("bo", "The spare key is under the blue pot."),
        ("ann", "Lovely weather today."),
        ("bo", "We should go for a walk."),
    ];
    let turn = |(i, (speaker, text)): (usize, &(&str, &str))| {
        let said_by = json!({"speaker": speaker});
        json!({"id": i.to_string(), "text": text, "session": "s", "metadata": said_by})
    };
    let records: Vec<Value> = turns.iter().enumerate().map(turn).collect();
    post(&server, "/v1/collections/c/records", &json!({ "records": records }));
    let found = hits(&server, &json!({"query": "Where is the spare key?", "explain": true}));
    assert_eq!(ids(&found)[..2], ["1", "0"]);
    let parts = |hit: &Value| hit["explanation"]["parts"].as_array().expect("parts").clone();
    let asks = |hit: &Value| parts(hit).into_iter().find(|part| part["part"] == "question");
    let part = asks(&found[1]).expect("it only asks");
    assert!(part["value"] == 1.0 && part["score"].as_f64().expect("a score") < 0.0, "{part}");
    assert!(found.iter().enumerate().all(|(at, hit)| at == 1 || asks(hit).is_none()), "{found:?}");
}

#[test]
fn what_is_excluded_is_no_hit_and_hits_come_in_the_order_that_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = conversation(folder.path());
    let query = "Which class has Caroline signed up for?";
    let all = hits(&server, &json!({"query": query}));
    let without = hits(&server, &json!({"query": query, "exclude": {"ids": ["a", "x"]}}));
    assert!(ids(&all).contains(&"a") && !ids(&without).contains(&"a") && without.len() == all.len() - 1);
    assert!(hits(&server, &json!({"query": query, "exclude": {"sessions": ["s"]}})).is_empty());
    let (status, answer) = server.call("POST", RECALL, &json!({"query": query, "exclude": {"users": ["u"]}}));
    assert_eq!((status, &answer["errors"][0]["pointer"]), (400, &json!("/exclude/users")), "{answer}");
    let many = vec!["a"; 1001];
    let (status, answer) = server.call("POST", RECALL, &json!({"query": query, "exclude": {"ids": many}}));
    assert_eq!((status, &answer["errors"][0]["pointer"]), (422, &json!("/exclude/ids")), "{answer}");
    let small = json!({"query": query, "order": "time", "k": 4, "budget": {"tokens": 40}});
    let context = post(&server, RECALL, &small)["context"].clone();
    let text = context["text"].as_str().expect("a text");
    assert!(text.starts_with("I signed up for a pottery class"), "the best is in it, where it was said: {context}");
    let by_time = hits(&server, &json!({"query": query, "order": "time", "k": 4}));
    let times: Vec<&str> = by_time.iter().map(|hit| hit["created_at"].as_str().expect("a time")).collect();
    assert!(times.len() == 4 && times.is_sorted(), "{times:?}");
}

#[test]
fn near_doubles_fold_into_the_best_of_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = conversation(folder.path());
    let doubles = json!({"records": [
        {"id": "x1", "text": "The spare key is under the blue flower pot."},
        {"id": "x2", "text": "the spare key is under the blue flower pot"},
        {"id": "x3", "text": "The spare key is under the blue flower pot!"},
    ]});
    post(&server, "/v1/collections/c/records", &doubles);
    let query = "Where is the spare key?";
    assert_eq!(hits(&server, &json!({"query": query, "k": 3})).len(), 3);
    let folded = hits(&server, &json!({"query": query, "k": 3, "fold_doubles": 0.97}));
    assert_eq!(folded.len(), 3, "others take their places");
    assert_eq!(folded[0]["doubles"].as_array().map(Vec::len), Some(2), "{folded:?}");
    assert!(folded[1..].iter().all(|hit| hit.get("doubles").is_none()));
}

#[test]
fn a_question_in_a_language_that_the_model_does_not_know_is_answered_by_its_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = conversation(folder.path());
    let texts = ["我对青霉素过敏。", "我住的那个小区叫绿洲家园。", "他们明天去爬山。", "我的上司只有高中学历。"];
    let records: Vec<Value> =
        texts.iter().enumerate().map(|(i, text)| json!({"id": i.to_string(), "text": text})).collect();
    post(&server, "/v1/collections/c/records", &json!({"records": records}));
    for (question, id) in [("那个对什么药过敏？", "0"), ("小区叫什么来着？", "1"), ("谁的学历是高中？", "3")]
    {
        assert_eq!(ids(&hits(&server, &json!({"query": question, "k": 2})))[0], id, "{question}");
    }
}

#[test]
fn a_time_in_the_question_counts_for_records_of_that_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    server.call("PUT", "/v1/collections/c", &json!({}));
    let record =
        |id: &str, time: &str| json!({"id": id, "text": format!("We ran ten miles, {id} of us."), "created_at": time});
    let runs = [("two", "2026-05-04T08:00:00Z"), ("three", "2026-05-13T08:00:00Z"), ("four", "2026-05-19T08:00:00Z")];
    let records: Vec<Value> = runs.iter().map(|(id, time)| record(id, time)).collect();
    post(&server, "/v1/collections/c/records", &json!({ "records": records }));
    let asked = |time: &str| {
        let request = json!({"query": "How far did we run last week?", "now": "2026-05-20T15:00:00Z", "time": time,
            "explain": true});
        post(&server, RECALL, &request)
    };
    let boosted = asked("boost");
    assert_eq!(
        boosted["time"],
        json!({"text": "last week", "from": "2026-05-11T00:00:00Z", "until": "2026-05-18T00:00:00Z"})
    );
    let found = boosted["hits"].as_array().expect("hits");
    assert_eq!((ids(found)[0], found.len()), ("three", 3));
    assert!(found[0]["explanation"]["parts"].as_array().expect("parts").iter().any(|part| part["part"] == "time"));
    assert_eq!(ids(asked("filter")["hits"].as_array().expect("hits")), ["three"]);
    assert_eq!(asked("off").get("time"), None);
    let wrong = json!({"query": "last week", "now": "soon"});
    let (status, answer) = server.call("POST", RECALL, &wrong);
    assert_eq!((status, &answer["errors"][0]["pointer"]), (400, &json!("/now")), "{answer}");
}

#[test]
fn a_vector_is_asked_by_itself_or_as_that_of_the_words_beside_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    server.call("PUT", "/v1/collections/c", &json!({"dimension": 2, "vector_type": "f32"}));
    let records = json!({"records": [
        {"id": "east", "text": "a boat", "vector": [1, 0]}, {"id": "north", "text": "a harbour", "vector": [0, 1]}]});
    post(&server, "/v1/collections/c/records", &records);
    let alone = hits(&server, &json!({"vector": [0.1, 1]}));
    assert_eq!(alone, hits(&server, &json!({"vector": [0.1, 1], "mode": "vector"})), "it is the mode of a vector");
    let scores = |request: Value| hits(&server, &request)[0]["scores"].clone();
    let both = json!({"query": "harbour", "vector": [0.1, 1]});
    assert_eq!(ids(&hits(&server, &both))[0], "north");
    assert!(scores(both.clone())["text"].as_f64().is_some_and(|score| score > 0.0), "{}", scores(both.clone()));
    assert_eq!(scores(both)["vector"], alone[0]["score"]);
    let (words, far) = (json!({"query": "boat", "vector": [0, 1], "k": 2}), json!({"vector": [0, 1], "k": 2}));
    assert_eq!((ids(&hits(&server, &words)).len(), ids(&hits(&server, &far))[0]), (2, "north"));
    for (request, pointer) in [
        (json!({"query": "boat", "vector": [0, 1], "mode": "text"}), "/mode"),
        (json!({"query": "boat", "vector": [0, 1], "mode": "vector"}), "/mode"),
        (json!({"vector": [0, 1], "mode": "hybrid"}), "/mode"),
        (json!({"queries": ["boat"], "vector": [0, 1]}), "/query"),
        (json!({"query": "boat", "vector": [0]}), "/vector"),
        (json!({}), "/query"),
    ] {
        let (status, problem) = server.call("POST", RECALL, &request);
        assert_eq!((status, &problem["errors"][0]["pointer"]), (400, &json!(pointer)), "{request}: {problem}");
    }
    server.stop();
}
