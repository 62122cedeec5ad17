//! Texts to be kept: a vector of each of their windows, and the vectors of all of their tokens.

use crate::EncoderError;
use crate::encoder::Encoder;
use crate::lanes::Lane;
use crate::prompts::{Purpose, prompted};
use crate::queries::without_prompt;
use crate::request::{Embeddings, Inputs, Request, Wanted};
use crate::windows::{MAX_WINDOWS, TokenWindow, token_windows};
use std::collections::HashSet;
use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// A text as it is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DocumentEmbedding {
    /// Its vector, of unit length: that of its first tokens, as [`Encoder::embed_for`] gives it.
    pub vector: Vec<f32>,
    /// The windows of a text that is longer than one.
    pub windows: DocumentWindows,
    /// `[tokens, dimension]`: the vectors of its tokens, of unit length, without special ones; empty where none are
    /// wanted.
    pub token_vectors: Vec<f32>,
    /// The share of its first tokens that the model does not know, 0 to 1.
    pub unknown_share: f32,
}

/// The windows of a text that is longer than one; empty for others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DocumentWindows {
    /// Where each is in the text, in bytes, the first one's place among them.
    pub places: Vec<Range<usize>>,
    /// The vectors of all but the first, each of unit length.
    pub vectors: Vec<Vec<f32>>,
    /// From which byte of the text on it is in no vector.
    pub truncated_at: Option<usize>,
}

/// A sequence of a text, with its special tokens.
struct Sequence {
    ids: Vec<u32>,
    /// Which of its other tokens have their vectors taken from it.
    owned: Range<usize>,
    /// Its place in the text, in bytes; `None` where it is the only one.
    place: Option<Range<usize>>,
}

/// The sequences of a text.
struct Sequences {
    all: Vec<Sequence>,
    /// From which byte of the text on it is in none of the first so many of them that have vectors.
    truncated_at: Option<usize>,
}

/// A text in a request of sequences.
struct Part {
    owned: Vec<Range<usize>>,
    windows: DocumentWindows,
}

impl Encoder {
    /// Encodes texts with the vectors of their tokens. A text that is longer than a sequence is encoded in windows, at
    /// most [`MAX_WINDOWS`], of which the first `windows` give it vectors too; its own vector is that of the first one,
    /// the same as without token vectors.
    ///
    /// # Errors
    /// As [`Encoder::encode`]; [`EncoderError::NoTokenAxes`] where the model has no axes.
    pub fn embed_documents(
        &self,
        texts: Vec<String>,
        token_dimension: usize,
        windows: usize,
        lane: Lane,
    ) -> Result<Vec<DocumentEmbedding>, EncoderError> {
        let wanted = Wanted { token_vectors: Some(token_dimension), ..Wanted::vectors(true) };
        let request = |inputs| Request { inputs, max_tokens: self.max_tokens(), wanted, lane };
        if self.prompt().is_empty() && texts.iter().all(|text| !self.may_be_long(text)) {
            let mut answer = self.encode(request(Inputs::Texts(texts)))?;
            let tokens = std::mem::take(&mut answer.token_vectors).into_iter();
            let document = |((vector, token_vectors), &unknown_share): ((&[f32], _), _)| DocumentEmbedding {
                vector: vector.to_vec(),
                token_vectors,
                unknown_share,
                ..DocumentEmbedding::default()
            };
            return Ok(answer.rows().zip(tokens).zip(&answer.unknown).map(document).collect());
        }
        let (mut ids, mut parts) = (Vec::new(), Vec::with_capacity(texts.len()));
        for text in &texts {
            let Sequences { all, truncated_at } = self.sequences_of(text, windows)?;
            let places = all.iter().take(windows).filter_map(|sequence| sequence.place.clone());
            let places = if windows > 1 { places.collect() } else { Vec::new() };
            let windows = DocumentWindows { places, truncated_at, ..DocumentWindows::default() };
            parts.push(Part { owned: all.iter().map(|sequence| sequence.owned.clone()).collect(), windows });
            ids.extend(all.into_iter().map(|sequence| sequence.ids));
        }
        Ok(join(&self.encode(request(Inputs::Tokens(ids)))?, parts, token_dimension))
    }

    /// As [`Encoder::embed_documents`], without the vectors of tokens.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn embed_windows(
        &self,
        texts: Vec<String>,
        windows: usize,
        lane: Lane,
    ) -> Result<Vec<DocumentEmbedding>, EncoderError> {
        let vectors = self.embed_for(Purpose::Document, texts.clone(), lane)?;
        let of_long = match vectors.truncated {
            0 => vec![DocumentWindows::default(); texts.len()],
            _ => self.further_windows(&texts, windows, lane)?,
        };
        let document = |((vector, windows), &unknown_share): ((&[f32], _), _)| DocumentEmbedding {
            vector: vector.to_vec(),
            windows,
            unknown_share,
            ..DocumentEmbedding::default()
        };
        Ok(vectors.rows().zip(of_long).zip(&vectors.unknown).map(document).collect())
    }

    /// The windows of texts whose own vectors are there, the first `windows` of each.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn further_windows(
        &self,
        texts: &[String],
        windows: usize,
        lane: Lane,
    ) -> Result<Vec<DocumentWindows>, EncoderError> {
        let (mut ids, mut all) = (Vec::new(), Vec::with_capacity(texts.len()));
        for text in texts {
            let mut own = DocumentWindows::default();
            if self.may_be_long(text) {
                let Sequences { all, truncated_at } = self.sequences_of(text, windows)?;
                own.truncated_at = truncated_at;
                if windows > 1 && all.len() > 1 {
                    let kept = all.into_iter().take(windows);
                    for (i, Sequence { ids: sequence, place, .. }) in kept.enumerate() {
                        own.places.extend(place);
                        ids.extend((i > 0).then_some(sequence));
                    }
                }
            }
            all.push(own);
        }
        if ids.is_empty() {
            return Ok(all);
        }
        let (max_tokens, wanted) = (self.max_tokens(), Wanted::vectors(true));
        let answer = self.encode(Request { inputs: Inputs::Tokens(ids), max_tokens, wanted, lane })?;
        let mut vectors = answer.rows();
        for own in &mut all {
            let further = own.places.len().saturating_sub(1);
            own.vectors = vectors.by_ref().take(further).map(<[f32]>::to_vec).collect();
        }
        Ok(all)
    }

    /// Whether a text may be longer than a sequence: a token is a byte at least, so short ones need not be looked at.
    pub fn may_be_long(&self, text: &str) -> bool {
        self.prompt().len() + text.len() > self.max_tokens() - 2
    }

    /// What comes before a text that is kept, in each of its windows.
    fn prompt(&self) -> &str {
        self.prompts().of(Purpose::Document)
    }

    /// The sequences of a text, of which the first `windows` have vectors.
    fn sequences_of(&self, text: &str, windows: usize) -> Result<Sequences, EncoderError> {
        let (max_tokens, tokenizer, prompt) = (self.max_tokens(), self.tokenizer(), self.prompt());
        let prompted = prompted(prompt, text);
        let first = tokenizer.encode(&prompted, max_tokens)?;
        let length = first.ids.len().saturating_sub(2);
        let whole = |ids, of_prompt: usize, truncated_at| {
            let owned = of_prompt.min(length)..length;
            Ok(Sequences { all: vec![Sequence { ids, owned, place: None }], truncated_at })
        };
        let (Some(&open), Some(&close)) = (first.ids.first(), first.ids.last()) else {
            return whole(first.ids, 0, None);
        };
        if !first.truncated && prompt.is_empty() {
            return whole(first.ids, 0, None);
        }
        let (ids, places) = tokenizer.encode_with_places(&prompted, MAX_WINDOWS * length + 2)?;
        let (of_prompt, places) = without_prompt(places, prompt.len());
        if !first.truncated {
            return whole(first.ids, of_prompt, None);
        }
        let inner = &ids[1..ids.len() - 1];
        if first.ids.len() < max_tokens || of_prompt >= length || !inner.starts_with(&first.ids[1..=length]) {
            // A text nearly without tokens, of which another part was looked at.
            let read = places.get((length.saturating_sub(1)).saturating_sub(of_prompt));
            let read = read.map_or(text.len(), |place| place.end);
            return whole(first.ids, of_prompt, Some(read).filter(|read| *read < text.trim_end().len()));
        }
        let (of_prompt, own) = inner.split_at(of_prompt);
        let ends = sentence_ends(text, &places);
        let cut = token_windows(own.len(), length - of_prompt.len(), |token| ends.contains(&token));
        let last = cut.iter().take(windows.max(1)).next_back().map_or(0, |window| window.tokens.end);
        let read = places.get(last.saturating_sub(1)).map_or(0, |place| place.end);
        let sequence = |TokenWindow { tokens, owned }: TokenWindow| Sequence {
            owned: owned.start - tokens.start + of_prompt.len()..owned.end - tokens.start + of_prompt.len(),
            place: Some(places[tokens.start].start..places[tokens.end - 1].end),
            ids: [&[open], of_prompt, &own[tokens], &[close]].concat(),
        };
        let all = cut.into_iter().map(sequence).collect();
        Ok(Sequences { all, truncated_at: Some(read).filter(|read| *read < text.trim_end().len()) })
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

/// The answers of sequences, put together to those of their texts.
fn join(answer: &Embeddings, parts: Vec<Part>, dimension: usize) -> Vec<DocumentEmbedding> {
    let mut answers = answer.rows().zip(&answer.token_vectors).zip(&answer.unknown);
    let mut document = |Part { owned, windows }: Part| {
        let mut document = DocumentEmbedding { windows, ..DocumentEmbedding::default() };
        for (i, (owned, ((vector, tokens), &unknown))) in owned.iter().zip(answers.by_ref()).enumerate() {
            match i {
                0 => (document.vector, document.unknown_share) = (vector.to_vec(), unknown),
                i if i < document.windows.places.len() => document.windows.vectors.push(vector.to_vec()),
                _ => {}
            }
            document.token_vectors.extend_from_slice(&tokens[owned.start * dimension..owned.end * dimension]);
        }
        document
    };
    parts.into_iter().map(&mut document).collect()
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
