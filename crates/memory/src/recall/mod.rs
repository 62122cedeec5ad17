//! Recall: from a question to records.
//!
//! ```text
//! question ─▶ vectors ─▶ index and fresh rows ─┐
//!          └▶ terms ───▶ text index ───────────┴▶ fuse ─▶ fetch ─▶ rerank ─▶ fit the budget ─▶ answer
//! ```

mod cache;
mod fusion;
mod joined;

pub(crate) use cache::AnswerCache;

use crate::collections::Collections;
use crate::convert::compression;
use crate::models::Models;
use crate::{MemoryError, now, token_counter};
use cache::question;
use fusion::{Fused, fuse, marginal_relevance};
use joined::JoinedTexts;
use membox_api::{
    Budget, ContextText, ContextWindow, Hit, Include, MessageType, Neighbour, RecallAnswer, RecallMode, RecallRequest,
    Scores, SearchEffort, Timing,
};
use membox_compressor::TokenCounter;
use membox_encoder::Lane;
use membox_store::Store;
use membox_store::{
    Collection, Condition, Effort, Fetched, Filter, Matches, Question, Reads, RecordRef, Scalar, Snapshot, StoreError,
    StoredRecord, VectorsError, Wanted,
};
use membox_threads::budget::{self, Cancelled};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Hits of one answer.
const MAX_HITS: usize = 10_000;
/// Hits of one answer that are chosen by how they differ: each is held against each that is chosen already.
const MAX_DIVERSE_HITS: usize = 1000;
/// Questions of one request.
const MAX_QUERIES: usize = 64;
/// Neighbours given on each side of a hit.
const MAX_NEIGHBOURS: usize = 20;
/// Candidates that each leg brings to the fusion at least.
const LEG: usize = 200;
/// Share of the texts below which compression leaves too little to be understood: rather fewer hits.
const READABLE: f64 = 0.4;
/// How long a recall looks again when what it found has changed before it was read. A commit is published in a
/// fraction of a millisecond, if the writer's thread gets its turn.
const PATIENCE: Duration = Duration::from_secs(2);
/// A week.
const HALF_LIFE_S: f64 = 604_800.0;

/// A record under consideration.
struct Candidate {
    fused: Fused,
    stored: StoredRecord,
    scores: Scores,
    score: f32,
}

/// Questions to collections.
#[derive(Clone, Copy)]
pub struct Recall<'a> {
    pub(crate) store: &'a Store,
    pub(crate) models: &'a Models,
    pub(crate) collections: Collections<'a>,
    pub(crate) answers: &'a AnswerCache,
}

impl Recall<'_> {
    /// Answers a question to a collection.
    pub fn recall(&self, tenant: &str, collection: &str, request: &RecallRequest) -> Result<RecallAnswer, MemoryError> {
        let begun = Instant::now();
        check(request)?;
        self.collections.limits.check_top_k(tenant, request.k)?;
        let filter = self.filter_of(tenant, request)?;
        let collection = self.collections.collection(tenant, collection)?;
        let question = question(collection.id, request);
        let version = collection.version();
        if let Some(known) = question.as_ref().and_then(|q| self.answers.get(tenant, q, version, now())) {
            self.store.count_recalls(&collection, known.hits.iter().map(|hit| &hit.id));
            return Ok(RecallAnswer { took_ms: milliseconds(begun.elapsed()), ..known });
        }
        let mut timing = Timing::default();
        let questions = self.questions(tenant, &collection, request, &mut timing)?;
        let reads = self.store.read()?;
        let patience = Instant::now() + PATIENCE;
        let (snapshot, chosen, neighbours, exact) = loop {
            let searched = Instant::now();
            let (snapshot, fused, exact) = find(&reads, &collection, &questions, filter.as_ref(), request)?;
            timing.search = searched.elapsed();
            let fetched = Instant::now();
            let (candidates, changed) = fetch(&snapshot, fused, request, &reads)?;
            let chosen = rerank(candidates, &snapshot, request)?;
            let (neighbours, moved) = neighbours(&snapshot, filter.as_ref(), &chosen, request, &reads)?;
            timing.rerank = fetched.elapsed();
            collection.check_there()?;
            if !(changed || moved) || Instant::now() > patience {
                break (snapshot, chosen, neighbours, exact);
            }
            // A record that was found has another version now, which is committed but may not be published yet: the
            // answer would lack what has been there all the time.
            std::thread::sleep(Duration::from_millis(1));
        };
        // Others wait for a connection while what was found is fitted.
        drop(reads);
        let compressed = Instant::now();
        let context = request.budget.as_ref().map(|budget| self.fit(&chosen, budget)).transpose()?;
        timing.compress = compressed.elapsed();
        let hits = chosen.into_iter().zip(neighbours).map(|(c, around)| hit(c, around, &snapshot, request)).collect();
        let answer = RecallAnswer { hits, context, exact, took_ms: milliseconds(begun.elapsed()), timing };
        self.store.count_recalls(&collection, answer.hits.iter().map(|hit| &hit.id));
        // One whose words were read before other synonyms came is of no state.
        if let Some(question) = question.filter(|_| snapshot.version().number == version) {
            self.answers.put(tenant, question, snapshot.version(), &answer);
        }
        Ok(answer)
    }

    /// The texts of hits that fit a budget, compressed if need be and if the budget says so.
    fn fit(&self, chosen: &[Candidate], budget: &Budget) -> Result<ContextText, MemoryError> {
        let counter = token_counter(budget.encoding.as_deref(), "/budget/encoding")?;
        let whole = fit_whole(chosen, budget.tokens, counter)?;
        if !budget.compress || whole.dropped.is_empty() || budget.tokens == 0 {
            return Ok(whole);
        }
        let counts: Vec<usize> = chosen.iter().map(|c| counter.count(&c.stored.record.text)).collect();
        let count = compressible(&counts, budget.tokens);
        let texts: Vec<String> = chosen[..count].iter().map(|c| c.stored.record.text.clone()).collect();
        let answer = self.models.compressor(None)?.fit(&texts, "\n", budget.tokens, counter, Lane::Interactive)?;
        let is_dropped = |i: usize| i >= count || answer.kept[i].is_empty();
        let dropped =
            (0..chosen.len()).filter(|&i| is_dropped(i)).map(|i| chosen[i].stored.record.id.clone()).collect();
        let compression = Some(compression(&answer));
        Ok(ContextText { tokens: answer.compressed_tokens, text: answer.compressed_prompt, dropped, compression })
    }

    fn questions(
        &self,
        tenant: &str,
        collection: &Collection,
        request: &RecallRequest,
        timing: &mut Timing,
    ) -> Result<Vec<Question>, MemoryError> {
        if let Some(vector) = &request.vector {
            let mut vector = vector.clone();
            collection.check_vector(&vector).map_err(|e| vector_error("/vector", e))?;
            collection.normalize(&mut vector);
            return Ok(vec![Question { vector: Some(vector), ..Question::default() }]);
        }
        let texts: Vec<&String> = request.query.iter().chain(request.queries.iter().flatten()).collect();
        let mut vectors = vec![None; texts.len()];
        if request.mode != RecallMode::Text {
            let found = self.models.embed_queries(tenant, collection, &texts, timing)?;
            vectors = found.into_iter().map(|query| Some(query.vector)).collect();
        }
        let questions = texts.iter().zip(vectors).map(|(text, vector)| {
            let terms = if request.mode == RecallMode::Vector { Vec::new() } else { collection.query_terms(text) };
            Question { vector: vector.map(|v| v.to_vec()), terms, tokens: None }
        });
        Ok(questions.collect())
    }
}

/// The field of a request that a bad vector is in.
pub(crate) fn vector_error(pointer: &str, error: StoreError) -> MemoryError {
    match error {
        StoreError::Vectors(error @ VectorsError::NotFinite(_)) => MemoryError::impossible(pointer, error.to_string()),
        StoreError::Vectors(error @ VectorsError::Dimension { .. }) => MemoryError::invalid(pointer, error.to_string()),
        other => other.into(),
    }
}

impl Recall<'_> {
    /// Which records may be found.
    fn filter_of(&self, tenant: &str, request: &RecallRequest) -> Result<Option<Filter>, MemoryError> {
        let limits = self.collections.limits;
        let given = request.filter.as_ref().map(|filter| limits.filter(tenant, filter)).transpose()?;
        let Some(name) = request.modality.name() else { return Ok(given) };
        let modality = Filter::Field("modality".to_owned(), Condition::In(vec![Scalar::Text(name.to_owned())]));
        Ok(Some(Filter::And(given.into_iter().chain([modality]).collect())))
    }
}

fn check(request: &RecallRequest) -> Result<(), MemoryError> {
    let asked = [request.query.is_some(), request.vector.is_some(), request.queries.is_some()];
    if asked.iter().filter(|&&a| a).count() != 1 {
        return Err(MemoryError::invalid("/query", "exactly one of query, vector and queries is wanted"));
    }
    if request.vector.is_some() && request.mode != RecallMode::Vector {
        return Err(MemoryError::invalid("/mode", "a vector has no words: ask with mode \"vector\""));
    }
    let queries = request.queries.as_deref().unwrap_or_default();
    if request.queries.is_some() && (queries.is_empty() || queries.len() > MAX_QUERIES) {
        return Err(MemoryError::invalid("/queries", format!("1 to {MAX_QUERIES} questions are wanted")));
    }
    let empty = |text: &String| text.trim().is_empty();
    if request.query.as_ref().is_some_and(empty) || queries.iter().any(empty) {
        return Err(MemoryError::invalid("/query", "the question is empty"));
    }
    if request.k == 0 || request.k > MAX_HITS {
        return Err(MemoryError::impossible("/k", format!("k is {}; 1 to {MAX_HITS} is possible", request.k)));
    }
    let is_diverse = request.rerank.is_some_and(|rerank| rerank.mmr_lambda.is_some());
    if is_diverse && request.k > MAX_DIVERSE_HITS {
        let reason = format!("k is {}; with mmr_lambda at most {MAX_DIVERSE_HITS} is possible", request.k);
        return Err(MemoryError::impossible("/k", reason));
    }
    if let Some(context) = request.context
        && context.before.max(context.after) > MAX_NEIGHBOURS
    {
        return Err(MemoryError::impossible(
            "/context",
            format!("at most {MAX_NEIGHBOURS} neighbours are given on a side"),
        ));
    }
    Ok(())
}

/// The best records of all questions, more than are wanted, best first.
fn find(
    reads: &Reads,
    collection: &Arc<Collection>,
    questions: &[Question],
    filter: Option<&Filter>,
    request: &RecallRequest,
) -> Result<(Snapshot, Vec<Fused>, bool), MemoryError> {
    // Reranking and dropped hits need some to choose from.
    let wanted = if request.rerank.is_some() { (request.k * 4).max(LEG) } else { request.k + 16 };
    let leg = wanted.max(LEG);
    let SearchEffort { ef_search, nprobe, exact } = request.effort.unwrap_or_default();
    let nearest = if request.mode == RecallMode::Hybrid { leg } else { wanted };
    let looked_for = Wanted { nearest, effort: Effort { ef_search, nprobe, exact } };
    let (snapshot, found) = reads.search(collection, filter, questions, looked_for)?;
    let exact = found.iter().zip(questions).all(|(found, question)| question.vector.is_none() || found.nearest.exact);
    let mut merged: HashMap<RecordRef, Fused> = HashMap::new();
    for (question, found) in questions.iter().zip(&found) {
        for f in fuse_legs(&snapshot, question, found, request, (leg, wanted)).into_iter().take(wanted) {
            let place = merged.entry(f.record).or_insert(f);
            if f.score > place.score {
                *place = f;
            }
        }
    }
    let mut all: Vec<Fused> = merged.into_values().collect();
    all.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.record.cmp(&b.record)));
    all.truncate(wanted);
    Ok((snapshot, all, exact))
}

/// What was found for one question, best first: by its vector, by its words, or by both.
fn fuse_legs(
    snapshot: &Snapshot,
    question: &Question,
    found: &Matches,
    request: &RecallRequest,
    (leg, wanted): (usize, usize),
) -> Vec<Fused> {
    let near = &found.nearest.records;
    match request.mode {
        RecallMode::Vector => {
            let fused = |&(record, score)| Fused { record, score, vector: Some(score), text: None };
            near.iter().map(fused).collect()
        }
        // By words alone, a record that has none of them is no hit, however good its neighbours are.
        RecallMode::Text => {
            let fused = |(record, score)| Fused { record, score, vector: None, text: Some(score) };
            found.words.best_of_own(wanted).into_iter().map(fused).collect()
        }
        RecallMode::Hybrid => {
            let words = found.words.best(leg);
            let records: HashSet<RecordRef> = near.iter().chain(&words).map(|c| c.0).collect();
            let known: HashMap<RecordRef, f32> = near.iter().copied().collect();
            let vector = question.vector.as_deref().unwrap_or_default();
            let score = |record| known.get(&record).copied().unwrap_or_else(|| snapshot.score(vector, record));
            let both = records.into_iter().map(|record| (record, Some(score(record)), found.words.get(record)));
            fuse(request.fusion.unwrap_or_default(), both)
        }
    }
}

/// Reads the records that were found, in order, and says whether one of them was deleted or changed since. One that
/// is damaged is never an answer.
fn fetch(
    snapshot: &Snapshot,
    fused: Vec<Fused>,
    request: &RecallRequest,
    reads: &Reads,
) -> Result<(Vec<Candidate>, bool), MemoryError> {
    let _moment = reads.at_one_moment()?;
    let mut changed = false;
    let wanted = if request.rerank.is_some() { fused.len() } else { request.k };
    let mut candidates = Vec::with_capacity(wanted.min(fused.len()));
    for fused in fused {
        let is_too_low = request.rerank.is_none() && request.min_score.is_some_and(|min| fused.score < min);
        if candidates.len() >= wanted || is_too_low {
            break;
        }
        let stored = match reads.fetch(snapshot, fused.record)? {
            Fetched::Found(stored) => *stored,
            Fetched::Changed => {
                changed = true;
                continue;
            }
            Fetched::Damaged => continue,
        };
        let scores = Scores { vector: fused.vector, text: fused.text, ..Scores::default() };
        candidates.push(Candidate { score: fused.score, fused, stored, scores });
    }
    Ok((candidates, changed))
}

fn rerank(
    mut candidates: Vec<Candidate>,
    snapshot: &Snapshot,
    request: &RecallRequest,
) -> Result<Vec<Candidate>, Cancelled> {
    let Some(rerank) = request.rerank else { return Ok(candidates) };
    let half_life = rerank.recency_half_life_s.filter(|h| *h > 0.0).unwrap_or(HALF_LIFE_S);
    for c in &mut candidates {
        if let Some(weight) = rerank.recency_weight {
            let age = (now() - c.stored.record.created_at).max(0) as f64 / 1000.0;
            let part = weight * 0.5f64.powf(age / half_life) as f32;
            c.scores.recency = Some(part);
            c.score += part;
        }
        if let Some(weight) = rerank.importance_weight {
            let part = weight * c.stored.record.importance.unwrap_or(0.0) as f32;
            c.scores.importance = Some(part);
            c.score += part;
        }
    }
    candidates.retain(|c| request.min_score.is_none_or(|min| c.score >= min));
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.fused.record.cmp(&b.fused.record)));
    if let Some(lambda) = rerank.mmr_lambda {
        let vectors: Vec<Vec<f32>> = candidates.iter().map(|c| snapshot.vector(c.fused.record)).collect();
        let most = candidates.first().map_or(1.0, |c| c.score.max(f32::MIN_POSITIVE));
        let scores: Vec<f32> = candidates.iter().map(|c| c.score / most).collect();
        let likeness = |a: usize, b: usize| snapshot.score(&vectors[a], candidates[b].fused.record);
        let order = marginal_relevance(&scores, likeness, lambda.clamp(0.0, 1.0), request.k)?;
        let mut places: Vec<Option<Candidate>> = candidates.into_iter().map(Some).collect();
        return Ok(order.into_iter().filter_map(|i| places[i].take()).collect());
    }
    candidates.truncate(request.k);
    Ok(candidates)
}

/// Joins texts while they fit the budget, best first.
fn fit_whole(chosen: &[Candidate], max_tokens: usize, counter: TokenCounter) -> Result<ContextText, Cancelled> {
    let mut joined = JoinedTexts::new(counter);
    let mut is_in = Vec::with_capacity(chosen.len());
    for candidate in chosen {
        budget::check()?;
        is_in.push(joined.push_within(&candidate.stored.record.text, max_tokens));
    }
    let (text, tokens, too_many) = joined.finish(max_tokens);
    let last = is_in.iter_mut().rev().filter(|is_in| **is_in).take(too_many);
    last.for_each(|is_in| *is_in = false);
    let dropped = chosen.iter().zip(is_in).filter(|(_, is_in)| !is_in);
    let dropped = dropped.map(|(candidate, _)| candidate.stored.record.id.clone()).collect();
    Ok(ContextText { text, tokens, dropped, compression: None })
}

/// How many of the first texts a budget is shared by, so that of each a share is left that can still be read.
fn compressible(counts: &[usize], budget: usize) -> usize {
    let mut sum = 0;
    let fits = |count: &usize| {
        sum += count;
        budget as f64 >= READABLE * sum as f64
    };
    counts.iter().map(fits).take_while(|fits| *fits).count().max(1).min(counts.len())
}

/// The records before and after a hit in its session.
#[derive(Default)]
struct Neighbours {
    before: Vec<Neighbour>,
    after: Vec<Neighbour>,
}

/// The neighbours of each hit, and whether one of them was changed since it was looked for.
fn neighbours(
    snapshot: &Snapshot,
    filter: Option<&Filter>,
    chosen: &[Candidate],
    request: &RecallRequest,
    reads: &Reads,
) -> Result<(Vec<Neighbours>, bool), MemoryError> {
    let window = request.context.unwrap_or_default();
    let none = || chosen.iter().map(|_| Neighbours::default()).collect();
    if window == ContextWindow::default() {
        return Ok((none(), false));
    }
    let hits: Vec<RecordRef> = chosen.iter().map(|c| c.fused.record).collect();
    let Some(found) = reads.neighbours(snapshot, &hits, (window.before, window.after), filter)? else {
        return Ok((none(), true));
    };
    let mut moved = false;
    let mut read = |records: Vec<RecordRef>| -> Result<Vec<Neighbour>, MemoryError> {
        let mut near = Vec::with_capacity(records.len());
        for record in records {
            match reads.fetch(&found.snapshot, record)? {
                Fetched::Found(stored) => near.push(Neighbour { id: stored.record.id, text: stored.record.text }),
                Fetched::Changed => moved = true,
                Fetched::Damaged => {}
            }
        }
        Ok(near)
    };
    let mut all = Vec::with_capacity(hits.len());
    for (mut before, after) in found.around {
        before.reverse();
        all.push(Neighbours { before: read(before)?, after: read(after)? });
    }
    Ok((all, moved))
}

fn hit(candidate: Candidate, around: Neighbours, snapshot: &Snapshot, request: &RecallRequest) -> Hit {
    let has = |part| request.include.contains(&part);
    let place = candidate.fused.record;
    let record = candidate.stored.record;
    let with_metadata = has(Include::Metadata);
    Hit {
        id: record.id,
        score: candidate.score,
        scores: has(Include::Scores).then_some(candidate.scores),
        text: has(Include::Text).then_some(record.text),
        metadata: with_metadata.then_some(record.metadata),
        created_at: with_metadata.then(|| crate::time_text(record.created_at)),
        user: record.user.filter(|_| with_metadata),
        session: record.session.filter(|_| with_metadata),
        message: record.message.as_ref().filter(|_| with_metadata).map(|message| message.id.clone()),
        kind: record.kind.filter(|_| with_metadata),
        modality: record.message.map(|message| message.kind).filter(|kind| kind != MessageType::Text.name()),
        version: candidate.stored.version,
        vector: has(Include::Vector).then(|| snapshot.vector(place)),
        before: around.before,
        after: around.after,
    }
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
