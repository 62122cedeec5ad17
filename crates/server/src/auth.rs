//! Whose request it is: everything of a request is looked up within the tenant of its key.

use crate::access::Reach;
use crate::keys::ApiKey;
use crate::problem::Problem;
use crate::state::AppState;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use membox_api::Access;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// The tenant of a box without keys.
pub const DEFAULT_TENANT: &str = "default";

/// Who is at the other end of a connection: a client, or a proxy before it.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub Option<SocketAddr>);

impl Peer {
    /// That of a request, as the server has noted it.
    pub fn of(request: &Parts) -> Self {
        request.extensions.get().copied().unwrap_or(Self(None))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

/// Whose request it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant(pub String);

/// Whose request it is, who sends it, and what they may.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whose data is meant.
    pub tenant: String,
    /// The beginning of the key's hash; `local` on a box without keys.
    pub actor: String,
    /// What the key may do.
    pub access: Access,
    /// The part of the tenant that it reaches.
    pub reach: Arc<Reach>,
    /// How often the key may ask a second, and when it ends (milliseconds since 1970): what it makes may no more.
    pub bounds: (Option<f64>, Option<i64>),
}

impl Caller {
    /// Who may do everything, as who asks a box without keys.
    fn local() -> Self {
        let (tenant, actor) = (DEFAULT_TENANT.to_owned(), "local".to_owned());
        Self { tenant, actor, access: Access::Admin, reach: Arc::default(), bounds: (None, None) }
    }

    fn of(key: &ApiKey) -> Self {
        let (tenant, actor) = (key.tenant().to_owned(), key.actor());
        let bounds = (key.per_second(), key.expires_at());
        Self { tenant, actor, access: key.access(), reach: key.reach().clone(), bounds }
    }
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
        if let Some(known) = parts.extensions.get::<Self>() {
            return Ok(known.clone());
        }
        let keys = state.keys.current();
        let caller = if keys.is_open() {
            Self::local()
        } else {
            let known: &ApiKey = state.keys.known(keys.of_tenants(), parts)?;
            if let Err(wait) = known.take(Instant::now()) {
                let detail = "this key may not ask so often (requests_per_second)";
                return Err(Problem::busy(StatusCode::TOO_MANY_REQUESTS, detail, wait));
            }
            Self::of(known)
        };
        if let Some(budget) = crate::request::current() {
            budget.set_tenant(&caller.tenant);
        }
        match parts.headers.get("x-membox-tenant").and_then(|value| value.to_str().ok()) {
            Some(wanted) if wanted != caller.tenant => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "this key belongs to another tenant than x-membox-tenant names",
            )),
            _ => Ok(caller),
        }
    }
}
