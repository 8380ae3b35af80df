/* sweep.h - what the files of mete sweep share: what is searched over, trials, the table. */
#ifndef METE_CLI_SWEEP_H
#define METE_CLI_SWEEP_H

#include "cli/cli.h"
#include "cli/measure.h"
#include "run/statistics.h"

#include <mete/text.h>

enum {
    METE__MOST_DIMENSIONS = 16,
    METE__MOST_TRIALS = 4096,
    METE__MOST_METRICS = 8,
    METE__MOST_ITEMS = 256
};

typedef enum mete__search { METE__GRID, METE__RANDOM, METE__HALVING, METE__SEARCHES } mete__search;
extern const char *const mete__search_word[METE__SEARCHES];

/* One value of the config that is searched over: listed values, or a range. */
typedef struct mete__dimension {
    char *path;
    char **item; /* listed */
    size_t items;
    double lo, hi; /* else */
    bool integer, log;
} mete__dimension;

typedef struct mete__trial {
    char name[24];            /* its folder's */
    char **text;              /* [dimensions] the values */
    char **set;               /* [sets] path=value for --set */
    double *value;            /* [metrics][seeds]; NaN: the run failed or says nothing of it */
    mete__interval *interval; /* [metrics] of the mean over seeds */
    size_t runs;              /* whole */
    size_t rung;              /* the last it was run to */
    bool front;               /* no other trial is at least as good in all and better in one */
} mete__trial;

typedef struct mete__sweep {
    const mete__args *args;
    const char *config;
    mete__search search;
    mete__dimension dimension[METE__MOST_DIMENSIONS];
    mete__measure measure[METE__MOST_METRICS];
    size_t dimensions, metrics, trials, sets, seeds, points, eta;
    uint64_t first, draw;
    double confidence;
    uint64_t total; /* iterations of a run */
    mete__trial *trial;
} mete__sweep;

/* The values searched over, from `over` of the block or --over; ranges and scales that are not
 * given come from the option tables. */
void mete__dimensions_read(mete__sweep *s, mete__config *config, mete__value *block,
                           mete__errors *errors);
void mete__dimensions_free(mete__sweep *s);
/* The text of a value: of point i of a grid of `points`, or at u in [0, 1) of the dimension. */
size_t mete__dimension_points(const mete__dimension *d, size_t points);
void mete__dimension_point(const mete__dimension *d, size_t i, size_t points, char *out,
                           size_t room);
void mete__dimension_at(const mete__dimension *d, double u, char *out, size_t room);

/* `order` [trials]: best first. */
void mete__sweep_table(const mete__sweep *s, const size_t *order);
/* Appends one JSON object and a newline. */
void mete__sweep_json(const mete__sweep *s, const size_t *order, mete_buffer *out);

#endif
