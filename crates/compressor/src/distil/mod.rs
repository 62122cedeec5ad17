//! Training of a keep head over an embedding model, on text that its user gives.
//!
//! Nobody says which words of that text matter, so teachers do, and each is a rank from 0 to 1:
//! - `movement`: how much nearer to the text's vector random halves of it are that have the word (rank within the
//!   text);
//! - `frequency`: how rare the word is among all texts, its inverse document frequency (rank among all words);
//! - `model`: how likely an LLMLingua-2 model is to keep it, where one is installed (rank within the text).
//!
//! The head learns their weighted mean from the states of the word's tokens, by AdamW on the binary cross entropy.
//! Teaching is what takes time (each text is embedded in as many pairs of halves as it has words); what is taught is
//! appended to `targets.jsonl` in the work folder, and every epoch leaves a checkpoint there, so that an interrupted
//! run goes on where it was.

mod fit;

use self::fit::fit;
use crate::units::Unit;
use crate::{CompressOptions, Compressor, CompressorError};
use membox_encoder::{Inputs, Lane, Request, Wanted};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

/// Words of a text that teaches: shorter ones tell nothing about what can be left out.
const WORDS: std::ops::RangeInclusive<usize> = 4..=90;
/// Texts taught between two writes to the work folder.
const BATCH: usize = 16;
/// One text in so many is held out of the training, to measure on.
const HELD_OUT: usize = 20;

/// How a head is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct DistilConfig {
    /// Texts taken at most, evenly from all that are given.
    pub most_texts: usize,
    /// Width of the head's inner layer, a multiple of 32.
    pub width: usize,
    /// Times that each text is seen.
    pub epochs: usize,
    /// Step size at the beginning; it falls to zero evenly.
    pub learning_rate: f64,
    /// Weight of the teacher `movement`.
    pub movement: f64,
    /// Weight of the teacher `frequency`.
    pub frequency: f64,
    /// Weight of the teacher `model`, where there is one.
    pub model: f64,
    /// Of every choice by chance.
    pub seed: u64,
}

impl Default for DistilConfig {
    fn default() -> Self {
        Self {
            most_texts: 8000,
            width: 128,
            epochs: 6,
            learning_rate: 1e-3,
            movement: 2.0,
            frequency: 1.0,
            model: 3.0,
            seed: 1,
        }
    }
}

/// What is under way, for a progress bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Texts are taught.
    Teach,
    /// Token states are computed.
    Read,
    /// Steps of the training.
    Train,
}

/// Called with the stage, what is done of it and how much there is.
pub type OnProgress<'a> = dyn FnMut(Stage, usize, usize) + 'a;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DistilReport {
    /// Texts trained on, and held out.
    pub texts: (usize, usize),
    /// Tokens trained on.
    pub tokens: usize,
    /// Mean cross entropy on what was held out, before and after.
    pub loss: (f32, f32),
    /// Share of the held-out tokens on which head and teachers agree about being in the upper half.
    pub agreement: f32,
}

/// A text with what its teachers say of its units.
#[derive(Debug, Serialize, Deserialize)]
struct Taught {
    text: String,
    movement: Vec<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<Vec<f32>>,
}

/// Token states and what the head is to say of them.
struct Examples {
    states: Vec<f32>,
    targets: Vec<f32>,
}

fn training(e: impl std::fmt::Display) -> CompressorError {
    CompressorError::Training(e.to_string())
}

/// Cuts long texts at the ends of sentences, and leaves out what is too short, too long or said before.
pub fn texts_for_training(lines: impl Iterator<Item = String>, config: &DistilConfig) -> Vec<String> {
    let mut rng = StdRng::seed_from_u64(config.seed);
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    let wanted = [6, 10, 15, 25, 40];
    let mut keep = |text: &str| {
        let words = text.split_whitespace().count().max(text.chars().filter(|c| crate::units::is_cjk(*c)).count());
        if WORDS.contains(&words) && seen.insert(text.to_owned()) {
            all.push(text.to_owned());
        }
    };
    for (i, line) in lines.enumerate() {
        let mut current = String::new();
        for sentence in line.split_inclusive(['.', '?', '!', '。', '？', '！']) {
            current.push_str(sentence);
            if current.split_whitespace().count() >= wanted[i % wanted.len()] {
                keep(current.trim());
                current.clear();
            }
        }
        keep(current.trim());
    }
    all.shuffle(&mut rng);
    all.truncate(config.most_texts);
    all
}

/// Trains a head for `student` (a compressor over an embedding model) on `texts`, with `teacher` if there is one, and
/// writes it to `out`.
pub fn distil(
    student: &Compressor,
    teacher: Option<&Compressor>,
    texts: &[String],
    config: &DistilConfig,
    work: &Path,
    out: &Path,
    progress: &mut OnProgress<'_>,
) -> Result<DistilReport, CompressorError> {
    if texts.len() < 2 * HELD_OUT || config.width == 0 || !config.width.is_multiple_of(32) {
        let reason = format!(
            "{} usable texts and a width of {}; {} texts and a multiple of 32 are wanted",
            texts.len(),
            config.width,
            2 * HELD_OUT
        );
        return Err(CompressorError::impossible("texts", reason));
    }
    fs::create_dir_all(work).map_err(training)?;
    let taught = teach(student, teacher, texts, work, config.seed, progress)?;
    let (held_out, trained_on): (Vec<_>, Vec<_>) = taught.iter().enumerate().partition(|(i, _)| i % HELD_OUT == 0);
    let frequency = DocumentFrequency::of(student, &taught)?;
    let total = taught.len();
    let mut read = |part: Vec<(usize, &Taught)>, before: usize| -> Result<Examples, CompressorError> {
        let mut examples = Examples { states: Vec::new(), targets: Vec::new() };
        for (i, batch) in part.chunks(BATCH).enumerate() {
            progress(Stage::Read, before + i * BATCH, total);
            examples.add(student, batch, &frequency, config)?;
        }
        Ok(examples)
    };
    let counts = (trained_on.len(), held_out.len());
    let test = read(held_out, 0)?;
    let train = read(trained_on, counts.1)?;
    let tokens = train.targets.len();
    let (loss, agreement) = fit(student.encoder().dimension(), train, test, config, work, out, progress)?;
    Ok(DistilReport { texts: counts, tokens, loss, agreement })
}

/// Units of a text, with no probabilities.
fn units(compressor: &Compressor, text: &str) -> Result<Vec<Unit>, CompressorError> {
    compressor.units_of(text, &CompressOptions::default())
}

/// Asks the teachers about each text, as far as the work folder has not got it yet.
fn teach(
    student: &Compressor,
    teacher: Option<&Compressor>,
    texts: &[String],
    work: &Path,
    seed: u64,
    progress: &mut OnProgress<'_>,
) -> Result<Vec<Taught>, CompressorError> {
    let path = work.join("targets.jsonl");
    let mut taught: Vec<Taught> = Vec::new();
    if let Ok(file) = File::open(&path) {
        // A line that a kill cut short is the last, and is taught again.
        let lines = BufReader::new(file).lines().map_while(Result::ok);
        taught.extend(lines.map_while(|line| serde_json::from_str::<Taught>(&line).ok()));
    }
    let same = |t: &Taught, text: &String| t.text == *text && t.model.is_some() == teacher.is_some();
    let usable = taught.iter().zip(texts).take_while(|(t, text)| same(t, text)).count();
    taught.truncate(usable);
    let mut file = File::create(&path).map_err(training)?;
    for line in &taught {
        writeln!(file, "{}", serde_json::to_string(line).map_err(training)?).map_err(training)?;
    }
    while taught.len() < texts.len() {
        progress(Stage::Teach, taught.len(), texts.len());
        let batch = &texts[taught.len()..(taught.len() + BATCH).min(texts.len())];
        let mut variants = Vec::new();
        let mut counts = Vec::new();
        for text in batch {
            let units = units(student, text)?;
            let halves = halves(units.len(), (taught.len() + counts.len()) as u64 ^ seed);
            variants.push(text.clone());
            variants.extend(halves.iter().map(|half| without(text, &units, half)));
            counts.push(halves);
        }
        let vectors = student.encoder().embed(variants, Lane::Bulk)?;
        let mut rows = vectors.rows();
        for (text, halves) in batch.iter().zip(counts) {
            let whole = rows.next().unwrap_or_default();
            let likeness = |row: &[f32]| row.iter().zip(whole).map(|(a, b)| a * b).sum::<f32>();
            let likeness: Vec<f32> = rows.by_ref().take(halves.len()).map(likeness).collect();
            let movement = influence(&halves, &likeness);
            let model = teacher.map(|teacher| teacher_says(teacher, student, text)).transpose()?;
            let line = Taught { text: text.clone(), movement, model };
            writeln!(file, "{}", serde_json::to_string(&line).map_err(training)?).map_err(training)?;
            taught.push(line);
        }
    }
    progress(Stage::Teach, texts.len(), texts.len());
    Ok(taught)
}

/// Random halves of a text's units, each followed by its other half.
fn halves(units: usize, seed: u64) -> Vec<Vec<bool>> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut halves = Vec::new();
    for _ in 0..units.max(8) {
        let half: Vec<bool> = (0..units).map(|_| rng.random_bool(0.5)).collect();
        let other = half.iter().map(|kept| !kept).collect();
        halves.extend([half, other]);
    }
    halves
}

/// The text with the units that are kept.
fn without(text: &str, units: &[Unit], kept: &[bool]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut end = 0;
    for (unit, _) in units.iter().zip(kept).filter(|(_, kept)| !**kept) {
        out.push_str(&text[end..unit.place.start]);
        end = unit.place.end;
    }
    out + &text[end..]
}

/// Of each unit, how much likelier to the whole the halves are that have it: an estimate of its Banzhaf index.
fn influence(halves: &[Vec<bool>], likeness: &[f32]) -> Vec<f32> {
    let units = halves.first().map_or(0, Vec::len);
    let mean = |unit: usize, kept: bool| {
        let own = halves.iter().zip(likeness).filter(|(half, _)| half[unit] == kept);
        let (sum, count) = own.fold((0.0, 0), |(sum, count), (_, l)| (sum + l, count + 1));
        sum / count.max(1) as f32
    };
    (0..units).map(|unit| mean(unit, true) - mean(unit, false)).collect()
}

/// What an LLMLingua-2 model says of the student's units: the mean over its own units that lie in the same place.
fn teacher_says(teacher: &Compressor, student: &Compressor, text: &str) -> Result<Vec<f32>, CompressorError> {
    let theirs = teacher.probabilities_of(text, &CompressOptions::default())?;
    let says = |unit: &Unit| {
        let own = theirs.iter().filter(|t| t.place.start < unit.place.end && unit.place.start < t.place.end);
        let (sum, count) = own.fold((0.0, 0), |(sum, count), t| (sum + t.unforced, count + 1));
        if count == 0 { 0.0 } else { (sum / f64::from(count)) as f32 }
    };
    Ok(units(student, text)?.iter().map(says).collect())
}

/// In how many texts a word is, and where that stands among all words.
struct DocumentFrequency {
    of_word: HashMap<String, u32>,
    /// Frequencies of all occurrences of words, in order.
    sorted: Vec<u32>,
}

impl DocumentFrequency {
    fn of(student: &Compressor, taught: &[Taught]) -> Result<Self, CompressorError> {
        let mut of_word: HashMap<String, u32> = HashMap::new();
        let mut occurrences = Vec::new();
        for Taught { text, .. } in taught {
            let words: Vec<String> =
                units(student, text)?.iter().map(|u| text[u.place.clone()].to_lowercase()).collect();
            for word in words.iter().collect::<HashSet<_>>() {
                *of_word.entry(word.clone()).or_default() += 1;
            }
            occurrences.extend(words);
        }
        let mut sorted: Vec<u32> = occurrences.iter().map(|word| of_word[word]).collect();
        sorted.sort_unstable();
        Ok(Self { of_word, sorted })
    }

    /// 1 for the rarest word; 0 for signs.
    fn rarity(&self, word: &str) -> f32 {
        if !word.chars().any(char::is_alphanumeric) {
            return 0.0;
        }
        let frequency = self.of_word.get(&word.to_lowercase()).copied().unwrap_or(0);
        let below = self.sorted.partition_point(|&f| f < frequency);
        1.0 - below as f32 / self.sorted.len().max(1) as f32
    }
}

/// Ranks from 0 to 1, equal numbers in the middle of their ranks.
fn ranks(values: &[f32]) -> Vec<f32> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    let rank = |value: &f32| {
        let below = sorted.partition_point(|v| v < value);
        let through = sorted.partition_point(|v| v <= value);
        (below + through - 1) as f32 / 2.0 / (sorted.len() - 1).max(1) as f32
    };
    values.iter().map(rank).collect()
}

impl Examples {
    fn add(
        &mut self,
        student: &Compressor,
        batch: &[(usize, &Taught)],
        frequency: &DocumentFrequency,
        config: &DistilConfig,
    ) -> Result<(), CompressorError> {
        let hidden = student.encoder().dimension();
        let mut sequences = Vec::new();
        let mut targets: Vec<Vec<Option<f32>>> = Vec::new();
        for (_, taught) in batch {
            let units = units(student, &taught.text)?;
            let movement = ranks(&taught.movement);
            let model = taught.model.as_ref().map(|m| ranks(m));
            let of_unit = |i: usize| {
                let rarity = frequency.rarity(&taught.text[units[i].place.clone()]);
                let mut sum = config.movement * f64::from(movement[i]) + config.frequency * f64::from(rarity);
                let mut weights = config.movement + config.frequency;
                if let Some(model) = &model {
                    sum += config.model * f64::from(model[i]);
                    weights += config.model;
                }
                (sum / weights) as f32
            };
            for (ids, places) in student.sequences_of(&taught.text)? {
                let unit = |place: &std::ops::Range<usize>| {
                    units.iter().position(|u| u.place.start <= place.start && place.start < u.place.end)
                };
                sequences.push(ids);
                targets.push(places.iter().map(|place| unit(place).map(of_unit)).collect());
            }
        }
        let wanted = Wanted { states: true, ..Wanted::default() };
        let request = Request { inputs: Inputs::Tokens(sequences), max_tokens: 512, wanted, lane: Lane::Bulk };
        for (states, targets) in student.encoder().encode(request)?.states.iter().zip(targets) {
            // The first state is that of the opening token.
            for (state, target) in states.chunks_exact(hidden).skip(1).zip(targets) {
                if let Some(target) = target {
                    self.states.extend_from_slice(state);
                    self.targets.push(target);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_go_from_zero_to_one_and_equals_share_theirs() {
        assert_eq!(ranks(&[3.0, 1.0, 2.0]), [1.0, 0.0, 0.5]);
        assert_eq!(ranks(&[1.0, 1.0, 5.0]), [0.25, 0.25, 1.0]);
        assert_eq!(ranks(&[7.0]), [0.0]);
    }

    #[test]
    fn long_lines_are_cut_at_sentences_and_doubles_are_left_out() {
        let lines = ["one two three four five six. seven eight nine ten", "one two three four five six.", "Yes."];
        let texts = texts_for_training(lines.iter().map(|s| s.to_string()), &DistilConfig::default());
        let texts: HashSet<&str> = texts.iter().map(String::as_str).collect();
        assert_eq!(texts, HashSet::from(["one two three four five six.", "seven eight nine ten"]));
    }
}
