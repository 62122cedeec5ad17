//! `membox bench`: the encoder on this machine.

use crate::config::Config;
use anyhow::{Context, Result};
use clap::Args;
use membox_cuda::cost::{CARDS, Card, Dimensions, Parts, Step, pass, scan};
use membox_memory::encoder::{Embeddings, Encoder, Lane};
use serde_json::json;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A first pass over the texts that is quicker does not count: memory comes, libraries load what they need, and what a
/// GPU does is recorded.
const WARM_UP_SECONDS: f64 = 2.0;
/// How long passes are measured after it.
const MEASURED_SECONDS: f64 = 2.0;

/// Measure this machine: throughput of the encoder, and a query's latency idle and under a bulk load that keeps every
/// worker busy.
#[derive(Args)]
pub struct BenchArgs {
    /// Texts to embed, one a line; some of our own when left out.
    #[arg(long, value_name = "FILE")]
    texts: Option<PathBuf>,
    /// Print what a GPU's datasheet allows, step by step, and measure nothing: t4, a100, h100, h200 or all.
    #[arg(long, value_name = "GPU")]
    datasheet: Option<String>,
    /// Queries timed, idle and again under load.
    #[arg(long, default_value_t = 500)]
    queries: usize,
}

/// Runs `membox bench`; the answer is one JSON object.
pub fn run(config: &Config, args: &BenchArgs) -> Result<()> {
    if let Some(name) = &args.datasheet {
        return print_datasheet(name);
    }
    let encoder = config.load_encoder(&config.start_scheduler()?)?;
    let texts: Vec<String> = match &args.texts {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            text.lines().map(str::to_owned).collect()
        }
        None => (0..1000).map(|i| sample_text(i, 12 + i % 40)).collect(),
    };
    encoder.embed(texts.iter().take(64).cloned().collect(), Lane::Bulk)?;
    let (mut seconds, answer) = timed(&encoder, &texts)?;
    let mut passes = 1;
    if seconds < WARM_UP_SECONDS {
        (seconds, passes) = (0.0, 0);
        while seconds < MEASURED_SECONDS {
            seconds += timed(&encoder, &texts)?.0;
            passes += 1;
        }
    }
    let rate = |count: usize| round(count as f64 * f64::from(passes) / seconds);
    let idle = query_times(&encoder, args.queries)?;
    let loaded = under_load(&encoder, &texts, args.queries)?;
    let report = json!({
        "engine": encoder.engine().name(),
        "texts": texts.len(),
        "tokens": answer.tokens,
        "texts_per_s": rate(texts.len()),
        "tokens_per_s": rate(answer.tokens),
        "query_idle_ms": {"p50": idle.0, "p99": idle.1},
        "query_under_bulk_load_ms": {"p50": loaded.0, "p99": loaded.1},
    });
    println!("{report:#}");
    Ok(())
}

/// Models whose passes are shown: name, shape.
const SHAPES: [(&str, Dimensions); 5] = [
    ("MiniLM", Dimensions { hidden: 384, head: 32, intermediate: 1536, layers: 6, parts: Parts::BERT }),
    ("BERT-base", BASE),
    ("XLM-R large", Dimensions { hidden: 1024, intermediate: 4096, layers: 24, ..BASE }),
    ("NomicBERT", Dimensions { parts: Parts { rotary: true, gated: true, ..Parts::BERT }, ..BASE }),
    ("ModernBERT", Dimensions { intermediate: 1152, layers: 22, parts: MODERN_BERT, ..BASE }),
];
const MODERN_BERT: Parts = Parts { rotary: true, gated: true, pre_norm: true, local: (14, 64) };
const BASE: Dimensions = Dimensions { hidden: 768, head: 64, intermediate: 3072, layers: 12, parts: Parts::BERT };
/// Sequences of the batch that is shown, and their tokens.
const SHOWN_BATCH: [usize; 128] = [128; 128];

/// What a GPU allows by its datasheet.
fn print_datasheet(name: &str) -> Result<()> {
    let cards: Vec<&Card> = CARDS.iter().filter(|card| name == "all" || card.name == name).collect();
    if cards.is_empty() {
        let known: Vec<&str> = CARDS.iter().map(|card| card.name).collect();
        anyhow::bail!("--datasheet {name}: membox knows {} and all", known.join(", "));
    }
    let (sequences, tokens) = (SHOWN_BATCH.len(), SHOWN_BATCH.iter().sum::<usize>());
    for (model, shape) in SHAPES {
        let steps = pass(shape, &SHOWN_BATCH);
        for card in &cards {
            println!("{model} on {}, {sequences} sequences, {tokens} tokens", card.name);
            println!("  {:24} {:>8} {:>10} {:>10} {:>10}", "step", "launches", "MB", "GFLOP", "µs");
            for step in &steps {
                let Step { name, launches, bytes, operations, .. } = step;
                let (mb, gflop, us) = (bytes / 1e6, operations / 1e9, step.seconds(card) * 1e6);
                println!("  {name:24} {launches:8} {mb:10.1} {gflop:10.1} {us:10.1}");
            }
            let seconds: f64 = steps.iter().map(|step| step.seconds(card)).sum();
            println!("  at most {:.1} million tokens/s", tokens as f64 / seconds / 1e6);
        }
    }
    for card in cards {
        let ms = |bytes| scan(card, 10_000_000, 384, bytes) * 1e3;
        println!(
            "exact recall over 10 million x 384 on {}: {:.2} ms by f16, {:.2} ms by 8 bits",
            card.name,
            ms(2),
            ms(1)
        );
    }
    Ok(())
}

/// A pass over all texts: its seconds, and what came of it.
fn timed(encoder: &Encoder, texts: &[String]) -> Result<(f64, Embeddings)> {
    let texts = texts.to_vec();
    let begun = Instant::now();
    let answer = encoder.embed(texts, Lane::Bulk)?;
    Ok((begun.elapsed().as_secs_f64(), answer))
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
