/* measure.c - reads a metric's curve from metrics.jsonl and makes one number of it. */
#include "cli/measure.h"

#include "cli/cli.h"
#include "run/curve.h"
#include "run/statistics.h"

#include <math.h>
#include <mete/text.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is asked --------------------------------------------------------------------------- */

static int
wrong(const char *text, const char *at, const char *want, mete_error *err)
{
    return mete_error_set(err, METE_EINVAL,
                          "\"%s\", column %d: %s; a metric is NAME, area(NAME) or "
                          "reach(NAME, NUMBER)",
                          text, (int)(at - text) + 1, want);
}

int
mete__measure_parse(const char *text, mete__measure *out, mete_error *err)
{
    const char *at = text, *end = text + strlen(text);
    *out = (mete__measure){.text = text, .less = *text == '-'};
    at += out->less;
    if (strncmp(at, "area(", 5) == 0)
        out->form = METE__AREA;
    else if (strncmp(at, "reach(", 6) == 0)
        out->form = METE__REACH;
    if (out->form != METE__LAST) {
        at = strchr(at, '(') + 1;
        if (end[-1] != ')')
            return wrong(text, end, "')' is missing", err);
        end--;
    }
    const char *comma = out->form == METE__REACH ? strchr(at, ',') : NULL;
    if (out->form == METE__REACH && !comma)
        return wrong(text, end, "', NUMBER' is missing", err);
    if (comma) {
        const char *number = comma + 1 + strspn(comma + 1, " ");
        if (!mete_number_parse((mete_text){number, (size_t)(end - number)}, METE_NUMBER_EXPONENT,
                               &out->threshold))
            return wrong(text, number, "no number", err);
        end = comma;
        out->less = true;
    }
    size_t length = (size_t)(end - at);
    if (!length || length >= sizeof out->name || memchr(at, ' ', length))
        return wrong(text, at, "no name of a metric", err);
    memcpy(out->name, at, length);
    return METE_OK;
}

/* ---- reading --------------------------------------------------------------------------------- */

static double
in_one(const mete__measure *measure, const double *x, const double *y, size_t n, double last,
       bool *censored)
{
    double at;
    if (!n)
        return NAN;
    if (measure->form == METE__LAST)
        return y[n - 1];
    if (measure->form == METE__AREA)
        return mete__area(x, y, n);
    if (mete__reaches(x, y, n, measure->threshold, &at))
        return at;
    *censored = true;
    return last;
}

double
mete__measure_read(const mete__measure *measure, const char *path, uint64_t until, bool *censored)
{
    mete__curve curve = {0};
    double value = NAN;
    *censored = false;
    if (!mete__curve_read(path, measure->name, until, &curve))
        value = in_one(measure, curve.x, curve.y, curve.n, curve.end, censored);
    mete__curve_free(&curve);
    return value;
}

/* All names in the file, each once. */
static char *
names_in(const char *path)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    mete_buffer names = mete_buffer_make((size_t)1 << 20);
    FILE *file = fopen(path, "r");
    while (file && (length = getline(&line, &room, file)) > 0) {
        mete_json *root = mete_json_parse((mete_text){line, (size_t)length}, NULL);
        for (const mete_json *item = root ? mete_json_first(root) : NULL; item;
             item = mete_json_next(item)) {
            char name[256];
            mete_text key = mete_json_key(item);
            snprintf(name, sizeof name, "%.*s", (int)key.length, key.data);
            if (mete_json_kind(item) != METE_JSON_NUMBER || strcmp(name, "iteration") == 0 ||
                (names.length && mete__has_word(names.data, name)))
                continue;
            if (names.length)
                names.data[names.length - 1] = ' ';
            mete_buffer_string(&names, name);
            mete_buffer_byte(&names, 0);
        }
        mete_json_free(root);
    }
    if (file)
        fclose(file);
    free(line);
    return names.data;
}

void
mete__measure_unknown(const mete__measure *measure, const char *path)
{
    char *names = names_in(path);
    char *near = names ? mete__nearest(measure->name, names) : NULL;
    mete__say("no metric is called '%s'%s%s%s; logged are: %s", measure->name,
              near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "",
              names ? names : "none");
    free(near);
    free(names);
}
