/* selftest.c - mete selftest: checks one plugin against the contract, a line a check.
 *
 * Rewards are scored on batches made to hurt: empty responses, a megabyte, NUL, bytes that are no
 * UTF-8. What the contract says of every reward is tested here without knowing what it computes:
 * scores are finite, the same twice, the same whole and cut, and the same after save and load.
 * Policies, environments and rubric generators are opened and closed; what they do is tested by
 * running them.
 */
#include "cli/selftest.h"

#include "engine/options.h"

#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: mete selftest FILE.so | KIND/NAME | NAME [--set PATH=VALUE]... [--quiet]\n\n"
    "Loads one plugin and checks that it keeps the contract: its option table, opening and "
    "closing,\n"
    "and, for a reward, what its scores are on difficult responses. A line a check; exit code 0\n"
    "when all hold, 2 when one does not. Required options are given by --set, such as\n"
    "--set reward.pattern=abc.\n";

struct selftest {
    const mete__args *args;
    const mete__plugin *plugin;
    int failures;
};

static void
tell(struct selftest *t, bool good, const char *what, const char *why)
{
    t->failures += !good;
    if (!good)
        printf("FAILED  %s: %s\n", what, why);
    else if (!t->args->quiet)
        printf("ok      %s\n", what);
}

/* ---- an engine around the plugin ------------------------------------------------------------- */

struct host {
    mete__config *config;
    mete__engine *engine;
};

static void
host_close(struct host *host)
{
    if (host->engine)
        mete__engine_close(host->engine);
    if (host->config)
        mete__config_free(host->config);
    *host = (struct host){0};
}

/* The smallest config that holds the plugin. */
static void
config_text(const struct selftest *t, char *out, size_t room)
{
    const char *name = t->plugin->as.head.name;
    uint32_t flags = t->plugin->as.head.flags;
    const char *child =
        !(flags & METE_COMBINES) ? ""
        : !(flags & METE_SUMS) || flags & METE_ONE_CHILD
            ? "of = ( { name = \"child\"; use = \"length\"; } ); "
            : "of = ( { name = \"child\"; use = \"length\"; weight = 0.5; },"
              " { name = \"other\"; use = \"length\"; shape = \"linear\"; weight = -3.0; } ); ";
    switch (t->plugin->as.head.kind) {
    case METE_KIND_RUBRIC:
        snprintf(out, room, "reward = { use = \"rubric\"; generator = { use = \"%s\"; }; };\n",
                 name);
        break;
    case METE_KIND_POLICY:
        snprintf(out, room, "policy = { use = \"%s\"; };\n", name);
        break;
    case METE_KIND_ENVIRONMENT:
        snprintf(out, room, "env = { use = \"%s\"; };\n", name);
        break;
    default:
        snprintf(out, room, "reward = { use = \"%s\"; %s};\n", name, child);
        break;
    }
}

static bool
host_open(const struct selftest *t, struct host *host, unsigned threads, char *why, size_t room)
{
    char text[512];
    mete__errors errors = {0};
    mete__engine_options options = {.seed = 1, .threads = threads};
    *host = (struct host){0};
    config_text(t, text, sizeof text);
    host->config =
        mete__config_parse("selftest", text, strlen(text), t->args->set, t->args->sets, &errors);
    if (host->config && !errors.count)
        host->engine = mete__engine_open(host->config, &options, &errors);
    bool good = host->engine && !errors.count;
    if (!good)
        snprintf(why, room, "%s", errors.count ? errors.line[0] : "out of memory");
    mete__errors_free(&errors);
    if (!good)
        host_close(host);
    return good;
}

static void
check_opening(struct selftest *t)
{
    char why[1100] = "";
    bool good = true;
    for (int i = 0; i < 50 && good; i++) {
        struct host host;
        good = host_open(t, &host, 1, why, sizeof why);
        host_close(&host);
    }
    tell(t, good, "opened and closed 50 times", why);
}

/* ---- scores ---------------------------------------------------------------------------------- */

static void
check_one_by_one(struct selftest *t, struct host *host, const struct mete__scored *whole,
                 const struct mete__hard *hard)
{
    char why[1100] = "";
    struct mete__scored each;
    bool good = true;
    for (size_t i = 0; i < METE__HARD_ROWS && good; i++)
        good = mete__hard_score(host->engine, hard, i, i + 1, &each, why, sizeof why);
    tell(t, good && mete__hard_same(whole, &each, hard, why, sizeof why),
         "scored row by row as in the whole", why);
}

/* Everything saved goes into a fresh instance, which then scores alike. */
static void
check_saved(struct selftest *t, struct host *host, const struct mete__scored *whole,
            const struct mete__hard *hard)
{
    char why[1100] = "";
    struct host other;
    struct mete__scored again;
    mete_error err = {0};
    bool good = host_open(t, &other, 1, why, sizeof why);
    if (good) {
        mete__checkpoint *c = mete__checkpoint_new();
        good = c && mete__engine_save(host->engine, c, &err) == METE_OK &&
               mete__engine_load(other.engine, c, &err) == METE_OK;
        if (!good)
            snprintf(why, sizeof why, "%s", err.message);
        mete__checkpoint_free(c);
    }
    good = good &&
           mete__hard_score(other.engine, hard, 0, METE__HARD_ROWS, &again, why, sizeof why) &&
           mete__hard_same(whole, &again, hard, why, sizeof why);
    host_close(&other);
    tell(t, good, "saved and loaded, scores alike", why);
}

static void
check_scores(struct selftest *t, struct host *host, const struct mete__hard *hard)
{
    char why[1100] = "";
    struct mete__scored whole, twice;
    uint32_t flags = t->plugin->as.head.flags;
    bool good = mete__hard_score(host->engine, hard, 0, 0, &whole, why, sizeof why);
    tell(t, good, "an empty batch", why);
    good = mete__hard_score(host->engine, hard, 0, METE__HARD_ROWS, &whole, why, sizeof why);
    tell(t, good, "difficult responses (empty, 1 MiB, NUL, invalid UTF-8)", why);
    if (!good)
        return;
    if (flags & METE_SUMS)
        tell(t, mete__hard_sums(&whole, hard, why, sizeof why),
             "the sum of its children, as declared", why);
    tell(t, mete__hard_finite(&whole, hard, why, sizeof why), "scores are finite", why);
    good = mete__hard_score(host->engine, hard, 0, METE__HARD_ROWS, &twice, why, sizeof why) &&
           mete__hard_same(&whole, &twice, hard, why, sizeof why);
    tell(t, good, "scored twice alike", why);
    if (!(flags & METE_WHOLE_BATCH))
        tell(t, mete__hard_cut(host->engine, &whole, hard, why, sizeof why),
             "scored in pieces as in the whole", why);
    if (!(flags & (METE_WHOLE_BATCH | METE_WHOLE_GROUP | METE_WHOLE_SCENE)))
        check_one_by_one(t, host, &whole, hard);
    check_saved(t, host, &whole, hard);
}

static void
check_reward(struct selftest *t)
{
    char why[1100] = "";
    struct host host;
    struct mete__hard hard;
    if (!host_open(t, &host, 2, why, sizeof why) || !mete__hard_make(&hard)) {
        tell(t, false, "opened for scoring", why[0] ? why : "out of memory");
        return;
    }
    check_scores(t, &host, &hard);
    mete__hard_free(&hard);
    host_close(&host);
}

/* ---- the command ----------------------------------------------------------------------------- */

/* The folder that holds KIND/NAME.so goes before all others, so that the engine finds this file. */
static void
prefer_folder_of(const char *file)
{
    char *path = realpath(file, NULL), *all = NULL;
    char *slash = path ? strrchr(path, '/') : NULL;
    if (slash)
        *slash = '\0';
    slash = slash ? strrchr(path, '/') : NULL;
    if (slash && slash > path) {
        *slash = '\0';
        const char *was = getenv("METE_PLUGIN_PATH");
        size_t room = strlen(path) + (was ? strlen(was) : 0) + 2;
        all = malloc(room);
        if (all) {
            snprintf(all, room, "%s%s%s", path, was ? ":" : "", was ? was : "");
            setenv("METE_PLUGIN_PATH", all, 1);
        }
    }
    free(all);
    free(path);
}

static const mete__plugin *
find(const char *word, mete_error *err)
{
    size_t length = strlen(word);
    if (length > 3 && strcmp(word + length - 3, ".so") == 0) {
        prefer_folder_of(word);
        return mete__plugin_open(word, err);
    }
    for (int kind = METE_KIND_REWARD; kind <= METE_KIND_ENVIRONMENT; kind++) {
        const char *name = mete__kind_word((mete_kind)kind);
        size_t n = strlen(name);
        if (strncmp(word, name, n) == 0 && word[n] == '/')
            return mete__plugin_get((mete_kind)kind, word + n + 1, err);
    }
    for (int kind = METE_KIND_REWARD; kind <= METE_KIND_ENVIRONMENT; kind++) {
        char *names = mete__plugin_names((mete_kind)kind);
        bool found = names && mete__has_word(names, word);
        free(names);
        if (found)
            return mete__plugin_get((mete_kind)kind, word, err);
    }
    mete_error_set(err, METE_EINVAL, "there is no plugin \"%s\"; `mete plugins` lists them", word);
    return NULL;
}

int
mete__command_selftest(int argc, char **argv)
{
    mete__args args;
    mete_error err = {0};
    int code;
    if (!mete__args_read(argc, argv, "set quiet", 1, 1, usage, &args, &code))
        return code;
    struct selftest t = {.args = &args, .plugin = find(args.operand[0], &err)};
    tell(&t, t.plugin != NULL, "loads", err.message);
    if (t.plugin) {
        int rc = mete__options_lint(&t.plugin->as.head, &err);
        tell(&t, rc == METE_OK, "option table", err.message);
        check_opening(&t);
        if (!t.failures && t.plugin->as.head.kind == METE_KIND_REWARD)
            check_reward(&t);
    }
    mete__args_free(&args);
    return t.failures ? METE__EXIT_INPUT : METE__EXIT_DONE;
}
