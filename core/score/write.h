/* write.h - scores as JSON lines, and their summary. */
#ifndef METE_SCORE_WRITE_H
#define METE_SCORE_WRITE_H

#include "score/rows.h"

#include <stdio.h>

/* A node whose scores are written. */
typedef struct mete__shown {
    const mete_node *node;
    const char *name; /* lives as long as the engine */
    char *key;        /* "name": as JSON */
    size_t key_length;
    const mete_scores *scores; /* of the chunk; NULL: it was not evaluated */
    double sum;
    uint64_t count[4]; /* by mete_row_status */
} mete__shown;

typedef struct mete__report_sum {
    mete__shown *shown; /* the root, then the nodes below */
    size_t showns;
    bool full;
    uint64_t records, unread;
    size_t slots;
    uint32_t *row; /* [slots] row of a slot, UINT32_MAX: bad */
    size_t room;
} mete__report_sum;

bool mete__score_open(mete__report_sum *sum, mete__engine *engine, bool full);
void mete__score_close(mete__report_sum *sum);
/* Takes the scores of the chunk just scored into the summary. */
void mete__score_begin(mete__report_sum *sum, const mete__rows *rows, size_t slots);
const char *mete__status_name(uint8_t status);
/* A score for trainers: null where it is none, and with a point where it is whole, for a list of
 * whole numbers is no list of floats to them. */
int mete__put_score(mete_buffer *out, double number);
/* Appends the lines of slots [from, to). */
void mete__score_write(const mete__report_sum *sum, const mete__rows *rows, size_t from, size_t to,
                       mete_buffer *out);
void mete__score_summary(const mete__report_sum *sum, bool json, double seconds, FILE *to);

#endif
