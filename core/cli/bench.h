/* bench.h - what a reward is measured by: cases of a file, and figures from its scores. */
#ifndef METE_CLI_BENCH_H
#define METE_CLI_BENCH_H

#include <stdbool.h>
#include <stddef.h>

/* A case: `chosen` responses that should score higher than `rejected` others, those first. */
typedef struct mete__case {
    size_t first; /* of its scores */
    size_t chosen, rejected;
    size_t subset;
    bool matrix; /* three styles each, plainest first (RM-Bench) */
    int longer;  /* a pair: 1 the chosen one has more bytes, -1 the rejected one, 0 neither */
} mete__case;

/* Pairs: d[k] is the chosen one's score less the rejected one's. */
typedef struct mete__pair_figures {
    double accuracy, ties; /* d > 0 (a tie is no win), d = 0 */
    double brier;          /* mean of (1 - sigma(d))^2 */
    double nll;            /* mean of -log sigma(d) */
    double ece; /* expected calibration error of sigma(|d|), ten equal bins (Guo et al. 2017) */
} mete__pair_figures;
mete__pair_figures mete__bench_pairs(const double *d, size_t n);

/* Area under the ROC curve of telling chosen from rejected by score, ties half: Mann & Whitney
 * by ranks. score [n] and chosen [n]; order [n] is scratch. NaN where one kind is missing. */
double mete__bench_auroc(const double *score, const bool *chosen, size_t n, size_t *order);

/* RM-Bench (Liu et al. 2025): win[i][j] is chosen style i above rejected style j; hard is above the
 * diagonal, normal on it, easy below. score [6]: chosen, then rejected. */
void mete__bench_matrix(const double *score, double *hard, double *normal, double *easy);

/* One to many (RewardBench 2): the share of the highest scores that are chosen ones. */
double mete__bench_best(const double *score, size_t chosen, size_t rejected);

#endif
