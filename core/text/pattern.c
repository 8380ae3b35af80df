/* pattern.c - PCRE2 behind <mete/pattern.h>. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <mete/pattern.h>
#include <mete/text.h>

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

struct mete_pattern {
    pcre2_code *code;
    pcre2_match_context *limits;
};

struct mete_matcher {
    pcre2_match_data *data;
    int groups; /* of the last match */
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
    mete_matcher *matcher = calloc(1, sizeof *matcher);
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

static int
find(const mete_pattern *pattern, mete_text text, size_t from, mete_matcher *matcher)
{
    matcher->groups = pcre2_match(pattern->code, (PCRE2_SPTR)(text.data ? text.data : ""),
                                  text.length, from, 0, matcher->data, pattern->limits);
    if (matcher->groups == 0) /* more groups than the matcher has room for: those that fit */
        matcher->groups = (int)pcre2_get_ovector_count(matcher->data);
    if (matcher->groups == PCRE2_ERROR_NOMATCH)
        matcher->groups = 0;
    return matcher->groups;
}

int
mete_pattern_find(const mete_pattern *pattern, mete_text text, mete_matcher *matcher)
{
    return find(pattern, text, 0, matcher);
}

mete_text
mete_matcher_group(const mete_matcher *matcher, mete_text text, uint32_t number)
{
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(matcher->data) + 2 * (size_t)number;
    if (matcher->groups <= 0 || number >= (uint32_t)matcher->groups || span[0] == PCRE2_UNSET)
        return (mete_text){"", 0};
    return mete_text_slice(text, span[0], span[1]);
}

int
mete_pattern_named(const mete_pattern *pattern, mete_text name)
{
    char copy[64]; /* PCRE2 allows names of 32 bytes */
    if (name.length >= sizeof copy)
        return -1;
    memcpy(copy, name.data, name.length);
    copy[name.length] = 0;
    int number = pcre2_substring_number_from_name(pattern->code, (PCRE2_SPTR)copy);
    return number > 0 ? number : -1;
}

int
mete_pattern_count(const mete_pattern *pattern, mete_text text, int most, mete_matcher *matcher)
{
    size_t at = 0;
    int count = 0;
    while (count < most && at <= text.length) {
        int found = find(pattern, text, at, matcher);
        if (found <= 0)
            return found < 0 ? found : count;
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
