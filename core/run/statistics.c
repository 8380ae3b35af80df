/* statistics.c - see statistics.h for what each is, and whose. */
#include "run/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EXACT_FLIPS 20

double
mete__mean(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return n ? sum / (double)n : NAN;
}

double
mete__sd(const double *x, size_t n)
{
    double mean = mete__mean(x, n), square = 0;
    for (size_t i = 0; i < n; i++)
        square += (x[i] - mean) * (x[i] - mean);
    return n > 1 ? sqrt(square / (double)(n - 1)) : NAN;
}

static int
by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double
mete__iqm(const double *x, size_t n, double *sorted)
{
    if (!n)
        return NAN;
    memcpy(sorted, x, n * sizeof *x);
    qsort(sorted, n, sizeof *sorted, by_size);
    return mete__mean(sorted + n / 4, n - 2 * (n / 4));
}

double
mete__estimate_mean(const double *x, size_t n, double *scratch)
{
    (void)scratch;
    return mete__mean(x, n);
}

void
mete__profile(const double *x, size_t n, const double *threshold, size_t thresholds, double *share)
{
    for (size_t k = 0; k < thresholds; k++) {
        size_t over = 0;
        for (size_t i = 0; i < n; i++)
            over += x[i] > threshold[k];
        share[k] = n ? (double)over / (double)n : NAN;
    }
}

double
mete__improvement(const double *x, size_t n, const double *y, size_t m)
{
    double wins = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < m; k++)
            wins += x[i] > y[k] ? 1 : x[i] == y[k] ? 0.5 : 0;
    return n && m ? wins / ((double)n * (double)m) : NAN;
}

/* ---- bootstrap ------------------------------------------------------------------------------- */

/* Quantile q of sorted values, linear between order statistics. */
static double
quantile(const double *sorted, size_t n, double q)
{
    double at = q * (double)(n - 1);
    size_t low = (size_t)at;
    if (low + 1 >= n)
        return sorted[n - 1];
    return sorted[low] + (at - (double)low) * (sorted[low + 1] - sorted[low]);
}

static void
draw(const double *x, const size_t *size, size_t strata, mete_rng *rng, double *out)
{
    for (size_t k = 0; k < strata; x += size[k++])
        for (size_t i = 0; i < size[k]; i++)
            *out++ = x[mete_rng_below(rng, (uint32_t)size[k])];
}

int
mete__bootstrap(const double *x, const size_t *size, size_t strata, mete__estimate *estimate,
                size_t resamples, double confidence, uint64_t key, mete__interval *out)
{
    size_t n = 0;
    for (size_t k = 0; k < strata; k++)
        n += size[k];
    double *drawn = malloc((2 * n + 1) * sizeof *drawn), *scratch = drawn + n;
    double *value = malloc((resamples + 1) * sizeof *value);
    if (!drawn || !value) {
        free(drawn);
        free(value);
        return -1;
    }
    out->point = out->lo = out->hi = estimate(x, n, scratch);
    for (size_t r = 0; r < resamples; r++) {
        mete_rng rng = mete_rng_make(key, r, 0);
        draw(x, size, strata, &rng, drawn);
        value[r] = estimate(drawn, n, scratch);
    }
    if (resamples && n) {
        qsort(value, resamples, sizeof *value, by_size);
        out->lo = quantile(value, resamples, (1 - confidence) / 2);
        out->hi = quantile(value, resamples, (1 + confidence) / 2);
    }
    free(drawn);
    free(value);
    return 0;
}

/* ---- Student --------------------------------------------------------------------------------- */

/* P(|t| < tan(angle) sqrt(freedom)): Abramowitz & Stegun 26.7.3 and 26.7.4, exact sums. */
static double
within(double angle, size_t freedom)
{
    double square = cos(angle) * cos(angle), sum = 0;
    double term = freedom % 2 ? cos(angle) : 1; /* a product of odd or even ratios and cosines */
    for (size_t k = freedom % 2 ? 3 : 2; k <= freedom; k += 2) {
        sum += term;
        term *= square * (double)(k - 1) / (double)k;
    }
    return freedom % 2 ? (angle + sin(angle) * sum) * M_2_PI : sin(angle) * sum;
}

double
mete__student(double confidence, size_t freedom)
{
    double lo = 0, hi = M_PI_2;
    for (int k = 0; k < 60; k++) {
        double middle = (lo + hi) / 2;
        if (within(middle, freedom) < confidence)
            lo = middle;
        else
            hi = middle;
    }
    return tan(lo) * sqrt((double)freedom);
}

void
mete__mean_interval(const double *x, size_t n, double confidence, mete__interval *out)
{
    double half = n > 1 ? mete__student(confidence, n - 1) * mete__sd(x, n) / sqrt((double)n) : NAN;
    out->point = mete__mean(x, n);
    out->lo = out->point - half;
    out->hi = out->point + half;
}

double
mete__expanded(double confidence, size_t n)
{
    if (n < 2)
        return confidence;
    double t = mete__student(confidence, n - 1) * sqrt((double)n / (double)(n - 1));
    return erf(t / M_SQRT2);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static double
sum_of_flips(const double *d, size_t n, uint64_t signs)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += signs >> i & 1 ? -d[i] : d[i];
    return sum;
}

static double
sum_of_random_flips(const double *d, size_t n, mete_rng *rng)
{
    double sum = 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < n; i++) {
        bits = i % 32 ? bits >> 1 : mete_rng_bits(rng);
        sum += bits & 1 ? -d[i] : d[i];
    }
    return sum;
}

double
mete__sign_flip(const double *d, size_t n, size_t draws, uint64_t key)
{
    double largest = 0, seen = fabs(sum_of_flips(d, n, 0));
    size_t hits = 0;
    if (!n)
        return 1;
    if (n <= EXACT_FLIPS) {
        for (size_t i = 0; i < n; i++)
            largest += fabs(d[i]);
        for (uint64_t signs = 0; signs < UINT64_C(1) << n; signs++)
            hits += fabs(sum_of_flips(d, n, signs)) >= seen - 1e-12 * largest;
        return (double)hits / (double)(UINT64_C(1) << n);
    }
    seen = 0;
    for (size_t i = 0; i < n; i++) {
        seen += d[i];
        largest += fabs(d[i]);
    }
    for (size_t r = 0; r < draws; r++) {
        mete_rng rng = mete_rng_make(key, r, 1);
        hits += fabs(sum_of_random_flips(d, n, &rng)) >= fabs(seen) - 1e-12 * largest;
    }
    return ((double)hits + 1) / ((double)draws + 1);
}

void
mete__holm(double *p, size_t n)
{
    /* The k-th smallest (from 0) is worth n - k times itself, and never less than the one before:
     * adj(p) = max over q <= p of min(1, q x how many are not smaller). Few arms: no sorting. */
    double *adjusted = malloc((n + 1) * sizeof *adjusted);
    for (size_t i = 0; adjusted && i < n; i++) {
        adjusted[i] = 0;
        for (size_t j = 0; j < n; j++) {
            size_t rank = 0; /* how many stand before j; ties by place */
            if (p[j] > p[i] || (p[j] == p[i] && j > i))
                continue;
            for (size_t k = 0; k < n; k++)
                rank += p[k] < p[j] || (p[k] == p[j] && k < j);
            adjusted[i] = fmax(adjusted[i], fmin(1, p[j] * (double)(n - rank)));
        }
    }
    for (size_t i = 0; i < n; i++)
        p[i] = adjusted ? adjusted[i] : NAN;
    free(adjusted);
}

double
mete__effect(const double *d, size_t n)
{
    double sd = mete__sd(d, n);
    if (n < 3 || !(sd > 0))
        return NAN;
    return mete__mean(d, n) / sd * (1 - 3 / (4 * (double)(n - 1) - 1));
}

/* ---- curves ---------------------------------------------------------------------------------- */

double
mete__area(const double *x, const double *y, size_t n)
{
    double area = 0;
    for (size_t k = 1; k < n; k++)
        area += (x[k] - x[k - 1]) * (y[k] + y[k - 1]) / 2;
    return n == 0 ? NAN : n == 1 || x[n - 1] == x[0] ? y[0] : area / (x[n - 1] - x[0]);
}

bool
mete__reaches(const double *x, const double *y, size_t n, double threshold, double *at)
{
    for (size_t k = 0; k < n; k++) {
        if (!(y[k] >= threshold))
            continue;
        *at = x[k];
        if (k && y[k] > y[k - 1])
            *at = x[k - 1] + (x[k] - x[k - 1]) * (threshold - y[k - 1]) / (y[k] - y[k - 1]);
        return true;
    }
    return false;
}
