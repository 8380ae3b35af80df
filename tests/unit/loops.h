/* loops.h - a loop that stays open, to look into. */
#ifndef METE_TEST_LOOPS_H
#define METE_TEST_LOOPS_H

#include "loop/inner.h"

struct opened {
    mete__config *config;
    mete__engine *engine;
    mete__loop *loop;
};

/* Opens engine and loop of a config; anything wrong with it ends the test. */
struct opened open_loop(const char *text);
struct opened open_loop_on(const char *text, unsigned threads);
void close_loop(struct opened *opened);
/* The rest of its iterations, which must succeed. */
void finish(struct opened *opened);
/* A batch of what the policy says, or of the given texts of the column `responses`. */
const mete_batch *collect(struct opened *opened, const char *responses);
/* The batch's column of that name at that level, which must be there. */
const mete_column *column(const mete_batch *batch, const char *name, mete_level level);

#endif
