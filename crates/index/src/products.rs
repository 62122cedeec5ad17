//! Inner products of vectors with 8-bit codes, in integers: bytes with 16-bit weights.

const LANES: usize = 16;

/// A vector in the scale of the codes: the inner product with a code, but for a factor and an addend that are the
/// same for all codes.
pub(crate) struct Weights {
    weights: Vec<i16>,
    /// What a score is to be multiplied by, to be in units of the widths.
    pub unit: f32,
}

impl Weights {
    /// Of a vector, where a code is in steps of `widths`.
    pub fn of(vector: &[f32], widths: &[f32]) -> Self {
        let mut weights = vec![0; vector.len()];
        let unit = weigh(vector, widths, &mut weights);
        Self { weights, unit }
    }

    #[inline]
    pub fn score(&self, code: &[u8]) -> i32 {
        product(&self.weights, code)
    }
}

/// Writes a vector's weights, and gives what a product with them is to be multiplied by, to be in units of `widths`.
pub(crate) fn weigh(vector: &[f32], widths: &[f32], weights: &mut [i16]) -> f32 {
    // Lanes of their own, since floating-point sums are not reordered by the compiler.
    let (mut mosts, mut sums) = ([f32::MIN_POSITIVE; LANES], [f32::MIN_POSITIVE; LANES]);
    for (vector, widths) in vector.chunks(LANES).zip(widths.chunks(LANES)) {
        for (lane, (x, width)) in vector.iter().zip(widths).enumerate() {
            let size = (x * width).abs();
            mosts[lane] = if size > mosts[lane] { size } else { mosts[lane] };
            sums[lane] += size;
        }
    }
    let most = mosts.into_iter().fold(0.0, f32::max);
    let sum: f32 = sums.into_iter().sum();
    // No weight overflows 16 bits, and no sum of products 31.
    let scale = (f32::from(i16::MAX) / most).min(((i32::MAX / 255) as f32 - vector.len() as f32) * 0.999 / sum);
    for ((weight, x), width) in weights.iter_mut().zip(vector).zip(widths) {
        *weight = (x * width * scale).round_ties_even() as i16;
    }
    1.0 / scale
}

/// The product of weights and a code.
#[inline]
pub(crate) fn product(weights: &[i16], code: &[u8]) -> i32 {
    weights.iter().zip(code).map(|(&w, &c)| i32::from(w) * i32::from(i16::from(c))).sum()
}

#[cfg(test)]
mod tests {
    use super::{product, weigh};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_product_is_that_of_real_numbers(
            numbers in prop::collection::vec((-10.0f32..10.0, 0.0f32..3.0, any::<u8>()), 1..500),
        ) {
            let vector: Vec<f32> = numbers.iter().map(|n| n.0).collect();
            let widths: Vec<f32> = numbers.iter().map(|n| n.1).collect();
            let code: Vec<u8> = numbers.iter().map(|n| n.2).collect();
            let mut weights = vec![0; vector.len()];
            let factor = weigh(&vector, &widths, &mut weights);
            let wanted: f64 = numbers.iter().map(|n| f64::from(n.0) * f64::from(n.1) * f64::from(n.2)).sum();
            let largest: f64 = numbers.iter().map(|n| f64::from(n.0 * n.1).abs() * 255.0).sum();
            let got = f64::from(factor) * f64::from(product(&weights, &code));
            prop_assert!((got - wanted).abs() <= largest * 1e-3 + 1e-6, "{got} for {wanted}");
        }
    }
}
