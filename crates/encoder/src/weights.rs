//! The weights of a BERT encoder, read from `model.safetensors` by candle.

use crate::config::read_file;
use crate::{BertConfig, EncoderError};
use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use std::path::Path;

/// A linear layer: `weight` is `[outputs, inputs]` row after row, as PyTorch keeps it.
pub(crate) struct LinearWeights {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    pub outputs: usize,
    pub inputs: usize,
}

/// Scale and shift of a LayerNorm.
pub(crate) struct NormWeights {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
}

/// One transformer layer.
pub(crate) struct LayerWeights {
    /// Query, key and value in one product; the query is already divided by the root of the head's width.
    pub qkv: LinearWeights,
    pub attention_output: LinearWeights,
    pub attention_norm: NormWeights,
    pub intermediate: LinearWeights,
    pub output: LinearWeights,
    pub output_norm: NormWeights,
}

/// All weights of an encoder, in f32.
pub struct BertWeights {
    pub(crate) config: BertConfig,
    /// `[vocabulary, hidden]`.
    pub(crate) words: Vec<f32>,
    /// `[positions, hidden]`, with the embedding of type 0 added: every token of ours has it.
    pub(crate) positions: Vec<f32>,
    pub(crate) embedding_norm: NormWeights,
    pub(crate) layers: Vec<LayerWeights>,
}

impl BertWeights {
    /// Reads `config.json` and `model.safetensors` of a model folder. Tensor names with and without the prefix `bert.` are known.
    pub fn load(folder: &Path) -> Result<Self, EncoderError> {
        let config = BertConfig::read(&folder.join("config.json"))?;
        let path = folder.join("model.safetensors");
        let bad = |e: candle_core::Error| EncoderError::BadModel { path: path.clone(), reason: e.to_string() };
        let vb = VarBuilder::from_buffered_safetensors(read_file(&path)?, DType::F32, &Device::Cpu).map_err(bad)?;
        let vb = if vb.contains_tensor("bert.embeddings.word_embeddings.weight") { vb.pp("bert") } else { vb };
        Self::read(config, &vb).map_err(bad)
    }

    fn read(config: BertConfig, vb: &VarBuilder) -> candle_core::Result<Self> {
        let (hidden, wide) = (config.hidden_size, config.intermediate_size);
        let e = vb.pp("embeddings");
        let table = |name: &str, rows| flat(&e.pp(name), "weight", &[rows, hidden]);
        let types = table("token_type_embeddings", config.type_vocab_size)?;
        let mut positions = table("position_embeddings", config.max_position_embeddings)?;
        for row in positions.chunks_exact_mut(hidden) {
            row.iter_mut().zip(&types[..hidden]).for_each(|(p, t)| *p += t);
        }
        let layer = |index: usize| -> candle_core::Result<LayerWeights> {
            let l = vb.pp("encoder.layer").pp(index);
            let part = |name: &str| linear(&l.pp("attention.self").pp(name), hidden, hidden);
            let mut qkv = part("query")?;
            let scale = 1.0 / (config.head_width() as f32).sqrt();
            qkv.weight.iter_mut().chain(&mut qkv.bias).for_each(|x| *x *= scale);
            for name in ["key", "value"] {
                let other = part(name)?;
                qkv.weight.extend(other.weight);
                qkv.bias.extend(other.bias);
                qkv.outputs += hidden;
            }
            Ok(LayerWeights {
                qkv,
                attention_output: linear(&l.pp("attention.output.dense"), hidden, hidden)?,
                attention_norm: norm(&l.pp("attention.output.LayerNorm"), hidden)?,
                intermediate: linear(&l.pp("intermediate.dense"), wide, hidden)?,
                output: linear(&l.pp("output.dense"), hidden, wide)?,
                output_norm: norm(&l.pp("output.LayerNorm"), hidden)?,
            })
        };
        Ok(Self {
            words: table("word_embeddings", config.vocab_size)?,
            positions,
            embedding_norm: norm(&e.pp("LayerNorm"), hidden)?,
            layers: (0..config.num_hidden_layers).map(layer).collect::<candle_core::Result<_>>()?,
            config,
        })
    }

    /// The shape of the model.
    pub fn config(&self) -> &BertConfig {
        &self.config
    }
}

fn flat(vb: &VarBuilder, name: &str, shape: &[usize]) -> candle_core::Result<Vec<f32>> {
    vb.get(shape, name)?.flatten_all()?.to_vec1()
}

fn linear(vb: &VarBuilder, outputs: usize, inputs: usize) -> candle_core::Result<LinearWeights> {
    let (weight, bias) = (flat(vb, "weight", &[outputs, inputs])?, flat(vb, "bias", &[outputs])?);
    Ok(LinearWeights { weight, bias, outputs, inputs })
}

fn norm(vb: &VarBuilder, width: usize) -> candle_core::Result<NormWeights> {
    Ok(NormWeights { weight: flat(vb, "weight", &[width])?, bias: flat(vb, "bias", &[width])? })
}
