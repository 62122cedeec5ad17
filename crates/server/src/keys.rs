//! API keys. A key belongs to a tenant. Only its hash is kept, and the keys of a running server can be replaced.

use crate::ServerError;
use crate::access::Reach;
use crate::auth::Peer;
use crate::problem::Problem;
use crate::rate::{Bucket, Throttle, WrongKeys};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use membox_api::{Access, ApiKeyView};
use membox_memory::keys::hex;
use membox_memory::{now, time_text};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;

/// A key as it is kept: only its hash is in memory.
#[derive(Clone, Debug)]
pub struct ApiKey {
    sha256: [u8; 32],
    tenant: String,
    /// What it may do.
    access: Access,
    /// The part of the tenant that it reaches.
    reach: Arc<Reach>,
    /// How often it may ask, if that is bounded.
    rate: Option<Arc<Bucket>>,
    /// When it ends, in milliseconds since 1970.
    expires_at: Option<i64>,
    /// What it is for and when it was made, where it is of the file of keys.
    managed: Option<(Arc<str>, i64)>,
}

impl ApiKey {
    /// The key that a client sends, and whose it is.
    pub fn new(key: &str, tenant: impl Into<String>) -> Self {
        Self::of_sha256(Sha256::digest(key).into(), tenant)
    }

    /// The key that has this SHA-256.
    pub fn of_sha256(sha256: [u8; 32], tenant: impl Into<String>) -> Self {
        let (access, reach) = (Access::default(), Arc::default());
        Self { sha256, tenant: tenant.into(), access, reach, rate: None, expires_at: None, managed: None }
    }

    /// The same key, which may do this much.
    pub fn with_access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// The same key, which reaches this much.
    pub fn with_reach(self, reach: Reach) -> Self {
        Self { reach: Arc::new(reach), ..self }
    }

    /// The same key, which may ask so often a second.
    pub fn with_rate(self, per_second: f64) -> Self {
        Self { rate: Some(Arc::new(Bucket::new(per_second))), ..self }
    }

    /// The same key, which is refused from then on (milliseconds since 1970).
    pub fn with_expiry(self, expires_at: i64) -> Self {
        Self { expires_at: Some(expires_at), ..self }
    }

    /// The same key, which is of the file of keys.
    pub(crate) fn managed(self, name: &str, created_at: i64) -> Self {
        Self { managed: Some((name.into(), created_at)), ..self }
    }

    /// Whether clients send the same for both.
    pub fn is_same_key(&self, other: &Self) -> bool {
        self.sha256.ct_eq(&other.sha256).into()
    }

    /// Whether nothing at all differs.
    fn is_equal(&self, other: &Self) -> bool {
        self.is_same_key(other)
            && self.tenant == other.tenant
            && self.access == other.access
            && self.reach == other.reach
            && self.expires_at == other.expires_at
            && self.per_second() == other.per_second()
    }

    /// Whose it is.
    pub(crate) fn tenant(&self) -> &str {
        &self.tenant
    }

    /// What it may do.
    pub(crate) fn access(&self) -> Access {
        self.access
    }

    /// The part of its tenant that it reaches.
    pub(crate) fn reach(&self) -> &Arc<Reach> {
        &self.reach
    }

    /// What the audit log calls it: the beginning of its hash.
    pub(crate) fn actor(&self) -> String {
        format!("key:{}", self.id())
    }

    /// The beginning of its hash, by which it is revoked.
    pub(crate) fn id(&self) -> String {
        hex(&self.sha256[..6])
    }

    /// How often it may ask a second, if that is bounded.
    pub(crate) fn per_second(&self) -> Option<f64> {
        self.rate.as_ref().map(|rate| rate.per_second())
    }

    /// When it ends, in milliseconds since 1970.
    pub(crate) fn expires_at(&self) -> Option<i64> {
        self.expires_at
    }

    /// As it is listed.
    pub(crate) fn view(&self) -> ApiKeyView {
        let [collections, sessions, users] = self.reach.lists();
        ApiKeyView {
            id: self.id(),
            name: self.managed.as_ref().map(|(name, _)| name.to_string()),
            tenant: self.tenant.clone(),
            access: self.access,
            collections,
            sessions,
            users,
            requests_per_second: self.per_second(),
            expires_at: self.expires_at.map(time_text),
            expired: self.expires_at.is_some_and(|end| now() >= end),
            created_at: self.managed.as_ref().map(|(_, made)| time_text(*made)),
            managed: self.managed.is_some(),
        }
    }

    /// Takes one of the requests that it may send, or says how long it will be until there is one.
    pub(crate) fn take(&self, now: Instant) -> Result<(), Duration> {
        self.rate.as_ref().map_or(Ok(()), |rate| rate.take(now))
    }
}

/// The keys of a moment.
#[derive(Debug, Default)]
pub struct KeySet {
    of_settings: Vec<ApiKey>,
    /// Those of the file of keys; `None` where there is no such file. One without any keys lets nobody in.
    managed: Option<Vec<ApiKey>>,
    of_metrics: Option<ApiKey>,
}

impl KeySet {
    /// Whether everybody may ask.
    pub fn is_open(&self) -> bool {
        self.of_settings.is_empty() && self.managed.is_none()
    }

    /// Those of the settings that ask for a tenant.
    pub fn of_settings(&self) -> impl Iterator<Item = &ApiKey> {
        self.of_settings.iter()
    }

    /// Those of the file of keys.
    pub fn managed(&self) -> impl Iterator<Item = &ApiKey> {
        self.managed.iter().flatten()
    }

    /// Those that ask for a tenant.
    pub fn of_tenants(&self) -> impl Iterator<Item = &ApiKey> {
        self.of_settings().chain(self.managed())
    }

    /// Those that may see metrics.
    pub fn all(&self) -> impl Iterator<Item = &ApiKey> {
        self.of_tenants().chain(&self.of_metrics)
    }

    /// Refuses a key that is in the settings and in the file.
    fn check(&self) -> Result<(), ServerError> {
        let both =
            self.managed().find(|key| self.of_settings().chain(&self.of_metrics).any(|own| own.is_same_key(key)));
        both.map_or(Ok(()), |key| Err(ServerError::SameKey(key.id())))
    }

    /// Whether a key shows the metrics of all tenants.
    pub fn is_of_metrics(&self, key: &ApiKey) -> bool {
        self.of_metrics.as_ref().is_some_and(|own| own.is_same_key(key))
    }
}

/// How many keys a change has touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyChanges {
    /// Those that were not there.
    pub added: usize,
    /// Those that are not there any more.
    pub removed: usize,
    /// Those that have another tenant, access, reach, rate or expiry.
    pub changed: usize,
    /// Those that are as they were.
    pub kept: usize,
}

/// The keys of a running server. They are replaced as a whole, between two requests.
#[derive(Debug)]
pub struct Keys {
    current: RwLock<Arc<KeySet>>,
    wrong: WrongKeys,
    log: Throttle,
    /// What the audit log is still to say of refused keys; as seldom as the log does.
    refusals: Mutex<Vec<Refusals>>,
}

/// Requests that were refused by their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusals {
    /// Where the last one came from.
    pub peer: String,
    /// How many, since this was last said.
    pub times: u64,
}

impl Keys {
    pub(crate) fn new(of_tenants: Vec<ApiKey>, of_metrics: Option<ApiKey>) -> Self {
        let keys = KeySet { of_settings: of_tenants, managed: None, of_metrics };
        Self {
            current: RwLock::new(Arc::new(keys)),
            wrong: WrongKeys::default(),
            log: Throttle::default(),
            refusals: Mutex::default(),
        }
    }

    /// Takes what the audit log is to say of refused keys.
    pub(crate) fn take_refusals(&self) -> Vec<Refusals> {
        std::mem::take(&mut self.refusals.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Those that hold now.
    pub(crate) fn current(&self) -> Arc<KeySet> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether everybody may ask.
    pub(crate) fn is_open(&self) -> bool {
        self.current().is_open()
    }

    /// Replaces the keys of the settings that may ask, and the one for metrics. What a key has used of its rate stays
    /// used. A box that has keys is not left open.
    pub fn replace(&self, mut of_settings: Vec<ApiKey>, of_metrics: Option<ApiKey>) -> Result<KeyChanges, ServerError> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let old: Vec<&ApiKey> = current.of_settings().chain(&current.of_metrics).collect();
        let mut of_metrics = of_metrics;
        let next: Vec<&mut ApiKey> = of_settings.iter_mut().chain(&mut of_metrics).collect();
        let changes = changes(&old, next);
        let next = KeySet { of_settings, managed: current.managed.clone(), of_metrics };
        if next.is_open() && !current.is_open() {
            return Err(ServerError::NoKeys);
        }
        next.check()?;
        *current = Arc::new(next);
        Ok(changes)
    }

    /// Replaces the keys of the file of keys, as [`Self::replace`] does those of the settings. From the first time on
    /// nobody may ask without a key.
    pub(crate) fn replace_managed(&self, mut managed: Vec<ApiKey>) -> Result<KeyChanges, ServerError> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let changes = changes(&current.managed().collect::<Vec<_>>(), managed.iter_mut().collect());
        let (of_settings, of_metrics) = (current.of_settings.clone(), current.of_metrics.clone());
        let next = KeySet { of_settings, managed: Some(managed), of_metrics };
        next.check()?;
        *current = Arc::new(next);
        Ok(changes)
    }

    /// Which of some keys a request was sent with. One that is refused is counted, and logged once in a while: by who
    /// sent it, never by what it is. An address that sends many wrong ones hears 429; a right one passes from there
    /// too, since a proxy's address is that of many.
    pub(crate) fn known<'a>(
        &self,
        keys: impl Iterator<Item = &'a ApiKey>,
        request: &Parts,
    ) -> Result<&'a ApiKey, Problem> {
        let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
        // Clients of mem0's own server and of agent-memory-server say it so.
        let other = || header("x-api-key").map(|key| Cow::from(format!("Bearer {key}")));
        let given = header(header::AUTHORIZATION.as_str()).map(Cow::from).or_else(other);
        let given = given.ok_or_else(|| unauthorized("send a key: Authorization: Bearer KEY"))?;
        let (peer, at) = (Peer::of(request), Instant::now());
        let (reason, problem) = match find(keys, &given) {
            None => match self.wrong.count(peer.0.map(|address| address.ip()), at) {
                Ok(()) => ("unknown", unauthorized("this key is not known here")),
                Err(wait) => {
                    let detail = "this key is not known here, and too many wrong ones came from this address";
                    ("slowed", Problem::busy(StatusCode::TOO_MANY_REQUESTS, detail, wait))
                }
            },
            Some(key) => match key.expires_at.filter(|end| now() >= *end) {
                None => return Ok(key),
                Some(end) => ("expired", unauthorized(format!("this key has expired, at {}", time_text(end)))),
            },
        };
        metrics::counter!("membox_refused_keys_total", "reason" => reason).increment(1);
        if let Some(times) = self.log.count(at) {
            tracing::warn!(status = problem.status, %peer, reason, times, "a request was refused by its key");
            let peer = peer.0.map_or_else(|| "unknown".to_owned(), |address| address.ip().to_string());
            self.refusals.lock().unwrap_or_else(PoisonError::into_inner).push(Refusals { peer, times });
        }
        Err(problem)
    }
}

/// Keeps what keys have used of their rates, and counts what differs.
fn changes(old: &[&ApiKey], next: Vec<&mut ApiKey>) -> KeyChanges {
    let mut changes = KeyChanges::default();
    let is_gone = |own: &&&ApiKey| !next.iter().any(|key| key.is_same_key(own));
    changes.removed = old.iter().filter(is_gone).count();
    for key in next {
        match old.iter().find(|own| own.is_same_key(key)) {
            Some(own) if own.is_equal(key) => {
                key.rate.clone_from(&own.rate);
                changes.kept += 1;
            }
            Some(_) => changes.changed += 1,
            None => changes.added += 1,
        }
    }
    changes
}

/// The key that an authorization header gives. Hashes are compared, all of them and in constant time, so that the time
/// taken tells nothing about a key.
fn find<'a>(keys: impl Iterator<Item = &'a ApiKey>, authorization: &str) -> Option<&'a ApiKey> {
    let (scheme, key) = authorization.split_once(' ')?;
    let given: [u8; 32] = Sha256::digest(key.trim()).into();
    let found = keys.fold(None, |found, key| if key.sha256.ct_eq(&given).into() { Some(key) } else { found });
    // mem0's clients say Token.
    found.filter(|_| ["bearer", "token"].iter().any(|known| scheme.eq_ignore_ascii_case(known)))
}

fn unauthorized(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn request(authorization: &str) -> Parts {
        Request::builder().header("authorization", authorization).body(()).expect("a request").into_parts().0
    }

    fn answer(keys: &Keys, authorization: &str) -> Result<String, String> {
        let current = keys.current();
        let known = keys.known(current.of_tenants(), &request(authorization));
        known.map(|key| key.tenant().to_owned()).map_err(|problem| problem.detail.clone())
    }

    #[test]
    fn a_key_is_known_by_its_hash_until_it_expires() {
        let hashed = ApiKey::of_sha256(Sha256::digest("beta").into(), "b");
        let old = ApiKey::new("gamma", "c").with_expiry(now() - 1);
        let keys = Keys::new(vec![ApiKey::new("alpha", "a"), hashed.with_expiry(now() + 60_000), old], None);
        assert_eq!(answer(&keys, "Bearer alpha"), Ok("a".to_owned()));
        assert_eq!(answer(&keys, "bearer  beta"), Ok("b".to_owned()));
        assert_eq!(answer(&keys, "Token alpha"), Ok("a".to_owned()));
        let by_header = |name: &str, key: &str| {
            let request = Request::builder().header(name, key).body(()).expect("a request").into_parts().0;
            let current = keys.current();
            keys.known(current.of_tenants(), &request).map(|key| key.tenant.clone()).map_err(|problem| problem.status)
        };
        assert_eq!(by_header("x-api-key", "alpha"), Ok("a".to_owned()));
        assert_eq!((by_header("x-api-key", "none"), by_header("x-key", "alpha")), (Err(401), Err(401)));
        assert!(answer(&keys, "Bearer gamma").is_err_and(|detail| detail.contains("has expired, at 20")));
        for wrong in ["Bearer delta", "Basic alpha", "alpha", "Bearer", "Bearer "] {
            assert!(answer(&keys, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_are_replaced_as_a_whole_and_keep_what_they_have_used() {
        let bound = |name: &str| ApiKey::new(name, "a").with_rate(1.0);
        let keys = Keys::new(vec![bound("one"), bound("two"), bound("three")], None);
        let began = Instant::now();
        assert!(keys.current().of_tenants().all(|key| key.take(began).is_ok()));
        let next = vec![bound("one"), bound("two").with_rate(2.0), ApiKey::new("four", "d")];
        let changes = keys.replace(next, Some(ApiKey::new("metrics", ""))).expect("keys");
        assert_eq!(changes, KeyChanges { added: 2, removed: 1, changed: 1, kept: 1 });
        let takes: Vec<bool> = keys.current().of_tenants().map(|key| key.take(began).is_ok()).collect();
        assert_eq!(takes, [false, true, true]);
        assert!(answer(&keys, "Bearer three").is_err() && answer(&keys, "Bearer four").is_ok());
        assert!(answer(&keys, "Bearer metrics").is_err(), "it is no tenant's");
        assert!(matches!(keys.replace(Vec::new(), None), Err(ServerError::NoKeys)));
        assert!(answer(&keys, "Bearer four").is_ok(), "a box is not left open");
    }
}
