//! Limits of a tenant, beside those that the box has for everybody: what a request may ask, and what may be stored.
//!
//! The idea and most of the names are those of Qdrant's strict mode, which has them by collection. Two things differ.
//! They are a tenant's, who could make another collection. And what is stored is counted ahead: whatever is admitted
//! is added to the last count, and only a tenant that seems to be over a limit is counted anew. So a limit is never
//! passed, and to be below it costs nothing.

use super::policy::Policies;
use super::tenant_limits::{TenantLimits, check_asked, check_stored};
use crate::MemoryError;
use membox_store::{Filter, Footprint, Store};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// After how long a tenant that is over a limit is counted anew, at least, where nothing was admitted since.
const MIN_COUNT_INTERVAL: Duration = Duration::from_secs(1);
/// At most this part of the time is spent on counting.
const COUNT_SHARE: u32 = 20;

/// What tenants have stored, as far as it was counted.
#[derive(Debug, Default)]
pub(crate) struct StoredCounts(Mutex<HashMap<String, Count>>);

#[derive(Clone, Copy, Debug)]
struct Count {
    /// What was counted, and what has been admitted since.
    stored: Footprint,
    /// Whether something has been admitted since: what it replaced was counted too.
    is_ahead: bool,
    counted_at: Instant,
    /// How long it took to count.
    took: Duration,
}

impl Count {
    fn may_be_repeated(&self, now: Instant) -> bool {
        let least = if self.is_ahead { Duration::ZERO } else { MIN_COUNT_INTERVAL };
        now.duration_since(self.counted_at) >= least.max(self.took * COUNT_SHARE)
    }
}

/// Holds tenants to their limits.
#[derive(Clone, Copy)]
pub(crate) struct Limits<'a> {
    pub store: &'a Store,
    pub policies: &'a Policies,
    pub counts: &'a StoredCounts,
}

impl Limits<'_> {
    fn of(&self, tenant: &str) -> &TenantLimits {
        &self.policies.of(tenant).limits
    }

    /// Refuses a recall of too many.
    pub fn check_top_k(&self, tenant: &str, k: usize) -> Result<(), MemoryError> {
        check_asked("max_top_k", self.of(tenant).max_top_k, k as u64, "/k")
    }

    /// Reads a filter.
    pub fn filter(&self, tenant: &str, filter: &Value) -> Result<Filter, MemoryError> {
        let parsed = Filter::parse(filter, "/filter")?;
        let conditions = parsed.conditions() as u64;
        check_asked("max_filter_conditions", self.of(tenant).max_filter_conditions, conditions, "/filter")?;
        Ok(parsed)
    }

    /// Refuses one more collection where there are as many as there may be.
    pub fn check_new_collection(&self, tenant: &str) -> Result<(), MemoryError> {
        let Some(most) = self.of(tenant).max_collections else { return Ok(()) };
        let there = self.store.collection_names(Some(tenant)).len() as u64;
        check_stored("max_collections", Some(most), there + 1)
    }

    /// How many jobs of a tenant there may be.
    pub fn max_jobs(&self, tenant: &str) -> Option<u64> {
        self.of(tenant).max_jobs
    }

    /// Counts what is about to be stored, or refuses it.
    pub fn admit(&self, tenant: &str, more: impl FnOnce() -> Footprint) -> Result<(), MemoryError> {
        let limits = self.of(tenant);
        let (max_records, max_bytes, max_sessions) = (limits.max_records, limits.max_stored_bytes, limits.max_sessions);
        if max_records.or(max_bytes).or(max_sessions).is_none() {
            return Ok(());
        }
        let more = more();
        let check = |stored: Footprint| {
            let mut after = stored;
            after += more;
            check_stored("max_records", max_records.filter(|_| more.records > 0), after.records)?;
            check_stored("max_sessions", max_sessions.filter(|_| more.sessions > 0), after.sessions)?;
            check_stored("max_stored_bytes", max_bytes, after.bytes)?;
            Ok(after)
        };
        let mut counts = self.counts.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = counts.get(tenant).copied();
        let checked = known.map(|count| check(count.stored));
        let count = match (known, checked) {
            (Some(count), Some(Ok(after))) => Count { stored: after, is_ahead: true, ..count },
            (Some(count), Some(Err(error))) if !count.may_be_repeated(Instant::now()) => return Err(error),
            _ => {
                // Others of the box go on meanwhile; two of one tenant may both count.
                drop(counts);
                let count = self.count(tenant)?;
                counts = self.counts.0.lock().unwrap_or_else(PoisonError::into_inner);
                let after = check(count.stored);
                counts.insert(tenant.to_owned(), count);
                Count { stored: after?, is_ahead: true, ..count }
            }
        };
        counts.insert(tenant.to_owned(), count);
        Ok(())
    }

    fn count(&self, tenant: &str) -> Result<Count, MemoryError> {
        let begun = Instant::now();
        let stored = self.store.footprint(tenant)?;
        let counted_at = Instant::now();
        Ok(Count { stored, is_ahead: false, counted_at, took: counted_at.duration_since(begun) })
    }
}
