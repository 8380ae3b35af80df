/* sweep.c - the page of a sweep: the best trial, what each value does, Pareto front, all trials.
 * All figures are those of the table that mete sweep left. */
#include "report/page.h"
#include "report/plot.h"
#include "report/report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MOST 500
#define METRICS_MOST 8
#define WORDS_MOST METE__TICKS /* texts of a dimension that have a place of their own */
#define WORDS_WRITTEN 5        /* below the axis; more are told in a line */

struct trial {
    char *name;
    const mete_json *json;
    mete__interval metric[METRICS_MOST];
    size_t runs, rung;
    bool front;
};

struct sweep {
    const char *folder;
    mete_json *json;
    struct trial *trial; /* best first */
    size_t trials, metrics, seeds;
    uint64_t first;
    char *metric[METRICS_MOST], label[METRICS_MOST][300];
    bool less[METRICS_MOST], rungs;
    double confidence;
};

static double
number_of(const mete_json *object, const char *name)
{
    return mete_json_number(mete_json_get(object, name));
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool
read_trial(struct sweep *s, const mete_json *json, struct trial *trial)
{
    const mete_json *metrics = mete_json_get(json, "metrics");
    *trial = (struct trial){.name = mete__page_member(json, "name"), .json = json};
    double runs = number_of(json, "runs"), rung = number_of(json, "rung");
    trial->runs = runs > 0 && runs < 1e6 ? (size_t)runs : 0;
    trial->rung = rung > 0 && rung < 1e6 ? (size_t)rung : 0;
    trial->front = mete_json_bool(mete_json_get(json, "front")) == 1;
    s->rungs = s->rungs || trial->rung > 1;
    for (size_t m = 0; m < s->metrics; m++) {
        const mete_json *at = mete_json_get(metrics, s->metric[m]);
        trial->metric[m] =
            (mete__interval){number_of(at, "lo"), number_of(at, "mean"), number_of(at, "hi")};
    }
    return trial->name != NULL;
}

static int
sweep_read(const char *folder, struct sweep *s, mete_error *err)
{
    int status = mete__page_json(folder, METE__SWEEP_FILE, &s->json, err);
    if (status)
        return status;
    const mete_json *trials = mete_json_get(s->json, "trials");
    double seeds = number_of(s->json, "seeds"), first = number_of(s->json, "seeds_from");
    s->folder = folder;
    s->confidence = number_of(s->json, "confidence");
    const mete_json *metrics = mete_json_get(s->json, "metrics");
    bool good = seeds >= 1 && seeds < 1e6 && first >= 0 && first < 1e15 &&
                mete_json_count(trials) && mete_json_count(metrics);
    for (const mete_json *m = mete_json_first(metrics); m && s->metrics < METRICS_MOST && good;
         m = mete_json_next(m)) {
        s->less[s->metrics] = mete_json_bool(mete_json_get(m, "less")) == 1;
        char *name = s->metric[s->metrics] = mete__page_member(m, "name");
        good = name != NULL;
        if (good)
            snprintf(s->label[s->metrics], sizeof *s->label, "%s%s", name + (*name == '-'),
                     s->less[s->metrics] ? ", less is better" : "");
        s->metrics += good;
    }
    if (!good)
        return mete_error_set(err, METE_EDATA,
                              "%s/" METE__SWEEP_FILE " is not what mete sweep leaves", folder);
    s->seeds = (size_t)seeds;
    s->first = (uint64_t)first;
    s->trial = calloc(mete_json_count(trials), sizeof *s->trial);
    for (const mete_json *t = mete_json_first(trials); t && s->trial; t = mete_json_next(t))
        if (!read_trial(s, t, &s->trial[s->trials++]))
            return mete_error_set(err, METE_EDATA, "%s: a trial has no name", folder);
    return s->trial ? METE_OK : mete_error_set(err, METE_ENOMEM, "out of memory");
}

static void
sweep_free(struct sweep *s)
{
    for (size_t t = 0; t < s->trials; t++)
        free(s->trial[t].name);
    for (size_t m = 0; m < s->metrics; m++)
        free(s->metric[m]);
    free(s->trial);
    mete_json_free(s->json);
}

/* ---- the best -------------------------------------------------------------------------------- */

static void
put_best(mete_buffer *out, const struct sweep *s)
{
    const struct trial *best = &s->trial[0];
    mete_buffer_string(out, "<h2>The best trial</h2>\n<p>");
    mete__page_string(out, best->name);
    mete_buffer_string(out, ": ");
    mete__page_string(out, s->label[0]);
    mete_buffer_byte(out, ' ');
    mete__page_interval(out, &best->metric[0]);
    mete_buffer_string(out, "</p>\n<pre>");
    const mete_json *values = mete_json_get(best->json, "values");
    for (const mete_json *v = mete_json_first(values); v; v = mete_json_next(v)) {
        mete__page_text(out, mete_json_key(v));
        mete_buffer_string(out, " = ");
        mete__page_text(out, mete_json_text(v));
        mete_buffer_byte(out, '\n');
    }
    mete_buffer_string(out, "</pre>\n");
    if (s->trials > 1)
        mete_buffer_string(out, "<p class=soft>The best of many looks better than it is: what it "
                                "is worth, other seeds tell (--seeds-from).</p>\n");
}

/* ---- what each value does -------------------------------------------------------------------- */

/* The values of one dimension over the trials: numbers, or words with a place each. */
struct dimension {
    mete_text word[WORDS_MOST];
    size_t words;
    bool numbers;
};

static mete_text
value_of(const struct trial *trial, const char *path)
{
    return mete_json_text(mete_json_get(mete_json_get(trial->json, "values"), path));
}

static double
place_of(struct dimension *d, mete_text text)
{
    double number;
    if (d->numbers)
        return mete_number_parse(text, METE_NUMBER_EXPONENT, &number) ? number : NAN;
    for (size_t k = 0; k < d->words; k++)
        if (d->word[k].length == text.length &&
            memcmp(d->word[k].data, text.data, text.length) == 0)
            return (double)k + 1;
    if (d->words == WORDS_MOST)
        return NAN;
    d->word[d->words++] = text;
    return (double)d->words;
}

static void
dimension_read(const struct sweep *s, const char *path, struct dimension *d, mete__axis *axis)
{
    double least = INFINITY, number;
    *d = (struct dimension){.numbers = true};
    for (size_t t = 0; t < s->trials && d->numbers; t++)
        d->numbers = mete_number_parse(value_of(&s->trial[t], path), METE_NUMBER_EXPONENT, &number);
    for (size_t t = 0; t < s->trials; t++) {
        double x = place_of(d, value_of(&s->trial[t], path));
        mete__axis_take(axis, x);
        least = fmin(least, x);
    }
    axis->log = d->numbers && least > 0 && axis->hi > 30 * axis->lo;
    mete__axis_settle(axis);
}

static void
put_dimension(mete_buffer *out, const struct sweep *s, const char *path, const mete__axis *y)
{
    struct dimension d;
    mete__plot plot = {mete__axis_make(path), *y};
    dimension_read(s, path, &d, &plot.x);
    if (!d.numbers && d.words <= WORDS_WRITTEN) {
        plot.x.word = d.word;
        plot.x.words = d.words;
        plot.x.lo = 0.5;
        plot.x.hi = (double)d.words + 0.5;
    }
    mete__plot_open(out, &plot, path);
    for (size_t t = s->trials; t-- > 0;) {
        const mete__interval *i = &s->trial[t].metric[0];
        double x = place_of(&d, value_of(&s->trial[t], path));
        mete__plot_bar(out, &plot, x, i->lo, i->hi, t ? 0 : 1);
        mete__plot_dot(out, &plot, x, i->point, t == 0, t ? 0 : 1);
    }
    mete__plot_close(out);
    if (d.numbers || plot.x.words)
        return;
    mete_buffer_string(out, "<p class=soft>");
    for (size_t k = 0; k < d.words; k++) {
        mete_buffer_format(out, "%s%zu: ", k ? ", " : "", k + 1);
        mete__page_text(out, d.word[k]);
    }
    mete_buffer_string(out, "</p>");
}

/* Of two or three seeds an interval is so wide that it would hide all else: it is cut. */
static mete__axis
metric_axis(const struct sweep *s, size_t m)
{
    mete__axis axis = mete__axis_make(s->label[m]);
    for (size_t t = 0; t < s->trials; t++)
        if (s->seeds > 3)
            mete__axis_take_interval(&axis, &s->trial[t].metric[m]);
        else
            mete__axis_take(&axis, s->trial[t].metric[m].point);
    mete__axis_settle(&axis);
    return axis;
}

static void
put_dimensions(mete_buffer *out, const struct sweep *s)
{
    mete__axis y = metric_axis(s, 0);
    const mete_json *paths = mete_json_get(s->trial[0].json, "values");
    mete_buffer_string(out, "<h2>What each value does</h2>\n<p class=soft>");
    mete__page_string(out, s->label[0]);
    mete_buffer_string(out, " of each trial by one value, whatever the others are; the best trial "
                            "is <b class=two>filled</b>");
    mete_buffer_string(out, s->seeds > 1 ? "; bars are intervals of the mean over seeds" : "");
    mete_buffer_string(out, s->rungs ? "; trials that were stopped early stand at the rung they "
                                       "came to.</p>\n<div class=plots>\n"
                                     : ".</p>\n<div class=plots>\n");
    for (const mete_json *p = mete_json_first(paths); p; p = mete_json_next(p)) {
        mete_text key = mete_json_key(p);
        char *path = strndup(key.data, key.length);
        mete_buffer_string(out, "<div>");
        if (path)
            put_dimension(out, s, path, &y);
        mete_buffer_string(out, "</div>");
        free(path);
    }
    mete_buffer_string(out, "</div>\n");
}

/* ---- the front ------------------------------------------------------------------------------- */

static const char *
plain_name(const struct sweep *s, size_t m)
{
    return s->metric[m] + (*s->metric[m] == '-');
}

static void
put_front(mete_buffer *out, const struct sweep *s)
{
    if (s->metrics < 2)
        return;
    mete_buffer_string(out, "<h2>Pareto front</h2>\n<p class=soft><b class=two>Filled</b>: no "
                            "other trial is at least as good in all metrics and better in "
                            "one.</p>\n<div class=plots>\n");
    for (size_t m = 1; m < s->metrics; m++) {
        char title[700];
        mete__plot plot = {metric_axis(s, 0), metric_axis(s, m)};
        snprintf(title, sizeof title, "%s against %s", plain_name(s, m), plain_name(s, 0));
        mete__plot_open(out, &plot, title);
        for (size_t t = s->trials; t-- > 0;) {
            const struct trial *trial = &s->trial[t];
            mete__plot_dot(out, &plot, trial->metric[0].point, trial->metric[m].point, trial->front,
                           trial->front);
        }
        mete__plot_close(out);
    }
    mete_buffer_string(out, "</div>\n");
}

/* ---- all trials ------------------------------------------------------------------------------ */

static void
put_trial(mete_buffer *out, const struct sweep *s, const mete__axis *axis,
          const struct trial *trial)
{
    mete_buffer_string(out, "<tr><td>");
    mete__page_string(out, trial->name);
    mete_buffer_string(out, s->metrics > 1 && trial->front ? "*</td><td>" : "</td><td>");
    mete__page_strip(out, axis, NAN, &trial->metric[0], NULL, 0, "");
    mete_buffer_string(out, "</td>");
    for (size_t m = 0; m < s->metrics; m++) {
        mete_buffer_string(out, "<td>");
        mete__page_interval(out, &trial->metric[m]);
        mete_buffer_string(out, "</td>");
    }
    const mete_json *values = mete_json_get(trial->json, "values");
    for (const mete_json *v = mete_json_first(values); v; v = mete_json_next(v)) {
        mete_buffer_string(out, "<td>");
        mete__page_text(out, mete_json_text(v));
        mete_buffer_string(out, "</td>");
    }
    if (s->rungs)
        mete_buffer_format(out, "<td>%zu</td>", trial->rung);
    mete_buffer_string(out, "<td>");
    for (size_t k = 0; k < s->seeds && k < 20; k++) {
        bool linked = mete__page_link(out, s->folder, trial->name, s->first + k);
        if (linked)
            mete_buffer_format(out, "%" PRIu64 "</a> ", s->first + k);
    }
    mete_buffer_format(out, "%zu of %zu</td></tr>\n", trial->runs, s->seeds);
}

static void
put_trials(mete_buffer *out, const struct sweep *s)
{
    mete__axis axis = metric_axis(s, 0);
    mete_buffer_string(out, "<h2>Trials</h2>\n<p class=soft>Best first. A run stands in TRIAL/SEED "
                            "beside this page, and is linked once mete report TRIAL/SEED has made "
                            "its own.</p>\n<div class=wide><table><tr><th>trial<th>");
    for (size_t m = 0; m < s->metrics; m++) {
        mete_buffer_string(out, "<th>");
        mete__page_string(out, s->label[m]);
    }
    const mete_json *values = mete_json_get(s->trial[0].json, "values");
    for (const mete_json *v = mete_json_first(values); v; v = mete_json_next(v)) {
        mete_buffer_string(out, "<th>");
        mete__page_text(out, mete_json_key(v));
    }
    mete_buffer_string(out, s->rungs ? "<th>rung<th>runs</tr>\n" : "<th>runs</tr>\n");
    size_t shown = s->trials < ROWS_MOST ? s->trials : ROWS_MOST;
    for (size_t t = 0; t < shown; t++)
        put_trial(out, s, &axis, &s->trial[t]);
    mete_buffer_string(out, "<tr class=scale><td></td><td>");
    mete__page_scale(out, &axis);
    mete_buffer_string(out, "</td></tr></table></div>\n");
    if (shown < s->trials)
        mete_buffer_format(out, "<p class=soft>%zu more are in " METE__SWEEP_FILE ".</p>\n",
                           s->trials - shown);
}

int
mete__report_sweep(const char *folder, mete_buffer *out, mete_error *err)
{
    struct sweep s = {0};
    int status = sweep_read(folder, &s, err);
    if (!status) {
        mete__page_open(out, mete__page_name(folder), false);
        mete_buffer_string(out, "<p class=soft>Sweep of ");
        mete__page_text(out, mete_json_text(mete_json_get(s.json, "config")));
        mete_buffer_format(out, ": %zu trials, ", s.trials);
        mete__page_text(out, mete_json_text(mete_json_get(s.json, "method")));
        mete_buffer_format(out, ", %zu seed%s from %" PRIu64 "; ", s.seeds, s.seeds > 1 ? "s" : "",
                           s.first);
        mete__page_string(out, s.label[0]);
        if (s.seeds > 1)
            mete_buffer_format(out, "; means over seeds, Student's intervals at %g%%",
                               100 * s.confidence);
        if (s.seeds == 2 || s.seeds == 3)
            mete_buffer_string(out, ", cut at the end of an axis: so few seeds tell little");
        mete_buffer_string(out, "</p>\n");
        put_best(out, &s);
        put_dimensions(out, &s);
        put_front(out, &s);
        put_trials(out, &s);
        mete__page_close(out);
    }
    sweep_free(&s);
    return !status && out->status ? mete_error_set(err, METE_ENOMEM, "out of memory") : status;
}
