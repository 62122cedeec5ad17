//! How much a word says, where the model does not know it: by how common it is, not by the model's guess.

use crate::units::is_cjk;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// Languages with a list of stop words (stopwords-iso).
const LANGUAGES: [&str; 37] = [
    "ar", "bg", "bn", "cs", "da", "de", "el", "es", "et", "fa", "fi", "fr", "gu", "he", "hi", "hr", "hu", "hy", "id",
    "it", "ja", "ko", "mr", "nl", "no", "pl", "pt", "ro", "ru", "sk", "sv", "th", "tr", "uk", "ur", "vi", "zh",
];

static STOP_WORDS: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| LANGUAGES.iter().filter_map(stop_words::lookup).flatten().copied().collect());

/// What a stop word gets, and what has neither letters nor digits.
const COMMON: f64 = 0.1;
/// What a word gets that is neither.
const UNCOMMON: f64 = 0.75;
/// What a long one gets. Zipf: what is said often is short.
const LONG: f64 = 0.9;
/// Characters of Han from which on a word is long; of other letters it has twice as many.
const MIN_LONG: f64 = 3.0;
/// What a word loses each time that it stands there e times as often.
const REPEATED: f64 = 0.05;

/// The words of one text.
pub(crate) struct Rarities<'a> {
    counts: HashMap<&'a str, usize>,
}

impl<'a> Rarities<'a> {
    pub fn of(words: impl Iterator<Item = &'a str>) -> Self {
        let mut counts = HashMap::new();
        words.for_each(|word| *counts.entry(word).or_default() += 1);
        Self { counts }
    }

    /// How worth keeping a word is, 0 to 1.
    pub fn probability(&self, word: &str) -> f64 {
        if !word.contains(char::is_alphanumeric) || STOP_WORDS.contains(word.to_lowercase().as_str()) {
            return COMMON;
        }
        let length: f64 = word.chars().map(|c| if is_cjk(c) { 1.0 } else { 0.5 }).sum();
        let rare = if length < MIN_LONG { UNCOMMON } else { LONG };
        let count = self.counts.get(word).copied().unwrap_or(1) as f64;
        (rare - REPEATED * count.ln()).max(COMMON)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rare_word_says_more_than_a_common_one() {
        let rarities = Rarities::of(["青霉素", "过敏", "过敏", "的"].into_iter());
        let said = |word| rarities.probability(word);
        assert!(said("青霉素") > said("过敏") && said("过敏") > said("的"));
        assert!(said("過") > said("。") - 1e-9 && said("ภูมิแพ้") > said("และ"));
        assert!(said("аллергия") > said("и"));
        let once = Rarities::of(["过敏"].into_iter());
        assert!(once.probability("过敏") > said("过敏"));
    }
}
