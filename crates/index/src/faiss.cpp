// What FAISS's C API lacks: a look at the graph of HNSW and at its codes, codes that a graph is built over by integer products, and lists that are learnt
// without a word.
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIVF.h>
#include <faiss/IndexScalarQuantizer.h>
#include <cmath>
#include <cstring>
#include <exception>
#include <vector>

extern "C" {

// Of products.rs. Turns a vector and the widths of the codes' values into weights; their product with a code, times the factor that is
// given, is the inner product but for what the vector has with the code 0.
float membox_weigh(const float* vector, const float* widths, size_t dimension, int16_t* weights) noexcept;
int32_t membox_product(const int16_t* weights, const uint8_t* code, size_t dimension) noexcept;
}

namespace {

// The bytes of a code that are asked for ahead.
constexpr size_t LINE = 64;
// Nearer than anything.
constexpr float NEAREST = 1e30f;
// Rows whose weights are kept, since a neighbour that was chosen is compared with many others: so many as find room in a core's own cache.
constexpr size_t KEPT = 256;

float inner_product(const float* a, const float* b, size_t dimension) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < dimension; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

// A code c stands for start + width · c / 255, so the inner product of a vector x with it is x·start + (x·width / 255)·c. Of two codes it is that of the
// first one's numbers with the second, but for rows that are the same: records that were written again, texts such as "ok", rows of zeros whose records
// are gone. A neighbour is left out where it is nearer to one that was chosen than to the row itself. With a double chosen, that would be decided by the
// rounding of codes, and half of all neighbours would go; so a neighbour has to be nearer by more than rounding explains. And doubles would all be
// chosen, and fill the list: of each pair of them, three times of four, one keeps the other out, so that each keeps some few, at random.
struct IntegerProducts : faiss::FlatCodesDistanceComputer {
    // A vector, ready to be multiplied with codes.
    struct Weighed {
        faiss::idx_t id = -1;
        std::vector<int16_t> weights;
        float factor = 0;
        float of_start = 0;
    };

    const size_t dimension;
    const float* widths;
    std::vector<float> start;
    Weighed query;
    // Rows, each in the place that its id says, and room for one of them as numbers.
    std::vector<Weighed> rows;
    std::vector<float> row;
    // Of the inner product of a vector of length 1 with a row, by the rounding of its code: one standard deviation.
    float rounding = 0;
    // How much nearer is nearer.
    float margin = 0;

    explicit IntegerProducts(const faiss::IndexScalarQuantizer& index)
            : FlatCodesDistanceComputer(index.codes.data(), index.code_size),
              dimension(index.sq.d),
              widths(index.sq.trained.data() + dimension),
              start(dimension),
              rows(KEPT),
              row(dimension) {
        const float* least = index.sq.trained.data();
        for (size_t i = 0; i < dimension; i++) {
            start[i] = least[i] + widths[i] * (0.5f / 255);
            rounding += widths[i] * widths[i];
        }
        rounding = std::sqrt(rounding / (12 * dimension)) / 255;
    }

    void weigh(const float* vector, Weighed& weighed) const {
        weighed.weights.resize(dimension);
        weighed.factor = membox_weigh(vector, widths, dimension, weighed.weights.data()) / 255;
        weighed.of_start = inner_product(start.data(), vector, dimension);
    }

    float product(const Weighed& weighed, const uint8_t* code) const {
        return weighed.of_start + weighed.factor * membox_product(weighed.weights.data(), code, dimension);
    }

    const Weighed& weighed_row(faiss::idx_t id) {
        Weighed& weighed = rows[id % KEPT];
        if (weighed.id != id) {
            const uint8_t* code = codes + id * code_size;
            for (size_t i = 0; i < dimension; i++) {
                row[i] = start[i] + widths[i] * (1.0f / 255) * code[i];
            }
            weigh(row.data(), weighed);
            weighed.id = id;
        }
        return weighed;
    }

    void set_query(const float* vector) override {
        weigh(vector, query);
        margin = 4 * rounding * std::sqrt(inner_product(vector, vector, dimension));
    }

    float distance_to_code(const uint8_t* code) override {
        return product(query, code);
    }

    void distances_batch_4(
            const faiss::idx_t a, const faiss::idx_t b, const faiss::idx_t c, const faiss::idx_t d,
            float& of_a, float& of_b, float& of_c, float& of_d) override {
        for (faiss::idx_t id : {a, b, c, d}) {
            for (size_t at = 0; at < code_size; at += LINE) {
                __builtin_prefetch(codes + id * code_size + at);
            }
        }
        of_a = (*this)(a);
        of_b = (*this)(b);
        of_c = (*this)(c);
        of_d = (*this)(d);
    }

    // FAISS gives the row that it compares with others first.
    float symmetric_dis(faiss::idx_t i, faiss::idx_t j) override {
        const uint8_t* a = codes + i * code_size;
        const uint8_t* b = codes + j * code_size;
        if (std::memcmp(a, b, code_size) == 0 && is_kept_out(i, j)) {
            return NEAREST;
        }
        return product(weighed_row(i), b) - margin;
    }

    static bool is_kept_out(uint64_t i, uint64_t j) {
        uint64_t pair = (i + j) * 0x9e3779b97f4a7c15 ^ (i * j) * 0xbf58476d1ce4e5b9;
        return pair >> 62 != 0;
    }
};

// 8-bit codes whose inner products are integer products; saved and loaded as FAISS's own.
struct IntegerCodes : faiss::IndexScalarQuantizer {
    explicit IntegerCodes(const faiss::IndexScalarQuantizer& codes) : IndexScalarQuantizer(codes) {}

    faiss::FlatCodesDistanceComputer* get_FlatCodesDistanceComputer() const override {
        return new IntegerProducts(*this);
    }
};
} // namespace

extern "C" {

// Has the graph of an index over 8-bit codes by inner product built by integer products from now on; whether that can be.
bool membox_hnsw_use_integer_products(faiss::Index* index) noexcept {
    auto* hnsw_index = dynamic_cast<faiss::IndexHNSW*>(index);
    auto* codes = hnsw_index ? dynamic_cast<faiss::IndexScalarQuantizer*>(hnsw_index->storage) : nullptr;
    if (!codes || !hnsw_index->own_fields || codes->sq.qtype != faiss::ScalarQuantizer::QT_8bit ||
        codes->metric_type != faiss::METRIC_INNER_PRODUCT) {
        return false;
    }
    try {
        // Moved, not copied: they may be most of the memory.
        auto bytes = std::move(codes->codes);
        auto* replaced = new IntegerCodes(*codes);
        replaced->codes = std::move(bytes);
        delete codes;
        hnsw_index->storage = replaced;
        return true;
    } catch (const std::exception&) {
        std::terminate();
    }
}

// Has inverted lists learnt from as few vectors as there are: FAISS would write to the standard error that it wants 39 a list, which these do well without.
void membox_ivf_learn_quietly(faiss::Index* index) noexcept {
    if (auto* ivf_index = dynamic_cast<faiss::IndexIVF*>(index)) {
        ivf_index->cp.min_points_per_centroid = 1;
    }
}

// What is shown belongs to the index and stays as it is until the index is added to or freed.

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
