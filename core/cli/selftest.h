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
/* Rows [from, to), with a value for each column some node reads. */
bool hard_batch(const struct hard *hard, mete__engine *engine, mete__builder *builder, size_t from,
                size_t to);
void host_close(struct host *host);

#endif
