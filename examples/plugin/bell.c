/* bell - score a response by how near its length is to a target. */
#include <math.h>
#include <mete/reward.h>

struct bell {
    double target, width;
};

static const mete_option options[] = {
    METE_REAL(struct bell, target, 400, 1, 1e6, "response length, in bytes, that scores 1"),
    METE_REAL(struct bell, width, 100, 1e-3, 1e6, "standard deviation of the bell, in bytes"),
    METE_OPTIONS_END};

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct bell *p = self;
    for (size_t i = 0; i < batch->episodes; i++) {
        double z = ((double)batch->response[i].length - p->target) / p->width;
        out->episode[i] = exp(-0.5 * z * z);
    }
    return METE_OK;
}

METE_REWARD_PLUGIN(bell, "1.0", "bell-shaped reward on response length", .options = options,
                   .state_size = sizeof(struct bell), .score = score);
