//! Paths with a slash at their end are those without it.
//!
//! Not of a deletion: what is meant by an id that is empty would then be the whole list.

use axum::extract::Request;
use axum::http::uri::PathAndQuery;
use axum::http::{Method, Uri};

/// Where files are that are called by their folder.
const FOLDERS: [&str; 1] = ["/docs"];

/// Takes slashes from the end of a request's path.
pub fn trim<B>(request: &mut Request<B>) {
    let path = request.uri().path();
    let trimmed = path.trim_end_matches('/');
    let is_folder = FOLDERS.iter().any(|folder| path.starts_with(folder));
    if request.method() == Method::DELETE || trimmed.len() == path.len() || trimmed.is_empty() || is_folder {
        return;
    }
    let with_query = match request.uri().query() {
        Some(query) => format!("{trimmed}?{query}"),
        None => trimmed.to_owned(),
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
    fn slashes_at_the_end_do_not_count_but_of_a_deletion() {
        let trimmed = |method: &str, uri: &str| {
            let mut request = Request::builder().method(method).uri(uri).body(()).expect("a request");
            trim(&mut request);
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
