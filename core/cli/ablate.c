/* ablate.c - mete ablate CONFIG: which of the rewards does the work, by how much, and how sure?
 *
 * An arm is the config with a few values set. Each arm runs with the same seeds, so that arms are
 * compared pair by pair. */
#include "cli/ablate.h"
#include "cli/runner.h"
#include "cli/table.h"
#include "cli/work.h"
#include "report/report.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: mete ablate CONFIG [--arm ARM]... [--metric METRIC] [--out DIR] [--seeds N]\n"
    "                   [--seeds-from N] [--jobs N] [--memory MIB] [--check]\n"
    "                   [--set PATH=VALUE]... [--json] [--quiet]\n\n"
    "Runs CONFIG in arms (all of it, and without a part) over the same seeds, and compares each\n"
    "arm with the first by its paired differences. Arms, seeds, metric and claims stand in the\n"
    "config's `ablate` block; without arms every named reward under the root is left out in turn\n"
    "(its weight is 0). What is done is not done again: call it again to go on.\n\n"
    "  --arm ARM         an arm beside \"full\", in place of the block's; repeatable: -NODE or\n"
    "                    -A,-B (out), reward=@NODE (alone), PATH=VALUE (any value; @NODE=PLUGIN "
    "or\n"
    "                    objective=NAME replaces one)\n"
    "  --metric METRIC   NAME (its last value), area(NAME), or reach(NAME, NUMBER); with - before\n"
    "                    it less is better (default: ablate.metric, else eval/reward)\n"
    "  --out DIR         where the runs go (default: runs/NAME-ablation)\n"
    "  --seeds N         how many seeds (default: ablate.seeds, else 5)\n"
    "  --seeds-from N    the first seed (default: ablate.seeds_from, else 1)\n"
    "  --jobs N          runs side by side (default: all processors)\n"
    "  --memory MIB      address space a run may take (default: no limit)\n"
    "  --check           exit 4 when a claim does not hold\n"
    "  --set PATH=VALUE  change one value of the config in every arm; repeatable\n"
    "  --json            the table as one JSON object\n"
    "  --quiet           no progress\n";

/* The runs of an ablation, seeds before arms, so that one that is stopped has compared what it has;
 * job s * arms + k is arm k's. */
struct runs {
    mete__ablation *a;
    mete__runner runner;
    mete__job *job;
    bool known; /* a run logs the metric */
};

static void
read_block(mete__ablation *a, mete__config *config, mete__errors *errors)
{
    mete__value *root = mete__config_root(config), *block = mete__value_get(root, "ablate");
    const mete__args *args = a->args;
    mete_error err = {0};
    const char *metric = "eval/reward";
    a->confidence = 0.95;
    a->seeds = 5;
    a->first = 1;
    if (block && block->kind != METE__GROUP) {
        mete__errors_add(errors, "%s:%d: ablate must be a group", block->file, block->line);
        return;
    }
    if (block) {
        metric = mete__value_string(block, "metric", metric, errors);
        a->seeds = (size_t)mete__value_int(block, "seeds", 5, 2, METE__MOST_SEEDS, errors);
        a->first = (uint64_t)mete__value_int(block, "seeds_from", 1, 0, INT32_MAX, errors);
        a->confidence = mete__value_real(block, "confidence", 0.95, 0.5, 0.9999, errors);
    }
    if (args->seeds == 1)
        mete__errors_add(errors, "--seeds: a comparison wants at least 2");
    a->seeds = args->seeds ? (size_t)args->seeds : a->seeds;
    a->first = args->seeds_from_given ? args->seeds_from : a->first;
    if (mete__measure_parse(args->metrics ? args->metric[args->metrics - 1] : metric, &a->measure,
                            &err))
        mete__errors_add(errors, "metric: %s", err.message);
    mete__arms_read(a, root, block, errors);
    mete__value *claim = block ? mete__value_get(block, "claim") : NULL;
    if (args->check && args->words)
        mete__errors_add(errors, "--check: claims are of the block's arms, not of those of --arm");
    else if (claim && !args->words)
        mete__claims_read(a, claim, errors);
    if (args->check && !a->claims && !errors->count)
        mete__errors_add(errors, "%s: --check: there is no claim in its ablate block", a->config);
    mete__work work;
    mete__work_read(block, &work, errors);
    if (block)
        mete__value_unknown(block, "arms factorial metric seeds seeds_from confidence claim work",
                            errors);
}

static double
measure(const struct runs *runs, size_t job, bool *censored)
{
    char path[PATH_MAX];
    *censored = false;
    return mete__job_path(&runs->runner, &runs->job[job], "/metrics.jsonl", path)
               ? mete__measure_read(&runs->a->measure, path, 0, censored)
               : NAN;
}

/* A metric that the first arm does not log is not run for to the end. */
static bool
run_ended(void *user, size_t job)
{
    struct runs *runs = user;
    bool censored;
    char path[PATH_MAX];
    if (runs->known || job % runs->a->arms)
        return true;
    runs->known = isfinite(measure(runs, job, &censored));
    if (!runs->known && mete__job_path(&runs->runner, &runs->job[job], "/metrics.jsonl", path))
        mete__measure_unknown(&runs->a->measure, path);
    return runs->known;
}

static void
read_values(const struct runs *runs)
{
    mete__ablation *a = runs->a;
    for (size_t job = 0; job < a->arms * a->seeds; job++) {
        mete__arm *arm = &a->arm[job % a->arms];
        bool censored = false;
        arm->value[job / a->arms] =
            mete__job_whole(&runs->runner, &runs->job[job]) ? measure(runs, job, &censored) : NAN;
        arm->censored += censored;
    }
}

static int
show(struct runs *runs)
{
    mete__ablation *a = runs->a;
    size_t failed = 0;
    int code = METE__EXIT_DONE;
    read_values(runs);
    if (!mete__ablation_compare(a)) {
        mete__say("out of memory");
        return METE__EXIT_FAILED;
    }
    mete_buffer json = mete_buffer_make(0);
    mete__ablation_json(a, &json);
    bool kept = mete__runner_page(&runs->runner, METE__ABLATION_FILE, &json);
    if (!a->args->json)
        mete__ablation_table(a);
    else
        mete__put_out(&json);
    mete_buffer_free(&json);
    for (size_t k = 0; k < a->arms; k++)
        failed += a->arm[k].failed;
    for (size_t c = 0; c < a->claims; c++)
        if (a->args->check && !a->claim[c].holds)
            code = METE__EXIT_CLAIM;
    if (failed)
        mete__say("%zu runs failed or say nothing of %s", failed, a->measure.text);
    return failed || !kept ? METE__EXIT_FAILED : code;
}

static int
ablate(mete__ablation *a)
{
    struct runs runs = {.a = a};
    size_t jobs = a->arms * a->seeds;
    int code = mete__runner_open(&runs.runner, a->args, "ablation");
    runs.job = calloc(jobs, sizeof *runs.job);
    runs.runner.ended = run_ended;
    runs.runner.user = &runs;
    for (size_t i = 0; runs.job && i < jobs; i++) {
        const mete__arm *arm = &a->arm[i % a->arms];
        runs.job[i] = (mete__job){
            .group = arm->name, .seed = a->first + i / a->arms, .set = arm->set, .sets = arm->sets};
    }
    for (size_t k = 0; runs.job && k < a->arms && !code; k++)
        code = mete__runner_group(&runs.runner, &runs.job[k]);
    if (!code)
        code = runs.job ? mete__runner_go(&runs.runner, runs.job, jobs) : METE__EXIT_FAILED;
    if (!code)
        code = show(&runs);
    mete__runner_close(&runs.runner);
    free(runs.job);
    return code;
}

int
mete__command_ablate(int argc, char **argv)
{
    mete__args args;
    mete__errors errors = {0};
    int code;
    if (!mete__args_read(argc, argv,
                         "set json out quiet seeds seeds-from jobs memory arm metric check", 1, 1,
                         usage, &args, &code))
        return code;
    mete__ablation *a = calloc(1, sizeof *a);
    mete__config *config = a ? mete__read_config(&args, args.operand[0]) : NULL;
    code = METE__EXIT_INPUT;
    if (config) {
        a->args = &args;
        a->config = args.operand[0];
        a->digest = mete__config_digest(config);
        read_block(a, config, &errors);
        code = errors.count ? mete__report(&errors) : ablate(a);
        mete__arms_free(a);
    }
    mete__config_free(config);
    free(a);
    mete__args_free(&args);
    return code;
}
