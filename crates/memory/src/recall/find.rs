//! From questions to the best records.

use super::fusion::{Candidate, Fused, fuse, sort};
use super::interaction::Interaction;
use super::questions::Asked;
use super::relevance::{Evidence, relevance};
use crate::MemoryError;
use membox_api::{ExplainedTerm, Explanation, PartName, RecallMode, RecallRequest, SearchEffort};
use membox_store::{
    Collection, Effort, Filter, Matches, Question, Reads, Record, RecordRef, Snapshot, StoreError, Wanted, WordScores,
    tags,
};
use membox_text::analysis::terms;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Candidates that each leg brings to the fusion at least.
const LEG: usize = 200;

/// What was found for the questions of a request.
pub(super) struct Found {
    pub snapshot: Snapshot,
    /// Best first, more than are wanted.
    pub fused: Vec<Fused>,
    /// Whether every allowed record was scored.
    pub exact: bool,
    /// The words of each question.
    words: Vec<WordScores>,
}

/// Whether hits are chosen from more than are wanted.
pub(super) fn is_chosen_from(request: &RecallRequest) -> bool {
    request.rerank.is_some() || request.fold_doubles.is_some() || request.group_by.is_some()
}

/// How many records are found, so that there are enough to choose from.
pub(super) fn wanted(request: &RecallRequest) -> usize {
    // Reranking, folding and dropped hits need some to choose from.
    if is_chosen_from(request) { (request.k * 4).max(LEG) } else { request.k + 16 }
}

/// The best records of all questions, more than are wanted, best first.
pub(super) fn find(
    reads: &Reads,
    collection: &Arc<Collection>,
    asked: &[Asked],
    filter: Option<&Filter>,
    time: Option<&Filter>,
    request: &RecallRequest,
) -> Result<Found, MemoryError> {
    let _span = tracing::trace_span!(target: "otel", "search").entered();
    let wanted = wanted(request);
    let leg = wanted.max(LEG);
    let SearchEffort { ef_search, nprobe, exact } = request.effort.unwrap_or_default();
    let nearest = if request.mode() == RecallMode::Hybrid { leg } else { wanted };
    let looked_for = Wanted { nearest, effort: Effort { ef_search, nprobe, exact }, marked: time };
    let questions: Vec<&Question> = asked.iter().map(|asked| &asked.question).collect();
    let (snapshot, found) = reads.search(collection, filter, &questions, looked_for)?;
    let exact = found.iter().zip(&questions).all(|(found, question)| question.vector.is_none() || found.nearest.exact);
    let mut merged: HashMap<RecordRef, Fused> = HashMap::new();
    for (number, (asked, found)) in asked.iter().zip(&found).enumerate() {
        let mut fused = fuse_legs(&snapshot, asked, found, request, leg);
        if request.mode() == RecallMode::Hybrid
            && let Some(mut interaction) = Interaction::of(&snapshot, asked)?
        {
            interaction.add_to(&mut fused, request.k)?;
        }
        for mut f in fused.into_iter().take(wanted) {
            f.question = number;
            match merged.get_mut(&f.record) {
                Some(known) if known.score >= f.score => {}
                Some(known) => *known = f,
                None => drop(merged.insert(f.record, f)),
            }
        }
    }
    let mut fused: Vec<Fused> = merged.into_values().collect();
    sort(&mut fused);
    fused.truncate(wanted);
    Ok(Found { snapshot, fused, exact, words: found.into_iter().map(|found| found.words).collect() })
}

/// What was found for one question, best first: by its vector, by its words, or by both.
fn fuse_legs(snapshot: &Snapshot, asked: &Asked, found: &Matches, request: &RecallRequest, leg: usize) -> Vec<Fused> {
    let near = &found.nearest.records;
    let names = asked.text.as_deref().map(|text| snapshot.names(text)).unwrap_or_default();
    let askers = asked.text.as_deref().map(|text| snapshot.askers(text)).unwrap_or_default();
    let candidate = |record, vector, text| {
        let is_named = snapshot.is_of_one_of(record, &names);
        let is_askers = snapshot.is_said_by(record, &askers);
        let (is_of_time, asking) = (snapshot.is_marked(record), snapshot.asking(record));
        let windows = snapshot.windows(record);
        Candidate { record, vector, text, is_named, is_askers, is_of_time, asking, windows }
    };
    match request.mode() {
        RecallMode::Vector => {
            let fused = |&(record, score)| Fused::by_vector(candidate(record, Some(score), None), asked.reading);
            let mut fused: Vec<Fused> = near.iter().map(fused).collect();
            sort(&mut fused);
            fused
        }
        // By words alone, a record that has none of them is no hit, however good its neighbours are.
        RecallMode::Text => {
            let fused = |(record, score)| Fused::of_one(candidate(record, None, Some(score)), PartName::Words, score);
            found.words.best_of_own(leg).into_iter().map(fused).collect()
        }
        RecallMode::Hybrid => {
            let words = found.words.best(leg);
            let records: HashSet<RecordRef> = near.iter().chain(&words).map(|c| c.0).collect();
            let known: HashMap<RecordRef, f32> = near.iter().copied().collect();
            let vector = asked.question.vector.as_deref().unwrap_or_default();
            let score = |record| known.get(&record).copied().unwrap_or_else(|| snapshot.score(vector, record));
            let both =
                records.into_iter().map(|record| candidate(record, Some(score(record)), found.words.get(record)));
            fuse(request.fusion.unwrap_or_default(), asked.reading, both)
        }
    }
}

/// Says of records how relevant they are, and why they were found.
pub(super) struct Judge<'a> {
    found: &'a Found,
    asked: &'a [Asked],
    mode: RecallMode,
}

impl<'a> Judge<'a> {
    pub fn of(found: &'a Found, asked: &'a [Asked], mode: RecallMode) -> Self {
        Self { found, asked, mode }
    }

    /// How relevant a record is; `None` where nothing says so.
    pub fn relevance(&self, fused: &Fused) -> Option<f32> {
        let asked = self.asked.get(fused.question)?;
        let own = || Some(self.found.snapshot.score(asked.vector.as_deref()?, fused.record));
        let cosine = fused.vector.filter(|_| asked.vector.is_some()).or_else(own);
        let vector = cosine.map(|cosine| asked.reading.closeness(cosine));
        let rarity = self.found.words.get(fused.question).map_or(0.0, WordScores::rarity);
        let words = (self.mode != RecallMode::Vector && rarity > 0.0).then(|| fused.text.unwrap_or(0.0) / rarity);
        relevance(&Evidence { vector, words, is_named: fused.is_named, fluency: asked.reading.fluency })
    }

    /// Why a record was found.
    pub fn explain(&self, fused: &Fused, record: &Record) -> Result<Explanation, StoreError> {
        let Some(asked) = self.asked.get(fused.question) else { return Ok(Explanation::default()) };
        let words = self.found.words.get(fused.question);
        let own = words.and_then(|words| words.own(fused.record)).unwrap_or(0.0);
        let mut parts = Vec::with_capacity(fused.parts.len() + 1);
        for part in &fused.parts {
            // What neighbours give is a part of its own.
            if part.part == PartName::Words && part.value > own {
                let of = |value: f32| part.score * value / part.value;
                let rest = part.value - own;
                parts.push(membox_api::ScorePart { value: own, score: of(own), ..*part });
                parts.push(membox_api::ScorePart { part: PartName::Neighbours, value: rest, score: of(rest) });
            } else {
                parts.push(*part);
            }
        }
        let searched = std::iter::once(record.text.as_str()).chain(tags(record));
        let has: HashSet<String> = searched.flat_map(terms).map(|term| term.text).collect();
        let rarities = self.found.snapshot.rarities(&asked.terms)?;
        let term = |(term, rarity): (&String, f32)| {
            let found = has.contains(term);
            ExplainedTerm { term: term.clone(), rarity, found }
        };
        let terms = asked.terms.iter().zip(rarities).map(term).collect();
        let interaction = if fused.tokens.is_some() { Interaction::of(&self.found.snapshot, asked)? } else { None };
        let tokens = interaction.map_or_else(Vec::new, |interaction| interaction.explain(fused.record));
        Ok(Explanation { parts, terms, tokens })
    }
}
