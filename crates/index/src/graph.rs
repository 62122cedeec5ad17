//! The search of HNSW's graph: FAISS builds it, this walks it.
//!
//! Down the upper levels greedily, then over the lowest with a beam: the `ef_search` best nodes met so far, of
//! which the best that has not been expanded yet is expanded next, until all have been (Malkov and Yashunin 2016,
//! algorithm 2). Nodes are compared by their 8-bit codes: an inner product of bytes with 16-bit weights, in
//! integers. Where the metric is the distance, half the square of each code's own length is taken off.
//!
//! With a filter the walk keeps to the nodes that it allows and steps over the others: where a node has few allowed
//! neighbours, the neighbours of the others are its neighbours (ACORN-1, Patel and others 2024). The beam then
//! holds allowed nodes alone, so its width means what it means without a filter, and an excluded neighbourhood of
//! the query is no trap. Since the way from the query's neighbourhood to the nearest allowed node may be long, the
//! walk begins at a sample of allowed nodes too.

use crate::faiss::Graph;
use crate::plan::{BEST_WALK_SEEDS, ENOUGH_NEIGHBOURS, MAX_NEIGHBOURS, READ_ALL_FROM, WALK_SEEDS};
use crate::products::Weights;
use crate::rows::AllowedRows;
use membox_vectors::prefetch;
use rayon::prelude::*;
use roaring::RoaringBitmap;

/// Nodes that one thread scans in one go.
const PIECE: u32 = 1 << 16;
/// Nodes that one thread compares in one go, and how far ahead their codes are fetched.
const RANKED: usize = 2048;
const AHEAD: usize = 8;

impl<'a> Graph<'a> {
    fn nodes(&self) -> usize {
        self.offsets.len() - 1
    }

    fn codes_of(&self, node: u32) -> &'a [u8] {
        let dimension = self.widths.len();
        &self.codes[node as usize * dimension..(node as usize + 1) * dimension]
    }

    /// Neighbours of a node on a level.
    fn neighbours_of(&self, node: u32, level: usize) -> &'a [i32] {
        let at = self.offsets[node as usize];
        let all = &self.neighbours
            [at + self.level_starts[level].max(0) as usize..at + self.level_starts[level + 1].max(0) as usize];
        let end = all.iter().position(|&n| n < 0).unwrap_or(all.len());
        &all[..end]
    }

    /// Half the squared distance of each node from the least values, by its code.
    pub fn half_squares(&self) -> Vec<f32> {
        let value = |(&code, width): (&u8, &f32)| (f32::from(code) + 0.5) / 255.0 * width;
        let half = |code: &[u8]| code.iter().zip(self.widths).map(value).map(|x| x * x).sum::<f32>() / 2.0;
        self.codes.par_chunks_exact(self.widths.len()).map(half).collect()
    }

    /// Asks for a node's neighbours on the lowest level.
    fn prefetch_neighbours(&self, node: u32) {
        let at = self.offsets[node as usize];
        prefetch(&self.neighbours[at..at + self.level_starts[1].max(0) as usize]);
    }
}

/// A query, ready to be compared with the codes of nodes.
struct Compared<'a> {
    graph: Graph<'a>,
    weights: Weights,
}

impl<'a> Compared<'a> {
    fn of(graph: Graph<'a>, query: &[f32]) -> Self {
        assert_eq!(query.len(), graph.widths.len());
        let weights = match graph.halves {
            None => Weights::of(query, graph.widths),
            Some(_) => {
                let from_least: Vec<f32> = query.iter().zip(graph.least).map(|(x, least)| x - least).collect();
                Weights::of(&from_least, graph.widths)
            }
        };
        Self { graph, weights }
    }

    /// Higher is nearer.
    #[inline]
    fn score(&self, node: u32) -> i32 {
        let product = self.weights.score(self.graph.codes_of(node));
        match self.graph.halves {
            None => product,
            // |q − x|² = |q|² − 2·q·x + |x|²: what is the same for all nodes is left out.
            Some(halves) => in_order(product as f32 * (self.weights.unit / 255.0) - halves[node as usize]),
        }
    }
}

/// A whole number for each number, in the same order.
fn in_order(score: f32) -> i32 {
    let bits = score.to_bits().cast_signed();
    bits ^ (((bits >> 31).cast_unsigned() >> 1).cast_signed())
}

/// What a search needs beside the graph; used again by the next.
#[derive(Default)]
pub(crate) struct Scratch {
    /// A bit a node.
    visited: Vec<u64>,
    /// Nodes whose bit is set.
    touched: Vec<u32>,
    fresh: Vec<u32>,
    excluded: Vec<u32>,
}

impl Scratch {
    fn begin(&mut self, nodes: usize) {
        for node in self.touched.drain(..) {
            self.visited[node as usize / 64] = 0;
        }
        self.visited.resize(nodes.div_ceil(64), 0);
    }

    /// Whether a node is seen for the first time.
    fn visit(&mut self, node: u32) -> bool {
        let (word, bit) = (&mut self.visited[node as usize / 64], 1 << (node % 64));
        let is_new = *word & bit == 0;
        if is_new {
            *word |= bit;
            self.touched.push(node);
        }
        is_new
    }
}

/// The best nodes so far, best first.
struct Beam {
    places: Vec<Place>,
    width: usize,
    /// All before it have been expanded.
    next: usize,
}

#[derive(Clone, Copy)]
struct Place {
    score: i32,
    /// The highest bit says whether it has been expanded: FAISS's ids have 31.
    node: u32,
}

const EXPANDED: u32 = 1 << 31;

impl Beam {
    fn of(width: usize) -> Self {
        Self { places: Vec::with_capacity(width + 1), width: width.max(1), next: 0 }
    }

    /// The best of both.
    fn joined(mut self, other: Self) -> Self {
        for place in other.places {
            self.push(place.score, place.node);
        }
        self
    }

    fn into_nodes(self) -> Vec<u32> {
        self.places.into_iter().map(|place| place.node & !EXPANDED).collect()
    }

    /// Takes a node that is good enough in, and gives its place.
    fn push(&mut self, score: i32, node: u32) -> Option<usize> {
        if self.places.len() == self.width {
            if self.places.last().is_some_and(|worst| worst.score >= score) {
                return None;
            }
            self.places.pop();
        }
        let at = self.places.partition_point(|place| place.score >= score);
        self.places.insert(at, Place { score, node });
        self.next = self.next.min(at);
        Some(at)
    }

    /// The best node that has not been expanded.
    fn expand(&mut self) -> Option<u32> {
        self.next += self.places[self.next..].iter().position(|place| place.node & EXPANDED == 0)?;
        let node = self.places[self.next].node;
        self.places[self.next].node |= EXPANDED;
        Some(node)
    }
}

/// The `ef_search` allowed nodes nearest to the query by their codes, best first, as far as a beam of that width
/// finds them.
pub(crate) fn walk(
    graph: Graph,
    query: &[f32],
    ef_search: usize,
    allowed: Option<&AllowedRows>,
    scratch: &mut Scratch,
) -> Vec<u32> {
    let compared = Compared::of(graph, query);
    let score = |node: u32| compared.score(node);
    let is_allowed = |node: u32| allowed.is_none_or(|allowed| allowed.contains(node));
    scratch.begin(graph.nodes());
    let mut beam = Beam::of(ef_search);

    let entry = descend(graph, score);
    scratch.visit(entry);
    if is_allowed(entry) {
        beam.push(score(entry), entry);
    } else {
        gather(graph, entry, &is_allowed, scratch);
        for node in scratch.fresh.drain(..) {
            beam.push(score(node), node);
        }
    }
    if let Some(allowed) = allowed.filter(|allowed| allowed.excludes_many(graph.nodes() as u32)) {
        let mut seeds: Vec<(i32, u32)> =
            allowed.sample(graph.nodes() as u32, WALK_SEEDS).into_iter().map(|node| (score(node), node)).collect();
        seeds.sort_unstable_by(|a, b| b.cmp(a));
        for (score, node) in seeds.into_iter().take(BEST_WALK_SEEDS) {
            if scratch.visit(node) {
                beam.push(score, node);
            }
        }
    }
    while let Some(node) = beam.expand() {
        gather(graph, node, &is_allowed, scratch);
        for &node in &scratch.fresh {
            prefetch(graph.codes_of(node));
            prefetch(&graph.offsets[node as usize..][..1]);
        }
        for node in scratch.fresh.drain(..) {
            // What comes close to the front of the beam is expanded soon.
            if beam.push(score(node), node).is_some_and(|at| at <= beam.next + 2) {
                graph.prefetch_neighbours(node);
            }
        }
    }
    beam.into_nodes()
}

/// The `count` allowed nodes that are nearest to the query by their codes, best first: all are looked at, by the
/// processors that are idle.
pub(crate) fn scan_codes(graph: Graph, query: &[f32], count: usize, allowed: &RoaringBitmap) -> Vec<u32> {
    let compared = Compared::of(graph, query);
    let of_piece = |piece: u32| {
        let mut best = Beam::of(count);
        let nodes = piece * PIECE..(graph.nodes() as u32).min((piece + 1) * PIECE);
        let score = |node: u32| compared.score(node);
        // In one go a node takes a third of the time that it takes here and there.
        if allowed.range_cardinality(nodes.clone()) * READ_ALL_FROM < u64::from(PIECE) {
            for node in allowed.range(nodes) {
                best.push(score(node), node);
            }
        } else {
            let mut wanted = allowed.range(nodes.clone()).peekable();
            for node in nodes {
                let score = score(node);
                if wanted.next_if_eq(&node).is_some() {
                    best.push(score, node);
                }
            }
        }
        best
    };
    let pieces = (graph.nodes() as u32).div_ceil(PIECE);
    (0..pieces).into_par_iter().map(of_piece).reduce(|| Beam::of(count), Beam::joined).into_nodes()
}

/// The `count` of some nodes that are nearest to the query by their codes, best first, by the processors that are idle.
pub(crate) fn rank_codes(graph: Graph, query: &[f32], count: usize, nodes: &[u32]) -> Vec<u32> {
    let compared = Compared::of(graph, query);
    let of_some = |nodes: &[u32]| {
        let mut best = Beam::of(count);
        for (i, &node) in nodes.iter().enumerate() {
            if let Some(&soon) = nodes.get(i + AHEAD) {
                prefetch(graph.codes_of(soon));
            }
            best.push(compared.score(node), node);
        }
        best
    };
    nodes.par_chunks(RANKED).map(of_some).reduce(|| Beam::of(count), Beam::joined).into_nodes()
}

/// The node of the lowest level that the greedy way down the upper levels ends at.
fn descend(graph: Graph, score: impl Fn(u32) -> i32) -> u32 {
    let (mut node, mut best) = (graph.entry, score(graph.entry));
    for level in (1..=graph.max_level).rev() {
        loop {
            let from = node;
            for &neighbour in graph.neighbours_of(from, level) {
                let score = score(neighbour as u32);
                if score > best {
                    (node, best) = (neighbour as u32, score);
                }
            }
            if node == from {
                break;
            }
        }
    }
    node
}

/// Gathers the allowed neighbours of a node that have not been seen, and with few of them those of its other
/// neighbours.
fn gather(graph: Graph, node: u32, is_allowed: &impl Fn(u32) -> bool, scratch: &mut Scratch) {
    scratch.excluded.clear();
    let mut near = 0;
    for &neighbour in graph.neighbours_of(node, 0) {
        let neighbour = neighbour as u32;
        let allowed = is_allowed(neighbour);
        near += usize::from(allowed);
        if scratch.visit(neighbour) {
            match allowed {
                true => scratch.fresh.push(neighbour),
                false => scratch.excluded.push(neighbour),
            }
        }
    }
    if near >= ENOUGH_NEIGHBOURS || scratch.excluded.is_empty() {
        return;
    }
    let excluded = std::mem::take(&mut scratch.excluded);
    excluded.iter().for_each(|&between| prefetch(&graph.offsets[between as usize..][..1]));
    excluded.iter().for_each(|&between| graph.prefetch_neighbours(between));
    'gathering: for &between in &excluded {
        for &neighbour in graph.neighbours_of(between, 0) {
            if is_allowed(neighbour as u32) && scratch.visit(neighbour as u32) {
                scratch.fresh.push(neighbour as u32);
                if scratch.fresh.len() >= MAX_NEIGHBOURS {
                    break 'gathering;
                }
            }
        }
    }
    scratch.excluded = excluded;
}
