//! Which index a collection keeps.

use serde::{Deserialize, Serialize};

/// Links of a node of HNSW, the beam of its construction, and lists of IVF that a search looks into, where nothing
/// else is said.
const DEFAULT_M: u32 = 32;
const DEFAULT_EF_CONSTRUCTION: u32 = 80;
const DEFAULT_NPROBE: u32 = 32;

/// Beam of a search where nothing else is said.
const DEFAULT_EF_SEARCH: u32 = 64;

/// The index policy of a collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", try_from = "PolicyFields")]
pub enum IndexPolicy {
    /// No index of few rows, HNSW of more, with a beam that is measured on the data.
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

/// A policy as it is written. Not an enum: serde lets a variant without fields pass with any.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFields {
    kind: Kind,
    m: Option<u32>,
    ef_construction: Option<u32>,
    ef_search: Option<u32>,
    nlist: Option<u32>,
    nprobe: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Auto,
    Flat,
    Hnsw,
    Ivf,
}

impl TryFrom<PolicyFields> for IndexPolicy {
    type Error = String;

    fn try_from(given: PolicyFields) -> Result<Self, String> {
        let PolicyFields { kind, m, ef_construction, ef_search, nlist, nprobe } = given;
        let fields = [
            ("m", m, Kind::Hnsw),
            ("ef_construction", ef_construction, Kind::Hnsw),
            ("ef_search", ef_search, Kind::Hnsw),
            ("nlist", nlist, Kind::Ivf),
            ("nprobe", nprobe, Kind::Ivf),
        ];
        if let Some((name, _, of)) = fields.into_iter().find(|(_, value, of)| value.is_some() && *of != kind) {
            return Err(format!("{name} is for an index of kind {of:?}, not {kind:?}").to_lowercase());
        }
        Ok(match kind {
            Kind::Auto => Self::Auto,
            Kind::Flat => Self::Flat,
            Kind::Hnsw => Self::Hnsw {
                m: m.unwrap_or(DEFAULT_M),
                ef_construction: ef_construction.unwrap_or(DEFAULT_EF_CONSTRUCTION),
                ef_search: ef_search.unwrap_or(DEFAULT_EF_SEARCH),
            },
            Kind::Ivf => Self::Ivf { nlist: nlist.unwrap_or(0), nprobe: nprobe.unwrap_or(DEFAULT_NPROBE) },
        })
    }
}

impl IndexPolicy {
    /// HNSW with its default parameters.
    pub fn hnsw() -> Self {
        Self::Hnsw { m: DEFAULT_M, ef_construction: DEFAULT_EF_CONSTRUCTION, ef_search: DEFAULT_EF_SEARCH }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_read_as_the_api_writes_them() {
        let read = |text: &str| serde_json::from_str::<IndexPolicy>(text).ok();
        assert_eq!(read(r#"{"kind":"auto"}"#), Some(IndexPolicy::Auto));
        assert_eq!(read(r#"{"kind":"hnsw"}"#), Some(IndexPolicy::hnsw()));
        assert_eq!(read(r#"{"kind":"ivf","nprobe":4}"#), Some(IndexPolicy::Ivf { nlist: 0, nprobe: 4 }));
        assert_eq!(read(r#"{"kind":"hnsw","m":null,"nprobe":null}"#), Some(IndexPolicy::hnsw()));
        for wrong in [
            r#"{"kind":"tree"}"#,
            r#"{"kind":"auto","m":16}"#,
            r#"{"kind":"flat","nprobe":1}"#,
            r#"{"kind":"ivf","m":1}"#,
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        for policy in
            [IndexPolicy::Auto, IndexPolicy::Flat, IndexPolicy::hnsw(), IndexPolicy::Ivf { nlist: 7, nprobe: 3 }]
        {
            let json = serde_json::to_string(&policy).expect("JSON");
            assert_eq!(read(&json), Some(policy));
        }
    }
}
