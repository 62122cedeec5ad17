//! What Prometheus is shown: the process's recorder, what each metric means, and those that begin with 0.

use crate::dialect::cost;
use metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use std::sync::OnceLock;
use std::time::Duration;

/// How often the samples of histograms are put into their buckets: until then each of them takes memory, and not
/// every box is scraped.
pub(crate) const UPKEEP: Duration = Duration::from_secs(5);
/// After how long a gauge that is not set any more is no longer shown.
const GAUGE_IDLE: Duration = Duration::from_secs(600);
/// Bounds of what is measured in seconds.
const SECONDS: [f64; 16] =
    [1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

const COUNTERS: [(&str, &str); 26] = [
    ("membox_answer_cache_hits_total", "Questions whose answer was remembered."),
    ("membox_answer_cache_misses_total", "Questions whose answer had to be found."),
    ("membox_background_failures_total", "Background work that failed and is tried again."),
    ("membox_batches_total", "Batches that the models have encoded."),
    ("membox_cancelled_inputs_total", "Texts that were not encoded, since nobody waited for them any more."),
    ("membox_damaged_records_total", "Records met that do not have their checksum; none of them was an answer."),
    (
        "membox_damaged_rows_total",
        "Vectors met that do not have the checksum in their record; none of them was an answer.",
    ),
    ("membox_embedding_cache_hits_total", "Questions whose vector was remembered."),
    ("membox_embedding_cache_misses_total", "Questions that had to be embedded."),
    ("membox_extractions_failed_total", "Calls after which topics wait, since no memories could be made of them."),
    ("membox_foreign_requests_total", "Requests of pages that may not ask, or by names that are not the box's."),
    ("membox_llm_calls_total", "Calls of language models, by outcome."),
    ("membox_llm_tokens_total", "Tokens that language models have read and written, as they report them."),
    ("membox_mcp_calls_total", "Calls of MCP tools."),
    ("membox_memories_made_total", "Memories made of what was said."),
    ("membox_messages_total", "Messages appended to sessions."),
    ("membox_model_loads_total", "Times that a model beside the box's own was loaded."),
    ("membox_panics_total", "Panics, which are faults of membox, by kind of thread."),
    ("membox_redacted_total", "Pieces of texts that were redacted, by kind."),
    ("membox_refused_keys_total", "Requests refused by their key: unknown or expired (401), or slowed (429)."),
    ("membox_refused_total", "Requests refused with 429, by what was full."),
    ("membox_sequences_total", "Sequences that the models have encoded; a long text is several."),
    ("membox_tls_failures_total", "Connections that could not be made by TLS."),
    ("membox_truncated_texts_total", "Texts written of which the end is in no vector: they have too many windows."),
    ("membox_unknown_texts_total", "Texts written of whose tokens the model knows less than half."),
    ("membox_tokens_total", "Tokens that were encoded, and those that compressions were given and have kept, by kind."),
];

const GAUGES: [(&str, &str); 13] = [
    ("membox_batch_tokens", "Tokens of a batch, in the mean since the start."),
    ("membox_card_lost", "1 once a card has failed and the processor has taken over."),
    ("membox_encode_seconds", "Seconds that a model has computed since the start, over all its threads."),
    ("membox_index_lag_rows", "Rows of a collection that its index does not cover yet; they are scanned."),
    ("membox_model_loaded", "1 where a model is loaded, 0 where it is not now."),
    ("membox_pool_depth", "Requests that wait for a thread, by pool."),
    ("membox_queue_depth", "Texts that wait to be encoded, by lane."),
    ("membox_records", "Records of a collection."),
    ("membox_request_memory_bytes", "Memory of the requests under way: bodies, what is made of them, answers."),
    ("membox_request_memory_limit_bytes", "What they have at most (request_memory_mib)."),
    ("membox_resident_bytes", "Memory of the process, mapped files included."),
    ("membox_vector_bytes", "Size of a collection's vector file."),
    ("membox_vectors_damaged", "1 once a page of a collection's vector file could not be read."),
];

const HISTOGRAMS: [(&str, &str); 4] = [
    ("membox_commit_seconds", "How long a group of writes takes to become durable."),
    ("membox_compress_seconds", "How long a compression takes."),
    ("membox_request_seconds", "How long a request takes until its answer begins, by route and status."),
    ("membox_search_seconds", "How long a recall takes, by stage."),
];

/// The process's recorder; there can be only one, so servers of one process share it.
pub(crate) fn handle() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let builder = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
                .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_duration".to_owned()), &SECONDS))
                .unwrap_or_else(|_| PrometheusBuilder::new())
                // Those of a collection that is no longer open are not shown any more.
                .idle_timeout(MetricKindMask::GAUGE, Some(GAUGE_IDLE));
            let recorder = builder.build_recorder();
            let handle = recorder.handle();
            if metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!("another metrics recorder is installed; /metrics shows less");
            }
            describe();
            handle
        })
        .clone()
}

fn describe() {
    COUNTERS.iter().chain(&cost::COUNTERS).for_each(|(name, help)| describe_counter!(*name, *help));
    GAUGES.iter().chain(&cost::GAUGES).for_each(|(name, help)| describe_gauge!(*name, *help));
    HISTOGRAMS.iter().chain(&cost::HISTOGRAMS).for_each(|(name, help)| describe_histogram!(*name, *help));
}

/// Shows what has not happened yet as 0: Prometheus sees no increase in a counter that begins with 1.
pub(crate) fn show_counters() {
    cost::show_counters();
    for name in [
        "membox_damaged_rows_total",
        "membox_damaged_records_total",
        "membox_messages_total",
        "membox_extractions_failed_total",
        "membox_background_failures_total",
    ] {
        metrics::counter!(name).increment(0);
    }
    for thread in ["encode", "maintenance", "pipeline", "query", "read", "tokenize", "write", "writer"] {
        metrics::counter!(membox_threads::PANICS, "thread" => thread).increment(0);
    }
    for by in ["host", "origin"] {
        metrics::counter!("membox_foreign_requests_total", "by" => by).increment(0);
    }
    for reason in ["expired", "slowed", "unknown"] {
        metrics::counter!("membox_refused_keys_total", "reason" => reason).increment(0);
    }
    for direction in ["in", "out"] {
        metrics::counter!("membox_llm_tokens_total", "direction" => direction).increment(0);
    }
}
