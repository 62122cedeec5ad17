// The kernels' sources as C++: what common.cuh takes from CUDA, with each thread of a block a fibre of its own.
//
// Blocks run one after the other. A block's threads take turns, each up to where it waits for others: for its warp (shuffles and tile products)
// or for the whole block (meet), as they must on a GPU. Not fast, and exact: tests hold the arithmetic against a reference.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>
#include <ucontext.h>

#define KERNEL extern "C"
#define BOUNDS(threads, blocks)
#define DEVICE static inline
#define SHARED static thread_local
typedef unsigned short half_t;
typedef unsigned int u32;
typedef unsigned long long u64;
struct uint2 { u32 x, y; };
struct uint4 { u32 x, y, z, w; };
struct float2 { float x, y; };
struct float4 { float x, y, z, w; };
struct Index { u32 x, y; };

namespace host {
constexpr u32 LANES = 32;

struct Barrier {
    u32 waiting = 0, generation = 0;
};

struct Warp {
    Barrier barrier;
    float values[LANES];
    u32 a[LANES][4], b[LANES][2];
    const half_t* rows[LANES];
};

struct Fibre {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    bool done = false;
};

static thread_local Index thread, block, threads_of_block, blocks_of_grid;
static thread_local std::vector<Warp> warps;
static thread_local Barrier whole;
static thread_local std::vector<Fibre> fibres;
static thread_local ucontext_t scheduler;
static thread_local std::function<void()> kernel;

static void yield() {
    u32 own = thread.x;
    swapcontext(&fibres[own].context, &scheduler);
}

static void wait(Barrier& barrier, u32 count) {
    u32 generation = barrier.generation;
    if (++barrier.waiting == count) {
        barrier.waiting = 0;
        barrier.generation++;
        return;
    }
    while (barrier.generation == generation) yield();
}

static void run_fibre() {
    kernel();
    fibres[thread.x].done = true;
    yield();
}

// Runs a kernel for every block of a grid.
static void launch(Index grid, u32 threads, std::function<void()> body) {
    constexpr size_t STACK = 1 << 16;
    kernel = std::move(body);
    threads_of_block = {threads, 1};
    blocks_of_grid = grid;
    for (u32 y = 0; y < grid.y; y++) {
        for (u32 x = 0; x < grid.x; x++) {
            block = {x, y};
            warps.assign((threads + LANES - 1) / LANES, Warp());
            whole = Barrier();
            fibres.clear();
            fibres.resize(threads);
            for (Fibre& fibre : fibres) {
                fibre.stack.reset(new char[STACK]);
                getcontext(&fibre.context);
                fibre.context.uc_stack.ss_sp = fibre.stack.get();
                fibre.context.uc_stack.ss_size = STACK;
                fibre.context.uc_link = &scheduler;
                makecontext(&fibre.context, run_fibre, 0);
            }
            for (u32 left = threads; left > 0;) {
                for (u32 i = 0; i < threads; i++) {
                    if (fibres[i].done) continue;
                    thread = {i, 0};
                    swapcontext(&scheduler, &fibres[i].context);
                    left -= fibres[i].done;
                }
            }
        }
    }
}

static inline Warp& own_warp() { return warps[thread.x / LANES]; }
static inline u32 own_lane() { return thread.x % LANES; }
} // namespace host

#define threadIdx host::thread
#define blockIdx host::block
#define blockDim host::threads_of_block
#define gridDim host::blocks_of_grid

DEVICE u32 bits_of(float x) {
    u32 bits;
    memcpy(&bits, &x, 4);
    return bits;
}

DEVICE float of_bits(u32 bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

DEVICE float to_float(half_t x) {
#if HALF == 1
    return of_bits((u32)x << 16);
#else
    u32 sign = (u32)(x & 0x8000) << 16, exponent = x >> 10 & 31, fraction = x & 0x3ff;
    if (exponent == 31) return of_bits(sign | 0x7f800000 | fraction << 13);
    if (exponent == 0) return (sign ? -1 : 1) * std::ldexp((float)fraction, -24);
    return of_bits(sign | (exponent + 112) << 23 | fraction << 13);
#endif
}

DEVICE half_t to_half(float x) {
    u32 bits = bits_of(x);
#if HALF == 1
    if (x != x) return 0x7fff;
    return (half_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
#else
    half_t sign = bits >> 16 & 0x8000;
    if (x != x) return 0x7fff;
    float size = std::fabs(x);
    if (size == 0) return sign;
    if (size >= 65520.0f) return sign | 0x7c00;
    // Whole multiples of the smallest step that the number's exponent has, ties to even.
    int exponent;
    std::frexp(size, &exponent);
    int step = exponent - 11 < -24 ? -24 : exponent - 11;
    float steps = std::nearbyint(std::ldexp(size, -step));
    u32 whole = (u32)steps;
    if (step == -24) return sign | (half_t)whole;
    if (whole == 2048) {
        whole = 1024;
        step++;
    }
    return sign | (half_t)((u32)(step + 25) << 10 | (whole & 0x3ff));
#endif
}

DEVICE void meet() { host::wait(host::whole, host::threads_of_block.x); }

DEVICE float across(float x, int mask) {
    host::Warp& warp = host::own_warp();
    warp.values[host::own_lane()] = x;
    host::wait(warp.barrier, host::LANES);
    float y = warp.values[host::own_lane() ^ mask];
    host::wait(warp.barrier, host::LANES);
    return y;
}

DEVICE void multiply_tile(float c[4], const u32 a[4], const u32 b[2]) {
    host::Warp& warp = host::own_warp();
    u32 lane = host::own_lane();
    memcpy(warp.a[lane], a, sizeof warp.a[lane]);
    memcpy(warp.b[lane], b, sizeof warp.b[lane]);
    host::wait(warp.barrier, host::LANES);
    u32 g = lane / 4, t = lane % 4;
    for (u32 i = 0; i < 4; i++) {
        u32 row = g + i / 2 * 8, column = 2 * t + i % 2;
        float sum = 0;
        for (u32 k = 0; k < 16; k++) {
            u32 of_a = warp.a[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2];
            u32 of_b = warp.b[column * 4 + k % 8 / 2][k / 8];
            sum += to_float((half_t)(of_a >> k % 2 * 16)) * to_float((half_t)(of_b >> k % 2 * 16));
        }
        c[i] += sum;
    }
    host::wait(warp.barrier, host::LANES);
}

DEVICE float power_of_two(float x) { return std::exp2(x); }
DEVICE float reciprocal(float x) { return 1 / x; }

static inline void load_any_tiles(u32 tiles[4], const void* row, bool transposed) {
    host::Warp& warp = host::own_warp();
    u32 lane = host::own_lane(), g = lane / 4, t = lane % 4;
    warp.rows[lane] = (const half_t*)row;
    host::wait(warp.barrier, host::LANES);
    for (u32 tile = 0; tile < 4; tile++) {
        const half_t* const* of_tile = warp.rows + 8 * tile;
        half_t low = transposed ? of_tile[2 * t][g] : of_tile[g][2 * t];
        half_t high = transposed ? of_tile[2 * t + 1][g] : of_tile[g][2 * t + 1];
        tiles[tile] = low | (u32)high << 16;
    }
    host::wait(warp.barrier, host::LANES);
}

DEVICE void load_tiles(u32 tiles[4], const void* row) { load_any_tiles(tiles, row, false); }
DEVICE void load_tiles_transposed(u32 tiles[4], const void* row) { load_any_tiles(tiles, row, true); }

DEVICE u32 add_one(u32* x) { return (*x)++; }
DEVICE void add_many(u32* x, u32 n) { *x += n; }

DEVICE int dot_of_four(u32 a, u32 b, int sum) {
    for (int i = 0; i < 4; i++) sum += (int8_t)(a >> 8 * i) * (int8_t)(b >> 8 * i);
    return sum;
}
