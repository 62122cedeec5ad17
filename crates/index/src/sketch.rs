//! A bit a dimension of each vector: enough to tell what is far, an eighth of the memory of its codes.
//!
//! Where a filter excludes the neighbourhood of a query, all that it allows has to be looked at, and the time is that of reading it. So the bits are read
//! first: whether a code lies above the mean of its dimension (RaBitQ's binary codes, Gao and Long 2024, without the rotation, which changed nothing on
//! sentences' vectors). The query is rounded to 4 bits a dimension, so a score is five counts of bits (`popcount.rs`). What scores best is compared by its codes then.

use crate::faiss::{Graph, zeros};
use crate::popcount::BitWeights;
use rayon::prelude::*;

/// Nodes that the means are taken of, at most.
const SAMPLE: usize = 10_000;
/// Allowed nodes by whose scores the others are told apart, at least where there are as many.
const SAMPLED: usize = 16_384;
/// Nodes that one thread looks at in one go: a multiple of 64.
const PIECE: usize = 1 << 16;

/// The bits of all nodes of a graph.
pub(crate) struct Sketches {
    /// Words of one node.
    words: usize,
    bits: Vec<u64>,
    /// How far codes lie from their dimension's mean, on average.
    spreads: Vec<f32>,
}

/// Candidates by their bits that are compared by their codes, where so many nodes are allowed; `None` where looking at all codes takes no longer.
pub(crate) fn candidates(among: u64) -> Option<usize> {
    let wanted = 8192 + among / 64;
    (among > 4 * wanted).then_some(wanted as usize)
}

impl Sketches {
    /// Reads every code once.
    pub fn of(graph: Graph) -> Self {
        let dimension = graph.widths.len();
        let nodes = graph.codes.len() / dimension;
        let (words, step) = (dimension.div_ceil(64), nodes.div_ceil(SAMPLE).max(1));
        let sample: Vec<&[u8]> = graph.codes.chunks_exact(dimension).step_by(step).collect();
        let mean_of = |of: &dyn Fn(&[u8]) -> f32| {
            sample.iter().map(|codes| f64::from(of(codes))).sum::<f64>() / sample.len().max(1) as f64
        };
        let means: Vec<f32> = (0..dimension).map(|d| mean_of(&|codes| f32::from(codes[d])) as f32).collect();
        let spreads = (0..dimension).map(|d| mean_of(&|codes| (f32::from(codes[d]) - means[d]).abs()) as f32).collect();
        let above: Vec<u8> = means.iter().map(|mean| mean.floor() as u8).collect();
        let mut bits = zeros(nodes * words);
        bits.par_chunks_mut(words).zip(graph.codes.par_chunks_exact(dimension)).for_each(|(bits, codes)| {
            for ((bits, codes), above) in bits.iter_mut().zip(codes.chunks(64)).zip(above.chunks(64)) {
                for (bit, (code, above)) in codes.iter().zip(above).enumerate() {
                    *bits |= u64::from(code > above) << bit;
                }
            }
        });
        Self { words, bits, spreads }
    }

    /// The allowed nodes that score best by their bits, about `count` of them, by rising number. `allowed` has bit i of byte i / 8 for node i.
    pub fn nearest(&self, graph: Graph, query: &[f32], count: usize, allowed: &[u8]) -> Vec<u32> {
        let weights = self.weights(graph, query);
        let nodes = self.bits.len() / self.words;
        let among: usize = allowed.iter().map(|byte| byte.count_ones() as usize).sum();
        // The least score that so many have is told by some, so that none of the others need be kept.
        let step = (among / SAMPLED).max(1);
        let mut sampled = Vec::new();
        for first in (0..nodes).step_by(64 * step) {
            weights.best_of(&self.bits, first..nodes.min(first + 64), allowed, i32::MIN, &mut sampled);
        }
        let left = count.div_ceil(step).max(1);
        let least = match sampled.len() > left {
            true => sampled.select_nth_unstable_by(left - 1, |a, b| b.1.cmp(&a.1)).1.1,
            false => i32::MIN,
        };
        let best_of = |piece: usize| {
            let mut best = Vec::new();
            let nodes = piece * PIECE..nodes.min((piece + 1) * PIECE);
            weights.best_of(&self.bits, nodes, allowed, least, &mut best);
            best.into_iter().map(|(node, _)| node)
        };
        (0..nodes.div_ceil(PIECE)).into_par_iter().flat_map_iter(best_of).collect()
    }

    /// What a bit says about a query.
    fn weights(&self, graph: Graph, query: &[f32]) -> BitWeights {
        let weights: Vec<f32> =
            query.iter().zip(graph.widths).zip(&self.spreads).map(|((x, width), spread)| x * width * spread).collect();
        let most = weights.iter().fold(f32::MIN_POSITIVE, |most, weight| most.max(weight.abs()));
        let rounded = |weight: &f32| (weight / most * BitWeights::MOST as f32).round_ties_even() as i32;
        BitWeights::of(self.words, weights.iter().map(rounded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn graph<'a>(codes: &'a [u8], widths: &'a [f32]) -> Graph<'a> {
        let (neighbours, offsets, level_starts) = (&[][..], &[0][..], &[0][..]);
        Graph { neighbours, offsets, level_starts, codes, widths, entry: 0, max_level: 0 }
    }

    proptest! {
        #[test]
        fn the_best_by_a_plain_reading_of_the_bits_are_found(
            dimension in 1usize..150, nodes in 1usize..300, count in 1usize..50, seed in any::<u64>(), share in 0.0f64..1.0,
        ) {
            use rand::{Rng, SeedableRng};
            let mut random = rand::rngs::SmallRng::seed_from_u64(seed);
            let codes: Vec<u8> = (0..dimension * nodes).map(|_| random.random()).collect();
            let widths: Vec<f32> = (0..dimension).map(|_| random.random_range(0.1..2.0)).collect();
            let query: Vec<f32> = (0..dimension).map(|_| random.random_range(-1.0..1.0)).collect();
            let graph = graph(&codes, &widths);
            let sketches = Sketches::of(graph);
            let mut allowed = vec![0u8; nodes.div_ceil(8)];
            let chosen: Vec<usize> = (0..nodes).filter(|_| random.random_bool(share)).collect();
            chosen.iter().for_each(|node| allowed[node / 8] |= 1 << (node % 8));
            let found = sketches.nearest(graph, &query, count, &allowed);
            prop_assert!(found.is_sorted());
            // One addition for each dimension whose code lies above the mean.
            let step = |d: usize| query[d] * widths[d] * sketches.spreads[d];
            let most = (0..dimension).map(|d| step(d).abs()).fold(f32::MIN_POSITIVE, f32::max);
            let mean = |d: usize| codes.chunks(dimension).map(|c| f64::from(c[d])).sum::<f64>() / nodes as f64;
            let means: Vec<f64> = (0..dimension).map(mean).collect();
            let plain = |node: usize| -> i32 {
                let is_above = |d: &usize| f64::from(codes[node * dimension + d]) > means[*d].floor();
                (0..dimension).filter(is_above).map(|d| (step(d) / most * 7.0).round_ties_even() as i32).sum()
            };
            let mut scores: Vec<i32> = chosen.iter().map(|&node| plain(node)).collect();
            scores.sort_unstable_by(|a, b| b.cmp(a));
            let least = scores.get(count.min(scores.len()).max(1) - 1).copied().unwrap_or(0);
            let wanted: Vec<u32> = chosen.iter().filter(|&&node| plain(node) >= least).map(|&node| node as u32).collect();
            prop_assert_eq!(found, wanted);
        }
    }
}
