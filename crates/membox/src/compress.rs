//! `membox compress`: a text with fewer tokens, without a server.

use crate::config::{Config, KEEP_HEAD};
use crate::text::text_of;
use anyhow::{Context, Result, bail};
use clap::{ArgGroup, Args};
use membox_memory::compressor::{CompressOptions, CompressedText, Compressor, DEFAULT_ENCODING, Mode};
use membox_memory::encoder::Lane;
use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

/// Leave out the words of a text that a reader can do without.
///
/// The built-in keep head decides, or an LLMLingua-2 model that is installed (--compression-model llmlingua-2). The
/// text goes to stdout, the counts to stderr.
///
///   membox compress --rate 0.33 transcript.txt
///   membox compress --tokens 500 --strict < transcript.txt
///   membox compress --show notes.txt        # what goes is struck out
#[derive(Args)]
#[command(group(ArgGroup::new("how much").args(["rate", "tokens", "threshold"])))]
pub struct CompressArgs {
    /// The text; stdin when left out.
    file: Option<PathBuf>,
    /// Share of the tokens to be kept, over 0 and up to 1 [default: 0.5].
    #[arg(long)]
    rate: Option<f64>,
    /// Tokens to be kept.
    #[arg(long, value_name = "N")]
    tokens: Option<usize>,
    /// Keep only words that are more likely than this to be worth keeping, 0 to 1.
    #[arg(long, value_name = "PROBABILITY")]
    threshold: Option<f64>,
    /// One threshold over the whole text, so that the number of tokens is never exceeded.
    #[arg(long)]
    strict: bool,
    /// Keep this word or sign wherever it stands; may be given several times.
    #[arg(long, value_name = "WORD")]
    force: Vec<String>,
    /// Keep every word that has a digit in it.
    #[arg(long)]
    digits: bool,
    /// Drop "not", "no" and the like as any other word; else they are kept.
    #[arg(long)]
    drop_negations: bool,
    /// Honour tags in the text such as `<llmlingua, rate=0.5, compress=False>…</llmlingua>`.
    #[arg(long)]
    structured: bool,
    /// tiktoken's encoding that tokens are counted by, or a model's name.
    #[arg(long, default_value = DEFAULT_ENCODING, value_name = "NAME")]
    encoding: String,
    /// Print the whole text, with what is left out struck out (in colour on a terminal, else between ~~ and ~~).
    #[arg(long, conflicts_with = "json", conflicts_with = "structured")]
    show: bool,
    /// Print the answer that POST /v1/compress would give.
    #[arg(long)]
    json: bool,
}

/// Runs `membox compress`.
pub fn run(config: &Config, args: &CompressArgs) -> Result<()> {
    let mut text = String::new();
    match &args.file {
        Some(path) => File::open(path)
            .and_then(|file| text_of(file)?.read_to_string(&mut text))
            .with_context(|| format!("cannot read {}", path.display()))?,
        None => text_of(std::io::stdin().lock())?.read_to_string(&mut text).context("stdin is not UTF-8 text")?,
    };
    let options = CompressOptions {
        mode: if args.strict { Mode::Strict } else { Mode::Default },
        rate: args.rate.unwrap_or(CompressOptions::default().rate),
        target_token: args.tokens.map_or(-1.0, |tokens| tokens as f64),
        threshold: args.threshold,
        encoding: args.encoding.clone(),
        force_tokens: args.force.clone(),
        force_reserve_digit: args.digits,
        force_reserve_negation: !args.drop_negations,
        structured: args.structured,
        ..CompressOptions::default()
    };
    let answer = load(config)?.compress(std::slice::from_ref(&text), &options, Lane::Interactive)?;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&membox_memory::compressed_text(answer.clone()))?)?;
    } else if args.show {
        let marks = if out.is_terminal() { ("\x1b[9;31m", "\x1b[0m") } else { ("~~", "~~") };
        write!(out, "{}", struck_out(&text, &answer, marks))?;
    } else {
        write!(out, "{}", answer.compressed_prompt)?;
        if !answer.compressed_prompt.ends_with('\n') && out.is_terminal() {
            writeln!(out)?;
        }
    }
    out.flush()?;
    eprintln!("{} of {} tokens ({}) by {}", answer.compressed_tokens, answer.origin_tokens, answer.rate, answer.model);
    Ok(())
}

fn load(config: &Config) -> Result<Arc<Compressor>> {
    let scheduler = config.start_scheduler()?;
    if let Some(model) = config.load_compression_model(&scheduler)? {
        return Ok(model);
    }
    let encoder = config.load_encoder(&scheduler)?;
    if !encoder.engine().has_keep_head() {
        let model = &config.model;
        bail!(
            "there is no {KEEP_HEAD} for {model}: train one with `membox distil`, or set --compression-model \
             llmlingua-2"
        );
    }
    Ok(Arc::new(Compressor::over(encoder)?))
}

/// The whole text, with marks around what was left out; white space on its own is not marked.
fn struck_out(text: &str, answer: &CompressedText, (open, close): (&str, &str)) -> String {
    let mut out = String::new();
    let strike = |gap: &str, out: &mut String| {
        let words = gap.trim();
        if words.is_empty() {
            out.push_str(gap);
            return;
        }
        let (before, after) = gap.split_once(words).unwrap_or((gap, ""));
        out.extend([before, open, words, close, after]);
    };
    let mut end = 0;
    for &[start, stop] in answer.kept.iter().flatten() {
        strike(&text[end..start], &mut out);
        out.push_str(&text[start..stop]);
        end = stop;
    }
    strike(&text[end..], &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_struck_out_and_nothing_is_lost() {
        let answer = CompressedText { kept: vec![vec![[4, 11], [15, 22]]], ..CompressedText::default() };
        assert_eq!(struck_out("um, we ship on Friday.\n", &answer, ("[", "]")), "[um,] we ship [on] Friday.\n");
    }
}
