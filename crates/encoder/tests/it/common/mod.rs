//! Small models that the tests make, and the real one.

use candle_core::{Device, Tensor};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

pub const VOCABULARY: usize = 200;

#[derive(Clone, Copy)]
pub struct Shape {
    pub hidden: usize,
    pub heads: usize,
    pub layers: usize,
    pub intermediate: usize,
    pub positions: usize,
}

/// Where `make model` installs the real MiniLM. It is part of the tests: without it they fail.
pub fn real_model() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/models/all-MiniLM-L6-v2");
    let folder = std::env::var_os("MEMBOX_TEST_MODEL").map_or(default, PathBuf::from);
    assert!(folder.join("model.safetensors").exists(), "{} has no model: run `make model` first", folder.display());
    folder
}

pub use membox_cuda::reference::uniform as numbers;

/// Writes config.json and model.safetensors of any family, with the random weights of the fixtures: `weights` of
/// make.py.
pub fn write_folder(config: &Value, shapes: &BTreeMap<String, Vec<usize>>, folder: &Path) {
    std::fs::write(folder.join("config.json"), config.to_string()).expect("a write");
    let mut tensors = HashMap::new();
    for (seed, (name, shape)) in (1..).zip(shapes) {
        let is_table = name.contains("embeddings.") && shape.len() == 2 || name.contains("relative_attention_bias");
        let (centre, spread) = match shape.as_slice() {
            [_, _] if is_table => (0.0, 1.0),
            [_, inputs] => (0.0, 2.0 / (*inputs as f32).sqrt()),
            _ if name.ends_with("weight") => (1.0, 0.2),
            _ => (0.0, 0.1),
        };
        let values = numbers(seed, shape.iter().product()).iter().map(|x| centre + spread * x).collect();
        tensors.insert(name.clone(), Tensor::from_vec(values, shape.as_slice(), &Device::Cpu).expect("a tensor"));
    }
    candle_core::safetensors::save(&tensors, folder.join("model.safetensors")).expect("a write");
}

/// Writes config.json and model.safetensors of a BERT of this shape, with random weights.
pub fn write_model(folder: &Path, s: Shape) {
    let config = serde_json::json!({
        "hidden_size": s.hidden, "num_hidden_layers": s.layers, "num_attention_heads": s.heads,
        "intermediate_size": s.intermediate, "vocab_size": VOCABULARY, "max_position_embeddings": s.positions,
        "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
        "initializer_range": 0.02, "pad_token_id": 0, "model_type": "bert",
    });
    std::fs::write(folder.join("config.json"), config.to_string()).expect("a write");
    let mut tensors = HashMap::new();
    let mut put = |name: String, shape: &[usize], centre: f32, spread: f32| {
        let values = numbers(tensors.len() as u64 + 1, shape.iter().product());
        let values: Vec<f32> = values.iter().map(|x| centre + spread * x).collect();
        tensors.insert(name, Tensor::from_vec(values, shape, &Device::Cpu).expect("a tensor"));
    };
    for (table, rows) in [("word", VOCABULARY), ("position", s.positions), ("token_type", 2)] {
        put(format!("embeddings.{table}_embeddings.weight"), &[rows, s.hidden], 0.0, 1.0);
    }
    let mut norms = vec!["embeddings.LayerNorm".to_owned()];
    for layer in 0..s.layers {
        let at = format!("encoder.layer.{layer}");
        let linears = [
            ("attention.self.query", s.hidden, s.hidden),
            ("attention.self.key", s.hidden, s.hidden),
            ("attention.self.value", s.hidden, s.hidden),
            ("attention.output.dense", s.hidden, s.hidden),
            ("intermediate.dense", s.intermediate, s.hidden),
            ("output.dense", s.hidden, s.intermediate),
        ];
        for (name, outputs, inputs) in linears {
            put(format!("{at}.{name}.weight"), &[outputs, inputs], 0.0, 2.0 / (inputs as f32).sqrt());
            put(format!("{at}.{name}.bias"), &[outputs], 0.0, 0.1);
        }
        norms.push(format!("{at}.attention.output.LayerNorm"));
        norms.push(format!("{at}.output.LayerNorm"));
    }
    for norm in norms {
        put(format!("{norm}.weight"), &[s.hidden], 1.0, 0.2);
        put(format!("{norm}.bias"), &[s.hidden], 0.0, 0.1);
    }
    candle_core::safetensors::save(&tensors, folder.join("model.safetensors")).expect("a write");
}

pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
