/* check.c - mete check CONFIG: builds all a config names and says what is wrong, or shows the tree
 * with weights and the columns each node reads.
 */
#include "cli/hard.h"
#include "cli/sensitivity.h"
#include "cli/train.h"

#include <mete/text.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: mete check CONFIG [--sensitivity FILE] [--set PATH=VALUE]... [--seed N] [--threads N]\n"
    "                  [--json]\n\n"
    "Builds everything CONFIG names without running it and prints every error with its file and\n"
    "line; or the tree of nodes, with weights, the columns each reads, and \"ok\". A reward\n"
    "tree without an environment is tried on difficult responses: its scores must be finite, and\n"
    "the same twice and in pieces.\n\n"
    "  --sensitivity FILE  how far the reward depends on what it should not. Each record of FILE,\n"
    "                      as `mete score` reads them, is scored as it is and with edits that "
    "keep\n"
    "                      what it says: longer, formatted or plain, flattering, of other people,\n"
    "                      in another case, spacing or order. For each edit: the rows it applies\n"
    "                      to, the mean difference in standard deviations of the reward over FILE\n"
    "                      with its 95% interval, the mean size of the difference (moved), the\n"
    "                      share of rows that rise, a verdict, and the nodes that moved most:\n"
    "                        steady              moved by no more than 0.1\n"
    "                        leans up or down    by more, and the interval is above or below 0\n"
    "                        varies              by more, in no one direction\n"
    "                        few rows, no rows   fewer than 5, none\n"
    "                      Records of a group are edited together. Exit code 0 whatever it finds.\n"
    "  --json              the nodes, or the edits, as one JSON object\n";

static const char *const level_word[] = {"batch", "group", "scene", "episode",
                                         "turn",  "step",  "pair",  "list"};
static const char *const element_word[] = {"f32", "f64", "i32", "i64", "u8", "text", "json"};

static const char *
word(const char *const *words, size_t count, uint32_t index)
{
    return index < count ? words[index] : "?";
}

static double
weight_of(const mete_node *node)
{
    if (node->parent && node->parent->weight)
        for (size_t i = 0; i < node->parent->children; i++)
            if (node->parent->child[i] == node)
                return node->parent->weight[i];
    return 1;
}

static size_t
depth_of(const mete_node *node)
{
    size_t depth = 0;
    for (const mete_node *up = node->parent; up && depth < 64; up = up->parent)
        depth++;
    return depth;
}

static void
show(const mete_node *node)
{
    const mete_plugin *plugin = &node->plugin->as.head;
    printf("%*s%s  %s/%s %s", (int)(2 * depth_of(node)), "", node->path,
           mete__kind_word(node->kind), plugin->name, plugin->version);
    if (node->kind == METE_KIND_REWARD && node->parent && node->parent->children)
        printf("  weight %g", weight_of(node));
    if (node->gold)
        printf("  gold");
    for (size_t i = 0; i < node->fields; i++)
        printf("%s%s (%s %s%s)", i ? ", " : "  reads ", node->field[i].name,
               word(level_word, 8, node->field[i].level),
               word(element_word, 7, node->field[i].element),
               node->field[i].flags & METE_OPTIONAL ? ", optional" : "");
    putchar('\n');
}

static void
put(mete_buffer *out, const char *key, const char *value)
{
    mete_buffer_format(out, "\"%s\":", key);
    mete_json_put_text(out, mete_text_from(value));
}

static void
node_json(const mete_node *node, mete_buffer *out)
{
    mete_buffer_byte(out, '{');
    put(out, "path", node->path);
    mete_buffer_byte(out, ',');
    put(out, "kind", mete__kind_word(node->kind));
    mete_buffer_byte(out, ',');
    put(out, "use", node->plugin->as.head.name);
    mete_buffer_byte(out, ',');
    put(out, "version", node->plugin->as.head.version);
    mete_buffer_string(out, ",\"weight\":");
    mete_json_put_number(out, weight_of(node));
    mete_buffer_format(out, ",\"gold\":%s,\"reads\":[", node->gold ? "true" : "false");
    for (size_t i = 0; i < node->fields; i++) {
        mete_buffer_string(out, i ? ",{" : "{");
        put(out, "name", node->field[i].name);
        mete_buffer_byte(out, ',');
        put(out, "level", word(level_word, 8, node->field[i].level));
        mete_buffer_byte(out, ',');
        put(out, "element", word(element_word, 7, node->field[i].element));
        mete_buffer_format(out, ",\"optional\":%s}",
                           node->field[i].flags & METE_OPTIONAL ? "true" : "false");
    }
    mete_buffer_string(out, "]}");
}

static int
print(mete__engine *engine, bool json)
{
    size_t count;
    mete_node *const *node = mete__engine_nodes(engine, &count);
    if (!json) {
        for (size_t i = 0; i < count; i++)
            if (node[i]->plugin)
                show(node[i]);
        puts("ok");
        return METE__EXIT_DONE;
    }
    mete_buffer out = {0};
    bool any = false;
    mete_buffer_string(&out, "{\"ok\":true,\"nodes\":[");
    for (size_t i = 0; i < count; i++)
        if (node[i]->plugin) {
            mete_buffer_string(&out, any ? ",\n" : "\n");
            node_json(node[i], &out);
            any = true;
        }
    mete_buffer_string(&out, "]}\n");
    if (!out.status)
        fwrite(out.data, 1, out.length, stdout);
    int code = out.status ? METE__EXIT_FAILED : METE__EXIT_DONE;
    mete_buffer_free(&out);
    return code;
}

/* A tree that stands alone, for scoring, is tried on difficult rows: its scores are finite, and the
 * same twice and in pieces. A tree under an environment is tried by running it. */
static int
lint(mete__engine *engine)
{
    struct mete__hard hard;
    struct mete__scored whole, again;
    char why[1100] = "";
    size_t count;
    uint32_t flags = 0;
    mete_node *const *node = mete__engine_nodes(engine, &count);
    for (size_t i = 0; i < count; i++)
        flags |= node[i]->plugin ? node[i]->plugin->as.head.flags : 0;
    if (!mete__engine_reward(engine) || mete__engine_environment(engine) || !mete__hard_make(&hard))
        return METE__EXIT_DONE;
    bool good = mete__hard_score(engine, &hard, 0, METE__HARD_ROWS, &whole, why, sizeof why) &&
                mete__hard_finite(&whole, &hard, why, sizeof why);
    if (!good)
        mete__say("tried on difficult responses: %s", why);
    if (good && (!mete__hard_score(engine, &hard, 0, METE__HARD_ROWS, &again, why, sizeof why) ||
                 !mete__hard_same(&whole, &again, &hard, why, sizeof why))) {
        good = false;
        mete__say("scored twice, scores differ: %s", why);
    }
    if (good && !(flags & METE_WHOLE_BATCH) &&
        !mete__hard_cut(engine, &whole, &hard, why, sizeof why)) {
        good = false;
        mete__say("scored in pieces, scores differ: %s", why);
    }
    mete__hard_free(&hard);
    return good ? METE__EXIT_DONE : METE__EXIT_INPUT;
}

/* The loop reads its own words too, so that a typing error there is found here. */
static int
check(mete__config *config, const mete__args *args)
{
    mete__errors errors = {0};
    mete__engine_options options = {.seed = 1, .check_only = true, .log = mete__log_stderr};
    options.threads = mete__threads(args, config, &errors);
    mete__engine *engine = mete__engine_open(config, &options, &errors);
    mete__loop *loop = NULL;
    if (engine && mete__engine_policy(engine) && mete__engine_environment(engine)) {
        mete__run_options ignored;
        mete__run_options_read(args, config, &ignored, &errors);
        mete__loop_sinks sinks = {0};
        loop = mete__loop_new(engine, config, &sinks, &errors);
    }
    int code = METE__EXIT_INPUT;
    if (loop && !errors.count && mete__begin_from(loop, config))
        ;
    else if (engine && !errors.count && lint(engine) == METE__EXIT_DONE)
        code = print(engine, args->json);
    else if (engine && !errors.count)
        code = METE__EXIT_INPUT;
    else if (!errors.count)
        mete__say("out of memory");
    mete__report(&errors);
    if (loop)
        mete__loop_free(loop);
    if (engine)
        mete__engine_close(engine);
    return code;
}

int
mete__command_check(int argc, char **argv)
{
    mete__args args;
    int code;
    if (!mete__args_read(argc, argv, "set seed threads json sensitivity", 1, 1, usage, &args,
                         &code))
        return code;
    mete__config *config = mete__read_config(&args, args.operand[0]);
    if (!config)
        code = METE__EXIT_INPUT;
    else
        code = args.in ? mete__sensitivity(config, &args) : check(config, &args);
    if (config)
        mete__config_free(config);
    mete__args_free(&args);
    return code;
}
