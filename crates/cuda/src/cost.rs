//! What a pass or a scan costs on a card by its datasheet: bytes, operations and launches of each step, and the time
//! that they take at least. It shows a regression without a card, and on one how far from the floor it is.
//!
//! A step takes as long as its operations or its bytes do, whichever is longer (the roofline of Williams, Waterman and
//! Patterson 2009). Bytes are those that must come from or go to the card's memory, each once: what a cache saves is
//! not known, so a step whose input is still in the cache may be faster. A test on the software card holds launches and
//! bytes against those that the kernels make.

use crate::forward::QUERIES;

/// A card's datasheet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Card {
    /// Its name, in small letters.
    pub name: &'static str,
    /// 10¹² operations a second of dense 16-bit products.
    pub products: f64,
    /// 10¹² operations a second outside of tensor cores, in f32.
    pub others: f64,
    /// 10⁹ bytes a second of its memory.
    pub memory: f64,
    /// 10⁹ bytes a second from and to the host.
    pub link: f64,
}

/// NVIDIA's datasheets: T4 (16 GB), A100 (80 GB SXM), H100 (SXM) and H200 (SXM).
pub const CARDS: [Card; 4] = [
    Card { name: "t4", products: 65.0, others: 8.1, memory: 320.0, link: 16.0 },
    Card { name: "a100", products: 312.0, others: 19.5, memory: 2039.0, link: 32.0 },
    Card { name: "h100", products: 989.0, others: 67.0, memory: 3350.0, link: 64.0 },
    Card { name: "h200", products: 989.0, others: 67.0, memory: 4800.0, link: 64.0 },
];

/// A model's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dimensions {
    /// Width of a token's state.
    pub hidden: usize,
    /// Width of an attention head.
    pub head: usize,
    /// Width of the feed-forward layer.
    pub intermediate: usize,
    /// Layers.
    pub layers: usize,
    /// In what it differs from BERT.
    pub parts: Parts,
}

/// In what a model's passes differ from BERT's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Whether queries and keys are turned, in place of a table of positions.
    pub rotary: bool,
    /// Whether its feed-forward layers are gated.
    pub gated: bool,
    /// Whether norms stand before each half of a layer.
    pub pre_norm: bool,
    /// Layers whose attention is local, and how many tokens it has to each side.
    pub local: (usize, usize),
}

impl Parts {
    /// BERT's own.
    pub const BERT: Self = Self { rotary: false, gated: false, pre_norm: false, local: (0, 0) };
}

/// A step of a pass: all launches of one kernel, or copies of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The kernel, the product or the copy.
    pub name: &'static str,
    /// How often it is launched in a pass.
    pub launches: usize,
    /// Operations, in all of them.
    pub operations: f64,
    /// Bytes, in all of them.
    pub bytes: f64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Product,
    Other,
    Copy,
}

impl Step {
    /// Seconds on a card, at least.
    pub fn seconds(&self, card: &Card) -> f64 {
        let (operations, bytes) = match self.kind {
            Kind::Product => (card.products * 1e12, card.memory * 1e9),
            Kind::Other => (card.others * 1e12, card.memory * 1e9),
            Kind::Copy => (f64::INFINITY, card.link * 1e9),
        };
        (self.operations / operations).max(self.bytes / bytes)
    }
}

/// Bytes of a 16-bit number.
const HALF: f64 = 2.0;

/// The steps of a pass over sequences of such lengths, whose vectors are wanted.
pub fn pass(of: Dimensions, lengths: &[usize]) -> Vec<Step> {
    let Dimensions { hidden, head, intermediate, layers, parts } = of;
    let (h, wide) = (hidden as f64, intermediate as f64);
    let tokens = lengths.iter().sum::<usize>() as f64;
    let sequences = lengths.len() as f64;
    let longest = lengths.iter().max().copied().unwrap_or(0) as f64;
    let step = |name, launches: usize, operations: f64, bytes: f64, kind| {
        let times = launches as f64;
        Step { name, launches, operations: times * operations, bytes: times * bytes, kind }
    };
    let product = |name, inputs: f64, outputs: f64| {
        let bytes = HALF * (tokens * (inputs + outputs) + inputs * outputs);
        step(name, layers, 2.0 * tokens * inputs * outputs, bytes, Kind::Product)
    };
    let places = if parts.rotary { 0.0 } else { HALF * longest * h + 4.0 * tokens };
    // What a gated layer has twice before its activation.
    let before = if parts.gated { 2.0 * wide } else { wide };
    let activation = if parts.gated { "bias_gated" } else { "bias_gelu" };
    let mut all = vec![
        step("copy to the card", 1, 0.0, 4.0 * (2.0 * tokens + 3.0 * sequences), Kind::Copy),
        // Sequences have their first positions in common.
        step("embed_norm", 1, 10.0 * tokens * h, tokens * (2.0 * HALF * h + 4.0) + places, Kind::Other),
        product("queries, keys, values", h, 3.0 * h),
        attention(of, lengths),
        product("attention's output", h, h),
        step(
            "residual_norm",
            if parts.pre_norm { 1 } else { 2 * layers },
            10.0 * tokens * h,
            3.0 * HALF * tokens * h,
            Kind::Other,
        ),
        product("intermediate", h, before),
        step(activation, layers, 25.0 * tokens * wide, HALF * tokens * (before + wide), Kind::Other),
        product("output", wide, h),
        step("mean_pool", 1, 2.0 * tokens * h, HALF * tokens * h + 4.0 * sequences * h, Kind::Other),
        step("copy from the card", 1, 0.0, 4.0 * sequences * h, Kind::Copy),
    ];
    if parts.pre_norm {
        all.insert(5, step("add_norm", 2 * layers - 1, 10.0 * tokens * h, 4.0 * HALF * tokens * h, Kind::Other));
    }
    if parts.rotary {
        // Sequences have their first angles in common, and so do the heads.
        let angles = 4.0 * longest * head as f64;
        let bytes = tokens * (4.0 * HALF * h + 4.0) + angles;
        all.insert(3, step("rotate", layers, 8.0 * tokens * h, bytes, Kind::Other));
    }
    all
}

/// Attention of all layers.
fn attention(of: Dimensions, lengths: &[usize]) -> Step {
    let (h, tokens) = (of.hidden as f64, lengths.iter().sum::<usize>() as f64);
    // Keys and values are read once for each tile of queries, and each query has those of its sequence or near it.
    let of_layer = |window: usize| {
        let span = |first: usize, last: usize, length: usize| {
            last.saturating_add(window).min(length - 1) + 1 - first.saturating_sub(window)
        };
        let pairs: usize = lengths.iter().map(|l| (0..*l).map(|query| span(query, query, *l)).sum::<usize>()).sum();
        let tiles = |length: usize| (0..length).step_by(QUERIES).map(move |first| (first, first + QUERIES - 1));
        let of_tiles = |length: usize| tiles(length).map(|(first, last)| span(first, last, length)).sum::<usize>();
        let tiled: usize = lengths.iter().map(|length| of_tiles(*length)).sum();
        // Products with tensor cores, beside which the exponentials hardly count.
        (4.0 * pairs as f64 * h, HALF * h * (2.0 * tokens + 2.0 * tiled as f64))
    };
    let (local, window) = of.parts.local;
    let (whole, near) = (of_layer(usize::MAX), of_layer(window));
    let both = |all: f64, near: f64| (of.layers - local) as f64 * all + local as f64 * near;
    let (operations, bytes) = (both(whole.0, near.0), both(whole.1, near.1));
    Step { name: "attention", launches: of.layers, operations, bytes, kind: Kind::Product }
}

/// Seconds of a scan of all rows of `dimension` numbers of so many bytes each.
pub fn scan(card: &Card, rows: usize, dimension: usize, bytes: usize) -> f64 {
    (rows * dimension * bytes) as f64 / (card.memory * 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINILM: Dimensions = Dimensions { hidden: 384, head: 32, intermediate: 1536, layers: 6, parts: Parts::BERT };

    #[test]
    fn a_pass_does_the_operations_of_its_products() {
        let steps = pass(MINILM, &[128; 128]);
        let products: f64 = steps.iter().filter(|step| step.kind == Kind::Product).map(|step| step.operations).sum();
        let weights = 6.0 * (4.0 * 384.0 * 384.0 + 2.0 * 384.0 * 1536.0);
        let attention = 6.0 * 4.0 * 128.0 * 384.0;
        assert_eq!(products, 16_384.0 * (2.0 * weights + attention));
    }

    #[test]
    fn a_faster_card_takes_no_longer_for_any_step() {
        for cards in CARDS.windows(2) {
            for step in pass(MINILM, &[40; 400]) {
                assert!(step.seconds(&cards[1]) <= step.seconds(&cards[0]), "{} on {}", step.name, cards[1].name);
            }
        }
        assert!((scan(&CARDS[2], 10_000_000, 384, 2) * 1e3 - 2.29).abs() < 0.01);
    }
}
