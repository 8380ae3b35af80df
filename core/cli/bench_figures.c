/* bench_figures.c - see bench.h. */
#include "cli/bench.h"
#include "run/statistics.h"

#include <math.h>
#include <stdlib.h>

#define BINS 10
#define HEALTH_RESAMPLES 1000

mete__pair_figures
mete__bench_pairs(const double *d, size_t n)
{
    mete__pair_figures f = {0};
    double sure[BINS] = {0}, right[BINS] = {0};
    for (size_t k = 0; k < n; k++) {
        double p = 1 / (1 + exp(-d[k])), confidence = 1 / (1 + exp(-fabs(d[k])));
        size_t bin = (size_t)((confidence - .5) * 2 * BINS);
        bin = bin < BINS ? bin : BINS - 1;
        sure[bin] += confidence;
        right[bin] += d[k] > 0 ? 1 : d[k] < 0 ? 0 : .5;
        f.accuracy += d[k] > 0;
        f.ties += d[k] == 0;
        f.brier += (1 - p) * (1 - p);
        f.nll += d[k] > 0 ? log1p(exp(-d[k])) : log1p(exp(d[k])) - d[k];
    }
    for (size_t b = 0; b < BINS; b++)
        f.ece += fabs(sure[b] - right[b]) / (double)n;
    f.accuracy /= (double)n;
    f.ties /= (double)n;
    f.brier /= (double)n;
    f.nll /= (double)n;
    return f;
}

static const double *by;

static int
rising(const void *a, const void *b)
{
    double x = by[*(const size_t *)a], y = by[*(const size_t *)b];
    return (x > y) - (x < y);
}

double
mete__bench_auroc(const double *score, const bool *chosen, size_t n, size_t *order)
{
    double ranks = 0, positive = 0;
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    by = score;
    qsort(order, n, sizeof *order, rising);
    for (size_t from = 0, to; from < n; from = to) {
        for (to = from; to < n && score[order[to]] == score[order[from]]; to++)
            ;
        double rank = .5 * (double)(from + to + 1); /* from 1, the mean of those tied */
        for (size_t i = from; i < to; i++) {
            ranks += chosen[order[i]] ? rank : 0;
            positive += chosen[order[i]];
        }
    }
    double negative = (double)n - positive;
    return (ranks - positive * (positive + 1) / 2) / (positive * negative);
}

void
mete__bench_matrix(const double *score, double *hard, double *normal, double *easy)
{
    *hard = *normal = *easy = 0;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            *(i < j ? hard : i == j ? normal : easy) += score[i] > score[3 + j] ? 1. / 3 : 0;
}

double
mete__bench_best(const double *score, size_t chosen, size_t rejected)
{
    double most = -INFINITY, at = 0, good = 0;
    for (size_t i = 0; i < chosen + rejected; i++)
        most = score[i] > most ? score[i] : most;
    for (size_t i = 0; i < chosen + rejected; i++) {
        at += score[i] == most;
        good += score[i] == most && i < chosen;
    }
    return good / at;
}

static double
clip(double x)
{
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

mete__clipped
mete__bench_clipped(const double *x, size_t n, uint64_t key)
{
    double sum = 0, square = 0, first = clip(mete__mean(x, n));
    for (size_t r = 0; r < HEALTH_RESAMPLES; r++) {
        mete_rng rng = mete_rng_make(key, r, 0);
        double drawn = 0;
        for (size_t i = 0; i < n; i++)
            drawn += x[mete_rng_below(&rng, (uint32_t)n)];
        double off = clip(drawn / (double)n) - first; /* from the mean: nothing cancels */
        sum += off;
        square += off * off;
    }
    sum /= HEALTH_RESAMPLES;
    double variance = square / HEALTH_RESAMPLES - sum * sum;
    return (mete__clipped){first, sqrt(variance > 0 ? variance : 0)};
}

mete__balanced
mete__bench_balanced(const mete__agreement *count)
{
    double wrong = count->judge_met + count->judge_unmet;
    mete__balanced f = {.met = 2 * count->both_met / (2 * count->both_met + wrong),
                        .unmet = 2 * count->both_unmet / (2 * count->both_unmet + wrong)};
    f.mean = (f.met + f.unmet) / 2;
    return f;
}
