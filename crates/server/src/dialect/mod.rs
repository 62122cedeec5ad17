//! Errors in the words of those whose routes they are of: what OpenAI's and text-embeddings-inference's clients
//! print stands beside the problem document's own fields, and what mem0's and agent-memory-server's print in its
//! `detail`. What a request has cost, as text-embeddings-inference says it, is in [`cost`].

pub(crate) mod cost;

pub use cost::Cost;

use crate::problem::Problem;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use membox_api::ProblemDocument;
use serde::Serialize;
use utoipa::ToSchema;

/// Routes that text-embeddings-inference has.
const OF_TEI: [&str; 13] = [
    "/",
    "/embed",
    "/embed_all",
    "/embed_sparse",
    "/rerank",
    "/predict",
    "/similarity",
    "/tokenize",
    "/decode",
    "/info",
    "/invocations",
    "/ping",
    "/vertex",
];
/// Routes that OpenAI has begin so; `/embeddings` is for its clients, too.
const OF_OPENAI: [&str; 5] = ["/v1/embeddings", "/v1/models", "/v1/chat/", "/v1/conversations", "/embeddings"];

/// Routes of which clients show `detail` alone, some of them where the type is `application/json` and no other, begin
/// so: those of mem0 and of agent-memory-server.
const OF_DETAIL: [&str; 16] = [
    "/memories",
    "/search",
    "/reset",
    "/v1/health",
    "/v1/working-memory",
    "/v1/long-term-memory",
    "/v1/memory/",
    "/v1/ping",
    "/v1/memories/",
    "/v1/entities",
    "/v1/batch",
    "/v1/feedback",
    "/v1/exports",
    "/v1/summary",
    "/v2/entities",
    "/v3/memories",
];

/// Who else has a route of this path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI.
    OpenAi,
    /// text-embeddings-inference.
    Tei,
    /// mem0 or agent-memory-server.
    Detail,
}

impl Dialect {
    /// That of a path, if any.
    pub fn of(path: &str) -> Option<Self> {
        if OF_OPENAI.iter().any(|begin| path.starts_with(begin)) {
            Some(Self::OpenAi)
        } else if OF_DETAIL.iter().any(|begin| path.starts_with(begin)) {
            Some(Self::Detail)
        } else {
            OF_TEI.contains(&path).then_some(Self::Tei)
        }
    }
}

/// A problem, and the same as OpenAI says it.
#[derive(Serialize, ToSchema)]
pub struct OpenAiProblem<'a> {
    #[serde(flatten)]
    problem: &'a ProblemDocument,
    /// The same as OpenAI says it.
    error: OpenAiError<'a>,
}

/// An error as OpenAI says it.
#[derive(Serialize, ToSchema)]
pub struct OpenAiError<'a> {
    /// What happened.
    message: &'a str,
    /// Of what kind it is, such as `invalid_request_error`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Which field is wrong, such as `input[3]`.
    #[schema(required)]
    param: Option<String>,
    /// What it is, such as `model_not_found`.
    #[schema(required)]
    code: Option<&'static str>,
}

/// A problem, and the same as text-embeddings-inference says it.
#[derive(Serialize, ToSchema)]
pub struct TeiProblem<'a> {
    #[serde(flatten)]
    problem: &'a ProblemDocument,
    /// What happened.
    error: &'a str,
    /// `Validation`, `Empty`, `Overloaded`, `Unhealthy` or `Backend`.
    error_type: &'static str,
}

/// `/input/3` as `input[3]`.
fn parameter(pointer: &str) -> Option<String> {
    let mut written = String::new();
    for part in pointer.split('/').skip(1) {
        match part.parse::<usize>() {
            Ok(index) if !written.is_empty() => written.push_str(&format!("[{index}]")),
            _ if written.is_empty() => written.push_str(part),
            _ => written.push_str(&format!(".{part}")),
        }
    }
    (!written.is_empty()).then_some(written)
}

fn openai(problem: &Problem) -> OpenAiProblem<'_> {
    let status = problem.status;
    let param = problem.errors.first().and_then(|field| parameter(&field.pointer));
    let kind = match status {
        403 => "permission_error",
        429 => "rate_limit_error",
        400..500 => "invalid_request_error",
        _ => "server_error",
    };
    let code = match (status, param.as_deref()) {
        (401, _) => Some("invalid_api_key"),
        (404, Some("model")) => Some("model_not_found"),
        (429, _) => Some("rate_limit_exceeded"),
        _ => None,
    };
    OpenAiProblem { problem, error: OpenAiError { message: &problem.detail, kind, param, code } }
}

fn tei(problem: &Problem) -> TeiProblem<'_> {
    let error_type = match problem.status {
        408 | 424 | 500 | 502 | 507 => "Backend",
        429 => "Overloaded",
        503 => "Unhealthy",
        400 if problem.detail.contains("empty") => "Empty",
        _ => "Validation",
    };
    TeiProblem { problem, error: &problem.detail, error_type }
}

/// A problem whose `detail` names the fields, where it is all that is shown.
fn detailed(problem: &Problem) -> ProblemDocument {
    let mut document = ProblemDocument::clone(problem);
    let fields =
        document.errors.iter().filter_map(|field| Some(format!("{}: {}", parameter(&field.pointer)?, field.detail)));
    let fields: Vec<String> = fields.collect();
    if !fields.is_empty() {
        document.detail = fields.join("; ");
    }
    document
}

/// Says a problem as the clients of its route know it.
pub async fn speak(request: Request, next: Next) -> Response {
    let dialect = Dialect::of(request.uri().path());
    let mut response = next.run(request).await;
    let (Some(dialect), Some(problem)) = (dialect, response.extensions().get::<Problem>()) else { return response };
    if dialect != Dialect::Detail {
        cost::count_failure(problem.status);
    }
    let said = match dialect {
        Dialect::OpenAi => serde_json::to_string(&openai(problem)),
        Dialect::Tei => serde_json::to_string(&tei(problem)),
        Dialect::Detail => serde_json::to_string(&detailed(problem)),
    };
    if let Ok(said) = said {
        if dialect == Dialect::Detail {
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = said.into();
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;
    use serde_json::Value;

    #[test]
    fn a_problem_is_said_as_the_clients_of_its_route_know_it() {
        let problem = Problem::field(StatusCode::BAD_REQUEST, "/input/3", "the text is empty");
        let said = serde_json::to_value(openai(&problem)).expect("JSON");
        let error = serde_json::json!({"message": "the text is \
            empty", "type": "invalid_request_error", "param": "input[3]", "code": null});
        assert_eq!(said["error"], error);
        assert_eq!(
            (&said["detail"], &said["errors"][0]["pointer"]),
            (&Value::from("the text is empty"), &Value::from("/input/3"))
        );
        let said = serde_json::to_value(tei(&problem)).expect("JSON");
        assert_eq!((&said["error"], &said["error_type"]), (&Value::from("the text is empty"), &Value::from("Empty")));
        let unknown = Problem::field(StatusCode::NOT_FOUND, "/model", "there is no model");
        assert_eq!(openai(&unknown).error.code, Some("model_not_found"));
        assert_eq!(tei(&Problem::new(StatusCode::TOO_MANY_REQUESTS, "full")).error_type, "Overloaded");
        assert_eq!(detailed(&problem).detail, "input[3]: the text is empty");
        assert_eq!(detailed(&Problem::new(StatusCode::NOT_FOUND, "no record")).detail, "no record");
    }

    #[test]
    fn our_own_routes_have_no_other_words() {
        for path in ["/v1/collections", "/v1/memories", "/v1/memories:update", "/mcp", "/v1/sessions/v1/embeddings"] {
            assert_eq!(Dialect::of(path), None, "{path}");
        }
        assert_eq!(Dialect::of("/v1/models/a/b"), Some(Dialect::OpenAi));
        assert_eq!(Dialect::of("/rerank"), Some(Dialect::Tei));
        assert_eq!(Dialect::of("/v1/memories/x"), Some(Dialect::Detail));
        assert_eq!(Dialect::of("/v1/working-memory"), Some(Dialect::Detail));
    }
}
