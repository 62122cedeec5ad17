//! Cross-encoders: the engine gives pairs the numbers that transformers gives them, which are in
//! `fixtures/cross_encoders`, made by `architectures/make_cross_encoders.py`.

use crate::common::write_folder;
use crate::folders::tokenizer;
use membox_encoder::{
    Encoder, EncoderConfig, EncoderError, Inputs, Lane, ModelKind, Precision, Request, Scheduler, SchedulerConfig,
    TokenPair, Wanted,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The largest difference of a number in f32, and in int8 of random weights, whose products cancel out as those of
/// trained ones do not.
const MOST_APART: [(Precision, f32); 2] = [(Precision::F32, 1e-4), (Precision::Int8, 0.15)];

#[derive(Deserialize)]
struct Fixture {
    config: Value,
    tensors: BTreeMap<String, Vec<usize>>,
    expected: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    ids: Vec<u32>,
    second: usize,
    logit: f32,
}

fn fixture(name: &str) -> Fixture {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cross_encoders");
    let bytes = std::fs::read(folder.join(name).with_extension("json")).expect("a fixture");
    serde_json::from_slice(&bytes).expect("JSON")
}

fn load(fixture: &Fixture, folder: &Path, precision: Precision) -> Result<Encoder, EncoderError> {
    write_folder(&fixture.config, &fixture.tensors, folder);
    std::fs::write(folder.join("tokenizer.json"), tokenizer().to_string()).expect("a write");
    let scheduler = Arc::new(Scheduler::start(SchedulerConfig::default()).expect("threads"));
    Encoder::load("model", folder, EncoderConfig { precision, ..EncoderConfig::default() }, &scheduler)
}

fn scores(encoder: &Encoder, pairs: Vec<TokenPair>) -> Vec<f32> {
    let (wanted, max_tokens) = (Wanted::vectors(false), encoder.max_tokens());
    let request = Request { inputs: Inputs::Pairs(pairs), max_tokens, wanted, lane: Lane::Bulk };
    encoder.encode(request).expect("numbers").vectors
}

#[test]
fn pairs_get_the_numbers_that_transformers_gives_them() {
    for name in ["bert", "roberta", "xlm-roberta", "distilbert"] {
        let fixture = fixture(name);
        for (precision, most) in MOST_APART {
            let folder = tempfile::tempdir().expect("a folder");
            let encoder = load(&fixture, folder.path(), precision).expect("a cross-encoder");
            assert_eq!(encoder.kind(), ModelKind::CrossEncoder);
            let pair = |one: &Expected| TokenPair { ids: one.ids.clone(), second: one.second };
            let found = scores(&encoder, fixture.expected.iter().map(pair).collect());
            for (found, expected) in found.iter().zip(&fixture.expected) {
                let apart = (found - expected.logit).abs();
                assert!(apart < most, "{name} {precision}: {found}, not {}", expected.logit);
            }
        }
    }
}

#[test]
fn texts_are_compared_as_pairs_and_the_longer_one_is_cut_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let encoder = load(&fixture("bert"), folder.path(), Precision::F32).expect("a cross-encoder");
    let pair = |ids: &[u32], second| TokenPair { ids: ids.to_vec(), second };
    // [CLS] one two [SEP] three [SEP], and a text of which three tokens are left.
    let expected = scores(&encoder, vec![pair(&[1, 3, 4, 2, 5, 2], 4), pair(&[1, 3, 4, 2, 5, 5, 5, 2], 4)]);
    let texts = ["three".to_owned(), "three ".repeat(40)];
    let found = encoder.score_pairs("one two", &texts, Some(8), Lane::Interactive).expect("numbers");
    assert_eq!(found, expected);
    let other = encoder.score_pairs("three", &["one two".into()], None, Lane::Interactive).expect("numbers");
    assert_ne!(other[0], found[0], "it matters which is which");
}

#[test]
fn what_is_no_cross_encoder_says_so() {
    let mut several = fixture("bert");
    several.tensors.insert("classifier.weight".into(), vec![3, 64]);
    several.tensors.insert("classifier.bias".into(), vec![3]);
    let mut modern = fixture("bert");
    modern.config = serde_json::from_slice::<Value>(include_bytes!("../fixtures/architectures/modernbert.json"))
        .expect("JSON")["config"]
        .clone();
    modern.config["architectures"] = json!(["ModernBertForSequenceClassification"]);
    for (fixture, said) in [(several, "3 labels"), (modern, "the head of ModernBertForSequenceClassification")] {
        let folder = tempfile::tempdir().expect("a folder");
        let error = load(&fixture, folder.path(), Precision::F32).err().expect("an error").to_string();
        assert!(error.contains(said), "{error}");
    }
    let mut plain = fixture("bert");
    plain.config["architectures"] = json!(["BertModel"]);
    let folder = tempfile::tempdir().expect("a folder");
    let encoder = load(&plain, folder.path(), Precision::F32).expect("an encoder");
    let refused = encoder.score_pairs("one", &["two".into()], None, Lane::Interactive);
    assert!(matches!(refused, Err(EncoderError::NoCrossEncoder)), "{refused:?}");
}
