/* json.c - JSON trees, and JSON writing. The only caller of cJSON.
 *
 * cJSON alone accepts trailing text, bad UTF-8, raw control characters, 0123, 1e999 and repeated
 * keys, cuts strings at \u0000 and numbers at 63 bytes, and compares keys without case. So every
 * text is first validated whole by the strict scanner, overlong numbers are rewritten, and lookups
 * are by exact key. A mete_json is a cJSON node.
 */
#include <math.h>
#include <stdlib.h>

#include <cjson/cJSON.h>

#include "text/json.h"
#include "text/scan.h"

static const cJSON *
node(const mete_json *value)
{
    return (const cJSON *)(const void *)value;
}

static const mete_json *
wrap(const cJSON *value)
{
    return (const mete_json *)(const void *)value;
}

/* A copy of a valid document in which each number cJSON would cut is written short. */
static char *
shorten_numbers(mete_text text)
{
    char *copy = malloc(text.length + 1);
    if (!copy)
        return NULL;
    memcpy(copy, text.data, text.length);
    copy[text.length] = '\0';
    for (size_t at = 0; at < text.length;) {
        if (copy[at] == '"') {
            for (at++; at < text.length && copy[at] != '"'; at++)
                at += copy[at] == '\\';
            at++;
            continue;
        }
        size_t length = strspn(copy + at, "+-.0123456789eE");
        /* Only numbers are that long outside strings: "e" of true and false ends at once. */
        if (length > METE__NUMBER_SHORT) {
            char out[32];
            size_t n = mete__number_write(out, mete__number_read(copy + at, length));
            memset(copy + at, ' ', length);
            memcpy(copy + at, out, n);
        }
        at += length ? length : 1;
    }
    return copy;
}

/* Validates; on success says whether a number is too long for cJSON. */
static int
check(mete_text text, bool *long_number, mete_error *err)
{
    int status = METE_OK;
    mete_buffer decoded = mete_buffer_make(0);
    struct mete__scan *scan = calloc(1, sizeof *scan);
    if (!scan)
        return mete_error_set(err, METE_ENOMEM, "out of memory");
    if (!mete__scan_start(scan, text, &decoded) || !mete__scan_document(scan))
        status = mete__scan_error(scan, err);
    *long_number = scan->long_number;
    mete__scan_free(scan);
    mete_buffer_free(&decoded);
    return status;
}

int
mete__json_check(mete_text text, mete_error *err)
{
    bool long_number;
    if (!text.data)
        text = mete_text_from("");
    return check(text, &long_number, err);
}

mete_json *
mete_json_parse(mete_text text, mete_error *err)
{
    bool long_number = false;
    char *copy = NULL;
    if (!text.data)
        text = mete_text_from("");
    if (check(text, &long_number, err))
        return NULL;
    if (long_number && !(copy = shorten_numbers(text))) {
        mete_error_set(err, METE_ENOMEM, "out of memory");
        return NULL;
    }
    cJSON *root = cJSON_ParseWithLengthOpts(copy ? copy : text.data, text.length, NULL, 0);
    free(copy);
    if (!root)
        mete_error_set(err, METE_ENOMEM, "out of memory for a JSON text of %zu bytes", text.length);
    return (mete_json *)(void *)root;
}

void
mete_json_free(mete_json *root)
{
    cJSON_Delete((cJSON *)(void *)root);
}

mete_json_type
mete_json_kind(const mete_json *value)
{
    if (!value)
        return METE_JSON_NONE;
    switch (node(value)->type & 0xff) {
    case cJSON_NULL:
        return METE_JSON_NULL;
    case cJSON_False:
    case cJSON_True:
        return METE_JSON_BOOL;
    case cJSON_Number:
        return METE_JSON_NUMBER;
    case cJSON_String:
        return METE_JSON_STRING;
    case cJSON_Array:
        return METE_JSON_ARRAY;
    case cJSON_Object:
        return METE_JSON_OBJECT;
    default:
        return METE_JSON_NONE;
    }
}

const mete_json *
mete_json_get(const mete_json *object, const char *key)
{
    if (mete_json_kind(object) != METE_JSON_OBJECT || !key)
        return NULL;
    for (const cJSON *item = node(object)->child; item; item = item->next)
        if (item->string && strcmp(item->string, key) == 0)
            return wrap(item);
    return NULL;
}

const mete_json *
mete_json_first(const mete_json *value)
{
    mete_json_type type = mete_json_kind(value);
    bool holds = type == METE_JSON_ARRAY || type == METE_JSON_OBJECT;
    return holds ? wrap(node(value)->child) : NULL;
}

const mete_json *
mete_json_next(const mete_json *value)
{
    return value ? wrap(node(value)->next) : NULL;
}

size_t
mete_json_count(const mete_json *value)
{
    size_t count = 0;
    for (const mete_json *item = mete_json_first(value); item; item = mete_json_next(item))
        count++;
    return count;
}

const mete_json *
mete_json_at(const mete_json *value, size_t index)
{
    const mete_json *item = mete_json_first(value);
    while (item && index-- > 0)
        item = mete_json_next(item);
    return item;
}

mete_text
mete_json_key(const mete_json *member)
{
    const char *key = member ? node(member)->string : NULL;
    return mete_text_from(key ? key : "");
}

mete_text
mete_json_text(const mete_json *string)
{
    if (mete_json_kind(string) != METE_JSON_STRING)
        return mete_text_from("");
    mete_text text = {node(string)->valuestring, strlen(node(string)->valuestring)};
    return text;
}

double
mete_json_number(const mete_json *number)
{
    return mete_json_kind(number) == METE_JSON_NUMBER ? node(number)->valuedouble : NAN;
}

int
mete_json_bool(const mete_json *value)
{
    return value && (node(value)->type & 0xff) == cJSON_True;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Bytes that stand for themselves in a JSON string. */
static size_t
plain_run(const unsigned char *p, size_t left)
{
    size_t at = 0;
    for (; at + 8 <= left; at += 8) {
        uint64_t word, ones = UINT64_C(0x0101010101010101), high = ones << 7;
        memcpy(&word, p + at, 8);
        uint64_t quote = word ^ ones * '"', slash = word ^ ones * '\\';
        /* The usual trick: bit 7 of a byte of (x - n) & ~x is set where the byte is below n. */
        uint64_t stop = ((word - ones * 0x20) & ~word) | ((quote - ones) & ~quote) |
                        ((slash - ones) & ~slash) | word;
        if (stop & high)
            break;
    }
    while (at < left && p[at] >= 0x20 && p[at] < 0x80 && p[at] != '"' && p[at] != '\\')
        at++;
    return at;
}

static int
put_escape(mete_buffer *out, unsigned char byte)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt", hex[] = "0123456789abcdef";
    const char *found = byte ? strchr(from, byte) : NULL;
    char escape[6] = {'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]};
    if (!found)
        return mete_buffer_append(out, escape, 6);
    escape[1] = to[found - from];
    return mete_buffer_append(out, escape, 2);
}

int
mete_json_put_text(mete_buffer *out, mete_text text)
{
    const unsigned char *p = (const unsigned char *)text.data;
    mete_buffer_reserve(out, text.length + 2);
    mete_buffer_byte(out, '"');
    for (size_t at = 0; at < text.length && !out->status;) {
        size_t run = plain_run(p + at, text.length - at);
        if (run)
            mete_buffer_append(out, p + at, run);
        at += run;
        if (at == text.length)
            break;
        if (p[at] < 0x80) {
            put_escape(out, p[at++]);
        } else {
            mete_buffer_code(out, mete_utf8_next(text, &at));
        }
    }
    return mete_buffer_byte(out, '"');
}

int
mete_json_put_number(mete_buffer *out, double number)
{
    char digits[40];
    return mete_buffer_append(out, digits, mete__number_write(digits, number));
}

static int
put_members(mete_buffer *out, const mete_json *value, bool object)
{
    mete_buffer_byte(out, object ? '{' : '[');
    for (const mete_json *item = mete_json_first(value); item; item = mete_json_next(item)) {
        if (object) {
            mete_json_put_text(out, mete_json_key(item));
            mete_buffer_byte(out, ':');
        }
        mete_json_put(out, item);
        if (mete_json_next(item))
            mete_buffer_byte(out, ',');
    }
    return mete_buffer_byte(out, object ? '}' : ']');
}

/* The end of the object that begins at `from`, brackets matched outside of strings; 0: none. */
static size_t
object_end(mete_text text, size_t from)
{
    int depth = 0;
    bool quoted = false;
    for (size_t i = from; i < text.length && depth <= METE__JSON_DEPTH; i++) {
        char c = text.data[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && c == '{')
            depth++;
        else if (!quoted && c == '}' && --depth == 0)
            return i + 1;
    }
    return 0;
}

mete_json *
mete_json_find(mete_text text, size_t *position)
{
    for (size_t i = *position; i < text.length; i++) {
        size_t end = text.data[i] == '{' ? object_end(text, i) : 0;
        mete_json *object = end ? mete_json_parse(mete_text_slice(text, i, end), NULL) : NULL;
        if (object) {
            *position = end;
            return object;
        }
    }
    *position = text.length;
    return NULL;
}

/* As deep as the parser allows, so the recursion is bounded. */
int
mete_json_put(mete_buffer *out, const mete_json *value)
{
    switch (mete_json_kind(value)) {
    case METE_JSON_BOOL:
        return mete_buffer_string(out, mete_json_bool(value) ? "true" : "false");
    case METE_JSON_NUMBER:
        return mete_json_put_number(out, mete_json_number(value));
    case METE_JSON_STRING:
        return mete_json_put_text(out, mete_json_text(value));
    case METE_JSON_ARRAY:
        return put_members(out, value, false);
    case METE_JSON_OBJECT:
        return put_members(out, value, true);
    case METE_JSON_NULL:
    case METE_JSON_NONE:
        break;
    }
    return mete_buffer_string(out, "null");
}
