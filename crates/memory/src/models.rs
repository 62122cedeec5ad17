//! The models of a box, and what they are asked for.

use crate::further_models::FurtherModels;
use crate::{MemoryError, now};
use membox_api::{Metric, Timing};
use membox_compressor::Compressor;
use membox_encoder::{
    CosineScale, DocumentEmbedding, DocumentWindows, EncodedQueries, Encoder, Lane, ModelKind, QueryEmbedding,
};
use membox_llm::Llm;
use membox_store::{Collection, NewVersion, TextWindows, TokenSpace, TokenVectors};
use membox_threads::budget::{self, OverBudget};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
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
/// The share of a text's tokens that a model may not know before that is said.
const MUCH_UNKNOWN: f32 = 0.5;
/// How often it is said in the log, in milliseconds.
const SAY_EVERY_MS: i64 = 60_000;
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
    /// The share of its tokens that the model does not know.
    pub unknown_share: f32,
}

/// What of a text is not in its vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct NotEmbedded {
    /// From which character on there is no vector of it.
    pub truncated_at: Option<usize>,
    /// Percent of its tokens that the model does not know, where that is more than half.
    pub unknown_percent: Option<u8>,
}

impl EmbeddedText {
    /// What takes the place of an embedding where there is nothing to embed.
    pub fn without_text(vector: Vec<f32>) -> Self {
        Self { vector, windows: TextWindows::default(), tokens: None, truncated_at: None, unknown_share: 0.0 }
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
    /// The box's own embedding model; without one, only given vectors can be written and asked for.
    pub encoder: Option<Arc<Encoder>>,
    /// Embedding models that collections and requests may name instead.
    pub further: Arc<FurtherModels>,
    /// The models that compress; the first does it where none is named.
    pub compressors: Vec<Arc<Compressor>>,
    /// What extracts facts and decides on memories; without one, what was said is compressed and doubles are merged.
    pub llm: Option<Arc<Llm>>,
}

impl Models {
    /// The box's own encoder, if its model is installed.
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

    /// An encoder by a name of its model; one that is not loaded yet is loaded first. `None` where there is no such
    /// model.
    pub fn encoder_named(&self, name: &str) -> Result<Option<Arc<Encoder>>, MemoryError> {
        match &self.encoder {
            Some(own) if own.name() == name => Ok(Some(own.clone())),
            _ => self.of_kind(ModelKind::Embedding, Some(name)),
        }
    }

    /// A cross-encoder by a name of it, or the first of the settings; `None` where there is none.
    pub fn cross_encoder(&self, name: Option<&str>) -> Result<Option<Arc<Encoder>>, MemoryError> {
        self.of_kind(ModelKind::CrossEncoder, name)
    }

    /// A model that gives sparse vectors, by a name of it, or the first of the settings; `None` where there is none.
    pub fn sparse_encoder(&self, name: Option<&str>) -> Result<Option<Arc<Encoder>>, MemoryError> {
        self.of_kind(ModelKind::Sparse, name)
    }

    /// A model beside the box's own that gives such.
    fn of_kind(&self, kind: ModelKind, name: Option<&str>) -> Result<Option<Arc<Encoder>>, MemoryError> {
        let mut all = self.further.all().iter().filter(|model| model.kind == kind);
        let found = match name {
            Some(name) => self.further.find(name).filter(|model| model.kind == kind),
            None => all.next(),
        };
        found.map_or(Ok(None), |model| self.further.get(&model.name))
    }

    /// The encoders that are loaded, the box's own first.
    pub fn loaded(&self) -> Vec<Arc<Encoder>> {
        self.encoder.iter().cloned().chain(self.further.loaded()).collect()
    }

    /// Names of the models that texts can be embedded by, the box's own first.
    pub fn names(&self) -> Vec<&str> {
        let further = self.further.all().iter().filter(|model| model.kind == ModelKind::Embedding);
        let further = further.map(|model| model.name.as_str());
        self.encoder.iter().map(|own| own.name()).chain(further).collect()
    }

    /// The encoder of the model that a collection's texts are embedded by, if the box has it.
    pub(crate) fn encoder_of(&self, collection: &Collection) -> Result<Arc<Encoder>, MemoryError> {
        let settings = collection.settings();
        if !settings.has_vectors() {
            return Err(MemoryError::invalid("/collection", "the collection keeps no vectors"));
        }
        let Some(model) = settings.model else {
            self.encoder()?;
            let reason = "the collection takes given vectors only: its dimension is not the model's";
            return Err(MemoryError::impossible("/text", reason));
        };
        if let Some(encoder) = self.encoder_named(&model)? {
            return Ok(encoder);
        }
        self.encoder()?;
        let reason = format!(
            "the collection was embedded by {model:?} and this box has {}: the setting `models` adds one",
            quoted(&self.names())
        );
        Err(MemoryError::impossible("/text", reason))
    }

    /// What the vectors of tokens are that a collection keeps; `None` where it keeps none, and where its model has no
    /// axes for them.
    pub(crate) fn token_space(&self, collection: &Collection) -> Option<TokenSpace> {
        let dimension = collection.token_dimension()?;
        let encoder = self.encoder_of(collection).ok()?;
        let axes = encoder.token_axes()?.id();
        Some(TokenSpace { dimension, axes })
    }

    /// What the scores of a question mean, by the model of a collection. Those of other metrics are no cosines.
    pub(crate) fn scale(&self, collection: &Collection, question: &[f32]) -> Result<CosineScale, MemoryError> {
        match collection.settings().metric.unwrap_or_default() {
            Metric::Cosine => self.scale_of_cosines(collection, question),
            _ => Ok(CosineScale::PLAIN),
        }
    }

    /// What the cosines of records with one of this vector mean, whatever the metric of their collection.
    pub(crate) fn scale_of_cosines(&self, collection: &Collection, vector: &[f32]) -> Result<CosineScale, MemoryError> {
        let Ok(encoder) = self.encoder_of(collection) else { return Ok(CosineScale::PLAIN) };
        Ok(encoder.background()?.scale(vector))
    }

    /// The cosine from which on records of a collection are as like one of this vector as `least` says, where 1 is the
    /// same and 0 is what unrelated texts have by its model.
    pub(crate) fn least_cosine(&self, collection: &Collection, vector: &[f32], least: f32) -> Result<f32, MemoryError> {
        Ok(self.scale_of_cosines(collection, vector)?.cosine(least))
    }

    /// Embeds texts as a collection keeps them.
    pub(crate) fn embed_texts(
        &self,
        collection: &Collection,
        texts: Vec<String>,
        lane: Lane,
    ) -> Result<Vec<EmbeddedText>, MemoryError> {
        let encoder = self.encoder_of(collection)?;
        Self::embed_texts_by(&encoder, (self.token_space(collection), collection.max_windows()), texts, lane)
    }

    /// Embeds texts by a model, with vectors of tokens in a space if there is one, and of so many windows.
    pub(crate) fn embed_texts_by(
        encoder: &Encoder,
        (space, max_windows): (Option<TokenSpace>, usize),
        texts: Vec<String>,
        lane: Lane,
    ) -> Result<Vec<EmbeddedText>, MemoryError> {
        let _span = tracing::trace_span!(target: "otel", "encode", texts = texts.len()).entered();
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
            for DocumentEmbedding { vector, windows, token_vectors, unknown_share } in documents {
                let tokens = space.map(|space| TokenVectors::pack(space, &token_vectors));
                budget::take(tokens.as_ref().map_or(0, |tokens| tokens.bytes().len()))?;
                let (windows, truncated_at) = kept_windows(windows)?;
                embedded.push(EmbeddedText { vector, windows, tokens, truncated_at, unknown_share });
            }
        }
        Ok(embedded)
    }

    /// Embeds the texts of the records that have no vector yet, and of those that lack the vectors of their tokens or
    /// of their further windows. A record whose vector was given is left as it is: who gives vectors does so to have
    /// nothing encoded. Says for each record what of its text is in no vector.
    pub(crate) fn embed_missing(
        &self,
        collection: &Collection,
        records: &mut [NewVersion],
    ) -> Result<Vec<NotEmbedded>, MemoryError> {
        if collection.dimension() == 0 {
            return Ok(vec![NotEmbedded::default(); records.len()]);
        }
        let wants_tokens = self.token_space(collection).is_some();
        let lacks = |new: &NewVersion| {
            new.vector.is_empty() || wants_tokens && new.tokens.is_none() && !new.record.given_vector
        };
        let (missing, others): (Vec<usize>, Vec<usize>) = (0..records.len()).partition(|&i| lacks(&records[i]));
        let mut truncated = vec![None; records.len()];
        let mut unknown = vec![None; records.len()];
        if !missing.is_empty() {
            let texts: Vec<String> = missing.iter().map(|&i| records[i].record.text.clone()).collect();
            let is_long = texts.iter().map(String::len).sum::<usize>() > INTERACTIVE_BYTES;
            let lane = if is_long { Lane::Bulk } else { lane(texts.len()) };
            for (&i, embedded) in missing.iter().zip(self.embed_texts(collection, texts, lane)?) {
                let EmbeddedText { vector, windows, tokens, truncated_at, unknown_share } = embedded;
                unknown[i] = (unknown_share > MUCH_UNKNOWN).then(|| (unknown_share * 100.0).round() as u8);
                if records[i].vector.is_empty() {
                    records[i].vector = vector;
                }
                (records[i].windows, records[i].tokens, truncated[i]) = (windows, tokens, truncated_at);
            }
        }
        self.embed_further_windows(collection, records, &others, &mut truncated)?;
        metrics::counter!("membox_truncated_texts_total").increment(truncated.iter().flatten().count() as u64);
        warn_of_unknown(collection, unknown.iter().flatten().count());
        let not_embedded = |((new, at), unknown_percent): ((&NewVersion, Option<usize>), _)| {
            let characters = |at| new.record.text.get(..at).map_or(0, |before| before.chars().count());
            NotEmbedded { truncated_at: at.map(characters), unknown_percent }
        };
        Ok(records.iter().zip(truncated).zip(unknown).map(not_embedded).collect())
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
            let _span = tracing::trace_span!(target: "otel", "encode", questions = missing.len()).entered();
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
}

/// Names as they are listed in a sentence.
pub(crate) fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

/// Counts texts that are written to a collection and that its model does not know, and says so once a minute.
fn warn_of_unknown(collection: &Collection, texts: usize) {
    static SAID_AT: AtomicI64 = AtomicI64::new(i64::MIN / 2);
    metrics::counter!("membox_unknown_texts_total").increment(texts as u64);
    let (now, said) = (now(), SAID_AT.load(Ordering::Relaxed));
    if texts == 0 || now - said < SAY_EVERY_MS {
        return;
    }
    SAID_AT.store(now, Ordering::Relaxed);
    let model = collection.settings().model;
    tracing::warn!(
        collection = collection.name,
        model,
        texts,
        "texts are written of whose tokens the model knows less than half: their vectors say little, and words alone \
         find them; a multilingual model such as multilingual-e5-small knows more"
    );
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
