//! Paths that are written in several ways.
//!
//! A path with a slash at its end is that without it; not of a deletion: what is meant by an id that is empty would
//! then be the whole list. A colon may be percent-encoded, as `records%3Adelete`: there are clients that encode each.

use axum::extract::Request;
use axum::http::uri::PathAndQuery;
use axum::http::{Method, Uri};

/// Where files are that are called by their folder.
const FOLDERS: [&str; 1] = ["/docs"];

/// Takes slashes from the end of a request's path, and writes its colons as they are.
pub fn normalize<B>(request: &mut Request<B>) {
    let path = request.uri().path();
    let mut trimmed = path.trim_end_matches('/');
    let is_folder = FOLDERS.iter().any(|folder| path.starts_with(folder));
    if request.method() == Method::DELETE || trimmed.is_empty() || is_folder {
        trimmed = path;
    }
    let normal = trimmed.replace("%3A", ":").replace("%3a", ":");
    if normal == path {
        return;
    }
    let with_query = match request.uri().query() {
        Some(query) => format!("{normal}?{query}"),
        None => normal,
    };
    let mut parts = request.uri().clone().into_parts();
    // What is left of a path is a path.
    let Ok(path) = PathAndQuery::try_from(with_query) else { return };
    parts.path_and_query = Some(path);
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_colon_is_a_colon() {
        for (method, given, wanted) in [
            ("POST", "/v1/collections/c/records%3Adelete", "/v1/collections/c/records:delete"),
            ("POST", "/v1/collections/c/records%3aget/?a=%3A", "/v1/collections/c/records:get?a=%3A"),
            ("DELETE", "/v1/threads/a%3Ab/checkpoints/%3a/", "/v1/threads/a:b/checkpoints/:/"),
            ("GET", "/v1/threads/a%253Ab", "/v1/threads/a%253Ab"),
        ] {
            let mut request = Request::builder().method(method).uri(given).body(()).expect("a request");
            normalize(&mut request);
            assert_eq!(request.uri().to_string(), wanted);
        }
    }

    #[test]
    fn slashes_at_the_end_do_not_count_but_of_a_deletion() {
        let trimmed = |method: &str, uri: &str| {
            let mut request = Request::builder().method(method).uri(uri).body(()).expect("a request");
            normalize(&mut request);
            request.uri().to_string()
        };
        for (given, wanted) in [
            ("/v1/models/", "/v1/models"),
            ("/v1/models//", "/v1/models"),
            ("/v1/models/?a=b/", "/v1/models?a=b/"),
            ("/v1/models?a=/", "/v1/models?a=/"),
            ("/v1/threads/a%2F/checkpoints/", "/v1/threads/a%2F/checkpoints"),
            ("/", "/"),
            ("//", "//"),
            ("/docs/", "/docs/"),
            ("http://box:1/v1/models/", "http://box:1/v1/models"),
        ] {
            assert_eq!(trimmed("GET", given), wanted);
            assert_eq!(trimmed("DELETE", given), given);
        }
    }
}
