//! Embedding models that are used most, by what is published of them (`fixtures/embedding_models.json`): the loader
//! takes them, or refuses them by the part that is not computed, and `docs/models.md` says so.
//!
//! `evidence` says what of a model could be had:
//!
//! | evidence | confirmed |
//! |---|---|
//! | `configuration` | the fields, read from a copy of its `config.json` |
//! | `tensors` | shapes of its tensors |
//! | `parameters` | what their number tells: layers, widths, the vocabulary. Other fields are those of the family |
//! | `rounded parameters` | the same, by a number of three digits |
//!
//! Pooling is confirmed where `pooling_source` says by whom.

use crate::common::{cosine, numbers, write_folder};
use crate::folders::tokenizer;
use candle_core::{Device, Tensor};
use membox_encoder::{
    Architecture, Encoder, EncoderConfig, Lane, ModelDescription, Pooling, Precision, Scheduler, SchedulerConfig,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// Layers and word pieces of the models that are computed here: their layers are alike, but for ModernBERT's, of which
/// the second is a local one.
const LAYERS: usize = 2;
const WORDS: usize = 64;
/// Least cosine of int8 to f32, of random weights.
const LEAST: f32 = 0.98;

#[derive(Deserialize)]
struct Published {
    name: String,
    evidence: String,
    /// Where it was read.
    source: String,
    config: Value,
    pooling: String,
    pooling_source: Option<String>,
    /// Whether questions want a prompt.
    #[serde(default)]
    instructions: bool,
    max_tokens: Option<usize>,
    /// Of all tensors.
    parameters: Option<usize>,
    /// The same, rounded.
    about: Option<usize>,
    /// Of the table of word pieces.
    word_parameters: Option<usize>,
    /// What of `parameters` the engine does not use.
    #[serde(default)]
    beside: Vec<String>,
    /// Inputs and outputs of a module Dense.
    dense: Option<[usize; 2]>,
    /// What the refusal says.
    refused: Option<String>,
}

impl Published {
    fn write(&self, config: &Value, folder: &Path) {
        let mut modules = vec![module("", "Transformer"), module("1_Pooling", "Pooling")];
        let mut files = vec![
            ("config.json", config.clone()),
            ("tokenizer.json", tokenizer()),
            ("1_Pooling/config.json", json!({"pooling_mode": self.pooling})),
            ("sentence_bert_config.json", json!({"max_seq_length": self.max_tokens})),
        ];
        if let Some([inputs, outputs]) = self.dense {
            modules.push(module("2_Dense", "Dense"));
            let config = json!({
                "in_features": inputs, "out_features": outputs, "bias": true,
                "activation_function": "torch.nn.modules.activation.Tanh",
            });
            files.push(("2_Dense/config.json", config));
        }
        files.push(("modules.json", modules.into()));
        for (name, value) in files {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, value.to_string()).expect("a write");
        }
    }

    fn describe(&self) -> Result<ModelDescription, String> {
        let folder = tempfile::tempdir().expect("a folder");
        self.write(&self.config, folder.path());
        ModelDescription::read(folder.path()).map_err(|error| error.to_string())
    }

    /// Parameters that the engine has no use for.
    fn beside(&self, architecture: &Architecture) -> usize {
        let hidden = architecture.hidden_size;
        let of_part = |part: &String| match part.as_str() {
            "pooler" => hidden * hidden + hidden,
            "position_ids" => self.config["max_position_embeddings"].as_u64().expect("rows") as usize,
            other => panic!("{other}"),
        };
        self.beside.iter().map(of_part).sum()
    }

    /// As `docs/models.md` has it.
    fn row(&self) -> String {
        let pooling = |name: &str| if self.pooling_source.is_some() { name.to_owned() } else { format!("({name})") };
        let prompt = if self.instructions { "yes" } else { "–" };
        let (family, numbers, loads) = match self.describe() {
            Ok(found) => {
                (found.architecture.model_type.name().to_owned(), found.dimension.to_string(), "yes".to_owned())
            }
            Err(_) => ("–".to_owned(), "–".to_owned(), format!("no: {}", self.refused.as_deref().unwrap_or_default())),
        };
        let (name, evidence) = (self.name.trim_start_matches("sentence-transformers/"), &self.evidence);
        format!("| {name} | {family} | {numbers} | {} | {prompt} | {loads} | {evidence} |", pooling(&self.pooling))
    }
}

fn module(path: &str, kind: &str) -> Value {
    json!({"path": path, "type": format!("sentence_transformers.models.{kind}")})
}

fn published() -> Vec<Published> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/embedding_models.json");
    serde_json::from_slice(&std::fs::read(path).expect("a fixture")).expect("JSON")
}

fn size(shape: &[usize]) -> usize {
    shape.iter().product()
}

#[test]
fn published_models_are_taken_or_refused_by_the_part() {
    for model in published() {
        match (model.describe(), &model.refused) {
            (Err(said), Some(refused)) => assert!(said.contains(refused), "{}: {said}", model.name),
            (found, None) => {
                let found = found.unwrap_or_else(|error| panic!("{}: {error}", model.name));
                let pooling = match model.pooling.as_str() {
                    "cls" => Pooling::Cls,
                    _ => Pooling::Mean,
                };
                assert_eq!(found.pooling, pooling, "{}", model.name);
                // Some say 514 for a table of 514 rows, of which two are for no position.
                let wanted = model.max_tokens.unwrap_or_default();
                assert!(found.max_tokens + 2 >= wanted, "{} reads {} of {wanted}", model.name, found.max_tokens);
            }
            (Ok(_), Some(refused)) => panic!("{} is taken in spite of {refused}", model.name),
        }
    }
}

#[test]
fn the_tensors_of_published_models_have_as_many_numbers_as_is_published() {
    for model in published().into_iter().filter(|model| model.refused.is_none()) {
        let architecture = model.describe().expect("a description").architecture;
        let tensors = architecture.tensors();
        let count = tensors.iter().map(|(_, shape)| size(shape)).sum::<usize>() + model.beside(&architecture);
        if let Some(wanted) = model.parameters {
            assert_eq!(count, wanted, "{}", model.name);
        }
        if let Some(about) = model.about {
            assert!(count.abs_diff(about) * 100 <= about * 2, "{}: {count}, and not about {about}", model.name);
        }
        if let Some(words) = model.word_parameters {
            assert_eq!(architecture.vocab_size * architecture.hidden_size, words, "{}", model.name);
        }
        let is_counted = model.parameters.is_some() || model.about.is_some() || model.evidence == "configuration";
        assert!(is_counted && !model.source.is_empty(), "{}", model.name);
    }
}

/// The model's configuration with fewer layers and word pieces.
fn cut(config: &Value) -> Value {
    let mut config = config.clone();
    for (field, most) in
        [("num_hidden_layers", LAYERS), ("n_layer", LAYERS), ("n_layers", LAYERS), ("vocab_size", WORDS)]
    {
        if config.get(field).is_some() {
            config[field] = most.into();
        }
    }
    config
}

#[test]
fn models_of_the_published_widths_are_computed() {
    let scheduler = Arc::new(Scheduler::start(SchedulerConfig::default()).expect("threads"));
    let mut seen = HashSet::new();
    for model in published().into_iter().filter(|model| model.refused.is_none()) {
        let config = cut(&model.config);
        if !seen.insert((config.to_string(), model.pooling.clone(), model.dense)) {
            continue;
        }
        let folder = tempfile::tempdir().expect("a folder");
        model.write(&config, folder.path());
        let architecture = Architecture::read(&folder.path().join("config.json")).expect("an architecture");
        let shapes: BTreeMap<String, Vec<usize>> = architecture.tensors().into_iter().collect();
        write_folder(&config, &shapes, folder.path());
        if let Some([inputs, outputs]) = model.dense {
            let weight = numbers(1, inputs * outputs);
            let tensors = HashMap::from([
                ("linear.weight", Tensor::from_vec(weight, &[outputs, inputs], &Device::Cpu).expect("a tensor")),
                ("linear.bias", Tensor::zeros(&[outputs], candle_core::DType::F32, &Device::Cpu).expect("a tensor")),
            ]);
            candle_core::safetensors::save(&tensors, folder.path().join("2_Dense/model.safetensors")).expect("a write");
        }
        let vector = |precision| -> Vec<f32> {
            let config = EncoderConfig { precision, ..EncoderConfig::default() };
            let encoder = Encoder::load("model", folder.path(), config, &scheduler)
                .unwrap_or_else(|error| panic!("{}: {error}", model.name));
            let found = encoder.embed(vec!["one two three".into()], Lane::Bulk).expect("a vector");
            found.rows().next().expect("a row").to_vec()
        };
        let (whole, int8) = (vector(Precision::F32), vector(Precision::Int8));
        let dimension = model.dense.map_or(architecture.hidden_size, |[_, outputs]| outputs);
        assert_eq!(whole.len(), dimension, "{}", model.name);
        let length: f32 = whole.iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-4, "{}: {length}", model.name);
        let cosine = cosine(&whole, &int8);
        assert!(cosine > LEAST, "{}: int8 is at cosine {cosine}", model.name);
    }
    assert!(seen.len() > 20, "{}", seen.len());
}

#[test]
fn the_documentation_says_of_each_what_the_loader_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/models.md");
    let text = std::fs::read_to_string(path).expect("docs/models.md");
    let rows: HashSet<&str> = text.lines().collect();
    let missing: Vec<String> =
        published().iter().map(Published::row).filter(|row| !rows.contains(row.as_str())).collect();
    assert!(missing.is_empty(), "docs/models.md lacks\n{}", missing.join("\n"));
}
