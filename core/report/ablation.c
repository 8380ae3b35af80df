/* ablation.c - the page of an ablation: what each arm changes and how sure that is, claims, values,
 * performance profiles (Agarwal et al. 2021), learning curves. All figures are those of the table
 * that mete ablate left; only curves are read from the runs. */
#include "report/page.h"
#include "report/plot.h"
#include "report/report.h"
#include "run/curve.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CURVES_MOST 24   /* arms with a learning curve */
#define PROFILES_MOST 16 /* arms in the profiles */
#define THRESHOLDS 200

struct arm {
    char *name;
    const mete_json *json;
    mete__interval iqm, difference;
    double holm, *value;
};

struct ablation {
    const char *folder;
    mete_json *json;
    struct arm *arm;
    size_t arms, seeds;
    uint64_t first;
    double confidence;
    bool less; /* is better */
    char *metric, *name;
};

/* ---- reading --------------------------------------------------------------------------------- */

static mete__interval
interval_of(const mete_json *object, const char *name)
{
    char lo[64], hi[64];
    snprintf(lo, sizeof lo, "%s_lo", name);
    snprintf(hi, sizeof hi, "%s_hi", name);
    return (mete__interval){mete_json_number(mete_json_get(object, lo)),
                            mete_json_number(mete_json_get(object, name)),
                            mete_json_number(mete_json_get(object, hi))};
}

static double
number_of(const mete_json *object, const char *name)
{
    return mete_json_number(mete_json_get(object, name));
}

static bool
read_arm(const struct ablation *a, const mete_json *json, struct arm *arm)
{
    const mete_json *values = mete_json_get(json, "values"), *value = mete_json_first(values);
    arm->json = json;
    arm->name = mete__page_member(json, "name");
    arm->iqm = interval_of(json, "iqm");
    arm->difference = interval_of(json, "difference");
    arm->holm = number_of(json, "holm_p");
    arm->value = calloc(a->seeds + 1, sizeof *arm->value);
    for (size_t s = 0; arm->value && s < a->seeds;
         s++, value = value ? mete_json_next(value) : NULL)
        arm->value[s] = mete_json_number(value);
    return arm->name && arm->value;
}

static int
ablation_read(const char *folder, struct ablation *a, mete_error *err)
{
    int status = mete__page_json(folder, METE__ABLATION_FILE, &a->json, err);
    if (status)
        return status;
    const mete_json *arms = mete_json_get(a->json, "arms");
    double seeds = number_of(a->json, "seeds"), first = number_of(a->json, "seeds_from");
    double confidence = number_of(a->json, "confidence");
    a->folder = folder;
    a->metric = mete__page_member(a->json, "metric");
    a->name = mete__page_member(a->json, "name");
    if (!a->metric || !a->name || !(seeds >= 1 && seeds <= 1e6) || !(first >= 0 && first < 1e15) ||
        !(confidence > 0 && confidence < 1) || !mete_json_count(arms))
        return mete_error_set(err, METE_EDATA,
                              "%s/" METE__ABLATION_FILE " is not what mete ablate leaves", folder);
    if (*a->metric == '-') /* said in words */
        memmove(a->metric, a->metric + 1, strlen(a->metric));
    a->seeds = (size_t)seeds;
    a->first = (uint64_t)first;
    a->confidence = confidence;
    a->less = mete_json_bool(mete_json_get(a->json, "less")) == 1;
    a->arm = calloc(mete_json_count(arms), sizeof *a->arm);
    for (const mete_json *arm = mete_json_first(arms); arm && a->arm; arm = mete_json_next(arm))
        if (!read_arm(a, arm, &a->arm[a->arms++]))
            return mete_error_set(err, METE_EDATA, "%s: an arm has no name", folder);
    return a->arm ? METE_OK : mete_error_set(err, METE_ENOMEM, "out of memory");
}

static void
ablation_free(struct ablation *a)
{
    for (size_t k = 0; k < a->arms; k++) {
        free(a->arm[k].name);
        free(a->arm[k].value);
    }
    free(a->arm);
    free(a->metric);
    free(a->name);
    mete_json_free(a->json);
}

/* ---- what each arm changes ------------------------------------------------------------------- */

/* 1: better than the first, -1: worse, 0: the interval holds no difference. */
static int
direction(const struct ablation *a, const mete__interval *difference)
{
    int sign = difference->lo > 0 ? 1 : difference->hi < 0 ? -1 : 0;
    return a->less ? -sign : sign;
}

static const char *
hue_of(int direction)
{
    return direction > 0 ? "up" : direction < 0 ? "down" : "";
}

static void
put_verdict(mete_buffer *out, const struct ablation *a, const struct arm *arm)
{
    int sign = direction(a, &arm->difference);
    mete_buffer_format(out, "<td class=\"text %s\">%s%s</td>", hue_of(sign),
                       sign > 0   ? "better"
                       : sign < 0 ? "worse"
                                  : "no difference shown",
                       sign && !(arm->holm < 1 - a->confidence) ? ", but not by Holm" : "");
}

static size_t
most_pairs(const struct ablation *a)
{
    size_t most = 0;
    for (size_t k = 1; k < a->arms; k++) {
        size_t pairs = 0;
        for (size_t s = 0; s < a->seeds; s++)
            pairs += isfinite(a->arm[k].value[s]) && isfinite(a->arm[0].value[s]);
        most = pairs > most ? pairs : most;
    }
    return most;
}

static void
put_effect(mete_buffer *out, const struct ablation *a, const mete__axis *axis,
           const struct arm *arm)
{
    double d[1024];
    size_t n = 0;
    for (size_t s = 0; s < a->seeds && n < sizeof d / sizeof *d; s++)
        d[n++] = arm->value[s] - a->arm[0].value[s];
    mete_buffer_string(out, "<tr><td>");
    mete__page_string(out, arm->name);
    mete_buffer_string(out, "</td><td>");
    mete__page_strip(out, axis, 0, &arm->difference, d, n, hue_of(direction(a, &arm->difference)));
    mete_buffer_string(out, "</td><td>");
    mete__page_interval(out, &arm->difference);
    mete_buffer_string(out, "</td>");
    put_verdict(out, a, arm);
    mete__page_cell(out, arm->holm);
    mete__page_cell(out, number_of(arm->json, "p"));
    mete__page_cell(out, number_of(arm->json, "improvement"));
    mete__page_cell(out, number_of(arm->json, "effect"));
    mete_buffer_string(out, "</tr>\n");
}

static void
put_effects(mete_buffer *out, const struct ablation *a)
{
    char label[400];
    snprintf(label, sizeof label, "difference of %s", a->metric);
    mete__axis axis = mete__axis_make(label);
    size_t pairs = most_pairs(a);
    mete__axis_take(&axis, 0);
    for (size_t k = 1; k < a->arms; k++) {
        mete__axis_take_interval(&axis, &a->arm[k].difference);
        for (size_t s = 0; s < a->seeds; s++)
            mete__axis_take(&axis, a->arm[k].value[s] - a->arm[0].value[s]);
    }
    mete__axis_settle(&axis);
    mete_buffer_string(out, "<h2>What each arm changes</h2>\n<p class=soft>Arm minus ");
    mete__page_string(out, a->arm[0].name);
    mete_buffer_format(out,
                       ", paired by seed: mean with Student's %g%% interval, and each seed's "
                       "difference as a faint dot. p is of sign flips",
                       100 * a->confidence);
    if (pairs && pairs <= 20)
        mete_buffer_format(out, ", all of them: of %zu pairs none is below %.2g", pairs,
                           ldexp(1, 1 - (int)pairs));
    mete_buffer_string(out,
                       "; Holm's is corrected for the number of arms. P(better) is the "
                       "probability that a run of the arm beats one of the first.</p>\n<div "
                       "class=wide><table><tr><th>arm<th><th>difference<th class=text>verdict<th>"
                       "Holm p<th>p<th>P(better)<th>effect size</tr>\n");
    for (size_t k = 1; k < a->arms; k++)
        put_effect(out, a, &axis, &a->arm[k]);
    mete_buffer_string(out, "<tr class=scale><td></td><td>");
    mete__page_scale(out, &axis);
    mete_buffer_string(out, "</td></tr></table></div>\n");
}

/* ---- claims and main effects ----------------------------------------------------------------- */

static void
put_claims(mete_buffer *out, const struct ablation *a)
{
    const mete_json *claims = mete_json_get(a->json, "claims");
    if (!mete_json_count(claims))
        return;
    mete_buffer_string(out, "<h2>Claims</h2>\n<div class=wide><table><tr><th>claim<th "
                            "class=text>verdict<th>margin<th>difference at least<th>at</tr>\n");
    for (const mete_json *c = mete_json_first(claims); c; c = mete_json_next(c)) {
        bool holds = mete_json_bool(mete_json_get(c, "holds")) == 1;
        mete_buffer_string(out, "<tr><td>");
        mete__page_text(out, mete_json_text(mete_json_get(c, "more")));
        mete_buffer_string(out, " &gt; ");
        mete__page_text(out, mete_json_text(mete_json_get(c, "less")));
        mete_buffer_format(out, "</td><td class=\"text %s\">%s</td>", holds ? "up" : "down",
                           holds ? "holds" : "does not hold");
        mete__page_cell(out, number_of(c, "margin"));
        mete__page_cell(out, number_of(c, "at_least"));
        mete_buffer_format(out, "<td>%g%%</td></tr>\n", 100 * number_of(c, "confidence"));
    }
    mete_buffer_string(out, "</table></div>\n");
}

static void
put_main_effects(mete_buffer *out, const struct ablation *a)
{
    const mete_json *effects = mete_json_get(a->json, "main_effects");
    mete__axis axis = mete__axis_make("main effect");
    if (!mete_json_count(effects))
        return;
    mete__axis_take(&axis, 0);
    for (const mete_json *e = mete_json_first(effects); e; e = mete_json_next(e)) {
        mete__interval i = interval_of(e, "effect");
        mete__axis_take_interval(&axis, &i);
    }
    mete__axis_settle(&axis);
    mete_buffer_string(out, "<h2>Main effects</h2>\n<p class=soft>What a factor changes, averaged "
                            "over all settings of the others.</p>\n<div class=wide><table><tr><th>"
                            "factor<th><th>effect</tr>\n");
    for (const mete_json *e = mete_json_first(effects); e; e = mete_json_next(e)) {
        mete__interval i = interval_of(e, "effect");
        mete_buffer_string(out, "<tr><td>");
        mete__page_text(out, mete_json_text(mete_json_get(e, "name")));
        mete_buffer_string(out, "</td><td>");
        mete__page_strip(out, &axis, 0, &i, NULL, 0, hue_of(direction(a, &i)));
        mete_buffer_string(out, "</td><td>");
        mete__page_interval(out, &i);
        mete_buffer_string(out, "</td></tr>\n");
    }
    mete_buffer_string(out, "<tr class=scale><td></td><td>");
    mete__page_scale(out, &axis);
    mete_buffer_string(out, "</td></tr></table></div>\n");
}

/* ---- values ---------------------------------------------------------------------------------- */

static void
put_values(mete_buffer *out, const struct ablation *a)
{
    mete__axis axis = mete__axis_make(a->metric);
    for (size_t k = 0; k < a->arms; k++) {
        mete__axis_take_interval(&axis, &a->arm[k].iqm);
        for (size_t s = 0; s < a->seeds; s++)
            mete__axis_take(&axis, a->arm[k].value[s]);
    }
    mete__axis_settle(&axis);
    mete_buffer_format(out,
                       "<h2>Values</h2>\n<p class=soft>Interquartile mean over seeds with its "
                       "%g%% bootstrap interval; a run is a faint dot.</p>\n<div class=wide><table>"
                       "<tr><th>arm<th><th>interquartile mean<th>runs<th class=text>sets</tr>\n",
                       100 * a->confidence);
    for (size_t k = 0; k < a->arms; k++) {
        const struct arm *arm = &a->arm[k];
        double never = number_of(arm->json, "never_reached");
        mete_buffer_string(out, "<tr><td>");
        mete__page_string(out, arm->name);
        mete_buffer_string(out, "</td><td>");
        mete__page_strip(out, &axis, NAN, &arm->iqm, arm->value, a->seeds, "");
        mete_buffer_string(out, "</td><td>");
        mete__page_interval(out, &arm->iqm);
        mete_buffer_format(out, "</td><td>%.0f of %zu", number_of(arm->json, "runs"), a->seeds);
        if (never > 0)
            mete_buffer_format(out, ", %.0f never reached it", never);
        mete_buffer_string(out, "</td><td class=\"text soft\">");
        const mete_json *set = mete_json_get(arm->json, "set");
        for (const mete_json *s = mete_json_first(set); s; s = mete_json_next(s)) {
            mete__page_text(out, mete_json_text(s));
            mete_buffer_string(out, "<br>");
        }
        mete_buffer_string(out, "</td></tr>\n");
    }
    mete_buffer_string(out, "<tr class=scale><td></td><td>");
    mete__page_scale(out, &axis);
    mete_buffer_string(out, "</td></tr></table></div>\n");
}

/* P(value > threshold) by threshold, each arm a line. */
static void
put_profiles(mete_buffer *out, const struct ablation *a)
{
    mete__plot plot = {mete__axis_make(a->metric), {.lo = 0, .hi = 1, .label = "share of runs"}};
    double at[THRESHOLDS], share[THRESHOLDS], *value = calloc(a->seeds + 1, sizeof *value);
    size_t shown = a->arms < PROFILES_MOST ? a->arms : PROFILES_MOST;
    for (size_t k = 0; k < a->arms; k++)
        for (size_t s = 0; s < a->seeds; s++)
            mete__axis_take(&plot.x, a->arm[k].value[s]);
    mete__axis_settle(&plot.x);
    for (size_t i = 0; i < THRESHOLDS; i++)
        at[i] = plot.x.lo + (plot.x.hi - plot.x.lo) * (double)i / (THRESHOLDS - 1);
    mete_buffer_string(out, "<h2>Performance profiles</h2>\n<p class=soft>The share of an arm's "
                            "runs whose value is above what stands below. A line that is above "
                            "another everywhere is better at every height");
    mete_buffer_string(out,
                       a->less ? "; here less is better, so lower is.</p>\n<p>" : ".</p>\n<p>");
    for (size_t k = 0; k < shown; k++)
        mete__plot_key(out, a->arm[k].name, k);
    mete_buffer_string(out, "</p>\n<div class=plots>");
    mete__plot_open(out, &plot, "Runs above a value");
    for (size_t k = shown; value && k-- > 0;) {
        size_t n = 0;
        for (size_t s = 0; s < a->seeds; s++)
            if (isfinite(a->arm[k].value[s]))
                value[n++] = a->arm[k].value[s];
        mete__profile(value, n, at, THRESHOLDS, share);
        if (n)
            mete__plot_line(out, &plot, at, share, THRESHOLDS, k);
    }
    mete__plot_close(out);
    mete_buffer_string(out, "</div>\n");
    free(value);
}

/* ---- curves ---------------------------------------------------------------------------------- */

struct point {
    double x, y;
};

static int
by_x(const void *a, const void *b)
{
    const struct point *p = a, *q = b;
    return (p->x > q->x) - (p->x < q->x);
}

/* All seeds' points as one series, by iteration: a chart's parts then are means over seeds, and its
 * band reaches from the least to the greatest of them. */
static bool
merged(const struct ablation *a, const struct arm *arm, mete__series *out)
{
    mete__curve curve = {0};
    char path[PATH_MAX];
    bool good = true;
    for (size_t s = 0; s < a->seeds && good; s++) {
        snprintf(path, sizeof path, "%s/%s/%" PRIu64 "/metrics.jsonl", a->folder, arm->name,
                 a->first + s);
        good = isnan(arm->value[s]) || !mete__curve_read(path, a->name, 0, &curve);
    }
    struct point *point = malloc((curve.n + 1) * sizeof *point);
    for (size_t i = 0; point && i < curve.n; i++)
        point[i] = (struct point){curve.x[i], curve.y[i]};
    if (point)
        qsort(point, curve.n, sizeof *point, by_x);
    for (size_t i = 0; point && i < curve.n; i++) {
        curve.x[i] = point[i].x;
        curve.y[i] = point[i].y;
    }
    *out = (mete__series){.name = arm->name, .at = curve.x, .value = curve.y, .count = curve.n};
    good = good && point;
    free(point);
    return good;
}

static void
put_curves(mete_buffer *out, const struct ablation *a)
{
    mete__series first, other;
    size_t shown = 0;
    bool good = merged(a, &a->arm[0], &first);
    for (size_t k = 1; k < a->arms && good && first.count > 1 && shown < CURVES_MOST; k++) {
        good = merged(a, &a->arm[k], &other);
        if (good && other.count > 1) {
            if (!shown++) {
                mete_buffer_string(out, "<h2>Learning curves</h2>\n<p class=soft>");
                mete__page_string(out, a->name);
                mete_buffer_string(out, " by iteration, mean over seeds and the band from the "
                                        "least to the greatest of them: <b class=one>");
                mete__page_string(out, a->arm[0].name);
                mete_buffer_string(out, "</b> and <b class=two>the arm named</b>.</p>\n<div "
                                        "class=charts>\n");
            }
            first.name = other.name;
            mete__page_pair(out, &first, &other);
        }
        free(other.at);
        free(other.value);
    }
    mete_buffer_string(out, shown ? "</div>\n" : "");
    free(first.at);
    free(first.value);
}

/* ---- runs ------------------------------------------------------------------------------------ */

static void
put_runs(mete_buffer *out, const struct ablation *a)
{
    mete_buffer_string(out, "<h2>Runs</h2>\n<p class=soft>Each run stands in ARM/SEED beside this "
                            "page. A value leads to the run's own page once mete report ARM/SEED "
                            "has made it.</p>\n<details open><summary>");
    mete__page_string(out, a->metric);
    mete_buffer_string(out, " by arm and seed</summary><div class=wide><table><tr><th>arm");
    for (size_t s = 0; s < a->seeds; s++)
        mete_buffer_format(out, "<th>%" PRIu64, a->first + s);
    mete_buffer_string(out, "</tr>\n");
    for (size_t k = 0; k < a->arms; k++) {
        mete_buffer_string(out, "<tr><td>");
        mete__page_string(out, a->arm[k].name);
        mete_buffer_string(out, "</td>");
        for (size_t s = 0; s < a->seeds; s++) {
            mete_buffer_string(out, "<td>");
            bool linked = mete__page_link(out, a->folder, a->arm[k].name, a->first + s);
            mete__page_number(out, a->arm[k].value[s]);
            mete_buffer_string(out, linked ? "</a></td>" : "</td>");
        }
        mete_buffer_string(out, "</tr>\n");
    }
    mete_buffer_string(out, "</table></div></details>\n");
}

int
mete__report_ablation(const char *folder, mete_buffer *out, mete_error *err)
{
    struct ablation a = {0};
    int status = ablation_read(folder, &a, err);
    if (!status) {
        mete__page_open(out, mete__page_name(folder), false);
        mete_buffer_string(out, "<p class=soft>Ablation of ");
        mete__page_text(out, mete_json_text(mete_json_get(a.json, "config")));
        mete_buffer_format(out, ": %zu arms, %zu seeds from %" PRIu64 "; ", a.arms, a.seeds,
                           a.first);
        mete__page_string(out, a.metric);
        mete_buffer_string(out, a.less ? ", less is better</p>\n" : ", more is better</p>\n");
        put_effects(out, &a);
        put_claims(out, &a);
        put_main_effects(out, &a);
        put_values(out, &a);
        put_profiles(out, &a);
        put_curves(out, &a);
        put_runs(out, &a);
        mete__page_close(out);
    }
    ablation_free(&a);
    return !status && out->status ? mete_error_set(err, METE_ENOMEM, "out of memory") : status;
}
