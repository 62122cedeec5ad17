//! Questions: their vectors, the vectors of their tokens, and those that were asked before.

use crate::EncoderError;
use crate::encoder::Encoder;
use crate::lanes::Lane;
use crate::prompts::{Purpose, prompted};
use crate::request::{Embeddings, Inputs, Request, Wanted};
use lru::LruCache;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Tokens of a question whose token vectors are remembered: those of a longer one would take the room of many.
const MAX_CACHED_TOKENS: usize = 64;

/// The vectors of a question's tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueryTokens {
    /// Numbers of a token's vector.
    pub dimension: usize,
    /// `[tokens, dimension]`, of unit length, without the special tokens.
    pub vectors: Vec<f32>,
    /// The bytes of the question that each token stands for.
    pub places: Vec<Range<usize>>,
    /// Whether the model knows each token: what it does not know looks the same to it.
    pub known: Vec<bool>,
}

/// A question as it is compared with texts; shared with the cache.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryEmbedding {
    /// Its vector, of unit length.
    pub vector: Arc<[f32]>,
    /// The vectors of its tokens, if they were asked for.
    pub tokens: Option<Arc<QueryTokens>>,
    /// The share of its tokens that the model knows, 0 to 1. In a language that it was not made for that is low.
    pub known_share: f32,
}

impl QueryEmbedding {
    /// Whether it has token vectors of so many dimensions, if any are wanted.
    fn has(&self, token_dimension: Option<usize>) -> bool {
        token_dimension.is_none_or(|wanted| self.tokens.as_ref().is_some_and(|tokens| tokens.dimension == wanted))
    }
}

/// Questions that were encoded together, and how long each step took.
#[derive(Debug, Default)]
pub struct EncodedQueries {
    /// In the order of the questions.
    pub queries: Vec<QueryEmbedding>,
    /// Cutting them into tokens.
    pub tokenize: Duration,
    /// Waiting for a worker.
    pub queue: Duration,
    /// The last batch.
    pub encode: Duration,
}

impl Encoder {
    /// Encodes questions, with the vectors of their tokens where a dimension is given: one pass gives both.
    ///
    /// # Errors
    /// As [`Encoder::encode`]; [`EncoderError::NoTokenAxes`] where token vectors cannot be had.
    pub fn embed_queries(
        &self,
        texts: Vec<String>,
        token_dimension: Option<usize>,
    ) -> Result<EncodedQueries, EncoderError> {
        let begun = Instant::now();
        let (unknown, prompt) = (self.tokenizer().unknown(), self.prompts().of(Purpose::Query));
        let (mut sequences, mut places) = (Vec::with_capacity(texts.len()), Vec::with_capacity(texts.len()));
        for text in &texts {
            let (ids, places_of_all) =
                self.tokenizer().encode_with_places(&prompted(prompt, text), self.max_tokens())?;
            let (of_prompt, own) = without_prompt(places_of_all, prompt.len());
            let tokens = ids.get(1 + of_prompt..ids.len().saturating_sub(1)).unwrap_or_default();
            let known: Vec<bool> = tokens.iter().map(|&id| Some(id) != unknown).collect();
            sequences.push(ids);
            places.push((own, known, of_prompt));
        }
        let tokenized = begun.elapsed();
        let wanted = Wanted { token_vectors: token_dimension, ..Wanted::vectors(true) };
        let inputs = Inputs::Tokens(sequences);
        let request = Request { inputs, max_tokens: self.max_tokens(), wanted, lane: Lane::Interactive };
        let mut answer: Embeddings = self.encode(request)?;
        let mut vectors = std::mem::take(&mut answer.token_vectors).into_iter();
        let mut places = places.into_iter();
        let query = |vector: &[f32]| {
            let (places, known, of_prompt) = places.next().unwrap_or_default();
            let known_share = known.iter().filter(|&&known| known).count() as f32 / known.len().max(1) as f32;
            let tokens = token_dimension.zip(vectors.next());
            let tokens = tokens.map(|(dimension, mut vectors): (usize, Vec<f32>)| {
                vectors.drain(..(of_prompt * dimension).min(vectors.len()));
                QueryTokens { dimension, vectors, places, known }
            });
            QueryEmbedding { vector: vector.into(), tokens: tokens.map(Arc::new), known_share }
        };
        let queries = answer.rows().map(query).collect();
        let Embeddings { tokenize, queue, encode, .. } = answer;
        Ok(EncodedQueries { queries, tokenize: tokenized + tokenize, queue, encode })
    }

    /// A query asked before in the same scope, if it is still remembered, with token vectors of so many dimensions,
    /// if any are wanted.
    pub fn cached_query(&self, scope: &str, text: &str, token_dimension: Option<usize>) -> Option<QueryEmbedding> {
        self.queries().get(scope, text, token_dimension)
    }

    /// Remembers a query, unless it has too many tokens for that.
    pub fn cache_query(&self, scope: &str, text: &str, query: QueryEmbedding) {
        self.queries().put(scope, text, query);
    }

    /// Forgets every cached query of a scope.
    pub fn forget_queries(&self, scope: &str) {
        self.queries().forget(scope);
    }

    /// Cache hits and misses so far.
    pub fn cache_counts(&self) -> (u64, u64) {
        self.queries().counts()
    }
}

/// How many tokens a prompt of so many bytes has, and the places of the others in the text behind it.
pub(crate) fn without_prompt(mut places: Vec<Range<usize>>, prompt: usize) -> (usize, Vec<Range<usize>>) {
    if prompt == 0 {
        return (0, places);
    }
    let of_prompt = places.iter().take_while(|place| place.end <= prompt).count();
    places.drain(..of_prompt);
    let own = places.into_iter().map(|place| place.start.saturating_sub(prompt)..place.end.saturating_sub(prompt));
    (of_prompt, own.collect())
}

/// Questions that were asked.
pub(crate) struct QueryCache {
    most: NonZeroUsize,
    /// By scope: no tenant can tell what another has asked, nor pushes it out.
    scopes: Mutex<HashMap<String, LruCache<String, QueryEmbedding>>>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl QueryCache {
    /// So many of each scope.
    pub fn new(most: usize) -> Self {
        let most = NonZeroUsize::new(most).unwrap_or(NonZeroUsize::MIN);
        Self { most, scopes: Mutex::default(), hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    fn get(&self, scope: &str, text: &str, token_dimension: Option<usize>) -> Option<QueryEmbedding> {
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        let found = scopes.get_mut(scope).and_then(|queries| queries.get(text).cloned());
        let found = found.filter(|query| query.has(token_dimension));
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    fn put(&self, scope: &str, text: &str, query: QueryEmbedding) {
        if query.tokens.as_ref().is_some_and(|tokens| tokens.places.len() > MAX_CACHED_TOKENS) {
            return;
        }
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        scopes.entry(scope.to_owned()).or_insert_with(|| LruCache::new(self.most)).put(text.to_owned(), query);
    }

    fn forget(&self, scope: &str) {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner).remove(scope);
    }

    fn counts(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }
}
