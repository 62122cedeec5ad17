// What is read off the last layer's states: one vector a sequence, how likely each token is to be kept, and the largest logit of each word piece.
//
// mean_pool: vectors[s] = mean of states[offsets[s] .. offsets[s + 1]], divided by its length where `normalize` is not 0
// keep:      kept[t] = 1 / (1 + exp(-(states[t] · weight + bias)))
// max_logits: maxima[s, first + c] = max(0, bias[c] + the largest of logits[offsets[s] .. offsets[s + 1], c]), of a tile of the vocabulary; it is there where
//             LOGITS is defined
//
// Shapes: states [tokens, width] 16-bit, width a multiple of 2; offsets [sequences + 1] u32; vectors [sequences, width] f32; weight [width] f32; kept
// [tokens] f32. Of a sequence without tokens there is no vector. logits [tokens, columns] 16-bit; bias [columns] f32; maxima [sequences, width] f32; first,
// columns and width are even. Of a sequence without tokens they are 0.
//
// Launch: mean_pool a block of 192 a sequence, AT_ONCE tokens at once; keep a warp a token, 4 of them a block, ceil(tokens / 4) blocks; max_logits a
// thread two columns of a sequence, 128 of them a block: grid (sequences, ceil(columns / 256)). All read what they are given once: bound by memory.
#include "common.cuh"

#define POOL_THREADS 192
// Loads of a thread that are on their way together.
#define AT_ONCE 8

KERNEL void BOUNDS(POOL_THREADS, 8) mean_pool(
        const u32* states, const u32* offsets, float* vectors, u32 width, u32 normalize) {
    u32 begin = offsets[blockIdx.x], end = offsets[blockIdx.x + 1];
    if (begin == end) return;
    u32 pairs = width / 2;
    float* vector = vectors + (u64)blockIdx.x * width;
    float squares = 0;
    for (u32 at = threadIdx.x; at < pairs; at += POOL_THREADS) {
        float a = 0, b = 0;
        for (u32 token = begin; token < end; token += AT_ONCE) {
            u32 both[AT_ONCE];
            for (u32 i = 0; i < AT_ONCE; i++) both[i] = token + i < end ? states[(u64)(token + i) * pairs + at] : 0;
            for (u32 i = 0; i < AT_ONCE; i++) {
                a += low(both[i]);
                b += high(both[i]);
            }
        }
        a /= end - begin;
        b /= end - begin;
        vector[2 * at] = a;
        vector[2 * at + 1] = b;
        squares += a * a + b * b;
    }
    if (!normalize) return;
    SHARED float sums[POOL_THREADS / WARP];
    squares = warp_sum(squares);
    if (threadIdx.x % WARP == 0) sums[threadIdx.x / WARP] = squares;
    meet();
    float total = 0;
    for (int warp = 0; warp < POOL_THREADS / WARP; warp++) total += sums[warp];
    // As sentence-transformers does: a vector of zeros stays one.
    float scale = 1.0f / fmaxf(sqrtf(total), 1e-12f);
    for (u32 at = threadIdx.x; at < pairs; at += POOL_THREADS) {
        vector[2 * at] *= scale;
        vector[2 * at + 1] *= scale;
    }
}

KERNEL void BOUNDS(4 * WARP, 8) keep(const u32* states, const float* weight, float bias, float* kept, u32 width, u32 tokens) {
    int lane = threadIdx.x % WARP;
    u32 token = blockIdx.x * 4 + threadIdx.x / WARP;
    if (token >= tokens) return;
    const u32* state = states + (u64)token * (width / 2);
    float sum = 0;
    for (u32 at = lane; at < width / 2; at += WARP) {
        u32 both = state[at];
        sum += low(both) * weight[2 * at] + high(both) * weight[2 * at + 1];
    }
    sum = warp_sum(sum) + bias;
    if (lane == 0) kept[token] = 1.0f / (1.0f + expf(-sum));
}

#ifdef LOGITS
#define LEAST -1e30f

KERNEL void BOUNDS(4 * WARP, 8) max_logits(
        const u32* logits, const float2* bias, const u32* offsets, float2* maxima, u32 first, u32 columns, u32 width) {
    u32 pairs = columns / 2, at = blockIdx.y * (4 * WARP) + threadIdx.x;
    if (at >= pairs) return;
    u32 begin = offsets[blockIdx.x], end = offsets[blockIdx.x + 1];
    float a = LEAST, b = LEAST;
    for (u32 token = begin; token < end; token += AT_ONCE) {
        u32 both[AT_ONCE];
        // The last one again, where there are no more.
        for (u32 i = 0; i < AT_ONCE; i++) both[i] = logits[(u64)(token + i < end ? token + i : end - 1) * pairs + at];
        for (u32 i = 0; i < AT_ONCE; i++) {
            a = fmaxf(a, low(both[i]));
            b = fmaxf(b, high(both[i]));
        }
    }
    float2 of = bias[at];
    maxima[((u64)blockIdx.x * width + first) / 2 + at] = float2{fmaxf(a + of.x, 0), fmaxf(b + of.y, 0)};
}
#endif
