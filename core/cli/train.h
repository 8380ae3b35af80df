/* train.h - what run and resume share: the loop driven to its end with checkpoints, progress and
 * signals. */
#ifndef METE_CLI_TRAIN_H
#define METE_CLI_TRAIN_H

#include "cli/cli.h"
#include "loop/loop.h"
#include "run/rundir.h"

/* The words of `run` that are the commands' own. */
typedef struct mete__run_options {
    const char *out; /* NULL: not given */
    uint64_t seed;
    uint64_t every; /* iterations between checkpoints; 0: only at the end */
    double seconds; /* or so much time; 0: never by time */
    size_t keep;
    unsigned threads;
    bool csv, tensorboard; /* metrics in these formats, too */
} mete__run_options;

typedef struct mete__training {
    const mete__args *args;
    mete__config *config;
    char *text;  /* the resolved config */
    char **path; /* file names in it that were made absolute; owned */
    size_t paths;
    mete__run_options options;
    mete__engine *engine;
    mete__loop *loop;
    mete__rundir *rundir;
    struct mete__progress *progress;
    double page_at, page_took; /* --report: when the page was written last, and how long it took */
    bool page_told;            /* that it cannot be */
} mete__training;

void mete__run_options_read(const mete__args *args, mete__config *config, mete__run_options *out,
                            mete__errors *errors);
/* Reads the run's words, opens engine and loop. false after printing what was wrong. */
bool mete__training_open(mete__training *training);
/* Makes the config's file names absolute. false: out of memory. */
bool mete__training_resolve(mete__training *training);
void mete__training_close(mete__training *training);
/* Opens the files of run.metrics; after the rundir, before anything is written or cut. */
int mete__training_outputs(mete__training *training, mete_error *err);
/* Gives the policy of a loop that has not begun the parameters that policy.from names, if it does;
 * the exit code after saying what is wrong. */
int mete__begin_from(mete__loop *loop, mete__config *config);
/* The opened loop as the newest whole checkpoint of the run in `folder` left it; the exit code
 * after saying what is wrong. */
int mete__training_load(mete__training *training, const char *folder);
/* A new run folder (--out, run.out, or runs/NAME of the config), and all of the run; the exit code.
 */
int mete__training_start(mete__training *training, const char *config);
/* From where the loop stands to its end; the exit code. The rundir is open. */
int mete__training_go(mete__training *training);
/* Prints the loop's summary; the exit code. */
int mete__training_summary(const mete__training *training);
/* Facts in each checkpoint that say whether a resumed run can end with the same bits. */
int mete__training_facts(const mete__training *training, mete__checkpoint *checkpoint,
                         mete_error *err);
/* Why the checkpoint is not of this config, seed and arithmetic: a sentence in err. */
int mete__training_matches(const mete__training *training, const mete__checkpoint *checkpoint,
                           mete_error *err);

/* Journals where the run runs. */
void mete__training_machine(mete__training *training);

/* progress.c: one rewritten line on a terminal, else plain lines now and then. */
typedef struct mete__progress mete__progress;
mete__progress *mete__progress_new(bool quiet, uint64_t done);
void mete__progress_show(mete__progress *progress, const char *stage, uint64_t done, uint64_t total,
                         const char *headline);
/* Ends the rewritten line, so that other words can be printed. */
void mete__progress_rest(mete__progress *progress);
void mete__progress_free(mete__progress *progress);

#endif
