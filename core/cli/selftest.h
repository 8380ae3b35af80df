/* selftest.h - the difficult batch that selftest scores, and the engine around the plugin. */
#ifndef METE_CLI_SELFTEST_H
#define METE_CLI_SELFTEST_H

#include "cli/cli.h"
#include "run/checkpoint.h"

#define HARD_ROWS 12
#define HARD_GROUP 3 /* rows of one prompt */

struct hard {
    mete_text response[HARD_ROWS];
    const char *what[HARD_ROWS];
    char *big;
};

struct host {
    mete__config *config;
    mete__engine *engine;
};

bool hard_make(struct hard *hard);
void hard_free(struct hard *hard);

struct scored {
    double value[HARD_ROWS];
    uint8_t status[HARD_ROWS];
};

/* Scores rows [from, to) of the engine's reward, with a value for each column some node reads. All
 * of these: false with `why`. */
bool hard_score(mete__engine *engine, const struct hard *hard, size_t from, size_t to,
                struct scored *out, char *why, size_t room);
bool hard_same(const struct scored *a, const struct scored *b, const struct hard *hard, char *why,
               size_t room);
bool hard_finite(const struct scored *s, const struct hard *hard, char *why, size_t room);
/* Cut between groups at every place, each row scores as it did in the whole. */
bool hard_cut(mete__engine *engine, const struct scored *whole, const struct hard *hard, char *why,
              size_t room);
void host_close(struct host *host);

#endif
