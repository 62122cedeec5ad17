// rotate: queries and keys plus their bias, turned by the angles of their token's position (Su et al. 2021): of each head the numbers i and i + HEAD / 2 by
// angle i. The bias of keys counts here: turned, it is no longer the same for each score of a query.
//
// Shapes: qkv [tokens, 3 · HIDDEN] 16-bit, queries, keys and values side by side, each of HIDDEN / HEAD heads; the first two in place. bias [2 · HIDDEN] f32;
// angles [positions, HEAD / 2] f32 pairs of a cosine and a sine; places [tokens] u32. HEAD is a multiple of 16.
//
// Launch: a thread 16 columns, 8 of each half of a head, whose bias it keeps in registers, and token after token in steps of the grid: at most 512 threads a
// block, each of which goes on in steps of the block where there are more columns. 8 · HIDDEN bytes a token, in loads of 16, and 4 · HEAD of angles, which
// its heads have in common: bound by memory.
#include "common.cuh"

#define MAX_THREADS 512
// Loads of 16 bytes of half a head, and pairs of them of a token's queries and keys.
#define OF_HALF (HEAD / 16)
#define PAIRS (2 * HIDDEN / 16)

// Two numbers of the first half and the two of the second, turned; `of_first` and `of_second` are their biases.
DEVICE void turn(u32& first, u32& second, const float* of_first, const float* of_second, float4 angles) {
    const float a = low(first) + of_first[0], b = high(first) + of_first[1];
    const float c = low(second) + of_second[0], d = high(second) + of_second[1];
    first = pack(a * angles.x - c * angles.y, b * angles.z - d * angles.w);
    second = pack(c * angles.x + a * angles.y, d * angles.z + b * angles.w);
}

KERNEL void BOUNDS(MAX_THREADS, 2) rotate(uint4* qkv, const float* bias, const float4* angles, const u32* places, u32 tokens) {
    for (u32 at = threadIdx.x; at < PAIRS; at += blockDim.x) {
        // In loads of a row, and in those of half a head.
        const u32 first = at / OF_HALF * 2 * OF_HALF + at % OF_HALF, second = first + OF_HALF, part = at % OF_HALF;
        float a[8], b[8];
        for (int i = 0; i < 8; i++) {
            a[i] = bias[first * 8 + i];
            b[i] = bias[second * 8 + i];
        }
        for (u32 token = blockIdx.x; token < tokens; token += gridDim.x) {
            uint4* row = qkv + (u64)token * (3 * HIDDEN / 8);
            const float4* own = angles + (u64)places[token] * (HEAD / 4) + part * 4;
            uint4 x = row[first], y = row[second];
            turn(x.x, y.x, a, b, own[0]);
            turn(x.y, y.y, a + 2, b + 2, own[1]);
            turn(x.z, y.z, a + 4, b + 4, own[2]);
            turn(x.w, y.w, a + 6, b + 6, own[3]);
            row[first] = x;
            row[second] = y;
        }
    }
}
