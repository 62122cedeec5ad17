//! SPLADE: sparse vectors, of a number for each word piece of the vocabulary.
//!
//! Over each token's state stands the head of masked-language models, which says how likely each word piece is in its
//! place. Of each piece the largest of a text's numbers counts, as `log(1 + relu)`: most are 0. What a model of this
//! kind has is said by sentence-transformers' modules `MLMTransformer` and `SpladePooling`.

use crate::architecture::{Activation, Architecture, ModelType};
use crate::cpu::{Isa, Linear, QuantizedRows, activate, norm};
use crate::engine::Precision;
use crate::tensors::TensorFiles;
use crate::weights::{LinearWeights, NormWeights};
use serde::Deserialize;

/// Columns of the vocabulary that are worked off together: with them, the numbers of a text stay in the cache.
const BLOCK: usize = 512;
/// What widths of matrix products are a multiple of.
const PANEL: usize = 32;

/// A number of a sparse vector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenWeight {
    /// The word piece, by its number in the vocabulary.
    pub id: u32,
    /// How much it counts, above 0.
    pub weight: f32,
}

/// How the numbers of a text's tokens become its vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SpladePooling {
    /// Whether the logarithm is taken twice (`log1p_relu`).
    log_twice: bool,
}

/// `1_SpladePooling/config.json`.
#[derive(Deserialize)]
struct PoolingConfig {
    pooling_strategy: Option<String>,
    activation_function: Option<String>,
}

impl SpladePooling {
    /// By the file of its module.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let config: PoolingConfig = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        match config.pooling_strategy.as_deref() {
            None | Some("max") => {}
            Some(other) => return Err(format!("pooling_strategy {other:?} is not computed")),
        }
        match config.activation_function.as_deref() {
            None | Some("relu") => Ok(Self { log_twice: false }),
            Some("log1p_relu") => Ok(Self { log_twice: true }),
            Some(other) => Err(format!("activation_function {other:?} is not computed")),
        }
    }

    /// Makes vectors of the largest logits.
    pub(crate) fn apply(self, vectors: &mut [Vec<TokenWeight>]) {
        vectors.iter_mut().flatten().for_each(|one| one.weight = self.activate(one.weight));
    }

    fn activate(self, most: f32) -> f32 {
        let once = most.max(0.0).ln_1p();
        if self.log_twice { once.ln_1p() } else { once }
    }
}

/// A model of this kind, as its folder describes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Splade {
    pub pooling: SpladePooling,
    pub head: MaskedLmNames,
}

/// The head of a masked-language model, by its names in the weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct MaskedLmNames {
    dense: &'static str,
    norm: &'static str,
    decoder: &'static str,
    /// Newer versions name it by the decoder.
    biases: [&'static str; 2],
    activation: Activation,
}

impl MaskedLmNames {
    /// Those of a family.
    pub fn find(architecture: &Architecture) -> Result<Self, String> {
        let activation = architecture.activation;
        match architecture.model_type {
            ModelType::Bert => Ok(Self {
                dense: "cls.predictions.transform.dense",
                norm: "cls.predictions.transform.LayerNorm",
                decoder: "cls.predictions.decoder.weight",
                biases: ["cls.predictions.bias", "cls.predictions.decoder.bias"],
                activation,
            }),
            ModelType::DistilBert => Ok(Self {
                dense: "vocab_transform",
                norm: "vocab_layer_norm",
                decoder: "vocab_projector.weight",
                biases: ["vocab_projector.bias"; 2],
                activation,
            }),
            ModelType::Roberta | ModelType::XlmRoberta => Ok(Self {
                dense: "lm_head.dense",
                norm: "lm_head.layer_norm",
                decoder: "lm_head.decoder.weight",
                biases: ["lm_head.bias", "lm_head.decoder.bias"],
                activation: Activation::Gelu,
            }),
            other => Err(format!("the masked-LM head of {other} is not computed")),
        }
    }
}

/// The head of a masked-language model.
#[derive(Clone)]
pub(crate) struct MaskedLm {
    pub dense: LinearWeights,
    pub norm: NormWeights,
    pub decoder: LinearWeights,
    pub activation: Activation,
    pub pooling: SpladePooling,
    eps: f32,
}

impl MaskedLm {
    /// Reads it; where it has no decoder of its own, that is the table of words.
    pub fn read(
        tensors: &TensorFiles,
        Splade { pooling, head: names }: Splade,
        architecture: &Architecture,
        words: &[f32],
    ) -> Result<Self, String> {
        let Architecture { hidden_size: hidden, vocab_size: vocabulary, .. } = *architecture;
        let take = |name: &str, part: &str, shape: &[usize]| tensors.take_whole(&format!("{name}.{part}"), shape);
        let dense = LinearWeights {
            weight: take(names.dense, "weight", &[hidden, hidden])?,
            bias: take(names.dense, "bias", &[hidden])?,
            outputs: hidden,
            inputs: hidden,
        };
        let norm =
            NormWeights { weight: take(names.norm, "weight", &[hidden])?, bias: take(names.norm, "bias", &[hidden])? };
        let weight = if tensors.has(names.decoder) {
            tensors.take_whole(names.decoder, &[vocabulary, hidden])?
        } else {
            words.to_vec()
        };
        let [bias, other] = names.biases;
        let bias = tensors.take_whole(if tensors.has(bias) { bias } else { other }, &[vocabulary])?;
        let decoder = LinearWeights { weight, bias, outputs: vocabulary, inputs: hidden };
        let eps = architecture.layer_norm_eps as f32;
        Ok(Self { dense, norm, decoder, activation: names.activation, pooling, eps })
    }
}

/// What makes sparse vectors of token states.
pub(crate) struct SparseHead {
    isa: Isa,
    pooling: SpladePooling,
    activation: Activation,
    eps: f32,
    /// Of a state in the model, and in memory.
    hidden: usize,
    width: usize,
    vocabulary: usize,
    dense: Linear,
    norm: NormWeights,
    /// The vocabulary in blocks of columns.
    decoder: Vec<Linear>,
}

/// Memory of a thread that makes sparse vectors.
#[derive(Default)]
pub(crate) struct SparseScratch {
    states: Vec<f32>,
    transformed: Vec<f32>,
    numbers: Vec<f32>,
    quantized: QuantizedRows,
}

impl SparseHead {
    pub fn new(head: MaskedLm, precision: Precision) -> Self {
        let MaskedLm { dense, norm: NormWeights { weight, bias }, decoder, activation, pooling, eps } = head;
        let (hidden, vocabulary) = (dense.inputs, decoder.outputs);
        let width = hidden.next_multiple_of(PANEL);
        let wide = |numbers: &[f32]| [numbers, &vec![0.0; width - numbers.len()]].concat();
        let block = |rows: &[f32], biases: &[f32], filler: f32| {
            let outputs = biases.len().next_multiple_of(PANEL);
            let mut weight: Vec<f32> = rows.chunks_exact(hidden).flat_map(wide).collect();
            weight.resize(outputs * width, 0.0);
            let mut bias = biases.to_vec();
            bias.resize(outputs, filler);
            Linear::new(&LinearWeights { weight, bias, outputs, inputs: width }, precision)
        };
        let blocks = decoder.weight.chunks(BLOCK * hidden).zip(decoder.bias.chunks(BLOCK));
        Self {
            isa: Isa::detect(),
            pooling,
            activation,
            eps,
            hidden,
            width,
            vocabulary,
            dense: block(&dense.weight, &dense.bias, 0.0),
            norm: NormWeights { weight: wide(&weight), bias: wide(&bias) },
            // What is no word piece counts nothing.
            decoder: blocks.map(|(rows, biases)| block(rows, biases, f32::MIN)).collect(),
        }
    }

    /// Numbers of a vector, most of which are 0.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// How the largest logits become the numbers of a vector.
    pub fn pooling(&self) -> SpladePooling {
        self.pooling
    }

    /// The sparse vector of each sequence, by the states of its tokens, `[tokens, hidden]`. Calls `pause` now and then.
    pub fn apply(
        &self,
        states: &[f32],
        offsets: &[u32],
        scratch: &mut SparseScratch,
        vectors: &mut [Vec<TokenWeight>],
        pause: &mut dyn FnMut(),
    ) {
        let SparseScratch { states: padded, transformed, numbers, quantized } = scratch;
        let tokens = states.len() / self.hidden;
        padded.clear();
        padded.resize(tokens * self.width, 0.0);
        for (row, out) in states.chunks_exact(self.hidden).zip(padded.chunks_exact_mut(self.width)) {
            out[..self.hidden].copy_from_slice(row);
        }
        transformed.resize(tokens * self.width, 0.0);
        self.dense.forward(self.isa, padded, self.width, quantized, transformed);
        activate(self.isa, self.activation, transformed);
        norm(self.isa, transformed, &self.norm, self.hidden, self.eps, padded);
        vectors.iter_mut().for_each(Vec::clear);
        for (index, block) in self.decoder.iter().enumerate() {
            pause();
            let first = (index * BLOCK) as u32;
            for (bounds, vector) in offsets.windows(2).zip(vectors.iter_mut()) {
                let rows = &padded[bounds[0] as usize * self.width..bounds[1] as usize * self.width];
                numbers.resize(rows.len() / self.width * block.columns(), 0.0);
                block.forward(self.isa, rows, self.width, quantized, numbers);
                let mut most = vec![0f32; block.columns()];
                for row in numbers.chunks_exact(block.columns()) {
                    most.iter_mut().zip(row).for_each(|(most, x)| *most = most.max(*x));
                }
                let above = (first..).zip(most).filter(|(_, most)| *most > 0.0);
                vector.extend(above.map(|(id, most)| TokenWeight { id, weight: self.pooling.activate(most) }));
            }
        }
    }
}
