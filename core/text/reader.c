/* reader.c - streams records from JSONL, CSV and TSV files, with a policy for bad ones.
 *
 * `line` is the number of the line at the input's offset. A record borrows the input's window, so
 * its bytes are marked as read at once but stay until the next call reads more. The header row is
 * read before the first record or seek.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memrchr */
#endif

#include <stdatomic.h>
#include <stdlib.h>

#include "text/csv.h"
#include "text/input.h"
#include "text/reader.h"

enum { MANY_COLUMNS = 10000 }; /* names are compared pair by pair */

struct mete__reader {
    mete__input *input;
    mete__format format;
    mete__read_options options;
    mete__map *map;
    size_t maps;
    atomic_ullong *missed; /* counted from any thread */
    mete_buffer names;     /* bytes of the maps and of the columns */
    mete__record record;
    mete__record header; /* column names are its texts */
    mete_buffer columns; /* their bytes */
    bool have_header;
    uint64_t rows_offset, rows_line; /* where the rows after the header start */
    uint64_t line, records, skipped;
};

static char
delimiter(const mete__reader *reader)
{
    return reader->format == METE__FORMAT_TSV ? '\t' : ',';
}

/* ---- opening --------------------------------------------------------------------------------- */

static mete__format
format_of(const char *path)
{
    mete_text name = mete_text_from(path);
    if (mete_text_ends(name, mete_text_from(".gz")))
        name.length -= 3;
    if (mete_text_ends(name, mete_text_from(".csv")))
        return METE__FORMAT_CSV;
    if (mete_text_ends(name, mete_text_from(".tsv")))
        return METE__FORMAT_TSV;
    return METE__FORMAT_JSONL;
}

static int
copy_maps(mete__reader *reader, const mete__read_options *options)
{
    size_t bytes = 0;
    for (size_t i = 0; i < options->maps; i++)
        bytes += options->map[i].to.length + options->map[i].from.length;
    reader->map = calloc(options->maps + 1, sizeof *reader->map);
    reader->missed = calloc(options->maps + 1, sizeof *reader->missed);
    if (!reader->map || !reader->missed || mete_buffer_reserve(&reader->names, bytes))
        return METE_ENOMEM;
    reader->maps = options->maps;
    for (size_t i = 0; i < options->maps; i++) {
        const mete_text *from[2] = {&options->map[i].to, &options->map[i].from};
        mete_text *to[2] = {&reader->map[i].to, &reader->map[i].from};
        for (int k = 0; k < 2; k++) {
            to[k]->data = reader->names.data + reader->names.length;
            to[k]->length = from[k]->length;
            mete_buffer_text(&reader->names, *from[k]);
        }
    }
    return METE_OK;
}

mete__reader *
mete__reader_open(const char *path, const mete__read_options *options, mete_error *err)
{
    static const mete__read_options none;
    options = options ? options : &none;
    mete__reader *reader = calloc(1, sizeof *reader);
    if (!reader || copy_maps(reader, options)) {
        mete_error_set(err, METE_ENOMEM, "%s: out of memory", path);
        mete__reader_close(reader);
        return NULL;
    }
    reader->options = *options;
    if (reader->options.limit == 0)
        reader->options.limit = (size_t)64 << 20;
    reader->format = options->format ? options->format : format_of(path);
    reader->line = 1;
    /* Room for a newline, and to see that a line is too long. */
    reader->input = mete__input_open(path, reader->options.limit + 3, err);
    if (reader->input)
        return reader;
    mete__reader_close(reader);
    return NULL;
}

void
mete__reader_close(mete__reader *reader)
{
    if (!reader)
        return;
    mete__input_close(reader->input);
    mete__record_free(&reader->record);
    mete__record_free(&reader->header);
    mete_buffer_free(&reader->names);
    mete_buffer_free(&reader->columns);
    free(reader->map);
    free(reader->missed);
    free(reader);
}

/* ---- lines ----------------------------------------------------------------------------------- */

static int
skip_mark(mete__reader *reader, mete_error *err)
{
    if (mete__input_offset(reader->input) != 0)
        return METE_OK;
    int more = 1;
    while (more > 0 && mete__input_view(reader->input).length < 3)
        more = mete__input_more(reader->input, err);
    if (more < 0)
        return more;
    if (mete_text_starts(mete__input_view(reader->input), mete_text_from("\xef\xbb\xbf")))
        mete__input_skip(reader->input, 3);
    return METE_OK;
}

static size_t
count_lines(mete_text text)
{
    size_t count = 0;
    const char *p = text.data, *end = p + text.length;
    while (p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
        count++;
        p++;
    }
    return count;
}

/* Takes `length` bytes off the view, and counts their lines. */
static mete_text
take(mete__reader *reader, size_t length)
{
    mete_text view = mete__input_view(reader->input);
    mete_text taken = mete_text_slice(view, 0, length);
    mete__input_skip(reader->input, taken.length);
    reader->line += count_lines(taken);
    return taken;
}

/* Passes over the rest of a line that is too long. */
static int
drop_line(mete__reader *reader, mete_error *err)
{
    for (;;) {
        mete_text view = mete__input_view(reader->input);
        const char *end = view.length ? memchr(view.data, '\n', view.length) : NULL;
        take(reader, end ? (size_t)(end - view.data) + 1 : view.length);
        if (end)
            return METE_OK;
        int more = mete__input_more(reader->input, err);
        if (more <= 0)
            return more;
    }
}

static mete_text
chomp(mete_text line)
{
    if (line.length && line.data[line.length - 1] == '\n')
        line.length--;
    if (line.length && line.data[line.length - 1] == '\r')
        line.length--;
    return line;
}

static bool
is_blank(mete_text line)
{
    for (size_t i = 0; i < line.length; i++)
        if (line.data[i] != ' ' && line.data[i] != '\t' && line.data[i] != '\r')
            return false;
    return true;
}

/* What one record's bytes are, and what is wrong with them when something is. */
struct piece {
    mete_text text; /* without its newline */
    uint64_t line, offset;
    bool torn; /* the file ends without a newline after it */
    bool too_long;
    const char *fault; /* set when it is no record, whatever its bytes */
};

static size_t
find_end(mete__reader *reader, mete_text view, mete__row_end *search)
{
    if (reader->format != METE__FORMAT_JSONL)
        return mete__row_find(view, delimiter(reader), search);
    const char *end = search->at < view.length
                          ? memchr(view.data + search->at, '\n', view.length - search->at)
                          : NULL;
    search->at = view.length;
    return end ? (size_t)(end - view.data) + 1 : 0;
}

static const char too_long[] = "the record is too long";

/* A row whose quoted field never ends: only its first line is given up. */
static int
drop_row(mete__reader *reader, struct piece *piece, const char *fault, mete_error *err)
{
    piece->fault = fault;
    piece->too_long = strcmp(fault, too_long) == 0;
    int status = drop_line(reader, err);
    return status < 0 ? status : 1;
}

/* The next line or row that is not blank. 1, 0 or a status. A fault of the whole piece is in it. */
static int
next_piece(mete__reader *reader, struct piece *piece, mete_error *err)
{
    int status = skip_mark(reader, err);
    if (status)
        return status;
    size_t limit = reader->options.limit;
    for (;;) {
        mete__row_end search = {0, METE__ROW_START};
        size_t length;
        int more = 1;
        memset(piece, 0, sizeof *piece);
        piece->line = reader->line;
        piece->offset = mete__input_offset(reader->input);
        while ((length = find_end(reader, mete__input_view(reader->input), &search)) == 0) {
            bool full = mete__input_view(reader->input).length > limit + 2;
            more = full ? METE_EDATA : mete__input_more(reader->input, err);
            if (more == METE_EDATA)
                return drop_row(reader, piece, too_long, err);
            if (more < 0)
                return more;
            if (more == 0)
                break;
        }
        if (more == 0) {
            if (search.state == METE__ROW_QUOTED)
                return drop_row(reader, piece, "a quoted field does not end", err);
            length = mete__input_view(reader->input).length;
            if (length == 0)
                return 0;
            piece->torn = true;
        }
        piece->text = chomp(take(reader, length));
        if (piece->text.length > limit) {
            piece->fault = too_long;
            piece->too_long = true;
        }
        bool blank =
            reader->format == METE__FORMAT_JSONL ? is_blank(piece->text) : piece->text.length == 0;
        if (!blank)
            return 1;
    }
}

/* ---- records --------------------------------------------------------------------------------- */

/* Applies the policy to a bad record: METE_OK to go on, or the error. */
static int
bad_record(mete__reader *reader, const struct piece *piece, const char *reason, mete_error *err)
{
    mete_error whole;
    const char *torn = piece->torn ? "the last line has no newline and may be cut short: " : "";
    mete_error_set(&whole, METE_EDATA, "%s:%llu: %s%s", mete__reader_name(reader),
                   (unsigned long long)piece->line, torn, reason);
    if (!reader->options.skip)
        return mete_error_set(err, METE_EDATA, "%s", whole.message);
    reader->skipped++;
    if (reader->options.on_skip)
        reader->options.on_skip(reader->options.user, whole.message);
    return METE_OK;
}

static int
bad_piece(mete__reader *reader, const struct piece *piece, mete_error *err)
{
    mete_error reason;
    mete_error_set(&reason, METE_EDATA, "the record is longer than the limit of %zu bytes",
                   reader->options.limit);
    return bad_record(reader, piece, piece->too_long ? reason.message : piece->fault, err);
}

/* The header row: names of columns, each once. Always an error when it is bad. */
static int
read_header(mete__reader *reader, mete_error *err)
{
    struct piece piece;
    mete_error reason = {0, ""};
    const char *name = mete__reader_name(reader);
    if (reader->have_header || reader->format == METE__FORMAT_JSONL)
        return 1;
    int got = next_piece(reader, &piece, err);
    if (got <= 0)
        return got;
    mete__record *header = &reader->header;
    if (piece.fault)
        return mete_error_set(err, METE_EDATA, "%s:%llu: the header row is not right: %s", name,
                              (unsigned long long)piece.line, piece.fault);
    if (mete_buffer_text(&reader->columns, piece.text))
        return mete_error_set(err, METE_ENOMEM, "%s: out of memory", name);
    mete_text row = mete_buffer_view(&reader->columns);
    if (mete__row_split(row, delimiter(reader), header, &reason))
        return mete_error_set(err, METE_EDATA, "%s:%llu: the header row is not right: %s", name,
                              (unsigned long long)piece.line, reason.message);
    if (header->fields > MANY_COLUMNS)
        return mete_error_set(err, METE_EDATA, "%s:%llu: the header has more than %d columns", name,
                              (unsigned long long)piece.line, MANY_COLUMNS);
    for (size_t i = 0; i < header->fields; i++) {
        mete_text column = header->field[i].text;
        for (size_t j = 0; j < i; j++)
            if (mete_text_equal(column, header->field[j].text))
                return mete_error_set(err, METE_EDATA,
                                      "%s:%llu: the column \"%.*s\" stands twice in the header",
                                      name, (unsigned long long)piece.line,
                                      (int)mete_utf8_floor(column, 80), column.data);
    }
    reader->have_header = true;
    mete__reader_tell(reader, &reader->rows_offset, &reader->rows_line);
    return 1;
}

static int
parse_row(mete__reader *reader, mete_text row, mete_error *err)
{
    mete__record *record = &reader->record;
    const mete__record *header = &reader->header;
    int status = mete__row_split(row, delimiter(reader), record, err);
    if (status)
        return status;
    if (record->fields != header->fields)
        return mete_error_set(err, METE_EDATA, "the row has %zu fields, the header has %zu",
                              record->fields, header->fields);
    for (size_t i = 0; i < record->fields; i++)
        record->field[i].key = header->field[i].text;
    return METE_OK;
}

static void
count_missed(void *user, size_t i)
{
    const mete__reader *reader = user;
    atomic_fetch_add_explicit(&reader->missed[i], 1, memory_order_relaxed);
}

int
mete__reader_map(const mete__reader *reader, mete__record *record, mete_error *err)
{
    if (reader->maps == 0)
        return METE_OK;
    return mete__record_map(record, reader->map, reader->maps, count_missed,
                            (void *)(uintptr_t)reader, err);
}

int
mete__reader_next(mete__reader *reader, const mete__record **out, mete_error *err)
{
    int got = read_header(reader, err);
    if (got <= 0)
        return got;
    for (;;) {
        struct piece piece;
        mete_error reason = {0, ""};
        got = next_piece(reader, &piece, err);
        if (got <= 0)
            return got;
        int status;
        mete__record *record = &reader->record;
        if (piece.fault)
            status = bad_piece(reader, &piece, err);
        else if (reader->format == METE__FORMAT_JSONL)
            status = mete__record_parse(record, piece.text.data, piece.text.length, &reason);
        else
            status = parse_row(reader, piece.text, &reason);
        if (!piece.fault && status == METE_OK) {
            record->line = piece.line;
            record->offset = piece.offset;
            reader->records++;
            *out = record;
            status = mete__reader_map(reader, record, err);
            return status ? status : 1;
        }
        if (!piece.fault && status == METE_EDATA)
            status = bad_record(reader, &piece, reason.message, err);
        else if (!piece.fault)
            status = mete_error_set(err, status, "%s:%llu: %s", mete__reader_name(reader),
                                    (unsigned long long)piece.line, reason.message);
        if (status)
            return status;
    }
}

static int
lines_only(const mete__reader *reader, mete_error *err)
{
    if (reader->format == METE__FORMAT_JSONL)
        return METE_OK;
    return mete_error_set(err, METE_ENOTSUP, "%s: only JSONL is read by lines",
                          mete__reader_name(reader));
}

int
mete__reader_line(mete__reader *reader, mete_text *line, uint64_t *number, uint64_t *offset,
                  mete_error *err)
{
    struct piece piece;
    int status = lines_only(reader, err);
    while (status == METE_OK) {
        int got = next_piece(reader, &piece, err);
        if (got <= 0)
            return got;
        if (piece.fault) {
            status = bad_piece(reader, &piece, err);
            continue;
        }
        *line = piece.text;
        if (number)
            *number = piece.line;
        if (offset)
            *offset = piece.offset;
        reader->records++;
        return 1;
    }
    return status;
}

/* Takes the lines that are there, or as many as fit the limit. */
static int
whole_lines(mete__reader *reader, mete_text *lines, mete_error *err)
{
    mete_text view = mete__input_view(reader->input);
    int more = 1;
    if (view.length < ((size_t)1 << 16))
        more = mete__input_more(reader->input, err);
    for (;;) {
        if (more < 0 && more != METE_EDATA)
            return more;
        view = mete__input_view(reader->input);
        const char *end = view.length ? memrchr(view.data, '\n', view.length) : NULL;
        if (end || (more == 0 && view.length)) {
            *lines = take(reader, end ? (size_t)(end - view.data) + 1 : view.length);
            return 1;
        }
        if (more <= 0)
            return more;
        more = mete__input_more(reader->input, err);
    }
}

int
mete__reader_block(mete__reader *reader, mete_text *lines, uint64_t *number, uint64_t *offset,
                   mete_error *err)
{
    int status = lines_only(reader, err);
    if (status == METE_OK)
        status = skip_mark(reader, err);
    while (status == METE_OK) {
        struct piece piece = {.line = reader->line};
        piece.offset = mete__input_offset(reader->input);
        int got = whole_lines(reader, lines, err);
        if (got == METE_EDATA) {
            status = drop_row(reader, &piece, too_long, err);
            status = status < 0 ? status : bad_piece(reader, &piece, err);
            continue;
        }
        if (got > 0 && number)
            *number = piece.line;
        if (got > 0 && offset)
            *offset = piece.offset;
        return got;
    }
    return status;
}

/* ---- where it stands ------------------------------------------------------------------------- */

uint64_t
mete__reader_records(const mete__reader *reader)
{
    return reader->records;
}

uint64_t
mete__reader_skipped(const mete__reader *reader)
{
    return reader->skipped;
}

uint64_t
mete__reader_missed(const mete__reader *reader, size_t i)
{
    return i < reader->maps ? atomic_load(&reader->missed[i]) : 0;
}

const char *
mete__reader_name(const mete__reader *reader)
{
    return mete__input_name(reader->input);
}

void
mete__reader_tell(const mete__reader *reader, uint64_t *offset, uint64_t *line)
{
    *offset = mete__input_offset(reader->input);
    *line = reader->line;
}

int
mete__reader_seek(mete__reader *reader, uint64_t offset, uint64_t line, mete_error *err)
{
    int got = read_header(reader, err);
    if (got < 0)
        return got;
    /* A row cannot start inside the header. */
    if (offset < reader->rows_offset) {
        offset = reader->rows_offset;
        line = reader->rows_line;
    }
    int status = mete__input_seek(reader->input, offset, err);
    if (status == METE_OK)
        reader->line = line;
    return status;
}
