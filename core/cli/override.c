/* override.c - a plugin's or preset's name in place of a group. */
#include "cli/override.h"

#include <ctype.h>
#include <mete/text.h>
#include <stdlib.h>
#include <string.h>

/* What takes a group's place keeps its name and weight where it gives none of its own. */
static char *
replace(mete__value *group, const char *word, const char *place, mete__errors *errors)
{
    static const char *const kept[] = {"name", "weight"};
    const char *value = strchr(word, '=') + 1;
    mete_buffer inner = mete_buffer_make(0), text = mete_buffer_make(0);
    if (*value == '{')
        mete_buffer_append(&inner, value + 1, strlen(value) - 1);
    else
        mete_buffer_format(&inner, " use = \"%s\"; }", value);
    mete_buffer_format(&text, "v = {%.*s;", (int)inner.length, inner.data);
    mete__config *parsed =
        mete__config_parse(place, text.data ? text.data : "", text.length, NULL, 0, errors);
    mete__value *given = parsed ? mete__value_get(mete__config_root(parsed), "v") : NULL;
    mete_buffer_clear(&text);
    mete_buffer_append(&text, word, (size_t)(value - word));
    mete_buffer_byte(&text, '{');
    for (int i = 0; given && i < 2; i++) {
        mete__value *member = mete__value_get(group, kept[i]);
        char *written =
            member && !mete__value_get(given, kept[i]) ? mete__config_write(member) : NULL;
        if (written)
            mete_buffer_format(&text, " %s = %s;", kept[i], written);
        free(written);
    }
    mete_buffer_append(&text, inner.data, inner.length);
    char *out = given && !inner.status && !text.status ? strndup(text.data, text.length) : NULL;
    mete__config_free(parsed);
    mete_buffer_free(&inner);
    mete_buffer_free(&text);
    return out;
}

static bool
is_name(const char *text)
{
    for (const char *c = text; *c; c++)
        if (!isalnum((unsigned char)*c) && *c != '_' && *c != '-')
            return false;
    return isalpha((unsigned char)*text);
}

char *
mete__override(mete__value *root, const char *word, const char *place, mete__errors *errors)
{
    size_t before = errors->count;
    const char *equals = strchr(word, '=');
    char *path = strndup(word, (size_t)(equals - word)), *out = NULL;
    mete__value *there = path ? mete__value_find(root, path) : NULL;
    bool group = there && there->kind == METE__GROUP && (equals[1] == '{' || is_name(equals + 1));
    if (path)
        out = group ? replace(there, word, place, errors) : strdup(word);
    free(path);
    if (!out && errors->count == before)
        mete__errors_add(errors, "out of memory");
    return out;
}
