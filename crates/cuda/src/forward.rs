//! The forward pass of a BERT encoder on a GPU: packed sequences of token ids in; vectors, keep probabilities or
//! token states out.
//!
//! Per layer: a product for queries, keys and values; attention, which adds their bias; a product and
//! `residual_norm`, which adds the bias; a product and `bias_gelu`; a product and `residual_norm`. Products are
//! cuBLASLt's, 16-bit with f32 sums. A short sequence alone, which is what somebody waits for, is recorded once as a
//! graph for each length and played back: launching each kernel by itself would take longer than they do.

use crate::CudaError;
use crate::blas::{Blas, Shape};
use crate::gpu::Gpu;
use crate::launch::{self, Norm};
use crate::number::Number;
use crate::source::load;
use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaFunction, CudaGraph, CudaSlice, CudaStream, DeviceRepr};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Tokens of a sequence that is played back from a graph, at most.
const GRAPH_TOKENS: usize = 64;
/// Queries of a tile of attention: QUERIES of attention.cu.
const QUERIES: usize = 64;

/// A linear layer in the host's memory: `weight` is `[outputs, inputs]`, row after row.
#[derive(Clone, Copy, Debug)]
pub struct HostLinear<'a> {
    /// `[outputs, inputs]`.
    pub weight: &'a [f32],
    /// `[outputs]`.
    pub bias: &'a [f32],
}

/// Scale and shift of a LayerNorm in the host's memory, `[hidden]` each.
#[derive(Clone, Copy, Debug)]
pub struct HostNorm<'a> {
    /// Scale.
    pub gamma: &'a [f32],
    /// Shift.
    pub beta: &'a [f32],
}

/// One layer in the host's memory.
#[derive(Clone, Copy, Debug)]
pub struct HostLayer<'a> {
    /// `[3 · hidden, hidden]`: queries, already divided by the root of the head's width, keys and values.
    pub qkv: HostLinear<'a>,
    /// `[hidden, hidden]`.
    pub attention_output: HostLinear<'a>,
    /// After attention.
    pub attention_norm: HostNorm<'a>,
    /// `[intermediate, hidden]`.
    pub intermediate: HostLinear<'a>,
    /// `[hidden, intermediate]`.
    pub output: HostLinear<'a>,
    /// After the feed-forward half.
    pub output_norm: HostNorm<'a>,
}

/// The head that says how likely a token is to be kept.
#[derive(Clone, Copy, Debug)]
pub struct HostKeep<'a> {
    /// A layer before it, with GELU; `[width, hidden]`.
    pub inner: Option<HostLinear<'a>>,
    /// `[1, width]`: one logit.
    pub output: HostLinear<'a>,
}

/// A model in the host's memory.
#[derive(Clone, Debug)]
pub struct HostModel<'a> {
    /// Width of a token's state, a multiple of 64.
    pub hidden: usize,
    /// Attention heads, 32 or 64 wide.
    pub heads: usize,
    /// Width of the feed-forward layer.
    pub intermediate: usize,
    /// Added to the variance by LayerNorm.
    pub epsilon: f32,
    /// `[vocabulary, hidden]`.
    pub word_embeddings: &'a [f32],
    /// `[longest sequence, hidden]`, with the token type's embedding added.
    pub positions: &'a [f32],
    /// After the embeddings.
    pub embedding_norm: HostNorm<'a>,
    /// The layers.
    pub layers: Vec<HostLayer<'a>>,
    /// The keep head, if it has one.
    pub keep: Option<HostKeep<'a>>,
}

struct Linear<T> {
    weight: CudaSlice<T>,
    bias: CudaSlice<f32>,
    outputs: usize,
    inputs: usize,
}

struct Layer<T> {
    qkv: Linear<T>,
    attention_output: Linear<T>,
    attention_norm: Norm,
    intermediate: Linear<T>,
    output: Linear<T>,
    output_norm: Norm,
}

struct Keep<T> {
    inner: Option<Linear<T>>,
    weight: CudaSlice<f32>,
    bias: f32,
}

struct Functions {
    embed_norm: CudaFunction,
    residual_norm: CudaFunction,
    bias_gelu: CudaFunction,
    attention: CudaFunction,
    mean_pool: CudaFunction,
    keep: CudaFunction,
}

/// A model on a GPU; its weights are there once, for every [`Pass`].
pub struct Model<T> {
    gpu: Gpu,
    functions: Functions,
    hidden: usize,
    heads: usize,
    intermediate: usize,
    word_embeddings: CudaSlice<T>,
    positions: CudaSlice<T>,
    embedding_norm: Norm,
    layers: Vec<Layer<T>>,
    keep: Option<Keep<T>>,
    vocabulary: usize,
    longest: usize,
}

/// Puts weights on a GPU.
struct Upload<'a> {
    stream: &'a Arc<CudaStream>,
    epsilon: f32,
}

impl Upload<'_> {
    fn numbers<T: Number>(&self, x: &[f32]) -> Result<CudaSlice<T>, CudaError> {
        Ok(self.stream.clone_htod(&x.iter().map(|x| T::from_f32(*x)).collect::<Vec<T>>())?)
    }

    fn floats(&self, x: &[f32]) -> Result<CudaSlice<f32>, CudaError> {
        Ok(self.stream.clone_htod(x)?)
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

impl<T: Number> Model<T> {
    /// Compiles the kernels for a model's shape and puts its weights on the GPU. Compiled kernels are kept in `cache`.
    pub fn upload(gpu: &Gpu, host: &HostModel, cache: Option<&Path>) -> Result<Arc<Self>, CudaError> {
        let head = host.hidden.checked_div(host.heads).unwrap_or(0);
        let is_known = host.hidden.is_multiple_of(64) && (head == 32 || head == 64) && head * host.heads == host.hidden;
        if !is_known || !host.intermediate.is_multiple_of(2) {
            let shape = format!("{} heads over a hidden size of {}", host.heads, host.hidden);
            return Err(CudaError::Shape(format!("{shape}: the kernels know heads of 32 and 64 and multiples of 64")));
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
            Ok(Layer {
                qkv: upload.linear(layer.qkv)?,
                attention_output: upload.linear(layer.attention_output)?,
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

/// Packed sequences, and what is wanted of them.
#[derive(Debug, Default)]
pub struct Request<'a> {
    /// Token ids of all sequences.
    pub ids: &'a [u32],
    /// Position of each token in its sequence.
    pub positions: &'a [u32],
    /// Sequence s is `ids[offsets[s]..offsets[s + 1]]`.
    pub offsets: &'a [u32],
    /// `[sequences, hidden]`: the mean of each sequence's token states.
    pub vectors: Option<&'a mut [f32]>,
    /// Whether vectors get unit length.
    pub normalize: bool,
    /// `[tokens]`: how likely each token is to be kept.
    pub keep: Option<&'a mut [f32]>,
    /// `[tokens, hidden]`: the states of the last layer.
    pub states: Option<&'a mut [f32]>,
}

/// A recorded pass.
struct Recorded(CudaGraph);

// SAFETY: a graph may be used by one thread at a time; it is owned by a pass, which takes `&mut self` to use it.
unsafe impl Send for Recorded {}

/// Memory on the GPU that a pass works in, sized for so many tokens and sequences.
struct Work<T> {
    tokens: usize,
    sequences: usize,
    ids: CudaSlice<u32>,
    positions: CudaSlice<u32>,
    offsets: CudaSlice<u32>,
    tiles: CudaSlice<u32>,
    states: CudaSlice<T>,
    qkv: CudaSlice<T>,
    mixed: CudaSlice<T>,
    update: CudaSlice<T>,
    wide: CudaSlice<T>,
    vectors: CudaSlice<f32>,
    kept: CudaSlice<f32>,
}

/// One thread's use of a model: a stream, and memory that is used again from batch to batch.
pub struct Pass<T> {
    model: Arc<Model<T>>,
    stream: Arc<CudaStream>,
    blas: Blas,
    work: Option<Work<T>>,
    /// By tokens of a sequence alone, and whether its vector gets unit length.
    graphs: HashMap<(usize, bool), Recorded>,
}

impl<T: Number> Pass<T> {
    /// A stream of its own.
    pub fn new(model: &Arc<Model<T>>) -> Result<Self, CudaError> {
        let stream = model.gpu.context.new_stream()?;
        let blas = Blas::new(&stream, model.gpu.capability())?;
        Ok(Self { model: model.clone(), stream, blas, work: None, graphs: HashMap::new() })
    }

    /// Encodes packed sequences. With the GPU's memory full nothing was computed, and fewer sequences may still fit.
    pub fn run(&mut self, request: Request) -> Result<(), CudaError> {
        self.compute(request).map_err(|error| {
            // What was begun ends before its buffers do. If it cannot, the card is lost, whatever was said before.
            match self.stream.synchronize().map_err(CudaError::from) {
                Err(lost @ CudaError::Lost(_)) => lost,
                _ => error,
            }
        })
    }

    fn compute(&mut self, request: Request) -> Result<(), CudaError> {
        let Request { ids, positions, offsets, vectors, normalize, keep, states } = request;
        let (tokens, sequences) = (ids.len(), offsets.len().saturating_sub(1));
        if tokens == 0 {
            return Ok(());
        }
        self.check(ids, positions, offsets)?;
        let tiles = tiles(offsets);
        self.ensure_capacity(tokens, sequences)?;
        let Some(work) = &mut self.work else { return Ok(()) };
        self.stream.memcpy_htod(ids, &mut work.ids)?;
        self.stream.memcpy_htod(positions, &mut work.positions)?;
        self.stream.memcpy_htod(offsets, &mut work.offsets)?;
        self.stream.memcpy_htod(&tiles, &mut work.tiles)?;
        let on_stream = OnStream { model: &self.model, stream: &self.stream, blas: &self.blas };
        if sequences == 1 && tokens <= GRAPH_TOKENS && keep.is_none() && states.is_none() {
            let graph = match self.graphs.entry((tokens, normalize)) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(new) => {
                    // The first time runs by itself: libraries load what they need, which cannot be recorded.
                    on_stream.forward(work, tokens, tiles.len() / 2)?;
                    on_stream.pool(work, sequences, normalize)?;
                    self.stream.synchronize()?;
                    self.stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)?;
                    let recorded = on_stream
                        .forward(work, tokens, tiles.len() / 2)
                        .and_then(|()| on_stream.pool(work, sequences, normalize));
                    let flags = CUgraphInstantiate_flags(0);
                    let graph = self.stream.end_capture(flags)?;
                    recorded?;
                    new.insert(Recorded(graph.ok_or_else(|| CudaError::Driver("an empty graph".into()))?))
                }
            };
            graph.0.launch()?;
        } else {
            on_stream.forward(work, tokens, tiles.len() / 2)?;
            if vectors.is_some() {
                on_stream.pool(work, sequences, normalize)?;
            }
        }
        let hidden = self.model.hidden;
        if let Some(vectors) = vectors {
            let from = work.vectors.slice(..sequences * hidden);
            self.stream.memcpy_dtoh(&from, &mut vectors[..sequences * hidden])?;
        }
        if let Some(keep) = keep {
            on_stream.keep(work, tokens)?;
            self.stream.memcpy_dtoh(&work.kept.slice(..tokens), &mut keep[..tokens])?;
        }
        if let Some(states) = states {
            let narrow = self.stream.clone_dtoh(&work.states.slice(..tokens * hidden))?;
            self.stream.synchronize()?;
            states.iter_mut().zip(narrow).for_each(|(wide, x)| *wide = x.to_f32());
        }
        Ok(self.stream.synchronize()?)
    }

    /// The kernels trust what they are given.
    fn check(&self, ids: &[u32], positions: &[u32], offsets: &[u32]) -> Result<(), CudaError> {
        let is_rising = offsets.first() == Some(&0) && offsets.windows(2).all(|o| o[0] < o[1]);
        let is_whole = offsets.last().is_some_and(|end| *end as usize == ids.len()) && positions.len() == ids.len();
        let is_known = ids.iter().all(|id| (*id as usize) < self.model.vocabulary)
            && positions.iter().all(|position| (*position as usize) < self.model.longest);
        match is_rising && is_whole && is_known {
            true => Ok(()),
            false => {
                Err(CudaError::Shape("token ids, positions and offsets do not fit the model or each other".into()))
            }
        }
    }

    fn ensure_capacity(&mut self, tokens: usize, sequences: usize) -> Result<(), CudaError> {
        if self.work.as_ref().is_some_and(|w| w.tokens >= tokens && w.sequences >= sequences) {
            return Ok(());
        }
        let known = self.work.as_ref().map_or((0, 0), |w| (w.tokens, w.sequences));
        // What was recorded names the memory that goes.
        self.graphs.clear();
        self.work = None;
        let (tokens, sequences) = (tokens.next_power_of_two().max(known.0), sequences.next_power_of_two().max(known.1));
        let (model, stream) = (&self.model, &self.stream);
        let wide = model.intermediate.max(model.keep.as_ref().map_or(0, |keep| keep.weight.len()));
        self.work = Some(Work {
            tokens,
            sequences,
            ids: allocate(stream, tokens)?,
            positions: allocate(stream, tokens)?,
            offsets: allocate(stream, sequences + 1)?,
            // Each sequence has a tile that is not full, at most.
            tiles: allocate(stream, 2 * (tokens / QUERIES + sequences))?,
            states: allocate(stream, tokens * model.hidden)?,
            qkv: allocate(stream, tokens * 3 * model.hidden)?,
            mixed: allocate(stream, tokens * model.hidden)?,
            update: allocate(stream, tokens * model.hidden)?,
            wide: allocate(stream, tokens * wide)?,
            vectors: allocate(stream, sequences * model.hidden)?,
            kept: allocate(stream, tokens)?,
        });
        Ok(())
    }
}

fn allocate<N: DeviceRepr>(stream: &Arc<CudaStream>, count: usize) -> Result<CudaSlice<N>, CudaError> {
    // SAFETY: every kernel and copy writes what is read after it.
    Ok(unsafe { stream.alloc(count)? })
}

/// What attention's blocks work on: a sequence, and the first of the queries.
pub(crate) fn tiles(offsets: &[u32]) -> Vec<u32> {
    let lengths = offsets.windows(2).map(|o| o[1] - o[0]).enumerate();
    lengths.flat_map(|(s, length)| (0..length).step_by(QUERIES).flat_map(move |first| [s as u32, first])).collect()
}

/// The steps of a pass.
struct OnStream<'a, T> {
    model: &'a Model<T>,
    stream: &'a Arc<CudaStream>,
    blas: &'a Blas,
}

impl<T: Number> OnStream<'_, T> {
    fn forward(&self, w: &mut Work<T>, tokens: usize, tiles: usize) -> Result<(), CudaError> {
        let (model, f, stream) = (self.model, &self.model.functions, self.stream);
        let (word_embeddings, places) = ((&w.ids, &model.word_embeddings), (&w.positions, &model.positions));
        launch::embed_norm(
            stream,
            &f.embed_norm,
            word_embeddings,
            places,
            &model.embedding_norm,
            &mut w.states,
            tokens,
        )?;
        for layer in &model.layers {
            let Layer { qkv, attention_output, intermediate, output, .. } = layer;
            self.product(qkv, tokens, &w.states, &mut w.qkv)?;
            let packed = (&w.qkv, &qkv.bias);
            launch::attention(stream, &f.attention, packed, &w.offsets, (&w.tiles, tiles), model.heads, &mut w.mixed)?;
            self.product(attention_output, tokens, &w.mixed, &mut w.update)?;
            let update = (&w.update, &attention_output.bias);
            launch::residual_norm(stream, &f.residual_norm, &mut w.states, update, &layer.attention_norm, tokens)?;
            self.product(intermediate, tokens, &w.states, &mut w.wide)?;
            launch::bias_gelu(stream, &f.bias_gelu, &mut w.wide, &intermediate.bias, tokens)?;
            self.product(output, tokens, &w.wide, &mut w.update)?;
            let update = (&w.update, &output.bias);
            launch::residual_norm(stream, &f.residual_norm, &mut w.states, update, &layer.output_norm, tokens)?;
        }
        Ok(())
    }

    /// `out = x · weightᵀ`, without the bias.
    fn product(
        &self,
        linear: &Linear<T>,
        tokens: usize,
        x: &CudaSlice<T>,
        out: &mut CudaSlice<T>,
    ) -> Result<(), CudaError> {
        let shape = Shape { rows: tokens, inputs: linear.inputs, outputs: linear.outputs };
        self.blas.product(shape, &linear.weight, x, out)
    }

    fn pool(&self, w: &mut Work<T>, sequences: usize, normalize: bool) -> Result<(), CudaError> {
        let (function, shape) = (&self.model.functions.mean_pool, (sequences, self.model.hidden));
        launch::mean_pool(self.stream, function, &w.states, &w.offsets, &mut w.vectors, shape, normalize)
    }

    fn keep(&self, w: &mut Work<T>, tokens: usize) -> Result<(), CudaError> {
        let Some(head) = &self.model.keep else { return Err(CudaError::Shape("the model has no keep head".into())) };
        if let Some(inner) = &head.inner {
            self.product(inner, tokens, &w.states, &mut w.wide)?;
            launch::bias_gelu(self.stream, &self.model.functions.bias_gelu, &mut w.wide, &inner.bias, tokens)?;
        }
        let states = if head.inner.is_some() { &w.wide } else { &w.states };
        let output = (&head.weight, head.bias);
        launch::keep(self.stream, &self.model.functions.keep, states, output, &mut w.kept, tokens)
    }
}
