// Exact recall over vectors that stay on the GPU: the best score of each group of rows, the best groups, the scores of their rows, the best rows.
//
// scan_rows:     maxima[g] = most of rows[i] · question over the rows i of group g whose bit of `allowed` is set (all are, where it is null), or the
//                least number that there is
// scan_codes:    the same of what a score can be at most by codes of 8 bits: scale · step · (codes[i] · question) + error · length
// scan_many:     maxima[n][g] for 16 · TILES questions at once, by tensor cores
// choose_best:   the `wanted` best of values, and the best one of those that were not chosen; of equal ones the lower row
// score_groups:  scores[n][c][j] = rows[i] · questions[n], for row j of the c-th chosen group, by the very sums of scan_rows
// encode_rows:   codes and scales of rows, and the largest squared length that each warp saw
//
// Shapes: rows [count, DIMENSION] 16-bit; codes [count, DIMENSION] i8; scales [count], a pair of 16-bit numbers each: a row = scale · codes + e, where
// |e| <= error; question of scan_rows and score_groups [DIMENSION] f32 each, of scan_codes [2, DIMENSION] i8, the high bytes and the low ones, of
// scan_many [16 · TILES, DIMENSION] 16-bit; allowed [ceil(count / 32)] u32; best of choose_best [2 + 2 · wanted] u32 a question: how many there are, the
// best that was not chosen (f32), their rows, their values (f32). DIMENSION is a multiple of 32; vectors that are shorter end with noughts.
//
// Launch: all but choose_best 4 warps a block. scan_* in steps of the grid, a warp a group, 5 or 4 blocks a multiprocessor: bound by memory, 2 bytes a
// number of a row, or 1 of a code. score_groups (groups, questions). encode_rows a warp a row, in steps of the grid. choose_best one block of 1024 threads
// a question: 4 bytes a value twice, or for each of the digits that tell the last one and once more, where very many are wanted or alike.
#include "common.cuh"

#define BLOCK 128
#define WARPS (BLOCK / WARP)
#define GROUP 128
#define GROUP_WORDS (GROUP / 32)
#define MINUS_INFINITY -3.0e38f

// 16 bytes of a row: eight numbers, or sixteen codes.
struct alignas(16) Word {
    u32 x, y, z, w;
};

// Lanes that share a row of so many words, each with words of its own; rows that a lane reads before it uses the first of them.
#define LANES_FOR(words) ((words) <= 24 ? 8 : (words) <= 48 ? 16 : 32)
#define DEEP_FOR(words) ((words) <= 1 ? 8 : (words) <= 4 ? 4 : (words) <= 6 ? 2 : 1)

#define WORDS (DIMENSION / 8)
#define LANES LANES_FOR(WORDS)
#define OF_LANE ((WORDS + LANES - 1) / LANES)
#define DEEP DEEP_FOR(OF_LANE)
#define ABREAST (WARP / LANES)
#define PADDED (LANES * OF_LANE)

#define CODE_WORDS (DIMENSION / 16)
#define CODE_LANES LANES_FOR(CODE_WORDS)
#define CODE_OF_LANE ((CODE_WORDS + CODE_LANES - 1) / CODE_LANES)
#define CODE_DEEP DEEP_FOR(CODE_OF_LANE)
#define CODE_ABREAST (WARP / CODE_LANES)
#define CODE_PADDED (CODE_LANES * CODE_OF_LANE)

// Of the 32 rows of a word of `allowed`, those that are there and may be found.
DEVICE u32 rows_of(const u32* allowed, u32 word, u32 count) {
    const u32 first = word * 32;
    if (first >= count) return 0;
    const u32 there = count - first >= 32 ? 0xffffffffu : (1u << (count - first)) - 1;
    return allowed ? allowed[word] & there : there;
}

// The question into shared memory, as the first and the last four numbers of each word; noughts where a lane has no word.
DEVICE void take_question(const float4* question, float4* q) {
    for (int i = threadIdx.x; i < 2 * PADDED; i += BLOCK) {
        int word = i % PADDED;
        q[i] = word < WORDS ? question[2 * word + i / PADDED] : float4{0, 0, 0, 0};
    }
    meet();
}

// Scores of DEEP rows a lane, known to all lanes that share a row: r is row first + own_row(at, r). A row whose bit is not set is not read: what stands
// in its place is the score of row `safe`.
DEVICE u32 own_row(u32 at, int r) { return at + r * ABREAST + threadIdx.x % WARP / LANES; }

DEVICE void score_few(const Word* rows, const float4* q, u32 first, u32 at, u32 bits, u32 safe, float sum[DEEP]) {
    const int part = threadIdx.x % LANES;
    Word x[DEEP][OF_LANE];
#pragma unroll
    for (int r = 0; r < DEEP; r++) {
        const u32 own = own_row(at, r);
        const Word* row = rows + (u64)(bits >> own & 1 ? first + own : safe) * WORDS;
#pragma unroll
        for (int i = 0; i < OF_LANE; i++) {
            const int word = i * LANES + part;
            x[r][i] = row[word < WORDS ? word : WORDS - 1];
        }
        sum[r] = 0;
    }
#pragma unroll
    for (int i = 0; i < OF_LANE; i++) {
        const float4 a = q[i * LANES + part], b = q[PADDED + i * LANES + part];
#pragma unroll
        for (int r = 0; r < DEEP; r++) {
            const Word y = x[r][i];
            // Each sum is spelt out: scan_rows and score_groups must agree to the last bit.
            float s = sum[r];
            s = fmaf(low(y.x), a.x, s);
            s = fmaf(high(y.x), a.y, s);
            s = fmaf(low(y.y), a.z, s);
            s = fmaf(high(y.y), a.w, s);
            s = fmaf(low(y.z), b.x, s);
            s = fmaf(high(y.z), b.y, s);
            s = fmaf(low(y.w), b.z, s);
            sum[r] = fmaf(high(y.w), b.w, s);
        }
    }
#pragma unroll
    for (int r = 0; r < DEEP; r++) {
#pragma unroll
        for (int mask = LANES / 2; mask > 0; mask /= 2) sum[r] += across(sum[r], mask);
    }
}

KERNEL void BOUNDS(BLOCK, 5) scan_rows(const Word* rows, const float4* question, const u32* allowed, float* maxima, u32 count) {
    SHARED float4 q[2 * PADDED];
    take_question(question, q);
    const u32 groups = (count + GROUP - 1) / GROUP;
    for (u32 group = blockIdx.x * WARPS + threadIdx.x / WARP; group < groups; group += gridDim.x * WARPS) {
        float best = MINUS_INFINITY;
        for (u32 word = group * GROUP_WORDS; word < (group + 1) * GROUP_WORDS; word++) {
            const u32 bits = rows_of(allowed, word, count);
            if (!bits) continue;
            for (u32 at = 0; at < 32; at += ABREAST * DEEP) {
                float sum[DEEP];
                score_few(rows, q, word * 32, at, bits, group * GROUP, sum);
#pragma unroll
                for (int r = 0; r < DEEP; r++) best = bits >> own_row(at, r) & 1 ? fmaxf(best, sum[r]) : best;
            }
        }
        best = warp_most(best);
        if (threadIdx.x % WARP == 0) maxima[group] = best;
    }
}

KERNEL void BOUNDS(BLOCK, 4) score_groups(
        const Word* rows, const float4* questions, const u32* allowed, const u32* chosen, u32 stride, float* scores, u32 count) {
    SHARED float4 q[2 * PADDED];
    take_question(questions + (u64)blockIdx.y * (DIMENSION / 4), q);
    const u32 group = chosen ? chosen[(u64)blockIdx.y * stride + 2 + blockIdx.x] : blockIdx.x;
    const u32 warp = threadIdx.x / WARP, word = group * GROUP_WORDS + warp;
    float* to = scores + ((u64)blockIdx.y * gridDim.x + blockIdx.x) * GROUP + warp * 32;
    const u32 bits = rows_of(allowed, word, count);
    for (u32 at = 0; at < 32; at += ABREAST * DEEP) {
        float sum[DEEP];
        score_few(rows, q, word * 32, at, bits, group * GROUP, sum);
#pragma unroll
        for (int r = 0; r < DEEP; r++) {
            const u32 own = own_row(at, r);
            if (threadIdx.x % LANES == 0) to[own] = bits >> own & 1 ? sum[r] : MINUS_INFINITY;
        }
    }
}

// The least 16-bit number that is not below a positive one.
DEVICE half_t to_half_above(float x) {
    half_t y = to_half(x);
    return to_float(y) < x ? (half_t)(y + 1) : y;
}

KERNEL void BOUNDS(BLOCK, 8) encode_rows(const uint2* rows, u32* codes, u32* scales, float* largest, u32 count) {
    const int lane = threadIdx.x % WARP;
    const u32 warp = blockIdx.x * WARPS + threadIdx.x / WARP;
    float longest = 0;
    for (u32 row = warp; row < count; row += gridDim.x * WARPS) {
        const uint2* x = rows + (u64)row * (DIMENSION / 4);
        float most = 0, squares = 0;
        for (int at = lane; at < DIMENSION / 4; at += WARP) {
            float four[4] = {low(x[at].x), high(x[at].x), low(x[at].y), high(x[at].y)};
            for (int i = 0; i < 4; i++) {
                most = fmaxf(most, fabsf(four[i]));
                squares = fmaf(four[i], four[i], squares);
            }
        }
        longest = fmaxf(longest, warp_sum(squares));
        if (!codes) continue;
        const half_t narrow = to_half_above(warp_most(most) / 127.0f);
        const float scale = to_float(narrow), factor = scale > 0 ? 1.0f / scale : 0;
        float errors = 0;
        for (int at = lane; at < DIMENSION / 4; at += WARP) {
            float four[4] = {low(x[at].x), high(x[at].x), low(x[at].y), high(x[at].y)};
            u32 code = 0;
            for (int i = 0; i < 4; i++) {
                float whole = rintf(fminf(fmaxf(four[i] * factor, -127.0f), 127.0f));
                code |= ((u32)(int)whole & 0xff) << 8 * i;
                float error = fmaf(-scale, whole, four[i]);
                errors = fmaf(error, error, errors);
            }
            codes[(u64)row * (DIMENSION / 4) + at] = code;
        }
        // The sum's own rounding is at most a share of 2^-24 for each of its terms.
        float error = sqrtf(warp_sum(errors)) * (1.0f + (DIMENSION + 16) * 1.2e-7f);
        if (lane == 0) scales[row] = (u32)narrow | (u32)to_half_above(error) << 16;
    }
    if (lane == 0) largest[warp] = longest;
}

KERNEL void BOUNDS(BLOCK, 5) scan_codes(
        const Word* codes, const u32* scales, const Word* question, float step, float length, const u32* allowed, float* maxima, u32 count) {
    SHARED Word q[2 * CODE_PADDED];
    for (int i = threadIdx.x; i < 2 * CODE_PADDED; i += BLOCK) {
        int word = i % CODE_PADDED;
        q[i] = word < CODE_WORDS ? question[i / CODE_PADDED * CODE_WORDS + word] : Word{0, 0, 0, 0};
    }
    meet();
    const u32 lane = threadIdx.x % WARP, part = lane % CODE_LANES;
    const u32 groups = (count + GROUP - 1) / GROUP;
    for (u32 group = blockIdx.x * WARPS + threadIdx.x / WARP; group < groups; group += gridDim.x * WARPS) {
        float best = MINUS_INFINITY;
        for (u32 place = group * GROUP_WORDS; place < (group + 1) * GROUP_WORDS; place++) {
            const u32 bits = rows_of(allowed, place, count);
            if (!bits) continue;
            for (u32 at = 0; at < 32; at += CODE_ABREAST * CODE_DEEP) {
                Word x[CODE_DEEP][CODE_OF_LANE];
                u32 scale[CODE_DEEP];
                int upper[CODE_DEEP], lower[CODE_DEEP];
#pragma unroll
                for (int r = 0; r < CODE_DEEP; r++) {
                    const u32 own = at + r * CODE_ABREAST + lane / CODE_LANES;
                    const u32 row = bits >> own & 1 ? place * 32 + own : group * GROUP;
#pragma unroll
                    for (int i = 0; i < CODE_OF_LANE; i++) {
                        const u32 word = i * CODE_LANES + part;
                        x[r][i] = codes[(u64)row * CODE_WORDS + (word < CODE_WORDS ? word : CODE_WORDS - 1)];
                    }
                    scale[r] = scales[row];
                    upper[r] = lower[r] = 0;
                }
#pragma unroll
                for (int i = 0; i < CODE_OF_LANE; i++) {
                    const Word a = q[i * CODE_LANES + part], b = q[CODE_PADDED + i * CODE_LANES + part];
#pragma unroll
                    for (int r = 0; r < CODE_DEEP; r++) {
                        const Word y = x[r][i];
                        upper[r] = dot_of_four(y.w, a.w, dot_of_four(y.z, a.z, dot_of_four(y.y, a.y, dot_of_four(y.x, a.x, upper[r]))));
                        lower[r] = dot_of_four(y.w, b.w, dot_of_four(y.z, b.z, dot_of_four(y.y, b.y, dot_of_four(y.x, b.x, lower[r]))));
                    }
                }
#pragma unroll
                for (int r = 0; r < CODE_DEEP; r++) {
                    float dot = fmaf((float)upper[r], 256.0f, (float)lower[r]);
#pragma unroll
                    for (int mask = CODE_LANES / 2; mask > 0; mask /= 2) dot += across(dot, mask);
                    const float bound = fmaf(dot * step, low(scale[r]), high(scale[r]) * length);
                    const u32 own = at + r * CODE_ABREAST + lane / CODE_LANES;
                    best = bits >> own & 1 ? fmaxf(best, bound) : best;
                }
            }
        }
        best = warp_most(best);
        if (lane == 0) maxima[group] = best;
    }
}

// Sixteen questions a tile, as many tiles as fit the 48 KiB of shared memory that every GPU has for a block.
#if DIMENSION <= 1536
#define TILES (DIMENSION <= 384 ? 4 : DIMENSION <= 768 ? 2 : 1)
#define CHUNKS (DIMENSION / 32)

// Before Ampere tile products take more registers, and shared memory holds one block's questions.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define MANY_BLOCKS 1
#else
#define MANY_BLOCKS 4
#endif

// The larger of a lane's numbers and those of the lane whose number differs in `mask`: of 2 · KEPT pairs the upper KEPT where the lane's bit is set, the
// lower ones else, and of one pair that.
template <int KEPT>
DEVICE void fold(float (*best)[2], int mask) {
    const bool is_upper = threadIdx.x & mask;
#pragma unroll
    for (int i = 0; i < (KEPT > 0 ? KEPT : 1); i++) {
#pragma unroll
        for (int j = 0; j < 2; j++) {
            const float own = is_upper ? best[i + KEPT][j] : best[i][j], other = is_upper ? best[i][j] : best[i + KEPT][j];
            best[i][j] = fmaxf(own, across(other, mask));
        }
    }
}

// A load that has the cache take what follows too: lanes take 64 bytes of a row at a time, and memory gives larger pieces in less time.
DEVICE Word load_ahead(const Word* from) {
#if defined(__CUDACC__)
    Word x;
#if __CUDA_ARCH__ >= 800
    asm("ld.global.L2::256B.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w) : "l"(__cvta_generic_to_global(from)));
#else
    asm("ld.global.L2::128B.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w) : "l"(__cvta_generic_to_global(from)));
#endif
    return x;
#else
    return *from;
#endif
}

// Questions are the left side of the tile products, and rows the right one. A lane has 16 bytes of each of four rows, g, g + 8, g + 16 and g + 24 of 32
// (g = lane / 4), at 8t (t = lane % 4), where two tile products want pairs of numbers at 2t and 2t + 8: the order of the numbers does not change a score,
// as long as rows and questions have the same.
KERNEL void BOUNDS(BLOCK, MANY_BLOCKS) scan_many(const Word* rows, const Word* questions, const u32* allowed, float* maxima, u32 count) {
    SHARED Word q[CHUNKS * 2 * TILES * WARP];
    const u32 lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    for (u32 i = threadIdx.x; i < CHUNKS * TILES * WARP; i += BLOCK) {
        const u32 of = i % WARP, tile = i / WARP % TILES, chunk = i / (WARP * TILES);
        const Word* from = questions + (tile * 16 + of / 4) * WORDS + chunk * 4 + of % 4;
        const Word a = from[0], b = from[8 * WORDS];
        q[(chunk * 2 * TILES + tile) * WARP + of] = Word{a.x, b.x, a.y, b.y};
        q[((chunk * 2 + 1) * TILES + tile) * WARP + of] = Word{a.z, b.z, a.w, b.w};
    }
    meet();
    const u32 groups = (count + GROUP - 1) / GROUP;
    for (u32 group = blockIdx.x * WARPS + threadIdx.x / WARP; group < groups; group += gridDim.x * WARPS) {
        float best[2] = {MINUS_INFINITY, MINUS_INFINITY};
        for (u32 place = group * GROUP_WORDS; place < (group + 1) * GROUP_WORDS; place++) {
            const u32 bits = rows_of(allowed, place, count);
            if (!bits) continue;
            const Word* row[4];
            Word x[2][4];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const u32 own = g + 8 * j;
                row[j] = rows + (u64)(bits >> own & 1 ? place * 32 + own : group * GROUP) * WORDS + t;
                x[0][j] = load_ahead(row[j]);
                x[1][j] = load_ahead(row[j] + (CHUNKS > 1 ? 4 : 0));
            }
            float c[TILES][4][4];
#pragma unroll
            for (int i = 0; i < TILES * 16; i++) c[i / 16][i / 4 % 4][i % 4] = 0;
#pragma unroll 1
            for (int pair = 0; pair < CHUNKS; pair += 2) {
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    if (pair + i >= CHUNKS) break;
#pragma unroll
                    for (int half = 0; half < 2; half++) {
#pragma unroll
                        for (int tile = 0; tile < TILES; tile++) {
                            const Word y = q[(((pair + i) * 2 + half) * TILES + tile) * WARP + lane];
                            const u32 a[4] = {y.x, y.y, y.z, y.w};
#pragma unroll
                            for (int j = 0; j < 4; j++) {
                                const u32 b[2] = {half ? x[i][j].z : x[i][j].x, half ? x[i][j].w : x[i][j].y};
                                multiply_tile(c[tile][j], a, b);
                            }
                        }
                    }
                    // The chunk after the next one comes while that one is computed with.
                    if (pair + i + 2 < CHUNKS) {
#pragma unroll
                        for (int j = 0; j < 4; j++) x[i][j] = load_ahead(row[j] + (pair + i + 2) * 4);
                    }
                }
            }
            // Of questions g and g + 8 of each tile, and of rows 2t and 2t + 1 of each eight.
            float most[TILES][2];
#pragma unroll
            for (int i = 0; i < 2 * TILES; i++) {
                float of_lane = MINUS_INFINITY;
#pragma unroll
                for (int j = 0; j < 8; j++) {
                    const float score = c[i / 2][j / 2][i % 2 * 2 + j % 2];
                    of_lane = bits >> (j / 2 * 8 + 2 * t + j % 2) & 1 ? fmaxf(of_lane, score) : of_lane;
                }
                most[i / 2][i % 2] = of_lane;
            }
            fold<TILES / 2>(most, 2);
            fold<TILES / 4>(most, 1);
            best[0] = fmaxf(best[0], most[0][0]);
            best[1] = fmaxf(best[1], most[0][1]);
        }
        // Which tile is left to this lane.
        if (t % (4 / TILES) == 0) {
            const u32 question = t / (4 / TILES) * 16 + g;
            for (int i = 0; i < 2; i++) maxima[(u64)(question + 8 * i) * groups + group] = best[i];
        }
    }
}
#endif

#define CHOOSE_BLOCK 1024
#define AT_A_TIME 8
#define CANDIDATES 2048

// Rises with the value.
DEVICE u32 rising(float value) {
    u32 bits = bits_of(value);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// The row of a value: of those of the chosen groups, one after the other, or of all.
DEVICE u32 row_of(const u32* chosen, u32 i) { return chosen ? chosen[2 + i / GROUP] * GROUP + i % GROUP : i; }

// What a block shares while it finds a key by its digits.
struct Digits {
    u32 histogram[256];
    u32 sums[16];
    u64 prefix;
    u32 left, ends_at;
};

// Some values at a time, so that their loads do not wait for each other.
template <typename Value, typename Use>
DEVICE void for_each(u32 count, Value value, Use use) {
    for (u32 base = threadIdx.x; base < count; base += CHOOSE_BLOCK * AT_A_TIME) {
        float some[AT_A_TIME];
#pragma unroll
        for (u32 j = 0; j < AT_A_TIME; j++) some[j] = value(base + j * CHOOSE_BLOCK < count ? base + j * CHOOSE_BLOCK : base);
#pragma unroll
        for (u32 j = 0; j < AT_A_TIME; j++) {
            if (base + j * CHOOSE_BLOCK < count) use(base + j * CHOOSE_BLOCK, some[j]);
        }
    }
}

// A key that exactly the `wanted` best reach: of 64 bits, the value and below it the row, so that of equal values the lower row is better. By digits of 8
// bits from the highest down, until all that have the digits so far are wanted: mostly before it comes to rows.
template <typename Value, typename Row>
DEVICE u64 least_of(u32 count, u32 wanted, Value value, Row row, Digits* digits) {
    const u32 thread = threadIdx.x;
    meet();
    if (thread == 0) {
        digits->prefix = 0;
        digits->left = wanted;
    }
    for (int shift = 56; shift >= 0; shift -= 8) {
        if (thread < 256) digits->histogram[thread] = 0;
        meet();
        const u64 known = digits->prefix;
        u32 digit = 0, run = 0;
        for_each(count, value, [&](u32 i, float x) {
            const u64 key = (u64)rising(x) << 32 | (shift < 32 ? (u32)~row(i) : 0);
            if (shift < 56 && key >> (shift + 8) != known >> (shift + 8)) return;
            // Neighbours mostly have the same digit: they are counted together.
            const u32 own = (u32)(key >> shift) & 0xff;
            if (own != digit && run) {
                add_many(&digits->histogram[digit], run);
                run = 0;
            }
            digit = own;
            run++;
        });
        if (run) add_many(&digits->histogram[digit], run);
        meet();
        if (thread < 16) {
            u32 sum = 0;
            for (u32 d = 0; d < 16; d++) sum += digits->histogram[thread * 16 + d];
            digits->sums[thread] = sum;
        }
        meet();
        if (thread == 0) {
            u32 left = digits->left, high = 15;
            for (; high > 0 && digits->sums[high] < left; high--) left -= digits->sums[high];
            u32 at = high * 16 + 15;
            for (; at > high * 16 && digits->histogram[at] < left; at--) left -= digits->histogram[at];
            digits->prefix = known | (u64)at << shift;
            digits->left = left;
            digits->ends_at = digits->histogram[at] == left;
        }
        meet();
        if (digits->ends_at) break;
    }
    return digits->prefix;
}

// Of many values, only those are looked at closely that may be among the best: each thread's best one is known after one reading, and there are `wanted`
// values that are no less than the last of the `wanted` best of these.
KERNEL void BOUNDS(CHOOSE_BLOCK, 1) choose_best(const float* values, u32 count, const u32* chosen, u32 stride, u32 wanted, u32* best) {
    SHARED Digits digits;
    SHARED float most[CHOOSE_BLOCK], candidates[CANDIDATES], rest[CHOOSE_BLOCK / WARP];
    SHARED u32 rows[CANDIDATES], seen, found;
    values += (u64)blockIdx.x * count;
    best += (u64)blockIdx.x * (2 + 2 * wanted);
    if (chosen) chosen += (u64)blockIdx.x * stride;
    const u32 thread = threadIdx.x;
    if (thread == 0) seen = found = 0;
    auto value = [&](u32 i) { return values[i]; };
    auto row = [&](u32 i) { return row_of(chosen, i); };
    float other = MINUS_INFINITY;
    auto take = [&](u64 least, u32 row, float x) {
        const u32 high = rising(x), least_high = (u32)(least >> 32);
        if (high < least_high || (high == least_high && (u32)~row < (u32)least)) {
            other = fmaxf(other, x);
            return;
        }
        const u32 at = add_one(&found);
        if (at < wanted) {
            best[2 + at] = row;
            best[2 + wanted + at] = bits_of(x);
        }
    };
    bool are_few = false;
    if (count > CANDIDATES && wanted <= CHOOSE_BLOCK / 2) {
        float own = MINUS_INFINITY;
        for_each(count, value, [&](u32, float x) { own = fmaxf(own, x); });
        most[thread] = own;
        const u64 least = least_of(CHOOSE_BLOCK, wanted, [&](u32 i) { return most[i]; }, [](u32 i) { return i; }, &digits);
        for_each(count, value, [&](u32 i, float x) {
            if (rising(x) < (u32)(least >> 32)) {
                other = fmaxf(other, x);
                return;
            }
            const u32 at = add_one(&seen);
            if (at < CANDIDATES) {
                candidates[at] = x;
                rows[at] = row(i);
            }
        });
        meet();
        are_few = wanted <= seen && seen <= CANDIDATES;
    }
    if (are_few) {
        const u64 least = least_of(seen, wanted, [&](u32 i) { return candidates[i]; }, [&](u32 i) { return rows[i]; }, &digits);
        for (u32 i = thread; i < seen; i += CHOOSE_BLOCK) take(least, rows[i], candidates[i]);
    } else {
        other = MINUS_INFINITY;
        const u64 least = least_of(count, wanted, value, row, &digits);
        for_each(count, value, [&](u32 i, float x) { take(least, row(i), x); });
    }
    other = warp_most(other);
    if (thread % WARP == 0) rest[thread / WARP] = other;
    meet();
    if (thread == 0) {
        for (u32 i = 0; i < CHOOSE_BLOCK / WARP; i++) other = fmaxf(other, rest[i]);
        best[0] = found < wanted ? found : wanted;
        // Of chosen rows, what was not among the chosen groups counts.
        best[1] = chosen ? chosen[1] : bits_of(other);
    }
}
