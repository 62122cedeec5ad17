//! Scores of nodes from 128 bits of each: counts of bits, of which wide processors make those of four nodes in one
//! instruction.
//!
//! A weight under zero counts for each bit that is *not* set, as much as it is under zero: that differs from what it
//! is by a sum that is the same for all.

use membox_vectors::prefetch;
use std::ops::Range;

/// Bits of a node.
pub(crate) const BITS: usize = 128;
/// Bits of a weight without its sign.
const WEIGHT_BITS: usize = 3;
/// How far ahead bits are fetched, in nodes: a multiple of 64.
const AHEAD: usize = 256;
/// Allowed nodes of 64 from which on all of them are looked at together.
const MANY: u32 = 12;
/// One of four nodes, whose bits are in one line of the cache.
const LINES: u64 = 0x1111_1111_1111_1111;

/// A query's weights, one for each bit of a node.
pub(crate) struct BitWeights {
    /// Which are under zero.
    negative: u128,
    /// Without their signs: of all of them the lowest bits, then the next ones.
    planes: [u128; WEIGHT_BITS],
    /// The sum of those under zero.
    least: i32,
}

impl BitWeights {
    /// The largest, and the least but for its sign.
    pub const MAX: i32 = (1 << WEIGHT_BITS) - 1;

    pub fn of(weights: [i32; BITS]) -> Self {
        let bits = |is_set: &dyn Fn(i32) -> bool| {
            weights.iter().rev().fold(0, |bits, &weight| bits << 1 | u128::from(is_set(weight)))
        };
        Self {
            negative: bits(&|weight| weight < 0),
            planes: std::array::from_fn(|j| bits(&|weight| weight.abs() >> j & 1 == 1)),
            least: weights.iter().filter(|weight| **weight < 0).sum(),
        }
    }

    /// Adds the allowed ones of some nodes that score `least` or more, each with its score, to `best`. `bits` has
    /// those of one node after the other, `allowed` bit i of byte i / 8 for node i; the first node is a multiple
    /// of 64.
    pub fn best_of(&self, bits: &[u128], nodes: Range<usize>, allowed: &[u8], least: i32, best: &mut Vec<(u32, i32)>) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vpopcntdq")
            && is_x86_feature_detected!("bmi2")
        {
            // SAFETY: the processor was just asked for these.
            return unsafe { self.best_of_avx512(bits, nodes, allowed, least, best) };
        }
        best_by(|bits| self.score(bits), |_| u64::MAX, bits, nodes, allowed, least, best);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512vpopcntdq,bmi2")]
    fn best_of_avx512(
        &self,
        bits: &[u128],
        nodes: Range<usize>,
        allowed: &[u8],
        least: i32,
        best: &mut Vec<(u32, i32)>,
    ) {
        use std::arch::x86_64::{
            _mm_loadu_si128, _mm512_add_epi64, _mm512_broadcast_i32x4, _mm512_cmpge_epi64_mask, _mm512_loadu_epi64,
            _mm512_popcnt_epi64, _mm512_set1_epi64, _mm512_slli_epi64, _mm512_ternarylogic_epi64,
            _mm512_unpackhi_epi64, _mm512_unpacklo_epi64, _pext_u64,
        };
        // SAFETY: each has 128 bits.
        let wide = |bits: u128| unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128((&raw const bits).cast())) };
        let (negative, planes) = (wide(self.negative), self.planes.map(wide));
        let least_each = _mm512_set1_epi64(i64::from(least) - i64::from(self.least));
        // Of each node two sums, that of its lower bits and that of its upper ones.
        let halves = |bits: &[u128]| {
            // SAFETY: four nodes have 512 bits.
            let bits = unsafe { _mm512_loadu_epi64(bits[..4].as_ptr().cast()) };
            // (bits ^ negative) & plane
            let [ones, twos, fours] =
                planes.map(|plane| _mm512_popcnt_epi64(_mm512_ternarylogic_epi64::<0x28>(bits, negative, plane)));
            let twos = _mm512_slli_epi64::<1>(twos);
            _mm512_add_epi64(_mm512_add_epi64(ones, twos), _mm512_slli_epi64::<2>(fours))
        };
        let at_least = |bits: &[u128; 64]| {
            let (mut found, mut place) = (0, 0);
            for bits in bits.as_chunks::<8>().0 {
                let (first, second) = (halves(&bits[..4]), halves(&bits[4..]));
                let scores =
                    _mm512_add_epi64(_mm512_unpacklo_epi64(first, second), _mm512_unpackhi_epi64(first, second));
                // The nodes of both by turns.
                let mask = u64::from(_mm512_cmpge_epi64_mask(scores, least_each));
                found |= (_pext_u64(mask, 0x55) | _pext_u64(mask, 0xaa) << 4) << place;
                place += 8;
            }
            found
        };
        best_by(|bits| self.score(bits), at_least, bits, nodes, allowed, least, best);
    }

    /// The sum of the weights of the bits that are set.
    pub fn score(&self, bits: u128) -> i32 {
        let [ones, twos, fours] = self.planes.map(|plane| ((bits ^ self.negative) & plane).count_ones() as i32);
        self.least + ones + 2 * twos + 4 * fours
    }
}

/// `at_least` says of 64 nodes which score `least` or more, or may: it is asked where many of them are allowed.
#[inline(always)]
fn best_by(
    score: impl Fn(u128) -> i32,
    at_least: impl Fn(&[u128; 64]) -> u64,
    bits: &[u128],
    nodes: Range<usize>,
    allowed: &[u8],
    least: i32,
    best: &mut Vec<(u32, i32)>,
) {
    for first in nodes.clone().step_by(64) {
        // Where few are allowed, each is somewhere else.
        let soon = allowed_of(allowed, first + AHEAD, nodes.end);
        for node in ones_of((soon | soon >> 1 | soon >> 2 | soon >> 3) & LINES) {
            prefetch(&bits[first + AHEAD + node..][..1]);
        }
        let mut wanted = allowed_of(allowed, first, nodes.end);
        if wanted.count_ones() >= MANY
            && let Some(together) = bits[first..].first_chunk()
        {
            wanted &= at_least(together);
        }
        for node in ones_of(wanted) {
            let score = score(bits[first + node]);
            if score >= least {
                best.push(((first + node) as u32, score));
            }
        }
    }
}

/// A bit for each of 64 nodes: whether it is allowed and lies before `end`.
#[inline(always)]
fn allowed_of(allowed: &[u8], first: usize, end: usize) -> u64 {
    let mut bytes = [0; 8];
    let own = allowed.get(first / 8..).unwrap_or_default();
    let length = own.len().min(8);
    bytes[..length].copy_from_slice(&own[..length]);
    let before_end = match end.saturating_sub(first) {
        0 => 0,
        left => u64::MAX >> (64 - left.min(64)),
    };
    u64::from_le_bytes(bytes) & before_end
}

/// The places of the bits that are set.
#[inline(always)]
fn ones_of(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let at = bits.trailing_zeros() as usize;
        let is_one = bits != 0;
        bits &= bits.wrapping_sub(1);
        is_one.then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// As wide as the processor can, and count by count.
        #[test]
        fn a_score_is_the_sum_of_the_weights_of_the_bits_that_are_set(
            nodes in 1usize..300, least in -300i32..300, seed in any::<u64>(),
        ) {
            use rand::{Rng, SeedableRng};
            let mut random = rand::rngs::SmallRng::seed_from_u64(seed);
            let bits: Vec<u128> = (0..nodes).map(|_| random.random()).collect();
            let each: [i32; BITS] = std::array::from_fn(|_| random.random_range(-BitWeights::MAX..=BitWeights::MAX));
            let allowed: Vec<u8> = (0..nodes.div_ceil(8) + 1).map(|_| random.random()).collect();
            let score = |node: usize| -> i32 {
                (0..BITS).filter(|&bit| bits[node] >> bit & 1 == 1).map(|bit| each[bit]).sum()
            };
            let is_allowed = |node: &usize| allowed[node / 8] >> (node % 8) & 1 == 1;
            let wanted = (0..nodes).filter(is_allowed).map(|node| (node as u32, score(node)));
            let wanted: Vec<(u32, i32)> = wanted.filter(|best| best.1 >= least).collect();
            let weights = BitWeights::of(each);
            let (mut wide, mut plain) = (Vec::new(), Vec::new());
            weights.best_of(&bits, 0..nodes, &allowed, least, &mut wide);
            best_by(|bits| weights.score(bits), |_| u64::MAX, &bits, 0..nodes, &allowed, least, &mut plain);
            prop_assert_eq!(&wide, &wanted);
            prop_assert_eq!(&plain, &wanted);
        }
    }
}
