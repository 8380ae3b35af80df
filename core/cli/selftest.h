/* selftest.h - what the checks of mete selftest share: the plugin, an engine around it, a line a
 * check.
 */
#ifndef METE_CLI_SELFTEST_H
#define METE_CLI_SELFTEST_H

#include "cli/cli.h"
#include "run/checkpoint.h"

typedef struct mete__selftest {
    const mete__args *args;
    const mete__plugin *plugin;
    int failures;
} mete__selftest;

/* A line on standard output: what was checked, and why it does not hold. */
void mete__selftest_tell(mete__selftest *t, bool good, const char *what, const char *why);
/* ... or why it does not apply. */
void mete__selftest_skip(const mete__selftest *t, const char *what, const char *why);

/* The smallest config that holds the plugin, and the --set of the command, opened. */
typedef struct mete__host {
    mete__config *config;
    mete__engine *engine;
} mete__host;

bool mete__host_open(const mete__selftest *t, mete__host *host, unsigned threads, mete_error *err);
void mete__host_close(mete__host *host);
/* Everything `from` learnt and keeps goes into `to`. */
bool mete__host_copy(const mete__host *from, mete__host *to, mete_error *err);

/* What the contract says of each kind, a file each. */
void mete__selftest_reward(mete__selftest *t);
void mete__selftest_rubric(mete__selftest *t);
void mete__selftest_policy(mete__selftest *t);
void mete__selftest_environment(mete__selftest *t);
#endif
