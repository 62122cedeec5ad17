//! What of a long text is near a question.
//!
//! A text counts by the passage that is nearest to the question: what is said together belongs together, and words that
//! are scattered over a long text do not. docs/decisions/043 has what it gives.

/// Tokens of a part. A passage is two parts in a row, so that each sentence stands in the middle of one.
pub(super) const PART_TOKENS: usize = 32;
/// Parts of a passage.
const PASSAGE_PARTS: usize = 2;
/// What a passage loses each time that it is e times as long as a part.
const LENGTH_PENALTY: f32 = 0.05;

/// How near each token of a question is to the best passage of a text of `tokens` tokens. `parts` are the nearest
/// tokens of each of its parts, one or more, and `weights` what a token of the question counts.
pub(super) fn best_passage(parts: Vec<Vec<f32>>, tokens: usize, weights: &[f32]) -> Vec<f32> {
    let mut best = match <[Vec<f32>; 1]>::try_from(parts) {
        Ok([only]) => only,
        Err(parts) => nearest_passage(&parts, weights),
    };
    let length = tokens.clamp(PART_TOKENS, PASSAGE_PARTS * PART_TOKENS) as f32 / PART_TOKENS as f32;
    best.iter_mut().for_each(|near| *near -= LENGTH_PENALTY * length.ln());
    best
}

fn nearest_passage(parts: &[Vec<f32>], weights: &[f32]) -> Vec<f32> {
    let (mut best, mut highest) = (Vec::new(), f32::NEG_INFINITY);
    for passage in parts.windows(PASSAGE_PARTS).map(nearest_of) {
        let near: f32 = passage.iter().zip(weights).map(|(near, weight)| near * weight).sum();
        if near > highest {
            (best, highest) = (passage, near);
        }
    }
    best
}

/// For each token of the question the nearest one of some parts.
fn nearest_of(parts: &[Vec<f32>]) -> Vec<f32> {
    let mut parts = parts.iter();
    let mut nearest = parts.next().cloned().unwrap_or_default();
    for part in parts {
        nearest.iter_mut().zip(part).for_each(|(nearest, near)| *nearest = nearest.max(*near));
    }
    nearest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Of a text of whole parts, for a question of two tokens that count alike.
    fn near(parts: &[[f32; 2]]) -> f32 {
        let best = best_passage(parts.iter().map(|part| part.to_vec()).collect(), parts.len() * PART_TOKENS, &[0.5; 2]);
        best.iter().sum::<f32>() / 2.0
    }

    #[test]
    fn what_is_said_together_is_nearer_than_what_is_scattered() {
        let (together, scattered) =
            ([[0.9, 0.9], [0.1; 2], [0.1; 2], [0.1; 2]], [[0.9, 0.1], [0.1; 2], [0.1; 2], [0.1, 0.9]]);
        assert!(near(&together) > near(&scattered) + 0.2);
        let parted = [[0.1; 2], [0.9, 0.1], [0.1, 0.9], [0.1; 2]];
        assert!(near(&parted) > near(&scattered) + 0.2, "two parts in a row are one passage");
    }

    #[test]
    fn a_long_text_is_as_near_as_its_best_passage_is_alone() {
        let mut long = [[0.3; 2]; 16];
        long[7] = [0.6; 2];
        assert_eq!(near(&long), near(&[[0.6; 2]; 2]));
        assert!(near(&long) < near(&long[7..8]), "a passage of two parts loses something for its length");
        assert_eq!(near(&long[7..8]), 0.6);
    }

    proptest! {
        #[test]
        fn no_text_is_nearer_than_its_nearest_tokens(
            parts in prop::collection::vec(prop::collection::vec(-1.0f32..1.0, 3), 1..20),
            spare in 0usize..PART_TOKENS,
        ) {
            let nearest = nearest_of(&parts);
            let best = best_passage(parts.clone(), parts.len() * PART_TOKENS - spare, &[0.2, 0.3, 0.5]);
            prop_assert_eq!(best.len(), 3);
            prop_assert!(best.iter().zip(&nearest).all(|(near, nearest)| near <= nearest));
        }
    }
}
