// What every kernel shares: 16-bit numbers, and what the 32 threads of a warp do together.
//
// No header of CUDA is needed, since NVRTC comes without them: 16-bit numbers are unsigned shorts here, converted by PTX. The same sources
// compile as C++ against host.h, where tests run them thread by thread.
//
// HALF is 0 for IEEE f16 and 1 for bf16. All sums are in f32.
#pragma once

#ifndef HALF
#define HALF 0
#endif

#ifdef __CUDACC__
#define KERNEL extern "C" __global__
#define BOUNDS(threads, blocks) __launch_bounds__(threads, blocks)
#define DEVICE __device__ __forceinline__
#define SHARED __shared__
typedef unsigned short half_t;
typedef unsigned int u32;
typedef unsigned long long u64;

DEVICE float to_float(half_t x) {
#if HALF == 1
    return __uint_as_float((u32)x << 16);
#else
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
    return y;
#endif
}

DEVICE half_t to_half(float x) {
#if HALF == 1
    u32 bits = __float_as_uint(x);
    // Round to nearest, ties to even; what is no number stays none.
    if (x != x) return 0x7fff;
    return (half_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
#else
    half_t y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
#endif
}

// The value of the thread of the warp whose number differs in these bits.
DEVICE float across(float x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }
DEVICE void meet() { __syncthreads(); }

// c += a · b for a tile of 16 x 16 times 16 x 8, spread over a warp (PTX, mma.m16n8k16). With g = lane / 4 and t = lane % 4:
// a holds rows g and g + 8 at columns 2t, 2t + 1 (a[0], a[1]) and 2t + 8, 2t + 9 (a[2], a[3]); b holds column g at rows 2t, 2t + 1 (b[0]) and
// 2t + 8, 2t + 9 (b[1]); c holds row g (c[0], c[1]) and row g + 8 (c[2], c[3]) at columns 2t, 2t + 1.
DEVICE void multiply_tile(float c[4], const u32 a[4], const u32 b[2]) {
#if HALF == 1
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#elif __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    // Before Ampere the tile is half as deep.
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(b[0]));
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[2]), "r"(a[3]), "r"(b[1]));
#endif
}

DEVICE u32 bits_of(float x) { return __float_as_uint(x); }
DEVICE u32 add_one(u32* x) { return atomicAdd(x, 1u); }
DEVICE void add_many(u32* x, u32 n) { atomicAdd(x, n); }

// 2^x and 1 / x, to the last bits of f32, as the GPU has them in one instruction.
DEVICE float power_of_two(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

DEVICE float reciprocal(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// Four tiles of 8 x 8 from shared memory (PTX, ldmatrix): thread i gives the address of row i % 8 of tile i / 8, and gets of each tile
// the numbers 2t, 2t + 1 of row g, or those of column g of a tile that is transposed.
DEVICE void load_tiles(u32 tiles[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
        : "=r"(tiles[0]), "=r"(tiles[1]), "=r"(tiles[2]), "=r"(tiles[3]) : "r"((u32)__cvta_generic_to_shared(row)) : "memory");
}

DEVICE void load_tiles_transposed(u32 tiles[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
        : "=r"(tiles[0]), "=r"(tiles[1]), "=r"(tiles[2]), "=r"(tiles[3]) : "r"((u32)__cvta_generic_to_shared(row)) : "memory");
}

// sum + the products of four signed bytes.
DEVICE int dot_of_four(u32 a, u32 b, int sum) { return __dp4a((int)a, (int)b, sum); }
#else
#include "host.h"
#endif

#define WARP 32

// The sum, and the largest, of a warp's values, known to each of its threads.
DEVICE float warp_sum(float x) {
    for (int mask = WARP / 2; mask > 0; mask /= 2) x += across(x, mask);
    return x;
}

DEVICE float warp_most(float x) {
    for (int mask = WARP / 2; mask > 0; mask /= 2) x = fmaxf(x, across(x, mask));
    return x;
}

// Two numbers in one register, the first in the low half.
DEVICE u32 pack(float low, float high) { return (u32)to_half(low) | (u32)to_half(high) << 16; }
DEVICE float low(u32 pair) { return to_float((half_t)(pair & 0xffff)); }
DEVICE float high(u32 pair) { return to_float((half_t)(pair >> 16)); }
