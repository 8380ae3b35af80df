/* fill.c - templates of what a scripted model says. */
#include "scripted.h"

#include <string.h>

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
template_fill(mete_ctx *cx, const char *template, const mete_pattern *pattern, mete_text text,
              const mete_matcher *matcher, int quote, mete_text *out)
{
    mete_buffer made = mete_buffer_make(0);
    for (const char *at = template; *at; at++) {
        const char *close = at[0] == '$' && at[1] == '{' ? strchr(at, '}') : NULL;
        mete_text name = {at + 2, close ? (size_t)(close - at) - 2 : 0};
        int group = close ? mete_pattern_named(pattern, name) : -1;
        if (at[0] == '$' && at[1] == '$') {
            mete_buffer_byte(&made, *at++);
        } else if (at[0] == '$' && at[1] >= '0' && at[1] <= '9') {
            fill(&made, mete_matcher_group(matcher, text, (uint32_t)(*++at - '0')), quote);
        } else if (group >= 0) {
            fill(&made, mete_matcher_group(matcher, text, (uint32_t)group), quote);
            at = close;
        } else {
            mete_buffer_byte(&made, *at);
        }
    }
    *out = made.status ? (mete_text){NULL, 0} : mete_text_copy(cx, mete_buffer_view(&made));
    mete_buffer_free(&made);
    return out->data ? METE_OK : mete_fail(cx, METE_ENOMEM, "out of memory for an answer");
}
