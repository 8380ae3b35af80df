/* hard.h - the difficult batch that selftest and check score. */
#ifndef METE_CLI_HARD_H
#define METE_CLI_HARD_H

#include "cli/cli.h"
#include "run/checkpoint.h"

#define METE__HARD_ROWS 12
#define METE__HARD_GROUP 3 /* rows of one prompt */

struct mete__hard {
    mete_text response[METE__HARD_ROWS];
    const char *what[METE__HARD_ROWS];
    mete_text prompt[METE__HARD_ROWS / METE__HARD_GROUP];
    mete_text json; /* in every column of that type */
    char *big;
};

bool mete__hard_make(struct mete__hard *hard);
void mete__hard_free(struct mete__hard *hard);

/* The columns that some node of an engine reads. */
#define METE__HARD_COLUMNS 64
struct mete__hard_columns {
    int handle[METE__HARD_COLUMNS];
    const mete_field *field[METE__HARD_COLUMNS];
    size_t columns;
};
/* A builder's shape and columns; then row i with these, and any response. */
void mete__hard_begin(mete__engine *engine, mete__builder *builder, const mete__shape *shape,
                      struct mete__hard_columns *out);
bool mete__hard_row(const struct mete__hard *hard, const struct mete__hard_columns *columns,
                    mete__builder *builder, size_t i, mete_text response);
/* Rows [from, to) into a new builder: both, with the batch's own responses. */
bool mete__hard_batch(const struct mete__hard *hard, mete__engine *engine, mete__builder *builder,
                      size_t from, size_t to);

struct mete__scored {
    double value[METE__HARD_ROWS];
    uint8_t status[METE__HARD_ROWS];
    double sum[METE__HARD_ROWS]; /* of the children that are valid, each times its weight */
};

/* Scores rows [from, to) of the engine's reward. All of these: false with `why`. */
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
