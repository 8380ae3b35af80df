/* rating_model - the rating a response would get, learnt from rated texts: scores, labels, grades.
 *
 * What is seen of a text, hidden units, members and the trunk are those of preference_model. The
 * outputs say the rating by `kind`: as a number (least squares), as a distribution over `levels`
 * from `low` to `high` (cross-entropy; Bellemare et al. 2017, arXiv:1707.06887), or as ordered
 * levels (CORAL; Cao et al. 2020, arXiv:1901.07884), which for two levels is logistic regression.
 * The value is the expected rating; the spread of a distribution is its standard deviation, and
 * that of members is added. `teacher` gives the ratings in place of the records: a reward is
 * distilled into one that is cheap. */
#include "rating_model.h"

static const mete_option options[] = {
    METE_ENUM(struct rating_model, kind, KIND_REGRESSION, "regression|distribution|ordinal",
              "how the outputs say a rating"),
    METE_REAL(struct rating_model, low, 0, -1e9, 1e9, "least rating"),
    METE_REAL(struct rating_model, high, 1, -1e9, 1e9, "greatest rating"),
    METE_INT(struct rating_model, levels, 2, 2, LEVELS_MOST,
             "of distribution and ordinal, evenly spaced from low to high"),
    METE_FIELD(struct rating_model, rating, "rating", METE_EPISODE, METE_TEXT, METE_OPTIONAL,
               "the number a text was rated"),
    METE_REWARD(struct rating_model, teacher, 0, "a reward whose values are the ratings"),
    NET_OPTIONS,
    METE_OPTIONS_END};

/* A number starts in the middle of the range. */
static int
start(mete_ctx *cx, const struct rating_model *p)
{
    float *offset = mete_tensor_write(cx, p->offset);
    for (size_t k = 0; offset && k < (size_t)p->net.members * p->offsets; k++)
        offset[k] = p->kind == KIND_REGRESSION ? .5f : 0;
    return offset ? METE_OK : METE_ENOMEM;
}

static int
open_model(mete_ctx *cx, void *self)
{
    struct rating_model *p = self;
    size_t levels = (size_t)p->levels;
    if (!(p->high > p->low))
        return mete_fail(cx, METE_EINVAL, "high (%g) must exceed low (%g)", p->high, p->low);
    if (p->net.head)
        return mete_fail(cx, METE_EINVAL, "head: a published score is no rating from low to high");
    p->net.columns = p->kind == KIND_DISTRIBUTION ? levels : 1;
    p->offsets = p->kind == KIND_ORDINAL ? levels - 1 : p->net.columns;
    if (p->net.members > 1 || p->kind == KIND_DISTRIBUTION)
        mete_spread(cx);
    int status = net_open(cx, &p->net);
    if (status)
        return status;
    size_t count = (size_t)p->net.members * p->offsets;
    p->offset = mete_tensor(cx, "offset", METE_F32, count);
    p->offset_sum = mete_tensor(cx, "offset_sum", METE_F32, count);
    p->best_offset = p->net.patience ? mete_tensor(cx, "best_offset", METE_F32, count) : 0;
    status = p->offset < 0 || p->offset_sum < 0 || p->best_offset < 0 ? METE_ENOMEM : start(cx, p);
    if (status)
        net_close(&p->net);
    return status;
}

static void
close_model(mete_ctx *cx, void *self)
{
    (void)cx;
    net_close(&((struct rating_model *)self)->net);
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct rating_model *p = self;
    double range = p->high - p->low, spread;
    double *value = mete_arena(cx, (batch->episodes + 1) * p->net.outs * sizeof *value);
    double *offset = scoring_offsets(cx, p);
    int status = value && offset ? net_score(cx, &p->net, batch, value)
                                 : mete_fail(cx, METE_ENOMEM, "out of memory");
    for (size_t i = 0; i < batch->episodes && !status; i++) {
        out->episode[i] = p->low + range * rating_of(p, value + i * p->net.outs, offset, &spread);
        if (out->spread)
            out->spread[i] = range * spread;
    }
    return status;
}

METE_REWARD_PLUGIN(
    rating_model, "1", "the rating a response would get, learnt from rated ones",
    .doc = "reward = { name = \"rm\"; use = \"rating_model\"; low = 1.0; high = 5.0; };\n"
           "stages = ( { do = \"fit\"; node = \"rm\"; data = \"rated.jsonl\"; epochs = 20; } );\n"
           "\n"
           "A record: {\"prompt\": \"...\", \"response\": \"...\", \"rating\": 4}",
    .options = options, .state_size = sizeof(struct rating_model),
    .reference = "Bellemare et al. 2017, arXiv:1707.06887; Cao et al. 2020, arXiv:1901.07884",
    .tags = "learnt text ratings", .open = open_model, .close = close_model, .score = score,
    .fit_batch = rating_fit_batch, .fit_end = rating_fit_end);
