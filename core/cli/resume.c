/* resume.c - mete resume DIR: goes on from the newest whole checkpoint, and ends with the bytes an
 * uninterrupted run would have.
 */
#include "cli/train.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: mete resume DIR [--threads N] [--until N] [--report] [--json] [--quiet] [--force]\n\n"
    "Goes on with the run in DIR from its newest whole checkpoint, with the config it was started\n"
    "with. Metrics and parameters end as if it had never stopped. A run that is finished is said "
    "to\n"
    "be so, and its summary is printed.\n\n"
    "  --threads N  worker threads; the results are the same for any number\n"
    "  --until N    stop after N iterations in all, saved\n"
    "  --report     keep DIR/report.html current while the run goes on\n"
    "  --json       print the summary as one JSON object\n"
    "  --quiet      no progress\n"
    "  --force      go on although seed, config or linear algebra differ from the checkpoint's\n";

static void
told(void *user, const char *text)
{
    mete__rundir_journal(user, "warning", text);
    mete__say("%s; an older one is looked for", text);
}

static bool
noted_number(const mete__checkpoint *checkpoint, const char *key, uint64_t *out)
{
    const char *text = mete__checkpoint_noted(checkpoint, key);
    char *end = NULL;
    if (text)
        *out = strtoull(text, &end, 10);
    return text && *text && !*end;
}

static int
refused(const mete_error *err)
{
    mete__say("%s", err->message);
    return mete__exit_of(err->code);
}

/* Puts loop and files where the checkpoint was taken. */
static int
restore(mete__training *training, const mete__checkpoint *checkpoint, uint64_t iteration)
{
    mete_error err = {0};
    uint64_t mark[METE__RUN_MARKED] = {0};
    if (mete__training_matches(training, checkpoint, &err)) {
        if (!training->args->force)
            return refused(&err);
        mete__rundir_journal(training->rundir, "warning", err.message);
    }
    bool noted = true;
    for (int i = 0; i < METE__RUN_MARKED; i++)
        noted &= noted_number(checkpoint, mete__rundir_mark_name[i], &mark[i]);
    if (!noted) {
        mete__say("the checkpoint in %s does not say how long its metrics were",
                  mete__rundir_folder(training->rundir));
        return METE__EXIT_INPUT;
    }
    if (mete__rundir_cut(training->rundir, mark, iteration, &err) ||
        mete__loop_load(training->loop, checkpoint, &err))
        return refused(&err);
    return METE__EXIT_DONE;
}

static int
go_on(mete__training *training)
{
    mete_error err = {0};
    uint64_t iteration = 0;
    const char *folder = mete__rundir_folder(training->rundir);
    if (mete__training_outputs(training, &err))
        return refused(&err);
    mete__checkpoint *checkpoint =
        mete__checkpoint_read(folder, &iteration, told, training->rundir, &err);
    int code = METE__EXIT_DONE;
    if (!checkpoint && err.code)
        return refused(&err);
    if (checkpoint) {
        code = restore(training, checkpoint, iteration);
        mete__checkpoint_free(checkpoint);
    } else if (mete__rundir_cut(training->rundir, (uint64_t[METE__RUN_MARKED]){0}, 0, &err)) {
        return refused(&err);
    } else {
        code = mete__begin_from(training->loop, training->config);
    }
    if (code)
        return code;
    if (mete__loop_done(training->loop) >= mete__loop_total(training->loop)) {
        mete__say("the run in %s is finished: all %" PRIu64 " iterations are done", folder,
                  mete__loop_total(training->loop));
        return mete__training_summary(training);
    }
    char text[64];
    snprintf(text, sizeof text, "from iteration %" PRIu64, mete__loop_done(training->loop));
    mete__rundir_journal(training->rundir, "resume", text);
    mete__training_machine(training);
    if (!training->args->quiet)
        mete__say("%s goes on %s of %" PRIu64, folder, text, mete__loop_total(training->loop));
    return mete__training_go(training);
}

int
mete__command_resume(int argc, char **argv)
{
    mete__args args;
    char path[PATH_MAX];
    int code;
    if (!mete__args_read(argc, argv, "threads json quiet force until report", 1, 1, usage, &args,
                         &code))
        return code;
    mete__training training = {.args = &args};
    mete_error err = {0};
    code = METE__EXIT_INPUT;
    training.rundir = mete__rundir_reopen(args.operand[0], &err);
    if (!training.rundir)
        code = refused(&err);
    else if (snprintf(path, sizeof path, "%s/config.cfg", args.operand[0]) < (int)sizeof path)
        training.config = mete__read_config(&args, path);
    if (training.config && mete__training_open(&training))
        code = go_on(&training);
    mete__training_close(&training);
    mete__args_free(&args);
    return code;
}
