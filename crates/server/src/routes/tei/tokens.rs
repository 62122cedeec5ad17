//! The model's tokens of texts, and the texts of tokens.

use super::prompt;
use crate::auth::Tenant;
use crate::extract::Json;
use crate::problem::Problem;
use crate::rendered::Rendered;
use crate::routes::encoding::check_count;
use crate::routes::inputs::check_some;
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use membox_api::{DecodeRequest, TokenLists, TokenView, TokenizeRequest};
use membox_memory::MemoryError;
use membox_memory::encoder::EncoderError;
use membox_threads::budget;

/// Memory that a byte of a text takes while it is tokenized and its tokens are answered: 30 MB took 4 GB.
const OF_TOKENIZED_BYTE: usize = 160;
/// Memory that an id takes while it is made into text.
const OF_DECODED_TOKEN: usize = 64;

/// `POST /tokenize`: the model's tokens of texts.
#[utoipa::path(
    post,
    path = "/tokenize",
    tag = "engines",
    request_body(content = TokenizeRequest, example = json!({"inputs": ["The spare key is under the blue pot."]})),
    responses(
        (status = 200, description = "done", body = Vec<Vec<TokenView>>),
        (status = 400, description = "a field is missing, wrong or empty; `errors` names it", body = Problem),
        (status = 413, description = "too many texts", body = Problem),
        (status = 422, description = "well-formed but impossible", body = Problem)
    ),
)]
pub async fn tokenize(
    State(state): State<AppState>,
    _: Tenant,
    Json(request): Json<TokenizeRequest>,
) -> Result<Rendered<Vec<Vec<TokenView>>>, Problem> {
    let prompt = prompt(state.memory.models().encoder()?, request.prompt_name.as_deref())?.to_owned();
    let texts = request.inputs.into_vec();
    check_some(texts.iter().map(String::is_empty), "/inputs", "inputs")?;
    check_count(&state, texts.len(), "/inputs")?;
    let memory = state.memory.clone();
    let tokens = state.reads.run(move || {
        let encoder = memory.models().encoder()?;
        let view = |t: membox_memory::encoder::Token| TokenView {
            id: t.id,
            text: t.text,
            special: t.special,
            start: t.start,
            stop: t.stop,
        };
        let of_text = |mut text: String| -> Result<Vec<TokenView>, Problem> {
            text.insert_str(0, &prompt);
            budget::take(text.len() * OF_TOKENIZED_BYTE).map_err(MemoryError::from)?;
            let tokens = encoder.tokens(&text, request.add_special_tokens).map_err(MemoryError::from)?;
            Ok(tokens.into_iter().map(view).collect())
        };
        let tokens: Vec<Vec<TokenView>> = texts.into_iter().map(of_text).collect::<Result<_, _>>()?;
        Rendered::of(&tokens)
    });
    tokens.await
}

/// `POST /decode`: the texts of the model's tokens.
#[utoipa::path(
    post,
    path = "/decode",
    tag = "engines",
    request_body(content = DecodeRequest, example = json!({"ids": [[101, 7592, 2088, 102]]})),
    responses(
        (status = 200, description = "done", body = Vec<String>),
        (status = 400, description = "a field is missing, wrong or empty; `errors` names it", body = Problem),
        (status = 413, description = "too many texts", body = Problem),
        (status = 422, description = "the model has no such token", body = Problem)
    ),
)]
pub async fn decode(
    State(state): State<AppState>,
    _: Tenant,
    Json(request): Json<DecodeRequest>,
) -> Result<Rendered<Vec<String>>, Problem> {
    let (lists, is_one) = match request.ids {
        TokenLists::One(ids) => (vec![ids], true),
        TokenLists::Many(lists) => (lists, false),
    };
    check_some(lists.iter().map(Vec::is_empty), "/ids", "ids")?;
    check_count(&state, lists.len(), "/ids")?;
    let memory = state.memory.clone();
    let texts = state.reads.run(move || {
        let encoder = memory.models().encoder()?;
        let text = |(index, ids): (usize, Vec<u32>)| -> Result<String, Problem> {
            budget::take(ids.len() * OF_DECODED_TOKEN).map_err(MemoryError::from)?;
            encoder.tokenizer().decode(&ids, request.skip_special_tokens).map_err(|error| match error {
                EncoderError::Tokenize(reason) => {
                    let pointer = if is_one { "/ids".to_owned() } else { format!("/ids/{index}") };
                    Problem::field(StatusCode::UNPROCESSABLE_ENTITY, pointer, reason)
                }
                error => MemoryError::from(error).into(),
            })
        };
        let texts: Vec<String> = lists.into_iter().enumerate().map(text).collect::<Result<_, _>>()?;
        Rendered::of(&texts)
    });
    texts.await
}
