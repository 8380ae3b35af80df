/* checkpoint.c - a checkpoint in memory: named arrays and short text facts.
 *
 * Names are unique; arrays are copies. Files of it are store.c's affair.
 */
#include "run/checkpoint.h"

#include "run/checkpoint_file.h"

#include <stdlib.h>
#include <string.h>

static int
no_memory(mete_error *err)
{
    return mete_error_set(err, METE_ENOMEM, "out of memory for a checkpoint");
}

mete__checkpoint *
mete__checkpoint_new(void)
{
    return calloc(1, sizeof(mete__checkpoint));
}

void
mete__checkpoint_free(mete__checkpoint *checkpoint)
{
    if (!checkpoint)
        return;
    for (size_t i = 0; i < checkpoint->arrays; i++) {
        free(checkpoint->array[i].name);
        free(checkpoint->array[i].data);
    }
    for (size_t i = 0; i < checkpoint->facts; i++) {
        free(checkpoint->fact[i].key);
        free(checkpoint->fact[i].value);
    }
    free(checkpoint->array);
    free(checkpoint->fact);
    free(checkpoint);
}

/* Room for one more of `size` bytes; the room doubles. */
static void *
grown(void *items, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return items;
    size_t more = *room ? 2 * *room : 32;
    void *wider = realloc(items, more * size);
    if (wider)
        *room = more;
    return wider;
}

static const mete__array *
find(const mete__checkpoint *checkpoint, const char *name)
{
    for (size_t i = 0; i < checkpoint->arrays; i++)
        if (strcmp(checkpoint->array[i].name, name) == 0)
            return &checkpoint->array[i];
    return NULL;
}

int
mete__checkpoint_add(mete__checkpoint *checkpoint, const char *name, mete_type element,
                     size_t count, const void *data, mete_error *err)
{
    size_t size = mete__element_size(element), bytes;
    mete_text text = mete_text_from(name);
    if (!size)
        return mete_error_set(err, METE_EINVAL, "array \"%s\": element type %d cannot be saved",
                              name, (int)element);
    if (!text.length || mete_utf8_check(text) != text.length || strcmp(name, "__metadata__") == 0)
        return mete_error_set(err, METE_EINVAL, "array \"%s\": this name cannot be saved", name);
    if (find(checkpoint, name))
        return mete_error_set(err, METE_EINVAL, "array \"%s\" was saved twice", name);
    if (__builtin_mul_overflow(count, size, &bytes))
        return mete_error_set(err, METE_EINVAL, "array \"%s\": %zu elements are too many", name,
                              count);
    void *wider =
        grown(checkpoint->array, checkpoint->arrays, &checkpoint->array_room, sizeof(mete__array));
    if (!wider)
        return no_memory(err);
    checkpoint->array = wider;
    mete__array array = {.name = strdup(name), .element = element, .count = count};
    array.data = malloc(bytes ? bytes : 1);
    if (!array.name || !array.data) {
        free(array.name);
        free(array.data);
        return no_memory(err);
    }
    if (bytes)
        memcpy(array.data, data, bytes);
    checkpoint->array[checkpoint->arrays++] = array;
    return METE_OK;
}

const void *
mete__checkpoint_get(const mete__checkpoint *checkpoint, const char *name, mete_type element,
                     size_t *count)
{
    const mete__array *array = find(checkpoint, name);
    if (!array || array->element != element || (*count != SIZE_MAX && *count != array->count))
        return NULL;
    *count = array->count;
    return array->data;
}

void *
mete__checkpoint_edit(mete__checkpoint *checkpoint, const char *name, mete_type element,
                      size_t count)
{
    const mete__array *array = find(checkpoint, name);
    return array && array->element == element && array->count == count ? array->data : NULL;
}

/* Is what `a` has under `prefix` in `b` too? */
static bool
within(const mete__checkpoint *a, const mete__checkpoint *b, const char *prefix)
{
    bool same = true;
    for (size_t i = 0; i < a->arrays && same; i++) {
        const mete__array *array = &a->array[i];
        size_t length = strlen(array->name);
        if (strncmp(array->name, prefix, strlen(prefix)) != 0 || length < 6 ||
            strcmp(array->name + length - 6, "/bytes") != 0)
            continue;
        const mete__array *other = find(b, array->name);
        same = other && other->element == METE_U8 && other->count == array->count &&
               (!array->count || memcmp(other->data, array->data, array->count) == 0);
    }
    return same;
}

bool
mete__checkpoint_same(const mete__checkpoint *a, const mete__checkpoint *b, const char *prefix)
{
    return within(a, b, prefix) && within(b, a, prefix);
}

int
mete__layouts_agree(const char *then, const char *here, mete_error *err)
{
    size_t same = 0, item = 0;
    while (then[same] && then[same] == here[same]) {
        same++;
        if (then[same] == ',' && here[same] == ',')
            item = same + 2;
    }
    if (then[same] == here[same])
        return METE_OK;
    then += item;
    here += item;
    return mete_error_set(err, METE_EDATA,
                          "the policies' layouts differ: it has \"%.*s\" where here is \"%.*s\"",
                          (int)strcspn(then, ","), then, (int)strcspn(here, ","), here);
}

int
mete__checkpoint_note(mete__checkpoint *checkpoint, const char *key, const char *value,
                      mete_error *err)
{
    char *copy = strdup(value);
    if (!copy)
        return no_memory(err);
    for (size_t i = 0; i < checkpoint->facts; i++)
        if (strcmp(checkpoint->fact[i].key, key) == 0) {
            free(checkpoint->fact[i].value);
            checkpoint->fact[i].value = copy;
            return METE_OK;
        }
    void *wider =
        grown(checkpoint->fact, checkpoint->facts, &checkpoint->fact_room, sizeof(mete__fact));
    char *name = wider ? strdup(key) : NULL;
    if (wider)
        checkpoint->fact = wider;
    if (!name) {
        free(copy);
        return no_memory(err);
    }
    checkpoint->fact[checkpoint->facts++] = (mete__fact){name, copy};
    return METE_OK;
}

const char *
mete__checkpoint_noted(const mete__checkpoint *checkpoint, const char *key)
{
    for (size_t i = 0; i < checkpoint->facts; i++)
        if (strcmp(checkpoint->fact[i].key, key) == 0)
            return checkpoint->fact[i].value;
    return NULL;
}
