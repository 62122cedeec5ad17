// bias_gelu: x = gelu(x + bias), the exact one: gelu(x) = x · (1 + erf(x / sqrt(2))) / 2, as BERT has it.
//
// Shapes: x [rows, width] 16-bit, in place; bias [width] f32; width is a multiple of 2.
//
// Launch: a thread a pair of numbers, 256 a block, as many blocks as are wanted: each goes on in steps of the grid. 4 bytes a number, and about 30
// operations for erf: bound by memory.
#include "common.cuh"

DEVICE float gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678f)); }

KERNEL void BOUNDS(256, 4) bias_gelu(u32* x, const float* bias, u32 width, u64 pairs) {
    for (u64 i = blockIdx.x * 256ull + threadIdx.x; i < pairs; i += gridDim.x * 256ull) {
        u32 column = (u32)(i % (width / 2)) * 2;
        u32 both = x[i];
        x[i] = pack(gelu(low(both) + bias[column]), gelu(high(both) + bias[column + 1]));
    }
}
