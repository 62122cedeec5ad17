//! What each user has used of a language model and of the box, day by day, and the quotas that hold it in bounds.

use super::Policies;
use crate::audit::event;
use crate::fields::MAX_NAME_BYTES;
use crate::names::check_new;
use crate::{MemoryError, now};
use membox_api::{QuotaSettings, UsageReport, UsageView};
use membox_store::Store;
use membox_store::{AuditEvent, DayUsage, Quota, RecordReads, Spend, day};

const DAY_MS: i64 = 24 * 3600 * 1000;
/// Bytes of a day such as 2026-05-20.
const DAY_BYTES: usize = 10;

fn quota_settings(quota: Quota) -> QuotaSettings {
    let price_per_1000 = quota.micros_per_1000 as f64 / 1e6;
    QuotaSettings { tokens_per_day: quota.tokens_per_day as u64, price_per_1000 }
}

fn usage_view(used: DayUsage, quota: Option<Quota>) -> UsageView {
    let bound = quota.filter(|quota| quota.tokens_per_day > 0);
    let micros = quota.map_or(0, |quota| quota.micros_per_1000 as i128 * i128::from(used.tokens) / 1000);
    UsageView {
        cost: micros as f64 / 1e6,
        left: bound.map(|quota| (quota.tokens_per_day - used.tokens).max(0)),
        user: used.user,
        day: used.day,
        tokens: used.tokens,
        requests: used.requests,
        stored_tokens: used.stored_tokens,
        messages: used.messages,
    }
}

/// What users have used, and their quotas.
#[derive(Clone, Copy)]
pub struct Usage<'a> {
    pub(crate) store: &'a Store,
    pub(crate) policies: &'a Policies,
}

impl Usage<'_> {
    /// Notes tokens that a user is about to use, or has used. More than the quota's rest is refused, and nothing is
    /// noted: of two who ask at the same time for the last of it, one gets it.
    pub fn report_usage(&self, tenant: &str, report: UsageReport) -> Result<UsageView, MemoryError> {
        let UsageReport { user, tokens } = report;
        if user.is_empty() || user.len() > MAX_NAME_BYTES {
            return Err(MemoryError::invalid("/user", format!("1 to {MAX_NAME_BYTES} bytes are wanted")));
        }
        check_new(&user, "/user")?;
        if tokens.unsigned_abs() > 1 << 40 {
            return Err(MemoryError::impossible("/tokens", "no request has that many tokens"));
        }
        let now = now();
        let (tenant_of, day, default_quota) = (tenant.to_owned(), day(now), self.policies.of(tenant).quota());
        let spent = self.store.spend(Spend { tenant: tenant_of, user: user.clone(), day, tokens, default_quota })?;
        if spent.is_refused {
            let (used, quota) = (spent.used.tokens, spent.quota.map_or(0, |quota| quota.tokens_per_day));
            let retry_after_s = ((DAY_MS - now.rem_euclid(DAY_MS)) as u64).div_ceil(1000);
            return Err(MemoryError::QuotaExceeded { user, used, quota, retry_after_s });
        }
        Ok(usage_view(spent.used, spent.quota))
    }

    /// What a tenant's users have used, of one or of all, from a day to a day (both as 2026-05-20; today when left
    /// out): by day, and those who have used most first.
    pub fn usage(
        &self,
        tenant: &str,
        user: Option<&str>,
        from: Option<&str>,
        to: Option<&str>,
        limit: usize,
    ) -> Result<Vec<UsageView>, MemoryError> {
        let today = day(now());
        let (from, to) = (from.unwrap_or(&today), to.unwrap_or(&today));
        for (pointer, day) in [("/from", from), ("/to", to)] {
            if day.len() != DAY_BYTES || crate::time_millis(&format!("{day}T00:00:00Z")).is_none() {
                return Err(MemoryError::invalid(pointer, format!("{day:?} is not a day such as 2026-05-20")));
            }
        }
        let reads = self.store.read()?;
        let days = reads.usage(tenant, user, (from, to), limit)?;
        let view = |used: DayUsage| {
            let quota = reads.quota(tenant, &used.user)?.or(self.policies.of(tenant).quota());
            Ok(usage_view(used, quota))
        };
        days.into_iter().map(view).collect()
    }

    /// Sets a user's quota, or for an empty user that of all who have none of their own; `None` takes it away.
    pub fn set_quota(
        &self,
        tenant: &str,
        actor: &str,
        user: &str,
        quota: Option<QuotaSettings>,
    ) -> Result<(), MemoryError> {
        if user.len() > MAX_NAME_BYTES {
            return Err(MemoryError::invalid("/user", format!("at most {MAX_NAME_BYTES} bytes are possible")));
        }
        // The quota of a user who is there already can be taken away.
        if quota.is_some() {
            check_new(user, "/user")?;
        }
        let stored = quota.map(|q| Quota {
            tokens_per_day: q.tokens_per_day as i64,
            micros_per_1000: (q.price_per_1000 * 1e6).round() as i64,
        });
        if let (Some(given), Some(stored)) = (quota, stored) {
            if given.tokens_per_day > 1 << 50 {
                return Err(MemoryError::impossible("/tokens_per_day", "no day has that many tokens"));
            }
            if !(0.0..=1e9).contains(&given.price_per_1000) || quota_settings(stored) != given {
                let reason = "a price is 0 to 1000000000, and has six decimals at most";
                return Err(MemoryError::impossible("/price_per_1000", reason));
            }
        }
        let count = stored.map_or(0, |quota| quota.tokens_per_day as u64);
        let audit = AuditEvent { count, ..event(tenant, actor, "set quota", "") };
        Ok(self.store.set_quota(tenant, user, stored, audit)?)
    }

    /// The quota that holds for a user.
    pub fn quota(&self, tenant: &str, user: &str) -> Result<QuotaSettings, MemoryError> {
        let found = self.store.read()?.quota(tenant, user)?.or(self.policies.of(tenant).quota());
        found.map(quota_settings).ok_or_else(|| MemoryError::Missing { what: "quota of", id: user.to_owned() })
    }
}
