//! The engine on CUDA GPUs: the same pass in f16, with the CPU's engine behind it.
//!
//! A GPU is taken only if it proves itself: a fixed set of sequences must come out as on the CPU in f32. Of several,
//! one that does not is left out. What does not fit a GPU's memory goes by halves, as often as it takes, and by the
//! CPU's engine, which stays loaded, where one sequence alone does not fit. A GPU is lost only by errors that all
//! further calls would meet: from then on the others compute, or the CPU.

pub use membox_cuda::{CHECKED_SHAPES, Checked, CudaError, Gpu, Half, check_kernels};

use crate::architecture::Activation;
use crate::cpu::CpuEngine;
use crate::cpu::rotary::Angles;
use crate::engine::{Device, Engine, Outputs, PackedBatch, Precision, Session};
use crate::pooling::Pooling;
use crate::proof::Proof;
use crate::room::Room;
use crate::weights::{EncoderWeights, LinearWeights, NormWeights};
use crate::{Architecture, EncoderError, TokenWeight};
use half::f16;
use membox_cuda::{
    HostActivation, HostKeep, HostLayer, HostLinear, HostMaskedLm, HostModel, HostNorm, HostRelative, Model, Pass,
    Request,
};
use membox_threads::guard;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Tokens of a batch: enough to fill a large GPU.
pub(crate) const BATCH_TOKENS: usize = 16_384;

/// The engine for a model, and why it is not a GPU where a GPU was looked for.
pub(crate) struct Chosen {
    pub engine: Arc<dyn Engine>,
    pub why_not_cuda: Option<String>,
}

/// The engine on the device that is asked for. With [`Device::Auto`] whatever is wrong with a GPU leads to the CPU.
pub(crate) fn choose(
    weights: EncoderWeights,
    precision: Precision,
    device: Device,
    kernels: Option<&Path>,
) -> Result<Chosen, EncoderError> {
    // cudarc panics where a library lacks a function.
    let pooling = weights.pooling;
    let found = guard(|| proven(&weights, device, kernels)).unwrap_or_else(|panicked| Err(panicked.to_string()));
    let cpu = Arc::new(CpuEngine::new(weights, precision));
    match found {
        Ok(cards) if cards.is_empty() => Ok(Chosen { engine: cpu, why_not_cuda: None }),
        Ok(cards) => Ok(Chosen {
            engine: Arc::new(CudaEngine { cards, next: Default::default(), pooling, cpu }),
            why_not_cuda: None,
        }),
        Err(reason) if device == Device::Auto => Ok(Chosen { engine: cpu, why_not_cuda: Some(reason) }),
        Err(reason) => Err(EncoderError::NoGpu { device, reason }),
    }
}

/// The GPUs that can be used, or why there is none; no GPU where none is wanted.
fn proven(weights: &EncoderWeights, device: Device, kernels: Option<&Path>) -> Result<Vec<Card>, String> {
    let ordinals = match device {
        Device::Cpu => return Ok(Vec::new()),
        Device::Cuda(ordinal) => ordinal..ordinal + 1,
        Device::Auto => 0..Gpu::count().map_err(|error| error.to_string())?.max(1),
    };
    let (mut cards, mut reasons, mut proof) = (Vec::new(), Vec::new(), None);
    for ordinal in ordinals {
        let model = Gpu::find(ordinal).and_then(|gpu| Model::upload(&gpu, &host_model(weights), kernels));
        let model = model.map_err(|error| error.to_string());
        match model.and_then(|model| proof.get_or_insert_with(|| Proof::new(weights)).check(&model).map(|()| model)) {
            Ok(model) => cards.push(Card { model, is_lost: AtomicBool::new(false), room: Room::new(BATCH_TOKENS) }),
            Err(reason) => reasons.push((ordinal, reason)),
        }
    }
    match (cards.is_empty(), reasons.first()) {
        (true, Some((_, reason))) => Err(reason.clone()),
        _ => {
            for (ordinal, reason) in reasons {
                tracing::warn!(card = ordinal, reason, "a card is left out");
            }
            Ok(cards)
        }
    }
}

fn host_model(weights: &EncoderWeights) -> HostModel<'_> {
    fn linear(l: &LinearWeights) -> HostLinear<'_> {
        HostLinear { weight: &l.weight, bias: &l.bias }
    }
    fn norm(n: &NormWeights) -> HostNorm<'_> {
        HostNorm { gamma: &n.weight, beta: &n.bias }
    }
    let config = &weights.architecture;
    let layers = weights.layers.iter().map(|l| HostLayer {
        qkv: linear(&l.qkv),
        attention_output: linear(&l.attention_output),
        attention_norm: l.attention_norm.as_ref().map(norm),
        intermediate: linear(&l.intermediate),
        output: linear(&l.output),
        output_norm: norm(&l.output_norm),
        angles: l.parts.rotary,
        window: l.parts.window,
    });
    HostModel {
        hidden: config.hidden_size,
        heads: config.num_attention_heads,
        intermediate: config.intermediate_size,
        epsilon: config.layer_norm_eps as f32,
        word_embeddings: &weights.word_embeddings,
        positions: &weights.positions,
        longest: config.max_sequence,
        angles: config.rotary.iter().map(|frequencies| pairs(&Angles::new(frequencies, config.max_sequence))).collect(),
        activation: activation(config.activation),
        gated: config.gated,
        embedding_norm: norm(&weights.embedding_norm),
        layers: layers.collect(),
        relative: weights
            .relative_bias
            .as_ref()
            .map(|bias| HostRelative { by_distance: &bias.by_distance, reach: bias.reach }),
        final_norm: weights.final_norm.as_ref().map(norm),
        keep: weights
            .keep
            .as_ref()
            .map(|head| HostKeep { inner: head.inner.as_ref().map(linear), output: linear(&head.output) }),
        masked_lm: weights.masked_lm.as_ref().map(|head| HostMaskedLm {
            dense: linear(&head.dense),
            activation: activation(head.activation),
            norm: norm(&head.norm),
            decoder: linear(&head.decoder),
        }),
    }
}

fn activation(activation: Activation) -> HostActivation {
    match activation {
        Activation::Gelu => HostActivation::Gelu,
        Activation::GeluTanh => HostActivation::GeluTanh,
        Activation::Relu => HostActivation::Relu,
        Activation::Silu => HostActivation::Silu,
    }
}

/// Cosines and sines side by side.
fn pairs(angles: &Angles) -> Vec<f32> {
    angles.cosines.iter().zip(&angles.sines).flat_map(|(cosine, sine)| [*cosine, *sine]).collect()
}

/// A model on a GPU.
struct Card {
    model: Arc<Model<f16>>,
    /// Set by an error that all further calls would meet.
    is_lost: AtomicBool,
    room: Room,
}

impl Card {
    fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }
}

/// An encoder on one GPU or several.
struct CudaEngine {
    /// Sessions take them in turn.
    cards: Vec<Card>,
    /// Of other sessions, and of urgent ones.
    next: [AtomicUsize; 2],
    pooling: Pooling,
    /// The same model; also says what shape it has.
    cpu: Arc<CpuEngine>,
}

impl Engine for CudaEngine {
    fn name(&self) -> String {
        let there: Vec<&Card> = self.cards.iter().filter(|card| !card.is_lost()).collect();
        let of = if there.len() < self.cards.len() { format!(" of {}", self.cards.len()) } else { String::new() };
        match there.as_slice() {
            [] => format!("{} (the card is lost)", self.cpu.name()),
            [card] if of.is_empty() => format!("cuda {} f16", card.model.gpu().name()),
            [first, ..] => format!("cuda {}{of} x {} f16", there.len(), first.model.gpu().name()),
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

    fn architecture(&self) -> Option<&Architecture> {
        self.cpu.architecture()
    }

    fn has_keep_head(&self) -> bool {
        self.cpu.has_keep_head()
    }

    fn sparse_width(&self) -> Option<usize> {
        self.cpu.sparse_width()
    }

    fn batch_tokens(&self) -> Option<usize> {
        self.cards.iter().any(|card| !card.is_lost()).then_some(BATCH_TOKENS)
    }

    fn is_degraded(&self) -> bool {
        self.cards.iter().any(Card::is_lost)
    }

    fn session(self: Arc<Self>) -> Box<dyn Session> {
        self.session_of(false)
    }

    fn urgent_session(self: Arc<Self>) -> Box<dyn Session> {
        self.session_of(true)
    }
}

impl CudaEngine {
    fn session_of(self: Arc<Self>, urgent: bool) -> Box<dyn Session> {
        let card = self.next[usize::from(urgent)].fetch_add(1, Ordering::Relaxed) % self.cards.len();
        Box::new(CudaSession { card, urgent, pass: None, cpu: None, states: Vec::new(), engine: self })
    }

    fn lose(&self, card: &Card, error: &CudaError) {
        if !card.is_lost.swap(true, Ordering::Relaxed) {
            let (ordinal, others) = (card.model.gpu().ordinal(), self.batch_tokens().is_some());
            let next = if others { "the other cards" } else { "the CPU" };
            tracing::error!(card = ordinal, %error,
                "THE CARD IS LOST: from now on {next} will compute, and a restart tries the card again");
        }
    }
}

struct CudaSession {
    engine: Arc<CudaEngine>,
    /// Which of the engine's.
    card: usize,
    /// Whether its work goes before that of other sessions.
    urgent: bool,
    /// Made at its first use, and again after an error.
    pass: Option<Pass<f16>>,
    cpu: Option<Box<dyn Session>>,
    /// For vectors that are no means: the kernels know no others.
    states: Vec<f32>,
}

impl CudaSession {
    /// Runs a batch on its GPU, or on another one when that is lost; whether it is done.
    fn run_on_cards(&mut self, batch: &PackedBatch, outputs: &mut Outputs<'_>) -> bool {
        let engine = self.engine.clone();
        let count = engine.cards.len();
        for _ in 0..count {
            let Some(at) = (0..count).map(|i| (self.card + i) % count).find(|at| !engine.cards[*at].is_lost()) else {
                self.pass = None;
                return false;
            };
            if at != self.card {
                (self.card, self.pass) = (at, None);
            }
            let card = &engine.cards[at];
            if card.room.tokens() == 0 {
                return false;
            }
            let error = match self.pass_on(card) {
                Ok(pass) => match run_on_gpu(pass, &card.room, batch, 0..batch.sequences(), reborrow(outputs)) {
                    Ok(()) => return true,
                    Err(error) => error,
                },
                Err(error) => error,
            };
            match error {
                CudaError::Lost(_) => engine.lose(card, &error),
                CudaError::OutOfMemory => {
                    if self.pass.is_none() {
                        card.room.was_too_small_for(1);
                    }
                    return false;
                }
                error => {
                    tracing::warn!(card = card.model.gpu().ordinal(), %error, "a batch goes by the CPU");
                    // What it recorded may be half of something.
                    self.pass = None;
                    return false;
                }
            }
        }
        false
    }

    /// As [`Self::run_on_cards`], with vectors that are pooled here from the states.
    fn pool_from_cards(&mut self, batch: &PackedBatch, outputs: &mut Outputs<'_>) -> bool {
        let (pooling, width) = (self.engine.pooling, self.engine.dimension());
        let mut own = std::mem::take(&mut self.states);
        own.resize(batch.tokens() * width, 0.0);
        let Outputs { vectors, normalize, keep, states, sparse, .. } = reborrow(outputs);
        let states = states.unwrap_or(&mut own);
        let mut of_card = Outputs { keep, states: Some(&mut *states), sparse, ..Outputs::default() };
        let is_done = self.run_on_cards(batch, &mut of_card);
        if let Some(vectors) = vectors.filter(|_| is_done) {
            pooling.pool(states, batch.offsets(), width, normalize, vectors);
        }
        self.states = own;
        is_done
    }

    fn pass_on(&mut self, card: &Card) -> Result<&mut Pass<f16>, CudaError> {
        match &mut self.pass {
            Some(pass) => Ok(pass),
            none => Ok(none.insert(Pass::new(&card.model, self.urgent)?)),
        }
    }
}

impl Session for CudaSession {
    fn run(&mut self, batch: &PackedBatch, mut outputs: Outputs<'_>, helpers: usize, pause: &mut (dyn FnMut() + Send)) {
        // The kernels keep no attention: what wants it, topics now and then, goes by the CPU.
        let is_mean = outputs.vectors.is_none() || self.engine.pooling == Pooling::Mean;
        if outputs.attention.is_none() && is_mean && self.run_on_cards(batch, &mut outputs)
            || outputs.attention.is_none() && !is_mean && self.pool_from_cards(batch, &mut outputs)
        {
            if let (Some(sparse), Some(head)) = (outputs.sparse, self.engine.cpu.sparse()) {
                head.pooling().apply(sparse);
            }
            return;
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
        sparse: outputs.sparse.as_deref_mut(),
    }
}

/// Encodes some sequences of a batch, by halves where the GPU's memory does not hold them all. The outputs are those
/// of these sequences; of sparse vectors they are the largest logits.
pub(crate) fn run_on_gpu(
    pass: &mut Pass<f16>,
    room: &Room,
    batch: &PackedBatch,
    sequences: std::ops::Range<usize>,
    mut outputs: Outputs<'_>,
) -> Result<(), CudaError> {
    let first = batch.offsets()[sequences.start];
    let tokens = first as usize..batch.offsets()[sequences.end] as usize;
    let has_room_for_maxima = outputs.sparse.is_none() || sequences.len() <= pass.max_sequences();
    if tokens.len() <= room.tokens() && has_room_for_maxima {
        let offsets: Vec<u32> = batch.offsets()[sequences.start..=sequences.end].iter().map(|o| o - first).collect();
        let Outputs { vectors, normalize, keep, states, sparse, .. } = reborrow(&mut outputs);
        let mut maxima = vec![Vec::new(); sparse.as_ref().map_or(0, |sparse| sparse.len())];
        let request = Request {
            ids: &batch.ids()[tokens.clone()],
            positions: &batch.positions()[tokens.clone()],
            offsets: &offsets,
            vectors,
            normalize,
            keep,
            states,
            maxima: sparse.is_some().then_some(&mut maxima),
        };
        match pass.run(request) {
            Err(CudaError::OutOfMemory) => room.was_too_small_for(tokens.len()),
            result => {
                for (vector, maxima) in sparse.into_iter().flatten().zip(maxima) {
                    *vector = maxima.into_iter().map(|(id, weight)| TokenWeight { id, weight }).collect();
                }
                return result;
            }
        }
    }
    if sequences.len() == 1 {
        return Err(CudaError::OutOfMemory);
    }
    let middle = sequences.start + sequences.len() / 2;
    let (count, width) = (middle - sequences.start, |all: usize, of: usize| all.checked_div(of).unwrap_or(0));
    let before = batch.offsets()[middle] as usize - tokens.start;
    let normalize = outputs.normalize;
    let (vectors, later_vectors) = split(outputs.vectors, |all| width(all, sequences.len()) * count);
    let (keep, later_keep) = split(outputs.keep, |_| before);
    let (states, later_states) = split(outputs.states, |all| width(all, tokens.len()) * before);
    let (sparse, later_sparse) = split(outputs.sparse, |_| count);
    run_on_gpu(
        pass,
        room,
        batch,
        sequences.start..middle,
        Outputs { vectors, normalize, keep, states, sparse, attention: None },
    )?;
    let (vectors, keep, states, sparse) = (later_vectors, later_keep, later_states, later_sparse);
    let later = Outputs { vectors, normalize, keep, states, sparse, attention: None };
    run_on_gpu(pass, room, batch, middle..sequences.end, later)
}

type Parts<'a, T> = (Option<&'a mut [T]>, Option<&'a mut [T]>);

fn split<T>(all: Option<&mut [T]>, at: impl Fn(usize) -> usize) -> Parts<'_, T> {
    match all {
        Some(all) => {
            let at = at(all.len());
            let (first, second) = all.split_at_mut(at);
            (Some(first), Some(second))
        }
        None => (None, None),
    }
}
