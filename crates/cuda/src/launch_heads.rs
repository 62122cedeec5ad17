//! The kernels of heads as functions, as [`launch`](crate::launch) has the others.

use crate::CudaError;
use crate::launch::{Norm, Stream, grid, warp_per_row};
use cudarc::driver::{CudaFunction, CudaSlice, CudaView, PushKernelArg};

/// Threads of a block of pooling: POOL_THREADS of heads.cu.
const POOL_THREADS: u32 = 192;
/// Columns that a block of `max_logits` works on.
const COLUMNS_OF_BLOCK: usize = 256;

/// The mean of each sequence's states. The offsets are of tokens that `states` has.
pub(crate) fn mean_pool<T>(
    stream: &Stream,
    function: &CudaFunction,
    states: &CudaSlice<T>,
    offsets: &CudaView<u32>,
    vectors: &mut CudaSlice<f32>,
    (sequences, width): (usize, usize),
    normalize: bool,
) -> Result<(), CudaError> {
    assert!(offsets.len() > sequences && vectors.len() >= sequences * width);
    let (width, normalize) = (width as u32, u32::from(normalize));
    // SAFETY: the arguments are the kernel's, in order; that the offsets are of these states is the caller's part.
    unsafe {
        stream
            .launch_builder(function)
            .arg(states)
            .arg(offsets)
            .arg(vectors)
            .arg(&width)
            .arg(&normalize)
            .launch(grid(sequences, 1, POOL_THREADS))?;
    }
    Ok(())
}

/// How likely each token is to be kept, by a logit of states as wide as `weight`.
pub(crate) fn keep<T>(
    stream: &Stream,
    function: &CudaFunction,
    states: &CudaSlice<T>,
    (weight, bias): (&CudaSlice<f32>, f32),
    kept: &mut CudaSlice<f32>,
    tokens: usize,
) -> Result<(), CudaError> {
    assert!(states.len() >= tokens * weight.len() && kept.len() >= tokens);
    let (width, count) = (weight.len() as u32, tokens as u32);
    // SAFETY: the arguments are the kernel's, in order, and their sizes were held against each other.
    unsafe {
        stream
            .launch_builder(function)
            .arg(states)
            .arg(weight)
            .arg(&bias)
            .arg(kept)
            .arg(&width)
            .arg(&count)
            .launch(warp_per_row(tokens))?;
    }
    Ok(())
}

/// `states = norm(states)`, row by row.
pub(crate) fn row_norm<T>(
    stream: &Stream,
    function: &CudaFunction,
    states: &mut CudaSlice<T>,
    norm: &Norm,
    tokens: usize,
) -> Result<(), CudaError> {
    let count = tokens as u32;
    assert!(states.len() >= tokens * norm.gamma.len());
    // SAFETY: the arguments are the kernel's, in order, and their sizes were held against each other.
    unsafe {
        stream.launch_builder(function).arg(states).arg(norm).arg(&count).launch(warp_per_row(tokens))?;
    }
    Ok(())
}

/// The columns that a tile of the vocabulary has in rows of maxima.
#[derive(Clone, Copy)]
pub(crate) struct Columns {
    pub first: usize,
    /// Numbers of a row of maxima.
    pub width: usize,
}

/// The largest logit of each column among a sequence's tokens, at least 0. The offsets are of tokens that `logits` has.
pub(crate) fn max_logits<T>(
    stream: &Stream,
    function: &CudaFunction,
    (logits, bias): (&CudaSlice<T>, &CudaSlice<f32>),
    (offsets, sequences): (&CudaView<u32>, usize),
    maxima: &mut CudaSlice<f32>,
    Columns { first, width }: Columns,
) -> Result<(), CudaError> {
    let columns = bias.len();
    assert!(offsets.len() > sequences && maxima.len() >= sequences * width && first + columns <= width);
    assert!(first.is_multiple_of(2) && columns.is_multiple_of(2) && width.is_multiple_of(2));
    let blocks_of_sequence = columns.div_ceil(COLUMNS_OF_BLOCK);
    let (first, columns, width) = (first as u32, columns as u32, width as u32);
    // SAFETY: the arguments are the kernel's, in order, and what it writes was held against its size; that the offsets
    // are of these logits is the caller's part.
    unsafe {
        stream
            .launch_builder(function)
            .arg(logits)
            .arg(bias)
            .arg(offsets)
            .arg(maxima)
            .arg(&first)
            .arg(&columns)
            .arg(&width)
            .launch(grid(sequences, blocks_of_sequence, 128))?;
    }
    Ok(())
}
