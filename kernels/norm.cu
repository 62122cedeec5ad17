// LayerNorm of token states, where they begin (the embeddings) and after each half of a layer.
//
// embed_norm:    states[t] = norm(words[ids[t]] + positions[places[t]])
// residual_norm: states[t] = norm(states[t] + update[t] + bias)
// add_norm:      states[t] = states[t] + update[t] + bias, and normed[t] = norm(states[t]), where norms stand before each half of a layer: it is there where
//                PRE_NORM is defined
// row_norm:      states[t] = norm(states[t]), in the head of masked-language models: it is there where ROW_NORM is defined
//   norm(x) = (x - mean) / sqrt(variance + epsilon) * gamma + beta, over HIDDEN numbers
//
// Shapes: states, update and normed [tokens, HIDDEN] 16-bit; words, positions [.., HIDDEN] 16-bit (the token type's embedding is in the positions'); bias,
// gamma, beta [HIDDEN] f32; ids, places [tokens] u32. HIDDEN is a multiple of 64.
//
// Where NO_PLACES is defined, no positions are added: models that know them by rotation, or by distance, have no table of them.
//
// Launch: a warp a token, WARPS of them a block, ceil(tokens / WARPS) blocks. A thread keeps its HIDDEN / 32 numbers in registers, so the states are
// read once and written once, in loads of 8 bytes: 4 · HIDDEN bytes a token to embed, 6 · HIDDEN with a residual, 8 · HIDDEN with its sum too,
// and about 8 · HIDDEN operations: bound by memory.
#include "common.cuh"

#define WARPS 4
#define FOURS (HIDDEN / 4)
// Fours of a thread: number i of them is i · 32 + lane of the row. The last may be outside of it.
#define OF_LANE ((FOURS + WARP - 1) / WARP)

struct Four {
    float x[4];
};

DEVICE Four sum_of(uint2 a, uint2 b) { return {low(a.x) + low(b.x), high(a.x) + high(b.x), low(a.y) + low(b.y), high(a.y) + high(b.y)}; }

// Writes a token's normalised state.
DEVICE void norm_row(Four x[OF_LANE], const float4* gamma, const float4* beta, float epsilon, uint2* out, int lane) {
    float sum = 0;
    for (int i = 0; i < OF_LANE; i++) {
        if (i * WARP + lane < FOURS) sum += x[i].x[0] + x[i].x[1] + x[i].x[2] + x[i].x[3];
    }
    float mean = warp_sum(sum) / HIDDEN;
    float squares = 0;
    for (int i = 0; i < OF_LANE; i++) {
        for (int j = 0; j < 4; j++) {
            x[i].x[j] -= mean;
            if (i * WARP + lane < FOURS) squares += x[i].x[j] * x[i].x[j];
        }
    }
    float scale = 1.0f / sqrtf(warp_sum(squares) / HIDDEN + epsilon);
    for (int i = 0; i < OF_LANE; i++) {
        int at = i * WARP + lane;
        if (at >= FOURS) continue;
        const float* four = x[i].x;
        float4 g = gamma[at], b = beta[at];
        out[at] = uint2{pack(four[0] * scale * g.x + b.x, four[1] * scale * g.y + b.y), pack(four[2] * scale * g.z + b.z, four[3] * scale * g.w + b.w)};
    }
}

KERNEL void BOUNDS(WARPS * WARP, 4) embed_norm(
        const u32* ids, const u32* places, const uint2* words, const uint2* positions, const float4* gamma, const float4* beta,
        float epsilon, uint2* states, u32 tokens) {
    int lane = threadIdx.x % WARP;
    u32 token = blockIdx.x * WARPS + threadIdx.x / WARP;
    if (token >= tokens) return;
    const uint2* word = words + (u64)ids[token] * FOURS;
#ifndef NO_PLACES
    const uint2* place = positions + (u64)places[token] * FOURS;
#endif
    Four x[OF_LANE];
    for (int i = 0; i < OF_LANE; i++) {
        int at = i * WARP + lane;
#ifndef NO_PLACES
        if (at < FOURS) x[i] = sum_of(word[at], place[at]);
#else
        if (at < FOURS) x[i] = {low(word[at].x), high(word[at].x), low(word[at].y), high(word[at].y)};
#endif
    }
    norm_row(x, gamma, beta, epsilon, states + (u64)token * FOURS, lane);
}

// Writes the norm of a token's state with its update and the bias; where is_kept, that sum stays in the states.
DEVICE void norm_sum(
        uint2* states, const uint2* update, const float4* bias, const float4* gamma, const float4* beta, float epsilon, uint2* normed, u32 tokens,
        bool is_kept) {
    int lane = threadIdx.x % WARP;
    u32 token = blockIdx.x * WARPS + threadIdx.x / WARP;
    if (token >= tokens) return;
    uint2* state = states + (u64)token * FOURS;
    const uint2* added = update + (u64)token * FOURS;
    Four x[OF_LANE];
    for (int i = 0; i < OF_LANE; i++) {
        int at = i * WARP + lane;
        if (at >= FOURS) continue;
        float4 b = bias[at];
        x[i] = sum_of(state[at], added[at]);
        x[i].x[0] += b.x;
        x[i].x[1] += b.y;
        x[i].x[2] += b.z;
        x[i].x[3] += b.w;
        if (is_kept) state[at] = uint2{pack(x[i].x[0], x[i].x[1]), pack(x[i].x[2], x[i].x[3])};
    }
    norm_row(x, gamma, beta, epsilon, normed + (u64)token * FOURS, lane);
}

KERNEL void BOUNDS(WARPS * WARP, 4) residual_norm(
        uint2* states, const uint2* update, const float4* bias, const float4* gamma, const float4* beta, float epsilon, u32 tokens) {
    norm_sum(states, update, bias, gamma, beta, epsilon, states, tokens, false);
}

#ifdef PRE_NORM
KERNEL void BOUNDS(WARPS * WARP, 4) add_norm(
        uint2* states, const uint2* update, const float4* bias, const float4* gamma, const float4* beta, float epsilon, uint2* normed, u32 tokens) {
    norm_sum(states, update, bias, gamma, beta, epsilon, normed, tokens, true);
}
#endif

#ifdef ROW_NORM
KERNEL void BOUNDS(WARPS * WARP, 4) row_norm(uint2* states, const float4* gamma, const float4* beta, float epsilon, u32 tokens) {
    int lane = threadIdx.x % WARP;
    u32 token = blockIdx.x * WARPS + threadIdx.x / WARP;
    if (token >= tokens) return;
    uint2* state = states + (u64)token * FOURS;
    Four x[OF_LANE];
    for (int i = 0; i < OF_LANE; i++) {
        int at = i * WARP + lane;
        if (at < FOURS) x[i] = {low(state[at].x), high(state[at].x), low(state[at].y), high(state[at].y)};
    }
    norm_row(x, gamma, beta, epsilon, state, lane);
}
#endif
