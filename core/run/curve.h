/* curve.h - one metric of a run's metrics.jsonl over its iterations. */
#ifndef METE_RUN_CURVE_H
#define METE_RUN_CURVE_H

#include <stddef.h>
#include <stdint.h>

typedef struct mete__curve {
    double *x, *y; /* iterations and finite values, [n] */
    size_t n, room;
    double end; /* iterations the file tells of, with the metric or without */
} mete__curve;

/* Appends the metric's values in iterations before `until` (0: all). A file that is not there, or
 * does not hold the metric, adds none. 0, or -1 when out of memory. */
int mete__curve_read(const char *path, const char *name, uint64_t until, mete__curve *curve);
void mete__curve_free(mete__curve *curve);

#endif
