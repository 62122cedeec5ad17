//! Sixteen f32 lanes on every instruction level: the vocabulary in which the row operations and attention are written.
//!
//! A value of [`Avx512`] or [`Avx2`] proves that the CPU has these instructions, because only
//! [`multiversion`](super::isa)'s dispatch makes one, inside a function compiled for them. That is the safety
//! argument of every intrinsic below.

/// Lanes of a vector, on every level.
pub const LANES: usize = 16;

/// Arithmetic on vectors of 16 f32. Every method is inlined into a function compiled for the level.
pub trait Simd: Copy {
    /// A vector.
    type V: Copy;
    /// Vectors of sums, of four rows each, that the registers have room for.
    const SUMS_OF_FOUR: usize;
    fn splat(self, x: f32) -> Self::V;
    fn load(self, x: &[f32; LANES]) -> Self::V;
    fn store(self, x: Self::V, out: &mut [f32; LANES]);
    /// A hint that these numbers are read soon.
    fn prefetch(self, x: &[f32; LANES]);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`, rounded once where the level has it.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a0 b0 a1 b1 …`, of which the first 16 and the last 16.
    fn interleave(self, a: Self::V, b: Self::V) -> [Self::V; 2];
    fn sum(self, a: Self::V) -> f32;
    fn largest(self, a: Self::V) -> f32;
    /// `2^n` for lanes that hold `n + 1.5·2^23`.
    fn exp2_of_shifted(self, a: Self::V) -> Self::V;
    /// The low byte of each lane's bits: the integer n for lanes that hold `n + 1.5·2^23`, 0 ≤ n ≤ 255.
    fn store_low_bytes(self, a: Self::V, out: &mut [u8; LANES]);
}

/// The transpose of 16 rows of 16. Each of four steps moves the highest bit of a row's number to the lowest of its
/// column's.
#[inline(always)]
pub fn transpose<S: Simd>(s: S, mut rows: [S::V; LANES]) -> [S::V; LANES] {
    for _ in 0..LANES.ilog2() {
        let from = rows;
        for i in 0..LANES / 2 {
            [rows[2 * i], rows[2 * i + 1]] = s.interleave(from[i], from[i + LANES / 2]);
        }
    }
    rows
}

/// Plain Rust.
#[derive(Clone, Copy)]
pub struct Portable;

#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> [f32; LANES] {
    let mut out = [0.0; LANES];
    for (i, x) in out.iter_mut().enumerate() {
        *x = f(i);
    }
    out
}

impl Simd for Portable {
    type V = [f32; LANES];
    const SUMS_OF_FOUR: usize = 2;
    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; LANES]
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::V {
        *x
    }
    #[inline(always)]
    fn store(self, x: Self::V, out: &mut [f32; LANES]) {
        *out = x;
    }
    #[inline(always)]
    fn prefetch(self, _: &[f32; LANES]) {}
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        each(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        each(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        each(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn interleave(self, a: Self::V, b: Self::V) -> [Self::V; 2] {
        let pair = |i: usize| if i.is_multiple_of(2) { a[i / 2] } else { b[i / 2] };
        [each(pair), each(|i| pair(LANES + i))]
    }
    #[inline(always)]
    fn sum(self, a: Self::V) -> f32 {
        let half: [f32; 8] = [
            a[0] + a[8],
            a[1] + a[9],
            a[2] + a[10],
            a[3] + a[11],
            a[4] + a[12],
            a[5] + a[13],
            a[6] + a[14],
            a[7] + a[15],
        ];
        (half[0] + half[4]) + (half[2] + half[6]) + ((half[1] + half[5]) + (half[3] + half[7]))
    }
    #[inline(always)]
    fn largest(self, a: Self::V) -> f32 {
        a.iter().fold(f32::NEG_INFINITY, |m, &x| m.max(x))
    }
    #[inline(always)]
    fn exp2_of_shifted(self, a: Self::V) -> Self::V {
        each(|i| f32::from_bits((a[i].to_bits() << 23).wrapping_add(0x3f80_0000)))
    }
    #[inline(always)]
    fn store_low_bytes(self, a: Self::V, out: &mut [u8; LANES]) {
        for (out, x) in out.iter_mut().zip(a) {
            *out = x.to_bits() as u8;
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{LANES, Simd};
    use std::arch::x86_64::*;

    /// Proof of AVX-512 F, BW, DQ and VL.
    #[derive(Clone, Copy)]
    pub struct Avx512(());

    /// Proof of AVX2 and FMA.
    #[derive(Clone, Copy)]
    pub struct Avx2(());

    impl Avx512 {
        /// # Safety
        /// The CPU must have AVX-512 F, BW, DQ and VL, and the calling function must be compiled for them.
        #[inline(always)]
        pub unsafe fn new() -> Self {
            Self(())
        }
    }

    impl Avx2 {
        /// # Safety
        /// The CPU must have AVX2 and FMA, and the calling function must be compiled for them.
        #[inline(always)]
        pub unsafe fn new() -> Self {
            Self(())
        }
    }

    /// The methods of [`Simd`] that are one intrinsic each.
    macro_rules! intrinsic {
        ($($name:ident($($arg:ident),*) = $body:expr;)*) => {
            $(#[inline(always)]
            fn $name(self, $($arg: Self::V),*) -> Self::V {
                // SAFETY: `self` proves that the CPU has the instructions; they touch registers only.
                unsafe { $body }
            })*
        };
    }

    impl Simd for Avx512 {
        type V = __m512;
        const SUMS_OF_FOUR: usize = 4;
        #[inline(always)]
        fn splat(self, x: f32) -> __m512 {
            // SAFETY: `self` proves the instructions.
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        fn load(self, x: &[f32; LANES]) -> __m512 {
            // SAFETY: `self` proves the instructions; the reference covers the 64 bytes.
            unsafe { _mm512_loadu_ps(x.as_ptr()) }
        }
        #[inline(always)]
        fn store(self, x: __m512, out: &mut [f32; LANES]) {
            // SAFETY: `self` proves the instructions; the reference covers the 64 bytes.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr(), x) }
        }
        #[inline(always)]
        fn prefetch(self, x: &[f32; LANES]) {
            // SAFETY: `self` proves the instruction, which reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(x.as_ptr().cast()) }
        }
        intrinsic! {
            add(a, b) = _mm512_add_ps(a, b);
            sub(a, b) = _mm512_sub_ps(a, b);
            mul(a, b) = _mm512_mul_ps(a, b);
            div(a, b) = _mm512_div_ps(a, b);
            fma(a, b, c) = _mm512_fmadd_ps(a, b, c);
            min(a, b) = _mm512_min_ps(a, b);
            max(a, b) = _mm512_max_ps(a, b);
            exp2_of_shifted(a) = _mm512_castsi512_ps(_mm512_add_epi32(
                _mm512_slli_epi32::<23>(_mm512_castps_si512(a)),
                _mm512_set1_epi32(0x3f80_0000),
            ));
        }
        #[inline(always)]
        fn interleave(self, a: __m512, b: __m512) -> [__m512; 2] {
            // SAFETY: `self` proves the instructions.
            unsafe {
                let first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
                let last = _mm512_add_epi32(first, _mm512_set1_epi32(8));
                [_mm512_permutex2var_ps(a, first, b), _mm512_permutex2var_ps(a, last, b)]
            }
        }
        #[inline(always)]
        fn sum(self, a: __m512) -> f32 {
            // SAFETY: `self` proves the instructions.
            unsafe { _mm512_reduce_add_ps(a) }
        }
        #[inline(always)]
        fn largest(self, a: __m512) -> f32 {
            // SAFETY: `self` proves the instructions.
            unsafe { _mm512_reduce_max_ps(a) }
        }
        #[inline(always)]
        fn store_low_bytes(self, a: __m512, out: &mut [u8; LANES]) {
            // SAFETY: `self` proves the instructions; the reference covers the 16 bytes.
            unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(_mm512_castps_si512(a))) }
        }
    }

    impl Simd for Avx2 {
        type V = [__m256; 2];
        const SUMS_OF_FOUR: usize = 2;
        #[inline(always)]
        fn splat(self, x: f32) -> Self::V {
            // SAFETY: `self` proves the instructions.
            unsafe { [_mm256_set1_ps(x); 2] }
        }
        #[inline(always)]
        fn load(self, x: &[f32; LANES]) -> Self::V {
            // SAFETY: `self` proves the instructions; the reference covers the 64 bytes.
            unsafe { [_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x.as_ptr().add(8))] }
        }
        #[inline(always)]
        fn store(self, x: Self::V, out: &mut [f32; LANES]) {
            // SAFETY: `self` proves the instructions; the reference covers the 64 bytes.
            unsafe {
                _mm256_storeu_ps(out.as_mut_ptr(), x[0]);
                _mm256_storeu_ps(out.as_mut_ptr().add(8), x[1]);
            }
        }
        #[inline(always)]
        fn prefetch(self, x: &[f32; LANES]) {
            // SAFETY: `self` proves the instruction, which reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(x.as_ptr().cast()) }
        }
        intrinsic! {
            add(a, b) = [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])];
            sub(a, b) = [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])];
            mul(a, b) = [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])];
            div(a, b) = [_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])];
            fma(a, b, c) = [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])];
            min(a, b) = [_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1])];
            max(a, b) = [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])];
            exp2_of_shifted(a) = a.map(|a| _mm256_castsi256_ps(_mm256_add_epi32(
                _mm256_slli_epi32::<23>(_mm256_castps_si256(a)),
                _mm256_set1_epi32(0x3f80_0000),
            )));
        }
        #[inline(always)]
        fn interleave(self, a: Self::V, b: Self::V) -> [Self::V; 2] {
            // SAFETY: `self` proves the instructions.
            let eight = |a, b| unsafe {
                let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
                [_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high)]
            };
            [eight(a[0], b[0]), eight(a[1], b[1])]
        }
        #[inline(always)]
        fn sum(self, a: Self::V) -> f32 {
            // SAFETY: `self` proves the instructions.
            unsafe {
                let a = _mm256_add_ps(a[0], a[1]);
                let a = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
                let a = _mm_add_ps(a, _mm_movehl_ps(a, a));
                _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)))
            }
        }
        #[inline(always)]
        fn largest(self, a: Self::V) -> f32 {
            // SAFETY: `self` proves the instructions.
            unsafe {
                let a = _mm256_max_ps(a[0], a[1]);
                let a = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
                let a = _mm_max_ps(a, _mm_movehl_ps(a, a));
                _mm_cvtss_f32(_mm_max_ss(a, _mm_movehdup_ps(a)))
            }
        }
        #[inline(always)]
        fn store_low_bytes(self, a: Self::V, out: &mut [u8; LANES]) {
            // SAFETY: `self` proves the instructions; the reference covers the 16 bytes.
            unsafe {
                let byte = _mm256_set1_epi32(255);
                let low = _mm256_and_si256(_mm256_castps_si256(a[0]), byte);
                let high = _mm256_and_si256(_mm256_castps_si256(a[1]), byte);
                let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(low, high));
                let bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
                _mm_storeu_si128(out.as_mut_ptr().cast(), bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LANES, transpose};
    use crate::cpu::isa::{Isa, multiversion};

    multiversion! {
        fn transposed(simd, rows: &mut [[f32; LANES]; LANES]) {
            let mut loaded = [simd.splat(0.0); LANES];
            loaded.iter_mut().zip(rows.iter()).for_each(|(vector, row)| *vector = simd.load(row));
            rows.iter_mut().zip(transpose(simd, loaded)).for_each(|(row, vector)| simd.store(vector, row));
        }
    }

    #[test]
    fn rows_become_columns() {
        for isa in Isa::available() {
            let mut rows = std::array::from_fn(|i| std::array::from_fn(|j| (i * LANES + j) as f32));
            transposed(isa, &mut rows);
            for (i, row) in rows.iter().enumerate() {
                let column: [f32; LANES] = std::array::from_fn(|j| (j * LANES + i) as f32);
                assert_eq!(*row, column, "{}", isa.name());
            }
        }
    }
}
