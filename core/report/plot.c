/* plot.c - see plot.h. */
#include "report/plot.h"

#include "report/page.h"

#include <math.h>
#include <stdio.h>

#define STRIP 220.0 /* units a strip is wide, as many pixels */
#define INSET 10.0
#define WIDE 420.0
#define TALL 250.0
#define LEFT 52.0
#define RIGHT 12.0
#define TOP 24.0
#define BOTTOM 38.0

/* ---- axes ------------------------------------------------------------------------------------ */

mete__axis
mete__axis_make(const char *label)
{
    return (mete__axis){.lo = INFINITY, .hi = -INFINITY, .label = label};
}

void
mete__axis_take(mete__axis *axis, double value)
{
    if (isfinite(value)) {
        axis->lo = fmin(axis->lo, value);
        axis->hi = fmax(axis->hi, value);
    }
}

void
mete__axis_take_interval(mete__axis *axis, const mete__interval *interval)
{
    mete__axis_take(axis, interval->lo);
    mete__axis_take(axis, interval->point);
    mete__axis_take(axis, interval->hi);
}

void
mete__axis_settle(mete__axis *axis)
{
    if (!(axis->hi >= axis->lo)) {
        axis->lo = 0;
        axis->hi = 1;
        axis->log = false;
    }
    if (axis->log) {
        double room = fmax(0.05 * log(axis->hi / axis->lo), 0.05);
        axis->lo *= exp(-room);
        axis->hi *= exp(room);
        return;
    }
    double room = 0.05 * (axis->hi - axis->lo);
    if (!(room > 1e-9 * fabs(axis->hi)))
        room = axis->hi != 0 ? 0.1 * fabs(axis->hi) : 1;
    axis->lo -= room;
    axis->hi += room;
}

/* 1, 2 and 5 times powers of ten, or only the powers where there are many. */
static size_t
log_ticks(const mete__axis *axis, double tick[METE__TICKS])
{
    static const double part[] = {1, 2, 5};
    double decades = log10(axis->hi / axis->lo);
    int first = (int)floor(log10(axis->lo)), step = decades > 8 ? (int)ceil(decades / 5) : 1;
    size_t n = 0;
    for (int k = first; k <= first + (int)decades + 1; k += step)
        for (int i = 0; i < (decades > 2.5 ? 1 : 3); i++) {
            double value = part[i] * pow(10, k);
            if (value >= axis->lo && value <= axis->hi && n < METE__TICKS)
                tick[n++] = value;
        }
    return n;
}

size_t
mete__axis_ticks(const mete__axis *axis, double tick[METE__TICKS])
{
    if (axis->log)
        return log_ticks(axis, tick);
    for (size_t k = 0; k < axis->words && k < METE__TICKS; k++)
        tick[k] = (double)k + 1;
    if (axis->words)
        return axis->words < METE__TICKS ? axis->words : METE__TICKS;
    /* A round step of which some three fit: 1, 2 or 5 times a power of ten. */
    double span = axis->hi - axis->lo, step = pow(10, floor(log10(span / 3)));
    step *= span / step > 15 ? 10 : span / step > 7 ? 5 : span / step > 3.5 ? 2 : 1;
    double first = ceil(axis->lo / step);
    size_t n = 0;
    for (; n < METE__TICKS && first + (double)n <= floor(axis->hi / step + 1e-9); n++)
        tick[n] = (first + (double)n) * step;
    return n;
}

double
mete__axis_part(const mete__axis *axis, double value)
{
    value = fmin(fmax(value, axis->lo), axis->hi);
    return axis->log ? log(value / axis->lo) / log(axis->hi / axis->lo)
                     : (value - axis->lo) / (axis->hi - axis->lo);
}

/* ---- strips ---------------------------------------------------------------------------------- */

static double
strip_x(const mete__axis *axis, double value)
{
    return INSET + mete__axis_part(axis, value) * (STRIP - 2 * INSET);
}

void
mete__page_strip(mete_buffer *out, const mete__axis *axis, double from,
                 const mete__interval *interval, const double *value, size_t values,
                 const char *class)
{
    mete_buffer_format(out, "<svg class=\"strip %s\" viewBox=\"0 0 %.0f 24\" role=img>", class,
                       STRIP);
    if (from >= axis->lo && from <= axis->hi)
        mete_buffer_format(out, "<line class=s x1=%.1f x2=%.1f y1=0 y2=24 />", strip_x(axis, from),
                           strip_x(axis, from));
    for (size_t i = 0; i < values; i++)
        if (isfinite(value[i]))
            mete_buffer_format(out, "<circle class=d cx=%.1f cy=12 r=3 />",
                               strip_x(axis, value[i]));
    if (isfinite(interval->lo) && isfinite(interval->hi))
        mete_buffer_format(out, "<line class=i x1=%.1f x2=%.1f y1=12 y2=12 />",
                           strip_x(axis, interval->lo), strip_x(axis, interval->hi));
    if (isfinite(interval->point))
        mete_buffer_format(out, "<circle class=p cx=%.1f cy=12 r=4 />",
                           strip_x(axis, interval->point));
    mete_buffer_string(out, "</svg>");
}

void
mete__page_interval(mete_buffer *out, const mete__interval *interval)
{
    mete__page_number(out, interval->point);
    if (!isfinite(interval->lo) || !isfinite(interval->hi))
        return;
    mete_buffer_string(out, " <span class=soft>[");
    mete__page_number(out, interval->lo);
    mete_buffer_string(out, ", ");
    mete__page_number(out, interval->hi);
    mete_buffer_string(out, "]</span>");
}

void
mete__page_scale(mete_buffer *out, const mete__axis *axis)
{
    double tick[METE__TICKS];
    size_t n = mete__axis_ticks(axis, tick);
    mete_buffer_format(out,
                       "<svg class=strip viewBox=\"0 0 %.0f 24\" role=img><line class=a x1=%.0f "
                       "x2=%.0f y1=1 y2=1 />",
                       STRIP, INSET, STRIP - INSET);
    for (size_t k = 0; k < n; k++) {
        double x = strip_x(axis, tick[k]);
        mete_buffer_format(out,
                           "<line class=a x1=%.1f x2=%.1f y1=1 y2=5 /><text class=\"t m\" x=%.1f "
                           "y=17>",
                           x, x, x);
        mete__page_number(out, tick[k]);
        mete_buffer_string(out, "</text>");
    }
    mete_buffer_string(out, "</svg><div class=label>");
    mete__page_string(out, axis->label);
    mete_buffer_string(out, "</div>");
}

/* ---- plots ----------------------------------------------------------------------------------- */

static double
plot_x(const mete__plot *plot, double value)
{
    return LEFT + mete__axis_part(&plot->x, value) * (WIDE - LEFT - RIGHT);
}

static double
plot_y(const mete__plot *plot, double value)
{
    return TALL - BOTTOM - mete__axis_part(&plot->y, value) * (TALL - TOP - BOTTOM);
}

static void
put_hue(mete_buffer *out, const char *class, size_t hue)
{
    mete_buffer_format(out, "\"%s k%zu%s\"", class, hue % METE__HUES,
                       hue / METE__HUES % 2 ? " dash" : "");
}

void
mete__plot_open(mete_buffer *out, const mete__plot *plot, const char *title)
{
    double tick[METE__TICKS];
    mete_buffer_string(out, "<figure class=plot><figcaption><b>");
    mete__page_string(out, title);
    mete_buffer_format(out, "</b></figcaption><svg viewBox=\"0 0 %.0f %.0f\" role=img>", WIDE,
                       TALL);
    size_t n = mete__axis_ticks(&plot->y, tick);
    for (size_t k = 0; k < n; k++) {
        double y = plot_y(plot, tick[k]);
        mete_buffer_format(out,
                           "<line class=g x1=%.0f x2=%.0f y1=%.1f y2=%.1f /><text class=\"t e\" "
                           "x=%.0f y=%.1f>",
                           LEFT, WIDE - RIGHT, y, y, LEFT - 5, y + 3.5);
        mete__page_number(out, tick[k]);
        mete_buffer_string(out, "</text>");
    }
    mete_buffer_format(out, "<line class=a x1=%.0f x2=%.0f y1=%.0f y2=%.0f />", LEFT, WIDE - RIGHT,
                       TALL - BOTTOM, TALL - BOTTOM);
    n = mete__axis_ticks(&plot->x, tick);
    for (size_t k = 0; k < n; k++) {
        double x = plot_x(plot, tick[k]);
        mete_buffer_format(out,
                           "<line class=a x1=%.1f x2=%.1f y1=%.0f y2=%.0f /><text class=\"t m\" "
                           "x=%.1f y=%.0f>",
                           x, x, TALL - BOTTOM, TALL - BOTTOM + 4, x, TALL - BOTTOM + 15);
        if (plot->x.words)
            mete__page_text(out, plot->x.word[k]);
        else
            mete__page_number(out, tick[k]);
        mete_buffer_string(out, "</text>");
    }
    mete_buffer_format(out, "<text class=t x=4 y=12>");
    mete__page_string(out, plot->y.label);
    mete_buffer_format(out, "</text><text class=\"t e\" x=%.0f y=%.0f>", WIDE - RIGHT, TALL - 6);
    mete__page_string(out, plot->x.label);
    mete_buffer_string(out, "</text>");
}

void
mete__plot_line(mete_buffer *out, const mete__plot *plot, const double *x, const double *y,
                size_t n, size_t hue)
{
    mete_buffer_string(out, "<path class=");
    put_hue(out, "k l", hue);
    mete_buffer_string(out, " d=\"");
    for (size_t i = 0; i < n; i++)
        mete_buffer_format(out, "%c%.1f %.1f", i ? 'L' : 'M', plot_x(plot, x[i]),
                           plot_y(plot, y[i]));
    mete_buffer_string(out, "\" />");
}

void
mete__plot_dot(mete_buffer *out, const mete__plot *plot, double x, double y, bool strong,
               size_t hue)
{
    if (!isfinite(x) || !isfinite(y))
        return;
    mete_buffer_string(out, "<circle class=");
    put_hue(out, strong ? "k p" : "k o", hue);
    mete_buffer_format(out, " cx=%.1f cy=%.1f r=%s />", plot_x(plot, x), plot_y(plot, y),
                       strong ? "4" : "3");
}

void
mete__plot_bar(mete_buffer *out, const mete__plot *plot, double x, double lo, double hi, size_t hue)
{
    if (!isfinite(x) || !isfinite(lo) || !isfinite(hi))
        return;
    mete_buffer_string(out, "<path class=");
    put_hue(out, "k l thin", hue);
    mete_buffer_format(out, " d=\"M%.1f %.1fV%.1f\" />", plot_x(plot, x), plot_y(plot, lo),
                       plot_y(plot, hi));
}

void
mete__plot_mark(mete_buffer *out, const mete__plot *plot, double x, const char *word)
{
    double at = plot_x(plot, x);
    bool right = at > WIDE / 2;
    mete_buffer_format(out,
                       "<line class=s x1=%.1f x2=%.1f y1=%.0f y2=%.0f /><text class=\"t %s\" "
                       "x=%.1f y=%.0f>",
                       at, at, TOP, TALL - BOTTOM, right ? "e" : "", at + (right ? -4 : 4),
                       TOP + 9);
    mete__page_string(out, word);
    mete_buffer_string(out, "</text>");
}

void
mete__plot_close(mete_buffer *out)
{
    mete_buffer_string(out, "</svg></figure>\n");
}

void
mete__plot_key(mete_buffer *out, const char *name, size_t hue)
{
    mete_buffer_string(out, "<span class=key><svg class=swatch viewBox=\"0 0 22 10\"><path class=");
    put_hue(out, "k l", hue);
    mete_buffer_string(out, " d=\"M1 5H21\" /></svg> ");
    mete__page_string(out, name);
    mete_buffer_string(out, "</span> ");
}
