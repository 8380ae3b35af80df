/* samples.c - the best and the worst of a run's last samples: what each node made of them, which
 * criteria are met, and what each token earns. */
#include "report/page.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLES_READ 256 /* the last of them, among which best and worst are sought */
#define SAMPLES_SHOWN 4  /* of each */
#define SHADED_MOST 3    /* nodes whose steps are shown, of one sample */

struct sample {
    mete_text line;
    double reward;
};

static int
by_reward(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;
    return (x->reward < y->reward) - (x->reward > y->reward);
}

/* ---- what each token earns ------------------------------------------------------------------- */

/* The greatest size of a node's values per step; 0 where they are none or all the same nothing. */
static double
size_of(const mete_json *steps)
{
    double most = 0;
    for (const mete_json *v = mete_json_first(steps); v; v = mete_json_next(v)) {
        double value = fabs(mete_json_number(v));
        most = isfinite(value) ? fmax(most, value) : most;
    }
    return most;
}

/* u1 to u3 where the token earns, n1 to n3 where it costs; 0: next to nothing. */
static int
shade_of(double value, double most)
{
    double part = most > 0 && isfinite(value) ? value / most : 0;
    int shade = (int)ceil(fmin(fabs(part), 1) * 3 - 0.15);
    return part < 0 ? -shade : shade;
}

static void
put_shaded(mete_buffer *out, int shade, mete_text text)
{
    if (shade)
        mete_buffer_format(out, "<span class=%c%d>", shade > 0 ? 'u' : 'n', abs(shade));
    mete__page_text(out, text);
    mete_buffer_string(out, shade ? "</span>" : "");
}

/* The response with each token in the shade of its value. Spans may come in any state from a file:
 * they are kept within the text, whole characters, and in order. */
static void
put_tokens(mete_buffer *out, mete_text text, const mete_json *spans, const mete_json *steps,
           double most)
{
    const mete_json *span = mete_json_first(spans), *value = mete_json_first(steps);
    size_t at = 0;
    for (; span && value; span = mete_json_next(span), value = mete_json_next(value)) {
        double from = mete_json_number(mete_json_at(span, 0));
        double to = mete_json_number(mete_json_at(span, 1));
        if (!(from >= (double)at && to >= from && to <= (double)text.length))
            continue;
        size_t begin = mete_utf8_floor(text, (size_t)from), end = mete_utf8_floor(text, (size_t)to);
        if (begin < at)
            continue;
        mete__page_text(out, (mete_text){text.data + at, begin - at});
        int shade = shade_of(mete_json_number(value), most);
        put_shaded(out, shade, (mete_text){text.data + begin, end - begin});
        if (begin == end && shade) /* a step without text, as that which ends a response */
            put_shaded(out, shade, mete_text_from("\xe2\x88\x8e"));
        at = end;
    }
    mete__page_text(out, (mete_text){text.data + at, text.length - at});
}

static void
put_legend(mete_buffer *out, mete_text node, double most)
{
    mete_buffer_string(out, "<p class=soft>Tokens by what ");
    mete__page_text(out, node);
    mete_buffer_string(out, " gives them: ");
    for (int shade = -3; shade <= 3; shade++) {
        if (!shade)
            continue;
        char text[64];
        snprintf(text, sizeof text, " %+.2g ", most * shade / 3);
        put_shaded(out, shade, mete_text_from(text));
    }
    mete_buffer_string(out, "</p>");
}

/* The response, once for each node that values its steps; at least once. */
static void
put_response(mete_buffer *out, const mete_json *json)
{
    const mete_json *spans = mete_json_get(json, "spans"), *steps = mete_json_get(json, "steps");
    mete_text text = mete_json_text(mete_json_get(json, "response"));
    size_t shown = 0;
    for (const mete_json *m = mete_json_first(steps); m && shown < SHADED_MOST;
         m = mete_json_next(m)) {
        double most = size_of(m);
        if (most <= 0 || !text.length)
            continue;
        put_legend(out, mete_json_key(m), most);
        mete_buffer_string(out, "<p>");
        put_tokens(out, text, spans, m, most);
        mete_buffer_string(out, "</p>");
        shown++;
    }
    if (shown)
        return;
    mete_buffer_string(out, "<p>");
    mete__page_text(out, text);
    mete_buffer_string(out, "</p>");
}

/* ---- one sample ------------------------------------------------------------------------------ */

/* A list a node of what was found and how far it holds: criteria and their grades, or what a node
 * noted. */
static void
put_findings(mete_buffer *out, const mete_json *nodes, const char *text, const char *value)
{
    for (const mete_json *m = mete_json_first(nodes); m; m = mete_json_next(m)) {
        mete_buffer_string(out, "<ul class=criteria>");
        for (const mete_json *n = mete_json_first(m); n; n = mete_json_next(n)) {
            double met = mete_json_number(mete_json_get(n, value));
            mete_buffer_string(out, "<li>");
            if (met >= 1)
                mete_buffer_string(out, "<b class=up>met</b> ");
            else if (met <= 0)
                mete_buffer_string(out, "<b class=down>not met</b> ");
            else if (isfinite(met))
                mete_buffer_format(out, "<b>%.0f%% met</b> ", 100 * met);
            else
                mete_buffer_string(out, "<b>not known</b> ");
            mete__page_text(out, mete_json_text(mete_json_get(n, text)));
            mete_buffer_string(out, " <span class=soft>");
            mete__page_text(out, mete_json_key(m));
            mete_buffer_string(out, "</span></li>");
        }
        mete_buffer_string(out, "</ul>");
    }
}

static void
put_sample(mete_buffer *out, const struct sample *sample)
{
    mete_json *json = mete_json_parse(sample->line, NULL);
    mete_buffer_string(out, "<div class=sample><p class=soft>");
    mete__page_text(out, mete_json_text(mete_json_get(json, "prompt")));
    mete_buffer_string(out, "</p>");
    put_response(out, json);
    put_findings(out, mete_json_get(json, "criteria"), "criterion", "grade");
    put_findings(out, mete_json_get(json, "notes"), "text", "value");
    const mete_json *nodes = mete_json_get(json, "nodes"), *why = mete_json_get(json, "why");
    for (const mete_json *m = mete_json_first(nodes); m; m = mete_json_next(m)) {
        mete_buffer_string(out, "<span class=chip>");
        mete__page_text(out, mete_json_key(m));
        mete_buffer_string(out, " ");
        mete__page_number(out, mete_json_number(m));
        mete_buffer_string(out, "</span>");
    }
    for (const mete_json *m = mete_json_first(why); m; m = mete_json_next(m)) {
        mete_buffer_string(out, "<p class=down>");
        mete__page_text(out, mete_json_key(m));
        mete_buffer_string(out, ": ");
        mete__page_text(out, mete_json_text(m));
        mete_buffer_string(out, "</p>");
    }
    mete_buffer_string(out, "</div>\n");
    mete_json_free(json);
}

/* ---- the best and the worst ------------------------------------------------------------------ */

void
mete__page_samples(mete_buffer *out, const mete__story *story)
{
    struct sample sample[SAMPLES_READ];
    mete_text all = mete_buffer_view(&story->samples), line;
    size_t count = 0, at = 0, seen = 0;
    while (mete_text_line(all, &at, &line)) {
        mete_json *json = mete_json_parse(line, NULL);
        double reward = mete_json_number(mete_json_get(mete_json_get(json, "nodes"), "reward"));
        if (json && isfinite(reward))
            sample[seen++ % SAMPLES_READ] = (struct sample){line, reward};
        mete_json_free(json);
    }
    count = seen < SAMPLES_READ ? seen : SAMPLES_READ;
    if (!count)
        return;
    qsort(sample, count, sizeof *sample, by_reward);
    mete_buffer_format(out,
                       "<h2>Samples</h2>\n<p class=soft>Of the last %zu kept: the best, then the "
                       "worst.</p>\n",
                       count);
    size_t best = count < SAMPLES_SHOWN ? count : SAMPLES_SHOWN;
    for (size_t i = 0; i < best; i++)
        put_sample(out, &sample[i]);
    mete_buffer_string(out, count > best ? "<p class=soft>The worst</p>\n" : "");
    for (size_t i = count > best + SAMPLES_SHOWN ? count - SAMPLES_SHOWN : best; i < count; i++)
        put_sample(out, &sample[i]);
}
