//! Scores of records by the words of a question, with what neighbours in their sessions give them.

use crate::collection::BLOCK_ROWS;
use crate::snapshot::RecordRef;
use crate::surroundings::{MAX_STEPS, Surroundings};
use membox_index::AllowedRows;
use membox_text::{TextScores, highest};
use membox_vectors::TopK;
use std::sync::Arc;

/// What a row gets of its neighbours' text scores, one and two steps away: 0.6 a step. From 0.5 and 0.25 to 0.7 and
/// 0.35 evidence recall@10 on LoCoMo stays within 0.6 points.
const SPREAD: [f32; MAX_STEPS] = [0.6, 0.36];
/// A row has at most so many times the best score of those that it is made of: its own, and of either side two.
const MAX_GAIN: f32 = 1.0 + 2.0 * (SPREAD[0] + SPREAD[1]);
/// Sums of f32 are that much too large at most.
const ROUNDING: f32 = 1.0 + 1e-5;

/// Scores of records by the words of a question (BM25).
///
/// A record gets some of what the records beside it score. That is not summed up for each record with a word of the
/// question, of which a common word has a great many, but for those that are asked for, and for those that may be
/// among the best: one whose score is at least θ has a part of at least θ / `MAX_GAIN`, as in MaxScore (Turtle and
/// Flood, 1995).
#[derive(Clone, Default)]
pub struct WordScores {
    own: TextScores,
    rarity: f32,
    allowed: Arc<AllowedRows>,
    surroundings: Surroundings,
}

impl WordScores {
    /// Of `own` scores, and of the sum of the terms' rarities. Only rows of `allowed` give and get.
    pub(crate) fn new(own: TextScores, rarity: f32, allowed: Arc<AllowedRows>, surroundings: Surroundings) -> Self {
        Self { own, rarity, allowed, surroundings }
    }

    /// The score of a record, with what its neighbours in the session give it.
    pub fn get(&self, record: RecordRef) -> Option<f32> {
        self.spread(record.0)
    }

    /// The score of a record by its own words.
    pub fn own(&self, record: RecordRef) -> Option<f32> {
        self.own.get(record.0)
    }

    /// The score that a text of average length has which holds each term once: the sum of the terms' rarities.
    pub fn rarity(&self) -> f32 {
        self.rarity
    }

    /// The `count` best records, those too that only their neighbours speak for.
    pub fn best(&self, count: usize) -> Vec<(RecordRef, f32)> {
        self.best_of(count, |_| true)
    }

    /// The `count` best records that have words of the question themselves.
    pub fn best_of_own(&self, count: usize) -> Vec<(RecordRef, f32)> {
        self.best_of(count, |row| self.own.get(row).is_some())
    }

    fn spread(&self, row: u32) -> Option<f32> {
        if !self.allowed.contains(row) {
            return None;
        }
        let (own, mut given, mut is_given) = (self.own.get(row), 0.0, false);
        self.surroundings.around(row, |neighbour, steps| {
            if let Some(score) = self.own.get(neighbour).filter(|_| self.allowed.contains(neighbour)) {
                (given, is_given) = (given + SPREAD[steps - 1] * score, true);
            }
        });
        match own {
            _ if is_given => Some(own.unwrap_or(0.0) + self.surroundings.openness(row) * given),
            own => own,
        }
    }

    fn best_of(&self, count: usize, is_wanted: impl Fn(u32) -> bool) -> Vec<(RecordRef, f32)> {
        // The rows after the last one with a score may get some of it.
        let blocks = self.own.rows().div_ceil(BLOCK_ROWS) + 1;
        let most: Vec<f32> = (0..blocks).map(|block| self.own.most_of_block(block)).collect();
        let mut order: Vec<usize> = (0..blocks).filter(|&block| self.allowed.of_block(block) != 0).collect();
        // The better the first are, the fewer are looked into then.
        if count < order.len() {
            order.select_nth_unstable_by(count, |&a, &b| most[b].total_cmp(&most[a]));
        }
        let mut best = Best { top: TopK::new(count), seen: vec![0; self.own.rows().div_ceil(64)] };
        for block in order {
            let around = &most[block.saturating_sub(1)..(block + 2).min(blocks)];
            let most = around.iter().copied().fold(0.0, f32::max);
            if most > 0.0 && most * MAX_GAIN >= best.least() {
                self.look_into(block, &mut best, &is_wanted);
            }
        }
        best.top.into_sorted().iter().map(|scored| (RecordRef(scored.row), scored.score)).collect()
    }

    /// Shows `best` the rows of a block that may be among them. Where the block is
    /// [contiguous](crate::collection::Links::is_contiguous) they are bound as if all rows next to each other spoke for
    /// each other, and no link is followed for those under the bound.
    fn look_into(&self, block: usize, best: &mut Best, is_wanted: impl Fn(u32) -> bool) {
        if !self.surroundings.links.is_contiguous(block) {
            for (row, score) in self.own.of_block(block) {
                if score >= best.least() / MAX_GAIN && self.allowed.contains(row) {
                    self.look_around(row, best, &is_wanted);
                }
            }
            return;
        }
        let first = block * BLOCK_ROWS;
        let scores: [f32; BLOCK_ROWS + 2 * MAX_STEPS] = self.own.of_rows(first as isize - MAX_STEPS as isize);
        let (least, allowed) = (best.least(), self.allowed.of_block(block));
        let mut most = [0.0; BLOCK_ROWS];
        for (at, most) in most.iter_mut().enumerate() {
            *most = bound(&scores, at + MAX_STEPS);
        }
        if highest(&most) < least {
            return;
        }
        for (at, most) in most.into_iter().enumerate() {
            if most > 0.0 && most >= least && allowed >> at & 1 == 1 {
                self.offer((first + at) as u32, most, best, &is_wanted);
            }
        }
    }

    /// Shows `best` a row whose score is at most `most`.
    fn offer(&self, row: u32, most: f32, best: &mut Best, is_wanted: impl Fn(u32) -> bool) {
        if most >= best.least()
            && best.is_new(row)
            && is_wanted(row)
            && let Some(score) = self.spread(row)
        {
            best.top.push(row, score);
        }
    }

    /// Shows `best` a row and those that it may speak for: each that may be among them, as if all that are beside it
    /// spoke for it.
    fn look_around(&self, row: u32, best: &mut Best, is_wanted: impl Fn(u32) -> bool) {
        let [mut before, after] = self.surroundings.beside::<{ 2 * MAX_STEPS }>(row);
        before.reverse();
        let mut rows = [Some(row); WINDOW];
        rows[..2 * MAX_STEPS].copy_from_slice(&before);
        rows[2 * MAX_STEPS + 1..].copy_from_slice(&after);
        let scores = rows.map(|row| row.and_then(|row| self.own.get(row)).unwrap_or(0.0));
        for (at, row) in rows.into_iter().enumerate().skip(MAX_STEPS).take(WINDOW - 2 * MAX_STEPS) {
            if let Some(row) = row {
                self.offer(row, bound(&scores, at), best, &is_wanted);
            }
        }
    }
}

/// The most that a row may have, of the scores of rows beside each other: as if all of them spoke for it.
#[inline]
fn bound<const N: usize>(scores: &[f32; N], at: usize) -> f32 {
    let given = |steps: usize| scores[at - steps] + scores[at + steps];
    (1..=MAX_STEPS).fold(scores[at], |sum, steps| sum + SPREAD[steps - 1] * given(steps))
}

/// Rows of a look around: a row, those that it speaks for, and those that speak for them.
const WINDOW: usize = 4 * MAX_STEPS + 1;

/// The best rows so far.
struct Best {
    top: TopK,
    /// A bit for each row that it was shown.
    seen: Vec<u64>,
}

impl Best {
    /// What a row has at least to be among them.
    fn least(&self) -> f32 {
        // While there are fewer than are wanted, any.
        self.top.least().map_or(0.0, |least| least / ROUNDING)
    }

    /// Whether it was not shown a row before; it was now.
    fn is_new(&mut self, row: u32) -> bool {
        let (word, bit) = (row as usize / 64, 1 << (row % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        let is_new = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collection::SessionLinks;
    use membox_text::{Document, Tail, Texts};
    use proptest::prelude::*;
    use roaring::RoaringBitmap;

    fn of(own: TextScores, links: &SessionLinks, texts: Texts, allowed: impl IntoIterator<Item = u32>) -> WordScores {
        let allowed = AllowedRows::from(allowed.into_iter().collect::<RoaringBitmap>());
        WordScores::new(own, 1.0, Arc::new(allowed), Surroundings { links: links.links().clone(), texts })
    }

    #[test]
    fn neighbours_in_the_session_share_a_score_and_others_do_not() {
        let mut links = SessionLinks::default();
        (0..5).for_each(|row| links.push(row, "a"));
        links.push(5, "b");
        let scores = |allowed: &[u32]| {
            let own = TextScores::from_iter([(2, 8.0)]);
            of(own, &links, Texts::default(), allowed.iter().copied())
        };
        let all = scores(&[0, 1, 2, 3, 4, 5]);
        let [near, far] = SPREAD.map(|share| 8.0 * share);
        let got: Vec<_> = (0..6).map(|row| all.get(RecordRef(row))).collect();
        assert_eq!(got, [Some(far), Some(near), Some(8.0), Some(near), Some(far), None]);
        assert_eq!(all.best(3), [(RecordRef(2), 8.0), (RecordRef(1), near), (RecordRef(3), near)]);
        assert_eq!(all.best_of_own(3), [(RecordRef(2), 8.0)]);
        assert_eq!(scores(&[2, 3]).best(9).len(), 2, "a filtered row gets nothing");
        assert_eq!(scores(&[1, 3]).best(9), [], "and gives nothing");
    }

    proptest! {
        #[test]
        fn the_best_are_those_of_all_scores(
            turns in prop::collection::vec((0u8..4, 0u8..4, 0u8..9, prop::bool::weighted(0.9), 1usize..90), 1..220),
            // Conversations that were written at once, one after the other, or turn by turn beside each other.
            is_at_once in any::<bool>(),
            with_scores in prop::sample::select(vec![60u32, 63, 64, 65, 128, 220]),
            count in 0usize..12,
        ) {
            let (mut links, mut tail, mut own) = (SessionLinks::default(), Tail::default(), TextScores::default());
            for (row, &(session, speaker, score, _, words)) in (0..).zip(&turns) {
                links.push(row, &if is_at_once { row / 30 } else { session.into() }.to_string());
                let (speaker, text) = (speaker.to_string(), "tea ".repeat(words));
                let speaker = Some(speaker.as_str()).filter(|speaker| *speaker != "0");
                tail.insert(row, Document { speaker, ..Document::of(&text) });
                // Many texts have no word of the question, and a few have rare ones.
                if score > 3 && row < with_scores {
                    own.add(row, if score == 8 { 9.0 } else { f32::from(score) / 4.0 });
                }
            }
            let allowed = (0..).zip(&turns).filter(|(_, turn)| turn.3).map(|(row, _)| row);
            let scores = of(own, &links, Texts::new(None, tail, |_| true), allowed);
            let sorted = |only_own: bool| {
                let rows = (0..turns.len() as u32).map(RecordRef).filter(|r| !only_own || scores.own(*r).is_some());
                let mut all: Vec<_> = rows.filter_map(|row| Some((row, scores.get(row)?))).collect();
                all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
                all.truncate(count);
                all
            };
            prop_assert_eq!(scores.best(count), sorted(false));
            prop_assert_eq!(scores.best_of_own(count), sorted(true));
        }
    }
}
