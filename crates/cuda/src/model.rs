//! A model on a GPU.

use crate::CudaError;
use crate::gpu::Gpu;
use crate::host::{HostKeep, HostLayer, HostLinear, HostModel, HostNorm};
use crate::launch::Norm;
use crate::number::Number;
use crate::source::load;
use cudarc::driver::{CudaFunction, CudaSlice, CudaStream};
use std::path::Path;
use std::sync::Arc;

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
    /// `[hidden]`. The kernel says where those of the keys and values are.
    pub query_bias: CudaSlice<f32>,
    pub attention_output: Linear<T>,
    pub attention_norm: Norm,
    pub intermediate: Linear<T>,
    pub output: Linear<T>,
    pub output_norm: Norm,
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
    pub bias_gelu: CudaFunction,
    pub attention: CudaFunction,
    pub mean_pool: CudaFunction,
    pub keep: CudaFunction,
}

/// A model on a GPU; its weights are there once, for every [`Pass`](crate::Pass).
pub struct Model<T> {
    pub(crate) gpu: Gpu,
    pub(crate) functions: Functions,
    pub(crate) hidden: usize,
    pub(crate) heads: usize,
    pub(crate) intermediate: usize,
    pub(crate) word_embeddings: CudaSlice<T>,
    pub(crate) positions: CudaSlice<T>,
    pub(crate) embedding_norm: Norm,
    pub(crate) layers: Vec<Layer<T>>,
    pub(crate) keep: Option<Keep<T>>,
    pub(crate) vocabulary: usize,
    pub(crate) longest: usize,
}

/// Puts weights on a GPU.
struct Upload<'a> {
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

    fn linear<T: Number>(&self, linear: HostLinear) -> Result<Linear<T>, CudaError> {
        let outputs = linear.bias.len();
        let inputs = linear.weight.len().checked_div(outputs).unwrap_or(0);
        if inputs * outputs != linear.weight.len() {
            return Err(CudaError::Shape(format!("a weight of {} for {outputs} outputs", linear.weight.len())));
        }
        Ok(Linear { weight: self.numbers(linear.weight)?, bias: self.floats(linear.bias)?, outputs, inputs })
    }

    fn norm(&self, norm: HostNorm) -> Result<Norm, CudaError> {
        Ok(Norm { gamma: self.floats(norm.gamma)?, beta: self.floats(norm.beta)?, epsilon: self.epsilon })
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
        let half = T::HALF;
        let norm = load(gpu, "norm", half, &[("HIDDEN", host.hidden)], cache)?;
        let gelu = load(gpu, "gelu", half, &[], cache)?;
        let heads = load(gpu, "heads", half, &[], cache)?;
        let attention = load(gpu, "attention", half, &[("HIDDEN", host.hidden), ("HEAD", head)], cache)?;
        let functions = Functions {
            embed_norm: norm.load_function("embed_norm")?,
            residual_norm: norm.load_function("residual_norm")?,
            bias_gelu: gelu.load_function("bias_gelu")?,
            attention: attention.load_function("attention")?,
            mean_pool: heads.load_function("mean_pool")?,
            keep: heads.load_function("keep")?,
        };
        let stream = gpu.context.new_stream()?;
        let upload = Upload { stream: &stream, epsilon: host.epsilon };
        let layer = |layer: &HostLayer| -> Result<Layer<T>, CudaError> {
            let [of_queries, _, of_values] = *layer.qkv.bias.chunks(host.hidden).collect::<Vec<_>>() else {
                return Err(CudaError::Shape(format!(
                    "a bias of {} for queries, keys and values",
                    layer.qkv.bias.len()
                )));
            };
            let output_bias = through(layer.attention_output, of_values);
            Ok(Layer {
                qkv: upload.linear(layer.qkv)?,
                query_bias: upload.floats(of_queries)?,
                attention_output: upload.linear(HostLinear { bias: &output_bias, ..layer.attention_output })?,
                attention_norm: upload.norm(layer.attention_norm)?,
                intermediate: upload.linear(layer.intermediate)?,
                output: upload.linear(layer.output)?,
                output_norm: upload.norm(layer.output_norm)?,
            })
        };
        let keep = |keep: HostKeep| -> Result<Keep<T>, CudaError> {
            Ok(Keep {
                inner: keep.inner.map(|inner| upload.linear(inner)).transpose()?,
                weight: upload.floats(keep.output.weight)?,
                bias: keep.output.bias.first().copied().unwrap_or(0.0),
            })
        };
        let model = Self {
            functions,
            hidden: host.hidden,
            heads: host.heads,
            intermediate: host.intermediate,
            word_embeddings: upload.numbers(host.word_embeddings)?,
            positions: upload.numbers(host.positions)?,
            embedding_norm: upload.norm(host.embedding_norm)?,
            layers: host.layers.iter().map(layer).collect::<Result<_, _>>()?,
            keep: host.keep.map(keep).transpose()?,
            vocabulary: host.word_embeddings.len() / host.hidden,
            longest: host.positions.len() / host.hidden,
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
