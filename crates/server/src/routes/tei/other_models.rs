//! What wants a model of another kind than a box has. It is answered as text-embeddings-inference answers with a model
//! that embeds: with its status, its kind of error and its words.

use crate::auth::Tenant;
use crate::dialect::Cost;
use crate::extract::Json;
use crate::problem::Problem;
use crate::routes::encoding::check_count;
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use membox_api::{PredictInput, PredictRequest};

pub(super) const NO_RERANKER: &str = "model is not a re-ranker model";

/// That the model is of another kind.
pub(super) fn wrong_model(detail: &str) -> Problem {
    Problem::new(StatusCode::FAILED_DEPENDENCY, format!("Backend error: {detail}"))
}

/// `POST /predict`: it wants a classifier, and is answered as by a model that is none.
#[utoipa::path(
    post,
    path = "/predict",
    tag = "engines",
    request_body(content = PredictRequest, example = json!({"inputs": "The spare key is under the blue pot."})),
    responses(
        (status = 400, description = "a field is missing, wrong or empty; `errors` names it", body = Problem),
        (status = 413, description = "too many texts", body = Problem),
        (status = 424, description = "the model is not a classifier", body = Problem)
    ),
)]
pub async fn predict(
    State(state): State<AppState>,
    _: Tenant,
    Json(request): Json<PredictRequest>,
) -> Result<Response, Problem> {
    let lists = match request.inputs {
        PredictInput::Text(text) => vec![vec![text]],
        PredictInput::Pair(pair) => vec![pair],
        PredictInput::Many(lists) => lists,
    };
    let _ = Cost::begin(lists.len() > 1, 0);
    if lists.iter().any(|list| !(1..=2).contains(&list.len())) {
        let detail = "a text, a pair of texts, or a list of lists of one or two texts is wanted";
        return Err(Problem::field(StatusCode::UNPROCESSABLE_ENTITY, "/inputs", detail));
    }
    check_count(&state, lists.len(), "/inputs")?;
    Err(wrong_model("Model is not a classifier model"))
}
