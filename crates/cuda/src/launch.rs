//! The kernels as functions: each takes what its file in `kernels/` says, holds the sizes against each other, and
//! launches it.
//!
//! What a kernel reads through an index (token ids, offsets, tiles) cannot be seen here, on the host: whoever uploads
//! it has held it against what it refers to.

use crate::CudaError;
use cudarc::driver::{CudaFunction, CudaSlice, CudaStream, CudaView, DeviceRepr, LaunchConfig, PushKernelArg};
use std::sync::Arc;

/// Rows that a block of the kernels with a warp a row works on.
const ROWS_OF_BLOCK: usize = 4;
/// Blocks of the element-wise kernel, at most: each goes on in steps of the grid.
const MAX_BLOCKS: usize = 4096;
/// Threads of a block of it: MAX_THREADS of gelu.cu.
const MAX_GELU_THREADS: u32 = 512;
/// Threads of a block of pooling: POOL_THREADS of heads.cu.
const POOL_THREADS: u32 = 192;

type Stream = Arc<CudaStream>;

/// LayerNorm's scale and shift on the GPU.
pub(crate) struct Norm {
    pub gamma: CudaSlice<f32>,
    pub beta: CudaSlice<f32>,
    pub epsilon: f32,
}

/// How far a selection is: `Selection` of recall.cu.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Selection {
    pub prefix: u64,
    pub wanted: u32,
    pub shift: u32,
    pub found: u32,
    pub padding: u32,
}

// SAFETY: numbers alone, laid out as C does.
unsafe impl DeviceRepr for Selection {}

fn grid(blocks: usize, heads: usize, threads: u32) -> LaunchConfig {
    LaunchConfig { grid_dim: (blocks.max(1) as u32, heads as u32, 1), block_dim: (threads, 1, 1), shared_mem_bytes: 0 }
}

/// `[tokens, hidden]` of word_embeddings and positions, normalised. The ids and places are below the rows of their
/// tables.
#[allow(clippy::too_many_arguments, reason = "those of the kernel")]
pub(crate) fn embed_norm<T>(
    stream: &Stream,
    function: &CudaFunction,
    (ids, word_embeddings): (&CudaView<u32>, &CudaSlice<T>),
    (places, positions): (&CudaView<u32>, &CudaSlice<T>),
    norm: &Norm,
    states: &mut CudaSlice<T>,
    tokens: usize,
) -> Result<(), CudaError> {
    let (hidden, count) = (norm.gamma.len(), tokens as u32);
    assert!(ids.len() >= tokens && places.len() >= tokens && states.len() >= tokens * hidden);
    // SAFETY: the arguments are the kernel's, in order; what it writes and reads by row was held against its size.
    unsafe {
        stream
            .launch_builder(function)
            .arg(ids)
            .arg(places)
            .arg(word_embeddings)
            .arg(positions)
            .arg(&norm.gamma)
            .arg(&norm.beta)
            .arg(&norm.epsilon)
            .arg(states)
            .arg(&count)
            .launch(grid(tokens.div_ceil(ROWS_OF_BLOCK), 1, 128))?;
    }
    Ok(())
}

/// `states = norm(states + update + bias)`, row by row.
pub(crate) fn residual_norm<T>(
    stream: &Stream,
    function: &CudaFunction,
    states: &mut CudaSlice<T>,
    (update, bias): (&CudaSlice<T>, &CudaSlice<f32>),
    norm: &Norm,
    tokens: usize,
) -> Result<(), CudaError> {
    let (hidden, count) = (norm.gamma.len(), tokens as u32);
    assert!(states.len() >= tokens * hidden && update.len() >= tokens * hidden && bias.len() == hidden);
    // SAFETY: the arguments are the kernel's, in order, and their sizes were held against each other.
    unsafe {
        stream
            .launch_builder(function)
            .arg(states)
            .arg(update)
            .arg(bias)
            .arg(&norm.gamma)
            .arg(&norm.beta)
            .arg(&norm.epsilon)
            .arg(&count)
            .launch(grid(tokens.div_ceil(ROWS_OF_BLOCK), 1, 128))?;
    }
    Ok(())
}

/// `x = gelu(x + bias)`, in rows as wide as the bias.
pub(crate) fn bias_gelu<T>(
    stream: &Stream,
    function: &CudaFunction,
    x: &mut CudaSlice<T>,
    bias: &CudaSlice<f32>,
    rows: usize,
) -> Result<(), CudaError> {
    let (width, count) = (bias.len() as u32, rows as u32);
    assert!(bias.len().is_multiple_of(8) && x.len() >= rows * bias.len());
    let threads = (width / 8).next_multiple_of(32).min(MAX_GELU_THREADS);
    let blocks = rows.min(MAX_BLOCKS);
    // SAFETY: the arguments are the kernel's, in order, and their sizes were held against each other.
    unsafe {
        stream.launch_builder(function).arg(x).arg(bias).arg(&width).arg(&count).launch(grid(blocks, 1, threads))?;
    }
    Ok(())
}

/// Attention of the tiles' queries. Offsets and tiles are of sequences whose tokens `qkv` and `mixed` have room for.
pub(crate) fn attention<T>(
    stream: &Stream,
    function: &CudaFunction,
    (qkv, query_bias): (&CudaSlice<T>, &CudaSlice<f32>),
    offsets: &CudaView<u32>,
    tiles: (&CudaView<u32>, usize),
    heads: usize,
    mixed: &mut CudaSlice<T>,
) -> Result<(), CudaError> {
    assert!(tiles.0.len() >= 2 * tiles.1 && qkv.len() >= 3 * mixed.len() && query_bias.len().is_multiple_of(heads));
    // SAFETY: the arguments are the kernel's, in order; that the tiles are of these tokens is the caller's part.
    unsafe {
        stream
            .launch_builder(function)
            .arg(qkv)
            .arg(query_bias)
            .arg(offsets)
            .arg(tiles.0)
            .arg(mixed)
            .launch(grid(tiles.1, heads, 128))?;
    }
    Ok(())
}

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
            .launch(grid(tokens.div_ceil(ROWS_OF_BLOCK), 1, 128))?;
    }
    Ok(())
}

/// Scores of `count` rows for `at_once` questions; `allowed` has a bit for each row.
pub(crate) fn score_rows(
    stream: &Stream,
    function: &CudaFunction,
    rows: &CudaSlice<u16>,
    (queries, at_once): (&CudaSlice<f32>, usize),
    allowed: Option<&CudaSlice<u32>>,
    scores: &mut CudaSlice<f32>,
    (count, blocks): (usize, usize),
) -> Result<(), CudaError> {
    assert!(rows.len() >= count * queries.len() / at_once && scores.len() >= count * at_once);
    assert!(allowed.is_none_or(|bits| bits.len() >= count.div_ceil(32)));
    let (count, none) = (count as u32, 0u64);
    let mut launch = stream.launch_builder(function);
    launch.arg(rows).arg(queries);
    match allowed {
        Some(bits) => launch.arg(bits),
        None => launch.arg(&none),
    };
    launch.arg(scores).arg(&count);
    // SAFETY: the arguments are the kernel's, in order, and their sizes were held against each other; a null for
    // `allowed` is one of its values.
    unsafe { launch.launch(grid(blocks, 1, 128))? };
    Ok(())
}

/// Codes of 8 bits of rows, and their scales.
pub(crate) fn encode_rows(
    stream: &Stream,
    function: &CudaFunction,
    rows: &CudaSlice<u16>,
    codes: &mut CudaSlice<i8>,
    scales: &mut CudaSlice<f32>,
    (count, blocks): (usize, usize),
) -> Result<(), CudaError> {
    assert!(codes.len() >= rows.len() && scales.len() >= count);
    let count = count as u32;
    // SAFETY: the arguments are the kernel's, in order, and their sizes were held against each other.
    unsafe {
        stream.launch_builder(function).arg(rows).arg(codes).arg(scales).arg(&count).launch(grid(blocks, 1, 128))?;
    }
    Ok(())
}

/// Scores of `count` rows by their codes.
pub(crate) fn score_codes(
    stream: &Stream,
    function: &CudaFunction,
    (codes, scales): (&CudaSlice<i8>, &CudaSlice<f32>),
    (query, scale): (&CudaSlice<i8>, f32),
    scores: &mut CudaSlice<f32>,
    (count, blocks): (usize, usize),
) -> Result<(), CudaError> {
    assert!(codes.len() >= count * query.len() && scales.len() >= count && scores.len() >= count);
    let (count, none) = (count as u32, 0u64);
    // SAFETY: the arguments are the kernel's, in order, and their sizes were held against each other; `allowed` is
    // null, so all are.
    unsafe {
        stream
            .launch_builder(function)
            .arg(codes)
            .arg(scales)
            .arg(query)
            .arg(&scale)
            .arg(&none)
            .arg(scores)
            .arg(&count)
            .launch(grid(blocks, 1, 128))?;
    }
    Ok(())
}

/// One digit of a selection: counts how many keys have each, and takes the one that the k-th best has.
pub(crate) fn select_digit(
    stream: &Stream,
    (count_function, digit_function): (&CudaFunction, &CudaFunction),
    scores: &CudaView<f32>,
    state: &mut CudaSlice<Selection>,
    histogram: &mut CudaSlice<u32>,
    blocks: usize,
) -> Result<(), CudaError> {
    assert!(histogram.len() == 256 && state.len() == 1);
    let count = scores.len() as u32;
    // SAFETY: the arguments are the kernels', in order: as many scores as are there, one state, and 256 counters.
    unsafe {
        let mut launch = stream.launch_builder(count_function);
        launch.arg(scores).arg(&count).arg(&*state).arg(&mut *histogram).launch(grid(blocks, 1, 256))?;
        stream.launch_builder(digit_function).arg(state).arg(histogram).launch(grid(1, 1, 1))?;
    }
    Ok(())
}

/// The keys that a finished selection chose.
pub(crate) fn select_gather(
    stream: &Stream,
    function: &CudaFunction,
    scores: &CudaView<f32>,
    state: &mut CudaSlice<Selection>,
    rows: &mut CudaSlice<u32>,
    best: &mut CudaSlice<f32>,
    blocks: usize,
) -> Result<(), CudaError> {
    let (count, capacity) = (scores.len() as u32, rows.len().min(best.len()) as u32);
    // SAFETY: the arguments are the kernel's, in order; it writes no more than there is room for.
    unsafe {
        let mut launch = stream.launch_builder(function);
        launch.arg(scores).arg(&count).arg(state).arg(rows).arg(best).arg(&capacity).launch(grid(blocks, 1, 256))?;
    }
    Ok(())
}
