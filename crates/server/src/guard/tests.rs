use super::*;
use crate::{ApiKey, Server, ServerConfig};
use axum::body::{Body, to_bytes};
use http_body_util::channel::Channel;
use membox_memory::{MemoryBox, MemoryConfig, Models};
use std::collections::HashMap;
use std::sync::Arc;
use tower::ServiceExt;

const HOST: &str = "127.0.0.1:8420";

type Headers<'a> = &'a [(&'a str, &'a str)];

/// What a page of another site sends.
const FOREIGN: [(&str, Headers); 7] = [
    ("an origin", &[("origin", "https://evil.example")]),
    ("no origin of its own", &[("origin", "null")]),
    ("a picture", &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")]),
    ("another port", &[("origin", "http://127.0.0.1:3000"), ("sec-fetch-site", "same-site")]),
    ("an older browser on another port", &[("origin", "http://127.0.0.1:3000")]),
    ("the box's name, by another scheme", &[("origin", "http://127.0.0.1:8420"), ("sec-fetch-site", "cross-site")]),
    ("two origins", &[("origin", "http://127.0.0.1:8420"), ("origin", "https://evil.example")]),
];

/// What is no page of another site.
const OWN: [(&str, Headers); 6] = [
    ("no browser", &[]),
    ("a page of the box", &[("origin", "http://127.0.0.1:8420"), ("sec-fetch-site", "same-origin")]),
    ("… behind a proxy with a name", &[("origin", "https://box.example"), ("sec-fetch-site", "same-origin")]),
    ("… in an older browser", &[("origin", "http://127.0.0.1:8420")]),
    ("an address that was typed in", &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")]),
    ("an origin that is allowed", &[("origin", "https://app.example"), ("sec-fetch-site", "cross-site")]),
];

fn parts(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
    let request = Request::builder().method(method).uri(target);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(Body::empty()).expect("a request").into_parts().0
}

fn guard() -> Guard {
    let allowed = |name: &str| vec![name.to_owned()];
    Guard::new(&allowed("Box.example"), &allowed("https://app.example")).expect("a guard")
}

#[test]
fn a_box_without_keys_answers_under_names_that_are_its_own() {
    let refused = |host: &str, has_keys| guard().refusal(&parts("GET", "/v1/collections", &[("host", host)]), has_keys);
    let own = ["127.0.0.1:8420", "localhost", "LOCALHOST:9000", "app.localhost.", "[::1]:8420", "192.168.1.5:8420"];
    for host in own.into_iter().chain(["box.example", "BOX.example.:443"]) {
        assert_eq!(refused(host, false), None, "{host}");
    }
    let foreign = ["evil.example:8420", "localhost.evil.example", "127.0.0.1.evil.example", "notlocalhost", "", "a b"];
    for host in foreign.into_iter().chain(["sub.box.example", "[::1", "127.0.0.1@evil.example"]) {
        assert_eq!(refused(host, false), Some(Foreign::Name(host.to_owned())), "{host}");
        assert_eq!(refused(host, true), None, "{host}: the key decides");
    }
    let two = [("host", HOST), ("host", "evil.example")];
    assert!(guard().refusal(&parts("GET", "/", &two), false).is_some());
    let target = "http://evil.example/v1/collections";
    assert!(guard().refusal(&parts("GET", target, &[("host", HOST)]), false).is_some());
    assert_eq!(guard().refusal(&parts("GET", "/", &[]), false), None, "every browser names a host");
}

#[test]
fn pages_of_other_origins_may_not_ask() {
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        for (what, headers) in FOREIGN {
            let request = parts(method, "/v1/collections", &[&[("host", HOST)], headers].concat());
            for has_keys in [false, true] {
                let found = guard().refusal(&request, has_keys);
                assert!(matches!(found, Some(Foreign::Page(_))), "{method}, {what}: {found:?}");
            }
        }
        for (what, headers) in OWN {
            let request = parts(method, "/v1/collections", &[&[("host", HOST)], headers].concat());
            assert_eq!(guard().refusal(&request, false), None, "{method}, {what}");
        }
    }
    let proxied = parts("POST", "/", &[("host", "box.example"), ("origin", "https://box.example")]);
    assert_eq!(guard().refusal(&proxied, true), None, "a proxy speaks TLS");
}

#[test]
fn a_person_may_follow_a_link_to_a_page_for_people() {
    let visit = [("host", HOST), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
    let top = [&visit[..], &[("sec-fetch-dest", "document")]].concat();
    for path in ["/", "/docs", "/docs/", "/dashboard"] {
        assert_eq!(guard().refusal(&parts("GET", path, &top), false), None, "{path}");
        assert!(guard().refusal(&parts("POST", path, &top), false).is_some(), "{path}");
        let framed = [&visit[..], &[("sec-fetch-dest", "iframe")]].concat();
        assert!(guard().refusal(&parts("GET", path, &framed), false).is_some(), "{path}");
    }
    for path in ["/v1/users/lena/export", "/metrics", "/docsx", "/v1/collections/docs"] {
        assert!(guard().refusal(&parts("GET", path, &top), false).is_some(), "{path}");
    }
}

#[test]
fn settings_that_allow_nothing_or_everything_are_refused() {
    let refused = |hosts: &[&str], origins: &[&str]| {
        let owned = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>();
        Guard::new(&owned(hosts), &owned(origins)).map(|guard| guard.origins).map_err(|error| error.to_string())
    };
    for host in ["", "*", "*.example", "https://box.example", "box.example:8420", "box.example/", "a@box.example"] {
        assert!(refused(&[host], &[]).is_err_and(|error| error.contains("allowed_hosts")), "{host}");
    }
    for origin in ["", "*", "null", "app.example", "https://", "https://app.example/", "https://*.example", "://a"] {
        assert!(refused(&[], &[origin]).is_err_and(|error| error.contains("allowed_origins")), "{origin}");
    }
    let origins = ["https://App.example:443", "http://localhost:3000", "chrome-extension://abc"];
    let kept = ["https://app.example", "http://localhost:3000", "chrome-extension://abc"];
    assert_eq!(refused(&["box.example", "[fd00::1]", "10.0.0.1"], &origins), Ok(kept.map(str::to_owned).to_vec()));
}

/// A box without a model, and what a request is answered by it.
struct Running {
    server: Server,
    _folder: tempfile::TempDir,
}

impl Running {
    fn start(keys: Vec<ApiKey>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let memory = MemoryBox::open(&MemoryConfig::new(folder.path()), Models::default()).expect("a box");
        let allowed_origins = vec!["https://app.example".to_owned()];
        let metrics_key = Some(ApiKey::new("metrics", ""));
        let config = ServerConfig { keys, metrics_key, allowed_origins, ..ServerConfig::default() };
        Self { server: Server::new(Arc::new(memory), config).expect("a server"), _folder: folder }
    }

    /// Status, headers and text.
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, HashMap<String, String>, String) {
        self.send(Request::from_parts(parts(method, path, headers), Body::empty())).await
    }

    async fn send(&self, request: Request) -> (u16, HashMap<String, String>, String) {
        let response = self.server.router.clone().oneshot(request).await.expect("an answer");
        let status = response.status().as_u16();
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let headers = response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let body = to_bytes(response.into_body(), 8 << 20).await.expect("a body");
        (status, headers, String::from_utf8_lossy(&body).into_owned())
    }
}

/// Every route and method that there is, those that no document describes too.
fn routes() -> Vec<(String, String)> {
    let document = crate::openapi().expect("the document");
    let paths = document["paths"].as_object().expect("paths");
    let mut routes: Vec<(String, String)> = Vec::new();
    for (path, item) in paths {
        let path = path.replace(['{', '}'], "");
        let methods = item.as_object().expect("methods").keys().filter(|name| *name != "parameters");
        routes.extend(methods.map(|method| (method.to_uppercase(), path.clone())));
    }
    assert!(routes.len() > 60, "{}", routes.len());
    let others = ["/docs/swagger-ui.css", "/openapi.json", "/nothing"].map(|path| ("GET".to_owned(), path.to_owned()));
    let refused = [("POST", "/mcp"), ("GET", "/mcp"), ("POST", "/health"), ("OPTIONS", "/v1/collections"), ("X", "/")];
    routes.into_iter().chain(others).chain(refused.map(|(a, b)| (a.to_owned(), b.to_owned()))).collect()
}

#[tokio::test]
async fn no_route_is_open_to_a_foreign_page_and_no_body_of_one_is_read() {
    let bound = vec![ApiKey::new("alpha", "a")];
    for running in [Running::start(Vec::new()), Running::start(bound)] {
        for (method, path) in routes() {
            let origin = [("host", HOST), ("origin", "https://evil.example"), ("authorization", "Bearer alpha")];
            let head = parts(&method, &path, &origin);
            // It never ends, and nothing of it arrives.
            let (_sender, body) = Channel::<axum::body::Bytes>::new(1);
            let asked = running.send(Request::from_parts(head, Body::new(body)));
            let answer = tokio::time::timeout(Duration::from_secs(20), asked).await;
            let (status, headers, text) = answer.unwrap_or_else(|_| panic!("{method} {path} reads the body"));
            assert_eq!(status, 403, "{method} {path}: {text}");
            assert!(method == "HEAD" || text.contains("allowed_origins"), "{method} {path}: {text}");
            assert!(!headers.contains_key("access-control-allow-origin"), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_foreign_name_is_refused_on_every_route_of_a_box_without_keys() {
    let (open, bound) = (Running::start(Vec::new()), Running::start(vec![ApiKey::new("alpha", "a")]));
    let name = [("host", "evil.example:8420"), ("sec-fetch-site", "same-origin")];
    for (method, path) in routes() {
        let (status, _, text) = open.ask(&method, &path, &name).await;
        assert_eq!(status, 421, "{method} {path}: {text}");
        assert!(text.contains("allowed_hosts"), "{text}");
        assert_ne!(bound.ask(&method, &path, &name).await.0, 421, "{method} {path}: the key decides");
    }
}

#[tokio::test]
async fn every_answer_says_what_a_browser_may_do_with_it() {
    let running = Running::start(Vec::new());
    let asked = [
        ("GET", "/health", 200),
        ("GET", "/ready", 503),
        ("GET", "/metrics", 200),
        ("GET", "/v1/collections", 200),
        ("GET", "/nothing", 404),
        ("POST", "/health", 405),
        ("POST", "/v1/compress", 415),
        ("POST", "/mcp", 400),
        ("GET", "/docs", 303),
        ("GET", "/docs/", 200),
        ("GET", "/docs/swagger-ui-bundle.js", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/dashboard", 200),
    ];
    for (method, path, expected) in asked {
        let (status, headers, text) = running.ask(method, path, &[("host", HOST)]).await;
        assert_eq!(status, expected, "{method} {path}: {text}");
        let header = |name: &str| headers.get(name).map(String::as_str).unwrap_or_default();
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cache-control", if path.starts_with("/docs/") { DOCS_CACHE } else { "no-store" }),
        ] {
            assert_eq!(header(name), value, "{method} {path}: {name}");
        }
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; ") && policy.ends_with("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{path}: {policy}");
        assert!(!headers.contains_key("access-control-allow-origin"), "{path}");
    }
}

#[tokio::test]
async fn pages_of_an_allowed_origin_ask_first_and_then_ask() {
    let running = Running::start(vec![ApiKey::new("alpha", "a")]);
    let page = [("host", "box.example"), ("origin", "https://app.example"), ("sec-fetch-site", "cross-site")];
    let ask = [("access-control-request-method", "PATCH")];
    let wanted = "authorization,content-type,if-match,mcp-protocol-version,x-stainless-lang";
    let ask = [&page[..], &ask, &[("access-control-request-headers", wanted)]].concat();
    let (status, headers, _) = running.ask("OPTIONS", "/v1/collections/c/records/r", &ask).await;
    let header = |name: &str| headers.get(name).map(String::as_str).unwrap_or_default();
    assert_eq!((status, header("access-control-allow-origin")), (200, "https://app.example"));
    assert_eq!((header("access-control-allow-headers"), header("access-control-max-age")), (wanted, "3600"));
    assert!(header("access-control-allow-methods").contains("PATCH") && header("vary").contains("origin"));
    assert!(!headers.contains_key("access-control-allow-credentials"), "keys are sent by the page itself");
    // Errors can be read by the page too.
    for (key, expected) in [("Bearer alpha", 200), ("Bearer beta", 401)] {
        let (status, headers, text) =
            running.ask("GET", "/v1/collections", &[&page[..], &[("authorization", key)]].concat()).await;
        assert_eq!(status, expected, "{text}");
        assert_eq!(headers.get("access-control-allow-origin").map(String::as_str), Some("https://app.example"));
        assert!(headers.get("vary").is_some_and(|vary| vary.contains("origin")));
    }
    let (_, headers, _) = running.ask("GET", "/v1/collections", &[("authorization", "Bearer alpha")]).await;
    assert!(!headers.contains_key("access-control-allow-origin"), "who names no origin hears of none");
    assert!(headers.get("vary").is_some_and(|vary| vary.contains("origin")), "a cache keeps them apart");
}

#[tokio::test]
async fn metrics_of_a_box_with_keys_are_shown_to_its_keys() {
    let running = Running::start(vec![ApiKey::new("alpha", "a")]);
    for (key, expected) in [("", 401), ("Bearer beta", 401), ("Bearer alpha", 200), ("Bearer metrics", 200)] {
        let (status, _, text) = running.ask("GET", "/metrics", &[("authorization", key)]).await;
        assert_eq!((status, text.contains("membox_messages_total")), (expected, expected == 200), "{key}: {text}");
    }
    assert_eq!(running.ask("GET", "/metrics", &[]).await.0, 401);
    let (status, _, text) = running.ask("GET", "/v1/collections", &[("authorization", "Bearer metrics")]).await;
    assert_eq!(status, 401, "{text}");
    running.server.keys().replace(vec![ApiKey::new("beta", "a")], None).expect("other keys");
    assert_eq!(running.ask("GET", "/metrics", &[("authorization", "Bearer alpha")]).await.0, 401);
    assert_eq!(running.ask("GET", "/metrics", &[("authorization", "Bearer beta")]).await.0, 200);
}
