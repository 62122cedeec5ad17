//! The CPU engine: the BERT forward pass over packed sequences, in f32 or int8.
//!
//! One pass runs on one thread; the scheduler runs one a core. Nothing is allocated once the scratch memory has grown to the largest
//! batch. The feed-forward layer is worked off in chunks of [`CHUNK`] tokens, so that its wide activations stay in the L2 cache.

mod attention;
pub mod gemm;
pub mod isa;
mod math;
mod rows;
mod simd;

use crate::engine::{Engine, PackedBatch, Precision, Session};
use crate::weights::{BertWeights, LinearWeights, NormWeights};
use attention::AttentionScratch;
use gemm::{PackedF32, PackedI8, QuantizedRows};
use isa::Isa;

/// Tokens of the feed-forward layer worked off together: 96 × 1536 × 4 bytes stay within a core's L2 cache.
const CHUNK: usize = 96;

/// A linear layer in the engine's precision.
enum Linear {
    F32(PackedF32),
    Int8(PackedI8),
}

impl Linear {
    fn new(l: &LinearWeights, precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32(PackedF32::new(&l.weight, &l.bias, l.outputs, l.inputs)),
            Precision::Int8 => Self::Int8(PackedI8::new(&l.weight, &l.bias, l.outputs, l.inputs)),
        }
    }

    fn columns(&self) -> usize {
        match self {
            Self::F32(p) => p.columns(),
            Self::Int8(p) => p.columns(),
        }
    }

    /// `out = x · w + bias` for rows of `width`.
    fn forward(&self, isa: Isa, x: &[f32], width: usize, quantized: &mut QuantizedRows, out: &mut [f32]) {
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
    attention_norm: NormWeights,
    intermediate: Linear,
    output: Linear,
    output_norm: NormWeights,
}

/// A BERT encoder on the CPU.
pub struct CpuEngine {
    isa: Isa,
    precision: Precision,
    weights: BertWeights,
    layers: Vec<Layer>,
}

impl CpuEngine {
    /// Packs the weights for the best instructions of this CPU.
    pub fn new(weights: BertWeights, precision: Precision) -> Self {
        Self::with_isa(weights, precision, Isa::detect())
    }

    /// As [`CpuEngine::new`], at a given instruction level.
    pub fn with_isa(mut weights: BertWeights, precision: Precision, isa: Isa) -> Self {
        let layers = std::mem::take(&mut weights.layers)
            .into_iter()
            .map(|l| Layer {
                qkv: Linear::new(&l.qkv, precision),
                attention_output: Linear::new(&l.attention_output, precision),
                attention_norm: l.attention_norm,
                intermediate: Linear::new(&l.intermediate, precision),
                output: Linear::new(&l.output, precision),
                output_norm: l.output_norm,
            })
            .collect();
        Self { isa, precision, weights, layers }
    }
}

impl Engine for CpuEngine {
    fn name(&self) -> String {
        format!("cpu {} {}", self.isa.name(), self.precision)
    }

    fn dimension(&self) -> usize {
        self.weights.config.hidden_size
    }

    fn max_sequence(&self) -> usize {
        self.weights.config.max_position_embeddings
    }

    fn vocabulary(&self) -> usize {
        self.weights.config.vocab_size
    }

    fn session(&self) -> Box<dyn Session + '_> {
        Box::new(CpuSession { engine: self, scratch: Scratch::default() })
    }
}

#[derive(Default)]
struct Scratch {
    /// Token states, `[tokens, hidden]`.
    states: Vec<f32>,
    /// Queries, keys and values, `[tokens, 3 · hidden]`.
    qkv: Vec<f32>,
    /// What attention gives, `[tokens, hidden]`.
    mixed: Vec<f32>,
    /// What a product adds to the states, `[chunk, hidden]`.
    update: Vec<f32>,
    /// The feed-forward layer, `[chunk, intermediate]`.
    wide: Vec<f32>,
    quantized: QuantizedRows,
    attention: AttentionScratch,
}

struct CpuSession<'a> {
    engine: &'a CpuEngine,
    scratch: Scratch,
}

impl Session for CpuSession<'_> {
    fn embed(&mut self, batch: &PackedBatch, normalize: bool, out: &mut [f32], pause: &mut dyn FnMut()) {
        let (isa, weights, s) = (self.engine.isa, &self.engine.weights, &mut self.scratch);
        let config = &weights.config;
        let (hidden, eps) = (config.hidden_size, config.layer_norm_eps as f32);
        let tokens = batch.tokens();
        assert_eq!(out.len(), batch.sequences() * hidden);
        s.states.resize(tokens * hidden, 0.0);
        s.qkv.resize(tokens * 3 * hidden, 0.0);
        s.mixed.resize(tokens * hidden, 0.0);

        let norm = &weights.embedding_norm;
        let (ids, positions) = (batch.ids(), batch.positions());
        rows::embed(
            isa,
            ids,
            positions,
            &weights.words,
            &weights.positions,
            &norm.weight,
            &norm.bias,
            eps,
            &mut s.states,
        );
        for layer in &self.engine.layers {
            for (x, y) in s.states.chunks(CHUNK * hidden).zip(s.qkv.chunks_mut(CHUNK * 3 * hidden)) {
                pause();
                layer.qkv.forward(isa, x, hidden, &mut s.quantized, y);
            }
            pause();
            let (heads, offsets) = (config.num_attention_heads, batch.offsets());
            match config.head_width() {
                32 => attention::attend::<32>(isa, &s.qkv, offsets, heads, &mut s.attention, &mut s.mixed),
                _ => attention::attend::<64>(isa, &s.qkv, offsets, heads, &mut s.attention, &mut s.mixed),
            }
            for (x, mixed) in s.states.chunks_mut(CHUNK * hidden).zip(s.mixed.chunks(CHUNK * hidden)) {
                pause();
                let rows = x.len() / hidden;
                s.update.resize(x.len(), 0.0);
                layer.attention_output.forward(isa, mixed, hidden, &mut s.quantized, &mut s.update);
                let norm = &layer.attention_norm;
                rows::add_norm(isa, x, &s.update, &norm.weight, &norm.bias, eps);

                let width = layer.intermediate.columns();
                s.wide.resize(rows * width, 0.0);
                layer.intermediate.forward(isa, x, hidden, &mut s.quantized, &mut s.wide);
                rows::gelu_in_place(isa, &mut s.wide);
                pause();
                layer.output.forward(isa, &s.wide, width, &mut s.quantized, &mut s.update);
                let norm = &layer.output_norm;
                rows::add_norm(isa, x, &s.update, &norm.weight, &norm.bias, eps);
            }
        }
        rows::mean_pool(isa, &s.states, batch.offsets(), hidden, normalize, out);
    }
}
