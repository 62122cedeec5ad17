//! Scores of rows: an array, and a bit for each row that has one.

/// A score for some rows. It is gone through by rising row, so that sums over it are the same to the last bit in
/// every run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextScores {
    scores: Vec<f32>,
    /// Bit i of word i / 64: whether the row has a score.
    has: Vec<u64>,
}

impl TextScores {
    /// No scores, with room for rows below `rows`.
    pub fn new(rows: u32) -> Self {
        Self { scores: vec![0.0; rows as usize], has: vec![0; rows.div_ceil(64) as usize] }
    }

    /// Adds to a row's score.
    pub fn add(&mut self, row: u32, score: f32) {
        let at = row as usize;
        if at >= self.scores.len() {
            self.scores.resize(at + 1, 0.0);
            self.has.resize(at / 64 + 1, 0);
        }
        self.scores[at] += score;
        self.has[at / 64] |= 1 << (at % 64);
    }

    /// A row's score.
    pub fn get(&self, row: u32) -> Option<f32> {
        let has = self.has.get(row as usize / 64)? >> (row % 64) & 1 == 1;
        has.then(|| self.scores[row as usize])
    }

    /// The scores of `N` rows in a row, 0 where there is none. Rows below 0 have none either.
    pub fn of_rows<const N: usize>(&self, first: isize) -> [f32; N] {
        let mut scores = [0.0; N];
        let (skipped, from) = (first.min(0).unsigned_abs(), first.max(0) as usize);
        if let (Some(known), Some(scores)) = (self.scores.get(from..), scores.get_mut(skipped..)) {
            let count = known.len().min(scores.len());
            scores[..count].copy_from_slice(&known[..count]);
        }
        scores
    }

    /// One more than the highest row that there is room for.
    pub fn rows(&self) -> usize {
        self.scores.len()
    }

    /// Rows and their scores.
    pub fn iter(&self) -> impl Iterator<Item = (u32, f32)> {
        (0..self.has.len()).flat_map(|block| self.of_block(block))
    }

    /// The highest score of the rows from 64 · `block` on, 64 of them; 0 where none has one.
    pub fn most_of_block(&self, block: usize) -> f32 {
        let scores = self.scores.get(block * 64..).unwrap_or_default();
        highest(&scores[..scores.len().min(64)])
    }

    /// Those of the rows from 64 · `block` on, 64 of them.
    pub fn of_block(&self, block: usize) -> impl Iterator<Item = (u32, f32)> {
        let bits = self.has.get(block).copied().unwrap_or(0);
        // Each step clears the lowest bit.
        let left = std::iter::successors(Some(bits), |left| Some(left & left.wrapping_sub(1)));
        left.take_while(|&left| left != 0).map(move |left| {
            let row = block * 64 + left.trailing_zeros() as usize;
            (row as u32, self.scores[row])
        })
    }
}

/// The highest of some scores; 0 where none is above it.
pub fn highest(scores: &[f32]) -> f32 {
    // Side by side, as a processor compares them.
    let mut lanes = [0f32; 16];
    let (chunks, rest) = scores.as_chunks::<16>();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(most, &score)| *most = if score > *most { score } else { *most });
    }
    lanes.iter().chain(rest).copied().fold(0.0, f32::max)
}

impl FromIterator<(u32, f32)> for TextScores {
    fn from_iter<T: IntoIterator<Item = (u32, f32)>>(scores: T) -> Self {
        let mut all = Self::default();
        scores.into_iter().for_each(|(row, score)| all.add(row, score));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_is_a_map_by_rising_row(added in prop::collection::vec((0u32..300, 1u8..9), 0..80), room in 0u32..400) {
            let (mut scores, mut map) = (TextScores::new(room), BTreeMap::<u32, f32>::new());
            for (row, score) in added {
                scores.add(row, f32::from(score));
                *map.entry(row).or_default() += f32::from(score);
            }
            prop_assert_eq!(scores.iter().collect::<Vec<_>>(), map.iter().map(|(r, s)| (*r, *s)).collect::<Vec<_>>());
            for row in 0..310 {
                prop_assert_eq!(scores.get(row), map.get(&row).copied());
                let of = |row: Option<u32>| row.and_then(|row| map.get(&row)).copied().unwrap_or(0.0);
                let around = std::array::from_fn(|i| of((row + i as u32).checked_sub(2)));
                let block = (0..64).map(|i| of(Some(row / 64 * 64 + i))).fold(0.0, f32::max);
                prop_assert_eq!(scores.most_of_block(row as usize / 64), block);
                prop_assert_eq!(scores.of_rows::<5>(row as isize - 2), around);
            }
        }
    }
}
