/* chart.c - courses of a run as inline SVG. */
#include "report/page.h"
#include "report/plot.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define PARTS 150
#define WIDE 300.0
#define TALL 130.0
#define LEFT 44.0
#define RIGHT 8.0
#define TOP 8.0
#define BOTTOM 20.0

/* ---- parts ----------------------------------------------------------------------------------- */

/* The series cut into parts of equal width; those without numbers are left out. */
struct parts {
    double at[PARTS], mean[PARTS], low[PARTS], high[PARTS];
    size_t count;
    double first, last, least, most;
};

static void
cut(const mete__series *series, const mete__series *spread, struct parts *p)
{
    bool paired = spread && spread->count == series->count;
    size_t n[PARTS] = {0};
    double around[PARTS] = {0};
    *p = (struct parts){.least = INFINITY, .most = -INFINITY};
    p->first = series->count ? series->at[0] : 0;
    p->last = series->count ? series->at[series->count - 1] : 0;
    for (size_t i = 0; i < series->count; i++) {
        double v = series->value[i], span = p->last - p->first;
        double part = span > 0 ? (series->at[i] - p->first) / span * PARTS : 0;
        size_t k = part < PARTS ? (size_t)part : PARTS - 1;
        if (!isfinite(v))
            continue;
        p->low[k] = n[k] ? fmin(p->low[k], v) : v;
        p->high[k] = n[k] ? fmax(p->high[k], v) : v;
        p->mean[k] += v;
        p->at[k] += series->at[i];
        around[k] += paired && isfinite(spread->value[i]) ? spread->value[i] : 0;
        n[k]++;
    }
    for (size_t k = 0; k < PARTS; k++) {
        if (!n[k])
            continue;
        double mean = p->mean[k] / (double)n[k], sd = around[k] / (double)n[k];
        size_t to = p->count++;
        p->at[to] = p->at[k] / (double)n[k];
        p->low[to] = paired ? mean - sd : p->low[k];
        p->high[to] = paired ? mean + sd : p->high[k];
        p->mean[to] = mean;
        p->least = fmin(p->least, p->low[to]);
        p->most = fmax(p->most, p->high[to]);
    }
    if (p->count && !(p->most > p->least)) { /* a level line stands in the middle */
        double room = p->most != 0 ? fabs(p->most) * 0.1 : 1;
        p->least -= room;
        p->most += room;
    }
}

/* ---- drawing --------------------------------------------------------------------------------- */

static double
x_of(const struct parts *p, double at)
{
    double span = p->last - p->first;
    return LEFT + (span > 0 ? (at - p->first) / span : 0.5) * (WIDE - LEFT - RIGHT);
}

static double
y_of(const struct parts *p, double value)
{
    return TOP + (p->most - value) / (p->most - p->least) * (TALL - TOP - BOTTOM);
}

static void
put_axes(mete_buffer *out, const mete__story *story, const struct parts *p)
{
    const mete__axis axis = {.lo = p->least, .hi = p->most};
    double tick[METE__TICKS];
    size_t ticks = mete__axis_ticks(&axis, tick);
    for (size_t k = 0; k < ticks; k++) {
        double at = y_of(p, tick[k]);
        mete_buffer_format(out,
                           "<line class=g x1=%.0f x2=%.0f y1=%.1f y2=%.1f /><text class=t "
                           "text-anchor=end x=%.0f y=%.1f>",
                           LEFT, WIDE - RIGHT, at, at, LEFT - 4, at + 3);
        mete__page_number(out, tick[k]);
        mete_buffer_string(out, "</text>");
    }
    for (size_t i = 1; i < story->stages; i++)
        if (story->stage[i].at > p->first && story->stage[i].at < p->last) {
            double at = x_of(p, story->stage[i].at);
            mete_buffer_format(out, "<line class=s x1=%.1f x2=%.1f y1=%.0f y2=%.0f />", at, at, TOP,
                               TALL - BOTTOM);
        }
    mete_buffer_format(out, "<text class=t x=%.0f y=%.0f>%.0f</text>", LEFT, TALL - 5, p->first);
    mete_buffer_format(out, "<text class=t text-anchor=end x=%.0f y=%.0f>iteration %.0f</text>",
                       WIDE - RIGHT, TALL - 5, p->last);
}

static void
put_line(mete_buffer *out, const struct parts *p)
{
    mete_buffer_string(out, "<path class=b d=\"");
    for (size_t k = 0; k < p->count; k++)
        mete_buffer_format(out, "%c%.1f %.1f", k ? 'L' : 'M', x_of(p, p->at[k]),
                           y_of(p, p->high[k]));
    for (size_t k = p->count; k-- > 0;)
        mete_buffer_format(out, "L%.1f %.1f", x_of(p, p->at[k]), y_of(p, p->low[k]));
    mete_buffer_string(out, "Z\" /><path class=l d=\"");
    for (size_t k = 0; k < p->count; k++)
        mete_buffer_format(out, "%c%.1f %.1f", k ? 'L' : 'M', x_of(p, p->at[k]),
                           y_of(p, p->mean[k]));
    mete_buffer_string(out, "\" />");
    for (size_t k = 0; p->count <= 12 && k < p->count; k++)
        mete_buffer_format(out, "<circle class=c cx=%.1f cy=%.1f r=2 />", x_of(p, p->at[k]),
                           y_of(p, p->mean[k]));
}

/* Up to the inside of the chart. The name may break after a slash. */
static void
put_figure(mete_buffer *out, const char *name)
{
    mete_buffer_string(out, "<figure><figcaption><b>");
    for (const char *slash; (slash = strchr(name, '/')); name = slash + 1) {
        mete__page_text(out, (mete_text){name, (size_t)(slash + 1 - name)});
        mete_buffer_string(out, "<wbr>");
    }
    mete__page_text(out, mete_text_from(name));
    mete_buffer_string(out, "</b> <span>");
}

static void
put_svg(mete_buffer *out)
{
    mete_buffer_format(out, "</span></figcaption><svg viewBox=\"0 0 %.0f %.0f\" role=img>", WIDE,
                       TALL);
}

void
mete__page_chart(mete_buffer *out, const mete__story *story, const mete__series *series,
                 const mete__series *spread)
{
    struct parts p;
    cut(series, spread, &p);
    put_figure(out, series->name);
    if (p.count)
        mete__page_number(out, p.mean[p.count - 1]);
    put_svg(out);
    if (p.count) {
        put_axes(out, story, &p);
        put_line(out, &p);
    }
    mete_buffer_string(out, "</svg></figure>\n");
}

void
mete__page_pair(mete_buffer *out, const mete__series *first, const mete__series *second)
{
    static const mete__story no_stages;
    struct parts p, q;
    cut(first, NULL, &p);
    cut(second, NULL, &q);
    put_figure(out, first->name);
    if (p.count && q.count) {
        p.first = q.first = fmin(p.first, q.first);
        p.last = q.last = fmax(p.last, q.last);
        p.least = q.least = fmin(p.least, q.least);
        p.most = q.most = fmax(p.most, q.most);
        mete__page_number(out, p.mean[p.count - 1]);
        mete_buffer_string(out, " \xe2\x86\x92 ");
        mete__page_number(out, q.mean[q.count - 1]);
    }
    put_svg(out);
    if (p.count && q.count) {
        put_axes(out, &no_stages, &p);
        put_line(out, &p);
        mete_buffer_string(out, "<g class=other>");
        put_line(out, &q);
        mete_buffer_string(out, "</g>");
    }
    mete_buffer_string(out, "</svg></figure>\n");
}

void
mete__page_spark(mete_buffer *out, const mete__series *series)
{
    struct parts p;
    cut(series, NULL, &p);
    mete_buffer_string(out, "<svg class=spark viewBox=\"0 0 100 20\" preserveAspectRatio=none "
                            "role=img><path class=l d=\"");
    for (size_t k = 0; k < p.count; k++) {
        double span = p.last - p.first, x = span > 0 ? (p.at[k] - p.first) / span * 100 : 50;
        mete_buffer_format(out, "%c%.1f %.1f", k ? 'L' : 'M', x,
                           1 + (p.most - p.mean[k]) / (p.most - p.least) * 18);
    }
    mete_buffer_string(out, "\" /></svg>");
}
