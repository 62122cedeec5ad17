//! What is running, and whether it is alive.

use crate::problem::Problem;
use crate::routes::operations;
use crate::state::AppState;
use axum::extract::State;
use membox_api::{Health, Info};

/// `GET /info`: what is running.
#[utoipa::path(
    get,
    path = "/info",
    tag = "engines",
    responses(
        (status = 200, description = "done", body = Info),
        (status = 503, description = "starting, stopping, read-only, or no model is installed", body = Problem)
    ),
)]
pub async fn info(State(state): State<AppState>) -> Result<axum::Json<Info>, Problem> {
    let encoder = state.memory.models().encoder()?;
    let engine = encoder.engine().name();
    let scheduler = encoder.scheduler().config();
    let most = encoder.engine().max_sequence();
    Ok(axum::Json(Info {
        model_id: encoder.name().to_owned(),
        served_model_name: encoder.name().to_owned(),
        model_dtype: match engine.rsplit(' ').next().unwrap_or_default() {
            "f32" => "float32".to_owned(),
            "f16" => "float16".to_owned(),
            other => other.to_owned(),
        },
        model_type: serde_json::json!({"embedding": {"pooling": encoder.pooling().name()}}),
        max_concurrent_requests: state.limits.max_connections,
        max_input_length: encoder.max_tokens(),
        max_batch_tokens: encoder.engine().batch_tokens().unwrap_or(scheduler.batch_tokens),
        max_client_batch_size: state.limits.max_inputs,
        auto_truncate: true,
        tokenization_workers: scheduler.tokenizers.max(1),
        version: env!("CARGO_PKG_VERSION"),
        engine,
        why_not_cuda: encoder.why_not_cuda().map(str::to_owned),
        dimension: encoder.dimension(),
        max_tokens: most,
        compression_models: state.memory.models().compressors.iter().map(|c| c.name().to_owned()).collect(),
    }))
}

/// `GET /`: as `/health`.
#[utoipa::path(get, path = "/", tag = "operations", responses((status = 200, description = "done", body = Health)))]
pub async fn health_at_root() -> axum::Json<Health> {
    operations::health().await
}

/// `GET /ping`: as `/health`, where SageMaker asks.
#[utoipa::path(get, path = "/ping", tag = "operations", responses((status = 200, description = "done", body = Health)))]
pub async fn ping() -> axum::Json<Health> {
    operations::health().await
}
