//! What language models have used today for each tenant and for all, so that a restart makes no tokens.

use crate::{MemoryError, now};
use membox_api::LlmUsage;
use membox_llm::Llm;
use membox_store::{DayUsage, RecordReads, Store, day};

/// Under what the box counts its own usage: no key has this tenant.
const NO_TENANT: &str = "";
/// What all tenants have used together; followed by a tenant's name, what that one has.
const LANGUAGE_MODELS: &str = "language models";
const OF_TENANT: &str = "language models of ";

/// Adds what language models have used to what the user, the tenant and the box have used today.
pub(crate) fn count(store: &Store, tenant: &str, user: Option<&str>, used: LlmUsage) -> Result<(), MemoryError> {
    let tokens = i64::try_from(used.prompt_tokens.saturating_add(used.completion_tokens)).unwrap_or(i64::MAX);
    if tokens == 0 {
        return Ok(());
    }
    let today = day(now());
    let more = |tenant: &str, user: String| {
        let (day, requests) = (today.clone(), used.calls as i64);
        (tenant.to_owned(), DayUsage { user, day, tokens, requests, ..DayUsage::default() })
    };
    let of_user = user.map(|user| more(tenant, user.to_owned()));
    let of_tenant = more(NO_TENANT, format!("{OF_TENANT}{tenant}"));
    let of_box = more(NO_TENANT, LANGUAGE_MODELS.to_owned());
    Ok(store.add_usage(of_user.into_iter().chain([of_tenant, of_box]).collect())?)
}

/// Goes on with the day's budgets where the process before has left them.
pub(crate) fn resume(store: &Store, llm: &Llm) -> Result<(), MemoryError> {
    let today = day(now());
    for used in store.read()?.usage(NO_TENANT, None, (&today, &today), i64::MAX as usize)? {
        let tenant = used.user.strip_prefix(OF_TENANT);
        if tenant.is_some() || used.user == LANGUAGE_MODELS {
            llm.count_as_used(tenant, used.tokens.max(0) as u64);
        }
    }
    Ok(())
}

/// Forgets what was used for a tenant.
pub(crate) fn forget(store: &Store, tenant: &str) -> Result<(), MemoryError> {
    Ok(store.drop_usage(NO_TENANT, &format!("{OF_TENANT}{tenant}"))?)
}
