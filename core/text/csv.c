/* csv.c - rows of CSV (RFC 4180) and TSV (IANA text/tab-separated-values).
 *
 * The end of a row is found by a state machine that stops and goes on anywhere, so a row may come
 * in pieces and no byte is looked at twice. A quoted field may hold delimiters, newlines and
 * doubled quotes; a quote anywhere else is refused, as it has no one meaning. TSV has no quotes.
 */
#include <math.h>

#include "text/csv.h"

size_t
mete__row_find(mete_text view, char delimiter, mete__row_end *search)
{
    const char *p = view.data;
    size_t at = search->at;
    bool quotes = delimiter == ',';
    for (; at < view.length; at++) {
        char byte = p[at];
        if (search->state == METE__ROW_QUOTED) {
            const char *quote = memchr(p + at, '"', view.length - at);
            at = quote ? (size_t)(quote - p) : view.length - 1;
            if (quote)
                search->state = METE__ROW_AFTER;
        } else if (byte == '\n') {
            return at + 1;
        } else if (byte == '"' && quotes && search->state != METE__ROW_PLAIN) {
            search->state = METE__ROW_QUOTED; /* opens, or is the second of a doubled quote */
        } else if (byte == delimiter) {
            search->state = METE__ROW_START;
        } else {
            search->state = METE__ROW_PLAIN;
        }
    }
    search->at = at;
    return 0;
}

/* The quoted field at *at, which is its opening quote. */
static int
quoted(mete_text row, char delimiter, size_t *at, mete_buffer *copy, mete_text *text,
       mete_error *err)
{
    size_t from = *at + 1, start = copy->length;
    bool copied = false;
    for (;;) {
        const char *quote = memchr(row.data + from, '"', row.length - from);
        if (!quote)
            return mete_error_set(err, METE_EDATA, "byte %zu: a quoted field does not end",
                                  *at + 1);
        size_t end = (size_t)(quote - row.data);
        bool doubled = end + 1 < row.length && row.data[end + 1] == '"';
        if (doubled || copied) {
            /* Room for the whole row was reserved, so this neither fails nor moves. */
            mete_buffer_append(copy, row.data + from, end - from + doubled);
            copied = true;
        }
        if (!doubled) {
            *text = copied ? (mete_text){copy->data + start, copy->length - start}
                           : (mete_text){row.data + from, end - from};
            *at = end + 1;
            break;
        }
        from = end + 2;
    }
    if (*at < row.length && row.data[*at] != delimiter)
        return mete_error_set(err, METE_EDATA, "byte %zu: something follows a closing quote",
                              *at + 1);
    return METE_OK;
}

static int
check_bytes(mete_text row, mete_error *err)
{
    const char *nul = row.length ? memchr(row.data, '\0', row.length) : NULL;
    if (nul)
        return mete_error_set(err, METE_EDATA, "byte %zu: a NUL byte is not allowed",
                              (size_t)(nul - row.data) + 1);
    size_t good = mete_utf8_check(row);
    if (good < row.length)
        return mete_error_set(err, METE_EDATA, "byte %zu: byte 0x%02x is not UTF-8", good + 1,
                              (unsigned char)row.data[good]);
    return METE_OK;
}

int
mete__row_split(mete_text row, char delimiter, mete__record *record, mete_error *err)
{
    size_t at = 0;
    record->fields = 0;
    record->raw = row;
    mete_buffer_clear(&record->text);
    if (check_bytes(row, err))
        return METE_EDATA;
    if (mete_buffer_reserve(&record->text, row.length))
        return mete_error_set(err, METE_ENOMEM, "out of memory");
    for (;;) {
        if (mete__record_room(record, 1))
            return mete_error_set(err, METE_ENOMEM, "out of memory");
        mete__field *field = &record->field[record->fields];
        *field = (mete__field){.number = NAN, .type = METE_JSON_STRING};
        if (delimiter == ',' && at < row.length && row.data[at] == '"') {
            int status = quoted(row, delimiter, &at, &record->text, &field->text, err);
            if (status)
                return status;
        } else {
            const char *start = row.data + at;
            const char *end = at < row.length ? memchr(start, delimiter, row.length - at) : NULL;
            field->text.data = start;
            field->text.length = end ? (size_t)(end - start) : row.length - at;
            if (delimiter == ',' && field->text.length && memchr(start, '"', field->text.length))
                return mete_error_set(err, METE_EDATA,
                                      "byte %zu: a quote in a field that is not in quotes", at + 1);
            at += field->text.length;
        }
        record->fields++;
        if (at >= row.length)
            return METE_OK;
        at++; /* the delimiter */
    }
}
