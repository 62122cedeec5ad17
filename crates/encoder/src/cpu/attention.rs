//! Attention over packed sequences: each token attends to the tokens of its own sequence, or to those near it, so
//! nothing is padded or masked but a few lanes of a row of scores.

use super::isa::multiversion;
use super::math::exp;
use super::simd::{LANES, Simd};
use crate::weights::RelativeBias;
use std::ops::Range;

/// Query rows handled together: enough independent sums to hide the latency of a multiply-add.
const ROWS: usize = 4;

/// Scratch of one head of one sequence, reused.
#[derive(Default)]
pub struct AttentionScratch {
    /// Keys of the head, `[head width, length rounded up to 16]`.
    keys: Vec<f32>,
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
            for head in 0..heads {
                transpose_keys::<D>(qkv, stride, hidden + head * D, padded, &mut scratch.keys);
                for query in (from - start..to - start).step_by(ROWS) {
                    let rows = ROWS.min(to - start - query);
                    let scale = weigh::<S, D>(simd, qkv, stride, head, query, rows, reach, padded, scratch);
                    let keys = reach.keys(query, rows, stop - start);
                    let values = &qkv[2 * hidden + head * D..];
                    let out = &mut out[(query - (from - start)) * hidden + head * D..];
                    mix::<S, D>(simd, values, stride, &scratch.scores, padded, keys, &scale, rows, hidden, out);
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
                transpose_keys::<D>(qkv, stride, hidden + head * D, padded, &mut scratch.keys);
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
    let AttentionScratch { keys: packed, scores } = scratch;
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
fn transpose_keys<const D: usize>(qkv: &[f32], stride: usize, column: usize, padded: usize, keys: &mut [f32]) {
    let length = qkv.len() / stride;
    for (j, token) in qkv.chunks_exact(stride).enumerate() {
        for (d, x) in token[column..column + D].iter().enumerate() {
            keys[d * padded + j] = *x;
        }
    }
    for row in keys.chunks_exact_mut(padded) {
        row[length..].fill(0.0);
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
    // Two blocks at a time load each query once for twice the work.
    let mut block = blocks.start;
    while block + 2 * LANES <= blocks.end {
        score_blocks::<S, D, 2>(s, &q, keys, padded, block, scores);
        block += 2 * LANES;
    }
    if block < blocks.end {
        score_blocks::<S, D, 1>(s, &q, keys, padded, block, scores);
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

/// Turns a row of scores into `e^(score − max)`, zero past `length`, and gives 1 / their sum.
#[inline(always)]
fn softmax<S: Simd>(s: S, row: &mut [f32], length: usize) -> f32 {
    row[length..].fill(f32::NEG_INFINITY);
    let chunks = row.as_chunks_mut::<LANES>().0;
    let mut most = s.splat(f32::NEG_INFINITY);
    for x in chunks.iter() {
        most = s.max(most, s.load(x));
    }
    let most = s.splat(s.largest(most));
    let mut total = s.splat(0.0);
    for x in chunks.iter_mut() {
        let e = exp(s, s.sub(s.load(x), most));
        total = s.add(total, e);
        s.store(e, x);
    }
    row[length..].fill(0.0);
    1.0 / s.sum(total)
}

/// `out[r] = scale[r] · Σ_j scores[r, j] · values[j]`, j of `keys`, for the first `rows` rows; a row of `out` is
/// `hidden` apart.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn mix<S: Simd, const D: usize>(
    s: S,
    values: &[f32],
    stride: usize,
    scores: &[f32],
    padded: usize,
    keys: Range<usize>,
    scale: &[f32; ROWS],
    rows: usize,
    hidden: usize,
    out: &mut [f32],
) {
    for half in (0..D).step_by(2 * LANES) {
        let mut sums = [[s.splat(0.0); 2]; ROWS];
        for j in keys.clone() {
            let at = j * stride + half;
            let value = [s.load(sixteen(values, at)), s.load(sixteen(values, at + LANES))];
            for r in 0..ROWS {
                let weight = s.splat(scores[r * padded + j]);
                sums[r] = [s.fma(weight, value[0], sums[r][0]), s.fma(weight, value[1], sums[r][1])];
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
