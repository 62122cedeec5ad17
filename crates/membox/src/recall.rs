//! `membox recall`: ask a running box.

use crate::client::{Client, ClientArgs};
use crate::config::Config;
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use membox_memory::{Kept, check_numbers};
use serde_json::{Value, json};

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    Hybrid,
    Vector,
    Text,
}

/// Ask a running box what it remembers.
#[derive(Args)]
pub struct RecallArgs {
    /// The collection.
    collection: String,
    /// The question.
    question: String,
    /// Hits wanted.
    #[arg(short, default_value_t = 10)]
    k: usize,
    /// By meaning and words, by meaning, or by words.
    #[arg(long, value_enum, default_value = "hybrid")]
    mode: Mode,
    /// Only records that this filter allows, as JSON: {"field": "metadata.topic", "eq": "travel"}.
    #[arg(long, value_name = "JSON")]
    filter: Option<String>,
    /// Print the answer's JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Runs `membox recall`.
pub fn run(_: &Config, args: &RecallArgs) -> Result<()> {
    let mode = match args.mode {
        Mode::Hybrid => "hybrid",
        Mode::Vector => "vector",
        Mode::Text => "text",
    };
    let mut request = json!({"query": args.question, "k": args.k, "mode": mode});
    if let Some(filter) = &args.filter {
        check_numbers(filter, Kept::Everything, "--filter")?;
        request["filter"] = serde_json::from_str(filter).context("--filter is not JSON")?;
    }
    let path = format!("/v1/collections/{}/recall", args.collection);
    let answer = Client::new(&args.client)?.call("POST", &path, &request)?;
    if args.json {
        println!("{answer:#}");
        return Ok(());
    }
    let hits = answer["hits"].as_array().map(Vec::as_slice).unwrap_or_default();
    for hit in hits {
        let text = |key: &str| hit[key].as_str().unwrap_or_default().to_owned();
        println!(
            "{:.3}  {:<12} {}  {}",
            hit["score"].as_f64().unwrap_or_default(),
            text("id"),
            text("created_at"),
            text("text")
        );
    }
    let exact = if answer["exact"] == Value::Bool(true) { "exact" } else { "by the index" };
    eprintln!("{} hits in {} ms, {exact}", hits.len(), answer["took_ms"]);
    Ok(())
}
