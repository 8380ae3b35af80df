/* args.c - the flags all commands share, read once: each means the same everywhere, and a flag a
 * command does not take is refused by name.
 */
#include "cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <mete/text.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a flag sets, beyond the characters that getopt gives by itself. */
enum flag {
    FLAG_HELP = 256,
    FLAG_SET,
    FLAG_SEED,
    FLAG_THREADS,
    FLAG_JSON,
    FLAG_OUT,
    FLAG_IN,
    FLAG_PROMPT,
    FLAG_MODEL,
    FLAG_N,
    FLAG_TEMPERATURE,
    FLAG_MAX_TOKENS,
    FLAG_VOCAB,
    FLAG_SPLIT,
    FLAG_SEEDS,
    FLAG_SEEDS_FROM,
    FLAG_JOBS,
    FLAG_MEMORY,
    FLAG_ARM,
    FLAG_OVER,
    FLAG_METHOD,
    FLAG_TRIALS,
    FLAG_RECORDS,
    FLAG_METRIC,
    FLAG_UNTIL,
    FLAG_CHECK,
    FLAG_REPORT,
    FLAG_WHERE,
    FLAG_SORT,
    FLAG_COLUMNS,
    FLAG_QUIET,
    FLAG_FORCE,
    FLAG_NODES,
    FLAG_STRICT
};

/* Each means the same for every command that takes it; some have a name of the command's own. */
static const struct option table[] = {
    {"set", required_argument, NULL, FLAG_SET},
    {"seed", required_argument, NULL, FLAG_SEED},
    {"threads", required_argument, NULL, FLAG_THREADS},
    {"json", no_argument, NULL, FLAG_JSON},
    {"out", required_argument, NULL, FLAG_OUT},
    {"in", required_argument, NULL, FLAG_IN},
    {"file", required_argument, NULL, FLAG_IN},
    {"compare", required_argument, NULL, FLAG_IN},
    {"sensitivity", required_argument, NULL, FLAG_IN},
    {"prompt", required_argument, NULL, FLAG_PROMPT},
    {"model", required_argument, NULL, FLAG_MODEL},
    {"label", required_argument, NULL, FLAG_MODEL},
    {"n", required_argument, NULL, FLAG_N},
    {"temperature", required_argument, NULL, FLAG_TEMPERATURE},
    {"max-tokens", required_argument, NULL, FLAG_MAX_TOKENS},
    {"vocab", required_argument, NULL, FLAG_VOCAB},
    {"split", required_argument, NULL, FLAG_SPLIT},
    {"seeds", required_argument, NULL, FLAG_SEEDS},
    {"seeds-from", required_argument, NULL, FLAG_SEEDS_FROM},
    {"jobs", required_argument, NULL, FLAG_JOBS},
    {"memory", required_argument, NULL, FLAG_MEMORY},
    {"arm", required_argument, NULL, FLAG_ARM},
    {"over", required_argument, NULL, FLAG_OVER},
    {"method", required_argument, NULL, FLAG_METHOD},
    {"kind", required_argument, NULL, FLAG_METHOD},
    {"trials", required_argument, NULL, FLAG_TRIALS},
    {"records", required_argument, NULL, FLAG_RECORDS},
    {"metric", required_argument, NULL, FLAG_METRIC},
    {"until", required_argument, NULL, FLAG_UNTIL},
    {"check", no_argument, NULL, FLAG_CHECK},
    {"rows", no_argument, NULL, FLAG_CHECK},
    {"held", no_argument, NULL, FLAG_NODES},
    {"report", no_argument, NULL, FLAG_REPORT},
    {"where", required_argument, NULL, FLAG_WHERE},
    {"sort", required_argument, NULL, FLAG_SORT},
    {"columns", required_argument, NULL, FLAG_COLUMNS},
    {"quiet", no_argument, NULL, FLAG_QUIET},
    {"force", no_argument, NULL, FLAG_FORCE},
    {"nodes", no_argument, NULL, FLAG_NODES},
    {"strict", no_argument, NULL, FLAG_STRICT},
    {"help", no_argument, NULL, FLAG_HELP},
    {NULL, 0, NULL, 0},
};

int
mete__misused(const char *command, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fputs("mete: ", stderr);
    vfprintf(stderr, format, list);
    fprintf(stderr, "; see mete%s%s --help\n", command ? " " : "", command ? command : "");
    va_end(list);
    return METE__EXIT_USAGE;
}

int
mete__exit_of(int status)
{
    if (status == METE_OK)
        return METE__EXIT_DONE;
    return status == METE_EINVAL || status == METE_EDATA ? METE__EXIT_INPUT : METE__EXIT_FAILED;
}

/* A flag getopt does not know, or one that lacks its value or has one too many. */
static int
unknown(const mete__args *args, const char *takes, const char *word, bool lacks)
{
    mete_error names = {0};
    char name[64];
    size_t length = strcspn(word, "=");
    snprintf(name, sizeof name, "%.*s", (int)(length < 60 ? length : 60), word);
    if (lacks)
        return mete__misused(args->command, "%s needs a value", name);
    snprintf(names.message, sizeof names.message, "%s help", takes);
    if (mete__has_word(names.message, name + strspn(name, "-")))
        return mete__misused(args->command, "%s takes no value", name);
    char *near = mete__nearest(name + strspn(name, "-"), names.message);
    int code = near ? mete__misused(args->command, "mete %s knows no flag %s, perhaps --%s",
                                    args->command, name, near)
                    : mete__misused(args->command, "mete %s knows no flag %s", args->command, name);
    free(near);
    return code;
}

/* A whole number of the command line within [least, most]. */
static bool
number(const char *text, uint64_t least, uint64_t most, uint64_t *out)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    *out = value;
    return !errno && !*end && value >= least && value <= most;
}

static int
take(mete__args *args, int flag, const char *value)
{
    uint64_t n;
    switch (flag) {
    case FLAG_SET:
        if (!strchr(value, '=') || *value == '=')
            return mete__misused(args->command, "--set wants path=value, not \"%s\"", value);
        args->set[args->sets++] = value;
        break;
    case FLAG_SEED:
        if (!number(value, 0, INT64_MAX, &n))
            return mete__misused(
                args->command, "--seed wants a whole number from 0 to 2^63 - 1, not \"%s\"", value);
        free(args->made);
        args->made = malloc(64);
        if (!args->made)
            return METE__EXIT_FAILED;
        snprintf(args->made, 64, "run.seed=%" PRIu64 "%s", n, n > INT32_MAX ? "L" : "");
        break;
    case FLAG_THREADS:
        if (!number(value, 1, 1024, &n))
            return mete__misused(
                args->command, "--threads wants a whole number from 1 to 1024, not \"%s\"", value);
        args->threads = (unsigned)n;
        break;
    case FLAG_JSON:
        args->json = true;
        break;
    case FLAG_OUT:
        args->out = value;
        break;
    case FLAG_IN:
        args->in = value;
        break;
    case FLAG_PROMPT:
        args->prompt = value;
        break;
    case FLAG_MODEL:
        args->model = value;
        break;
    case FLAG_N:
        if (!number(value, 1, UINT32_MAX, &args->n))
            return mete__misused(args->command, "--n wants a whole number from 1, not \"%s\"",
                                 value);
        break;
    case FLAG_MAX_TOKENS:
        if (!number(value, 1, UINT32_MAX, &args->max_tokens))
            return mete__misused(args->command,
                                 "--max-tokens wants a whole number from 1, not \"%s\"", value);
        break;
    case FLAG_TEMPERATURE:
        if (!mete_number_parse(mete_text_from(value), 0, &args->temperature) ||
            !(args->temperature >= 0 && args->temperature <= 100))
            return mete__misused(args->command,
                                 "--temperature wants a number from 0 to 100, not \"%s\"", value);
        break;
    case FLAG_VOCAB:
        if (!number(value, 1, UINT32_MAX, &args->vocab))
            return mete__misused(args->command, "--vocab wants a whole number from 1, not \"%s\"",
                                 value);
        break;
    case FLAG_SPLIT:
        args->split = value;
        break;
    case FLAG_SEEDS:
        if (!number(value, 1, 1000, &args->seeds))
            return mete__misused(args->command,
                                 "--seeds wants a whole number from 1 to 1000, not \"%s\"", value);
        break;
    case FLAG_SEEDS_FROM:
        if (!number(value, 0, INT32_MAX, &args->seeds_from))
            return mete__misused(args->command,
                                 "--seeds-from wants a whole number from 0 to 2^31 - 1, not \"%s\"",
                                 value);
        args->seeds_from_given = true;
        break;
    case FLAG_JOBS:
        if (!number(value, 1, 64, &args->jobs))
            return mete__misused(args->command,
                                 "--jobs wants a whole number from 1 to 64, not \"%s\"", value);
        break;
    case FLAG_MEMORY:
        if (!number(value, 1, 1 << 24, &args->memory))
            return mete__misused(args->command,
                                 "--memory wants a whole number of MiB from 1 to 2^24, not \"%s\"",
                                 value);
        break;
    case FLAG_UNTIL:
        if (!number(value, 1, INT64_MAX, &args->until))
            return mete__misused(args->command,
                                 "--until wants a whole number of iterations from 1, not \"%s\"",
                                 value);
        break;
    case FLAG_TRIALS:
        if (!number(value, 1, 4096, &args->trials))
            return mete__misused(args->command,
                                 "--trials wants a whole number from 1 to 4096, not \"%s\"", value);
        break;
    case FLAG_RECORDS:
        if (!number(value, 1, UINT32_MAX, &args->records))
            return mete__misused(args->command, "--records wants a whole number from 1, not \"%s\"",
                                 value);
        break;
    case FLAG_METHOD:
        args->method = value;
        break;
    case FLAG_ARM:
    case FLAG_OVER:
        args->word[args->words++] = value;
        break;
    case FLAG_METRIC:
        args->metric[args->metrics++] = value;
        break;
    case FLAG_CHECK:
        args->check = true;
        break;
    case FLAG_REPORT:
        args->report = true;
        break;
    case FLAG_WHERE:
        args->where[args->wheres++] = value;
        break;
    case FLAG_SORT:
        args->sort = value;
        break;
    case FLAG_COLUMNS:
        args->columns = value;
        break;
    case FLAG_QUIET:
        args->quiet = true;
        break;
    case FLAG_FORCE:
        args->force = true;
        break;
    case FLAG_NODES:
        args->nodes = true;
        break;
    case FLAG_STRICT:
        args->strict = true;
        break;
    default:
        args->help = true;
        break;
    }
    return METE__EXIT_DONE;
}

/* The options among the flags of `takes`, so that getopt knows no others. */
static void
choose(const char *takes, struct option *mine)
{
    for (const struct option *o = table; o->name; o++)
        if (o->val == FLAG_HELP || mete__has_word(takes, o->name))
            *mine++ = *o;
    *mine = (struct option){NULL, 0, NULL, 0};
}

/* The flags. */
static int
read_flags(int argc, char **argv, const char *takes, mete__args *args)
{
    struct option mine[sizeof table / sizeof *table];
    choose(takes, mine);
    opterr = 0;
    optind = 0; /* glibc: begin anew */
    for (;;) {
        int at = optind ? optind : 1;
        int flag = getopt_long(argc, argv, ":h", mine, NULL);
        if (flag == -1)
            return METE__EXIT_DONE;
        if (flag == '?' || flag == ':') {
            const char *word = optind > 0 && optind <= argc ? argv[optind - 1] : argv[at];
            return unknown(args, takes, word, flag == ':');
        }
        int code = take(args, flag == 'h' ? FLAG_HELP : flag, optarg);
        if (code)
            return code;
    }
}

bool
mete__args_read(int argc, char **argv, const char *takes, size_t least, size_t most,
                const char *usage, mete__args *args, int *code)
{
    *args = (mete__args){.command = argv[0], .n = 1, .temperature = 1};
    args->set = calloc(4 * ((size_t)argc + 1), sizeof *args->set);
    args->word = args->set ? args->set + argc + 1 : NULL;
    args->metric = args->set ? args->word + argc + 1 : NULL;
    args->where = args->set ? args->metric + argc + 1 : NULL;
    *code = args->set ? read_flags(argc, argv, takes, args) : METE__EXIT_FAILED;
    if (*code) {
        mete__args_free(args);
        return false;
    }
    if (args->made)
        args->set[args->sets++] = args->made;
    args->operand = argv + optind;
    args->operands = (size_t)(argc - optind);
    if (args->help) {
        fputs(usage, stdout);
    } else if (args->operands < least) {
        const char *end = strchr(usage, '\n');
        *code = mete__misused(argv[0], "something is missing: %.*s", (int)(end - usage), usage);
    } else if (args->operands > most) {
        *code = mete__misused(argv[0], "\"%s\" is one word too many", args->operand[most]);
    } else {
        return true;
    }
    mete__args_free(args);
    return false;
}

void
mete__args_free(mete__args *args)
{
    free(args->set);
    free(args->made);
    args->set = NULL;
    args->made = NULL;
}

unsigned
mete__threads(const mete__args *args, mete__config *config, mete__errors *errors)
{
    long there = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned all = there < 1 ? 1 : there > 1024 ? 1024 : (unsigned)there;
    mete__value *run = mete__value_get(mete__config_root(config), "run");
    if (run && run->kind == METE__GROUP) {
        int64_t given = mete__value_int(run, "threads", all, 1, 1024, errors);
        all = (unsigned)given;
    }
    return args->threads ? args->threads : all;
}

mete__config *
mete__read_config(const mete__args *args, const char *path)
{
    mete__errors errors = {0};
    mete__config *config = mete__config_read(path, args->set, args->sets, &errors);
    if (!config || errors.count)
        mete__report(&errors);
    else
        return config;
    if (config)
        mete__config_free(config);
    return NULL;
}

int
mete__report(mete__errors *errors)
{
    mete__errors_print(errors, stderr);
    mete__errors_free(errors);
    return METE__EXIT_INPUT;
}

void
mete__log_stderr(void *user, const char *path, int level, const char *text)
{
    (void)user;
    if (level >= 2)
        mete__say("%s: %s", path, text);
}

void
mete__put_plain(mete_buffer *out, mete_text text, const char *allowed)
{
    for (size_t at = 0; at < text.length;) {
        uint32_t code = mete_utf8_next(text, &at);
        bool control = code < 32 || (code >= 127 && code < 160);
        /* marks that turn the direction of what follows can make a line read as another */
        bool turns = code >= 0x202a && code <= 0x2069 && !(code > 0x202e && code < 0x2066);
        if (turns)
            mete_buffer_format(out, "\\u%04x", (unsigned)code);
        else if (control && !(code && code < 128 && strchr(allowed, (int)code)))
            mete_buffer_format(out, "\\x%02x", (unsigned)code);
        else
            mete_buffer_code(out, code);
    }
}

bool
mete__has_word(const char *names, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = names; (at = strstr(at, name)); at++)
        if ((at == names || at[-1] == ' ') && (!at[length] || at[length] == ' '))
            return true;
    return false;
}
