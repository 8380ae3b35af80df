/* kind: reward */
/* Asks for a column that only measuring nodes may see. */
#include "mischief.h"

struct peeks {
    mete_field secret;
};

static const mete_option options[] = {
    METE_FIELD(struct peeks, secret, "secret", METE_EPISODE, METE_F64, METE_OPTIONAL, "the gold"),
    METE_OPTIONS_END};

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct peeks *p = self;
    const double *secret = mete_f64_of(batch, &p->secret);
    (void)cx;
    for (size_t i = 0; i < batch->episodes; i++)
        out->episode[i] = secret ? secret[i] : -1;
    return METE_OK;
}

METE_REWARD_PLUGIN(peeks, "1", "what it can see of the gold", .options = options,
                   .state_size = sizeof(struct peeks), .score = score);
