//! Recall: from a question to records.
//!
//! ```text
//! question ─▶ vector ─▶ index and fresh rows ─┐
//!          ├▶ terms ──▶ text index ───────────┴▶ fuse ─▶ late interaction ─▶ relevance ─▶ fetch ─▶ rerank, fold
//!          └▶ tokens ─────────────────────────────────────────┘                        ─▶ fit the budget ─▶ answer
//! ```

mod cache;
mod check;
mod find;
mod fit;
mod fusion;
mod hits;
mod interaction;
mod joined;
mod questions;
mod relevance;

pub(crate) use cache::AnswerCache;

use crate::collections::Collections;
use crate::models::Models;
use crate::{MemoryError, now};
use cache::question;
use check::{check, filter_of};
use find::{Judge, find};
use hits::{choose, hit, neighbours};
use membox_api::{HitOrder, RecallAnswer, RecallRequest, Timing};
use membox_store::{Store, StoreError, VectorsError};
use questions::questions;
use std::time::{Duration, Instant};

/// Hits of one answer.
const MAX_HITS: usize = 10_000;
/// Hits of one answer that are chosen by how they differ: each is held against each that is chosen already.
const MAX_DIVERSE_HITS: usize = 1000;
/// How long a recall looks again when what it found has changed before it was read. A commit is published in a
/// fraction of a millisecond, if the writer's thread gets its turn.
const PATIENCE: Duration = Duration::from_secs(2);

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
        let filter = filter_of(self.collections.limits, tenant, request)?;
        let collection = self.collections.collection(tenant, collection)?;
        let question = question(collection.id, request);
        let version = collection.version();
        if let Some(known) = question.as_ref().and_then(|q| self.answers.get(tenant, q, version, now())) {
            self.store.count_recalls(&collection, known.hits.iter().map(|hit| &hit.id));
            return Ok(RecallAnswer { took_ms: milliseconds(begun.elapsed()), ..known });
        }
        let mut timing = Timing::default();
        let asked = questions(self.models, tenant, &collection, request, &mut timing)?;
        let reads = self.store.read()?;
        let patience = Instant::now() + PATIENCE;
        let (found, mut chosen, around) = loop {
            let searched = Instant::now();
            let found = find(&reads, &collection, &asked, filter.as_ref(), request)?;
            timing.search = searched.elapsed();
            let fetched = Instant::now();
            let (mut chosen, changed) = choose(&found, &asked, request, &reads)?;
            if request.order == HitOrder::Time {
                chosen.sort_by_key(|hit| hit.stored.record.created_at);
            }
            let (around, moved) = neighbours(&found.snapshot, filter.as_ref(), &chosen, request, &reads)?;
            timing.rerank = fetched.elapsed();
            collection.check_there()?;
            if !(changed || moved) || Instant::now() > patience {
                break (found, chosen, around);
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
        if request.explain {
            let mut judge = Judge::of(&found, &asked, request.mode)?;
            for hit in &mut chosen {
                hit.explanation = Some(judge.explain(&hit.fused, &hit.stored.record.text)?);
            }
        }
        let hits = chosen
            .into_iter()
            .zip(around)
            .map(|(c, around)| hit(c, around, (&found.snapshot, &asked), request))
            .collect();
        let answer = RecallAnswer { hits, context, exact: found.exact, took_ms: milliseconds(begun.elapsed()), timing };
        self.store.count_recalls(&collection, answer.hits.iter().map(|hit| &hit.id));
        // One whose words were read before other synonyms came is of no state.
        if let Some(question) = question.filter(|_| found.snapshot.version().number == version) {
            self.answers.put(tenant, question, found.snapshot.version(), &answer);
        }
        Ok(answer)
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

pub(crate) fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
