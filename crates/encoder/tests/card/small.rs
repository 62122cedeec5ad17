//! A small BERT, and encoders of it on the CPU and on cards.

use crate::common::{Shape, VOCABULARY, numbers, write_model};
use membox_encoder::{
    Device, Embeddings, Encoder, EncoderConfig, EncoderError, Inputs, Lane, Precision, Request, Scheduler,
    SchedulerConfig, Wanted,
};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// Of which the PTX is kept.
pub const SHAPE: Shape = Shape { hidden: 64, heads: 2, layers: 2, intermediate: 128, positions: 512 };

/// A model folder with a tokenizer of two words and a keep head.
pub fn model() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    write_model(folder.path(), SHAPE);
    let words = r#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"unknown": 0, "one": 1, "two": 2}, "unk_token": "unknown"}}"#;
    std::fs::write(folder.path().join("tokenizer.json"), words).expect("a file");
    folder
}

/// A keep head over it.
pub fn head() -> membox_encoder::KeepHead {
    let tensor = |seed, shape: &[usize]| {
        let values = numbers(seed, shape.iter().product());
        candle_core::Tensor::from_vec(values, shape, &candle_core::Device::Cpu).expect("a tensor")
    };
    let tensors = [
        ("inner.weight", tensor(1, &[32, SHAPE.hidden])),
        ("inner.bias", tensor(2, &[32])),
        ("output.weight", tensor(3, &[1, 32])),
        ("output.bias", tensor(4, &[1])),
    ];
    membox_encoder::KeepHead::from_tensors(&tensors.map(|(name, tensor)| (name.to_owned(), tensor)).into())
        .expect("a head")
}

/// Makes a model one of XLM-RoBERTa's family, with LLMLingua-2's classifier.
pub fn as_xlm_roberta(folder: &Path) {
    let path = folder.join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("JSON");
    (config["model_type"], config["pad_token_id"]) = ("xlm-roberta".into(), 1.into());
    config["layer_norm_eps"] = 1e-5.into();
    std::fs::write(&path, config.to_string()).expect("a file");
    let path = folder.join("model.safetensors");
    let cpu = candle_core::Device::Cpu;
    let tensors = candle_core::safetensors::load(&path, &cpu).expect("a model");
    let mut tensors: std::collections::HashMap<String, candle_core::Tensor> =
        tensors.into_iter().map(|(name, tensor)| (format!("roberta.{name}"), tensor)).collect();
    for (name, shape) in [("classifier.weight", &[2, SHAPE.hidden][..]), ("classifier.bias", &[2][..])] {
        let values = numbers(9, shape.iter().product());
        tensors.insert(name.to_owned(), candle_core::Tensor::from_vec(values, shape, &cpu).expect("a tensor"));
    }
    candle_core::safetensors::save(&tensors, &path).expect("a write");
}

/// Makes a model one that compares pairs.
pub fn as_cross_encoder(folder: &Path) {
    let path = folder.join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("JSON");
    config["architectures"] = serde_json::json!(["BertForSequenceClassification"]);
    std::fs::write(&path, config.to_string()).expect("a file");
    let path = folder.join("model.safetensors");
    let cpu = candle_core::Device::Cpu;
    let mut tensors = candle_core::safetensors::load(&path, &cpu).expect("a model");
    let shapes = [
        ("bert.pooler.dense.weight", &[SHAPE.hidden, SHAPE.hidden][..]),
        ("bert.pooler.dense.bias", &[SHAPE.hidden]),
        ("classifier.weight", &[1, SHAPE.hidden]),
        ("classifier.bias", &[1]),
    ];
    for (seed, (name, shape)) in (20..).zip(shapes) {
        let values: Vec<f32> = numbers(seed, shape.iter().product()).iter().map(|x| x / 4.0).collect();
        tensors.insert(name.to_owned(), candle_core::Tensor::from_vec(values, shape, &cpu).expect("a tensor"));
    }
    candle_core::safetensors::save(&tensors, &path).expect("a write");
}

/// A model with a keep head over it.
pub fn load(folder: &Path, device: Device, precision: Precision, workers: usize) -> Result<Encoder, EncoderError> {
    load_with(folder, device, precision, workers, Some(head()))
}

pub fn load_with(
    folder: &Path,
    device: Device,
    precision: Precision,
    workers: usize,
    keep_head: Option<membox_encoder::KeepHead>,
) -> Result<Encoder, EncoderError> {
    let config = SchedulerConfig { workers, tokenizers: 1, ..SchedulerConfig::default() };
    let scheduler = Arc::new(Scheduler::start(config).expect("threads"));
    let kernels = Some(folder.join("kernels"));
    let config = EncoderConfig { device, precision, kernels, keep_head, ..EncoderConfig::default() };
    Encoder::load("small", folder, config, &scheduler)
}

/// Sequences of such lengths.
pub fn sequences(lengths: &[usize]) -> Vec<Vec<u32>> {
    let id = |x: f32| ((x + 1.0) * 0.499 * VOCABULARY as f32) as u32;
    lengths.iter().enumerate().map(|(i, n)| numbers(i as u64 + 7, *n).into_iter().map(id).collect()).collect()
}

/// All that a pass gives, but for attention.
pub fn everything() -> Wanted {
    Wanted { vectors: true, normalize: true, keep: true, states: true, ..Wanted::default() }
}

pub fn encode(encoder: &Encoder, inputs: Vec<Vec<u32>>, wanted: Wanted) -> Result<Embeddings, EncoderError> {
    encoder.encode(Request { inputs: Inputs::Tokens(inputs), max_tokens: 512, wanted, lane: Lane::Interactive })
}

/// The largest difference of all that two passes gave.
pub fn apart(a: &Embeddings, b: &Embeddings) -> f32 {
    let flat = |e: &Embeddings| -> Vec<f32> {
        e.vectors.iter().chain(e.keep.iter().flatten()).chain(e.states.iter().flatten()).copied().collect()
    };
    let (a, b) = (flat(a), flat(b));
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(&b)
        .map(|(a, b)| if a.is_nan() || b.is_nan() { f32::INFINITY } else { (a - b).abs() })
        .fold(0.0, f32::max)
}

/// f16 has 11 bits; states are of size 3 or so.
pub const F16_ERROR: f32 = 0.03;

/// Products that a card was asked for, and recordings that it played back.
pub fn computed() -> u64 {
    let [_, products, graphs, ..] = membox_software_card::faults::counts();
    products + graphs
}

/// The same model on the CPU in f32 and on a card.
pub struct VectorsOfBoth {
    pub cpu: Encoder,
    pub card: Encoder,
    _folder: TempDir,
}

impl VectorsOfBoth {
    pub fn new() -> Self {
        let folder = model();
        let cpu = load(folder.path(), Device::Cpu, Precision::F32, 1).expect("the CPU");
        // The CPU behind the card computes in f32 too, so that answers are the same wherever they come from.
        let card = load(folder.path(), Device::Auto, Precision::F32, 1).expect("an encoder");
        assert_eq!(card.why_not_cuda(), None);
        Self { cpu, card, _folder: folder }
    }

    /// Both give the same of sequences of such lengths, and the card's encoder answers.
    pub fn agree(&self, lengths: &[usize]) {
        let inputs = sequences(lengths);
        let wanted = encode(&self.cpu, inputs.clone(), everything()).expect("the CPU's");
        let got = encode(&self.card, inputs, everything()).expect("the card's");
        let far = apart(&wanted, &got);
        assert!(far < F16_ERROR, "{lengths:?}: {far}");
    }

    /// Whether the card computes such a batch, and not the CPU for it.
    pub fn is_on_card(&self, lengths: &[usize]) -> bool {
        let before = computed();
        self.agree(lengths);
        computed() > before
    }
}
