/* sweep_table.c - trials, best first. */
#include "cli/sweep.h"
#include "cli/table.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static size_t
widest(const mete__sweep *s, size_t d)
{
    size_t wide = strlen(s->dimension[d].path);
    for (size_t t = 0; t < s->trials; t++) {
        size_t length = strlen(s->trial[t].text[d]);
        wide = length > wide ? length : wide;
    }
    return wide;
}

static void
print_trial(const mete__sweep *s, const mete__trial *trial, const size_t *wide, bool rungs,
            double least, double most)
{
    printf("%s%c  %4zu", trial->name, s->metrics > 1 && trial->front ? '*' : ' ', trial->runs);
    if (rungs)
        printf("  %4zu", trial->rung + 1);
    for (size_t d = 0; d < s->dimensions; d++)
        printf("  %-*s", (int)wide[d], trial->text[d]);
    for (size_t m = 0; m < s->metrics; m++) {
        const mete__interval *i = &trial->interval[m];
        printf("  %10.4g", i->point);
        if (s->seeds > 1)
            printf(" [%8.4g, %8.4g]", i->lo, i->hi);
    }
    mete__bar_print(&trial->interval[0], least, most);
    printf("%s\n", trial->runs < s->seeds ? "  (runs are missing)" : "");
}

void
mete__sweep_table(const mete__sweep *s, const size_t *order)
{
    size_t wide[METE__MOST_DIMENSIONS];
    double least = INFINITY, most = -INFINITY;
    bool rungs = s->search == METE__HALVING;
    size_t columns = 17 + s->metrics * (s->seeds > 1 ? 33 : 12);
    for (size_t t = 0; t < s->trials; t++) {
        const mete__interval *i = &s->trial[t].interval[0];
        least = fmin(least, s->seeds > 3 ? i->lo : i->point); /* of few seeds it is cut */
        most = fmax(most, s->seeds > 3 ? i->hi : i->point);
    }
    printf("%zu trials, %s, over %zu seed%s from %" PRIu64, s->trials, mete__search_word[s->search],
           s->seeds, s->seeds > 1 ? "s" : "", s->first);
    if (s->seeds > 1)
        printf("; means with intervals at %g%%", 100 * s->confidence);
    printf("%s\n\ntrial  runs", s->metrics > 1 ? "; * is on the Pareto front" : "");
    if (rungs)
        printf("  rung");
    for (size_t d = 0; d < s->dimensions; d++) {
        wide[d] = widest(s, d);
        printf("  %-*s", (int)wide[d], s->dimension[d].path);
        columns += 2 + wide[d];
    }
    if (!mete__bars_wanted(columns))
        least = most;
    for (size_t m = 0; m < s->metrics; m++)
        printf("  %*s", s->seeds == 1 ? 10 : m + 1 < s->metrics ? -31 : 0, s->measure[m].text);
    putchar('\n');
    for (size_t i = 0; i < s->trials; i++)
        print_trial(s, &s->trial[order[i]], wide, rungs, least, most);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void
put_metric(mete_buffer *out, const mete__sweep *s, const mete__trial *trial, size_t m)
{
    mete_json_put_text(out, mete_text_from(s->measure[m].text));
    mete_buffer_string(out, ":{\"values\":[");
    for (size_t k = 0; k < s->seeds; k++) {
        double value = trial->value[m * s->seeds + k];
        mete_buffer_string(out, k ? "," : "");
        mete_json_put_number(out, value);
    }
    mete_buffer_byte(out, ']');
    mete__put_number(out, "mean", trial->interval[m].point);
    mete__put_number(out, "lo", trial->interval[m].lo);
    mete__put_number(out, "hi", trial->interval[m].hi);
    mete_buffer_byte(out, '}');
}

void
mete__sweep_json(const mete__sweep *s, const size_t *order, mete_buffer *out)
{
    mete_buffer_string(out, "{\"config\":");
    mete_json_put_text(out, mete_text_from(s->config));
    mete__put_number(out, "confidence", s->confidence);
    mete_buffer_string(out, ",\"metrics\":[");
    for (size_t m = 0; m < s->metrics; m++) {
        mete_buffer_string(out, m ? ",{\"name\":" : "{\"name\":");
        mete_json_put_text(out, mete_text_from(s->measure[m].text));
        mete_buffer_format(out, ",\"less\":%s}", s->measure[m].less ? "true" : "false");
    }
    mete_buffer_format(out, "],\"method\":\"%s\",\"seeds\":%zu,\"seeds_from\":%" PRIu64,
                       mete__search_word[s->search], s->seeds, s->first);
    mete_buffer_string(out, ",\"trials\":[");
    for (size_t i = 0; i < s->trials; i++) {
        const mete__trial *trial = &s->trial[order[i]];
        mete_buffer_format(out, "%s{\"name\":\"%s\",\"runs\":%zu,\"rung\":%zu,\"front\":%s",
                           i ? "," : "", trial->name, trial->runs, trial->rung + 1,
                           trial->front ? "true" : "false");
        mete_buffer_string(out, ",\"values\":{");
        for (size_t d = 0; d < s->dimensions; d++) {
            mete_buffer_string(out, d ? "," : "");
            mete_json_put_text(out, mete_text_from(s->dimension[d].path));
            mete_buffer_byte(out, ':');
            mete_json_put_text(out, mete_text_from(trial->text[d]));
        }
        mete_buffer_string(out, "},\"metrics\":{");
        for (size_t m = 0; m < s->metrics; m++) {
            mete_buffer_string(out, m ? "," : "");
            put_metric(out, s, trial, m);
        }
        mete_buffer_string(out, "}}");
    }
    mete_buffer_string(out, "]}\n");
}
