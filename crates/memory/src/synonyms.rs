//! Words of a collection that mean the same: who asks for one of them finds the others as well.

use crate::redaction::redacted;
use crate::{MemoryError, Redaction};
use membox_records::analysis::query_terms;

/// Groups of a collection, words of a group, and bytes of a word.
const MOST_GROUPS: usize = 200;
const MOST_WORDS: usize = 16;
const MOST_BYTES: usize = 100;

/// Groups of words, each word as the terms that it is found by.
#[derive(Default)]
pub(crate) struct Synonyms(Vec<Vec<Vec<String>>>);

impl Synonyms {
    pub fn new(groups: &[Vec<String>]) -> Self {
        Self(groups.iter().map(|group| group.iter().map(|word| query_terms(word)).collect()).collect())
    }

    /// Adds the terms of all words that mean the same as one that stands in the question.
    pub fn expand(&self, mut terms: Vec<String>) -> Vec<String> {
        let is_asked = |word: &Vec<String>| !word.is_empty() && word.iter().all(|term| terms.contains(term));
        let meant = self.0.iter().filter(|group| group.iter().any(is_asked));
        let others: Vec<String> = meant.flatten().flatten().cloned().collect();
        terms.extend(others);
        terms.sort_unstable();
        terms.dedup();
        terms
    }
}

/// Refuses groups that are none, or too many.
pub(crate) fn check(groups: &[Vec<String>]) -> Result<(), MemoryError> {
    let wrong = |at: String, reason: String| Err(MemoryError::impossible(at, reason));
    if groups.len() > MOST_GROUPS {
        return wrong("/synonyms".into(), format!("{} groups; {MOST_GROUPS} are possible", groups.len()));
    }
    for (i, group) in groups.iter().enumerate() {
        if group.len() < 2 || group.len() > MOST_WORDS {
            return wrong(format!("/synonyms/{i}"), format!("a group has 2 to {MOST_WORDS} words"));
        }
        if let Some(word) = group.iter().find(|word| word.trim().is_empty() || word.len() > MOST_BYTES) {
            return wrong(format!("/synonyms/{i}"), format!("a word has 1 to {MOST_BYTES} bytes, not {}", word.len()));
        }
    }
    Ok(())
}

/// Refuses words that a collection's redaction takes out of every text: they would be kept here alone, and find nothing.
pub(crate) fn check_redacted(groups: &[Vec<String>], redaction: Option<&Redaction>) -> Result<(), MemoryError> {
    let Some(redaction) = redaction else { return Ok(()) };
    for (i, group) in groups.iter().enumerate() {
        if let Some(j) = group.iter().position(|word| redacted(redaction, word.clone()) != *word) {
            let reason = "redaction takes this out of every text of the collection";
            return Err(MemoryError::impossible(format!("/synonyms/{i}/{j}"), reason));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_brings_those_that_mean_the_same_and_no_others() {
        let group = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let synonyms = Synonyms::new(&[group(&["car", "automobile", "motor vehicle"]), group(&["kids", "children"])]);
        let expand = |question: &str| synonyms.expand(query_terms(question)).join(" ");
        assert_eq!(expand("a red car"), "automobil car motor red vehicl");
        assert_eq!(expand("motor vehicles"), "automobil car motor vehicl");
        assert_eq!(expand("a motor"), "motor", "half a word is another one");
        assert_eq!(expand("the kid"), "children kid");
        assert_eq!(expand("nothing"), query_terms("nothing").join(" "));
        assert_eq!(synonyms.expand(Vec::new()), Vec::<String>::new());
    }
}
