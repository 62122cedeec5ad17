//! The handlers, a module a group of routes of the API.

pub mod agent_memory;
pub mod collections;
pub mod compress;
pub mod conversations;
mod encoding;
pub mod engines;
mod inputs;
pub mod jobs;
pub mod keys;
pub mod lists;
pub mod mem0;
pub mod memories;
pub mod models;
pub mod operations;
pub mod recall;
pub mod records;
pub mod sessions;
pub mod tei;
pub mod tenants;
pub mod threads;
pub mod usage;
pub mod users;

use axum::http::{HeaderMap, HeaderValue};
use membox_api::Timing;
use std::time::Duration;

/// `server-timing` of the parts that took any time.
pub(crate) fn server_timing(timing: &Timing) -> HeaderMap {
    let parts = [
        ("tokenize", timing.tokenize),
        ("queue", timing.queue),
        ("encode", timing.encode),
        ("search", timing.search),
        ("rerank", timing.rerank),
        ("compress", timing.compress),
    ];
    let entry = |(name, time): (&str, Duration)| format!("{name};dur={:.3}", time.as_secs_f64() * 1e3);
    let text: Vec<String> = parts.into_iter().filter(|p| !p.1.is_zero()).map(entry).collect();
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&text.join(", "))
        && !text.is_empty()
    {
        headers.insert("server-timing", value);
    }
    headers
}
