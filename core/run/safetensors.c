/* safetensors.c - writes and reads safetensors headers.
 *
 * Untrusted input: a header is believed only after every number in it has been checked against the
 * file's length; places must tile the data exactly, so arrays never overlap and no byte is hidden.
 * Only the element types the project and published models use are read; others are refused by name.
 */
#include "run/safetensors.h"

#include <inttypes.h>
#include <stdbool.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *word;
    mete_type element;
    size_t size;
} types[] = {{"F32", METE_F32, 4}, {"F64", METE_F64, 8},  {"I32", METE_I32, 4},
             {"I64", METE_I64, 8}, {"F16", METE__F16, 2}, {"BF16", METE__BF16, 2},
             {"U8", METE_U8, 1}};
#define TYPES (sizeof types / sizeof *types)

size_t
mete__element_size(mete_type element)
{
    for (size_t i = 0; i < TYPES; i++)
        if (types[i].element == element)
            return types[i].size;
    return 0;
}

static const char *
type_word(mete_type element)
{
    for (size_t i = 0; i < TYPES; i++)
        if (types[i].element == element)
            return types[i].word;
    return NULL;
}

/* Widest first, else as given: a stable insertion over the five sizes there are. */
static void
place(mete__array *array, size_t count, size_t *order)
{
    size_t at = 0, n = 0;
    for (size_t size = 8; size >= 1; size /= 2)
        for (size_t i = 0; i < count; i++)
            if (mete__element_size(array[i].element) == size) {
                array[i].begin = at;
                at += array[i].count * size;
                array[i].end = at;
                order[n++] = i;
            }
}

int
mete__tensors_header(mete__array *array, size_t count, const mete__fact *fact, size_t facts,
                     size_t *order, mete_buffer *out)
{
    size_t start = out->length;
    unsigned char length[8] = {0};
    place(array, count, order);
    mete_buffer_append(out, length, 8);
    mete_buffer_byte(out, '{');
    if (facts) {
        mete_buffer_string(out, "\"__metadata__\":{");
        for (size_t i = 0; i < facts; i++) {
            if (i)
                mete_buffer_byte(out, ',');
            mete_json_put_text(out, mete_text_from(fact[i].key));
            mete_buffer_byte(out, ':');
            mete_json_put_text(out, mete_text_from(fact[i].value));
        }
        mete_buffer_byte(out, '}');
    }
    for (size_t i = 0; i < count; i++) {
        const mete__array *a = &array[order[i]];
        if (i || facts)
            mete_buffer_byte(out, ',');
        mete_json_put_text(out, mete_text_from(a->name));
        mete_buffer_format(out, ":{\"dtype\":\"%s\",\"shape\":[", type_word(a->element));
        for (size_t d = 0; d < a->dimensions; d++)
            mete_buffer_format(out, d ? ",%zu" : "%zu", a->shape[d]);
        if (!a->dimensions)
            mete_buffer_format(out, "%zu", a->count);
        mete_buffer_format(out, "],\"data_offsets\":[%zu,%zu]}", a->begin, a->end);
    }
    mete_buffer_byte(out, '}');
    while ((out->length - start) % 8)
        mete_buffer_byte(out, ' ');
    if (out->status)
        return out->status;
    uint64_t n = out->length - start - 8;
    for (int i = 0; i < 8; i++)
        out->data[start + (size_t)i] = (char)(n >> (8 * i) & 255);
    return METE_OK;
}

/* A count that a double holds exactly, and that a file can hold at all. */
static bool
whole(const mete_json *value, size_t *out)
{
    double number = mete_json_number(value);
    if (!(number >= 0 && number <= 9007199254740992.0) || number != floor(number))
        return false;
    *out = (size_t)number;
    return true;
}

static char *
copy_text(mete_text text)
{
    char *copy = malloc(text.length + 1);
    if (!copy)
        return NULL;
    if (text.length)
        memcpy(copy, text.data, text.length);
    copy[text.length] = '\0';
    return copy;
}

static int
read_facts(const mete_json *group, mete__tensors *out, mete_error *err)
{
    if (mete_json_kind(group) != METE_JSON_OBJECT)
        return mete_error_set(err, METE_EDATA, "\"__metadata__\" is not an object of strings");
    size_t count = mete_json_count(group);
    out->fact = calloc(count ? count : 1, sizeof *out->fact);
    if (!out->fact)
        return mete_error_set(err, METE_ENOMEM, "out of memory");
    for (const mete_json *m = mete_json_first(group); m; m = mete_json_next(m)) {
        if (mete_json_kind(m) != METE_JSON_STRING)
            return mete_error_set(err, METE_EDATA, "\"__metadata__\" is not an object of strings");
        mete__fact *fact = &out->fact[out->facts++];
        fact->key = copy_text(mete_json_key(m));
        fact->value = copy_text(mete_json_text(m));
        if (!fact->key || !fact->value)
            return mete_error_set(err, METE_ENOMEM, "out of memory");
    }
    return METE_OK;
}

static int
read_shape(const mete_json *shape, mete__array *array, mete_error *err)
{
    if (mete_json_kind(shape) != METE_JSON_ARRAY || mete_json_count(shape) > METE__DIMENSIONS_MAX)
        return mete_error_set(err, METE_EDATA,
                              "array \"%s\": shape is not a list of up to %d sizes", array->name,
                              METE__DIMENSIONS_MAX);
    array->count = 1;
    for (const mete_json *s = mete_json_first(shape); s; s = mete_json_next(s)) {
        size_t n;
        if (!whole(s, &n) || __builtin_mul_overflow(array->count, n, &array->count))
            return mete_error_set(err, METE_EDATA, "array \"%s\": a size of its shape is no count",
                                  array->name);
        array->shape[array->dimensions++] = n;
    }
    return METE_OK;
}

static int
read_array(const mete_json *m, size_t room, mete__array *array, mete_error *err)
{
    array->name = copy_text(mete_json_key(m));
    if (!array->name)
        return mete_error_set(err, METE_ENOMEM, "out of memory");
    if (mete_json_kind(m) != METE_JSON_OBJECT)
        return mete_error_set(err, METE_EDATA, "array \"%s\" is not an object", array->name);
    mete_text word = mete_json_text(mete_json_get(m, "dtype"));
    size_t type = 0, bytes;
    while (type < TYPES && !mete_text_is(word, types[type].word))
        type++;
    if (type == TYPES)
        return mete_error_set(err, METE_EDATA,
                              "array \"%s\": dtype \"%.*s\" is none of F32 F64 F16 BF16 I32 I64 U8",
                              array->name, (int)(word.length < 40 ? word.length : 40), word.data);
    array->element = types[type].element;
    int rc = read_shape(mete_json_get(m, "shape"), array, err);
    if (rc)
        return rc;
    const mete_json *place = mete_json_get(m, "data_offsets");
    if (mete_json_kind(place) != METE_JSON_ARRAY || mete_json_count(place) != 2 ||
        !whole(mete_json_at(place, 0), &array->begin) ||
        !whole(mete_json_at(place, 1), &array->end))
        return mete_error_set(err, METE_EDATA, "array \"%s\": data_offsets is not [begin, end]",
                              array->name);
    if (array->begin > array->end || array->end > room)
        return mete_error_set(err, METE_EDATA,
                              "array \"%s\": bytes %zu to %zu are not within the %zu of the file",
                              array->name, array->begin, array->end, room);
    if (__builtin_mul_overflow(array->count, types[type].size, &bytes) ||
        bytes != array->end - array->begin)
        return mete_error_set(err, METE_EDATA,
                              "array \"%s\": its shape and dtype do not make the %zu bytes it has",
                              array->name, array->end - array->begin);
    return METE_OK;
}

static int
by_place(const void *a, const void *b)
{
    const mete__array *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static int
read_all(const mete_json *root, size_t room, mete__tensors *out, mete_error *err)
{
    size_t count = mete_json_count(root);
    if (mete_json_kind(root) != METE_JSON_OBJECT)
        return mete_error_set(err, METE_EDATA, "the header is not an object");
    if (count > METE__TENSORS_MAX)
        return mete_error_set(err, METE_EDATA, "%zu arrays are more than the %zu allowed", count,
                              METE__TENSORS_MAX);
    out->array = calloc(count ? count : 1, sizeof *out->array);
    if (!out->array)
        return mete_error_set(err, METE_ENOMEM, "out of memory");
    for (const mete_json *m = mete_json_first(root); m; m = mete_json_next(m)) {
        int rc = mete_text_is(mete_json_key(m), "__metadata__")
                     ? read_facts(m, out, err)
                     : read_array(m, room, &out->array[out->arrays++], err);
        if (rc)
            return rc;
    }
    qsort(out->array, out->arrays, sizeof *out->array, by_place);
    size_t at = 0;
    for (size_t i = 0; i < out->arrays; i++) {
        if (out->array[i].begin != at)
            return mete_error_set(err, METE_EDATA,
                                  "array \"%s\": it begins at byte %zu, not where the one before "
                                  "ends (%zu)",
                                  out->array[i].name, out->array[i].begin, at);
        at = out->array[i].end;
    }
    if (at != room)
        return mete_error_set(err, METE_EDATA, "the arrays end at byte %zu of %zu", at, room);
    return METE_OK;
}

int
mete__tensors_parse(const void *bytes, size_t length, mete__tensors *out, mete_error *err)
{
    const unsigned char *at = bytes;
    uint64_t header = 0;
    *out = (mete__tensors){0};
    if (length < 8)
        return mete_error_set(err, METE_EDATA, "%zu bytes are too few for a safetensors file",
                              length);
    for (int i = 0; i < 8; i++)
        header |= (uint64_t)at[i] << (8 * i);
    if (header > METE__TENSORS_HEADER_MAX || header > length - 8)
        return mete_error_set(err, METE_EDATA,
                              "a header of %" PRIu64 " bytes does not fit a file of %zu", header,
                              length);
    if (header == 0 || at[8] != '{')
        return mete_error_set(err, METE_EDATA, "the header does not begin with {");
    size_t end = (size_t)header;
    while (end && at[8 + end - 1] == ' ')
        end--;
    mete_text text = {(const char *)at + 8, end};
    mete_error why = {0};
    mete_json *root = mete_json_parse(text, &why);
    if (!root)
        return mete_error_set(err, why.code == METE_ENOMEM ? METE_ENOMEM : METE_EDATA,
                              "the header: %s", why.message);
    out->data = 8 + (size_t)header;
    int rc = read_all(root, length - out->data, out, err);
    mete_json_free(root);
    if (rc) {
        mete__tensors_free(out);
        return rc;
    }
    for (size_t i = 0; i < out->arrays; i++)
        out->array[i].data = (char *)(uintptr_t)bytes + out->data + out->array[i].begin;
    return METE_OK;
}

void
mete__tensors_free(mete__tensors *tensors)
{
    for (size_t i = 0; i < tensors->arrays; i++)
        free(tensors->array[i].name);
    for (size_t i = 0; i < tensors->facts; i++) {
        free(tensors->fact[i].key);
        free(tensors->fact[i].value);
    }
    free(tensors->array);
    free(tensors->fact);
    *tensors = (mete__tensors){0};
}
