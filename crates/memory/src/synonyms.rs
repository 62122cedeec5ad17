//! Words of a collection that mean the same: who asks for one of them finds the others as well.

use crate::MemoryError;
use crate::redaction::redacted;
use membox_api::Redaction;
use membox_records::analysis::{query_terms, terms};
use std::collections::HashSet;

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

    /// The terms of a question, and those of all words that mean the same as one that stands in it, be that one of stop words.
    pub fn expand(&self, question: &str) -> Vec<String> {
        let mut found = query_terms(question);
        if self.0.is_empty() {
            return found;
        }
        let asked: HashSet<String> = terms(question).into_iter().map(|term| term.text).collect();
        let is_asked = |word: &Vec<String>| !word.is_empty() && word.iter().all(|term| asked.contains(term));
        let meant = self.0.iter().filter(|group| group.iter().any(is_asked));
        found.extend(meant.flatten().flatten().cloned());
        found.sort_unstable();
        found.dedup();
        found
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
        let synonyms = Synonyms::new(&[
            group(&["car", "automobile", "motor vehicle"]),
            group(&["kids", "children"]),
            group(&["IT", "computing"]),
            group(&["C++", "cpp"]),
        ]);
        let expand = |question: &str| synonyms.expand(question).join(" ");
        assert_eq!(expand("a red car"), "automobil car motor red vehicl");
        assert_eq!(expand("motor vehicles"), "automobil car motor vehicl");
        assert_eq!(expand("a motor"), "motor", "half a word is another one");
        assert_eq!(expand("the kid"), "children kid");
        assert_eq!(expand("nothing"), query_terms("nothing").join(" "));
        assert_eq!(expand("who runs IT"), "comput it run", "a stop word that was given a meaning");
        assert_eq!((expand("C++"), expand("C#")), ("c++ cpp".into(), "c#".into()));
        assert_eq!(synonyms.expand(""), Vec::<String>::new());
    }
}
