/* preference_model.h - what the files of the preference model share. */
#ifndef PREFERENCE_MODEL_H
#define PREFERENCE_MODEL_H

#include "../common/net.h"

enum { LOSS_BT, LOSS_FOCAL, LOSS_HINGE, LOSS_BRIER, LOSS_DAVIDSON, LOSS_RAO_KUPPER };
enum { MARGIN_SHIFT, MARGIN_SCALE };
enum { COMBINE_MEAN, COMBINE_WORST, COMBINE_LOWER };

struct preference_model {
    struct net net; /* first: its options are this struct's */
    int64_t bins;
    double focal, tie, centre, correlation, mmd, bandwidth, orthogonal, caution, mismatch,
        adversary;
    int loss, margin_as, combine, aside, calibrate;
    mete_nodes spurious;
    mete_field margin, tag, attribute;
    mete_strings heads, classes;

    /* A member's outputs: a value for each head, then the one aside, then the adversary's classes.
     */
    size_t values;
};

/* ---- terms.c: losses and their slopes -------------------------------------------------------- */

/* The loss of a pair whose values differ by d = a - b, when a is preferred with probability p;
 * *slope is its derivative by d. `margin` as the options say; 0 where there is none. */
double pair_loss(const struct preference_model *p, double d, double chance, double margin,
                 double *slope);
/* |Pearson correlation| of x and z over n rows, or the signed one; weight times its derivative by x
 * is added to slope. 0 where either does not vary. */
double correlation_term(const double *x, const double *z, size_t n, int absolute, double weight,
                        double *slope);
/* Sum over pairs of bins of the squared maximum mean discrepancy (Gretton et al. 2012, biased
 * estimate) of x between rows of one bin of z and of another; bins are z's quantiles, equal z in
 * one bin. The kernel is exp(-(x - x')^2 / (2 (bandwidth sd)^2)), its sd of x held fixed in the
 * derivative, weight times which is added to slope. rank [n] is scratch. */
double mmd_term(const double *x, const double *z, size_t n, size_t bins, double bandwidth,
                double weight, uint32_t *rank, double *slope);
/* Cross-entropy -log softmax(out)[is] over n classes, times weight; weight times its derivative by
 * out is added to slope [n]. */
double class_term(const double *out, size_t n, size_t is, double weight, double *slope);
/* The inverse temperature t that minimises the mean cross-entropy of sigma(t d) [n] against
 * chance [n], from 0.01 to 100. */
double calibrate(const double *d, const double *chance, size_t n);
double log1p_exp(double x);

/* ---- learn.c --------------------------------------------------------------------------------- */

/* The value of a row by its members' outputs [outs] of one head; their standard deviation in
 * *spread (may be NULL). */
double combine(const struct preference_model *p, const double *out, size_t head, double *spread);
/* Which of `names` the row's column says; names->count: none of them. */
size_t named(const mete_strings *names, const mete_field *field, const mete_batch *batch,
             size_t row);
int preference_fit_batch(mete_ctx *cx, void *self, const mete_batch *batch, uint64_t step);
int preference_fit_end(mete_ctx *cx, void *self, uint64_t epoch, const mete_batch *validation,
                       int *stop);

#endif
