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
mod passages;
mod questions;
mod relevance;
mod spoken_time;

pub(crate) use cache::AnswerCache;
pub(crate) use questions::vector_error;

use crate::collections::Collections;
use crate::models::Models;
use crate::retry::retry;
use crate::{MemoryError, now};
use cache::question;
use check::{as_kept, check, filter_of};
use find::{Judge, find};
use fit::fit;
use hits::{Chosen, Neighbours, choose, hit, neighbours};
use membox_api::{AskedTime, HitOrder, RecallAnswer, RecallMode, RecallRequest, TimeUse, Timing};
use membox_store::{Condition, Filter, Store, time_millis, time_text};
use questions::questions;
use spoken_time::{SpokenTime, spoken_time};
use std::ops::Bound;
use std::time::{Duration, Instant};

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
    /// Answers a question to a collection. One that is moved to another model meanwhile is asked again.
    pub fn recall(&self, tenant: &str, collection: &str, request: &RecallRequest) -> Result<RecallAnswer, MemoryError> {
        retry(|| self.recall_once(tenant, collection, request).map(Some))
    }

    fn recall_once(
        &self,
        tenant: &str,
        collection: &str,
        request: &RecallRequest,
    ) -> Result<RecallAnswer, MemoryError> {
        let begun = Instant::now();
        check(request)?;
        self.collections.limits.check_top_k(tenant, request.k)?;
        let time = asked_time(request, now())?;
        let of_time = time.as_ref().map(of_time);
        let only = of_time.clone().filter(|_| request.time == TimeUse::Filter);
        let filter = filter_of(self.collections.limits, tenant, request, only)?;
        let collection = self.collections.collection(tenant, collection)?;
        let request = &as_kept(&collection.settings(), request)?;
        let marked = of_time.filter(|_| request.time == TimeUse::Boost && request.mode() == RecallMode::Hybrid);
        // What depends on the time of asking is not remembered.
        let is_timeless = time.is_none() || request.now.is_some();
        let question = question(collection.id, request).filter(|_| is_timeless);
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
            let found = find(&reads, &collection, &asked, filter.as_ref(), marked.as_ref(), request)?;
            timing.search = searched.elapsed();
            let fetched = Instant::now();
            let (chosen, changed) = choose(self.models, &collection, &found, &asked, request, &reads)?;
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
        let context =
            request.budget.as_ref().map(|budget| fit(self.models, &chosen, budget, request.order)).transpose()?;
        timing.compress = compressed.elapsed();
        if request.explain {
            let judge = Judge::of(&found, &asked, request.mode());
            for hit in &mut chosen {
                hit.explanation = Some(judge.explain(&hit.fused, &hit.stored.record)?);
            }
        }
        let mut hits: Vec<(Chosen, Neighbours)> = chosen.into_iter().zip(around).collect();
        if request.order == HitOrder::Time {
            hits.sort_by_key(|(hit, _)| hit.stored.record.created_at);
        }
        let seen = (&found.snapshot, &asked[..]);
        let hits = hits.into_iter().map(|(c, around)| hit(c, around, seen, request)).collect();
        let answer = RecallAnswer {
            hits,
            context,
            time: time.map(asked_view),
            exact: found.exact,
            took_ms: milliseconds(begun.elapsed()),
            timing,
        };
        self.store.count_recalls(&collection, answer.hits.iter().map(|hit| &hit.id));
        // One whose words were read before other synonyms came is of no state.
        if let Some(question) = question.filter(|_| found.snapshot.version().number == version) {
            self.answers.put(tenant, question, found.snapshot.version(), &answer);
        }
        Ok(answer)
    }
}

/// The time that a question speaks of, if that is looked at.
fn asked_time(request: &RecallRequest, now: i64) -> Result<Option<SpokenTime>, MemoryError> {
    let wrong = || MemoryError::invalid("/now", "RFC 3339 is wanted, such as 2026-05-20T15:00:00Z");
    let now = request.now.as_deref().map_or(Ok(now), |text| time_millis(text).ok_or_else(wrong))?;
    let question = request.query.as_deref().filter(|_| request.time != TimeUse::Off);
    Ok(question.and_then(|question| spoken_time(question, now)))
}

fn of_time(time: &SpokenTime) -> Filter {
    let range = Condition::Numbers(Bound::Included(time.span.start.into()), Bound::Excluded(time.span.end.into()));
    Filter::Field("created_at".to_owned(), range)
}

fn asked_view(SpokenTime { text, span }: SpokenTime) -> AskedTime {
    AskedTime { text, from: time_text(span.start), until: time_text(span.end) }
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
