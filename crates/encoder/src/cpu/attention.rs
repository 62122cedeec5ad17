//! Attention over packed sequences: each token attends to the tokens of its own sequence, or to those near it, so
//! nothing is padded or masked but a few lanes of a row of scores.

use super::isa::multiversion;
use super::math::exp;
use super::simd::{LANES, Simd, transpose};
use crate::weights::RelativeBias;
use std::ops::Range;

/// Query rows handled together: enough independent sums to hide the latency of a multiply-add.
const ROWS: usize = 4;

/// From the n-th on, what to add to 16 scores of which the last n are past the last key. A constant, since a vector
/// that was half written just before is read slowly.
static PAST: [f32; 2 * LANES] = {
    let mut past = [0.0; 2 * LANES];
    let mut lane = LANES;
    while lane < past.len() {
        past[lane] = f32::NEG_INFINITY;
        lane += 1;
    }
    past
};

/// Scratch of one head of one sequence, reused.
#[derive(Default)]
pub struct AttentionScratch {
    /// Keys of the head, `[head width, length rounded up to 16]`.
    keys: Vec<f32>,
    /// Values of the head, `[length, head width]`.
    values: Vec<f32>,
    /// Scores of `ROWS` queries, `[ROWS, length rounded up to 16]`.
    scores: Vec<f32>,
}

/// Which keys a query attends to, and what is added to their scores.
#[derive(Clone, Copy, Default)]
pub struct Reach<'a> {
    /// Tokens to each side; all of the sequence where there is none.
    pub window: Option<usize>,
    /// By distance.
    pub bias: Option<&'a RelativeBias>,
}

impl Reach<'_> {
    /// The keys that some of `rows` queries from `query` on attend to; the first is a multiple of 16.
    #[inline(always)]
    fn keys(&self, query: usize, rows: usize, length: usize) -> Range<usize> {
        match self.window {
            None => 0..length,
            Some(window) => {
                query.saturating_sub(window) / LANES * LANES..(query + rows).saturating_add(window).min(length)
            }
        }
    }

    /// Adds the bias of a head to a row of scores, of the query at `query` and the keys from `first` on, and leaves
    /// nothing of the keys outside its window.
    #[inline(always)]
    fn apply(&self, head: usize, query: usize, first: usize, scores: &mut [f32]) {
        if let Some(RelativeBias { by_distance, reach }) = self.bias {
            let own = &by_distance[head * (2 * reach + 1)..][..2 * reach + 1];
            let from = own.get(reach + first - query..).unwrap_or_default();
            scores.iter_mut().zip(from).for_each(|(score, bias)| *score += bias);
        }
        if let Some(window) = self.window {
            let near =
                query.saturating_sub(window).saturating_sub(first)..(query + window + 1 - first).min(scores.len());
            scores[..near.start].fill(f32::NEG_INFINITY);
            scores[near.end..].fill(f32::NEG_INFINITY);
        }
    }
}

multiversion! {
    /// `out[t] = softmax(q[t] · Kᵀ) · V`, head by head, for the tokens of the batch from `first` on, as many as `out`
    /// has rows; each attends to its own sequence, as `offsets` bound them, as far as `reach` says. `qkv` holds, a
    /// token a row, the queries (already scaled by 1/√D), keys and values of all heads side by side; `D` is the width
    /// of a head.
    pub fn attend<const D: usize>(
        simd, qkv: &[f32], offsets: &[u32], heads: usize, reach: Reach<'_>, first: usize,
        scratch: &mut AttentionScratch, out: &mut [f32],
    ) {
        let (hidden, stride) = (heads * D, 3 * heads * D);
        let end = first + out.len() / hidden;
        for bounds in offsets.windows(2) {
            let (start, stop) = (bounds[0] as usize, bounds[1] as usize);
            let (from, to) = (start.max(first), stop.min(end));
            if from >= to {
                continue;
            }
            let padded = (stop - start).next_multiple_of(LANES);
            let qkv = &qkv[start * stride..stop * stride];
            let out = &mut out[(from - first) * hidden..(to - first) * hidden];
            scratch.keys.resize(D * padded, 0.0);
            scratch.scores.resize(ROWS * padded, 0.0);
            scratch.values.resize((stop - start) * D, 0.0);
            for head in 0..heads {
                transpose_keys::<S, D>(simd, qkv, stride, hidden + head * D, padded, &mut scratch.keys);
                let values = scratch.values.as_chunks_mut::<D>().0;
                gather_values(simd, qkv, stride, 2 * hidden + head * D, values);
                if head + 1 < heads {
                    prefetch_head::<S, D>(simd, qkv, stride, (head + 1) * D);
                }
                for query in (from - start..to - start).step_by(ROWS) {
                    let rows = ROWS.min(to - start - query);
                    let scale = weigh::<S, D>(simd, qkv, stride, head, query, rows, reach, padded, scratch);
                    let keys = reach.keys(query, rows, stop - start);
                    let values = &scratch.values.as_chunks::<D>().0[keys.clone()];
                    let out = &mut out[(query - (from - start)) * hidden + head * D..];
                    mix(simd, values, &scratch.scores, padded, keys, &scale, rows, hidden, out);
                }
            }
        }
    }
}

multiversion! {
    /// Adds to `out` what each token of each sequence pays to each other one, `share` of the sum over all heads: the
    /// sequences' `[length, length]` one after another. A look at the model, once in many passes, and so no faster
    /// than it need be.
    pub fn add_weights<const D: usize>(
        simd, qkv: &[f32], offsets: &[u32], heads: usize, reach: Reach<'_>, share: f32,
        scratch: &mut AttentionScratch, out: &mut [f32],
    ) {
        let (hidden, stride) = (heads * D, 3 * heads * D);
        let mut out = out;
        for bounds in offsets.windows(2) {
            let (start, stop) = (bounds[0] as usize, bounds[1] as usize);
            let (length, padded) = (stop - start, (stop - start).next_multiple_of(LANES));
            let qkv = &qkv[start * stride..stop * stride];
            let (own, rest) = out.split_at_mut(length * length);
            out = rest;
            scratch.keys.resize(D * padded, 0.0);
            scratch.scores.resize(ROWS * padded, 0.0);
            for head in 0..heads {
                transpose_keys::<S, D>(simd, qkv, stride, hidden + head * D, padded, &mut scratch.keys);
                for query in (0..length).step_by(ROWS) {
                    let rows = ROWS.min(length - query);
                    let scales = weigh::<S, D>(simd, qkv, stride, head, query, rows, reach, padded, scratch);
                    let keys = reach.keys(query, rows, length);
                    let rows = own[query * length..].chunks_exact_mut(length).take(rows);
                    for ((row, scores), scale) in rows.zip(scratch.scores.chunks_exact(padded)).zip(scales) {
                        let pairs = row[keys.clone()].iter_mut().zip(&scores[keys.clone()]);
                        pairs.for_each(|(sum, weight)| *sum += *weight * scale * share);
                    }
                }
            }
        }
    }
}

/// Writes `e^(score − max)` of some queries of a head to `scratch.scores`, for the keys that they attend to, and gives
/// 1 / the sum of each.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn weigh<S: Simd, const D: usize>(
    s: S,
    qkv: &[f32],
    stride: usize,
    head: usize,
    query: usize,
    rows: usize,
    reach: Reach<'_>,
    padded: usize,
    scratch: &mut AttentionScratch,
) -> [f32; ROWS] {
    let keys = reach.keys(query, rows, qkv.len() / stride);
    let end = keys.end.next_multiple_of(LANES);
    let AttentionScratch { keys: packed, scores, .. } = scratch;
    score::<S, D>(s, qkv, stride, head * D, query, rows, packed, padded, keys.start..end, scores);
    let is_plain = reach.window.is_none() && reach.bias.is_none();
    let mut scale = [0f32; ROWS];
    for (r, (scale, row)) in scale.iter_mut().zip(scores.chunks_exact_mut(padded)).enumerate() {
        let row = &mut row[keys.start..end];
        if !is_plain {
            reach.apply(head, query + r.min(rows - 1), keys.start, &mut row[..keys.len()]);
        }
        *scale = softmax(s, row, keys.len());
    }
    scale
}

/// `keys[d, j] = qkv[j, column + d]`, zero past the last token.
#[inline(always)]
fn transpose_keys<S: Simd, const D: usize>(
    s: S,
    qkv: &[f32],
    stride: usize,
    column: usize,
    padded: usize,
    keys: &mut [f32],
) {
    for (block, tokens) in qkv.chunks(LANES * stride).enumerate() {
        for from in (0..D).step_by(LANES) {
            let mut rows = [s.splat(0.0); LANES];
            for (r, row) in rows.iter_mut().enumerate() {
                if let Some(token) = tokens.get(r * stride + column + from..) {
                    *row = s.load(sixteen(token, 0));
                }
            }
            for (d, row) in transpose(s, rows).into_iter().enumerate() {
                let at = (from + d) * padded + block * LANES;
                s.store(row, keys[at..].first_chunk_mut().expect("rows are padded to 16"));
            }
        }
    }
}

/// The values of a head side by side: where they stand, each is as far from the next as a token's row is long, and so
/// they would share few sets of the first cache.
#[inline(always)]
fn gather_values<S: Simd, const D: usize>(s: S, qkv: &[f32], stride: usize, column: usize, values: &mut [[f32; D]]) {
    for (token, value) in qkv.chunks_exact(stride).zip(values) {
        for (lane, value) in value.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            s.store(s.load(sixteen(token, column + lane * LANES)), value);
        }
    }
}

/// Brings queries, keys and values of the head whose queries are at `column` closer: they lie too far apart for the CPU
/// to foresee.
#[inline(always)]
fn prefetch_head<S: Simd, const D: usize>(s: S, qkv: &[f32], stride: usize, column: usize) {
    for token in qkv.chunks_exact(stride) {
        for part in token.chunks_exact(stride / 3) {
            for lane in (0..D).step_by(LANES) {
                s.prefetch(sixteen(part, column + lane));
            }
        }
    }
}

/// The 16 numbers at `at`.
#[inline(always)]
fn sixteen(x: &[f32], at: usize) -> &[f32; LANES] {
    x[at..].first_chunk::<LANES>().expect("rows are padded to 16")
}

/// `scores[r, j] = q[query + r] · keys[:, j]` for each j of `blocks`, whose ends are multiples of 16; rows past the
/// last query repeat it.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn score<S: Simd, const D: usize>(
    s: S,
    qkv: &[f32],
    stride: usize,
    column: usize,
    query: usize,
    rows: usize,
    keys: &[f32],
    padded: usize,
    blocks: Range<usize>,
    scores: &mut [f32],
) {
    let mut q = [&[0f32; D]; ROWS];
    for (r, q) in q.iter_mut().enumerate() {
        let at = (query + r.min(rows - 1)) * stride + column;
        *q = qkv[at..].first_chunk::<D>().expect("a token's row holds every head");
    }
    // More blocks at a time load each query less often.
    let most = S::SUMS_OF_FOUR;
    let mut block = blocks.start;
    while block < blocks.end {
        let count = ((blocks.end - block) / LANES).min(most);
        match count {
            1 => score_blocks::<S, D, 1>(s, &q, keys, padded, block, scores),
            2 => score_blocks::<S, D, 2>(s, &q, keys, padded, block, scores),
            3 => score_blocks::<S, D, 3>(s, &q, keys, padded, block, scores),
            _ => score_blocks::<S, D, 4>(s, &q, keys, padded, block, scores),
        }
        block += count * LANES;
    }
}

/// `B` blocks of 16 scores of each row, from key `block` on.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "the same d picks a key and four queries")]
fn score_blocks<S: Simd, const D: usize, const B: usize>(
    s: S,
    q: &[&[f32; D]; ROWS],
    keys: &[f32],
    padded: usize,
    block: usize,
    scores: &mut [f32],
) {
    let mut sums = [[s.splat(0.0); B]; ROWS];
    for d in 0..D {
        let mut key = [s.splat(0.0); B];
        for (b, key) in key.iter_mut().enumerate() {
            *key = s.load(sixteen(keys, d * padded + block + b * LANES));
        }
        for r in 0..ROWS {
            let query = s.splat(q[r][d]);
            for b in 0..B {
                sums[r][b] = s.fma(query, key[b], sums[r][b]);
            }
        }
    }
    for (r, sums) in sums.into_iter().enumerate() {
        for (b, sum) in sums.into_iter().enumerate() {
            let at = r * padded + block + b * LANES;
            s.store(sum, scores[at..].first_chunk_mut::<LANES>().expect("rows are padded to 16"));
        }
    }
}

/// Turns a row of scores into `e^(score − max)`, and gives 1 / their sum. What is past `length` counts for nothing, and
/// stays undefined.
#[inline(always)]
fn softmax<S: Simd>(s: S, row: &mut [f32], length: usize) -> f32 {
    let past = s.load(sixteen(&PAST, row.len() - length));
    let Some((last, chunks)) = row.as_chunks_mut::<LANES>().0.split_last_mut() else { return 0.0 };
    let tail = s.add(s.load(last), past);
    let mut most = tail;
    for x in chunks.iter() {
        most = s.max(most, s.load(x));
    }
    let most = s.splat(s.largest(most));
    let e = exp(s, s.sub(tail, most));
    s.store(e, last);
    let mut total = e;
    for x in chunks {
        let e = exp(s, s.sub(s.load(x), most));
        total = s.add(total, e);
        s.store(e, x);
    }
    1.0 / s.sum(total)
}

/// `out[r] = scale[r] · Σ_j scores[r, j] · values[j]`, j of `keys`, for the first `rows` rows; a row of `out` is
/// `hidden` apart.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn mix<S: Simd, const D: usize>(
    s: S,
    values: &[[f32; D]],
    scores: &[f32],
    padded: usize,
    keys: Range<usize>,
    scale: &[f32; ROWS],
    rows: usize,
    hidden: usize,
    out: &mut [f32],
) {
    let mut rows_of_scores = scores.chunks_exact(padded).map(|row| &row[keys.clone()]);
    let weights: [&[f32]; ROWS] = std::array::from_fn(|_| rows_of_scores.next().unwrap_or_default());
    for half in (0..D).step_by(2 * LANES) {
        let mut sums = [[s.splat(0.0); 2]; ROWS];
        let [first, second, third, fourth] = weights;
        for ((((value, first), second), third), fourth) in values.iter().zip(first).zip(second).zip(third).zip(fourth) {
            let value = [s.load(sixteen(value, half)), s.load(sixteen(value, half + LANES))];
            for (sums, weight) in sums.iter_mut().zip([first, second, third, fourth]) {
                let weight = s.splat(*weight);
                *sums = [s.fma(weight, value[0], sums[0]), s.fma(weight, value[1], sums[1])];
            }
        }
        for (r, sums) in sums.into_iter().enumerate().take(rows) {
            for (i, sum) in sums.into_iter().enumerate() {
                let at = r * hidden + half + i * LANES;
                let place = out[at..].first_chunk_mut::<LANES>().expect("a row of the output holds every head");
                s.store(s.mul(sum, s.splat(scale[r])), place);
            }
        }
    }
}
