// One kernel file, chosen by KERNELS, run on the host; what its launches are on a GPU is said once more here.
#include KERNELS

using host::launch;

extern "C" {
void host_to_half(const float* x, half_t* out, u32 count) {
    for (u32 i = 0; i < count; i++) out[i] = to_half(x[i]);
}

void host_to_float(const half_t* x, float* out, u32 count) {
    for (u32 i = 0; i < count; i++) out[i] = to_float(x[i]);
}

#ifdef NORM
void host_embed_norm(const u32* ids, const u32* places, const uint2* words, const uint2* positions, const float4* gamma, const float4* beta,
                     float epsilon, uint2* states, u32 tokens) {
    launch({(tokens + WARPS - 1) / WARPS, 1}, WARPS * WARP,
           [=] { embed_norm(ids, places, words, positions, gamma, beta, epsilon, states, tokens); });
}

void host_residual_norm(uint2* states, const uint2* update, const float4* bias, const float4* gamma, const float4* beta, float epsilon, u32 tokens) {
    launch({(tokens + WARPS - 1) / WARPS, 1}, WARPS * WARP,
           [=] { residual_norm(states, update, bias, gamma, beta, epsilon, tokens); });
}
#endif

#ifdef GELU
void host_bias_gelu(uint4* x, const float4* bias, u32 width, u32 rows, u32 blocks, u32 threads) {
    launch({blocks, 1}, threads, [=] { bias_gelu(x, bias, width, rows); });
}
#endif

#ifdef HEADS
void host_mean_pool(const u32* states, const u32* offsets, float* vectors, u32 width, u32 normalize, u32 sequences) {
    launch({sequences, 1}, POOL_THREADS, [=] { mean_pool(states, offsets, vectors, width, normalize); });
}

void host_keep(const u32* states, const float* weight, float bias, float* kept, u32 width, u32 tokens) {
    launch({(tokens + 3) / 4, 1}, 4 * WARP, [=] { keep(states, weight, bias, kept, width, tokens); });
}
#endif

#ifdef ATTENTION
void host_attention(const uint4* qkv, const float* bias, const u32* offsets, const u32* tiles, u32* mixed, u32 count) {
    launch({count, HIDDEN / HEAD}, THREADS, [=] { attention(qkv, bias, offsets, tiles, mixed); });
}
#endif

#ifdef RECALL
void host_score_rows(const uint2* rows, const float4* query, const u32* allowed, float* scores, u32 count, u32 blocks) {
    launch({blocks, 1}, BLOCK, [=] { score_rows(rows, query, allowed, scores, count); });
}

void host_encode_rows(const uint2* rows, u32* codes, float* scales, u32 count, u32 blocks) {
    launch({blocks, 1}, BLOCK, [=] { encode_rows(rows, codes, scales, count); });
}

void host_score_codes(const u32* codes, const float* scales, const u32* query, float scale, const u32* allowed, float* scores, u32 count,
                      u32 blocks) {
    launch({blocks, 1}, BLOCK, [=] { score_codes(codes, scales, query, scale, allowed, scores, count); });
}

// The whole selection; gives how many were found.
u32 host_select(const float* scores, u32 count, u32 k, u32* best_rows, float* best_scores, u32 blocks) {
    Selection state = {0, k, 56, 0};
    std::vector<u32> histogram(256, 0);
    for (int digit = 0; digit < 8; digit++) {
        launch({blocks, 1}, SELECT_BLOCK, [&] { select_count(scores, count, &state, histogram.data()); });
        launch({1, 1}, 1, [&] { select_digit(&state, histogram.data()); });
    }
    launch({blocks, 1}, SELECT_BLOCK, [&] { select_gather(scores, count, &state, best_rows, best_scores, k); });
    return state.found;
}
#endif
}
