/* names.h - columns and signals that a config lists by name, of rewards whose code is elsewhere. */
#ifndef NAMES_H
#define NAMES_H

#include <mete/reward.h>

/* In `open`: asks for the optional columns of `element` (METE_TEXT or METE_JSON); *column gets
 * [fields.count] of them, memory of the instance. A mete_status. */
int names_columns(mete_ctx *cx, mete_strings fields, mete_type element, mete_field **column);
/* In `open`: declares the signals, without a range; *signal gets [signals.count] handles. */
int names_signals(mete_ctx *cx, mete_strings signals, const char *help, int **signal);

#endif
