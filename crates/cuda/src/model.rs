//! A model on a GPU.

use crate::CudaError;
use crate::gpu::Gpu;
use crate::host::{HostActivation, HostKeep, HostLayer, HostLinear, HostModel, HostNorm, HostRelative};
use crate::launch::Norm;
use crate::masked_lm::MaskedLm;
use crate::number::{Half, Number};
use crate::source::load;
use cudarc::driver::{CudaFunction, CudaSlice, CudaStream};
use std::path::Path;
use std::sync::Arc;

/// What no window need exceed: no sequence is as long.
const MAX_WINDOW: usize = 1 << 24;

/// A linear layer on a GPU.
pub(crate) struct Linear<T> {
    pub weight: CudaSlice<T>,
    pub bias: CudaSlice<f32>,
    pub outputs: usize,
    pub inputs: usize,
}

/// One layer on a GPU.
pub(crate) struct Layer<T> {
    pub qkv: Linear<T>,
    /// `[hidden]`. The kernel says where those of the keys and values are. Noughts where queries are turned: they have
    /// theirs by then.
    pub query_bias: CudaSlice<f32>,
    pub rotary: Option<Rotary>,
    pub attention_output: Linear<T>,
    /// After attention; before it where norms stand before, where the first layer has none.
    pub attention_norm: Option<Norm>,
    pub intermediate: Linear<T>,
    pub output: Linear<T>,
    pub output_norm: Norm,
    pub window: Option<u32>,
}

/// What turns the queries and keys of a layer.
pub(crate) struct Rotary {
    /// `[2 · hidden]`, of queries and keys.
    pub bias: CudaSlice<f32>,
    /// Which of the model's angles.
    pub angles: usize,
}

/// The keep head on a GPU.
pub(crate) struct Keep<T> {
    pub inner: Option<Linear<T>>,
    pub weight: CudaSlice<f32>,
    pub bias: f32,
}

/// The kernels of a pass.
pub(crate) struct Functions {
    pub embed_norm: CudaFunction,
    pub residual_norm: CudaFunction,
    /// None where norms stand after each half of a layer.
    pub add_norm: Option<CudaFunction>,
    /// Of the keep head.
    pub bias_gelu: CudaFunction,
    /// `bias_gelu` or `bias_gated` of the feed-forward layers.
    pub activation: CudaFunction,
    /// None where no layer turns its queries and keys.
    pub rotate: Option<CudaFunction>,
    pub attention: CudaFunction,
    /// None where no layer has a window.
    pub local_attention: Option<CudaFunction>,
    pub mean_pool: CudaFunction,
    pub keep: CudaFunction,
}

impl Functions {
    fn load(gpu: &Gpu, host: &HostModel, half: Half, cache: Option<&Path>) -> Result<Self, CudaError> {
        let (shape, of_hidden) =
            ([("HIDDEN", host.hidden), ("HEAD", host.hidden / host.heads)], ("HIDDEN", host.hidden));
        let is_pre_norm = host.final_norm.is_some();
        let norms = [(host.positions.is_empty(), ("NO_PLACES", 1)), (is_pre_norm, ("PRE_NORM", 1))];
        let norms: Vec<_> = std::iter::once((true, of_hidden)).chain(norms).filter(|n| n.0).map(|n| n.1).collect();
        let norm = load(gpu, "norm", half, &norms, cache)?;
        let bias_gelu = load(gpu, "gelu", half, &[], cache)?.load_function("bias_gelu")?;
        let kind = ("ACTIVATION", host.activation as usize);
        let activation = match (host.gated, host.activation) {
            (true, _) => load(gpu, "gelu", half, &[kind, ("GATED", 1)], cache)?.load_function("bias_gated")?,
            (false, HostActivation::Gelu) => bias_gelu.clone(),
            (false, _) => load(gpu, "gelu", half, &[kind], cache)?.load_function("bias_gelu")?,
        };
        let heads = load(gpu, "heads", half, &[], cache)?;
        let rotate = || load(gpu, "rotary", half, &shape, cache)?.load_function("rotate").map_err(CudaError::from);
        let relative: &[_] = if host.relative.is_some() { &[("RELATIVE", 1)] } else { &[] };
        let attention = |defines: &[_]| -> Result<CudaFunction, CudaError> {
            Ok(load(gpu, "attention", half, &[&shape, defines, relative].concat(), cache)?
                .load_function("attention")?)
        };
        let is_local = host.layers.iter().any(|layer| layer.window.is_some());
        Ok(Self {
            embed_norm: norm.load_function("embed_norm")?,
            residual_norm: norm.load_function("residual_norm")?,
            add_norm: is_pre_norm.then(|| norm.load_function("add_norm")).transpose()?,
            bias_gelu,
            activation,
            rotate: (!host.angles.is_empty()).then(rotate).transpose()?,
            attention: attention(&[])?,
            local_attention: is_local.then(|| attention(&[("LOCAL", 1)])).transpose()?,
            mean_pool: heads.load_function("mean_pool")?,
            keep: heads.load_function("keep")?,
        })
    }
}

/// A model on a GPU; its weights are there once, for every [`Pass`](crate::Pass).
pub struct Model<T> {
    pub(crate) gpu: Gpu,
    pub(crate) functions: Functions,
    pub(crate) hidden: usize,
    pub(crate) heads: usize,
    /// Numbers of a token between the products of a feed-forward layer, before what is gated is halved.
    pub(crate) wide: usize,
    pub(crate) gated: bool,
    pub(crate) word_embeddings: CudaSlice<T>,
    /// None where positions are none of a table.
    pub(crate) positions: Option<CudaSlice<T>>,
    pub(crate) angles: Vec<CudaSlice<f32>>,
    pub(crate) embedding_norm: Norm,
    pub(crate) layers: Vec<Layer<T>>,
    pub(crate) final_norm: Option<Norm>,
    /// Numbers by distance in powers of two, and how far they reach.
    pub(crate) relative: Option<(CudaSlice<f32>, u32)>,
    pub(crate) keep: Option<Keep<T>>,
    pub(crate) masked_lm: Option<MaskedLm<T>>,
    pub(crate) vocabulary: usize,
    pub(crate) longest: usize,
}

/// Puts weights on a GPU.
pub(crate) struct Upload<'a> {
    stream: &'a Arc<CudaStream>,
    epsilon: f32,
}

impl Upload<'_> {
    fn numbers<T: Number>(&self, x: &[f32]) -> Result<CudaSlice<T>, CudaError> {
        let narrow: Vec<T> = x.iter().map(|x| T::from_f32(*x)).collect();
        let on_gpu = self.stream.clone_htod(&narrow)?;
        // Where a GPU reads the host's pages by itself, a copy may still be on its way.
        self.stream.synchronize()?;
        Ok(on_gpu)
    }

    fn floats(&self, x: &[f32]) -> Result<CudaSlice<f32>, CudaError> {
        let on_gpu = self.stream.clone_htod(x)?;
        self.stream.synchronize()?;
        Ok(on_gpu)
    }

    pub fn linear<T: Number>(&self, linear: HostLinear) -> Result<Linear<T>, CudaError> {
        let outputs = linear.bias.len();
        let inputs = linear.weight.len().checked_div(outputs).unwrap_or(0);
        if inputs * outputs != linear.weight.len() {
            return Err(CudaError::Shape(format!("a weight of {} for {outputs} outputs", linear.weight.len())));
        }
        Ok(Linear { weight: self.numbers(linear.weight)?, bias: self.floats(linear.bias)?, outputs, inputs })
    }

    pub fn norm(&self, norm: HostNorm) -> Result<Norm, CudaError> {
        Ok(Norm { gamma: self.floats(norm.gamma)?, beta: self.floats(norm.beta)?, epsilon: self.epsilon })
    }

    fn relative(&self, relative: HostRelative) -> Result<(CudaSlice<f32>, u32), CudaError> {
        // As scores are: the kernel knows powers of two.
        let scaled: Vec<f32> = relative.by_distance.iter().map(|x| x * std::f32::consts::LOG2_E).collect();
        Ok((self.floats(&scaled)?, relative.reach as u32))
    }

    fn layer<T: Number>(&self, layer: &HostLayer, hidden: usize) -> Result<Layer<T>, CudaError> {
        let [of_queries, of_keys, of_values] = *layer.qkv.bias.chunks(hidden).collect::<Vec<_>>() else {
            return Err(CudaError::Shape(format!("a bias of {} for queries, keys and values", layer.qkv.bias.len())));
        };
        let rotary = |angles| -> Result<Rotary, CudaError> {
            Ok(Rotary { bias: self.floats(&[of_queries, of_keys].concat())?, angles })
        };
        let rotary = layer.angles.map(rotary).transpose()?;
        let noughts = vec![0.0; hidden];
        let output_bias = through(layer.attention_output, of_values);
        Ok(Layer {
            qkv: self.linear(layer.qkv)?,
            query_bias: self.floats(if rotary.is_some() { &noughts } else { of_queries })?,
            rotary,
            attention_output: self.linear(HostLinear { bias: &output_bias, ..layer.attention_output })?,
            attention_norm: layer.attention_norm.map(|norm| self.norm(norm)).transpose()?,
            intermediate: self.linear(layer.intermediate)?,
            output: self.linear(layer.output)?,
            output_norm: self.norm(layer.output_norm)?,
            window: layer.window.map(|window| window.min(MAX_WINDOW) as u32),
        })
    }
}

/// Positions below which those of a sequence must be.
fn longest(host: &HostModel) -> usize {
    if host.positions.is_empty() { host.longest } else { host.positions.len() / host.hidden }
}

/// Numbers of a token between the products of a feed-forward layer, before what is gated is halved.
fn wide(host: &HostModel) -> usize {
    if host.gated { 2 * host.intermediate } else { host.intermediate }
}

/// What the kernels know, and what fits together.
fn check_shape(host: &HostModel) -> Result<(), CudaError> {
    let head = host.hidden.checked_div(host.heads).unwrap_or(0);
    let is_known = host.hidden.is_multiple_of(64) && (head == 32 || head == 64) && head * host.heads == host.hidden;
    if !is_known {
        let shape = format!("{} heads over a hidden size of {}", host.heads, host.hidden);
        return Err(CudaError::Shape(format!("{shape}: the kernels know heads of 32 and 64 and multiples of 64")));
    }
    let inner = host.keep.and_then(|keep| keep.inner).map(|inner| inner.bias.len());
    if let Some(width) = inner.into_iter().chain([host.intermediate]).find(|width| !width.is_multiple_of(8)) {
        let known = "the kernels know multiples of 8";
        return Err(CudaError::Shape(format!("feed-forward layers {width} wide: {known}")));
    }
    let (wide, angles) = (wide(host), longest(host) * head);
    let fits = host.layers.iter().enumerate().all(|(index, layer)| {
        // Where norms stand before, what enters the first layer has just been normed.
        let has_norm = host.final_norm.is_none() || index > 0;
        let is_whole = layer.intermediate.bias.len() == wide && layer.attention_norm.is_some() == has_norm;
        is_whole && layer.angles.is_none_or(|set| set < host.angles.len())
    });
    let is_known = |r: HostRelative| r.reach < MAX_WINDOW && r.by_distance.len() == host.heads * (2 * r.reach + 1);
    match fits && host.angles.iter().all(|set| set.len() == angles) && host.relative.is_none_or(is_known) {
        true => Ok(()),
        false => Err(CudaError::Shape("the layers, or what says positions, are not those of the model".into())),
    }
}

/// The bias of a product whose input lacks a bias: `weight · input_bias + bias`.
fn through(linear: HostLinear, input_bias: &[f32]) -> Vec<f32> {
    let rows = linear.weight.chunks_exact(input_bias.len().max(1)).zip(linear.bias);
    rows.map(|(row, bias)| bias + row.iter().zip(input_bias).map(|(w, b)| w * b).sum::<f32>()).collect()
}

impl<T: Number> Model<T> {
    /// Compiles the kernels for a model's shape and puts its weights on the GPU. Compiled kernels are kept in `cache`.
    pub fn upload(gpu: &Gpu, host: &HostModel, cache: Option<&Path>) -> Result<Arc<Self>, CudaError> {
        check_shape(host)?;
        let functions = Functions::load(gpu, host, T::HALF, cache)?;
        let stream = gpu.context.new_stream()?;
        let upload = Upload { stream: &stream, epsilon: host.epsilon };
        let keep = |keep: HostKeep| -> Result<Keep<T>, CudaError> {
            Ok(Keep {
                inner: keep.inner.map(|inner| upload.linear(inner)).transpose()?,
                weight: upload.floats(keep.output.weight)?,
                bias: keep.output.bias.first().copied().unwrap_or(0.0),
            })
        };
        let masked_lm = |head| MaskedLm::upload(&upload, gpu, &head, host.hidden, cache);
        let model = Self {
            functions,
            hidden: host.hidden,
            heads: host.heads,
            wide: wide(host),
            gated: host.gated,
            word_embeddings: upload.numbers(host.word_embeddings)?,
            positions: (!host.positions.is_empty()).then(|| upload.numbers(host.positions)).transpose()?,
            angles: host.angles.iter().map(|angles| upload.floats(angles)).collect::<Result<_, _>>()?,
            embedding_norm: upload.norm(host.embedding_norm)?,
            layers: host.layers.iter().map(|layer| upload.layer(layer, host.hidden)).collect::<Result<_, _>>()?,
            relative: host.relative.map(|relative| upload.relative(relative)).transpose()?,
            final_norm: host.final_norm.map(|norm| upload.norm(norm)).transpose()?,
            keep: host.keep.map(keep).transpose()?,
            masked_lm: host.masked_lm.map(masked_lm).transpose()?,
            vocabulary: host.word_embeddings.len() / host.hidden,
            longest: longest(host),
            gpu: gpu.clone(),
        };
        // Other streams read the weights from now on.
        stream.synchronize()?;
        Ok(Arc::new(model))
    }

    /// The GPU that it is on.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }
}
