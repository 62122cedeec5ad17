// LayerNorm of token states, where they begin (the embeddings) and after each half of a layer.
//
// embed_norm:    states[t] = norm(words[ids[t]] + positions[places[t]])
// residual_norm: states[t] = norm(states[t] + update[t] + bias)
//   norm(x) = (x - mean) / sqrt(variance + epsilon) * gamma + beta, over HIDDEN numbers
//
// Shapes: states and update [tokens, HIDDEN] 16-bit; words, positions [.., HIDDEN] 16-bit (the token type's embedding is in the positions'); bias, gamma,
// beta [HIDDEN] f32; ids, places [tokens] u32. HIDDEN is a multiple of 64.
//
// Launch: a warp a token, WARPS of them a block, ceil(tokens / WARPS) blocks. A thread keeps its HIDDEN / 32 numbers in registers, so the states are
// read once and written once: 4 · HIDDEN bytes a token to embed, 6 · HIDDEN with a residual, and about 8 · HIDDEN operations: bound by memory.
#include "common.cuh"

#define WARPS 4
#define PAIRS (HIDDEN / 64)

// Writes a token's normalised state; pair i of a thread is pair i · 32 + lane of the row.
DEVICE void norm_row(float x[PAIRS][2], const float* gamma, const float* beta, float epsilon, u32* out, int lane) {
    float sum = 0;
    for (int i = 0; i < PAIRS; i++) sum += x[i][0] + x[i][1];
    float mean = warp_sum(sum) / HIDDEN;
    float squares = 0;
    for (int i = 0; i < PAIRS; i++) {
        x[i][0] -= mean;
        x[i][1] -= mean;
        squares += x[i][0] * x[i][0] + x[i][1] * x[i][1];
    }
    float scale = 1.0f / sqrtf(warp_sum(squares) / HIDDEN + epsilon);
    for (int i = 0; i < PAIRS; i++) {
        int at = i * WARP + lane;
        out[at] = pack(x[i][0] * scale * gamma[2 * at] + beta[2 * at], x[i][1] * scale * gamma[2 * at + 1] + beta[2 * at + 1]);
    }
}

KERNEL void BOUNDS(WARPS * WARP, 4) embed_norm(
        const u32* ids, const u32* places, const u32* words, const u32* positions, const float* gamma, const float* beta,
        float epsilon, u32* states, u32 tokens) {
    int lane = threadIdx.x % WARP;
    u32 token = blockIdx.x * WARPS + threadIdx.x / WARP;
    if (token >= tokens) return;
    const u32* word = words + (u64)ids[token] * (HIDDEN / 2);
    const u32* place = positions + (u64)places[token] * (HIDDEN / 2);
    float x[PAIRS][2];
    for (int i = 0; i < PAIRS; i++) {
        u32 a = word[i * WARP + lane], b = place[i * WARP + lane];
        x[i][0] = low(a) + low(b);
        x[i][1] = high(a) + high(b);
    }
    norm_row(x, gamma, beta, epsilon, states + (u64)token * (HIDDEN / 2), lane);
}

KERNEL void BOUNDS(WARPS * WARP, 4) residual_norm(
        u32* states, const u32* update, const float* bias, const float* gamma, const float* beta, float epsilon, u32 tokens) {
    int lane = threadIdx.x % WARP;
    u32 token = blockIdx.x * WARPS + threadIdx.x / WARP;
    if (token >= tokens) return;
    u32* state = states + (u64)token * (HIDDEN / 2);
    const u32* added = update + (u64)token * (HIDDEN / 2);
    float x[PAIRS][2];
    for (int i = 0; i < PAIRS; i++) {
        int at = i * WARP + lane;
        u32 a = state[at], b = added[at];
        x[i][0] = low(a) + low(b) + bias[2 * at];
        x[i][1] = high(a) + high(b) + bias[2 * at + 1];
    }
    norm_row(x, gamma, beta, epsilon, state, lane);
}
