//! `membox models axes`: the axes that token vectors are made with, from texts.

use crate::config::Config;
use crate::output::NewFile;
use crate::progress;
use crate::text::text_of;
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use membox_memory::encoder::{
    Device, Encoder, Inputs, Lane, MAX_TOKEN_DIMENSION, Precision, Purpose, Request, TOKEN_AXES_FILE, TokenAxes, Wanted,
};
use nalgebra::{DMatrix, DVector};
use serde::Deserialize;
use std::fs::File;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

/// Texts encoded at a time.
const TEXTS: usize = 64;
/// Characters of a Markdown paragraph that is taken; shorter ones are headings and the like.
const MIN_PARAGRAPH: usize = 81;
/// Tokens to learn from at least.
const MIN_TOKENS: usize = 4096;

/// Make the axes of a model's token vectors from texts.
///
/// Late interaction keeps a small vector of each token: its state in the model along the directions in which the
/// states of such texts differ most (a principal component analysis). all-MiniLM-L6-v2 has axes built in; another
/// model gets them by this command. Some thousand sentences of any subject are enough. The same texts give the same
/// file.
///
///   membox models axes --model my-model handbook.md
#[derive(Args)]
pub struct AxesArgs {
    /// Texts: of .jsonl files the field `text` of each line, of others each paragraph; of Markdown (.md) without
    /// code, tables and paragraphs of up to 80 characters.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The model [default: the one that is set].
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Where the axes are written [default: token_axes.safetensors in the model's folder, where they are used].
    #[arg(long, value_name = "FILE.safetensors")]
    out: Option<PathBuf>,
}

/// Runs `membox models axes`.
pub fn run(config: &Config, args: &AxesArgs) -> Result<()> {
    // What is rounded least: the axes are made once.
    let mut config =
        Config { precision: Precision::F32.to_string(), device: Device::Cpu.to_string(), ..config.clone() };
    config.model = args.model.clone().unwrap_or(config.model);
    let mut texts = Vec::new();
    for path in &args.files {
        texts.extend(read(path).with_context(|| path.display().to_string())?);
    }
    let encoder = config.load_encoder(&config.start_scheduler()?)?;
    let mut states = States::new(encoder.dimension());
    let bar = progress::items(texts.len() as u64, "texts");
    for batch in texts.chunks(TEXTS) {
        states.add_texts(&encoder, batch)?;
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    if states.tokens < MIN_TOKENS {
        bail!("{} tokens are too few to learn from: {MIN_TOKENS} are wanted at least", states.tokens);
    }
    let tokens = states.tokens;
    let Axes { mean, axes, share } = states.axes()?;
    let bytes = TokenAxes::to_safetensors(&mean, &axes, encoder.weights_sha256()).map_err(|e| anyhow!(e))?;
    let out = args.out.clone().unwrap_or_else(|| config.models_dir().join(&config.model).join(TOKEN_AXES_FILE));
    let file = NewFile::create(&out)?;
    file.file().write_all(&bytes).with_context(|| format!("cannot write {}", out.display()))?;
    file.finish()?;
    println!(
        "{}: {MAX_TOKEN_DIMENSION} axes from {} texts ({tokens} tokens), along which {:.1} % of the variance is",
        out.display(),
        texts.len(),
        100.0 * share
    );
    Ok(())
}

fn read(path: &Path) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Line {
        text: String,
    }
    let lines = text_of(File::open(path)?)?.lines();
    let is = |ending: &str| path.extension().is_some_and(|e| e == ending);
    if is("jsonl") {
        let texts = lines.map(|line| Ok(serde_json::from_str::<Line>(&line?)?.text));
        return texts.collect();
    }
    let lines: Vec<String> = lines.collect::<Result<_, _>>()?;
    Ok(paragraphs(&lines, is("md")))
}

/// The paragraphs of a text; of Markdown only those that are sentences.
fn paragraphs(lines: &[String], is_markdown: bool) -> Vec<String> {
    let mut in_code = false;
    let mut prose = Vec::with_capacity(lines.len());
    for line in lines {
        let is_fence = is_markdown && line.trim_start().starts_with("```");
        in_code ^= is_fence;
        prose.push(if in_code || is_fence { "" } else { line.trim_end() });
    }
    let paragraphs = prose.split(|line| line.is_empty()).map(|lines| lines.join("\n"));
    let is_wanted = |paragraph: &String| {
        let paragraph = paragraph.trim();
        let is_prose = !paragraph.contains('|') && paragraph.chars().count() >= MIN_PARAGRAPH;
        !paragraph.is_empty() && (!is_markdown || is_prose)
    };
    paragraphs.filter(is_wanted).map(|paragraph| paragraph.trim().to_owned()).collect()
}

/// What is known of the states of tokens at unit length.
struct States {
    tokens: usize,
    sum: DVector<f64>,
    /// The sum of each state with itself, `[hidden, hidden]`.
    products: DMatrix<f64>,
}

/// What comes of them.
struct Axes {
    /// `[hidden]`.
    mean: Vec<f32>,
    /// `[64, hidden]`.
    axes: Vec<f32>,
    /// Share of the variance that is along the axes.
    share: f64,
}

impl States {
    fn new(hidden: usize) -> Self {
        Self { tokens: 0, sum: DVector::zeros(hidden), products: DMatrix::zeros(hidden, hidden) }
    }

    fn add_texts(&mut self, encoder: &Encoder, texts: &[String]) -> Result<()> {
        let wanted = Wanted { states: true, ..Wanted::default() };
        let max_tokens = encoder.max_tokens();
        let inputs = Inputs::Texts(encoder.prompts().put_before(Purpose::Document, texts.to_vec()));
        let answer = encoder.encode(Request { inputs, max_tokens, wanted, lane: Lane::Bulk })?;
        for states in &answer.states {
            let hidden = self.sum.len();
            // Without the tokens that open and close a sequence.
            let inner = &states[hidden..(states.len() - hidden).max(hidden)];
            self.add(inner);
        }
        Ok(())
    }

    /// Adds states, `[tokens, hidden]`.
    fn add(&mut self, states: &[f32]) {
        let hidden = self.sum.len();
        let mut columns = DMatrix::from_iterator(hidden, states.len() / hidden, states.iter().map(|x| f64::from(*x)));
        columns.column_iter_mut().for_each(|mut state| {
            state.normalize_mut();
        });
        self.tokens += columns.ncols();
        self.sum += columns.column_sum();
        self.products.gemm(1.0, &columns, &columns.transpose(), 1.0);
    }

    /// The mean, and the eigenvectors of the covariance with the largest eigenvalues, largest first. Of an eigenvector
    /// and its opposite the one is taken whose largest number is above zero.
    fn axes(self) -> Result<Axes> {
        let mean = self.sum / self.tokens as f64;
        let covariance = self.products / self.tokens as f64 - &mean * mean.transpose();
        if covariance.ncols() < MAX_TOKEN_DIMENSION {
            bail!("a state of this model has {} numbers, fewer than there are axes", covariance.ncols());
        }
        let all = covariance.trace();
        let found = covariance.symmetric_eigen();
        let mut order: Vec<usize> = (0..found.eigenvalues.len()).collect();
        order.sort_by(|&a, &b| found.eigenvalues[b].total_cmp(&found.eigenvalues[a]));
        order.truncate(MAX_TOKEN_DIMENSION);
        let mut axes = Vec::with_capacity(order.len() * mean.len());
        for &axis in &order {
            let axis = found.eigenvectors.column(axis);
            let sign = axis[axis.iamax()].signum();
            axes.extend(axis.iter().map(|x| (x * sign) as f32));
        }
        let share = order.iter().map(|&axis| found.eigenvalues[axis]).sum::<f64>() / all;
        Ok(Axes { mean: mean.iter().map(|x| *x as f32).collect(), axes, share })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_markdown_the_sentences_are_taken() {
        let sentence = "A paragraph that is long enough to be one says something about the box, in a whole sentence.";
        let text = format!(
            "# A heading\n\n{sentence}\nIt goes on.\n\n```sh\n{sentence}\n\n{sentence}\n```\n\n\
             | {sentence} |\n|---|\n\nShort.\n"
        );
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        assert_eq!(paragraphs(&lines, true), [format!("{sentence}\nIt goes on.")]);
        assert_eq!(paragraphs(&["One.".into(), "".into(), "".into(), " Two.".into()], false), ["One.", "Two."]);
    }

    #[test]
    fn the_axes_are_the_directions_in_which_states_differ_most() {
        const HIDDEN: usize = 70;
        let mut states = States::new(HIDDEN);
        for i in 0..2000usize {
            // Unit vectors about the last direction, which go aside along direction d the less, the larger d is.
            let mut state = [0.0f32; HIDDEN];
            for (d, x) in state.iter_mut().enumerate().take(HIDDEN - 1) {
                let sign = if (i * (d + 3) * 7919 / 64) % 2 == 0 { 1.0 } else { -1.0 };
                *x = sign * 0.1 * 0.9f32.powi(d as i32);
            }
            state[HIDDEN - 1] = 1.0;
            states.add(&state);
        }
        let Axes { mean, axes, share } = states.axes().expect("axes");
        assert!(mean[HIDDEN - 1] > 0.9 && (0.98..=1.0).contains(&share), "{share}");
        let row = |a: usize| &axes[a * HIDDEN..(a + 1) * HIDDEN];
        for a in 0..MAX_TOKEN_DIMENSION {
            for b in 0..=a {
                let dot: f32 = row(a).iter().zip(row(b)).map(|(x, y)| x * y).sum();
                assert!((dot - if a == b { 1.0 } else { 0.0 }).abs() < 1e-4, "axes {a} and {b}: {dot}");
            }
        }
        let largest = |row: &[f32]| (0..HIDDEN).max_by(|&a, &b| row[a].abs().total_cmp(&row[b].abs()));
        let first: Vec<Option<usize>> = (0..3).map(|a| largest(row(a))).collect();
        assert_eq!(first, [Some(0), Some(1), Some(2)]);
        assert!((0..3).all(|a| row(a)[a] > 0.9), "the sign is that of the largest number");
    }
}
