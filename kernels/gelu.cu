// bias_gelu: x = gelu(x + bias), the exact one: gelu(x) = x · (1 + erf(x / sqrt(2))) / 2, as BERT has it.
//
// Shapes: x [rows, width] 16-bit, in place; bias [width] f32; width is a multiple of 8.
//
// Launch: a thread 8 columns, whose bias it keeps in registers, and row after row in steps of the grid: at most 512 threads a block, each of which goes
// on in steps of the block where there are more columns. 4 bytes a number, in loads of 16, and about 25 operations for it: bound by memory.
#include "common.cuh"

#define MAX_THREADS 512

// 1 - erf(z) for z >= 0, to 1.5e-7: Abramowitz and Stegun 1964, 7.1.26. The negative side is x times half of it, without the 1 that would cancel.
DEVICE float gelu(float x) {
    float z = fabsf(x) * 0.70710678f;
    float t = reciprocal(1.0f + 0.3275911f * z);
    float sum = ((((1.061405429f * t - 1.453152027f) * t + 1.421413741f) * t - 0.284496736f) * t + 0.254829592f) * t;
    float rest = 0.5f * x * sum * power_of_two(-1.44269504f * z * z);
    return x < 0 ? rest : x - rest;
}

DEVICE u32 gelu_pair(u32 both, float of_low, float of_high) { return pack(gelu(low(both) + of_low), gelu(high(both) + of_high)); }

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
