//! Which index a collection has, and how hard it is searched.

use serde::{Deserialize, Serialize};

/// Rows under which `auto` builds no index. A scan takes 33 ns a row of 384 f16 on one core: 0.66 ms for so many,
/// beside some 0.8 ms for embedding the question, and needs no building (benches/results).
pub const EXACT_ROWS: u32 = 20_000;

/// Links of a node of HNSW and the beam of its construction, where nothing else is said.
const DEFAULT_M: u32 = 32;
const DEFAULT_EF_CONSTRUCTION: u32 = 80;

/// Beam of a search where nothing else is said.
pub(crate) const DEFAULT_EF_SEARCH: u32 = 64;

/// Widest beam of a search.
pub const MAX_EF_SEARCH: u32 = 4096;

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
    /// No index below [`EXACT_ROWS`] rows, HNSW above, with a beam that is
    /// [measured](crate::VectorIndex::calibrate) on the data.
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
                ef_search: ef_search.clamp(1, MAX_EF_SEARCH),
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
                let ef_search = effort.ef_search.unwrap_or(of_policy).clamp(1, MAX_EF_SEARCH);
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
        assert_eq!(ef(policy, Effort { ef_search: Some(1 << 30), ..Effort::default() }), MAX_EF_SEARCH);
    }
}
