/* kind: reward */
/* Takes its time over a batch: a response's length, the batch's size as a signal. A response
 * "fault" is a fault of the whole call, "unjudged" one of its row. */
#include "mischief.h"

#include <string.h>
#include <unistd.h>

struct slow {
    double seconds;
    int size;
};

static const mete_option options[] = {
    METE_REAL(struct slow, seconds, 0.1, 0, 60, "seconds a batch takes"), METE_OPTIONS_END};

static int
open_slow(mete_ctx *cx, void *self)
{
    struct slow *p = self;
    p->size =
        mete_signal(cx, "size", METE_EPISODE, METE_ROLE_INFO, 0, 1e9, "episodes in the batch");
    return p->size < 0 ? p->size : METE_OK;
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct slow *p = self;
    double *size = mete_out(out, p->size);
    usleep((unsigned)(p->seconds * 1e6));
    for (size_t i = 0; i < batch->episodes; i++) {
        mete_text response = batch->response[i];
        out->episode[i] = (double)response.length;
        size[i] = (double)batch->episodes;
        if (response.length == 5 && memcmp(response.data, "fault", 5) == 0)
            return mete_fail(cx, METE_EIO, "asked to fail");
        if (response.length == 8 && memcmp(response.data, "unjudged", 8) == 0)
            mete_row_fail(cx, i, METE_FAILED, "the judge is out");
    }
    return METE_OK;
}

METE_REWARD_PLUGIN(slow, "1", "takes its time", .options = options,
                   .state_size = sizeof(struct slow), .flags = METE_WAITS, .open = open_slow,
                   .score = score);
