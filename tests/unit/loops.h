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

#endif
