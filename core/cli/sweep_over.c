/* sweep_over.c - what is searched over: PATH, PATH=A,B,C or PATH=LO..HI, with "log" or "linear"
 * after it. */
#include "cli/sweep.h"

#include "loop/loop.h"

#include <math.h>
#include <mete/text.h>
#include <stdlib.h>
#include <string.h>

/* ---- one of them ----------------------------------------------------------------------------- */

static bool
add_item(mete__dimension *d, const char *text, size_t length)
{
    char **grown = realloc(d->item, (d->items + 1) * sizeof *grown);
    char *copy = grown ? strndup(text, length) : NULL;
    d->item = grown ? grown : d->item;
    if (copy)
        d->item[d->items++] = copy;
    return copy != NULL;
}

/* Values between commas, but for those within brackets and quotes. */
static bool
read_items(mete__dimension *d, const char *text, size_t length, char separator)
{
    int depth = 0;
    bool quoted = false;
    size_t from = 0;
    for (size_t i = 0; i <= length; i++) {
        char c = i < length ? text[i] : separator;
        quoted ^= c == '"' && (!i || text[i - 1] != '\\');
        depth += !quoted && strchr("{[(", c) && c ? 1 : 0;
        depth -= !quoted && strchr("}])", c) && c ? 1 : 0;
        if (i < length && (c != separator || depth > 0 || quoted))
            continue;
        if (i == from || d->items == METE__MOST_ITEMS || !add_item(d, text + from, i - from))
            return false;
        from = i + 1;
    }
    return true;
}

static bool
number(const char *text, size_t length, double *out)
{
    return mete_number_parse((mete_text){text, length}, METE_NUMBER_EXPONENT, out) &&
           isfinite(*out);
}

/* LO..HI; false: it is no range. */
static bool
read_range(mete__dimension *d, const char *text, size_t length)
{
    const char *dots = strstr(text, "..");
    if (!dots || dots >= text + length)
        return false;
    size_t left = (size_t)(dots - text);
    return number(text, left, &d->lo) && number(dots + 2, length - left - 2, &d->hi);
}

/* Are its values whole numbers: by its table, else by what stands in the config? */
static bool
is_whole(mete__value *root, const char *path, const mete_option *option)
{
    mete__value *there = option ? NULL : mete__value_find(root, path);
    const char *dot = strrchr(path, '.');
    if (option)
        return option->type == METE_OPTION_INT;
    return there && there->kind == METE__INT && !(dot && strcmp(dot, ".weight") == 0);
}

/* The option table's row for a path, or NULL. */
static const mete_option *
option_of(mete__engine *engine, mete__value *root, const char *path)
{
    const char *dot = strrchr(path, '.');
    char *parent = dot ? strndup(path, (size_t)(dot - path)) : NULL;
    mete__value *group = parent ? mete__value_find(root, parent) : NULL;
    size_t count;
    mete_node *const *node = mete__engine_nodes(engine, &count);
    free(parent);
    for (size_t i = 0; group && i < count; i++) {
        if (node[i]->at != group || !node[i]->plugin)
            continue;
        const mete_option *option = node[i]->plugin->as.head.options;
        for (; option && option->name; option++)
            if (strcmp(option->name, dot + 1) == 0)
                return option;
    }
    return NULL;
}

/* A range or values where the config gives none. */
static const char *
from_table(mete__dimension *d, const mete_option *option)
{
    if (option && option->type == METE_OPTION_BOOL)
        return read_items(d, "false,true", 10, ',') ? NULL : "out of memory";
    if (option && option->type == METE_OPTION_ENUM)
        return read_items(d, option->text, strlen(option->text), '|') ? NULL : "out of memory";
    if (!option || (option->type != METE_OPTION_INT && option->type != METE_OPTION_REAL))
        return "no option table gives its range; say PATH=LO..HI or PATH=A,B,C";
    d->lo = option->min;
    d->hi = option->max;
    if (!(d->hi - d->lo <= 1e6))
        return "its option table's range is too wide to search; say PATH=LO..HI";
    return NULL;
}

static const char *
read_one(mete__dimension *d, mete__engine *engine, mete__value *root, const char *text)
{
    const char *equals = strchr(text, '=');
    size_t length = strlen(text);
    bool log = false, linear = false;
    if (length > 4 && strcmp(text + length - 4, " log") == 0)
        log = true, length -= 4;
    else if (length > 7 && strcmp(text + length - 7, " linear") == 0)
        linear = true, length -= 7;
    size_t path = equals ? (size_t)(equals - text) : length;
    if (!path || !(d->path = strndup(text, path)))
        return "there is no path before '='";
    const mete_option *option = option_of(engine, root, d->path);
    const char *fault = NULL;
    if (!equals)
        fault = from_table(d, option);
    else if (!read_range(d, equals + 1, length - path - 1) &&
             !read_items(d, equals + 1, length - path - 1, ','))
        fault = "there is an empty value, or too many";
    if (fault || d->items)
        return fault;
    d->integer = is_whole(root, d->path, option);
    /* A table may say so; a range over two powers of ten does. */
    bool wide = d->lo > 0 && d->hi / d->lo >= 100;
    d->log = log || (!linear && (wide || (option && option->flags & METE_LOG_SCALE && d->lo > 0)));
    if (!(d->lo < d->hi))
        return "the range is empty";
    if (d->integer && (d->lo < ceil(d->lo) || d->hi < ceil(d->hi)))
        return "its values are whole numbers, and so are the ends of its range";
    if (d->log && !(d->lo > 0))
        return "a range on a log scale begins above 0";
    if (option && (d->lo < option->min || d->hi > option->max) &&
        (option->type == METE_OPTION_INT || option->type == METE_OPTION_REAL))
        return "the range leaves what its option table allows";
    return NULL;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static void
add(mete__sweep *s, mete__engine *engine, mete__value *root, const char *text, const char *place,
    mete__errors *errors)
{
    if (s->dimensions == METE__MOST_DIMENSIONS) {
        mete__errors_add(errors, "%s: over: at most %d values", place, METE__MOST_DIMENSIONS);
        return;
    }
    mete__dimension *d = &s->dimension[s->dimensions++];
    const char *fault = read_one(d, engine, root, text);
    for (size_t i = 0; !fault && i + 1 < s->dimensions; i++)
        if (strcmp(s->dimension[i].path, d->path) == 0)
            fault = "it is there twice";
    if (fault)
        mete__errors_add(errors, "%s: over \"%s\": %s", place, text, fault);
}

void
mete__dimensions_read(mete__sweep *s, mete__config *config, mete__value *block,
                      mete__errors *errors)
{
    mete__value *root = mete__config_root(config);
    mete__value *over = block ? mete__value_get(block, "over") : NULL;
    mete__engine_options options = {.seed = 1, .threads = 1, .check_only = true};
    mete__engine *engine = mete__engine_open(config, &options, errors);
    if (!engine)
        return;
    for (size_t i = 0; i < s->args->words; i++)
        add(s, engine, root, s->args->word[i], "--over", errors);
    for (mete__value *item = over && !s->args->words ? over->first : NULL; item;
         item = item->next) {
        char place[512];
        snprintf(place, sizeof place, "%s:%d", item->file, item->line);
        item->used = true;
        if (item->kind == METE__STRING)
            add(s, engine, root, item->string, place, errors);
        else
            mete__errors_add(errors, "%s: %s: a value to search over is a string", place,
                             item->path);
    }
    if (!s->dimensions && !errors->count)
        mete__errors_add(errors,
                         "%s: nothing to search over; say sweep = { over = [ \"optimiser.rate=1e-4"
                         "..1e-1\" ]; } or --over",
                         s->config);
    if (s->search == METE__HALVING && !errors->count) {
        mete__loop_sinks sinks = {0};
        mete__loop *loop = mete__loop_new(engine, config, &sinks, errors);
        s->total = loop ? mete__loop_total(loop) : 0;
        mete__loop_free(loop);
    }
    mete__engine_close(engine);
}

void
mete__dimensions_free(mete__sweep *s)
{
    for (size_t i = 0; i < s->dimensions; i++) {
        for (size_t k = 0; k < s->dimension[i].items; k++)
            free(s->dimension[i].item[k]);
        free(s->dimension[i].item);
        free(s->dimension[i].path);
    }
}

/* ---- values ---------------------------------------------------------------------------------- */

static double
between(const mete__dimension *d, double u)
{
    double x = d->log ? d->lo * pow(d->hi / d->lo, u) : d->lo + u * (d->hi - d->lo);
    return x < d->lo ? d->lo : x > d->hi ? d->hi : x;
}

/* Four digits tell trials apart; the ends of a range stay what they are. */
static void
write_value(const mete__dimension *d, double x, char *out, size_t room)
{
    if (d->integer) {
        snprintf(out, room, "%.0f", floor(x + 0.5));
        return;
    }
    snprintf(out, room, "%.4g", x);
    double back;
    if (!number(out, strlen(out), &back) || back < d->lo || back > d->hi)
        snprintf(out, room, "%.17g", x);
    if (!strpbrk(out, ".e"))
        snprintf(out + strlen(out), room - strlen(out), ".0");
}

size_t
mete__dimension_points(const mete__dimension *d, size_t points)
{
    if (d->items)
        return d->items;
    double whole = floor(d->hi) - ceil(d->lo) + 1;
    return d->integer && whole < (double)points ? (size_t)whole : points;
}

void
mete__dimension_point(const mete__dimension *d, size_t i, size_t points, char *out, size_t room)
{
    size_t n = mete__dimension_points(d, points);
    if (d->items)
        snprintf(out, room, "%s", d->item[i]);
    else
        write_value(d, between(d, n > 1 ? (double)i / (double)(n - 1) : 0.5), out, room);
}

void
mete__dimension_at(const mete__dimension *d, double u, char *out, size_t room)
{
    if (d->items)
        snprintf(out, room, "%s", d->item[(size_t)(u * (double)d->items)]);
    else if (d->integer && !d->log)
        snprintf(out, room, "%.0f", floor(d->lo + u * (d->hi - d->lo + 1)));
    else
        write_value(d, between(d, u), out, room);
}
