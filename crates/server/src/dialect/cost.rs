//! What a request for vectors cost, as text-embeddings-inference says it: in headers (`x-…`) and in metrics (`te_…`).

use axum::http::{HeaderMap, HeaderValue};
use membox_memory::encoder::{Embeddings, Encoder, Lane};
use metrics::{counter, gauge, histogram};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Counters of requests and of texts, with what they count.
pub(crate) const COUNTERS: [(&str, &str); 8] = [
    ("te_request_count", "Requests for vectors, of one text (single) or of several (batch)."),
    ("te_request_success", "Those that were answered."),
    ("te_request_failure", "Those that were refused or failed, by why."),
    ("te_embed_count", "Texts to be embedded."),
    ("te_embed_success", "Texts that were embedded."),
    ("te_batch_next_size_sum", "Sequences of all batches, as membox_sequences_total."),
    ("te_batch_next_size_count", "Batches, as membox_batches_total."),
    ("te_batch_next_tokens_sum", "Tokens of all batches."),
];
pub(crate) const GAUGES: [(&str, &str); 1] = [("te_queue_size", "Texts that wait to be encoded, in both lanes.")];
pub(crate) const HISTOGRAMS: [(&str, &str); 4] = [
    ("te_request_duration", "Seconds that a request for vectors took."),
    ("te_request_tokenization_duration", "Seconds until its last text was tokenized."),
    ("te_request_queue_duration", "Seconds from there until its last batch was begun."),
    ("te_request_inference_duration", "Seconds that its last batch took."),
];

/// Whether a request is of one text or of several, as metrics have it.
fn method(is_batch: bool) -> &'static str {
    if is_batch { "batch" } else { "single" }
}

/// A request for vectors, from its begin.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    begun: Instant,
    is_batch: bool,
    texts: usize,
    /// Of its texts, or tokens where these were sent.
    characters: usize,
    tokens: usize,
    tokenize: Duration,
    queue: Duration,
    encode: Duration,
}

impl Cost {
    /// Counts a request, of one text or of a list.
    pub fn begin(is_batch: bool, characters: usize) -> Self {
        counter!("te_request_count", "method" => method(is_batch)).increment(1);
        let [tokenize, queue, encode] = [Duration::ZERO; 3];
        Self { begun: Instant::now(), is_batch, texts: 0, characters, tokens: 0, tokenize, queue, encode }
    }

    /// Counts texts of it that are handed to the encoder.
    pub fn begin_texts(&mut self, texts: usize) {
        counter!("te_embed_count").increment(texts as u64);
        self.texts += texts;
    }

    /// Adds what the encoder did for it.
    pub fn add(&mut self, done: &Embeddings) {
        self.tokens += done.tokens;
        self.tokenize += done.tokenize;
        self.queue += done.queue;
        self.encode += done.encode;
    }

    /// Counts it as answered, and says what it cost.
    pub fn end(self, encoder: &Encoder) -> HeaderMap {
        let total = self.begun.elapsed();
        counter!("te_request_success", "method" => method(self.is_batch)).increment(1);
        counter!("te_embed_success").increment(self.texts as u64);
        histogram!("te_request_duration").record(total);
        histogram!("te_request_tokenization_duration").record(self.tokenize);
        histogram!("te_request_queue_duration").record(self.queue);
        histogram!("te_request_inference_duration").record(self.encode);
        let on = if encoder.engine().name().starts_with("cpu") { "cpu+optimized" } else { "gpu+optimized" };
        let milliseconds = |time: Duration| HeaderValue::from(time.as_millis() as u64);
        HeaderMap::from_iter(
            [
                ("x-compute-type", HeaderValue::from_static(on)),
                ("x-compute-time", milliseconds(total)),
                ("x-compute-characters", HeaderValue::from(self.characters as u64)),
                ("x-compute-tokens", HeaderValue::from(self.tokens as u64)),
                ("x-total-time", milliseconds(total)),
                ("x-tokenization-time", milliseconds(self.tokenize)),
                ("x-queue-time", milliseconds(self.queue)),
                ("x-inference-time", milliseconds(self.encode)),
            ]
            .map(|(name, value)| (axum::http::HeaderName::from_static(name), value)),
        )
    }
}

/// Counts a request that was refused or failed.
pub(super) fn count_failure(status: u16) {
    let why = match status {
        400 | 422 => "validation",
        413 => "batch_size",
        424 => "model_type",
        429 => "overloaded",
        408 | 500.. => "inference",
        // Of a key, a method or a path: no request for vectors.
        _ => return,
    };
    counter!("te_request_failure", "err" => why).increment(1);
}

/// Shows what the encoder counts by their names.
pub fn show(encoder: &Encoder) {
    let (scheduler, counters) = (encoder.scheduler(), encoder.scheduler().counters());
    let waiting: usize = Lane::ALL.into_iter().map(|lane| scheduler.depth(lane)).sum();
    gauge!("te_queue_size").set(waiting as f64);
    counter!("te_batch_next_size_sum").absolute(counters.sequences.load(Ordering::Relaxed));
    counter!("te_batch_next_size_count").absolute(counters.batches.load(Ordering::Relaxed));
    counter!("te_batch_next_tokens_sum").absolute(counters.tokens.load(Ordering::Relaxed));
}

/// Shows requests that there have not been yet as 0.
pub(crate) fn show_counters() {
    for is_batch in [false, true] {
        counter!("te_request_count", "method" => method(is_batch)).increment(0);
        counter!("te_request_success", "method" => method(is_batch)).increment(0);
    }
    for why in ["batch_size", "inference", "model_type", "overloaded", "validation"] {
        counter!("te_request_failure", "err" => why).increment(0);
    }
    counter!("te_embed_count").increment(0);
    counter!("te_embed_success").increment(0);
}
