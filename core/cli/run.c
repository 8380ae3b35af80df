/* run.c - mete run CONFIG: a new run in a folder of its own. */
#include "cli/train.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char usage[] =
    "usage: mete run CONFIG [--out DIR] [--set PATH=VALUE]... [--seed N] [--threads N]\n"
    "                [--until N] [--report] [--json] [--quiet]\n\n"
    "Trains as CONFIG says. Everything goes into a new folder: the resolved config, metrics,\n"
    "samples, journal and checkpoints; `mete resume` goes on with it after a stop or a kill.\n\n"
    "  --out DIR         the folder (default: run.out, else runs/NAME of the config, -2, -3 ...)\n"
    "  --set PATH=VALUE  change one value of the config, such as reward.weight=0.5; repeatable\n"
    "  --seed N          run.seed\n"
    "  --threads N       worker threads (default: run.threads, else all processors); the results\n"
    "                    are the same for any number\n"
    "  --until N         stop after N iterations, saved, for `mete resume` to go on\n"
    "  --report          keep DIR/report.html current while the run goes on\n"
    "  --json            print the summary as one JSON object\n"
    "  --quiet           no progress\n";

/* The first of runs/NAME, runs/NAME-2 ... that is not there. */
static bool
default_folder(const char *config, char *out, size_t room)
{
    const char *name = strrchr(config, '/');
    name = name ? name + 1 : config;
    size_t length = strlen(name);
    if (length > 4 && strcmp(name + length - 4, ".cfg") == 0)
        length -= 4;
    for (int n = 1; n < 100000; n++) {
        struct stat st;
        int wrote = n == 1 ? snprintf(out, room, "runs/%.*s", (int)length, name)
                           : snprintf(out, room, "runs/%.*s-%d", (int)length, name, n);
        if (wrote < 0 || (size_t)wrote >= room)
            return false;
        if (stat(out, &st) && errno == ENOENT)
            return true;
    }
    return false;
}

int
mete__training_start(mete__training *training, const char *config)
{
    char made[PATH_MAX];
    mete_error err = {0};
    const char *folder = training->args->out ? training->args->out : training->options.out;
    if (!folder) {
        if (!default_folder(config, made, sizeof made)) {
            mete__say("no free folder under runs/ for %s; give --out DIR", config);
            return METE__EXIT_FAILED;
        }
        folder = made;
    }
    training->rundir = mete__rundir_create(folder, training->text, &err);
    if (!training->rundir || mete__training_outputs(training, &err)) {
        mete__say("%s", err.message);
        return mete__exit_of(err.code);
    }
    mete__rundir_journal(training->rundir, "start", config);
    mete__training_machine(training);
    return mete__training_go(training);
}

int
mete__command_run(int argc, char **argv)
{
    mete__args args;
    int code;
    if (!mete__args_read(argc, argv, "set seed threads json out quiet until report", 1, 1, usage,
                         &args, &code))
        return code;
    mete__training training = {.args = &args};
    training.config = mete__read_config(&args, args.operand[0]);
    code = METE__EXIT_INPUT;
    if (training.config) {
        if (mete__training_open(&training))
            code = mete__begin_from(training.loop, training.config);
        if (!code)
            code = mete__training_start(&training, args.operand[0]);
        mete__training_close(&training);
    }
    mete__args_free(&args);
    return code;
}
