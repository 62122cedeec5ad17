//! Answers that are remembered: the same question to the same records has the same answer, and is not looked for again.
//!
//! An answer is of one state of its collection, which has a number that no other state has
//! (`StateVersion::number`): any write that is published gives another, and so does an index that is swapped in. So
//! an answer is given out exactly as long as nothing was written that could change it, and no longer than the next
//! record expires. What depends on the time of asking (recency) is not remembered. Each tenant has its own; what
//! one asks pushes out no other's.

use lru::LruCache;
use membox_api::{RecallAnswer, RecallRequest, Timing};
use membox_store::StateVersion;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Bytes of a tenant's answers; the least recently asked for go first.
const MAX_BYTES: usize = 16 << 20;
/// An answer larger than this is not remembered: it would push out too many others.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// A question to a collection, as it was asked.
type Question = (i64, String);

struct Answer {
    of: StateVersion,
    bytes: usize,
    answer: RecallAnswer,
}

struct OfTenant {
    answers: LruCache<Question, Answer>,
    bytes: usize,
}

/// The answers of all tenants.
pub(crate) struct AnswerCache {
    most: Option<NonZeroUsize>,
    tenants: Mutex<HashMap<String, OfTenant>>,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// How a question is remembered, if its answer depends on the collection's state alone.
pub(crate) fn question(collection: i64, request: &RecallRequest) -> Option<Question> {
    let depends_on_time = request.rerank.as_ref().is_some_and(|rerank| rerank.recency_weight.is_some());
    // A given vector would be a key of kilobytes, and is hardly ever given twice.
    (!depends_on_time && request.vector.is_none()).then(|| (collection, format!("{request:?}")))
}

impl AnswerCache {
    /// As many for each tenant; none for 0.
    pub fn new(most: usize) -> Self {
        let (hits, misses) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { most: NonZeroUsize::new(most), tenants: Mutex::default(), hits, misses }
    }

    /// The answer to a question at `now`, if it is that of the collection's state.
    pub fn get(&self, tenant: &str, question: &Question, version: u64, now: i64) -> Option<RecallAnswer> {
        self.most?;
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let own = tenants.get_mut(tenant);
        let found = own.and_then(|own| {
            let known = own.answers.get(question)?;
            if known.of.number == version && now < known.of.until {
                return Some(known.answer.clone());
            }
            own.bytes -= own.answers.pop(question).map_or(0, |stale| stale.bytes);
            None
        });
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Remembers the answer to a question.
    pub fn put(&self, tenant: &str, question: Question, of: StateVersion, answer: &RecallAnswer) {
        let bytes = size(&question, answer);
        let Some(most) = self.most.filter(|_| bytes <= MAX_ANSWER_BYTES) else { return };
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let own =
            tenants.entry(tenant.to_owned()).or_insert_with(|| OfTenant { answers: LruCache::new(most), bytes: 0 });
        let answer = RecallAnswer { timing: Timing::default(), ..answer.clone() };
        own.bytes += bytes;
        // What it replaces, or what has to go for it.
        own.bytes -= own.answers.push(question, Answer { of, bytes, answer }).map_or(0, |(_, old)| old.bytes);
        while own.bytes > MAX_BYTES {
            let Some((_, oldest)) = own.answers.pop_lru() else { break };
            own.bytes -= oldest.bytes;
        }
    }

    /// Forgets a tenant's answers.
    pub fn forget(&self, tenant: &str) {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }

    /// How often an answer was remembered, and how often it was not.
    pub fn counts(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }
}

/// Bytes that a question and its answer take, about.
fn size(question: &Question, answer: &RecallAnswer) -> usize {
    let of_json = |value: &serde_json::Map<String, serde_json::Value>| {
        value.iter().map(|(key, value)| key.len() + value.to_string().len() + 32).sum::<usize>()
    };
    let of_hit = |hit: &membox_api::Hit| {
        let around = hit.before.iter().chain(&hit.after).map(|near| near.id.len() + near.text.len() + 48);
        let texts = hit.text.as_ref().map_or(0, String::len) + hit.id.len() + around.sum::<usize>();
        let vector = hit.vector.as_ref().map_or(0, |vector| vector.len() * 4);
        256 + texts + vector + hit.metadata.as_ref().map_or(0, of_json)
    };
    let context = answer
        .context
        .as_ref()
        .map_or(0, |context| context.text.len() + context.dropped.iter().map(|id| id.len() + 24).sum::<usize>());
    128 + question.1.len() + context + answer.hits.iter().map(of_hit).sum::<usize>()
}
