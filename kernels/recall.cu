// Exact recall over vectors that stay on the GPU: a score for every row, then the k best of them.
//
// score_rows:    scores[n][i] = rows[i] · queries[n], for AT_ONCE queries (1 unless defined), or the least number that there is where bit i of
//                `allowed` is not set; all are, where it is null
// score_codes:   the same by codes: scores[i] = scales[i] · scale · (codes[i] · query), in 8-bit integers
// encode_rows:   codes and scales of rows: scales[i] = most of |rows[i]| / 127
// select_count, select_digit, select_gather: the k best scores, by digits of 8 bits of a 64-bit key from the highest down; of equal scores the lower row
//
// Shapes: rows [count, DIMENSION] 16-bit; codes [count, DIMENSION] i8; queries [AT_ONCE, DIMENSION] f32, query [DIMENSION] i8; scores, scales [count] f32; allowed
// [ceil(count / 32)] u32; DIMENSION is a multiple of 4. `state` and `histogram` [256] belong to one selection.
//
// Launch: score_* and encode_rows 4 warps a block, a warp ROWS rows at a time, in steps of the grid. 2 · DIMENSION bytes a row, or DIMENSION of codes, and
// as many operations: bound by memory. select_* 256 threads a block: 4 bytes a row for each of the 8 digits and for the gathering, mostly from the
// GPU's cache.
#include "common.cuh"

#ifndef AT_ONCE
#define AT_ONCE 1
#endif

#define BLOCK 128
#define ROWS 4
#define FOURS (DIMENSION / 4)
#define OF_LANE ((FOURS + WARP - 1) / WARP)
#define MINUS_INFINITY -3.0e38f

DEVICE bool is_allowed(const u32* allowed, u32 row) { return !allowed || allowed[row / 32] >> row % 32 & 1; }

KERNEL void BOUNDS(BLOCK, 4) score_rows(const uint2* rows, const float4* queries, const u32* allowed, float* scores, u32 count) {
    const int lane = threadIdx.x % WARP;
    float4 q[AT_ONCE][OF_LANE];
    for (int n = 0; n < AT_ONCE; n++) {
        for (int i = 0; i < OF_LANE; i++) {
            int at = i * WARP + lane;
            q[n][i] = at < FOURS ? queries[n * FOURS + at] : float4{0, 0, 0, 0};
        }
    }
    const u32 warps = gridDim.x * (BLOCK / WARP);
    for (u32 first = (blockIdx.x * (BLOCK / WARP) + threadIdx.x / WARP) * ROWS; first < count; first += warps * ROWS) {
        float sum[ROWS][AT_ONCE];
        for (int r = 0; r < ROWS; r++) {
            for (int n = 0; n < AT_ONCE; n++) sum[r][n] = 0;
            u32 row = first + r;
            if (row >= count || !is_allowed(allowed, row)) continue;
            for (int i = 0; i < OF_LANE; i++) {
                int at = i * WARP + lane;
                if (at >= FOURS) continue;
                uint2 x = rows[(u64)row * FOURS + at];
                for (int n = 0; n < AT_ONCE; n++) {
                    sum[r][n] += low(x.x) * q[n][i].x + high(x.x) * q[n][i].y + low(x.y) * q[n][i].z + high(x.y) * q[n][i].w;
                }
            }
        }
        for (int r = 0; r < ROWS; r++) {
            u32 row = first + r;
            for (int n = 0; n < AT_ONCE; n++) {
                float score = warp_sum(sum[r][n]);
                if (lane == 0 && row < count) scores[(u64)n * count + row] = is_allowed(allowed, row) ? score : MINUS_INFINITY;
            }
        }
    }
}

KERNEL void BOUNDS(BLOCK, 8) encode_rows(const uint2* rows, u32* codes, float* scales, u32 count) {
    const int lane = threadIdx.x % WARP;
    const u32 warps = gridDim.x * (BLOCK / WARP);
    for (u32 row = blockIdx.x * (BLOCK / WARP) + threadIdx.x / WARP; row < count; row += warps) {
        float most = 0;
        for (int at = lane; at < FOURS; at += WARP) {
            uint2 x = rows[(u64)row * FOURS + at];
            most = fmaxf(most, fmaxf(fmaxf(fabsf(low(x.x)), fabsf(high(x.x))), fmaxf(fabsf(low(x.y)), fabsf(high(x.y)))));
        }
        most = warp_most(most);
        float factor = most > 0 ? 127.0f / most : 0;
        for (int at = lane; at < FOURS; at += WARP) {
            uint2 x = rows[(u64)row * FOURS + at];
            float four[4] = {low(x.x), high(x.x), low(x.y), high(x.y)};
            u32 code = 0;
            for (int i = 0; i < 4; i++) code |= ((u32)(int)rintf(four[i] * factor) & 0xff) << 8 * i;
            codes[(u64)row * FOURS + at] = code;
        }
        if (lane == 0) scales[row] = most / 127.0f;
    }
}

KERNEL void BOUNDS(BLOCK, 8) score_codes(
        const u32* codes, const float* scales, const u32* query, float scale, const u32* allowed, float* scores, u32 count) {
    const int lane = threadIdx.x % WARP;
    u32 q[OF_LANE];
    for (int i = 0; i < OF_LANE; i++) {
        int at = i * WARP + lane;
        q[i] = at < FOURS ? query[at] : 0;
    }
    const u32 warps = gridDim.x * (BLOCK / WARP);
    for (u32 first = (blockIdx.x * (BLOCK / WARP) + threadIdx.x / WARP) * ROWS; first < count; first += warps * ROWS) {
        int sum[ROWS];
        for (int r = 0; r < ROWS; r++) {
            sum[r] = 0;
            u32 row = first + r;
            if (row >= count || !is_allowed(allowed, row)) continue;
            for (int i = 0; i < OF_LANE; i++) {
                int at = i * WARP + lane;
                if (at < FOURS) sum[r] = dot_of_four(codes[(u64)row * FOURS + at], q[i], sum[r]);
            }
        }
        for (int r = 0; r < ROWS; r++) {
            // Whole numbers below 2^24 are exact in f32, and no thread's sum reaches it.
            float score = warp_sum((float)sum[r]);
            u32 row = first + r;
            if (lane == 0 && row < count) scores[row] = is_allowed(allowed, row) ? score * scale * scales[row] : MINUS_INFINITY;
        }
    }
}

// Rises with the score, and of equal scores with the lower row.
DEVICE u64 key_of(float score, u32 row) {
    u32 bits = bits_of(score);
    u32 rising = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (u64)rising << 32 | (u32)~row;
}

// How far a selection is: the digits of the k-th best key that are known, and how many keys are wanted of those that have them.
struct Selection {
    u64 prefix;
    u32 wanted;
    u32 shift;
    u32 found;
};

#define SELECT_BLOCK 256

KERNEL void BOUNDS(SELECT_BLOCK, 4) select_count(const float* scores, u32 count, const Selection* state, u32* histogram) {
    SHARED u32 own[256];
    own[threadIdx.x] = 0;
    meet();
    const u32 shift = state->shift;
    const u64 prefix = state->prefix;
    for (u32 row = blockIdx.x * SELECT_BLOCK + threadIdx.x; row < count; row += gridDim.x * SELECT_BLOCK) {
        u64 key = key_of(scores[row], row);
        if (shift == 56 || key >> (shift + 8) == prefix >> (shift + 8)) add_one(&own[key >> shift & 0xff]);
    }
    meet();
    if (own[threadIdx.x]) add_many(&histogram[threadIdx.x], own[threadIdx.x]);
}

// One thread.
KERNEL void BOUNDS(1, 1) select_digit(Selection* state, u32* histogram) {
    u32 wanted = state->wanted;
    u64 digit = 0;
    for (int d = 255; d >= 0; d--) {
        if (histogram[d] >= wanted) {
            digit = d;
            break;
        }
        wanted -= histogram[d];
    }
    for (int d = 0; d < 256; d++) histogram[d] = 0;
    state->prefix |= digit << state->shift;
    state->wanted = wanted;
    state->shift -= 8;
}

KERNEL void BOUNDS(SELECT_BLOCK, 4) select_gather(
        const float* scores, u32 count, Selection* state, u32* best_rows, float* best_scores, u32 room) {
    const u64 least = state->prefix;
    for (u32 row = blockIdx.x * SELECT_BLOCK + threadIdx.x; row < count; row += gridDim.x * SELECT_BLOCK) {
        if (key_of(scores[row], row) < least) continue;
        u32 at = add_one(&state->found);
        if (at < room) {
            best_rows[at] = row;
            best_scores[at] = scores[row];
        }
    }
}
