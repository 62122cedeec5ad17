//! What is to be embedded, in the forms that OpenAI and text-embeddings-inference take, and whose the token ids are.

use super::encoding::check_count;
use crate::problem::Problem;
use crate::state::AppState;
use axum::http::StatusCode;
use membox_api::{EmbeddingInput, Side, TeiInput, TextOrTokens};
use membox_memory::MemoryError;
use membox_memory::compressor::TokenCounter;
use membox_memory::encoder::{Encoder, Inputs};
use membox_threads::budget;
use std::sync::Arc;

/// The encoding of OpenAI's embedding models. Its clients take it for models that they do not know, too.
const OPENAI_ENCODING: &str = "cl100k_base";

/// Bytes that a token of a text stands for at most, on average.
const MAX_TOKEN_BYTES: usize = 256;

/// OpenAI's inputs: token ids are cl100k_base's, and are read as the text that they stand for. Those between the
/// model's own brackets are the model's: no text's ids begin so.
pub(super) async fn as_openai(
    state: &AppState,
    encoder: &Arc<Encoder>,
    input: EmbeddingInput,
) -> Result<Inputs, Problem> {
    let (sequences, is_one) = match input {
        EmbeddingInput::Text(text) => return Ok(Inputs::Texts(vec![text])),
        EmbeddingInput::Texts(texts) => return Ok(Inputs::Texts(texts)),
        EmbeddingInput::Tokens(ids) => (vec![ids], true),
        EmbeddingInput::TokenLists(lists) => (lists, false),
    };
    let encoder = encoder.clone();
    let read = move || {
        let counter = TokenCounter::by_name(OPENAI_ENCODING).map_err(MemoryError::from)?;
        let brackets = brackets(&encoder)?;
        let is_own = |ids: &[u32]| is_between(ids, brackets) && !counter.is_text(ids);
        let text = |(index, ids): (usize, &Vec<u32>)| {
            let pointer = if is_one { "/input".to_owned() } else { format!("/input/{index}") };
            let text = counter.decode(ids).map_err(|error| error.to_string());
            let text = text
                .and_then(|text| if text.is_empty() { Err("no text is in these ids".to_owned()) } else { Ok(text) });
            text.map_err(|detail| Problem::field(StatusCode::UNPROCESSABLE_ENTITY, pointer, detail))
        };
        if !sequences.iter().any(|ids| is_own(ids)) {
            return Ok(Inputs::Texts(sequences.iter().enumerate().map(text).collect::<Result<_, _>>()?));
        }
        let ids = sequences.iter().enumerate().map(|(index, ids)| {
            if is_own(ids) {
                return Ok(ids.clone());
            }
            let encoded = encoder.tokenizer().encode(&text((index, ids))?, encoder.max_tokens());
            Ok(encoded.map_err(MemoryError::from)?.ids)
        });
        Ok(Inputs::Tokens(ids.collect::<Result<_, Problem>>()?))
    };
    state.reads.run(read).await
}

/// text-embeddings-inference's inputs, and how many of them are cut already. Token ids are the model's own, with or
/// without the brackets of a text. Of what is too long the beginning is kept, or with [`Side::Left`] the end.
pub(super) async fn as_tei(
    state: &AppState,
    encoder: &Arc<Encoder>,
    input: TeiInput,
    most: usize,
    side: Option<Side>,
    prompt: &str,
    at: &str,
) -> Result<(Inputs, usize), Problem> {
    let mut all = input.into_vec();
    check_some(all.iter().map(TextOrTokens::is_empty), at, "inputs")?;
    check_count(state, all.len(), at)?;
    for input in &mut all {
        if let TextOrTokens::Text(text) = input {
            text.insert_str(0, prompt);
        }
    }
    let from_left = side == Some(Side::Left);
    let is_text = |input: &TextOrTokens| matches!(input, TextOrTokens::Text(_));
    if !from_left && all.iter().all(is_text) {
        let text = |input| match input {
            TextOrTokens::Text(text) => Some(text),
            TextOrTokens::Tokens(_) => None,
        };
        return Ok((Inputs::Texts(all.into_iter().filter_map(text).collect()), 0));
    }
    let encoder = encoder.clone();
    let read = move || {
        let brackets = brackets(&encoder)?;
        // With whether a part is cut off already: a megabyte must not be tokenized to keep 256 tokens of it.
        let sequence = |input| {
            budget::check().map_err(MemoryError::from)?;
            Ok(match input {
                TextOrTokens::Text(text) if from_left => {
                    let begin = text.ceil_char_boundary(text.len().saturating_sub(most * MAX_TOKEN_BYTES));
                    let encoded = encoder.tokenizer().encode(&text[begin..], usize::MAX).map_err(MemoryError::from)?;
                    (encoded.ids, begin > 0)
                }
                TextOrTokens::Text(text) => {
                    let encoded = encoder.tokenizer().encode(&text, most).map_err(MemoryError::from)?;
                    (encoded.ids, encoded.truncated)
                }
                TextOrTokens::Tokens(ids) if is_between(&ids, brackets) => (ids, false),
                TextOrTokens::Tokens(ids) => ([&[brackets.0], &ids[..], &[brackets.1]].concat(), false),
            })
        };
        let lists: Vec<(Vec<u32>, bool)> = all.into_iter().map(sequence).collect::<Result<_, Problem>>()?;
        let too_long = lists.iter().filter(|(ids, is_cut)| *is_cut || ids.len() > most).count();
        let cut = |(ids, _): (Vec<u32>, bool)| match ids.len().checked_sub(most) {
            Some(left_out @ 1..) if from_left => [&ids[..1], &ids[left_out + 1..]].concat(),
            Some(1..) => [&ids[..most - 1], &ids[ids.len() - 1..]].concat(),
            _ => ids,
        };
        Ok((Inputs::Tokens(lists.into_iter().map(cut).collect()), too_long))
    };
    state.reads.run(read).await
}

/// That there is nothing, as text-embeddings-inference says it.
pub(super) fn empty(pointer: impl Into<String>, name: &str) -> Problem {
    Problem::field(StatusCode::BAD_REQUEST, pointer, format!("`{name}` cannot be empty"))
}

/// Refuses no inputs, and one that is empty.
pub(super) fn check_some(
    mut are_empty: impl ExactSizeIterator<Item = bool>,
    at: &str,
    name: &str,
) -> Result<(), Problem> {
    match (are_empty.len(), are_empty.position(|is_empty| is_empty)) {
        (0, _) | (1, Some(_)) => Err(empty(at, name)),
        (_, Some(index)) => Err(empty(format!("{at}/{index}"), name)),
        (_, None) => Ok(()),
    }
}

/// The tokens that open and close a text for the model.
fn brackets(encoder: &Encoder) -> Result<(u32, u32), Problem> {
    Ok(encoder.tokenizer().special_tokens().map_err(MemoryError::from)?)
}

fn is_between(ids: &[u32], (open, close): (u32, u32)) -> bool {
    ids.len() > 1 && ids.first() == Some(&open) && ids.last() == Some(&close)
}
