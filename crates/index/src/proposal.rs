//! What an index takes for the best rows, to be scored exactly: executes the [plan](crate::plan) of a query.

use crate::plan::{self, Plan, Probe, Question};
use crate::policy::IndexSpec;
use crate::rows::AllowedRows;
use crate::{IndexError, VectorIndex};
use membox_vectors::VectorView;

/// What the index takes for the best rows; `None` where a scan is the better plan. `among` of the rows that it
/// covers are allowed.
pub(crate) fn propose(
    view: &VectorView,
    index: &VectorIndex,
    query: &[f32],
    k: usize,
    allowed: &AllowedRows,
    among: u64,
    spec: IndexSpec,
) -> Result<Option<Vec<u32>>, IndexError> {
    let rows = u64::from(index.rows());
    let excludes = among < rows;
    let excludes_many = excludes && allowed.excludes_many(index.rows());
    let question = Question { spec, rows, allowed: among, excludes_many, k };
    let mut plan = plan::plan(question);
    if let Plan::Probe(probe) = plan {
        let near = match probe {
            Probe::Graph { ef_search } => index.walk(query, ef_search, None),
            Probe::Lists { nprobe, candidates } => index.in_lists(query, candidates, nprobe, None)?,
        };
        let allowed_near = near.iter().filter(|&&row| allowed.contains(row)).count();
        plan = plan::after_probe(question, near.len() as u64, allowed_near as u64);
    }
    let mut proposed = match plan {
        Plan::Scan | Plan::Probe(_) => return Ok(None),
        Plan::AllAllowed => return Ok(index.scan_allowed(view, query, k, allowed, among)),
        Plan::Lists { nprobe, candidates } => {
            let bits = excludes.then(|| allowed.bits());
            return index.in_lists(query, candidates, nprobe, bits).map(Some);
        }
        Plan::Graph { ef_search } => index.walk(query, ef_search, excludes.then_some(allowed)),
        Plan::Unfiltered { ef_search } => {
            let mut rows = index.walk(query, ef_search, None);
            rows.retain(|&row| allowed.contains(row));
            rows
        }
    };
    proposed.truncate(plan::rescored(k));
    Ok(Some(proposed))
}
