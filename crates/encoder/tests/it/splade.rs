//! SPLADE: sparse vectors are those of transformers' logits, which are in `fixtures/splade`, made by
//! `architectures/make_splade.py`.

use crate::common::{cosine, real_model, write_folder};
use crate::folders::tokenizer;
use membox_encoder::{
    Encoder, EncoderConfig, EncoderError, Inputs, Lane, ModelDescription, ModelKind, Precision, Request, Scheduler,
    SchedulerConfig, TokenWeight, Wanted,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The largest difference of a number in f32, and in int8 of random weights, whose products cancel out as those of
/// trained ones do not.
const MOST_APART: [(Precision, f32); 2] = [(Precision::F32, 1e-4), (Precision::Int8, 0.25)];

#[derive(Deserialize)]
struct Fixture {
    config: Value,
    tensors: BTreeMap<String, Vec<usize>>,
    expected: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    ids: Vec<u32>,
    values: Vec<f32>,
}

fn fixture(name: &str) -> Fixture {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/splade");
    let bytes = std::fs::read(folder.join(name).with_extension("json")).expect("a fixture");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// Writes a folder as sentence-transformers' SparseEncoder saves it.
fn write(fixture: &Fixture, pooling: &Value, folder: &Path) {
    write_folder(&fixture.config, &fixture.tensors, folder);
    let module = |path: &str, kind: &str| json!({"path": path, "type": format!("sentence_transformers.{kind}")});
    let modules = json!([
        module("", "sparse_encoder.models.MLMTransformer"),
        module("1_SpladePooling", "sparse_encoder.models.SpladePooling"),
    ]);
    let files =
        [("modules.json", &modules), ("tokenizer.json", &tokenizer()), ("1_SpladePooling/config.json", pooling)];
    std::fs::create_dir_all(folder.join("1_SpladePooling")).expect("a folder");
    for (name, value) in files {
        std::fs::write(folder.join(name), value.to_string()).expect("a write");
    }
}

fn load(folder: &Path, precision: Precision) -> Result<Encoder, EncoderError> {
    let scheduler = Arc::new(Scheduler::start(SchedulerConfig::default()).expect("threads"));
    Encoder::load("model", folder, EncoderConfig { precision, ..EncoderConfig::default() }, &scheduler)
}

fn sparse(encoder: &Encoder, inputs: Inputs) -> Result<Vec<Vec<TokenWeight>>, EncoderError> {
    let max_tokens = encoder.max_tokens();
    Ok(encoder.encode(Request { inputs, max_tokens, wanted: Wanted::sparse(), lane: Lane::Bulk })?.sparse)
}

fn whole(vector: &[TokenWeight], vocabulary: usize) -> Vec<f32> {
    assert!(vector.is_sorted_by(|a, b| a.id < b.id) && vector.iter().all(|one| one.weight > 0.0));
    let mut all = vec![0.0; vocabulary];
    vector.iter().for_each(|one| all[one.id as usize] = one.weight);
    all
}

fn plain() -> Value {
    json!({"pooling_strategy": "max", "activation_function": "relu", "word_embedding_dimension": null})
}

#[test]
fn texts_get_the_numbers_that_transformers_gives_them() {
    for name in ["bert", "bert-relu", "distilbert", "roberta", "xlm-roberta"] {
        let fixture = fixture(name);
        let folder = tempfile::tempdir().expect("a folder");
        write(&fixture, &plain(), folder.path());
        for (precision, most) in MOST_APART {
            let encoder = load(folder.path(), precision).expect("an encoder");
            assert_eq!(encoder.kind(), ModelKind::Sparse);
            let inputs = Inputs::Tokens(fixture.expected.iter().map(|one| one.ids.clone()).collect());
            let found = sparse(&encoder, inputs).expect("vectors");
            assert_eq!(found.len(), fixture.expected.len());
            for (found, Expected { ids, values }) in found.iter().zip(&fixture.expected) {
                let found = whole(found, values.len());
                let apart = found.iter().zip(values).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
                assert!(apart < most, "{name} {precision}, {} tokens: {apart} off", ids.len());
            }
        }
    }
}

#[test]
fn the_logarithm_is_taken_as_often_as_the_folder_says() {
    let fixture = fixture("bert");
    let folder = tempfile::tempdir().expect("a folder");
    let of = |pooling: &Value| {
        write(&fixture, pooling, folder.path());
        let encoder = load(folder.path(), Precision::F32).expect("an encoder");
        let found = sparse(&encoder, Inputs::Texts(vec!["one two".into()])).expect("vectors");
        whole(&found[0], 120)
    };
    let (once, twice) = (of(&plain()), of(&json!({"activation_function": "log1p_relu"})));
    assert!(once.iter().any(|x| *x > 0.5));
    assert!(once.iter().zip(twice).all(|(once, twice)| (once.ln_1p() - twice).abs() < 1e-6));
}

#[test]
fn a_folder_of_a_newer_version_says_by_its_task_that_it_has_a_vocabulary() {
    let fixture = fixture("bert");
    let folder = tempfile::tempdir().expect("a folder");
    write(&fixture, &plain(), folder.path());
    let module = |path: &str, kind: &str| json!({"path": path, "type": format!("sentence_transformers.{kind}")});
    let modules = json!([
        module("", "base.modules.transformer.Transformer"),
        module("1_SpladePooling", "sparse_encoder.modules.splade_pooling.SpladePooling"),
    ]);
    let transformer = json!({
        "transformer_task": "fill-mask", "module_output_name": "token_embeddings",
        "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
    });
    for (name, value) in [("modules.json", modules), ("sentence_bert_config.json", transformer)] {
        std::fs::write(folder.path().join(name), value.to_string()).expect("a write");
    }
    assert_eq!(load(folder.path(), Precision::F32).expect("an encoder").kind(), ModelKind::Sparse);
}

#[test]
fn a_decoder_of_its_own_and_norms_of_the_first_berts_are_read() {
    let mut fixture = fixture("bert");
    let folder = tempfile::tempdir().expect("a folder");
    let of = |fixture: &Fixture| {
        write(fixture, &plain(), folder.path());
        let encoder = load(folder.path(), Precision::F32).expect("an encoder");
        sparse(&encoder, Inputs::Texts(vec!["one two".into()])).expect("vectors")
    };
    let tied = of(&fixture);
    // The new name has the place of the old one in the order that the weights are made by.
    let old: Vec<String> = fixture.tensors.keys().filter(|name| name.contains("LayerNorm")).cloned().collect();
    for name in old.into_iter().filter(|name| name.ends_with("weight")) {
        let path = name.trim_end_matches("weight").to_owned();
        for (now, then) in [("weight", "gamma"), ("bias", "beta")] {
            let shape = fixture.tensors.remove(&format!("{path}{now}")).expect("a tensor");
            fixture.tensors.insert(format!("{path}{then}"), shape);
        }
    }
    fixture.tensors.insert("cls.predictions.decoder.weight".into(), vec![120, 64]);
    assert_ne!(of(&fixture), tied, "its own numbers count");
}

#[test]
fn what_is_not_computed_is_refused_by_its_name() {
    let cases = [
        ("bert", json!({"pooling_strategy": "sum"}), "pooling_strategy \"sum\""),
        ("bert", json!({"activation_function": "tanh"}), "activation_function \"tanh\""),
        ("mpnet", plain(), "the masked-LM head of MPNet"),
    ];
    for (family, pooling, said) in cases {
        let mut fixture = fixture("bert");
        if family == "mpnet" {
            let config = include_bytes!("../fixtures/architectures/mpnet.json");
            fixture.config = serde_json::from_slice::<Value>(config).expect("JSON")["config"].clone();
        }
        let folder = tempfile::tempdir().expect("a folder");
        write(&fixture, &pooling, folder.path());
        let refused = ModelDescription::read(folder.path()).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(refused.contains(said), "{refused}");
    }
    // What embeds has no such vectors.
    let folder = tempfile::tempdir().expect("a folder");
    write(&fixture("bert"), &plain(), folder.path());
    std::fs::remove_file(folder.path().join("modules.json")).expect("a file");
    let encoder = load(folder.path(), Precision::F32).expect("an encoder");
    assert_eq!(encoder.kind(), ModelKind::Embedding);
    let refused = sparse(&encoder, Inputs::Texts(vec!["one".into()]));
    assert!(matches!(refused, Err(EncoderError::NoSparseVectors)), "{refused:?}");
}

/// What transformers makes of a text by the real splade-tiny: the numbers that are not 0.
#[derive(Deserialize)]
struct OfText {
    text: String,
    values: Vec<(u32, f32)>,
}

/// Runs where `membox models pull splade-tiny` was: it is no part of what the tests need.
#[test]
fn the_real_splade_tiny_gives_what_transformers_gives() {
    let folder = real_model().with_file_name("splade-tiny");
    if !folder.join("model.safetensors").exists() {
        println!("{} has no model: `membox models pull splade-tiny` installs it", folder.display());
        return;
    }
    let expected: Vec<OfText> =
        serde_json::from_slice(include_bytes!("../fixtures/splade/splade-tiny.json")).expect("a fixture");
    for (precision, least) in [(Precision::F32, 0.999_999), (Precision::Int8, 0.998)] {
        let encoder = load(&folder, precision).expect("the model");
        let texts = expected.iter().map(|one| one.text.clone()).collect();
        let found = sparse(&encoder, Inputs::Texts(texts)).expect("vectors");
        for (found, OfText { text, values }) in found.iter().zip(&expected) {
            let found = whole(found, 30_522);
            let mut wanted = vec![0.0; 30_522];
            values.iter().for_each(|(id, value)| wanted[*id as usize] = *value);
            let cosine = cosine(&found, &wanted);
            assert!(cosine >= least, "{precision}: cosine {cosine} of {text}");
            let apart = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
            assert!(precision == Precision::Int8 || apart < 1e-3, "{apart} off, of {text}");
        }
    }
}
