//! Attention over packed sequences: each token attends to the tokens of its own sequence, so nothing is padded or
//! masked but the last few lanes of a row of scores.

use super::isa::multiversion;
use super::math::exp;
use super::simd::{LANES, Simd};

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

multiversion! {
    /// `out[t] = softmax(q[t] · Kᵀ) · V`, head by head, for the tokens of the batch from `first` on, as many as `out`
    /// has rows; each attends to its own sequence, as `offsets` bound them. `qkv` holds, a token a row, the queries
    /// (already scaled by 1/√D), keys and values of all heads side by side; `D` is the width of a head.
    pub fn attend<const D: usize>(
        simd, qkv: &[f32], offsets: &[u32], heads: usize, first: usize, scratch: &mut AttentionScratch, out: &mut [f32],
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
                    score::<S, D>(simd, qkv, stride, head * D, query, rows, &scratch.keys, padded, &mut scratch.scores);
                    let mut scale = [0f32; ROWS];
                    for (scale, row) in scale.iter_mut().zip(scratch.scores.chunks_exact_mut(padded)) {
                        *scale = softmax(simd, row, stop - start);
                    }
                    let values = &qkv[2 * hidden + head * D..];
                    let out = &mut out[(query - (from - start)) * hidden + head * D..];
                    mix::<S, D>(simd, values, stride, &scratch.scores, padded, stop - start, &scale, rows, hidden, out);
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
        simd, qkv: &[f32], offsets: &[u32], heads: usize, share: f32, scratch: &mut AttentionScratch, out: &mut [f32],
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
                    score::<S, D>(simd, qkv, stride, head * D, query, rows, &scratch.keys, padded, &mut scratch.scores);
                    let rows = own[query * length..].chunks_exact_mut(length).take(rows);
                    for (row, scores) in rows.zip(scratch.scores.chunks_exact_mut(padded)) {
                        let scale = share * softmax(simd, scores, length);
                        row.iter_mut().zip(scores).for_each(|(sum, weight)| *sum += *weight * scale);
                    }
                }
            }
        }
    }
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

/// `scores[r, j] = q[query + r] · keys[:, j]`; rows past the last query repeat it.
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
    scores: &mut [f32],
) {
    let mut q = [&[0f32; D]; ROWS];
    for (r, q) in q.iter_mut().enumerate() {
        let at = (query + r.min(rows - 1)) * stride + column;
        *q = qkv[at..].first_chunk::<D>().expect("a token's row holds every head");
    }
    // Two blocks at a time load each query once for twice the work.
    let mut block = 0;
    while block + 2 * LANES <= padded {
        score_blocks::<S, D, 2>(s, &q, keys, padded, block, scores);
        block += 2 * LANES;
    }
    if block < padded {
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

/// `out[r] = scale[r] · Σ_j scores[r, j] · values[j]` for the first `rows` rows; a row of `out` is `hidden` apart.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn mix<S: Simd, const D: usize>(
    s: S,
    values: &[f32],
    stride: usize,
    scores: &[f32],
    padded: usize,
    length: usize,
    scale: &[f32; ROWS],
    rows: usize,
    hidden: usize,
    out: &mut [f32],
) {
    for half in (0..D).step_by(2 * LANES) {
        let mut sums = [[s.splat(0.0); 2]; ROWS];
        for j in 0..length {
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
