/* fit.c - mete fit CONFIG: only the config's fits, or one named here, in a run folder. */
#include "cli/train.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: mete fit CONFIG [NODE FILE] [--out DIR] [--set PATH=VALUE]... [--seed N] [--threads "
    "N]\n"
    "                [--until N] [--json] [--quiet]\n\n"
    "Fits what learns from data, such as a reward model on preferences: the stages of CONFIG with\n"
    "do = \"fit\" and no others; or, with NODE and FILE, that node on that file. Where all of "
    "them\n"
    "read files, CONFIG needs no env and no policy. The run folder is as that of `mete run`, is "
    "gone\n"
    "on with by `mete resume`, and is named by node = { from = \"DIR\"; } where the fitted node is "
    "used.\n\n"
    "  --out DIR         the folder (default: run.out, else runs/NAME of the config, -2, -3 ...)\n"
    "  --set PATH=VALUE  change one value of the config; repeatable\n"
    "  --seed N          run.seed\n"
    "  --threads N       worker threads; the results are the same for any number\n"
    "  --until N         stop after N minibatches, saved, for `mete resume` to go on\n"
    "  --json            print the summary as one JSON object\n"
    "  --quiet           no progress\n";

/* Takes the members or items of a group or list out that `keep` does not want. */
static void
filter(mete__value *of, bool (*keep)(mete__value *item))
{
    mete__value **link = &of->first, *last = NULL;
    while (*link) {
        if (keep(*link)) {
            last = *link;
            link = &last->next;
        } else {
            *link = (*link)->next;
            of->count--;
        }
    }
    of->last = last;
}

static bool
fits(mete__value *stage)
{
    mete__value *what = stage->kind == METE__GROUP ? mete__value_get(stage, "do") : NULL;
    return what && what->kind == METE__STRING && strcmp(what->string, "fit") == 0;
}

static bool
reads_file(mete__value *stage)
{
    return mete__value_get(stage, "data") != NULL;
}

static bool
is_no_evaluation(mete__value *member)
{
    return strcmp(member->name, "evaluate") != 0;
}

static bool
is_no_world(mete__value *member)
{
    return strcmp(member->name, "env") != 0 && strcmp(member->name, "policy") != 0;
}

static bool
keep_fits(mete__config *config, const char *path)
{
    mete__value *root = mete__config_root(config), *list = mete__value_get(root, "stages");
    bool reads = true;
    if (list && list->kind == METE__LIST)
        filter(list, fits);
    if (!list || !list->first) {
        mete__say("%s has no stage { do = \"fit\"; ... }; name what to fit on what: mete fit %s "
                  "NODE FILE",
                  path, path);
        return false;
    }
    for (mete__value *stage = list->first; stage; stage = stage->next)
        reads &= reads_file(stage);
    filter(root, is_no_evaluation);
    if (reads)
        filter(root, is_no_world);
    return true;
}

/* The stage that NODE and FILE stand for, as a --set. */
static char *
named_stage(const char *node, const char *file)
{
    char *full = realpath(file, NULL);
    mete_buffer out = mete_buffer_make(0);
    mete_buffer_string(&out, "stages=( { do = \"fit\"; node = ");
    mete_json_put_text(&out, mete_text_from(node));
    mete_buffer_string(&out, "; data = ");
    mete_json_put_text(&out, mete_text_from(full ? full : file));
    mete_buffer_string(&out, "; epochs = 10; } )");
    mete_buffer_byte(&out, 0);
    free(full);
    return out.status ? NULL : out.data;
}

int
mete__command_fit(int argc, char **argv)
{
    mete__args args;
    int code;
    if (!mete__args_read(argc, argv, "set seed threads json out quiet until", 1, 3, usage, &args,
                         &code))
        return code;
    mete__training training = {.args = &args};
    char *stage = NULL;
    if (args.operands == 2) {
        mete__args_free(&args);
        return mete__misused("fit", "a node is fitted on a file: mete fit CONFIG NODE FILE");
    }
    if (args.operands == 3 && (stage = named_stage(args.operand[1], args.operand[2])))
        args.set[args.sets++] = stage;
    training.config = mete__read_config(&args, args.operand[0]);
    code = METE__EXIT_INPUT;
    if (training.config) {
        if (keep_fits(training.config, args.operand[0]) && mete__training_open(&training))
            code = mete__training_start(&training, args.operand[0]);
        mete__training_close(&training);
    }
    mete__args_free(&args);
    free(stage);
    return code;
}
