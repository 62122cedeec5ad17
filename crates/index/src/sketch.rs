//! Twice 128 bits of each vector: enough to tell what is far, a twelfth of the memory of 384 codes.
//!
//! Where a filter excludes the neighbourhood of a query, all that it allows has to be looked at, and the time is
//! that of reading it. So bits are read first: on which side of the mean a vector lies along each of 128 axes
//! (RaBitQ's binary codes, Gao and Long 2024). The axes span most of what vectors differ in, which is a part of
//! their dimensions, and each has a like share of it: a sample's covariance times 128 of its vectors, made
//! orthogonal (Halko, Martinsson and Tropp 2011), then mixed by Hadamard's matrix. The query is rounded to 4 bits
//! an axis, so a score is four counts of bits (`popcount.rs`). Of what scores best, the second bits are read too:
//! with the first they say on which of four steps along an axis a vector lies, which is a third of the error. What
//! scores best by both is compared by its codes then.

use crate::faiss::{Graph, zeros};
use crate::plan::READ_TWICE;
use crate::popcount::{BITS, BitWeights};
use crate::products::Weights;
use membox_vectors::{VectorView, prefetch};
use rayon::prelude::*;
use std::borrow::Cow;
use std::ops::Range;

/// Nodes that the axes are learnt from, at most.
const LEARNT_FROM: usize = 4096;
/// Allowed nodes by whose scores the others are told apart, at least where there are as many.
const SAMPLED: usize = 4096;
/// The height of a step, in average distances from the mean: of four equal steps over what is distributed normally,
/// the one with the least error (Max 1960).
const STEP: f64 = 1.248;
/// How far ahead second bits are fetched, in nodes.
const AHEAD: usize = 16;
/// Nodes that one thread looks at in one go: a multiple of 64.
const PIECE: usize = 1 << 16;
/// Nodes whose codes stay in a core's first cache while they are put on all axes.
const BLOCK: usize = 32;

/// What bits are made of: a byte a dimension of each node.
pub(crate) trait Codes: Sync {
    /// Nodes.
    fn nodes(&self) -> usize;
    /// The width of each dimension's values.
    fn widths(&self) -> &[f32];
    /// The codes of some nodes, those of one after the other.
    fn of(&self, nodes: Range<usize>) -> Cow<'_, [u8]>;
}

impl Codes for Graph<'_> {
    fn nodes(&self) -> usize {
        self.codes.len() / self.widths.len()
    }

    fn widths(&self) -> &[f32] {
        self.widths
    }

    fn of(&self, nodes: Range<usize>) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.codes[nodes.start * self.widths.len()..nodes.end * self.widths.len()])
    }
}

/// What a code of each dimension stands for.
pub(crate) struct Scale {
    least: Vec<f32>,
    widths: Vec<f32>,
}

impl Scale {
    /// From the least to the most that some of the rows have.
    pub fn of(view: &VectorView, rows: Range<u32>) -> Self {
        let dimension = view.header().dimension;
        let (mut least, mut most) = (vec![f32::MAX; dimension], vec![f32::MIN; dimension]);
        for row in rows.clone().step_by(rows.len().div_ceil(LEARNT_FROM).max(1)) {
            for ((x, least), most) in view.vector(row).into_iter().zip(&mut least).zip(&mut most) {
                (*least, *most) = (least.min(x), most.max(x));
            }
        }
        let widths = least.iter().zip(&most).map(|(least, most)| (most - least).max(f32::MIN_POSITIVE)).collect();
        Self { least, widths }
    }

    /// Numbers of a row.
    pub fn dimension(&self) -> usize {
        self.widths.len()
    }
}

/// Rows of a vector file, whose codes are made when they are asked for.
pub(crate) struct Rows<'a> {
    pub view: &'a VectorView,
    pub rows: Range<u32>,
    pub scale: &'a Scale,
}

impl Codes for Rows<'_> {
    fn nodes(&self) -> usize {
        self.rows.len()
    }

    fn widths(&self) -> &[f32] {
        &self.scale.widths
    }

    fn of(&self, nodes: Range<usize>) -> Cow<'_, [u8]> {
        let Scale { least, widths } = self.scale;
        let mut codes = Vec::with_capacity(nodes.len() * widths.len());
        for node in nodes {
            let code = |((x, least), width): ((f32, &f32), &f32)| ((x - least) / width * 255.0) as u8;
            let vector = self.view.vector(self.rows.start + node as u32);
            codes.extend(vector.into_iter().zip(least).zip(widths).map(code));
        }
        Cow::Owned(codes)
    }
}

/// The bits of nodes: of all of an index, or of the first.
pub(crate) struct Sketches {
    /// On which side of the mean each node lies along each axis.
    sides: Vec<u128>,
    /// Whether it lies on the upper of the two steps of this side.
    steps: Vec<u128>,
    axes: Vec<Axis>,
    /// Of each dimension its part of each axis.
    parts: Vec<[f32; BITS]>,
    /// How far vectors lie from the mean along an axis, on average.
    spreads: [f32; BITS],
}

/// An axis, in the scale of the codes.
struct Axis {
    weights: Weights,
    /// Where its four steps meet; the second is the mean.
    bounds: [i32; 3],
}

impl Axis {
    /// The side and the step of a node.
    fn place(&self, codes: &[u8]) -> (bool, bool) {
        let score = self.weights.score(codes);
        let is_above = score > self.bounds[1];
        (is_above, score > self.bounds[if is_above { 2 } else { 0 }])
    }
}

impl Sketches {
    /// Reads every code once.
    pub fn of(codes: &impl Codes) -> Self {
        let mut sketches = Self::learnt_from(codes);
        sketches.extend(codes);
        sketches
    }

    /// The axes that tell such nodes apart, and no bits yet.
    pub fn learnt_from(codes: &impl Codes) -> Self {
        let (nodes, widths) = (codes.nodes(), codes.widths());
        let step = nodes.div_ceil(LEARNT_FROM).max(1);
        let sample: Vec<Cow<[u8]>> = (0..nodes).step_by(step).map(|node| codes.of(node..node + 1)).collect();
        let sample: Vec<&[u8]> = sample.iter().map(|codes| &**codes).collect();
        let directions = axes_of(&sample, widths);
        let axes: Vec<Weights> = directions.iter().map(|axis| Weights::of(axis, widths)).collect();
        let means: Vec<f64> =
            axes.par_iter().map(|axis| mean_of(&sample, |codes| f64::from(axis.score(codes)))).collect();
        let distance_of =
            |(axis, mean): (&Weights, &f64)| mean_of(&sample, |codes| (f64::from(axis.score(codes)) - mean).abs());
        let distances: Vec<f64> = axes.par_iter().zip(&means).map(distance_of).collect();
        let axis = |((weights, mean), distance): ((Weights, &f64), &f64)| Axis {
            weights,
            bounds: [-STEP, 0.0, STEP].map(|steps| (mean + steps * distance).floor() as i32),
        };
        let axes: Vec<Axis> = axes.into_iter().zip(&means).zip(&distances).map(axis).collect();
        Self {
            sides: Vec::new(),
            steps: Vec::new(),
            parts: (0..widths.len()).map(|d| std::array::from_fn(|i| directions[i][d])).collect(),
            spreads: std::array::from_fn(|i| (distances[i] * f64::from(axes[i].weights.unit)) as f32),
            axes,
        }
    }

    /// Nodes whose bits are known.
    pub fn nodes(&self) -> usize {
        self.sides.len()
    }

    /// Forgets all bits, and not the axes.
    pub fn clear(&mut self) {
        self.sides.clear();
        self.steps.clear();
    }

    /// Adds the bits of the nodes that come after those which are known.
    pub fn extend(&mut self, codes: &impl Codes) {
        let (known, nodes) = (self.nodes(), codes.nodes());
        for bits in [&mut self.sides, &mut self.steps] {
            match known {
                0 => *bits = zeros(nodes),
                _ => bits.resize(nodes.max(known), 0),
            }
        }
        let (axes, dimension) = (&self.axes, codes.widths().len());
        let blocks = self.sides[known..].par_chunks_mut(BLOCK).zip(self.steps[known..].par_chunks_mut(BLOCK));
        blocks.enumerate().for_each(|(block, (sides, steps))| {
            let first = known + block * BLOCK;
            let codes = codes.of(first..first + sides.len());
            for (i, axis) in axes.iter().enumerate() {
                for ((side, step), codes) in sides.iter_mut().zip(&mut *steps).zip(codes.chunks_exact(dimension)) {
                    let (is_above, is_upper) = axis.place(codes);
                    *side |= u128::from(is_above) << i;
                    *step |= u128::from(is_upper) << i;
                }
            }
        });
    }

    /// The allowed nodes that score best by their bits, about `count` of them, by rising number. `allowed` has bit
    /// i of byte i / 8 for node i.
    pub fn nearest(&self, query: &[f32], count: usize, allowed: &[u8]) -> Vec<u32> {
        let weights = self.weights(query);
        let nodes = self.nodes();
        let among: usize = allowed.iter().map(|byte| byte.count_ones() as usize).sum();
        // The least score that so many have is told by some, so that none of the others need be kept.
        let step = (among / SAMPLED).max(1);
        let mut sampled = Vec::new();
        for first in (0..nodes).step_by(64 * step) {
            weights.best_of(&self.sides, first..nodes.min(first + 64), allowed, i32::MIN, &mut sampled);
        }
        let mut scores = sampled.into_iter().map(|(_, score)| score).collect::<Vec<_>>();
        let least = nth_best(&mut scores, (READ_TWICE * count).div_ceil(step));
        let best_of = |piece: usize| {
            let mut best = Vec::new();
            let nodes = piece * PIECE..nodes.min((piece + 1) * PIECE);
            weights.best_of(&self.sides, nodes, allowed, least, &mut best);
            for place in 0..best.len() {
                if let Some(soon) = best.get(place + AHEAD) {
                    prefetch(&self.steps[soon.0 as usize..][..1]);
                }
                let (node, score) = &mut best[place];
                *score = 2 * *score + weights.score(self.steps[*node as usize]);
            }
            best
        };
        let best: Vec<(u32, i32)> = (0..nodes.div_ceil(PIECE)).into_par_iter().flat_map_iter(best_of).collect();
        let least = nth_best(&mut best.iter().map(|(_, score)| *score).collect::<Vec<_>>(), count);
        best.into_iter().filter(|(_, score)| *score >= least).map(|(node, _)| node).collect()
    }

    /// What a bit says about a query.
    fn weights(&self, query: &[f32]) -> BitWeights {
        let mut weights = [0.0; BITS];
        for (x, parts) in query.iter().zip(&self.parts) {
            weights.iter_mut().zip(parts).for_each(|(weight, part)| *weight += x * part);
        }
        weights.iter_mut().zip(&self.spreads).for_each(|(weight, spread)| *weight *= spread);
        let most = weights.iter().fold(f32::MIN_POSITIVE, |most, weight| most.max(weight.abs()));
        BitWeights::of(weights.map(|weight| (weight / most * BitWeights::MAX as f32).round_ties_even() as i32))
    }
}

/// The least of the `count` highest scores, or less than any where there are no more.
fn nth_best(scores: &mut [i32], count: usize) -> i32 {
    match count.checked_sub(1) {
        Some(place) if scores.len() > count => *scores.select_nth_unstable_by(place, |a, b| b.cmp(a)).1,
        _ => i32::MIN,
    }
}

fn mean_of(sample: &[&[u8]], number: impl Fn(&[u8]) -> f64) -> f64 {
    sample.iter().map(|codes| number(codes)).sum::<f64>() / sample.len().max(1) as f64
}

/// The axes that a sample of codes is put on.
fn axes_of(sample: &[&[u8]], widths: &[f32]) -> Vec<Vec<f32>> {
    let value =
        |codes: &[u8]| -> Vec<f32> { codes.iter().zip(widths).map(|(code, width)| f32::from(*code) * width).collect() };
    // Cov · x, but for a factor: what is like x in what it differs from the mean in.
    let spread_along = |codes: &&[u8]| -> Vec<f32> {
        let along = Weights::of(&value(codes), widths);
        let mean = mean_of(sample, |codes| f64::from(along.score(codes))) as f32;
        let mut sum = vec![0.0; widths.len()];
        for codes in sample {
            let share = (along.score(codes) as f32 - mean) * along.unit;
            sum.iter_mut().zip(*codes).for_each(|(sum, code)| *sum += share * f32::from(*code));
        }
        sum.iter_mut().zip(widths).for_each(|(sum, width)| *sum *= width);
        sum
    };
    let step = (sample.len() / BITS).max(1);
    let seeds: Vec<&&[u8]> = sample.iter().step_by(step).take(BITS).collect();
    let basis = orthogonal(seeds.into_par_iter().map(spread_along).collect());
    let mixed = |i: usize| {
        let mut axis = vec![0.0; widths.len()];
        for (j, vector) in basis.iter().enumerate() {
            let sign = if (i & j).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
            axis.iter_mut().zip(vector).for_each(|(axis, x)| *axis += sign * x);
        }
        axis
    };
    (0..BITS).map(mixed).collect()
}

/// Gram and Schmidt's: vectors of length 1 at right angles that span what these do.
fn orthogonal(vectors: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
    let dot = |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    let mut basis: Vec<Vec<f32>> = Vec::new();
    for mut vector in vectors {
        let length = dot(&vector, &vector).sqrt();
        // Once is not enough where little is left of it.
        for _ in 0..2 {
            for other in &basis {
                let share = dot(&vector, other) as f32;
                vector.iter_mut().zip(other).for_each(|(x, other)| *x -= share * other);
            }
        }
        let left = dot(&vector, &vector).sqrt();
        // What the others span is only rounding.
        if left > length * 1e-5 && left.is_normal() {
            vector.iter_mut().for_each(|x| *x = (f64::from(*x) / left) as f32);
            basis.push(vector);
        }
    }
    basis
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng, rngs::SmallRng};

    fn graph<'a>(codes: &'a [u8], widths: &'a [f32]) -> Graph<'a> {
        let (neighbours, offsets, level_starts) = (&[][..], &[0][..], &[0][..]);
        let (least, halves) = (&[][..], None);
        Graph { neighbours, offsets, level_starts, codes, least, widths, halves, entry: 0, max_level: 0 }
    }

    fn dot(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_bit_says_on_which_side_of_the_mean_a_vector_lies_along_its_axis(
            dimension in 1usize..200, nodes in 1usize..200, seed in any::<u64>(),
        ) {
            let mut random = SmallRng::seed_from_u64(seed);
            let codes: Vec<u8> = (0..dimension * nodes).map(|_| random.random()).collect();
            let widths: Vec<f32> = (0..dimension).map(|_| random.random_range(0.1..2.0)).collect();
            let sketches = Sketches::of(&graph(&codes, &widths));
            let along = |codes: &[u8], axis: usize| -> f64 {
                let part = |d: usize| f64::from(sketches.parts[d][axis]) * f64::from(widths[d]) * f64::from(codes[d]);
                (0..dimension).map(part).sum()
            };
            for axis in 0..BITS {
                let places: Vec<f64> = codes.chunks(dimension).map(|codes| along(codes, axis)).collect();
                let mean = places.iter().sum::<f64>() / nodes as f64;
                // Weights and means are whole numbers: next to the mean either is right.
                let largest: f64 = (0..dimension).map(|d| f64::from(sketches.parts[d][axis] * widths[d]).abs()).sum();
                let distance = places.iter().map(|place| (place - mean).abs()).sum::<f64>() / nodes as f64;
                let upper = |place: f64| if place > mean { mean + STEP * distance } else { mean - STEP * distance };
                for (node, &place) in places.iter().enumerate().filter(|(_,
                    place)| (*place - mean).abs() > largest * 0.05) {
                    let bit = |bits: &[u128]| bits[node] >> axis & 1 == 1;
                    prop_assert_eq!(bit(&sketches.sides), place > mean, "{} about {}", place, mean);
                    if (place - upper(place)).abs() > largest * 0.05 {
                        prop_assert_eq!(bit(&sketches.steps), place > upper(place), "{} about {}", place, upper(place));
                    }
                }
            }
        }

        #[test]
        fn the_best_by_a_plain_reading_of_the_bits_are_found(
            dimension in 1usize..150, nodes in 1usize..300, count in 1usize..50, seed in any::<u64>(),
            share in 0.0f64..1.0,
        ) {
            let mut random = SmallRng::seed_from_u64(seed);
            let codes: Vec<u8> = (0..dimension * nodes).map(|_| random.random()).collect();
            let widths: Vec<f32> = (0..dimension).map(|_| random.random_range(0.1..2.0)).collect();
            let query: Vec<f32> = (0..dimension).map(|_| random.random_range(-1.0..1.0)).collect();
            let sketches = Sketches::of(&graph(&codes, &widths));
            let mut allowed = vec![0u8; nodes.div_ceil(8)];
            let chosen: Vec<usize> = (0..nodes).filter(|_| random.random_bool(share)).collect();
            chosen.iter().for_each(|node| allowed[node / 8] |= 1 << (node % 8));
            let found = sketches.nearest(&query, count, &allowed);
            prop_assert!(found.is_sorted());
            let step = |axis: usize| {
                let part: f32 = (0..dimension).map(|d| query[d] * sketches.parts[d][axis]).sum();
                part * sketches.spreads[axis]
            };
            let most = (0..BITS).map(|axis| step(axis).abs()).fold(f32::MIN_POSITIVE, f32::max);
            let weights: Vec<i32> = (0..BITS).map(|axis| (step(axis) / most * 7.0).round_ties_even() as i32).collect();
            let plain = |bits: u128| -> i32 {
                (0..BITS).filter(|axis| bits >> axis & 1 == 1).map(|axis| weights[axis]).sum()
            };
            let best = |nodes: Vec<usize>, count: usize, score: &dyn Fn(usize) -> i32| -> Vec<usize> {
                let mut scores: Vec<i32> = nodes.iter().map(|&node| score(node)).collect();
                scores.sort_unstable_by(|a, b| b.cmp(a));
                let least = scores.get(count.min(scores.len()).max(1) - 1).copied().unwrap_or(0);
                nodes.into_iter().filter(|&node| score(node) >= least).collect()
            };
            let side = |node: usize| plain(sketches.sides[node]);
            let by_both = best(best(chosen, READ_TWICE * count, &side), count,
                &|node| 2 * side(node) + plain(sketches.steps[node]));
            let wanted: Vec<u32> = by_both.into_iter().map(|node| node as u32).collect();
            prop_assert_eq!(found, wanted);
        }

        #[test]
        fn an_orthogonal_basis_spans_what_it_is_made_of(
            dimension in 1usize..60, different in 1usize..60, copies in 0usize..5, seed in any::<u64>(),
        ) {
            let mut random = SmallRng::seed_from_u64(seed);
            let mut vectors: Vec<Vec<f32>> =
                (0..different).map(|_| (0..dimension).map(|_| random.random_range(-1.0..1.0)).collect()).collect();
            vectors.extend(vectors.clone().into_iter().take(copies));
            vectors.push(vec![0.0; dimension]);
            let basis = orthogonal(vectors.clone());
            prop_assert!(basis.len() <= dimension.min(different));
            for (i, a) in basis.iter().enumerate() {
                prop_assert!((dot(a, a) - 1.0).abs() < 1e-4);
                basis[..i].iter().for_each(|b| assert!(dot(a, b).abs() < 1e-4));
            }
            for vector in vectors {
                let mut left = vector.clone();
                for axis in &basis {
                    let share = dot(&vector, axis);
                    left.iter_mut().zip(axis).for_each(|(left, axis)| *left -= share * axis);
                }
                prop_assert!(dot(&left, &left).sqrt() < 1e-3, "{:?}", left);
            }
        }
    }

    /// Of vectors that differ in a few directions most, as embeddings do.
    #[test]
    fn the_nearest_are_among_the_candidates() {
        const NODES: usize = 50_000;
        const DIMENSION: usize = 256;
        let mut random = SmallRng::seed_from_u64(7);
        let directions: Vec<Vec<f32>> =
            (0..60).map(|_| (0..DIMENSION).map(|_| random.random_range(-1.0..1.0)).collect()).collect();
        let vector = |random: &mut SmallRng| -> Vec<f32> {
            let mut vector: Vec<f32> = (0..DIMENSION).map(|_| random.random_range(-0.5..0.5)).collect();
            for (rank, direction) in directions.iter().enumerate() {
                let share = random.random_range(-1.0..1.0) / (1.0 + rank as f32).sqrt();
                vector.iter_mut().zip(direction).for_each(|(x, direction)| *x += share * direction);
            }
            vector
        };
        let code = |x: f32| (127.5 + 20.0 * x).clamp(0.0, 255.0) as u8;
        let codes: Vec<u8> = (0..NODES).flat_map(|_| vector(&mut random)).map(code).collect();
        let widths = [1.0; DIMENSION];
        let graph = graph(&codes, &widths);
        let sketches = Sketches::of(&graph);
        let allowed = vec![0x55; NODES / 8];
        let (mut found, wanted) = (0, 50 * 10);
        for _ in 0..50 {
            let query = vector(&mut random);
            let weights = Weights::of(&query, &widths);
            let mut best: Vec<u32> = (0..NODES as u32).step_by(2).collect();
            best.sort_by_key(|&node| -weights.score(&codes[node as usize * DIMENSION..][..DIMENSION]));
            let candidates = sketches.nearest(&query, 500, &allowed);
            assert!(candidates.len() < 600);
            found += best[..10].iter().filter(|node| candidates.contains(node)).count();
        }
        assert!(found * 100 >= wanted * 97, "{found} of {wanted}");
    }
}
