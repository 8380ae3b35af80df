/* runner.h - many runs of one config, each in a process and a folder of its own, some at a time.
 *
 * A run stands in FOLDER/GROUP/SEED, with what it said in SEED.log and, once it is whole, its
 * summary in SEED.json: nothing else is kept, so a runner that was killed goes on from the folder
 * alone. Runs die with the runner, and its lock with the last of them: two never share a folder. */
#ifndef METE_CLI_RUNNER_H
#define METE_CLI_RUNNER_H

#include "cli/cli.h"

#include <limits.h>

typedef struct mete__job {
    const char *group; /* an arm, a trial: its folder's name */
    uint64_t seed;
    char *const *set; /* what its config differs in */
    size_t sets;
    uint64_t until; /* iterations; 0: to the end */
} mete__job;

typedef struct mete__runner {
    const mete__args *args; /* its sets, jobs, memory, quiet */
    const char *config;
    char folder[PATH_MAX];
    int lock;
    /* A run ended well, now or before; false stops all others. May be NULL. */
    bool (*ended)(void *user, size_t job);
    void *user;
} mete__runner;

/* Makes and locks --out, or runs/NAME-SUFFIX after the config; the exit code. */
int mete__runner_open(mete__runner *runner, const mete__args *args, const char *suffix);
void mete__runner_close(mete__runner *runner);
/* Reads the config of a group as its runs will, and makes its folder, unless that holds runs of
 * another config; the exit code after saying why not. */
int mete__runner_group(const mete__runner *runner, const mete__job *job);
/* All of `job` that are not whole, some at a time, in their order; the exit code. Those that fail
 * are told, and are not whole after it. */
int mete__runner_go(mete__runner *runner, const mete__job *job, size_t jobs);
/* Leaves the table in the folder as `name`, and the page made of it; says where that is. */
bool mete__runner_page(const mete__runner *runner, const char *name, const mete_buffer *table);
bool mete__job_whole(const mete__runner *runner, const mete__job *job);
/* FOLDER/GROUP/SEED and what follows it; false when that is too long. */
bool mete__job_path(const mete__runner *runner, const mete__job *job, const char *suffix,
                    char out[PATH_MAX]);

#endif
