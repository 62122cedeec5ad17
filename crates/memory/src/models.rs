//! The models of a box, and what they are asked for.

use crate::MemoryError;
use membox_api::Timing;
use membox_compressor::Compressor;
use membox_encoder::{
    DocumentEmbedding, DocumentWindows, Embeddings, EncodedQueries, Encoder, Inputs, Lane, QueryEmbedding, Request,
    Wanted,
};
use membox_llm::Llm;
use membox_store::{Collection, NewVersion, TextWindows, TokenSpace, TokenVectors};
use membox_threads::budget::{self, OverBudget};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// An upsert of at most this many texts is embedded in the interactive lane: somebody is waiting in a conversation.
const INTERACTIVE_RECORDS: usize = 4;
/// … if they have at most so many bytes together: each of their tokens is encoded.
const INTERACTIVE_BYTES: usize = 16 << 10;

/// Bytes of the texts whose token vectors are made at once: until they are packed, these take many times as much.
const TOKEN_VECTOR_BYTES: usize = 64 << 10;
/// Bytes of the texts whose windows are embedded at once where tokens need no vectors.
const WINDOWS_BYTES: usize = 1 << 20;
/// How often a byte of text takes the numbers of a token, in bytes: a token has four bytes or so, as a number has, and
/// there are two copies.
const OF_TEXT_BYTE: usize = 2;
/// How long who makes token vectors waits for memory that others have.
const PATIENCE: Duration = Duration::from_secs(10);

/// A text as a collection keeps it.
pub(crate) struct EmbeddedText {
    pub vector: Vec<f32>,
    /// Where the text is longer than one, as many as the collection keeps.
    pub windows: TextWindows,
    /// Where the collection keeps such.
    pub tokens: Option<TokenVectors>,
    /// From which byte of the text on it is in no vector.
    pub truncated_at: Option<usize>,
}

impl EmbeddedText {
    /// What takes the place of an embedding where there is nothing to embed.
    pub fn without_text(vector: Vec<f32>) -> Self {
        Self { vector, windows: TextWindows::default(), tokens: None, truncated_at: None }
    }
}

/// The windows of a text, as they are kept, and from which byte of the text on it is in no vector.
fn kept_windows(windows: DocumentWindows) -> Result<(TextWindows, Option<usize>), OverBudget> {
    let DocumentWindows { places, vectors, truncated_at } = windows;
    budget::take(vectors.iter().map(|vector| size_of_val(vector.as_slice())).sum())?;
    let number = |byte: usize| u32::try_from(byte).unwrap_or(u32::MAX);
    let places = places.into_iter().map(|place| number(place.start)..number(place.end)).collect();
    Ok((TextWindows { places, vectors }, truncated_at))
}

/// The next texts of a list, as many as have so many bytes together, one at least.
fn next_texts(texts: &mut VecDeque<String>, most: usize) -> Vec<String> {
    let mut bytes = 0;
    let fits = |text: &&String| {
        bytes += text.len();
        bytes <= most
    };
    let count = texts.iter().take_while(fits).count().max(1);
    texts.drain(..count.min(texts.len())).collect()
}

/// The models of a box.
#[derive(Clone, Default)]
pub struct Models {
    /// The embedding model; without one, only given vectors can be written and asked for.
    pub encoder: Option<Arc<Encoder>>,
    /// The models that compress; the first does it where none is named.
    pub compressors: Vec<Arc<Compressor>>,
    /// What extracts facts and decides on memories; without one, what was said is compressed and doubles are merged.
    pub llm: Option<Arc<Llm>>,
}

impl Models {
    /// The encoder, if a model is installed.
    pub fn encoder(&self) -> Result<&Arc<Encoder>, MemoryError> {
        self.encoder.as_ref().ok_or(MemoryError::NoModel)
    }

    /// A model that compresses, by its name or how that begins (`keep-head`, `llmlingua-2`); the box's first where
    /// none is named.
    pub fn compressor(&self, name: Option<&str>) -> Result<&Arc<Compressor>, MemoryError> {
        let known = &self.compressors;
        let found = match name {
            None => known.first(),
            Some(name) => known.iter().find(|c| c.name() == name).or(known.iter().find(|c| c.name().starts_with(name))),
        };
        found.ok_or_else(|| MemoryError::NoCompressor {
            name: name.unwrap_or("compression model").to_owned(),
            loaded: known.iter().map(|c| c.name().to_owned()).collect(),
        })
    }

    /// The language models, if any are set up.
    pub fn llm(&self) -> Option<&Llm> {
        self.llm.as_deref()
    }

    /// The encoder, if it is the one that a collection's texts are embedded by.
    pub(crate) fn encoder_of(&self, collection: &Collection) -> Result<&Arc<Encoder>, MemoryError> {
        let encoder = self.encoder()?;
        let settings = collection.settings();
        match settings.model.as_deref() {
            Some(model) if model == encoder.name() => Ok(encoder),
            Some(model) => {
                let reason = format!("the collection was embedded by {model:?} and this box runs {:?}", encoder.name());
                Err(MemoryError::impossible("/text", reason))
            }
            None => {
                let reason = "the collection takes given vectors only: its dimension is not the model's";
                Err(MemoryError::impossible("/text", reason))
            }
        }
    }

    /// What the vectors of tokens are that a collection keeps; `None` where it keeps none, and where its model has no
    /// axes for them.
    pub(crate) fn token_space(&self, collection: &Collection) -> Option<TokenSpace> {
        let dimension = collection.token_dimension()?;
        let axes = self.encoder_of(collection).ok()?.token_axes()?.id();
        Some(TokenSpace { dimension, axes })
    }

    /// Embeds texts as a collection keeps them.
    pub(crate) fn embed_texts(
        &self,
        collection: &Collection,
        texts: Vec<String>,
        lane: Lane,
    ) -> Result<Vec<EmbeddedText>, MemoryError> {
        let encoder = self.encoder_of(collection)?;
        let (space, max_windows) = (self.token_space(collection), collection.max_windows());
        let mut embedded = Vec::with_capacity(texts.len());
        let mut texts = VecDeque::from(texts);
        while !texts.is_empty() {
            let some = next_texts(&mut texts, if space.is_some() { TOKEN_VECTOR_BYTES } else { WINDOWS_BYTES });
            let bytes = some.iter().map(String::len).sum::<usize>().min(TOKEN_VECTOR_BYTES);
            let (_lent, documents) = match space {
                Some(TokenSpace { dimension, .. }) => {
                    let lent = budget::lend(bytes * OF_TEXT_BYTE * dimension, PATIENCE)?;
                    (Some(lent), encoder.embed_documents(some, dimension, max_windows, lane)?)
                }
                None => (None, encoder.embed_windows(some, max_windows, lane)?),
            };
            for DocumentEmbedding { vector, windows, token_vectors } in documents {
                let tokens = space.map(|space| TokenVectors::pack(space, &token_vectors));
                budget::take(tokens.as_ref().map_or(0, |tokens| tokens.bytes().len()))?;
                let (windows, truncated_at) = kept_windows(windows)?;
                embedded.push(EmbeddedText { vector, windows, tokens, truncated_at });
            }
        }
        Ok(embedded)
    }

    /// Embeds the texts of the records that have no vector yet, and of those that lack the vectors of their tokens or
    /// of their further windows. A record whose vector was given is left as it is: who gives vectors does so to have
    /// nothing encoded. Says for each record from which character of its text on that is in no vector.
    pub(crate) fn embed_missing(
        &self,
        collection: &Collection,
        records: &mut [NewVersion],
    ) -> Result<Vec<Option<usize>>, MemoryError> {
        let wants_tokens = self.token_space(collection).is_some();
        let lacks = |new: &NewVersion| {
            new.vector.is_empty() || wants_tokens && new.tokens.is_none() && !new.record.given_vector
        };
        let (missing, others): (Vec<usize>, Vec<usize>) = (0..records.len()).partition(|&i| lacks(&records[i]));
        let mut truncated = vec![None; records.len()];
        if !missing.is_empty() {
            let texts: Vec<String> = missing.iter().map(|&i| records[i].record.text.clone()).collect();
            let is_long = texts.iter().map(String::len).sum::<usize>() > INTERACTIVE_BYTES;
            let lane = if is_long { Lane::Bulk } else { lane(texts.len()) };
            for (&i, embedded) in missing.iter().zip(self.embed_texts(collection, texts, lane)?) {
                let EmbeddedText { vector, windows, tokens, truncated_at } = embedded;
                if records[i].vector.is_empty() {
                    records[i].vector = vector;
                }
                (records[i].windows, records[i].tokens, truncated[i]) = (windows, tokens, truncated_at);
            }
        }
        self.embed_further_windows(collection, records, &others, &mut truncated)?;
        metrics::counter!("membox_truncated_texts_total").increment(truncated.iter().flatten().count() as u64);
        let in_characters = |(new, at): (&NewVersion, Option<usize>)| {
            at.map(|at| new.record.text.get(..at).map_or(0, |before| before.chars().count()))
        };
        Ok(records.iter().zip(truncated).map(in_characters).collect())
    }

    /// Embeds the further windows of those of `records` that have the vector of their first one, as a compression gives
    /// it.
    fn embed_further_windows(
        &self,
        collection: &Collection,
        records: &mut [NewVersion],
        which: &[usize],
        truncated: &mut [Option<usize>],
    ) -> Result<(), MemoryError> {
        let Ok(encoder) = self.encoder_of(collection) else { return Ok(()) };
        let is_long = |i: &usize| {
            let NewVersion { record, windows, .. } = &records[*i];
            !record.given_vector && windows.vectors.is_empty() && encoder.may_be_long(&record.text)
        };
        let long: Vec<usize> = which.iter().copied().filter(is_long).collect();
        let texts: Vec<String> = long.iter().map(|&i| records[i].record.text.clone()).collect();
        let found = encoder.further_windows(&texts, collection.max_windows(), Lane::Bulk)?;
        for (i, windows) in long.into_iter().zip(found) {
            (records[i].windows, truncated[i]) = kept_windows(windows)?;
        }
        Ok(())
    }

    /// Questions with their vectors, and with the vectors of their tokens where the collection keeps such; from the
    /// cache of the tenant where they are there.
    pub(crate) fn embed_queries(
        &self,
        tenant: &str,
        collection: &Collection,
        texts: &[&String],
        timing: &mut Timing,
    ) -> Result<Vec<QueryEmbedding>, MemoryError> {
        let encoder = self.encoder_of(collection)?;
        let dimension = self.token_space(collection).map(|space| space.dimension);
        let mut found: Vec<Option<QueryEmbedding>> =
            texts.iter().map(|text| encoder.cached_query(tenant, text, dimension)).collect();
        let missing: Vec<usize> = (0..texts.len()).filter(|&i| found[i].is_none()).collect();
        if !missing.is_empty() {
            let texts_missing = missing.iter().map(|&i| texts[i].clone()).collect();
            let EncodedQueries { queries, tokenize, queue, encode } =
                encoder.embed_queries(texts_missing, dimension)?;
            (timing.tokenize, timing.queue, timing.encode) = (tokenize, queue, encode);
            for (&i, query) in missing.iter().zip(queries) {
                encoder.cache_query(tenant, texts[i], query.clone());
                found[i] = Some(query);
            }
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// Encodes texts or tokens for a caller who wants the vectors themselves.
    pub fn embed(
        &self,
        inputs: Inputs,
        max_tokens: Option<usize>,
        normalize: bool,
        lane: Lane,
    ) -> Result<Embeddings, MemoryError> {
        let encoder = self.encoder()?;
        let max_tokens = max_tokens.unwrap_or(encoder.max_tokens());
        Ok(encoder.encode(Request { inputs, max_tokens, wanted: Wanted::vectors(normalize), lane })?)
    }
}

/// Somebody waits for a few records; many are bulk work.
pub(crate) fn lane(records: usize) -> Lane {
    if records <= INTERACTIVE_RECORDS { Lane::Interactive } else { Lane::Bulk }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_collection_may_have_the_token_vectors_and_windows_that_an_encoder_gives() {
        assert_eq!(membox_api::TOKEN_DIMENSIONS, membox_encoder::TOKEN_DIMENSIONS);
        assert_eq!(membox_api::MAX_WINDOWS, membox_encoder::MAX_WINDOWS);
        assert!(membox_api::TOKEN_DIMENSIONS.into_iter().all(membox_store::TokenSpace::is_possible));
    }
}
