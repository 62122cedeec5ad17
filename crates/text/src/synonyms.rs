//! Words that mean the same: who asks for one of them finds the others as well.

use crate::analysis::{query_terms, terms};
use std::collections::HashSet;

/// Groups of words, each word as the terms that it is found by.
#[derive(Default)]
pub struct Synonyms(Vec<Vec<Vec<String>>>);

impl Synonyms {
    /// Groups of words, each as it is written.
    pub fn new(groups: &[Vec<String>]) -> Self {
        Self(groups.iter().map(|group| group.iter().map(|word| query_terms(word)).collect()).collect())
    }

    /// The terms of a question, and those of all words that mean the same as one that stands in it, be that one of
    /// stop words.
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
