//! API keys. A key belongs to a tenant, and everything of a request is looked up within its tenant.

use crate::problem::Problem;
use crate::rate::Bucket;
use crate::state::AppState;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use membox_memory::keys::hex;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Instant;

/// The tenant of a box without keys.
pub const DEFAULT_TENANT: &str = "default";

/// A key as it is kept: only its hash is in memory.
#[derive(Clone, Debug)]
pub struct ApiKey {
    sha256: [u8; 32],
    tenant: String,
    /// How often it may ask, if that is bounded.
    rate: Option<Arc<Bucket>>,
}

impl ApiKey {
    /// The key that a client sends, and whose it is.
    pub fn new(key: &str, tenant: impl Into<String>) -> Self {
        Self { sha256: Sha256::digest(key).into(), tenant: tenant.into(), rate: None }
    }

    /// Whose it is.
    pub(crate) fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The same key, which may ask so often a second.
    pub fn with_rate(self, per_second: f64) -> Self {
        Self { rate: Some(Arc::new(Bucket::new(per_second))), ..self }
    }

    /// The one of `keys` that an authorization header gives. Hashes are compared, so the time taken tells nothing
    /// about a key.
    pub(crate) fn given<'a>(keys: impl IntoIterator<Item = &'a Self>, authorization: &str) -> Option<&'a Self> {
        let (scheme, key) = authorization.split_once(' ')?;
        let hash: [u8; 32] = Sha256::digest(key.trim()).into();
        keys.into_iter().find(|known| known.sha256 == hash).filter(|_| scheme.eq_ignore_ascii_case("bearer"))
    }
}

/// Whose request it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant(pub String);

/// Whose request it is, and who sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Whose data is meant.
    pub tenant: String,
    /// The beginning of the key's hash; `local` on a box without keys.
    pub actor: String,
}

impl FromRequestParts<AppState> for Tenant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        Ok(Self(Caller::from_request_parts(parts, state).await?.tenant))
    }
}

impl FromRequestParts<AppState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let header = |name: header::HeaderName| parts.headers.get(name).and_then(|v| v.to_str().ok());
        let caller = if state.keys.is_empty() {
            Self { tenant: DEFAULT_TENANT.to_owned(), actor: "local".to_owned() }
        } else {
            let unauthorized = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, detail);
            let given =
                header(header::AUTHORIZATION).ok_or_else(|| unauthorized("send a key: Authorization: Bearer KEY"))?;
            let known = ApiKey::given(state.keys.iter(), given);
            let known = known.ok_or_else(|| unauthorized("this key is not known here"))?;
            if let Some(Err(wait)) = known.rate.as_ref().map(|rate| rate.take(Instant::now())) {
                let detail = "this key may not ask so often (requests_per_second)";
                return Err(Problem::busy(StatusCode::TOO_MANY_REQUESTS, detail, wait));
            }
            Self { tenant: known.tenant.clone(), actor: format!("key:{}", hex(&known.sha256[..6])) }
        };
        if let Some(budget) = crate::request::current() {
            budget.set_tenant(&caller.tenant);
        }
        match header(header::HeaderName::from_static("x-membox-tenant")) {
            Some(wanted) if wanted != caller.tenant => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "this key belongs to another tenant than x-membox-tenant names",
            )),
            _ => Ok(caller),
        }
    }
}
