//! The options of a compression, under the package's own names and with its defaults.

use crate::{CompressorError, TokenCounter};
use serde::{Deserialize, Serialize};

/// How faithfully the package is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The package's selection with its faults mended.
    #[default]
    Default,
    /// The same with one threshold over the whole text, chosen so that the budget holds.
    Strict,
    /// The package's answer to the character, its faults included.
    Parity,
}

impl Mode {
    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Strict => "strict",
            Self::Parity => "parity",
        }
    }
}

/// How the probabilities of a word's tokens become the word's. In modes `default` and `strict` signs within a word
/// (`don't`, `a@b.example`) do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenToWord {
    /// Their mean.
    #[default]
    Mean,
    /// That of the first.
    First,
}

/// What is kept of a text, and how. Names, meanings and defaults are those of `compress_prompt` of the Python
/// package, but for `mode`, `encoding`, `threshold`, `force_reserve_negation` and `structured`, which are ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CompressOptions {
    /// How faithfully the package is followed.
    pub mode: Mode,
    /// Share of the tokens to be kept, over 0 and up to 1.
    pub rate: f64,
    /// Tokens to be kept, instead of a rate; negative for none.
    pub target_token: f64,
    /// Keep only words that are more likely than this, instead of a rate.
    pub threshold: Option<f64>,
    /// tiktoken's encoding that tokens are counted by, or a model's name. The package knows only cl100k_base.
    pub encoding: String,
    /// Whether the least likely of several contexts are dropped first. Left out: yes in mode `parity` (as the package
    /// does), no in the others.
    pub use_context_level_filter: Option<bool>,
    /// Whether words are dropped.
    pub use_token_level_filter: bool,
    /// Contexts to be kept at most; negative for no such limit.
    pub target_context: f64,
    /// Share of the contexts to be kept.
    pub context_level_rate: f64,
    /// Tokens of the contexts to be kept; negative for no such limit.
    pub context_level_target_token: f64,
    /// Contexts that are kept whatever happens, counted from 0.
    pub force_context_ids: Vec<usize>,
    /// How the probabilities of a word's tokens become the word's.
    pub token_to_word: TokenToWord,
    /// Words and strings that are always kept, with the number, address or name that they are a part of.
    pub force_tokens: Vec<String>,
    /// Always keep what has a digit in it: numbers with their signs and units, dates, names such as `v1.2.3`.
    pub force_reserve_digit: bool,
    /// Always keep what negates: `not`, `don't`, `nicht`, `不`, `没有`.
    pub force_reserve_negation: bool,
    /// Of a forced token that would stand twice in a row, keep one.
    pub drop_consecutive: bool,
    /// Where a text that is too long for one pass is best cut.
    pub chunk_end_tokens: Vec<String>,
    /// Whether the answer lists every word with its label.
    pub return_word_label: bool,
    /// What stands between two words of that list.
    pub word_sep: String,
    /// What stands between a word and its label.
    pub label_sep: String,
    /// Whether `<llmlingua, rate=0.5, compress=False>…</llmlingua>` in the text is read as a tag.
    pub structured: bool,
}

impl Default for CompressOptions {
    fn default() -> Self {
        Self {
            mode: Mode::Default,
            rate: 0.5,
            target_token: -1.0,
            threshold: None,
            encoding: "cl100k_base".into(),
            use_context_level_filter: None,
            use_token_level_filter: true,
            target_context: -1.0,
            context_level_rate: 1.0,
            context_level_target_token: -1.0,
            force_context_ids: Vec::new(),
            token_to_word: TokenToWord::Mean,
            force_tokens: Vec::new(),
            force_reserve_digit: false,
            force_reserve_negation: true,
            drop_consecutive: false,
            chunk_end_tokens: vec![".".into(), "\n".into()],
            return_word_label: false,
            word_sep: "\t\t|\t\t".into(),
            label_sep: " ".into(),
            structured: false,
        }
    }
}

impl CompressOptions {
    /// Whether a number of tokens is to be reached.
    pub(crate) fn target(&self) -> Option<f64> {
        (self.target_token >= 0.0).then_some(self.target_token)
    }

    pub(crate) fn counter(&self) -> Result<TokenCounter, CompressorError> {
        TokenCounter::by_name(&self.encoding)
    }

    /// Refuses what cannot be meant. Mode `parity` takes what the package takes.
    pub(crate) fn check(&self) -> Result<(), CompressorError> {
        let impossible = |option, reason: String| Err(CompressorError::impossible(option, reason));
        if self.mode == Mode::Parity {
            if self.threshold.is_some() {
                return impossible("threshold", "the package has no such option: use another mode".into());
            }
            return Ok(());
        }
        if self.target().is_none() && self.threshold.is_none() && !(self.rate > 0.0 && self.rate <= 1.0) {
            return impossible("rate", format!("{} is not over 0 and up to 1", self.rate));
        }
        if self.target_token == 0.0 || self.target_token.is_nan() {
            return impossible("target_token", "at least one token must be left".into());
        }
        if let Some(threshold) = self.threshold
            && !(0.0..=1.0).contains(&threshold)
        {
            return impossible("threshold", format!("{threshold} is no probability"));
        }
        if !(self.context_level_rate > 0.0 && self.context_level_rate <= 1.0) {
            return impossible("context_level_rate", format!("{} is not over 0 and up to 1", self.context_level_rate));
        }
        if let Some(empty) = self.force_tokens.iter().position(String::is_empty) {
            return impossible("force_tokens", format!("token {empty} is empty"));
        }
        Ok(())
    }
}
