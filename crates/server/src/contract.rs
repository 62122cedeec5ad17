//! What a route takes, by the API's own description. What else is sent would be left unread, and a caller who means
//! something by it would never know: a DELETE with a filter that drops the whole collection, an `if-match` that
//! holds for nothing. So it is refused.

use crate::extract::read_body;
use crate::problem::Problem;
use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::collections::HashMap;
use std::sync::Arc;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::{OpenApi, RefOr};

/// Routes begin so that are our own; the others are as their originals are.
const OWN: &str = "/v1/";
const OF_OTHERS: [&str; 7] = [
    "/v1/embeddings",
    "/v1/models",
    "/v1/conversations",
    "/v1/health",
    "/v1/working-memory",
    "/v1/long-term-memory",
    "/v1/memory/",
];
/// Headers of which only one would be read.
const ONCE: [&str; 1] = ["x-membox-tenant"];
/// Bytes that a body of nothing may have.
const MAX_EMPTY_BYTES: usize = 1 << 10;

/// What one operation takes.
#[derive(Debug, Default)]
struct Takes {
    query: bool,
    if_match: bool,
    body: bool,
}

/// What every operation of our own takes, by its method and path.
#[derive(Debug)]
pub struct Contract {
    operations: HashMap<(Method, String), Takes>,
}

impl Contract {
    /// The contract that a document describes.
    pub fn of(document: &OpenApi) -> Arc<Self> {
        let is_own = |path: &str| path.starts_with(OWN) && !OF_OTHERS.iter().any(|other| path.starts_with(other));
        let paths = document.paths.paths.iter().filter(|(path, _)| is_own(path));
        let operations = paths.flat_map(|(path, item)| {
            methods(item).map(move |(method, operation)| ((method, path.clone()), takes(operation)))
        });
        Arc::new(Self { operations: operations.collect() })
    }
}

fn methods(item: &PathItem) -> impl Iterator<Item = (Method, &Operation)> {
    let all = [
        (Method::GET, &item.get),
        (Method::PUT, &item.put),
        (Method::POST, &item.post),
        (Method::PATCH, &item.patch),
        (Method::DELETE, &item.delete),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

fn takes(operation: &Operation) -> Takes {
    let mut takes = Takes { body: operation.request_body.is_some(), ..Takes::default() };
    for parameter in operation.parameters.iter().flatten() {
        match parameter {
            RefOr::T(parameter) => match parameter.parameter_in {
                ParameterIn::Query => takes.query = true,
                ParameterIn::Header => takes.if_match |= parameter.name.eq_ignore_ascii_case(header::IF_MATCH.as_str()),
                _ => {}
            },
            // What is only named may be either.
            RefOr::Ref(_) => (takes.query, takes.if_match) = (true, true),
        }
    }
    takes
}

/// Refuses what the route of a request does not take.
pub async fn hold(State(contract): State<Arc<Contract>>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned()).unwrap_or_default();
    let Some(takes) = contract.operations.get(&(request.method().clone(), path)) else {
        return next.run(request).await;
    };
    let (parts, body) = request.into_parts();
    let checked = match unread(&parts, takes) {
        Some(problem) => Err(problem),
        None if takes.body => Ok(body),
        None => without_body(body).await,
    };
    match checked {
        Ok(body) => next.run(Request::from_parts(parts, body)).await,
        Err(problem) => problem.into_response(),
    }
}

/// The first thing in the head of a request that its route would not read. The parameters of routes that have any
/// are theirs to check.
fn unread(parts: &Parts, takes: &Takes) -> Option<Problem> {
    let bad = |pointer: String, detail: String| Some(Problem::field(StatusCode::BAD_REQUEST, pointer, detail));
    if let Some(query) = parts.uri.query().filter(|query| !takes.query && !query.is_empty()) {
        let name = query.split(['=', '&']).next().unwrap_or_default();
        return bad(format!("/{name}"), format!("the query of the URL: unknown field `{name}`, this route takes none"));
    }
    for name in ONCE {
        if parts.headers.get_all(name).iter().count() > 1 {
            return bad(format!("/{name}"), format!("the header {name} stands twice"));
        }
    }
    if parts.headers.contains_key(header::IF_MATCH) && !takes.if_match && parts.method != Method::GET {
        return bad("/if-match".to_owned(), "this route takes no if-match: nothing would be compared".to_owned());
    }
    None
}

/// Lets a body pass that says nothing: none, blanks, `{}` or `null`.
async fn without_body(body: Body) -> Result<Body, Problem> {
    if body.is_end_stream() {
        return Ok(Body::empty());
    }
    let refused = || Problem::new(StatusCode::BAD_REQUEST, "this route takes no body: nothing in it would be read");
    let bytes = read_body(body, MAX_EMPTY_BYTES).await.map_err(|_| refused())?;
    let is_nothing = match bytes.trim_ascii() {
        b"" | b"null" => true,
        object => object.strip_prefix(b"{").is_some_and(|rest| rest.trim_ascii() == b"}"),
    };
    if is_nothing { Ok(Body::empty()) } else { Err(refused()) }
}
