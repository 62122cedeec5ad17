//! Texts to be kept: a vector of each, and the vectors of all of its tokens.

use crate::encoder::Encoder;
use crate::lanes::Lane;
use crate::scheduler::{Embeddings, Inputs, Request, Wanted};
use crate::windows::{MAX_TOKEN_WINDOWS, TokenWindow, token_windows};
use crate::{DEFAULT_MAX_TOKENS, EncoderError};
use std::collections::HashSet;
use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// A text as it is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DocumentEmbedding {
    /// Its vector, of unit length: that of its first tokens, as [`Encoder::embed`] gives it.
    pub vector: Vec<f32>,
    /// `[tokens, dimension]`: the vectors of its tokens, of unit length, without special ones.
    pub token_vectors: Vec<f32>,
}

/// A sequence of a text: with its special tokens, and which of the others have their vectors taken from it.
struct Sequence {
    ids: Vec<u32>,
    owned: Range<usize>,
}

impl Encoder {
    /// Encodes texts with the vectors of their tokens. A text that is longer than a sequence is encoded in windows, at
    /// most [`MAX_TOKEN_WINDOWS`]; its vector is that of the first sequence, the same as without token vectors.
    ///
    /// # Errors
    /// As [`Encoder::encode`]; [`EncoderError::NoTokenAxes`] where the model has no axes.
    pub fn embed_documents(
        &self,
        texts: Vec<String>,
        token_dimension: usize,
        lane: Lane,
    ) -> Result<Vec<DocumentEmbedding>, EncoderError> {
        let wanted = Wanted { token_vectors: Some(token_dimension), ..Wanted::vectors(true) };
        let request = |inputs| Request { inputs, max_tokens: DEFAULT_MAX_TOKENS, wanted, lane };
        let limit = self.max_tokens() - 2;
        // A token is a byte at least: short texts need not be looked at here.
        if texts.iter().all(|text| text.len() <= limit) {
            let mut answer = self.encode(request(Inputs::Texts(texts)))?;
            let tokens = std::mem::take(&mut answer.token_vectors).into_iter();
            let document =
                |(vector, token_vectors): (&[f32], _)| DocumentEmbedding { vector: vector.to_vec(), token_vectors };
            return Ok(answer.rows().zip(tokens).map(document).collect());
        }
        let (mut ids, mut parts) = (Vec::new(), Vec::with_capacity(texts.len()));
        for text in &texts {
            let mut owned = Vec::new();
            for sequence in self.sequences_of(text)? {
                ids.push(sequence.ids);
                owned.push(sequence.owned);
            }
            parts.push(owned);
        }
        Ok(join(&self.encode(request(Inputs::Tokens(ids)))?, &parts, token_dimension))
    }

    fn sequences_of(&self, text: &str) -> Result<Vec<Sequence>, EncoderError> {
        let (max_tokens, tokenizer) = (self.max_tokens(), self.tokenizer());
        let first = tokenizer.encode(text, max_tokens)?;
        let length = first.ids.len().saturating_sub(2);
        let whole = |ids| Ok(vec![Sequence { ids, owned: 0..length }]);
        let (Some(&open), Some(&close)) = (first.ids.first(), first.ids.last()) else { return whole(first.ids) };
        if !first.truncated || first.ids.len() < max_tokens {
            return whole(first.ids);
        }
        let (ids, places) = tokenizer.encode_with_places(text, MAX_TOKEN_WINDOWS * length + 2)?;
        let inner = &ids[1..ids.len() - 1];
        if !inner.starts_with(&first.ids[1..=length]) {
            // A text nearly without tokens, of which another part was looked at.
            return whole(first.ids);
        }
        let ends = sentence_ends(text, &places);
        let windows = token_windows(inner.len(), length, |token| ends.contains(&token));
        let sequence = |TokenWindow { tokens, owned }: TokenWindow| Sequence {
            owned: owned.start - tokens.start..owned.end - tokens.start,
            ids: [&[open], &inner[tokens], &[close]].concat(),
        };
        Ok(windows.into_iter().map(sequence).collect())
    }
}

/// Tokens with which a sentence ends, as Unicode has it (UAX #29).
fn sentence_ends(text: &str, places: &[Range<usize>]) -> HashSet<usize> {
    let mut ends = HashSet::new();
    let read = places.last().map_or(0, |last| last.end);
    let mut token = 0;
    for (start, sentence) in text.split_sentence_bound_indices() {
        let end = start + sentence.len();
        token += places[token..].iter().take_while(|place| place.start < end).count();
        if token > 0 {
            ends.insert(token - 1);
        }
        if end >= read {
            break;
        }
    }
    ends
}

/// The answers of sequences, put together to those of their texts; `parts` are the sequences of each.
fn join(answer: &Embeddings, parts: &[Vec<Range<usize>>], dimension: usize) -> Vec<DocumentEmbedding> {
    let mut answers = answer.rows().zip(&answer.token_vectors);
    let mut document = |owned: &Vec<Range<usize>>| {
        let mut document = DocumentEmbedding::default();
        for (owned, (vector, tokens)) in owned.iter().zip(answers.by_ref()) {
            if document.vector.is_empty() {
                document.vector = vector.to_vec();
            }
            document.token_vectors.extend_from_slice(&tokens[owned.start * dimension..owned.end * dimension]);
        }
        document
    };
    parts.iter().map(&mut document).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_with_tokens() {
        let text = "It rained. He has 3.5 euros!\nYes";
        let words = ["It", "rained", ".", "He", "has", "3", ".", "5", "euros", "!", "Yes"];
        let mut from = 0;
        let places: Vec<Range<usize>> = words
            .iter()
            .map(|word| {
                let start = from + text[from..].find(word).expect("a word of the text");
                from = start + word.len();
                start..from
            })
            .collect();
        let mut ends: Vec<usize> = sentence_ends(text, &places).into_iter().collect();
        ends.sort_unstable();
        assert_eq!(ends, [2, 9, 10]);
    }
}
