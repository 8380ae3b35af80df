/* reader.h - streams records from JSONL, CSV and TSV files, plain or gzip.
 *
 * Memory is the longest record plus a constant, and no record may be longer than the limit. Gzip is
 * known by its first bytes, never by the name. CSV is RFC 4180 with a header row; TSV has a header
 * row and no quoting (IANA text/tab-separated-values). Lines end in \n or \r\n; the last may lack
 * it; blank lines are skipped; a UTF-8 byte order mark at the start is skipped.
 */
#ifndef METE_TEXT_READER_H
#define METE_TEXT_READER_H

#include "text/json.h"

typedef struct mete__reader mete__reader;

typedef enum mete__format {
    METE__FORMAT_AUTO, /* by the name: .csv, .tsv, else JSONL; a .gz at its end is not looked at */
    METE__FORMAT_JSONL,
    METE__FORMAT_CSV,
    METE__FORMAT_TSV
} mete__format;

/* Told about each record that is skipped. `message` is the whole sentence, "FILE:LINE: reason". */
typedef void mete__skip_fn(void *user, const char *message);

/* A zeroed struct is the default. */
typedef struct mete__read_options {
    mete__format format;
    bool skip;    /* skip bad records and count them; else the first is an error */
    size_t limit; /* bytes in one record; 0: 64 MiB */
    const mete__map *map;
    size_t maps; /* copied at open */
    mete__skip_fn *on_skip;
    void *user;
} mete__read_options;

/* Opens `path`, or stdin for "-". `options` may be NULL. NULL and a sentence on failure. */
mete__reader *mete__reader_open(const char *path, const mete__read_options *options,
                                mete_error *err);
void mete__reader_close(mete__reader *reader);
/* 1 and the next record, which lives until the next call; 0 at the end; or a negative status with
 * "FILE:LINE: reason". After an error in one record (METE_EDATA) reading may go on. */
METE_CHECKED int mete__reader_next(mete__reader *reader, const mete__record **record,
                                   mete_error *err);
/* JSONL only: the next line that is not blank, unparsed, for a caller that parses on threads. Its
 * number and offset are written where not NULL. */
METE_CHECKED int mete__reader_line(mete__reader *reader, mete_text *line, uint64_t *number,
                                   uint64_t *offset, mete_error *err);
/* JSONL only: as many whole lines as are at hand (at least one, blank ones included, the last maybe
 * without its newline), for a caller that splits and parses them elsewhere. `number` is the first
 * line's. */
METE_CHECKED int mete__reader_block(mete__reader *reader, mete_text *lines, uint64_t *number,
                                    uint64_t *offset, mete_error *err);
/* Applies the reader's field map to a record parsed by the caller: only reads the reader, keeps
 * texts in the record. */
METE_CHECKED int mete__reader_map(const mete__reader *reader, mete__record *record,
                                  mete_error *err);

uint64_t mete__reader_records(const mete__reader *reader); /* given so far */
uint64_t mete__reader_skipped(const mete__reader *reader); /* bad ones skipped so far */
/* Records given so far in which map entry i had nothing to read. */
uint64_t mete__reader_missed(const mete__reader *reader, size_t i);
const char *mete__reader_name(const mete__reader *reader);
/* Where the record after the last one given starts: offset in the unzipped bytes, and its line. */
void mete__reader_tell(const mete__reader *reader, uint64_t *offset, uint64_t *line);
/* Goes there again. Plain files seek; gzip and pipes read on to it, and cannot go back. */
METE_CHECKED int mete__reader_seek(mete__reader *reader, uint64_t offset, uint64_t line,
                                   mete_error *err);

#endif
