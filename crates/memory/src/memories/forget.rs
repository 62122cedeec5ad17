//! Forgetting: the least valuable memories go first, until so many are left.
//!
//! A memory is worth its importance (0.5 where it says nothing) times `1 + ln(1 + heat)`, its heat being how often
//! it was recalled lately, halved with each half-life since it was made or last recalled. One that is pinned
//! (`metadata.pinned`) stays, and so do messages in a session's list, which has a cap of its own.

use super::Memories;
use crate::retry::retry;
use crate::views::record_view;
use crate::{MemoryError, now};
use membox_api::{ForgetAnswer, ForgetRequest, ForgottenMemory};
use membox_store::{Filter, Message, RecallCount, RecordReads, StoredRecord};
use serde_json::Value;

/// What a memory is worth that does not say.
const IMPORTANCE: f64 = 0.5;
/// Thirty days.
const HALF_LIFE_S: f64 = 2_592_000.0;
/// Memories that an answer shows.
const SHOWN: usize = 100;

impl Memories<'_> {
    /// Deletes the least valuable memories of a collection until `keep` are left, all in one commit.
    pub fn forget(
        &self,
        tenant: &str,
        actor: &str,
        name: &str,
        request: &ForgetRequest,
    ) -> Result<ForgetAnswer, MemoryError> {
        let half_life = request.half_life_s.unwrap_or(HALF_LIFE_S);
        if !(half_life > 0.0 && half_life.is_finite()) {
            return Err(MemoryError::impossible("/half_life_s", "a half-life is more than 0 seconds"));
        }
        let filter =
            request.filter.as_ref().map(|filter| self.collections.limits.filter(tenant, filter)).transpose()?;
        // Where somebody has written to one of them meanwhile, it is worth another look; nothing was deleted.
        retry(|| self.forget_once(tenant, actor, name, request, filter.as_ref(), half_life).map(Some))
    }

    fn forget_once(
        &self,
        tenant: &str,
        actor: &str,
        name: &str,
        request: &ForgetRequest,
        filter: Option<&Filter>,
        half_life: f64,
    ) -> Result<ForgetAnswer, MemoryError> {
        let collection = self.collections.collection(tenant, name)?;
        // What was recalled until now counts.
        self.store.write_recall_counts()?;
        let reads = self.store.read()?;
        let snapshot = reads.snapshot(&collection, filter)?;
        let recalls = reads.recall_counts(collection.id)?;
        let (now, mut counted, mut pinned, mut worth) = (now(), 0usize, 0, Vec::new());
        reads.each_record(&snapshot, |stored| {
            let r = &stored.record;
            let is_listed = r.message.as_ref().is_some_and(Message::is_listed);
            let is_of_user = request.user.is_none() || r.user == request.user;
            if is_of_user && !is_listed {
                counted += 1;
                if r.metadata.get("pinned") == Some(&Value::Bool(true)) {
                    pinned += 1;
                } else {
                    let recalled = recalls.get(&stored.seq).copied();
                    worth.push((value(&stored, recalled, now, half_life), stored.seq, r.id.clone(), stored.version));
                }
            }
            true
        })?;
        worth.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        worth.truncate(counted.saturating_sub(request.keep));
        let mut memories = Vec::new();
        for &(worth, seq, ref id, _) in worth.iter().take(SHOWN) {
            let heat = recalls.get(&seq).map_or(0.0, |recalled| recalled.heat_at(now));
            let shown = |stored| ForgottenMemory { record: record_view(stored), worth, heat };
            memories.extend(reads.record(collection.id, id)?.map(shown));
        }
        drop(reads);
        let mut forgotten = worth.len();
        if !request.dry_run {
            let ids = worth.into_iter().map(|(.., id, version)| (id, Some(version))).collect();
            forgotten = self.records.delete(tenant, actor, name, ids)?;
        }
        Ok(ForgetAnswer { counted, pinned, forgotten, memories })
    }
}

fn value(stored: &StoredRecord, used: Option<RecallCount>, now: i64, half_life: f64) -> f64 {
    let since = used.map_or(stored.record.created_at, |used| used.recalled_at.max(stored.record.created_at));
    let (age, heat) = ((now - since).max(0) as f64 / 1000.0, used.map_or(0.0, |used| used.heat_at(now)));
    stored.record.importance.unwrap_or(IMPORTANCE) * (1.0 + heat.ln_1p()) * 0.5f64.powf(age / half_life)
}
