/* ablate.c - mete ablate CONFIG: which of the rewards does the work, by how much, and how sure?
 *
 * An arm is the config with a few values set. Each arm runs with the same seeds, so that arms are
 * compared pair by pair, each run in a process and a folder of its own: DIR/ARM/SEED. A run that is
 * whole (its summary stands beside it) is not done again, one that was cut is resumed. */
#include "cli/cli.h"
#include "run/statistics.h"

#include <errno.h>
#include <limits.h>
#include <mete/text.h>
#include <math.h>
#include <signal.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_ARMS = 64, MOST_SEEDS = 1000, MOST_CLAIMS = 64, MOST_JOBS = 64, RESAMPLES = 2000 };

static const char usage[] =
    "usage: mete ablate CONFIG [--out DIR] [--seeds N] [--seeds-from N] [--jobs N] [--check]\n"
    "                   [--set PATH=VALUE]... [--json] [--quiet]\n\n"
    "Runs CONFIG in arms (all of it, and without a part) over the same seeds, and compares each "
    "arm\n"
    "with the first by its paired differences. Arms, seeds, metric and claims stand in the "
    "config's\n"
    "`ablate` block; without arms every named reward under the root is left out in turn (its "
    "weight\n"
    "is 0). What is done is not done again: call it again to go on.\n\n"
    "  --out DIR         where the runs go (default: runs/NAME-ablation)\n"
    "  --seeds N         how many seeds (default: ablate.seeds, else 5)\n"
    "  --seeds-from N    the first seed (default: ablate.seeds_from, else 1)\n"
    "  --jobs N          runs side by side (default: all processors)\n"
    "  --check           exit 4 when a claim does not hold\n"
    "  --set PATH=VALUE  change one value of the config in every arm; repeatable\n"
    "  --json            the table as one JSON object\n"
    "  --quiet           no progress\n";

struct arm {
    char *name;
    char **set;
    size_t sets;
    double *value; /* [seeds] the metric; NaN: the run failed */
    size_t failed;
    double *sorted; /* scratch */
    mete__interval iqm, difference;
    double p, holm, effect, improvement;
    size_t pairs;
};

struct claim {
    size_t more, less;
    double margin;
    bool holds;
    double lowest; /* lower end of the difference's interval */
};

struct ablation {
    const mete__args *args;
    const char *config;
    char folder[PATH_MAX];
    const char *metric;
    double confidence;
    uint64_t first;
    size_t seeds, jobs, arms, claims;
    struct arm arm[MOST_ARMS];
    struct claim claim[MOST_CLAIMS];
};

/* ---- arms ------------------------------------------------------------------------------------ */

static bool
add_set(struct arm *arm, const char *format, const char *name)
{
    char **grown = realloc(arm->set, (arm->sets + 1) * sizeof *grown);
    size_t room = strlen(format) + strlen(name) + 1;
    char *text = grown ? malloc(room) : NULL;
    arm->set = grown ? grown : arm->set;
    if (!text)
        return false;
    snprintf(text, room, format, name); /* NOLINT: the formats are this file's own */
    arm->set[arm->sets++] = text;
    return true;
}

static struct arm *
add_arm(struct ablation *a, const char *name, mete__errors *errors)
{
    for (size_t k = 0; k < a->arms; k++)
        if (strcmp(a->arm[k].name, name) == 0) {
            mete__errors_add(errors, "ablate: two arms are called \"%s\"", name);
            return NULL;
        }
    if (a->arms == MOST_ARMS || strchr(name, '/') || *name == '.' || !*name) {
        mete__errors_add(errors,
                         "ablate: arm \"%s\": at most %d arms, and a name must do as a folder's",
                         name, MOST_ARMS);
        return NULL;
    }
    struct arm *arm = &a->arm[a->arms];
    if (!(arm->name = strdup(name)))
        return NULL;
    a->arms++;
    return arm;
}

static bool
leave_out(mete__value *root, const char *node, struct arm *arm, const mete__value *at,
          mete__errors *errors)
{
    char path[300];
    snprintf(path, sizeof path, "@%s", node);
    mete__value *found = mete__value_find(root, path);
    if (!found || found->kind != METE__GROUP) {
        mete__errors_add(errors, "%s:%d: %s: arm \"%s\": no node is called '%s'", at->file,
                         at->line, at->path, arm->name, node);
        return false;
    }
    return add_set(arm, "@%s.weight=0.0", node);
}

/* "full", "-NAME", or { name = ...; set = [ "path=value", ... ]; }. */
static void
read_arm(struct ablation *a, mete__value *root, mete__value *item, mete__errors *errors)
{
    item->used = true;
    if (item->kind == METE__STRING) {
        struct arm *arm = add_arm(a, item->string, errors);
        if (arm && *item->string == '-')
            leave_out(root, item->string + 1, arm, item, errors);
        else if (arm && strcmp(item->string, "full") != 0)
            mete__errors_add(
                errors,
                "%s:%d: %s: \"%s\": an arm is \"full\", \"-NODE\" or a group with name "
                "and set",
                item->file, item->line, item->path, item->string);
        return;
    }
    if (item->kind != METE__GROUP) {
        mete__errors_add(errors, "%s:%d: %s: an arm is \"full\", \"-NODE\" or a group", item->file,
                         item->line, item->path);
        return;
    }
    const char *name = mete__value_string(item, "name", "", errors);
    struct arm *arm = add_arm(a, name, errors);
    mete__value *sets = mete__value_get(item, "set");
    for (mete__value *set = sets && arm ? sets->first : NULL; set; set = set->next) {
        set->used = true;
        if (set->kind != METE__STRING || !strchr(set->string, '='))
            mete__errors_add(errors, "%s:%d: %s must be a string \"path=value\"", set->file,
                             set->line, set->path);
        else
            add_set(arm, "%s", set->string);
    }
    if (!sets)
        mete__errors_add(errors, "%s:%d: %s: set = [ \"path=value\" ] is missing", item->file,
                         item->line, item->path);
    mete__value_unknown(item, "name set", errors);
}

/* Without arms: all, and each named child of the root left out. */
static void
default_arms(struct ablation *a, mete__value *root, mete__errors *errors)
{
    mete__value *reward = mete__value_get(root, "reward");
    mete__value *children = reward ? mete__value_get(reward, "of") : NULL;
    add_arm(a, "full", errors);
    for (mete__value *child = children ? children->first : NULL; child; child = child->next) {
        mete__value *name = child->kind == METE__GROUP ? mete__value_get(child, "name") : NULL;
        char arm_name[300];
        if (!name || name->kind != METE__STRING)
            continue;
        snprintf(arm_name, sizeof arm_name, "-%s", name->string);
        struct arm *arm = add_arm(a, arm_name, errors);
        if (arm)
            leave_out(root, name->string, arm, child, errors);
    }
    if (a->arms < 2 && !errors->count)
        mete__errors_add(errors,
                         "%s: nothing to leave out: name the rewards under `of`, or give "
                         "ablate = { arms = ( ... ); }",
                         a->config);
}

/* "A > B by MARGIN". */
static void
read_claim(struct ablation *a, mete__value *item, mete__errors *errors)
{
    char more[100], less[100], margin[40] = "0";
    struct claim *claim = &a->claim[a->claims];
    item->used = true;
    int got = item->kind == METE__STRING
                  ? sscanf(item->string, "%99s > %99s by %39s", more, less, margin)
                  : 0;
    *claim = (struct claim){MOST_ARMS, MOST_ARMS, 0, false, NAN};
    for (size_t k = 0; k < a->arms && got >= 2; k++) {
        if (strcmp(a->arm[k].name, more) == 0)
            claim->more = k;
        if (strcmp(a->arm[k].name, less) == 0)
            claim->less = k;
    }
    if (claim->more == MOST_ARMS || claim->less == MOST_ARMS || a->claims + 1 == MOST_CLAIMS ||
        !mete_number_parse(mete_text_from(margin), 0, &claim->margin))
        mete__errors_add(errors, "%s:%d: %s: a claim is \"ARM > ARM by NUMBER\", of arms there are",
                         item->file, item->line, item->path);
    else
        a->claims++;
}

static void
read_block(struct ablation *a, mete__config *config, mete__errors *errors)
{
    mete__value *root = mete__config_root(config), *block = mete__value_get(root, "ablate");
    const mete__args *args = a->args;
    a->metric = "eval/reward";
    a->confidence = 0.95;
    a->seeds = 5;
    a->first = 1;
    if (block && block->kind != METE__GROUP) {
        mete__errors_add(errors, "%s:%d: ablate must be a group", block->file, block->line);
        return;
    }
    mete__value *arms = block ? mete__value_get(block, "arms") : NULL;
    for (mete__value *item = arms ? arms->first : NULL; item; item = item->next)
        read_arm(a, root, item, errors);
    if (!arms)
        default_arms(a, root, errors);
    if (block) {
        a->metric = mete__value_string(block, "metric", a->metric, errors);
        a->seeds = (size_t)mete__value_int(block, "seeds", 5, 2, MOST_SEEDS, errors);
        a->first = (uint64_t)mete__value_int(block, "seeds_from", 1, 0, INT32_MAX, errors);
        a->confidence = mete__value_real(block, "confidence", 0.95, 0.5, 0.9999, errors);
        mete__value *claim = mete__value_get(block, "claim");
        if (claim && claim->kind == METE__LIST)
            for (mete__value *item = claim->first; item; item = item->next)
                read_claim(a, item, errors);
        else if (claim)
            read_claim(a, claim, errors);
        mete__value_unknown(block, "arms metric seeds seeds_from confidence claim", errors);
    }
    a->seeds = args->seeds ? (size_t)args->seeds : a->seeds;
    a->first = args->seeds_from_given ? args->seeds_from : a->first;
    for (size_t k = 0; k < a->arms; k++) {
        a->arm[k].value = calloc(2 * a->seeds, sizeof(double));
        a->arm[k].sorted = a->arm[k].value ? a->arm[k].value + a->seeds : NULL;
        if (!a->arm[k].value)
            mete__errors_add(errors, "out of memory");
    }
}

/* ---- runs ------------------------------------------------------------------------------------ */

static volatile sig_atomic_t caught;

static void
on_signal(int number)
{
    caught = number;
}

static bool
run_folder(const struct ablation *a, size_t job, char *out, const char *suffix)
{
    const struct arm *arm = &a->arm[job / a->seeds];
    int n = snprintf(out, PATH_MAX, "%s/%s/%" PRIu64 "%s", a->folder, arm->name,
                     a->first + job % a->seeds, suffix);
    return n > 0 && n < PATH_MAX;
}

static bool
is_there(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

static bool
whole(const struct ablation *a, size_t job)
{
    char path[PATH_MAX];
    return run_folder(a, job, path, ".json") && is_there(path);
}

/* In the child: becomes `mete run` or `mete resume`, its summary in FOLDER.part, its talk in
 * FOLDER.log. Only returns when that fails. */
static void
become_run(const struct ablation *a, size_t job)
{
    const struct arm *arm = &a->arm[job / a->seeds];
    static char folder[PATH_MAX], part[PATH_MAX], log[PATH_MAX], seed[32];
    const char **argv = calloc(16 + 2 * (arm->sets + a->args->sets), sizeof *argv);
    size_t n = 0;
    if (!argv || !run_folder(a, job, folder, "") || !run_folder(a, job, part, ".part") ||
        !run_folder(a, job, log, ".log"))
        return;
    argv[n++] = "mete";
    char probe[PATH_MAX + 16];
    snprintf(probe, sizeof probe, "%s/config.cfg", folder);
    if (is_there(probe)) {
        argv[n++] = "resume";
        argv[n++] = folder;
    } else {
        snprintf(seed, sizeof seed, "%" PRIu64, a->first + job % a->seeds);
        argv[n++] = "run";
        argv[n++] = a->config;
        argv[n++] = "--out";
        argv[n++] = folder;
        argv[n++] = "--seed";
        argv[n++] = seed;
        for (size_t k = 0; k < a->args->sets; k++) {
            argv[n++] = "--set";
            argv[n++] = a->args->set[k];
        }
        for (size_t k = 0; k < arm->sets; k++) {
            argv[n++] = "--set";
            argv[n++] = arm->set[k];
        }
    }
    argv[n++] = "--threads";
    argv[n++] = "1";
    argv[n++] = "--json";
    argv[n++] = "--quiet";
    int out = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    int talk = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (out < 0 || talk < 0 || dup2(out, 1) < 0 || dup2(talk, 2) < 0)
        return;
    execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
}

static bool
start_run(const struct ablation *a, size_t job, pid_t *pid)
{
    char folder[PATH_MAX + 400];
    snprintf(folder, sizeof folder, "%s/%s", a->folder, a->arm[job / a->seeds].name);
    if (mkdir(folder, 0777) && errno != EEXIST) {
        mete__say("%s: %s", folder, strerror(errno));
        return false;
    }
    *pid = fork();
    if (*pid == 0) {
        become_run(a, job);
        _exit(127);
    }
    if (*pid < 0)
        mete__say("cannot start a run: %s", strerror(errno));
    return *pid > 0;
}

/* What a run that ended with `status` left. A summary is moved to its place only when whole. */
static void
end_run(const struct ablation *a, size_t job, int status)
{
    char part[PATH_MAX], whole_name[PATH_MAX], log[PATH_MAX];
    if (!run_folder(a, job, part, ".part") || !run_folder(a, job, whole_name, ".json") ||
        !run_folder(a, job, log, ".log"))
        return;
    if (WIFEXITED(status) && WEXITSTATUS(status) == METE__EXIT_DONE) {
        if (rename(part, whole_name))
            mete__say("%s: %s", whole_name, strerror(errno));
        return;
    }
    unlink(part);
    if (!caught)
        mete__say("arm %s, seed %" PRIu64 " failed; what it said is in %s",
                  a->arm[job / a->seeds].name, a->first + job % a->seeds, log);
}

/* All runs that are not whole, `jobs` at a time. Seeds go round before arms, so that an ablation
 * that is stopped has compared what it has. */
static int
run_all(struct ablation *a)
{
    pid_t pid[MOST_JOBS];
    size_t job_of[MOST_JOBS], running = 0, total = a->arms * a->seeds, next = 0, done = 0;
    bool good = true;
    while (running || (next < total && !caught && good)) {
        while (running < a->jobs && next < total && !caught && good) {
            size_t job = next % a->arms * a->seeds + next / a->arms;
            next++;
            if (whole(a, job)) {
                done++;
                continue;
            }
            good = start_run(a, job, &pid[running]);
            job_of[running] = job;
            running += good;
        }
        if (!running)
            continue;
        int status;
        pid_t ended = waitpid(-1, &status, 0);
        if (ended < 0 && errno == EINTR) {
            for (size_t k = 0; k < running; k++)
                kill(pid[k], SIGTERM); /* each saves and ends */
            continue;
        }
        for (size_t k = 0; k < running; k++) {
            if (pid[k] != ended)
                continue;
            end_run(a, job_of[k], status);
            done++;
            running--;
            pid[k] = pid[running];
            job_of[k] = job_of[running];
            if (!a->args->quiet && !caught)
                mete__say("%zu of %zu runs", done, total);
            break;
        }
    }
    if (caught)
        mete__say("interrupted; what is done stands in %s: call it again to go on", a->folder);
    return caught ? METE__EXIT_INTERRUPTED : good ? METE__EXIT_DONE : METE__EXIT_FAILED;
}

/* ---- results --------------------------------------------------------------------------------- */

/* The last value of the metric in a run's metrics; NaN when there is none. */
static double
read_metric(const struct ablation *a, size_t job)
{
    char path[PATH_MAX], *line = NULL;
    size_t room = 0;
    double value = NAN;
    FILE *file = run_folder(a, job, path, "/metrics.jsonl") ? fopen(path, "r") : NULL;
    ssize_t length;
    while (file && (length = getline(&line, &room, file)) > 0) {
        mete_json *root = mete_json_parse((mete_text){line, (size_t)length}, NULL);
        const mete_json *member = root ? mete_json_get(root, a->metric) : NULL;
        if (member && isfinite(mete_json_number(member)))
            value = mete_json_number(member);
        mete_json_free(root);
    }
    if (file)
        fclose(file);
    free(line);
    return value;
}

/* Paired differences of two arms over the seeds both have; how many. */
static size_t
differences(const struct ablation *a, const struct arm *x, const struct arm *y, double *d)
{
    size_t n = 0;
    for (size_t s = 0; s < a->seeds; s++)
        if (isfinite(x->value[s]) && isfinite(y->value[s]))
            d[n++] = x->value[s] - y->value[s];
    return n;
}

static bool
compare(struct ablation *a)
{
    double *d = calloc(2 * a->seeds + 1, sizeof *d), p[MOST_ARMS];
    bool good = d != NULL;
    for (size_t k = 0; k < a->arms && good; k++) {
        struct arm *arm = &a->arm[k], *full = &a->arm[0];
        size_t n = 0, m = 0;
        for (size_t s = 0; s < a->seeds; s++) {
            size_t job = k * a->seeds + s;
            arm->value[s] = whole(a, job) ? read_metric(a, job) : NAN;
            arm->failed += !isfinite(arm->value[s]);
            if (isfinite(arm->value[s]))
                d[n++] = arm->value[s];
        }
        good =
            !mete__bootstrap(d, &n, 1, mete__estimate_iqm, RESAMPLES, a->confidence, k, &arm->iqm);
        for (size_t s = 0; s < a->seeds; s++)
            if (isfinite(full->value[s]))
                d[a->seeds + m++] = full->value[s];
        arm->improvement = mete__improvement(d, n, d + a->seeds, m);
        arm->pairs = differences(a, arm, full, d);
        good = good && !mete__bootstrap(d, &arm->pairs, 1, mete__estimate_mean, RESAMPLES,
                                        a->confidence, k, &arm->difference);
        p[k] = arm->p = mete__sign_flip(d, arm->pairs, 100000, k);
        arm->effect = mete__effect(d, arm->pairs);
    }
    if (good && a->arms > 1)
        mete__holm(p + 1, a->arms - 1);
    for (size_t k = 1; k < a->arms; k++)
        a->arm[k].holm = p[k];
    for (size_t c = 0; c < a->claims && good; c++) {
        struct claim *claim = &a->claim[c];
        mete__interval interval;
        size_t n = differences(a, &a->arm[claim->more], &a->arm[claim->less], d);
        good =
            !mete__bootstrap(d, &n, 1, mete__estimate_mean, RESAMPLES, a->confidence, c, &interval);
        claim->lowest = interval.lo;
        claim->holds = n == a->seeds && interval.lo >= claim->margin;
    }
    free(d);
    return good;
}

static void
print_table(const struct ablation *a)
{
    size_t wide = 4;
    for (size_t k = 0; k < a->arms; k++)
        wide = strlen(a->arm[k].name) > wide ? strlen(a->arm[k].name) : wide;
    printf("%s over %zu seeds from %" PRIu64 "; intervals at %g%%\n\n", a->metric, a->seeds,
           a->first, 100 * a->confidence);
    printf("%-*s  runs  %-32s %-36s %-8s %-8s %-7s %s\n", (int)wide, "arm", "interquartile mean",
           "difference from the first, paired", "p", "Holm p", "effect", "P(better)");
    for (size_t k = 0; k < a->arms; k++) {
        const struct arm *arm = &a->arm[k];
        printf("%-*s  %4zu  %8.4g [%8.4g, %8.4g]  ", (int)wide, arm->name, a->seeds - arm->failed,
               arm->iqm.point, arm->iqm.lo, arm->iqm.hi);
        if (k)
            printf("   %+10.4g [%+10.4g, %+10.4g]  %-8.3g %-8.3g %+-7.2f %.2f",
                   arm->difference.point, arm->difference.lo, arm->difference.hi, arm->p, arm->holm,
                   arm->effect, arm->improvement);
        printf("%s\n", arm->failed ? "  (runs are missing)" : "");
    }
    for (size_t c = 0; c < a->claims; c++)
        printf("%s%s > %s by %g: %s (the difference is at least %.4g)\n", c ? "" : "\n",
               a->arm[a->claim[c].more].name, a->arm[a->claim[c].less].name, a->claim[c].margin,
               a->claim[c].holds ? "holds" : "does not hold", a->claim[c].lowest);
}

static void
put_number(mete_buffer *out, const char *name, double value)
{
    mete_buffer_format(out, ",\"%s\":", name);
    if (isfinite(value))
        mete_json_put_number(out, value);
    else
        mete_buffer_string(out, "null");
}

static void
print_json(const struct ablation *a)
{
    mete_buffer out = mete_buffer_make(0);
    mete_buffer_string(&out, "{\"metric\":");
    mete_json_put_text(&out, mete_text_from(a->metric));
    mete_buffer_format(&out, ",\"seeds\":%zu,\"seeds_from\":%" PRIu64 ",\"arms\":[", a->seeds,
                       a->first);
    for (size_t k = 0; k < a->arms; k++) {
        const struct arm *arm = &a->arm[k];
        mete_buffer_string(&out, k ? ",{\"name\":" : "{\"name\":");
        mete_json_put_text(&out, mete_text_from(arm->name));
        put_number(&out, "runs", (double)(a->seeds - arm->failed));
        put_number(&out, "iqm", arm->iqm.point);
        put_number(&out, "iqm_lo", arm->iqm.lo);
        put_number(&out, "iqm_hi", arm->iqm.hi);
        if (k) {
            put_number(&out, "difference", arm->difference.point);
            put_number(&out, "difference_lo", arm->difference.lo);
            put_number(&out, "difference_hi", arm->difference.hi);
            put_number(&out, "p", arm->p);
            put_number(&out, "holm_p", arm->holm);
            put_number(&out, "effect", arm->effect);
            put_number(&out, "improvement", arm->improvement);
        }
        mete_buffer_string(&out, ",\"values\":[");
        for (size_t s = 0; s < a->seeds; s++) {
            mete_buffer_string(&out, s ? "," : "");
            if (isfinite(arm->value[s]))
                mete_json_put_number(&out, arm->value[s]);
            else
                mete_buffer_string(&out, "null");
        }
        mete_buffer_string(&out, "]}");
    }
    mete_buffer_string(&out, "],\"claims\":[");
    for (size_t c = 0; c < a->claims; c++) {
        const struct claim *claim = &a->claim[c];
        mete_buffer_string(&out, c ? ",{\"more\":" : "{\"more\":");
        mete_json_put_text(&out, mete_text_from(a->arm[claim->more].name));
        mete_buffer_string(&out, ",\"less\":");
        mete_json_put_text(&out, mete_text_from(a->arm[claim->less].name));
        put_number(&out, "margin", claim->margin);
        put_number(&out, "at_least", claim->lowest);
        mete_buffer_format(&out, ",\"holds\":%s}", claim->holds ? "true" : "false");
    }
    mete_buffer_string(&out, "]}\n");
    if (out.data)
        fwrite(out.data, 1, out.length, stdout);
    mete_buffer_free(&out);
}

/* ---- the command ----------------------------------------------------------------------------- */

/* Folders down to `path`. */
static bool
make_folders(char *path)
{
    for (char *at = path + 1;; at++) {
        if (*at && *at != '/')
            continue;
        char kept = *at;
        *at = 0;
        bool good = mkdir(path, 0777) == 0 || errno == EEXIST;
        *at = kept;
        if (!good)
            mete__say("%s: %s", path, strerror(errno));
        if (!good || !kept)
            return good;
    }
}

static void
choose_folder(struct ablation *a)
{
    const char *name = strrchr(a->config, '/');
    name = name ? name + 1 : a->config;
    size_t length = strlen(name);
    if (length > 4 && strcmp(name + length - 4, ".cfg") == 0)
        length -= 4;
    if (a->args->out)
        snprintf(a->folder, sizeof a->folder, "%s", a->args->out);
    else
        snprintf(a->folder, sizeof a->folder, "runs/%.*s-ablation", (int)length, name);
}

static int
ablate(struct ablation *a)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND};
    long there = sysconf(_SC_NPROCESSORS_ONLN);
    a->jobs = a->args->jobs ? (size_t)a->args->jobs : there < 1 ? 1 : (size_t)there;
    a->jobs = a->jobs > MOST_JOBS ? MOST_JOBS : a->jobs;
    choose_folder(a);
    if (!make_folders(a->folder))
        return METE__EXIT_FAILED;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    int code = run_all(a);
    if (code)
        return code;
    if (!compare(a)) {
        mete__say("out of memory");
        return METE__EXIT_FAILED;
    }
    if (a->args->json)
        print_json(a);
    else
        print_table(a);
    size_t failed = 0;
    for (size_t k = 0; k < a->arms; k++)
        failed += a->arm[k].failed;
    for (size_t c = 0; c < a->claims; c++)
        if (a->args->check && !a->claim[c].holds)
            code = METE__EXIT_CLAIM;
    if (failed)
        mete__say("%zu runs failed or say nothing of %s", failed, a->metric);
    return failed ? METE__EXIT_FAILED : code;
}

int
mete__command_ablate(int argc, char **argv)
{
    mete__args args;
    mete__errors errors = {0};
    int code;
    if (!mete__args_read(argc, argv,
                         METE__TAKES_SET | METE__TAKES_JSON | METE__TAKES_OUT | METE__TAKES_QUIET |
                             METE__TAKES_SEEDS | METE__TAKES_SEEDS_FROM | METE__TAKES_JOBS |
                             METE__TAKES_CHECK,
                         1, 1, usage, &args, &code))
        return code;
    struct ablation *a = calloc(1, sizeof *a);
    mete__config *config = a ? mete__read_config(&args, args.operand[0]) : NULL;
    code = METE__EXIT_INPUT;
    if (config) {
        a->args = &args;
        a->config = args.operand[0];
        read_block(a, config, &errors);
        code = errors.count ? mete__report(&errors) : ablate(a);
    }
    for (size_t k = 0; a && k < a->arms; k++) {
        for (size_t s = 0; s < a->arm[k].sets; s++)
            free(a->arm[k].set[s]);
        free(a->arm[k].set);
        free(a->arm[k].name);
        free(a->arm[k].value);
    }
    if (config)
        mete__config_free(config);
    free(a);
    mete__args_free(&args);
    return code;
}
