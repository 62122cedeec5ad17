//! Inner products and distances of f32 queries and stored rows, similarities of tokens, and reading ahead: the
//! crate's one module of such instructions.

use crate::Metric;
use crate::format::RowType;
use crate::tokens::{TILE, Tile};

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

/// How well `query` and a stored row match (`row` holds at least as many numbers), by the best instructions of this
/// CPU.
pub(crate) fn score(metric: Metric, row_type: RowType, query: &[f32], row: &[u8]) -> f32 {
    let mut score = [0.0];
    scores(metric, row_type, &[query], row, &mut score);
    score[0]
}

/// How well queries of one length match a stored row (`row` holds at least as many numbers): inner products, or
/// distances below zero. Each is the same to the last bit as if it were made alone.
pub(crate) fn scores(metric: Metric, row_type: RowType, queries: &[&[f32]], row: &[u8], scores: &mut [f32]) {
    match metric {
        Metric::Cosine | Metric::InnerProduct => sums::<false>(row_type, queries, row, scores),
        Metric::Euclidean => {
            sums::<true>(row_type, queries, row, scores);
            // A zero has no sign in JSON.
            scores.iter_mut().for_each(|score| *score = if *score > 0.0 { -score.sqrt() } else { 0.0 });
        }
    }
}

/// Sums of products, or of squared differences.
fn sums<const SQUARES: bool>(row_type: RowType, queries: &[&[f32]], row: &[u8], sums: &mut [f32]) {
    assert_eq!(queries.len(), sums.len());
    let Some(length) = queries.first().map(|q| q.len()) else { return };
    assert!(row.len() >= length * row_type.width() && queries.iter().all(|q| q.len() == length));
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        if length.is_multiple_of(16) {
            // Four queries share what is read and converted of the row; AVX2 has registers for the sums of two.
            if has!("avx512f") {
                let (fours, rest) = queries.as_chunks::<4>();
                let (four_sums, rest_sums) = sums.as_chunks_mut::<4>();
                for (queries, sums) in fours.iter().zip(four_sums) {
                    // SAFETY: AVX-512 F was found; the assertion above covers the row and the queries.
                    *sums = unsafe { x86::sums_avx512::<_, SQUARES>(row_type, queries, row) };
                }
                for (query, sum) in rest.iter().zip(rest_sums) {
                    // SAFETY: as above.
                    [*sum] = unsafe { x86::sums_avx512::<_, SQUARES>(row_type, &[*query], row) };
                }
                return;
            }
            if has!("avx2") && has!("fma") && has!("f16c") {
                let (twos, rest) = queries.as_chunks::<2>();
                let (two_sums, rest_sums) = sums.as_chunks_mut::<2>();
                for (queries, sums) in twos.iter().zip(two_sums) {
                    // SAFETY: AVX2, FMA and F16C were found; the assertion above covers the row and the queries.
                    *sums = unsafe { x86::sums_avx2::<_, SQUARES>(row_type, queries, row) };
                }
                for (query, sum) in rest.iter().zip(rest_sums) {
                    // SAFETY: as above.
                    [*sum] = unsafe { x86::sums_avx2::<_, SQUARES>(row_type, &[*query], row) };
                }
                return;
            }
        }
    }
    queries.iter().zip(sums).for_each(|(query, sum)| *sum = portable::<SQUARES>(row_type, query, row));
}

fn portable<const SQUARES: bool>(row_type: RowType, query: &[f32], row: &[u8]) -> f32 {
    let term = |q: f32, x: f32| if SQUARES { (q - x) * (q - x) } else { q * x };
    match row_type {
        RowType::F16 => {
            let row = row.as_chunks::<2>().0;
            query.iter().zip(row).map(|(q, x)| term(*q, half::f16::from_le_bytes(*x).to_f32())).sum()
        }
        RowType::F32 => query.iter().zip(row.as_chunks::<4>().0).map(|(q, x)| term(*q, f32::from_le_bytes(*x))).sum(),
    }
}

/// Raises `best[i]` to the largest cosine of token `i` of a tile and a token of `codes`, of `width` bytes each. All
/// instructions give the same to the last bit.
pub(crate) fn max_sim(tile: &Tile, codes: &[u8], width: usize, best: &mut [f32; TILE]) {
    assert!(matches!(width, 8 | 16 | 24 | 32));
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        if has!("avx512f") && has!("avx512vnni") && has!("avx2") {
            // SAFETY: AVX2 and AVX-512 with VNNI were found; a code has at most 32 bytes, a multiple of 8.
            return unsafe { x86::max_sim_vnni(tile, codes, width, best) };
        }
        if has!("avx2") {
            // SAFETY: AVX2 was found; a code has at most 32 bytes, a multiple of 8.
            return unsafe { x86::max_sim_avx2(tile, codes, width, best) };
        }
    }
    max_sim_portable(tile, codes, width, best);
}

fn max_sim_portable(tile: &Tile, codes: &[u8], width: usize, best: &mut [f32; TILE]) {
    let level = |half: u8| i32::from((half << 4).cast_signed() >> 4);
    for code in codes.chunks_exact(width) {
        let lower = || code.iter().map(|byte| level(byte & 0x0F));
        let upper = || code.iter().map(|byte| level(byte >> 4));
        let unit = unit(lower().chain(upper()).map(|level| level * level).sum());
        for (token, best) in best.iter_mut().enumerate() {
            let dot = |levels: &[[[i8; 4]; TILE]], code: &mut dyn Iterator<Item = i32>| -> i32 {
                levels.iter().flat_map(|four| four[token]).zip(code).map(|(q, x)| i32::from(q) * x).sum()
            };
            let dot = dot(&tile.lower, &mut lower()) + dot(&tile.upper, &mut upper());
            *best = best.max(dot as f32 * tile.scales[token] * unit);
        }
    }
}

/// What gives unit length to a vector of which this is the sum of squares.
fn unit(square: i32) -> f32 {
    if square > 0 { 1.0 / (square as f32).sqrt() } else { 0.0 }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::unit;
    use crate::format::RowType;
    use crate::tokens::{TILE, Tile};
    use std::arch::x86_64::*;

    /// # Safety
    /// The queries are of one length, a multiple of 16, and `row` holds as many numbers of `row_type`.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn sums_avx512<const N: usize, const SQUARES: bool>(
        row_type: RowType,
        queries: &[&[f32]; N],
        row: &[u8],
    ) -> [f32; N] {
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
                        let (a, b) = if SQUARES { (_mm512_sub_ps(q, x), _mm512_sub_ps(q, x)) } else { (q, x) };
                        sums[place] = _mm512_fmadd_ps(a, b, sums[place]);
                    }
                }
            }
        }
        sums.map(|[a, b, c, d]| _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d))))
    }

    /// # Safety
    /// As [`sums_avx512`].
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) unsafe fn sums_avx2<const N: usize, const SQUARES: bool>(
        row_type: RowType,
        queries: &[&[f32]; N],
        row: &[u8],
    ) -> [f32; N] {
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
                        let (a, b) = if SQUARES { (_mm256_sub_ps(q, x), _mm256_sub_ps(q, x)) } else { (q, x) };
                        sums[place] = _mm256_fmadd_ps(a, b, sums[place]);
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

    /// The halves of a code, as levels from 0 to 15 with 8 in the middle, and what gives it unit length. Past the code
    /// is nothing.
    ///
    /// # Safety
    /// A code has at most 32 bytes, a multiple of 4.
    #[target_feature(enable = "avx2")]
    unsafe fn unpack(code: &[u8]) -> (Halves, f32) {
        let dwords = _mm256_set1_epi32((code.len() / 4) as i32);
        let mask = _mm256_cmpgt_epi32(dwords, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
        // SAFETY: no more than the code is read: the mask is as long.
        let code = unsafe { _mm256_maskload_epi32(code.as_ptr().cast(), mask) };
        let (half, eight) = (_mm256_set1_epi8(0x0F), _mm256_set1_epi8(8));
        let code = _mm256_xor_si256(code, _mm256_set1_epi8(0x88_u8.cast_signed()));
        let (low, high) = (_mm256_and_si256(code, half), _mm256_and_si256(_mm256_srli_epi16::<4>(code), half));
        let squares = |levels: __m256i| {
            let levels = _mm256_abs_epi8(_mm256_sub_epi8(levels, eight));
            _mm256_maddubs_epi16(levels, levels)
        };
        let square = sum(_mm256_madd_epi16(_mm256_add_epi16(squares(low), squares(high)), _mm256_set1_epi16(1)));
        let mut halves = Halves([[0; 8]; 2]);
        for (half, levels) in halves.0.iter_mut().zip([low, high]) {
            // SAFETY: a half has 32 bytes, at an address that is a multiple of 32.
            unsafe { _mm256_store_si256(half.as_mut_ptr().cast(), levels) }
        }
        (halves, unit(square))
    }

    /// The lower and the upper half of a code, four levels a number.
    #[repr(align(32))]
    struct Halves([[i32; 8]; 2]);

    /// # Safety
    /// A code has at most 32 bytes, a multiple of 4.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn max_sim_avx2(tile: &Tile, codes: &[u8], width: usize, best: &mut [f32; TILE]) {
        for code in codes.chunks_exact(width) {
            // SAFETY: the caller vouches for the width.
            let (Halves([low, high]), unit) = unsafe { unpack(code) };
            for first in (0..TILE).step_by(8) {
                let mut dots = _mm256_setzero_si256();
                for four in 0..width / 4 {
                    let (low, high) = (_mm256_set1_epi32(low[four]), _mm256_set1_epi32(high[four]));
                    // SAFETY: eight tokens from `first` on have four bytes each, in either half.
                    let (q_low, q_high) = unsafe {
                        (
                            _mm256_loadu_si256(tile.lower[four].as_ptr().add(first).cast()),
                            _mm256_loadu_si256(tile.upper[four].as_ptr().add(first).cast()),
                        )
                    };
                    // Two products of at most 15 · 127 in 16 bits, and two such sums, stay below 2¹⁵.
                    let sums = _mm256_add_epi16(_mm256_maddubs_epi16(low, q_low), _mm256_maddubs_epi16(high, q_high));
                    dots = _mm256_add_epi32(dots, _mm256_madd_epi16(sums, _mm256_set1_epi16(1)));
                }
                // SAFETY: there are eight of each from `first` on.
                unsafe {
                    let offsets = _mm256_loadu_si256(tile.offsets.as_ptr().add(first).cast());
                    let scales = _mm256_loadu_ps(tile.scales.as_ptr().add(first));
                    let best = best.as_mut_ptr().add(first);
                    let dots = _mm256_cvtepi32_ps(_mm256_sub_epi32(dots, offsets));
                    let found = _mm256_mul_ps(_mm256_mul_ps(dots, scales), _mm256_set1_ps(unit));
                    _mm256_storeu_ps(best, _mm256_max_ps(found, _mm256_loadu_ps(best)));
                }
            }
        }
    }

    /// # Safety
    /// As [`max_sim_avx2`].
    #[target_feature(enable = "avx2,avx512f,avx512vnni")]
    pub(super) unsafe fn max_sim_vnni(tile: &Tile, codes: &[u8], width: usize, best: &mut [f32; TILE]) {
        // SAFETY: there are sixteen of each.
        let (offsets, scales, mut nearest) = unsafe {
            (
                _mm512_loadu_si512(tile.offsets.as_ptr().cast()),
                _mm512_loadu_ps(tile.scales.as_ptr()),
                _mm512_loadu_ps(best.as_ptr()),
            )
        };
        for code in codes.chunks_exact(width) {
            // SAFETY: the caller vouches for the width.
            let (Halves([low, high]), unit) = unsafe { unpack(code) };
            let (mut lower, mut upper) = (_mm512_setzero_si512(), _mm512_setzero_si512());
            for four in 0..width / 4 {
                // SAFETY: sixteen tokens have four bytes each, in either half.
                let (q_low, q_high) = unsafe {
                    (
                        _mm512_loadu_si512(tile.lower[four].as_ptr().cast()),
                        _mm512_loadu_si512(tile.upper[four].as_ptr().cast()),
                    )
                };
                lower = _mm512_dpbusd_epi32(lower, _mm512_set1_epi32(low[four]), q_low);
                upper = _mm512_dpbusd_epi32(upper, _mm512_set1_epi32(high[four]), q_high);
            }
            let dots = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_add_epi32(lower, upper), offsets));
            let found = _mm512_mul_ps(_mm512_mul_ps(dots, scales), _mm512_set1_ps(unit));
            nearest = _mm512_max_ps(found, nearest);
        }
        // SAFETY: there is room for sixteen.
        unsafe { _mm512_storeu_ps(best.as_mut_ptr(), nearest) }
    }

    /// The sum of eight.
    #[target_feature(enable = "avx2")]
    fn sum(of: __m256i) -> i32 {
        let s = _mm_add_epi32(_mm256_castsi256_si128(of), _mm256_extracti128_si256::<1>(of));
        let s = _mm_add_epi32(s, _mm_shuffle_epi32::<0b01_00_11_10>(s));
        _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32::<0b10_11_00_01>(s)))
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
                for metric in [Metric::InnerProduct, Metric::Euclidean] {
                    let plain = match metric {
                        Metric::Euclidean => -portable::<true>(row_type, &query, &row).sqrt(),
                        _ => portable::<false>(row_type, &query, &row),
                    };
                    prop_assert!((score(metric, row_type, &query, &row) - plain).abs() < 1e-4, "{metric:?}");
                }
            }
        }

        #[test]
        fn the_fast_similarities_are_the_plain_ones(
            eights in 1usize..5, codes in prop::collection::vec(any::<u8>(), 0..600),
            numbers in prop::collection::vec(-127i8..=127, 64 * TILE), best in -1f32..1.0,
        ) {
            let width = 8 * eights;
            let mut tile = Tile::default();
            for (token, levels) in numbers.as_chunks::<64>().0.iter().enumerate() {
                let (lower, upper) = levels[..2 * width].split_at(width);
                tile.set(token, lower, upper, 0.01 + token as f32 / 1000.0);
            }
            let mut plain = [best; TILE];
            max_sim_portable(&tile, &codes, width, &mut plain);
            let mut fast = [best; TILE];
            max_sim(&tile, &codes, width, &mut fast);
            prop_assert_eq!(fast, plain);
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") {
                let mut fast = [best; TILE];
                // SAFETY: AVX2 was found, and a code has at most 32 bytes.
                unsafe { x86::max_sim_avx2(&tile, &codes, width, &mut fast) };
                prop_assert_eq!(fast, plain);
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
                for metric in [Metric::Cosine, Metric::InnerProduct, Metric::Euclidean] {
                    let mut together = vec![0.0; count];
                    scores(metric, row_type, &queries, &row, &mut together);
                    let alone: Vec<f32> = queries.iter().map(|q| score(metric, row_type, q, &row)).collect();
                    prop_assert_eq!(together, alone);
                }
            }
        }
    }
}
