//! `membox distil`: trains a keep head on the user's own text.

use crate::config::Config;
use crate::output::{partial_of, settle};
use crate::progress;
use crate::text::text_of;
use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::ProgressBar;
use membox_memory::compressor::Compressor;
use membox_memory::compressor::distil::{DistilConfig, Stage, distil, texts_for_training};
use serde::Deserialize;
use std::fs::File;
use std::io::BufRead;
use std::path::{Path, PathBuf};

/// Train a keep head on your own text: which words of such text can be left out?
///
/// A keep head is a small network over the embedding model, by which the box compresses text where no LLMLingua-2
/// model is installed. Nobody labels anything: the teachers are how far the text's vector moves without a word, how
/// rare the word is in all the text, and, where one is installed, what an LLMLingua-2 model says (--teacher). Some
/// thousand texts of the kind that the box is to compress are enough, and take minutes. An interrupted run goes on
/// where it was. Set `keep_head` in membox.toml to the file that comes out.
///
///   membox distil --out my-head.safetensors transcripts.txt
#[derive(Args)]
pub struct DistilArgs {
    /// Texts, one a line; of .jsonl files the field `text` of each line; stdin when none is named.
    files: Vec<PathBuf>,
    /// Where the head is written.
    #[arg(long, value_name = "FILE.safetensors")]
    out: PathBuf,
    /// What was taught so far and the checkpoints are kept here [default: OUT with .work for its ending].
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Texts used at most, picked at random.
    #[arg(long, default_value_t = DistilConfig::default().most_texts, value_name = "N")]
    most_texts: usize,
    /// Width of the head's inner layer, a multiple of 32.
    #[arg(long, default_value_t = DistilConfig::default().width, value_name = "N")]
    width: usize,
    /// Times that each text is seen.
    #[arg(long, default_value_t = DistilConfig::default().epochs, value_name = "N")]
    epochs: usize,
    /// An installed LLMLingua-2 model that teaches as well; see `membox models list`.
    #[arg(long, value_name = "NAME")]
    teacher: Option<String>,
    /// Weight of the teacher "how far the text's vector moves without the word".
    #[arg(long, default_value_t = DistilConfig::default().movement, value_name = "WEIGHT")]
    movement: f64,
    /// Weight of the teacher "how rare the word is".
    #[arg(long, default_value_t = DistilConfig::default().frequency, value_name = "WEIGHT")]
    frequency: f64,
    /// Weight of the model that teaches.
    #[arg(long, default_value_t = DistilConfig::default().model, value_name = "WEIGHT")]
    teacher_weight: f64,
    /// Decides everything that is left to chance.
    #[arg(long, default_value_t = DistilConfig::default().seed)]
    seed: u64,
}

/// Runs `membox distil`.
pub fn run(config: &Config, args: &DistilArgs) -> Result<()> {
    let settings = DistilConfig {
        most_texts: args.most_texts,
        width: args.width,
        epochs: args.epochs,
        movement: args.movement,
        frequency: args.frequency,
        model: args.teacher_weight,
        seed: args.seed,
        ..DistilConfig::default()
    };
    let texts = texts_for_training(read(&args.files)?.into_iter(), &settings);
    if texts.is_empty() {
        bail!("there is no text to learn from: give files with one text a line");
    }
    let scheduler = config.start_scheduler()?;
    let student = Compressor::untrained(config.load_encoder(&scheduler)?)?;
    let teacher = args.teacher.as_ref().map(|name| config.load_compressor(name, &scheduler)).transpose()?;
    let work = args.work.clone().unwrap_or_else(|| args.out.with_extension("work"));
    eprintln!("{} texts; what was done so far is kept in {}", texts.len(), work.display());
    let mut bar: Option<(Stage, ProgressBar)> = None;
    let mut on_progress = |stage, done: usize, total: usize| {
        if bar.as_ref().is_none_or(|(shown, _)| *shown != stage) {
            let what = match stage {
                Stage::Teach => "texts taught",
                Stage::Read => "texts read",
                Stage::Train => "steps",
            };
            bar = Some((stage, progress::items(total as u64, what)));
        }
        if let Some((_, bar)) = &bar {
            bar.set_position(done as u64);
        }
    };
    let partial = partial_of(&args.out);
    let report = distil(&student, teacher.as_deref(), &texts, &settings, &work, &partial, &mut on_progress)?;
    settle(&partial, &args.out)?;
    drop(bar);
    println!(
        "{}: trained on {} texts ({} tokens); on {} others the cross entropy fell from {:.4} to {:.4}, and head and \
         teachers agree on {:.1} % of the tokens about being in the upper half",
        args.out.display(),
        report.texts.0,
        report.tokens,
        report.texts.1,
        report.loss.0,
        report.loss.1,
        100.0 * report.agreement
    );
    println!("to use it: keep_head = {:?} in membox.toml", args.out);
    Ok(())
}

fn read(files: &[PathBuf]) -> Result<Vec<String>> {
    if files.is_empty() {
        return text_of(std::io::stdin().lock())?.lines().collect::<Result<_, _>>().context("stdin is not UTF-8 text");
    }
    let mut texts = Vec::new();
    for path in files {
        texts.extend(read_file(path).with_context(|| path.display().to_string())?);
    }
    Ok(texts)
}

fn read_file(path: &Path) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Line {
        text: String,
    }
    let lines = text_of(File::open(path)?)?.lines();
    if path.extension().is_some_and(|e| e == "jsonl") {
        return lines.map(|line| Ok(serde_json::from_str::<Line>(&line?)?.text)).collect();
    }
    Ok(lines.collect::<Result<_, _>>()?)
}
