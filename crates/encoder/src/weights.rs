//! The weights of an encoder, read from `model.safetensors` by candle.

use crate::checksums::{Checksums, ModelFiles};
use crate::{BertConfig, EncoderError};
use candle_core::safetensors::BufferedSafetensors;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// A linear layer: `weight` is `[outputs, inputs]` row after row, as PyTorch keeps it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LinearWeights {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    pub outputs: usize,
    pub inputs: usize,
}

/// Scale and shift of a LayerNorm.
#[derive(Clone)]
pub(crate) struct NormWeights {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
}

/// One transformer layer.
#[derive(Clone)]
pub(crate) struct LayerWeights {
    /// Query, key and value in one product; the query is already divided by the root of the head's width.
    pub qkv: LinearWeights,
    pub attention_output: LinearWeights,
    pub attention_norm: NormWeights,
    pub intermediate: LinearWeights,
    pub output: LinearWeights,
    pub output_norm: NormWeights,
}

/// A head over the token states that says how likely a token is to be kept when a text is compressed.
///
/// Two forms: LLMLingua-2's token classifier (`classifier.weight` `[2, hidden]`: drop and keep, of which only the
/// difference matters), and the small head that `membox distil` trains: `inner` `[width, hidden]`, GELU, `output`
/// `[1, width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct KeepHead {
    pub(crate) inner: Option<LinearWeights>,
    pub(crate) output: LinearWeights,
}

impl KeepHead {
    /// Reads a trained head from the bytes of a safetensors file.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, EncoderError> {
        let bad = |e: candle_core::Error| EncoderError::BadModel { path: "keep head".into(), reason: e.to_string() };
        Self::from_tensors(&candle_core::safetensors::load_buffer(bytes, &Device::Cpu).map_err(bad)?).map_err(bad)
    }

    /// Takes a trained head from its tensors, which are named as this type's documentation says.
    pub fn from_tensors(tensors: &HashMap<String, Tensor>) -> candle_core::Result<Self> {
        let get = |name: &str| {
            let found = tensors.get(name).ok_or_else(|| candle_core::Error::Msg(format!("no tensor {name}")))?;
            found.to_dtype(DType::F32)
        };
        let linear = |name: &str| -> candle_core::Result<LinearWeights> {
            let weight = get(&format!("{name}.weight"))?;
            let (outputs, inputs) = weight.dims2()?;
            let bias = get(&format!("{name}.bias"))?;
            if bias.dims() != [outputs] {
                candle_core::bail!("{name}.bias is {:?}, not [{outputs}]", bias.dims());
            }
            Ok(LinearWeights { weight: weight.flatten_all()?.to_vec1()?, bias: bias.to_vec1()?, outputs, inputs })
        };
        let (inner, output) = (linear("inner")?, linear("output")?);
        if output.outputs != 1 || output.inputs != inner.outputs || inner.outputs % 32 != 0 {
            candle_core::bail!("the head's layers do not fit each other");
        }
        Ok(Self { inner: Some(inner), output })
    }

    /// LLMLingua-2's classifier of two labels, as one logit.
    fn classifier(vb: &VarBuilder, hidden: usize) -> candle_core::Result<Self> {
        let both = linear(vb, 2, hidden)?;
        let (drop, keep) = both.weight.split_at(hidden);
        let weight = keep.iter().zip(drop).map(|(k, d)| k - d).collect();
        let output = LinearWeights { weight, bias: vec![both.bias[1] - both.bias[0]], outputs: 1, inputs: hidden };
        Ok(Self { inner: None, output })
    }

    /// Whether it fits a model of this shape.
    fn fits(&self, config: &BertConfig) -> bool {
        let inputs = self.inner.as_ref().map_or(self.output.inputs, |inner| inner.inputs);
        inputs == config.hidden_size
    }
}

/// All weights of an encoder, in f32.
#[derive(Clone)]
pub struct BertWeights {
    pub(crate) config: BertConfig,
    /// `[vocabulary, hidden]`.
    pub(crate) word_embeddings: Vec<f32>,
    /// `[longest sequence, hidden]`, with the embedding of type 0 added: every token of ours has it.
    pub(crate) positions: Vec<f32>,
    pub(crate) embedding_norm: NormWeights,
    pub(crate) layers: Vec<LayerWeights>,
    pub(crate) keep: Option<KeepHead>,
    /// Of the file that they were read from.
    pub(crate) sha256: [u8; 32],
}

impl BertWeights {
    /// Reads `config.json` and `model.safetensors` of a model folder. Tensor names with the prefix `bert.` or
    /// `roberta.` and without are known, and `classifier`, LLMLingua-2's head.
    pub fn load(folder: &Path) -> Result<Self, EncoderError> {
        Self::read_from(&ModelFiles::new(folder, &Checksums::default()))
    }

    pub(crate) fn read_from(files: &ModelFiles) -> Result<Self, EncoderError> {
        let config = BertConfig::parse(&files.path("config.json"), &files.read("config.json")?)?;
        let path = files.path("model.safetensors");
        let bad = |e: candle_core::Error| EncoderError::BadModel { path: path.clone(), reason: e.to_string() };
        let (bytes, sha256) = files.read_hashed("model.safetensors")?;
        let file = BufferedSafetensors::new(bytes).map_err(bad)?;
        let prefix = check_tensors(&config, &file).map_err(bad)?;
        let vb = VarBuilder::from_backend(Box::new(file), DType::F32, Device::Cpu);
        let body = if prefix.is_empty() { vb.clone() } else { vb.pp(prefix.trim_end_matches('.')) };
        let mut weights = Self::read(config, &body).map_err(bad)?;
        weights.sha256 = sha256;
        if vb.contains_tensor("classifier.weight") {
            weights.keep = Some(KeepHead::classifier(&vb.pp("classifier"), weights.config.hidden_size).map_err(bad)?);
        }
        Ok(weights)
    }

    /// Puts a keep head over the model.
    pub fn with_keep_head(mut self, head: KeepHead) -> Result<Self, EncoderError> {
        if !head.fits(&self.config) {
            let reason = format!("it is not made for a hidden size of {}", self.config.hidden_size);
            return Err(EncoderError::BadModel { path: "keep head".into(), reason });
        }
        self.keep = Some(head);
        Ok(self)
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
        positions.drain(..config.first_position() * hidden);
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
            word_embeddings: table("word_embeddings", config.vocab_size)?,
            positions,
            embedding_norm: norm(&e.pp("LayerNorm"), hidden)?,
            layers: (0..config.num_hidden_layers).map(layer).collect::<candle_core::Result<_>>()?,
            keep: None,
            sha256: [0; 32],
            config,
        })
    }

    /// The shape of the model.
    pub fn config(&self) -> &BertConfig {
        &self.config
    }
}

/// Holds the tensors of a file against those that a model of this shape has, and gives the prefix of their names.
/// What the file has beside them, other than the heads of training, is warned of: it may mean that the model is not
/// what its configuration says.
fn check_tensors(config: &BertConfig, file: &BufferedSafetensors) -> candle_core::Result<&'static str> {
    let found: HashMap<String, Vec<usize>> =
        file.tensors().into_iter().map(|(name, view)| (name, view.shape().to_vec())).collect();
    let key = "embeddings.word_embeddings.weight";
    let prefix = ["bert.", "roberta."].into_iter().find(|p| found.contains_key(&format!("{p}{key}"))).unwrap_or("");
    let mut unknown: HashSet<&str> = found.keys().map(String::as_str).collect();
    for (name, shape) in config.tensors() {
        let name = format!("{prefix}{name}");
        match found.get(&name) {
            None => candle_core::bail!("the tensor {name} {shape:?} is missing"),
            Some(other) if *other != shape => candle_core::bail!("the tensor {name} is {other:?}, not {shape:?}"),
            Some(_) => unknown.remove(name.as_str()),
        };
    }
    let is_known = |name: &str| {
        let name = name.strip_prefix(prefix).unwrap_or(name);
        ["classifier.", "pooler.", "embeddings.position_ids", "cls.", "lm_head."].iter().any(|k| name.starts_with(k))
    };
    for name in unknown.into_iter().filter(|name| !is_known(name)) {
        tracing::warn!(tensor = name, "the model file has a tensor that such a model does not use");
    }
    Ok(prefix)
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
