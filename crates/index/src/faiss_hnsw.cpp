// What FAISS's C API lacks: a look at the graph of HNSW and at its codes. What is shown belongs to the index and stays as it is until
// the index is added to or freed.
#include <faiss/IndexHNSW.h>
#include <faiss/IndexScalarQuantizer.h>

extern "C" {

// Mirrored in faiss.rs, field by field.
struct MemboxGraph {
    // Ids of neighbours, those of one node one after the other, level by level; a negative one ends a level's.
    const int32_t* neighbours;
    size_t neighbours_len;
    // Where the neighbours of each node begin; one more than nodes.
    const size_t* offsets;
    size_t offsets_len;
    // Where in a node's neighbours each level begins; one more than levels.
    const int* level_starts;
    size_t level_starts_len;
    // A byte a dimension, those of one node one after the other.
    const uint8_t* codes;
    size_t codes_len;
    // The least value of each dimension, then the width of its values.
    const float* trained;
    size_t trained_len;
    int32_t entry;
    int32_t max_level;
};

// Whether the index is a graph over 8-bit codes; if so, `graph` is filled in.
bool membox_hnsw_graph(const faiss::Index* index, MemboxGraph* graph) noexcept {
    auto* hnsw_index = dynamic_cast<const faiss::IndexHNSW*>(index);
    auto* storage = hnsw_index ? dynamic_cast<const faiss::IndexScalarQuantizer*>(hnsw_index->storage) : nullptr;
    if (!storage || storage->sq.qtype != faiss::ScalarQuantizer::QT_8bit) {
        return false;
    }
    const faiss::HNSW& hnsw = hnsw_index->hnsw;
    *graph = {hnsw.neighbors.data(), hnsw.neighbors.size(),
              hnsw.offsets.data(), hnsw.offsets.size(),
              hnsw.cum_nneighbor_per_level.data(), hnsw.cum_nneighbor_per_level.size(),
              storage->codes.data(), storage->codes.size(),
              storage->sq.trained.data(), storage->sq.trained.size(),
              hnsw.entry_point, hnsw.max_level};
    return true;
}
}
