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

typedef void (*tile)(const float *x, size_t in, const void *w, float *out, size_t step);

/* Tiles by rows (1 or `rows`) and outputs (1 or 4; NULL: only 1). */
struct tiles {
    size_t rows;
    tile one_one, one_four, many_one, many_four;
};

static inline float
widen(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#define SAME(x) (x)

/* Inputs [from, in) added to the parts they belong to. */
#define ADD_INPUTS(x, w, ONE_WEIGHT, from, in, part)                                               \
    for (size_t k = from; k < (in); k++)                                                           \
    (part)[k % LANES] = __builtin_fmaf((x)[k], ONE_WEIGHT((w)[k]), (part)[k % LANES])

#define PLAIN(name, WEIGHT, ONE_WEIGHT)                                                            \
    static void name(const float *x, size_t in, const void *weights, float *out, size_t step)      \
    {                                                                                              \
        const WEIGHT *w = weights;                                                                 \
        float part[LANES] = {0};                                                                   \
        (void)step;                                                                                \
        ADD_INPUTS(x, w, ONE_WEIGHT, 0, in, part);                                                 \
        *out = tree(part);                                                                         \
    }
PLAIN(plain_1_1, float, SAME)
PLAIN(plain_half_1_1, uint16_t, widen)

#if defined(__x86_64__)
#include <immintrin.h>

/* One tile of ROWS rows by OUTS outputs. VECTOR holds VECTOR_LANES numbers; LANES of them are one
 * output's parts. QUARTER takes the first two steps of the tree, and FOUR the last two for four
 * outputs at once. One row waits for its weights: those of the next outputs are asked for. */
#define TILE(...) TILE_OF(__VA_ARGS__)
#define TILE_OF(name, TARGET, VECTOR, VECTOR_LANES, ZERO, LOAD, STORE, FMA, QUARTER, WEIGHT,       \
                LOAD_WEIGHT, ONE_WEIGHT, ROWS, OUTS)                                               \
    TARGET static void name(const float *x, size_t in, const void *weights, float *out,            \
                            size_t step)                                                           \
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
                    __builtin_prefetch(w + (o + OUTS) * in + at);                                  \
                    _Pragma("GCC unroll 4") for (size_t r = 0; r < ROWS; r++) sum[r][o][v] =       \
                        FMA(given[r], weight, sum[r][o][v]);                                       \
                }                                                                                  \
            }                                                                                      \
        if (OUTS == 4 && whole == in)                                                              \
            _Pragma("GCC unroll 4") for (size_t r = 0; r < ROWS; r++)                              \
                four(QUARTER(sum[r][0]), QUARTER(sum[r][1 % OUTS]), QUARTER(sum[r][2 % OUTS]),     \
                     QUARTER(sum[r][3 % OUTS]), out + r * step);                                   \
        else                                                                                       \
            for (size_t r = 0; r < ROWS; r++)                                                      \
                for (size_t o = 0; o < OUTS; o++) {                                                \
                    float part[LANES];                                                             \
                    for (size_t v = 0; v < VECTORS; v++)                                           \
                        STORE(part + v * VECTOR_LANES, sum[r][o][v]);                              \
                    ADD_INPUTS(x + r * in, w + o * in, ONE_WEIGHT, whole, in, part);               \
                    out[r * step + o] = tree(part);                                                \
                }                                                                                  \
    }

/* Four outputs' four parts each -> out [4]. */
static inline void
four(__m128 a, __m128 b, __m128 c, __m128 d, float *out)
{
    _MM_TRANSPOSE4_PS(a, b, c, d);
    _mm_storeu_ps(out, _mm_add_ps(_mm_add_ps(a, c), _mm_add_ps(b, d)));
}

#define TARGET_AVX2 __attribute__((target("avx2,fma")))
#define TARGET_AVX512 __attribute__((target("avx512f")))

TARGET_AVX2 static inline __m128
quarter_avx2(const __m256 *sum)
{
    __m256 half = _mm256_add_ps(sum[0], sum[1]);
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

TARGET_AVX512 static inline __m128
quarter_avx512(const __m512 *sum)
{
    __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(*sum), 1));
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(*sum), high);
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

#define AVX2                                                                                       \
    TARGET_AVX2, __m256, 8, _mm256_setzero_ps(), _mm256_loadu_ps, _mm256_storeu_ps,                \
        _mm256_fmadd_ps, quarter_avx2
#define AVX512                                                                                     \
    TARGET_AVX512, __m512, 16, _mm512_setzero_ps(), _mm512_loadu_ps, _mm512_storeu_ps,             \
        _mm512_fmadd_ps, quarter_avx512
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

/* Numbers of w that stay in the second cache while blocks of rows go by, and of a block of rows in
 * the first. */
#define WEIGHTS ((size_t)1 << 16)
#define INPUTS ((size_t)3 << 11)

/* As many lines of `in` numbers as fit `room`, a multiple of `step`, at least that. */
static size_t
fitting(size_t room, size_t in, size_t step)
{
    size_t some = room / (in ? in : 1) / step * step;
    return some ? some : step;
}

/* Rows [from, to) by outputs [first, last), a tile at a time; size: bytes a weight. */
static void
block(const struct tiles *t, const float *x, size_t from, size_t to, size_t in, const char *w,
      size_t size, size_t first, size_t last, size_t outs, float *out)
{
    size_t many = t->many_four && last - first >= 4 ? 4 : 1;
    for (size_t o = first; o < last; o += many) {
        many = last - o < many ? 1 : many;
        tile one = many == 4 ? t->one_four : t->one_one;
        tile all = many == 4 ? t->many_four : t->many_one;
        for (size_t r = from, rows; r < to; r += rows) {
            rows = to - r < t->rows ? 1 : t->rows;
            (rows > 1 ? all : one)(x + r * in, in, w + o * in * size, out + r * outs + o, outs);
        }
    }
}

static void
dense_rows(const struct tiles *t, const float *x, size_t n, size_t in, const void *w, size_t size,
           const float *b, size_t outs, mete_activation act, float *out)
{
    size_t some = fitting(WEIGHTS, in, 4), rows = fitting(INPUTS, in, t->rows);
    for (size_t o = 0; o < outs; o += some)
        for (size_t r = 0; r < n; r += rows)
            block(t, x, r, n - r < rows ? n : r + rows, in, w, size, o,
                  outs - o < some ? outs : o + some, outs, out);
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
