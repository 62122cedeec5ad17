//! One thread's use of a model: packed sequences of token ids in; vectors, keep probabilities or token states out.
//!
//! A batch is one copy to the GPU, one graph and one copy back for each output. Batches are rounded up to one of few
//! sizes ([`Sizes`]); the first of each size is launched kernel by kernel, since libraries load what they need at its
//! first use, which cannot be recorded; the second is recorded, as vLLM and TensorRT do, and played back from then on.
//! Launching some 60 kernels one by one takes longer than a small batch does. Copies go through pinned memory.

use crate::CudaError;
use crate::blas::Blas;
use crate::forward::{OnStream, tiles};
use crate::masked_lm::MaskedLm;
use crate::model::Model;
use crate::number::Number;
use crate::work::{Sizes, Work};
use cudarc::driver::sys::{CUevent_flags, CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaEvent, CudaGraph, CudaStream};
use std::collections::HashMap;
use std::sync::Arc;

/// Tokens of a request that is waited for without sleeping, at most: what somebody waits for.
const MAX_SPIN_TOKENS: usize = 256;
/// Sizes that are recorded at most; then all are forgotten.
const MAX_GRAPHS: usize = 256;

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
    /// `[sequences]`, [`Pass::max_sequences`] at most: of each the word pieces whose largest logit among its tokens is
    /// above 0, with that logit.
    pub maxima: Option<&'a mut [Vec<(u32, f32)>]>,
}

/// What is recorded: sizes, and what comes after the last layer.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Steps {
    sizes: Sizes,
    vectors: bool,
    normalize: bool,
    keep: bool,
    maxima: bool,
}

/// A recorded pass, or none of steps that ran once.
struct Recorded(Option<CudaGraph>);

// SAFETY: a graph may be used by one thread at a time; it is owned by a pass, which takes `&mut self` to use it.
unsafe impl Send for Recorded {}

/// One thread's use of a model: a stream, and memory that is used again from batch to batch.
pub struct Pass<T> {
    model: Arc<Model<T>>,
    stream: Arc<CudaStream>,
    blas: Blas,
    work: Option<Work<T>>,
    graphs: HashMap<Steps, Recorded>,
    /// Reached when a batch is done; a thread sleeps until then.
    done: CudaEvent,
}

impl<T: Number> Pass<T> {
    /// A stream of its own. What is `urgent` goes before what others compute.
    pub fn new(model: &Arc<Model<T>>, urgent: bool) -> Result<Self, CudaError> {
        let context = &model.gpu.context;
        let stream = if urgent { model.gpu.urgent_stream()? } else { context.new_stream()? };
        let blas = Blas::new(&stream, model.gpu.capability())?;
        let done = context.new_event(Some(CUevent_flags::CU_EVENT_BLOCKING_SYNC))?;
        Ok(Self { model: model.clone(), stream, blas, work: None, graphs: HashMap::new(), done })
    }

    /// Encodes packed sequences. With the GPU's memory full nothing was computed, and fewer sequences may still fit.
    pub fn run(&mut self, request: Request) -> Result<(), CudaError> {
        self.model.gpu.forget_errors_of_others()?;
        self.compute(request).map_err(|error| {
            // What was begun ends before its buffers do. If it cannot, the card is lost, whatever was said before.
            match self.stream.synchronize().map_err(CudaError::from) {
                Err(lost @ CudaError::Lost(_)) => lost,
                _ => error,
            }
        })
    }

    fn compute(&mut self, request: Request) -> Result<(), CudaError> {
        let Request { ids, positions, offsets, vectors, normalize, keep, states, maxima } = request;
        let (tokens, sequences) = (ids.len(), offsets.len().saturating_sub(1));
        if tokens == 0 {
            return Ok(());
        }
        self.check(ids, positions, offsets)?;
        let tiles = tiles(offsets);
        let sizes = Sizes::of(tokens, sequences, tiles.len() / 2);
        self.ensure_capacity(sizes)?;
        if maxima.is_some() {
            self.ensure_maxima(sizes, sequences)?;
        }
        let Self { model, stream, blas, work, graphs, done } = self;
        let Some(work) = work else { return Ok(()) };
        let inputs = work.host_inputs.numbers()?;
        sizes.fill(inputs, ids, positions, offsets, &tiles);
        stream.memcpy_htod(&inputs[..sizes.inputs()], &mut work.inputs.slice_mut(..sizes.inputs()))?;
        let steps =
            Steps { sizes, vectors: vectors.is_some(), normalize, keep: keep.is_some(), maxima: maxima.is_some() };
        launch(&OnStream { model, stream, blas }, graphs, work, steps)?;
        let hidden = model.hidden;
        if vectors.is_some() {
            let to = &mut work.host_vectors.numbers()?[..sequences * hidden];
            stream.memcpy_dtoh(&work.vectors.slice(..sequences * hidden), to)?;
        }
        if keep.is_some() {
            stream.memcpy_dtoh(&work.kept.slice(..tokens), &mut work.host_kept.numbers()?[..tokens])?;
        }
        if states.is_some() {
            work.host_states(stream)?;
            if let Some(to) = &mut work.host_states {
                stream.memcpy_dtoh(&work.states.slice(..tokens * hidden), &mut to.numbers()?[..tokens * hidden])?;
            }
        }
        if let (Some(_), Some(head), Some(room)) = (&maxima, &model.masked_lm, &mut work.maxima) {
            let count = sequences * head.width;
            stream.memcpy_dtoh(&room.on_gpu.slice(..count), &mut room.on_host.numbers()?[..count])?;
        }
        if tokens <= MAX_SPIN_TOKENS {
            stream.synchronize()?;
        } else {
            done.record(stream)?;
            done.synchronize()?;
        }
        if let Some(vectors) = vectors {
            vectors[..sequences * hidden].copy_from_slice(&work.host_vectors.numbers()?[..sequences * hidden]);
        }
        if let Some(keep) = keep {
            keep[..tokens].copy_from_slice(&work.host_kept.numbers()?[..tokens]);
        }
        if let (Some(states), Some(narrow)) = (states, &mut work.host_states) {
            T::to_f32s(&narrow.numbers()?[..tokens * hidden], &mut states[..tokens * hidden]);
        }
        if let (Some(maxima), Some(head), Some(room)) = (maxima, &model.masked_lm, &mut work.maxima) {
            for (row, found) in room.on_host.numbers()?.chunks_exact(head.width).zip(maxima) {
                let row = (0..).zip(&row[..head.vocabulary]).filter(|(_, most)| **most > 0.0);
                *found = row.map(|(id, most)| (id, *most)).collect();
            }
        }
        Ok(())
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

    /// Sequences of a request with maxima, at most.
    pub fn max_sequences(&self) -> usize {
        self.model.masked_lm.as_ref().map_or(0, MaskedLm::max_sequences)
    }

    fn ensure_maxima(&mut self, sizes: Sizes, sequences: usize) -> Result<(), CudaError> {
        let (Some(head), Some(work)) = (&self.model.masked_lm, &mut self.work) else { return Ok(()) };
        if sequences > head.max_sequences() {
            return Err(CudaError::Shape(format!("maxima of {sequences} sequences: {} at most", head.max_sequences())));
        }
        if work.make_room_for_maxima(&self.stream, sizes.sequences * head.width)? {
            // What was recorded names the memory that went.
            self.graphs.retain(|steps, _| !steps.maxima);
        }
        Ok(())
    }

    fn ensure_capacity(&mut self, sizes: Sizes) -> Result<(), CudaError> {
        if self.work.as_ref().is_some_and(|work| work.holds(sizes)) {
            return Ok(());
        }
        let before = self.work.as_ref().map_or((0, 0), Work::room);
        // What was recorded names the memory that goes.
        self.graphs.clear();
        self.work = None;
        self.work = Some(Work::new(&self.model, &self.stream, sizes, before)?);
        Ok(())
    }
}

/// Runs steps: by themselves, or from what was recorded of them.
fn launch<T: Number>(
    on_stream: &OnStream<T>,
    graphs: &mut HashMap<Steps, Recorded>,
    work: &mut Work<T>,
    steps: Steps,
) -> Result<(), CudaError> {
    let all = |work: &mut Work<T>| -> Result<(), CudaError> {
        on_stream.forward(work, steps.sizes)?;
        if steps.vectors {
            on_stream.pool(work, steps.sizes, steps.normalize)?;
        }
        if steps.keep {
            on_stream.keep(work, steps.sizes.tokens)?;
        }
        if steps.maxima {
            on_stream.max_logits(work, steps.sizes)?;
        }
        Ok(())
    };
    match graphs.get_mut(&steps) {
        None => {
            all(work)?;
            if graphs.len() >= MAX_GRAPHS {
                graphs.clear();
            }
            graphs.insert(steps, Recorded(None));
            Ok(())
        }
        Some(Recorded(Some(graph))) => Ok(graph.launch()?),
        Some(Recorded(graph @ None)) => {
            let stream = on_stream.stream;
            stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)?;
            let recorded = all(work);
            let ended = stream.end_capture(CUgraphInstantiate_flags(0));
            recorded?;
            let ended = ended?.ok_or_else(|| CudaError::Driver("an empty graph".into()))?;
            Ok(graph.insert(ended).launch()?)
        }
    }
}
