/* optimiser.h - steps over a flat parameter vector. The moments are plain arrays, so a checkpoint
 * writes them like anything else. */
#ifndef METE_NN_OPTIMISER_H
#define METE_NN_OPTIMISER_H

#include <mete/base.h>

typedef enum mete__optimiser_kind {
    METE__SGD,  /* momentum: v = mu v + g; p -= rate v */
    METE__ADAM, /* Kingma & Ba 2015, algorithm 1; weight decay is added to the gradient */
    METE__ADAMW /* Loshchilov & Hutter 2019, algorithm 2: decoupled weight decay */
} mete__optimiser_kind;

typedef struct mete__optimiser {
    mete__optimiser_kind kind;
    double beta1, beta2, epsilon; /* SGD: beta1 is the momentum */
    double weight_decay;
    double clip_norm; /* largest Euclidean norm of the gradient; 0: none */
    size_t count;
    float *m, *v; /* [count]; SGD has no v */
    uint64_t t;   /* steps taken */
} mete__optimiser;

/* Allocates moments, zero, for `count` parameters. */
int mete__optimiser_init(mete__optimiser *optimiser, size_t count, mete_error *err);
void mete__optimiser_free(mete__optimiser *optimiser);
/* One step with learning rate `rate`. Gives the gradient's norm before clipping in *norm. A
 * gradient that is not finite changes nothing and is METE_EPLUGIN. `grad` may be scaled in place.
 * */
int mete__optimiser_step(mete__optimiser *optimiser, float *parameter, float *grad, double rate,
                         double *norm, mete_error *err);

#endif
