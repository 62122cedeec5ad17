//! The fused row operations between the matrix products: LayerNorm, activations, rotary positions, quantisation,
//! pooling.
//! Rows are as wide as the model's hidden size, padded to a multiple of 32.

use super::gemm::QuantizedRows;
use super::isa::multiversion;
use super::math::{gelu, gelu_tanh, silu};
use super::simd::{LANES, Simd};
use crate::architecture::Activation;
use crate::weights::NormWeights;

/// `row = (x − mean) / √(variance + eps) · weight + bias` with `x = row + update`, over the first `model` numbers of
/// one row; what is behind them is zero and stays so.
#[inline(always)]
fn add_layer_norm<S: Simd>(s: S, row: &mut [f32], update: &[f32], norm: &NormWeights, model: usize, eps: f32) {
    let (width, zeros) = (model as f32, (row.len() - model) as f32);
    let row = row.as_chunks_mut::<LANES>().0;
    let mut total = s.splat(0.0);
    for (x, y) in row.iter_mut().zip(update.as_chunks::<LANES>().0) {
        let sum = s.add(s.load(x), s.load(y));
        s.store(sum, x);
        total = s.add(total, sum);
    }
    let average = s.sum(total) / width;
    let mean = s.splat(average);
    let mut squares = s.splat(0.0);
    for x in row.iter() {
        let d = s.sub(s.load(x), mean);
        squares = s.fma(d, d, squares);
    }
    let variance = (s.sum(squares) - zeros * average * average) / width;
    let scale = s.splat(1.0 / (variance + eps).sqrt());
    let (weight, bias) = (norm.weight.as_chunks::<LANES>().0, norm.bias.as_chunks::<LANES>().0);
    for ((x, w), b) in row.iter_mut().zip(weight).zip(bias) {
        let unit = s.mul(s.sub(s.load(x), mean), scale);
        s.store(s.fma(unit, s.load(w), s.load(b)), x);
    }
}

multiversion! {
    /// Sum of word and position embeddings (the type embedding is folded into them), then LayerNorm: `out[t]` for every
    /// token t. `word_embeddings` and `positions` are tables of rows, the latter empty where there is none;
    /// `position[t]` counts from the first token of its sequence.
    pub fn embed(
        simd, ids: &[u32], position: &[u32], word_embeddings: &[f32], positions: &[f32], norm: &NormWeights,
        model: usize, eps: f32, out: &mut [f32],
    ) {
        let width = norm.weight.len();
        let nothing = vec![0.0; if positions.is_empty() { width } else { 0 }];
        for ((&id, &at), row) in ids.iter().zip(position).zip(out.chunks_exact_mut(width)) {
            row.copy_from_slice(&word_embeddings[id as usize * width..][..width]);
            let place = if positions.is_empty() { &nothing } else { &positions[at as usize * width..][..width] };
            add_layer_norm(simd, row, place, norm, model, eps);
        }
    }
}

multiversion! {
    /// `x = LayerNorm(x + y)`, row by row.
    pub fn add_norm(simd, x: &mut [f32], y: &[f32], norm: &NormWeights, model: usize, eps: f32) {
        let width = norm.weight.len();
        for (x, y) in x.chunks_exact_mut(width).zip(y.chunks_exact(width)) {
            add_layer_norm(simd, x, y, norm, model, eps);
        }
    }
}

multiversion! {
    /// `x = x + y`, then `y = LayerNorm(x)`, row by row: where norms stand before a layer.
    pub fn add_and_norm(simd, x: &mut [f32], y: &mut [f32], norm: &NormWeights, model: usize, eps: f32) {
        let width = norm.weight.len();
        let nothing = vec![0.0; width];
        for (x, y) in x.chunks_exact_mut(width).zip(y.chunks_exact_mut(width)) {
            for (x, y) in x.as_chunks_mut::<LANES>().0.iter_mut().zip(y.as_chunks_mut::<LANES>().0) {
                let sum = simd.add(simd.load(x), simd.load(y));
                simd.store(sum, x);
                simd.store(sum, y);
            }
            add_layer_norm(simd, y, &nothing, norm, model, eps);
        }
    }
}

multiversion! {
    /// `out = LayerNorm(x)`, row by row.
    pub fn norm(simd, x: &[f32], norm: &NormWeights, model: usize, eps: f32, out: &mut [f32]) {
        let width = norm.weight.len();
        let nothing = vec![0.0; width];
        for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            out.copy_from_slice(x);
            add_layer_norm(simd, out, &nothing, norm, model, eps);
        }
    }
}

multiversion! {
    /// `x = x + y`.
    pub fn add(simd, x: &mut [f32], y: &[f32]) {
        for (x, y) in x.as_chunks_mut::<LANES>().0.iter_mut().zip(y.as_chunks::<LANES>().0) {
            simd.store(simd.add(simd.load(x), simd.load(y)), x);
        }
    }
}

#[inline(always)]
fn each<S: Simd>(s: S, x: &mut [f32], activation: impl Fn(S::V) -> S::V) {
    for chunk in x.as_chunks_mut::<LANES>().0 {
        s.store(activation(s.load(chunk)), chunk);
    }
}

multiversion! {
    /// The activation in place.
    pub fn activate(simd, activation: Activation, x: &mut [f32]) {
        match activation {
            Activation::Gelu => each(simd, x, |x| gelu(simd, x)),
            Activation::GeluTanh => each(simd, x, |x| gelu_tanh(simd, x)),
            Activation::Relu => each(simd, x, |x| simd.max(x, simd.splat(0.0))),
            Activation::Silu => each(simd, x, |x| silu(simd, x)),
        }
    }
}

/// `x[r, c] = activation(x[r, c]) · x[r, width + c]` for rows of `2 · width`, which become rows of `width` in place.
#[inline(always)]
fn each_gated<S: Simd>(s: S, x: &mut [f32], width: usize, activation: impl Fn(S::V) -> S::V) {
    for row in 0..x.len() / (2 * width) {
        for lane in (0..width).step_by(LANES) {
            let from = row * 2 * width + lane;
            let activated = activation(s.load(x[from..].first_chunk().expect("widths are multiples of 16")));
            let factor = s.load(x[from + width..].first_chunk().expect("widths are multiples of 16"));
            // A row's place is before what is still to be read.
            let place = x[row * width + lane..].first_chunk_mut().expect("widths are multiples of 16");
            s.store(s.mul(activated, factor), place);
        }
    }
}

multiversion! {
    /// The activation of the first half of each row of `2 · width`, multiplied by the second: rows of `width`, one
    /// after the other, in the first half of `x`.
    pub fn activate_gated(simd, activation: Activation, x: &mut [f32], width: usize) {
        match activation {
            Activation::Gelu => each_gated(simd, x, width, |x| gelu(simd, x)),
            Activation::GeluTanh => each_gated(simd, x, width, |x| gelu_tanh(simd, x)),
            Activation::Relu => each_gated(simd, x, width, |x| simd.max(x, simd.splat(0.0))),
            Activation::Silu => each_gated(simd, x, width, |x| silu(simd, x)),
        }
    }
}

multiversion! {
    /// Turns the queries and keys of rows of `qkv`, `[tokens, 3 · heads · head]`: the numbers i and i + half of each
    /// head by the angle of its position, whose cosines and sines are rows of `half`.
    pub fn rotate(
        simd, qkv: &mut [f32], positions: &[u32], cosines: &[f32], sines: &[f32], half: usize, heads: usize,
        head: usize,
    ) {
        let _ = simd;
        for (row, &at) in qkv.chunks_exact_mut(3 * heads * head).zip(positions) {
            let cosines = &cosines[at as usize * half..][..half];
            let sines = &sines[at as usize * half..][..half];
            for own in row[..2 * heads * head].chunks_exact_mut(head) {
                let (first, second) = own.split_at_mut(half);
                for (((x, y), c), s) in first.iter_mut().zip(second).zip(cosines).zip(sines) {
                    (*x, *y) = (*x * c - *y * s, *y * c + *x * s);
                }
            }
        }
    }
}

multiversion! {
    /// Quantises rows of `width` to u8 with a scale and a zero point of their own, so that the row's range, with 0 in
    /// it, fills 0..=255.
    pub fn quantize(simd, x: &[f32], width: usize, out: &mut QuantizedRows) {
        out.bytes.resize(x.len(), 0);
        out.scale.clear();
        out.zero.clear();
        for (row, bytes) in x.chunks_exact(width).zip(out.bytes.chunks_exact_mut(width)) {
            let row = row.as_chunks::<LANES>().0;
            let zeros = simd.splat(0.0);
            let (mut below, mut above) = (zeros, zeros);
            for x in row {
                let x = simd.load(x);
                below = simd.max(below, simd.sub(zeros, x));
                above = simd.max(above, x);
            }
            let (low, high) = (-simd.largest(below), simd.largest(above));
            let scale = (high - low).max(1e-12) / 255.0;
            let zero = (-low / scale).round();
            // Adding 1.5·2^23 rounds to the nearest integer and leaves it in the low byte.
            let (inverse, offset) = (simd.splat(1.0 / scale), simd.splat(zero + 12_582_912.0));
            let (least, most) = (simd.splat(12_582_912.0), simd.splat(12_583_167.0));
            for (x, bytes) in row.iter().zip(bytes.as_chunks_mut::<LANES>().0) {
                let shifted = simd.fma(simd.load(x), inverse, offset);
                simd.store_low_bytes(simd.min(simd.max(shifted, least), most), bytes);
            }
            out.scale.push(scale);
            out.zero.push(zero as i32);
        }
    }
}

multiversion! {
    /// One number a row: its product with `weight`, and `bias`.
    pub fn project(simd, x: &[f32], weight: &[f32], bias: f32, out: &mut [f32]) {
        for (row, out) in x.chunks_exact(weight.len()).zip(out) {
            let mut total = simd.splat(0.0);
            for (x, w) in row.as_chunks::<LANES>().0.iter().zip(weight.as_chunks::<LANES>().0) {
                total = simd.fma(simd.load(x), simd.load(w), total);
            }
            *out = simd.sum(total) + bias;
        }
    }
}

multiversion! {
    /// Mean over the tokens of each sequence, then (if asked) unit length: `out[s]` for the sequences that `offsets`
    /// bound.
    pub fn mean_pool(simd, x: &[f32], offsets: &[u32], width: usize, normalize: bool, out: &mut [f32]) {
        for (bounds, out) in offsets.windows(2).zip(out.chunks_exact_mut(width)) {
            let rows = &x[bounds[0] as usize * width..bounds[1] as usize * width];
            let inverse = simd.splat(1.0 / (bounds[1] - bounds[0]).max(1) as f32);
            let mut squares = simd.splat(0.0);
            for (lane, out) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
                let mut total = simd.splat(0.0);
                for row in rows.chunks_exact(width) {
                    total = simd.add(total, simd.load(&row.as_chunks::<LANES>().0[lane]));
                }
                let mean = simd.mul(total, inverse);
                squares = simd.fma(mean, mean, squares);
                simd.store(mean, out);
            }
            if normalize {
                let inverse = simd.splat(1.0 / simd.sum(squares).sqrt().max(1e-12));
                for out in out.as_chunks_mut::<LANES>().0 {
                    simd.store(simd.mul(simd.load(out), inverse), out);
                }
            }
        }
    }
}

multiversion! {
    /// The first `dimension` numbers (a multiple of 16) of `x / |x| · axes + shift` at unit length, row by row, where
    /// `products` holds `x · axes` in rows as long as `shift`.
    pub fn unit_projections(
        simd, x: &[f32], width: usize, products: &[f32], shift: &[f32], dimension: usize, out: &mut [f32],
    ) {
        let rows = x.chunks_exact(width).zip(products.chunks_exact(shift.len()));
        for ((x, product), out) in rows.zip(out.chunks_exact_mut(dimension)) {
            let (lanes, rest) = x.as_chunks::<LANES>();
            let mut squares = simd.splat(0.0);
            for x in lanes {
                squares = simd.fma(simd.load(x), simd.load(x), squares);
            }
            let square = simd.sum(squares) + rest.iter().map(|x| x * x).sum::<f32>();
            let inverse = simd.splat(1.0 / square.sqrt().max(1e-12));
            let mut squares = simd.splat(0.0);
            let numbers = product.as_chunks::<LANES>().0.iter().zip(shift.as_chunks::<LANES>().0);
            for ((product, shift), out) in numbers.zip(out.as_chunks_mut::<LANES>().0) {
                let y = simd.fma(simd.load(product), inverse, simd.load(shift));
                squares = simd.fma(y, y, squares);
                simd.store(y, out);
            }
            let inverse = simd.splat(1.0 / simd.sum(squares).sqrt().max(1e-12));
            for out in out.as_chunks_mut::<LANES>().0 {
                simd.store(simd.mul(simd.load(out), inverse), out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::isa::Isa;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_quantised_row_is_within_half_a_step(row in prop::collection::vec(-30f32..30.0, 64)) {
            for isa in Isa::available() {
                let mut out = QuantizedRows::default();
                quantize(isa, &row, 64, &mut out);
                for (x, &b) in row.iter().zip(&out.bytes) {
                    let back = out.scale[0] * (i32::from(b) - out.zero[0]) as f32;
                    prop_assert!((x - back).abs() <= out.scale[0] * 1.01, "{x} came back as {back}");
                }
            }
        }

        #[test]
        fn layer_norm_has_mean_zero_and_variance_one(row in prop::collection::vec(-5f32..5.0, 96),
            y in prop::collection::vec(-5f32..5.0, 96)) {
            let spread = row.iter().zip(&y).map(|(a, b)| a + b).fold((f32::MAX, f32::MIN), |m,
                x| (m.0.min(x), m.1.max(x)));
            prop_assume!(spread.1 - spread.0 > 0.5);
            for isa in Isa::available() {
                let mut x = row.clone();
                let norm = NormWeights { weight: vec![1.0; 96], bias: vec![0.0; 96] };
                add_norm(isa, &mut x, &y, &norm, 96, 1e-12);
                let mean = x.iter().sum::<f32>() / 96.0;
                let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / 96.0;
                prop_assert!(mean.abs() < 1e-4 && (variance - 1.0).abs() < 1e-3);
            }
        }
    }

    #[test]
    fn pooling_is_the_mean_of_each_sequence_at_unit_length() {
        let x: Vec<f32> = (0..3 * 32).map(|i| if i < 64 { 1.0 } else { 2.0 }).collect();
        for isa in Isa::available() {
            let mut out = [0f32; 64];
            mean_pool(isa, &x, &[0, 2, 3], 32, false, &mut out);
            assert_eq!((out[0], out[32]), (1.0, 2.0));
            mean_pool(isa, &x, &[0, 2, 3], 32, true, &mut out);
            assert!((out.iter().map(|x| x * x).sum::<f32>() - 2.0).abs() < 1e-5);
        }
    }
}
