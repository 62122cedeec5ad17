//! The CPU engine: the forward pass over packed sequences, in f32 or int8.
//!
//! It computes every [`Architecture`] by the same operations: its weights say which of them.
//!
//! A pass runs on one thread, and the scheduler runs one a core; a query that comes while other cores are idle is
//! split by rows over a small team of threads. The scratch memory is reused from pass to pass. The feed-forward layer
//! is worked off in chunks of so many tokens that its wide activations stay in the L2 cache.

mod attention;
pub mod gemm;
pub mod isa;
mod math;
mod mixed;
mod padding;
pub(crate) mod rotary;
mod rows;
mod simd;

use crate::Architecture;
use crate::architecture::{Activation, LayerParts};
use crate::engine::{Engine, Outputs, PackedBatch, Precision, Session};
use crate::pooling::Pooling;
use crate::splade::{SparseHead, SparseScratch};
use crate::weights::{EncoderWeights, LayerWeights, LinearWeights, NormWeights};
pub(crate) use gemm::{PackedF32, QuantizedRows};
pub(crate) use isa::Isa;
pub(crate) use mixed::MixedEngine;
pub(crate) use rows::{activate, norm, unit_projections};

use attention::{AttentionScratch, Reach};
use gemm::PackedI8;
use padding::{Widths, pad};
use rotary::Angles;
use std::sync::Arc;

/// Tokens worked off together, a multiple of 12, the height of a tile of the matrix products. MiniLM's wide
/// activations of so many, 576 KiB, stay within a core's L2 cache; of XLM-R large, whose weights do not fit any
/// cache, 36 at a time take a tenth longer, and 192 make a query wait twice as long for 4 % of throughput.
const CHUNK: usize = 96;

/// Rows that a thread of the team works on at least: fewer would read the weights for too little work.
const MIN_ROWS_OF_PART: usize = 4;
/// Threads that share a single query: more read the same weights for ever fewer rows.
const MAX_TEAM: usize = 4;

/// A linear layer in the engine's precision.
pub(crate) enum Linear {
    F32(PackedF32),
    Int8(PackedI8),
}

impl Linear {
    pub fn new(l: &LinearWeights, precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32(PackedF32::new(&l.weight, &l.bias, l.outputs, l.inputs)),
            Precision::Int8 => Self::Int8(PackedI8::new(&l.weight, &l.bias, l.outputs, l.inputs)),
        }
    }

    pub fn columns(&self) -> usize {
        match self {
            Self::F32(p) => p.columns(),
            Self::Int8(p) => p.columns(),
        }
    }

    /// `out = x · w + bias` for rows of `width`.
    pub fn forward(&self, isa: Isa, x: &[f32], width: usize, quantized: &mut QuantizedRows, out: &mut [f32]) {
        match self {
            Self::F32(p) => p.multiply(isa, x, out),
            Self::Int8(p) => {
                rows::quantize(isa, x, width, quantized);
                p.multiply(isa, quantized, out);
            }
        }
    }
}

struct Layer {
    qkv: Linear,
    attention_output: Linear,
    attention_norm: Option<NormWeights>,
    intermediate: Linear,
    output: Linear,
    output_norm: NormWeights,
    parts: LayerParts,
}

impl Layer {
    fn new(weights: LayerWeights, precision: Precision) -> Self {
        Self {
            qkv: Linear::new(&weights.qkv, precision),
            attention_output: Linear::new(&weights.attention_output, precision),
            attention_norm: weights.attention_norm,
            intermediate: Linear::new(&weights.intermediate, precision),
            output: Linear::new(&weights.output, precision),
            output_norm: weights.output_norm,
            parts: weights.parts,
        }
    }
}

/// The keep head, always in f32: it costs next to nothing.
struct Keep {
    inner: Option<PackedF32>,
    output: LinearWeights,
}

/// An encoder on the CPU.
pub struct CpuEngine {
    isa: Isa,
    precision: Precision,
    weights: EncoderWeights,
    widths: Widths,
    layers: Vec<Layer>,
    /// Of each set of frequencies that layers turn queries and keys by.
    angles: Vec<Angles>,
    keep: Option<Keep>,
    sparse: Option<SparseHead>,
    /// For single queries; none on a single core.
    team: Option<rayon::ThreadPool>,
}

impl CpuEngine {
    /// Packs the weights for the best instructions of this CPU.
    pub fn new(weights: EncoderWeights, precision: Precision) -> Self {
        Self::with_isa(weights, precision, Isa::detect())
    }

    /// As [`CpuEngine::new`], at a given instruction level.
    pub fn with_isa(mut weights: EncoderWeights, precision: Precision, isa: Isa) -> Self {
        let sparse = weights.masked_lm.take().map(|head| SparseHead::new(head, precision));
        let (mut weights, widths) = pad(weights);
        let precision_of = |layer: usize| match weights.f32_layers.contains(&layer) {
            true => Precision::F32,
            false => precision,
        };
        let precisions: Vec<Precision> = (0..weights.layers.len()).map(precision_of).collect();
        let layers = std::mem::take(&mut weights.layers).into_iter().zip(precisions);
        let layers = layers.map(|(layer, precision)| Layer::new(layer, precision)).collect();
        let Architecture { max_sequence, rotary, .. } = &weights.architecture;
        let angles = rotary.iter().map(|frequencies| Angles::new(frequencies, *max_sequence)).collect();
        let keep = weights.keep.take().map(|head| Keep {
            inner: head.inner.map(|l| PackedF32::new(&l.weight, &l.bias, l.outputs, l.inputs)),
            output: head.output,
        });
        let cores = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_TEAM);
        let team = rayon::ThreadPoolBuilder::new().num_threads(cores).thread_name(|i| format!("query-{i}"));
        let team = (cores > 1).then(|| team.build().ok()).flatten();
        Self { isa, precision, weights, widths, layers, angles, keep, sparse, team }
    }
}

impl Engine for CpuEngine {
    fn name(&self) -> String {
        format!("cpu {} {}", self.isa.name(), self.precision)
    }

    fn dimension(&self) -> usize {
        self.widths.model
    }

    fn max_sequence(&self) -> usize {
        self.weights.architecture.max_sequence
    }

    fn vocabulary(&self) -> usize {
        self.weights.architecture.vocab_size
    }

    fn architecture(&self) -> Option<&Architecture> {
        Some(&self.weights.architecture)
    }

    fn has_keep_head(&self) -> bool {
        self.keep.is_some()
    }

    fn sparse_width(&self) -> Option<usize> {
        self.sparse.as_ref().map(SparseHead::vocabulary)
    }

    fn session(self: Arc<Self>) -> Box<dyn Session> {
        Box::new(CpuSession { engine: self, scratch: Scratch::default() })
    }

    fn urgent_session(self: Arc<Self>) -> Box<dyn Session> {
        self.session()
    }
}

/// Working memory of a pass.
#[derive(Default)]
struct Scratch {
    /// Token states, `[tokens, hidden]`.
    states: Vec<f32>,
    /// Queries, keys and values of the layer that is read and of the next one, `[tokens, 3 · hidden]`.
    qkv: [Vec<f32>; 2],
    /// Of each part of the rows that a thread works on.
    parts: Vec<PartScratch>,
    sparse: SparseScratch,
}

/// Working memory of one thread within a pass.
#[derive(Default)]
struct PartScratch {
    /// What attention gives, `[tokens, hidden]`.
    mixed: Vec<f32>,
    /// What a product adds to the states, `[chunk, hidden]`.
    update: Vec<f32>,
    /// The feed-forward layer, `[chunk, intermediate]`.
    wide: Vec<f32>,
    quantized: QuantizedRows,
    attention: AttentionScratch,
}

struct CpuSession {
    engine: Arc<CpuEngine>,
    scratch: Scratch,
}

impl Session for CpuSession {
    fn run(&mut self, batch: &PackedBatch, outputs: Outputs<'_>, helpers: usize, pause: &mut (dyn FnMut() + Send)) {
        let (engine, scratch) = (&*self.engine, &mut self.scratch);
        let mut attention = outputs.attention;
        if let Some(attention) = &mut attention {
            assert_eq!(attention.len(), batch.squares());
            attention.fill(0.0);
        }
        let threads = helpers.min(engine.team.as_ref().map_or(0, |team| team.current_num_threads() - 1)) + 1;
        let parts = threads.min(batch.tokens() / MIN_ROWS_OF_PART).max(1);
        scratch.parts.resize_with(scratch.parts.len().max(parts), PartScratch::default);
        match &engine.team {
            Some(team) if parts > 1 => team.install(|| engine.forward(batch, parts, scratch, attention, pause)),
            _ => engine.forward(batch, 1, scratch, attention, pause),
        }
        let Widths { model, hidden, .. } = engine.widths;
        if let Some(vectors) = outputs.vectors {
            assert_eq!(vectors.len(), batch.sequences() * model);
            let wide = &mut scratch.parts[0].wide;
            wide.resize(batch.sequences() * hidden, 0.0);
            match engine.weights.pooling {
                Pooling::Mean => {
                    rows::mean_pool(engine.isa, &scratch.states, batch.offsets(), hidden, outputs.normalize, wide);
                }
                other => other.pool(&scratch.states, batch.offsets(), hidden, outputs.normalize, wide),
            }
            narrow(wide, hidden, vectors, model);
        }
        if let Some(keep) = outputs.keep {
            assert_eq!(keep.len(), batch.tokens());
            engine.keep(&scratch.states, &mut scratch.parts[0].wide, keep);
        }
        if let Some(states) = outputs.states {
            narrow(&scratch.states, hidden, states, model);
        }
        if let (Some(sparse), Some(head)) = (outputs.sparse, &engine.sparse) {
            let states = &mut scratch.parts[0].wide;
            states.resize(batch.tokens() * model, 0.0);
            narrow(&scratch.states, hidden, states, model);
            head.apply(states, batch.offsets(), &mut scratch.sparse, sparse, pause);
        }
    }
}

/// The first `model` numbers of each row.
fn narrow(rows: &[f32], width: usize, out: &mut [f32], model: usize) {
    for (row, out) in rows.chunks_exact(width).zip(out.chunks_exact_mut(model)) {
        out.copy_from_slice(&row[..model]);
    }
}

impl CpuEngine {
    /// What makes sparse vectors.
    pub(crate) fn sparse(&self) -> Option<&SparseHead> {
        self.sparse.as_ref()
    }

    /// The pass up to the last layer's states. Its rows are worked off in `parts`, one a thread: all of a layer goes
    /// row by row but attention, which reads keys and values of every row, so the threads meet once a layer.
    fn forward(
        &self,
        batch: &PackedBatch,
        parts: usize,
        s: &mut Scratch,
        mut attention: Option<&mut [f32]>,
        pause: &mut (dyn FnMut() + Send),
    ) {
        let (weights, Widths { model, hidden, .. }) = (&self.weights, self.widths);
        let (tokens, eps) = (batch.tokens(), weights.architecture.layer_norm_eps as f32);
        s.states.resize(tokens * hidden, 0.0);
        s.qkv.iter_mut().for_each(|qkv| qkv.resize(tokens * 3 * hidden, 0.0));
        let (ids, positions) = (batch.ids(), batch.positions());
        let (word_embeddings, places) = (&weights.word_embeddings, &weights.positions);
        rows::embed(
            self.isa,
            ids,
            positions,
            word_embeddings,
            places,
            &weights.embedding_norm,
            model,
            eps,
            &mut s.states,
        );
        let rows_of_part = tokens.div_ceil(parts).max(1);
        // Before the first layer there is nothing to attend to: its queries, keys and values are all there is to do.
        for index in 0..=self.layers.len() {
            let [even, odd] = &mut s.qkv;
            let (read, write) = if index % 2 == 0 { (&*odd, even) } else { (&*even, odd) };
            if let (Some(attention), Some(layer)) = (&mut attention, index.checked_sub(1)) {
                self.watch(layer, batch.offsets(), read, &mut s.parts[0].attention, attention);
            }
            let run = |part: usize,
                       ((states, write), scratch): ((&mut [f32], &mut [f32]), &mut PartScratch),
                       pause: &mut dyn FnMut()| {
                let first = part * rows_of_part;
                if let Some(layer) = index.checked_sub(1).map(|l| &self.layers[l]) {
                    self.layer(layer, batch.offsets(), read, first, states, scratch, pause);
                }
                if let Some(next) = self.layers.get(index) {
                    self.queries_keys_values(next, states, &positions[first..], scratch, write, pause);
                }
            };
            let states = s.states.chunks_mut(rows_of_part * hidden);
            let mut work = states.zip(write.chunks_mut(rows_of_part * 3 * hidden)).zip(&mut s.parts).enumerate();
            let Some((_, own)) = work.next() else { return };
            if parts == 1 {
                run(0, own, pause);
                continue;
            }
            rayon::scope(|scope| {
                for (part, work) in work {
                    let run = &run;
                    scope.spawn(move |_| run(part, work, &mut || ()));
                }
                run(0, own, pause);
            });
        }
        if let Some(norm) = &weights.final_norm {
            let out = &mut s.parts[0].mixed;
            out.resize(s.states.len(), 0.0);
            rows::norm(self.isa, &s.states, norm, model, eps, out);
            std::mem::swap(out, &mut s.states);
        }
    }

    /// What a layer's attention reads, of the rows of `states`, the first of which has the first of `positions`.
    fn queries_keys_values(
        &self,
        layer: &Layer,
        states: &[f32],
        positions: &[u32],
        s: &mut PartScratch,
        out: &mut [f32],
        pause: &mut dyn FnMut(),
    ) {
        let (isa, architecture) = (self.isa, &self.weights.architecture);
        let Widths { model, hidden, head, .. } = self.widths;
        let norm = layer.attention_norm.as_ref().filter(|_| architecture.pre_norm);
        let chunks = states.chunks(CHUNK * hidden).zip(out.chunks_mut(CHUNK * 3 * hidden));
        for ((x, y), positions) in chunks.zip(positions.chunks(CHUNK)) {
            pause();
            let x = match norm {
                Some(norm) => {
                    s.update.resize(x.len(), 0.0);
                    rows::norm(isa, x, norm, model, architecture.layer_norm_eps as f32, &mut s.update);
                    &s.update
                }
                None => x,
            };
            layer.qkv.forward(isa, x, hidden, &mut s.quantized, y);
            if let Some(Angles { cosines, sines, half }) = layer.parts.rotary.map(|set| &self.angles[set]) {
                rows::rotate(isa, y, positions, cosines, sines, *half, architecture.num_attention_heads, head);
            }
        }
    }

    fn reach(&self, layer: &Layer) -> Reach<'_> {
        Reach { window: layer.parts.window, bias: self.weights.relative_bias.as_ref() }
    }

    /// Adds what tokens pay to each other in a layer, if that is one of those that are watched.
    fn watch(&self, layer: usize, offsets: &[u32], qkv: &[f32], scratch: &mut AttentionScratch, out: &mut [f32]) {
        let layers = self.layers.len();
        let watched = if layers >= 12 { 8..12 } else { layers - layers.div_ceil(3)..layers };
        if !watched.contains(&layer) {
            return;
        }
        let (heads, reach) = (self.weights.architecture.num_attention_heads, self.reach(&self.layers[layer]));
        let share = 1.0 / (heads * watched.len()) as f32;
        match self.widths.head {
            32 => attention::add_weights::<32>(self.isa, qkv, offsets, heads, reach, share, scratch, out),
            _ => attention::add_weights::<64>(self.isa, qkv, offsets, heads, reach, share, scratch, out),
        }
    }

    /// One layer for the rows of `states`, the first of which is row `first` of the batch.
    #[allow(clippy::too_many_arguments)]
    fn layer(
        &self,
        layer: &Layer,
        offsets: &[u32],
        qkv: &[f32],
        first: usize,
        states: &mut [f32],
        s: &mut PartScratch,
        pause: &mut dyn FnMut(),
    ) {
        let (isa, architecture) = (self.isa, &self.weights.architecture);
        let Widths { model, hidden, head, .. } = self.widths;
        let (heads, eps) = (architecture.num_attention_heads, architecture.layer_norm_eps as f32);
        let reach = self.reach(layer);
        pause();
        s.mixed.resize(states.len(), 0.0);
        match head {
            32 => attention::attend::<32>(isa, qkv, offsets, heads, reach, first, &mut s.attention, &mut s.mixed),
            _ => attention::attend::<64>(isa, qkv, offsets, heads, reach, first, &mut s.attention, &mut s.mixed),
        }
        let PartScratch { mixed, update, wide, quantized, .. } = s;
        for (x, mixed) in states.chunks_mut(CHUNK * hidden).zip(mixed.chunks(CHUNK * hidden)) {
            pause();
            update.resize(x.len(), 0.0);
            layer.attention_output.forward(isa, mixed, hidden, quantized, update);
            if architecture.pre_norm {
                rows::add_and_norm(isa, x, update, &layer.output_norm, model, eps);
                self.feed_forward(layer, update, wide, quantized, pause);
                let width = self.widths.intermediate;
                let activated = &wide[..x.len() / hidden * width];
                layer.output.forward(isa, activated, width, quantized, update);
                rows::add(isa, x, update);
                continue;
            }
            if let Some(norm) = &layer.attention_norm {
                rows::add_norm(isa, x, update, norm, model, eps);
            }
            self.feed_forward(layer, x, wide, quantized, pause);
            let width = self.widths.intermediate;
            layer.output.forward(isa, &wide[..x.len() / hidden * width], width, quantized, update);
            rows::add_norm(isa, x, update, &layer.output_norm, model, eps);
        }
    }

    /// The first product of the feed-forward layer and its activation, in the first rows of `wide`.
    fn feed_forward(
        &self,
        layer: &Layer,
        x: &[f32],
        wide: &mut Vec<f32>,
        quantized: &mut QuantizedRows,
        pause: &mut dyn FnMut(),
    ) {
        let (Widths { hidden, intermediate, .. }, activation) = (self.widths, self.weights.architecture.activation);
        wide.resize(x.len() / hidden * layer.intermediate.columns(), 0.0);
        layer.intermediate.forward(self.isa, x, hidden, quantized, wide);
        if self.weights.architecture.gated {
            rows::activate_gated(self.isa, activation, wide, intermediate);
        } else {
            rows::activate(self.isa, activation, wide);
        }
        pause();
    }

    /// Probabilities of the keep head over the last layer's states.
    fn keep(&self, states: &[f32], wide: &mut Vec<f32>, out: &mut [f32]) {
        let Some(head) = &self.keep else { panic!("a model without a keep head was asked for keep probabilities") };
        let hidden = self.widths.hidden;
        for (x, out) in states.chunks(CHUNK * hidden).zip(out.chunks_mut(CHUNK)) {
            let x = match &head.inner {
                Some(inner) => {
                    wide.resize(out.len() * inner.columns(), 0.0);
                    inner.multiply(self.isa, x, wide);
                    rows::activate(self.isa, Activation::Gelu, wide);
                    &**wide
                }
                None => x,
            };
            rows::project(self.isa, x, &head.output.weight, head.output.bias[0], out);
            out.iter_mut().for_each(|logit| *logit = 1.0 / (1.0 + (-*logit).exp()));
        }
    }
}
