//! Who is left alone for a while.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Questions of a tenant in a row that come to nothing before the tenant rests.
const MAX_FAILURES: u32 = 3;

/// The rest of an endpoint: when it began, and why.
#[derive(Debug, Default)]
pub(crate) struct EndpointRest(Mutex<Option<(Instant, String)>>);

impl EndpointRest {
    fn lock(&self) -> MutexGuard<'_, Option<(Instant, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn begin(&self, reason: &str) {
        *self.lock() = Some((Instant::now(), reason.to_owned()));
    }

    pub fn end(&self) {
        *self.lock() = None;
    }

    /// How long ago a rest of `length` began that is not over, and why.
    pub fn since(&self, length: Duration) -> Option<(Duration, String)> {
        let rest = self.lock();
        let (at, reason) = rest.as_ref()?;
        (at.elapsed() < length).then(|| (at.elapsed(), reason.clone()))
    }
}

/// Tenants whose questions have come to nothing: how many in a row, when the last one, and why.
#[derive(Debug, Default)]
pub(crate) struct TenantRests(Mutex<HashMap<String, (u32, Instant, String)>>);

impl TenantRests {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, (u32, Instant, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn failed(&self, tenant: &str, reason: &str) {
        let mut tenants = self.lock();
        let failures = tenants.get(tenant).map_or(0, |(failures, ..)| *failures);
        tenants.insert(tenant.to_owned(), (failures.saturating_add(1), Instant::now(), reason.to_owned()));
    }

    pub fn answered(&self, tenant: &str) {
        self.lock().remove(tenant);
    }

    /// Why a tenant rests, if it does.
    pub fn reason(&self, tenant: &str, length: Duration) -> Option<String> {
        let tenants = self.lock();
        let (failures, at, reason) = tenants.get(tenant)?;
        (*failures >= MAX_FAILURES && at.elapsed() < length).then(|| reason.clone())
    }
}
