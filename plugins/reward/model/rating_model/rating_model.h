/* rating_model.h - what the files of the rating model share. */
#ifndef RATING_MODEL_H
#define RATING_MODEL_H

#include "../common/net.h"

enum { KIND_REGRESSION, KIND_DISTRIBUTION, KIND_ORDINAL };

#define LEVELS_MOST 1000

struct rating_model {
    struct net net; /* first: its options are this struct's */
    int64_t levels;
    double low, high;
    int kind;
    mete_field rating;
    mete_node *teacher;

    size_t offsets;                      /* of a member: see terms.c */
    int offset, offset_sum, best_offset; /* tensors [members x offsets] */
};

/* ---- terms.c: what a member's outputs say of a rating ---------------------------------------- */
/* Ratings are shares of the range here, from 0 (low) to 1 (high), levels evenly spaced in it.
 *   regression    the rating is out + offset, one of each
 *   distribution  level k has a share of e^(out_k + offset_k) (Bellemare et al. 2017); a rating
 *                 between levels is the mixture of the two that has it as its mean
 *   ordinal       the chance of more than level k is sigma(out + offset_k), one output and
 *                 levels - 1 offsets (CORAL; Cao et al. 2020, arXiv:1901.07884) */

/* The loss at `share`; its slopes by out [1 or levels] and offset [1, levels or levels - 1]. */
double rating_loss(int kind, size_t levels, const double *out, const double *offset, double share,
                   double *out_slope, double *offset_slope);
/* The expected rating, and its variance where the kind has one, else 0. */
double rating_mean(int kind, size_t levels, const double *out, const double *offset,
                   double *variance);

/* ---- learn.c --------------------------------------------------------------------------------- */

/* The rating and spread, as shares, by the outputs of all members [outs] and offsets. */
double rating_of(const struct rating_model *p, const double *out, const double *offset,
                 double *spread);
/* The offsets that go with the weights that score, as doubles in the arena; NULL after an error. */
double *scoring_offsets(mete_ctx *cx, const struct rating_model *p);
int rating_fit_batch(mete_ctx *cx, void *self, const mete_batch *batch, uint64_t step);
int rating_fit_end(mete_ctx *cx, void *self, uint64_t epoch, const mete_batch *validation,
                   int *stop);

#endif
