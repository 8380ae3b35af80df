/* selftest.c - mete selftest: checks one plugin against the contract, a line a check; what the
 * contract says of each kind is in selftest_KIND.c.
 */
#include "cli/selftest.h"

#include "engine/options.h"

#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: mete selftest FILE.so | KIND/NAME | NAME [--set PATH=VALUE]... [--quiet]\n\n"
    "Loads one plugin and checks that it keeps the contract, without knowing what it computes.\n"
    "FILE.so need not be on the plugin path. A line a check; exit code 0 when all hold, 2 when "
    "one\n"
    "does not.\n\n"
    "  all           option table; opened and closed again and again; saved and loaded\n"
    "  rewards       scores of difficult responses: finite, the same twice and in pieces\n"
    "  rubrics       criteria: well formed, and the same each time a prompt is asked about\n"
    "  policies      actions that are allowed; log-probabilities of act and forward; gradients\n"
    "                against finite differences; lanes alone and together\n"
    "  environments  random actions: the same bits each time and for each number of lanes, rules\n"
    "                of how episodes end, lanes copied and restored\n\n"
    "  --set PATH=VALUE  an option, such as reward.pattern=abc, env.data=FILE or\n"
    "                    'policy.inner={ use = \"mlp\"; }'; repeatable\n"
    "  --quiet           only what fails\n";

void
mete__selftest_tell(mete__selftest *t, bool good, const char *what, const char *why)
{
    t->failures += !good;
    if (!good)
        printf("FAILED  %s: %s\n", what, why);
    else if (!t->args->quiet)
        printf("ok      %s\n", what);
}

void
mete__selftest_skip(const mete__selftest *t, const char *what, const char *why)
{
    if (!t->args->quiet)
        printf("skipped %s: %s\n", what, why);
}

/* ---- an engine around the plugin ------------------------------------------------------------- */

/* Where the plugin stands in the smallest config that holds it. */
static const char *
place(const mete__selftest *t)
{
    static const char *const word[] = {"", "reward", "reward.generator", "policy", "env"};
    return word[t->plugin->as.head.kind];
}

static void
config_text(const mete__selftest *t, char *out, size_t room)
{
    const char *name = t->plugin->as.head.name;
    uint32_t flags = t->plugin->as.head.flags;
    const char *child =
        !(flags & METE_COMBINES) ? ""
        : !(flags & METE_SUMS) || flags & METE_ONE_CHILD
            ? "of = ( { name = \"child\"; use = \"length\"; } ); "
            : "of = ( { name = \"child\"; use = \"length\"; weight = 0.5; },"
              " { name = \"other\"; use = \"length\"; shape = \"linear\"; weight = -3.0; } ); ";
    if (t->plugin->as.head.kind == METE_KIND_RUBRIC)
        snprintf(out, room, "reward = { use = \"rubric\"; generator = { use = \"%s\"; }; };\n",
                 name);
    else if (t->plugin->as.head.kind == METE_KIND_REWARD) /* what it does is seen in this process */
        snprintf(out, room, "reward = { use = \"%s\"; %s%s};\n", name,
                 flags & METE_ISOLATED ? "" : "isolate = \"none\"; ", child);
    else
        snprintf(out, room, "%s = { use = \"%s\"; };\n", place(t), name);
}

bool
mete__host_open(const mete__selftest *t, mete__host *host, unsigned threads, mete_error *err)
{
    char text[512];
    mete__errors errors = {0};
    mete__engine_options options = {.seed = 1, .threads = threads};
    *host = (mete__host){0};
    config_text(t, text, sizeof text);
    host->config =
        mete__config_parse("selftest", text, strlen(text), t->args->set, t->args->sets, &errors);
    if (host->config && !errors.count)
        host->engine = mete__engine_open(host->config, &options, &errors);
    bool good = host->engine && !errors.count;
    if (!good)
        mete_error_set(err, METE_EINVAL, "%s", errors.count ? errors.line[0] : "out of memory");
    mete__errors_free(&errors);
    if (!good)
        mete__host_close(host);
    return good;
}

void
mete__host_close(mete__host *host)
{
    if (host->engine)
        mete__engine_close(host->engine);
    if (host->config)
        mete__config_free(host->config);
    *host = (mete__host){0};
}

bool
mete__host_copy(const mete__host *from, mete__host *to, mete_error *err)
{
    mete__checkpoint *c = mete__checkpoint_new();
    bool good = c && mete__engine_save(from->engine, c, err) == METE_OK &&
                mete__engine_load(to->engine, c, err) == METE_OK;
    if (!c)
        mete_error_set(err, METE_ENOMEM, "out of memory");
    mete__checkpoint_free(c);
    return good;
}

/* The value a --set has to give, as the shell takes it. */
static const char *
value_of(const mete_option *option)
{
    switch (option->type) {
    case METE_OPTION_DATA:
    case METE_OPTION_FILE:
        return "FILE";
    case METE_OPTION_MODEL:
        return "m' --set 'models={ m = { use = \"NAME\"; }; }";
    case METE_OPTION_REWARD:
    case METE_OPTION_RUBRIC:
    case METE_OPTION_POLICY:
    case METE_OPTION_ENVIRONMENT:
        return "{ use = \"NAME\"; }";
    default:
        return "VALUE";
    }
}

/* What it takes to open the plugin. */
static void
tell_needs(const mete__selftest *t)
{
    const mete_plugin *head = &t->plugin->as.head;
    size_t needs = 0;
    for (const mete_option *o = head->options; o->name; o++)
        if (o->flags & METE_REQUIRED) {
            needs++;
            printf("        give --set '%s.%s=%s': %s\n", place(t), o->name, value_of(o), o->help);
        }
    if (!needs)
        printf("        give what it needs by --set %s.OPTION=VALUE; `mete plugins %s` lists its "
               "options\n",
               place(t), head->name);
}

static void
check_opening(mete__selftest *t)
{
    mete_error err = {0};
    bool good = true;
    int times = 0;
    for (; times < 50 && good; times++) {
        mete__host host;
        good = mete__host_open(t, &host, 1, &err);
        mete__host_close(&host);
    }
    mete__selftest_tell(t, good, "opened and closed 50 times", err.message);
    if (!good && times == 1)
        tell_needs(t);
}

/* ---- the command ----------------------------------------------------------------------------- */

static const mete__plugin *
find(const char *word, mete_error *err)
{
    size_t length = strlen(word);
    if (length > 3 && strcmp(word + length - 3, ".so") == 0)
        return mete__plugin_open(word, err);
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

static void (*const check_kind[])(mete__selftest *t) = {
    [METE_KIND_REWARD] = mete__selftest_reward,
    [METE_KIND_RUBRIC] = mete__selftest_rubric,
    [METE_KIND_POLICY] = mete__selftest_policy,
    [METE_KIND_ENVIRONMENT] = mete__selftest_environment,
};

int
mete__command_selftest(int argc, char **argv)
{
    mete__args args;
    mete_error err = {0};
    int code;
    if (!mete__args_read(argc, argv, "set quiet", 1, 1, usage, &args, &code))
        return code;
    mete__selftest t = {.args = &args, .plugin = find(args.operand[0], &err)};
    mete__selftest_tell(&t, t.plugin != NULL, "loads", err.message);
    if (t.plugin) {
        int rc = mete__options_lint(&t.plugin->as.head, &err);
        mete__selftest_tell(&t, rc == METE_OK, "option table", err.message);
        check_opening(&t);
    }
    if (t.plugin && !t.failures)
        check_kind[t.plugin->as.head.kind](&t);
    mete__args_free(&args);
    return t.failures ? METE__EXIT_INPUT : METE__EXIT_DONE;
}
