// attention: mixed = softmax(q · kᵀ) · v within each sequence and head, over sequences packed end to end. The queries are already divided by
// the root of the head's width: their weights are.
//
// Shapes: qkv [tokens, 3 · HIDDEN] 16-bit, queries, keys and values side by side, each of HIDDEN / HEAD heads, without bias; bias [HIDDEN] f32, that of the
// queries, which is added here; offsets [sequences + 1] u32; tiles [number of tiles, 2] u32: a sequence, and the first of QUERIES queries in it; mixed
// [tokens, HIDDEN] 16-bit. HEAD is 32 or 64; a sequence may have any length, and of one without tokens nothing is written.
//
// The other two need no bias here: that of the keys adds the same to each score of a query, which softmax does not see, and that of the values adds itself
// to each of its means, so it goes into the bias of the product that follows (`Model::upload`).
//
// Where LOCAL is defined, a query has the keys of at most `window` tokens to each side of it, and the block goes through those that one of its queries has:
// 4 · (16 + 2 · window) · HEAD operations a query and head, rounded up to tiles.
//
// Where RELATIVE is defined, a number by distance is added to each score: by_distance [HIDDEN / HEAD, 2 · reach + 1] f32, from `reach` before a query to
// `reach` behind it, already times log2(e). Those of a tile's distances are in shared memory beside the keys.
//
// Launch: 4 warps a block, a block a tile and head: grid (tiles, HIDDEN / HEAD). A warp has 16 queries. Keys and values pass through shared memory, KEYS at
// a time, while the next ones are on their way, and the softmax is kept up with the largest score so far (Milakov and Gimelshein 2018; Dao 2022), so nothing
// of the size length · length is ever stored. Keys come out of shared memory by ldmatrix, values by ldmatrix.trans, as in FlashAttention 2 (Dao 2023).
// Shared memory: 4 · KEYS · (HEAD + 8) bytes, 10 KiB or 18 KiB.
// Work: 4 · length · HEAD operations a query and head, in tensor cores; bytes: 6 · HEAD a token and head in, for each QUERIES queries of its sequence, and
// 2 · HEAD out.
#include "common.cuh"

#define QUERIES 64
#define KEYS 64
#define THREADS (QUERIES / 16 * WARP)
#define LEAST -1e30f
// 16-bit numbers of a row in shared memory; the 8 more keep the rows of a tile on different banks.
#define STRIDE (HEAD + 8)
// Loads of 16 bytes: of a row, and of a thread for the keys of a tile.
#define EIGHTS (HEAD / 8)
#define OF_THREAD (KEYS * EIGHTS / THREADS)

// Keys and values of the next KEYS tokens that a thread brings; noughts for those after the last.
DEVICE void load_next(uint4 keys[OF_THREAD], uint4 values[OF_THREAD], const uint4* own, u32 column, u32 first, u32 length) {
    for (u32 i = 0; i < OF_THREAD; i++) {
        u32 part = threadIdx.x + i * THREADS, token = first + part / EIGHTS;
        const uint4* row = own + (u64)token * (3 * HIDDEN / 8) + column / 8 + part % EIGHTS;
        keys[i] = token < length ? row[HIDDEN / 8] : uint4{0, 0, 0, 0};
        values[i] = token < length ? row[2 * HIDDEN / 8] : uint4{0, 0, 0, 0};
    }
}

#ifdef LOCAL
// A query whose keys of a tile are all left out has the weights of LEAST - LEAST, until its own key wipes them out.
DEVICE bool is_far(u32 key, u32 query, u32 window) { return key > query + window || key + window < query; }
#endif

KERNEL void BOUNDS(THREADS, HEAD == 32 ? 4 : 3) attention(
        const uint4* qkv, const float* bias, const u32* offsets, const u32* tiles, u32* mixed
#ifdef LOCAL
        , u32 window
#endif
#ifdef RELATIVE
        , const float* by_distance, u32 reach
#endif
        ) {
    SHARED uint4 key_rows[KEYS * STRIDE / 8];
    SHARED uint4 value_rows[KEYS * STRIDE / 8];
    const half_t* keys = (const half_t*)key_rows;
    const half_t* values = (const half_t*)value_rows;

    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const int g = lane / 4, t = lane % 4;
    const u32 begin = offsets[tiles[2 * blockIdx.x]], length = offsets[tiles[2 * blockIdx.x] + 1] - begin;
    const u32 column = blockIdx.y * HEAD;
    const uint4* own = qkv + (u64)begin * (3 * HIDDEN / 8);
    const u32 first_query = tiles[2 * blockIdx.x + 1] + warp * 16;
    const u32 query[2] = {first_query + g, first_query + g + 8};
    const bool has_queries = first_query < length;
#ifdef LOCAL
    // Keys from the first that a query of the block has up to the last one. A warp has those near its own queries.
    const u32 tile_begin = tiles[2 * blockIdx.x + 1], from = tile_begin > window ? tile_begin - window : 0;
    const u32 to = length - tile_begin > QUERIES + window ? tile_begin + QUERIES + window : length;
#define HAS_NONE(n) (n / 2 * 16 >= there || key + n / 2 * 16 > first_query + 15 + window || key + n / 2 * 16 + 15 + window < first_query)
#define IS_OUT(n, i) (n * 8 + 2 * t + i % 2 >= there || is_far(key + n * 8 + 2 * t + i % 2, query[i / 2], window))
#else
    const u32 from = 0, to = length;
#define HAS_NONE(n) (n / 2 * 16 >= there)
#define IS_OUT(n, i) (n * 8 + 2 * t + i % 2 >= there)
#endif
#ifdef RELATIVE
    // Number i is of the key that is i - (QUERIES - 1) behind the block's first query, counted from the first key of the tile.
    SHARED float distances[THREADS];
    const float* own_distances = by_distance + (u64)blockIdx.y * (2 * reach + 1) + reach;
    const int most_far = (int)reach, to_last_query = (int)tiles[2 * blockIdx.x + 1] + QUERIES - 1;
#endif
    // exp(x) = 2^(x · log2(e)), which is what the GPU computes.
    const float scale = 1.44269504f;

    uint4 next_keys[OF_THREAD], next_values[OF_THREAD];
    load_next(next_keys, next_values, own, column, from, to);
    u32 queries[HEAD / 16][4];
    for (int k = 0; k < HEAD / 16; k++) {
        for (int part = 0; part < 4; part++) {
            u32 row = query[part % 2], at = column + k * 16 + part / 2 * 8 + 2 * t;
            u32 both = row < length ? ((const u32*)own)[(u64)row * (3 * HIDDEN / 2) + at / 2] : 0;
            queries[k][part] = row < length ? pack((low(both) + bias[at]) * scale, (high(both) + bias[at + 1]) * scale) : 0;
        }
    }
    float out[HEAD / 8][4];
    for (int d = 0; d < HEAD / 8; d++) {
        for (int i = 0; i < 4; i++) out[d][i] = 0;
    }
    float most[2] = {LEAST, LEAST}, total[2] = {0, 0};

    for (u32 key = from; key < to; key += KEYS) {
        meet();
        for (u32 i = 0; i < OF_THREAD; i++) {
            u32 part = threadIdx.x + i * THREADS, at = part / EIGHTS * (STRIDE / 8) + part % EIGHTS;
            key_rows[at] = next_keys[i];
            value_rows[at] = next_values[i];
        }
#ifdef RELATIVE
        const int distance = (int)(key + threadIdx.x) - to_last_query;
        distances[threadIdx.x] = own_distances[distance < -most_far ? -most_far : distance > most_far ? most_far : distance];
#endif
        meet();
        if (key + KEYS < to) load_next(next_keys, next_values, own, column, key + KEYS, to);
        if (!has_queries) continue;
        // What follows goes by 16 keys, and leaves out those after the last: all threads of a warp alike.
        const int there = to - key < KEYS ? (int)(to - key) : KEYS;
        float score[KEYS / 8][4];
        for (int n = 0; n < KEYS / 8; n++) {
            for (int i = 0; i < 4; i++) score[n][i] = 0;
            if (HAS_NONE(n)) continue;
            for (int k = 0; k < HEAD / 32; k++) {
                u32 b[4];
                load_tiles(b, keys + (n * 8 + lane % 8) * STRIDE + k * 32 + lane / 8 * 8);
                multiply_tile(score[n], queries[2 * k], b);
                multiply_tile(score[n], queries[2 * k + 1], b + 2);
            }
        }
        float best[2] = {most[0], most[1]};
        for (int n = 0; n < KEYS / 8; n++) {
            if (HAS_NONE(n)) continue;
            for (int i = 0; i < 4; i++) {
#ifdef RELATIVE
                score[n][i] += distances[n * 8 + 2 * t + i % 2 + QUERIES - 1 - (warp * 16 + g + i / 2 * 8)];
#endif
                if (IS_OUT(n, i)) score[n][i] = LEAST;
                best[i / 2] = fmaxf(best[i / 2], score[n][i]);
            }
        }
        for (int half = 0; half < 2; half++) {
            best[half] = fmaxf(best[half], across(best[half], 1));
            best[half] = fmaxf(best[half], across(best[half], 2));
            float shrink = power_of_two(most[half] - best[half]);
            most[half] = best[half];
            total[half] *= shrink;
            for (int d = 0; d < HEAD / 8; d++) {
                out[d][2 * half] *= shrink;
                out[d][2 * half + 1] *= shrink;
            }
        }
        for (int j = 0; j < KEYS / 16; j++) {
            if (HAS_NONE(2 * j)) continue;
            for (int n = 2 * j; n < 2 * j + 2; n++) {
                for (int i = 0; i < 4; i++) {
                    score[n][i] = power_of_two(score[n][i] - most[i / 2]);
                    total[i / 2] += score[n][i];
                }
            }
            const float* a = score[2 * j];
            const float* b = score[2 * j + 1];
            u32 weights[4] = {pack(a[0], a[1]), pack(a[2], a[3]), pack(b[0], b[1]), pack(b[2], b[3])};
            for (int d = 0; d < HEAD / 8; d += 2) {
                u32 v[4];
                load_tiles_transposed(v, values + (j * 16 + lane / 8 % 2 * 8 + lane % 8) * STRIDE + (d + lane / 16) * 8);
                multiply_tile(out[d], weights, v);
                multiply_tile(out[d + 1], weights, v + 2);
            }
        }
    }
    for (int half = 0; half < 2; half++) {
        total[half] += across(total[half], 1);
        total[half] += across(total[half], 2);
        if (query[half] >= length) continue;
        u32* row = mixed + ((u64)(begin + query[half]) * HIDDEN + column) / 2 + t;
        const float share = reciprocal(total[half]);
        for (int d = 0; d < HEAD / 8; d++) row[d * 4] = pack(out[d][2 * half] * share, out[d][2 * half + 1] * share);
    }
}
