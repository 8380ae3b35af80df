/* cli.h - what the commands share: arguments, exit codes, sinks, signals. One file a command. */
#ifndef METE_CLI_CLI_H
#define METE_CLI_CLI_H

#include "base/say.h"
#include "engine/engine.h"
#include <mete/text.h>

#include <stdbool.h>
#include <stdio.h>

/* How a command ended. */
enum {
    METE__EXIT_DONE = 0,
    METE__EXIT_FAILED = 1,      /* the run failed */
    METE__EXIT_INPUT = 2,       /* bad config or data */
    METE__EXIT_INTERRUPTED = 3, /* interrupted and saved */
    METE__EXIT_CLAIM = 4,       /* a claim does not hold */
    METE__EXIT_USAGE = 64
};

typedef struct mete__args {
    const char *command;
    char **operand;
    size_t operands;
    const char **set; /* "path=value"; those made here are in `made` */
    size_t sets;
    char *made;
    unsigned threads; /* 0: not given */
    bool json, quiet, force, nodes, strict, help;
    const char *out, *in;
    const char *prompt, *model; /* of generate, as are these: */
    uint64_t n, max_tokens;     /* 1 and 0 where not given */
    double temperature;         /* 1 */
    uint64_t vocab;             /* of tokeniser, as is this; 0: not given */
    const char *split;
    uint64_t seeds, seeds_from, jobs, memory; /* of ablate and sweep; 0: not given */
    bool seeds_from_given, check;
    const char **word; /* each --arm or --over */
    const char **metric;
    size_t words, metrics;
    const char *method; /* of sweep, as is this, also of soup; 0: not given */
    uint64_t trials;
    uint64_t records; /* of data; 0: not given */
    uint64_t until;   /* of run and resume, as is this; 0: not given */
    bool report;
    const char **where; /* of runs, as are these */
    size_t wheres;
    const char *sort, *columns;
} mete__args;

/* Reads argv (argv[0] is the command's name); `takes` names the flags it takes, with spaces
 * between. true: go on. false: *code is the exit code, and what there was to say was said. */
bool mete__args_read(int argc, char **argv, const char *takes, size_t least, size_t most,
                     const char *usage, mete__args *args, int *code);
void mete__args_free(mete__args *args);

/* Says it (mete__say), and "see mete COMMAND --help"; returns METE__EXIT_USAGE. */
int mete__misused(const char *command, const char *format, ...) METE_PRINTF(2, 3);
/* Exit code for a status of the library. */
int mete__exit_of(int status);
/* Threads asked for: --threads, else run.threads, else the processors there are. */
unsigned mete__threads(const mete__args *args, mete__config *config, mete__errors *errors);
/* Reads the config at operand 0 with the sets. NULL after printing what was wrong. */
mete__config *mete__read_config(const mete__args *args, const char *path);
/* Prints gathered errors; the exit code. Frees them. */
int mete__report(mete__errors *errors);
/* mete_log lines on stderr: warnings always, the rest never. */
void mete__log_stderr(void *user, const char *path, int level, const char *text);

/* Is `name` one of the space separated `names`? */
bool mete__has_word(const char *names, const char *name);

/* `text` with what could command a terminal, but for characters of `allowed`, as \xNN, and what is
 * not UTF-8 as U+FFFD. */
void mete__put_plain(mete_buffer *out, mete_text text, const char *allowed);

/* A sweep as its flags say; the exit code. */
int mete__sweep_run(const mete__args *args);

/* The commands. argv[0] is the command's name. */
int mete__command_run(int argc, char **argv);
int mete__command_bench(int argc, char **argv);
int mete__command_fit(int argc, char **argv);
int mete__command_resume(int argc, char **argv);
int mete__command_runs(int argc, char **argv);
int mete__command_serve(int argc, char **argv);
int mete__command_score(int argc, char **argv);
int mete__command_generate(int argc, char **argv);
int mete__command_data(int argc, char **argv);
int mete__command_ablate(int argc, char **argv);
int mete__command_sweep(int argc, char **argv);
int mete__command_soup(int argc, char **argv);
int mete__command_report(int argc, char **argv);
int mete__command_methods(int argc, char **argv);
int mete__command_export(int argc, char **argv);
int mete__command_check(int argc, char **argv);
int mete__command_plugins(int argc, char **argv);
int mete__command_new(int argc, char **argv);
int mete__command_selftest(int argc, char **argv);
int mete__command_tokeniser(int argc, char **argv);

#endif
