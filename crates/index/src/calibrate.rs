//! The beam of HNSW, measured on the data that it is to find.

use crate::policy::{DEFAULT_EF_SEARCH, IndexSpec, MAX_EF_SEARCH};
use crate::proposal::propose;
use crate::rows::AllowedRows;
use crate::{IndexError, VectorIndex};
use membox_vectors::VectorView;

/// Share of the ten nearest that an index of policy `auto` is made to find.
pub const WANTED_RECALL: f64 = 0.98;
/// Scores that are the same differ by rounding at most.
const SAME_SCORE: f32 = 1e-6;
/// How far a question is on its way to another row. Among 12 000 real sentences such questions are found as often
/// as sentences held out: by beams of 32, 64 and 128 to 0.972, 0.985 and 0.996, against 0.977, 0.992 and 0.998
/// (half way to a near neighbour: 0.998 and over).
const OFF: f32 = 0.3;

impl VectorIndex {
    /// Sets the beam of HNSW: the narrowest by which searches among the `live` rows find [`WANTED_RECALL`] of the
    /// ten nearest of what is like the questions to come, or after which wider ones find hardly more. A question is
    /// about some record and lies off it, so it is a live row with some of the next one in it; `count` of them are
    /// asked. How wide a beam that takes depends on the data as much as on its size.
    pub fn calibrate(&mut self, view: &VectorView, live: &AllowedRows, count: usize) -> Result<(), IndexError> {
        let IndexSpec::Hnsw { m, ef_construction, .. } = self.spec() else { return Ok(()) };
        let question = |pair: &[u32]| -> Vec<f32> {
            let (own, other) = (view.vector(pair[0]), view.vector(pair[1]));
            own.into_iter().zip(other).map(|(a, b)| (1.0 - OFF) * a + OFF * b).collect()
        };
        let questions: Vec<Vec<f32>> = live.sample(self.rows(), count as u64).windows(2).map(question).collect();
        let questions: Vec<&[f32]> = questions.iter().map(Vec::as_slice).collect();
        let nearest = view.scan_many(&questions, 0..self.rows(), Some(live.rows()), 10);
        let among = live.count_below(self.rows());
        let wanted: usize = nearest.iter().map(Vec::len).sum();
        let found_by = |ef_search: u32| -> Result<usize, IndexError> {
            let (mut found, spec) = (0, IndexSpec::Hnsw { m, ef_construction, ef_search });
            for (question, nearest) in questions.iter().zip(&nearest) {
                let Some(proposed) = propose(view, self, question, 10, live, among, spec)? else {
                    // A scan, which finds all.
                    found += nearest.len();
                    continue;
                };
                // Of rows that are the same, as those of earlier versions are, one is as good as the other.
                let least = nearest.last().map_or(f32::MAX, |tenth| tenth.score) - SAME_SCORE;
                let scores = proposed.iter().map(|&row| view.score(question, row));
                found += scores.filter(|&score| score >= least).take(nearest.len()).count();
            }
            Ok(found)
        };
        let mut tried: Vec<(u32, usize)> = Vec::new();
        let mut ef_search = DEFAULT_EF_SEARCH;
        loop {
            let found = found_by(ef_search)?;
            if found as f64 >= WANTED_RECALL * wanted as f64 || ef_search >= MAX_EF_SEARCH {
                break;
            }
            // What the graph does not lead to no beam finds.
            if let Some(&(narrower, found_before)) = tried.iter().nth_back(1)
                && found < found_before + wanted / 200
            {
                ef_search = narrower;
                break;
            }
            tried.push((ef_search, found));
            ef_search = (ef_search * 3 / 2).min(MAX_EF_SEARCH);
        }
        self.set_spec(IndexSpec::Hnsw { m, ef_construction, ef_search });
        Ok(())
    }
}
