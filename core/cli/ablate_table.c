/* ablate_table.c - from what was measured to intervals and tests, and how they are shown. */
#include "cli/ablate.h"
#include "cli/table.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- comparison ------------------------------------------------------------------------------ */

/* Paired differences of two arms over the seeds both have; how many. */
static size_t
differences(const mete__ablation *a, const mete__arm *x, const mete__arm *y, double *d)
{
    size_t n = 0;
    for (size_t s = 0; s < a->seeds; s++)
        if (isfinite(x->value[s]) && isfinite(y->value[s]))
            d[n++] = x->value[s] - y->value[s];
    return n;
}

static size_t
values(const mete__ablation *a, const mete__arm *arm, double *out)
{
    size_t n = 0;
    for (size_t s = 0; s < a->seeds; s++)
        if (isfinite(arm->value[s]))
            out[n++] = arm->value[s];
    return n;
}

static bool
compare_arm(mete__ablation *a, size_t k, double *d)
{
    mete__arm *arm = &a->arm[k], *full = &a->arm[0];
    size_t n = values(a, arm, d), m = values(a, full, d + a->seeds);
    bool good = !mete__bootstrap(d, &n, 1, mete__estimate_iqm, METE__RESAMPLES,
                                 mete__expanded(a->confidence, n), k, &arm->iqm);
    double more = mete__improvement(d, n, d + a->seeds, m);
    arm->failed = a->seeds - n;
    arm->improvement = a->measure.less ? 1 - more : more;
    arm->pairs = differences(a, arm, full, d);
    mete__mean_interval(d, arm->pairs, a->confidence, &arm->difference);
    arm->p = mete__sign_flip(d, arm->pairs, 100000, k);
    arm->effect = mete__effect(d, arm->pairs);
    return good;
}

static void
judge_claim(const mete__ablation *a, mete__claim *claim, double *d)
{
    size_t n = differences(a, &a->arm[claim->more], &a->arm[claim->less], d);
    mete__mean_interval(d, n, claim->confidence, &claim->difference);
    claim->holds = n >= claim->seeds && claim->difference.lo >= claim->margin;
}

/* Mean over the other factors' settings of what factor j changes, seed by seed. */
static void
main_effect(mete__ablation *a, size_t j, double *d)
{
    size_t n = 0;
    for (size_t s = 0; s < a->seeds; s++) {
        double sum = 0;
        for (size_t k = 0; k < a->arms; k++)
            sum += k >> j & 1 ? a->arm[k].value[s] : -a->arm[k].value[s];
        if (isfinite(sum))
            d[n++] = 2 * sum / (double)a->arms;
    }
    mete__mean_interval(d, n, a->confidence, &a->main_effect[j]);
}

bool
mete__ablation_compare(mete__ablation *a)
{
    double *d = calloc(2 * a->seeds + 1, sizeof *d), p[METE__MOST_ARMS];
    bool good = d != NULL;
    for (size_t k = 0; k < a->arms && good; k++) {
        good = compare_arm(a, k, d);
        p[k] = a->arm[k].p;
    }
    if (good && a->arms > 1)
        mete__holm(p + 1, a->arms - 1);
    for (size_t k = 1; k < a->arms; k++)
        a->arm[k].holm = good ? p[k] : NAN;
    for (size_t j = 0; j < a->factors && good; j++)
        main_effect(a, j, d);
    for (size_t c = 0; c < a->claims && good; c++)
        judge_claim(a, &a->claim[c], d);
    free(d);
    return good;
}

enum { BESIDE = 79 }; /* columns of what an arm has beside the first */

/* ---- the table ------------------------------------------------------------------------------- */

static void
print_arm(const mete__ablation *a, size_t k, int wide, double least, double most)
{
    const mete__arm *arm = &a->arm[k];
    char effect[16] = "-"; /* two seeds have none */
    if (isfinite(arm->effect))
        snprintf(effect, sizeof effect, "%+.2f", arm->effect);
    printf("%-*s  %4zu  %8.4g [%8.4g, %8.4g]", wide, arm->name, a->seeds - arm->failed,
           arm->iqm.point, arm->iqm.lo, arm->iqm.hi);
    if (k)
        printf("     %+10.4g [%+10.4g, %+10.4g]  %-8.3g %-8.3g %-7s %.2f", arm->difference.point,
               arm->difference.lo, arm->difference.hi, arm->p, arm->holm, effect, arm->improvement);
    else if (most > least)
        printf("%*s", BESIDE, "");
    mete__bar_print(&arm->iqm, least, most);
    if (arm->censored)
        printf("  (%zu never reached it)", arm->censored);
    printf("%s\n", arm->failed ? "  (runs are missing)" : "");
}

void
mete__ablation_table(const mete__ablation *a)
{
    size_t wide = 4;
    double least = INFINITY, most = -INFINITY;
    for (size_t k = 0; k < a->arms; k++) {
        const mete__arm *arm = &a->arm[k];
        wide = strlen(arm->name) > wide ? strlen(arm->name) : wide;
        least = fmin(least, arm->iqm.lo);
        most = fmax(most, arm->iqm.hi);
    }
    if (!mete__bars_wanted(wide + 37 + BESIDE))
        least = most;
    printf("%s over %zu seeds from %" PRIu64 "; intervals at %g%%%s\n\n", a->measure.text, a->seeds,
           a->first, 100 * a->confidence, a->measure.less ? "; less is better" : "");
    printf("%-*s  runs  %-32s %-36s %-8s %-8s %-7s %s\n", (int)wide, "arm", "interquartile mean",
           "difference from the first, paired", "p", "Holm p", "effect", "P(better)");
    for (size_t k = 0; k < a->arms; k++)
        print_arm(a, k, (int)wide, least, most);
    for (size_t j = 0; j < a->factors; j++) {
        const mete__interval *e = &a->main_effect[j];
        printf("%smain effect of %s: %+.4g [%+.4g, %+.4g]\n", j ? "" : "\n",
               a->arm[(size_t)1 << j].name, e->point, e->lo, e->hi);
    }
    for (size_t c = 0; c < a->claims; c++) {
        const mete__claim *claim = &a->claim[c];
        char at[32] = "";
        if (claim->confidence < a->confidence || claim->confidence > a->confidence)
            snprintf(at, sizeof at, " at %g%%", 100 * claim->confidence);
        printf("%s%s > %s by %g%s: %s (the difference is at least %.4g)\n", c ? "" : "\n",
               a->arm[claim->more].name, a->arm[claim->less].name, claim->margin, at,
               claim->holds ? "holds" : "does not hold", claim->difference.lo);
    }
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void
put_interval(mete_buffer *out, const char *name, const mete__interval *interval)
{
    char end[64];
    mete__put_number(out, name, interval->point);
    snprintf(end, sizeof end, "%s_lo", name);
    mete__put_number(out, end, interval->lo);
    snprintf(end, sizeof end, "%s_hi", name);
    mete__put_number(out, end, interval->hi);
}

static void
put_arm(mete_buffer *out, const mete__ablation *a, const mete__arm *arm)
{
    mete_buffer_string(out, "{\"name\":");
    mete_json_put_text(out, mete_text_from(arm->name));
    mete__put_number(out, "runs", (double)(a->seeds - arm->failed));
    if (a->measure.form == METE__REACH)
        mete__put_number(out, "never_reached", (double)arm->censored);
    put_interval(out, "iqm", &arm->iqm);
    if (arm != &a->arm[0]) {
        put_interval(out, "difference", &arm->difference);
        mete__put_number(out, "p", arm->p);
        mete__put_number(out, "holm_p", arm->holm);
        mete__put_number(out, "effect", arm->effect);
        mete__put_number(out, "improvement", arm->improvement);
    }
    mete_buffer_string(out, ",\"set\":[");
    for (size_t i = 0; i < arm->sets; i++) {
        mete_buffer_string(out, i ? "," : "");
        mete_json_put_text(out, mete_text_from(arm->set[i]));
    }
    mete_buffer_string(out, "],\"values\":[");
    for (size_t s = 0; s < a->seeds; s++) {
        mete_buffer_string(out, s ? "," : "");
        mete_json_put_number(out, arm->value[s]);
    }
    mete_buffer_string(out, "]}");
}

void
mete__ablation_json(const mete__ablation *a, mete_buffer *out)
{
    mete_buffer_string(out, "{\"config\":");
    mete_json_put_text(out, mete_text_from(a->config));
    mete_buffer_string(out, ",\"metric\":");
    mete_json_put_text(out, mete_text_from(a->measure.text));
    mete_buffer_string(out, ",\"name\":");
    mete_json_put_text(out, mete_text_from(a->measure.name));
    mete__put_number(out, "confidence", a->confidence);
    mete_buffer_format(out, ",\"digest\":\"%016" PRIx64 "\"", a->digest);
    mete_buffer_format(out, ",\"less\":%s,\"seeds\":%zu,\"seeds_from\":%" PRIu64 ",\"arms\":[",
                       a->measure.less ? "true" : "false", a->seeds, a->first);
    for (size_t k = 0; k < a->arms; k++) {
        mete_buffer_string(out, k ? "," : "");
        put_arm(out, a, &a->arm[k]);
    }
    mete_buffer_string(out, "],\"main_effects\":[");
    for (size_t j = 0; j < a->factors; j++) {
        mete_buffer_string(out, j ? ",{\"name\":" : "{\"name\":");
        mete_json_put_text(out, mete_text_from(a->arm[(size_t)1 << j].name));
        put_interval(out, "effect", &a->main_effect[j]);
        mete_buffer_string(out, "}");
    }
    mete_buffer_string(out, "],\"claims\":[");
    for (size_t c = 0; c < a->claims; c++) {
        const mete__claim *claim = &a->claim[c];
        mete_buffer_string(out, c ? ",{\"more\":" : "{\"more\":");
        mete_json_put_text(out, mete_text_from(a->arm[claim->more].name));
        mete_buffer_string(out, ",\"less\":");
        mete_json_put_text(out, mete_text_from(a->arm[claim->less].name));
        mete__put_number(out, "margin", claim->margin);
        mete__put_number(out, "confidence", claim->confidence);
        mete__put_number(out, "at_least", claim->difference.lo);
        put_interval(out, "difference", &claim->difference);
        mete_buffer_string(out, ",\"text\":");
        mete_json_put_text(out, mete_text_from(claim->text));
        mete_buffer_format(out, ",\"holds\":%s}", claim->holds ? "true" : "false");
    }
    mete_buffer_string(out, "]}\n");
}
