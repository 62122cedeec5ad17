//! Settings as callers write them, as the engines have them.

use membox_api as api;
use membox_index::IndexPolicy;
use membox_vectors::{Metric, RowType};

/// Which index a collection keeps.
pub(crate) fn index_policy(policy: api::IndexPolicy) -> IndexPolicy {
    match policy {
        api::IndexPolicy::Auto => IndexPolicy::Auto,
        api::IndexPolicy::Flat => IndexPolicy::Flat,
        api::IndexPolicy::Hnsw { m, ef_construction, ef_search } => IndexPolicy::Hnsw { m, ef_construction, ef_search },
        api::IndexPolicy::Ivf { nlist, nprobe } => IndexPolicy::Ivf { nlist, nprobe },
    }
}

/// How a vector file keeps the numbers of a collection.
pub(crate) fn row_type(vector_type: api::VectorType) -> RowType {
    match vector_type {
        api::VectorType::F16 => RowType::F16,
        api::VectorType::F32 => RowType::F32,
    }
}

/// How a collection's vectors are compared.
pub(crate) fn metric(settings: &api::CollectionSettings) -> Metric {
    match settings.metric.unwrap_or_default() {
        api::Metric::Cosine => Metric::Cosine,
        api::Metric::InnerProduct => Metric::InnerProduct,
        api::Metric::Euclidean => Metric::Euclidean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_of_indexes_say_the_same_on_both_sides() {
        assert_eq!(index_policy(api::IndexPolicy::default()), IndexPolicy::default());
        assert_eq!(index_policy(api::IndexPolicy::Flat), IndexPolicy::Flat);
        assert_eq!(index_policy(api::IndexPolicy::hnsw()), IndexPolicy::hnsw(), "the defaults are the same");
        let ivf = api::IndexPolicy::Ivf { nlist: 7, nprobe: 3 };
        assert_eq!(index_policy(ivf), IndexPolicy::Ivf { nlist: 7, nprobe: 3 });
    }
}
