//! How sure it is that a hit answers the question: a number with the same meaning in every mode.
//!
//! Scores are made for ranking: the best hit has the best one, whatever it is. Relevance is made of what was measured
//! alone, without a look at other hits, by logistic regression over hits of LoCoMo, BEAM and MemDaily, among them those
//! of questions that were asked to somebody else's memory. docs/decisions/043 says how, and what it tells apart.

/// What was measured of a question and a record.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Evidence {
    /// The cosine, on a scale where unrelated texts have 0 and answers usually 1.
    pub vector: Option<f32>,
    /// BM25, in units of what a text of average length has that holds each word once.
    pub words: Option<f32>,
    /// Whether the question names who said the record, or whom it is about.
    pub is_named: bool,
    /// How well the model knows the language of the question, 0 to 1.
    pub fluency: f32,
}

/// More of the words than this says no more.
const MAX_WORDS: f32 = 1.5;

/// What each kind of evidence weighs.
struct Weights {
    vector: f32,
    words: f32,
    named: f32,
    /// What is added where the model does not know the language, and what words count more there.
    foreign: f32,
    foreign_words: f32,
    constant: f32,
}

const WITH_WORDS: Weights =
    Weights { vector: 3.007, words: 1.187, named: 0.468, foreign: 1.618, foreign_words: 2.018, constant: -5.105 };
const BY_VECTOR: Weights =
    Weights { vector: 3.138, words: 0.0, named: 0.11, foreign: 2.085, foreign_words: 0.0, constant: -4.156 };

/// 0 to 1; `None` where nothing is known that says so.
pub(super) fn relevance(evidence: &Evidence) -> Option<f32> {
    let fluency = if evidence.vector.is_some() { evidence.fluency } else { 0.0 };
    if evidence.words.is_none() && fluency <= 0.0 {
        return None;
    }
    let weights = if evidence.words.is_some() { &WITH_WORDS } else { &BY_VECTOR };
    let words = evidence.words.unwrap_or_default().clamp(0.0, MAX_WORDS);
    let sum = weights.constant
        + weights.vector * fluency * evidence.vector.unwrap_or_default()
        + (weights.words + weights.foreign_words * (1.0 - fluency)) * words
        + weights.foreign * (1.0 - fluency)
        + if evidence.is_named { weights.named } else { 0.0 };
    Some(1.0 / (1.0 + (-sum).exp()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever was measured: it lies between 0 and 1, and more of anything never makes it less.
        #[test]
        fn more_evidence_is_never_less_relevant(
            vector in -1.0f32..1.0, words in 0.0f32..3.0, more in 0.0f32..0.5, fluency in 0.0f32..1.0,
        ) {
            let all = Evidence { vector: Some(vector), words: Some(words), is_named: false, fluency };
            let of = |evidence: &Evidence| relevance(evidence).expect("there are words");
            let before = of(&all);
            prop_assert!((0.0..=1.0).contains(&before));
            for better in [
                Evidence { vector: Some(vector + more), ..all },
                Evidence { words: Some(words + more), ..all },
                Evidence { is_named: true, ..all },
            ] {
                prop_assert!(of(&better) >= before - 1e-6, "{better:?}");
            }
        }
    }

    #[test]
    fn without_any_evidence_there_is_none() {
        assert_eq!(relevance(&Evidence::default()), None);
        assert_eq!(relevance(&Evidence { vector: Some(0.9), fluency: 0.0, ..Evidence::default() }), None);
        assert!(relevance(&Evidence { words: Some(0.0), ..Evidence::default() }).is_some_and(|found| found < 0.05));
    }
}
