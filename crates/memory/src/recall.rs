//! Recall: from a question to records.
//!
//! ```text
//! question ─▶ vectors ─▶ index and fresh rows ─┐
//!          └▶ terms ───▶ text index ───────────┴▶ fuse ─▶ fetch ─▶ rerank ─▶ fit the budget ─▶ answer
//! ```

use crate::answers::question;
use crate::collection::{Collection, Live, Sight};
use crate::convert::compression;
use crate::fusion::{Fused, best, fuse, marginal_relevance, spread};
use crate::links::Links;
use crate::{MemoryBox, MemoryError, now, token_counter};
use membox_api::{
    Budget, ContextText, ContextWindow, Hit, Include, MessageType, Neighbour, RecallAnswer, RecallMode, RecallRequest,
    Scores, SearchEffort, Timing,
};
use membox_compressor::TokenCounter;
use membox_encoder::Lane;
use membox_index::Effort;
use membox_records::filter::{Condition, Scalar};
use membox_records::{Filter, Reader, RecordsError, StoredRecord, text};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Hits of one answer.
const MOST_HITS: usize = 10_000;
/// Questions of one request.
const MOST_QUERIES: usize = 64;
/// Neighbours given on each side of a hit.
const MOST_NEIGHBOURS: usize = 20;
/// Candidates that each leg brings to the fusion at least.
const LEG: usize = 200;
/// Rows from which on words and vectors are looked for on two threads: either takes a millisecond at a million, and a thread some 0.05 ms.
const ROWS_FOR_TWO_THREADS: u32 = 200_000;
/// Share of the texts below which compression leaves too little to be understood: rather fewer hits.
const READABLE: f64 = 0.4;
/// How long a recall looks again when what it found has changed before it was read. A commit is published in a fraction of a millisecond, if the
/// writer's thread gets its turn.
const PATIENCE: Duration = Duration::from_secs(2);
/// A week.
const HALF_LIFE_S: f64 = 604_800.0;

/// A question with its vector and its terms.
struct Question {
    vector: Option<Vec<f32>>,
    terms: Vec<String>,
}

/// A record under consideration.
struct Candidate {
    fused: Fused,
    stored: StoredRecord,
    scores: Scores,
    score: f32,
}

impl MemoryBox {
    /// Answers a question to a collection.
    pub fn recall(&self, tenant: &str, collection: &str, request: &RecallRequest) -> Result<RecallAnswer, MemoryError> {
        let begun = Instant::now();
        check(request)?;
        let filter = filter_of(request)?;
        let collection = self.collection(tenant, collection)?;
        let question = question(collection.id, request);
        let generation = collection.live().generation();
        if let Some(known) = question.as_ref().and_then(|q| self.answers().get(tenant, q, generation, now())) {
            self.shared().uses.note(collection.id, known.hits.iter().map(|hit| &hit.id));
            return Ok(RecallAnswer { took_ms: milliseconds(begun.elapsed()), ..known });
        }
        let mut timing = Timing::default();
        let questions = self.questions(tenant, &collection, request, &mut timing)?;
        let reader = self.shared().reader()?;
        if filter.is_some() {
            collection.prepare_fields(&reader)?;
        }
        let patience = Instant::now() + PATIENCE;
        let (sight, chosen, neighbours, exact) = loop {
            let searched = Instant::now();
            let (sight, fused, exact) = find(&collection, &questions, filter.as_ref(), request)?;
            timing.search = searched.elapsed();
            let fetched = Instant::now();
            let (candidates, changed) = fetch(&collection, &sight, fused, request, &reader)?;
            let chosen = rerank(candidates, &sight, request);
            let (neighbours, moved) = neighbours(&collection, &sight, filter.as_ref(), &chosen, request, &reader)?;
            timing.rerank = fetched.elapsed();
            collection.check_there()?;
            if !(changed || moved) || Instant::now() > patience {
                break (sight, chosen, neighbours, exact);
            }
            // A record that was found has another version now, which is committed but may not be published yet: the answer would lack what has been
            // there all the time.
            std::thread::sleep(Duration::from_millis(1));
        };
        let compressed = Instant::now();
        let context = request.budget.as_ref().map(|budget| self.fit(&chosen, budget)).transpose()?;
        timing.compress = compressed.elapsed();
        let hits = chosen.into_iter().zip(neighbours).map(|(c, around)| hit(c, around, &sight, request)).collect();
        let answer = RecallAnswer { hits, context, exact, took_ms: milliseconds(begun.elapsed()), timing };
        self.shared().uses.note(collection.id, answer.hits.iter().map(|hit| &hit.id));
        // One whose words were read before other synonyms came is of no state.
        if let Some(question) = question.filter(|_| sight.state.generation == generation) {
            self.answers().put(tenant, question, sight.state, &answer);
        }
        Ok(answer)
    }

    /// The texts of hits that fit a budget, compressed if need be and if the budget says so.
    fn fit(&self, chosen: &[Candidate], budget: &Budget) -> Result<ContextText, MemoryError> {
        let counter = token_counter(budget.encoding.as_deref(), "/budget/encoding")?;
        let whole = fit_whole(chosen, budget.tokens, counter);
        if !budget.compress || whole.dropped.is_empty() || budget.tokens == 0 {
            return Ok(whole);
        }
        let counts: Vec<usize> = chosen.iter().map(|c| counter.count(&c.stored.record.text)).collect();
        let count = compressible(&counts, budget.tokens);
        let texts: Vec<String> = chosen[..count].iter().map(|c| c.stored.record.text.clone()).collect();
        let answer = self.compressor(None)?.fit(&texts, "\n", budget.tokens, counter, Lane::Interactive)?;
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
            collection.live().view.header().check(&vector).map_err(|e| vector_error("/vector", e))?;
            collection.normalize(&mut vector);
            return Ok(vec![Question { vector: Some(vector), terms: Vec::new() }]);
        }
        let texts: Vec<&String> = request.query.iter().chain(request.queries.iter().flatten()).collect();
        let mut vectors = vec![None; texts.len()];
        if request.mode != RecallMode::Text {
            let found = self.embed_queries(tenant, collection, &texts, timing)?;
            vectors = found.into_iter().map(Some).collect();
        }
        let questions = texts.iter().zip(vectors).map(|(text, vector)| {
            let terms = if request.mode == RecallMode::Vector { Vec::new() } else { collection.terms_of(text) };
            Question { vector: vector.map(|v| v.to_vec()), terms }
        });
        Ok(questions.collect())
    }
}

/// The field of a request that a bad vector is in.
pub(crate) fn vector_error(pointer: &str, error: membox_vectors::VectorsError) -> MemoryError {
    match error {
        membox_vectors::VectorsError::NotFinite(_) => MemoryError::impossible(pointer, error.to_string()),
        membox_vectors::VectorsError::Dimension { .. } => MemoryError::invalid(pointer, error.to_string()),
        other => other.into(),
    }
}

/// Which records may be found.
fn filter_of(request: &RecallRequest) -> Result<Option<Filter>, MemoryError> {
    let given = request.filter.as_ref().map(|f| Filter::parse(f, "/filter")).transpose()?;
    let Some(name) = request.modality.name() else { return Ok(given) };
    let modality = Filter::Field("modality".to_owned(), Condition::In(vec![Scalar::Text(name.to_owned())]));
    Ok(Some(Filter::And(given.into_iter().chain([modality]).collect())))
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
    if request.queries.is_some() && (queries.is_empty() || queries.len() > MOST_QUERIES) {
        return Err(MemoryError::invalid("/queries", format!("1 to {MOST_QUERIES} questions are wanted")));
    }
    let empty = |text: &String| text.trim().is_empty();
    if request.query.as_ref().is_some_and(empty) || queries.iter().any(empty) {
        return Err(MemoryError::invalid("/query", "the question is empty"));
    }
    if request.k == 0 || request.k > MOST_HITS {
        return Err(MemoryError::impossible("/k", format!("k is {}; 1 to {MOST_HITS} is possible", request.k)));
    }
    if let Some(context) = request.context
        && context.before.max(context.after) > MOST_NEIGHBOURS
    {
        return Err(MemoryError::impossible(
            "/context",
            format!("at most {MOST_NEIGHBOURS} neighbours are given on a side"),
        ));
    }
    Ok(())
}

/// Scores of rows by the words of a question: with what they get from their neighbours, and their own.
type TextScores = (text::TextScores, text::TextScores);

fn text_scores(live: &Live, sight: &Sight, questions: &[Question]) -> Result<Vec<TextScores>, MemoryError> {
    let scores_of = |question: &Question| {
        if question.terms.is_empty() {
            return Ok(Default::default());
        }
        let own = text::score(&question.terms, live.disk.as_ref(), &live.tail)?;
        Ok((spread(&own, &live.links, &sight.allowed, sight.view.rows()), own))
    };
    questions.iter().map(scores_of).collect()
}

/// The best rows of all questions, more than are wanted, best first.
fn find(
    collection: &Collection,
    questions: &[Question],
    filter: Option<&Filter>,
    request: &RecallRequest,
) -> Result<(Sight, Vec<Fused>, bool), MemoryError> {
    let live = collection.live();
    let sight = live.sight(now(), filter);
    // Reranking and dropped hits need some to choose from.
    let wanted = if request.rerank.is_some() { (request.k * 4).max(LEG) } else { request.k + 16 };
    let leg = wanted.max(LEG);
    let mut exact = true;
    let SearchEffort { ef_search, nprobe, exact: scan } = request.effort.unwrap_or_default();
    let mut merged: HashMap<u32, Fused> = HashMap::new();
    let vectors: Vec<&[f32]> = questions.iter().filter_map(|q| q.vector.as_deref()).collect();
    let count = if request.mode == RecallMode::Hybrid { leg } else { wanted };
    let effort = Effort { ef_search, nprobe, exact: scan };
    let near = &|| sight.search(collection, effort).nearest(&vectors, count);
    let is_long = request.mode == RecallMode::Hybrid && sight.view.rows() >= ROWS_FOR_TWO_THREADS;
    // Words are scored under the lock, and vectors without it; by this thread, too, where the system gives no other.
    let (texts, found) = std::thread::scope(|scope| {
        let other = is_long
            .then(|| std::thread::Builder::new().name("search".to_owned()).spawn_scoped(scope, near).ok())
            .flatten();
        let texts = text_scores(&live, &sight, questions);
        drop(live);
        let joined = other.map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        (texts, joined.unwrap_or_else(near))
    });
    let (texts, mut found) = (texts?, found?.into_iter());
    for (question, (texts, own)) in questions.iter().zip(&texts) {
        let mut near = Vec::new();
        if let Some(found) = question.vector.as_ref().and_then(|_| found.next()) {
            exact &= found.exact;
            near = found.rows;
        }
        let fused = match request.mode {
            RecallMode::Vector => {
                near.iter().map(|n| Fused { row: n.row, score: n.score, vector: Some(n.score), text: None }).collect()
            }
            // By words alone, a record that has none of them is no hit, however good its neighbours are.
            RecallMode::Text => best(texts.iter().filter(|(row, _)| own.get(*row).is_some()), wanted)
                .iter()
                .map(|t| Fused { row: t.row, score: t.score, vector: None, text: Some(t.score) })
                .collect(),
            RecallMode::Hybrid => {
                let words = best(texts.iter(), leg);
                let rows: HashSet<u32> = near.iter().chain(&words).map(|c| c.row).collect();
                let known: HashMap<u32, f32> = near.iter().map(|n| (n.row, n.score)).collect();
                let vector = question.vector.as_deref().unwrap_or_default();
                let score = |row| known.get(&row).copied().unwrap_or_else(|| sight.view.score(vector, row));
                let both = rows.into_iter().map(|row| (row, Some(score(row)), texts.get(row)));
                fuse(request.fusion.unwrap_or_default(), both)
            }
        };
        for f in fused.into_iter().take(wanted) {
            let place = merged.entry(f.row).or_insert(f);
            if f.score > place.score {
                *place = f;
            }
        }
    }
    let mut all: Vec<Fused> = merged.into_values().collect();
    all.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
    all.truncate(wanted);
    Ok((sight, all, exact))
}

/// Reads the records of rows, in order, and says whether one of them was deleted or changed since. One whose row is damaged is never
/// an answer.
fn fetch(
    collection: &Collection,
    sight: &Sight,
    fused: Vec<Fused>,
    request: &RecallRequest,
    reader: &Reader,
) -> Result<(Vec<Candidate>, bool), MemoryError> {
    let _snapshot = reader.snapshot()?;
    let mut changed = false;
    let wanted = if request.rerank.is_some() { fused.len() } else { request.k };
    let mut candidates = Vec::with_capacity(wanted.min(fused.len()));
    for fused in fused {
        if candidates.len() >= wanted
            || request.rerank.is_none() && request.min_score.is_some_and(|min| fused.score < min)
        {
            break;
        }
        let stored = match reader.record_of_row(&sight.slots, fused.row) {
            Ok(Some(stored)) => stored,
            Ok(None) => {
                changed = true;
                continue;
            }
            Err(error @ RecordsError::Damaged(_)) => {
                metrics::counter!("membox_damaged_records_total").increment(1);
                tracing::error!(collection = collection.name, %error, "a damaged record is no answer: run `membox verify`");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if stored.row_crc != sight.view.crc(fused.row) {
            metrics::counter!("membox_damaged_rows_total").increment(1);
            tracing::error!(
                collection = collection.name,
                row = fused.row,
                id = stored.record.id,
                "a vector does not have its checksum and is no answer: run `membox rebuild`"
            );
            continue;
        }
        let scores = Scores { vector: fused.vector, text: fused.text, ..Scores::default() };
        candidates.push(Candidate { score: fused.score, fused, stored, scores });
    }
    Ok((candidates, changed))
}

fn rerank(mut candidates: Vec<Candidate>, sight: &Sight, request: &RecallRequest) -> Vec<Candidate> {
    let Some(rerank) = request.rerank else { return candidates };
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
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.fused.row.cmp(&b.fused.row)));
    if let Some(lambda) = rerank.mmr_lambda {
        let vectors: Vec<Vec<f32>> = candidates.iter().map(|c| sight.view.vector(c.fused.row)).collect();
        let most = candidates.first().map_or(1.0, |c| c.score.max(f32::MIN_POSITIVE));
        let scores: Vec<f32> = candidates.iter().map(|c| c.score / most).collect();
        let likeness = |a: usize, b: usize| sight.view.score(&vectors[a], candidates[b].fused.row);
        let order = marginal_relevance(&scores, likeness, lambda.clamp(0.0, 1.0), request.k);
        let mut places: Vec<Option<Candidate>> = candidates.into_iter().map(Some).collect();
        return order.into_iter().filter_map(|i| places[i].take()).collect();
    }
    candidates.truncate(request.k);
    candidates
}

/// Joins texts while they fit the budget, best first.
fn fit_whole(chosen: &[Candidate], budget: usize, counter: TokenCounter) -> ContextText {
    let (mut context, mut tokens, mut dropped) = (String::new(), 0, Vec::new());
    for candidate in chosen {
        let record = &candidate.stored.record;
        let mut longer = context.clone();
        if !longer.is_empty() {
            longer.push('\n');
        }
        longer.push_str(&record.text);
        let count = counter.count(&longer);
        if count <= budget {
            (context, tokens) = (longer, count);
        } else {
            dropped.push(record.id.clone());
        }
    }
    ContextText { text: context, tokens, dropped, compression: None }
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
    collection: &Collection,
    sight: &Sight,
    filter: Option<&Filter>,
    chosen: &[Candidate],
    request: &RecallRequest,
    reader: &Reader,
) -> Result<(Vec<Neighbours>, bool), MemoryError> {
    let window = request.context.unwrap_or_default();
    if window == ContextWindow::default() {
        return Ok((chosen.iter().map(|_| Neighbours::default()).collect(), false));
    }
    let (slots, rows): (_, Vec<(Vec<u32>, Vec<u32>)>) = {
        let live = collection.live();
        // A compaction may have given them other rows since.
        let row = |c: &Candidate| live.slots.row(sight.slots.slot(c.fused.row)).filter(|&row| live.rows.contains(row));
        let Some(hits) = chosen.iter().map(row).collect::<Option<Vec<u32>>>() else {
            return Ok((chosen.iter().map(|_| Neighbours::default()).collect(), true));
        };
        // Not those of the sight: a neighbour may have been written again since.
        let sight = live.sight(now(), filter);
        let walk = |row: u32, step: fn(&Links, u32) -> Option<u32>, most: usize| -> Vec<u32> {
            let rows = std::iter::successors(step(&live.links, row), |&r| step(&live.links, r));
            rows.filter(|r| sight.allowed.rows().contains(*r)).take(most).collect()
        };
        let around = |row| (walk(row, Links::before, window.before), walk(row, Links::after, window.after));
        (live.slots.clone(), hits.into_iter().map(around).collect())
    };
    let mut moved = false;
    let mut read = |rows: Vec<u32>| -> Result<Vec<Neighbour>, MemoryError> {
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            match reader.record_of_row(&slots, row)? {
                Some(stored) => found.push(Neighbour { id: stored.record.id, text: stored.record.text }),
                None => moved = true,
            }
        }
        Ok(found)
    };
    let mut all = Vec::with_capacity(rows.len());
    for (mut before, after) in rows {
        before.reverse();
        all.push(Neighbours { before: read(before)?, after: read(after)? });
    }
    Ok((all, moved))
}

fn hit(candidate: Candidate, around: Neighbours, sight: &Sight, request: &RecallRequest) -> Hit {
    let has = |part| request.include.contains(&part);
    let row = candidate.fused.row;
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
        vector: has(Include::Vector).then(|| sight.view.vector(row)),
        before: around.before,
        after: around.after,
    }
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// A query's vector, shared with the cache.
pub(crate) type QueryVector = Arc<[f32]>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Sample;
    use membox_api::IndexPolicy;

    #[test]
    fn a_large_collection_is_asked_by_meaning_and_by_words_at_the_same_time() {
        let sample = Sample::new(IndexPolicy::Flat);
        sample.write(0..ROWS_FOR_TWO_THREADS as usize);
        let collection = &sample.collection;
        let question = Question { vector: Some(Sample::vector(77)), terms: collection.terms_of("number150077") };
        let request = RecallRequest { mode: RecallMode::Hybrid, k: 3, ..RecallRequest::default() };
        let (_, found, _) = find(collection, &[question], None, &request).expect("an answer");
        assert_eq!(found[0].row, 150_077);
        assert!(found[0].text.is_some() && found[1..].iter().all(|other| other.text.is_none()), "{found:?}");
        assert!(found.iter().all(|found| found.vector.is_some_and(|score| score > 0.99)), "{found:?}");
    }
}
