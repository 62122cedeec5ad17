//! The memory that a pass works in, on the GPU and on the host, and the sizes that passes are recorded for.

use crate::CudaError;
use crate::forward::QUERIES;
use crate::model::Model;
use crate::number::Number;
use crate::pinned::Pinned;
use cudarc::driver::{CudaSlice, CudaStream, CudaView, DeviceRepr};
use std::sync::Arc;

/// Tokens that there is room for from the beginning, so that what is recorded for short sequences is not thrown away
/// for the next longer one.
const MIN_TOKENS: usize = 2048;
/// Sequences likewise.
const MIN_SEQUENCES: usize = 64;
/// Steps of token counts between two powers of two: at most an eighth of a pass is for nothing.
const STEPS: usize = 8;
/// Token counts are multiples of it: what tensor cores like.
const LEAST_STEP: usize = 8;

/// Sizes that a pass is recorded for. A batch takes the next ones that are as large; what it does not fill are tokens
/// of number 0, which nobody reads, and sequences without tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sizes {
    pub tokens: usize,
    pub sequences: usize,
    pub tiles: usize,
}

impl Sizes {
    /// Those of a batch.
    pub fn of(tokens: usize, sequences: usize, tiles: usize) -> Self {
        let step = (tokens.next_power_of_two() / (2 * STEPS)).max(LEAST_STEP);
        let tokens = tokens.next_multiple_of(step);
        // One sequence more, without tokens, is that of tiles that are not filled.
        Self { tokens, sequences: (sequences + 1).next_power_of_two(), tiles: tiles.next_power_of_two() }
    }

    /// Where ids, positions, offsets and tiles end among the inputs.
    fn ends(self) -> [usize; 4] {
        let Self { tokens, sequences, tiles } = self;
        let offsets = 2 * tokens + sequences + 1;
        [tokens, 2 * tokens, offsets, offsets + 2 * tiles]
    }

    /// Numbers of the inputs.
    pub fn inputs(self) -> usize {
        self.ends()[3]
    }

    /// Ids, positions, offsets and tiles.
    pub fn views(self, inputs: &CudaSlice<u32>) -> [CudaView<'_, u32>; 4] {
        let [a, b, c, d] = self.ends();
        [inputs.slice(..a), inputs.slice(a..b), inputs.slice(b..c), inputs.slice(c..d)]
    }

    /// Writes a batch and what fills it up.
    pub fn fill(self, inputs: &mut [u32], ids: &[u32], positions: &[u32], offsets: &[u32], tiles: &[u32]) {
        let [a, b, c, d] = self.ends();
        let of_nobody = [(offsets.len() - 1) as u32, 0];
        let parts = [(0..a, ids, [0; 2]), (a..b, positions, [0; 2]), (b..c, offsets, [ids.len() as u32; 2])];
        for (place, numbers, filler) in parts.into_iter().chain([(c..d, tiles, of_nobody)]) {
            let (known, rest) = inputs[place].split_at_mut(numbers.len());
            known.copy_from_slice(numbers);
            rest.chunks_mut(2).for_each(|pair| pair.copy_from_slice(&filler[..pair.len()]));
        }
    }
}

/// Memory that a pass works in, for so many tokens and sequences.
pub(crate) struct Work<T> {
    tokens: usize,
    sequences: usize,
    pub inputs: CudaSlice<u32>,
    pub states: CudaSlice<T>,
    pub qkv: CudaSlice<T>,
    pub mixed: CudaSlice<T>,
    pub update: CudaSlice<T>,
    pub wide: CudaSlice<T>,
    pub vectors: CudaSlice<f32>,
    pub kept: CudaSlice<f32>,
    pub host_inputs: Pinned<u32>,
    pub host_vectors: Pinned<f32>,
    pub host_kept: Pinned<f32>,
    /// For those who want states: few do.
    pub host_states: Option<Pinned<T>>,
    /// For models with a masked-LM head.
    pub maxima: Option<Maxima>,
}

/// The largest logit of each word piece, a row for each sequence.
pub(crate) struct Maxima {
    pub on_gpu: CudaSlice<f32>,
    pub on_host: Pinned<f32>,
}

impl<T: Number> Work<T> {
    /// Whether there is room for passes of these sizes.
    pub fn holds(&self, sizes: Sizes) -> bool {
        self.tokens >= sizes.tokens && self.sequences >= sizes.sequences
    }

    /// For passes of these sizes, and of all that are smaller; `before` is what the last one held.
    pub fn new(
        model: &Model<T>,
        stream: &Arc<CudaStream>,
        sizes: Sizes,
        before: (usize, usize),
    ) -> Result<Self, CudaError> {
        let wanted = (sizes.tokens.next_power_of_two().max(before.0), sizes.sequences.max(before.1));
        match Self::allocate(model, stream, wanted.0.max(MIN_TOKENS), wanted.1.max(MIN_SEQUENCES)) {
            Err(CudaError::OutOfMemory) => Self::allocate(model, stream, wanted.0, wanted.1),
            result => result,
        }
    }

    fn allocate(
        model: &Model<T>,
        stream: &Arc<CudaStream>,
        tokens: usize,
        sequences: usize,
    ) -> Result<Self, CudaError> {
        let wide = model.wide.max(model.keep.as_ref().map_or(0, |keep| keep.weight.len()));
        // Each sequence has a tile that is not full, at most.
        let tiles = (tokens / QUERIES + sequences).next_power_of_two();
        let inputs = Sizes { tokens, sequences, tiles }.inputs();
        Ok(Self {
            tokens,
            sequences,
            inputs: allocate(stream, inputs)?,
            states: allocate(stream, tokens * model.hidden)?,
            qkv: allocate(stream, tokens * 3 * model.hidden)?,
            // Attention writes nothing for tokens that belong to no sequence, and a product reads them.
            mixed: stream.alloc_zeros(tokens * model.hidden)?,
            update: allocate(stream, tokens * model.hidden)?,
            wide: allocate(stream, tokens * wide)?,
            vectors: allocate(stream, sequences * model.hidden)?,
            kept: allocate(stream, tokens)?,
            host_inputs: Pinned::new(stream, inputs)?,
            host_vectors: Pinned::new(stream, sequences * model.hidden)?,
            host_kept: Pinned::new(stream, tokens)?,
            host_states: None,
            maxima: None,
        })
    }

    /// Tokens and sequences that there is room for.
    pub fn room(&self) -> (usize, usize) {
        (self.tokens, self.sequences)
    }

    /// Makes room for so many maxima; whether there was none before, so that others are not where they were.
    pub fn make_room_for_maxima(&mut self, stream: &Arc<CudaStream>, count: usize) -> Result<bool, CudaError> {
        if self.maxima.as_ref().is_some_and(|maxima| maxima.on_gpu.len() >= count) {
            return Ok(false);
        }
        self.maxima = None;
        self.maxima = Some(Maxima { on_gpu: allocate(stream, count)?, on_host: Pinned::new(stream, count)? });
        Ok(true)
    }

    /// Room on the host for the states of a pass.
    pub fn host_states(&mut self, stream: &Arc<CudaStream>) -> Result<&mut Pinned<T>, CudaError> {
        if self.host_states.is_none() {
            self.host_states = Some(Pinned::new(stream, self.states.len())?);
        }
        self.host_states.as_mut().ok_or(CudaError::OutOfMemory)
    }
}

fn allocate<N: DeviceRepr>(stream: &Arc<CudaStream>, count: usize) -> Result<CudaSlice<N>, CudaError> {
    // SAFETY: every kernel and copy writes what is read after it.
    Ok(unsafe { stream.alloc(count)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_takes_the_next_sizes_and_wastes_an_eighth_at_most() {
        for tokens in 1..20_000 {
            let sizes = Sizes::of(tokens, 1, 1);
            assert!(sizes.tokens >= tokens && sizes.tokens.is_multiple_of(8), "{tokens}");
            assert!(sizes.tokens <= (tokens + tokens / 8).max(tokens + 7), "{tokens}: {}", sizes.tokens);
        }
        assert_eq!(Sizes::of(16_300, 512, 600), Sizes { tokens: 16_384, sequences: 1024, tiles: 1024 });
    }

    #[test]
    fn what_a_batch_does_not_fill_belongs_to_a_sequence_without_tokens() {
        let sizes = Sizes::of(3, 2, 3);
        assert_eq!(sizes, Sizes { tokens: 8, sequences: 4, tiles: 4 });
        let mut inputs = vec![99; sizes.inputs()];
        sizes.fill(&mut inputs, &[5, 6, 7], &[0, 1, 0], &[0, 2, 3], &[0, 0, 0, 64, 1, 0]);
        let (ids, rest) = inputs.split_at(8);
        let (positions, rest) = rest.split_at(8);
        let (offsets, tiles) = rest.split_at(5);
        assert_eq!((ids, positions), (&[5, 6, 7, 0, 0, 0, 0, 0][..], &[0, 1, 0, 0, 0, 0, 0, 0][..]));
        assert_eq!((offsets, tiles), (&[0, 2, 3, 3, 3][..], &[0, 0, 0, 64, 1, 0, 2, 0][..]));
    }
}
