/* json.h - one JSON object a line, parsed in place, and the helpers around it.
 *
 * The record parser is also the strict validator: what it accepts is what mete_json_parse accepts
 * (RFC 8259, UTF-8, no raw control characters, depth <= METE__JSON_DEPTH, no key twice in any
 * object, no \u0000, no lone surrogate, no number beyond a double). It builds no tree and, once its
 * buffers have grown, allocates nothing. Trees of nested values are made by mete_json_parse of a
 * field's text.
 */
#ifndef METE_TEXT_JSON_H
#define METE_TEXT_JSON_H

#include <stdbool.h>

#include <mete/text.h>

#define METE__JSON_DEPTH 128

/* One top-level member. Texts are borrowed from the line or from the record, until the record's
 * next parse. */
typedef struct mete__field {
    mete_text key;       /* decoded */
    mete_text text;      /* a string: decoded; any other value: its JSON as written */
    double number;       /* a number: the nearest double; else NaN */
    mete_json_type type; /* CSV fields are all METE_JSON_STRING */
    bool truth;          /* a bool's value */
} mete__field;

/* A reusable record. Zero it first; free with mete__record_free. */
typedef struct mete__record {
    mete__field *field;
    size_t fields, capacity;
    mete_text raw;      /* the bytes it was read from */
    uint64_t line;      /* where it stood: line from 1, and byte offset in the (unzipped) file */
    uint64_t offset;    /* (set by the reader) */
    mete_buffer text;   /* decoded strings; never moves during a parse */
    mete_buffer mapped; /* decoded strings of mapped fields */
    struct mete__scan *scan;
} mete__record;

/* Parses one JSON object. On failure METE_EDATA, a sentence naming the byte (from 1) in `err`, and
 * a record with no fields. */
METE_CHECKED int mete__record_parse(mete__record *record, const char *line, size_t length,
                                    mete_error *err);
void mete__record_free(mete__record *record);
/* The field of that key, or NULL. */
const mete__field *mete__record_find(const mete__record *record, mete_text key);
/* The value at a dotted path such as "a.b" or "choices.0.text": an exact key goes before a path.
 * Returns 1 and fills `out` (texts borrowed from the record, or decoded into `text`, which is
 * appended to), 0 when it is not there, or a negative status. */
int mete__record_path(const mete__record *record, mete_text path, mete__field *out,
                      mete_buffer *text);

/* Walks the elements of a JSON array. Zero it first; free with mete__items_free. */
typedef struct mete__items {
    struct mete__scan *scan;
    mete_buffer text; /* decoded strings, until the next array */
    bool more;
} mete__items;
/* METE_OK, or METE_EDATA where the text begins no array. */
METE_CHECKED int mete__items_begin(mete__items *items, mete_text array, mete_error *err);
/* 1 and the next element (its key is empty); 0 after the last, with what follows it not looked at;
 * or a status. */
METE_CHECKED int mete__items_next(mete__items *items, mete__field *element, mete_error *err);
void mete__items_free(mete__items *items);

/* The field `to` of a record is read from key, column or dotted path `from`. */
typedef struct mete__map {
    mete_text to, from;
} mete__map;

/* Renames fields: those named by a `to` or an exact `from` go, each map that finds its source adds
 * one. missed(user, i) is called for each that does not. */
METE_CHECKED int mete__record_map(mete__record *record, const mete__map *map, size_t maps,
                                  void (*missed)(void *user, size_t i), void *user,
                                  mete_error *err);
/* Room for `more` fields after those there are. */
METE_CHECKED int mete__record_room(mete__record *record, size_t more);

/* Validates one document of any type; the byte of the first fault, or `length` when it is right. */
METE_CHECKED int mete__json_check(mete_text text, mete_error *err);

/* The double nearest to a number in JSON (or C) syntax, whatever the locale; the text must be one
 * number. May be infinite. */
double mete__number_read(const char *text, size_t length);
/* A decimal that reads back the same, of the fewest digits from 15 to 17 where it is not short,
 * into at least 32 bytes; "null" when it is not finite. Returns its length. */
size_t mete__number_write(char *out, double number);

#endif
