/* config_value.c - reading, finding, merging and replacing values of a config tree. */
#include "engine/config_tree.h"

#include <ctype.h>
#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef METE_DATA_DIR
#define METE_DATA_DIR "/usr/local/share/mete"
#endif

/* ---- errors ---------------------------------------------------------------------------------- */

void
mete__errors_add(mete__errors *errors, const char *format, ...)
{
    char text[1500];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    for (char *c = text; *c; c++) /* what a file holds never reaches the terminal as an escape */
        if ((unsigned char)*c < 32 || *c == 127)
            *c = '?';
    char **grown = realloc(errors->line, (errors->count + 1) * sizeof *grown);
    char *copy = strdup(text);
    if (grown)
        errors->line = grown;
    if (grown && copy)
        grown[errors->count++] = copy;
    else
        free(copy);
}

void
mete__errors_print(const mete__errors *errors, FILE *to)
{
    for (size_t i = 0; i < errors->count; i++)
        fprintf(to, "%s\n", errors->line[i]);
}

void
mete__errors_free(mete__errors *errors)
{
    for (size_t i = 0; i < errors->count; i++)
        free(errors->line[i]);
    free(errors->line);
    *errors = (mete__errors){0};
}

/* ---- making ---------------------------------------------------------------------------------- */

mete__config *
mete__config_new(const char *path)
{
    mete__config *config = calloc(1, sizeof *config);
    if (!config || !(config->memory = mete__arena_new()) || !(config->path = strdup(path))) {
        mete__config_free(config);
        return NULL;
    }
    return config;
}

void
mete__config_free(mete__config *config)
{
    if (!config)
        return;
    mete__arena_free(config->memory);
    free(config->path);
    free(config);
}

mete__value *
mete__config_root(mete__config *config)
{
    return config->root;
}

const char *
mete__config_keep(mete__config *config, const char *string)
{
    const char *kept = string ? mete__arena_string(config->memory, string, strlen(string)) : NULL;
    return kept ? kept : "";
}

static void
append(mete__value *parent, mete__value *value)
{
    value->parent = parent;
    value->next = NULL;
    if (!parent)
        return;
    if (parent->last)
        parent->last->next = value;
    else
        parent->first = value;
    parent->last = value;
    parent->count++;
}

mete__value *
mete__value_new(mete__config *config, mete__value *parent, const char *name)
{
    mete__value *value = mete__arena_zero(config->memory, sizeof *value);
    if (!value)
        return NULL;
    value->name = name ? mete__config_keep(config, name) : NULL;
    value->file = "--set";
    value->path = "";
    value->string = "";
    append(parent, value);
    return value;
}

mete__value *
mete__value_copy(mete__config *config, const mete__value *value, mete__value *parent)
{
    mete__value *copy = mete__value_new(config, parent, value->name);
    if (!copy)
        return NULL;
    copy->kind = value->kind;
    copy->file = value->file;
    copy->line = value->line;
    copy->integer = value->integer;
    copy->real = value->real;
    copy->string = value->string;
    for (const mete__value *item = value->first; item; item = item->next)
        mete__value_copy(config, item, copy);
    return copy;
}

static mete__value *
member(const mete__value *group, const char *name, size_t length)
{
    if (!group || group->kind != METE__GROUP)
        return NULL;
    for (mete__value *item = group->first; item; item = item->next)
        if (item->name && strlen(item->name) == length && memcmp(item->name, name, length) == 0)
            return item;
    return NULL;
}

/* Puts `value` where `old` stands. */
static void
replace(mete__value *old, mete__value *value)
{
    const char *name = old->name;
    mete__value *parent = old->parent, *next = old->next;
    *old = *value;
    old->name = name;
    old->parent = parent;
    old->next = next;
    for (mete__value *item = old->first; item; item = item->next)
        item->parent = old;
}

void
mete__value_merge(mete__config *config, mete__value *base, const mete__value *over)
{
    for (const mete__value *item = over->first; item; item = item->next) {
        if (!item->name)
            continue;
        mete__value *old = member(base, item->name, strlen(item->name));
        if (old && old->kind == METE__GROUP && item->kind == METE__GROUP) {
            mete__value_merge(config, old, item);
        } else if (old) {
            mete__value *copy = mete__value_copy(config, item, NULL);
            if (copy)
                replace(old, copy);
        } else {
            mete__value_copy(config, item, base);
        }
    }
}

void
mete__value_paths(mete__config *config, mete__value *value, const char *path)
{
    value->path = mete__config_keep(config, path);
    size_t index = 0;
    for (mete__value *item = value->first; item; item = item->next, index++) {
        size_t size = strlen(path) + 32 + (item->name ? strlen(item->name) : 0);
        char *below = mete__arena_take(config->memory, size);
        if (!below)
            return;
        if (value->kind == METE__LIST)
            snprintf(below, size, "%s[%zu]", path, index);
        else
            snprintf(below, size, "%s%s%s", path, *path ? "." : "", item->name);
        mete__value_paths(config, item, below);
    }
}

/* ---- finding --------------------------------------------------------------------------------- */

mete__value *
mete__value_get(mete__value *group, const char *name)
{
    mete__value *found = member(group, name, strlen(name));
    if (found)
        found->used = true;
    return found;
}

/* The group whose `name` (or, without one, `use`) is this; depth first. */
static mete__value *
named(mete__value *value, const char *name, size_t length)
{
    if (value->kind == METE__GROUP && value->parent && value->parent->kind == METE__LIST) {
        const mete__value *word = member(value, "name", 4);
        word = word ? word : member(value, "use", 3);
        if (word && word->kind == METE__STRING && strlen(word->string) == length &&
            memcmp(word->string, name, length) == 0)
            return value;
    }
    for (mete__value *item = value->first; item; item = item->next) {
        mete__value *found = named(item, name, length);
        if (found)
            return found;
    }
    return NULL;
}

/* One piece of a path: ".name", "[3]" or a leading "@name"; advances *path. */
static mete__value *
descend(mete__value *root, mete__value *at, const char **path, size_t *length, const char **name)
{
    const char *from = *path;
    if (*from == '@') {
        *length = strcspn(from + 1, ".[");
        *name = from + 1;
        *path = from + 1 + *length;
        return named(root, *name, *length);
    }
    if (*from == '[') {
        char *end;
        unsigned long index = strtoul(from + 1, &end, 10);
        *name = from;
        *length = (size_t)(end - from) + 1;
        if (end == from + 1 || *end != ']' || at->kind != METE__LIST) {
            *path = from + strlen(from);
            return NULL;
        }
        *path = end + 1;
        mete__value *item = at->first;
        while (item && index--)
            item = item->next;
        return item;
    }
    from += *from == '.';
    *length = strcspn(from, ".[");
    *name = from;
    *path = from + *length;
    return member(at, from, *length);
}

mete__value *
mete__value_find(mete__value *root, const char *path)
{
    mete__value *at = root;
    const char *name;
    size_t length;
    while (at && *path)
        at = descend(root, at, &path, &length, &name);
    return at;
}

/* Names of a group's members, space separated. Caller frees. */
static char *
member_names(const mete__value *group)
{
    size_t length = 1;
    for (const mete__value *item = group->first; item; item = item->next)
        length += item->name ? strlen(item->name) + 1 : 0;
    char *names = calloc(1, length);
    size_t at = 0;
    for (const mete__value *item = group->first; names && item; item = item->next)
        if (item->name)
            at += (size_t)snprintf(names + at, length - at, "%s ", item->name);
    return names;
}

/* The groups a config may leave out, made when a member of theirs is set (`--seed 3`). */
static void
make_group(mete__config *config, const char *path)
{
    static const char *const may_lack[] = {"run", "evaluate", "serve"};
    for (size_t i = 0; i < sizeof may_lack / sizeof *may_lack; i++) {
        size_t length = strlen(may_lack[i]);
        if (strncmp(path, may_lack[i], length) != 0 || path[length] != '.' ||
            member(config->root, path, length))
            continue;
        mete__value *group = mete__value_new(config, config->root, may_lack[i]);
        if (group)
            group->kind = METE__GROUP;
    }
}

void
mete__value_put(mete__config *config, const char *path, mete__value *value, mete__errors *errors)
{
    const char *at_path = path, *name = path;
    size_t length = 0;
    mete__value *at = config->root, *parent = at;
    make_group(config, path);
    while (at && *at_path) {
        parent = at;
        at = descend(config->root, at, &at_path, &length, &name);
    }
    if (at && at != config->root) {
        replace(at, value);
        return;
    }
    size_t plain =
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-*");
    if (!at && length && (plain < length || !isalpha((unsigned char)*name)) && *name != '[') {
        mete__errors_add(errors, "--set %s: '%.*s' is no name a config may have", path, (int)length,
                         name);
        return;
    }
    /* A new member of a group that is there. */
    if (!at && !*at_path && parent->kind == METE__GROUP && *name != '[' && path[0] != '@' &&
        length) {
        value->name = mete__arena_string(config->memory, name, length);
        append(parent, value);
        return;
    }
    if (!at && !*at_path && parent->kind == METE__GROUP && path[0] == '@' && name != path + 1) {
        value->name = mete__arena_string(config->memory, name, length);
        append(parent, value);
        return;
    }
    char *wanted = strndup(name, length), *names = member_names(parent);
    char *near = wanted && names ? mete__nearest(wanted, names) : NULL;
    mete__errors_add(errors, "--set %s: there is no '%s' in '%s'%s%s%s", path, wanted ? wanted : "",
                     *parent->path ? parent->path : "the config", near ? "; did you mean '" : "",
                     near ? near : "", near ? "'?" : "");
    free(wanted);
    free(names);
    free(near);
}

/* ---- typed reads ----------------------------------------------------------------------------- */

static const char *
kind_word(mete__value_kind kind)
{
    static const char *const word[] = {"a group",       "a list",        "an integer",
                                       "a real number", "true or false", "a string"};
    return word[kind];
}

static void
wrong_kind(const mete__value *value, const char *want, mete__errors *errors)
{
    mete__errors_add(errors, "%s:%d: %s is %s; it must be %s", value->file, value->line,
                     value->path, kind_word(value->kind), want);
}

int64_t
mete__value_int(mete__value *group, const char *name, int64_t def, int64_t lo, int64_t hi,
                mete__errors *errors)
{
    mete__value *value = mete__value_get(group, name);
    if (!value)
        return def;
    if (value->kind != METE__INT) {
        wrong_kind(value, "an integer", errors);
        return def;
    }
    if (value->integer < lo || value->integer > hi) {
        mete__errors_add(errors, "%s:%d: %s = %lld is outside [%lld, %lld]", value->file,
                         value->line, value->path, (long long)value->integer, (long long)lo,
                         (long long)hi);
        return def;
    }
    return value->integer;
}

double
mete__value_real(mete__value *group, const char *name, double def, double lo, double hi,
                 mete__errors *errors)
{
    mete__value *value = mete__value_get(group, name);
    if (!value)
        return def;
    if (value->kind != METE__INT && value->kind != METE__REAL) {
        wrong_kind(value, "a number", errors);
        return def;
    }
    if (!(value->real >= lo && value->real <= hi)) {
        mete__errors_add(errors, "%s:%d: %s = %g is outside [%g, %g]", value->file, value->line,
                         value->path, value->real, lo, hi);
        return def;
    }
    return value->real;
}

bool
mete__value_bool(mete__value *group, const char *name, bool def, mete__errors *errors)
{
    mete__value *value = mete__value_get(group, name);
    if (!value)
        return def;
    if (value->kind != METE__BOOL && !(value->kind == METE__INT && (value->integer | 1) == 1)) {
        wrong_kind(value, "true or false", errors);
        return def;
    }
    return value->integer != 0;
}

const char *
mete__value_string(mete__value *group, const char *name, const char *def, mete__errors *errors)
{
    mete__value *value = mete__value_get(group, name);
    if (!value)
        return def;
    if (value->kind != METE__STRING) {
        wrong_kind(value, "a string", errors);
        return def;
    }
    return value->string;
}

int
mete__value_word(mete__value *value, const char *words, mete__errors *errors)
{
    value->used = true;
    if (value->kind == METE__STRING) {
        int index = 0;
        for (const char *at = words; *at; index++) {
            size_t length = strcspn(at, "| ");
            if (strlen(value->string) == length && memcmp(at, value->string, length) == 0)
                return index;
            at += length + (at[length] != 0);
        }
    }
    char *near = value->kind == METE__STRING ? mete__nearest(value->string, words) : NULL;
    mete__errors_add(errors, "%s:%d: %s must be one of %s%s%s%s", value->file, value->line,
                     value->path, words, near ? "; did you mean '" : "", near ? near : "",
                     near ? "'?" : "");
    free(near);
    return -1;
}

int
mete__value_enum(mete__value *group, const char *name, int def, const char *words,
                 mete__errors *errors)
{
    mete__value *value = mete__value_get(group, name);
    int word = value ? mete__value_word(value, words, errors) : -1;
    return word >= 0 ? word : def;
}

void
mete__value_unknown(mete__value *group, const char *allowed, mete__errors *errors)
{
    for (mete__value *item = group->first; item; item = item->next) {
        if (item->used || !item->name)
            continue;
        char *near = mete__nearest(item->name, allowed);
        mete__errors_add(errors, "%s:%d: %s%sunknown option '%s'%s%s%s", item->file, item->line,
                         group->path, *group->path ? ": " : "", item->name,
                         near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
        free(near);
    }
}

/* ---- nearest names --------------------------------------------------------------------------- */

/* Optimal string alignment distance (Damerau-Levenshtein with adjacent swaps), words below 64. */
static size_t
distance(const char *a, size_t n, const char *b, size_t m)
{
    size_t row[3][65];
    for (size_t k = 0; k <= m; k++)
        row[0][k] = k;
    for (size_t i = 1; i <= n; i++) {
        size_t *now = row[i % 3], *one = row[(i + 2) % 3], *two = row[(i + 1) % 3];
        now[0] = i;
        for (size_t k = 1; k <= m; k++) {
            size_t best = one[k - 1] + (a[i - 1] != b[k - 1]);
            if (one[k] + 1 < best)
                best = one[k] + 1;
            if (now[k - 1] + 1 < best)
                best = now[k - 1] + 1;
            if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1] &&
                two[k - 2] + 1 < best)
                best = two[k - 2] + 1;
            now[k] = best;
        }
    }
    return row[n % 3][m];
}

char *
mete__nearest(const char *name, const char *words)
{
    size_t length = strlen(name), best = length / 3 + 1, found_length = 0;
    const char *found = NULL;
    if (length > 63)
        return NULL;
    for (const char *at = words; *at;) {
        size_t each = strcspn(at, "| ,\n");
        if (each && each < 64) {
            size_t far = distance(name, length, at, each);
            if (far < best || (far == best && !found && far)) {
                best = far;
                found = at;
                found_length = each;
            }
        }
        at += each + (at[each] != 0);
    }
    return found ? strndup(found, found_length) : NULL;
}

/* ---- files ----------------------------------------------------------------------------------- */

char *
mete__path_folder(const char *file)
{
    const char *slash = strrchr(file, '/');
    return slash ? strndup(file, (size_t)(slash - file) + (slash == file)) : strdup(".");
}

char *
mete__path_beside(const char *file, const char *path)
{
    if (*path == '/')
        return strdup(path);
    const char *slash = strrchr(file, '/');
    size_t folder = slash ? (size_t)(slash - file) + 1 : 0, length = strlen(path);
    char *out = malloc(folder + length + 1);
    if (!out)
        return NULL;
    memcpy(out, file, folder);
    memcpy(out + folder, path, length + 1);
    return out;
}

static char *
joined(const char *a, const char *b)
{
    size_t length = strlen(a) + strlen(b) + 2;
    char *out = malloc(length);
    if (out)
        snprintf(out, length, "%s/%s", a, b);
    return out;
}

char *
mete__value_file(const mete__value *value)
{
    if (*value->string == '/' || strcmp(value->file, "--set") == 0)
        return strdup(value->string);
    char *beside = mete__path_beside(value->file, value->string);
    if (beside && access(beside, F_OK) == 0)
        return beside;
    char *shipped = joined(METE_DATA_DIR, value->string);
    if (shipped && access(shipped, F_OK) == 0) {
        free(beside);
        return shipped;
    }
    free(shipped);
    return beside;
}

/* The k-th folder in which conf/ files are looked for, or NULL past the last. Caller frees. */
static char *
conf_folder(const mete__config *config, size_t k)
{
    const char *own = getenv("METE_CONF_PATH");
    switch (k) {
    case 0:
        return strdup(own && *own ? own : "conf");
    case 1:
        return mete__path_folder(config->path);
    case 2: {
        char *folder = mete__path_folder(config->path),
             *above = folder ? joined(folder, "..") : NULL;
        free(folder);
        return above;
    }
    case 3:
        return strdup(METE_DATA_DIR "/conf");
    default:
        return NULL;
    }
}

char *
mete__conf_find(const mete__config *config, const char *folder, const char *name)
{
    char file[400], *base;
    if (strchr(name, '/') || name[0] == '.')
        return NULL; /* a preset is a name, never a path */
    snprintf(file, sizeof file, "%s/%s.cfg", folder, name);
    for (size_t k = 0; (base = conf_folder(config, k)); k++) {
        char *path = joined(base, file);
        free(base);
        if (path && access(path, R_OK) == 0)
            return path;
        free(path);
    }
    return NULL;
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char *
mete__conf_names(const mete__config *config, const char *folder)
{
    char *name[256], *base;
    size_t count = 0, length = 1;
    for (size_t k = 0; (base = conf_folder(config, k)); k++) {
        char *path = joined(base, folder);
        DIR *dir = path ? opendir(path) : NULL;
        for (struct dirent *entry; dir && (entry = readdir(dir)) && count < 256;) {
            size_t n = strlen(entry->d_name);
            if (n > 4 && strcmp(entry->d_name + n - 4, ".cfg") == 0 &&
                (name[count] = strndup(entry->d_name, n - 4)))
                length += strlen(name[count++]) + 1;
        }
        if (dir)
            closedir(dir);
        free(path);
        free(base);
    }
    qsort(name, count, sizeof *name, by_name);
    char *out = calloc(1, length);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (out && (i == 0 || strcmp(name[i], name[i - 1]) != 0))
            at += (size_t)snprintf(out + at, length - at, "%s%s", at ? " " : "", name[i]);
    }
    for (size_t i = 0; i < count; i++)
        free(name[i]);
    return out;
}
