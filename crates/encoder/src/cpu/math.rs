//! The transcendental functions of the forward pass over 16 lanes.

use super::simd::Simd;

/// `e^x` to 2 units in the last place for −87 ≤ x ≤ 88; smaller x give about 1.6e-38.
/// Cephes' expf: range reduction by ln 2 in two parts, a polynomial of degree 5.
#[inline(always)]
pub fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    let x = s.min(s.max(x, s.splat(-87.0)), s.splat(88.0));
    // Adding 1.5·2^23 rounds to an integer and leaves it in the low bits.
    let round = s.splat(12_582_912.0);
    let shifted = s.fma(x, s.splat(std::f32::consts::LOG2_E), round);
    let n = s.sub(shifted, round);
    let r = s.fma(n, s.splat(-0.693_359_4), x);
    let r = s.fma(n, s.splat(2.121_944_4e-4), r);
    let p = [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_6e-1, 0.5]
        .into_iter()
        .fold(s.splat(1.987_569_1e-4), |p, c| s.fma(p, r, s.splat(c)));
    let fraction = s.add(s.fma(p, s.mul(r, r), r), s.splat(1.0));
    s.mul(fraction, s.exp2_of_shifted(shifted))
}

/// The exact GELU, `x/2 · (1 + erf(x/√2))`, to 1e-6 absolute. The rational approximation of erf is Eigen's
/// (`generic_fast_erf_float`), on the interval where erf in f32 is not ±1.
#[inline(always)]
pub fn gelu<S: Simd>(s: S, x: S::V) -> S::V {
    let z = s.mul(x, s.splat(std::f32::consts::FRAC_1_SQRT_2));
    let z = s.min(s.max(z, s.splat(-4.0)), s.splat(4.0));
    let z2 = s.mul(z, z);
    let p = [2.770_681_4e-8, -2.101_024e-6, -5.692_506_5e-5, -7.349_906_3e-4, -2.954_6e-3, -1.609_603_3e-2]
        .into_iter()
        .fold(s.splat(-2.726_142_3e-10), |p, c| s.fma(p, z2, s.splat(c)));
    let q = [-2.133_740_5e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2]
        .into_iter()
        .fold(s.splat(-1.456_607_2e-5), |q, c| s.fma(q, z2, s.splat(c)));
    let half = s.mul(x, s.splat(0.5));
    s.fma(half, s.div(s.mul(z, p), q), half)
}

/// `x · σ(x)`.
#[inline(always)]
pub fn silu<S: Simd>(s: S, x: S::V) -> S::V {
    s.div(x, s.add(s.splat(1.0), exp(s, s.sub(s.splat(0.0), x))))
}

/// The GELU by tanh, `x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`, which is `x · σ(2 · √(2/π) · (x + 0.044715 x³))`.
#[inline(always)]
pub fn gelu_tanh<S: Simd>(s: S, x: S::V) -> S::V {
    let cubic = s.fma(s.mul(s.mul(x, x), s.splat(0.044_715)), x, x);
    let twice = s.mul(cubic, s.splat(-2.0 * 0.797_884_6));
    s.div(x, s.add(s.splat(1.0), exp(s, twice)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::isa::{Isa, multiversion};

    multiversion! {
        fn each(simd, x: f32, exponential: &mut [f32; 16], gelu_of_x: &mut [f32; 16]) {
            simd.store(exp(simd, simd.splat(x)), exponential);
            simd.store(gelu(simd, simd.splat(x)), gelu_of_x);
        }
    }

    fn both(isa: Isa, x: f32) -> (f64, f64) {
        let (mut e, mut g) = ([0.0; 16], [0.0; 16]);
        each(isa, x, &mut e, &mut g);
        (f64::from(e[3]), f64::from(g[15]))
    }

    /// erf by its Maclaurin series in f64, exact to far more than f32 for |x| ≤ 4.
    fn erf(x: f64) -> f64 {
        let (mut term, mut total, mut n) = (x, x, 0.0);
        while term.abs() > 1e-18 {
            n += 1.0;
            term *= -x * x / n;
            total += term / (2.0 * n + 1.0);
        }
        total * 2.0 / std::f64::consts::PI.sqrt()
    }

    #[test]
    fn gelu_is_the_erf_one() {
        for isa in Isa::available() {
            for i in -5000..5000 {
                let x = i as f32 / 1000.0;
                let want = 0.5 * f64::from(x) * (1.0 + erf(f64::from(x) / 2f64.sqrt()));
                let got = both(isa, x).1;
                assert!((got - want).abs() < 1e-6 * (1.0 + want.abs()), "gelu({x}) = {got}, not {want}");
            }
            assert!((both(isa, 30.0).1 - 30.0).abs() < 1e-5);
            assert!(both(isa, -30.0).1.abs() < 1e-5);
        }
    }

    multiversion! {
        fn smooth(simd, x: f32, silu_of_x: &mut [f32; 16], gelu_of_x: &mut [f32; 16]) {
            simd.store(silu(simd, simd.splat(x)), silu_of_x);
            simd.store(gelu_tanh(simd, simd.splat(x)), gelu_of_x);
        }
    }

    #[test]
    fn silu_and_the_gelu_by_tanh_are_exact() {
        for isa in Isa::available() {
            for i in -5000..5000 {
                let x = f64::from(i) / 100.0;
                let (mut got_silu, mut got_gelu) = ([0.0; 16], [0.0; 16]);
                smooth(isa, x as f32, &mut got_silu, &mut got_gelu);
                let silu = x / (1.0 + (-x).exp());
                let gelu = 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh());
                for (got, want) in [(got_silu[1], silu), (got_gelu[2], gelu)] {
                    assert!((f64::from(got) - want).abs() < 1e-6 * (1.0 + want.abs()), "{x}: {got}, not {want}");
                }
            }
        }
    }

    #[test]
    fn exp_is_exact_to_two_ulp() {
        for isa in Isa::available() {
            for i in -8700..8800 {
                let x = i as f32 / 100.0;
                let (got, want) = (both(isa, x).0, f64::from(x).exp());
                assert!((got / want - 1.0).abs() < 2.5e-7, "exp({x}) = {got}, not {want}");
            }
            assert!(both(isa, f32::NEG_INFINITY).0 < 2e-38);
        }
    }
}
