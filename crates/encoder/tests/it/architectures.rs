//! Small models of every family: the engine computes what transformers computes, whose outputs are in
//! `fixtures/architectures`, made by `make.py` there.

use crate::common::{cosine, write_folder};
use membox_encoder::cpu::{CpuEngine, isa::Isa};
use membox_encoder::{Architecture, EncoderWeights, Engine, Outputs, PackedBatch, Precision};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Least cosine to transformers' vector. In int8, of random weights, whose products cancel out as those of trained ones
/// do not.
const LEAST: [(Precision, f32); 2] = [(Precision::F32, 0.999_99), (Precision::Int8, 0.98)];
/// The largest difference of a number of a token's state in f32; those numbers are about 1, and the fixtures round
/// them.
const MOST_APART: f32 = 2e-4;

#[derive(Deserialize)]
struct Fixture {
    config: Value,
    tensors: BTreeMap<String, Vec<usize>>,
    expected: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    ids: Vec<u32>,
    mean: Vec<f32>,
    /// Of every token, or of the first and the last of a long sequence.
    states: Vec<Vec<f32>>,
}

fn fixtures() -> Vec<(String, Fixture)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/architectures");
    let files = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
    files.sort();
    let read = |path: &PathBuf| {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        (name, serde_json::from_slice(&std::fs::read(path).expect("a fixture")).expect("JSON"))
    };
    files.iter().map(read).collect()
}

fn write(fixture: &Fixture, folder: &Path) {
    write_folder(&fixture.config, &fixture.tensors, folder);
}

/// The fixtures' sequences in one batch: vectors and states.
fn run(folder: &Path, precision: Precision, isa: Isa, expected: &[Expected]) -> (Vec<f32>, Vec<f32>, usize) {
    let weights = EncoderWeights::load(folder).expect("weights");
    let engine = Arc::new(CpuEngine::with_isa(weights, precision, isa));
    let mut batch = PackedBatch::new();
    expected.iter().for_each(|one| batch.push(&one.ids));
    let width = engine.dimension();
    let mut vectors = vec![0.0; batch.sequences() * width];
    let mut states = vec![0.0; batch.tokens() * width];
    let outputs =
        Outputs { vectors: Some(&mut vectors), normalize: true, states: Some(&mut states), ..Outputs::default() };
    engine.session().run(&batch, outputs, 1, &mut || ());
    (vectors, states, width)
}

#[test]
fn every_family_is_computed_as_transformers_computes_it() {
    let fixtures = fixtures();
    assert_eq!(fixtures.len(), 13);
    for (name, fixture) in fixtures {
        let folder = tempfile::tempdir().expect("a folder");
        write(&fixture, folder.path());
        for (isa, (precision, least)) in Isa::available().into_iter().flat_map(|isa| LEAST.map(|each| (isa, each))) {
            let (vectors, states, width) = run(folder.path(), precision, isa, &fixture.expected);
            let mut first = 0;
            for (vector, expected) in vectors.chunks_exact(width).zip(&fixture.expected) {
                let length = expected.ids.len();
                let at = format!("{name}, {} {precision}, {length} tokens", isa.name());
                let cosine = cosine(vector, &expected.mean);
                assert!(cosine >= least, "{at}: cosine {cosine}");
                let own: Vec<&[f32]> = states[first * width..(first + length) * width].chunks_exact(width).collect();
                first += length;
                let kept = if expected.states.len() == length { own } else { vec![own[0], own[length - 1]] };
                let apart = kept.iter().zip(&expected.states).flat_map(|(got, want)| got.iter().zip(want));
                let apart = apart.map(|(got, want)| (got - want).abs()).fold(0f32, f32::max);
                assert!(precision == Precision::Int8 || apart < MOST_APART, "{at}: a state is {apart} off");
            }
        }
    }
}

#[test]
fn a_family_asks_for_the_tensors_that_its_files_have_and_no_others() {
    for (name, fixture) in fixtures() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.json");
        std::fs::write(&path, fixture.config.to_string()).expect("a write");
        let architecture = Architecture::read(&path).expect("an architecture");
        let ours: BTreeMap<String, Vec<usize>> = architecture.tensors().into_iter().collect();
        assert_eq!(ours, fixture.tensors, "{name}");
    }
}

#[test]
fn what_is_not_computed_is_refused_by_its_name() {
    let cases = [
        ("bert", "hidden_act", Value::from("quick_gelu"), "hidden_act \"quick_gelu\""),
        ("bert", "position_embedding_type", "relative_key".into(), "position_embedding_type \"relative_key\""),
        ("bert", "position_embedding_type", "alibi".into(), "feed_forward_type \"original\" beside \"alibi\""),
        ("jina-bert", "feed_forward_type", "swiglu".into(), "feed_forward_type \"swiglu\""),
        ("bert", "num_attention_heads", 1.into(), ""),
        ("bert", "hidden_size", 65.into(), "2 heads over a hidden size of 65"),
        ("bert", "model_type", "qwen3".into(), "model_type \"qwen3\""),
        ("bert", "auto_map", json!({"AutoModel": "own--modeling.Own"}), "auto_map.AutoModel \"own--modeling.Own\""),
        ("xlm-roberta", "lora_adaptations", json!(["retrieval.query"]), "lora_adaptations"),
        (
            "jina-bert",
            "auto_map",
            json!({"AutoModel": "jinaai/jina-bert-implementation--modeling_bert.JinaBertModel"}),
            "",
        ),
        ("jina-bert", "_name_or_path", "jinaai/jina-bert-v2-qk-post-norm".into(), "norms of queries and keys"),
        ("nomic-bert", "rotary_emb_fraction", Value::Null, "rotary_emb_fraction 0"),
        ("nomic-bert", "rotary_emb_base", Value::Null, "missing field `rotary_emb_base`"),
        ("nomic-bert", "rope_parameters", json!({"rope_type": "yarn"}), "rope_parameters.rope_type \"yarn\""),
        ("nomic-bert", "num_experts", 8.into(), "num_experts 8"),
        ("nomic-bert", "rotary_emb_interleaved", true.into(), "rotary_emb_interleaved true"),
        ("gte", "layer_norm_type", "rms_norm".into(), "layer_norm_type \"rms_norm\""),
        ("gte", "rope_scaling", json!({"type": "yarn", "factor": 2.0}), "rope_scaling"),
        ("modernbert", "layer_types", json!(["full_attention", "linear", 1, 2]), "layer_types \"linear\""),
        ("modernbert", "hidden_size", Value::Null, "missing field `hidden_size`"),
    ];
    let fixtures: BTreeMap<String, Fixture> = fixtures().into_iter().collect();
    for (name, field, value, said) in cases {
        let mut config = fixtures[name].config.clone();
        config[field] = value;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.json");
        std::fs::write(&path, config.to_string()).expect("a write");
        let refused = Architecture::read(&path).err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(refused.is_empty(), said.is_empty(), "{field}: {refused}");
        assert!(refused.contains(said), "{field}: {refused}");
    }
}
