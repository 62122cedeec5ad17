//! The models of a box, and what they are asked for.

use crate::MemoryError;
use membox_api::Timing;
use membox_compressor::Compressor;
use membox_encoder::{
    DEFAULT_MAX_TOKENS, DocumentEmbedding, Embeddings, EncodedQueries, Encoder, Inputs, Lane, QueryEmbedding, Request,
    Wanted,
};
use membox_llm::Llm;
use membox_store::{Collection, NewVersion, TokenSpace, TokenVectors};
use membox_threads::budget;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// An upsert of at most this many texts is embedded in the interactive lane: somebody is waiting in a conversation.
const INTERACTIVE_RECORDS: usize = 4;
/// … if they have at most so many bytes together, where each of their tokens is encoded.
const INTERACTIVE_BYTES: usize = 16 << 10;

/// Bytes of the texts whose token vectors are made at once: until they are packed, these take many times as much.
const TOKEN_VECTOR_BYTES: usize = 64 << 10;
/// How often a byte of text takes the numbers of a token, in bytes: a token has four bytes or so, as a number has, and
/// there are two copies.
const OF_TEXT_BYTE: usize = 2;
/// How long who makes token vectors waits for memory that others have.
const PATIENCE: Duration = Duration::from_secs(10);

/// A text as a collection keeps it.
pub(crate) struct EmbeddedText {
    pub vector: Vec<f32>,
    /// Where the collection keeps such.
    pub tokens: Option<TokenVectors>,
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
        let Some(space) = self.token_space(collection) else {
            let vectors = encoder.embed(texts, lane)?;
            return Ok(vectors.rows().map(|row| EmbeddedText { vector: row.to_vec(), tokens: None }).collect());
        };
        let mut embedded = Vec::with_capacity(texts.len());
        let mut texts = VecDeque::from(texts);
        while !texts.is_empty() {
            let mut bytes = 0;
            let fits = |text: &&String| {
                bytes += text.len();
                bytes <= TOKEN_VECTOR_BYTES
            };
            let count = texts.iter().take_while(fits).count().max(1);
            let _lent = budget::lend(bytes.min(TOKEN_VECTOR_BYTES) * OF_TEXT_BYTE * space.dimension, PATIENCE)?;
            let documents = encoder.embed_documents(texts.drain(..count).collect(), space.dimension, lane)?;
            for DocumentEmbedding { vector, token_vectors } in documents {
                let tokens = TokenVectors::pack(space, &token_vectors);
                budget::take(tokens.bytes().len())?;
                embedded.push(EmbeddedText { vector, tokens: Some(tokens) });
            }
        }
        Ok(embedded)
    }

    /// Embeds the texts of the records that have no vector yet, and of those that lack the vectors of their tokens.
    /// A record whose vector was given is left as it is: who gives vectors does so to have nothing encoded.
    pub(crate) fn embed_missing(&self, collection: &Collection, records: &mut [NewVersion]) -> Result<(), MemoryError> {
        let wants_tokens = self.token_space(collection).is_some();
        let lacks = |new: &NewVersion| {
            new.vector.is_empty() || wants_tokens && new.tokens.is_none() && !new.record.given_vector
        };
        let missing: Vec<usize> = (0..records.len()).filter(|&i| lacks(&records[i])).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let texts: Vec<String> = missing.iter().map(|&i| records[i].record.text.clone()).collect();
        let is_long = wants_tokens && texts.iter().map(String::len).sum::<usize>() > INTERACTIVE_BYTES;
        let lane = if is_long { Lane::Bulk } else { lane(texts.len()) };
        for (&i, EmbeddedText { vector, tokens }) in missing.iter().zip(self.embed_texts(collection, texts, lane)?) {
            if records[i].vector.is_empty() {
                records[i].vector = vector;
            }
            records[i].tokens = tokens;
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
        let max_tokens = max_tokens.unwrap_or(DEFAULT_MAX_TOKENS);
        Ok(self.encoder()?.encode(Request { inputs, max_tokens, wanted: Wanted::vectors(normalize), lane })?)
    }
}

/// Somebody waits for a few records; many are bulk work.
pub(crate) fn lane(records: usize) -> Lane {
    if records <= INTERACTIVE_RECORDS { Lane::Interactive } else { Lane::Bulk }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_collection_may_have_the_token_vectors_that_an_encoder_gives() {
        assert_eq!(membox_api::TOKEN_DIMENSIONS, membox_encoder::TOKEN_DIMENSIONS);
        assert!(membox_api::TOKEN_DIMENSIONS.into_iter().all(membox_store::TokenSpace::is_possible));
    }
}
