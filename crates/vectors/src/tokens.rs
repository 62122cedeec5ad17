//! A small vector for each token of a text, and how near a question's tokens are to them.
//!
//! Late interaction (Khattab and Zaharia, "ColBERT", SIGIR 2020) compares a question with a text token by token: each
//! token of the question counts with the nearest token of the text (MaxSim). A number takes 4 bits here, as ColBERTv2
//! and PLAID keep residuals in 1 to 2 (Santhanam et al., NAACL 2022, CIKM 2022): it is a level from −7 to 7 of its
//! token's largest. How large that was is not kept, since a token's vector has unit length: it gets that again when it
//! is compared.
//!
//! A token's `dimension / 2` bytes hold two numbers each, as two's complement: byte `i` the number `i` in its lower
//! half, and the number `i + dimension / 2` in its upper one.

use crate::simd;

/// Tokens of one text that are kept at most; those after them are cut off.
pub const MAX_TOKENS: usize = u16::MAX as usize;
/// Numbers that a token's vector has at most.
pub const MAX_TOKEN_DIMENSION: usize = 64;
/// The largest level of a number.
const MAX_LEVEL: f32 = 7.0;
/// Question tokens that are compared in one go: as many as a register of AVX-512 has similarities.
pub(crate) const TILE: usize = 16;

/// Where vectors of tokens are at home: those of two spaces cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenSpace {
    /// Numbers in a vector: a multiple of 16, at most [`MAX_TOKEN_DIMENSION`].
    pub dimension: usize,
    /// Names the axes, such as a digest of the model and of its projection.
    pub axes: [u8; 16],
}

impl TokenSpace {
    /// Whether vectors can have this dimension.
    pub fn is_possible(dimension: usize) -> bool {
        (16..=MAX_TOKEN_DIMENSION).contains(&dimension) && dimension.is_multiple_of(16)
    }

    /// Bytes of a token.
    pub fn token_bytes(self) -> usize {
        self.dimension / 2
    }

    /// Tokens whose codes these are.
    pub fn tokens(self, codes: &[u8]) -> usize {
        codes.len() / self.token_bytes()
    }

    /// # Panics
    /// Where no vector can have its dimension, or `numbers` are not whole vectors.
    fn check(self, numbers: usize) {
        assert!(Self::is_possible(self.dimension), "{} numbers in a token's vector", self.dimension);
        assert!(numbers.is_multiple_of(self.dimension), "{numbers} numbers, {} a vector", self.dimension);
    }
}

/// The packed vectors of one text's tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenVectors {
    space: TokenSpace,
    bytes: Vec<u8>,
}

impl TokenVectors {
    /// Packs unit vectors, `[tokens, dimension]`; what follows the first [`MAX_TOKENS`] is cut off. Numbers that are
    /// not finite become 0.
    ///
    /// # Panics
    /// Where no vector can have the dimension, or the last one is not whole.
    pub fn pack(space: TokenSpace, vectors: &[f32]) -> Self {
        space.check(vectors.len());
        let half = space.token_bytes();
        let mut bytes = Vec::with_capacity(vectors.len() / 2);
        for vector in vectors.chunks_exact(space.dimension).take(MAX_TOKENS) {
            let largest = vector.iter().filter(|x| x.is_finite()).fold(0f32, |largest, x| largest.max(x.abs()));
            let scale = if largest > 0.0 { MAX_LEVEL / largest } else { 0.0 };
            // What is not finite stays within the levels: NaN is 0 as an integer.
            let level = |x: f32| (x * scale).round().clamp(-MAX_LEVEL, MAX_LEVEL) as i8 as u8 & 0x0F;
            let (lower, upper) = vector.split_at(half);
            bytes.extend(lower.iter().zip(upper).map(|(&low, &high)| level(low) | level(high) << 4));
        }
        Self { space, bytes }
    }

    /// What [`TokenVectors::bytes`] gave; `None` where it is no whole number of tokens, or too many.
    pub fn from_bytes(space: TokenSpace, bytes: Vec<u8>) -> Option<Self> {
        let is_whole = TokenSpace::is_possible(space.dimension) && bytes.len().is_multiple_of(space.token_bytes());
        (is_whole && bytes.len() / space.token_bytes() <= MAX_TOKENS).then_some(Self { space, bytes })
    }

    /// Where they are at home.
    pub fn space(&self) -> TokenSpace {
        self.space
    }

    /// Numbers in a vector.
    pub fn dimension(&self) -> usize {
        self.space.dimension
    }

    /// Tokens.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.space.token_bytes()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The codes, token after token.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Some tokens of a question, ready to be compared: levels of 8 bits. Four levels of each token stand together, and
/// those of all tokens side by side, so that four levels of a code meet all of them at once. Tokens that are missing
/// are zeros.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tile {
    /// What meets the lower halves of a code's bytes, and the upper ones.
    pub lower: [[[i8; 4]; TILE]; MAX_TOKEN_DIMENSION / 8],
    pub upper: [[[i8; 4]; TILE]; MAX_TOKEN_DIMENSION / 8],
    /// 8 × the sum of a token's levels: codes are taken as 0 to 15 with 8 in the middle, and this is too much then.
    pub offsets: [i32; TILE],
    /// What gives a token's levels unit length.
    pub scales: [f32; TILE],
}

impl Tile {
    /// Puts the levels of a token in its place.
    pub fn set(&mut self, token: usize, lower: &[i8], upper: &[i8], scale: f32) {
        for (fours, levels) in [(&mut self.lower, lower), (&mut self.upper, upper)] {
            for (four, levels) in fours.iter_mut().zip(levels.as_chunks::<4>().0) {
                four[token] = *levels;
            }
        }
        self.offsets[token] = 8 * lower.iter().chain(upper).map(|&level| i32::from(level)).sum::<i32>();
        self.scales[token] = scale;
    }
}

/// The vectors of a question's tokens, ready to be compared.
#[derive(Clone, Debug)]
pub struct QuestionTokens {
    space: TokenSpace,
    len: usize,
    tiles: Vec<Tile>,
}

impl QuestionTokens {
    /// Prepares vectors, `[tokens, dimension]`. A number is kept in 8 bits, which moves a cosine by some 0.001.
    ///
    /// # Panics
    /// Where no vector can have the dimension, or the last one is not whole.
    pub fn new(space: TokenSpace, vectors: &[f32]) -> Self {
        space.check(vectors.len());
        let half = space.token_bytes();
        let len = vectors.len() / space.dimension;
        let mut tiles = vec![Tile::default(); len.div_ceil(TILE)];
        for (token, vector) in vectors.chunks_exact(space.dimension).enumerate() {
            let largest = vector.iter().filter(|x| x.is_finite()).fold(0f32, |largest, x| largest.max(x.abs()));
            let scale = if largest > 0.0 { 127.0 / largest } else { 0.0 };
            let level = |x: &f32| (x * scale).round().clamp(-127.0, 127.0) as i8;
            let levels: Vec<i8> = vector.iter().map(level).collect();
            let square: i32 = levels.iter().map(|&level| i32::from(level) * i32::from(level)).sum();
            let unit = if square > 0 { 1.0 / (square as f32).sqrt() } else { 0.0 };
            let (lower, upper) = levels.split_at(half);
            tiles[token / TILE].set(token % TILE, lower, upper, unit);
        }
        Self { space, len, tiles }
    }

    /// Where they are at home.
    pub fn space(&self) -> TokenSpace {
        self.space
    }

    /// Tokens.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Raises `best[i]` to the largest cosine of question token `i` and a token of `codes`, which are of the same
    /// space; what is no whole token at their end is left out.
    ///
    /// # Panics
    /// Unless there is a place in `best` for each token.
    pub fn max_sim(&self, codes: &[u8], best: &mut [f32]) {
        assert_eq!(best.len(), self.len, "a place for each token of the question");
        let width = self.space.token_bytes();
        for (tile, best) in self.tiles.iter().zip(best.chunks_mut(TILE)) {
            let mut nearest = [0.0; TILE];
            nearest[..best.len()].copy_from_slice(best);
            simd::max_sim(tile, codes, width, &mut nearest);
            best.copy_from_slice(&nearest[..best.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn space(sixteens: usize) -> TokenSpace {
        TokenSpace { dimension: 16 * sixteens, axes: [7; 16] }
    }

    /// Unit vectors that a seed gives.
    fn vectors(space: TokenSpace, tokens: usize, seed: u64) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut number = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        let mut all: Vec<f32> = (0..tokens * space.dimension).map(|_| number() * number()).collect();
        for vector in all.chunks_exact_mut(space.dimension) {
            let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
            vector.iter_mut().for_each(|x| *x /= length);
        }
        all
    }

    /// The levels of a code.
    fn levels(space: TokenSpace, code: &[u8]) -> Vec<f32> {
        let level = |half: u8| f32::from((half << 4).cast_signed() >> 4);
        let lower = code.iter().map(|byte| level(byte & 0x0F));
        let all: Vec<f32> = lower.chain(code.iter().map(|byte| level(byte >> 4))).collect();
        assert_eq!(all.len(), space.dimension);
        all
    }

    fn cosine(a: &[f32], b: &[f32]) -> f32 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-9)
    }

    proptest! {
        #[test]
        fn packed_vectors_point_where_they_pointed(sixteens in 1usize..5, tokens in 1usize..20, seed: u64) {
            let space = space(sixteens);
            let given = vectors(space, tokens, seed);
            let packed = TokenVectors::pack(space, &given);
            prop_assert_eq!((packed.len(), packed.bytes().len()), (tokens, tokens * space.dimension / 2));
            for (vector, code) in given.chunks(space.dimension).zip(packed.bytes().chunks(space.token_bytes())) {
                prop_assert!(cosine(vector, &levels(space, code)) > 0.97);
            }
            prop_assert_eq!(TokenVectors::from_bytes(space, packed.bytes().to_vec()), Some(packed.clone()));
            let cut = packed.bytes()[1..].to_vec();
            prop_assert_eq!(TokenVectors::from_bytes(space, cut), None, "no whole tokens");
        }

        #[test]
        fn similarities_are_the_best_cosines(
            sixteens in 1usize..5, tokens in 0usize..40, asked in 1usize..150, seed: u64, before in -1f32..1.0,
        ) {
            let space = space(sixteens);
            let packed = TokenVectors::pack(space, &vectors(space, tokens, seed));
            let question = vectors(space, asked, seed ^ 0xABCD);
            let mut best = vec![before; asked];
            QuestionTokens::new(space, &question).max_sim(packed.bytes(), &mut best);
            for (token, found) in question.chunks(space.dimension).zip(best) {
                let of_code = |code: &[u8]| cosine(token, &levels(space, code));
                let wanted = packed.bytes().chunks(space.token_bytes()).map(of_code).fold(before, f32::max);
                prop_assert!((wanted - found).abs() < 0.01, "{wanted} and not {found}");
            }
        }

        #[test]
        fn any_bytes_are_compared(sixteens in 1usize..5, codes in prop::collection::vec(any::<u8>(), 0..300)) {
            let space = space(sixteens);
            let mut best = [f32::NEG_INFINITY; 3];
            QuestionTokens::new(space, &vectors(space, 3, 5)).max_sim(&codes, &mut best);
            let is_cosine = |found: f32| (-1.001..=1.001).contains(&found);
            prop_assert!(best.iter().all(|&found| is_cosine(found) != (codes.len() < space.token_bytes())));
        }
    }

    #[test]
    fn a_token_is_nearest_to_itself() {
        let space = space(3);
        let given = vectors(space, 12, 99);
        let mut best = [0.0; 12];
        QuestionTokens::new(space, &given).max_sim(TokenVectors::pack(space, &given).bytes(), &mut best);
        assert!(best.iter().all(|&best| best > 0.97), "{best:?}");
    }

    #[test]
    fn what_is_too_long_is_cut_and_what_is_no_number_is_nothing() {
        let space = space(1);
        let long = TokenVectors::pack(space, &vec![0.25; (MAX_TOKENS + 3) * 16]);
        assert_eq!(long.len(), MAX_TOKENS);
        assert_eq!(TokenVectors::from_bytes(space, vec![0; (MAX_TOKENS + 1) * 8]), None);
        let mut strange = [0.0; 16];
        strange[0] = f32::NAN;
        let mut best = [-1.0];
        QuestionTokens::new(space, &strange).max_sim(TokenVectors::pack(space, &strange).bytes(), &mut best);
        assert_eq!(best, [0.0], "a vector of zeros is beside every other");
        let none = QuestionTokens::new(space, &[]);
        none.max_sim(long.bytes(), &mut []);
        assert!(none.is_empty() && TokenVectors::pack(space, &[]).is_empty());
    }
}
