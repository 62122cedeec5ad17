//! The weights of an encoder, whichever family names its tensors: those that a family does not have are zeros here.

use crate::architecture::{FeedForwardNames, Halves, LayerParts, Positions, QkvNames, RelativeBuckets, slopes};
use crate::checksums::{Checksums, ModelFiles};
use crate::cross_encoder::ClassifierNames;
use crate::pooling::Pooling;
use crate::splade::{MaskedLm, Splade};
use crate::tensors::{TensorFiles, TensorSource, WEIGHTS_FILE};
use crate::vector_head::DenseActivation;
use crate::{Architecture, EncoderError};
use candle_core::{DType, Device, Tensor};
use std::collections::HashMap;
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
    /// After attention; before it where norms stand before.
    pub attention_norm: Option<NormWeights>,
    /// Of a gated layer, the half that is activated, then the one that it is multiplied by.
    pub intermediate: LinearWeights,
    pub output: LinearWeights,
    /// After the feed-forward half; before it where norms stand before.
    pub output_norm: NormWeights,
    pub parts: LayerParts,
}

/// What attention adds to its scores by how far a key stands from its query, `[heads, 2 · reach + 1]`: from `reach`
/// before it to `reach` behind it.
#[derive(Clone)]
pub(crate) struct RelativeBias {
    pub by_distance: Vec<f32>,
    pub reach: usize,
}

impl RelativeBias {
    /// The further a key, the less it counts, to both sides alike.
    fn alibi(architecture: &Architecture) -> Self {
        let reach = architecture.max_sequence.saturating_sub(1);
        let distance = |place: usize| place.abs_diff(reach) as f32;
        let of_head = |slope: f32| (0..=2 * reach).map(move |place| -slope * distance(place));
        Self { by_distance: slopes(architecture.num_attention_heads).into_iter().flat_map(of_head).collect(), reach }
    }
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
    fn classifier(tensors: &TensorFiles, hidden: usize) -> Result<Self, String> {
        let both = tensors.take_whole("classifier.weight", &[2, hidden])?;
        let bias = tensors.take_whole("classifier.bias", &[2])?;
        let (drop, keep) = both.split_at(hidden);
        let weight = keep.iter().zip(drop).map(|(k, d)| k - d).collect();
        let output = LinearWeights { weight, bias: vec![bias[1] - bias[0]], outputs: 1, inputs: hidden };
        Ok(Self { inner: None, output })
    }

    /// Whether it fits a model of this shape.
    fn fits(&self, architecture: &Architecture) -> bool {
        let inputs = self.inner.as_ref().map_or(self.output.inputs, |inner| inner.inputs);
        inputs == architecture.hidden_size
    }
}

/// What says how well two texts go together, over the first token's state.
#[derive(Clone)]
pub(crate) struct Classifier {
    pub inner: LinearWeights,
    pub activation: DenseActivation,
    pub output: LinearWeights,
    /// See [`crate::VectorHead`]; 0 where the model does not tell two texts apart.
    pub segment: u32,
}

/// All weights of an encoder, in f32.
#[derive(Clone)]
pub struct EncoderWeights {
    pub(crate) architecture: Architecture,
    /// `[vocabulary, hidden]`; with the embedding of type 0 added where there is no table of positions.
    pub(crate) word_embeddings: Vec<f32>,
    /// `[longest sequence, hidden]`, with the embedding of type 0 added: every token of ours has it. Empty where
    /// positions are none of a table.
    pub(crate) positions: Vec<f32>,
    pub(crate) embedding_norm: NormWeights,
    pub(crate) layers: Vec<LayerWeights>,
    /// After the last layer, where norms stand before.
    pub(crate) final_norm: Option<NormWeights>,
    pub(crate) relative_bias: Option<RelativeBias>,
    pub(crate) pooling: Pooling,
    pub(crate) keep: Option<KeepHead>,
    pub(crate) classifier: Option<Classifier>,
    pub(crate) masked_lm: Option<MaskedLm>,
    /// Layers that a CPU computes in f32 whatever the others are in.
    pub(crate) f32_layers: Vec<usize>,
    /// Of the file that they were read from.
    pub(crate) sha256: [u8; 32],
}

impl EncoderWeights {
    /// Reads `config.json` and `model.safetensors` of a model folder, or the files of its index. Tensor names are known
    /// with the prefix of their family (`bert.`) and without, and so is `classifier`, LLMLingua-2's head.
    ///
    /// # Errors
    /// A file is missing or not what it should be, or it has a part that is not computed.
    pub fn load(folder: &Path) -> Result<Self, EncoderError> {
        Self::read_from(&ModelFiles::new(folder, &Checksums::default()), None, None)
    }

    pub(crate) fn read_from(
        files: &ModelFiles,
        classifier: Option<ClassifierNames>,
        splade: Option<Splade>,
    ) -> Result<Self, EncoderError> {
        let architecture = Architecture::parse(&files.path("config.json"), &files.read("config.json")?)?;
        let mut tensors = TensorFiles::read(files)?;
        let names = architecture.names;
        tensors.find_prefix(names.prefixes, &format!("{}.weight", names.words));
        let bad = |reason| EncoderError::BadModel { path: files.path(WEIGHTS_FILE), reason };
        let mut weights = Self::from_tensors(architecture, &tensors).map_err(bad)?;
        weights.sha256 = tensors.sha256;
        // Other heads of this name, over a pooled vector, have a layer in between or other labels.
        if tensors.shape("classifier.weight") == Some(&[2, weights.architecture.hidden_size]) {
            weights.keep = Some(KeepHead::classifier(&tensors, weights.architecture.hidden_size).map_err(bad)?);
        }
        if let Some(names) = classifier {
            weights.read_classifier(&tensors, names).map_err(bad)?;
        }
        if let Some(splade) = splade {
            let head = MaskedLm::read(&tensors, splade, &weights.architecture, &weights.word_embeddings);
            weights.masked_lm = Some(head.map_err(bad)?);
        }
        tensors.warn_of_others();
        Ok(weights)
    }

    /// Reads the layers over the first token, and puts the embedding of type 1 into a second half of the positions.
    fn read_classifier(&mut self, tensors: &TensorFiles, names: ClassifierNames) -> Result<(), String> {
        let Architecture { hidden_size: hidden, type_vocab_size, .. } = self.architecture;
        let linear = |name: &str, outputs| -> Result<LinearWeights, String> {
            let weight = tensors.take_whole(&format!("{name}.weight"), &[outputs, hidden])?;
            let bias = tensors.take_whole(&format!("{name}.bias"), &[outputs])?;
            Ok(LinearWeights { weight, bias, outputs, inputs: hidden })
        };
        let labels = tensors.shape(&format!("{}.weight", names.output)).and_then(|shape| shape.first());
        if let Some(labels) = labels.filter(|labels| **labels != 1) {
            return Err(format!("it has {labels} labels, and a cross-encoder that ranks has one"));
        }
        let mut segment = 0;
        if type_vocab_size > 1 {
            if self.positions.is_empty() {
                return Err("types of tokens beside rotary positions are not computed".to_owned());
            }
            let types =
                tensors.take(&format!("{}.weight", self.architecture.names.types), &[type_vocab_size, hidden])?;
            segment = (self.positions.len() / hidden) as u32;
            let (first, second) = types.split_at(hidden);
            let other = |(i, x): (usize, &f32)| x - first[i % hidden] + second[i % hidden];
            let more: Vec<f32> = self.positions.iter().enumerate().map(other).collect();
            self.positions.extend(more);
        }
        let (inner, output) = (linear(names.inner, hidden)?, linear(names.output, 1)?);
        self.classifier = Some(Classifier { inner, activation: names.activation, output, segment });
        Ok(())
    }

    /// Puts a keep head over the model.
    ///
    /// # Errors
    /// It is made for another width.
    pub fn with_keep_head(mut self, head: KeepHead) -> Result<Self, EncoderError> {
        if !head.fits(&self.architecture) {
            let reason = format!("it is not made for a hidden size of {}", self.architecture.hidden_size);
            return Err(EncoderError::BadModel { path: "keep head".into(), reason });
        }
        self.keep = Some(head);
        Ok(self)
    }

    /// Says how token states make a vector; the mean if it is not said.
    #[must_use]
    pub fn with_pooling(mut self, pooling: Pooling) -> Self {
        self.pooling = pooling;
        self
    }

    pub(crate) fn with_f32_layers(mut self, layers: &[usize]) -> Self {
        self.f32_layers = layers.to_vec();
        self
    }

    pub(crate) fn from_tensors(architecture: Architecture, tensors: &dyn TensorSource) -> Result<Self, String> {
        let reader = Reader { architecture: &architecture, tensors };
        let (hidden, names) = (architecture.hidden_size, architecture.names);
        let table = |name: &str, rows| tensors.take(&format!("{name}.weight"), &[rows, hidden]);
        let mut word_embeddings = table(names.words, architecture.vocab_size)?;
        let mut positions = match architecture.positions {
            Positions::Table { rows, first } => {
                table(names.positions, rows)?.into_iter().skip(first * hidden).collect()
            }
            Positions::Rotary | Positions::Alibi => Vec::new(),
        };
        if architecture.type_vocab_size > 0 {
            let types = table(names.types, architecture.type_vocab_size)?;
            let rows = if positions.is_empty() { &mut word_embeddings } else { &mut positions };
            for row in rows.chunks_exact_mut(hidden) {
                row.iter_mut().zip(&types).for_each(|(x, of_type)| *x += of_type);
            }
        }
        let embedding_norm = reader.norm(names.embedding_norm)?;
        let layers = architecture.layers.iter().enumerate().map(|(index, parts)| reader.layer(index, *parts));
        Ok(Self {
            word_embeddings,
            positions,
            embedding_norm,
            layers: layers.collect::<Result<_, _>>()?,
            final_norm: architecture.pre_norm.then(|| reader.norm(names.final_norm)).transpose()?,
            relative_bias: match (architecture.relative, architecture.positions) {
                (Some(buckets), _) => Some(reader.relative_bias(buckets)?),
                (None, Positions::Alibi) => Some(RelativeBias::alibi(&architecture)),
                (None, _) => None,
            },
            pooling: Pooling::default(),
            keep: None,
            classifier: None,
            masked_lm: None,
            f32_layers: Vec::new(),
            sha256: [0; 32],
            architecture,
        })
    }

    /// The parts of the model.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }
}

/// Reads the tensors of a model by the names of its family.
struct Reader<'a> {
    architecture: &'a Architecture,
    tensors: &'a dyn TensorSource,
}

impl Reader<'_> {
    fn linear(&self, name: &str, outputs: usize, inputs: usize, bias: bool) -> Result<LinearWeights, String> {
        let weight = self.tensors.take(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias = if bias { self.tensors.take(&format!("{name}.bias"), &[outputs])? } else { vec![0.0; outputs] };
        Ok(LinearWeights { weight, bias, outputs, inputs })
    }

    fn norm(&self, name: &str) -> Result<NormWeights, String> {
        let width = self.architecture.hidden_size;
        let weight = self.tensors.take(&format!("{name}.weight"), &[width])?;
        let bias = self.architecture.biases.norms.then(|| self.tensors.take(&format!("{name}.bias"), &[width]));
        Ok(NormWeights { weight, bias: bias.unwrap_or_else(|| Ok(vec![0.0; width]))? })
    }

    fn layer(&self, index: usize, parts: LayerParts) -> Result<LayerWeights, String> {
        let Architecture { hidden_size: hidden, intermediate_size: wide, biases, names, .. } = *self.architecture;
        let at = |name: &str| format!("{}.{index}.{name}", names.layer);
        Ok(LayerWeights {
            qkv: self.qkv(&at)?,
            attention_output: self.linear(&at(names.attention_output), hidden, hidden, biases.attention_output)?,
            attention_norm: parts.attention_norm.then(|| self.norm(&at(names.attention_norm))).transpose()?,
            intermediate: self.intermediate(&at)?,
            output: self.linear(&at(names.output), hidden, wide, biases.output)?,
            output_norm: self.norm(&at(names.output_norm))?,
            parts,
        })
    }

    /// Queries, keys and values in one product, the query divided by the root of a head's width.
    fn qkv(&self, at: &dyn Fn(&str) -> String) -> Result<LinearWeights, String> {
        let (hidden, bias) = (self.architecture.hidden_size, self.architecture.biases.qkv);
        let mut qkv = match self.architecture.names.qkv {
            QkvNames::Together(name) => self.linear(&at(name), 3 * hidden, hidden, bias)?,
            QkvNames::Apart(names) => {
                let parts: Vec<LinearWeights> =
                    names.iter().map(|name| self.linear(&at(name), hidden, hidden, bias)).collect::<Result<_, _>>()?;
                joined(parts)
            }
        };
        let scale = 1.0 / (self.architecture.head_width() as f32).sqrt();
        let queries = qkv.weight.iter_mut().take(hidden * hidden).chain(qkv.bias.iter_mut().take(hidden));
        queries.for_each(|x| *x *= scale);
        Ok(qkv)
    }

    fn intermediate(&self, at: &dyn Fn(&str) -> String) -> Result<LinearWeights, String> {
        let Architecture { hidden_size: hidden, intermediate_size: wide, biases, names, .. } = *self.architecture;
        let linear = |name: &str, outputs| self.linear(&at(name), outputs, hidden, biases.intermediate);
        match names.feed_forward {
            FeedForwardNames::One(name) => linear(name, wide),
            FeedForwardNames::Apart(activated, factor) => {
                Ok(joined(vec![linear(activated, wide)?, linear(factor, wide)?]))
            }
            FeedForwardNames::Together(name, activated) => {
                let mut both = linear(name, 2 * wide)?;
                if activated == Halves::Second {
                    let (weights, biases) = (both.weight.len() / 2, both.bias.len() / 2);
                    both.weight.rotate_left(weights);
                    both.bias.rotate_left(biases);
                }
                Ok(both)
            }
        }
    }

    /// MPNet's bias of each distance, which is T5's: half of the buckets are for keys behind the query; of each half,
    /// the first half are for one distance each, and the others grow with the logarithm.
    fn relative_bias(&self, RelativeBuckets { count, max_distance }: RelativeBuckets) -> Result<RelativeBias, String> {
        let heads = self.architecture.num_attention_heads;
        let table = self.tensors.take("encoder.relative_attention_bias.weight", &[count, heads])?;
        let reach = self.architecture.max_sequence.saturating_sub(1);
        let half = count / 2;
        let bucket = |distance: usize| {
            let exact = (half / 2).max(1);
            if distance < exact {
                return distance;
            }
            let share = (distance as f32 / exact as f32).ln() / (max_distance as f32 / exact as f32).ln();
            (exact + (share * (half - exact) as f32) as usize).min(half.saturating_sub(1))
        };
        let places = (0..=2 * reach).map(|i| if i > reach { half + bucket(i - reach) } else { bucket(reach - i) });
        let places: Vec<usize> = places.collect();
        let of_head = |head| places.iter().filter_map(|place| table.get(place * heads + head).copied()).collect();
        let by_distance: Vec<Vec<f32>> = (0..heads).map(of_head).collect();
        Ok(RelativeBias { by_distance: by_distance.concat(), reach })
    }
}

/// Linear layers of the same inputs, one below the other.
fn joined(parts: Vec<LinearWeights>) -> LinearWeights {
    let mut all = LinearWeights { weight: Vec::new(), bias: Vec::new(), outputs: 0, inputs: 0 };
    for part in parts {
        all.weight.extend(part.weight);
        all.bias.extend(part.bias);
        (all.outputs, all.inputs) = (all.outputs + part.outputs, part.inputs);
    }
    all
}
