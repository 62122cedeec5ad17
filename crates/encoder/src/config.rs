//! What `config.json` of a BERT or XLM-RoBERTa model says about its shape.

use crate::EncoderError;
use crate::checksums::read_file;
use serde::Deserialize;
use std::path::Path;

/// Which of the two families a model is of. The pass is the same; positions and tokens are counted otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// WordPiece, positions from 0.
    #[default]
    Bert,
    /// SentencePiece, positions from the padding token's id plus one.
    XlmRoberta,
}

/// The shape of an encoder, as Hugging Face's `config.json` names it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct BertConfig {
    /// `bert` or `xlm-roberta`.
    #[serde(default)]
    pub model_type: Family,
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
    /// Rows of the position table (512).
    pub max_position_embeddings: usize,
    /// Rows of the type table (2).
    pub type_vocab_size: usize,
    /// Added to the variance by LayerNorm (1e-12).
    pub layer_norm_eps: f64,
    /// Only `gelu` (the erf one) is known.
    pub hidden_act: String,
    /// The padding token (0 for BERT, 1 for XLM-RoBERTa).
    #[serde(default)]
    pub pad_token_id: usize,
}

impl BertConfig {
    /// Reads and checks `config.json`.
    pub fn read(path: &Path) -> Result<Self, EncoderError> {
        Self::parse(path, &read_file(path)?)
    }

    /// Checks what the `config.json` at a path says.
    pub(crate) fn parse(path: &Path, json: &[u8]) -> Result<Self, EncoderError> {
        let bad = |reason: String| EncoderError::BadModel { path: path.to_owned(), reason };
        let config: Self = serde_json::from_slice(json).map_err(|e| bad(e.to_string()))?;
        let head = config.hidden_size.checked_div(config.num_attention_heads).unwrap_or(0);
        if config.hidden_act != "gelu" {
            return Err(bad(format!("hidden_act is {:?}; only \"gelu\" is known", config.hidden_act)));
        }
        if !(1..=64).contains(&head) || head * config.num_attention_heads != config.hidden_size {
            return Err(bad(format!(
                "{} heads over a hidden size of {}: heads must be at most 64 wide",
                config.num_attention_heads, config.hidden_size
            )));
        }
        if config.intermediate_size == 0 || config.type_vocab_size == 0 {
            return Err(bad("intermediate_size and type_vocab_size must be at least 1".into()));
        }
        if config.max_position_embeddings <= config.first_position() {
            return Err(bad(format!("{} positions are too few", config.max_position_embeddings)));
        }
        Ok(config)
    }

    /// The row of the position table that a sequence's first token has.
    pub fn first_position(&self) -> usize {
        match self.model_type {
            Family::Bert => 0,
            Family::XlmRoberta => self.pad_token_id + 1,
        }
    }

    /// Longest sequence, in tokens, special ones included.
    pub fn max_sequence(&self) -> usize {
        self.max_position_embeddings - self.first_position()
    }

    /// Name and shape of every tensor that such a model has, but for a prefix of the names and a head.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (hidden, wide) = (self.hidden_size, self.intermediate_size);
        let mut tensors = Vec::new();
        let rows = [
            ("word", self.vocab_size),
            ("position", self.max_position_embeddings),
            ("token_type", self.type_vocab_size),
        ];
        for (table, rows) in rows {
            tensors.push((format!("embeddings.{table}_embeddings.weight"), vec![rows, hidden]));
        }
        let mut linear = |name: String, outputs: usize, inputs: usize| {
            tensors.push((format!("{name}.weight"), vec![outputs, inputs]));
            tensors.push((format!("{name}.bias"), vec![outputs]));
        };
        for layer in 0..self.num_hidden_layers {
            let at = format!("encoder.layer.{layer}");
            for name in ["self.query", "self.key", "self.value", "output.dense"] {
                linear(format!("{at}.attention.{name}"), hidden, hidden);
            }
            linear(format!("{at}.intermediate.dense"), wide, hidden);
            linear(format!("{at}.output.dense"), hidden, wide);
        }
        let layers = (0..self.num_hidden_layers).flat_map(|layer| {
            ["attention.output", "output"].map(|part| format!("encoder.layer.{layer}.{part}.LayerNorm"))
        });
        for norm in std::iter::once("embeddings.LayerNorm".to_owned()).chain(layers) {
            tensors.push((format!("{norm}.weight"), vec![hidden]));
            tensors.push((format!("{norm}.bias"), vec![hidden]));
        }
        tensors
    }

    /// Width of one attention head.
    pub fn head_width(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }
}
