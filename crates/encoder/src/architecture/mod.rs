//! What the parts of an encoder are, as its `config.json` says: one description that the loader and the engines read,
//! whichever family of models it is of.

mod bert;
mod config;
mod gte;
mod jina_bert;
mod modern_bert;
mod mpnet;
mod names;
mod nomic_bert;
mod rotary;

use crate::EncoderError;
use crate::checksums::read_file;
use crate::tensors::Recorder;
use config::Config;
pub(crate) use jina_bert::slopes;
pub(crate) use names::{FeedForwardNames, Halves, Names, QkvNames};
pub(crate) use rotary::inverse_frequencies;
use std::fmt;
use std::path::Path;

/// The widest head that attention is computed with.
const MAX_HEAD_WIDTH: usize = 64;

/// The family of models, by the `model_type` of `config.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelType {
    /// `bert`.
    Bert,
    /// `roberta` and `camembert`.
    Roberta,
    /// `xlm-roberta`.
    XlmRoberta,
    /// `distilbert`.
    DistilBert,
    /// `mpnet`.
    MpNet,
    /// `modernbert`.
    ModernBert,
    /// `nomic_bert`.
    NomicBert,
    /// `new` and `gte`: the BERT of Alibaba's GTE.
    Gte,
    /// `bert` with `alibi`: the second version of Jina's BERT.
    JinaBert,
}

impl ModelType {
    /// Its common name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bert => "BERT",
            Self::Roberta => "RoBERTa",
            Self::XlmRoberta => "XLM-RoBERTa",
            Self::DistilBert => "DistilBERT",
            Self::MpNet => "MPNet",
            Self::ModernBert => "ModernBERT",
            Self::NomicBert => "NomicBERT",
            Self::Gte => "GTE",
            Self::JinaBert => "JinaBERT",
        }
    }
}

impl fmt::Display for ModelType {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The activation of the feed-forward layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `gelu`, the exact one, by erf.
    Gelu,
    /// `gelu_new`, `gelu_fast` and `gelu_pytorch_tanh`: the one by tanh.
    GeluTanh,
    /// `relu`.
    Relu,
    /// `silu` and `swish`.
    Silu,
}

impl Activation {
    fn parse(field: &str, name: &str) -> Result<Self, String> {
        match name {
            "gelu" => Ok(Self::Gelu),
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Ok(Self::GeluTanh),
            "relu" => Ok(Self::Relu),
            "silu" | "swish" => Ok(Self::Silu),
            other => Err(format!("{field} {other:?} is not computed")),
        }
    }
}

/// How a token says where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positions {
    /// By a row of a table that is added to its word's.
    Table {
        /// Rows of the table.
        rows: usize,
        /// The row of a sequence's first token.
        first: usize,
    },
    /// By turning its queries and keys.
    Rotary,
    /// By what attention takes off for each step to a key.
    Alibi,
}

/// Numbers that are added to the scores of attention, by how far a key is from its query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RelativeBuckets {
    /// Rows of the table.
    pub count: usize,
    /// From which distance on all have the same row.
    pub max_distance: usize,
}

/// Which linear layers, and which norms, have a bias; the engines compute with zeros for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Biases {
    pub qkv: bool,
    pub attention_output: bool,
    pub intermediate: bool,
    pub output: bool,
    pub norms: bool,
}

impl Biases {
    const ALL: Self = Self { qkv: true, attention_output: true, intermediate: true, output: true, norms: true };
}

/// In what a layer differs from others of its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LayerParts {
    /// Tokens to each side that a token attends to; all where there is none.
    pub window: Option<usize>,
    /// Which of [`Architecture::rotary`] turns its queries and keys.
    pub rotary: Option<usize>,
    /// Whether there is a norm at its attention.
    pub attention_norm: bool,
}

/// The parts of an encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    /// The family.
    pub model_type: ModelType,
    /// Width of a token's state (384 for MiniLM).
    pub hidden_size: usize,
    /// Transformer layers (6).
    pub num_hidden_layers: usize,
    /// Attention heads (12); a head is `hidden_size / num_attention_heads` wide, at most 64.
    pub num_attention_heads: usize,
    /// Width of the feed-forward layer (1536).
    pub intermediate_size: usize,
    /// Word pieces (30 522).
    pub vocab_size: usize,
    /// Rows of the type table (2); every token of ours is of type 0.
    pub type_vocab_size: usize,
    /// Added to the variance by LayerNorm (1e-12).
    pub layer_norm_eps: f64,
    /// How tokens say where they stand.
    pub positions: Positions,
    /// Longest sequence, in tokens, special ones included.
    pub max_sequence: usize,
    /// The activation of the feed-forward layer.
    pub activation: Activation,
    /// Whether the activated half is multiplied by a second one.
    pub gated: bool,
    /// Whether norms stand before attention and feed-forward, and one after the last layer; else after each.
    pub pre_norm: bool,
    pub(crate) biases: Biases,
    pub(crate) layers: Vec<LayerParts>,
    /// Frequencies by which queries and keys are turned.
    pub(crate) rotary: Vec<Vec<f32>>,
    pub(crate) relative: Option<RelativeBuckets>,
    pub(crate) names: Names,
}

impl Architecture {
    /// Reads and checks `config.json`.
    ///
    /// # Errors
    /// It is not there, or it names a part that is not computed.
    pub fn read(path: &Path) -> Result<Self, EncoderError> {
        Self::parse(path, &read_file(path)?)
    }

    /// Checks what the `config.json` at a path says.
    pub(crate) fn parse(path: &Path, json: &[u8]) -> Result<Self, EncoderError> {
        let read = || -> Result<Self, String> {
            let config = Config::parse(json)?;
            config.refuse_own_code()?;
            let read = match config.text_or("model_type", "bert")? {
                "bert" if config.get("position_embedding_type").is_some_and(|kind| kind == "alibi") => {
                    jina_bert::read(&config)
                }
                "bert" => bert::bert(&config),
                "roberta" | "camembert" => bert::roberta(&config, ModelType::Roberta),
                "xlm-roberta" => bert::roberta(&config, ModelType::XlmRoberta),
                "distilbert" => bert::distilbert(&config),
                "mpnet" => mpnet::read(&config),
                "modernbert" => modern_bert::read(&config),
                "nomic_bert" => nomic_bert::read(&config),
                "new" | "gte" => gte::read(&config),
                other => Err(format!("model_type {other:?} is not computed")),
            }?;
            read.check()
        };
        read().map_err(|reason| EncoderError::BadModel { path: path.to_owned(), reason })
    }

    fn check(self) -> Result<Self, String> {
        let head = self.hidden_size.checked_div(self.num_attention_heads).unwrap_or(0);
        if !(1..=MAX_HEAD_WIDTH).contains(&head) || head * self.num_attention_heads != self.hidden_size {
            return Err(format!(
                "{} heads over a hidden size of {}: heads must be at most {MAX_HEAD_WIDTH} wide",
                self.num_attention_heads, self.hidden_size
            ));
        }
        if self.positions == Positions::Rotary && !head.is_multiple_of(2) {
            return Err(format!("rotary positions of heads {head} wide are not computed: they must be even"));
        }
        if self.intermediate_size == 0 || self.vocab_size == 0 {
            return Err("intermediate_size and vocab_size must be at least 1".into());
        }
        if self.max_sequence < 3 {
            return Err(format!("{} positions are too few", self.max_sequence));
        }
        Ok(self)
    }

    /// Name and shape of every tensor that such a model has, but for a prefix of the names and a head.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let recorder = Recorder::default();
        // A recorder has whatever it is asked for.
        let _ = crate::weights::EncoderWeights::from_tensors(self.clone(), &recorder);
        recorder.into_tensors()
    }

    /// Width of one attention head.
    pub fn head_width(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }
}
