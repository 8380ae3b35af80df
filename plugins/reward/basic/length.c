/* length - score a response by its length: a bell, a ramp, a line, a power or a half cosine.
 *
 *   bell    exp(-((n - target) / width)^2 / 2)
 *   ramp    1 up to target, falling to 0 over width
 *   linear  n / target
 *   power   (n / target)^width
 *   cosine  (1 + cos(pi min(n, target) / target)) / 2: from 1 at 0 down to 0 at target
 */
#include <math.h>
#include <mete/reward.h>
#include <mete/text.h>

enum { BELL, RAMP, LINEAR, POWER, COSINE };
enum { BYTES, WORDS, TOKENS };

struct length {
    int shape, unit;
    double target, width;
};

static const mete_option options[] = {
    METE_ENUM(struct length, shape, BELL, "bell|ramp|linear|power|cosine", "how length counts"),
    METE_ENUM(struct length, unit, BYTES, "bytes|words|tokens",
              "what is counted; a token is a step"),
    METE_REAL(struct length, target, 400, 1, 1e9, "the length that matters (see the shapes)"),
    METE_REAL(struct length, width, 100, 1e-3, 1e9,
              "spread of the bell, reach of the ramp, exponent"),
    METE_OPTIONS_END};

static void
measure(const struct length *p, const mete_batch *batch, double *n)
{
    size_t rows = batch->episodes;
    if (p->unit == TOKENS)
        for (size_t i = 0; i < rows; i++)
            n[i] = batch->step_begin[i + 1] - batch->step_begin[i];
    else if (p->unit == WORDS)
        for (size_t i = 0; i < rows; i++)
            n[i] = (double)mete_words(batch->response[i], 0, NULL, 0);
    else
        for (size_t i = 0; i < rows; i++)
            n[i] = (double)batch->response[i].length;
}

static double
shaped(const struct length *p, double n)
{
    switch (p->shape) {
    case RAMP:
        return fmax(0, fmin(1, 1 - (n - p->target) / p->width));
    case LINEAR:
        return n / p->target;
    case POWER:
        return pow(n / p->target, p->width);
    default:
        return 0.5 * (1 + cos(M_PI * fmin(n, p->target) / p->target));
    }
}

/* The usual case in one pass over the responses. */
static void
bell_of_bytes(const mete_text *response, size_t rows, double target, double width, double *value)
{
    for (size_t i = 0; i < rows; i++) {
        double z = ((double)response[i].length - target) / width;
        value[i] = exp(-0.5 * z * z);
    }
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct length *p = self;
    double *value = out->episode, target = p->target, width = p->width;
    if (p->unit != TOKENS && !batch->response)
        return mete_fail(cx, METE_EDATA, "there are no responses to measure");
    if (p->shape == BELL && p->unit == BYTES) {
        bell_of_bytes(batch->response, batch->episodes, target, width, value);
        return METE_OK;
    }
    measure(p, batch, value);
    for (size_t i = 0; i < batch->episodes; i++) {
        double z = (value[i] - target) / width;
        value[i] = p->shape == BELL ? exp(-0.5 * z * z) : shaped(p, value[i]);
    }
    return METE_OK;
}

METE_REWARD_PLUGIN(
    length, "1.0", "reward on the length of a response",
    .doc =
        "bell: 1 at target, falling off with width. ramp: 1 up to target, 0 from target + width.\n"
        "linear: n / target. power: (n / target)^width. cosine: 1 at 0, 0 from target on.",
    .options = options, .state_size = sizeof(struct length), .score = score);
