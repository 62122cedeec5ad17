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

#ifdef PRE_NORM
void host_add_norm(uint2* states, const uint2* update, const float4* bias, const float4* gamma, const float4* beta, float epsilon, uint2* normed,
                   u32 tokens) {
    launch({(tokens + WARPS - 1) / WARPS, 1}, WARPS * WARP,
           [=] { add_norm(states, update, bias, gamma, beta, epsilon, normed, tokens); });
}
#endif

#ifdef ROW_NORM
void host_row_norm(uint2* states, const float4* gamma, const float4* beta, float epsilon, u32 tokens) {
    launch({(tokens + WARPS - 1) / WARPS, 1}, WARPS * WARP, [=] { row_norm(states, gamma, beta, epsilon, tokens); });
}
#endif
#endif

#ifdef ROTARY
void host_rotate(uint4* qkv, const float* bias, const float4* angles, const u32* places, u32 tokens, u32 blocks, u32 threads) {
    launch({blocks, 1}, threads, [=] { rotate(qkv, bias, angles, places, tokens); });
}
#endif

#ifdef GELU
#ifdef GATED
void host_bias_gated(uint4* x, const float4* bias, u32 width, u32 rows, u32 blocks, u32 threads) {
    launch({blocks, 1}, threads, [=] { bias_gated(x, bias, width, rows); });
}
#else
void host_bias_gelu(uint4* x, const float4* bias, u32 width, u32 rows, u32 blocks, u32 threads) {
    launch({blocks, 1}, threads, [=] { bias_gelu(x, bias, width, rows); });
}
#endif
#endif

#ifdef HEADS
void host_mean_pool(const u32* states, const u32* offsets, float* vectors, u32 width, u32 normalize, u32 sequences) {
    launch({sequences, 1}, POOL_THREADS, [=] { mean_pool(states, offsets, vectors, width, normalize); });
}

void host_keep(const u32* states, const float* weight, float bias, float* kept, u32 width, u32 tokens) {
    launch({(tokens + 3) / 4, 1}, 4 * WARP, [=] { keep(states, weight, bias, kept, width, tokens); });
}

#ifdef LOGITS
void host_max_logits(const u32* logits, const float2* bias, const u32* offsets, float2* maxima, u32 first, u32 columns, u32 width, u32 sequences) {
    launch({sequences, (columns + 255) / 256}, 4 * WARP, [=] { max_logits(logits, bias, offsets, maxima, first, columns, width); });
}
#endif
#endif

#ifdef ATTENTION
// The reach is of the kernels that have one; the numbers by distance are of that with RELATIVE.
void host_attention(const uint4* qkv, const float* bias, const u32* offsets, const u32* tiles, u32* mixed, u32 count, const float* by_distance,
                    u32 reach) {
    launch({count, HIDDEN / HEAD}, THREADS, [=] {
#ifdef LOCAL
        attention(qkv, bias, offsets, tiles, mixed, reach);
#elif defined(RELATIVE)
        attention(qkv, bias, offsets, tiles, mixed, by_distance, reach);
#else
        attention(qkv, bias, offsets, tiles, mixed);
#endif
    });
}
#endif

#ifdef RECALL
void host_scan_rows(const Word* rows, const float4* question, const u32* allowed, float* maxima, u32 count, u32 blocks) {
    launch({blocks, 1}, BLOCK, [=] { scan_rows(rows, question, allowed, maxima, count); });
}

void host_scan_codes(const Word* codes, const u32* scales, const Word* question, float step, float length, const u32* allowed, float* maxima,
                     u32 count, u32 blocks) {
    launch({blocks, 1}, BLOCK, [=] { scan_codes(codes, scales, question, step, length, allowed, maxima, count); });
}

#ifdef TILES
void host_scan_many(const Word* rows, const Word* questions, const u32* allowed, float* maxima, u32 count, u32 blocks) {
    launch({blocks, 1}, BLOCK, [=] { scan_many(rows, questions, allowed, maxima, count); });
}
#endif

void host_score_groups(const Word* rows, const float4* questions, const u32* allowed, const u32* chosen, u32 stride, float* scores, u32 count,
                       u32 groups, u32 many) {
    launch({groups, many}, BLOCK, [=] { score_groups(rows, questions, allowed, chosen, stride, scores, count); });
}

void host_encode_rows(const uint2* rows, u32* codes, u32* scales, float* largest, u32 count, u32 blocks) {
    launch({blocks, 1}, BLOCK, [=] { encode_rows(rows, codes, scales, largest, count); });
}

void host_choose_best(const float* values, u32 count, const u32* chosen, u32 stride, u32 wanted, u32* best, u32 many) {
    launch({many, 1}, CHOOSE_BLOCK, [=] { choose_best(values, count, chosen, stride, wanted, best); });
}
#endif
}
