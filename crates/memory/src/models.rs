//! The models of a box, and what they are asked for.

use crate::MemoryError;
use membox_api::Timing;
use membox_compressor::Compressor;
use membox_encoder::{DEFAULT_MAX_TOKENS, Embeddings, Encoder, Inputs, Lane, Request, Wanted};
use membox_llm::Llm;
use membox_store::{Collection, NewVersion};
use std::sync::Arc;

/// An upsert of at most this many texts is embedded in the interactive lane: somebody is waiting in a conversation.
const INTERACTIVE_RECORDS: usize = 4;

/// A query's vector, shared with the cache.
pub(crate) type QueryVector = Arc<[f32]>;

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

    /// Embeds the texts of the records that have no vector yet.
    pub(crate) fn embed_missing(&self, collection: &Collection, records: &mut [NewVersion]) -> Result<(), MemoryError> {
        let missing: Vec<usize> = (0..records.len()).filter(|&i| records[i].vector.is_empty()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let encoder = self.encoder_of(collection)?;
        let texts = missing.iter().map(|&i| records[i].record.text.clone()).collect();
        let vectors = encoder.embed(texts, lane(missing.len()))?;
        for (&i, vector) in missing.iter().zip(vectors.rows()) {
            records[i].vector = vector.to_vec();
        }
        Ok(())
    }

    /// Vectors of questions, from the cache of the tenant where they are there.
    pub(crate) fn embed_queries(
        &self,
        tenant: &str,
        collection: &Collection,
        texts: &[&String],
        timing: &mut Timing,
    ) -> Result<Vec<QueryVector>, MemoryError> {
        let encoder = self.encoder_of(collection)?;
        let mut vectors: Vec<Option<QueryVector>> = texts.iter().map(|t| encoder.cached_query(tenant, t)).collect();
        let missing: Vec<usize> = (0..texts.len()).filter(|&i| vectors[i].is_none()).collect();
        if !missing.is_empty() {
            let texts_missing = missing.iter().map(|&i| texts[i].clone()).collect();
            let answer: Embeddings = encoder.embed(texts_missing, Lane::Interactive)?;
            (timing.tokenize, timing.queue, timing.encode) = (answer.tokenize, answer.queue, answer.encode);
            for (&i, vector) in missing.iter().zip(answer.rows()) {
                let vector: QueryVector = vector.into();
                encoder.cache_query(tenant, texts[i], vector.clone());
                vectors[i] = Some(vector);
            }
        }
        Ok(vectors.into_iter().flatten().collect())
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
