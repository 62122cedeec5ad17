//! Inner products of f32 queries with stored rows: the crate's one module of vector instructions.

use crate::format::RowType;

/// Inner product of `query` and a stored row (`row` holds at least as many numbers), by the best instructions of this CPU.
pub(crate) fn dot(row_type: RowType, query: &[f32], row: &[u8]) -> f32 {
    assert!(row.len() >= query.len() * row_type.width());
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        if query.len().is_multiple_of(16) {
            if has!("avx512f") {
                // SAFETY: AVX-512 F was found; the assertion above covers the row.
                return unsafe { x86::dot_avx512(row_type, query, row) };
            }
            if has!("avx2") && has!("fma") && has!("f16c") {
                // SAFETY: AVX2, FMA and F16C were found; the assertion above covers the row.
                return unsafe { x86::dot_avx2(row_type, query, row) };
            }
        }
    }
    portable(row_type, query, row)
}

fn portable(row_type: RowType, query: &[f32], row: &[u8]) -> f32 {
    match row_type {
        RowType::F16 => {
            let row = row.as_chunks::<2>().0;
            query.iter().zip(row).map(|(q, x)| q * half::f16::from_le_bytes(*x).to_f32()).sum()
        }
        RowType::F32 => query.iter().zip(row.as_chunks::<4>().0).map(|(q, x)| q * f32::from_le_bytes(*x)).sum(),
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use crate::format::RowType;
    use std::arch::x86_64::*;

    /// # Safety
    /// `query.len()` is a multiple of 16 and `row` holds as many numbers of `row_type`.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn dot_avx512(row_type: RowType, query: &[f32], row: &[u8]) -> f32 {
        let mut sums = [_mm512_setzero_ps(); 4];
        for (i, q) in query.as_chunks::<16>().0.iter().enumerate() {
            // SAFETY: the caller vouches for 16 more numbers at `16 · i` in `row`; `q` is 16 numbers.
            unsafe {
                let x = match row_type {
                    RowType::F16 => _mm512_cvtph_ps(_mm256_loadu_si256(row.as_ptr().add(32 * i).cast())),
                    RowType::F32 => _mm512_loadu_ps(row.as_ptr().add(64 * i).cast()),
                };
                sums[i % 4] = _mm512_fmadd_ps(_mm512_loadu_ps(q.as_ptr()), x, sums[i % 4]);
            }
        }
        let [a, b, c, d] = sums;
        _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d)))
    }

    /// # Safety
    /// As [`dot_avx512`].
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) unsafe fn dot_avx2(row_type: RowType, query: &[f32], row: &[u8]) -> f32 {
        let mut sums = [_mm256_setzero_ps(); 4];
        for (i, q) in query.as_chunks::<8>().0.iter().enumerate() {
            // SAFETY: the caller vouches for 8 more numbers at `8 · i` in `row`; `q` is 8 numbers.
            unsafe {
                let x = match row_type {
                    RowType::F16 => _mm256_cvtph_ps(_mm_loadu_si128(row.as_ptr().add(16 * i).cast())),
                    RowType::F32 => _mm256_loadu_ps(row.as_ptr().add(32 * i).cast()),
                };
                sums[i % 4] = _mm256_fmadd_ps(_mm256_loadu_ps(q.as_ptr()), x, sums[i % 4]);
            }
        }
        let [a, b, c, d] = sums;
        let s = _mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d));
        let s = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps::<1>(s));
        let s = _mm_add_ps(s, _mm_movehl_ps(s, s));
        _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_fast_product_is_the_plain_one(numbers in prop::collection::vec((-1f32..1.0, -1f32..1.0), 1..200)) {
            let (query, vector): (Vec<f32>, Vec<f32>) = numbers.into_iter().unzip();
            for row_type in [RowType::F16, RowType::F32] {
                let mut row = vec![0; query.len() * row_type.width()];
                row_type.encode(&vector, &mut row);
                prop_assert!((dot(row_type, &query, &row) - portable(row_type, &query, &row)).abs() < 1e-4);
            }
        }
    }
}
