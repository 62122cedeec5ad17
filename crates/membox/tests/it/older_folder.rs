//! A data folder that an older build has written opens, verifies, and answers what that build answered over it.
//!
//! `scripts/fixture.sh` makes the folders and notes the answers, with the older binary. Those here are of schema 5, by
//! a build that called itself 0.1.0.

use crate::common::{KeptOnFailure, Server, membox, real_models};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// As the answers were noted: on another processor, f32 differs in the last digits only.
const FLAGS: [&str; 4] = ["--device", "cpu", "--precision", "f32"];
/// What these last digits may add up to, in a score.
const MAX_SCORE_DIFFERENCE: f64 = 1e-4;
/// Fields that need not be the same.
const VOLATILE: [&str; 5] = [
    "format",  // of an export: it says since 2 that it gives archived messages out as messages
    "took_ms", // a time that was measured
    "exact",   // whether an index answered: one of an older form is built anew, and scans answer until then
    "index",   // how far derived indexes are, likewise
    "detail",  // what an error says to people; its type and status are compared
];
/// Whole days of which usage is surely kept: 90, less the one that may end meanwhile.
const USAGE_DAYS: f64 = 89.0;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Whether the usage of a day may have been removed by now.
fn may_be_removed(usage: &Value) -> bool {
    let connection = rusqlite::Connection::open_in_memory().expect("a database");
    let age = "SELECT julianday('now') - julianday(?)";
    let days: f64 = connection.query_row(age, [usage["day"].as_str()], |row| row.get(0)).expect("an age");
    days > USAGE_DAYS
}

/// What a box answers now, in the form in which the answers of the older one were noted.
fn asked(server: &Server, request: &Value) -> Value {
    let text = |name: &str| request[name].as_str().expect("a text");
    let builder = ureq::http::Request::builder().method(text("method")).uri(format!("{}{}", server.url, text("path")));
    let config = ureq::Agent::config_builder().http_status_as_error(false).build();
    let agent = ureq::Agent::from(config);
    let sent = match request.get("body") {
        Some(body) => {
            let builder = builder.header("content-type", "application/json");
            agent.run(builder.body(body.to_string()).expect("a request"))
        }
        None => agent.run(builder.body(()).expect("a request")),
    };
    let mut response = sent.expect("an answer");
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (status, etag, kind) = (response.status().as_u16(), header("etag"), header("content-type").unwrap_or_default());
    let bytes = response.body_mut().read_to_vec().expect("a body");
    let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("JSON");
    let answer = if kind == "application/x-ndjson" {
        bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(read).collect()
    } else if kind.ends_with("json") {
        read(&bytes)
    } else {
        json!(STANDARD.encode(bytes))
    };
    json!({"status": status, "etag": etag, "answer": answer})
}

/// Collects where two answers differ.
#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn compare(&mut self, place: &str, old: &Value, new: &Value) {
        match (old, new) {
            (Value::Object(old), Value::Object(new)) => self.compare_objects(place, old, new),
            (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
                let both = old.iter().zip(new).enumerate();
                both.for_each(|(i, (old, new))| self.compare(&format!("{place}/{i}"), old, new));
            }
            (Value::Number(a), Value::Number(b)) if place.contains("/score") => {
                let distance = a.as_f64().zip(b.as_f64()).map(|(a, b)| (a - b).abs());
                if distance.is_none_or(|distance| distance > MAX_SCORE_DIFFERENCE) {
                    self.note(place, old, new);
                }
            }
            // A cursor is good for the box that gave it; that there is one says that there is more.
            (Value::String(_), Value::String(_)) if place.ends_with("/next") => {}
            _ if old != new => self.note(place, old, new),
            _ => {}
        }
    }

    fn compare_objects(&mut self, place: &str, old: &Map<String, Value>, new: &Map<String, Value>) {
        let added = new.keys().filter(|name| !old.contains_key(*name));
        for name in old.keys().chain(added).filter(|name| !VOLATILE.contains(&name.as_str())) {
            let of = |object: &Map<String, Value>| object.get(name).cloned().unwrap_or_default();
            self.compare(&format!("{place}/{name}"), &of(old), &of(new));
        }
    }

    fn note(&mut self, place: &str, old: &Value, new: &Value) {
        self.0.push(format!("{place}: {old} was answered, and now {new}"));
    }
}

/// Takes usage out of answers, where it may have been removed since.
fn without_usage(answer: &mut Value) {
    match answer {
        Value::Array(lines) => lines.retain(|line| line["type"] != "usage" && line["type"] != "end"),
        Value::Object(fields) => fields.retain(|name, _| name != "usage"),
        _ => {}
    }
}

/// The best hit that was answered, where it only asks: what answers it stands before it since 0.2.0
/// (docs/decisions/055).
fn best_that_asks(answer: &Value) -> Option<Value> {
    let best = answer["hits"].get(0)?;
    best["text"].as_str()?.ends_with('?').then(|| best["id"].clone())
}

/// Takes out of recalls what 0.2.0 ranks otherwise (docs/decisions/043): by words and in mode `hybrid` all scores and
/// all hits but the best that was answered, and what contexts are filled with; and what 0.1.0 did not say.
fn without_ranking(request: &Value, best_that_asks: Option<&Value>, answer: &mut Value) {
    if request["path"].as_str().is_some_and(|path| path.contains("strategy=recall")) {
        for name in ["messages", "text", "tokens", "omitted"] {
            answer.as_object_mut().map(|told| told.remove(name));
        }
    }
    let Some(hits) = answer.get_mut("hits").and_then(Value::as_array_mut) else { return };
    let by_vector = request["body"]["mode"] == "vector";
    match best_that_asks {
        _ if by_vector => {}
        Some(id) => hits.retain(|hit| hit["id"] == *id),
        None => hits.truncate(1),
    }
    for hit in hits.iter_mut().filter_map(Value::as_object_mut) {
        hit.remove("relevance");
        if !by_vector {
            hit.remove("score");
            hit.remove("scores");
        }
    }
    if !by_vector {
        answer.as_object_mut().map(|told| told.remove("context"));
    }
}

/// Leaves out the entry that holds older ones, which the first start appends to the audit log.
fn without_the_key_of_the_audit_log(answer: &mut Value) {
    if let Some(entries) = answer.get_mut("entries").and_then(Value::as_array_mut) {
        entries.retain(|entry| entry["action"] != "audit log keyed");
    }
}

/// Leaves out how many vectors a collection has, and how many of its records have vectors of tokens: 0.1.0 said
/// neither.
fn without_counts_of_vectors(answer: &mut Value) {
    let remove = |told: &mut Value| {
        for name in ["token_vectors", "vectors"] {
            told.as_object_mut().map(|told| told.remove(name));
        }
    };
    answer.get_mut("collections").and_then(Value::as_array_mut).into_iter().flatten().for_each(remove);
    remove(answer);
}

/// A profile counts the keywords of texts as they are found now: by other stop words than in 0.1.0
/// (docs/decisions/034). Keywords that records have kept are compared.
fn without_found_keywords(request: &Value, answer: &mut Value) {
    if request["path"].as_str().is_some_and(|path| path.ends_with("/profile"))
        && let Some(profile) = answer.as_object_mut()
    {
        profile.remove("keywords");
        profile.remove("topics");
    }
}

/// Asks until the keys of a tenant are settled, which the box sees to after its start.
fn asked_when_settled(server: &Server, request: &Value) -> Value {
    let begun = Instant::now();
    loop {
        let new = asked(server, request);
        if new["answer"]["settled"] != json!(false) || begun.elapsed() > Duration::from_secs(30) {
            return new;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// When nothing has touched a folder yet.
const WRITTEN: &str = "as it was written";

fn answers_as_before(name: &str) {
    let folder = KeptOnFailure::new();
    let data = folder.path().join("data");
    let archive = fixture(&format!("{name}.tar.gz"));
    let unpacked = Command::new("tar").arg("-xzf").arg(archive).current_dir(folder.path()).status();
    assert!(unpacked.expect("tar").success());
    let fixed = fixture(&format!("{name}.key"));
    if fixed.exists() {
        // Whoever has the sources can read it; a box does not take such a key.
        let key = folder.path().join("master.key");
        std::fs::copy(fixed, &key).expect("a copy");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("rights");
        let settings = format!("master_key_file = {:?}\n", key.to_str().expect("a path"));
        std::fs::write(folder.path().join("membox.toml"), settings).expect("a file");
    }
    std::os::unix::fs::symlink(real_models(), data.join("models")).expect("a link");
    let is_whole = |when: &str| {
        for (command, whole) in [(["verify"].as_slice(), "0 problems"), (&["audit", "verify"], "")] {
            let output = membox(&data).args(command).output().expect("the binary");
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            let is_refused_as_older = when == WRITTEN && said.contains("`membox serve` brings it up to date");
            let is_whole = output.status.success() && said.contains(whole);
            assert!(is_whole || is_refused_as_older, "{when}, {command:?}: {said}");
        }
    };
    is_whole(WRITTEN);

    let noted = std::fs::read(fixture(&format!("{name}.json"))).expect("the answers");
    let noted: Vec<Value> = serde_json::from_slice(&noted).expect("a list");
    let usage = noted.iter().find_map(|request| request["answer"]["usage"].get(0)).expect("usage of a day");
    let usage_is_old = may_be_removed(usage);
    let server = Server::start(&data, &FLAGS);
    let mut differences = Differences::default();
    for mut old in noted {
        let mut new = asked_when_settled(&server, &old);
        if usage_is_old {
            without_usage(&mut old["answer"]);
            without_usage(&mut new["answer"]);
        }
        let request = old.clone();
        let best_that_asks = best_that_asks(&old["answer"]);
        for answer in [&mut old, &mut new] {
            without_ranking(&request, best_that_asks.as_ref(), &mut answer["answer"]);
            without_found_keywords(&request, &mut answer["answer"]);
            without_the_key_of_the_audit_log(&mut answer["answer"]);
            without_counts_of_vectors(&mut answer["answer"]);
        }
        let place = format!("{} {} {}", old["method"], old["path"], old["body"]);
        for part in ["status", "etag", "answer"] {
            differences.compare(&format!("{place} /{part}"), &old[part], &new[part]);
        }
    }
    let Differences(found) = differences;
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
    server.stop();
    is_whole("brought up to date");
}

#[test]
fn a_folder_of_0_1_0_opens_and_answers_the_same() {
    answers_as_before("folder-0.1.0");
}

#[test]
fn an_encrypted_folder_of_0_1_0_opens_and_answers_the_same() {
    answers_as_before("folder-0.1.0-sealed");
}
