//! The head of masked-language models on a GPU: a logit for each token and word piece, of which the largest of each
//! sequence counts.
//!
//! The vocabulary is worked off in tiles, each as wide as queries, keys and values are, whose place its logits take:
//! those of all word pieces are never there at once.

use crate::CudaError;
use crate::gpu::Gpu;
use crate::host::{HostActivation, HostLinear, HostMaskedLm};
use crate::launch::Norm;
use crate::model::{Linear, Upload};
use crate::number::Number;
use crate::source::load;
use cudarc::driver::CudaFunction;
use std::path::Path;

/// Columns of a tile are a multiple of it, so that tensor cores take its rows.
const COLUMNS: usize = 8;
/// Maxima that a pass gives at most, but for a single sequence: 64 MiB on the GPU, and as much on the host.
const MAX_MAXIMA: usize = 16 << 20;

/// The head, and the kernels that it alone needs.
pub(crate) struct MaskedLm<T> {
    pub dense: Linear<T>,
    pub norm: Norm,
    /// The vocabulary by tiles.
    pub decoder: Vec<Linear<T>>,
    pub vocabulary: usize,
    /// Numbers of a row of maxima: the vocabulary, and what fills up its last tile.
    pub width: usize,
    pub activation: CudaFunction,
    pub row_norm: CudaFunction,
    pub max_logits: CudaFunction,
}

impl<T: Number> MaskedLm<T> {
    /// Compiles its kernels and puts its weights on the GPU.
    pub fn upload(
        upload: &Upload,
        gpu: &Gpu,
        head: &HostMaskedLm,
        hidden: usize,
        cache: Option<&Path>,
    ) -> Result<Self, CudaError> {
        let HostMaskedLm { dense, activation, norm, decoder } = *head;
        let vocabulary = decoder.bias.len();
        if dense.bias.len() != hidden || norm.gamma.len() != hidden || decoder.weight.len() != vocabulary * hidden {
            return Err(CudaError::Shape("the masked-LM head is not that of the model".into()));
        }
        let norms = load(gpu, "norm", T::HALF, &[("HIDDEN", hidden), ("ROW_NORM", 1)], cache)?;
        let kind = [("ACTIVATION", activation as usize)];
        let kind = if activation == HostActivation::Gelu { &[][..] } else { &kind };
        let columns = 3 * hidden;
        let tiles = decoder.weight.chunks(columns * hidden).zip(decoder.bias.chunks(columns));
        let tile = |(weight, bias): (&[f32], &[f32])| {
            let outputs = bias.len().next_multiple_of(COLUMNS);
            let (mut weight, mut bias) = (weight.to_vec(), bias.to_vec());
            weight.resize(outputs * hidden, 0.0);
            // What is no word piece is never above 0.
            bias.resize(outputs, f32::MIN);
            upload.linear(HostLinear { weight: &weight, bias: &bias })
        };
        Ok(Self {
            dense: upload.linear(dense)?,
            norm: upload.norm(norm)?,
            decoder: tiles.map(tile).collect::<Result<_, _>>()?,
            vocabulary,
            width: vocabulary.next_multiple_of(COLUMNS),
            activation: load(gpu, "gelu", T::HALF, kind, cache)?.load_function("bias_gelu")?,
            row_norm: norms.load_function("row_norm")?,
            max_logits: load(gpu, "heads", T::HALF, &[("LOGITS", 1)], cache)?.load_function("max_logits")?,
        })
    }

    /// Sequences of a pass at most.
    pub fn max_sequences(&self) -> usize {
        max_sequences(self.width)
    }
}

/// As many as there is room for when they are rounded up ([`Sizes`](crate::work::Sizes)): to a power of two, with one
/// that is there for nobody.
fn max_sequences(width: usize) -> usize {
    let rows = (MAX_MAXIMA / width.max(1)).max(2);
    (1 << rows.ilog2()) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::Sizes;

    #[test]
    fn maxima_of_a_pass_fit_their_room_whatever_they_are_rounded_up_to() {
        for width in [8, 512, 30_528, 250_008, MAX_MAXIMA - 8, 2 * MAX_MAXIMA] {
            let most = max_sequences(width);
            let rows = Sizes::of(16_384, most, 1).sequences;
            assert!(most == 1 || rows * width <= MAX_MAXIMA, "{rows} rows of {width}");
            assert!(most == 1 || 4 * rows * width > MAX_MAXIMA, "{rows} rows of {width} are few");
        }
    }
}
