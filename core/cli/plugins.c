/* plugins.c - mete plugins [KIND | [KIND/]NAME]: the list of what is installed, and the manual of
 * one, both made from the option tables the plugins themselves carry.
 */
#include "cli/cli.h"
#include "engine/options.h"

#include <mete/text.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: mete plugins [KIND | [KIND/]NAME]... [--json]\n\n"
    "Without a name: one line a plugin (kind, name, version, what it does); KIND is reward, "
    "rubric,\n"
    "policy or environment. With a name: its manual, with every option's type, default and "
    "range.\n\n"
    "  --json  one JSON object a plugin\n\n"
    "Plugins are looked for in METE_PLUGIN_PATH (colon separated), ~/.local/lib/mete/plugins, and\n"
    "the installation's own folder, each holding KIND/NAME.so.\n";

static int
broken(mete_kind kind, const char *name, const mete_error *err)
{
    mete__say("%s/%s: %s", mete__kind_word(kind), name, err->message);
    return METE__EXIT_INPUT;
}

static int
line(mete_kind kind, const char *name, bool json)
{
    mete_error err = {0};
    const mete__plugin *plugin = mete__plugin_get(kind, name, &err);
    if (!plugin)
        return broken(kind, name, &err);
    if (json) {
        mete__options_json(&plugin->as.head, plugin->file, stdout);
        putchar('\n');
    } else {
        printf("%-11s  %-18s  %-6s  %s\n", mete__kind_word(kind), plugin->as.head.name,
               plugin->as.head.version, plugin->as.head.summary);
    }
    return METE__EXIT_DONE;
}

static int
list(mete_kind kind, bool json)
{
    int code = METE__EXIT_DONE;
    char *names = mete__plugin_names(kind);
    if (!names)
        return METE__EXIT_FAILED;
    for (char *rest = names, *name; (name = strsep(&rest, " "));) {
        int one = *name ? line(kind, name, json) : METE__EXIT_DONE;
        code = one ? one : code;
    }
    free(names);
    return code;
}

static int
manual(mete_kind kind, const char *name, bool json)
{
    mete_error err = {0};
    const mete__plugin *plugin = mete__plugin_get(kind, name, &err);
    if (!plugin)
        return broken(kind, name, &err);
    if (json) {
        mete__options_json(&plugin->as.head, plugin->file, stdout);
        putchar('\n');
    } else {
        mete__options_manual(&plugin->as.head, plugin->file, stdout);
    }
    return METE__EXIT_DONE;
}

/* The kind whose word it is, or 0. */
static mete_kind
kind_of(const char *word, size_t length)
{
    for (int kind = METE_KIND_REWARD; kind <= METE_KIND_ENVIRONMENT; kind++) {
        const char *name = mete__kind_word((mete_kind)kind);
        if (strlen(name) == length && memcmp(name, word, length) == 0)
            return (mete_kind)kind;
    }
    return (mete_kind)0;
}

/* A bare name stands for every kind that has it. */
static int
by_name(const char *name, bool json)
{
    mete_buffer all = {0};
    int found = 0, code = METE__EXIT_DONE;
    for (int kind = METE_KIND_REWARD; kind <= METE_KIND_ENVIRONMENT; kind++) {
        char *names = mete__plugin_names((mete_kind)kind);
        if (names && mete__has_word(names, name)) {
            int one = manual((mete_kind)kind, name, json);
            code = one ? one : code;
            found++;
        }
        mete_buffer_string(&all, names ? names : "");
        mete_buffer_byte(&all, ' ');
        free(names);
    }
    if (!found) {
        char *near = mete__nearest(name, all.data ? all.data : "");
        if (near)
            mete__say("there is no plugin \"%s\", perhaps %s; `mete plugins` lists them", name,
                      near);
        else
            mete__say("there is no plugin \"%s\"; `mete plugins` lists them", name);
        free(near);
        code = METE__EXIT_INPUT;
    }
    mete_buffer_free(&all);
    return code;
}

static int
one(const char *word, bool json)
{
    const char *slash = strchr(word, '/');
    mete_kind kind = kind_of(word, slash ? (size_t)(slash - word) : strlen(word));
    if (slash && !kind)
        return mete__misused("plugins",
                             "\"%.*s\" is no kind: reward, rubric, policy or environment",
                             (int)(slash - word), word);
    if (slash)
        return manual(kind, slash + 1, json);
    char *names = kind ? mete__plugin_names(kind) : NULL;
    bool both = names && mete__has_word(names, word);
    free(names);
    return kind && !both ? list(kind, json) : by_name(word, json);
}

int
mete__command_plugins(int argc, char **argv)
{
    mete__args args;
    int code;
    if (!mete__args_read(argc, argv, "json", 0, 64, usage, &args, &code))
        return code;
    code = METE__EXIT_DONE;
    for (int kind = METE_KIND_REWARD; !args.operands && kind <= METE_KIND_ENVIRONMENT; kind++) {
        int bad = list((mete_kind)kind, args.json);
        code = bad ? bad : code;
    }
    for (size_t i = 0; i < args.operands; i++) {
        int bad = one(args.operand[i], args.json);
        code = bad ? bad : code;
    }
    mete__args_free(&args);
    return code;
}
