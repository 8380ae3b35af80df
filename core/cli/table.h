/* table.h - what tables of compared runs share: inline bars on a terminal, numbers in JSON. */
#ifndef METE_CLI_TABLE_H
#define METE_CLI_TABLE_H

#include "run/statistics.h"

#include <mete/text.h>

/* Does standard output want bars: is it a terminal that speaks UTF-8, with room for them beside a
 * table of `columns`? */
bool mete__bars_wanted(size_t columns);
/* An interval on the axis from `least` to `most`, after two spaces; nothing when it has no place
 * there. */
void mete__bar_print(const mete__interval *interval, double least, double most);
/* ,"name":value, or null where there is none. */
void mete__put_number(mete_buffer *out, const char *name, double value);
/* Prints and frees it. */
void mete__put_out(mete_buffer *out);

#endif
