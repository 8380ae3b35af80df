/* config_read.c - libconfig's result as our tree, with --set and presets laid over it.
 *
 * Owns: reading files, bounding them, finding what libconfig gets wrong. A config is untrusted:
 * size, nesting and includes are checked before libconfig sees a byte. libconfig does not survive
 * running out of memory; that is outside the promise. */
#include "engine/config_tree.h"

#include <ctype.h>
#include <errno.h>
#include <libconfig.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MOST_BYTES ((size_t)8 << 20)
#define MOST_DEPTH 100
#define MOST_INCLUDES 64
#define INCLUDE_DEPTH 10

/* ---- what libconfig must not see ------------------------------------------------------------- */

typedef struct scan {
    mete__errors *errors;
    const char *chain[INCLUDE_DEPTH + 2]; /* files being read, to find cycles */
    size_t depth, files;
} scan;

static char *
read_file(const char *path, size_t *length, mete__errors *errors)
{
    struct stat is;
    FILE *file = fopen(path, "rb");
    if (!file) {
        mete__errors_add(errors, "%s: cannot be read: %s", path, strerror(errno));
        return NULL;
    }
    char *text = NULL;
    if (fstat(fileno(file), &is) || !S_ISREG(is.st_mode))
        mete__errors_add(errors, "%s: is not a regular file", path);
    else if ((size_t)is.st_size > MOST_BYTES)
        mete__errors_add(errors, "%s: is larger than the %zu MiB a config may have", path,
                         MOST_BYTES >> 20);
    else if ((text = malloc((size_t)is.st_size + 1)))
        *length = fread(text, 1, (size_t)is.st_size, file);
    fclose(file);
    if (text)
        text[*length] = 0;
    return text;
}

/* An integer that libconfig 1.5 would wrap silently, or a real it would read as infinity. It reads
 * decimal after leading zeros, and 0x and 0X as hexadecimal. */
static void
check_number(const char *name, int line, const char *token, size_t length, mete__errors *errors)
{
    char copy[64];
    if (length >= sizeof copy) {
        mete__errors_add(errors, "%s:%d: a number of %zu characters is longer than the %zu allowed",
                         name, line, length, sizeof copy - 1);
        return;
    }
    memcpy(copy, token, length);
    copy[length] = 0;
    const char *digits = copy + strspn(copy, "+-");
    bool hex = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
    char *end;
    errno = 0;
    if (!hex && strpbrk(copy, ".eE")) {
        double real = strtod(copy, &end);
        if (!*end && !isfinite(real))
            mete__errors_add(errors, "%s:%d: %s is too large for a number", name, line, copy);
        return;
    }
    long long integer = strtoll(copy, &end, hex ? 16 : 10);
    bool wide = *end == 'L';
    if (end == copy || (*end && !wide))
        return;
    if (errno == ERANGE)
        mete__errors_add(errors, "%s:%d: %s does not fit 64 bits", name, line, copy);
    else if (!wide && (integer > INT32_MAX || integer < INT32_MIN))
        mete__errors_add(errors, "%s:%d: %s does not fit 32 bits; write %sL", name, line, copy,
                         copy);
}

static void scan_file(scan *to, const char *path, const char *from, int line);

/* The file an @include names: beside the first file, wherever it is said, as libconfig resolves it.
 * */
static void
scan_include(scan *to, const char *name, const char *text, int line)
{
    const char *open = strchr(text, '"'), *close = open ? strchr(open + 1, '"') : NULL;
    const char *eol = strchr(text, '\n');
    if (!close || (eol && close > eol))
        return; /* libconfig says so */
    char *path = strndup(open + 1, (size_t)(close - open - 1));
    char *full = path ? mete__path_beside(to->chain[0] ? to->chain[0] : name, path) : NULL;
    if (full)
        scan_file(to, full, name, line);
    free(path);
    free(full);
}

/* Brackets, numbers and includes of one text; comments and strings are skipped. */
static void
scan_text(scan *to, const char *name, const char *text, size_t length)
{
    int line = 1, depth = 0;
    bool told = false, fresh = true;
    if (memchr(text, 0, length)) {
        mete__errors_add(to->errors, "%s: holds a NUL byte; a config is text", name);
        return;
    }
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (c == '\n') {
            line++;
            fresh = true;
        } else if (c == '"') {
            for (i++; i < length && text[i] != '"'; i++) {
                line += text[i] == '\n';
                i += text[i] == '\\' && i + 1 < length;
            }
        } else if (c == '#' || (c == '/' && text[i + 1] == '/')) {
            while (i + 1 < length && text[i + 1] != '\n')
                i++;
        } else if (c == '/' && text[i + 1] == '*') {
            for (i += 2; i + 1 < length && !(text[i] == '*' && text[i + 1] == '/'); i++)
                line += text[i] == '\n';
            if (++i >= length)
                mete__errors_add(to->errors, "%s:%d: a comment /* is not closed", name, line);
        } else if (strchr("({[", c)) {
            if (++depth > MOST_DEPTH && !told) {
                told = true;
                mete__errors_add(to->errors, "%s:%d: nests deeper than %d brackets", name, line,
                                 MOST_DEPTH);
            }
        } else if (strchr(")}]", c)) {
            depth--;
        } else if (c == '@' && fresh && strncmp(text + i, "@include", 8) == 0) {
            scan_include(to, name, text + i, line);
            while (i + 1 < length && text[i + 1] != '\n')
                i++;
        } else if (isdigit((unsigned char)c) || strchr("+-.", c)) {
            size_t end = i;
            while (end < length && (isalnum((unsigned char)text[end]) || strchr("+-.", text[end])))
                end++;
            check_number(name, line, text + i, end - i, to->errors);
            i = end - 1;
        } else if (isalpha((unsigned char)c)) {
            while (i + 1 < length &&
                   (isalnum((unsigned char)text[i + 1]) || strchr("_-*", text[i + 1])))
                i++;
        }
        fresh &= c == '\n' || c == ' ' || c == '\t' || c == '\r';
    }
}

static void
scan_file(scan *to, const char *path, const char *from, int line)
{
    for (size_t i = 0; i < to->depth; i++)
        if (strcmp(to->chain[i], path) == 0) {
            mete__errors_add(to->errors, "%s:%d: @include \"%s\" includes itself", from, line,
                             path);
            return;
        }
    if (to->depth >= INCLUDE_DEPTH || ++to->files > MOST_INCLUDES) {
        mete__errors_add(to->errors, "%s:%d: @include nests deeper than %d files or names over %d",
                         from, line, INCLUDE_DEPTH, MOST_INCLUDES);
        return;
    }
    size_t length = 0;
    size_t before = to->errors->count;
    char *text = read_file(path, &length, to->errors);
    if (!text) {
        if (from && to->errors->count > before)
            mete__errors_add(to->errors, "%s:%d: included it", from, line);
        return;
    }
    to->chain[to->depth++] = path;
    scan_text(to, path, text, length);
    to->depth--;
    free(text);
}

/* ---- libconfig's tree to ours ---------------------------------------------------------------- */

static mete__value *
convert(mete__config *config, const config_setting_t *setting, mete__value *parent,
        const char *fallback)
{
    const char *file = config_setting_source_file(setting);
    mete__value *value = mete__value_new(config, parent, config_setting_name(setting));
    if (!value)
        return NULL;
    /* libconfig calls an included file as @include does; its own file names are relative to it */
    char *included = file && strcmp(file, fallback) != 0 ? mete__path_beside(fallback, file) : NULL;
    value->file = mete__config_keep(config, included ? included : fallback);
    free(included);
    value->line = (int)config_setting_source_line(setting);
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        value->kind = METE__INT;
        value->integer = config_setting_type(setting) == CONFIG_TYPE_INT
                             ? config_setting_get_int(setting)
                             : config_setting_get_int64(setting);
        value->real = (double)value->integer;
        break;
    case CONFIG_TYPE_FLOAT:
        value->kind = METE__REAL;
        value->real = config_setting_get_float(setting);
        break;
    case CONFIG_TYPE_BOOL:
        value->kind = METE__BOOL;
        value->integer = config_setting_get_bool(setting) != 0;
        break;
    case CONFIG_TYPE_STRING:
        value->kind = METE__STRING;
        value->string = mete__config_keep(config, config_setting_get_string(setting));
        break;
    default:
        value->kind = config_setting_is_group(setting) ? METE__GROUP : METE__LIST;
        for (int i = 0; i < config_setting_length(setting); i++)
            convert(config, config_setting_get_elem(setting, (unsigned)i), value, fallback);
    }
    return value;
}

/* Parses text (or the file, when text is NULL) into a tree under no parent; NULL + errors. */
static mete__value *
parse(mete__config *config, const char *name, const char *text, mete__errors *errors)
{
    config_t parsed;
    mete__value *root = NULL;
    config_init(&parsed);
    char *folder = mete__path_folder(name);
    if (folder)
        config_set_include_dir(&parsed, folder);
    if (text ? config_read_string(&parsed, text) : config_read_file(&parsed, name)) {
        root = convert(config, config_root_setting(&parsed), NULL, name);
    } else {
        const char *file = config_error_file(&parsed);
        mete__errors_add(errors, "%s:%d: %s", file ? file : name, config_error_line(&parsed),
                         config_error_text(&parsed));
    }
    free(folder);
    config_destroy(&parsed);
    return root;
}

/* ---- --set ----------------------------------------------------------------------------------- */

/* VALUE in libconfig's syntax; a bare word is a string. */
static mete__value *
parse_value(mete__config *config, const char *text, mete__errors *errors)
{
    mete__errors quiet = {0};
    size_t length = strlen(text);
    char *whole = malloc(length + 16);
    mete__value *found = NULL;
    if (!whole)
        return NULL;
    snprintf(whole, length + 16, "v = %s ;", text);
    scan to = {.errors = errors};
    size_t before = errors->count;
    scan_text(&to, "--set", whole, strlen(whole));
    mete__value *root = errors->count == before ? parse(config, "--set", whole, &quiet) : NULL;
    free(whole);
    if (root && root->count == 1)
        found = root->first;
    mete__errors_free(&quiet);
    if (!found && errors->count == before && (found = mete__value_new(config, NULL, NULL))) {
        found->kind = METE__STRING;
        found->string = mete__config_keep(config, text);
    }
    return found;
}

static void
apply_set(mete__config *config, const char *set, mete__errors *errors)
{
    const char *equals = strchr(set, '=');
    if (!equals || equals == set) {
        mete__errors_add(errors, "--set %s: say path=value", set);
        return;
    }
    char *path = strndup(set, (size_t)(equals - set));
    if (!path)
        return;
    mete__value *value = NULL;
    if (equals[1] == '@') { /* the node of that name in place of this one */
        mete__value *source = mete__value_find(config->root, equals + 1);
        if (!source)
            mete__errors_add(errors, "--set %s: no node is called '%s'", set, equals + 2);
        else
            value = mete__value_copy(config, source, NULL);
    } else {
        value = parse_value(config, equals + 1, errors);
    }
    if (value)
        mete__value_put(config, path, value, errors);
    free(path);
}

static mete__config *
finish(mete__config *config, const char *const *set, size_t sets, size_t before,
       mete__errors *errors)
{
    if (config->root) {
        mete__value_paths(config, config->root, "");
        for (size_t i = 0; i < sets; i++)
            apply_set(config, set[i], errors);
        mete__value_paths(config, config->root, "");
    }
    if (errors->count == before && config->root)
        return config;
    mete__config_free(config);
    return NULL;
}

mete__config *
mete__config_read(const char *path, const char *const *set, size_t sets, mete__errors *errors)
{
    mete__config *config = mete__config_new(path);
    size_t before = errors->count;
    scan to = {.errors = errors};
    if (!config)
        return NULL;
    scan_file(&to, path, NULL, 0);
    if (errors->count == before)
        config->root = parse(config, path, NULL, errors);
    return finish(config, set, sets, before, errors);
}

mete__config *
mete__config_parse(const char *name, const char *text, size_t length, const char *const *set,
                   size_t sets, mete__errors *errors)
{
    mete__config *config = mete__config_new(name);
    char *copy = strndup(text, length);
    size_t before = errors->count;
    scan to = {.errors = errors};
    if (config && copy) {
        if (length > MOST_BYTES)
            mete__errors_add(errors, "%s: is larger than a config may be", name);
        else
            scan_text(&to, name, text, length);
        if (errors->count == before)
            config->root = parse(config, name, copy, errors);
    }
    free(copy);
    return config ? finish(config, set, sets, before, errors) : NULL;
}

/* ---- presets --------------------------------------------------------------------------------- */

mete__value *
mete__config_preset(mete__config *config, const char *folder, const char *name,
                    const mete__value *over, mete__errors *errors)
{
    char *path = mete__conf_find(config, folder, name);
    if (!path) {
        char *names = mete__conf_names(config, folder);
        char *near = names ? mete__nearest(name, names) : NULL;
        mete__errors_add(errors, "%s:%d: no %s is called '%s'%s%s%s; there are: %s", over->file,
                         over->line, folder, name, near ? "; did you mean '" : "", near ? near : "",
                         near ? "'?" : "", names && *names ? names : "none");
        free(names);
        free(near);
        return NULL;
    }
    size_t before = errors->count;
    scan to = {.errors = errors};
    scan_file(&to, path, over->file, over->line);
    mete__value *preset = errors->count == before ? parse(config, path, NULL, errors) : NULL;
    free(path);
    if (!preset)
        return NULL;
    mete__value_merge(config, preset, over);
    preset->file = over->file;
    preset->line = over->line;
    mete__value_paths(config, preset, over->path);
    return preset;
}
