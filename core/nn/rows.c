/* rows.c - products of few rows with a matrix, each row's bits independent of the others.
 *
 * Every output is 16 partial sums, each over every sixteenth input in order, with fused
 * multiply-adds, then one fixed tree: the same for any number of rows, any tile and any width of
 * vector. Tiles of outputs and rows keep their sums in registers; a weight is read once for all
 * rows of a tile. Weights in bfloat16 are widened as they are read, which is exact: the same sums
 * as of the same numbers in float32. */
#include "nn/nn.h"

#include <string.h>

#define LANES 16

/* The sum of 16 parts, as one tree. */
static inline float
tree(const float *part)
{
    float sum[LANES];
    memcpy(sum, part, sizeof sum);
    for (size_t half = LANES / 2; half; half /= 2)
        for (size_t k = 0; k < half; k++)
            sum[k] += sum[k + half];
    return sum[0];
}

/* One tile of ROWS rows by OUTS outputs. VECTOR holds VECTOR_LANES numbers; LANES of them are one
 * output's parts. Inputs past the last whole LANES go to the first parts. */
#define TILE(...) TILE_OF(__VA_ARGS__)
#define TILE_OF(name, target_of, VECTOR, VECTOR_LANES, ZERO, LOAD, STORE, FMA, WEIGHT,             \
                LOAD_WEIGHT, ONE_WEIGHT, ROWS, OUTS)                                               \
    target_of static void name(const float *x, size_t in, const void *weights, float *out,         \
                               size_t step)                                                        \
    {                                                                                              \
        enum { VECTORS = LANES / VECTOR_LANES };                                                   \
        const WEIGHT *w = weights;                                                                 \
        VECTOR sum[ROWS][OUTS][VECTORS];                                                           \
        size_t whole = in / LANES * LANES;                                                         \
        _Pragma("GCC unroll 4") for (size_t r = 0; r < ROWS; r++)                                  \
            _Pragma("GCC unroll 4") for (size_t o = 0; o < OUTS; o++)                              \
                _Pragma("GCC unroll 2") for (size_t v = 0; v < VECTORS; v++) sum[r][o][v] = ZERO;  \
        for (size_t k = 0; k < whole; k += LANES)                                                  \
            _Pragma("GCC unroll 2") for (size_t v = 0; v < VECTORS; v++)                           \
            {                                                                                      \
                VECTOR given[ROWS];                                                                \
                size_t at = k + v * VECTOR_LANES;                                                  \
                _Pragma("GCC unroll 4") for (size_t r = 0; r < ROWS; r++) given[r] =               \
                    LOAD(x + r * in + at);                                                         \
                _Pragma("GCC unroll 4") for (size_t o = 0; o < OUTS; o++)                          \
                {                                                                                  \
                    VECTOR weight = LOAD_WEIGHT(w + o * in + at);                                  \
                    _Pragma("GCC unroll 4") for (size_t r = 0; r < ROWS; r++) sum[r][o][v] =       \
                        FMA(given[r], weight, sum[r][o][v]);                                       \
                }                                                                                  \
            }                                                                                      \
        for (size_t r = 0; r < ROWS; r++)                                                          \
            for (size_t o = 0; o < OUTS; o++) {                                                    \
                float part[LANES];                                                                 \
                for (size_t v = 0; v < VECTORS; v++)                                               \
                    STORE(part + v * VECTOR_LANES, sum[r][o][v]);                                  \
                for (size_t k = whole; k < in; k++)                                                \
                    part[k - whole] =                                                              \
                        __builtin_fmaf(x[r * in + k], ONE_WEIGHT(w[o * in + k]), part[k - whole]); \
                out[r * step + o] = tree(part);                                                    \
            }                                                                                      \
    }

typedef void (*tile)(const float *x, size_t in, const void *w, float *out, size_t step);

/* Tiles by rows (1 or `rows`) and outputs (1 or 4; NULL: only 1). */
struct tiles {
    size_t rows;
    tile one_one, one_four, many_one, many_four;
};

static inline float
fma_one(float a, float b, float c)
{
    return __builtin_fmaf(a, b, c);
}

static inline float
widen(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#define SAME(x) (x)
#define LOAD_ONE(p) (*(p))
#define STORE_ONE(p, v) (*(p) = (v))
#define WIDEN_ONE(p) widen(*(p))
#define PLAIN , float, 1, 0, LOAD_ONE, STORE_ONE, fma_one
TILE(plain_1_1, PLAIN, float, LOAD_ONE, SAME, 1, 1)
TILE(plain_half_1_1, PLAIN, uint16_t, WIDEN_ONE, widen, 1, 1)

#if defined(__x86_64__)
#include <immintrin.h>
#define AVX2                                                                                       \
    __attribute__((target("avx2,fma"))), __m256, 8, _mm256_setzero_ps(), _mm256_loadu_ps,          \
        _mm256_storeu_ps, _mm256_fmadd_ps
#define AVX512                                                                                     \
    __attribute__((target("avx512f"))), __m512, 16, _mm512_setzero_ps(), _mm512_loadu_ps,          \
        _mm512_storeu_ps, _mm512_fmadd_ps
#define WIDEN_8(p)                                                                                 \
    _mm256_castsi256_ps(_mm256_slli_epi32(                                                         \
        _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p))), 16))
#define WIDEN_16(p)                                                                                \
    _mm512_castsi512_ps(_mm512_slli_epi32(                                                         \
        _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(p))), 16))
TILE(avx2_1_1, AVX2, float, _mm256_loadu_ps, SAME, 1, 1)
TILE(avx2_1_4, AVX2, float, _mm256_loadu_ps, SAME, 1, 4)
TILE(avx2_2_1, AVX2, float, _mm256_loadu_ps, SAME, 2, 1)
TILE(avx2_2_4, AVX2, float, _mm256_loadu_ps, SAME, 2, 4)
TILE(avx2_half_1_1, AVX2, uint16_t, WIDEN_8, widen, 1, 1)
TILE(avx2_half_1_4, AVX2, uint16_t, WIDEN_8, widen, 1, 4)
TILE(avx2_half_2_1, AVX2, uint16_t, WIDEN_8, widen, 2, 1)
TILE(avx2_half_2_4, AVX2, uint16_t, WIDEN_8, widen, 2, 4)
TILE(avx512_1_1, AVX512, float, _mm512_loadu_ps, SAME, 1, 1)
TILE(avx512_1_4, AVX512, float, _mm512_loadu_ps, SAME, 1, 4)
TILE(avx512_4_1, AVX512, float, _mm512_loadu_ps, SAME, 4, 1)
TILE(avx512_4_4, AVX512, float, _mm512_loadu_ps, SAME, 4, 4)
TILE(avx512_half_1_1, AVX512, uint16_t, WIDEN_16, widen, 1, 1)
TILE(avx512_half_1_4, AVX512, uint16_t, WIDEN_16, widen, 1, 4)
TILE(avx512_half_4_1, AVX512, uint16_t, WIDEN_16, widen, 4, 1)
TILE(avx512_half_4_4, AVX512, uint16_t, WIDEN_16, widen, 4, 4)
#endif

/* For float32 weights, and for bfloat16. */
struct both {
    struct tiles whole, half;
};

static struct both
tiles_here(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return (struct both){
            {4, avx512_1_1, avx512_1_4, avx512_4_1, avx512_4_4},
            {4, avx512_half_1_1, avx512_half_1_4, avx512_half_4_1, avx512_half_4_4}};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return (struct both){{2, avx2_1_1, avx2_1_4, avx2_2_1, avx2_2_4},
                             {2, avx2_half_1_1, avx2_half_1_4, avx2_half_2_1, avx2_half_2_4}};
#endif
    return (struct both){{1, plain_1_1, NULL, plain_1_1, NULL},
                         {1, plain_half_1_1, NULL, plain_half_1_1, NULL}};
}

#define WEIGHTS ((size_t)1 << 16) /* numbers of w that stay in the cache while rows go by */

/* size: bytes a weight. */
static void
dense_rows(const struct tiles *t, const float *x, size_t n, size_t in, const void *w, size_t size,
           const float *b, size_t outs, mete_activation act, float *out)
{
    size_t wide = t->many_four ? 4 : 1;
    size_t some = WEIGHTS / (in ? in : 1) / wide * wide;
    some = some < wide ? wide : some;
    for (size_t from = 0; from < outs; from += some) {
        size_t to = outs - from < some ? outs : from + some;
        for (size_t r = 0; r < n;) {
            size_t rows = n - r >= t->rows ? t->rows : 1;
            for (size_t o = from; o < to;) {
                size_t many = wide == 4 && o + 4 <= to ? 4 : 1;
                tile one = many == 4 ? t->one_four : t->one_one;
                tile all = many == 4 ? t->many_four : t->many_one;
                (rows > 1 ? all : one)(x + r * in, in, (const char *)w + o * in * size,
                                       out + r * outs + o, outs);
                o += many;
            }
            r += rows;
        }
    }
    for (size_t i = 0; b && i < n; i++)
        mete__add_scaled(out + i * outs, 1, b, outs);
    mete__activate(act, out, n * outs);
}

void
mete_dense_rows_run(const float *x, size_t n, size_t in, const float *w, const float *b,
                    size_t outs, mete_activation act, float *out)
{
    struct both tiles = tiles_here();
    dense_rows(&tiles.whole, x, n, in, w, sizeof *w, b, outs, act, out);
}

void
mete_dense_bf16_run(const float *x, size_t n, size_t in, const uint16_t *w, const float *b,
                    size_t outs, mete_activation act, float *out)
{
    struct both tiles = tiles_here();
    dense_rows(&tiles.half, x, n, in, w, sizeof *w, b, outs, act, out);
}

/* Half of what is cut off is added, less a little where the last bit kept is 0, so that ties go to
 * even. A NaN keeps its top bits and stays one. */
METE_WIDE void
mete_to_bf16(const float *x, size_t n, uint16_t *out)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
        out[i] = (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? bits >> 16 | 0x40 : rounded);
    }
}
