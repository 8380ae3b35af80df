/* kind: reward */
/* Learns from pairs how much a byte of response is worth: P(a preferred to b) = sigma(w (length a -
 * length b)), one gradient step on the minibatch's mean log-likelihood. Tells what it is given. */
#include "mischief.h"

#include <math.h>

struct learner {
    double rate, patience;
    int handle;
};

static const mete_option options[] = {
    METE_REAL(struct learner, rate, 0.1, 0, 100, "step of the gradient"),
    METE_REAL(struct learner, patience, 1e9, 0, 1e9, "epochs after which it wants to stop"),
    METE_OPTIONS_END};

static int
open_learner(mete_ctx *cx, void *self)
{
    struct learner *p = self;
    p->handle =
        mete_tensor(cx, "worth", METE_F64, 4); /* worth, pairs seen, epochs, held-out pairs */
    return p->handle < 0 ? p->handle : METE_OK;
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const double *worth = mete_tensor_read(cx, ((const struct learner *)self)->handle);
    for (size_t i = 0; i < batch->episodes; i++)
        out->episode[i] = *worth * (double)batch->response[i].length;
    return METE_OK;
}

static int
fit_batch(mete_ctx *cx, void *self, const mete_batch *batch, uint64_t step)
{
    struct learner *p = self;
    double *worth = mete_tensor_write(cx, p->handle), slope = 0;
    for (size_t k = 0; k < batch->pairs; k++) {
        double x = (double)batch->response[batch->pair_a[k]].length -
                   (double)batch->response[batch->pair_b[k]].length;
        slope += (batch->pair_p[k] - 1 / (1 + exp(-*worth * x))) * x;
    }
    *worth += batch->pairs ? p->rate * slope / (double)batch->pairs : 0;
    worth[1] += (double)batch->pairs;
    mete_metric(cx, "worth", *worth);
    return METE_OK;
}

static int
fit_end(mete_ctx *cx, void *self, uint64_t epoch, const mete_batch *validation, int *stop)
{
    struct learner *p = self;
    double *worth = mete_tensor_write(cx, p->handle);
    worth[2] = (double)epoch + 1;
    worth[3] = (double)validation->pairs;
    *stop = worth[2] >= p->patience;
    return METE_OK;
}

METE_REWARD_PLUGIN(length_preference, "1", "worth of a byte, from pairs", .options = options,
                   .state_size = sizeof(struct learner), .open = open_learner, .score = score,
                   .fit_batch = fit_batch, .fit_end = fit_end);
