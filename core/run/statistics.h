/* statistics.h - how sure a comparison of runs is: point estimates, intervals, tests.
 *
 * Sources: Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical
 * precipice" (interquartile mean, stratified bootstrap, probability of improvement, performance
 * profiles); Student 1908 (intervals of a mean); Hesterberg 2015, "What teachers should know about
 * the bootstrap" (expanded percentile intervals); Fisher 1935 (permutation by sign flips); Holm
 * 1979; Hedges 1981 (small-sample correction). Nothing keeps state: the same key gives the same
 * interval.
 */
#ifndef METE_RUN_STATISTICS_H
#define METE_RUN_STATISTICS_H

#include <mete/random.h>
#include <stdbool.h>

double mete__mean(const double *x, size_t n); /* NaN when n is 0 */
double mete__sd(const double *x, size_t n);   /* of a sample (n - 1); NaN when n < 2 */

/* Mean of the middle half: floor(n / 4) values are left out at either end. x is not changed;
 * `sorted` is scratch [n]. NaN when n is 0. */
double mete__iqm(const double *x, size_t n, double *sorted);

/* Share of values greater than each threshold: tau -> P(x > tau). */
void mete__profile(const double *x, size_t n, const double *threshold, size_t thresholds,
                   double *share);

/* P(x > y) + P(x = y) / 2 over all pairs of a value of x and one of y. */
double mete__improvement(const double *x, size_t n, const double *y, size_t m);

/* What is estimated from values: mete__mean or the like. `scratch` has room for n values. */
typedef double mete__estimate(const double *x, size_t n, double *scratch);
double mete__estimate_mean(const double *x, size_t n, double *scratch);
#define mete__estimate_iqm mete__iqm

typedef struct mete__interval {
    double lo, point, hi;
} mete__interval;

/* Percentile bootstrap interval of an estimate of x[0..n). Values come in strata (tasks) of
 * size[k] values each, one after another, and are drawn with replacement within their stratum;
 * strata = 1 with size = &n is the plain bootstrap. Of `resamples` draws the quantiles at
 * (1 -+ confidence) / 2 are taken, linearly between order statistics. Returns 0, or -1 when out of
 * memory. With few values a percentile interval is too short: of a normal's mean a nominal 95%
 * covers 83% of the time at n = 5, 90% at 10, 94% at 30; see mete__expanded. */
int mete__bootstrap(const double *x, const size_t *size, size_t strata, mete__estimate *estimate,
                    size_t resamples, double confidence, uint64_t key, mete__interval *out);

/* The t that |Student's t| of `freedom` >= 1 degrees stays below with probability `confidence`. */
double mete__student(double confidence, size_t freedom);
/* mean -+ t sd / sqrt(n), t of n - 1 degrees: exact for normal values, of any n. lo and hi are NaN
 * when n < 2. How often a nominal 95% covers (20,000 samples each; normal, uniform, t5, exponential
 * values): n = 5: .95 .93 .96 .88; 10: .95 .95 .95 .90; 30: .95 .95 .95 .93. So of values as skewed
 * as an exponential's it is too short below n = 30; paired differences of like runs are near
 * symmetric. */
void mete__mean_interval(const double *x, size_t n, double confidence, mete__interval *out);
/* The confidence to ask of mete__bootstrap so that a percentile interval of n values is as wide as
 * Student's is of a mean (Hesterberg's expansion); `confidence` itself when n < 2. With it 95% of
 * an interquartile mean covers (3,000 samples each, of the same): n = 5: .94 .93 .94 .95;
 * 10: .97 .97 .97 .97; 30: .96 .95 .96 .95. */
double mete__expanded(double confidence, size_t n);

/* Two-sided p-value of paired differences d under "their signs are chance": the share of sign
 * assignments whose |sum| is at least the observed one (equal up to 1e-12 of the largest possible).
 * All 2^n of them for n <= 20, exactly; beyond, `draws` random ones, (hits + 1) / (draws + 1),
 * whose standard error is at most 1 / (2 sqrt(draws)). 1 when n is 0. */
double mete__sign_flip(const double *d, size_t n, size_t draws, uint64_t key);

/* Holm's step-down adjustment: p [n] becomes the family-wise adjusted p [n], in the same order. */
void mete__holm(double *p, size_t n);

/* Standardised mean of paired differences, mean / sd, times 1 - 3 / (4 (n - 1) - 1); NaN when n < 3
 * or nothing varies. */
double mete__effect(const double *d, size_t n);

/* Mean height of the polyline through (x[k], y[k]), x rising: its area over its width; y[0] when
 * n is 1. */
double mete__area(const double *x, const double *y, size_t n);
/* The first x at which y reaches `threshold`, between points linearly; false when it never does
 * (the run is censored: it may have reached it later). */
bool mete__reaches(const double *x, const double *y, size_t n, double threshold, double *at);

#endif
