//! The HTTP surface and the command line, as their users meet them: the real model, a real server, a real socket.

use crate::common::{Server, data_with_model, membox};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

const JSON: (&str, &str) = ("content-type", "application/json");

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().expect("numbers").iter().map(|x| x.as_f64().expect("a number") as f32).collect()
}

#[test]
fn embeddings_are_openais_and_teis() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let (status, one) =
        server.call("POST", "/v1/embeddings", &json!({"model": "all-MiniLM-L6-v2", "input": "hello world"}));
    assert_eq!((status, &one["object"], &one["usage"]["prompt_tokens"]), (200, &json!("list"), &json!(4)));
    let vector = floats(&one["data"][0]["embedding"]);
    assert_eq!(vector.len(), 384);
    let (_, many) =
        server.call("POST", "/v1/embeddings", &json!({"input": ["x", "hello world"], "encoding_format": "base64"}));
    let bytes = base64_decode(many["data"][1]["embedding"].as_str().expect("base64"));
    let decoded: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let dot: f32 = vector.iter().zip(&decoded).map(|(a, b)| a * b).sum();
    assert!(dot > 0.9999);
    let (_, tokens) = server.call("POST", "/v1/embeddings", &json!({"input": [[101, 7592, 2088, 102], [101, 102]]}));
    assert_eq!(floats(&tokens["data"][0]["embedding"]), vector);
    let (_, short) = server.call("POST", "/v1/embeddings", &json!({"input": "hello world", "dimensions": 64}));
    assert_eq!(short["data"][0]["embedding"].as_array().map(Vec::len), Some(64));
    let (_, tei) = server.call("POST", "/embed", &json!({"inputs": ["hello world"]}));
    assert_eq!(floats(&tei[0]), vector);
    let (status, _) = server.call("POST", "/embed", &json!({"inputs": "word ".repeat(400), "truncate": false}));
    assert_eq!(status, 422);
    let (_, info) = server.call("GET", "/info", &Value::Null);
    assert_eq!((&info["model_id"], &info["max_tokens"]), (&json!("all-MiniLM-L6-v2"), &json!(512)));
    let (_, pieces) = server.call("POST", "/tokenize", &json!({"inputs": "Hello"}));
    assert_eq!(pieces[0][1], json!({"id": 7592, "text": "hello", "special": false, "start": 0, "stop": 5}));
    let (_, counted) = server.call(
        "POST",
        "/v1/tokens",
        &json!({"model": "gpt-4", "messages": [{"role": "user", "content": "hello"}]}),
    );
    assert_eq!((&counted["total"], &counted["encoding"]), (&json!(7), &json!("cl100k_base")));
}

fn base64_decode(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: Vec<u32> = text
        .bytes()
        .filter(|b| *b != b'=')
        .map(|b| DIGITS.iter().position(|d| *d == b).expect("a digit") as u32)
        .collect();
    let triple = |c: &[u32]| {
        let word = c.iter().fold(0, |w, b| w << 6 | b) << (6 * (4 - c.len()));
        word.to_be_bytes()[1..c.len()].to_vec()
    };
    bits.chunks(4).flat_map(triple).collect()
}

#[test]
fn a_history_is_remembered_found_and_paged() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    assert_eq!(server.call("PUT", "/v1/collections/trip", &json!({})).0, 201);
    assert_eq!(server.call("PUT", "/v1/collections/trip", &json!({})).0, 200);
    let texts = [
        "We parked the car behind the station.",
        "Lena is allergic to peanuts.",
        "我们明天去北京。",
        "The flight leaves at nine.",
    ];
    let records: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(i, t)| json!({"id": i.to_string(), "text": t, "session": "s", "metadata": {"n": i}}))
        .collect();
    let (status, written) = server.call("POST", "/v1/collections/trip/records", &json!({ "records": records }));
    assert_eq!((status, &written["records"][3]), (200, &json!({"id": "3", "version": 1})));
    for (question, mode, want) in [
        ("where is our automobile?", "vector", "0"),
        ("what can she not eat, Lena?", "hybrid", "1"),
        ("北京", "text", "2"),
        ("when does the plane depart", "hybrid", "3"),
    ] {
        let (status, answer) =
            server.call("POST", "/v1/collections/trip/recall", &json!({"query": question, "mode": mode, "k": 2}));
        assert_eq!((status, &answer["hits"][0]["id"]), (200, &json!(want)), "{question}");
        assert_eq!(answer["exact"], json!(true));
    }
    let (_, answer) =
        server.call("POST", "/v1/collections/trip/recall", &json!({"query": "Lena", "budget": {"tokens": 12}}));
    assert!(
        answer["context"]["tokens"].as_u64().expect("a count") <= 12
            && !answer["context"]["dropped"].as_array().expect("ids").is_empty()
    );
    let (_, page) = server.call("GET", "/v1/collections/trip/records?limit=3&order=newest", &Value::Null);
    let next = page["next"].as_str().expect("a cursor");
    let (_, rest) =
        server.call("GET", &format!("/v1/collections/trip/records?limit=3&order=newest&cursor={next}"), &Value::Null);
    assert_eq!(
        (page["records"].as_array().map(Vec::len), rest["records"].as_array().map(Vec::len), &rest["next"]),
        (Some(3), Some(1), &Value::Null)
    );
    let headers = [JSON, ("if-match", "7")];
    assert_eq!(server.raw("PATCH", "/v1/collections/trip/records/1", &headers, br#"{"text":"x"}"#.to_vec()).0, 412);
    let (status, changed) =
        server.call("PATCH", "/v1/collections/trip/records/1", &json!({"text": "Lena likes walnuts."}));
    assert_eq!((status, &changed["version"]), (200, &json!(2)));
    let (_, answer) =
        server.call("POST", "/v1/collections/trip/recall", &json!({"query": "who is fond of nuts?", "k": 1}));
    assert_eq!(answer["hits"][0]["text"], json!("Lena likes walnuts."));
    assert_eq!(server.call("DELETE", "/v1/collections/trip/records/1", &Value::Null).0, 204);
    assert_eq!(server.call("GET", "/v1/collections/trip/records/1", &Value::Null).0, 404);
    let (_, deleted) = server.call(
        "POST",
        "/v1/collections/trip/records:delete",
        &json!({"filter": {"field": "metadata.n", "gte": 3}}),
    );
    assert_eq!(deleted, json!({"deleted": 1}));
    server.job("/v1/collections/trip/reembed", &json!({}));
    let (_, answer) =
        server.call("POST", "/v1/collections/trip/recall", &json!({"query": "car", "mode": "vector", "k": 5}));
    assert_eq!(answer["hits"].as_array().map(Vec::len), Some(2), "re-embedding keeps each record once");
    let (_, list) = server.call("GET", "/v1/collections", &Value::Null);
    assert_eq!(list["collections"][0]["records"], json!(2));
    assert_eq!(server.call("DELETE", "/v1/collections/trip", &Value::Null).0, 204);
}

#[test]
fn bad_input_gets_its_status_and_names_the_field() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &["--max-body-bytes", "3000000"]);
    server.call("PUT", "/v1/collections/c", &json!({}));
    let records = |r: Value| ("POST", "/v1/collections/c/records", json!({ "records": [r] }));
    let recall = |r: Value| ("POST", "/v1/collections/c/recall", r);
    let cases = [
        (("PUT", "/v1/collections/%C3%A4", json!({})), 400, "/collection"),
        (("PUT", "/v1/collections/..%2fx", json!({})), 400, "/collection"),
        (("PUT", "/v1/collections/d", json!({"vector_type": "f64"})), 400, "/vector_type"),
        (("PUT", "/v1/collections/d", json!({"dimension": 100_000})), 422, "/dimension"),
        (("PUT", "/v1/collections/c", json!({"metric": "inner_product"})), 409, ""),
        (records(json!({"text": ""})), 400, "/records/0/text"),
        (records(json!({"text": "x", "colour": 1})), 400, "/records/0/colour"),
        (records(json!({"text": "x", "vector": [1, 2]})), 400, "/records/0/vector"),
        (records(json!({"vector": vec![1e9; 384]})), 422, "/records/0/vector"),
        (records(json!({"text": "x", "importance": 3})), 422, "/records/0/importance"),
        (records(json!({"text": "x", "created_at": "yesterday"})), 400, "/records/0/created_at"),
        (records(json!({"text": "x".repeat(1_100_000)})), 422, "/records/0/text"),
        (records(json!({"text": "x", "metadata": {"a": "x".repeat(20_000)}})), 422, "/records/0/metadata"),
        (records(json!({"text": "x".repeat(3_100_000)})), 413, ""),
        (recall(json!({"query": ""})), 400, "/query"),
        (recall(json!({"query": "x", "vector": [1]})), 400, "/vector"),
        (recall(json!({"query": "x", "k": 10_001})), 422, "/k"),
        (recall(json!({"query": "x", "k": -1})), 400, "/k"),
        (recall(json!({"query": "x", "filter": {"field": "nope", "eq": 1}})), 400, "/filter/field"),
        (recall(json!({"query": "x", "budget": {"tokens": 5, "encoding": "nope"}})), 400, "/budget/encoding"),
        (("POST", "/v1/collections/none/recall", json!({"query": "x"})), 404, ""),
        (("POST", "/v1/embeddings", json!({"input": ""})), 400, "/input"),
        (("POST", "/v1/embeddings", json!({"input": [[200_000]]})), 422, "/input/0"),
        (("GET", "/v1/collections/c/records?cursor=%21", Value::Null), 400, "/cursor"),
        (("GET", "/v1/nothing", Value::Null), 404, ""),
    ];
    for ((method, path, body), status, pointer) in cases {
        let (got, problem) = server.call(method, path, &body);
        assert_eq!(
            (got, problem["errors"][0]["pointer"].as_str().unwrap_or_default()),
            (status, pointer),
            "{method} {path}: {problem}"
        );
        assert_eq!(problem["status"], json!(status));
        assert!(problem["detail"].as_str().is_some_and(|d| !d.is_empty()));
    }
    for (body, status) in [
        (b"\xff\xfe".to_vec(), 400),
        (b"{\"records\":[{\"vector\":[NaN]}]}".to_vec(), 400),
        (br#"{"records":[{"text":"x","metadata":"#.iter().copied().chain(b"[".repeat(100_000)).collect(), 400),
    ] {
        assert_eq!(server.raw("POST", "/v1/collections/c/records", &[JSON], body).0, status);
    }
    assert_eq!(
        server.raw("POST", "/v1/collections/c/recall", &[("content-type", "text/plain")], b"{}".to_vec()).0,
        415
    );
    let million = "word ".repeat(500_000);
    assert_eq!(
        server.call("POST", "/v1/embeddings", &json!({ "input": million })).0,
        200,
        "a long text is cut, not refused"
    );
    let (_, view) = server.call("GET", "/v1/collections/c", &Value::Null);
    assert_eq!(view["rows"], json!(0), "nothing of what was refused is kept");
}

#[test]
fn a_key_may_ask_so_often_and_others_do_not_feel_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let settings = "[[keys]]\nkey = \"alpha\"\ntenant = \"a\"\nrequests_per_second = 5\n\
                    [[keys]]\nkey = \"beta\"\ntenant = \"b\"\n";
    std::fs::write(folder.path().join("membox.toml"), settings).expect("a write");
    let server = Server::start(&data, &[]);
    let ask = |key: &str| {
        let (status, headers, _) = server.raw("GET", "/v1/collections", &[("authorization", key)], Vec::new());
        (status, headers.iter().any(|h| h.0 == "retry-after"))
    };
    let asked: Vec<(u16, bool)> = (0..40).map(|_| ask("Bearer alpha")).collect();
    let refused = asked.iter().filter(|a| **a == (429, true)).count();
    assert!(asked[..5].iter().all(|a| a.0 == 200) && refused >= 25, "{asked:?}");
    assert!((0..40).all(|_| ask("Bearer beta").0 == 200));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(ask("Bearer alpha").0, 200, "a second later");
    server.stop();
    std::fs::write(folder.path().join("membox.toml"), settings.replace("= 5", "= 0")).expect("a write");
    assert!(Server::try_start(&data, &[], &[]).is_none(), "a rate of nothing is a mistake");
}

#[test]
fn keys_separate_tenants() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let settings = "[[keys]]\nkey = \"alpha\"\ntenant = \"a\"\n[[keys]]\nkey = \"beta\"\ntenant = \"b\"\n";
    std::fs::write(folder.path().join("membox.toml"), settings).expect("a write");
    let server = Server::start(&data, &[]);
    let call = |key: &str, method: &str, path: &str, body: Value| {
        let (status, headers, text) =
            server.raw(method, path, &[JSON, ("authorization", key)], body.to_string().into_bytes());
        (status, headers, serde_json::from_str::<Value>(&text).unwrap_or_default())
    };
    let (status, headers, _) = call("", "PUT", "/v1/collections/c", json!({}));
    assert!(status == 401 && headers.iter().any(|h| h.0 == "www-authenticate"));
    assert_eq!(call("Bearer gamma", "PUT", "/v1/collections/c", json!({})).0, 401);
    assert_eq!(call("Bearer alpha", "PUT", "/v1/collections/c", json!({})).0, 201);
    let (status, _, _) = call(
        "Bearer alpha",
        "POST",
        "/v1/collections/c/records",
        json!({"records": [{"id": "1", "text": "a secret"}]}),
    );
    assert_eq!(status, 200);
    assert_eq!(call("Bearer beta", "POST", "/v1/collections/c/recall", json!({"query": "secret"})).0, 404);
    assert_eq!(call("Bearer beta", "GET", "/v1/collections", Value::Null).2["collections"], json!([]));
    let headers = [JSON, ("authorization", "Bearer beta"), ("x-membox-tenant", "a")];
    assert_eq!(server.raw("GET", "/v1/collections/c", &headers, Vec::new()).0, 403);
    assert_eq!(server.call("GET", "/health", &Value::Null).0, 200, "health needs no key");
    let shown = membox(&data).args(["config", "show"]).output().expect("the binary");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("tenant = \"a\"") && !shown.contains("alpha"));
}

/// What proxies and generic clients make of an etag, and how they write "never".
#[test]
fn versions_are_asked_for_in_every_form_of_rfc_9110_and_never_is_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    server.call("PUT", "/v1/collections/c", &json!({}));
    let never = json!({"records": [{"id": "a", "text": "x", "expires_at": "9999-12-31T23:59:59.9999999Z"}]});
    assert_eq!(server.call("POST", "/v1/collections/c/records", &never).0, 200);
    let (_, record) = server.call("GET", "/v1/collections/c/records/a", &Value::Null);
    assert_eq!(record["expires_at"], "9999-12-31T23:59:59.999Z");
    let before = json!({"records": [{"id": "b", "text": "x", "created_at": "-000001-01-01T00:00:00Z"}]});
    let (status, answer) = server.call("POST", "/v1/collections/c/records", &before);
    assert_eq!((status, &answer["errors"][0]["pointer"]), (400, &json!("/records/0/created_at")));
    let later = json!({"field": "created_at", "lte": "9999-12-31T00:00:00+00:00"});
    let (_, found) = server.call("POST", "/v1/collections/c/recall", &json!({"query": "x", "filter": later}));
    assert_eq!(found["hits"].as_array().map(Vec::len), Some(1), "{found}");

    let send = |method: &str, path: &str, tag: &str, body: &Value| {
        let (status, headers, _) = server.raw(method, path, &[JSON, ("if-match", tag)], body.to_string().into_bytes());
        let etag = headers.iter().find(|header| header.0 == "etag").map(|header| header.1.clone());
        (status, etag.unwrap_or_default())
    };
    let patch = |tag: &str| send("PATCH", "/v1/collections/c/records/a", tag, &json!({"importance": 0.5}));
    assert_eq!(patch("W/\"1\""), (200, "\"2\"".to_owned()));
    assert_eq!(patch("*"), (200, "\"3\"".to_owned()));
    assert_eq!(patch("\"1\", \"3\""), (200, "\"4\"".to_owned()));
    assert_eq!(patch("\"1\", \"2\"").0, 412);
    assert_eq!(patch("\"of somebody else\"").0, 400);
    assert_eq!(patch("\"of-somebody-else\"").0, 412);
    assert_eq!(patch("three").0, 400);
    assert_eq!(send("DELETE", "/v1/collections/c/records/none", "*", &Value::Null).0, 404);
    assert_eq!(send("DELETE", "/v1/collections/c/records/a", "W/\"4\"", &Value::Null).0, 204);

    let said = json!({"messages": [{"id": "m", "role": "user", "content": "Hello."}]});
    assert_eq!(send("PUT", "/v1/sessions/s", "*", &json!({})).0, 412, "there is none yet");
    assert_eq!(send("POST", "/v1/sessions/s/messages", "*", &said).0, 412, "there is none yet");
    assert_eq!(server.call("GET", "/v1/sessions/s", &Value::Null).0, 404);
    assert_eq!(send("POST", "/v1/sessions/s/messages", "0, \"7\"", &said), (200, "\"1\"".to_owned()));
    assert_eq!(send("PUT", "/v1/sessions/s", "*", &json!({"max_messages": 9})), (200, "\"2\"".to_owned()));
    let merged = json!({"on_conflict": "merge", "messages": [{"id": "n", "role": "user", "content": "Again."}]});
    assert_eq!(send("POST", "/v1/sessions/s/messages", "*", &merged), (200, "\"3\"".to_owned()));
    let message = "/v1/sessions/s/messages/m";
    assert_eq!(send("PATCH", message, "W/\"1\"", &json!({"metadata": {"a": 1}})), (200, "\"2\"".to_owned()));
    assert_eq!(send("DELETE", message, "\"1\", \"2\"", &Value::Null).0, 204);
    server.stop();
}

/// What a reader of the documentation tries first.
#[test]
fn every_body_in_the_documentation_has_an_example_that_is_accepted() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    assert_eq!(server.call("PUT", "/v1/collections/notes", &json!({})).0, 201);
    let record = json!({"records": [{"id": "key", "text": "The spare key is under the blue pot."}]});
    assert_eq!(server.call("POST", "/v1/collections/notes/records", &record).0, 200);
    let said = json!({"user": "lena", "messages": [{"id": "m", "role": "user", "content": "Hello."}]});
    assert_eq!(server.call("POST", "/v1/sessions/s/messages", &said).0, 200);
    let state = json!({"state": {}});
    assert_eq!(server.call("PUT", "/v1/threads/t/checkpoints/key", &state).0, 200);
    let (_, document) = server.call("GET", "/openapi.json", &Value::Null);
    let mut tried = 0;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let content = &operation["requestBody"]["content"];
            let Some(body) = content.get("application/json") else { continue };
            let example = body.get("example").unwrap_or_else(|| panic!("{method} {path} has no example"));
            let mut path = path.clone();
            for (name, value) in [
                ("collection", "notes"),
                ("id", "key"),
                ("session", "s"),
                ("session_id", "s"),
                ("memory_id", "key"),
                ("message", "m"),
                ("user", "lena"),
                ("thread", "t"),
                ("task", "task"),
            ] {
                path = path.replace(&format!("{{{name}}}"), value);
            }
            let (status, answer) = server.call(&method.to_uppercase(), &path, example);
            let expected = match path.as_str() {
                // That one names a tenant, which this key is not of.
                "/v1/tenant:erase" => 422..423,
                // A box without keys lets nobody close it from afar.
                "/v1/keys" => 409..410,
                // They want a model that is not there.
                "/embed_sparse" | "/rerank" | "/v1/rerank" | "/v2/rerank" | "/predict" => 424..425,
                // No such memory is there.
                "/v1/batch" | "/v1/memories/key" | "/memories/key" | "/v1/long-term-memory/key" => 404..405,
                _ => 200..300,
            };
            assert!(expected.contains(&status), "{method} {path} {example}: {status} {answer}");
            tried += 1;
        }
    }
    assert!(tried > 25, "{tried}");
}

#[test]
fn operations_are_visible() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let (status, ready) = server.call("GET", "/ready", &Value::Null);
    assert_eq!((status, &ready["status"], &ready["troubles"]), (200, &json!("ready"), &Value::Null));
    assert!(ready["request_memory"]["limit"].as_u64() >= Some(256 << 20), "{ready}");
    server.call("PUT", "/v1/collections/c", &json!({}));
    server.call("POST", "/v1/collections/c/records", &json!({"records": [{"text": "x"}]}));
    let (_, headers, _) =
        server.raw("POST", "/v1/collections/c/recall", &[JSON, ("x-request-id", "mine")], br#"{"query":"x"}"#.to_vec());
    let header = |name: &str| headers.iter().find(|h| h.0 == name).map(|h| h.1.clone()).unwrap_or_default();
    assert_eq!(header("x-request-id"), "mine");
    for part in ["tokenize;dur=", "encode;dur=", "search;dur="] {
        assert!(header("server-timing").contains(part), "{}", header("server-timing"));
    }
    let (_, headers, _) = server.raw("GET", "/v1/collections/c", &[], Vec::new());
    for name in ["x-request-id", "server-timing"] {
        assert!(headers.iter().any(|h| h.0 == name), "every answer carries {name}");
    }
    let (_, _, metrics) = server.raw("GET", "/metrics", &[], Vec::new());
    for name in [
        "membox_request_seconds_bucket{route=\"/v1/collections/{collection}/recall\",status=\"200\"",
        "membox_queue_depth{lane=\"interactive\"}",
        "membox_commit_seconds_bucket",
        "membox_search_seconds_bucket{stage=\"search\"",
        "membox_records{collection=\"default/c\"} 1",
        "membox_tokens_total{kind=\"encoded\"}",
    ] {
        assert!(metrics.contains(name), "{name} is missing in {metrics}");
    }
    let (_, document) = server.call("GET", "/openapi.json", &Value::Null);
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() >= 16 && paths.contains_key("/v1/collections/{collection}/records:delete"));
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().expect("methods") {
            let responses = operation["responses"].as_object().expect("responses");
            assert!(
                responses.values().all(|r| r["description"].as_str().is_some_and(|d| !d.is_empty())),
                "{method} {path}"
            );
        }
    }
    assert!(server.raw("GET", "/docs/", &[], Vec::new()).2.contains("Swagger UI"));
    server.stop();
}

#[test]
fn slow_and_many_clients_do_not_keep_others_waiting() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    let address = server.url.trim_start_matches("http://").to_owned();
    let idle: Vec<TcpStream> = (0..500).map(|_| TcpStream::connect(&address).expect("a connection")).collect();
    let mut slow = TcpStream::connect(&address).expect("a connection");
    slow.write_all(
        b"POST /embed HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
    )
    .expect("a write");
    let begun = Instant::now();
    assert_eq!(server.call("POST", "/embed", &json!({"inputs": "quick"})).0, 200);
    assert!(begun.elapsed() < Duration::from_secs(5));
    drop((idle, slow));
}

#[test]
fn a_stop_finishes_what_was_accepted() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    server.call("PUT", "/v1/collections/c", &json!({}));
    let records: Vec<Value> = (0..400)
        .map(|i| json!({"id": format!("r{i}"), "text": format!("a memory of some length, number {i}")}))
        .collect();
    let body = json!({ "records": records }).to_string();
    let address = server.url.trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).expect("a connection");
    let head = format!(
        "POST /v1/collections/c/records HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).expect("a write");
    std::thread::sleep(Duration::from_millis(250));
    server.stop();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let server = Server::start(&data, &[]);
    assert_eq!(server.call("GET", "/v1/collections/c", &Value::Null).1["records"], json!(400));
}

#[test]
fn the_command_line_imports_recalls_embeds_and_backs_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let server = Server::start(&data, &[]);
    let url = server.url.clone();
    let run = |args: &[&str]| {
        let output = membox(&data).args(args).env("MEMBOX_URL", &url).output().expect("the binary");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let file = folder.path().join("history.jsonl");
    let lines = "{\"id\":\"1\",\"text\":\"The spare key is under the pot.\"}\nnot json\n\n\
                 {\"id\":\"2\",\"text\":\"Ada moved to Lisbon.\"}\n";
    std::fs::write(&file, lines).expect("a write");
    let path = file.to_str().expect("a path");
    let (ok, out, err) = run(&["import", path, "--collection", "notes"]);
    assert!(!ok && out.contains("2 records") && err.contains("1 of 3 lines") && err.contains("line 2"), "{out}{err}");
    assert!(run(&["import", path, "--collection", "notes", "--allow-rejected"]).0);
    let (ok, _, err) = run(&["import", path, "--collection", "notes", "--strict"]);
    assert!(!ok && err.contains("line 2"), "{err}");
    // What an older membox wrote down says nothing of where it was going.
    std::fs::write(folder.path().join("history.jsonl.imported"), "3").expect("a write");
    let (_, out, _) = run(&["import", path, "--collection", "more"]);
    assert!(!out.contains("going on") && out.contains("2 records"), "{out}");
    let (ok, out, _) = run(&["recall", "notes", "where does Ada live?", "-k", "1"]);
    assert!(ok && out.contains("Lisbon"), "{out}");
    let (ok, _, err) = run(&["recall", "nothing", "x"]);
    assert!(!ok && err.contains("404") && err.contains("PUT /v1/collections/nothing"), "{err}");
    let backup = folder.path().join("backup");
    let (ok, out, err) = run(&["backup", backup.to_str().expect("a path")]);
    assert!(ok && out.contains("4 records"), "{out}{err}");
    let (ok, _, err) = run(&["verify"]);
    assert!(!ok && err.contains("in use by another membox"), "{err}");

    let out_file = folder.path().join("v.npy");
    let mut child = membox(&data)
        .args(["embed", "--out", out_file.to_str().expect("a path")])
        .stdin(Stdio::piped())
        .spawn()
        .expect("the binary");
    child.stdin.take().expect("stdin").write_all("one\ntwo\n三\n".as_bytes()).expect("a write");
    assert!(child.wait().expect("its end").success());
    let npy = std::fs::read(out_file).expect("bytes");
    assert_eq!(npy.len(), 128 + 3 * 384 * 4);
    assert!(String::from_utf8_lossy(&npy[..128]).contains("(3, 384)"));
    server.stop();
    let (ok, out, err) = run(&["verify"]);
    assert!(ok && out.contains("4 records checked, 0 problems"), "{out}{err}");
    let (ok, out, _) = run(&["doctor"]);
    assert!(ok && out.contains("loads, runs on cpu"), "{out}");
}

#[test]
fn a_wrong_checksum_is_refused_with_both_sums_and_exposure_without_keys_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let source = folder.path().join("source");
    std::fs::create_dir_all(&data).and_then(|()| std::fs::create_dir_all(&source)).expect("folders");
    let real = crate::common::real_models().join("all-MiniLM-L6-v2");
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        std::fs::copy(real.join(name), source.join(name)).expect("a copy");
    }
    let config = std::fs::read_to_string(source.join("config.json")).expect("config");
    std::fs::write(source.join("config.json"), config.replace("384", "385")).expect("a write");
    let pull = || {
        let output = membox(&data).args(["models", "pull", "--from"]).arg(&source).output().expect("the binary");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (ok, err) = pull();
    assert!(
        !ok && err.contains("sha256 is")
            && err.contains("953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
        "{err}"
    );
    assert!(!data.join("models/all-MiniLM-L6-v2/config.json").exists());
    std::fs::write(source.join("config.json"), config).expect("a write");
    assert!(pull().0);
    assert!(membox(&data).args(["models", "verify"]).output().expect("the binary").status.success());
    let exposed = membox(&data).args(["serve", "--listen", "0.0.0.0:0"]).output().expect("the binary");
    assert!(!exposed.status.success() && String::from_utf8_lossy(&exposed.stderr).contains("--insecure"));
}

#[test]
fn vectors_are_given_in_base64_and_searched_as_hard_as_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&data_with_model(folder.path()), &[]);
    assert_eq!(server.call("PUT", "/v1/collections/v", &json!({"dimension": 2, "vector_type": "f32"})).0, 201);
    // [1, 0], [0, 1] and [NaN, 1] as little-endian f32.
    let (east, north, nan) = ("AACAPwAAAAA=", "AAAAAAAAgD8=", "AADAfwAAgD8=");
    let write = |vector: &str| {
        server.call("POST", "/v1/collections/v/records", &json!({"records": [{"id": vector, "vector": vector}]}))
    };
    assert_eq!((write(east).0, write(north).0), (200, 200));
    for (vector, status) in [(nan, 422), ("AACAPw==", 400), ("AACAPwA=", 400), ("no base64!", 400)] {
        let (got, problem) = write(vector);
        assert_eq!(got, status, "{vector}: {problem}");
        assert!(
            problem["errors"][0]["pointer"].as_str().expect("a field").starts_with("/records/0/vector"),
            "{problem}"
        );
    }
    for effort in [json!({}), json!({"ef_search": 200}), json!({"exact": true}), json!({"nprobe": 4})] {
        let body = json!({"vector": north, "mode": "vector", "k": 1, "effort": effort});
        let (status, answer) = server.call("POST", "/v1/collections/v/recall", &body);
        assert_eq!((status, &answer["hits"][0]["id"]), (200, &json!(north)), "{answer}");
    }
    let (status, _) = server.call(
        "POST",
        "/v1/collections/v/recall",
        &json!({"vector": north, "mode": "vector", "effort": {"ef": 1}}),
    );
    assert_eq!(status, 400);
}
