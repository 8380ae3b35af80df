/* kernel.c - loops that carry the arithmetic: activations, exp, softmax, products.
 *
 * No contraction and no reassociation, so each build of a loop for a vector width gives the same
 * bits. Products go to OpenBLAS on one thread.
 */
#include "nn/nn.h"

#include <cblas.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- OpenBLAS ---------------------------------------------------------------------------- */

/* How OpenBLAS chooses its kernels anew; builds for one processor only lack these. */
extern void gotoblas_dynamic_init(void) __attribute__((weak));
extern void gotoblas_dynamic_quit(void) __attribute__((weak));

#if defined(__x86_64__) && defined(__GNUC__)
/* OpenBLAS knows processors by their model numbers and falls back to its SSE3 kernels ("Prescott",
 * five times slower) on any newer than itself. Such a one is told to use the kernels for the
 * instructions it has. A choice made by the user (OPENBLAS_CORETYPE) stands. */
static void
choose_kernels(void)
{
    if (!gotoblas_dynamic_init || !gotoblas_dynamic_quit || getenv("OPENBLAS_CORETYPE") ||
        strcmp(openblas_get_corename(), "Prescott") != 0)
        return;
    __builtin_cpu_init();
    const char *core = NULL;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        core = "SkylakeX";
    else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        core = "Haswell";
    if (!core || setenv("OPENBLAS_CORETYPE", core, 1))
        return;
    gotoblas_dynamic_quit();
    gotoblas_dynamic_init();
    unsetenv("OPENBLAS_CORETYPE");
}
#else
static void
choose_kernels(void)
{
}
#endif

static void
open_once(void)
{
    choose_kernels();
    openblas_set_num_threads(1);
}

void
mete__nn_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, open_once);
}

void
mete__nn_fingerprint(char *out, size_t size)
{
    snprintf(out, size, "%s; threads %d", openblas_get_config(), openblas_get_num_threads());
}

/* Where exp and tanh clip what they are given. A loop reads them once: gcc must not know them, or
 * it works out the rest of the function for a clipped number, and branches to it instead of going
 * on with vectors. */
struct clips {
    float most, least;
};
static const volatile struct clips exp_clips = {88.0f, -87.3f}, tanh_clips = {7.90531f, -7.90531f};

static inline float
clip(float x, struct clips at)
{
    float y = x > at.most ? at.most : x;
    return y < at.least ? at.least : y;
}

/* exp by 2^n times a polynomial on [-ln2/2, ln2/2]; below -87.3 the power is 0, and the result. */
static inline float
exp_one(float x, struct clips at)
{
    float clipped = clip(x, at);
    float n = clipped * 1.44269504f;
    n = (n + 12582912.0f) - 12582912.0f; /* to the nearest integer */
    float r = clipped - n * 0.693145752f;
    r = r - n * 1.42860677e-6f;
    float p = 1.98412698e-4f;
    p = p * r + 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    union {
        int32_t bits;
        float value;
    } power = {.bits = ((int32_t)n + 127) * 8388608 & -(int32_t) !(x < at.least)};
    return p * power.value;
}

METE_WIDE void
mete__exp(const float *x, float *out, size_t n)
{
    const struct clips at = exp_clips;
    for (size_t i = 0; i < n; i++)
        out[i] = exp_one(x[i], at);
}

/* A rational minimax fit, odd over even, on [-7.9, 7.9], past which float32's tanh is 1. */
static inline float
tanh_one(float x, struct clips at)
{
    float v = clip(x, at);
    float s = v * v;
    float p = -2.76076848e-16f;
    p = p * s + 2.00018790e-13f;
    p = p * s - 8.60467152e-11f;
    p = p * s + 5.12229709e-08f;
    p = p * s + 1.48572236e-05f;
    p = p * s + 6.37261929e-04f;
    p = p * s + 4.89352456e-03f;
    float q = 1.19825839e-06f;
    q = q * s + 1.18534706e-04f;
    q = q * s + 2.26843463e-03f;
    q = q * s + 4.89352519e-03f;
    return v * p / q;
}

METE_WIDE void
mete__tanh(float *x, size_t n)
{
    const struct clips at = tanh_clips;
    for (size_t i = 0; i < n; i++)
        x[i] = tanh_one(x[i], at);
}

METE_WIDE void
mete__sigmoid(float *x, size_t n)
{
    const struct clips at = exp_clips;
    for (size_t i = 0; i < n; i++)
        x[i] = 1 / (1 + exp_one(-x[i], at));
}

METE_WIDE static void
relu(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] > 0 ? x[i] : 0;
}

/* gelu(x) = x/2 (1 + tanh u), u = sqrt(2/pi) (x + .044715 x^3). */
METE_WIDE static void
gelu(float *x, size_t n)
{
    const struct clips at = tanh_clips;
    for (size_t i = 0; i < n; i++)
        x[i] =
            0.5f * x[i] * (1 + tanh_one(0.79788456f * (x[i] + 0.044715f * x[i] * x[i] * x[i]), at));
}

METE_WIDE static void
gelu_slope(const float *restrict x, float *restrict slope, size_t n)
{
    const struct clips at = tanh_clips;
    for (size_t i = 0; i < n; i++) {
        float v = x[i], t = tanh_one(0.79788456f * (v + 0.044715f * v * v * v), at);
        slope[i] = 0.5f * (1 + t) + 0.5f * v * (1 - t * t) * 0.79788456f * (1 + 0.134145f * v * v);
    }
}

/* silu(x) = x / (1 + exp(-x)) */
METE_WIDE static void
silu(float *x, size_t n)
{
    const struct clips at = exp_clips;
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] / (1 + exp_one(-x[i], at));
}

METE_WIDE static void
silu_slope(const float *restrict x, float *restrict slope, size_t n)
{
    const struct clips at = exp_clips;
    for (size_t i = 0; i < n; i++) {
        float gate = 1 / (1 + exp_one(-x[i], at));
        slope[i] = gate * (1 + x[i] * (1 - gate));
    }
}

void
mete__activate(mete_activation act, float *x, size_t n)
{
    if (act == METE_TANH)
        mete__tanh(x, n);
    else if (act == METE_RELU)
        relu(x, n);
    else if (act == METE_GELU)
        gelu(x, n);
    else if (act == METE_SILU)
        silu(x, n);
}

METE_WIDE static void
multiply(float *restrict to, const float *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] *= x[i];
}

void
mete_gated_run(float *gate, const float *up, size_t n, mete_activation act)
{
    mete__activate(act, gate, n);
    multiply(gate, up, n);
}

bool
mete__slope_of_input(mete_activation act)
{
    return act == METE_GELU || act == METE_SILU;
}

METE_WIDE static void
tanh_slope(const float *restrict y, float *restrict slope, size_t n)
{
    for (size_t i = 0; i < n; i++)
        slope[i] = 1 - y[i] * y[i];
}

void
mete__slope(mete_activation act, const float *from, float *slope, size_t n)
{
    if (act == METE_TANH)
        tanh_slope(from, slope, n);
    else if (act == METE_GELU)
        gelu_slope(from, slope, n);
    else if (act == METE_SILU)
        silu_slope(from, slope, n);
    else
        for (size_t i = 0; i < n; i++)
            slope[i] = act == METE_RELU ? from[i] > 0 : 1;
}

METE_WIDE static void
tanh_back(const float *restrict y, float *restrict grad, size_t n)
{
    for (size_t i = 0; i < n; i++)
        grad[i] *= 1 - y[i] * y[i];
}

void
mete__activate_back(mete_activation act, const float *from, float *grad, size_t n)
{
    float slope[256];
    if (act == METE_TANH) {
        tanh_back(from, grad, n);
        return;
    }
    for (size_t at = 0; act != METE_LINEAR && at < n; at += 256) {
        size_t some = n - at < 256 ? n - at : 256;
        mete__slope(act, from + at, slope, some);
        multiply(grad + at, slope, some);
    }
}

METE_WIDE void
mete__add_rows(const float *restrict x, size_t rows, size_t columns, float *restrict sum)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < columns; k++)
            sum[k] += x[i * columns + k];
}

void
mete__product(int ta, int tb, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
              const float *b, size_t ldb, float beta, float *c, size_t ldc)
{
    if (!m || !n || !k)
        return;
    if (m == 1 && !ta)
        cblas_sgemv(CblasRowMajor, tb ? CblasNoTrans : CblasTrans, (int)(tb ? n : k),
                    (int)(tb ? k : n), alpha, b, (int)ldb, a, 1, beta, c, 1);
    else
        cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans,
                    (int)m, (int)n, (int)k, alpha, a, (int)lda, b, (int)ldb, beta, c, (int)ldc);
}

void
mete_dense_run(const float *x, size_t n, size_t in, const float *w, const float *b, size_t outs,
               mete_activation act, float *out)
{
    float keep = b ? 1.0f : 0.0f;
    if (n > 1 && mete__dense_packed(x, n, in, w, b, outs, act, out))
        return;
    for (size_t i = 0; b && i < n; i++)
        memcpy(out + i * outs, b, outs * sizeof *out);
    if (n == 1)
        cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)outs, (int)in, 1, w, (int)in, x, 1, keep, out,
                    1);
    else if (n)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)outs, (int)in, 1, x,
                    (int)in, w, (int)in, keep, out, (int)outs);
    mete__activate(act, out, n * outs);
}

/* In 16 parts, for vectors. */
METE_WIDE float
mete__max(const float *x, size_t n)
{
    float part[16], most = x[0];
    size_t i = 0;
    if (n >= 16) {
        memcpy(part, x, sizeof part);
        for (i = 16; i + 16 <= n; i += 16)
            for (size_t k = 0; k < 16; k++)
                part[k] = x[i + k] > part[k] ? x[i + k] : part[k];
        for (size_t k = 0; k < 16; k++)
            most = part[k] > most ? part[k] : most;
    }
    for (; i < n; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}

/* Sums in 16 parts: the order is fixed and the loop vectorises. Fewer than 16 numbers are the same
 * sum, each part being one. */
METE_WIDE double
mete__exp_sum(const float *x, size_t n, float less)
{
    const struct clips at = exp_clips;
    float part[16] = {0};
    double sum = 0;
    size_t i = 0;
    for (; n < 16 && i < n; i++)
        sum += (double)exp_one(x[i] - less, at);
    if (n < 16)
        return sum;
    for (; i + 16 <= n; i += 16)
        for (size_t k = 0; k < 16; k++)
            part[k] += exp_one(x[i + k] - less, at);
    for (; i < n; i++)
        part[i & 15] += exp_one(x[i] - less, at);
    for (size_t k = 0; k < 16; k++)
        sum += (double)part[k];
    return sum;
}

METE_WIDE void
mete__exp_less(const float *x, float *out, size_t n, float less)
{
    const struct clips at = exp_clips;
    for (size_t i = 0; i < n; i++)
        out[i] = exp_one(x[i] - less, at);
}

METE_WIDE float
mete__dot(const float *a, const float *b, size_t n)
{
    float part[16] = {0}, sum = 0;
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (size_t k = 0; k < 16; k++)
            part[k] += a[i + k] * b[i + k];
    for (; i < n; i++)
        part[i & 15] += a[i] * b[i];
    for (size_t k = 0; k < 16; k++)
        sum += part[k];
    return sum;
}

METE_WIDE void
mete__add_scaled(float *restrict to, float scale, const float *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] += scale * x[i];
}

void
mete_log_softmax_run(float *x, size_t rows, size_t columns, const uint8_t *mask)
{
    for (size_t r = 0; r < rows; r++) {
        float *row = x + r * columns;
        const uint8_t *allowed = mask ? mask + r * columns : NULL;
        for (size_t i = 0; allowed && i < columns; i++)
            if (!allowed[i])
                row[i] = -1e30f;
        float most = mete__max(row, columns);
        float by = (float)log(mete__exp_sum(row, columns, most));
        for (size_t i = 0; i < columns; i++)
            row[i] = allowed && !allowed[i] ? -1e30f : (row[i] - most) - by;
    }
}
