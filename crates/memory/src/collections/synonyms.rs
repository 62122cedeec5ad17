//! What words of a collection may be said to mean the same.

use crate::MemoryError;
use crate::redaction::redacted;
use membox_api::Redaction;

/// Groups of a collection, words of a group, and bytes of a word.
const MOST_GROUPS: usize = 200;
const MOST_WORDS: usize = 16;
const MOST_BYTES: usize = 100;

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
