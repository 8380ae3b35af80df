/* pattern.c - patterns over what a scripted model is told, and templates of what it says.
 *
 * What it is told may be hostile to a backtracking matcher, so matching has limits; a text that
 * reaches them makes a failed reply. */
#include "scripted.h"

#include <string.h>

pcre2_code *
pattern_compile(mete_ctx *cx, const char *what, mete_text pattern)
{
    int code;
    PCRE2_SIZE at;
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)pattern.data, pattern.length,
                                         PCRE2_UTF | PCRE2_MATCH_INVALID_UTF, &code, &at, NULL);
    if (!compiled) {
        PCRE2_UCHAR text[200];
        pcre2_get_error_message(code, text, sizeof text);
        mete_fail(cx, METE_EINVAL, "%s, at byte %zu: %s", what, (size_t)at + 1, (char *)text);
        return NULL;
    }
    pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE); /* without it the matcher interprets */
    return compiled;
}

struct match
pattern_find(const struct scripted *p, const pcre2_code *code, mete_text text,
             pcre2_match_data *data)
{
    int found = pcre2_match(code, (PCRE2_SPTR)(text.data ? text.data : ""), text.length, 0, 0, data,
                            p->limits);
    return (struct match){text, data, found == PCRE2_ERROR_NOMATCH ? 0 : found};
}

mete_text
match_group(const struct match *match, uint32_t number)
{
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(match->data);
    if (match->groups <= 0 || number >= (uint32_t)match->groups || span[2 * number] == PCRE2_UNSET)
        return (mete_text){"", 0};
    return mete_text_slice(match->text, span[2 * number], span[2 * number + 1]);
}

/* The number of group ${name}, whose name ends at `end`; -1 when there is none. */
static int
named_group(const pcre2_code *code, const char *name, size_t length)
{
    char copy[64];
    if (length >= sizeof copy)
        return -1;
    memcpy(copy, name, length);
    copy[length] = 0;
    return pcre2_substring_number_from_name(code, (PCRE2_SPTR)copy);
}

static void
fill(mete_buffer *out, mete_text text, int quote)
{
    for (size_t i = 0; i < text.length; i++) {
        /* A backslash before what is neither letter nor digit makes it stand for itself. */
        unsigned char c = (unsigned char)text.data[i];
        if (quote && c < 128 &&
            !((c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_'))
            mete_buffer_byte(out, '\\');
        mete_buffer_byte(out, text.data[i]);
    }
}

int
template_fill(mete_ctx *cx, const char *text, const struct match *match, const pcre2_code *code,
              int quote, mete_text *out)
{
    mete_buffer made = mete_buffer_make(0);
    for (const char *at = text; *at; at++) {
        const char *close = at[0] == '$' && at[1] == '{' ? strchr(at, '}') : NULL;
        int group = close ? named_group(code, at + 2, (size_t)(close - at) - 2) : -1;
        if (at[0] == '$' && at[1] == '$') {
            mete_buffer_byte(&made, *at++);
        } else if (at[0] == '$' && at[1] >= '0' && at[1] <= '9') {
            fill(&made, match_group(match, (uint32_t)(*++at - '0')), quote);
        } else if (group >= 0) {
            fill(&made, match_group(match, (uint32_t)group), quote);
            at = close;
        } else {
            mete_buffer_byte(&made, *at);
        }
    }
    *out = made.status ? (mete_text){NULL, 0} : mete_text_copy(cx, mete_buffer_view(&made));
    mete_buffer_free(&made);
    return out->data ? METE_OK : mete_fail(cx, METE_ENOMEM, "out of memory for an answer");
}
