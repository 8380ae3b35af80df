/* selftest.h - the difficult batch that selftest and check score. */
#ifndef METE_CLI_SELFTEST_H
#define METE_CLI_SELFTEST_H

#include "cli/cli.h"
#include "run/checkpoint.h"

#define METE__HARD_ROWS 12
#define METE__HARD_GROUP 3 /* rows of one prompt */

struct mete__hard {
    mete_text response[METE__HARD_ROWS];
    const char *what[METE__HARD_ROWS];
    char *big;
};

bool mete__hard_make(struct mete__hard *hard);
void mete__hard_free(struct mete__hard *hard);

struct mete__scored {
    double value[METE__HARD_ROWS];
    uint8_t status[METE__HARD_ROWS];
    double sum[METE__HARD_ROWS]; /* of the children that are valid, each times its weight */
};

/* Scores rows [from, to) of the engine's reward, with a value for each column some node reads. All
 * of these: false with `why`. */
bool mete__hard_score(mete__engine *engine, const struct mete__hard *hard, size_t from, size_t to,
                      struct mete__scored *out, char *why, size_t room);
bool mete__hard_same(const struct mete__scored *a, const struct mete__scored *b,
                     const struct mete__hard *hard, char *why, size_t room);
bool mete__hard_finite(const struct mete__scored *s, const struct mete__hard *hard, char *why,
                       size_t room);
/* What METE_SUMS declares: each valid row's value is the sum, but for rounding. */
bool mete__hard_sums(const struct mete__scored *s, const struct mete__hard *hard, char *why,
                     size_t room);
/* Cut between groups at every place, each row scores as it did in the whole. */
bool mete__hard_cut(mete__engine *engine, const struct mete__scored *whole,
                    const struct mete__hard *hard, char *why, size_t room);
#endif
