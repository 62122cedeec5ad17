//! Late interaction: how near the tokens of a question are to those of a record (MaxSim).
//!
//! ColBERT (Khattab and Zaharia, 2020) adds up, over the tokens of the question, the cosine of the nearest token of
//! the text. Three things are different here, since nothing was trained for it. A token of the question counts by the
//! rarity of its word. A token of a record that [speaks for](SpokenFor) another one counts for that too, somewhat less.
//! And a long text counts by its [best passage](super::passages). docs/decisions/043 has what each of them gives.
//!
//! Neighbours are most of the work: they are four texts for one. They count only for the records that are the best by
//! their own tokens.

use super::fusion::Fused;
use super::passages::{PART_TOKENS, best_passage};
use super::questions::Asked;
use membox_api::ExplainedToken;
use membox_store::{RecordRef, Snapshot, SpokenFor, StoreError, TokenSimilarities};
use membox_text::analysis::terms_at;
use membox_threads::budget;
use std::collections::HashMap;

/// Best records whose tokens are compared: of a small `k` so many, of a larger one [`COMPARED_PER_HIT`] times `k`, and
/// never more than [`MAX_COMPARED`].
const MIN_COMPARED: usize = 100;
const MAX_COMPARED: usize = 300;
/// Of these, so many times `k` with the tokens of their neighbours too.
const COMPARED_PER_HIT: usize = 4;
/// What the best of them gets, in units of the best score before.
const WEIGHT: f32 = 0.5;
/// What a token counts for a record one step away; squared, for one two steps away.
const NEIGHBOUR: f32 = 0.9;
/// What a stop word counts. A rare word counts some six times as much.
const STOP_WORD_RARITY: f32 = 1.0;

/// The tokens of one question, compared with those of records.
pub(super) struct Interaction<'a> {
    snapshot: &'a Snapshot,
    asked: &'a Asked,
    /// Of the question's tokens; their sum is 1.
    weights: Vec<f32>,
    /// What was compared already.
    known: HashMap<RecordRef, Option<Vec<f32>>>,
}

impl<'a> Interaction<'a> {
    /// `None` where there is nothing to compare.
    pub fn of(snapshot: &'a Snapshot, asked: &'a Asked) -> Result<Option<Self>, StoreError> {
        let (Some(text), Some(tokens), Some(_)) = (&asked.text, &asked.tokens, &asked.question.tokens) else {
            return Ok(None);
        };
        let found = terms_at(text, &tokens.places);
        let rare: Vec<String> = found.iter().flatten().filter(|t| !t.is_stop_word).map(|t| t.text.clone()).collect();
        let mut rarities = snapshot.rarities(&rare)?.into_iter();
        let weight = |(term, &known): (&Option<_>, &bool)| {
            let term: &membox_text::analysis::Term = term.as_ref()?;
            let rarity = if term.is_stop_word { STOP_WORD_RARITY } else { rarities.next()? };
            known.then_some(rarity)
        };
        let weights: Vec<f32> = found.iter().zip(&tokens.known).map(weight).map(Option::unwrap_or_default).collect();
        let sum: f32 = weights.iter().sum();
        if sum <= 0.0 || asked.reading.fluency <= 0.0 {
            return Ok(None);
        }
        let weights = weights.into_iter().map(|weight| weight / sum).collect();
        Ok(Some(Self { snapshot, asked, weights, known: HashMap::new() }))
    }

    /// How near a record's own tokens are; `None` where it has none.
    fn own_max_sim(&mut self, record: RecordRef) -> Option<f32> {
        self.own(record)?;
        self.known.get(&record)?.as_deref().map(|nearest| self.weighed(nearest))
    }

    /// How near a record's tokens are, with those of records that speak for it; `None` where it has none.
    fn max_sim(&mut self, record: RecordRef, around: &[SpokenFor]) -> Option<f32> {
        self.nearest(record, around).map(|nearest| self.weighed(&nearest))
    }

    fn weighed(&self, nearest: &[f32]) -> f32 {
        nearest.iter().zip(&self.weights).map(|(near, weight)| near * weight).sum()
    }

    /// The tokens of the question, each with how near the nearest one of a record is.
    pub fn explain(mut self, record: RecordRef) -> Vec<ExplainedToken> {
        let Some(nearest) = self.nearest(record, &self.snapshot.spoken_for_by(record)) else { return Vec::new() };
        let (Some(text), Some(tokens)) = (&self.asked.text, &self.asked.tokens) else { return Vec::new() };
        let parts = tokens.places.iter().zip(self.weights.iter().zip(nearest));
        let token = |(place, (&weight, similarity)): (&std::ops::Range<usize>, (&f32, f32))| {
            let text = text.get(place.clone()).unwrap_or_default().to_owned();
            ExplainedToken { text, weight, similarity }
        };
        parts.map(token).collect()
    }

    fn nearest(&mut self, record: RecordRef, around: &[SpokenFor]) -> Option<Vec<f32>> {
        let mut nearest = self.own(record)?.clone();
        for &SpokenFor { by, steps, share } in around {
            let part = share * NEIGHBOUR.powi(steps as i32);
            if let Some(near) = self.own(by) {
                nearest.iter_mut().zip(near).for_each(|(best, near)| *best = best.max(part * near));
            }
        }
        Some(nearest)
    }

    fn own(&mut self, record: RecordRef) -> Option<&Vec<f32>> {
        let (snapshot, weights, question) = (self.snapshot, &self.weights, self.asked.question.tokens.as_ref()?);
        let compared = self.known.entry(record).or_insert_with(|| {
            let TokenSimilarities { parts, tokens } = snapshot.token_similarities(question, record, PART_TOKENS)?;
            Some(best_passage(parts, tokens, weights))
        });
        compared.as_ref()
    }

    /// Adds what the tokens say to the scores of the best, and sorts them anew.
    pub fn add_to(&mut self, fused: &mut [Fused], k: usize) -> Result<(), StoreError> {
        let with_neighbours = k.saturating_mul(COMPARED_PER_HIT);
        let compared = with_neighbours.clamp(MIN_COMPARED, MAX_COMPARED).min(fused.len());
        let fused = &mut fused[..compared];
        self.snapshot.prefetch_tokens(fused.iter().map(|f| f.record));
        for f in fused.iter_mut() {
            budget::check()?;
            f.tokens = self.own_max_sim(f.record);
        }
        let Some(scores) = self.scores(fused) else { return Ok(()) };
        let mut order: Vec<(usize, f32)> = fused.iter().zip(scores).map(|(f, s)| f.score + s).enumerate().collect();
        order.sort_by(|a, b| b.1.total_cmp(&a.1));
        order.truncate(with_neighbours);
        let around = |&(at, _): &(usize, f32)| (at, self.snapshot.spoken_for_by(fused[at].record));
        let around: Vec<(usize, Vec<SpokenFor>)> = order.iter().map(around).collect();
        let neighbours = around.iter().flat_map(|(_, around)| around).map(|neighbour| neighbour.by);
        self.snapshot.prefetch_tokens(neighbours.filter(|by| !self.known.contains_key(by)));
        for (at, around) in around {
            budget::check()?;
            fused[at].tokens = self.max_sim(fused[at].record, &around);
        }
        let scores = self.scores(fused).unwrap_or_default();
        fused.iter_mut().zip(scores).for_each(|(f, score)| f.add_tokens(score));
        super::fusion::sort(fused);
        Ok(())
    }

    /// What the tokens add to each score; `None` where they tell nothing apart. A record without vectors of tokens
    /// gets what others get on average: it may be older than they are.
    fn scores(&self, fused: &[Fused]) -> Option<Vec<f32>> {
        let known: Vec<f32> = fused.iter().filter_map(|f| f.tokens).collect();
        let least = known.iter().copied().fold(f32::INFINITY, f32::min);
        let range = known.iter().copied().fold(f32::NEG_INFINITY, f32::max) - least;
        if known.len() * 2 < fused.len() || range <= 0.0 {
            return None;
        }
        let mean = known.iter().sum::<f32>() / known.len() as f32;
        let best = fused.iter().map(|f| f.score).fold(0.0, f32::max);
        let score = |f: &Fused| WEIGHT * self.asked.reading.fluency * best * (f.tokens.unwrap_or(mean) - least) / range;
        Some(fused.iter().map(score).collect())
    }
}
