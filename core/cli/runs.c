/* runs.c - mete runs: the runs below a folder as a table, filtered and sorted; two of them
 * compared.
 *
 * Names of folders and metrics are anybody's, so nothing of them reaches a terminal as a command.
 */
#include "cli/cli.h"
#include "run/index.h"

#include <limits.h>
#include <math.h>
#include <mete/text.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: mete runs [DIR] [--where \"NAME > NUMBER\"]... [--sort NAME] [--columns A,B] [--json]\n"
    "       mete runs compare RUN RUN [--json]\n\n"
    "Lists the runs below DIR (default: runs), each with its last metrics; or says in what two "
    "runs\n"
    "differ: values of their configs, and last metrics with their differences.\n\n"
    "  --where TEST   only runs of which it holds: a metric, seed or iterations with >, >=, <, <=, "
    "=\n"
    "                 or != and a number; state, path, policy, env or objective with = or != and "
    "a\n"
    "                 word; repeatable, all must hold\n"
    "  --sort NAME    by a metric or any of these, rising; -NAME: falling; runs without it last\n"
    "  --columns A,B  the metrics shown (default: eval/reward and reward)\n"
    "  --json         an object a line, with all metrics; compare: one object\n";

/* ---- what can be asked of a run -------------------------------------------------------------- */

/* The run's own word of that name, or NULL. */
static const char *
word_of(const mete__run_entry *entry, const char *name)
{
    return strcmp(name, "state") == 0       ? entry->state
           : strcmp(name, "path") == 0      ? entry->path
           : strcmp(name, "started") == 0   ? entry->started
           : strcmp(name, "policy") == 0    ? entry->policy
           : strcmp(name, "env") == 0       ? entry->environment
           : strcmp(name, "objective") == 0 ? entry->objective
                                            : NULL;
}

/* A number of the run, NaN when it has none of that name. */
static double
number_of(const mete__run_entry *entry, const char *name)
{
    if (strcmp(name, "seed") == 0)
        return entry->seed;
    if (strcmp(name, "iterations") == 0)
        return entry->iterations;
    for (size_t i = 0; i < entry->metrics; i++)
        if (strcmp(entry->name[i], name) == 0)
            return entry->value[i];
    return NAN;
}

static bool
knows(const mete__run_entry *entry, const char *name)
{
    if (word_of(entry, name) || strcmp(name, "seed") == 0 || strcmp(name, "iterations") == 0)
        return true;
    for (size_t i = 0; i < entry->metrics; i++)
        if (strcmp(entry->name[i], name) == 0)
            return true;
    return false;
}

/* Says that no run has the name, with the nearest or, where none is near, those there are. */
static int
nobody_knows(const mete__index *index, const char *name)
{
    mete_buffer names = mete_buffer_make((size_t)1 << 20), said = mete_buffer_make(0);
    mete_buffer_string(&names, "state path started policy env objective seed iterations");
    for (size_t i = 0; i < mete__index_count(index); i++) {
        const mete__run_entry *entry = mete__index_at(index, i);
        for (size_t k = 0; k < entry->metrics; k++)
            if (!names.data || !mete__has_word(names.data, entry->name[k]))
                mete_buffer_format(&names, " %s", entry->name[k]);
    }
    char *near = names.data ? mete__nearest(name, names.data) : NULL;
    mete__put_plain(&said, mete_text_from(name), "");
    mete_buffer_string(&said, near ? ", perhaps " : "; there are: ");
    mete__put_plain(&said, mete_text_from(near ? near : names.data ? names.data : ""), "");
    mete__say("no run has a metric %s", said.data ? said.data : "of that name");
    free(near);
    mete_buffer_free(&names);
    mete_buffer_free(&said);
    return METE__EXIT_INPUT;
}

/* A name that some run knows, unless there are no runs to know it. */
static bool
known(const mete__index *index, const char *name)
{
    for (size_t i = 0; i < mete__index_count(index); i++)
        if (knows(mete__index_at(index, i), name))
            return true;
    return mete__index_count(index) == 0;
}

/* ---- --where --------------------------------------------------------------------------------- */

enum { LESS = 1, EQUAL = 2, MORE = 4 };

struct test {
    char name[600];
    const char *word; /* what it is compared with, trimmed at its beginning */
    double number;    /* NaN: no number */
    int holds;        /* LESS, EQUAL, MORE: with which outcomes */
    bool equality;    /* = or != */
};

static bool
read_test(const char *text, struct test *test)
{
    size_t at = strcspn(text, "<>=!"), end = at;
    const char *sign = text + at;
    while (end && (text[end - 1] == ' ' || text[end - 1] == '\t'))
        end--;
    size_t begin = strspn(text, " \t");
    if (!*sign || begin >= end || end - begin >= sizeof test->name)
        return false;
    memcpy(test->name, text + begin, end - begin);
    test->name[end - begin] = 0;
    bool also = sign[1] == '=';
    test->equality = *sign == '=' || *sign == '!';
    test->holds = *sign == '<'   ? LESS | (also ? EQUAL : 0)
                  : *sign == '>' ? MORE | (also ? EQUAL : 0)
                  : *sign == '=' ? EQUAL
                                 : LESS | MORE;
    if (*sign == '!' && !also)
        return false;
    test->word = sign + 1 + also;
    test->word += strspn(test->word, " \t");
    if (!mete_number_parse(mete_text_from(test->word), METE_NUMBER_EXPONENT, &test->number))
        test->number = NAN;
    return *test->word;
}

static bool
passes(const mete__run_entry *entry, const struct test *test)
{
    const char *word = word_of(entry, test->name);
    if (word)
        return (strcmp(word, test->word) == 0) == (test->holds == EQUAL);
    double value = number_of(entry, test->name);
    if (isnan(value))
        return false;
    return test->holds & (value < test->number ? LESS : value > test->number ? MORE : EQUAL);
}

/* Reads and checks the tests; the exit code. */
static int
read_tests(const mete__args *args, const mete__index *index, struct test *test)
{
    for (size_t i = 0; i < args->wheres; i++) {
        static const mete__run_entry none = {.path = "",
                                             .state = "",
                                             .started = "",
                                             .policy = "",
                                             .environment = "",
                                             .objective = ""};
        if (!read_test(args->where[i], &test[i]))
            return mete__misused(
                args->command, "--where wants \"NAME > NUMBER\" (or >=, <, <=, =, !=), not \"%s\"",
                args->where[i]);
        bool of_words = word_of(&none, test[i].name) != NULL;
        if (of_words && !test[i].equality)
            return mete__misused(args->command,
                                 "--where \"%s\": %s is compared with = or !=", args->where[i],
                                 test[i].name);
        if (!of_words && isnan(test[i].number))
            return mete__misused(args->command, "--where \"%s\": \"%s\" is no number",
                                 args->where[i], test[i].word);
        if (!known(index, test[i].name))
            return nobody_knows(index, test[i].name);
    }
    return METE__EXIT_DONE;
}

/* ---- the list -------------------------------------------------------------------------------- */

/* qsort has no room for more: what the list is sorted by. */
static const char *sort_name;
static int sort_sign;

static int
by_name(const void *a, const void *b)
{
    const mete__run_entry *x = *(const mete__run_entry *const *)a;
    const mete__run_entry *y = *(const mete__run_entry *const *)b;
    const char *word = word_of(x, sort_name);
    int order;
    if (word) {
        order = sort_sign * strcmp(word, word_of(y, sort_name));
    } else {
        double p = number_of(x, sort_name), q = number_of(y, sort_name);
        if (isnan(p) || isnan(q))
            order = isnan(p) - isnan(q);
        else
            order = sort_sign * ((p > q) - (p < q));
    }
    return order ? order : strcmp(x->path, y->path);
}

static void
put_json_text(mete_buffer *out, const char *name, const char *text)
{
    mete_buffer_format(
        out, "%s\"%s\":", out->length && out->data[out->length - 1] == '{' ? "" : ",", name);
    mete_json_put_text(out, mete_text_from(text));
}

static void
put_json_entry(mete_buffer *out, const mete__run_entry *entry)
{
    mete_buffer_string(out, "{");
    put_json_text(out, "path", entry->path);
    put_json_text(out, "state", entry->state);
    put_json_text(out, "started", entry->started);
    put_json_text(out, "ended", entry->ended);
    put_json_text(out, "policy", entry->policy);
    put_json_text(out, "env", entry->environment);
    put_json_text(out, "objective", entry->objective);
    mete_buffer_string(out, ",\"seed\":");
    mete_json_put_number(out, entry->seed);
    mete_buffer_string(out, ",\"iterations\":");
    mete_json_put_number(out, entry->iterations);
    mete_buffer_string(out, ",\"metrics\":{");
    for (size_t i = 0; i < entry->metrics; i++) {
        mete_buffer_string(out, i ? "," : "");
        mete_json_put_text(out, mete_text_from(entry->name[i]));
        mete_buffer_string(out, ":");
        mete_json_put_number(out, entry->value[i]);
    }
    mete_buffer_string(out, "}}");
}

/* `text` inert, padded to `width` code points. */
static void
put_cell(mete_buffer *out, const char *text, size_t width)
{
    size_t from = out->length;
    mete__put_plain(out, mete_text_from(text), "");
    size_t wide =
        out->data ? mete_utf8_count((mete_text){out->data + from, out->length - from}) : 0;
    for (; wide < width + 2; wide++)
        mete_buffer_byte(out, ' ');
}

static size_t
width_of(const char *text)
{
    mete_buffer plain = mete_buffer_make(0);
    mete__put_plain(&plain, mete_text_from(text), "");
    size_t wide = plain.data ? mete_utf8_count((mete_text){plain.data, plain.length}) : 0;
    mete_buffer_free(&plain);
    return wide;
}

enum { MOST_COLUMNS = 64 };

struct columns {
    char *text; /* the names, cut */
    const char *name[MOST_COLUMNS];
    size_t count;
};

/* Those of --columns, else of the usual ones those that a run has. */
static bool
read_columns(const mete__args *args, const mete__index *index, struct columns *columns)
{
    columns->text = strdup(args->columns ? args->columns : "eval/reward,reward");
    columns->count = 0;
    for (char *at = columns->text, *comma; at && columns->count < MOST_COLUMNS; at = comma) {
        comma = strchr(at, ',');
        if (comma)
            *comma++ = 0;
        if (*at && (args->columns || known(index, at)))
            columns->name[columns->count++] = at;
    }
    return columns->text;
}

static void
put_value(mete_buffer *out, const mete__run_entry *entry, const char *name)
{
    char text[40] = "";
    double value = number_of(entry, name);
    const char *word = word_of(entry, name);
    size_t width = width_of(name) > 11 ? width_of(name) : 11;
    if (!isnan(value))
        snprintf(text, sizeof text, "%.5g", value);
    put_cell(out, word ? word : text, width);
}

static void
end_row(mete_buffer *out)
{
    while (out->length && out->data[out->length - 1] == ' ')
        out->length--;
    mete_buffer_byte(out, '\n');
}

static void
put_table(mete_buffer *out, const mete__run_entry *const *entry, size_t count,
          const struct columns *columns)
{
    size_t wide = 4;
    char text[64];
    for (size_t i = 0; i < count; i++)
        wide = width_of(entry[i]->path) > wide ? width_of(entry[i]->path) : wide;
    put_cell(out, "path", wide);
    put_cell(out, "state", 11);
    put_cell(out, "seed", 6);
    put_cell(out, "iterations", 10);
    put_cell(out, "started", 20);
    for (size_t k = 0; k < columns->count; k++)
        put_cell(out, columns->name[k], 11);
    end_row(out);
    for (size_t i = 0; i < count; i++) {
        put_cell(out, entry[i]->path, wide);
        put_cell(out, entry[i]->state, 11);
        snprintf(text, sizeof text, "%.0f", entry[i]->seed);
        put_cell(out, isnan(entry[i]->seed) ? "" : text, 6);
        snprintf(text, sizeof text, "%.0f", entry[i]->iterations);
        put_cell(out, text, 10);
        snprintf(text, sizeof text, "%.19s", entry[i]->started);
        put_cell(out, text, 20);
        for (size_t k = 0; k < columns->count; k++)
            put_value(out, entry[i], columns->name[k]);
        end_row(out);
    }
}

static int
print(mete_buffer *out)
{
    int code = out->status ? METE__EXIT_FAILED : METE__EXIT_DONE;
    if (code)
        mete__say("out of memory");
    else if (out->length)
        fwrite(out->data, 1, out->length, stdout);
    mete_buffer_free(out);
    return code;
}

/* What is left of the runs, in order, on standard output. */
static int
show(const mete__args *args, const mete__index *index, const struct test *test,
     const struct columns *columns)
{
    size_t count = 0;
    const mete__run_entry **entry = malloc((mete__index_count(index) + 1) * sizeof *entry);
    mete_buffer out = mete_buffer_make(0);
    if (!entry)
        return METE__EXIT_FAILED;
    for (size_t i = 0; i < mete__index_count(index); i++) {
        bool good = true;
        entry[count] = mete__index_at(index, i);
        for (size_t k = 0; k < args->wheres && good; k++)
            good = passes(entry[count], &test[k]);
        count += good;
    }
    if (args->sort) {
        sort_sign = *args->sort == '-' ? -1 : 1;
        sort_name = args->sort + (sort_sign < 0);
        if (count)
            qsort(entry, count, sizeof *entry, by_name);
    }
    for (size_t i = 0; i < count && args->json; i++) {
        put_json_entry(&out, entry[i]);
        mete_buffer_byte(&out, '\n');
    }
    if (!args->json && count)
        put_table(&out, entry, count, columns);
    if (!count)
        mete__say(mete__index_count(index) ? "of the %zu runs there, none is asked for"
                                           : "there are no runs there",
                  mete__index_count(index));
    free(entry);
    return print(&out);
}

static int
list(const mete__args *args)
{
    mete_error err = {0};
    struct columns columns;
    mete__index *index = mete__index_open(args->operands ? args->operand[0] : "runs", &err);
    if (!index) {
        mete__say("%s", err.message);
        return mete__exit_of(err.code);
    }
    struct test *test = calloc(args->wheres + 1, sizeof *test);
    int code = test && read_columns(args, index, &columns) ? read_tests(args, index, test)
                                                           : METE__EXIT_FAILED;
    const char *sort = args->sort ? args->sort + (*args->sort == '-') : NULL;
    if (!code && sort && !known(index, sort))
        code = nobody_knows(index, sort);
    for (size_t k = 0; !code && args->columns && k < columns.count; k++)
        if (!known(index, columns.name[k]))
            code = nobody_knows(index, columns.name[k]);
    if (!code)
        code = show(args, index, test, &columns);
    if (test)
        free(columns.text);
    free(test);
    mete__index_close(index);
    return code;
}

/* ---- two runs -------------------------------------------------------------------------------- */

struct leaf {
    const char *path;
    char *text; /* as the config says it */
};

struct leaves {
    struct leaf *item;
    size_t count;
    bool lost; /* memory ran out */
};

/* Every value that is no group or list, and empty ones, by path. */
static void
gather_leaves(struct leaves *leaves, mete__value *value)
{
    if ((value->kind == METE__GROUP || value->kind == METE__LIST) && value->first) {
        for (mete__value *at = value->first; at; at = at->next)
            gather_leaves(leaves, at);
        return;
    }
    char text[64] = "()";
    if (value->kind == METE__INT)
        snprintf(text, sizeof text, "%lld", (long long)value->integer);
    else if (value->kind == METE__REAL)
        snprintf(text, sizeof text, "%.9g", value->real);
    else if (value->kind == METE__BOOL)
        snprintf(text, sizeof text, "%s", value->integer ? "true" : "false");
    struct leaf *grown = realloc(leaves->item, (leaves->count + 1) * sizeof *grown);
    leaves->item = grown ? grown : leaves->item;
    char *copy = grown ? strdup(value->kind == METE__STRING ? value->string : text) : NULL;
    if (!copy) {
        leaves->lost = true;
        return;
    }
    leaves->item[leaves->count++] = (struct leaf){value->path, copy};
}

static const char *
leaf_at(const struct leaves *leaves, const char *path)
{
    for (size_t i = 0; i < leaves->count; i++)
        if (strcmp(leaves->item[i].path, path) == 0)
            return leaves->item[i].text;
    return NULL;
}

struct side {
    mete__run_entry *entry;
    mete__config *config;
    struct leaves leaves;
};

static void
close_side(struct side *side)
{
    mete__run_entry_free(side->entry);
    for (size_t i = 0; i < side->leaves.count; i++)
        free(side->leaves.item[i].text);
    free(side->leaves.item);
    if (side->config)
        mete__config_free(side->config);
}

static int
open_side(const char *folder, struct side *side)
{
    char path[PATH_MAX];
    mete_error err = {0};
    mete__errors errors = {0};
    side->entry = mete__run_entry_read(folder, &err);
    if (!side->entry) {
        mete__say("%s", err.message);
        return mete__exit_of(err.code);
    }
    snprintf(path, sizeof path, "%s/config.cfg", folder);
    side->config = mete__config_read(path, NULL, 0, &errors);
    if (!side->config || errors.count)
        return mete__report(&errors);
    gather_leaves(&side->leaves, mete__config_root(side->config));
    return side->leaves.lost ? METE__EXIT_FAILED : METE__EXIT_DONE;
}

static void
put_pair(mete_buffer *out, bool json, bool *first, const char *name, const char *a, const char *b)
{
    if (json) {
        mete_buffer_string(out, *first ? "{\"path\":" : ",{\"path\":");
        mete_json_put_text(out, mete_text_from(name));
        const char *side[] = {a, b};
        for (int i = 0; i < 2; i++) {
            mete_buffer_string(out, i ? ",\"b\":" : ",\"a\":");
            if (side[i])
                mete_json_put_text(out, mete_text_from(side[i]));
            else
                mete_buffer_string(out, "null");
        }
        mete_buffer_string(out, "}");
    } else {
        mete_buffer_string(out, *first ? "config\n  " : "  ");
        put_cell(out, name, 36);
        put_cell(out, a ? a : "-", 20);
        mete__put_plain(out, mete_text_from(b ? b : "-"), "");
        mete_buffer_byte(out, '\n');
    }
    *first = false;
}

static void
put_configs(mete_buffer *out, bool json, const struct side *a, const struct side *b)
{
    bool first = true;
    for (size_t i = 0; i < a->leaves.count; i++) {
        const struct leaf *leaf = &a->leaves.item[i];
        const char *other = leaf_at(&b->leaves, leaf->path);
        if (!other || strcmp(other, leaf->text) != 0)
            put_pair(out, json, &first, leaf->path, leaf->text, other);
    }
    for (size_t i = 0; i < b->leaves.count; i++)
        if (!leaf_at(&a->leaves, b->leaves.item[i].path))
            put_pair(out, json, &first, b->leaves.item[i].path, NULL, b->leaves.item[i].text);
    if (first && !json)
        mete_buffer_string(out, "config\n  the same\n");
}

static void
put_metric(mete_buffer *out, bool json, bool *first, const char *name, double a, double b)
{
    const double value[] = {a, b, b - a};
    if (json) {
        static const char *const key[] = {",\"a\":", ",\"b\":", ",\"difference\":"};
        mete_buffer_string(out, *first ? "{\"name\":" : ",{\"name\":");
        mete_json_put_text(out, mete_text_from(name));
        for (int i = 0; i < 3; i++) {
            mete_buffer_string(out, key[i]);
            mete_json_put_number(out, value[i]);
        }
        mete_buffer_string(out, "}");
        *first = false;
        return;
    }
    if (*first)
        mete_buffer_string(out, "\nlast metrics\n");
    *first = false;
    mete_buffer_string(out, "  ");
    put_cell(out, name, 40);
    for (int i = 0; i < 3; i++)
        if (isnan(value[i]))
            mete_buffer_format(out, "%12s", "-");
        else
            mete_buffer_format(out, i < 2 ? "%12.5g" : "%+12.5g", value[i]); /* NOLINT */
    mete_buffer_byte(out, '\n');
}

static void
put_metrics(mete_buffer *out, bool json, const mete__run_entry *a, const mete__run_entry *b)
{
    bool first = true;
    put_metric(out, json, &first, "iterations", a->iterations, b->iterations);
    for (size_t i = 0; i < a->metrics; i++)
        put_metric(out, json, &first, a->name[i], a->value[i], number_of(b, a->name[i]));
    for (size_t i = 0; i < b->metrics; i++)
        if (!knows(a, b->name[i]))
            put_metric(out, json, &first, b->name[i], NAN, b->value[i]);
}

static int
compare(const mete__args *args)
{
    struct side a = {0}, b = {0};
    mete_buffer out = mete_buffer_make(0);
    int code = open_side(args->operand[1], &a);
    if (!code)
        code = open_side(args->operand[2], &b);
    if (!code && args->json) {
        mete_buffer_string(&out, "{\"a\":");
        put_json_entry(&out, a.entry);
        mete_buffer_string(&out, ",\"b\":");
        put_json_entry(&out, b.entry);
        mete_buffer_string(&out, ",\"config\":[");
        put_configs(&out, true, &a, &b);
        mete_buffer_string(&out, "],\"metrics\":[");
        put_metrics(&out, true, a.entry, b.entry);
        mete_buffer_string(&out, "]}\n");
    } else if (!code) {
        put_configs(&out, false, &a, &b);
        put_metrics(&out, false, a.entry, b.entry);
    }
    close_side(&a);
    close_side(&b);
    if (!code)
        return print(&out);
    mete_buffer_free(&out);
    return code;
}

int
mete__command_runs(int argc, char **argv)
{
    mete__args args;
    int code;
    if (!mete__args_read(argc, argv, "json where sort columns", 0, 3, usage, &args, &code))
        return code;
    bool two = args.operands && strcmp(args.operand[0], "compare") == 0;
    if (two && args.operands != 3)
        code = mete__misused("runs", "compare wants two runs");
    else if (!two && args.operands > 1)
        code = mete__misused("runs", "\"%s\" is one word too many", args.operand[1]);
    else if (two && (args.wheres || args.sort || args.columns))
        code = mete__misused("runs", "compare takes no flag but --json");
    else
        code = two ? compare(&args) : list(&args);
    mete__args_free(&args);
    return code;
}
