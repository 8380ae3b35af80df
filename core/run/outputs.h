/* outputs.h - an iteration's metrics in the formats of other programs. */
#ifndef METE_RUN_OUTPUTS_H
#define METE_RUN_OUTPUTS_H

#include <mete/text.h>

/* csv.c: one row a number (RFC 4180), since which numbers there are differs between iterations. */
#define METE__CSV_HEADER "iteration,stage,metric,value\r\n"
/* Appends a row for each of `count` numbers; one that is not finite is an empty field. */
void mete__csv_metrics(mete_buffer *out, uint64_t iteration, const char *stage,
                       const char *const *name, const double *value, size_t count);

/* tensorboard.c: records of an event file, framed as TFRecords: length, masked CRC-32C of it, data,
 * masked CRC-32C of that; the data is an Event in protocol buffers' encoding. Appended to `out`;
 * wall is seconds since 1970. */
void mete__tensorboard_begin(mete_buffer *out, double wall);
/* One event with a scalar for each number (single precision is all it has). */
void mete__tensorboard_metrics(mete_buffer *out, double wall, uint64_t iteration,
                               const char *const *name, const double *value, size_t count);

#endif
