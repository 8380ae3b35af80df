/* csv.h - the grammar of CSV (RFC 4180) and TSV rows. */
#ifndef METE_TEXT_CSV_H
#define METE_TEXT_CSV_H

#include "text/json.h"

/* Where a search for the end of a row stands, so it can go on when more bytes have come. */
typedef struct mete__row_end {
    size_t at;
    enum { METE__ROW_START, METE__ROW_PLAIN, METE__ROW_QUOTED, METE__ROW_AFTER } state;
} mete__row_end;

/* Length of the first row of `view`, its newline included; 0 when it does not end there yet. */
size_t mete__row_find(mete_text view, char delimiter, mete__row_end *search);
/* Splits a row (without its newline) into the record's fields; quoting is for ',' only. Keys are
 * left to the caller. METE_EDATA with the reason. */
METE_CHECKED int mete__row_split(mete_text row, char delimiter, mete__record *record,
                                 mete_error *err);

#endif
