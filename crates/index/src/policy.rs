//! Which index a collection has, and how a query is answered: by the index or by an exact scan.

use serde::{Deserialize, Serialize};

/// Rows under which `auto` builds no index. A scan takes 33 ns a row of 384 f16 on one core: 0.66 ms for so many, beside some
/// 0.8 ms for embedding the question, and needs no building (benches/results).
pub const EXACT_ROWS: u32 = 20_000;

/// Rows that a scan scores in the time in which HNSW finds a beam of 64: 0.12 ms over 100 000 rows (benches/results).
const SCAN_INSTEAD: u64 = 4_000;

/// Lists of IVF that could be looked into while the nearest are found: 0.1 of the 0.2 ms that a search of two of 4 000 takes (benches/results).
const FINDING_LISTS: u64 = 8;

/// Rows of the lists that are scored exactly, at least.
const IVF_CANDIDATES: u64 = 64;

/// Links of a node of HNSW and the beam of its construction, where nothing else is said.
const DEFAULT_M: u32 = 32;
const DEFAULT_EF_CONSTRUCTION: u32 = 80;

/// Beam of a search where nothing else is said.
pub(crate) const DEFAULT_EF_SEARCH: u32 = 64;

/// Widest beam of a search.
pub const MOST_EF_SEARCH: u32 = 4096;

/// How hard one search tries, instead of what the policy says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Beam of HNSW.
    pub ef_search: Option<u32>,
    /// Lists of IVF.
    pub nprobe: Option<u32>,
    /// Score every allowed row.
    pub exact: bool,
}

/// The index policy of a collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IndexPolicy {
    /// No index below [`EXACT_ROWS`] rows, HNSW above, with a beam that is [measured](crate::VectorIndex::calibrate) on the data.
    #[default]
    Auto,
    /// Never an index: every answer is exact.
    Flat,
    /// A graph over 8-bit codes.
    Hnsw {
        /// Links of a node (32).
        m: u32,
        /// Beam of the construction (80).
        ef_construction: u32,
        /// Beam of a search (64).
        ef_search: u32,
    },
    /// Inverted lists over 8-bit codes.
    Ivf {
        /// Lists; 0 means 4·√rows.
        nlist: u32,
        /// Lists that a search looks into (32).
        nprobe: u32,
    },
}

impl IndexPolicy {
    /// HNSW with its default parameters.
    pub fn hnsw() -> Self {
        Self::Hnsw { m: DEFAULT_M, ef_construction: DEFAULT_EF_CONSTRUCTION, ef_search: DEFAULT_EF_SEARCH }
    }

    /// The index that a collection of `rows` rows should have, if any.
    pub fn wanted(self, rows: u32) -> Option<IndexSpec> {
        match self {
            Self::Flat => None,
            Self::Auto if rows < EXACT_ROWS => None,
            Self::Auto => Self::hnsw().wanted(rows),
            Self::Hnsw { m, ef_construction, ef_search } => (rows > 0).then_some(IndexSpec::Hnsw {
                m: m.clamp(4, 128),
                ef_construction: ef_construction.clamp(8, 2000),
                ef_search: ef_search.clamp(1, MOST_EF_SEARCH),
            }),
            Self::Ivf { nlist, nprobe } => {
                let lists = if nlist == 0 { (4.0 * f64::from(rows).sqrt()) as u32 } else { nlist };
                // FAISS wants at least 39 training vectors a list.
                let lists = lists.min(rows / 39);
                (lists > 0).then_some(IndexSpec::Ivf { nlist: lists, nprobe: nprobe.clamp(1, lists.max(1)) })
            }
        }
    }
}

/// An index with all its parameters settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum IndexSpec {
    /// A graph over 8-bit codes.
    Hnsw {
        /// Links of a node.
        m: u32,
        /// Beam of the construction.
        ef_construction: u32,
        /// Beam of a search.
        ef_search: u32,
    },
    /// Inverted lists over 8-bit codes.
    Ivf {
        /// Lists.
        nlist: u32,
        /// Lists that a search looks into.
        nprobe: u32,
    },
}

impl IndexSpec {
    /// FAISS's name for it.
    pub(crate) fn factory(self) -> String {
        match self {
            Self::Hnsw { m, .. } => format!("HNSW{m},SQ8"),
            Self::Ivf { nlist, .. } => format!("IVF{nlist},SQ8"),
        }
    }

    /// The same index, searched as hard as another policy of its kind says, and then as a request says.
    pub fn searched(self, policy: IndexPolicy, effort: Effort) -> Self {
        match (self, policy) {
            (Self::Hnsw { m, ef_construction, ef_search: own }, policy) => {
                let of_policy = if let IndexPolicy::Hnsw { ef_search, .. } = policy { ef_search } else { own };
                let ef_search = effort.ef_search.unwrap_or(of_policy).clamp(1, MOST_EF_SEARCH);
                Self::Hnsw { m, ef_construction, ef_search }
            }
            (Self::Ivf { nlist, nprobe: own }, policy) => {
                let of_policy = if let IndexPolicy::Ivf { nprobe, .. } = policy { nprobe } else { own };
                Self::Ivf { nlist, nprobe: effort.nprobe.unwrap_or(of_policy).clamp(1, nlist.max(1)) }
            }
        }
    }

    /// `hnsw` or `ivf`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hnsw { .. } => "hnsw",
            Self::Ivf { .. } => "ivf",
        }
    }
}

/// How a query over the indexed rows is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Score every allowed row.
    Scan,
    /// Walk the graph of HNSW among the allowed rows, and score the beam exactly.
    Graph {
        /// The beam.
        ef_search: usize,
    },
    /// Look into lists of IVF, and score what is nearest by its codes exactly.
    Lists {
        /// Lists.
        nprobe: usize,
        /// Rows to ask for.
        candidates: usize,
    },
}

/// Chooses by the number of rows that the filter allows: few are scanned.
pub fn plan(spec: IndexSpec, rows: u64, allowed: u64, k: usize) -> Plan {
    match spec {
        IndexSpec::Hnsw { ef_search, .. } => {
            let ef_search = u64::from(ef_search).max(k as u64 * 5 / 4);
            // A wider beam costs about in proportion, and so does a scan.
            match allowed <= SCAN_INSTEAD * ef_search.max(64) / 64 {
                true => Plan::Scan,
                false => Plan::Graph { ef_search: ef_search as usize },
            }
        }
        IndexSpec::Ivf { nlist, nprobe } => {
            let candidates = IVF_CANDIDATES.max(2 * k as u64);
            // More lists cost in proportion, and so does a scan; to find out which they are costs as much as some of them.
            let scan_instead = SCAN_INSTEAD * (u64::from(nprobe) + FINDING_LISTS) / 4;
            // What is nearest of fewer rows lies further away, but seldom in proportion.
            let widen = if allowed < rows { (rows as f64 / allowed.max(1) as f64).powf(0.6).ceil() as u64 } else { 1 };
            let nprobe = u64::from(nprobe).saturating_mul(widen).min(u64::from(nlist));
            match allowed <= scan_instead.max(candidates) {
                true => Plan::Scan,
                false => Plan::Lists { nprobe: nprobe as usize, candidates: candidates as usize },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_scans_small_collections_and_indexes_large_ones() {
        assert_eq!(IndexPolicy::Auto.wanted(EXACT_ROWS - 1), None);
        assert!(matches!(IndexPolicy::Auto.wanted(EXACT_ROWS), Some(IndexSpec::Hnsw { m: 32, .. })));
        assert_eq!(IndexPolicy::Flat.wanted(u32::MAX), None);
        assert_eq!(
            IndexPolicy::Ivf { nlist: 0, nprobe: 8 }.wanted(10_000),
            Some(IndexSpec::Ivf { nlist: 256, nprobe: 8 })
        );
        assert_eq!(IndexPolicy::Ivf { nlist: 64, nprobe: 8 }.wanted(10), None, "too few rows to train a list");
    }

    #[test]
    fn selective_filters_scan_and_others_keep_the_beam() {
        let spec = IndexPolicy::hnsw().wanted(1_000_000).expect("an index");
        assert_eq!(plan(spec, 1_000_000, 1_000_000, 10), Plan::Graph { ef_search: 64 });
        assert_eq!(plan(spec, 1_000_000, 500_000, 10), Plan::Graph { ef_search: 64 });
        assert_eq!(plan(spec, 1_000_000, 1_000, 10), Plan::Scan);
        assert_eq!(plan(spec, 1_000_000, 1_000_000, 100), Plan::Graph { ef_search: 125 });
    }

    #[test]
    fn selective_filters_look_into_more_lists() {
        let spec = IndexSpec::Ivf { nlist: 4000, nprobe: 8 };
        assert_eq!(plan(spec, 1_000_000, 1_000_000, 10), Plan::Lists { nprobe: 8, candidates: 64 });
        assert_eq!(plan(spec, 1_000_000, 100_000, 10), Plan::Lists { nprobe: 32, candidates: 64 });
        assert_eq!(plan(spec, 1_000_000, 4_000, 10), Plan::Scan);
        let wide = IndexSpec::Ivf { nlist: 4000, nprobe: 32 };
        assert_eq!(plan(wide, 1_000_000, 50_000, 10), Plan::Lists { nprobe: 224, candidates: 64 });
        assert_eq!(plan(wide, 1_000_000, 40_000, 10), Plan::Scan);
    }

    #[test]
    fn a_request_decides_over_the_policy_and_the_policy_over_what_was_built() {
        let built = IndexPolicy::hnsw().wanted(50_000).expect("an index");
        let ef = |policy, effort| match built.searched(policy, effort) {
            IndexSpec::Hnsw { ef_search, .. } => ef_search,
            IndexSpec::Ivf { .. } => 0,
        };
        let policy = IndexPolicy::Hnsw { m: 32, ef_construction: 80, ef_search: 200 };
        assert_eq!(ef(IndexPolicy::Auto, Effort::default()), 64);
        assert_eq!(ef(policy, Effort::default()), 200);
        assert_eq!(ef(policy, Effort { ef_search: Some(300), ..Effort::default() }), 300);
        assert_eq!(ef(policy, Effort { ef_search: Some(1 << 30), ..Effort::default() }), MOST_EF_SEARCH);
    }
}
