/* export.c - mete export DIR: a run's policy in the form such models are published in. */
#include "cli/train.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char usage[] =
    "usage: mete export DIR --out FOLDER [--quiet]\n\n"
    "Writes the policy of the run in DIR, as of its newest checkpoint, as such models are "
    "published:\n"
    "of a transformer config.json, tokenizer.json and model.safetensors, which a config loads "
    "again\n"
    "by policy.load, as other programs do; and where it has adapters, these alone in "
    "FOLDER/adapter\n"
    "in PEFT's layout (adapter_config.json, adapter_model.safetensors), the model having them "
    "merged.\n\n"
    "  --out FOLDER  where they go; made if it is not there, its files replaced\n"
    "  --quiet       no summary\n";

static int
export_run(mete__training *training, const char *folder, const char *out)
{
    mete_error err = {0};
    if (!mete__training_open(training))
        return METE__EXIT_INPUT;
    int code = mete__training_load(training, folder);
    if (code)
        return code;
    const mete_params params = mete__loop_params(training->loop);
    if (!params.vector) {
        mete__say("%s: has no parameters of a policy: its stages only fit from files", folder);
        return METE__EXIT_INPUT;
    }
    if (mkdir(out, 0777) && errno != EEXIST) {
        mete__say("%s: cannot be made: %s", out, strerror(errno));
        return METE__EXIT_FAILED;
    }
    int status = mete__policy_emit(mete__engine_policy(training->engine), &params, out, &err);
    if (status)
        mete__say("%s", err.message);
    else if (!training->args->quiet)
        mete__say("the policy is in %s", out);
    return mete__exit_of(status);
}

int
mete__command_export(int argc, char **argv)
{
    mete__args args;
    char path[PATH_MAX];
    int code;
    if (!mete__args_read(argc, argv, "set out quiet", 1, 1, usage, &args, &code))
        return code;
    if (!args.out) {
        code = mete__misused("export", "give --out FOLDER");
        mete__args_free(&args);
        return code;
    }
    mete__training training = {.args = &args};
    snprintf(path, sizeof path, "%s/config.cfg", args.operand[0]);
    training.config = mete__read_config(&args, path);
    code = training.config ? export_run(&training, args.operand[0], args.out) : METE__EXIT_INPUT;
    mete__training_close(&training);
    mete__args_free(&args);
    return code;
}
