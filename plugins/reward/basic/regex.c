/* regex - does a response match a pattern (PCRE2, compiled by its JIT)?
 * pkg-config: libpcre2-8
 *
 * What a model wrote is hostile to a backtracking matcher, so matching has limits; a response that
 * reaches them is failed, not 0.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <mete/reward.h>
#include <mete/text.h>
#include <pcre2.h>

enum { MATCH, FULL, COUNT };

struct regex {
    const char *pattern;
    int mode;
    int64_t match_limit;
    double value, otherwise;
    pcre2_code *code;
    pcre2_match_context *limits;
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
    int code;
    PCRE2_SIZE at;
    uint32_t flags = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF |
                     (p->mode == FULL ? PCRE2_ENDANCHORED | PCRE2_ANCHORED : 0);
    p->code = pcre2_compile((PCRE2_SPTR)p->pattern, PCRE2_ZERO_TERMINATED, flags, &code, &at, NULL);
    if (!p->code) {
        PCRE2_UCHAR text[200];
        pcre2_get_error_message(code, text, sizeof text);
        return mete_fail(cx, METE_EINVAL, "pattern, at byte %zu: %s", (size_t)at + 1, (char *)text);
    }
    pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE); /* without it the matcher interprets */
    p->limits = pcre2_match_context_create(NULL);
    if (!p->limits)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    pcre2_set_match_limit(p->limits, (uint32_t)p->match_limit);
    pcre2_set_depth_limit(p->limits, (uint32_t)p->match_limit);
    return METE_OK;
}

static void
close_regex(mete_ctx *cx, void *self)
{
    struct regex *p = self;
    (void)cx;
    pcre2_code_free(p->code);
    pcre2_match_context_free(p->limits);
}

/* Number of matches (at most one unless counting), or a negative PCRE2 error. */
static int
matches(const struct regex *p, mete_text text, pcre2_match_data *data)
{
    PCRE2_SPTR subject = (PCRE2_SPTR)(text.data ? text.data : "");
    size_t at = 0;
    int count = 0;
    for (;;) {
        int found = pcre2_match(p->code, subject, text.length, at, 0, data, p->limits);
        if (found == PCRE2_ERROR_NOMATCH)
            return count;
        if (found < 0)
            return found;
        count++;
        const PCRE2_SIZE *span = pcre2_get_ovector_pointer(data);
        at = span[1];
        if (span[1] == span[0]) { /* an empty match: go on at the next code point */
            if (at >= text.length)
                return count;
            mete_utf8_next(text, &at);
        }
        if (p->mode != COUNT || at > text.length)
            return count;
    }
}

static int
score(mete_ctx *cx, const void *self, const mete_batch *batch, mete_scores *out)
{
    const struct regex *p = self;
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(p->code, NULL);
    if (!batch->response || !data) {
        pcre2_match_data_free(data);
        return mete_fail(cx, METE_EDATA, "there are no responses to match");
    }
    for (size_t i = 0; i < batch->episodes; i++) {
        int count = matches(p, batch->response[i], data);
        if (count < 0)
            mete_row_fail(cx, i, METE_FAILED, "the match was given up (PCRE2 error %d)", count);
        else
            out->episode[i] = p->mode == COUNT ? p->value * count + (count ? 0 : p->otherwise)
                              : count          ? p->value
                                               : p->otherwise;
    }
    pcre2_match_data_free(data);
    return METE_OK;
}

METE_REWARD_PLUGIN(
    regex, "1.0", "a pattern in the response",
    .doc =
        "Bytes that are not UTF-8 match nothing. A match that takes more than match_limit steps\n"
        "marks the row failed.",
    .options = options, .state_size = sizeof(struct regex), .open = open_regex,
    .close = close_regex, .score = score);
