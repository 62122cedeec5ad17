//! What a collection keeps of its records: how their vectors are compared, and none of them, or no words.

use crate::common::{Server, data_with_model, membox, post, started};
use serde_json::{Value, json};
use std::path::Path;

/// What was exported of a user, by a box that runs.
fn exported(server: &Server, user: &str) -> String {
    let (status, _, text) = server.raw("GET", &format!("/v1/users/{user}/export"), &[], Vec::new());
    assert_eq!(status, 200, "{text}");
    text
}

fn import(data: &Path, server: &Server, lines: &str) {
    let file = data.parent().expect("a folder").join("export.jsonl");
    std::fs::write(&file, lines).expect("a file");
    let done = membox(data).arg("import").arg(&file).env("MEMBOX_URL", &server.url).output().expect("the binary");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn commanded(data: &Path, args: &[&str]) -> String {
    let done = membox(data).args(args).output().expect("the binary");
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{args:?}: {said}");
    said
}

fn pointer(answer: &Value) -> &str {
    answer["errors"][0]["pointer"].as_str().unwrap_or_default()
}

/// Files of a folder and below it that end so.
fn files(folder: &Path, end: &str) -> usize {
    let entries = std::fs::read_dir(folder).map_or_else(|_| Vec::new(), |found| found.flatten().collect());
    let of = |entry: &std::fs::DirEntry| match entry.path() {
        path if path.is_dir() => files(&path, end),
        path => usize::from(path.to_string_lossy().ends_with(end)),
    };
    entries.iter().map(of).sum()
}

fn hits(server: &Server, name: &str, asked: &Value) -> Vec<(String, f64)> {
    let found = post(server, &format!("/v1/collections/{name}/recall"), asked);
    let hit = |hit: &Value| (hit["id"].as_str().unwrap_or_default().to_owned(), hit["score"].as_f64().unwrap_or(9.0));
    found["hits"].as_array().expect("hits").iter().map(hit).collect()
}

const METRICS: [(&str, &str); 4] =
    [("cosine", "cosine"), ("dot", "inner_product"), ("inner_product", "inner_product"), ("euclidean", "euclidean")];

/// The best by a plain comparison.
fn oracle(metric: &str, vectors: &[[f64; 3]], asked: [f64; 3]) -> Vec<(String, f64)> {
    let dot = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let score = |own: [f64; 3]| match metric {
        "cosine" => dot(own, asked) / (dot(own, own) * dot(asked, asked)).sqrt(),
        "inner_product" => dot(own, asked),
        _ => -own.iter().zip(asked).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt(),
    };
    let mut all: Vec<_> = vectors.iter().enumerate().map(|(i, own)| (format!("r{i}"), score(*own))).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all.truncate(5);
    all
}

#[test]
fn a_metric_says_what_is_near_and_stays_with_its_collection() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let mut server = Server::start(&data, &[]);
    let number = |i: usize, d: usize| ((i * 37 + d * 59 + i * i * 11) % 97) as f64 / 8.0 - 5.0;
    let vectors: Vec<[f64; 3]> = (0..40).map(|i| std::array::from_fn(|d| number(i, d))).collect();
    let asked = [1.5, -0.5, 3.0];
    let near = |server: &Server, name: &str, metric: &str| {
        let found = hits(server, name, &json!({"vector": asked, "k": 5}));
        let wanted = oracle(metric, &vectors, asked);
        assert_eq!(found.len(), 5);
        for (found, wanted) in found.iter().zip(&wanted) {
            assert!(found.0 == wanted.0 && (found.1 - wanted.1).abs() < 1e-4, "{metric}: {found:?} for {wanted:?}");
        }
        let floor = json!({"vector": asked, "k": 5, "min_score": wanted[2].1 - 1e-4});
        assert_eq!(hits(server, name, &floor).len(), 3, "{metric}");
    };
    for (name, metric) in METRICS {
        let made = json!({"dimension": 3, "vector_type": "f32", "metric": name});
        let (status, view) = server.call("PUT", &format!("/v1/collections/{name}"), &made);
        assert_eq!((status, &view["settings"]["metric"]), (201, &json!(metric)), "{view}");
        let record = |(i, vector): (usize, &[f64; 3])| {
            let text = format!("record {i}");
            json!({"id": format!("r{i}"), "text": text, "vector": vector, "user": name})
        };
        let records: Vec<Value> = vectors.iter().enumerate().map(record).collect();
        post(&server, &format!("/v1/collections/{name}/records"), &json!({"records": records}));
        near(&server, name, metric);
        server.job(&format!("/v1/collections/{name}/rebuild"), &json!({}));
        near(&server, name, metric);
    }
    let lines: Vec<String> = METRICS.iter().map(|(name, _)| exported(&server, name)).collect();
    server.stop();
    commanded(&data, &["verify"]);
    server = Server::start(&data, &[]);
    METRICS.iter().for_each(|(name, metric)| near(&server, name, metric));
    server.stop();
    let elsewhere = folder.path().join("other");
    std::fs::create_dir(&elsewhere).expect("a folder");
    let data = data_with_model(&elsewhere);
    server = Server::start(&data, &[]);
    lines.iter().for_each(|lines| import(&data, &server, lines));
    METRICS.iter().for_each(|(name, metric)| near(&server, name, metric));
    server.stop();
}

#[test]
fn texts_are_found_by_distance_as_by_cosine_and_what_needs_a_cosine_is_refused() {
    let (_folder, server) = started("");
    let texts =
        ["The spare key is under the blue pot.", "Rex is a beagle.", "The train leaves at nine.", "Tea, no milk."];
    let records: Vec<Value> = texts.iter().map(|text| json!({"id": text, "text": text})).collect();
    for metric in ["cosine", "euclidean"] {
        assert_eq!(server.call("PUT", &format!("/v1/collections/{metric}"), &json!({"metric": metric})).0, 201);
        post(&server, &format!("/v1/collections/{metric}/records"), &json!({ "records": records }));
    }
    let ask = |mode: &str| json!({"query": "where is the key?", "k": 4, "mode": mode, "late_interaction": false});
    for mode in ["vector", "hybrid"] {
        let of = |metric: &str| post(&server, &format!("/v1/collections/{metric}/recall"), &ask(mode));
        let (cosine, distance) = (of("cosine"), of("euclidean"));
        for (a, b) in cosine["hits"].as_array().expect("hits").iter().zip(distance["hits"].as_array().expect("hits")) {
            assert_eq!(a["id"], b["id"], "{mode}");
            let (cosine, distance) = (a["scores"]["vector"].as_f64(), b["scores"]["vector"].as_f64());
            let (cosine, distance) = (cosine.expect("a cosine"), distance.expect("a distance"));
            assert!(distance < 0.0 && (1.0 - distance * distance / 2.0 - cosine).abs() < 2e-3, "{cosine} {distance}");
            let relevance = |hit: &Value| hit["relevance"].as_f64().expect("a relevance");
            assert!((relevance(a) - relevance(b)).abs() < 0.02, "{a} {b}");
        }
    }
    server.job("/v1/collections/euclidean/reembed", &json!({}));
    assert_eq!(hits(&server, "euclidean", &ask("vector"))[0].0, texts[0]);
    let diverse = json!({"query": "where is the key?", "k": 4, "mode": "vector", "rerank": {"mmr_lambda": 0.7}});
    assert_eq!(hits(&server, "euclidean", &diverse)[0].0, texts[0]);
    for (path, body, refused) in [
        ("collections/euclidean/consolidate", json!({}), 422),
        ("memories:update", json!({"collection": "euclidean"}), 400),
    ] {
        let (status, answer) = server.call("POST", &format!("/v1/{path}"), &body);
        assert_eq!((status, pointer(&answer)), (refused, "/collection"), "{answer}");
    }
    let write = |record: Value| {
        let (status, answer) = server.call("POST", "/v1/collections/euclidean/records", &json!({"records": [record]}));
        (status, pointer(&answer).to_owned())
    };
    let says_nothing = json!({"text": "", "payload": {"a": 1}});
    assert_eq!(write(says_nothing), (400, "/records/0/vector".to_owned()), "it would be near to all");
    let made = json!({"dimension": 2, "metric": "euclidean", "vector_type": "f32"});
    assert_eq!(server.call("PUT", "/v1/collections/far", &made).0, 201);
    let (status, answer) = server.call("POST", "/v1/collections/far/recall", &json!({"vector": [1e30, 0.0]}));
    assert_eq!((status, pointer(&answer)), (422, "/vector"), "its distance is no number: {answer}");
    server.stop();
}

/// A store of keys and values, which is asked for by ids and filters, and by words where it has them.
#[test]
fn a_collection_without_vectors_has_no_file_of_them_and_does_all_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = data_with_model(folder.path());
    let mut server = Server::start(&data, &[]);
    let made = [("words", json!({"vectors": false})), ("cache", json!({"vectors": false, "text_index": false}))];
    for (name, made) in &made {
        let path = format!("/v1/collections/{name}");
        let (status, view) = server.call("PUT", &path, made);
        assert_eq!((status, &view["vector_bytes"]), (201, &json!(0)), "{view}");
        assert_eq!((&view["settings"]["vectors"], &view["settings"]["model"]), (&json!(false), &Value::Null));
        assert_eq!(server.call("PUT", &path, &json!({})).0, 200, "as it was");
        assert_eq!(server.call("PUT", &path, &json!({"vectors": true})).0, 409);
        let record = |i: usize| {
            let text = if i % 10 == 3 { String::new() } else { format!("value {i} of the blue pot") };
            let metadata = json!({"even": i.is_multiple_of(2)});
            json!({"id": format!("k{i}"), "text": text, "payload": {"n": i}, "user": "lena", "metadata": metadata})
        };
        let records: Vec<Value> = (0..200).map(record).collect();
        post(&server, &format!("{path}/records"), &json!({ "records": records }));
        post(&server, &format!("{path}/records:delete"), &json!({"ids": ["k7"]}));
        let (status, changed) = server.call("PATCH", &format!("{path}/records/k8"), &json!({"text": "another jar"}));
        assert_eq!((status, &changed["version"]), (200, &json!(2)));
    }
    let holds = |server: &Server| {
        for (name, _) in &made {
            let path = format!("/v1/collections/{name}");
            let asked = json!({"ids": ["k9", "k7"], "with": ["vector", "payload"]});
            let found = post(server, &format!("{path}/records:get"), &asked);
            assert_eq!((&found["records"][0]["payload"], &found["missing"]), (&json!({"n": 9}), &json!(["k7"])));
            assert_eq!(found["records"][0]["vector"], Value::Null);
            let even = json!({"filter": {"field": "metadata.even", "eq": true}});
            assert_eq!(post(server, &format!("{path}/records:count"), &even)["count"], 100);
            let page = post(server, &format!("{path}/records:scroll"), &json!({"limit": 5, "offset": 190}));
            assert_eq!((page["records"].as_array().map(Vec::len), &page["count"]), (Some(5), &json!(199)));
        }
        assert_eq!(
            hits(server, "words", &json!({"query": "jar"})).iter().map(|hit| &hit.0).collect::<Vec<_>>(),
            ["k8"]
        );
    };
    holds(&server);
    assert_eq!(files(&data.join("collections"), ".mbv"), 0, "nothing of vectors is on the disk");
    for name in ["words", "cache"] {
        server.job(&format!("/v1/collections/{name}/rebuild"), &json!({}));
    }
    holds(&server);
    let backup = folder.path().join("backup");
    commanded(&data, &["backup", backup.to_str().expect("a path")]);
    let lines = exported(&server, "lena");
    server.stop();
    commanded(&data, &["verify"]);
    server = Server::start(&data, &[]);
    let (_, closed) = server.call("GET", "/v1/collections", &Value::Null);
    assert!(closed["collections"].as_array().expect("a list").iter().all(|view| view["vector_bytes"] == 0), "{closed}");
    holds(&server);
    server.job("/v1/users/lena/erase", &json!({}));
    assert_eq!(post(&server, "/v1/collections/cache/records:count", &json!({}))["count"], 0);
    server.stop();
    for (place, from_backup) in [("restored", true), ("imported", false)] {
        let place = folder.path().join(place);
        std::fs::create_dir(&place).expect("a folder");
        let data = data_with_model(&place);
        if from_backup {
            commanded(&data, &["restore", backup.to_str().expect("a path")]);
        }
        let server = Server::start(&data, &[]);
        if !from_backup {
            import(&data, &server, &lines);
        }
        let (_, view) = server.call("GET", "/v1/collections/cache", &Value::Null);
        assert_eq!((&view["settings"]["vectors"], &view["settings"]["text_index"]), (&json!(false), &json!(false)));
        assert_eq!(post(&server, "/v1/collections/words/records:count", &json!({}))["count"], 199);
        assert_eq!(hits(&server, "words", &json!({"query": "jar"})).len(), 1);
        assert_eq!(files(&data.join("collections"), ".mbv"), 0);
        server.stop();
    }
}

#[test]
fn what_a_collection_does_not_keep_is_refused_by_its_name() {
    let (_folder, server) = started("");
    for (field, value) in [
        ("model", json!("all-MiniLM-L6-v2")),
        ("dimension", json!(3)),
        ("metric", json!("euclidean")),
        ("vector_type", json!("f32")),
        ("index", json!({"kind": "hnsw"})),
        ("late_interaction", json!({"dimension": 48})),
        ("windows", json!({"max": 2})),
    ] {
        let (status, answer) = server.call("PUT", "/v1/collections/x", &json!({"vectors": false, field: value}));
        assert_eq!((status, pointer(&answer)), (400, format!("/{field}").as_str()), "{answer}");
    }
    let made = [
        ("words", json!({"vectors": false})),
        ("none", json!({"vectors": false, "text_index": false})),
        ("near", json!({"text_index": false})),
    ];
    for (name, made) in &made {
        assert_eq!(server.call("PUT", &format!("/v1/collections/{name}"), made).0, 201);
    }
    let record = json!({"records": [{"id": "a", "text": "Rex is a beagle."}]});
    made.iter().for_each(|(name, _)| drop(post(&server, &format!("/v1/collections/{name}/records"), &record)));
    assert_eq!(hits(&server, "near", &json!({"query": "a dog"}))[0].0, "a", "by its vector");
    assert_eq!(hits(&server, "words", &json!({"query": "beagle"}))[0].0, "a", "by its words");
    for (path, body, wanted) in [
        ("words/recall", json!({"vector": [1.0, 2.0]}), "/vector"),
        ("words/recall", json!({"query": "rex", "mode": "hybrid"}), "/mode"),
        ("words/recall", json!({"query": "rex", "mode": "vector"}), "/mode"),
        ("words/recall", json!({"query": "rex", "include": ["vector"]}), "/include"),
        ("words/recall", json!({"query": "rex", "fold_doubles": 0.9}), "/fold_doubles"),
        ("words/recall", json!({"query": "rex", "rerank": {"mmr_lambda": 0.5}}), "/rerank/mmr_lambda"),
        ("words/records", json!({"records": [{"text": "x", "vector": [1.0]}]}), "/records/0/vector"),
        ("words/reembed", json!({}), "/collection"),
        ("words/reembed?model=all-MiniLM-L6-v2", json!({}), "/collection"),
        ("words/consolidate", json!({}), "/collection"),
        ("none/recall", json!({"query": "rex"}), "/collection"),
        ("near/recall", json!({"query": "rex", "mode": "text"}), "/mode"),
        ("near/recall", json!({"query": "rex", "mode": "hybrid"}), "/mode"),
    ] {
        let (status, answer) = server.call("POST", &format!("/v1/collections/{path}"), &body);
        assert_eq!((status, pointer(&answer)), (400, wanted), "{path} {body}: {answer}");
    }
    server.stop();
}
