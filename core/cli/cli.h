/* cli.h - what the commands share: arguments, exit codes, sinks, signals. One file a command. */
#ifndef METE_CLI_CLI_H
#define METE_CLI_CLI_H

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

/* Flags a command may take. */
enum {
    METE__TAKES_SET = 1u << 0,
    METE__TAKES_SEED = 1u << 1,
    METE__TAKES_THREADS = 1u << 2,
    METE__TAKES_JSON = 1u << 3,
    METE__TAKES_OUT = 1u << 4,
    METE__TAKES_IN = 1u << 5,
    METE__TAKES_QUIET = 1u << 6,
    METE__TAKES_FORCE = 1u << 7,
    METE__TAKES_NODES = 1u << 8,
    METE__TAKES_STRICT = 1u << 9,
    METE__TAKES_WHERE = 1u << 10,
    METE__TAKES_SORT = 1u << 11,
    METE__TAKES_COLUMNS = 1u << 12,
    METE__TAKES_MEMORY = 1u << 13,
    METE__TAKES_UNTIL = 1u << 14,
    METE__TAKES_ARM = 1u << 15,
    METE__TAKES_METRIC = 1u << 16,
    METE__TAKES_OVER = 1u << 17,
    METE__TAKES_METHOD = 1u << 18,
    METE__TAKES_TRIALS = 1u << 19,
    METE__TAKES_PROMPT = 1u << 20,
    METE__TAKES_MODEL = 1u << 21,
    METE__TAKES_N = 1u << 22,
    METE__TAKES_TEMPERATURE = 1u << 23,
    METE__TAKES_MAX_TOKENS = 1u << 24,
    METE__TAKES_VOCAB = 1u << 25,
    METE__TAKES_SPLIT = 1u << 26,
    METE__TAKES_SEEDS = 1u << 27,
    METE__TAKES_SEEDS_FROM = 1u << 28,
    METE__TAKES_JOBS = 1u << 29,
    METE__TAKES_CHECK = 1u << 30
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
    uint64_t until;     /* of run and resume; 0: not given */
    const char **where; /* of runs, as are these */
    size_t wheres;
    const char *sort, *columns;
} mete__args;

/* Reads argv (argv[0] is the command's name). true: go on. false: *code is the exit code, and
 * what there was to say was said. */
bool mete__args_read(int argc, char **argv, unsigned takes, size_t least, size_t most,
                     const char *usage, mete__args *args, int *code);
void mete__args_free(mete__args *args);

/* One sentence on stderr, with the program's name before it. */
void mete__say(const char *format, ...) METE_PRINTF(1, 2);
/* The same, and "see mete COMMAND --help"; returns METE__EXIT_USAGE. */
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
int mete__command_ablate(int argc, char **argv);
int mete__command_sweep(int argc, char **argv);
int mete__command_soup(int argc, char **argv);
int mete__command_report(int argc, char **argv);
int mete__command_export(int argc, char **argv);
int mete__command_check(int argc, char **argv);
int mete__command_plugins(int argc, char **argv);
int mete__command_new(int argc, char **argv);
int mete__command_selftest(int argc, char **argv);
int mete__command_tokeniser(int argc, char **argv);

#endif
