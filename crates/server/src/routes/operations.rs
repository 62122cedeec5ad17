//! For whoever runs the box: is it alive, is it ready, what is it doing.

use crate::dialect::cost;
use crate::problem::Problem;
use crate::state::AppState;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use membox_api::{Health, RequestMemory};
use membox_memory::encoder::Lane;
use metrics::{counter, gauge};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;
use std::sync::atomic::Ordering;

const DASHBOARD: &str = include_str!("dashboard.html");

/// What the dashboard may do: its own style and script, told by their hashes, and to ask the box.
static DASHBOARD_POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let (style, script) = (hash_of_tag("style"), hash_of_tag("script"));
    let policy = format!(
        "default-src 'none'; style-src '{style}'; script-src '{script}'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    );
    policy.parse().ok()
});

/// The hash of what stands in a tag of the dashboard, as a policy writes it.
fn hash_of_tag(tag: &str) -> String {
    let after = DASHBOARD.split_once(&format!("<{tag}>")).map(|(_, after)| after).unwrap_or_default();
    let text = after.split_once(&format!("</{tag}>")).map(|(text, _)| text).unwrap_or_default();
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

/// `GET /health`: the process is alive.
#[utoipa::path(
    get,
    path = "/health",
    tag = "operations",
    responses((status = 200, description = "done", body = Health)),
)]
pub async fn health() -> axum::Json<Health> {
    axum::Json(Health { status: "alive", request_memory: None, models: Vec::new(), troubles: Vec::new() })
}

/// `GET /ready`: the model is loaded, the store is open and takes writes.
#[utoipa::path(
    get,
    path = "/ready",
    tag = "operations",
    responses(
        (status = 200, description = "done", body = Health),
        (
            status = 503,
            description = "starting, stopping, read-only, out of file descriptors, broken, or no model is installed",
            body = Problem
        )
    ),
)]
pub async fn ready(State(state): State<AppState>) -> Result<axum::Json<Health>, Problem> {
    if state.stopping.load(Ordering::Acquire) {
        return Err(membox_memory::MemoryError::Stopped.into());
    }
    let memory = state.memory.clone();
    // Not on a pool's thread: a box whose pools are full is busy, and ready.
    let checked = tokio::task::spawn_blocking(move || memory.check_ready().map(|()| memory.troubles())).await;
    let mut troubles = checked.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the check panicked"))??;
    let loaded = state.memory.models().loaded();
    if let Some(encoder) = loaded.iter().find(|encoder| encoder.engine().is_degraded()) {
        troubles.push(format!("a card is lost until a restart; the engine is {}", encoder.engine().name()));
    }
    let request_memory = Some(RequestMemory { used: state.room.taken(), limit: state.room.bytes() });
    let models = loaded.iter().map(|encoder| encoder.name().to_owned()).collect();
    Ok(axum::Json(Health { status: "ready", request_memory, models, troubles }))
}

/// `GET /metrics`: for Prometheus. A box with keys shows them with any of its keys, and what names collections with
/// the key for metrics alone (`metrics_key`).
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operations",
    responses(
        (status = 200, description = "Prometheus text format", body = String),
        (status = 401, description = "the box has keys, and this request has none of them", body = Problem),
        (status = 403, description = "the key reaches a part of its tenant only", body = Problem)
    ),
)]
pub async fn metrics(State(state): State<AppState>, request: Parts) -> Result<Response, Problem> {
    let keys = state.keys.current();
    let mut sees_names = true;
    if !keys.is_open() {
        let key = state.keys.known(keys.all(), &request)?;
        if !key.reach().is_whole() {
            let detail = "this key reaches a part of its tenant only, and these are numbers of the whole box";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        sees_names = keys.is_of_metrics(key);
    }
    let loaded = state.memory.models().loaded();
    for model in state.memory.models().further.all() {
        let is_loaded = loaded.iter().any(|encoder| encoder.name() == model.name);
        gauge!("membox_model_loaded", "model" => model.name.clone()).set(f64::from(u8::from(is_loaded)));
    }
    if let Ok(encoder) = state.memory.models().encoder() {
        gauge!("membox_model_loaded", "model" => encoder.name().to_owned()).set(1.0);
        let scheduler = encoder.scheduler();
        for lane in Lane::ALL {
            gauge!("membox_queue_depth", "lane" => lane.name()).set(scheduler.depth(lane) as f64);
        }
        let c = scheduler.counters();
        let read = |value: &std::sync::atomic::AtomicU64| value.load(Ordering::Relaxed);
        counter!("membox_tokens_total", "kind" => "encoded").absolute(read(&c.tokens));
        counter!("membox_sequences_total").absolute(read(&c.sequences));
        counter!("membox_batches_total").absolute(read(&c.batches));
        counter!("membox_cancelled_inputs_total").absolute(read(&c.cancelled));
        counter!("membox_refused_total", "pool" => "encoder").absolute(read(&c.refused));
        let engine = encoder.engine().name();
        gauge!("membox_encode_seconds", "engine" => engine, "model" => encoder.name().to_owned())
            .set(read(&c.busy_us) as f64 / 1e6);
        gauge!("membox_card_lost").set(f64::from(u8::from(encoder.engine().is_degraded())));
        gauge!("membox_batch_tokens").set(read(&c.tokens) as f64 / read(&c.batches).max(1) as f64);
        let (hits, misses) = encoder.cache_counts();
        counter!("membox_embedding_cache_hits_total").absolute(hits);
        counter!("membox_embedding_cache_misses_total").absolute(misses);
        cost::show(encoder);
    }
    gauge!("membox_request_memory_bytes").set(state.room.taken() as f64);
    gauge!("membox_request_memory_limit_bytes").set(state.room.bytes() as f64);
    let (hits, misses) = state.memory.answer_counts();
    counter!("membox_answer_cache_hits_total").absolute(hits);
    counter!("membox_answer_cache_misses_total").absolute(misses);
    gauge!("membox_pool_depth", "pool" => "reads").set(state.reads.depth() as f64);
    gauge!("membox_pool_depth", "pool" => "writes").set(state.writes.depth() as f64);
    gauge!("membox_pool_depth", "pool" => "pipeline").set(state.pipeline.depth() as f64);
    gauge!("membox_resident_bytes").set(resident_bytes());
    for collection in state.memory.open_collections() {
        let view = state.memory.collections().describe(&collection);
        let name = format!("{}/{}", collection.tenant, collection.name);
        gauge!("membox_records", "collection" => name.clone()).set(view.records as f64);
        gauge!("membox_vector_bytes", "collection" => name.clone()).set(view.vector_bytes as f64);
        let lag = if view.index.kind == "none" { 0 } else { view.rows - view.index.covered_rows };
        gauge!("membox_index_lag_rows", "collection" => name.clone()).set(f64::from(lag));
        let is_damaged = collection.check_vectors().is_err();
        gauge!("membox_vectors_damaged", "collection" => name).set(f64::from(u8::from(is_damaged)));
    }
    let mut text = state.metrics.render();
    if !sees_names {
        let lines = text.lines().filter(|line| !line.contains("{collection=\""));
        text = lines.flat_map(|line| [line, "\n"]).collect();
    }
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}

/// Bytes of memory that the process has, its mapped files included.
fn resident_bytes() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages: Option<f64> = pages.and_then(|statm| statm.split(' ').nth(1)?.parse().ok());
    pages.unwrap_or_default() * rustix::param::page_size() as f64
}

/// `GET /dashboard`: a page that shows what the box does. It loads nothing from elsewhere, and asks `/metrics` and
/// `/v1/usage` with the key that is typed in.
pub async fn dashboard() -> Response {
    let mut response = ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], DASHBOARD).into_response();
    if let Some(policy) = DASHBOARD_POLICY.clone() {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}
