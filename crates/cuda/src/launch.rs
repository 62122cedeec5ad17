//! The kernels as functions: each takes what its file in `kernels/` says, holds the sizes against each other, and
//! launches it.
//!
//! What a kernel reads through an index (token ids, offsets, tiles) cannot be seen here, on the host: whoever uploads
//! it has held it against what it refers to.

use crate::CudaError;
use cudarc::driver::{CudaFunction, CudaSlice, CudaStream, CudaView, LaunchArgs, LaunchConfig, PushKernelArg};
use std::sync::Arc;

/// Rows that a block of the kernels with a warp a row works on.
const ROWS_OF_BLOCK: usize = 4;
/// Blocks of the element-wise kernels, at most: each goes on in steps of the grid.
const MAX_BLOCKS: usize = 4096;
/// Threads of a block of them: MAX_THREADS of gelu.cu and rotary.cu.
const MAX_ROW_THREADS: u32 = 512;

/// Rows of a group: GROUP of recall.cu.
pub(crate) const GROUP: usize = 128;

pub(crate) type Stream = Arc<CudaStream>;

/// LayerNorm's scale and shift on the GPU.
pub(crate) struct Norm {
    pub gamma: CudaSlice<f32>,
    pub beta: CudaSlice<f32>,
    pub epsilon: f32,
}

// SAFETY: each of the three is an argument of its own, as cudarc has it.
unsafe impl<'a, 'b: 'a> PushKernelArg<&'b Norm> for LaunchArgs<'a> {
    /// Scale, shift and epsilon: three arguments, as the kernels of norms have them in a row.
    #[inline(always)]
    fn arg(&mut self, norm: &'b Norm) -> &mut Self {
        self.arg(&norm.gamma).arg(&norm.beta).arg(&norm.epsilon)
    }
}

pub(crate) fn grid(blocks: usize, heads: usize, threads: u32) -> LaunchConfig {
    LaunchConfig { grid_dim: (blocks.max(1) as u32, heads as u32, 1), block_dim: (threads, 1, 1), shared_mem_bytes: 0 }
}

/// Of the kernels with a warp a row.
pub(crate) fn warp_per_row(rows: usize) -> LaunchConfig {
    grid(rows.div_ceil(ROWS_OF_BLOCK), 1, 128)
}

/// `[tokens, hidden]` of word_embeddings and positions, normalised; of the former alone where the kernel was compiled
/// for that. The ids and places are below the rows of their tables.
#[allow(clippy::too_many_arguments, reason = "those of the kernel")]
pub(crate) fn embed_norm<T>(
    stream: &Stream,
    function: &CudaFunction,
    (ids, word_embeddings): (&CudaView<u32>, &CudaSlice<T>),
    (places, positions): (&CudaView<u32>, Option<&CudaSlice<T>>),
    norm: &Norm,
    states: &mut CudaSlice<T>,
    tokens: usize,
) -> Result<(), CudaError> {
    let (hidden, count, none) = (norm.gamma.len(), tokens as u32, 0u64);
    assert!(ids.len() >= tokens && places.len() >= tokens && states.len() >= tokens * hidden);
    let mut launch = stream.launch_builder(function);
    launch.arg(ids).arg(places).arg(word_embeddings);
    match positions {
        Some(positions) => launch.arg(positions),
        None => launch.arg(&none),
    };
    // SAFETY: the arguments are the kernel's, in order; what it writes and reads by row was held against its size.
    unsafe { launch.arg(norm).arg(states).arg(&count).launch(warp_per_row(tokens))? };
    Ok(())
}

/// `residual_norm`: `states = norm(states + update + bias)`, row by row.
///
/// `add_norm`, where there is a place for `normed`: `states = states + update + bias`, and `normed` the norm of it.
pub(crate) fn residual_norm<T>(
    stream: &Stream,
    function: &CudaFunction,
    states: &mut CudaSlice<T>,
    (update, bias): (&CudaSlice<T>, &CudaSlice<f32>),
    norm: &Norm,
    normed: Option<&mut CudaSlice<T>>,
    tokens: usize,
) -> Result<(), CudaError> {
    let (hidden, count) = (norm.gamma.len(), tokens as u32);
    assert!(states.len() >= tokens * hidden && update.len() >= tokens * hidden && bias.len() == hidden);
    let mut launch = stream.launch_builder(function);
    launch.arg(states).arg(update).arg(bias).arg(norm);
    if let Some(normed) = normed {
        assert!(normed.len() >= tokens * hidden);
        launch.arg(normed);
    }
    // SAFETY: the arguments are the kernel's, in order, and their sizes were held against each other; that the kernel
    // is the one with a place for `normed`, or the one without, is the caller's part.
    unsafe { launch.arg(&count).launch(warp_per_row(tokens))? };
    Ok(())
}

/// `bias_gelu`: `x = activation(x + bias)`, in rows as wide as the bias.
///
/// `bias_gated`, where `is_gated`: the same of the first half of a row, times the second half plus its bias.
pub(crate) fn activate<T>(
    stream: &Stream,
    function: &CudaFunction,
    x: &mut CudaSlice<T>,
    bias: &CudaSlice<f32>,
    rows: usize,
    is_gated: bool,
) -> Result<(), CudaError> {
    let width = if is_gated { bias.len() / 2 } else { bias.len() };
    let is_whole = width.is_multiple_of(8) && (!is_gated || bias.len().is_multiple_of(2));
    assert!(is_whole && x.len() >= rows * bias.len());
    let (width, count) = (width as u32, rows as u32);
    let threads = (width / 8).next_multiple_of(32).min(MAX_ROW_THREADS);
    let blocks = rows.min(MAX_BLOCKS);
    // SAFETY: the arguments are the kernel's, in order, and their sizes were held against each other.
    unsafe {
        stream.launch_builder(function).arg(x).arg(bias).arg(&width).arg(&count).launch(grid(blocks, 1, threads))?;
    }
    Ok(())
}

/// Queries and keys plus their bias, turned. The places are below the rows of the angles.
pub(crate) fn rotate<T>(
    stream: &Stream,
    function: &CudaFunction,
    qkv: &mut CudaSlice<T>,
    bias: &CudaSlice<f32>,
    (places, angles): (&CudaView<u32>, &CudaSlice<f32>),
    tokens: usize,
) -> Result<(), CudaError> {
    let (columns, count) = (bias.len(), tokens as u32);
    assert!(columns.is_multiple_of(16) && places.len() >= tokens && 2 * qkv.len() >= 3 * tokens * columns);
    let threads = (columns as u32 / 16).next_multiple_of(32).min(MAX_ROW_THREADS);
    let blocks = tokens.min(MAX_BLOCKS);
    // SAFETY: the arguments are the kernel's, in order, and the sizes of what it goes through by row were held against
    // each other.
    unsafe {
        stream
            .launch_builder(function)
            .arg(qkv)
            .arg(bias)
            .arg(angles)
            .arg(places)
            .arg(&count)
            .launch(grid(blocks, 1, threads))?;
    }
    Ok(())
}

/// Which keys a query has, and what is added to their scores, as the kernel was compiled for it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Reach<'a> {
    /// Tokens to each side, of a kernel with LOCAL.
    pub window: Option<u32>,
    /// Numbers by distance and how far they reach, of a kernel with RELATIVE.
    pub relative: Option<(&'a CudaSlice<f32>, u32)>,
}

/// Attention of the tiles' queries. Offsets and tiles are of sequences whose tokens `qkv` and `mixed` have room for.
pub(crate) fn attention<T>(
    stream: &Stream,
    (function, reach): (&CudaFunction, Reach),
    (qkv, query_bias): (&CudaSlice<T>, &CudaSlice<f32>),
    offsets: &CudaView<u32>,
    tiles: (&CudaView<u32>, usize),
    heads: usize,
    mixed: &mut CudaSlice<T>,
) -> Result<(), CudaError> {
    assert!(tiles.0.len() >= 2 * tiles.1 && qkv.len() >= 3 * mixed.len() && query_bias.len().is_multiple_of(heads));
    let mut launch = stream.launch_builder(function);
    launch.arg(qkv).arg(query_bias).arg(offsets).arg(tiles.0).arg(mixed);
    if let Some(window) = &reach.window {
        launch.arg(window);
    }
    if let Some((by_distance, reach)) = &reach.relative {
        assert!(by_distance.len() >= heads * (2 * *reach as usize + 1));
        launch.arg(*by_distance).arg(reach);
    }
    // SAFETY: the arguments are the kernel's, in order; that the tiles are of these tokens, and that the kernel was
    // compiled for this reach, is the caller's part.
    unsafe { launch.launch(grid(tiles.1, heads, 128))? };
    Ok(())
}

/// The largest score of each group of rows: `scan_rows` and `scan_many` of recall.cu. `questions` are f32 of one, or
/// 16-bit numbers of as many as there are maxima of.
pub(crate) fn scan_rows(
    stream: &Stream,
    function: &CudaFunction,
    rows: &CudaSlice<u16>,
    questions: &CudaView<u32>,
    allowed: Option<&CudaSlice<u32>>,
    maxima: &mut CudaSlice<f32>,
    size: &Scan,
) -> Result<(), CudaError> {
    assert!(rows.len() >= size.count * size.width && maxima.len() >= size.maxima());
    let numbers = if size.questions == 1 { size.width } else { size.questions * size.width / 2 };
    assert!(questions.len() == numbers && size.allows(allowed));
    let (count, none) = (size.count as u32, 0u64);
    let mut launch = stream.launch_builder(function);
    launch.arg(rows).arg(questions);
    match allowed {
        Some(bits) => launch.arg(bits),
        None => launch.arg(&none),
    };
    launch.arg(maxima).arg(&count);
    // SAFETY: the arguments are the kernel's, in order, and their sizes were held against each other; a null for
    // `allowed` is one of its values.
    unsafe { launch.launch(grid(size.blocks, 1, 128))? };
    Ok(())
}

/// How much a scan reads.
#[derive(Clone, Copy)]
pub(crate) struct Scan {
    pub count: usize,
    /// Numbers of a row.
    pub width: usize,
    pub questions: usize,
    pub blocks: usize,
}

impl Scan {
    fn maxima(&self) -> usize {
        self.count.div_ceil(GROUP) * self.questions
    }

    fn allows(&self, allowed: Option<&CudaSlice<u32>>) -> bool {
        allowed.is_none_or(|bits| bits.len() >= self.count.div_ceil(32))
    }
}

/// What the scores of each group are at most, by the rows' codes: `scan_codes` of recall.cu. `question` has its high
/// bytes and its low ones; `factors` are what they are multiplied by, and what rows' errors are.
pub(crate) fn scan_codes(
    stream: &Stream,
    function: &CudaFunction,
    codes: &Codes,
    (question, factors): (&CudaView<u32>, (f32, f32)),
    allowed: Option<&CudaSlice<u32>>,
    maxima: &mut CudaSlice<f32>,
    size: &Scan,
) -> Result<(), CudaError> {
    assert!(codes.codes.len() >= size.count * size.width / 4 && codes.scales.len() >= size.count);
    assert!(question.len() * 2 == size.width && maxima.len() >= size.maxima() && size.allows(allowed));
    let (count, none, (step, length)) = (size.count as u32, 0u64, factors);
    let mut launch = stream.launch_builder(function);
    launch.arg(&codes.codes).arg(&codes.scales).arg(question).arg(&step).arg(&length);
    match allowed {
        Some(bits) => launch.arg(bits),
        None => launch.arg(&none),
    };
    launch.arg(maxima).arg(&count);
    // SAFETY: as in `scan_rows`.
    unsafe { launch.launch(grid(size.blocks, 1, 128))? };
    Ok(())
}

/// Codes of 8 bits of rows, four in a number, and their scales and errors.
pub(crate) struct Codes {
    pub codes: CudaSlice<u32>,
    pub scales: CudaSlice<u32>,
}

/// Codes of the rows from `from` up to `size.count`, where there is a place for them; and the largest squared lengths.
pub(crate) fn encode_rows(
    stream: &Stream,
    function: &CudaFunction,
    rows: &CudaSlice<u16>,
    codes: Option<&mut Codes>,
    largest: &mut CudaSlice<f32>,
    (from, size): (usize, &Scan),
) -> Result<(), CudaError> {
    assert!(from < size.count && rows.len() >= size.count * size.width && largest.len() >= 4 * size.blocks);
    let (count, none) = ((size.count - from) as u32, 0u64);
    let rows = rows.slice(from * size.width..size.count * size.width);
    let mut launch = stream.launch_builder(function);
    launch.arg(&rows);
    let mut parts = codes.map(|codes| {
        let four = size.width / 4;
        assert!(codes.codes.len() >= size.count * four && codes.scales.len() >= size.count);
        (codes.codes.slice_mut(from * four..size.count * four), codes.scales.slice_mut(from..size.count))
    });
    match &mut parts {
        Some((codes, scales)) => launch.arg(codes).arg(scales),
        None => launch.arg(&none).arg(&none),
    };
    launch.arg(largest).arg(&count);
    // SAFETY: the arguments are the kernel's, in order, and their sizes were held against each other; it writes no
    // codes where that is null.
    unsafe { launch.launch(grid(size.blocks, 1, 128))? };
    Ok(())
}

/// The scores of the rows of `groups` chosen groups for each question: of all groups, where `chosen` is none.
pub(crate) fn score_groups(
    stream: &Stream,
    function: &CudaFunction,
    (rows, questions): (&CudaSlice<u16>, &CudaView<u32>),
    allowed: Option<&CudaSlice<u32>>,
    chosen: Option<&CudaSlice<u32>>,
    scores: &mut CudaSlice<f32>,
    (size, groups): (&Scan, usize),
) -> Result<(), CudaError> {
    assert!(rows.len() >= size.count * size.width && questions.len() == size.questions * size.width);
    assert!(scores.len() >= size.questions * groups * GROUP && size.allows(allowed));
    assert!(chosen.is_none_or(|chosen| chosen.len() >= size.questions * (2 + 2 * groups)));
    let (count, stride, none) = (size.count as u32, 2 + 2 * groups as u32, 0u64);
    let mut launch = stream.launch_builder(function);
    launch.arg(rows).arg(questions);
    for numbers in [allowed, chosen] {
        match numbers {
            Some(numbers) => launch.arg(numbers),
            None => launch.arg(&none),
        };
    }
    launch.arg(&stride).arg(scores).arg(&count);
    // SAFETY: the arguments are the kernel's, in order, and their sizes were held against each other; nulls are among
    // their values. Groups are those that `choose_best` chose among as many as there are.
    unsafe { launch.launch(grid(groups, size.questions, 128))? };
    Ok(())
}

/// The `wanted` best of the first `count` values of each question; of rows of chosen groups, where there are such.
pub(crate) fn choose_best(
    stream: &Stream,
    function: &CudaFunction,
    (values, count): (&CudaSlice<f32>, usize),
    chosen: Option<&CudaSlice<u32>>,
    (questions, wanted): (usize, usize),
    best: &mut CudaSlice<u32>,
) -> Result<(), CudaError> {
    assert!(values.len() >= count * questions && (1..=count).contains(&wanted));
    assert!(best.len() >= questions * (2 + 2 * wanted));
    let stride = 2 + 2 * count.div_ceil(GROUP);
    assert!(chosen.is_none_or(|chosen| chosen.len() >= questions * stride));
    let (count, stride, wanted, none) = (count as u32, stride as u32, wanted as u32, 0u64);
    let mut launch = stream.launch_builder(function);
    launch.arg(values).arg(&count);
    match chosen {
        Some(chosen) => launch.arg(chosen),
        None => launch.arg(&none),
    };
    launch.arg(&stride).arg(&wanted).arg(best);
    // SAFETY: the arguments are the kernel's, in order, and their sizes were held against each other; a null for
    // `chosen` is one of its values.
    unsafe { launch.launch(grid(questions, 1, 1024))? };
    Ok(())
}
