//! Texts in the order of how well they go with a question, by a cross-encoder: as text-embeddings-inference has it, and
//! as Cohere and Jina have it.

use super::other_models::{NO_RERANKER, wrong_model};
use crate::auth::Tenant;
use crate::dialect::Cost;
use crate::extract::Json;
use crate::problem::Problem;
use crate::rendered::Rendered;
use crate::routes::encoding::{INTERACTIVE_INPUTS, check_count};
use crate::routes::inputs::empty;
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use membox_api::{CohereDocument, CohereRank, CohereRanks, CohereRerank, CohereText, Rank, RerankRequest, Side};
use membox_memory::MemoryError;
use membox_memory::encoder::{Lane, ModelKind, sigmoid};

/// A question, the texts, and how they are read.
struct Ranked {
    model: Option<String>,
    query: String,
    texts: Vec<String>,
    max_tokens: Option<usize>,
}

impl Ranked {
    /// The places of the texts and the model's numbers, the best first.
    fn scores(&self, state: &AppState) -> Result<Vec<(usize, f32)>, Problem> {
        let found = state.memory.models().cross_encoder(self.model.as_deref())?;
        let encoder = found.ok_or_else(|| wrong_model(NO_RERANKER))?;
        let lane = if self.texts.len() <= INTERACTIVE_INPUTS { Lane::Interactive } else { Lane::Bulk };
        let scores = encoder.score_pairs(&self.query, &self.texts, self.max_tokens, lane).map_err(MemoryError::from)?;
        let mut ranks: Vec<(usize, f32)> = scores.into_iter().enumerate().collect();
        ranks.sort_by(|a, b| b.1.total_cmp(&a.1));
        Ok(ranks)
    }
}

/// `POST /rerank`: texts in the order of how well they go with a question, as text-embeddings-inference has it. A box
/// without a cross-encoder answers as that does with a model that is none.
#[utoipa::path(
    post,
    path = "/rerank",
    tag = "engines",
    request_body(
        content = RerankRequest,
        example = json!({"query": "Where is the key?", "texts": ["The spare key is under the blue pot."]})
    ),
    responses(
        (status = 200, description = "done", body = Vec<Rank>),
        (status = 400, description = "a field is missing, wrong or empty; `errors` names it", body = Problem),
        (status = 413, description = "too many texts", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 424, description = "the model is not a re-ranker", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn rerank(
    State(state): State<AppState>,
    _: Tenant,
    Json(request): Json<RerankRequest>,
) -> Result<Rendered<Vec<Rank>>, Problem> {
    let RerankRequest { query, texts, truncation_direction, raw_scores, return_text, .. } = request;
    if texts.is_empty() {
        return Err(empty("/texts", "texts"));
    }
    if state.memory.models().further.all().iter().all(|model| model.kind != ModelKind::CrossEncoder) {
        return Err(wrong_model(NO_RERANKER));
    }
    check_count(&state, texts.len(), "/texts")?;
    if truncation_direction == Some(Side::Left) {
        let detail = "pairs are cut off at their end alone";
        return Err(Problem::field(StatusCode::UNPROCESSABLE_ENTITY, "/truncation_direction", detail));
    }
    let _ = Cost::begin(true, query.len() + texts.iter().map(String::len).sum::<usize>());
    let shared = state.clone();
    let work = move || {
        let ranked = Ranked { model: None, query, texts, max_tokens: None };
        let ranks = ranked.scores(&shared)?;
        let rank = |(index, score): (usize, f32)| Rank {
            index,
            score: if raw_scores { score } else { sigmoid(score) },
            text: ranked.texts.get(index).filter(|_| return_text).cloned(),
        };
        Rendered::of(&ranks.into_iter().map(rank).collect::<Vec<_>>())
    };
    state.reads.run(work).await
}

/// `POST /v2/rerank`: the same as Cohere has it.
#[utoipa::path(
    post,
    path = "/v2/rerank",
    tag = "engines",
    request_body(
        content = CohereRerank,
        example = json!(
            {"query": "Where is the key?", "documents": ["The spare key is under the blue pot."], "top_n": 1}
        )
    ),
    responses(
        (status = 200, description = "done", body = CohereRanks),
        (status = 400, description = "a field is missing, wrong or empty; `errors` names it", body = Problem),
        (status = 413, description = "too many texts", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 424, description = "there is no such re-ranker", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn rerank_of_cohere(
    State(state): State<AppState>,
    _: Tenant,
    Json(request): Json<CohereRerank>,
) -> Result<Rendered<CohereRanks>, Problem> {
    ranks(state, request).await
}

/// `POST /v1/rerank`: the same where Jina's and vLLM's clients, and those of Cohere's first version, send it.
#[utoipa::path(
    post,
    path = "/v1/rerank",
    tag = "engines",
    request_body(
        content = CohereRerank,
        example = json!(
            {"query": "Where is the key?", "documents": ["The spare key is under the blue pot."], "top_n": 1}
        )
    ),
    responses(
        (status = 200, description = "done", body = CohereRanks),
        (status = 400, description = "a field is missing, wrong or empty; `errors` names it", body = Problem),
        (status = 413, description = "too many texts", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem),
        (status = 424, description = "there is no such re-ranker", body = Problem),
        (status = 429, description = "a queue is full; retry-after says when", body = Problem)
    ),
)]
pub async fn rerank_of_jina(
    State(state): State<AppState>,
    _: Tenant,
    Json(request): Json<CohereRerank>,
) -> Result<Rendered<CohereRanks>, Problem> {
    ranks(state, request).await
}

async fn ranks(state: AppState, request: CohereRerank) -> Result<Rendered<CohereRanks>, Problem> {
    let CohereRerank { model, query, documents, top_n, return_documents, max_tokens_per_doc: max_tokens } = request;
    if documents.is_empty() {
        return Err(empty("/documents", "documents"));
    }
    check_count(&state, documents.len(), "/documents")?;
    if max_tokens.is_some_and(|tokens| tokens < MIN_PAIR) {
        let detail = format!("{MIN_PAIR} tokens at least");
        return Err(Problem::field(StatusCode::UNPROCESSABLE_ENTITY, "/max_tokens_per_doc", detail));
    }
    let text = |document| match document {
        CohereDocument::Text(text) | CohereDocument::Object(CohereText { text }) => text,
    };
    let texts = documents.into_iter().map(text).collect();
    let shared = state.clone();
    let work = move || {
        let ranked = Ranked { model, query, texts, max_tokens };
        let mut ranks = ranked.scores(&shared)?;
        ranks.truncate(top_n.unwrap_or(ranks.len()));
        let rank = |(index, score): (usize, f32)| {
            let text = ranked.texts.get(index).filter(|_| return_documents).cloned();
            CohereRank { index, relevance_score: sigmoid(score), document: text.map(|text| CohereText { text }) }
        };
        let results = ranks.into_iter().map(rank).collect();
        Rendered::of(&CohereRanks { results })
    };
    state.reads.run(work).await
}

/// Special tokens of a pair, and a token of each text.
const MIN_PAIR: usize = 6;
