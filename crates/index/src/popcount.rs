//! Scores of nodes from a bit a dimension: counts of bits, which wide processors make of eight words in one instruction.

use crate::faiss::prefetch;
use std::ops::Range;

/// Bits of a weight.
const WEIGHT_BITS: usize = 4;
/// Added to each weight, so that none is negative.
const SHIFT: i32 = 8;
/// How far ahead bits are fetched, in nodes: a multiple of 64.
const AHEAD: usize = 256;

/// A query's weights, one for each bit of a node.
pub(crate) struct BitWeights {
    /// Of eight words the lowest bits of all their weights, then the next ones.
    planes: Vec<[[u64; 8]; WEIGHT_BITS]>,
    /// Words of a node.
    words: usize,
}

impl BitWeights {
    /// The largest, and the least but for its sign.
    pub const MOST: i32 = 7;

    /// Of so many words. Bits that no weight is given for are set in no node.
    pub fn of(words: usize, weights: impl Iterator<Item = i32>) -> Self {
        let mut planes = vec![[[0; 8]; WEIGHT_BITS]; words.div_ceil(8)];
        for (bit, weight) in weights.enumerate() {
            let (word, shifted) = (bit / 64, (weight + SHIFT) as u64);
            for (j, plane) in planes[word / 8].iter_mut().enumerate() {
                plane[word % 8] |= (shifted >> j & 1) << (bit % 64);
            }
        }
        Self { planes, words }
    }

    /// Adds the allowed ones of some nodes that score `least` or more, each with its score, to `best`. `bits` has the words of one node after the other,
    /// `allowed` bit i of byte i / 8 for node i; the first node is a multiple of 64.
    pub fn best_of(&self, bits: &[u64], nodes: Range<usize>, allowed: &[u8], least: i32, best: &mut Vec<(u32, i32)>) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vpopcntdq") {
            // SAFETY: the processor was just asked for these.
            return unsafe { self.best_of_avx512(bits, nodes, allowed, least, best) };
        }
        self.best_by(|bits| self.score(bits), bits, nodes, allowed, least, best);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512vpopcntdq")]
    fn best_of_avx512(
        &self,
        bits: &[u64],
        nodes: Range<usize>,
        allowed: &[u8],
        least: i32,
        best: &mut Vec<(u32, i32)>,
    ) {
        self.best_by(|bits| self.score_avx512(bits), bits, nodes, allowed, least, best);
    }

    #[inline(always)]
    fn best_by(
        &self,
        score: impl Fn(&[u64]) -> i32,
        bits: &[u64],
        nodes: Range<usize>,
        allowed: &[u8],
        least: i32,
        best: &mut Vec<(u32, i32)>,
    ) {
        let bits_of = |node: usize| &bits[node * self.words..(node + 1) * self.words];
        for first in nodes.clone().step_by(64) {
            // Where few are allowed, each is somewhere else.
            for soon in allowed_of(allowed, first + AHEAD, nodes.end) {
                // They may begin in one line of the cache and end in the next.
                let bits = bits_of(soon);
                prefetch(&bits[..1]);
                prefetch(&bits[self.words - 1..]);
            }
            for node in allowed_of(allowed, first, nodes.end) {
                let score = score(bits_of(node));
                if score >= least {
                    best.push((node as u32, score));
                }
            }
        }
    }

    fn score(&self, bits: &[u64]) -> i32 {
        let mut sum = 0;
        for (words, planes) in bits.chunks(8).zip(&self.planes) {
            for (j, plane) in planes.iter().enumerate() {
                sum +=
                    words.iter().zip(plane).map(|(word, plane)| ((word & plane).count_ones() << j) as i32).sum::<i32>();
            }
            sum -= SHIFT * words.iter().map(|word| word.count_ones() as i32).sum::<i32>();
        }
        sum
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx512f,avx512vpopcntdq")]
    fn score_avx512(&self, bits: &[u64]) -> i32 {
        use std::arch::x86_64::{
            _mm512_add_epi64, _mm512_and_si512, _mm512_loadu_epi64, _mm512_maskz_loadu_epi64, _mm512_popcnt_epi64,
            _mm512_reduce_add_epi64, _mm512_setzero_si512, _mm512_slli_epi64, _mm512_sub_epi64,
        };
        let mut sum = _mm512_setzero_si512();
        for (words, planes) in bits.chunks(8).zip(&self.planes) {
            // SAFETY: the mask has a bit for each word that there is.
            let bits = unsafe { _mm512_maskz_loadu_epi64(0xff >> (8 - words.len()), words.as_ptr().cast()) };
            let of_plane = |j: usize| {
                // SAFETY: a plane has eight words.
                let plane = unsafe { _mm512_loadu_epi64(planes[j].as_ptr().cast()) };
                _mm512_popcnt_epi64(_mm512_and_si512(bits, plane))
            };
            sum = _mm512_add_epi64(sum, of_plane(0));
            sum = _mm512_add_epi64(sum, _mm512_slli_epi64::<1>(of_plane(1)));
            sum = _mm512_add_epi64(sum, _mm512_slli_epi64::<2>(of_plane(2)));
            sum = _mm512_add_epi64(sum, _mm512_slli_epi64::<3>(of_plane(3)));
            // SHIFT is 8.
            sum = _mm512_sub_epi64(sum, _mm512_slli_epi64::<3>(_mm512_popcnt_epi64(bits)));
        }
        _mm512_reduce_add_epi64(sum) as i32
    }
}

/// The allowed ones of 64 nodes, as far as they lie before `end`.
#[inline(always)]
fn allowed_of(allowed: &[u8], first: usize, end: usize) -> impl Iterator<Item = usize> {
    let mut bytes = [0; 8];
    let own = allowed.get(first / 8..).unwrap_or_default();
    let length = own.len().min(8);
    bytes[..length].copy_from_slice(&own[..length]);
    let mut left = u64::from_le_bytes(bytes);
    std::iter::from_fn(move || {
        let node = first + left.trailing_zeros() as usize;
        let is_one = left != 0 && node < end;
        left &= left.wrapping_sub(1);
        is_one.then_some(node)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// As wide as the processor can, and word by word.
        #[test]
        fn a_score_is_the_sum_of_the_weights_of_the_bits_that_are_set(
            words in 1usize..20, nodes in 1usize..300, least in -300i32..300, seed in any::<u64>(),
        ) {
            use rand::{Rng, SeedableRng};
            let mut random = rand::rngs::SmallRng::seed_from_u64(seed);
            let bits: Vec<u64> = (0..nodes * words).map(|_| random.random()).collect();
            let each: Vec<i32> = (0..64 * words).map(|_| random.random_range(-BitWeights::MOST..=BitWeights::MOST)).collect();
            let allowed: Vec<u8> = (0..nodes.div_ceil(8) + 1).map(|_| random.random()).collect();
            let score = |node: usize| -> i32 {
                let is_set = |bit: usize| bits[node * words + bit / 64] >> (bit % 64) & 1 == 1;
                (0..64 * words).filter(|&bit| is_set(bit)).map(|bit| each[bit]).sum()
            };
            let is_allowed = |node: &usize| allowed[node / 8] >> (node % 8) & 1 == 1;
            let wanted = (0..nodes).filter(is_allowed).map(|node| (node as u32, score(node)));
            let wanted: Vec<(u32, i32)> = wanted.filter(|best| best.1 >= least).collect();
            let weights = BitWeights::of(words, each.iter().copied());
            let (mut wide, mut plain) = (Vec::new(), Vec::new());
            weights.best_of(&bits, 0..nodes, &allowed, least, &mut wide);
            weights.best_by(|bits| weights.score(bits), &bits, 0..nodes, &allowed, least, &mut plain);
            prop_assert_eq!(&wide, &wanted);
            prop_assert_eq!(&plain, &wanted);
        }
    }
}
