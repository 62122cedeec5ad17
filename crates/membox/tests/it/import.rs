//! Files as they come: in every encoding, with bad lines, imported twice, broken off, and the box's own exports.

use crate::common::{KeptOnFailure, Server, data_with_model, membox, post};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

fn line(record: &Value) -> String {
    format!("{record}\n")
}

fn good(count: usize) -> Vec<Value> {
    (0..count).map(|i| json!({"id": i.to_string(), "text": format!("fact {i}")})).collect()
}

struct Place {
    folder: KeptOnFailure,
    server: Server,
}

impl Place {
    fn new() -> Self {
        let folder = KeptOnFailure::new();
        let server = Server::start(&data_with_model(folder.path()), &[]);
        Self { folder, server }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, args: &[&str], stdin: Option<&[u8]>) -> Output {
        let mut command = membox(&self.path("data"));
        command.arg("import").args(args).env("MEMBOX_URL", &self.server.url);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary");
        let mut pipe = child.stdin.take().expect("stdin");
        if let Some(bytes) = stdin {
            pipe.write_all(bytes).expect("a write");
        }
        drop(pipe);
        child.wait_with_output().expect("its end")
    }

    /// Imports a file of these bytes; its exit code, and all that it said.
    fn import(&self, name: &str, bytes: &[u8], collection: &str, more: &[&str]) -> (i32, String) {
        std::fs::write(self.path(name), bytes).expect("a write");
        said(&self.run(&[&[name, "--collection", collection], more].concat(), None))
    }

    fn records(&self, collection: &str) -> u64 {
        let (status, view) = self.server.call("GET", &format!("/v1/collections/{collection}"), &Value::Null);
        if status == 200 { view["records"].as_u64().expect("a count") } else { 0 }
    }

    fn export(&self, user: &str) -> String {
        let (status, _, text) = self.server.raw("GET", &format!("/v1/users/{user}/export"), &[], Vec::new());
        assert_eq!(status, 200);
        text
    }
}

fn said(output: &Output) -> (i32, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("a code"), text(&output.stdout) + &text(&output.stderr))
}

fn rejected(path: &Path) -> Vec<(u64, String, String)> {
    let text = std::fs::read_to_string(path).expect("what was refused");
    let read = |line: &str| {
        let entry: Value = serde_json::from_str(line).expect("JSON");
        let text = |name: &str| entry[name].as_str().expect("a text").to_owned();
        (entry["line"].as_u64().expect("a line"), text("reason"), text("input"))
    };
    text.lines().map(read).collect()
}

#[test]
fn every_form_of_a_file_is_read_from_files_and_pipes_alike() {
    let place = Place::new();
    let lines: String = good(5).iter().map(line).collect();
    let utf16: Vec<u8> = format!("\u{feff}{lines}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = format!("\u{feff}{lines}").encode_utf16().flat_map(u16::to_be_bytes).collect();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(lines.as_bytes()).expect("memory takes all");
    let gz = encoder.finish().expect("memory takes all");
    let forms: [(&str, Vec<u8>); 9] = [
        ("plain", lines.clone().into_bytes()),
        ("mark", format!("\u{feff}{lines}").into_bytes()),
        ("crlf", lines.replace('\n', "\r\n").into_bytes()),
        ("cut", lines.trim_end().as_bytes().to_vec()),
        ("utf16le", utf16),
        ("utf16be", big),
        ("gz", gz),
        ("array", json!(good(5)).to_string().into_bytes()),
        ("pretty", format!("{:#}", json!(good(5))).into_bytes()),
    ];
    for (form, bytes) in &forms {
        let (code, text) = place.import(&format!("{form}.txt"), bytes, form, &[]);
        assert_eq!((code, place.records(form)), (0, 5), "{form}: {text}");
        for (way, stdin) in [("-", "dash"), ("/dev/stdin", "stdin")] {
            let collection = format!("{form}-{stdin}");
            let (code, text) = said(&place.run(&[way, "--collection", &collection], Some(bytes)));
            assert_eq!((code, place.records(&collection)), (0, 5), "{form} by {way}: {text}");
        }
    }
    let (code, text) = place.import("one.json", b"{\n  \"text\": \"only one\"\n}\n", "one", &[]);
    assert_eq!((code, place.records("one")), (0, 1), "{text}");
    // Several files, of which one is something else.
    std::fs::write(place.path("table.jsonl"), b"PAR1\x15\x04\0\0").expect("a write");
    let (code, text) = said(&place.run(&["plain.txt", "table.jsonl", "gz.txt", "--collection", "several"], None));
    assert!(code == 1 && text.contains("Parquet") && place.records("several") == 5, "{code} {text}");
}

#[test]
fn what_cannot_be_read_or_holds_nothing_is_an_error() {
    let place = Place::new();
    let cut = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        let lines: String = (0..2000).map(|i| line(&json!({"id": i.to_string(), "vector": [i, i * i + 1]}))).collect();
        encoder.write_all(lines.as_bytes()).expect("memory takes all");
        let whole = encoder.finish().expect("memory takes all");
        whole[..whole.len() / 2].to_vec()
    };
    for (name, bytes, word) in [
        ("parquet", b"PAR1\x15\x04\0\0".to_vec(), "Parquet"),
        ("binary", b"\x01\x02\0\x03\0\0\0".to_vec(), "binary"),
        ("blank", b" \n\n ".to_vec(), "no record"),
        ("csv", b"id,text\n1,one\n2,two\n".to_vec(), "3 of 3 lines were refused"),
        ("cut", cut, "cannot be read to its end"),
    ] {
        let (code, text) = place.import(name, &bytes, name, &[]);
        assert!(code == 1 && text.contains(word), "{name}: {code} {text}");
    }
    assert!(place.records("cut") > 100, "what is there of a broken file is imported");
    let (code, text) = place.import("csv", b"id,text\n", "csv", &["--allow-rejected"]);
    assert_eq!(code, 1, "of which nothing was imported is no success: {text}");
    let (code, text) = said(&place.run(&["not-there.jsonl", "--collection", "c"], None));
    assert!(code == 1 && text.contains("not-there.jsonl"), "{text}");
}

#[test]
fn a_bad_line_is_named_and_takes_no_other_with_it() {
    let place = Place::new();
    let bad = [
        json!({"id": "e", "text": ""}),
        json!({"id": "e", "text": "x ".repeat(600_000)}),
        json!({"id": "e", "text": "hi", "created_at": "2023-05-20"}),
        json!({"id": "e", "text": "hi", "importance": 7}),
        json!({"id": "e", "text": "hi", "version": 3}),
        json!({"id": "e", "text": "hi", "colour": "blue"}),
        json!(["no", "object"]),
    ];
    let mut lines: Vec<String> = good(40).iter().map(line).collect();
    lines.push("not json\n".into());
    for (i, bad) in bad.iter().enumerate() {
        lines.insert(5 * (i + 1), line(bad));
    }
    // Nulls are as good as left out.
    lines.push(line(&json!({"id": "nulls", "text": "nulls", "metadata": null, "user": null, "vector": null})));
    let (code, text) = place.import("some.jsonl", lines.concat().as_bytes(), "some", &[]);
    assert!(
        code == 1 && text.contains("8 of 49 lines were refused") && text.contains("some.jsonl.rejected.jsonl"),
        "{text}"
    );
    assert_eq!(place.records("some"), 41, "{text}");
    let refused = rejected(&place.path("some.jsonl.rejected.jsonl"));
    let mut numbers: Vec<u64> = refused.iter().map(|(line, ..)| *line).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [6, 11, 16, 21, 26, 31, 36, 48]);
    for (number, reason, input) in &refused {
        assert_eq!(format!("{input}\n"), lines[*number as usize - 1], "as it is written");
        let word = match number {
            6 => "text",
            11 => "bytes",
            16 => "2023-05-20",
            21 => "importance",
            26 => "version",
            31 => "colour",
            36 => "object",
            _ => "expected",
        };
        assert!(reason.contains(word), "{number}: {reason}");
    }
    let (code, text) =
        place.import("some.jsonl", lines.concat().as_bytes(), "allowed", &["--allow-rejected", "--rejected", "why"]);
    assert!(code == 0 && rejected(&place.path("why")).len() == 8, "{text}");
    let (code, text) = place.import("some.jsonl", lines.concat().as_bytes(), "strict", &["--strict"]);
    assert!(code == 1 && text.contains("line 31"), "{text}");
    // A collection that cannot be has no records; others have theirs.
    let two = line(&json!({"collection": "No Such Name/", "text": "x"})) + &line(&json!({"text": "y"}));
    let (code, text) = place.import("two.jsonl", two.as_bytes(), "two", &[]);
    assert!(code == 1 && text.contains("No Such Name/") && place.records("two") == 1, "{text}");
}

#[test]
fn the_same_file_again_doubles_nothing_and_another_collection_gets_all_of_it() {
    let place = Place::new();
    let lines: String =
        (0..600).map(|i| line(&json!({"text": format!("fact {}", i % 400), "vector": [i % 400, 1]}))).collect();
    for _ in 0..2 {
        let (code, text) = place.import("no-ids.jsonl", lines.as_bytes(), "a", &[]);
        assert_eq!((code, place.records("a")), (0, 600), "{text}");
    }
    assert!(!place.path("no-ids.jsonl.imported").exists(), "it is done");
    let (code, text) = place.import("no-ids.jsonl", lines.as_bytes(), "b", &[]);
    assert_eq!((code, place.records("b")), (0, 600), "{text}");
    // Packed, in another encoding or from a pipe they are the same lines.
    let (code, text) = said(&place.run(&["-", "--collection", "a"], Some(format!("\u{feff}{lines}").as_bytes())));
    assert_eq!((code, place.records("a")), (0, 600), "{text}");
}

#[test]
fn an_interrupted_import_goes_on_where_it_was_and_nowhere_else() {
    let place = Place::new();
    let record = |i: usize| line(&json!({"id": i.to_string(), "text": format!("fact {i}"), "vector": [i, 1]}));
    let lines: String = (0..1000).map(record).collect();
    let name = "history.jsonl";
    // The file ends in the middle, as if the import had been ended there; what it wrote down is kept.
    let progress = || {
        let mut broken = lines.as_bytes().to_vec();
        let cut = broken.len() * 3 / 4;
        broken.truncate(cut);
        let strict = String::from_utf8(broken).expect("text") + "\nno json\n";
        std::fs::write(place.path(name), strict).expect("a write");
        let (code, text) = said(&place.run(&[name, "--collection", "c", "--strict", "--batch", "100"], None));
        assert_eq!(code, 1, "{text}");
        assert!(place.path("history.jsonl.imported").exists(), "{text}");
    };
    progress();
    let before = place.records("c");
    assert!(before > 700, "what is before the bad line is imported");
    // Whole now: its first lines are the same.
    let (code, text) = place.import(name, lines.as_bytes(), "c", &[]);
    assert!(code == 0 && text.contains("going on after"), "{text}");
    assert_eq!(place.records("c"), 1000);
    assert!(!place.path("history.jsonl.imported").exists());
    // Another collection, another content, and a collection that was made anew begin at the first line.
    progress();
    let (_, text) = place.import(name, lines.as_bytes(), "other", &[]);
    assert!(!text.contains("going on after") && place.records("other") == 1000, "{text}");
    progress();
    let changed = lines.replacen("fact 3\"", "fact three\"", 1);
    let (_, text) = place.import(name, changed.as_bytes(), "c", &[]);
    assert!(text.contains("not as it was"), "{text}");
    let found = place.server.call("GET", "/v1/collections/c/records/3", &Value::Null).1;
    assert_eq!(found["text"], "fact three");
    progress();
    assert_eq!(place.server.call("DELETE", "/v1/collections/c", &Value::Null).0, 204);
    let (_, text) = place.import(name, lines.as_bytes(), "c", &[]);
    assert!(!text.contains("going on after") && place.records("c") == 1000, "{text}");
    progress();
    let (_, text) = place.import(name, lines.as_bytes(), "c", &["--restart"]);
    assert!(!text.contains("going on after") && text.contains("1000 records"), "{text}");
}

#[test]
fn collections_in_turn_take_as_few_requests_as_one() {
    let place = Place::new();
    let record = |i: usize| {
        json!({"collection": format!("c{}", i % 3), "id": (i / 3 % 500).to_string(),
            "text": format!("fact {i}"), "vector": [i, 1]})
    };
    let lines: String = (0..3000).map(|i| line(&record(i))).collect();
    let (code, text) = place.import("turns.jsonl", lines.as_bytes(), "unused", &[]);
    assert_eq!(code, 0, "{text}");
    for c in 0..3 {
        assert_eq!(place.records(&format!("c{c}")), 500);
        // The later of two lines with one id is the one that stands.
        let found = place.server.call("GET", &format!("/v1/collections/c{c}/records/7"), &Value::Null).1;
        assert_eq!((&found["text"], &found["version"]), (&json!(format!("fact {}", 1521 + c)), &json!(2)));
    }
    let metrics = place.server.raw("GET", "/metrics", &[], Vec::new()).2;
    let is_write = |line: &&str| line.starts_with("membox_request_seconds_count") && line.contains("/records\"");
    let writes = metrics.lines().filter(is_write).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    // Of each of the three, 1 000 records in requests of 256.
    assert_eq!(writes.sum::<u64>(), 12, "{metrics}");
}

/// Everything of a user, in every kind that an export has.
fn fill(server: &Server) {
    assert_eq!(server.call("PUT", "/v1/collections/shared", &json!({})).0, 201);
    assert_eq!(server.call("PUT", "/v1/collections/vectors", &json!({"dimension": 3, "vector_type": "f32"})).0, 201);
    let settings = json!({"user": "lena", "max_messages": 21, "metadata": {"channel": "phone", "deep": {"n": 1.5}}});
    assert_eq!(server.call("PUT", "/v1/sessions/lena-one", &settings).0, 201);
    for part in 0..3 {
        let said: Vec<Value> = (0..10)
            .map(|i| {
                let n = part * 10 + i;
                json!({"id": format!("m{n}"), "role": (if n % 2 == 0 { "user" } else { "assistant" }),
                    "content": format!("we saw house number {n}"), "name": "Lena",
                    "metadata": {"n": n}, "created_at": format!("2024-05-20T00:44:{n:02}Z")})
            })
            .collect();
        post(server, "/v1/sessions/lena-one/messages", &json!({"messages": said}));
    }
    let calls = json!({"user": "lena", "messages": [
        {"role": "system", "content": "be brief"},
        {"role": "assistant", "content": null,
            "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "t1", "content": "42"},
    ]});
    post(server, "/v1/sessions/lena-two/messages", &calls);
    post(server, "/v1/sessions/lena-one/queue", &json!({"items": [{"say": "one"}, {"say": "two"}, {"say": "one"}]}));
    for id in ["c1", "c2", "c3"] {
        let state = json!({"state": {"note": id, "n": 12345678901i64}, "parent": "c0", "metadata": {"source": "loop"}});
        assert_eq!(server.call("PUT", &format!("/v1/threads/lena-one/checkpoints/{id}?namespace=n"), &state).0, 200);
    }
    let writes = json!({"writes": [["messages", "said"]]});
    assert_eq!(server.call("PUT", "/v1/threads/lena-one/checkpoints/c2/writes/task?namespace=n", &writes).0, 204);
    let records: Vec<Value> = (0..50)
        .map(|i| {
            json!({"id": format!("fact {i}"), "user": "lena", "text": format!("fact {i} about Lisbon"),
                "kind": "semantic", "importance": 0.5,
                "session": "lena-one", "expires_at": "2099-01-01T00:00:00Z", "created_at": "2024-05-20T00:44:00Z",
                "metadata": {"n": i, "deep": [1, {"a": null}]}})
        })
        .collect();
    post(server, "/v1/collections/shared/records", &json!({"records": records}));
    let given = json!({"records": [{"id": "v", "user": "lena", "vector": [0.6, 0.0, 0.8],
        "created_at": "2024-05-20T00:44:00Z"}]});
    post(server, "/v1/collections/vectors/records", &given);
    assert_eq!(server.call("PATCH", "/v1/users/lena/profile", &json!({"name": "Lena", "likes": ["owls"]})).0, 200);
}

/// The lines of an export without what a box makes itself.
fn comparable(export: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for line in export.lines() {
        let mut line: Value = serde_json::from_str(line).expect("JSON");
        let made: &[&str] = match line["type"].as_str().expect("a type") {
            "session" => &["version", "created_at", "updated_at", "summary"],
            "message" => &["version", "updated_at"],
            "record" => &["version", "updated_at"],
            "queued" => &["id", "created_at", "attempts"],
            "checkpoint" => &[],
            "usage" => continue,
            _ => &[],
        };
        let kind = line["type"].as_str().expect("a type").to_owned();
        let name = if kind == "queued" { "item" } else { &kind };
        if let Some(body) = line.get_mut(name).and_then(Value::as_object_mut) {
            made.iter().for_each(|name| drop(body.remove(*name)));
        }
        if kind == "checkpoint" {
            line["checkpoint"]["checkpoint"].as_object_mut().expect("a body").remove("created_at");
        }
        if kind == "end" {
            line = json!({"type": "end"});
        }
        lines.push(line.to_string());
    }
    // Sessions are given out newest first.
    lines.sort();
    lines
}

#[test]
fn an_export_is_imported_whole_into_a_fresh_box_and_again_without_doubling_anything() {
    let (from, to) = (Place::new(), Place::new());
    fill(&from.server);
    let export = from.export("lena");
    let kinds = |kind: &str| export.matches(&format!("\"type\":\"{kind}\"")).count();
    assert_eq!((kinds("message"), kinds("record"), kinds("checkpoint"), kinds("queued")), (33, 52, 3, 3), "{export}");
    for round in 0..2 {
        let (code, text) = to.import("export.ndjson", export.as_bytes(), "unused", &[]);
        assert_eq!(code, 0, "round {round}: {text}");
        let again = to.export("lena");
        let (have, want) = (comparable(&again), comparable(&export));
        for line in &want {
            assert!(have.contains(line), "round {round}: missing {line}\n{have:#?}");
        }
        assert_eq!(have, want, "round {round}");
    }
    let latest = to.server.call("GET", "/v1/threads/lena-one/checkpoints/latest?namespace=n", &Value::Null).1;
    assert_eq!(latest["id"], "c3");
    let list = to.server.call("GET", "/v1/sessions/lena-one/messages?limit=100", &Value::Null).1;
    let first = &list["messages"][0];
    assert_eq!((&first["id"], &first["seq"]), (&json!("m9"), &json!(9)), "places and what is archived are the same");
    let nearest = json!({"vector": [0.6, 0.0, 0.8], "mode": "vector", "k": 1});
    let found = post(&to.server, "/v1/collections/vectors/recall", &nearest);
    assert!(found["hits"][0]["score"].as_f64().expect("a score") > 0.999, "{found}");
    // One that was cut off is imported as far as it goes, and is no success.
    let cut: Vec<&str> = export.lines().take(20).collect();
    let fresh = Place::new();
    let (code, text) = fresh.import("cut.ndjson", cut.join("\n").as_bytes(), "unused", &[]);
    assert!(code == 1 && text.contains("breaks off"), "{text}");
    assert!(fresh.export("lena").lines().count() > 15);
}

#[test]
fn archived_messages_of_an_older_export_are_refused_for_they_have_no_roles() {
    let to = Place::new();
    let session = |id: &str| json!({"type": "session", "session": {"id": id, "user": "lena", "collection": "c"}});
    let newer = |id: &str| {
        let mut line = session(id);
        line["format"] = json!(2);
        line
    };
    let message =
        |id: &str| json!({"type": "message", "session": id, "message": {"id": "m2", "role": "user", "content": "two"}});
    let record = |id: &str, session: &str| {
        let record = json!({"id": id, "text": "one", "user": "lena", "session": session});
        json!({"type": "record", "collection": "c", "record": record})
    };
    let mut named = record("x", "old");
    named["record"]["message"] = json!("m0");
    let mut lines = vec![
        session("old"),
        message("old"),
        newer("new"),
        message("new"),
        record("old/m1", "old"),
        named,
        record("a", "old"),
        record("new/a", "new"),
    ];
    lines.push(json!({"type": "end", "lines": lines.len()}));
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let (code, said) = to.import("old.ndjson", text.as_bytes(), "unused", &[]);
    assert_eq!(code, 1, "{said}");
    let refused = rejected(&to.path("old.ndjson.rejected.jsonl"));
    assert_eq!(refused.iter().map(|line| line.0).collect::<Vec<_>>(), [5, 6], "{refused:?}");
    assert!(
        refused.iter().all(|(_, reason, _)| reason.contains("session \"old\"") && reason.contains("role")),
        "{refused:?}"
    );
    let export = to.export("lena");
    let kinds = |kind: &str| export.matches(&format!("\"type\":\"{kind}\"")).count();
    assert_eq!((kinds("message"), kinds("record")), (2, 2), "{export}");
}

#[test]
fn vectors_that_are_embedded_have_their_name_once_they_are_whole() {
    let folder = KeptOnFailure::new();
    let data = data_with_model(folder.path());
    let out = folder.path().join("v.npy");
    std::fs::write(&out, "before").expect("a write");
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::KILL] {
        let mut child = membox(&data)
            .args(["embed", "--out"])
            .arg(&out)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary");
        let mut stdin = child.stdin.take().expect("stdin");
        stdin.write_all("a line\n".repeat(3000).as_bytes()).expect("a write");
        // Some of it is written by then, and it waits for more.
        let partial = folder.path().join("v.npy.partial");
        while std::fs::metadata(&partial).map_or(0, |found| found.len()) < 1000 {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).expect("a signal");
        assert!(!child.wait().expect("its end").success());
        assert_eq!(std::fs::read_to_string(&out).expect("a file"), "before", "{signal:?}");
    }
}
