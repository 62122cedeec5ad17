//! How a search is answered: by a scan, a walk over the graph, bits of each row, inverted lists, or a device.
//!
//! Every choice is made here, and every threshold that a choice depends on is named here, with its reason and what
//! it was measured by (benches/results, ARCHITECTURE.md). Nothing here touches a vector: [`source`] and [`plan`]
//! say from numbers alone what is to be done, and the modules beside do it.
//!
//! ```text
//! k, effort, policy, rows ──▶ source ─┬▶ Scan    every allowed row is scored
//!                                     ├▶ Fresh   no index yet: bits of the rows, where they are many
//!                                     └▶ Index ──▶ plan ─┬▶ Scan, AllAllowed, Graph, Unfiltered, Lists
//!                                                        └▶ Probe ──▶ after_probe ──▶ one of them
//! ```
//!
//! A probe is needed where a filter excludes many rows: whether it excludes the very rows around the query, only
//! these rows tell.

use crate::policy::{Effort, IndexPolicy, IndexSpec};
use membox_vectors::Metric;
use std::time::Duration;

// Scan, or the index.

/// Rows that a scan scores in the time in which HNSW finds a beam of [`SCAN_BEAM`]: 0.12 ms over 100 000 rows.
const ROWS_SCANNED_PER_WALK: u64 = 4_000;
/// The beam of that measurement. A wider one costs about in proportion.
const SCAN_BEAM: u64 = 64;
/// Lists of IVF that a search could look into while it finds the nearest: 0.1 of the 0.2 ms that two lists of 4 000
/// take.
const LISTS_PER_LOOKUP: u64 = 8;
/// Lists that take as long as a scan of [`ROWS_SCANNED_PER_WALK`]: the same measurement.
const LISTS_PER_WALK: u64 = 4;
/// Allowed rows over which a scan waits for others to go with: a scan of so many takes 0.3 ms and more.
const SHARED_SCAN_ROWS: u64 = 20_000;

// How much of what the index proposes is scored exactly.

/// Candidates of a walk scored exactly for each wanted row: by their 8-bit codes the best rows are among them.
const RESCORED_PER_RESULT: usize = 4;
/// … and at least so many.
const MIN_RESCORED: usize = 64;
/// Candidates of lists, at least: by their codes too the best rows are among them.
const MIN_LIST_CANDIDATES: u64 = 64;
/// Candidates of lists for each wanted row.
const LIST_CANDIDATES_PER_RESULT: u64 = 2;
/// A beam is wider than `k` by a quarter, or the last rows that are wanted are chance.
const BEAM_PER_RESULT: (usize, usize) = (5, 4);

// A filter.

/// A filter excludes many rows where it allows less than this share: fewer excluded rows cannot hide a neighbourhood.
const ALLOWS_NEARLY_ALL: (u64, u64) = (199, 200);
/// Rows nearest to the query among which the allowed ones are counted: a walk finds so many in 0.12 ms.
const PROBE_ROWS: usize = 64;
/// Lists in which they are looked for.
const PROBE_LISTS: usize = 4;
/// Filter and query are negatively correlated where the share of allowed rows near the query is this many times less
/// than among all rows.
const NEGATIVELY_CORRELATED: u64 = 2;
/// Where less than one row in so many is allowed the graph falls apart: with 5 % at random any beam up to 512 finds
/// 0.918 of the ten nearest, bits find all.
const GRAPH_FALLS_APART: u64 = 16;
/// Rows whose bits are looked at in three times what a walk without a filter takes for one of its beam (0.8 ms for
/// a million; 0.8 µs): as long as a filter may take.
const ROWS_BY_BITS_PER_BEAM: u64 = 3200;
/// Where less than one row in so many is allowed, a narrower beam finds as much.
const NARROWS_BELOW: u64 = 4;
/// … of this part of its width.
const NARROWED: (usize, usize) = (3, 4);
/// Where one row in so many is allowed, and more, all rows are walked over, and the beam is wider by those that are
/// not allowed. The excluded rows hold the graph together, those of earlier versions above all: what came later is
/// linked to the rows around it, and these are linked to the first.
const UNFILTERED_FROM: u64 = 2;
/// More lists are looked into where fewer rows are allowed, by this power: what is nearest then lies further away,
/// but seldom in proportion.
const LISTS_WIDEN_BY: f64 = 0.6;

// A walk among allowed rows (`graph.rs`; ACORN-1).

/// Allowed neighbours of a node with which a walk is content: with fewer, it steps over the others.
pub(crate) const ENOUGH_NEIGHBOURS: usize = 24;
/// Neighbours gathered by stepping over, at most: as many as a node of the lowest level has links (M = 32).
pub(crate) const MAX_NEIGHBOURS: usize = 64;
/// Allowed nodes, spread over all, of which the best begin a filtered walk: the way from the query's neighbourhood
/// may be long.
pub(crate) const WALK_SEEDS: u64 = 128;
/// … so many of them.
pub(crate) const BEST_WALK_SEEDS: usize = 8;

// All allowed rows, by codes or by bits (`sketch.rs`).

/// Of so many allowed rows one is a candidate by its bits: with a half of a million allowed, recall@10 is 0.955 to
/// 0.958.
const ROWS_PER_CANDIDATE: u64 = 320;
/// Candidates by their bits, at least.
const MIN_BITS_CANDIDATES: u64 = 1024;
/// Bits are worth it where there are so many times as many rows as candidates: looking at all codes takes no longer
/// below.
const MIN_ROWS_PER_CANDIDATE: u64 = 16;
/// Candidates for each row that is scored exactly, at least.
const CANDIDATES_PER_RESCORED: usize = 2;
/// Rows of which both bits are read, for each candidate: a second bit takes 0.01 ms a thousand, a row of the file
/// 0.13 to 0.23.
pub(crate) const READ_TWICE: usize = 12;
/// Where one node of a piece in so many is allowed, all of their codes are read: in one go a node takes a third of
/// the time.
pub(crate) const READ_ALL_FROM: u64 = 4;

// Rows that no index covers (`scanner.rs`).

/// Allowed rows from which on bits are asked first: a scan of so many takes 0.3 ms and more.
const MIN_ROWS_BY_BITS: u64 = 20_000;
/// Candidates by their bits, at least: what no index covers seldom holds all that is nearest.
const MIN_FRESH_CANDIDATES: usize = 512;
/// Rows without bits that are left to be scanned: 0.03 ms at 33 ns a row.
pub(crate) const MAX_ROWS_WITHOUT_BITS: u32 = 1024;
/// Rows that one search adds the bits of, at most, so that none does long.
pub(crate) const MAX_BITS_PER_SEARCH: u32 = 8192;
/// Axes are learnt anew where rows are so many times as many as those which they were learnt from.
pub(crate) const OUTGROWN: u32 = 8;

// Rows on a device (`device.rs`; docs/gpu.md).

/// Rows, and allowed rows, under which a device is not worth the way there: a scan of so many takes some 0.3 ms.
const MIN_DEVICE_ROWS: u32 = 20_000;
/// Rows that one search takes to the device, at most, so that none does long.
pub(crate) const MAX_ROWS_TO_DEVICE: u32 = 65_536;
/// Rows beyond those that are wanted, since a device sums in an order of its own.
pub(crate) const DEVICE_SPARE: usize = 16;
/// Searches that go both ways, to measure which one is faster on a collection's own questions.
pub(crate) const DEVICE_TRIALS: u32 = 8;
/// How long a device is left alone after it has failed or had no room.
pub(crate) const DEVICE_REST: Duration = Duration::from_secs(60);

/// What a search looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Every allowed row is scored: the answer is exact.
    Scan,
    /// The index, searched as hard as this says, and the rows that it does not cover.
    Index(IndexSpec),
    /// An index is wanted and not there yet: all rows are rows that no index covers.
    Fresh,
}

/// Whether rows are told apart by bits of each: these say on which side of the mean they lie, and nothing of how far.
pub(crate) fn has_bits(metric: Metric) -> bool {
    metric != Metric::Euclidean
}

/// What a search for `k` looks at. `index` is the one that is there, `rows` and `allowed` count all that are in view.
pub(crate) fn source(
    index: Option<IndexSpec>,
    policy: IndexPolicy,
    effort: Effort,
    k: usize,
    rows: u32,
    allowed: u64,
) -> Source {
    match index {
        _ if k == 0 || effort.exact => Source::Scan,
        Some(spec) => Source::Index(spec.searched(policy, effort)),
        None if policy.wanted(rows).is_some() && allowed >= MIN_ROWS_BY_BITS => Source::Fresh,
        None => Source::Scan,
    }
}

/// Whether a scan of so many allowed rows goes together with those that others want at the same time.
pub(crate) fn is_shared_scan(allowed: u64) -> bool {
    allowed >= SHARED_SCAN_ROWS
}

/// Whether a search may be answered by a device: who says how hard the index is to be searched means the index.
/// And a device multiplies, and measures no distances.
pub(crate) fn may_use_device(effort: Effort, k: usize, metric: Metric) -> bool {
    k > 0 && effort.ef_search.is_none() && effort.nprobe.is_none() && metric != Metric::Euclidean
}

/// Whether a device is worth the way there.
pub(crate) fn is_worth_device(rows: u32, allowed: u64) -> bool {
    rows >= MIN_DEVICE_ROWS && allowed >= u64::from(MIN_DEVICE_ROWS)
}

/// Candidates by their bits among so many allowed rows that no index covers; `None` where a scan is the better plan.
pub(crate) fn fresh_candidates(allowed: u64, k: usize) -> Option<usize> {
    let candidates = ((allowed / ROWS_PER_CANDIDATE) as usize).max(MIN_FRESH_CANDIDATES).max(2 * k);
    (allowed >= MIN_ROWS_BY_BITS).then_some(candidates)
}

/// What the plan of a search over an index depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    /// The index, and how hard it is to be searched.
    pub spec: IndexSpec,
    /// Rows that it covers.
    pub rows: u64,
    /// Those of them that are allowed and in view.
    pub allowed: u64,
    /// Whether [many are not](excludes_many).
    pub excludes_many: bool,
    /// Rows that are wanted.
    pub k: usize,
}

/// How a query over the indexed rows is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Score every allowed row.
    Scan,
    /// Look at all allowed rows by their codes, or by bits of them first ([`by_bits`]).
    AllAllowed,
    /// Walk over the graph of HNSW among the allowed rows.
    Graph {
        /// The beam.
        ef_search: usize,
    },
    /// Walk over all rows, and drop those that are not allowed.
    Unfiltered {
        /// The beam.
        ef_search: usize,
    },
    /// Look into lists of IVF.
    Lists {
        /// Lists.
        nprobe: usize,
        /// Rows to ask for.
        candidates: usize,
    },
    /// Find the rows around the query first, allowed or not, and count the allowed ones: [`after_probe`] goes on.
    Probe(Probe),
}

/// How the rows around a query are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// By a walk.
    Graph {
        /// The beam.
        ef_search: usize,
    },
    /// In some lists.
    Lists {
        /// Lists.
        nprobe: usize,
        /// Rows to ask for.
        candidates: usize,
    },
}

/// Chooses by what is known before any row is looked at: few allowed rows are scanned.
pub(crate) fn plan(question: Question) -> Plan {
    let Question { spec, rows, allowed, excludes_many, k } = question;
    match spec {
        IndexSpec::Hnsw { ef_search, .. } => {
            let ef_search = beam(ef_search, k);
            if allowed <= ROWS_SCANNED_PER_WALK * (ef_search as u64).max(SCAN_BEAM) / SCAN_BEAM {
                Plan::Scan
            } else if !excludes_many {
                Plan::Graph { ef_search }
            } else if allowed * GRAPH_FALLS_APART < rows && ef_search as u64 * ROWS_BY_BITS_PER_BEAM >= rows {
                Plan::AllAllowed
            } else {
                Plan::Probe(Probe::Graph { ef_search: PROBE_ROWS })
            }
        }
        IndexSpec::Ivf { nprobe, .. } => {
            let scanned_instead = ROWS_SCANNED_PER_WALK * (u64::from(nprobe) + LISTS_PER_LOOKUP) / LISTS_PER_WALK;
            if allowed <= scanned_instead.max(list_candidates(k)) {
                Plan::Scan
            } else if excludes_many {
                Plan::Probe(Probe::Lists { nprobe: PROBE_LISTS, candidates: PROBE_ROWS })
            } else {
                lists(question)
            }
        }
    }
}

/// Goes on where a probe has found `near` rows around the query, of which `allowed_near` are allowed.
///
/// Where the filter excludes the query's neighbourhood, the nearest allowed rows lie all around it, about as far
/// from each other as from the query: neither a walk over a graph of neighbours finds them nor a look into some
/// lists. All are looked at.
pub(crate) fn after_probe(question: Question, near: u64, allowed_near: u64) -> Plan {
    let Question { spec, rows, allowed, k, .. } = question;
    if allowed_near * NEGATIVELY_CORRELATED < near * allowed / rows.max(1) {
        return Plan::AllAllowed;
    }
    let IndexSpec::Hnsw { ef_search, .. } = spec else { return lists(question) };
    let ef_search = beam(ef_search, k);
    if allowed * NARROWS_BELOW < rows {
        Plan::Graph { ef_search: (ef_search * NARROWED.0 / NARROWED.1).max(beam(0, k)) }
    } else if allowed * UNFILTERED_FROM >= rows {
        Plan::Unfiltered { ef_search: (ef_search as u64 * near / allowed_near.max(1)) as usize }
    } else {
        Plan::Graph { ef_search }
    }
}

/// Whether so many of `rows` are excluded that a query's neighbourhood may be among them.
pub(crate) fn excludes_many(rows: u64, allowed: u64) -> bool {
    allowed * ALLOWS_NEARLY_ALL.1 < rows * ALLOWS_NEARLY_ALL.0
}

/// How many of the rows that are nearest by their codes a search for `k` scores exactly.
pub(crate) fn rescored(k: usize) -> usize {
    (RESCORED_PER_RESULT * k).max(MIN_RESCORED)
}

/// Candidates by their bits of which a search for `k` looks at the codes, where so many rows are allowed; `None`
/// where looking at all codes takes no longer.
pub(crate) fn by_bits(allowed: u64, k: usize) -> Option<usize> {
    let candidates = (allowed / ROWS_PER_CANDIDATE).max(MIN_BITS_CANDIDATES);
    (allowed > MIN_ROWS_PER_CANDIDATE * candidates)
        .then(|| (candidates as usize).max(CANDIDATES_PER_RESCORED * rescored(k)))
}

fn beam(ef_search: u32, k: usize) -> usize {
    (ef_search as usize).max(k * BEAM_PER_RESULT.0 / BEAM_PER_RESULT.1)
}

fn list_candidates(k: usize) -> u64 {
    MIN_LIST_CANDIDATES.max(LIST_CANDIDATES_PER_RESULT * k as u64)
}

fn lists(Question { spec, rows, allowed, k, .. }: Question) -> Plan {
    let IndexSpec::Ivf { nlist, nprobe } = spec else { return Plan::Scan };
    let widened =
        if allowed < rows { (rows as f64 / allowed.max(1) as f64).powf(LISTS_WIDEN_BY).ceil() as u64 } else { 1 };
    let nprobe = u64::from(nprobe).saturating_mul(widened).min(u64::from(nlist));
    Plan::Lists { nprobe: nprobe as usize, candidates: list_candidates(k) as usize }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLION: u64 = 1_000_000;

    fn question(spec: IndexSpec, rows: u64, allowed: u64, k: usize) -> Question {
        Question { spec, rows, allowed, excludes_many: excludes_many(rows, allowed), k }
    }

    fn hnsw() -> IndexSpec {
        IndexPolicy::hnsw().wanted(MILLION as u32).expect("an index")
    }

    fn ivf(nprobe: u32) -> IndexSpec {
        IndexSpec::Ivf { nlist: 4000, nprobe }
    }

    const PROBE_GRAPH: Plan = Plan::Probe(Probe::Graph { ef_search: 64 });
    const PROBE_IN_LISTS: Plan = Plan::Probe(Probe::Lists { nprobe: 4, candidates: 64 });

    #[test]
    fn what_a_search_looks_at() {
        let (auto, flat, hnsw_policy) = (IndexPolicy::Auto, IndexPolicy::Flat, IndexPolicy::hnsw());
        let any = Effort::default();
        let exact = Effort { exact: true, ..any };
        let wide = Effort { ef_search: Some(300), ..any };
        let with = |ef_search| Source::Index(IndexSpec::Hnsw { m: 32, ef_construction: 80, ef_search });
        let index = Some(hnsw());
        // Index, policy, effort, k, rows, allowed.
        let table = [
            (None, auto, any, 10, 19_999, 19_999, Source::Scan),
            (None, auto, any, 10, 20_000, 20_000, Source::Fresh),
            (None, auto, any, 10, 20_000, 19_999, Source::Scan),
            (None, auto, exact, 10, 50_000, 50_000, Source::Scan),
            (None, flat, any, 10, 50_000, 50_000, Source::Scan),
            (None, hnsw_policy, any, 10, 20_000, 20_000, Source::Fresh),
            (index, auto, any, 10, 50_000, 50_000, with(64)),
            (index, auto, wide, 10, 50_000, 50_000, with(300)),
            (index, auto, any, 10, 50_000, 1, with(64)),
            (index, auto, exact, 10, 50_000, 50_000, Source::Scan),
            (index, auto, any, 0, 50_000, 50_000, Source::Scan),
        ];
        for (index, policy, effort, k, rows, allowed, wanted) in table {
            let got = source(index, policy, effort, k, rows, allowed);
            assert_eq!(got, wanted, "{index:?} {policy:?} {effort:?} {k} {rows} {allowed}");
        }
        let may = |effort, k| may_use_device(effort, k, Metric::Cosine);
        assert!(may(exact, 10) && may(any, 1));
        assert!(!may(wide, 10) && !may(any, 0));
        assert!(!may_use_device(any, 1, Metric::Euclidean));
        assert!(
            is_worth_device(20_000, 20_000) && !is_worth_device(20_000, 19_999) && !is_worth_device(19_999, 20_000)
        );
        assert!(is_shared_scan(20_000) && !is_shared_scan(19_999));
    }

    #[test]
    fn how_an_index_is_searched() {
        let effort = |ef_search| Effort { ef_search: Some(ef_search), ..Effort::default() };
        let wide = hnsw().searched(IndexPolicy::Auto, effort(512));
        // Index, rows, allowed, k.
        let table = [
            (hnsw(), MILLION, MILLION, 10, Plan::Graph { ef_search: 64 }),
            (hnsw(), MILLION, MILLION, 100, Plan::Graph { ef_search: 125 }),
            (hnsw(), MILLION, 995_000, 10, Plan::Graph { ef_search: 64 }),
            (hnsw(), MILLION, 994_999, 10, PROBE_GRAPH),
            (hnsw(), MILLION, 500_000, 10, PROBE_GRAPH),
            (hnsw(), MILLION, 4_001, 10, PROBE_GRAPH),
            (hnsw(), MILLION, 4_000, 10, Plan::Scan),
            (hnsw(), MILLION, 1_000, 10, Plan::Scan),
            (hnsw(), MILLION, 7_812, 100, Plan::Scan),
            (hnsw(), MILLION, 0, 10, Plan::Scan),
            (hnsw(), 0, 0, 10, Plan::Scan),
            (hnsw(), 200_000, 12_499, 10, Plan::AllAllowed),
            (hnsw(), 200_000, 12_500, 10, PROBE_GRAPH),
            (wide, MILLION, 62_499, 10, Plan::AllAllowed),
            (wide, MILLION, 62_500, 10, PROBE_GRAPH),
            (wide, MILLION, 32_000, 10, Plan::Scan),
            (ivf(8), MILLION, MILLION, 10, Plan::Lists { nprobe: 8, candidates: 64 }),
            (ivf(8), MILLION, 999_999, 100, Plan::Lists { nprobe: 16, candidates: 200 }),
            (ivf(8), MILLION, 100_000, 10, PROBE_IN_LISTS),
            (ivf(8), MILLION, 16_000, 10, Plan::Scan),
            (ivf(8), MILLION, 4_000, 10, Plan::Scan),
            (ivf(32), MILLION, 40_000, 10, Plan::Scan),
            (ivf(32), MILLION, 40_001, 10, PROBE_IN_LISTS),
        ];
        for (spec, rows, allowed, k, wanted) in table {
            assert_eq!(plan(question(spec, rows, allowed, k)), wanted, "{spec:?} {rows} {allowed} {k}");
        }
    }

    #[test]
    fn what_the_rows_around_a_query_tell() {
        // Index, allowed of a million, k, allowed of the 64 rows around the query.
        let table = [
            (hnsw(), 500_000, 10, 15, Plan::AllAllowed),
            (hnsw(), 500_000, 10, 16, Plan::Unfiltered { ef_search: 256 }),
            (hnsw(), 500_000, 10, 64, Plan::Unfiltered { ef_search: 64 }),
            (hnsw(), 900_000, 10, 64, Plan::Unfiltered { ef_search: 64 }),
            (hnsw(), 499_999, 10, 32, Plan::Graph { ef_search: 64 }),
            (hnsw(), 250_000, 10, 16, Plan::Graph { ef_search: 64 }),
            (hnsw(), 249_999, 10, 16, Plan::Graph { ef_search: 48 }),
            (hnsw(), 249_999, 100, 16, Plan::Graph { ef_search: 125 }),
            (hnsw(), 5_000, 10, 0, Plan::Graph { ef_search: 48 }),
            (hnsw(), 100_000, 10, 2, Plan::AllAllowed),
            (ivf(8), 100_000, 10, 2, Plan::AllAllowed),
            (ivf(8), 100_000, 10, 3, Plan::Lists { nprobe: 32, candidates: 64 }),
            (ivf(32), 50_000, 10, 64, Plan::Lists { nprobe: 224, candidates: 64 }),
        ];
        for (spec, allowed, k, allowed_near, wanted) in table {
            let got = after_probe(question(spec, MILLION, allowed, k), 64, allowed_near);
            assert_eq!(got, wanted, "{spec:?} {allowed} {k} {allowed_near}");
        }
        assert_eq!(after_probe(question(hnsw(), MILLION, 500_000, 10), 0, 0), Plan::Unfiltered { ef_search: 0 });
    }

    #[test]
    fn how_many_candidates_bits_give() {
        assert_eq!((rescored(10), rescored(100)), (64, 400));
        assert_eq!([16_384, 16_385, MILLION].map(|allowed| by_bits(allowed, 10)), [None, Some(1024), Some(3125)]);
        assert_eq!(by_bits(100_000, 1000), Some(8000));
        assert_eq!(
            [19_999, 20_000, MILLION].map(|allowed| fresh_candidates(allowed, 10)),
            [None, Some(512), Some(3125)]
        );
        assert_eq!(fresh_candidates(20_000, 1000), Some(2000));
    }
}
