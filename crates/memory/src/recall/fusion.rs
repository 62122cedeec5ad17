//! From the scores of the two legs to one ranking.
//!
//! The legs are joined by their scores, each divided by its best, because ranks forget how far apart two hits are.
//! What each step gives on LoCoMo is in docs/decisions.

use membox_api::Fusion;
use membox_store::RecordRef;
use membox_threads::budget::{self, Cancelled};

/// A record with the scores of both legs and their fusion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fused<R = RecordRef> {
    pub record: R,
    pub score: f32,
    pub vector: Option<f32>,
    pub text: Option<f32>,
}

/// Joins candidates, each with its scores, best first.
pub(crate) fn fuse<R: Copy + Ord>(
    fusion: Fusion,
    candidates: impl IntoIterator<Item = (R, Option<f32>, Option<f32>)>,
) -> Vec<Fused<R>> {
    let mut fused: Vec<Fused<R>> =
        candidates.into_iter().map(|(record, vector, text)| Fused { record, score: 0.0, vector, text }).collect();
    match fusion {
        Fusion::Scores { vector_weight } => {
            let best = |leg: fn(&Fused<R>) -> Option<f32>| fused.iter().filter_map(leg).fold(0f32, f32::max);
            let (best_vector, best_text) = (best(|f| f.vector), best(|f| f.text));
            // A leg that found nothing leaves the other its whole weight.
            let weight = match (best_vector > 0.0, best_text > 0.0) {
                (true, true) => vector_weight.clamp(0.0, 1.0),
                (true, false) => 1.0,
                _ => 0.0,
            };
            let part = |score: Option<f32>, best: f32| if best > 0.0 { score.unwrap_or(0.0) / best } else { 0.0 };
            for f in &mut fused {
                f.score = weight * part(f.vector, best_vector) + (1.0 - weight) * part(f.text, best_text);
            }
        }
        Fusion::Rrf { constant } => {
            for leg in [(|f: &Fused<R>| f.vector) as fn(&Fused<R>) -> Option<f32>, |f| f.text] {
                let mut ranked: Vec<usize> = (0..fused.len()).filter(|&i| leg(&fused[i]).is_some()).collect();
                ranked.sort_by(|&a, &b| {
                    leg(&fused[b])
                        .unwrap_or_default()
                        .total_cmp(&leg(&fused[a]).unwrap_or_default())
                        .then(fused[a].record.cmp(&fused[b].record))
                });
                for (rank, i) in ranked.into_iter().enumerate() {
                    fused[i].score += 1.0 / (constant.max(0.0) + rank as f32 + 1.0);
                }
            }
        }
    }
    fused.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.record.cmp(&b.record)));
    fused
}

/// Reorders hits by maximal marginal relevance (Carbonell and Goldstein, 1998): each next hit is the one with the best
/// `lambda · score − (1 − lambda) · likeness to what is chosen already`. Gives positions in `scores`, at most `k`.
pub(crate) fn marginal_relevance(
    scores: &[f32],
    likeness: impl Fn(usize, usize) -> f32,
    lambda: f32,
    k: usize,
) -> Result<Vec<usize>, Cancelled> {
    let mut left: Vec<usize> = (0..scores.len()).collect();
    let mut nearest = vec![0f32; scores.len()];
    let mut chosen = Vec::new();
    while chosen.len() < k && !left.is_empty() {
        budget::check()?;
        let value = |i: usize| lambda * scores[i] - (1.0 - lambda) * nearest[i];
        let (at, next) = left
            .iter()
            .copied()
            .enumerate()
            .fold((0, left[0]), |best, (at, i)| if value(i) > value(best.1) { (at, i) } else { best });
        left.remove(at);
        for &i in &left {
            nearest[i] = nearest[i].max(likeness(i, next));
        }
        chosen.push(next);
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leg_without_hits_leaves_the_other_its_order() {
        let rows = |fusion, c: &[(u32, Option<f32>, Option<f32>)]| {
            fuse(fusion, c.to_vec()).iter().map(|f| f.record).collect::<Vec<_>>()
        };
        for fusion in [Fusion::default(), Fusion::Rrf { constant: 60.0 }] {
            assert_eq!(rows(fusion, &[(1, Some(0.2), None), (2, Some(0.9), None)]), [2, 1]);
            assert_eq!(rows(fusion, &[(1, None, Some(3.0)), (2, None, Some(2.0))]), [1, 2]);
        }
        assert_eq!(
            rows(Fusion::default(), &[(1, Some(0.5), Some(1.0)), (2, Some(1.0), Some(0.9)), (3, Some(0.1), None)]),
            [2, 1, 3]
        );
    }

    #[test]
    fn marginal_relevance_passes_over_near_doubles() {
        let likeness = |a: usize, b: usize| if a + b == 1 { 0.99 } else { 0.1 };
        assert_eq!(marginal_relevance(&[1.0, 0.98, 0.8], likeness, 0.5, 2), Ok(vec![0, 2]));
        assert_eq!(marginal_relevance(&[1.0, 0.98, 0.8], likeness, 1.0, 2), Ok(vec![0, 1]));
    }
}
