/* curve.c - reads one number of each line without parsing the rest: an ablation reads hundreds of
 * files for it. */
#include "run/curve.h"

#include <math.h>
#include <mete/text.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The number after `key` in a line of metrics. Keys are unique, and no text in a line holds one. */
static bool
number_after(const char *line, const char *key, double *out)
{
    const char *at = strstr(line, key);
    if (!at)
        return false;
    at += strlen(key);
    return mete_number_parse((mete_text){at, strcspn(at, ",}")}, METE_NUMBER_EXPONENT, out) &&
           isfinite(*out);
}

static bool
add(mete__curve *curve, double x, double y)
{
    if (curve->n == curve->room) {
        size_t room = 2 * curve->room + 64;
        double *more = realloc(curve->x, room * sizeof *more);
        curve->x = more ? more : curve->x;
        more = more ? realloc(curve->y, room * sizeof *more) : NULL;
        curve->y = more ? more : curve->y;
        if (!more)
            return false;
        curve->room = room;
    }
    curve->x[curve->n] = x;
    curve->y[curve->n++] = y;
    return true;
}

int
mete__curve_read(const char *path, const char *name, uint64_t until, mete__curve *curve)
{
    char *line = NULL;
    size_t room = 0;
    double iteration, value;
    bool good = true;
    mete_buffer key = mete_buffer_make(0);
    mete_json_put_text(&key, mete_text_from(name));
    mete_buffer_string(&key, ":");
    mete_buffer_byte(&key, 0);
    good = !key.status;
    FILE *file = good ? fopen(path, "r") : NULL;
    while (file && good && getline(&line, &room, file) > 0) {
        if (!number_after(line, "\"iteration\":", &iteration))
            continue;
        curve->end = until && iteration >= (double)until ? (double)until : iteration + 1;
        if ((!until || iteration < (double)until) && number_after(line, key.data, &value))
            good = add(curve, iteration, value);
    }
    if (file)
        fclose(file);
    free(line);
    mete_buffer_free(&key);
    return good ? 0 : -1;
}

void
mete__curve_free(mete__curve *curve)
{
    free(curve->x);
    free(curve->y);
    *curve = (mete__curve){0};
}
