/* preference_model.h - what the files of the preference model share. */
#ifndef PREFERENCE_MODEL_H
#define PREFERENCE_MODEL_H

#include <mete/reward.h>

enum { LOSS_BT, LOSS_FOCAL, LOSS_HINGE, LOSS_BRIER, LOSS_DAVIDSON, LOSS_RAO_KUPPER };
enum { MARGIN_SHIFT, MARGIN_SCALE };
enum { COMBINE_MEAN, COMBINE_WORST, COMBINE_LOWER };

/* Numbers of the tensor "state". */
enum { STATE_BEST, STATE_SINCE, STATE_INVERSE_TEMPERATURE, STATE_KEPT, STATE_NUMBERS };

/* One version of the weights: the learning one, or the best so far on what is held out.
 * table [buckets x width]; with hidden units bias [width] and out [members x columns x hidden]. */
struct weights {
    const float *table, *bias, *out;
};

struct preference_model {
    int64_t buckets, words, chars_from, chars_to, hidden, members, patience, bins;
    double length_power, rate, decay, focal, tie, centre, correlation, mmd, bandwidth, orthogonal,
        caution;
    int loss, margin_as, combine, aside, calibrate;
    mete_strings context;
    mete_nodes spurious;
    mete_field margin;

    mete_field *field;                   /* [context.count] */
    size_t columns, width, outs;         /* of a member; of a table's row; all outputs */
    int table, bias, out;                /* tensors: the weights, */
    int table_sum, bias_sum, out_sum;    /* their sums of squared gradients, */
    int best_table, best_bias, best_out; /* and the best so far, with patience */
    int state;
    float *grad;      /* [buckets x width] zero between minibatches */
    uint8_t *touched; /* [buckets] likewise */
};

/* ---- features.c: a text as a bag of hashed n-grams ------------------------------------------- */

struct bags {
    uint32_t *bucket; /* of all rows, one after another, with repeats */
    size_t *offset;   /* [rows + 1] */
};
/* Room for the buckets of one row, and scratch for finding them. */
struct bag_scratch {
    uint64_t *word, *gram, *known;
    uint32_t *bucket;
    size_t room; /* longest text it holds */
};

int bag_scratch_make(mete_ctx *cx, const struct preference_model *p, const mete_batch *batch,
                     struct bag_scratch *out);
/* Buckets of row's response into scratch->bucket; returns how many. */
size_t bag_of(const struct preference_model *p, const mete_batch *batch, size_t row,
              struct bag_scratch *scratch);
int bags_of(mete_ctx *cx, const struct preference_model *p, const mete_batch *batch,
            struct bags *out);
/* What the sum over n features is multiplied by: n^-length_power. */
double bag_scale(const struct preference_model *p, size_t n);

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
/* The inverse temperature t that minimises the mean cross-entropy of sigma(t d) [n] against
 * chance [n], from 0.01 to 100. */
double calibrate(const double *d, const double *chance, size_t n);
double log1p_exp(double x);

/* ---- learn.c --------------------------------------------------------------------------------- */

struct weights learning_weights(mete_ctx *cx, const struct preference_model *p);
/* The weights that score: the best so far where they are kept, else the learning ones. */
struct weights scoring_weights(mete_ctx *cx, const struct preference_model *p);
/* Outputs [outs] of a bag; unit [width]: what came before them, kept for learning. */
void forward(const struct preference_model *p, const struct weights *w, const uint32_t *bucket,
             size_t n, float *unit, double *out);
/* The value of a row by its members' outputs [outs]; their standard deviation in *spread (may be
 * NULL). */
double combine(const struct preference_model *p, const double *out, double *spread);
int preference_fit_batch(mete_ctx *cx, void *self, const mete_batch *batch, uint64_t step);
int preference_fit_end(mete_ctx *cx, void *self, uint64_t epoch, const mete_batch *validation,
                       int *stop);

#endif
