/* plot.h - charts of compared runs: axes, intervals in the rows of a table, plots of x and y. All
 * inline SVG that needs the page's style. */
#ifndef METE_REPORT_PLOT_H
#define METE_REPORT_PLOT_H

#include "run/statistics.h"

#include <mete/text.h>

enum { METE__TICKS = 12, METE__HUES = 8 };

typedef struct mete__axis {
    double lo, hi;
    bool log;
    const char *label;     /* what it measures, and its unit */
    const mete_text *word; /* what 1, 2, ... stand for, [words]; 0: values are numbers */
    size_t words;
} mete__axis;

mete__axis mete__axis_make(const char *label); /* without an extent */
void mete__axis_take(mete__axis *axis, double value);
void mete__axis_take_interval(mete__axis *axis, const mete__interval *interval);
/* Some room to both sides; an extent where there is none. */
void mete__axis_settle(mete__axis *axis);
/* The values of round ticks, some four of them. */
size_t mete__axis_ticks(const mete__axis *axis, double tick[METE__TICKS]);
/* 0 at lo, 1 at hi, and beyond them too. */
double mete__axis_part(const mete__axis *axis, double value);

/* A cell's strip: the interval as a bar with its point, `values` as faint dots; a line at `from`
 * where that is on the axis. `class` colours it: "up", "down", or "". */
void mete__page_strip(mete_buffer *out, const mete__axis *axis, double from,
                      const mete__interval *interval, const double *value, size_t values,
                      const char *class);
/* "1.2 [1, 1.4]", the point alone where it has no ends. */
void mete__page_interval(mete_buffer *out, const mete__interval *interval);
/* The strips' axis, with its label. */
void mete__page_scale(mete_buffer *out, const mete__axis *axis);

/* A figure: open, draw, close. Hues are those of the legend, k % METE__HUES, dashed beyond. */
typedef struct mete__plot {
    mete__axis x, y;
} mete__plot;

void mete__plot_open(mete_buffer *out, const mete__plot *plot, const char *title);
void mete__plot_line(mete_buffer *out, const mete__plot *plot, const double *x, const double *y,
                     size_t n, size_t hue);
void mete__plot_dot(mete_buffer *out, const mete__plot *plot, double x, double y, bool strong,
                    size_t hue);
void mete__plot_bar(mete_buffer *out, const mete__plot *plot, double x, double lo, double hi,
                    size_t hue);
/* A dashed upright line across the plot, and a word beside it. */
void mete__plot_mark(mete_buffer *out, const mete__plot *plot, double x, const char *word);
void mete__plot_close(mete_buffer *out);
void mete__plot_key(mete_buffer *out, const char *name, size_t hue); /* of a legend */

#endif
