// What FAISS's C API lacks: the search parameters of HNSW. With the plain ones the beam is that of the index, for every search.
// Freed by faiss_SearchParameters_free, whose destructor is virtual.
#include <faiss/impl/HNSW.h>
#include <new>

extern "C" faiss::SearchParameters* membox_hnsw_parameters(int ef_search) noexcept {
    auto* parameters = new (std::nothrow) faiss::SearchParametersHNSW();
    if (parameters) {
        parameters->efSearch = ef_search;
    }
    return parameters;
}
