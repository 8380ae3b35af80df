/* regex - does a response match a pattern (PCRE2, compiled by its JIT)?
 *
 * What a model wrote is hostile to a backtracking matcher, so matching has limits; a response that
 * reaches them is failed, not 0.
 */
#include <limits.h>
#include <mete/pattern.h>
#include <mete/reward.h>

enum { MATCH, FULL, COUNT };

struct regex {
    const char *pattern;
    int mode;
    int64_t match_limit;
    double value, otherwise;
    mete_pattern *compiled;
};

static const mete_option options[] = {
    METE_STRING(struct regex, pattern, NULL, METE_REQUIRED, "the pattern, in PCRE2's syntax"),
    METE_ENUM(struct regex, mode, MATCH, "match|full|count",
              "match: anywhere; full: the whole response; count: value times the matches"),
    METE_REAL(struct regex, value, 1, -1e9, 1e9, "score of a match"),
    METE_REAL(struct regex, otherwise, 0, -1e9, 1e9, "score without one"),
    METE_INT(struct regex, match_limit, 1000000, 1, 1 << 30, "steps a match may take"),
    METE_OPTIONS_END};

static int
open_regex(mete_ctx *cx, void *self)
{
    struct regex *p = self;
    mete_error err = {0};
    p->compiled =
        mete_pattern_new(mete_text_from(p->pattern), p->mode == FULL ? METE_PATTERN_WHOLE : 0,
                         (uint32_t)p->match_limit, &err);
    return p->compiled ? METE_OK : mete_fail(cx, err.code, "pattern, %s", err.message);
}

static void
close_regex(mete_ctx *cx, void *self)
{
    (void)cx;
    mete_pattern_free(((struct regex *)self)->compiled);
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct regex *p = self;
    mete_matcher *matcher = mete_matcher_new();
    if (!batch->response || !matcher) {
        mete_matcher_free(matcher);
        return mete_fail(cx, METE_EDATA, "there are no responses to match");
    }
    for (size_t i = 0; i < batch->episodes; i++) {
        int count = mete_pattern_count(p->compiled, batch->response[i],
                                       p->mode == COUNT ? INT_MAX : 1, matcher);
        if (count < 0)
            mete_row_fail(cx, i, METE_FAILED, "the match was given up (PCRE2 error %d)", count);
        else
            out->episode[i] = p->mode == COUNT ? p->value * count + (count ? 0 : p->otherwise)
                              : count          ? p->value
                                               : p->otherwise;
    }
    mete_matcher_free(matcher);
    return METE_OK;
}

METE_REWARD_PLUGIN(
    regex, "1.0", "a pattern in the response",
    .doc =
        "Bytes that are not UTF-8 match nothing. A match that takes more than match_limit steps\n"
        "marks the row failed.",
    .options = options, .state_size = sizeof(struct regex), .open = open_regex,
    .close = close_regex, .score = score);
