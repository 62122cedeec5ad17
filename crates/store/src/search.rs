//! Vectors and words of questions, looked for in one state of a collection.

use crate::collection::Links;
use crate::snapshot::{Nearest, RecordRef, Snapshot};
use crate::word_scores::WordScores;
use crate::{Collection, StoreError};
use membox_index::Effort;
use membox_records::Filter;
use membox_threads::budget;
use membox_vectors::QuestionTokens;
use std::sync::Arc;

/// Rows from which on words and vectors are looked for on two threads: either takes a millisecond at a million, and
/// a thread some 0.05 ms.
pub const ROWS_FOR_TWO_THREADS: u32 = 200_000;
/// A question with its vector and its terms.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// Its vector, where vectors are compared.
    pub vector: Option<Vec<f32>>,
    /// Its terms; empty where words are not looked for.
    pub terms: Vec<String>,
    /// Its tokens, where hits are ordered by those of their texts: see [`Snapshot::token_similarities`].
    pub tokens: Option<QuestionTokens>,
}

/// What is looked for, for each question.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Nearest records of each vector.
    pub nearest: usize,
    /// How hard the index is searched.
    pub effort: Effort,
    /// Records that are marked: see [`Snapshot::is_marked`].
    pub marked: Option<&'a Filter>,
}

/// What was found for one question.
#[derive(Clone, Default)]
pub struct Matches {
    /// Nearest records, for a question with a vector.
    pub nearest: Nearest,
    /// Records by their words.
    pub words: WordScores,
}

/// Looks for all questions in the same state. With a filter, the caller has prepared it: see
/// [`Reads::search`](crate::Reads::search).
pub(crate) fn search(
    collection: &Arc<Collection>,
    now: i64,
    filter: Option<&Filter>,
    questions: &[&Question],
    wanted: Wanted<'_>,
) -> Result<(Snapshot, Vec<Matches>), StoreError> {
    // All of it is of one state; the lock is free before anything is computed, so that no write waits for a question.
    let snapshot = Snapshot::marking(collection, now, filter, wanted.marked);
    let surroundings = &snapshot.surroundings;
    let vectors: Vec<&[f32]> = questions.iter().filter_map(|q| q.vector.as_deref()).collect();
    let near = &|| snapshot.nearest(&vectors, wanted.nearest, wanted.effort);
    let has_both = !vectors.is_empty() && questions.iter().any(|q| !q.terms.is_empty());
    let is_long = has_both && snapshot.rows() >= ROWS_FOR_TWO_THREADS;
    // Vectors too are compared by this thread where the system gives no other.
    let (words, found) = std::thread::scope(|scope| {
        let other = is_long
            .then(|| std::thread::Builder::new().name("search".to_owned()).spawn_scoped(scope, near).ok())
            .flatten();
        let score_words = |question: &&Question| {
            if question.terms.is_empty() {
                return Ok(WordScores::default());
            }
            budget::check()?;
            let (own, rarity) = surroundings.texts.score_with_rarity(&question.terms)?;
            Ok(WordScores::new(own, rarity, snapshot.allowed.clone(), surroundings.clone()))
        };
        let words: Result<Vec<WordScores>, StoreError> = questions.iter().map(score_words).collect();
        let joined = other.map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        (words, joined.unwrap_or_else(near))
    });
    let (words, mut found) = (words?, found?.into_iter());
    let matches = questions.iter().zip(words).map(|(question, words)| Matches {
        nearest: question.vector.as_ref().and_then(|_| found.next()).unwrap_or_default(),
        words,
    });
    let matches = matches.collect();
    Ok((snapshot, matches))
}

/// The records around others in their sessions, at the time of asking.
#[derive(Debug)]
pub struct Neighbours {
    /// What the references are of.
    pub snapshot: Snapshot,
    /// For each record those before it, the nearest first, and those after it.
    pub around: Vec<(Vec<RecordRef>, Vec<RecordRef>)>,
}

/// Up to `before` and `after` records around each of `records` of a snapshot; `None` where one of these has changed
/// since. Those around are looked for in the state of now: a neighbour may have been written again.
pub(crate) fn neighbours(
    of: &Snapshot,
    records: &[RecordRef],
    (before, after): (usize, usize),
    now: i64,
    filter: Option<&Filter>,
) -> Option<Neighbours> {
    let collection = &of.collection;
    let state = collection.state();
    // A compaction may have given them other rows since.
    let row = |r: &RecordRef| state.slots.row(of.slots.slot(r.0)).filter(|&row| state.rows.contains(row));
    let rows = records.iter().map(row).collect::<Option<Vec<u32>>>()?;
    let snapshot = Snapshot::of(collection, &state, now, filter);
    let links = state.links.links().clone();
    drop(state);
    let walk = |row: u32, step: fn(&Links, u32) -> Option<u32>, most: usize| -> Vec<RecordRef> {
        let rows = std::iter::successors(step(&links, row), |&r| step(&links, r));
        rows.filter(|r| snapshot.allowed.rows().contains(*r)).take(most).map(RecordRef).collect()
    };
    let around = |row| (walk(row, Links::before, before), walk(row, Links::after, after));
    let around = rows.into_iter().map(around).collect();
    Some(Neighbours { snapshot, around })
}
