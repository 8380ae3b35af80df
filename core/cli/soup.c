/* soup.c - mete soup DIR DIR...: one policy from the parameters of several (Wortsman et al. 2022),
 * or a line of them between two, each evaluated: rewarded soups (Rame et al. 2023). */
#include "cli/cli.h"
#include "run/checkpoint.h"
#include "run/rundir.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <mete/text.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST_SOURCES = 64, MOST_CONFIG = 16 << 20 };

static const char usage[] =
    "usage: mete soup DIR[=WEIGHT] DIR[=WEIGHT]... --out DIR [--quiet]\n"
    "       mete soup DIR DIR --out DIR --trials N [--metric METRIC]... [--seeds N] [--jobs N]\n"
    "                 [--seeds-from N] [--memory MIB] [--set PATH=VALUE]... [--json] [--quiet]\n\n"
    "Averages the parameters of runs' policies as of their newest checkpoints, into the folder of "
    "a\n"
    "run that `mete generate` asks and that a config begins from by policy.from. All else in it "
    "is\n"
    "the first run's. Weights are 1 in all; without them all runs weigh the same.\n\n"
    "  --out DIR        where it goes\n"
    "  --trials N       N soups on the line from the first run to the second, in DIR/0 ... DIR/1,\n"
    "                   each evaluated as the first run's config says and ranked as by mete "
    "sweep;\n"
    "                   with several metrics the Pareto front is marked\n"
    "  --metric METRIC  of these, as of ablate; repeatable (default: eval/reward)\n"
    "  --seeds N, --seeds-from N, --jobs N, --memory MIB, --set PATH=VALUE, --json\n"
    "                   of these, as of sweep\n"
    "  --quiet          no progress\n";

/* A run whose policy goes into the pot. */
struct source {
    char *folder;
    uint64_t iteration;
    mete__checkpoint *checkpoint;
    const float *parameter;
};

struct soup {
    const mete__args *args;
    struct source source[MOST_SOURCES];
    size_t sources, parameters;
    double weight[MOST_SOURCES];
    size_t weighed;     /* sources that a weight was given for */
    mete_buffer config; /* the first run's, with a 0 after it */
};

static void
told(void *unused, const char *text)
{
    (void)unused;
    mete__say("%s; an older one is looked for", text);
}

static int
refused(const mete_error *err)
{
    mete__say("%s", err->message);
    return mete__exit_of(err->code);
}

/* ---- what goes in ---------------------------------------------------------------------------- */

/* Do the runs' policies read and say the same, and do their numbers stand in the same places? */
static int
check_agree(const struct source *first, const struct source *other)
{
    mete_error err = {0};
    const char *then = mete__checkpoint_noted(other->checkpoint, "layout");
    const char *here = mete__checkpoint_noted(first->checkpoint, "layout");
    if (then && here && mete__layouts_agree(then, here, &err)) {
        mete__say("%s and %s cannot be mixed: %s", other->folder, first->folder, err.message);
        return METE__EXIT_INPUT;
    }
    if (!mete__checkpoint_same(first->checkpoint, other->checkpoint, "node/policy")) {
        mete__say("%s and %s cannot be mixed: what their policies keep beside their parameters, "
                  "such as a vocabulary, differs; let them begin from one policy (policy.from)",
                  other->folder, first->folder);
        return METE__EXIT_INPUT;
    }
    return METE__EXIT_DONE;
}

/* DIR or DIR=WEIGHT. */
static bool
read_operand(struct soup *soup, const char *text)
{
    const char *equals = strrchr(text, '=');
    size_t k = soup->sources++;
    bool given = equals && mete_number_parse(mete_text_from(equals + 1), METE_NUMBER_EXPONENT,
                                             &soup->weight[k]);
    soup->weighed += given;
    soup->source[k].folder = strndup(text, given ? (size_t)(equals - text) : strlen(text));
    return soup->source[k].folder != NULL;
}

static int
read_source(struct soup *soup, const char *text)
{
    struct source *source = &soup->source[soup->sources];
    size_t count = SIZE_MAX;
    mete_error err = {0};
    if (!read_operand(soup, text))
        return METE__EXIT_FAILED;
    const char *folder = source->folder;
    source->checkpoint = mete__checkpoint_read(folder, &source->iteration, told, NULL, &err);
    if (!source->checkpoint && err.code)
        return refused(&err);
    if (!source->checkpoint) {
        mete__say("%s: there is no checkpoint of a run in it", folder);
        return METE__EXIT_INPUT;
    }
    source->parameter =
        mete__checkpoint_get(source->checkpoint, "policy/parameters", METE_F32, &count);
    if (!source->parameter) {
        mete__say("%s: its policy has no parameters", folder);
        return METE__EXIT_INPUT;
    }
    if (soup->sources == 1)
        soup->parameters = count;
    int code = check_agree(&soup->source[0], source);
    if (!code && count != soup->parameters) {
        mete__say("%s and %s cannot be mixed: the policies have %zu and %zu parameters", folder,
                  soup->source[0].folder, count, soup->parameters);
        code = METE__EXIT_INPUT;
    }
    return code;
}

static int
read_sources(struct soup *soup)
{
    char path[PATH_MAX];
    mete_error err = {0};
    int code = METE__EXIT_DONE;
    if (soup->args->operands > MOST_SOURCES)
        return mete__misused("soup", "at most %d runs can be mixed", MOST_SOURCES);
    for (size_t i = 0; i < soup->args->operands && !code; i++)
        code = read_source(soup, soup->args->operand[i]);
    if (code)
        return code;
    if (snprintf(path, sizeof path, "%s/config.cfg", soup->source[0].folder) >= PATH_MAX ||
        mete_file_read(path, MOST_CONFIG, &soup->config, &err)) {
        mete__say("%s: %s", path, err.message);
        return METE__EXIT_INPUT;
    }
    mete_buffer_byte(&soup->config, 0);
    return soup->config.status ? METE__EXIT_FAILED : METE__EXIT_DONE;
}

static int
check_weights(struct soup *soup)
{
    double sum = 0;
    if (soup->weighed && soup->weighed < soup->sources)
        return mete__misused("soup", "give all runs a weight, or none");
    for (size_t i = 0; i < soup->sources; i++) {
        if (!soup->weighed)
            soup->weight[i] = 1 / (double)soup->sources;
        sum += soup->weight[i];
    }
    if (!(fabs(sum - 1) <= 1e-6))
        return mete__misused("soup", "the weights are %g in all, not 1", sum);
    if (soup->args->trials && (soup->sources != 2 || soup->weighed || soup->args->trials < 2))
        return mete__misused("soup", "--trials wants two runs without weights, and at least 2");
    return METE__EXIT_DONE;
}

/* ---- what comes out -------------------------------------------------------------------------- */

/* "0.5 runs/a at 100 + 0.5 runs/b at 100": what tells one soup from another. */
static bool
recipe(const struct soup *soup, mete_buffer *out)
{
    for (size_t i = 0; i < soup->sources; i++)
        mete_buffer_format(out, "%s%.17g %s at %" PRIu64, i ? " + " : "", soup->weight[i],
                           soup->source[i].folder, soup->source[i].iteration);
    mete_buffer_byte(out, 0);
    return !out->status;
}

/* Nothing of the past: moments, what held-out episodes said, lines of metrics. */
static int
forget(mete__checkpoint *checkpoint, size_t parameters, mete_error *err)
{
    static const char *const moment[] = {"optimiser/m", "optimiser/v"};
    static const char *const judged[] = {"judged/before/value", "judged/after/value"};
    int status = METE_OK;
    for (int i = 0; i < 2; i++) {
        size_t count = SIZE_MAX;
        float *vector = mete__checkpoint_edit(checkpoint, moment[i], METE_F32, parameters);
        if (vector)
            memset(vector, 0, parameters * sizeof *vector);
        mete__checkpoint_get(checkpoint, judged[i], METE_F64, &count);
        double *value = mete__checkpoint_edit(checkpoint, judged[i], METE_F64, count);
        if (value && count >= 2) /* begins with how many metrics and samples follow */
            value[0] = value[1] = 0;
    }
    for (int i = 0; i < METE__RUN_MARKED && !status; i++)
        status = mete__checkpoint_note(checkpoint, mete__rundir_mark_name[i], "0", err);
    return status;
}

/* The first run's checkpoint with the mean in its policy's place. */
static int
write_soup(struct soup *soup, const char *folder, const char *what, mete_error *err)
{
    mete__checkpoint *out = soup->source[0].checkpoint;
    size_t n = soup->parameters;
    float *mean = mete__checkpoint_edit(out, "policy/parameters", METE_F32, n);
    float *first = malloc((n + 1) * sizeof *first); /* is mixed again along a line */
    if (!first)
        return mete_error_set(err, METE_ENOMEM, "out of memory");
    memcpy(first, mean, n * sizeof *first);
    for (size_t i = 0; i < n; i++) {
        double sum = soup->weight[0] * (double)first[i];
        for (size_t k = 1; k < soup->sources; k++)
            sum += soup->weight[k] * (double)soup->source[k].parameter[i];
        mean[i] = (float)sum;
    }
    int status = forget(out, n, err);
    if (!status)
        status = mete__checkpoint_note(out, "soup", what, err);
    if (!status)
        status = mete__checkpoint_write(out, folder, soup->source[0].iteration, 1, err);
    memcpy(mean, first, n * sizeof *first);
    free(first);
    return status;
}

/* Makes the soup in `folder`, unless it stands there already. */
static int
make_soup(struct soup *soup, const char *folder)
{
    char path[PATH_MAX];
    struct stat st;
    mete_error err = {0};
    uint64_t iteration;
    mete_buffer what = mete_buffer_make(0);
    bool there =
        snprintf(path, sizeof path, "%s/config.cfg", folder) < PATH_MAX && !stat(path, &st);
    mete__rundir *rundir = there ? mete__rundir_reopen(folder, &err)
                                 : mete__rundir_create(folder, soup->config.data, &err);
    if (!rundir)
        return refused(&err);
    int status = recipe(soup, &what) ? METE_OK : mete_error_set(&err, METE_ENOMEM, "out of memory");
    mete__checkpoint *old =
        status ? NULL : mete__checkpoint_read(folder, &iteration, told, NULL, &err);
    const char *then = old ? mete__checkpoint_noted(old, "soup") : NULL;
    if (old && (!then || strcmp(then, what.data) != 0))
        status =
            mete_error_set(&err, METE_EINVAL, "%s holds another run; name another folder", folder);
    else if (!old && !status)
        status = write_soup(soup, folder, what.data, &err);
    if (!status && !old)
        mete__rundir_journal(rundir, "soup", what.data);
    if (!status && !soup->args->quiet)
        mete__say("%s: %s", folder, what.data);
    mete__checkpoint_free(old);
    mete__rundir_close(rundir);
    mete_buffer_free(&what);
    return status ? refused(&err) : METE__EXIT_DONE;
}

/* ---- a line ---------------------------------------------------------------------------------- */

/* Evaluates the soups as a sweep over where the policy begins. */
static int
evaluate(const struct soup *soup, const char *over)
{
    char config[PATH_MAX], out[PATH_MAX], *operand[] = {config, NULL};
    const char *words[] = {over};
    mete__args args = *soup->args;
    if (snprintf(config, sizeof config, "%s/config.cfg", soup->source[0].folder) >= PATH_MAX ||
        snprintf(out, sizeof out, "%s/evaluate", args.out) >= PATH_MAX)
        return METE__EXIT_INPUT;
    const char **set = calloc(args.sets + 1, sizeof *set);
    if (!set)
        return METE__EXIT_FAILED;
    if (args.sets)
        memcpy(set, args.set, args.sets * sizeof *set);
    set[args.sets++] = "stages=( { do = \"evaluate\"; } )";
    args.set = set;
    args.operand = operand;
    args.word = words;
    args.words = 1;
    args.method = "grid";
    args.trials = 0;
    args.out = out;
    int code = mete__sweep_run(&args);
    free(set);
    return code;
}

static int
line(struct soup *soup)
{
    mete_buffer over = mete_buffer_make(0);
    char folder[PATH_MAX];
    size_t points = (size_t)soup->args->trials;
    int code = METE__EXIT_DONE;
    mete_buffer_string(&over, "policy.from=");
    for (size_t i = 0; i < points && !code; i++) {
        soup->weight[1] = (double)i / (double)(points - 1);
        soup->weight[0] = 1 - soup->weight[1];
        if (snprintf(folder, sizeof folder, "%s/%.4g", soup->args->out, soup->weight[1]) >=
            PATH_MAX)
            return METE__EXIT_INPUT;
        mete_buffer_format(&over, "%s%s", i ? "," : "", folder);
        code = make_soup(soup, folder);
    }
    mete_buffer_byte(&over, 0);
    if (!code)
        code = over.status ? METE__EXIT_FAILED : evaluate(soup, over.data);
    mete_buffer_free(&over);
    return code;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int
check_words(const mete__args *args)
{
    if (!args->out)
        return mete__misused("soup", "say --out DIR");
    if (args->trials && strpbrk(args->out, ",\"{}[]()"))
        return mete__misused("soup", "--out of a line is a path without commas and brackets");
    return METE__EXIT_DONE;
}

int
mete__command_soup(int argc, char **argv)
{
    mete__args args;
    int code;
    if (!mete__args_read(argc, argv,
                         "set json out quiet seeds seeds-from jobs memory metric trials", 2,
                         SIZE_MAX, usage, &args, &code))
        return code;
    struct soup *soup = calloc(1, sizeof *soup);
    code = soup ? check_words(&args) : METE__EXIT_FAILED;
    if (!code) {
        soup->args = &args;
        soup->config = mete_buffer_make(0);
        code = read_sources(soup);
    }
    if (!code)
        code = check_weights(soup);
    if (!code)
        code = args.trials ? line(soup) : make_soup(soup, args.out);
    for (size_t i = 0; soup && i < soup->sources; i++) {
        mete__checkpoint_free(soup->source[i].checkpoint);
        free(soup->source[i].folder);
    }
    if (soup)
        mete_buffer_free(&soup->config);
    free(soup);
    mete__args_free(&args);
    return code;
}
