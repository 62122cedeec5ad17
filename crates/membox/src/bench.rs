//! `membox bench`: the encoder on this machine.

use crate::config::Config;
use anyhow::{Context, Result};
use clap::Args;
use membox_memory::encoder::{Encoder, Lane};
use serde_json::json;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Measure this machine: throughput of the encoder, and a query's latency idle and under a bulk load that keeps every
/// worker busy.
#[derive(Args)]
pub struct BenchArgs {
    /// Texts to embed, one a line; some of our own when left out.
    #[arg(long, value_name = "FILE")]
    texts: Option<PathBuf>,
    /// Queries timed, idle and again under load.
    #[arg(long, default_value_t = 500)]
    queries: usize,
}

/// Runs `membox bench`; the answer is one JSON object.
pub fn run(config: &Config, args: &BenchArgs) -> Result<()> {
    let encoder = config.load_encoder(&config.start_scheduler()?)?;
    let texts: Vec<String> = match &args.texts {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            text.lines().map(str::to_owned).collect()
        }
        None => (0..1000).map(|i| sample_text(i, 12 + i % 40)).collect(),
    };
    encoder.embed(texts.iter().take(64).cloned().collect(), Lane::Bulk)?;
    let begun = Instant::now();
    let answer = encoder.embed(texts.clone(), Lane::Bulk)?;
    let seconds = begun.elapsed().as_secs_f64();
    let idle = query_times(&encoder, args.queries)?;
    let loaded = under_load(&encoder, &texts, args.queries)?;
    let report = json!({
        "engine": encoder.engine().name(),
        "texts": texts.len(),
        "tokens": answer.tokens,
        "texts_per_s": round(texts.len() as f64 / seconds),
        "tokens_per_s": round(answer.tokens as f64 / seconds),
        "query_idle_ms": {"p50": idle.0, "p99": idle.1},
        "query_under_bulk_load_ms": {"p50": loaded.0, "p99": loaded.1},
    });
    println!("{report:#}");
    Ok(())
}

/// Some words, the same for the same number.
fn sample_text(seed: usize, words: usize) -> String {
    const WORDS: [&str; 16] = [
        "we", "talked", "about", "the", "garden", "and", "Lena", "will", "bring", "tomatoes", "on", "Sunday", "if",
        "train", "is", "late",
    ];
    (0..words).map(|i| WORDS[(seed * 7 + i * 5 + i * i) % WORDS.len()]).collect::<Vec<_>>().join(" ")
}

/// p50 and p99 of queries of about ten tokens, one after the other, in milliseconds.
fn query_times(encoder: &Encoder, queries: usize) -> Result<(f64, f64)> {
    let mut times = Vec::with_capacity(queries);
    for i in 0..queries.max(2) {
        let query = format!("where did we leave the keys {}?", i % 10);
        let begun = Instant::now();
        encoder.embed(vec![query], Lane::Interactive)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok((round(times[times.len() / 2]), round(times[times.len() * 99 / 100])))
}

/// The same while two callers keep the bulk lane full.
fn under_load(encoder: &Encoder, texts: &[String], queries: usize) -> Result<(f64, f64)> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    for batch in texts.chunks(256) {
                        if stop.load(Ordering::Relaxed) || encoder.embed(batch.to_vec(), Lane::Bulk).is_err() {
                            break;
                        }
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_millis(300));
        let times = query_times(encoder, queries);
        stop.store(true, Ordering::Relaxed);
        times
    })
}

fn round(x: f64) -> f64 {
    (x * 1000.0).round() / 1000.0
}
