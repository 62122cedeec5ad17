//! Texts that are longer than the model reads at once: each part of them has a vector, and they are one record.

use crate::common::{KeptOnFailure, Server, data_with_model, membox, post};
use serde_json::{Value, json};

const COLLECTION: &str = "/v1/collections/c";
const TOPICS: [&str; 10] = [
    "the weather in Bergen was rainy",
    "we discussed the quarterly budget",
    "the train to Oslo was late",
    "Tom repaired the fence",
    "the children played football",
    "soup recipes with leek",
    "a new bicycle lane",
    "the library opens late",
    "the roof needs paint",
    "neighbours sold their car",
];
const ASKED: &str = "how do I get online in the hut?";
const ANSWER: &str = "The wifi password of the cabin is quokka-lantern.";

/// A text of so many sentences on other things, which one more ends.
fn text(sentences: usize, last: &str) -> String {
    let other = |i: usize| format!("{}. ", TOPICS[(i * 7 + i / 10) % 10]);
    (0..sentences).map(other).chain([last.to_owned()]).collect()
}

fn write(server: &Server, records: &Value) -> Value {
    post(server, &format!("{COLLECTION}/records"), &json!({ "records": records }))
}

/// One long record, with an answer at its end, and 40 short ones.
fn fill(server: &Server, settings: &Value) -> Value {
    let (status, answer) = server.call("PUT", COLLECTION, settings);
    assert!(status == 200 || status == 201, "{answer}");
    let short =
        |i: usize| json!({"id": format!("s{i}"), "text": format!("{} and it was at house {i}", TOPICS[i % 10])});
    let long = json!({"id": "long", "text": text(120, ANSWER), "user": "lena"});
    let records: Vec<Value> = [long].into_iter().chain((0..40).map(short)).collect();
    write(server, &json!(records))
}

fn hits(server: &Server, question: &str, mode: &str) -> Vec<Value> {
    let recall = json!({"query": question, "k": 50, "mode": mode});
    post(server, &format!("{COLLECTION}/recall"), &recall)["hits"].as_array().expect("hits").clone()
}

fn rank(hits: &[Value], id: &str) -> usize {
    assert_eq!(hits.iter().filter(|hit| hit["id"] == id).count(), 1, "{id} is found once");
    hits.iter().position(|hit| hit["id"] == id).expect("it is found") + 1
}

/// The hit of the long record by vector, among the first five.
fn long_hit(server: &Server) -> Value {
    let found = hits(server, ASKED, "vector");
    let rank = rank(&found, "long");
    assert!(rank <= 5, "it is number {rank}");
    found[rank - 1].clone()
}

/// The part of a hit's text that it says has matched.
fn matched(hit: &Value) -> String {
    let at = |name: &str| hit["matched"][name].as_u64().unwrap_or_else(|| panic!("{hit}")) as usize;
    hit["text"].as_str().expect("its text").chars().take(at("end")).skip(at("start")).collect()
}

/// Records of a collection, and vectors that they have.
fn counts(server: &Server) -> (u64, u64) {
    let (_, view) = server.call("GET", COLLECTION, &Value::Null);
    let count = |name: &str| view[name].as_u64().unwrap_or_else(|| panic!("{view}"));
    (count("records"), count("vectors"))
}

#[test]
fn what_stands_at_the_end_of_a_long_text_is_found() {
    let folder = KeptOnFailure::new();
    let data = data_with_model(folder.path());
    let mut server = Server::start(&data, &[]);
    let answer = fill(&server, &json!({}));
    assert_eq!(answer["records"][0], json!({"id": "long", "version": 1}), "all of it is in vectors");
    for is_started_again in [false, true] {
        if is_started_again {
            server.stop();
            server = Server::start(&data, &[]);
        }
        let (records, vectors) = counts(&server);
        assert!(records == 41 && (44..=56).contains(&vectors), "{records} records, {vectors} vectors");
        let part = matched(&long_hit(&server));
        assert!(part.contains(ANSWER) && part.len() < 1000, "{part}");
        let found = hits(&server, ASKED, "vector");
        assert!(found.iter().filter(|hit| hit["id"] != "long").all(|hit| hit.get("matched").is_none()));
        // By both, however many short ones look a little like the question.
        let rank = rank(&hits(&server, ASKED, "hybrid"), "long");
        assert!(rank <= 5, "it is number {rank}");
        // By words, and by both, the part is the same.
        assert_eq!(matched(&hits(&server, "quokka-lantern wifi", "hybrid")[0]), part);
        assert!(hits(&server, "quokka-lantern", "text")[0].get("matched").is_none(), "no vector was asked for");
    }
}

#[test]
fn a_part_is_counted_in_characters() {
    let folder = KeptOnFailure::new();
    let server = Server::start(&data_with_model(folder.path()), &[]);
    server.call("PUT", COLLECTION, &json!({}));
    let text = format!("{}{ANSWER}", "Vi spiste smørbrød på hytta i går kveld, og så gikk vi på ski. ".repeat(30));
    write(&server, &json!([{"id": "long", "text": text}]));
    let found = hits(&server, ASKED, "vector");
    assert!(matched(&found[0]).ends_with(ANSWER), "{}", matched(&found[0]));
}

#[test]
fn windows_are_set_by_collection_and_made_anew_by_reembed() {
    let folder = KeptOnFailure::new();
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let answer = fill(&server, &json!({"windows": "off"}));
    let cut = answer["records"][0]["truncated_at"].as_u64().expect("that it is cut off is said") as usize;
    assert!((500..2000).contains(&cut) && answer["records"][1].get("truncated_at").is_none(), "{answer}");
    assert_eq!(counts(&server), (41, 41));
    assert!(rank(&hits(&server, ASKED, "vector"), "long") > 5);
    let set = |windows: Value| server.call("PUT", COLLECTION, &json!({ "windows": windows }));
    for wrong in [json!({"max": 0}), json!({"max": 17}), json!({"most": 2}), json!("on"), json!(3)] {
        let (status, answer) = set(wrong.clone());
        assert!((400..=422).contains(&status) && answer.to_string().contains("windows"), "{wrong}: {answer}");
    }
    for (windows, vectors) in [(json!({"max": 3}), 43..=43), (json!({}), 44..=56), (json!("off"), 41..=41)] {
        let before = counts(&server);
        let (status, view) = set(windows);
        assert_eq!((status, counts(&server)), (200, before), "it holds for what is written: {view}");
        server.job(&format!("{COLLECTION}/reembed"), &json!({}));
        let (records, own) = counts(&server);
        assert!(records == 41 && vectors.contains(&own), "{own} vectors");
    }
}

#[test]
fn a_text_with_too_many_windows_says_where_it_is_cut_off() {
    let folder = KeptOnFailure::new();
    let server = Server::start(&data_with_model(folder.path()), &[]);
    server.call("PUT", COLLECTION, &json!({}));
    let long = text(900, ANSWER);
    let answer = write(&server, &json!([{"id": "long", "text": long}, {"id": "s", "text": "so it was"}]));
    let cut = answer["records"][0]["truncated_at"].as_u64().expect("a place") as usize;
    assert!((10_000..long.chars().count()).contains(&cut), "at {cut}");
    assert!(answer["records"][1].get("truncated_at").is_none());
    assert_eq!(counts(&server), (2, 17));
    // That word stands only behind the cut.
    assert_eq!(rank(&hits(&server, "quokka", "text"), "long"), 1);
    let said = json!({"messages": [{"role": "user", "content": long}, {"role": "user", "content": "so it was"}]});
    let answer = post(&server, "/v1/sessions/s/messages", &said);
    assert_eq!(answer["messages"][0]["truncated_at"], json!(cut), "{answer}");
    assert!(answer["messages"][1].get("truncated_at").is_none());
    let metrics = server.raw("GET", "/metrics", &[], Vec::new()).2;
    assert!(metrics.contains("membox_truncated_texts_total 2"), "{metrics}");
}

#[test]
fn all_vectors_follow_their_record() {
    let folder = KeptOnFailure::new();
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    fill(&server, &json!({}));
    let (_, vectors) = counts(&server);
    let record = format!("{COLLECTION}/records/long");
    let (status, _) = server.call("PATCH", &record, &json!({"metadata": {"seen": true}}));
    assert_eq!((status, counts(&server)), (200, (41, vectors)), "a patch that keeps the text keeps them");
    assert!(matched(&long_hit(&server)).contains(ANSWER));
    let (status, _) = server.call("PATCH", &record, &json!({"text": ANSWER}));
    assert_eq!((status, counts(&server)), (200, (41, 41)));
    let found = hits(&server, ASKED, "vector");
    assert!(found[0]["id"] == "long" && found[0].get("matched").is_none());
    server.call("PATCH", &record, &json!({"text": text(120, ANSWER)}));
    assert_eq!(counts(&server), (41, vectors));
    server.job(&format!("{COLLECTION}/rebuild"), &json!({}));
    assert_eq!(server.call("GET", COLLECTION, &Value::Null).1["rows"], json!(vectors), "none is left of those before");
    let filter = json!({"query": ASKED, "k": 50, "mode": "vector", "filter": {"field": "user", "eq": "lena"}});
    let found = post(&server, &format!("{COLLECTION}/recall"), &filter);
    assert_eq!(found["hits"].as_array().map(Vec::len), Some(1));
    assert!(matched(&found["hits"][0]).contains(ANSWER));
    server.job("/v1/users/lena/erase", &json!({}));
    assert_eq!(counts(&server), (40, 40));
    server.stop();
    let output = membox(&data).arg("verify").output().expect("the binary");
    assert!(String::from_utf8_lossy(&output.stdout).contains("0 problems"), "{output:?}");
}

#[test]
fn what_is_exported_has_as_many_vectors_when_it_is_imported() {
    let folder = KeptOnFailure::new();
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    fill(&server, &json!({}));
    let (_, vectors) = counts(&server);
    let (status, _, export) = server.raw("GET", "/v1/users/lena/export", &[], Vec::new());
    assert_eq!(status, 200);
    server.job("/v1/users/lena/erase", &json!({}));
    assert_eq!(counts(&server), (40, 40));
    std::fs::write(folder.path().join("export.ndjson"), export).expect("a write");
    let mut import = membox(&data);
    import.args(["import", "export.ndjson", "--collection", "c"]).env("MEMBOX_URL", &server.url);
    let output = import.output().expect("the binary");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(counts(&server), (41, vectors));
    assert!(matched(&long_hit(&server)).contains(ANSWER));
}

#[test]
fn a_text_that_is_compressed_is_found_by_all_that_it_said() {
    let folder = KeptOnFailure::new();
    let server = Server::start(&data_with_model(folder.path()), &[]);
    for late_interaction in [json!("off"), json!({})] {
        fill(&server, &json!({ "late_interaction": late_interaction }));
        let (_, vectors) = counts(&server);
        let write = json!({"records": [{"id": "long", "text": text(120, ANSWER)}], "compress": {"rate": 0.3}});
        post(&server, &format!("{COLLECTION}/records"), &write);
        assert_eq!(counts(&server), (41, vectors));
        let long = long_hit(&server);
        assert!(long.get("matched").is_none(), "its text is another one: {long}");
    }
}
