/* measure.h - what is compared of runs: a logged metric's last value, its area, or when it gets
 * somewhere. */
#ifndef METE_CLI_MEASURE_H
#define METE_CLI_MEASURE_H

#include <mete/base.h>
#include <stdbool.h>

typedef struct mete__measure {
    const char *text; /* as it was asked for; borrowed */
    enum { METE__LAST, METE__AREA, METE__REACH } form;
    char name[256];   /* of the metric */
    double threshold; /* METE__REACH */
    bool less;        /* less of it is better */
} mete__measure;

/* "NAME" (its last value), "area(NAME)" (its mean height over iterations), "reach(NAME, NUMBER)"
 * (iterations until it is at least that); a "-" before it: less is better, as of reach it always
 * is. METE_EINVAL with a sentence that gives the column. */
int mete__measure_parse(const char *text, mete__measure *out, mete_error *err);
/* Of a run's metrics.jsonl, its iterations before `until` (0: all). NAN when the metric is not in
 * it. A metric that never reaches the threshold counts as reaching it at the run's end, and sets
 * *censored. */
double mete__measure_read(const mete__measure *measure, const char *path, uint64_t until,
                          bool *censored);
/* Says that the metric is not in the file, which is, and what the nearest is called. */
void mete__measure_unknown(const mete__measure *measure, const char *path);

#endif
