//! Tokens of a day.

use crate::LlmError;
use jiff::civil::Date;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many tokens are left today, in UTC: to all tenants together, and to each.
pub(crate) struct Budget {
    per_day: u64,
    per_tenant: u64,
    used: Mutex<Used>,
}

struct Used {
    day: Date,
    all: u64,
    tenants: HashMap<String, u64>,
}

fn today() -> Date {
    jiff::tz::Offset::UTC.to_datetime(jiff::Timestamp::now()).date()
}

impl Budget {
    /// So many tokens a day, and so many of each tenant; any number for 0.
    pub fn new(per_day: u64, per_tenant: u64) -> Self {
        Self { per_day, per_tenant, used: Mutex::new(Used { day: today(), all: 0, tenants: HashMap::new() }) }
    }

    /// What was used today.
    fn used(&self) -> MutexGuard<'_, Used> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let today = today();
        // A clock that is set back over midnight brings no tokens; one that was days ahead is right now.
        let is_set_back = today < used.day && today.tomorrow().is_ok_and(|tomorrow| used.day <= tomorrow);
        if used.day != today && !is_set_back {
            *used = Used { day: today, all: 0, tenants: HashMap::new() };
        }
        used
    }

    /// Whether a tenant has any left. The last answer may take more than there were.
    pub fn check(&self, tenant: &str) -> Result<(), LlmError> {
        let used = self.used();
        let of_tenant = used.tenants.get(tenant).copied().unwrap_or_default();
        if self.per_tenant > 0 && of_tenant >= self.per_tenant {
            return Err(LlmError::TenantBudget { budget: self.per_tenant });
        }
        if self.per_day > 0 && used.all >= self.per_day {
            return Err(LlmError::Budget { budget: self.per_day });
        }
        Ok(())
    }

    /// Takes tokens off those of all and of a tenant.
    pub fn spend(&self, tenant: &str, tokens: u64) {
        let mut used = self.used();
        used.all = used.all.saturating_add(tokens);
        let of_tenant = used.tenants.entry(tenant.to_owned()).or_default();
        *of_tenant = of_tenant.saturating_add(tokens);
    }

    /// Sets what a tenant, or all, have used today at least.
    pub fn resume(&self, tenant: Option<&str>, tokens: u64) {
        let mut used = self.used();
        match tenant {
            None => used.all = used.all.max(tokens),
            Some(tenant) => {
                let of_tenant = used.tenants.entry(tenant.to_owned()).or_default();
                *of_tenant = tokens.max(*of_tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_so_many_tokens_and_the_next_one_as_many_again() {
        let budget = Budget::new(100, 0);
        budget.spend("a", 99);
        assert!(budget.check("a").is_ok());
        budget.spend("a", 50);
        assert!(matches!(budget.check("b"), Err(LlmError::Budget { budget: 100 })));
        budget.used.lock().expect("no panic").day = today().yesterday().expect("a day");
        assert!(budget.check("a").is_ok(), "that was yesterday");
        budget.spend("a", 1);
        assert!(budget.check("a").is_ok());
        budget.spend("a", 100);
        budget.used.lock().expect("no panic").day = today().tomorrow().expect("a day");
        assert!(budget.check("a").is_err(), "a clock that is set back over midnight brings none");
        let days = jiff::Span::new().days(2);
        budget.used.lock().expect("no panic").day = today().checked_add(days).expect("a day");
        assert!(budget.check("a").is_ok(), "a clock that was days ahead takes none");
        assert!(Budget::new(0, 0).check("a").is_ok());
    }

    #[test]
    fn a_tenant_uses_up_its_own_tokens_and_not_those_of_others() {
        let budget = Budget::new(100, 50);
        budget.spend("a", 50);
        assert!(matches!(budget.check("a"), Err(LlmError::TenantBudget { budget: 50 })));
        assert!(budget.check("b").is_ok());
        budget.spend("b", u64::MAX);
        assert!(matches!(budget.check("c"), Err(LlmError::Budget { .. })));
    }

    #[test]
    fn what_another_process_has_used_counts() {
        let budget = Budget::new(100, 50);
        budget.resume(None, 60);
        budget.resume(Some("a"), 50);
        assert!(budget.check("a").is_err() && budget.check("b").is_ok());
        budget.spend("b", 40);
        assert!(matches!(budget.check("b"), Err(LlmError::Budget { .. })));
    }
}
