//! What pages in a browser may ask.
//!
//! A browser sends requests for every page that is open in it, to every address that it reaches, this machine's own
//! among them. So a box on loopback hears whatever website is visited on the machine. Two rules keep them out:
//!
//! - **Names.** A box without keys answers under names that nobody else can make resolve to it: addresses,
//!   `localhost`, and those of `allowed_hosts`. A page that has its own name resolve to the box (DNS rebinding) is of
//!   the box's origin to its browser, and only the name tells it apart (421).
//! - **Pages.** A request of a page of another origin is refused, whatever it asks, with keys and without (403), unless
//!   `allowed_origins` names the origin. Browsers say so by `Sec-Fetch-Site` and `Origin`, which pages cannot change.
//!
//! Both are decided by the head of a request, before its body is read. Who sends none of these headers is no browser,
//! and notices nothing. tower-http's `CsrfLayer` has the second rule for what changes something only; here a GET can
//! tell, or write into the audit log.

use crate::ServerError;
use crate::auth::Peer;
use crate::problem::Problem;
use crate::rate::Throttle;
use crate::state::AppState;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

/// How long a browser may go by the answer to a preflight.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(3600);
/// Characters of a name or an origin that are said again.
const MAX_SHOWN: usize = 200;
/// What `/docs` may load: its own files, and the pictures within its style sheet. It asks the box, and nobody else.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src \
                           'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// For how long the files of `/docs` are as they were: they come with the binary.
const DOCS_CACHE: &str = "private, max-age=600";

/// What every answer says to a browser, unless its route says otherwise.
static HEADERS: LazyLock<HeaderMap> = LazyLock::new(|| {
    let headers = [
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ];
    let made = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    headers.into_iter().map(made).collect()
});

/// The names and the pages that a box answers to, beside its own.
#[derive(Debug)]
pub struct Guard {
    hosts: Vec<String>,
    origins: Vec<String>,
    log: Throttle,
}

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
enum Foreign {
    /// It calls the box by a name that is none of its own.
    Name(String),
    /// It is of a page of another origin, which is named where the browser does.
    Page(Option<String>),
}

impl Guard {
    /// One that lets further names and origins in.
    pub fn new(hosts: &[String], origins: &[String]) -> Result<Self, ServerError> {
        let host = |entry: &String| host_name(entry).ok_or_else(|| ServerError::AllowedHost(entry.clone()));
        let origin = |entry: &String| origin_name(entry).ok_or_else(|| ServerError::AllowedOrigin(entry.clone()));
        Ok(Self {
            hosts: hosts.iter().map(host).collect::<Result<_, _>>()?,
            origins: origins.iter().map(origin).collect::<Result<_, _>>()?,
            log: Throttle::default(),
        })
    }

    /// What tells browsers that pages of the allowed origins may ask, if there are any.
    pub fn cors(&self) -> Option<CorsLayer> {
        let origins: Vec<HeaderValue> = self.origins.iter().filter_map(|origin| origin.parse().ok()).collect();
        let methods = [Method::GET, Method::HEAD, Method::PUT, Method::POST, Method::PATCH, Method::DELETE];
        let exposed = ["etag", "retry-after", "server-timing", "www-authenticate", "x-membox-type", "x-request-id"];
        let cors = CorsLayer::new()
            .allow_methods(methods)
            // Clients have headers of their own (`x-stainless-…`, `mcp-…`). Who may ask may send them.
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(exposed.map(HeaderName::from_static))
            .allow_private_network(true)
            .max_age(PREFLIGHT_MAX_AGE);
        (!origins.is_empty()).then(|| cors.allow_origin(AllowOrigin::list(origins)))
    }

    /// Why a request is refused, if it is.
    fn refusal(&self, request: &Parts, has_keys: bool) -> Option<Foreign> {
        if !has_keys && let Some(name) = names(request).find(|name| !self.is_ours(name)) {
            return Some(Foreign::Name(shown(&name)));
        }
        let site = request.headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        if matches!(site, Some(b"same-origin")) {
            return None;
        }
        let mut origins = values(&request.headers, header::ORIGIN).peekable();
        if origins.peek().is_none() {
            let is_asked_by_a_person = matches!(site, None | Some(b"none")) || is_visit(request);
            return (!is_asked_by_a_person).then_some(Foreign::Page(None));
        }
        let own = names(request).next();
        let may_ask = |origin: &str| {
            self.origins.iter().any(|allowed| allowed == origin)
                // What a browser says of the site is surer than our comparison, which knows no scheme.
                || site.is_none() && own.as_ref().is_some_and(|own| is_same(origin, own))
        };
        origins.find(|origin| !may_ask(origin)).map(|origin| Foreign::Page(Some(shown(&origin))))
    }

    /// Whether nobody else can make a name resolve to the box.
    fn is_ours(&self, name: &str) -> bool {
        let Some(host) = name.parse::<Authority>().ok().map(|authority| plain(authority.host())) else { return false };
        let is_address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        is_address || host == "localhost" || host.ends_with(".localhost") || self.hosts.contains(&host)
    }
}

impl Foreign {
    fn problem(&self) -> Problem {
        match self {
            Self::Name(name) => Problem::new(
                StatusCode::MISDIRECTED_REQUEST,
                format!(
                    "this box has no keys, and does not answer under the name {name:?}: call it by its address, or \
                     add the name to the setting allowed_hosts"
                ),
            ),
            Self::Page(origin) => {
                let origin = origin.as_deref().unwrap_or("another site");
                let detail = format!(
                    "a page of {origin} may not use this box: if it is meant to, add its origin to the setting \
                     allowed_origins"
                );
                Problem::new(StatusCode::FORBIDDEN, detail)
            }
        }
    }
}

/// Lets in what may ask.
pub async fn admit(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let Some(foreign) = state.guard.refusal(&parts, !state.keys.is_open()) else {
        return next.run(Request::from_parts(parts, body)).await;
    };
    let by = if matches!(foreign, Foreign::Name(_)) { "host" } else { "origin" };
    metrics::counter!("membox_foreign_requests_total", "by" => by).increment(1);
    let problem = foreign.problem();
    if let Some(times) = state.guard.log.count(Instant::now()) {
        let peer = Peer::of(&parts);
        tracing::warn!(status = problem.status, %peer, times, "a request was refused: {}", problem.detail);
    }
    problem.into_response()
}

/// Says to browsers what they may do with an answer.
pub async fn add_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in &*HEADERS {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    response
}

/// As [`add_headers`], for the files of `/docs`.
pub async fn add_docs_headers(request: Request, next: Next) -> Response {
    let is_file = request.uri().path().starts_with("/docs/");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(DOCS_POLICY));
    if is_file {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(DOCS_CACHE));
    }
    response
}

/// What a request calls the box: its target, where that has a name, then `Host`. Without either no browser sent it.
fn names(request: &Parts) -> impl Iterator<Item = Cow<'_, str>> {
    let target = request.uri.authority().map(|authority| Cow::Borrowed(authority.as_str()));
    target.into_iter().chain(values(&request.headers, header::HOST))
}

fn values(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = Cow<'_, str>> {
    headers.get_all(name).into_iter().map(|value| String::from_utf8_lossy(value.as_bytes()))
}

/// A host as it is compared.
fn plain(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Whether a person has followed a link to a page that is made for people.
fn is_visit(request: &Parts) -> bool {
    let is = |name: &str, wanted: &str| request.headers.get(name).is_some_and(|value| value == wanted);
    let is_page = ["", "/docs", "/dashboard"].contains(&request.uri.path().trim_end_matches('/'));
    let is_top = is("sec-fetch-dest", "document") || !request.headers.contains_key("sec-fetch-dest");
    let is_look = [Method::GET, Method::HEAD].contains(&request.method);
    is_page && is_look && is_top && is("sec-fetch-mode", "navigate")
}

/// Whether an origin is that of the box under the name by which it was called. Which of both schemes is spoken, a
/// proxy may know, and the box does not.
fn is_same(origin: &str, name: &str) -> bool {
    let default = match origin.split_once("://") {
        Some(("http", _)) => 80,
        Some(("https", _)) => 443,
        _ => return false,
    };
    let authority = origin.split_once("://").and_then(|(_, rest)| rest.parse::<Authority>().ok());
    let (Some(origin), Ok(name)) = (authority, name.parse::<Authority>()) else { return false };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(default);
    plain(origin.host()) == plain(name.host()) && port(&origin) == port(&name)
}

/// A host of the settings: a name or an address, and nothing else.
fn host_name(entry: &str) -> Option<String> {
    let authority: Authority = entry.parse().ok()?;
    let is_host = authority.host() == entry && !entry.contains('*');
    is_host.then(|| plain(entry))
}

/// An origin of the settings, as browsers send it: no path, and no port that its scheme has in any case.
fn origin_name(entry: &str) -> Option<String> {
    let entry = entry.to_ascii_lowercase();
    let (scheme, rest) = entry.split_once("://")?;
    let authority: Authority = rest.parse().ok()?;
    let default = [("http", ":80"), ("https", ":443")].into_iter().find(|(name, _)| *name == scheme);
    let rest = default.and_then(|(_, port)| rest.strip_suffix(port)).unwrap_or(rest);
    let is_origin = !scheme.is_empty() && !authority.host().is_empty() && !entry.contains(['@', '*']);
    is_origin.then(|| format!("{scheme}://{rest}"))
}

fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}

#[cfg(test)]
mod tests;
