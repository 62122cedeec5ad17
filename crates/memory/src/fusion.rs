//! From the scores of the two legs to one ranking.
//!
//! A turn of a conversation seldom says everything itself: the question before it names the subject, the turn after it the answer. So a text
//! score spreads to the neighbours in the session, less with each step, when the question is asked: nothing has to be complete
//! when it is indexed. The legs are joined by their scores, each divided by its best, because ranks forget how far apart two
//! hits are. What each step gives on LoCoMo is in docs/decisions/023-hybrid-recall-joins-scores.md.

use crate::links::Links;
use membox_index::AllowedRows;
use membox_text::TextScores;
use membox_vectors::ScoredRow;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What the neighbours of a row get of its text score, one and two steps away: 0.6 a step. From 0.5 and 0.25 to 0.7 and 0.35 evidence
/// recall@10 on LoCoMo stays within 0.6 points.
const SPREAD: [f32; 2] = [0.6, 0.36];

const DEFAULT_VECTOR_WEIGHT: f32 = 0.5;
const DEFAULT_CONSTANT: f32 = 60.0;

/// How the vector leg and the text leg of a hybrid recall are joined.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "method", rename_all = "lowercase", try_from = "FusionFields")]
pub enum Fusion {
    /// The sum of both scores, each divided by the best of its leg.
    Scores {
        /// Weight of the vector leg, 0 to 1 (0.5); the text leg has the rest.
        #[serde(default)]
        vector_weight: f32,
    },
    /// Reciprocal ranks: Σ 1 / (constant + rank).
    Rrf {
        /// 60 unless said otherwise.
        #[serde(default)]
        constant: f32,
    },
}

/// A fusion as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FusionFields {
    method: Method,
    vector_weight: Option<f32>,
    constant: Option<f32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Method {
    Scores,
    Rrf,
}

impl TryFrom<FusionFields> for Fusion {
    type Error = &'static str;

    fn try_from(given: FusionFields) -> Result<Self, Self::Error> {
        match (given.method, given.vector_weight, given.constant) {
            (Method::Scores, weight, None) => {
                Ok(Self::Scores { vector_weight: weight.unwrap_or(DEFAULT_VECTOR_WEIGHT) })
            }
            (Method::Rrf, None, constant) => Ok(Self::Rrf { constant: constant.unwrap_or(DEFAULT_CONSTANT) }),
            (Method::Scores, ..) => Err("constant is for method rrf, not scores"),
            (Method::Rrf, ..) => Err("vector_weight is for method scores, not rrf"),
        }
    }
}

impl Default for Fusion {
    fn default() -> Self {
        Self::Scores { vector_weight: DEFAULT_VECTOR_WEIGHT }
    }
}

/// Spreads text scores to the neighbours in the session. Only rows of `allowed` give and get.
pub(crate) fn spread(scores: &TextScores, links: &Links, allowed: &AllowedRows, rows: u32) -> TextScores {
    let mut spread = TextScores::new(rows);
    for (row, score) in scores.iter().filter(|(row, _)| allowed.contains(*row)) {
        spread.add(row, score);
        for step in [Links::before, Links::after] {
            let mut at = step(links, row);
            for share in SPREAD {
                let Some(neighbour) = at else { break };
                if allowed.contains(neighbour) {
                    spread.add(neighbour, share * score);
                }
                at = step(links, neighbour);
            }
        }
    }
    spread
}

/// The `count` best rows.
pub(crate) fn best(scores: impl Iterator<Item = (u32, f32)>, count: usize) -> Vec<ScoredRow> {
    let mut top = membox_vectors::TopK::new(count);
    scores.for_each(|(row, score)| top.push(row, score));
    top.into_sorted()
}

/// A row with the scores of both legs and their fusion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fused {
    pub row: u32,
    pub score: f32,
    pub vector: Option<f32>,
    pub text: Option<f32>,
}

/// Joins candidates, each with its scores, best first.
pub(crate) fn fuse(
    fusion: Fusion,
    candidates: impl IntoIterator<Item = (u32, Option<f32>, Option<f32>)>,
) -> Vec<Fused> {
    let mut fused: Vec<Fused> =
        candidates.into_iter().map(|(row, vector, text)| Fused { row, score: 0.0, vector, text }).collect();
    match fusion {
        Fusion::Scores { vector_weight } => {
            let best = |leg: fn(&Fused) -> Option<f32>| fused.iter().filter_map(leg).fold(0f32, f32::max);
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
            for leg in [(|f: &Fused| f.vector) as fn(&Fused) -> Option<f32>, |f| f.text] {
                let mut ranked: Vec<usize> = (0..fused.len()).filter(|&i| leg(&fused[i]).is_some()).collect();
                ranked.sort_by(|&a, &b| {
                    leg(&fused[b])
                        .unwrap_or_default()
                        .total_cmp(&leg(&fused[a]).unwrap_or_default())
                        .then(fused[a].row.cmp(&fused[b].row))
                });
                for (rank, i) in ranked.into_iter().enumerate() {
                    fused[i].score += 1.0 / (constant.max(0.0) + rank as f32 + 1.0);
                }
            }
        }
    }
    fused.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
    fused
}

/// Reorders hits by maximal marginal relevance (Carbonell and Goldstein, 1998): each next hit is the one with the best
/// `lambda · score − (1 − lambda) · likeness to what is chosen already`. Gives positions in `scores`, at most `k`.
pub(crate) fn marginal_relevance(
    scores: &[f32],
    likeness: impl Fn(usize, usize) -> f32,
    lambda: f32,
    k: usize,
) -> Vec<usize> {
    let mut left: Vec<usize> = (0..scores.len()).collect();
    let mut nearest = vec![0f32; scores.len()];
    let mut chosen = Vec::new();
    while chosen.len() < k && !left.is_empty() {
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
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_in_the_session_share_a_score_and_others_do_not() {
        let mut links = Links::default();
        (0..5).for_each(|row| links.push(row, "a"));
        links.push(5, "b");
        let scores = TextScores::from_iter([(2, 8.0)]);
        let allowed = |rows: &[u32]| AllowedRows::from(rows.iter().copied().collect::<roaring::RoaringBitmap>());
        let got: Vec<_> = spread(&scores, &links, &allowed(&[0, 1, 2, 3, 4, 5]), 6).iter().collect();
        let want = [(0, 8.0 * SPREAD[1]), (1, 8.0 * SPREAD[0]), (2, 8.0), (3, 8.0 * SPREAD[0]), (4, 8.0 * SPREAD[1])];
        assert_eq!(got, want);
        assert_eq!(spread(&scores, &links, &allowed(&[2, 3]), 6).iter().count(), 2, "a filtered row gets nothing");
    }

    #[test]
    fn a_leg_without_hits_leaves_the_other_its_order() {
        let rows = |fusion, c: &[(u32, Option<f32>, Option<f32>)]| {
            fuse(fusion, c.to_vec()).iter().map(|f| f.row).collect::<Vec<_>>()
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
    fn a_method_takes_its_own_number_and_no_other() {
        let read = |text| serde_json::from_str::<Fusion>(text).ok();
        assert_eq!(read(r#"{"method":"scores","constant":null}"#), Some(Fusion::default()));
        assert_eq!(read(r#"{"method":"rrf","constant":7}"#), Some(Fusion::Rrf { constant: 7.0 }));
        for wrong in [r#"{"method":"rrf","vector_weight":0.5}"#, r#"{"method":"scores","constant":1}"#, "{}"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn marginal_relevance_passes_over_near_doubles() {
        let likeness = |a: usize, b: usize| if a + b == 1 { 0.99 } else { 0.1 };
        assert_eq!(marginal_relevance(&[1.0, 0.98, 0.8], likeness, 0.5, 2), [0, 2]);
        assert_eq!(marginal_relevance(&[1.0, 0.98, 0.8], likeness, 1.0, 2), [0, 1]);
    }
}
