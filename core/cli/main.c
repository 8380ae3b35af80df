/* main.c - the mete command: finds the subcommand and hands over. */
#include "cli/cli.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "unknown"
#endif

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *what;
} commands[] = {
    {"run", mete__command_run, "train as a config says, in a new run folder"},
    {"fit", mete__command_fit, "fit what learns from data, such as a reward model on preferences"},
    {"resume", mete__command_resume, "go on with a run that was stopped or killed"},
    {"ablate", mete__command_ablate, "run a config with and without its parts, and compare"},
    {"sweep", mete__command_sweep, "run a config with other values, and rank them"},
    {"runs", mete__command_runs, "list the runs below a folder, or compare two"},
    {"soup", mete__command_soup, "average the policies of several runs"},
    {"report", mete__command_report, "write a run as a page to open in a browser"},
    {"methods", mete__command_methods,
     "tell which published works hold, of their configs' results"},
    {"export", mete__command_export, "write a run's policy as such models are published"},
    {"score", mete__command_score, "score records (JSONL or CSV) with a config's reward tree"},
    {"serve", mete__command_serve, "answer reward requests over HTTP, in many protocols"},
    {"bench", mete__command_bench, "measure a reward on preference and benchmark files"},
    {"generate", mete__command_generate, "print what a policy or model answers to prompts"},
    {"data", mete__command_data, "write samples as pairs or rows that a reward labels"},
    {"check", mete__command_check, "check a config and all it names, without running it"},
    {"plugins", mete__command_plugins, "list the plugins, or print the manual of one"},
    {"new", mete__command_new, "write the folder of a new plugin to start from"},
    {"selftest", mete__command_selftest, "check a plugin against the contract"},
    {"tokeniser", mete__command_tokeniser, "learn a vocabulary from text; text to tokens and back"},
};
#define COMMANDS (sizeof commands / sizeof *commands)

static void
help(FILE *to)
{
    fputs("usage: mete COMMAND [FLAG]... [ARGUMENT]...\n\n"
          "Trains policies against rewards composed from plugins by a config file.\n\n",
          to);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].what);
    fputs("\n`mete COMMAND --help` tells a command's flags; `mete --version` the version.\n"
          "Exit codes: 0 done, 1 failed, 2 bad config or data, 3 interrupted and saved,\n"
          "4 a claim does not hold, 64 wrong use. Manuals: mete(1), mete.cfg(5), mete-plugin(7).\n",
          to);
}

static int
unknown(const char *name)
{
    char words[256] = "";
    size_t used = 0;
    for (size_t i = 0; i < COMMANDS; i++)
        used += (size_t)snprintf(words + used, sizeof words - used, "%s ", commands[i].name);
    char *near = mete__nearest(name, words);
    int code = near ? mete__misused(NULL, "there is no command \"%s\", perhaps %s", name, near)
                    : mete__misused(NULL, "there is no command \"%s\"", name);
    free(near);
    return code;
}

/* Results that did not reach their reader are a failure, even at the very end. */
static int
finish(int code)
{
    if (fflush(stdout) || ferror(stdout)) {
        if (code == METE__EXIT_DONE)
            mete__say("cannot write to standard output");
        return code ? code : METE__EXIT_FAILED;
    }
    return code;
}

int
main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    if (argc < 2) {
        help(stderr);
        return METE__EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        (strcmp(argv[1], "help") == 0 && argc == 2)) {
        help(stdout);
        return finish(METE__EXIT_DONE);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("mete %s\n", PACKAGE_VERSION);
        return finish(METE__EXIT_DONE);
    }
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return finish(commands[i].run(argc - 1, argv + 1));
    return unknown(argv[1]);
}
