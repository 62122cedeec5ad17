//! What the files of a sentence-transformers folder say beside its `config.json`: how token states become a vector, how
//! many tokens are read, and what comes before a text.
//!
//! | file | says |
//! |---|---|
//! | `modules.json` | the modules and their order: a transformer, pooling, dense layers, normalisation |
//! | `1_Pooling/config.json` | the pooling mode |
//! | `1_SpladePooling/config.json` | the same of sparse vectors |
//! | `2_Dense/config.json` | a linear layer over the vector |
//! | `sentence_bert_config.json` | `max_seq_length`, `do_lower_case`, `transformer_task` |
//! | `config_sentence_transformers.json` | `prompts`, `default_prompt_name`, `truncate_dim` |
//! | `membox.json` | layers that int8 spoils |
//!
//! A folder without `modules.json` is a plain transformer: the mean of its tokens. What is not computed is refused by
//! its name.

use crate::checksums::{Checksums, ModelFiles};
use crate::cross_encoder::ClassifierNames;
use crate::mixed_precision::{LayerPrecision, PRECISION_FILE};
use crate::pooling::Pooling;
use crate::prompts::Prompts;
use crate::splade::{MaskedLmNames, Splade, SpladePooling};
use crate::vector_head::{DenseActivation, DenseLayer};
use crate::{Architecture, EncoderError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Tokens kept of a text where neither the caller nor the model's folder says another number: those of
/// all-MiniLM-L6-v2.
pub const DEFAULT_MAX_TOKENS: usize = 256;

/// The modules of a folder.
pub const MODULES_FILE: &str = "modules.json";
/// Prompts of a model.
pub const PROMPTS_FILE: &str = "config_sentence_transformers.json";
/// Files of the transformer's module; older folders name them by their family.
const TRANSFORMER_FILES: [&str; 4] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_xlm-roberta_config.json",
];
/// What names of modules begin with; others are classes of a repository's own code.
const MODULE_PACKAGE: &str = "sentence_transformers.";
const CONFIG_FILE: &str = "config.json";
const TOKENIZER_FILE: &str = "tokenizer_config.json";

/// A model folder as its JSON files describe it; the weights are not read.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelDescription {
    /// The parts of the transformer.
    pub architecture: Architecture,
    /// How token states become a vector.
    pub pooling: Pooling,
    /// Whether the folder says that vectors have unit length. membox makes them so unless a caller asks otherwise.
    pub normalizes: bool,
    /// Linear layers over the vector.
    pub(crate) dense: Vec<DenseLayer>,
    /// Numbers kept of a vector.
    pub dimension: usize,
    /// Tokens kept of a text unless a caller says otherwise.
    pub max_tokens: usize,
    /// What comes before texts.
    pub prompts: Prompts,
    pub(crate) lower_case: bool,
    /// The head of a cross-encoder.
    pub(crate) classifier: Option<ClassifierNames>,
    /// How sparse vectors are made.
    pub(crate) splade: Option<Splade>,
    /// Which layers are not computed in int8.
    pub precision: LayerPrecision,
}

/// What a model gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelKind {
    /// A vector of a text.
    Embedding,
    /// A number of a pair of texts.
    CrossEncoder,
    /// A sparse vector of a text.
    Sparse,
}

impl ModelKind {
    /// As `GET /v1/models` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::CrossEncoder => "reranker",
            Self::Sparse => "sparse",
        }
    }
}

#[derive(Deserialize)]
struct Module {
    #[serde(default)]
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Default, Deserialize)]
struct TransformerModule {
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
    transformer_task: Option<String>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl TransformerModule {
    /// That of a folder, and the name of its file.
    fn read(files: &ModelFiles) -> Result<(Self, &'static str), EncoderError> {
        for name in TRANSFORMER_FILES {
            if let Some(found) = json(files, name)? {
                return Ok((found, name));
            }
        }
        Ok((Self::default(), TRANSFORMER_FILES[0]))
    }

    /// Whether it gives a number of each word piece, as sentence-transformers 5.4 and later say it.
    fn has_vocabulary(&self) -> bool {
        self.transformer_task.as_deref() == Some("fill-mask")
    }

    /// Refuses what newer versions say and the engine does not compute.
    fn check(&self) -> Result<(), String> {
        let task = self.transformer_task.as_deref().unwrap_or("feature-extraction");
        let states = match task {
            "feature-extraction" => "last_hidden_state",
            "fill-mask" => "logits",
            other => return Err(format!("transformer_task {other:?} is not computed")),
        };
        let is_unset = |value: &&Value| value.is_null() || value.as_object().is_some_and(Map::is_empty);
        let field = |name: &str| self.others.get(name).filter(|value| !is_unset(value));
        for name in ["query_length", "document_length", "query_expansion", "processing_kwargs"] {
            if let Some(value) = field(name) {
                return Err(format!("{name} {value} is not computed"));
            }
        }
        if let Some(value) = field("module_output_name").filter(|value| *value != "token_embeddings") {
            return Err(format!("module_output_name {value} is not computed"));
        }
        let text = field("modality_config").and_then(|all| all.get("text"));
        for (name, computed) in [("method", "forward"), ("method_output_name", states)] {
            if let Some(value) = text.and_then(|text| text.get(name)).filter(|value| *value != computed) {
                return Err(format!("modality_config.text.{name} {value} is not computed"));
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct DenseModule {
    in_features: usize,
    out_features: usize,
    #[serde(default = "yes")]
    bias: bool,
    #[serde(default)]
    activation_function: Option<String>,
    module_input_name: Option<String>,
    module_output_name: Option<String>,
    #[serde(default)]
    use_residual: bool,
}

impl DenseModule {
    /// Refuses a layer that is not over the vector alone.
    fn check(&self) -> Result<(), String> {
        let names = [("module_input_name", &self.module_input_name), ("module_output_name", &self.module_output_name)];
        for (field, name) in names {
            if let Some(name) = name.as_deref().filter(|name| *name != "sentence_embedding") {
                return Err(format!("{field} {name:?} of a module Dense is not computed"));
            }
        }
        if self.use_residual { Err("use_residual true of a module Dense is not computed".to_owned()) } else { Ok(()) }
    }
}

#[derive(Default, Deserialize)]
struct ModelConfig {
    #[serde(flatten)]
    prompts: Prompts,
    truncate_dim: Option<usize>,
}

fn yes() -> bool {
    true
}

impl ModelDescription {
    /// Reads the JSON files of a model folder.
    ///
    /// # Errors
    /// One is missing or not what it should be, or it names what is not computed.
    pub fn read(folder: &Path) -> Result<Self, EncoderError> {
        Self::read_from(&ModelFiles::new(folder, &Checksums::default()))
    }

    /// What it gives.
    pub fn kind(&self) -> ModelKind {
        match (self.classifier, self.splade) {
            (Some(_), _) => ModelKind::CrossEncoder,
            (None, Some(_)) => ModelKind::Sparse,
            (None, None) => ModelKind::Embedding,
        }
    }

    pub(crate) fn read_from(files: &ModelFiles) -> Result<Self, EncoderError> {
        let architecture = Architecture::parse(&files.path("config.json"), &files.read("config.json")?)?;
        let mut own = Self {
            pooling: Pooling::default(),
            normalizes: false,
            dense: Vec::new(),
            dimension: architecture.hidden_size,
            max_tokens: DEFAULT_MAX_TOKENS,
            prompts: Prompts::default(),
            lower_case: false,
            classifier: None,
            splade: None,
            precision: json(files, PRECISION_FILE)?.unwrap_or_default(),
            architecture,
        };
        let layers = own.architecture.num_hidden_layers;
        if let Some(layer) = own.precision.f32_layers.iter().find(|layer| **layer >= layers) {
            let reason = format!("it names layer {layer}, and there are {layers} from 0");
            return Err(EncoderError::BadModel { path: files.path(PRECISION_FILE), reason });
        }
        let modules: Option<Vec<Module>> = json(files, MODULES_FILE)?;
        let has_modules = modules.is_some();
        let (transformer, transformer_file) = TransformerModule::read(files)?;
        if has_modules {
            let bad = |reason| EncoderError::BadModel { path: files.path(transformer_file), reason };
            transformer.check().map_err(bad)?;
        }
        let leaves_prompt_out = own.read_modules(files, modules.unwrap_or_default(), transformer.has_vocabulary())?;
        if !has_modules {
            let config: Value = json(files, CONFIG_FILE)?.unwrap_or_default();
            let bad = |reason| EncoderError::BadModel { path: files.path(CONFIG_FILE), reason };
            own.classifier = ClassifierNames::find(&config, &own.architecture).map_err(bad)?;
        }
        if own.classifier.is_some() {
            (own.pooling, own.dimension) = (Pooling::Cls, 1);
        }
        own.read_transformer(files, &transformer, has_modules || own.classifier.is_some())?;
        let config: ModelConfig = json(files, PROMPTS_FILE)?.unwrap_or_default();
        let bad = |reason: String| EncoderError::BadModel { path: files.path(PROMPTS_FILE), reason };
        if let Some(name) = config.prompts.default.as_ref().filter(|name| config.prompts.get(name).is_none()) {
            return Err(bad(format!("default_prompt_name is {name:?}, and prompts has none of this name")));
        }
        if leaves_prompt_out && config.prompts.by_name.values().any(|prompt| !prompt.is_empty()) {
            return Err(bad("pooling without the prompt's tokens (include_prompt false) is not computed".into()));
        }
        own.prompts = config.prompts;
        if let Some(dimension) = config.truncate_dim {
            if !(1..=own.dimension).contains(&dimension) {
                return Err(bad(format!("truncate_dim is {dimension}, and a vector has {} numbers", own.dimension)));
            }
            own.dimension = dimension;
        }
        Ok(own)
    }

    /// Reads the modules in their order; whether pooling is to leave a prompt's tokens out.
    fn read_modules(
        &mut self,
        files: &ModelFiles,
        modules: Vec<Module>,
        mut has_vocabulary: bool,
    ) -> Result<bool, EncoderError> {
        let bad = |reason: String| EncoderError::BadModel { path: files.path(MODULES_FILE), reason };
        let (mut is_pooled, mut leaves_prompt_out) = (modules.is_empty(), false);
        for (index, Module { path, kind }) in modules.into_iter().enumerate() {
            let name = kind.rsplit('.').next().unwrap_or_default();
            if path.contains("..") || path.starts_with('/') || path.contains('\\') {
                return Err(bad(format!("the module {name} is outside of the folder: {path:?}")));
            }
            if !kind.starts_with(MODULE_PACKAGE) {
                return Err(bad(format!("the module {kind} at place {index} is not computed: code of its own")));
            }
            match (index, name) {
                (0, "Transformer") if path.is_empty() => {}
                (0, "MLMTransformer") if path.is_empty() => has_vocabulary = true,
                (0, "Transformer" | "MLMTransformer") => {
                    return Err(bad(format!("a transformer in a folder of its own, {path:?}")));
                }
                (1, "Pooling") if !has_vocabulary => {
                    (self.pooling, leaves_prompt_out) = pooling(files, &path)?;
                    is_pooled = true;
                }
                (1, "SpladePooling") if has_vocabulary => {
                    let file = format!("{path}/config.json");
                    let bad = |reason| EncoderError::BadModel { path: files.path(&file), reason };
                    // Without the file, as the module's class has it.
                    let pooling = match files.path(&file).exists() {
                        true => SpladePooling::parse(&files.read(&file)?).map_err(bad)?,
                        false => SpladePooling::default(),
                    };
                    let head = MaskedLmNames::find(&self.architecture).map_err(bad)?;
                    (self.splade, self.dimension) = (Some(Splade { pooling, head }), self.architecture.vocab_size);
                    is_pooled = true;
                }
                (2.., _) if self.splade.is_some() => {
                    return Err(bad(format!("the module {name} over sparse vectors is not computed")));
                }
                (2.., "Dense") if !self.normalizes => self.read_dense(files, &path)?,
                (2.., "Normalize") => self.normalizes = true,
                _ => return Err(bad(format!("the module {name} at place {index} is not computed"))),
            }
        }
        if is_pooled { Ok(leaves_prompt_out) } else { Err(bad("it has no module Pooling".into())) }
    }

    fn read_dense(&mut self, files: &ModelFiles, path: &str) -> Result<(), EncoderError> {
        let file = format!("{path}/config.json");
        let module: DenseModule = json(files, &file)?.ok_or_else(|| EncoderError::MissingFile(files.path(&file)))?;
        let bad = |reason: String| EncoderError::BadModel { path: files.path(&file), reason };
        module.check().map_err(bad)?;
        let name = module.activation_function.as_deref().unwrap_or("Tanh");
        let activation = DenseActivation::parse(name.rsplit('.').next().unwrap_or_default()).map_err(bad)?;
        if module.in_features != self.dimension || module.out_features == 0 {
            return Err(bad(format!("in_features is {}, and a vector has {}", module.in_features, self.dimension)));
        }
        self.dimension = module.out_features;
        self.dense.push(DenseLayer {
            file: format!("{path}/model.safetensors"),
            inputs: module.in_features,
            outputs: module.out_features,
            bias: module.bias,
            activation,
        });
        Ok(())
    }

    fn read_transformer(
        &mut self,
        files: &ModelFiles,
        module: &TransformerModule,
        has_modules: bool,
    ) -> Result<(), EncoderError> {
        self.lower_case = module.do_lower_case;
        // Without a length of its own, sentence-transformers takes the tokenizer's, which may be none: 10^30.
        let of_tokenizer = || -> Result<Option<usize>, EncoderError> {
            let tokenizer: Option<Value> = if has_modules { json(files, TOKENIZER_FILE)? } else { None };
            let length = tokenizer.as_ref().and_then(|all| all.get("model_max_length")).and_then(Value::as_f64);
            Ok(length.map(|length| length as usize))
        };
        let wanted = match module.max_seq_length {
            Some(length) => Some(length),
            None => of_tokenizer()?,
        };
        // A cross-encoder reads as much as it can.
        let most = self.architecture.max_sequence;
        let default = if self.classifier.is_some() { most } else { DEFAULT_MAX_TOKENS };
        self.max_tokens = wanted.unwrap_or(default).min(most);
        if self.max_tokens < 3 {
            let reason = format!("max_seq_length is {}: 3 tokens at least", self.max_tokens);
            return Err(EncoderError::BadModel { path: files.path(TRANSFORMER_FILES[0]), reason });
        }
        Ok(())
    }

    /// Files beside `config.json`, `tokenizer.json` and the weights that a folder of this description may have, and
    /// that say how it is used.
    pub fn files() -> impl Iterator<Item = &'static str> {
        [MODULES_FILE, PROMPTS_FILE, TOKENIZER_FILE].into_iter().chain(TRANSFORMER_FILES)
    }

    /// Files of the modules, `config.json` of each among them, by what `modules.json` says.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn module_files(modules: &[u8]) -> Result<Vec<String>, String> {
        let modules: Vec<Module> = serde_json::from_slice(modules).map_err(|e| e.to_string())?;
        let of = |Module { path, kind }: Module| match kind.rsplit('.').next() {
            Some("Pooling" | "SpladePooling") => vec![format!("{path}/config.json")],
            Some("Dense") => vec![format!("{path}/config.json"), format!("{path}/model.safetensors")],
            _ => Vec::new(),
        };
        Ok(modules.into_iter().flat_map(of).collect())
    }
}

/// A JSON file of the folder, if it is there.
fn json<T: DeserializeOwned>(files: &ModelFiles, name: &str) -> Result<Option<T>, EncoderError> {
    let path: PathBuf = files.path(name);
    if !path.exists() {
        return Ok(None);
    }
    let bad = |e: serde_json::Error| EncoderError::BadModel { path: path.clone(), reason: e.to_string() };
    serde_json::from_slice(&files.read(name)?).map(Some).map_err(bad)
}

/// The mode of a pooling module, and whether it leaves a prompt's tokens out.
fn pooling(files: &ModelFiles, path: &str) -> Result<(Pooling, bool), EncoderError> {
    let file = format!("{path}/config.json");
    let config: Value = json(files, &file)?.ok_or_else(|| EncoderError::MissingFile(files.path(&file)))?;
    let bad = |reason: String| EncoderError::BadModel { path: files.path(&file), reason };
    let leaves_prompt_out = config.get("include_prompt").and_then(Value::as_bool) == Some(false);
    // One field a mode, or, as newer versions write it, the name or names of modes.
    let named: Vec<&str> = match config.get("pooling_mode") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => {
            let fields = config.as_object().into_iter().flatten();
            let is_on =
                fields.filter(|(name, value)| name.starts_with("pooling_mode_") && **value == Value::Bool(true));
            is_on.map(|(name, _)| name.trim_start_matches("pooling_mode_")).collect()
        }
    };
    let mode = match named.as_slice() {
        ["mean" | "mean_tokens"] => Pooling::Mean,
        ["cls" | "cls_token"] => Pooling::Cls,
        ["lasttoken"] => Pooling::LastToken,
        ["max" | "max_tokens"] => Pooling::Max,
        [] if config.as_object().is_none_or(|all| all.keys().all(|name| !name.starts_with("pooling_mode"))) => {
            Pooling::Mean
        }
        [] => return Err(bad("every pooling mode is off".into())),
        [other] => return Err(bad(format!("the pooling mode {other:?} is not computed"))),
        several => return Err(bad(format!("pooling modes side by side are not computed: {}", several.join(", ")))),
    };
    Ok((mode, leaves_prompt_out))
}
