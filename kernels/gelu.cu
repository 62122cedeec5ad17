// bias_gelu:  x = gelu(x + bias), the exact one: gelu(x) = x · (1 + erf(x / sqrt(2))) / 2, as BERT has it.
// bias_gated: x[:, i] = gelu(x[:, i] + bias[i]) · (x[:, width + i] + bias[width + i]), of a gated feed-forward layer; it is there where GATED is defined.
//
// Shapes: x [rows, width] 16-bit, in place; bias [width] f32; width is a multiple of 8. Where it is gated, both have 2 · width columns, of which the first
// half is written.
//
// ACTIVATION is 0 for that gelu, 1 for the one by tanh, 2 for relu and 3 for silu, in both of them.
//
// Launch: a thread 8 columns, whose bias it keeps in registers, and row after row in steps of the grid: at most 512 threads a block, each of which goes
// on in steps of the block where there are more columns. 4 bytes a number, in loads of 16, and about 25 operations for it: bound by memory. Gated, 6 bytes a
// number that is written.
#include "common.cuh"

#define MAX_THREADS 512
#ifndef ACTIVATION
#define ACTIVATION 0
#endif

#if ACTIVATION == 0
// 1 - erf(z) for z >= 0, to 1.5e-7: Abramowitz and Stegun 1964, 7.1.26. The negative side is x times half of it, without the 1 that would cancel.
DEVICE float gelu(float x) {
    float z = fabsf(x) * 0.70710678f;
    float t = reciprocal(1.0f + 0.3275911f * z);
    float sum = ((((1.061405429f * t - 1.453152027f) * t + 1.421413741f) * t - 0.284496736f) * t + 0.254829592f) * t;
    float rest = 0.5f * x * sum * power_of_two(-1.44269504f * z * z);
    return x < 0 ? rest : x - rest;
}
#elif ACTIVATION == 1
// (1 + tanh(z)) / 2 is 1 / (1 + exp(-2 · z)).
DEVICE float gelu(float x) {
    float z = 0.797884561f * (x + 0.044715f * x * x * x);
    return x * reciprocal(1.0f + power_of_two(-2.0f * 1.44269504f * z));
}
#elif ACTIVATION == 2
DEVICE float gelu(float x) { return fmaxf(x, 0.0f); }
#else
DEVICE float gelu(float x) { return x * reciprocal(1.0f + power_of_two(-1.44269504f * x)); }
#endif

DEVICE u32 gelu_pair(u32 both, float of_low, float of_high) { return pack(gelu(low(both) + of_low), gelu(high(both) + of_high)); }

#ifndef GATED
KERNEL void BOUNDS(MAX_THREADS, 2) bias_gelu(uint4* x, const float4* bias, u32 width, u32 rows) {
    const u32 eights = width / 8;
    for (u32 at = threadIdx.x; at < eights; at += blockDim.x) {
        const float4 a = bias[2 * at], b = bias[2 * at + 1];
        for (u32 row = blockIdx.x; row < rows; row += gridDim.x) {
            uint4 eight = x[(u64)row * eights + at];
            eight.x = gelu_pair(eight.x, a.x, a.y);
            eight.y = gelu_pair(eight.y, a.z, a.w);
            eight.z = gelu_pair(eight.z, b.x, b.y);
            eight.w = gelu_pair(eight.w, b.z, b.w);
            x[(u64)row * eights + at] = eight;
        }
    }
}
#else
DEVICE u32 gated_pair(u32 bent, u32 factor, float of_low, float of_high, float of_factor_low, float of_factor_high) {
    return pack(gelu(low(bent) + of_low) * (low(factor) + of_factor_low), gelu(high(bent) + of_high) * (high(factor) + of_factor_high));
}

KERNEL void BOUNDS(MAX_THREADS, 2) bias_gated(uint4* x, const float4* bias, u32 width, u32 rows) {
    const u32 eights = width / 8;
    for (u32 at = threadIdx.x; at < eights; at += blockDim.x) {
        const float4 a = bias[2 * at], b = bias[2 * at + 1];
        const float4 c = bias[2 * (eights + at)], d = bias[2 * (eights + at) + 1];
        for (u32 row = blockIdx.x; row < rows; row += gridDim.x) {
            uint4* own = x + (u64)row * 2 * eights + at;
            uint4 bent = own[0], factor = own[eights];
            bent.x = gated_pair(bent.x, factor.x, a.x, a.y, c.x, c.y);
            bent.y = gated_pair(bent.y, factor.y, a.z, a.w, c.z, c.w);
            bent.z = gated_pair(bent.z, factor.z, b.x, b.y, d.x, d.y);
            bent.w = gated_pair(bent.w, factor.w, b.z, b.w, d.z, d.w);
            own[0] = bent;
        }
    }
}
#endif
