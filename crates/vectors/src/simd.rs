//! Inner products of f32 queries with stored rows, and reading ahead: the crate's one module of such instructions.

use crate::format::RowType;

/// Asks the processor to fetch what will be read soon.
pub fn prefetch<T>(soon: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..size_of_val(soon)).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which reads nothing; the address lies within the slice.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(soon.as_ptr().cast::<i8>().add(line)) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = soon;
}

/// Inner product of `query` and a stored row (`row` holds at least as many numbers), by the best instructions of this
/// CPU.
pub(crate) fn dot(row_type: RowType, query: &[f32], row: &[u8]) -> f32 {
    let mut score = [0.0];
    dots(row_type, &[query], row, &mut score);
    score[0]
}

/// Inner products of queries of one length and a stored row (`row` holds at least as many numbers). Each is the same
/// to the last bit as if it were made alone.
pub(crate) fn dots(row_type: RowType, queries: &[&[f32]], row: &[u8], scores: &mut [f32]) {
    assert_eq!(queries.len(), scores.len());
    let Some(length) = queries.first().map(|q| q.len()) else { return };
    assert!(row.len() >= length * row_type.width() && queries.iter().all(|q| q.len() == length));
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        if length.is_multiple_of(16) {
            // Four queries share what is read and converted of the row; AVX2 has registers for the sums of two.
            if has!("avx512f") {
                let (fours, rest) = queries.as_chunks::<4>();
                let (four_scores, rest_scores) = scores.as_chunks_mut::<4>();
                for (queries, scores) in fours.iter().zip(four_scores) {
                    // SAFETY: AVX-512 F was found; the assertion above covers the row and the queries.
                    *scores = unsafe { x86::dots_avx512(row_type, queries, row) };
                }
                for (query, score) in rest.iter().zip(rest_scores) {
                    // SAFETY: as above.
                    [*score] = unsafe { x86::dots_avx512(row_type, &[*query], row) };
                }
                return;
            }
            if has!("avx2") && has!("fma") && has!("f16c") {
                let (twos, rest) = queries.as_chunks::<2>();
                let (two_scores, rest_scores) = scores.as_chunks_mut::<2>();
                for (queries, scores) in twos.iter().zip(two_scores) {
                    // SAFETY: AVX2, FMA and F16C were found; the assertion above covers the row and the queries.
                    *scores = unsafe { x86::dots_avx2(row_type, queries, row) };
                }
                for (query, score) in rest.iter().zip(rest_scores) {
                    // SAFETY: as above.
                    [*score] = unsafe { x86::dots_avx2(row_type, &[*query], row) };
                }
                return;
            }
        }
    }
    queries.iter().zip(scores).for_each(|(query, score)| *score = portable(row_type, query, row));
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
    /// The queries are of one length, a multiple of 16, and `row` holds as many numbers of `row_type`.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn dots_avx512<const N: usize>(row_type: RowType, queries: &[&[f32]; N], row: &[u8]) -> [f32; N] {
        let mut sums = [[_mm512_setzero_ps(); 4]; N];
        let sixteens = queries[0].len() / 16;
        for first in (0..sixteens).step_by(4) {
            for place in 0..4 {
                let i = first + place;
                if i == sixteens {
                    break;
                }
                // SAFETY: the caller vouches for 16 more numbers at `16 · i` in `row` and in each query.
                unsafe {
                    let x = match row_type {
                        RowType::F16 => _mm512_cvtph_ps(_mm256_loadu_si256(row.as_ptr().add(32 * i).cast())),
                        RowType::F32 => _mm512_loadu_ps(row.as_ptr().add(64 * i).cast()),
                    };
                    for (sums, query) in sums.iter_mut().zip(queries) {
                        let q = _mm512_loadu_ps(query.as_ptr().add(16 * i));
                        sums[place] = _mm512_fmadd_ps(q, x, sums[place]);
                    }
                }
            }
        }
        sums.map(|[a, b, c, d]| _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d))))
    }

    /// # Safety
    /// As [`dots_avx512`].
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) unsafe fn dots_avx2<const N: usize>(row_type: RowType, queries: &[&[f32]; N], row: &[u8]) -> [f32; N] {
        let mut sums = [[_mm256_setzero_ps(); 4]; N];
        let eights = queries[0].len() / 8;
        for first in (0..eights).step_by(4) {
            for place in 0..4 {
                let i = first + place;
                if i == eights {
                    break;
                }
                // SAFETY: the caller vouches for 8 more numbers at `8 · i` in `row` and in each query.
                unsafe {
                    let x = match row_type {
                        RowType::F16 => _mm256_cvtph_ps(_mm_loadu_si128(row.as_ptr().add(16 * i).cast())),
                        RowType::F32 => _mm256_loadu_ps(row.as_ptr().add(32 * i).cast()),
                    };
                    for (sums, query) in sums.iter_mut().zip(queries) {
                        let q = _mm256_loadu_ps(query.as_ptr().add(8 * i));
                        sums[place] = _mm256_fmadd_ps(q, x, sums[place]);
                    }
                }
            }
        }
        sums.map(|[a, b, c, d]| {
            let s = _mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d));
            let s = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps::<1>(s));
            let s = _mm_add_ps(s, _mm_movehl_ps(s, s));
            _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)))
        })
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

        #[test]
        fn a_product_does_not_depend_on_those_beside_it(
            count in 1usize..12, sixteens in 1usize..9, seed in 0u32..1000,
        ) {
            let length = sixteens * 16;
            let number = |i: usize, n: usize| (((i * 37 + n * 101) as u32 + seed) % 199) as f32 / 100.0 - 1.0;
            let queries: Vec<Vec<f32>> = (0..count).map(|n| (0..length).map(|i| number(i, n)).collect()).collect();
            let queries: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
            let vector: Vec<f32> = (0..length).map(|i| number(i, 77)).collect();
            for row_type in [RowType::F16, RowType::F32] {
                let mut row = vec![0; length * row_type.width()];
                row_type.encode(&vector, &mut row);
                let mut scores = vec![0.0; count];
                dots(row_type, &queries, &row, &mut scores);
                let alone: Vec<f32> = queries.iter().map(|q| dot(row_type, q, &row)).collect();
                prop_assert_eq!(scores, alone);
            }
        }
    }
}
