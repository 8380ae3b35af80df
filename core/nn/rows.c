/* rows.c - products of few rows with a matrix, each row's bits independent of the others.
 *
 * Every output is 16 partial sums, each over every sixteenth input in order, with fused
 * multiply-adds, then one fixed tree: the same for any number of rows, any tile and any width of
 * vector. Tiles of outputs and rows keep their sums in registers; a weight is read once for all
 * rows of a tile. */
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

/* Inputs past the last whole 16 go to the first parts. */
static inline float
finish(float *part, const float *x, const float *w, size_t from, size_t in)
{
    for (size_t k = from; k < in; k++)
        part[k - from] = __builtin_fmaf(x[k], w[k], part[k - from]);
    return tree(part);
}

/* One tile of ROWS rows by OUTS outputs. VECTOR holds VECTOR_LANES numbers; LANES of them are one
 * output's parts. */
#define TILE(name, target_of, VECTOR, VECTOR_LANES, ZERO, LOAD, STORE, FMA, ROWS, OUTS)            \
    target_of static void name(const float *x, size_t in, const float *w, float *out, size_t step) \
    {                                                                                              \
        enum { VECTORS = LANES / VECTOR_LANES };                                                   \
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
                    VECTOR weight = LOAD(w + o * in + at);                                         \
                    _Pragma("GCC unroll 4") for (size_t r = 0; r < ROWS; r++) sum[r][o][v] =       \
                        FMA(given[r], weight, sum[r][o][v]);                                       \
                }                                                                                  \
            }                                                                                      \
        for (size_t r = 0; r < ROWS; r++)                                                          \
            for (size_t o = 0; o < OUTS; o++) {                                                    \
                float part[LANES];                                                                 \
                for (size_t v = 0; v < VECTORS; v++)                                               \
                    STORE(part + v * VECTOR_LANES, sum[r][o][v]);                                  \
                out[r * step + o] = finish(part, x + r * in, w + o * in, whole, in);               \
            }                                                                                      \
    }

typedef void (*tile)(const float *x, size_t in, const float *w, float *out, size_t step);

/* Tiles by rows (1 or `rows`) and outputs (1 or 4). */
struct tiles {
    size_t rows;
    tile one_one, one_four, many_one, many_four;
};

static inline float
fma_one(float a, float b, float c)
{
    return __builtin_fmaf(a, b, c);
}

#define LOAD_ONE(p) (*(p))
#define STORE_ONE(p, v) (*(p) = (v))
TILE(plain_1_1, , float, 1, 0, LOAD_ONE, STORE_ONE, fma_one, 1, 1)

#if defined(__x86_64__)
#include <immintrin.h>
#define AVX2 __attribute__((target("avx2,fma")))
#define AVX512 __attribute__((target("avx512f")))
TILE(avx2_1_1, AVX2, __m256, 8, _mm256_setzero_ps(), _mm256_loadu_ps, _mm256_storeu_ps,
     _mm256_fmadd_ps, 1, 1)
TILE(avx2_1_4, AVX2, __m256, 8, _mm256_setzero_ps(), _mm256_loadu_ps, _mm256_storeu_ps,
     _mm256_fmadd_ps, 1, 4)
TILE(avx2_2_1, AVX2, __m256, 8, _mm256_setzero_ps(), _mm256_loadu_ps, _mm256_storeu_ps,
     _mm256_fmadd_ps, 2, 1)
TILE(avx2_2_4, AVX2, __m256, 8, _mm256_setzero_ps(), _mm256_loadu_ps, _mm256_storeu_ps,
     _mm256_fmadd_ps, 2, 4)
TILE(avx512_1_1, AVX512, __m512, 16, _mm512_setzero_ps(), _mm512_loadu_ps, _mm512_storeu_ps,
     _mm512_fmadd_ps, 1, 1)
TILE(avx512_1_4, AVX512, __m512, 16, _mm512_setzero_ps(), _mm512_loadu_ps, _mm512_storeu_ps,
     _mm512_fmadd_ps, 1, 4)
TILE(avx512_4_1, AVX512, __m512, 16, _mm512_setzero_ps(), _mm512_loadu_ps, _mm512_storeu_ps,
     _mm512_fmadd_ps, 4, 1)
TILE(avx512_4_4, AVX512, __m512, 16, _mm512_setzero_ps(), _mm512_loadu_ps, _mm512_storeu_ps,
     _mm512_fmadd_ps, 4, 4)
#endif

static struct tiles
tiles_here(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return (struct tiles){4, avx512_1_1, avx512_1_4, avx512_4_1, avx512_4_4};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return (struct tiles){2, avx2_1_1, avx2_1_4, avx2_2_1, avx2_2_4};
#endif
    return (struct tiles){1, plain_1_1, NULL, plain_1_1, NULL};
}

#define WEIGHTS ((size_t)1 << 16) /* numbers of w that stay in the cache while rows go by */

void
mete_dense_rows_run(const float *x, size_t n, size_t in, const float *w, const float *b,
                    size_t outs, mete_activation act, float *out)
{
    struct tiles t = tiles_here();
    size_t wide = t.many_four ? 4 : 1;
    size_t some = WEIGHTS / (in ? in : 1) / wide * wide;
    some = some < wide ? wide : some;
    for (size_t from = 0; from < outs; from += some) {
        size_t to = outs - from < some ? outs : from + some;
        for (size_t r = 0; r < n;) {
            size_t rows = n - r >= t.rows ? t.rows : 1;
            size_t o = from;
            for (; wide == 4 && o + 4 <= to; o += 4)
                (rows > 1 ? t.many_four : t.one_four)(x + r * in, in, w + o * in,
                                                      out + r * outs + o, outs);
            for (; o < to; o++)
                (rows > 1 ? t.many_one : t.one_one)(x + r * in, in, w + o * in, out + r * outs + o,
                                                    outs);
            r += rows;
        }
    }
    for (size_t i = 0; b && i < n; i++)
        mete__add_scaled(out + i * outs, 1, b, outs);
    mete__activate(act, out, n * outs);
}
