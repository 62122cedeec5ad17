// attention: mixed = softmax(q · kᵀ) · v within each sequence and head, over sequences packed end to end. The queries are already divided by
// the root of the head's width: their weights are.
//
// Shapes: qkv [tokens, 3 · HIDDEN] 16-bit, queries, keys and values side by side, each of HIDDEN / HEAD heads, without their bias [3 · HIDDEN] f32, which
// is added here; offsets [sequences + 1] u32; tiles [number of tiles, 2] u32: a sequence, and the first of QUERIES queries in it; mixed [tokens, HIDDEN]
// 16-bit. HEAD is 32 or 64; a sequence may have any length.
//
// Launch: 4 warps a block, a block a tile and head: grid (tiles, HIDDEN / HEAD). A warp has 16 queries. Keys and values pass through shared memory, KEYS at
// a time, and the softmax is kept up with the largest score so far (Milakov and Gimelshein 2018; Dao 2022), so nothing of the size
// length · length is ever stored. Shared memory: 2 · KEYS · (HEAD + 8) bytes of keys and 2 · HEAD · (KEYS + 8) of values, 9.5 KiB or 18 KiB.
// Work: 4 · length · HEAD operations a query and head, in tensor cores; bytes: 6 · HEAD a token and head in, for each QUERIES queries of its sequence, and
// 2 · HEAD out.
#include "common.cuh"

#define QUERIES 64
#define KEYS 64
#define THREADS (QUERIES / 16 * WARP)
#define LEAST -1e30f
// 16-bit numbers of a row in shared memory; the 8 more keep the threads of a warp on different banks.
#define KEY_STRIDE (HEAD + 8)
#define VALUE_STRIDE (KEYS + 8)

KERNEL void BOUNDS(THREADS, 4) attention(
        const u32* qkv, const float* bias, const u32* offsets, const u32* tiles, u32* mixed) {
    SHARED u32 keys[KEYS * KEY_STRIDE / 2];
    // Transposed: the numbers of one dimension lie together.
    SHARED u32 value_pairs[HEAD * VALUE_STRIDE / 2];
    half_t* values = (half_t*)value_pairs;

    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const int g = lane / 4, t = lane % 4;
    const u32 begin = offsets[tiles[2 * blockIdx.x]], length = offsets[tiles[2 * blockIdx.x] + 1] - begin;
    const u32 column = blockIdx.y * HEAD;
    const u32 row_pairs = 3 * HIDDEN / 2;
    const u32* own = qkv + (u64)begin * row_pairs;
    const u32 query[2] = {tiles[2 * blockIdx.x + 1] + warp * 16 + g, tiles[2 * blockIdx.x + 1] + warp * 16 + g + 8};
    // exp(x) = 2^(x · log2(e)), which is what the GPU computes.
    const float scale = 1.44269504f;

    u32 queries[HEAD / 16][4];
    for (int k = 0; k < HEAD / 16; k++) {
        for (int part = 0; part < 4; part++) {
            u32 row = query[part % 2], at = column + k * 16 + part / 2 * 8 + 2 * t;
            u32 both = row < length ? own[(u64)row * row_pairs + at / 2] : 0;
            queries[k][part] = row < length ? pack((low(both) + bias[at]) * scale, (high(both) + bias[at + 1]) * scale) : 0;
        }
    }
    float out[HEAD / 8][4];
    for (int d = 0; d < HEAD / 8; d++) {
        for (int i = 0; i < 4; i++) out[d][i] = 0;
    }
    float most[2] = {LEAST, LEAST}, total[2] = {0, 0};

    for (u32 first = 0; first < length; first += KEYS) {
        meet();
        for (u32 i = threadIdx.x; i < KEYS * HEAD / 2; i += THREADS) {
            u32 key = i / (HEAD / 2), pair = i % (HEAD / 2), at = column + 2 * pair;
            u32 k = 0, v = 0;
            if (first + key < length) {
                const u32* row = own + (u64)(first + key) * row_pairs + at / 2;
                k = row[HIDDEN / 2];
                v = row[HIDDEN];
                k = pack(low(k) + bias[HIDDEN + at], high(k) + bias[HIDDEN + at + 1]);
                v = pack(low(v) + bias[2 * HIDDEN + at], high(v) + bias[2 * HIDDEN + at + 1]);
            }
            keys[key * (KEY_STRIDE / 2) + pair] = k;
            values[2 * pair * VALUE_STRIDE + key] = (half_t)(v & 0xffff);
            values[(2 * pair + 1) * VALUE_STRIDE + key] = (half_t)(v >> 16);
        }
        meet();
        float score[KEYS / 8][4];
        for (int n = 0; n < KEYS / 8; n++) {
            for (int i = 0; i < 4; i++) score[n][i] = 0;
            for (int k = 0; k < HEAD / 16; k++) {
                const u32* row = keys + (n * 8 + g) * (KEY_STRIDE / 2) + k * 8 + t;
                u32 b[2] = {row[0], row[4]};
                multiply_tile(score[n], queries[k], b);
            }
        }
        float best[2] = {most[0], most[1]};
        for (int n = 0; n < KEYS / 8; n++) {
            for (int i = 0; i < 4; i++) {
                if (first + n * 8 + 2 * t + i % 2 >= length) score[n][i] = LEAST;
                best[i / 2] = fmaxf(best[i / 2], score[n][i]);
            }
        }
        for (int half = 0; half < 2; half++) {
            best[half] = fmaxf(best[half], across(best[half], 1));
            best[half] = fmaxf(best[half], across(best[half], 2));
            float shrink = exp2f(most[half] - best[half]);
            most[half] = best[half];
            total[half] *= shrink;
            for (int d = 0; d < HEAD / 8; d++) {
                out[d][2 * half] *= shrink;
                out[d][2 * half + 1] *= shrink;
            }
        }
        for (int n = 0; n < KEYS / 8; n++) {
            for (int i = 0; i < 4; i++) {
                score[n][i] = exp2f(score[n][i] - most[i / 2]);
                total[i / 2] += score[n][i];
            }
        }
        for (int j = 0; j < KEYS / 16; j++) {
            const float* a = score[2 * j];
            const float* b = score[2 * j + 1];
            u32 weights[4] = {pack(a[0], a[1]), pack(a[2], a[3]), pack(b[0], b[1]), pack(b[2], b[3])};
            for (int d = 0; d < HEAD / 8; d++) {
                const u32* row = value_pairs + (d * 8 + g) * (VALUE_STRIDE / 2) + j * 8 + t;
                u32 v[2] = {row[0], row[4]};
                multiply_tile(out[d], weights, v);
            }
        }
    }
    for (int half = 0; half < 2; half++) {
        total[half] += across(total[half], 1);
        total[half] += across(total[half], 2);
        if (query[half] >= length) continue;
        u32* row = mixed + ((u64)(begin + query[half]) * HIDDEN + column) / 2 + t;
        for (int d = 0; d < HEAD / 8; d++) {
            row[d * 4] = pack(out[d][2 * half] / total[half], out[d][2 * half + 1] / total[half]);
        }
    }
}
