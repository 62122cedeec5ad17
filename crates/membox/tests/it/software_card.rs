//! A whole box on a software card: what it answers is what a box on the CPU answers.

use crate::common::{Server, data_with_model, membox, post};
use membox_software_card::faults::{REPORT, VARIABLE};
use membox_software_card::process::{LIBRARIES, folder};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Numbers of a vector, of which the PTX of recall is kept.
const DIMENSION: usize = 64;

/// The libraries of a software card, and what it did.
struct Card {
    libraries: TempDir,
    report: PathBuf,
}

impl Card {
    fn new() -> Self {
        let libraries = folder(&LIBRARIES);
        let report = libraries.path().join("report");
        Self { libraries, report }
    }

    fn start(&self, data: &Path, faults: &str) -> Server {
        let [libraries, report] = [self.libraries.path(), &self.report].map(|path| path.to_str().expect("a path"));
        let environment = [("LD_LIBRARY_PATH", libraries), (REPORT, report), (VARIABLE, faults)];
        Server::try_start(data, &["--device", "auto"], &environment).expect("a box on a card")
    }

    /// Launches, products, graphs, allocations, complaints.
    fn counts(&self) -> Vec<u64> {
        let text = std::fs::read_to_string(&self.report).expect("a report");
        text.split_whitespace().map(|n| n.parse().expect("a number")).collect()
    }
}

fn vectors(server: &Server, texts: &[&str]) -> Vec<Vec<f64>> {
    let answer = post(server, "/v1/embeddings", &json!({"input": texts}));
    let numbers = |v: &Value| v.as_array().expect("numbers").iter().filter_map(Value::as_f64).collect();
    answer["data"].as_array().expect("data").iter().map(|object| numbers(&object["embedding"])).collect()
}

#[test]
fn a_box_on_a_card_embeds_compresses_and_recalls_as_one_on_the_cpu() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let [on_cpu, on_card] = folders.each_ref().map(|folder| data_with_model(folder.path()));
    let (card, cpu) = (Card::new(), Server::start(&on_cpu, &["--device", "cpu", "--precision", "f32"]));
    let server = card.start(&on_card, "");
    let (_, info) = server.call("GET", "/info", &Value::Null);
    assert_eq!((&info["engine"], &info["why_not_cuda"]), (&json!("cuda Software Card 0 f16"), &Value::Null));
    assert_eq!(server.call("GET", "/ready", &Value::Null).0, 200);

    let texts = ["My sister Ann has moved to Lisbon with her dog.", "Yes.", "The spare key is under the pot."];
    for (a, b) in vectors(&cpu, &texts).iter().zip(&vectors(&server, &texts)) {
        let cosine: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
        assert!(cosine > 0.9995, "{cosine}");
    }
    let compressed = |server: &Server| {
        post(server, "/v1/compress", &json!({"context": texts.join(" "), "rate": 0.5}))["compressed_prompt"].clone()
    };
    assert_eq!(compressed(&cpu), compressed(&server));
    let recalled = |server: &Server| {
        assert_eq!(server.call("PUT", "/v1/collections/c", &json!({})).0, 201);
        let records: Vec<Value> =
            texts.iter().enumerate().map(|(i, text)| json!({"id": i.to_string(), "text": text})).collect();
        post(server, "/v1/collections/c/records", &json!({"records": records}));
        let hits = post(server, "/v1/collections/c/recall", &json!({"query": "Where does Ann live?"}))["hits"].clone();
        hits.as_array().expect("hits").iter().map(|hit| hit["id"].clone()).collect::<Vec<Value>>()
    };
    assert_eq!(recalled(&cpu), recalled(&server));
    let counts = card.counts();
    assert!(counts[1] > 300 && counts[2] > 0 && counts[4] == 0, "{counts:?}");
    server.stop();
    cpu.stop();
}

#[test]
fn a_box_whose_card_is_lost_goes_on_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    // Long after its proof, in a request: that takes some thousand pieces of work.
    let (card, data) = (Card::new(), data_with_model(folder.path()));
    let server = card.start(&data, "lose=2500");
    let texts = ["My sister Ann has moved to Lisbon with her dog.", "Yes."];
    let first = vectors(&server, &texts);
    let metric = |server: &Server| server.count("membox_card_lost");
    let mut rounds = 0;
    while metric(&server) == 0 {
        for (a, b) in first.iter().zip(&vectors(&server, &texts)) {
            let cosine: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
            assert!(cosine > 0.99, "int8 or f16: {cosine}");
        }
        rounds += 1;
        assert!(rounds < 200, "it is not lost");
    }
    let (_, info) = server.call("GET", "/info", &Value::Null);
    assert!(info["engine"].as_str().is_some_and(|engine| engine.ends_with("(the card is lost)")), "{info}");
    let (status, ready) = server.call("GET", "/ready", &Value::Null);
    assert_eq!(status, 200, "it still answers");
    assert!(ready["troubles"][0].as_str().is_some_and(|trouble| trouble.starts_with("a card is lost")), "{ready}");
    server.stop();
}

fn vector(seed: usize) -> Vec<f32> {
    let mut state = seed as u64 * 0x9e37_79b9_7f4a_7c15 + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 54) as f32 / 512.0 - 1.0
    };
    (0..DIMENSION).map(|_| next()).collect()
}

#[test]
fn a_large_collection_is_recalled_from_the_card() {
    let folder = tempfile::tempdir().expect("a folder");
    let (card, data) = (Card::new(), data_with_model(folder.path()));
    let server = card.start(&data, "");
    let settings = json!({"dimension": DIMENSION, "index": {"kind": "flat"}, "vector_type": "f16"});
    assert_eq!(server.call("PUT", "/v1/collections/c", &settings).0, 201);
    for first in (0..20_500).step_by(1000) {
        let record = |i: usize| json!({"id": i.to_string(), "vector": vector(i), "metadata": {"odd": i % 2}});
        let records: Vec<Value> = (first..20_500.min(first + 1000)).map(record).collect();
        post(&server, "/v1/collections/c/records", &json!({"records": records}));
    }
    let recalled = |server: &Server, seed: usize| {
        let asked = json!({"vector": vector(seed), "k": 20, "mode": "vector"});
        let hits = post(server, "/v1/collections/c/recall", &asked)["hits"].clone();
        hits.as_array().expect("hits").iter().map(|hit| (hit["id"].clone(), hit["score"].clone())).collect::<Vec<_>>()
    };
    let launches = || card.counts()[0];
    let before = launches();
    // The first questions take the rows there.
    let answers: Vec<_> = (0..6).map(|seed| recalled(&server, 1_000_000 + seed)).collect();
    let more = launches() - before;
    assert!(more >= 6 * 2, "of so few groups all rows are scored, and the best chosen: {more} launches");
    assert_eq!(card.counts()[4], 0, "nothing to complain of");
    server.stop();
    let server = Server::start(&data, &["--device", "cpu"]);
    for (seed, answer) in answers.iter().enumerate() {
        assert_eq!(answer, &recalled(&server, 1_000_000 + seed), "to the last bit");
    }
    server.stop();
}

#[test]
fn doctor_names_the_card_and_what_is_installed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (card, data) = (Card::new(), data_with_model(folder.path()));
    let doctor = |faults: &str| {
        let mut command = membox(&data);
        command.args(["doctor", "--gpu"]).env("LD_LIBRARY_PATH", card.libraries.path()).env(VARIABLE, faults);
        let output = command.output().expect("the binary");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    // A card of several is no reason to say nothing of the others.
    let (is_well, text) = doctor("cards=2 capability=70,90 driver=12040 refuse_images=1");
    assert!(!is_well && text.contains("card 0: Software Card 0 is of compute capability 7.0"), "{text}");
    let installed = "driver for CUDA 12.4, NVRTC 13.5, cuBLASLt 13.5";
    assert!(text.contains("card 1: Software Card 1, compute capability 9.0, 1 GiB"), "{text}");
    assert!(text.matches(installed).count() == 2 && text.contains("nvidia-cuda-nvrtc-cu12"), "{text}");
}
