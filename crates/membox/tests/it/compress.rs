//! Compression as its users meet it, over HTTP and on the command line: the real keep head, a real server, a real
//! socket.

use crate::common::{Server, data_with_model, membox};
use serde_json::{Value, json};
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

const TEXT: &str = "Well, you know, I was just saying that Caroline moved to Lisbon in May 2022, and that she has \
                    been allergic to peanuts.";

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// The field that a problem names.
fn pointer(problem: &Value) -> &str {
    problem["errors"][0]["pointer"].as_str().unwrap_or_default()
}

#[test]
fn a_text_contexts_documents_and_messages_are_compressed() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let (status, answer) = server.call("POST", "/v1/compress", &json!({"context": TEXT}));
    assert_eq!(status, 200, "{answer}");
    let prompt = text(&answer["compressed_prompt"]);
    assert!(prompt.contains("Lisbon") && prompt.len() < TEXT.len());
    assert_eq!((&answer["model"], &answer["mode"]), (&json!("keep-head-all-MiniLM-L6-v2"), &json!("default")));
    let spans = answer["kept"][0].as_array().expect("spans");
    let kept: String = spans
        .iter()
        .map(|s| &TEXT[s[0].as_u64().expect("a byte") as usize..s[1].as_u64().expect("a byte") as usize])
        .collect();
    assert_eq!(kept.replace(' ', ""), prompt.replace(' ', ""));
    for field in ["compressed_prompt_list", "origin_tokens", "compressed_tokens", "ratio", "rate", "saving"] {
        assert!(answer.get(field).is_some(), "{field}");
    }

    let (_, contexts) = server.call(
        "POST",
        "/v1/compress",
        &json!({"context": [TEXT, "The spare key is under the pot."], "rate": 0.7}),
    );
    assert_eq!(contexts["compressed_prompt_list"].as_array().map(Vec::len), Some(2));
    let (_, all) =
        server.call("POST", "/v1/compress", &json!({"documents": [TEXT, "The spare key is under the pot.", TEXT]}));
    let documents = all["documents"].as_array().expect("documents");
    assert_eq!((documents.len(), &documents[0], &documents[2]), (3, &answer, &answer));
    assert_eq!(
        all["origin_tokens"],
        json!(documents.iter().map(|d| d["origin_tokens"].as_u64().unwrap_or(0)).sum::<u64>())
    );

    let messages = json!([{"role": "system", "content": "Be kind."},
        {"role": "user", "content": TEXT, "name": "lena"}, {"role": "assistant", "content": "Noted."}]);
    let (_, talk) = server.call(
        "POST",
        "/v1/compress",
        &json!({"messages": messages, "keep_last": 1, "mode": "strict", "target_token": 35}),
    );
    let left = talk["messages"].as_array().expect("messages");
    assert_eq!((&left[0], &left[2]), (&messages[0], &messages[2]));
    assert_eq!((&left[1]["role"], &left[1]["name"]), (&json!("user"), &json!("lena")));
    assert!(text(&left[1]["content"]).len() < TEXT.len());
    let (_, counted) = server.call("POST", "/v1/tokens", &json!({"encoding": "cl100k_base", "messages": left}));
    assert_eq!(counted["total"], talk["compressed_tokens"]);
    assert!(counted["total"].as_u64() <= Some(35));

    let data = json!({"id": 7, "notes": TEXT});
    let rules = json!({"id": {"value_type": "number"}, "notes": {"rate": 0.4}});
    let (_, answer) = server.call("POST", "/v1/compress", &json!({"json_data": data, "json_config": rules}));
    assert_eq!(answer["json_data"]["id"], 7);
    assert!(text(&answer["json_data"]["notes"]).contains("Lisbon"));
}

#[test]
fn every_option_of_the_package_is_taken_under_its_own_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let all = json!({
        "context": [TEXT], "instruction": "", "question": "", "rate": 0.4, "target_token": -1,
        "use_context_level_filter": false,
        "use_token_level_filter": true, "target_context": -1, "context_level_rate": 1.0,
        "context_level_target_token": -1,
        "force_context_ids": [], "return_word_label": true, "word_sep": "\n", "label_sep": "\t",
        "token_to_word": "first",
        "force_tokens": ["just"], "force_reserve_digit": true, "drop_consecutive": true,
        "chunk_end_tokens": [".", "\n"],
        "mode": "default", "encoding": "gpt-4o", "model": "keep-head", "structured": false, "threshold": null,
    });
    let (status, answer) = server.call("POST", "/v1/compress", &all);
    assert_eq!(status, 200, "{answer}");
    let labels = text(&answer["fn_labeled_original_prompt"]);
    assert!(labels.contains("just\t1\n") && labels.contains("2022\t1") && labels.contains("that\t0"), "{labels}");
    let (_, structured) = server.call(
        "POST",
        "/v1/compress",
        &json!({"context": "<llmlingua, compress=False>Say it so.</llmlingua> And, well, you know, go on.",
            "structured": true, "rate": 0.3}),
    );
    assert!(text(&structured["compressed_prompt"]).starts_with("Say it so."));
}

#[test]
fn the_api_describes_every_option_of_a_compression() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let (_, document) = server.call("GET", "/openapi.json", &Value::Null);
    let schema = &document["components"]["schemas"]["CompressRequest"];
    assert_eq!(schema["additionalProperties"], false);
    for option in [
        "context",
        "documents",
        "messages",
        "json_data",
        "model",
        "mode",
        "rate",
        "target_token",
        "force_tokens",
        "structured",
    ] {
        assert!(schema["properties"][option].is_object(), "{option}");
    }
}

#[test]
fn bad_requests_for_compression_are_told_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &["--max-body-bytes", "4000000"]);
    let cases = [
        (json!({}), 400, "/context"),
        (json!({"context": TEXT, "documents": [TEXT]}), 400, "/context"),
        (json!({"context": 7}), 400, "/context"),
        (json!({"context": TEXT, "rat": 0.5}), 400, "/rat"),
        (json!({"context": TEXT, "rate": "half"}), 400, "/rate"),
        (json!({"context": TEXT, "rate": 0}), 422, "/rate"),
        (json!({"context": TEXT, "rate": 2}), 422, "/rate"),
        (json!({"context": TEXT, "rate": -1}), 422, "/rate"),
        (json!({"context": TEXT, "target_token": 0}), 422, "/target_token"),
        (json!({"context": TEXT, "threshold": 7}), 422, "/threshold"),
        (json!({"context": TEXT, "force_tokens": [""]}), 422, "/force_tokens"),
        (json!({"context": TEXT, "force_tokens": "x"}), 400, "/force_tokens"),
        (json!({"context": TEXT, "mode": "best"}), 400, "/mode"),
        (json!({"context": TEXT, "mode": "parity"}), 422, "/mode"),
        (json!({"context": TEXT, "encoding": "latin-1"}), 400, "/encoding"),
        (json!({"context": TEXT, "model": "llmlingua-2"}), 503, ""),
        (json!({"context": TEXT, "keep_last": 1}), 400, "/keep_last"),
        (json!({"context": "<llmlingua, rate=9>x</llmlingua>", "structured": true}), 422, "/context"),
        (json!({"context": []}), 400, "/context"),
        (json!({"documents": []}), 400, "/documents"),
        (json!({"documents": vec!["x"; 2049]}), 413, "/documents"),
        (json!({"documents": ["x", null]}), 400, "/documents/1"),
        (json!({"messages": [{"role": "user", "content": ["x"]}]}), 400, "/messages/0/content"),
        (json!({"json_data": {"a": 1}}), 400, "/json_config"),
        (json!({"json_data": {"a": 1}, "json_config": {"b": {}}}), 422, "/json_config"),
    ];
    for (body, status, field) in cases {
        let (got, problem) = server.call("POST", "/v1/compress", &body);
        assert_eq!((got, pointer(&problem)), (status, field), "{body}: {problem}");
        assert!(text(&problem["detail"]).len() > 5);
    }
    let (_, problem) = server.call("POST", "/v1/compress", &json!({"context": TEXT, "model": "llmlingua-2"}));
    assert!(text(&problem["detail"]).contains("membox models pull llmlingua-2"), "{problem}");
    let (status, _, _) = server.raw(
        "POST",
        "/v1/compress",
        &[("content-type", "application/json")],
        br#"{"context": "x", "rate": NaN}"#.to_vec(),
    );
    assert_eq!(status, 400, "NaN is not JSON");
    for body in
        [json!({"context": ""}), json!({"context": TEXT, "rate": 1}), json!({"context": TEXT, "target_token": 100_000})]
    {
        let (status, answer) = server.call("POST", "/v1/compress", &body);
        assert_eq!((status, &answer["compressed_prompt"]), (200, &body["context"]));
    }
}

#[test]
fn a_megabyte_without_a_space_is_answered_and_does_not_stop_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    // Of signs and Chinese each character is a word, and a megabyte of them a minute's work for two cores: less of
    // them has to do.
    for (unit, bytes) in [("x", 1 << 20), (" ", 1 << 20), ("错", 1 << 18), ("=-", 1 << 16)] {
        let context = unit.repeat(bytes / unit.len());
        let body = json!({"context": context, "mode": "strict", "target_token": 200});
        std::thread::scope(|scope| {
            let long = scope.spawn(|| server.call("POST", "/v1/compress", &body));
            let begun = Instant::now();
            let (status, _) = server.call("POST", "/v1/compress", &json!({"context": TEXT}));
            assert_eq!(status, 200);
            assert!(begun.elapsed() < Duration::from_secs(20), "others are answered meanwhile");
            let (status, answer) = long.join().expect("a call");
            assert_eq!(status, 200, "{unit:?}: {answer}");
            assert!(answer["compressed_tokens"].as_u64() <= Some(200));
        });
        let (status, _) = server.call("POST", "/v1/tokens", &json!({"input": context}));
        assert_eq!(status, 200);
    }
}

#[test]
fn a_recall_within_a_budget_is_compressed_and_always_fits() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    server.call("PUT", "/v1/collections/talk", &json!({}));
    let turns: Vec<Value> = (0..30)
        .map(|i| {
            json!({"id": format!("t{i}"), "session": "s",
                "text": format!("Speaker {i}: Well, I was thinking that maybe we could meet in room {i} at {} o'clock, \
                                 if that is all right with you.", i % 12)})
        })
        .collect();
    assert_eq!(server.call("POST", "/v1/collections/talk/records", &json!({"records": turns})).0, 200);
    let ask = |tokens: usize, compress: bool| {
        let body = json!({"query": "where do we meet?", "k": 20,
            "budget": {"tokens": tokens, "encoding": "cl100k_base", "compress": compress}});
        let (status, answer) = server.call("POST", "/v1/collections/talk/recall", &body);
        assert_eq!(status, 200, "{answer}");
        answer["context"].clone()
    };
    for tokens in [0, 1, 2, 5, 17, 60, 150, 333, 700, 5000] {
        let context = ask(tokens, true);
        let (_, counted) =
            server.call("POST", "/v1/tokens", &json!({"encoding": "cl100k_base", "input": context["text"]}));
        assert_eq!(counted["total"], context["tokens"]);
        assert!(context["tokens"].as_u64() <= Some(tokens as u64), "{context}");
        if (17..700).contains(&tokens) {
            assert!(context["tokens"].as_f64() >= Some(0.9 * tokens as f64), "{tokens}: {context}");
        }
    }
    let (plain, compressed) = (ask(333, false), ask(333, true));
    let left_out = |context: &Value| context["dropped"].as_array().map_or(0, Vec::len);
    assert!(left_out(&compressed) < left_out(&plain), "more of the hits are in it");
    assert!(plain.get("compression").is_none() && compressed["compression"]["model"] == "keep-head-all-MiniLM-L6-v2");
    assert!(ask(5000, true).get("compression").is_none(), "what fits stays as it is");
}

#[test]
fn records_can_be_compressed_when_they_are_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    for name in ["whole", "less"] {
        server.call("PUT", &format!("/v1/collections/{name}"), &json!({"vector_type": "f32"}));
    }
    let record = json!([{"id": "a", "text": TEXT}]);
    server.call("POST", "/v1/collections/whole/records", &json!({"records": record}));
    let (status, written) =
        server.call("POST", "/v1/collections/less/records", &json!({"records": record, "compress": {"rate": 0.4}}));
    assert_eq!(status, 200, "{written}");
    let compression = &written["records"][0]["compression"];
    assert!(compression["compressed_tokens"].as_u64() < compression["origin_tokens"].as_u64());
    let (_, stored) = server.call("GET", "/v1/collections/less/records/a", &Value::Null);
    assert!(text(&stored["text"]).contains("Lisbon") && text(&stored["text"]).len() < TEXT.len() / 2 + 20);
    let vector = |name: &str| {
        let body = json!({"query": "who moved?", "k": 1, "include": ["vector"]});
        let (_, answer) = server.call("POST", &format!("/v1/collections/{name}/recall"), &body);
        let numbers = answer["hits"][0]["vector"].as_array().expect("a vector").clone();
        numbers.iter().map(|x| x.as_f64().expect("a number")).collect::<Vec<f64>>()
    };
    let apart: f64 = vector("whole").iter().zip(vector("less")).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(apart < 1e-3, "the vector is that of the whole text: {apart}");
    let (status, problem) =
        server.call("POST", "/v1/collections/less/records", &json!({"records": record, "compress": {"rate": 7}}));
    assert_eq!((status, pointer(&problem)), (422, "/compress/rate"));
    let (_, metrics) = server.call("GET", "/metrics", &Value::Null);
    assert!(text(&metrics).contains("membox_tokens_total{kind=\"encoded\"}"));
}

/// stdout and stderr of `membox compress` with this text on stdin.
fn compress(data: &std::path::Path, args: &[&str], input: &str) -> (bool, String, String) {
    let mut command = membox(data);
    command.arg("compress").args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary");
    child.stdin.take().expect("stdin").write_all(input.as_bytes()).expect("a write");
    let output = child.wait_with_output().expect("an end");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_command_compresses_shows_and_refuses() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let (ok, out, log) = compress(&data, &["--rate", "0.4"], TEXT);
    assert!(ok && out.contains("Lisbon") && !out.contains("you know"), "{out}{log}");
    assert!(log.contains(" tokens (") && log.contains("keep-head"), "{log}");
    let (_, shown, _) = compress(&data, &["--show", "--force", "just"], TEXT);
    assert_eq!(shown.replace("~~", ""), TEXT, "nothing is lost");
    assert!(shown.contains("just") && shown.contains("~~Well,"), "{shown}");
    let (_, strict, log) = compress(&data, &["--tokens", "12", "--strict"], TEXT);
    assert!(!strict.is_empty() && (1..=12).any(|n| log.starts_with(&format!("{n} of "))), "{log}");
    let (_, json, _) = compress(&data, &["--json", "--threshold", "0.5"], TEXT);
    assert!(serde_json::from_str::<Value>(&json).expect("JSON")["kept"].is_array());
    let file = folder.path().join("text.txt");
    std::fs::write(&file, TEXT).expect("a write");
    assert_eq!(compress(&data, &["--rate", "0.4", file.to_str().expect("a path")], "").1, out);
    for (args, says) in [
        (&["--rate", "3"][..], "rate"),
        (&["--rate", "0.5", "--tokens", "9"], "cannot be used with"),
        (&["/no/such/file"], "/no/such/file"),
        (&["--encoding", "latin-1"], "cl100k_base"),
    ] {
        let (ok, _, log) = compress(&data, args, TEXT);
        assert!(!ok && log.contains(says), "{args:?}: {log}");
    }
    let mut other = membox(&data);
    let output = other
        .args(["--compression-model", "llmlingua-2", "compress"])
        .stdin(Stdio::null())
        .output()
        .expect("the binary");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success()
            && log.contains("membox models pull llmlingua-2-bert-base-multilingual-cased-meetingbank"),
        "{log}"
    );
}

#[test]
fn the_command_trains_a_head_that_the_command_uses() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let lines: String = (0..120)
        .map(|i| {
            format!(
                "{{\"text\": \"Well, on day {i} the team said that item {} should be moved to room {}.\"}}\n",
                i * 7 % 31,
                i % 9
            )
        })
        .collect();
    let file = folder.path().join("texts.jsonl");
    std::fs::write(&file, lines).expect("a write");
    let head = folder.path().join("head.safetensors");
    let distil = |epochs: &str| {
        membox(&data)
            .args(["distil", "--width", "32", "--epochs", epochs, "--out"])
            .arg(&head)
            .arg(&file)
            .output()
            .expect("the binary")
    };
    let output = distil("2");
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && out.contains("cross entropy fell"),
        "{out}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let output = membox(&data)
        .env("MEMBOX_KEEP_HEAD", &head)
        .args(["compress", "--rate", "0.5"])
        .arg(&file)
        .output()
        .expect("the binary");
    assert!(output.status.success() && !output.stdout.is_empty());
    std::fs::write(&head, b"not a head").expect("a write");
    let output =
        membox(&data).env("MEMBOX_KEEP_HEAD", &head).args(["compress"]).arg(&file).output().expect("the binary");
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("head.safetensors"));
}

#[test]
fn an_llmlingua_2_model_is_installed_checked_and_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let fixture =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../compressor/tests/fixtures/bert-base-multilingual-cased-tiny");
    let run = |args: &[&str]| {
        let output = membox(&data).args(args).stdin(Stdio::null()).output().expect("the binary");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    let (ok, out, log) = run(&["models", "pull", "llmlingua-2", "--from", fixture]);
    assert!(ok && out.contains("llmlingua-2-bert-base-multilingual-cased-meetingbank is installed"), "{out}{log}");
    assert!(
        run(&["models", "pull", "llmlingua-2", "--from", "/no/such/folder"]).1.contains("whole"),
        "it is not fetched again"
    );
    let model = data.join("models/llmlingua-2-bert-base-multilingual-cased-meetingbank");
    assert!(run(&["models", "verify"]).0);
    assert!(run(&["doctor"]).1.contains("loads, runs on cpu"));
    let file = folder.path().join("text.txt");
    std::fs::write(&file, TEXT).expect("a write");
    let (ok, out, log) = run(&["--compression-model", "llmlingua-2", "compress", file.to_str().expect("a path")]);
    assert!(ok && !out.is_empty() && log.contains("by llmlingua-2-bert-base"), "{out}{log}");
    {
        std::os::unix::fs::symlink(
            crate::common::real_models().join("all-MiniLM-L6-v2"),
            data.join("models/all-MiniLM-L6-v2"),
        )
        .expect("a link");
        let server = Server::start(&data, &["--compression-model", "llmlingua-2"]);
        let model_of = |body: Value| server.call("POST", "/v1/compress", &body).1["model"].as_str().map(str::to_owned);
        assert_eq!(
            model_of(json!({"context": TEXT})).as_deref(),
            Some("llmlingua-2-bert-base-multilingual-cased-meetingbank")
        );
        assert_eq!(
            model_of(json!({"context": TEXT, "model": "keep-head"})).as_deref(),
            Some("keep-head-all-MiniLM-L6-v2")
        );
        let (status, parity) = server.call(
            "POST",
            "/v1/compress",
            &json!({"context": [TEXT, TEXT], "mode": "parity", "target_token": 20}),
        );
        assert_eq!(
            (status, &parity["mode"], parity["kept"].as_array().map(Vec::len)),
            (200, &json!("parity"), Some(0))
        );
        let (status, problem) =
            server.call("POST", "/v1/compress", &json!({"context": "", "mode": "parity", "target_token": 20}));
        assert_eq!((status, pointer(&problem)), (422, "/mode"), "where the package fails, that is said");
        server.call("PUT", "/v1/collections/c", &json!({}));
        let (status, _) = server.call(
            "POST",
            "/v1/collections/c/records",
            &json!({"records": [{"id": "a", "text": TEXT}], "compress": true}),
        );
        assert_eq!(status, 200, "a model that does not embed compresses in a pass of its own");
    }
    let config = model.join("config.json");
    let mut bytes = std::fs::read(&config).expect("a file");
    bytes[3] ^= 1;
    std::fs::write(&config, bytes).expect("a write");
    let (ok, out, _) = run(&["models", "verify"]);
    assert!(!ok && out.contains("config.json: its sha256 is"), "{out}");
}
