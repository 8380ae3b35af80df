/* sweep.c - mete sweep CONFIG: which values of the config do best? A grid, random trials, or
 * successive halving (Jamieson & Talwalkar 2016): all trials run a little, the best 1 / eta of them
 * go on from their checkpoints eta times as far, and so on to the end. */
#include "cli/sweep.h"

#include "cli/override.h"
#include "cli/runner.h"
#include "cli/table.h"
#include "report/report.h"

#include <inttypes.h>
#include <math.h>
#include <mete/random.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: mete sweep CONFIG [--over PATH[=VALUES]]... [--method METHOD] [--trials N]\n"
    "                  [--metric METRIC]... [--out DIR] [--seeds N] [--seeds-from N] [--jobs N]\n"
    "                  [--memory MIB] [--set PATH=VALUE]... [--json] [--quiet]\n\n"
    "Runs CONFIG with other values and ranks them. What is searched over, how, and by which\n"
    "metrics stands in the config's `sweep` block. Every trial runs with the same seeds. What is\n"
    "done is not done again: call it again to go on.\n\n"
    "  --over PATH[=VALUES]  a value to search over, in place of the block's; repeatable: A,B,C,\n"
    "                        or LO..HI, maybe with \" log\" or \" linear\" after it; without\n"
    "                        VALUES the option table's\n"
    "  --method METHOD       grid, random or halving (default: sweep.method, else grid where all\n"
    "                        values are listed, else random)\n"
    "  --trials N            of random and halving (default: sweep.trials, else 16)\n"
    "  --metric METRIC       as of ablate; repeatable: with several the Pareto front is marked\n"
    "                        (default: sweep.metric, else eval/reward)\n"
    "  --out DIR             where the runs go (default: runs/NAME-sweep)\n"
    "  --seeds N             seeds of each trial (default: sweep.seeds, else 2)\n"
    "  --seeds-from N        the first seed (default: sweep.seeds_from, else 1)\n"
    "  --jobs N              runs side by side (default: all processors)\n"
    "  --memory MIB          address space a run may take (default: no limit)\n"
    "  --set PATH=VALUE      change one value of the config in every trial; repeatable\n"
    "  --json                the table as one JSON object\n"
    "  --quiet               no progress\n";

/* A rung: some trials, each seed run as far as `until` says. */
struct rung {
    mete__sweep *s;
    mete__runner runner;
    const size_t *trial; /* which */
    size_t trials;
    uint64_t until; /* 0: to the end */
    mete__job *job; /* seeds before trials: job k * trials + i is trial[i]'s */
    bool known;
};

const char *const mete__search_word[METE__SEARCHES] = {"grid", "random", "halving"};

/* ---- the block ------------------------------------------------------------------------------- */

static void
read_metrics(mete__sweep *s, mete__value *block, mete__errors *errors)
{
    mete__value *given = block ? mete__value_get(block, "metric") : NULL;
    const char *text[METE__MOST_METRICS] = {"eval/reward"};
    size_t count = 0;
    if (s->args->metrics) {
        for (; count < s->args->metrics && count < METE__MOST_METRICS; count++)
            text[count] = s->args->metric[count];
    } else if (given && given->kind == METE__LIST) {
        for (mete__value *item = given->first; item && count < METE__MOST_METRICS;
             item = item->next) {
            item->used = true;
            if (item->kind == METE__STRING)
                text[count++] = item->string;
            else
                mete__errors_add(errors, "%s:%d: %s must be a string", item->file, item->line,
                                 item->path);
        }
    } else if (given) {
        text[count++] = mete__value_string(block, "metric", text[0], errors);
    }
    s->metrics = count ? count : 1;
    for (size_t m = 0; m < s->metrics; m++) {
        mete_error err = {0};
        if (mete__measure_parse(text[m], &s->measure[m], &err))
            mete__errors_add(errors, "metric: %s", err.message);
    }
}

static void
read_block(mete__sweep *s, mete__config *config, mete__errors *errors)
{
    static const char *const words = "grid|random|halving";
    const mete__args *args = s->args;
    mete__value *block = mete__value_get(mete__config_root(config), "sweep");
    *s = (mete__sweep){.args = args, .config = s->config, .search = METE__RANDOM};
    if (block && block->kind != METE__GROUP) {
        mete__errors_add(errors, "%s:%d: sweep must be a group", block->file, block->line);
        return;
    }
    mete__value empty = {.kind = METE__GROUP, .path = "sweep", .file = s->config};
    mete__value *at = block ? block : &empty;
    int search = mete__value_enum(at, "method", -1, words, errors);
    s->trials = (size_t)mete__value_int(at, "trials", 16, 1, METE__MOST_TRIALS, errors);
    s->points = (size_t)mete__value_int(at, "points", 5, 1, METE__MOST_ITEMS, errors);
    s->seeds = (size_t)mete__value_int(at, "seeds", 2, 1, 1000, errors);
    s->first = (uint64_t)mete__value_int(at, "seeds_from", 1, 0, INT32_MAX, errors);
    s->draw = (uint64_t)mete__value_int(at, "draw", 1, 0, INT64_MAX, errors);
    s->eta = (size_t)mete__value_int(at, "eta", 3, 2, 100, errors);
    s->confidence = mete__value_real(at, "confidence", 0.95, 0.5, 0.9999, errors);
    read_metrics(s, at, errors);
    for (int k = 0; args->method && k < METE__SEARCHES; k++)
        if (strcmp(args->method, mete__search_word[k]) == 0)
            search = k;
    s->trials = args->trials ? (size_t)args->trials : s->trials;
    s->seeds = args->seeds ? (size_t)args->seeds : s->seeds;
    s->first = args->seeds_from_given ? args->seeds_from : s->first;
    s->search = search < 0 ? METE__RANDOM : (mete__search)search;
    mete__dimensions_read(s, config, block, errors);
    bool listed = true;
    for (size_t d = 0; d < s->dimensions; d++)
        listed = listed && s->dimension[d].items;
    if (search < 0 && listed)
        s->search = METE__GRID;
    mete__value_unknown(at, "over method trials points seeds seeds_from draw eta confidence metric",
                        errors);
}

/* ---- trials ---------------------------------------------------------------------------------- */

static void
count_grid(mete__sweep *s, mete__errors *errors)
{
    s->trials = 1;
    for (size_t d = 0; d < s->dimensions; d++)
        s->trials *= mete__dimension_points(&s->dimension[d], s->points);
    if (s->trials > METE__MOST_TRIALS) {
        mete__errors_add(errors, "%s: the grid has %zu trials; at most %d may be", s->config,
                         s->trials, METE__MOST_TRIALS);
        s->trials = 0;
    }
}

/* The value of dimension d in trial t; the last dimension turns fastest in a grid. */
static void
value_text(const mete__sweep *s, size_t t, size_t d, char *out, size_t room)
{
    if (s->search == METE__GRID) {
        for (size_t k = s->dimensions - 1; k > d; k--)
            t /= mete__dimension_points(&s->dimension[k], s->points);
        t %= mete__dimension_points(&s->dimension[d], s->points);
        mete__dimension_point(&s->dimension[d], t, s->points, out, room);
        return;
    }
    mete_rng rng = mete_rng_make(s->draw, t, (uint32_t)d);
    mete__dimension_at(&s->dimension[d], mete_rng_uniform(&rng), out, room);
}

static bool
make_trial(mete__sweep *s, size_t t, mete__value *root, const char *extra, mete__errors *errors)
{
    mete__trial *trial = &s->trial[t];
    char value[1024], word[2048];
    snprintf(trial->name, sizeof trial->name, "%04zu", t + 1);
    trial->text = calloc(s->dimensions + 1, sizeof *trial->text);
    trial->set = calloc(s->dimensions + 2, sizeof *trial->set);
    trial->value = calloc(s->metrics * s->seeds, sizeof *trial->value);
    trial->interval = calloc(s->metrics, sizeof *trial->interval);
    if (!trial->text || !trial->set || !trial->value || !trial->interval)
        return false;
    for (size_t d = 0; d < s->dimensions; d++) {
        value_text(s, t, d, value, sizeof value);
        int n = snprintf(word, sizeof word, "%s=%s", s->dimension[d].path, value);
        if (n < 0 || n >= (int)sizeof word) {
            mete__errors_add(errors, "--over: \"%.40s...\" is too long", word);
            return false;
        }
        trial->text[d] = strdup(value);
        trial->set[d] = mete__override(root, word, "--over", errors);
        if (!trial->text[d] || !trial->set[d])
            return false;
    }
    return !extra || (trial->set[s->dimensions] = strdup(extra)) != NULL;
}

static void
free_trials(mete__sweep *s)
{
    for (size_t t = 0; s->trial && t < s->trials; t++) {
        mete__trial *trial = &s->trial[t];
        for (size_t d = 0; trial->text && trial->set && d <= s->dimensions; d++) {
            free(trial->text[d]);
            free(trial->set[d]);
        }
        free(trial->text);
        free(trial->set);
        free(trial->value);
        free(trial->interval);
    }
    free(s->trial);
}

/* ---- a rung ---------------------------------------------------------------------------------- */

static bool
metrics_path(const struct rung *r, size_t job, char path[PATH_MAX])
{
    return mete__job_path(&r->runner, &r->job[job], "/metrics.jsonl", path);
}

/* A metric that the first run does not log is not run for to the end. */
static bool
run_ended(void *user, size_t job)
{
    struct rung *r = user;
    char path[PATH_MAX];
    for (size_t m = 0; m < r->s->metrics && !r->known && metrics_path(r, job, path); m++) {
        bool censored;
        if (isnan(mete__measure_read(&r->s->measure[m], path, r->until, &censored))) {
            mete__measure_unknown(&r->s->measure[m], path);
            return false;
        }
    }
    r->known = true;
    return true;
}

static void
read_trial(const struct rung *r, size_t i)
{
    const mete__sweep *s = r->s;
    mete__trial *trial = &s->trial[r->trial[i]];
    char path[PATH_MAX];
    trial->runs = 0;
    for (size_t k = 0; k < s->seeds; k++) {
        size_t job = k * r->trials + i;
        bool whole = mete__job_whole(&r->runner, &r->job[job]) && metrics_path(r, job, path);
        trial->runs += whole;
        for (size_t m = 0; m < s->metrics; m++) {
            bool censored;
            trial->value[m * s->seeds + k] =
                whole ? mete__measure_read(&s->measure[m], path, r->until, &censored) : NAN;
        }
    }
    for (size_t m = 0; m < s->metrics; m++) /* NaN where one is missing */
        mete__mean_interval(trial->value + m * s->seeds, s->seeds, s->confidence,
                            &trial->interval[m]);
}

static int
run_rung(struct rung *r)
{
    const mete__sweep *s = r->s;
    size_t jobs = r->trials * s->seeds;
    r->job = calloc(jobs, sizeof *r->job);
    if (!r->job)
        return METE__EXIT_FAILED;
    for (size_t i = 0; i < jobs; i++) {
        const mete__trial *trial = &s->trial[r->trial[i % r->trials]];
        r->job[i] = (mete__job){.group = trial->name,
                                .seed = s->first + i / r->trials,
                                .set = trial->set,
                                .sets = s->sets,
                                .until = r->until};
    }
    int code = mete__runner_go(&r->runner, r->job, jobs);
    for (size_t i = 0; i < r->trials && !code; i++)
        read_trial(r, i);
    free(r->job);
    r->job = NULL;
    return code;
}

/* ---- ranks ----------------------------------------------------------------------------------- */

/* How good a trial is by metric m: more is better, missing is worst. */
static double
goodness(const mete__sweep *s, const mete__trial *trial, size_t m)
{
    double mean = trial->interval[m].point;
    return isnan(mean) ? -INFINITY : s->measure[m].less ? -mean : mean;
}

static const mete__sweep *ranked; /* what qsort compares within */

static int
better_first(const void *a, const void *b)
{
    size_t i = *(const size_t *)a, j = *(const size_t *)b;
    const mete__trial *x = &ranked->trial[i], *y = &ranked->trial[j];
    double gx = goodness(ranked, x, 0), gy = goodness(ranked, y, 0);
    if (x->rung != y->rung)
        return x->rung > y->rung ? -1 : 1;
    if (gx < gy || gx > gy)
        return gx > gy ? -1 : 1;
    return i < j ? -1 : i > j;
}

static void
rank(const mete__sweep *s, size_t *order, size_t count)
{
    ranked = s;
    qsort(order, count, sizeof *order, better_first);
}

static void
mark_front(mete__sweep *s, const size_t *order, size_t last)
{
    for (size_t i = 0; i < s->trials; i++) {
        mete__trial *x = &s->trial[order[i]];
        x->front = x->rung == last && x->runs == s->seeds;
        for (size_t m = 0; m < s->metrics; m++)
            x->front = x->front && goodness(s, x, m) > -INFINITY;
        for (size_t j = 0; j < s->trials && x->front; j++) {
            const mete__trial *y = &s->trial[order[j]];
            bool all = y->rung == last, one = false;
            for (size_t m = 0; m < s->metrics; m++) {
                all = all && goodness(s, y, m) >= goodness(s, x, m);
                one = one || goodness(s, y, m) > goodness(s, x, m);
            }
            x->front = !(all && one);
        }
    }
}

/* ---- the command ----------------------------------------------------------------------------- */

/* How many rungs, and the iterations of the first: eta times as many each time, and all at last. */
static size_t
plan_rungs(const mete__sweep *s, uint64_t *least)
{
    size_t rungs = 1;
    *least = s->total;
    for (size_t left = s->trials;
         s->search == METE__HALVING && left >= s->eta && *least / s->eta >= 1;
         left /= s->eta, rungs++)
        *least /= s->eta;
    return rungs;
}

static int
go(mete__sweep *s, mete__runner *runner, size_t *order, size_t rungs, uint64_t least)
{
    size_t left = s->trials;
    uint64_t budget = least;
    int code = METE__EXIT_DONE;
    for (size_t k = 0; k < rungs && !code; k++, budget *= s->eta) {
        struct rung r = {.s = s, .runner = *runner, .trial = order, .trials = left};
        /* One more, for the evaluation that stands before it. */
        r.until = k + 1 < rungs ? budget + 1 : 0;
        r.runner.ended = run_ended;
        r.runner.user = &r;
        code = run_rung(&r);
        for (size_t i = 0; i < left; i++)
            s->trial[order[i]].rung = k;
        rank(s, order, s->trials);
        if (!code && !s->trial[order[0]].runs) /* nothing to go on with */
            break;
        if (!s->args->quiet && k + 1 < rungs && !code)
            mete__say("rung %zu of %zu: %zu of %zu trials go on", k + 1, rungs,
                      left / s->eta ? left / s->eta : 1, left);
        left = left / s->eta ? left / s->eta : 1;
    }
    return code;
}

static int
sweep(mete__sweep *s, mete__value *root)
{
    mete__runner runner;
    mete__errors errors = {0};
    char every[64];
    uint64_t least;
    size_t *order = calloc(s->trials, sizeof *order), missing = 0;
    size_t rungs = plan_rungs(s, &least);
    mete__value *evaluate = mete__value_get(root, "evaluate");
    bool extra = rungs > 1 && evaluate && !mete__value_get(evaluate, "every");
    snprintf(every, sizeof every, "evaluate.every=%" PRIu64 "%s", least,
             least > INT32_MAX ? "L" : "");
    s->sets = s->dimensions + extra;
    s->trial = calloc(s->trials, sizeof *s->trial);
    bool made = order && s->trial;
    for (size_t t = 0; t < s->trials && made; t++) {
        order[t] = t;
        made = make_trial(s, t, root, extra ? every : NULL, &errors);
    }
    if (!made && !errors.count)
        mete__errors_add(&errors, "out of memory");
    if (errors.count) {
        free(order);
        return mete__report(&errors);
    }
    int code = mete__runner_open(&runner, s->args, "sweep");
    for (size_t t = 0; t < s->trials && !code; t++) {
        mete__job job = {.group = s->trial[t].name, .set = s->trial[t].set, .sets = s->sets};
        code = mete__runner_group(&runner, &job);
    }
    if (!code)
        code = go(s, &runner, order, rungs, least);
    if (!code) {
        mark_front(s, order, rungs - 1);
        mete_buffer json = mete_buffer_make(0);
        mete__sweep_json(s, order, &json);
        bool kept = mete__runner_page(&runner, METE__SWEEP_FILE, &json);
        if (!s->args->json)
            mete__sweep_table(s, order);
        else
            mete__put_out(&json);
        mete_buffer_free(&json);
        for (size_t t = 0; t < s->trials; t++)
            missing += s->seeds - s->trial[t].runs;
        if (missing)
            mete__say("%zu runs failed", missing);
        code = missing || !kept ? METE__EXIT_FAILED : METE__EXIT_DONE;
    }
    mete__runner_close(&runner);
    free(order);
    return code;
}

int
mete__sweep_run(const mete__args *args)
{
    mete__errors errors = {0};
    mete__config *config = mete__read_config(args, args->operand[0]);
    if (!config)
        return METE__EXIT_INPUT;
    mete__sweep s = {.args = args, .config = args->operand[0]};
    read_block(&s, config, &errors);
    if (s.search == METE__GRID && !errors.count)
        count_grid(&s, &errors);
    int code = errors.count ? mete__report(&errors) : sweep(&s, mete__config_root(config));
    free_trials(&s);
    mete__dimensions_free(&s);
    mete__config_free(config);
    return code;
}

int
mete__command_sweep(int argc, char **argv)
{
    mete__args args;
    int code;
    if (!mete__args_read(
            argc, argv, "set json out quiet seeds seeds-from jobs memory over metric method trials",
            1, 1, usage, &args, &code))
        return code;
    bool known = !args.method;
    for (int k = 0; k < METE__SEARCHES && !known; k++)
        known = strcmp(args.method, mete__search_word[k]) == 0;
    code = known ? mete__sweep_run(&args)
                 : mete__misused("sweep", "--method is grid, random or halving, not \"%s\"",
                                 args.method);
    mete__args_free(&args);
    return code;
}
