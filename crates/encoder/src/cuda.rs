//! The engine on CUDA GPUs: the same pass in f16, with the CPU's engine behind it.
//!
//! A GPU is taken only if it proves itself: a fixed set of sequences must come out as on the CPU. Whatever fails
//! later fails over to the CPU's engine, which stays loaded: a full GPU by halves, as often as it takes; a lost one
//! for good, with one line in the log.

pub use membox_cuda::{Checked, CudaError, Gpu, Half, check_kernels};

use crate::EncoderError;
use crate::config::Family;
use crate::cpu::CpuEngine;
use crate::engine::{Device, Engine, Outputs, PackedBatch, Precision, Session};
use crate::weights::{BertWeights, LinearWeights, NormWeights};
use half::f16;
use membox_cuda::{HostKeep, HostLayer, HostLinear, HostModel, HostNorm, Model, Pass, Request};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Tokens of a batch: enough to fill a large GPU.
const BATCH_TOKENS: usize = 16_384;
/// Lengths of the sequences that a GPU proves itself by.
const PROOF: [usize; 6] = [1, 5, 17, 64, 65, 200];

/// The engine for a model, and why it is not a GPU where a GPU was looked for.
pub(crate) struct Chosen {
    pub engine: Arc<dyn Engine>,
    pub why_not_cuda: Option<String>,
}

/// The engine on the device that is asked for. With [`Device::Auto`] whatever is wrong with a GPU leads to the CPU.
pub(crate) fn choose(
    weights: BertWeights,
    precision: Precision,
    device: Device,
    kernels: Option<&Path>,
) -> Result<Chosen, EncoderError> {
    let models = match device {
        Device::Cpu => Ok(Vec::new()),
        Device::Cuda(ordinal) => Gpu::find(ordinal).and_then(|gpu| upload(&[gpu], &weights, kernels)),
        Device::Auto => gpus().and_then(|gpus| upload(&gpus, &weights, kernels)),
    };
    let cpu = Arc::new(CpuEngine::new(weights, precision));
    let on_gpu = models.map_err(|e| e.to_string()).and_then(|models| {
        if models.is_empty() {
            return Ok(None);
        }
        let (next, lost) = (AtomicUsize::new(0), AtomicBool::new(false));
        let engine = Arc::new(CudaEngine { models, next, lost, cpu: cpu.clone() });
        engine.prove(precision).map(|()| Some(engine))
    });
    match on_gpu {
        Ok(Some(engine)) => Ok(Chosen { engine, why_not_cuda: None }),
        Ok(None) => Ok(Chosen { engine: cpu, why_not_cuda: None }),
        Err(reason) if device == Device::Auto => Ok(Chosen { engine: cpu, why_not_cuda: Some(reason) }),
        Err(reason) => Err(EncoderError::NoGpu { device, reason }),
    }
}

/// Every GPU that can be used.
fn gpus() -> Result<Vec<Gpu>, CudaError> {
    let count = Gpu::count()?;
    // Of several, one that is too old is no reason to leave the others.
    let found: Vec<Result<Gpu, CudaError>> = (0..count.max(1)).map(Gpu::find).collect();
    match found.iter().any(Result::is_ok) {
        true => Ok(found.into_iter().flatten().collect()),
        false => found.into_iter().take(1).collect(),
    }
}

fn upload(gpus: &[Gpu], weights: &BertWeights, kernels: Option<&Path>) -> Result<Vec<Arc<Model<f16>>>, CudaError> {
    let host = host_model(weights);
    gpus.iter().map(|gpu| Model::upload(gpu, &host, kernels)).collect()
}

fn host_model(weights: &BertWeights) -> HostModel<'_> {
    fn linear(l: &LinearWeights) -> HostLinear<'_> {
        HostLinear { weight: &l.weight, bias: &l.bias }
    }
    fn norm(n: &NormWeights) -> HostNorm<'_> {
        HostNorm { gamma: &n.weight, beta: &n.bias }
    }
    let config = &weights.config;
    let layers = weights.layers.iter().map(|l| HostLayer {
        qkv: linear(&l.qkv),
        attention_output: linear(&l.attention_output),
        attention_norm: norm(&l.attention_norm),
        intermediate: linear(&l.intermediate),
        output: linear(&l.output),
        output_norm: norm(&l.output_norm),
    });
    HostModel {
        hidden: config.hidden_size,
        heads: config.num_attention_heads,
        intermediate: config.intermediate_size,
        epsilon: config.layer_norm_eps as f32,
        word_embeddings: &weights.word_embeddings,
        positions: &weights.positions,
        embedding_norm: norm(&weights.embedding_norm),
        layers: layers.collect(),
        keep: weights
            .keep
            .as_ref()
            .map(|head| HostKeep { inner: head.inner.as_ref().map(linear), output: linear(&head.output) }),
    }
}

/// A BERT encoder on one GPU or several.
struct CudaEngine {
    /// One a GPU; sessions take them in turn.
    models: Vec<Arc<Model<f16>>>,
    next: AtomicUsize,
    /// Set when a GPU is lost: from then on the CPU computes.
    lost: AtomicBool,
    /// The same model; also says what shape it has.
    cpu: Arc<CpuEngine>,
}

/// Least cosine of a GPU's vector to the CPU's.
fn least_cosine(precision: Precision) -> f32 {
    match precision {
        Precision::F32 => 0.9995,
        Precision::Int8 => 0.99,
    }
}

impl CudaEngine {
    /// Encodes a fixed set of sequences on each GPU and on the CPU, and says what does not agree.
    fn prove(self: &Arc<Self>, precision: Precision) -> Result<(), String> {
        let mut batch = PackedBatch::new();
        let mut id = 7usize;
        for length in PROOF.map(|length| length.min(self.max_sequence())) {
            let next = |_| {
                id = (id * 7919 + 104_729) % self.vocabulary();
                id as u32
            };
            batch.push(&(0..length).map(next).collect::<Vec<u32>>());
        }
        let width = self.dimension();
        let mut wanted = vec![0.0; batch.sequences() * width];
        let outputs = Outputs { vectors: Some(&mut wanted), normalize: true, ..Outputs::default() };
        self.cpu.clone().session().run(&batch, outputs, 0, &mut || ());
        let least = least_cosine(precision);
        for model in &self.models {
            let mut pass = Pass::new(model).map_err(|e| e.to_string())?;
            // Together, and each alone, as a query comes.
            let mut got = vec![0.0; wanted.len()];
            let outputs = Outputs { vectors: Some(&mut got), normalize: true, ..Outputs::default() };
            run_on_gpu(&mut pass, &batch, 0..batch.sequences(), outputs).map_err(|e| e.to_string())?;
            compare(&got, &wanted, width, least)?;
            for sequence in 0..batch.sequences() {
                let mut alone = vec![0.0; width];
                for _ in 0..2 {
                    let outputs = Outputs { vectors: Some(&mut alone), normalize: true, ..Outputs::default() };
                    run_on_gpu(&mut pass, &batch, sequence..sequence + 1, outputs).map_err(|e| e.to_string())?;
                    compare(&alone, &wanted[sequence * width..(sequence + 1) * width], width, least)?;
                }
            }
        }
        Ok(())
    }
}

fn compare(got: &[f32], wanted: &[f32], width: usize, least: f32) -> Result<(), String> {
    for (got, wanted) in got.chunks(width).zip(wanted.chunks(width)) {
        let cosine: f32 = got.iter().zip(wanted).map(|(a, b)| a * b).sum();
        if cosine.is_nan() || cosine < least {
            return Err(format!(
                "the card failed its proof: a cosine of {cosine} to the CPU's vector, where {least} is wanted"
            ));
        }
    }
    Ok(())
}

impl Engine for CudaEngine {
    fn name(&self) -> String {
        match self.models.as_slice() {
            _ if self.lost.load(Ordering::Relaxed) => format!("{} (the card is lost)", self.cpu.name()),
            [model] => format!("cuda {} f16", model.gpu().name()),
            models => format!("cuda {} x {} f16", models.len(), models.first().map_or("", |m| m.gpu().name())),
        }
    }

    fn dimension(&self) -> usize {
        self.cpu.dimension()
    }

    fn max_sequence(&self) -> usize {
        self.cpu.max_sequence()
    }

    fn vocabulary(&self) -> usize {
        self.cpu.vocabulary()
    }

    fn family(&self) -> Family {
        self.cpu.family()
    }

    fn has_keep_head(&self) -> bool {
        self.cpu.has_keep_head()
    }

    fn batch_tokens(&self) -> Option<usize> {
        (!self.lost.load(Ordering::Relaxed)).then_some(BATCH_TOKENS)
    }

    fn is_degraded(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    fn session(self: Arc<Self>) -> Box<dyn Session> {
        let model = &self.models[self.next.fetch_add(1, Ordering::Relaxed) % self.models.len()];
        let pass = Pass::new(model).inspect_err(|error| self.lose(error)).ok();
        Box::new(CudaSession { pass, cpu: None, engine: self.clone() })
    }
}

impl CudaEngine {
    fn lose(&self, error: &CudaError) {
        if !self.lost.swap(true, Ordering::Relaxed) {
            tracing::error!(%error,
                "THE CARD IS LOST: the CPU computes from now on, and a restart tries the card again");
        }
    }
}

struct CudaSession {
    engine: Arc<CudaEngine>,
    pass: Option<Pass<f16>>,
    cpu: Option<Box<dyn Session>>,
}

impl Session for CudaSession {
    fn run(&mut self, batch: &PackedBatch, mut outputs: Outputs<'_>, helpers: usize, pause: &mut (dyn FnMut() + Send)) {
        if self.engine.lost.load(Ordering::Relaxed) {
            self.pass = None;
        }
        // The kernels keep no attention: what wants it, topics now and then, goes by the CPU.
        if let Some(pass) = self.pass.as_mut().filter(|_| outputs.attention.is_none()) {
            match run_on_gpu(pass, batch, 0..batch.sequences(), reborrow(&mut outputs)) {
                Ok(()) => return,
                Err(error) => self.engine.lose(&error),
            }
        }
        let cpu = self.cpu.get_or_insert_with(|| self.engine.cpu.clone().session());
        cpu.run(batch, outputs, helpers, pause);
    }
}

fn reborrow<'a>(outputs: &'a mut Outputs<'_>) -> Outputs<'a> {
    Outputs {
        vectors: outputs.vectors.as_deref_mut(),
        normalize: outputs.normalize,
        keep: outputs.keep.as_deref_mut(),
        states: outputs.states.as_deref_mut(),
        attention: None,
    }
}

/// Encodes some sequences of a batch, by halves where the GPU's memory does not hold them all. The outputs are those
/// of these sequences.
fn run_on_gpu(
    pass: &mut Pass<f16>,
    batch: &PackedBatch,
    sequences: std::ops::Range<usize>,
    mut outputs: Outputs<'_>,
) -> Result<(), CudaError> {
    let first = batch.offsets()[sequences.start];
    let tokens = first as usize..batch.offsets()[sequences.end] as usize;
    let offsets: Vec<u32> = batch.offsets()[sequences.start..=sequences.end].iter().map(|o| o - first).collect();
    let Outputs { vectors, normalize, keep, states, .. } = reborrow(&mut outputs);
    let request = Request {
        ids: &batch.ids()[tokens.clone()],
        positions: &batch.positions()[tokens.clone()],
        offsets: &offsets,
        vectors,
        normalize,
        keep,
        states,
    };
    match pass.run(request) {
        Err(CudaError::OutOfMemory) if sequences.len() > 1 => {}
        result => return result,
    }
    let middle = sequences.start + sequences.len() / 2;
    let (count, width) = (middle - sequences.start, |all: usize, of: usize| all.checked_div(of).unwrap_or(0));
    let before = batch.offsets()[middle] as usize - tokens.start;
    let normalize = outputs.normalize;
    let (vectors, later_vectors) = split(outputs.vectors, |all| width(all, sequences.len()) * count);
    let (keep, later_keep) = split(outputs.keep, |_| before);
    let (states, later_states) = split(outputs.states, |all| width(all, tokens.len()) * before);
    run_on_gpu(pass, batch, sequences.start..middle, Outputs { vectors, normalize, keep, states, attention: None })?;
    let (vectors, keep, states) = (later_vectors, later_keep, later_states);
    let later = Outputs { vectors, normalize, keep, states, attention: None };
    run_on_gpu(pass, batch, middle..sequences.end, later)
}

type Parts<'a> = (Option<&'a mut [f32]>, Option<&'a mut [f32]>);

fn split<'a>(all: Option<&'a mut [f32]>, at: impl Fn(usize) -> usize) -> Parts<'a> {
    match all {
        Some(all) => {
            let at = at(all.len());
            let (first, second) = all.split_at_mut(at);
            (Some(first), Some(second))
        }
        None => (None, None),
    }
}
