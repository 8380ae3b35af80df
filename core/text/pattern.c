/* pattern.c - PCRE2 behind <mete/pattern.h>. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <mete/pattern.h>
#include <mete/text.h>

#include <pcre2.h>
#include <stdlib.h>

struct mete_pattern {
    pcre2_code *code;
    pcre2_match_context *limits;
};

struct mete_matcher {
    pcre2_match_data *data;
};

mete_pattern *
mete_pattern_new(mete_text text, unsigned flags, uint32_t limit, mete_error *err)
{
    int code = 0;
    PCRE2_SIZE at = 0;
    uint32_t options = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF |
                       (flags & METE_PATTERN_WHOLE ? PCRE2_ENDANCHORED | PCRE2_ANCHORED : 0);
    mete_pattern *pattern = calloc(1, sizeof *pattern);
    if (!pattern || !(pattern->limits = pcre2_match_context_create(NULL))) {
        mete_pattern_free(pattern);
        mete_error_set(err, METE_ENOMEM, "out of memory");
        return NULL;
    }
    pattern->code = pcre2_compile((PCRE2_SPTR)(text.data ? text.data : ""), text.length, options,
                                  &code, &at, NULL);
    if (!pattern->code) {
        PCRE2_UCHAR message[200];
        pcre2_get_error_message(code, message, sizeof message);
        mete_error_set(err, METE_EINVAL, "at byte %zu: %s", (size_t)at + 1, (char *)message);
        mete_pattern_free(pattern);
        return NULL;
    }
    pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE); /* without it the matcher interprets */
    pcre2_set_match_limit(pattern->limits, limit);
    pcre2_set_depth_limit(pattern->limits, limit);
    return pattern;
}

void
mete_pattern_free(mete_pattern *pattern)
{
    if (!pattern)
        return;
    pcre2_code_free(pattern->code);
    pcre2_match_context_free(pattern->limits);
    free(pattern);
}

mete_matcher *
mete_matcher_new(void)
{
    mete_matcher *matcher = malloc(sizeof *matcher);
    if (matcher && !(matcher->data = pcre2_match_data_create(64, NULL))) {
        free(matcher);
        return NULL;
    }
    return matcher;
}

void
mete_matcher_free(mete_matcher *matcher)
{
    if (matcher)
        pcre2_match_data_free(matcher->data);
    free(matcher);
}

int
mete_pattern_count(const mete_pattern *pattern, mete_text text, int most, mete_matcher *matcher)
{
    PCRE2_SPTR subject = (PCRE2_SPTR)(text.data ? text.data : "");
    size_t at = 0;
    int count = 0;
    while (count < most && at <= text.length) {
        int found =
            pcre2_match(pattern->code, subject, text.length, at, 0, matcher->data, pattern->limits);
        if (found == PCRE2_ERROR_NOMATCH)
            return count;
        if (found < 0)
            return found;
        const PCRE2_SIZE *span = pcre2_get_ovector_pointer(matcher->data);
        count++;
        at = span[1];
        if (span[1] == span[0]) { /* an empty match: go on at the next code point */
            if (at >= text.length)
                break;
            mete_utf8_next(text, &at);
        }
    }
    return count;
}
