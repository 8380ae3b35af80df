/* packed.c - a batch of rows through a small dense layer: the weights are packed once a call.
 *
 * OpenBLAS packs both sides of every product and adds to what stands in the result; a layer of a
 * few thousand weights is done sooner than that. Each output is its bias and then the products of
 * all inputs in order, by fused multiply-adds: the same bits for a row whatever rows stand beside
 * it, and for either width of vector. Bias, sums and activation of a block of rows stay in the
 * first cache. */
#include "nn/nn.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>

/* Weights packed on the stack; fewer outputs leave most of a panel empty; rows a block. */
#define MOST_WEIGHTS ((size_t)1 << 14)
#define MOST_OUTS ((size_t)512)
#define FEWEST ((size_t)8)
#define BLOCK ((size_t)32)
/* Outputs a panel at most: two vectors of AVX-512. */
#define WIDEST ((size_t)32)

/* One panel of outputs for some rows; `bias` has the panel's width. */
typedef void (*panel)(const float *x, size_t in, const float *w, const float *bias, float *out,
                      size_t step);

struct panels {
    size_t rows, outs; /* of `many`; `one` takes a row */
    panel one, many;
};

#define PANEL(name, TARGET, VECTOR, LANES, LOAD, STORE, FMA, SPREAD, ROWS)                         \
    __attribute__((target(TARGET))) static void name(const float *x, size_t in, const float *w,    \
                                                     const float *bias, float *out, size_t step)   \
    {                                                                                              \
        VECTOR sum[ROWS][2];                                                                       \
        _Pragma("GCC unroll 8") for (size_t r = 0; r < ROWS; r++)                                  \
        {                                                                                          \
            sum[r][0] = LOAD(bias);                                                                \
            sum[r][1] = LOAD(bias + LANES);                                                        \
        }                                                                                          \
        for (size_t k = 0; k < in; k++) {                                                          \
            VECTOR low = LOAD(w + 2 * k * LANES), high = LOAD(w + (2 * k + 1) * LANES);            \
            _Pragma("GCC unroll 8") for (size_t r = 0; r < ROWS; r++)                              \
            {                                                                                      \
                VECTOR given = SPREAD(x[r * in + k]);                                              \
                sum[r][0] = FMA(given, low, sum[r][0]);                                            \
                sum[r][1] = FMA(given, high, sum[r][1]);                                           \
            }                                                                                      \
        }                                                                                          \
        _Pragma("GCC unroll 8") for (size_t r = 0; r < ROWS; r++)                                  \
        {                                                                                          \
            STORE(out + r * step, sum[r][0]);                                                      \
            STORE(out + r * step + LANES, sum[r][1]);                                              \
        }                                                                                          \
    }
PANEL(avx2_1, "avx2,fma", __m256, 8, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps,
      _mm256_set1_ps, 1)
PANEL(avx2_4, "avx2,fma", __m256, 8, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps,
      _mm256_set1_ps, 4)
PANEL(avx512_1, "avx512f", __m512, 16, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps,
      _mm512_set1_ps, 1)
PANEL(avx512_8, "avx512f", __m512, 16, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps,
      _mm512_set1_ps, 8)

static struct panels
panels_here(void)
{
    if (__builtin_cpu_supports("avx512f"))
        return (struct panels){8, 32, avx512_1, avx512_8};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return (struct panels){4, 16, avx2_1, avx2_4};
    return (struct panels){0};
}

/* Four outputs' weights of four inputs each, turned. */
static inline void
turn(const float *w, size_t in, float *to, size_t wide)
{
    __m128 a = _mm_loadu_ps(w), b = _mm_loadu_ps(w + in), c = _mm_loadu_ps(w + 2 * in),
           d = _mm_loadu_ps(w + 3 * in);
    _MM_TRANSPOSE4_PS(a, b, c, d);
    _mm_storeu_ps(to, a);
    _mm_storeu_ps(to + wide, b);
    _mm_storeu_ps(to + 2 * wide, c);
    _mm_storeu_ps(to + 3 * wide, d);
}

/* w [outs x in] -> panels of [in x wide], the last filled up with zeros. */
static void
pack(const float *w, size_t in, size_t outs, size_t wide, float *to)
{
    for (size_t o = 0; o < outs; o += wide, to += in * wide) {
        size_t some = outs - o < wide ? outs - o : wide, whole = in / 4 * 4, at = 0;
        if (some < wide)
            memset(to, 0, in * wide * sizeof *to);
        for (; at + 4 <= some; at += 4)
            for (size_t k = 0; k < whole; k += 4)
                turn(w + (o + at) * in + k, in, to + k * wide + at, wide);
        for (size_t i = 0; i < some; i++)
            for (size_t k = i < at ? whole : 0; k < in; k++)
                to[k * wide + i] = w[(o + i) * in + k];
    }
}

/* `rows` rows of one panel whose last outputs may not be there. */
static void
run_panel(const struct panels *p, const float *x, size_t rows, size_t in, const float *w,
          const float *bias, size_t some, float *out, size_t outs)
{
    float kept[8 * WIDEST];
    for (size_t r = 0, taken; r < rows; r += taken) {
        taken = rows - r < p->rows ? 1 : p->rows;
        panel run = taken > 1 ? p->many : p->one;
        bool whole = some == p->outs;
        run(x + r * in, in, w, bias, whole ? out + r * outs : kept, whole ? outs : p->outs);
        for (size_t i = 0; !whole && i < taken; i++)
            memcpy(out + (r + i) * outs, kept + i * p->outs, some * sizeof *out);
    }
}

bool
mete__dense_packed(const float *x, size_t n, size_t in, const float *w, const float *b, size_t outs,
                   mete_activation act, float *out)
{
    struct panels p = panels_here();
    size_t panels = p.outs ? (outs + p.outs - 1) / p.outs : 0;
    if (!panels || !in || outs < FEWEST || outs > MOST_OUTS || panels * p.outs > MOST_WEIGHTS / in)
        return false;
    float packed[MOST_WEIGHTS], bias[MOST_OUTS] = {0};
    pack(w, in, outs, p.outs, packed);
    if (b)
        memcpy(bias, b, outs * sizeof *bias);
    for (size_t r = 0; r < n; r += BLOCK) {
        size_t rows = n - r < BLOCK ? n - r : BLOCK;
        for (size_t k = 0, o = 0; k < panels; k++, o += p.outs)
            run_panel(&p, x + r * in, rows, in, packed + k * in * p.outs, bias + o,
                      outs - o < p.outs ? outs - o : p.outs, out + r * outs + o, outs);
        mete__activate(act, out + r * outs, rows * outs);
    }
    return true;
}
#else
bool
mete__dense_packed(const float *x, size_t n, size_t in, const float *w, const float *b, size_t outs,
                   mete_activation act, float *out)
{
    (void)x, (void)n, (void)in, (void)w, (void)b, (void)outs, (void)act, (void)out;
    return false;
}
#endif
