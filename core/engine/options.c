/* options.c - binds config groups to option tables; see options.h. */
#include "engine/options.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_OPTIONS 256

/* ---- lint ------------------------------------------------------------------------------------ */

static size_t
member_size(uint32_t type)
{
    switch (type) {
    case METE_OPTION_BOOL:
    case METE_OPTION_ENUM:
        return sizeof(int);
    case METE_OPTION_INT:
    case METE_OPTION_REAL:
        return 8;
    case METE_OPTION_INTS:
    case METE_OPTION_REALS:
    case METE_OPTION_STRINGS:
    case METE_OPTION_LIST:
    case METE_OPTION_REWARDS:
    case METE_OPTION_POLICIES:
    case METE_OPTION_ENVIRONMENTS:
        return sizeof(mete_ints);
    case METE_OPTION_FIELD:
        return sizeof(mete_field);
    default:
        return sizeof(void *);
    }
}

static int
is_number(uint32_t type)
{
    return type == METE_OPTION_INT || type == METE_OPTION_REAL;
}

/* `word` among the space-separated `words`. */
static int
among(const char *word, const char *words)
{
    size_t length = strlen(word);
    for (const char *at = words; *at;) {
        size_t each = strcspn(at, " ");
        if (each == length && memcmp(at, word, length) == 0)
            return 1;
        at += each + (at[each] != 0);
    }
    return 0;
}

static int
lint_row(const mete_option *table, const mete_option *row, size_t state, int nested,
         mete_error *err)
{
    if (!row->name[0] || strpbrk(row->name, " .[]@=|"))
        return mete_error_set(err, METE_EPLUGIN, "an option has the name '%s'", row->name);
    if (row->type == METE_OPTION_END || row->type > METE_OPTION_LIST)
        return mete_error_set(err, METE_EPLUGIN, "option '%s' has the unknown type %u", row->name,
                              row->type);
    if (!row->help || !*row->help)
        return mete_error_set(err, METE_EPLUGIN, "option '%s' has no help", row->name);
    if (!nested && among(row->name, METE_RESERVED_NAMES))
        return mete_error_set(err, METE_EPLUGIN,
                              "option '%s' has a name the core keeps for itself (%s)", row->name,
                              METE_RESERVED_NAMES);
    size_t size = member_size(row->type);
    if (row->offset > state || size > state - row->offset)
        return mete_error_set(err, METE_EPLUGIN, "option '%s' lies outside the state struct",
                              row->name);
    if (is_number(row->type) && !(row->min <= row->max))
        return mete_error_set(err, METE_EPLUGIN, "option '%s' has the range [%g, %g]", row->name,
                              row->min, row->max);
    if (is_number(row->type) && !(row->flags & METE_REQUIRED) &&
        !(row->value >= row->min && row->value <= row->max))
        return mete_error_set(err, METE_EPLUGIN, "option '%s' has the default %g outside [%g, %g]",
                              row->name, row->value, row->min, row->max);
    if (row->type == METE_OPTION_ENUM && (!row->text || !*row->text))
        return mete_error_set(err, METE_EPLUGIN, "option '%s' has no words to choose from",
                              row->name);
    if (row->type == METE_OPTION_ENUM) {
        double words = 1;
        for (const char *at = row->text; *at; at++)
            words += *at == '|';
        if (!(row->value >= 0 && row->value < words))
            return mete_error_set(err, METE_EPLUGIN, "option '%s' has no word number %g", row->name,
                                  row->value);
    }
    if (row->type == METE_OPTION_FIELD && (!row->text || !*row->text))
        return mete_error_set(err, METE_EPLUGIN, "option '%s' names no field by default",
                              row->name);
    for (const mete_option *other = table; other < row; other++)
        if (strcmp(other->name, row->name) == 0)
            return mete_error_set(err, METE_EPLUGIN, "option '%s' stands twice in the table",
                                  row->name);
    return METE_OK;
}

static int
lint_table(const mete_option *table, size_t state, int nested, mete_error *err)
{
    size_t count = 0;
    for (const mete_option *row = table; row->name; row++) {
        if (++count >= MOST_OPTIONS)
            return mete_error_set(err, METE_EPLUGIN, "the option table has no end");
        int status = lint_row(table, row, state, nested, err);
        if (!status && row->type == METE_OPTION_LIST) {
            if (!row->rows || !row->row_size || nested)
                return mete_error_set(err, METE_EPLUGIN,
                                      "option '%s' has no table for its elements", row->name);
            status = lint_table(row->rows, (size_t)row->row_size, 1, err);
        }
        if (status)
            return status;
    }
    return METE_OK;
}

int
mete__options_lint(const mete_plugin *plugin, mete_error *err)
{
    return plugin->options ? lint_table(plugin->options, (size_t)plugin->state_size, 0, err)
                           : METE_OK;
}

/* ---- bind ------------------------------------------------------------------------------------ */

typedef struct binding {
    const mete__binder *binder;
    mete__errors *errors;
} binding;

static void
wrong(const binding *to, const mete__value *value, const char *want)
{
    mete__errors_add(to->errors, "%s:%d: %s must be %s", value->file, value->line, value->path,
                     want);
}

static int
in_range(const binding *to, const mete__value *value, const mete_option *row)
{
    if (value->real >= row->min && value->real <= row->max)
        return 1;
    mete__errors_add(to->errors, "%s:%d: %s = %.10g is outside [%.10g, %.10g]%s%s", value->file,
                     value->line, value->path, value->real, row->min, row->max,
                     row->unit && *row->unit ? " " : "", row->unit ? row->unit : "");
    return 0;
}

static void
bind_number(const binding *to, const mete_option *row, mete__value *value, char *member)
{
    if (row->type == METE_OPTION_INT) {
        if (value->kind != METE__INT)
            wrong(to, value, "an integer");
        else if (in_range(to, value, row))
            memcpy(member, &value->integer, sizeof(int64_t));
        return;
    }
    if (value->kind == METE__GROUP && (row->flags & METE_LIVE)) {
        mete__schedule schedule;
        if (mete__schedule_read(value, &schedule, to->errors))
            return;
        mete__value ends = *value;
        ends.real = schedule.from;
        int good = in_range(to, &ends, row);
        ends.real = schedule.to;
        if (good && in_range(to, &ends, row)) {
            memcpy(member, &schedule.from, sizeof(double));
            to->binder->schedule(to->binder->user, (double *)(void *)member, &schedule);
        }
        return;
    }
    if (value->kind != METE__INT && value->kind != METE__REAL)
        wrong(to, value,
              row->flags & METE_LIVE ? "a number or a schedule { from; to; over; shape; }"
                                     : "a number");
    else if (in_range(to, value, row))
        memcpy(member, &value->real, sizeof(double));
}

/* A list of numbers or strings; a single one counts as a list of one. */
static void
bind_items(const binding *to, const mete_option *row, mete__value *value, char *member)
{
    size_t count = value->kind == METE__LIST ? value->count : 1;
    mete__value *item = value->kind == METE__LIST ? value->first : value;
    void *array = to->binder->alloc(to->binder->user, (count + 1) * 8);
    if (!array)
        return;
    for (size_t i = 0; i < count; i++, item = item->next) {
        item->used = true;
        int number = item->kind == METE__INT || item->kind == METE__REAL;
        if (row->type == METE_OPTION_STRINGS) {
            if (item->kind != METE__STRING)
                wrong(to, item, "a string");
            else
                ((const char **)array)[i] = item->string;
        } else if (!number || (row->type == METE_OPTION_INTS && item->kind != METE__INT)) {
            wrong(to, item, row->type == METE_OPTION_INTS ? "an integer" : "a number");
        } else if (in_range(to, item, row)) {
            if (row->type == METE_OPTION_INTS)
                ((int64_t *)array)[i] = item->integer;
            else
                ((double *)array)[i] = item->real;
        }
    }
    mete_ints list = {array, count};
    memcpy(member, &list, sizeof list);
}

static mete_kind
kind_of(uint32_t type)
{
    switch (type) {
    case METE_OPTION_REWARD:
    case METE_OPTION_REWARDS:
        return METE_KIND_REWARD;
    case METE_OPTION_RUBRIC:
        return METE_KIND_RUBRIC;
    case METE_OPTION_POLICY:
    case METE_OPTION_POLICIES:
        return METE_KIND_POLICY;
    default:
        return METE_KIND_ENVIRONMENT;
    }
}

static void
bind_nodes(const binding *to, const mete_option *row, mete__value *value, char *member)
{
    if (value->kind != METE__LIST) {
        wrong(to, value, "a list ( { use = ...; }, ... )");
        return;
    }
    mete_node **array = to->binder->alloc(to->binder->user, (value->count + 1) * sizeof *array);
    size_t i = 0;
    for (mete__value *item = value->first; array && item; item = item->next) {
        item->used = true;
        array[i++] = to->binder->node(to->binder->user, kind_of(row->type), item, row->name);
    }
    mete_nodes nodes = {array, i};
    memcpy(member, &nodes, sizeof nodes);
}

static void bind_table(const binding *to, const mete_option *table, mete__value *group,
                       char *state);

static void
bind_list(const binding *to, const mete_option *row, mete__value *value, char *member)
{
    if (value->kind != METE__LIST) {
        wrong(to, value, "a list ( { ... }, ... )");
        return;
    }
    size_t each = (size_t)row->row_size, i = 0;
    char *array = to->binder->alloc(to->binder->user, (value->count + 1) * each);
    for (mete__value *item = value->first; array && item; item = item->next, i++) {
        item->used = true;
        if (item->kind != METE__GROUP)
            wrong(to, item, "a group { ... }");
        else
            bind_table(to, row->rows, item, array + i * each);
    }
    mete_list list = {array, i};
    memcpy(member, &list, sizeof list);
}

static const char *
keep(const binding *to, const char *string)
{
    size_t length = strlen(string) + 1;
    char *copy = to->binder->alloc(to->binder->user, length);
    if (copy)
        memcpy(copy, string, length);
    return copy;
}

static void
bind_text(const binding *to, const mete_option *row, mete__value *value, char *member)
{
    const char *text = value->string;
    if (value->kind != METE__STRING) {
        wrong(to, value, row->type == METE_OPTION_FILE ? "a file name" : "a string");
        return;
    }
    if (row->type == METE_OPTION_FILE) {
        char *path = mete__value_file(value);
        text = path ? keep(to, path) : NULL;
        free(path);
    }
    memcpy(member, &text, sizeof text);
}

static void
bind_value(const binding *to, const mete_option *row, mete__value *value, char *member)
{
    const mete__binder *binder = to->binder;
    const void *pointer = NULL;
    switch (row->type) {
    case METE_OPTION_BOOL:
        if (value->kind == METE__BOOL || (value->kind == METE__INT && (value->integer | 1) == 1))
            memcpy(member, &(int){value->integer != 0}, sizeof(int));
        else
            wrong(to, value, "true or false");
        return;
    case METE_OPTION_INT:
    case METE_OPTION_REAL:
        bind_number(to, row, value, member);
        return;
    case METE_OPTION_STRING:
    case METE_OPTION_FILE:
        bind_text(to, row, value, member);
        return;
    case METE_OPTION_INTS:
    case METE_OPTION_REALS:
    case METE_OPTION_STRINGS:
        bind_items(to, row, value, member);
        return;
    case METE_OPTION_FIELD:
        if (value->kind != METE__STRING)
            wrong(to, value, "the name of a column");
        else
            ((mete_field *)(void *)member)->name = value->string;
        return;
    case METE_OPTION_DATA:
        pointer = mete__table_read(value, binder, to->errors);
        break;
    case METE_OPTION_MODEL:
        if (value->kind != METE__STRING)
            wrong(to, value, "the name of a model");
        else
            pointer = binder->model(binder->user, value->string, value);
        break;
    case METE_OPTION_REWARDS:
    case METE_OPTION_POLICIES:
    case METE_OPTION_ENVIRONMENTS:
        bind_nodes(to, row, value, member);
        return;
    case METE_OPTION_LIST:
        bind_list(to, row, value, member);
        return;
    default:
        pointer = binder->node(binder->user, kind_of(row->type), value, row->name);
    }
    memcpy(member, &pointer, sizeof pointer);
}

static void
bind_default(const binding *to, const mete_option *row, mete__value *group, char *member)
{
    const mete__binder *binder = to->binder;
    const void *pointer;
    switch (row->type) {
    case METE_OPTION_BOOL:
    case METE_OPTION_ENUM:
        memcpy(member, &(int){(int)row->value}, sizeof(int));
        break;
    case METE_OPTION_INT:
        memcpy(member, &(int64_t){(int64_t)row->value}, sizeof(int64_t));
        break;
    case METE_OPTION_REAL:
        memcpy(member, &row->value, sizeof(double));
        break;
    case METE_OPTION_STRING:
        memcpy(member, &row->text, sizeof row->text);
        break;
    case METE_OPTION_MODEL:
        pointer = row->text ? binder->model(binder->user, row->text, group) : NULL;
        memcpy(member, &pointer, sizeof pointer);
        break;
    default:
        break; /* zero: absent, empty */
    }
}

/* Names of the table and the reserved ones, for the nearest name of an unknown one. */
static char *
known_names(const mete_option *table)
{
    size_t length = sizeof METE_RESERVED_NAMES " of";
    for (const mete_option *row = table; row->name; row++)
        length += strlen(row->name) + 1;
    char *names = malloc(length);
    size_t at = names ? (size_t)snprintf(names, length, "%s", METE_RESERVED_NAMES) : 0;
    for (const mete_option *row = table; names && row->name; row++)
        at += (size_t)snprintf(names + at, length - at, " %s", row->name);
    return names;
}

static void
bind_table(const binding *to, const mete_option *table, mete__value *group, char *state)
{
    for (const mete_option *row = table; row->name; row++) {
        char *member = state + row->offset;
        mete__value *value = mete__value_get(group, row->name);
        if (row->type == METE_OPTION_FIELD) {
            mete_field field = {row->text, row->level, row->element, row->flags & METE_OPTIONAL};
            memcpy(member, &field, sizeof field);
        }
        if (value && row->type == METE_OPTION_ENUM)
            memcpy(
                member,
                &(int){mete__value_enum(group, row->name, (int)row->value, row->text, to->errors)},
                sizeof(int));
        else if (value)
            bind_value(to, row, value, member);
        else if (row->flags & METE_REQUIRED)
            mete__errors_add(to->errors, "%s:%d: %s: option '%s' is required: %s", group->file,
                             group->line, group->path, row->name, row->help);
        else
            bind_default(to, row, group, member);
        if (value && (row->flags & METE_SECRET))
            mete__value_mark_secret(value);
        if (row->type == METE_OPTION_FIELD && to->binder->field)
            to->binder->field(to->binder->user, (const mete_field *)(const void *)member);
    }
    char *names = known_names(table);
    mete__value_unknown(group, names ? names : "", to->errors);
    free(names);
}

int
mete__options_bind(const mete_plugin *plugin, mete__value *group, void *state,
                   const mete__binder *binder, mete__errors *errors)
{
    size_t before = errors->count;
    binding to = {binder, errors};
    /* The reserved names are the caller's: known here, and read by it. */
    char name[16];
    for (const char *at = METE_RESERVED_NAMES; *at;) {
        size_t length = strcspn(at, " ");
        snprintf(name, sizeof name, "%.*s", (int)length, at);
        mete__value_get(group, name);
        at += length + (at[length] != 0);
    }
    bind_table(&to, plugin->options, group, state);
    return errors->count == before ? METE_OK : METE_EINVAL;
}
