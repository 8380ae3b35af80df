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

static double
measure(const struct length *p, const mete_batch *batch, size_t i)
{
    if (p->unit == TOKENS)
        return batch->step_begin[i + 1] - batch->step_begin[i];
    if (p->unit == WORDS)
        return (double)mete_words(batch->response[i], 0, NULL, 0);
    return (double)batch->response[i].length;
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct length *p = self;
    if (p->unit != TOKENS && !batch->response)
        return mete_fail(cx, METE_EDATA, "there are no responses to measure");
    for (size_t i = 0; i < batch->episodes; i++) {
        double n = measure(p, batch, i), z = (n - p->target) / p->width;
        switch (p->shape) {
        case BELL:
            out->episode[i] = exp(-0.5 * z * z);
            break;
        case RAMP:
            out->episode[i] = fmax(0, fmin(1, 1 - z));
            break;
        case LINEAR:
            out->episode[i] = n / p->target;
            break;
        case POWER:
            out->episode[i] = pow(n / p->target, p->width);
            break;
        default:
            out->episode[i] = 0.5 * (1 + cos(M_PI * fmin(n, p->target) / p->target));
        }
    }
    return METE_OK;
}

METE_REWARD_PLUGIN(
    length, "1.0", "reward on the length of a response",
    .doc =
        "bell: 1 at target, falling off with width. ramp: 1 up to target, 0 from target + width.\n"
        "linear: n / target. power: (n / target)^width. cosine: 1 at 0, 0 from target on.",
    .options = options, .state_size = sizeof(struct length), .score = score);
