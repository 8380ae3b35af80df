/* names.c - declares columns and signals by a list of names. */
#include "names.h"

#include <math.h>

enum { MOST_NAMES = 64 };

int
names_columns(mete_ctx *cx, mete_strings fields, mete_type element, mete_field **column)
{
    int status = METE_OK;
    if (fields.count > MOST_NAMES)
        return mete_fail(cx, METE_EINVAL, "more than %d columns in a list", MOST_NAMES);
    *column = mete_alloc(cx, (fields.count + 1) * sizeof **column);
    if (!*column)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    for (size_t k = 0; k < fields.count && !status; k++)
        status = mete_need(cx, fields.item[k], METE_EPISODE, element, METE_OPTIONAL, &(*column)[k]);
    return status;
}

int
names_signals(mete_ctx *cx, mete_strings signals, const char *help, int **signal)
{
    if (signals.count > MOST_NAMES)
        return mete_fail(cx, METE_EINVAL, "more than %d signals", MOST_NAMES);
    *signal = mete_alloc(cx, (signals.count + 1) * sizeof **signal);
    if (!*signal)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    for (size_t k = 0; k < signals.count; k++) {
        (*signal)[k] = mete_signal(cx, signals.item[k], METE_EPISODE, METE_ROLE_INFO, -INFINITY,
                                   INFINITY, help);
        if ((*signal)[k] < 0)
            return (*signal)[k];
    }
    return METE_OK;
}
