/* scan.c - the strict JSON scanner.
 *
 * One pass validates all of RFC 8259's grammar, UTF-8, depth, duplicate keys, escapes and number
 * range. Strings are scanned 16 bytes at a time; only those with
 * bytes from 0x80 are checked as UTF-8, and only those with escapes are copied. Keys of open
 * objects lie on one stack: an object's keys start at its base. Few keys are compared one by one;
 * an object of many keys goes into a hash table, so no input makes it quadratic.
 *
 * Invariant: scan->at never passes scan->end, and the buffer of decoded strings has room for the
 * whole text from the start, so they never move.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/json.h"
#include "text/scan.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { FEW_KEYS = 24 };

struct entry {
    uint64_t hash;
    uint32_t epoch; /* which parse, so that the table is never cleared */
    uint32_t index; /* in scan->key */
};

/* Records the first fault; always false, for `return fail(...)`. */
static bool METE_PRINTF(3, 4) fail(struct mete__scan *scan, const char *at, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(scan->reason, sizeof scan->reason, format, list);
    va_end(list);
    scan->at = at;
    scan->status = METE_EDATA;
    return false;
}

bool
mete__scan_memory(struct mete__scan *scan)
{
    scan->status = METE_ENOMEM;
    snprintf(scan->reason, sizeof scan->reason, "out of memory");
    return false;
}

/* What stands at `at`, for a sentence. */
static bool
fail_unexpected(struct mete__scan *scan, const char *wanted)
{
    const char *at = scan->at;
    if (at >= scan->end)
        return fail(scan, at, "the text ends where %s should be", wanted);
    unsigned char byte = (unsigned char)*at;
    if (byte > ' ' && byte < 0x7f)
        return fail(scan, at, "found '%c' where %s should be", byte, wanted);
    return fail(scan, at, "found byte 0x%02x where %s should be", byte, wanted);
}

static inline void
skip_space(struct mete__scan *scan)
{
    const char *p = scan->at, *end = scan->end;
    while (p < end && (unsigned char)*p <= ' ' &&
           (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    scan->at = p;
}

/* ---- strings --------------------------------------------------------------------------------- */

/* The first quote, backslash or control character at or after p; `high` gains bit 7 of what was
 * seen (and perhaps of a few bytes after the stop). */
static inline const char *
plain_end(const char *p, const char *end, unsigned *high)
{
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\');
    const __m128i control = _mm_set1_epi8(0x1f);
    unsigned seen = 0;
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i stop = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash));
        stop = _mm_or_si128(stop, _mm_cmpeq_epi8(_mm_min_epu8(v, control), v));
        unsigned mask = (unsigned)_mm_movemask_epi8(stop);
        seen |= (unsigned)_mm_movemask_epi8(v);
        if (mask) {
            *high |= seen;
            return p + __builtin_ctz(mask);
        }
        p += 16;
    }
    *high |= seen;
#endif
    for (; p < end; p++) {
        unsigned char byte = (unsigned char)*p;
        if (byte == '"' || byte == '\\' || byte < 0x20)
            break;
        *high |= byte & 0x80u;
    }
    return p;
}

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool
hex_four(struct mete__scan *scan, const char *p, uint32_t *code)
{
    *code = 0;
    for (int i = 0; i < 4; i++) {
        int digit = p + i < scan->end ? hex_digit(p[i]) : -1;
        if (digit < 0)
            return fail(scan, p + i < scan->end ? p + i : scan->end,
                        "\\u must be followed by four hexadecimal digits");
        *code = *code << 4 | (uint32_t)digit;
    }
    return true;
}

static char *
put_code(char *out, uint32_t code)
{
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xc0 | code >> 6);
        *out++ = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *out++ = (char)(0xe0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    } else {
        *out++ = (char)(0xf0 | code >> 18);
        *out++ = (char)(0x80 | (code >> 12 & 0x3f));
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    }
    return out;
}

/* \uXXXX at p (after the u), with its second half where it needs one. */
static bool
unicode_escape(struct mete__scan *scan, const char **p, uint32_t *code)
{
    const char *start = *p - 2;
    uint32_t low;
    if (!hex_four(scan, *p, code))
        return false;
    *p += 4;
    if (*code == 0)
        return fail(scan, start, "\\u0000 is not allowed");
    if (*code >= 0xdc00 && *code <= 0xdfff)
        return fail(scan, start, "\\u%04x is the second half of a surrogate pair without a first",
                    *code);
    if (*code < 0xd800 || *code > 0xdbff)
        return true;
    if (scan->end - *p < 2 || (*p)[0] != '\\' || (*p)[1] != 'u')
        return fail(scan, start, "\\u%04x is the first half of a surrogate pair without a second",
                    *code);
    if (!hex_four(scan, *p + 2, &low))
        return false;
    if (low < 0xdc00 || low > 0xdfff)
        return fail(scan, start, "\\u%04x is the first half of a surrogate pair without a second",
                    *code);
    *p += 6;
    *code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
    return true;
}

/* One escape at *p, which is its backslash; the decoded bytes go to *out unless it is NULL. */
static bool
escape(struct mete__scan *scan, const char **p, char **out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *at = *p;
    if (scan->end - at < 2)
        return fail(scan, scan->end, "the text ends inside a string");
    if (at[1] == 'u') {
        uint32_t code;
        const char *next = at + 2;
        if (!unicode_escape(scan, &next, &code))
            return false;
        if (*out)
            *out = put_code(*out, code);
        *p = next;
        return true;
    }
    const char *found = at[1] ? strchr(from, at[1]) : NULL;
    if (!found)
        return fail(scan, at, "a backslash must be followed by one of \" \\ / b f n r t u");
    if (*out)
        *(*out)++ = to[found - from];
    *p = at + 2;
    return true;
}

/* The rest of a string that has an escape at p; its body began at `body`. */
static bool
string_decode(struct mete__scan *scan, const char *body, const char *p, unsigned high,
              mete_text *text, char *out)
{
    char *start = out;
    const char *from = body;
    for (;;) {
        if (out && p > from) {
            memcpy(out, from, (size_t)(p - from));
            out += p - from;
        }
        if (p >= scan->end)
            return fail(scan, p, "the text ends inside a string");
        if (*p == '"')
            break;
        if (*p != '\\')
            return fail(scan, p, "a raw control character 0x%02x in a string must be escaped",
                        (unsigned char)*p);
        if (!escape(scan, &p, &out))
            return false;
        from = p;
        p = plain_end(p, scan->end, &high);
    }
    if (high) {
        mete_text raw = {body, (size_t)(p - body)};
        size_t good = mete_utf8_check(raw);
        if (good < raw.length)
            return fail(scan, body + good, "byte 0x%02x is not UTF-8", (unsigned char)body[good]);
    }
    scan->at = p + 1;
    if (text) {
        text->data = start;
        text->length = (size_t)(out - start);
    }
    return true;
}

/* The string at scan->at, which is its quote. With `text`: its decoded bytes, in the source when
 * nothing was escaped, else at scan->out, which moves. */
static inline bool
string(struct mete__scan *scan, mete_text *text)
{
    const char *body = scan->at + 1;
    unsigned high = 0;
    const char *p = plain_end(body, scan->end, &high);
    if (p < scan->end && *p == '"') {
        mete_text raw = {body, (size_t)(p - body)};
        if (high) {
            size_t good = mete_utf8_check(raw);
            if (good < raw.length)
                return fail(scan, body + good, "byte 0x%02x is not UTF-8",
                            (unsigned char)body[good]);
        }
        if (text)
            *text = raw;
        scan->at = p + 1;
        return true;
    }
    if (!string_decode(scan, body, p, high, text, text ? scan->out : NULL))
        return false;
    if (text)
        scan->out += text->length;
    return true;
}

/* ---- numbers and words ----------------------------------------------------------------------- */

static inline bool
is_digit(const char *p, const char *end)
{
    return p < end && *p >= '0' && *p <= '9';
}

static bool
number(struct mete__scan *scan, double *value)
{
    const char *start = scan->at, *p = start, *end = scan->end;
    bool exponent = false;
    if (p < end && *p == '-')
        p++;
    if (!is_digit(p, end)) {
        scan->at = p;
        return fail_unexpected(scan, "a digit");
    }
    if (*p++ == '0') {
        if (is_digit(p, end))
            return fail(scan, p, "a number must not start with 0");
    } else {
        while (is_digit(p, end))
            p++;
    }
    if (p < end && *p == '.') {
        scan->at = ++p;
        if (!is_digit(p, end))
            return fail_unexpected(scan, "a digit after the point");
        while (is_digit(p, end))
            p++;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        exponent = true;
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        scan->at = p;
        if (!is_digit(p, end))
            return fail_unexpected(scan, "a digit of the exponent");
        while (is_digit(p, end))
            p++;
    }
    size_t length = (size_t)(p - start);
    scan->at = p;
    scan->long_number = scan->long_number || length > METE__NUMBER_SHORT;
    /* Only a number with an exponent, or a very long one, can be beyond a double. */
    if (value || exponent || length > 300) {
        double read = mete__number_read(start, length);
        if (!isfinite(read))
            return fail(scan, start, "the number is too large for a double (about 1.8e308)");
        if (value)
            *value = read;
    }
    return true;
}

static bool
word(struct mete__scan *scan, const char *expected, size_t length)
{
    if ((size_t)(scan->end - scan->at) < length || memcmp(scan->at, expected, length) != 0)
        return fail_unexpected(scan, "a value (names are true, false and null)");
    scan->at += length;
    return true;
}

/* ---- keys ------------------------------------------------------------------------------------ */

static inline uint64_t
key_hash(uint64_t seed, const char *data, size_t length)
{
    uint64_t hash = seed ^ length * UINT64_C(0x9e3779b97f4a7c15);
    while (length >= 8) {
        uint64_t part;
        memcpy(&part, data, 8);
        hash = (hash ^ part) * UINT64_C(0xff51afd7ed558ccd);
        hash ^= hash >> 32;
        data += 8;
        length -= 8;
    }
    uint64_t part = 0;
    memcpy(&part, data, length);
    hash = (hash ^ part) * UINT64_C(0xc4ceb9fe1a85ec53);
    return hash ^ hash >> 29;
}

static bool
same_key(const struct mete__key *a, const struct mete__key *b)
{
    return a->hash == b->hash && a->text.length == b->text.length &&
           memcmp(a->text.data, b->text.data, a->text.length) == 0;
}

static bool
fail_duplicate(struct mete__scan *scan, const char *at, mete_text key)
{
    /* A key may hold anything; show its first printable bytes. */
    char shown[80];
    size_t n = key.length < sizeof shown - 1 ? key.length : mete_utf8_floor(key, sizeof shown - 1);
    memcpy(shown, key.data, n);
    shown[n] = '\0';
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)shown[i] < ' ' || shown[i] == 0x7f)
            shown[i] = '?';
    return fail(scan, at, "the key \"%s%s\" stands twice in one object", shown,
                n < key.length ? "..." : "");
}

static bool
table_room(struct mete__scan *scan)
{
    if ((scan->entries + 1) * 2 <= scan->slots)
        return true;
    size_t slots = scan->slots ? scan->slots * 2 : 256;
    struct entry *table = calloc(slots, sizeof *table);
    if (!table)
        return mete__scan_memory(scan);
    for (size_t i = 0; i < scan->slots; i++) {
        const struct entry *old = &scan->table[i];
        if (old->epoch != scan->epoch)
            continue;
        size_t at = old->hash & (slots - 1);
        while (table[at].epoch == scan->epoch)
            at = (at + 1) & (slots - 1);
        table[at] = *old;
    }
    free(scan->table);
    scan->table = table;
    scan->slots = slots;
    return true;
}

/* Puts key `index` of object `serial` into the table; *twice when it is there. An entry of a closed
 * object has another serial in its hash, and is compared to be sure. */
static bool
table_add(struct mete__scan *scan, size_t base, uint64_t serial, size_t index, bool *twice)
{
    if (!table_room(scan))
        return false;
    uint64_t hash = (scan->key[index].hash ^ serial) * UINT64_C(0x9e3779b97f4a7c15);
    hash ^= hash >> 31;
    size_t at = hash & (scan->slots - 1);
    for (; scan->table[at].epoch == scan->epoch; at = (at + 1) & (scan->slots - 1)) {
        const struct entry *entry = &scan->table[at];
        if (entry->hash == hash && entry->index >= base && entry->index < index &&
            same_key(&scan->key[entry->index], &scan->key[index])) {
            *twice = true;
            return true;
        }
    }
    scan->table[at] = (struct entry){hash, scan->epoch, (uint32_t)index};
    scan->entries++;
    return true;
}

/* Notes a key of the object whose keys start at `base`, and refuses it when it is there already. */
static inline bool
key_add(struct mete__scan *scan, size_t base, uint64_t serial, const char *at, mete_text text)
{
    if (scan->keys == scan->key_capacity) {
        size_t capacity = scan->key_capacity ? scan->key_capacity * 2 : 64;
        struct mete__key *key = realloc(scan->key, capacity * sizeof *key);
        if (!key)
            return mete__scan_memory(scan);
        scan->key = key;
        scan->key_capacity = capacity;
    }
    struct mete__key *new = &scan->key[scan->keys];
    new->text = text;
    new->hash = key_hash(scan->seed, text.data, text.length);
    size_t count = scan->keys - base;
    bool twice = false;
    if (count < FEW_KEYS) {
        for (size_t i = base; i < scan->keys && !twice; i++)
            twice = same_key(&scan->key[i], new);
    } else {
        size_t from = count == FEW_KEYS ? base : scan->keys;
        for (size_t i = from; i <= scan->keys && !twice; i++)
            if (!table_add(scan, base, serial, i, &twice))
                return false;
    }
    scan->keys++;
    return twice ? fail_duplicate(scan, at, text) : true;
}

/* ---- values ---------------------------------------------------------------------------------- */

static bool
key_and_colon(struct mete__scan *scan, mete_text *key)
{
    if (scan->at >= scan->end || *scan->at != '"')
        return fail_unexpected(scan, "a key in quotes");
    if (!string(scan, key))
        return false;
    skip_space(scan);
    if (scan->at >= scan->end || *scan->at != ':')
        return fail_unexpected(scan, "':' after a key");
    scan->at++;
    skip_space(scan);
    return true;
}

/* After an element: true with *more, or true at the closing bracket. */
static inline bool
comma(struct mete__scan *scan, char close, bool *more)
{
    skip_space(scan);
    if (scan->at < scan->end && *scan->at == ',') {
        scan->at++;
        skip_space(scan);
        *more = true;
        return true;
    }
    *more = false;
    if (scan->at < scan->end && *scan->at == close) {
        scan->at++;
        return true;
    }
    return fail_unexpected(scan, close == '}' ? "',' or '}'" : "',' or ']'");
}

static bool value_skip(struct mete__scan *scan, int depth);

static bool
object_skip(struct mete__scan *scan, int depth)
{
    size_t base = scan->keys;
    uint64_t serial = ++scan->objects;
    bool more = true;
    scan->at++;
    skip_space(scan);
    if (scan->at < scan->end && *scan->at == '}') {
        scan->at++;
        return true;
    }
    while (more) {
        const char *at = scan->at;
        mete_text key;
        if (!key_and_colon(scan, &key) || !key_add(scan, base, serial, at, key) ||
            !value_skip(scan, depth) || !comma(scan, '}', &more))
            return false;
    }
    scan->keys = base;
    return true;
}

static bool
array_skip(struct mete__scan *scan, int depth)
{
    bool more = true;
    scan->at++;
    skip_space(scan);
    if (scan->at < scan->end && *scan->at == ']') {
        scan->at++;
        return true;
    }
    while (more)
        if (!value_skip(scan, depth) || !comma(scan, ']', &more))
            return false;
    return true;
}

/* Validates the value at scan->at and moves past it. `depth` counts the brackets around it. */
static bool
value_skip(struct mete__scan *scan, int depth)
{
    if (scan->at >= scan->end)
        return fail_unexpected(scan, "a value");
    switch (*scan->at) {
    case '"':
        return string(scan, NULL);
    case '{':
    case '[':
        if (depth >= METE__JSON_DEPTH)
            return fail(scan, scan->at, "nested deeper than %d levels", METE__JSON_DEPTH);
        return *scan->at == '{' ? object_skip(scan, depth + 1) : array_skip(scan, depth + 1);
    case 't':
        return word(scan, "true", 4);
    case 'f':
        return word(scan, "false", 5);
    case 'n':
        return word(scan, "null", 4);
    default:
        if (*scan->at != '-' && !is_digit(scan->at, scan->end))
            return fail_unexpected(scan, "a value");
        return number(scan, NULL);
    }
}

/* The value at scan->at into a field: strings decoded, numbers read, the rest as its span. */
static inline bool
value_field(struct mete__scan *scan, int depth, mete__field *field)
{
    const char *start = scan->at;
    field->number = NAN;
    field->truth = false;
    field->type = METE_JSON_NONE;
    if (start >= scan->end)
        return fail_unexpected(scan, "a value");
    if (*start == '"') {
        field->type = METE_JSON_STRING;
        return string(scan, &field->text);
    }
    if (*start == '-' || is_digit(start, scan->end)) {
        field->type = METE_JSON_NUMBER;
        if (!number(scan, &field->number))
            return false;
    } else {
        if (!value_skip(scan, depth))
            return false;
        field->type = *start == '{'   ? METE_JSON_OBJECT
                      : *start == '[' ? METE_JSON_ARRAY
                      : *start == 'n' ? METE_JSON_NULL
                                      : METE_JSON_BOOL;
        field->truth = *start == 't';
    }
    field->text.data = start;
    field->text.length = (size_t)(scan->at - start);
    return true;
}

/* ---- what the other files use ---------------------------------------------------------------- */

void
mete__scan_point(struct mete__scan *scan, mete_text text, char *out)
{
    scan->out = out;
    scan->start = scan->at = text.data;
    scan->end = text.data + text.length;
    scan->status = METE_OK;
    scan->long_number = false;
    scan->keys = scan->objects = scan->entries = 0;
    /* Not foreseeable by who writes the data, and of no effect on what is accepted. */
    scan->seed = (uint64_t)(uintptr_t)scan * UINT64_C(0x9e3779b97f4a7c15);
    if (++scan->epoch == 0) {
        scan->epoch = 1;
        if (scan->table)
            memset(scan->table, 0, scan->slots * sizeof *scan->table);
    }
}

bool
mete__scan_start(struct mete__scan *scan, mete_text text, mete_buffer *decoded)
{
    scan->start = text.data;
    if (text.length >= UINT32_MAX)
        return fail(scan, text.data, "the text is longer than 4 GiB");
    /* Decoded text is never longer than its source, so this is all it can need. */
    mete_buffer_clear(decoded);
    if (mete_buffer_reserve(decoded, text.length))
        return mete__scan_memory(scan);
    mete__scan_point(scan, text, decoded->data);
    return true;
}

int
mete__scan_error(const struct mete__scan *scan, mete_error *err)
{
    if (scan->status == METE_EDATA)
        return mete_error_set(err, METE_EDATA, "byte %zu: %s", (size_t)(scan->at - scan->start) + 1,
                              scan->reason);
    return mete_error_set(err, scan->status, "%s", scan->reason);
}

void
mete__scan_free(struct mete__scan *scan)
{
    if (!scan)
        return;
    free(scan->key);
    free(scan->table);
    free(scan);
}

bool
mete__scan_end(struct mete__scan *scan)
{
    skip_space(scan);
    return scan->at >= scan->end || fail_unexpected(scan, "the end of the text");
}

bool
mete__scan_document(struct mete__scan *scan)
{
    skip_space(scan);
    return value_skip(scan, 0) && mete__scan_end(scan);
}

bool
mete__scan_object(struct mete__scan *scan, bool *more)
{
    skip_space(scan);
    if (scan->at >= scan->end || *scan->at != '{')
        return fail_unexpected(scan, "'{', as a record is an object,");
    scan->objects++;
    scan->at++;
    skip_space(scan);
    *more = scan->at >= scan->end || *scan->at != '}';
    scan->at += !*more;
    return true;
}

bool
mete__scan_member(struct mete__scan *scan, mete__field *field, bool *more)
{
    const char *at = scan->at;
    return key_and_colon(scan, &field->key) && key_add(scan, 0, 1, at, field->key) &&
           value_field(scan, 1, field) && comma(scan, '}', more);
}

bool
mete__scan_array(struct mete__scan *scan, bool *more)
{
    skip_space(scan);
    if (scan->at >= scan->end || *scan->at != '[')
        return fail_unexpected(scan, "'['");
    scan->at++;
    skip_space(scan);
    *more = scan->at >= scan->end || *scan->at != ']';
    scan->at += !*more;
    return true;
}

bool
mete__scan_element(struct mete__scan *scan, mete__field *field, bool *more)
{
    return mete__scan_field(scan, field) && comma(scan, ']', more);
}

bool
mete__scan_field(struct mete__scan *scan, mete__field *field)
{
    return value_field(scan, 1, field);
}

bool
mete__scan_skip(struct mete__scan *scan)
{
    return value_skip(scan, 1);
}

int
mete__scan_step(struct mete__scan *scan, mete_text step)
{
    bool more = true, object = *scan->at == '{';
    char close = object ? '}' : ']';
    size_t wanted = 0;
    if (!object) {
        if (*scan->at != '[' || step.length == 0 || step.length > 9)
            return 0;
        for (size_t i = 0; i < step.length; i++) {
            if (step.data[i] < '0' || step.data[i] > '9')
                return 0;
            wanted = wanted * 10 + (size_t)(step.data[i] - '0');
        }
    }
    scan->at++;
    skip_space(scan);
    if (*scan->at == close)
        return 0;
    for (size_t i = 0; more; i++) {
        mete_text key;
        char *out = scan->out;
        if (object && !key_and_colon(scan, &key))
            return scan->status;
        if (object ? mete_text_equal(key, step) : i == wanted)
            return 1;
        if (!value_skip(scan, 1) || !comma(scan, close, &more))
            return scan->status;
        scan->out = out;
    }
    return 0;
}
